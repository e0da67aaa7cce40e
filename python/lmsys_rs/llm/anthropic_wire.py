"""Anthropic's messages: a schema goes as the only tool, which the model has to call."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lmsys_rs.llm.keys import Key
from lmsys_rs.llm.models import Model
from lmsys_rs.llm.values import Request
from lmsys_rs.llm.wires import Dialect, Reply

__all__ = ["AnthropicWire"]

API_VERSION = "2023-06-01"
_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
}


class AnthropicWire:
    """``POST /messages``."""

    path = "/messages"

    def headers(self, key: Key | None) -> dict[str, str]:
        """The key has a header of its own."""
        return {"anthropic-version": API_VERSION, **({} if key is None else {"x-api-key": key.reveal()})}

    def body(self, model: Model, request: Request, dialect: Dialect, *, stream: bool = False) -> dict[str, Any]:
        """Messages, the tool, parameters."""
        body: dict[str, Any] = {
            "model": model.name,
            "max_tokens": request.max_output_tokens,
            "messages": [{"role": turn.role, "content": turn.text} for turn in request.turns],
        }
        if request.system:
            body["system"] = request.system
        if request.schema is not None:
            # a tool's input is an object; another value goes in one and comes out again
            schema = request.schema if request.schema.get("type") == "object" else _boxed(request.schema)
            body["tools"] = [{"name": request.schema_name, "description": "Give the answer.", "input_schema": schema}]
            body["tool_choice"] = {"type": "tool", "name": request.schema_name}
        if request.temperature is not None and dialect.temperature:
            body["temperature"] = request.temperature
        if stream:
            body["stream"] = True
        return body

    def reply(self, payload: Mapping[str, Any]) -> Reply | None:
        """The tool's input as JSON text, or the text."""
        content = payload.get("content")
        if not isinstance(content, list):
            return None
        tools = [json.dumps(b.get("input"), ensure_ascii=False) for b in content if b.get("type") == "tool_use"]
        texts = [str(b.get("text") or "") for b in content if b.get("type") == "text"]
        return _reply(tools[0] if tools else "".join(texts), payload.get("stop_reason"), payload.get("usage"))

    def reader(self) -> _Reader:
        """For one stream."""
        return _Reader()


class _Reader:
    """Events until ``message_stop``."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._tools: list[str] = []
        self._stop_reason: str | None = None
        self._usage: dict[str, Any] = {}
        self._done = False

    def feed(self, event: str, data: str) -> str:
        payload = json.loads(data)
        kind = payload.get("type", event)
        if kind == "message_start":
            self._usage.update(payload.get("message", {}).get("usage") or {})
        elif kind == "message_delta":
            self._stop_reason = payload.get("delta", {}).get("stop_reason") or self._stop_reason
            self._usage.update(payload.get("usage") or {})
        elif kind == "message_stop":
            self._done = True
        elif kind == "content_block_delta":
            delta = payload.get("delta") or {}
            if delta.get("type") == "input_json_delta":
                self._tools.append(delta.get("partial_json") or "")
                return self._tools[-1]
            self._texts.append(delta.get("text") or "")
            return self._texts[-1]
        return ""

    def reply(self) -> Reply | None:
        if not self._done:
            return None
        return _reply("".join(self._tools) or "".join(self._texts), self._stop_reason, self._usage)


def _boxed(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {"value": schema}, "required": ["value"], "additionalProperties": False}


def _reply(text: str, stop_reason: str | None, usage: Any) -> Reply:
    usage = usage if isinstance(usage, Mapping) else {}
    reason = _REASONS.get(stop_reason or "end_turn", stop_reason or "stop")
    cached = (usage.get("cache_read_input_tokens") or 0) + (usage.get("cache_creation_input_tokens") or 0)
    return Reply(
        text=text,
        finish_reason=reason,
        refusal=(text or "the model declined") if reason == "refusal" else None,
        input_tokens=None if usage.get("input_tokens") is None else usage["input_tokens"] + cached,
        output_tokens=usage.get("output_tokens"),
    )
