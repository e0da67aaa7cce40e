"""The values of a conversation with a model: what is asked, what comes back, what is kept, and how fast we may go.

Nothing here sends, counts or checks anything; the journal is a protocol that a store implements.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

from lmsys_rs.errors import InvalidInputError

__all__ = [
    "Answer",
    "BatchJob",
    "Check",
    "Failed",
    "Journal",
    "JournalEntry",
    "Limits",
    "Message",
    "NotAsked",
    "Outcome",
    "Report",
    "Request",
    "well_formed",
]

KEY_VERSION = 1  # part of every key: raise it when the same request would be sent with another meaning

Check: TypeAlias = "Callable[[Any], str | None]"
"""Says what is wrong with a value that fits the schema, in a sentence for the model; None if nothing is."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of what is sent."""

    role: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One question for a model.

    Attributes:
        purpose: what it is for (``name``, ``merge``), for journals and bills; not sent.
        messages: the turns; a plain string is one turn of the user.
        system: instructions before them.
        schema: JSON schema of the answer, an object; None for plain text.
        schema_name: how the schema is called on the wire: letters, digits, ``_`` and ``-``.
        max_output_tokens: the answer is cut there.
        expected_output_tokens: usual length of an answer, for estimates; None means half of the most.
        temperature: None leaves it to the model (some refuse any other).
        seed: for providers that take one.
        check: what the schema can't say, see `Check`; not part of the key.
    """

    purpose: str
    messages: tuple[Message, ...] | str
    system: str = ""
    schema: Mapping[str, Any] | None = field(default=None, hash=False)
    schema_name: str = "answer"
    max_output_tokens: int = 1024
    expected_output_tokens: int | None = field(default=None, compare=False)
    temperature: float | None = None
    seed: int | None = None
    check: Check | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.messages, str):
            object.__setattr__(self, "messages", (Message("user", self.messages),))
        if not self.messages:
            raise InvalidInputError("a request needs at least one message")
        if self.max_output_tokens < 1:
            raise InvalidInputError(f"max_output_tokens must be >= 1: {self.max_output_tokens}")

    @property
    def turns(self) -> tuple[Message, ...]:
        """The messages, always as turns."""
        assert not isinstance(self.messages, str)
        return self.messages

    def key(self, model: str, host: str) -> str:
        """SHA-256 (hex) of everything that decides the answer; the same on every machine and in every version.

        Args:
            model: ``provider/name``.
            host: the host that answers, without port: a local server may come back on another one.
        """
        content = {
            "version": KEY_VERSION,
            "model": model,
            "host": host,
            "system": self.system,
            "messages": [[turn.role, turn.text] for turn in self.turns],
            "schema": self.schema,
            "max_output_tokens": self.max_output_tokens,
            "temperature": self.temperature,
            "seed": self.seed,
        }
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """One finished call, good or bad: it was paid, so it is never made again.

    Attributes:
        key: see `Request.key`.
        model: ``provider/name``.
        text: the raw answer.
        finish_reason: ``stop``, ``length``, ``refusal``, or the provider's own word.
        refusal: why the model declined, if it did.
        input_tokens, output_tokens: as the provider counted; estimated where it does not say.
        cost: US dollars; None where the price is unknown.
        created_at: UTC, ISO 8601.
    """

    key: str
    purpose: str
    model: str
    text: str
    finish_reason: str
    refusal: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None
    created_at: str = ""

    def __post_init__(self) -> None:
        # half a character cannot be stored, and the answer is paid
        object.__setattr__(self, "text", well_formed(self.text))
        object.__setattr__(self, "refusal", None if self.refusal is None else well_formed(self.refusal))


def well_formed(text: str) -> str:
    """The text with U+FFFD for each half of a surrogate pair; halves that stand together are one character.

    Example:
        >>> well_formed("\ud83d\ude00 \ud83d")
        '😀 �'
    """
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchJob:
    """A batch that was handed to a provider.

    Attributes:
        batch_id: the provider's name for it.
        model: ``provider/name``.
        keys: of its requests, in order; each line of the batch carries its key.
        state: ``open`` until its results are in the journal, then ``taken``; ``lost`` if the provider gave none.
        created_at: UTC, ISO 8601.
    """

    batch_id: str
    model: str
    keys: tuple[str, ...]
    state: Literal["open", "taken", "lost"] = "open"
    created_at: str = ""


class Journal(Protocol):
    """Where finished calls are kept. Every method is called in the thread that called `ask_all` or `ask_batch`.

    `put` and `put_batch` return when the record would survive the end of the process.
    """

    def get_many(self, keys: Sequence[str]) -> Mapping[str, JournalEntry]:
        """The entries that exist among up to some hundred keys."""
        ...

    def put(self, entry: JournalEntry) -> None:
        """Keep an entry; one with the same key stays as it is."""
        ...

    def put_batch(self, job: BatchJob) -> None:
        """Keep a batch, or replace the one with its id and model."""
        ...

    def open_batches(self, model: str) -> Sequence[BatchJob]:
        """The batches of a model whose results are not taken yet, oldest first."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A usable answer.

    Attributes:
        value: parsed and valid by the schema; the text itself where there is none.
        text: as the model wrote it.
        input_tokens, output_tokens, cost, n_calls: over all calls that led here, repairs too, whenever they were paid;
            ``cost`` is None where the price is unknown.
        cached: no call was made for it now.
    """

    value: Any
    text: str
    input_tokens: int
    output_tokens: int
    cost: float | None
    finish_reason: str
    n_calls: int = 1
    cached: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """No usable answer, though it was asked; ``text`` is the last one, if there was any."""

    reason: str
    text: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = 0.0
    n_calls: int = 0
    cached: bool = False


@dataclass(frozen=True, slots=True)
class NotAsked:
    """Left alone because the budget was reached, or the caller stopped."""

    reason: Literal["budget", "cancelled"]


Outcome: TypeAlias = "Answer | Failed | NotAsked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What `ask_all` or `ask_batch` did.

    Attributes:
        outcomes: one for each request, in order.
        n_calls: calls made and paid now; ``n_cached`` requests needed none.
        input_tokens, output_tokens, cost: of these calls; ``cost`` in US dollars, None where the price is unknown.
        stopped: why not everything was asked.
    """

    outcomes: tuple[Outcome, ...]
    n_calls: int
    n_cached: int
    input_tokens: int
    output_tokens: int
    cost: float | None
    seconds: float
    stopped: Literal["budget", "cancelled"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How fast, how long and how dear.

    Attributes:
        concurrency: calls at a time; None takes the provider's default.
        rpm, tpm: requests and tokens (prompt and answer) in any 60 seconds; None takes the provider's default, 0 is
            no limit.
        max_cost: US dollars that this call may spend; reserved before each call, so never exceeded. A call that was cut
            off counts nothing, though a provider may bill it.
        timeout_s: for a whole answer; with ``on_token`` between two pieces of it.
        max_attempts: how often a call that brought no answer (429, 5xx, a cut connection) is tried.
        max_repairs: how often a bad answer is followed by another question.
        max_wait_s: a provider that asks for a longer pause ends the work with `RateLimited`.
    """

    concurrency: int | None = None
    rpm: int | None = None
    tpm: int | None = None
    max_cost: float | None = None
    timeout_s: float = 120.0
    max_attempts: int = 6
    max_repairs: int = 2
    max_wait_s: float = 300.0

    def __post_init__(self) -> None:
        for name, least in (("concurrency", 1), ("rpm", 0), ("tpm", 0), ("max_cost", 0), ("max_attempts", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InvalidInputError(f"{name} must be >= {least}: {value}")
        if self.timeout_s <= 0:
            raise InvalidInputError(f"timeout_s must be > 0: {self.timeout_s}")
