"""Vectors that another workspace of this machine has already: found again by embedder and hash of the text.

Nothing is kept twice for it: the cache folder only lists the workspaces that were embedded, and their own files are
read. One that is gone, damaged or of another version is passed over.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from lmsys_rs.config import settings
from lmsys_rs.errors import StoreError
from lmsys_rs.records import EmbeddingRecord
from lmsys_rs.session import Session, open_session
from lmsys_rs.store import reading

__all__ = ["Donor", "donors", "remember"]

MOST_WORKSPACES = 64  # the newest are remembered
UNIT_TOLERANCE = 1e-2  # a row whose length is not 1 within this is not a vector


@dataclass(frozen=True)
class Donor:
    """Another workspace with vectors of the same embedder."""

    session: Session
    embedding: EmbeddingRecord

    def vectors_of(self, hashes: pl.Series) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Positions in ``hashes`` of the texts that it has, and their vectors, (n, dim) float32."""
        with self.session.store.reading() as connection:
            known = reading.text_ids_of(connection, hashes)
        known = known.filter(pl.col("text_id") < self.embedding.n_rows)
        positions = known["position"].to_numpy().astype(np.int64)
        rows = np.asarray(self.session.vectors(self.embedding)[known["text_id"].to_numpy()], dtype=np.float32)
        unit = np.abs(np.linalg.norm(rows, axis=1) - 1) < UNIT_TOLERANCE
        return positions[unit], rows[unit]


def remember(session: Session) -> None:
    """List a workspace among those whose vectors may be found again; where that cannot be written, it is not."""
    path = str(session.folder.path.resolve())
    others = [known for known in _listed() if known != path]
    file = _list_file()
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(json.dumps([path, *others][:MOST_WORKSPACES], indent=1), encoding="utf-8")
        aside.replace(file)
    except OSError:
        aside.unlink(missing_ok=True)


@contextmanager
def donors(session: Session, embedder_id: str, dtype: str) -> Iterator[list[Donor]]:
    """The other workspaces that have vectors of ``embedder_id``, no coarser than ``dtype``."""
    found: list[Donor] = []
    here = session.folder.path.resolve()
    try:
        for path in map(Path, _listed()):
            if path.resolve() == here or not path.is_dir():
                continue
            try:
                other = open_session(path, create=False, read_only=True)
                embedding = other.embedding(embedder_id)
            except (StoreError, OSError):
                continue
            if embedding.dtype in ("float32", dtype) and embedding.n_rows:
                found.append(Donor(other, embedding))
        yield found
    finally:
        for donor in found:
            donor.session.close()


def _list_file() -> Path:
    return settings().cache_dir / "workspaces.json"


def _listed() -> list[str]:
    try:
        paths = json.loads(_list_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [path for path in paths if isinstance(path, str)] if isinstance(paths, list) else []
