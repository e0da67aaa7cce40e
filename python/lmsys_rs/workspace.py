"""Where the array files of a workspace lie, and how they are written so that no reader ever sees half of one.

It knows paths and bytes only: what a file means (which texts, which parameters) stands in the database, see `store`.
A vector file grows at its end and its valid rows never change; every other file is written aside and renamed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lmsys_rs.errors import StoreError

__all__ = ["DATABASE", "WorkspaceFolder"]

DATABASE = "lmsys.db"
FOLDERS = ("vectors", "graphs", "projections")


class WorkspaceFolder:
    """One workspace folder: ``lmsys.db`` beside ``vectors/``, ``graphs/`` and ``projections/``."""

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
            strangers = [entry.name for entry in path.iterdir() if entry.name not in FOLDERS] if path.exists() else []
            if strangers:
                raise StoreError(
                    f"{path} is not a workspace: it holds {strangers[0]!r} and no {DATABASE}",
                    hint="name a new folder, such as chats.lmsys",
                )
            if not create:
                raise StoreError(
                    f"there is no workspace at {path}", hint=f"lmsys load FILE --workspace {path} makes one"
                )
        for name in FOLDERS:
            (path / name).mkdir(parents=True, exist_ok=True)
        return cls(path)

    @property
    def database(self) -> Path:
        """Path of the SQLite file."""
        return self.path / DATABASE

    def vector_file(self, embedder_id: str) -> str:
        """Name of the vector file of an embedder, relative to the workspace."""
        return f"vectors/{_slug(embedder_id)}.f32"

    def vectors(self, file: str, *, n_rows: int, dim: int) -> npt.NDArray[np.float32]:
        """The first ``n_rows`` vectors, (n_rows, dim) float32, mapped read-only.

        Raises:
            StoreError: the file is missing or shorter than the database says.
        """
        if n_rows == 0:
            return np.empty((0, dim), dtype=np.float32)
        path = self.path / file
        need = n_rows * dim * 4
        got = path.stat().st_size if path.exists() else 0
        if got < need:
            raise StoreError(
                f"{path} is damaged: {got:,} bytes, need {need:,}", hint="lmsys embed --force makes it anew"
            )
        return np.memmap(path, dtype="<f4", mode="r", shape=(n_rows, dim))

    @contextmanager
    def appended_vectors(self, file: str, *, start: int, stop: int, dim: int) -> Iterator[npt.NDArray[np.float32]]:
        """Rows ``start..stop`` of a vector file, (stop - start, dim) float32, to be written in place.

        On a clean exit they are on disk; the caller then records them as valid. Rows before ``start`` are not touched.

        Raises:
            OSError: the disk is full (noticed before anything is written).
        """
        path = self.path / file
        row = dim * 4
        with path.open("ab") as handle:
            end = stop * row
            # space is taken now: writing to a mapped hole on a full disk would kill the process
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(handle.fileno(), start * row, end - start * row)
            elif path.stat().st_size < end:
                handle.truncate(end)
        mapped = np.memmap(path, dtype="<f4", mode="r+", offset=start * row, shape=(stop - start, dim))
        yield mapped
        mapped.flush()
        with path.open("r+b") as handle:  # Windows syncs only what is open for writing
            os.fsync(handle.fileno())

    def write_array(self, file: str, array: npt.NDArray[np.generic]) -> None:
        """Write an immutable ``.npy`` file: aside, synced, then renamed into place."""
        path = self.path / file
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with aside.open("wb") as handle:
                np.save(handle, np.ascontiguousarray(array), allow_pickle=False)
                handle.flush()
                os.fsync(handle.fileno())
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)

    def read_array(self, file: str) -> npt.NDArray[np.generic]:
        """An array written by `write_array`, mapped read-only.

        Raises:
            StoreError: the file is missing or damaged.
        """
        path = self.path / file
        try:
            array: npt.NDArray[np.generic] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise StoreError(f"{path} is missing or damaged: {error}") from error
        return array

    def array_bytes(self) -> int:
        """Size of all array files together."""
        return sum(file.stat().st_size for name in FOLDERS for file in (self.path / name).iterdir() if file.is_file())


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:120]
