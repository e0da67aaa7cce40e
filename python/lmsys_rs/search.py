"""Which texts, or which clusters, are nearest in meaning to a question: exact, every filter applied before ranking.

It ranks and counts; it stores nothing and prints nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from lmsys_rs import _core
from lmsys_rs.errors import InvalidInputError, ModelError
from lmsys_rs.layouts import centroids
from lmsys_rs.models import Encoder
from lmsys_rs.records import NOISE, ClusterHit, EmbeddingRecord, Filters, SearchHit, SearchResult
from lmsys_rs.selection import first_queries, select
from lmsys_rs.session import Session
from lmsys_rs.store import naming, reading

__all__ = ["encoder_of", "search_clusters", "search_queries"]

SNIPPET_CHARS = 160
NO_ROW = 2**32 - 1


class TextEncoder(Protocol):
    """What a search needs of an encoder; `Encoder` is one."""

    def embed(self, texts: Any, /) -> npt.NDArray[np.float32]: ...


def search_queries(
    session: Session,
    text: str,
    *,
    run_id: str | None = None,
    cluster_ids: Sequence[int] | None = None,
    within_clusters: str | None = None,
    top_clusters: int = 10,
    filters: Filters | None = None,
    n_results: int = 10,
    n_candidates: int = 250,
    encoder: TextEncoder | None = None,
) -> SearchResult:
    """The distinct texts nearest to ``text``, nearest first.

    Args:
        run_id: a run (or ``latest``), to report and filter by its clusters.
        cluster_ids: only texts of these clusters.
        within_clusters: only texts of the ``top_clusters`` clusters nearest to this other text.
        filters: only texts that some query with this data set, model, language asks.
        n_candidates: facets count over this many nearest texts that pass.
        encoder: to reuse a loaded one; it must be the one that made the vectors.

    Raises:
        InvalidInputError: no such run, or clusters asked for without a run.
        StoreError: nothing is embedded.
    """
    filters = filters or Filters()
    with session.store.reading() as connection:
        run = None if run_id is None else reading.get_run(connection, run_id)
    if run is None and (cluster_ids is not None or within_clusters is not None):
        raise InvalidInputError("a search within clusters needs a run", hint="add --run-id latest")
    embedding = session.embedding(run.embedder_id if run else None)
    encoder = encoder or encoder_of(embedding)
    applied: tuple[ClusterHit, ...] = ()
    if within_clusters is not None and run is not None:
        applied = search_clusters(session, within_clusters, run_id=run.run_id, n_results=top_clusters, encoder=encoder)
        nearest = [hit.cluster_id for hit in applied]
        cluster_ids = nearest if cluster_ids is None else [i for i in cluster_ids if i in nearest]
    passing = select(session, filters.without_limit()).text_ids
    with session.store.reading() as connection:
        members = None if run is None else reading.members(connection, run.run_id)
    where = np.zeros(embedding.n_rows, dtype=np.bool_)
    where[passing[passing < embedding.n_rows]] = True
    labels = np.full(embedding.n_rows, NOISE - 1, dtype=np.int32)  # NOISE - 1: not part of the run
    if members is not None:
        labels[members["text_id"].to_numpy()] = members["cluster_id"].to_numpy()
        where &= labels > NOISE - 1
    if cluster_ids is not None:
        where &= np.isin(labels, np.asarray(list(cluster_ids), dtype=np.int32))
    rows, distances = _nearest(session, embedding, encoder.embed([text]), max(n_results, n_candidates), where)
    sources = first_queries(session, rows, filters.without_limit())
    with session.store.reading() as connection:
        titles = {} if run is None else {c.cluster_id: c.title for c in reading.clusters(connection, run.run_id)}
    found = sources.with_columns(pl.Series("cluster_id", labels[rows]), pl.Series("distance", distances))
    return SearchResult(
        text=text,
        run_id=None if run is None else run.run_id,
        results=tuple(_hits(found.head(n_results), has_run=run is not None)),
        applied_clusters=applied,
        facets=_facets(found, titles if run is not None else None),
    )


def search_clusters(
    session: Session,
    text: str,
    *,
    run_id: str = "latest",
    n_results: int = 10,
    summary: str | None = None,
    encoder: TextEncoder | None = None,
) -> tuple[ClusterHit, ...]:
    """The clusters of a run whose centroids are nearest to ``text``, nearest first; noise is no cluster.

    Args:
        summary: id or alias of a naming to call them by.

    Raises:
        InvalidInputError: there is no such run.
    """
    with session.store.reading() as connection:
        run = reading.get_run(connection, run_id)
        clusters = {c.cluster_id: c for c in naming.clusters_called(connection, run.run_id, summary)}
        members = reading.members(connection, run.run_id)
    embedding = session.embedding(run.embedder_id)
    encoder = encoder or encoder_of(embedding)
    if not run.n_clusters:
        return ()
    means = centroids(session.vectors(embedding), members, run.next_cluster_id)
    distances = np.linalg.norm(means - encoder.embed([text]), axis=1)
    # an id whose cluster was merged or deleted has no centroid
    order = [i for i in np.argsort(distances, kind="stable") if int(i) in clusters][:n_results]
    return tuple(
        ClusterHit(
            cluster_id=int(i),
            distance=round(float(distances[i]), 6),
            title=clusters[int(i)].title,
            description=clusters[int(i)].description,
            num_queries=clusters[int(i)].n_queries,
        )
        for i in order
    )


def encoder_of(embedding: EmbeddingRecord) -> Encoder:
    """The encoder that made an embedding.

    Raises:
        ModelError: the model behind that name is another one now.
    """
    pooling: Any = embedding.pooling
    encoder = Encoder(embedding.model, max_length=embedding.max_length, pooling=pooling)
    if encoder.id != embedding.embedder_id:
        raise ModelError(
            f"the vectors were made by {embedding.embedder_id}, but {embedding.model} is now {encoder.id}",
            hint="run: lmsys embed",
        )
    return encoder


def _nearest(
    session: Session,
    embedding: EmbeddingRecord,
    query: npt.NDArray[np.float32],
    k: int,
    where: npt.NDArray[np.bool_],
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.float32]]:
    k = min(k, int(where.sum()))
    if k == 0:
        return np.empty(0, dtype=np.uint32), np.empty(0, dtype=np.float32)
    index = _core.Index.build(session.vectors(embedding), engine="exact")
    ids, distances = index.search(query, k=k, where=where)
    found = ids[0] != NO_ROW
    return ids[0][found], distances[0][found]


def _hits(found: pl.DataFrame, *, has_run: bool) -> list[SearchHit]:
    if not found.height:
        return []
    snippets = pl.Series(_core.cut_texts(found["text"], SNIPPET_CHARS))
    return [
        SearchHit(
            query_id=row["query_id"],
            text_id=row["text_id"],
            distance=round(row["distance"], 6),
            score=round(1 - row["distance"] ** 2 / 2, 6),  # cosine, as both are unit vectors
            text=row["text"],
            snippet=snippet,
            n_queries=row["n_queries"],
            conversation_id=row["conversation_id"],
            model=row["model"],
            language=row["language"],
            cluster_id=row["cluster_id"] if has_run else None,
        )
        for row, snippet in zip(found.iter_rows(named=True), snippets, strict=True)
    ]


def _facets(found: pl.DataFrame, titles: dict[int, str] | None) -> dict[str, list[dict[str, Any]]]:
    facets: dict[str, list[dict[str, Any]]] = {}
    if titles is not None:
        facets["clusters"] = [
            {"cluster_id": key, "count": count, "meta": {"title": titles.get(key, "")}}
            for key, count in _counted(found, "cluster_id")
        ]
    for name in ("language", "model"):
        facets[name] = [{"key": key, "count": count} for key, count in _counted(found, name) if key is not None]
    return facets


def _counted(found: pl.DataFrame, column: str) -> list[tuple[Any, int]]:
    return found.group_by(column).len().sort(["len", column], descending=[True, False]).rows()
