"""Are the measures of clusters those of the definitions, and sane on odd input?"""

from __future__ import annotations

from typing import Any

import lmsys_rs as lm
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lmsys_rs import _core
from lmsys_rs.errors import InvalidInputError

Matrix = npt.NDArray[Any]


@st.composite
def labelled(draw: st.DrawFn) -> tuple[Matrix, Matrix, Matrix | None]:
    n, n_clusters = draw(st.integers(2, 60)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    X = rng.normal(size=(n, draw(st.integers(2, 8)))).astype(np.float32)
    weights = rng.integers(1, 9, size=n).astype(np.float32) if draw(st.booleans()) else None
    return X, rng.integers(-1, n_clusters, size=n), weights


def blobs(n: int = 300, k: int = 3, dim: int = 4, seed: int = 0) -> tuple[Matrix, Matrix]:
    labels = np.arange(n) % k
    centres = 20 * np.eye(k, dim)
    X = centres[labels] + np.random.default_rng(seed).normal(size=(n, dim))
    return X.astype(np.float32), labels


@settings(deadline=None, max_examples=60)
@given(labelled())
def test_quality_is_that_of_the_definitions(case: tuple[Matrix, Matrix, Matrix | None]) -> None:
    X, labels, weights = case
    w = np.ones(len(X)) if weights is None else weights.astype(float)
    graph = _core.KnnGraph.build(X, k=5)
    frame = lm.cluster_quality(X, labels, graph=graph, sample_weight=weights)
    present = sorted({int(label) for label in labels if label >= 0})
    assert frame["cluster_id"].to_list() == present
    rows, neighbors = X.astype(float), graph.indices
    centres = {c: np.average(rows[labels == c], axis=0, weights=w[labels == c]) for c in present}
    for found in frame.iter_rows(named=True):
        cluster = found["cluster_id"]
        own = labels == cluster
        centre, others = centres[cluster], {c: centres[c] for c in present if c != cluster}
        assert found["size"] == pytest.approx(w[own].sum())
        apart = np.linalg.norm(rows[own] - centre, axis=1)
        assert found["distance"] == pytest.approx(np.average(apart, weights=w[own]), abs=1e-5)
        cosine = rows[own] @ centre / np.linalg.norm(rows[own], axis=1) / np.linalg.norm(centre)
        assert found["cohesion"] == pytest.approx(np.average(cosine, weights=w[own]), abs=1e-4)
        leaving = np.mean(labels[neighbors[own]] != cluster, axis=1)
        assert found["spillover"] == pytest.approx(np.average(leaving, weights=w[own]))
        if not others:
            assert found["separation"] is None
            assert found["nearest"] is None
            assert found["silhouette"] == 0.0
            continue
        distances = {c: np.linalg.norm(centre - other) for c, other in others.items()}
        assert found["separation"] == pytest.approx(min(distances.values()), abs=1e-5)
        assert distances[found["nearest"]] == pytest.approx(found["separation"], abs=1e-5)
        other = np.min([np.linalg.norm(rows[own] - c, axis=1) for c in others.values()], axis=0)
        silhouette = (other - apart) / np.maximum(other, apart) if own.sum() > 1 else np.zeros(1)
        assert found["silhouette"] == pytest.approx(np.average(silhouette, weights=w[own]), abs=1e-4)


def test_halves_of_a_cluster_are_suggested_to_merge() -> None:
    X, labels = blobs()
    graph = _core.KnnGraph.build(X)
    assert lm.merge_suggestions(X, labels, graph).is_empty()
    halves = np.where(labels == 2, 2 + np.arange(len(X)) % 2, labels)
    found = lm.merge_suggestions(X, halves, graph)
    assert found.select("a", "b").rows() == [(2, 3)]
    assert 0.8 < found["score"].item() <= 1.0
    assert found["mixing"].item() == pytest.approx(1.0, abs=0.2)
    assert lm.merge_suggestions(X, halves, min_score=0.99).is_empty()
    assert found.equals(lm.merge_suggestions(X, halves))


def test_a_row_between_clusters_is_odd() -> None:
    X, labels = blobs()
    X = np.vstack([X, [[8.0, 8.0, 8.0, 0.0]]]).astype(np.float32)
    scores = _core.knn_outlier_scores(_core.KnnGraph.build(X), [*labels, 0], n_clusters=3)
    assert scores.argmax() == 300
    assert scores[300] > 3.5
    assert np.mean(scores[:300] > 3.5) < 0.05


def test_central_representatives_lead_to_the_middle() -> None:
    X, labels = blobs()
    found = _core.central_representatives(_core.KnnGraph.build(X), labels, n_clusters=4, n_representatives=5)
    assert [len(rows) for rows in found] == [5, 5, 5, 0]
    for cluster, rows in enumerate(found[:3]):
        assert (labels[rows] == cluster).all()
        centre = X[labels == cluster].mean(axis=0)
        usual = np.linalg.norm(X[labels == cluster] - centre, axis=1).mean()
        assert np.linalg.norm(X[rows] - centre, axis=1).mean() < usual


@pytest.mark.parametrize(
    "estimator", [None, lm.KMeans(3), lm.HDBSCAN(min_cluster_size=10), lm.Agglomerative(3), lm.DBSCAN(eps=3.0)]
)
def test_separate_clusters_are_stable(estimator: Any) -> None:
    X, labels = blobs()
    found = lm.cluster_stability(X, labels, estimator=estimator, n_boots=5)
    assert (found > 0.7).all()
    np.testing.assert_array_equal(found, lm.cluster_stability(X, labels, estimator=estimator, n_boots=5))


def test_halves_of_a_cluster_are_not_stable() -> None:
    X, labels = blobs()
    halves = np.where(labels == 2, 2 + np.arange(len(X)) % 2, labels)
    found = lm.cluster_stability(X, halves, sample_weight=np.full(len(X), 2))
    assert (found[:2] > 0.95).all()
    assert (found[2:] < 0.75).all()


def test_choose_k_finds_the_number_of_separate_clusters() -> None:
    X, _ = blobs(n=600, k=6, dim=8)
    table = lm.choose_k(X, [2, 4, 6, 9, 14], n_repeats=4)
    assert table.filter("advised")["k"].to_list() == [6]
    assert table["k"].to_list() == [2, 4, 6, 9, 14]
    assert (table["inertia"].diff().drop_nulls() < 0).all()
    assert table.equals(lm.choose_k(X, [14, 2, 4, 6, 9, 9], n_repeats=4))
    sampled = lm.choose_k(X, [6], sample=200, n_repeats=1)
    assert sampled["inertia"].item() < table.filter(k=6)["inertia"].item()


@pytest.mark.parametrize("n", [1, 2, 3, 7, 25])
def test_choose_k_of_few_rows_has_no_nan(n: int) -> None:
    X, _ = blobs(n=n)
    for ks in (None, [1, n]):
        table = lm.choose_k(X, ks, n_repeats=2)
        assert table["advised"].sum() == 1
        assert not table.select(table.columns[1:5]).to_numpy().__ne__(table.select(table.columns[1:5]).to_numpy()).any()


ODD: dict[str, tuple[Matrix, Matrix]] = {
    "zero rows": (np.zeros((40, 3), np.float32), np.arange(40) % 3),
    "duplicates": (np.repeat(np.eye(2, 3, dtype=np.float32), 1_000, axis=0), np.arange(2_000) // 1_000),
    "two points in three clusters": (np.repeat(np.eye(2, 3, dtype=np.float32), 10, axis=0), np.arange(20) % 3),
    "all noise": (blobs(40)[0], np.full(40, -1)),
    "one cluster": (blobs(40)[0], np.zeros(40, int)),
    "clusters of one row": (blobs(40)[0], np.arange(40)),
    "two rows": (blobs(2)[0], np.array([0, 1])),
    "largest numbers": (
        np.where(blobs(40)[0] > 2, np.finfo(np.float32).max, np.finfo(np.float32).min),
        np.arange(40) % 3,
    ),
}


@pytest.mark.parametrize("odd", ODD)
def test_odd_input_has_numbers(odd: str) -> None:
    X, labels = ODD[odd]
    n_clusters = int(labels.max()) + 1
    graph = _core.KnnGraph.build(X, k=5)
    quality = _core.cluster_quality(X, labels, n_clusters=n_clusters, graph=graph)
    assert not any(np.isnan(column).any() for column in quality.values())
    pairs = lm.merge_suggestions(X, labels, graph)
    assert pairs["score"].is_between(0, 1).all()
    assert pairs.select("distance", "relative_distance", "mixing").to_numpy().__lt__(np.inf).all()
    assert np.isfinite(_core.knn_outlier_scores(graph, labels, n_clusters=n_clusters)).all()
    stability = lm.cluster_stability(X, labels, n_boots=2)
    assert stability.shape == (n_clusters,)
    assert ((stability >= 0) & (stability <= 1)).all()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda X, labels: lm.cluster_quality(X, labels[:-1]), "labels"),
        (lambda X, labels: lm.cluster_quality(X, labels / 1.0), "integers: got float64"),
        (lambda X, labels: lm.cluster_quality(X * np.nan, labels), "X.*row 0"),
        (lambda X, labels: lm.cluster_quality(X, labels, graph=_core.KnnGraph.build(X[1:])), "one point per row"),
        (lambda X, labels: lm.merge_suggestions(X, labels, sample_weight=[1.0]), "weights.*1 != 30"),
        (lambda X, labels: lm.cluster_stability(X, labels, n_boots=0), "n_boots.*0"),
        (lambda X, labels: lm.cluster_stability(X[1:], labels, estimator=lm.KMeans(3)), "labels"),
        (lambda X, _: lm.choose_k(X, [2, 31]), r"30.*\[2, 31\]"),
        (lambda X, _: lm.choose_k(X, [0]), r"\[0\]"),
        (lambda X, _: lm.choose_k(X, [5], sample=4), r"4.*\[5\]"),
        (lambda X, _: lm.choose_k(X, n_repeats=0), "n_repeats"),
        (lambda X, _: lm.choose_k(X, sample_weight=[1.0]), "sample_weight"),
        (lambda X, _: lm.choose_k(X * np.nan), "row 0"),
    ],
)
def test_input_that_does_not_fit_is_refused(call: Any, words: str) -> None:
    X, labels = blobs(30)
    with pytest.raises(InvalidInputError, match=words):
        call(X, labels)
