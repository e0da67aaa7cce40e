"""Where a provider's key comes from, and how it stays out of everything that is shown, kept or logged.

A key is read when work starts, from the environment or the system's keyring, and lives in memory only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from lmsys_rs.config import provider_key
from lmsys_rs.errors import Unauthorized
from lmsys_rs.llm.providers import Provider

__all__ = ["KEYRING_SERVICE", "Key", "find_key", "scrub"]

KEYRING_SERVICE = "lmsys-rs"
"""``keyring set lmsys-rs openai`` keeps a key where `find_key` looks."""

# what keys look like, for those that a server quotes in part (``Incorrect API key provided: sk-ab***yz``)
_KEY_LIKE = re.compile(r"\b(?:sk|gsk|AIza|key|co)[-_][\w*.…-]{6,}|\bAIza[\w*-]{6,}|(?i:bearer)\s+[\w.~+/*-]{6,}=*")


@dataclass(frozen=True, slots=True)
class Key:
    """A secret; its text is in `reveal` only."""

    _text: str = field(repr=False)

    def reveal(self) -> str:
        """The key, for a header."""
        return self._text

    def __str__(self) -> str:
        return "Key(...)"


def find_key(provider: Provider, *, required: bool) -> Key | None:
    """The key of a provider.

    Raises:
        Unauthorized: there is none, and it is required.
    """
    service = None if provider.local else KEYRING_SERVICE
    text = provider_key(provider.key_names, service=service, user=provider.name)
    if text is not None:
        if not text.isascii() or not text.isprintable() or " " in text:
            raise Unauthorized(f"the key of {provider.name} holds characters that no key has")
        return Key(text)
    if not required:
        return None
    names = " and ".join(provider.key_names)
    raise Unauthorized(
        f"no key for {provider.name}: {names} {'is' if len(provider.key_names) == 1 else 'are'} not set, "
        "and the keyring has none",
        hint=f"export {provider.key_names[0]}=..., or: keyring set {KEYRING_SERVICE} {provider.name}"
        + (f"; keys are made at {provider.key_page}" if provider.key_page else ""),
    )


def scrub(text: str, key: Key | None, *, most: int = 500) -> str:
    """A text of a server for a message: without the key, or what looks like one, on one line, at most so long."""
    if key is not None:
        text = text.replace(key.reveal(), "[key]")
    return _KEY_LIKE.sub("[key]", " ".join(text.split()))[:most]
