"""How rows of a table become conversations: Polars expressions for turns, time and the fields that are only kept.

It opens no file and runs no query; `tables` does.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from lmsys_rs.errors import ReaderError
from lmsys_rs.readers.fields import Fields
from lmsys_rs.records import CONVERSATION_SCHEMA

__all__ = ["LINE", "conversation_columns"]

LINE = "__lmsys_line"
TURN_FIELDS = "turn_fields"  # where the other fields of the turns go in `extra`, as the JSON reader names it too


def conversation_columns(frame: pl.LazyFrame, fields: Fields, schema: pl.Schema, *, file: str) -> pl.LazyFrame:
    """The rows of ``frame`` (which has the row number in column `LINE`) in `CONVERSATION_SCHEMA`.

    Raises:
        ReaderError: the column with the turns holds something else.
    """
    used = {fields.turns, fields.text, fields.conversation_id, fields.model, fields.language, fields.timestamp, LINE}
    extra = [_json_value(name, dtype) for name, dtype in schema.items() if name not in used]
    if fields.timestamp is not None and schema[fields.timestamp] == pl.String:
        # a time that cannot be read is kept as it was written
        parsed = _timestamp(fields.timestamp, schema)
        extra.append(pl.when(parsed.is_null()).then(pl.col(fields.timestamp)).alias(fields.timestamp))
    if fields.turns is not None:
        turns, rest = _turns(fields, schema[fields.turns], file)
        extra.extend(rest)
    else:
        text = pl.col(str(fields.text)).cast(pl.String)
        turn = pl.concat_list(pl.struct(pl.lit("user").alias("role"), text.alias("content")))
        turns = pl.when(text.is_not_null()).then(turn).otherwise(pl.lit([], dtype=CONVERSATION_SCHEMA["turns"]))
    return frame.select(
        _string(fields.conversation_id).alias("conversation_id"),
        _string(fields.model).alias("model"),
        _string(fields.language).alias("language"),
        _timestamp(fields.timestamp, schema).alias("timestamp"),
        turns.alias("turns"),
        (pl.struct(extra).struct.json_encode() if extra else pl.lit(None, dtype=pl.String)).alias("extra"),
        pl.col(LINE).cast(pl.UInt64).alias("line"),
    )


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


def _json_value(name: str, dtype: pl.DataType) -> pl.Expr:
    """A column as Polars can write it into JSON: it panics on bytes, at any depth."""
    if dtype == pl.Binary:
        return pl.col(name).bin.encode("base64")
    if dtype == pl.Object:
        return pl.lit(None, dtype=pl.String).alias(name)
    readable = _without_bytes(dtype)
    return pl.col(name) if readable == dtype else pl.col(name).cast(readable, strict=False)


def _without_bytes(dtype: pl.DataType) -> pl.DataType:
    if isinstance(dtype, pl.List):
        return pl.List(_without_bytes(_instance(dtype.inner)))
    if isinstance(dtype, pl.Array):
        return pl.Array(_without_bytes(_instance(dtype.inner)), dtype.size)
    if isinstance(dtype, pl.Struct):
        return pl.Struct({field.name: _without_bytes(_instance(field.dtype)) for field in dtype.fields})
    return pl.String() if dtype == pl.Binary else dtype


def _instance(dtype: Any) -> pl.DataType:
    instance: pl.DataType = dtype() if isinstance(dtype, type) else dtype
    return instance


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
