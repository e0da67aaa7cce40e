"""Does the JSON reader give the same conversations and the same line numbers however the bytes come?"""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lmsys_rs import _core
from lmsys_rs.errors import InvalidInputError
from lmsys_rs.records import CONVERSATION_SCHEMA

MAPPING: dict[str, Any] = {
    "conversation_id": ["conversation_id", "id"],
    "turns": ["conversation", "conversations"],
    "role": ["role", "from"],
    "content": ["content", "value"],
    "model": ["model", "meta.model"],
    "language": "language",
    "timestamp": ["timestamp", "tstamp"],
    "roles": {"human": "user", "gpt": "assistant"},
}

Problems = list[tuple[int, str]]


def read(
    data: bytes, sizes: tuple[int, ...] = (), mapping: dict[str, Any] = MAPPING, **keywords: Any
) -> tuple[pl.DataFrame, Problems]:
    """All conversations and problems of data that is fed in pieces of the given sizes, the rest at once."""
    reader = _core.JsonReader(mapping, **keywords)
    frames, problems = [], []
    for size in sizes:
        piece, data = data[:size], data[size:]
        batch, broken = reader.feed(piece)
        frames.append(pl.DataFrame(batch))
        problems += broken
    batch, broken = reader.feed(data, final=True)
    return pl.concat([*frames, pl.DataFrame(batch)]), [*problems, *broken]


def line(**fields: Any) -> str:
    return json.dumps({"conversation": [{"role": "user", "content": "hi"}], **fields})


RICH = [
    {"id": "a", "conversation": [{"role": "user", "content": 'x ] } , " \\ \u2028 é 👩'}], "model": "m", "n": [1, [2]]},
    {"conversation_id": "b", "conversations": [{"from": "human", "value": "日本語"}, {"from": "gpt", "value": "\n"}]},
    {"id": 7, "conversation": [], "meta": {"model": "m2", "k": {}}, "timestamp": 1_700_000_000.5},
]
LINES = "\n".join(json.dumps(item, ensure_ascii=bool(i % 2)) for i, item in enumerate(RICH))
ARRAY = json.dumps(RICH, ensure_ascii=False, indent=1)
DOCUMENTS = {
    "lines": LINES,
    "lines-end": LINES + "\n",
    "lines-crlf": LINES.replace("\n", "\r\n"),
    "lines-blank": "\n \n" + LINES.replace("\n", "\n\n\t\n") + "\n\n",
    "lines-broken": "{]\n" + LINES + '\n[1]\n{"conversation": 3}\nnull\n' + LINES + '\n{"conversation": [',
    "array": ARRAY,
    "array-tight": json.dumps(RICH, separators=(",", ":")),
    "array-broken": ARRAY[:-2] + ', 5, {"no": 1}, [[1], "]"]]',
    "array-cut": ARRAY[:-9],
    "empty": "",
    "blank": " \n\t\n",
}


@settings(deadline=None, max_examples=40)
@given(sizes=st.lists(st.integers(0, 40), max_size=40).map(tuple), mark=st.booleans())
@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_size_of_the_pieces_does_not_matter(document: str, sizes: tuple[int, ...], mark: bool) -> None:
    data = b"\xef\xbb\xbf" * mark + DOCUMENTS[document].encode()
    (whole, problems), (found, found_problems) = read(data), read(data, sizes)
    assert found.equals(whole)
    assert found_problems == problems


@pytest.mark.parametrize("document", DOCUMENTS)
def test_single_bytes_and_a_byte_order_mark_give_what_the_whole_gives(document: str) -> None:
    data = DOCUMENTS[document].encode()
    (whole, problems), (found, found_problems) = read(data), read(data, (1,) * len(data))
    marked, marked_problems = read(b"\xef\xbb\xbf" + data, (1, 1, 1))
    assert found.equals(whole)
    assert marked.equals(whole)
    assert found_problems == problems == marked_problems


def test_batches_have_the_schema_of_conversations() -> None:
    for data in (b"", LINES.encode(), b"{}\n", line(timestamp="2024-01-01").encode()):
        frame, _ = read(data)
        assert frame.schema == CONVERSATION_SCHEMA


def test_fields_are_found_under_their_alternatives_and_the_rest_is_kept() -> None:
    frame, problems = read(LINES.encode())
    assert problems == []
    assert frame["conversation_id"].to_list() == ["a", "b", "7"]
    assert frame["model"].to_list() == ["m", None, "m2"]
    assert frame["turns"].to_list() == [
        [{"role": "user", "content": 'x ] } , " \\ \u2028 é 👩'}],
        [{"role": "user", "content": "日本語"}, {"role": "assistant", "content": "\n"}],
        [],
    ]
    assert [extra and json.loads(extra) for extra in frame["extra"]] == [{"n": [1, [2]]}, None, {"meta": {"k": {}}}]
    assert frame["timestamp"].to_list()[2] == datetime(2023, 11, 14, 22, 13, 20, 500_000, tzinfo=timezone.utc)
    assert frame["line"].to_list() == [1, 2, 3]


def test_a_text_field_is_one_user_turn() -> None:
    frame, problems = read(b'{"prompt": "one"}\n{"prompt": ["two", {"text": "three"}]}\n', mapping={"text": "prompt"})
    assert problems == []
    assert frame["turns"].to_list() == [
        [{"role": "user", "content": "one"}],
        [{"role": "user", "content": "two\nthree"}],
    ]


def test_broken_lines_are_numbered_as_in_an_editor_and_the_others_are_kept() -> None:
    lines = [line(id=i) for i in range(1, 10_001)]
    lines[16], lines[4_999], lines[9_999] = "{broken", "", '{"conversation": 5}'
    frame, problems = read("\n".join(lines).encode(), (1_000, 77_777))
    assert [number for number, _ in problems] == [17, 10_000]
    assert "not JSON" in problems[0][1]
    assert "conversation" in problems[1][1]
    assert "a number" in problems[1][1]
    assert len(frame) == 9_997
    assert frame["line"].to_list() == [int(value) for value in frame["conversation_id"]]


def test_elements_of_an_array_are_numbered_by_position() -> None:
    frame, problems = read(f"[{line()}, 3, {line()}, {{}}]".encode())
    assert frame["line"].to_list() == [1, 3]
    assert [number for number, _ in problems] == [2, 4]
    assert "need a JSON object: got a number" in problems[0][1]


@pytest.mark.parametrize("cut", [1, 5, 30])
def test_a_cut_off_file_is_seen(cut: int) -> None:
    for text in (f"[{line()}, {line()}]", f"{line()}\n{line()}"):
        frame, problems = read(text[:-cut].encode())
        assert len(frame) >= 1
        # an array also lacks its end
        assert len(problems) == 1 or (text.startswith("[") and len(problems) == 2)


@pytest.mark.parametrize(
    "text",
    [
        '{"conversation": [{"role": "user", "content": "a\\ud800b"}]}',
        '{"conversation": [{"role": "user", "content": "a\\udc00b"}]}',
    ],
)
def test_a_lone_surrogate_becomes_one_replacement_character(text: str) -> None:
    frame, problems = read(text.encode())
    assert problems == []
    assert frame["turns"].to_list()[0][0]["content"] == "a\ufffdb"


def test_nan_and_infinity_are_read_as_null() -> None:
    frame, problems = read(b'{"conversation": [], "score": NaN, "x": [-Infinity, Infinity], "s": "NaN \\"NaN"}')
    assert problems == []
    assert json.loads(frame["extra"][0]) == {"score": None, "x": [None, None], "s": 'NaN "NaN'}


def test_bytes_that_are_not_utf8_break_their_own_line_only() -> None:
    frame, problems = read(line().encode() + b'\n{"conversation": [], "x": "\xff\xfe"}\n' + line().encode())
    assert frame["line"].to_list() == [1, 3]
    assert problems[0][0] == 2
    assert "UTF-8" in problems[0][1]


def test_nesting_without_end_is_a_broken_line() -> None:
    frame, problems = read(b'{"conversation": ' + b"[" * 100_000 + b"\n" + line().encode())
    assert [number for number, _ in problems] == [1]
    assert len(frame) == 1


def test_nul_emoji_and_five_megabytes_pass() -> None:
    content = "nul \x00 👩‍💻 " + "long " * 1_000_000
    frame, _ = read(json.dumps({"conversation": [{"role": "user", "content": content}]}).encode(), (1_000_000,) * 3)
    assert frame["turns"].to_list()[0][0]["content"] == content


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "content": st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
                "role": st.sampled_from(["user", "tool"]),
            }
        ),
        max_size=5,
    ),
    st.booleans(),
)
def test_any_turns_come_back_as_written(turns: list[dict[str, str]], escaped: bool) -> None:
    data = json.dumps({"conversation": turns}, ensure_ascii=escaped).encode()
    frame, problems = read(data)
    assert problems == []
    assert frame["turns"].to_list() == [turns]


@pytest.mark.parametrize(
    ("value", "want"),
    [
        (1_700_000_000, "2023-11-14T22:13:20"),
        (1_700_000_000_000, "2023-11-14T22:13:20"),
        (1_700_000_000_000_000, "2023-11-14T22:13:20"),
        ("1700000000", "2023-11-14T22:13:20"),
        ("2023-11-14T22:13:20Z", "2023-11-14T22:13:20"),
        ("2023-11-14T23:13:20+01:00", "2023-11-14T22:13:20"),
        ("2023-11-14 22:13:20 UTC", "2023-11-14T22:13:20"),
        ("2023-11-14", "2023-11-14T00:00:00"),
        ("1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999"),
        ("yesterday", None),
        (None, None),
        (True, None),
    ],
)
def test_times_are_utc_or_kept_as_they_are(value: Any, want: str | None) -> None:
    frame, _ = read(line(timestamp=value).encode())
    found = frame["timestamp"][0]
    assert found == (want and datetime.fromisoformat(want).replace(tzinfo=timezone.utc))
    if want is None and value is not None:
        assert json.loads(frame["extra"][0]) == {"timestamp": value}


def test_the_layout_is_found_or_given() -> None:
    reader = _core.JsonReader(MAPPING)
    assert reader.layout == "auto"
    reader.feed(b" \n")
    assert reader.layout == "auto"
    reader.feed(b"[")
    assert reader.layout == "array"
    assert _core.JsonReader(MAPPING, layout="lines").layout == "lines"
    frame, problems = read(line().encode(), layout="array")
    assert (len(frame), problems) == (1, [])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"mapping": {**MAPPING, "speaker": "who"}}, "mapping has an unknown key 'speaker'"),
        ({"mapping": {"role": "role"}}, "'turns' or for 'text'"),
        ({"mapping": MAPPING, "layout": "csv"}, "layout must be auto, lines, array or values: got 'csv'"),
    ],
)
def test_a_mapping_that_cannot_be_used_is_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        _core.JsonReader(**arguments)


def test_a_mapping_that_fits_nothing_says_what_is_there() -> None:
    frame, problems = read(b'{"dialogue": [], "lang": "en"}')
    assert frame.is_empty()
    assert problems[0][0] == 1
    assert all(word in problems[0][1] for word in ("conversation", "dialogue", "lang"))


def test_objects_one_after_another_are_elements() -> None:
    data = b'{\n "conversation": []\n}\n{"conversation": [],\n "id": "}{"}  '
    for sizes in ((), (1,) * len(data)):
        frame, problems = read(data, sizes, layout="values")
        assert problems == []
        assert frame["conversation_id"].to_list() == [None, "}{"]
        assert frame["line"].to_list() == [1, 2]


def test_the_first_turn_may_hold_the_id() -> None:
    data = line(conversation=[{"role": "user", "content": "hi", "key": 7}], id="other").encode()
    frame, _ = read(data, mapping={**MAPPING, "turn_id": "key"})
    assert frame["conversation_id"].to_list() == ["7"]
    assert json.loads(frame["extra"][0]) == {"id": "other", "turn_fields": [{"key": 7}]}


def test_a_shape_reads_what_names_can_not() -> None:
    data = b'{"instruction": "hi", "input": "", "output": "hello", "who": "m"}'
    frame, problems = read(data, mapping={"shape": "alpaca", "model": "who"})
    assert problems == []
    assert frame["turns"].to_list() == [[{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]]
    assert frame["model"].to_list() == ["m"]
    with pytest.raises(InvalidInputError, match=r"shape must be one of alpaca, .*, otel: got 'xml'"):
        _core.JsonReader({"shape": "xml"})


@settings(deadline=None, max_examples=40)
@given(sizes=st.lists(st.integers(0, 40), max_size=40).map(tuple))
def test_messages_of_a_tree_are_joined_however_they_come(sizes: tuple[int, ...]) -> None:
    messages = [("a", None, "1"), ("b", "a", "1"), ("c", None, "2"), ("d", "c", "2"), ("e", None, "3")]
    rows = [
        json.dumps({"message_id": i, "parent_id": p, "message_tree_id": t, "role": "prompter", "text": i})
        for i, p, t in messages
    ]
    rows.insert(1, "{broken")
    frame, problems = read("\n".join(rows).encode(), sizes, mapping={"shape": "oasst"})
    assert frame["conversation_id"].to_list() == ["1", "2", "3"]
    assert frame["line"].to_list() == [3, 5, 6]
    assert [number for number, _ in problems] == [2]


def test_broken_elements_of_an_array_do_not_swallow_their_neighbours() -> None:
    elements = [line(id=i) for i in range(6)]
    elements[1] = elements[1].replace('"user"', '"user')
    elements[3] = elements[3][:-1]
    data = f"[{','.join(elements)}]".encode()
    for sizes in ((), (1,) * len(data)):
        frame, problems = read(data, sizes)
        assert frame["conversation_id"].to_list() == ["0", "2", "4", "5"]
        assert len(problems) >= 2
