"""OpenAI's chat completions, which most servers speak: those of Google, Groq, Mistral, Cohere, and all local ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lmsys_rs.llm.keys import Key
from lmsys_rs.llm.models import Model
from lmsys_rs.llm.values import Request
from lmsys_rs.llm.wires import Dialect, Reply, schema_in_words

__all__ = ["OpenAIWire"]

_REASONS = {"content_filter": "refusal", "tool_calls": "stop", "eos": "stop", "model_length": "length"}


class OpenAIWire:
    """``POST /chat/completions``."""

    path = "/chat/completions"

    def headers(self, key: Key | None) -> dict[str, str]:
        """A bearer token."""
        return {} if key is None else {"authorization": f"Bearer {key.reveal()}"}

    def body(self, model: Model, request: Request, dialect: Dialect, *, stream: bool = False) -> dict[str, Any]:
        """Messages, format and parameters."""
        system = request.system
        body: dict[str, Any] = {"model": model.name, dialect.max_tokens_name: request.max_output_tokens}
        if request.schema is not None:
            if dialect.formats == "schema":
                body["response_format"] = _format(request)
            else:
                system = f"{system}\n\n{schema_in_words(request.schema)}".strip()
                if dialect.formats == "object" and request.schema.get("type") == "object":
                    body["response_format"] = {"type": "json_object"}
        body["messages"] = [{"role": "system", "content": system}] if system else []
        body["messages"] += [{"role": turn.role, "content": turn.text} for turn in request.turns]
        if request.temperature is not None and dialect.temperature:
            body["temperature"] = request.temperature
        if request.seed is not None and dialect.seed:
            body["random_seed" if model.provider.name == "mistral" else "seed"] = request.seed
        if stream:
            body["stream"] = True
            if dialect.usage_in_stream:
                body["stream_options"] = {"include_usage": True}
        return body

    def reply(self, payload: Mapping[str, Any]) -> Reply | None:
        """The first choice."""
        choices = payload.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            return None
        message = choices[0].get("message") or {}
        return _reply(
            _text(message.get("content")), message.get("refusal"), choices[0].get("finish_reason"), payload.get("usage")
        )

    def reader(self) -> _Reader:
        """For one stream."""
        return _Reader()


class _Reader:
    """Chunks until ``[DONE]``; a stream without a finish reason was cut."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._refusals: list[str] = []
        self._finish_reason: str | None = None
        self._usage: Any = None
        self._done = False

    def feed(self, event: str, data: str) -> str:
        if data.strip() == "[DONE]":
            self._done = True
            return ""
        chunk = json.loads(data)
        self._usage = chunk.get("usage") or self._usage
        added = ""
        for choice in chunk.get("choices") or []:
            delta = choice.get("delta") or {}
            added += _text(delta.get("content"))
            self._refusals.append(delta.get("refusal") or "")
            self._finish_reason = choice.get("finish_reason") or self._finish_reason
        self._texts.append(added)
        return added

    def reply(self) -> Reply | None:
        if self._finish_reason is None or not self._done:
            return None
        return _reply("".join(self._texts), "".join(self._refusals) or None, self._finish_reason, self._usage)


def _format(request: Request) -> dict[str, Any]:
    assert request.schema is not None
    schema = {"name": request.schema_name, "schema": request.schema, "strict": _is_strict(request.schema)}
    return {"type": "json_schema", "json_schema": schema}


def _is_strict(schema: Any) -> bool:
    """Whether OpenAI's strict mode takes it: every property of every object required, no others allowed."""
    if isinstance(schema, Mapping):
        if schema.get("type") == "object" and (
            schema.get("additionalProperties") is not False
            or set(schema.get("required", ())) != set(schema.get("properties", ()))
        ):
            return False
        return all(_is_strict(value) for value in schema.values())
    return all(map(_is_strict, schema)) if isinstance(schema, (list, tuple)) else True


def _reply(text: str, refusal: str | None, finish_reason: str | None, usage: Any) -> Reply:
    usage = usage if isinstance(usage, Mapping) else {}
    reason = _REASONS.get(finish_reason or "stop", finish_reason or "stop")
    return Reply(
        text=text,
        finish_reason="refusal" if refusal else reason,
        refusal=refusal or ("the provider's filter stopped the answer" if reason == "refusal" else None),
        input_tokens=usage.get("prompt_tokens"),
        output_tokens=usage.get("completion_tokens"),
    )


def _text(content: Any) -> str:
    """Content is a string, or a list of parts."""
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""
