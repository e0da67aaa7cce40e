"""Are the nearest neighbors the nearest, for the graph and for both indexes, with and without filters?"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lmsys_rs import _core
from lmsys_rs.errors import InvalidInputError

Matrix = npt.NDArray[Any]
MISSING = np.iinfo(np.uint32).max


def distances(Q: Matrix, X: Matrix) -> Matrix:
    return np.sqrt(((Q[:, None].astype(float) - X[None].astype(float)) ** 2).sum(axis=2))


@st.composite
def matrices(draw: st.DrawFn, max_rows: int = 60) -> Matrix:
    """Random shapes, scales and offsets, with duplicate rows."""
    n, dim = draw(st.integers(1, max_rows)), draw(st.integers(1, 20))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    X = rng.normal(size=(n, dim)) * 10.0 ** draw(st.integers(-6, 6)) + draw(st.sampled_from([0.0, 1.0, 100.0]))
    if draw(st.booleans()):
        X = X[rng.integers(0, n, size=n)]
    return X.astype(np.float32)


@settings(deadline=None, max_examples=60)
@given(X=matrices(), k=st.integers(1, 30), isa=st.sampled_from(["scalar", "auto"]))
def test_the_graph_is_brute_force(X: Matrix, k: int, isa: str) -> None:
    _core.configure(isa=isa)
    try:
        graph = _core.KnnGraph.build(X, k=k)
    finally:
        _core.configure(isa="auto")
    n = len(X)
    assert (len(graph), graph.n_points, graph.k) == (n, n, max(1, min(k, n - 1)))
    if n == 1:
        assert graph.indices.tolist() == [[MISSING]]
        assert graph.distances.tolist() == [[np.inf]]
        return
    all_pairs = distances(X, X)
    np.fill_diagonal(all_pairs, np.inf)
    # by distance, then by id
    want = np.argsort(all_pairs, axis=1, kind="stable")[:, : graph.k]
    np.testing.assert_array_equal(graph.distances, np.take_along_axis(all_pairs, want, axis=1).astype(np.float32))
    np.testing.assert_array_equal(graph.indices, want)


def test_a_larger_graph_is_brute_force() -> None:
    X = np.random.default_rng(0).normal(size=(1_500, 48)).astype(np.float32)
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    graph = _core.KnnGraph.build(X, k=15)
    all_pairs = distances(X, X[:300]).T
    all_pairs[np.arange(300), np.arange(300)] = np.inf
    np.testing.assert_array_equal(graph.indices[:300], np.argsort(all_pairs, axis=1, kind="stable")[:, :15])


@pytest.mark.parametrize("spread", [1e-2, 1e-3, 1e-4, 1e-5])
def test_near_duplicates_have_their_true_neighbors(spread: float) -> None:
    """Unit rows around one: their squared distances are below the rounding of a float32 product."""
    rng = np.random.default_rng(0)
    centre = rng.normal(size=384)
    X = centre / np.linalg.norm(centre) + rng.normal(size=(200, 384)) * spread / np.sqrt(384)
    X = (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)
    all_pairs = distances(X, X)
    np.fill_diagonal(all_pairs, np.inf)
    want = np.sort(all_pairs, axis=1)[:, :10]
    np.testing.assert_allclose(_core.KnnGraph.build(X, k=10).distances, want, rtol=1e-5)
    np.testing.assert_allclose(_core.Index.build(X).search(X, k=11)[1][:, 1:], want, rtol=1e-5)


def test_arrays_of_a_graph_are_read_only_and_outlive_it() -> None:
    indices = _core.KnnGraph.build(np.random.default_rng(0).normal(size=(50, 3)), k=4).indices
    assert indices.dtype == np.uint32
    assert not indices.flags.writeable
    assert indices.max() < 50
    with pytest.raises(ValueError, match="WRITEABLE"):
        indices.setflags(write=True)


def test_a_prefix_is_the_smaller_graph() -> None:
    X = np.random.default_rng(0).normal(size=(80, 3))
    prefix, small = _core.KnnGraph.build(X, k=12).prefix(5), _core.KnnGraph.build(X, k=5)
    np.testing.assert_array_equal(prefix.indices, small.indices)
    np.testing.assert_array_equal(prefix.distances, small.distances)
    for k in (0, 6):
        with pytest.raises(InvalidInputError, match=f"k must be between 1 and 5: got {k}"):
            prefix.prefix(k)
    with pytest.raises(InvalidInputError, match="k must be at least 1: got 0"):
        _core.KnnGraph.build(X, k=0)


@pytest.mark.parametrize(
    ("ids", "lengths", "words"),
    [
        ([[1], [0]], [[1.0], [1.0], [1.0]], "same shape"),
        ([1, 0], [1.0, 1.0], "2-D"),
        ([[1], [1]], [[1.0], [1.0]], "row 1.*got 1"),
        ([[1], [2]], [[1.0], [1.0]], "row 1.*below 2: got 2"),
        ([[1], [0]], [[1.0], [np.nan]], "row 1.*NaN"),
        ([[1], [0]], [[-1.0], [1.0]], "row 0.*-1"),
        ([[1, 2], [0, 2], [0, 1]], [[2.0, 1.0], [1.0, 2.0], [1.0, 2.0]], "row 0.*ascend"),
        ([[MISSING], [0]], [[1.0], [1.0]], "row 0.*inf"),
        ([[2**32 + 1], [0]], [[1.0], [1.0]], "4294967297"),
        ([[-2], [0]], [[1.0], [1.0]], "indices.*-2"),
        ([[1.5], [0.0]], [[1.0], [1.0]], "indices.*float64"),
    ],
    ids=["shapes", "1-D", "itself", "unknown", "nan", "negative", "descending", "missing", "wrap", "minus", "fraction"],
)
def test_neighbor_lists_that_are_none_are_refused(ids: Any, lengths: Any, words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        _core.KnnGraph.from_arrays(np.array(ids), np.array(lengths))


def test_a_graph_from_arrays_does_not_share_memory_with_them() -> None:
    ids, lengths = np.array([[1], [0]], dtype=np.uint32), np.array([[1.0], [1.0]], dtype=np.float32)
    graph = _core.KnnGraph.from_arrays(ids, lengths)
    lengths[:] = 5.0
    assert graph.distances.tolist() == [[1.0], [1.0]]


# ---- indexes -----------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(X=matrices(), k=st.integers(1, 70), seed=st.integers(0, 99), share=st.sampled_from([None, 0.0, 0.1, 0.6, 1.0]))
def test_exact_search_is_brute_force_over_the_rows_that_pass(X: Matrix, k: int, seed: int, share: float | None) -> None:
    rng = np.random.default_rng(seed)
    Q = np.concatenate([X[rng.integers(0, len(X), size=3)], rng.normal(size=(2, X.shape[1]))]).astype(np.float32)
    where = None if share is None else rng.random(len(X)) < share
    ids, found = _core.Index.build(X, engine="exact").search(Q, k, where=where)
    assert ids.shape == found.shape == (5, k)
    passing = np.arange(len(X)) if where is None else np.flatnonzero(where)
    all_pairs = distances(Q, X[passing])
    want = np.argsort(all_pairs, axis=1, kind="stable")[:, :k]
    n_found = want.shape[1]
    np.testing.assert_array_equal(ids[:, :n_found], passing[want])
    np.testing.assert_array_equal(found[:, :n_found], np.take_along_axis(all_pairs, want, axis=1).astype(np.float32))
    assert (ids[:, n_found:] == MISSING).all()
    assert np.isinf(found[:, n_found:]).all()


def unit_rows(n: int, dim: int, seed: int) -> Matrix:
    X = np.random.default_rng(seed).normal(size=(n, dim))
    return (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)


def recall(found: Matrix, want: Matrix) -> float:
    return float(np.mean([np.isin(a, b).mean() for a, b in zip(found, want, strict=True)]))


@pytest.fixture(scope="module")
def both_indexes() -> tuple[Any, Any, Matrix]:
    X, Q = unit_rows(2_000, 24, 0), unit_rows(100, 24, 1)
    return _core.Index.build(X, engine="exact"), _core.Index.build(X, engine="hnsw"), Q


@pytest.mark.parametrize("k", [1, 10, 50, 300])
def test_hnsw_finds_nearly_what_exact_finds(both_indexes: tuple[Any, Any, Matrix], k: int) -> None:
    exact, hnsw, Q = both_indexes
    (want, _), (found, lengths) = exact.search(Q, k), hnsw.search(Q, k)
    assert recall(found, want) >= 0.95
    assert (np.diff(lengths, axis=1) >= 0).all()


@pytest.mark.parametrize("share", [0.5, 0.1, 0.01, 0.002, 0.0])
def test_a_filtered_search_returns_only_passing_rows_and_as_many_as_there_are(
    both_indexes: tuple[Any, Any, Matrix], share: float
) -> None:
    exact, hnsw, Q = both_indexes
    where = np.random.default_rng(2).random(2_000) < share
    (want, _), (found, lengths) = exact.search(Q, 10, where=where), hnsw.search(Q, 10, where=where)
    assert (where[found[found != MISSING]]).all()
    assert ((found != MISSING).sum(axis=1) == min(10, where.sum())).all()
    assert (np.isinf(lengths) == (found == MISSING)).all()
    assert recall(found, want) >= 0.95


def test_hnsw_finds_the_same_with_the_same_seed() -> None:
    X, Q = unit_rows(600, 16, 3), unit_rows(100, 16, 4)
    ids = [_core.Index.build(X, engine="hnsw", random_state=5).search(Q, 10)[0] for _ in range(3)]
    np.testing.assert_array_equal(ids[0], ids[1])
    np.testing.assert_array_equal(ids[0], ids[2])


@pytest.mark.parametrize("engine", ["exact", "partitioned", "hnsw"])
def test_an_index_describes_itself_and_keeps_its_own_copy(engine: Any) -> None:
    X = unit_rows(30, 4, 6)
    index = _core.Index.build(X, engine=engine)
    before = index.search(X, 1)[0]
    X[:] = 0
    assert (len(index), index.dim, index.engine) == (30, 4, engine)
    assert repr(index) == f"Index(engine='{engine}', n=30, dim=4)"
    np.testing.assert_array_equal(index.search(unit_rows(30, 4, 6), 1)[0], before)
    assert before.ravel().tolist() == list(range(30))


@pytest.mark.parametrize("engine", ["exact", "hnsw"])
def test_bad_searches_are_refused_with_name_and_number(engine: Any) -> None:
    X = unit_rows(30, 4, 7)
    index = _core.Index.build(X, engine=engine)
    for arguments, words in [
        ({"Q": X[:, :3]}, "4 columns.*got 3"),
        ({"Q": X, "k": 0}, "k must be at least 1: got 0"),
        ({"Q": X[0]}, "Q must be 2-D"),
        ({"Q": X, "where": np.ones(29, dtype=bool)}, "where.*29 != 30"),
        ({"Q": X, "where": np.ones(30, dtype=int)}, "where must be of type bool"),
        ({"Q": np.full((1, 4), np.nan)}, "Q.*row 0"),
    ]:
        with pytest.raises(InvalidInputError, match=words):
            index.search(**arguments)


def test_unknown_engines_and_settings_are_refused() -> None:
    X = unit_rows(30, 4, 8)
    for arguments, words in [
        ({"engine": "faiss"}, "engine must be auto, exact, partitioned or hnsw: got 'faiss'"),
        ({"engine": "hnsw", "ef_search": 0}, "ef_search must be at least 1: got 0"),
        ({"engine": "hnsw", "ef_construction": 0}, "ef_construction must be at least 1: got 0"),
    ]:
        with pytest.raises(InvalidInputError, match=words):
            _core.Index.build(X, **arguments)


@pytest.mark.parametrize("engine", ["exact", "hnsw"])
@pytest.mark.parametrize("X", [unit_rows(1, 4, 0), unit_rows(2, 4, 0), np.ones((50, 4), dtype=np.float32)])
def test_one_row_two_rows_and_equal_rows_are_found(engine: Any, X: Matrix) -> None:
    ids, lengths = _core.Index.build(X, engine=engine).search(X, k=len(X))
    assert sorted(ids[0].tolist()) == list(range(len(X)))
    assert lengths[0, 0] == 0.0
