"""What clusters are called without an LLM: titles that lead back to their own cluster, terms, typical texts.

It works on arrays and knows no workspace (`labeling` does); it changes no membership. The same function names groups of
clusters: their texts are those of their members.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from lmsys_rs import _core
from lmsys_rs.errors import InvalidInputError
from lmsys_rs.titles import MAX_TITLE, is_generic, without_preamble
from lmsys_rs.titling import (
    N_PHRASES,
    NOISE_TITLE,
    TextEncoder,
    Titled,
    distinct_terms,
    titles_by_meaning,
    titles_by_words,
    unit,
)

__all__ = [
    "NOISE_TITLE",
    "N_NEAREST",
    "N_REPRESENTATIVES",
    "N_TERMS",
    "ClusterName",
    "TextEncoder",
    "centroids",
    "contrast",
    "name_clusters",
    "representatives",
    "sentence",
]

N_TERMS = 12
N_REPRESENTATIVES = 10
N_NEAREST = 5
EXAMPLE_CHARS = 90
NO_MEDOID = 2**32 - 1
COVERED = 500  # rows of a cluster that representatives are chosen from, and for
N_NEIGHBORS = 15
ROWS = 65_536  # read at once for the centroids


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterName:
    """What one cluster is called and why. ``medoid`` and ``representatives`` are rows of the texts.

    Attributes:
        example: the medoid in short.
        title_rank: 1 where of all clusters this one is nearest to its title, 2 where one is nearer, and so on; None
            where no encoder could tell.
        title_margin: cosine of the title to its own centroid less that to the nearest other one.
    """

    title: str
    description: str
    example: str = ""
    terms: tuple[tuple[str, float], ...] = ()
    medoid: int | None = None
    representatives: tuple[int, ...] = ()
    title_rank: int | None = None
    title_margin: float | None = None


def name_clusters(
    texts: Any,
    labels: npt.ArrayLike,
    vectors: npt.NDArray[np.float32],
    *,
    n_clusters: int | None = None,
    weights: npt.ArrayLike | None = None,
    encoder: TextEncoder | None = None,
    graph: _core.KnnGraph | None = None,
    taken: Iterable[str] = (),
    progress: Callable[[int, int], object] | None = None,
) -> list[ClusterName]:
    """The names of clusters 0 to n_clusters - 1: no two titles are the same, none could stand over every cluster.

    A title is a key phrase of the cluster, or two; with an encoder, the one that is nearest to the centroid and far
    from the nearest other one. One that leads to another cluster gives way to the next, at last to a typical text.

    Args:
        texts: n strings.
        labels: (n,) cluster of each text; -1 is none.
        vectors: (n, dim) vectors of the texts.
        n_clusters: None takes the largest label.
        weights: (n,) how often each text occurs.
        encoder: the one that made the vectors; None chooses titles by words alone.
        graph: kNN graph of the texts, where there is one: see `representatives`.
        taken: titles that none may get.
        progress: called with (done, total) while terms are counted.

    Raises:
        InvalidInputError: the arguments do not fit each other, or the encoder makes other vectors.

    Example:
        >>> texts = ["lost card", "my lost card", "weather today", "weather tomorrow"]
        >>> vectors = np.eye(2, dtype=np.float32)[[0, 0, 1, 1]]
        >>> [name.title for name in name_clusters(texts, [0, 0, 1, 1], vectors)]
        ['Lost card', 'Weather, today, tomorrow']
    """
    series = texts if isinstance(texts, pl.Series) else pl.Series("text", texts, dtype=pl.String)
    assigned = np.ascontiguousarray(labels, dtype=np.int32)
    n_clusters = int(assigned.max(initial=-1)) + 1 if n_clusters is None else n_clusters
    heavy = None if weights is None else np.ascontiguousarray(weights, dtype=np.float32)
    means = centroids(vectors, assigned, n_clusters, weights=heavy)
    if not len(series):
        empty = titles_by_words([[]] * n_clusters, [""] * n_clusters, taken)
        return [ClusterName(title=title, description=sentence(0, 0, [], "")) for title in empty]
    terms = _core.top_terms(
        series,
        assigned,
        n_clusters=n_clusters,
        weights=heavy,
        n_terms=max(N_TERMS, N_PHRASES),
        min_count=2 if len(series) >= 200 else 1,
        nearest=contrast(means).tolist(),
        progress=progress,
    )
    typical = representatives(vectors, assigned, n_clusters, weights=heavy, graph=graph)
    medoids = [rows[0] if rows else None for rows in typical]
    examples = _examples(series, [medoid or 0 for medoid in medoids])
    examples = [example if medoid is not None else "" for example, medoid in zip(examples, medoids, strict=True)]
    sizes = np.bincount(assigned[assigned >= 0], minlength=n_clusters)
    queries = np.bincount(assigned[assigned >= 0], weights=None if heavy is None else heavy[assigned >= 0])
    queries = np.pad(queries, (0, n_clusters - len(queries)))
    words = [[term for term, _ in own] for own in terms]
    if encoder is None or not n_clusters:
        titled: list[Titled] = [(title, None, None) for title in titles_by_words(words, examples, taken)]
    else:
        titled = titles_by_meaning(
            words,
            [_short_forms(series, rows) for rows in typical],
            means,
            encoder,
            examples=examples,
            order=np.argsort(-queries, kind="stable").tolist(),
            taken=taken,
        )
    return [
        ClusterName(
            title=title,
            description=sentence(int(sizes[i]), round(float(queries[i])), words[i], examples[i]),
            example=examples[i],
            terms=tuple(terms[i][:N_TERMS]),
            medoid=medoids[i],
            representatives=tuple(typical[i]),
            title_rank=rank,
            title_margin=margin,
        )
        for i, (title, rank, margin) in enumerate(titled)
    ]


def centroids(
    vectors: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int32],
    n_clusters: int,
    *,
    weights: npt.NDArray[np.float32] | None = None,
) -> npt.NDArray[np.float64]:
    """Mean direction of each cluster, (n_clusters, dim), unit rows; zeros for an empty one. Noise is left out."""
    if len(vectors) != len(labels):
        raise InvalidInputError(f"labels must have one value per row of vectors: {len(labels)} != {len(vectors)}")
    if weights is not None and weights.shape != labels.shape:
        raise InvalidInputError(f"weights must have one value per row: {weights.shape} != {labels.shape}")
    if len(labels) and int(labels.max()) >= n_clusters:
        raise InvalidInputError(f"labels must be below n_clusters = {n_clusters}: got {int(labels.max())}")
    sums = np.zeros((n_clusters, vectors.shape[1]), dtype=np.float64)
    order = np.argsort(labels, kind="stable")
    order = order[np.searchsorted(labels[order], 0) :]
    for start in range(0, len(order), ROWS):
        rows = order[start : start + ROWS]
        present, starts = np.unique(labels[rows], return_index=True)
        part = np.asarray(vectors[rows], dtype=np.float64)
        if weights is not None:
            part *= weights[rows, None]
        sums[present] += np.add.reduceat(part, starts, axis=0)
    return unit(sums)


def contrast(centroids: npt.ArrayLike, k: int = N_NEAREST) -> npt.NDArray[np.int32]:
    """The k clusters nearest to each by cosine of the centroids, nearest first; (n_clusters, k), -1 for none.

    Example:
        >>> contrast([[1, 0], [0.9, 0.1], [0, 1]], 1).tolist()
        [[1], [0], [1]]
    """
    means = unit(np.asarray(centroids, dtype=np.float64))
    n_clusters = len(means)
    nearest = np.full((n_clusters, k), -1, dtype=np.int32)
    empty = np.asarray(~means.any(axis=1))
    for i in range(n_clusters):
        if empty[i]:
            continue
        likeness = means @ means[i]
        likeness[i] = -np.inf
        likeness[empty] = -np.inf
        best = np.argsort(-likeness, kind="stable")[: min(k, n_clusters - 1)]
        best = best[np.isfinite(likeness[best])]
        nearest[i, : len(best)] = best
    return nearest


def representatives(
    vectors: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int32],
    n_clusters: int,
    *,
    weights: npt.NDArray[np.float32] | None = None,
    graph: _core.KnnGraph | None = None,
) -> list[list[int]]:
    """Up to ten rows that stand for each cluster: its medoid, then those that together cover it.

    They are chosen by facility location over the kNN graph (`_core.covering_representatives`); without one, over a
    graph of each cluster's own rows, an even sample of a large cluster.
    """
    medoids = _core.medoids(vectors, labels, n_clusters=n_clusters, weights=weights)
    if graph is not None:
        covering = [
            rows.tolist()
            for rows in _core.covering_representatives(
                graph, labels, n_clusters=n_clusters, n_representatives=N_REPRESENTATIVES, weights=weights
            )
        ]
    else:
        order = np.argsort(labels, kind="stable")
        bounds = np.searchsorted(labels[order], np.arange(n_clusters + 1))
        members = [order[start:end] for start, end in itertools.pairwise(bounds)]
        covering = [_covering(vectors, rows, weights) for rows in members]
    return [
        [int(medoid), *(row for row in rows if row != medoid)][:N_REPRESENTATIVES] if medoid != NO_MEDOID else []
        for medoid, rows in zip(medoids, covering, strict=True)
    ]


def _covering(
    vectors: npt.NDArray[np.float32], rows: npt.NDArray[np.intp], weights: npt.NDArray[np.float32] | None
) -> list[int]:
    rows = rows[:: -(-len(rows) // COVERED)] if len(rows) else rows
    if len(rows) <= N_REPRESENTATIVES:
        return [int(row) for row in rows]
    (chosen,) = _core.covering_representatives(
        _core.KnnGraph.build(vectors[rows], min(N_NEIGHBORS, len(rows) - 1)),
        np.zeros(len(rows), dtype=np.int32),
        n_clusters=1,
        n_representatives=N_REPRESENTATIVES,
        weights=None if weights is None else weights[rows],
    )
    return [int(row) for row in rows[chosen]]


def sentence(n_texts: int, n_queries: int, terms: Sequence[str], example: str) -> str:
    """A description of one sentence: how many, about what, for example."""
    count = f"{n_queries:,} {'query' if n_queries == 1 else 'queries'}"
    if n_queries != n_texts:
        count += f" ({n_texts:,} different {'text' if n_texts == 1 else 'texts'})"
    picked = distinct_terms(terms)[:4]
    about = f" about {', '.join(picked[:-1])} and {picked[-1]}" if len(picked) > 1 else ""
    if len(picked) == 1:
        about = f" about {picked[0]}"
    return f"{count}{about}, for example: {example}" if example else f"{count}{about}."


def _short_forms(texts: pl.Series, rows: Sequence[int]) -> list[str]:
    """Typical texts that are short enough to be titles."""
    lines = [without_preamble(line).rstrip(".!?") for line in _examples(texts, rows)]
    return [line for line in lines if len(line) <= MAX_TITLE and is_generic(line) is None]


def _examples(texts: pl.Series, rows: Sequence[int]) -> list[str]:
    if not len(rows):
        return []
    cut = pl.Series(_core.cut_texts(texts.gather(pl.Series(rows, dtype=pl.UInt32)), EXAMPLE_CHARS))
    return [re.sub(r"\s+", " ", text or "").strip() for text in cut]
