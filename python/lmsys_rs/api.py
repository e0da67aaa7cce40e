"""The objects a notebook holds: a workspace, and the runs in it. Thin: every method calls one use case.

It prints nothing by itself; on a terminal or in a notebook long steps show a progress line on stderr.
"""

from __future__ import annotations

import html
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import polars as pl

from lmsys_rs import (
    assigning,
    clustering,
    deleting,
    drawing,
    embedding,
    exporting,
    importing,
    judging,
    labeling,
    loading,
    pipeline,
    selection,
    sql,
    verifying,
    views,
)
from lmsys_rs import search as searching
from lmsys_rs.assigning import AssignReport
from lmsys_rs.conditions import make_filters
from lmsys_rs.deleting import Deletion
from lmsys_rs.embedding import Embedder
from lmsys_rs.hub_loading import load_from_hub
from lmsys_rs.importing import ImportReport
from lmsys_rs.models import DEFAULT_MODEL
from lmsys_rs.readers import ColumnMapping
from lmsys_rs.records import (
    ClusterHit,
    ClusterRecord,
    EmbedReport,
    Event,
    Filters,
    LoadReport,
    OnEvent,
    RunRecord,
    SearchResult,
    WorkspaceInfo,
    ignore_events,
)
from lmsys_rs.session import Session, open_session
from lmsys_rs.signals import fill
from lmsys_rs.store import reading
from lmsys_rs.verifying import VerifyReport

__all__ = ["MapFile", "Run", "Workspace", "open"]

REFRESH_S = 0.2
HUB = "hf://"
LARGEST_INLINE = 24 << 20  # bytes of a map that is shown inside a notebook: about 400,000 texts


def open(
    path: str | Path, *, create: bool = True, read_only: bool | None = None, progress: bool | None = None
) -> Workspace:
    """Open a workspace: one folder that holds conversations, vectors and runs.

    Args:
        path: the folder; made if it does not exist and ``create`` allows it.
        read_only: write nothing; None does so where the disk cannot be written.
        progress: show a progress line on stderr; None does so on a terminal and in a notebook.

    Raises:
        StoreError: the path is no workspace, or was written by a newer version.

    Example:
        >>> import lmsys_rs as lm
        >>> ws = lm.open("my.lmsys")  # doctest: +SKIP
    """
    show = _is_interactive() if progress is None else progress
    on_event = _ProgressLine() if show else ignore_events
    session = open_session(path, create=create, read_only=read_only)
    fill(session, on_event=on_event)
    return Workspace(session, on_event)


class Workspace:
    """An open workspace. Made by `open`; a context manager."""

    def __init__(self, session: Session, on_event: OnEvent) -> None:
        self._session = session
        self._on_event = on_event
        self._encoder: Embedder | None = None

    def __enter__(self) -> Workspace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the database. The object must not be used afterwards."""
        self._session.store.close()

    @property
    def path(self) -> Path:
        """The workspace folder."""
        return self._session.folder.path

    def load(
        self,
        path: str | Path,
        *,
        dataset: str | None = None,
        description: str | None = None,
        format: str = "auto",
        unit: str | None = None,
        redact: bool = False,
        text_column: str | None = None,
        model_column: str | None = None,
        language_column: str | None = None,
        timestamp_column: str | None = None,
        conversation_id_column: str | None = None,
        model_default: str | None = "unknown",
        limit: int | None = None,
        strict: bool = False,
        force: bool = False,
        **filters: Any,
    ) -> LoadReport:
        """Read conversations from a file, a folder, a pattern, or (``hf://owner/name``) the Hugging Face hub.

        See `loading.load`, and `records.Filters` for the other keywords. Loading a file twice changes nothing.
        """
        mapping = ColumnMapping(
            text=text_column,
            model=model_column,
            language=language_column,
            timestamp=timestamp_column,
            conversation_id=conversation_id_column,
            model_default=model_default,
        )
        options: dict[str, Any] = {
            **{"dataset": dataset, "description": description, "format": format, "mapping": mapping, "unit": unit},
            **{"filters": make_filters(**filters), "redact": redact, "limit": limit, "strict": strict, "force": force},
        }
        if str(path).startswith(HUB):
            return load_from_hub(self._session, str(path)[len(HUB) :], on_event=self._on_event, **options)
        return loading.load(self._session, path, on_event=self._on_event, **options)

    def import_queries_db(self, path: str | Path) -> ImportReport:
        """Take over queries, runs, names, hierarchies and edits of a ``queries.db`` of lmsys-query-analysis."""
        return importing.import_queries_db(self._session, path, on_event=self._on_event)

    def embed(
        self,
        encoder: Embedder | str | Path = DEFAULT_MODEL,
        *,
        force: bool = False,
        dtype: embedding.Dtype | None = None,
        reuse: bool = True,
    ) -> EmbedReport:
        """Give every distinct text its vector, once; see `embedding.embed`."""
        if not isinstance(encoder, (str, Path)):
            self._encoder = encoder
        return embedding.embed(self._session, encoder, force=force, dtype=dtype, reuse=reuse, on_event=self._on_event)

    def cluster(
        self,
        estimator: Any,
        *,
        space: clustering.Space = "auto",
        reduce_to: int = clustering.REDUCED_DIMENSIONS,
        random_state: int = 0,
        description: str | None = None,
        force: bool = False,
        **filters: Any,
    ) -> Run:
        """Cluster the texts that pass the filters (`records.Filters`) and store the run; see `clustering.cluster`."""
        record = clustering.cluster(
            self._session,
            estimator,
            filters=make_filters(**filters),
            space=space,
            reduce_to=reduce_to,
            random_state=random_state,
            description=description,
            force=force,
            on_event=self._on_event,
        )
        return Run(self, record)

    def choose_k(
        self,
        ks: Sequence[int] | None = None,
        *,
        sample: int = 10_000,
        n_repeats: int = 5,
        random_state: int = 0,
        **filters: Any,
    ) -> pl.DataFrame:
        """How many clusters k-means should make of the texts that pass: k, inertia, stability, silhouette, advised.

        See `insight.choose_k` for the rule.
        """
        return judging.choose_k(
            self._session,
            ks,
            filters=make_filters(**filters),
            sample=sample,
            n_repeats=n_repeats,
            random_state=random_state,
            on_event=self._on_event,
        )

    def runs(self) -> pl.DataFrame:
        """Every run as a row, newest first: run_id, algorithm, n_clusters, n_texts, n_queries, n_noise, ..."""
        with self._session.store.reading() as connection:
            return reading.run_frame(connection)

    def run(self, run_id: str = "latest") -> Run:
        """A run by its id, or the newest one.

        Raises:
            InvalidInputError: there is no such run.
        """
        with self._session.store.reading() as connection:
            return Run(self, reading.get_run(connection, run_id))

    def datasets(self) -> pl.DataFrame:
        """Every data set as a row: name, format, unit, source, n_files, n_conversations, n_turns, n_queries, ..."""
        return views.datasets(self._session).collect()

    def queries(self, **filters: Any) -> pl.LazyFrame:
        """The queries that pass (see `records.Filters` for the keywords), by id, as a lazy frame.

        Columns query_id, text_id, conversation_id (the workspace's number), dataset, model, language, timestamp,
        n_turns, position, text. ``collect()`` reads them; a column that is not asked for is not read.
        """
        return views.queries(self._session, make_filters(**filters))

    def texts(self) -> pl.LazyFrame:
        """Distinct texts by id as a lazy frame: text_id, text, n_queries, language, quality and the other signals."""
        return views.texts(self._session)

    def conversations(self, dataset: str | None = None) -> pl.LazyFrame:
        """Whole conversations with their turns and every other field of the source (``extra``, JSON), lazily."""
        return views.conversations(self._session, dataset)

    def turns(self, dataset: str | None = None) -> pl.LazyFrame:
        """Every turn of every conversation, lazily: conversation_id, position, role, content."""
        return views.turns(self._session, dataset)

    def memberships(self, run_id: str = "latest") -> pl.LazyFrame:
        """Every text of a run with its cluster, lazily: text_id, cluster_id (-1 = noise), probability, assigned."""
        return views.memberships(self._session, run_id)

    def facets(self, *by: str, **filters: Any) -> dict[str, pl.DataFrame]:
        """How many queries that pass there are by dataset, model, language and month; see `selection.facets`."""
        return selection.facets(self._session, make_filters(**filters), by or selection.FACETS)

    def vectors(self) -> Any:
        """(n_texts, dim) float32 unit vectors, row = text_id, mapped read-only.

        Raises:
            StoreError: nothing is embedded yet.
        """
        return self._session.vectors(self._session.embedding())

    def search(
        self,
        text: str,
        *,
        run_id: str | None = None,
        cluster_ids: Sequence[int] | None = None,
        n_results: int = 10,
        **filters: Any,
    ) -> SearchResult:
        """The distinct texts nearest in meaning, filters applied before ranking; see `search.search_queries`."""
        return searching.search_queries(
            self._session,
            text,
            run_id=run_id,
            cluster_ids=cluster_ids,
            filters=make_filters(**filters),
            n_results=n_results,
            encoder=self._search_encoder(run_id),
        )

    def sql(self, query: str, parameters: Sequence[Any] = ()) -> pl.DataFrame:
        """The answer to a SELECT over the tables of the workspace, read-only; needs DuckDB (``lmsys-rs[sql]``).

        Views: datasets, conversations, turns, queries, texts, runs, clusters and memberships (of the newest run).
        """
        return sql.query(self._session, query, parameters)

    def near_duplicates(self, *, by: Literal["text", "meaning"] = "text", **filters: Any) -> pl.DataFrame:
        """Groups of texts that are nearly the same: text_id, near_duplicate (smallest text_id of the group), text.

        Args:
            by: ``text`` compares pieces of text (MinHash, computed at load), ``meaning`` follows short edges of the
                kNN graph, which is built if there is none.
        """
        return views.near_duplicates(self._session, by, make_filters(**filters), on_event=self._on_event)

    def verify(self, *, repair: bool = False) -> VerifyReport:
        """Check every file and table; ``repair`` mends what can be computed or read again. See `verifying.verify`."""
        report = verifying.verify(self._session, on_event=self._on_event)
        return verifying.repair(self._session, report, on_event=self._on_event) if repair else report

    def delete(self, dataset: str) -> Deletion:
        """Delete a data set for good, with the runs that cover texts only it has; see `deleting.plan_deletion`."""
        return deleting.delete_dataset(self._session, dataset)

    def clear(self) -> Deletion:
        """Delete every data set and every run for good."""
        return deleting.clear(self._session)

    def info(self) -> WorkspaceInfo:
        """Counts, embeddings and sizes."""
        return pipeline.workspace_info(self._session)

    def _search_encoder(self, run_id: str | None) -> Embedder:
        """The encoder that made the vectors, loaded once and kept."""
        embedder_id = None
        if run_id is not None:
            with self._session.store.reading() as connection:
                embedder_id = reading.get_run(connection, run_id).embedder_id
        embedding = self._session.embedding(embedder_id)
        if self._encoder is None or self._encoder.id != embedding.embedder_id:
            self._encoder = searching.encoder_of(embedding)
        return self._encoder

    def __repr__(self) -> str:
        with self._session.store.reading() as connection:
            n = reading.counts(connection)
        return (
            f"Workspace({str(self.path)!r}: {n['n_conversations']:,} conversations, "
            f"{n['n_texts']:,} texts, {n['n_runs']:,} runs)"
        )


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
        """Name the clusters (no LLM); returns the run itself."""
        self.record = labeling.label(self._session, self.id, on_event=self._workspace._on_event)
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
        with self._session.store.reading() as connection:
            self.record = reading.get_run(connection, self.id)
        return report

    def map(self, path: str | Path | None = None, *, random_state: int = 0) -> MapFile:
        """The interactive map; Jupyter shows it, and its ``path`` opens in a browser, offline.

        Args:
            path: where to write the HTML file; None takes a file in the temporary folder.
        """
        if path is None:
            path = Path(tempfile.mkdtemp(prefix="lmsys-")) / f"{self.id}.html"
        written = drawing.write_map(
            self._session, self.id, path, random_state=random_state, on_event=self._workspace._on_event
        )
        return MapFile(written)

    def plot(self, path: str | Path, *, random_state: int = 0) -> Path:
        """A still picture of the map, PNG or SVG by suffix."""
        return drawing.write_map(
            self._session, self.id, path, plot=True, random_state=random_state, on_event=self._workspace._on_event
        )

    def _clusters(self) -> list[ClusterRecord]:
        with self._session.store.reading() as connection:
            return reading.clusters(connection, self.id)

    def __repr__(self) -> str:
        r = self.record
        noise = f", {r.n_noise:,} unclustered" if r.n_noise else ""
        return f"Run({r.run_id!r}: {r.n_texts:,} texts in {r.n_clusters:,} clusters{noise})"


class MapFile:
    """A written map. In Jupyter the last value of a cell shows itself."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def _repr_html_(self) -> str:
        from lmsys_rs import map as maps

        n_bytes = self.path.stat().st_size
        if n_bytes > LARGEST_INLINE:
            # the whole page would be stored in the notebook
            where = html.escape(str(self.path))
            return f"<p>The map has {n_bytes / 2**20:.0f} MiB; open <code>{where}</code> in a browser.</p>"
        return maps.iframe(self.path.read_text(encoding="utf-8"))

    def __repr__(self) -> str:
        return f"MapFile({str(self.path)!r})"


def _is_interactive() -> bool:
    return "ipykernel" in sys.modules or sys.stderr.isatty()


class _ProgressLine:
    """One line on stderr that is written over; enough for a notebook, and no dependency."""

    def __init__(self) -> None:
        self._last = 0.0

    def __call__(self, event: Event) -> None:
        import time

        now = time.monotonic()
        if event.kind == "note":
            sys.stderr.write(f"{event.message}\n")
        elif event.kind == "finished":
            sys.stderr.write(f"\r{event.stage}: done{' ' * 40}\n")
        elif now - self._last > REFRESH_S and event.total:
            self._last = now
            amount = f"{event.done:,}/{event.total:,} {event.unit}" if event.unit else ""
            sys.stderr.write(f"\r{event.stage}: {100 * event.done // event.total}% {amount}{' ' * 20}")
        sys.stderr.flush()
