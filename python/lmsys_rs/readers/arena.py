"""Chatbot Arena and its benchmarks: battles of two models, questions with ``turns``, answers with ``choices``.

It only knows how to recognise it; the core's `src/read/shapes/arena.rs` reads it.
"""

from __future__ import annotations

from typing import Any

from lmsys_rs.readers.fields import ConversationFormat
from lmsys_rs.readers.lmsys import first_object

__all__ = ["ARENA", "is_arena"]

ARENA = ConversationFormat(
    name="arena",
    shape="arena",
    turns=("conversation_a",),
    role=("role",),
    content=("content",),
    conversation_id=("conversation_id", "question_id", "id"),
    model=("model_a",),
    timestamp=("timestamp", "tstamp"),
)


def is_arena(element: dict[str, Any]) -> bool:
    """Two conversations, texts called turns, or choices that hold such."""
    turns = element.get("turns")
    is_question = isinstance(turns, list) and bool(turns) and (isinstance(turns[0], str) or _has_text_only(turns[0]))
    is_battle = "conversation_a" in element and "conversation_b" in element
    return is_battle or is_question or "turns" in first_object(element.get("choices"))


def _has_text_only(turn: Any) -> bool:
    return isinstance(turn, dict) and "content" in turn and "role" not in turn
