"""``lmsys list``, ``facets``, ``search`` and ``export``: single queries, counted, found and taken out."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Annotated, Any, cast

import polars as pl
import typer

from lmsys_rs.cli import render
from lmsys_rs.cli.options import (
    AsJson,
    AsTable,
    AsXml,
    RunId,
    WorkspaceOption,
    numbers,
    open_workspace,
    with_filters,
)
from lmsys_rs.errors import InvalidInputError
from lmsys_rs.exporting import export, write_frame
from lmsys_rs.privacy import MIN_CONVERSATIONS, gate, shareable
from lmsys_rs.records import Filters, SearchResult
from lmsys_rs.search import search_clusters, search_queries
from lmsys_rs.selection import FACETS, facets, queries
from lmsys_rs.store import reading
from lmsys_rs.views import conversation_of, near_duplicates

__all__ = ["register"]

SHOWN_TEXTS = 5  # of a group of near-duplicates
MinConversations = Annotated[
    int, typer.Option("--min-conversations", min=1, help="Distinct conversations that a cluster needs to be shown.")
]
MinUsers = Annotated[
    int | None,
    typer.Option("--min-users", min=0, help="Distinct users, where known. Default: as many.", show_default=False),
]
RunOption = Annotated[str | None, typer.Option("--run-id", "--run", help="Run id, or latest.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("list", epilog="Example: lmsys list --run-id latest --cluster-id 0 --limit 20")(_list)
    app.command("show", epilog="Example: lmsys show 4711 --json")(_show)
    app.command("near-duplicates", epilog="Example: lmsys near-duplicates --by meaning --limit 50")(_near_duplicates)
    app.command("facets", epilog="Example: lmsys facets --by model --by month --language English")(_facets)
    app.command("search", epilog='Example: lmsys search "sort a list" --run-id latest --language English')(_search)
    app.command("search-cluster", epilog='Example: lmsys search-cluster "refunds" --top-k 5')(_search_cluster)
    app.command("privacy", epilog="Example: lmsys privacy latest --min-conversations 20")(_privacy)
    app.command("export", epilog="Example: lmsys export latest --output clusters.parquet")(_export)


@with_filters()
def _list(
    filters: Filters,
    workspace: WorkspaceOption = None,
    run_id: RunOption = None,
    cluster_id: Annotated[
        int | None, typer.Option("--cluster-id", help="Only this cluster.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Queries on a page.")] = 50,
    after: Annotated[int, typer.Option("--after", help="Go on after this query id.")] = 0,
    as_table: AsTable = False,
    as_xml: AsXml = False,
    as_json: AsJson = False,
) -> None:
    """List queries by id."""
    if cluster_id is not None and run_id is None:
        run_id = "latest"
    with open_workspace(workspace) as session:
        page = queries(
            session,
            filters,
            run_id=run_id,
            cluster_id=cluster_id,
            after=after,
            limit=limit,
        )
    rows = list(page.iter_rows(named=True))
    if as_json:
        for row in rows:
            render.print_json({**row, "timestamp": row["timestamp"].isoformat() if row["timestamp"] else None})
    elif as_xml:
        render.print_xml("queries", "query", rows)
    else:
        render.print_table(
            ("query", "cluster", "model", "language", "text"),
            [
                (str(row["query_id"]), row["cluster_id"], row["model"], row["language"], render.short(row["text"], 200))
                for row in rows
            ],
            numbers=("query", "cluster"),
        )
    if len(rows) == limit:
        render.print_note(f"more: --after {rows[-1]['query_id']}")
    elif not rows:
        render.print_note("no query passes")


def _show(
    query_id: Annotated[int, typer.Argument(metavar="QUERY", help="Number of a query, as list shows it.")],
    workspace: WorkspaceOption = None,
    as_json: AsJson = False,
) -> None:
    """Show the whole conversation of a query: every turn, and every other field of the source."""
    with open_workspace(workspace) as session:
        row = next(conversation_of(session, query_id).iter_rows(named=True))
    extra = json.loads(row["extra"]) if row["extra"] else {}
    if as_json:
        time = row["timestamp"].isoformat() if row["timestamp"] else None
        render.print_json({"query_id": query_id, **row, "timestamp": time, "extra": extra})
        return
    names = ("conversation_id", "model", "language", "timestamp", "line")
    render.print_fields({name: row[name] for name in names if row[name] is not None})
    for turn in row["turns"]:
        render.print_text("")
        render.print_text(f"{turn['role']}:")
        for line in turn["content"].splitlines():
            render.print_text(line)
    if extra:
        render.print_text("")
        render.print_text(f"other fields: {json.dumps(extra, ensure_ascii=False)}")


@with_filters(without=("drop_near_duplicates",))
def _near_duplicates(
    filters: Filters,
    workspace: WorkspaceOption = None,
    by: Annotated[str, typer.Option("--by", help="text (the same wording) or meaning (the kNN graph).")] = "text",
    limit: Annotated[int, typer.Option("--limit", min=1, help="Groups to print.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List groups of texts that are nearly the same, largest first."""
    with open_workspace(workspace) as session, render.Reporter() as reporter:
        found = near_duplicates(session, cast(Any, by), filters, on_event=reporter)
    groups = found.group_by("near_duplicate", maintain_order=True).agg(
        pl.len().alias("n_texts"), pl.col("n_queries").sum(), pl.col("text_id"), pl.col("text")
    )
    groups = groups.sort("n_texts", "near_duplicate", descending=[True, False])
    for row in groups.head(limit).iter_rows(named=True):
        if as_json:
            render.print_json(row)
            continue
        render.print_text(f"{row['n_texts']:,} texts, {row['n_queries']:,} queries")
        for text_id, text in list(zip(row["text_id"], row["text"], strict=True))[:SHOWN_TEXTS]:
            render.print_text(f"  {text_id}  {render.short(text, 110)}")
        if row["n_texts"] > SHOWN_TEXTS:
            render.print_text(f"  and {row['n_texts'] - SHOWN_TEXTS:,} more")
    render.print_note(f"{groups.height:,} groups, {found.height:,} texts in them")


@with_filters()
def _facets(
    filters: Filters,
    workspace: WorkspaceOption = None,
    by: Annotated[
        list[str] | None, typer.Option("--by", help="dataset, model, language or month. Default: all of them.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Rows of each facet.")] = 12,
    as_json: AsJson = False,
) -> None:
    """Count the queries that pass by data set, model, language and month."""
    with open_workspace(workspace) as session:
        counted = facets(session, filters, tuple(by) if by else FACETS)
    for name, counts in counted.items():
        rows = [(_facet_value(value), n) for value, n in counts.rows()]
        if as_json:
            render.print_json({"facet": name, "counts": [{"key": value, "count": n} for value, n in rows]})
            continue
        shown = rows if name == "month" else rows[:limit]
        render.print_table((name, "queries"), [(value or "unknown", n) for value, n in shown], numbers=("queries",))
        if len(shown) < len(rows):
            render.print_note(f"and {len(rows) - len(shown):,} more (--limit {len(rows)})")
        render.print_text("")


@with_filters()
def _search(
    filters: Filters,
    text: Annotated[str, typer.Argument(help="What to look for.")],
    workspace: WorkspaceOption = None,
    search_type: Annotated[str, typer.Option("--search-type", help="queries or clusters.")] = "queries",
    run_id: RunOption = None,
    cluster_ids: Annotated[
        str | None, typer.Option("--cluster-ids", help="Only these clusters: 3,7,12.", show_default=False)
    ] = None,
    within_clusters: Annotated[
        str | None, typer.Option("--within-clusters", help="Only clusters near this text.", show_default=False)
    ] = None,
    top_clusters: Annotated[int, typer.Option("--top-clusters", min=1, help="How many of them.")] = 10,
    n_results: Annotated[int, typer.Option("--n-results", "-n", min=1, help="Hits.")] = 10,
    n_candidates: Annotated[int, typer.Option("--n-candidates", min=1, help="Facets count over this many.")] = 250,
    by: Annotated[
        str | None, typer.Option("--by", help="Group by cluster, language or model.", show_default=False)
    ] = None,
    with_facets: Annotated[bool, typer.Option("--facets", help="Also show counts.")] = False,
    as_table: AsTable = False,
    as_xml: AsXml = False,
    as_json: AsJson = False,
) -> None:
    """Find queries (or clusters) by meaning; filters apply before ranking."""
    if search_type not in ("queries", "clusters"):
        raise InvalidInputError(f"search-type must be queries or clusters: {search_type!r}")
    if by not in (None, "cluster", "language", "model"):
        raise InvalidInputError(f"by must be cluster, language or model: {by!r}")
    with open_workspace(workspace) as session:
        if search_type == "clusters":
            with session.store.reading() as connection:
                run_id = reading.get_run(connection, run_id or "latest").run_id
            hits = search_clusters(session, text, run_id=run_id, n_results=n_results)
            _print_clusters({"text": text, "run_id": run_id, "results": hits}, as_json=as_json, as_xml=as_xml)
            return
        needs_run = cluster_ids is not None or within_clusters is not None or by == "cluster"
        result = search_queries(
            session,
            text,
            run_id=run_id or ("latest" if needs_run else None),
            cluster_ids=None if cluster_ids is None else numbers(cluster_ids, "cluster-ids"),
            within_clusters=within_clusters,
            top_clusters=top_clusters,
            filters=filters,
            n_results=n_results,
            n_candidates=n_candidates,
        )
    if as_json:
        render.print_json(result)
    elif as_xml:
        render.print_xml("results", "result", [_short_hit(hit) for hit in result.results])
    else:
        _print_hits(result, by=by, facets=with_facets)


@with_filters()
def _export(
    filters: Filters,
    run: RunId = "latest",
    workspace: WorkspaceOption = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Default: export.csv.", show_default=False)
    ] = None,
    format: Annotated[
        str | None, typer.Option("--format", help="csv, json, jsonl or parquet. Default: the file's suffix.")
    ] = None,
    share_safe: Annotated[
        bool,
        typer.Option("--share-safe", help="One row per cluster that passes lmsys privacy, and no text of anybody."),
    ] = False,
    min_conversations: MinConversations = MIN_CONVERSATIONS,
    min_users: MinUsers = None,
    as_json: AsJson = False,
) -> None:
    """Write every query of a run with its cluster, or what of it may be shown to others."""
    path = output or Path(f"export.{format or 'csv'}")
    if share_safe:
        _export_share_safe(workspace, run, path, filters, min_conversations, min_users, as_json)
        return
    with open_workspace(workspace) as session, render.Reporter() as reporter:
        n_rows = export(session, run, path, format=format, filters=filters, on_event=reporter)
    if as_json:
        render.print_json({"path": path, "n_rows": n_rows})
    else:
        render.print_text(f"{path}: {n_rows:,} queries")


def _search_cluster(
    text: Annotated[str, typer.Argument(help="What to look for.")],
    workspace: WorkspaceOption = None,
    run_id: RunOption = None,
    summary_run_id: Annotated[
        str | None,
        typer.Option("--summary-run-id", "--alias", help="A naming to call them by: id or alias.", show_default=False),
    ] = None,
    top_k: Annotated[int, typer.Option("--top-k", "-n", min=1, help="Clusters.")] = 20,
    as_xml: AsXml = False,
    as_json: AsJson = False,
) -> None:
    """Find clusters by meaning."""
    with open_workspace(workspace) as session:
        with session.store.reading() as connection:
            run = reading.get_run(connection, run_id or "latest").run_id
        hits = search_clusters(session, text, run_id=run, n_results=top_k, summary=summary_run_id)
    _print_clusters({"text": text, "run_id": run, "results": hits}, as_json=as_json, as_xml=as_xml)


def _privacy(
    run: RunId = "latest",
    workspace: WorkspaceOption = None,
    min_conversations: MinConversations = MIN_CONVERSATIONS,
    min_users: MinUsers = None,
    as_json: AsJson = False,
) -> None:
    """Say which clusters may be shown to others, which not, and why."""
    with open_workspace(workspace) as session:
        judged = gate(session, run, min_conversations=min_conversations, min_users=min_users)
    for one in judged if as_json else ():
        render.print_json(one)
    if not as_json:
        render.print_table(
            ("id", "queries", "conversations", "users", "shown", "title", "why"),
            [
                (
                    str(one.cluster_id),
                    one.n_queries,
                    one.n_conversations,
                    one.n_users,
                    one.shown,
                    render.short(one.title, 48),
                    "; ".join(one.reasons),
                )
                for one in judged
            ],
            numbers=("id", "queries", "conversations", "users"),
        )
    n_shown = sum(one.shown for one in judged)
    render.print_note(f"{n_shown:,} of {len(judged):,} clusters may be shown")


def _export_share_safe(
    workspace: Any,
    run: str,
    path: Path,
    filters: Filters,
    min_conversations: int,
    min_users: int | None,
    as_json: bool,
) -> None:
    if not filters.is_open:
        raise InvalidInputError("--share-safe is of a whole run: filters would show what few people asked")
    with open_workspace(workspace) as session:
        judged = gate(session, run, min_conversations=min_conversations, min_users=min_users)
    frame = shareable(judged, min_conversations=min_conversations)
    write_frame(frame, path)
    hidden = len(judged) - frame["cluster_id"].count()
    if as_json:
        render.print_json({"path": path, "n_rows": frame.height, "n_hidden": hidden})
    else:
        render.print_text(f"{path}: {len(judged) - hidden:,} clusters, {hidden:,} too small to be shown by themselves")


def _facet_value(value: Any) -> str | None:
    return value.strftime("%Y-%m") if isinstance(value, date) else value


def _short_hit(hit: Any) -> dict[str, Any]:
    return {
        "query_id": hit.query_id,
        "distance": hit.distance,
        "model": hit.model,
        "language": hit.language,
        "cluster_id": hit.cluster_id,
        "snippet": hit.snippet,
    }


def _print_clusters(answer: dict[str, Any], *, as_json: bool, as_xml: bool) -> None:
    hits = answer["results"]
    if as_json:
        render.print_json(answer)
    elif as_xml:
        rows = [{"cluster_id": h.cluster_id, "distance": h.distance, "title": h.title} for h in hits]
        render.print_xml("clusters", "cluster", rows)
    else:
        render.print_table(
            ("distance", "id", "queries", "title"),
            [(f"{h.distance:.3f}", str(h.cluster_id), h.num_queries, h.title) for h in hits],
            numbers=("distance", "id", "queries"),
        )


def _print_hits(result: SearchResult, *, by: str | None, facets: bool) -> None:
    hits = list(result.results)
    if by is not None:
        key = "cluster_id" if by == "cluster" else by
        hits.sort(key=lambda hit: (str(getattr(hit, key)), hit.distance))
    render.print_table(
        ("distance", "query", "cluster", "model", "language", "text"),
        [
            (
                f"{hit.distance:.3f}",
                str(hit.query_id),
                hit.cluster_id,
                hit.model,
                hit.language,
                render.short(hit.snippet, 160),
            )
            for hit in hits
        ],
        numbers=("distance", "query", "cluster"),
    )
    if facets:
        for name, counts in result.facets.items():
            render.print_text("")
            render.print_table(
                (name, "count"),
                [(_facet_name(entry), entry["count"]) for entry in counts[:10]],
                numbers=("count",),
            )


def _facet_name(entry: dict[str, Any]) -> str:
    return entry["key"] if "key" in entry else f"{entry['cluster_id']} {entry['meta']['title']}"
