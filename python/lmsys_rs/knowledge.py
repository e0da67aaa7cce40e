"""The values that say what people and models made of clusters: namings, hierarchies, edits, notes, rules, labels.

Like `records`: nothing here reads, writes or computes; a record is what was found, not a row that can be changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

__all__ = [
    "ClassificationRecord",
    "ClusterNote",
    "EditRecord",
    "HierarchyNode",
    "HierarchyRecord",
    "Move",
    "RuleRecord",
    "SummaryRecord",
    "SummaryRunRecord",
    "TitleSource",
]

TitleSource = Literal["offline", "llm", "user", "none"]
"""Who gave a title: terms and texts, a language model, a person, or nobody yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryRunRecord:
    """One naming of the clusters of one run. ``model`` None is offline; ``cost`` is in US dollars.

    Attributes:
        refines: the summary run whose titles this one improves.
        n_summaries: clusters it names.
    """

    summary_run_id: str
    run_id: str
    alias: str | None
    model: str | None
    parameters: Mapping[str, Any]
    created_at: str
    refines: str | None = None
    cost: float | None = None
    n_summaries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryRecord:
    """What one naming says of one cluster.

    Attributes:
        representatives: the texts it was named by, or some of them.
        title_rank: 1 where of all clusters this one is nearest to its title; None where it was not measured, as of
            models' titles: that takes the encoder, and is done where it is asked for.
        note: why the title is an offline one, or what was to be improved.
    """

    summary_run_id: str
    cluster_id: int
    title: str
    description: str
    n_queries: int | None = None
    representatives: tuple[str, ...] = ()
    source: TitleSource = "llm"
    title_rank: int | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HierarchyRecord:
    """One tree over the clusters of one run."""

    hierarchy_id: str
    run_id: str
    parameters: Mapping[str, Any]
    created_at: str
    n_nodes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HierarchyNode:
    """A node of a tree: ``level`` 0 is a cluster of the run, with its id; parents have ids of their own.

    ``parent_id`` None is the top of its branch.
    """

    hierarchy_id: str
    node_id: int
    level: int
    parent_id: int | None
    title: str
    description: str


@dataclass(frozen=True, slots=True)
class Move:
    """Texts (ascending ids) that went from one cluster to another; -1 is in none."""

    from_id: int
    to_id: int
    text_ids: npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True, kw_only=True)
class EditRecord:
    """One change that a person, or a rule, made to a run.

    Attributes:
        cluster_id: the cluster it is mainly about.
        kind: rename, move_query, merge, split, delete, tag, flag, rule.
        old, new: the clusters and notes it touched, before and after: ``{"clusters": {id: row}, "notes": {id: row}}``.
        state: done, undone, or kept (made by a program that knew no undo).
    """

    id: int
    run_id: str
    cluster_id: int | None
    kind: str
    editor: str | None
    old: Mapping[str, Any]
    new: Mapping[str, Any]
    reason: str | None
    created_at: str
    state: str
    moves: tuple[Move, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterNote:
    """What people noted about a cluster: ``coherence`` 1 to 5, ``quality`` high, medium or low."""

    run_id: str
    cluster_id: int
    coherence: int | None = None
    quality: str | None = None
    flags: tuple[str, ...] = ()
    notes: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleRecord:
    """Texts of queries that pass ``condition`` (SQL, as ``--where``) belong to the cluster called ``title``.

    ``run_id`` and ``cluster_id`` say which cluster was meant when the rule was made.
    """

    id: int
    condition: str
    title: str
    run_id: str | None
    cluster_id: int | None
    editor: str | None
    reason: str | None
    created_at: str
    enabled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassificationRecord:
    """One labelling of texts, or of the clusters of a run, by a template."""

    classification_id: str
    template: str
    template_hash: str
    content: Mapping[str, Any]
    unit: str
    method: str
    model: str | None
    run_id: str | None
    parameters: Mapping[str, Any]
    n_labelled: int
    file: str
    cost: float | None
    created_at: str
