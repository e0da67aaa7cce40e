"""How SQLite answers what the program asks: by key or index, never by scanning a table that grows, never by OFFSET.

The statements are caught while the program does what people do with it, and each is explained on the same database.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from lmsys_rs import _core, assigning, exporting, labeling, selection, verifying, views
from lmsys_rs.clustering import cluster
from lmsys_rs.embedding import embed
from lmsys_rs.loading import load
from lmsys_rs.records import Filters
from lmsys_rs.search import search_clusters, search_queries
from lmsys_rs.session import Session
from sqlalchemy import event

LARGE = ("conversation", "query", "text", "membership", "turn")
ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def caught(session: Session) -> Iterator[list[tuple[str, Any]]]:
    statements: list[tuple[str, Any]] = []

    def catch(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool) -> None:
        statements.append((statement, parameters[0] if executemany and parameters else parameters))

    event.listen(session.store._engine, "before_cursor_execute", catch)
    yield statements
    event.remove(session.store._engine, "before_cursor_execute", catch)


def scans(session: Session, statement: str, parameters: Any) -> list[str]:
    """The steps of the plan that read a large table, or an index of one, from end to end."""
    with session.store.reading() as connection:
        for table in ("batch_key", "selected", "gone"):
            columns = {"batch_key": "i INTEGER PRIMARY KEY, key BLOB", "selected": "i INTEGER PRIMARY KEY, id INTEGER"}
            connection.exec_driver_sql(
                f"CREATE TEMP TABLE IF NOT EXISTS {table} ({columns.get(table, 'text_id INTEGER PRIMARY KEY')})"
            )
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
    steps = [str(row[3]) for row in plan]
    return [step for step in steps if re.match(rf"SCAN ({'|'.join(LARGE)})\b", step)]


def explained(session: Session, statements: list[tuple[str, Any]]) -> dict[str, list[str]]:
    found = {}
    for statement, parameters in statements:
        if re.match(r"\s*(SELECT|UPDATE|DELETE|INSERT)", statement) and "TEMP" not in statement:
            steps = scans(session, statement, parameters)
            if steps:
                found[statement] = steps
    return found


def test_nothing_large_is_scanned_by_what_people_do(embedded: Session, encoder: Any, tmp_path: Path) -> None:
    run = cluster(embedded, _core.KMeans(n_clusters=3)).run_id
    with caught(embedded) as statements:
        labeling.label(embedded, run)
        selection.queries(embedded, Filters(model="synthetic-model-a"), limit=10)
        selection.queries(embedded, run_id=run, cluster_id=1, after=20, limit=10)
        selection.facets(embedded)
        selection.select(embedded, Filters(where="text LIKE '%a%'"))
        exporting.export(embedded, run, tmp_path / "e.csv")
        search_queries(embedded, "what", run_id=run, encoder=encoder)
        search_clusters(embedded, "what", run_id=run, encoder=encoder)
        views.texts(embedded).head(5).collect()
        views.memberships(embedded, run).head(5).collect()
        views.conversations(embedded, "sample").head(5).collect()
        assigning.assign(embedded, run)
    assert len(statements) > 50
    assert explained(embedded, statements) == {}


def test_loading_and_embedding_look_up_by_index(session: Session, sample_file: Path, encoder: Any) -> None:
    with caught(session) as statements:
        load(session, sample_file)
        load(session, sample_file, force=True)
        embed(session, encoder)
    assert explained(session, statements) == {}


def test_plan_that_scans_is_noticed(embedded: Session) -> None:
    assert scans(embedded, "SELECT count(*) FROM conversation WHERE model = ?", ("m",)) != []
    assert scans(embedded, "SELECT text FROM text WHERE text_id = ?", (1,)) == []


def test_verify_is_the_one_that_reads_everything(embedded: Session) -> None:
    with caught(embedded) as statements:
        verifying.verify(embedded)
    assert explained(embedded, statements) != {}


@pytest.mark.parametrize(
    "path", sorted((ROOT / "python" / "lmsys_rs" / "store").glob("*.py")), ids=lambda path: path.name
)
def test_pages_go_by_key(path: Path) -> None:
    assert not re.search(r"\bOFFSET\b|\.offset\(", path.read_text(encoding="utf-8"))
