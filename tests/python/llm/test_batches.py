"""Batches: handed in once, taken up after a kill, and mended like single calls."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from lmsys_rs.errors import InvalidInputError, ProviderError
from lmsys_rs.llm import Answer, Limits, NotAsked, ask_all, ask_batch, estimate, resolve_model
from memory_journal import MemoryJournal
from stand_in import StandIn
from test_asking import model_at, requests

Serve = Callable[..., StandIn]
POLL = (0.01, 0.02)
SPECS = ["openai/gpt-4o-mini", "anthropic/claude-haiku-4-5", "mistral/any", "groq/any"]


@pytest.mark.parametrize("spec", SPECS)
def test_a_batch_answers_everything_at_half_price(serve: Serve, journal: MemoryJournal, spec: str) -> None:
    provider = serve()
    model = model_at(provider, spec)
    report = ask_batch(model, requests(10), journal=journal, poll_s=POLL)
    assert [type(outcome) for outcome in report.outcomes] == [Answer] * 10
    assert len(provider.batches) == 1
    assert report.cost == pytest.approx((report.input_tokens * 1 + report.output_tokens * 2) / 2e6)
    assert [job.state for job in journal.batches.values()] == ["taken"]
    # one journal for both ways
    again = ask_all(model, requests(10), journal=journal)
    assert (again.n_cached, again.n_calls) == (10, 0)


@pytest.mark.parametrize("spec", SPECS)
def test_a_batch_under_way_is_taken_up_and_not_handed_in_again(serve: Serve, journal: MemoryJournal, spec: str) -> None:
    provider = serve(batch_polls=3)
    model = model_at(provider, spec)
    looks = iter(range(100))
    stopped = ask_batch(
        model,
        requests(5),
        journal=journal,
        poll_s=POLL,
        cancelled=lambda: len(provider.batches) > 0 and next(looks) > 0,
    )
    assert set(stopped.outcomes) == {NotAsked("cancelled")}
    assert [job.state for job in journal.batches.values()] == ["open"]
    report = ask_batch(model, requests(7), journal=journal, poll_s=POLL)
    assert [type(outcome) for outcome in report.outcomes] == [Answer] * 7
    assert [len(batch["rows"]) for batch in provider.batches.values()] == [5, 2]
    assert provider.paid_twice() == []


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        *((spec, fault) for spec in ("openai/gpt-4o-mini", "mistral/any") for fault in ("expired", "failed", "lines")),
        ("anthropic/claude-haiku-4-5", "expired"),
        ("anthropic/claude-haiku-4-5", "lines"),
    ],
)
def test_lines_that_did_not_come_are_handed_in_again(
    serve: Serve, journal: MemoryJournal, fault: str, spec: str
) -> None:
    provider = serve(batch_fault=fault)
    report = ask_batch(model_at(provider, spec), requests(9), journal=journal, poll_s=POLL)
    assert [type(outcome) for outcome in report.outcomes] == [Answer] * 9
    assert [len(batch["rows"]) for batch in provider.batches.values()] == [9, 9 if fault == "failed" else 3]
    assert provider.paid_twice() == []


def test_bad_answers_of_a_batch_get_a_follow_up(serve: Serve, journal: MemoryJournal) -> None:
    provider = serve(script=["malformed", "overlong", "fenced", "refusal"])
    report = ask_batch(model_at(provider), requests(6), journal=journal, poll_s=POLL)
    assert [type(outcome) for outcome in report.outcomes] == [Answer] * 6
    assert [len(batch["rows"]) for batch in provider.batches.values()] == [6, 3]
    assert provider.paid_twice() == []


def test_a_budget_bounds_what_is_handed_in(serve: Serve, journal: MemoryJournal) -> None:
    provider = serve()
    model = model_at(provider, price=(10.0, 30.0))
    report = ask_batch(model, requests(50), journal=journal, poll_s=POLL, limits=Limits(max_cost=0.25))
    assert report.stopped == "budget"
    assert report.cost is not None
    assert 0 < report.cost <= 0.25
    assert 0 < len(provider.paid) < 50
    assert report.outcomes.count(NotAsked("budget")) == 50 - len(provider.paid)


def test_a_provider_without_batches_says_so(serve: Serve, journal: MemoryJournal) -> None:
    with pytest.raises(InvalidInputError, match="no batch API"):
        ask_batch(model_at(serve(), "vllm/any"), requests(2), journal=journal)


def test_a_batch_that_fails_twice_ends_with_the_reason(serve: Serve, journal: MemoryJournal) -> None:
    provider = serve()

    def cancelled() -> bool:
        provider.options.batch_fault = "failed"
        return False

    with pytest.raises(ProviderError, match="line 1 is not valid"):
        ask_batch(model_at(provider), requests(2), journal=journal, poll_s=POLL, cancelled=cancelled)
    assert len(provider.batches) == 2


def test_an_estimate_knows_the_price_of_a_batch(journal: MemoryJournal) -> None:
    told = estimate(resolve_model("openai/gpt-4o-mini"), requests(100), journal=journal)
    assert told.price is not None
    assert told.batch_price == pytest.approx(told.price / 2)
