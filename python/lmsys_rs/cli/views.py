"""Rows that several commands show: the clusters of a run with size, share and an example."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lmsys_rs.cli import render
from lmsys_rs.records import NOISE, RunRecord
from lmsys_rs.session import Session
from lmsys_rs.store import naming, reading

__all__ = ["cluster_rows", "print_clusters"]


def cluster_rows(
    session: Session, run: RunRecord, *, n_examples: int = 1, summary: str | None = None
) -> list[dict[str, Any]]:
    """The clusters of a run, largest first (by queries), noise last; ``examples`` are its representatives' texts.

    Args:
        summary: id or alias of a naming to call them by; clusters that it does not name are called as they are.
    """
    with session.store.reading() as connection:
        clusters = naming.clusters_called(connection, run.run_id, summary)
        wanted = sorted({text_id for c in clusters for text_id in c.representatives[:n_examples]})
        texts = dict(zip(wanted, reading.texts_of(connection, np.array(wanted, dtype=np.uint32)), strict=True))
    clusters.sort(key=lambda c: (c.cluster_id == NOISE, -c.n_queries, c.cluster_id))
    return [
        {
            "run_id": run.run_id,
            "cluster_id": c.cluster_id,
            "title": c.title,
            "description": c.description,
            "num_queries": c.n_queries,
            "size": c.size,
            "share": round(c.n_queries / run.n_queries, 6) if run.n_queries else 0.0,
            "terms": [term for term, _ in c.terms],
            "examples": [texts[text_id] for text_id in c.representatives[:n_examples]],
        }
        for c in clusters
    ]


def print_clusters(rows: Sequence[dict[str, Any]], *, show: int = 0, example_width: int = 80) -> None:
    """The clusters as a table; ``show`` 0 shows all."""
    shown = rows[:show] if show else rows
    render.print_table(
        ("id", "title", "queries", "share", "example"),
        [
            (
                str(row["cluster_id"]),
                render.short(row["title"], 48),
                row["num_queries"],
                f"{row['share']:.1%}",
                render.short(" · ".join(row["examples"]), example_width),
            )
            for row in shown
        ],
        numbers=("id", "queries", "share"),
    )
    if len(shown) < len(rows):
        render.print_note(f"… and {len(rows) - len(shown)} more: lmsys list-clusters latest")
