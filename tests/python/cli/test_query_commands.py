"""What goes out: ``list``, ``show``, ``facets``, ``near-duplicates``, ``search``, ``export`` and ``sql``."""

from __future__ import annotations

import io
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from lmsys_rs.session import open_session
from lmsys_rs.store import reading
from lmsys_rs.views import VIEWS

Cli = Any  # see conftest.py
OTHERS = [
    *("how do I sort a list in Python", "what is the capital of France", "write a poem about autumn leaves"),
    *("explain recursion to a child", "translate this letter to Polish", "plan a trip to Lisbon in March"),
]
FILTERED = ["list", "facets", "near-duplicates", "search x", "export latest", "cluster kmeans"]


def rows(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def talks(path: Path) -> Path:
    """Twelve conversations in three months, some nearly the same, with and without a model."""
    with path.open("w", encoding="utf-8") as file:
        for i in range(12):
            text = "please refund the ticket that I bought for the concert on Friday" + "!" * (i % 2)
            text = text if i < 6 else f"{OTHERS[i - 6]}, question {i}"
            row: dict[str, Any] = {
                "conversation_id": f"c{i}",
                "model": "gpt-4" if i % 3 else None,
                "timestamp": f"2023-{4 + i % 3:02}-27T10:00:00Z",
                "conversation": [{"role": "user", "content": text}, {"role": "assistant", "content": f"answer {i}"}],
                "rating": i,
            }
            file.write(json.dumps(row) + "\n")
    return path


@pytest.fixture
def chats(cli: Cli, tmp_path: Path) -> None:
    """A workspace with `talks`, not embedded."""
    assert cli("load", talks(tmp_path / "talks.jsonl"))[0] == 0


# ---- filters ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", FILTERED)
@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--where", "nothing > 1", "error: where: there is no column 'nothing'"),
        ("--since", "soon", "error: since must be a time such as"),
        ("--where", "n_turns", "error: where must be true or false for each query"),
    ],
)
def test_filters_are_checked_alike(
    cli: Cli, analysed: str, command: str, option: str, value: str, message: str
) -> None:
    code, out, err = cli(*command.split(), option, value)
    assert (code, out) == (1, "")
    assert err.startswith(message)


FILTERS = [
    (("--language", "German"), "language = 'German'"),
    (("--model", "synthetic-model-c"), "model = 'synthetic-model-c'"),
    (("--min-length", "40", "--max-length", "60"), "n_chars BETWEEN 40 AND 60"),
    (("--min-quality", "0.9"), "quality >= 0.9"),
    (("--dataset", "sample", "--where", "n_turns > 2"), "dataset = 'sample' AND n_turns > 2"),
]


@pytest.mark.parametrize(("options", "where"), FILTERS)
def test_filters_mean_the_same_in_every_command(cli: Cli, analysed: str, options: tuple[str, ...], where: str) -> None:
    listed = rows(cli("list", *options, "--limit", 500, "--json")[1])
    assert 0 < len(listed) < 300
    assert [row["query_id"] for row in rows(cli("list", "--where", where, "--limit", 500, "--json")[1])] == [
        row["query_id"] for row in listed
    ]
    facets = {row["facet"]: row["counts"] for row in rows(cli("facets", *options, "--json")[1])}
    assert {entry["key"]: entry["count"] for entry in facets["model"]} == Counter(row["model"] for row in listed)
    assert {entry["key"]: entry["count"] for entry in facets["language"]} == Counter(row["language"] for row in listed)
    assert rows(cli("export", "latest", *options, "-o", "e.jsonl", "--json")[1])[0]["n_rows"] == len(listed)
    found = rows(cli("search", "list", *options, "-n", 300, "--json")[1])[0]["results"]
    assert {hit["snippet"][:20] for hit in found} == {row["text"][:20] for row in listed}
    code, out, _ = cli("cluster", "kmeans", "--n-clusters", 2, "--no-label", *options, "--json")
    assert code == 0
    assert rows(out)[0]["n_queries"] == len(listed)


def test_near_duplicates_are_dropped_everywhere(cli: Cli, chats: None) -> None:
    listed = rows(cli("list", "--drop-near-duplicates", "--json")[1])
    assert [row["query_id"] for row in listed if "refund" in row["text"]] == [1, 3, 5]  # of one text, all its queries
    assert {row["text"] for row in listed if "refund" in row["text"]} == {listed[0]["text"]}
    facets = rows(cli("facets", "--by", "dataset", "--drop-near-duplicates", "--json")[1])
    assert facets[0]["counts"] == [{"key": "talks", "count": len(listed)}]


def test_near_duplicates_are_dropped_from_clusters_and_exports(cli: Cli, analysed: str, tmp_path: Path) -> None:
    n_kept = len(rows(cli("list", "--drop-near-duplicates", "--limit", 500, "--json")[1]))
    assert 0 < n_kept < 300
    code, out, _ = cli("export", "latest", "--drop-near-duplicates", "--format", "jsonl", "--json")
    assert (code, rows(out)[0]["n_rows"]) == (0, n_kept)
    code, out, _ = cli("cluster", "kmeans", "--n-clusters", 3, "--drop-near-duplicates", "--no-label", "--json")
    assert (code, rows(out)[0]["n_queries"]) == (0, n_kept)
    found = rows(cli("search", "list", "--drop-near-duplicates", "-n", 300, "--json")[1])[0]["results"]
    assert len(found) <= n_kept


def test_text_in_double_quotes_is_explained(cli: Cli, chats: None) -> None:
    code, _, err = cli("list", "--where", 'language = "English"')
    assert (code, len(err.splitlines())) == (1, 2)
    assert "Text stands in single quotes" in err


def test_time_compared_with_text_is_explained(cli: Cli, chats: None) -> None:
    code, _, err = cli("list", "--where", "timestamp > '2023-05-01'")
    assert code == 1
    assert "python" not in err
    assert "DATE '" in err.splitlines()[-1]


def test_month_limits(cli: Cli, chats: None) -> None:
    listed = rows(cli("list", "--since", "2023-05", "--until", "2023-06", "--json")[1])
    assert {row["timestamp"] for row in listed} == {"2023-05-27T10:00:00+00:00"}
    code, _, err = cli("list", "--since", "2023-06", "--until", "2023-05")
    assert (code, err.startswith("error: since must be before until")) == (1, True)


def test_nothing_that_passes_is_said(cli: Cli, chats: None) -> None:
    code, out, err = cli("list", "--model", "none")
    assert (code, len(out.splitlines()), err) == (0, 1, "no query passes\n")
    assert cli("list", "--model", "none", "--json") == (0, "", "no query passes\n")


# ---- list, show, facets, near-duplicates ----------------------------------------------------------------------------


def test_list_as_xml(cli: Cli, chats: None) -> None:
    _, out, _ = cli("list", "--xml", "--limit", 2)
    assert out.startswith('<queries>\n  <query query_id="1" text_id="0" ')
    assert out.endswith("</queries>\n")


def test_whole_conversation_of_a_query(cli: Cli, chats: None) -> None:
    code, out, _ = cli("show", 3)
    assert code == 0
    assert out.splitlines()[0].split() == ["conversation_id", "c2"]
    assert "user:\nplease refund the ticket" in out
    assert "assistant:\nanswer 2" in out
    assert 'other fields: {"rating": 2}' in out
    found = rows(cli("show", 3, "--json")[1])[0]
    assert (found["query_id"], found["timestamp"], found["extra"]) == (3, "2023-06-27T10:00:00+00:00", {"rating": 2})
    code, _, err = cli("show", 99)
    assert (code, err.splitlines()[0]) == (1, "error: there is no query 99")


def test_shown_turns_cannot_write_to_the_terminal(cli: Cli, tmp_path: Path) -> None:
    turns = [
        {"role": "user", "content": "hi\x1b]0;owned\x07 there\nsecond line"},
        {"role": "bot\x1b[2J", "content": "\x9b2J"},
    ]
    row = {"conversation": turns, "model": "\x1b[31mred", "x": "\x1b[31m"}
    (tmp_path / "f.jsonl").write_text(json.dumps(row) + "\n")
    cli("load", "f.jsonl")
    for command in (("show", 1), ("list",), ("sql", "SELECT * FROM turns"), ("facets",), ("near-duplicates",)):
        code, out, _ = cli(*command)
        assert code == 0
        assert "\x1b" not in out
        assert "\x07" not in out
        assert "\x9b" not in out
    assert "second line" in cli("show", 1)[1].splitlines()


def test_facets(cli: Cli, chats: None) -> None:
    code, out, _ = cli("facets", "--by", "month", "--by", "model")
    assert code == 0
    month, model = out.strip().split("\n\n")
    assert [line.split() for line in month.splitlines()] == [
        ["month", "queries"], ["2023-04", "4"], ["2023-05", "4"], ["2023-06", "4"],
    ]  # fmt: skip
    assert [line.split() for line in model.splitlines()] == [["model", "queries"], ["gpt-4", "8"], ["unknown", "4"]]
    found = {row["facet"]: row["counts"] for row in rows(cli("facets", "--json")[1])}
    assert list(found) == ["dataset", "model", "language", "month"]
    assert found["month"][0] == {"key": "2023-04", "count": 4}
    _, out, err = cli("facets", "--by", "model", "--limit", 1)
    assert len(out.strip().splitlines()) == 2
    assert err == "and 1 more (--limit 2)\n"
    code, _, err = cli("facets", "--by", "mood")
    assert (code, err) == (
        1,
        "error: a facet must be one of dataset, model, language, month or a column of labels: 'mood'\n",
    )


def test_facets_of_an_empty_workspace(cli: Cli) -> None:
    open_session(Path("empty.lmsys")).close()
    assert cli("facets", "--json")[0] == 0
    assert cli("facets")[0] == 0


def test_groups_of_near_duplicates(cli: Cli, chats: None) -> None:
    code, out, err = cli("near-duplicates", "--json")
    assert code == 0
    group = rows(out)[0]
    assert (group["n_texts"], group["n_queries"], group["text_id"]) == (2, 6, [0, 1])
    _, out, _ = cli("near-duplicates", "--limit", 1)
    assert out.splitlines()[0] == "2 texts, 6 queries"
    code, _, err = cli("near-duplicates", "--by", "sound")
    assert (code, err) == (1, "error: by must be text or meaning: 'sound'\n")
    code, _, err = cli("near-duplicates", "--by", "meaning")
    assert (code, err.splitlines()[1]) == (1, "hint: run: lmsys embed")


def test_near_duplicates_by_meaning(cli: Cli, analysed: str) -> None:
    assert cli("near-duplicates", "--by", "meaning")[0] == 0


# ---- assign, export -------------------------------------------------------------------------------------------------


def test_assign_places_new_texts(cli: Cli, analysed: str, encoder: Any, tmp_path: Path) -> None:
    assert "0 texts placed" in cli("assign")[2]
    cli("load", talks(tmp_path / "talks.jsonl"))
    code, _, err = cli("assign")
    assert code == 1
    assert err.splitlines()[0].endswith("new texts have no vector of words-64 yet")
    assert err.splitlines()[1] == "hint: lmsys embed"
    from lmsys_rs.embedding import embed

    with open_session("chats.lmsys") as session:
        embed(session, encoder)
    code, out, err = cli("assign", "latest", "--json")
    assert code == 0
    report = rows(out)[0]
    assert (report["run_id"], report["n_new"], report["n_assigned"]) == (analysed, 8, 8)
    assert isinstance(report["should_recluster"], bool)
    with open_session("chats.lmsys") as session, session.store.reading() as connection:
        assert reading.get_run(connection, analysed).n_assigned == 8
    code, _, err = cli("assign", "none")
    assert code == 1
    assert err.startswith("error: ")


def test_assign_shows_where_texts_went(cli: Cli, analysed: str, encoder: Any, tmp_path: Path) -> None:
    from lmsys_rs.embedding import embed

    cli("load", talks(tmp_path / "talks.jsonl"))
    with open_session("chats.lmsys") as session:
        embed(session, encoder)
    code, out, err = cli("assign", analysed)
    assert code == 0
    assert f"{analysed}: 8 texts placed, 8 in all calls" in err
    assert out.splitlines()[0].split() == ["id", "title", "before", "new", "growth", "far"]


@pytest.mark.parametrize("format", ["csv", "json", "jsonl", "parquet"])
def test_export_with_filters_in_every_format(cli: Cli, analysed: str, format: str) -> None:
    code, out, _ = cli("export", "latest", "--format", format, "--language", "German")
    assert code == 0
    path = Path(f"export.{format}")
    read = {"csv": pl.read_csv, "json": pl.read_json, "jsonl": pl.read_ndjson, "parquet": pl.read_parquet}[format]
    found = read(path)
    assert set(found["language"].to_list()) == {"German"}
    assert out == f"{path}: {found.height} queries\n"


@pytest.mark.parametrize("format", ["csv", "json", "jsonl", "parquet"])
def test_export_of_nothing_is_a_readable_file(cli: Cli, analysed: str, format: str) -> None:
    assert cli("export", "latest", "--format", format, "--model", "none")[1] == f"export.{format}: 0 queries\n"
    text = Path(f"export.{format}").read_bytes()
    assert {"csv": text.startswith(b"query_id,"), "json": text == b"[]\n", "jsonl": text == b"", "parquet": True}[
        format
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-o", "x.doc"), "error: export format must be one of csv, json, jsonl, parquet: 'doc'"),
        (("-o", "none/x.csv"), "error: none/"),
        (("none",), "error: there is no run 'none'"),
    ],
)
def test_export_failures_leave_no_file(cli: Cli, analysed: str, arguments: tuple[str, ...], message: str) -> None:
    before = sorted(Path().iterdir())
    code, _, err = cli("export", *arguments)
    assert code == 1
    assert err.splitlines()[-1 if "hint" not in err else -2].startswith(message)
    assert sorted(Path().iterdir()) == before


# ---- sql ----------------------------------------------------------------------------------------------------------


def test_sql_table_sets_numbers_right(cli: Cli, chats: None) -> None:
    code, out, err = cli("sql", "SELECT model, count(*) AS n FROM queries GROUP BY model ORDER BY n DESC")
    assert (code, err) == (0, "")
    assert out == "model    n\ngpt-4    8\nunknown  4\n"


def test_sql_json_keeps_lists_and_times(cli: Cli, chats: None) -> None:
    _, out, _ = cli("sql", "SELECT id, turns, timestamp FROM conversations WHERE id = 2", "--json")
    row = rows(out)[0]
    assert row["turns"][1] == {"role": "assistant", "content": "answer 1"}
    assert str(row["timestamp"]).startswith("2023-05-27")


def test_sql_views_are_listed_with_types(cli: Cli, chats: None) -> None:
    code, out, _ = cli("sql", "--views")
    assert code == 0
    listed = [line.split()[:2] for line in out.splitlines()[1:]]
    assert {view for view, _ in listed} == set(VIEWS)
    assert ["queries", "text"] in listed
    assert ["clusters", "terms"] in listed  # also before there is a run


def test_sql_from_standard_input(cli: Cli, chats: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("SELECT count(*) AS n\nFROM turns;\n"))
    assert cli("sql", "-", "--json")[1] == '{"n": 24}\n'


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_sql_writes_files(cli: Cli, chats: None, suffix: str) -> None:
    code, out, err = cli("sql", "SELECT query_id, text FROM queries ORDER BY 1", "-o", f"a{suffix}")
    assert (code, out, err) == (0, "", f"a{suffix}: 12 rows\n")
    read = {".csv": pl.read_csv, ".jsonl": pl.read_ndjson, ".parquet": pl.read_parquet}[suffix]
    assert read(f"a{suffix}")["query_id"].to_list() == list(range(1, 13))


def test_sql_writes_more_than_it_shows(cli: Cli, chats: None) -> None:
    _, out, err = cli("sql", "SELECT query_id FROM queries", "--limit", 5)
    assert len(out.splitlines()) == 6
    assert err == "more than 5 rows: --limit or --output FILE shows the others\n"
    assert cli("sql", "SELECT query_id FROM queries", "--limit", 5, "-o", "a.csv")[2] == "a.csv: 12 rows\n"


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (("SELECT * FROM querys",), "there is no view 'querys': the views are datasets, ", "did you mean queries?"),
        (("DELETE FROM queries",), "need a SELECT: this is DELETE", "a workspace is read-only here"),
        (("SELECT 1; SELECT 2",), "need one SELECT: got 2 statements", ""),
        (("",), "need one SELECT: got 0 statements", ""),
        (("SELEC 1",), 'SQL: Parser Error: syntax error at or near "SELEC"', "lmsys sql --views lists names and types"),
        (("SELECT nope FROM queries",), 'SQL: Binder Error: Referenced column "nope" not found', "lmsys sql --views"),
        ((), "sql needs a query", 'lmsys sql "SELECT count(*) FROM queries"'),
        (("SELECT 1 AS a", "-o", "a.doc"), "need a file that ends in .csv, .jsonl, .parquet: a.doc", ""),
        (("SELECT [1] AS a", "-o", "a.csv"), "a.csv: ", "lists and objects fit into .jsonl and .parquet"),
        (("SELECT 1 AS a", "-o", "none/a.csv"), "none/", ""),
        (("SELECT * FROM read_csv('talks.jsonl')",), "SQL: Permission Error: Cannot access file", "lmsys sql --views"),
    ],
)
def test_sql_mistakes_are_one_line_and_a_hint(
    cli: Cli, chats: None, arguments: tuple[str, ...], message: str, hint: str
) -> None:
    code, out, err = cli("sql", *arguments)
    assert (code, out) == (1, "")
    first, *rest = err.splitlines()
    assert first.startswith(f"error: {message}")
    assert len(rest) == bool(hint)
    assert not hint or rest[0].startswith(f"hint: {hint}")


@pytest.mark.parametrize("missing", ["duckdb", "pyarrow"])
def test_sql_without_duckdb_says_how_to_get_it(
    cli: Cli, chats: None, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    code, _, err = cli("sql", "SELECT 1")
    assert code == 1
    assert err == 'error: SQL needs DuckDB, which is not installed\nhint: pip install "lmsys-rs[sql]"\n'
    assert cli("sql", "--views")[0] == 0
