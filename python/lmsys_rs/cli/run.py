"""``lmsys run`` and ``lmsys sample``: the whole way in one command, and something to try it on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lmsys_rs.cli import render
from lmsys_rs.cli.load import column_mapping, told_load
from lmsys_rs.cli.options import (
    AcrossLanguages,
    AsJson,
    ColumnId,
    ColumnLanguage,
    ColumnModel,
    ColumnText,
    ColumnTimestamp,
    EngineOption,
    FormatName,
    Limit,
    MaxMemory,
    ModelDefault,
    ProviderOption,
    Redact,
    Seed,
    Strict,
    Unit,
    WorkspaceOption,
    making_workspace,
    with_filters,
)
from lmsys_rs.cli.views import cluster_rows, print_clusters
from lmsys_rs.errors import InvalidInputError
from lmsys_rs.loading import dataset_name
from lmsys_rs.models import DEFAULT_MODEL
from lmsys_rs.pipeline import run_all
from lmsys_rs.planning import parse_size
from lmsys_rs.records import Filters

__all__ = ["register"]

SAMPLE_FILE = "lmsys-sample.parquet"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("run", epilog="Example: lmsys run chats.parquet --map map.html")(_run)
    app.command("sample", epilog="Example: lmsys sample sample.parquet --n 5000")(_sample)


@with_filters(without=("dataset",))
def _run(
    filters: Filters,
    file: Annotated[
        str | None,
        typer.Argument(
            help="File, folder or 'pattern*' (Parquet, JSON, JSONL, CSV, text; .gz or .zst).", show_default=False
        ),
    ] = None,
    workspace: WorkspaceOption = None,
    sample: Annotated[bool, typer.Option("--sample", help="Analyse a synthetic sample instead of a file.")] = False,
    algorithm: Annotated[str, typer.Option("--algorithm", help="kmeans, density or hdbscan.")] = "kmeans",
    clusters: Annotated[
        int | None,
        typer.Option("--clusters", "--n-clusters", min=1, help="Of k-means. Default: sqrt(texts / 2), at most 200."),
    ] = None,
    min_cluster_size: Annotated[int | None, typer.Option("--min-cluster-size", min=2, help="Of HDBSCAN.")] = None,
    across_languages: AcrossLanguages = False,
    map_path: Annotated[Path, typer.Option("--map", help="Where to write the map.")] = Path("map.html"),
    no_map: Annotated[bool, typer.Option("--no-map", help="Write no map.")] = False,
    embedding_model: Annotated[
        str, typer.Option("--embedding-model", help="Known name, model folder or .onnx file.")
    ] = DEFAULT_MODEL,
    engine: EngineOption = "auto",
    provider: ProviderOption = "cpu",
    dataset: Annotated[str | None, typer.Option("--dataset", help="Name of the data set. Default: the file's.")] = None,
    limit: Limit = None,
    format: FormatName = "auto",
    text_column: ColumnText = None,
    model_column: ColumnModel = None,
    language_column: ColumnLanguage = None,
    timestamp_column: ColumnTimestamp = None,
    conversation_id_column: ColumnId = None,
    model_default: ModelDefault = "unknown",
    unit: Unit = None,
    redact: Redact = False,
    max_memory: MaxMemory = None,
    strict: Strict = False,
    seed: Seed = 0,
    show: Annotated[int, typer.Option("--show", min=0, help="Clusters to print; 0 prints all.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Load, embed, cluster, name and map a file of conversations."""
    if sample == (file is not None):
        raise InvalidInputError("run needs a file, or --sample", hint="lmsys run chats.parquet")
    if file is None:
        from lmsys_rs.sample import write_sample

        file = str(write_sample(SAMPLE_FILE))
        render.print_note(f"{file}: synthetic conversations, made from templates; nobody wrote them")
    folder = Path(f"{dataset_name(file)}.lmsys")
    with making_workspace(workspace, otherwise=folder) as session, render.Reporter() as reporter:
        report = run_all(
            session,
            file,
            dataset=dataset,
            format=format,
            mapping=column_mapping(
                text_column, model_column, language_column, timestamp_column, conversation_id_column, model_default
            ),
            unit=unit,
            filters=filters,
            redact=redact,
            max_memory=parse_size(max_memory),
            limit=limit,
            strict=strict,
            model=embedding_model,
            engine=engine,
            provider=provider,
            algorithm=algorithm,
            across_languages=across_languages,
            n_clusters=clusters,
            min_cluster_size=min_cluster_size,
            random_state=seed,
            map_path=None if no_map else map_path,
            on_event=reporter,
        )
        rows = cluster_rows(session, report.run)
    told_load(report.load)
    if as_json:
        render.print_json(
            {
                "workspace": str(session.folder.path),
                "load": report.load,
                "embed": report.embed,
                "run": report.run,
                "map": report.map_path,
            }
        )
        for row in rows:
            render.print_json(row)
        return
    render.print_note(
        f"embedded {report.embed.n_new:,} of {report.embed.n_texts:,} texts with {report.embed.model}; "
        f"run {report.run.run_id}: {report.run.n_clusters:,} clusters"
    )
    print_clusters(rows, show=show)
    if report.map_path is not None:
        render.print_note(f"map: {report.map_path}")
    render.print_note(f"workspace: {session.folder.path}")


def _sample(
    path: Annotated[Path, typer.Argument(help="New .parquet, .jsonl or .jsonl.gz file.")] = Path(SAMPLE_FILE),
    n: Annotated[int, typer.Option("--n", min=1, help="Conversations.")] = 2000,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Write synthetic conversations over 20 known topics to try things on."""
    from lmsys_rs.sample import write_sample

    write_sample(path, n_conversations=n, seed=seed)
    if as_json:
        render.print_json({"path": path, "n_conversations": n, "seed": seed, "synthetic": True})
    else:
        render.print_text(f"{path}: {n:,} synthetic conversations")
