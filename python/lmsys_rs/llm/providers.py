"""Which providers we speak with, where they live, what they call things, and how fast one may go by default.

A provider is a row of a table: two wire formats cover all of them. It knows no key and sends nothing.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal

from lmsys_rs.errors import InvalidInputError

__all__ = ["PROVIDERS", "Provider", "provider_of", "split_spec"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One provider.

    Attributes:
        base_url: where its API starts.
        key_names: environment variables that may hold its key; the first is the one we name in messages.
        wire: format of requests and answers.
        local: the user runs it: no price, and no key unless one is set.
        max_tokens_name: how the wire calls the longest answer.
        rpm, tpm, concurrency: defaults, those of the lowest paid tier; 0 is no limit.
        batches: which batch API it has.
        minute_headers: its ``x-ratelimit-limit-*`` headers are about a minute (Groq's count requests of a day).
    """

    name: str
    base_url: str
    key_names: tuple[str, ...]
    wire: Literal["openai", "anthropic"] = "openai"
    local: bool = False
    max_tokens_name: str = "max_tokens"
    rpm: int = 0
    tpm: int = 0
    concurrency: int = 16
    batches: Literal["openai", "anthropic", "mistral"] | None = None
    minute_headers: bool = False
    key_page: str = ""


_ROWS = (
    Provider(
        name="openai",
        base_url="https://api.openai.com/v1",
        key_names=("OPENAI_API_KEY",),
        max_tokens_name="max_completion_tokens",
        rpm=500,
        tpm=200_000,
        batches="openai",
        minute_headers=True,
        key_page="https://platform.openai.com/api-keys",
    ),
    Provider(
        name="anthropic",
        base_url="https://api.anthropic.com/v1",
        key_names=("ANTHROPIC_API_KEY",),
        wire="anthropic",
        rpm=50,
        tpm=40_000,
        concurrency=8,
        batches="anthropic",
        minute_headers=True,
        key_page="https://platform.claude.com/settings/keys",
    ),
    Provider(
        name="google",
        base_url="https://generativelanguage.googleapis.com/v1beta/openai",
        key_names=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        rpm=150,
        tpm=1_000_000,
        key_page="https://aistudio.google.com/apikey",
    ),
    Provider(
        name="groq",
        base_url="https://api.groq.com/openai/v1",
        key_names=("GROQ_API_KEY",),
        rpm=30,
        tpm=6_000,
        concurrency=4,
        batches="openai",
        key_page="https://console.groq.com/keys",
    ),
    Provider(
        name="mistral",
        base_url="https://api.mistral.ai/v1",
        key_names=("MISTRAL_API_KEY",),
        rpm=60,
        tpm=500_000,
        concurrency=8,
        batches="mistral",
        key_page="https://console.mistral.ai/api-keys",
    ),
    Provider(
        name="cohere",
        base_url="https://api.cohere.ai/compatibility/v1",
        key_names=("COHERE_API_KEY", "CO_API_KEY"),
        rpm=500,
        concurrency=8,
        key_page="https://dashboard.cohere.com/api-keys",
    ),
    Provider(
        name="ollama",
        base_url="http://127.0.0.1:11434/v1",
        key_names=("OLLAMA_API_KEY",),
        local=True,
        concurrency=4,
    ),
    Provider(
        name="llamacpp",
        base_url="http://127.0.0.1:8080/v1",
        key_names=("LLAMA_API_KEY",),
        local=True,
        concurrency=4,
    ),
    Provider(
        name="vllm",
        base_url="http://127.0.0.1:8000/v1",
        key_names=("VLLM_API_KEY",),
        local=True,
        concurrency=32,
    ),
)

PROVIDERS = {row.name: row for row in _ROWS}
"""By name, in the order in which help lists them."""

_OTHER_NAMES = {"gemini": "google", "llama.cpp": "llamacpp", "llama-cpp": "llamacpp", "claude": "anthropic"}


def provider_of(name: str) -> Provider:
    """The provider of that name.

    Raises:
        InvalidInputError: there is none; near matches stand in the message.
    """
    name = _OTHER_NAMES.get(name.lower(), name.lower())
    if name in PROVIDERS:
        return PROVIDERS[name]
    near = difflib.get_close_matches(name, PROVIDERS, n=3, cutoff=0.5)
    raise InvalidInputError(
        f"unknown provider {name!r}: " + (f"did you mean {' or '.join(near)}?" if near else f"known are {_known()}"),
        hint="any server that speaks OpenAI's format works as openai/MODEL with --base-url",
    )


def split_spec(spec: str) -> tuple[Provider, str]:
    """``provider/model`` in two; a model may hold further slashes.

    Raises:
        InvalidInputError: it is not of that form, or the provider is unknown.
    """
    provider, slash, model = spec.strip().partition("/")
    if not slash or not provider or not model or any(c.isspace() for c in model):
        raise InvalidInputError(
            f"a model is named provider/model: {spec!r}",
            hint=f"openai/gpt-4o-mini, ollama/llama3.2, ...; providers: {_known()}",
        )
    return provider_of(provider), model


def _known() -> str:
    return ", ".join(PROVIDERS)
