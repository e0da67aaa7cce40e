"""``lmsys eval``: how good clusters are on texts that people have sorted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lmsys_rs.cli import render
from lmsys_rs.cli.options import AsJson, EngineOption, ProviderOption, Seed
from lmsys_rs.evaluating import evaluate, read_labelled
from lmsys_rs.models import DEFAULT_MODEL, Encoder

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("eval", epilog="Example: lmsys eval banking77.csv --label-column category")(_eval)


def _eval(
    files: Annotated[list[Path], typer.Argument(help="CSV, Parquet or JSONL files with texts and their classes.")],
    text_column: Annotated[str, typer.Option("--text-column", help="Column of the texts.")] = "text",
    label_column: Annotated[str, typer.Option("--label-column", help="Column of the classes.")] = "label",
    embedding_model: Annotated[
        str, typer.Option("--embedding-model", help="Known name, model folder or .onnx file.")
    ] = DEFAULT_MODEL,
    engine: EngineOption = "auto",
    provider: ProviderOption = "cpu",
    no_peers: Annotated[bool, typer.Option("--no-peers", help="Leave out other packages that are installed.")] = False,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Cluster labelled texts and print how well the clusters agree, beside k-means told the number of classes."""
    data = [read_labelled(file, text_column=text_column, label_column=label_column) for file in files]
    encoder = Encoder(embedding_model, engine=engine, provider=provider)
    scores = [s for part in data for s in evaluate(part, encoder, random_state=seed, with_peers=not no_peers)]
    if as_json:
        for score in scores:
            render.print_json(score)
        return
    render.print_table(
        ("data set", "method", "classes", "clusters", "noise", "ARI", "V", "seconds"),
        [
            (
                s.dataset,
                s.method,
                s.n_classes,
                s.n_clusters,
                f"{s.noise:.1%}",
                f"{s.ari:.3f}",
                f"{s.v_measure:.3f}",
                f"{s.seconds:.2f}",
            )
            for s in scores
        ],
        numbers=("classes", "clusters", "noise", "ARI", "V", "seconds"),
    )
