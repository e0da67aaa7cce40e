"""How a run becomes a picture: its layout, texts and hierarchy, handed to `map`, which knows pages and plots.

It computes no layout itself (see `layouts`) and knows no HTML.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lmsys_rs import hierarchies
from lmsys_rs import map as maps
from lmsys_rs.errors import InvalidInputError
from lmsys_rs.layouts import extended_layout
from lmsys_rs.records import Event, Filters, OnEvent, ignore_events
from lmsys_rs.selection import first_queries
from lmsys_rs.session import Session
from lmsys_rs.store import naming, reading

__all__ = ["map_data", "write_map"]


def write_map(
    session: Session,
    run_id: str,
    path: str | Path,
    *,
    plot: bool = False,
    hierarchy: str | None = None,
    random_state: int = 0,
    on_event: OnEvent = ignore_events,
) -> Path:
    """Write the map of a run: one HTML file that works offline, or (``plot``) a PNG or SVG picture by suffix.

    Args:
        hierarchy: id of the hierarchy over the clusters to show; None or ``latest`` takes the run's newest, if there is
            one, ``none`` shows the clusters alone.

    Raises:
        InvalidInputError: there is no such run or hierarchy, or the hierarchy is of another run.
    """
    data = map_data(session, run_id, hierarchy=hierarchy, random_state=random_state, on_event=on_event)
    on_event(Event("started", "map", 0, 1, "file"))
    (maps.write_plot if plot else maps.write_html)(data, Path(path))
    on_event(Event("finished", "map", 1, 1, "file"))
    return Path(path)


def map_data(
    session: Session,
    run_id: str,
    *,
    hierarchy: str | None = None,
    random_state: int = 0,
    on_event: OnEvent = ignore_events,
) -> maps.MapData:
    """What the map shows of a run: one point per distinct text, with the metadata of its first query."""
    with session.store.reading() as connection:
        run = reading.get_run(connection, run_id)
        members = reading.members(connection, run.run_id)
        clusters = reading.clusters(connection, run.run_id)
    groups = _groups(session, run.run_id, hierarchy)
    text_ids = members["text_id"].to_numpy()
    # texts that `assign` added are placed among the others, which stay where earlier maps show them
    xy = extended_layout(
        session,
        session.embedding(run.embedder_id),
        text_ids,
        members["assigned"].to_numpy(),
        random_state=random_state,
        on_event=on_event,
    )
    sources = first_queries(session, text_ids, Filters.from_dict(run.filters).without_limit())
    return maps.MapData(
        title=f"{run.run_id}: {run.n_texts:,} texts in {run.n_clusters:,} clusters",
        xy=xy,
        cluster_ids=members["cluster_id"].to_numpy(),
        texts=sources["text"],
        clusters=[
            maps.MapCluster(cluster_id=c.cluster_id, title=c.title, description=c.description, size=c.size)
            for c in clusters
        ],
        groups=groups,
        models=sources["model"],
        languages=sources["language"],
        timestamps=None if sources["timestamp"].null_count() == sources.height else sources["timestamp"],
        weights=sources["n_queries"].to_numpy().astype("float32"),
        note=run.description or "",
    )


def _groups(session: Session, run_id: str, hierarchy: str | None) -> list[maps.MapGroup]:
    """The tops of the hierarchy that was asked for; an early error, before the layout is computed."""
    if hierarchy == "none":
        return []
    if hierarchy is None or hierarchy == "latest":
        with session.store.reading() as connection:
            newest = naming.hierarchies(connection, run_id)[:1]
        if not newest:
            return []
        hierarchy = newest[0].hierarchy_id
    record, tops = hierarchies.tree(session, hierarchy)
    if record.run_id != run_id:
        raise InvalidInputError(f"{record.hierarchy_id} is a hierarchy of {record.run_id}, not of {run_id}")
    return _map_groups(tops)


def _map_groups(nodes: Sequence[hierarchies.TreeNode]) -> list[maps.MapGroup]:
    return [
        maps.MapGroup(
            title=node.title,
            description=node.description,
            groups=_map_groups(node.children),
            cluster_ids=[child.node_id for child in node.children if child.level == 0],
        )
        for node in nodes
        if node.level > 0
    ]
