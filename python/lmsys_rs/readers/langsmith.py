"""LangSmith: exported runs (JSON, JSONL, Parquet, CSV) with the ``inputs`` and ``outputs`` of each.

It only knows how to recognise it; the core's `src/read/shapes/langsmith.rs` reads it.
"""

from __future__ import annotations

from typing import Any

from lmsys_rs.readers.fields import ConversationFormat
from lmsys_rs.readers.lmsys import first_object

__all__ = ["LANGSMITH", "is_langsmith"]

LANGSMITH = ConversationFormat(name="langsmith", shape="langsmith")


def is_langsmith(element: dict[str, Any]) -> bool:
    """Inputs and outputs as objects (in tables: as JSON), or a run that says its type."""
    return any(_is_run(inner) for inner in (element, *(first_object(element.get(name)) for name in ("runs", "data"))))


def _is_run(element: dict[str, Any]) -> bool:
    return "inputs" in element and ("run_type" in element or "outputs" in element)
