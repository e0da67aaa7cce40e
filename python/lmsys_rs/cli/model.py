"""``lmsys models …``: which models are known, fetch one, where it lies."""

from __future__ import annotations

from typing import Annotated

import typer

from lmsys_rs import models
from lmsys_rs.cli import render
from lmsys_rs.cli.options import AsJson
from lmsys_rs.records import Event

__all__ = ["app"]

app = typer.Typer(help="Embedding models: list, fetch, find.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="A known name (pull), or a folder or .onnx file (path).")]


@app.command("list", epilog="Example: lmsys models list --json")
def _list(as_json: AsJson = False) -> None:
    """List the models that can be fetched by name."""
    rows = models.listing()
    if as_json:
        for row in rows:
            render.print_json(row)
        return
    render.print_table(
        ("name", "dimensions", "tokens", "cached", "path"),
        [(row["name"], row["dim"], row["max_length"], row["cached"], row["path"]) for row in rows],
        numbers=("dimensions", "tokens"),
    )


@app.command("pull", epilog="Example: lmsys models pull all-MiniLM-L6-v2")
def _pull(
    name: Name = models.DEFAULT_MODEL,
    force: Annotated[bool, typer.Option("--force", help="Fetch again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Fetch a model into the cache and check its sha256."""
    with render.Reporter() as reporter:
        reporter(Event("started", "model", 0, None, "B"))
        folder = models.pull(
            name,
            force=force,
            on_bytes=lambda done, total: reporter(Event("advanced", "model", done, total, "B")),
        )
        reporter(Event("finished", "model", 0, None, "B"))
    if as_json:
        render.print_json({"name": name, "path": folder})
    else:
        render.print_text(str(folder))


@app.command("path", epilog="Example: lmsys models path all-MiniLM-L6-v2")
def _path(name: Name = models.DEFAULT_MODEL, as_json: AsJson = False) -> None:
    """Print where a model lies; fetches it if it is not there."""
    path = models.resolve(name)
    if as_json:
        render.print_json({"name": name, "path": path})
    else:
        render.print_text(str(path))
