"""Where does each request stand, by what the journal has? The same way is gone again, and paid answers are not asked.

A request's way is a chain: it, and the follow-up of each bad answer. Every link has a key of its own, so a chain that
was cut off is taken up at its last link.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lmsys_rs.llm.models import Model
from lmsys_rs.llm.reading import Good, follow_up, read_answer
from lmsys_rs.llm.values import Answer, Failed, Journal, JournalEntry, Limits, Request

__all__ = ["Work", "replay", "works_for"]

LOOKED_UP = 500  # keys at a time


@dataclass(slots=True)
class Work:
    """One distinct request on its way: ``request`` is what to ask next, ``key`` its key."""

    indices: tuple[int, ...]
    request: Request
    key: str
    n_calls: int = 0
    n_new: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = 0.0
    text: str = ""
    told_tokens: bool = False

    def take(
        self, entry: JournalEntry, model: Model, limits: Limits, *, cached: bool = False
    ) -> Answer | Failed | None:
        """Go on by one answer: settled, or None and another request to ask."""
        self.n_calls += 1
        self.n_new += not cached
        self.input_tokens += entry.input_tokens
        self.output_tokens += entry.output_tokens
        self.cost = None if self.cost is None or entry.cost is None else self.cost + entry.cost
        self.text = entry.text
        read = read_answer(self.request, entry)
        if isinstance(read, Good):
            return Answer(
                value=read.value,
                text=entry.text,
                input_tokens=self.input_tokens,
                output_tokens=self.output_tokens,
                cost=self.cost,
                finish_reason=entry.finish_reason,
                n_calls=self.n_calls,
                cached=not self.n_new,
            )
        if self.n_calls > limits.max_repairs:
            return self.failed(read.reason)
        self.request = follow_up(self.request, entry, read, most_output=model.max_output)
        self.key = self.request.key(model.spec, model.host)
        return None

    def failed(self, reason: str) -> Failed:
        """Given up."""
        return Failed(
            reason=reason,
            text=self.text,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            cost=self.cost,
            n_calls=self.n_calls,
            cached=bool(self.n_calls) and not self.n_new,
        )


def works_for(model: Model, requests: Sequence[Request]) -> list[Work]:
    """The distinct requests, in order, each with the places where it stands."""
    places: dict[str, list[int]] = {}
    for index, request in enumerate(requests):
        places.setdefault(request.key(model.spec, model.host), []).append(index)
    return [Work(tuple(indices), requests[indices[0]], key) for key, indices in places.items()]


def replay(
    model: Model, works: Sequence[Work], journal: Journal, limits: Limits
) -> Iterator[tuple[Work, Answer | Failed | None]]:
    """Each work as far as the journal leads: settled, or with None and the request that has to be asked."""
    for start in range(0, len(works), LOOKED_UP):
        on_their_way = list(works[start : start + LOOKED_UP])
        settled: dict[int, Answer | Failed | None] = {}
        while on_their_way:
            known = journal.get_many([work.key for work in on_their_way])
            further = []
            for work in on_their_way:
                entry = known.get(work.key)
                outcome = None if entry is None else work.take(entry, model, limits, cached=True)
                if entry is None or outcome is not None:
                    settled[id(work)] = outcome
                else:
                    further.append(work)
            on_their_way = further
        for work in works[start : start + LOOKED_UP]:
            yield work, settled[id(work)]
