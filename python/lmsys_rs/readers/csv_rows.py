"""How CSV becomes batches: row by row with Python's reader, which goes on after a broken one.

A quote that is never closed takes the next rows into its own; they are given back and read again without it.
"""

from __future__ import annotations

import csv
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from lmsys_rs.errors import ReaderError
from lmsys_rs.readers.containers import Source
from lmsys_rs.readers.fields import Fields
from lmsys_rs.readers.frames import LINE, conversation_columns
from lmsys_rs.readers.json_stream import RowReader
from lmsys_rs.readers.streams import MAX_LINE_BYTES, ByteStream, Line, lines_of
from lmsys_rs.readers.text_lines import BATCH_BYTES, NOT_UTF8, TOO_LONG
from lmsys_rs.records import BATCH_SIZE, ConversationBatch, Problem

__all__ = ["read_csv"]

MAX_ROW_LINES = 200_000  # lines of a row are kept until it ends; a longer one lacks a quote


def read_csv(source: Source, fields: Fields, *, start: int) -> Iterator[ConversationBatch]:
    """Batches of a CSV file after row ``start`` (the header is row 0). A row of the wrong width is a problem."""
    schema = pl.Schema(dict.fromkeys(source.columns, pl.String()))
    shaped = RowReader(fields) if fields.text is None else None  # turns in a cell are JSON
    failure: ReaderError | None = None
    rows: list[list[str]] = []
    numbers: list[int] = []
    problems: list[Problem] = []
    size = 0
    position = start
    with ByteStream(source.path, source.packing, source.member) as stream:
        found = _Rows(lines_of(stream, end=source.line_end), source.separator, len(source.columns)).read()
        while True:
            try:
                row = next(found, None)
            except ReaderError as error:
                failure, row = error, None
            if row is not None and row.number > start:
                position = row.number
                if row.fields is None:
                    problems.append(Problem(row.number, row.message))
                else:
                    rows.append(row.fields)
                    numbers.append(row.number)
                    size += sum(map(len, row.fields))
            if row is None or len(rows) + len(problems) >= BATCH_SIZE or size > BATCH_BYTES:
                frame = pl.DataFrame(rows, schema=schema, orient="row").with_columns(
                    pl.Series(LINE, numbers, dtype=pl.UInt64)
                )
                if shaped is not None:
                    yield from shaped.feed(frame, problems, position, stream.done, final=row is None)
                elif rows or problems:
                    conversations = conversation_columns(frame.lazy(), fields, schema, file=str(source.path)).collect()
                    yield ConversationBatch(conversations, tuple(problems), position, stream.done)
                rows, numbers, problems, size = [], [], [], 0
            if row is None:
                break
    if failure is not None:
        raise failure


@dataclass(slots=True)
class _Row:
    """A row: its number (the header has 0), and its fields or why there are none."""

    number: int
    fields: list[str] | None
    message: str = ""


class _TooLongRowError(csv.Error):
    """A row takes more lines than any row has: a quote is missing."""


class _Rows:
    """The rows in lines of text."""

    def __init__(self, lines: Iterator[Line], separator: str, width: int) -> None:
        # a field is one message: the default of 128 KiB is too small
        csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
        self._lines = lines
        self._given_back: deque[tuple[int, str, str]] = deque()
        self._taken: list[tuple[int, str, str]] = []
        self._size = 0
        self._separator = separator
        self._width = width

    def read(self) -> Iterator[_Row]:
        number = -1
        reader = self._reader()
        while True:
            self._taken, self._size = [], 0
            problem = ""
            try:
                fields = next(reader, None)
            except csv.Error as error:
                fields, problem = [], str(error)
                reader = self._reader()
            if fields is None and not self._taken:
                return
            line = self._taken[0][0] if self._taken else 0
            problem = problem or next((why for _, _, why in self._taken if why), "")
            if not problem and len(self._taken) > 1:
                problem = self._slip()
            if not problem and not fields:
                number += number >= 0  # blank lines count, but not before the header
                continue
            number += 1
            if number == 0:
                continue
            if not problem and fields is not None and len(fields) == self._width:
                yield _Row(number, fields)
                continue
            yield _Row(number, None, f"line {line}: {problem or f'got {len(fields or [])} fields, need {self._width}'}")
            if len(self._taken) > 1 and self._width > 1:
                self._given_back.extendleft(reversed(self._taken[1:]))
                reader = self._reader()  # the old one may have seen the end

    def _slip(self) -> str:
        """What is wrong with the quotes of a row of several lines: a quote that is never closed ends at another's."""
        texts = (text for _, text, _ in self._taken)
        try:
            next(csv.reader(texts, delimiter=self._separator, skipinitialspace=True, strict=True), None)
        except csv.Error as error:
            return str(error)
        return ""

    def _reader(self) -> Iterator[list[str]]:
        return iter(csv.reader(self._texts(), delimiter=self._separator, skipinitialspace=True))

    def _texts(self) -> Iterator[str]:
        while True:
            line = self._given_back.popleft() if self._given_back else self._next()
            if line is None:
                return
            self._taken.append(line)
            self._size += len(line[1])
            if self._size > MAX_LINE_BYTES or len(self._taken) > MAX_ROW_LINES:
                raise _TooLongRowError("a quote is never closed")
            yield line[1]

    def _next(self) -> tuple[int, str, str] | None:
        line = next(self._lines, None)
        if line is None:
            return None
        number, raw = line
        if raw is None:
            return number, "\n", TOO_LONG
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            return number, raw.decode("utf-8", errors="replace") + "\n", NOT_UTF8
        return number, (text.removeprefix("\ufeff") if number == 1 else text) + "\n", ""
