"""Every released schema becomes this one and goes back, with everything in it; a fixture workspace of each is kept.

A new schema version adds its fixture here: a workspace made by the last program of the version before.
"""

from __future__ import annotations

import json
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from lmsys_rs import curation, deleting, labeling, selection, signals, verifying, views
from lmsys_rs.errors import InvalidInputError, StoreError
from lmsys_rs.records import Filters
from lmsys_rs.session import open_session
from lmsys_rs.store import editing, migrating, reading

FIXTURES = Path(__file__).parent / "fixtures"
RELEASED = ["0001", "0002", "0003"]

# what 0001 kept, in the words of that schema
OLD_ROWS = {
    "turns": "SELECT conversation_id, position, role, content FROM turn ORDER BY 1, 2",
    "conversations": "SELECT id, source_id, model, language, timestamp, extra, line FROM conversation ORDER BY 1",
    "queries": "SELECT id, conversation_id, position, text_id FROM query ORDER BY 1",
    "members": "SELECT run_id, text_id, cluster_id FROM membership ORDER BY 1, 2",
}


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A workspace of the first released schema version, as its program left it, and what it kept."""
    folder = unpacked("0001", tmp_path)
    (folder / "expected.json").rename(tmp_path / "expected.json")
    return folder


def unpacked(version: str, tmp_path: Path) -> Path:
    """A workspace of a released schema version, as its program left it."""
    folder = tmp_path / "old.lmsys"
    with tarfile.open(FIXTURES / f"workspace-{version}.tar.gz") as archive:
        for member in archive.getmembers():
            assert member.isfile()
            assert not Path(member.name).is_absolute()
            assert ".." not in Path(member.name).parts
            target = folder / member.name
            target.parent.mkdir(parents=True, exist_ok=True)
            content = archive.extractfile(member)
            assert content is not None
            target.write_bytes(content.read())
    return folder


def expected(old: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((old.parent / "expected.json").read_text(encoding="utf-8"))
    return values


def test_fixture_of_every_schema_before_this_one_is_kept() -> None:
    assert [*RELEASED, migrating.known_versions()[-1]] == migrating.known_versions()


def test_second_schema_learns_of_nearest_clusters_and_recall_and_goes_back(tmp_path: Path) -> None:
    folder = unpacked("0002", tmp_path)
    with open_session(folder) as session:
        members = views.memberships(session, "latest").collect()
        assert members["nearest_id"].null_count() == len(members) == 60
        assert members["probability"].null_count() == 0
        with session.store.reading() as connection:
            (embedding,) = reading.embeddings(connection)
            ((_, _, k, n_points, recall),) = reading.graphs_of(connection, embedding.embedder_id)
            assert (k, n_points, recall) == (15, 60, None)
            assert not migrating.differences(connection)
        assert verifying.verify(session).is_sound
    with sqlite3.connect(folder / "lmsys.db") as connection:
        before = connection.execute("SELECT run_id, text_id, cluster_id, probability FROM membership").fetchall()
    with open_session(folder) as session:
        session.store.migrate_to("0002")
    with sqlite3.connect(folder / "lmsys.db") as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("0002",)
        columns = [row[1] for row in connection.execute("PRAGMA table_info(membership)")]
        assert columns == ["run_id", "text_id", "cluster_id", "probability", "assigned"]
        assert (
            connection.execute("SELECT run_id, text_id, cluster_id, probability FROM membership").fetchall() == before
        )


def test_third_schema_keeps_what_was_said_of_clusters_and_goes_back(tmp_path: Path) -> None:
    folder = unpacked("0003", tmp_path)
    questions = (
        "SELECT summary_run_id, run_id, alias, model, parameters, created_at FROM summary_run",
        "SELECT summary_run_id, cluster_id, title, description, n_queries, representatives FROM summary",
        "SELECT * FROM hierarchy_node ORDER BY node_id",
        "SELECT id, run_id, cluster_id, kind, editor, old, new, reason, created_at FROM edit",
        "SELECT * FROM cluster_note",
        "SELECT run_id, cluster_id, title, description, terms FROM cluster ORDER BY 1, 2",
        "SELECT run_id, text_id, cluster_id, nearest_id FROM membership ORDER BY 1, 2",
    )

    def rows() -> list[Any]:
        with closing(sqlite3.connect(folder / "lmsys.db")) as connection:
            return [connection.execute(question).fetchall() for question in questions]

    before = rows()
    assert all(before)
    with open_session(folder) as session:
        with session.store.reading() as connection:
            assert not migrating.differences(connection)
            runs = reading.runs(connection)
            assert [run.next_cluster_id for run in runs] == [run.n_clusters for run in runs]
            (edit,) = editing.edits(connection, runs[1].run_id)
        assert (edit.kind, edit.state) == ("rename", "kept")
        with pytest.raises(InvalidInputError, match="nothing to undo"):
            curation.undo(session, runs[1].run_id)
        assert verifying.verify(session).is_sound
        assert rows() == before
        session.store.migrate_to("0003")
    assert rows() == before
    with closing(sqlite3.connect(folder / "lmsys.db")) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("0003",)


def test_titles_of_imported_runs_stay_those_of_a_model(tmp_path: Path) -> None:
    folder = unpacked("0003", tmp_path)
    with closing(sqlite3.connect(folder / "lmsys.db")) as connection, connection:
        (run_id, cluster_id, title) = connection.execute(
            "SELECT r.run_id, s.cluster_id, s.title FROM summary s JOIN summary_run r USING (summary_run_id)"
        ).fetchone()
        connection.execute("UPDATE run SET embedder_id = NULL WHERE run_id = ?", (run_id,))
        connection.execute(
            "UPDATE cluster SET title = ? WHERE run_id = ? AND cluster_id = ?", (title, run_id, cluster_id)
        )
    with open_session(folder) as session, session.store.reading() as connection:
        sources = {
            (run.run_id, c.cluster_id): c.title_source
            for run in reading.runs(connection)
            for c in reading.clusters(connection, run.run_id)
        }
    assert sources.pop((run_id, cluster_id)) == "llm"
    assert set(sources.values()) == {"offline"}


def test_old_workspace_is_opened_with_everything_in_it(old: Path) -> None:
    kept = expected(old)
    with open_session(old) as session:
        signals.fill(session)
        assert [list(row) for row in views.turns(session).collect().rows()] == kept["turns"]
        rows = views.conversations(session).select("id", "conversation_id", "model", "language", "line").collect()
        assert [list(row) for row in rows.rows()] == [[r[0], r[1], r[2], r[3], r[6]] for r in kept["conversations"]]
        extras = views.conversations(session).collect()["extra"].to_list()
        assert extras == [row[5] for row in kept["conversations"]]
        texts = views.texts(session).collect()
        assert texts["quality"].null_count() == texts["n_words"].null_count() == 0
        assert verifying.verify(session).is_sound
        assert views.datasets(session).collect()["unit"].to_list() == ["first", "first"]


def test_runs_of_an_old_workspace_go_on_working(old: Path) -> None:
    with open_session(old) as session:
        signals.fill(session)
        with session.store.reading() as connection:
            runs = reading.runs(connection)
        assert [run.algorithm for run in runs] == ["hdbscan", "kmeans"]
        for run in runs:
            again = labeling.label(session, run.run_id)
            assert again.n_texts == run.n_texts
        assert len(selection.select(session, Filters.from_dict(runs[0].filters))) == runs[0].n_texts


def test_old_workspace_is_backed_up_first(old: Path) -> None:
    with open_session(old):
        pass
    (saved,) = (old / "backups").iterdir()
    with sqlite3.connect(saved) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("0001",)
        assert connection.execute("SELECT count(*) FROM turn").fetchone()[0] == len(expected(old)["turns"])
    connection.close()


def test_going_back_gives_the_old_rows_and_forward_again_the_new_ones(old: Path) -> None:
    with open_session(old) as session:
        saved = session.store.migrate_to("0001")
        assert saved is not None
    connection = sqlite3.connect(old / "lmsys.db")
    for name, question in OLD_ROWS.items():
        assert [list(row) for row in connection.execute(question)] == expected(old)[name], name
    connection.close()
    with open_session(old) as session:
        signals.fill(session)
        assert verifying.verify(session).is_sound
        assert [list(row) for row in views.turns(session).collect().rows()] == expected(old)["turns"]


def test_failed_migration_changes_nothing(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Any, *arguments: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("polars.DataFrame.write_parquet", full)
    with pytest.raises(OSError, match="No space left"):
        open_session(old)
    connection = sqlite3.connect(old / "lmsys.db")
    assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("0001",)
    assert [list(row) for row in connection.execute(OLD_ROWS["turns"])] == expected(old)["turns"]
    connection.close()


def test_unknown_version_is_refused(old: Path) -> None:
    with open_session(old) as session, pytest.raises(StoreError, match="there is no schema '0042': this program knows"):
        session.store.migrate_to("0042")


def test_migrated_data_set_can_be_deleted(old: Path) -> None:
    with open_session(old) as session:
        signals.fill(session)
        deleting.delete_dataset(session, "odd")
        assert verifying.verify(session).is_sound
        assert views.datasets(session).collect()["name"].to_list() == ["sample"]
