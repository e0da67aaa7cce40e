"""What a filter means: `Filters` as a Polars condition over the columns of a query.

Pure: it knows column names and types, no files. The same condition decides what is loaded, clustered, listed, searched
and exported.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

import polars as pl
from polars.exceptions import PolarsError

from lmsys_rs.errors import InvalidInputError
from lmsys_rs.records import Filters

__all__ = [
    "LABEL_COLUMN",
    "WHERE_COLUMNS",
    "checked",
    "effective_language",
    "make_filters",
    "parse_time",
    "where_names",
]

WHERE_COLUMNS: dict[str, str] = {
    "query_id": "number of the query",
    "conversation_id": "number of its conversation in the workspace",
    "position": "which turn of the conversation it is, from 0; -1 is the whole dialogue",
    "text_id": "number of its text",
    "text": "the text itself",
    "dataset": "name of the data set",
    "model": "model that answered",
    "language": "of the source, or, where that says nothing, the detected one",
    "source_language": "language as the source says",
    "detected_language": "language of the text, detected",
    "language_confidence": "of the detection, 0 to 1",
    "timestamp": "time of the conversation (compare with DATE '2024-01-31')",
    "n_turns": "turns of the conversation, answers included",
    "n_occurrences": "how many queries of the workspace have the same text",
    "n_chars": "length of the text in characters",
    "n_words": "length of the text in words",
    "quality": "0 to 1, see docs/signals.md",
    "quality_length": "a part of the quality",
    "quality_letters": "a part of the quality",
    "quality_repetition": "a part of the quality",
    "quality_variety": "a part of the quality",
    "quality_wording": "a part of the quality",
    "personal": "bits of the kinds of personal data found; 0 is none",
    "template": "number that texts made from one template share",
    "near_duplicate": "smallest text_id of the group of near-duplicates",
}
"""Column name to what it holds: all that ``--where`` may name."""

LABEL_COLUMN = re.compile(r"label_[a-z0-9_]+")
"""Columns of labels that were given by a template: ``label_task_type = 'coding'``."""

UNKNOWN_LANGUAGES = ["", "unknown"]


def effective_language() -> pl.Expr:
    """Column ``language`` out of ``source_language`` and ``detected_language``."""
    said = pl.col("source_language")
    return (
        pl.when(said.is_null() | said.cast(pl.String).str.to_lowercase().is_in(UNKNOWN_LANGUAGES))
        .then(pl.col("detected_language"))
        .otherwise(said)
        .alias("language")
    )


def where_names(filters: Filters) -> set[str]:
    """Columns that the filters look at.

    Raises:
        InvalidInputError: ``where`` is no condition in SQL, or names a column that does not exist.
    """
    plain = {
        "dataset": filters.dataset,
        "model": filters.model,
        "language": filters.language,
        "n_chars": filters.min_length if filters.min_length is not None else filters.max_length,
        "quality": filters.min_quality,
        "timestamp": filters.since or filters.until,
    }
    names = {name for name, value in plain.items() if value is not None}
    if filters.near_duplicates is False:
        names.add("near_duplicate")
    if filters.where is not None:
        names |= set(_parsed(filters.where).meta.root_names())
    for name in sorted(names - set(WHERE_COLUMNS)):
        if LABEL_COLUMN.fullmatch(name):  # which there are is known to the workspace only
            continue
        near = difflib.get_close_matches(name, WHERE_COLUMNS, n=2)
        raise InvalidInputError(
            f"where: there is no column {name!r}: the columns are {', '.join(WHERE_COLUMNS)}",
            hint=(f"did you mean {' or '.join(near)}? " if near else "") + "Text stands in single quotes",
        )
    return names


def checked(filters: Filters, schema: Mapping[str, Any]) -> pl.Expr:
    """The condition over a frame that has at least the columns `where_names`; true where nothing is asked.

    Args:
        schema: names and types of the frame.

    Raises:
        InvalidInputError: ``where`` is no condition, or a column it needs is not in the frame.
    """
    missing = where_names(filters) - set(schema)
    if missing:
        raise InvalidInputError(
            f"{', '.join(sorted(missing))} is not known before everything is loaded",
            hint="load all of it, and filter when clustering, listing or exporting",
        )
    conditions = [
        pl.col(name) == value
        for name, value in (("dataset", filters.dataset), ("model", filters.model), ("language", filters.language))
        if value is not None
    ]
    if filters.min_length is not None:
        conditions.append(pl.col("n_chars") >= filters.min_length)
    if filters.max_length is not None:
        conditions.append(pl.col("n_chars") <= filters.max_length)
    if filters.min_quality is not None:
        conditions.append(pl.col("quality") >= filters.min_quality)
    if filters.since is not None:
        conditions.append(pl.col("timestamp") >= filters.since)
    if filters.until is not None:
        conditions.append(pl.col("timestamp") < filters.until)
    if filters.where is not None:
        conditions.append(_typed(filters.where, schema))
    # a value that is missing (a time, a model) passes no condition
    return pl.all_horizontal(conditions).fill_null(value=False) if conditions else pl.lit(value=True)


def parse_time(value: str | datetime | None, name: str) -> datetime | None:
    """A time with zone from ISO 8601: a year, month, day or second; without a zone it is UTC.

    Raises:
        InvalidInputError: it is no time.
    """
    if value is None:
        return None
    if isinstance(value, str):
        text = value.strip().replace("Z", "+00:00")
        padded = text + "-01-01"[len(text) - 4 :] if len(text) in (4, 7) else text
        try:
            value = datetime.fromisoformat(padded)
        except ValueError as error:
            raise InvalidInputError(
                f"{name} must be a time such as 2023-04-27 or 2023-04-27T12:00:00: {value!r}"
            ) from error
    return value.replace(tzinfo=timezone.utc) if value.tzinfo is None else value.astimezone(timezone.utc)


def _parsed(where: str) -> pl.Expr:
    try:
        return pl.sql_expr(where)
    except PolarsError as error:
        raise _no_condition(where, error) from error


def _typed(where: str, schema: Mapping[str, Any]) -> pl.Expr:
    """The condition, checked on an empty frame: its mistakes are found before any work is done."""
    expression = _parsed(where)
    names = sorted(set(expression.meta.root_names()))
    # LIKE and the functions of text want text
    dtypes = {name: pl.String() if schema[name] == pl.Categorical else schema[name] for name in names}
    try:
        answer = pl.DataFrame(schema=dtypes or {"query_id": pl.Int64()}).select(expression.alias("answer")).schema
    except PolarsError as error:
        raise _no_condition(where, error) from error
    if answer["answer"] != pl.Boolean:
        raise InvalidInputError(f"where must be true or false for each query: {where!r} is {answer['answer']}")
    text = [name for name in names if schema[name] == pl.Categorical]
    if not text:
        return expression
    fields = pl.struct(pl.col(name).cast(pl.String) if name in text else pl.col(name) for name in names)
    return fields.map_batches(
        lambda series: series.struct.unnest().select(expression.alias("answer")).to_series(),
        return_dtype=pl.Boolean,
    )


def _no_condition(where: str, error: PolarsError) -> InvalidInputError:
    reason = str(error).strip().splitlines()[0]
    if "cannot compare 'date" in reason:
        return InvalidInputError(
            f"where compares a time with text: {where!r}",
            hint="a day is written DATE '2023-05-01': timestamp >= DATE '2023-05-01'",
        )
    return InvalidInputError(
        f"where is no condition in SQL: {where!r}: {reason}",
        hint="such as: n_turns > 2 AND language = 'English' AND text LIKE '%refund%'",
    )


def make_filters(
    *,
    since: str | datetime | None = None,
    until: str | datetime | None = None,
    **others: Any,
) -> Filters:
    """`Filters` out of what people write: times as text too, None where nothing is asked.

    Raises:
        InvalidInputError: an unknown name, a time that is none, or limits that exclude each other.
    """
    unknown = sorted(set(others) - set(Filters.__dataclass_fields__))
    if unknown:
        raise InvalidInputError(
            f"there is no filter {unknown[0]!r}: there are {', '.join(Filters.__dataclass_fields__)}"
        )
    filters = Filters(since=parse_time(since, "since"), until=parse_time(until, "until"), **others)
    if filters.min_length is not None and filters.max_length is not None and filters.min_length > filters.max_length:
        raise InvalidInputError(f"min_length must be <= max_length: {filters.min_length} > {filters.max_length}")
    if filters.since is not None and filters.until is not None and filters.since >= filters.until:
        raise InvalidInputError(f"since must be before until: {filters.since} >= {filters.until}")
    if filters.min_quality is not None and not 0 <= filters.min_quality <= 1:
        raise InvalidInputError(f"min_quality must be between 0 and 1: {filters.min_quality}")
    where_names(filters)
    return filters
