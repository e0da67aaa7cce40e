"""One plain text per row: a column of prompts in Parquet, CSV or JSON; each row is a conversation of one user turn.

It only knows the field names; files are opened and decoded by `containers`.
"""

from __future__ import annotations

from typing import Any

from lmsys_rs.readers.fields import ConversationFormat

__all__ = ["TEXT", "has_text"]

TEXT = ConversationFormat(
    name="text",
    text=("text", "prompt", "query", "question", "message", "user_prompt", "instruction", "content", "input"),
    conversation_id=("conversation_id", "id", "uid"),
    ids_are_unique=False,
)


def has_text(element: dict[str, Any]) -> bool:
    """A text under one of the known names."""
    return any(isinstance(element.get(name), str) for name in TEXT.text)
