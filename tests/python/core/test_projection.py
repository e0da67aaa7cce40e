"""Is PCA the singular value decomposition, do UMAP and t-SNE keep neighborhoods, do new rows find their place?"""

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


@pytest.mark.parametrize("data", [structured(), make_swiss_roll(1_000, noise=0.1, random_state=0)[0]])
def test_umap_keeps_neighborhoods(data: Matrix) -> None:
    layout = _core.UMAP(n_neighbors=15).fit_transform(data)
    assert layout.shape == (len(data), 2)
    assert layout.dtype == np.float32
    assert _core.neighbors_kept(data, layout) >= 0.3
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


def test_umap_of_thousands_of_equal_rows_is_finite() -> None:
    X = np.concatenate([np.ones((3_000, 4)), np.random.default_rng(7).normal(size=(200, 4))])
    layout = _core.UMAP(n_epochs=50).fit_transform(X)
    assert np.isfinite(layout).all()


@pytest.mark.parametrize("n_threads", [2, 7])
def test_layouts_do_not_depend_on_threads(n_threads: int) -> None:
    graph = _core.KnnGraph.build(np.random.default_rng(8).normal(size=(2_500, 6)), k=12)

    def layouts(threads: int) -> list[Matrix]:
        _core.configure(n_threads=threads)
        umap = _core.UMAP(n_epochs=30).fit(graph)
        return [
            umap.embedding_,
            umap.transform((graph.indices, graph.distances)),
            _core.TSNE(n_iter=30).fit_transform(graph),
        ]

    try:
        for one, many in zip(layouts(1), layouts(n_threads), strict=True):
            np.testing.assert_array_equal(one, many)
    finally:
        _core.configure(n_threads=2)


@pytest.mark.parametrize("isa", _core.available_isas())
def test_layouts_are_the_same_on_every_instruction_set(isa: str) -> None:
    graph = _core.KnnGraph.build(structured()[:300], k=12)
    want = _core.UMAP(n_epochs=30).fit_transform(graph), _core.TSNE(n_iter=30).fit_transform(graph)
    try:
        _core.configure(isa=isa)
        np.testing.assert_array_equal(_core.UMAP(n_epochs=30).fit_transform(graph), want[0])
        np.testing.assert_array_equal(_core.TSNE(n_iter=30).fit_transform(graph), want[1])
    finally:
        _core.configure(isa="auto")


# ---- new rows ----------------------------------------------------------------------------------------------------


def test_new_rows_lie_among_rows_of_their_group() -> None:
    X, truth = make_blobs(900, 12, centers=6, random_state=9)
    umap = _core.UMAP().fit(X[:600])
    before = umap.embedding_.copy()
    places = umap.transform(X[600:])
    assert places.shape == (300, 2)
    assert places.dtype == np.float32
    np.testing.assert_array_equal(umap.embedding_, before)
    nearest, _ = _core.Index.build(umap.embedding_, engine="exact").search(places, k=1)
    assert np.mean(truth[:600][nearest[:, 0]] == truth[600:]) >= 0.98
    assert trustworthiness(X, np.concatenate([umap.embedding_, places]), n_neighbors=10) >= 0.85


def test_neighbors_given_place_rows_as_their_vectors_do() -> None:
    X = structured()
    umap = _core.UMAP(n_neighbors=12, n_epochs=60).fit(X[:600])
    found = _core.Index.build(X[:600], engine="exact").search(X[600:], k=12)
    want = umap.transform(X[600:])
    np.testing.assert_array_equal(umap.transform(found), want)
    of_graph = _core.UMAP(n_epochs=60).fit(_core.KnnGraph.build(X[:600], k=12))
    np.testing.assert_array_equal(of_graph.transform(found), want)
    given = _core.place_in_layout(umap.embedding_, *found)
    assert np.isfinite(given).all()
    assert given.shape == want.shape
    with pytest.raises(InvalidInputError, match=r"fitted on a graph[\s\S]*indices, distances"):
        of_graph.transform(X[600:])


def test_what_cannot_be_placed_is_refused_with_a_name() -> None:
    X = structured()[:100]
    umap = _core.UMAP(n_epochs=5).fit(X)
    with pytest.raises(InvalidInputError, match="30 columns as in fit: got 7"):
        umap.transform(np.zeros((3, 7)))
    with pytest.raises(InvalidInputError, match="below 100, the rows of fit: got 100"):
        umap.transform((np.array([[100]]), np.array([[1.0]])))
    with pytest.raises(InvalidInputError, match="same shape"):
        umap.transform((np.array([[1, 2]]), np.array([[1.0]])))
    with pytest.raises(InvalidInputError, match="distances must be >= 0"):
        umap.transform((np.array([[1]]), np.array([[np.nan]])))


def test_fit_neither_copies_nor_locks_what_transform_needs() -> None:
    X = structured()[:100]
    _core.UMAP(n_epochs=5).fit(X)
    X[0, 0] = 1.0  # the caller's array stays writable


# ---- t-SNE -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [structured(), make_swiss_roll(1_000, noise=0.1, random_state=0)[0]])
@pytest.mark.parametrize("init", ["spectral", "pca"])
def test_tsne_keeps_neighborhoods(data: Matrix, init: str) -> None:
    layout = _core.TSNE(init=init).fit_transform(data)
    assert layout.shape == (len(data), 2)
    assert _core.neighbors_kept(data, layout) >= 0.45
    assert trustworthiness(data, layout, n_neighbors=10) >= 0.95


def test_the_divergence_is_that_of_the_layout() -> None:
    graph = _core.KnnGraph.build(structured()[:200], k=30)
    tsne = _core.TSNE(n_iter=200).fit(graph)
    # an oracle of the affinities: bisection for the perplexity k / 3, then the mean of both directions
    P = np.zeros((200, 200))
    for i, (ids, distances) in enumerate(zip(graph.indices, graph.distances.astype(float), strict=True)):
        low, high = 0.0, 1e6
        for _ in range(200):
            weights = np.exp(-(distances**2 - distances[0] ** 2) * (low + high) / 2)
            p = weights / weights.sum()
            entropy = -np.sum(p * np.log(np.maximum(p, 1e-300)))
            low, high = ((low + high) / 2, high) if entropy > np.log(10) else (low, (low + high) / 2)
        P[i, ids] = p
    P = (P + P.T) / 400
    Y = tsne.embedding_.astype(float)
    Q = 1 / (1 + ((Y[:, None] - Y) ** 2).sum(axis=2))
    np.fill_diagonal(Q, 0)
    kept = P > 0
    want = np.sum(P[kept] * np.log(P[kept] / (Q / Q.sum())[kept]))
    assert tsne.kl_divergence_ == pytest.approx(want, abs=0.01)


@pytest.mark.parametrize("n_components", [1, 2])
def test_tsne_of_islands_and_duplicates_is_finite(n_components: int) -> None:
    rng = np.random.default_rng(4)
    islands = np.concatenate([rng.normal(size=(25, 4)) + 1e4 * i for i in range(8)])
    X = np.concatenate([islands, np.repeat(islands[:3], 300, axis=0), [[1e6] * 4]])
    layout = _core.TSNE(n_components, n_iter=200).fit_transform(X)
    assert layout.shape == (len(X), n_components)
    assert np.isfinite(layout).all()


def test_tsne_starts_where_it_is_told() -> None:
    X = structured()[:100]
    start = np.random.default_rng(6).normal(size=(100, 2)).astype(np.float32)
    np.testing.assert_allclose(_core.TSNE(init=start, n_iter=0).fit(X).embedding_, start, atol=1e-4)
    with pytest.raises(InvalidInputError, match=r"init must have shape \(90, 2\)"):
        _core.TSNE(init=start).fit(X[:90])


def test_what_tsne_cannot_do_is_refused() -> None:
    graph = _core.KnnGraph.build(structured()[:100], k=15)
    with pytest.raises(InvalidInputError, match=r"a third of the graph's 15 neighbors: got 6[\s\S]*k=18"):
        _core.TSNE(perplexity=6).fit(graph)
    with pytest.raises(InvalidInputError, match="'pca' needs vectors"):
        _core.TSNE(init="pca").fit(graph)
    with pytest.raises(InvalidInputError, match="n_components must be 1 or 2: got 3"):
        _core.TSNE(3)
