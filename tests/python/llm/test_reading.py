"""What can be saved from an answer is saved without paying again; what can't says why."""

from __future__ import annotations

from typing import Any

import pytest
from lmsys_rs.llm import JournalEntry, Request
from lmsys_rs.llm.reading import Bad, Good, follow_up, read_answer

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"names": {"type": "array", "items": {"type": "string"}}},
    "required": ["names"],
    "additionalProperties": False,
}
REQUEST = Request(purpose="x", messages="q", schema=SCHEMA, max_output_tokens=100)


def entry(text: str, finish_reason: str = "stop", refusal: str | None = None) -> JournalEntry:
    return JournalEntry(key="k", purpose="x", model="m", text=text, finish_reason=finish_reason, refusal=refusal)


@pytest.mark.parametrize(
    "text",
    [
        '{"names": ["a", "b"]}',
        '```json\n{"names": ["a", "b"]}\n```',
        'Sure!\n```\n{"names": ["a", "b"]}',
        'Here: {"names": ["a", "b"]} Anything else?',
        '{"names": ["a", "b",],}',
        '{"answer": {"names": ["a", "b"]}}',
        '[{"names": ["a", "b"]}]',
        '["a", "b"]',
    ],
)
def test_a_usable_answer_is_used(text: str) -> None:
    assert read_answer(REQUEST, entry(text)) == Good({"names": ["a", "b"]})


def test_a_list_that_was_cut_keeps_its_complete_elements() -> None:
    assert read_answer(REQUEST, entry('{"names": ["a", "b", "half of', "length")) == Good({"names": ["a", "b"]})


@pytest.mark.parametrize(
    ("text", "finish_reason", "kind"),
    [
        ("", "stop", "wrong"),
        ("no json", "stop", "wrong"),
        ('{"names": 3}', "stop", "wrong"),
        ('{"nam', "length", "cut"),
        ("I can't.", "refusal", "refused"),
        ("[" * 100_000, "stop", "wrong"),
    ],
)
def test_an_unusable_answer_says_why(text: str, finish_reason: str, kind: str) -> None:
    read = read_answer(REQUEST, entry(text, finish_reason))
    assert isinstance(read, Bad)
    assert read.kind == kind


def test_the_reason_names_the_place() -> None:
    read = read_answer(REQUEST, entry('{"names": ["a", 3]}'))
    assert read == Bad("names[1]: 3 is not of type 'string'", "wrong")


def test_a_cut_answer_gets_more_room_as_far_as_there_is() -> None:
    bad = Bad("cut", "cut")
    assert follow_up(REQUEST, entry("{", "length"), bad, most_output=None).max_output_tokens == 200
    shorter = follow_up(REQUEST, entry("{", "length"), bad, most_output=150)
    assert shorter.max_output_tokens == 100
    assert "shorter" in shorter.turns[-1].text


def test_no_follow_up_is_a_request_that_was_made() -> None:
    for kind in ("cut", "refused", "wrong"):
        seen, request = set(), REQUEST
        for _ in range(5):
            key = request.key("m", "h")
            assert key not in seen
            seen.add(key)
            request = follow_up(request, entry("bad"), Bad("reason", kind), most_output=150)


def test_a_key_depends_on_everything_that_decides_the_answer() -> None:
    base = {"purpose": "x", "messages": "q", "schema": SCHEMA}
    keys = {
        Request(**base).key("m", "h"),
        Request(**base).key("m2", "h"),
        Request(**base).key("m", "h2"),
        Request(**{**base, "messages": "r"}).key("m", "h"),
        Request(**{**base, "schema": None}).key("m", "h"),
        Request(**base, system="s").key("m", "h"),
        Request(**base, temperature=0.5).key("m", "h"),
        Request(**base, seed=1).key("m", "h"),
        Request(**base, max_output_tokens=7).key("m", "h"),
    }
    assert len(keys) == 9
    assert Request(**{**base, "purpose": "y"}).key("m", "h") in keys
    assert Request(purpose="x", messages="q").key("openai/m", "h") == (
        Request(purpose="x", messages="q").key("openai/m", "h")
    )


def test_half_characters_and_controls_do_not_come_through() -> None:
    raw = entry('{"names": ["\ud83d\ude00 \ud83d", "\\ud83d x\\u001b[31m\\u0000\\u202e"]}')
    assert raw.text.encode("utf-8")
    assert read_answer(REQUEST, raw) == Good({"names": ["\U0001f600 \ufffd", "\ufffd x[31m"]})
