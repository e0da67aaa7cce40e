"""What is computed of a batch before the database is asked: keys, redaction, queries, distinct texts, signals, filters.

Pure: frames in, frames out. The texts never become Python objects here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl

from lmsys_rs import _core
from lmsys_rs.conditions import checked, effective_language
from lmsys_rs.extras import extra_as_json
from lmsys_rs.records import ConversationBatch, Filters
from lmsys_rs.store.batches import SIGNAL_COLUMNS, PreparedBatch

__all__ = ["Recipe", "conversation_keys", "id_keys", "prepare", "signals"]

DIALOGUE = -1  # position of a query that is the whole dialogue
ROLE_NAMES = {"user": "User", "assistant": "Assistant", "system": "System", "tool": "Tool"}
QUERY_SCHEMA = {"row": pl.UInt32(), "position": pl.Int64(), "text": pl.String()}


@dataclass(frozen=True)
class Recipe:
    """How the conversations of one file become queries.

    Attributes:
        unit: ``first``, ``turn`` or ``dialogue``.
        filters: a query must pass them; conversations left without one are left out.
        redact: replace personal data and secrets first.
        id_is_unique: the source's ids name conversations; otherwise (a table of texts) id and text together do.
    """

    unit: str
    filters: Filters = field(default_factory=Filters)
    redact: bool = False
    id_is_unique: bool = True
    dataset: str = ""

    def with_keys(self, conversations: pl.DataFrame) -> pl.DataFrame:
        """The conversations with the column ``key``, of what the source says (before any redaction)."""
        return conversations.with_columns(conversation_keys(conversations, self.id_is_unique).alias("key"))


def prepare(batch: ConversationBatch, recipe: Recipe, *, n_read: int) -> PreparedBatch:
    """Everything about a batch (whose conversations have keys) that needs no database."""
    conversations = batch.conversations
    turns = _turns(conversations)
    n_redacted = 0
    if recipe.redact:
        conversations, turns, n_redacted = _redacted(conversations, turns)
    queries = _queries(turns, recipe.unit)
    queries = queries.with_columns(pl.Series(_core.text_hashes(queries["text"])).alias("hash"))
    texts = queries.select("hash", "text").unique("hash", keep="first", maintain_order=True)
    texts = texts.hstack(signals(texts["text"]))
    n_filtered = 0
    if not recipe.filters.is_open:
        n_before = conversations.height
        conversations, queries = _passing(conversations, queries, texts, recipe)
        n_filtered = n_before - conversations.height
        texts = texts.join(queries, on="hash", how="semi", maintain_order="left")
    return PreparedBatch(
        conversations=conversations,
        queries=queries.select("row", "position", "hash"),
        texts=texts,
        signatures=np.asarray(_core.minhash_signatures(texts["text"])),
        problems=batch.problems,
        position=batch.position,
        done=batch.done,
        n_read=n_read,
        n_filtered=n_filtered,
        n_redacted=n_redacted,
    )


def signals(texts: pl.Series) -> pl.DataFrame:
    """The signals of each text (docs/signals.md), in the columns of table ``text``."""
    return pl.DataFrame(_core.text_signals(texts)).select(SIGNAL_COLUMNS)


def conversation_keys(conversations: pl.DataFrame, id_is_unique: bool) -> pl.Series:
    """16 bytes that stay the same when the same source is read again, whatever else is in the data set."""
    if id_is_unique and not conversations["conversation_id"].null_count():
        return id_keys(conversations["conversation_id"])
    by_id = pl.concat_str(pl.lit("i\x1f"), pl.col("conversation_id"))
    turn = pl.element().struct
    content = pl.col("turns").list.eval(
        pl.concat_str(turn.field("role").fill_null(""), pl.lit("\x1e"), turn.field("content").fill_null(""))
    )
    joined = content.list.join("\x1f")
    with_id = by_id if id_is_unique else pl.concat_str(by_id, pl.lit("\x1f"), joined)
    # rows without an id: the line tells two equal ones apart, so both are counted and a reload finds them again
    without_id = pl.concat_str(pl.lit("c\x1f"), pl.col("line").cast(pl.String), pl.lit("\x1f"), joined)
    texts = conversations.select(pl.coalesce(with_id, without_id)).to_series()
    return pl.Series(_core.text_hashes(texts))


def id_keys(ids: pl.Series) -> pl.Series:
    """The keys of conversations whose ids name them."""
    return pl.Series(_core.text_hashes(pl.Series("", ["i\x1f"]) + ids))


def _turns(conversations: pl.DataFrame) -> pl.DataFrame:
    """One row per turn: row, position, role, content."""
    return (
        conversations.select(
            pl.int_range(pl.len(), dtype=pl.UInt32).alias("row"),
            pl.int_ranges(pl.col("turns").list.len()).alias("position"),
            "turns",
        )
        .filter(pl.col("turns").list.len() > 0)
        .explode("position", "turns")
        .select(
            "row",
            "position",
            pl.col("turns").struct.field("role").fill_null("unknown"),
            pl.col("turns").struct.field("content").fill_null(""),
        )
    )


def _queries(turns: pl.DataFrame, unit: str) -> pl.DataFrame:
    """row, position and normalised text of every query that has text."""
    user = turns.filter(pl.col("role") == "user").select("row", "position", pl.col("content").alias("text"))
    if unit == "dialogue":
        with_text = _with_text(user)["row"].unique()
        role = pl.col("role")
        line = pl.concat_str(role.replace(ROLE_NAMES), pl.lit(": "), pl.col("content").str.strip_chars())
        rendered = (
            turns.filter(pl.col("row").is_in(with_text.implode()) & (pl.col("content").str.strip_chars() != ""))
            .group_by("row", maintain_order=True)
            .agg(line.alias("text"))
            .with_columns(pl.col("text").list.join("\n\n"), pl.lit(DIALOGUE, dtype=pl.Int64).alias("position"))
        )
        return _with_text(rendered.select("row", "position", "text"))
    if unit == "turn":
        return _with_text(user)
    # nearly always the very first user turn has text: the others need not be normalised
    first = user.unique("row", keep="first", maintain_order=True)
    found = _with_text(first)
    return found if found.height == first.height else _with_text(user).unique("row", keep="first", maintain_order=True)


def _with_text(rows: pl.DataFrame) -> pl.DataFrame:
    normalised = pl.Series(_core.normalize_texts(rows["text"])).alias("text")
    return rows.with_columns(normalised).filter(pl.col("text").str.len_bytes() > 0).cast(QUERY_SCHEMA)  # type: ignore[arg-type]  # names to dtypes


def _redacted(conversations: pl.DataFrame, turns: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    """Conversations and turns with personal data replaced, and in how many conversations there was some."""
    clean = pl.Series(_core.redact_texts(turns["content"])).alias("content")
    changed = set(turns["row"].filter(clean != turns["content"]).unique().to_list())
    turns = turns.with_columns(clean)
    grouped = turns.group_by("row", maintain_order=True).agg(pl.struct("role", "content").alias("turns"))
    rows = conversations.with_columns(pl.int_range(pl.len(), dtype=pl.UInt32).alias("row"))
    joined = rows.drop("turns").join(grouped, on="row", how="left", maintain_order="left")
    extra = joined.select(extra_as_json(conversations.schema["extra"])).to_series()
    clean_extra = pl.Series(_core.redact_texts(extra)).alias("extra")
    touched = (clean_extra != extra).fill_null(value=False)
    changed.update(np.flatnonzero(touched.to_numpy()).tolist())
    empty = pl.lit([], dtype=conversations.schema["turns"])
    conversations = joined.with_columns(
        pl.col("turns").cast(conversations.schema["turns"]).fill_null(empty), clean_extra
    ).select(conversations.columns)
    return conversations, turns, len(changed)


def _passing(
    conversations: pl.DataFrame, queries: pl.DataFrame, texts: pl.DataFrame, recipe: Recipe
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Only conversations with a query that passes the filters, and these queries."""
    metadata = conversations.select(
        pl.int_range(pl.len(), dtype=pl.UInt32).alias("row"),
        pl.lit(recipe.dataset).alias("dataset"),
        *("model", "timestamp"),
        pl.col("language").alias("source_language"),
        pl.col("turns").list.len().alias("n_turns"),
    )
    known_texts = texts.drop("text").rename({"language": "detected_language"})
    known = (
        queries.join(metadata, on="row", how="left", maintain_order="left")
        .join(known_texts, on="hash", how="left", maintain_order="left")
        .with_columns(effective_language())
    )
    queries = queries.filter(known.select(checked(recipe.filters, known.schema)).to_series())
    rows = queries["row"].unique(maintain_order=True)
    renumbered = pl.DataFrame({"row": rows, "new": pl.Series(range(len(rows)), dtype=pl.UInt32)})
    queries = queries.join(renumbered, on="row", how="left", maintain_order="left")
    return conversations[rows.to_list()], queries.with_columns(pl.col("new").alias("row")).drop("new")
