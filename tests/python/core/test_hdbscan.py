"""Is our HDBSCAN the `hdbscan` package's, from an array and from a complete graph?

Only data whose answer is unique: where mutual reachability distances tie, the minimum spanning tree is a choice, and
the reference differs from itself when the rows are shuffled. Each case checks that first.
"""

from __future__ import annotations

from typing import Any

import hdbscan
import numpy as np
import numpy.typing as npt
import pytest
from lmsys_rs import _core
from lmsys_rs.errors import InvalidInputError
from sklearn.datasets import make_blobs, make_circles, make_moons
from sklearn.metrics import adjusted_rand_score

Matrix = npt.NDArray[Any]


def moons() -> Matrix:
    return make_moons(600, noise=0.06, random_state=0)[0]


def circles() -> Matrix:
    return make_circles(500, noise=0.03, factor=0.5, random_state=1)[0]


def uneven_blobs() -> Matrix:
    return make_blobs(700, 5, centers=8, cluster_std=[0.3, 0.5, 0.8, 1, 1.2, 0.4, 0.6, 2], random_state=2)[0]


def wide_blobs() -> Matrix:
    return make_blobs(600, 20, centers=6, cluster_std=2.5, random_state=3)[0]


def unit_rows() -> Matrix:
    X, _ = make_blobs(600, 32, centers=10, cluster_std=3.0, random_state=6)
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def uniform() -> Matrix:
    return np.random.default_rng(4).random((500, 2))


def rounded() -> Matrix:
    return np.round(make_blobs(500, 2, centers=4, random_state=5)[0], 1)


def nested_blobs() -> Matrix:
    """Three groups of three balls: eom and leaf see different things."""
    rng = np.random.default_rng(7)
    centres = np.array([[x + dx, dy] for x in (0, 60, 120) for dx, dy in ((0, 0), (6, 0), (3, 5))])
    return np.repeat(centres, 40, axis=0) + rng.normal(scale=0.6, size=(360, 2))


CASES: list[tuple[Any, dict[str, Any]]] = [
    (moons, {"min_cluster_size": 15}),
    (moons, {"min_cluster_size": 5, "min_samples": 3}),
    (moons, {"min_cluster_size": 5, "min_samples": 5, "cluster_selection_epsilon": 0.3}),
    (moons, {"min_cluster_size": 12, "min_samples": 1, "allow_single_cluster": True, "cluster_selection_epsilon": 0.1}),
    (circles, {"min_cluster_size": 15}),
    (circles, {"min_cluster_size": 25, "allow_single_cluster": True}),
    (circles, {"min_cluster_size": 8, "cluster_selection_method": "leaf", "cluster_selection_epsilon": 0.2}),
    (uneven_blobs, {"min_cluster_size": 15}),
    (uneven_blobs, {"min_cluster_size": 10, "min_samples": 5, "cluster_selection_method": "leaf"}),
    (uneven_blobs, {"min_cluster_size": 12, "min_samples": 1, "allow_single_cluster": True}),
    (wide_blobs, {"min_cluster_size": 15}),
    (wide_blobs, {"min_cluster_size": 25, "allow_single_cluster": True}),
    (wide_blobs, {"min_cluster_size": 10, "min_samples": 5, "cluster_selection_method": "leaf"}),
    (unit_rows, {"min_cluster_size": 15}),
    (unit_rows, {"min_cluster_size": 5, "min_samples": 3}),
    (unit_rows, {"min_cluster_size": 8, "cluster_selection_method": "leaf", "cluster_selection_epsilon": 0.2}),
    (
        unit_rows,
        {"min_cluster_size": 12, "min_samples": 1, "allow_single_cluster": True, "cluster_selection_epsilon": 0.1},
    ),
    (uniform, {"min_cluster_size": 25, "allow_single_cluster": True}),
    (uniform, {"min_cluster_size": 5, "min_samples": 5, "cluster_selection_epsilon": 0.3}),
    (rounded, {"min_cluster_size": 5, "min_samples": 3}),
    (rounded, {"min_cluster_size": 25, "allow_single_cluster": True}),
    (nested_blobs, {"min_cluster_size": 20}),
    (nested_blobs, {"min_cluster_size": 20, "cluster_selection_method": "leaf"}),
    (nested_blobs, {"min_cluster_size": 20, "cluster_selection_method": "leaf", "cluster_selection_epsilon": 8.0}),
]
every_case = pytest.mark.parametrize(
    ("data", "params"), CASES, ids=[f"{data.__name__}-{'-'.join(map(str, params.values()))}" for data, params in CASES]
)


def reference(X: Matrix, params: dict[str, Any]) -> Any:
    return hdbscan.HDBSCAN(approx_min_span_tree=False, algorithm="generic", **params).fit(X.astype(float))


@every_case
def test_clusters_noise_and_probabilities_are_those_of_the_hdbscan_package(data: Any, params: dict[str, Any]) -> None:
    X = data().astype(np.float32)
    want = reference(X, params)
    order = np.random.default_rng(0).permutation(len(X))
    assert adjusted_rand_score(want.labels_[order], reference(X[order], params).labels_) >= 0.99, "no unique answer"

    found = _core.HDBSCAN(**params).fit(X)
    assert adjusted_rand_score(want.labels_, found.labels_) >= 0.99
    assert np.mean(found.labels_ < 0) == pytest.approx(np.mean(want.labels_ < 0), abs=0.01)
    assert np.mean(np.abs(found.probabilities_ - want.probabilities_)) <= 0.01
    assert found.n_clusters_ == want.labels_.max() + 1


@every_case
def test_outlier_scores_are_those_of_the_hdbscan_package(data: Any, params: dict[str, Any]) -> None:
    X = data().astype(np.float32)
    found = _core.HDBSCAN(**params).fit(X).outlier_scores_
    assert found.min() >= 0.0
    assert found.max() <= 1.0
    if data is not rounded:  # equal rows are infinitely dense there, and make every other row an outlier
        want = reference(X, params).outlier_scores_
        order = np.random.default_rng(0).permutation(len(X))
        # where a point hangs on a tie, the reference differs from itself when the rows are shuffled
        itself = np.mean(np.abs(reference(X[order], params).outlier_scores_ - want[order]))
        assert np.mean(np.abs(found - want)) <= 0.005 + itself


def test_a_row_apart_is_an_outlier_and_equal_rows_make_none() -> None:
    X = np.concatenate([np.random.default_rng(0).normal(scale=0.1, size=(60, 2)) + c for c in (0, 10)] + [[[4.0, 9.0]]])
    for given in (X, _core.KnnGraph.build(X, k=20)):
        scores = _core.HDBSCAN(min_cluster_size=10).fit(given).outlier_scores_
        assert scores.argmax() == 120
        assert scores[120] > 0.9
    equal = np.concatenate([X[:120], np.zeros((1_000, 2))])
    scores = _core.HDBSCAN(min_cluster_size=10, min_samples=2).fit(equal).outlier_scores_
    assert (scores[120:] == 0.0).all()
    assert np.median(scores[:120]) < 0.9


@every_case
def test_a_complete_graph_gives_what_the_array_gives(data: Any, params: dict[str, Any]) -> None:
    X = data().astype(np.float32)
    of_array = _core.HDBSCAN(**params).fit(X)
    of_graph = _core.HDBSCAN(**params).fit(_core.KnnGraph.build(X, k=len(X) - 1))
    assert adjusted_rand_score(of_array.labels_, of_graph.labels_) >= 0.99
    assert np.mean(np.abs(of_array.probabilities_ - of_graph.probabilities_)) <= 0.01


def test_a_graph_of_few_neighbors_finds_blobs() -> None:
    X, truth = make_blobs(2_000, 8, centers=12, cluster_std=0.8, random_state=1)
    found = _core.HDBSCAN(min_cluster_size=20, min_samples=10).fit(_core.KnnGraph.build(X, k=15))
    clustered = found.labels_ >= 0
    assert clustered.mean() >= 0.9
    assert adjusted_rand_score(truth[clustered], found.labels_[clustered]) >= 0.99


@every_case
def test_labels_are_numbered_without_gaps_and_noise_has_probability_zero(data: Any, params: dict[str, Any]) -> None:
    found = _core.HDBSCAN(**params).fit(data())
    clusters = np.unique(found.labels_[found.labels_ >= 0])
    assert clusters.tolist() == list(range(found.n_clusters_))
    assert (found.probabilities_[found.labels_ < 0] == 0).all()
    assert found.probabilities_.min() >= 0
    assert found.probabilities_.max() <= 1
    for cluster in clusters:
        members = found.labels_ == cluster
        assert members.sum() >= params["min_cluster_size"]
        assert found.probabilities_[members].max() == 1


def test_weights_count_towards_the_cluster_size() -> None:
    X = np.concatenate([np.random.default_rng(0).normal(scale=0.1, size=(6, 2)) + c for c in (0, 10, 20)])
    estimator = _core.HDBSCAN(min_cluster_size=10, min_samples=2)
    assert estimator.fit(X).n_clusters_ == 0
    found = estimator.fit(X, sample_weight=np.full(18, 2.0))
    assert found.labels_.tolist() == np.repeat(found.labels_[[0, 6, 12]], 6).tolist()
    assert found.n_clusters_ == 3


def test_equal_rows_always_land_together() -> None:
    X = make_blobs(200, 3, centers=5, cluster_std=1.5, random_state=9)[0]
    labels = _core.HDBSCAN(min_cluster_size=6).fit(np.concatenate([X, X])).labels_
    np.testing.assert_array_equal(labels[:200], labels[200:])


def test_min_samples_above_the_graphs_k_is_refused_with_both_numbers() -> None:
    graph = _core.KnnGraph.build(moons(), k=15)
    with pytest.raises(InvalidInputError, match="min_samples must be <= the graph's k: 40 > 15"):
        _core.HDBSCAN(min_samples=40).fit(graph)
