"""``lmsys models …``: which models are known, fetch one, where it lies, what it is, make a fast one of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer

from lmsys_rs import _core, distilling, models
from lmsys_rs.cli import render
from lmsys_rs.cli.options import AsJson, EngineOption, ProviderOption
from lmsys_rs.records import Event
from lmsys_rs.session import open_session
from lmsys_rs.store import reading

__all__ = ["app"]

COUNTED_TEXTS = 200_000  # how often tokens occur does not change with more

app = typer.Typer(help="Embedding models: list, fetch, find, show, distill.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="A known name, or (but for pull) a folder or .onnx file.")]


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


@app.command("show", epilog="Example: lmsys models show all-MiniLM-L6-v2 --json")
def _show(
    name: Name = models.DEFAULT_MODEL,
    engine: EngineOption = "auto",
    provider: ProviderOption = "cpu",
    as_json: AsJson = False,
) -> None:
    """Show what a model is and what would run it; fetches it if it is not there."""
    facts = _facts(name, models.Encoder(name, engine=engine, provider=provider), asked=engine != "auto")
    if as_json:
        render.print_json(facts)
        return
    files = ", ".join(f"{file} {size / 2**20:,.1f} MiB" for file, size in facts.pop("files").items())
    isas = ", ".join(facts.pop("isas"))
    render.print_fields(
        {**{key.replace("_", " "): value for key, value in facts.items()}, "kernels": isas, "files": files}
    )


def _facts(name: str, encoder: models.Encoder, *, asked: bool) -> dict[str, Any]:
    path = models.resolve(name)
    folder = path if path.is_dir() else path.parent
    kinds = (".safetensors", ".onnx", ".json")
    why = {
        "native": "an encoder of the BERT family in safetensors",
        "ort": "an ONNX file, or a provider that is not the CPU",
        "static": "a table of token vectors",
    }
    return {
        "name": encoder.name,
        "id": encoder.id,
        "engine": encoder.engine,
        "why": "asked for" if asked else why[encoder.engine],
        "device": encoder.device,
        "dimensions": encoder.dim,
        "max_tokens": encoder.max_length,
        "pooling": encoder.pooling,
        "cached": name in models.REGISTRY and models.cached(name),
        "path": str(path),
        "files": {
            str(file.relative_to(folder)): file.stat().st_size
            for file in sorted(folder.rglob("*"))
            if file.is_file() and file.suffix in kinds
        },
        "isas": _core.available_isas(),
    }


@app.command("distill", epilog="Example: lmsys models distill all-MiniLM-L6-v2 minilm-table --texts chats.lmsys")
def _distill(
    source: Annotated[str, typer.Argument(help="A known name, or the folder of an encoder.")],
    output: Annotated[Path, typer.Argument(help="A new folder; --embedding-model takes it.")],
    dims: Annotated[int, typer.Option("--dims", min=1, help="Columns.")] = distilling.DIMS,
    sif: Annotated[
        float, typer.Option("--sif", help="Frequent words count less; the smaller, the less.")
    ] = distilling.SIF,
    texts: Annotated[
        Path | None,
        typer.Option(
            "--texts", help="A workspace, or a file with a text per line: what will be embedded.", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a table of token vectors of an encoder: hundreds of times faster, less exact."""
    with render.Reporter() as reporter:
        read = None if texts is None else _texts(texts)
        folder = distilling.distill(source, output, dims=dims, sif=sif, texts=read, on_event=reporter)
    if as_json:
        size = (folder / "model.safetensors").stat().st_size
        render.print_json({"path": folder, "dimensions": dims, "n_bytes": size, "id": models.Encoder(folder).id})
    else:
        render.print_text(str(folder))


def _texts(path: Path) -> pl.Series:
    if path.is_dir():
        with open_session(path, create=False) as session, session.store.reading() as connection:
            return reading.text_range(connection, 0, COUNTED_TEXTS)
    with path.open(encoding="utf-8", errors="replace") as lines:
        return pl.Series([line.strip() for line, _ in zip(lines, range(COUNTED_TEXTS), strict=False)], dtype=pl.String)
