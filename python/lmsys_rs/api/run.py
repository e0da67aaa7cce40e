"""One run in a notebook: its clusters, names, hierarchy, edits, labels and map. Every method calls one use case."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from lmsys_rs import (
    assigning,
    classifying,
    drawing,
    exporting,
    generating,
    hierarchies,
    judging,
    labeling,
    naming_scores,
    privacy,
    prompts,
    reviewing,
    rules,
    selection,
    summarizing,
)
from lmsys_rs import search as searching
from lmsys_rs.api.edits import Edits
from lmsys_rs.api.shown import MapFile
from lmsys_rs.assigning import AssignReport
from lmsys_rs.cluster_prompts import Options
from lmsys_rs.conditions import make_filters
from lmsys_rs.embedding import Embedder
from lmsys_rs.generating import GeneratedQuery
from lmsys_rs.hierarchies import HierarchyReport, TreeNode
from lmsys_rs.llm import Estimate, Limits, resolve_model
from lmsys_rs.naming_scores import Comparison
from lmsys_rs.privacy import ClusterPrivacy
from lmsys_rs.records import ClusterHit, ClusterRecord, Filters, RunRecord, SearchResult
from lmsys_rs.reviewing import Suggestion
from lmsys_rs.store import naming, reading
from lmsys_rs.summarizing import SummaryReport

if TYPE_CHECKING:
    from lmsys_rs.api.workspace import Workspace

__all__ = ["Run"]


class Run:
    """One finished clustering of a workspace. Made by `Workspace.cluster` and `Workspace.run`."""

    def __init__(self, workspace: Workspace, record: RunRecord) -> None:
        self._workspace = workspace
        self._session = workspace._session
        self.record = record

    @property
    def id(self) -> str:
        """The run's id."""
        return self.record.run_id

    def label(self) -> Run:
        """Name the clusters (no LLM) and apply the rules; returns the run itself."""
        labeling.label(self._session, self.id, encoder=self._own_encoder(), on_event=self._workspace._on_event)
        rules.apply_rules(self._session, self.id, on_event=self._workspace._on_event)
        self._refresh()
        return self

    def clusters(self) -> pl.DataFrame:
        """One row per cluster, largest first: cluster_id, title, description, size, n_queries, terms, ..."""
        found = self._clusters()
        return pl.DataFrame(
            {
                "cluster_id": [c.cluster_id for c in found],
                "title": [c.title for c in found],
                "description": [c.description for c in found],
                "size": [c.size for c in found],
                "n_queries": [c.n_queries for c in found],
                "terms": [[term for term, _ in c.terms] for c in found],
                "representatives": [list(c.representatives) for c in found],
            },
            schema={
                "cluster_id": pl.Int32,
                "title": pl.String,
                "description": pl.String,
                "size": pl.Int64,
                "n_queries": pl.Int64,
                "terms": pl.List(pl.String),
                "representatives": pl.List(pl.UInt32),
            },
        ).sort(pl.col("cluster_id") < 0, "n_queries", "cluster_id", descending=[False, True, False])

    def cluster(self, cluster_id: int) -> ClusterRecord:
        """One cluster; -1 is what is unclustered.

        Raises:
            KeyError: the run has no such cluster.
        """
        return {c.cluster_id: c for c in self._clusters()}[cluster_id]

    def memberships(self) -> pl.DataFrame:
        """text_id, cluster_id (-1 = noise) and probability of every text, by text_id."""
        with self._session.store.reading() as connection:
            return reading.members(connection, self.id)

    def quality(self, *, n_boots: int = 20, random_state: int = 0) -> pl.DataFrame:
        """Per cluster: size, cohesion, separation, nearest, silhouette, spillover, stability; see `judging.quality`.

        Args:
            n_boots: bootstrap samples of the stability; 0 leaves it null.
        """
        return judging.quality(
            self._session, self.id, n_boots=n_boots, random_state=random_state, on_event=self._workspace._on_event
        )

    def merge_suggestions(self, *, min_score: float = 0.0) -> pl.DataFrame:
        """Pairs of clusters that are probably one, best first, with evidence; see `insight.merge_suggestions`."""
        return judging.merge_suggestions(
            self._session, self.id, min_score=min_score, on_event=self._workspace._on_event
        )

    def group_clusters(
        self, n_clusters: int | None = None, *, linkage: Literal["average", "ward"] = "average"
    ) -> pl.DataFrame:
        """The clusters in fewer, larger groups by their centroids: cluster_id, title, group; see `Agglomerative`."""
        return judging.group_clusters(self._session, self.id, n_clusters, linkage=linkage)

    def outliers(self) -> pl.DataFrame:
        """How odd each text is for its cluster, oddest first: text_id, cluster_id, score (above 3.5 is odd)."""
        return judging.outliers(self._session, self.id, on_event=self._workspace._on_event)

    def queries(self, cluster_id: int | None = None, *, limit: int | None = None) -> pl.DataFrame:
        """The run's queries with their cluster_id, by id; of one cluster if given."""
        filters = Filters.from_dict(self.record.filters)
        return selection.queries(self._session, filters, run_id=self.id, cluster_id=cluster_id, limit=limit)

    def search(
        self,
        text: str,
        *,
        cluster_ids: Sequence[int] | None = None,
        n_results: int = 10,
        **filters: Any,
    ) -> SearchResult:
        """`Workspace.search` within this run."""
        return self._workspace.search(text, run_id=self.id, cluster_ids=cluster_ids, n_results=n_results, **filters)

    def search_clusters(self, text: str, *, n_results: int = 10) -> tuple[ClusterHit, ...]:
        """The clusters nearest in meaning."""
        encoder = self._workspace._search_encoder(self.id)
        return searching.search_clusters(self._session, text, run_id=self.id, n_results=n_results, encoder=encoder)

    def export(self, path: str | Path, *, format: str | None = None, **filters: Any) -> int:
        """Write every query that passes with its cluster (csv, json, jsonl, parquet); returns how many."""
        return exporting.export(
            self._session,
            self.id,
            path,
            format=format,
            filters=make_filters(**filters),
            on_event=self._workspace._on_event,
        )

    def assign(self) -> AssignReport:
        """Place new texts into this run without clustering again, and say how well they fit; see `assigning.assign`."""
        report = assigning.assign(self._session, self.id, on_event=self._workspace._on_event)
        rules.apply_rules(self._session, self.id, on_event=self._workspace._on_event)
        self._refresh()
        return report

    def map(self, path: str | Path | None = None, *, hierarchy: str | None = None, random_state: int = 0) -> MapFile:
        """The interactive map; Jupyter shows it, and its ``path`` opens in a browser, offline.

        Args:
            path: where to write the HTML file; None takes a file in the temporary folder.
            hierarchy: id of the one to show; None takes the run's newest, if there is one, and ``none`` shows none.
        """
        if path is None:
            path = Path(tempfile.mkdtemp(prefix="lmsys-")) / f"{self.id}.html"
        written = drawing.write_map(
            self._session,
            self.id,
            path,
            hierarchy=hierarchy,
            random_state=random_state,
            on_event=self._workspace._on_event,
        )
        return MapFile(written)

    def plot(self, path: str | Path, *, random_state: int = 0) -> Path:
        """A still picture of the map, PNG or SVG by suffix."""
        return drawing.write_map(
            self._session, self.id, path, plot=True, random_state=random_state, on_event=self._workspace._on_event
        )

    @property
    def edit(self) -> Edits:
        """Changes of the clusters by hand, each of which can be undone: ``run.edit.rename(3, "Refunds")``."""
        return Edits(self._session, self.id, self._refresh)

    def summarize(
        self,
        model: str = "offline",
        *,
        alias: str | None = None,
        cluster_ids: Sequence[int] | None = None,
        language: str = "auto",
        max_queries: int = 100,
        contrast_neighbors: int = 2,
        contrast_examples: int = 2,
        contrast_mode: Literal["neighbors", "keywords"] = "neighbors",
        prompt: str | Path | None = None,
        base_url: str | None = None,
        price: tuple[float, float] | None = None,
        concurrency: int | None = None,
        rpm: int | None = None,
        tpm: int | None = None,
        max_cost: float | None = None,
        batch: bool = False,
    ) -> SummaryReport:
        """Name the clusters with a model (``provider/model``), or offline; see `summarizing.summarize`.

        What was paid for is never asked again. `estimate` says before what it would cost.
        """
        if model == "offline":
            report = summarizing.summarize_offline(
                self._session, self.id, alias=alias, on_event=self._workspace._on_event
            )
        else:
            options = self._options(
                language, max_queries, contrast_neighbors, contrast_examples, contrast_mode, prompt, batch
            )
            limits = Limits(concurrency=concurrency, rpm=rpm, tpm=tpm, max_cost=max_cost)
            report = summarizing.summarize(
                self._session,
                self.id,
                resolve_model(model, base_url=base_url, price=price),
                cluster_ids=cluster_ids,
                alias=alias,
                options=replace(options, limits=limits),
                on_event=self._workspace._on_event,
            )
        self._refresh()
        return report

    def estimate(
        self,
        model: str,
        *,
        language: str = "auto",
        max_queries: int = 100,
        contrast_neighbors: int = 2,
        contrast_examples: int = 2,
        contrast_mode: Literal["neighbors", "keywords"] = "neighbors",
        prompt: str | Path | None = None,
        base_url: str | None = None,
        price: tuple[float, float] | None = None,
    ) -> Estimate:
        """What `summarize` with the same arguments would cost and take; sends nothing."""
        options = self._options(
            language, max_queries, contrast_neighbors, contrast_examples, contrast_mode, prompt, batch=False
        )
        found = resolve_model(model, base_url=base_url, price=price)
        return summarizing.plan(self._session, self.id, found, options=options)

    def summaries(self) -> pl.DataFrame:
        """The namings of the run, newest first: summary_run_id, alias, model, n_summaries, cost, created_at, in_use."""
        with self._session.store.reading() as connection:
            found = naming.summary_runs(connection, self.id)
            in_use = reading.get_run(connection, self.id).summary_run_id
        return pl.DataFrame(
            [
                (s.summary_run_id, s.alias, s.model, s.n_summaries, s.cost, s.created_at, s.summary_run_id == in_use)
                for s in found
            ],
            schema={
                "summary_run_id": pl.String,
                "alias": pl.String,
                "model": pl.String,
                "n_summaries": pl.Int64,
                "cost": pl.Float64,
                "created_at": pl.String,
                "in_use": pl.Boolean,
            },
            orient="row",
        )

    def use_summary(self, name: str) -> Run:
        """Call the clusters by one of the namings (id or alias); titles that a person gave stay."""
        summarizing.adopt(self._session, self.id, name)
        self._refresh()
        return self

    def compare_summaries(self, a: str, b: str) -> Comparison:
        """Two namings side by side, with agreement and coverage; see `naming_scores.compare`."""
        return naming_scores.compare(self._session, self.id, a, b, encoder=self._own_encoder())

    def build_hierarchy(
        self,
        model: str | None = None,
        *,
        target_levels: int = 3,
        merge_ratio: float = 0.35,
        neighborhood_size: int = 20,
        language: str = "auto",
        base_url: str | None = None,
        price: tuple[float, float] | None = None,
        concurrency: int | None = None,
        rpm: int | None = None,
        tpm: int | None = None,
        max_cost: float | None = None,
    ) -> HierarchyReport:
        """Put the clusters into broader groups, by geometry or with a model; see `hierarchies.build`."""
        return hierarchies.build(
            self._session,
            self.id,
            model=None if model is None else resolve_model(model, base_url=base_url, price=price),
            target_levels=target_levels,
            merge_ratio=merge_ratio,
            neighborhood_size=neighborhood_size,
            language=language,
            limits=Limits(concurrency=concurrency, rpm=rpm, tpm=tpm, max_cost=max_cost),
            encoder=self._own_encoder(),
            on_event=self._workspace._on_event,
        )

    def hierarchy(self) -> tuple[TreeNode, ...]:
        """The newest hierarchy of the run as a tree, largest branch first.

        Raises:
            InvalidInputError: there is none; `build_hierarchy` makes one.
        """
        return hierarchies.tree(self._session, self.id)[1]

    def pivot(self, template: str = "latest") -> pl.DataFrame:
        """How many queries of each cluster have each label of a template; see `classifying.pivot`."""
        return classifying.pivot(self._session, template, self.id)

    def review(self, *, limit: int | None = 20) -> list[Suggestion]:
        """Which clusters to look at first, with reasons; see `reviewing.suggest`."""
        return reviewing.suggest(self._session, self.id, limit=limit, on_event=self._workspace._on_event)

    def privacy(
        self, *, min_conversations: int = privacy.MIN_CONVERSATIONS, min_users: int | None = None
    ) -> list[ClusterPrivacy]:
        """Which clusters may be shown to others, and as what; see `privacy.gate`."""
        return privacy.gate(self._session, self.id, min_conversations=min_conversations, min_users=min_users)

    def generate(
        self,
        cluster_id: int,
        n_queries: int = 10,
        *,
        model: str | None = None,
        random_state: int = 0,
        base_url: str | None = None,
        price: tuple[float, float] | None = None,
    ) -> list[GeneratedQuery]:
        """New queries of the kind of a cluster, recombined from its texts or by a model; see `generating.generate`."""
        return generating.generate(
            self._session,
            self.id,
            cluster_id,
            n_queries,
            model=None if model is None else resolve_model(model, base_url=base_url, price=price),
            random_state=random_state,
            encoder=self._own_encoder(),
            on_event=self._workspace._on_event,
        )

    def _options(
        self,
        language: str,
        max_queries: int,
        contrast_neighbors: int,
        contrast_examples: int,
        contrast_mode: Literal["neighbors", "keywords"],
        prompt: str | Path | None,
        batch: bool,
    ) -> Options:
        return Options(
            max_queries=max_queries,
            contrast_neighbors=contrast_neighbors,
            contrast_examples=contrast_examples,
            contrast_mode=contrast_mode,
            language=language,
            prompt=prompts.load("name-cluster", prompt),
            batch=batch,
        )

    def _own_encoder(self) -> Embedder | None:
        """The encoder that the user handed in, where it made the vectors of this run; else it is found by name."""
        encoder = self._workspace._encoder
        return encoder if encoder is not None and encoder.id == self.record.embedder_id else None

    def _refresh(self) -> None:
        with self._session.store.reading() as connection:
            self.record = reading.get_run(connection, self.id)

    def _clusters(self) -> list[ClusterRecord]:
        with self._session.store.reading() as connection:
            return reading.clusters(connection, self.id)

    def __repr__(self) -> str:
        r = self.record
        noise = f", {r.n_noise:,} unclustered" if r.n_noise else ""
        return f"Run({r.run_id!r}: {r.n_texts:,} texts in {r.n_clusters:,} clusters{noise})"
