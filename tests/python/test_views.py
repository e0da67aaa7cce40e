"""The tables as lazy frames: what is in them, and that nothing is read that nobody asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from lmsys_rs import _core, deleting, selection, views
from lmsys_rs.clustering import cluster
from lmsys_rs.conditions import make_filters
from lmsys_rs.embedding import embed
from lmsys_rs.errors import InvalidInputError
from lmsys_rs.labeling import label
from lmsys_rs.loading import load
from lmsys_rs.segments import SEGMENT_SCHEMA
from lmsys_rs.session import Session, open_session
from lmsys_rs.store import reading
from polars.testing import assert_frame_equal

TEXTS = ["sort a list", "capital of France", "sort a list", "  ", "refund my ticket please", "sort a list", "hi"]


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "PAGE_ROWS", 3)


def filled(folder: Path) -> Session:
    """Two data sets with repeated texts, one conversation without a query, and fields of their own."""
    session = open_session(folder / "w.lmsys")
    for name in ("a", "b"):
        with (folder / f"{name}.jsonl").open("w", encoding="utf-8") as file:
            for i, text in enumerate(TEXTS if name == "a" else TEXTS[:3]):
                row = {
                    "conversation_id": f"{name}{i}",
                    "model": "gpt" if i % 2 else "none",
                    "language": ("German", "unknown", "Unknown")[i % 3],
                    "timestamp": f"2023-04-{10 + i}T10:00:00Z",
                    "conversation": [
                        {"role": "system", "content": "be kind"},
                        {"role": "user", "content": text},
                        {"role": "assistant", "content": f"answer {i}"},
                    ],
                    "rating": i,
                }
                file.write(json.dumps(row) + "\n")
        load(session, folder / f"{name}.jsonl")
    return session


@pytest.fixture(scope="module")
def chats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """`filled`, for tests that change nothing."""
    with filled(tmp_path_factory.mktemp("views")) as session:
        yield session


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Session]:
    """`filled`, for tests that change it."""
    with filled(tmp_path) as session:
        yield session


@pytest.fixture
def texts_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many texts were read from the database, call by call."""
    read: list[int] = []

    def spied(function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            found = function(*arguments, **options)
            read.append(len(found))
            return found

        return call

    for name in ("text_range", "texts_of", "text_page"):
        monkeypatch.setattr(reading, name, spied(getattr(reading, name)))
    return read


def in_database(session: Session, question: str) -> list[tuple[Any, ...]]:
    with session.store.reading() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(question)]


# ---- content ------------------------------------------------------------------------------------------------------


def test_queries_are_what_the_database_says(chats: Session) -> None:
    found = views.queries(chats).collect()
    assert found.columns == list(views.QUERY_VIEW)
    expected = in_database(
        chats,
        "SELECT q.id, q.text_id, q.conversation_id, d.name, c.model, c.timestamp, q.position, t.text FROM query q "
        "JOIN conversation c ON c.id = q.conversation_id JOIN dataset d ON d.id = c.dataset_id "
        "JOIN text t ON t.text_id = q.text_id ORDER BY q.id",
    )
    times = found["timestamp"].to_physical()
    names = ("query_id", "text_id", "conversation_id", "dataset", "model", "timestamp", "position", "text")
    assert found.with_columns(times).select(names).rows() == expected
    assert found["n_turns"].to_list() == [3] * 9
    # of the source, and where that says nothing the detected one
    assert found["language"].to_list()[:2] == ["German", "English"]
    assert found["model"].to_list()[:2] == ["none", "gpt"]


def test_list_shows_the_language_of_the_view(chats: Session) -> None:
    listed = selection.queries(chats)["language"].to_list()
    assert listed == views.queries(chats).collect()["language"].to_list()


def test_texts_count_their_queries(chats: Session) -> None:
    found = views.texts(chats).collect()
    assert found["text_id"].to_list() == [0, 1, 2, 3]
    assert dict(found.select("text", "n_queries").rows()) == {
        "sort a list": 5, "capital of France": 2, "refund my ticket please": 1, "hi": 1,
    }  # fmt: skip
    stored = in_database(chats, "SELECT text_id, n_chars, n_words, language, quality FROM text ORDER BY 1")
    same = found.select("text_id", "n_chars", "n_words", "language", pl.col("quality").cast(pl.Float64))
    assert same.drop("quality").rows() == [row[:4] for row in stored]
    assert same["quality"].to_list() == pytest.approx([row[4] for row in stored])
    assert found["near_duplicate"].to_list() == [0, 1, 2, 3]


def test_conversations_are_whole(chats: Session) -> None:
    found = views.conversations(chats).collect()
    assert found.schema == SEGMENT_SCHEMA
    assert found["conversation_id"].to_list() == [*(f"a{i}" for i in range(7)), "b0", "b1", "b2"]
    assert found["turns"].list.len().to_list() == [3] * 10
    assert json.loads(found["extra"][6]) == {"rating": 6}
    assert views.conversations(chats, "b").collect()["id"].to_list() == [8, 9, 10]


def test_turns_are_numbered_from_zero(chats: Session) -> None:
    found = views.turns(chats).collect()
    assert found.columns == ["conversation_id", "position", "role", "content"]
    assert found.height == 30
    assert found["position"].to_list()[:4] == [0, 1, 2, 0]
    assert found.row(4) == (2, 1, "user", "capital of France")
    assert views.turns(chats, "b").select(pl.len()).collect().item() == 9


def test_unknown_data_set_is_refused(chats: Session) -> None:
    for view in (views.conversations, views.turns):
        with pytest.raises(InvalidInputError, match="there is no data set 'c': there are a, b"):
            view(chats, "c")


def test_data_sets_say_how_they_were_read(chats: Session) -> None:
    found = views.datasets(chats).collect()
    assert found.select("name", "format", "unit", "n_conversations", "n_queries", "finished").rows() == [
        ("a", "lmsys", "first", 7, 6, True),
        ("b", "lmsys", "first", 3, 3, True),
    ]


def test_members_and_clusters_belong_to_a_run(embedded: Session) -> None:
    first = label(embedded, cluster(embedded, _core.KMeans(n_clusters=4)).run_id)
    newest = cluster(embedded, _core.HDBSCAN(min_cluster_size=5), space="graph")
    with embedded.store.reading() as connection:
        members = reading.members(connection, first.run_id)
        clusters = reading.clusters(connection, first.run_id)
    found = views.memberships(embedded, first.run_id).collect()
    assert_frame_equal(found, members)
    assert found.height == first.n_texts
    assert views.memberships(embedded).collect().height == newest.n_texts
    shown = views.clusters(embedded, first.run_id).collect()
    assert shown.schema == views.CLUSTER_VIEW
    assert shown.select("cluster_id", "size", "title").rows() == [(c.cluster_id, c.size, c.title) for c in clusters]
    assert shown["size"].sum() == first.n_texts
    runs = views.runs(embedded).collect()
    assert runs["run_id"].to_list() == [newest.run_id, first.run_id]


def test_unknown_run_is_refused(own: Session, encoder: Any) -> None:
    for view in (views.memberships, views.clusters):
        with pytest.raises(InvalidInputError, match="no runs yet"):
            view(own, "latest")
    embed(own, encoder)
    cluster(own, _core.KMeans(n_clusters=2))
    for view in (views.memberships, views.clusters):
        with pytest.raises(InvalidInputError, match="there is no run 'none'"):
            view(own, "none")


def test_every_view_holds_the_schema_it_states(own: Session, encoder: Any) -> None:
    def schemas() -> dict[str, pl.Schema]:
        return {name: views.view(own, name).collect_schema() for name in views.VIEWS}

    before = schemas()
    embed(own, encoder)
    label(own, cluster(own, _core.KMeans(n_clusters=2)).run_id)
    assert schemas() == before
    for name in views.VIEWS:
        assert views.view(own, name).collect().schema == before[name], name


def test_every_view_of_an_empty_workspace_is_empty(session: Session) -> None:
    for name in views.VIEWS:
        assert views.view(session, name).collect().height == 0, name
        assert views.view(session, name).head(3).collect().height == 0, name
    assert views.queries(session, make_filters(language="German", limit=3)).collect().height == 0


def test_view_shows_the_state_in_which_it_was_made(session: Session, sample_file: Path, tmp_path: Path) -> None:
    load(session, sample_file, limit=100)
    old = {name: views.view(session, name) for name in ("queries", "texts", "conversations", "turns", "datasets")}
    before = {name: view.collect() for name, view in old.items()}
    load(session, sample_file)
    for name, view in old.items():
        assert_frame_equal(view.collect(), before[name])
    assert views.queries(session).collect().height == 300


def test_deleted_texts_leave_empty_rows(own: Session) -> None:
    deleting.delete_dataset(own, "a")
    assert views.queries(own).collect()["query_id"].to_list() == [7, 8, 9]
    found = views.texts(own).collect()
    assert found["n_queries"].to_list() == [2, 1, 0, 0]
    assert found["text"].to_list() == ["sort a list", "capital of France", "", ""]


# ---- filters ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        ({}, [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ({"limit": 2}, [1, 2]),
        ({"dataset": "b"}, [7, 8, 9]),
        ({"where": "text LIKE '%sort%'", "limit": 3}, [1, 3, 5]),
        ({"model": "gpt", "since": "2023-04-12"}, [5]),
        ({"language": "German", "dataset": "a"}, [1, 6]),
    ],
)
def test_filters_choose_queries(chats: Session, filters: dict[str, Any], ids: list[int]) -> None:
    assert views.queries(chats, make_filters(**filters)).collect()["query_id"].to_list() == ids


# ---- laziness -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ask",
    [
        lambda view: view.select("text_id", "language"),
        lambda view: view.drop("text"),
        lambda view: view.select(pl.len()),
        lambda view: view.filter(pl.col("language") == "English").select("text_id"),
        lambda view: view.group_by("language").len(),
        lambda view: view.sort("text_id", descending=True).select("text_id").head(1),
    ],
)
def test_texts_nobody_asks_for_are_not_read(chats: Session, texts_read: list[int], ask: Any) -> None:
    for view in (views.queries(chats), views.texts(chats)):
        ask(view).collect()
    assert texts_read == []


def test_a_limit_reads_few_texts(chats: Session, texts_read: list[int]) -> None:
    assert views.queries(chats).head(2).collect()["text"].to_list() == TEXTS[:2]
    assert sum(texts_read) == 2
    texts_read.clear()
    assert views.texts(chats).head(1).collect()["text"].to_list() == TEXTS[:1]
    assert sum(texts_read) == 1


def test_only_the_texts_of_rows_that_pass_are_read(chats: Session, texts_read: list[int]) -> None:
    found = views.queries(chats).filter(pl.col("query_id") == 5).collect()
    assert found["text"].to_list() == ["sort a list"]
    assert sum(texts_read) == 1


ORDERED: list[Any] = [
    lambda view: view.filter(pl.col("text").str.contains("sort")).head(2),
    lambda view: view.head(2).filter(pl.col("text").str.contains("sort")),
    lambda view: view.head(4).filter(pl.col("text_id") > 0),
    lambda view: view.filter(pl.col("text_id") > 0).head(4),
    lambda view: view.filter(pl.col("text_id") > 0).slice(1, 3).select("text"),
    lambda view: view.slice(2, 5).filter(pl.col("text") != "hi"),
    lambda view: view.tail(2).select("text"),
    lambda view: view.filter(pl.col("text_id") > 100),
    lambda view: view.filter((pl.col("text") == "hi") | (pl.col("language") == "German")).select("text_id"),
    lambda view: view.with_row_index().filter(pl.col("text_id") == 2).select("index", "text"),
    lambda view: view.select("text_id").unique(maintain_order=True),
    lambda view: view.join(view, on="text_id", how="semi", maintain_order="left").select("text_id", "text"),
]


@pytest.mark.parametrize("ask", ORDERED)
@pytest.mark.parametrize("name", ["queries", "texts"])
def test_lazy_answers_are_those_of_the_whole_frame(chats: Session, name: str, ask: Any) -> None:
    view = views.view(chats, name)
    assert_frame_equal(ask(view).collect(), ask(view.collect().lazy()).collect())
    assert_frame_equal(ask(view).collect(engine="streaming"), ask(view.collect().lazy()).collect())


@pytest.mark.parametrize(
    "ask",
    [
        lambda view: view.filter(pl.col("cluster_id") == 1).head(3),
        lambda view: view.head(3).filter(pl.col("cluster_id") == 1),
        lambda view: view.slice(4, 5),
        lambda view: view.filter(pl.col("text_id") > 50).select("cluster_id"),
    ],
)
def test_lazy_members_are_those_of_the_whole_frame(embedded: Session, ask: Any) -> None:
    cluster(embedded, _core.KMeans(n_clusters=3))
    view = views.memberships(embedded)
    assert_frame_equal(ask(view).collect(), ask(view.collect().lazy()).collect())


def test_pages_far_apart_are_read_text_by_text(chats: Session, texts_read: list[int]) -> None:
    rare = views.queries(chats).filter(pl.col("query_id").is_in([1, 6])).collect()
    assert rare["text"].to_list() == ["sort a list", "hi"]
    assert sum(texts_read) == 2


# ---- near-duplicates, whole conversations -------------------------------------------------------------------------


def test_near_duplicates_of_the_texts_that_pass(session: Session, tmp_path: Path) -> None:
    text = "please refund the ticket that I bought for the concert on Friday"
    path = tmp_path / "f.jsonl"
    rows = [text, f"{text}!", "something else", f"{text} now"]
    path.write_text("".join(json.dumps({"conversation": [{"role": "user", "content": t}]}) + "\n" for t in rows))
    load(session, path)
    found = views.near_duplicates(session)
    assert found["text_id"].to_list() == [0, 1, 3]
    assert set(found["near_duplicate"].to_list()) == {0}
    assert views.near_duplicates(session, filters=make_filters(where="text LIKE '%now'")).height == 0
    with pytest.raises(InvalidInputError, match="by must be text or meaning: 'sound'"):
        views.near_duplicates(session, "sound")  # type: ignore[arg-type]


def test_near_duplicates_by_meaning_follow_the_graph(embedded: Session) -> None:
    found = views.near_duplicates(embedded, "meaning")
    vectors = np.asarray(embedded.vectors(embedded.embedding()))
    for _, group in found.group_by("near_duplicate"):
        ids = group["text_id"].to_numpy()
        distances = np.linalg.norm(vectors[ids][:, None] - vectors[ids][None], axis=2) + np.eye(len(ids)) * 9
        assert (distances.min(axis=1) <= 0.3 + 1e-5).all()


def test_conversation_of_a_query(chats: Session) -> None:
    found = views.conversation_of(chats, 5)  # the fourth conversation has no query
    assert found["conversation_id"].to_list() == ["a5"]
    assert json.loads(found["extra"][0]) == {"rating": 5}
    with pytest.raises(InvalidInputError, match="there is no query 99"):
        views.conversation_of(chats, 99)


def test_views_of_a_workspace_opened_again(chats: Session) -> None:
    before = views.queries(chats).collect()
    with open_session(chats.folder.path) as other:
        assert_frame_equal(views.queries(other).collect(), before)
