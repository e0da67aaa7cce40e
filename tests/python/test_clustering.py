"""Runs: what is stored, what is reused, what is refused."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from lmsys_rs import _core
from lmsys_rs.clustering import _by_size, cluster, default_k
from lmsys_rs.errors import InvalidInputError, StoreError
from lmsys_rs.layouts import knn_graph, layout
from lmsys_rs.loading import load
from lmsys_rs.records import Filters
from lmsys_rs.selection import select
from lmsys_rs.session import Session
from lmsys_rs.store import reading


def members(session: Session, run_id: str) -> Any:
    with session.store.reading() as connection:
        return reading.members(connection, run_id)


def test_run_covers_every_text_and_counts_add_up(embedded: Session) -> None:
    run = cluster(embedded, _core.KMeans(n_clusters=7, random_state=3))
    found = members(embedded, run.run_id)
    with embedded.store.reading() as connection:
        clusters = reading.clusters(connection, run.run_id)
        n_texts = reading.n_texts(connection)
    assert found["text_id"].to_list() == list(range(n_texts))
    assert [c.cluster_id for c in clusters] == list(range(7))
    assert sum(c.size for c in clusters) == run.n_texts == n_texts
    assert sum(c.n_queries for c in clusters) == run.n_queries == 300
    assert [c.size for c in clusters] == sorted((c.size for c in clusters), reverse=True)
    assert run.seed == 3
    assert re.fullmatch(r"kmeans-7-\d{8}-\d{6}", run.run_id)


def test_equal_run_is_reused_and_force_makes_another(embedded: Session) -> None:
    first = cluster(embedded, _core.KMeans(n_clusters=5))
    assert cluster(embedded, _core.KMeans(n_clusters=5)).run_id == first.run_id
    assert cluster(embedded, _core.KMeans(n_clusters=6)).run_id != first.run_id
    forced = cluster(embedded, _core.KMeans(n_clusters=5), force=True)
    assert forced.run_id != first.run_id
    assert members(embedded, forced.run_id).equals(members(embedded, first.run_id))


def test_runs_are_listed_newest_first_even_within_a_second(embedded: Session) -> None:
    made = [cluster(embedded, _core.KMeans(n_clusters=3), force=True).run_id for _ in range(3)]
    with embedded.store.reading() as connection:
        assert [run.run_id for run in reading.runs(connection)] == made[::-1]
        assert reading.get_run(connection, "latest").run_id == made[-1]
    assert len(set(made)) == 3


def test_filters_choose_the_texts(embedded: Session) -> None:
    run = cluster(embedded, _core.KMeans(n_clusters=2), filters=Filters(language="English"))
    selected = select(embedded, Filters(language="English"))
    assert members(embedded, run.run_id)["text_id"].to_list() == selected.text_ids.tolist()
    assert run.n_queries == int(selected.weights.sum())
    assert run.filters == {"language": "English"}


@pytest.mark.parametrize(
    ("estimator", "name"),
    [
        (lambda: _core.HDBSCAN(min_cluster_size=5), "hdbscan-5"),
        (lambda: _core.GaussianMixture(3), "gmm-3"),
        (lambda: _core.DBSCAN(eps=0.5, min_samples=4), "dbscan-4"),
        (lambda: _core.OPTICS(min_samples=4), "optics-4"),
    ],
)
def test_every_algorithm_makes_a_run(embedded: Session, estimator: Any, name: str) -> None:
    run = cluster(embedded, estimator(), reduce_to=3)
    found = members(embedded, run.run_id)
    assert run.run_id.startswith(name)
    assert found["cluster_id"].min() >= -1
    assert int((found["cluster_id"] == -1).sum()) == run.n_noise
    assert found["cluster_id"].max() + 1 == run.n_clusters


def test_hdbscan_on_the_graph_stores_probabilities(embedded: Session) -> None:
    run = cluster(embedded, _core.HDBSCAN(min_cluster_size=5), space="graph")
    probabilities = members(embedded, run.run_id)["probability"]
    assert probabilities.null_count() == 0
    assert 0 <= probabilities.min() <= probabilities.max() <= 1
    assert run.parameters["space"] == "graph"


def test_more_clusters_than_texts_is_refused_with_a_way_out(embedded: Session) -> None:
    with pytest.raises(
        InvalidInputError, match=r"n_clusters must be <= the number of distinct texts: 999 > \d+\nhint: "
    ):
        cluster(embedded, _core.KMeans(n_clusters=999))


def test_nothing_to_cluster_is_refused(embedded: Session) -> None:
    with pytest.raises(InvalidInputError, match="no query passes the filters"):
        cluster(embedded, _core.KMeans(n_clusters=2), filters=Filters(language="Klingon"))


def test_texts_without_vectors_are_refused(embedded: Session, sample_file: Any, tmp_path: Any) -> None:
    (tmp_path / "more.jsonl").write_text('{"conversation": [{"role": "user", "content": "brand new"}]}\n')
    load(embedded, tmp_path / "more.jsonl")
    with pytest.raises(StoreError, match=r"1 of \d+ texts have no vector of words-64 yet"):
        cluster(embedded, _core.KMeans(n_clusters=2))


def test_foreign_estimator_is_refused(embedded: Session) -> None:
    with pytest.raises(InvalidInputError, match="cluster needs one of KMeans"):
        cluster(embedded, object())


def test_space_that_makes_no_sense_is_refused(embedded: Session) -> None:
    with pytest.raises(InvalidInputError, match="space of kmeans must be one of vectors, umap, pca: 'graph'"):
        cluster(embedded, _core.KMeans(n_clusters=2), space="graph")


def test_graph_and_layout_are_made_once(embedded: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    embedding = embedded.embedding()
    ids = select(embedded).text_ids
    graph = knn_graph(embedded, embedding, ids, k=15)
    points = layout(embedded, embedding, ids)
    files = sorted(file.name for file in embedded.folder.path.glob("*/*.npy"))
    smaller = knn_graph(embedded, embedding, ids, k=5)
    assert np.array_equal(smaller.indices, graph.indices[:, :5])
    assert np.array_equal(layout(embedded, embedding, ids), points)
    assert points.shape == (len(ids), 2)
    assert sorted(file.name for file in embedded.folder.path.glob("*/*.npy")) == files


def test_layout_of_hardly_any_texts_has_the_asked_shape(embedded: Session) -> None:
    embedding = embedded.embedding()
    for n_texts in (1, 2, 3):
        ids = np.arange(n_texts, dtype=np.uint32)
        for method in ("umap", "pca"):
            points = layout(embedded, embedding, ids, n_components=5, method=method)
            assert points.shape == (n_texts, 5)
            assert np.isfinite(points).all()


def test_clusters_are_numbered_by_size_then_first_text() -> None:
    labels = np.array([4, 4, 9, 9, 9, -1, 2, 2], dtype=np.int32)
    assert _by_size(labels)[labels].tolist() == [1, 1, 0, 0, 0, -1, 2, 2]
    noise = np.array([-1, -1], dtype=np.int32)
    assert _by_size(noise)[noise].tolist() == [-1, -1]


@pytest.mark.parametrize(("n_texts", "k"), [(1, 1), (2, 2), (50, 5), (20_000, 100), (10_000_000, 200)])
def test_default_number_of_clusters(n_texts: int, k: int) -> None:
    assert default_k(n_texts) == k


def test_density_finds_the_number_itself_and_keeps_the_nearest_cluster_of_noise(embedded: Session) -> None:
    run = cluster(embedded, _core.Density(resolution=2.0))  # vectors of single words hold too little to choose by
    found = members(embedded, run.run_id)
    assert re.fullmatch(r"density-5-\d{8}-\d{6}", run.run_id)
    assert 2 <= run.n_clusters <= 60
    assert found["probability"].is_between(0, 1).all()
    clustered = found.filter(found["cluster_id"] >= 0)
    assert (clustered["nearest_id"] == clustered["cluster_id"]).all()
    assert found["nearest_id"].is_between(-1, run.n_clusters - 1).all()
    with embedded.store.reading() as connection:
        graphs = reading.graphs_of(connection, run.embedder_id)
    assert [recall for *_, recall in graphs] == [1.0]  # so few texts are all compared
    assert cluster(embedded, _core.Leiden()).n_clusters >= 2
    with pytest.raises(InvalidInputError, match="space of density must be one of graph"):
        cluster(embedded, _core.Density(), space="umap")
