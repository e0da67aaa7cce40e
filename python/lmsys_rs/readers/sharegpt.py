"""The ShareGPT shape: a list of ``{from, value}`` turns whose speakers are called human and gpt.

It only knows the field names; files are opened and decoded by `containers`.
"""

from __future__ import annotations

from lmsys_rs.readers.fields import ConversationFormat

__all__ = ["SHAREGPT"]

SHAREGPT = ConversationFormat(
    name="sharegpt",
    turns=("conversations", "conversation", "items", "messages"),
    role=("from",),
    content=("value", "text"),
)
