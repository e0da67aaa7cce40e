"""Namings (summary runs) and hierarchies of a run's clusters, and what language models answered.

Every function takes a connection of `Store.reading` or, to change something, `Store.writing`. Newest is by time of
writing, never by name.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, delete, func, insert, literal_column, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from lmsys_rs.errors import InvalidInputError
from lmsys_rs.knowledge import HierarchyNode, HierarchyRecord, SummaryRecord, SummaryRunRecord
from lmsys_rs.records import ClusterRecord
from lmsys_rs.store import reading, schema
from lmsys_rs.store.writing import now

__all__ = [
    "add_hierarchy",
    "add_summary_run",
    "clusters_called",
    "get_hierarchy",
    "get_summary_run",
    "hierarchies",
    "hierarchy_nodes",
    "llm_contents",
    "llm_contents_from",
    "put_llm_content",
    "set_titles",
    "summaries",
    "summary_runs",
    "unused_id",
]

KEYS_AT_ONCE = 500  # bound values of one statement


def add_summary_run(connection: Connection, record: SummaryRunRecord, summaries: Sequence[SummaryRecord]) -> None:
    """Store one naming as a whole; one with the same id is replaced."""
    s = schema.summary
    connection.execute(delete(s).where(s.c.summary_run_id == record.summary_run_id))
    values = {
        "run_id": record.run_id,
        "alias": record.alias,
        "model": record.model,
        "parameters": json.dumps(record.parameters, sort_keys=True, ensure_ascii=False),
        "created_at": record.created_at,
        "refines": record.refines,
        "cost": record.cost,
    }
    statement = upsert(schema.summary_run).values(summary_run_id=record.summary_run_id, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["summary_run_id"], set_=values))
    rows = [
        {
            "summary_run_id": record.summary_run_id,
            "cluster_id": one.cluster_id,
            "title": one.title,
            "description": one.description,
            "n_queries": one.n_queries,
            "representatives": json.dumps(one.representatives, ensure_ascii=False),
            "source": one.source,
            "title_rank": one.title_rank,
            "note": one.note,
        }
        for one in summaries
    ]
    if rows:
        connection.execute(insert(s), rows)


def summary_runs(connection: Connection, run_id: str | None = None) -> list[SummaryRunRecord]:
    """The namings (of one run), newest first."""
    r, s = schema.summary_run, schema.summary
    counted = select(s.c.summary_run_id, func.count().label("n")).group_by(s.c.summary_run_id).subquery()
    statement = (
        select(r, func.coalesce(counted.c.n, 0).label("n_summaries"))
        .outerjoin(counted, counted.c.summary_run_id == r.c.summary_run_id)
        .order_by(r.c.created_at.desc(), literal_column("summary_run.rowid").desc())
    )
    if run_id is not None:
        statement = statement.where(r.c.run_id == run_id)
    return [
        SummaryRunRecord(**{**row._mapping, "parameters": json.loads(row.parameters)})
        for row in connection.execute(statement)
    ]


def get_summary_run(connection: Connection, run_id: str, name: str = "latest") -> SummaryRunRecord:
    """A naming of a run by its id or alias (of equal aliases the newest), or ``latest``.

    Raises:
        InvalidInputError: there is none.
    """
    found = summary_runs(connection, run_id)
    for record in found:
        if name in ("latest", record.summary_run_id) or (record.alias is not None and name == record.alias):
            return record
    if not found:
        raise InvalidInputError(f"{run_id} has no summaries yet", hint=f"run: lmsys summarize {run_id}")
    names = ", ".join(f"{record.summary_run_id}{f' ({record.alias})' if record.alias else ''}" for record in found[:5])
    raise InvalidInputError(f"{run_id} has no summary run or alias {name!r}", hint=f"there are: {names}")


def summaries(connection: Connection, summary_run_id: str) -> dict[int, SummaryRecord]:
    """What one naming says, by cluster."""
    s = schema.summary
    rows = connection.execute(select(s).where(s.c.summary_run_id == summary_run_id).order_by(s.c.cluster_id))
    return {
        row.cluster_id: SummaryRecord(**{**row._mapping, "representatives": tuple(json.loads(row.representatives))})
        for row in rows
    }


def clusters_called(connection: Connection, run_id: str, summary: str | None) -> list[ClusterRecord]:
    """The clusters of a run, called by a naming (id or alias) where it names them; None calls them as they are."""
    clusters = reading.clusters(connection, run_id)
    if summary is None:
        return clusters
    said = summaries(connection, get_summary_run(connection, run_id, summary).summary_run_id)
    return [
        replace(c, title=said[c.cluster_id].title, description=said[c.cluster_id].description)
        if c.cluster_id in said
        else c
        for c in clusters
    ]


def set_titles(
    connection: Connection, run_id: str, clusters: Sequence[ClusterRecord], *, summary_run_id: str | None
) -> None:
    """Let these clusters be called by the titles and descriptions of a naming."""
    c = schema.cluster
    for record in clusters:
        connection.execute(
            update(c)
            .where(c.c.run_id == run_id, c.c.cluster_id == record.cluster_id)
            .values(
                title=record.title,
                description=record.description,
                title_source=record.title_source,
                title_rank=record.title_rank,
            )
        )
    connection.execute(
        update(schema.run).where(schema.run.c.run_id == run_id).values(summary_run_id=summary_run_id, labeled=True)
    )


def add_hierarchy(connection: Connection, record: HierarchyRecord, nodes: Sequence[HierarchyNode]) -> None:
    """Store one hierarchy as a whole; one with the same id is replaced."""
    n = schema.hierarchy_node
    connection.execute(delete(n).where(n.c.hierarchy_id == record.hierarchy_id))
    values = {
        "run_id": record.run_id,
        "parameters": json.dumps(record.parameters, sort_keys=True, ensure_ascii=False),
        "created_at": record.created_at,
    }
    statement = upsert(schema.hierarchy).values(hierarchy_id=record.hierarchy_id, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["hierarchy_id"], set_=values))
    if nodes:
        rows = [{name: getattr(node, name) for name in HierarchyNode.__dataclass_fields__} for node in nodes]
        connection.execute(insert(n), rows)


def hierarchies(connection: Connection, run_id: str | None = None) -> list[HierarchyRecord]:
    """The hierarchies (of one run), newest first."""
    h, n = schema.hierarchy, schema.hierarchy_node
    counted = select(n.c.hierarchy_id, func.count().label("n")).group_by(n.c.hierarchy_id).subquery()
    statement = (
        select(h, func.coalesce(counted.c.n, 0).label("n_nodes"))
        .outerjoin(counted, counted.c.hierarchy_id == h.c.hierarchy_id)
        .order_by(h.c.created_at.desc(), literal_column("hierarchy.rowid").desc())
    )
    if run_id is not None:
        statement = statement.where(h.c.run_id == run_id)
    return [
        HierarchyRecord(**{**row._mapping, "parameters": json.loads(row.parameters)})
        for row in connection.execute(statement)
    ]


def get_hierarchy(connection: Connection, name: str = "latest") -> HierarchyRecord:
    """A hierarchy by its id, the newest of a run by the run's id, or ``latest`` of all.

    Raises:
        InvalidInputError: there is none.
    """
    found = hierarchies(connection)
    for record in found:
        if name in ("latest", record.hierarchy_id, record.run_id):
            return record
    if not found:
        raise InvalidInputError("this workspace has no hierarchies yet", hint="run: lmsys merge-clusters latest")
    raise InvalidInputError(
        f"there is no hierarchy {name!r}", hint=f"the newest is {found[0].hierarchy_id}; lmsys merge-clusters makes one"
    )


def hierarchy_nodes(connection: Connection, hierarchy_id: str) -> list[HierarchyNode]:
    """The nodes of a hierarchy, top level first, by id."""
    n = schema.hierarchy_node
    rows = connection.execute(select(n).where(n.c.hierarchy_id == hierarchy_id).order_by(n.c.level.desc(), n.c.node_id))
    return [HierarchyNode(**row._mapping) for row in rows]


def llm_contents(connection: Connection, keys: Iterable[str]) -> dict[str, Any]:
    """What is kept under these keys; keys that nothing is kept under are left out."""
    e = schema.llm_entry
    wanted = list(dict.fromkeys(keys))
    found = {}
    for at in range(0, len(wanted), KEYS_AT_ONCE):
        rows = connection.execute(select(e.c.key, e.c.content).where(e.c.key.in_(wanted[at : at + KEYS_AT_ONCE])))
        found.update({row.key: json.loads(row.content) for row in rows})
    return found


def llm_contents_from(connection: Connection, prefix: str) -> list[Any]:
    """What is kept under keys that begin with ``prefix``, by key."""
    e = schema.llm_entry
    statement = select(e.c.content).where(e.c.key >= prefix, e.c.key < f"{prefix}\U0010ffff").order_by(e.c.key)
    return [json.loads(content) for content in connection.execute(statement).scalars()]


def put_llm_content(connection: Connection, key: str, content: Any, *, run_id: str | None, replace: bool) -> None:
    """Keep what was answered; it goes when the run's texts are deleted. Without ``replace`` what is there stays."""
    e = schema.llm_entry
    values = {"run_id": run_id, "content": json.dumps(content, ensure_ascii=False), "created_at": now()}
    statement = upsert(e).values(key=key, **values)
    if replace:
        statement = statement.on_conflict_do_update(index_elements=["key"], set_=values)
    else:
        statement = statement.on_conflict_do_nothing()
    connection.execute(statement)


def unused_id(connection: Connection, kind: str, wanted: str) -> str:
    """``wanted``, or, where a summary run or hierarchy has that id, with a number behind it."""
    if kind == "summary":
        taken = {record.summary_run_id for record in summary_runs(connection)}
    else:
        taken = {record.hierarchy_id for record in hierarchies(connection)}
    if wanted not in taken:
        return wanted
    return next(name for i in range(2, len(taken) + 3) if (name := f"{wanted}-{i}") not in taken)
