"""Ask many requests at once: within the limits and the budget, each paid once, every finished answer kept at once.

What is sent is in `transport`, what an answer means in `reading`, when a call may go in `limiter`.
"""

from __future__ import annotations

import asyncio
import functools
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timezone
from typing import Any, Literal

from lmsys_rs.errors import BudgetExceeded, InvalidInputError, ProviderError, RateLimited
from lmsys_rs.llm.bridge import InCaller, run_beside
from lmsys_rs.llm.budget import Budget
from lmsys_rs.llm.limiter import Limiter, shared_pace
from lmsys_rs.llm.models import Model, key_for
from lmsys_rs.llm.replaying import Work, replay, works_for
from lmsys_rs.llm.tokens import Forecast, estimate_tokens, most_prompt_tokens, prompt_tokens
from lmsys_rs.llm.transport import Adapted, Hints, Rejected, Temporary, Transport
from lmsys_rs.llm.values import Answer, Failed, Journal, JournalEntry, Limits, NotAsked, Outcome, Report, Request
from lmsys_rs.llm.wires import Reply
from lmsys_rs.records import Event, OnEvent, ignore_events

__all__ = ["OnAnswer", "OnToken", "ask_all"]

OnAnswer = Callable[[int, "Answer | Failed"], None]
"""Told the index of a request and what became of it, as soon as it is known."""
OnToken = Callable[[int, "str | None"], None]
"""Told the index of a request and a piece of its answer; None: what came so far is void, it starts again."""

BACKOFF_S = 0.5  # the first pause is up to this, each further one up to twice as long
MOST_BACKOFF_S = 30.0
MOST_FAILURES = 8  # so many requests in a row without an answer: the provider is down


def ask_all(
    model: Model,
    requests: Sequence[Request],
    *,
    limits: Limits = Limits(),  # noqa: B008  # frozen
    journal: Journal,
    stage: str = "ask",
    on_event: OnEvent = ignore_events,
    on_answer: OnAnswer | None = None,
    on_token: OnToken | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Report:
    """Ask every request once, many at a time, and return what became of each, in order.

    Answers that the journal has are not asked again; neither are equal requests. A bad answer is mended if that costs
    nothing, and otherwise followed by another question that says what is wrong. Works in scripts, under a running event
    loop (Jupyter) and in threads; everything that is passed in is called in the calling thread.

    Args:
        stage: name in the events; their unit is ``calls``: requests that are settled, of all.
        on_answer: called once for each request that was settled, in the order in which they are.
        on_token: asks for streamed answers and gets their pieces.
        cancelled: asked ten times a second; True ends the work within a second, and what was not asked is `NotAsked`.

    Raises:
        Unauthorized: the key is missing or refused.
        InvalidInputError: ``max_cost`` without a known price; an address that the key must not go to.
        RateLimited: the provider asks for a pause longer than ``limits.max_wait_s``.
        BudgetExceeded: ``max_cost`` does not pay for a single call; nothing was sent.
        ProviderError: the provider refuses what all requests have in common, or is down. Answers that came before are
            in the journal.
        KeyboardInterrupt: Ctrl-C; within a second, and answers that came before are in the journal.
    """
    if limits.max_cost is not None and model.price is None:
        raise InvalidInputError(
            f"max_cost needs a price, and that of {model.spec} is unknown",
            hint="give it: price=(input, output) in dollars for a million tokens (--price 0.15,0.60)",
        )
    asker = _Asker(model, limits, journal, stage, on_event, on_answer, on_token)
    asker.look_up(requests)
    if asker.n_open:
        asker.key = key_for(model)
        run_beside(asker, cancelled=cancelled)
    return asker.report()


class _Asker:
    """One call of `ask_all`: what is settled, what waits, what was spent."""

    def __init__(
        self,
        model: Model,
        limits: Limits,
        journal: Journal,
        stage: str,
        on_event: OnEvent,
        on_answer: OnAnswer | None,
        on_token: OnToken | None,
    ) -> None:
        self.model, self.limits, self.journal, self.stage = model, limits, journal, stage
        self.on_event, self.on_answer, self.on_token = on_event, on_answer, on_token
        self.key: Any = None
        self.outcomes: list[Outcome | None] = []
        self.waiting: deque[Work] = deque()
        self.n_calls = self.n_cached = self.n_settled = self.input_tokens = self.output_tokens = 0
        self.cost: float | None = 0.0
        self.stopped: Literal["budget", "cancelled"] | None = None
        self.started = time.perf_counter()
        self.n_failures = 0  # in a row
        self.listener_failed = False
        self.fatal: BaseException | None = None
        self.tasks: set[asyncio.Task[None]] = set()
        self.sending: set[asyncio.Task[None]] = set()  # paid soon: only Ctrl-C ends them
        self.forecast = Forecast()
        self.budget = Budget(limits.max_cost)

    # in the calling thread

    def look_up(self, requests: Sequence[Request]) -> None:
        """Settle what the journal answers, and queue the rest."""
        self.outcomes = [None] * len(requests)
        self.on_event(Event("started", self.stage, total=len(requests), unit="calls"))
        for work, outcome in replay(self.model, works_for(self.model, requests), self.journal, self.limits):
            if outcome is None:
                self.waiting.append(work)
            else:
                self.n_cached += len(work.indices)
                self._settle(work, outcome, quiet=True)
        if self.n_cached:
            self._tell()

    @property
    def n_open(self) -> int:
        """Requests that need a call."""
        return len(self.waiting)

    def report(self) -> Report:
        """What happened, with `NotAsked` for what did not."""
        self.on_event(
            Event("finished", self.stage, self.n_settled, len(self.outcomes), unit="calls", message=self._spent())
        )
        missing = NotAsked(self.stopped or "cancelled")
        return Report(
            outcomes=tuple(missing if outcome is None else outcome for outcome in self.outcomes),
            n_calls=self.n_calls,
            n_cached=self.n_cached,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            cost=self.cost,
            seconds=time.perf_counter() - self.started,
            stopped=self.stopped,
        )

    def _keep(self, work: Work, entry: JournalEntry) -> bool:
        """A paid answer goes into the journal before anything else happens; returns whether its request is settled."""
        self.journal.put(entry)
        self.n_calls += 1
        self.input_tokens += entry.input_tokens
        self.output_tokens += entry.output_tokens
        self.cost = None if self.cost is None or entry.cost is None else self.cost + entry.cost
        outcome = work.take(entry, self.model, self.limits)
        if outcome is not None:
            self._settle(work, outcome)
        return outcome is not None

    def _settle(self, work: Work, outcome: Answer | Failed, *, quiet: bool = False) -> None:
        for index in work.indices:
            self.outcomes[index] = outcome
            self.n_settled += 1
        if self.listener_failed:
            return  # what is still coming in is kept, and nobody is told
        self.listener_failed = True
        if self.on_answer is not None:
            for index in work.indices:
                self.on_answer(index, outcome)
        if not quiet:
            self._tell()
        self.listener_failed = False

    def _tell(self) -> None:
        self.on_event(
            Event("advanced", self.stage, self.n_settled, len(self.outcomes), unit="calls", message=self._spent())
        )

    def _spent(self) -> str:
        return "" if not self.cost else f"${self.cost:.4f}"

    # in the loop

    async def run(self, in_caller: InCaller) -> None:
        """Workers take requests until none is left, or something ends the work."""
        self.in_caller = in_caller
        provider = self.model.provider
        own = self.model.base_url == provider.base_url  # the defaults are those of the provider's own servers
        rpm = (provider.rpm if own else 0) if self.limits.rpm is None else self.limits.rpm
        tpm = (provider.tpm if own else 0) if self.limits.tpm is None else self.limits.tpm
        self.limiter = Limiter(shared_pace(f"{self.model.base_url} {self.model.spec}", rpm, tpm))
        concurrency = min(self.limits.concurrency or provider.concurrency, len(self.waiting))
        async with Transport(
            self.model,
            self.key,
            timeout_s=self.limits.timeout_s,
            on_hints=self._take_hints,
        ) as self.transport:
            self.tasks = {asyncio.ensure_future(self._work()) for _ in range(concurrency)}
            ends = await asyncio.gather(*self.tasks, return_exceptions=True)
        for error in (self.fatal, *ends):
            if error is not None and not isinstance(error, asyncio.CancelledError):
                raise error

    def stop(self) -> None:
        """The caller wants no more: end now, even calls in flight."""
        self.stopped = self.stopped or "cancelled"
        self.waiting.clear()
        for task in self.tasks:
            task.cancel()

    def _end(self, error: BaseException) -> None:
        """No call will fare better: let calls in flight finish, as they are paid, and raise."""
        self.fatal = self.fatal or error
        self.waiting.clear()
        for task in self.tasks - self.sending:
            if task is not asyncio.current_task():
                task.cancel()

    def _take_hints(self, hints: Hints) -> None:
        if hints.pause_s:
            self.limiter.pause(min(hints.pause_s, self.limits.max_wait_s))
        self.limiter.pace.lower(
            rpm=hints.rpm if self.limits.rpm is None else 0, tpm=hints.tpm if self.limits.tpm is None else 0
        )

    async def _work(self) -> None:
        while self.waiting and self.stopped is None and self.fatal is None:
            work = self.waiting.popleft()
            try:
                gave_up = await self._answer(work)
            except (ProviderError, InvalidInputError) as error:
                self._end(error)
                return
            if gave_up is not None:
                await self.in_caller(functools.partial(self._settle, work, gave_up))

    async def _answer(self, work: Work) -> Failed | None:
        """Ask, and ask again differently, until it is settled; returns why it can't be."""
        while True:
            most = 0.0 if self.model.price is None else self._most_cost(work.request)
            if not await self.budget.reserve(most):
                self._stop_for_budget(most)
                return work.failed("the budget does not allow another question") if work.n_calls else None
            spent = 0.0
            try:
                reply = await self._reply(work)
                entry = self._entry_of(work, reply)
                spent = entry.cost or 0.0
            except Rejected as error:
                return work.failed(f"the provider does not take it: {error}")
            except Temporary as error:
                return self._gave_up(work, error)
            finally:
                self.budget.settle(most, spent)
            self.n_failures = 0
            self.forecast.observe(work.request, entry.input_tokens, entry.output_tokens)
            if await self.in_caller(functools.partial(self._keep, work, entry), keeps=True):
                return None

    async def _reply(self, work: Work) -> Reply:
        """One call, made again while it brings no answer and costs nothing."""
        request, attempt = work.request, 0
        task = asyncio.current_task()
        assert task is not None
        while True:
            ticket = await self.limiter.acquire(functools.partial(self.forecast.reserve, request))
            tokens = self.forecast.reserve(request)  # a server may count what it does not answer
            self.sending.add(task)
            try:
                reply = await self.transport.call(
                    request, idempotency_key=f"lmsys-{work.key[:40]}", on_text=self._on_text(work)
                )
                tokens = (reply.input_tokens or prompt_tokens(request)) + (
                    reply.output_tokens or estimate_tokens(reply.text)
                )
                return reply
            except Adapted:
                continue
            except Temporary as error:
                tokens = 0 if error.status == 429 else tokens
                failure = error
            finally:
                self.sending.discard(task)
                self.limiter.settle(ticket, tokens)
            attempt += 1
            if self.fatal is not None:
                raise asyncio.CancelledError
            await self._pause_after(failure, attempt)

    async def _pause_after(self, error: Temporary, attempt: int) -> None:
        """Back off, or raise what ends the attempts."""
        if error.retry_after is not None and error.retry_after > self.limits.max_wait_s:
            raise RateLimited(
                f"{self.model.provider.name} asks to wait {error.retry_after:.0f} s: {error}",
                retry_after=error.retry_after,
                hint="what was answered is kept: run it again later",
            )
        if attempt >= self.limits.max_attempts:
            raise error
        if error.retry_after is not None:
            self.limiter.pause(error.retry_after)  # everyone waits, not only this call
            await asyncio.sleep(0)
            return
        await asyncio.sleep(random.uniform(0, min(MOST_BACKOFF_S, BACKOFF_S * 2**attempt)))

    def _gave_up(self, work: Work, error: Temporary) -> Failed:
        self.n_failures += 1
        if self.n_failures >= min(MOST_FAILURES, len(self.outcomes)):
            name = self.model.provider.name
            if error.status == 429:
                raise RateLimited(f"{name} refuses call after call: {error}", retry_after=error.retry_after) from error
            raise ProviderError(
                f"{name} brings no answer, {self.limits.max_attempts} attempts for each of {self.n_failures} requests: "
                f"{error}",
                hint="what was answered is kept: run it again later",
            ) from error
        return work.failed(f"no answer in {self.limits.max_attempts} attempts: {error}")

    def _on_text(self, work: Work) -> Callable[[str], Awaitable[None]] | None:
        on_token = self.on_token
        if on_token is None:
            return None
        begun = work.told_tokens
        work.told_tokens = False

        async def on_text(text: str) -> None:
            nonlocal begun
            void, begun, work.told_tokens = begun, False, True
            await self.in_caller(lambda: _tell_tokens(on_token, work.indices, text, void))

        return on_text

    def _entry_of(self, work: Work, reply: Reply) -> JournalEntry:
        request = work.request
        input_tokens = prompt_tokens(request) if reply.input_tokens is None else reply.input_tokens
        output_tokens = estimate_tokens(reply.text) if reply.output_tokens is None else reply.output_tokens
        price = self.model.price
        return JournalEntry(
            key=work.key,
            purpose=request.purpose,
            model=self.model.spec,
            text=reply.text,
            finish_reason=reply.finish_reason,
            refusal=reply.refusal,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            cost=None if price is None else price.of(input_tokens, output_tokens),
            created_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        )

    def _most_cost(self, request: Request) -> float:
        assert self.model.price is not None
        return self.model.price.of(most_prompt_tokens(request), request.max_output_tokens)

    def _stop_for_budget(self, needed: float) -> None:
        self.waiting.clear()
        if not self.n_calls and not self.n_cached:
            raise BudgetExceeded(
                f"max_cost of ${self.limits.max_cost:.4f} does not pay for one call, which may take ${needed:.4f}",
                hint="raise it, or take a cheaper model",
            )
        self.stopped = "budget"


def _tell_tokens(on_token: OnToken, indices: Sequence[int], text: str, void: bool) -> None:
    for index in indices:
        if void:
            on_token(index, None)
        on_token(index, text)
