"""How each batch API is spoken: hand in lines, ask how they are, take what came. Three dialects of one idea.

OpenAI's (Groq has the same) and Mistral's take a file of JSON lines and give one back; Anthropic's takes the lines in
the call itself. It makes calls, but decides nothing about money or what to ask again.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from lmsys_rs.errors import InvalidInputError, ProviderError, RateLimited
from lmsys_rs.llm.extra import require_extra
from lmsys_rs.llm.keys import Key, scrub
from lmsys_rs.llm.models import Model
from lmsys_rs.llm.transport import Temporary, error_of, in_words, safe_options, told_in
from lmsys_rs.llm.values import Limits
from lmsys_rs.llm.wires import wire_of

if TYPE_CHECKING:
    import httpx

__all__ = ["BatchClient", "BatchState", "LineResult", "pause_between", "sleeper"]

LINE_PATH = "/v1/chat/completions"  # names the kind of call, not an address
BACKOFF_S = 0.5
MOST_BACKOFF_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchState:
    """How a batch is doing.

    Attributes:
        ended: nothing more will come.
        n_done: lines that are worked on, as far as the provider says.
        files: where the results are.
        problem: why there are no results at all.
    """

    ended: bool
    n_done: int = 0
    files: tuple[str, ...] = ()
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class LineResult:
    """One line that came back: the provider's message, or what went wrong (then it was not paid)."""

    custom_id: str
    message: Mapping[str, Any] | None
    problem: str = ""


class BatchClient:
    """The batch API of a model's provider; use as a context.

    Raises:
        InvalidInputError: the provider has none.
    """

    def __init__(self, model: Model, key: Key | None, limits: Limits, *, sleep: Callable[[float], None]) -> None:
        if model.provider.batches is None:
            raise InvalidInputError(
                f"{model.provider.name} has no batch API that we know",
                hint="ask without a batch, or take another model",
            )
        require_extra()
        import httpx

        self._model, self._key, self._limits, self._sleep = model, key, limits, sleep
        self._kind = model.provider.batches
        self._client = httpx.Client(
            headers={**wire_of(model).headers(key), "user-agent": "lmsys-rs"},
            timeout=limits.timeout_s,
            **safe_options(model),
        )

    def __enter__(self) -> BatchClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def submit(self, lines: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
        """Hand in requests (name and body of each); returns the provider's name of the batch."""
        if self._kind == "anthropic":
            rows = [{"custom_id": name, "params": body} for name, body in lines]
            return str(self._json("POST", "/messages/batches", json={"requests": rows})["id"])
        extra = {"method": "POST", "url": LINE_PATH} if self._kind == "openai" else {}
        content = "".join(json.dumps({"custom_id": name, **extra, "body": body}) + "\n" for name, body in lines)
        upload = {"file": ("batch.jsonl", content.encode(), "application/jsonl")}
        file_id = self._json("POST", "/files", data={"purpose": "batch"}, files=upload)["id"]
        if self._kind == "mistral":
            job = {"input_files": [file_id], "model": self._model.name, "endpoint": LINE_PATH}
            return str(self._json("POST", "/batch/jobs", json=job)["id"])
        job = {"input_file_id": file_id, "endpoint": LINE_PATH, "completion_window": "24h"}
        return str(self._json("POST", "/batches", json=job)["id"])

    def state(self, batch_id: str) -> BatchState:
        """How a batch is doing now."""
        if self._kind == "anthropic":
            told = self._json("GET", f"/messages/batches/{batch_id}")
            counts = told.get("request_counts") or {}
            done = sum(int(counts.get(name) or 0) for name in ("succeeded", "errored", "canceled", "expired"))
            ended = told.get("processing_status") == "ended"
            # the address in `results_url` is not followed: the key goes to the provider's own only
            results = f"/messages/batches/{batch_id}/results"
            return BatchState(ended=ended, n_done=done, files=(results,) if ended else ())
        if self._kind == "mistral":
            told = self._json("GET", f"/batch/jobs/{batch_id}")
            ended = told.get("status") not in ("QUEUED", "RUNNING", "CANCELLATION_REQUESTED")
            names = [told.get("output_file"), told.get("error_file")]
            done = int(told.get("completed_requests") or 0)
        else:
            told = self._json("GET", f"/batches/{batch_id}")
            ended = told.get("status") in ("completed", "failed", "expired", "cancelled")
            names = [told.get("output_file_id"), told.get("error_file_id")]
            done = int((told.get("request_counts") or {}).get("completed") or 0)
        files = tuple(f"/files/{name}/content" for name in names if name)
        problem = None
        if ended and not files:
            problem = f"the batch ended as {told.get('status')}{_why(told)}"
        return BatchState(ended=ended, n_done=done, files=files, problem=problem)

    def results(self, state: BatchState) -> Iterator[LineResult]:
        """The lines of a batch that ended, one at a time."""
        for path in state.files:
            response = self._response("GET", path)
            for line in response.iter_lines():
                try:
                    row = json.loads(line)
                except ValueError:
                    continue  # an empty line, or one that is damaged: it counts as not come
                if isinstance(row, dict) and isinstance(row.get("custom_id"), str):
                    yield self._line(row)

    def _line(self, row: Mapping[str, Any]) -> LineResult:
        name = str(row["custom_id"])
        if self._kind == "anthropic":
            result = row.get("result") or {}
            if result.get("type") == "succeeded":
                return LineResult(name, result.get("message"))
            problem = result.get("error") or result.get("type")
        else:
            response = row.get("response") or {}
            if response.get("status_code") == 200 and isinstance(response.get("body"), dict):
                return LineResult(name, response["body"])
            problem = row.get("error") or response.get("body") or f"status {response.get('status_code')}"
        text = problem if isinstance(problem, str) else told_in(json.dumps(problem).encode())
        return LineResult(name, None, scrub(text, self._key))

    def _json(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        try:
            payload = self._response(method, path, **content).json()
        except ValueError as error:
            raise ProviderError(f"{self._model.provider.name} answers {path} with something that is no JSON") from error
        if not isinstance(payload, dict) or (method == "POST" and "id" not in payload):
            raise ProviderError(f"{self._model.provider.name} answers {path} in an unknown form")
        return payload

    def _response(self, method: str, path: str, **content: Any) -> httpx.Response:
        """A 200, after as many attempts as allowed; a cut POST is not repeated, as it may have been accepted."""
        import httpx

        for attempt in range(1, self._limits.max_attempts + 1):
            try:
                response = self._client.request(method, self._model.base_url + path, **content)
                if response.status_code in (200, 201):
                    return response
                told = scrub(told_in(response.content), self._key)
                failure = error_of(self._model, response.status_code, told, response.headers)
                if not isinstance(failure, Temporary):
                    raise failure
            except httpx.HTTPError as error:
                failure = Temporary(in_words(error, self._model))
                if method == "POST" and not isinstance(error, httpx.ConnectError):
                    raise ProviderError(
                        f"{self._model.provider.name} did not say whether it took the batch: {failure}",
                        hint="look at the provider's list of batches before you run it again",
                    ) from error
            pause = failure.retry_after
            if pause is not None and pause > self._limits.max_wait_s:
                raise RateLimited(f"{self._model.provider.name} asks to wait {pause:.0f} s", retry_after=pause)
            if attempt < self._limits.max_attempts:
                jitter = random.uniform(0, min(MOST_BACKOFF_S, BACKOFF_S * 2**attempt))
                self._sleep(jitter if pause is None else pause)
        raise ProviderError(f"{self._model.provider.name} does not answer {path}: {failure}")


def pause_between(first_s: float, most_s: float) -> Iterator[float]:
    """Seconds between looks at a batch: longer each time, as they take minutes to a day."""
    pause = first_s
    while True:
        yield pause
        pause = min(most_s, pause * 1.5)


def sleeper(cancelled: Callable[[], bool]) -> Callable[[float], None]:
    """Sleeps that end when the caller wants to stop."""

    def sleep(seconds: float) -> None:
        until = time.monotonic() + seconds
        while not cancelled() and (left := until - time.monotonic()) > 0:
            time.sleep(min(0.1, left))

    return sleep


def _why(told: Mapping[str, Any]) -> str:
    errors = told.get("errors")
    rows = errors.get("data") if isinstance(errors, dict) else errors
    return f": {rows[0].get('message')}" if isinstance(rows, list) and rows and isinstance(rows[0], dict) else ""
