"""Does Density find clusters without a number: real topics, layers that are nested, noise that is far, odd graphs?"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from lmsys_rs import _core
from sklearn.datasets import make_blobs

Matrix = npt.NDArray[Any]
MISSING = 2**32 - 1


def balls(sizes: list[int], dim: int = 12, noise: int = 0) -> tuple[Matrix, npt.NDArray[np.int32]]:
    """Gaussian balls of given sizes, far apart, and points spread evenly around all of them (class -1)."""
    rng = np.random.default_rng(4)
    truth = np.r_[np.repeat(np.arange(len(sizes)), sizes), np.full(noise, -1)].astype(np.int32)
    X = rng.normal(scale=3.0, size=(len(sizes), dim))[truth] + rng.normal(scale=0.5, size=(len(truth), dim))
    X[truth < 0] = rng.uniform(-8, 8, size=(noise, dim))
    return X.astype(np.float32), truth


def fitted(X: Any, **params: Any) -> Any:
    return _core.Density(**params).fit(X)


@pytest.mark.parametrize("sizes", [[500, 500], [2000, 600, 200, 60, 20], [100] * 30, [40] * 6])
def test_balls_of_any_number_and_size_are_found(sizes: list[int]) -> None:
    X, truth = balls(sizes)
    found = fitted(X)
    assert found.n_clusters_ == len(sizes)
    assert _core.adjusted_rand_score(truth, found.nearest_) >= 0.99
    assert (found.labels_ < 0).mean() <= 0.01


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dim", [8, 64, 384])
def test_one_ball_and_an_even_spread_are_one_cluster(dim: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    assert fitted(rng.normal(size=(1200, dim))).n_clusters_ == 1
    if dim > 8:
        assert fitted(rng.random((1200, dim))).n_clusters_ == 1


def test_noise_is_what_is_far_and_names_its_nearest_cluster() -> None:
    X, truth = balls([800] * 8, noise=300)
    found = fitted(X)
    noise = found.labels_ < 0
    assert noise.mean() <= 0.1
    assert noise[truth < 0].mean() >= 0.5
    assert noise[truth >= 0].mean() <= 0.01
    assert (found.nearest_[noise] >= 0).all()
    np.testing.assert_array_equal(found.nearest_[~noise], found.labels_[~noise])


def test_labels_are_one_layer_numbered_by_falling_size_and_layers_are_nested() -> None:
    X, _ = make_blobs(4000, 10, centers=40, cluster_std=3.5, random_state=1)
    found = fitted(X)
    layers = found.layers_
    assert layers.dtype == np.int32
    assert layers.ndim == 2
    assert any(np.array_equal(layer, found.labels_) for layer in layers)
    for layer in layers:
        sizes = np.bincount(layer[layer >= 0])
        assert (np.diff(sizes) <= 0).all()
        assert sizes.min() >= 5
        np.testing.assert_array_equal(layer < 0, found.labels_ < 0)
    for fine, coarse in pairwise(layers):
        pairs = {(a, b) for a, b in zip(fine.tolist(), coarse.tolist(), strict=True)}
        assert len(pairs) == len(set(fine.tolist()))
        assert fine.max() > coarse.max()


def test_membership_is_a_share_and_high_inside_clusters() -> None:
    X, _ = balls([300, 300, 300], noise=20)
    found = fitted(X)
    assert found.membership_.dtype == np.float32
    assert found.membership_.min() >= 0
    assert found.membership_.max() <= 1
    assert found.membership_[found.labels_ >= 0].mean() >= 0.95


def test_a_given_resolution_is_used_and_higher_ones_give_more_clusters() -> None:
    X, _ = make_blobs(3000, 10, centers=30, cluster_std=4.0, random_state=2)
    graph = _core.KnnGraph.build(X, 15)
    few, many = fitted(graph, resolution=0.5), fitted(graph, resolution=8.0)
    assert (few.resolution_, many.resolution_) == (0.5, 8.0)
    assert few.n_clusters_ < many.n_clusters_


def test_weights_make_small_clusters_large_enough() -> None:
    X = np.repeat(np.eye(3, dtype=np.float32), 3, axis=0) + np.arange(9, dtype=np.float32)[:, None] * 1e-3
    graph = _core.KnnGraph.build(X, 2)
    assert fitted(graph).n_clusters_ == 0
    found = _core.Density().fit(graph, sample_weight=np.repeat([1, 2, 3], 3))
    assert found.labels_.tolist() == [-1, -1, -1, 1, 1, 1, 0, 0, 0]


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_fewer_rows_than_a_cluster_needs_are_noise(n: int) -> None:
    found = fitted(np.arange(3 * n, dtype=np.float32).reshape(n, 3))
    assert found.labels_.tolist() == [-1] * n
    assert found.nearest_.tolist() == [-1] * n
    assert found.membership_.tolist() == [0.0] * n
    assert found.layers_.shape[1] == n
    assert found.n_clusters_ == 0


def test_equal_rows_are_one_cluster_and_two_distinct_rows_two() -> None:
    assert fitted(np.ones((3000, 4))).labels_.tolist() == [0] * 3000
    two = np.repeat(np.eye(2, 4, dtype=np.float32), 2000, axis=0)
    assert fitted(two).labels_.tolist() == [0] * 2000 + [1] * 2000


def test_thousands_of_duplicates_among_texts_stay_together() -> None:
    X, _ = balls([300, 300])
    found = fitted(np.concatenate([X, np.repeat(X[:1], 3000, axis=0)]))
    assert len(set(found.nearest_[600:].tolist())) <= 2
    assert (found.labels_ < 0).mean() <= 0.1


def test_islands_of_a_graph_are_clusters_and_lonely_points_noise() -> None:
    ids = np.full((23, 3), MISSING, dtype=np.uint32)
    for i in range(20):  # two rings of ten
        ids[i, :2] = sorted((i // 10 * 10 + (i + step) % 10) for step in (1, 9))
    ids[20, 0], ids[21, 0] = 21, 20
    distances = np.where(ids == MISSING, np.inf, 1.0).astype(np.float32)
    found = fitted(_core.KnnGraph.from_arrays(ids, distances))
    assert found.labels_[20:].tolist() == [-1, -1, -1]
    assert found.nearest_[20:].tolist() == [-1, -1, -1]
    assert not set(found.labels_[:10].tolist()) & set(found.labels_[10:20].tolist())


def test_an_array_gives_what_its_graph_of_15_neighbors_gives() -> None:
    X, _ = make_blobs(900, 6, centers=9, cluster_std=2.0, random_state=3)
    np.testing.assert_array_equal(fitted(X).layers_, fitted(_core.KnnGraph.build(X, 15)).layers_)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "n_labels"), [("banking77.csv", 77), ("hwu64.parquet", 64)])
def test_real_topics_are_found_nearly_as_well_as_by_k_means_told_their_number(
    name: str, n_labels: int, shared_data: Path, model_folder: Path
) -> None:
    file = shared_data / "labelled" / name
    frame = (pl.read_csv(file) if file.suffix == ".csv" else pl.read_parquet(file)).unique("text", maintain_order=True)
    from lmsys_rs import Encoder

    X = Encoder(model_folder).embed(frame["text"])
    truth = frame["label"].to_numpy()
    kmeans = [_core.KMeans(n_labels, random_state=seed).fit(X).labels_ for seed in range(3)]
    told = np.mean([_core.adjusted_rand_score(truth, labels) for labels in kmeans])
    found = fitted(X)
    assert _core.adjusted_rand_score(truth, found.labels_) >= 0.85 * told
    assert n_labels / 2 <= found.n_clusters_ <= 2 * n_labels
    assert (found.labels_ < 0).mean() <= 0.1
