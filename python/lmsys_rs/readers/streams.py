"""How the bytes of a file come out, whatever packs it: plain, gzip, Zstandard, or one member of a zip archive.

It knows nothing of JSON or tables. What a damaged file still holds comes out before the error does.
"""

from __future__ import annotations

import sys
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO, Literal

from lmsys_rs.errors import ReaderError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["ByteStream", "Line", "Packing", "lines_of", "packing_of", "zip_member"]

Packing = Literal["plain", "gzip", "zstd", "zip"]

MAGIC: tuple[tuple[bytes, Packing], ...] = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
)
# of a damaged archive; RuntimeError: a password is needed; OSError: a position that no file has
ZIP_ERRORS = (
    *(zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, KeyError, ValueError, OSError),
)
RAW_BYTES = 1 << 16  # compressed bytes that are decompressed at a time
MAX_LINE_BYTES = 64 << 20  # as in the core: longer lines are passed over
EXPORT_NAME = "conversations.json"  # what account exports call it, among pictures, a page and settings
SUFFIXES = frozenset({".parquet", ".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".txt"})


def packing_of(path: Path) -> Packing:
    """By the first bytes; the name says nothing."""
    with path.open("rb") as file:
        magic = file.read(4)
    return next((packing for start, packing in MAGIC if magic.startswith(start)), "plain")


def zip_member(path: Path) -> str:
    """The one conversation file of an archive: `conversations.json`, or the only file with a known ending.

    Raises:
        ReaderError: there is none or more than one, or the archive is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [info.filename for info in archive.infolist() if not info.is_dir()]
    except ZIP_ERRORS as error:
        raise _damaged(path, f"damaged zip data ({error})") from error
    safe = [name for name in names if _is_inside(name)]
    exports = [name for name in safe if PurePosixPath(name).name == EXPORT_NAME]
    known = exports or [name for name in safe if PurePosixPath(name).suffix.lower() in SUFFIXES - {".parquet"}]
    if len(known) == 1:
        return known[0]
    shown = ", ".join(names[:10]) or "nothing"
    raise ReaderError(
        f"{path}: the archive has {len(known)} conversation files, need one named {EXPORT_NAME}; it has {shown}",
        file=str(path),
        hint="unpack it and load the file or the folder",
    )


def _is_inside(name: str) -> bool:
    """A plain relative path of a file that is not hidden."""
    parts = PurePosixPath(name).parts
    return (
        not name.startswith(("/", "\\")) and ":" not in name and not any(part.startswith((".", "__")) for part in parts)
    )


class ByteStream:
    """An opened file, decompressed as it is read; use it in a ``with``."""

    def __init__(self, path: Path, packing: Packing, member: str | None = None) -> None:
        self._path = path
        self._packing = packing
        self._file: IO[bytes] = path.open("rb")
        self._pieces = self._unzipped(member) if packing == "zip" else self._unpacked()
        self._ready = b""
        self._failure: ReaderError | None = None

    def __enter__(self) -> ByteStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._pieces = iter(())
        self._file.close()

    @property
    def done(self) -> int:
        """Bytes of the file on disk that were used so far."""
        return self._file.tell()

    def read(self, n_bytes: int) -> bytes:
        """Up to ``n_bytes``, at the end none.

        Raises:
            ReaderError: the rest is damaged; everything before it has come out.
        """
        parts = [self._ready]
        size = len(self._ready)
        while size < n_bytes and self._failure is None:
            try:
                piece = next(self._pieces, b"")
            except ReaderError as error:
                self._failure = error
                break
            if not piece:
                break
            parts.append(piece)
            size += len(piece)
        whole = b"".join(parts)
        self._ready = whole[n_bytes:]
        if not whole and self._failure is not None:
            raise self._failure
        return whole[:n_bytes]

    def _unpacked(self) -> Iterator[bytes]:
        if self._packing == "plain":
            while piece := self._file.read(1 << 20):
                yield piece
            return
        decompress = _Inflater() if self._packing == "gzip" else _ZstdReader()
        while raw := self._file.read(RAW_BYTES):
            try:
                yield from decompress.pieces(raw)
            except (zlib.error, zstd.ZstdError) as error:
                raise _damaged(self._path, f"damaged {self._packing} data ({error})") from error
        if not decompress.is_whole:
            raise _damaged(self._path, f"the {self._packing} data ends too early")

    def _unzipped(self, member: str | None) -> Iterator[bytes]:
        try:
            with zipfile.ZipFile(self._file) as archive, archive.open(member or zip_member(self._path)) as inner:
                while piece := inner.read(1 << 18):
                    yield piece
        except ZIP_ERRORS as error:
            raise _damaged(
                self._path, f"damaged or locked zip data ({error})"
            ) from error  # RuntimeError: a password is needed


class _Inflater:
    """Gzip, any number of members one after another, as ``cat a.gz b.gz`` makes them."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(wbits=31)
        self._is_between = False

    def pieces(self, raw: bytes) -> Iterator[bytes]:
        while raw:
            if self._inflate.eof:
                raw = raw.lstrip(b"\0")  # padding of tapes
                if not raw:
                    return
                self._inflate = zlib.decompressobj(wbits=31)
            data = self._inflate.decompress(raw, 1 << 20)
            raw = self._inflate.unconsumed_tail or self._inflate.unused_data
            if data:
                yield data
            elif not self._inflate.eof and not self._inflate.unconsumed_tail:
                return

    @property
    def is_whole(self) -> bool:
        return self._inflate.eof


class _ZstdReader:
    """Zstandard, any number of frames one after another."""

    def __init__(self) -> None:
        self._frame = zstd.ZstdDecompressor()

    def pieces(self, raw: bytes) -> Iterator[bytes]:
        while True:
            if self._frame.eof:
                if not raw:
                    return
                self._frame = zstd.ZstdDecompressor()
            data = self._frame.decompress(raw, 1 << 20)
            if data:
                yield data
            if self._frame.eof:
                raw = self._frame.unused_data
            elif self._frame.needs_input:
                return
            else:
                raw = b""

    @property
    def is_whole(self) -> bool:
        return bool(self._frame.eof)


def _damaged(path: Path, why: str) -> ReaderError:
    return ReaderError(
        f"{path}: {why}; what came before it was read",
        file=str(path),
        hint="fetch or copy the file again",
    )


Line = tuple[int, bytes | None]
"""1-based number, and the bytes without the line's end, or None if the line is too long to be kept."""


def lines_of(stream: ByteStream, *, end: bytes = b"\n") -> Iterator[Line]:
    """The lines of a stream; one that is longer than 64 MiB is passed over."""
    number = 0
    rest: list[bytes] = []
    size = 0
    while chunk := stream.read(4 << 20):
        first, *others = chunk.split(end)
        size += len(first)
        if size <= MAX_LINE_BYTES:
            rest.append(first)
        else:
            rest = []
        for line in others:
            number += 1
            yield number, b"".join(rest) if size <= MAX_LINE_BYTES else None
            rest, size = [line], len(line)
    if size:
        yield number + 1, b"".join(rest) if size <= MAX_LINE_BYTES else None
