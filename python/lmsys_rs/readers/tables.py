"""How Parquet becomes batches: window by window through Polars, columns by names or rows by the core.

It decides nothing about formats (see `fields`); how columns become conversations stands in `frames`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import polars as pl
from polars.exceptions import PanicException, PolarsError

from lmsys_rs.readers.containers import Source, damaged
from lmsys_rs.readers.fields import Fields
from lmsys_rs.readers.frames import LINE, conversation_columns, has_plain_turns
from lmsys_rs.readers.json_stream import RowReader
from lmsys_rs.records import BATCH_SIZE, ConversationBatch

__all__ = ["parquet_ids", "read_parquet"]

# Rows asked of Polars at a time. `LazyFrame.collect_batches` would be simpler, but its read-ahead grows with the row
# groups: 2.4 GB for 1M LMSYS-shaped conversations in one of them, where windows need 1.3 GB; in groups of 5,000 rows
# both take 2 to 3 s and 0.3 GB (benches/fuzz_readers.py --speed).
WINDOW_ROWS = 2 * BATCH_SIZE
WINDOW_BYTES = 32 << 20  # on disk; fewer rows where they are long
# Polars skips whole row groups before a window, but decodes all of its own for every window. So where windows are slow,
# larger ones are tried, and kept while each row comes clearly quicker: 18 s instead of 63 s for that one group.
SLOW_SECONDS = 0.5
CLEARLY = 0.75
MAX_GROWTH = 4


def read_parquet(
    source: Source, fields: Fields, *, start: int, window_rows: int | None = None
) -> Iterator[ConversationBatch]:
    """Batches of a Parquet file after row ``start``, read in windows of at most ``window_rows``."""
    try:
        frame, n_rows = _scanned(source)
        schema = frame.collect_schema()
        if fields.shape is not None or (fields.turns is not None and not has_plain_turns(fields, schema)):
            yield from _read_rows(frame, n_rows, fields, start)
            return
        query = conversation_columns(frame, fields, schema, file=str(source.path))
        n_usual = max(1, min(WINDOW_ROWS, WINDOW_BYTES * n_rows // max(1, source.path.stat().st_size)))
        n_usual = min(n_usual, window_rows or n_usual)
        window, n_window = start, n_usual
        timed: list[tuple[int, float]] = []  # of the windows so far: rows, and seconds for each of them
        while window < n_rows:
            started = time.perf_counter()
            rows = query.slice(window, n_window).collect(engine="streaming")
            window += n_window
            timed.append((n_window, (time.perf_counter() - started) / n_window))
            n_window = min(_next_window(timed, n_usual), window_rows or n_rows)
            for offset in range(0, rows.height, BATCH_SIZE):
                part = rows.slice(offset, BATCH_SIZE)
                position = int(part["line"][-1])
                yield ConversationBatch(part, (), position, position)
    except (PolarsError, PanicException) as error:  # Polars panics on some damaged pages
        raise damaged(source.path, error) from error


def _next_window(timed: list[tuple[int, float]], n_usual: int) -> int:
    """Rows of the next window, by the sizes of the windows so far and their seconds for each row."""
    if len(timed) < 2:
        return n_usual  # the first one also pays for opening the file
    (before, slow), (size, seconds) = timed[-2:]
    if size > before and seconds > CLEARLY * slow:
        return n_usual
    is_tried = len(timed) == 2 and seconds * size > SLOW_SECONDS
    return min(2 * size, MAX_GROWTH * n_usual) if is_tried or size > before else size


def parquet_ids(source: Source, fields: Fields) -> Iterator[tuple[int, pl.Series]]:
    """(rows before it, conversation ids) of pieces of the file; turns are not decoded unless the id is in them."""
    try:
        frame, n_rows = _scanned(source)
        query = conversation_columns(frame, fields, frame.collect_schema(), file=str(source.path))
        for window in range(0, n_rows, 16 * WINDOW_ROWS):
            ids = query.select("conversation_id").slice(window, 16 * WINDOW_ROWS).collect(engine="streaming")
            yield window, ids.to_series()
    except (PolarsError, PanicException) as error:  # Polars panics on some damaged pages
        raise damaged(source.path, error) from error


def _scanned(source: Source) -> tuple[pl.LazyFrame, int]:
    # glob off: a path is one file, whatever characters it has
    frame = pl.scan_parquet(source.path, glob=False, row_index_name=LINE, row_index_offset=1)
    return frame, int(frame.select(pl.len()).collect().item())


def _read_rows(frame: pl.LazyFrame, n_rows: int, fields: Fields, start: int) -> Iterator[ConversationBatch]:
    reader = RowReader(fields)
    for window in range(start, n_rows, BATCH_SIZE):
        rows = frame.slice(window, BATCH_SIZE).collect(engine="streaming")
        position = min(window + BATCH_SIZE, n_rows)
        yield from reader.feed(rows, (), position, position, final=position == n_rows)
