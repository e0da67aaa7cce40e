"""A sample to try things on: synthetic conversations over known topics, in the shape of LMSYS-Chat-1M.

It is made here, from templates; no person wrote or said any of it, and every row says so. The real LMSYS-Chat-1M is
gated and cannot be shipped.
"""

from __future__ import annotations

import json
import random
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from lmsys_rs.errors import InvalidInputError
from lmsys_rs.sample_topics import ANSWERS, FOLLOW_UPS, OPENERS, QUALIFIERS, TOPICS

__all__ = ["LANGUAGES", "MODELS", "sample_conversations", "write_sample"]

MODELS = ("synthetic-model-a", "synthetic-model-b", "synthetic-model-c", "synthetic-model-d", "synthetic-model-e")
LANGUAGES = {"English": 0.66, "German": 0.09, "Spanish": 0.09, "French": 0.08, "Chinese": 0.08}
SOURCE = "synthetic sample"
DUPLICATE_SHARE = 0.05
START = datetime(2025, 1, 1, tzinfo=timezone.utc)


def sample_conversations(n_conversations: int = 2000, *, seed: int = 0) -> list[dict[str, Any]]:
    """Synthetic conversations; the same numbers give the same conversations.

    Each has conversation_id, model, conversation, turn, language, timestamp, source and meta, a JSON string with the
    topic it was made from.

    Raises:
        InvalidInputError: ``n_conversations`` is not positive.
    """
    if n_conversations < 1:
        raise InvalidInputError(f"n_conversations must be >= 1: {n_conversations}")
    rng = random.Random(seed)
    names = sorted(TOPICS)
    rows: list[dict[str, Any]] = []
    first_turns: list[tuple[str, str, str]] = []
    for i in range(n_conversations):
        if first_turns and rng.random() < DUPLICATE_SHARE:
            topic, language, question = rng.choice(first_turns)
        else:
            topic = rng.choice(names)
            language = rng.choices(list(LANGUAGES), weights=list(LANGUAGES.values()))[0]
            question = _question(rng, topic, language)
            first_turns.append((topic, language, question))
        turns = _turns(rng, topic, language, question)
        rows.append(
            {
                "conversation_id": f"synthetic-{seed}-{i:06d}",
                "model": rng.choices(MODELS, weights=(5, 4, 3, 2, 1))[0],
                "conversation": turns,
                "turn": len(turns) // 2,
                "language": language,
                "timestamp": _time(rng, names.index(topic)).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
                "source": SOURCE,
                "meta": json.dumps({"topic": topic}),
            }
        )
    return rows


def write_sample(path: str | Path, *, n_conversations: int = 2000, seed: int = 0) -> Path:
    """Write the sample as Parquet (``.parquet``) or JSON lines (``.jsonl``, ``.jsonl.gz``); returns the path.

    Raises:
        InvalidInputError: another suffix.
    """
    path = Path(path)
    rows = sample_conversations(n_conversations, seed=seed)
    if path.name.endswith(".parquet"):
        import polars as pl

        frame = pl.DataFrame(rows).with_columns(
            pl.col("timestamp").str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", time_zone="UTC")
        )
        frame.write_parquet(path)
        return path
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    if path.name.endswith(".jsonl.gz"):
        import gzip

        path.write_bytes(gzip.compress(lines, mtime=0))
    elif path.name.endswith(".jsonl"):
        path.write_bytes(lines)
    else:
        raise InvalidInputError(f"the sample is written as .parquet, .jsonl or .jsonl.gz: {path.name}")
    return path


def _question(rng: random.Random, topic: str, language: str) -> str:
    templates = TOPICS[topic]["templates"][language]
    text = rng.choice(templates)
    for slot, values in TOPICS[topic]["slots"].items():
        while "{" + slot + "}" in text:
            text = text.replace("{" + slot + "}", rng.choice(values), 1)
    opener, qualifier = rng.choice(OPENERS[language]), rng.choice(QUALIFIERS[language])
    text = f"{opener}{text}{qualifier}"
    if not opener:
        text = text[:1].upper() + text[1:]
    return text if text[-1] in ".?!。？！" else text + ("？" if language == "Chinese" else "?")


def _turns(rng: random.Random, topic: str, language: str, question: str) -> list[dict[str, str]]:
    turns = [
        {"content": question, "role": "user"},
        {"content": rng.choice(ANSWERS[language]).format(topic=topic), "role": "assistant"},
    ]
    while rng.random() < 0.45 and len(turns) < 10:
        turns.append({"content": rng.choice(FOLLOW_UPS[language]), "role": "user"})
        turns.append({"content": rng.choice(ANSWERS[language]).format(topic=topic), "role": "assistant"})
    return turns


def _time(rng: random.Random, topic_number: int) -> datetime:
    """A moment of 2025: more of them late in the year, and every topic with its own season."""
    season = topic_number / len(TOPICS)
    share = rng.random() ** 0.8 if rng.random() < 0.7 else min(max(rng.gauss(season, 0.08), 0.0), 0.999)
    return START + timedelta(seconds=int(share * 365 * 24 * 3600))
