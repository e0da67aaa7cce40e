"""Where the files of a workspace lie, how they are written so that no reader ever sees half of one, and who may write.

It knows paths and bytes only: what a file means (which texts, which parameters) stands in the database, see `store`.
A vector file grows at its end and its valid rows never change; every other file is written aside, synced and renamed.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lmsys_rs.errors import StoreError

__all__ = ["DATABASE", "FOLDERS", "WorkspaceFolder", "WrittenFile", "checksum_of", "is_writable"]

DATABASE = "lmsys.db"
FOLDERS = ("conversations", "columns", "vectors", "graphs", "projections", "signals", "labels")
OURS = (*FOLDERS, "backups", "writer.lock")
VECTOR_SUFFIXES = {"float32": "f32", "float16": "f16"}
CHECKSUM_BYTES = 1 << 20  # read at a time


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file that is complete and on disk; ``file`` is relative to the workspace, ``checksum`` its SHA-256."""

    file: str
    n_bytes: int
    checksum: str


class WorkspaceFolder:
    """One workspace folder: ``lmsys.db`` beside the folders of its array files."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def open(cls, path: str | Path, *, create: bool = True) -> WorkspaceFolder:
        """Use a folder as workspace, creating it where allowed.

        Raises:
            StoreError: the path is a file, a folder of something else, or (``create=False``) missing.
            OSError: the folder cannot be created.
        """
        path = Path(path)
        if path.exists() and not path.is_dir():
            raise StoreError(f"{path} is a file: a workspace is a folder", hint=f"try {path.with_suffix('.lmsys')}")
        if not (path / DATABASE).exists():
            strangers = [entry.name for entry in path.iterdir() if entry.name not in OURS] if path.exists() else []
            if strangers:
                raise StoreError(
                    f"{path} is not a workspace: it holds {strangers[0]!r} and no {DATABASE}",
                    hint="name a new folder, such as chats.lmsys",
                )
            if not create:
                raise StoreError(
                    f"there is no workspace at {path}", hint=f"lmsys load FILE --workspace {path} makes one"
                )
        if is_writable(path):
            for name in FOLDERS:
                (path / name).mkdir(parents=True, exist_ok=True)
        return cls(path)

    @property
    def database(self) -> Path:
        """Path of the SQLite file."""
        return self.path / DATABASE

    @property
    def lock(self) -> Path:
        """Path of the file that the one writer holds locked."""
        return self.path / "writer.lock"

    def vector_file(self, embedder_id: str, dtype: str = "float32") -> str:
        """Name of the vector file of an embedder, relative to the workspace."""
        return f"vectors/{_slug(embedder_id)}.{VECTOR_SUFFIXES[dtype]}"

    def vectors(self, file: str, *, n_rows: int, dim: int, dtype: str = "float32") -> npt.NDArray[Any]:
        """The first ``n_rows`` vectors, (n_rows, dim) as they are stored, mapped read-only.

        Raises:
            StoreError: the file is missing or shorter than the database says.
        """
        stored = np.dtype(dtype).newbyteorder("<")
        return self._mapped(file, stored, n_rows, dim, hint="lmsys verify --repair makes it anew")

    def signatures(self, file: str, *, n_rows: int, width: int) -> npt.NDArray[np.uint16]:
        """The first ``n_rows`` MinHash signatures, (n_rows, width) uint16, mapped read-only."""
        return self._mapped(file, np.dtype("<u2"), n_rows, width, hint="lmsys verify --repair makes it anew")

    def _mapped(self, file: str, dtype: np.dtype[Any], n_rows: int, width: int, *, hint: str) -> npt.NDArray[Any]:
        if n_rows == 0:
            return np.empty((0, width), dtype=dtype)
        path = self.path / file
        need = n_rows * width * dtype.itemsize
        got = path.stat().st_size if path.exists() else 0
        if got < need:
            raise StoreError(f"{path} is damaged: {got:,} bytes, need {need:,}", hint=hint)
        return np.memmap(path, dtype=dtype, mode="r", shape=(n_rows, width))

    def appended_vectors(
        self, file: str, *, start: int, stop: int, dim: int, dtype: str = "float32"
    ) -> AbstractContextManager[npt.NDArray[Any]]:
        """Rows ``start..stop`` of a vector file, (stop - start, dim), to be written in place."""
        stored = np.dtype(dtype).newbyteorder("<").str
        return self.appended_rows(file, start=start, stop=stop, width=dim, dtype=stored)

    @contextmanager
    def appended_rows(self, file: str, *, start: int, stop: int, width: int, dtype: str) -> Iterator[npt.NDArray[Any]]:
        """Rows ``start..stop`` of a growing file, (stop - start, width), to be written in place.

        On a clean exit they are on disk; the caller then records them as valid. Rows before ``start`` are not touched.

        Raises:
            OSError: the disk is full (noticed before anything is written).
        """
        path = self.path / file
        row = width * np.dtype(dtype).itemsize
        with path.open("ab") as handle:
            end = stop * row
            # space is taken now: writing to a mapped hole on a full disk would kill the process
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(handle.fileno(), start * row, end - start * row)
            elif path.stat().st_size < end:
                handle.truncate(end)
        mapped = np.memmap(path, dtype=dtype, mode="r+", offset=start * row, shape=(stop - start, width))
        yield mapped
        mapped.flush()
        with path.open("r+b") as handle:  # Windows syncs only what is open for writing
            os.fsync(handle.fileno())

    def write_file(self, file: str, write: Callable[[Path], object]) -> WrittenFile:
        """Let ``write`` fill a file aside; then sync it, rename it into place and say what is in place now.

        Raises:
            OSError: the disk is full; the file aside is removed.
        """
        path = self.path / file
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            write(aside)
            with aside.open("r+b") as handle:  # Windows syncs only what is open for writing
                os.fsync(handle.fileno())
            written = WrittenFile(file, aside.stat().st_size, checksum_of(aside))
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
        _sync_folder(path.parent)
        return written

    def write_array(self, file: str, array: npt.NDArray[np.generic]) -> WrittenFile:
        """Write an immutable ``.npy`` file."""

        def write(path: Path) -> None:
            with path.open("wb") as handle:
                np.save(handle, np.ascontiguousarray(array), allow_pickle=False)

        return self.write_file(file, write)

    def read_array(self, file: str) -> npt.NDArray[np.generic]:
        """An array written by `write_array`, mapped read-only.

        Raises:
            StoreError: the file is missing or damaged.
        """
        path = self.path / file
        try:
            array: npt.NDArray[np.generic] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise StoreError(
                f"{path} is missing or damaged: {error}", hint="lmsys verify --repair makes it anew"
            ) from error
        return array

    def remove(self, file: str) -> None:
        """Remove a file that the database does not name any more."""
        (self.path / file).unlink(missing_ok=True)

    def files(self) -> set[str]:
        """Every file in the folders of arrays, relative to the workspace; files aside are left out."""
        return {
            f"{name}/{file.name}"
            for name in FOLDERS
            if (self.path / name).is_dir()
            for file in (self.path / name).iterdir()
            if file.is_file() and not file.name.startswith(".")
        }

    def remove_left_aside(self) -> None:
        """Remove what a killed writer left beside its files. Only the one writer may call this."""
        for name in FOLDERS:
            for file in (self.path / name).glob(".*"):
                file.unlink(missing_ok=True)

    def database_bytes(self) -> int:
        """Size of the SQLite file and its log."""
        log = self.database.with_name(f"{DATABASE}-wal")
        return self.database.stat().st_size + (log.stat().st_size if log.exists() else 0)

    def array_bytes(self) -> int:
        """Size of all array files together."""
        return sum((self.path / file).stat().st_size for file in self.files())


def checksum_of(path: Path, *, start: int = 0, stop: int | None = None) -> str:
    """SHA-256 of a file, or of its bytes ``start`` to ``stop - 1``, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(start)
        left = stop - start if stop is not None else None
        while chunk := file.read(CHECKSUM_BYTES if left is None else min(CHECKSUM_BYTES, left)):
            digest.update(chunk)
            if left is not None:
                left -= len(chunk)
    return digest.hexdigest()


def is_writable(path: Path) -> bool:
    """Whether files can be made in this folder (or, if it does not exist, whether that is still to be seen)."""
    return not path.exists() or os.access(path, os.W_OK | os.X_OK)


def _sync_folder(folder: Path) -> None:
    """A rename is on disk once its folder is; Windows can't sync folders and needs no such call."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:120]
