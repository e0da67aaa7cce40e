"""The journal of answered calls in a workspace: what was paid for is kept at once and never asked again.

An entry is written in a transaction of its own, without the lock of writers: a long naming must not keep others from
loading, and nothing else refers to an entry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from lmsys_rs.errors import StoreError
from lmsys_rs.llm import BatchJob, JournalEntry
from lmsys_rs.session import Session
from lmsys_rs.store import naming

__all__ = ["WorkspaceJournal"]

BATCHES = "batch/"  # what the keys of batches begin with
PATIENCE = 12  # times that the database's own five seconds are waited for while another program writes


class WorkspaceJournal:
    """Implements `lmsys_rs.llm.Journal` over the database of a workspace.

    Args:
        run_id: whose texts are asked about; the entries go when these texts are deleted.
        only_read: nothing will be asked, as for an estimate.

    Raises:
        StoreError: the disk is read-only, and what will be paid for could not be kept.
    """

    def __init__(self, session: Session, run_id: str | None, *, only_read: bool = False) -> None:
        if session.read_only and not only_read:
            raise StoreError(
                f"{session.folder.path} is open read-only: answers could not be kept",
                hint="copy it to a disk you can write",
            )
        self._session = session
        self._run_id = run_id

    def get_many(self, keys: Sequence[str]) -> Mapping[str, JournalEntry]:
        """The entries that exist."""
        with self._session.store.reading() as connection:
            found = naming.llm_contents(connection, keys)
        return {key: JournalEntry(**content) for key, content in found.items()}

    def put(self, entry: JournalEntry) -> None:
        """Keep an entry."""
        self._write(entry.key, asdict(entry), replace=False)

    def put_batch(self, job: BatchJob) -> None:
        """Keep a batch, or replace it."""
        self._write(f"{BATCHES}{job.model}/{job.batch_id}", asdict(job), replace=True)

    def open_batches(self, model: str) -> Sequence[BatchJob]:
        """The batches of a model whose results are not taken yet, oldest first."""
        with self._session.store.reading() as connection:
            found = naming.llm_contents_from(connection, f"{BATCHES}{model}/")
        jobs = [BatchJob(**{**content, "keys": tuple(content["keys"])}) for content in found]
        return sorted((job for job in jobs if job.state == "open"), key=lambda job: (job.created_at, job.batch_id))

    def _write(self, key: str, content: Any, *, replace: bool) -> None:
        for attempt in range(PATIENCE):
            try:
                with self._session.store.writing() as connection:
                    naming.put_llm_content(connection, key, content, run_id=self._run_id, replace=replace)
                return
            except StoreError as error:
                # it is paid: another program that writes for long is no reason to lose it
                if "in use" not in str(error) or attempt == PATIENCE - 1:
                    raise
