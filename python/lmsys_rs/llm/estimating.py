"""What will it cost and take? From the requests, the journal, the price and the limits; nothing is sent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lmsys_rs.llm.models import Model
from lmsys_rs.llm.replaying import replay, works_for
from lmsys_rs.llm.tokens import most_prompt_tokens, prompt_tokens
from lmsys_rs.llm.values import Journal, Limits, Request

__all__ = ["Estimate", "estimate"]

FIRST_TOKEN_S = 0.7  # median of hosted models for short prompts
TOKENS_PER_S = 70.0  # of one answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What asking would mean. Tokens are estimated, see `tokens`; ``*_most`` is what can't be exceeded without repairs.

    Attributes:
        n_calls: requests that need a call; ``n_cached`` are answered by the journal.
        price, price_most: US dollars; None where the price is unknown.
        batch_price: the same as a batch; None where the provider has none.
        seconds: by the limits and the concurrency, with answers of usual speed.
    """

    model: str
    n_calls: int
    n_cached: int
    input_tokens: int
    input_tokens_most: int
    output_tokens: int
    output_tokens_most: int
    price: float | None
    price_most: float | None
    batch_price: float | None
    seconds: float


def estimate(
    model: Model,
    requests: Sequence[Request],
    *,
    journal: Journal,
    limits: Limits = Limits(),  # noqa: B008  # frozen
) -> Estimate:
    """Estimate calls, tokens, price and time, without sending anything or needing a key."""
    to_ask, n_cached = [], 0
    for work, outcome in replay(model, works_for(model, requests), journal, limits):
        if outcome is None:
            to_ask.append(work.request)
        else:
            n_cached += len(work.indices)
    inputs, outputs = sum(map(prompt_tokens, to_ask)), sum(map(_expected_output, to_ask))
    inputs_most, outputs_most = sum(map(most_prompt_tokens, to_ask)), sum(r.max_output_tokens for r in to_ask)
    price = model.price
    share = None if price is None or not model.provider.batches else price.batch_share
    return Estimate(
        model=model.spec,
        n_calls=len(to_ask),
        n_cached=n_cached,
        input_tokens=inputs,
        input_tokens_most=inputs_most,
        output_tokens=outputs,
        output_tokens_most=outputs_most,
        price=None if price is None else price.of(inputs, outputs),
        price_most=None if price is None else price.of(inputs_most, outputs_most),
        batch_price=None if price is None or share is None else price.of(inputs, outputs) * share,
        seconds=_seconds(model, limits, len(to_ask), inputs, outputs),
    )


def _expected_output(request: Request) -> int:
    return request.expected_output_tokens or -(-request.max_output_tokens // 2)


def _seconds(model: Model, limits: Limits, n_calls: int, inputs: int, outputs: int) -> float:
    if not n_calls:
        return 0.0
    own = model.base_url == model.provider.base_url
    rpm = (model.provider.rpm if own else 0) if limits.rpm is None else limits.rpm
    tpm = (model.provider.tpm if own else 0) if limits.tpm is None else limits.tpm
    one = FIRST_TOKEN_S + outputs / n_calls / TOKENS_PER_S
    by_calls = one * math.ceil(n_calls / (limits.concurrency or model.provider.concurrency))
    by_rpm = (n_calls - 1) * 60 / rpm + one if rpm else 0.0
    by_tpm = (inputs + outputs) * 60 / tpm if tpm else 0.0
    return max(by_calls, by_rpm, by_tpm)
