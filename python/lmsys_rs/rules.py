"""Rules that people make once and that are applied again and again: "texts matching this belong to that cluster".

A rule names its cluster by title, because ids change from run to run. In a run it finds the cluster of that title; else
the cluster that holds most of the texts of the cluster it was made for; else it makes a new one. Of rules that want the
same text the oldest wins.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from lmsys_rs.conditions import make_filters
from lmsys_rs.curation import EditResult, move_texts
from lmsys_rs.errors import InvalidInputError
from lmsys_rs.knowledge import RuleRecord
from lmsys_rs.records import NOISE, Event, Filters, OnEvent, RunRecord, ignore_events
from lmsys_rs.selection import passing
from lmsys_rs.session import Session
from lmsys_rs.store import editing, reading

__all__ = ["RuleResult", "add_rule", "apply_rules", "list_rules", "matching", "remove_rule"]

# A cluster of another run stands for the old one if it holds this share of its texts, and they are this share of it.
SAME_CLUSTER = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleResult:
    """What one rule does to one run; ``edit`` None: everything is where it should be."""

    rule: RuleRecord
    n_matching: int
    edit: EditResult | None


def matching(pattern: str) -> str:
    """The condition that a text matches a regular expression (Rust's syntax), case ignored.

    Example:
        >>> matching("refund|money back")
        "REGEXP_LIKE(text, '(?i)refund|money back')"
    """
    return f"REGEXP_LIKE(text, '(?i){pattern.replace(chr(39), chr(39) * 2)}')"


def add_rule(
    session: Session,
    run_id: str,
    condition: str,
    *,
    to_cluster: int | None = None,
    title: str | None = None,
    reason: str | None = None,
    editor: str | None = None,
    dry_run: bool = False,
) -> RuleResult:
    """Make a rule and apply it to a run.

    Args:
        condition: SQL over the columns of a query, as ``--where``; `matching` makes one of a regular expression.
        to_cluster: a cluster of the run; the rule takes its title.
        title: of the cluster instead, one that exists or a new one.

    Raises:
        InvalidInputError: no such run or cluster, no condition, or neither (or both) of cluster and title.
    """
    if (to_cluster is None) == (title is None):
        raise InvalidInputError(
            "a rule needs a cluster or a title, one of the two", hint="--to-cluster 5 or --title TEXT"
        )
    make_filters(where=condition)
    with session.store.reading() as connection:
        run = reading.get_run(connection, run_id)
        titles = {c.cluster_id: c.title for c in reading.clusters(connection, run.run_id) if c.cluster_id != NOISE}
    if to_cluster is not None and to_cluster not in titles:
        raise InvalidInputError(f"{run.run_id} has no cluster {to_cluster}", hint=f"lmsys list-clusters {run.run_id}")
    wanted = " ".join((titles[to_cluster] if to_cluster is not None else title or "").split())
    if not wanted:
        raise InvalidInputError("the title of a rule's cluster must not be empty")
    draft = RuleRecord(
        id=0,
        condition=condition,
        title=wanted,
        run_id=run.run_id,
        cluster_id=to_cluster,
        editor=editor,
        reason=reason,
        created_at="",
        enabled=True,
    )
    if dry_run:
        return _apply(session, run, draft, np.empty(0, dtype=np.uint32), dry_run=True)[0]
    with session.writer("edit"):
        # it must work before it is kept
        result, _ = _apply(session, run, draft, np.empty(0, dtype=np.uint32), dry_run=False)
        with session.store.writing() as connection:
            rule = editing.add_rule(
                connection,
                condition=condition,
                title=wanted,
                run_id=run.run_id,
                cluster_id=to_cluster if to_cluster is not None else _main_cluster(result),
                editor=editor,
                reason=reason,
            )
    return replace(result, rule=rule)


def list_rules(session: Session) -> list[RuleRecord]:
    """Every rule, oldest first."""
    with session.store.reading() as connection:
        return editing.rules(connection)


def remove_rule(session: Session, rule_id: int) -> None:
    """Remove a rule; what it moved stays where it is.

    Raises:
        InvalidInputError: there is no such rule.
    """
    with session.writer("edit"), session.store.writing() as connection:
        if not editing.remove_rule(connection, rule_id):
            raise InvalidInputError(f"there is no rule {rule_id}", hint="lmsys edit rules lists them")


def apply_rules(
    session: Session, run_id: str = "latest", *, dry_run: bool = False, on_event: OnEvent = ignore_events
) -> list[RuleResult]:
    """Apply every rule to a run, oldest first; each is an edit of its own. Applied again they change nothing."""
    rules = [rule for rule in list_rules(session) if rule.enabled]
    if not rules:
        return []
    with session.store.reading() as connection:
        run = reading.get_run(connection, run_id)
    taken: npt.NDArray[np.uint32] = np.empty(0, dtype=np.uint32)
    results = []
    for rule in rules:
        result, taken = _apply(session, run, rule, taken, dry_run=dry_run)
        results.append(result)
    n_texts = sum(result.edit.n_texts for result in results if result.edit is not None)
    if n_texts and not dry_run:
        on_event(Event("note", "edit", message=f"{len(rules)} rules moved {n_texts:,} texts (lmsys edit audit)"))
    return results


def _apply(
    session: Session, run: RunRecord, rule: RuleRecord, taken: npt.NDArray[np.uint32], *, dry_run: bool
) -> tuple[RuleResult, npt.NDArray[np.uint32]]:
    """What one rule does, and the texts that later rules must leave alone."""
    with session.store.reading() as connection:
        members = reading.members(connection, run.run_id)["text_id"].to_numpy()
    own = Filters.from_dict(run.filters).without_limit()
    of_run = passing(session, own, ("query_id",), text_ids=members)["query_id"]
    found = passing(session, Filters(where=rule.condition), ("query_id", "text_id"), text_ids=members)
    text_ids = np.unique(found.filter(found["query_id"].is_in(of_run.implode()))["text_id"].to_numpy())
    free = np.setdiff1d(text_ids, taken)
    edit = None
    if len(free):
        target = _target(session, run, rule)
        title = rule.title
        if target is not None:
            with session.store.reading() as connection:
                current = next(c for c in reading.clusters(connection, run.run_id) if c.cluster_id == target)
            # a person may have called it something else since; in its own run a rule knows it by number, whatever a
            # later naming calls it
            is_at_home = rule.id > 0 and rule.run_id == run.run_id
            title = current.title if current.title_source == "user" or is_at_home else title
        edit = move_texts(
            session,
            run.run_id,
            free,
            target,
            title=title,
            reason=rule.reason or f"rule: {rule.condition}",
            editor=rule.editor,
            dry_run=dry_run,
        )
    return RuleResult(rule=rule, n_matching=len(text_ids), edit=edit), np.union1d(taken, text_ids)


def _target(session: Session, run: RunRecord, rule: RuleRecord) -> int | None:
    """The cluster of ``run`` that a rule means; None where there is none yet."""
    with session.store.reading() as connection:
        clusters = {c.cluster_id: c for c in reading.clusters(connection, run.run_id) if c.cluster_id != NOISE}
        for cluster_id, record in clusters.items():
            if record.title.casefold() == rule.title.casefold():
                return cluster_id
        if rule.cluster_id is None or rule.run_id is None:
            return None
        if rule.run_id == run.run_id:
            return rule.cluster_id if rule.cluster_id in clusters else None
        old = reading.members(connection, rule.run_id, rule.cluster_id)["text_id"].to_numpy()
        here = reading.members(connection, run.run_id)
    labels = here.filter(here["text_id"].is_in(old.tolist()))["cluster_id"].to_numpy()
    ids, counts = np.unique(labels[labels != NOISE], return_counts=True)
    if not len(ids):
        return None
    best = int(ids[np.argmax(counts)])
    n_shared = int(counts.max())
    is_same = n_shared >= SAME_CLUSTER * len(old) and n_shared >= SAME_CLUSTER * clusters[best].size
    return best if is_same else None


def _main_cluster(result: RuleResult) -> int | None:
    if result.edit is None:
        return None
    named = [c.cluster_id for c in result.edit.clusters if c.title == result.rule.title]
    return named[0] if named else None
