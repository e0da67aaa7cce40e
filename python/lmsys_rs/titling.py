"""Which title a cluster gets: its phrases and pairs of them, by words alone or by where an encoder puts them.

It sees terms, short texts and centroids; no two clusters get the same title. `titles` says what a title must not be.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from lmsys_rs.errors import InvalidInputError
from lmsys_rs.titles import MAX_TITLE, is_generic, normalized, numbered, sentence_case, without_preamble

__all__ = [
    "NOISE_TITLE",
    "N_PHRASES",
    "TextEncoder",
    "Titled",
    "distinct_terms",
    "titles_by_meaning",
    "titles_by_words",
    "unit",
]

NOISE_TITLE = "Unclustered"
TITLE_TERMS = 3
# Titles by meaning; the figures behind these numbers are in docs/decisions/0027-offline-names.md.
N_PHRASES = 30  # terms of a cluster that are tried as its title
N_PAIRED = 30  # of them, those that are tried in pairs
N_PAIRS = 8  # pairs that are encoded, after a look at the mean of their vectors
CONTRAST = 0.25  # what nearness to the nearest other cluster costs
PAIR_COST = 0.01  # in cosine: of a phrase and a pair that do equally well, the phrase is easier to read
ASIDE_COST = 0.01  # in cosine, for each word that only addresses the reader
WITHOUT_SPACES = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")
# Inside a title they cost something, at its ends they are not allowed.
ASIDES = frozenset(
    (
        *("please", "pls", "plz", "thanks", "thank", "hello", "hi", "hey", "ok", "okay", "tell", "me", "give", "show"),
        *("would", "could", "should", "can", "will", "do", "does", "did", "be", "been", "am", "i", "my", "you", "your"),
        *(
            "want",
            "wants",
            "need",
            "needs",
            "like",
            "it",
            "its",
            "bitte",
            "danke",
            "kannst",
            "vous",
            "plaît",
            "merci",
            "por",
            "favor",
            "gracias",
            "obrigado",
        ),
        *("grazie", "prego"),
    )
)


class TextEncoder(Protocol):
    """What naming needs of an encoder: the one that made the vectors of the texts."""

    def embed(self, texts: Any, /) -> npt.NDArray[np.float32]:
        """(n, dim) vectors of a list of texts."""
        ...


Titled = tuple[str, int | None, float | None]  # title, rank, margin


@dataclass(frozen=True, slots=True)
class _Candidate:
    title: str
    score: float
    rank: int
    margin: float

    @property
    def order(self) -> tuple[bool, float]:
        """The least is the best: those that lead to their cluster first, then by score."""
        return self.rank > 1, -self.score


def titles_by_words(terms: Sequence[Sequence[str]], examples: Sequence[str], taken: Iterable[str] = ()) -> list[str]:
    """One title per cluster, all different: two or three of its terms, or its medoid where it has none.

    Args:
        terms: of each cluster, best first.
        examples: of each cluster, a short form of its medoid.
        taken: titles that none may get.
    """
    used = {normalized(title) for title in (NOISE_TITLE, *taken)}
    chosen = []
    for own, example in zip(terms, examples, strict=True):
        chosen.append(_free(_word_titles(own, example), used))
        used.add(normalized(chosen[-1]))
    return chosen


def titles_by_meaning(
    terms: Sequence[Sequence[str]],
    typical: Sequence[Sequence[str]],
    means: npt.NDArray[np.float64],
    encoder: TextEncoder,
    *,
    examples: Sequence[str],
    order: Sequence[int],
    taken: Iterable[str] = (),
) -> list[Titled]:
    """One title per cluster, all different: of those that lead to it the best one that is free.

    Args:
        terms: of each cluster, best first.
        typical: of each cluster, titles made of typical texts.
        means: centroids, unit rows, in the space of the encoder.
        examples: of each cluster, a short form of its medoid: what is left where it has no candidate.
        order: which cluster chooses first.
        taken: titles that none may get.
    """
    used = {normalized(title) for title in (NOISE_TITLE, *taken)}
    found = _candidates(terms, typical, means, encoder)
    chosen: dict[int, Titled] = {}
    for i in order:
        best = next((c for c in found[i] if normalized(c.title) not in used), None)
        if best is not None:
            chosen[i] = (best.title, best.rank, best.margin)
        else:
            chosen[i] = (_free(_word_titles(terms[i], examples[i]), used), None, None)
        used.add(normalized(chosen[i][0]))
    return [chosen[i] for i in range(len(terms))]


def distinct_terms(terms: Sequence[str]) -> list[str]:
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


def unit(rows: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """The rows at length 1; zeros stay zeros."""
    rows = np.asarray(rows, dtype=np.float64)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    shortened: npt.NDArray[np.float64] = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)
    return shortened


def _candidates(
    terms: Sequence[Sequence[str]],
    typical: Sequence[Sequence[str]],
    means: npt.NDArray[np.float64],
    encoder: TextEncoder,
) -> list[list[_Candidate]]:
    """Candidates of each cluster, best first: its phrases, the best pairs of them, at last its typical texts.

    Those are encoded only where no phrase leads to the cluster: each is the wording of one person.
    """
    phrases = [_phrases(own) for own in terms]
    alone = [[sentence_case(phrase) for phrase in own] for own in phrases]
    vector_of = _encoded(alone, encoder, means)
    found = [_judged(own, vector_of, means, i) for i, own in enumerate(alone)]
    pairs = [_pairs(own, found[i], vector_of, means, i) for i, own in enumerate(phrases)]
    vector_of = _encoded(pairs, encoder, means)
    for i, own in enumerate(pairs):
        found[i] += _judged(own, vector_of, means, i, cost=PAIR_COST)
    lost = [list(own) if all(c.rank > 1 for c in found[i]) else [] for i, own in enumerate(typical)]
    vector_of = _encoded(lost, encoder, means)
    for i, own in enumerate(lost):
        found[i] += _judged(own, vector_of, means, i)
    return [sorted(own, key=lambda candidate: candidate.order) for own in found]


def _phrases(terms: Sequence[str]) -> list[str]:
    """The terms that can be titles, best first."""
    fit = (term for term in terms[:N_PHRASES] if len(term) <= MAX_TITLE and is_generic(term) is None)
    return [term for term in fit if not {term.casefold().split()[0], term.casefold().split()[-1]} & ASIDES]


def _pairs(
    phrases: Sequence[str],
    judged: Sequence[_Candidate],
    vector_of: dict[str, npt.NDArray[np.float64]],
    means: npt.NDArray[np.float64],
    own: int,
) -> list[str]:
    """Pairs of phrases that share no word, those that look best by the mean of their vectors; the better one first."""
    stems = [_stems(phrase) for phrase in phrases[:N_PAIRED]]
    fit = [
        (i, j) if judged[i].score >= judged[j].score else (j, i)
        for i, j in itertools.combinations(range(len(stems)), 2)
        if not stems[i] & stems[j] and len(phrases[i]) + len(phrases[j]) + 2 <= MAX_TITLE
    ]
    if not fit:
        return []
    vectors = np.stack([vector_of[candidate.title] for candidate in judged[:N_PAIRED]])
    first, second = np.array(fit).T
    scores, _, _ = _scores(unit(vectors[first] + vectors[second]) @ means.T, own)
    best = np.argsort(-scores, kind="stable")[:N_PAIRS]
    return [sentence_case(f"{phrases[first[i]]}, {phrases[second[i]]}") for i in best]


def _encoded(
    titles: Sequence[Sequence[str]], encoder: TextEncoder, means: npt.NDArray[np.float64]
) -> dict[str, npt.NDArray[np.float64]]:
    """Vectors of all the titles, encoded in one batch."""
    distinct = list(dict.fromkeys(title for own in titles for title in own))
    if not distinct:
        return {}
    vectors = np.asarray(encoder.embed(distinct), dtype=np.float64)
    if vectors.shape != (len(distinct), means.shape[1]):
        raise InvalidInputError(
            f"the encoder must be the one that made the vectors: it makes shape {vectors.shape}, "
            f"need {(len(distinct), means.shape[1])}"
        )
    return dict(zip(distinct, unit(vectors), strict=True))


def _judged(
    titles: Sequence[str],
    vector_of: dict[str, npt.NDArray[np.float64]],
    means: npt.NDArray[np.float64],
    own: int,
    *,
    cost: float = 0.0,
) -> list[_Candidate]:
    if not titles:
        return []
    scores, ranks, margins = _scores(np.stack([vector_of[title] for title in titles]) @ means.T, own)
    asides = [sum(word in ASIDES for word in title.casefold().split()) for title in titles]
    return [
        _Candidate(title, float(score) - cost - ASIDE_COST * n, int(rank), float(margin))
        for title, score, rank, margin, n in zip(titles, scores, ranks, margins, asides, strict=True)
    ]


def _scores(
    likeness: npt.NDArray[np.float64], own: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Score, rank of the own cluster and margin of titles by their cosines to all centroids."""
    mine = likeness[:, own]
    others = np.delete(likeness, own, axis=1)
    nearest = others.max(axis=1) if others.shape[1] else np.zeros(len(others))
    ranks = 1 + (others >= mine[:, None]).sum(axis=1)
    return mine - CONTRAST * nearest, ranks, mine - nearest


def _word_titles(terms: Sequence[str], example: str) -> Iterator[str]:
    """Titles of words, from best to last resort; none is generic."""
    terms = [term for term in terms if len(term) <= MAX_TITLE and is_generic(term) is None]
    picked = distinct_terms(terms)
    if picked:
        base = _fitting(picked[:TITLE_TERMS])
        yield sentence_case(", ".join(base))
        said = frozenset().union(*map(_stems, base[:2]))
        for term in [term for term in [*picked, *terms] if term not in base and not _stems(term) <= said]:
            yield sentence_case(", ".join(_fitting([*base[:2], term])))
        for term in picked[TITLE_TERMS:]:
            yield sentence_case(", ".join(_fitting([*base, term])))
    short = without_preamble(example)
    short = short if len(short) <= MAX_TITLE else short[: MAX_TITLE - 1].rstrip() + "…"
    if is_generic(short) is None:
        yield short


def _free(titles: Iterable[str], used: Collection[str]) -> str:
    """The first title that is not used yet, or the first one with a number."""
    first = None
    for title in titles:
        if normalized(title) not in used:
            return title
        first = first or title
    return numbered(first or "Cluster", used)


@lru_cache(maxsize=100_000)
def _stems(term: str) -> frozenset[str]:
    """The words of a term without a plural s: enough to see that "cat" and "cats" are one thing.

    Of scripts without spaces the characters: terms that share one overlap.
    """
    words = {word[:-1] if len(word) > 3 and word.endswith("s") else word for word in term.casefold().split()}
    return frozenset(part for word in words for part in (word if WITHOUT_SPACES.search(word) else (word,)))


def _fitting(terms: Sequence[str]) -> list[str]:
    kept = list(terms)
    while len(kept) > 1 and len(", ".join(kept)) > MAX_TITLE:
        kept.pop()
    return kept
