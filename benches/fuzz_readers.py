"""Do readers lose a good row because of a bad neighbour, raise what they should not, or hang? Seeded mutations.

Each round writes a file of good rows with garbage between them and reads it. It measures no speed (`--speed` reads one
file and prints rows, seconds and the peak of memory), and finds no fault in what garbage becomes, as long as it ends.

    python benches/fuzz_readers.py --seconds 20
    python benches/fuzz_readers.py --seconds 60 --format openai --seed 7
    python benches/fuzz_readers.py --speed chats.parquet
"""

from __future__ import annotations

import argparse
import copy
import csv
import gzip
import io
import json
import random
import re
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
from lmsys_rs.errors import ReaderError
from lmsys_rs.readers import open_conversations

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Element = dict[str, Any]
Turns = list[tuple[str, str]]

SLOWEST_SECONDS = 5.0  # for a file of some kilobytes
TEXTS = (
    "plain",
    'quotes " and \\ \\" here',
    "brackets ] } , {",
    "日本語 👩‍💻",
    "line\nbreak\ttab",
    "\u2028 \x00 \x7f",
    '[{"',
    "x" * 300,
)


# ---- good rows -------------------------------------------------------------------------------------------------


def good(key: str, asked: str, answer: str, format_: str) -> Element:
    """One element whose turns are the question and the answer."""
    pair = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
    return ELEMENTS[format_](key, asked, answer, pair)


def chatgpt(key: str, asked: str, answer: str, pair: list[Element]) -> Element:
    def node(role: str, text: str, parent: str, *children: str) -> Element:
        content = {"content_type": "text", "parts": [text]}
        return {"message": {"author": {"role": role}, "content": content}, "parent": parent, "children": [*children]}

    root = {"id": "r", "message": None, "parent": None, "children": ["a"]}
    mapping = {"r": root, "a": node("user", asked, "r", "b"), "b": node("assistant", answer, "a")}
    return {"title": key, "mapping": mapping, "current_node": "b", "conversation_id": key}


def claude(key: str, asked: str, answer: str, pair: list[Element]) -> Element:
    said = [("human", asked), ("assistant", answer)]
    messages = [{"sender": who, "text": text, "content": [{"type": "text", "text": text}]} for who, text in said]
    return {"uuid": key, "name": "n", "chat_messages": messages}


def oasst(key: str, asked: str, answer: str, pair: list[Element]) -> Element:
    replies = [
        {"message_id": text, "text": text, "role": "assistant", "rank": rank, "replies": []}
        for rank, text in enumerate([answer, "worse"])
    ]
    prompt = {"message_id": "p", "text": asked, "role": "prompter", "lang": "en", "replies": replies}
    return {"message_tree_id": key, "prompt": prompt}


def langsmith(key: str, asked: str, answer: str, pair: list[Element]) -> Element:
    path = ["langchain", "schema", "messages", "HumanMessage"]
    message = {"lc": 1, "type": "constructor", "id": path, "kwargs": {"content": asked}}
    outputs = {"generations": [[{"text": answer}]]}
    return {"id": key, "run_type": "llm", "inputs": {"messages": [[message]]}, "outputs": outputs}


def otel(key: str, asked: str, answer: str, pair: list[Element]) -> Element:
    parts = [{"role": turn["role"], "parts": [{"type": "text", "content": turn["content"]}]} for turn in pair]
    attributes = {
        "gen_ai.request.model": "m",
        "gen_ai.input.messages": json.dumps(parts[:1]),
        "gen_ai.output.messages": parts[1:],
    }
    return {"trace_id": "t", "span_id": key, "attributes": attributes}


ELEMENTS: dict[str, Callable[[str, str, str, list[Element]], Element]] = {
    "lmsys": lambda key, asked, answer, pair: {"conversation_id": key, "conversation": pair, "model": "m", "turn": 1},
    "wildchat": lambda key, asked, answer, pair: {
        "conversation_hash": "h",
        "conversation": [turn | {"turn_identifier": key} for turn in pair],
    },
    "sharegpt": lambda key, asked, answer, pair: {
        "id": key,
        "conversations": [{"from": "human", "value": asked}, {"from": "gpt", "value": answer}],
    },
    "openai": lambda key, asked, answer, pair: {
        "custom_id": key,
        "request": {"messages": pair[:1]},
        "response": {"choices": [{"message": pair[1]}]},
    },
    "chatgpt": chatgpt,
    "claude": claude,
    "oasst": oasst,
    "oasst-flat": lambda key, asked, answer, pair: {
        "message_id": key,
        "parent_id": None,
        "message_tree_id": key,
        "role": "prompter",
        "text": asked,
    },
    "arena": lambda key, asked, answer, pair: {
        "question_id": key,
        "model_a": "m",
        "winner": "tie",
        "conversation_a": pair,
        "conversation_b": pair,
    },
    "hh": lambda key, asked, answer, pair: {
        "chosen": f"\n\nHuman: {asked}\n\nAssistant: {answer}",
        "rejected": "\n\nHuman: x\n\nAssistant: y",
    },
    "alpaca": lambda key, asked, answer, pair: {"instruction": asked, "input": "", "output": answer},
    "langsmith": langsmith,
    "langfuse": lambda key, asked, answer, pair: {
        "id": key,
        "traceId": "t",
        "type": "GENERATION",
        "input": pair[:1],
        "output": pair[1],
    },
    "otel": otel,
    "text": lambda key, asked, answer, pair: {"prompt": asked, "id": key},
}
FORMATS = (*ELEMENTS, "csv", "lines", "parquet")
ASKED_ONLY = frozenset({"oasst-flat", "text", "csv", "lines"})


# ---- garbage ---------------------------------------------------------------------------------------------------


def mutated_value(value: Any, chance: random.Random) -> Any:
    """A copy with some values replaced by others, of any type."""
    if chance.random() < 0.15:
        return chance.choice(
            [None, True, -1, 1e308, "", "x", [], {}, [[]], [None], {"a": {}}, [{"role": 3}], 2**70, "[{"]
        )
    if isinstance(value, dict):
        return {key: mutated_value(inner, chance) for key, inner in value.items() if chance.random() > 0.05}
    if isinstance(value, list):
        return [mutated_value(inner, chance) for inner in value for _ in range(chance.choice([1, 1, 1, 0, 2]))]
    return value


def mutated_bytes(data: bytes, chance: random.Random) -> bytes:
    """Some bytes changed, cut out, doubled or swapped."""
    mutated = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(mutated) + 1)
        what = chance.randrange(5)
        if what == 0:
            mutated[at : at + 1] = bytes([chance.randrange(256)])
        elif what == 1:
            del mutated[at : at + chance.randint(1, 20)]
        elif what == 2:
            mutated[at:at] = mutated[at : at + 30]
        elif what == 3:
            mutated[at:at] = chance.choice(
                [b'"', b"{", b"}", b"[", b"]", b",", b"\\", b"\\ud800", b"NaN", b"\xff", b"\x00"]
            )
        else:
            del mutated[at:]
    return bytes(mutated)


def garbage(format_: str, chance: random.Random) -> bytes:
    """One line that is no good row."""
    element = good("bad", "bad question", "bad answer", format_)
    as_bytes = json.dumps(element, ensure_ascii=chance.random() < 0.5).encode()
    made: Callable[[], bytes] = chance.choice(
        [
            lambda: mutated_bytes(as_bytes, chance),
            lambda: json.dumps(mutated_value(copy.deepcopy(element), chance)).encode(),
            lambda: bytes(chance.randrange(256) for _ in range(chance.randint(0, 200))),
            lambda: b"[" * chance.choice([200, 20_000]),
            lambda: b'{"a":' * chance.choice([200, 5_000]),
            lambda: chance.choice(
                [b"{}", b"null", b"3", b'"text"', b"[]", b"{", b'{"', b"[1,2", b"}", b"]", b"\xef\xbb\xbf"]
            ),
            lambda: json.dumps(good("bad", "bad", "bad", chance.choice([*ELEMENTS]))).encode(),
            lambda: json.dumps({"conversation": [{"role": "user", "content": "\ud800bad"}]}).encode(),
        ]
    )
    return made().replace(b"\n", b" ").replace(b"\r", b" ")


# ---- files -----------------------------------------------------------------------------------------------------


def question(i: int, chance: random.Random, format_: str) -> str:
    text = f"good-{i}- {chance.choice(TEXTS)}"
    if format_ in ("lines", "csv"):
        text = text.replace("\n", " ")
    return text.strip() if format_ == "hh" else text


def json_file(format_: str, asked: list[str], chance: random.Random) -> tuple[bytes, str]:
    rows = [
        json.dumps(good(f"k{i}", text, "yes", format_), ensure_ascii=chance.random() < 0.5).encode()
        for i, text in enumerate(asked)
    ]
    rest = [garbage(format_, chance) for _ in range(chance.randint(0, len(asked) // 3))]
    layout = chance.choice(["lines", "lines", "array", "array-lines"])
    for bad in rest:
        rows.insert(chance.randint(1 if layout != "lines" else 0, len(rows)), bad)
    if layout == "lines":
        return b"\n".join(rows) + chance.choice([b"", b"\n"]), ".jsonl"
    return b"[" + (b",\n" if layout == "array-lines" else b",").join(rows) + b"]", ".json"


def csv_file(asked: list[str], chance: random.Random) -> tuple[bytes, str]:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["id", "prompt"])
    for i, text in enumerate(asked):
        writer.writerow([f"k{i}", text])
    rows = buffer.getvalue().encode().split(b"\n")[:-1]
    for _ in range(chance.randint(0, len(asked) // 3)):
        bad = chance.choice([b"one", b"a,b,c", b'x,"open', b"\xff\xfe,x", b"", b",,,", b'"",""', b'"a"b"c,d'])
        rows.insert(chance.randint(1, len(rows)), bad)
    return b"\n".join(rows), ".csv"


def lines_file(asked: list[str], chance: random.Random) -> tuple[bytes, str]:
    rows = [text.encode() for text in asked]
    for _ in range(chance.randint(0, len(asked))):
        rows.insert(chance.randint(0, len(rows)), garbage("text", chance))
    return b"plain\n" + b"\n".join(rows), ".txt"


def parquet_file(asked: list[str], chance: random.Random) -> tuple[bytes, str]:
    format_ = chance.choice(
        ["lmsys", "wildchat", "sharegpt", "arena", "hh", "alpaca", "text", "openai", "claude", "oasst"]
    )
    elements = [good(f"k{i}", text.strip(), "yes", format_) for i, text in enumerate(asked)]
    buffer = io.BytesIO()
    pl.DataFrame(elements).write_parquet(buffer, row_group_size=7)
    data = buffer.getvalue()
    return (mutated_bytes(data, chance) if chance.random() < 0.5 else data), ".parquet"


def packed(data: bytes, suffix: str, chance: random.Random) -> tuple[bytes, str]:
    how = chance.choice(["", "", ".gz", ".zst", ".zip"])
    if suffix == ".parquet" or not how:
        return data, suffix
    if how == ".zip":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"export/f{suffix}", data)
        return buffer.getvalue(), how
    return (gzip.compress(data) if how == ".gz" else zstd.compress(data)), suffix + how


def write_file(format_: str, asked: list[str], chance: random.Random) -> tuple[bytes, str]:
    special = {"csv": csv_file, "lines": lines_file, "parquet": parquet_file}
    if format_ in special:
        return special[format_](asked, chance)
    return json_file(format_, asked, chance)


# ---- one round -------------------------------------------------------------------------------------------------


def found_questions(path: Path, format_: str) -> dict[str, Turns]:
    """Turns of the good conversations that come out, by question."""
    expected = {"csv": "text", "oasst-flat": "oasst"}.get(format_, format_)
    reader = open_conversations(path)
    if format_ != "parquet" and reader.format != expected:
        return {f"taken for {reader.format}": []}
    found: dict[str, Turns] = {}
    for batch in reader:
        for turns in batch.conversations["turns"]:
            said = [(turn["role"], turn["content"]) for turn in turns]
            first = next((text for role, text in said if role == "user"), "")
            if first.startswith("good-"):
                found[first] = said
    return found


def one_round(format_: str, seed: int, folder: Path) -> str | None:
    """What is wrong, or None."""
    chance = random.Random(f"{format_}-{seed}")
    asked = [question(i, chance, format_) for i in range(chance.randint(6, 24))]
    data, suffix = write_file(format_, asked, chance)
    is_damaged = chance.random() < 0.1
    data, suffix = packed(data, suffix, chance)
    path = folder / f"f{suffix}"
    path.write_bytes(mutated_bytes(data, chance) if is_damaged else data)
    started = time.perf_counter()
    try:
        found = found_questions(path, format_)
    except ReaderError as error:
        # a file that is damaged as a whole may be refused, the others not
        return None if is_damaged or format_ == "parquet" else f"refused: {error}"
    seconds = time.perf_counter() - started
    if seconds > SLOWEST_SECONDS:
        return f"took {seconds:.1f} s"
    if is_damaged or format_ == "parquet":
        return None
    for text in asked:
        if text not in found:
            return f"lost {text!r}"
        if format_ not in ASKED_ONLY and found[text] != [("user", text), ("assistant", "yes")]:
            return f"changed {text!r}: {found[text]!r}"
    return None


def fuzz(format_: str, seconds: float, seed: int, folder: Path, rounds: int | None = None) -> tuple[int, list[str]]:
    """(rounds, what was wrong) until the time is up, or for a number of rounds."""
    until = time.monotonic() + seconds
    wrong: list[str] = []
    done = 0
    while (rounds is None and time.monotonic() < until) or (rounds is not None and done < rounds):
        try:
            problem = one_round(format_, seed + done, folder)
        except BaseException as error:  # the point of this file: nothing else may come
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
            problem = f"{type(error).__name__}: {error}"
        if problem is not None:
            wrong.append(f"{format_} seed {seed + done}: {problem}")
        done += 1
    return done, wrong


def speed(path: Path) -> None:
    started = time.perf_counter()
    n_rows = sum(batch.conversations.height for batch in open_conversations(path))
    seconds = time.perf_counter() - started
    status = Path("/proc/self/status")
    peak = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    print(f"{n_rows:,} conversations in {seconds:.1f} s, peak {int(peak[1]) // 1024 if peak else '?'} MB")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10, help="for each format")
    parser.add_argument("--format", choices=FORMATS, action="append")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--speed", type=Path, metavar="FILE")
    options = parser.parse_args()
    if options.speed is not None:
        speed(options.speed)
        return 0
    n_wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for format_ in options.format or FORMATS:
            done, wrong = fuzz(format_, options.seconds, options.seed, Path(folder))
            n_wrong += len(wrong)
            print(f"{format_:<12} {done:>7} rounds {len(wrong):>5} wrong", flush=True)
            for line in wrong[:5]:
                print(f"    {line[:300]}")
    return 1 if n_wrong else 0


if __name__ == "__main__":
    sys.exit(main())
