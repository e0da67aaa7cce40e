"""Langfuse: exported traces and observations (JSON, JSONL, CSV, Parquet) with the ``input`` and ``output`` of each.

It only knows how to recognise it; the core's `src/read/shapes/langfuse.rs` reads it.
"""

from __future__ import annotations

from typing import Any

from lmsys_rs.readers.fields import ConversationFormat
from lmsys_rs.readers.lmsys import first_object

__all__ = ["LANGFUSE", "is_exchange", "is_langfuse"]

LANGFUSE = ConversationFormat(name="langfuse", shape="langfuse")

MARKS = frozenset(
    {
        *("traceId", "trace_id", "sessionId", "session_id", "projectId", "project_id", "observations", "htmlPath"),
        *("startTime", "start_time", "parentObservationId", "parent_observation_id", "completionStartTime"),
        *("usageDetails", "usage_details", "bookmarked"),
    }
)


def is_langfuse(element: dict[str, Any]) -> bool:
    """An input or output beside fields that only a trace or an observation has."""
    return any(
        _is_trace(inner) for inner in (element, *(first_object(element.get(name)) for name in ("data", "traces")))
    )


def _is_trace(element: dict[str, Any]) -> bool:
    if isinstance(element.get("observations"), list):
        return True
    return ("input" in element or "output" in element) and bool(MARKS & element.keys())


def is_exchange(element: dict[str, Any]) -> bool:
    """Any input with an output: read the same way."""
    return "input" in element and "output" in element
