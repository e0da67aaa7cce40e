"""What is suggested for review, and why."""

from __future__ import annotations

import pytest
from lmsys_rs import _core, curation
from lmsys_rs.clustering import cluster
from lmsys_rs.errors import InvalidInputError
from lmsys_rs.labeling import label
from lmsys_rs.languages import language_shares
from lmsys_rs.records import RunRecord
from lmsys_rs.reviewing import select_bad_clusters, suggest
from lmsys_rs.session import Session


@pytest.fixture
def run(embedded: Session) -> RunRecord:
    return label(embedded, cluster(embedded, _core.KMeans(n_clusters=8)).run_id)


def test_suggestions_have_reasons_and_a_command(embedded: Session, run: RunRecord) -> None:
    found = suggest(embedded)
    assert found
    scores = [s.score for s in found]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < s.score <= 1 and s.reasons and s.command.startswith("lmsys ") for s in found)
    assert suggest(embedded) == found


def test_what_a_person_rated_decides(embedded: Session, run: RunRecord) -> None:
    first = suggest(embedded)[0].cluster_id
    curation.tag_cluster(embedded, "latest", first, quality="high")
    assert first not in {s.cluster_id for s in suggest(embedded, limit=None)}
    curation.tag_cluster(embedded, "latest", first, quality="low")
    assert "rated low" in suggest(embedded, limit=None)[0].reasons


def test_generic_title_is_suspicious(embedded: Session, run: RunRecord) -> None:
    curation.rename_cluster(embedded, "latest", 4, "Various questions")
    (found,) = [s for s in suggest(embedded, limit=None) if s.cluster_id == 4]
    assert "its title holds only words that fit every cluster" in found.reasons
    assert found.command.startswith("lmsys edit ")


def test_language_shares_add_up(embedded: Session, run: RunRecord) -> None:
    shares = language_shares(embedded, run.run_id)
    assert shares
    assert all(abs(sum(of.values()) - 1) < 1e-9 for of in shares.values())


def test_bad_clusters_are_those_that_pass_every_condition(embedded: Session, run: RunRecord) -> None:
    every = select_bad_clusters(embedded, min_size=0)
    assert len(every) == 8
    assert [c.n_queries for c in every] == sorted((c.n_queries for c in every), reverse=True)
    middle = every[4].n_queries
    assert {c.cluster_id for c in select_bad_clusters(embedded, max_size=middle)} == {
        c.cluster_id for c in every if c.n_queries <= middle
    }
    curation.tag_cluster(embedded, "latest", 3, quality="low")
    assert [c.cluster_id for c in select_bad_clusters(embedded, quality="low")] == [3]
    assert select_bad_clusters(embedded, quality="low", max_size=0) == []
    assert select_bad_clusters(embedded, min_languages=1)
    with pytest.raises(InvalidInputError, match="say what is bad"):
        select_bad_clusters(embedded)
