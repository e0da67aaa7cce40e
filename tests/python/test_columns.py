"""The columns in files say what the database says: after every step, every interruption, and for every reader."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from lmsys_rs import columns, deleting, selection, verifying
from lmsys_rs.conditions import make_filters
from lmsys_rs.errors import StoreError
from lmsys_rs.loading import load
from lmsys_rs.session import Session, open_session
from lmsys_rs.store import reading, writing
from polars.testing import assert_frame_equal


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lmsys_rs.records.BATCH_SIZE", 20)
    monkeypatch.setattr("lmsys_rs.readers.json_stream.CHUNK_BYTES", 3_000)


def data(path: Path, n: int, *, start: int = 0) -> Path:
    """Conversations with repeated texts, models and languages that come later, and some without a query."""
    with path.open("w", encoding="utf-8") as file:
        for i in range(start, start + n):
            text = "" if i % 17 == 3 else f"question number {i // 3} about topic {i % 5}"
            row = {
                "conversation_id": f"c{i}",
                "model": f"m{i // 40}" if i % 4 else None,
                "language": ("English", "German", "unknown", None)[i % 4],
                "timestamp": f"2023-{1 + i % 12:02}-05T10:00:00Z" if i % 6 else None,
                "conversation": [{"role": "user", "content": text}, {"role": "assistant", "content": "yes"}]
                * (1 + i % 3),
            }
            file.write(json.dumps(row) + "\n")
    return path


def files(session: Session) -> list[str]:
    names = (path.name for path in (session.folder.path / "columns").iterdir())
    return sorted(names, key=lambda name: (name.split("-")[0], *map(int, re.findall(r"\d+", name))))


def check(session: Session) -> None:
    """The frames are the database, row by row; so is what a new reader sees."""
    with session.store.reading() as connection:
        queries = columns.stored("queries", reading.query_columns(connection, after=-1))
        texts = columns.stored("texts", reading.text_columns(connection, after=-1))
    with open_session(session.folder.path) as anew:
        for frames in (columns.frames(session), columns.frames(anew)):
            assert_frame_equal(frames.queries, queries, categorical_as_str=True)
            assert_frame_equal(frames.texts, texts, categorical_as_str=True)
    assert texts["text_id"].to_list() == list(range(texts.height))


# ---- growing ------------------------------------------------------------------------------------------------------


def test_columns_equal_the_database_after_every_small_step(session: Session, tmp_path: Path) -> None:
    check(session)
    path = data(tmp_path / "f.jsonl", 260)
    for limit in (1, 2, 37, 38, 100, 101, 180, None):
        load(session, path, limit=limit)
        check(session)
    assert load(session, path).already_loaded
    load(session, path, force=True)
    check(session)
    load(session, path, dataset="again", unit="turn")
    check(session)


def test_many_files_are_put_together(session: Session, tmp_path: Path) -> None:
    path = data(tmp_path / "f.jsonl", 300)
    n_files = []
    for step in range(1, 13):
        load(session, path, limit=step * 20)
        check(session)
        n_files.append(sum(name.startswith("queries") for name in files(session)))
    assert n_files[: columns.MAX_FILES] == list(range(1, columns.MAX_FILES + 1))
    assert max(n_files) == columns.MAX_FILES
    assert n_files[columns.MAX_FILES] == 1
    with session.store.reading() as connection:
        named = {Path(file.file).name for file in reading.array_files(connection, "columns")}
    assert set(files(session)) == named
    assert verifying.verify(session).findings == ()


def test_large_load_writes_files_on_its_way(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "FILE_ROWS", 60)
    load(session, data(tmp_path / "f.jsonl", 300))
    assert 3 <= len([name for name in files(session) if name.startswith("queries")]) <= columns.MAX_FILES
    check(session)


def test_file_names_say_generation_and_range(session: Session, tmp_path: Path) -> None:
    load(session, data(tmp_path / "f.jsonl", 50))
    frames = columns.frames(session)
    first, last = frames.queries["query_id"][0], frames.queries["query_id"][-1]
    assert f"queries-{frames.generation}-{first}-{last}.arrow" in files(session)


# ---- interruptions ------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """As if the program had ended here."""


def at_call(function: Any, n: int) -> Callable[..., Any]:
    """The function, except that its n-th call raises `Killed`."""
    calls = 0

    def call(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == n:
            raise Killed
        return function(*arguments, **options)

    return call


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (columns, "_write"),  # before the first file, or between queries and texts
        (writing, "add_array_files"),  # files are there, the database does not name them
        (writing, "remove_array_files"),
        (columns, "extend"),  # nothing was written
    ],
)
@pytest.mark.parametrize("n", [1, 2])
def test_interrupted_step_is_made_up_for(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, n: int
) -> None:
    monkeypatch.setattr(columns, "FILE_ROWS", 60)
    path = data(tmp_path / "f.jsonl", 250)
    load(session, path, limit=30)
    with monkeypatch.context() as patch:
        patch.setattr(module, name, at_call(getattr(module, name), n))
        with pytest.raises(Killed):
            load(session, path)
    check(session)  # readers do not wait for the next load
    with open_session(session.folder.path) as other:
        load(other, path)
        check(other)
        verifying.repair(other, verifying.verify(other))
        assert verifying.verify(other).findings == ()
    check(session)


def test_interrupted_load_leaves_rows_without_a_file(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = data(tmp_path / "f.jsonl", 250)
    with monkeypatch.context() as patch:
        patch.setattr("lmsys_rs.loading.add_batch", at_call(sys.modules["lmsys_rs.loading"].add_batch, 4))
        with pytest.raises(Killed):
            load(session, path)
    assert files(session) == []
    check(session)
    assert 0 < columns.frames(session).queries.height < 200
    load(session, path)
    check(session)
    assert len(files(session)) == 2  # rows of before the interruption are in them too


@pytest.mark.parametrize("kind", ["queries", "texts"])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_missing_file_is_mended(session: Session, tmp_path: Path, kind: str, which: int) -> None:
    path = data(tmp_path / "f.jsonl", 200)
    for limit in (60, 120, None):
        load(session, path, limit=limit)
    before = columns.frames(session)
    gone = [name for name in files(session) if name.startswith(kind)][which]
    (session.folder.path / "columns" / gone).unlink()
    assert_frame_equal(columns.frames(session).queries, before.queries)  # what is open stays open
    session.kept.clear()
    report = verifying.verify(session)
    assert [finding.kind for finding in report.findings] == ["columns"]
    assert verifying.repair(session, report).is_sound
    check(session)


@pytest.mark.skipif(sys.platform == "win32", reason="no alarm")
def test_reader_of_a_workspace_with_a_missing_file_does_not_hang(session: Session, tmp_path: Path) -> None:
    import signal

    load(session, data(tmp_path / "f.jsonl", 100))
    (session.folder.path / "columns" / files(session)[0]).unlink()

    def ring(*_: object) -> None:
        raise TimeoutError

    old = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 2)
    try:
        with open_session(session.folder.path) as anew, contextlib.suppress(StoreError):
            assert columns.frames(anew).queries.height == 94  # of 100 conversations six have no query
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


@pytest.mark.parametrize("kind", ["queries", "texts"])
@pytest.mark.parametrize("how", ["cut", "zeros"])
def test_damaged_file_is_no_crash(session: Session, tmp_path: Path, kind: str, how: str) -> None:
    load(session, data(tmp_path / "f.jsonl", 100))
    path = session.folder.path / "columns" / next(name for name in files(session) if name.startswith(kind))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] if how == "cut" else bytes(len(content)))
    with open_session(session.folder.path) as anew, contextlib.suppress(StoreError):
        assert columns.frames(anew).queries.height == 94


def test_row_that_no_file_names_is_ignored(session: Session, tmp_path: Path) -> None:
    load(session, data(tmp_path / "f.jsonl", 100))
    (session.folder.path / "columns" / "queries-0-9000-9001.arrow").write_bytes(b"half")
    (session.folder.path / "columns" / "notes.txt").write_text("mine")
    check(session)


# ---- generations --------------------------------------------------------------------------------------------------


def test_deletion_begins_a_generation(session: Session, tmp_path: Path) -> None:
    load(session, data(tmp_path / "a.jsonl", 120))
    load(session, data(tmp_path / "b.jsonl", 90, start=100))
    with open_session(session.folder.path) as other:
        old = columns.frames(other)
        deleting.delete_dataset(session, "a")
        check(session)
        new = columns.frames(other)
    assert new.generation == old.generation + 1
    assert set(new.datasets.values()) == {"b"}
    assert new.queries.height < old.queries.height
    assert all(f"-{new.generation}-" in name for name in files(session))
    load(session, tmp_path / "a.jsonl")
    check(session)
    assert verifying.verify(session).findings == ()


def test_files_of_an_old_generation_do_not_count(session: Session, tmp_path: Path) -> None:
    path = data(tmp_path / "a.jsonl", 120)
    load(session, path, limit=80)
    with session.store.reading() as connection:
        generation = reading.columns_state(connection).generation
    with session.store.writing() as connection:
        writing.set_value(connection, "generation", str(generation + 1))
    check(session)
    load(session, path)
    check(session)
    assert all(f"-{generation + 1}-" in name for name in files(session))


# ---- readers ------------------------------------------------------------------------------------------------------

LOAD = "import sys; from lmsys_rs.loading import load; from lmsys_rs.session import open_session\n" + (
    "with open_session(sys.argv[1]) as session: load(session, sys.argv[2], limit=int(sys.argv[3]) or None)"
)


def load_elsewhere(session: Session, path: Path, limit: int = 0) -> None:
    subprocess.run([sys.executable, "-c", LOAD, str(session.folder.path), str(path), str(limit)], check=True)


def test_open_reader_sees_what_another_process_loads(session: Session, tmp_path: Path) -> None:
    path = data(tmp_path / "f.jsonl", 250)
    load(session, path, limit=50)
    seen = [columns.frames(session).queries.height]
    for limit in (120, 0):
        load_elsewhere(session, path, limit)
        check(session)
        seen.append(columns.frames(session).queries.height)
    assert seen == sorted(set(seen))
    found = selection.facets(session, by=("model",))["model"]
    assert found["n_queries"].sum() == seen[-1]


def test_open_reader_survives_files_that_are_put_together(session: Session, tmp_path: Path) -> None:
    path = data(tmp_path / "f.jsonl", 300)
    with open_session(session.folder.path) as reader:
        for step in range(1, 12):
            load(session, path, limit=step * 20)
            if step % 3 == 0:
                check(reader)
        check(reader)


def test_new_rows_cost_the_database_only_themselves(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = data(tmp_path / "f.jsonl", 250)
    load(session, path, limit=200)
    columns.frames(session)
    with open_session(session.folder.path) as other:
        load(other, path)
    asked: list[tuple[str, int]] = []
    for name in ("query_columns", "text_columns"):
        real = getattr(reading, name)
        monkeypatch.setattr(
            reading, name, lambda *a, real=real, name=name, **o: asked.append((name, o["after"])) or real(*a, **o)
        )
    before = columns.frames(session)
    assert len(asked) == 2
    assert min(after for _, after in asked) > 0
    assert columns.frames(session).queries is before.queries or len(asked) == 2  # nothing new, nothing asked
    assert len(asked) == 2


def test_two_sessions_take_turns_in_writing(session: Session, tmp_path: Path) -> None:
    a, b = data(tmp_path / "a.jsonl", 120), data(tmp_path / "b.jsonl", 120, start=60)
    with open_session(session.folder.path) as other:
        for limit in (30, 60, 90, None):
            load(session, a, limit=limit)
            check(other)
            load(other, b, limit=limit)
            check(session)
        assert_frame_equal(columns.frames(session).queries, columns.frames(other).queries, categorical_as_str=True)


def test_filters_agree_before_and_after_files_are_written(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = data(tmp_path / "f.jsonl", 200)
    filters = make_filters(where="n_turns > 2 AND model = 'm2'")
    with monkeypatch.context() as patch:
        patch.setattr(columns, "extend", lambda *a: None)
        load(session, path)
    assert files(session) == []
    before = selection.queries(session, filters, limit=None)
    columns.extend(session)
    session.kept.clear()
    assert_frame_equal(selection.queries(session, filters, limit=None), before)
    assert before.height > 5


def test_categories_of_different_files_are_one(session: Session, tmp_path: Path) -> None:
    path = data(tmp_path / "f.jsonl", 240)
    for limit in (50, 130, None):
        load(session, path, limit=limit)
    session.kept.clear()
    queries = columns.frames(session).queries
    for model in ("m0", "m3", "m5"):
        assert queries.filter(pl.col("model") == model).height > 10
    assert queries["model"].n_unique() == queries["model"].cast(pl.String).n_unique()
