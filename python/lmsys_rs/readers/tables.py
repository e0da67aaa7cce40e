"""How tables become batches: Parquet window by window through Polars, CSV row by row with its broken rows reported.

It decides nothing about formats (see `fields`); how rows become conversations stands in `frames`.
"""

from __future__ import annotations

import csv
import gzip
import io
import sys
import zlib
from collections.abc import Iterator

import polars as pl
from polars.exceptions import PolarsError

from lmsys_rs.errors import ReaderError
from lmsys_rs.readers.containers import Source, damaged
from lmsys_rs.readers.fields import Fields
from lmsys_rs.readers.frames import LINE, conversation_columns
from lmsys_rs.records import BATCH_SIZE, ConversationBatch, Problem

__all__ = ["read_csv", "read_parquet"]

# Rows asked of Polars at a time. `LazyFrame.collect_batches` would be simpler, but its read-ahead grew with the file:
# 586 MB of memory for 0.9 GB of Parquet, 927 MB if that is one row group; windows stay under 250 MB. Each window skips
# the rows before it, so small ones cost time in files of few large row groups (344k conversations in one: 13.6 s with
# 8,192 rows, 3.8 s with 32,768).
WINDOW_ROWS = 4 * BATCH_SIZE


def read_parquet(source: Source, fields: Fields, *, start: int) -> Iterator[ConversationBatch]:
    """Batches of a Parquet file after row ``start``."""
    try:
        # glob off: a path is one file, whatever characters it has
        frame = pl.scan_parquet(source.path, glob=False, row_index_name=LINE, row_index_offset=1)
        query = conversation_columns(frame, fields, frame.collect_schema(), file=str(source.path))
        n_rows = int(frame.select(pl.len()).collect().item())
        for window in range(start, n_rows, WINDOW_ROWS):
            rows = query.slice(window, WINDOW_ROWS).collect(engine="streaming")
            for offset in range(0, rows.height, BATCH_SIZE):
                part = rows.slice(offset, BATCH_SIZE)
                position = int(part["line"][-1])
                yield ConversationBatch(part, (), position, position)
    except PolarsError as error:
        raise damaged(source.path, error) from error


def read_csv(source: Source, fields: Fields, *, start: int) -> Iterator[ConversationBatch]:
    """Batches of a CSV file after row ``start`` (the header is row 0). A row of the wrong width is a problem.

    Python's reader is used because it goes on after a broken row, which Polars does not.
    """
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # a field is one message: the default of 128 KiB is too small
    width = len(source.columns)
    schema = dict.fromkeys(source.columns, pl.String)
    failure: ReaderError | None = None
    with source.path.open("rb") as raw:
        stream = gzip.GzipFile(fileobj=raw) if source.compressed else raw
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
        rows = csv.reader(text, delimiter=source.separator, skipinitialspace=True)
        row_number = -1
        while failure is None:
            good: list[list[str]] = []
            numbers: list[int] = []
            problems: list[Problem] = []
            try:
                for row in rows:
                    row_number += 1
                    if row_number <= start or not row_number or not row:
                        continue
                    if len(row) == width:
                        good.append(row)
                        numbers.append(row_number)
                    else:
                        problems.append(
                            Problem(row_number, f"line {rows.line_num}: got {len(row)} fields, need {width}")
                        )
                    if len(numbers) == BATCH_SIZE:
                        break
            except (UnicodeDecodeError, EOFError, gzip.BadGzipFile, zlib.error, csv.Error) as error:
                failure = _unreadable(source, rows.line_num, error)
            if not good and not problems:
                break
            frame = pl.DataFrame(good, schema=schema, orient="row").lazy().with_columns(pl.Series(LINE, numbers))
            conversations = conversation_columns(frame, fields, pl.Schema(schema), file=str(source.path)).collect()
            yield ConversationBatch(conversations, tuple(problems), row_number, raw.tell())
    if failure is not None:
        raise failure


def _unreadable(source: Source, line: int, error: Exception) -> ReaderError:
    where = f"{source.path}: after line {line}"
    if isinstance(error, UnicodeDecodeError):
        return ReaderError(
            f"{where}: the text is not UTF-8 ({error.reason})",
            file=str(source.path),
            line=line + 1,
            hint=f"iconv -f LATIN1 -t UTF-8 {source.path.name}",
        )
    return ReaderError(f"{where}: {error}; what came before it was read", file=str(source.path), line=line + 1)
