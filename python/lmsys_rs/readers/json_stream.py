"""How JSON becomes batches: lines, one array or objects in a row, parsed by the Rust core in 4 MiB chunks.

It decides nothing about formats (see `fields`) and keeps at most one chunk and its conversations in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import polars as pl

from lmsys_rs.errors import ReaderError
from lmsys_rs.extras import json_value
from lmsys_rs.readers.containers import Source
from lmsys_rs.readers.fields import Fields
from lmsys_rs.readers.frames import LINE
from lmsys_rs.readers.streams import ByteStream
from lmsys_rs.records import BATCH_SIZE, CONVERSATION_SCHEMA, ConversationBatch, Problem

__all__ = ["RowReader", "read_json"]

CHUNK_BYTES = 4 << 20  # what is handed to the JSON parser at a time


def read_json(source: Source, fields: Fields, *, start: int) -> Iterator[ConversationBatch]:
    """Batches of a JSON file after line (of an array: element) ``start``."""
    from lmsys_rs import _core

    reader = _core.JsonReader(fields.to_core(), layout=source.layout)
    position = start
    failure: ReaderError | None = None
    with ByteStream(source.path, source.packing, source.member) as stream:
        data = b"x"
        while data:
            try:
                data = stream.read(CHUNK_BYTES)
            except ReaderError as error:
                failure = error
                break  # what is left over is an element without its end
            batch, broken = reader.feed(data, final=not data)
            conversations = as_conversations(batch).filter(pl.col("line") > start)
            problems = [Problem(line, message) for line, message in broken if line > start]
            for ready in in_batches(conversations, problems, position, stream.done):
                position = ready.position
                yield ready
    if failure is not None:
        raise failure


def in_batches(
    conversations: pl.DataFrame, problems: Iterable[Problem], position: int, done: int
) -> Iterator[ConversationBatch]:
    """Batches of at most `BATCH_SIZE`. Their position is that of the last element that is in them completely."""
    waiting = sorted(problems, key=lambda problem: problem.line)
    offset = 0
    while True:
        part = conversations.slice(offset, BATCH_SIZE)
        offset += part.height
        is_last = offset >= conversations.height
        if is_last:
            reached = max([position, *part["line"].tail(1), *(problem.line for problem in waiting[-1:])])
        else:
            # an element may hold several conversations: it is not done while some are still to come
            reached = max(position, int(part["line"][-1]) - int(part["line"][-1] == conversations["line"][offset]))
        ready = tuple(problem for problem in waiting if problem.line <= reached)
        waiting = waiting[len(ready) :]
        position = reached
        if part.height or ready:
            yield ConversationBatch(part, ready, position, done)
        if is_last:
            return


def as_conversations(batch: Any) -> pl.DataFrame:
    """The core's record batch as a frame in `CONVERSATION_SCHEMA`."""
    frame = pl.DataFrame(batch)
    return frame.cast(dict(CONVERSATION_SCHEMA)).select(CONVERSATION_SCHEMA.names())  # type: ignore[arg-type]  # Schema is a dict of dtypes


class RowReader:
    """Reads the rows of a table as the JSON objects that they are: for formats that field names don't describe."""

    def __init__(self, fields: Fields) -> None:
        from lmsys_rs import _core

        self._reader = _core.JsonReader(fields.to_core(), layout="lines")
        self._lines: dict[int, int] = {}  # of the lines fed, the rows that they are; those still needed
        self._n_fed = 0
        self._waiting: list[Problem] = []

    def feed(
        self, rows: pl.DataFrame, problems: Iterable[Problem], position: int, done: int, *, final: bool
    ) -> Iterator[ConversationBatch]:
        """Batches of what is complete with these rows (their numbers in column `LINE`) up to ``position``."""
        numbers = rows[LINE].to_list()
        for number in numbers:
            self._n_fed += 1
            self._lines[self._n_fed] = number
        columns = [name for name in rows.columns if name != LINE]
        as_json = pl.struct([json_value(pl.col(name), rows.schema[name]).alias(name) for name in columns])
        texts = rows.select(as_json.struct.json_encode()).to_series()
        data = "".join(f"{text}\n" for text in texts).encode()
        batch, broken = self._reader.feed(data, final=final)
        conversations = as_conversations(batch)
        rows_of = (
            conversations["line"].replace_strict(self._lines, return_dtype=pl.UInt64) if len(conversations) else []
        )
        conversations = conversations.with_columns(pl.Series("line", rows_of, dtype=pl.UInt64))
        found = [Problem(self._lines[line], message) for line, message in broken]
        yield from self._in_batches(conversations, [*self._waiting, *problems, *found], position, done, final)

    def _in_batches(
        self, conversations: pl.DataFrame, problems: list[Problem], position: int, done: int, final: bool
    ) -> Iterator[ConversationBatch]:
        # messages of one tree may still be on their way: nothing after the last conversation counts until it is there
        last = int(conversations["line"][-1]) if len(conversations) else 0
        reached = position if final else last
        self._waiting = [problem for problem in problems if problem.line > reached]
        self._lines = {fed: row for fed, row in self._lines.items() if row > reached}
        ready = [problem for problem in problems if problem.line <= reached]
        if len(conversations) or ready:
            yield from in_batches(conversations, ready, 0, done)
