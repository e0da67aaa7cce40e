"""The public files that the readers cover load completely: the counts are those of the data's own README."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from lmsys_rs.readers import open_conversations

# file, format, conversations, user turns
FILES = [
    ("chats/arena_prompts.parquet", "lmsys", 21_232, 21_232),
    ("chats/arena_hard.parquet", "lmsys", 8_098, 8_098),
    ("chats/hh_helpful.jsonl.gz", "lmsys", 3_886, 8_751),
    ("chats/halie.parquet", "lmsys", 824, 16_331),
    ("chats/sgd.parquet", "lmsys", 17_193, 156_125),
    ("chats/multilingual_queries.parquet", "lmsys", 93_443, 93_443),
    ("chats/user_turns_distinct.parquet", "text", 252_817, 252_817),
    ("labelled/banking77.csv", "text", 13_083, 13_083),
    ("labelled/hwu64.parquet", "text", 11_036, 11_036),
    ("labelled/sib200_train_dev.parquet", "text", 164_000, 164_000),
    ("raw/arena_hard_v2_question.jsonl", "text", 750, 750),
    ("raw/arena_hard_v0.1_answers_gpt-4-0314.jsonl", "openai", 500, 500),
    ("raw/arena_bench_v1_answers_claude-1.jsonl", "arena", 300, 0),
    ("raw/mt_bench_question.jsonl", "arena", 80, 160),
    ("raw/hh_helpful_online_test.jsonl.gz", "hh", 1_137, None),
    ("raw/fastchat_dummy_conversation.json", "sharegpt", 500, None),
    ("raw/awesome_chatgpt_prompts.csv", "text", 211, 211),
]


@pytest.mark.parametrize(("name", "format_", "n_conversations", "n_user_turns"), FILES, ids=[f[0] for f in FILES])
def test_counts_equal_the_readme(
    shared_data: Path, name: str, format_: str, n_conversations: int, n_user_turns: int | None
) -> None:
    reader = open_conversations(shared_data / name)
    assert reader.format == format_
    conversations = user_turns = 0
    for batch in reader:
        assert not batch.problems
        conversations += batch.conversations.height
        turns = batch.conversations.select(pl.col("turns").explode().struct.field("role"))
        user_turns += turns.filter(pl.col("role") == "user").height
    assert conversations == n_conversations
    if n_user_turns is not None:
        assert user_turns == n_user_turns


def test_answer_objects_of_arena_files_become_text(shared_data: Path) -> None:
    batch = next(iter(open_conversations(shared_data / "raw/arena_hard_v0.1_answers_gpt-4-0314.jsonl")))
    turns = batch.conversations["turns"][0]
    assert turns[0]["content"] == "Tell me how to implement a SCIM server in PHP using slim as a router"
    assert turns[1]["content"].startswith("To implement a SCIM")
    assert batch.conversations["timestamp"].null_count() == 0
