"""A provider on loopback, and a journal in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from memory_journal import MemoryJournal
from stand_in import StandIn, serving


@pytest.fixture
def serve() -> Iterator[Callable[..., StandIn]]:
    """Starts stand-ins that stop with the test."""
    with ExitStack() as stack:

        def start(*arguments: Any, **options: Any) -> StandIn:
            return stack.enter_context(serving(*arguments, **options))

        yield start


@pytest.fixture
def journal() -> MemoryJournal:
    return MemoryJournal()


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that are none, and no keyring of whoever runs the tests."""
    for name in ("OPENAI", "ANTHROPIC", "GROQ", "MISTRAL"):
        monkeypatch.setenv(f"{name}_API_KEY", f"sk-test-{name.lower()}-0123456789")
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
