"""OpenAI's requests and answers: ``messages``, batch lines, logged request/response pairs, the Responses API.

It only knows how to recognise it; the core's `src/read/shapes/openai.rs` reads it.
"""

from __future__ import annotations

from typing import Any

from lmsys_rs.readers.fields import ConversationFormat
from lmsys_rs.readers.lmsys import first_object

__all__ = ["OPENAI", "is_openai"]

OPENAI = ConversationFormat(
    name="openai",
    shape="openai",
    turns=("messages",),
    role=("role",),
    content=("content",),
    answers=("response", "completion", "choices", "output", "preferred_output", "answer", "output_text", "request"),
    conversation_id=("conversation_id", "conversation_hash", "id", "uid", "request_id", "custom_id"),
)


def is_openai(element: dict[str, Any]) -> bool:
    """Messages, a request that holds them, or an answer with choices or output items."""
    return (
        _is_request(element)
        or _is_answer(element)
        or any(_is_request(_inner(element.get(name))) for name in ("body", "request", "input"))
    )


def _is_request(fields: dict[str, Any]) -> bool:
    fields = _inner(fields.get("body")) or fields
    if isinstance(fields.get("messages"), str):
        return True
    if "role" in first_object(fields.get("messages")):
        return True
    items = first_object(fields.get("input"))
    return "model" in fields and ("role" in items or items.get("type") == "message")


def _is_answer(fields: dict[str, Any]) -> bool:
    inner = _inner(fields.get("response"))
    for answer in (fields, inner, _inner(inner.get("body"))):
        if "message" in first_object(answer.get("choices")) or answer.get("object") == "response":
            return True
    return "custom_id" in fields and ("response" in fields or "error" in fields)


def _inner(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
