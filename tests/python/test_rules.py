"""Rules: they move what matches, come back on new texts and new runs, and change nothing the second time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from lmsys_rs import _core, assigning, curation, selection
from lmsys_rs.clustering import cluster
from lmsys_rs.embedding import embed
from lmsys_rs.errors import InvalidInputError
from lmsys_rs.labeling import label
from lmsys_rs.loading import load
from lmsys_rs.records import RunRecord
from lmsys_rs.rules import add_rule, apply_rules, list_rules, matching, remove_rule
from lmsys_rs.sample import write_sample
from lmsys_rs.session import Session
from lmsys_rs.store import naming, reading


@pytest.fixture
def run(embedded: Session) -> RunRecord:
    return label(embedded, cluster(embedded, _core.KMeans(n_clusters=8)).run_id)


def labels_of(session: Session, where: str, run_id: str = "latest") -> set[int]:
    from lmsys_rs.conditions import make_filters

    return set(selection.queries(session, make_filters(where=where), run_id=run_id, limit=None)["cluster_id"])


def titles(session: Session, run_id: str) -> dict[int, str]:
    with session.store.reading() as connection:
        return {c.cluster_id: c.title for c in reading.clusters(connection, run_id)}


PYTHON = matching(r"\bpython\b")


def test_rule_moves_what_matches_and_nothing_the_second_time(embedded: Session, run: RunRecord) -> None:
    result = add_rule(embedded, "latest", PYTHON, to_cluster=3, reason="code belongs together")
    assert result.n_matching > 0
    assert result.edit is not None
    assert labels_of(embedded, PYTHON) == {3}
    (again,) = apply_rules(embedded)
    assert again.edit is None
    assert again.n_matching == result.n_matching
    assert [e.kind for e in curation.history(embedded, "latest")] == ["rule"]


def test_rule_can_make_its_cluster(embedded: Session, run: RunRecord) -> None:
    add_rule(embedded, "latest", PYTHON, title="Python, all of it")
    (new_id,) = labels_of(embedded, PYTHON)
    assert new_id == 8
    assert titles(embedded, run.run_id)[8] == "Python, all of it"
    (rule,) = list_rules(embedded)
    assert (rule.cluster_id, rule.run_id) == (8, run.run_id)


def test_rule_comes_back_on_new_texts(embedded: Session, run: RunRecord, encoder: Any, tmp_path: Any) -> None:
    add_rule(embedded, "latest", PYTHON, to_cluster=3)
    load(embedded, write_sample(tmp_path / "more.jsonl", n_conversations=200, seed=9))
    embed(embedded, encoder)
    assigning.assign(embedded, "latest")
    apply_rules(embedded)
    assert labels_of(embedded, PYTHON) == {3}


def test_rule_finds_its_cluster_in_another_run(embedded: Session, run: RunRecord) -> None:
    titled = titles(embedded, run.run_id)
    with embedded.store.reading() as connection:
        largest = {c.cluster_id: c.size for c in reading.clusters(connection, run.run_id)}
    target = max(largest, key=lambda i: largest[i])
    add_rule(embedded, "latest", PYTHON, to_cluster=target)
    other = label(embedded, cluster(embedded, _core.KMeans(n_clusters=8, random_state=1)).run_id)
    results = apply_rules(embedded, other.run_id)
    (found,) = labels_of(embedded, PYTHON, other.run_id)
    assert titles(embedded, other.run_id)[found] == titled[target]
    assert results[0].n_matching > 0


def test_a_later_rename_stays(embedded: Session, run: RunRecord) -> None:
    add_rule(embedded, "latest", PYTHON, to_cluster=3)
    curation.rename_cluster(embedded, "latest", 3, "My own words")
    assert apply_rules(embedded)[0].edit is None
    label(embedded, run.run_id)
    apply_rules(embedded)
    assert titles(embedded, run.run_id)[3] == "My own words"


def test_oldest_rule_wins(embedded: Session, run: RunRecord) -> None:
    add_rule(embedded, "latest", PYTHON, to_cluster=3)
    add_rule(embedded, "latest", "n_chars > 0 AND language = 'English'", to_cluster=4)
    apply_rules(embedded)
    assert labels_of(embedded, PYTHON) == {3}
    assert all(r.edit is None for r in apply_rules(embedded))


def test_preview_keeps_nothing(embedded: Session, run: RunRecord) -> None:
    result = add_rule(embedded, "latest", PYTHON, to_cluster=3, dry_run=True)
    assert result.edit is not None
    assert result.edit.edit_id is None
    assert not list_rules(embedded)
    assert not curation.history(embedded, "latest")


def test_removed_rule_is_not_applied(embedded: Session, run: RunRecord) -> None:
    add_rule(embedded, "latest", PYTHON, to_cluster=3)
    curation.undo(embedded)
    remove_rule(embedded, list_rules(embedded)[0].id)
    assert apply_rules(embedded) == []
    with pytest.raises(InvalidInputError, match="there is no rule 1"):
        remove_rule(embedded, 1)


def test_rules_that_say_too_little_or_too_much_are_refused(embedded: Session, run: RunRecord) -> None:
    with pytest.raises(InvalidInputError, match="a cluster or a title"):
        add_rule(embedded, "latest", PYTHON)
    with pytest.raises(InvalidInputError, match="has no cluster 99"):
        add_rule(embedded, "latest", PYTHON, to_cluster=99)
    with pytest.raises(InvalidInputError, match="where"):
        add_rule(embedded, "latest", "no such thing(", to_cluster=1)
    with pytest.raises(InvalidInputError, match="where"):
        add_rule(embedded, "latest", matching("("), to_cluster=1)
    assert not list_rules(embedded)


def test_quotes_in_a_pattern_stay_in_it(embedded: Session) -> None:
    frame = pl.DataFrame({"text": ["it's here", "its here"]})
    assert frame.filter(pl.sql_expr(matching("it's")))["text"].to_list() == ["it's here"]


def test_a_rule_leaves_a_later_title_of_a_model(embedded: Session, run: RunRecord) -> None:
    add_rule(embedded, "latest", PYTHON, to_cluster=3)
    with embedded.store.reading() as connection:
        record = next(c for c in reading.clusters(connection, run.run_id) if c.cluster_id == 3)
    with embedded.store.writing() as connection:
        by_model = replace(record, title="Python scripts", title_source="llm")
        naming.set_titles(connection, run.run_id, [by_model], summary_run_id=None)
    (again,) = apply_rules(embedded)
    assert again.edit is None
    assert titles(embedded, run.run_id)[3] == "Python scripts"
