"""The batch APIs of the stand-in: OpenAI's and Mistral's files, and Anthropic's own."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stand_in import StandIn


def batch_call(server: StandIn, method: str, path: str, headers: Mapping[str, str], content: bytes) -> tuple[int, Any]:
    """One call that has to do with batches; 404 for any other."""
    parts = path.strip("/").split("/")
    if method == "POST" and path == "/files":
        file_id = f"file-{len(server.files)}"
        boundary = headers["content-type"].partition("boundary=")[2].strip('"').encode()
        part = next(p for p in content.split(b"--" + boundary) if b"filename=" in p)
        server.files[file_id] = part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")
        return 200, {"id": file_id, "object": "file"}
    if method == "GET" and parts[0] == "files" and parts[-1] == "content":
        return (200, server.files[parts[1]]) if parts[1] in server.files else (404, {"error": {"message": "no file"}})
    if method == "POST" and path in ("/batches", "/batch/jobs", "/messages/batches"):
        return 200, _submitted(server, path, json.loads(content))
    if path.startswith("/messages/batches/") and path.endswith("/results"):
        return 200, server.files[f"results-{parts[2]}"]
    if method == "GET" and parts[-1] in server.batches:
        return 200, _looked_at(server, path, parts[-1])
    return 404, {"error": {"message": f"nothing at {method} {path}"}}


def _submitted(server: StandIn, path: str, job: Mapping[str, Any]) -> dict[str, Any]:
    batch_id = f"batch_{len(server.batches)}"
    if path == "/messages/batches":
        rows = [(row["custom_id"], row["params"]) for row in job["requests"]]
    else:
        file_id = job.get("input_file_id") or job["input_files"][0]
        lines = [json.loads(line) for line in server.files[file_id].splitlines()]
        rows = [(line["custom_id"], line["body"]) for line in lines]
    server.batches[batch_id] = {"rows": rows, "looks": 0, "path": path}
    return {"id": batch_id, "status": "validating", "processing_status": "in_progress"}


def _looked_at(server: StandIn, path: str, batch_id: str) -> dict[str, Any]:
    batch = server.batches[batch_id]
    batch["looks"] += 1
    ended = batch["looks"] > server.options.batch_polls
    fault = server.options.batch_fault if ended else None
    if ended and fault != "failed" and f"results-{batch_id}" not in server.files:
        server.files[f"results-{batch_id}"] = _results(server, batch, fault)
    if fault is not None:
        server.options.batch_fault = None  # the next batch goes well
    if path.startswith("/messages"):
        return {"id": batch_id, "processing_status": "ended" if ended else "in_progress", "request_counts": {}}
    state = {None: "completed", "expired": "expired", "failed": "failed", "lines": "completed"}[fault]
    output = f"results-{batch_id}" if ended and fault != "failed" else None
    if path.startswith("/batch/jobs"):
        words = {"completed": "SUCCESS", "expired": "TIMEOUT_EXCEEDED", "failed": "FAILED"}
        return {"id": batch_id, "status": words[state] if ended else "RUNNING", "output_file": output}
    errors = {"data": [{"message": "line 1 is not valid"}]} if fault == "failed" else None
    return {
        "id": batch_id,
        "status": state if ended else "in_progress",
        "output_file_id": output,
        "errors": errors,
        "request_counts": {"completed": len(batch["rows"]) if ended else 0},
    }


def _results(server: StandIn, batch: Mapping[str, Any], fault: str | None) -> bytes:
    """The lines, last one first: providers keep no order. Every third is missing or an error where that is asked."""
    from stand_in import Call, anthropic_message, openai_message, prompt_of

    lines = []
    for i, (name, body) in enumerate(batch["rows"]):
        if fault == "expired" and i % 3 == 0:
            continue
        text, reason = server._said(body, server._fault())
        call = Call(
            path=batch["path"],
            arrived=time.monotonic(),
            body_hash=hashlib.sha256(json.dumps(body).encode()).hexdigest(),
            input_tokens=len(prompt_of(body)) // 4 + 10,
            output_tokens=-(-len(text) // 4),
            completed=time.monotonic(),
            status=200,
            paid=True,
        )
        if fault == "lines" and i % 3 == 0:
            error = {"message": "The server had an error", "type": "server_error"}
            failed = {"custom_id": name, "result": {"type": "errored", "error": {"error": error}}}
            if not batch["path"].startswith("/messages"):
                failed = {"custom_id": name, "response": {"status_code": 500, "body": {"error": error}}}
            lines.append(failed)
            continue
        server.calls.append(call)
        if batch["path"].startswith("/messages"):
            message = anthropic_message(body, text, reason, call)
            lines.append({"custom_id": name, "result": {"type": "succeeded", "message": message}})
        else:
            message = openai_message(body, text, reason, call)
            lines.append({"custom_id": name, "response": {"status_code": 200, "body": message}, "error": None})
    return "".join(json.dumps(line) + "\n" for line in reversed(lines)).encode()
