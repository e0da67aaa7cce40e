"""How the work of a user of jxnl/lmsys-query-analysis comes along: its ``queries.db`` as data sets and finished runs.

Queries become conversations of one user turn; runs keep their ids, clusters and names; summaries, hierarchies, edits
and notes are kept beside them. A second import adds only what is new. The file itself is only read.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lmsys_rs.conditions import parse_time
from lmsys_rs.duplicates import refresh
from lmsys_rs.errors import InvalidInputError
from lmsys_rs.layouts import selection_hash
from lmsys_rs.loading import Tally, store_batches
from lmsys_rs.preparing import Recipe, prepare
from lmsys_rs.records import (
    CONVERSATION_SCHEMA,
    ClusterRecord,
    ConversationBatch,
    Event,
    OnEvent,
    RunRecord,
    ignore_events,
)
from lmsys_rs.session import Session
from lmsys_rs.store import importing, reading, writing
from lmsys_rs.store.batches import PreparedBatch
from lmsys_rs.store.importing import QueriesDatabase

__all__ = ["ImportReport", "import_queries_db"]

FORMAT = "queries.db"
UNCLUSTERED = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What was taken over now.

    Attributes:
        datasets: names of the data sets.
        n_conversations: queries of the old file that were not there yet.
        runs: runs that were taken over; ``skipped_runs`` were there already, or none of their queries has text.
        n_split_texts: texts whose equal queries lay in several clusters of one run. Here equal texts share a cluster:
            each went where most of its queries were.
        n_moved_queries: queries that lie in another cluster because of that.
    """

    path: str
    datasets: tuple[str, ...]
    n_conversations: int
    n_new_texts: int
    runs: tuple[str, ...]
    skipped_runs: tuple[str, ...]
    n_summaries: int
    n_hierarchies: int
    n_edits: int
    n_split_texts: int
    n_moved_queries: int


def import_queries_db(session: Session, path: str | Path, *, on_event: OnEvent = ignore_events) -> ImportReport:
    """Take over the queries, runs, assignments, summaries, hierarchies, edits and notes of a ``queries.db``.

    Raises:
        OSError, ReaderError: the file cannot be read, or is no such database.
        StoreError: the workspace is in use or cannot be written.
    """
    path = Path(path)
    with QueriesDatabase(path) as old, session.writer("import"):
        tally = Tally()
        names = _import_datasets(session, old, tally, on_event)
        tally.flush(session)
        refresh(session, on_event=on_event)
        texts = _text_of_query(session, old, names)
        taken: dict[str, _Assigned] = {}
        skipped = []
        for row in old.rows("clustering_runs"):
            assigned = _import_run(session, old, row, texts)
            if assigned is None:
                skipped.append(str(row["run_id"]))
            else:
                taken[str(row["run_id"])] = assigned
        said = [_import_said(session, old, run_id) for run_id in taken]
    return ImportReport(
        path=str(path),
        datasets=tuple(names.values()),
        n_conversations=tally.n_new,
        n_new_texts=tally.n_new_texts,
        runs=tuple(taken),
        skipped_runs=tuple(skipped),
        n_summaries=sum(n[0] for n in said),
        n_hierarchies=sum(n[1] for n in said),
        n_edits=sum(n[2] for n in said),
        n_split_texts=sum(assigned.n_split_texts for assigned in taken.values()),
        n_moved_queries=sum(assigned.n_moved_queries for assigned in taken.values()),
    )


@dataclass(frozen=True)
class _Assigned:
    """Where the texts of a run lie."""

    text_ids: Any
    labels: Any
    weights: Any
    n_split_texts: int
    n_moved_queries: int


def _import_datasets(session: Session, old: QueriesDatabase, tally: Tally, on_event: OnEvent) -> dict[Any, str]:
    """Store the queries of every data set; returns its old id to its name."""
    listed = {row["id"]: row for row in old.rows("datasets")}
    used = {row["dataset_id"] for page in old.pages("queries") for row in page}
    total = old.count("queries")
    on_event(Event("started", "load", 0, total, "queries"))
    names: dict[Any, str] = {}
    done = 0
    for old_id in sorted(used, key=str):
        row = listed.get(old_id, {})
        names[old_id] = str(row.get("name") or old.path.stem)
        with session.store.writing() as connection:
            source = writing.begin_source(
                connection,
                names[old_id],
                description=row.get("description"),
                unit="first",
                path=str(old.path.resolve()),
                format=FORMAT,
                column_mapping=_json(row.get("column_mapping"), {}),
                filters={},
                redacted=False,
                # queries are only added to such a file: their number tells one state from another
                fingerprint=_fingerprint(old, old_id),
                restart=False,
            )
        batches = _batches(old, old_id, start=source.position, done=done)
        store_batches(session, source, batches, tally, total=total, unit="queries", on_event=on_event)
        done += sum(len(page) for page in old.pages("queries", dataset_id=old_id))
    on_event(Event("finished", "load", total, total, "queries"))
    return names


def _fingerprint(old: QueriesDatabase, dataset_id: Any) -> str:
    last = [page[-1]["_row"] for page in old.pages("queries", dataset_id=dataset_id)]
    told = json.dumps([FORMAT, str(old.path.resolve()), dataset_id, len(last), last[-1] if last else 0])
    return hashlib.sha256(told.encode()).hexdigest()


def _batches(old: QueriesDatabase, dataset_id: Any, *, start: int, done: int) -> Iterator[tuple[PreparedBatch, bool]]:
    recipe = Recipe(unit="first")
    for page in old.pages("queries", after=start, dataset_id=dataset_id):
        rows = [
            {
                "conversation_id": str(row["conversation_id"]),
                "model": row["model"],
                "language": row["language"],
                "timestamp": _time(row["timestamp"]),
                "turns": [{"role": "user", "content": str(row["query_text"] or "")}],
                "extra": json.dumps(
                    {"queries_db_id": row["id"], **_json(row["extra_metadata"], {})}, ensure_ascii=False
                ),
                "line": row["_row"],
            }
            for row in page
        ]
        frame = pl.DataFrame(rows, schema=CONVERSATION_SCHEMA)
        done += len(page)
        batch = ConversationBatch(recipe.with_keys(frame), (), int(page[-1]["_row"]), done)
        yield prepare(batch, recipe, n_read=len(page)), False


def _text_of_query(session: Session, old: QueriesDatabase, names: dict[Any, str]) -> dict[Any, int]:
    """Text of each old query that has one, by the old query's id."""
    found: dict[Any, int] = {}
    with session.store.reading() as connection:
        ids = {record.name: record.id for record in reading.datasets(connection)}
    for old_id, name in names.items():
        with session.store.reading() as connection:
            by_source = dict(importing.text_ids_by_source(connection, ids[name]))
        for page in old.pages("queries", dataset_id=old_id):
            for row in page:
                text_id = by_source.get(str(row["conversation_id"]))
                if text_id is not None:
                    found[row["id"]] = text_id
    return found


def _import_run(session: Session, old: QueriesDatabase, row: dict[str, Any], texts: dict[Any, int]) -> _Assigned | None:
    """Store a run with its members and names; None if it is there, or has no queries."""
    run_id = str(row["run_id"])
    with session.store.reading() as connection:
        if importing.has_run(connection, run_id):
            return None
    pairs = [
        (texts[entry["query_id"]], int(entry["cluster_id"]))
        for page in old.pages("query_clusters", run_id=run_id)
        for entry in page
        if entry["query_id"] in texts and entry["cluster_id"] is not None
    ]
    if not pairs:
        return None
    assigned = _assigned(pairs)
    names = _latest_names(old, run_id)
    found, sizes = np.unique(assigned.labels, return_counts=True)
    clusters = [
        ClusterRecord(
            run_id=run_id,
            cluster_id=int(label),
            size=int(size),
            n_queries=int(assigned.weights[assigned.labels == label].sum()),
            title=names.get(int(label), ("Unclustered" if label < 0 else f"Cluster {label}", ""))[0],
            description=names.get(int(label), ("", ""))[1],
            title_source="llm" if int(label) in names else "none",
        )
        for label, size in zip(found, sizes, strict=True)
    ]
    record = RunRecord(
        run_id=run_id,
        algorithm=str(row["algorithm"] or "unknown"),
        parameters={**_json(row["parameters"], {}), "imported_from": FORMAT},
        description=row["description"],
        embedder_id=None,
        selection_hash=selection_hash(assigned.text_ids),
        filters={},
        n_clusters=int(assigned.labels.max(initial=-1)) + 1,
        n_texts=len(assigned.text_ids),
        n_queries=int(assigned.weights.sum()),
        n_noise=int((assigned.labels == UNCLUSTERED).sum()),
        seed=None,
        labeled=bool(names),
        program_version=FORMAT,
        created_at=_iso(row["created_at"]),
        seconds=0.0,
    )
    with session.store.writing() as connection:
        writing.add_run(
            connection, record, clusters, text_ids=assigned.text_ids, labels=assigned.labels, probabilities=None
        )
    return assigned


def _assigned(pairs: list[tuple[int, int]]) -> _Assigned:
    """One cluster per text: the one with most of its queries, of equal ones the smaller."""
    votes = (
        pl.DataFrame(pairs, schema={"text_id": pl.UInt32, "label": pl.Int32}, orient="row")
        .group_by("text_id", "label")
        .len()
        .sort("text_id", "len", "label", descending=[False, True, False])
    )
    chosen = votes.group_by("text_id", maintain_order=True).agg(
        pl.col("label").first(),
        pl.col("len").sum().alias("weight"),
        pl.col("len").first().alias("kept"),
        pl.len().alias("n"),
    )
    return _Assigned(
        text_ids=chosen["text_id"].to_numpy(),
        labels=chosen["label"].to_numpy(),
        weights=chosen["weight"].cast(pl.Float32).to_numpy(),
        n_split_texts=int((chosen["n"] > 1).sum()),
        n_moved_queries=int((chosen["weight"] - chosen["kept"]).sum()),
    )


def _latest_names(old: QueriesDatabase, run_id: str) -> dict[int, tuple[str, str]]:
    """Title and description of each cluster in the newest naming: by time, not by the name of its model."""
    rows = old.rows("cluster_summaries", run_id=run_id)
    if not rows:
        return {}
    newest = max(rows, key=lambda row: (str(row["generated_at"] or ""), row["_row"]))["summary_run_id"]
    return {
        int(row["cluster_id"]): (str(row["title"] or f"Cluster {row['cluster_id']}"), _said(row))
        for row in rows
        if row["summary_run_id"] == newest
    }


def _import_said(session: Session, old: QueriesDatabase, run_id: str) -> tuple[int, int, int]:
    """Store summaries, hierarchies, edits and notes of a run; returns how many of the first three."""
    by_summary: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in old.rows("cluster_summaries", run_id=run_id):
        by_summary[str(row["summary_run_id"] or f"summary-{run_id}")].append(row)
    by_hierarchy: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in old.rows("cluster_hierarchies", run_id=run_id):
        by_hierarchy[str(row["hierarchy_run_id"])].append(row)
    edits = [_edit(row) for row in old.rows("cluster_edits", run_id=run_id)]
    edits += [
        {
            **{"run_id": run_id, "cluster_id": row["original_cluster_id"], "kind": "orphan", "editor": None},
            **{"old": json.dumps({"query_id": row["query_id"]}), "new": "{}", "reason": row["reason"]},
            **{"created_at": _iso(row["orphaned_at"]), "state": "kept"},
        }
        for row in old.rows("orphaned_queries", run_id=run_id)
    ]
    notes = [
        {
            **{"run_id": run_id, "cluster_id": int(row["cluster_id"]), "coherence": row["coherence_score"]},
            **{"quality": row["quality"], "flags": json.dumps(_json(row["flags"], [])), "notes": row["notes"]},
            "updated_at": _iso(row["last_edited"]),
        }
        for row in old.rows("cluster_metadata", run_id=run_id)
    ]
    with session.store.writing() as connection:
        for summary_run_id, rows in by_summary.items():
            first = rows[0]
            values = {
                **{
                    "summary_run_id": summary_run_id,
                    "run_id": run_id,
                    "alias": first["alias"],
                    "model": first["model"],
                },
                **{"parameters": json.dumps(_json(first["parameters"], {}), sort_keys=True)},
                "created_at": max(_iso(row["generated_at"]) for row in rows),
            }
            importing.add_summary_run(connection, values, [_summary(summary_run_id, row) for row in rows])
        for hierarchy_id, rows in by_hierarchy.items():
            created = min(_iso(row["created_at"]) for row in rows)
            values = {"hierarchy_id": hierarchy_id, "run_id": run_id, "parameters": "{}", "created_at": created}
            importing.add_hierarchy(connection, values, [_node(hierarchy_id, row) for row in rows])
        importing.add_edits(connection, edits)
        importing.add_notes(connection, notes)
    return len(by_summary), len(by_hierarchy), len(edits)


def _summary(summary_run_id: str, row: dict[str, Any]) -> dict[str, Any]:
    return {
        **{"summary_run_id": summary_run_id, "cluster_id": int(row["cluster_id"]), "title": str(row["title"] or "")},
        **{"description": _said(row), "n_queries": row["num_queries"]},
        "representatives": json.dumps(_json(row["representative_queries"], []), ensure_ascii=False),
    }


def _node(hierarchy_id: str, row: dict[str, Any]) -> dict[str, Any]:
    return {
        **{"hierarchy_id": hierarchy_id, "node_id": int(row["cluster_id"]), "level": int(row["level"] or 0)},
        **{"parent_id": row["parent_cluster_id"], "title": str(row["title"] or "")},
        "description": str(row["description"] or ""),
    }


def _edit(row: dict[str, Any]) -> dict[str, Any]:
    return {
        **{"run_id": row["run_id"], "cluster_id": row["cluster_id"], "kind": str(row["edit_type"] or "unknown")},
        **{"editor": row["editor"], "reason": row["reason"], "created_at": _iso(row["timestamp"]), "state": "kept"},
        "old": json.dumps(_json(row["old_value"], {}), ensure_ascii=False),
        "new": json.dumps(_json(row["new_value"], {}), ensure_ascii=False),
    }


def _said(row: dict[str, Any]) -> str:
    return str(row["description"] or row["summary"] or "")


def _json(value: Any, otherwise: Any) -> Any:
    """A JSON column; what is no JSON of the wanted kind is kept under ``value``, so that nothing is lost."""
    if value is None:
        return otherwise
    try:
        found = json.loads(value) if isinstance(value, (str, bytes)) else value
    except ValueError:
        found = value
    return (
        found
        if isinstance(found, type(otherwise))
        else (type(otherwise)([found]) if otherwise == [] else {"value": found})
    )


def _time(value: Any) -> Any:
    try:
        return parse_time(str(value), "timestamp") if value else None
    except InvalidInputError:
        return None


def _iso(value: Any) -> str:
    time = _time(value)
    return time.strftime("%Y-%m-%dT%H:%M:%SZ") if time else writing.now()
