"""``lmsys load``, ``embed`` and ``datasets``: from files to vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from lmsys_rs.cli import render
from lmsys_rs.cli.options import (
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
    Strict,
    Unit,
    WorkspaceOption,
    ignored,
    making_workspace,
    open_workspace,
    told_ignored,
    with_filters,
)
from lmsys_rs.embedding import Dtype, embed, load_encoder
from lmsys_rs.errors import InvalidInputError
from lmsys_rs.hub_loading import load_from_hub
from lmsys_rs.importing import import_queries_db
from lmsys_rs.loading import dataset_name, load
from lmsys_rs.models import DEFAULT_MODEL
from lmsys_rs.planning import parse_size
from lmsys_rs.readers import ColumnMapping
from lmsys_rs.records import Filters, LoadReport
from lmsys_rs.store import reading

__all__ = ["column_mapping", "register", "told_load"]

SHOWN_PROBLEMS = 5


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("load", epilog="Example: lmsys load chats.jsonl.gz --workspace my.lmsys")(_load)
    app.command("import", epilog="Example: lmsys import queries.db --workspace my.lmsys")(_import)
    app.command("embed", epilog="Example: lmsys embed --embedding-model all-MiniLM-L6-v2")(_embed)
    app.command("datasets", epilog="Example: lmsys datasets --json")(_datasets)


def column_mapping(
    text: str | None,
    model: str | None,
    language: str | None,
    timestamp: str | None,
    conversation_id: str | None,
    model_default: str,
) -> ColumnMapping:
    """The column options as a record."""
    return ColumnMapping(
        text=text,
        model=model,
        language=language,
        timestamp=timestamp,
        conversation_id=conversation_id,
        model_default=model_default,
    )


def told_load(report: LoadReport) -> None:
    """Say on stderr what was loaded and what was wrong with the file."""
    if report.already_loaded:
        render.print_note(f"{report.path}: nothing new, {report.dataset} is loaded already")
        return
    files = f", {report.n_files:,} files" if report.n_files > 1 else ""
    render.print_note(
        f"{report.path} ({report.format}{files}): {report.n_read:,} conversations read, {report.n_new:,} new, "
        f"{report.n_queries:,} queries, {report.n_new_texts:,} new texts"
    )
    if report.n_filtered:
        render.print_note(f"{report.n_filtered:,} conversations do not pass the filters: left out")
    if report.n_redacted:
        render.print_note(f"{report.n_redacted:,} conversations had personal data or secrets: replaced")
    if report.n_without_query:
        render.print_note(f"{report.n_without_query:,} conversations have no user text: kept, but they give no query")
    for problem in report.problems[:SHOWN_PROBLEMS]:
        render.print_note(f"{report.path}:{problem.line}: skipped: {problem.message}")
    if report.n_problems > SHOWN_PROBLEMS:
        render.print_note(f"… {report.n_problems:,} broken lines skipped in all (--strict stops at the first)")


@with_filters(without=("dataset", "drop_near_duplicates"))
def _load(
    filters: Filters,
    file: Annotated[
        str | None,
        typer.Argument(
            help="File, folder or 'pattern*' (Parquet, JSON, JSONL, CSV, text; .gz or .zst).", show_default=False
        ),
    ] = None,
    hub: Annotated[
        str | None,
        typer.Option("--hf", help="A data set of the Hugging Face hub: lmsys/lmsys-chat-1m.", show_default=False),
    ] = None,
    hub_files: Annotated[str, typer.Option("--hf-files", help="Only files of it that match.")] = "*",
    workspace: WorkspaceOption = None,
    limit: Limit = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset-label", "--dataset", help="Name of the data set. Default: the file's.")
    ] = None,
    description: Annotated[
        str | None, typer.Option("--dataset-description", help="A note kept with it.", show_default=False)
    ] = None,
    format: FormatName = "auto",
    unit: Unit = None,
    redact: Redact = False,
    text_column: ColumnText = None,
    model_column: ColumnModel = None,
    language_column: ColumnLanguage = None,
    timestamp_column: ColumnTimestamp = None,
    conversation_id_column: ColumnId = None,
    model_default: ModelDefault = "unknown",
    strict: Strict = False,
    max_memory: MaxMemory = None,
    force: Annotated[bool, typer.Option("--force-reload", help="Read the file again even if it is known.")] = False,
    as_json: AsJson = False,
    use_chroma: Annotated[bool | None, ignored("--use-chroma")] = None,
    chroma_path: Annotated[str | None, ignored("--chroma-path")] = None,
    embedding_model: Annotated[str | None, ignored("--embedding-model")] = None,
    db_batch_size: Annotated[int | None, ignored("--db-batch-size")] = None,
    streaming: Annotated[bool | None, ignored("--streaming")] = None,
    no_pragmas: Annotated[bool | None, ignored("--no-pragmas")] = None,
) -> None:
    """Read a file of conversations into a workspace. Doing it twice changes nothing."""
    told_ignored(
        use_chroma=use_chroma,
        chroma_path=chroma_path,
        embedding_model=embedding_model,
        db_batch_size=db_batch_size,
        streaming=streaming,
        no_pragmas=no_pragmas,
    )
    if (file is None) == (hub is None):
        raise InvalidInputError("load needs either a file or --hf NAME", hint="lmsys load chats.parquet")
    source = str(file or hub)
    only = sorted(path for path in Path.cwd().glob("*.lmsys") if path.is_dir())
    folder = only[0] if len(only) == 1 else Path(f"{dataset_name(source)}.lmsys")
    mapping = column_mapping(
        text_column, model_column, language_column, timestamp_column, conversation_id_column, model_default
    )
    options: dict[str, Any] = {
        **{"dataset": dataset, "description": description, "format": format, "mapping": mapping, "unit": unit},
        **{"filters": filters, "redact": redact, "limit": limit, "strict": strict, "force": force},
        "max_memory": parse_size(max_memory),
    }
    with making_workspace(workspace, otherwise=folder) as session, render.Reporter() as reporter:
        if hub is not None:
            report = load_from_hub(session, hub, pattern=hub_files, on_event=reporter, **options)
        else:
            report = load(session, source, on_event=reporter, **options)
    told_load(report)
    if as_json:
        render.print_json(report)
    else:
        render.print_note(f"workspace: {session.folder.path}")


def _import(
    file: Annotated[Path, typer.Argument(help="The queries.db of lmsys-query-analysis.")],
    workspace: WorkspaceOption = None,
    as_json: AsJson = False,
) -> None:
    """Take over queries, runs, names, hierarchies and edits of an lmsys-query-analysis database."""
    folder = Path(f"{file.stem}.lmsys")
    with making_workspace(workspace, otherwise=folder) as session, render.Reporter() as reporter:
        report = import_queries_db(session, file, on_event=reporter)
    if as_json:
        render.print_json(report)
        return
    render.print_note(
        f"{report.path}: {report.n_conversations:,} new queries in {', '.join(report.datasets) or 'no data set'}, "
        f"{len(report.runs)} runs, {report.n_summaries} summary runs, {report.n_hierarchies} hierarchies, "
        f"{report.n_edits} edits"
    )
    if report.skipped_runs:
        render.print_note(f"already here, or without queries: {', '.join(report.skipped_runs)}")
    if report.n_split_texts:
        render.print_note(
            f"{report.n_split_texts:,} texts lay in several clusters of a run; equal texts share one here: "
            f"{report.n_moved_queries:,} queries moved to where most of theirs were"
        )
    render.print_note(f"workspace: {session.folder.path}")


def _embed(
    workspace: WorkspaceOption = None,
    embedding_model: Annotated[
        str, typer.Option("--embedding-model", help="Known name, model folder or .onnx file.")
    ] = DEFAULT_MODEL,
    engine: EngineOption = "auto",
    provider: ProviderOption = "cpu",
    dtype: Annotated[
        Dtype | None,
        typer.Option("--dtype", help="How vectors are stored: float32, or float16 in half the space."),
    ] = None,
    no_reuse: Annotated[
        bool, typer.Option("--no-reuse", help="Look for no vectors in other workspaces of this machine.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Embed all texts anew.")] = False,
    max_memory: MaxMemory = None,
    as_json: AsJson = False,
) -> None:
    """Give every distinct text its vector. Goes on where it was cut off; done texts are left alone."""
    with open_workspace(workspace) as session, render.Reporter() as reporter:
        report = embed(
            session,
            load_encoder(embedding_model, reporter, engine=engine, provider=provider),
            force=force,
            dtype=dtype,
            reuse=not no_reuse,
            max_memory=parse_size(max_memory),
            on_event=reporter,
        )
    if as_json:
        render.print_json(report)
    else:
        rate = f", {report.n_new / report.seconds:,.0f} texts/s" if report.n_new and report.seconds else ""
        found = f" ({report.n_reused:,} found in other workspaces)" if report.n_reused else ""
        render.print_text(f"embedded {report.n_new:,} of {report.n_texts:,} texts with {report.model}{found}{rate}")


def _datasets(workspace: WorkspaceOption = None, as_json: AsJson = False) -> None:
    """List the data sets of a workspace."""
    with open_workspace(workspace) as session, session.store.reading() as connection:
        found = reading.datasets(connection)
    if as_json:
        for record in found:
            render.print_json(record)
        return
    render.print_table(
        ("name", "format", "unit", "files", "conversations", "turns", "queries", "broken", "complete", "source"),
        [
            (
                *(d.name, d.format, d.unit, d.n_files, d.n_conversations, d.n_turns),
                *(d.n_queries, d.n_problems, d.finished, d.source),
            )
            for d in found
        ],
        numbers=("files", "conversations", "turns", "queries", "broken"),
    )
