"""The LMSYS-Chat-1M shape: a list of ``{role, content}`` turns, as Chatbot Arena and many files since write it.

It only knows the field names; files are opened and decoded by `containers`.
"""

from __future__ import annotations

from typing import Any

from lmsys_rs.readers.fields import ConversationFormat

__all__ = ["LMSYS", "has_role_turns"]

LMSYS = ConversationFormat(
    name="lmsys",
    turns=("conversation", "messages", "conversations", "conversation_a", "turns", "dialogue", "dialog"),
    role=("role",),
    # some judges' files wrap the answer: {"role": "assistant", "content": {"answer": "..."}}
    content=("content.answer", "content"),
)


def has_role_turns(element: dict[str, Any]) -> bool:
    """A list of objects with a role, under one of the known names."""
    return any("role" in first_object(element.get(name)) for name in LMSYS.turns)


def first_object(value: Any) -> dict[str, Any]:
    """The first object of a list; an empty one if there is none."""
    if not isinstance(value, list):
        return {}
    return next((item for item in value if isinstance(item, dict)), {})
