"""Which clusters does a map show, in which order, where and in which colour? The same for the page and the plot.

It does not write anything and does not know screens: places are in the square [-1, 1] x [-1, 1].
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from lmsys_rs.map_groups import FlatGroups, branches, flat_groups, shade

if TYPE_CHECKING:
    from lmsys_rs.map import MapData

__all__ = ["FEW_COLORS", "MANY_COLORS", "PlacedClusters", "normalised", "placed_clusters"]

# Okabe and Ito's colours for colour-blind readers, black left out because it vanishes on a dark page.
FEW_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#B8A800")
# Beyond seven: 20 hues at about the same distance in OKLCH, lightness alternating so that neighbours differ twice.
MANY_COLORS = (
    "#e5484d", "#4f7df0", "#2f9e6e", "#d98a00", "#9a5fe0", "#1ba5b8", "#d9559e", "#7a9a12", "#c76a3f", "#5b62c9",
    "#e07b7f", "#2a86c8", "#53b257", "#b58a1c", "#b77be8", "#0f8f86", "#b8428a", "#93b83a", "#a8563a", "#7f95f5",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PlacedClusters:
    """Clusters as the page and the plot show them."""

    rows: list[dict[str, Any]]  # largest first; what the page reads
    codes: npt.NDArray[np.int32]  # per text: index into rows, -1 = noise
    box: tuple[float, float, float, float]  # x0, x1, y0, y1 of the first view
    groups: list[dict[str, Any]] = field(default_factory=list)  # each after its parent; empty = no hierarchy


def placed_clusters(data: MapData) -> PlacedClusters:
    """Largest cluster first; one without a name is called "Cluster <id>"."""
    named = pl.DataFrame(
        {
            "cluster_id": [int(c.cluster_id) for c in data.clusters],
            "title": [c.title for c in data.clusters],
            "description": [c.description for c in data.clusters],
            "size": [int(c.size) for c in data.clusters],
        },
        schema={"cluster_id": pl.Int64, "title": pl.String, "description": pl.String, "size": pl.Int64},
    )
    xy = normalised(data.xy)
    points = pl.DataFrame({"cluster_id": data.cluster_ids.astype(np.int64), "x": xy[:, 0], "y": xy[:, 1]})
    points = points.with_row_index("row")
    clustered = points.filter(pl.col("cluster_id") >= 0)
    anchors = _anchors(clustered, "cluster_id")
    table = (
        anchors.join(named.filter(pl.col("cluster_id") >= 0), on="cluster_id", how="full", coalesce=True)
        .with_columns(
            pl.col("n_points").fill_null(0),
            pl.col("title").fill_null(pl.format("Cluster {}", "cluster_id")),
            pl.col("description").fill_null(""),
        )
        .with_columns(pl.when(pl.col("size") > 0).then("size").otherwise("n_points").alias("size"))
        .sort(["n_points", "size", "cluster_id"], descending=[True, True, False])
        .with_row_index("code")
    )
    codes = (
        points.join(table.select("cluster_id", "code"), on="cluster_id", how="left", maintain_order="left")
        .get_column("code")
        .cast(pl.Int32)
        .fill_null(-1)
        .to_numpy()
    )
    places = table.select("x", "y").fill_null(0.0).to_numpy()
    flat = flat_groups(data.groups, {i: code for code, i in enumerate(table.get_column("cluster_id").to_list())})
    colors = _branch_colors(flat, places) if flat.groups else _cluster_colors(places)
    rows = [
        {
            "id": row["cluster_id"],
            "title": row["title"].strip() or f"Cluster {row['cluster_id']}",
            "description": row["description"],
            "size": row["size"],
            "points": row["n_points"],
            "x": row["x"],
            "y": row["y"],
            "color": color,
        }
        for row, color in zip(table.iter_rows(named=True), colors, strict=True)
    ]
    groups = _placed_groups(flat, rows, points.with_columns(code=codes))
    placed = table.filter(pl.col("n_points") > 0).select("x", "y").to_numpy()
    return PlacedClusters(
        rows=rows, codes=np.ascontiguousarray(codes, dtype="<i4"), box=_first_view(xy, placed), groups=groups
    )


def _anchors(points: pl.DataFrame, key: str) -> pl.DataFrame:
    """Per value of ``key``: how many points, and the place for a label.

    A median can fall into a gap (two islands, a ring): the label goes to the point nearest to it.
    """
    medians = points.group_by(key).agg(
        pl.len().alias("n_points"), pl.col("x").median().alias("mx"), pl.col("y").median().alias("my")
    )
    distance = (pl.col("x") - pl.col("mx")) ** 2 + (pl.col("y") - pl.col("my")) ** 2
    return (
        points.join(medians, on=key, how="left", maintain_order="left")
        .with_columns(distance.alias("distance"))
        .group_by(key)
        .agg(pl.all().sort_by("distance", "row").first())
        .select(key, "n_points", "x", "y")
    )


def _placed_groups(flat: FlatGroups, rows: list[dict[str, Any]], points: pl.DataFrame) -> list[dict[str, Any]]:
    """What the page reads of each group, and the group of each cluster in its row; nothing without groups."""
    if not flat.groups:
        return []
    for row, group in zip(rows, flat.group_of, strict=True):
        row["group"] = group
    paths = [flat.above(group) for group in flat.group_of]
    places: dict[int, tuple[float, float]] = {}
    for level in range(max(map(len, paths))):
        on_level = [(code, path[level]) for code, path in enumerate(paths) if len(path) > level]
        mapping = pl.DataFrame(on_level, schema={"code": pl.Int32, "group": pl.Int32}, orient="row")
        anchors = _anchors(points.join(mapping, on="code", maintain_order="left"), "group")
        places.update({group: (x, y) for group, _, x, y in anchors.iter_rows()})
    return [
        {
            "title": group.title.strip() or "Group",
            "description": group.description,
            "parent": parent,
            "size": sum(rows[code]["size"] for code in codes),
            "points": sum(rows[code]["points"] for code in codes),
            "x": places[index][0] if index in places else None,
            "y": places[index][1] if index in places else None,
            "color": rows[codes[0]]["color"],
        }
        for index, (group, parent, codes) in enumerate(zip(flat.groups, flat.parents, flat.codes, strict=True))
    ]


def normalised(xy: np.ndarray) -> npt.NDArray[np.float64]:
    """Coordinates in [-1, 1], both axes by the same factor, so that distances keep their proportions."""
    points = xy.astype(np.float64)
    if len(points) == 0:
        return points
    low, high = points.min(axis=0), points.max(axis=0)
    half = float((high - low).max()) / 2.0
    centred = points - (low + high) / 2.0
    return centred / half if half > 0 else np.zeros_like(points)


def _first_view(xy: npt.NDArray[np.float64], anchors: npt.NDArray[np.float64]) -> tuple[float, float, float, float]:
    """The box of all but the outermost 0.5% on each side, and of every cluster: a few strays must not shrink it."""
    if len(xy) == 0:
        return (-1.0, 1.0, -1.0, 1.0)
    low, high = np.quantile(xy, (0.005, 0.995), axis=0)
    if len(anchors):
        low, high = np.minimum(low, anchors.min(axis=0)), np.maximum(high, anchors.max(axis=0))
    margin = max(0.04 * float((high - low).max()), 0.02)
    return (float(low[0]) - margin, float(high[0]) + margin, float(low[1]) - margin, float(high[1]) + margin)


def _cluster_colors(anchors: npt.NDArray[np.float64]) -> list[str]:
    """A colour per cluster, largest first: the one whose nearest user on the map is farthest away."""
    palette = FEW_COLORS if len(anchors) <= len(FEW_COLORS) else MANY_COLORS
    nearest = np.full((len(anchors), len(palette)), np.inf)
    colors = []
    for row, anchor in enumerate(anchors):
        choice = int(np.argmax(nearest[row]))
        colors.append(palette[choice])
        np.minimum(nearest[:, choice], ((anchors - anchor) ** 2).sum(axis=1), out=nearest[:, choice])
    return colors


def _branch_colors(flat: FlatGroups, places: npt.NDArray[np.float64]) -> list[str]:
    """Shades of one colour for the clusters of a branch; enough branches that a map of few tops is not all of one."""
    branch_of = branches(flat, len(FEW_COLORS))
    firsts = sorted(set(branch_of))
    color_of = dict(zip(firsts, _cluster_colors(places[firsts]), strict=True))
    n_before = dict.fromkeys(firsts, 0)
    colors = []
    for branch in branch_of:
        colors.append(shade(color_of[branch], n_before[branch]))
        n_before[branch] += 1
    return colors
