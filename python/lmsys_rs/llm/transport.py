"""One HTTP call: what goes out, what a status means, and what the server says about waiting.

It makes a call once. Whether, when and how often again is decided in `asking`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from lmsys_rs.errors import ProviderError, Unauthorized
from lmsys_rs.llm.extra import require_extra
from lmsys_rs.llm.keys import Key, scrub
from lmsys_rs.llm.models import Model
from lmsys_rs.llm.values import Request
from lmsys_rs.llm.wires import Dialect, Reply, wire_of

if TYPE_CHECKING:
    import httpx

__all__ = [
    "Adapted",
    "Hints",
    "Rejected",
    "Temporary",
    "Transport",
    "error_of",
    "in_words",
    "list_models",
    "retry_after_s",
    "safe_options",
    "told_in",
]

CONNECT_S = 10.0
_TEMPORARY = {408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529}
_NO_CREDIT = ("insufficient_quota", "credit balance", "billing", "payment required")
_TOO_LONG = ("context_length", "context length", "context window", "too long", "maximum context", "too many tokens")
_FILTERED = ("content_filter", "content management policy", "content_policy", "safety")


class Temporary(Exception):
    """No answer, nothing paid: the same call may bring one later.

    Attributes:
        status: of the response; None if there was none.
        retry_after: seconds, if the server said so.
    """

    def __init__(self, reason: str, *, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.retry_after = retry_after


class Rejected(Exception):
    """The provider does not take this very request; others may be fine."""


class Adapted(Exception):
    """The server did not understand a parameter; the next call leaves it out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hints:
    """What the headers of a response say: limits of a minute (0: nothing said), and a pause in seconds."""

    rpm: int = 0
    tpm: int = 0
    pause_s: float = 0.0


class Transport:
    """An open client for one model; use as an asynchronous context.

    Args:
        on_hints: told what the headers of every response say.
    """

    def __init__(self, model: Model, key: Key | None, *, timeout_s: float, on_hints: Callable[[Hints], None]) -> None:
        require_extra()

        self._model, self._key, self._timeout_s, self._on_hints = model, key, timeout_s, on_hints
        self._wire = wire_of(model)
        self._dialect = Dialect(model.provider.max_tokens_name)
        self._safe = safe_options(model)
        # one client for each call at a time: a pool looks at all of its connections for every request, which takes
        # 2.4 ms of CPU for a call where 50 go at once
        self._idle: list[httpx.AsyncClient] = []
        self._clients: list[httpx.AsyncClient] = []

    async def __aenter__(self) -> Transport:
        return self

    async def __aexit__(self, *error: object) -> None:
        for client in self._clients:
            await client.aclose()

    async def call(
        self, request: Request, *, idempotency_key: str, on_text: Callable[[str], Awaitable[None]] | None = None
    ) -> Reply:
        """Make the call, once.

        Args:
            on_text: gets the pieces of the answer as they come; then `timeout_s` is between two pieces.

        Raises:
            Temporary, Rejected, Adapted: see there.
            Unauthorized, ProviderError: no other call will fare better.
        """
        import httpx

        version = self._dialect.version
        body = self._wire.body(self._model, request, self._dialect, stream=on_text is not None)
        client = self._idle.pop() if self._idle else self._new_client()
        prepared = client.build_request(
            "POST",
            self._model.base_url + self._wire.path,
            content=json.dumps(body, ensure_ascii=False).encode("utf-8", "replace"),
            headers={"content-type": "application/json", "idempotency-key": idempotency_key},
        )
        try:
            if on_text is not None:
                return await self._stream(client, prepared, on_text, version)
            response = await asyncio.wait_for(client.send(prepared), self._timeout_s)
            self._look_at(response, version)
            reply = self._wire.reply(_object(response.content))
        except (httpx.TimeoutException, asyncio.TimeoutError) as error:
            raise Temporary(f"no answer within {self._timeout_s:g} s") from error
        except httpx.HTTPError as error:
            raise Temporary(in_words(error, self._model)) from error
        finally:
            self._idle.append(client)
        if reply is None:
            raise Temporary("a response without an answer in it", status=response.status_code)
        return reply

    def _new_client(self) -> httpx.AsyncClient:
        import httpx

        client = httpx.AsyncClient(
            headers={**self._wire.headers(self._key), "user-agent": "lmsys-rs"},
            timeout=httpx.Timeout(self._timeout_s, connect=min(CONNECT_S, self._timeout_s)),
            **self._safe,
        )
        self._clients.append(client)
        return client

    async def _stream(
        self,
        client: httpx.AsyncClient,
        prepared: httpx.Request,
        on_text: Callable[[str], Awaitable[None]],
        version: int,
    ) -> Reply:
        from httpx_sse import EventSource

        response = await client.send(prepared, stream=True)
        try:
            if response.status_code != 200:
                await response.aread()
            self._look_at(response, version)
            reader = self._wire.reader()
            async for event in EventSource(response).aiter_sse():
                if event.event == "error":
                    raise Temporary(f"the stream ended with an error: {scrub(event.data, self._key)}", status=200)
                text = reader.feed(event.event, event.data)
                if text:
                    await on_text(text)
        except ValueError as error:  # half a JSON object: cut in the middle of an event
            raise Temporary("the stream was cut", status=200) from error
        finally:
            await response.aclose()
        reply = reader.reply()
        if reply is None:
            raise Temporary("the stream was cut", status=200)
        return reply

    def _look_at(self, response: httpx.Response, version: int) -> None:
        """Return for a 200; raise what anything else means."""
        self._on_hints(_hints(self._model, response.headers))
        if response.status_code == 200:
            return
        told = scrub(told_in(response.content), self._key)
        if response.status_code in (400, 422):
            if version != self._dialect.version or self._dialect.adapt(told):
                raise Adapted(told)
            if any(word in told.lower() for word in _TOO_LONG + _FILTERED):
                raise Rejected(told)
        raise error_of(self._model, response.status_code, told, response.headers)


def list_models(model: Model, key: Key | None, *, timeout_s: float) -> list[str]:
    """The names of the models that a provider offers now.

    Raises:
        Unauthorized, ProviderError: it does not say.
    """
    require_extra()
    import httpx

    url = model.base_url + ("/models?limit=1000" if model.provider.wire == "anthropic" else "/models")
    try:
        with httpx.Client(headers=wire_of(model).headers(key), timeout=timeout_s, **safe_options(model)) as client:
            response = client.get(url)
    except httpx.HTTPError as error:
        raise ProviderError(
            f"{model.provider.name} does not answer at {model.base_url}: {in_words(error, model)}",
            hint=f"is {model.provider.name} running?" if model.provider.local else "is the address right?",
        ) from error
    if response.status_code == 404:
        return []  # the server has no list
    if response.status_code != 200:
        refusal = error_of(model, response.status_code, scrub(told_in(response.content), key), response.headers)
        raise ProviderError(str(refusal)) if isinstance(refusal, Temporary) else refusal
    try:
        listed = _object(response.content).get("data") or []
    except Temporary as error:
        raise ProviderError(f"{model.provider.name} lists its models in no known form: {error}") from error
    return [str(row["id"]).removeprefix("models/") for row in listed if isinstance(row, dict) and "id" in row]


def retry_after_s(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds that a response asks to wait: ``retry-after-ms``, or ``retry-after`` in seconds or as an HTTP date."""
    try:
        if "retry-after-ms" in headers:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        if "retry-after" not in headers:
            return None
        return max(0.0, float(headers["retry-after"]))
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(headers.get("retry-after", ""))
    except ValueError:
        return None
    # both by the server's clock where it tells: ours may be wrong. Whole seconds were cut off: wait one more
    try:
        then = parsedate_to_datetime(headers["date"])
    except (KeyError, ValueError):
        then = now or datetime.now(timezone.utc)
    if until.tzinfo is None or then.tzinfo is None:
        return None
    return max(0.0, (until - then).total_seconds()) + 1.0


def safe_options(model: Model) -> dict[str, Any]:
    """No redirect carries a key away; this machine is reached without a proxy, and without loading certificates."""
    import httpx

    encrypted = model.base_url.startswith("https://")
    return {
        "follow_redirects": False,
        "trust_env": not model.is_loopback,
        "verify": httpx.create_ssl_context() if encrypted else False,  # once, for all clients
    }


def error_of(model: Model, status: int, told: str, headers: Mapping[str, str]) -> Exception:
    """What a status other than 200 means; ``told`` is what the body says, scrubbed."""
    name = model.provider.name
    said = f": {told}" if told else ""
    if status == 402 or (status in (400, 403, 429) and any(word in told.lower() for word in _NO_CREDIT)):
        return ProviderError(f"{name} says there is no credit{said}", hint="see the billing page of the provider")
    if status in _TEMPORARY or status >= 500:
        return Temporary(f"status {status}{said}", status=status, retry_after=retry_after_s(headers))
    if status in (401, 403):
        names = " or ".join(model.provider.key_names)
        return Unauthorized(f"{name} refused the key (status {status}){said}", hint=f"check {names}")
    if status == 404:
        return ProviderError(
            f"{name} has no model {model.name!r} at {model.base_url} (status 404){said}",
            hint=None if model.base_url.rpartition("/")[2].startswith("v1") else "most addresses end in /v1",
        )
    if 300 <= status < 400:
        return ProviderError(
            f"{name} redirects to another address (status {status}), which is not followed with a key",
            hint=f"is {model.base_url} right?",
        )
    return ProviderError(f"{name} does not take the request (status {status}){said}")


def _hints(model: Model, headers: Mapping[str, str]) -> Hints:
    prefix = "anthropic-ratelimit-" if model.provider.wire == "anthropic" else "x-ratelimit-"
    found: dict[str, str] = {name: headers[name] for name in headers if name.startswith(prefix)}
    if not found:
        return Hints()
    pause = 0.0
    for unit in ("requests", "tokens"):
        names = (f"{prefix}{unit}-remaining", f"{prefix}{unit}-reset")
        if model.provider.wire != "anthropic":
            names = (f"{prefix}remaining-{unit}", f"{prefix}reset-{unit}")
        if _int(found.get(names[0])) == 0:
            pause = max(pause, _seconds(found.get(names[1], "")))
    if not model.provider.minute_headers:
        return Hints(pause_s=pause)
    rpm = found.get(f"{prefix}requests-limit") or found.get(f"{prefix}limit-requests")
    tpm = found.get(f"{prefix}tokens-limit") or found.get(f"{prefix}limit-tokens")
    return Hints(rpm=_int(rpm) or 0, tpm=_int(tpm) or 0, pause_s=pause)


def _seconds(text: str) -> float:
    """``6m0s``, ``250ms``, ``12``, or a time in RFC 3339."""
    if "T" in text:
        try:
            until = datetime.fromisoformat(text.replace("Z", "+00:00"))
        except ValueError:
            return 0.0
        return max(0.0, (until - datetime.now(timezone.utc)).total_seconds()) if until.tzinfo else 0.0
    total, number = 0.0, ""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0}
    text = text.replace("ms", "l")
    for letter in text:
        if letter.isdigit() or letter == ".":
            number += letter
        elif number:
            total += float(number) * (0.001 if letter == "l" else units.get(letter, 0.0))
            number = ""
    return total + (float(number) if number.replace(".", "", 1).isdigit() else 0.0)


def _int(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None


def _object(content: bytes) -> dict[str, Any]:
    try:
        payload = json.loads(content)
    except ValueError as error:
        raise Temporary("a response that is no JSON", status=200) from error
    if not isinstance(payload, dict):
        raise Temporary("a response that is no JSON object", status=200)
    return payload


def told_in(content: bytes) -> str:
    """The message inside an error's body, with its code; the body where there is none."""
    text = content.decode("utf-8", "replace")
    try:
        payload = json.loads(text)
    except ValueError:
        return text
    error = payload.get("error", payload) if isinstance(payload, dict) else payload
    if not isinstance(error, dict):
        return str(error)
    code = error.get("code") or error.get("type")
    message = error.get("message") or error.get("detail") or text
    return f"{message} ({code})" if isinstance(code, str) else str(message)


def in_words(error: httpx.HTTPError, model: Model) -> str:
    """A transport error without addresses, which may hold secrets."""
    name = type(error).__name__
    if name == "ConnectError":
        return f"no connection to {model.host}"
    return f"the connection was cut ({name})"
