"""Pairs of a chosen and a rejected conversation: HH-RLHF transcripts and files for preference tuning.

It only knows how to recognise it; the core's `src/read/shapes/hh.rs` reads it.
"""

from __future__ import annotations

from typing import Any

from lmsys_rs.readers.fields import ConversationFormat

__all__ = ["HH", "is_hh"]

HH = ConversationFormat(name="hh", shape="hh")


def is_hh(element: dict[str, Any]) -> bool:
    """Both sides are there, as texts or as messages."""
    return all(isinstance(element.get(side), (str, list, dict)) for side in ("chosen", "rejected"))
