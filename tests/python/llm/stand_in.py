"""A provider on loopback: both wire formats, over real sockets, with faults by script or by chance, and an exact log.

In a test: ``with serving(latency=0.01) as provider: resolve_model("openai/any", base_url=provider.url)``.
In a process of its own: ``with serving_process(latency=0.3) as provider: ... provider.log()``, or by hand:
``python tests/python/llm/stand_in.py --port 8123 --options '{"latency": 0.3}'``; it ends when its stdin is closed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import random
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from typing import Any

MODELS = ("gpt-4o-mini", "gpt-4o", "claude-haiku-4-5", "llama3.2:latest", "any")

FAULTS = (
    "429",  # Retry-After in seconds
    "429-date",  # Retry-After as an HTTP date
    "500",
    "timeout",  # nothing comes
    "cut-before",  # the connection ends before any header
    "cut-body",  # in the middle of the body, or of the stream
    "slow-stream",  # a stream that stops without an end; without streaming the same as timeout
    "malformed",  # JSON that is none
    "overlong",  # cut at max tokens
    "fenced",  # JSON inside a code fence, with words around it
    "refusal",
    "wrong-count",  # lists one element short
    "401",  # quotes the key, as some providers do
    "400",
    "404",
)
COMPLETE = ("malformed", "overlong", "fenced", "refusal", "wrong-count")  # a whole 200 answer: it is paid


@dataclass
class Call:
    """One call, as the server saw it; times are of `time.monotonic`, in seconds."""

    path: str
    arrived: float
    body_hash: str
    input_tokens: int
    output_tokens: int = 0
    completed: float | None = None
    status: int | None = None
    paid: bool = False
    fault: str | None = None
    stream: bool = False
    key: str | None = None
    idempotency_key: str | None = None
    prompt: str = ""


@dataclass
class Options:
    """What the server does. ``script`` holds faults (or None) for the next calls; then chance decides."""

    latency: float | tuple[float, float] = 0.0
    faults: dict[str, float] = field(default_factory=dict)
    script: list[str | None] = field(default_factory=list)
    seed: int = 0
    retry_after: float = 1.0
    hold: float = 30.0
    models: Sequence[str] = MODELS
    key: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    unsupported: Sequence[str] = ()  # parameters that bring status 400
    truncate_tokens: bool = True
    batch_polls: int = 2
    batch_fault: str | None = None  # expired, failed, lines
    keep_prompts: bool = True


Answer = Callable[[Mapping[str, Any]], Any]
"""From the body of a request to the value (or text) that the model gives."""


def schema_of(body: Mapping[str, Any]) -> Any:
    """The JSON schema that a request asks for, in either format; None for plain text."""
    if body.get("tools"):
        return body["tools"][0]["input_schema"]
    return (body.get("response_format") or {}).get("json_schema", {}).get("schema")


def prompt_of(body: Mapping[str, Any]) -> str:
    """Everything that was said, one turn a line."""
    turns = [body["system"]] if isinstance(body.get("system"), str) else []
    return "\n".join(turns + [str(message["content"]) for message in body.get("messages", ())])


def fill(schema: Any, seed: str = "") -> Any:
    """A value that fits a schema; the same for the same seed."""
    if not isinstance(schema, Mapping):
        return "text"
    if "const" in schema or "enum" in schema:
        return schema.get("const", (schema.get("enum") or [None])[0])
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            return fill(schema[choice][0], seed)
    kind = schema.get("type", "object")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        return {name: fill(part, f"{seed}.{name}") for name, part in schema.get("properties", {}).items()}
    if kind == "array":
        return [fill(schema.get("items", {}), f"{seed}[{i}]") for i in range(max(1, schema.get("minItems", 2)))]
    if kind == "string":
        text = f"word {hashlib.sha256(seed.encode()).hexdigest()[:6]}"
        return text[: schema.get("maxLength", 99)].ljust(schema.get("minLength", 0), "x")
    return {"integer": schema.get("minimum", 1), "number": schema.get("minimum", 0.5), "boolean": True}.get(kind)


def default_answer(body: Mapping[str, Any]) -> Any:
    """Fills the schema, by the last thing that was said."""
    schema = schema_of(body)
    said = prompt_of(body)
    if schema is None:
        return f"An answer to {len(said)} characters."
    return fill(schema, hashlib.sha256(said.encode()).hexdigest())


def one_short(value: Any) -> Any:
    """Every list without its last element; an object without lists, without its last field."""
    if isinstance(value, list):
        return [one_short(part) for part in value[:-1]]
    if isinstance(value, dict):
        shorter = {name: one_short(part) for name, part in value.items()}
        if not any(isinstance(part, (list, dict)) for part in value.values()) and shorter:
            shorter.popitem()
        return shorter
    return value


class StandIn:
    """The server and what it saw."""

    def __init__(self, answer: Answer = default_answer, **options: Any) -> None:
        self.options = Options(**options)
        self.answer = answer
        self.calls: list[Call] = []
        self.port = 0
        self.batches: dict[str, dict[str, Any]] = {}
        self.files: dict[str, bytes] = {}
        self._random = random.Random(self.options.seed)
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def paid(self) -> list[Call]:
        return [call for call in self.calls if call.paid]

    def paid_twice(self) -> list[str]:
        """Hashes of bodies that were answered completely more than once: must be empty."""
        hashes = [call.body_hash for call in self.paid]
        return sorted({h for h in hashes if hashes.count(h) > 1})

    def log(self) -> list[dict[str, Any]]:
        return [asdict(call) for call in self.calls]

    async def start(self, port: int = 0) -> asyncio.AbstractServer:
        server = await asyncio.start_server(self._connected, "127.0.0.1", port, limit=1 << 26, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while await self._serve(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._connections.discard(task)
            writer.transport.abort() if writer.transport.is_closing() else writer.close()

    async def close(self) -> None:
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; False ends the connection."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        arrived = time.monotonic()
        first, *rest = head.split("\r\n")
        method, target, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest if line)}
        content = await reader.readexactly(int(headers.get("content-length", 0)))
        path = target.split("?")[0].removeprefix("/v1")
        if method == "POST" and path in ("/chat/completions", "/messages"):
            return await self._chat(path, headers, content, arrived, writer)
        status, payload = self._other(method, path, headers, content)
        await send(writer, status, payload)
        return True

    # chat

    async def _chat(
        self, path: str, headers: Mapping[str, str], content: bytes, arrived: float, writer: asyncio.StreamWriter
    ) -> bool:
        body = json.loads(content)
        options = self.options
        said = prompt_of(body)
        call = Call(
            path=path,
            arrived=arrived,
            body_hash=hashlib.sha256(content).hexdigest(),
            input_tokens=len(said) // 4 + 10,
            stream=bool(body.get("stream")),
            key=headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ") or None,
            idempotency_key=headers.get("idempotency-key"),
            prompt=said if options.keep_prompts else "",
        )
        self.calls.append(call)
        call.fault = self._fault()
        refused = self._refused(call, body)
        if refused is not None:
            call.status, payload, more = refused
            await send(writer, call.status, payload, more)
            call.completed = time.monotonic()
            return True
        latency = options.latency
        await asyncio.sleep(latency if isinstance(latency, (int, float)) else self._random.uniform(*latency))
        if call.fault == "timeout" or (call.fault == "slow-stream" and not call.stream):
            await asyncio.sleep(options.hold)
            return False
        if call.fault == "cut-before":
            writer.transport.abort()
            return False
        text, reason = self._said(body, call.fault)
        most = body.get("max_tokens") or body.get("max_completion_tokens") or 10**9
        if options.truncate_tokens and len(text) > most * 4:
            text, reason = text[: most * 4], "length"
        call.output_tokens = -(-len(text) // 4)
        whole = anthropic_message if path == "/messages" else openai_message
        if call.stream:
            pieces = anthropic_events if path == "/messages" else openai_events
            return await self._stream(call, pieces(body, text, reason, call), writer)
        message = json.dumps(whole(body, text, reason, call)).encode()
        if call.fault == "cut-body":
            writer.write(response_head(200, len(message), options.headers) + message[: len(message) // 2])
            await writer.drain()
            writer.close()
            return False
        writer.write(response_head(200, len(message), options.headers) + message)
        call.status, call.paid, call.completed = 200, True, time.monotonic()
        await writer.drain()
        return True

    async def _stream(self, call: Call, events: list[str], writer: asyncio.StreamWriter) -> bool:
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n"
            + b"".join(f"{k}: {v}\r\n".encode() for k, v in self.options.headers.items())
            + b"\r\n"
        )
        stop_at = len(events) // 2 if call.fault in ("cut-body", "slow-stream") else len(events)
        for event in events[:stop_at]:
            chunk = event.encode()
            writer.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
            await writer.drain()
            await asyncio.sleep(0)
        if call.fault == "slow-stream":
            await asyncio.sleep(self.options.hold)
            return False
        if call.fault == "cut-body":
            writer.close()
            return False
        writer.write(b"0\r\n\r\n")
        call.status, call.paid, call.completed = 200, True, time.monotonic()
        await writer.drain()
        return True

    def _fault(self) -> str | None:
        if self.options.script:
            return self.options.script.pop(0)
        chance = self._random.random()
        for name, share in self.options.faults.items():
            chance -= share
            if chance < 0:
                return name
        return None

    def _refused(self, call: Call, body: Mapping[str, Any]) -> tuple[int, Any, dict[str, str]] | None:
        options = self.options

        def error(message: str, code: str) -> dict[str, Any]:
            return {"type": "error", "error": {"message": message, "type": code, "code": code}}

        if options.key is not None and call.key != options.key:
            return 401, error(f"Incorrect API key provided: {call.key}.", "invalid_api_key"), {}
        if call.fault == "401":
            return 401, error(f"Incorrect API key provided: {call.key}.", "invalid_api_key"), {}
        if body.get("model") not in options.models or call.fault == "404":
            return 404, error(f"The model {body.get('model')} does not exist", "model_not_found"), {}
        if call.fault == "400":
            return 400, error("Invalid request", "invalid_request_error"), {}
        for name in options.unsupported:
            if name in json.dumps({k: v for k, v in body.items() if k != "messages"}):
                return 400, error(f"Unsupported parameter: {name!r} is not supported", "unsupported_parameter"), {}
        if call.fault == "500":
            return 500, error("The server had an error", "server_error"), {}
        if call.fault == "429":
            return 429, error("Rate limit reached", "rate_limit"), {"retry-after": f"{options.retry_after:g}"}
        if call.fault == "429-date":
            now = datetime.now(timezone.utc)
            until = format_datetime(now + timedelta(seconds=options.retry_after), usegmt=True)
            return (
                429,
                error("Rate limit reached", "rate_limit"),
                {"retry-after": until, "date": format_datetime(now, usegmt=True)},
            )
        return None

    def _said(self, body: Mapping[str, Any], fault: str | None) -> tuple[str, str]:
        """What the model says, and why it ends."""
        if fault == "refusal":
            return "I can't help with that.", "refusal"
        value = self.answer(body)
        if fault == "wrong-count":
            value = one_short(value)
        text = value if isinstance(value, str) and schema_of(body) is None else json.dumps(value, ensure_ascii=False)
        if fault == "fenced":
            return f"Here it is:\n```json\n{text}\n```\nAnything else?", "stop"
        if fault == "malformed":
            return text[:-2].replace(":", "=", 1), "stop"
        if fault == "overlong":
            return text[: max(1, len(text) // 3)], "length"
        return text, "stop"

    # everything else

    def _other(self, method: str, path: str, headers: Mapping[str, str], content: bytes) -> tuple[int, Any]:
        if path == "/_stand_in/log":
            return 200, self.log()
        if self.options.key is not None and self.options.key not in (
            headers.get("x-api-key"),
            headers.get("authorization", "").removeprefix("Bearer "),
        ):
            return 401, {"error": {"message": "Incorrect API key provided", "code": "invalid_api_key"}}
        if method == "GET" and path == "/models":
            return 200, {"object": "list", "data": [{"id": name, "object": "model"} for name in self.options.models]}
        from stand_in_batches import batch_call

        return batch_call(self, method, path, headers, content)


# the formats


def openai_message(body: Mapping[str, Any], text: str, reason: str, call: Call) -> dict[str, Any]:
    refused = reason == "refusal"
    message = {"role": "assistant", "content": None if refused else text, "refusal": text if refused else None}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": "stop" if refused else reason}],
        "usage": openai_usage(call),
    }


def openai_usage(call: Call) -> dict[str, int]:
    total = call.input_tokens + call.output_tokens
    return {"prompt_tokens": call.input_tokens, "completion_tokens": call.output_tokens, "total_tokens": total}


def openai_events(body: Mapping[str, Any], text: str, reason: str, call: Call) -> list[str]:
    name = "refusal" if reason == "refusal" else "content"
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{name: text[i : i + 12]} for i in range(0, len(text), 12)]
    chunks: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": d, "finish_reason": None}]} for d in deltas]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "length" if reason == "length" else "stop"}]})
    if (body.get("stream_options") or {}).get("include_usage"):
        chunks.append({"choices": [], "usage": openai_usage(call)})
    return [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks] + ["data: [DONE]\n\n"]


ANTHROPIC_REASONS = {"stop": "end_turn", "length": "max_tokens", "refusal": "refusal"}


def anthropic_message(body: Mapping[str, Any], text: str, reason: str, call: Call) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "text", "text": text}
    stop_reason = ANTHROPIC_REASONS[reason]
    if body.get("tools") and reason == "stop":
        with contextlib.suppress(ValueError):
            block = {"type": "tool_use", "id": "toolu_1", "name": body["tools"][0]["name"], "input": json.loads(text)}
            stop_reason = "tool_use"
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [block],
        "stop_reason": stop_reason,
        "usage": {"input_tokens": call.input_tokens, "output_tokens": call.output_tokens},
    }


def anthropic_events(body: Mapping[str, Any], text: str, reason: str, call: Call) -> list[str]:
    tool = bool(body.get("tools")) and reason != "refusal"
    delta = {"type": "input_json_delta"} if tool else {"type": "text_delta"}
    field_name = "partial_json" if tool else "text"
    usage = {"input_tokens": call.input_tokens, "output_tokens": 1}
    stop_reason = "tool_use" if tool and reason == "stop" else ANTHROPIC_REASONS[reason]
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"id": "msg_1", "usage": usage}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use" if tool else "text"}},
        {"type": "ping"},
        *(
            {"type": "content_block_delta", "index": 0, "delta": {**delta, field_name: text[i : i + 12]}}
            for i in range(0, len(text), 12)
        ),
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": stop_reason},
            "usage": {"output_tokens": call.output_tokens},
        },
        {"type": "message_stop"},
    ]
    return [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events]


def response_head(status: int, length: int, more: Mapping[str, str], kind: str = "application/json") -> bytes:
    lines = [f"HTTP/1.1 {status} Status", f"content-type: {kind}", f"content-length: {length}"]
    lines += [f"{name}: {value}" for name, value in more.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def send(writer: asyncio.StreamWriter, status: int, payload: Any, more: Mapping[str, str] | None = None) -> None:
    content = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    writer.write(response_head(status, len(content), more or {}) + content)
    await writer.drain()


# running it


@contextlib.contextmanager
def serving(answer: Answer = default_answer, *, port: int = 0, **options: Any) -> Iterator[StandIn]:
    """The server in a thread of this process; see `Options` for what it can do."""
    provider = StandIn(answer, **options)
    loop = asyncio.new_event_loop()
    ready, stop = threading.Event(), asyncio.Event()

    async def run() -> None:
        server = await provider.start(port)
        ready.set()
        await stop.wait()
        server.close()
        await provider.close()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield provider
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


class Elsewhere:
    """The server in another process."""

    def __init__(self, url: str) -> None:
        self.url = url

    def log(self) -> list[dict[str, Any]]:
        with urllib.request.urlopen(self.url.removesuffix("/v1") + "/_stand_in/log") as response:
            calls: list[dict[str, Any]] = json.load(response)
        return calls


@contextlib.contextmanager
def serving_process(**options: Any) -> Iterator[Elsewhere]:
    """The server in a process of its own, which ends with this one."""
    command = [sys.executable, str(Path(__file__).resolve()), "--options", json.dumps(options)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Elsewhere(process.stdout.readline().strip())
        finally:
            process.stdin.close()
            process.wait(10)


async def _by_hand(port: int, options: Mapping[str, Any]) -> None:
    provider = StandIn(**options)
    server = await provider.start(port)
    sys.stdout.write(provider.url + "\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.close()
    await provider.close()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--port", type=int, default=0)
    arguments.add_argument("--options", type=json.loads, default={})
    given = arguments.parse_args()
    asyncio.run(_by_hand(given.port, given.options))
