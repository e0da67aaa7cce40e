"""``lmsys classify …`` and ``generate``: labels of texts and clusters, and new queries of a cluster's kind."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from lmsys_rs import classifying, generating, labels, templates
from lmsys_rs.cli import render
from lmsys_rs.cli.llm_options import (
    BaseUrl,
    Batch,
    Concurrency,
    MaxCost,
    Price,
    Rpm,
    TimeoutS,
    Tpm,
    limits_from,
    model_from,
    print_estimate,
    print_spent,
)
from lmsys_rs.cli.options import AsJson, Limit, RunId, Seed, WorkspaceOption, numbers, open_workspace, with_filters
from lmsys_rs.errors import InvalidInputError
from lmsys_rs.exporting import write_frame
from lmsys_rs.records import Filters
from lmsys_rs.store import labelling

__all__ = ["app", "register"]

app = typer.Typer(help="Label texts or clusters by a template.", no_args_is_help=True)

TemplateName = Annotated[str, typer.Argument(metavar="TEMPLATE", help="A shipped one, or a .yaml file.")]
Labelling = Annotated[
    str, typer.Argument(metavar="LABELLING", help="Id of a labelling, name of a template (its newest), or latest.")
]


def register(root: typer.Typer) -> None:
    """Add the command that stands beside the group."""
    root.command("generate", epilog="Example: lmsys generate latest 3 --n 20")(_generate)


@app.command("run", epilog='Example: lmsys classify run task-type --where "n_turns > 2"')
@with_filters(without=("model",))
def _run(
    filters: Filters,
    template: TemplateName,
    workspace: WorkspaceOption = None,
    method: Annotated[
        str, typer.Option("--method", help="zero-shot (vectors), head (trained on reviewed texts) or llm.")
    ] = "zero-shot",
    unit: Annotated[str, typer.Option("--unit", help="text or cluster.")] = "text",
    run_id: Annotated[
        str | None,
        typer.Option("--run-id", "--run", help="Only texts of this run; whose clusters.", show_default=False),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", help="Of method llm: openai/gpt-4o-mini. (Answers of one model: --where.)", show_default=False
        ),
    ] = None,
    limit: Limit = None,
    concurrency: Concurrency = None,
    rpm: Rpm = None,
    tpm: Tpm = None,
    max_cost: MaxCost = None,
    price: Price = None,
    timeout: TimeoutS = 120.0,
    base_url: BaseUrl = None,
    batch: Batch = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Of method llm: only say what it would cost.")] = False,
    as_json: AsJson = False,
) -> None:
    """Label texts (or clusters); the labels are a column of filters, facets and pivots."""
    if method not in ("zero-shot", "head", "llm"):
        raise InvalidInputError(f"method must be zero-shot, head or llm: {method!r}")
    if unit not in ("text", "cluster"):
        raise InvalidInputError(f"unit must be text or cluster: {unit!r}")
    if dry_run and method != "llm":
        raise InvalidInputError("--dry-run is about a model, and only method llm asks one")
    from dataclasses import replace

    filters = replace(filters, limit=limit)
    chosen = templates.load(template)
    asked = None if model is None else model_from(model, base_url=base_url, price=price)
    limits = limits_from(concurrency, rpm, tpm, max_cost, timeout)
    with open_workspace(workspace) as session:
        if dry_run:
            if asked is None:
                raise InvalidInputError("method llm needs a model", hint="--model openai/gpt-4o-mini")
            estimate = classifying.plan(
                session, chosen, asked, unit=cast(Any, unit), run_id=run_id, filters=filters, limits=limits
            )
            print_estimate(estimate, as_json=as_json, batch=batch)
            return
        with render.Reporter() as reporter:
            report = classifying.classify(
                session,
                chosen,
                method=cast(Any, method),
                unit=cast(Any, unit),
                run_id=run_id,
                filters=filters,
                model=asked,
                limits=limits,
                batch=batch,
                on_event=reporter,
            )
        table = labels.read(session, labels.find(session, report.classification_id))
    if as_json:
        render.print_json(report)
        return
    counted = table["label"].value_counts(sort=True)
    total = max(1, table.height)
    render.print_table(
        ("label", unit + "s", "share"),
        [(label, n, f"{n / total:.1%}") for label, n in counted.rows()],
        numbers=(unit + "s", "share"),
    )
    render.print_note(f"{report.classification_id}: {report.n_labelled:,} {unit}s labelled")
    for reason, n in (report.reasons or {}).items():
        render.print_note(f"{n:,} got no label: {reason}")
    if report.accuracy is not None:
        render.print_note(f"left out one by one, {report.accuracy:.1%} of the reviewed texts are labelled right")
    if method == "llm":
        print_spent(report.n_calls, report.n_cached, report.input_tokens, report.output_tokens, report.cost, None)
    if unit == "text":
        render.print_note(f"use it: lmsys list --where \"{templates.column_of(chosen.name)} = '...'\"")


@app.command("templates", epilog="Example: lmsys classify templates task-type")
def _templates(
    name: Annotated[
        str | None, typer.Argument(metavar="TEMPLATE", help="Which one to print; without it all are listed.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the shipped templates, or print one as YAML to start your own from."""
    if name is not None:
        chosen = templates.load(name)
        if as_json:
            render.print_json({**chosen.to_dict(), "hash": chosen.hash})
        elif name.endswith((".yaml", ".yml")):
            render.print_text(
                f"{name} can be used: {len(chosen.labels)} labels, column {templates.column_of(chosen.name)}"
            )
        else:
            render.print_source(templates.source_of(name))
        return
    found = [templates.load(one) for one in templates.names()]
    for one in found if as_json else ():
        render.print_json({**one.to_dict(), "hash": one.hash})
    if not as_json:
        render.print_table(
            ("template", "labels", "about"), [(t.name, len(t.labels), t.about) for t in found], numbers=("labels",)
        )


@app.command("list", epilog="Example: lmsys classify list --json")
def _list(workspace: WorkspaceOption = None, as_json: AsJson = False) -> None:
    """List the labellings, newest first."""
    with open_workspace(workspace) as session, session.store.reading() as connection:
        found = labelling.classifications(connection)
    for record in found if as_json else ():
        render.print_json(record)
    if not as_json:
        render.print_table(
            ("labelling", "template", "unit", "method", "model", "labelled", "cost", "created"),
            [
                (
                    r.classification_id,
                    r.template,
                    r.unit,
                    r.method,
                    r.model,
                    r.n_labelled,
                    "" if r.cost is None else f"${r.cost:.4f}",
                    r.created_at,
                )
                for r in found
            ],
            numbers=("labelled", "cost"),
        )


@app.command("export", epilog="Example: lmsys classify export task-type --output labels.parquet")
def _export(
    name: Labelling = "latest",
    workspace: WorkspaceOption = None,
    output: Annotated[Path, typer.Option("--output", "-o", help=".csv, .jsonl or .parquet.")] = Path("labels.csv"),
) -> None:
    """Write the labels of a labelling: id (text_id or cluster_id), label, score."""
    with open_workspace(workspace) as session:
        record = labels.find(session, name)
        table = labels.read(session, record)
    import polars as pl

    key = "text_id" if record.unit == "text" else "cluster_id"
    frame = table.rename({"id": key}).with_columns(pl.col("label").cast(pl.String))
    write_frame(frame, output)
    render.print_text(f"{output}: {table.height:,} labels of {record.classification_id}")


@app.command("pivot", epilog="Example: lmsys classify pivot task-type latest")
def _pivot(
    name: Labelling = "latest",
    run: RunId = "latest",
    workspace: WorkspaceOption = None,
    share: Annotated[bool, typer.Option("--share", help="Shares of each cluster instead of counts.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write it here instead.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Count the queries of each cluster by label."""
    with open_workspace(workspace) as session:
        table = classifying.pivot(session, name, run)
    names = table.columns[3:]
    if share:
        table = table.with_columns((table[n] / table["n_queries"]).round(4) for n in names)
    if output is not None:
        write_frame(table, output)
        render.print_note(f"{output}: {table.height:,} clusters")
        return
    for row in table.iter_rows(named=True) if as_json else ():
        render.print_json(row)
    if not as_json:
        render.print_table(
            ("id", "queries", *names, "title"),
            [
                (str(r["cluster_id"]), r["n_queries"], *(f"{r[n]:.0%}" if share else r[n] for n in names), r["title"])
                for r in table.iter_rows(named=True)
            ],
            numbers=("id", "queries", *names),
        )


@app.command("next", epilog="Example: lmsys classify next task-type --limit 20")
def _next(
    name: Labelling = "latest",
    workspace: WorkspaceOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Texts to print.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Show the texts whose label is least sure: reviewing these teaches a head most."""
    with open_workspace(workspace) as session:
        table = classifying.least_certain(session, name, limit=limit)
    for row in table.iter_rows(named=True) if as_json else ():
        render.print_json(row)
    if not as_json:
        render.print_table(
            ("query", "sure", "label", "text"),
            [
                (str(r["query_id"]), f"{r['score']:.2f}", r["label"], render.short(r["text"], 120))
                for r in table.iter_rows(named=True)
            ],
            numbers=("query", "sure"),
        )


@app.command("review", epilog="Example: lmsys classify review task-type --query-ids 12,57 --label coding")
def _review(
    template: TemplateName,
    query_ids: Annotated[str, typer.Option("--query-ids", help="Numbers of queries: 12,57.")],
    label: Annotated[
        str | None, typer.Option("--label", help="Their label; without it what was given is forgotten.")
    ] = None,
    editor: Annotated[str, typer.Option("--editor", help="Who.")] = "cli",
    workspace: WorkspaceOption = None,
    as_json: AsJson = False,
) -> None:
    """Keep the label that you give to queries: what --method head learns from."""
    ids = numbers(query_ids, "query-ids")
    chosen = templates.load(template)
    with open_workspace(workspace) as session:
        n = classifying.review(session, chosen, ids, label, editor=editor)
        with session.store.reading() as connection:
            total = len(labelling.reviewed(connection, chosen.name))
    if as_json:
        render.print_json({"template": chosen.name, "label": label, "n_texts": n, "n_reviewed": total})
    else:
        render.print_note(f"{n:,} texts {'are ' + label if label else 'are forgotten'}; {total:,} are reviewed")


@app.command("delete", epilog="Example: lmsys classify delete class-tone-zero-shot-20260101-120000")
def _delete(name: Labelling, workspace: WorkspaceOption = None) -> None:
    """Delete a labelling; what people reviewed stays."""
    with open_workspace(workspace) as session:
        record = labels.remove(session, name)
    render.print_note(f"deleted {record.classification_id}")


def _generate(
    run: RunId,
    cluster_id: Annotated[int, typer.Argument(metavar="CLUSTER", help="The cluster.")],
    workspace: WorkspaceOption = None,
    n: Annotated[int, typer.Option("--n", min=1, help="Queries.")] = 10,
    model: Annotated[
        str | None, typer.Option("--model", help="provider/model that writes them. Default: recombine texts.")
    ] = None,
    label_language: Annotated[str, typer.Option("--label-language", help="auto, a language or its code.")] = "auto",
    seed: Seed = 0,
    concurrency: Concurrency = None,
    rpm: Rpm = None,
    tpm: Tpm = None,
    max_cost: MaxCost = None,
    price: Price = None,
    timeout: TimeoutS = 120.0,
    base_url: BaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Make new queries of the kind of a cluster, for tests: from its own texts, or by a model."""
    asked = None if model is None else model_from(model, base_url=base_url, price=price)
    with open_workspace(workspace) as session, render.Reporter() as reporter:
        found = generating.generate(
            session,
            run,
            cluster_id,
            n,
            model=asked,
            limits=limits_from(concurrency, rpm, tpm, max_cost, timeout),
            language=label_language,
            random_state=seed,
            on_event=reporter,
        )
    for one in found:
        if as_json:
            render.print_json(one)
        else:
            render.print_text(one.text)
    if len(found) < n:
        render.print_note(f"{len(found):,} of {n:,}: the cluster's texts do not yield more")
