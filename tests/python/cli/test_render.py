"""What reaches a terminal is clean, and data and chatter keep apart."""

from __future__ import annotations

import json

import pytest
from lmsys_rs.cli import render
from lmsys_rs.errors import StoreError
from lmsys_rs.records import Event


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "[31mred [0m"),
        ("title\x1b]0;evil\x07 end", "title ]0;evil end"),
        ("two\nlines\tand\rmore", "two lines and more"),
        ("right\u202eot tfel", "right ot tfel"),
        ("\x9b2J", "2J"),
        (None, ""),
    ],
)
def test_control_sequences_are_stripped(text: str | None, shown: str) -> None:
    assert "\x1b" not in render.clean(text)
    assert " ".join(render.clean(text).split()) == " ".join(shown.split())


def test_table_sets_numbers_right_and_cuts_the_last_column(capsys: pytest.CaptureFixture[str]) -> None:
    render.print_table(("id", "text"), [(1, "a"), (1000, "x" * 300)], numbers=("id",))
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["   id  text", "    1  a"]
    assert len(lines[2]) == render.PIPE_WIDTH
    assert lines[2].endswith("…")


def test_wide_characters_count_twice(capsys: pytest.CaptureFixture[str]) -> None:
    render.print_table(("word", "n"), [("你好", 1), ("ab", 2)])
    assert capsys.readouterr().out.splitlines() == ["word  n", "你好  1", "ab    2"]


def test_json_is_one_line_and_keeps_unicode(capsys: pytest.CaptureFixture[str]) -> None:
    render.print_json({"text": "zwei\nZeilen 你好"})
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert "你好" in out
    assert json.loads(out)["text"] == "zwei\nZeilen 你好"


def test_errors_go_to_stderr_with_their_hint(capsys: pytest.CaptureFixture[str]) -> None:
    render.print_error(StoreError("it is locked", hint="wait"))
    render.print_error(FileNotFoundError(2, "No such file or directory", "a.parquet"))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "error: it is locked\nhint: wait\nerror: a.parquet: No such file or directory\n"


def test_xml_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    render.print_xml("results", "result", [{"query_id": 1, "model": None, "text": 'a < b & "c"'}])
    assert capsys.readouterr().out == '<results>\n  <result query_id="1">a &lt; b &amp; "c"</result>\n</results>\n'


def test_progress_without_a_terminal_is_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with render.Reporter() as reporter:
        reporter(Event("started", "embed", 0, 10, "texts"))
        reporter(Event("advanced", "embed", 5, 10, "texts"))
        reporter(Event("finished", "embed", 10, 10, "texts"))
        reporter(Event("note", "embed", message="by the way"))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "embedding: 10 texts, done in 0.0 s\nby the way\n"


def test_quiet_reporter_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with render.Reporter(quiet=True) as reporter:
        reporter(Event("note", "embed", message="psst"))
    assert capsys.readouterr() == ("", "")
