"""JSON lines and arrays: every field kept, broken lines counted with their numbers, cut-off files read to the cut."""

from __future__ import annotations

import gzip
import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lmsys_rs.errors import ReaderError
from lmsys_rs.readers import ColumnMapping, open_conversations
from lmsys_rs.records import BATCH_SIZE, CONVERSATION_SCHEMA


def row(i: int, **fields: Any) -> dict[str, Any]:
    return {"conversation_id": f"c{i}", "conversation": [{"role": "user", "content": f"question {i}"}], **fields}


def lines(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows), encoding="utf-8")
    return path


def read(path: Path, **options: Any) -> pl.DataFrame:
    return pl.concat([batch.conversations for batch in open_conversations(path, **options)])


def test_every_field_is_kept(tmp_path: Path) -> None:
    conversation = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    source = row(
        1, model="m", language="English", tstamp=1680350400.5, turn=1, redacted=False, openai_moderation=[{"a": 1}]
    )
    source["conversation"] = conversation
    found = read(lines(tmp_path / "f.jsonl", [source]))
    assert found.schema == CONVERSATION_SCHEMA
    values = found.row(0, named=True)
    assert values["conversation_id"] == "c1"
    assert values["model"] == "m"
    assert values["language"] == "English"
    assert values["timestamp"] == datetime(2023, 4, 1, 12, 0, 0, 500000, tzinfo=timezone.utc)
    assert values["turns"] == conversation
    assert values["line"] == 1
    assert json.loads(values["extra"]) == {"turn": 1, "redacted": False, "openai_moderation": [{"a": 1}]}


def test_missing_model_gets_the_default_or_stays_empty(tmp_path: Path) -> None:
    path = lines(tmp_path / "f.jsonl", [row(1)])
    assert read(path)["model"].to_list() == ["unknown"]
    assert read(path, mapping=ColumnMapping(model_default=None))["model"].to_list() == [None]


def test_broken_lines_are_counted_with_their_numbers_and_skipped(tmp_path: Path) -> None:
    rows: list[Any] = [row(i) for i in range(10_000)]
    for number in (17, 5_000, 10_000):
        rows[number - 1] = '{"conversation_id": "broken", "conversation": ['
    batches = list(open_conversations(lines(tmp_path / "f.jsonl", rows)))
    assert [problem.line for batch in batches for problem in batch.problems] == [17, 5_000, 10_000]
    assert sum(batch.conversations.height for batch in batches) == 9_997
    assert batches[-1].position == 10_000


def test_strict_stops_at_the_first_broken_line(tmp_path: Path) -> None:
    path = lines(tmp_path / "f.jsonl", [row(1), "{not json", row(3)])
    with pytest.raises(ReaderError, match=r"f.jsonl:2: ") as caught:
        list(open_conversations(path, strict=True))
    assert caught.value.line == 2
    assert caught.value.file == str(path)


def test_line_that_is_not_utf8_is_a_problem_not_the_end(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_bytes(json.dumps(row(1)).encode() + b'\n{"conversation_id": "\xff\xfe"}\n' + json.dumps(row(3)).encode())
    batches = list(open_conversations(path))
    assert [problem.line for batch in batches for problem in batch.problems] == [2]
    assert [i for batch in batches for i in batch.conversations["line"]] == [1, 3]


def test_batches_are_bounded_and_in_order(tmp_path: Path) -> None:
    path = lines(tmp_path / "f.jsonl", [row(i) for i in range(2 * BATCH_SIZE + 5)])
    batches = list(open_conversations(path))
    assert max(batch.conversations.height for batch in batches) <= BATCH_SIZE
    numbers = [i for batch in batches for i in batch.conversations["line"]]
    assert numbers == list(range(1, 2 * BATCH_SIZE + 6))
    assert [batch.position for batch in batches] == sorted(batch.position for batch in batches)
    assert batches[-1].done <= open_conversations(path).total


def test_reading_resumes_after_a_line(tmp_path: Path) -> None:
    path = lines(tmp_path / "f.jsonl", [row(1), "{broken", row(3), "{broken", row(5)])
    batches = list(open_conversations(path, start=3))
    assert [i for batch in batches for i in batch.conversations["line"]] == [5]
    assert [problem.line for batch in batches for problem in batch.problems] == [4]


@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_truncated_gzip_gives_what_is_there_then_an_error(tmp_path: Path, keep: float) -> None:
    rows = [row(i, noise=str(hash((i, "x")))) for i in range(2_000)]
    data = gzip.compress("".join(json.dumps(r) + "\n" for r in rows).encode())
    path = tmp_path / "f.jsonl.gz"
    path.write_bytes(data[: int(len(data) * keep)])
    batches = iter(open_conversations(path))
    seen = 0

    def read_on() -> None:
        nonlocal seen
        for batch in batches:
            seen += batch.conversations.height

    with pytest.raises(ReaderError, match="gzip data ends too early"):
        read_on()
    assert 2_000 * keep * 0.7 < seen < 2_000


def test_damaged_gzip_is_a_reader_error(tmp_path: Path) -> None:
    data = bytearray(gzip.compress("".join(json.dumps(row(i)) + "\n" for i in range(5_000)).encode()))
    data[len(data) // 2 : len(data) // 2 + 40] = bytes(40)
    path = tmp_path / "f.jsonl.gz"
    path.write_bytes(bytes(data))
    with pytest.raises(ReaderError, match="gzip"):
        list(open_conversations(path))


def test_two_gzip_members_are_one_file(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl.gz"
    path.write_bytes(b"".join(gzip.compress((json.dumps(row(i)) + "\n").encode()) for i in range(3)))
    assert read(path)["conversation_id"].to_list() == ["c0", "c1", "c2"]


def test_strange_texts_survive(tmp_path: Path) -> None:
    texts = ["nul \x00 inside", "emoji 👩‍👩‍👧 flag 🇩🇪", "line\u2028separator", "tab\tand\nnewline", "", " "]
    rows = [{"conversation": [{"role": "user", "content": text}]} for text in texts]
    assert [turns[0]["content"] for turns in read(lines(tmp_path / "f.jsonl", rows))["turns"]] == texts


def test_lone_surrogate_does_not_stop_the_file(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    broken = '{"conversation_id": "s", "conversation": [{"role": "user", "content": "half \\ud83d pair"}]}'
    path.write_text(broken + "\n" + json.dumps(row(2)) + "\n")
    batches = list(open_conversations(path))
    seen = [i for batch in batches for i in batch.conversations["line"]]
    problems = [problem.line for batch in batches for problem in batch.problems]
    assert sorted(seen + problems) == [1, 2]
    assert 2 in seen


def test_array_elements_are_numbered(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_text(json.dumps([row(i) for i in range(3)], indent=2))
    assert read(path)["line"].to_list() == [1, 2, 3]


def test_conversation_without_turns_has_an_empty_list(tmp_path: Path) -> None:
    rows = [{"conversation_id": "a", "conversation": []}, row(2)]
    assert read(lines(tmp_path / "f.jsonl", rows))["turns"].list.len().to_list() == [0, 1]


def test_element_without_the_turns_field_is_a_problem(tmp_path: Path) -> None:
    batch = next(iter(open_conversations(lines(tmp_path / "f.jsonl", [row(1), {"other": 1}]))))
    assert [problem.line for problem in batch.problems] == [2]


def test_null_turns_are_a_conversation_without_turns(tmp_path: Path) -> None:
    rows = [{"conversation_id": "b", "conversation": None}, row(2)]
    assert read(lines(tmp_path / "f.jsonl", rows))["turns"].list.len().to_list() == [0, 1]


def test_sharegpt_speakers_become_roles(tmp_path: Path) -> None:
    talk = [{"from": speaker, "value": "x"} for speaker in ("system", "human", "gpt", "tool", "Narrator")]
    found = read(lines(tmp_path / "f.jsonl", [{"id": "a", "conversations": talk}]))
    assert [turn["role"] for turn in found["turns"][0]] == ["system", "user", "assistant", "tool", "narrator"]


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "conversation": st.lists(
                st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": TEXTS})
            )
        },
        optional={"model": TEXTS, "language": TEXTS, "meta": st.dictionaries(TEXTS, st.integers(-9, 9), max_size=3)},
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=ROWS, layout=st.sampled_from(["lines", "array"]), ascii_only=st.booleans())
def test_what_is_written_is_read(tmp_path: Path, rows: list[Any], layout: str, ascii_only: bool) -> None:
    path = tmp_path / "f.jsonl"
    written = [json.dumps(r, ensure_ascii=ascii_only) for r in rows]
    path.write_text("\n".join(written) if layout == "lines" else f"[{','.join(written)}]", encoding="utf-8", newline="")
    found = read(path, format="lmsys", mapping=ColumnMapping(model_default=None))
    assert found["turns"].to_list() == [r["conversation"] for r in rows]
    assert found["model"].to_list() == [r.get("model") or None for r in rows]  # an empty name is none
    extras = [None if extra is None else json.loads(extra) for extra in found["extra"]]
    assert extras == [{"meta": r["meta"]} if "meta" in r else None for r in rows]
