"""How good are clusters where people have sorted the texts already: ours beside k-means told the number, and peers.

Every text counts, and noise is one class of its own. Texts that occur twice count once, under their first label.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from lmsys_rs import _core
from lmsys_rs.errors import InvalidInputError, ReaderError
from lmsys_rs.models import Encoder

__all__ = ["LabelledTexts", "Score", "evaluate", "read_labelled"]

Labels = npt.NDArray[np.int32]
KMEANS_SEEDS = 3


@dataclass(frozen=True, slots=True)
class LabelledTexts:
    """Distinct texts and the class of each, numbered from 0."""

    name: str
    texts: pl.Series
    labels: Labels

    @property
    def n_classes(self) -> int:
        """Classes that occur."""
        return len(np.unique(self.labels))


@dataclass(frozen=True, slots=True)
class Score:
    """One method on one set. ``told_k``: it was given the true number of classes. Seconds are of clustering alone."""

    dataset: str
    method: str
    n_texts: int
    n_classes: int
    n_clusters: int
    noise: float
    ari: float
    v_measure: float
    nmi: float
    told_k: bool
    seconds: float


def read_labelled(path: Path, *, text_column: str = "text", label_column: str = "label") -> LabelledTexts:
    """Texts and labels of a CSV, Parquet or JSONL file.

    Raises:
        FileNotFoundError: there is no such file.
        ReaderError: it is none of these, or cannot be read.
        InvalidInputError: a column is missing, or fewer than two classes occur.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    reading: dict[str, Callable[[Path], pl.DataFrame]] = {
        ".csv": pl.read_csv,
        ".parquet": pl.read_parquet,
        ".jsonl": pl.read_ndjson,
    }
    if path.suffix.lower() not in reading:
        raise ReaderError(f"{path}: a file of labelled texts is .csv, .parquet or .jsonl")
    try:
        frame = reading[path.suffix.lower()](path)
    except pl.exceptions.PolarsError as error:
        raise ReaderError(f"{path}: {str(error).splitlines()[0]}") from error
    for column in (text_column, label_column):
        if column not in frame.columns:
            raise InvalidInputError(
                f"{path} has no column {column!r}: it has {', '.join(frame.columns)}",
                hint="name them with --text-column and --label-column",
            )
    frame = frame.select(
        pl.col(text_column).cast(pl.String).str.strip_chars().alias("text"), pl.col(label_column).alias("label")
    )
    frame = frame.drop_nulls().filter(pl.col("text") != "").unique("text", keep="first", maintain_order=True)
    codes = frame["label"].cast(pl.String).rank("dense").cast(pl.Int32) - 1
    found = LabelledTexts(path.stem, frame["text"], codes.to_numpy().astype(np.int32))
    if found.n_classes < 2:
        raise InvalidInputError(f"{path}: at least two classes are needed: got {found.n_classes}")
    return found


def evaluate(
    data: LabelledTexts, encoder: Encoder, *, random_state: int = 0, with_peers: bool = True
) -> Iterator[Score]:
    """One score after the other: `Density`, `HDBSCAN` on the 5-d layout, `KMeans` told k, and peers.

    Peers are those installed in this environment: EVoC; umap-learn with hdbscan; scikit-learn's k-means told k.
    """
    vectors = encoder.embed(data.texts)
    k = data.n_classes
    graph = _core.KnnGraph.build(vectors)
    methods: list[tuple[str, bool, Callable[[int], Labels]]] = [
        ("lmsys_rs Density", False, lambda seed: _core.Density(random_state=seed).fit(graph).labels_),
        ("lmsys_rs UMAP + HDBSCAN", False, lambda seed: _on_layout(graph, seed)),
        ("lmsys_rs KMeans, told k", True, lambda seed: _core.KMeans(k, random_state=seed).fit(vectors).labels_),
    ]
    if with_peers:
        methods += _peers(vectors, k)
    for method, told_k, labels_of in methods:
        # one start of k-means says little
        seeds = range(random_state, random_state + (KMEANS_SEEDS if told_k else 1))
        passes = []
        for seed in seeds:
            started = time.perf_counter()
            labels = np.asarray(labels_of(seed), dtype=np.int32)
            passes.append(_score(data, method, told_k, labels, time.perf_counter() - started))
        yield _mean(passes)


def _on_layout(graph: _core.KnnGraph, seed: int) -> Labels:
    layout = _core.UMAP(5, min_dist=0.0, random_state=seed).fit_transform(graph)
    return np.asarray(_core.HDBSCAN(min_cluster_size=15).fit(layout).labels_)


def _peers(vectors: npt.NDArray[np.float32], k: int) -> list[tuple[str, bool, Callable[[int], Labels]]]:
    """Those that can be imported here."""

    def evoc(seed: int) -> Labels:
        return np.asarray(import_module("evoc").EVoC(random_state=seed).fit_predict(vectors))

    def umap_hdbscan(seed: int) -> Labels:
        layout: Any = import_module("umap").UMAP(n_components=5, min_dist=0.0, metric="cosine", random_state=seed)
        return np.asarray(
            import_module("hdbscan").HDBSCAN(min_cluster_size=15).fit(layout.fit_transform(vectors)).labels_
        )

    def sklearn_kmeans(seed: int) -> Labels:
        return np.asarray(import_module("sklearn.cluster").KMeans(k, n_init=1, random_state=seed).fit(vectors).labels_)

    known: list[tuple[str, bool, Sequence[str], Callable[[int], Labels]]] = [
        ("EVoC", False, ("evoc",), evoc),
        ("umap-learn + hdbscan", False, ("umap", "hdbscan"), umap_hdbscan),
        ("scikit-learn KMeans, told k", True, ("sklearn",), sklearn_kmeans),
    ]
    return [(name, told_k, work) for name, told_k, needs, work in known if all(find_spec(need) for need in needs)]


def _score(data: LabelledTexts, method: str, told_k: bool, labels: Labels, seconds: float) -> Score:
    return Score(
        dataset=data.name,
        method=method,
        n_texts=len(labels),
        n_classes=data.n_classes,
        n_clusters=len(np.unique(labels[labels >= 0])),
        noise=float((labels < 0).mean()),
        ari=_core.adjusted_rand_score(data.labels, labels),
        v_measure=_core.v_measure_score(data.labels, labels),
        nmi=_core.normalized_mutual_info_score(data.labels, labels),
        told_k=told_k,
        seconds=seconds,
    )


def _mean(passes: list[Score]) -> Score:
    """The mean of several seeds."""
    first = passes[0]

    def mean(name: str) -> float:
        return float(np.mean([getattr(score, name) for score in passes]))

    return Score(
        dataset=first.dataset,
        method=first.method,
        n_texts=first.n_texts,
        n_classes=first.n_classes,
        n_clusters=round(mean("n_clusters")),
        noise=mean("noise"),
        ari=mean("ari"),
        v_measure=mean("v_measure"),
        nmi=mean("nmi"),
        told_k=first.told_k,
        seconds=mean("seconds"),
    )
