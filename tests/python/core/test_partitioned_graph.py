"""The graph of many rows: does it hold what it says, the same every time, whatever the rows?"""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from lmsys_rs import _core
from lmsys_rs.errors import InvalidInputError

N = 10_000


def rows(seed: int = 0, n: int = N, dim: int = 64) -> npt.NDArray[np.float32]:
    """Rows around centres of very different sizes, and some that are near nothing."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(120, dim))
    of = np.minimum(rng.zipf(1.4, size=n) - 1, 119)
    x = centers[of] + rng.normal(size=(n, dim)) * rng.choice([0.3, 0.8, 2.0], size=(n, 1), p=[0.5, 0.4, 0.1])
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def share_held(graph: Any, exact: Any) -> float:
    pairs = zip(np.asarray(graph.indices), np.asarray(exact.indices), strict=True)
    return float(np.mean([np.isin(truth, found).mean() for found, truth in pairs]))


@pytest.mark.parametrize("recall", [0.9, 0.98])
def test_the_share_asked_for_is_held_and_reported(recall: float) -> None:
    x = rows()
    exact = _core.KnnGraph.build(x, 15, recall=1)
    graph = _core.KnnGraph.build(x, 15, recall=recall)
    held = share_held(graph, exact)
    assert exact.recall == 1.0
    assert held >= recall - 0.005
    assert graph.recall is not None
    assert abs(graph.recall - held) < 0.02
    distances = np.asarray(graph.distances)
    assert (np.diff(distances, axis=1) >= 0).all()
    # whatever it holds, it measured: the distance of a pair is that of the exact graph
    first = np.linalg.norm(x[np.asarray(graph.indices)[:, 0]] - x, axis=1)
    np.testing.assert_allclose(distances[:, 0], first, atol=1e-6)


def test_small_sets_are_exact_and_so_is_recall_one() -> None:
    x = rows(n=3_000)
    assert _core.KnnGraph.build(x).recall == 1.0
    assert _core.KnnGraph.build(x[:1]).recall == 1.0


def test_a_graph_keeps_its_recall_through_pickle_and_prefix() -> None:
    graph = _core.KnnGraph.build(rows(1), 12, recall=0.9)
    again = pickle.loads(pickle.dumps(graph))
    assert again.recall == graph.recall == graph.prefix(5).recall
    np.testing.assert_array_equal(again.indices, graph.indices)
    bare = _core.KnnGraph.from_arrays(graph.indices, graph.distances)
    assert bare.recall is None
    assert f"recall={graph.recall:.4f}" in repr(graph)
    assert "recall" not in repr(bare)


def test_new_rows_extend_it() -> None:
    x = rows(2)
    old = _core.KnnGraph.build(x[: N - 500], 10, recall=0.95)
    grown = old.extend(x, list(range(N - 500)))
    exact = _core.KnnGraph.build(x, 10, recall=1)
    assert grown.recall == old.recall
    np.testing.assert_array_equal(np.asarray(grown.indices)[N - 500 :], np.asarray(exact.indices)[N - 500 :])
    assert share_held(grown, exact) >= 0.945


@pytest.mark.parametrize("seed", [0, 1])
def test_the_same_bits_on_any_number_of_threads(seed: int) -> None:
    x = rows(3)
    found = []
    try:
        for n_threads in (1, 2, 7, 7):
            _core.configure(n_threads=n_threads)
            found.append(_core.KnnGraph.build(x, 15, random_state=seed))
    finally:
        _core.configure(n_threads=2)
    for graph in found[1:]:
        np.testing.assert_array_equal(graph.indices, found[0].indices)
        np.testing.assert_array_equal(graph.distances, found[0].distances)


def test_equal_rows_by_the_thousand_and_rows_of_zeros() -> None:
    x = rows(4)
    x[:4_000] = x[0]
    x[4_000:4_100] = 0
    graph = _core.KnnGraph.build(x, 15)
    assert (np.asarray(graph.distances)[:4_100] == 0).all()
    assert (np.asarray(graph.indices)[:4_000] < 4_000).all()


@pytest.mark.parametrize("recall", [0.0, -1.0, 1.01, float("nan")])
def test_a_recall_out_of_range_is_refused(recall: float) -> None:
    with pytest.raises(InvalidInputError, match="recall must be above 0 and at most 1"):
        _core.KnnGraph.build(rows(n=50), recall=recall)


def test_one_pass_of_k_means_over_parts_is_nearly_as_good_as_many() -> None:
    x = rows(5, n=20_000)
    streaming = _core.MiniBatchKMeans(100)
    for start in range(0, len(x), 4_000):
        streaming.partial_fit(x[start : start + 4_000])
    full = _core.KMeans(100, max_iter=25).fit(x)
    labels = streaming.predict(x)
    inertia = float(((x - np.asarray(streaming.cluster_centers_)[labels]) ** 2).sum())
    assert inertia < 1.05 * full.inertia_
    again = pickle.loads(pickle.dumps(streaming)).partial_fit(x[:4_000])
    assert np.asarray(again.counts_).sum() == np.asarray(streaming.counts_).sum() + 4_000
