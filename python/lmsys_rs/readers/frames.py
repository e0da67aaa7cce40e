"""How rows of a table become conversations: Polars expressions for turns, time and the fields that are only kept.

It opens no file and runs no query; `tables` does. Kept columns stay as they are, in a struct; `extras` makes it JSON.
"""

from __future__ import annotations

import polars as pl

from lmsys_rs.errors import ReaderError
from lmsys_rs.readers.fields import Fields
from lmsys_rs.records import CONVERSATION_SCHEMA

__all__ = ["LINE", "conversation_columns", "has_plain_turns"]

LINE = "__lmsys_line"
TURN_FIELDS = "turn_fields"  # where the other fields of the turns go in `extra`, as the JSON reader names it too


def conversation_columns(frame: pl.LazyFrame, fields: Fields, schema: pl.Schema, *, file: str) -> pl.LazyFrame:
    """The rows of ``frame`` (which has the row number in column `LINE`) in `CONVERSATION_SCHEMA`.

    Raises:
        ReaderError: the column with the turns holds something else.
    """
    used = {fields.turns, fields.text, fields.conversation_id, fields.model, fields.language, fields.timestamp, LINE}
    extra = [pl.col(name) for name, dtype in schema.items() if name not in used and dtype != pl.Object]
    if fields.timestamp is not None and schema[fields.timestamp] == pl.String:
        # a time that cannot be read is kept as it was written
        parsed = _timestamp(fields.timestamp, schema)
        extra.append(pl.when(parsed.is_null()).then(pl.col(fields.timestamp)).alias(fields.timestamp))
    conversation_id = _string(fields.conversation_id)
    if fields.turns is not None:
        turns, rest = _turns(fields, schema[fields.turns], file)
        extra.extend(rest)
        turn_id = _turn_id(fields, schema[fields.turns])
        conversation_id = conversation_id if turn_id is None else pl.coalesce(turn_id, conversation_id)
    else:
        text = pl.col(str(fields.text)).cast(pl.String)
        turn = pl.concat_list(pl.struct(pl.lit("user").alias("role"), text.alias("content")))
        turns = pl.when(text.is_not_null()).then(turn).otherwise(pl.lit([], dtype=CONVERSATION_SCHEMA["turns"]))
    return frame.select(
        conversation_id.alias("conversation_id"),
        _string(fields.model).alias("model"),
        _string(fields.language).alias("language"),
        _timestamp(fields.timestamp, schema).alias("timestamp"),
        turns.alias("turns"),
        (pl.struct(extra) if extra else pl.lit(None, dtype=pl.String)).alias("extra"),
        pl.col(LINE).cast(pl.UInt64).alias("line"),
    )


def has_plain_turns(fields: Fields, schema: pl.Schema) -> bool:
    """Whether the column with the turns can be read by expressions: objects whose content is a text."""
    dtype = schema[str(fields.turns)]
    if isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.Struct):
        present = {field.name: field.dtype for field in dtype.inner.fields}
        content = next((present[key] for key in fields.content if key in present), pl.String())
        return not isinstance(content, (pl.List, pl.Struct, pl.Array))
    return dtype != pl.String


def _turn_id(fields: Fields, dtype: pl.DataType) -> pl.Expr | None:
    inner = dtype.inner if isinstance(dtype, pl.List) else None
    present = {field.name for field in inner.fields} if isinstance(inner, pl.Struct) else set()
    name = next((name for name in fields.turn_id if name in present), None)
    if name is None:
        return None
    return pl.col(str(fields.turns)).list.first().struct.field(name).cast(pl.String)


def _turns(fields: Fields, dtype: pl.DataType, file: str) -> tuple[pl.Expr, list[pl.Expr]]:
    """The turns in our shape, and the other fields of the turns (if any) as one more column to keep."""
    name = str(fields.turns)
    if not isinstance(dtype, pl.List) or not isinstance(dtype.inner, pl.Struct):
        raise ReaderError(
            f"{file}: column {name!r} does not hold turns: need a list of objects, got {dtype}", file=file
        )
    present = {field.name: field.dtype for field in dtype.inner.fields}
    role = next((key for key in fields.role if key in present), None)
    content = next((key for key in fields.content if key in present), None)
    if role is None or content is None:
        raise ReaderError(
            f"{file}: column {name!r} does not hold turns: need {'/'.join(fields.role)} and "
            f"{'/'.join(fields.content)}, "
            f"its objects have {', '.join(present)}",
            file=file,
        )
    turn = pl.element().struct
    turns = pl.col(name).list.eval(
        pl.struct(
            turn.field(role).cast(pl.String).str.to_lowercase().replace(dict(fields.roles)).alias("role"),
            turn.field(content).cast(pl.String).alias("content"),
        )
    )
    empty = pl.lit([], dtype=CONVERSATION_SCHEMA["turns"])
    others = [key for key in present if key not in (role, content)]
    rest = [pl.col(name).list.eval(pl.struct(turn.field(*others))).alias(TURN_FIELDS)] if others else []
    return pl.coalesce(turns, empty), rest


def _string(name: str | None) -> pl.Expr:
    """A column as text; an empty one (all that CSV has for "none") is null."""
    if name is None:
        return pl.lit(None, dtype=pl.String)
    text = pl.col(name).cast(pl.String)
    return pl.when(text != "").then(text)


def _timestamp(name: str | None, schema: pl.Schema) -> pl.Expr:
    target = CONVERSATION_SCHEMA["timestamp"]
    if name is None:
        return pl.lit(None, dtype=target)
    column, dtype = pl.col(name), schema[name]
    if isinstance(dtype, pl.Datetime):
        return (column if dtype.time_zone else column.dt.replace_time_zone("UTC")).cast(target)
    if dtype == pl.Date:
        return column.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    if dtype.is_numeric():
        return _epoch(column.cast(pl.Float64))
    if dtype == pl.String:
        return pl.coalesce(_iso_time(column), _epoch(column.cast(pl.Float64, strict=False)))
    return pl.lit(None, dtype=target)


def _epoch(column: pl.Expr) -> pl.Expr:
    """Seconds, or milli-, micro- or nanoseconds where the number is too large to be seconds (year 5138)."""
    micros = (
        pl.when(column.abs() < 1e11)
        .then(column * 1e6)
        .when(column.abs() < 1e14)
        .then(column * 1e3)
        .when(column.abs() < 1e17)
        .then(column)
        .otherwise(column / 1e3)
    )
    return micros.round(0).cast(pl.Int64, strict=False).cast(CONVERSATION_SCHEMA["timestamp"])


def _iso_time(column: pl.Expr) -> pl.Expr:
    """ISO 8601 with or without time, seconds, fraction and zone (then UTC); anything else becomes null."""
    return (
        column.str.strip_chars()
        .str.replace(r"^(\d{4}-\d\d-\d\d)$", "${1}T00:00:00")
        .str.replace(r"^(\d{4}-\d\d-\d\d) ", "${1}T")
        .str.replace(r"T(\d\d:\d\d)(?:$|([Zz+-]))", "T${1}:00${2}")
        .str.replace(r"(?:[Zz]| ?UTC)$", "+00:00")
        .str.replace(r"([+-]\d\d)(\d\d)$", "${1}:${2}")
        .str.replace(r"(T[\d:.]+)$", "${1}+00:00")
        .str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%:z", time_unit="us", time_zone="UTC", strict=False)
    )
