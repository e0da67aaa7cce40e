"""One plain text per row: a column of prompts in Parquet, CSV or JSON; each row is a conversation of one user turn.

It only knows the field names; files are opened and decoded by `containers`.
"""

from __future__ import annotations

from lmsys_rs.readers.fields import ConversationFormat

__all__ = ["TEXT"]

TEXT = ConversationFormat(
    name="text",
    text=("text", "prompt", "query", "question", "message", "user_prompt", "instruction", "content", "input"),
    conversation_id=("conversation_id", "id", "uid"),
)
