"""Does Leiden give connected communities of high quality, for both objectives?"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lmsys_rs import _core
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.datasets import make_blobs

Matrix = npt.NDArray[Any]


def graph_of(n: int, k: int, seed: int) -> Any:
    return _core.KnnGraph.build(np.random.default_rng(seed).normal(size=(n, 3)), k)


def n_pieces(graph: Any, labels: npt.NDArray[np.int32]) -> int:
    """Connected pieces when edges between communities are cut."""
    heads = np.repeat(np.arange(len(labels)), graph.k)
    tails = graph.indices.ravel().astype(np.int64)
    inside = labels[heads] == labels[tails]
    edges = coo_array((np.ones(inside.sum()), (heads[inside], tails[inside])), shape=(len(labels), len(labels)))
    return int(connected_components(edges, directed=False)[0])


def test_far_balls_are_communities_at_a_low_resolution() -> None:
    X, truth = make_blobs(1200, 8, centers=6, cluster_std=0.5, random_state=0)
    found = _core.Leiden(resolution=0.5).fit(X)
    assert _core.adjusted_rand_score(truth, found.labels_) == 1.0
    assert found.n_clusters_ == 6
    assert found.modularity_ == pytest.approx(5 / 6, abs=0.01)


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(2, 300),
    k=st.integers(1, 12),
    seed=st.integers(0, 1000),
    resolution=st.sampled_from([0.1, 1.0, 10.0]),
    objective=st.sampled_from(["modularity", "cpm"]),
)
def test_communities_are_connected_and_numbered_by_falling_size(
    n: int, k: int, seed: int, resolution: float, objective: Any
) -> None:
    graph = graph_of(n, k, seed)
    resolution = resolution if objective == "modularity" else resolution / 20
    found = _core.Leiden(objective=objective, resolution=resolution, random_state=seed).fit(graph)
    sizes = np.bincount(found.labels_)
    assert len(sizes) == found.n_clusters_ == n_pieces(graph, found.labels_)
    assert (np.diff(sizes) <= 0).all()


def test_more_iterations_and_higher_resolutions_do_what_they_say() -> None:
    graph = graph_of(2000, 10, 0)
    qualities = [_core.Leiden(n_iterations=n).fit(graph).quality_ for n in (1, 2, 5)]
    assert qualities[0] <= qualities[1] + 1e-6 <= qualities[2] + 2e-6
    counts = [_core.Leiden(resolution=r).fit(graph).n_clusters_ for r in (0.25, 1.0, 4.0, 16.0)]
    assert counts == sorted(set(counts))


def test_quality_at_resolution_1_is_modularity() -> None:
    found = _core.Leiden().fit(graph_of(500, 8, 1))
    assert found.quality_ == pytest.approx(found.modularity_)


def test_cpm_at_a_tiny_resolution_gives_the_islands_and_at_a_huge_one_single_points() -> None:
    X, truth = make_blobs(200, 4, centers=[[0] * 4, [50] * 4], random_state=0)
    islands = _core.Leiden(objective="cpm", resolution=1e-9).fit(X)
    assert _core.adjusted_rand_score(truth, islands.labels_) == 1.0
    single = _core.Leiden(objective="cpm", resolution=1.5).fit(X)
    assert single.n_clusters_ == 200
    assert single.quality_ == pytest.approx(0.0, abs=1e-6)


def test_a_point_without_edges_is_a_community_of_its_own() -> None:
    ids = np.array([[1], [0], [2**32 - 1]], dtype=np.uint32)
    distances = np.array([[1], [1], [np.inf]], dtype=np.float32)
    assert _core.Leiden().fit(_core.KnnGraph.from_arrays(ids, distances)).labels_.tolist() == [0, 0, 1]
