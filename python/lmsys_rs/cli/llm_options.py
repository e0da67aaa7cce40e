"""Options of every command that asks a language model, and how cost is told."""

from __future__ import annotations

from typing import Annotated

import typer

from lmsys_rs.cli import render
from lmsys_rs.errors import InvalidInputError
from lmsys_rs.llm import Estimate, Limits, Model, resolve_model

__all__ = [
    "BaseUrl",
    "Batch",
    "Concurrency",
    "MaxCost",
    "Price",
    "Rpm",
    "TimeoutS",
    "Tpm",
    "limits_from",
    "model_from",
    "print_estimate",
    "print_spent",
]

PANEL = "Model"

Concurrency = Annotated[
    int | None,
    typer.Option(
        "--concurrency",
        min=1,
        help="Calls at a time. Default: what suits the provider (4 to 32).",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]
Rpm = Annotated[
    int | None,
    typer.Option(
        "--rpm",
        min=0,
        help="Requests in any minute, at most; 0 is no limit.",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]
Tpm = Annotated[
    int | None,
    typer.Option(
        "--tpm", min=0, help="Tokens in any minute, at most; 0 is no limit.", show_default=False, rich_help_panel=PANEL
    ),
]
MaxCost = Annotated[
    float | None,
    typer.Option(
        "--max-cost",
        min=0.0,
        help="US dollars, never exceeded; what it does not pay for stays as it is.",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]
Price = Annotated[
    str | None,
    typer.Option(
        "--price",
        help="Dollars for a million tokens of prompt and of answer: 0.15,0.60.",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]
TimeoutS = Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds for one answer.", rich_help_panel=PANEL)]
BaseUrl = Annotated[
    str | None,
    typer.Option(
        "--base-url",
        help="Another server of that format: http://127.0.0.1:8000/v1.",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]
Batch = Annotated[
    bool, typer.Option("--batch", help="Through the provider's batch service: cheaper, slower.", rich_help_panel=PANEL)
]


def model_from(spec: str, *, base_url: str | None, price: str | None) -> Model:
    """The model that options name.

    Raises:
        InvalidInputError: there is none, or the price is no pair of numbers.
    """
    pair = None
    if price is not None:
        try:
            first, second = (float(part) for part in price.split(","))
        except ValueError as error:
            raise InvalidInputError(
                f"price must be two numbers, prompt and answer: {price!r}", hint="--price 0.15,0.60"
            ) from error
        pair = (first, second)
    return resolve_model(spec, base_url=base_url, price=pair)


def limits_from(
    concurrency: int | None, rpm: int | None, tpm: int | None, max_cost: float | None, timeout: float
) -> Limits:
    """The limits that options name."""
    return Limits(concurrency=concurrency, rpm=rpm, tpm=tpm, max_cost=max_cost, timeout_s=timeout)


def print_estimate(estimate: Estimate, *, as_json: bool, batch: bool) -> None:
    """What asking would cost and take."""
    if as_json:
        render.print_json(estimate)
        return
    price = estimate.batch_price if batch else estimate.price
    render.print_fields(
        {
            "model": estimate.model,
            "calls": f"{estimate.n_calls:,} ({estimate.n_cached:,} more are answered already)",
            "prompt tokens": f"about {estimate.input_tokens:,}, at most {estimate.input_tokens_most:,}",
            "answer tokens": f"about {estimate.output_tokens:,}, at most {estimate.output_tokens_most:,}",
            "price": "unknown: --price says it"
            if price is None
            else f"about ${price:,.4f}"
            + ("" if estimate.price_most is None or batch else f", at most ${estimate.price_most:,.4f}"),
            "time": "within 24 hours" if batch else f"about {_duration(estimate.seconds)}",
        }
    )
    render.print_note("dry run, nothing was sent")


def print_spent(
    n_calls: int, n_cached: int, input_tokens: int, output_tokens: int, cost: float | None, seconds: float | None
) -> None:
    """What was asked and paid."""
    paid = "price unknown" if cost is None else f"${cost:,.4f}"
    answered = f", {n_cached:,} were answered already" if n_cached else ""
    tokens = f"{input_tokens:,} prompt and {output_tokens:,} answer tokens"
    time = "" if seconds is None else f", {seconds:.1f} s"
    render.print_note(f"{n_calls:,} calls{answered}; {tokens}, {paid}{time}")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
