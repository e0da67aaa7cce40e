"""How a run leaves the workspace: one row per query with its cluster, as CSV, JSON, JSON lines or Parquet.

It reads in pages and writes aside first: a cut-off export leaves no half file. CSV and JSON are written page by page,
so memory does not grow with the run; Parquet is written from all pages at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl

from lmsys_rs.errors import InvalidInputError
from lmsys_rs.records import Event, Filters, OnEvent, RunRecord, ignore_events
from lmsys_rs.selection import passing
from lmsys_rs.session import Session
from lmsys_rs.store import reading

__all__ = ["EXPORT_FORMATS", "export", "write_frame"]

EXPORT_FORMATS = ("csv", "json", "jsonl", "parquet")
PAGE_ROWS = 50_000


def export(
    session: Session,
    run_id: str,
    path: str | Path,
    *,
    format: str | None = None,
    filters: Filters | None = None,
    on_event: OnEvent = ignore_events,
) -> int:
    """Write the queries of a run with their clusters; returns how many.

    Columns: query_id, cluster_id, query_text, model, language, cluster_title, cluster_description.

    Args:
        format: csv, json (one array), jsonl or parquet; None takes the path's suffix.
        filters: only queries that pass these too, beside the run's own.

    Raises:
        InvalidInputError: no such run or format.
    """
    path = Path(path)
    format = format or path.suffix.lstrip(".").lower()
    if format not in EXPORT_FORMATS:
        raise InvalidInputError(f"export format must be one of {', '.join(EXPORT_FORMATS)}: {format!r}")
    with session.store.reading() as connection:
        run = reading.get_run(connection, run_id)
    aside = _aside(path)
    on_event(Event("started", "export", 0, run.n_queries, "queries"))
    n_rows = 0
    try:
        if format == "parquet":
            frames = list(_pages(session, run, filters))
            n_rows = sum(frame.height for frame in frames)
            pl.concat(frames).write_parquet(aside)
        else:
            with aside.open("wb") as file:
                if format == "json":
                    file.write(b"[")
                for frame in _pages(session, run, filters):
                    file.write(_encoded(frame, format, is_first=n_rows == 0))
                    n_rows += frame.height
                    on_event(Event("advanced", "export", n_rows, run.n_queries, "queries"))
                if format == "json":
                    file.write(b"]\n")
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    on_event(Event("finished", "export", n_rows, run.n_queries, "queries"))
    return n_rows


def write_frame(frame: pl.DataFrame, path: Path) -> None:
    """Write a frame as CSV, JSON lines or Parquet by the path's suffix.

    Raises:
        InvalidInputError: another suffix, or a column that CSV cannot hold.
    """
    writers: dict[str, Callable[[Path], object]] = {
        ".csv": frame.write_csv,
        ".jsonl": frame.write_ndjson,
        ".parquet": frame.write_parquet,
    }
    write = writers.get(path.suffix.lower())
    if write is None:
        raise InvalidInputError(f"need a file that ends in {', '.join(writers)}: {path}")
    aside = _aside(path)
    try:
        write(aside)
        aside.replace(path)
    except pl.exceptions.PolarsError as error:
        raise InvalidInputError(f"{path}: {error}", hint="lists and objects fit into .jsonl and .parquet") from error
    finally:
        aside.unlink(missing_ok=True)


def _aside(path: Path) -> Path:
    if not path.parent.is_dir():
        raise InvalidInputError(f"{path}: there is no folder {path.parent}")
    return path.with_name(f".{path.name}.{os.getpid()}")


def _pages(session: Session, run: RunRecord, filters: Filters | None) -> Iterator[pl.DataFrame]:
    """At least one frame, so an empty run still has its header."""
    with session.store.reading() as connection:
        text_ids = reading.members(connection, run.run_id)["text_id"].to_numpy()
    found = passing(session, Filters.from_dict(run.filters).without_limit(), ("query_id",), text_ids=text_ids)
    if filters is not None and (not filters.is_open or filters.limit is not None):
        found = found.join(passing(session, filters.without_limit(), ("query_id",)), on="query_id", how="semi")
        found = found.sort("query_id").head(filters.limit or found.height)
    query_ids = found["query_id"].to_numpy()
    for at in range(0, max(1, len(query_ids)), PAGE_ROWS):
        with session.store.reading() as connection:
            yield reading.export_rows(connection, run.run_id, query_ids[at : at + PAGE_ROWS])


def _encoded(frame: pl.DataFrame, format: str, *, is_first: bool) -> bytes:
    if format == "csv":
        return frame.write_csv(include_header=is_first).encode()
    if format == "jsonl":
        return frame.write_ndjson().encode()
    inner = frame.write_json().strip()[1:-1]
    return (inner if is_first or not inner else "," + inner).encode()
