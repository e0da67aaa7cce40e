"""How good a naming is: whether its titles retrieve their own clusters, and how far two namings agree.

A title is measured by the encoder of the run: of all clusters its own should be nearest to it, and of all titles it
should be nearest to its own texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from lmsys_rs.errors import InvalidInputError
from lmsys_rs.labeling import encoder_at_hand
from lmsys_rs.layouts import centroids
from lmsys_rs.naming import TextEncoder
from lmsys_rs.records import NOISE, RunRecord
from lmsys_rs.session import Session
from lmsys_rs.store import naming, reading
from lmsys_rs.titles import is_generic, normalized

__all__ = ["Comparison", "NamingScore", "compare", "title_ranks"]

TITLES_AT_ONCE = 64
SAMPLE = 100  # texts of a cluster that its title is tried on


@dataclass(frozen=True, slots=True, kw_only=True)
class NamingScore:
    """One naming as a whole; shares are of its titles, null where no encoder is there to tell.

    Attributes:
        coverage: mean share of a cluster's texts to which, of all titles, its own is nearest.
        retrieved: share of titles to which, of all clusters, their own is nearest.
    """

    summary_run_id: str
    alias: str | None
    model: str | None
    n_titles: int
    n_generic: int
    n_duplicates: int
    coverage: float | None
    retrieved: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two namings of one run. ``table`` has a row per cluster; ``agreement`` is the mean cosine of their titles."""

    a: NamingScore
    b: NamingScore
    agreement: float | None
    same: float
    table: pl.DataFrame


def title_ranks(
    session: Session, run: RunRecord, titles: Mapping[int, str], *, encoder: TextEncoder | None = None
) -> dict[int, int]:
    """For each cluster the rank it has among all clusters for its title: 1 is the nearest centroid.

    Empty where the encoder of the run's vectors is not there.
    """
    if not titles:
        return {}
    measured = _measured(session, run, encoder)
    if measured is None:
        return {}
    means, present, encode = measured
    ids = [i for i in titles if i in present]
    columns = {i: column for column, i in enumerate(sorted(present))}
    means = means[sorted(present)]
    ranks = {}
    for at in range(0, len(ids), TITLES_AT_ONCE):
        part = ids[at : at + TITLES_AT_ONCE]
        likeness = encode.embed([titles[i] for i in part]).astype(np.float64) @ means.T
        for row, i in zip(likeness, part, strict=True):
            ranks[i] = 1 + int((row > row[columns[i]]).sum())
    return ranks


def compare(session: Session, run_id: str, a: str, b: str, *, encoder: TextEncoder | None = None) -> Comparison:
    """Two namings of a run side by side.

    The table has cluster_id, n_queries, title_a, title_b, agreement, coverage_a, coverage_b, largest cluster first.

    Raises:
        InvalidInputError: there is no such run or naming.
    """
    with session.store.reading() as connection:
        run = reading.get_run(connection, run_id)
        clusters = {c.cluster_id: c for c in reading.clusters(connection, run.run_id) if c.cluster_id != NOISE}
        records = [naming.get_summary_run(connection, run.run_id, name) for name in (a, b)]
        titles = [
            {i: one.title for i, one in naming.summaries(connection, r.summary_run_id).items() if i in clusters}
            for r in records
        ]
    both = sorted(set(titles[0]) & set(titles[1]), key=lambda i: (-clusters[i].n_queries, i))
    if not both:
        names = " and ".join(record.summary_run_id for record in records)
        raise InvalidInputError(f"{names} name no cluster in common")
    measured = _measured(session, run, encoder)
    ranks = [title_ranks(session, run, t, encoder=measured[2]) if measured else {} for t in titles]
    covered = [_coverage(session, run, t, measured[2]) if measured else {} for t in titles]
    agreements: dict[int, float] = {}
    if measured is not None:
        left, right = (measured[2].embed([t[i] for i in both]) for t in titles)
        cosines = np.einsum("ij,ij->i", left.astype(np.float64), right.astype(np.float64))
        agreements = dict(zip(both, cosines.tolist(), strict=True))
    table = pl.DataFrame(
        [
            (
                i,
                clusters[i].n_queries,
                titles[0][i],
                titles[1][i],
                agreements.get(i),
                covered[0].get(i),
                covered[1].get(i),
            )
            for i in both
        ],
        schema={
            "cluster_id": pl.Int32,
            "n_queries": pl.Int64,
            "title_a": pl.String,
            "title_b": pl.String,
            "agreement": pl.Float64,
            "coverage_a": pl.Float64,
            "coverage_b": pl.Float64,
        },
        orient="row",
    )
    scores = []
    for record, t, rank, coverage in zip(records, titles, ranks, covered, strict=True):
        keys = [normalized(title) for title in t.values()]
        scores.append(
            NamingScore(
                summary_run_id=record.summary_run_id,
                alias=record.alias,
                model=record.model,
                n_titles=len(t),
                n_generic=sum(is_generic(title) is not None for title in t.values()),
                n_duplicates=len(keys) - len(set(keys)),
                coverage=round(float(np.mean(list(coverage.values()))), 4) if coverage else None,
                retrieved=round(float(np.mean([r == 1 for r in rank.values()])), 4) if rank else None,
            )
        )
    return Comparison(
        a=scores[0],
        b=scores[1],
        agreement=round(float(np.mean(list(agreements.values()))), 4) if agreements else None,
        same=round(float(np.mean([normalized(titles[0][i]) == normalized(titles[1][i]) for i in both])), 4),
        table=table,
    )


def _measured(
    session: Session, run: RunRecord, encoder: TextEncoder | None
) -> tuple[npt.NDArray[np.float64], set[int], TextEncoder] | None:
    """Centroids by id, the ids that have one, and the encoder; None where a part of it is missing."""
    if run.embedder_id is None:
        return None
    embedding = session.embedding(run.embedder_id)
    with session.store.reading() as connection:
        members = reading.members(connection, run.run_id)
    present = set(members["cluster_id"].unique().to_list()) - {NOISE}
    # before the encoder: what is read for them is given back then
    means = centroids(session.vectors(embedding), members, run.next_cluster_id)
    encoder = encoder or encoder_at_hand(embedding)
    if encoder is None:  # vectors that somebody brought along, or a model that is gone
        return None
    return means, present, encoder


def _coverage(session: Session, run: RunRecord, titles: Mapping[int, str], encoder: TextEncoder) -> dict[int, float]:
    """Per cluster the share of (a sample of) its texts to which its own title is the nearest of all."""
    with session.store.reading() as connection:
        members = reading.members(connection, run.run_id)
    vectors = session.vectors(session.embedding(run.embedder_id))
    ids = sorted(titles)
    heads = encoder.embed([titles[i] for i in ids])
    found = {}
    for row, i in enumerate(ids):
        own = members.filter(pl.col("cluster_id") == i)["text_id"].to_numpy()
        if len(own) > SAMPLE:
            own = np.sort(np.random.default_rng(i).choice(own, size=SAMPLE, replace=False))
        if len(own):
            found[i] = round(float((np.argmax(vectors[own] @ heads.T, axis=1) == row).mean()), 4)
    return found
