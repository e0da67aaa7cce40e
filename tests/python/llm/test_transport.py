"""Headers that say how long to wait, and complaints that say what to leave out."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from lmsys_rs.llm import estimate_tokens
from lmsys_rs.llm.transport import _seconds, retry_after_s
from lmsys_rs.llm.wires import Dialect

NOW = datetime(2026, 11, 29, 12, 0, 0, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Sun, 29 Nov 2026 12:00:30 GMT"}, 31.0),
        ({"retry-after": "Sun, 29 Nov 2026 12:00:30 GMT", "date": "Sun, 29 Nov 2026 12:00:10 GMT"}, 21.0),
        ({"retry-after": "Sun, 29 Nov 2026 11:00:00 GMT"}, 1.0),
        ({"retry-after": "soon"}, None),
    ],
)
def test_retry_after_in_every_form(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers, NOW) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"), [("1s", 1), ("6m0s", 360), ("250ms", 0.25), ("1h2m3.5s", 3723.5), ("12", 12), ("", 0)]
)
def test_durations_of_limits(text: str, seconds: float) -> None:
    assert _seconds(text) == pytest.approx(seconds)


def test_a_dialect_leaves_out_what_a_server_complains_about() -> None:
    dialect = Dialect("max_completion_tokens")
    assert dialect.adapt("Unsupported parameter: 'max_completion_tokens' is not supported with this model")
    assert dialect.max_tokens_name == "max_tokens"
    assert dialect.adapt("'temperature' does not support 0.2 with this model")
    assert not dialect.temperature
    assert dialect.adapt("This model does not support response format `json_schema`")
    assert dialect.adapt("response_format json_object is unavailable")
    assert dialect.formats == "words"
    assert not dialect.adapt("response_format again")
    assert not dialect.adapt("messages must not be empty")
    assert dialect.version == 4


def test_tokens_are_estimated_by_script() -> None:
    assert estimate_tokens("a" * 400) == 100
    assert estimate_tokens("人" * 100) == 100
    assert 30 <= estimate_tokens("Привет, как дела? " * 5) <= 50
    assert estimate_tokens("") == 0
