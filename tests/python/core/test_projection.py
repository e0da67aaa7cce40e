"""Is PCA the singular value decomposition, and does UMAP keep neighborhoods?"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from lmsys_rs import _core
from lmsys_rs.errors import InvalidInputError
from sklearn.datasets import make_blobs, make_swiss_roll
from sklearn.manifold import trustworthiness

Matrix = npt.NDArray[Any]


@pytest.mark.parametrize(("n", "dim", "k"), [(200, 6, 6), (3_000, 40, 5), (30, 100, 10), (2, 3, 1), (50, 1, 1)])
def test_pca_is_the_singular_value_decomposition(n: int, dim: int, k: int) -> None:
    rng = np.random.default_rng(n)
    # shrinking variances, so that the directions are unique
    X = (rng.normal(size=(n, dim)) * 0.8 ** np.arange(dim) + 3.0).astype(np.float32)
    found = _core.PCA(k).fit(X)
    centred = X.astype(float) - X.astype(float).mean(axis=0)
    _, singular, directions = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(np.sum(found.components_ * directions[:k], axis=1, keepdims=True))
    np.testing.assert_allclose(found.components_, signs * directions[:k], atol=2e-3)
    np.testing.assert_allclose(found.explained_variance_, singular[:k] ** 2 / (n - 1), rtol=1e-3)
    np.testing.assert_allclose(found.mean_, X.astype(float).mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found.transform(X), centred @ found.components_.T.astype(float), atol=1e-3)


def test_components_are_unit_rows_at_right_angles_with_a_fixed_sign() -> None:
    X = np.random.default_rng(0).normal(size=(500, 20))
    components = _core.PCA(20).fit(X).components_.astype(float)
    np.testing.assert_allclose(components @ components.T, np.eye(20), atol=1e-5)
    largest = components[np.arange(20), np.abs(components).argmax(axis=1)]
    assert (largest > 0).all()


def test_small_variance_on_a_large_mean_is_kept() -> None:
    rng = np.random.default_rng(1)
    X = (1_000.0 + rng.normal(size=(2_000, 3)) * [1.0, 0.5, 0.25]).astype(np.float32)
    want = np.linalg.eigvalsh(np.cov(X.astype(float).T))[::-1]
    np.testing.assert_allclose(_core.PCA(3).fit(X).explained_variance_, want, rtol=1e-3)


def structured() -> Matrix:
    """Twenty groups on a curved sheet in 30 dimensions."""
    groups, _ = make_blobs(800, 30, centers=20, cluster_std=1.0, random_state=2)
    return groups.astype(np.float32)


def neighbors_kept(X: Matrix, layout: Matrix, k: int = 10) -> float:
    """Share of the k nearest neighbors that are still among the k nearest."""
    before, after = _core.KnnGraph.build(X, k=k).indices, _core.KnnGraph.build(layout, k=k).indices
    return float(np.mean([len(np.intersect1d(a, b)) / k for a, b in zip(before, after, strict=True)]))


@pytest.mark.parametrize("data", [structured(), make_swiss_roll(1_000, noise=0.1, random_state=0)[0]])
def test_umap_keeps_neighborhoods(data: Matrix) -> None:
    layout = _core.UMAP(n_neighbors=15).fit_transform(data)
    assert layout.shape == (len(data), 2)
    assert layout.dtype == np.float32
    assert neighbors_kept(data, layout) >= 0.3
    assert trustworthiness(data, layout, n_neighbors=10) >= 0.9


def test_umap_keeps_clusters_apart() -> None:
    X, truth = make_blobs(600, 16, centers=6, random_state=3)
    layout = _core.UMAP().fit_transform(X)
    found = _core.HDBSCAN(min_cluster_size=30).fit(layout).labels_
    assert _core.adjusted_rand_score(truth, found) >= 0.95


def test_umap_of_a_graph_is_umap_of_its_vectors() -> None:
    X = structured()[:300]
    graph = _core.KnnGraph.build(X, k=20)
    of_vectors = _core.UMAP(n_neighbors=12, n_epochs=30).fit(X).embedding_
    np.testing.assert_array_equal(_core.UMAP(n_neighbors=12, n_epochs=30).fit(graph).embedding_, of_vectors)
    np.testing.assert_array_equal(_core.UMAP(n_epochs=30).fit(graph.prefix(12)).embedding_, of_vectors)


@pytest.mark.parametrize("init", ["spectral", "random"])
@pytest.mark.parametrize("n_components", [1, 2, 3, 5])
def test_umap_of_islands_and_duplicates_is_finite(init: str, n_components: int) -> None:
    rng = np.random.default_rng(4)
    islands = np.concatenate([rng.normal(size=(25, 4)) + 1e4 * i for i in range(8)])
    X = np.concatenate([islands, np.repeat(islands[:3], 30, axis=0), [[1e6] * 4]])
    layout = _core.UMAP(n_components=n_components, n_neighbors=10, n_epochs=100, init=init).fit_transform(X)
    assert layout.shape == (len(X), n_components)
    assert np.isfinite(layout).all()
    assert np.abs(layout).max() < 1e3


def test_equal_rows_lie_closer_than_others() -> None:
    X = np.repeat(np.random.default_rng(5).normal(size=(60, 8)), 5, axis=0)
    layout = _core.UMAP(n_neighbors=15).fit_transform(X).reshape(60, 5, 2)
    within = np.linalg.norm(layout - layout.mean(axis=1, keepdims=True), axis=2).mean()
    across = np.linalg.norm(layout.mean(axis=1) - layout.mean(axis=(0, 1)), axis=1).mean()
    assert within < across / 2


def test_umap_starts_where_it_is_told() -> None:
    X = structured()[:100]
    start = np.random.default_rng(6).normal(size=(100, 2)).astype(np.float32)
    np.testing.assert_array_equal(_core.UMAP(init=start, n_epochs=0).fit(X).embedding_, start)
    with pytest.raises(InvalidInputError, match=r"init must have shape \(90, 2\)"):
        _core.UMAP(init=start).fit(X[:90])
    with pytest.raises(InvalidInputError, match=r"init must have shape \(100, 2\)"):
        _core.UMAP(init=start.reshape(50, 4)).fit(X)


def test_umap_of_a_graph_with_short_lists_is_finite() -> None:
    missing = np.iinfo(np.uint32).max
    ids = np.array([[1, 2], [0, missing], [missing, missing], [1, 2]], dtype=np.uint32)
    lengths = np.where(ids == missing, np.inf, [[1, 2], [1, 2], [1, 2], [1, 2]]).astype(np.float32)
    assert np.isfinite(_core.UMAP().fit(_core.KnnGraph.from_arrays(ids, lengths)).embedding_).all()
