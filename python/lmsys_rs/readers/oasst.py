"""Open Assistant: whole trees of messages, or single messages that name their parents.

It only knows how to recognise it; the core's `src/read/shapes/oasst.rs` reads it.
"""

from __future__ import annotations

from typing import Any

from lmsys_rs.readers.fields import ConversationFormat

__all__ = ["OASST", "is_oasst"]

OASST = ConversationFormat(name="oasst", shape="oasst")


def is_oasst(element: dict[str, Any]) -> bool:
    """A prompt with replies, or a message with the id of its tree."""
    prompt = element.get("prompt")
    is_tree = isinstance(prompt, dict) and ("replies" in prompt or "message_tree_id" in element)
    is_message = {"message_id", "parent_id", "text"} <= element.keys() and bool(
        {"role", "message_tree_id"} & element.keys()
    )
    return is_tree or is_message
