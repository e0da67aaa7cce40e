"""Which texts are nearly the same: groups by shared pieces of text (MinHash), or by edges of the kNN graph.

Signatures are computed once per text and kept; new texts join the groups without looking at old pairs again. Exact
duplicates need no care: they are one text. Method and figures: docs/decisions/0014.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lmsys_rs import _core
from lmsys_rs.layouts import knn_graph
from lmsys_rs.records import ArrayFileRecord, Event, OnEvent, Selection, ignore_events
from lmsys_rs.session import Session
from lmsys_rs.store import reading, writing

__all__ = ["MAX_DISTANCE", "MIN_SIMILARITY", "append", "near_duplicate_groups", "near_duplicates_by_meaning", "refresh"]

SIGNATURES = "signals/minhash-1.u16"  # the number is the version of the signature
PAGE = 65_536  # texts whose signatures are computed at a time
MIN_SIMILARITY = 0.6  # of the sets of shingles of two texts, see docs/decisions/0014
MAX_DISTANCE = 0.3  # between unit vectors: cosine 0.955


def near_duplicate_groups(session: Session, n_texts: int) -> npt.NDArray[np.uint32]:
    """For each of the first ``n_texts`` texts the smallest text_id of its group; a text alone is its own group."""
    with session.store.reading() as connection:
        files = reading.array_files(connection, "near_duplicates")
    groups = np.arange(n_texts, dtype=np.uint32)
    if files:
        known = np.asarray(session.folder.read_array(files[-1].file), dtype=np.uint32)[:n_texts]
        groups[: len(known)] = known
    return groups


def refresh(session: Session, *, on_event: OnEvent = ignore_events) -> int:
    """Bring signatures and groups up to the newest text; returns how many texts were new. For the one writer."""
    with session.store.reading() as connection:
        n_texts = reading.n_texts(connection)
        n_signed = int(reading.value(connection, "n_signatures") or 0)
        files = reading.array_files(connection, "near_duplicates")
    n_grouped = len(session.folder.read_array(files[-1].file)) if files else 0
    if n_grouped == n_texts:
        return 0
    on_event(Event("started", "near-duplicates", n_grouped, n_texts, "texts"))
    for start in range(n_signed, n_texts, PAGE):
        stop = min(start + PAGE, n_texts)
        with session.store.reading() as connection:
            texts = reading.text_range(connection, start, stop)
        append(session, start, np.asarray(_core.minhash_signatures(texts)))
        on_event(Event("advanced", "near-duplicates", stop, n_texts, "texts"))
    groups = _groups(session, n_grouped, n_texts)
    written = session.folder.write_array(f"signals/near-duplicates-{n_texts}.npy", groups)
    record = ArrayFileRecord(
        file=written.file, kind="near_duplicates", n_bytes=written.n_bytes, checksum=written.checksum
    )
    old = [file.file for file in files if file.file != written.file]
    with session.store.writing() as connection:
        writing.add_array_files(connection, [record])
        writing.remove_array_files(connection, old)
    for file in old:
        session.folder.remove(file)
    on_event(Event("finished", "near-duplicates", n_texts, n_texts, "texts"))
    return n_texts - n_grouped


def append(session: Session, start: int, signatures: npt.NDArray[np.uint16]) -> None:
    """Keep the signatures of the texts from number ``start`` on. For the one writer.

    Those that do not follow on what is kept already are left to `refresh`.
    """
    with session.store.reading() as connection:
        n_signed = int(reading.value(connection, "n_signatures") or 0)
    if start != n_signed or not len(signatures):
        return
    stop, width = start + len(signatures), signatures.shape[1]
    with session.folder.appended_rows(SIGNATURES, start=start, stop=stop, width=width, dtype="<u2") as rows:
        rows[:] = signatures
    with session.store.writing() as connection:
        writing.set_value(connection, "n_signatures", str(stop))
        writing.set_value(connection, "signature_width", str(width))


def near_duplicates_by_meaning(
    session: Session, selection: Selection, *, max_distance: float = MAX_DISTANCE, on_event: OnEvent = ignore_events
) -> npt.NDArray[np.uint32]:
    """For each text of a selection the smallest text_id that edges of the kNN graph up to a distance lead to."""
    graph = knn_graph(session, session.embedding(), selection.text_ids, on_event=on_event)
    pairs = _core.near_duplicate_pairs_from_graph(graph, max_distance)
    groups = np.asarray(_core.group_pairs(len(selection), pairs))
    return selection.text_ids[groups]


def _groups(session: Session, n_grouped: int, n_texts: int) -> npt.NDArray[np.uint32]:
    """The groups of all texts, out of the old groups and the pairs with a new text in them."""
    with session.store.reading() as connection:
        width = int(reading.value(connection, "signature_width") or 0)
    signatures = session.folder.signatures(SIGNATURES, n_rows=n_texts, width=width)
    pairs = np.asarray(_core.near_duplicate_pairs(signatures, min_similarity=MIN_SIMILARITY))
    pairs = pairs[pairs[:, 1] >= n_grouped]
    old = near_duplicate_groups(session, n_texts)
    links = np.column_stack([old, np.arange(n_texts, dtype=np.uint32)])[old < np.arange(n_texts)]
    return np.asarray(_core.group_pairs(n_texts, np.concatenate([links, pairs]).astype(np.uint32)), dtype=np.uint32)
