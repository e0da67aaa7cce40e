"""Where whole conversations are kept: their turns and every other field of the source, in immutable Parquet files.

One file per batch of `load`; table ``segment`` says which count. The columns are those of `CONVERSATION_SCHEMA` and
``id``; ``extra`` is text (JSON) or, from tables, a struct of the source's own columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from lmsys_rs.errors import StoreError
from lmsys_rs.extras import extra_as_json
from lmsys_rs.records import CONVERSATION_SCHEMA, SegmentRecord
from lmsys_rs.workspace import WorkspaceFolder, WrittenFile

__all__ = ["SEGMENT_SCHEMA", "read_conversation", "scan_conversations", "scan_turns", "write_segment"]

SEGMENT_SCHEMA = pl.Schema({"id": pl.Int64(), **CONVERSATION_SCHEMA})


def write_segment(folder: WorkspaceFolder, conversations: pl.DataFrame) -> WrittenFile:
    """Write conversations (with consecutive ids) to their file."""
    first, last = int(conversations["id"][0]), int(conversations["id"][-1])

    def write(path: Path) -> None:
        # level 1: 2.1 GB of text a second and core less than level 3, for 4 % more bytes
        conversations.select("id", *CONVERSATION_SCHEMA).write_parquet(
            path, compression="zstd", compression_level=1, statistics=False
        )

    return folder.write_file(f"conversations/{first:010d}-{last:010d}.parquet", write)


def scan_conversations(folder: WorkspaceFolder, segments: Sequence[SegmentRecord]) -> pl.LazyFrame:
    """Every conversation of the segments as a lazy frame in `SEGMENT_SCHEMA`; ``extra`` is JSON text."""
    if not segments:
        return pl.LazyFrame(schema=SEGMENT_SCHEMA)
    frames = []
    for segment in segments:
        frame = pl.scan_parquet(folder.path / segment.file, glob=False)
        frames.append(frame.with_columns(extra_as_json(frame.collect_schema()["extra"])).select(SEGMENT_SCHEMA.names()))
    return pl.concat(frames)


def scan_turns(folder: WorkspaceFolder, segments: Sequence[SegmentRecord]) -> pl.LazyFrame:
    """Every turn as a lazy frame: conversation_id (the workspace's number), position (from 0), role, content."""
    return (
        scan_conversations(folder, segments)
        .filter(pl.col("turns").list.len() > 0)
        .select(
            pl.col("id").alias("conversation_id"), pl.int_ranges(pl.col("turns").list.len()).alias("position"), "turns"
        )
        .explode("position", "turns")
        .unnest("turns")
    )


def read_conversation(folder: WorkspaceFolder, segment: SegmentRecord, conversation_id: int) -> pl.DataFrame:
    """One conversation of a segment, in `SEGMENT_SCHEMA`.

    Raises:
        StoreError: the file is missing or damaged.
    """
    try:
        return scan_conversations(folder, [segment]).filter(pl.col("id") == conversation_id).collect()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise StoreError(
            f"{folder.path / segment.file} is missing or damaged: {error}", hint="lmsys verify --repair"
        ) from error
