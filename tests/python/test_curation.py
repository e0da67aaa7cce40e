"""Edits of clusters: what they change, that undo takes exactly that back, and what they refuse."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from lmsys_rs import _core, assigning, curation, selection
from lmsys_rs.clustering import cluster
from lmsys_rs.embedding import embed
from lmsys_rs.errors import InvalidInputError
from lmsys_rs.labeling import label
from lmsys_rs.loading import load
from lmsys_rs.records import ClusterRecord, RunRecord
from lmsys_rs.sample import write_sample
from lmsys_rs.session import Session
from lmsys_rs.store import checking, editing, naming, reading


@pytest.fixture
def run(embedded: Session) -> RunRecord:
    made = cluster(embedded, _core.KMeans(n_clusters=8))
    return label(embedded, made.run_id)


def clusters(session: Session) -> dict[int, ClusterRecord]:
    with session.store.reading() as connection:
        run = reading.get_run(connection, "latest")
        return {c.cluster_id: c for c in reading.clusters(connection, run.run_id)}


def queries_of(session: Session, cluster_id: int) -> list[int]:
    return selection.queries(session, run_id="latest", cluster_id=cluster_id, limit=None)["query_id"].to_list()


def everything(session: Session) -> dict[str, Any]:
    """All that an edit may change, but the list of edits."""
    with session.store.reading() as connection:
        run = reading.get_run(connection, "latest")
        members = reading.members(connection, run.run_id)
        original = connection.exec_driver_sql("SELECT text_id, original_id FROM membership ORDER BY text_id").all()
        return {
            "run": replace(run, next_cluster_id=0),
            "clusters": reading.clusters(connection, run.run_id),
            "members": members.rows(),
            "original": [tuple(row) for row in original],
            "notes": editing.notes(connection, run.run_id),
        }


def assert_counts_hold(session: Session, *, of_queries: bool = True) -> None:
    with session.store.reading() as connection:
        run = reading.get_run(connection, "latest")
        members = reading.members(connection, run.run_id)
        found = {c.cluster_id: c for c in reading.clusters(connection, run.run_id)}
        assert not checking.broken_rules(connection)
    sizes = dict(members.group_by("cluster_id").len().rows())
    assert {i: c.size for i, c in found.items()} == sizes
    weights = selection.select(session)
    of_text = dict(zip(weights.text_ids.tolist(), weights.weights.tolist(), strict=True))
    for i, record in found.items():
        ids = members.filter(pl.col("cluster_id") == i)["text_id"].to_list()
        # what is asked again later is not counted again
        assert not of_queries or record.n_queries == sum(of_text[text_id] for text_id in ids)
        assert set(record.representatives) <= set(ids)
        assert record.medoid is None or record.medoid in ids
    assert run.n_clusters == sum(i >= 0 for i in found)
    assert run.n_noise == sizes.get(-1, 0)
    titles = [c.title.casefold() for c in found.values()]
    assert len(set(titles)) == len(titles)


def test_move_takes_queries_of_the_same_text_along(embedded: Session, run: RunRecord) -> None:
    counts = selection.passing(embedded, None, ("query_id", "text_id")).group_by("text_id").len()
    repeated = counts.filter(pl.col("len") > 1)["text_id"][0]
    queries = selection.passing(embedded, None, ("query_id", "text_id")).filter(pl.col("text_id") == repeated)
    first = int(queries["query_id"][0])
    here = int(selection.queries(embedded, run_id="latest", after=first - 1, limit=1)["cluster_id"][0])
    result = curation.move_queries(embedded, "latest", [first], (here + 1) % 8, reason="wrong place", editor="me")
    assert (result.n_texts, result.n_queries) == (1, queries.height)
    assert_counts_hold(embedded)
    (edit,) = curation.history(embedded, "latest")
    assert (edit.kind, edit.reason, edit.editor, edit.state) == ("move_query", "wrong place", "me", "done")


def test_dry_run_shows_what_would_happen_and_does_nothing(embedded: Session, run: RunRecord) -> None:
    before = everything(embedded)
    preview = curation.merge_clusters(embedded, "latest", [1, 2], 0, title="All of it", dry_run=True)
    assert everything(embedded) == before
    assert not curation.history(embedded, "latest")
    done = curation.merge_clusters(embedded, "latest", [1, 2], 0, title="All of it")
    assert replace(done, edit_id=None) == preview
    assert [(c.cluster_id, c.title) for c in done.clusters] == [(0, "All of it"), (1, None), (2, None)]


def test_previews_work_while_another_program_writes(embedded: Session, run: RunRecord) -> None:
    from lmsys_rs.errors import StoreError
    from lmsys_rs.session import open_session

    with open_session(embedded.folder.path) as other, other.writer("load"):
        assert curation.merge_clusters(embedded, "latest", [1], 0, dry_run=True).edit_id is None
        with pytest.raises(StoreError, match="in use"):
            curation.merge_clusters(embedded, "latest", [1], 0)


def test_merge_leaves_no_ghosts(embedded: Session, run: RunRecord) -> None:
    sizes = {i: c.size for i, c in clusters(embedded).items()}
    curation.merge_clusters(embedded, "latest", [3, 4], 5)
    found = clusters(embedded)
    assert 3 not in found
    assert 4 not in found
    assert found[5].size == sizes[3] + sizes[4] + sizes[5]
    assert found[5].description.startswith(f"{found[5].n_queries:,} queries")
    assert_counts_hold(embedded)


def test_split_makes_a_cluster_with_an_id_that_never_was(embedded: Session, run: RunRecord) -> None:
    curation.delete_cluster(embedded, "latest", 7, move_to=0)
    result = curation.split_cluster(embedded, "latest", 0, queries_of(embedded, 0)[:4])
    new_id = result.clusters[-1].cluster_id
    assert new_id == 8
    found = clusters(embedded)
    assert found[8].title
    assert found[8].title_source == "offline"
    assert found[8].terms
    assert_counts_hold(embedded)


def test_deleted_cluster_leaves_orphans_that_can_be_found(embedded: Session, run: RunRecord) -> None:
    size = clusters(embedded)[6].size
    assert not len(curation.orphaned(embedded, "latest"))
    curation.delete_cluster(embedded, "latest", 6)
    assert len(curation.orphaned(embedded, "latest")) == size
    assert clusters(embedded)[-1].title == "Unclustered"
    assert_counts_hold(embedded)
    curation.undo(embedded)
    assert not len(curation.orphaned(embedded, "latest"))


def test_a_persons_title_survives_naming_again(embedded: Session, run: RunRecord) -> None:
    curation.rename_cluster(embedded, "latest", 2, "My own words", "As I see it")
    label(embedded, run.run_id)
    record = clusters(embedded)[2]
    assert (record.title, record.description, record.title_source) == ("My own words", "As I see it", "user")
    assert_counts_hold(embedded)


def test_notes_add_up_and_flags_come_and_go(embedded: Session, run: RunRecord) -> None:
    curation.tag_cluster(embedded, "latest", 1, coherence=4)
    curation.tag_cluster(embedded, "latest", 1, quality="low", notes="mixed")
    result = curation.flag_cluster(embedded, "latest", 1, "review")
    (note,) = result.notes
    assert (note.coherence, note.quality, note.notes, note.flags) == (4, "low", "mixed", ("review",))
    with pytest.raises(InvalidInputError, match="has the flag 'review' already"):
        curation.flag_cluster(embedded, "latest", 1, "review")
    curation.flag_cluster(embedded, "latest", 1, "review", remove=True)
    for _ in range(4):
        curation.undo(embedded)
    with embedded.store.reading() as connection:
        assert editing.notes(connection, run.run_id) == {}


def test_history_of_a_cluster_tells_what_it_was_merged_into(embedded: Session, run: RunRecord) -> None:
    curation.merge_clusters(embedded, "latest", [3], 5)
    curation.rename_cluster(embedded, "latest", 1, "Else")
    assert [e.kind for e in curation.history(embedded, "latest", 3)] == ["merge"]
    assert [e.kind for e in curation.history(embedded, "latest")] == ["merge", "rename"]


@pytest.mark.parametrize("seed", range(6))
def test_undo_and_redo_go_back_and_forth_exactly(embedded: Session, run: RunRecord, seed: int) -> None:
    rng = random.Random(seed)
    states = [everything(embedded)]
    while len(states) < 9:
        ids = [i for i in clusters(embedded) if i >= 0]
        some = rng.choice(ids)
        other = rng.choice([i for i in ids if i != some])
        queries = queries_of(embedded, some)
        kind = rng.choice(["move", "merge", "split", "delete", "orphan", "rename", "tag", "flag"])
        try:
            if kind == "move":
                curation.move_queries(embedded, "latest", rng.sample(queries, min(3, len(queries))), other)
            elif kind == "merge":
                curation.merge_clusters(embedded, "latest", [some], other, title=rng.choice([None, f"m{len(states)}"]))
            elif kind == "split":
                curation.split_cluster(embedded, "latest", some, rng.sample(queries, max(1, len(queries) // 3)))
            elif kind == "delete":
                curation.delete_cluster(embedded, "latest", some, move_to=other)
            elif kind == "orphan":
                curation.delete_cluster(embedded, "latest", some)
            elif kind == "rename":
                curation.rename_cluster(embedded, "latest", some, f"title {len(states)}")
            elif kind == "tag":
                curation.tag_cluster(embedded, "latest", some, coherence=rng.randint(1, 5))
            else:
                curation.flag_cluster(embedded, "latest", some, f"flag {len(states)}")
        except InvalidInputError:
            continue
        assert_counts_hold(embedded)
        states.append(everything(embedded))
    for state in states[-2::-1]:
        curation.undo(embedded)
        assert everything(embedded) == state
    with pytest.raises(InvalidInputError, match="nothing to undo"):
        curation.undo(embedded)
    for state in states[1:]:
        curation.redo(embedded)
        assert everything(embedded) == state
    with pytest.raises(InvalidInputError, match="nothing to redo"):
        curation.redo(embedded)


def test_a_new_edit_ends_redo(embedded: Session, run: RunRecord) -> None:
    curation.rename_cluster(embedded, "latest", 1, "First")
    curation.undo(embedded)
    curation.rename_cluster(embedded, "latest", 1, "Second")
    with pytest.raises(InvalidInputError, match="nothing to redo"):
        curation.redo(embedded)
    assert [e.state for e in curation.history(embedded, "latest")] == ["dropped", "done"]


def test_undo_of_a_split_takes_later_arrivals_home(
    embedded: Session, run: RunRecord, encoder: Any, tmp_path: Any
) -> None:
    queries = queries_of(embedded, 0)
    curation.split_cluster(embedded, "latest", 0, queries[: len(queries) // 2], title="Half")
    load(embedded, write_sample(tmp_path / "more.jsonl", n_conversations=120, seed=9))
    embed(embedded, encoder)
    report = assigning.assign(embedded, "latest")
    assert 8 in {growth.cluster_id for growth in report.growth}
    assert_counts_hold(embedded, of_queries=False)
    curation.undo(embedded)
    assert 8 not in clusters(embedded)
    assert_counts_hold(embedded, of_queries=False)


def test_everything_works_with_gaps_between_ids(embedded: Session, run: RunRecord, encoder: Any, tmp_path: Any) -> None:
    from lmsys_rs import drawing, judging
    from lmsys_rs.search import search_clusters, search_queries

    curation.merge_clusters(embedded, "latest", [0, 3], 5)
    curation.delete_cluster(embedded, "latest", 7)
    label(embedded, run.run_id)
    assert_counts_hold(embedded)
    hits = search_clusters(embedded, "sort a list in python", n_results=20, encoder=encoder)
    assert {hit.cluster_id for hit in hits} == {1, 2, 4, 5, 6}
    search_queries(embedded, "python", run_id="latest", encoder=encoder)
    assert judging.quality(embedded, n_boots=2)["cluster_id"].to_list() == [1, 2, 4, 5, 6]
    judging.merge_suggestions(embedded)
    judging.outliers(embedded)
    judging.group_clusters(embedded, n_clusters=2)
    drawing.write_map(embedded, run.run_id, tmp_path / "map.html")
    load(embedded, write_sample(tmp_path / "more.jsonl", n_conversations=50, seed=9))
    embed(embedded, encoder)
    report = assigning.assign(embedded, "latest")
    assert {growth.cluster_id for growth in report.growth} <= {1, 2, 4, 5, 6}
    assert_counts_hold(embedded, of_queries=False)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda s: curation.rename_cluster(s, "latest", 99, "x"), "has no cluster 99"),
        (lambda s: curation.rename_cluster(s, "latest", -1, "x"), "has no cluster -1"),
        (lambda s: curation.rename_cluster(s, "latest", 0), "needs a title or a description"),
        (lambda s: curation.rename_cluster(s, "latest", 0, "  "), "must have 1 to 200 characters: 0"),
        (lambda s: curation.merge_clusters(s, "latest", [2], 2), "needs a source that is not the target"),
        (lambda s: curation.move_queries(s, "latest", [], 1), "no query is named"),
        (lambda s: curation.move_queries(s, "latest", [10**9], 1), "has no query 1000000000"),
        (lambda s: curation.delete_cluster(s, "latest", 1, move_to=1), "cannot be moved to itself"),
        (lambda s: curation.tag_cluster(s, "latest", 1, coherence=6), "coherence must be 1 to 5: 6"),
        (lambda s: curation.tag_cluster(s, "latest", 1, quality="fine"), "quality must be one of high, medium, low"),
        (lambda s: curation.tag_cluster(s, "latest", 1), "tag needs one of"),
        (lambda s: curation.rename_cluster(s, "nope", 1, "x"), "there is no run 'nope'"),
    ],
)
def test_what_cannot_be_done_is_refused(embedded: Session, run: RunRecord, edit: Any, message: str) -> None:
    before = everything(embedded)
    with pytest.raises(InvalidInputError, match=message):
        edit(embedded)
    assert everything(embedded) == before


def test_a_taken_title_is_refused(embedded: Session, run: RunRecord) -> None:
    taken = clusters(embedded)[1].title
    with pytest.raises(InvalidInputError, match=r"cluster 1 is called .* already"):
        curation.rename_cluster(embedded, "latest", 2, taken.upper() if taken.isupper() else taken.lower())
    # the title of a cluster that goes is free
    curation.merge_clusters(embedded, "latest", [1], 2, title=taken)
    assert clusters(embedded)[2].title == taken


def test_splitting_off_everything_is_refused(embedded: Session, run: RunRecord) -> None:
    with pytest.raises(InvalidInputError, match="every text of cluster 1 would go"):
        curation.split_cluster(embedded, "latest", 1, queries_of(embedded, 1))
    with pytest.raises(InvalidInputError, match="are not in cluster 1"):
        curation.split_cluster(embedded, "latest", 1, queries_of(embedded, 2)[:2])


def test_edits_of_a_deleted_run_go_with_it(embedded: Session, run: RunRecord) -> None:
    from lmsys_rs.deleting import delete_run

    curation.merge_clusters(embedded, "latest", [1], 2)
    delete_run(embedded, run.run_id)
    with embedded.store.reading() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM edit_move").scalar_one() == 0
        assert not checking.integrity_errors(connection)


def test_moves_are_packed_and_unpacked_exactly() -> None:
    for ids in ([], [0], [5, 6, 7, 4_000_000_000], list(range(1000))):
        array = np.array(ids, dtype=np.uint32)
        assert editing._unpacked(editing._packed(array)).tolist() == ids


def test_counts_in_the_description_follow_under_a_title_of_ones_own(embedded: Session, run: RunRecord) -> None:
    curation.rename_cluster(embedded, "latest", 0, "Mine")
    curation.merge_clusters(embedded, "latest", [1, 2], 0)
    merged = clusters(embedded)[0]
    assert merged.title == "Mine"
    assert merged.description.startswith(f"{merged.n_queries:,} queries")
    curation.rename_cluster(embedded, "latest", 0, description="My own words.")
    curation.merge_clusters(embedded, "latest", [3], 0)
    assert clusters(embedded)[0].description == "My own words."


def test_undo_gives_no_title_that_another_cluster_got_since(embedded: Session, run: RunRecord) -> None:
    before = clusters(embedded)
    curation.rename_cluster(embedded, "latest", 0, "Mine")
    with embedded.store.writing() as connection:
        by_model = replace(before[1], title=before[0].title, title_source="llm")
        naming.set_titles(connection, run.run_id, [by_model], summary_run_id=None)
    curation.undo(embedded)
    assert clusters(embedded)[0].title == f"{before[0].title} (2)"
    assert_counts_hold(embedded)
