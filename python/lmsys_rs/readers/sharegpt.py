"""The ShareGPT shape: a list of ``{from, value}`` turns whose speakers are called human and gpt.

It only knows the field names; files are opened and decoded by `containers`.
"""

from __future__ import annotations

from typing import Any

from lmsys_rs.readers.fields import ConversationFormat
from lmsys_rs.readers.lmsys import first_object

__all__ = ["SHAREGPT", "has_from_turns"]

SHAREGPT = ConversationFormat(
    name="sharegpt",
    turns=("conversations", "conversation", "items", "messages"),
    role=("from",),
    content=("value", "text"),
)


def has_from_turns(element: dict[str, Any]) -> bool:
    """A list of objects that say whom they are from."""
    firsts = (first_object(element.get(name)) for name in SHAREGPT.turns)
    return any("from" in first and "role" not in first for first in firsts)
