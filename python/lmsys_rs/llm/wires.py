"""What both wire formats have in common: what a reply is, and what a server was found not to understand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from lmsys_rs.llm.keys import Key
from lmsys_rs.llm.models import Model
from lmsys_rs.llm.values import Request

__all__ = ["Dialect", "Reply", "StreamReader", "Wire", "schema_in_words", "wire_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A complete answer as it came; token counts are None where the server does not say."""

    text: str
    finish_reason: str
    refusal: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


@dataclass(slots=True)
class Dialect:
    """What this server takes; `adapt` learns from its complaints, so it changes during a run.

    Attributes:
        formats: how the schema goes: ``schema`` (enforced), ``object`` (any JSON object, schema in the instructions) or
            ``words`` (instructions only).
        version: how often it was changed; a call made in an older one is simply made again.
    """

    max_tokens_name: str
    formats: str = "schema"
    temperature: bool = True
    seed: bool = True
    usage_in_stream: bool = True
    version: int = 0

    def adapt(self, complaint: str) -> bool:
        """Change what a server complained about (status 400 or 422); False if it is about something else."""
        said = complaint.lower()
        if self.usage_in_stream and "stream_options" in said:
            self.usage_in_stream = False
        elif self.max_tokens_name in said and any(word in said for word in ("unsupported", "not support", "unrecog")):
            other = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
            self.max_tokens_name = other[self.max_tokens_name]
        elif self.temperature and "temperature" in said:
            self.temperature = False
        elif self.seed and "seed" in said:
            self.seed = False
        elif self.formats != "words" and any(
            word in said
            for word in ("response_format", "json_schema", "json schema", "structured output", "json_object")
        ):
            self.formats = {"schema": "object", "object": "words"}[self.formats]
        else:
            return False
        self.version += 1
        return True


class StreamReader(Protocol):
    """Puts the pieces of one streamed answer together."""

    def feed(self, event: str, data: str) -> str:
        """One server-sent event; returns the text it adds."""
        ...

    def reply(self) -> Reply | None:
        """The whole answer; None if the stream was cut before its end."""
        ...


class Wire(Protocol):
    """How a request becomes bytes, and bytes a reply."""

    path: str

    def headers(self, key: Key | None) -> dict[str, str]:
        """What every call carries."""
        ...

    def body(self, model: Model, request: Request, dialect: Dialect, *, stream: bool = False) -> dict[str, Any]:
        """The JSON that is sent."""
        ...

    def reply(self, payload: Mapping[str, Any]) -> Reply | None:
        """The answer in a complete response; None if there is none in it."""
        ...

    def reader(self) -> StreamReader:
        """For one streamed response."""
        ...


def schema_in_words(schema: Mapping[str, Any]) -> str:
    """Instructions for a server that takes no schema."""
    return (
        "Answer with one JSON value and nothing else: no explanation, no code fence. It must be valid by this JSON "
        f"schema:\n{json.dumps(schema, ensure_ascii=False, separators=(',', ':'))}"
    )


def wire_of(model: Model) -> Wire:
    """The wire format of a model's provider."""
    from lmsys_rs.llm.anthropic_wire import AnthropicWire
    from lmsys_rs.llm.openai_wire import OpenAIWire

    return AnthropicWire() if model.provider.wire == "anthropic" else OpenAIWire()
