"""How a conversation file becomes batches of conversations: its kind is detected, then it is read as a stream.

Nothing here stores anything or knows a workspace; memory does not grow with the size of the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from lmsys_rs.errors import InvalidInputError, ReaderError
from lmsys_rs.readers.containers import Source, inspect_source, source_total
from lmsys_rs.readers.csv_rows import read_csv
from lmsys_rs.readers.detection import FORMATS, detect_format
from lmsys_rs.readers.fields import ColumnMapping, ConversationFormat, Fields, named_fields, resolve_fields
from lmsys_rs.readers.frames import has_plain_turns
from lmsys_rs.readers.json_stream import read_json
from lmsys_rs.readers.paths import Expanded, expand_path, expand_paths
from lmsys_rs.readers.tables import parquet_ids, read_parquet
from lmsys_rs.readers.text_lines import read_lines
from lmsys_rs.records import ConversationBatch

__all__ = [
    "FORMATS",
    "ColumnMapping",
    "ConversationReader",
    "Expanded",
    "expand_path",
    "expand_paths",
    "open_conversations",
]


@dataclass(frozen=True)
class ConversationReader:
    """An opened source; iterate it (as often as wanted) for its batches.

    Attributes:
        format: name of the format, one of `FORMATS`.
        fields: the fields that are read.
        ids_are_unique: equal ids mean the same conversation; otherwise id and text together do.
        total, unit: size of the whole source, in the unit of `ConversationBatch.done`.
        start: line, element or row after which reading starts.
        strict: stop at the first element that cannot be read.
        window_rows: most rows of a Parquet file that are in memory at a time; None leaves it to the reader.
    """

    source: Source
    format: str
    fields: Fields
    ids_are_unique: bool
    model_default: str | None
    total: int
    unit: str
    start: int
    strict: bool
    window_rows: int | None = None

    def __iter__(self) -> Iterator[ConversationBatch]:
        """Batches in source order.

        Raises:
            ReaderError: the file is damaged, or (``strict``) an element cannot be read.
        """
        for batch in self._batches():
            if self.strict and batch.problems:
                first = batch.problems[0]
                raise ReaderError(
                    f"{self.source.path}:{first.line}: {first.message}",
                    file=str(self.source.path),
                    line=first.line,
                    hint="without strict, broken lines are counted and skipped",
                )
            if self.model_default is not None:
                filled = batch.conversations.with_columns(pl.col("model").fill_null(self.model_default))
                batch = replace(batch, conversations=filled)
            yield batch

    def _batches(self) -> Iterator[ConversationBatch]:
        if self.source.container == "parquet":
            return read_parquet(self.source, self.fields, start=self.start, window_rows=self.window_rows)
        read = {"json": read_json, "csv": read_csv, "lines": read_lines}[self.source.container]
        return read(self.source, self.fields, start=self.start)

    def ids_only(self) -> Iterator[tuple[int, pl.Series]] | None:
        """(rows before it, conversation ids) of pieces of a Parquet file, quickly; None if nothing is quick here."""
        if self.source.container != "parquet" or self.fields.shape is not None or self.fields.turn_id:
            return None
        return parquet_ids(self.source, self.fields)


def open_conversations(
    path: str | Path,
    *,
    format: str = "auto",
    mapping: ColumnMapping | None = None,
    start: int = 0,
    strict: bool = False,
    window_rows: int | None = None,
) -> ConversationReader:
    """Open a file of conversations of any of the known `FORMATS`.

    Args:
        path: Parquet, JSON lines, JSON, CSV or lines of text; packed with gzip or zstd, or an account export's .zip.
        format: ``auto`` or one of `FORMATS`.
        mapping: the caller's own field names.
        start: 1-based line of the last element to leave out, to resume.
        strict: raise at the first element that cannot be read instead of counting it.
        window_rows: most rows of a Parquet file that are in memory at a time; None leaves it to the reader.

    Raises:
        OSError: the file cannot be opened.
        ReaderError: it is no conversation file, or a named field is not in it.
    """
    mapping = mapping or ColumnMapping()
    if format not in ("auto", *FORMATS):
        raise InvalidInputError(f"format must be one of auto, {', '.join(FORMATS)}: {format!r}")
    source = inspect_source(Path(path), as_lines=format == "lines")
    if format == "lines" and source.container != "lines":
        raise InvalidInputError(f"{path}: format 'lines' is for text, this is {source.container}")
    chosen = detect_format(source, mapping) if format == "auto" else FORMATS[format]
    total, unit = source_total(source)
    return ConversationReader(
        source=source,
        format=chosen.name,
        fields=_fields(chosen, mapping, source),
        ids_are_unique=chosen.ids_are_unique,
        model_default=mapping.model_default,
        total=total,
        unit=unit,
        start=start,
        strict=strict,
        window_rows=window_rows,
    )


def _fields(chosen: ConversationFormat, mapping: ColumnMapping, source: Source) -> Fields:
    file = str(source.path)
    if source.container == "lines":
        return Fields(text="line")
    if source.container == "parquet" and chosen.shape is not None and mapping.text is None:
        # columns are quicker than rows, where a format's turns stand in one
        main = next((name for name in chosen.turns if name in source.columns), None)
        if main is not None and not any(name in source.columns for name in chosen.answers):
            fields = named_fields(chosen, mapping, source.columns, main, file=file)
            if has_plain_turns(fields, pl.scan_parquet(source.path, glob=False).collect_schema()):
                return fields
    return resolve_fields(chosen, mapping, source.columns, file=file, samples=source.samples)
