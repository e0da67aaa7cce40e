"""What people changed about the clusters of a run: written with all it takes to undo it, and read back.

Every function takes a connection of `Store.reading` or, to change something, `Store.writing`. What an edit means is
decided in `curation`.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from lmsys_rs.knowledge import ClusterNote, EditRecord, Move, RuleRecord
from lmsys_rs.records import NOISE, ClusterRecord
from lmsys_rs.store import schema
from lmsys_rs.store.batches import insert_rows
from lmsys_rs.store.writing import insert_clusters, now

__all__ = [
    "add_edit",
    "add_rule",
    "edits",
    "move_members",
    "moves_of",
    "notes",
    "orphaned_texts",
    "put_cluster",
    "put_note",
    "remove_rule",
    "rules",
    "set_edit_state",
    "set_run_counts",
]

# A text that a person moved remembers where the algorithm put it, until it is back there.
MOVE_MEMBER = (
    "UPDATE membership SET original_id = CASE WHEN ? = coalesce(original_id, cluster_id) THEN NULL"
    " ELSE coalesce(original_id, cluster_id) END, cluster_id = ? WHERE run_id = ? AND text_id = ?"
)


def move_members(connection: Connection, run_id: str, moves: Sequence[Move]) -> None:
    """Put texts of a run into other clusters."""
    for move in moves:
        insert_rows(
            connection,
            MOVE_MEMBER,
            [(move.to_id, move.to_id, run_id, int(text_id)) for text_id in move.text_ids.tolist()],
        )


def put_cluster(connection: Connection, run_id: str, cluster_id: int, record: ClusterRecord | None) -> None:
    """Let a cluster be exactly this; None lets it not exist."""
    c = schema.cluster
    connection.execute(delete(c).where(c.c.run_id == run_id, c.c.cluster_id == cluster_id))
    if record is not None:
        insert_clusters(connection, [record])


def set_run_counts(connection: Connection, run_id: str) -> None:
    """Count clusters and texts in none anew; ids that were given are not given again."""
    r, c, m = schema.run, schema.cluster.c, schema.membership.c
    of_run = (c.run_id == run_id, c.cluster_id != NOISE)
    n_clusters = connection.execute(select(func.count()).where(*of_run)).scalar_one()
    highest = connection.execute(select(func.coalesce(func.max(c.cluster_id), -1)).where(*of_run)).scalar_one()
    n_noise = connection.execute(
        select(func.count()).select_from(schema.membership).where(m.run_id == run_id, m.cluster_id == NOISE)
    ).scalar_one()
    connection.execute(
        update(r)
        .where(r.c.run_id == run_id)
        .values(
            n_clusters=n_clusters,
            n_noise=n_noise,
            next_cluster_id=func.max(r.c.next_cluster_id, int(highest) + 1),
        )
    )


def add_edit(
    connection: Connection,
    *,
    run_id: str,
    cluster_id: int | None,
    kind: str,
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    moves: Sequence[Move],
    editor: str | None,
    reason: str | None,
) -> int:
    """Write an edit down, and what it moved; edits of the run that were undone can't be done again after it."""
    e = schema.edit
    connection.execute(update(e).where(e.c.run_id == run_id, e.c.state == "undone").values(state="dropped"))
    values = {"run_id": run_id, "cluster_id": cluster_id, "kind": kind, "editor": editor, "reason": reason}
    statement = insert(e).values(
        **values,
        old=json.dumps(old, ensure_ascii=False),
        new=json.dumps(new, ensure_ascii=False),
        created_at=now(),
        state="done",
    )
    edit_id = int(connection.execute(statement.returning(e.c.id)).scalar_one())
    rows = [
        {
            "edit_id": edit_id,
            "from_id": move.from_id,
            "to_id": move.to_id,
            "n_texts": len(move.text_ids),
            "text_ids": _packed(move.text_ids),
        }
        for move in moves
    ]
    if rows:
        connection.execute(insert(schema.edit_move), rows)
    return edit_id


def set_edit_state(connection: Connection, edit_id: int, state: str) -> None:
    """Mark an edit as done or undone."""
    connection.execute(update(schema.edit).where(schema.edit.c.id == edit_id).values(state=state))


def edits(connection: Connection, run_id: str | None = None) -> list[EditRecord]:
    """Every edit (of one run), oldest first, without the texts it moved."""
    e = schema.edit
    statement = select(e).order_by(e.c.id)
    if run_id is not None:
        statement = statement.where(e.c.run_id == run_id)
    return [
        EditRecord(**{**row._mapping, "old": json.loads(row.old), "new": json.loads(row.new)})
        for row in connection.execute(statement)
    ]


def moves_of(connection: Connection, edit_id: int) -> tuple[Move, ...]:
    """What an edit moved."""
    m = schema.edit_move
    rows = connection.execute(select(m).where(m.c.edit_id == edit_id).order_by(m.c.from_id, m.c.to_id))
    return tuple(Move(row.from_id, row.to_id, _unpacked(row.text_ids)) for row in rows)


def orphaned_texts(connection: Connection, run_id: str) -> npt.NDArray[np.uint32]:
    """Texts of a run that a person left in no cluster, ascending."""
    m = schema.membership.c
    statement = select(m.text_id).where(m.run_id == run_id, m.cluster_id == NOISE, m.original_id.is_not(None))
    return np.array(connection.execute(statement.order_by(m.text_id)).scalars().all(), dtype=np.uint32)


def notes(connection: Connection, run_id: str) -> dict[int, ClusterNote]:
    """What people noted about the clusters of a run, by cluster."""
    n = schema.cluster_note
    rows = connection.execute(select(n).where(n.c.run_id == run_id).order_by(n.c.cluster_id))
    return {
        row.cluster_id: ClusterNote(
            run_id=row.run_id,
            cluster_id=row.cluster_id,
            coherence=row.coherence,
            quality=row.quality,
            flags=tuple(json.loads(row.flags)),
            notes=row.notes,
        )
        for row in rows
    }


def put_note(connection: Connection, run_id: str, cluster_id: int, note: ClusterNote | None) -> None:
    """Let the note about a cluster be this; None removes it."""
    n = schema.cluster_note
    connection.execute(delete(n).where(n.c.run_id == run_id, n.c.cluster_id == cluster_id))
    if note is None:
        return
    values = {"coherence": note.coherence, "quality": note.quality, "notes": note.notes}
    flags = json.dumps(list(note.flags), ensure_ascii=False)
    statement = upsert(n).values(run_id=run_id, cluster_id=cluster_id, flags=flags, updated_at=now(), **values)
    connection.execute(statement)


def rules(connection: Connection) -> list[RuleRecord]:
    """Every rule, oldest first."""
    r = schema.rule
    return [RuleRecord(**row._mapping) for row in connection.execute(select(r).order_by(r.c.id))]


def add_rule(
    connection: Connection,
    *,
    condition: str,
    title: str,
    run_id: str | None,
    cluster_id: int | None,
    editor: str | None,
    reason: str | None,
) -> RuleRecord:
    """Store a rule, enabled."""
    r = schema.rule
    values = {"condition": condition, "title": title, "run_id": run_id, "cluster_id": cluster_id}
    statement = insert(r).values(**values, editor=editor, reason=reason, created_at=now(), enabled=True)
    row = connection.execute(statement.returning(r)).one()
    return RuleRecord(**row._mapping)


def remove_rule(connection: Connection, rule_id: int) -> bool:
    """Remove a rule; False if there is none of this number."""
    r = schema.rule
    return connection.execute(delete(r).where(r.c.id == rule_id)).rowcount > 0


def _packed(text_ids: npt.NDArray[np.uint32]) -> bytes:
    """Ascending ids as differences, compressed: a byte or two for each."""
    differences = np.diff(text_ids.astype(np.int64), prepend=0).astype("<u4")
    return zlib.compress(differences.tobytes(), 6)


def _unpacked(content: bytes) -> npt.NDArray[np.uint32]:
    return np.cumsum(np.frombuffer(zlib.decompress(content), dtype="<u4"), dtype=np.uint32)
