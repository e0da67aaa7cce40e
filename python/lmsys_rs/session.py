"""What an open workspace is: its folder of arrays and its database, opened and closed together.

It runs no use case; `pipeline`, `clustering`, `labeling` and `search` take a session and do their part.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from lmsys_rs.errors import StoreError
from lmsys_rs.records import EmbeddingRecord
from lmsys_rs.store import Store, reading
from lmsys_rs.workspace import WorkspaceFolder

__all__ = ["Session", "open_session"]


@dataclass(frozen=True)
class Session:
    """An open workspace; a context manager that closes the database."""

    folder: WorkspaceFolder
    store: Store

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.store.close()

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
        """(n_rows, dim) float32 unit rows, row = text_id, mapped read-only."""
        file = self.folder.vector_file(embedding.embedder_id)
        return self.folder.vectors(file, n_rows=embedding.n_rows, dim=embedding.dim)


def open_session(path: str | Path, *, create: bool = True) -> Session:
    """Open a workspace folder, creating it where allowed.

    Raises:
        StoreError: not a workspace, newer than the program, missing, or not writable.
    """
    folder = WorkspaceFolder.open(path, create=create)
    return Session(folder, Store.open(folder.database, create=create))
