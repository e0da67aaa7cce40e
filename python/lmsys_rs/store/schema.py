"""Which tables a workspace has: the stable, documented schema, as SQLAlchemy Core sees it.

It runs nothing: the migrations create these tables, `reading` and `writing` use them.
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
    "cluster",
    "conversation",
    "dataset",
    "embedding",
    "graph",
    "membership",
    "metadata",
    "projection",
    "query",
    "run",
    "text",
    "turn",
]

APPLICATION_ID = 0x4C4D5359  # "LMSY" in the header of the SQLite file: `file lmsys.db` can tell it from any other
SCHEMA_VERSION = "0001"  # the newest migration that this program knows

metadata = MetaData()

dataset = Table(
    "dataset",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("source", Text, nullable=False),
    Column("format", Text, nullable=False),
    Column("description", Text),
    Column("column_mapping", Text, nullable=False),  # JSON
    Column("fingerprint", Text, nullable=False),  # of the file's content and how it was read
    Column("created_at", Text, nullable=False),  # every time: ISO 8601, UTC
    Column("finished", Boolean, nullable=False),
    Column("position", Integer, nullable=False),  # last line, element or row of the source that is in the tables
    Column("n_conversations", Integer, nullable=False),
    Column("n_queries", Integer, nullable=False),
    Column("n_problems", Integer, nullable=False),
)

conversation = Table(
    "conversation",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("dataset_id", Integer, ForeignKey("dataset.id"), nullable=False),
    # what makes it the same conversation: hash of its id, or of content and line where the source has no id
    Column("key", LargeBinary(16), nullable=False),
    Column("source_id", Text),
    Column("model", Text),
    Column("language", Text),
    Column("timestamp", Text),
    Column("extra", Text),  # JSON object of the source's other fields
    Column("line", Integer, nullable=False),
    UniqueConstraint("dataset_id", "key"),
)
Index("ix_conversation_source_id", conversation.c.source_id)

turn = Table(
    "turn",
    metadata,
    Column("conversation_id", Integer, ForeignKey("conversation.id"), primary_key=True),
    Column("position", Integer, primary_key=True),  # 0-based
    Column("role", Text, nullable=False),
    Column("content", Text, nullable=False),
    sqlite_with_rowid=False,
)

text = Table(
    "text",
    metadata,
    Column("text_id", Integer, primary_key=True, autoincrement=False),  # dense from 0 = row of every vector file
    Column("hash", LargeBinary(16), nullable=False, unique=True),
    Column("text", Text, nullable=False),
    Column("n_chars", Integer, nullable=False),
)

query = Table(
    "query",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("conversation_id", Integer, ForeignKey("conversation.id"), nullable=False),
    Column("position", Integer, nullable=False),  # of the turn it was taken from
    Column("text_id", Integer, ForeignKey("text.text_id"), nullable=False),
    UniqueConstraint("conversation_id", "position"),
)
Index("ix_query_text_id", query.c.text_id, query.c.conversation_id)

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

graph = Table(
    "graph",
    metadata,
    Column("graph_id", Text, primary_key=True),
    Column("embedder_id", Text, ForeignKey("embedding.embedder_id"), nullable=False),
    Column("selection_hash", Text, nullable=False),
    Column("k", Integer, nullable=False),
    Column("n_points", Integer, nullable=False),
    Column("created_at", Text, nullable=False),
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
    Column("embedder_id", Text, ForeignKey("embedding.embedder_id"), nullable=False),
    Column("selection_hash", Text, nullable=False),
    Column("filters", Text, nullable=False),  # JSON
    Column("n_clusters", Integer, nullable=False),
    Column("n_texts", Integer, nullable=False),
    Column("n_queries", Integer, nullable=False),
    Column("n_noise", Integer, nullable=False),  # texts in no cluster
    Column("seed", Integer),
    Column("labeled", Boolean, nullable=False),
    Column("program_version", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("seconds", Float, nullable=False),
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
    sqlite_with_rowid=False,
)

membership = Table(
    "membership",
    metadata,
    Column("run_id", Text, ForeignKey("run.run_id", deferrable=True, initially="DEFERRED"), primary_key=True),
    Column("text_id", Integer, ForeignKey("text.text_id"), primary_key=True),
    Column("cluster_id", Integer, nullable=False),  # -1 = noise
    Column("probability", Float),
    sqlite_with_rowid=False,
)
Index("ix_membership_cluster", membership.c.run_id, membership.c.cluster_id, membership.c.text_id)
