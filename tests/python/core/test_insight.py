"""Are the measures scikit-learn's, and do representatives stand for their clusters?"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lmsys_rs import _core
from lmsys_rs.errors import InvalidInputError
from sklearn import manifold, metrics

Matrix = npt.NDArray[Any]
MISSING = np.iinfo(np.uint32).max
MEASURES = ["adjusted_rand_score", "normalized_mutual_info_score", "v_measure_score"]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(-1, 5), st.integers(-1, 3)), min_size=1, max_size=80))
def test_measures_of_two_labelings_are_those_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    a, b = np.array(pairs).T
    for name in MEASURES:
        ours, reference = getattr(_core, name), getattr(metrics, name)
        assert ours(a, b) == pytest.approx(reference(a, b), abs=1e-9)
        assert ours(b, a) == pytest.approx(ours(a, b), abs=1e-12)
        assert ours(a, a) == pytest.approx(1.0)


@pytest.mark.parametrize("name", MEASURES)
def test_classes_may_be_of_any_kind(name: str) -> None:
    measure = getattr(_core, name)
    numbers = measure([0, 0, 1, 2], [0, 0, 1, 1])
    assert measure(["a", "a", "b", "c"], np.array([7, 7, 8, 8], dtype=np.uint8)) == numbers
    assert measure(np.array([0.5, 0.5, 1.5, 2.5]), [True, True, False, False]) == numbers


@pytest.mark.parametrize("name", MEASURES)
def test_labelings_of_different_or_no_length_are_refused(name: str) -> None:
    with pytest.raises(InvalidInputError, match="got 3 and 2"):
        getattr(_core, name)([1, 2, 3], [1, 2])
    with pytest.raises(InvalidInputError, match="got 0 and 0"):
        getattr(_core, name)([], [])


@settings(deadline=None, max_examples=30)
@given(n=st.integers(8, 60), dim=st.integers(1, 12), seed=st.integers(0, 999), data=st.data())
def test_trustworthiness_is_that_of_scikit_learn(n: int, dim: int, seed: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, (n - 1) // 2))
    rng = np.random.default_rng(seed)
    X, layout = rng.normal(size=(n, dim)).astype(np.float32), rng.normal(size=(n, 2)).astype(np.float32)
    want = manifold.trustworthiness(X.astype(float), layout.astype(float), n_neighbors=k)
    assert _core.trustworthiness(X, layout, n_neighbors=k) == pytest.approx(want, abs=1e-9)


def test_trustworthiness_of_a_sample_is_close_and_seeded() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1_000, 10)).astype(np.float32)
    whole = _core.trustworthiness(X, X[:, :2])
    part = _core.trustworthiness(X, X[:, :2], sample=300, random_state=1)
    assert part == pytest.approx(whole, abs=0.03)
    assert part != whole
    assert part == _core.trustworthiness(X, X[:, :2], sample=300, random_state=1)


def test_trustworthiness_refuses_what_it_cannot_measure() -> None:
    X = np.random.default_rng(0).normal(size=(20, 3))
    for arguments, words in [
        ({"X": X, "embedding": X[:19]}, "19 != 20"),
        ({"X": X, "embedding": X, "n_neighbors": 10}, "n_neighbors.*got 10"),
        ({"X": X, "embedding": X, "n_neighbors": 0}, "n_neighbors.*got 0"),
        ({"X": X, "embedding": X, "n_neighbors": 5, "sample": 0}, "sample.*0"),
    ]:
        with pytest.raises(InvalidInputError, match=words):
            _core.trustworthiness(**arguments)


@settings(deadline=None, max_examples=30)
@given(n=st.integers(4, 60), dim=st.integers(1, 12), seed=st.integers(0, 999), data=st.data())
def test_neighbors_kept_are_those_of_both_distance_matrices(n: int, dim: int, seed: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, n - 1))
    rng = np.random.default_rng(seed)
    X, layout = rng.normal(size=(n, dim)).astype(np.float32), rng.normal(size=(n, 2)).astype(np.float32)

    def nearest(rows: Matrix) -> Matrix:
        distances = ((rows[:, None].astype(float) - rows) ** 2).sum(axis=2)
        np.fill_diagonal(distances, np.inf)
        return np.argsort(distances, axis=1, kind="stable")[:, :k]

    want = np.mean([len(np.intersect1d(a, b)) / k for a, b in zip(nearest(X), nearest(layout), strict=True)])
    assert _core.neighbors_kept(X, layout, n_neighbors=k) == pytest.approx(want, abs=1e-12)
    graph = _core.KnnGraph.build(X, k=k)
    assert _core.neighbors_kept(graph, layout, n_neighbors=k) == pytest.approx(want, abs=1e-12)


def test_neighbors_kept_refuses_what_it_cannot_measure() -> None:
    X = np.random.default_rng(0).normal(size=(20, 3))
    for arguments, words in [
        ({"X": X, "embedding": X[:19]}, "19 != 20"),
        ({"X": X, "embedding": X, "n_neighbors": 20}, "n_neighbors.*got 20"),
        ({"X": X, "embedding": X, "n_neighbors": 0}, "n_neighbors.*got 0"),
        ({"X": X, "embedding": X, "sample": 0}, "sample.*0"),
        ({"X": _core.KnnGraph.build(X, k=5), "embedding": X, "n_neighbors": 6}, "the graph's 5: got 6"),
    ]:
        with pytest.raises(InvalidInputError, match=words):
            _core.neighbors_kept(**arguments)


# ---- representatives ----------------------------------------------------------------------------------------------


@st.composite
def labelled(draw: st.DrawFn) -> tuple[Matrix, Matrix, Matrix | None, int]:
    n, n_clusters = draw(st.integers(1, 60)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    X = rng.normal(size=(n, draw(st.integers(2, 8)))).astype(np.float32)
    weights = rng.integers(1, 9, size=n).astype(np.float32) if draw(st.booleans()) else None
    return X, rng.integers(-1, n_clusters, size=n), weights, n_clusters


@settings(deadline=None, max_examples=60)
@given(labelled())
def test_a_medoid_is_the_row_nearest_to_the_mean_direction(case: tuple[Matrix, Matrix, Matrix | None, int]) -> None:
    X, labels, weights, n_clusters = case
    found = _core.medoids(X, labels, n_clusters=n_clusters, weights=weights)
    assert found.shape == (n_clusters,)
    assert found.dtype == np.uint32
    for cluster, medoid in enumerate(found):
        members = np.flatnonzero(labels == cluster)
        if len(members) == 0:
            assert medoid == MISSING
            continue
        assert medoid in members
        rows = X[members].astype(float)
        centre = (rows * (1.0 if weights is None else weights[members, None])).sum(axis=0)
        cosines = rows @ centre / np.linalg.norm(rows, axis=1) / np.linalg.norm(centre)
        assert cosines[members == medoid][0] >= cosines.max() - 1e-5


@settings(deadline=None, max_examples=60)
@given(labelled(), st.integers(0, 12), st.floats(0, 1))
def test_representatives_are_distinct_members_led_by_the_medoid(
    case: tuple[Matrix, Matrix, Matrix | None, int], n: int, diversity: float
) -> None:
    X, labels, weights, n_clusters = case
    arguments: Any = {"n_clusters": n_clusters, "weights": weights}
    medoids = _core.medoids(X, labels, **arguments)
    found = _core.diverse_representatives(X, labels, n_representatives=n, diversity=diversity, **arguments)
    assert len(found) == n_clusters
    for cluster, rows in enumerate(found):
        members = np.flatnonzero(labels == cluster)
        assert rows.dtype == np.uint32
        assert len(rows) == len(set(rows.tolist())) == min(n, len(members))
        assert set(rows.tolist()) <= set(members.tolist())
        assert len(rows) == 0 or rows[0] == medoids[cluster]


def test_diversity_spreads_the_representatives() -> None:
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(scale=0.01, size=(50, 8)) + np.eye(8)[i] + 1 for i in range(4)])
    labels = np.zeros(200, dtype=int)
    alike, spread = (
        _core.diverse_representatives(X, labels, n_clusters=1, n_representatives=4, diversity=diversity)[0]
        for diversity in (0.0, 0.9)
    )
    assert len(set((spread // 50).tolist())) == 4
    cosine = [1 - metrics.pairwise.cosine_similarity(X[rows]).mean() for rows in (alike, spread)]
    assert cosine[1] > cosine[0]


def test_a_heavy_row_draws_the_medoid() -> None:
    X = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
    labels = [0, 0, 0]
    assert _core.medoids(X, labels, n_clusters=1).tolist() == [1]
    assert _core.medoids(X, labels, n_clusters=1, weights=[1, 1, 50]).tolist() == [2]


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 14), st.integers(1, 4), st.integers(1, 5), st.integers(0, 2**32))
def test_each_covering_row_adds_the_most(n: int, n_clusters: int, wanted: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    X, labels = rng.normal(size=(n, 3)).astype(np.float32), rng.integers(-1, n_clusters, size=n)
    weights = rng.integers(1, 5, size=n).astype(np.float32)
    graph = _core.KnnGraph.build(X, min(3, n - 1))
    likeness = np.eye(n)
    for i in range(n):
        for j, distance in zip(graph.indices[i], graph.distances[i], strict=True):
            if labels[i] == labels[j]:
                likeness[i, j] = likeness[j, i] = max(likeness[i, j], 1 / (1 + distance))
    found = _core.covering_representatives(
        graph, labels, n_clusters=n_clusters, n_representatives=wanted, weights=weights
    )
    for cluster, rows in enumerate(found):
        members = np.flatnonzero(labels == cluster)
        assert len(rows) == len(set(rows.tolist())) == min(wanted, len(members))

        def covered(chosen: list[int], members: npt.NDArray[Any] = members) -> float:
            return float(weights[members] @ likeness[np.ix_(members, chosen)].max(axis=1))

        for taken in range(len(rows)):
            before = rows[:taken].tolist()
            best = max(covered([*before, int(row)]) for row in members)
            assert covered([*before, int(rows[taken])]) >= best - 1e-5


def test_covering_refuses_what_does_not_fit() -> None:
    graph = _core.KnnGraph.build(np.eye(3, dtype=np.float32), 1)
    with pytest.raises(InvalidInputError, match=r"labels.*2 != 3"):
        _core.covering_representatives(graph, [0, 0], n_clusters=1)
    with pytest.raises(InvalidInputError, match="weights"):
        _core.covering_representatives(graph, [0, 0, 0], n_clusters=1, weights=[1.0])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"labels": [0, 0]}, "labels.*2 != 3"),
        ({"labels": [0, 1, 2]}, "labels must be below n_clusters = 2: row 2 has 2"),
        ({"labels": [0.0, 1.0, 0.0]}, "labels must be of type int32: got float64"),
        ({"labels": [0, 2**32, 0]}, "labels.*4294967296"),
        ({"labels": [0, 0, 0], "weights": [1, 1]}, "weight.*2 != 3"),
        ({"labels": [0, 0, 0], "weights": [1, 0, 1]}, "^weights.*row 1 has 0"),
        ({"labels": [0, 0, 0], "X": [[1.0, 2.0], [np.inf, 1.0], [0.0, 1.0]]}, "X.*row 1"),
    ],
)
def test_input_that_does_not_fit_is_refused(arguments: dict[str, Any], words: str) -> None:
    given: dict[str, Any] = {"X": np.eye(3), **arguments}
    for function in (_core.medoids, _core.diverse_representatives):
        with pytest.raises(InvalidInputError, match=words):
            function(**given, n_clusters=2)


@pytest.mark.parametrize("diversity", [-0.1, 1.1, float("nan")])
def test_diversity_outside_0_to_1_is_refused(diversity: float) -> None:
    with pytest.raises(InvalidInputError, match="diversity must be between 0 and 1"):
        _core.diverse_representatives(np.eye(3), [0, 0, 0], n_clusters=1, diversity=diversity)
