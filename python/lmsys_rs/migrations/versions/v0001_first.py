"""The first schema.

Written out, not taken from `store.schema`: a migration must keep doing what it did when the schema moves on.
"""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = (
    """
    CREATE TABLE dataset (
        id INTEGER NOT NULL,
        name TEXT NOT NULL,
        source TEXT NOT NULL,
        format TEXT NOT NULL,
        description TEXT,
        column_mapping TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        created_at TEXT NOT NULL,
        finished BOOLEAN NOT NULL,
        position INTEGER NOT NULL,
        n_conversations INTEGER NOT NULL,
        n_queries INTEGER NOT NULL,
        n_problems INTEGER NOT NULL,
        PRIMARY KEY (id),
        UNIQUE (name)
    )
    """,
    """
    CREATE TABLE embedding (
        embedder_id TEXT NOT NULL,
        model TEXT NOT NULL,
        dim INTEGER NOT NULL,
        dtype TEXT NOT NULL,
        n_rows INTEGER NOT NULL,
        pooling TEXT NOT NULL,
        max_length INTEGER NOT NULL,
        file TEXT NOT NULL,
        created_at TEXT NOT NULL,
        PRIMARY KEY (embedder_id)
    )
    """,
    """
    CREATE TABLE text (
        text_id INTEGER NOT NULL,
        hash BLOB NOT NULL,
        text TEXT NOT NULL,
        n_chars INTEGER NOT NULL,
        PRIMARY KEY (text_id),
        UNIQUE (hash)
    )
    """,
    """
    CREATE TABLE conversation (
        id INTEGER NOT NULL,
        dataset_id INTEGER NOT NULL,
        "key" BLOB NOT NULL,
        source_id TEXT,
        model TEXT,
        language TEXT,
        timestamp TEXT,
        extra TEXT,
        line INTEGER NOT NULL,
        PRIMARY KEY (id),
        UNIQUE (dataset_id, "key"),
        FOREIGN KEY(dataset_id) REFERENCES dataset (id)
    )
    """,
    """
    CREATE INDEX ix_conversation_source_id ON conversation (source_id)
    """,
    """
    CREATE TABLE graph (
        graph_id TEXT NOT NULL,
        embedder_id TEXT NOT NULL,
        selection_hash TEXT NOT NULL,
        k INTEGER NOT NULL,
        n_points INTEGER NOT NULL,
        created_at TEXT NOT NULL,
        PRIMARY KEY (graph_id),
        UNIQUE (embedder_id, selection_hash, k),
        FOREIGN KEY(embedder_id) REFERENCES embedding (embedder_id)
    )
    """,
    """
    CREATE TABLE projection (
        projection_id TEXT NOT NULL,
        embedder_id TEXT NOT NULL,
        selection_hash TEXT NOT NULL,
        n_components INTEGER NOT NULL,
        parameters TEXT NOT NULL,
        n_points INTEGER NOT NULL,
        created_at TEXT NOT NULL,
        PRIMARY KEY (projection_id),
        UNIQUE (embedder_id, selection_hash, n_components, parameters),
        FOREIGN KEY(embedder_id) REFERENCES embedding (embedder_id)
    )
    """,
    """
    CREATE TABLE run (
        run_id TEXT NOT NULL,
        algorithm TEXT NOT NULL,
        parameters TEXT NOT NULL,
        description TEXT,
        embedder_id TEXT NOT NULL,
        selection_hash TEXT NOT NULL,
        filters TEXT NOT NULL,
        n_clusters INTEGER NOT NULL,
        n_texts INTEGER NOT NULL,
        n_queries INTEGER NOT NULL,
        n_noise INTEGER NOT NULL,
        seed INTEGER,
        labeled BOOLEAN NOT NULL,
        program_version TEXT NOT NULL,
        created_at TEXT NOT NULL,
        seconds FLOAT NOT NULL,
        PRIMARY KEY (run_id),
        FOREIGN KEY(embedder_id) REFERENCES embedding (embedder_id)
    )
    """,
    """
    CREATE INDEX ix_run_created_at ON run (created_at)
    """,
    """
    CREATE TABLE cluster (
        run_id TEXT NOT NULL,
        cluster_id INTEGER NOT NULL,
        size INTEGER NOT NULL,
        n_queries INTEGER NOT NULL,
        title TEXT NOT NULL,
        description TEXT NOT NULL,
        terms TEXT NOT NULL,
        representatives TEXT NOT NULL,
        medoid INTEGER,
        PRIMARY KEY (run_id, cluster_id),
        FOREIGN KEY(run_id) REFERENCES run (run_id) DEFERRABLE INITIALLY DEFERRED
    )
     WITHOUT ROWID
    """,
    """
    CREATE TABLE membership (
        run_id TEXT NOT NULL,
        text_id INTEGER NOT NULL,
        cluster_id INTEGER NOT NULL,
        probability FLOAT,
        PRIMARY KEY (run_id, text_id),
        FOREIGN KEY(run_id) REFERENCES run (run_id) DEFERRABLE INITIALLY DEFERRED,
        FOREIGN KEY(text_id) REFERENCES text (text_id)
    )
     WITHOUT ROWID
    """,
    """
    CREATE INDEX ix_membership_cluster ON membership (run_id, cluster_id, text_id)
    """,
    """
    CREATE TABLE "query" (
        id INTEGER NOT NULL,
        conversation_id INTEGER NOT NULL,
        position INTEGER NOT NULL,
        text_id INTEGER NOT NULL,
        PRIMARY KEY (id),
        UNIQUE (conversation_id, position),
        FOREIGN KEY(conversation_id) REFERENCES conversation (id),
        FOREIGN KEY(text_id) REFERENCES text (text_id)
    )
    """,
    """
    CREATE INDEX ix_query_text_id ON "query" (text_id, conversation_id)
    """,
    """
    CREATE TABLE turn (
        conversation_id INTEGER NOT NULL,
        position INTEGER NOT NULL,
        role TEXT NOT NULL,
        content TEXT NOT NULL,
        PRIMARY KEY (conversation_id, position),
        FOREIGN KEY(conversation_id) REFERENCES conversation (id)
    )
     WITHOUT ROWID
    """,
)


def upgrade() -> None:
    """Create every table of version 0001."""
    for statement in TABLES:
        op.execute(statement)


def downgrade() -> None:
    """Drop every table of version 0001."""
    for table in (
        "turn",
        "query",
        "membership",
        "cluster",
        "run",
        "projection",
        "graph",
        "conversation",
        "text",
        "embedding",
        "dataset",
    ):
        op.drop_table(table)
