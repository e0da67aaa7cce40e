"""How a language model names the clusters of a run: which of its answers count, and what becomes of the others.

Offline names are there before; what the model does not answer, or answers badly, keeps them. A naming is stored as a
summary run, and the run is then called by it. Nothing that was paid is asked again: see `journal`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

from lmsys_rs import labeling, prompts
from lmsys_rs.cluster_prompts import (
    MAX_TITLE_CHARS,
    Options,
    Shown,
    chosen_clusters,
    cut,
    name_request,
    shown_clusters,
)
from lmsys_rs.journal import WorkspaceJournal
from lmsys_rs.knowledge import SummaryRecord, SummaryRunRecord
from lmsys_rs.llm import Answer, Estimate, Failed, Model, Outcome, Report, Request, ask_all, ask_batch, estimate
from lmsys_rs.naming_scores import title_ranks
from lmsys_rs.records import NOISE, ClusterRecord, OnEvent, ignore_events
from lmsys_rs.session import Session
from lmsys_rs.store import naming, reading
from lmsys_rs.store.writing import now
from lmsys_rs.titles import is_generic, normalized, unique

__all__ = ["Options", "SummaryReport", "adopt", "plan", "plan_refining", "refine", "summarize", "summarize_offline"]

OFFLINE = "offline"
DEFAULTS = Options()
MAX_DESCRIPTION_CHARS = 1_200

OnToken = Callable[[int, "str | None"], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryReport:
    """What a naming did.

    Attributes:
        n_named: clusters that the model named; ``n_offline`` keep another name, ``reasons`` counts why.
        n_calls: calls that were paid now; ``n_cached`` answers were there already.
        cost: US dollars that were paid now; None where the price is unknown.
    """

    summary_run_id: str
    run_id: str
    model: str
    n_named: int
    n_offline: int
    n_calls: int = 0
    n_cached: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = 0.0
    reasons: Mapping[str, int] | None = None
    stopped: str | None = None
    seconds: float = 0.0


def plan(
    session: Session,
    run_id: str,
    model: Model,
    *,
    cluster_ids: Sequence[int] | None = None,
    options: Options = DEFAULTS,
) -> Estimate:
    """What `summarize` would cost and take; sends nothing and needs no key."""
    shown = shown_clusters(session, run_id, cluster_ids, options, model)
    requests = [name_request(shown, i, options, model) for i in _to_name(shown, cluster_ids)]
    journal = WorkspaceJournal(session, shown.run.run_id, only_read=True)
    return estimate(model, requests, journal=journal, limits=options.limits)


def summarize(
    session: Session,
    run_id: str,
    model: Model,
    *,
    cluster_ids: Sequence[int] | None = None,
    alias: str | None = None,
    summary_run_id: str | None = None,
    options: Options = DEFAULTS,
    on_event: OnEvent = ignore_events,
    on_token: OnToken | None = None,
) -> SummaryReport:
    """Let a model name the clusters of a run (or some of them), and call the run by it.

    Titles that a person gave stay. What is stored before the end is the journal alone: the same call after a crash or
    Ctrl-C pays only what was in flight.

    Args:
        alias: a short name for this naming.
        summary_run_id: of a naming of this run to go on with; None begins a new one.

    Raises:
        InvalidInputError: no such run, cluster or naming.
        ProviderError: the provider refuses what all requests have in common, or is down.
    """
    with session.store.reading() as connection:
        run = reading.get_run(connection, run_id)
        before = naming.get_summary_run(connection, run.run_id, summary_run_id) if summary_run_id else None
        earlier = naming.summaries(connection, before.summary_run_id) if before else {}
    if not run.labeled:
        labeling.label(session, run.run_id, on_event=on_event)
    shown = shown_clusters(session, run.run_id, cluster_ids, options, model)
    chosen = _to_name(shown, cluster_ids)
    requests = [name_request(shown, i, options, model) for i in chosen]
    return _ask_and_store(
        session, shown, chosen, requests, model, options, before, earlier, alias, None, on_event, on_token
    )


def refine(
    session: Session,
    run_id: str,
    model: Model,
    *,
    summary: str = "latest",
    feedback: str | None = None,
    cluster_ids: Sequence[int] | None = None,
    alias: str | None = None,
    options: Options = DEFAULTS,
    on_event: OnEvent = ignore_events,
    on_token: OnToken | None = None,
) -> SummaryReport:
    """Let a model improve the titles of a naming: those that are generic, alike, or nearer to other clusters.

    A new naming is stored, which says what it refines; the old one stays.

    Args:
        summary: id or alias of the naming.
        feedback: your own words; asked of ``cluster_ids``, or of all clusters.

    Raises:
        InvalidInputError: no such run, cluster or naming.
        ProviderError: the provider refuses what all requests have in common, or is down.
    """
    with session.store.reading() as connection:
        run = reading.get_run(connection, run_id)
        before = naming.get_summary_run(connection, run.run_id, summary)
        earlier = naming.summaries(connection, before.summary_run_id)
    shown = shown_clusters(session, run.run_id, cluster_ids, options, model)
    wishes = _wishes(session, shown, earlier, feedback, cluster_ids)
    chosen = list(wishes)
    requests = _refining(shown, earlier, wishes, options, model)
    return _ask_and_store(
        session, shown, chosen, requests, model, options, None, earlier, alias, before, on_event, on_token, wishes
    )


def plan_refining(
    session: Session,
    run_id: str,
    model: Model,
    *,
    summary: str = "latest",
    feedback: str | None = None,
    cluster_ids: Sequence[int] | None = None,
    options: Options = DEFAULTS,
) -> Estimate:
    """What `refine` would cost and take; sends nothing and needs no key."""
    with session.store.reading() as connection:
        run = reading.get_run(connection, run_id)
        before = naming.get_summary_run(connection, run.run_id, summary)
        earlier = naming.summaries(connection, before.summary_run_id)
    shown = shown_clusters(session, run.run_id, cluster_ids, options, model)
    requests = _refining(shown, earlier, _wishes(session, shown, earlier, feedback, cluster_ids), options, model)
    journal = WorkspaceJournal(session, run.run_id, only_read=True)
    return estimate(model, requests, journal=journal, limits=options.limits)


def summarize_offline(
    session: Session, run_id: str, *, alias: str | None = None, on_event: OnEvent = ignore_events
) -> SummaryReport:
    """Name a run without a model, and keep that as a naming to compare with.

    Raises:
        InvalidInputError: there is no such run.
    """
    run = labeling.label(session, run_id, on_event=on_event)
    with session.store.reading() as connection:
        clusters = [c for c in reading.clusters(connection, run.run_id) if c.cluster_id != NOISE]
        summary_run_id = naming.unused_id(connection, "summary", _summary_run_id(OFFLINE))
    record = SummaryRunRecord(
        summary_run_id=summary_run_id,
        run_id=run.run_id,
        alias=alias,
        model=None,
        parameters={"method": OFFLINE},
        created_at=now(),
        cost=0.0,
    )
    summaries = [_kept(record.summary_run_id, c, None) for c in clusters]
    with session.writer("summarize"), session.store.writing() as connection:
        naming.add_summary_run(connection, record, summaries)
        naming.set_titles(connection, run.run_id, [], summary_run_id=summary_run_id)
    return SummaryReport(
        summary_run_id=summary_run_id, run_id=run.run_id, model=OFFLINE, n_named=0, n_offline=len(summaries)
    )


def adopt(session: Session, run_id: str, name: str) -> SummaryRunRecord:
    """Call a run by one of its namings; titles that a person gave stay.

    Raises:
        InvalidInputError: there is no such run or naming.
    """
    with session.writer("summarize"):
        with session.store.reading() as connection:
            run = reading.get_run(connection, run_id)
            record = naming.get_summary_run(connection, run.run_id, name)
            summaries = naming.summaries(connection, record.summary_run_id)
            clusters = {c.cluster_id: c for c in reading.clusters(connection, run.run_id)}
        with session.store.writing() as connection:
            titled = _titled(clusters, summaries)
            naming.set_titles(connection, run.run_id, titled, summary_run_id=record.summary_run_id)
    return record


def _to_name(shown: Shown, cluster_ids: Sequence[int] | None) -> list[int]:
    """The clusters that are asked about: named ones, or all but those that a person gave a title."""
    chosen = chosen_clusters(shown, cluster_ids)
    if cluster_ids is not None:
        return chosen
    return [i for i in chosen if shown.clusters[i].title_source != "user"]


def _wishes(
    session: Session,
    shown: Shown,
    earlier: Mapping[int, SummaryRecord],
    feedback: str | None,
    cluster_ids: Sequence[int] | None,
) -> dict[int, str]:
    """What is to be improved about the title of each cluster that is asked about, largest first."""
    complaints = _complaints(shown, _ranked(session, shown, earlier))
    chosen = _to_name(shown, cluster_ids)
    if feedback is None and cluster_ids is None:
        chosen = [i for i in chosen if i in complaints]
    return {i: " ".join(part for part in (complaints.get(i), feedback) if part) or "make it clearer" for i in chosen}


def _refining(
    shown: Shown, earlier: Mapping[int, SummaryRecord], wishes: Mapping[int, str], options: Options, model: Model
) -> list[Request]:
    return [
        name_request(shown, i, options, model, old_title=earlier[i].title if i in earlier else None, feedback=wish)
        for i, wish in wishes.items()
    ]


def _ask_and_store(
    session: Session,
    shown: Shown,
    chosen: list[int],
    requests: list[Request],
    model: Model,
    options: Options,
    before: SummaryRunRecord | None,
    earlier: Mapping[int, SummaryRecord],
    alias: str | None,
    refined: SummaryRunRecord | None,
    on_event: OnEvent,
    on_token: OnToken | None,
    wishes: Mapping[int, str] | None = None,
) -> SummaryReport:
    journal = WorkspaceJournal(session, shown.run.run_id)
    reports = [_ask(model, requests, options, journal, on_event, on_token)]
    outcomes = dict(zip(chosen, reports[0].outcomes, strict=True))
    if reports[0].stopped is None:
        again = _alike(shown, outcomes)
        if again:
            more = [
                name_request(
                    shown,
                    i,
                    options,
                    model,
                    old_title=_value(outcomes[i])["title"],
                    feedback="another cluster, the first neighbour, has the same title: say what sets this one apart",
                    twins=[twin],
                )
                for i, twin in again.items()
            ]
            spent = _spent(reports)
            left = options.limits
            if left.max_cost is not None and spent is not None:
                left = replace(left, max_cost=max(0.0, left.max_cost - spent))
            if left.max_cost != 0.0:
                reports.append(_ask(model, more, replace(options, limits=left), journal, on_event, None))
                answered = zip(again, reports[-1].outcomes, strict=True)
                outcomes |= {i: outcome for i, outcome in answered if isinstance(outcome, Answer)}
    with session.store.reading() as connection:
        wanted = (
            before.summary_run_id if before else naming.unused_id(connection, "summary", _summary_run_id(model.spec))
        )
    summaries, reasons = _summaries(shown, chosen, outcomes, earlier, wanted, wishes)
    record = SummaryRunRecord(
        summary_run_id=wanted,
        run_id=shown.run.run_id,
        alias=alias if alias is not None or before is None else before.alias,
        model=model.spec,
        parameters=_parameters(options),
        created_at=now(),
        refines=refined.summary_run_id if refined else (before.refines if before else None),
        cost=_sum([before.cost if before else 0.0, *(report.cost for report in reports)]),
    )
    with session.writer("summarize"), session.store.writing() as connection:
        clusters = {c.cluster_id: c for c in reading.clusters(connection, shown.run.run_id)}
        naming.add_summary_run(connection, record, list(summaries.values()))
        titled = _titled(clusters, {i: one for i, one in summaries.items() if one.source != "user"})
        naming.set_titles(connection, shown.run.run_id, titled, summary_run_id=record.summary_run_id)
    n_offline = sum(reasons.values())
    return SummaryReport(
        summary_run_id=record.summary_run_id,
        run_id=shown.run.run_id,
        model=model.spec,
        n_named=len(chosen) - n_offline,
        n_offline=n_offline,
        n_calls=sum(report.n_calls for report in reports),
        n_cached=sum(report.n_cached for report in reports),
        input_tokens=sum(report.input_tokens for report in reports),
        output_tokens=sum(report.output_tokens for report in reports),
        cost=_spent(reports),
        reasons=reasons,
        stopped=next((report.stopped for report in reports if report.stopped), None),
        seconds=sum(report.seconds for report in reports),
    )


def _ask(
    model: Model,
    requests: list[Request],
    options: Options,
    journal: WorkspaceJournal,
    on_event: OnEvent,
    on_token: OnToken | None,
) -> Report:
    if options.batch:
        return ask_batch(model, requests, limits=options.limits, journal=journal, stage="summarize", on_event=on_event)
    return ask_all(
        model,
        requests,
        limits=options.limits,
        journal=journal,
        stage="summarize",
        on_event=on_event,
        on_token=on_token,
    )


def _alike(shown: Shown, outcomes: Mapping[int, Outcome]) -> dict[int, int]:
    """Clusters whose title a larger one has too, and that larger one."""
    owner: dict[str, int] = {}
    found = {}
    for i, outcome in outcomes.items():  # largest first
        if isinstance(outcome, Answer):
            key = normalized(outcome.value["title"])
            if key in owner:
                found[i] = owner[key]
            else:
                owner[key] = i
    return found


def _summaries(
    shown: Shown,
    chosen: list[int],
    outcomes: Mapping[int, Outcome],
    earlier: Mapping[int, SummaryRecord],
    summary_run_id: str,
    wishes: Mapping[int, str] | None,
) -> tuple[dict[int, SummaryRecord], dict[str, int]]:
    """What the naming says of every cluster, largest first, all titles different; and why some keep another name."""
    found: dict[int, SummaryRecord] = {}
    reasons: dict[str, int] = {}
    for i in sorted(shown.clusters, key=lambda i: (-shown.clusters[i].n_queries, i)):
        outcome = outcomes.get(i)
        if isinstance(outcome, Answer):
            found[i] = SummaryRecord(
                summary_run_id=summary_run_id,
                cluster_id=i,
                title=" ".join(outcome.value["title"].split()),
                description=" ".join(outcome.value["description"].split())[:MAX_DESCRIPTION_CHARS],
                n_queries=shown.clusters[i].n_queries,
                representatives=tuple(cut(text) for text in shown.texts[i][:10]),
                note=None if wishes is None else wishes.get(i),
            )
        elif i in earlier:
            found[i] = replace(earlier[i], summary_run_id=summary_run_id)
        elif i in outcomes:
            found[i] = _kept(summary_run_id, shown.clusters[i], _reason(outcome))
        if i in outcomes and not isinstance(outcome, Answer):
            reason = _reason(outcome)
            reasons[reason] = reasons.get(reason, 0) + 1
    terms = {i: [term for term, _ in shown.clusters[i].terms] for i in found}
    users = [c.title for c in shown.clusters.values() if c.title_source == "user" and c.cluster_id not in found]
    distinct = unique([[one.title, *(f"{one.title}: {term}" for term in terms[i])] for i, one in found.items()], users)
    named = zip(found.items(), distinct, strict=True)
    return {i: replace(one, title=title) for (i, one), title in named}, reasons


def _titled(clusters: Mapping[int, ClusterRecord], summaries: Mapping[int, SummaryRecord]) -> list[ClusterRecord]:
    """The clusters that a naming renames, with titles that no other cluster has."""
    renamed = [i for i in summaries if i in clusters and i != NOISE and clusters[i].title_source != "user"]
    taken = [c.title for i, c in clusters.items() if i not in set(renamed)]
    terms = {i: [term for term, _ in clusters[i].terms] for i in renamed}
    titles = unique(
        [[summaries[i].title, *(f"{summaries[i].title}: {term}" for term in terms[i])] for i in renamed], taken
    )
    return [
        replace(
            clusters[i],
            title=title,
            description=summaries[i].description,
            title_source=summaries[i].source,
            title_rank=summaries[i].title_rank,
        )
        for i, title in zip(renamed, titles, strict=True)
    ]


def _complaints(shown: Shown, summaries: Mapping[int, SummaryRecord]) -> dict[int, str]:
    """What is wrong with the titles of a naming, by cluster; nothing is said of those that are fine."""
    owner: dict[str, int] = {}
    found: dict[int, list[str]] = {}
    for i in sorted(summaries, key=lambda i: (-shown.clusters[i].n_queries if i in shown.clusters else 0, i)):
        if i not in shown.clusters:
            continue
        one = summaries[i]
        generic = is_generic(one.title)
        key = re.sub(r" \(\d+\)$", "", normalized(one.title))
        said = found.setdefault(i, [])
        if generic is not None:
            said.append(f"It {generic}.")
        if key in owner:
            said.append("Another cluster has the same title.")
        owner.setdefault(key, i)
        if one.title_rank is not None and one.title_rank > 1:
            said.append(f"It is nearer to {one.title_rank - 1} other clusters than to this one: be more specific.")
        if len(one.title) > MAX_TITLE_CHARS:
            said.append("It is too long.")
        if one.source == "offline" and one.note is not None:
            said.append("It was made without a model.")
    return {i: " ".join(said) for i, said in found.items() if said}


def _ranked(session: Session, shown: Shown, summaries: Mapping[int, SummaryRecord]) -> dict[int, SummaryRecord]:
    """With the rank of the own cluster for each title, where the run's encoder is there to tell."""
    titles = {i: one.title for i, one in summaries.items() if i in shown.clusters and one.title_rank is None}
    ranks = title_ranks(session, shown.run, titles)
    return {i: replace(one, title_rank=ranks.get(i, one.title_rank)) for i, one in summaries.items()}


def _kept(summary_run_id: str, record: ClusterRecord, note: str | None) -> SummaryRecord:
    """What a naming says of a cluster that keeps the name it had."""
    return SummaryRecord(
        summary_run_id=summary_run_id,
        cluster_id=record.cluster_id,
        title=record.title,
        description=record.description,
        n_queries=record.n_queries,
        source="user" if record.title_source == "user" else "offline" if record.title_source != "llm" else "llm",
        title_rank=record.title_rank,
        note=note,
    )


def _reason(outcome: Outcome | None) -> str:
    if isinstance(outcome, Failed):
        return outcome.reason
    return "the budget was reached" if getattr(outcome, "reason", "") == "budget" else "it was not asked"


def _value(outcome: Outcome) -> Any:
    assert isinstance(outcome, Answer)
    return outcome.value


def _parameters(options: Options) -> dict[str, Any]:
    prompt = options.prompt or prompts.builtin("name-cluster")
    return {
        "max_queries": options.max_queries,
        "contrast_neighbors": options.contrast_neighbors,
        "contrast_examples": options.contrast_examples,
        "contrast_mode": options.contrast_mode,
        "language": options.language,
        "prompt": prompt.source,
        "prompt_hash": prompt.hash,
    }


def _summary_run_id(model: str) -> str:
    name = re.sub(r"[^A-Za-z0-9.]+", "-", model.split("/", 1)[-1]).strip("-")
    return f"summary-{name}-{datetime.now(timezone.utc):%Y%m%d-%H%M%S}"


def _spent(reports: Sequence[Report]) -> float | None:
    return _sum([report.cost for report in reports])


def _sum(costs: Sequence[float | None]) -> float | None:
    return None if any(cost is None for cost in costs) else sum(cost for cost in costs if cost is not None)
