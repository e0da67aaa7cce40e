"""How lines of plain text become batches: one query per line that is not blank.

A line that is no UTF-8 or is too long is a problem, and the others are read.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from lmsys_rs.errors import ReaderError
from lmsys_rs.readers.containers import Source
from lmsys_rs.readers.fields import Fields
from lmsys_rs.readers.frames import LINE, conversation_columns
from lmsys_rs.readers.streams import ByteStream, lines_of
from lmsys_rs.records import BATCH_SIZE, ConversationBatch, Problem

__all__ = ["NOT_UTF8", "TOO_LONG", "read_lines"]

NOT_UTF8 = "not UTF-8 (is it Latin-1? iconv -f LATIN1 -t UTF-8)"
TOO_LONG = "longer than 64 MiB: not read"
BATCH_BYTES = 32 << 20  # a batch of long lines is smaller


def read_lines(source: Source, fields: Fields, *, start: int) -> Iterator[ConversationBatch]:
    """Batches of a text file after line ``start``."""
    failure: ReaderError | None = None
    texts: list[str] = []
    numbers: list[int] = []
    problems: list[Problem] = []
    size = 0
    position = start
    with ByteStream(source.path, source.packing, source.member) as stream:
        lines = lines_of(stream, end=source.line_end)
        while failure is None:
            try:
                line = next(lines, None)
            except ReaderError as error:
                failure, line = error, None
            if line is not None and line[0] > start:
                position, raw = line
                text = _text(raw, position, problems)
                if text:
                    texts.append(text)
                    numbers.append(position)
                    size += len(text)
            if line is None or len(texts) + len(problems) >= BATCH_SIZE or size > BATCH_BYTES:
                if texts or problems:
                    yield ConversationBatch(
                        _frame(source, fields, texts, numbers), tuple(problems), position, stream.done
                    )
                texts, numbers, problems, size = [], [], [], 0
            if line is None:
                break
    if failure is not None:
        raise failure


def _text(raw: bytes | None, number: int, problems: list[Problem]) -> str:
    if raw is None:
        problems.append(Problem(number, TOO_LONG))
        return ""
    try:
        text = raw.decode("utf-8").strip("\r")
    except UnicodeDecodeError:
        problems.append(Problem(number, NOT_UTF8))
        return ""
    if number == 1:
        text = text.removeprefix("\ufeff")
    return text if text.strip() else ""


def _frame(source: Source, fields: Fields, texts: list[str], numbers: list[int]) -> pl.DataFrame:
    schema = {"line": pl.String()}
    frame = pl.LazyFrame({"line": texts, LINE: numbers}, schema={**schema, LINE: pl.UInt64()})
    return conversation_columns(frame, fields, pl.Schema(schema), file=str(source.path)).collect()
