"""``lmsys map``: the picture of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lmsys_rs.cli import render
from lmsys_rs.cli.options import AsJson, RunId, Seed, WorkspaceOption, open_workspace
from lmsys_rs.drawing import write_map

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("map", epilog="Example: lmsys map latest --output map.html")(_map)


def _map(
    run: RunId = "latest",
    workspace: WorkspaceOption = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Default: map.html, map.png or map.svg.", show_default=False)
    ] = None,
    png: Annotated[bool, typer.Option("--png", help="A still picture instead of a page.")] = False,
    svg: Annotated[bool, typer.Option("--svg", help="A vector picture instead of a page.")] = False,
    hierarchy: Annotated[
        str | None,
        typer.Option(help="Groups to show: id of a hierarchy, or none. Default: the run's newest.", show_default=False),
    ] = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Draw a run as one HTML file that works offline, or as a picture."""
    suffix = ".png" if png else ".svg" if svg else ".html"
    path = output or Path(f"map{suffix}")
    is_plot = png or svg or path.suffix.lower() in (".png", ".svg")
    with open_workspace(workspace) as session, render.Reporter() as reporter:
        write_map(session, run, path, plot=is_plot, hierarchy=hierarchy, random_state=seed, on_event=reporter)
    if as_json:
        render.print_json({"path": path, "n_bytes": path.stat().st_size})
    else:
        render.print_text(f"{path}: {path.stat().st_size / 2**20:.1f} MiB")
