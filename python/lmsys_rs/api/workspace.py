"""An open workspace in a notebook: loading, embedding, clustering, search, labels. Every method calls one use case."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import polars as pl

from lmsys_rs import (
    classifying,
    clustering,
    deleting,
    embedding,
    importing,
    judging,
    labels,
    loading,
    pipeline,
    selection,
    sql,
    templates,
    verifying,
    views,
)
from lmsys_rs import search as searching
from lmsys_rs.api.run import Run
from lmsys_rs.api.shown import ProgressLine, is_interactive
from lmsys_rs.classifying import ClassificationReport
from lmsys_rs.conditions import make_filters
from lmsys_rs.deleting import Deletion
from lmsys_rs.embedding import Embedder
from lmsys_rs.hub_loading import load_from_hub
from lmsys_rs.importing import ImportReport
from lmsys_rs.llm import Limits, resolve_model
from lmsys_rs.models import DEFAULT_MODEL
from lmsys_rs.readers import ColumnMapping
from lmsys_rs.records import EmbedReport, LoadReport, OnEvent, SearchResult, WorkspaceInfo, ignore_events
from lmsys_rs.session import Session, open_session
from lmsys_rs.signals import fill
from lmsys_rs.store import reading
from lmsys_rs.verifying import VerifyReport

__all__ = ["Workspace", "open"]

HUB = "hf://"


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
    show = is_interactive() if progress is None else progress
    on_event = ProgressLine() if show else ignore_events
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
        across_languages: bool = False,
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
            across_languages=across_languages,
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

    def classify(
        self,
        template: str | Path,
        *,
        method: classifying.Method = "zero-shot",
        unit: classifying.Unit = "text",
        run_id: str | None = None,
        model: str | None = None,
        base_url: str | None = None,
        price: tuple[float, float] | None = None,
        concurrency: int | None = None,
        rpm: int | None = None,
        tpm: int | None = None,
        max_cost: float | None = None,
        batch: bool = False,
        **filters: Any,
    ) -> ClassificationReport:
        """Label texts (or clusters) by a template; the labels are a column of filters: ``label_task_type``.

        Args:
            template: a shipped one (``task-type``, ``tone``, ``difficulty``, ``clio-task``, ...) or a .yaml file.
            model: of method ``llm``. Answers of one model only: ``where="model = 'gpt-4'"``.
        """
        return classifying.classify(
            self._session,
            templates.load(template),
            method=method,
            unit=unit,
            run_id=run_id,
            filters=make_filters(**filters),
            model=None if model is None else resolve_model(model, base_url=base_url, price=price),
            limits=Limits(concurrency=concurrency, rpm=rpm, tpm=tpm, max_cost=max_cost),
            batch=batch,
            encoder=self._encoder,
            on_event=self._on_event,
        )

    def labels(self, name: str = "latest") -> pl.DataFrame:
        """The labels of a labelling (its id, or the name of a template): id (text_id or cluster_id), label, score."""
        return labels.read(self._session, labels.find(self._session, name))

    def review_label(
        self, template: str | Path, query_ids: Sequence[int], label: str | None, *, editor: str | None = None
    ) -> int:
        """Give queries a label by hand: what ``classify(..., method="head")`` learns from; None forgets it."""
        return classifying.review(self._session, templates.load(template), query_ids, label, editor=editor)

    def least_certain(self, name: str = "latest", *, limit: int = 10) -> pl.DataFrame:
        """The texts of a labelling that are worth a review most; see `classifying.least_certain`."""
        return classifying.least_certain(self._session, name, limit=limit)

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
