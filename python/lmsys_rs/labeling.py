"""How clusters get their names without an LLM: distinctive terms, the most central text, and a few different examples.

It changes no membership. No two clusters of a run get the same title; noise is called "Unclustered".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from lmsys_rs import _core
from lmsys_rs.layouts import Progress, selected_vectors
from lmsys_rs.records import NOISE, ClusterRecord, Event, Filters, OnEvent, RunRecord, ignore_events
from lmsys_rs.selection import select
from lmsys_rs.session import Session
from lmsys_rs.store import reading, writing

__all__ = ["describe", "label", "titles"]

N_TERMS = 12
N_REPRESENTATIVES = 10
TITLE_TERMS = 3
MAX_TITLE = 60  # characters; longer ones do not fit a table or a map
EXAMPLE_CHARS = 90
NO_MEDOID = 2**32 - 1
WITHOUT_SPACES = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")  # kana and Han


def label(session: Session, run_id: str, *, on_event: OnEvent = ignore_events) -> RunRecord:
    """Give every cluster of a run its title, description, terms, medoid and representatives.

    Raises:
        InvalidInputError: there is no such run.
    """
    with session.store.reading() as connection:
        run = reading.get_run(connection, run_id)
        clusters = reading.clusters(connection, run.run_id)
        members = reading.members(connection, run.run_id)
        text_ids = members["text_id"].to_numpy()
        texts = reading.texts_of(connection, text_ids)
    sources = select(session, Filters.from_dict(run.filters).without_limit())
    weights = sources.weights[np.searchsorted(sources.text_ids, text_ids)]
    labels = members["cluster_id"].to_numpy()
    vectors = selected_vectors(session, session.embedding(run.embedder_id), text_ids)
    on_event(Event("started", "label", 0, None, ""))
    terms = _core.top_terms(
        texts,
        labels,
        n_clusters=run.n_clusters,
        weights=weights,
        n_terms=N_TERMS,
        min_count=2 if len(texts) >= 200 else 1,
        progress=Progress(on_event, "label"),
    )
    medoids = _core.medoids(vectors, labels, n_clusters=run.n_clusters, weights=weights)
    representatives = _core.diverse_representatives(
        vectors, labels, n_clusters=run.n_clusters, n_representatives=N_REPRESENTATIVES, weights=weights
    )
    has_medoid = medoids != NO_MEDOID
    examples = _examples(texts, np.where(has_medoid, medoids, 0))
    names = titles(terms, examples)
    named = []
    for record in clusters:
        i = record.cluster_id
        if i == NOISE:
            text = f"{record.size:,} texts that are too far from any group to belong to one."
            named.append(replace(record, title="Unclustered", description=text))
            continue
        medoid = int(text_ids[medoids[i]]) if has_medoid[i] else None
        named.append(
            replace(
                record,
                title=names[i],
                description=describe(record, [term for term, _ in terms[i]], examples[i]),
                terms=tuple((term, round(float(weight), 6)) for term, weight in terms[i]),
                representatives=tuple(int(text_ids[row]) for row in representatives[i]),
                medoid=medoid,
            )
        )
    with session.writer("label"), session.store.writing() as connection:
        writing.set_clusters(connection, run.run_id, named)
    on_event(Event("finished", "label", len(named), len(named), "clusters"))
    return replace(run, labeled=True)


def titles(terms: Sequence[Sequence[tuple[str, float]]], examples: Sequence[str]) -> list[str]:
    """One short title per cluster, all different: two or three of its terms, or its medoid where it has none.

    Args:
        terms: of each cluster, (term, weight), best first.
        examples: of each cluster, a short form of its medoid.
    """
    taken: set[str] = {"unclustered"}
    chosen = []
    for cluster_terms, example in zip(terms, examples, strict=True):
        for title in _candidates([term for term, _ in cluster_terms], example):
            if title.casefold() not in taken:
                taken.add(title.casefold())
                chosen.append(title)
                break
    return chosen


def describe(record: ClusterRecord, terms: Sequence[str], example: str) -> str:
    """One sentence: how many, about what, for example."""
    count = f"{record.n_queries:,} {'query' if record.n_queries == 1 else 'queries'}"
    if record.n_queries != record.size:
        count += f" ({record.size:,} different {'text' if record.size == 1 else 'texts'})"
    picked = _distinct_terms(terms)[:4]
    about = f" about {', '.join(picked[:-1])} and {picked[-1]}" if len(picked) > 1 else ""
    if len(picked) == 1:
        about = f" about {picked[0]}"
    return f"{count}{about}, for example: {example}" if example else f"{count}{about}."


def _candidates(terms: Sequence[str], example: str) -> Iterator[str]:
    """Titles from best to last resort; never ends, so one is always free."""
    picked = _distinct_terms(terms)
    if picked:
        base = _fitting(picked[:TITLE_TERMS])
        yield _sentence_case(", ".join(base))
        said = set().union(*map(_stems, base[:2]))
        for term in [term for term in [*picked, *terms] if term not in base and not _stems(term) <= said]:
            yield _sentence_case(", ".join([*base[:2], term]))
        for term in picked[TITLE_TERMS:]:
            yield _sentence_case(", ".join([*base, term]))
    short = example if len(example) <= MAX_TITLE else example[: MAX_TITLE - 1].rstrip() + "…"
    if short:
        yield _sentence_case(short)
    base_title = (
        _sentence_case(", ".join(_fitting(picked[:TITLE_TERMS]))) if picked else _sentence_case(short or "Cluster")
    )
    number = 2
    while True:
        yield f"{base_title} ({number})"
        number += 1


def _distinct_terms(terms: Sequence[str]) -> list[str]:
    """Terms that each bring a new word; of a word and a phrase with it ("capital", "capital france") the phrase."""
    picked: list[str] = []
    for term in terms:
        words = _stems(term)
        shared = [i for i, other in enumerate(picked) if words & _stems(other)]
        if not shared:
            picked.append(term)
        elif len(shared) == 1 and words > _stems(picked[shared[0]]):
            picked[shared[0]] = term
    return picked


def _stems(term: str) -> set[str]:
    """The words of a term without a plural s: enough to see that "cat" and "cats" are one thing.

    Of scripts without spaces the characters: the terms are pairs of them, and neighbouring pairs overlap.
    """
    words = {word[:-1] if len(word) > 3 and word.endswith("s") else word for word in term.casefold().split()}
    return {part for word in words for part in (word if WITHOUT_SPACES.search(word) else (word,))}


def _fitting(terms: Sequence[str]) -> list[str]:
    kept = list(terms)
    while len(kept) > 1 and len(", ".join(kept)) > MAX_TITLE:
        kept.pop()
    return kept


def _sentence_case(title: str) -> str:
    return title[:1].upper() + title[1:]


def _examples(texts: pl.Series, rows: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> list[str]:
    if not len(rows):
        return []
    cut = pl.Series(_core.cut_texts(texts.gather(pl.Series(rows.astype(np.uint32))), EXAMPLE_CHARS))
    return [re.sub(r"\s+", " ", text or "").strip() for text in cut]
