"""What does a projection look like: its data, written as one offline HTML page, for a browser or for Jupyter.

It does not compute coordinates, clusters or names and opens no store: it draws the arrays that it is given. The still
picture is made by ``plot``, and ``map_clusters`` gives both the same order, places and colours.

Texts are untrusted. They enter the page only as base64 of deflated bytes inside a data block, whose alphabet cannot
close a tag, and the page shows them through ``textContent`` under a Content-Security-Policy that allows no network.
"""

from __future__ import annotations

import base64
import html as html_escape
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from lmsys_rs.errors import InvalidInputError
from lmsys_rs.map_clusters import FEW_COLORS, MANY_COLORS, normalised, placed_clusters
from lmsys_rs.plot import write_plot

__all__ = ["MapCluster", "MapData", "MapGroup", "html", "iframe", "write_html", "write_plot"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MapCluster:
    """One cluster as the map names it; ``size`` 0 means: count its points."""

    cluster_id: int
    title: str
    description: str = ""
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MapGroup:
    """What a hierarchy puts together: groups, clusters by their ids, or both."""

    title: str
    description: str = ""
    groups: Sequence[MapGroup] = ()
    cluster_ids: Sequence[int] = ()

    def all_cluster_ids(self) -> Iterator[int]:
        """The clusters in it and in the groups below."""
        yield from self.cluster_ids
        for group in self.groups:
            yield from group.all_cluster_ids()


@dataclass(frozen=True, slots=True, kw_only=True)
class MapData:
    """Everything a map shows, one row per distinct text.

    Args:
        title: shown in the header.
        xy: coordinates, (n, 2), finite.
        cluster_ids: (n,) cluster of each text, -1 = noise.
        texts: n strings; long ones are cut when written.
        clusters: names; a cluster id without one is shown as "Cluster <id>".
        groups: the tops of a hierarchy over the clusters; a cluster in none of them stands alone.
        models: n strings or nulls, to colour and filter by.
        languages: n strings or nulls, to colour and filter by.
        timestamps: n Date or Datetime values or nulls, to colour and filter by.
        weights: (n,) how often each text occurs.
        note: footer, for example the run id and its parameters.

    Raises:
        InvalidInputError: a column has another length or type, or a coordinate is not finite, or a cluster is twice
            in the names or in the groups.
    """

    title: str
    xy: np.ndarray
    cluster_ids: np.ndarray
    texts: pl.Series
    clusters: Sequence[MapCluster]
    groups: Sequence[MapGroup] = ()
    models: pl.Series | None = None
    languages: pl.Series | None = None
    timestamps: pl.Series | None = None
    weights: np.ndarray | None = None
    note: str = ""

    def __post_init__(self) -> None:
        n_texts = len(self.texts)
        if self.xy.ndim != 2 or self.xy.shape[1] != 2:
            raise InvalidInputError(f"xy must have shape (n, 2): got {self.xy.shape}")
        columns: dict[str, Any] = {
            "xy": self.xy,
            "cluster_ids": self.cluster_ids,
            "models": self.models,
            "languages": self.languages,
            "timestamps": self.timestamps,
            "weights": self.weights,
        }
        for name, column in columns.items():
            if column is not None and len(column) != n_texts:
                raise InvalidInputError(f"{name} must have one row per text: {len(column)} != {n_texts}")
        finite = np.isfinite(self.xy).all(axis=1)
        if not finite.all():
            raise InvalidInputError(f"xy must be finite: row {int(np.argmin(finite))} is not")
        if not np.issubdtype(self.cluster_ids.dtype, np.integer) or self.cluster_ids.ndim != 1:
            raise InvalidInputError(f"cluster_ids must be a 1-d array of integers: got {self.cluster_ids.dtype}")
        for name, series in (("texts", self.texts), ("models", self.models), ("languages", self.languages)):
            if series is not None and series.dtype not in (pl.String, pl.Categorical, pl.Null):
                raise InvalidInputError(f"{name} must be strings: got {series.dtype}")
        if self.timestamps is not None and self.timestamps.dtype not in (pl.Datetime, pl.Date, pl.Null):
            raise InvalidInputError(f"timestamps must be Datetime or Date: got {self.timestamps.dtype}")
        for name, ids in (
            ("clusters must have distinct cluster_id", [cluster.cluster_id for cluster in self.clusters]),
            ("groups must hold a cluster once", [i for group in self.groups for i in group.all_cluster_ids()]),
        ):
            if len(set(ids)) != len(ids):
                twice = next(i for i in ids if ids.count(i) > 1)
                raise InvalidInputError(f"{name}: {twice} is there twice")


def write_html(data: MapData, path: str | os.PathLike[str], *, max_chars: int = 300) -> Path:
    """Write the map as one self-contained HTML file that works offline from disk.

    Args:
        data: what to show.
        path: the file to write; its folder must exist. It appears only when it is complete.
        max_chars: texts longer than this are cut and end in an ellipsis.

    Returns:
        The path written.
    """
    target = Path(path)
    partial = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as file:
            for piece in _pieces(data, max_chars):
                file.write(piece)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def html(data: MapData, *, max_chars: int = 300) -> str:
    """The page of ``write_html`` as a string."""
    return b"".join(_pieces(data, max_chars)).decode("ascii")


def iframe(html_text: str, height: int = 640) -> str:
    """The page as an inline frame for Jupyter's ``_repr_html_``.

    The frame is sandboxed: the page's scripts run in an origin of their own and cannot reach the notebook.
    """
    return (
        f'<iframe title="map" sandbox="allow-scripts" width="100%" height="{int(height)}"'
        ' style="border:1px solid rgba(128,128,128,.35);border-radius:8px"'
        f' srcdoc="{html_escape.escape(html_text, quote=True)}"></iframe>'
    )


# --- the page -------------------------------------------------------------------------------------------------------

# The page decodes texts block by block, so that it shows points before it has read all the texts.
_BLOCK_ROWS = 8192
_PLACEHOLDER = b"<!--LMSYS_MAP_DATA-->"
# The colour code of "no value" and of the values beyond the largest ones; the page knows the same number.
_NO_CODE = 65535
_MAX_CATEGORIES = 2000


def _pieces(data: MapData, max_chars: int) -> Iterator[bytes]:
    """The page as ASCII byte strings, in order; at no time does the whole page lie in memory."""
    if max_chars < 1:
        raise InvalidInputError(f"max_chars must be at least 1: got {max_chars}")
    before, after = _template().split(_PLACEHOLDER)
    yield before
    clusters = placed_clusters(data)
    columns: dict[str, Any] = {}
    blocks: list[tuple[str, bytes]] = [("xy", _packed_xy(data.xy)), ("cluster", clusters.codes.tobytes())]
    for name, series in (("model", data.models), ("language", data.languages)):
        if series is not None:
            names, codes = _categories(series)
            columns[name] = names
            blocks.append((name, codes.tobytes()))
    if data.timestamps is not None:
        seconds = _seconds(data.timestamps)
        columns["time"] = True
        blocks.append(("time", seconds.tobytes()))
    if data.weights is not None:
        weights = np.clip(np.nan_to_num(data.weights), 0, 2**32 - 1).astype("<u4")
        blocks.append(("weight", weights.tobytes()))
    n_texts = len(data.texts)
    meta: dict[str, Any] = {
        "title": data.title,
        "note": data.note,
        "n": n_texts,
        "blockRows": _BLOCK_ROWS,
        "columns": columns,
        "clusters": clusters.rows,
        "box": clusters.box,
        "noise": int((clusters.codes < 0).sum()),
        "palettes": {"few": FEW_COLORS, "many": MANY_COLORS},
    }
    if clusters.groups:
        meta["groups"] = clusters.groups
    yield _data_block("meta", zlib.compress(json.dumps(meta, separators=(",", ":")).encode("ascii"), 6))
    for name, payload in blocks:
        yield _data_block(name, zlib.compress(payload, 6))
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        starts = range(0, n_texts, _BLOCK_ROWS)

        def compressed(start: int) -> bytes:
            return zlib.compress(_joined_texts(data.texts.slice(start, _BLOCK_ROWS), max_chars), 6)

        for number, payload in enumerate(pool.map(compressed, starts)):
            yield _data_block(f"text-{number}", payload)
    yield after


def _template() -> bytes:
    path = Path(__file__).parent / "static" / "map.html"
    return path.read_bytes()


def _data_block(name: str, deflated: bytes) -> bytes:
    # A script element with an unknown type is data: it is never executed, and base64 cannot hold "</script".
    return (
        b'<script type="application/octet-stream" id="lmsys-'
        + name.encode("ascii")
        + b'">'
        + base64.b64encode(deflated)
        + b"</script>\n"
    )


def _joined_texts(texts: pl.Series, max_chars: int) -> bytes:
    """Texts of one block, cut, NUL between them (a NUL inside a text becomes U+FFFD)."""
    text = pl.col("text")
    cut = pl.when(text.str.len_chars() > max_chars).then(text.str.slice(0, max_chars - 1) + "…").otherwise(text)
    frame = pl.DataFrame({"text": texts.cast(pl.String).fill_null("")})
    joined = frame.select(cut.str.replace_all("\0", "\ufffd", literal=True).str.join("\0")).item()
    return bytes(joined.encode("utf-8"))


def _packed_xy(xy: np.ndarray) -> bytes:
    """Coordinates centred, scaled to one square and quantised to 24 bits, as three byte planes (they deflate well).

    16 bits would show a grid at 50x zoom on a wide screen; 24 bits are what a float32 holds anyway.
    """
    scaled = normalised(xy)
    steps = np.clip(np.rint((scaled + 1.0) * (2**23 - 0.5)), 0, 2**24 - 1).astype("<u4")
    planes = steps.view(np.uint8).reshape(len(steps), 2, 4)[:, :, :3]
    return bytes(planes.transpose(2, 0, 1).tobytes())


def _categories(series: pl.Series) -> tuple[list[str], npt.NDArray[np.uint16]]:
    """Distinct values, most frequent first, and the u16 code of each row; no value = _NO_CODE."""
    values = series.cast(pl.String).alias("value")
    names = (
        pl.DataFrame([values])
        .drop_nulls()
        .group_by("value")
        .len()
        .sort(["len", "value"], descending=[True, False])
        .head(_MAX_CATEGORIES)
        .with_row_index("code")
    )
    codes = pl.DataFrame([values]).join(names, on="value", how="left", maintain_order="left").get_column("code")
    return names.get_column("value").to_list(), codes.fill_null(_NO_CODE).to_numpy().astype("<u2")


def _seconds(timestamps: pl.Series) -> npt.NDArray[np.float64]:
    """Seconds since 1970 in UTC, NaN = none."""
    instants = timestamps if timestamps.dtype == pl.Datetime else timestamps.cast(pl.Datetime("ms"))
    seconds = instants.dt.epoch("ms").cast(pl.Float64) / 1000.0
    filled: npt.NDArray[np.float64] = seconds.fill_null(float("nan")).to_numpy().astype("<f8")
    return filled
