"""How people change the clusters of a run: move, rename, merge, split, delete, note; each a transaction with undo.

An edit is worked out first and shown as a preview; only then it is written, whole or not at all. Counts, typical texts
and offline descriptions follow what moved. A query moves with its text: equal texts are always in one cluster.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lmsys_rs.errors import InvalidInputError
from lmsys_rs.knowledge import ClusterNote, EditRecord, Move
from lmsys_rs.records import NOISE, ClusterRecord, Filters, RunRecord, to_json
from lmsys_rs.renaming import redescribed
from lmsys_rs.selection import select
from lmsys_rs.session import Session
from lmsys_rs.store import editing, reading

__all__ = [
    "QUALITIES",
    "ClusterChange",
    "EditResult",
    "delete_cluster",
    "flag_cluster",
    "history",
    "merge_clusters",
    "move_queries",
    "move_texts",
    "orphaned",
    "redo",
    "rename_cluster",
    "split_cluster",
    "tag_cluster",
    "undo",
]

QUALITIES = ("high", "medium", "low")
MAX_TITLE_CHARS = 200
MAX_COHERENCE = 5
# Typical texts and terms are chosen anew where at least this share of a cluster's texts came or went.
SHARE_CHOSEN_ANEW = 0.02
COUNTED = ("size", "n_queries")  # what is counted when an edit is undone, not taken from before

TextIds = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterChange:
    """A cluster before and after an edit; a title of None: it does not exist then."""

    cluster_id: int
    title_before: str | None
    title: str | None
    n_queries_before: int
    n_queries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EditResult:
    """What an edit did, or, with ``edit_id`` None, would do.

    Attributes:
        n_texts, n_queries: distinct texts that moved, and how often they are asked.
        clusters: those that changed, by id.
        notes: notes about clusters that changed, as they are afterwards.
    """

    edit_id: int | None
    run_id: str
    kind: str
    n_texts: int
    n_queries: int
    clusters: tuple[ClusterChange, ...]
    notes: tuple[ClusterNote, ...] = ()


@dataclass(frozen=True)
class _State:
    """A run as it is before an edit."""

    run: RunRecord
    clusters: dict[int, ClusterRecord]
    notes: dict[int, ClusterNote]
    text_ids: TextIds  # every text of the run, ascending
    weights: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int32]

    def cluster(self, cluster_id: int) -> ClusterRecord:
        """A cluster that people may name; noise is none."""
        if cluster_id == NOISE or cluster_id not in self.clusters:
            known = sorted(i for i in self.clusters if i != NOISE)
            raise InvalidInputError(
                f"{self.run.run_id} has no cluster {cluster_id}: it has {len(known):,}, {_range(known)}",
                hint=f"lmsys list-clusters {self.run.run_id}",
            )
        return self.clusters[cluster_id]

    def members(self, cluster_id: int) -> TextIds:
        theirs: TextIds = self.text_ids[self.labels == cluster_id]
        return theirs


def move_queries(
    session: Session,
    run_id: str,
    query_ids: Sequence[int],
    to_cluster: int,
    *,
    reason: str | None = None,
    editor: str | None = None,
    dry_run: bool = False,
) -> EditResult:
    """Put queries into another cluster; every query with the same text goes with them.

    Raises:
        InvalidInputError: no such run, cluster or query, or all of them are there already.
    """
    with _lock(session, dry_run):
        state = _state(session, run_id)
        state.cluster(to_cluster)
        moves = _moves(state, _texts_of(session, state, query_ids), to_cluster)
        if not moves:
            raise InvalidInputError(f"these queries are in cluster {to_cluster} already")
        return _edit(session, state, "move_query", to_cluster, moves, reason=reason, editor=editor, dry_run=dry_run)


def move_texts(
    session: Session,
    run_id: str,
    text_ids: TextIds,
    to_cluster: int | None,
    *,
    title: str,
    kind: str = "rule",
    reason: str | None = None,
    editor: str | None = None,
    dry_run: bool = False,
) -> EditResult | None:
    """Put texts into a cluster, a new one with ``to_cluster`` None, and let it be called ``title``.

    Returns None where there is nothing to change. Rules are applied with it.
    """
    with _lock(session, dry_run):
        state = _state(session, run_id)
        target = state.run.next_cluster_id if to_cluster is None else state.cluster(to_cluster).cluster_id
        moves = _moves(state, np.intersect1d(text_ids, state.text_ids), target)
        named = {} if to_cluster is not None and state.clusters[target].title == title else {target: (title, None)}
        if not moves and (to_cluster is None or not named):
            return None
        return _edit(session, state, kind, target, moves, named=named, reason=reason, editor=editor, dry_run=dry_run)


def rename_cluster(
    session: Session,
    run_id: str,
    cluster_id: int,
    title: str | None = None,
    description: str | None = None,
    *,
    reason: str | None = None,
    editor: str | None = None,
    dry_run: bool = False,
) -> EditResult:
    """Give a cluster a title, a description, or both; no later naming takes them away.

    Raises:
        InvalidInputError: no such cluster, neither given, or another cluster has that title.
    """
    if title is None and description is None:
        raise InvalidInputError("rename needs a title or a description", hint="--title TEXT, --description TEXT")
    with _lock(session, dry_run):
        state = _state(session, run_id)
        record = state.cluster(cluster_id)
        named = {cluster_id: (record.title if title is None else title, description)}
        return _edit(
            session, state, "rename", cluster_id, (), named=named, reason=reason, editor=editor, dry_run=dry_run
        )


def merge_clusters(
    session: Session,
    run_id: str,
    sources: Sequence[int],
    target: int,
    *,
    title: str | None = None,
    description: str | None = None,
    reason: str | None = None,
    editor: str | None = None,
    dry_run: bool = False,
) -> EditResult:
    """Put every text of the ``sources`` into ``target``; the sources exist no more.

    Raises:
        InvalidInputError: no such cluster, or nothing to merge.
    """
    with _lock(session, dry_run):
        state = _state(session, run_id)
        state.cluster(target)
        others = [state.cluster(i).cluster_id for i in dict.fromkeys(sources) if i != target]
        if not others:
            raise InvalidInputError(f"merge needs a source that is not the target {target}")
        moves = tuple(Move(i, target, state.members(i)) for i in sorted(others))
        named = (
            {}
            if title is None and description is None
            else {target: (title or state.clusters[target].title, description)}
        )
        return _edit(session, state, "merge", target, moves, named=named, reason=reason, editor=editor, dry_run=dry_run)


def split_cluster(
    session: Session,
    run_id: str,
    cluster_id: int,
    query_ids: Sequence[int],
    *,
    title: str | None = None,
    description: str | None = None,
    reason: str | None = None,
    editor: str | None = None,
    dry_run: bool = False,
) -> EditResult:
    """Take queries out of a cluster into a new one, which gets the next free id.

    Raises:
        InvalidInputError: no such cluster or query, a query of another cluster, or no text would be left.
    """
    with _lock(session, dry_run):
        state = _state(session, run_id)
        state.cluster(cluster_id)
        text_ids = _texts_of(session, state, query_ids)
        here = state.members(cluster_id)
        strangers = np.setdiff1d(text_ids, here)
        if len(strangers):
            raise InvalidInputError(
                f"{len(strangers):,} of the queries are not in cluster {cluster_id}",
                hint="split takes queries of one cluster",
            )
        if len(text_ids) == len(here):
            raise InvalidInputError(f"every text of cluster {cluster_id} would go: nothing to split", hint="rename it")
        new_id = state.run.next_cluster_id
        moves = (Move(cluster_id, new_id, text_ids),)
        named = {} if title is None and description is None else {new_id: (title, description)}
        return _edit(
            session, state, "split", cluster_id, moves, named=named, reason=reason, editor=editor, dry_run=dry_run
        )


def delete_cluster(
    session: Session,
    run_id: str,
    cluster_id: int,
    *,
    move_to: int | None = None,
    reason: str | None = None,
    editor: str | None = None,
    dry_run: bool = False,
) -> EditResult:
    """Let a cluster not exist; its texts go to ``move_to``, or into no cluster (``lmsys edit orphaned`` lists them).

    Raises:
        InvalidInputError: no such cluster, or it should move to itself.
    """
    with _lock(session, dry_run):
        state = _state(session, run_id)
        state.cluster(cluster_id)
        target = NOISE if move_to is None else state.cluster(move_to).cluster_id
        if target == cluster_id:
            raise InvalidInputError(f"cluster {cluster_id} cannot be moved to itself")
        moves = (Move(cluster_id, target, state.members(cluster_id)),)
        return _edit(session, state, "delete", cluster_id, moves, reason=reason, editor=editor, dry_run=dry_run)


def tag_cluster(
    session: Session,
    run_id: str,
    cluster_id: int,
    *,
    coherence: int | None = None,
    quality: str | None = None,
    notes: str | None = None,
    reason: str | None = None,
    editor: str | None = None,
    dry_run: bool = False,
) -> EditResult:
    """Note how coherent (1 to 5) and how good (high, medium, low) a cluster is; what is not given stays.

    Raises:
        InvalidInputError: no such cluster, nothing given, or a value out of range.
    """
    if coherence is None and quality is None and notes is None:
        raise InvalidInputError("tag needs one of coherence, quality and notes")
    if coherence is not None and not 1 <= coherence <= MAX_COHERENCE:
        raise InvalidInputError(f"coherence must be 1 to {MAX_COHERENCE}: {coherence}")
    if quality is not None and quality not in QUALITIES:
        raise InvalidInputError(f"quality must be one of {', '.join(QUALITIES)}: {quality!r}")
    with _lock(session, dry_run):
        state = _state(session, run_id)
        state.cluster(cluster_id)
        before = state.notes.get(cluster_id, ClusterNote(run_id=state.run.run_id, cluster_id=cluster_id))
        note = replace(
            before,
            coherence=before.coherence if coherence is None else coherence,
            quality=before.quality if quality is None else quality,
            notes=before.notes if notes is None else notes,
        )
        return _note(session, state, "tag", note, reason, editor, dry_run)


def flag_cluster(
    session: Session,
    run_id: str,
    cluster_id: int,
    flag: str,
    *,
    remove: bool = False,
    reason: str | None = None,
    editor: str | None = None,
    dry_run: bool = False,
) -> EditResult:
    """Put a flag (any short word) on a cluster, or take it off.

    Raises:
        InvalidInputError: no such cluster, an empty flag, or nothing would change.
    """
    flag = flag.strip()
    if not flag:
        raise InvalidInputError("a flag needs a word")
    with _lock(session, dry_run):
        state = _state(session, run_id)
        state.cluster(cluster_id)
        before = state.notes.get(cluster_id, ClusterNote(run_id=state.run.run_id, cluster_id=cluster_id))
        if (flag in before.flags) != remove:
            raise InvalidInputError(f"cluster {cluster_id} has {'no' if remove else 'the'} flag {flag!r} already")
        flags = tuple(f for f in before.flags if f != flag) if remove else (*before.flags, flag)
        return _note(session, state, "flag", replace(before, flags=flags), reason, editor, dry_run)


def undo(session: Session, run_id: str = "latest", *, dry_run: bool = False) -> EditResult:
    """Take the newest edit of a run back.

    What came after it stays: texts that were assigned since, titles of a later naming.

    Raises:
        InvalidInputError: there is nothing to undo.
    """
    return _replay(session, run_id, "done", dry_run)


def redo(session: Session, run_id: str = "latest", *, dry_run: bool = False) -> EditResult:
    """Do again what `undo` took back last; a new edit ends that.

    Raises:
        InvalidInputError: there is nothing to redo.
    """
    return _replay(session, run_id, "undone", dry_run)


def history(session: Session, run_id: str, cluster_id: int | None = None) -> list[EditRecord]:
    """The edits of a run, oldest first; of one cluster those that it was changed by."""
    with session.store.reading() as connection:
        found = editing.edits(connection, reading.get_run(connection, run_id).run_id)
    if cluster_id is None:
        return found
    return [
        edit
        for edit in found
        if cluster_id == edit.cluster_id
        or any(str(cluster_id) in side.get(part, {}) for side in (edit.old, edit.new) for part in ("clusters", "notes"))
    ]


def orphaned(session: Session, run_id: str) -> TextIds:
    """Texts of a run that an edit left in no cluster, ascending."""
    with session.store.reading() as connection:
        run = reading.get_run(connection, run_id)
        return editing.orphaned_texts(connection, run.run_id)


@contextmanager
def _lock(session: Session, dry_run: bool) -> Iterator[None]:
    """The right to write; a preview needs none, so it works while others write, and on a read-only disk."""
    if dry_run:
        yield
        return
    with session.writer("edit"):
        yield


def _state(session: Session, run_id: str) -> _State:
    with session.store.reading() as connection:
        run = reading.get_run(connection, run_id)
        clusters = {record.cluster_id: record for record in reading.clusters(connection, run.run_id)}
        notes = editing.notes(connection, run.run_id)
        members = reading.members(connection, run.run_id)
    text_ids = members["text_id"].to_numpy()
    weights = select(session, Filters.from_dict(run.filters).without_limit()).weights_of(text_ids, missing=0)
    return _State(run, clusters, notes, text_ids, weights, members["cluster_id"].to_numpy())


def _texts_of(session: Session, state: _State, query_ids: Sequence[int]) -> TextIds:
    """The texts of queries, all of which must be in the run."""
    if not query_ids:
        raise InvalidInputError("no query is named", hint="--query-ids 12,57; lmsys list shows their numbers")
    with session.store.reading() as connection:
        found = reading.queries_by_id(connection, np.array(sorted(set(query_ids)), dtype=np.int64))
    missing = sorted(set(query_ids) - set(found["query_id"].to_list()))
    text_ids = np.unique(found["text_id"].to_numpy())
    outside = found.filter(~found["text_id"].is_in(state.text_ids.tolist()))["query_id"].to_list()
    if missing or outside:
        raise InvalidInputError(f"{state.run.run_id} has no query {(missing or outside)[0]}")
    return text_ids


def _moves(state: _State, text_ids: TextIds, target: int) -> tuple[Move, ...]:
    """What must move so that these texts are in ``target``."""
    labels = state.labels[np.searchsorted(state.text_ids, text_ids)]
    return tuple(
        Move(int(source), target, np.sort(text_ids[labels == source]))
        for source in np.unique(labels)
        if source != target
    )


def _edit(
    session: Session,
    state: _State,
    kind: str,
    cluster_id: int,
    moves: tuple[Move, ...],
    *,
    named: Mapping[int, tuple[str | None, str | None]] | None = None,
    reason: str | None,
    editor: str | None,
    dry_run: bool,
) -> EditResult:
    """Work an edit out and, unless ``dry_run``, write it."""
    named = named or {}
    labels = _moved(state, moves)
    changed = sorted({i for move in moves for i in (move.from_id, move.to_id)} | set(named))
    after: dict[int, ClusterRecord | None] = {}
    for i, counted in _counted(state, changed, labels).items():
        after[i] = counted if counted.size else None
    anew = [i for i in changed if i != NOISE and after[i] is not None and _is_new_enough(state, i, moves)]
    described = redescribed(
        session,
        state.run,
        [record for i in changed if i != NOISE and (record := after[i]) is not None],
        text_ids=state.text_ids,
        labels=labels,
        weights=state.weights,
        anew=anew,
        taken=[c.title for i, c in state.clusters.items() if i not in changed],
    )
    after |= {record.cluster_id: record for record in described}
    for i, (title, description) in named.items():
        after[i] = _named(state, after[i], title, description, gone={j for j in changed if after[j] is None})
    old = {"clusters": {str(i): to_json(state.clusters.get(i)) for i in changed}}
    new = {"clusters": {str(i): to_json(after[i]) for i in changed}}
    edit_id = None
    if not dry_run:
        with session.store.writing() as connection:
            editing.move_members(connection, state.run.run_id, moves)
            for i in changed:
                editing.put_cluster(connection, state.run.run_id, i, after[i])
            editing.set_run_counts(connection, state.run.run_id)
            edit_id = editing.add_edit(
                connection,
                run_id=state.run.run_id,
                cluster_id=cluster_id,
                kind=kind,
                old=old,
                new=new,
                moves=moves,
                editor=editor,
                reason=reason,
            )
    return _result(state, edit_id, kind, moves, after)


def _note(
    session: Session, state: _State, kind: str, note: ClusterNote, reason: str | None, editor: str | None, dry_run: bool
) -> EditResult:
    key, before = str(note.cluster_id), state.notes.get(note.cluster_id)
    edit_id = None
    if not dry_run:
        with session.store.writing() as connection:
            editing.put_note(connection, state.run.run_id, note.cluster_id, note)
            edit_id = editing.add_edit(
                connection,
                run_id=state.run.run_id,
                cluster_id=note.cluster_id,
                kind=kind,
                old={"notes": {key: to_json(before)}},
                new={"notes": {key: to_json(note)}},
                moves=(),
                editor=editor,
                reason=reason,
            )
    empty = EditResult(edit_id=edit_id, run_id=state.run.run_id, kind=kind, n_texts=0, n_queries=0, clusters=())
    return replace(empty, notes=(note,))


def _replay(session: Session, run_id: str, wanted: str, dry_run: bool) -> EditResult:
    """Undo the newest edit that is done, or redo the oldest that was undone."""
    undoing = wanted == "done"
    with _lock(session, dry_run):
        state = _state(session, run_id)
        with session.store.reading() as connection:
            edits = [edit for edit in editing.edits(connection, state.run.run_id) if edit.state == wanted]
            if not edits:
                raise InvalidInputError(
                    f"{state.run.run_id} has nothing to {'undo' if undoing else 'redo'}",
                    hint=f"lmsys edit audit {state.run.run_id} lists what was changed",
                )
            edit = edits[-1] if undoing else edits[0]
            moves = editing.moves_of(connection, edit.id)
        before, after = (edit.new, edit.old) if undoing else (edit.old, edit.new)
        if undoing:
            moves = tuple(Move(move.to_id, move.from_id, move.text_ids) for move in moves)
        records, moves = _restored(state, before.get("clusters", {}), after.get("clusters", {}), moves)
        records = _told_apart(state, records)
        notes = {
            int(i): None if note is None else ClusterNote(**{**note, "flags": tuple(note["flags"])})
            for i, note in after.get("notes", {}).items()
        }
        if not dry_run:
            with session.store.writing() as connection:
                editing.move_members(connection, state.run.run_id, moves)
                for i, record in records.items():
                    editing.put_cluster(connection, state.run.run_id, i, record)
                for i, note in notes.items():
                    editing.put_note(connection, state.run.run_id, i, note)
                editing.set_run_counts(connection, state.run.run_id)
                editing.set_edit_state(connection, edit.id, "undone" if undoing else "done")
    result = _result(state, None if dry_run else edit.id, edit.kind, moves, records)
    return replace(result, notes=tuple(note for note in notes.values() if note is not None))


def _restored(
    state: _State, before: Mapping[str, Any], after: Mapping[str, Any], moves: tuple[Move, ...]
) -> tuple[dict[int, ClusterRecord | None], tuple[Move, ...]]:
    """The clusters an edit changed, with what it changed put back, and all that must move for it."""
    # texts that came into a cluster since, which now goes, follow the others
    leaving = {move.from_id: move.to_id for move in moves}
    rest = []
    moved = _moved(state, moves)
    for i in (int(i) for i, row in after.items() if row is None):
        staying = state.text_ids[moved == i]
        if len(staying) and i in leaving:
            rest.append(Move(i, leaving[i], staying))
    moves = _joined((*moves, *rest))
    labels = _moved(state, moves)
    records: dict[int, ClusterRecord | None] = {}
    for i, counted in _counted(state, [int(i) for i in after], labels).items():
        target, source = after[str(i)], before.get(str(i))
        if not counted.size:
            records[i] = None
        elif target is None:
            records[i] = counted
        elif i not in state.clusters or source is None:
            records[i] = replace(_record(target), size=counted.size, n_queries=counted.n_queries)
        else:
            touched = {
                name: getattr(_record(target), name)
                for name in target
                if name not in COUNTED and target[name] != source.get(name)
            }
            records[i] = replace(counted, **touched)
    return records, moves


def _told_apart(state: _State, records: Mapping[int, ClusterRecord | None]) -> dict[int, ClusterRecord | None]:
    """With titles that no other cluster has: a later naming may have given one of them to another."""
    used = {c.title.casefold() for i, c in state.clusters.items() if i not in records}
    found: dict[int, ClusterRecord | None] = {}
    for i, record in records.items():
        found[i] = record
        if record is not None:
            titles = (record.title, *(f"{record.title} ({number})" for number in range(2, len(used) + 3)))
            title = next(title for title in titles if title.casefold() not in used)
            found[i] = replace(record, title=title)
            used.add(title.casefold())
    return found


def _joined(moves: Sequence[Move]) -> tuple[Move, ...]:
    parts: dict[tuple[int, int], list[TextIds]] = {}
    for move in moves:
        parts.setdefault((move.from_id, move.to_id), []).append(move.text_ids)
    return tuple(Move(a, b, np.unique(np.concatenate(ids))) for (a, b), ids in sorted(parts.items()))


def _record(row: Mapping[str, Any]) -> ClusterRecord:
    """What `to_json` made of a cluster."""
    terms = tuple((str(term), float(weight)) for term, weight in row["terms"])
    return ClusterRecord(**{**row, "terms": terms, "representatives": tuple(row["representatives"])})


def _moved(state: _State, moves: Sequence[Move]) -> npt.NDArray[np.int32]:
    labels: npt.NDArray[np.int32] = state.labels.copy()
    for move in moves:
        labels[np.searchsorted(state.text_ids, move.text_ids)] = move.to_id
    return labels


def _counted(state: _State, cluster_ids: Sequence[int], labels: npt.NDArray[np.int32]) -> dict[int, ClusterRecord]:
    """These clusters with the counts that ``labels`` give them; new ones have no title yet."""
    found = {}
    for i in cluster_ids:
        theirs = labels == i
        blank = ClusterRecord(
            run_id=state.run.run_id,
            cluster_id=i,
            size=0,
            n_queries=0,
            title="Unclustered" if i == NOISE else "",
            description="",
            title_source="none",
        )
        n_queries = int(state.weights[theirs].sum())
        found[i] = replace(state.clusters.get(i, blank), size=int(theirs.sum()), n_queries=n_queries)
    return found


def _is_new_enough(state: _State, cluster_id: int, moves: Sequence[Move]) -> bool:
    """Whether so much came or went that typical texts and terms are chosen anew."""
    if cluster_id not in state.clusters:
        return True
    n_moved = sum(len(move.text_ids) for move in moves if cluster_id in (move.from_id, move.to_id))
    return n_moved >= max(1, SHARE_CHOSEN_ANEW * state.clusters[cluster_id].size)


def _named(
    state: _State, record: ClusterRecord | None, title: str | None, description: str | None, *, gone: set[int]
) -> ClusterRecord:
    """A cluster called what a person calls it."""
    if record is None:
        raise InvalidInputError("a cluster without texts cannot be named")
    title = record.title if title is None else " ".join(title.split())
    if not title or len(title) > MAX_TITLE_CHARS:
        raise InvalidInputError(f"a title must have 1 to {MAX_TITLE_CHARS} characters: {len(title)}")
    same = [
        i
        for i, other in state.clusters.items()
        if i != record.cluster_id and i not in gone and other.title.casefold() == title.casefold()
    ]
    if same:
        raise InvalidInputError(
            f"cluster {same[0]} is called {title!r} already",
            hint="titles are unique in a run; merge the two, or add a word",
        )
    text = record.description if description is None else description.strip()
    return replace(record, title=title, description=text, title_source="user", title_rank=None)


def _result(
    state: _State,
    edit_id: int | None,
    kind: str,
    moves: Sequence[Move],
    after: Mapping[int, ClusterRecord | None],
) -> EditResult:
    moved = np.concatenate([move.text_ids for move in moves]) if moves else np.empty(0, dtype=np.uint32)
    changes = []
    for i, record in sorted(after.items()):
        before = state.clusters.get(i)
        changes.append(
            ClusterChange(
                cluster_id=i,
                title_before=None if before is None else before.title,
                title=None if record is None else record.title,
                n_queries_before=0 if before is None else before.n_queries,
                n_queries=0 if record is None else record.n_queries,
            )
        )
    return EditResult(
        edit_id=edit_id,
        run_id=state.run.run_id,
        kind=kind,
        n_texts=len(moved),
        n_queries=int(state.weights[np.searchsorted(state.text_ids, moved)].sum()),
        clusters=tuple(changes),
    )


def _range(ids: Sequence[int]) -> str:
    return f"{ids[0]} to {ids[-1]}" if ids else "none"
