"""Is personal data found and replaced, and is what looks like it left alone?"""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lmsys_rs import _core

KINDS = _core.PERSONAL_KINDS
PIECES = st.sampled_from(
    [
        *("ada@example.org", "+14155552671", "(212) 555-0123", "10.1.2.33", "4111 1111 1111 1111", "219-09-9999"),
        *("DE89370400440532013000", "api_key=9f86d081884c7d659a2feaa0c55ad015", "https://ada:tr0ub4dor@h.org"),
        *("tel: ", "version ", "password='", "12", "3.", "@", "+", " ", "-", "a", "é", "电话", "://", "Bearer "),
    ]
)


def kinds(text: str) -> set[str]:
    bits = pl.DataFrame(_core.text_signals([text]))["personal"][0]
    return {name for name, bit in KINDS.items() if bits & bit}


def redacted(text: str) -> str:
    return str(pl.Series(_core.redact_texts([text]))[0])


def test_every_kind_has_one_bit() -> None:
    assert list(KINDS) == ["email", "phone", "ip", "card", "iban", "ssn", "secret", "url_credentials"]
    assert list(KINDS.values()) == [1 << bit for bit in range(len(KINDS))]


@pytest.mark.parametrize(
    ("text", "kind", "after"),
    [
        ("mail ada@example.org please", "email", "mail [EMAIL] please"),
        ("ring +49 151 12345678 today", "phone", "ring [PHONE] today"),
        ("ping 203.0.113.77", "ip", "ping [IP]"),
        ("pay with 4111 1111 1111 1111", "card", "pay with [CARD]"),
        ("to DE89 3704 0044 0532 0130 00", "iban", "to [IBAN]"),
        ("ssn 219-09-9999", "ssn", "ssn [SSN]"),
        ("OPENAI_API_KEY=sk-" + "a8F3kQ9zLm2Xw7Rt5Yb1Nc4V", "secret", "OPENAI_API_KEY=[KEY]"),
        ("get https://ada:tr0ub4dor@host.org/x", "url_credentials", "get https://[CREDENTIALS]@host.org/x"),
    ],
)
def test_each_kind_is_found_and_replaced(text: str, kind: str, after: str) -> None:
    assert kinds(text) == {kind}
    assert redacted(text) == after


@pytest.mark.parametrize(
    "text",
    [
        "What is 1234567890 + 9876543210? Show 15 digits: 123456789012345",
        "python 3.11.4, build 10.0.19041.1, version 1.2.3.4",
        "commit e3b0c44298fc1c149afbf4c8996fb92427ae41e4 and id 550e8400-e29b-41d4-a716-446655440000",
        "for key, token in zip(keys, tokens): secret = make_secret(key)",
        "user@ or @user, 12:30:45, ::1, 1::2",
    ],
)
def test_numbers_and_code_are_left_alone(text: str) -> None:
    assert kinds(text) == set()
    assert redacted(text) == text


@settings(deadline=None, max_examples=500)
@given(st.lists(PIECES | st.text(max_size=5), max_size=12).map("".join))
def test_a_redacted_text_holds_nothing_and_stays_as_it_is(text: str) -> None:
    after = redacted(text)
    assert kinds(after) == set()
    assert redacted(after) == after
    assert (after == text) == (kinds(text) == set())


@pytest.mark.slow
def test_few_ordinary_prompts_are_marked(shared_data: Path) -> None:
    banking = pl.read_csv(shared_data / "labelled" / "banking77.csv")["text"]
    voice = pl.read_parquet(shared_data / "labelled" / "hwu64.parquet")["text"]
    arena = pl.read_parquet(shared_data / "chats" / "arena_prompts.parquet")["conversation"]
    arena = arena.list.first().struct.field("content")
    for texts in (banking, voice, arena):
        # people who tried a voice assistant gave it real addresses
        rest = (1 << len(KINDS)) - 1 - KINDS["email"]
        marked = (pl.DataFrame(_core.text_signals(texts))["personal"] & rest) > 0
        assert marked.mean() < 0.0005, texts.filter(marked).to_list()[:20]
