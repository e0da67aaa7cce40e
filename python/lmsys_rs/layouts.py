"""What is computed once per selection and shared by clusters and maps: its vectors, its kNN graph, its layouts.

Stored graphs and projections are reused; what is new is written first and recorded then. Nothing here clusters.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from lmsys_rs import _core
from lmsys_rs.errors import StoreError
from lmsys_rs.records import NOISE, ArrayFileRecord, EmbeddingRecord, Event, OnEvent, ignore_events
from lmsys_rs.session import Session
from lmsys_rs.store import reading, writing
from lmsys_rs.workspace import WrittenFile

__all__ = [
    "N_NEIGHBORS",
    "Progress",
    "centroids",
    "extended_layout",
    "knn_graph",
    "layout",
    "selected_vectors",
    "selection_hash",
    "stage_progress",
]

N_NEIGHBORS = 15
MAP_MIN_DIST = 0.1
MEAN_ROWS = 1_024  # vectors that are summed at a time: they are copied as float32 and float64
CHUNK_ROWS = 8_192  # vectors in memory at a time: 12 MiB of 384 dimensions, and no slower than more


@dataclass(frozen=True)
class Progress:
    """Forwards the core's (done, total) as events, scaled to ``size`` units that begin at ``start`` of ``total``."""

    on_event: OnEvent
    stage: str
    unit: str = ""
    start: int = 0
    size: int | None = None
    total: int | None = None

    def __call__(self, done: int, total: int) -> None:
        """Report what the core reports."""
        if self.size is not None and total:
            done, total = self.start + self.size * done // total, self.total or self.size
        self.on_event(Event("advanced", self.stage, done, total, self.unit))


def knn_graph(
    session: Session,
    embedding: EmbeddingRecord,
    text_ids: npt.NDArray[np.uint32],
    *,
    k: int = N_NEIGHBORS,
    on_event: OnEvent = ignore_events,
) -> _core.KnnGraph:
    """The kNN graph of a selection: the stored one (or its prefix), or a new one that is then stored.

    Rows are positions in ``text_ids``. ``k`` is lowered to the number of other texts.
    """
    k = max(1, min(k, len(text_ids) - 1))
    hash_ = selection_hash(text_ids)
    with session.store.reading() as connection:
        known = reading.find_graph(connection, embedder_id=embedding.embedder_id, selection_hash=hash_, min_k=k)
    if known is not None:
        graph_id, stored_k, recall = known
        graph = _core.KnnGraph.from_arrays(
            np.asarray(session.folder.read_array(f"graphs/{graph_id}.indices.npy")),
            np.asarray(session.folder.read_array(f"graphs/{graph_id}.distances.npy")),
            recall=recall,
        )
        return graph if stored_k == k else graph.prefix(k)
    on_event(Event("started", "graph", 0, len(text_ids), "texts"))
    vectors = selected_vectors(session, embedding, text_ids)
    progress = stage_progress(on_event, "graph", len(text_ids))
    smaller = _smaller_graph(session, embedding, text_ids, k)
    if smaller is None:
        graph = _core.KnnGraph.build(vectors, k, progress=progress)
    else:
        old, positions = smaller
        graph = old.extend(vectors, positions.tolist(), progress=progress)
        k = graph.k
    graph_id = _name(embedding.embedder_id, hash_, k)
    with _keeping(session, "graph", on_event) as keep:
        if keep:
            files = [
                session.folder.write_array(f"graphs/{graph_id}.indices.npy", graph.indices),
                session.folder.write_array(f"graphs/{graph_id}.distances.npy", graph.distances),
                session.folder.write_array(f"graphs/{graph_id}.text_ids.npy", text_ids),
            ]
            with session.store.writing() as connection:
                writing.add_array_files(connection, [_recorded(file, "graph") for file in files])
                writing.add_graph(
                    connection,
                    graph_id,
                    embedder_id=embedding.embedder_id,
                    selection_hash=hash_,
                    k=k,
                    n_points=len(text_ids),
                    recall=graph.recall,
                )
    on_event(Event("finished", "graph", len(text_ids), len(text_ids), "texts"))
    return graph


def _smaller_graph(
    session: Session, embedding: EmbeddingRecord, text_ids: npt.NDArray[np.uint32], k: int
) -> tuple[_core.KnnGraph, npt.NDArray[np.intp]] | None:
    """The largest stored graph of texts that are all in the selection, and where they are in it.

    None if there is none, or if most texts are new: then building anew costs hardly more.
    """
    with session.store.reading() as connection:
        stored = reading.graphs_of(connection, embedding.embedder_id)
    for graph_id, _, stored_k, n_points, recall in stored:
        file = f"graphs/{graph_id}.text_ids.npy"
        if stored_k != k or not n_points < len(text_ids) < 2 * n_points or n_points <= k:
            continue
        if not (session.folder.path / file).exists():  # of an older version
            continue
        old_ids = np.asarray(session.folder.read_array(file))
        if not np.isin(old_ids, text_ids, assume_unique=True).all():
            continue
        old = _core.KnnGraph.from_arrays(
            np.asarray(session.folder.read_array(f"graphs/{graph_id}.indices.npy")),
            np.asarray(session.folder.read_array(f"graphs/{graph_id}.distances.npy")),
            recall=recall,
        )
        return old, np.searchsorted(text_ids, old_ids)
    return None


def layout(
    session: Session,
    embedding: EmbeddingRecord,
    text_ids: npt.NDArray[np.uint32],
    *,
    n_components: int = 2,
    method: Literal["umap", "pca"] = "umap",
    random_state: int = 0,
    on_event: OnEvent = ignore_events,
) -> npt.NDArray[np.float32]:
    """Coordinates of a selection, (n, n_components) float32: the stored projection, or a new one that is then stored.

    One text sits at the origin; fewer texts than dimensions leave the other coordinates zero.
    """
    if len(text_ids) < 2:
        return np.zeros((len(text_ids), n_components), dtype=np.float32)
    # for a map points should not overlap; for density algorithms they should crowd where they are dense
    min_dist = MAP_MIN_DIST if n_components == 2 else 0.0
    settings: dict[str, Any] = {"method": method, "random_state": random_state}
    if method == "umap":
        settings |= {"min_dist": min_dist, "n_neighbors": N_NEIGHBORS}
    parameters = json.dumps(settings, sort_keys=True)
    hash_ = selection_hash(text_ids)
    with session.store.reading() as connection:
        known = reading.find_projection(
            connection,
            embedder_id=embedding.embedder_id,
            selection_hash=hash_,
            n_components=n_components,
            parameters=parameters,
        )
    if known is not None:
        return np.asarray(session.folder.read_array(f"projections/{known}.npy"), dtype=np.float32)
    if method == "pca":
        x = selected_vectors(session, embedding, text_ids)
        reduced = min(n_components, len(text_ids), x.shape[1])
        on_event(Event("started", "layout", 0, None, ""))
        points = _core.PCA(reduced, random_state=random_state).fit_transform(
            x, progress=stage_progress(on_event, "layout")
        )
    else:
        graph = knn_graph(session, embedding, text_ids, on_event=on_event)
        on_event(Event("started", "layout", 0, None, ""))
        umap = _core.UMAP(n_components, min_dist=min_dist, random_state=random_state)
        points = umap.fit_transform(graph, progress=stage_progress(on_event, "layout"))
    if points.shape[1] < n_components:
        points = np.pad(points, ((0, 0), (0, n_components - points.shape[1])))
    projection_id = _name(embedding.embedder_id, hash_, n_components, parameters)
    with _keeping(session, "layout", on_event) as keep:
        if keep:
            written = session.folder.write_array(f"projections/{projection_id}.npy", points)
            with session.store.writing() as connection:
                writing.add_array_files(connection, [_recorded(written, "projection")])
                writing.add_projection(
                    connection,
                    projection_id,
                    embedder_id=embedding.embedder_id,
                    selection_hash=hash_,
                    n_components=n_components,
                    parameters=parameters,
                    n_points=len(text_ids),
                )
    on_event(Event("finished", "layout", 0, None, ""))
    return points


def extended_layout(
    session: Session,
    embedding: EmbeddingRecord,
    text_ids: npt.NDArray[np.uint32],
    is_new: npt.NDArray[np.bool_],
    *,
    random_state: int = 0,
    on_event: OnEvent = ignore_events,
) -> npt.NDArray[np.float32]:
    """The map of the texts that are not new, with the new ones placed into it: no old text moves. (n, 2) float32."""
    old_ids, new_ids = text_ids[~is_new], text_ids[is_new]
    old = layout(session, embedding, old_ids, random_state=random_state, on_event=on_event)
    if not len(new_ids) or len(old_ids) < 2:
        return old if not len(new_ids) else layout(session, embedding, text_ids, random_state=random_state)
    index = _core.Index.build(selected_vectors(session, embedding, old_ids), engine="exact")
    points = np.empty((len(text_ids), 2), dtype=np.float32)
    points[~is_new] = old
    ids, distances = index.search(selected_vectors(session, embedding, new_ids), k=min(N_NEIGHBORS, len(old_ids)))
    points[is_new] = _core.place_in_layout(old, ids, distances, min_dist=MAP_MIN_DIST, random_state=random_state)
    return points


def selected_vectors(
    session: Session, embedding: EmbeddingRecord, text_ids: npt.NDArray[np.uint32]
) -> npt.NDArray[np.float32]:
    """(n, dim) vectors of a selection; the mapped file itself where the selection is a run of rows, else a copy."""
    vectors = session.vectors(embedding)
    if len(text_ids) and int(text_ids[-1]) - int(text_ids[0]) + 1 == len(text_ids):
        return vectors[int(text_ids[0]) : int(text_ids[-1]) + 1]
    return np.asarray(vectors[text_ids])


def centroids(
    vectors: npt.NDArray[np.float32],
    members: pl.DataFrame,
    n_clusters: int,
    rows: Callable[[npt.NDArray[np.uint32]], npt.NDArray[np.float32]] | None = None,
) -> npt.NDArray[np.float64]:
    """Mean direction of each cluster, (n_clusters, dim); zeros where a cluster has no members.

    The vectors are read in pieces, so memory stays small. ``members`` has text_id and cluster_id; ``rows`` gives the
    vectors of text ids where they are not the stored ones (`languages.Space.rows`).
    """
    sums = np.zeros((n_clusters, vectors.shape[1]), dtype=np.float64)
    members = members.filter(pl.col("cluster_id") != NOISE)
    for offset in range(0, members.height, MEAN_ROWS):
        part = members.slice(offset, MEAN_ROWS).sort("cluster_id", maintain_order=True)
        labels = part["cluster_id"].to_numpy()
        present, starts = np.unique(labels, return_index=True)
        text_ids = part["text_id"].to_numpy()
        found = vectors[text_ids] if rows is None else rows(text_ids)
        sums[present] += np.add.reduceat(found, starts, axis=0, dtype=np.float64)
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    means: npt.NDArray[np.float64] = np.divide(sums, norms, out=np.zeros_like(sums), where=norms > 0)
    return means


def selection_hash(text_ids: npt.NDArray[np.uint32]) -> str:
    """Names a selection by its text ids."""
    return hashlib.blake2b(np.ascontiguousarray(text_ids, dtype="<u4").tobytes(), digest_size=8).hexdigest()


def stage_progress(on_event: OnEvent, stage: str, size: int | None = None) -> Progress:
    """A `Progress` of a whole stage, in ``size`` texts or in the core's own steps."""
    if size is None:
        return Progress(on_event, stage)
    return Progress(on_event, stage, unit="texts", size=size, total=size)


@contextmanager
def _keeping(session: Session, what: str, on_event: OnEvent) -> Iterator[bool]:
    """Whether a result may be kept: not on a read-only disk, nor while another program writes."""
    try:
        lock = session.writer(what)
        lock.__enter__()
    except StoreError as error:
        on_event(Event("note", what, message=f"this {what} is not kept: {str(error).splitlines()[0]}"))
        yield False
        return
    try:
        yield True
    finally:
        lock.__exit__(None, None, None)


def _recorded(written: WrittenFile, kind: str) -> ArrayFileRecord:
    return ArrayFileRecord(file=written.file, kind=kind, n_bytes=written.n_bytes, checksum=written.checksum)


def _name(*parts: object) -> str:
    return hashlib.blake2b(json.dumps([str(part) for part in parts]).encode(), digest_size=8).hexdigest()
