"""Is the tree SciPy's, is a weight a repeated row, and do cuts nest?"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lmsys_rs import _core
from lmsys_rs.errors import InvalidInputError, NotFittedError

Matrix = npt.NDArray[Any]
linkages = st.sampled_from(["average", "ward"])


def same_partition(a: Matrix, b: Matrix) -> bool:
    return _core.adjusted_rand_score(a, b) == 1.0


def rows(n: int, dim: int, seed: int) -> Matrix:
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


@settings(deadline=None, max_examples=50)
@given(n=st.integers(2, 80), dim=st.integers(1, 6), seed=st.integers(0, 9999), linkage=linkages)
def test_the_tree_is_that_of_scipy(n: int, dim: int, seed: int, linkage: Any) -> None:
    hierarchy = pytest.importorskip("scipy.cluster.hierarchy")
    X = rows(n, dim, seed)
    tree = _core.Agglomerative(1, linkage=linkage).fit(X)
    want = hierarchy.linkage(X.astype(float), linkage)
    np.testing.assert_allclose(tree.distances_, want[:, 2], rtol=1e-4, atol=1e-5)
    # with f32 distances near ties may join in another order
    if np.diff(want[:, 2]).min(initial=1.0) > 1e-4:
        np.testing.assert_array_equal(tree.children_, want[:, :2])
        np.testing.assert_array_equal(tree.sizes_, want[:, 3])
        for k in {1, 2, (n + 1) // 2, n}:
            assert same_partition(tree.cut(k), hierarchy.fcluster(want, k, "maxclust"))


@settings(deadline=None, max_examples=30)
@given(n=st.integers(2, 40), seed=st.integers(0, 9999), linkage=linkages)
def test_a_weight_is_that_many_equal_rows(n: int, seed: int, linkage: Any) -> None:
    X = rows(n, 3, seed)
    weights = np.random.default_rng(seed).integers(1, 5, size=n)
    tree = _core.Agglomerative(1, linkage=linkage).fit(X, sample_weight=weights)
    repeated = _core.Agglomerative(1, linkage=linkage).fit(np.repeat(X, weights, axis=0))
    np.testing.assert_allclose(tree.distances_, repeated.distances_[-(n - 1) :], rtol=1e-3, atol=1e-4)
    assert tree.sizes_[-1] == weights.sum()


@settings(deadline=None, max_examples=30)
@given(n=st.integers(1, 60), seed=st.integers(0, 9999), linkage=linkages)
def test_cuts_nest_and_are_numbered_by_size(n: int, seed: int, linkage: Any) -> None:
    tree = _core.Agglomerative(linkage=linkage).fit(np.round(rows(n, 2, seed), 1))
    finer = tree.cut(n)
    assert len(set(finer.tolist())) == n
    for k in range(n - 1, 0, -1):
        labels = tree.cut(k)
        sizes = np.bincount(labels)
        assert len(sizes) == k
        assert (np.diff(sizes) <= 0).all()
        pairs = set(zip(finer.tolist(), labels.tolist(), strict=True))
        assert len(pairs) == k + 1  # every finer cluster lies in one of these
        finer = labels
    assert tree.n_clusters_ == tree.labels_.max() + 1
    np.testing.assert_array_equal(tree.cut(tree.n_clusters_), tree.labels_)


def test_where_the_tree_is_cut() -> None:
    X = np.array([[0.0], [0.1], [5.0], [5.1], [5.2], [9.0]])
    assert _core.Agglomerative().fit(X).labels_.tolist() == [1, 1, 0, 0, 0, 2]
    assert _core.Agglomerative(2).fit(X).n_clusters_ == 2
    assert _core.Agglomerative(distance_threshold=1.0).fit(X).n_clusters_ == 3
    # at the threshold itself clusters stay apart, as in scikit-learn
    pair = np.array([[0.0], [2.0]])
    assert _core.Agglomerative(distance_threshold=2.0).fit(pair).n_clusters_ == 2
    assert _core.Agglomerative(distance_threshold=2.001).fit(pair).n_clusters_ == 1
    assert _core.Agglomerative(distance_threshold=np.inf).fit(pair).n_clusters_ == 1


def test_duplicates_by_the_thousand_and_two_distinct_points() -> None:
    X = np.repeat(np.eye(2, 8, dtype=np.float32), 1_500, axis=0)
    for linkage in ("average", "ward"):
        tree = _core.Agglomerative(linkage=linkage).fit(X)
        assert tree.labels_.tolist() == [0] * 1_500 + [1] * 1_500
        assert (tree.distances_[:-1] == 0.0).all()


def test_extreme_numbers_keep_their_order() -> None:
    X = np.array([[0.0], [1.0], [10.0], [12.0]])
    for scale in (1e-38, 1.0, 1e37):
        tree = _core.Agglomerative(2, linkage="ward").fit(X * scale, sample_weight=np.full(4, 1e30))
        assert tree.labels_.tolist() == [0, 0, 1, 1]
        assert np.isfinite(tree.distances_).all()


def test_what_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"at most 32768 rows.*got 40000"):
        _core.Agglomerative().fit(np.zeros((40_000, 1)))
    with pytest.raises(NotFittedError):
        _core.Agglomerative().cut(2)
    tree = _core.Agglomerative().fit(np.eye(3))
    for k in (0, 4, -1):
        with pytest.raises(InvalidInputError, match=f"n_clusters.*{k}"):
            tree.cut(k)
    with pytest.raises(InvalidInputError, match=r"sample_weight.*row 1 has 0"):
        tree.fit(np.eye(3), sample_weight=[1, 0, 1])
