"""WildChat: LMSYS-shaped conversations whose turns carry who asked from where; the first turn's number is the key.

It only knows the field names; ``conversation_hash`` names equal texts, not one conversation, and is kept beside.
"""

from __future__ import annotations

from typing import Any

from lmsys_rs.readers.fields import ConversationFormat
from lmsys_rs.readers.lmsys import first_object

__all__ = ["WILDCHAT", "is_wildchat"]

WILDCHAT = ConversationFormat(
    name="wildchat",
    turns=("conversation",),
    role=("role",),
    content=("content",),
    turn_id=("turn_identifier",),
    conversation_id=(),
)


def is_wildchat(element: dict[str, Any]) -> bool:
    """Its turns are numbered over the whole data set."""
    return "turn_identifier" in first_object(element.get("conversation"))
