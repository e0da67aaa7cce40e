"""How every distinct text gets its vector, once: block by block into the vector file, each valid once it is on disk.

It prints nothing: it reports through events. A call that was cut off goes on at the first row that is not valid.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from lmsys_rs.errors import InvalidInputError
from lmsys_rs.layouts import Progress
from lmsys_rs.models import DEFAULT_MODEL, Encoder
from lmsys_rs.planning import announce, plan_embedding
from lmsys_rs.records import EmbeddingRecord, EmbedReport, Event, OnEvent, ignore_events
from lmsys_rs.session import Session
from lmsys_rs.store import reading, writing

__all__ = ["Embedder", "embed", "embed_block", "load_encoder"]

EMBED_BATCH = 2048  # texts between two points of resumption; large enough to sort by length within


class Embedder(Protocol):
    """What `embed` needs of an encoder: a name for its vectors, their length, and the vectors (n, dim) of texts."""

    @property
    def id(self) -> str:
        """Names the model and its settings."""
        ...

    @property
    def dim(self) -> int:
        """Numbers per vector."""
        ...

    def embed(self, texts: Any, /) -> npt.NDArray[np.float32]:
        """(n, dim) vectors of a list of texts."""
        ...


def embed(
    session: Session,
    encoder: Embedder | str | Path = DEFAULT_MODEL,
    *,
    force: bool = False,
    max_memory: int | None = None,
    on_event: OnEvent = ignore_events,
) -> EmbedReport:
    """Give every distinct text its vector, once: texts that have one are left alone, a cut-off call is continued.

    Args:
        encoder: an `Encoder`, the name or path of a model, or any object with ``id``, ``dim`` and ``embed(texts)``.
        force: embed all texts anew.
        max_memory: refuse to begin where more bytes are expected to be needed.

    Raises:
        ModelError: the model cannot be found or loaded.
        OSError: the disk is full; what was embedded before stays.
    """
    started = time.perf_counter()
    if isinstance(encoder, (str, Path)):
        encoder = load_encoder(encoder, on_event)
    record = EmbeddingRecord(
        embedder_id=encoder.id,
        model=getattr(encoder, "source", encoder.id),
        dim=encoder.dim,
        dtype="float32",
        n_rows=0,
        pooling=getattr(encoder, "pooling", "unknown"),
        max_length=getattr(encoder, "max_length", 0),
        created_at=writing.now(),
    )
    file = session.folder.vector_file(encoder.id)
    with session.writer("embed"):
        with session.store.writing() as connection:
            writing.put_embedding(connection, record, file=file, restart=force)
            n_texts = reading.n_texts(connection)
            n_rows = next(e.n_rows for e in reading.embeddings(connection) if e.embedder_id == encoder.id)
            n_chars = reading.n_chars(connection, n_rows)
        if n_rows < n_texts:
            plan = plan_embedding(n_texts - n_rows, n_chars, encoder.dim)
            announce(session, plan, max_memory=max_memory, on_event=on_event)
        first, n_tokens = n_rows, 0
        on_event(Event("started", "embed", n_rows, n_texts, "texts"))
        while n_rows < n_texts:
            stop = min(n_rows + EMBED_BATCH, n_texts)
            progress = Progress(on_event, "embed", unit="texts", start=n_rows, size=stop - n_rows, total=n_texts)
            n_tokens += embed_block(session, encoder, file, n_rows, stop, progress)
            n_rows = stop
            on_event(Event("advanced", "embed", n_rows, n_texts, "texts"))
        on_event(Event("finished", "embed", n_rows, n_texts, "texts"))
    return EmbedReport(
        embedder_id=encoder.id,
        model=record.model,
        dim=encoder.dim,
        n_texts=n_texts,
        n_new=n_rows - first,
        n_tokens=n_tokens,
        seconds=time.perf_counter() - started,
    )


def embed_block(session: Session, encoder: Embedder, file: str, start: int, stop: int, progress: Progress) -> int:
    """Write the vectors of texts ``start`` to ``stop - 1`` and declare them valid; returns the number of tokens."""
    with session.store.reading() as connection:
        texts = reading.text_range(connection, start, stop)
    with session.folder.appended_vectors(file, start=start, stop=stop, dim=encoder.dim) as rows:
        n_tokens = _embed_into(encoder, texts, rows, progress)
        checksum = hashlib.sha256(rows.data).hexdigest()
    with session.store.writing() as connection:
        writing.add_vector_block(connection, encoder.id, start=start, stop=stop, checksum=checksum)
    return n_tokens


def _embed_into(encoder: Embedder, texts: pl.Series, rows: npt.NDArray[np.float32], progress: Progress) -> int:
    if isinstance(encoder, Encoder):
        return encoder.embed_into(texts, rows, progress=progress)
    vectors = np.asarray(encoder.embed(texts.to_list()), dtype=np.float32)
    if vectors.shape != rows.shape:
        raise InvalidInputError(f"{encoder.id}: embed must return an array of shape {rows.shape}: got {vectors.shape}")
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    broken = np.flatnonzero(~np.isfinite(norms[:, 0]) | (norms[:, 0] == 0))
    if len(broken):
        raise InvalidInputError(f"{encoder.id}: the vector of text {texts[int(broken[0])]!r} is zero or not finite")
    rows[:] = vectors / norms
    return 0


def load_encoder(name_or_path: str | Path, on_event: OnEvent) -> Encoder:
    """The encoder of a known name or a path; its files are fetched first where they are missing."""
    started = False

    def on_bytes(done: int, total: int | None) -> None:
        nonlocal started
        if not started:
            on_event(Event("started", "model", 0, total, "B"))
            started = True
        on_event(Event("advanced", "model", done, total, "B"))

    from lmsys_rs import models

    if name_or_path in models.REGISTRY and not models.cached(str(name_or_path)):
        on_event(Event("note", "model", message=f"fetching model {name_or_path} (once)"))
    encoder = Encoder(name_or_path, on_bytes=on_bytes)
    if started:
        on_event(Event("finished", "model", 0, None, "B"))
    return encoder
