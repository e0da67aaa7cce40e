"""Where titles come from, edits that can be undone, rules, answers of language models, labels of texts."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ADDED = (
    ("run", "next_cluster_id", "INTEGER DEFAULT '0' NOT NULL"),
    ("run", "summary_run_id", "TEXT"),
    ("cluster", "title_source", "TEXT DEFAULT 'offline' NOT NULL"),
    ("cluster", "title_rank", "INTEGER"),
    ("membership", "original_id", "INTEGER"),
    ("summary_run", "refines", "TEXT"),
    ("summary_run", "cost", "FLOAT"),
    ("summary", "source", "TEXT DEFAULT 'llm' NOT NULL"),
    ("summary", "title_rank", "INTEGER"),
    ("summary", "note", "TEXT"),
    ("edit", "state", "TEXT DEFAULT 'done' NOT NULL"),
)
TABLES = (
    """
    CREATE TABLE edit_move (
        edit_id INTEGER NOT NULL REFERENCES edit (id),
        from_id INTEGER NOT NULL,
        to_id INTEGER NOT NULL,
        n_texts INTEGER NOT NULL,
        text_ids BLOB NOT NULL,
        PRIMARY KEY (edit_id, from_id, to_id)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE rule (
        id INTEGER NOT NULL PRIMARY KEY,
        condition TEXT NOT NULL,
        title TEXT NOT NULL,
        run_id TEXT,
        cluster_id INTEGER,
        editor TEXT,
        reason TEXT,
        created_at TEXT NOT NULL,
        enabled BOOLEAN NOT NULL
    )
    """,
    """
    CREATE TABLE llm_entry (
        key TEXT NOT NULL PRIMARY KEY,
        run_id TEXT,
        content TEXT NOT NULL,
        created_at TEXT NOT NULL
    ) WITHOUT ROWID
    """,
    "CREATE INDEX ix_llm_entry_run ON llm_entry (run_id, key)",
    """
    CREATE TABLE classification (
        classification_id TEXT NOT NULL PRIMARY KEY,
        template TEXT NOT NULL,
        template_hash TEXT NOT NULL,
        content TEXT NOT NULL,
        unit TEXT NOT NULL,
        method TEXT NOT NULL,
        model TEXT,
        run_id TEXT,
        parameters TEXT NOT NULL,
        n_labelled INTEGER NOT NULL,
        file TEXT NOT NULL,
        cost FLOAT,
        created_at TEXT NOT NULL
    )
    """,
    "CREATE INDEX ix_classification_template ON classification (template, created_at)",
    """
    CREATE TABLE reviewed_label (
        template TEXT NOT NULL,
        text_id INTEGER NOT NULL REFERENCES text (text_id),
        label TEXT NOT NULL,
        editor TEXT,
        created_at TEXT NOT NULL,
        PRIMARY KEY (template, text_id)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX ix_reviewed_label_text ON reviewed_label (text_id, template)",
)


def upgrade() -> None:
    """From 0003 to 0004. Edits that were imported stay as they are told: they can't be undone."""
    for table, column, kind in ADDED:
        op.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")
    op.execute("UPDATE edit SET state = 'kept'")
    # runs without vectors were imported, and called by what a model had said of them
    op.execute(
        "UPDATE cluster SET title_source = 'llm' WHERE"
        " run_id IN (SELECT run_id FROM run WHERE embedder_id IS NULL) AND EXISTS (SELECT 1 FROM summary_run r"
        " JOIN summary s ON s.summary_run_id = r.summary_run_id WHERE r.run_id = cluster.run_id"
        " AND s.cluster_id = cluster.cluster_id AND s.title = cluster.title)"
    )
    op.execute(
        "UPDATE run SET next_cluster_id = max(n_clusters, coalesce("
        "(SELECT max(cluster_id) + 1 FROM cluster WHERE cluster.run_id = run.run_id), 0))"
    )
    for statement in TABLES:
        op.execute(statement)


def downgrade() -> None:
    """From 0004 to 0003. What only 0004 can say goes: rules, labels, paid answers, and how edits are undone."""
    for table in ("reviewed_label", "classification", "llm_entry", "rule", "edit_move"):
        op.execute(f"DROP TABLE {table}")
    for table, column, _ in reversed(ADDED):
        op.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
