"""The values that pass between the modules: the schema of a conversation batch and frozen records of results.

Nothing here reads, writes or computes; a record is what a function found out, not a row that can be changed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

__all__ = [
    "BATCH_SIZE",
    "CONVERSATION_SCHEMA",
    "NOISE",
    "UNITS",
    "ArrayFileRecord",
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
    "SegmentRecord",
    "Selection",
    "SourceRecord",
    "WorkspaceInfo",
    "ignore_events",
    "is_counted",
    "to_json",
]

BATCH_SIZE = 16_384
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
        # every other field of the source: a JSON object as text, or, of a table, a struct of its columns; null if none
        "extra": pl.String(),
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


UNITS = ("first", "turn", "dialogue")
"""What a query is: the first user turn with text, every user turn with text, or the whole dialogue as one text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which queries a selection, a search, a listing or an export is about; None leaves a field open.

    Attributes:
        dataset, model: exact names.
        language: English name; of the source, or, where that says nothing, the detected one.
        min_length, max_length: characters of the text, both inclusive.
        min_quality: 0 to 1, inclusive.
        since, until: time of the conversation, from (inclusive) and to (exclusive), with a time zone.
        where: a condition in SQL over the columns of `columns.QUERY_SCHEMA`: ``n_turns > 2 AND text LIKE '%refund%'``.
        near_duplicates: False keeps one text of each group of near-duplicates.
        labelling: for each column of labels that ``where`` names, the labelling it is taken from; None takes the newest
            (a run keeps what it was made with).
        limit: at most this many distinct texts (or rows of a listing).
    """

    dataset: str | None = None
    model: str | None = None
    language: str | None = None
    min_length: int | None = None
    max_length: int | None = None
    min_quality: float | None = None
    since: datetime | None = None
    until: datetime | None = None
    where: str | None = None
    near_duplicates: bool | None = None
    labelling: Mapping[str, str] | None = None
    limit: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Only the fields that are set, as JSON values."""
        return {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in asdict(self).items()
            if value is not None
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Filters:
        """The filters that `to_dict` wrote."""
        times = {name: datetime.fromisoformat(values[name]) for name in ("since", "until") if name in values}
        return cls(**{**values, **times})

    def without_limit(self) -> Filters:
        """The same conditions for any number of texts."""
        return replace(self, limit=None)

    @property
    def is_open(self) -> bool:
        """Whether every query passes."""
        return not self.without_limit().to_dict()


@dataclass(frozen=True, slots=True)
class Selection:
    """Distinct texts, ascending by id, with how many of the selected queries ask each."""

    text_ids: npt.NDArray[np.uint32]
    weights: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.text_ids)

    def weights_of(self, text_ids: npt.NDArray[np.uint32], *, missing: float) -> npt.NDArray[np.float32]:
        """How many of the selected queries ask each of these distinct texts; ``missing`` where none does.

        A run keeps texts that pass its filters no more, such as after a deletion or with other labels.
        """
        weights = np.full(len(text_ids), missing, dtype=np.float32)
        _, places, theirs = np.intersect1d(text_ids, self.text_ids, assume_unique=True, return_indices=True)
        weights[places] = self.weights[theirs]
        return weights


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """What `load` did. All counts are of this call, over all its files.

    Attributes:
        path: the file, folder or pattern that was asked for.
        format: of the file, or ``mixed``.
        unit: what a query is, see `UNITS`.
        n_files: files that were read, or found to be loaded already.
        n_read: conversations read.
        n_new: of these, conversations that were not in the data set yet, and were kept.
        n_filtered: new conversations that were left out because no query of theirs passes the filters.
        n_queries: queries made from the new conversations.
        n_new_texts: distinct texts not seen before in this workspace.
        n_without_query: new conversations without any user text; kept, but they yield no query.
        n_redacted: new conversations in which something was replaced.
        n_problems: broken elements that were skipped; the first hundred stand in ``problems``.
        already_loaded: every file was recognised as completely loaded and not read again.
        finished: all files were read to their end (false when ``limit`` stopped it).
    """

    dataset: str
    path: str
    format: str
    unit: str = "first"
    n_files: int = 1
    n_read: int
    n_new: int
    n_filtered: int = 0
    n_queries: int
    n_new_texts: int
    n_without_query: int
    n_redacted: int = 0
    n_problems: int
    problems: tuple[Problem, ...]
    already_loaded: bool
    finished: bool
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedReport:
    """What `embed` did.

    Attributes:
        n_new: of ``n_texts`` texts, those that got their vector now.
        n_reused: of these, those whose vector was found in another workspace.
        n_tokens: read for the others.
    """

    embedder_id: str
    model: str
    dim: int
    n_texts: int
    n_new: int
    n_reused: int
    n_tokens: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRecord:
    """One file of a data set; ``position`` is its last line that is accounted for."""

    id: int
    dataset_id: int
    path: str
    format: str
    column_mapping: Mapping[str, Any]
    filters: Mapping[str, Any]
    redacted: bool
    fingerprint: str
    created_at: str
    finished: bool
    position: int
    n_conversations: int
    n_problems: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetRecord:
    """One loaded data set. ``source`` and ``format`` are of its newest file."""

    id: int
    name: str
    source: str
    format: str
    unit: str
    description: str | None
    created_at: str
    finished: bool
    n_files: int
    n_conversations: int
    n_turns: int
    n_queries: int
    n_problems: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentRecord:
    """The Parquet file with conversations ``first_id`` to ``last_id``."""

    first_id: int
    last_id: int
    source_id: int
    file: str
    n_bytes: int
    checksum: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayFileRecord:
    """An immutable array file of the workspace and what it should look like."""

    file: str
    kind: str
    n_bytes: int
    checksum: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingRecord:
    """One vector file: row = text_id, ``n_rows`` valid rows of ``dim`` numbers (``dtype`` float32 or float16)."""

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
    """One finished clustering: which texts, how, with which seed, by which version.

    Attributes:
        next_cluster_id: ids below it are or were clusters; after edits some of them are none.
        summary_run_id: the naming that the titles come from.
    """

    run_id: str
    algorithm: str
    parameters: Mapping[str, Any]
    description: str | None
    embedder_id: str | None
    selection_hash: str
    filters: Mapping[str, Any]
    n_clusters: int
    n_texts: int
    n_queries: int
    n_noise: int
    n_assigned: int = 0
    seed: int | None
    labeled: bool
    program_version: str
    created_at: str
    seconds: float
    next_cluster_id: int = 0
    summary_run_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterRecord:
    """One cluster of a run. ``size`` counts distinct texts, ``n_queries`` how often they were asked.

    ``terms`` are (term, weight), best first; ``representatives`` are text ids, the medoid first. ``title_source`` is
    offline, llm, user or none; ``title_rank`` is 1 where of all clusters this one is nearest to its title.
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
    title_source: str = "offline"
    title_rank: int | None = None


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


COUNTED = re.compile(
    r"[\d,]+ quer(?:y|ies)(?: \([\d,]+ different texts?\))?(?:\.| about .+|, for example: .+)", re.DOTALL
)


def is_counted(description: str) -> bool:
    """Whether a description of a cluster is the offline one: it counts what was there then, and may quote a text.

    Example:
        >>> is_counted("58 queries about cards, for example: my lost card")
        True
    """
    return COUNTED.fullmatch(description) is not None


def to_json(record: Any) -> Any:
    """A record as plain JSON values: dataclasses become objects, tuples lists, paths strings."""
    if hasattr(record, "__dataclass_fields__"):
        return {name: to_json(getattr(record, name)) for name in record.__dataclass_fields__}
    if isinstance(record, Mapping):
        return {str(key): to_json(value) for key, value in record.items()}
    if isinstance(record, (list, tuple)):
        return [to_json(value) for value in record]
    return str(record) if isinstance(record, Path) else record
