"""Stored labels of texts and clusters: written once as an array file, read back as columns.

A column is named after its template (``label_task_type``) and comes from the newest labelling by it. Who labels stands
in `classifying`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from lmsys_rs.conditions import LABEL_COLUMN, where_names
from lmsys_rs.errors import InvalidInputError, StoreError
from lmsys_rs.knowledge import ClassificationRecord
from lmsys_rs.records import ArrayFileRecord, Filters
from lmsys_rs.session import Session
from lmsys_rs.store import labelling, reading, writing
from lmsys_rs.templates import COLUMN_PREFIX, column_of

__all__ = ["columns", "find", "label_column", "merged", "pinned", "read", "remove", "store"]


def store(session: Session, record: ClassificationRecord, labels: pl.DataFrame) -> ClassificationRecord:
    """Store a labelling as a whole.

    Args:
        labels: id (text_id or cluster_id), label and score.
    """
    table = labels.select(
        pl.col("id").cast(pl.Int64), pl.col("label").cast(pl.Categorical), pl.col("score").cast(pl.Float32)
    ).sort("id")

    def write(path: Path) -> None:
        table.rechunk().write_ipc(path, compression="uncompressed")  # uncompressed files can be mapped

    with session.writer("classify"):
        written = session.folder.write_file(record.file, write)
        file = ArrayFileRecord(file=record.file, kind="labels", n_bytes=written.n_bytes, checksum=written.checksum)
        with session.store.writing() as connection:
            writing.add_array_files(connection, [file])
            labelling.add_classification(connection, record)
    session.kept.pop("labels", None)
    return record


def find(session: Session, name: str = "latest", *, unit: str | None = None) -> ClassificationRecord:
    """A labelling by its id, the newest by the name of its template, or ``latest`` of all.

    Args:
        unit: only labellings of texts, or of clusters; an id is found whatever it is of.

    Raises:
        InvalidInputError: there is none.
    """
    with session.store.reading() as connection:
        found = labelling.classifications(connection)
    for record in found:
        if name == record.classification_id:
            return record
        if name in ("latest", record.template) and unit in (None, record.unit):
            return record
    if not found:
        raise InvalidInputError("nothing is labelled yet", hint="run: lmsys classify run task-type")
    named = ", ".join(dict.fromkeys(record.template for record in found))
    raise InvalidInputError(f"there is no labelling {name!r}", hint=f"labelled by: {named}; lmsys classify list")


def read(session: Session, record: ClassificationRecord) -> pl.DataFrame:
    """id, label and score of a labelling, by id.

    Raises:
        StoreError: its file is missing or damaged.
    """
    try:
        return pl.read_ipc(session.folder.path / record.file)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise StoreError(
            f"{record.file} is missing or damaged", hint=f"lmsys classify run {record.template} makes it again"
        ) from error


def columns(session: Session) -> dict[str, ClassificationRecord]:
    """The columns of labels of texts there are, each with the newest labelling it comes from."""
    newest: dict[str, ClassificationRecord] = {}
    for record in _of_texts(session):
        newest.setdefault(column_of(record.template), record)
    return newest


def pinned(session: Session, filters: Filters) -> Filters:
    """The filters with the labellings that their columns of labels are taken from now, so that they stay the same.

    Raises:
        InvalidInputError: nothing is labelled by a template that ``where`` names.
    """
    names = sorted(name for name in where_names(filters) if LABEL_COLUMN.fullmatch(name))
    if not names:
        return filters
    known = columns(session)
    return replace(filters, labelling={name: _record_of(name, known).classification_id for name in names})


def merged(session: Session, record: ClassificationRecord) -> pl.DataFrame:
    """id, label and score of a labelling of texts, and, of texts it leaves out, of older ones by the same template."""
    table = read(session, record).with_columns(pl.col("label").cast(pl.String))
    older = False
    for other in _of_texts(session):
        if older and other.template_hash == record.template_hash:
            more = read(session, other).with_columns(pl.col("label").cast(pl.String))
            table = pl.concat([table, more.join(table, on="id", how="anti")])
        older = older or other.classification_id == record.classification_id
    return table.sort("id")


def label_column(session: Session, name: str, n_texts: int, labelling: str | None = None) -> pl.Series:
    """A column of labels by text_id, null where a text has none.

    Args:
        labelling: id of the one it is taken from; None takes the newest.

    Raises:
        InvalidInputError: nothing is labelled by that template, or the labelling is gone.
    """
    record = find(session, labelling) if labelling is not None else _record_of(name, columns(session))
    kept: dict[str, Any] = session.kept.setdefault("labels", {})
    key = f"{record.classification_id}/{n_texts}"
    if key not in kept:
        table = merged(session, record).filter(pl.col("id") < n_texts)
        places = pl.DataFrame({"id": pl.int_range(n_texts, eager=True)})
        column = places.join(table, on="id", how="left", maintain_order="left")["label"]
        kept[key] = column.cast(pl.Categorical).alias(name)
    found: pl.Series = kept[key]
    return found


def _of_texts(session: Session) -> list[ClassificationRecord]:
    with session.store.reading() as connection:
        return [record for record in labelling.classifications(connection) if record.unit == "text"]


def _record_of(name: str, known: Mapping[str, ClassificationRecord]) -> ClassificationRecord:
    if name not in known:
        there = f"there are {', '.join(known)}" if known else "nothing is labelled yet"
        template = name.removeprefix(COLUMN_PREFIX).replace("_", "-")
        raise InvalidInputError(f"there is no column {name!r}: {there}", hint=f"lmsys classify run {template}")
    return known[name]


def remove(session: Session, name: str) -> ClassificationRecord:
    """Delete a labelling.

    Raises:
        InvalidInputError: there is none of that name, or a run was made of texts with labels of that template.
    """
    record = find(session, name)
    with session.writer("classify"):
        with session.store.reading() as connection:
            for run in reading.runs(connection):
                if column_of(record.template) in (run.filters.get("labelling") or {}):
                    raise InvalidInputError(
                        f"{run.run_id} was made of texts with these labels", hint=f"lmsys delete --run {run.run_id}"
                    )
        with session.store.writing() as connection:
            labelling.remove_classification(connection, record.classification_id)
            writing.remove_array_files(connection, [record.file])
        session.folder.remove(record.file)
    session.kept.pop("labels", None)
    return record
