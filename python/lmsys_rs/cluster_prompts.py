"""What a language model is shown of a cluster to name it, and what a name must be like.

Texts of the cluster, typical ones first, its terms, and what its true nearest neighbours hold. It asks nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import polars as pl

from lmsys_rs import _core, prompts
from lmsys_rs.errors import InvalidInputError
from lmsys_rs.languages import label_language, language_shares, space_of_run
from lmsys_rs.layouts import centroids
from lmsys_rs.llm import Limits, Model, Request, estimate_tokens
from lmsys_rs.naming import contrast
from lmsys_rs.privacy import personal_kinds
from lmsys_rs.prompts import Data, Prompt
from lmsys_rs.records import NOISE, ClusterRecord, RunRecord
from lmsys_rs.session import Session
from lmsys_rs.store import reading
from lmsys_rs.titles import is_generic

__all__ = ["MAX_TITLE_CHARS", "Options", "Shown", "chosen_clusters", "cut", "name_request", "problem", "shown_clusters"]

MAX_TITLE_CHARS = 80
TEXT_CHARS = 600  # of a text that is shown
CONTRAST_CHARS = 200
READ_AT_ONCE = 2_000  # texts, before they are cut
SHOWN_TOKENS = 12_000  # of texts in one prompt, at most
SHARE_OF_CONTEXT = 0.5  # of a model's context that texts may take
ANSWER_TOKENS = 600
N_TERMS = 12
NO_FEEDBACK = "nothing, it is the first try"
SCHEMA = {
    "type": "object",
    "properties": {"title": {"type": "string"}, "description": {"type": "string"}},
    "required": ["title", "description"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a model is shown, and how it is asked.

    Attributes:
        max_queries: texts of a cluster in its prompt, typical ones first; fewer where the model's context is small.
        contrast_neighbors: nearest other clusters that the title must not fit.
        contrast_examples: texts (or, by ``keywords``, terms) shown of each of them.
        contrast_mode: ``neighbors`` shows their texts, ``keywords`` their terms.
        language: ``auto``, a language or its code: what names are written in.
        prompt: a template of purpose ``name-cluster``; None takes the one that is shipped.
        limits: pace, budget, patience.
        batch: through the provider's batch service: cheaper, and within hours.
    """

    max_queries: int = 100
    contrast_neighbors: int = 2
    contrast_examples: int = 2
    contrast_mode: Literal["neighbors", "keywords"] = "neighbors"
    language: str = "auto"
    prompt: Prompt | None = None
    limits: Limits = field(default_factory=Limits)
    batch: bool = False

    def __post_init__(self) -> None:
        for name, least in (("max_queries", 1), ("contrast_neighbors", 0), ("contrast_examples", 0)):
            if getattr(self, name) < least:
                raise InvalidInputError(f"{name} must be >= {least}: {getattr(self, name)}")
        if self.contrast_mode not in ("neighbors", "keywords"):
            raise InvalidInputError(f"contrast_mode must be neighbors or keywords: {self.contrast_mode!r}")
        label_language(self.language, {})


@dataclass(frozen=True)
class Shown:
    """What is known of a run's clusters when a model is asked about them."""

    run: RunRecord
    clusters: dict[int, ClusterRecord]  # without noise
    texts: dict[int, list[str]]  # typical ones first
    nearest: dict[int, list[int]]
    languages: dict[int, dict[str, float]]


def shown_clusters(
    session: Session, run_id: str, cluster_ids: Sequence[int] | None, options: Options, model: Model
) -> Shown:
    """What is known of the clusters of a run; texts are read of those that are asked about, and their neighbours.

    Raises:
        InvalidInputError: there is no such run or cluster.
    """
    with session.store.reading() as connection:
        run = reading.get_run(connection, run_id)
        clusters = {c.cluster_id: c for c in reading.clusters(connection, run.run_id) if c.cluster_id != NOISE}
        members = reading.members(connection, run.run_id)
    unknown = [i for i in cluster_ids or () if i not in clusters]
    if unknown:
        raise InvalidInputError(f"{run.run_id} has no cluster {unknown[0]}", hint=f"lmsys list-clusters {run.run_id}")
    nearest: dict[int, list[int]] = {i: [] for i in clusters}
    if run.embedder_id is not None and options.contrast_neighbors:
        space = space_of_run(session, run)
        means = centroids(space.vectors, members, run.next_cluster_id, space.rows)
        found = contrast(means, options.contrast_neighbors)
        nearest = {i: [int(j) for j in found[i] if j >= 0] for i in clusters}
    wanted = _wanted(members, clusters, set(cluster_ids or clusters), nearest, options)
    every = np.array(sorted({text_id for ids in wanted.values() for text_id in ids}), dtype=np.uint32)
    of_id: dict[int, str] = {}
    for at in range(0, len(every), READ_AT_ONCE):
        part = every[at : at + READ_AT_ONCE]
        with session.store.reading() as connection:
            texts = pl.Series(_core.cut_texts(reading.texts_of(connection, part), TEXT_CHARS))
        of_id.update(zip(part.tolist(), texts, strict=True))
    return Shown(
        run=run,
        clusters=clusters,
        texts={i: [of_id[text_id] for text_id in ids] for i, ids in wanted.items()},
        nearest=nearest,
        languages=language_shares(session, run.run_id),
    )


def _wanted(
    members: pl.DataFrame,
    clusters: Mapping[int, ClusterRecord],
    chosen: set[int],
    nearest: Mapping[int, list[int]],
    options: Options,
) -> dict[int, list[int]]:
    """Which texts of each cluster are read: of chosen ones as many as are shown, of neighbours typical ones."""
    around = {j for i in chosen for j in nearest.get(i, ())} - chosen
    ids, labels = members["text_id"].to_numpy(), members["cluster_id"].to_numpy()
    order = np.argsort(labels, kind="stable")
    found = {}
    for i in sorted(chosen | around):
        typical = list(clusters[i].representatives)
        if i in around:
            found[i] = typical[: options.contrast_examples]
            continue
        start, stop = np.searchsorted(labels[order], [i, i + 1])
        others = np.setdiff1d(ids[order[start:stop]], np.array(typical, dtype=np.uint32))
        n = max(0, options.max_queries - len(typical))
        if len(others) > n:
            others = np.sort(np.random.default_rng(i).choice(others, size=n, replace=False))
        found[i] = [*typical, *others.tolist()][: options.max_queries]
    return found


def chosen_clusters(shown: Shown, cluster_ids: Sequence[int] | None) -> list[int]:
    """The clusters that are asked about, largest first."""
    wanted = set(shown.clusters) if cluster_ids is None else set(cluster_ids)
    return sorted(wanted, key=lambda i: (-shown.clusters[i].n_queries, i))


def name_request(
    shown: Shown,
    cluster_id: int,
    options: Options,
    model: Model,
    *,
    old_title: str | None = None,
    feedback: str | None = None,
    twins: Sequence[int] = (),
) -> Request:
    """The question for the name of one cluster.

    Args:
        old_title, feedback: the title that is to be improved, and how.
        twins: clusters that the title must be told from, beside the nearest.
    """
    record = shown.clusters[cluster_id]
    language = label_language(options.language, shown.languages.get(cluster_id, {}))
    room = SHOWN_TOKENS if model.context is None else min(SHOWN_TOKENS, int(SHARE_OF_CONTEXT * model.context))
    contrast: list[Mapping[str, object]] = []
    for other in dict.fromkeys((*twins, *shown.nearest.get(cluster_id, ()))):
        theirs = shown.clusters[other]
        if options.contrast_mode == "keywords":
            n_terms = max(3, options.contrast_examples)
            said: Mapping[str, object] = {"terms": [term for term, _ in theirs.terms[:n_terms]]}
        else:
            said = {"texts": [cut(text) for text in shown.texts.get(other, [])[: options.contrast_examples]]}
        contrast.append({"neighbour": len(contrast) + 1, **said})
    rendered = (options.prompt or prompts.builtin("name-cluster")).render(
        language=language,
        max_title_chars=MAX_TITLE_CHARS,
        n_queries=record.n_queries,
        feedback=feedback or NO_FEEDBACK,
        texts=Data.of(_fitting(shown.texts[cluster_id], room)),
        contrast=Data.of(contrast),
        terms=Data.of([term for term, _ in record.terms[:N_TERMS]]),
        old_title=Data.of([old_title] if old_title else []),
    )
    return Request(
        purpose="name-cluster",
        system=rendered.system,
        messages=rendered.user,
        schema=SCHEMA,
        schema_name="cluster_name",
        max_output_tokens=ANSWER_TOKENS,
        expected_output_tokens=150,
        temperature=0.0,
        check=problem,
    )


def problem(value: Any) -> str | None:
    """What is wrong with a name that a model gave, in a sentence for the model; None if nothing is."""
    title, description = (" ".join(str(value[name]).split()) for name in ("title", "description"))
    if not title:
        return "the title is empty"
    if len(title) > MAX_TITLE_CHARS:
        return f"the title has {len(title)} characters, at most {MAX_TITLE_CHARS} are allowed"
    generic = is_generic(title)
    if generic is not None:
        return f"the title {title!r} {generic}; say what these texts are about"
    if not description:
        return "the description is empty"
    kinds = personal_kinds(f"{title}\n{description}")
    if kinds:
        return f"it holds personal data ({', '.join(kinds)}); write it without"
    return None


def _fitting(texts: Sequence[str], room: int) -> list[str]:
    """As many of the texts as take ``room`` tokens, at least one."""
    kept: list[str] = []
    for text in texts:
        room -= estimate_tokens(text) + 8
        if room < 0 and kept:
            break
        kept.append(text)
    return kept


def cut(text: str) -> str:
    """A text as it is shown of a neighbour, or kept with a name."""
    return text if len(text) <= CONTRAST_CHARS else text[: CONTRAST_CHARS - 1].rstrip() + "…"
