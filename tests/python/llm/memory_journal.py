"""A journal in memory: what the protocol asks for, and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from lmsys_rs.llm import BatchJob, JournalEntry


class MemoryJournal:
    """Remembers who called it, too: everything has to come from one thread."""

    def __init__(self) -> None:
        self.entries: dict[str, JournalEntry] = {}
        self.batches: dict[tuple[str, str], BatchJob] = {}
        self.threads: set[int] = set()

    def get_many(self, keys: Sequence[str]) -> dict[str, JournalEntry]:
        self.threads.add(threading.get_ident())
        return {key: self.entries[key] for key in keys if key in self.entries}

    def put(self, entry: JournalEntry) -> None:
        self.threads.add(threading.get_ident())
        self.entries.setdefault(entry.key, entry)

    def put_batch(self, job: BatchJob) -> None:
        self.batches[job.model, job.batch_id] = job

    def open_batches(self, model: str) -> list[BatchJob]:
        return [job for job in self.batches.values() if job.model == model and job.state == "open"]
