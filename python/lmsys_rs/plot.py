"""What does a projection look like on paper: one still picture, PNG or SVG, drawn by matplotlib.

It is the only module that imports matplotlib, and only when a picture is written.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lmsys_rs.errors import InvalidInputError, LmsysError
from lmsys_rs.map_clusters import normalised, placed_clusters

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lmsys_rs.map import MapData

__all__ = ["write_plot"]

_MAX_PLOT_TITLES = 60
_TITLE_CHARS = 34


def write_plot(data: MapData, path: str | os.PathLike[str]) -> Path:
    """Write a still picture: points coloured by cluster, noise grey below, titles of the largest clusters.

    Args:
        data: what to show.
        path: ends in ``.png`` or ``.svg``. In an SVG the points are one embedded image, the titles stay vectors.

    Returns:
        The path written.

    Raises:
        InvalidInputError: another suffix.
        LmsysError: matplotlib is not installed.
    """
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in (".png", ".svg"):
        raise InvalidInputError(f"a map plot must end in .png or .svg: got {target.name!r}")
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise LmsysError("a map plot needs matplotlib", hint="pip install matplotlib") from error

    # The salt and the missing date make the same data give the same bytes.
    with matplotlib.rc_context({"font.family": _plot_fonts(), "svg.hashsalt": "lmsys_rs"}), warnings.catch_warnings():
        # A title may hold a glyph that no installed font has: it becomes a box, which is no reason to warn or fail.
        warnings.filterwarnings("ignore", message=".*[Gg]lyph.*missing.*")
        figure = Figure(figsize=(14, 9), dpi=150, facecolor="#ffffff")
        _draw_plot(data, figure)
        figure.savefig(target, format=suffix[1:], metadata={"Date": None} if suffix == ".svg" else None)
    return target


def _draw_plot(data: MapData, figure: Figure) -> None:
    clusters = placed_clusters(data)
    xy = normalised(data.xy)
    n_texts = len(xy)
    axes = figure.add_axes((0.01, 0.035, 0.98, 0.9))
    axes.set_axis_off()
    if n_texts:
        # Equal units on both axes: the limits take the shape of the axes' box.
        width, height = axes.get_window_extent().size
        x0, x1, y0, y1 = clusters.box
        half = 0.52 * max(y1 - y0, (x1 - x0) * height / width)
        axes.set_xlim((x0 + x1) / 2 - half * width / height, (x0 + x1) / 2 + half * width / height)
        axes.set_ylim((y0 + y1) / 2 - half, (y0 + y1) / 2 + half)
        area = float(np.clip(90_000.0 / n_texts, 0.7, 30.0))
        noise = clusters.codes < 0
        axes.scatter(xy[noise, 0], xy[noise, 1], s=area * 0.7, c="#b9bec7", alpha=0.35, linewidths=0, rasterized=True)
        palette = np.array([row["color"] for row in clusters.rows] or ["#000000"])
        # Drawn in one random order, so that no cluster hides another only because its number is higher.
        order = np.random.default_rng(0).permutation(np.flatnonzero(~noise))
        colors = palette[clusters.codes[order]]
        axes.scatter(xy[order, 0], xy[order, 1], s=area, c=colors.tolist(), alpha=0.75, linewidths=0, rasterized=True)
        _draw_titles(axes, figure, clusters.rows)
    else:
        axes.text(0.5, 0.5, "no texts", ha="center", va="center", transform=axes.transAxes, color="#6b7280")
    n_clusters = sum(row["points"] > 0 for row in clusters.rows)
    counts = f"{n_texts:,} texts   ·   {n_clusters:,} clusters"
    if n_texts:
        counts += f"   ·   {(clusters.codes < 0).sum() / n_texts:.0%} noise"
    plain: dict[str, Any] = {"parse_math": False}
    figure.text(
        0.02, 0.965, _shortened(data.title, 90), fontsize=16, weight="bold", va="center", color="#111827", **plain
    )
    figure.text(0.98, 0.965, counts, fontsize=11, va="center", ha="right", color="#4b5563", **plain)
    figure.text(0.02, 0.018, _shortened(data.note, 180), fontsize=8, va="center", color="#6b7280", **plain)


def _draw_titles(axes: Axes, figure: Figure, rows: list[dict[str, Any]]) -> None:
    """Titles, largest cluster first, each left out if it would touch one that is already there."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.patheffects import withStroke

    FigureCanvasAgg(figure)  # gives the figure a renderer that can measure text
    halo = [withStroke(linewidth=3, foreground="#ffffff")]
    page = figure.bbox.padded(-8)
    placed: list[Any] = []
    largest = max((row["points"] for row in rows), default=1) or 1
    for row in rows[: _MAX_PLOT_TITLES * 4]:
        if row["points"] == 0 or len(placed) >= _MAX_PLOT_TITLES:
            break
        text = axes.text(
            row["x"],
            row["y"],
            _wrapped(row["title"]),
            fontsize=7.5 + 4.5 * (row["points"] / largest) ** 0.5,
            weight="bold",
            ha="center",
            va="center",
            linespacing=1.05,
            color="#111827",
            path_effects=halo,
            parse_math=False,
        )
        box = text.get_window_extent().padded(3)
        inside = page.x0 < box.x0 and box.x1 < page.x1 and page.y0 < box.y0 and box.y1 < page.y1
        if not inside or any(box.overlaps(other) for other in placed):
            text.remove()
        else:
            placed.append(box)


def _wrapped(title: str) -> str:
    """The title on at most two lines of about equal length."""
    short = _shortened(title, _TITLE_CHARS * 2)
    if len(short) <= _TITLE_CHARS * 2 // 3:
        return short
    breaks = [i for i, char in enumerate(short) if char == " "]
    if not breaks:
        return short
    middle = min(breaks, key=lambda i: abs(i - len(short) / 2))
    return f"{short[:middle]}\n{short[middle + 1 :]}"


def _shortened(text: str, n_chars: int) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= n_chars else flat[: n_chars - 1] + "…"


def _plot_fonts() -> list[str]:
    """Matplotlib's own font, then what is installed of those that hold other scripts."""
    from matplotlib import font_manager

    installed = {font.name for font in font_manager.fontManager.ttflist}
    wide = ("Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans", "Arial Unicode MS", "Microsoft YaHei", "PingFang SC")
    return ["DejaVu Sans", *(name for name in wide if name in installed)]
