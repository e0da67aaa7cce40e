"""New queries of the kind of a cluster, for tests and evaluations: recombined from its texts, or written by a model.

Offline, words are put where other texts of the cluster have others between the same neighbors, and texts are crossed
where they share two words in a row. A query counts only if it is new, holds no personal data, and is nearest to the
cluster it was made for.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from lmsys_rs import _core, prompts
from lmsys_rs.errors import InvalidInputError
from lmsys_rs.journal import WorkspaceJournal
from lmsys_rs.labeling import encoder_at_hand
from lmsys_rs.languages import label_language, language_shares
from lmsys_rs.layouts import centroids
from lmsys_rs.llm import Answer, Failed, Limits, Model, Request, ask_all
from lmsys_rs.naming import TextEncoder
from lmsys_rs.privacy import personal_kinds
from lmsys_rs.prompts import Data
from lmsys_rs.records import NOISE, ClusterRecord, OnEvent, RunRecord, ignore_events
from lmsys_rs.session import Session
from lmsys_rs.store import reading

__all__ = ["GeneratedQuery", "generate"]

SOURCE_TEXTS = 400  # of a cluster that are recombined
SOURCE_CHARS = 300  # longer texts are no pattern
TRIES = 60  # candidates for each query that is wanted
SHOWN = 15  # texts that a model is shown
ASKED_AT_ONCE = 25
SEEDS = 1 << 32

Words = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedQuery:
    """One new query. ``margin``: cosine to its cluster less that to the nearest other; None without an encoder."""

    cluster_id: int
    text: str
    method: str
    margin: float | None


def generate(
    session: Session,
    run_id: str,
    cluster_id: int,
    n_queries: int,
    *,
    model: Model | None = None,
    limits: Limits | None = None,
    language: str = "auto",
    random_state: int = 0,
    encoder: TextEncoder | None = None,
    on_event: OnEvent = ignore_events,
) -> list[GeneratedQuery]:
    """At most ``n_queries`` new queries of the kind of a cluster; fewer where its texts do not yield more.

    Args:
        model: writes them; None recombines the cluster's texts.
        encoder: of the run's vectors, which checks that they belong to the cluster; None takes the one at hand, or
            does without.

    Raises:
        InvalidInputError: there is no such run or cluster.
        ProviderError: the provider refuses, or is down.
    """
    if n_queries < 1:
        raise InvalidInputError(f"n_queries must be >= 1: {n_queries}")
    with session.store.reading() as connection:
        run = reading.get_run(connection, run_id)
        clusters = {c.cluster_id: c for c in reading.clusters(connection, run.run_id) if c.cluster_id != NOISE}
        members = reading.members(connection, run.run_id)
    if cluster_id not in clusters:
        raise InvalidInputError(f"{run.run_id} has no cluster {cluster_id}", hint=f"lmsys list-clusters {run.run_id}")
    own = members.filter(pl.col("cluster_id") == cluster_id)["text_id"].to_numpy()
    with session.store.reading() as connection:
        texts = reading.texts_of(connection, own)
    known = {_folded(text) for text in texts}
    margins = _Margins.of(session, run, members, cluster_id, encoder, on_event)
    if model is None:
        candidates = _recombined(texts.to_list(), random_state)
        method = "recombined"
    else:
        candidates = _written(
            session, run, clusters[cluster_id], n_queries, model, limits or Limits(), language, random_state, on_event
        )
        method = model.spec
    found: list[GeneratedQuery] = []
    for batch in _batches(candidates, n_queries):
        fresh = []
        for text in batch:
            if _folded(text) not in known and not personal_kinds(text):
                known.add(_folded(text))
                fresh.append(text)
        for text, margin in zip(fresh, margins.of_texts(fresh), strict=True):
            if margin is None or margin > 0:
                found.append(GeneratedQuery(cluster_id=cluster_id, text=text, method=method, margin=margin))
        if len(found) >= n_queries:
            break
    return found[:n_queries]


@dataclass(frozen=True)
class _Margins:
    """Tells how much nearer a text is to one cluster than to any other."""

    encoder: TextEncoder | None
    means: npt.NDArray[np.float64]
    position: int

    @classmethod
    def of(
        cls,
        session: Session,
        run: RunRecord,
        members: pl.DataFrame,
        cluster_id: int,
        encoder: TextEncoder | None,
        on_event: OnEvent,
    ) -> _Margins:
        if run.embedder_id is None:
            return cls(None, np.empty((0, 0)), 0)
        embedding = session.embedding(run.embedder_id)
        encoder = encoder or encoder_at_hand(embedding, on_event)
        present = sorted(set(members["cluster_id"].unique().to_list()) - {NOISE})
        means = centroids(session.vectors(embedding), members, run.next_cluster_id)[present]
        return cls(encoder, means, present.index(cluster_id))

    def of_texts(self, texts: Sequence[str]) -> list[float | None]:
        if self.encoder is None or not texts:
            return [None] * len(texts)
        likeness = self.encoder.embed(list(texts)).astype(np.float64) @ self.means.T
        own = likeness[:, self.position].copy()
        likeness[:, self.position] = -np.inf
        others = likeness.max(axis=1)
        return [round(float(margin), 4) for margin in own - np.where(np.isfinite(others), others, -1)]


def _batches(candidates: Iterator[str], n_queries: int) -> Iterator[list[str]]:
    """Candidates in parts that are worth a call of the encoder, until there are no more or enough were tried."""
    size = max(16, 2 * n_queries)
    tried = 0
    while tried < TRIES * n_queries:
        batch = [text for text, _ in zip(candidates, range(size), strict=False)]
        if not batch:
            return
        tried += len(batch)
        yield batch


def _recombined(texts: Sequence[str], random_state: int) -> Iterator[str]:
    """New texts without end, or none where nothing can be recombined; the same seed gives the same ones."""
    rng = random.Random(random_state)
    short = [text for text in texts if len(text) <= SOURCE_CHARS and "\n" not in text]
    if len(short) > SOURCE_TEXTS:
        short = rng.sample(short, SOURCE_TEXTS)
    sources = [words for text in short if len(words := _words(text)) >= 3]
    between: dict[tuple[str, str], set[str]] = defaultdict(set)
    after: dict[tuple[str, str], list[Words]] = defaultdict(list)
    for words in sources:
        padded = ("", *words, "")
        for left, middle, right in zip(padded, padded[1:], padded[2:], strict=False):
            between[left.casefold(), right.casefold()].add(middle)
        for i in range(len(words) - 1):
            after[words[i].casefold(), words[i + 1].casefold()].append(words[i + 2 :])
    slots = {key: sorted(found) for key, found in between.items() if len(found) > 1}
    crossings = {key: found for key, found in after.items() if len(set(found)) > 1}
    if not sources or not (slots or crossings):
        return
    while True:
        words = rng.choice(sources)
        changed = _filled(words, slots, rng) if rng.random() < 0.5 else _crossed(words, crossings, rng)
        if changed != words:
            yield _joined(changed)
        else:
            yield _joined(words)  # it is known and will not count; the caller's tries are bounded


def _filled(words: Words, slots: dict[tuple[str, str], list[str]], rng: random.Random) -> Words:
    """One or two words exchanged for others that stand between the same neighbors."""
    padded = ("", *words, "")
    places = [i for i in range(len(words)) if (padded[i].casefold(), padded[i + 2].casefold()) in slots]
    changed = list(words)
    for i in rng.sample(places, min(len(places), rng.choice((1, 2)))):
        changed[i] = rng.choice(slots[padded[i].casefold(), padded[i + 2].casefold()])
    return tuple(changed)


def _crossed(words: Words, crossings: dict[tuple[str, str], list[Words]], rng: random.Random) -> Words:
    """The beginning of one text and the end of another that has the same two words."""
    pairs = [i for i in range(len(words) - 1) if (words[i].casefold(), words[i + 1].casefold()) in crossings]
    if not pairs:
        return words
    i = rng.choice(pairs)
    return (*words[: i + 2], *rng.choice(crossings[words[i].casefold(), words[i + 1].casefold()]))


def _written(
    session: Session,
    run: RunRecord,
    cluster: ClusterRecord,
    n_queries: int,
    model: Model,
    limits: Limits,
    language: str,
    random_state: int,
    on_event: OnEvent,
) -> Iterator[str]:
    """What a model writes, in the order of its answers."""
    with session.store.reading() as connection:
        ids = np.array(sorted(cluster.representatives), dtype=np.uint32)
        shown = pl.Series(_core.cut_texts(reading.texts_of(connection, ids), SOURCE_CHARS)).to_list()
    spoken = label_language(language, language_shares(session, run.run_id).get(cluster.cluster_id, {}))
    requests = []
    rng = random.Random(random_state)
    for at in range(0, n_queries, ASKED_AT_ONCE):
        n = min(ASKED_AT_ONCE, n_queries - at)
        rendered = prompts.builtin("generate-queries").render(
            language=spoken,
            n_queries=n,
            title=Data.of([cluster.title]),
            description=Data.of([cluster.description]),
            texts=Data.of(rng.sample(shown, min(SHOWN, len(shown)))),
        )
        requests.append(
            Request(
                purpose="generate-queries",
                system=rendered.system,
                messages=rendered.user,
                schema={
                    "type": "object",
                    "properties": {"queries": {"type": "array", "items": {"type": "string"}}},
                    "required": ["queries"],
                    "additionalProperties": False,
                },
                schema_name="queries",
                max_output_tokens=100 + 150 * n,
                temperature=1.0,
                # each part is a question of its own, also where the examples are the same
                seed=(random_state + at) % SEEDS,
                check=_empty,
            )
        )
    report = ask_all(
        model,
        requests,
        limits=limits,
        journal=WorkspaceJournal(session, run.run_id),
        stage="generate",
        on_event=on_event,
    )
    for outcome in report.outcomes:
        if isinstance(outcome, Answer):
            for text in outcome.value["queries"]:
                if " ".join(text.split()):
                    yield " ".join(text.split())
        elif isinstance(outcome, Failed):
            continue


def _empty(value: Any) -> str | None:
    return None if any(str(text).strip() for text in value["queries"]) else "there is no query in the list"


def _words(text: str) -> Words:
    """Words with the punctuation that sticks to them; of scripts without spaces single characters."""
    parts = re.findall(r"[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0e7f]|[^\s\u3040-\u30ff\u3400-\u9fff\u0e00-\u0e7f]+", text)
    return tuple(parts)


def _joined(words: Words) -> str:
    text = " ".join(words)
    return re.sub(
        r"(?<=[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0e7f]) (?=[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0e7f])", "", text
    )


def _folded(text: str) -> str:
    return re.sub(r"\W+", " ", text).casefold().strip()
