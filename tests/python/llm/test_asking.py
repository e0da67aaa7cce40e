"""Many requests against a provider on loopback: everything is answered, nothing is paid twice."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from lmsys_rs.errors import BudgetExceeded, InvalidInputError, ProviderError, RateLimited, Unauthorized
from lmsys_rs.llm import Answer, Failed, Limits, Model, NotAsked, Request, ask_all, resolve_model
from lmsys_rs.records import Event
from memory_journal import MemoryJournal
from stand_in import StandIn, fill

SCHEMA = {
    "type": "object",
    "properties": {
        "title": {"type": "string", "maxLength": 60},
        "words": {"type": "array", "items": {"type": "string"}, "minItems": 3, "maxItems": 3},
    },
    "required": ["title", "words"],
    "additionalProperties": False,
}
QUICK = Limits(concurrency=8, rpm=0, tpm=0, timeout_s=0.3)
Serve = Callable[..., StandIn]


def requests(n: int, **more: Any) -> list[Request]:
    return [
        Request(purpose="name", system="Name the group.", messages=f"text {i}", schema=SCHEMA, **more) for i in range(n)
    ]


def model_at(provider: StandIn, spec: str = "openai/gpt-4o-mini", price: Any = (1.0, 2.0)) -> Model:
    return resolve_model(spec, base_url=provider.url, price=price)


@pytest.mark.parametrize("spec", ["openai/gpt-4o-mini", "anthropic/claude-haiku-4-5", "vllm/any", "mistral/any"])
def test_every_request_gets_its_answer_in_order(serve: Serve, journal: MemoryJournal, spec: str) -> None:
    provider = serve()
    report = ask_all(model_at(provider, spec), requests(20), limits=QUICK, journal=journal)
    assert [type(outcome) for outcome in report.outcomes] == [Answer] * 20
    assert len({outcome.value["title"] for outcome in report.outcomes if isinstance(outcome, Answer)}) == 20
    assert report.n_calls == len(provider.paid) == len(journal.entries) == 20
    assert report.input_tokens == sum(call.input_tokens for call in provider.calls)
    assert report.cost == pytest.approx((report.input_tokens * 1 + report.output_tokens * 2) / 1e6)
    assert journal.threads == {threading.get_ident()}


def test_what_the_journal_has_is_not_asked(serve: Serve, journal: MemoryJournal) -> None:
    provider = serve()
    model = model_at(provider)
    first = ask_all(model, requests(5), limits=QUICK, journal=journal)
    again = ask_all(model, requests(7), limits=QUICK, journal=journal)
    assert len(provider.calls) == 7
    assert (again.n_cached, again.n_calls) == (5, 2)
    for old, new in zip(first.outcomes, again.outcomes, strict=False):
        assert isinstance(old, Answer)
        assert isinstance(new, Answer)
        assert (old.value, new.cached) == (new.value, True)


def test_equal_requests_are_asked_once(serve: Serve, journal: MemoryJournal) -> None:
    provider = serve()
    told: list[int] = []
    report = ask_all(
        model_at(provider), requests(1) * 9, limits=QUICK, journal=journal, on_answer=lambda i, outcome: told.append(i)
    )
    assert len(provider.calls) == 1
    assert sorted(told) == list(range(9))
    assert len(set(map(id, report.outcomes))) == 1


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("spec", ["openai/gpt-4o-mini", "anthropic/claude-haiku-4-5"])
@pytest.mark.parametrize(
    "fault",
    [
        *("429", "429-date", "500", "timeout", "cut-before", "cut-body", "slow-stream"),
        *("malformed", "overlong", "fenced", "refusal", "wrong-count"),
    ],
)
def test_every_fault_is_survived_and_nothing_paid_twice(
    serve: Serve, journal: MemoryJournal, fault: str, spec: str, stream: bool
) -> None:
    provider = serve(script=[None, fault], retry_after=0.1, hold=3.0)
    pieces: dict[int, list[str | None]] = {i: [] for i in range(6)}
    report = ask_all(
        model_at(provider, spec),
        requests(6),
        limits=QUICK,
        journal=journal,
        on_token=(lambda i, text: pieces[i].append(text)) if stream else None,
    )
    assert [type(outcome) for outcome in report.outcomes] == [Answer] * 6, report
    assert provider.paid_twice() == []
    assert len(provider.paid) == report.n_calls == len(journal.entries)
    assert {call.fault for call in provider.calls} == {None, fault}
    if stream:
        for i, outcome in enumerate(report.outcomes):
            assert isinstance(outcome, Answer)
            said = pieces[i]
            last = len(said) - said[::-1].index(None) if None in said else 0
            assert "".join(piece or "" for piece in said[last:]) == outcome.text or spec.startswith("anthropic")


def test_a_rerun_goes_the_same_way_for_nothing(serve: Serve, journal: MemoryJournal) -> None:
    faults = dict.fromkeys(("malformed", "overlong", "refusal", "wrong-count"), 0.2)
    provider = serve(faults=faults, seed=3)
    model = model_at(provider)
    first = ask_all(model, requests(40), limits=QUICK, journal=journal)
    n_calls = len(provider.calls)
    assert n_calls > 60
    again = ask_all(model, requests(40), limits=QUICK, journal=journal)
    assert len(provider.calls) == n_calls
    assert (again.n_cached, again.n_calls, again.cost) == (40, 0, 0.0)
    kinds = [(type(old), old.n_calls) for old in first.outcomes if not isinstance(old, NotAsked)]
    assert kinds == [(type(new), new.n_calls) for new in again.outcomes if not isinstance(new, NotAsked)]
    assert any(isinstance(outcome, Failed) for outcome in first.outcomes)


def test_a_check_asks_again_and_says_what_is_wrong(serve: Serve, journal: MemoryJournal) -> None:
    def answer(body: Any) -> Any:
        value = fill(SCHEMA, "x")
        return {**value, "title": "Better" if "too general" in str(body["messages"]) else "Various topics"}

    def check(value: Any) -> str | None:
        return "the title is too general" if value["title"] == "Various topics" else None

    provider = serve(answer)
    (outcome,) = ask_all(model_at(provider), requests(1, check=check), limits=QUICK, journal=journal).outcomes
    assert isinstance(outcome, Answer)
    assert (outcome.value["title"], outcome.n_calls) == ("Better", 2)


def test_bad_answers_end_after_a_bounded_number_of_questions(serve: Serve, journal: MemoryJournal) -> None:
    provider = serve(lambda body: {"title": "x"})
    report = ask_all(model_at(provider), requests(2), limits=QUICK, journal=journal)
    assert len(provider.calls) == 6
    assert provider.paid_twice() == []
    for outcome in report.outcomes:
        assert isinstance(outcome, Failed)
        assert "'words' is a required property" in outcome.reason
        assert outcome.n_calls == 3


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ("401", Unauthorized, "OPENAI_API_KEY"),
        ("404", ProviderError, "no model"),
        ("400", ProviderError, "Invalid request"),
    ],
)
def test_errors_that_all_share_stop_at_once(
    serve: Serve, journal: MemoryJournal, fault: str, error: type[Exception], words: str
) -> None:
    provider = serve(faults={fault: 1.0}, latency=0.01)
    with pytest.raises(error, match=words) as caught:
        ask_all(model_at(provider), requests(1000), limits=QUICK, journal=journal)
    assert len(provider.calls) <= 8
    assert "sk-test" not in str(caught.value)
    assert "0123456789" not in repr(caught.value)


def test_a_provider_that_is_down_ends_the_work(serve: Serve, journal: MemoryJournal) -> None:
    provider = serve(faults={"500": 1.0})
    limits = Limits(concurrency=8, max_attempts=1)
    with pytest.raises(ProviderError, match="brings no answer"):
        ask_all(model_at(provider), requests(1000), limits=limits, journal=journal)
    assert len(provider.calls) <= 16


def test_retry_after_makes_everyone_wait(serve: Serve, journal: MemoryJournal) -> None:
    provider = serve(script=[None, "429"], retry_after=0.7)
    ask_all(model_at(provider), requests(20), limits=Limits(concurrency=2, rpm=0, tpm=0), journal=journal)
    refused = next(call for call in provider.calls if call.fault == "429")
    assert refused.completed is not None
    after = [call.arrived for call in provider.calls if call.arrived > refused.completed + 0.05]
    assert min(after) - refused.completed >= 0.65


def test_a_long_retry_after_ends_the_work(serve: Serve, journal: MemoryJournal) -> None:
    provider = serve(faults={"429": 1.0}, retry_after=3600)
    with pytest.raises(RateLimited) as caught:
        ask_all(model_at(provider), requests(50), limits=QUICK, journal=journal)
    assert caught.value.retry_after == 3600
    assert len(provider.calls) <= 8


def test_max_cost_is_never_exceeded(serve: Serve, journal: MemoryJournal) -> None:
    provider = serve(latency=0.005)
    model = model_at(provider, price=(10.0, 30.0))
    limits = Limits(concurrency=8, rpm=0, tpm=0, max_cost=0.20)
    report = ask_all(model, requests(500, max_output_tokens=100), limits=limits, journal=journal)
    assert model.price is not None
    spent = sum(model.price.of(call.input_tokens, call.output_tokens) for call in provider.paid)
    assert report.cost == pytest.approx(spent)
    one_call = 0.02
    assert 0.20 - one_call < spent <= 0.20
    assert report.stopped == "budget"
    assert NotAsked("budget") in report.outcomes
    assert sum(isinstance(outcome, Answer) for outcome in report.outcomes) == len(provider.paid)


def test_max_cost_below_one_call_sends_nothing(serve: Serve, journal: MemoryJournal) -> None:
    provider = serve()
    with pytest.raises(BudgetExceeded, match="does not pay for one call"):
        ask_all(model_at(provider, price=(10, 30)), requests(3), limits=Limits(max_cost=0.001), journal=journal)
    assert provider.calls == []


def test_max_cost_needs_a_price(serve: Serve, journal: MemoryJournal) -> None:
    model = Model(provider=model_at(serve()).provider, name="secret", base_url="https://example.com/v1")
    with pytest.raises(InvalidInputError, match="--price"):
        ask_all(model, requests(1), limits=Limits(max_cost=1.0), journal=journal)


def test_events_count_settled_requests(serve: Serve, journal: MemoryJournal) -> None:
    events: list[Event] = []
    model = model_at(serve(script=["malformed"]))
    ask_all(model, requests(3), limits=QUICK, journal=journal)
    ask_all(model, requests(6), limits=QUICK, journal=journal, stage="naming", on_event=events.append)
    assert [event.kind for event in events] == ["started", *["advanced"] * 4, "finished"]
    assert [event.done for event in events] == [0, 3, 4, 5, 6, 6]
    assert {(event.total, event.unit, event.stage) for event in events} == {(6, "calls", "naming")}
    assert events[-1].message.startswith("$0.00")


def test_a_server_that_knows_no_schema_is_told_in_words(serve: Serve, journal: MemoryJournal) -> None:
    provider = serve(lambda body: fill(SCHEMA, "x"), unsupported=["json_schema", "temperature"])
    report = ask_all(model_at(provider), requests(30, temperature=0.2), limits=QUICK, journal=journal)
    assert [type(outcome) for outcome in report.outcomes] == [Answer] * 30
    assert "JSON schema" in provider.paid[0].prompt
    assert provider.paid_twice() == []


def test_it_works_inside_a_running_loop(serve: Serve, journal: MemoryJournal) -> None:
    model = model_at(serve())

    async def cell() -> int:
        return ask_all(model, requests(3), limits=QUICK, journal=journal).n_calls

    assert asyncio.run(cell()) == 3


def test_cancelling_ends_within_a_second_and_keeps_answers(serve: Serve, journal: MemoryJournal) -> None:
    provider = serve(latency=(0.0, 4.0))
    until = time.monotonic() + 0.6
    report = ask_all(
        model_at(provider),
        requests(200),
        limits=Limits(concurrency=40, rpm=0, tpm=0),
        journal=journal,
        cancelled=lambda: time.monotonic() > until,
    )
    assert time.monotonic() - until < 1.0
    assert report.stopped == "cancelled"
    assert 0 < sum(isinstance(outcome, Answer) for outcome in report.outcomes) == len(journal.entries)


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT to oneself")
def test_ctrl_c_ends_within_a_second_and_keeps_answers(serve: Serve, journal: MemoryJournal) -> None:
    provider = serve(latency=(0.0, 4.0))
    pressed: list[float] = []

    def press() -> None:
        pressed.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(0.6, press)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        ask_all(model_at(provider), requests(200), limits=Limits(concurrency=40, rpm=0, tpm=0), journal=journal)
    assert time.monotonic() - pressed[0] < 1.0
    answered = [call for call in provider.paid if call.completed is not None and call.completed < pressed[0] - 0.05]
    assert 0 < len(answered) <= len(journal.entries)


def test_a_minute_does_not_begin_anew_with_the_next_call(serve: Serve, journal: MemoryJournal) -> None:
    provider = serve()
    model = model_at(provider)
    limits = Limits(rpm=306, tpm=0, concurrency=4)  # one in 0.2 s
    for start in range(0, 8, 2):
        ask_all(model, requests(8)[start : start + 2], limits=limits, journal=journal)
    moments = [call.arrived for call in provider.calls]
    assert moments[-1] - moments[0] >= 7 * 0.2 - 0.05


def test_a_listener_that_fails_ends_the_work_and_keeps_answers(serve: Serve, journal: MemoryJournal) -> None:
    provider = serve(latency=(0.0, 0.4))

    def on_answer(index: int, outcome: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ask_all(model_at(provider), requests(100), limits=QUICK, journal=journal, on_answer=on_answer)
    assert len(journal.entries) >= 1
    assert len(provider.calls) <= 16


def test_a_prompt_that_is_too_long_fails_alone(serve: Serve, journal: MemoryJournal) -> None:
    provider = serve()
    ordinary = provider._refused

    def refused(call: Any, body: Any) -> Any:
        if call.prompt.endswith("text 3"):
            return 400, {"error": {"message": "too long", "code": "context_length_exceeded"}}, {}
        return ordinary(call, body)

    provider._refused = refused  # type: ignore[method-assign]  # the server is ours
    outcomes = ask_all(model_at(provider), requests(6), limits=QUICK, journal=journal).outcomes
    assert [i for i, outcome in enumerate(outcomes) if isinstance(outcome, Failed)] == [3]


def test_an_unknown_model_is_told_with_near_ones_also_without_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(InvalidInputError, match="the catalog has no openai/gpt-4o-mni: did you mean gpt-4o-mini"):
        resolve_model("openai/gpt-4o-mni")
    with pytest.raises(Unauthorized, match="OPENAI_API_KEY is not set"):
        resolve_model("openai/something-else-altogether")
