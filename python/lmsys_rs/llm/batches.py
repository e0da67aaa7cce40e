"""Ask many requests as a batch: half the price, within a day. The same journal, checks and follow-ups as `ask_all`.

A batch is in the journal as soon as the provider has named it, so a process that is killed takes it up again by its
name. Bad answers go into a further batch, as do lines that the provider dropped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import Literal

from lmsys_rs.errors import InvalidInputError, ProviderError
from lmsys_rs.llm.asking import OnAnswer
from lmsys_rs.llm.batch_wires import BatchClient, pause_between, sleeper
from lmsys_rs.llm.models import Model, key_for
from lmsys_rs.llm.replaying import Work, replay, works_for
from lmsys_rs.llm.tokens import estimate_tokens, most_prompt_tokens, prompt_tokens
from lmsys_rs.llm.values import (
    Answer,
    BatchJob,
    Failed,
    Journal,
    JournalEntry,
    Limits,
    NotAsked,
    Outcome,
    Report,
    Request,
)
from lmsys_rs.llm.wires import Dialect, Reply, wire_of
from lmsys_rs.records import Event, OnEvent, ignore_events

__all__ = ["ask_batch"]

MOST_LINES = 10_000  # in one batch; providers take 50,000 and more
DEFAULT_SHARE = 0.5  # of the price, where the catalog does not say
MOST_DROPPED = 2  # how often a line that the provider dropped is handed in again


def ask_batch(
    model: Model,
    requests: Sequence[Request],
    *,
    limits: Limits = Limits(),  # noqa: B008  # frozen
    journal: Journal,
    stage: str = "ask",
    on_event: OnEvent = ignore_events,
    on_answer: OnAnswer | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    poll_s: tuple[float, float] = (5.0, 120.0),
) -> Report:
    """Ask through the provider's batch API, and wait for it: minutes to a day. Resumes batches that are under way.

    Args:
        limits: of these, ``max_cost``, ``max_repairs``, ``max_attempts``, ``timeout_s`` and ``max_wait_s`` count.
        cancelled: True stops waiting; what was handed in is taken up by the next call.
        poll_s: seconds between the first two looks, and between two looks at most.

    Raises:
        InvalidInputError: the provider has no batch API; ``max_cost`` without a known price.
        Unauthorized, RateLimited, ProviderError: as `ask_all`.
        KeyboardInterrupt: Ctrl-C; what was handed in is taken up by the next call.
    """
    if limits.max_cost is not None and model.price is None:
        raise InvalidInputError(
            f"max_cost needs a price, and that of {model.spec} is unknown",
            hint="give it: price=(input, output) in dollars for a million tokens (--price 0.15,0.60)",
        )
    batcher = _Batcher(model, requests, limits, journal, stage, on_event, on_answer, cancelled)
    batcher.settle_known()
    if batcher.open:
        with BatchClient(model, key_for(model), limits, sleep=sleeper(cancelled)) as client:
            batcher.run(client, poll_s)
    return batcher.report()


class _Batcher:
    """One call of `ask_batch`: which requests are open, which batches are out."""

    def __init__(
        self,
        model: Model,
        requests: Sequence[Request],
        limits: Limits,
        journal: Journal,
        stage: str,
        on_event: OnEvent,
        on_answer: OnAnswer | None,
        cancelled: Callable[[], bool],
    ) -> None:
        self.model, self.limits, self.journal, self.stage = model, limits, journal, stage
        self.on_event, self.on_answer, self.cancelled = on_event, on_answer, cancelled
        self.outcomes: list[Outcome | None] = [None] * len(requests)
        self.open = works_for(model, requests)
        self.fresh: set[str] = set()  # keys that were answered now
        self.dropped: dict[str, tuple[int, str]] = {}  # how often a line was, and why
        self.dialect = Dialect(model.provider.max_tokens_name)
        self.n_cached = self.n_calls = self.input_tokens = self.output_tokens = 0
        self.cost: float | None = 0.0
        self.stopped: Literal["budget", "cancelled"] | None = None
        self.over_budget = False
        self.started = time.perf_counter()
        on_event(Event("started", stage, total=len(requests), unit="calls"))

    def settle_known(self) -> None:
        """Settle what the journal answers; the rest stays open, each at its next question."""
        before, self.open = self.open, []
        for work, outcome in replay(self.model, before, self.journal, self.limits):
            if outcome is None:
                self.open.append(work)
                continue
            cached = not self.fresh
            self.n_cached += len(work.indices) if cached else 0
            self._settle(work, outcome)
        self._tell(sum(outcome is not None for outcome in self.outcomes))

    def run(self, client: BatchClient, poll_s: tuple[float, float]) -> None:
        """Rounds: hand in what is in no batch, wait, take, look again."""
        while self.open and self.stopped is None:
            out = list(self.journal.open_batches(self.model.spec))
            out += self._hand_in(client, {key for job in out for key in job.keys})
            if not out:
                break
            for job in out:
                if not self._wait_and_take(client, job, poll_s):
                    self.stopped = "cancelled"
                    return
            self.settle_known()
            self._give_up_dropped()
        if self.over_budget:
            self.stopped = "budget"

    def report(self) -> Report:
        """What happened, with `NotAsked` for what did not."""
        n_settled = sum(outcome is not None for outcome in self.outcomes)
        self.on_event(Event("finished", self.stage, n_settled, len(self.outcomes), unit="calls", message=self._spent()))
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

    def _hand_in(self, client: BatchClient, out: set[str]) -> list[BatchJob]:
        wire, jobs = wire_of(self.model), []
        left = self._affordable([work for work in self.open if work.key not in out])
        for start in range(0, len(left), MOST_LINES):
            works = left[start : start + MOST_LINES]
            lines = [(work.key, wire.body(self.model, work.request, self.dialect)) for work in works]
            job = BatchJob(
                batch_id=client.submit(lines),
                model=self.model.spec,
                keys=tuple(work.key for work in works),
                created_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            )
            self.journal.put_batch(job)
            jobs.append(job)
            self.on_event(Event("note", self.stage, message=f"batch {job.batch_id}: {len(works)} requests handed in"))
        return jobs

    def _affordable(self, works: list[Work]) -> list[Work]:
        """The first of them that the budget pays for in any case; the others are not asked."""
        if self.limits.max_cost is None or self.model.price is None:
            return works
        left = self.limits.max_cost - (self.cost or 0.0)
        for n, work in enumerate(works):
            left -= self._share() * self.model.price.of(
                most_prompt_tokens(work.request), work.request.max_output_tokens
            )
            if left < 0:
                refused = set(map(id, works[n:]))
                self.open = [work for work in self.open if id(work) not in refused]
                self.over_budget = True
                return works[:n]
        return works

    def _wait_and_take(self, client: BatchClient, job: BatchJob, poll_s: tuple[float, float]) -> bool:
        """Wait for a batch and put its answers into the journal; False if the caller wants to stop."""
        sleep = sleeper(self.cancelled)
        settled = sum(outcome is not None for outcome in self.outcomes)
        for pause in pause_between(*poll_s):
            state = client.state(job.batch_id)
            self._tell(min(len(self.outcomes), settled + min(state.n_done, len(job.keys))))
            if state.ended:
                break
            if self.cancelled():
                return False
            sleep(pause)
        mine = {work.key: work for work in self.open}
        missing = dict.fromkeys(job.keys, state.problem or "the batch has no line for it")
        for line in client.results(state):
            message = line.message
            reply = None if message is None else wire_of(self.model).reply(message)
            if reply is None:
                missing[line.custom_id] = line.problem or "a line without an answer in it"
                self.dialect.adapt(line.problem)
                continue
            missing.pop(line.custom_id, None)
            self._keep(line.custom_id, mine.get(line.custom_id), reply)
        for key, why in missing.items():
            self.dropped[key] = (self.dropped.get(key, (0, ""))[0] + 1, why)
        lost = len(missing) == len(job.keys)
        self.journal.put_batch(
            BatchJob(
                batch_id=job.batch_id,
                model=job.model,
                keys=job.keys,
                state="lost" if lost else "taken",
                created_at=job.created_at,
            )
        )
        return True

    def _keep(self, key: str, work: Work | None, reply: Reply) -> None:
        request = None if work is None else work.request
        guessed = 0 if request is None else prompt_tokens(request)
        input_tokens = guessed if reply.input_tokens is None else reply.input_tokens
        output_tokens = estimate_tokens(reply.text) if reply.output_tokens is None else reply.output_tokens
        price = self.model.price
        cost = None if price is None else price.of(input_tokens, output_tokens) * self._share()
        self.journal.put(
            JournalEntry(
                key=key,
                purpose="" if request is None else request.purpose,
                model=self.model.spec,
                text=reply.text,
                finish_reason=reply.finish_reason,
                refusal=reply.refusal,
                input_tokens=input_tokens,
                output_tokens=output_tokens,
                cost=cost,
                created_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            )
        )
        self.fresh.add(key)
        self.n_calls += 1
        self.input_tokens += input_tokens
        self.output_tokens += output_tokens
        self.cost = None if self.cost is None or cost is None else self.cost + cost

    def _give_up_dropped(self) -> None:
        still_open = []
        for work in self.open:
            n, why = self.dropped.get(work.key, (0, ""))
            if n >= MOST_DROPPED:
                self._settle(work, work.failed(f"no answer in {n} batches: {why}"))
            else:
                still_open.append(work)
        self.open = still_open
        if not self.n_calls and not self.open and self.dropped and not self.n_cached:
            raise ProviderError(
                f"{self.model.provider.name} answered nothing of the batch: {next(iter(self.dropped.values()))[1]}"
            )

    def _settle(self, work: Work, outcome: Answer | Failed) -> None:
        for index in work.indices:
            self.outcomes[index] = outcome
            if self.on_answer is not None:
                self.on_answer(index, outcome)

    def _share(self) -> float:
        share = None if self.model.price is None else self.model.price.batch_share
        return DEFAULT_SHARE if share is None else share

    def _tell(self, done: int) -> None:
        self.on_event(Event("advanced", self.stage, done, len(self.outcomes), unit="calls", message=self._spent()))

    def _spent(self) -> str:
        return "" if not self.cost else f"${self.cost:.4f}"
