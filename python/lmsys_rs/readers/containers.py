"""What kind of file this is: Parquet, CSV, JSON lines or a JSON array, gzipped or not, and which fields it has.

It looks at the first bytes and the schema only; `json_stream` and `tables` read the rest.
"""

from __future__ import annotations

import csv
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl
from polars.exceptions import PolarsError

from lmsys_rs.errors import ReaderError

__all__ = ["Shape", "Source", "damaged", "inspect_source", "source_total"]

Shape = Literal["lmsys", "sharegpt", "text", "other"]

GZIP_MAGIC = b"\x1f\x8b"
PARQUET_MAGIC = b"PAR1"
PEEK_BYTES = 1 << 20
MAX_PEEK_BYTES = 256 << 20  # a first element larger than this is not a conversation
PEEK_ELEMENTS = 50


@dataclass(frozen=True)
class Source:
    """A file whose outer form is known.

    Attributes:
        columns: top-level field names in file order; of a JSON file, those of its first elements.
        shapes: for each column, what its values look like.
    """

    path: Path
    container: Literal["parquet", "csv", "json"]
    layout: Literal["auto", "lines", "array"]
    compressed: bool
    columns: tuple[str, ...]
    shapes: dict[str, Shape]
    separator: str = ","


def inspect_source(path: Path) -> Source:
    """Look at the first bytes (and the schema) of a file.

    Raises:
        FileNotFoundError, IsADirectoryError, PermissionError: as the operating system says.
        ReaderError: empty, truncated, not UTF-8, or of no known kind.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: need one conversation file (Parquet, JSONL, JSON or CSV)")
    with path.open("rb") as file:
        magic = file.read(4)
    if not magic:
        raise ReaderError(f"{path}: the file is empty", file=str(path))
    if magic == PARQUET_MAGIC:
        return _parquet_source(path)
    compressed = magic.startswith(GZIP_MAGIC)
    head = _head(path, PEEK_BYTES)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ReaderError(
            f"{path}: the file is UTF-16, need UTF-8", file=str(path), hint=f"iconv -f UTF-16 -t UTF-8 {path.name}"
        )
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not start:
        raise ReaderError(f"{path}: the file holds nothing but white space", file=str(path))
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if ".csv" in suffixes or ".tsv" in suffixes:
        return _csv_source(path, compressed, start.decode("utf-8", errors="replace"))
    if start[:1] in (b"{", b"[") or ".jsonl" in suffixes or ".json" in suffixes or ".ndjson" in suffixes:
        return _json_source(path, compressed, is_array=start.startswith(b"["))
    raise ReaderError(
        f"{path}: not a conversation file: need Parquet, JSON lines, a JSON array or CSV (.csv), gzipped or not",
        file=str(path),
    )


def source_total(source: Source) -> tuple[int, str]:
    """(size, unit) of the whole source for progress: rows of a Parquet file, else bytes on disk."""
    if source.container != "parquet":
        return source.path.stat().st_size, "B"
    try:
        return int(pl.scan_parquet(source.path, glob=False).select(pl.len()).collect().item()), "rows"
    except PolarsError as error:
        raise damaged(source.path, error) from error


def damaged(path: Path, error: PolarsError) -> ReaderError:
    """The decoder's complaint as an error that names the file."""
    reason = str(error).strip().splitlines()[0]
    return ReaderError(f"{path}: the file is damaged or not what its name says: {reason}", file=str(path))


def _head(path: Path, n_bytes: int) -> bytes:
    with path.open("rb") as file:
        raw = file.read(n_bytes)
    if not raw.startswith(GZIP_MAGIC):
        return raw
    try:
        return zlib.decompressobj(wbits=31).decompress(raw, n_bytes)
    except zlib.error as problem:
        raise ReaderError(f"{path}: damaged gzip data ({problem})", file=str(path)) from problem


def _json_source(path: Path, compressed: bool, *, is_array: bool) -> Source:
    n_bytes = PEEK_BYTES
    while True:
        head = _head(path, n_bytes)
        elements = _first_elements(head, is_array)
        if elements or len(head) < n_bytes or n_bytes >= MAX_PEEK_BYTES:
            break
        n_bytes *= 4
    if not elements:
        raise ReaderError(
            f"{path}: no JSON object in the first {len(head):,} bytes", file=str(path), hint="is it a JSON file?"
        )
    columns: dict[str, Shape] = {}
    for element in elements:
        for name, value in element.items():
            shape = _json_shape(value)
            if columns.get(name, "other") == "other":
                columns[name] = shape
    return Source(path, "json", "array" if is_array else "lines", compressed, tuple(columns), columns)


def _first_elements(head: bytes, is_array: bool) -> list[dict[str, Any]]:
    """The complete objects at the start; broken ones are passed over, the reader reports them later."""
    text = head.decode("utf-8", errors="replace").removeprefix("\ufeff")
    elements: list[dict[str, Any]] = []
    if not is_array:
        for line in text.split("\n"):
            try:
                element = json.loads(line)
            except ValueError:
                continue
            if isinstance(element, dict):
                elements.append(element)
            if len(elements) == PEEK_ELEMENTS:
                break
        return elements
    decoder = json.JSONDecoder()
    at = text.index("[") + 1
    while len(elements) < PEEK_ELEMENTS:
        while at < len(text) and text[at] in " \t\r\n,":
            at += 1
        try:
            element, at = decoder.raw_decode(text, at)
        except ValueError:
            break
        if isinstance(element, dict):
            elements.append(element)
    return elements


def _json_shape(value: Any) -> Shape:
    if isinstance(value, str):
        return "text"
    if isinstance(value, list):
        first = next((turn for turn in value if isinstance(turn, dict)), {})
        return _turn_shape(first)
    return "other"


def _turn_shape(keys: Any) -> Shape:
    if "from" in keys and "role" not in keys:
        return "sharegpt"
    return "lmsys" if "role" in keys else "other"


def _parquet_source(path: Path) -> Source:
    try:
        schema = pl.scan_parquet(path, glob=False).collect_schema()
    except PolarsError as error:
        raise damaged(path, error) from error
    shapes = {name: _table_shape(dtype) for name, dtype in schema.items()}
    return Source(path, "parquet", "auto", False, tuple(schema), shapes)


def _csv_source(path: Path, compressed: bool, start: str) -> Source:
    separator = "\t" if ".tsv" in [suffix.lower() for suffix in path.suffixes] else ","
    columns = next(csv.reader(start.splitlines(keepends=True), delimiter=separator, skipinitialspace=True))
    return Source(path, "csv", "auto", compressed, tuple(columns), dict.fromkeys(columns, "text"), separator)


def _table_shape(dtype: pl.DataType) -> Shape:
    if dtype == pl.String or isinstance(dtype, (pl.Categorical, pl.Enum)):
        return "text"
    if isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.Struct):
        return _turn_shape({field.name for field in dtype.inner.fields})
    return "other"
