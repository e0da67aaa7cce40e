"""What kind of file this is: Parquet, CSV, JSON or plain lines, packed or not, and which fields it has.

It looks at the first bytes and the schema only; `json_stream`, `tables`, `csv_rows` and `text_lines` read the rest.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import polars as pl
from polars.exceptions import PanicException, PolarsError

from lmsys_rs.errors import ReaderError
from lmsys_rs.readers.sampling import Layout, first_bytes, first_elements
from lmsys_rs.readers.streams import Packing, packing_of, zip_member

__all__ = ["Shape", "Source", "damaged", "inspect_source", "source_total"]

Shape = Literal["lmsys", "sharegpt", "text", "other"]
Container = Literal["parquet", "csv", "json", "lines"]

PARQUET_MAGIC = b"PAR1"
SEPARATORS = ",;\t|"
PACKED_SUFFIXES = (".gz", ".gzip", ".zst", ".zstd", ".zip")


@dataclass(frozen=True)
class Source:
    """A file whose outer form is known.

    Attributes:
        packing, member: how its bytes are packed; of an archive, the file in it.
        columns: top-level field names in file order; of a JSON file, those of its first elements.
        shapes: for each column, what its values look like.
        samples: first elements; of a table, one that has the shape of its rows.
    """

    path: Path
    container: Container
    packing: Packing = "plain"
    member: str | None = None
    layout: Layout = "lines"
    columns: tuple[str, ...] = ()
    shapes: dict[str, Shape] = field(default_factory=dict)
    samples: tuple[dict[str, Any], ...] = ()
    separator: str = ","
    line_end: bytes = b"\n"

    @property
    def compressed(self) -> bool:
        """Whether the bytes on disk are not those of the file within."""
        return self.packing != "plain"


def inspect_source(path: Path, *, as_lines: bool = False) -> Source:
    """Look at the first bytes (and the schema) of a file.

    Args:
        path: one file.
        as_lines: take it for plain text, whatever it looks like.

    Raises:
        FileNotFoundError, IsADirectoryError, PermissionError: as the operating system says.
        ReaderError: empty, truncated, not UTF-8, or of no known kind.
    """
    if path.is_dir():
        raise IsADirectoryError(
            f"{path} is a folder: need one conversation file (Parquet, JSONL, JSON, CSV or lines of text)"
        )
    with path.open("rb") as file:
        magic = file.read(4)
    if not magic:
        raise ReaderError(f"{path}: the file is empty", file=str(path))
    if magic == PARQUET_MAGIC:
        return _parquet_source(path)
    packing = packing_of(path)
    member = zip_member(path) if packing == "zip" else None
    head = first_bytes(path, packing, member)
    if _is_utf16(head):
        raise ReaderError(
            f"{path}: the file is UTF-16, need UTF-8", file=str(path), hint=f"iconv -f UTF-16 -t UTF-8 {path.name}"
        )
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not start:
        raise ReaderError(f"{path}: the file holds nothing but white space", file=str(path))
    if start.startswith(PARQUET_MAGIC):
        raise ReaderError(
            f"{path}: Parquet within {packing}, need the plain file (it is compressed inside)",
            file=str(path),
            hint=f"unpack {path.name} first",
        )
    suffix = _suffix(Path(member) if member else path)
    line_end = b"\r" if b"\n" not in head and b"\r" in head else b"\n"
    if as_lines:
        return Source(path, "lines", packing, member, line_end=line_end)
    if suffix in (".csv", ".tsv"):
        return _csv_source(path, packing, member, start, line_end, suffix)
    looks_like_json = start[:1] in (b"{", b"[")
    if suffix == ".txt" and not (looks_like_json and _has_objects(path, packing, member)):
        return Source(path, "lines", packing, member, line_end=line_end)
    if looks_like_json or suffix in (".jsonl", ".json", ".ndjson", ".txt"):
        return _json_source(path, packing, member)
    raise ReaderError(
        f"{path}: not a conversation file: need Parquet, JSON lines, a JSON array, CSV (.csv) or lines of text (.txt), "
        "packed with gzip or zstd or not",
        file=str(path),
        hint="--format lines takes every line of any text file for a query",
    )


def _is_utf16(head: bytes) -> bool:
    """Whether a mark says so and the text bears it out: a broken first line can begin with the same two bytes."""
    sample = head[2:1002]
    # of Latin text every other byte is zero, and quotes, braces and spaces are Latin in any JSON or CSV
    return head.startswith((b"\xff\xfe", b"\xfe\xff")) and sample.count(0) * 10 >= len(sample)


def source_total(source: Source) -> tuple[int, str]:
    """(size, unit) of the whole source for progress: rows of a Parquet file, else bytes on disk."""
    if source.container != "parquet":
        return source.path.stat().st_size, "B"
    try:
        return int(pl.scan_parquet(source.path, glob=False).select(pl.len()).collect().item()), "rows"
    except (PolarsError, PanicException) as error:
        raise damaged(source.path, error) from error


def damaged(path: Path, error: BaseException) -> ReaderError:
    """The decoder's complaint as an error that names the file."""
    reason = (str(error).strip().splitlines() or ["no reason given"])[0]
    return ReaderError(f"{path}: the file is damaged or not what its name says: {reason}", file=str(path))


def _suffix(path: Path) -> str:
    """The last ending that says what is in the file, not how it is packed."""
    return next((s.lower() for s in reversed(path.suffixes) if s.lower() not in PACKED_SUFFIXES), "")


def _has_objects(path: Path, packing: Packing, member: str | None) -> bool:
    try:
        return bool(first_elements(path, packing, member)[0])
    except ReaderError:
        return False


def _json_source(path: Path, packing: Packing, member: str | None) -> Source:
    elements, layout = first_elements(path, packing, member)
    columns: dict[str, Shape] = {}
    for element in elements:
        for name, value in element.items():
            shape = _json_shape(value)
            if columns.get(name, "other") == "other":
                columns[name] = shape
    return Source(
        path, "json", packing, member, layout, columns=tuple(columns), shapes=columns, samples=tuple(elements)
    )


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
    except (PolarsError, PanicException) as error:
        raise damaged(path, error) from error
    row = {name: _example(dtype) for name, dtype in schema.items()}
    shapes: dict[str, Shape] = {name: _json_shape(value) for name, value in row.items()}
    return Source(path, "parquet", columns=tuple(schema), shapes=shapes, samples=(row,))


def _example(dtype: Any) -> Any:
    """A value with the structure of a column's values, as JSON would have it."""
    if isinstance(dtype, (pl.List, pl.Array)):
        return [_example(dtype.inner)]
    if isinstance(dtype, pl.Struct):
        return {inner.name: _example(inner.dtype) for inner in dtype.fields}
    if dtype == pl.String or isinstance(dtype, (pl.Categorical, pl.Enum)):
        return ""
    return None


def _csv_source(path: Path, packing: Packing, member: str | None, start: bytes, line_end: bytes, suffix: str) -> Source:
    try:
        header = start.split(line_end, 1)[0].decode("utf-8")
    except UnicodeDecodeError as error:
        raise ReaderError(
            f"{path}: the header is not UTF-8 ({error.reason})",
            file=str(path),
            line=1,
            hint=f"iconv -f LATIN1 -t UTF-8 {path.name}",
        ) from error
    counts = {separator: header.count(separator) for separator in SEPARATORS}
    separator = "\t" if suffix == ".tsv" else ","
    if not counts[separator] and any(counts.values()):
        separator = max(SEPARATORS, key=lambda candidate: counts[candidate])
    text = start.decode("utf-8", errors="replace")
    try:
        # StringIO ends lines where csv does: a U+2028 is a character like any other
        names = next(csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True))
    except csv.Error as error:
        raise ReaderError(f"{path}: the header cannot be read: {error}", file=str(path), line=1) from error
    columns = _distinct(names)
    return Source(
        path,
        "csv",
        packing,
        member,
        columns=columns,
        shapes=dict.fromkeys(columns, "text"),
        samples=(dict.fromkeys(columns, ""),),
        separator=separator,
        line_end=line_end,
    )


def _distinct(names: list[str]) -> tuple[str, ...]:
    """Column names; the second of equal ones is `name_2`."""
    found: dict[str, None] = {}
    for name in names:
        candidate, number = name, 1
        while candidate in found:
            number += 1
            candidate = f"{name}_{number}"
        found[candidate] = None
    return tuple(found)
