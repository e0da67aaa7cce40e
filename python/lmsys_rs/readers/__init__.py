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
from lmsys_rs.readers.fields import ColumnMapping, ConversationFormat, Fields, resolve_fields
from lmsys_rs.readers.json_stream import read_json
from lmsys_rs.readers.lmsys import LMSYS
from lmsys_rs.readers.sharegpt import SHAREGPT
from lmsys_rs.readers.tables import read_csv, read_parquet
from lmsys_rs.readers.text import TEXT
from lmsys_rs.records import ConversationBatch

__all__ = ["FORMATS", "ColumnMapping", "ConversationReader", "open_conversations"]

FORMATS: dict[str, ConversationFormat] = {known.name: known for known in (LMSYS, SHAREGPT, TEXT)}


@dataclass(frozen=True)
class ConversationReader:
    """An opened source; iterate it (as often as wanted) for its batches.

    Attributes:
        format: ``lmsys``, ``sharegpt`` or ``text``.
        fields: the fields that are read.
        total, unit: size of the whole source, in the unit of `ConversationBatch.done`.
        start: line, element or row after which reading starts.
        strict: stop at the first element that cannot be read.
    """

    source: Source
    format: str
    fields: Fields
    model_default: str | None
    total: int
    unit: str
    start: int
    strict: bool

    def __iter__(self) -> Iterator[ConversationBatch]:
        """Batches in source order.

        Raises:
            ReaderError: the file is damaged, or (``strict``) an element cannot be read.
        """
        read = {"json": read_json, "csv": read_csv, "parquet": read_parquet}[self.source.container]
        for batch in read(self.source, self.fields, start=self.start):
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


def open_conversations(
    path: str | Path,
    *,
    format: str = "auto",
    mapping: ColumnMapping | None = None,
    start: int = 0,
    strict: bool = False,
) -> ConversationReader:
    """Open a file of conversations: LMSYS-Chat-1M or ShareGPT shaped, or one text per row.

    Args:
        path: Parquet, JSON lines, a JSON array or CSV; gzipped or not.
        format: ``auto``, ``lmsys``, ``sharegpt`` or ``text``.
        mapping: the caller's own field names.
        start: 1-based line of the last element to leave out, to resume.
        strict: raise at the first element that cannot be read instead of counting it.

    Raises:
        OSError: the file cannot be opened.
        ReaderError: it is no conversation file, or a named field is not in it.
    """
    mapping = mapping or ColumnMapping()
    if format not in ("auto", *FORMATS):
        raise InvalidInputError(f"format must be one of auto, {', '.join(FORMATS)}: {format!r}")
    source = inspect_source(Path(path))
    chosen = _detect_format(source, mapping) if format == "auto" else FORMATS[format]
    fields = resolve_fields(chosen, mapping, source.columns, file=str(path))
    total, unit = source_total(source)
    return ConversationReader(
        source=source,
        format=chosen.name,
        fields=fields,
        model_default=mapping.model_default,
        total=total,
        unit=unit,
        start=start,
        strict=strict,
    )


def _detect_format(source: Source, mapping: ColumnMapping) -> ConversationFormat:
    if mapping.text is not None and mapping.text in source.shapes:
        return FORMATS.get(source.shapes[mapping.text], TEXT)
    if mapping.text is not None:
        return TEXT  # a misspelt name, which resolve_fields reports, or a path into nested JSON
    for known in (LMSYS, SHAREGPT):
        if any(source.shapes.get(name) == known.name for name in known.turns):
            return known
    if any(source.shapes.get(name) == "text" for name in TEXT.text):
        return TEXT
    return LMSYS if any(name in source.columns for name in LMSYS.turns) else TEXT
