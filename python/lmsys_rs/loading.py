"""How files of conversations get into a workspace: read, redacted, filtered, made into queries with signals, stored.

One thread reads and computes, the caller's thread writes; a batch counts once its file and its rows are on disk, so
a load that was cut off goes on where it stopped. It prints nothing: it reports through events.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from lmsys_rs import columns, duplicates
from lmsys_rs.errors import InvalidInputError
from lmsys_rs.planning import announce, plan_loading, window_rows
from lmsys_rs.prefetch import prefetched
from lmsys_rs.preparing import Recipe, id_keys, prepare
from lmsys_rs.readers import ColumnMapping, ConversationReader, expand_path, open_conversations
from lmsys_rs.records import UNITS, Event, Filters, LoadReport, OnEvent, Problem, SourceRecord, ignore_events
from lmsys_rs.segments import write_segment
from lmsys_rs.session import Session
from lmsys_rs.store import reading, writing
from lmsys_rs.store.batches import AddedBatch, PreparedBatch, Seen, Written, add_batch, unknown_keys

__all__ = ["Tally", "dataset_name", "fingerprint_of", "load", "store_batches"]

MAX_PROBLEMS = 100  # kept in a report; all are counted
WHOLE_FILE_HASH = 64 << 20  # larger files are fingerprinted by samples
SAMPLE_BYTES = 1 << 20
BYTES_PER_CONVERSATION = 1_500  # of a file that does not say how many it holds: for the plan only
UNIT_SUFFIX = {"first": "", "turn": "-turns", "dialogue": "-dialogues"}
FORMAT_SUFFIXES = (".parquet", ".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt")


def load(
    session: Session,
    path: str | Path,
    *,
    dataset: str | None = None,
    description: str | None = None,
    format: str = "auto",
    mapping: ColumnMapping | None = None,
    unit: str | None = None,
    filters: Filters | None = None,
    redact: bool = False,
    limit: int | None = None,
    strict: bool = False,
    force: bool = False,
    max_memory: int | None = None,
    on_event: OnEvent = ignore_events,
) -> LoadReport:
    """Read conversations into the workspace: whole conversations, queries, distinct texts and their signals.

    A file that was loaded completely is recognised and not read again; one whose loading was cut off goes on where it
    stopped; a changed file of the same data set adds only conversations that are new.

    Args:
        path: a file, a folder, or a pattern such as ``logs/*.jsonl.gz``; several files become one data set.
        dataset: name of the data set; None takes the file's name.
        unit: what a query is, see `UNITS`; None takes the data set's, for a new one ``first``.
        filters: keep only conversations with a query that passes; the others are counted and left out.
        redact: replace personal data and secrets in turns before anything is stored.
        limit: stop after this many conversations (lines that were read) of all files together.
        strict: stop at the first element that cannot be read, instead of counting it.
        force: read the whole files again even if they are known.
        max_memory: bytes that reading may take; None means about 1 GB.

    Raises:
        OSError, ReaderError: a file cannot be read; what came before the fault is kept.
        StoreError: the workspace is in use or cannot be written.
    """
    started = time.perf_counter()
    if limit is not None and limit < 1:
        raise InvalidInputError(f"limit must be >= 1: {limit}")
    if unit not in (None, *UNITS):
        raise InvalidInputError(f"unit must be one of {', '.join(UNITS)}: {unit!r}")
    filters = filters or Filters()
    expanded = expand_path(path)
    for file in expanded.left_out:
        on_event(Event("note", "load", message=f"{file}: left out, no conversation file by its name"))
    paths = expanded.paths
    name = dataset or f"{dataset_name(path)}{UNIT_SUFFIX[unit or 'first']}"
    plan = _Plan(
        name,
        description,
        format,
        mapping or ColumnMapping(),
        unit,
        filters.without_limit(),
        redact,
        limit,
        strict,
        force,
    )
    # opened first: a file that cannot be read leaves no trace in the workspace
    probes = [open_conversations(p, format=format, mapping=plan.mapping, strict=strict) for p in paths]
    tally = Tally()
    rows = [reader.total if reader.unit == "rows" else reader.total // BYTES_PER_CONVERSATION for reader in probes]
    n_rows, n_bytes = sum(rows), sum(p.stat().st_size for p in paths)
    cost = plan_loading(n_rows, n_bytes, max_memory)
    if max_memory is not None:
        plan = replace(plan, window_rows=window_rows(n_rows, n_bytes, max_memory))
    with session.writer("load"):
        session.folder.remove_left_aside()
        if any(not _is_loaded(session, reader, plan) for reader in probes):
            announce(session, cost, max_memory=max_memory, on_event=on_event)
        left = limit
        for reader in probes:
            position = _load_file(session, reader, replace(plan, limit=left), tally, on_event)
            left = None if left is None else left - position
            if left is not None and left <= 0:
                tally.finished = tally.finished and reader is probes[-1]
                break
        # also where nothing was read: the call before this one may have been cut off here
        tally.flush(session)
        duplicates.refresh(session, on_event=on_event)
        with session.store.reading() as connection:
            unit = next(d.unit for d in reading.datasets(connection) if d.name == name)
    formats = {reader.format for reader in probes}
    return LoadReport(
        dataset=name,
        path=str(path),
        format=formats.pop() if len(formats) == 1 else "mixed",
        unit=unit,
        n_files=len(paths),
        n_read=tally.n_read,
        n_new=tally.n_new,
        n_filtered=tally.n_filtered,
        n_queries=tally.n_queries,
        n_new_texts=tally.n_new_texts,
        n_without_query=tally.n_without_query,
        n_redacted=tally.n_redacted,
        n_problems=tally.n_problems,
        problems=tuple(tally.problems),
        already_loaded=not tally.n_files_read,
        finished=tally.finished,
        seconds=time.perf_counter() - started,
    )


def dataset_name(path: str | Path) -> str:
    """Name of a data set after its file, folder or pattern: without folder and suffixes."""
    name = Path(path).name
    if any(c in name for c in "*?["):
        name = Path(path).parent.name or "conversations"
    for suffix in (".gz", ".zst", ".zip"):
        name = name.removesuffix(suffix) or name
    for suffix in FORMAT_SUFFIXES:
        name = name.removesuffix(suffix) or name
    return name or Path(path).resolve().name


@dataclass(frozen=True)
class _Plan:
    """How the files of one call are read."""

    dataset: str
    description: str | None
    format: str
    mapping: ColumnMapping
    unit: str | None
    filters: Filters
    redact: bool
    limit: int | None
    strict: bool
    force: bool
    window_rows: int | None = None


@dataclass
class Tally:
    """What was read so far, over all files, and the new rows that `columns` does not have yet."""

    n_files_read: int = 0
    n_read: int = 0
    n_new: int = 0
    n_filtered: int = 0
    n_queries: int = 0
    n_new_texts: int = 0
    n_without_query: int = 0
    n_redacted: int = 0
    n_problems: int = 0
    problems: list[Problem] = field(default_factory=list)
    finished: bool = True
    seen: dict[int, Seen | None] = field(default_factory=dict)
    new_queries: list[pl.DataFrame] = field(default_factory=list)
    new_texts: list[pl.DataFrame] = field(default_factory=list)
    new_signatures: list[npt.NDArray[np.uint16]] = field(default_factory=list)

    def add(self, batch: PreparedBatch, added: AddedBatch) -> None:
        """Count a batch, and keep its new rows."""
        self.n_read += batch.n_read
        self.n_new += added.n_new
        self.n_filtered += batch.n_filtered
        self.n_queries += added.n_queries
        self.n_new_texts += added.n_new_texts
        self.n_without_query += added.n_without_query
        self.n_redacted += batch.n_redacted
        self.n_problems += len(batch.problems)
        self.problems.extend(batch.problems[: MAX_PROBLEMS - len(self.problems)])
        self.new_queries.append(added.queries)
        self.new_texts.append(added.texts)
        self.new_signatures.append(added.signatures)

    def flush(self, session: Session) -> None:
        """Hand the new rows to `columns` and `duplicates`; without this they would read them back."""
        queries, texts, signatures = self.new_queries, self.new_texts, self.new_signatures
        self.new_queries, self.new_texts, self.new_signatures = [], [], []
        columns.extend(session, queries, texts)
        first = next((int(frame["text_id"][0]) for frame in texts if frame.height), None)
        if first is not None:
            duplicates.append(session, first, np.concatenate(signatures))

    @property
    def is_large(self) -> bool:
        """Whether so many new rows are kept that they should be written."""
        return sum(frame.height for frame in self.new_queries) >= columns.FILE_ROWS


def _is_loaded(session: Session, reader: ConversationReader, plan: _Plan) -> bool:
    """Whether a file was loaded to its end and need not be read again."""
    with session.store.reading() as connection:
        fingerprint = fingerprint_of(reader, plan.mapping, plan.filters, plan.redact)
        known = reading.find_source(connection, plan.dataset, fingerprint)
    return known is not None and known.finished and not plan.force


def _load_file(session: Session, probe: ConversationReader, plan: _Plan, tally: Tally, on_event: OnEvent) -> int:
    """Read one file; returns the last line of it that is accounted for."""
    path = probe.source.path
    let_in = plan.filters.to_dict()
    fingerprint = fingerprint_of(probe, plan.mapping, plan.filters, plan.redact)
    with session.store.reading() as connection:
        known = reading.find_source(connection, plan.dataset, fingerprint)
        found = next((d for d in reading.datasets(connection) if d.name == plan.dataset), None)
    if found is not None and plan.unit not in (None, found.unit):
        raise InvalidInputError(
            f"data set {plan.dataset} was loaded with unit {found.unit}, not {plan.unit}",
            hint=f"load it under another name: --dataset-label {plan.dataset}{UNIT_SUFFIX[str(plan.unit)] or '-first'}",
        )
    if known is not None and not plan.force and (known.finished or (plan.limit and known.position >= plan.limit)):
        tally.finished &= known.finished
        return known.position
    with session.store.writing() as connection:
        source = writing.begin_source(
            connection,
            plan.dataset,
            description=plan.description,
            unit=plan.unit or "first",
            path=str(path.resolve()),
            format=probe.format,
            column_mapping=plan.mapping.to_dict(),
            filters=let_in,
            redacted=plan.redact,
            fingerprint=fingerprint,
            restart=plan.force,
        )
    tally.n_files_read += 1
    reader = open_conversations(
        path,
        format=plan.format,
        mapping=plan.mapping,
        start=source.position,
        strict=plan.strict,
        window_rows=plan.window_rows,
    )
    recipe = Recipe(
        unit=found.unit if found else plan.unit or "first",
        filters=plan.filters,
        redact=plan.redact,
        id_is_unique=reader.ids_are_unique,
        dataset=plan.dataset,
    )
    # read from its start again although some of it is stored: nearly everything is known
    is_reload = source.position == 0 and source.n_conversations > 0
    on_event(Event("started", "load", 0, reader.total, reader.unit))
    if is_reload and plan.limit is None and _knows_every_id(session, reader, source.dataset_id):
        with session.store.writing() as connection:
            writing.finish_source(connection, source.id, position=reader.total)
        tally.n_read += reader.total
        on_event(Event("finished", "load", reader.total, reader.total, reader.unit))
        return reader.total
    batches = _prepared(session, reader, recipe, source, limit=plan.limit, is_reload=is_reload)
    position = store_batches(session, source, batches, tally, total=reader.total, unit=reader.unit, on_event=on_event)
    on_event(Event("finished", "load", reader.total, reader.total, reader.unit))
    return position


def store_batches(
    session: Session,
    source: SourceRecord,
    batches: Iterable[tuple[PreparedBatch, bool]],
    tally: Tally,
    *,
    total: int,
    unit: str,
    on_event: OnEvent,
) -> int:
    """Store (batch, whether it is the last although the file goes on) after each other; returns the position reached.

    The next batch is made while one is stored. A file whose batches came to their end is marked as finished.
    """
    position = source.position
    if source.dataset_id not in tally.seen:
        with session.store.reading() as connection:
            tally.seen[source.dataset_id] = Seen.of_empty(connection, source.dataset_id)
    with ThreadPoolExecutor(1, thread_name_prefix="lmsys-segment") as pool:
        for batch, is_cut in prefetched(batches):
            with session.store.writing() as connection:
                added = add_batch(
                    connection,
                    source.dataset_id,
                    source.id,
                    batch,
                    write_segment=lambda frame: _in_background(pool, session, frame),
                    seen=tally.seen.get(source.dataset_id),
                )
            tally.add(batch, added)
            position = batch.position
            tally.finished &= not is_cut
            if tally.is_large:
                tally.flush(session)
            on_event(Event("advanced", "load", batch.done, total, unit))
            if is_cut:
                return position
    with session.store.writing() as connection:
        writing.finish_source(connection, source.id)
    return position


def _knows_every_id(session: Session, reader: ConversationReader, dataset_id: int) -> bool:
    """Whether the ids of a file, where they can be read alone, are all stored: then nothing in it can be new."""
    pieces = reader.ids_only() if reader.ids_are_unique else None
    if pieces is None:
        return False
    for _, ids in pieces:
        if ids.null_count():
            return False
        with session.store.reading() as connection:
            if unknown_keys(connection, id_keys(ids), dataset_id).any():
                return False
    return True


def _in_background(pool: ThreadPoolExecutor, session: Session, frame: pl.DataFrame) -> Callable[[], Written]:
    future: Future[Any] = pool.submit(write_segment, session.folder, frame)

    def wait() -> Written:
        written = future.result()
        return written.file, written.n_bytes, written.checksum

    return wait


def _prepared(
    session: Session,
    reader: ConversationReader,
    recipe: Recipe,
    source: SourceRecord,
    *,
    limit: int | None,
    is_reload: bool,
) -> Iterator[tuple[PreparedBatch, bool]]:
    """(batch, whether the limit was reached) of every batch after the source's position."""
    n_read = 0
    for batch in reader:
        is_cut = limit is not None and source.position + n_read + batch.conversations.height >= limit
        if is_cut and limit is not None:
            batch = _cut(batch, limit - source.position - n_read)
        n_read += batch.conversations.height
        keyed = recipe.with_keys(batch.conversations)
        if is_reload:
            # what is known is not worth its signals. The writer looks again.
            with session.store.reading() as connection:
                unknown = unknown_keys(connection, keyed["key"], source.dataset_id)
            keyed = keyed.filter(pl.Series(unknown))
        yield prepare(replace(batch, conversations=keyed), recipe, n_read=batch.conversations.height), is_cut
        if is_cut:
            return


def _cut(batch: Any, n_rows: int) -> Any:
    """The first rows of a batch; the position is then the last of them."""
    kept = batch.conversations.head(n_rows)
    position = int(kept["line"][-1])
    problems = tuple(problem for problem in batch.problems if problem.line <= position)
    return replace(batch, conversations=kept, problems=problems, position=position)


def fingerprint_of(reader: ConversationReader, mapping: ColumnMapping, filters: Filters, redacted: bool) -> str:
    """Names a file's content and how it is read; a large file by size, time and samples, as hashing takes too long."""
    path = reader.source.path
    how_read = {"format": reader.format, **mapping.to_dict()}
    if not filters.is_open or redacted:
        how_read["let_in"] = json.dumps([filters.to_dict(), redacted], sort_keys=True)
    stat = path.stat()
    digest = hashlib.sha256(json.dumps(how_read, sort_keys=True).encode())
    digest.update(str(stat.st_size).encode())
    with path.open("rb") as file:
        if stat.st_size <= WHOLE_FILE_HASH:
            while chunk := file.read(SAMPLE_BYTES):
                digest.update(chunk)
        else:
            digest.update(str(stat.st_mtime_ns).encode())
            for part in range(17):
                file.seek((stat.st_size - SAMPLE_BYTES) * part // 16)
                digest.update(file.read(SAMPLE_BYTES))
    return digest.hexdigest()
