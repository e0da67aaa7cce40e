"""What clusters that an edit changed are about now: terms, typical texts, an offline title and description.

It looks at the changed clusters alone, so that an edit of a large run takes no longer than of a small one. What a
person or a model called a cluster stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

from lmsys_rs import _core
from lmsys_rs.labeling import describe, encoder_at_hand
from lmsys_rs.layouts import selected_vectors
from lmsys_rs.naming import name_clusters
from lmsys_rs.records import ClusterRecord, RunRecord, is_counted
from lmsys_rs.session import Session
from lmsys_rs.store import reading

__all__ = ["redescribed"]

EXAMPLE_CHARS = 90
MAX_TEXTS = 20_000  # of a cluster that are read for its terms: an even sample of more says the same


def redescribed(
    session: Session,
    run: RunRecord,
    records: Sequence[ClusterRecord],
    *,
    text_ids: npt.NDArray[np.uint32],
    labels: npt.NDArray[np.int32],
    weights: npt.NDArray[np.float32],
    anew: Sequence[int],
    taken: Sequence[str],
) -> list[ClusterRecord]:
    """The clusters of ``records`` as their texts (``labels`` of ``text_ids``) make them.

    Args:
        weights: queries that ask each text now; 0 where none does.
        anew: those whose terms and typical texts are chosen anew; of the others only counts are written.
        taken: titles that a cluster without one must not get.
    """
    chosen = {record.cluster_id: record for record in records if record.cluster_id in set(anew)}
    found = {record.cluster_id: record for record in records}
    for record in records:
        if record.cluster_id not in chosen:
            here = set(text_ids[labels == record.cluster_id].tolist())
            kept = tuple(i for i in record.representatives if i in here)
            medoid = record.medoid if record.medoid in here else (kept[0] if kept else None)
            found[record.cluster_id] = replace(record, representatives=kept, medoid=medoid)
    if chosen:
        found |= _chosen_anew(session, run, list(chosen.values()), text_ids, labels, weights, taken)
    return [_described(session, record) for record in found.values()]


def _chosen_anew(
    session: Session,
    run: RunRecord,
    records: list[ClusterRecord],
    text_ids: npt.NDArray[np.uint32],
    labels: npt.NDArray[np.int32],
    weights: npt.NDArray[np.float32],
    taken: Sequence[str],
) -> dict[int, ClusterRecord]:
    numbers = np.full(int(labels.max(initial=0)) + 2, -1, dtype=np.int32)  # the last entry serves label -1
    for number, record in enumerate(records):
        numbers[record.cluster_id] = number
    dense = numbers[labels]
    order = np.argsort(dense, kind="stable")
    bounds = np.searchsorted(dense[order], np.arange(len(records) + 1))
    rows = np.sort(np.concatenate([_sample(order[start:stop]) for start, stop in pairwise(bounds)]))
    # what nobody asks any more still tells what the cluster is about, as in `labeling`
    ids, dense, heavy = text_ids[rows], dense[rows], np.maximum(weights[rows], 1)
    with session.store.reading() as connection:
        texts = reading.texts_of(connection, ids)
    untitled = any(not record.title for record in records)
    if run.embedder_id is None:
        vectors, encoder = np.ones((len(ids), 1), dtype=np.float32), None
    else:
        embedding = session.embedding(run.embedder_id)
        vectors = selected_vectors(session, embedding, ids)
        encoder = encoder_at_hand(embedding) if untitled else None
    names = name_clusters(texts, dense, vectors, n_clusters=len(records), weights=heavy, encoder=encoder, taken=taken)
    found = {}
    for record, name in zip(records, names, strict=True):
        found[record.cluster_id] = replace(
            record,
            title=record.title or name.title,
            title_source=record.title_source if record.title else "offline",
            # among the clusters that changed it means little
            title_rank=None,
            terms=tuple((term, round(float(weight), 6)) for term, weight in name.terms),
            representatives=tuple(int(ids[row]) for row in name.representatives),
            medoid=None if name.medoid is None else int(ids[name.medoid]),
        )
    return found


def _described(session: Session, record: ClusterRecord) -> ClusterRecord:
    """With a description that counts what is there now, where a person or a model gave none."""
    if record.title_source in ("llm", "user") and not is_counted(record.description):
        return record
    example = _example(session, record.medoid)
    return replace(record, description=describe(record, [term for term, _ in record.terms], example))


def _example(session: Session, text_id: int | None) -> str:
    if text_id is None:
        return ""
    with session.store.reading() as connection:
        texts = reading.texts_of(connection, np.array([text_id], dtype=np.uint32))
    return str(pl.Series(_core.cut_texts(texts, EXAMPLE_CHARS))[0] or "").strip()


def _sample(rows: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    step = max(1, -(-len(rows) // MAX_TEXTS))
    return rows[::step]
