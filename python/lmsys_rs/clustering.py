"""How a selection of texts becomes a run: vectors, one kNN graph, a layout where the algorithm wants one, labels.

It names nothing (see `labeling`) and computes nothing itself: the Rust core does. What exists already is reused.
"""

from __future__ import annotations

import hashlib
import math
import time
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lmsys_rs import _core, labels
from lmsys_rs.errors import InvalidInputError, StoreError
from lmsys_rs.languages import ACROSS, space_across_languages
from lmsys_rs.layouts import N_NEIGHBORS, knn_graph, layout, selected_vectors, selection_hash, stage_progress
from lmsys_rs.planning import announce, plan_clustering
from lmsys_rs.records import (
    NOISE,
    ClusterRecord,
    EmbeddingRecord,
    Event,
    Filters,
    OnEvent,
    RunRecord,
    ignore_events,
)
from lmsys_rs.selection import select
from lmsys_rs.session import Session
from lmsys_rs.store import reading, writing

__all__ = ["REDUCED_DIMENSIONS", "Space", "cluster", "default_k"]

REDUCED_DIMENSIONS = 5
MAX_DEFAULT_K = 200

# what fit tells of every text: cluster, strength of membership, and for noise the nearest cluster
Fitted = tuple[npt.NDArray[np.int32], npt.NDArray[np.float32] | None, npt.NDArray[np.int32] | None]

Space = Literal["auto", "vectors", "graph", "umap", "pca"]
# where each algorithm works unless told otherwise: density means little in 384 dimensions (docs/decisions/0004)
DEFAULT_SPACE: dict[str, Space] = {
    "kmeans": "vectors",
    "density": "graph",
    "leiden": "graph",
    "hdbscan": "umap",
    "gmm": "umap",
    "dbscan": "umap",
    "optics": "umap",
}
ALLOWED_SPACES: dict[str, tuple[Space, ...]] = {
    "kmeans": ("vectors", "umap", "pca"),
    "density": ("graph",),
    "leiden": ("graph",),
    "hdbscan": ("umap", "graph", "pca"),
    "gmm": ("umap", "pca"),
    "dbscan": ("umap", "pca"),
    "optics": ("umap", "pca"),
}
ALGORITHMS = {
    "KMeans": "kmeans",
    "Density": "density",
    "Leiden": "leiden",
    "HDBSCAN": "hdbscan",
    "GaussianMixture": "gmm",
    "DBSCAN": "dbscan",
    "OPTICS": "optics",
}


def default_k(n_texts: int) -> int:
    """Number of k-means clusters where nobody chose one: the old rule sqrt(n / 2), at least 2, at most 200."""
    return max(1, min(MAX_DEFAULT_K, max(2, round(math.sqrt(n_texts / 2))), n_texts))


def cluster(
    session: Session,
    estimator: Any,
    *,
    filters: Filters | None = None,
    embedder_id: str | None = None,
    space: Space = "auto",
    reduce_to: int = REDUCED_DIMENSIONS,
    random_state: int = 0,
    description: str | None = None,
    force: bool = False,
    across_languages: bool = False,
    max_memory: int | None = None,
    on_event: OnEvent = ignore_events,
) -> RunRecord:
    """Cluster the texts of the queries that pass ``filters``, each text once, and store the run.

    A run with the same algorithm, parameters, texts and vectors is returned as it is, unless ``force``.

    Args:
        estimator: one of this package, not yet fitted: `KMeans`, `Density`, `Leiden`, `HDBSCAN`, `GaussianMixture`,
            `DBSCAN` or `OPTICS`.
        embedder_id: which vectors; None takes the newest.
        space: ``vectors``, ``graph`` (the kNN graph itself), ``umap`` or ``pca`` (``reduce_to`` dimensions);
            ``auto`` is vectors for k-means, graph for `Density` and `Leiden`, umap for the others.
        random_state: seed of the layout; the estimator has its own.
        across_languages: take the mean of its language from every vector, so that texts on the same thing in different
            languages can meet; see `languages`.
        max_memory: refuse to begin where more bytes are expected to be needed.

    Raises:
        InvalidInputError: no texts, or fewer than the estimator needs.
        StoreError: some of the texts are not embedded.
    """
    started = time.perf_counter()
    algorithm = ALGORITHMS.get(type(estimator).__name__)
    if algorithm is None:
        raise InvalidInputError(
            f"cluster needs one of {', '.join(ALGORITHMS)} of lmsys_rs, got {type(estimator).__name__}"
        )
    space = _checked_space(algorithm, space)
    filters = labels.pinned(session, filters or Filters())
    embedding = session.embedding(embedder_id)
    selected = select(session, filters)
    text_ids, weights = selected.text_ids, selected.weights
    _check_selection(session, estimator, algorithm, text_ids, embedding)
    hash_ = selection_hash(text_ids)
    parameters = _parameters(estimator, space, reduce_to, random_state, across_languages)
    with session.store.reading() as connection:
        known = reading.find_run(
            connection,
            algorithm=algorithm,
            parameters=parameters,
            embedder_id=embedding.embedder_id,
            selection_hash=hash_,
        )
    if known is not None and not force:
        on_event(Event("note", "cluster", message=f"{known.run_id} has the same texts and parameters: reused"))
        return known
    plan = plan_clustering(
        len(text_ids),
        embedding.dim,
        algorithm=algorithm,
        n_clusters=_n_clusters(estimator) or 0,
        needs_graph=space in ("graph", "umap"),
    )
    announce(session, plan, max_memory=max_memory, on_event=on_event)
    found, probabilities, nearest = _fit(
        session,
        estimator,
        algorithm,
        embedding,
        text_ids,
        weights,
        space,
        reduce_to,
        random_state,
        across_languages,
        on_event,
    )
    by_size = _by_size(found)
    found = by_size[found]
    nearest = None if nearest is None else by_size[nearest]
    record = RunRecord(
        run_id=_run_id(estimator, algorithm),
        algorithm=algorithm,
        parameters=parameters,
        description=description,
        embedder_id=embedding.embedder_id,
        selection_hash=hash_,
        filters=filters.to_dict(),
        n_clusters=int(found.max(initial=-1)) + 1,
        n_texts=len(text_ids),
        n_queries=int(weights.sum()),
        n_noise=int((found == NOISE).sum()),
        seed=parameters.get("random_state"),
        labeled=False,
        program_version=_core.__version__,
        created_at=writing.now(),
        seconds=time.perf_counter() - started,
        next_cluster_id=int(found.max(initial=-1)) + 1,
    )
    with session.writer("cluster"), session.store.writing() as connection:
        record = replace(record, run_id=_unused(record.run_id, {run.run_id for run in reading.runs(connection)}))
        clusters = _unnamed_clusters(record.run_id, found, weights)
        writing.add_run(
            connection,
            record,
            clusters,
            text_ids=text_ids,
            labels=found,
            probabilities=probabilities,
            nearest=nearest,
        )
    return record


def _fit(
    session: Session,
    estimator: Any,
    algorithm: str,
    embedding: EmbeddingRecord,
    text_ids: npt.NDArray[np.uint32],
    weights: npt.NDArray[np.float32],
    space: Space,
    reduce_to: int,
    random_state: int,
    across_languages: bool,
    on_event: OnEvent,
) -> Fitted:
    data: Any
    if across_languages:
        data = _across_languages(session, estimator, embedding, text_ids, space, reduce_to, random_state, on_event)
    elif space == "vectors":
        data = selected_vectors(session, embedding, text_ids)
    elif space == "graph":
        min_samples = int(estimator.get_params().get("min_samples") or 0)
        data = knn_graph(session, embedding, text_ids, k=max(N_NEIGHBORS, min_samples), on_event=on_event)
    else:
        method: Literal["umap", "pca"] = "pca" if space == "pca" else "umap"
        data = layout(
            session,
            embedding,
            text_ids,
            n_components=reduce_to,
            method=method,
            random_state=random_state,
            on_event=on_event,
        )
    on_event(Event("started", "cluster", 0, None, ""))
    progress = stage_progress(on_event, "cluster")
    if algorithm in ("kmeans", "density", "leiden"):
        fitted = estimator.fit(data, sample_weight=weights, progress=progress)
    else:
        fitted = estimator.fit(data, progress=progress)
    on_event(Event("finished", "cluster", 0, None, ""))
    labels = np.asarray(fitted.labels_, dtype=np.int32)
    if algorithm == "density":
        return labels, np.asarray(fitted.membership_), np.asarray(fitted.nearest_, dtype=np.int32)
    return labels, np.asarray(fitted.probabilities_) if algorithm == "hdbscan" else None, None


def _across_languages(
    session: Session,
    estimator: Any,
    embedding: EmbeddingRecord,
    text_ids: npt.NDArray[np.uint32],
    space: Space,
    reduce_to: int,
    random_state: int,
    on_event: OnEvent,
) -> Any:
    """What the estimator works on, of vectors without their language. Graphs and layouts of it are not kept."""
    rows = space_across_languages(session, embedding, text_ids).rows(text_ids)
    if space == "vectors":
        return rows
    on_event(Event("started", "layout", 0, None, ""))
    progress = stage_progress(on_event, "layout")
    if space == "pca":
        points = _core.PCA(min(reduce_to, *rows.shape), random_state=random_state).fit_transform(
            rows, progress=progress
        )
    else:
        min_samples = int(estimator.get_params().get("min_samples") or 0)
        k = max(N_NEIGHBORS, min_samples if space == "graph" else 0)
        graph = _core.KnnGraph.build(rows, min(k, len(rows) - 1), progress=progress)
        if space == "graph":
            on_event(Event("finished", "layout", 0, None, ""))
            return graph
        points = _core.UMAP(reduce_to, min_dist=0.0, random_state=random_state).fit_transform(graph, progress=progress)
    on_event(Event("finished", "layout", 0, None, ""))
    return points


def _checked_space(algorithm: str, space: Space) -> Space:
    if space == "auto":
        return DEFAULT_SPACE[algorithm]
    if space not in ALLOWED_SPACES[algorithm]:
        raise InvalidInputError(
            f"space of {algorithm} must be one of {', '.join(ALLOWED_SPACES[algorithm])}: {space!r}"
        )
    return space


def _check_selection(
    session: Session, estimator: Any, algorithm: str, text_ids: npt.NDArray[np.uint32], embedding: EmbeddingRecord
) -> None:
    if not len(text_ids):
        raise InvalidInputError(
            "there is nothing to cluster: no query passes the filters",
            hint="lmsys datasets and lmsys list show what is there",
        )
    if int(text_ids[-1]) >= embedding.n_rows:
        missing = int((text_ids >= embedding.n_rows).sum())
        raise StoreError(
            f"{missing:,} of {len(text_ids):,} texts have no vector of {embedding.embedder_id} yet",
            hint="run: lmsys embed",
        )
    n_clusters = _n_clusters(estimator)
    if n_clusters is not None and n_clusters > len(text_ids):
        raise InvalidInputError(
            f"n_clusters must be <= the number of distinct texts: {n_clusters} > {len(text_ids)}",
            hint=f"use at most {len(text_ids)} clusters; {default_k(len(text_ids))} is a good start",
        )


def _n_clusters(estimator: Any) -> int | None:
    parameters = estimator.get_params()
    value = parameters.get("n_clusters", parameters.get("n_components"))
    return None if value is None else int(value)


def _parameters(
    estimator: Any, space: Space, reduce_to: int, random_state: int, across_languages: bool
) -> dict[str, Any]:
    """Everything that decides the labels, as plain JSON values; infinities and arrays become strings."""
    parameters = {name: _plain(value) for name, value in estimator.get_params().items()}
    parameters["space"] = space
    if space in ("umap", "pca"):
        parameters |= {"reduce_to": reduce_to, "layout_random_state": random_state}
    if across_languages:
        parameters[ACROSS] = True
    return parameters


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return f"array:{hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()[:16]}"
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def _by_size(labels: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """New numbers of the clusters, densely by falling size; equal sizes by their first text. Noise stays -1."""
    found, first, sizes = np.unique(labels, return_index=True, return_counts=True)
    kept = found != NOISE
    found, first, sizes = found[kept], first[kept], sizes[kept]
    order = np.lexsort((first, -sizes))
    renumbered = np.full(int(labels.max(initial=-1)) + 2, NOISE, dtype=np.int32)  # the last entry serves label -1
    renumbered[found[order]] = np.arange(len(order), dtype=np.int32)
    return renumbered


def _unnamed_clusters(
    run_id: str, labels: npt.NDArray[np.int32], weights: npt.NDArray[np.float32]
) -> list[ClusterRecord]:
    found, sizes = np.unique(labels, return_counts=True)
    n_queries = np.bincount(labels + 1, weights=weights)
    return [
        ClusterRecord(
            run_id=run_id,
            cluster_id=int(cluster_id),
            size=int(size),
            n_queries=int(n_queries[cluster_id + 1]),
            title="Unclustered" if cluster_id == NOISE else f"Cluster {cluster_id}",
            description="",
            title_source="none",
        )
        for cluster_id, size in zip(found, sizes, strict=True)
    ]


def _run_id(estimator: Any, algorithm: str) -> str:
    parameters = estimator.get_params()
    size = {
        "kmeans": parameters.get("n_clusters"),
        "hdbscan": parameters.get("min_cluster_size"),
        "density": parameters.get("min_cluster_size"),
        "leiden": "graph",
        "gmm": parameters.get("n_components"),
    }.get(algorithm, parameters.get("min_samples"))
    return f"{algorithm}-{size}-{datetime.now(timezone.utc):%Y%m%d-%H%M%S}"


def _unused(run_id: str, taken: set[str]) -> str:
    if run_id not in taken:
        return run_id
    return next(name for i in range(2, len(taken) + 3) if (name := f"{run_id}-{i}") not in taken)
