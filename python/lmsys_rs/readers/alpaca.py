"""Pairs of an instruction and an answer: Alpaca, Dolly, and prompt/completion files.

It only knows how to recognise it; the core's `src/read/shapes/alpaca.rs` reads it.
"""

from __future__ import annotations

from typing import Any

from lmsys_rs.readers.fields import ConversationFormat

__all__ = ["ALPACA", "is_alpaca"]

ALPACA = ConversationFormat(name="alpaca", shape="alpaca")


def is_alpaca(element: dict[str, Any]) -> bool:
    """An instruction with an output or a response, or a prompt with a completion or a response."""
    return _has(element, ("instruction",), ("output", "response")) or _has(
        element, ("prompt", "question"), ("completion", "response")
    )


def _has(element: dict[str, Any], asked: tuple[str, ...], answered: tuple[str, ...]) -> bool:
    return all(any(isinstance(element.get(name), str) for name in names) for names in (asked, answered))
