"""How a run leaves the workspace: one row per query with its cluster, as CSV, JSON, JSON lines or Parquet.

It reads in pages and writes aside first: a cut-off export leaves no half file. CSV and JSON are written page by page,
so memory does not grow with the run; Parquet is written from all pages at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from lmsys_rs.errors import InvalidInputError
from lmsys_rs.records import Event, OnEvent, RunRecord, ignore_events
from lmsys_rs.session import Session
from lmsys_rs.store import reading

__all__ = ["EXPORT_FORMATS", "export"]

EXPORT_FORMATS = ("csv", "json", "jsonl", "parquet")
PAGE_ROWS = 50_000


def export(
    session: Session,
    run_id: str,
    path: str | Path,
    *,
    format: str | None = None,
    on_event: OnEvent = ignore_events,
) -> int:
    """Write the queries of a run with their clusters; returns how many.

    Columns: query_id, cluster_id, query_text, model, language, cluster_title, cluster_description.

    Args:
        format: csv, json (one array), jsonl or parquet; None takes the path's suffix.

    Raises:
        InvalidInputError: no such run or format.
    """
    path = Path(path)
    format = format or path.suffix.lstrip(".").lower()
    if format not in EXPORT_FORMATS:
        raise InvalidInputError(f"export format must be one of {', '.join(EXPORT_FORMATS)}: {format!r}")
    with session.store.reading() as connection:
        run = reading.get_run(connection, run_id)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    on_event(Event("started", "export", 0, run.n_queries, "queries"))
    n_rows = 0
    try:
        if format == "parquet":
            frames = list(_pages(session, run))
            n_rows = sum(frame.height for frame in frames)
            pl.concat(frames).write_parquet(aside)
        else:
            with aside.open("wb") as file:
                if format == "json":
                    file.write(b"[")
                for frame in _pages(session, run):
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


def _pages(session: Session, run: RunRecord) -> Iterator[pl.DataFrame]:
    """At least one frame, so an empty run still has its header."""
    after = 0
    first = True
    while True:
        with session.store.reading() as connection:
            frame = reading.export_rows(connection, run, after=after, limit=PAGE_ROWS)
        if first or frame.height:
            yield frame
        if frame.height < PAGE_ROWS:
            return
        first = False
        after = int(frame["query_id"][-1])


def _encoded(frame: pl.DataFrame, format: str, *, is_first: bool) -> bytes:
    if format == "csv":
        return frame.write_csv(include_header=is_first).encode()
    if format == "jsonl":
        return frame.write_ndjson().encode()
    inner = frame.write_json().strip()[1:-1]
    return (inner if is_first or not inner else "," + inner).encode()
