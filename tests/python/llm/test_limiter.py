"""The limits hold in every sliding window, as the server sees it, and nearly all of the allowance is used."""

from __future__ import annotations

import heapq
import random
from itertools import accumulate, pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st
from lmsys_rs.llm.limiter import Pace
from lmsys_rs.llm.tokens import Forecast
from lmsys_rs.llm.values import Request

Stamps = list[tuple[float, int]]


def most_in_a_window(stamps: Stamps, seconds: float = 60.0) -> int:
    ordered = sorted(stamps)
    sums = [0, *accumulate(amount for _, amount in ordered)]
    most = start = 0
    for end, (at, _) in enumerate(ordered):
        while ordered[start][0] < at - seconds:
            start += 1
        most = max(most, sums[end + 1] - sums[start])
    return most


class Simulation:
    """As many calls as the limiter allows in a time, over a clock that only we move."""

    def __init__(
        self,
        pace: Pace,
        rng: random.Random,
        *,
        latency: tuple[float, float],
        tokens: tuple[int, int],
        reserve_share: float = 1.0,
        concurrency: int = 50,
        minutes: float = 4.0,
    ) -> None:
        self.arrived: Stamps = []
        self.tokens_arrived: Stamps = []
        self.tokens_completed: Stamps = []
        running: list[tuple[float, int, int]] = []  # completion, ticket, tokens
        now = 1000.0
        until = now + minutes * 60
        while True:
            reserved = max(tokens[1], 1) if reserve_share == 1.0 else int(tokens[1] * reserve_share)
            wait = pace.delay(now, reserved)
            next_end = running[0][0] if running else float("inf")
            if len(running) < concurrency and wait == 0:
                taken = rng.randint(*tokens)
                took = rng.uniform(*latency)
                arrival = now + rng.uniform(0, min(1.0, took))
                heapq.heappush(running, (now + took, pace.admit(now, reserved), taken))
                self.arrived.append((arrival, 1))
                self.tokens_arrived.append((arrival, taken))
                self.tokens_completed.append((rng.uniform(arrival, now + took), taken))
                continue
            now = min(next_end, now + wait if len(running) < concurrency else float("inf"))
            if now > until:
                break
            while running and running[0][0] <= now:
                _, ticket, taken = heapq.heappop(running)
                pace.settle(ticket, now, taken)
        self.minutes = minutes


latencies = st.tuples(st.floats(0.01, 30), st.floats(0.01, 30)).map(lambda pair: (min(pair), max(pair)))


@settings(max_examples=40, deadline=None)
@given(
    rpm=st.integers(1, 900),
    tpm=st.integers(2_000, 200_000),
    latency=latencies,
    largest=st.integers(1, 2_000),
    concurrency=st.integers(1, 100),
    seed=st.integers(0, 2**32),
)
@example(rpm=600, tpm=100_000, latency=(0.01, 30.0), largest=1000, concurrency=100, seed=0)
def test_no_window_is_over_the_limit(
    rpm: int, tpm: int, latency: tuple[float, float], largest: int, concurrency: int, seed: int
) -> None:
    run = Simulation(
        Pace(rpm=rpm, tpm=tpm),
        random.Random(seed),
        latency=latency,
        tokens=(0, largest),
        concurrency=concurrency,
        minutes=3,
    )
    assert most_in_a_window(run.arrived) <= rpm
    assert most_in_a_window(run.tokens_arrived) <= tpm
    assert most_in_a_window(run.tokens_completed) <= tpm


@settings(max_examples=20, deadline=None)
@given(rpm=st.integers(40, 2_000), latency=st.floats(0.05, 1.2), seed=st.integers(0, 2**32))
def test_requests_use_nearly_all_of_their_allowance(rpm: int, latency: float, seed: int) -> None:
    run = Simulation(Pace(rpm=rpm), random.Random(seed), latency=(latency, latency), tokens=(0, 0))
    assert len(run.arrived) >= 0.95 * rpm * run.minutes


@settings(max_examples=20, deadline=None)
@given(tpm=st.integers(60_000, 300_000), latency=st.floats(0.05, 1.2), seed=st.integers(0, 2**32))
def test_tokens_use_nearly_all_of_their_allowance(tpm: int, latency: float, seed: int) -> None:
    run = Simulation(Pace(tpm=tpm), random.Random(seed), latency=(latency, 2 * latency), tokens=(200, 500))
    assert sum(amount for _, amount in run.tokens_arrived) >= 0.95 * tpm * run.minutes


def test_calls_are_paced_and_not_sent_in_one_burst() -> None:
    run = Simulation(Pace(rpm=600), random.Random(0), latency=(0.3, 0.3), tokens=(0, 0))
    assert most_in_a_window(run.arrived, seconds=5.0) <= 80
    moments = sorted(at for at, _ in run.arrived)
    assert max(b - a for a, b in pairwise(moments)) < 2.0


def test_a_reservation_that_was_too_large_gives_its_tokens_back() -> None:
    pace = Pace(tpm=1_000)
    ticket = pace.admit(0.0, 900)
    assert pace.delay(0.1, 500) == float("inf")
    pace.settle(ticket, 1.0, 100)
    assert pace.delay(30.0, 500) == 0


def test_a_call_larger_than_the_limit_goes_alone() -> None:
    pace = Pace(tpm=1_000)
    assert pace.delay(0.0, 5_000) == 0
    pace.settle(pace.admit(0.0, 5_000), 1.0, 5_000)
    assert pace.delay(2.0, 10) >= 59


def test_a_pause_holds_for_everyone() -> None:
    pace = Pace()
    pace.pause(5.0)
    assert pace.delay(2.0, 1) == 3.0
    assert pace.delay(5.0, 1) == 0.0


def test_a_forecast_learns_from_what_calls_took() -> None:
    request = Request(purpose="x", messages="a" * 400, max_output_tokens=1000)
    forecast = Forecast()
    first = forecast.reserve(request)
    assert first > 1000 + 100
    for _ in range(10):
        forecast.observe(request, 120, 50)
    assert 170 <= forecast.reserve(request) < 250
