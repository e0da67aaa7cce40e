"""``lmsys summarize``, ``summaries …`` and ``prompts …``: names by a model, several side by side, what it is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from lmsys_rs import naming_scores, prompts, summarizing
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
from lmsys_rs.cli.options import AsJson, RunId, WorkspaceOption, ignored, open_workspace, told_ignored
from lmsys_rs.cluster_prompts import Options
from lmsys_rs.errors import InvalidInputError
from lmsys_rs.store import naming, reading
from lmsys_rs.summarizing import SummaryReport

__all__ = ["prompts_app", "register", "summaries_app"]

summaries_app = typer.Typer(help="The namings of a run: list, compare, choose.", no_args_is_help=True)
prompts_app = typer.Typer(help="What models are asked, as files you can change.", no_args_is_help=True)

OFFLINE = "offline"
LanguageOption = Annotated[
    str, typer.Option("--label-language", help="auto (the cluster's), a language or its code: names are written in it.")
]
UseChroma = Annotated[bool | None, ignored("--use-chroma")]


def register(app: typer.Typer) -> None:
    """Add the command that stands beside the groups."""
    app.command("summarize", epilog="Example: lmsys summarize latest --model openai/gpt-4o-mini --dry-run")(_summarize)


def _summarize(
    run: RunId = "latest",
    workspace: WorkspaceOption = None,
    model: Annotated[
        str, typer.Option("--model", help="provider/model, such as ollama/llama3.2; offline asks nobody.")
    ] = OFFLINE,
    cluster_id: Annotated[
        list[int] | None, typer.Option("--cluster-id", help="Only this cluster; may be repeated.", show_default=False)
    ] = None,
    max_queries: Annotated[int, typer.Option("--max-queries", min=1, help="Texts of a cluster in its prompt.")] = 100,
    contrast_neighbors: Annotated[
        int, typer.Option("--contrast-neighbors", min=0, help="Nearest clusters a title must not fit.")
    ] = 2,
    contrast_examples: Annotated[int, typer.Option("--contrast-examples", min=0, help="Shown of each of them.")] = 2,
    contrast_mode: Annotated[
        str, typer.Option("--contrast-mode", help="neighbors shows their texts, keywords their terms.")
    ] = "neighbors",
    label_language: LanguageOption = "auto",
    prompt: Annotated[
        Path | None, typer.Option("--prompt", help="Template to use; see lmsys prompts.", show_default=False)
    ] = None,
    summary_run_id: Annotated[
        str | None, typer.Option("--summary-run-id", help="A naming to go on with.", show_default=False)
    ] = None,
    alias: Annotated[str | None, typer.Option("--alias", help="Short name of this naming.", show_default=False)] = None,
    refine: Annotated[
        bool, typer.Option("--refine", help="Improve titles that are generic, alike or misleading.")
    ] = False,
    feedback: Annotated[
        str | None, typer.Option("--feedback", help="With --refine: your own words.", show_default=False)
    ] = None,
    concurrency: Concurrency = None,
    rpm: Rpm = None,
    tpm: Tpm = None,
    max_cost: MaxCost = None,
    price: Price = None,
    timeout: TimeoutS = 120.0,
    base_url: BaseUrl = None,
    batch: Batch = False,
    stream: Annotated[bool, typer.Option("--stream", help="Show answers while they come.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would cost and take.")] = False,
    as_json: AsJson = False,
    use_chroma: UseChroma = None,
) -> None:
    """Name the clusters of a run with a model, or offline. What was paid for is never asked again."""
    told_ignored(use_chroma=use_chroma)
    if feedback is not None and not refine:
        raise InvalidInputError("feedback goes with --refine")
    if contrast_mode not in ("neighbors", "keywords"):
        raise InvalidInputError(f"contrast-mode must be neighbors or keywords: {contrast_mode!r}")
    if model == OFFLINE:
        about_a_model = refine or dry_run or batch or stream or bool(cluster_id) or summary_run_id is not None
        _name_offline(workspace, run, alias, about_a_model, as_json)
        return
    chosen = model_from(model, base_url=base_url, price=price)
    options = Options(
        max_queries=max_queries,
        contrast_neighbors=contrast_neighbors,
        contrast_examples=contrast_examples,
        contrast_mode=cast(Any, contrast_mode),
        language=label_language,
        prompt=prompts.load("name-cluster", prompt),
        limits=limits_from(concurrency, rpm, tpm, max_cost, timeout),
        batch=batch,
    )
    with open_workspace(workspace) as session:
        if dry_run:
            if refine:
                estimate = summarizing.plan_refining(
                    session,
                    run,
                    chosen,
                    summary=summary_run_id or "latest",
                    feedback=feedback,
                    cluster_ids=cluster_id,
                    options=options,
                )
            else:
                estimate = summarizing.plan(session, run, chosen, cluster_ids=cluster_id, options=options)
            print_estimate(estimate, as_json=as_json, batch=batch)
            return
        with render.Reporter(quiet=stream) as reporter:
            shared: dict[str, Any] = {
                **{"cluster_ids": cluster_id, "alias": alias, "options": options, "on_event": reporter},
                "on_token": render.TokenStream() if stream else None,
            }
            if refine:
                summary = summary_run_id or "latest"
                report = summarizing.refine(session, run, chosen, summary=summary, feedback=feedback, **shared)
            else:
                report = summarizing.summarize(session, run, chosen, summary_run_id=summary_run_id, **shared)
    _print_report(report, as_json)


@summaries_app.command("list", epilog="Example: lmsys summaries list latest")
def _list(run: RunId = "latest", workspace: WorkspaceOption = None, as_json: AsJson = False) -> None:
    """List the namings of a run, newest first."""
    with open_workspace(workspace) as session, session.store.reading() as connection:
        record = reading.get_run(connection, run)
        found = naming.summary_runs(connection, record.run_id)
    for one in found if as_json else ():
        render.print_json(one)
    if not as_json:
        render.print_table(
            ("naming", "alias", "model", "titles", "cost", "created", "in use", "refines"),
            [
                (
                    one.summary_run_id,
                    one.alias,
                    one.model or OFFLINE,
                    one.n_summaries,
                    "" if one.cost is None else f"${one.cost:.4f}",
                    one.created_at,
                    one.summary_run_id == record.summary_run_id,
                    one.refines,
                )
                for one in found
            ],
            numbers=("titles", "cost"),
        )


@summaries_app.command("show", epilog="Example: lmsys summaries show latest --json")
def _show(
    name: Annotated[str, typer.Argument(metavar="SUMMARY", help="Id or alias of a naming, or latest.")] = "latest",
    run: Annotated[str, typer.Option("--run-id", "--run", help="Run id, or latest.")] = "latest",
    workspace: WorkspaceOption = None,
    as_json: AsJson = False,
) -> None:
    """Show the titles and descriptions of a naming."""
    with open_workspace(workspace) as session, session.store.reading() as connection:
        record = naming.get_summary_run(connection, reading.get_run(connection, run).run_id, name)
        found = list(naming.summaries(connection, record.summary_run_id).values())
    found.sort(key=lambda one: (-(one.n_queries or 0), one.cluster_id))
    for one in found if as_json else ():
        render.print_json(one)
    if not as_json:
        render.print_table(
            ("id", "queries", "by", "title", "description"),
            [(str(s.cluster_id), s.n_queries, s.source, render.short(s.title, 60), s.description) for s in found],
            numbers=("id", "queries"),
        )


@summaries_app.command("compare", epilog="Example: lmsys summaries compare gpt offline")
def _compare(
    a: Annotated[str, typer.Argument(metavar="A", help="Id or alias of a naming.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Id or alias of another one.")],
    run: Annotated[str, typer.Option("--run-id", "--run", help="Run id, or latest.")] = "latest",
    workspace: WorkspaceOption = None,
    as_json: AsJson = False,
) -> None:
    """Compare two namings: titles side by side, how far they agree, how well they retrieve their clusters."""
    with open_workspace(workspace) as session:
        found = naming_scores.compare(session, run, a, b)
    rows = found.table.to_dicts()
    if as_json:
        scores = {"a": found.a, "b": found.b, "agreement": found.agreement, "same": found.same}
        render.print_json({**scores, "clusters": rows})
        return
    render.print_table(
        ("id", "queries", "agreement", "cov. A", "cov. B", "title A", "title B"),
        [
            (
                str(r["cluster_id"]),
                r["n_queries"],
                _share(r["agreement"]),
                _share(r["coverage_a"]),
                _share(r["coverage_b"]),
                render.short(r["title_a"], 44),
                r["title_b"],
            )
            for r in rows
        ],
        numbers=("id", "queries", "agreement", "cov. A", "cov. B"),
    )
    render.print_text("")
    render.print_table(
        ("", "naming", "titles", "coverage", "retrieved", "generic", "duplicate"),
        [
            (
                side,
                s.alias or s.summary_run_id,
                s.n_titles,
                _share(s.coverage),
                _share(s.retrieved),
                s.n_generic,
                s.n_duplicates,
            )
            for side, s in (("A", found.a), ("B", found.b))
        ],
        numbers=("titles", "coverage", "retrieved", "generic", "duplicate"),
    )
    render.print_note(
        f"agreement {_share(found.agreement) or 'unknown'} (mean cosine of titles), {found.same:.0%} equal"
    )


@summaries_app.command("use", epilog="Example: lmsys summaries use offline")
def _use(
    name: Annotated[str, typer.Argument(metavar="SUMMARY", help="Id or alias of a naming.")],
    run: Annotated[str, typer.Option("--run-id", "--run", help="Run id, or latest.")] = "latest",
    workspace: WorkspaceOption = None,
) -> None:
    """Call the clusters of a run by one of its namings; titles you gave stay."""
    with open_workspace(workspace) as session:
        record = summarizing.adopt(session, run, name)
    render.print_note(f"{record.run_id} is called by {record.summary_run_id}")


@prompts_app.command("show", epilog="Example: lmsys prompts show name-cluster")
def _show_prompt(
    purpose: Annotated[
        str | None, typer.Argument(metavar="PURPOSE", help="Which one; without it all are listed.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print a template, or list them all with the values they can have."""
    if purpose is not None and not as_json:
        render.print_source(prompts.source_of(purpose))
        return
    for name, kind in prompts.PURPOSES.items():
        if purpose not in (None, name):
            continue
        if as_json:
            values = {"values": dict(kind.plain), "data": dict(kind.data), "needed": kind.needed}
            text = {} if purpose is None else {"text": prompts.source_of(name)}
            render.print_json({"purpose": name, "about": kind.about, **values, **text})
            continue
        render.print_text(f"{name}: {kind.about}")
        render.print_table(
            ("value", "data", "meaning"),
            [(value, value in kind.data, text) for value, text in {**kind.plain, **kind.data}.items()],
        )
        render.print_text("")
    if purpose is not None and purpose not in prompts.PURPOSES:
        prompts.source_of(purpose)  # says what there is


@prompts_app.command("export", epilog="Example: lmsys prompts export prompts/")
def _export_prompts(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to write the templates.")],
    force: Annotated[bool, typer.Option("--force", help="Write over files that are there.")] = False,
) -> None:
    """Write every template into a folder, to be changed and passed with --prompt."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in prompts.PURPOSES:
        path = folder / f"{name}.md"
        if path.exists() and not force:
            raise InvalidInputError(f"{path} exists already", hint="--force writes over it")
        path.write_text(prompts.source_of(name), encoding="utf-8")
    render.print_note(f"{folder}: {len(prompts.PURPOSES)} templates")


@prompts_app.command("check", epilog="Example: lmsys prompts check name-cluster mine.md")
def _check_prompt(
    purpose: Annotated[str, typer.Argument(metavar="PURPOSE", help="What it is for.")],
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The template.")],
) -> None:
    """Say what is wrong with a template; exit code 1 if it cannot be used."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{path}: a prompt is a text file in UTF-8") from error
    problems = prompts.check(text, purpose)
    for line in problems:
        render.print_text(line)
    if problems:
        raise typer.Exit(1)
    render.print_note(f"{path} can be used as {purpose}")


def _name_offline(workspace: Any, run: str, alias: str | None, wrong: bool, as_json: bool) -> None:
    if wrong:
        raise InvalidInputError(
            "--refine, --dry-run, --batch, --stream, --cluster-id and --summary-run-id are about a model, "
            "and none is named",
            hint="--model openai/gpt-4o-mini, or a local one: --model ollama/llama3.2",
        )
    with open_workspace(workspace) as session, render.Reporter() as reporter:
        report = summarizing.summarize_offline(session, run, alias=alias, on_event=reporter)
    if as_json:
        render.print_json(report)
        return
    render.print_note(f"{report.summary_run_id}: {report.n_offline:,} clusters named offline")
    render.print_note("hint: --model openai/gpt-4o-mini, or a local one such as ollama/llama3.2, names them better")


def _print_report(report: SummaryReport, as_json: bool) -> None:
    if as_json:
        render.print_json(report)
        return
    render.print_note(f"{report.summary_run_id}: {report.n_named:,} clusters named by {report.model}")
    for reason, n in sorted((report.reasons or {}).items(), key=lambda item: (-item[1], item[0])):
        render.print_note(f"{n:,} keep the name they had: {reason}")
    print_spent(report.n_calls, report.n_cached, report.input_tokens, report.output_tokens, report.cost, report.seconds)


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
