"""``lmsys merge-clusters`` and ``show-hierarchy``: broader groups of clusters, as a tree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from lmsys_rs import hierarchies
from lmsys_rs.cli import render
from lmsys_rs.cli.llm_options import (
    BaseUrl,
    Concurrency,
    MaxCost,
    Price,
    Rpm,
    TimeoutS,
    Tpm,
    limits_from,
    model_from,
    print_spent,
)
from lmsys_rs.cli.options import AsJson, RunId, WorkspaceOption, open_workspace
from lmsys_rs.errors import InvalidInputError
from lmsys_rs.hierarchies import HierarchyEstimate, TreeNode
from lmsys_rs.records import to_json

__all__ = ["register"]

GEOMETRIC = "geometric"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("merge-clusters", epilog="Example: lmsys merge-clusters latest --target-levels 3")(_merge_clusters)
    app.command("show-hierarchy", epilog="Example: lmsys show-hierarchy latest --json")(_show_hierarchy)


def _merge_clusters(
    run: RunId = "latest",
    workspace: WorkspaceOption = None,
    model: Annotated[
        str, typer.Option("--model", help="provider/model that groups and names; geometric asks nobody.")
    ] = GEOMETRIC,
    summary_run_id: Annotated[
        str | None,
        typer.Option("--summary-run-id", help="A naming to go by. Default: the current.", show_default=False),
    ] = None,
    target_levels: Annotated[int, typer.Option("--target-levels", min=2, help="Levels, the clusters included.")] = 3,
    merge_ratio: Annotated[
        float, typer.Option("--merge-ratio", min=0.01, max=0.99, help="Groups of a level per node below it.")
    ] = 0.35,
    neighborhood_size: Annotated[
        int, typer.Option("--neighborhood-size", min=2, help="Nodes that the model sees together.")
    ] = 20,
    label_language: Annotated[
        str, typer.Option("--label-language", help="auto, a language or its code: names are written in it.")
    ] = "auto",
    concurrency: Concurrency = None,
    rpm: Rpm = None,
    tpm: Tpm = None,
    max_cost: MaxCost = None,
    price: Price = None,
    timeout: TimeoutS = 120.0,
    base_url: BaseUrl = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say about what a model would cost.")] = False,
    as_json: AsJson = False,
) -> None:
    """Put the clusters of a run into broader groups, level by level, by geometry or with a model."""
    chosen = None if model == GEOMETRIC else model_from(model, base_url=base_url, price=price)
    if dry_run:
        if chosen is None:
            raise InvalidInputError("--dry-run is about a model, and none is named", hint="--model openai/gpt-4o-mini")
        with open_workspace(workspace) as session:
            estimate = hierarchies.plan(
                session,
                run,
                chosen,
                target_levels=target_levels,
                merge_ratio=merge_ratio,
                neighborhood_size=neighborhood_size,
            )
        _print_estimate(estimate, as_json)
        return
    with open_workspace(workspace) as session, render.Reporter() as reporter:
        report = hierarchies.build(
            session,
            run,
            model=chosen,
            summary=summary_run_id,
            target_levels=target_levels,
            merge_ratio=merge_ratio,
            neighborhood_size=neighborhood_size,
            language=label_language,
            limits=limits_from(concurrency, rpm, tpm, max_cost, timeout),
            on_event=reporter,
        )
        _, nodes = hierarchies.tree(session, report.hierarchy_id)
    if as_json:
        render.print_json(report)
        return
    _print_tree(nodes)
    sizes = " and ".join(f"{n:,}" for n in report.level_sizes)
    orphans = f", {report.n_orphans:,} clusters in none" if report.n_orphans else ""
    render.print_note(f"{report.hierarchy_id}: {sizes} groups{orphans}")
    if chosen is not None:
        print_spent(report.n_calls, report.n_cached, report.input_tokens, report.output_tokens, report.cost, None)


def _show_hierarchy(
    hierarchy: Annotated[
        str, typer.Argument(metavar="HRUN", help="Id of a hierarchy, of a run (its newest), or latest.")
    ] = "latest",
    workspace: WorkspaceOption = None,
    depth: Annotated[int | None, typer.Option("--depth", min=1, help="Levels to print.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Show a hierarchy as a tree."""
    with open_workspace(workspace) as session:
        record, nodes = hierarchies.tree(session, hierarchy)
    if as_json:
        render.print_json({**to_json(record), "nodes": [_nested(node) for node in nodes]})
        return
    _print_tree(nodes, depth=depth)
    render.print_note(f"{record.hierarchy_id} of {record.run_id}")


def _print_estimate(estimate: HierarchyEstimate, as_json: bool) -> None:
    if as_json:
        render.print_json(estimate)
        return
    render.print_fields(
        {
            "model": estimate.model,
            "levels": ", ".join(f"{n:,}" for n in estimate.level_sizes),
            "calls": f"about {estimate.n_calls:,}",
            "prompt tokens": f"about {estimate.input_tokens:,}",
            "answer tokens": f"about {estimate.output_tokens:,}",
            "price": "unknown: --price says it" if estimate.price is None else f"about ${estimate.price:,.4f}",
        }
    )
    render.print_note("dry run, nothing was sent")


def _print_tree(nodes: Sequence[TreeNode], *, depth: int | None = None) -> None:
    render.print_table(
        ("queries", "id", "group"),
        [(node.n_queries, str(node.node_id), f"{branch}{node.title}") for branch, node in _lines(nodes, depth)],
        numbers=("queries", "id"),
    )


def _lines(nodes: Sequence[TreeNode], depth: int | None) -> Iterator[tuple[str, TreeNode]]:
    """Each node with what is drawn before its title."""
    for node in nodes:
        yield "", node
        if depth != 1:
            yield from _children(node, "", None if depth is None else depth - 1)


def _children(node: TreeNode, indent: str, depth: int | None) -> Iterator[tuple[str, TreeNode]]:
    for position, child in enumerate(node.children):
        is_last = position == len(node.children) - 1
        yield indent + ("└─ " if is_last else "├─ "), child
        if depth != 1:
            yield from _children(child, indent + ("   " if is_last else "│  "), None if depth is None else depth - 1)


def _nested(node: TreeNode) -> dict[str, Any]:
    return {**to_json(node), "children": [_nested(child) for child in node.children]}
