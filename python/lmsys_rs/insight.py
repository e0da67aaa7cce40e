"""Is a clustering any good, and how many clusters should there be: measures of labels over arrays, as Polars frames.

The Rust core measures; a loop here runs once per cluster count or bootstrap sample, never per row. Runs of a workspace
are measured by `judging`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from lmsys_rs import _core
from lmsys_rs.errors import InvalidInputError

__all__ = ["choose_k", "cluster_quality", "cluster_stability", "merge_suggestions"]

MAX_K = 200
N_STEPS = 12
# fewer rows per cluster than this, in each half of the sample, tell little about its stability
ROWS_PER_CLUSTER = 5
MAX_ITER = 50


def cluster_quality(
    X: Any, labels: npt.ArrayLike, *, graph: _core.KnnGraph | None = None, sample_weight: npt.ArrayLike | None = None
) -> pl.DataFrame:
    """How well each cluster holds together and stands apart, one row per cluster, by number; noise (-1) is left out.

    Columns: cluster_id, size (by weight), cohesion (mean cosine to the centroid), distance (mean, to the centroid),
    separation (distance to the nearest other centroid, null where there is none), nearest (its cluster), silhouette
    (simplified: Hruschka, de Castro, Campello 2004) and, with a graph, spillover (share of neighbors outside).
    """
    labels, n_clusters = _checked(labels)
    found = _core.cluster_quality(X, labels, n_clusters=n_clusters, graph=graph, weights=sample_weight)
    del found["row_silhouette"]
    frame = pl.DataFrame({"cluster_id": np.arange(n_clusters, dtype=np.int32), **found})
    alone = pl.col("nearest") < 0
    return frame.filter(pl.col("size") > 0).with_columns(
        pl.when(~alone).then("separation").alias("separation"), pl.when(~alone).then("nearest").alias("nearest")
    )


def merge_suggestions(
    X: Any,
    labels: npt.ArrayLike,
    graph: _core.KnnGraph | None = None,
    *,
    min_score: float = 0.0,
    sample_weight: npt.ArrayLike | None = None,
) -> pl.DataFrame:
    """Pairs of clusters that are probably one, best first.

    Columns: a < b, distance (between the centroids), relative_distance (by the sum of the clusters' mean distances to
    their centroids; 1 and more is apart), mixing (edges of the graph between the two, by those to be expected if their
    rows lay mixed) and score, the geometric mean of mixing and 1 - relative_distance, in [0, 1].

    Args:
        graph: of the rows of X; None builds one of 15 neighbors.
    """
    labels, n_clusters = _checked(labels)
    graph = _core.KnnGraph.build(X) if graph is None else graph
    found = _core.merge_suggestions(X, labels, graph, n_clusters=n_clusters, weights=sample_weight)
    return pl.DataFrame(found).filter(pl.col("score") >= min_score)


def cluster_stability(
    X: Any,
    labels: npt.ArrayLike,
    *,
    n_boots: int = 20,
    estimator: Any = None,
    sample_weight: npt.ArrayLike | None = None,
    random_state: int = 0,
) -> npt.NDArray[np.float64]:
    """Whether each cluster comes back on other samples.

    It is the mean Jaccard similarity to the most similar cluster of a refit on bootstrap samples (Hennig 2007). Below
    0.6 a cluster is not to be trusted, from 0.75 on it is.

    Args:
        estimator: what is refitted, any of this package that has ``labels_``; None is `KMeans` with the number of
            clusters, started at the centroids of the labels, which is kind to them.

    Returns:
        (n_clusters,) values in [0, 1]; 0 for a cluster that no sample holds a row of. Noise (-1) is drawn only where an
        estimator is given.
    """
    labels, n_clusters = _checked(labels)
    if n_boots < 1:
        raise InvalidInputError(f"n_boots must be at least 1: got {n_boots}")
    if estimator is None:
        return _core.bootstrap_stability(
            X, labels, n_clusters=n_clusters, n_boots=n_boots, weights=sample_weight, random_state=random_state
        )
    rows = np.asarray(X, dtype=np.float32)
    if rows.ndim != 2 or len(rows) != len(labels):
        raise InvalidInputError(f"labels must have one value per row of X: {len(labels)} labels, X {rows.shape}")
    weights = None if sample_weight is None else np.asarray(sample_weight, dtype=np.float32)
    takes_weights = "sample_weight" in inspect.signature(estimator.fit).parameters
    sums, counts = np.zeros(n_clusters), np.zeros(n_clusters)
    for boot in range(n_boots):
        draws = np.random.default_rng((random_state, boot)).integers(0, len(rows), size=len(rows))
        drawn, times = np.unique(draws, return_counts=True)
        own = None if weights is None else weights[drawn]
        refit = type(estimator)(**estimator.get_params())
        if takes_weights:
            refit.fit(rows[drawn], sample_weight=times if own is None else times * own)
        else:
            refit.fit(rows[drawn])
        similar = _core.best_jaccard(labels[drawn], refit.labels_, n_clusters=n_clusters, weights=own)
        has_rows = similar >= 0
        sums[has_rows] += similar[has_rows]
        counts += has_rows
    return np.divide(sums, counts, out=np.zeros(n_clusters), where=counts > 0)


def choose_k(
    X: Any,
    ks: Sequence[int] | None = None,
    *,
    sample: int = 10_000,
    n_repeats: int = 5,
    sample_weight: npt.ArrayLike | None = None,
    random_state: int = 0,
    progress: Callable[[int, int], object] | None = None,
) -> pl.DataFrame:
    """How many clusters k-means should make, with the curve that the advice rests on.

    Stability is what advises: k-means on two random halves of the sample that share half of their rows, and the
    adjusted Rand index of the two labelings there (Ben-Hur, Elisseeff, Guyon 2002), mean of ``n_repeats``. Advised is
    the largest k whose stability is within one standard error of the best (the rule of Breiman and others 1984 for the
    simplest model, turned to the finest clusters); where several are best, the one with the best silhouette sets the
    bound. A flat curve says that no k is better than others.

    Args:
        ks: numbers of clusters to try; None takes some from 2 up to 200, or a tenth of the sampled rows.
        sample: rows that are looked at, drawn at random.
        progress: called with (done, total) fits.

    Returns:
        A row per k: k, inertia, stability, stability_error (standard error), silhouette (simplified), advised.

    Raises:
        InvalidInputError: a k is below 1 or above the number of (sampled) rows, or n_repeats or sample is below 1.
    """
    if n_repeats < 1 or sample < 1:
        raise InvalidInputError(f"n_repeats and sample must be at least 1: got {n_repeats} and {sample}")
    rows = np.asarray(X, dtype=np.float32)
    if rows.ndim != 2 or not len(rows):
        raise InvalidInputError(f"X must have rows and columns: got shape {rows.shape}")
    weights = np.ones(len(rows), np.float32) if sample_weight is None else np.asarray(sample_weight, dtype=np.float32)
    if weights.shape != (len(rows),):
        raise InvalidInputError(f"sample_weight must have one value per row: {weights.shape} != ({len(rows)},)")
    rng = np.random.default_rng(random_state)
    if len(rows) > sample:
        drawn = np.sort(rng.choice(len(rows), size=sample, replace=False))
        rows, weights = rows[drawn], weights[drawn]
    wanted = _default_ks(len(rows)) if ks is None else sorted({int(k) for k in ks})
    if not wanted or wanted[0] < 1 or wanted[-1] > len(rows):
        raise InvalidInputError(f"ks must be between 1 and the number of sampled rows, {len(rows)}: got {wanted}")
    found = []
    total = len(wanted) * (1 + 2 * n_repeats)
    for position, k in enumerate(wanted):
        whole = _fit(rows, weights, k, rng)
        quality = _core.cluster_quality(rows, whole.labels_, n_clusters=k, weights=weights)
        silhouette = float(np.average(quality["row_silhouette"], weights=weights))
        scores = []
        for repeat in range(n_repeats):
            if progress is not None:
                progress(position * (1 + 2 * n_repeats) + 1 + 2 * repeat, total)
            scores.append(_agreement(rows, weights, k, rng))
        error = float(np.std(scores, ddof=1) / math.sqrt(n_repeats)) if n_repeats > 1 else 0.0
        found.append((k, float(whole.inertia_), float(np.mean(scores)), error, silhouette))
    if progress is not None:
        progress(total, total)
    names = ["k", "inertia", "stability", "stability_error", "silhouette"]
    frame = pl.DataFrame(found, schema={name: pl.Int64 if name == "k" else pl.Float64 for name in names}, orient="row")
    best = frame.sort("stability", "silhouette", descending=True).row(0, named=True)
    bound = best["stability"] - best["stability_error"]
    advised = frame.filter(pl.col("stability") >= bound)["k"].max()
    return frame.with_columns((pl.col("k") == advised).alias("advised"))


def _default_ks(n_rows: int) -> list[int]:
    most = min(MAX_K, n_rows // (2 * ROWS_PER_CLUSTER))
    if most < 2:
        return [1]
    return sorted({round(k) for k in np.geomspace(2, most, N_STEPS)})


def _fit(
    rows: npt.NDArray[np.float32], weights: npt.NDArray[np.float32], k: int, rng: np.random.Generator
) -> _core.KMeans:
    estimator = _core.KMeans(k, max_iter=MAX_ITER, random_state=int(rng.integers(2**32)))
    return estimator.fit(rows, sample_weight=weights)


def _agreement(
    rows: npt.NDArray[np.float32], weights: npt.NDArray[np.float32], k: int, rng: np.random.Generator
) -> float:
    """Adjusted Rand index of k-means on two halves (k rows, where those are more), on the rows in both."""
    n = len(rows)
    size = max((n + 1) // 2, k)
    start = min(size // 2, n - size)
    order = rng.permutation(n)
    halves = [np.sort(order[:size]), np.sort(order[start : start + size])]
    both, *places = np.intersect1d(halves[0], halves[1], assume_unique=True, return_indices=True)
    labels = [
        np.asarray(_fit(rows[half], weights[half], k, rng).labels_)[place]
        for half, place in zip(halves, places, strict=True)
    ]
    return _core.adjusted_rand_score(*labels) if len(both) else 0.0


def _checked(labels: npt.ArrayLike) -> tuple[npt.NDArray[np.int32], int]:
    """The labels and how many clusters they number."""
    array = np.asarray(labels)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise InvalidInputError(f"labels must be 1-D integers: got {array.dtype} of shape {array.shape}")
    return array.astype(np.int32), int(array.max(initial=-1)) + 1
