"""Does every estimator keep the one contract: fit, results, errors, inputs, seeds, threads, pickles, Ctrl-C?

What each of them computes is checked in the files beside this one.
"""

from __future__ import annotations

import copy
import hashlib
import inspect
import itertools
import json
import os
import pickle
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pytest
from lmsys_rs import _core
from lmsys_rs.errors import InvalidInputError, LmsysError, NotFittedError

Matrix = npt.NDArray[Any]


def blobs(n: int = 120, dim: int = 4, seed: int = 0) -> Matrix:
    """Three balls far apart, as float32."""
    rng = np.random.default_rng(seed)
    return (rng.normal(scale=0.3, size=(n, dim)) + 5.0 * (np.arange(n) % 3)[:, None]).astype(np.float32)


@dataclass(frozen=True)
class Case:
    """One estimator: how to make it, what it is given, what it learns."""

    name: str
    estimator: type[Any]
    params: dict[str, Any]
    results: tuple[str, ...]
    of_graph: bool = False
    method: str | None = None  # predict or transform
    progress: bool = True
    weighted: bool = False

    def make(self, **changed: Any) -> Any:
        return self.estimator(**{**self.params, **changed})

    def fit(self, X: Any, estimator: Any = None, **keywords: Any) -> Any:
        estimator = self.make() if estimator is None else estimator
        return estimator.fit(_core.KnnGraph.build(X, k=10) if self.of_graph else X, **keywords)

    def learned(self, estimator: Any) -> dict[str, Any]:
        return {name: getattr(estimator, name) for name in self.results}


CLUSTERS = ("labels_", "probabilities_", "outlier_scores_", "n_clusters_")
TREE = ("labels_", "n_clusters_", "children_", "distances_", "sizes_")
LAYERS = ("labels_", "layers_", "membership_", "nearest_", "n_clusters_", "resolution_")
COMMUNITIES = ("labels_", "quality_", "modularity_", "n_clusters_")
CASES = [
    Case(
        "KMeans",
        _core.KMeans,
        {"n_clusters": 3, "random_state": 1},
        ("labels_", "cluster_centers_", "distances_", "inertia_", "n_iter_"),
        method="predict",
        weighted=True,
    ),
    Case(
        "MiniBatchKMeans",
        _core.MiniBatchKMeans,
        {"n_clusters": 3, "random_state": 1},
        ("labels_", "cluster_centers_", "counts_", "inertia_"),
        method="predict",
        weighted=True,
    ),
    Case("HDBSCAN", _core.HDBSCAN, {"min_cluster_size": 6}, CLUSTERS, weighted=True),
    Case("HDBSCAN-graph", _core.HDBSCAN, {"min_cluster_size": 6}, CLUSTERS, of_graph=True, weighted=True),
    Case("Density", _core.Density, {"random_state": 1}, LAYERS, weighted=True),
    Case("Density-graph", _core.Density, {"random_state": 1}, LAYERS, of_graph=True, weighted=True),
    Case("Leiden", _core.Leiden, {"random_state": 1}, COMMUNITIES, weighted=True),
    Case(
        "Leiden-graph", _core.Leiden, {"objective": "cpm", "resolution": 0.1}, COMMUNITIES, of_graph=True, weighted=True
    ),
    Case("Agglomerative", _core.Agglomerative, {}, TREE, weighted=True),
    Case("Agglomerative-ward", _core.Agglomerative, {"n_clusters": 2, "linkage": "ward"}, TREE, weighted=True),
    Case(
        "GaussianMixture",
        _core.GaussianMixture,
        {"n_components": 3, "random_state": 1},
        ("labels_", "means_", "weights_", "precisions_"),
        method="predict",
        progress=False,
    ),
    Case("DBSCAN", _core.DBSCAN, {"eps": 0.7}, ("labels_",), progress=False),
    Case("OPTICS", _core.OPTICS, {"eps": 0.7}, ("labels_", "ordering_", "reachability_"), progress=False),
    Case(
        "PCA",
        _core.PCA,
        {"n_components": 2, "random_state": 1},
        ("components_", "explained_variance_", "mean_"),
        method="transform",
    ),
    Case("UMAP", _core.UMAP, {"n_epochs": 20, "n_neighbors": 10, "random_state": 1}, ("embedding_",)),
    Case("UMAP-graph", _core.UMAP, {"n_epochs": 20, "random_state": 1}, ("embedding_",), of_graph=True),
    Case("TSNE", _core.TSNE, {"n_iter": 20, "random_state": 1}, ("embedding_", "kl_divergence_")),
    Case("TSNE-graph", _core.TSNE, {"n_iter": 20, "random_state": 1}, ("embedding_", "kl_divergence_"), of_graph=True),
]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
predicting = pytest.mark.parametrize("case", [case for case in CASES if case.method], ids=lambda case: case.name)
weighted = pytest.mark.parametrize("case", [case for case in CASES if case.weighted], ids=lambda case: case.name)
telling = pytest.mark.parametrize("case", [case for case in CASES if case.progress], ids=lambda case: case.name)


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Whether two dictionaries of results are equal to the bit."""
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


# ---- fit ---------------------------------------------------------------------------------------------------------


@every_case
def test_fit_returns_the_estimator_itself(case: Case) -> None:
    estimator = case.make()
    assert case.fit(blobs(), estimator) is estimator


@every_case
def test_results_before_fit_raise_not_fitted(case: Case) -> None:
    estimator = case.make()
    for name in case.results:
        with pytest.raises(NotFittedError, match=case.estimator.__name__) as caught:
            getattr(estimator, name)
        assert isinstance(caught.value, ValueError)
        assert isinstance(caught.value, AttributeError)
        assert not hasattr(estimator, name)


@predicting
def test_predicting_before_fit_raises_not_fitted(case: Case) -> None:
    with pytest.raises(NotFittedError, match=case.estimator.__name__):
        getattr(case.make(), str(case.method))(blobs())


@every_case
def test_a_second_fit_replaces_all_results(case: Case) -> None:
    first, second = blobs(seed=1), blobs(n=90, seed=2)
    estimator = case.fit(first)
    assert not same(case.learned(estimator), case.learned(case.fit(second)))
    case.fit(second, estimator)
    assert same(case.learned(estimator), case.learned(case.fit(second)))


@every_case
def test_a_failed_fit_leaves_the_earlier_results(case: Case) -> None:
    estimator = case.fit(blobs())
    before = case.learned(estimator)
    with pytest.raises(InvalidInputError):
        case.fit(np.full((30, 4), np.nan, dtype=np.float32), estimator)
    assert same(before, case.learned(estimator))


@every_case
def test_results_are_read_only_and_made_once(case: Case) -> None:
    estimator = case.fit(blobs())
    for value in case.learned(estimator).values():
        if isinstance(value, np.ndarray):
            assert not value.flags.writeable
            with pytest.raises(ValueError, match="read-only"):
                value[0] = 0
    assert getattr(estimator, case.results[0]) is getattr(estimator, case.results[0])


@every_case
def test_fit_predict_or_fit_transform_gives_the_result_of_fit(case: Case) -> None:
    X = blobs()
    given = _core.KnnGraph.build(X, k=10) if case.of_graph else X
    if hasattr(case.estimator, "fit_predict"):
        np.testing.assert_array_equal(case.make().fit_predict(given), case.fit(X).labels_)
    elif case.method == "transform":
        np.testing.assert_array_equal(case.make().fit_transform(given), case.fit(X).transform(X))
    else:
        np.testing.assert_array_equal(case.make().fit_transform(given), case.fit(X).embedding_)


# ---- parameters ------------------------------------------------------------------------------------------------

OTHER_PARAMS: list[tuple[type[Any], dict[str, Any]]] = [
    (
        _core.KMeans,
        {"n_clusters": 5, "init": "random", "n_init": 3, "max_iter": 7, "tol": 0.125, "random_state": 2**63},
    ),
    (_core.MiniBatchKMeans, {"n_clusters": 5, "init": "random", "random_state": 3}),
    (
        _core.HDBSCAN,
        {
            "min_cluster_size": 7,
            "min_samples": 3,
            "cluster_selection_epsilon": 0.1,
            "cluster_selection_method": "leaf",
            "allow_single_cluster": True,
        },
    ),
    (_core.Density, {"min_cluster_size": 9, "resolution": 2.5, "random_state": 3}),
    (_core.Leiden, {"objective": "cpm", "resolution": 0.25, "n_iterations": 4, "random_state": 3}),
    (_core.Agglomerative, {"n_clusters": 4, "distance_threshold": None, "linkage": "ward"}),
    (_core.Agglomerative, {"n_clusters": None, "distance_threshold": 0.75, "linkage": "average"}),
    (_core.GaussianMixture, {"n_components": 2, "max_iter": 9, "tol": 0.1, "reg_covar": 1e-3, "random_state": 4}),
    (_core.DBSCAN, {"eps": 0.1, "min_samples": 9}),
    (_core.OPTICS, {"min_samples": 4, "max_eps": 3.5, "eps": 0.25}),
    (_core.PCA, {"n_components": 4, "random_state": 8}),
    (
        _core.UMAP,
        {
            "n_components": 3,
            "n_neighbors": 9,
            "min_dist": 0.1,
            "spread": 1.5,
            "n_epochs": 11,
            "learning_rate": 0.3,
            "negative_sample_rate": 4,
            "init": "random",
            "random_state": 12,
        },
    ),
    (
        _core.TSNE,
        {
            "n_components": 1,
            "perplexity": 7.5,
            "n_iter": 11,
            "init": "pca",
            "learning_rate": 0.3,
            "random_state": 12,
        },
    ),
]
every_class = pytest.mark.parametrize(("estimator", "params"), OTHER_PARAMS, ids=[c.__name__ for c, _ in OTHER_PARAMS])


@every_class
def test_parameters_come_back_as_given_in_the_order_of_the_signature(
    estimator: type[Any], params: dict[str, Any]
) -> None:
    assert estimator(**params).get_params() == params
    assert list(estimator().get_params()) == list(inspect.signature(estimator).parameters)
    rebuilt = estimator(**estimator().get_params())
    assert rebuilt.get_params() == estimator().get_params() == estimator().get_params(deep=False)


@every_class
def test_repr_is_the_call_that_makes_the_estimator(estimator: type[Any], params: dict[str, Any]) -> None:
    for made in (estimator(), estimator(**params)):
        again = eval(repr(made), {estimator.__name__: estimator, "inf": float("inf")})
        assert again.get_params() == made.get_params()


def test_an_array_parameter_comes_back_as_the_same_object() -> None:
    start = blobs(n=3)
    assert _core.KMeans(3, init=start).get_params()["init"] is start
    again = pickle.loads(pickle.dumps(_core.KMeans(3, init=start)))
    np.testing.assert_array_equal(again.get_params()["init"], start)


@pytest.mark.parametrize(
    ("estimator", "params", "words"),
    [
        (_core.KMeans, {"n_clusters": 0}, ["n_clusters", "0"]),
        (_core.KMeans, {"n_clusters": -1}, ["n_clusters", "-1"]),
        (_core.KMeans, {"n_init": 0}, ["n_init", "0"]),
        (_core.KMeans, {"max_iter": 0}, ["max_iter", "0"]),
        (_core.KMeans, {"tol": -0.5}, ["tol", "-0.5"]),
        (_core.KMeans, {"tol": float("nan")}, ["tol", "NaN"]),
        (_core.KMeans, {"init": "kmeans"}, ["init", "'kmeans'"]),
        (_core.KMeans, {"n_clusters": 3, "init": np.zeros((2, 4))}, ["init", "3", "2"]),
        (_core.HDBSCAN, {"min_cluster_size": 1}, ["min_cluster_size", "1"]),
        (_core.HDBSCAN, {"min_samples": 0}, ["min_samples", "0"]),
        (_core.HDBSCAN, {"cluster_selection_epsilon": -1.0}, ["cluster_selection_epsilon", "-1"]),
        (_core.HDBSCAN, {"cluster_selection_method": "best"}, ["cluster_selection_method", "'best'"]),
        (_core.Density, {"min_cluster_size": 0}, ["min_cluster_size", "0"]),
        (_core.Density, {"min_cluster_size": -3}, ["min_cluster_size", "-3"]),
        (_core.Density, {"resolution": 0.0}, ["resolution", "0"]),
        (_core.Density, {"resolution": float("nan")}, ["resolution", "NaN"]),
        (_core.Leiden, {"objective": "surprise"}, ["objective", "'surprise'"]),
        (_core.Leiden, {"resolution": -1.0}, ["resolution", "-1"]),
        (_core.Leiden, {"n_iterations": 0}, ["n_iterations", "0"]),
        (_core.Agglomerative, {"n_clusters": 0}, ["n_clusters", "0"]),
        (_core.Agglomerative, {"n_clusters": -2}, ["n_clusters", "-2"]),
        (_core.Agglomerative, {"distance_threshold": -1.0}, ["distance_threshold", "-1"]),
        (_core.Agglomerative, {"distance_threshold": float("nan")}, ["distance_threshold", "NaN"]),
        (_core.Agglomerative, {"n_clusters": 2, "distance_threshold": 1.0}, ["n_clusters", "distance_threshold"]),
        (_core.Agglomerative, {"linkage": "single"}, ["linkage", "'single'"]),
        (_core.GaussianMixture, {"n_components": 0}, ["n_components", "0"]),
        (_core.GaussianMixture, {"max_iter": 0}, ["max_iter", "0"]),
        (_core.GaussianMixture, {"tol": 0.0}, ["tol", "0"]),
        (_core.GaussianMixture, {"reg_covar": -1.0}, ["reg_covar", "-1"]),
        (_core.DBSCAN, {"eps": 0.0}, ["eps", "0"]),
        (_core.DBSCAN, {"min_samples": 1}, ["min_samples", "1"]),
        (_core.OPTICS, {"max_eps": float("nan")}, ["max_eps", "NaN"]),
        (_core.OPTICS, {"max_eps": 1.0, "eps": 2.0}, ["eps", "max_eps", "1", "2"]),
        (_core.OPTICS, {"min_samples": 0}, ["min_samples", "0"]),
        (_core.PCA, {"n_components": 0}, ["n_components", "0"]),
        (_core.UMAP, {"n_components": 0}, ["n_components", "0"]),
        (_core.UMAP, {"n_neighbors": 0}, ["n_neighbors", "0"]),
        (_core.UMAP, {"min_dist": 2.0}, ["min_dist", "spread", "2"]),
        (_core.UMAP, {"spread": 0.0}, ["spread", "0"]),
        (_core.UMAP, {"learning_rate": 0.0}, ["learning_rate", "0"]),
        (_core.UMAP, {"init": "pca"}, ["init", "'pca'"]),
        (_core.TSNE, {"n_components": 0}, ["n_components", "0"]),
        (_core.TSNE, {"perplexity": 0.5}, ["perplexity", "0.5"]),
        (_core.TSNE, {"learning_rate": 0.0}, ["learning_rate", "0"]),
        (_core.TSNE, {"init": "random"}, ["init", "'random'"]),
    ],
)
def test_parameters_out_of_range_are_refused_by_name(
    estimator: type[Any], params: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        estimator(**params)
    assert all(word in str(caught.value) for word in words), caught.value


# ---- input that is refused ---------------------------------------------------------------------------------------


def with_value(value: float, dtype: Any = np.float32) -> Matrix:
    X = blobs().astype(dtype)
    X[17, 2] = value
    return X


@every_case
@pytest.mark.parametrize(
    ("X", "words"),
    [
        pytest.param(with_value(np.nan), ["X", "17"], id="nan"),
        pytest.param(with_value(-np.inf), ["X", "17"], id="inf"),
        pytest.param(with_value(np.nan, np.float64), ["X", "17"], id="nan-float64"),
        pytest.param(with_value(1e300, np.float64), ["X", "17"], id="beyond-float32"),
        pytest.param(blobs()[0], ["X", "2-D", "4"], id="1-D"),
        pytest.param(blobs()[None], ["X", "2-D", "1, 120, 4"], id="3-D"),
        pytest.param(blobs()[:0], ["X", "0, 4"], id="no-rows"),
        pytest.param(blobs()[:, :0], ["X", "120, 0"], id="no-columns"),
        pytest.param([], ["X"], id="empty-list"),
        pytest.param(blobs().astype(object), ["X", "object"], id="object"),
        pytest.param(blobs().astype(complex), ["X", "complex"], id="complex"),
        pytest.param(blobs().astype(str), ["X", "<U"], id="text"),
        pytest.param(None, ["X"], id="none"),
    ],
)
def test_bad_input_is_refused_with_name_and_number(case: Case, X: Any, words: list[str]) -> None:
    with pytest.raises(InvalidInputError) as caught:
        case.fit(X)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, LmsysError)
    assert all(word in str(caught.value) for word in words), caught.value


@every_case
def test_nulls_in_arrow_input_are_refused(case: Case) -> None:
    rows: list[list[float | None] | None] = [list(map(float, row)) for row in blobs()]
    for bad in (None, [1.0, None, 2.0, 3.0]):
        array = pa.array([*rows[:5], bad, *rows[5:]], type=pa.list_(pa.float32(), 4))
        with pytest.raises(InvalidInputError, match=r"X .*null"):
            case.fit(array)


@every_case
def test_ragged_lists_are_refused(case: Case) -> None:
    with pytest.raises(ValueError, match="inhomogeneous"):
        case.fit([[1.0, 2.0], [3.0]])


@predicting
def test_another_width_than_in_fit_is_refused_with_both_widths(case: Case) -> None:
    estimator = case.fit(blobs(dim=4))
    with pytest.raises(InvalidInputError, match=r"4.*: got 3"):
        getattr(estimator, str(case.method))(blobs(dim=3))


@weighted
@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (np.ones(5), ["5", "120"]),
        (np.r_[np.ones(100), -2, np.ones(19)], ["100", "-2"]),
        (np.r_[np.ones(100), 0, np.ones(19)], ["100", "0"]),
        (np.r_[np.ones(100), np.nan, np.ones(19)], ["100", "NaN"]),
        (np.ones((120, 1)), ["1-D", "120, 1"]),
        (["1"] * 120, ["float32", "<U1"]),
    ],
    ids=["length", "negative", "zero", "nan", "2-D", "text"],
)
def test_bad_weights_are_refused_with_name_and_number(case: Case, weights: Any, words: list[str]) -> None:
    with pytest.raises(InvalidInputError) as caught:
        case.fit(blobs(), sample_weight=weights)
    assert all(word in str(caught.value) for word in ["sample_weight", *words]), caught.value


@pytest.mark.parametrize("estimator", [_core.HDBSCAN(min_cluster_size=12), _core.UMAP(n_neighbors=12)])
def test_a_graph_with_too_few_neighbors_is_refused_with_a_hint(estimator: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"12.*10|10.*12") as caught:
        estimator.fit(_core.KnnGraph.build(blobs(), k=10))
    assert caught.value.hint == "build the graph with k=12"


# ---- input that is accepted --------------------------------------------------------------------------------------


@every_case
def test_read_only_input_is_accepted_and_not_changed(case: Case) -> None:
    X = blobs()
    X.setflags(write=False)
    before = X.tobytes()
    case.fit(X)
    assert X.tobytes() == before


class OnlyDlpack:
    """An array of another library: nothing but the DLPack protocol."""

    def __init__(self, array: Matrix) -> None:
        self.array = array

    def __dlpack__(self, **keywords: Any) -> Any:
        return self.array.__dlpack__(**keywords)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


class OnlyArrow:
    """A column of another library: nothing but the Arrow PyCapsule protocol."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __arrow_c_array__(self, requested_schema: Any = None) -> Any:
        return self.array.__arrow_c_array__(requested_schema)


def fixed_size_lists(X: Matrix) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), X.shape[1])


def read_only(X: Matrix) -> Matrix:
    X = X.copy()
    X.setflags(write=False)
    return X


FORMS: dict[str, Callable[[Matrix], Any]] = {
    "float64": lambda X: X.astype(np.float64),
    "big-endian": lambda X: X.astype(">f4"),
    "fortran": np.asfortranarray,
    "every-second-row": lambda X: np.repeat(X, 2, axis=0)[::2],
    "every-second-column": lambda X: np.repeat(X, 2, axis=1)[:, ::2],
    "reversed": lambda X: X[::-1].copy()[::-1],
    "lists": lambda X: X.tolist(),
    "arrow": fixed_size_lists,
    "arrow-slice": lambda X: fixed_size_lists(np.concatenate([X[:7], X, X[:5]])).slice(7, len(X)),
    "arrow-chunks": lambda X: pa.chunked_array([fixed_size_lists(X[:50]), fixed_size_lists(X[50:])]),
    "arrow-capsule": lambda X: OnlyArrow(fixed_size_lists(X)),
    "polars": lambda X: pl.Series(X, dtype=pl.Array(pl.Float32, X.shape[1])),
    "polars-chunks": lambda X: pl.concat(
        [pl.Series(part, dtype=pl.Array(pl.Float32, 4)) for part in (X[:9], X[9:])], rechunk=False
    ),
    "polars-frame": lambda X: pl.DataFrame(X),
    "dlpack": OnlyDlpack,
    "dlpack-float64": lambda X: OnlyDlpack(X.astype(np.float64)),
    "dlpack-read-only": lambda X: OnlyDlpack(read_only(X)),
}


@every_case
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_input_gives_equal_results(case: Case, form: str) -> None:
    X = blobs()
    assert same(case.learned(case.fit(FORMS[form](X))), case.learned(case.fit(X)))


@every_case
@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int64, np.float16, bool])
def test_other_real_types_are_read_as_their_values(case: Case, dtype: Any) -> None:
    X = np.abs(np.round(blobs())).astype(dtype)
    X = X + np.eye(len(X), 4, dtype=dtype) if dtype is not bool else X ^ (np.indices(X.shape).sum(0) % 3 == 0)
    assert X.dtype == dtype
    case_ = case
    try:
        want = case_.learned(case_.fit(X.astype(np.float32)))
    except InvalidInputError:  # few distinct rows have no mixture
        with pytest.raises(InvalidInputError):
            case_.fit(X)
        return
    assert same(case_.learned(case_.fit(X)), want)


@weighted
def test_weights_of_any_real_type_and_order_are_accepted(case: Case) -> None:
    weights = np.arange(1, 121)
    want = case.learned(case.fit(blobs(), sample_weight=weights))
    for given in (weights.astype(np.float32), weights.tolist(), np.repeat(weights, 2)[::2], weights.astype(np.uint8)):
        assert same(case.learned(case.fit(blobs(), sample_weight=given)), want)


# ---- seeds, threads, instruction sets -----------------------------------------------------------------------------

DIGESTS = f"""
import hashlib, json, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_estimator_contract import CASES, _core, blobs, digest
_core.configure(**json.loads(sys.argv[1]))
X = blobs(n=1500, dim=9, seed=5)
found = {{case.name: digest(case.learned(case.fit(X))) for case in CASES}}
graph = _core.KnnGraph.build(X, k=12)
found["KnnGraph"] = digest({{"indices": graph.indices, "distances": graph.distances}})
print(json.dumps(found))
"""


def digest(results: dict[str, Any]) -> dict[str, str]:
    return {name: hashlib.sha256(np.asarray(value).tobytes()).hexdigest() for name, value in results.items()}


def digests(configure: dict[str, Any], **environment: str) -> dict[str, dict[str, str]]:
    """Hashes of all results of all estimators in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", DIGESTS, json.dumps(configure)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, str]] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def digests_by_setting() -> dict[str, dict[str, dict[str, str]]]:
    return {
        "1 thread": digests({}, RAYON_NUM_THREADS="1"),
        "2 threads": digests({}, RAYON_NUM_THREADS="2"),
        "7 threads": digests({}, RAYON_NUM_THREADS="7"),
        "configured": digests({"n_threads": 3}, RAYON_NUM_THREADS="1"),
        "scalar": digests({"isa": "scalar"}),
    }


@every_case
@pytest.mark.parametrize("setting", ["2 threads", "7 threads", "configured"])
def test_the_same_seed_gives_the_same_bits_on_any_number_of_threads(
    case: Case, setting: str, digests_by_setting: dict[str, dict[str, dict[str, str]]]
) -> None:
    assert digests_by_setting[setting][case.name] == digests_by_setting["1 thread"][case.name]


@pytest.mark.parametrize("name", ["KMeans", "KnnGraph", "HDBSCAN", "HDBSCAN-graph", "Density", "Leiden", "UMAP"])
def test_the_instruction_set_does_not_change_the_result(
    name: str, digests_by_setting: dict[str, dict[str, dict[str, str]]]
) -> None:
    assert digests_by_setting["scalar"][name] == digests_by_setting["1 thread"][name]


@every_case
def test_the_same_seed_gives_the_same_bits_twice(case: Case) -> None:
    assert same(case.learned(case.fit(blobs())), case.learned(case.fit(blobs())))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (_core.KMeans(20, random_state=1), _core.KMeans(20, random_state=2)),
        (_core.UMAP(n_epochs=5, random_state=1), _core.UMAP(n_epochs=5, random_state=2)),
        (_core.UMAP(n_epochs=5, init="random", random_state=1), _core.UMAP(n_epochs=5, init="random", random_state=2)),
    ],
)
def test_another_seed_gives_another_result(one: Any, other: Any) -> None:
    result = "labels_" if isinstance(one, _core.KMeans) else "embedding_"
    X = np.random.default_rng(0).normal(size=(200, 3))
    assert not np.array_equal(getattr(one.fit(X), result), getattr(other.fit(X), result))


def test_settings_that_do_not_exist_are_refused() -> None:
    assert _core.available_isas()[0] == "scalar"
    with pytest.raises(InvalidInputError, match=r"'mmx'.*scalar, neon"):
        _core.configure(isa="mmx")
    with pytest.raises(InvalidInputError, match="n_threads must be at least 1: got 0"):
        _core.configure(n_threads=0)


# ---- pickles -----------------------------------------------------------------------------------------------------

COPIES: dict[str, Callable[[Any], Any]] = {
    **{
        f"pickle-{n}": lambda made, n=n: pickle.loads(pickle.dumps(made, n))
        for n in range(2, pickle.HIGHEST_PROTOCOL + 1)
    },
    "deepcopy": copy.deepcopy,
}


@every_case
@pytest.mark.parametrize("how", COPIES)
def test_pickles_keep_parameters_results_and_read_only(case: Case, how: str) -> None:
    fresh = COPIES[how](case.make())
    assert fresh.get_params() == case.make().get_params()
    with pytest.raises(NotFittedError):
        getattr(fresh, case.results[0])

    fitted = case.fit(blobs())
    again = COPIES[how](fitted)
    assert type(again) is case.estimator
    assert again.get_params() == fitted.get_params()
    assert same(case.learned(again), case.learned(fitted))
    for value in case.learned(again).values():
        assert not isinstance(value, np.ndarray) or not value.flags.writeable
    if case.method:
        predicted, want = (getattr(made, case.method)(blobs(seed=9)) for made in (again, fitted))
        np.testing.assert_array_equal(predicted, want)


def test_a_graph_pickles() -> None:
    graph = _core.KnnGraph.build(blobs(), k=7)
    again = pickle.loads(pickle.dumps(graph))
    np.testing.assert_array_equal(again.indices, graph.indices)
    np.testing.assert_array_equal(again.distances, graph.distances)
    assert not again.indices.flags.writeable


# ---- at the same time --------------------------------------------------------------------------------------------


@every_case
def test_two_threads_fit_at_once(case: Case) -> None:
    inputs = [blobs(n=500, seed=seed) for seed in range(4)]
    inputs.append(inputs[0])
    want = [case.learned(case.fit(X)) for X in inputs]
    with ThreadPoolExecutor(max_workers=5) as pool:
        found = list(pool.map(lambda X: case.learned(case.fit(X)), inputs))
    assert all(same(a, b) for a, b in zip(found, want, strict=True))


@every_case
def test_one_estimator_fitted_in_two_threads_holds_the_results_of_one_fit(case: Case) -> None:
    inputs = [blobs(n=900, seed=1), blobs(n=600, seed=2)]
    want = [case.learned(case.fit(X)) for X in inputs]
    estimator = case.make()
    with ThreadPoolExecutor(max_workers=2) as pool:
        list(pool.map(lambda X: case.fit(X, estimator), inputs * 2))
    found = case.learned(estimator)
    assert any(same(found, one) for one in want)


def test_a_forked_child_can_fit() -> None:
    code = (
        "import os, sys, numpy as np\n"
        "from lmsys_rs import _core\n"
        "X = np.random.default_rng(0).normal(size=(500, 8))\n"
        "want = _core.KMeans(4).fit(X).inertia_\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os._exit(0 if _core.KMeans(4).fit(X).inertia_ == want else 1)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], timeout=30, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# ---- Ctrl-C ------------------------------------------------------------------------------------------------------

# what is made before, and the call that must stop
LONG_CALLS = {
    "KMeans": ("X = uniform(40_000, 32)", "_core.KMeans(400, tol=0.0, max_iter=10**6).fit(X)"),
    "KMeans-start": ("X = uniform(40_000, 200)", "_core.KMeans(3_000, max_iter=1).fit(X)"),
    "HDBSCAN": ("X = uniform(40_000, 64)", "_core.HDBSCAN(min_cluster_size=5).fit(X)"),
    "HDBSCAN-graph": ("g = random_graph(1_000_000, 10)", "_core.HDBSCAN(min_cluster_size=5).fit(g)"),
    "GaussianMixture": ("X = uniform(50_000, 8)", "_core.GaussianMixture(60, tol=1e-12, max_iter=10**6).fit(X)"),
    "DBSCAN": ("X = uniform(50_000, 2)", "_core.DBSCAN(eps=1.0).fit(X)"),
    "OPTICS": ("X = uniform(20_000, 2)", "_core.OPTICS().fit(X)"),
    "Agglomerative": ("X = uniform(20_000, 64)", "_core.Agglomerative(2).fit(X)"),
    "bootstrap_stability": (
        "X = uniform(40_000, 64); labels = np.arange(40_000) % 400",
        "_core.bootstrap_stability(X, labels, n_clusters=400, n_boots=1_000)",
    ),
    "PCA": ("X = uniform(150_000, 700)", "_core.PCA(2).fit(X)"),
    "PCA-directions": ("X = uniform(500, 1_500)", "_core.PCA(2).fit(X)"),
    "UMAP": ("X = uniform(2_000, 4)", "_core.UMAP(n_epochs=10**6).fit(X)"),
    "TSNE": ("X = uniform(2_000, 4)", "_core.TSNE(n_iter=10**6).fit(X)"),
    "UMAP-graph": ("g = random_graph(200_000, 15)", "_core.UMAP(n_epochs=10**6).fit(g)"),
    "KnnGraph": ("X = uniform(60_000, 64)", "_core.KnnGraph.build(X)"),
    "Index-hnsw": ("X = uniform(60_000, 32)", "_core.Index.build(X, engine='hnsw')"),
    "Index-search": ("X = uniform(60_000, 64); i = _core.Index.build(X)", "i.search(X)"),
    "trustworthiness": ("X = uniform(40_000, 64)", "_core.trustworthiness(X, X[:, :2], sample=40_000)"),
    "diverse_representatives": (
        "X = uniform(400_000, 64); labels = np.arange(400_000) % 400",
        "_core.diverse_representatives(X, labels, n_clusters=400, n_representatives=500)",
    ),
    "top_terms": (
        "t = texts(100_000); labels = np.arange(100_000) % 50",
        "_core.top_terms(t, labels, n_clusters=50)",
    ),
}
LONG = """
import os, sys, time
import numpy as np
from lmsys_rs import _core

def uniform(n, dim):
    return np.random.default_rng(0).random((n, dim), dtype=np.float32)

def random_graph(n, k):
    rng = np.random.default_rng(0)
    ids = (np.arange(n)[:, None] + rng.integers(1, n, size=(n, k))) % n
    return _core.KnnGraph.from_arrays(ids, np.sort(rng.random((n, k), dtype=np.float32), axis=1))

def texts(n):
    rng = np.random.default_rng(0)
    words = np.array([f"word{i}" for i in range(5000)])
    return [" ".join(row) for row in words[rng.integers(0, 5000, size=(n, 60))]]

exec(sys.argv[1])
print("ready", flush=True)
try:
    start = time.perf_counter()
    eval(sys.argv[2])
    print("finished", time.perf_counter() - start, flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
os._exit(0)
"""


# one call of each kind of work in the fast suite
QUICK_TO_SET_UP = {"KMeans", "HDBSCAN", "GaussianMixture", "DBSCAN", "OPTICS", "UMAP", "PCA-directions", "KnnGraph"}


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to one process")
@pytest.mark.parametrize(
    "call",
    [pytest.param(call, marks=[] if call in QUICK_TO_SET_UP else pytest.mark.slow) for call in LONG_CALLS],
)
def test_ctrl_c_ends_a_call_within_a_second(call: str) -> None:
    with subprocess.Popen([sys.executable, "-c", LONG, *LONG_CALLS[call]], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(0.3)
        child.send_signal(signal.SIGINT)
        sent = time.perf_counter()
        answered, _, _ = select.select([child.stdout], [], [], 5.0)
        took = time.perf_counter() - sent
        said = child.stdout.readline() if answered else "nothing for 5 s"
        child.kill()
    assert said == "interrupted\n"
    assert took < 1.0


# ---- progress ----------------------------------------------------------------------------------------------------


class Calls:
    """Remembers what a progress function was told, and by which thread."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []
        self.threads: set[int] = set()

    def __call__(self, done: int, total: int) -> None:
        self.calls.append((done, total))
        self.threads.add(threading.get_ident())


def assert_sound(calls: list[tuple[int, int]]) -> None:
    """Never backwards within a phase (a phase has one total), never past the total, complete at the end."""
    assert calls
    assert all(0 <= done <= total and total > 0 for done, total in calls), calls
    for (before, total_before), (done, total) in itertools.pairwise(calls):
        assert done >= before or total != total_before, calls
    assert calls[-1][0] == calls[-1][1], calls[-1]


@telling
def test_progress_goes_forward_to_the_end_on_the_calling_thread(case: Case) -> None:
    told = Calls()
    case.fit(blobs(n=3_000, dim=16), progress=told)
    assert_sound(told.calls)
    assert told.threads == {threading.get_ident()}


def uniform(n: int, dim: int) -> Matrix:
    return np.random.default_rng(0).random((n, dim), dtype=np.float32)


LONGER_JOBS: dict[str, Callable[[int, Calls], Any]] = {
    "KMeans": lambda n, told: _core.KMeans(200, tol=0.0, max_iter=20).fit(uniform(n, 16), progress=told),
    "HDBSCAN": lambda n, told: _core.HDBSCAN().fit(uniform(n, 16), progress=told),
    "PCA": lambda n, told: _core.PCA(2).fit(uniform(8 * n, 100), progress=told),
    "UMAP": lambda n, told: _core.UMAP().fit(uniform(n, 4), progress=told),
    "KnnGraph": lambda n, told: _core.KnnGraph.build(uniform(n, 32), progress=told),
    "Index-search": lambda n, told: _core.Index.build(uniform(n, 32)).search(uniform(n, 32), progress=told),
}


@pytest.mark.parametrize("job", LONGER_JOBS)
def test_progress_of_a_longer_job_is_told_on_the_way(job: str) -> None:
    n, took = 1_000, 0.0
    while took < 0.15:
        n *= 2
        told = Calls()
        start = time.perf_counter()
        LONGER_JOBS[job](n, told)
        took = time.perf_counter() - start
    assert len(told.calls) > 1
    assert_sound(told.calls)


@telling
def test_an_exception_in_progress_ends_the_fit_and_propagates(case: Case) -> None:
    class Enough(Exception):
        pass

    def stop(done: int, total: int) -> None:
        raise Enough(f"{done} of {total}")

    estimator = case.make()
    with pytest.raises(Enough, match=r"\d+ of \d+"):
        case.fit(blobs(), estimator, progress=stop)
    with pytest.raises(NotFittedError):
        getattr(estimator, case.results[0])


def test_an_exception_in_progress_ends_a_long_fit_soon() -> None:
    def stop(done: int, total: int) -> None:
        raise KeyError("enough")

    start = time.perf_counter()
    with pytest.raises(KeyError, match="enough"):
        _core.UMAP(n_epochs=10**6).fit(uniform(2_000, 4), progress=stop)
    assert time.perf_counter() - start < 1.5


# ---- small and odd input -----------------------------------------------------------------------------------------

ODD_INPUTS = {
    "1 row": blobs(n=1),
    "2 rows": blobs(n=2),
    "3 rows": blobs(n=3),
    "2 equal rows": np.ones((2, 4), dtype=np.float32),
    "equal rows": np.full((60, 4), 0.1, dtype=np.float32),
    "zero rows": np.zeros((60, 4), dtype=np.float32),
    "two distinct rows": np.repeat(np.eye(2, 4, dtype=np.float32), 30, axis=0),
    "1 column": blobs(dim=1),
    "a constant column": np.c_[blobs(), np.ones(120)].astype(np.float32),
    "more columns than rows": blobs(n=20, dim=50),
    "tiny numbers": blobs() * np.float32(1e-30),
    "subnormal numbers": blobs() * np.float32(1e-42),
    "large numbers": blobs() * np.float32(1e15),
    "squares beyond float32": blobs() * np.float32(1e25),
    "largest numbers": np.where(blobs() > 2.5, np.finfo(np.float32).max, np.finfo(np.float32).min),
    "far from the origin": blobs() + np.float32(1e6),
}


@every_case
@pytest.mark.parametrize("odd", ODD_INPUTS)
def test_odd_input_gives_a_sane_result_or_a_clear_error(case: Case, odd: str) -> None:
    X = ODD_INPUTS[odd]
    try:
        learned = case.learned(case.fit(X))
    except InvalidInputError as error:
        learned, refusal = {}, str(error)
    else:
        refusal = ""
    assert learned or any(character.isdigit() for character in refusal), refusal
    for name, value in learned.items():
        assert not np.isnan(value).any(), name
    if "labels_" in learned:
        assert learned["labels_"].shape == (len(X),)
        assert learned["labels_"].min() >= -1
    if "embedding_" in learned:
        assert learned["embedding_"].shape == (len(X), 2)
        assert np.isfinite(learned["embedding_"]).all()


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (_core.KMeans(9), "n_clusters must be <= the number of rows: 9 > 5"),
        (_core.Agglomerative(9), "n_clusters must be <= the number of rows: 9 > 5"),
        (_core.GaussianMixture(9), "n_components must be <= the number of rows: 9 > 5"),
        (_core.PCA(9), "n_components must be between 1 and min(n, dim) = 4: got 9"),
    ],
)
def test_more_parts_than_rows_are_refused_with_both_numbers(estimator: Any, message: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        estimator.fit(blobs(n=5))
    assert message in str(caught.value)


def test_one_row_and_equal_rows_have_the_results_one_expects() -> None:
    one = blobs(n=1)
    kmeans = _core.KMeans(1).fit(one)
    assert kmeans.labels_.tolist() == [0]
    assert kmeans.inertia_ == 0.0
    np.testing.assert_array_equal(kmeans.cluster_centers_, one)
    for estimator in (_core.HDBSCAN(), _core.DBSCAN(), _core.OPTICS()):
        assert estimator.fit(one).labels_.tolist() == [-1]
    assert _core.UMAP().fit(one).embedding_.shape == (1, 2)
    assert _core.PCA(1).fit(one).transform(one).tolist() == [[0.0]]

    equal = np.full((60, 4), 0.1, dtype=np.float32)
    kmeans = _core.KMeans(3).fit(equal)
    assert kmeans.inertia_ == pytest.approx(0.0, abs=1e-9)
    assert set(kmeans.labels_.tolist()) <= {0, 1, 2}
    assert _core.DBSCAN().fit(equal).labels_.tolist() == [0] * 60
    assert _core.HDBSCAN(allow_single_cluster=True).fit(equal).labels_.tolist() == [0] * 60
    assert _core.PCA(2).fit(equal).explained_variance_.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    "call",
    [
        "_core.Index.build(X).search(X, 10**12)",
        "_core.Index.build(X).search(X, 2**62)",
        "_core.Index.build(X, engine='hnsw').search(X, 10**12)",
        "_core.UMAP(n_components=10**12).fit(X)",
        "_core.medoids(X, np.zeros(60, int), n_clusters=10**13)",
        "_core.top_terms(['a'], [0], n_clusters=10**13)",
    ],
)
def test_absurd_counts_raise_instead_of_ending_the_process(call: str) -> None:
    code = (
        "import numpy as np\nfrom lmsys_rs import _core, errors\nX = np.ones((60, 4))\n"
        f"try:\n    {call}\nexcept (errors.InvalidInputError, MemoryError) as error:\n    print('refused')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "refused\n", done.stderr[-500:]
