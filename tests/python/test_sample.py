"""The sample: the same numbers give the same conversations, and it says what it is."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from lmsys_rs.errors import InvalidInputError
from lmsys_rs.readers import open_conversations
from lmsys_rs.sample import LANGUAGES, MODELS, sample_conversations, write_sample

# of the JSON lines of 2,000 conversations with seed 0: a change of the sample is a change of every documented figure
PINNED = "1feb09f095eb1f176c19ae8a26dc74a70a52a3694b6103981e767b62decee14a"


def test_content_is_pinned() -> None:
    rows = sample_conversations()
    assert hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode()).hexdigest() == PINNED


def test_another_seed_gives_other_conversations() -> None:
    assert sample_conversations(50, seed=1) != sample_conversations(50, seed=2)


def test_sample_has_what_it_promises() -> None:
    rows = sample_conversations()
    topics = Counter(json.loads(row["meta"])["topic"] for row in rows)
    assert len(rows) == 2000
    assert len(topics) == 20
    assert min(topics.values()) > 50
    assert {row["language"] for row in rows} == set(LANGUAGES)
    assert {row["model"] for row in rows} == set(MODELS)
    assert {row["source"] for row in rows} == {"synthetic sample"}
    assert all(model.startswith("synthetic-") for model in MODELS)
    assert len({row["conversation_id"] for row in rows}) == 2000
    first = Counter(row["conversation"][0]["content"] for row in rows)
    assert 1_700 < len(first) < 1_990  # mostly distinct, with some exact duplicates
    assert sum(len(row["conversation"]) > 2 for row in rows) > 500
    assert not any("{" in text for text in first)


def test_topics_are_kept_through_the_reader(tmp_path: Path) -> None:
    path = write_sample(tmp_path / "s.jsonl.gz", n_conversations=20)
    batch = next(iter(open_conversations(path)))
    metas = [json.loads(json.loads(extra)["meta"]) for extra in batch.conversations["extra"]]
    assert all("topic" in meta for meta in metas)
    assert batch.conversations["timestamp"].null_count() == 0


def test_parquet_and_json_lines_hold_the_same(tmp_path: Path) -> None:
    frames = []
    for name in ("s.parquet", "s.jsonl", "s.jsonl.gz"):
        reader = open_conversations(write_sample(tmp_path / name, n_conversations=30))
        frames.append(pl.concat([b.conversations for b in reader]).drop("extra"))
    assert frames[0].equals(frames[1])
    assert frames[0].equals(frames[2])


def test_generation_is_quick() -> None:
    started = time.perf_counter()
    sample_conversations()
    assert time.perf_counter() - started < 2


def test_other_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"\.parquet, \.jsonl or \.jsonl\.gz: s\.txt"):
        write_sample(tmp_path / "s.txt", n_conversations=1)
    with pytest.raises(InvalidInputError, match="must be >= 1: 0"):
        sample_conversations(0)
