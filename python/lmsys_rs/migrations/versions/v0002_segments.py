"""Turns move into Parquet segments, texts get signals, a data set may come from several files, files get checksums.

Written out, not taken from `store.schema`: a migration must keep doing what it did when the schema moves on.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

CONVERSATIONS_PER_SEGMENT = 8192

NEW_TABLES = (
    """
    CREATE TABLE source (
        id INTEGER NOT NULL,
        dataset_id INTEGER NOT NULL,
        path TEXT NOT NULL,
        format TEXT NOT NULL,
        column_mapping TEXT NOT NULL,
        filters TEXT NOT NULL,
        redacted BOOLEAN NOT NULL,
        fingerprint TEXT NOT NULL,
        created_at TEXT NOT NULL,
        finished BOOLEAN NOT NULL,
        position INTEGER NOT NULL,
        n_conversations INTEGER NOT NULL,
        n_problems INTEGER NOT NULL,
        PRIMARY KEY (id),
        UNIQUE (dataset_id, fingerprint),
        FOREIGN KEY(dataset_id) REFERENCES dataset (id)
    )
    """,
    """
    CREATE TABLE segment (
        first_id INTEGER NOT NULL,
        last_id INTEGER NOT NULL,
        source_id INTEGER NOT NULL,
        file TEXT NOT NULL,
        n_bytes INTEGER NOT NULL,
        checksum TEXT NOT NULL,
        PRIMARY KEY (first_id),
        UNIQUE (file),
        FOREIGN KEY(source_id) REFERENCES source (id)
    )
    """,
    "CREATE INDEX ix_segment_source ON segment (source_id, first_id)",
    """
    CREATE TABLE array_file (
        file TEXT NOT NULL,
        kind TEXT NOT NULL,
        n_bytes INTEGER NOT NULL,
        checksum TEXT NOT NULL,
        created_at TEXT NOT NULL,
        PRIMARY KEY (file)
    )
    """,
    "CREATE INDEX ix_array_file_kind ON array_file (kind, file)",
    """
    CREATE TABLE workspace_value (
        name TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (name)
    )
     WITHOUT ROWID
    """,
    """
    CREATE TABLE vector_block (
        embedder_id TEXT NOT NULL,
        start INTEGER NOT NULL,
        stop INTEGER NOT NULL,
        checksum TEXT NOT NULL,
        PRIMARY KEY (embedder_id, start),
        FOREIGN KEY(embedder_id) REFERENCES embedding (embedder_id)
    )
     WITHOUT ROWID
    """,
)

# what people and language models say about runs
SAID_TABLES = (
    """
    CREATE TABLE summary_run (
        summary_run_id TEXT NOT NULL,
        run_id TEXT NOT NULL,
        alias TEXT,
        model TEXT,
        parameters TEXT NOT NULL,
        created_at TEXT NOT NULL,
        PRIMARY KEY (summary_run_id),
        FOREIGN KEY(run_id) REFERENCES run (run_id)
    )
    """,
    "CREATE INDEX ix_summary_run_run ON summary_run (run_id, created_at)",
    """
    CREATE TABLE summary (
        summary_run_id TEXT NOT NULL,
        cluster_id INTEGER NOT NULL,
        title TEXT NOT NULL,
        description TEXT NOT NULL,
        n_queries INTEGER,
        representatives TEXT NOT NULL,
        PRIMARY KEY (summary_run_id, cluster_id),
        FOREIGN KEY(summary_run_id) REFERENCES summary_run (summary_run_id)
    )
     WITHOUT ROWID
    """,
    """
    CREATE TABLE hierarchy (
        hierarchy_id TEXT NOT NULL,
        run_id TEXT NOT NULL,
        parameters TEXT NOT NULL,
        created_at TEXT NOT NULL,
        PRIMARY KEY (hierarchy_id),
        FOREIGN KEY(run_id) REFERENCES run (run_id)
    )
    """,
    "CREATE INDEX ix_hierarchy_run ON hierarchy (run_id, created_at)",
    """
    CREATE TABLE hierarchy_node (
        hierarchy_id TEXT NOT NULL,
        node_id INTEGER NOT NULL,
        level INTEGER NOT NULL,
        parent_id INTEGER,
        title TEXT NOT NULL,
        description TEXT NOT NULL,
        PRIMARY KEY (hierarchy_id, node_id),
        FOREIGN KEY(hierarchy_id) REFERENCES hierarchy (hierarchy_id)
    )
     WITHOUT ROWID
    """,
    """
    CREATE TABLE edit (
        id INTEGER NOT NULL,
        run_id TEXT NOT NULL,
        cluster_id INTEGER,
        kind TEXT NOT NULL,
        editor TEXT,
        old TEXT NOT NULL,
        new TEXT NOT NULL,
        reason TEXT,
        created_at TEXT NOT NULL,
        PRIMARY KEY (id),
        FOREIGN KEY(run_id) REFERENCES run (run_id)
    )
    """,
    "CREATE INDEX ix_edit_cluster ON edit (run_id, cluster_id, id)",
    """
    CREATE TABLE cluster_note (
        run_id TEXT NOT NULL,
        cluster_id INTEGER NOT NULL,
        coherence INTEGER,
        quality TEXT,
        flags TEXT NOT NULL,
        notes TEXT,
        updated_at TEXT NOT NULL,
        PRIMARY KEY (run_id, cluster_id),
        FOREIGN KEY(run_id) REFERENCES run (run_id)
    )
     WITHOUT ROWID
    """,
)

RUN_COLUMNS = (
    "run_id, algorithm, parameters, description, embedder_id, selection_hash, filters, n_clusters, n_texts, n_queries,"
    " n_noise, seed, labeled, program_version, created_at, seconds"
)

RUN = """
    CREATE TABLE run_{version} (
        run_id TEXT NOT NULL,
        algorithm TEXT NOT NULL,
        parameters TEXT NOT NULL,
        description TEXT,
        embedder_id TEXT{embedder},
        selection_hash TEXT NOT NULL,
        filters TEXT NOT NULL,
        n_clusters INTEGER NOT NULL,
        n_texts INTEGER NOT NULL,
        n_queries INTEGER NOT NULL,
        n_noise INTEGER NOT NULL,{assigned}
        seed INTEGER,
        labeled BOOLEAN NOT NULL,
        program_version TEXT NOT NULL,
        created_at TEXT NOT NULL,
        seconds FLOAT NOT NULL,
        PRIMARY KEY (run_id),
        FOREIGN KEY(embedder_id) REFERENCES embedding (embedder_id)
    )
"""

NEW_DATASET = """
    CREATE TABLE dataset_new (
        id INTEGER NOT NULL,
        name TEXT NOT NULL,
        description TEXT,
        unit TEXT NOT NULL,
        created_at TEXT NOT NULL,
        n_conversations INTEGER NOT NULL,
        n_turns INTEGER NOT NULL,
        n_queries INTEGER NOT NULL,
        n_problems INTEGER NOT NULL,
        PRIMARY KEY (id),
        UNIQUE (name)
    )
"""

OLD_DATASET = """
    CREATE TABLE dataset_old (
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
"""

NEW_CONVERSATION = """
    CREATE TABLE conversation_new (
        id INTEGER NOT NULL,
        dataset_id INTEGER NOT NULL,
        "key" BLOB NOT NULL,
        source_id TEXT,
        model TEXT,
        language TEXT,
        timestamp INTEGER,
        n_turns INTEGER NOT NULL,
        line INTEGER NOT NULL,
        PRIMARY KEY (id),
        UNIQUE (dataset_id, "key"),
        FOREIGN KEY(dataset_id) REFERENCES dataset (id)
    )
"""

OLD_CONVERSATION = """
    CREATE TABLE conversation_old (
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
"""

OLD_TURN = """
    CREATE TABLE turn (
        conversation_id INTEGER NOT NULL,
        position INTEGER NOT NULL,
        role TEXT NOT NULL,
        content TEXT NOT NULL,
        PRIMARY KEY (conversation_id, position),
        FOREIGN KEY(conversation_id) REFERENCES conversation (id)
    )
     WITHOUT ROWID
"""

SIGNALS = (
    ("n_words", "INTEGER"),
    ("language", "TEXT"),
    ("language_confidence", "FLOAT"),
    ("quality", "FLOAT"),
    ("quality_length", "FLOAT"),
    ("quality_letters", "FLOAT"),
    ("quality_repetition", "FLOAT"),
    ("quality_variety", "FLOAT"),
    ("quality_wording", "FLOAT"),
    ("personal", "INTEGER"),
    ("template", "INTEGER"),
)


def upgrade() -> None:
    """From 0001 to 0002; signals stay null until the program computes them. Runs with foreign keys off."""
    folder = _folder()
    for statement in NEW_TABLES:
        op.execute(statement)
    for name, kind in SIGNALS:
        op.execute(f"ALTER TABLE text ADD COLUMN {name} {kind}")
    op.execute("INSERT INTO workspace_value (name, value) SELECT 'signals', 'missing' FROM text LIMIT 1")
    # rowids are the order of the runs
    op.execute(RUN.format(version="new", embedder="", assigned=" n_assigned INTEGER NOT NULL,"))
    op.execute(f"INSERT INTO run_new (rowid, {RUN_COLUMNS}, n_assigned) SELECT rowid, {RUN_COLUMNS}, 0 FROM run")
    op.execute("ALTER TABLE membership ADD COLUMN assigned BOOLEAN NOT NULL DEFAULT 0")
    op.execute(
        "INSERT INTO source (dataset_id, path, format, column_mapping, filters, redacted, fingerprint, created_at,"
        " finished, position, n_conversations, n_problems)"
        " SELECT id, source, format, column_mapping, '{}', 0, fingerprint, created_at, finished, position,"
        " n_conversations, n_problems FROM dataset ORDER BY id"
    )
    _write_segments(folder)
    op.execute(NEW_DATASET)
    op.execute(
        "INSERT INTO dataset_new SELECT d.id, d.name, d.description, 'first', d.created_at, d.n_conversations,"
        " (SELECT count(*) FROM turn t JOIN conversation c ON c.id = t.conversation_id WHERE c.dataset_id = d.id),"
        " d.n_queries, d.n_problems FROM dataset d ORDER BY d.id"
    )
    op.execute(NEW_CONVERSATION)
    op.execute(
        'INSERT INTO conversation_new SELECT id, dataset_id, "key", source_id, model, language,'
        # 2023-04-27T12:00:00.123456Z
        " CAST(strftime('%s', substr(timestamp, 1, 19)) AS INTEGER) * 1000000"
        " + CAST(substr(timestamp, 21, 6) AS INTEGER),"
        " (SELECT count(*) FROM turn t WHERE t.conversation_id = conversation.id), line FROM conversation ORDER BY id"
    )
    for table in ("turn", "conversation", "dataset", "run"):
        op.drop_table(table)
    for table in ("conversation", "dataset", "run"):
        op.rename_table(f"{table}_new", table)
    op.execute("CREATE INDEX ix_run_created_at ON run (created_at)")
    for statement in SAID_TABLES:
        op.execute(statement)


def downgrade() -> None:
    """From 0002 to 0001: turns back into the database.

    What 0001 can't hold is dropped: signals, checksums, units, runs without vectors, and what was said about runs. Of
    several files of a data set the newest is kept as its source. Runs with foreign keys off.
    """
    op.execute(OLD_DATASET)
    op.execute(
        "INSERT INTO dataset_old SELECT d.id, d.name, s.path, s.format, d.description, s.column_mapping, s.fingerprint,"
        " d.created_at, s.finished, s.position, d.n_conversations, d.n_queries, d.n_problems"
        " FROM dataset d JOIN source s ON s.id = (SELECT max(id) FROM source WHERE dataset_id = d.id) ORDER BY d.id"
    )
    op.execute(OLD_CONVERSATION)
    op.execute(
        'INSERT INTO conversation_old SELECT id, dataset_id, "key", source_id, model, language,'
        # division towards minus infinity: times before 1970 are negative
        " strftime('%Y-%m-%dT%H:%M:%S', (timestamp - ((timestamp % 1000000) + 1000000) % 1000000) / 1000000,"
        " 'unixepoch') || printf('.%06dZ', ((timestamp % 1000000) + 1000000) % 1000000),"
        " NULL, line FROM conversation ORDER BY id"
    )
    op.execute(OLD_TURN)
    folder, connection = _folder(), op.get_bind()
    files = [row[0] for row in connection.exec_driver_sql("SELECT file FROM segment ORDER BY first_id").all()]
    for file in files:
        conversations = pl.read_parquet(folder / file, glob=False)
        turns = _turn_rows(conversations)
        if turns:
            connection.exec_driver_sql("INSERT INTO turn VALUES (?, ?, ?, ?)", turns)
        extras = conversations.select(_as_json(conversations).alias("extra"), "id").drop_nulls().rows()
        if extras:
            connection.exec_driver_sql("UPDATE conversation_old SET extra = ? WHERE id = ?", extras)
    op.execute(RUN.format(version="old", embedder=" NOT NULL", assigned=""))
    imported = "(SELECT run_id FROM run WHERE embedder_id IS NULL)"
    for table in ("membership", "cluster"):
        op.execute(f"DELETE FROM {table} WHERE run_id IN {imported}")
    op.execute(
        f"INSERT INTO run_old (rowid, {RUN_COLUMNS}) SELECT rowid, {RUN_COLUMNS} FROM run WHERE embedder_id IS NOT NULL"
    )
    for table in ("summary", "summary_run", "hierarchy_node", "hierarchy", "edit", "cluster_note"):
        op.drop_table(table)
    for table in ("conversation", "dataset", "run"):
        op.drop_table(table)
    for table in ("conversation", "dataset", "run"):
        op.rename_table(f"{table}_old", table)
    op.execute("CREATE INDEX ix_conversation_source_id ON conversation (source_id)")
    op.execute("CREATE INDEX ix_run_created_at ON run (created_at)")
    for table in ("segment", "source", "vector_block", "array_file", "workspace_value"):
        op.drop_table(table)
    for name, _ in SIGNALS:
        op.execute(f"ALTER TABLE text DROP COLUMN {name}")
    op.execute("ALTER TABLE membership DROP COLUMN assigned")


def _folder() -> Path:
    """The workspace: the folder of the database."""
    return Path(op.get_bind().exec_driver_sql("PRAGMA database_list").all()[0][2]).parent


def _write_segments(folder: Path) -> None:
    connection = op.get_bind()
    (folder / "conversations").mkdir(exist_ok=True)
    for source_id, dataset_id in connection.exec_driver_sql("SELECT id, dataset_id FROM source ORDER BY id").all():
        for conversations in _conversation_pages(connection, dataset_id):
            first, last = int(conversations["id"][0]), int(conversations["id"][-1])
            file = f"conversations/{first:010d}-{last:010d}.parquet"
            path = folder / file
            aside = path.with_name(f".{path.name}.{os.getpid()}")
            try:
                conversations.write_parquet(aside, compression="zstd", compression_level=1)
                with aside.open("r+b") as handle:
                    os.fsync(handle.fileno())
                aside.replace(path)
            finally:
                aside.unlink(missing_ok=True)
            checksum = hashlib.sha256(path.read_bytes()).hexdigest()
            connection.exec_driver_sql(
                "INSERT INTO segment (first_id, last_id, source_id, file, n_bytes, checksum) VALUES (?, ?, ?, ?, ?, ?)",
                (first, last, source_id, file, path.stat().st_size, checksum),
            )


def _conversation_pages(connection: Any, dataset_id: int) -> Iterator[pl.DataFrame]:
    """Conversations of a data set as segments hold them. A segment is a range of ids: another data set ends it."""
    after = 0
    while True:
        rows = connection.exec_driver_sql(
            "SELECT id, source_id, model, language, timestamp, extra, line FROM conversation"
            " WHERE dataset_id = ? AND id > ? ORDER BY id LIMIT ?",
            (dataset_id, after, CONVERSATIONS_PER_SEGMENT),
        ).all()
        if not rows:
            return
        ids = [row[0] for row in rows]
        # another data set may have been loaded in between: one page can have gaps
        stop = next((i for i in range(1, len(ids)) if ids[i] != ids[i - 1] + 1), len(ids))
        after = ids[stop - 1]
        turns = connection.exec_driver_sql(
            "SELECT conversation_id, role, content FROM turn WHERE conversation_id BETWEEN ? AND ?"
            " ORDER BY conversation_id, position",
            (ids[0], after),
        ).all()
        yield _segment_frame(rows[:stop], turns)


def _segment_frame(rows: Sequence[Any], turns: Sequence[Any]) -> pl.DataFrame:
    turn = pl.Struct({"role": pl.String, "content": pl.String})
    frame = pl.DataFrame(
        [tuple(row) for row in rows],
        schema={
            "id": pl.Int64,
            "conversation_id": pl.String,
            "model": pl.String,
            "language": pl.String,
            "timestamp": pl.String,
            "extra": pl.String,
            "line": pl.UInt64,
        },
        orient="row",
    ).with_columns(pl.col("timestamp").str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", time_zone="UTC"))
    grouped = (
        pl.DataFrame([tuple(row) for row in turns], schema=["id", "role", "content"], orient="row")
        .cast({"id": pl.Int64, "role": pl.String, "content": pl.String})
        .select("id", pl.struct("role", "content").alias("turns"))
        .group_by("id", maintain_order=True)
        .agg("turns")
    )
    joined = frame.join(grouped, on="id", how="left", maintain_order="left")
    empty = pl.lit([], dtype=pl.List(turn))
    return joined.select(
        *("id", "conversation_id", "model", "language", "timestamp"),
        pl.col("turns").cast(pl.List(turn)).fill_null(empty),
        *("extra", "line"),
    )


def _turn_rows(conversations: pl.DataFrame) -> list[tuple[Any, ...]]:
    return (
        conversations.filter(pl.col("turns").list.len() > 0)
        .select("id", pl.int_ranges(pl.col("turns").list.len()).alias("position"), "turns")
        .explode("position", "turns")
        .select("id", "position", pl.col("turns").struct.field("role"), pl.col("turns").struct.field("content"))
        .rows()
    )


def _as_json(conversations: pl.DataFrame) -> pl.Expr:
    dtype = conversations.schema["extra"]
    if isinstance(dtype, pl.Struct):
        return pl.col("extra").struct.json_encode()
    return pl.col("extra").cast(pl.String)
