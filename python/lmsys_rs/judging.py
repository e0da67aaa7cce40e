"""How good a run is, and how many clusters a workspace holds: `insight` over the vectors and graph of a run's texts.

It changes nothing but the stored kNN graph, which is built where there is none yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from lmsys_rs import _core, insight
from lmsys_rs.errors import InvalidInputError, StoreError
from lmsys_rs.languages import ACROSS, space_of_run
from lmsys_rs.layouts import knn_graph, selected_vectors, stage_progress
from lmsys_rs.records import Event, Filters, OnEvent, RunRecord, ignore_events
from lmsys_rs.selection import select
from lmsys_rs.session import Session
from lmsys_rs.store import reading

__all__ = ["choose_k", "group_clusters", "merge_suggestions", "outliers", "quality"]


@dataclass(frozen=True)
class _Clustered:
    """The texts that a run clustered itself, with vectors, labels and how often each occurs."""

    run: RunRecord
    text_ids: npt.NDArray[np.uint32]
    vectors: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int32]
    weights: npt.NDArray[np.float32]
    titles: dict[int, str]

    def graph(self, session: Session, on_event: OnEvent) -> _core.KnnGraph:
        """The kNN graph of the texts, stored or built."""
        return knn_graph(session, session.embedding(self.run.embedder_id), self.text_ids, on_event=on_event)


def quality(
    session: Session,
    run_id: str = "latest",
    *,
    n_boots: int = 20,
    random_state: int = 0,
    on_event: OnEvent = ignore_events,
) -> pl.DataFrame:
    """One row per cluster of a run: cluster_id, title, the columns of `insight.cluster_quality`, and stability.

    Stability is `insight.cluster_stability` of k-means from the centroids; null with ``n_boots=0``.

    Raises:
        InvalidInputError: there is no such run.
    """
    clustered = _clustered(session, run_id)
    graph = clustered.graph(session, on_event)
    frame = insight.cluster_quality(clustered.vectors, clustered.labels, graph=graph, sample_weight=clustered.weights)
    titles = [clustered.titles.get(i, "") for i in frame["cluster_id"]]
    frame = frame.insert_column(1, pl.Series("title", titles, dtype=pl.String))
    if not n_boots:
        return frame.with_columns(stability=pl.lit(None, pl.Float64))
    stability = insight.cluster_stability(
        clustered.vectors,
        clustered.labels,
        n_boots=n_boots,
        sample_weight=clustered.weights,
        random_state=random_state,
    )
    return frame.with_columns(pl.Series("stability", stability[frame["cluster_id"].to_numpy()]))


def merge_suggestions(
    session: Session, run_id: str = "latest", *, min_score: float = 0.0, on_event: OnEvent = ignore_events
) -> pl.DataFrame:
    """Pairs of clusters of a run that are probably one, best first.

    Columns are those of `insight.merge_suggestions`, title_a and title_b.

    Raises:
        InvalidInputError: there is no such run.
    """
    clustered = _clustered(session, run_id)
    frame = insight.merge_suggestions(
        clustered.vectors,
        clustered.labels,
        clustered.graph(session, on_event),
        min_score=min_score,
        sample_weight=clustered.weights,
    )
    named = [
        pl.Series(f"title_{name}", [clustered.titles.get(i, "") for i in frame[name]], dtype=pl.String)
        for name in ("a", "b")
    ]
    return frame.with_columns(named)


def outliers(session: Session, run_id: str = "latest", *, on_event: OnEvent = ignore_events) -> pl.DataFrame:
    """How odd each text of a run is for its cluster, oddest first: text_id, cluster_id, score.

    The score is the mean distance to the text's neighbors as a robust z-score of its cluster, above 3.5 it is odd
    (`_core.knn_outlier_scores`).

    Raises:
        InvalidInputError: there is no such run.
    """
    clustered = _clustered(session, run_id)
    scores = _core.knn_outlier_scores(
        clustered.graph(session, on_event),
        clustered.labels,
        n_clusters=int(clustered.labels.max(initial=-1)) + 1,
        weights=clustered.weights,
    )
    frame = pl.DataFrame({"text_id": clustered.text_ids, "cluster_id": clustered.labels, "score": scores})
    return frame.sort("score", "text_id", descending=[True, False])


def group_clusters(
    session: Session,
    run_id: str = "latest",
    n_clusters: int | None = None,
    *,
    linkage: Literal["average", "ward"] = "average",
) -> pl.DataFrame:
    """The clusters of a run in fewer, larger groups by their centroids: cluster_id, title, group (by falling weight).

    Args:
        n_clusters: groups; None cuts the tree where successive merges are farthest apart.

    Raises:
        InvalidInputError: there is no such run, it has no clusters, or fewer than asked for.
    """
    clustered = _clustered(session, run_id)
    present = np.unique(clustered.labels[clustered.labels >= 0])
    if not len(present):
        raise InvalidInputError(f"{clustered.run.run_id} has no clusters to group", hint="make another run")
    members = [np.flatnonzero(clustered.labels == cluster) for cluster in present]
    sizes = np.array([clustered.weights[rows].sum() for rows in members])
    centroids = np.stack(
        [np.average(clustered.vectors[rows], axis=0, weights=clustered.weights[rows]) for rows in members]
    )
    tree = _core.Agglomerative(n_clusters, linkage=linkage).fit(centroids, sample_weight=sizes)
    return pl.DataFrame(
        {
            "cluster_id": present,
            "title": [clustered.titles.get(int(i), "") for i in present],
            "group": tree.labels_,
        },
        schema={"cluster_id": pl.Int32, "title": pl.String, "group": pl.Int32},
    )


def choose_k(
    session: Session,
    ks: Sequence[int] | None = None,
    *,
    filters: Filters | None = None,
    sample: int = 10_000,
    n_repeats: int = 5,
    random_state: int = 0,
    on_event: OnEvent = ignore_events,
) -> pl.DataFrame:
    """How many clusters k-means should make of the texts that pass; see `insight.choose_k`.

    Raises:
        InvalidInputError: no text passes, or a k is out of range.
        StoreError: some of the texts are not embedded.
    """
    embedding = session.embedding()
    selected = select(session, filters)
    if not len(selected):
        raise InvalidInputError("no query passes the filters", hint="lmsys datasets and lmsys list show what is there")
    if int(selected.text_ids[-1]) >= embedding.n_rows:
        missing = int((selected.text_ids >= embedding.n_rows).sum())
        raise StoreError(f"{missing:,} texts have no vector of {embedding.embedder_id} yet", hint="run: lmsys embed")
    on_event(Event("started", "choose-k", 0, None, ""))
    text_ids, weights = selected.text_ids, selected.weights
    if len(text_ids) > sample > 0:  # before the vectors are read
        drawn = np.sort(np.random.default_rng(random_state).choice(len(text_ids), size=sample, replace=False))
        text_ids, weights = text_ids[drawn], weights[drawn]
    frame = insight.choose_k(
        selected_vectors(session, embedding, text_ids),
        ks,
        sample=sample,
        n_repeats=n_repeats,
        sample_weight=weights,
        random_state=random_state,
        progress=stage_progress(on_event, "choose-k"),
    )
    on_event(Event("finished", "choose-k", 0, None, ""))
    return frame


def _clustered(session: Session, run_id: str) -> _Clustered:
    with session.store.reading() as connection:
        run = reading.get_run(connection, run_id)
        members = reading.members(connection, run.run_id).filter(~pl.col("assigned")).sort("text_id")
        titles = {c.cluster_id: c.title for c in reading.clusters(connection, run.run_id)}
    text_ids = members["text_id"].to_numpy()
    weights = select(session, Filters.from_dict(run.filters)).weights_of(text_ids, missing=1)
    if run.parameters.get(ACROSS):
        vectors = space_of_run(session, run).rows(text_ids)
    else:
        vectors = selected_vectors(session, session.embedding(run.embedder_id), text_ids)
    return _Clustered(
        run=run,
        text_ids=text_ids,
        vectors=vectors,
        labels=members["cluster_id"].to_numpy().astype(np.int32),
        weights=weights,
        titles=titles,
    )
