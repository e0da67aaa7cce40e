"""Search: exact, and filtered before ranking."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from lmsys_rs import _core
from lmsys_rs.clustering import cluster
from lmsys_rs.errors import InvalidInputError
from lmsys_rs.records import Filters
from lmsys_rs.search import search_clusters, search_queries
from lmsys_rs.session import Session
from lmsys_rs.store import reading


def test_nearest_texts_come_first_and_are_exact(embedded: Session, encoder: Any) -> None:
    result = search_queries(embedded, "write a SQL query", n_results=5, encoder=encoder)
    vectors = embedded.vectors(embedded.embedding())
    distances = np.linalg.norm(vectors - encoder.embed(["write a SQL query"]), axis=1)
    assert [hit.text_id for hit in result.results] == np.argsort(distances, kind="stable")[:5].tolist()
    assert np.allclose([hit.distance for hit in result.results], np.sort(distances)[:5], atol=1e-4)
    assert result.run_id is None


def test_known_text_is_found_at_distance_zero(embedded: Session, encoder: Any) -> None:
    with embedded.store.reading() as connection:
        text = reading.text_page(connection)["text"][17]
    hit = search_queries(embedded, text, encoder=encoder).results[0]
    assert hit.text == text
    assert hit.distance == pytest.approx(0, abs=2e-3)
    assert hit.score == pytest.approx(1, abs=1e-5)


def test_filter_applies_before_ranking(embedded: Session, encoder: Any) -> None:
    # nothing Chinese is near an English question: a filter after ranking would find too few
    filters = Filters(language="Chinese")
    result = search_queries(
        embedded, "write a SQL query", filters=filters, n_results=8, n_candidates=8, encoder=encoder
    )
    assert len(result.results) == 8
    assert {hit.language for hit in result.results} == {"Chinese"}
    assert result.facets["language"] == [{"key": "Chinese", "count": 8}]


def test_search_within_clusters_returns_only_these(embedded: Session, encoder: Any) -> None:
    run = cluster(embedded, _core.KMeans(n_clusters=6))
    result = search_queries(embedded, "sql", run_id=run.run_id, cluster_ids=[0, 3], n_results=20, encoder=encoder)
    assert {hit.cluster_id for hit in result.results} <= {0, 3}
    assert result.results
    counted = {entry["cluster_id"]: entry["count"] for entry in result.facets["clusters"]}
    assert set(counted) <= {0, 3}


def test_search_near_another_text_applies_its_clusters(embedded: Session, encoder: Any) -> None:
    run = cluster(embedded, _core.KMeans(n_clusters=6))
    result = search_queries(
        embedded, "recipe", run_id="latest", within_clusters="sql query", top_clusters=2, encoder=encoder
    )
    applied = [hit.cluster_id for hit in result.applied_clusters]
    nearest = search_clusters(embedded, "sql query", run_id=run.run_id, n_results=2, encoder=encoder)
    assert applied == [hit.cluster_id for hit in nearest]
    assert {hit.cluster_id for hit in result.results} <= set(applied)


def test_cluster_search_ranks_by_centroid(embedded: Session, encoder: Any) -> None:
    run = cluster(embedded, _core.KMeans(n_clusters=6))
    hits = search_clusters(embedded, "write a SQL query", run_id=run.run_id, n_results=6, encoder=encoder)
    assert [hit.distance for hit in hits] == sorted(hit.distance for hit in hits)
    assert sorted(hit.cluster_id for hit in hits) == list(range(6))
    best = search_queries(embedded, "write a SQL query", run_id=run.run_id, n_results=1, encoder=encoder)
    assert best.results[0].cluster_id in [hit.cluster_id for hit in hits[:2]]


def test_nothing_passes_gives_nothing(embedded: Session, encoder: Any) -> None:
    result = search_queries(embedded, "x", filters=Filters(model="nobody"), encoder=encoder)
    assert result.results == ()


def test_clusters_without_a_run_are_refused(embedded: Session, encoder: Any) -> None:
    with pytest.raises(InvalidInputError, match="needs a run"):
        search_queries(embedded, "x", cluster_ids=[0], encoder=encoder)


def test_unknown_run_is_refused(embedded: Session, encoder: Any) -> None:
    with pytest.raises(InvalidInputError, match="no runs yet"):
        search_queries(embedded, "x", run_id="latest", encoder=encoder)
    cluster(embedded, _core.KMeans(n_clusters=2))
    with pytest.raises(InvalidInputError, match="there is no run 'x'"):
        search_queries(embedded, "x", run_id="x", encoder=encoder)
