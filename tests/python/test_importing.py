"""The database of jxnl/lmsys-query-analysis comes along: queries, runs, names, hierarchies, edits; and only once."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from lmsys_rs import assigning, deleting, exporting, labeling, selection, verifying, views
from lmsys_rs.embedding import embed
from lmsys_rs.errors import ReaderError
from lmsys_rs.importing import import_queries_db
from lmsys_rs.session import Session
from lmsys_rs.store import reading

TABLES = """
CREATE TABLE datasets (id INTEGER PRIMARY KEY, name TEXT UNIQUE, source TEXT, description TEXT, column_mapping JSON,
    query_count INTEGER, created_at DATETIME);
CREATE TABLE queries (id INTEGER PRIMARY KEY, dataset_id INTEGER, conversation_id TEXT UNIQUE, model TEXT,
    query_text TEXT, language TEXT, timestamp DATETIME, extra_metadata JSON, created_at DATETIME);
CREATE TABLE clustering_runs (run_id TEXT PRIMARY KEY, algorithm TEXT, parameters JSON, description TEXT,
    num_clusters INTEGER, created_at DATETIME);
CREATE TABLE query_clusters (id INTEGER PRIMARY KEY, run_id TEXT, query_id INTEGER, cluster_id INTEGER,
    confidence_score FLOAT);
CREATE TABLE cluster_summaries (id INTEGER PRIMARY KEY, run_id TEXT, cluster_id INTEGER, summary_run_id TEXT,
    alias TEXT, title TEXT, description TEXT, summary TEXT, num_queries INTEGER, representative_queries JSON,
    model TEXT, parameters JSON, generated_at DATETIME);
CREATE TABLE cluster_hierarchies (id INTEGER PRIMARY KEY, run_id TEXT, hierarchy_run_id TEXT, cluster_id INTEGER,
    parent_cluster_id INTEGER, level INTEGER, children_ids JSON, title TEXT, description TEXT, created_at DATETIME);
CREATE TABLE cluster_edits (id INTEGER PRIMARY KEY, run_id TEXT, cluster_id INTEGER, edit_type TEXT, editor TEXT,
    timestamp DATETIME, old_value JSON, new_value JSON, reason TEXT);
CREATE TABLE cluster_metadata (id INTEGER PRIMARY KEY, run_id TEXT, cluster_id INTEGER, coherence_score INTEGER,
    quality TEXT, flags JSON, notes TEXT, last_edited DATETIME);
CREATE TABLE orphaned_queries (id INTEGER PRIMARY KEY, run_id TEXT, query_id INTEGER, original_cluster_id INTEGER,
    orphaned_at DATETIME, reason TEXT);
"""
TEXTS = ["sort a list", "sort a dict", "capital of France", "capital of Spain", "sort a list", "sort a list", " ", "hi"]
RUN = "kmeans-2-20250101-120000"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "queries.db"
    with sqlite3.connect(path) as db:
        db.executescript(TABLES)
        db.execute(
            "INSERT INTO datasets VALUES (1, 'lmsys', 'hf', 'first try', '{\"text\": \"conversation\"}', 8, NULL)"
        )
        for i, text in enumerate(TEXTS):
            row = (
                i + 1,
                1,
                f"conv-{i}",
                f"m{i % 2}",
                text,
                "English",
                "2023-04-27 12:00:00.250000",
                '{"turn": 2}',
                None,
            )
            db.execute("INSERT INTO queries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        run = (RUN, "kmeans", '{"n_clusters": 2}', "note", 2, "2025-01-01 12:00:00")
        db.execute("INSERT INTO clustering_runs VALUES (?, ?, ?, ?, ?, ?)", run)
        db.execute("INSERT INTO clustering_runs VALUES ('empty-run', 'kmeans', NULL, NULL, 0, NULL)")
        # query 6 has the text of queries 1 and 5, in another cluster
        for query, cluster in [(1, 0), (2, 0), (3, 1), (4, 1), (5, 0), (6, 1), (8, -1)]:
            db.execute(
                "INSERT INTO query_clusters (run_id, query_id, cluster_id) VALUES (?, ?, ?)", (RUN, query, cluster)
            )
        # by name the first would be the newest
        for summary, title, when in [("summary-z", "old", "2025-01-01"), ("summary-a", "new", "2025-02-01 10:00:00")]:
            for cluster in (0, 1):
                values = (
                    RUN,
                    cluster,
                    summary,
                    summary[-1],
                    f"{title} {cluster}",
                    "said",
                    3,
                    '["sort a list"]',
                    "gpt",
                    when,
                )
                db.execute(
                    "INSERT INTO cluster_summaries (run_id, cluster_id, summary_run_id, alias, title, description,"
                    " num_queries, representative_queries, model, generated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    values,
                )
        for node, parent, level in [(0, 10, 0), (1, 10, 0), (10, None, 1)]:
            db.execute(
                "INSERT INTO cluster_hierarchies"
                " (run_id, hierarchy_run_id, cluster_id, parent_cluster_id, level, title)"
                " VALUES (?, 'hier-1', ?, ?, ?, ?)",
                (RUN, node, parent, level, f"node {node}"),
            )
        db.execute(
            "INSERT INTO cluster_edits (run_id, cluster_id, edit_type, editor, timestamp, old_value, new_value, reason)"
            " VALUES (?, 0, 'rename', 'cli', '2025-02-02', '{\"title\": \"a\"}', '{\"title\": \"b\"}', 'clearer')",
            (RUN,),
        )
        db.execute(
            "INSERT INTO cluster_metadata (run_id, cluster_id, coherence_score, quality, flags, notes)"
            " VALUES (?, 1, 4, 'high', '[\"check\"]', 'fine')",
            (RUN,),
        )
        db.execute(
            "INSERT INTO orphaned_queries (run_id, query_id, original_cluster_id, reason) VALUES (?, 7, 1, 'noise')",
            (RUN,),
        )
    db.close()
    return path


def rows(session: Session, statement: str) -> list[tuple[Any, ...]]:
    with session.store.reading() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(statement)]


def test_everything_comes_along(session: Session, old: Path) -> None:
    before = old.read_bytes()
    report = import_queries_db(session, old)
    assert (report.datasets, report.n_conversations, report.runs) == (("lmsys",), 8, (RUN,))
    assert report.skipped_runs == ("empty-run",)
    assert (report.n_summaries, report.n_hierarchies, report.n_edits) == (2, 1, 2)
    assert (report.n_split_texts, report.n_moved_queries) == (1, 1)
    assert old.read_bytes() == before
    queries = views.queries(session).collect()
    assert queries["text"].to_list() == [text for text in TEXTS if text.strip()]
    assert queries["model"].to_list()[:2] == ["m0", "m1"]
    assert str(queries["timestamp"][0]) == "2023-04-27 12:00:00.250000+00:00"
    extra = json.loads(views.conversations(session).collect()["extra"][0])
    assert extra == {"queries_db_id": 1, "turn": 2}
    assert verifying.verify(session).is_sound


def test_run_keeps_its_id_members_and_newest_names(session: Session, old: Path) -> None:
    import_queries_db(session, old)
    with session.store.reading() as connection:
        run = reading.get_run(connection, RUN)
        clusters = reading.clusters(connection, RUN)
    assert (run.algorithm, run.n_clusters, run.n_texts, run.n_queries, run.n_noise) == ("kmeans", 2, 5, 7, 1)
    assert (run.parameters["n_clusters"], run.created_at) == (2, "2025-01-01T12:00:00Z")
    assert [(c.cluster_id, c.title, c.size, c.n_queries) for c in clusters] == [
        (-1, "Unclustered", 1, 1),
        (0, "new 0", 2, 4),
        (1, "new 1", 2, 2),
    ]
    page = selection.queries(session, run_id=RUN, cluster_id=0)
    assert page["text"].to_list() == ["sort a list", "sort a dict", "sort a list", "sort a list"]


def test_what_people_and_models_said_is_kept(session: Session, old: Path) -> None:
    import_queries_db(session, old)
    assert rows(session, "SELECT summary_run_id, alias, model FROM summary_run ORDER BY created_at") == [
        ("summary-z", "z", "gpt"),
        ("summary-a", "a", "gpt"),
    ]
    assert rows(session, "SELECT title FROM summary WHERE summary_run_id = 'summary-z'") == [("old 0",), ("old 1",)]
    assert rows(session, "SELECT node_id, parent_id, level, title FROM hierarchy_node ORDER BY node_id") == [
        (0, 10, 0, "node 0"),
        (1, 10, 0, "node 1"),
        (10, None, 1, "node 10"),
    ]
    assert rows(session, "SELECT kind, cluster_id, old, new, reason FROM edit ORDER BY id") == [
        ("rename", 0, '{"title": "a"}', '{"title": "b"}', "clearer"),
        ("orphan", 1, '{"query_id": 7}', "{}", "noise"),
    ]
    assert rows(session, "SELECT cluster_id, coherence, quality, flags, notes FROM cluster_note") == [
        (1, 4, "high", '["check"]', "fine")
    ]


def test_second_import_adds_only_what_is_new(session: Session, old: Path) -> None:
    import_queries_db(session, old)
    again = import_queries_db(session, old)
    assert (again.n_conversations, again.runs, again.n_edits) == (0, (), 0)
    with sqlite3.connect(old) as db:
        db.execute(
            "INSERT INTO queries (id, dataset_id, conversation_id, query_text) VALUES (99, 1, 'conv-99', 'brand new')"
        )
    db.close()
    assert import_queries_db(session, old).n_conversations == 1
    assert selection.queries(session)["text"].to_list()[-1] == "brand new"


def test_imported_run_is_a_run_like_others(session: Session, old: Path, encoder: Any, tmp_path: Path) -> None:
    import_queries_db(session, old)
    embed(session, encoder)
    with sqlite3.connect(old) as db:
        db.execute(
            "INSERT INTO queries (id, dataset_id, conversation_id, query_text) VALUES (99, 1, 'c99', 'sort a tuple')"
        )
    db.close()
    import_queries_db(session, old)
    embed(session, encoder)
    assert assigning.assign(session, RUN).n_new == 1
    assert exporting.export(session, RUN, tmp_path / "e.csv") == 8
    assert pl.read_csv(tmp_path / "e.csv")["cluster_title"].to_list()[0] == "new 0"
    assert labeling.label(session, RUN).labeled
    deleting.delete_run(session, RUN)
    assert rows(session, "SELECT count(*) FROM summary") == [(0,)]
    assert verifying.verify(session).is_sound


def test_older_database_with_fewer_tables_is_taken_too(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "small.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE queries (id INTEGER PRIMARY KEY, conversation_id TEXT, query_text TEXT)")
        db.execute("INSERT INTO queries VALUES (1, 'a', 'only this')")
    db.close()
    report = import_queries_db(session, path)
    assert (report.datasets, report.n_conversations) == (("small",), 1)


@pytest.mark.parametrize("content", [b"no database at all, really not" * 50, None])
def test_file_that_is_no_such_database_is_refused(session: Session, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.db"
    if content is None:
        sqlite3.connect(path).execute("CREATE TABLE other (id INTEGER)").connection.close()
    else:
        path.write_bytes(content)
    with pytest.raises(ReaderError, match=r"is no (queries.db|SQLite database)"):
        import_queries_db(session, path)
    assert views.datasets(session).collect().height == 0
