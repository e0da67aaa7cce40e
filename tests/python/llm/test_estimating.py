"""An estimate sends nothing, knows the journal, and is on the safe side."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from lmsys_rs.llm import Limits, Model, ask_all, estimate, resolve_model
from lmsys_rs.llm.providers import PROVIDERS
from memory_journal import MemoryJournal
from stand_in import StandIn
from test_asking import QUICK, model_at, requests


def test_an_estimate_needs_no_key(monkeypatch: pytest.MonkeyPatch, journal: MemoryJournal) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    told = estimate(resolve_model("openai/gpt-4o-mini"), requests(100), journal=journal)
    assert (told.n_calls, told.n_cached) == (100, 0)
    assert told.price is not None
    assert told.price_most is not None
    assert 0 < told.price < told.price_most
    assert told.input_tokens < told.input_tokens_most
    assert told.output_tokens_most == 100 * 1024


def test_an_estimate_counts_what_the_journal_has(serve: Callable[..., StandIn], journal: MemoryJournal) -> None:
    provider = serve()
    model = model_at(provider)
    report = ask_all(model, requests(10), limits=QUICK, journal=journal)
    n_calls = len(provider.calls)
    told = estimate(model, requests(15), journal=journal)
    assert (told.n_calls, told.n_cached) == (5, 10)
    assert len(provider.calls) == n_calls
    assert report.cost is not None
    assert told.price_most is not None
    assert told.price_most > report.cost / 2


def test_the_most_is_never_less_than_what_it_costs(serve: Callable[..., StandIn], journal: MemoryJournal) -> None:
    model = model_at(serve())
    told = estimate(model, requests(20), journal=journal)
    report = ask_all(model, requests(20), limits=QUICK, journal=journal)
    assert report.cost is not None
    assert told.price_most is not None
    assert told.price is not None
    assert report.cost <= told.price <= told.price_most


@pytest.mark.parametrize(
    ("limits", "seconds"),
    [
        (Limits(rpm=60, tpm=0), 100),
        (Limits(rpm=0, tpm=60_000), 60),
        (Limits(rpm=0, tpm=0, concurrency=1), 700),
    ],
)
def test_time_is_that_of_the_limit_that_binds(limits: Limits, seconds: float, journal: MemoryJournal) -> None:
    told = estimate(resolve_model("openai/gpt-4o-mini"), requests(100), journal=journal, limits=limits)
    assert seconds * 0.9 < told.seconds < seconds * 1.3


def test_an_unknown_price_is_none(journal: MemoryJournal) -> None:
    model = Model(provider=PROVIDERS["vllm"], name="x", base_url="https://example.com/v1")
    told = estimate(model, requests(2), journal=journal)
    assert (told.price, told.price_most, told.batch_price) == (None, None, None)
