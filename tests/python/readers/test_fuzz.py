"""Good rows survive bad neighbours, in every format: some seeded rounds of the fuzzer, which runs longer by hand."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lmsys_rs.errors import ReaderError
from lmsys_rs.readers import FORMATS, open_conversations


def loaded() -> ModuleType:
    path = Path(__file__).resolve().parents[3] / "benches" / "fuzz_readers.py"
    spec = importlib.util.spec_from_file_location("fuzz_readers", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fuzzer = loaded()


@pytest.mark.parametrize("format_", fuzzer.FORMATS)
def test_good_rows_survive_bad_neighbours(tmp_path: Path, format_: str) -> None:
    _, wrong = fuzzer.fuzz(format_, 0, seed=1, folder=tmp_path, rounds=15)
    assert wrong == []


# the words that the formats look for, so that what is drawn comes near them
WORDS = """
conversation conversations messages role content from value text mapping current_node message author parts parent
children content_type chat_messages sender uuid parent_message_uuid attachments prompt replies rank lang message_id
parent_id message_tree_id turns choices conversation_a conversation_b chosen rejected instruction input output context
response completion history system inputs outputs generations kwargs lc id type data run_type extra observations
traceId attributes resourceSpans scopeSpans spans key events name body request custom_id tool_calls
gen_ai.input.messages gen_ai.prompt.0.content llm.input_messages.0.message.role timestamp model
"""
NAMES = st.sampled_from(WORDS.split())
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | NAMES | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=25,
)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(elements=st.lists(st.dictionaries(NAMES, VALUES, max_size=6), min_size=1, max_size=4), data=st.data())
def test_any_objects_end_as_conversations_or_problems(tmp_path: Path, elements: list[Any], data: st.DataObject) -> None:
    path = tmp_path / "f.jsonl"
    path.write_text("".join(json.dumps(element) + "\n" for element in elements))
    for name in FORMATS:
        try:
            reader = open_conversations(path, format=name)
        except ReaderError:
            continue  # no field with the turns
        lines = [line for batch in reader for line in batch.conversations["line"]]
        problems = [problem.line for batch in reader for problem in batch.problems]
        assert set(lines) | set(problems) <= set(range(1, len(elements) + 1))
    try:
        list(open_conversations(path))
    except ReaderError as error:
        assert "no field" in str(error)  # noqa: PT017  # the other outcome is none at all
