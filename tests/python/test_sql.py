"""SQL over a workspace: right answers, and no way to anything but the views."""

from __future__ import annotations

import ast
import json
import os
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import lmsys_rs
import polars as pl
import pytest
from lmsys_rs import _core, sql, views
from lmsys_rs.clustering import cluster
from lmsys_rs.embedding import embed
from lmsys_rs.errors import InvalidInputError, LmsysError
from lmsys_rs.labeling import label
from lmsys_rs.loading import load
from lmsys_rs.session import Session, open_session
from lmsys_rs.store import reading
from polars.testing import assert_frame_equal


@pytest.fixture(scope="module")
def chats(tmp_path_factory: pytest.TempPathFactory, sample_file: Path, encoder: Any) -> Iterator[Session]:
    """The sample with one named run; tests change nothing."""
    with open_session(tmp_path_factory.mktemp("sql") / "w.lmsys") as session:
        load(session, sample_file)
        embed(session, encoder)
        label(session, cluster(session, _core.KMeans(n_clusters=5)).run_id)
        yield session


def ask(session: Session, question: str, *parameters: Any) -> list[tuple[Any, ...]]:
    return sql.query(session, question, parameters).rows()


# ---- answers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", views.VIEWS)
def test_every_view_can_be_asked(chats: Session, name: str) -> None:
    expected = views.view(chats, name).collect()
    found = sql.query(chats, f"SELECT * FROM {name}")
    assert found.columns == expected.columns
    assert found.height == expected.height > 0
    key = expected.columns[0]
    assert_frame_equal(
        found.select(pl.col(key).cast(pl.String)).sort(key), expected.select(pl.col(key).cast(pl.String)).sort(key)
    )


def test_answers_agree_with_the_views(chats: Session) -> None:
    queries = views.queries(chats).collect()
    assert ask(chats, "SELECT count(*), min(timestamp), max(query_id) FROM queries") == [
        (300, queries["timestamp"].min(), 300)
    ]
    counted = dict(ask(chats, "SELECT language, count(*) FROM queries GROUP BY language"))
    assert counted == dict(queries.group_by("language").len().rows())
    found = ask(chats, "SELECT query_id FROM queries WHERE text LIKE '%SQL%' ORDER BY query_id")
    assert [row[0] for row in found] == queries.filter(pl.col("text").str.contains("SQL"))["query_id"].to_list()


JOINS = [
    "memberships JOIN clusters USING (cluster_id)",
    "memberships m JOIN clusters c ON m.cluster_id = c.cluster_id",
    "memberships NATURAL JOIN clusters",
    "clusters, memberships WHERE clusters.cluster_id = memberships.cluster_id",
]


@pytest.mark.parametrize("joined", JOINS)
def test_views_are_joined(chats: Session, joined: str) -> None:
    found = ask(chats, f"SELECT title, count(*) FROM {joined} GROUP BY title")
    clusters = views.clusters(chats).collect()
    assert sorted(found) == sorted(clusters.select("title", "size").rows())


def test_subqueries_windows_and_ctes(chats: Session) -> None:
    assert ask(
        chats,
        "WITH long AS (SELECT text_id FROM texts WHERE n_chars > 40) "
        "SELECT count(*) FROM queries WHERE text_id IN (SELECT text_id FROM long)",
    ) == ask(chats, "SELECT count(*) FROM queries WHERE length(text) > 40")
    assert ask(chats, "SELECT max(r) FROM (SELECT row_number() OVER (ORDER BY text_id) AS r FROM texts)")[0][0] > 100
    assert ask(chats, "SELECT (SELECT count(*) FROM turns) - (SELECT sum(n_turns) FROM datasets)") == [(0,)]


@pytest.mark.parametrize(
    "question",
    [
        "SELECT count(*) FROM QUERIES",
        'SELECT count(*) FROM "queries"',
        'SELECT count(*) FROM "Queries"',
        "SELECT count(*) FROM main.queries",
        "FROM queries SELECT count(*)",
        "SELECT count(*) FROM queries AS texts",
        "SELECT count(*) FROM query_table('queries')",
        "SELECT * FROM query('SELECT count(*) FROM queries')",
        "-- how many\nSELECT /* all */ count(*)\nFROM queries;",
    ],
)
def test_names_are_written_in_any_way(chats: Session, question: str) -> None:
    assert ask(chats, question) == [(300,)]


def test_own_name_of_a_query_hides_a_view(chats: Session) -> None:
    assert ask(chats, "WITH queries AS (SELECT 7 AS a) SELECT * FROM queries") == [(7,)]
    assert ask(chats, "SELECT runs.n FROM (SELECT 3 AS n) AS runs") == [(3,)]


def test_tables_can_be_looked_up(chats: Session) -> None:
    assert {row[0] for row in ask(chats, "SHOW TABLES")} == set(views.VIEWS)
    assert ask(chats, "DESCRIBE clusters")[1][:2] == ("cluster_id", "INTEGER")
    assert len(ask(chats, "SUMMARIZE datasets")) == 10


def test_parameters(chats: Session) -> None:
    assert ask(chats, "SELECT count(*) FROM queries WHERE query_id <= ? AND dataset = ?", 10, "sample") == [(10,)]
    assert ask(chats, "SELECT ?", "'; DROP VIEW queries; --") == [("'; DROP VIEW queries; --",)]
    assert ask(chats, "SELECT list_sum(?::INTEGER[])", [1, 2]) == [(3,)]
    for parameters in ((), (1, 2)):
        with pytest.raises(InvalidInputError, match="SQL: "):
            ask(chats, "SELECT ?", *parameters)


def test_limit_bounds_the_answer(chats: Session) -> None:
    assert sql.query(chats, "SELECT query_id FROM queries ORDER BY query_id DESC", limit=3).rows() == [
        (300,), (299,), (298,),
    ]  # fmt: skip
    assert sql.query(chats, "SELECT 1 LIMIT 1", limit=3).rows() == [(1,)]


# ---- types --------------------------------------------------------------------------------------------------------


def test_lists_and_structs_keep_their_form(chats: Session) -> None:
    found = sql.query(chats, "SELECT turns, turns[1].content AS first, [1, 2] AS l, {'a': {'b': 1}} AS s, "
                             "MAP {'k': 1} AS m FROM conversations WHERE id = 1")  # fmt: skip
    assert found.schema["turns"] == pl.List(pl.Struct({"role": pl.String, "content": pl.String}))
    row = found.row(0, named=True)
    assert row["turns"][0]["content"] == row["first"]
    assert (row["l"], row["s"], row["m"]) == ([1, 2], {"a": {"b": 1}}, {"k": 1})
    terms = sql.query(chats, "SELECT terms FROM clusters WHERE cluster_id = 0")["terms"]
    assert terms.dtype == pl.List(pl.String)


def test_columns_of_one_name_are_told_apart(chats: Session) -> None:
    found = sql.query(chats, "SELECT q.*, t.* FROM queries q JOIN texts t ON q.text_id = t.text_id LIMIT 1")
    assert found["text_id"].to_list() == found["text_id_1"].to_list()
    assert found.columns.count("text_1") == 1
    assert sql.query(chats, 'SELECT 1 AS a, 2 AS a, 3 AS a_1, 4 AS a, 5 AS "x""y"').columns == [
        "a", "a_2", "a_1", "a_3", 'x"y',
    ]  # fmt: skip


def test_types_that_polars_lacks_become_text(chats: Session) -> None:
    found = sql.query(chats, "SELECT INTERVAL 90 MINUTE AS i, [INTERVAL 1 DAY] AS l, {'x': INTERVAL 1 DAY} AS s, "
                             "'101'::BIT AS b, '10:00:00+02'::TIMETZ AS t, 1 AS n")  # fmt: skip
    assert found.row(0) == ("01:30:00", "[1 day]", "{'x': 1 day}", "101", "10:00:00+02", 1)
    span = sql.query(chats, "SELECT max(timestamp) - min(timestamp) AS span FROM queries")
    assert span.schema == {"span": pl.String}


def test_every_type_of_duckdb_can_be_read(chats: Session) -> None:
    assert sql.query(chats, "SELECT * FROM test_all_types()").height == 3


def test_times_are_utc(chats: Session) -> None:
    assert sql.query(chats, "SELECT timestamp FROM queries LIMIT 1").schema["timestamp"].time_zone in ("UTC", "Etc/UTC")
    (when,) = ask(chats, "SELECT TIMESTAMPTZ '2023-04-27 12:00:00+02'")[0]
    assert when == datetime(2023, 4, 27, 10, tzinfo=timezone.utc)


def test_empty_answers_have_their_columns(chats: Session) -> None:
    found = sql.query(chats, "SELECT query_id, text FROM queries WHERE query_id < 0")
    assert (found.columns, found.height) == (["query_id", "text"], 0)


def test_empty_workspace_and_one_without_runs(session: Session, sample_file: Path) -> None:
    for name in views.VIEWS:
        assert ask(session, f"SELECT count(*) FROM {name}") == [(0,)]
    load(session, sample_file, limit=5)
    assert ask(session, "SELECT run_id, terms FROM clusters") == []
    assert ask(session, "SELECT assigned FROM memberships") == []


# ---- laziness -----------------------------------------------------------------------------------------------------


def test_texts_nobody_asks_for_are_not_read(chats: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    for name in ("text_page", "text_range", "texts_of"):
        monkeypatch.setattr(reading, name, lambda *a, name=name, **o: read.append(name))
    ask(chats, "SELECT language, count(*) FROM queries WHERE n_turns > 1 GROUP BY language")
    ask(chats, "SELECT avg(quality) FROM texts WHERE n_chars > 10")
    ask(chats, "SELECT count(*) FROM queries q JOIN texts t USING (text_id) WHERE t.n_words > 3")
    assert read == []


def test_conditions_reach_the_view(chats: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    n_read: list[int] = []
    real = reading.text_range
    monkeypatch.setattr(reading, "text_range", lambda *a: n_read.append(a[2] - a[1]) or real(*a))
    assert ask(chats, "SELECT text FROM texts WHERE text_id = 7")[0][0]
    assert n_read == [1]


# ---- what must not be possible --------------------------------------------------------------------------------------

NOT_SELECT = [
    *("DELETE FROM queries", "UPDATE queries SET text = ''", "INSERT INTO queries VALUES (1)", "DROP VIEW queries"),
    *("CREATE TABLE x AS SELECT 1", "CREATE VIEW queries AS SELECT 1", "TRUNCATE queries"),
    *("ALTER VIEW queries RENAME TO q", "ATTACH '{file}'", "ATTACH ':memory:' AS x", "DETACH memory", "USE memory"),
    *("COPY (SELECT 1) TO '{file}'", "COPY queries TO '{file}'", "EXPORT DATABASE '{folder}'"),
    *("IMPORT DATABASE '{folder}'", "INSTALL httpfs", "LOAD httpfs", "SET memory_limit = '1GB'"),
    *("SET enable_external_access = true", "RESET enable_external_access", "PRAGMA version", "PRAGMA database_list"),
    *("PREPARE p AS SELECT 1", "EXECUTE p", "DEALLOCATE p", "CALL pragma_version()", "CHECKPOINT"),
    *("EXPLAIN SELECT 1", "EXPLAIN ANALYZE COPY (SELECT 1) TO '{file}'", "VACUUM", "BEGIN", "COMMIT"),
    *("CREATE MACRO f() AS 1", "CREATE SECRET s (TYPE s3)", "SET VARIABLE x = 1", "COMMENT ON VIEW queries IS 'x'"),
]  # fmt: skip
SEVERAL = [
    *("SELECT 1; SELECT 2", "SELECT 1; DROP VIEW queries", "SELECT 1; COPY (SELECT 1) TO '{file}'", "", "  ", ";"),
    *("-- nothing", "PREPARE p AS SELECT 1; EXECUTE p"),
]
FILES = [
    *("SELECT * FROM read_csv('{secret}')", "SELECT * FROM read_text('{secret}')", "SELECT * FROM '{secret}'"),
    *(
        "SELECT * FROM read_blob('{secret}')",
        "SELECT * FROM read_parquet('{secret}')",
        "SELECT * FROM glob('{folder}/*')",
    ),
    *("SELECT * FROM read_json('{secret}')", 'SELECT * FROM "{secret}"', "SELECT * FROM query_table('{secret}')"),
    *("SELECT * FROM query('SELECT * FROM read_text(''{secret}'')')", "SELECT * FROM sniff_csv('{secret}')"),
    *("SELECT * FROM parquet_schema('{secret}')", "SELECT getenv('HOME')", "SELECT * FROM read_duckdb('{secret}')"),
    *("WITH x AS (SELECT * FROM read_text('{secret}')) SELECT * FROM x", "SELECT * FROM 'https://example.com/x.csv'"),
    "SELECT (SELECT content FROM read_text('{secret}'))",
]
STRANGERS = [
    *("SELECT * FROM conversation", "SELECT * FROM sqlite.main.query", "SELECT * FROM lmsys.queries"),
    *("SELECT * FROM chats", "SELECT * FROM session", "SELECT * FROM statements"),
    *("SELECT * FROM query('SELECT * FROM relation')", "SELECT * FROM memory.main.queries"),
    *("SELECT * FROM system.main.queries", "SELECT * FROM query_table('session')"),
]  # fmt: skip


@pytest.mark.parametrize("question", [*NOT_SELECT, *SEVERAL, *FILES, *STRANGERS])
def test_nothing_but_the_views_can_be_reached(chats: Session, tmp_path: Path, question: str) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("a\ntop secret\n")
    before = {path: path.stat().st_mtime_ns for path in chats.folder.path.rglob("*")}
    with pytest.raises(InvalidInputError) as refused:
        ask(chats, question.format(file=tmp_path / "out.csv", folder=tmp_path, secret=secret))
    assert "top secret" not in str(refused.value)
    assert len(str(refused.value).splitlines()) <= 2  # the message and a hint
    assert list(tmp_path.iterdir()) == [secret]
    assert {path: path.stat().st_mtime_ns for path in chats.folder.path.rglob("*")} == before
    assert ask(chats, "SELECT count(*) FROM queries") == [(300,)]


def test_variables_of_the_program_are_not_tables(chats: Session) -> None:
    frame = pl.DataFrame({"a": ["of the program"]})  # noqa: F841  # what must not be found
    for question in ("SELECT * FROM frame", "SELECT * FROM query('SELECT * FROM frame')"):
        with pytest.raises(InvalidInputError, match="there is no view 'frame'"):
            ask(chats, question)


def test_settings_stay_as_they_are(chats: Session) -> None:
    settings = dict(ask(chats, "SELECT name, value FROM duckdb_settings()"))
    assert settings["enable_external_access"] == "false"
    assert settings["lock_configuration"] == "true"
    assert settings["python_enable_replacements"] == "false"
    assert ask(chats, "SELECT count(*) FROM duckdb_databases() WHERE NOT internal") == [(1,)]
    assert {row[0] for row in ask(chats, "SELECT path FROM duckdb_databases()")} == {None}


@pytest.mark.skipif(sys.platform == "win32", reason="a pipe in the file system")
def test_no_file_is_left_in_the_current_folder(chats: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ask(chats, "SELECT text, count(*) FROM queries GROUP BY text ORDER BY 2 DESC")
    assert os.listdir() == []  # noqa: PTH208


@pytest.mark.parametrize(
    ("question", "message", "hint"),
    [
        ("SELECT * FROM querys", "there is no view 'querys': the views are datasets, ", "did you mean queries?"),
        ("SELECT * FROM xyz", "there is no view 'xyz'", None),
        ("SELECT * FROM memory.main.queries", "there is no view 'queries'", "without a catalog or schema: queries"),
        ("SELECT * FROM x.queries", "there is no view 'x.queries'", "without a catalog or schema: queries"),
        (
            "SELECT nope FROM queries",
            'SQL: Binder Error: Referenced column "nope" not found in FROM clause! ',
            "lmsys sql",
        ),
        ("SELECT\n\n  *\nFORM queries", 'SQL: Parser Error: syntax error at or near "queries"', "lmsys sql"),
        ("SELECT 1 / 'a'", "SQL: Conversion Error: Could not convert string 'a'", "lmsys sql"),
        ("SELECT * FROM queries JOIN nope USING (text_id)", "there is no view 'nope'", None),
    ],
)
def test_mistakes_are_one_line_and_a_hint(chats: Session, question: str, message: str, hint: str | None) -> None:
    with pytest.raises(InvalidInputError) as refused:
        ask(chats, question)
    first, *rest = str(refused.value).splitlines()
    assert first.startswith(message)
    assert [line.startswith(f"hint: {hint}") for line in rest] == [True] * (hint is not None)


@pytest.mark.parametrize("missing", ["duckdb", "pyarrow"])
def test_missing_extra_is_named(chats: Session, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(LmsysError, match=r'not installed\nhint: pip install "lmsys-rs\[sql\]"'):
        ask(chats, "SELECT 1")


def test_duckdb_is_imported_in_one_place_and_late() -> None:
    package = Path(lmsys_rs.__file__).parent
    for path in package.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {
            alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
        } | {
            str(node.module).split(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and not node.level
        }
        assert not names & {"duckdb", "pyarrow"} or path.name == "sql.py", path
        top = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
        assert not any(alias.name in ("duckdb", "pyarrow") for node in top for alias in node.names), path


def test_answers_can_be_json(chats: Session) -> None:
    row = sql.query(chats, "SELECT turns, timestamp FROM conversations LIMIT 1").row(0, named=True)
    assert json.loads(json.dumps(row["turns"])) == row["turns"]


def test_answer_is_of_one_state(session: Session, sample_file: Path) -> None:
    load(session, sample_file, limit=50)
    with open_session(session.folder.path) as other:
        assert ask(other, "SELECT count(*) FROM queries") == [(50,)]
        load(session, sample_file)
        assert ask(other, "SELECT count(*), (SELECT count(*) FROM turns) > 300 FROM queries") == [(300, True)]
