"""Are the Gaussian mixture, DBSCAN and OPTICS scikit-learn's?"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from lmsys_rs import _core
from sklearn.cluster import DBSCAN, OPTICS
from sklearn.datasets import make_blobs, make_moons
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

Matrix = npt.NDArray[Any]


def separated(dim: int = 3, k: int = 4, n: int = 400) -> tuple[Matrix, Matrix]:
    rng = np.random.default_rng(dim)
    truth = np.arange(n) % k
    return (rng.normal(size=(n, dim)) * rng.uniform(0.2, 0.8, size=dim) + 12 * truth[:, None]).astype(np.float32), truth


@pytest.mark.parametrize(("dim", "k"), [(1, 3), (2, 5), (3, 4), (8, 3)])
def test_separated_blobs_are_the_components(dim: int, k: int) -> None:
    X, truth = separated(dim, k)
    found = _core.GaussianMixture(k, random_state=1).fit(X)
    want = GaussianMixture(k, n_init=3, random_state=1).fit(X.astype(float))
    assert adjusted_rand_score(truth, found.labels_) == 1.0
    assert adjusted_rand_score(want.predict(X.astype(float)), found.labels_) == 1.0
    ours, theirs = np.argsort(found.means_[:, 0]), np.argsort(want.means_[:, 0])
    np.testing.assert_allclose(found.means_[ours], want.means_[theirs], atol=1e-3)
    np.testing.assert_allclose(found.weights_[ours], want.weights_[theirs], atol=1e-4)
    precisions = found.precisions_.reshape(k, dim, dim)
    np.testing.assert_allclose(precisions[ours], want.precisions_[theirs], rtol=1e-2, atol=0.05)


def test_a_mixture_predicts_what_it_fitted() -> None:
    X, _ = make_blobs(500, 3, centers=4, cluster_std=2.0, random_state=3)
    found = _core.GaussianMixture(4).fit(X)
    np.testing.assert_array_equal(found.predict(X), found.labels_)
    assert found.weights_.sum() == pytest.approx(1.0)
    assert found.means_.dtype == found.weights_.dtype == found.precisions_.dtype == np.float64


def test_labels_of_a_mixture_are_the_most_probable_components() -> None:
    X, _ = make_blobs(300, 2, centers=3, cluster_std=3.0, random_state=4)
    X = X.astype(np.float32).astype(float)
    found = _core.GaussianMixture(3, random_state=2).fit(X)
    log = []
    for mean, weight, precision in zip(found.means_, found.weights_, found.precisions_.reshape(3, 2, 2), strict=True):
        centred = X - mean
        quadratic = np.einsum("ni,ij,nj->n", centred, precision, centred)
        log.append(np.log(weight) + 0.5 * np.linalg.slogdet(precision)[1] - 0.5 * quadratic)
    np.testing.assert_array_equal(found.labels_, np.argmax(log, axis=0))


@pytest.mark.parametrize("data", [separated()[0], make_moons(500, noise=0.05, random_state=0)[0].astype(np.float32)])
@pytest.mark.parametrize(("eps", "min_samples"), [(0.3, 5), (0.15, 4), (0.6, 10), (1e-6, 2), (100.0, 3)])
def test_dbscan_finds_the_clusters_of_scikit_learn(data: Matrix, eps: float, min_samples: int) -> None:
    found = _core.DBSCAN(eps=eps, min_samples=min_samples).fit(data).labels_
    want = DBSCAN(eps=eps, min_samples=min_samples).fit(data.astype(float))
    np.testing.assert_array_equal(found < 0, want.labels_ < 0)
    # a border point between two clusters may go to either
    core = want.core_sample_indices_
    if len(core):
        assert adjusted_rand_score(want.labels_[core], found[core]) == 1.0


def reachable(X: Matrix, min_samples: int, max_eps: float) -> Matrix:
    """Reachability distance of column from row (Ankerst et al. 1999, definition 6); inf where it is undefined."""
    apart = np.linalg.norm(X[:, None] - X[None], axis=2)
    core = np.sort(apart, axis=1)[:, min_samples - 1]
    core[core > max_eps] = np.inf
    return np.where(apart <= max_eps, np.maximum(core[:, None], apart), np.inf)


@pytest.mark.parametrize("max_eps", [float("inf"), 4.0, 0.5])
@pytest.mark.parametrize("min_samples", [2, 5, 12])
def test_optics_always_goes_on_with_the_most_reachable_row(max_eps: float, min_samples: int) -> None:
    """Ties and the first row are free, so the order is replayed against the definition."""
    X = make_blobs(300, 2, centers=4, cluster_std=0.8, random_state=5)[0].astype(np.float32)
    found = _core.OPTICS(min_samples=min_samples, max_eps=max_eps).fit(X)
    assert sorted(found.ordering_.tolist()) == list(range(300))
    from_each = reachable(X.astype(float), min_samples, max_eps)
    best = np.full(300, np.inf)
    for row in found.ordering_:
        assert found.reachability_[row] == pytest.approx(best[row], rel=1e-5)
        assert best[row] <= best.min() * (1 + 1e-6)
        best = np.minimum(best, from_each[row])
        best[found.ordering_[: np.flatnonzero(found.ordering_ == row)[0] + 1]] = np.nan
        best = np.where(np.isnan(best), np.inf, best)


@pytest.mark.parametrize("max_eps", [float("inf"), 4.0])
def test_optics_has_the_reachability_of_scikit_learn(max_eps: float) -> None:
    # min_samples = 2 makes the distances those of the nearest neighbors: no ties
    X = make_blobs(300, 2, centers=4, cluster_std=0.8, random_state=5)[0].astype(np.float32)
    found = _core.OPTICS(min_samples=2, max_eps=max_eps).fit(X)
    want = OPTICS(min_samples=2, max_eps=max_eps, cluster_method="dbscan").fit(X.astype(float))
    np.testing.assert_allclose(np.sort(found.reachability_), np.sort(want.reachability_), rtol=1e-5)


def test_optics_cut_at_eps_is_dbscan() -> None:
    X = make_blobs(400, 2, centers=5, cluster_std=0.7, random_state=6)[0]
    cut = _core.OPTICS(min_samples=5, eps=0.6).fit(X).labels_
    np.testing.assert_array_equal(cut, _core.DBSCAN(eps=0.6, min_samples=5).fit(X).labels_)
