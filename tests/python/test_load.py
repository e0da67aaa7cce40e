"""Loading: everything kept, nothing twice, nothing lost when it is cut off."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from lmsys_rs import selection, views
from lmsys_rs.errors import InvalidInputError, ReaderError
from lmsys_rs.loading import dataset_name, load
from lmsys_rs.records import Event, Filters
from lmsys_rs.session import Session, open_session
from lmsys_rs.store import reading


def jsonl(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows), encoding="utf-8")
    return path


def talk(*contents: str, **fields: Any) -> dict[str, Any]:
    roles = ("user", "assistant")
    return {"conversation": [{"role": roles[i % 2], "content": c} for i, c in enumerate(contents)], **fields}


def counts(session: Session) -> dict[str, int]:
    with session.store.reading() as connection:
        return reading.counts(connection)


def texts(session: Session) -> list[str]:
    with session.store.reading() as connection:
        return reading.text_page(connection)["text"].to_list()


def test_all_turns_are_kept_and_the_first_user_turn_is_the_query(session: Session, tmp_path: Path) -> None:
    row = {
        "conversation_id": "c",
        "conversation": [
            {"role": "system", "content": "be kind"},
            {"role": "user", "content": "  first question "},
            {"role": "assistant", "content": "answer"},
            {"role": "user", "content": "second question"},
        ],
        "turn": 2,
    }
    report = load(session, jsonl(tmp_path / "f.jsonl", [row]))
    assert (report.n_read, report.n_new, report.n_queries, report.n_new_texts) == (1, 1, 1, 1)
    assert texts(session) == ["first question"]
    turns = views.turns(session).select("position", "role", "content").collect()
    extra = views.conversations(session).collect()["extra"].item()
    with session.store.reading() as connection:
        position = connection.exec_driver_sql("SELECT position FROM query").scalar_one()
    assert turns.rows() == [
        (0, "system", "be kind"),
        (1, "user", "  first question "),
        (2, "assistant", "answer"),
        (3, "user", "second question"),
    ]
    assert json.loads(extra) == {"turn": 2}
    assert position == 1


def test_equal_texts_share_one_id_and_ids_are_dense(session: Session, tmp_path: Path) -> None:
    rows = [talk("a"), talk("b"), talk(" a\n"), talk("Cafe\u0301"), talk("Café"), talk("c")]
    load(session, jsonl(tmp_path / "f.jsonl", rows))
    page = views.texts(session).collect()
    assert page["text"].to_list() == ["a", "b", "Café", "c"]
    assert page["text_id"].to_list() == [0, 1, 2, 3]
    assert page["n_queries"].to_list() == [2, 1, 2, 1]


def test_text_ids_go_on_across_files(session: Session, tmp_path: Path) -> None:
    load(session, jsonl(tmp_path / "f.jsonl", [talk("a"), talk("b")]))
    report = load(session, jsonl(tmp_path / "g.jsonl", [talk("b"), talk("c")]))
    assert report.n_new_texts == 1
    assert texts(session) == ["a", "b", "c"]


def test_loading_twice_changes_nothing(session: Session, sample_file: Path) -> None:
    first = load(session, sample_file)
    before = counts(session)
    again = load(session, sample_file)
    assert first.n_new == 300
    assert again.already_loaded
    assert (again.n_read, again.n_new) == (0, 0)
    assert load(session, sample_file, force=True).n_new == 0
    assert counts(session) == before


def test_other_file_of_a_data_set_adds_only_new_ids(session: Session, tmp_path: Path) -> None:
    load(session, jsonl(tmp_path / "f.jsonl", [talk("a", conversation_id="1"), talk("b", conversation_id="2")]))
    grown = jsonl(tmp_path / "g.jsonl", [talk("b", conversation_id="2"), talk("c", conversation_id="3")])
    report = load(session, grown, dataset="f")
    assert (report.n_read, report.n_new) == (2, 1)
    assert counts(session)["n_conversations"] == 3


def test_same_ids_in_another_data_set_are_other_conversations(session: Session, tmp_path: Path) -> None:
    path = jsonl(tmp_path / "f.jsonl", [talk("a", conversation_id="1")])
    load(session, path, dataset="one")
    assert load(session, path, dataset="two").n_new == 1


def test_rows_without_id_are_counted_each_and_found_again(session: Session, tmp_path: Path) -> None:
    path = jsonl(tmp_path / "f.jsonl", [talk("hello"), talk("hello"), talk("other")])
    assert load(session, path).n_new == 3
    assert load(session, path, force=True).n_new == 0
    grown = jsonl(tmp_path / "g.jsonl", [talk("hello"), talk("hello"), talk("other"), talk("hello")])
    assert load(session, grown, dataset="f").n_new == 1


def test_text_rows_may_share_a_conversation_id(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    pl.DataFrame({"text": ["one", "two"], "conversation_id": ["c", "c"]}).write_parquet(path)
    assert load(session, path).n_new == 2
    assert load(session, path, force=True).n_new == 0


def test_conversation_without_user_text_is_kept_but_gives_no_query(session: Session, tmp_path: Path) -> None:
    rows = [talk("fine"), {"conversation": [{"role": "assistant", "content": "hi"}]}, talk("  "), {"conversation": []}]
    report = load(session, jsonl(tmp_path / "f.jsonl", rows))
    assert (report.n_new, report.n_queries, report.n_without_query) == (4, 1, 3)
    assert counts(session)["n_conversations"] == 4


def test_first_user_turn_with_text_is_taken(session: Session, tmp_path: Path) -> None:
    load(session, jsonl(tmp_path / "f.jsonl", [talk("\n", "what?", "the real question")]))
    assert texts(session) == ["the real question"]


def test_strange_texts_are_stored(session: Session, tmp_path: Path) -> None:
    contents = ["x" * 5_000_000, "nul \x00 inside", "👩‍👩‍👧 🇩🇪", "line\u2028separator"]
    load(session, jsonl(tmp_path / "f.jsonl", [talk(c) for c in contents]))
    assert views.turns(session).collect()["content"].to_list() == contents
    assert "\x00" not in texts(session)[1]


def test_broken_lines_are_reported_and_counted_in_the_data_set(session: Session, tmp_path: Path) -> None:
    report = load(session, jsonl(tmp_path / "f.jsonl", [talk("a"), "{broken", talk("b")]))
    assert report.n_problems == 1
    assert report.problems[0].line == 2
    with session.store.reading() as connection:
        assert reading.datasets(connection)[0].n_problems == 1


def test_strict_load_stops_with_file_and_line(session: Session, tmp_path: Path) -> None:
    with pytest.raises(ReaderError, match=r"f.jsonl:2: "):
        load(session, jsonl(tmp_path / "f.jsonl", [talk("a"), "{broken"]), strict=True)


def test_limit_stops_and_a_later_load_goes_on(session: Session, sample_file: Path) -> None:
    part = load(session, sample_file, limit=100)
    assert (part.n_read, part.finished) == (100, False)
    assert load(session, sample_file, limit=100).already_loaded
    rest = load(session, sample_file)
    assert (rest.n_read, rest.n_new, rest.finished) == (200, 200, True)


def test_limit_must_be_positive(session: Session, sample_file: Path) -> None:
    with pytest.raises(InvalidInputError, match="limit must be >= 1: 0"):
        load(session, sample_file, limit=0)


def test_unreadable_file_leaves_no_data_set(session: Session, tmp_path: Path) -> None:
    (tmp_path / "f.jsonl").touch()
    with pytest.raises(ReaderError):
        load(session, tmp_path / "f.jsonl")
    assert counts(session)["n_datasets"] == 0


def test_metadata_can_be_filtered(loaded: Session) -> None:
    everything = selection.queries(loaded, limit=None)
    german = selection.queries(loaded, Filters(language="German"), limit=None)
    selected = selection.select(loaded, Filters(language="German"))
    assert german.height == everything.filter(pl.col("language") == "German").height > 0
    assert int(selected.weights.sum()) == german.height
    ids = selected.text_ids.tolist()
    assert sorted(ids) == ids == sorted(set(german["text_id"].to_list()))
    assert everything["timestamp"].null_count() == 0


def test_events_tell_what_happens(session: Session, sample_file: Path) -> None:
    events: list[Event] = []
    load(session, sample_file, on_event=lambda event: events.append(event) if event.stage == "load" else None)
    assert [event.kind for event in events] == ["started", "advanced", "finished"]
    assert (events[1].done, events[1].total, events[1].unit) == (300, 300, "rows")


@pytest.mark.parametrize(
    ("path", "name"),
    [("a/chats.jsonl.gz", "chats"), ("x.parquet", "x"), ("v1.2.csv", "v1.2"), ("plain", "plain"), (".json", ".json")],
)
def test_data_set_is_named_after_the_file(path: str, name: str) -> None:
    assert dataset_name(path) == name


LOAD = """
import sys
from lmsys_rs.loading import load
from lmsys_rs.session import open_session
with open_session(sys.argv[2]) as session:
    load(session, sys.argv[1], on_event=lambda event: print(event.done, flush=True))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_killed_load_loses_nothing_reported_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    n_rows = 60_000
    pl.DataFrame({"text": [f"question number {i}" for i in range(n_rows)]}).write_parquet(path)
    child = subprocess.Popen(
        [sys.executable, "-c", LOAD, str(path), str(tmp_path / "w.lmsys")], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    reported = 0
    with child.stdout:
        for line in child.stdout:
            reported = int(line)
            if reported:
                break
        os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert 0 < reported < n_rows
    with open_session(tmp_path / "w.lmsys") as session:
        kept = counts(session)["n_conversations"]
        assert reported <= kept < n_rows
        report = load(session, path)
        assert report.n_read == n_rows - kept == report.n_new
        assert counts(session) == {
            "n_datasets": 1,
            "n_conversations": n_rows,
            "n_turns": n_rows,
            "n_queries": n_rows,
            "n_texts": n_rows,
            "n_runs": 0,
        }


@pytest.mark.slow
def test_loading_is_quick_enough(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    pl.DataFrame({"text": [f"question number {i}" for i in range(100_000)]}).write_parquet(path)
    started = time.perf_counter()
    load(session, path)
    assert (
        time.perf_counter() - started < 20
    )  # 2-3 s on 2 cores; the bound catches a quadratic slip, not a slow machine
