"""ChatGPT account exports: ``conversations.json``, or the .zip it comes in; each conversation is a tree of messages.

It only knows how to recognise it; the core's `src/read/shapes/chatgpt.rs` reads it.
"""

from __future__ import annotations

from typing import Any

from lmsys_rs.readers.fields import ConversationFormat

__all__ = ["CHATGPT", "is_chatgpt"]

CHATGPT = ConversationFormat(name="chatgpt", shape="chatgpt")


def is_chatgpt(element: dict[str, Any]) -> bool:
    """A ``mapping`` of nodes that name parents and children."""
    nodes = element.get("mapping")
    if not isinstance(nodes, dict):
        return False
    first = next((node for node in nodes.values() if isinstance(node, dict)), {})
    return "current_node" in element or "children" in first or "parent" in first
