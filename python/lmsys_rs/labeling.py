"""How the clusters of a run get their names without an LLM: `naming` over its texts and vectors, written to the run.

It changes no membership. No two clusters of a run get the same title; noise is called "Unclustered", and a title that a
person gave stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lmsys_rs.errors import ModelError
from lmsys_rs.layouts import Progress, selected_vectors
from lmsys_rs.models import REGISTRY, Encoder, cached
from lmsys_rs.naming import N_REPRESENTATIVES, N_TERMS, NOISE_TITLE, ClusterName, TextEncoder, name_clusters, sentence
from lmsys_rs.records import NOISE, ClusterRecord, EmbeddingRecord, Event, Filters, OnEvent, RunRecord, ignore_events
from lmsys_rs.selection import select
from lmsys_rs.session import Session
from lmsys_rs.store import reading, writing

__all__ = ["N_REPRESENTATIVES", "N_TERMS", "describe", "encoder_at_hand", "label"]


def label(
    session: Session, run_id: str, *, encoder: TextEncoder | None = None, on_event: OnEvent = ignore_events
) -> RunRecord:
    """Give every cluster of a run its title, description, terms, medoid and representatives.

    Args:
        encoder: the one that made the vectors, which checks that titles lead back to their clusters; None takes the
            model that the embedding names, where it is on this machine, or else does without.

    Raises:
        InvalidInputError: there is no such run.
    """
    with session.store.reading() as connection:
        run = reading.get_run(connection, run_id)
        clusters = reading.clusters(connection, run.run_id)
        members = reading.members(connection, run.run_id)
        text_ids = members["text_id"].to_numpy()
        texts = reading.texts_of(connection, text_ids)
    weights = select(session, Filters.from_dict(run.filters).without_limit()).weights_of(text_ids, missing=1)
    embedding = session.embedding(run.embedder_id)
    vectors = selected_vectors(session, embedding, text_ids)
    encoder = encoder or encoder_at_hand(embedding, on_event)
    on_event(Event("started", "label", 0, None, ""))
    kept = {c.cluster_id: c for c in clusters if c.title_source == "user" and c.title}
    found = name_clusters(
        texts,
        members["cluster_id"].to_numpy(),
        vectors,
        n_clusters=run.next_cluster_id,
        weights=weights,
        encoder=encoder,
        taken=[c.title for c in kept.values()],
        progress=Progress(on_event, "label"),
    )
    named = []
    for record in clusters:
        if record.cluster_id == NOISE:
            text = f"{record.size:,} texts that are too far from any group to belong to one."
            named.append(replace(record, title=NOISE_TITLE, description=text))
            continue
        one = _named(record, found[record.cluster_id], text_ids)
        given = kept.get(record.cluster_id)
        if given is not None:
            one = replace(one, title=given.title, description=given.description, title_source="user", title_rank=None)
        named.append(one)
    with session.writer("label"), session.store.writing() as connection:
        current = {c.cluster_id: c for c in reading.clusters(connection, run.run_id)}
        writing.set_clusters(connection, run.run_id, _as_edited(named, {c.cluster_id: c for c in clusters}, current))
    on_event(Event("finished", "label", len(named), len(named), "clusters"))
    return replace(run, labeled=True)


def _as_edited(
    named: Sequence[ClusterRecord], before: Mapping[int, ClusterRecord], current: Mapping[int, ClusterRecord]
) -> list[ClusterRecord]:
    """The clusters as they are to be stored: what was edited while names were chosen stays as it was edited."""
    found = {one.cluster_id: one for one in named}
    return [found[i] if one == before.get(i) else one for i, one in current.items()]


def describe(record: ClusterRecord, terms: Sequence[str], example: str) -> str:
    """One sentence: how many, about what, for example."""
    return sentence(record.size, record.n_queries, terms, example)


def _named(record: ClusterRecord, name: ClusterName, text_ids: np.ndarray[tuple[int], Any]) -> ClusterRecord:
    terms = [term for term, _ in name.terms]
    example = name.example
    return replace(
        record,
        title=name.title,
        title_source="offline",
        title_rank=name.title_rank,
        description=describe(record, terms, example),
        terms=tuple((term, round(float(weight), 6)) for term, weight in name.terms),
        representatives=tuple(int(text_ids[row]) for row in name.representatives),
        medoid=None if name.medoid is None else int(text_ids[name.medoid]),
    )


def encoder_at_hand(embedding: EmbeddingRecord, on_event: OnEvent = ignore_events) -> Encoder | None:
    """The encoder that made an embedding, if its model is on this machine and still the same one; it fetches none."""
    is_here = cached(embedding.model) if embedding.model in REGISTRY else Path(embedding.model).exists()
    reason = f"{embedding.model} is not on this machine"
    if is_here:
        pooling: Any = embedding.pooling
        try:
            encoder = Encoder(embedding.model, max_length=embedding.max_length, pooling=pooling)
        except ModelError as error:
            reason = str(error).splitlines()[0]
        else:
            if encoder.id == embedding.embedder_id:
                return encoder
            reason = f"{embedding.model} is now {encoder.id}, not {embedding.embedder_id}"
    on_event(Event("note", "label", message=f"titles are chosen by words alone: {reason}"))
    return None
