"""Whether the tables of a workspace agree with each other: what SQLite can check, and what must be true beside it.

Every function takes a connection inside `Store.reading` (or, to mend, `Store.writing`). Files are not looked at.
"""

from __future__ import annotations

from sqlalchemy import Connection

__all__ = [
    *("broken_rules", "drop_graph", "drop_projection", "integrity_errors", "keys_of", "recount", "set_n_rows"),
    "set_segment_file",
]

MAX_ERRORS = 20

# each is a question whose answer must be no row; the first column says what is wrong
RULES = (
    "SELECT 'texts: ids are not dense: ' || count(*) || ' rows, highest id ' || max(text_id) FROM text"
    " HAVING count(*) > 0 AND count(*) <> max(text_id) + 1",
    "SELECT 'data set ' || d.name || ': ' || d.n_conversations || ' conversations are said, '"
    " || (SELECT count(*) FROM conversation c WHERE c.dataset_id = d.id) || ' are there' FROM dataset d"
    " WHERE d.n_conversations <> (SELECT count(*) FROM conversation c WHERE c.dataset_id = d.id)",
    "SELECT 'data set ' || d.name || ': ' || d.n_queries || ' queries are said, ' || q.n || ' are there'"
    " FROM dataset d JOIN (SELECT d.id AS id, count(q.id) AS n FROM dataset d"
    " LEFT JOIN conversation c ON c.dataset_id = d.id LEFT JOIN query q ON q.conversation_id = c.id GROUP BY d.id) q"
    " ON q.id = d.id WHERE d.n_queries <> q.n",
    "SELECT 'conversations: ' || (SELECT count(*) FROM conversation) || ' rows, '"
    " || (SELECT coalesce(sum(last_id - first_id + 1), 0) FROM segment) || ' in segments'"
    " WHERE (SELECT count(*) FROM conversation) <> (SELECT coalesce(sum(last_id - first_id + 1), 0) FROM segment)",
    "SELECT 'segments overlap at conversation ' || b.first_id FROM segment a JOIN segment b"
    " ON b.first_id > a.first_id AND b.first_id <= a.last_id",
    "SELECT 'run ' || r.run_id || ': ' || (r.n_texts + r.n_assigned) || ' members are said, '"
    " || (SELECT count(*) FROM membership m WHERE m.run_id = r.run_id) || ' are there' FROM run r"
    " WHERE r.n_texts + r.n_assigned <> (SELECT count(*) FROM membership m WHERE m.run_id = r.run_id)",
    "SELECT 'run ' || r.run_id || ': cluster ' || m.cluster_id || ' has members and does not exist' FROM run r"
    " JOIN (SELECT DISTINCT run_id, cluster_id FROM membership) m ON m.run_id = r.run_id"
    " WHERE NOT EXISTS (SELECT 1 FROM cluster c WHERE c.run_id = r.run_id AND c.cluster_id = m.cluster_id)",
    "SELECT 'memberships of a run that does not exist: ' || run_id FROM membership"
    " WHERE run_id NOT IN (SELECT run_id FROM run) GROUP BY run_id",
    "SELECT 'embedding ' || e.embedder_id || ': ' || e.n_rows || ' rows for '"
    " || (SELECT count(*) FROM text) || ' texts' FROM embedding e WHERE e.n_rows > (SELECT count(*) FROM text)",
)


def integrity_errors(connection: Connection) -> list[str]:
    """What SQLite finds wrong with the file itself, and rows that refer to nothing."""
    found = [str(row[0]) for row in connection.exec_driver_sql(f"PRAGMA integrity_check({MAX_ERRORS})")]
    lost = connection.exec_driver_sql("PRAGMA foreign_key_check").all()[:MAX_ERRORS]
    errors = [] if found == ["ok"] else found
    return errors + [f"{row[0]}: row {row[1]} refers to a row of {row[2]} that is not there" for row in lost]


def broken_rules(connection: Connection) -> list[str]:
    """Which of the rules that the tables obey together do not hold."""
    return [str(row[0]) for rule in RULES for row in connection.exec_driver_sql(rule).all()[:MAX_ERRORS]]


def recount(connection: Connection) -> None:
    """Write the counts of data sets and runs anew, from their rows."""
    connection.exec_driver_sql(
        "UPDATE dataset SET n_conversations = (SELECT count(*) FROM conversation c WHERE c.dataset_id = dataset.id),"
        " n_turns = (SELECT coalesce(sum(n_turns), 0) FROM conversation c WHERE c.dataset_id = dataset.id),"
        " n_queries = (SELECT count(*) FROM query q JOIN conversation c ON c.id = q.conversation_id"
        " WHERE c.dataset_id = dataset.id)"
    )
    connection.exec_driver_sql(
        "UPDATE run SET n_assigned = (SELECT count(*) FROM membership m WHERE m.run_id = run.run_id AND m.assigned),"
        " n_texts = (SELECT count(*) FROM membership m WHERE m.run_id = run.run_id AND NOT m.assigned)"
    )


def keys_of(connection: Connection, first_id: int, last_id: int) -> list[tuple[bytes, int]]:
    """(key, id) of the conversations from ``first_id`` to ``last_id``, by id."""
    rows = connection.exec_driver_sql(
        "SELECT key, id FROM conversation WHERE id BETWEEN ? AND ? ORDER BY id", (first_id, last_id)
    ).all()
    return [(bytes(key), int(id_)) for key, id_ in rows]


def drop_graph(connection: Connection, graph_id: str) -> None:
    """Let a stored graph not exist; it is built again when it is needed."""
    connection.exec_driver_sql("DELETE FROM graph WHERE graph_id = ?", (graph_id,))


def drop_projection(connection: Connection, projection_id: str) -> None:
    """Let a stored projection not exist; it is computed again when it is needed."""
    connection.exec_driver_sql("DELETE FROM projection WHERE projection_id = ?", (projection_id,))


def set_n_rows(connection: Connection, embedder_id: str, n_rows: int) -> None:
    """Declare that only the first rows of a vector file are valid."""
    connection.exec_driver_sql("UPDATE embedding SET n_rows = ? WHERE embedder_id = ?", (n_rows, embedder_id))
    connection.exec_driver_sql("DELETE FROM vector_block WHERE embedder_id = ? AND stop > ?", (embedder_id, n_rows))


def set_segment_file(connection: Connection, first_id: int, *, n_bytes: int, checksum: str) -> None:
    """Record that the file of a segment was written anew."""
    connection.exec_driver_sql(
        "UPDATE segment SET n_bytes = ?, checksum = ? WHERE first_id = ?", (n_bytes, checksum, first_id)
    )
