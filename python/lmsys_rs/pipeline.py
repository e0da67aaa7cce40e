"""The use cases from a file to vectors, and the whole way to a named, mapped run: what the front ends call.

It prints nothing and asks nothing: it reports through events. Every step skips what is done and resumes what was
cut off.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from lmsys_rs.clustering import cluster, default_k
from lmsys_rs.drawing import write_map
from lmsys_rs.errors import InvalidInputError
from lmsys_rs.labeling import label
from lmsys_rs.layouts import Progress
from lmsys_rs.models import DEFAULT_MODEL, Encoder
from lmsys_rs.readers import ColumnMapping, open_conversations
from lmsys_rs.records import (
    EmbeddingRecord,
    EmbedReport,
    Event,
    Filters,
    LoadReport,
    OnEvent,
    Problem,
    RunRecord,
    WorkspaceInfo,
    ignore_events,
)
from lmsys_rs.session import Session
from lmsys_rs.store import reading, writing
from lmsys_rs.store.schema import SCHEMA_VERSION

__all__ = ["Embedder", "RunReport", "dataset_name", "embed", "load", "run_all", "workspace_info"]

EMBED_BATCH = 2048  # texts between two points of resumption; large enough to sort by length within
MAX_PROBLEMS = 100  # kept in a report; all are counted
WHOLE_FILE_HASH = 64 << 20  # larger files are fingerprinted by samples
SAMPLE_BYTES = 1 << 20


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


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """What `run_all` did: a report of each step."""

    load: LoadReport
    embed: EmbedReport
    run: RunRecord
    map_path: Path | None


def load(
    session: Session,
    path: str | Path,
    *,
    dataset: str | None = None,
    description: str | None = None,
    format: str = "auto",
    mapping: ColumnMapping | None = None,
    limit: int | None = None,
    strict: bool = False,
    force: bool = False,
    on_event: OnEvent = ignore_events,
) -> LoadReport:
    """Read a file of conversations into the workspace: conversations, turns, queries, distinct texts.

    A file that was loaded completely is recognised and not read again; one whose loading was cut off goes on where it
    stopped; a changed file of the same data set adds only conversations that are new.

    Args:
        dataset: name of the data set; None takes the file's name.
        limit: stop after this many conversations of the file.
        strict: stop at the first element that cannot be read, instead of counting it.
        force: read the whole file again even if it is known.

    Raises:
        OSError, ReaderError: the file cannot be read; what came before the fault is kept.
        StoreError: the workspace is in use or cannot be written.
    """
    if limit is not None and limit < 1:
        raise InvalidInputError(f"limit must be >= 1: {limit}")
    mapping = mapping or ColumnMapping()
    name = dataset or dataset_name(path)
    # opened first: a file that cannot be read leaves no trace in the workspace
    probe = open_conversations(path, format=format, mapping=mapping, strict=strict)
    fingerprint = _fingerprint(Path(path), {"format": probe.format, **mapping.to_dict()})
    with session.store.reading() as connection:
        state = reading.dataset_state(connection, name)
    if state is not None and state[0] == fingerprint and not force and (state[1] or (limit and state[2] >= limit)):
        return _nothing_new(name, path, probe.format, finished=state[1])
    with session.store.writing() as connection:
        dataset_id, position = writing.begin_dataset(
            connection,
            name,
            source=str(Path(path).resolve()),
            format=probe.format,
            description=description,
            column_mapping=mapping.to_dict(),
            fingerprint=fingerprint,
            restart=force,
        )
    reader = open_conversations(path, format=format, mapping=mapping, start=position, strict=strict)
    on_event(Event("started", "load", 0, reader.total, reader.unit))
    n_read = n_new = n_queries = n_new_texts = n_problems = 0
    problems: list[Problem] = []
    finished = True
    for batch in reader:
        if limit is not None and position + n_read + batch.conversations.height >= limit:
            batch, finished = _cut(batch, limit - position - n_read), False
        with session.store.writing() as connection:
            counts = writing.add_batch(connection, dataset_id, batch, id_is_unique=reader.format != "text")
        n_read += batch.conversations.height
        n_new += counts.n_new
        n_queries += counts.n_queries
        n_new_texts += counts.n_new_texts
        n_problems += len(batch.problems)
        problems.extend(batch.problems[: MAX_PROBLEMS - len(problems)])
        on_event(Event("advanced", "load", batch.done, reader.total, reader.unit))
        if not finished:
            break
    if finished:
        with session.store.writing() as connection:
            writing.finish_dataset(connection, dataset_id)
    on_event(Event("finished", "load", reader.total, reader.total, reader.unit))
    return LoadReport(
        dataset=name,
        path=str(path),
        format=reader.format,
        n_read=n_read,
        n_new=n_new,
        n_queries=n_queries,
        n_new_texts=n_new_texts,
        n_without_query=n_new - n_queries,
        n_problems=n_problems,
        problems=tuple(problems),
        already_loaded=False,
        finished=finished,
    )


def embed(
    session: Session,
    encoder: Embedder | str | Path = DEFAULT_MODEL,
    *,
    force: bool = False,
    on_event: OnEvent = ignore_events,
) -> EmbedReport:
    """Give every distinct text its vector, once: texts that have one are left alone, a cut-off call is continued.

    Args:
        encoder: an `Encoder`, the name or path of a model, or any object with ``id``, ``dim`` and ``embed(texts)``.
        force: embed all texts anew.

    Raises:
        ModelError: the model cannot be found or loaded.
        OSError: the disk is full; what was embedded before stays.
    """
    started = time.perf_counter()
    if isinstance(encoder, (str, Path)):
        encoder = _encoder(encoder, on_event)
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
    with session.store.writing() as connection:
        writing.put_embedding(connection, record, file=file, restart=force)
        n_texts = reading.n_texts(connection)
        n_rows = next(e.n_rows for e in reading.embeddings(connection) if e.embedder_id == encoder.id)
    first, n_tokens = n_rows, 0
    on_event(Event("started", "embed", n_rows, n_texts, "texts"))
    while n_rows < n_texts:
        stop = min(n_rows + EMBED_BATCH, n_texts)
        with session.store.reading() as connection:
            texts = reading.text_range(connection, n_rows, stop)
        progress = Progress(on_event, "embed", unit="texts", start=n_rows, size=stop - n_rows, total=n_texts)
        with session.folder.appended_vectors(file, start=n_rows, stop=stop, dim=encoder.dim) as rows:
            n_tokens += _embed_into(encoder, texts, rows, progress)
        with session.store.writing() as connection:
            writing.set_embedded_rows(connection, encoder.id, stop)
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


def run_all(
    session: Session,
    path: str | Path,
    *,
    dataset: str | None = None,
    format: str = "auto",
    mapping: ColumnMapping | None = None,
    limit: int | None = None,
    strict: bool = False,
    model: str | Path = DEFAULT_MODEL,
    algorithm: str = "kmeans",
    n_clusters: int | None = None,
    min_cluster_size: int | None = None,
    random_state: int = 0,
    map_path: Path | None = None,
    on_event: OnEvent = ignore_events,
) -> RunReport:
    """The whole way: load, embed, cluster, name, and (with ``map_path``) draw the map of one file.

    Args:
        algorithm: ``kmeans`` or ``hdbscan``.
        n_clusters: of k-means; None takes `clustering.default_k` of the number of texts.
        min_cluster_size: of HDBSCAN; None takes 25, or less for a small file.
    """
    from lmsys_rs import _core

    loaded = load(
        session, path, dataset=dataset, format=format, mapping=mapping, limit=limit, strict=strict, on_event=on_event
    )
    embedded = embed(session, model, on_event=on_event)
    filters = Filters(dataset=loaded.dataset)
    with session.store.reading() as connection:
        n_texts = len(reading.selection(connection, filters)[0])
    if n_texts == 0:
        raise InvalidInputError(
            f"{path}: there is nothing to cluster: no conversation has a user turn with text",
            hint="name the field with the text with --text-column",
        )
    estimator: Any
    if algorithm == "kmeans":
        estimator = _core.KMeans(n_clusters=n_clusters or default_k(n_texts), random_state=random_state)
    elif algorithm == "hdbscan":
        estimator = _core.HDBSCAN(min_cluster_size=min_cluster_size or max(2, min(25, n_texts // 40)))
    else:
        raise InvalidInputError(f"algorithm must be kmeans or hdbscan: {algorithm!r}")
    run = cluster(
        session,
        estimator,
        filters=filters,
        embedder_id=embedded.embedder_id,
        random_state=random_state,
        on_event=on_event,
    )
    if not run.labeled:
        run = label(session, run.run_id, on_event=on_event)
    if map_path is not None:
        write_map(session, run.run_id, map_path, on_event=on_event)
    return RunReport(load=loaded, embed=embedded, run=run, map_path=map_path)


def workspace_info(session: Session) -> WorkspaceInfo:
    """What the workspace holds."""
    with session.store.reading() as connection:
        counts = reading.counts(connection)
        embeddings = tuple(reading.embeddings(connection))
    return WorkspaceInfo(
        path=str(session.folder.path.resolve()),
        program_version=_version(),
        schema_version=SCHEMA_VERSION,
        embeddings=embeddings,
        database_bytes=session.folder.database.stat().st_size,
        array_bytes=session.folder.array_bytes(),
        **counts,
    )


def dataset_name(path: str | Path) -> str:
    """Name of a data set after its file: without folder and suffixes."""
    name = Path(path).name
    for suffix in (".gz", ".parquet", ".jsonl", ".ndjson", ".json", ".csv", ".tsv"):
        name = name.removesuffix(suffix) or name
    return name


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


def _encoder(name_or_path: str | Path, on_event: OnEvent) -> Encoder:
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


def _version() -> str:
    from lmsys_rs import _core

    return _core.__version__


def _nothing_new(name: str, path: str | Path, format_: str, *, finished: bool) -> LoadReport:
    return LoadReport(
        dataset=name,
        path=str(path),
        format=format_,
        n_read=0,
        n_new=0,
        n_queries=0,
        n_new_texts=0,
        n_without_query=0,
        n_problems=0,
        problems=(),
        already_loaded=True,
        finished=finished,
    )


def _cut(batch: Any, n_rows: int) -> Any:
    """The first rows of a batch; the position is then the last of them."""
    from dataclasses import replace

    kept = batch.conversations.head(n_rows)
    position = int(kept["line"][-1])
    problems = tuple(problem for problem in batch.problems if problem.line <= position)
    return replace(batch, conversations=kept, problems=problems, position=position)


def _fingerprint(path: Path, how_read: dict[str, Any]) -> str:
    """Names a file's content and how it is read; a large file by size, time and samples, as hashing takes too long."""
    stat = path.stat()
    digest = hashlib.sha256(json.dumps(how_read, sort_keys=True).encode())
    digest.update(str(stat.st_size).encode())
    with path.open("rb") as file:
        if stat.st_size <= WHOLE_FILE_HASH:
            while chunk := file.read(SAMPLE_BYTES):
                digest.update(chunk)
        else:
            digest.update(str(stat.st_mtime_ns).encode())
            for part in range(17):
                file.seek((stat.st_size - SAMPLE_BYTES) * part // 16)
                digest.update(file.read(SAMPLE_BYTES))
    return digest.hexdigest()
