"""Types of the Rust extension; checked against the binary by stubtest."""

from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any, Literal, final

import numpy as np
import numpy.typing as npt

__all__ = [
    "DBSCAN",
    "HDBSCAN",
    "OPTICS",
    "PCA",
    "PERSONAL_KINDS",
    "TSNE",
    "UMAP",
    "Agglomerative",
    "Density",
    "Embedder",
    "GaussianMixture",
    "Index",
    "JsonReader",
    "KMeans",
    "KnnGraph",
    "Leiden",
    "MiniBatchKMeans",
    "SeenHashes",
    "Tokenizer",
    "__version__",
    "adjusted_rand_score",
    "available_isas",
    "best_jaccard",
    "bootstrap_stability",
    "central_representatives",
    "cluster_quality",
    "configure",
    "covering_representatives",
    "cut_texts",
    "diverse_representatives",
    "group_pairs",
    "knn_outlier_scores",
    "medoids",
    "merge_suggestions",
    "minhash_signatures",
    "near_duplicate_pairs",
    "near_duplicate_pairs_from_graph",
    "neighbors_kept",
    "normalize_texts",
    "normalized_mutual_info_score",
    "place_in_layout",
    "redact_texts",
    "shingle_similarity",
    "text_hashes",
    "text_signals",
    "top_terms",
    "trustworthiness",
    "v_measure_score",
]

# Names with an underscore exist for type checkers only.

# called on the calling thread with (done, total), at most every 50 ms and once at the end
_Progress = Callable[[int, int], object]
# numpy (any real dtype and order; contiguous float32 is not copied), Arrow fixed-size lists of float32, DLPack
_ArrayLike = Any
# Arrow PyCapsule array or stream of strings (pyarrow, polars), or a sequence of str
_TextsLike = Any
# an Arrow array of the PyCapsule interface: pl.Series(...) or pa.array(...) take it without a copy
_ArrowArray = Any
# an Arrow record batch of the PyCapsule interface: pl.DataFrame(...) or pa.record_batch(...) take it without a copy
_ArrowBatch = Any
_Params = dict[str, Any]
_State = dict[str, Any] | None
_Labels = npt.NDArray[np.int32]
_Rows = npt.NDArray[np.uint32]
_Vectors = npt.NDArray[np.float32]

__version__: str

def configure(*, isa: str | None = None, n_threads: int | None = None) -> None:
    """Choose the kernels (one of `available_isas()` or "auto") and the number of threads; None leaves them."""

def available_isas() -> list[str]:
    """Names of the kernel implementations of this build, slowest first."""

# ---- text ------------------------------------------------------------------------------------------------------

def normalize_texts(texts: _TextsLike) -> _ArrowArray:
    """NFC, control characters (NUL too) removed, trimmed. Arrow strings; nulls stay null."""

def text_hashes(texts: _TextsLike) -> _ArrowArray:
    """xxh3-128 of the UTF-8 bytes as given, big endian. Arrow FixedSizeBinary(16); nulls stay null."""

def cut_texts(texts: _TextsLike, max_chars: int) -> _ArrowArray:
    """The first `max_chars` characters on one line, with an ellipsis where cut. Arrow strings; nulls stay null."""

def top_terms(
    texts: _TextsLike,
    labels: npt.ArrayLike,
    *,
    n_clusters: int,
    weights: npt.ArrayLike | None = None,
    n_terms: int = 10,
    min_count: int = 2,
    max_words: int = 4,
    nearest: npt.ArrayLike | None = None,
    progress: _Progress | None = None,
) -> list[list[tuple[str, float]]]:
    """c-TF-IDF terms of each cluster 0..n_clusters-1, best first: words and phrases of up to `max_words` words with no
    stop word at either end, runs of characters in scripts without spaces. A term that is common in one of the clusters
    of its row of `nearest`, (n_clusters, m) with -1 for none, counts less."""

# ---- signals ---------------------------------------------------------------------------------------------------

PERSONAL_KINDS: dict[str, int]
"""Kind of personal data or secret -> its bit in the column `personal` of `text_signals`."""

def text_signals(texts: _TextsLike, *, progress: _Progress | None = None) -> _ArrowBatch:
    """One row per text, no nulls taken: language (LargeUtf8, null where it can't be told), language_confidence
    (Float32), n_chars, n_words (UInt32), quality and its parts quality_length, quality_letters, quality_repetition,
    quality_variety, quality_wording (Float32, 0 to 1), personal (UInt32, bits of PERSONAL_KINDS), template (Int64,
    equal for texts made from one template). docs/signals.md says what each means."""

def redact_texts(texts: _TextsLike) -> _ArrowArray:
    """Personal data and secrets replaced by [EMAIL], [PHONE], [KEY] and so on. Arrow strings; nulls stay null."""

def minhash_signatures(texts: _TextsLike, *, progress: _Progress | None = None) -> npt.NDArray[np.uint16]:
    """(n, 128) MinHash signatures; equal for texts that differ only in case, white space and punctuation."""

def near_duplicate_pairs(
    signatures: npt.ArrayLike, *, min_similarity: float = 0.6, progress: _Progress | None = None
) -> _Rows:
    """(m, 2) pairs i < j, sorted, whose (n, 128) signatures agree in that share of values; m grows linearly with n."""

def near_duplicate_pairs_from_graph(graph: KnnGraph, max_distance: float) -> _Rows:
    """(m, 2) rows i < j, sorted, that are neighbors at most `max_distance` apart."""

def shingle_similarity(
    texts_a: _TextsLike, texts_b: _TextsLike, *, progress: _Progress | None = None
) -> npt.NDArray[np.float32]:
    """(n,) Jaccard similarity of the shingles of each pair; 1 for equal forms."""

@final
class SeenHashes:
    """Which hashes were seen before: a quick first answer, from 8 bytes of each."""
    def __new__(cls) -> SeenHashes: ...
    def insert(self, hashes: bytes) -> npt.NDArray[np.bool_]:
        """Of n hashes of 16 bytes, one after the other: (n,) False where one is new for certain."""
    def __len__(self) -> int: ...

def group_pairs(n: int, pairs: npt.ArrayLike) -> _Rows:
    """(n,) smallest text of the group that (m, 2) `pairs` put each text in."""

# ---- reading ---------------------------------------------------------------------------------------------------

@final
class JsonReader:
    """Turns bytes of JSON lines, of one JSON array, or of objects one after another into batches of conversations.

    Keys of `mapping`: conversation_id, turns, role, content, model, language, timestamp, text, turn_id (each a field
    name or a list of alternatives, dots descend), roles (source role -> user, assistant, system or tool) and shape (a
    format that field names can't describe: alpaca, arena, chatgpt, claude, hh, langfuse, langsmith, oasst, openai or
    otel).
    """
    def __new__(
        cls, mapping: dict[str, Any], *, layout: Literal["auto", "lines", "array", "values"] = "auto"
    ) -> JsonReader: ...
    def feed(self, data: bytes, *, final: bool = False) -> tuple[Any, list[tuple[int, str]]]:
        """What is complete, as an Arrow record batch in CONVERSATION_SCHEMA, and what is broken as (line, message)."""
    @property
    def layout(self) -> str:
        """One of "lines", "array" or "values"; "auto" until the first byte that is not white space."""

# ---- embedding -------------------------------------------------------------------------------------------------

@final
class Embedder:
    """A sentence-embedding model: texts in, rows out."""
    def __new__(
        cls,
        folder: str,
        *,
        engine: str = "auto",
        runtime: str | None = None,
        weights: str | None = None,
        max_length: int | None = None,
        pooling: Literal["mean", "cls"] | None = None,
        normalize: bool = True,
        provider: str = "cpu",
        n_threads: int | None = None,
    ) -> Embedder: ...
    @property
    def engine(self) -> str:
        """What computes: "native", "ort" or "static"."""
    @property
    def device(self) -> str:
        """The instructions or the device that the engine uses."""
    @property
    def id(self) -> str:
        """Names the model's files (by content) and every setting that changes its vectors."""
    @property
    def dim(self) -> int:
        """Columns of a vector."""
    @property
    def max_length(self) -> int:
        """Most tokens of a text, special ones included."""
    @property
    def pooling(self) -> str:
        """Either "mean" or "cls"."""
    def embed_into(self, texts: _TextsLike, out: _Vectors, *, progress: _Progress | None = None) -> int:
        """Write one row per text into `out` (n, dim); returns the number of tokens read."""

    def embed_tokens_into(
        self, tokens: Sequence[Sequence[int]], out: _Vectors, *, progress: _Progress | None = None
    ) -> None:
        """Write one row per text into `out`, for texts that are tokens already, special ones included."""

@final
class Tokenizer:
    """The tokenizer of a model folder, without what its file says about padding and truncation."""
    def __new__(cls, path: str) -> Tokenizer: ...
    def encode(self, texts: _TextsLike, *, max_length: int = 512, special: bool = True) -> list[list[int]]:
        """The ids of each text, at most `max_length`, with or without special ones around it."""
    def count(self, texts: _TextsLike, *, max_length: int = 512) -> npt.NDArray[np.uint64]:
        """How often each id occurs in the texts, of which at most `max_length` tokens are read."""
    def vocabulary(self) -> list[tuple[str, int]]:
        """(token, id) of all tokens, added ones included, by id."""
    @property
    def around(self) -> tuple[list[int], list[int]]:
        """Special tokens before and after every text."""
    @property
    def unknown(self) -> int | None:
        """Id of the unknown token; None without one."""
    @property
    def is_fast(self) -> bool:
        """Whether texts are read by our own WordPiece, not by the crate tokenizers."""

# ---- graph, index ----------------------------------------------------------------------------------------------

@final
class KnnGraph:
    """The k nearest neighbors of every row, by Euclidean distance; immutable."""
    @staticmethod
    def build(
        X: _ArrayLike,
        k: int = 15,
        *,
        recall: float = 0.98,
        random_state: int = 0,
        progress: _Progress | None = None,
    ) -> KnnGraph:
        """The graph; k is n - 1 where there are fewer rows. Exact up to 8,192 rows, and with recall=1."""
    def extend(self, X: _ArrayLike, positions: Sequence[int], *, progress: _Progress | None = None) -> KnnGraph:
        """The graph of more rows; positions[i] is the row of X that row i of this graph is, ascending."""
    @staticmethod
    def from_arrays(indices: npt.ArrayLike, distances: npt.ArrayLike, *, recall: float | None = None) -> KnnGraph:
        """Neighbor lists made elsewhere, (n, k), ascending; 4294967295 and inf where a list is short."""
    @property
    def indices(self) -> _Rows:
        """(n, k) ids, nearest first; 4294967295 where a list is short."""
    @property
    def distances(self) -> _Vectors:
        """(n, k) Euclidean distances, ascending; inf where a list is short."""
    @property
    def k(self) -> int:
        """Neighbors per row."""
    @property
    def recall(self) -> float | None:
        """Share of the true neighbors it holds: measured on a sample, 1 where exact, None where not known."""
    @property
    def n_points(self) -> int:
        """Rows."""
    def prefix(self, k: int) -> KnnGraph:
        """The graph of the first k neighbors of each row."""
    def __len__(self) -> int: ...
    def __reduce__(self) -> tuple[Callable[..., KnnGraph], tuple[_Rows, _Vectors]]: ...

@final
class Index:
    """An index over the rows of a matrix; ids are row numbers."""
    @staticmethod
    def build(
        X: _ArrayLike,
        *,
        engine: Literal["auto", "exact", "partitioned", "hnsw"] = "auto",
        recall: float = 0.95,
        ef_construction: int = 200,
        ef_search: int = 100,
        random_state: int = 0,
        progress: _Progress | None = None,
    ) -> Index: ...
    @staticmethod
    def load(path: str | PathLike[str], *, mmap: bool = True) -> Index:
        """What `save` wrote; with mmap the rows stay in the file."""
    def save(self, path: str | PathLike[str]) -> None:
        """To one file (partitioned)."""
    @property
    def engine(self) -> str:
        """The engine's name."""
    @property
    def dim(self) -> int:
        """Columns of the rows."""
    def search(
        self,
        Q: _ArrayLike,
        k: int = 10,
        *,
        where: npt.ArrayLike | None = None,
        recall: float | None = None,
        progress: _Progress | None = None,
    ) -> tuple[_Rows, _Vectors]:
        """(m, k) ids and Euclidean distances, ascending; 4294967295 and inf where fewer than k rows pass."""
    def insert(self, X: _ArrayLike) -> _Rows:
        """Add rows; their ids (partitioned)."""
    def delete(self, ids: npt.ArrayLike) -> int:
        """Remove rows for good; how many went (partitioned)."""
    def __len__(self) -> int: ...

# ---- estimators (scikit-learn contract) ------------------------------------------------------------------------

@final
class KMeans:
    """k-means clustering, seeded; the same bits on any number of threads."""
    def __new__(
        cls,
        n_clusters: int = 8,
        *,
        init: Literal["k-means++", "random"] | _ArrayLike | None = None,  # None is "k-means++"
        n_init: int = 1,
        max_iter: int = 300,
        tol: float = 1e-4,
        random_state: int = 0,
    ) -> KMeans: ...
    def fit(
        self, X: _ArrayLike, *, sample_weight: npt.ArrayLike | None = None, progress: _Progress | None = None
    ) -> KMeans: ...
    def predict(self, X: _ArrayLike, *, progress: _Progress | None = None) -> _Labels: ...
    def fit_predict(
        self, X: _ArrayLike, *, sample_weight: npt.ArrayLike | None = None, progress: _Progress | None = None
    ) -> _Labels: ...
    @property
    def labels_(self) -> _Labels:
        """(n,) cluster of each row."""
    @property
    def cluster_centers_(self) -> _Vectors:
        """(n_clusters, dim)."""
    @property
    def inertia_(self) -> float:
        """Weighted sum of squared distances of the rows to their centroids."""
    @property
    def n_iter_(self) -> int:
        """Lloyd steps of the best start."""
    @property
    def distances_(self) -> _Vectors:
        """(n,) distance of each row to its own centroid."""
    def get_params(self, deep: bool = True) -> _Params: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], _Params]: ...
    def __getstate__(self) -> _State: ...
    def __setstate__(self, state: _State) -> None: ...

@final
class MiniBatchKMeans:
    """k-means in one pass, for rows that come in parts; the same bits on any number of threads."""
    def __new__(
        cls,
        n_clusters: int = 8,
        *,
        init: Literal["k-means++", "random"] | _ArrayLike | None = None,  # None is "k-means++"
        random_state: int = 0,
    ) -> MiniBatchKMeans: ...
    def fit(
        self, X: _ArrayLike, *, sample_weight: npt.ArrayLike | None = None, progress: _Progress | None = None
    ) -> MiniBatchKMeans: ...
    def partial_fit(
        self, X: _ArrayLike, *, sample_weight: npt.ArrayLike | None = None, progress: _Progress | None = None
    ) -> MiniBatchKMeans: ...
    def predict(self, X: _ArrayLike, *, progress: _Progress | None = None) -> _Labels: ...
    def fit_predict(
        self, X: _ArrayLike, *, sample_weight: npt.ArrayLike | None = None, progress: _Progress | None = None
    ) -> _Labels: ...
    @property
    def cluster_centers_(self) -> _Vectors:
        """(n_clusters, dim)."""
    @property
    def counts_(self) -> npt.NDArray[np.float64]:
        """(n_clusters,) weight of the rows that each centroid has seen."""
    @property
    def labels_(self) -> _Labels:
        """(n,) cluster of each row of the last fit."""
    @property
    def inertia_(self) -> float:
        """Weighted sum of squared distances of the rows of the last fit to their centroids."""
    def get_params(self, deep: bool = True) -> _Params: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], _Params]: ...
    def __getstate__(self) -> _State: ...
    def __setstate__(self, state: _State) -> None: ...

@final
class HDBSCAN:
    """Clusters of varying density, and noise; parameters as in the `hdbscan` package."""
    def __new__(
        cls,
        *,
        min_cluster_size: int = 15,
        min_samples: int | None = None,
        cluster_selection_epsilon: float = 0.0,
        cluster_selection_method: Literal["eom", "leaf"] = ...,  # "eom"; the binary's signature cannot show a string
        allow_single_cluster: bool = False,
    ) -> HDBSCAN: ...
    def fit(
        self,
        X: KnnGraph | _ArrayLike,
        *,
        sample_weight: npt.ArrayLike | None = None,
        progress: _Progress | None = None,
    ) -> HDBSCAN: ...
    def fit_predict(
        self,
        X: KnnGraph | _ArrayLike,
        *,
        sample_weight: npt.ArrayLike | None = None,
        progress: _Progress | None = None,
    ) -> _Labels: ...
    @property
    def labels_(self) -> _Labels:
        """(n,) cluster of each row, -1 for noise."""
    @property
    def probabilities_(self) -> _Vectors:
        """(n,) strength of membership in [0, 1]; 0 for noise."""
    @property
    def outlier_scores_(self) -> _Vectors:
        """(n,) GLOSH scores in [0, 1]: how much of an outlier each row is."""
    @property
    def n_clusters_(self) -> int:
        """Number of clusters found."""
    def get_params(self, deep: bool = True) -> _Params: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], _Params]: ...
    def __getstate__(self) -> _State: ...
    def __setstate__(self, state: _State) -> None: ...

@final
class Agglomerative:
    """Agglomerative clustering of up to 32,768 rows: the whole tree, to be cut at any level."""
    def __new__(
        cls,
        n_clusters: int | None = None,
        *,
        distance_threshold: float | None = None,
        linkage: Literal["average", "ward"] = ...,  # "average"; the binary's signature cannot show a string
    ) -> Agglomerative: ...
    def fit(
        self, X: _ArrayLike, *, sample_weight: npt.ArrayLike | None = None, progress: _Progress | None = None
    ) -> Agglomerative: ...
    def fit_predict(
        self, X: _ArrayLike, *, sample_weight: npt.ArrayLike | None = None, progress: _Progress | None = None
    ) -> _Labels: ...
    def cut(self, n_clusters: int) -> _Labels:
        """Labels at any other level of the tree, numbered by falling weight."""
    @property
    def labels_(self) -> _Labels:
        """(n,) cluster of each row, numbered by falling weight."""
    @property
    def n_clusters_(self) -> int:
        """Number of clusters in labels_."""
    @property
    def children_(self) -> npt.NDArray[np.int64]:
        """(n - 1, 2) nodes that join, by distance: rows are 0..n-1, merge m makes node n + m."""
    @property
    def distances_(self) -> npt.NDArray[np.float64]:
        """(n - 1,) distance of each merge, ascending."""
    @property
    def sizes_(self) -> npt.NDArray[np.float64]:
        """(n - 1,) weight of each merged cluster."""
    def get_params(self, deep: bool = True) -> _Params: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], _Params]: ...
    def __getstate__(self) -> _State: ...
    def __setstate__(self, state: _State) -> None: ...

@final
class Density:
    """Clusters without a number of clusters, at several layers, with memberships and noise."""
    def __new__(
        cls,
        *,
        min_cluster_size: int = 5,
        resolution: float | None = None,
        random_state: int = 0,
    ) -> Density: ...
    def fit(
        self,
        X: KnnGraph | _ArrayLike,
        *,
        sample_weight: npt.ArrayLike | None = None,
        progress: _Progress | None = None,
    ) -> Density: ...
    def fit_predict(
        self,
        X: KnnGraph | _ArrayLike,
        *,
        sample_weight: npt.ArrayLike | None = None,
        progress: _Progress | None = None,
    ) -> _Labels: ...
    @property
    def labels_(self) -> _Labels:
        """(n,) cluster of each row by falling size, -1 for noise; one of the layers."""
    @property
    def layers_(self) -> _Labels:
        """(n_layers, n) finest layer first, nested; noise is -1 in all."""
    @property
    def membership_(self) -> _Vectors:
        """(n,) share of the row's edge weight that stays in its nearest_ cluster, in [0, 1]."""
    @property
    def nearest_(self) -> _Labels:
        """(n,) labels_, and for noise the cluster it is linked to; -1 where there is none."""
    @property
    def n_clusters_(self) -> int:
        """Number of clusters in labels_."""
    @property
    def resolution_(self) -> float:
        """Resolution of modularity of labels_."""
    def get_params(self, deep: bool = True) -> _Params: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], _Params]: ...
    def __getstate__(self) -> _State: ...
    def __setstate__(self, state: _State) -> None: ...

@final
class Leiden:
    """Connected communities of a kNN graph (Traag, Waltman, van Eck 2019)."""
    def __new__(
        cls,
        *,
        objective: Literal["modularity", "cpm"] = ...,  # "modularity"; the binary's signature cannot show a string
        resolution: float = 1.0,
        n_iterations: int = 2,
        random_state: int = 0,
    ) -> Leiden: ...
    def fit(
        self,
        X: KnnGraph | _ArrayLike,
        *,
        sample_weight: npt.ArrayLike | None = None,
        progress: _Progress | None = None,
    ) -> Leiden: ...
    def fit_predict(
        self,
        X: KnnGraph | _ArrayLike,
        *,
        sample_weight: npt.ArrayLike | None = None,
        progress: _Progress | None = None,
    ) -> _Labels: ...
    @property
    def labels_(self) -> _Labels:
        """(n,) community of each row by falling size."""
    @property
    def quality_(self) -> float:
        """What the objective says of labels_."""
    @property
    def modularity_(self) -> float:
        """Modularity of labels_ at resolution 1."""
    @property
    def n_clusters_(self) -> int:
        """Number of communities."""
    def get_params(self, deep: bool = True) -> _Params: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], _Params]: ...
    def __getstate__(self) -> _State: ...
    def __setstate__(self, state: _State) -> None: ...

@final
class GaussianMixture:
    """Gaussian mixture with full covariances, for data of few dimensions."""
    def __new__(
        cls,
        n_components: int = 8,
        *,
        max_iter: int = 100,
        tol: float = 1e-3,
        reg_covar: float = 1e-6,
        random_state: int = 0,
    ) -> GaussianMixture: ...
    def fit(self, X: _ArrayLike, *, progress: _Progress | None = None) -> GaussianMixture: ...
    def predict(self, X: _ArrayLike) -> _Labels: ...
    def fit_predict(self, X: _ArrayLike, *, progress: _Progress | None = None) -> _Labels: ...
    @property
    def labels_(self) -> _Labels:
        """(n,) most probable component of each row."""
    @property
    def means_(self) -> npt.NDArray[np.float64]:
        """(n_components, dim)."""
    @property
    def weights_(self) -> npt.NDArray[np.float64]:
        """(n_components,) share of each component."""
    @property
    def precisions_(self) -> npt.NDArray[np.float64]:
        """(n_components, dim * dim) inverse covariances, row-major."""
    def get_params(self, deep: bool = True) -> _Params: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], _Params]: ...
    def __getstate__(self) -> _State: ...
    def __setstate__(self, state: _State) -> None: ...

@final
class DBSCAN:
    """What is connected through dense points is a cluster."""
    def __new__(cls, *, eps: float = 0.5, min_samples: int = 5) -> DBSCAN: ...
    def fit(self, X: _ArrayLike, *, progress: _Progress | None = None) -> DBSCAN: ...
    def fit_predict(self, X: _ArrayLike, *, progress: _Progress | None = None) -> _Labels: ...
    @property
    def labels_(self) -> _Labels:
        """(n,) cluster of each row, -1 for noise."""
    def get_params(self, deep: bool = True) -> _Params: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], _Params]: ...
    def __getstate__(self) -> _State: ...
    def __setstate__(self, state: _State) -> None: ...

@final
class OPTICS:
    """The order in which density connects points."""
    def __new__(
        cls,
        *,
        min_samples: int = 5,
        max_eps: float = ...,  # infinity
        eps: float | None = None,
    ) -> OPTICS: ...
    def fit(self, X: _ArrayLike, *, progress: _Progress | None = None) -> OPTICS: ...
    def fit_predict(self, X: _ArrayLike, *, progress: _Progress | None = None) -> _Labels: ...
    @property
    def labels_(self) -> _Labels:
        """(n,) cluster of each row, -1 for noise."""
    @property
    def ordering_(self) -> _Rows:
        """(n,) rows in the order of the reachability plot."""
    @property
    def reachability_(self) -> _Vectors:
        """(n,) reachability distance of each row; inf where a component starts."""
    def get_params(self, deep: bool = True) -> _Params: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], _Params]: ...
    def __getstate__(self) -> _State: ...
    def __setstate__(self, state: _State) -> None: ...

@final
class PCA:
    """Principal components: the directions of largest variance."""
    def __new__(cls, n_components: int = 2, *, random_state: int = 0) -> PCA: ...
    def fit(self, X: _ArrayLike, *, progress: _Progress | None = None) -> PCA: ...
    def transform(self, X: _ArrayLike) -> _Vectors: ...
    def fit_transform(self, X: _ArrayLike, *, progress: _Progress | None = None) -> _Vectors: ...
    @property
    def components_(self) -> _Vectors:
        """(n_components, dim) unit rows."""
    @property
    def explained_variance_(self) -> _Vectors:
        """(n_components,) variance along each component, descending."""
    @property
    def mean_(self) -> _Vectors:
        """(dim,) mean of the rows."""
    def get_params(self, deep: bool = True) -> _Params: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], _Params]: ...
    def __getstate__(self) -> _State: ...
    def __setstate__(self, state: _State) -> None: ...

@final
class UMAP:
    """Layout of a kNN graph in few dimensions; the same bits on any number of threads."""
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
        init: Literal["spectral", "random"] | _ArrayLike | None = None,  # None is "spectral"
        random_state: int = 0,
    ) -> UMAP: ...
    def fit(self, X: KnnGraph | _ArrayLike, *, progress: _Progress | None = None) -> UMAP: ...
    def fit_transform(self, X: KnnGraph | _ArrayLike, *, progress: _Progress | None = None) -> _Vectors: ...
    def transform(
        self, X: _ArrayLike | tuple[npt.ArrayLike, npt.ArrayLike], *, progress: _Progress | None = None
    ) -> _Vectors:
        """(m, n_components) places of new rows, or of (indices, distances) of their nearest rows of fit."""
    @property
    def embedding_(self) -> _Vectors:
        """(n, n_components) coordinates."""
    def get_params(self, deep: bool = True) -> _Params: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], _Params]: ...
    def __getstate__(self) -> _State: ...
    def __setstate__(self, state: _State) -> None: ...

@final
class TSNE:
    """Layout of a kNN graph in one or two dimensions; the same bits on any number of threads."""
    def __new__(
        cls,
        n_components: int = 2,
        *,
        perplexity: float | None = None,  # None is a third of a graph's neighbors, 30 of vectors
        n_iter: int = 750,
        init: Literal["spectral", "pca"] | _ArrayLike | None = None,  # None is "spectral"
        learning_rate: float | None = None,
        random_state: int = 0,
    ) -> TSNE: ...
    def fit(self, X: KnnGraph | _ArrayLike, *, progress: _Progress | None = None) -> TSNE: ...
    def fit_transform(self, X: KnnGraph | _ArrayLike, *, progress: _Progress | None = None) -> _Vectors: ...
    @property
    def embedding_(self) -> _Vectors:
        """(n, n_components) coordinates."""
    @property
    def kl_divergence_(self) -> float:
        """Divergence of the layout's affinities from the graph's."""
    def get_params(self, deep: bool = True) -> _Params: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], _Params]: ...
    def __getstate__(self) -> _State: ...
    def __setstate__(self, state: _State) -> None: ...

def place_in_layout(
    embedding: _ArrayLike,
    indices: npt.ArrayLike,
    distances: npt.ArrayLike,
    *,
    min_dist: float = 0.1,
    random_state: int = 0,
    progress: _Progress | None = None,
) -> _Vectors:
    """(m, n_components) places of new points, given their nearest points of a layout that UMAP made earlier."""

# ---- insight ---------------------------------------------------------------------------------------------------

def medoids(X: _ArrayLike, labels: npt.ArrayLike, *, n_clusters: int, weights: npt.ArrayLike | None = None) -> _Rows:
    """(n_clusters,) row nearest to the mean direction of its cluster; 4294967295 where a cluster is empty."""

def covering_representatives(
    graph: KnnGraph,
    labels: npt.ArrayLike,
    *,
    n_clusters: int,
    n_representatives: int = 10,
    weights: npt.ArrayLike | None = None,
) -> list[_Rows]:
    """Rows that together cover each cluster, by facility location over the edges inside; most covering first."""

def diverse_representatives(
    X: _ArrayLike,
    labels: npt.ArrayLike,
    *,
    n_clusters: int,
    n_representatives: int = 10,
    weights: npt.ArrayLike | None = None,
    diversity: float = 0.3,
) -> list[_Rows]:
    """Per cluster up to n rows by maximal marginal relevance; the first is the medoid."""

def central_representatives(
    graph: KnnGraph,
    labels: npt.ArrayLike,
    *,
    n_clusters: int,
    n_representatives: int = 10,
    weights: npt.ArrayLike | None = None,
) -> list[_Rows]:
    """Per cluster up to n rows most alike the rows of their cluster that the graph links them to."""

def cluster_quality(
    X: _ArrayLike,
    labels: npt.ArrayLike,
    *,
    n_clusters: int,
    graph: KnnGraph | None = None,
    weights: npt.ArrayLike | None = None,
    progress: _Progress | None = None,
) -> dict[str, npt.NDArray[Any]]:
    """size, cohesion, distance, separation, nearest, silhouette and (with a graph) spillover of each cluster, and
    row_silhouette of each row."""

def merge_suggestions(
    X: _ArrayLike, labels: npt.ArrayLike, graph: KnnGraph, *, n_clusters: int, weights: npt.ArrayLike | None = None
) -> dict[str, npt.NDArray[Any]]:
    """a, b, distance, relative_distance, mixing and score of pairs of clusters that are probably one, best first."""

def knn_outlier_scores(
    graph: KnnGraph, labels: npt.ArrayLike, *, n_clusters: int, weights: npt.ArrayLike | None = None
) -> _Vectors:
    """(n,) mean distance to the neighbors as a robust z-score of the cluster; above 3.5 a row is odd."""

def bootstrap_stability(
    X: _ArrayLike,
    labels: npt.ArrayLike,
    *,
    n_clusters: int,
    n_boots: int = 20,
    weights: npt.ArrayLike | None = None,
    random_state: int = 0,
    progress: _Progress | None = None,
) -> npt.NDArray[np.float64]:
    """(n_clusters,) mean Jaccard similarity of each cluster to that of k-means refitted on bootstrap samples."""

def best_jaccard(
    labels: npt.ArrayLike, others: npt.ArrayLike, *, n_clusters: int, weights: npt.ArrayLike | None = None
) -> npt.NDArray[np.float64]:
    """(n_clusters,) Jaccard similarity to the most similar cluster of `others`; -1 for a cluster without rows."""

def adjusted_rand_score(labels_true: npt.ArrayLike, labels_pred: npt.ArrayLike) -> float:
    """Adjusted Rand index of two labelings."""

def normalized_mutual_info_score(labels_true: npt.ArrayLike, labels_pred: npt.ArrayLike) -> float:
    """Mutual information over the arithmetic mean of the entropies."""

def v_measure_score(labels_true: npt.ArrayLike, labels_pred: npt.ArrayLike) -> float:
    """V-measure with beta = 1; equal to `normalized_mutual_info_score`."""

def trustworthiness(
    X: _ArrayLike, embedding: _ArrayLike, *, n_neighbors: int = 15, sample: int = 2000, random_state: int = 0
) -> float:
    """1 when no neighbor in the layout was far in the data; over `sample` seeded rows."""

def neighbors_kept(
    X: KnnGraph | _ArrayLike, embedding: _ArrayLike, *, n_neighbors: int = 10, sample: int = 2000, random_state: int = 0
) -> float:
    """Share of the nearest neighbors that are also nearest in the layout; over `sample` seeded rows."""
