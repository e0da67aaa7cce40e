"""The public names: exactly these, and quick to import."""

from __future__ import annotations

import subprocess
import sys

import lmsys_rs
import pytest

NAMES = [
    *("Agglomerative", "DBSCAN", "Density", "Encoder", "GaussianMixture", "HDBSCAN", "Index", "InvalidInputError"),
    *("KMeans", "KnnGraph", "choose_k", "cluster_quality", "cluster_stability", "merge_suggestions"),
    *("Leiden", "LmsysError", "MiniBatchKMeans", "ModelError", "NotFittedError", "OPTICS", "PCA", "ReaderError", "Run"),
    *("BudgetExceeded", "ProviderError", "RateLimited", "StoreError", "TSNE", "UMAP", "Unauthorized"),
    *(
        "Workspace",
        "__version__",
        "adjusted_rand_score",
        "available_isas",
        "distill",
        "neighbors_kept",
        "normalized_mutual_info_score",
        "open",
    ),
    *("open_conversations", "trustworthiness", "v_measure_score", "write_sample"),
]


def test_all_names_exactly_the_public_ones() -> None:
    assert sorted(lmsys_rs.__all__) == sorted(NAMES)
    assert sorted(lmsys_rs._MODULE_OF) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_resolves_and_is_documented(name: str) -> None:
    value = getattr(lmsys_rs, name)
    if callable(value):
        assert value.__doc__, name


def test_other_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        lmsys_rs.nonsense  # noqa: B018


def test_dir_shows_the_public_names() -> None:
    assert set(NAMES) <= set(dir(lmsys_rs))


def test_import_takes_nothing_heavy_with_it() -> None:
    code = "import sys, lmsys_rs; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"polars", "sqlalchemy", "alembic", "typer", "rich", "matplotlib", "onnxruntime", "IPython"}
    assert heavy & set(result.stdout.split()) == set()


TIMED = "import time; import numpy; t = time.perf_counter(); import lmsys_rs; print(time.perf_counter() - t)"


def test_import_takes_under_150_ms_more_than_numpy() -> None:
    seconds = [
        float(subprocess.run([sys.executable, "-c", TIMED], capture_output=True, text=True, check=True).stdout)
        for _ in range(3)
    ]
    assert min(seconds) < 0.150, seconds
