"""How the fields that a table keeps beside our own become JSON: the column ``extra`` is a struct until someone asks.

It decides nothing about which fields are kept; the readers do.
"""

from __future__ import annotations

from typing import Any

import polars as pl

__all__ = ["extra_as_json"]


def extra_as_json(dtype: pl.DataType | type[pl.DataType]) -> pl.Expr:
    """Column ``extra`` of a frame as JSON text, whatever a reader made of it.

    Text stays as it is, a struct becomes an object with all its fields, and a column of nulls stays null. Bytes are
    written in base64 (within lists and structs as text, if they are), durations as a number in their unit.

    Args:
        dtype: of that column: String, Struct or Null.
    """
    column = pl.col("extra")
    if not isinstance(dtype, pl.Struct):
        return column.cast(pl.String)
    if not dtype.fields:
        return pl.lit(None, dtype=pl.String).alias("extra")
    readable = [
        json_value(column.struct.field(field.name), _instance(field.dtype)).alias(field.name) for field in dtype.fields
    ]
    return pl.when(column.is_not_null()).then(pl.struct(readable).struct.json_encode()).alias("extra")


def json_value(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """A column as Polars can write it into JSON: it panics on bytes, at any depth."""
    if dtype == pl.Binary:
        return column.bin.encode("base64")
    if dtype == pl.Object:
        return pl.lit(None, dtype=pl.String)
    readable = _readable(dtype)
    return column if readable == dtype else column.cast(readable, strict=False)


def _readable(dtype: pl.DataType) -> pl.DataType:
    if isinstance(dtype, pl.List):
        return pl.List(_readable(_instance(dtype.inner)))
    if isinstance(dtype, pl.Array):
        return pl.List(_readable(_instance(dtype.inner)))
    if isinstance(dtype, pl.Struct):
        return pl.Struct({field.name: _readable(_instance(field.dtype)) for field in dtype.fields})
    if dtype == pl.Duration:
        return pl.Int64()
    if dtype in (pl.Binary, pl.Time, pl.Decimal, pl.Categorical, pl.Enum):
        return pl.String()
    return dtype


def _instance(dtype: Any) -> pl.DataType:
    instance: pl.DataType = dtype() if isinstance(dtype, type) else dtype
    return instance
