"""Signals of texts that were stored before there were any: computed once, when such a workspace is opened.

New texts get theirs while they are loaded, see `preparing`; what each signal is stands in docs/signals.md.
"""

from __future__ import annotations

from lmsys_rs import columns, duplicates
from lmsys_rs.preparing import signals
from lmsys_rs.records import Event, OnEvent, ignore_events
from lmsys_rs.session import Session
from lmsys_rs.store import batches, reading, writing

__all__ = ["fill"]

PAGE = 50_000  # texts at a time


def fill(session: Session, *, on_event: OnEvent = ignore_events) -> int:
    """Compute what is missing; returns for how many texts. Nothing to do is the rule, and costs nothing.

    Raises:
        StoreError: another program writes, or the disk is read-only.
    """
    with session.store.reading() as connection:
        if reading.value(connection, "signals") != "missing" or session.read_only:
            return 0
        n_texts = reading.n_texts(connection)
    with session.writer("signals"):
        on_event(Event("started", "signals", 0, n_texts, "texts"))
        for start in range(0, n_texts, PAGE):
            with session.store.reading() as connection:
                page = reading.text_page(connection, after=start - 1, limit=PAGE)
            with session.store.writing() as connection:
                batches.set_signals(connection, page.select("text_id").hstack(signals(page["text"])))
            on_event(Event("advanced", "signals", start + page.height, n_texts, "texts"))
        with session.store.writing() as connection:
            writing.set_value(connection, "signals", "complete")
            writing.next_generation(connection)
        columns.extend(session)
        duplicates.refresh(session, on_event=on_event)
        on_event(Event("finished", "signals", n_texts, n_texts, "texts"))
    return n_texts
