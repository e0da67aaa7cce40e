"""The values that pass between the modules: the schema of a conversation batch and frozen records of results.

Nothing here reads, writes or computes; a record is what a function found out, not a row that can be changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import polars as pl

__all__ = [
    "BATCH_SIZE",
    "CONVERSATION_SCHEMA",
    "NOISE",
    "ClusterHit",
    "ClusterRecord",
    "ConversationBatch",
    "DatasetRecord",
    "EmbedReport",
    "EmbeddingRecord",
    "Event",
    "Filters",
    "LoadReport",
    "OnEvent",
    "Problem",
    "RunRecord",
    "SearchHit",
    "SearchResult",
    "WorkspaceInfo",
    "ignore_events",
    "to_json",
]

BATCH_SIZE = 8192
"""Most conversations in one batch: what is in memory at a time, and what a crash can cost."""

NOISE = -1
"""Label of a text that belongs to no cluster."""

CONVERSATION_SCHEMA = pl.Schema(
    {
        "conversation_id": pl.String(),  # null where the source has none
        "model": pl.String(),
        "language": pl.String(),
        "timestamp": pl.Datetime("us", "UTC"),
        "turns": pl.List(pl.Struct({"role": pl.String(), "content": pl.String()})),
        "extra": pl.String(),  # JSON object of every other field of the source, null if there is none
        "line": pl.UInt64(),  # 1-based line, element or row in the source
    }
)


@dataclass(frozen=True, slots=True)
class Problem:
    """One element of a source that could not be read. ``line`` is 1-based."""

    line: int
    message: str


@dataclass(frozen=True, slots=True)
class ConversationBatch:
    """Up to `BATCH_SIZE` conversations, in source order.

    Attributes:
        conversations: frame in `CONVERSATION_SCHEMA`.
        problems: elements before ``position`` (and after the batch before) that could not be read.
        position: 1-based line of the last element that this batch accounts for; reading resumes after it.
        done: how much of the source is read so far, in the unit of the reader's ``total``.
    """

    conversations: pl.DataFrame
    problems: tuple[Problem, ...]
    position: int
    done: int


@dataclass(frozen=True, slots=True)
class Event:
    """What a use case reports while it runs: a stage starts, advances, finishes, or has something to say."""

    kind: Literal["started", "advanced", "finished", "note"]
    stage: str
    done: int = 0
    total: int | None = None
    unit: str = ""
    message: str = ""


OnEvent = Callable[[Event], None]


def ignore_events(event: Event) -> None:
    """The listener of callers that want none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which queries a selection, a search or a listing is about; None leaves a field open. Values are exact."""

    dataset: str | None = None
    model: str | None = None
    language: str | None = None
    limit: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Only the fields that are set."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """What `load` did with one file. All counts are of this call.

    Attributes:
        n_read: conversations read from the file.
        n_new: of these, conversations that were not in the data set yet.
        n_queries: queries made from the new conversations.
        n_new_texts: distinct texts not seen before in this workspace.
        n_without_query: new conversations without any user text; kept, but they yield no query.
        n_problems: broken elements that were skipped; the first hundred stand in ``problems``.
        already_loaded: the file was recognised as completely loaded and not read again.
        finished: the file was read to its end (false when ``limit`` stopped it).
    """

    dataset: str
    path: str
    format: str
    n_read: int
    n_new: int
    n_queries: int
    n_new_texts: int
    n_without_query: int
    n_problems: int
    problems: tuple[Problem, ...]
    already_loaded: bool
    finished: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedReport:
    """What `embed` did: ``n_new`` of ``n_texts`` texts were embedded now, from ``n_tokens`` tokens."""

    embedder_id: str
    model: str
    dim: int
    n_texts: int
    n_new: int
    n_tokens: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetRecord:
    """One loaded data set; ``position`` is the last source line accounted for."""

    id: int
    name: str
    source: str
    format: str
    description: str | None
    created_at: str
    finished: bool
    position: int
    n_conversations: int
    n_queries: int
    n_problems: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingRecord:
    """One vector file: row = text_id, ``n_rows`` valid rows of ``dim`` float32."""

    embedder_id: str
    model: str
    dim: int
    dtype: str
    n_rows: int
    pooling: str
    max_length: int
    created_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One finished clustering: which texts, how, with which seed, by which version."""

    run_id: str
    algorithm: str
    parameters: Mapping[str, Any]
    description: str | None
    embedder_id: str
    selection_hash: str
    filters: Mapping[str, Any]
    n_clusters: int
    n_texts: int
    n_queries: int
    n_noise: int
    seed: int | None
    labeled: bool
    program_version: str
    created_at: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterRecord:
    """One cluster of a run. ``size`` counts distinct texts, ``n_queries`` how often they were asked.

    ``terms`` are (term, weight), best first; ``representatives`` are text ids, the medoid first.
    """

    run_id: str
    cluster_id: int
    size: int
    n_queries: int
    title: str
    description: str
    terms: tuple[tuple[str, float], ...] = ()
    representatives: tuple[int, ...] = ()
    medoid: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchHit:
    """One distinct text near the query. ``distance`` is Euclidean between unit vectors (0 same, 1.41 unrelated)."""

    query_id: int
    text_id: int
    distance: float
    score: float
    text: str
    snippet: str
    n_queries: int
    conversation_id: str | None
    model: str | None
    language: str | None
    cluster_id: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterHit:
    """One cluster whose centroid is near the query."""

    cluster_id: int
    distance: float
    title: str
    description: str
    num_queries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """Answer to one search: hits nearest first, the clusters it was narrowed to, and counts over the candidates."""

    text: str
    run_id: str | None
    results: tuple[SearchHit, ...]
    applied_clusters: tuple[ClusterHit, ...] = ()
    facets: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceInfo:
    """What a workspace holds, and how large its parts are in bytes."""

    path: str
    program_version: str
    schema_version: str
    n_datasets: int
    n_conversations: int
    n_turns: int
    n_queries: int
    n_texts: int
    n_runs: int
    embeddings: tuple[EmbeddingRecord, ...]
    database_bytes: int
    array_bytes: int


def to_json(record: Any) -> Any:
    """A record as plain JSON values: dataclasses become objects, tuples lists, paths strings."""
    if hasattr(record, "__dataclass_fields__"):
        return {name: to_json(getattr(record, name)) for name in record.__dataclass_fields__}
    if isinstance(record, Mapping):
        return {str(key): to_json(value) for key, value in record.items()}
    if isinstance(record, (list, tuple)):
        return [to_json(value) for value in record]
    return str(record) if isinstance(record, Path) else record
