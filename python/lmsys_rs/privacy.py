"""What may be shown to people outside: clusters of enough conversations and users, names without personal data.

The gate says and hides; it changes nothing in the workspace. A title of words that stood in few conversations may
be one person's words: then it is not shown, however large the cluster is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from lmsys_rs import _core, views
from lmsys_rs.errors import InvalidInputError
from lmsys_rs.records import NOISE, ClusterRecord, Filters, is_counted
from lmsys_rs.selection import passing
from lmsys_rs.session import Session
from lmsys_rs.store import reading

__all__ = ["MIN_CONVERSATIONS", "USER_FIELDS", "ClusterPrivacy", "gate", "personal_kinds", "shareable"]

MIN_CONVERSATIONS = 10
"""Distinct conversations that a cluster needs to be shown, unless told otherwise."""
USER_FIELDS = ("user_id", "hashed_ip", "user", "account_id", "session_user", "end_user_id")
"""Fields of a conversation's other data that name its user, first found first."""

# every kind has an at sign, digits, a long run without spaces, or a word for a secret
MAY_BE_PERSONAL = re.compile(
    r"[@:=]|\d\D{0,3}\d\D{0,3}\d|\S{16}|pass|pwd|secret|key|token|bearer|密码|密碼", re.IGNORECASE
)
UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
HIDDEN = "Clusters with too few conversations"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterPrivacy:
    """Whether a cluster may be shown, and as what.

    Attributes:
        n_users: distinct users; None where the source names none.
        title, description: as they may be shown: personal data replaced, single texts left out.
        reasons: why it may not be shown, or what was replaced; empty where all is well.
    """

    cluster_id: int
    title: str
    description: str
    n_queries: int
    n_conversations: int
    n_users: int | None
    shown: bool
    reasons: tuple[str, ...]


def gate(
    session: Session,
    run_id: str = "latest",
    *,
    min_conversations: int = MIN_CONVERSATIONS,
    min_users: int | None = None,
) -> list[ClusterPrivacy]:
    """What of a run may be shown, largest cluster first.

    Args:
        min_conversations: distinct conversations that a cluster must have.
        min_users: distinct users that it must have where the source names them; None asks for as many as
            conversations, 0 for none.

    Raises:
        InvalidInputError: there is no such run, or a number below 1 (0 of users).
    """
    if min_conversations < 1 or (min_users is not None and min_users < 0):
        raise InvalidInputError(f"a cluster must have at least one conversation: got {min_conversations}")
    min_users = min_conversations if min_users is None else min_users
    with session.store.reading() as connection:
        run = reading.get_run(connection, run_id)
        clusters = [c for c in reading.clusters(connection, run.run_id) if c.cluster_id != NOISE]
        members = reading.members(connection, run.run_id).select("text_id", "cluster_id")
    filters = Filters.from_dict(run.filters).without_limit()
    found = passing(session, filters, ("conversation_id", "text_id"), text_ids=members["text_id"].to_numpy())
    table = found.join(members, on="text_id", how="inner").join(_users(session), on="conversation_id", how="left")
    counted = table.group_by("cluster_id").agg(
        pl.col("conversation_id").n_unique().alias("conversations"),
        pl.col("user").drop_nulls().n_unique().alias("users"),
    )
    n_of = {row[0]: (row[1], row[2]) for row in counted.rows()}
    has_users = table["user"].null_count() < table.height
    common = _words_in(session, table, clusters, min_conversations, min_users if has_users else 0)
    result = [
        _judged(c, n_of.get(c.cluster_id, (0, 0)), has_users, min_conversations, min_users, common) for c in clusters
    ]
    return sorted(result, key=lambda one: (-one.n_queries, one.cluster_id))


def shareable(judged: Sequence[ClusterPrivacy], *, min_conversations: int = MIN_CONVERSATIONS) -> pl.DataFrame:
    """One row for each cluster that may be shown, and one for all others together; no text, no number of a query.

    Where the others are one cluster alone, or too few conversations together, the smallest that might be shown are put
    among them: else their row, or what is missing from a total, would tell what is hidden.

    Columns cluster_id and n_conversations (null for the others), title, description, n_queries, share.
    """
    total = sum(one.n_queries for one in judged)
    shown = [one for one in judged if one.shown]
    hidden = [one for one in judged if not one.shown]
    while hidden and shown and (len(hidden) < 2 or sum(one.n_conversations for one in hidden) < min_conversations):
        hidden.append(shown.pop())
    rows: list[tuple[int | None, str, str, int, int | None]] = [
        (one.cluster_id, one.title, one.description, one.n_queries, one.n_conversations) for one in shown
    ]
    if hidden:
        text = f"{len(hidden):,} clusters that are not shown by themselves."
        rows.append((None, HIDDEN, text, sum(one.n_queries for one in hidden), None))
    frame = pl.DataFrame(
        rows,
        schema={
            "cluster_id": pl.Int32,
            "title": pl.String,
            "description": pl.String,
            "n_queries": pl.Int64,
            "n_conversations": pl.Int64,
        },
        orient="row",
    )
    return frame.with_columns((pl.col("n_queries") / max(1, total)).round(4).alias("share"))


def personal_kinds(text: str) -> list[str]:
    """Kinds of personal data and secrets in a text, by name; see docs/signals.md for what is found."""
    if not MAY_BE_PERSONAL.search(text):
        return []  # a call of the core costs a millisecond, and names are checked one by one
    bits = int(pl.DataFrame(_core.text_signals([text]))["personal"][0])
    return [name for name, bit in _core.PERSONAL_KINDS.items() if bits & bit]


def _judged(
    record: ClusterRecord,
    counts: tuple[int, int],
    has_users: bool,
    min_conversations: int,
    min_users: int,
    common: Mapping[int, set[str]],
) -> ClusterPrivacy:
    n_conversations, n_users = counts
    hidden, replaced = [], []
    if n_conversations < min_conversations:
        hidden.append(f"{n_conversations} conversations, {min_conversations} are needed")
    if has_users and n_users < min_users:
        hidden.append(f"{n_users} users, {min_users} are needed")
    title, description = record.title, record.description
    if _is_of_texts(record):
        kept = [part for part in _parts(title) if part.casefold() in common.get(record.cluster_id, set())]
        kept = kept or [t for t, _ in record.terms if t.casefold() in common.get(record.cluster_id, set())][:3]
        if kept != _parts(title):
            replaced.append("words of few conversations in the title")
            title = ", ".join(kept)
            title = title[:1].upper() + title[1:] or f"Cluster {record.cluster_id}"
    # a title of one's own may stand over the offline description, which quotes a text
    if record.title_source == "offline" or record.title_source == "none" or is_counted(description):
        description = f"{record.n_queries:,} queries."
    for name, text in (("title", title), ("description", description)):
        kinds = personal_kinds(text)
        if kinds:
            replaced.append(f"{', '.join(kinds)} in the {name}")
    title, description = pl.Series(_core.redact_texts([title, description])).to_list()
    return ClusterPrivacy(
        cluster_id=record.cluster_id,
        title=title,
        description=description,
        n_queries=record.n_queries,
        n_conversations=n_conversations,
        n_users=n_users if has_users else None,
        shown=not hidden,
        reasons=(*hidden, *replaced),
    )


def _is_of_texts(record: ClusterRecord) -> bool:
    """Whether a title is made of words of single texts: offline ones, also where only a description was given."""
    terms = {term.casefold() for term, _ in record.terms}
    return record.title_source in ("offline", "none") or (
        record.title_source == "user" and all(part.casefold() in terms for part in _parts(record.title))
    )


def _parts(title: str) -> list[str]:
    return [part.strip() for part in title.split(",") if part.strip()]


def _words_in(
    session: Session,
    table: pl.DataFrame,
    clusters: Sequence[ClusterRecord],
    min_conversations: int,
    min_users: int,
) -> dict[int, set[str]]:
    """Per cluster those title parts and terms that enough conversations (and users) of it hold, case folded."""
    found: dict[int, set[str]] = {}
    parts = table.select("cluster_id", "text_id", "conversation_id", "user").partition_by("cluster_id", as_dict=True)
    for record in clusters:
        if not _is_of_texts(record):
            continue
        wanted = {part.casefold() for part in (*_parts(record.title), *(term for term, _ in record.terms))}
        here = parts.get((record.cluster_id,), table.clear())
        ids = here["text_id"].unique().sort()
        with session.store.reading() as connection:
            texts = reading.texts_of(connection, ids.to_numpy()).str.to_lowercase()
        found[record.cluster_id] = set()
        for part in wanted:
            # the texts of one conversation are one voice, and so are the conversations of one user
            holds = here.filter(pl.col("text_id").is_in(ids.filter(texts.str.contains(_as_words(part))).implode()))
            if holds["conversation_id"].n_unique() < min_conversations:
                continue
            if holds["user"].drop_nulls().n_unique() >= min_users:
                found[record.cluster_id].add(part)
    return found


def _as_words(part: str) -> str:
    """A pattern for whole words; of scripts without spaces for the characters."""
    pattern = re.escape(part)
    first, last = (r"\b" if c.isalnum() and not UNSPACED.match(c) else "" for c in (part[0], part[-1]))
    return f"{first}{pattern}{last}"


def _users(session: Session) -> pl.DataFrame:
    """conversation_id and user (null where the source names none)."""
    extra = pl.col("extra")
    fields = [extra.str.json_path_match(f"$.{name}") for name in USER_FIELDS]
    user = pl.coalesce(pl.when(field != "").then(field) for field in fields).alias("user")
    return views.conversations(session).select(pl.col("id").alias("conversation_id"), user).collect()
