"""The columns of all queries and texts in memory-mapped files, so that filters and counts take milliseconds.

They say nothing that the database does not say: a file that is missing or damaged is made anew from it. Readers see
the state of one transaction; what has no file yet is read from the database.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
from polars.exceptions import PolarsError

from lmsys_rs.records import ArrayFileRecord
from lmsys_rs.session import Session
from lmsys_rs.store import reading, writing

__all__ = ["FILE_ROWS", "QUERIES", "TEXTS", "Frames", "extend", "frames"]

FILE_ROWS = 500_000  # new rows that make a file of their own while a load goes on
MAX_FILES = 8  # of one kind; more are put together

TEXTS = pl.Schema(
    {
        "text_id": pl.UInt32(),
        "n_chars": pl.UInt32(),
        "n_words": pl.UInt32(),
        "detected_language": pl.Categorical(),
        "language_confidence": pl.Float32(),
        "quality": pl.Float32(),
        "quality_length": pl.Float32(),
        "quality_letters": pl.Float32(),
        "quality_repetition": pl.Float32(),
        "quality_variety": pl.Float32(),
        "quality_wording": pl.Float32(),
        "personal": pl.UInt32(),
        "template": pl.Int64(),
    }
)
"""Columns of a text; row number = text_id."""

QUERIES = pl.Schema(
    {
        "query_id": pl.Int64(),
        "conversation_id": pl.Int64(),
        "position": pl.Int32(),
        "text_id": pl.UInt32(),
        "dataset_id": pl.Int32(),
        "model": pl.Categorical(),
        "source_language": pl.Categorical(),
        "timestamp": pl.Datetime("us", "UTC"),
        "n_turns": pl.UInt32(),
    }
)
"""Columns of a query, ascending by query_id."""

NAME = re.compile(r"columns/(queries|texts)-(\d+)-(\d+)-(\d+)\.arrow")
KINDS = {"queries": (QUERIES, "query_id"), "texts": (TEXTS, "text_id")}


@dataclass(frozen=True)
class Frames:
    """The columns of one state of the workspace. ``datasets`` is id to name."""

    generation: int
    queries: pl.DataFrame
    texts: pl.DataFrame
    datasets: dict[int, str]


def frames(session: Session) -> Frames:
    """The columns of every query and text as they are now."""
    missed: Any = None  # the state whose files were not all there
    while True:
        with session.store.reading() as connection:
            state = reading.columns_state(connection)
            if missed is not None and state.files == missed.files:
                # not put together by a writer but lost or damaged: the database says the same, `lmsys verify` tells
                state = replace(state, files=())
            kept: Frames | None = session.kept.get("columns")
            if kept is None or kept.generation != state.generation:
                try:
                    kept = Frames(
                        state.generation,
                        _from_files(session, "queries", state),
                        _from_files(session, "texts", state),
                        {},
                    )
                except (OSError, PolarsError):
                    missed = state  # a writer may just have put these files together: then the next state names others
                    continue
            queries, texts = kept.queries, kept.texts
            if state.last_query_id > _last(queries, "query_id"):
                new = reading.query_columns(connection, after=_last(queries, "query_id"))
                queries = pl.concat([queries, stored("queries", new)], rechunk=False)
            if state.last_text_id > _last(texts, "text_id"):
                new = reading.text_columns(connection, after=_last(texts, "text_id"))
                texts = pl.concat([texts, stored("texts", new)], rechunk=False)
            current = Frames(state.generation, queries, texts, state.datasets)
            session.kept["columns"] = current
            return current


def extend(session: Session, new_queries: Sequence[pl.DataFrame] = (), new_texts: Sequence[pl.DataFrame] = ()) -> None:
    """Write files for rows that have none. Only the one writer may call this.

    Args:
        new_queries, new_texts: the newest rows, as `batches.AddedBatch` has them, to save reading them back.
    """
    with session.store.reading() as connection:
        state = reading.columns_state(connection)
    old = [file for file in state.files if not _counts(file, state)]
    added = []
    for kind, given, last in (
        ("queries", new_queries, state.last_query_id),
        ("texts", new_texts, state.last_text_id),
    ):
        _, key = KINDS[kind]
        files = _files_of(kind, state)
        covered = _range(files[-1])[2] if files else -1
        if last <= covered:
            continue
        rows = pl.concat([stored(kind, frame) for frame in given]) if given else pl.DataFrame(schema=KINDS[kind][0])
        first_given = int(rows[key][0]) if rows.height else last + 1
        with session.store.reading() as connection:
            read = reading.query_columns if kind == "queries" else reading.text_columns
            before = stored(kind, read(connection, after=covered, until=first_given))
        rows = pl.concat([before, rows])
        if len(files) >= MAX_FILES:
            rows = pl.concat([*(_mapped(session, file) for file in files), rows])
            old += files
        if rows.height:
            added.append(_write(session, kind, state.generation, rows, key))
    if added or old:
        with session.store.writing() as connection:
            writing.add_array_files(connection, added)
            writing.remove_array_files(connection, [file.file for file in old])
        for file in old:
            session.folder.remove(file.file)


def stored(kind: str, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of the database, or of a batch, in the columns and types of the files."""
    schema, _ = KINDS[kind]
    renamed = rows.rename({"language": "source_language" if kind == "queries" else "detected_language"}, strict=False)
    return renamed.select(schema.names()).cast(dict(schema))  # type: ignore[arg-type]  # Schema is a dict of dtypes


def _write(session: Session, kind: str, generation: int, rows: pl.DataFrame, key: str) -> ArrayFileRecord:
    name = f"columns/{kind}-{generation}-{int(rows[key][0])}-{int(rows[key][-1])}.arrow"

    def write(path: Path) -> None:
        rows.rechunk().write_ipc(path, compression="uncompressed")  # uncompressed files can be mapped

    written = session.folder.write_file(name, write)
    return ArrayFileRecord(file=name, kind="columns", n_bytes=written.n_bytes, checksum=written.checksum)


def _from_files(session: Session, kind: str, state: Any) -> pl.DataFrame:
    schema, _ = KINDS[kind]
    files = _files_of(kind, state)
    return pl.concat([pl.DataFrame(schema=schema), *(_mapped(session, file) for file in files)], rechunk=False)


def _mapped(session: Session, file: ArrayFileRecord) -> pl.DataFrame:
    return pl.read_ipc(session.folder.path / file.file)


def _files_of(kind: str, state: Any) -> list[ArrayFileRecord]:
    """The files of a kind that count, in the order of their rows, without gaps."""
    found = sorted(
        (file for file in state.files if _counts(file, state) and _range(file)[0] == kind), key=lambda f: _range(f)[1]
    )
    return found


def _counts(file: ArrayFileRecord, state: Any) -> bool:
    match = NAME.fullmatch(file.file)
    return match is not None and int(match[2]) == state.generation


def _range(file: ArrayFileRecord) -> tuple[str, int, int]:
    match = NAME.fullmatch(file.file)
    assert match is not None
    return match[1], int(match[3]), int(match[4])


def _last(frame: pl.DataFrame, key: str) -> int:
    return int(frame[key][-1]) if frame.height else -1
