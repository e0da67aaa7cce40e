"""Trees over the clusters of a run: from geometry alone, or proposed, assigned and named by a model (`grouping`).

Level 0 are the clusters. A parent has at least two children; what fits no parent stays the top of its branch, or finds
one a level higher. Level sizes fall geometrically.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from lmsys_rs import _core, labeling
from lmsys_rs.errors import InvalidInputError
from lmsys_rs.grouping import Grouped, Grouping, Item, group_items, plan_grouping
from lmsys_rs.journal import WorkspaceJournal
from lmsys_rs.knowledge import HierarchyNode, HierarchyRecord
from lmsys_rs.languages import label_language, language_shares, space_of_run
from lmsys_rs.llm import Limits, Model
from lmsys_rs.naming import TextEncoder, name_clusters
from lmsys_rs.records import NOISE, ClusterRecord, Event, Filters, OnEvent, RunRecord, ignore_events
from lmsys_rs.selection import select
from lmsys_rs.session import Session
from lmsys_rs.store import naming, reading
from lmsys_rs.store.writing import now

__all__ = ["FIRST_PARENT", "HierarchyEstimate", "HierarchyReport", "TreeNode", "build", "level_sizes", "plan", "tree"]

FIRST_PARENT = 1_000_000  # parents of level l have ids from l times this on: no cluster has such an id
MIN_PARENTS = 2
NAMED_TEXTS = 300  # of a cluster that its parents are named by: an even sample of more says the same


@dataclass(frozen=True, slots=True, kw_only=True)
class HierarchyReport:
    """What building a hierarchy did.

    Attributes:
        level_sizes: parents of each level, from 1 on.
        n_orphans: clusters without any parent.
        n_calls, cost: of a model, now; ``n_cached`` answers were there already.
        stopped: why later levels were built without the model.
    """

    hierarchy_id: str
    run_id: str
    level_sizes: tuple[int, ...]
    n_orphans: int
    n_calls: int = 0
    n_cached: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = 0.0
    stopped: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HierarchyEstimate:
    """About what a hierarchy by a model would take; later steps depend on earlier answers. Nothing was sent.

    Attributes:
        price: US dollars; None where it is unknown.
    """

    model: str
    level_sizes: tuple[int, ...]
    n_calls: int
    input_tokens: int
    output_tokens: int
    price: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeNode:
    """A node with what lies below it; ``n_queries`` counts the clusters in it as they are now."""

    node_id: int
    level: int
    title: str
    description: str
    n_queries: int
    size: int
    children: tuple[TreeNode, ...] = ()


def level_sizes(n_clusters: int, target_levels: int, merge_ratio: float) -> list[int]:
    """How many parents each level above the clusters should have: each ``merge_ratio`` of the one below, at least 2.

    Example:
        >>> level_sizes(200, 3, 0.35)
        [70, 24]
    """
    if target_levels < 2:
        raise InvalidInputError(f"target_levels must be >= 2, the clusters are one of them: {target_levels}")
    if not 0 < merge_ratio < 1:
        raise InvalidInputError(f"merge_ratio must be between 0 and 1: {merge_ratio}")
    sizes, n = [], n_clusters
    for _ in range(target_levels - 1):
        wanted = max(MIN_PARENTS, round(n * merge_ratio))
        if wanted >= n:
            break
        sizes.append(wanted)
        n = wanted
    return sizes


def plan(
    session: Session,
    run_id: str,
    model: Model,
    *,
    target_levels: int = 3,
    merge_ratio: float = 0.35,
    neighborhood_size: int = 20,
) -> HierarchyEstimate:
    """About what `build` with a model would cost; sends nothing and needs no key.

    Raises:
        InvalidInputError: there is no such run, or it has fewer than three clusters.
    """
    with session.store.reading() as connection:
        run = reading.get_run(connection, run_id)
        clusters = [c for c in reading.clusters(connection, run.run_id) if c.cluster_id != NOISE]
    sizes = level_sizes(len(clusters), target_levels, merge_ratio)
    if not sizes:
        raise InvalidInputError(f"{run.run_id} has {len(clusters)} clusters: a hierarchy needs at least 3")
    items = [Item(c.title, c.description) for c in clusters]
    n_calls = n_input = n_output = 0
    for wanted in sizes:
        calls, inputs, outputs = plan_grouping(model, items, wanted, neighborhood_size)
        n_calls, n_input, n_output = n_calls + calls, n_input + inputs, n_output + outputs
        items = items[:wanted]
    return HierarchyEstimate(
        model=model.spec,
        level_sizes=tuple(sizes),
        n_calls=n_calls,
        input_tokens=n_input,
        output_tokens=n_output,
        price=None if model.price is None else round(model.price.of(n_input, n_output), 6),
    )


def build(
    session: Session,
    run_id: str = "latest",
    *,
    model: Model | None = None,
    summary: str | None = None,
    target_levels: int = 3,
    merge_ratio: float = 0.35,
    neighborhood_size: int = 20,
    language: str = "auto",
    limits: Limits | None = None,
    encoder: TextEncoder | None = None,
    on_event: OnEvent = ignore_events,
) -> HierarchyReport:
    """Build and store a tree over the clusters of a run.

    Without a model parents are the merges of the clusters' centroids (Ward's criterion, weighted by queries), named
    from their texts. With one they are made as Clio makes them (Tamkin et al. 2024, appendix G.7): neighborhoods,
    proposals, one list, assignment with "none fits", names from the children. What the model does not answer, or what
    is over the budget, is built without it.

    Args:
        summary: id or alias of a naming whose titles the clusters go by; None takes the current ones.
        target_levels: levels, the clusters included.
        merge_ratio: parents of a level per node of the one below.
        neighborhood_size: nodes that a model sees together, about.
        encoder: of the run's vectors, to check titles and find neighborhoods; None takes the one at hand.

    Raises:
        InvalidInputError: there is no such run or naming, or it has fewer than three clusters.
        ProviderError: the provider refuses what all requests have in common, or is down.
    """
    with session.store.reading() as connection:
        run = reading.get_run(connection, run_id)
    if not run.labeled:
        labeling.label(session, run.run_id, on_event=on_event)
    with session.store.reading() as connection:
        called = naming.clusters_called(connection, run.run_id, summary)
    clusters = {c.cluster_id: c for c in called if c.cluster_id != NOISE}
    sizes = level_sizes(len(clusters), target_levels, merge_ratio)
    if not sizes:
        raise InvalidInputError(f"{run.run_id} has {len(clusters)} clusters: a hierarchy needs at least 3")
    if run.embedder_id is None:
        raise InvalidInputError(f"{run.run_id} came without vectors: there is nothing to group it by")
    encoder = encoder or labeling.encoder_at_hand(session.embedding(run.embedder_id), on_event)
    geometry = _geometry(session, run, clusters)
    grouping: Grouping | None = None
    if model is not None:
        grouping = Grouping(
            model=model,
            journal=WorkspaceJournal(session, run.run_id),
            limits=limits or Limits(),
            language=label_language(language, _all_languages(session, run)),
            neighborhood_size=neighborhood_size,
            on_event=on_event,
        )
    nodes, levels, reports = _levels(session, run, clusters, geometry, sizes, grouping, encoder, on_event)
    method = {"method": "geometric", "linkage": "ward"} if model is None else {"method": "llm", "model": model.spec}
    parameters = {
        **method,
        **{"target_levels": target_levels, "merge_ratio": merge_ratio, "neighborhood_size": neighborhood_size},
        **{"summary": summary, "language": language},
    }
    with session.writer("hierarchy"), session.store.writing() as connection:
        wanted = f"hier-{run.run_id}-{datetime.now(timezone.utc):%Y%m%d-%H%M%S}"
        hierarchy_id = naming.unused_id(connection, "hierarchy", wanted)
        record_ = HierarchyRecord(
            hierarchy_id=hierarchy_id, run_id=run.run_id, parameters=parameters, created_at=now(), n_nodes=len(nodes)
        )
        naming.add_hierarchy(connection, record_, [replace(node, hierarchy_id=hierarchy_id) for node in nodes])
    costs = [one.cost for one in reports]
    return HierarchyReport(
        hierarchy_id=hierarchy_id,
        run_id=run.run_id,
        level_sizes=tuple(levels),
        n_orphans=sum(node.level == 0 and node.parent_id is None for node in nodes),
        n_calls=sum(one.n_calls for one in reports),
        n_cached=sum(one.n_cached for one in reports),
        input_tokens=sum(one.input_tokens for one in reports),
        output_tokens=sum(one.output_tokens for one in reports),
        cost=None if any(cost is None for cost in costs) else sum(cost or 0.0 for cost in costs),
        stopped=next((one.stopped for one in reports if one.stopped), None),
    )


def tree(session: Session, name: str = "latest") -> tuple[HierarchyRecord, tuple[TreeNode, ...]]:
    """A stored hierarchy as a tree, largest branch first; clusters that are gone are left out, others are as they are.

    Args:
        name: id of a hierarchy, of a run (its newest), or ``latest``.

    Raises:
        InvalidInputError: there is none.
    """
    with session.store.reading() as connection:
        record = naming.get_hierarchy(connection, name)
        nodes = naming.hierarchy_nodes(connection, record.hierarchy_id)
        clusters = {c.cluster_id: c for c in reading.clusters(connection, record.run_id)}
    below: dict[int | None, list[HierarchyNode]] = {}
    for node in nodes:
        below.setdefault(node.parent_id, []).append(node)
    known = {node.node_id for node in nodes}

    def grown(node: HierarchyNode) -> TreeNode | None:
        if node.level == 0:
            cluster = clusters.get(node.node_id)
            if cluster is None:
                return None
            # titles change with edits; the tree goes along where it was built from the run's own titles
            own = record.parameters.get("summary") is None and "method" in record.parameters
            return TreeNode(
                node_id=node.node_id,
                level=0,
                title=cluster.title if own else node.title,
                description=cluster.description if own else node.description,
                n_queries=cluster.n_queries,
                size=cluster.size,
            )
        children = _grown_children(below.get(node.node_id, []), grown)
        if not children:
            return None
        return TreeNode(
            node_id=node.node_id,
            level=node.level,
            title=node.title,
            description=node.description,
            n_queries=sum(child.n_queries for child in children),
            size=sum(child.size for child in children),
            children=children,
        )

    tops = [node for node in nodes if node.parent_id is None or node.parent_id not in known]
    return record, _grown_children(tops, grown)


def _grown_children(nodes: Sequence[HierarchyNode], grown: Any) -> tuple[TreeNode, ...]:
    children = [child for node in nodes if (child := grown(node)) is not None]
    return tuple(sorted(children, key=lambda child: (-child.n_queries, child.node_id)))


@dataclass(frozen=True)
class _Geometry:
    """The run's texts and where its clusters lie. ``means`` are by position in ``ids``."""

    ids: list[int]
    means: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float32]
    text_ids: npt.NDArray[np.uint32]
    labels: npt.NDArray[np.int32]
    text_weights: npt.NDArray[np.float32]


def _geometry(session: Session, run: RunRecord, clusters: Mapping[int, ClusterRecord]) -> _Geometry:
    with session.store.reading() as connection:
        members = reading.members(connection, run.run_id)
    members = members.filter(members["cluster_id"] != NOISE)
    text_ids, labels = members["text_id"].to_numpy(), members["cluster_id"].to_numpy()
    weights = select(session, Filters.from_dict(run.filters).without_limit()).weights_of(text_ids, missing=1)
    space = space_of_run(session, run)
    ids = sorted(clusters)
    means = []
    for i in ids:
        theirs = labels == i
        rows = space.rows(text_ids[theirs]).astype(np.float64)
        means.append(np.average(rows, axis=0, weights=weights[theirs]))
    heavy = np.array([clusters[i].n_queries for i in ids], dtype=np.float32)
    return _Geometry(ids, np.array(means, dtype=np.float32), np.maximum(heavy, 1), text_ids, labels, weights)


def _levels(
    session: Session,
    run: RunRecord,
    clusters: Mapping[int, ClusterRecord],
    geometry: _Geometry,
    sizes: Sequence[int],
    grouping: Grouping | None,
    encoder: TextEncoder | None,
    on_event: OnEvent,
) -> tuple[list[HierarchyNode], list[int], list[Grouped]]:
    """The nodes of all levels, how many parents each level got, and what was asked."""
    nodes = {
        i: HierarchyNode(
            hierarchy_id="",
            node_id=i,
            level=0,
            parent_id=None,
            title=clusters[i].title,
            description=clusters[i].description,
        )
        for i in geometry.ids
    }
    leaves: dict[int, list[int]] = {i: [i] for i in geometry.ids}  # clusters below each node
    tops = list(geometry.ids)
    levels: list[int] = []
    reports: list[Grouped] = []
    for level, wanted in enumerate(sizes, 1):
        wanted = max(MIN_PARENTS, min(wanted, len(tops) - 1))
        if len(tops) <= MIN_PARENTS:
            break
        groups: list[list[int]]
        named: list[tuple[str, str]]
        if grouping is not None and not any(one.stopped for one in reports):
            vectors = _item_vectors(nodes, tops, leaves, geometry, encoder)
            items = [Item(nodes[i].title, nodes[i].description) for i in tops]
            grouped = group_items(
                grouping, items, vectors, wanted, taken=[node.title for node in nodes.values()], stage=f"level {level}"
            )
            reports.append(grouped)
            groups = [[tops[j] for j in group.members] for group in grouped.groups]
            named = [(group.title, group.description) for group in grouped.groups]
            if grouped.stopped:
                on_event(Event("note", "hierarchy", message=f"level {level} on: without the model, {grouped.stopped}"))
                groups, named = _geometric(session, run, geometry, tops, leaves, nodes, wanted, encoder)
        else:
            groups, named = _geometric(session, run, geometry, tops, leaves, nodes, wanted, encoder)
        n_parents = 0
        for group, (title, description) in zip(groups, named, strict=True):
            if len(group) < MIN_PARENTS:
                continue
            parent = level * FIRST_PARENT + n_parents
            n_parents += 1
            nodes[parent] = HierarchyNode(
                hierarchy_id="", node_id=parent, level=level, parent_id=None, title=title, description=description
            )
            leaves[parent] = [leaf for child in group for leaf in leaves[child]]
            for child in group:
                nodes[child] = replace(nodes[child], parent_id=parent)
        levels.append(n_parents)
        tops = [i for i in nodes if nodes[i].parent_id is None]
        on_event(Event("note", "hierarchy", message=f"level {level}: {n_parents} groups, {len(tops)} branches"))
        if not n_parents:
            break
    return list(nodes.values()), levels, reports


def _centres(
    tops: Sequence[int], leaves: Mapping[int, list[int]], geometry: _Geometry
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Centroid and weight of each node."""
    position = {i: row for row, i in enumerate(geometry.ids)}
    rows = [[position[leaf] for leaf in leaves[i]] for i in tops]
    weights = np.array([geometry.weights[r].sum() for r in rows], dtype=np.float32)
    centres = np.stack([np.average(geometry.means[r], axis=0, weights=geometry.weights[r]) for r in rows])
    return centres.astype(np.float32), weights


def _item_vectors(
    nodes: Mapping[int, HierarchyNode],
    tops: Sequence[int],
    leaves: Mapping[int, list[int]],
    geometry: _Geometry,
    encoder: TextEncoder | None,
) -> npt.NDArray[np.float32]:
    """What neighborhoods are found by: "title: description" where there is an encoder, else centroids."""
    if encoder is None:
        return _centres(tops, leaves, geometry)[0]
    return encoder.embed([f"{nodes[i].title}: {nodes[i].description}" for i in tops])


def _geometric(
    session: Session,
    run: RunRecord,
    geometry: _Geometry,
    tops: Sequence[int],
    leaves: Mapping[int, list[int]],
    nodes: Mapping[int, HierarchyNode],
    wanted: int,
    encoder: TextEncoder | None,
) -> tuple[list[list[int]], list[tuple[str, str]]]:
    """Groups of nodes by Ward's criterion, and their names from the texts below them."""
    centres, weights = _centres(tops, leaves, geometry)
    grouped = np.asarray(_core.Agglomerative(wanted, linkage="ward").fit(centres, sample_weight=weights).labels_)
    groups = [[tops[row] for row in np.flatnonzero(grouped == g).tolist()] for g in range(int(grouped.max()) + 1)]
    group_of_leaf = np.full(max(geometry.ids) + 1, NOISE, dtype=np.int32)
    for g, group in enumerate(groups):
        for i in group:
            group_of_leaf[leaves[i]] = g
    rows = _sampled(geometry)
    ids = geometry.text_ids[rows]
    with session.store.reading() as connection:
        texts = reading.texts_of(connection, ids)
    vectors = session.vectors(session.embedding(run.embedder_id))[ids]
    taken = [nodes[i].title for i in nodes]
    found = name_clusters(
        texts,
        group_of_leaf[geometry.labels[rows]],
        np.asarray(vectors, dtype=np.float32),
        n_clusters=len(groups),
        weights=geometry.text_weights[rows],
        encoder=encoder,
        taken=taken,
    )
    return groups, [(name.title, _contents(group, nodes)) for name, group in zip(found, groups, strict=True)]


def _sampled(geometry: _Geometry) -> npt.NDArray[np.intp]:
    """Rows of the texts that groups are named by, ascending."""
    kept = []
    order = np.argsort(geometry.labels, kind="stable")
    bounds = np.searchsorted(geometry.labels[order], [*geometry.ids, geometry.ids[-1] + 1])
    for start, stop in pairwise(bounds.tolist()):
        step = max(1, -(-(stop - start) // NAMED_TEXTS))
        kept.append(order[start:stop:step])
    return np.sort(np.concatenate(kept))


def _contents(group: Sequence[int], nodes: Mapping[int, HierarchyNode]) -> str:
    titles = [nodes[i].title for i in group[:5]]
    more = f" and {len(group) - 5:,} more" if len(group) > 5 else ""
    return f"{'; '.join(titles)}{more}."


def _all_languages(session: Session, run: RunRecord) -> dict[str, float]:
    """The share of each language in the whole run, so that one tree is in one language."""
    with session.store.reading() as connection:
        sizes = {c.cluster_id: c.size for c in reading.clusters(connection, run.run_id)}
    total: dict[str, float] = {}
    for i, shares in language_shares(session, run.run_id).items():
        for name, share in shares.items():
            total[name] = total.get(name, 0.0) + share * sizes.get(i, 0)
    every = sum(total.values())
    return {name: n / every for name, n in total.items()} if every else {}
