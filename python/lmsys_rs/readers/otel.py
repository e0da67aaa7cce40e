"""OpenTelemetry spans of model calls: OTLP/JSON or one span per line; GenAI conventions, OpenLLMetry, OpenInference.

It only knows how to recognise it; the core's `src/read/shapes/opentelemetry.rs` reads it.
"""

from __future__ import annotations

from typing import Any

from lmsys_rs.readers.fields import ConversationFormat
from lmsys_rs.readers.lmsys import first_object

__all__ = ["OTEL", "is_otel"]

OTEL = ConversationFormat(name="otel", shape="otel")

SPAN_IDS = frozenset({"spanId", "span_id", "spanID", "SpanId", "traceId", "trace_id", "context"})


def is_otel(element: dict[str, Any]) -> bool:
    """Spans by resource, a list of spans, or a span with attributes."""
    if any(isinstance(element.get(name), list) for name in ("resourceSpans", "resource_spans", "batches", "spans")):
        return True
    if "spans" in first_object(element.get("data")):
        return True
    has_attributes = any(name in element for name in ("attributes", "span_attributes", "SpanAttributes")) or (
        "tags" in element and "spanID" in element
    )
    return has_attributes and bool(SPAN_IDS & element.keys())
