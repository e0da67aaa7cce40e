"""``lmsys edit …``: change the clusters of a run by hand, look at what was changed, take it back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any

import numpy as np
import typer

from lmsys_rs import curation, reviewing, rules, selection
from lmsys_rs.cli import render
from lmsys_rs.cli.options import AsJson, RunId, WorkspaceOption, numbers, open_workspace
from lmsys_rs.conditions import parse_time
from lmsys_rs.curation import EditResult
from lmsys_rs.errors import InvalidInputError
from lmsys_rs.records import to_json
from lmsys_rs.session import Session
from lmsys_rs.store import editing, reading

__all__ = ["app"]

app = typer.Typer(help="Change the clusters of a run by hand; every change can be undone.", no_args_is_help=True)

ClusterId = Annotated[int, typer.Option("--cluster-id", help="The cluster.")]
QueryIds = Annotated[str, typer.Option("--query-ids", help="Numbers of queries: 12,57,58.")]
Reason = Annotated[str | None, typer.Option("--reason", help="Why; kept with the edit.", show_default=False)]
Editor = Annotated[str, typer.Option("--editor", help="Who; kept with the edit.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")]
NewTitle = Annotated[str | None, typer.Option("--new-title", "--title", help="Its title.", show_default=False)]
NewDescription = Annotated[
    str | None, typer.Option("--new-description", "--description", help="Its description.", show_default=False)
]


@app.command("view-query", epilog="Example: lmsys edit view-query 4711")
def _view_query(
    query_id: Annotated[int, typer.Argument(metavar="QUERY", help="Number of a query, as list shows it.")],
    workspace: WorkspaceOption = None,
    as_json: AsJson = False,
) -> None:
    """Show a query and the cluster it is in, in every run."""
    with open_workspace(workspace) as session:
        with session.store.reading() as connection:
            runs = reading.runs(connection)
            found = reading.queries_by_id(connection, _array([query_id]))
        if not found.height:
            raise InvalidInputError(f"there is no query {query_id}", hint="lmsys list shows their numbers")
        row = found.row(0, named=True)
        places = [_place(session, run.run_id, query_id) for run in runs]
    clusters = [place for place in places if place is not None]
    if as_json:
        render.print_json({**row, "timestamp": str(row["timestamp"] or "") or None, "clusters": clusters})
        return
    shown = ("query_id", "text_id", "dataset", "model", "language", "text")
    render.print_fields({name: row[name] for name in shown})
    render.print_text("")
    render.print_table(
        ("run", "cluster", "title"),
        [(c["run_id"], str(c["cluster_id"]), c["title"]) for c in clusters],
        numbers=("cluster",),
    )


@app.command("move-query", epilog="Example: lmsys edit move-query latest --query-id 4711 --to-cluster 3")
def _move_query(
    run: RunId,
    query_id: Annotated[int, typer.Option("--query-id", help="Number of the query.")],
    to_cluster: Annotated[int, typer.Option("--to-cluster", help="Where it belongs.")],
    workspace: WorkspaceOption = None,
    reason: Reason = None,
    editor: Editor = "cli",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Put a query into another cluster; queries with the same text go with it."""
    _do(
        workspace,
        lambda session: curation.move_queries(
            session, run, [query_id], to_cluster, reason=reason, editor=editor, dry_run=dry_run
        ),
        as_json,
    )


@app.command("move-queries", epilog="Example: lmsys edit move-queries latest --query-ids 12,57 --to-cluster 3")
def _move_queries(
    run: RunId,
    query_ids: QueryIds,
    to_cluster: Annotated[int, typer.Option("--to-cluster", help="Where they belong.")],
    workspace: WorkspaceOption = None,
    reason: Reason = None,
    editor: Editor = "cli",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Put several queries into another cluster."""
    ids = numbers(query_ids, "query-ids")
    _do(
        workspace,
        lambda session: curation.move_queries(
            session, run, ids, to_cluster, reason=reason, editor=editor, dry_run=dry_run
        ),
        as_json,
    )


@app.command("rename-cluster", epilog='Example: lmsys edit rename-cluster latest --cluster-id 3 --title "Refunds"')
def _rename_cluster(
    run: RunId,
    cluster_id: ClusterId,
    title: NewTitle = None,
    description: NewDescription = None,
    workspace: WorkspaceOption = None,
    reason: Reason = None,
    editor: Editor = "cli",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Give a cluster your own title or description; no later naming takes them away."""
    _do(
        workspace,
        lambda session: curation.rename_cluster(
            session, run, cluster_id, title, description, reason=reason, editor=editor, dry_run=dry_run
        ),
        as_json,
    )


@app.command("merge-clusters", epilog="Example: lmsys edit merge-clusters latest --source 4 --source 9 --target 3")
def _merge_clusters(
    run: RunId,
    source: Annotated[list[str], typer.Option("--source", help="Clusters to merge: 4,9; may be repeated.")],
    target: Annotated[int, typer.Option("--target", help="The cluster that stays.")],
    new_title: NewTitle = None,
    new_description: NewDescription = None,
    workspace: WorkspaceOption = None,
    reason: Reason = None,
    editor: Editor = "cli",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Put all texts of some clusters into one of them."""
    sources = [number for part in source for number in numbers(part, "source")]
    _do(
        workspace,
        lambda session: curation.merge_clusters(
            session,
            run,
            sources,
            target,
            title=new_title,
            description=new_description,
            reason=reason,
            editor=editor,
            dry_run=dry_run,
        ),
        as_json,
    )


@app.command("split-cluster", epilog="Example: lmsys edit split-cluster latest --cluster-id 3 --query-ids 12,57")
def _split_cluster(
    run: RunId,
    cluster_id: ClusterId,
    query_ids: QueryIds,
    new_title: NewTitle = None,
    new_description: NewDescription = None,
    workspace: WorkspaceOption = None,
    reason: Reason = None,
    editor: Editor = "cli",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Take queries out of a cluster into a new one."""
    ids = numbers(query_ids, "query-ids")
    _do(
        workspace,
        lambda session: curation.split_cluster(
            session,
            run,
            cluster_id,
            ids,
            title=new_title,
            description=new_description,
            reason=reason,
            editor=editor,
            dry_run=dry_run,
        ),
        as_json,
    )


@app.command("delete-cluster", epilog="Example: lmsys edit delete-cluster latest --cluster-id 9 --orphan")
def _delete_cluster(
    run: RunId,
    cluster_id: ClusterId,
    orphan: Annotated[bool, typer.Option("--orphan", help="Its texts go into no cluster.")] = False,
    move_to: Annotated[
        int | None, typer.Option("--move-to", help="Its texts go into this cluster.", show_default=False)
    ] = None,
    workspace: WorkspaceOption = None,
    reason: Reason = None,
    editor: Editor = "cli",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Let a cluster not exist."""
    if orphan == (move_to is not None):
        raise InvalidInputError("delete-cluster needs --orphan or --move-to, one of the two")
    _do(
        workspace,
        lambda session: curation.delete_cluster(
            session, run, cluster_id, move_to=move_to, reason=reason, editor=editor, dry_run=dry_run
        ),
        as_json,
    )


@app.command("tag-cluster", epilog="Example: lmsys edit tag-cluster latest --cluster-id 3 --coherence 4 --quality high")
def _tag_cluster(
    run: RunId,
    cluster_id: ClusterId,
    coherence: Annotated[
        int | None, typer.Option("--coherence", help="How well it belongs together, 1 to 5.", show_default=False)
    ] = None,
    quality: Annotated[str | None, typer.Option("--quality", help="high, medium or low.", show_default=False)] = None,
    notes: Annotated[str | None, typer.Option("--notes", help="What you noticed.", show_default=False)] = None,
    workspace: WorkspaceOption = None,
    reason: Reason = None,
    editor: Editor = "cli",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Note how good a cluster is."""
    _do(
        workspace,
        lambda session: curation.tag_cluster(
            session,
            run,
            cluster_id,
            coherence=coherence,
            quality=quality,
            notes=notes,
            reason=reason,
            editor=editor,
            dry_run=dry_run,
        ),
        as_json,
    )


@app.command("flag-cluster", epilog="Example: lmsys edit flag-cluster latest --cluster-id 3 --flag review")
def _flag_cluster(
    run: RunId,
    cluster_id: ClusterId,
    flag: Annotated[str, typer.Option("--flag", help="Any short word.")],
    remove: Annotated[bool, typer.Option("--remove", help="Take the flag off.")] = False,
    workspace: WorkspaceOption = None,
    reason: Reason = None,
    editor: Editor = "cli",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Put a flag on a cluster, or take it off."""
    _do(
        workspace,
        lambda session: curation.flag_cluster(
            session, run, cluster_id, flag, remove=remove, reason=reason, editor=editor, dry_run=dry_run
        ),
        as_json,
    )


@app.command("undo", epilog="Example: lmsys edit undo latest --dry-run")
def _undo(
    run: RunId = "latest", workspace: WorkspaceOption = None, dry_run: DryRun = False, as_json: AsJson = False
) -> None:
    """Take the newest edit of a run back."""
    _do(workspace, lambda session: curation.undo(session, run, dry_run=dry_run), as_json, verb="undone")


@app.command("redo", epilog="Example: lmsys edit redo latest")
def _redo(
    run: RunId = "latest", workspace: WorkspaceOption = None, dry_run: DryRun = False, as_json: AsJson = False
) -> None:
    """Do again what undo took back."""
    _do(workspace, lambda session: curation.redo(session, run, dry_run=dry_run), as_json, verb="redone")


@app.command("history", epilog="Example: lmsys edit history latest --cluster-id 3")
def _history(
    run: RunId = "latest",
    workspace: WorkspaceOption = None,
    cluster_id: Annotated[
        int | None, typer.Option("--cluster-id", help="Only edits that changed this cluster.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List what was done to a cluster, or to all of them, oldest first."""
    with open_workspace(workspace) as session:
        found = curation.history(session, run, cluster_id)
    _print_edits(found, as_json)


@app.command("audit", epilog="Example: lmsys edit audit latest --since 2026-11-01")
def _audit(
    run: RunId = "latest",
    workspace: WorkspaceOption = None,
    since: Annotated[str | None, typer.Option("--since", help="From this time on.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """List every edit of a run with who, when, why and what moved."""
    start = parse_time(since, "since")
    with open_workspace(workspace) as session:
        found = [e for e in curation.history(session, run) if start is None or _time(e.created_at) >= start]
        with session.store.reading() as connection:
            moved = {e.id: editing.moves_of(connection, e.id) for e in found}
    _print_edits(found, as_json, {i: sum(len(m.text_ids) for m in moves) for i, moves in moved.items()})


@app.command("orphaned", epilog="Example: lmsys edit orphaned latest --json")
def _orphaned(
    run: RunId = "latest",
    workspace: WorkspaceOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Texts to print.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List texts that an edit left in no cluster."""
    with open_workspace(workspace) as session:
        text_ids = curation.orphaned(session, run)
        page = selection.first_queries(session, text_ids[:limit])
    for row in page.iter_rows(named=True) if as_json else ():
        render.print_json({name: row[name] for name in ("query_id", "text_id", "n_queries", "language", "text")})
    if not as_json:
        render.print_table(
            ("query", "queries", "text"),
            [
                (str(row["query_id"]), row["n_queries"], render.short(row["text"], 200))
                for row in page.iter_rows(named=True)
            ],
            numbers=("query", "queries"),
        )
    render.print_note(f"{len(text_ids):,} texts are in no cluster because of an edit")


@app.command("select-bad-clusters", epilog="Example: lmsys edit select-bad-clusters latest --max-size 5")
def _select_bad_clusters(
    run: RunId = "latest",
    workspace: WorkspaceOption = None,
    max_size: Annotated[int | None, typer.Option("--max-size", help="Queries, at most.", show_default=False)] = None,
    min_size: Annotated[int | None, typer.Option("--min-size", help="Queries, at least.", show_default=False)] = None,
    min_languages: Annotated[
        int | None, typer.Option("--min-languages", help="Languages with 5 % of the texts each.", show_default=False)
    ] = None,
    quality: Annotated[str | None, typer.Option("--quality", help="As tagged.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """List clusters by size, mixed languages or what was tagged."""
    with open_workspace(workspace) as session:
        found = reviewing.select_bad_clusters(
            session, run, max_size=max_size, min_size=min_size, min_languages=min_languages, quality=quality
        )
    for record in found if as_json else ():
        render.print_json({"cluster_id": record.cluster_id, "title": record.title, "num_queries": record.n_queries})
    if not as_json:
        render.print_table(
            ("id", "queries", "title"),
            [(str(c.cluster_id), c.n_queries, c.title) for c in found],
            numbers=("id", "queries"),
        )


@app.command("review", epilog="Example: lmsys edit review latest --limit 10")
def _review(
    run: RunId = "latest",
    workspace: WorkspaceOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Clusters to print.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Suggest which clusters to look at first, with reasons and a command that may help."""
    with open_workspace(workspace) as session, render.Reporter() as reporter:
        found = reviewing.suggest(session, run, limit=limit, on_event=reporter)
    for suggestion in found if as_json else ():
        render.print_json(suggestion)
    if not as_json:
        render.print_table(
            ("id", "queries", "score", "title", "why"),
            [
                (str(s.cluster_id), s.n_queries, f"{s.score:.2f}", render.short(s.title, 40), "; ".join(s.reasons))
                for s in found
            ],
            numbers=("id", "queries", "score"),
        )
        if found:
            render.print_note(f"hint: {found[0].command}")


@app.command("add-rule", epilog='Example: lmsys edit add-rule latest --matching "refund|money back" --to-cluster 3')
def _add_rule(
    run: RunId = "latest",
    workspace: WorkspaceOption = None,
    matching: Annotated[
        str | None, typer.Option("--matching", help="Regular expression over the text.", show_default=False)
    ] = None,
    where: Annotated[
        str | None, typer.Option("--where", help="SQL condition, as of list --where.", show_default=False)
    ] = None,
    to_cluster: Annotated[
        int | None, typer.Option("--to-cluster", help="The cluster they belong to.", show_default=False)
    ] = None,
    title: Annotated[
        str | None, typer.Option("--title", help="Its title instead; a new one makes a cluster.", show_default=False)
    ] = None,
    reason: Reason = None,
    editor: Editor = "cli",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Make a rule: texts that match belong to a cluster, now, in new data and in new runs."""
    if (matching is None) == (where is None):
        raise InvalidInputError("a rule needs --matching or --where, one of the two")
    condition = rules.matching(matching) if matching is not None else str(where)
    with open_workspace(workspace) as session:
        result = rules.add_rule(
            session,
            run,
            condition,
            to_cluster=to_cluster,
            title=title,
            reason=reason,
            editor=editor,
            dry_run=dry_run,
        )
    if as_json:
        render.print_json(result)
        return
    render.print_note(f"{result.n_matching:,} texts match" if result.n_matching else "no text matches yet")
    if result.edit is not None:
        _print_result(result.edit)
    else:
        render.print_note("all of them are there already" if result.n_matching else "the rule waits for new texts")


@app.command("rules", epilog="Example: lmsys edit rules --json")
def _rules(workspace: WorkspaceOption = None, as_json: AsJson = False) -> None:
    """List the rules, oldest first."""
    with open_workspace(workspace) as session:
        found = rules.list_rules(session)
    for rule in found if as_json else ():
        render.print_json(rule)
    if not as_json:
        render.print_table(
            ("rule", "title", "reason", "condition"),
            [(str(r.id), r.title, r.reason, r.condition) for r in found],
            numbers=("rule",),
        )


@app.command("remove-rule", epilog="Example: lmsys edit remove-rule 2")
def _remove_rule(
    rule: Annotated[int, typer.Argument(metavar="RULE", help="Its number.")], workspace: WorkspaceOption = None
) -> None:
    """Remove a rule; what it moved stays."""
    with open_workspace(workspace) as session:
        rules.remove_rule(session, rule)
    render.print_note(f"removed rule {rule}")


@app.command("apply-rules", epilog="Example: lmsys edit apply-rules latest --dry-run")
def _apply_rules(
    run: RunId = "latest", workspace: WorkspaceOption = None, dry_run: DryRun = False, as_json: AsJson = False
) -> None:
    """Apply every rule to a run. New runs and newly assigned texts get this by themselves."""
    with open_workspace(workspace) as session:
        results = rules.apply_rules(session, run, dry_run=dry_run)
    for result in results if as_json else ():
        render.print_json(result)
    if not as_json:
        render.print_table(
            ("rule", "matching", "moved", "title"),
            [(str(r.rule.id), r.n_matching, 0 if r.edit is None else r.edit.n_texts, r.rule.title) for r in results],
            numbers=("rule", "matching", "moved"),
        )


def _do(workspace: Any, edit: Callable[[Session], EditResult], as_json: bool, *, verb: str = "edit") -> None:
    with open_workspace(workspace) as session:
        result = edit(session)
    if as_json:
        render.print_json(result)
    else:
        _print_result(result, verb)


def _print_result(result: EditResult, verb: str = "edit") -> None:
    if result.clusters:
        _print_changes(result)
    for note in result.notes:
        values = {
            "coherence": note.coherence,
            "quality": note.quality,
            "flags": ", ".join(note.flags),
            "notes": note.notes,
        }
        render.print_fields({"cluster": str(note.cluster_id), **{k: v for k, v in values.items() if v}})
    moved = f"{result.n_texts:,} texts ({result.n_queries:,} queries) move" if result.n_texts else "no text moves"
    if result.edit_id is None:
        render.print_note(f"dry run, nothing was changed: {result.kind}, {moved}")
    else:
        render.print_note(
            f"{verb} {result.edit_id}: {result.kind}, {moved}; lmsys edit undo takes it back"
            if verb != "undone"
            else f"undone {result.edit_id}: {result.kind}, {moved}"
        )


def _print_changes(result: EditResult) -> None:
    render.print_table(
        ("id", "before", "after", "title before", "title"),
        [
            (
                str(c.cluster_id),
                c.n_queries_before,
                c.n_queries,
                render.short(c.title_before, 40) if c.title_before is not None else "(new)",
                c.title if c.title is not None else "(gone)",
            )
            for c in result.clusters
        ],
        numbers=("id", "before", "after"),
    )


def _print_edits(edits: Sequence[Any], as_json: bool, n_moved: dict[int, int] | None = None) -> None:
    if as_json:
        for edit in edits:
            row = to_json(edit)
            del row["moves"]
            render.print_json(row if n_moved is None else {**row, "n_texts": n_moved[edit.id]})
        return
    columns = (
        "edit",
        "when",
        "kind",
        "cluster",
        "editor",
        "state",
        *(("texts",) if n_moved is not None else ()),
        "reason",
    )
    rows = []
    for edit in edits:
        moved = (n_moved[edit.id],) if n_moved is not None else ()
        cluster = "" if edit.cluster_id is None else str(edit.cluster_id)
        rows.append((str(edit.id), edit.created_at, edit.kind, cluster, edit.editor, edit.state, *moved, edit.reason))
    render.print_table(columns, rows, numbers=("edit", "cluster", "texts"))


def _place(session: Session, run_id: str, query_id: int) -> dict[str, Any] | None:
    with session.store.reading() as connection:
        row = reading.queries_by_id(connection, _array([query_id]), run_id=run_id).row(0, named=True)
        if row["cluster_id"] is None:
            return None
        titles = {c.cluster_id: c.title for c in reading.clusters(connection, run_id)}
    return {"run_id": run_id, "cluster_id": row["cluster_id"], "title": titles.get(row["cluster_id"], "")}


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _array(ids: Sequence[int]) -> Any:
    return np.array(ids, dtype=np.int64)
