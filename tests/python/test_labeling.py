"""Names without an LLM: short, readable, never two alike."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lmsys_rs import _core, curation, hierarchies, selection
from lmsys_rs.clustering import cluster
from lmsys_rs.deleting import delete_dataset
from lmsys_rs.embedding import embed
from lmsys_rs.labeling import describe, label
from lmsys_rs.loading import load
from lmsys_rs.records import ClusterRecord, Event, Filters, is_counted
from lmsys_rs.session import Session
from lmsys_rs.store import checking, reading, writing
from lmsys_rs.titles import MAX_TITLE, is_generic
from lmsys_rs.titling import titles_by_words as titles


def best_first(*terms: str) -> list[str]:
    return list(terms)


def test_title_joins_the_best_terms() -> None:
    assert titles([best_first("python", "sort", "list", "code")], [""]) == ["Python, sort, list"]


def test_term_inside_a_phrase_is_not_repeated() -> None:
    assert titles([best_first("capital", "capital france", "paris", "capitals")], [""]) == ["Capital france, paris"]


def test_overlapping_pairs_of_characters_are_not_repeated() -> None:
    assert titles([best_first("一步", "步一", "例子", "请一")], [""]) == ["一步, 例子"]


def test_equal_clusters_get_different_titles() -> None:
    terms = best_first("python", "list", "sort", "code")
    found = titles([terms, terms, terms], ["a", "b", "c"])
    assert found[0] == "Python, list, sort"
    assert found[1] == "Python, list, code"
    assert len({title.casefold() for title in found}) == 3


def test_cluster_without_terms_is_called_by_its_medoid() -> None:
    assert titles([[]], ["what is love"]) == ["Love"]
    assert len(titles([[]], ["word " * 40])[0]) <= MAX_TITLE


def test_clusters_with_nothing_at_all_are_numbered() -> None:
    assert titles([[], [], []], ["", "", ""]) == ["Cluster (2)", "Cluster (3)", "Cluster (4)"]


def test_noise_keeps_its_name() -> None:
    assert titles([best_first("unclustered")], [""])[0] != "Unclustered"


@given(st.lists(st.lists(st.sampled_from(["a", "b", "a b", "c", "C", "unclustered"]), max_size=4), max_size=12))
def test_no_two_titles_are_ever_equal(clusters: list[list[str]]) -> None:
    found = titles([best_first(*terms) for terms in clusters], ["example"] * len(clusters))
    assert len(found) == len(clusters) == len({title.casefold() for title in found})


def test_description_counts_and_gives_an_example() -> None:
    record = ClusterRecord(run_id="r", cluster_id=0, size=2, n_queries=3, title="", description="")
    assert describe(record, ["python", "list"], "sort a list") == (
        "3 queries (2 different texts) about python and list, for example: sort a list"
    )


@pytest.mark.parametrize("n_queries", [1, 2, 3_000])
@pytest.mark.parametrize("terms", [[], ["python"], ["python", "list"]])
@pytest.mark.parametrize("example", ["", "sort a list"])
def test_an_offline_description_is_known_again(n_queries: int, terms: list[str], example: str) -> None:
    record = ClusterRecord(run_id="r", cluster_id=0, size=2, n_queries=n_queries, title="", description="")
    assert is_counted(describe(record, terms, example))
    assert not is_counted("Three queries about python.")


def test_labeling_fills_every_cluster(embedded: Session) -> None:
    run = cluster(embedded, _core.KMeans(n_clusters=12))
    assert not run.labeled
    assert label(embedded, run.run_id).labeled
    with embedded.store.reading() as connection:
        clusters = reading.clusters(connection, run.run_id)
        assert reading.get_run(connection, run.run_id).labeled
        members = reading.members(connection, run.run_id)
    assert len({c.title.casefold() for c in clusters}) == 12
    of_text = dict(zip(members["text_id"], members["cluster_id"], strict=True))
    for record in clusters:
        assert record.terms
        assert record.description
        assert record.medoid is not None
        assert record.representatives[0] == record.medoid
        assert {of_text[text_id] for text_id in record.representatives} == {record.cluster_id}
        assert len(set(record.representatives)) == len(record.representatives)


def test_titles_are_checked_with_the_encoder_of_the_vectors(embedded: Session, encoder: Any) -> None:
    run = cluster(embedded, _core.KMeans(n_clusters=8))
    events: list[Event] = []
    label(embedded, run.run_id, encoder=encoder, on_event=events.append)
    with embedded.store.reading() as connection:
        clusters = reading.clusters(connection, run.run_id)
    assert {c.title_rank for c in clusters} == {1}
    assert {c.title_source for c in clusters} == {"offline"}
    assert not [event for event in events if event.kind == "note"]


def test_without_the_model_of_the_vectors_words_decide_and_a_note_says_so(embedded: Session) -> None:
    run = cluster(embedded, _core.KMeans(n_clusters=8))
    events: list[Event] = []
    label(embedded, run.run_id, on_event=events.append)
    with embedded.store.reading() as connection:
        assert {c.title_rank for c in reading.clusters(connection, run.run_id)} == {None}
    notes = [event.message for event in events if event.kind == "note"]
    assert notes == ["titles are chosen by words alone: words-64 is not on this machine"]


def test_a_model_on_this_machine_is_found_again(loaded: Session, model_folder: Path) -> None:
    embed(loaded, "all-MiniLM-L6-v2")
    run = cluster(loaded, _core.KMeans(n_clusters=8))
    label(loaded, run.run_id)
    with loaded.store.reading() as connection:
        clusters = reading.clusters(connection, run.run_id)
    assert model_folder.is_dir()
    assert all(c.title_rank is not None for c in clusters)
    assert all(is_generic(c.title) is None for c in clusters)


def test_a_title_that_a_person_gave_stays(embedded: Session) -> None:
    run = cluster(embedded, _core.KMeans(n_clusters=4))
    label(embedded, run.run_id)
    with embedded.store.reading() as connection:
        clusters = reading.clusters(connection, run.run_id)
    theirs = [replace(clusters[0], title="Ours", description="By hand.", title_source="user"), *clusters[1:]]
    with embedded.writer("test"), embedded.store.writing() as connection:
        writing.set_clusters(connection, run.run_id, theirs)
    label(embedded, run.run_id)
    with embedded.store.reading() as connection:
        kept = reading.clusters(connection, run.run_id)
    assert (kept[0].title, kept[0].description, kept[0].title_source) == ("Ours", "By hand.", "user")
    assert [c.title for c in kept[1:]] == [c.title for c in clusters[1:]]


def test_labeling_twice_gives_the_same_names(embedded: Session) -> None:
    run = cluster(embedded, _core.KMeans(n_clusters=6))
    found = []
    for _ in range(2):
        label(embedded, run.run_id)
        with embedded.store.reading() as connection:
            found.append(reading.clusters(connection, run.run_id))
    assert found[0] == found[1]


def test_noise_is_called_unclustered(embedded: Session) -> None:
    run = cluster(embedded, _core.HDBSCAN(min_cluster_size=5), space="graph")
    label(embedded, run.run_id)
    with embedded.store.reading() as connection:
        names = {c.cluster_id: c.title for c in reading.clusters(connection, run.run_id)}
    if run.n_noise:
        assert names[-1] == "Unclustered"


def test_a_title_that_is_taken_is_not_told_apart_by_its_own_words() -> None:
    terms = ["bake bread", "bake", "bread"]
    assert titles([terms, terms], ["", "how to bake bread"]) == ["Bake bread", "How to bake bread"]


def test_what_is_edited_while_names_are_chosen_stays(embedded: Session, encoder: Any) -> None:
    run = label(embedded, cluster(embedded, _core.KMeans(n_clusters=6)).run_id)

    def edit(event: Event) -> None:
        if event.kind == "started":
            curation.merge_clusters(embedded, run.run_id, [1], 0)
            first = selection.queries(embedded, run_id=run.run_id, cluster_id=2, limit=1)["query_id"].to_list()
            curation.split_cluster(embedded, run.run_id, 2, first)
            curation.rename_cluster(embedded, run.run_id, 3, "My own words")

    label(embedded, run.run_id, encoder=encoder, on_event=edit)
    with embedded.store.reading() as connection:
        assert not checking.broken_rules(connection)
        found = {c.cluster_id: c for c in reading.clusters(connection, run.run_id)}
        sizes = dict(reading.members(connection, run.run_id).group_by("cluster_id").len().rows())
    assert {i: c.size for i, c in found.items()} == sizes
    assert found[3].title == "My own words"


def test_a_run_whose_texts_pass_its_filters_no_more_goes_on(session: Session, sample_file: Path, encoder: Any) -> None:
    load(session, sample_file, dataset="first")
    embed(session, encoder)
    run = cluster(session, _core.KMeans(n_clusters=4), filters=Filters(dataset="first"))
    load(session, sample_file, dataset="second")
    delete_dataset(session, "first")
    label(session, run.run_id)
    with session.store.reading() as connection:
        assert all(c.title for c in reading.clusters(connection, run.run_id))
    assert hierarchies.build(session, run.run_id).level_sizes
    curation.merge_clusters(session, run.run_id, [0], 1)
    curation.undo(session, run.run_id)
