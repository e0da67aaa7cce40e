"""Types of the Rust extension; checked against the binary by stubtest."""

from collections.abc import Callable
from typing import Any, Literal, final

import numpy as np
import numpy.typing as npt

__all__ = [
    "DBSCAN",
    "HDBSCAN",
    "OPTICS",
    "PCA",
    "UMAP",
    "GaussianMixture",
    "Index",
    "JsonReader",
    "KMeans",
    "KnnGraph",
    "OrtEmbedder",
    "__version__",
    "adjusted_rand_score",
    "available_isas",
    "configure",
    "cut_texts",
    "diverse_representatives",
    "medoids",
    "normalize_texts",
    "normalized_mutual_info_score",
    "text_hashes",
    "top_terms",
    "trustworthiness",
    "v_measure_score",
]

# called on the calling thread with (done, total), at most every 50 ms and once at the end
Progress = Callable[[int, int], None]
# numpy (any float dtype and order; contiguous float32 is not copied), Arrow PyCapsule fixed-size lists of float32, DLPack
ArrayLike = Any
# Arrow PyCapsule array or stream of strings (pyarrow, polars), or a sequence of str
TextsLike = Any

__version__: str

def configure(*, isa: str | None = None, n_threads: int | None = None) -> None:
    """Choose the kernels (one of `available_isas()`) and the thread count (before the first use of the pool)."""

def available_isas() -> list[str]: ...

# ---- text ------------------------------------------------------------------------------------------------------

def normalize_texts(texts: TextsLike) -> Any:
    """NFC, NUL and lone control characters removed, trimmed. Arrow string array (PyCapsule), nulls stay null."""

def text_hashes(texts: TextsLike) -> Any:
    """xxh3-128 of the UTF-8 bytes as given, big endian. Arrow FixedSizeBinary(16) array; nulls stay null."""

def cut_texts(texts: TextsLike, max_chars: int) -> Any:
    """First `max_chars` characters (cut at a grapheme border, with an ellipsis if cut), white space collapsed."""

def top_terms(
    texts: TextsLike,
    labels: npt.NDArray[np.int32],
    *,
    n_clusters: int,
    weights: npt.NDArray[np.float32] | None = None,
    n_terms: int = 10,
    min_count: int = 2,
    progress: Progress | None = None,
) -> list[list[tuple[str, float]]]:
    """c-TF-IDF terms (words, two-word phrases, CJK bigrams) of each cluster 0..n_clusters-1, best first."""

# ---- reading ---------------------------------------------------------------------------------------------------

@final
class JsonReader:
    """Turns bytes of JSON lines or of one JSON array into batches of conversations.

    Feed chunks of bytes as they come; each call returns what is complete: an Arrow record batch in the schema of
    `lmsys_rs.records.CONVERSATION_SCHEMA` plus the broken elements as (line, message).
    `mapping` names the fields: keys `conversation_id, turns, role, content, model, language, timestamp` (each a
    field name or a list of alternatives, dots descend), `roles` (source role -> user|assistant|system|tool),
    `text` (a single text field instead of turns).
    """
    def __new__(cls, mapping: dict[str, Any], *, layout: Literal["auto", "lines", "array"] = "auto") -> JsonReader: ...
    def feed(self, data: bytes, *, final: bool = False) -> tuple[Any, list[tuple[int, str]]]: ...
    @property
    def layout(self) -> str: ...

# ---- embedding -------------------------------------------------------------------------------------------------

@final
class OrtEmbedder:
    """Sentence embedding model run by ONNX Runtime."""
    def __new__(
        cls,
        folder: str,
        *,
        runtime: str,
        weights: str | None = None,
        max_length: int | None = None,
        pooling: Literal["mean", "cls"] | None = None,
        normalize: bool = True,
        n_threads: int | None = None,
    ) -> OrtEmbedder: ...
    @property
    def id(self) -> str: ...
    @property
    def dim(self) -> int: ...
    @property
    def max_length(self) -> int: ...
    @property
    def pooling(self) -> str: ...
    def embed_into(
        self, texts: TextsLike, out: npt.NDArray[np.float32], *, progress: Progress | None = None
    ) -> int:
        """Writes unit rows into `out` (n, dim); returns the number of tokens read. progress counts tokens-ish work."""

# ---- graph, index ----------------------------------------------------------------------------------------------

@final
class KnnGraph:
    @staticmethod
    def build(X: ArrayLike, k: int = 15, *, progress: Progress | None = None) -> KnnGraph: ...
    @staticmethod
    def from_arrays(indices: npt.NDArray[np.uint32], distances: npt.NDArray[np.float32]) -> KnnGraph: ...
    @property
    def indices(self) -> npt.NDArray[np.uint32]: ...
    @property
    def distances(self) -> npt.NDArray[np.float32]: ...
    @property
    def k(self) -> int: ...
    @property
    def n_points(self) -> int: ...
    def prefix(self, k: int) -> KnnGraph: ...
    def __len__(self) -> int: ...

@final
class Index:
    @staticmethod
    def build(
        X: ArrayLike,
        *,
        engine: Literal["exact", "hnsw"] = "exact",
        ef_construction: int = 200,
        ef_search: int = 100,
        random_state: int = 0,
        progress: Progress | None = None,
    ) -> Index: ...
    @property
    def engine(self) -> str: ...
    @property
    def dim(self) -> int: ...
    def search(
        self, Q: ArrayLike, k: int = 10, *, where: npt.NDArray[np.bool_] | None = None, progress: Progress | None = None
    ) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.float32]]:
        """(m, k) ids and Euclidean distances, ascending; where fewer than k rows pass, id 4294967295 and inf fill."""
    def __len__(self) -> int: ...

# ---- estimators (scikit-learn contract) ------------------------------------------------------------------------

@final
class KMeans:
    def __new__(
        cls,
        n_clusters: int = 8,
        *,
        init: str | ArrayLike = "k-means++",
        n_init: int = 1,
        max_iter: int = 300,
        tol: float = 1e-4,
        random_state: int = 0,
    ) -> KMeans: ...
    def fit(self, X: ArrayLike, *, sample_weight: ArrayLike | None = None, progress: Progress | None = None) -> KMeans: ...
    def predict(self, X: ArrayLike, *, progress: Progress | None = None) -> npt.NDArray[np.int32]: ...
    def fit_predict(self, X: ArrayLike, *, sample_weight: ArrayLike | None = None, progress: Progress | None = None) -> npt.NDArray[np.int32]: ...
    @property
    def labels_(self) -> npt.NDArray[np.int32]: ...
    @property
    def cluster_centers_(self) -> npt.NDArray[np.float32]: ...
    @property
    def inertia_(self) -> float: ...
    @property
    def n_iter_(self) -> int: ...
    @property
    def distances_(self) -> npt.NDArray[np.float32]:
        """(n,) distance of each row to its own centroid."""
    def get_params(self, deep: bool = True) -> dict[str, Any]: ...

@final
class HDBSCAN:
    def __new__(
        cls,
        *,
        min_cluster_size: int = 15,
        min_samples: int | None = None,
        cluster_selection_epsilon: float = 0.0,
        cluster_selection_method: Literal["eom", "leaf"] = "eom",
        allow_single_cluster: bool = False,
    ) -> HDBSCAN: ...
    def fit(self, X: KnnGraph | ArrayLike, *, sample_weight: ArrayLike | None = None, progress: Progress | None = None) -> HDBSCAN: ...
    def fit_predict(self, X: KnnGraph | ArrayLike, *, sample_weight: ArrayLike | None = None, progress: Progress | None = None) -> npt.NDArray[np.int32]: ...
    @property
    def labels_(self) -> npt.NDArray[np.int32]: ...
    @property
    def probabilities_(self) -> npt.NDArray[np.float32]: ...
    @property
    def n_clusters_(self) -> int: ...
    def get_params(self, deep: bool = True) -> dict[str, Any]: ...

@final
class GaussianMixture:
    def __new__(cls, n_components: int = 8, *, max_iter: int = 100, tol: float = 1e-3, reg_covar: float = 1e-6, random_state: int = 0) -> GaussianMixture: ...
    def fit(self, X: ArrayLike, *, progress: Progress | None = None) -> GaussianMixture: ...
    def predict(self, X: ArrayLike) -> npt.NDArray[np.int32]: ...
    def fit_predict(self, X: ArrayLike, *, progress: Progress | None = None) -> npt.NDArray[np.int32]: ...
    @property
    def labels_(self) -> npt.NDArray[np.int32]: ...
    @property
    def means_(self) -> npt.NDArray[np.float32]: ...
    @property
    def weights_(self) -> npt.NDArray[np.float32]: ...
    def get_params(self, deep: bool = True) -> dict[str, Any]: ...

@final
class DBSCAN:
    def __new__(cls, *, eps: float = 0.5, min_samples: int = 5) -> DBSCAN: ...
    def fit(self, X: ArrayLike, *, progress: Progress | None = None) -> DBSCAN: ...
    def fit_predict(self, X: ArrayLike, *, progress: Progress | None = None) -> npt.NDArray[np.int32]: ...
    @property
    def labels_(self) -> npt.NDArray[np.int32]: ...
    def get_params(self, deep: bool = True) -> dict[str, Any]: ...

@final
class OPTICS:
    def __new__(cls, *, min_samples: int = 5, max_eps: float = float("inf"), eps: float | None = None) -> OPTICS: ...
    def fit(self, X: ArrayLike, *, progress: Progress | None = None) -> OPTICS: ...
    def fit_predict(self, X: ArrayLike, *, progress: Progress | None = None) -> npt.NDArray[np.int32]: ...
    @property
    def labels_(self) -> npt.NDArray[np.int32]: ...
    @property
    def ordering_(self) -> npt.NDArray[np.uint32]: ...
    @property
    def reachability_(self) -> npt.NDArray[np.float32]: ...
    def get_params(self, deep: bool = True) -> dict[str, Any]: ...

@final
class PCA:
    def __new__(cls, n_components: int = 2, *, random_state: int = 0) -> PCA: ...
    def fit(self, X: ArrayLike, *, progress: Progress | None = None) -> PCA: ...
    def transform(self, X: ArrayLike) -> npt.NDArray[np.float32]: ...
    def fit_transform(self, X: ArrayLike, *, progress: Progress | None = None) -> npt.NDArray[np.float32]: ...
    @property
    def components_(self) -> npt.NDArray[np.float32]: ...
    @property
    def explained_variance_(self) -> npt.NDArray[np.float32]: ...
    @property
    def mean_(self) -> npt.NDArray[np.float32]: ...
    def get_params(self, deep: bool = True) -> dict[str, Any]: ...

@final
class UMAP:
    def __new__(
        cls,
        n_components: int = 2,
        *,
        n_neighbors: int | None = None,
        min_dist: float = 0.1,
        spread: float = 1.0,
        n_epochs: int | None = None,
        learning_rate: float = 1.0,
        negative_sample_rate: int = 5,
        init: str | ArrayLike = "spectral",
        random_state: int = 0,
    ) -> UMAP: ...
    def fit(self, X: KnnGraph | ArrayLike, *, progress: Progress | None = None) -> UMAP: ...
    def fit_transform(self, X: KnnGraph | ArrayLike, *, progress: Progress | None = None) -> npt.NDArray[np.float32]: ...
    @property
    def embedding_(self) -> npt.NDArray[np.float32]: ...
    def get_params(self, deep: bool = True) -> dict[str, Any]: ...

# ---- insight ---------------------------------------------------------------------------------------------------

def medoids(X: ArrayLike, labels: npt.NDArray[np.int32], *, n_clusters: int, weights: npt.NDArray[np.float32] | None = None) -> npt.NDArray[np.uint32]:
    """(n_clusters,) row nearest to the weighted mean direction of its cluster; 4294967295 where a cluster is empty."""

def diverse_representatives(
    X: ArrayLike, labels: npt.NDArray[np.int32], *, n_clusters: int, n_representatives: int = 10,
    weights: npt.NDArray[np.float32] | None = None, diversity: float = 0.3
) -> list[npt.NDArray[np.uint32]]:
    """Per cluster up to n rows by maximal marginal relevance; the first is the medoid."""

def adjusted_rand_score(labels_true: ArrayLike, labels_pred: ArrayLike) -> float: ...
def normalized_mutual_info_score(labels_true: ArrayLike, labels_pred: ArrayLike) -> float: ...
def v_measure_score(labels_true: ArrayLike, labels_pred: ArrayLike) -> float: ...
def trustworthiness(X: ArrayLike, embedding: ArrayLike, *, n_neighbors: int = 15, sample: int = 2000, random_state: int = 0) -> float: ...
