"""Whether a workspace is what it says: every file against its checksum, every table against the others; and mending.

What is derived is computed again: columns, near-duplicates, graphs, layouts, vectors. Conversations are read again from
their source if it is still there. What cannot be mended is said and left as it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lmsys_rs import _core, columns, duplicates
from lmsys_rs.embedding import EMBED_BATCH, Embedder, embed_block
from lmsys_rs.errors import LmsysError, StoreError
from lmsys_rs.layouts import Progress
from lmsys_rs.loading import fingerprint_of
from lmsys_rs.preparing import Recipe, prepare
from lmsys_rs.readers import ColumnMapping, open_conversations
from lmsys_rs.records import EmbeddingRecord, Event, Filters, OnEvent, SegmentRecord, SourceRecord, ignore_events
from lmsys_rs.search import encoder_of
from lmsys_rs.segments import write_segment
from lmsys_rs.session import Session
from lmsys_rs.store import checking, labelling, reading, writing
from lmsys_rs.workspace import checksum_of

__all__ = ["Finding", "VerifyReport", "repair", "verify"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        kind: database, table, segment, vectors, signatures, graph, projection, columns, near_duplicates, labels or left
            over.
        what: the file, table or row it is about.
        problem: what is wrong with it.
        remedy: what `repair` does about it; empty if it can do nothing.
        repaired: whether it did.
    """

    kind: str
    what: str
    problem: str
    remedy: str = ""
    repaired: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What was looked at and what was found. ``is_sound``: nothing is wrong (leftovers are no fault)."""

    n_files: int
    n_bytes: int
    findings: tuple[Finding, ...]
    seconds: float

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong, or all that was is mended."""
        return all(finding.repaired or finding.kind == "left over" for finding in self.findings)


def verify(session: Session, *, on_event: OnEvent = ignore_events) -> VerifyReport:
    """Look at every file and every table. Reads everything once; changes nothing.

    Raises:
        StoreError: the database cannot even be opened.
    """
    started = time.perf_counter()
    errors = _database_errors(session)
    if errors:  # nothing that such a database says about files can be believed
        damaged = tuple(Finding(kind="database", what="lmsys.db", problem=error) for error in errors)
        return VerifyReport(n_files=0, n_bytes=0, findings=damaged, seconds=time.perf_counter() - started)
    findings: list[Finding] = []
    with session.store.reading() as connection:
        findings += [
            Finding(kind="table", what=rule.split(":")[0], problem=rule, remedy="count again")
            for rule in checking.broken_rules(connection)
        ]
        named = _named_files(session, connection)
        embeddings = reading.embeddings(connection)
        blocks = {e.embedder_id: reading.vector_blocks(connection, e.embedder_id) for e in embeddings}
        n_signatures = int(reading.value(connection, "n_signatures") or 0)
        width = int(reading.value(connection, "signature_width") or 0)
    n_bytes = 0
    total = sum(expected.n_bytes or 0 for expected in named.values())
    on_event(Event("started", "verify", 0, total, "B"))
    for file, expected in named.items():
        problem = _file_problem(session.folder.path / file, expected)
        if problem:
            findings.append(Finding(kind=expected.kind, what=file, problem=problem, remedy=REMEDIES[expected.kind]))
        n_bytes += expected.n_bytes or 0
        on_event(Event("advanced", "verify", n_bytes, total, "B"))
    for embedding in embeddings:
        found, size = _vector_findings(session, embedding, blocks[embedding.embedder_id])
        findings += found
        n_bytes += size
    findings += _signature_findings(session, n_signatures, width)
    known = {*named, *(session.folder.vector_file(e.embedder_id, e.dtype) for e in embeddings), duplicates.SIGNATURES}
    findings += [
        Finding(kind="left over", what=file, problem="no table names this file", remedy="remove it")
        for file in sorted(session.folder.files() - known)
    ]
    on_event(Event("finished", "verify", total, total, "B"))
    return VerifyReport(
        n_files=len(known), n_bytes=n_bytes, findings=tuple(findings), seconds=time.perf_counter() - started
    )


def repair(
    session: Session,
    report: VerifyReport,
    *,
    encoder: Callable[[EmbeddingRecord], Embedder] = encoder_of,
    on_event: OnEvent = ignore_events,
) -> VerifyReport:
    """Mend what can be mended of what `verify` found; returns the same findings with what became of each.

    Args:
        encoder: gives the encoder of an embedding, to compute damaged vectors again.
    """
    mended = []
    with session.writer("verify --repair"):
        session.folder.remove_left_aside()
        for finding in report.findings:
            try:
                done = _repaired(session, finding, encoder, on_event)
                mended.append(replace(finding, repaired=done))
            except (LmsysError, OSError) as error:
                mended.append(replace(finding, problem=f"{finding.problem}; not mended: {error}"))
        columns.extend(session)
        duplicates.refresh(session, on_event=on_event)
    return VerifyReport(n_files=report.n_files, n_bytes=report.n_bytes, findings=tuple(mended), seconds=report.seconds)


REMEDIES = {
    "segment": "read these conversations again from their source",
    "columns": "make it anew from the database",
    "near_duplicates": "compute it again",
    "graph": "forget it: it is built again when needed",
    "projection": "forget it: it is computed again when needed",
    "labels": "forget them: lmsys classify gives them again",
}


@dataclass(frozen=True, slots=True)
class _Expected:
    kind: str
    n_bytes: int | None  # None: a file of an older version, which kept no checksums
    checksum: str


def _database_errors(session: Session) -> list[str]:
    try:
        with session.store.reading() as connection:
            return checking.integrity_errors(connection)
    except StoreError as error:
        return [str(error).splitlines()[0]]


def _named_files(session: Session, connection: Any) -> dict[str, _Expected]:
    """Every file that a table names, but the growing ones."""
    named = {s.file: _Expected("segment", s.n_bytes, s.checksum) for s in reading.segments(connection)}
    for graph in reading.graph_ids(connection):
        for part in ("indices", "distances"):
            named[f"graphs/{graph}.{part}.npy"] = _Expected("graph", None, "")
    for projection in reading.projections(connection):
        named[f"projections/{projection}.npy"] = _Expected("projection", None, "")
    named |= {file.file: _Expected(file.kind, file.n_bytes, file.checksum) for file in reading.array_files(connection)}
    return named


def _file_problem(path: Path, expected: _Expected) -> str:
    if not path.exists():
        return "the file is missing"
    size = path.stat().st_size
    if expected.n_bytes is None:
        try:
            np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            return f"the file cannot be read: {error}"
        return ""
    if size != expected.n_bytes:
        return f"the file has {size:,} bytes, need {expected.n_bytes:,}"
    return "" if checksum_of(path) == expected.checksum else "the checksum is wrong: the content has changed"


def _vector_findings(
    session: Session, embedding: EmbeddingRecord, blocks: list[tuple[int, int, str]]
) -> tuple[list[Finding], int]:
    """Blocks of a vector file that are not what was written. Rows of an older version have no checksums."""
    file = session.folder.vector_file(embedding.embedder_id, embedding.dtype)
    path = session.folder.path / file
    row = embedding.dim * np.dtype(embedding.dtype).itemsize
    size = path.stat().st_size if path.exists() else 0

    def finding(start: int, stop: int, problem: str) -> Finding:
        what = f"{file} rows {start}-{stop - 1}"
        return Finding(kind="vectors", what=what, problem=problem, remedy="embed these texts again")

    found = []
    covered = 0
    for start, stop, checksum in blocks:
        covered = max(covered, stop)
        if stop * row > size:
            found.append(finding(start, stop, f"the file ends after {size:,} bytes"))
        elif checksum_of(path, start=start * row, stop=stop * row) != checksum:
            found.append(finding(start, stop, "the checksum is wrong: the content has changed"))
    if not blocks and embedding.n_rows * row > size:
        found.append(finding(size // row, embedding.n_rows, f"the file ends after {size:,} bytes"))
    return found, min(size, embedding.n_rows * row)


def _signature_findings(session: Session, n_signatures: int, width: int) -> list[Finding]:
    """Signatures are compared with new ones: they are cheap, so nothing is kept to check them by."""
    if not n_signatures:
        return []
    remedy = "compute them again"
    try:
        kept = session.folder.signatures(duplicates.SIGNATURES, n_rows=n_signatures, width=width)
    except LmsysError as error:
        return [Finding(kind="signatures", what=duplicates.SIGNATURES, problem=str(error), remedy=remedy)]
    for start in range(0, n_signatures, duplicates.PAGE):
        stop = min(start + duplicates.PAGE, n_signatures)
        with session.store.reading() as connection:
            texts = reading.text_range(connection, start, stop)
        if not np.array_equal(np.asarray(_core.minhash_signatures(texts)), kept[start:stop]):
            problem = f"rows {start} to {stop - 1} are not those of their texts"
            return [Finding(kind="signatures", what=duplicates.SIGNATURES, problem=problem, remedy=remedy)]
    return []


def _repaired(
    session: Session, finding: Finding, encoder: Callable[[EmbeddingRecord], Embedder], on_event: OnEvent
) -> bool:
    if finding.kind == "left over":
        session.folder.remove(finding.what)
        return True
    if finding.kind == "table":
        with session.store.writing() as connection:
            checking.recount(connection)
            return finding.problem not in checking.broken_rules(connection)
    if finding.kind == "segment":
        return _segment_read_again(session, finding.what)
    if finding.kind == "vectors":
        return _embedded_again(session, finding, encoder, on_event)
    if finding.kind in ("columns", "near_duplicates", "signatures"):
        with session.store.writing() as connection:
            if finding.kind != "columns":
                writing.set_value(connection, "n_signatures", "0")
                writing.remove_array_files(
                    connection, [file.file for file in reading.array_files(connection, "near_duplicates")]
                )
            # of the columns all are made anew: later files only add to earlier ones
            gone = {finding.what, *(file.file for file in reading.array_files(connection, "columns"))}
            if finding.kind != "columns":
                gone = {finding.what}
            writing.remove_array_files(connection, sorted(gone))
        for file in gone:
            session.folder.remove(file)
        session.kept.clear()
        return True
    if finding.kind == "labels":
        with session.store.writing() as connection:
            for record in labelling.classifications(connection):
                if record.file == finding.what:
                    labelling.remove_classification(connection, record.classification_id)
            writing.remove_array_files(connection, [finding.what])
        session.folder.remove(finding.what)
        return True
    if finding.kind in ("graph", "projection"):
        name = Path(finding.what).name.split(".")[0]
        with session.store.writing() as connection:
            (checking.drop_graph if finding.kind == "graph" else checking.drop_projection)(connection, name)
            files = [
                f.file for f in reading.array_files(connection, finding.kind) if Path(f.file).name.startswith(name)
            ]
            writing.remove_array_files(connection, files)
        for file in {*files, finding.what}:
            session.folder.remove(file)
        return True
    return False


def _embedded_again(
    session: Session, finding: Finding, encoder: Callable[[EmbeddingRecord], Embedder], on_event: OnEvent
) -> bool:
    file, _, rows = finding.what.partition(" rows ")
    start, stop = int(rows.split("-")[0]), int(rows.split("-")[1]) + 1
    with session.store.reading() as connection:
        known = {session.folder.vector_file(e.embedder_id, e.dtype): e for e in reading.embeddings(connection)}
    embedding = known[file]
    engine = encoder(embedding)
    for at in range(start, stop, EMBED_BATCH):
        end = min(at + EMBED_BATCH, stop)
        progress = Progress(on_event, "embed", unit="texts", start=at - start, size=end - at, total=stop - start)
        embed_block(session, engine, embedding, at, end, progress)
    return True


def _segment_read_again(session: Session, file: str) -> bool:
    with session.store.reading() as connection:
        segment = next(s for s in reading.segments(connection) if s.file == file)
        source = next(s for s in reading.sources(connection) if s.id == segment.source_id)
        unit = next(d.unit for d in reading.datasets(connection) if d.id == source.dataset_id)
        keys = checking.keys_of(connection, segment.first_id, segment.last_id)
    found = _conversations_again(source, unit, segment, dict(keys))
    if found is None:
        return False
    written = write_segment(session.folder, found)
    with session.store.writing() as connection:
        checking.set_segment_file(connection, segment.first_id, n_bytes=written.n_bytes, checksum=written.checksum)
    return True


def _conversations_again(
    source: SourceRecord, unit: str, segment: SegmentRecord, ids: dict[bytes, int]
) -> pl.DataFrame | None:
    """The conversations of a segment, read from the file they came from; None where that has changed or gone."""
    mapping = ColumnMapping(**source.column_mapping)
    path = Path(source.path)
    if not path.exists():
        return None
    reader = open_conversations(path, format=source.format, mapping=mapping)
    if fingerprint_of(reader, mapping, Filters.from_dict(source.filters), source.redacted) != source.fingerprint:
        return None
    recipe = Recipe(unit=unit, redact=source.redacted, id_is_unique=reader.ids_are_unique)
    missing = dict(ids)
    parts = []
    for batch in reader:
        keyed = recipe.with_keys(batch.conversations)
        wanted = keyed.filter(pl.Series([key in missing for key in keyed["key"]], dtype=pl.Boolean))
        wanted = wanted.unique("key", keep="first", maintain_order=True)
        if wanted.height:
            kept = prepare(replace(batch, conversations=wanted), recipe, n_read=0).conversations
            parts.append(kept.with_columns(pl.Series("id", [missing.pop(key) for key in kept["key"]], dtype=pl.Int64)))
        if not missing:
            # files of one batch each may hold `extra` in different shapes only if they come from different files
            return pl.concat(parts).sort("id").drop("key")
    return None
