"""Is our k-means scikit-learn's, from the same start and as good from its own?"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from lmsys_rs import _core
from sklearn.cluster import KMeans as Reference
from sklearn.datasets import make_blobs
from sklearn.metrics import v_measure_score

Matrix = npt.NDArray[Any]


def fit_both(X: Matrix, k: int, weights: Matrix | None = None, **params: Any) -> tuple[Any, Any]:
    """Ours and scikit-learn's, from the same rows."""
    start = X[np.random.default_rng(1).choice(len(X), size=k, replace=False)]
    ours = _core.KMeans(k, init=start, **params).fit(X, sample_weight=weights)
    # float64, so that the reference does not lose digits where we do not
    reference = Reference(k, init=start.astype(float), n_init=1, algorithm="lloyd", **params)
    return ours, reference.fit(X.astype(float), sample_weight=weights)


@pytest.mark.parametrize(
    ("n", "dim", "k"), [(300, 2, 3), (1_000, 8, 20), (700, 33, 7), (2_000, 64, 40), (50, 5, 50), (400, 384, 12)]
)
@pytest.mark.parametrize("weighted", [False, True])
def test_the_same_start_gives_the_clusters_of_scikit_learn(n: int, dim: int, k: int, weighted: bool) -> None:
    X, _ = make_blobs(n, dim, centers=k, cluster_std=3.0, random_state=n)
    X = X.astype(np.float32)
    weights = np.random.default_rng(2).integers(1, 9, size=n) if weighted else None
    ours, reference = fit_both(X, k, weights)
    np.testing.assert_array_equal(ours.labels_, reference.labels_)
    assert ours.inertia_ == pytest.approx(reference.inertia_, rel=1e-5)
    np.testing.assert_allclose(ours.cluster_centers_, reference.cluster_centers_, atol=1e-4)
    # scikit-learn also counts the last step, which changes no label
    assert reference.n_iter_ - ours.n_iter_ in (0, 1)


def test_max_iter_bounds_the_steps_as_in_scikit_learn() -> None:
    X = np.random.default_rng(0).normal(size=(800, 6)).astype(np.float32)
    for max_iter in (1, 2, 5):
        ours, reference = fit_both(X, 10, max_iter=max_iter, tol=0.0)
        assert ours.n_iter_ == max_iter
        np.testing.assert_array_equal(ours.labels_, reference.predict(X.astype(float)))


def test_default_seeding_finds_blobs_as_well_as_scikit_learn() -> None:
    ratios = []
    for seed in range(5):
        X, truth = make_blobs(1_500, 10, centers=25, cluster_std=1.5, random_state=seed)
        ours = _core.KMeans(25, random_state=seed).fit(X).labels_
        reference = Reference(25, n_init=1, random_state=seed).fit(X).labels_
        ratios.append(v_measure_score(truth, ours) / v_measure_score(truth, reference))
    assert np.mean(ratios) >= 0.99
    assert min(ratios) >= 0.95


def test_default_seeding_has_the_inertia_of_scikit_learn() -> None:
    X = np.random.default_rng(0).normal(size=(1_500, 12)).astype(np.float32)
    ours = [_core.KMeans(40, random_state=seed).fit(X).inertia_ for seed in range(5)]
    reference = [Reference(40, n_init=1, random_state=seed).fit(X).inertia_ for seed in range(5)]
    assert np.mean(ours) <= 1.01 * np.mean(reference)


def test_weights_count_like_repeated_rows() -> None:
    rng = np.random.default_rng(3)
    X = rng.normal(size=(200, 4)).astype(np.float32)
    weights = rng.integers(1, 5, size=200)
    start = X[:6]
    once = _core.KMeans(6, init=start).fit(X, sample_weight=weights)
    repeated = _core.KMeans(6, init=start).fit(np.repeat(X, weights, axis=0))
    np.testing.assert_array_equal(np.repeat(once.labels_, weights), repeated.labels_)
    assert once.inertia_ == pytest.approx(repeated.inertia_, rel=1e-5)


def test_results_agree_with_each_other() -> None:
    X = np.random.default_rng(4).normal(size=(500, 7)).astype(np.float32)
    found = _core.KMeans(9, tol=0.0).fit(X)
    distances = np.linalg.norm(X[:, None].astype(float) - found.cluster_centers_[None], axis=2)
    np.testing.assert_array_equal(found.labels_, distances.argmin(axis=1))
    np.testing.assert_allclose(found.distances_, distances.min(axis=1), rtol=1e-5)
    assert found.inertia_ == pytest.approx((distances.min(axis=1) ** 2).sum(), rel=1e-6)
    np.testing.assert_array_equal(found.predict(X), found.labels_)
    means = [X[found.labels_ == cluster].mean(axis=0) for cluster in range(9)]
    np.testing.assert_allclose(found.cluster_centers_, means, atol=1e-4)
    assert found.labels_.dtype == np.int32
    assert found.cluster_centers_.dtype == found.distances_.dtype == np.float32


def test_more_starts_never_make_the_inertia_larger() -> None:
    X = np.random.default_rng(5).normal(size=(400, 3))
    inertia = [_core.KMeans(30, n_init=n, random_state=7).fit(X).inertia_ for n in (1, 2, 4, 8)]
    assert inertia == sorted(inertia, reverse=True)


def test_no_cluster_stays_empty_where_rows_differ() -> None:
    X = np.random.default_rng(6).normal(size=(100, 3)).astype(np.float32)
    far = np.full((10, 3), 1e3, dtype=np.float32)
    found = _core.KMeans(10, init=far).fit(X)
    assert np.unique(found.labels_).tolist() == list(range(10))


@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_as_many_clusters_as_rows_puts_each_row_alone(init: str) -> None:
    X = np.random.default_rng(7).normal(size=(40, 3))
    found = _core.KMeans(40, init=init).fit(X)
    assert sorted(found.labels_.tolist()) == list(range(40))
    assert found.inertia_ == pytest.approx(0.0, abs=1e-9)


def test_equal_rows_have_equal_labels() -> None:
    X = np.random.default_rng(8).normal(size=(60, 5)).astype(np.float32)
    labels = _core.KMeans(20).fit(np.concatenate([X, X, X])).labels_
    np.testing.assert_array_equal(labels[:60], labels[60:120])
    np.testing.assert_array_equal(labels[:60], labels[120:])


def test_rows_whose_squares_are_beyond_float32_have_clusters() -> None:
    X = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32) * np.float32(1e25)
    kmeans = _core.KMeans(3).fit(X)
    assert set(kmeans.labels_.tolist()) <= {0, 1, 2}
    np.testing.assert_array_equal(kmeans.predict(X), kmeans.labels_)
