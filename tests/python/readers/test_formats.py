"""One realistic element of every format: it is recognised, its turns are those a person would see, nothing is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from lmsys_rs.errors import InvalidInputError
from lmsys_rs.extras import extra_as_json
from lmsys_rs.readers import FORMATS, ColumnMapping, open_conversations

Turns = list[tuple[str, str]]
HI: Turns = [("user", "hi"), ("assistant", "hello")]


def written(path: Path, *elements: Any) -> Path:
    path.write_text("".join(json.dumps(element) + "\n" for element in elements), encoding="utf-8")
    return path


def read(path: Path, **options: Any) -> list[dict[str, Any]]:
    """Rows with turns as (role, content) and extra as an object."""
    rows: list[dict[str, Any]] = []
    for batch in open_conversations(path, **options):
        assert not batch.problems
        frame = batch.conversations
        frame = frame.with_columns(frame.select(extra_as_json(frame.schema["extra"])))
        for row in frame.to_dicts():
            row["turns"] = [(turn["role"], turn["content"]) for turn in row["turns"]]
            row["extra"] = json.loads(row["extra"] or "{}")
            rows.append(row)
    return rows


def one(tmp_path: Path, element: Any, expected: str) -> dict[str, Any]:
    path = written(tmp_path / "f.jsonl", element)
    assert open_conversations(path).format == expected
    (row,) = read(path)
    return row


# ---- wildchat --------------------------------------------------------------------------------------------------

WILDCHAT = {
    "conversation_hash": "c9ec5b440fbdd269d27b6fb7b2a1b9b7",
    "model": "gpt-3.5-turbo-0301",
    "timestamp": "2023-04-09T00:02:53Z",
    "conversation": [
        {"content": "hi", "role": "user", "country": "US", "hashed_ip": "22fd87", "header": {"accept-language": "en"},
         "language": "English", "redacted": False, "state": "Texas", "timestamp": None, "toxic": False,
         "turn_identifier": 102002},
        {"content": "hello", "role": "assistant", "country": None, "hashed_ip": None, "header": None,
         "language": "English", "redacted": False, "state": None, "timestamp": "2023-04-09T00:02:53Z", "toxic": False,
         "turn_identifier": 102002},
    ],
    "turn": 1, "language": "English", "openai_moderation": [{"flagged": False}], "detoxify_moderation": [{"t": 0.1}],
    "toxic": False, "redacted": False, "state": "Texas", "country": "United States", "hashed_ip": "22fd87",
}  # fmt: skip


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_wildchat_is_keyed_by_its_first_turn(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"f.{suffix}"
    pl.DataFrame([WILDCHAT]).write_parquet(path) if suffix == "parquet" else written(path, WILDCHAT)
    assert open_conversations(path).format == "wildchat"
    (row,) = read(path)
    assert (row["conversation_id"], row["model"], row["language"]) == ("102002", "gpt-3.5-turbo-0301", "English")
    assert row["turns"] == HI
    assert row["extra"]["conversation_hash"] == WILDCHAT["conversation_hash"]
    assert row["extra"]["turn_fields"][0]["country"] == "US"
    assert row["timestamp"].year == 2023


# ---- openai ----------------------------------------------------------------------------------------------------

MESSAGES = [{"role": "user", "content": "hi"}]
ANSWER = {"role": "assistant", "content": "hello", "refusal": None}
CHOICES = [{"index": 0, "message": ANSWER, "logprobs": None, "finish_reason": "stop"}]
COMPLETION = {"id": "chatcmpl-A1", "object": "chat.completion", "created": 1724858089, "model": "gpt-4o-mini",
              "choices": CHOICES, "usage": {"total_tokens": 32}}  # fmt: skip


@pytest.mark.parametrize(
    "element",
    [
        {"messages": [*MESSAGES, {"role": "assistant", "content": "hello"}]},
        {"messages": MESSAGES, "model": "gpt-4o", "completion": "hello"},
        {"messages": MESSAGES, "choices": CHOICES},
        {"request": {"model": "gpt-4o", "messages": MESSAGES}, "response": COMPLETION},
        {"request": {"body": {"messages": MESSAGES}}, "response": {"status_code": 200, "body": COMPLETION}},
        {"custom_id": "r1", "method": "POST", "body": {"messages": MESSAGES}, "response": COMPLETION},
        {"model": "gpt-4.1", "input": "hi", "object": "response", "id": "resp_1", "output": [
            {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed",
             "content": [{"type": "output_text", "text": "hello", "annotations": []}]}]},
        {"model": "gpt-4.1", "input": [{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}],
         "output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hello"}]}]},
        {"input": {"messages": MESSAGES}, "preferred_output": [{"role": "assistant", "content": "hello"}],
         "non_preferred_output": [{"role": "assistant", "content": "go away"}]},
        {"messages": MESSAGES, "response": {"content": [{"type": "text", "text": "hello"}], "role": "assistant",
                                            "model": "claude-3", "type": "message"}},
    ],
    ids=str,
)  # fmt: skip
def test_openai_requests_end_in_their_answer(tmp_path: Path, element: dict[str, Any]) -> None:
    assert one(tmp_path, element, "openai")["turns"] == HI


def test_openai_batch_results_have_an_answer_only(tmp_path: Path) -> None:
    element = {"id": "batch_req_1", "custom_id": "r1", "error": None,
               "response": {"status_code": 200, "request_id": "q", "body": COMPLETION}}  # fmt: skip
    row = one(tmp_path, element, "openai")
    assert row["turns"] == [("assistant", "hello")]
    assert (row["conversation_id"], row["model"]) == ("batch_req_1", "gpt-4o-mini")
    assert row["timestamp"].year == 2024
    assert row["extra"]["response"]["body"]["usage"] == {"total_tokens": 32}


def test_openai_calls_and_pictures_are_kept(tmp_path: Path) -> None:
    calls = [
        {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}
    ]
    parts = [
        {"type": "text", "text": "what is this?"},
        {"type": "image_url", "image_url": {"url": "https://e.org/a.png"}},
    ]
    element = {
        "messages": [
            {"role": "developer", "content": "be kind"},
            {"role": "user", "content": parts},
            {"role": "assistant", "content": None, "tool_calls": calls},
            {"role": "tool", "tool_call_id": "call_1", "content": "rainy"},
            {"role": "assistant", "content": "It rains."},
        ],
        "tools": [{"type": "function", "function": {"name": "get_weather"}}],
    }
    row = one(tmp_path, element, "openai")
    assert row["turns"] == [
        ("system", "be kind"),
        ("user", "what is this?\n[image]"),
        ("assistant", ""),
        ("tool", "rainy"),
        ("assistant", "It rains."),
    ]
    fields = row["extra"]["turn_fields"]
    assert fields[0] is None
    assert fields[1] == {"content": parts}
    assert fields[2] == {"tool_calls": calls}
    assert fields[3] == {"tool_call_id": "call_1"}
    assert row["extra"]["tools"] == element["tools"]


def test_openai_columns_of_parquet_stay_columns(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    messages = [{"role": "user", "content": "hi", "name": "x"}, {"role": "assistant", "content": "hello", "name": None}]
    pl.DataFrame({"messages": [messages], "source": ["s"], "model": ["m"]}).write_parquet(path)
    reader = open_conversations(path)
    assert reader.format == "openai"
    frame = next(iter(reader)).conversations
    assert isinstance(frame.schema["extra"], pl.Struct)
    (row,) = read(path)
    assert (row["turns"], row["model"]) == (HI, "m")
    assert row["extra"]["source"] == "s"


def test_openai_requests_in_a_table_are_read_row_by_row(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    rows = {"request": [json.dumps({"messages": MESSAGES})] * 2, "response": [json.dumps(COMPLETION)] * 2}
    pl.DataFrame(rows).write_parquet(path)
    assert open_conversations(path, format="openai").format == "openai"
    found = read(path, format="openai")
    assert [(row["line"], row["turns"]) for row in found] == [(1, HI), (2, HI)]


# ---- account exports -------------------------------------------------------------------------------------------


def node(id_: str, parent: str | None, message: dict[str, Any] | None, *children: str) -> dict[str, Any]:
    return {"id": id_, "message": message, "parent": parent, "children": list(children)}


def message(
    id_: str, role: str, *parts: Any, content_type: str = "text", at: float = 1.0, **rest: Any
) -> dict[str, Any]:
    return {"id": id_, "author": {"role": role, "name": None, "metadata": {}}, "create_time": at,
            "content": {"content_type": content_type, "parts": list(parts)}, "status": "finished_successfully",
            "weight": 1.0, "recipient": "all", "metadata": {}, **rest}  # fmt: skip


CHATGPT = {
    "title": "Greeting", "create_time": 1700000000.1, "update_time": 1700000100.0, "current_node": "d",
    "conversation_id": "6f1", "id": "6f1", "default_model_slug": "gpt-4", "moderation_results": [],
    "mapping": {
        "root": node("root", None, None, "s"),
        "s": node("s", "root", message("s", "system", ""), "u"),
        "u": node("u", "s", {**message("u", "user", content_type="user_editable_context"),
                             "content": {"content_type": "user_editable_context", "user_profile": "I am a cook",
                                         "user_instructions": "be short"}}, "a"),
        "a": node("a", "u", message("a", "user", "hi"), "b", "d"),
        "b": node("b", "a", message("b", "assistant", "first try", at=2.0), "c"),
        "c": node("c", "b", message("c", "user", "no", at=3.0)),
        "d": node("d", "a", message("d", "assistant", "hello", at=4.0, metadata={"model_slug": "gpt-4o"})),
    },
}  # fmt: skip


def test_chatgpt_reads_the_path_to_the_current_message(tmp_path: Path) -> None:
    path = tmp_path / "conversations.json"
    path.write_text(json.dumps([CHATGPT, CHATGPT | {"conversation_id": "2", "current_node": "c"}]))
    assert open_conversations(path).format == "chatgpt"
    first, second = read(path)
    assert first["turns"] == [("system", "I am a cook\nbe short"), *HI]
    assert (first["conversation_id"], first["model"], first["timestamp"].year) == ("6f1", "gpt-4o", 2023)
    assert first["extra"]["title"] == "Greeting"
    others = first["extra"]["other_branches"]
    assert others == {
        "n_branches": 1,
        "turns": [{"role": "assistant", "content": "first try"}, {"role": "user", "content": "no"}],
    }
    assert second["turns"][1:] == [("user", "hi"), ("assistant", "first try"), ("user", "no")]
    assert second["model"] == "gpt-4"


def test_chatgpt_pictures_and_voices_have_a_word(tmp_path: Path) -> None:
    parts = [{"content_type": "image_asset_pointer", "asset_pointer": "file://x"}, "what is this"]
    voice = [{"content_type": "audio_transcription", "text": "hello there"}]
    mapping = {
        "a": node("a", None, message("a", "user", *parts, content_type="multimodal_text"), "b"),
        "b": node("b", "a", message("b", "user", *voice, content_type="multimodal_text")),
    }
    row = one(tmp_path, {"title": "t", "mapping": mapping, "current_node": "b"}, "chatgpt")
    assert row["turns"] == [("user", "[image]\nwhat is this"), ("user", "hello there")]
    assert row["extra"]["turn_fields"][0]["content"]["parts"] == parts


@pytest.mark.parametrize(
    "mapping",
    [{"a": node("a", "b", message("a", "user", "hi")), "b": node("b", "a", message("b", "user", "x"))},
     {"a": {"parent": 3, "message": "x"}, "b": 5, "c": None, "d": {"message": {"content": {"parts": None}}}}],
    ids=["circle", "nonsense"],
)  # fmt: skip
def test_chatgpt_trees_that_are_none_end(tmp_path: Path, mapping: dict[str, Any]) -> None:
    path = written(tmp_path / "f.jsonl", {"title": "t", "current_node": "a", "mapping": mapping})
    assert len(read(path, format="chatgpt")) == 1


CLAUDE = {
    "uuid": "0b1", "name": "Greeting", "created_at": "2024-03-05T12:00:00.000000Z",
    "account": {"uuid": "acc"},
    "chat_messages": [
        {"uuid": "m1", "text": "hi", "content": [{"type": "text", "text": "hi"}], "sender": "human",
         "created_at": "2024-03-05T12:00:00Z", "attachments": [], "files": []},
        {"uuid": "m2", "text": "hello", "content": [
            {"type": "thinking", "thinking": "greet"},
            {"type": "text", "text": "hello"},
            {"type": "tool_use", "name": "artifacts", "input": {"id": "x"}}], "sender": "assistant",
         "created_at": "2024-03-05T12:00:09Z", "attachments": [], "files": []},
        {"uuid": "m3", "text": "", "content": [], "sender": "human", "files": [], "attachments": [
            {"file_name": "paste.txt", "file_size": 4, "extracted_content": "long paste"}]},
    ],
}  # fmt: skip


def test_claude_messages_are_turns(tmp_path: Path) -> None:
    path = tmp_path / "conversations.json"
    path.write_text(json.dumps([CLAUDE]))
    assert open_conversations(path).format == "claude"
    (row,) = read(path)
    assert row["turns"] == [*HI, ("user", "long paste")]
    assert (row["conversation_id"], row["timestamp"].year, row["extra"]["name"]) == ("0b1", 2024, "Greeting")
    fields = row["extra"]["turn_fields"]
    assert fields[1]["content"][2]["name"] == "artifacts"
    assert fields[2]["attachments"][0]["file_name"] == "paste.txt"


def test_claude_branches_are_kept_beside_the_current_one(tmp_path: Path) -> None:
    root = "00000000-0000-4000-8000-000000000000"
    rows = [("m1", root, "human", "hi"), ("m2", "m1", "assistant", "first try"), ("m3", "m1", "assistant", "hello")]
    messages = [{"uuid": u, "parent_message_uuid": p, "sender": s, "text": t} for u, p, s, t in rows]
    row = one(tmp_path, {"uuid": "0", "name": "", "chat_messages": messages}, "claude")
    assert row["turns"] == HI
    assert row["extra"]["other_branches"] == {
        "n_branches": 1,
        "turns": [{"role": "assistant", "content": "first try"}],
    }


# ---- open assistant --------------------------------------------------------------------------------------------


def test_oasst_trees_follow_the_best_rank(tmp_path: Path) -> None:
    def reply(id_: str, role: str, text: str, rank: int | None, *replies: Any) -> dict[str, Any]:
        return {"message_id": id_, "parent_id": "?", "text": text, "role": role, "lang": "en", "rank": rank,
                "synthetic": False, "emojis": {"+1": 1}, "replies": list(replies)}  # fmt: skip

    best = reply("a", "assistant", "hello", 0, reply("p2", "prompter", "bye", None))
    worse = reply("b", "assistant", "what", 1, reply("p3", "prompter", "huh", None))
    prompt = reply("p", "prompter", "hi", None, worse, best) | {"created_date": "2023-02-05T14:23:50Z"}
    element = {"message_tree_id": "t1", "tree_state": "ready_for_export", "prompt": prompt}
    row = one(tmp_path, element, "oasst")
    assert row["turns"] == [*HI, ("user", "bye")]
    assert (row["conversation_id"], row["language"], row["timestamp"].year) == ("t1", "English", 2023)
    assert row["extra"]["other_replies"]["n_replies"] == 2
    assert row["extra"]["other_replies"]["turns"][0] == {"role": "assistant", "content": "what"}
    assert row["extra"]["turn_fields"][1]["rank"] == 0


FLAT = [
    ("p", None, "t1", "prompter", "hi", None),
    ("b", "p", "t1", "assistant", "what", 1.0),
    ("a", "p", "t1", "assistant", "hello", 0.0),
    ("q", None, "t2", "prompter", "hi", None),
    ("c", "q", "t2", "assistant", "hello", None),
]


@pytest.mark.parametrize("suffix", ["jsonl", "parquet", "csv"])
def test_oasst_messages_are_grouped_by_tree(tmp_path: Path, suffix: str) -> None:
    names = ("message_id", "parent_id", "message_tree_id", "role", "text", "rank")
    rows = [
        dict(zip(names, values, strict=True)) | {"lang": "de", "created_date": "2023-02-05T14:23:50Z"}
        for values in FLAT
    ]
    path = tmp_path / f"f.{suffix}"
    frame = pl.DataFrame(rows)
    {"jsonl": frame.write_ndjson, "parquet": frame.write_parquet, "csv": frame.write_csv}[suffix](path)
    assert open_conversations(path).format == "oasst"
    first, second = read(path)
    assert first["turns"] == second["turns"] == HI
    assert [first["conversation_id"], second["conversation_id"]] == ["t1", "t2"]
    assert (first["language"], first["line"], second["line"]) == ("German", 3, 5)
    assert first["extra"]["other_replies"]["turns"] == [{"role": "assistant", "content": "what"}]
    assert [row["conversation_id"] for row in read(path, start=3)] == ["t2"]


# ---- arena -----------------------------------------------------------------------------------------------------


def test_arena_questions_answers_and_battles(tmp_path: Path) -> None:
    question = {"question_id": 81, "category": "math", "turns": ["hi", "and now?"], "reference": ["", "4"]}
    row = one(tmp_path, question, "arena")
    assert row["turns"] == [("user", "hi"), ("user", "and now?")]
    assert row["extra"] == {"category": "math", "reference": ["", "4"]}
    answer = {"question_id": "q", "answer_id": "a", "model_id": "claude-1", "tstamp": 1700000000.5,
              "choices": [{"index": 0, "turns": ["hello", "four"]}]}  # fmt: skip
    row = one(tmp_path, answer, "arena")
    assert row["turns"] == [("assistant", "hello"), ("assistant", "four")]
    assert (row["conversation_id"], row["model"], row["extra"]) == ("a", "claude-1", {"question_id": "q"})
    asked = {"role": "user", "content": "hi"}
    battle = {"question_id": "q", "model_a": "m1", "model_b": "m2", "winner": "model_a", "language": "English",
              "conversation_a": [asked, {"role": "assistant", "content": "hello"}],
              "conversation_b": [asked, {"role": "assistant", "content": "what"}], "tstamp": 1682351042.5}  # fmt: skip
    row = one(tmp_path, battle, "arena")
    assert (row["turns"], row["model"]) == (HI, "m1")
    assert row["extra"]["winner"] == "model_a"
    assert row["extra"]["conversation_b"][1]["content"] == "what"
    pl.DataFrame([battle]).write_parquet(tmp_path / "f.parquet")
    assert open_conversations(tmp_path / "f.parquet").format == "arena"
    (row,) = read(tmp_path / "f.parquet")
    assert (row["turns"], row["model"], row["conversation_id"]) == (HI, "m1", "q")


# ---- pairs -----------------------------------------------------------------------------------------------------


def test_hh_transcripts_messages_and_prompts(tmp_path: Path) -> None:
    element = {"chosen": "\n\nHuman: hi\n\nAssistant: hello", "rejected": "\n\nHuman: hi\n\nAssistant: go away"}
    row = one(tmp_path, element, "hh")
    assert row["turns"] == HI
    assert row["extra"] == {"rejected": element["rejected"]}
    asked = {"role": "user", "content": "hi"}
    as_messages = {side: [asked, {"role": "assistant", "content": text}] for side, text in
                   [("chosen", "hello"), ("rejected", "no")]}  # fmt: skip
    assert one(tmp_path, as_messages, "hh")["turns"] == HI
    assert one(tmp_path, {"prompt": "hi", "chosen": "hello", "rejected": "no"}, "hh")["turns"] == HI
    assert (
        one(tmp_path, {"prompt": "\n\nHuman: hi\n\nAssistant:", "chosen": "hello", "rejected": "no"}, "hh")["turns"]
        == HI
    )


@pytest.mark.parametrize(
    ("element", "turns"),
    [
        ({"instruction": "hi", "input": "", "output": "hello"}, HI),
        ({"instruction": "Add", "input": "1 2", "output": "3"}, [("user", "Add\n\n1 2"), ("assistant", "3")]),
        ({"instruction": "hi", "context": "", "response": "hello", "category": "open_qa"}, HI),
        ({"prompt": "hi", "completion": "hello"}, HI),
        ({"instruction": "b", "output": "d", "input": "", "system": "s", "history": [["a", "c"]]},
         [("system", "s"), ("user", "a"), ("assistant", "c"), ("user", "b"), ("assistant", "d")]),
    ],
    ids=str,
)  # fmt: skip
def test_alpaca_and_its_kin_are_two_turns(tmp_path: Path, element: dict[str, Any], turns: Turns) -> None:
    row = one(tmp_path, element, "alpaca")
    assert row["turns"] == turns
    assert row["extra"] == ({"category": "open_qa"} if "category" in element else {})
    pl.DataFrame([{k: v for k, v in element.items() if k != "history"}]).write_csv(tmp_path / "f.csv")
    if "history" not in element:
        assert open_conversations(tmp_path / "f.csv").format == "alpaca"
        assert read(tmp_path / "f.csv")[0]["turns"] == turns


# ---- logs of tracing tools -------------------------------------------------------------------------------------

LANGCHAIN_RUN = {
    "id": "r1", "name": "ChatOpenAI", "run_type": "llm", "start_time": "2024-05-29T13:46:19.963000",
    "end_time": "2024-05-29T13:46:21", "trace_id": "t", "parent_run_id": None, "session_id": "s",
    "dotted_order": "20240529T134619963000Zr1", "error": None,
    "extra": {"metadata": {"ls_model_name": "gpt-4o", "ls_provider": "openai"}},
    "inputs": {"messages": [[{"lc": 1, "type": "constructor", "id": ["langchain", "schema", "messages", "HumanMessage"],
                              "kwargs": {"content": "hi", "type": "human"}}]]},
    "outputs": {"generations": [[{"text": "hello", "type": "ChatGeneration",
                                  "message": {"lc": 1, "type": "constructor",
                                              "id": ["langchain", "schema", "messages", "AIMessage"],
                                              "kwargs": {"content": "hello", "response_metadata": {}}}}]],
                "llm_output": {"token_usage": {}}},
}  # fmt: skip


def test_langsmith_runs(tmp_path: Path) -> None:
    row = one(tmp_path, LANGCHAIN_RUN, "langsmith")
    assert row["turns"] == HI
    assert (row["conversation_id"], row["model"], row["timestamp"].year) == ("r1", "gpt-4o", 2024)
    assert row["extra"]["trace_id"] == "t"
    assert row["extra"]["outputs"]["llm_output"] == {"token_usage": {}}
    for inputs, outputs in [
        ({"input": "hi"}, {"output": "hello"}),
        ({"question": "hi", "k": 4}, {"answer": "hello", "docs": []}),
        ({"messages": MESSAGES}, {"messages": [*MESSAGES, {"type": "ai", "content": "hello"}]}),
        ({"messages": MESSAGES, "model": "m"}, {"choices": CHOICES}),
    ]:
        run = LANGCHAIN_RUN | {"run_type": "chain", "inputs": inputs, "outputs": outputs}
        assert one(tmp_path, run, "langsmith")["turns"] == HI


def test_langsmith_passes_over_tools_and_inner_chains(tmp_path: Path) -> None:
    tool = LANGCHAIN_RUN | {"run_type": "tool", "id": "r2"}
    inner = LANGCHAIN_RUN | {"run_type": "chain", "id": "r3", "parent_run_id": "r1"}
    rows = read(written(tmp_path / "f.jsonl", tool, LANGCHAIN_RUN, inner))
    assert [row["conversation_id"] for row in rows] == ["r1"]
    (row,) = read(written(tmp_path / "g.json", {"runs": [tool, LANGCHAIN_RUN]}))
    assert row["turns"] == HI


def test_langsmith_tables_hold_json_as_text(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    packed = {key: json.dumps(value) if isinstance(value, dict) else value for key, value in LANGCHAIN_RUN.items()}
    pl.DataFrame([packed]).write_parquet(path)
    assert open_conversations(path).format == "langsmith"
    (row,) = read(path)
    assert (row["turns"], row["model"]) == (HI, "gpt-4o")


LANGFUSE = {
    "id": "o1", "traceId": "t1", "type": "GENERATION", "name": "llm", "startTime": "2024-05-29T13:46:19.963Z",
    "endTime": "2024-05-29T13:46:21Z", "model": "gpt-4o", "modelParameters": {"temperature": 0}, "level": "DEFAULT",
    "parentObservationId": "o0", "usage": {"input": 3, "output": 1}, "sessionId": "s1",
    "input": [{"role": "user", "content": "hi"}], "output": {"role": "assistant", "content": "hello"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("input_", "output"),
    [
        ("hi", "hello"),
        ('"hi"', '"hello"'),
        (LANGFUSE["input"], "hello"),
        (json.dumps(LANGFUSE["input"]), json.dumps(LANGFUSE["output"])),
        ({"messages": MESSAGES, "tools": []}, {"choices": CHOICES}),
        ({"query": "hi"}, {"answer": "hello"}),
        (json.dumps({"messages": MESSAGES}), json.dumps({"role": "assistant", "content": "hello"})),
    ],
    ids=str,
)
def test_langfuse_inputs_and_outputs(tmp_path: Path, input_: Any, output: Any) -> None:
    row = one(tmp_path, LANGFUSE | {"input": input_, "output": output}, "langfuse")
    assert row["turns"] == HI
    assert (row["conversation_id"], row["model"], row["timestamp"].year) == ("o1", "gpt-4o", 2024)
    assert row["extra"]["sessionId"] == "s1"


def test_langfuse_traces_lists_and_inner_steps(tmp_path: Path) -> None:
    step = LANGFUSE | {"type": "SPAN", "id": "o2"}
    trace = {"id": "t1", "name": "chat", "timestamp": "2024-05-29T13:46:19Z", "sessionId": "s9", "userId": "u",
             "input": None, "output": None, "observations": [step, LANGFUSE | {"sessionId": None}]}  # fmt: skip
    row = one(tmp_path, trace, "langfuse")
    assert (row["conversation_id"], row["turns"]) == ("o1", HI)
    assert row["extra"]["userId"] == "u"
    assert one(tmp_path, trace | {"input": "hi", "output": "hello"}, "langfuse")["conversation_id"] == "t1"
    assert one(tmp_path, {"data": [LANGFUSE], "meta": {"page": 1}}, "langfuse")["turns"] == HI
    rows = read(written(tmp_path / "f.jsonl", step, LANGFUSE))
    assert [row["conversation_id"] for row in rows] == ["o1"]


def test_langfuse_csv(tmp_path: Path) -> None:
    row = {"id": "o1", "traceId": "t", "startTime": "2024-05-29 13:46:19.963000", "model": "m",
           "input": json.dumps(LANGFUSE["input"]), "output": '"hello"'}  # fmt: skip
    pl.DataFrame([row]).write_csv(tmp_path / "f.csv")
    assert open_conversations(tmp_path / "f.csv").format == "langfuse"
    assert read(tmp_path / "f.csv")[0]["turns"] == HI


def attribute(key: str, value: Any) -> dict[str, Any]:
    kind = "intValue" if isinstance(value, int) else "stringValue"
    return {"key": key, "value": {kind: str(value)}}


GEN_AI = {
    "gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", "gen_ai.response.model": "gpt-4o-2024",
    "gen_ai.usage.input_tokens": 12, "gen_ai.conversation.id": "conv_1",
}  # fmt: skip
PARTS_IN = [{"role": "user", "parts": [{"type": "text", "content": "hi"}]}]
PARTS_OUT = [{"role": "assistant", "parts": [{"type": "text", "content": "hello"}], "finish_reason": "stop"}]
CONVENTIONS: list[dict[str, Any]] = [
    {"gen_ai.input.messages": json.dumps(PARTS_IN), "gen_ai.output.messages": json.dumps(PARTS_OUT)},
    {"gen_ai.input.messages": PARTS_IN, "gen_ai.output.messages": PARTS_OUT},
    {"gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": "hi",
     "gen_ai.completion.0.role": "assistant", "gen_ai.completion.0.content": "hello"},
    {"gen_ai.prompt.0.content": '[{"type": "text", "text": "hi"}]', "gen_ai.completion.0.content": "hello"},
    {"openinference.span.kind": "LLM", "llm.input_messages.0.message.role": "user",
     "llm.input_messages.0.message.content": "hi", "llm.output_messages.0.message.role": "assistant",
     "llm.output_messages.0.message.contents.0.message_content.type": "text",
     "llm.output_messages.0.message.contents.0.message_content.text": "hello"},
    {"openinference.span.kind": "LLM", "input.value": "hi", "output.value": "hello"},
    {"ai.prompt.messages": json.dumps(MESSAGES), "ai.response.text": "hello"},
    {"llm": {"input_messages": [{"message": MESSAGES[0]}], "output_messages": [{"message": ANSWER}]}},
]  # fmt: skip


@pytest.mark.parametrize("convention", CONVENTIONS, ids=lambda c: next(iter(c)))
def test_otel_spans_of_every_convention(tmp_path: Path, convention: dict[str, Any]) -> None:
    span = {"name": "chat gpt-4o", "context": {"trace_id": "0xab", "span_id": "0xcd"},
            "start_time": "2024-05-29T13:46:19.963000Z", "attributes": GEN_AI | convention}  # fmt: skip
    row = one(tmp_path, span, "otel")
    assert row["turns"] == HI
    assert (row["conversation_id"], row["model"], row["timestamp"].year) == ("0xcd", "gpt-4o-2024", 2024)
    assert row["extra"]["attributes"]["gen_ai.conversation.id"] == "conv_1"
    assert row["extra"]["context"] == {"trace_id": "0xab"}


def test_otlp_lines_hold_many_spans(tmp_path: Path) -> None:
    def span(id_: str, **attributes: Any) -> dict[str, Any]:
        return {"traceId": "t", "spanId": id_, "name": "chat", "startTimeUnixNano": "1716990379963000000",
                "attributes": [attribute(key, value) for key, value in attributes.items()]}  # fmt: skip

    chat = GEN_AI | CONVENTIONS[2]
    line = {
        "resourceSpans": [
            {
                "resource": {"attributes": [attribute("service.name", "shop")]},
                "scopeSpans": [
                    {
                        "scope": {"name": "s"},
                        "spans": [span("1", **chat), span("2", **{"db.system": "pg"}), span("3", **chat)],
                    }
                ],
            }
        ]
    }
    path = written(tmp_path / "f.jsonl", line, line)
    assert open_conversations(path).format == "otel"
    rows = read(path)
    assert [(row["conversation_id"], row["line"]) for row in rows] == [("1", 1), ("3", 1), ("1", 2), ("3", 2)]
    assert all(row["turns"] == HI for row in rows)
    assert rows[0]["extra"]["resource"] == {"service.name": "shop"}
    assert rows[0]["timestamp"].year == 2024


def test_otel_events_are_messages(tmp_path: Path) -> None:
    events = [
        {"name": "gen_ai.system.message", "attributes": {"content": "be kind"}},
        {"name": "gen_ai.user.message", "attributes": {"content": "hi"}},
        {"name": "gen_ai.choice", "attributes": {"index": 0, "message": json.dumps({"content": "hello"})}},
    ]
    span = {"trace_id": "t", "span_id": "s", "start_time": 1716990379963000000, "attributes": GEN_AI, "events": events}
    assert one(tmp_path, span, "otel")["turns"] == [("system", "be kind"), *HI]


def test_otel_calls_without_their_messages_are_problems(tmp_path: Path) -> None:
    path = written(tmp_path / "f.jsonl", {"trace_id": "t", "span_id": "s", "attributes": GEN_AI})
    (batch,) = open_conversations(path)
    assert "recording of contents was off" in batch.problems[0].message


# ---- the caller's word -----------------------------------------------------------------------------------------


def test_named_columns_go_before_the_formats(tmp_path: Path) -> None:
    path = written(
        tmp_path / "f.jsonl", {"instruction": "hi", "output": "hello", "who": "m7", "key": "k", "model": "x"}
    )
    (row,) = read(path, mapping=ColumnMapping(model="who", conversation_id="key"))
    assert (row["model"], row["conversation_id"], row["turns"]) == ("m7", "k", HI)


def test_a_text_column_makes_any_file_a_file_of_texts(tmp_path: Path) -> None:
    path = written(tmp_path / "f.jsonl", {"instruction": "hi", "input": "x", "output": "hello"})
    (row,) = read(path, mapping=ColumnMapping(text="output"))
    assert row["turns"] == [("user", "hello")]
    with pytest.raises(InvalidInputError, match="--text-column 'output' can't be used with format 'alpaca'"):
        open_conversations(path, format="alpaca", mapping=ColumnMapping(text="output"))


def test_the_most_frequent_format_decides(tmp_path: Path) -> None:
    strange = [{"text": "stray"}, {"mapping": {}, "current_node": ""}]
    path = written(tmp_path / "f.jsonl", *strange, *[{"instruction": "hi", "output": "hello"}] * 5)
    assert open_conversations(path).format == "alpaca"


# ---- the page --------------------------------------------------------------------------------------------------

PAGE = Path(__file__).resolve().parents[3] / "docs" / "formats.md"


@pytest.mark.parametrize("name", FORMATS)
def test_example_of_the_page_is_recognised(tmp_path: Path, name: str) -> None:
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {name}\n")[1].split("\n## ")[0]
    example, command = [line.strip() for line in section.splitlines() if line.startswith("    ")]
    assert command.startswith("lmsys load ")
    path = tmp_path / ("f.txt" if name == "lines" else "f.jsonl")
    path.write_text(example + "\n")
    assert open_conversations(path).format == name
    assert len(read(path)) == 1
