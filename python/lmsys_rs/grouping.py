"""How a model puts clusters into broader groups: neighborhoods, proposals, one list, assignment, names.

The way of Clio (Tamkin et al. 2024, appendix G.7), with two differences: what fits no group gets none, and no count is
ever required: a list that is one name short or long is as good. Each step's answers are in the journal, so a second run
goes the same way for nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lmsys_rs import _core, prompts
from lmsys_rs.llm import Answer, Failed, Journal, Limits, Model, Outcome, Report, Request, ask_all, estimate_tokens
from lmsys_rs.privacy import personal_kinds
from lmsys_rs.prompts import Data
from lmsys_rs.records import OnEvent, ignore_events
from lmsys_rs.titles import is_generic, normalized, unique

__all__ = ["Group", "Grouped", "Grouping", "Item", "group_items", "plan_grouping"]

MAX_TITLE_CHARS = 80
MORE_PROPOSALS = 1.5  # a neighborhood is asked for this many times its share of the groups: some will be the same
PROPOSALS_AT_ONCE = 120
ASSIGNED_AT_ONCE = 10
ANSWER_TOKENS = 2_000
PROMPT_TOKENS = 300  # of a template
NAME_TOKENS = 40  # of a name with its description

GROUP_SCHEMA = {
    "type": "object",
    "properties": {
        "groups": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "description": {"type": "string"}},
                "required": ["name", "description"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["groups"],
    "additionalProperties": False,
}
ASSIGN_SCHEMA = {
    "type": "object",
    "properties": {
        "assignments": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"cluster": {"type": "integer"}, "group": {"type": "integer"}},
                "required": ["cluster", "group"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["assignments"],
    "additionalProperties": False,
}
NAME_SCHEMA = {
    "type": "object",
    "properties": {"title": {"type": "string"}, "description": {"type": "string"}},
    "required": ["title", "description"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class Item:
    """A cluster, or a group of the level below."""

    title: str
    description: str


@dataclass(frozen=True, slots=True)
class Group:
    """A group and the positions of what is in it."""

    title: str
    description: str
    members: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouped:
    """Groups with at least one member, largest first; what is in none fits none. ``stopped``: it is not finished."""

    groups: tuple[Group, ...] = ()
    n_calls: int = 0
    n_cached: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = 0.0
    stopped: str | None = None


@dataclass
class Grouping:
    """Whom to ask, how, and what was spent so far, over all levels: ``limits.max_cost`` is for all of them."""

    model: Model
    journal: Journal
    limits: Limits
    language: str = "English"
    neighborhood_size: int = 20
    on_event: OnEvent = ignore_events
    spent: float = 0.0
    reports: list[Report] = field(default_factory=list)

    def ask(self, requests: Sequence[Request], stage: str) -> tuple[Outcome, ...]:
        """Ask within what is left of the budget."""
        limits = self.limits
        if limits.max_cost is not None:
            limits = replace(limits, max_cost=max(0.0, limits.max_cost - self.spent))
        report = ask_all(self.model, requests, limits=limits, journal=self.journal, stage=stage, on_event=self.on_event)
        self.spent += report.cost or 0.0
        self.reports.append(report)
        return report.outcomes

    @property
    def stopped(self) -> str | None:
        """Why the newest question was not asked to its end."""
        return self.reports[-1].stopped if self.reports else None


def group_items(
    grouping: Grouping,
    items: Sequence[Item],
    vectors: npt.NDArray[np.float32],
    wanted: int,
    *,
    taken: Sequence[str] = (),
    stage: str,
) -> Grouped:
    """Put items into about ``wanted`` groups.

    Args:
        vectors: (n, dim) where the items lie, for neighborhoods.
        taken: titles that no group must get.
        stage: begins the names of the stages in events.

    Raises:
        ProviderError: the provider refuses what all requests have in common, or is down.
        BudgetExceeded: what is left of the budget does not pay for a single call.
    """
    first = len(grouping.reports)
    groups: tuple[Group, ...] = ()
    near = _neighborhoods(vectors, grouping.neighborhood_size)
    proposals = _proposed(grouping, items, near, wanted, f"{stage}: propose")
    stopped = grouping.stopped
    if stopped is None and proposals:
        names = _one_list(grouping, proposals, wanted, f"{stage}: one list")
        stopped = grouping.stopped
        if stopped is None:
            members = _assigned(grouping, items, names, near, f"{stage}: assign")
            stopped = grouping.stopped
            if stopped is None:
                found = [Group(n.title, n.description, tuple(members[i])) for i, n in enumerate(names) if members[i]]
                groups = _named(grouping, items, found, taken, f"{stage}: name")
                stopped = grouping.stopped
    elif stopped is None:
        stopped = "it proposed no usable name"
    reports = grouping.reports[first:]
    costs = [report.cost for report in reports]
    return Grouped(
        groups=tuple(sorted(groups, key=lambda group: (-len(group.members), group.members))),
        n_calls=sum(report.n_calls for report in reports),
        n_cached=sum(report.n_cached for report in reports),
        input_tokens=sum(report.input_tokens for report in reports),
        output_tokens=sum(report.output_tokens for report in reports),
        cost=None if any(cost is None for cost in costs) else sum(cost or 0.0 for cost in costs),
        stopped=stopped,
    )


def plan_grouping(model: Model, items: Sequence[Item], wanted: int, neighborhood_size: int) -> tuple[int, int, int]:
    """About how many calls, prompt tokens and answer tokens `group_items` takes: it depends on what is answered."""
    n = len(items)
    shown = sum(estimate_tokens(item.title) + estimate_tokens(item.description) + 20 for item in items)
    n_near, n_assigned = math.ceil(n / neighborhood_size), math.ceil(n / ASSIGNED_AT_ONCE)
    n_proposals = round(MORE_PROPOSALS * wanted)
    prompts_of = n_near + 1 + n_assigned + wanted
    inputs = PROMPT_TOKENS * prompts_of + shown  # proposals
    inputs += NAME_TOKENS * n_proposals  # one list
    inputs += shown + n_assigned * NAME_TOKENS * wanted  # assignment
    inputs += shown + wanted * min(50, wanted) * NAME_TOKENS // 3  # names
    outputs = NAME_TOKENS * (n_proposals + wanted) + 12 * n + 2 * NAME_TOKENS * wanted
    return prompts_of, inputs, outputs


def _neighborhoods(vectors: npt.NDArray[np.float32], size: int) -> list[list[int]]:
    """Positions in neighborhoods of about ``size``, each position in one."""
    k = max(1, math.ceil(len(vectors) / max(2, size)))
    if k == 1:
        return [list(range(len(vectors)))]
    labels = np.asarray(_core.KMeans(k, n_init=3, random_state=0).fit(vectors).labels_)
    return [np.flatnonzero(labels == c).tolist() for c in range(k) if (labels == c).any()]


def _proposed(
    grouping: Grouping, items: Sequence[Item], near: Sequence[Sequence[int]], wanted: int, stage: str
) -> list[Item]:
    """Names that the neighborhoods propose, each once."""
    share = MORE_PROPOSALS * wanted / len(items)
    requests = []
    for positions in near:
        rendered = prompts.builtin("propose-parents").render(
            language=grouping.language,
            n_parents=max(2, round(share * len(positions))),
            max_title_chars=MAX_TITLE_CHARS,
            clusters=_shown([items[i] for i in positions]),
        )
        requests.append(_request("propose-parents", rendered, GROUP_SCHEMA, "groups", _no_group_is_usable))
    return _usable(name for outcome in grouping.ask(requests, stage) for name in _groups_in(outcome))


def _one_list(grouping: Grouping, proposals: list[Item], wanted: int, stage: str) -> list[Item]:
    """About ``wanted`` distinct names out of all proposals. Where the model gives none, the proposals themselves."""
    while len(proposals) > max(2, wanted):
        at_once = [proposals[at : at + PROPOSALS_AT_ONCE] for at in range(0, len(proposals), PROPOSALS_AT_ONCE)]
        requests = []
        for part in at_once:
            rendered = prompts.builtin("deduplicate-parents").render(
                language=grouping.language,
                n_parents=max(2, round(wanted * len(part) / len(proposals))),
                max_title_chars=MAX_TITLE_CHARS,
                proposals=_shown(part),
            )
            requests.append(_request("deduplicate-parents", rendered, GROUP_SCHEMA, "groups", _no_group_is_usable))
        outcomes = grouping.ask(requests, stage)
        answered = [_usable(_groups_in(outcome)) for outcome in outcomes]
        shorter = _usable(name for names, part in zip(answered, at_once, strict=True) for name in (names or part))
        # one list for all, or no progress: it is what it is
        if len(at_once) == 1 or len(shorter) >= len(proposals) or grouping.stopped is not None:
            return shorter
        proposals = shorter
    return proposals


def _assigned(
    grouping: Grouping, items: Sequence[Item], names: Sequence[Item], near: Sequence[Sequence[int]], stage: str
) -> list[list[int]]:
    """Positions of the items in each group; what is answered with none, or not at all, is in no group."""
    order = [i for positions in near for i in positions]
    parts = [order[at : at + ASSIGNED_AT_ONCE] for at in range(0, len(order), ASSIGNED_AT_ONCE)]
    requests = []
    for part in parts:
        rendered = prompts.builtin("assign-parent").render(
            n_clusters=len(part), clusters=_shown([items[i] for i in part]), parents=_shown(names)
        )
        check = _miscounted(len(part), len(names))
        requests.append(_request("assign-parent", rendered, ASSIGN_SCHEMA, "assignments", check))
    members: list[list[int]] = [[] for _ in names]
    for part, outcome in zip(parts, grouping.ask(requests, stage), strict=True):
        told: dict[int, int] = {}
        for one in _entries(outcome, "assignments"):
            cluster, group = one.get("cluster"), one.get("group")
            if isinstance(cluster, int) and isinstance(group, int) and 1 <= cluster <= len(part):
                told.setdefault(cluster, group)
        for cluster, group in told.items():
            if 1 <= group <= len(names):
                members[group - 1].append(part[cluster - 1])
    return [sorted(group) for group in members]


def _named(
    grouping: Grouping, items: Sequence[Item], groups: list[Group], taken: Sequence[str], stage: str
) -> tuple[Group, ...]:
    """The groups with names that their members bear out, all different."""
    several = [i for i, group in enumerate(groups) if len(group.members) > 1]
    requests = []
    for i in several:
        rendered = prompts.builtin("name-parent").render(
            language=grouping.language,
            max_title_chars=MAX_TITLE_CHARS,
            clusters=_shown([items[j] for j in groups[i].members[:50]]),
            siblings=Data.of([groups[j].title for j in several if j != i][:50]),
            old_title=Data.of([groups[i].title]),
        )
        requests.append(_request("name-parent", rendered, NAME_SCHEMA, "name", _bad_name, tokens=500))
    named = list(groups)
    for i, outcome in zip(several, grouping.ask(requests, stage) if requests else (), strict=True):
        if isinstance(outcome, Answer):
            title, description = (" ".join(outcome.value[key].split()) for key in ("title", "description"))
            named[i] = replace(named[i], title=title, description=description)
    members = [items[group.members[0]].title for group in named]
    candidates = [[group.title, f"{group.title}: {member}"] for group, member in zip(named, members, strict=True)]
    titles = unique(candidates, taken)
    return tuple(replace(group, title=title) for group, title in zip(named, titles, strict=True))


def _request(
    purpose: str,
    rendered: prompts.Rendered,
    schema: Mapping[str, Any],
    name: str,
    check: Callable[[Any], str | None],
    *,
    tokens: int = ANSWER_TOKENS,
) -> Request:
    return Request(
        purpose=purpose,
        system=rendered.system,
        messages=rendered.user,
        schema=schema,
        schema_name=name,
        max_output_tokens=tokens,
        temperature=0.0,
        check=check,
    )


def _shown(items: Sequence[Item]) -> Data:
    return Data.of(
        [{"id": number, "title": item.title, "description": item.description} for number, item in enumerate(items, 1)]
    )


def _entries(outcome: Outcome, name: str) -> list[Mapping[str, Any]]:
    """The list in an answer, also in one whose count was wrong to the end."""
    value: Any = None
    if isinstance(outcome, Answer):
        value = outcome.value
    elif isinstance(outcome, Failed):
        try:
            value = json.loads(outcome.text)
        except ValueError:
            value = None
    found = value.get(name) if isinstance(value, dict) else None
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _groups_in(outcome: Outcome) -> list[Item]:
    def line(entry: Mapping[str, Any], name: str) -> str:
        return " ".join(str(entry.get(name, "")).split())

    return [Item(line(entry, "name"), line(entry, "description")) for entry in _entries(outcome, "groups")]


def _usable(names: Any) -> list[Item]:
    """Names that say something, each once, in order."""
    found: dict[str, Item] = {}
    for name in names:
        if _bad_title(name.title) is None:
            found.setdefault(normalized(name.title), name)
    return list(found.values())


def _no_group_is_usable(value: Any) -> str | None:
    names = [str(group.get("name", "")) for group in value["groups"]]
    problems = [problem for name in names if (problem := _bad_title(name)) is not None]
    if names and len(problems) < len(names):
        return None
    return f"no group is usable: {problems[0]}" if problems else "the list is empty"


def _miscounted(n_clusters: int, n_groups: int) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        told = [one["cluster"] for one in value["assignments"]]
        missing = sorted(set(range(1, n_clusters + 1)) - set(told))
        wrong = [one["group"] for one in value["assignments"] if not 0 <= one["group"] <= n_groups]
        if missing:
            return f"clusters {', '.join(map(str, missing))} are missing: answer for each of the {n_clusters} once"
        if len(told) != n_clusters:
            return f"{len(told)} answers for {n_clusters} clusters: answer for each once"
        return f"there is no group {wrong[0]}: they are 1 to {n_groups}, and 0 for none" if wrong else None

    return check


def _bad_name(value: Any) -> str | None:
    return _bad_title(" ".join(str(value["title"]).split()))


def _bad_title(title: str) -> str | None:
    if not title.strip():
        return "the name is empty"
    if len(title) > MAX_TITLE_CHARS:
        return f"the name has {len(title)} characters, at most {MAX_TITLE_CHARS} are allowed"
    generic = is_generic(title)
    if generic is not None:
        return f"the name {title!r} {generic}"
    kinds = personal_kinds(title)
    return f"it holds personal data ({', '.join(kinds)})" if kinds else None
