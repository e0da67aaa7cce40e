"""``lmsys cluster …``, ``choose-k``, ``label``, ``runs``, ``list-clusters``, ``inspect``: make runs and see them."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, cast

import typer

from lmsys_rs import _core, assigning, clustering, judging, labeling, pipeline, rules, selection
from lmsys_rs.cli import render
from lmsys_rs.cli.options import (
    AcrossLanguages,
    AsJson,
    Limit,
    MaxMemory,
    RunId,
    Seed,
    WorkspaceOption,
    ignored,
    open_workspace,
    told_ignored,
    with_filters,
)
from lmsys_rs.cli.views import cluster_rows, print_clusters
from lmsys_rs.errors import InvalidInputError
from lmsys_rs.planning import parse_size
from lmsys_rs.records import Filters
from lmsys_rs.store import reading

__all__ = ["app", "register"]

app = typer.Typer(help="Cluster the texts of a workspace.", no_args_is_help=True)

Description = Annotated[str | None, typer.Option("--description", help="A note kept with the run.", show_default=False)]
Space = Annotated[str, typer.Option("--space", help="auto, vectors, graph, umap or pca: where distances are taken.")]
ReduceTo = Annotated[int, typer.Option("--reduce-to", min=2, help="Dimensions of the umap or pca space.")]
Force = Annotated[bool, typer.Option("--force", help="Make a new run even if an equal one exists.")]
NoLabel = Annotated[bool, typer.Option("--no-label", help="Do not name the clusters now.")]
UseChroma = Annotated[bool | None, ignored("--use-chroma")]
EmbedBatch = Annotated[int | None, ignored("--embed-batch-size")]
Chunk = Annotated[int | None, ignored("--chunk-size")]
MiniBatch = Annotated[int | None, ignored("--mb-batch-size")]


def register(root: typer.Typer) -> None:
    """Add the commands that stand beside ``cluster``."""
    root.command("choose-k", epilog="Example: lmsys choose-k --k 10 --k 20 --k 50")(_choose_k)
    root.command("label", epilog="Example: lmsys label latest")(_label)
    root.command("runs", epilog="Example: lmsys runs --latest --json")(_runs)
    root.command("list-clusters", epilog="Example: lmsys list-clusters latest --show-examples 3")(_list_clusters)
    root.command("assign", epilog="Example: lmsys assign latest --json")(_assign)
    root.command("inspect", epilog="Example: lmsys inspect latest 17 --json")(_inspect)


@app.command("kmeans", epilog="Example: lmsys cluster kmeans --n-clusters 50")
@with_filters()
def _kmeans(
    filters: Filters,
    workspace: WorkspaceOption = None,
    n_clusters: Annotated[int, typer.Option("--n-clusters", min=1, help="Clusters.")] = 200,
    max_iter: Annotated[int, typer.Option("--max-iter", min=1, help="Rounds, at most.")] = 300,
    n_init: Annotated[int, typer.Option("--n-init", min=1, help="Starts; the best is kept.")] = 1,
    description: Description = None,
    limit: Limit = None,
    space: Space = "auto",
    reduce_to: ReduceTo = 5,
    seed: Seed = 0,
    across_languages: AcrossLanguages = False,
    force: Force = False,
    no_label: NoLabel = False,
    max_memory: MaxMemory = None,
    as_json: AsJson = False,
    use_chroma: UseChroma = None,
    embed_batch_size: EmbedBatch = None,
    chunk_size: Chunk = None,
    mb_batch_size: MiniBatch = None,
) -> None:
    """k-means: every text in one of a fixed number of clusters."""
    told_ignored(
        use_chroma=use_chroma, embed_batch_size=embed_batch_size, chunk_size=chunk_size, mb_batch_size=mb_batch_size
    )
    estimator = _core.KMeans(n_clusters=n_clusters, n_init=n_init, max_iter=max_iter, random_state=seed)
    _make(
        workspace,
        estimator,
        replace(filters, limit=limit),
        space,
        reduce_to,
        seed,
        across_languages,
        description,
        force,
        no_label,
        max_memory,
        as_json,
    )


@app.command("hdbscan", epilog="Example: lmsys cluster hdbscan --min-cluster-size 50")
@with_filters()
def _hdbscan(
    filters: Filters,
    workspace: WorkspaceOption = None,
    min_cluster_size: Annotated[int, typer.Option("--min-cluster-size", min=2, help="Texts.")] = 25,
    min_samples: Annotated[int | None, typer.Option("--min-samples", min=1, help="Default: min-cluster-size.")] = None,
    epsilon: Annotated[float, typer.Option("--epsilon", min=0.0, help="Do not split clusters nearer than this.")] = 0.0,
    method: Annotated[str, typer.Option("--selection-method", help="eom or leaf.")] = "eom",
    description: Description = None,
    limit: Limit = None,
    space: Space = "auto",
    reduce_to: ReduceTo = 5,
    seed: Seed = 0,
    across_languages: AcrossLanguages = False,
    force: Force = False,
    no_label: NoLabel = False,
    max_memory: MaxMemory = None,
    as_json: AsJson = False,
    metric: Annotated[str, typer.Option("--metric", hidden=True)] = "euclidean",
    use_chroma: UseChroma = None,
    embed_batch_size: EmbedBatch = None,
    chunk_size: Chunk = None,
) -> None:
    """HDBSCAN: as many clusters as there are dense regions; texts outside stay unclustered."""
    told_ignored(use_chroma=use_chroma, embed_batch_size=embed_batch_size, chunk_size=chunk_size)
    if metric not in ("euclidean", "cosine"):
        raise InvalidInputError(f"metric must be euclidean or cosine: {metric!r}")
    if metric == "cosine":
        render.print_note("note: vectors have length one, so cosine and euclidean give the same order")
    estimator = _core.HDBSCAN(
        min_cluster_size=min_cluster_size,
        min_samples=min_samples,
        cluster_selection_epsilon=epsilon,
        cluster_selection_method=cast(Any, method),
    )
    _make(
        workspace,
        estimator,
        replace(filters, limit=limit),
        space,
        reduce_to,
        seed,
        across_languages,
        description,
        force,
        no_label,
        max_memory,
        as_json,
    )


@app.command("density", epilog="Example: lmsys cluster density")
@with_filters()
def _density(
    filters: Filters,
    workspace: WorkspaceOption = None,
    min_cluster_size: Annotated[int, typer.Option("--min-cluster-size", min=1, help="Texts.")] = 5,
    resolution: Annotated[
        float | None, typer.Option("--resolution", help="Larger finds more clusters. Default: chosen from the texts.")
    ] = None,
    description: Description = None,
    limit: Limit = None,
    seed: Seed = 0,
    across_languages: AcrossLanguages = False,
    force: Force = False,
    no_label: NoLabel = False,
    max_memory: MaxMemory = None,
    as_json: AsJson = False,
) -> None:
    """Communities of the kNN graph: finds the number of clusters itself; texts unlike all others stay unclustered."""
    estimator = _core.Density(min_cluster_size=min_cluster_size, resolution=resolution, random_state=seed)
    _make(
        workspace,
        estimator,
        replace(filters, limit=limit),
        "auto",
        clustering.REDUCED_DIMENSIONS,
        seed,
        across_languages,
        description,
        force,
        no_label,
        max_memory,
        as_json,
    )


@app.command("mixture", epilog="Example: lmsys cluster mixture --algorithm gmm --n-components 30")
@with_filters()
def _mixture(
    filters: Filters,
    workspace: WorkspaceOption = None,
    algorithm: Annotated[str, typer.Option("--algorithm", help="gmm, dbscan or optics.")] = "gmm",
    n_components: Annotated[int, typer.Option("--n-components", "--n-clusters", min=1, help="Of gmm.")] = 20,
    eps: Annotated[float, typer.Option("--eps", min=0.0, help="Of dbscan and optics.")] = 0.5,
    min_samples: Annotated[int, typer.Option("--min-samples", min=1, help="Of dbscan and optics.")] = 5,
    description: Description = None,
    limit: Limit = None,
    space: Space = "auto",
    reduce_to: ReduceTo = 5,
    seed: Seed = 0,
    across_languages: AcrossLanguages = False,
    force: Force = False,
    no_label: NoLabel = False,
    max_memory: MaxMemory = None,
    as_json: AsJson = False,
) -> None:
    """Gaussian mixture, DBSCAN or OPTICS on reduced vectors."""
    estimator: Any
    if algorithm == "gmm":
        estimator = _core.GaussianMixture(n_components, random_state=seed)
    elif algorithm == "dbscan":
        estimator = _core.DBSCAN(eps=eps, min_samples=min_samples)
    elif algorithm == "optics":
        estimator = _core.OPTICS(min_samples=min_samples, eps=eps)
    else:
        raise InvalidInputError(f"algorithm must be gmm, dbscan or optics: {algorithm!r}")
    _make(
        workspace,
        estimator,
        replace(filters, limit=limit),
        space,
        reduce_to,
        seed,
        across_languages,
        description,
        force,
        no_label,
        max_memory,
        as_json,
    )


def _make(
    workspace: Any,
    estimator: Any,
    filters: Filters,
    space: str,
    reduce_to: int,
    seed: int,
    across_languages: bool,
    description: str | None,
    force: bool,
    no_label: bool,
    max_memory: str | None,
    as_json: bool,
) -> None:
    if space not in ("auto", "vectors", "graph", "umap", "pca"):
        raise InvalidInputError(f"space must be auto, vectors, graph, umap or pca: {space!r}")
    with open_workspace(workspace) as session, render.Reporter() as reporter:
        run = clustering.cluster(
            session,
            estimator,
            filters=filters,
            space=cast(clustering.Space, space),
            reduce_to=reduce_to,
            random_state=seed,
            across_languages=across_languages,
            description=description,
            force=force,
            max_memory=parse_size(max_memory),
            on_event=reporter,
        )
        if not no_label:
            run = pipeline.named(session, run, on_event=reporter)
        rows = cluster_rows(session, run)
    if as_json:
        render.print_json(run)
        return
    noise = f", {run.n_noise:,} texts in none" if run.n_noise else ""
    render.print_note(f"{run.run_id}: {run.n_texts:,} texts in {run.n_clusters:,} clusters{noise}")
    print_clusters(rows, show=20)


@with_filters()
def _choose_k(
    filters: Filters,
    workspace: WorkspaceOption = None,
    ks: Annotated[
        list[int] | None,
        typer.Option(
            "--k", min=1, help="A number to try; may be repeated. Default: some up to 200.", show_default=False
        ),
    ] = None,
    sample: Annotated[int, typer.Option("--sample", min=1, help="Texts that are looked at.")] = 10_000,
    n_repeats: Annotated[int, typer.Option("--n-repeats", min=1, help="Pairs of random halves per number.")] = 5,
    limit: Limit = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """How many clusters k-means should make: the largest number that comes back on random halves of a sample."""
    with open_workspace(workspace) as session, render.Reporter() as reporter:
        table = judging.choose_k(
            session,
            ks or None,
            filters=replace(filters, limit=limit),
            sample=sample,
            n_repeats=n_repeats,
            random_state=seed,
            on_event=reporter,
        )
    if as_json:
        for row in table.iter_rows(named=True):
            render.print_json(row)
        return
    render.print_table(
        ("k", "inertia", "stability", "error", "silhouette", ""),
        [
            (
                str(row["k"]),
                f"{row['inertia']:,.1f}",
                f"{row['stability']:.3f}",
                f"{row['stability_error']:.3f}",
                f"{row['silhouette']:.3f}",
                "advised" if row["advised"] else "",
            )
            for row in table.iter_rows(named=True)
        ],
        numbers=("k", "inertia", "stability", "error", "silhouette"),
    )
    advised = table.filter("advised")["k"].item()
    render.print_note(f"advised: lmsys cluster kmeans --n-clusters {advised}")


def _label(run: RunId = "latest", workspace: WorkspaceOption = None, as_json: AsJson = False) -> None:
    """Name the clusters of a run: titles from distinctive terms, no LLM."""
    with open_workspace(workspace) as session, render.Reporter() as reporter:
        record = labeling.label(session, run, on_event=reporter)
        rules.apply_rules(session, record.run_id, on_event=reporter)
        rows = cluster_rows(session, record)
    if as_json:
        for row in rows:
            render.print_json(row)
    else:
        print_clusters(rows)


def _runs(
    workspace: WorkspaceOption = None,
    latest: Annotated[bool, typer.Option("--latest", help="Only the newest.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the runs of a workspace, newest first."""
    with open_workspace(workspace) as session, session.store.reading() as connection:
        found = reading.runs(connection)
    found = found[:1] if latest else found
    if as_json:
        for record in found:
            render.print_json(record)
        return
    render.print_table(
        ("run", "algorithm", "clusters", "texts", "queries", "unclustered", "created", "description"),
        [
            (r.run_id, r.algorithm, r.n_clusters, r.n_texts, r.n_queries, r.n_noise, r.created_at, r.description)
            for r in found
        ],
        numbers=("clusters", "texts", "queries", "unclustered"),
    )


def _assign(run: RunId = "latest", workspace: WorkspaceOption = None, as_json: AsJson = False) -> None:
    """Place new texts into a finished run, without clustering again, and say how well they fit."""
    with open_workspace(workspace) as session, render.Reporter() as reporter:
        report = assigning.assign(session, run, on_event=reporter)
        rules.apply_rules(session, report.run_id, on_event=reporter)
    if as_json:
        render.print_json(report)
        return
    noise = f", {report.n_noise:,} of them in no cluster" if report.n_noise else ""
    render.print_note(f"{report.run_id}: {report.n_new:,} texts placed{noise}, {report.n_assigned:,} in all calls")
    if not report.n_new:
        return
    render.print_note(
        f"{report.share_far:.1%} of them are far from every cluster, "
        f"of the run's own texts {report.expected_share_far:.1%}"
    )
    render.print_table(
        ("id", "title", "before", "new", "growth", "far"),
        [
            (str(g.cluster_id), g.title, g.n_before, g.n_new, f"{g.growth:.0%}", f"{g.share_far:.0%}")
            for g in report.growth[:20]
        ],
        numbers=("id", "before", "new", "growth", "far"),
    )
    for reason in report.reasons:
        render.print_note(f"cluster again: {reason}")


def _list_clusters(
    run: RunId = "latest",
    workspace: WorkspaceOption = None,
    summary_run_id: Annotated[
        str | None,
        typer.Option("--summary-run-id", "--alias", help="A naming to call them by: id or alias.", show_default=False),
    ] = None,
    limit: Limit = None,
    show_examples: Annotated[int, typer.Option("--show-examples", min=0, help="Examples per cluster.")] = 1,
    example_width: Annotated[int, typer.Option("--example-width", min=10, help="Characters of an example.")] = 80,
    as_json: AsJson = False,
) -> None:
    """List the clusters of a run, largest first."""
    with open_workspace(workspace) as session:
        with session.store.reading() as connection:
            record = reading.get_run(connection, run)
        rows = cluster_rows(session, record, n_examples=show_examples, summary=summary_run_id)
    rows = rows[:limit] if limit is not None else rows
    if as_json:
        for row in rows:
            render.print_json(row)
    else:
        print_clusters(rows, example_width=example_width)


def _inspect(
    run: RunId,
    cluster_id: Annotated[int, typer.Argument(metavar="CLUSTER", help="Cluster id; -1 is what is unclustered.")],
    workspace: WorkspaceOption = None,
    show_queries: Annotated[int, typer.Option("--show-queries", min=0, help="How many.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Show one cluster: its name, terms, typical texts and queries."""
    with open_workspace(workspace) as session:
        with session.store.reading() as connection:
            record = reading.get_run(connection, run)
        rows = {row["cluster_id"]: row for row in cluster_rows(session, record, n_examples=10)}
        if cluster_id not in rows:
            raise InvalidInputError(
                f"{record.run_id} has no cluster {cluster_id}: its clusters are {min(rows)} to {max(rows)}",
                hint="lmsys list-clusters latest",
            )
        queries = selection.queries(
            session,
            Filters.from_dict(record.filters),
            run_id=record.run_id,
            cluster_id=cluster_id,
            limit=show_queries,
        )
    row = rows[cluster_id]
    shown = [
        {"query_id": q["query_id"], "text": q["text"], "model": q["model"], "language": q["language"]}
        for q in queries.iter_rows(named=True)
    ]
    if as_json:
        render.print_json({**row, "queries": shown})
        return
    render.print_fields(
        {
            "cluster": f"{cluster_id} of {record.run_id}",
            "title": row["title"],
            "queries": f"{row['num_queries']:,} ({row['share']:.1%})",
            "description": row["description"],
            "terms": ", ".join(row["terms"]),
        }
    )
    render.print_text("")
    render.print_table(("typical",), [(render.short(text, 110),) for text in row["examples"]])
    render.print_text("")
    render.print_table(
        ("query", "model", "language", "text"),
        [(str(q["query_id"]), q["model"], q["language"], render.short(q["text"], 110)) for q in shown],
        numbers=("query",),
    )
