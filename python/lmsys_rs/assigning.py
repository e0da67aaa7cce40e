"""How new texts find their place in a finished run without clustering again, and how well they fit there.

A text goes to the cluster with the nearest centroid. What the report says about drift is measured against the members
the run was made from: a share of far texts that they themselves do not show means that the run has aged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lmsys_rs import _core
from lmsys_rs.clustering import ALGORITHMS
from lmsys_rs.errors import InvalidInputError, StoreError
from lmsys_rs.languages import Space, space_of_run
from lmsys_rs.records import NOISE, Event, Filters, OnEvent, RunRecord, ignore_events
from lmsys_rs.selection import select
from lmsys_rs.session import Session
from lmsys_rs.store import reading, writing

__all__ = ["AssignReport", "ClusterGrowth", "assign"]

CHUNK_ROWS = 65_536
FAR_QUANTILE = 0.95  # a member farther from its centroid than this share of the members is far
# When to cluster again: three times the expected share of far texts, or more new texts than half of the old ones.
MAX_SHARE_FAR = 3 * (1 - FAR_QUANTILE)
MAX_SHARE_NEW = 0.5
MAX_GROWTH_RATIO = 3.0  # a cluster that grew this many times as much as the whole run
MIN_GROWN = 20  # texts; the growth of less says nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterGrowth:
    """What came to one cluster: ``growth`` is new texts per old text, ``share_far`` of the new ones."""

    cluster_id: int
    title: str
    n_before: int
    n_new: int
    growth: float
    share_far: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignReport:
    """What `assign` did, and whether the run still fits.

    Attributes:
        n_new: texts that were placed now; ``n_assigned`` in all calls together.
        n_noise: of these, texts left outside every cluster (runs of density algorithms only).
        share_far: share of the new texts that are farther from their centroid than 95 % of its members were.
        expected_share_far: the same share of the run's own members, 0.05 up to ties.
        growth: of every cluster that grew, most first.
        should_recluster: ``reasons`` say why.
    """

    run_id: str
    n_new: int
    n_assigned: int
    n_noise: int
    share_far: float
    expected_share_far: float
    growth: tuple[ClusterGrowth, ...]
    should_recluster: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class _Clusters:
    """Centroids of a run's own members, by cluster id, float32, and from which distance on a text is far.

    Attributes:
        present: ids with members; others were merged or deleted.
    """

    present: npt.NDArray[np.int32]
    centroids: npt.NDArray[np.float32]
    far: npt.NDArray[np.float64]
    share_far: float
    sizes: npt.NDArray[np.int64]


def assign(session: Session, run_id: str = "latest", *, on_event: OnEvent = ignore_events) -> AssignReport:
    """Place the texts that pass the run's filters and are not in it yet; a second call places nothing.

    Density runs (HDBSCAN and its kin) leave a far text outside as noise; k-means and mixtures place every text.

    Raises:
        InvalidInputError: there is no such run, or it has no clusters.
        StoreError: some of the new texts are not embedded.
    """
    with session.writer("assign"):
        with session.store.reading() as connection:
            run = reading.get_run(connection, run_id)
            members = reading.members(connection, run.run_id)
            titles = {c.cluster_id: c.title for c in reading.clusters(connection, run.run_id)}
        if not run.n_clusters:
            raise InvalidInputError(f"{run.run_id} has no clusters to place texts in", hint="make another run")
        selected = select(session, Filters.from_dict(run.filters).without_limit())
        is_new = ~np.isin(selected.text_ids, members["text_id"].to_numpy())
        new_ids, weights = selected.text_ids[is_new], selected.weights[is_new]
        embedding = session.embedding(run.embedder_id)
        if len(new_ids) and int(new_ids[-1]) >= embedding.n_rows:
            missing = int((new_ids >= embedding.n_rows).sum())
            raise StoreError(f"{missing:,} new texts have no vector of {embedding.embedder_id} yet", hint="lmsys embed")
        space = space_of_run(session, run)
        own = members.filter(~members["assigned"])
        before = _clusters(space, own["text_id"].to_numpy(), own["cluster_id"].to_numpy(), run.next_cluster_id)
        on_event(Event("started", "assign", 0, len(new_ids), "texts"))
        labels = np.full(len(new_ids), NOISE, dtype=np.int32)
        distances = np.zeros(len(new_ids))
        for start, rows in _chunks(space, new_ids):
            part = slice(start, start + len(rows))
            nearest, distances[part] = _nearest(rows, before.centroids[before.present])
            labels[part] = before.present[nearest]
            on_event(Event("advanced", "assign", part.stop, len(new_ids), "texts"))
        is_far = distances > before.far[labels]
        placed = labels.copy()
        if run.algorithm not in (ALGORITHMS["KMeans"], ALGORITHMS["GaussianMixture"]):
            placed[is_far] = NOISE
        with session.store.writing() as connection:
            writing.add_members(connection, run.run_id, text_ids=new_ids, labels=placed, weights=weights)
        on_event(Event("finished", "assign", len(new_ids), len(new_ids), "texts"))
    n_assigned = run.n_assigned + len(new_ids)
    growth = _growth(before, labels, is_far, titles)
    share_far = float(is_far.mean()) if len(new_ids) else 0.0
    reasons = _reasons(run, n_assigned, len(new_ids), share_far, growth)
    return AssignReport(
        run_id=run.run_id,
        n_new=len(new_ids),
        n_assigned=n_assigned,
        n_noise=int((placed == NOISE).sum()),
        share_far=round(share_far, 4),
        expected_share_far=round(before.share_far, 4),
        growth=growth,
        should_recluster=bool(reasons),
        reasons=reasons,
    )


def _clusters(
    space: Space,
    text_ids: npt.NDArray[np.uint32],
    labels: npt.NDArray[np.int32],
    n_clusters: int,
) -> _Clusters:
    kept = labels != NOISE
    text_ids, labels = text_ids[kept], labels[kept]
    sums = np.zeros((n_clusters, space.vectors.shape[1]), dtype=np.float64)
    sizes = np.bincount(labels, minlength=n_clusters)
    for start, rows in _chunks(space, text_ids):
        part = labels[start : start + len(rows)]
        order = np.argsort(part, kind="stable")
        present, starts = np.unique(part[order], return_index=True)
        sums[present] += np.add.reduceat(rows[order], starts, axis=0, dtype=np.float64)
    centroids = (sums / np.maximum(sizes, 1)[:, None]).astype(np.float32)
    distances = np.zeros(len(text_ids))
    for start, rows in _chunks(space, text_ids):
        here = slice(start, start + len(rows))
        distances[here] = np.linalg.norm(rows - centroids[labels[here]], axis=1)
    far = np.full(n_clusters, np.inf)
    order = np.argsort(labels, kind="stable")
    bounds = np.searchsorted(labels[order], np.arange(n_clusters + 1))
    for i in range(n_clusters):
        theirs = distances[order[bounds[i] : bounds[i + 1]]]
        if len(theirs):
            far[i] = float(np.quantile(theirs, FAR_QUANTILE, method="higher"))
    share_far = float((distances > far[labels]).mean()) if len(labels) else 0.0
    present = np.flatnonzero(sizes).astype(np.int32)
    return _Clusters(present, centroids, far, share_far, sizes)


def _nearest(
    rows: npt.NDArray[np.float32], centroids: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
    ids, distances = _core.Index.build(centroids, engine="exact").search(rows, k=1)
    return ids[:, 0].astype(np.int32), distances[:, 0].astype(np.float64)


def _chunks(space: Space, text_ids: npt.NDArray[np.uint32]) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    for start in range(0, len(text_ids), CHUNK_ROWS):
        yield start, space.rows(text_ids[start : start + CHUNK_ROWS])


def _growth(
    before: _Clusters, labels: npt.NDArray[np.int32], is_far: npt.NDArray[np.bool_], titles: dict[int, str]
) -> tuple[ClusterGrowth, ...]:
    n_clusters = len(before.sizes)
    new = np.bincount(labels, minlength=n_clusters)
    far = np.bincount(labels, weights=is_far, minlength=n_clusters)
    grown = [
        ClusterGrowth(
            cluster_id=int(i),
            title=titles.get(int(i), ""),
            n_before=int(before.sizes[i]),
            n_new=int(new[i]),
            growth=round(float(new[i] / max(1, before.sizes[i])), 4),
            share_far=round(float(far[i] / new[i]), 4),
        )
        for i in np.flatnonzero(new)
    ]
    return tuple(sorted(grown, key=lambda g: (-g.n_new, g.cluster_id)))


def _reasons(
    run: RunRecord, n_assigned: int, n_new: int, share_far: float, growth: tuple[ClusterGrowth, ...]
) -> tuple[str, ...]:
    reasons = []
    if n_new >= MIN_GROWN and share_far > MAX_SHARE_FAR:
        reasons.append(f"{share_far:.0%} of the new texts are far from every cluster, {1 - FAR_QUANTILE:.0%} is usual")
    if n_assigned > MAX_SHARE_NEW * run.n_texts:
        reasons.append(f"{n_assigned:,} texts were placed into a run of {run.n_texts:,}")
    usual = n_new / max(1, run.n_texts)
    fast = [g for g in growth if g.n_new >= MIN_GROWN and g.growth > MAX_GROWTH_RATIO * usual and g.growth > 0.2]
    if fast:
        named = ", ".join(f"{g.cluster_id} {g.title}".strip() for g in fast[:3])
        reasons.append(f"{len(fast)} clusters grow more than {MAX_GROWTH_RATIO:.0f} times as fast as the run: {named}")
    return tuple(reasons)
