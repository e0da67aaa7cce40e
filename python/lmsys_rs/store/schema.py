"""Which tables a workspace has: the stable, documented schema, as SQLAlchemy Core sees it.

It runs nothing: the migrations create these tables, `reading`, `writing` and `batches` use them. The turns of the
conversations are not here but in Parquet files that table `segment` lists (docs/decisions/0016).
"""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

__all__ = [
    "APPLICATION_ID",
    "SCHEMA_VERSION",
    "array_file",
    "classification",
    "cluster",
    "cluster_note",
    "conversation",
    "dataset",
    "edit",
    "edit_move",
    "embedding",
    "graph",
    "hierarchy",
    "hierarchy_node",
    "llm_entry",
    "membership",
    "metadata",
    "projection",
    "query",
    "reviewed_label",
    "rule",
    "run",
    "segment",
    "source",
    "summary",
    "summary_run",
    "text",
    "vector_block",
    "workspace_value",
]

APPLICATION_ID = 0x4C4D5359  # "LMSY" in the header of the SQLite file: `file lmsys.db` can tell it from any other
SCHEMA_VERSION = "0004"  # the newest migration that this program knows

metadata = MetaData()

dataset = Table(
    "dataset",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("description", Text),
    Column("unit", Text, nullable=False),  # what a query is: first, turn or dialogue
    Column("created_at", Text, nullable=False),  # every time of this program: ISO 8601, UTC
    Column("n_conversations", Integer, nullable=False),
    Column("n_turns", Integer, nullable=False),
    Column("n_queries", Integer, nullable=False),
    Column("n_problems", Integer, nullable=False),
)

# one file that was loaded into a data set
source = Table(
    "source",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("dataset_id", Integer, ForeignKey("dataset.id"), nullable=False),
    Column("path", Text, nullable=False),
    Column("format", Text, nullable=False),
    Column("column_mapping", Text, nullable=False),  # JSON
    Column("filters", Text, nullable=False),  # JSON: what was let in
    Column("redacted", Boolean, nullable=False),
    Column("fingerprint", Text, nullable=False),  # of the file's content and how it was read
    Column("created_at", Text, nullable=False),
    Column("finished", Boolean, nullable=False),
    Column("position", Integer, nullable=False),  # last line, element or row of the file that is in the tables
    Column("n_conversations", Integer, nullable=False),
    Column("n_problems", Integer, nullable=False),
    UniqueConstraint("dataset_id", "fingerprint"),
)

# a Parquet file with the turns and the other fields of conversations first_id to last_id
segment = Table(
    "segment",
    metadata,
    Column("first_id", Integer, primary_key=True, autoincrement=False),
    Column("last_id", Integer, nullable=False),
    Column("source_id", Integer, ForeignKey("source.id"), nullable=False),
    Column("file", Text, nullable=False, unique=True),
    Column("n_bytes", Integer, nullable=False),
    Column("checksum", Text, nullable=False),  # SHA-256 of the file
)
Index("ix_segment_source", segment.c.source_id, segment.c.first_id)

conversation = Table(
    "conversation",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("dataset_id", Integer, ForeignKey("dataset.id"), nullable=False),
    # what makes it the same conversation: hash of its id, or of content and line where the source has no id
    Column("key", LargeBinary(16), nullable=False),
    Column("source_id", Text),  # its id in the source
    Column("model", Text),
    Column("language", Text),  # as the source says; the detected one stands with the text
    Column("timestamp", Integer),  # microseconds since 1970, UTC
    Column("n_turns", Integer, nullable=False),
    Column("line", Integer, nullable=False),
    UniqueConstraint("dataset_id", "key"),
)

text = Table(
    "text",
    metadata,
    Column("text_id", Integer, primary_key=True, autoincrement=False),  # dense from 0 = row of every vector file
    Column("hash", LargeBinary(16), nullable=False, unique=True),
    Column("text", Text, nullable=False),
    Column("n_chars", Integer, nullable=False),
    # the signals (docs/signals.md); null until they are computed
    Column("n_words", Integer),
    Column("language", Text),
    Column("language_confidence", Float),
    Column("quality", Float),
    Column("quality_length", Float),
    Column("quality_letters", Float),
    Column("quality_repetition", Float),
    Column("quality_variety", Float),
    Column("quality_wording", Float),
    Column("personal", Integer),  # bits of the kinds of personal data found
    Column("template", Integer),  # hash of what is left when the variable parts are taken out
)

query = Table(
    "query",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("conversation_id", Integer, ForeignKey("conversation.id"), nullable=False),
    Column("position", Integer, nullable=False),  # of the turn it was taken from; -1 is the whole dialogue
    Column("text_id", Integer, ForeignKey("text.text_id"), nullable=False),
    UniqueConstraint("conversation_id", "position"),
)
Index("ix_query_text_id", query.c.text_id, query.c.conversation_id)

# every immutable array file that counts, graphs and projections among them
array_file = Table(
    "array_file",
    metadata,
    Column("file", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("n_bytes", Integer, nullable=False),
    Column("checksum", Text, nullable=False),
    Column("created_at", Text, nullable=False),
)
Index("ix_array_file_kind", array_file.c.kind, array_file.c.file)

# single values of the workspace, such as the number of times that rows were deleted
workspace_value = Table(
    "workspace_value",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
    sqlite_with_rowid=False,
)

embedding = Table(
    "embedding",
    metadata,
    Column("embedder_id", Text, primary_key=True),
    Column("model", Text, nullable=False),
    Column("dim", Integer, nullable=False),
    Column("dtype", Text, nullable=False),
    Column("n_rows", Integer, nullable=False),  # valid rows of the vector file
    Column("pooling", Text, nullable=False),
    Column("max_length", Integer, nullable=False),
    Column("file", Text, nullable=False),
    Column("created_at", Text, nullable=False),
)

# rows start to stop - 1 of a vector file, as they were when they were declared valid
vector_block = Table(
    "vector_block",
    metadata,
    Column("embedder_id", Text, ForeignKey("embedding.embedder_id"), primary_key=True),
    Column("start", Integer, primary_key=True, autoincrement=False),
    Column("stop", Integer, nullable=False),
    Column("checksum", Text, nullable=False),
    sqlite_with_rowid=False,
)

graph = Table(
    "graph",
    metadata,
    Column("graph_id", Text, primary_key=True),
    Column("embedder_id", Text, ForeignKey("embedding.embedder_id"), nullable=False),
    Column("selection_hash", Text, nullable=False),
    Column("k", Integer, nullable=False),
    Column("n_points", Integer, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("recall", Float),  # share of the true neighbors it holds, where measured
    UniqueConstraint("embedder_id", "selection_hash", "k"),
)

projection = Table(
    "projection",
    metadata,
    Column("projection_id", Text, primary_key=True),
    Column("embedder_id", Text, ForeignKey("embedding.embedder_id"), nullable=False),
    Column("selection_hash", Text, nullable=False),
    Column("n_components", Integer, nullable=False),
    Column("parameters", Text, nullable=False),  # JSON
    Column("n_points", Integer, nullable=False),
    Column("created_at", Text, nullable=False),
    UniqueConstraint("embedder_id", "selection_hash", "n_components", "parameters"),
)

run = Table(
    "run",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("algorithm", Text, nullable=False),
    Column("parameters", Text, nullable=False),  # JSON
    Column("description", Text),
    Column("embedder_id", Text, ForeignKey("embedding.embedder_id")),  # null: the run came without vectors
    Column("selection_hash", Text, nullable=False),
    Column("filters", Text, nullable=False),  # JSON
    Column("n_clusters", Integer, nullable=False),
    Column("n_texts", Integer, nullable=False),
    Column("n_queries", Integer, nullable=False),
    Column("n_noise", Integer, nullable=False),  # texts in no cluster
    Column("n_assigned", Integer, nullable=False),  # texts placed later, without clustering again
    Column("seed", Integer),
    Column("labeled", Boolean, nullable=False),
    Column("program_version", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("seconds", Float, nullable=False),
    # ids below this are or were clusters of the run: edits make new ones, and no id is given twice
    Column("next_cluster_id", Integer, nullable=False, server_default="0"),
    Column("summary_run_id", Text),  # the naming that the titles of the clusters come from
)
Index("ix_run_created_at", run.c.created_at)

cluster = Table(
    "cluster",
    metadata,
    Column("run_id", Text, ForeignKey("run.run_id", deferrable=True, initially="DEFERRED"), primary_key=True),
    Column("cluster_id", Integer, primary_key=True, autoincrement=False),
    Column("size", Integer, nullable=False),  # distinct texts
    Column("n_queries", Integer, nullable=False),
    Column("title", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("terms", Text, nullable=False),  # JSON list of [term, weight]
    Column("representatives", Text, nullable=False),  # JSON list of text ids
    Column("medoid", Integer),
    Column("title_source", Text, nullable=False, server_default="offline"),  # offline, llm, user or none
    Column("title_rank", Integer),  # 1: of all clusters this one is nearest to its title; null: not measured
    sqlite_with_rowid=False,
)

membership = Table(
    "membership",
    metadata,
    Column("run_id", Text, ForeignKey("run.run_id", deferrable=True, initially="DEFERRED"), primary_key=True),
    Column("text_id", Integer, ForeignKey("text.text_id"), primary_key=True),
    Column("cluster_id", Integer, nullable=False),  # -1 = noise
    Column("probability", Float),
    Column("assigned", Boolean, nullable=False),  # placed into the finished run, not clustered
    Column("nearest_id", Integer),  # cluster_id, and for noise the nearest cluster, where the algorithm tells
    Column("original_id", Integer),  # the cluster that the algorithm gave, of texts that a person moved
    sqlite_with_rowid=False,
)
Index("ix_membership_cluster", membership.c.run_id, membership.c.cluster_id, membership.c.text_id)

# one naming of the clusters of a run
summary_run = Table(
    "summary_run",
    metadata,
    Column("summary_run_id", Text, primary_key=True),
    Column("run_id", Text, ForeignKey("run.run_id"), nullable=False),
    Column("alias", Text),
    Column("model", Text),
    Column("parameters", Text, nullable=False),  # JSON
    Column("created_at", Text, nullable=False),
    Column("refines", Text),  # the summary run whose titles this one improves
    Column("cost", Float),  # US dollars that were paid for it
)
Index("ix_summary_run_run", summary_run.c.run_id, summary_run.c.created_at)

summary = Table(
    "summary",
    metadata,
    Column("summary_run_id", Text, ForeignKey("summary_run.summary_run_id"), primary_key=True),
    Column("cluster_id", Integer, primary_key=True, autoincrement=False),
    Column("title", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("n_queries", Integer),
    Column("representatives", Text, nullable=False),  # JSON list of texts
    Column("source", Text, nullable=False, server_default="llm"),  # offline, llm or user
    Column("title_rank", Integer),  # as of a cluster
    Column("note", Text),  # why it is offline in a naming by a model, or what was asked to be improved
    sqlite_with_rowid=False,
)

hierarchy = Table(
    "hierarchy",
    metadata,
    Column("hierarchy_id", Text, primary_key=True),
    Column("run_id", Text, ForeignKey("run.run_id"), nullable=False),
    Column("parameters", Text, nullable=False),  # JSON
    Column("created_at", Text, nullable=False),
)
Index("ix_hierarchy_run", hierarchy.c.run_id, hierarchy.c.created_at)

hierarchy_node = Table(
    "hierarchy_node",
    metadata,
    Column("hierarchy_id", Text, ForeignKey("hierarchy.hierarchy_id"), primary_key=True),
    Column("node_id", Integer, primary_key=True, autoincrement=False),
    Column("level", Integer, nullable=False),  # 0 = a cluster of the run
    Column("parent_id", Integer),
    Column("title", Text, nullable=False),
    Column("description", Text, nullable=False),
    sqlite_with_rowid=False,
)

# what people changed about clusters, oldest first
edit = Table(
    "edit",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run_id", Text, ForeignKey("run.run_id"), nullable=False),
    Column("cluster_id", Integer),
    Column("kind", Text, nullable=False),  # rename, move_query, merge, split, delete, tag
    Column("editor", Text),
    Column("old", Text, nullable=False),  # JSON
    Column("new", Text, nullable=False),  # JSON
    Column("reason", Text),
    Column("created_at", Text, nullable=False),
    Column("state", Text, nullable=False, server_default="done"),  # done, undone, or kept (older than undo)
)
Index("ix_edit_cluster", edit.c.run_id, edit.c.cluster_id, edit.c.id)

# what people noted about clusters
cluster_note = Table(
    "cluster_note",
    metadata,
    Column("run_id", Text, ForeignKey("run.run_id"), primary_key=True),
    Column("cluster_id", Integer, primary_key=True, autoincrement=False),
    Column("coherence", Integer),  # 1 to 5
    Column("quality", Text),  # high, medium or low
    Column("flags", Text, nullable=False),  # JSON list
    Column("notes", Text),
    Column("updated_at", Text, nullable=False),
    sqlite_with_rowid=False,
)

# the texts that an edit moved from one cluster to another
edit_move = Table(
    "edit_move",
    metadata,
    Column("edit_id", Integer, ForeignKey("edit.id"), primary_key=True),
    Column("from_id", Integer, primary_key=True, autoincrement=False),
    Column("to_id", Integer, primary_key=True, autoincrement=False),
    Column("n_texts", Integer, nullable=False),
    Column("text_ids", LargeBinary, nullable=False),  # ascending u32, little-endian, as differences, zlib
    sqlite_with_rowid=False,
)

# "texts matching this belong there": applied to new texts and to new runs
rule = Table(
    "rule",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("condition", Text, nullable=False),  # SQL, as --where
    Column("title", Text, nullable=False),  # of the cluster they belong to
    Column("run_id", Text),  # where it was made, and which cluster was meant there
    Column("cluster_id", Integer),
    Column("editor", Text),
    Column("reason", Text),
    Column("created_at", Text, nullable=False),
    Column("enabled", Boolean, nullable=False),
)

# what a language model answered, by what was asked: nothing is paid twice
llm_entry = Table(
    "llm_entry",
    metadata,
    Column("key", Text, primary_key=True),
    Column("run_id", Text),  # whose texts were asked about; it goes with them
    Column("content", Text, nullable=False),  # JSON
    Column("created_at", Text, nullable=False),
    sqlite_with_rowid=False,
)
Index("ix_llm_entry_run", llm_entry.c.run_id, llm_entry.c.key)

# one labelling of texts or clusters by a template of labels
classification = Table(
    "classification",
    metadata,
    Column("classification_id", Text, primary_key=True),
    Column("template", Text, nullable=False),  # its name: the results are column label_NAME
    Column("template_hash", Text, nullable=False),
    Column("content", Text, nullable=False),  # JSON of the template
    Column("unit", Text, nullable=False),  # text or cluster
    Column("method", Text, nullable=False),  # zero-shot, head or llm
    Column("model", Text),
    Column("run_id", Text),  # of clusters
    Column("parameters", Text, nullable=False),  # JSON
    Column("n_labelled", Integer, nullable=False),
    Column("file", Text, nullable=False),  # array file with the labels
    Column("cost", Float),
    Column("created_at", Text, nullable=False),
)
Index("ix_classification_template", classification.c.template, classification.c.created_at)

# labels that a person gave, to train and to judge classifiers
reviewed_label = Table(
    "reviewed_label",
    metadata,
    Column("template", Text, primary_key=True),
    Column("text_id", Integer, ForeignKey("text.text_id"), primary_key=True),
    Column("label", Text, nullable=False),
    Column("editor", Text),
    Column("created_at", Text, nullable=False),
    sqlite_with_rowid=False,
)
Index("ix_reviewed_label_text", reviewed_label.c.text_id, reviewed_label.c.template)
