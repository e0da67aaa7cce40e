"""Which clusters a person should look at first: those where looking is likely to change something.

It suggests and changes nothing. Each suspicion is a number between 0 and 1; a cluster's score is the chance that
at least one of them holds, weighted by the share of queries it is about.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from lmsys_rs import judging
from lmsys_rs.errors import InvalidInputError
from lmsys_rs.languages import language_shares
from lmsys_rs.naming_scores import title_ranks
from lmsys_rs.records import NOISE, ClusterRecord, OnEvent, RunRecord, ignore_events
from lmsys_rs.session import Session
from lmsys_rs.store import editing, reading
from lmsys_rs.titles import is_generic

__all__ = ["Suggestion", "select_bad_clusters", "suggest"]

MIN_LANGUAGE_SHARE = 0.05  # a language that fewer of a cluster's texts are in does not count as mixed in
MERGE_SCORE = 0.5  # of `insight.merge_suggestions`
SUSPICIOUS = 0.3  # from this on a suspicion is told as a reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """One cluster to look at: how suspicious (0 to 1), why, and what may help."""

    cluster_id: int
    title: str
    n_queries: int
    score: float
    reasons: tuple[str, ...]
    command: str


def suggest(
    session: Session, run_id: str = "latest", *, limit: int | None = 20, on_event: OnEvent = ignore_events
) -> list[Suggestion]:
    """Clusters to review, most suspicious first.

    Suspicious are low cohesion, a title that does not retrieve its cluster, mixed languages, near-duplicates of other
    clusters, generic titles and low notes. Clusters that a person rated high are left out.

    Raises:
        InvalidInputError: there is no such run, or it came without vectors.
    """
    with session.store.reading() as connection:
        run = reading.get_run(connection, run_id)
        clusters = {c.cluster_id: c for c in reading.clusters(connection, run.run_id) if c.cluster_id != NOISE}
        notes = editing.notes(connection, run.run_id)
    if run.embedder_id is None:
        raise InvalidInputError(f"{run.run_id} came without vectors: nothing to judge it by", hint="make another run")
    quality = {row["cluster_id"]: row for row in judging.quality(session, run.run_id, n_boots=0).iter_rows(named=True)}
    merges = judging.merge_suggestions(session, run.run_id, min_score=MERGE_SCORE, on_event=on_event)
    twins: dict[int, tuple[int, float]] = {}
    for row in merges.iter_rows(named=True):
        for a, b in ((row["a"], row["b"]), (row["b"], row["a"])):
            if row["score"] > twins.get(a, (0, 0.0))[1]:
                twins[a] = (b, float(row["score"]))
    unranked = {i: c.title for i, c in clusters.items() if c.title_rank is None and c.title_source != "user"}
    ranks = title_ranks(session, run, unranked)
    clusters = {i: replace(c, title_rank=ranks.get(i, c.title_rank)) for i, c in clusters.items()}
    shares = language_shares(session, run.run_id)
    low = _quantiles([float(row["silhouette"]) for row in quality.values() if row["silhouette"] is not None])
    found = []
    for i, record in clusters.items():
        note = notes.get(i)
        if note is not None and note.quality == "high":
            continue
        suspicions = _suspicions(run, record, quality.get(i, {}), low, twins.get(i), shares.get(i, {}))
        if note is not None and note.quality == "low":
            suspicions.append((1.0, "rated low", _inspect(run, i)))
        if not suspicions:
            continue
        chance = 1 - math.prod(1 - s for s, _, _ in suspicions)
        told = sorted((s for s in suspicions if s[0] >= SUSPICIOUS), key=lambda s: -s[0])
        if told:
            share = record.n_queries / max(1, run.n_queries)
            found.append(
                Suggestion(
                    cluster_id=i,
                    title=record.title,
                    n_queries=record.n_queries,
                    score=round(chance * (0.5 + 0.5 * min(1.0, share * len(clusters))), 4),
                    reasons=tuple(reason for _, reason, _ in told),
                    command=told[0][2],
                )
            )
    found.sort(key=lambda s: (-s.score, s.cluster_id))
    return found[:limit]


def select_bad_clusters(
    session: Session,
    run_id: str = "latest",
    *,
    max_size: int | None = None,
    min_size: int | None = None,
    min_languages: int | None = None,
    quality: str | None = None,
) -> list[ClusterRecord]:
    """The clusters that pass every condition that is given, largest first.

    Args:
        max_size, min_size: queries, both inclusive.
        min_languages: languages with at least 5 % of the texts.
        quality: as a person noted it.

    Raises:
        InvalidInputError: there is no such run, or no condition.
    """
    if all(condition is None for condition in (max_size, min_size, min_languages, quality)):
        raise InvalidInputError("say what is bad: max_size, min_size, min_languages or quality")
    with session.store.reading() as connection:
        run = reading.get_run(connection, run_id)
        clusters = [c for c in reading.clusters(connection, run.run_id) if c.cluster_id != NOISE]
        notes = editing.notes(connection, run.run_id)
    shares = language_shares(session, run.run_id) if min_languages is not None else {}
    kept = [
        c
        for c in clusters
        if (max_size is None or c.n_queries <= max_size)
        and (min_size is None or c.n_queries >= min_size)
        and (min_languages is None or _n_languages(shares.get(c.cluster_id, {})) >= min_languages)
        and (quality is None or (c.cluster_id in notes and notes[c.cluster_id].quality == quality))
    ]
    return sorted(kept, key=lambda c: (-c.n_queries, c.cluster_id))


def _suspicions(
    run: RunRecord,
    record: ClusterRecord,
    quality: dict[str, float | None],
    low: tuple[float, float],
    twin: tuple[int, float] | None,
    shares: dict[str, float],
) -> list[tuple[float, str, str]]:
    """(how sure, why, what to do) of each doubt about a cluster."""
    i, name = record.cluster_id, run.run_id
    found = []
    silhouette = quality.get("silhouette")
    if silhouette is not None and low[1] > low[0]:
        sure = float(np.clip((low[1] - silhouette) / (low[1] - low[0]), 0, 1))
        found.append((0.9 * sure, f"low cohesion: silhouette {silhouette:.2f}", _inspect(run, i)))
    if record.title_rank is not None and record.title_rank > 1:
        found.append(
            (
                0.7,
                f"its title is nearer to {record.title_rank - 1:,} other cluster{'s' * (record.title_rank > 2)}",
                f'lmsys edit rename-cluster {name} --cluster-id {i} --title "..."',
            )
        )
    generic = is_generic(record.title)
    if generic is not None:
        found.append((0.9, f"its title {generic}", f'lmsys edit rename-cluster {name} --cluster-id {i} --title "..."'))
    if _n_languages(shares) > 1:
        mixed = 1 - max(shares.values())
        listed = ", ".join(f"{language} {share:.0%}" for language, share in list(shares.items())[:3])
        found.append((min(0.8, 2 * mixed), f"mixed languages: {listed}", _inspect(run, i)))
    if twin is not None:
        found.append(
            (
                twin[1],
                f"nearly the same as cluster {twin[0]}",
                f"lmsys edit merge-clusters {name} --source {i} --target {twin[0]}",
            )
        )
    return found


def _inspect(run: RunRecord, cluster_id: int) -> str:
    return f"lmsys inspect {run.run_id} {cluster_id}"


def _n_languages(shares: dict[str, float]) -> int:
    return sum(share >= MIN_LANGUAGE_SHARE for share in shares.values())


def _quantiles(values: list[float]) -> tuple[float, float]:
    """Between which silhouettes a cluster is suspicious: the lowest one, and the lower quartile."""
    if not values:
        return 0.0, 0.0
    return float(np.min(values)), float(np.quantile(values, 0.25))
