"""How a data set, a run or everything leaves a workspace: first what would go is said, then it goes in one transaction.

Content that no query asks any more is overwritten in the database and its files are removed; vectors of such texts
stay as rows that nothing refers to, because a row number is never given to another text.
"""

from __future__ import annotations

from dataclasses import dataclass

from lmsys_rs import columns, duplicates
from lmsys_rs.errors import InvalidInputError
from lmsys_rs.records import DatasetRecord
from lmsys_rs.session import Session
from lmsys_rs.store import reading, writing

__all__ = ["Deletion", "clear", "delete_dataset", "delete_run", "plan_deletion"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """What a deletion takes away.

    Attributes:
        datasets: names of the data sets.
        n_texts: distinct texts that no other data set asks.
        runs: runs that cover some of these texts: without them they would be about something else, so they go too.
    """

    datasets: tuple[str, ...]
    n_conversations: int
    n_queries: int
    n_texts: int
    runs: tuple[str, ...]


def plan_deletion(session: Session, dataset: str | None = None) -> Deletion:
    """What deleting a data set (None: every one) would take away. Changes nothing.

    Raises:
        InvalidInputError: there is no such data set.
    """
    found = _datasets(session, dataset)
    with session.store.reading() as connection:
        runs = reading.runs(connection)
    frames = columns.frames(session)
    ids = {record.id for record in found}
    theirs = frames.queries["dataset_id"].is_in(list(ids))
    texts = frames.queries.filter(theirs)["text_id"].unique()
    others = frames.queries.filter(~theirs)["text_id"].unique()
    gone = texts.filter(~texts.is_in(others.implode()))
    touched = []
    for run in runs:
        with session.store.reading() as connection:
            members = reading.members(connection, run.run_id)["text_id"]
        if members.is_in(gone.implode()).any():
            touched.append(run.run_id)
    return Deletion(
        datasets=tuple(record.name for record in found),
        n_conversations=sum(record.n_conversations for record in found),
        n_queries=sum(record.n_queries for record in found),
        n_texts=len(gone),
        runs=tuple(touched),
    )


def delete_dataset(session: Session, dataset: str) -> Deletion:
    """Delete a data set, and the runs that cover texts which only it has.

    Raises:
        InvalidInputError: there is no such data set.
    """
    return _delete(session, dataset)


def clear(session: Session) -> Deletion:
    """Delete every data set and every run. The vectors stay, as rows that nothing refers to."""
    return _delete(session, None)


def delete_run(session: Session, run_id: str) -> str:
    """Delete a run with its clusters and members; returns its id.

    Raises:
        InvalidInputError: there is no such run.
    """
    with session.writer("delete"), session.store.writing() as connection:
        run = reading.get_run(connection, run_id)
        writing.delete_run(connection, run.run_id)
    return run.run_id


def _delete(session: Session, dataset: str | None) -> Deletion:
    with session.writer("delete"):
        plan = plan_deletion(session, dataset)
        found = _datasets(session, dataset)
        with session.store.writing() as connection:
            runs = plan.runs if dataset is not None else [run.run_id for run in reading.runs(connection)]
            for run_id in runs:
                writing.delete_run(connection, run_id)
            writing.forget_answers(connection, None if dataset is None else runs)
            files = [file for record in found for file in writing.delete_dataset(connection, record.id)]
            derived = [
                *reading.array_files(connection, "columns"),
                *reading.array_files(connection, "near_duplicates"),
            ]
            writing.remove_array_files(connection, [file.file for file in derived])
            writing.set_value(connection, "n_signatures", "0")  # they hold traces of the texts
        for file in (*files, *(file.file for file in derived)):
            session.folder.remove(file)
        session.store.fold_log()
        session.kept.clear()
        columns.extend(session)
        duplicates.refresh(session)
    return plan


def _datasets(session: Session, dataset: str | None) -> list[DatasetRecord]:
    with session.store.reading() as connection:
        found = reading.datasets(connection)
    if dataset is None:
        return found
    chosen = [record for record in found if record.name == dataset]
    if not chosen:
        names = ", ".join(record.name for record in found) or "none"
        raise InvalidInputError(f"there is no data set {dataset!r}: there are {names}")
    return chosen
