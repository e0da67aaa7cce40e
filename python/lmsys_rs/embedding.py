"""How every distinct text gets its vector, once: block by block into the vector file, each valid once it is on disk.

It prints nothing: it reports through events. A call that was cut off goes on at the first row that is not valid.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from lmsys_rs.config import settings
from lmsys_rs.errors import InvalidInputError
from lmsys_rs.layouts import Progress
from lmsys_rs.models import DEFAULT_MODEL, Encoder, EngineName
from lmsys_rs.planning import announce, plan_embedding
from lmsys_rs.records import EmbeddingRecord, EmbedReport, Event, OnEvent, ignore_events
from lmsys_rs.reusing import Donor, donors, remember
from lmsys_rs.session import Session
from lmsys_rs.store import reading, writing

__all__ = ["Dtype", "Embedder", "embed", "embed_block", "load_encoder"]

EMBED_BATCH = 512  # texts before the first point of resumption
LARGEST_BATCH = 1 << 16  # of an encoder so fast that the points themselves would take the time
BATCH_S = 1.0, 4.0  # seconds between two points: fewer and they cost time, more and a killed call loses work
BYTES_PER_TOKEN = 4  # as the core estimates: tokens are counted before they are known (src/embed/mod.rs)

Dtype = Literal["float32", "float16"]


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
    dtype: Dtype | None = None,
    reuse: bool = True,
    max_memory: int | None = None,
    on_event: OnEvent = ignore_events,
) -> EmbedReport:
    """Give every distinct text its vector, once: texts that have one are left alone, a cut-off call is continued.

    Progress is told in tokens, estimated from the length of the texts, so that the time left is right although texts
    differ in length.

    Args:
        encoder: an `Encoder`, the name or path of a model, or any object with ``id``, ``dim`` and ``embed(texts)``.
        force: embed all texts anew.
        dtype: how vectors are stored: ``float32``, or ``float16``, half as large and exact to about 0.05 %; None
            keeps what the workspace has, at first ``float32``.
        reuse: take vectors of the same embedder and text from other workspaces of this machine, unless ``LMSYS_REUSE``
            is 0.
        max_memory: refuse to begin where more bytes are expected to be needed.

    Raises:
        ModelError: the model cannot be found or loaded.
        InvalidInputError: the vectors are stored with another dtype (without ``force``).
        OSError: the disk is full; what was embedded before stays.
    """
    started = time.perf_counter()
    reuse = reuse and settings().reuse
    if dtype not in (None, "float32", "float16"):
        raise InvalidInputError(f"dtype must be float32 or float16: {dtype!r}")
    if isinstance(encoder, (str, Path)):
        encoder = load_encoder(encoder, on_event)
    with session.writer("embed"):
        record = _register(session, encoder, dtype=dtype, force=force)
        with session.store.reading() as connection:
            n_texts = reading.n_texts(connection)
            n_chars = reading.n_chars(connection, record.n_rows)
            n_tokens = reading.estimated_tokens(connection, record.n_rows, BYTES_PER_TOKEN, record.max_length)
        if record.n_rows < n_texts:
            engine = getattr(encoder, "engine", "ort")
            plan = plan_embedding(n_texts - record.n_rows, n_chars, encoder.dim, engine)
            announce(session, plan, max_memory=max_memory, on_event=on_event)
        on_event(Event("started", "embed", 0, n_tokens, "tokens"))
        found: AbstractContextManager[list[Donor]] = (
            donors(session, encoder.id, record.dtype) if reuse else nullcontext([])
        )
        with found as others:
            done = _embed_rest(session, encoder, record, n_texts, n_tokens, others, on_event)
        on_event(Event("finished", "embed", n_tokens, n_tokens, "tokens"))
    if n_texts and settings().reuse:
        remember(session)
    return EmbedReport(
        embedder_id=encoder.id,
        model=record.model,
        dim=encoder.dim,
        n_texts=n_texts,
        n_new=n_texts - record.n_rows,
        n_reused=done.n_reused,
        n_tokens=done.n_tokens,
        seconds=time.perf_counter() - started,
    )


@dataclass
class _Done:
    """What blocks added up to: tokens read, and vectors that were found instead."""

    n_tokens: int = 0
    n_reused: int = 0


def _register(session: Session, encoder: Embedder, *, dtype: Dtype | None, force: bool) -> EmbeddingRecord:
    """The embedding as it stands in the database, made if there is none; with ``force``, without valid rows."""
    record = EmbeddingRecord(
        embedder_id=encoder.id,
        model=getattr(encoder, "source", encoder.id),
        dim=encoder.dim,
        dtype=dtype or "float32",
        n_rows=0,
        pooling=getattr(encoder, "pooling", "unknown"),
        max_length=getattr(encoder, "max_length", 0),
        created_at=writing.now(),
    )
    with session.store.writing() as connection:
        known = next((e for e in reading.embeddings(connection) if e.embedder_id == encoder.id), None)
        if known is not None and dtype is None:
            record = replace(record, dtype=known.dtype)
        if known is not None and known.dtype != record.dtype and known.n_rows and not force:
            raise InvalidInputError(
                f"the vectors of {encoder.id} are stored as {known.dtype}, not {record.dtype}",
                hint="--force embeds all texts anew",
            )
        file = session.folder.vector_file(encoder.id, record.dtype)
        anew = force or (known is not None and known.dtype != record.dtype)
        writing.put_embedding(connection, record, file=file, restart=anew)
        stored = next(e for e in reading.embeddings(connection) if e.embedder_id == encoder.id)
    if known is not None and known.dtype != stored.dtype:
        session.folder.remove(session.folder.vector_file(encoder.id, known.dtype))
    return stored


def _embed_rest(
    session: Session,
    encoder: Embedder,
    record: EmbeddingRecord,
    n_texts: int,
    n_tokens: int,
    others: Sequence[Donor],
    on_event: OnEvent,
) -> _Done:
    """Block after block from the first row without a vector; each is valid before the next begins."""
    done, told, n_rows, size = _Done(), 0, record.n_rows, EMBED_BATCH
    while n_rows < n_texts:
        began = time.perf_counter()
        stop = min(n_rows + size, n_texts)
        with session.store.reading() as connection:
            share = reading.estimated_tokens(connection, n_rows, BYTES_PER_TOKEN, record.max_length, stop)
        progress = Progress(on_event, "embed", unit="tokens", start=told, size=share, total=n_tokens)
        block = embed_block(session, encoder, record, n_rows, stop, progress, others)
        done.n_tokens += block.n_tokens
        done.n_reused += block.n_reused
        n_rows, told = stop, told + share
        on_event(Event("advanced", "embed", told, n_tokens, "tokens"))
        took = time.perf_counter() - began
        if took < BATCH_S[0]:
            size = min(2 * size, max(LARGEST_BATCH, EMBED_BATCH))
        elif took > BATCH_S[1]:
            size = max(size // 2, 1)
    return done


def embed_block(
    session: Session,
    encoder: Embedder,
    record: EmbeddingRecord,
    start: int,
    stop: int,
    progress: Progress,
    others: Sequence[Donor] = (),
) -> _Done:
    """Write the vectors of texts ``start`` to ``stop - 1`` and declare them valid."""
    with session.store.reading() as connection:
        texts, hashes = reading.text_range(connection, start, stop), reading.text_hashes(connection, start, stop)
    done = _Done()
    file = session.folder.vector_file(record.embedder_id, record.dtype)
    with session.folder.appended_vectors(file, start=start, stop=stop, dim=record.dim, dtype=record.dtype) as rows:
        missing = np.ones(len(texts), dtype=np.bool_)
        for other in others:
            wanted = np.flatnonzero(missing)
            if len(wanted):
                found, vectors = other.vectors_of(hashes[wanted])
                rows[wanted[found]] = vectors
                missing[wanted[found]] = False
        done.n_reused = int(len(texts) - missing.sum())
        if done.n_reused == 0 and record.dtype == "float32":
            done.n_tokens = _embed_into(encoder, texts, rows, progress)
        elif missing.any():
            vectors = np.empty((int(missing.sum()), record.dim), dtype=np.float32)
            done.n_tokens = _embed_into(encoder, texts.filter(pl.Series(missing)), vectors, progress)
            rows[missing] = vectors
        checksum = hashlib.sha256(rows.data).hexdigest()
    with session.store.writing() as connection:
        writing.add_vector_block(connection, encoder.id, start=start, stop=stop, checksum=checksum)
    return done


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


def load_encoder(
    name_or_path: str | Path, on_event: OnEvent, *, engine: EngineName = "auto", provider: str = "cpu"
) -> Encoder:
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
    encoder = Encoder(name_or_path, engine=engine, provider=provider, on_bytes=on_bytes)
    if started:
        on_event(Event("finished", "model", 0, None, "B"))
    return encoder
