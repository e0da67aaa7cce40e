"""Claude account exports: ``conversations.json``, or the .zip it comes in, with ``chat_messages`` in order.

It only knows how to recognise it; the core's `src/read/shapes/claude.rs` reads it.
"""

from __future__ import annotations

from typing import Any

from lmsys_rs.readers.fields import ConversationFormat

__all__ = ["CLAUDE", "is_claude"]

CLAUDE = ConversationFormat(name="claude", shape="claude")


def is_claude(element: dict[str, Any]) -> bool:
    """The one field that only this export has."""
    return isinstance(element.get("chat_messages"), list)
