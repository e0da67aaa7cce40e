"""How JSON becomes batches: lines or one array, gzipped or not, parsed by the Rust core in 4 MiB chunks.

It decides nothing about formats (see `fields`) and keeps at most one chunk and its conversations in memory.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from lmsys_rs.errors import ReaderError
from lmsys_rs.readers.containers import Source
from lmsys_rs.readers.fields import Fields
from lmsys_rs.records import BATCH_SIZE, CONVERSATION_SCHEMA, ConversationBatch, Problem

__all__ = ["read_json"]

CHUNK_BYTES = 4 << 20  # what is handed to the JSON parser at a time


def read_json(source: Source, fields: Fields, *, start: int) -> Iterator[ConversationBatch]:
    """Batches of a JSON file after line (of an array: element) ``start``."""
    from lmsys_rs import _core

    reader = _core.JsonReader(fields.to_core(), layout=source.layout)
    position = start
    for data, done, final in _chunks(source.path, source.compressed):
        batch, problems = reader.feed(data, final=final)
        conversations = _as_conversations(batch).filter(pl.col("line") > start)
        fresh = [Problem(line, message) for line, message in problems if line > start]
        for part in _slices(conversations):
            if part.height:
                position = max(position, int(part["line"][-1]))
            is_last = part.height < BATCH_SIZE
            if is_last and fresh:
                position = max(position, fresh[-1].line)
            ready = tuple(p for p in fresh if p.line <= position)
            fresh = fresh[len(ready) :]
            if part.height or ready:
                yield ConversationBatch(part, ready, position, done)


def _slices(conversations: pl.DataFrame) -> Iterator[pl.DataFrame]:
    for offset in range(0, conversations.height + 1, BATCH_SIZE):
        yield conversations.slice(offset, BATCH_SIZE)


def _as_conversations(batch: Any) -> pl.DataFrame:
    frame = pl.DataFrame(batch)
    return frame.cast(dict(CONVERSATION_SCHEMA)).select(CONVERSATION_SCHEMA.names())  # type: ignore[arg-type]  # Schema is a dict of dtypes


def _chunks(path: Path, compressed: bool) -> Iterator[tuple[bytes, int, bool]]:
    """(bytes, position in the file, is last); of a truncated gzip everything that is there, then a ReaderError."""
    if not compressed:
        size = path.stat().st_size
        done = 0
        with path.open("rb") as file:
            while data := file.read(CHUNK_BYTES):
                done += len(data)
                yield data, done, False
        yield b"", max(done, size), True
        return
    error: str | None = None
    with path.open("rb") as file:
        inflate = zlib.decompressobj(wbits=31)
        pending = b""
        while error is None:
            raw = pending or file.read(1 << 16)
            if not raw:
                error = None if inflate.eof else "the gzip data ends too early"
                break
            try:
                if inflate.eof:  # a second gzip member follows, as `cat a.gz b.gz` makes them
                    inflate = zlib.decompressobj(wbits=31)
                data = inflate.decompress(raw, CHUNK_BYTES)
            except zlib.error as problem:
                error = f"damaged gzip data ({problem})"
                break
            pending = inflate.unconsumed_tail or inflate.unused_data.lstrip(b"\0")
            if data:
                yield data, file.tell(), False
        end = file.tell()
    if error is None:
        yield b"", end, True
        return
    raise ReaderError(
        f"{path}: {error}; what came before it was read",
        file=str(path),
        hint="fetch or copy the file again",
    )
