"""What an open workspace is: its folder of arrays and its database, opened and closed together.

It runs no use case; `loading`, `embedding`, `clustering`, `labeling`, `search` and the others take a session and do
their part.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from lmsys_rs.errors import StoreError
from lmsys_rs.locking import WriterLock
from lmsys_rs.records import EmbeddingRecord
from lmsys_rs.store import Store, reading
from lmsys_rs.workspace import WorkspaceFolder, is_writable

__all__ = ["Session", "open_session"]


@dataclass(frozen=True)
class Session:
    """An open workspace; a context manager that closes the database.

    Attributes:
        kept: what is kept in memory between calls because it is expensive to get (see `columns`).
    """

    folder: WorkspaceFolder
    store: Store
    lock: WriterLock
    kept: dict[str, Any] = field(default_factory=dict)

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the database. The object must not be used afterwards."""
        self.kept.clear()
        self.store.close()

    @property
    def read_only(self) -> bool:
        """Whether the disk cannot be written."""
        return self.store.read_only

    @contextmanager
    def writer(self, purpose: str) -> Iterator[None]:
        """Be the one writer of the workspace until the end of the block; blocks may be nested.

        Raises:
            StoreError: the disk is read-only, or another program writes.
        """
        if self.read_only:
            raise StoreError(
                f"{self.folder.path} cannot be written: it is open read-only", hint="copy it to a disk you can write"
            )
        with self.lock.held(purpose):
            yield

    def embedding(self, embedder_id: str | None = None) -> EmbeddingRecord:
        """The embedding of an embedder, or the newest one.

        Raises:
            StoreError: nothing is embedded yet.
        """
        with self.store.reading() as connection:
            found = reading.embeddings(connection)
        for record in reversed(found):
            if embedder_id in (None, record.embedder_id):
                return record
        wanted = "" if embedder_id is None else f" with {embedder_id}"
        raise StoreError(f"{self.folder.path}: nothing is embedded{wanted} yet", hint="run: lmsys embed")

    def vectors(self, embedding: EmbeddingRecord) -> npt.NDArray[np.float32]:
        """(n_rows, dim) float32 unit rows, row = text_id: the mapped file, or what is stored as float16 in memory."""
        file = self.folder.vector_file(embedding.embedder_id, embedding.dtype)
        stored = self.folder.vectors(file, n_rows=embedding.n_rows, dim=embedding.dim, dtype=embedding.dtype)
        if stored.dtype == np.float32:
            return stored
        key = f"vectors {file}"
        kept: npt.NDArray[np.float32] | None = self.kept.get(key)
        if kept is None or len(kept) != embedding.n_rows:
            kept = self.kept[key] = stored.astype(np.float32)
        return kept


def open_session(
    path: str | Path, *, create: bool = True, read_only: bool | None = None, migrate: bool = True
) -> Session:
    """Open a workspace folder, creating it where allowed.

    Args:
        read_only: write nothing; None does so where the disk cannot be written.
        migrate: False opens an older schema as it is, to change it.

    Raises:
        StoreError: not a workspace, newer than the program, missing, or not writable.
    """
    folder = WorkspaceFolder.open(path, create=create and not read_only)
    if read_only is None:
        read_only = folder.database.exists() and not is_writable(folder.path)
    store = Store.open(folder.database, create=create and not read_only, read_only=read_only, migrate=migrate)
    return Session(folder, store, WriterLock(folder.lock))
