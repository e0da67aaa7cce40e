"""What people ask an LLM: clusters, names, maps and search for conversations, on the user's machine.

    import lmsys_rs as lm

    ws = lm.open("my.lmsys")
    ws.load("chats.parquet"); ws.embed()
    run = ws.cluster(lm.KMeans(n_clusters=200)).label()
    run.map()

The parts work alone on numpy arrays too: `Encoder`, `KMeans`, `Density`, `HDBSCAN`, `KnnGraph`, `UMAP`, `TSNE`,
`Index`. Importing this package is quick: a name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lmsys_rs.config import bound_polars

if TYPE_CHECKING:
    from lmsys_rs._core import (
        DBSCAN,
        HDBSCAN,
        OPTICS,
        PCA,
        TSNE,
        UMAP,
        Agglomerative,
        Density,
        GaussianMixture,
        Index,
        KMeans,
        KnnGraph,
        Leiden,
        MiniBatchKMeans,
        __version__,
        adjusted_rand_score,
        available_isas,
        neighbors_kept,
        normalized_mutual_info_score,
        trustworthiness,
        v_measure_score,
    )
    from lmsys_rs.api import Run, Workspace, open
    from lmsys_rs.distilling import distill
    from lmsys_rs.errors import (
        BudgetExceeded,
        InvalidInputError,
        LmsysError,
        ModelError,
        NotFittedError,
        ProviderError,
        RateLimited,
        ReaderError,
        StoreError,
        Unauthorized,
    )
    from lmsys_rs.insight import choose_k, cluster_quality, cluster_stability, merge_suggestions
    from lmsys_rs.models import Encoder
    from lmsys_rs.readers import open_conversations
    from lmsys_rs.sample import write_sample

__all__ = [
    "DBSCAN",
    "HDBSCAN",
    "OPTICS",
    "PCA",
    "TSNE",
    "UMAP",
    "Agglomerative",
    "BudgetExceeded",
    "Density",
    "Encoder",
    "GaussianMixture",
    "Index",
    "InvalidInputError",
    "KMeans",
    "KnnGraph",
    "Leiden",
    "LmsysError",
    "MiniBatchKMeans",
    "ModelError",
    "NotFittedError",
    "ProviderError",
    "RateLimited",
    "ReaderError",
    "Run",
    "StoreError",
    "Unauthorized",
    "Workspace",
    "__version__",
    "adjusted_rand_score",
    "available_isas",
    "choose_k",
    "cluster_quality",
    "cluster_stability",
    "distill",
    "merge_suggestions",
    "neighbors_kept",
    "normalized_mutual_info_score",
    "open",
    "open_conversations",
    "trustworthiness",
    "v_measure_score",
    "write_sample",
]

# before anything imports Polars
bound_polars()

_HOME = {
    "_core": (
        "Agglomerative",
        "DBSCAN",
        "Density",
        "GaussianMixture",
        "HDBSCAN",
        "Index",
        "KMeans",
        "KnnGraph",
        "Leiden",
        "MiniBatchKMeans",
        "OPTICS",
        "PCA",
        "TSNE",
        "UMAP",
        "__version__",
        "adjusted_rand_score",
        "available_isas",
        "neighbors_kept",
        "normalized_mutual_info_score",
        "trustworthiness",
        "v_measure_score",
    ),
    "api": ("Run", "Workspace", "open"),
    "distilling": ("distill",),
    "errors": (
        *("BudgetExceeded", "InvalidInputError", "LmsysError", "ModelError", "NotFittedError", "ProviderError"),
        *("RateLimited", "ReaderError", "StoreError", "Unauthorized"),
    ),
    "insight": ("choose_k", "cluster_quality", "cluster_stability", "merge_suggestions"),
    "models": ("Encoder",),
    "readers": ("open_conversations",),
    "sample": ("write_sample",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if module not in ("errors", "sample"):
        import_module(f"{__name__}.engine").configure_engine()
    value = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
