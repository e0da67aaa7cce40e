"""Filters: what they let through, what they refuse, and that they mean the same everywhere."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lmsys_rs import selection, views
from lmsys_rs.conditions import WHERE_COLUMNS, make_filters, parse_time
from lmsys_rs.errors import InvalidInputError
from lmsys_rs.loading import load
from lmsys_rs.records import Filters
from lmsys_rs.session import Session, open_session

TEXTS = [
    *("How do I sort a list in Python?", "Wie spät ist es in München gerade?", "hi", "refund my ticket please now"),
    *("refund my ticket please now!", "x" * 400, "What is the capital of France?", "¿Cuál es la capital de España?"),
]
ROWS: list[dict[str, Any]] = [
    {
        "conversation_id": f"c{i}",
        "model": ("a", "b", None)[i % 3],
        "language": ("English", "unknown", None)[i % 3],
        "timestamp": None if i % 7 == 6 else f"2023-0{1 + i % 6}-15T10:00:00Z",
        "conversation": [{"role": "user", "content": text}, {"role": "assistant", "content": "ok"}] * (1 + i % 3),
    }
    for i, text in enumerate(TEXTS * 4)
]


@pytest.fixture(scope="module")
def chats(tmp_path_factory: pytest.TempPathFactory) -> Session:
    folder = tmp_path_factory.mktemp("filters")
    path = folder / "chats.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    session = open_session(folder / "w.lmsys")
    load(session, path)
    other = folder / "other.jsonl"
    other.write_text(json.dumps({"conversation": [{"role": "user", "content": "another data set"}]}) + "\n")
    load(session, other)
    return session


def found(session: Session, **filters: Any) -> pl.DataFrame:
    return selection.queries(session, make_filters(**filters), limit=None)


def everything(session: Session) -> pl.DataFrame:
    texts = views.texts(session).collect().rename({"language": "detected_language"})
    return views.queries(session).collect().join(texts.drop("text", "n_queries"), on="text_id")


def test_no_filter_lets_everything_through(chats: Session) -> None:
    assert found(chats).height == len(ROWS) + 1


@pytest.mark.parametrize(
    ("filters", "condition"),
    [
        ({"dataset": "other"}, pl.col("dataset") == "other"),
        ({"model": "a"}, pl.col("model") == "a"),
        ({"language": "English"}, pl.col("language") == "English"),
        ({"language": "German"}, pl.col("language") == "German"),
        ({"min_length": 10, "max_length": 30}, pl.col("n_chars").is_between(10, 30)),
        ({"min_quality": 0.5}, pl.col("quality") >= 0.5),
        ({"since": "2023-03"}, pl.col("timestamp") >= datetime(2023, 3, 1, tzinfo=timezone.utc)),
        ({"until": "2023-02-15T10:00:00"}, pl.col("timestamp") < datetime(2023, 2, 15, 10, tzinfo=timezone.utc)),
        ({"where": "n_turns > 4"}, pl.col("n_turns") > 4),
        (
            {"where": "text LIKE '%refund%' AND model = 'b'"},
            pl.col("text").str.contains("refund") & (pl.col("model") == "b"),
        ),
        (
            {"where": "model LIKE 'a%' OR language = 'German'"},
            (pl.col("model") == "a") | (pl.col("language") == "German"),
        ),
        ({"where": "timestamp >= DATE '2023-05-01'"}, pl.col("timestamp") >= datetime(2023, 5, 1, tzinfo=timezone.utc)),
        ({"where": "detected_language IS NULL"}, pl.col("detected_language").is_null()),
    ],
)
def test_filter_is_the_condition_it_says(chats: Session, filters: dict[str, Any], condition: pl.Expr) -> None:
    expected = everything(chats).filter(condition).sort("query_id")
    assert expected.height > 0
    assert found(chats, **filters)["query_id"].to_list() == expected["query_id"].to_list()


def test_language_is_detected_where_the_source_says_nothing(chats: Session) -> None:
    rows = found(chats, where="source_language IS NULL OR source_language = 'unknown'")
    assert "German" in rows["language"].to_list()
    assert "unknown" not in rows["language"].to_list()


def test_dropping_near_duplicates_keeps_one_of_each_group(chats: Session) -> None:
    refunds = found(chats, where="text LIKE 'refund%'")
    assert refunds["text"].n_unique() == 2
    kept = found(chats, where="text LIKE 'refund%'", near_duplicates=False)
    assert kept["text"].n_unique() == 1
    # the first of those that pass, not the first of the group
    assert (
        found(chats, where="text LIKE '%!'", near_duplicates=False).height
        == found(chats, where="text LIKE '%!'").height
    )


def test_occurrences_count_the_same_text(chats: Session) -> None:
    assert found(chats, where="n_occurrences = 4").height == len(ROWS)


@given(
    model=st.sampled_from([None, "a", "b", "unknown", "nobody"]),
    language=st.sampled_from([None, "English", "German", "Klingon"]),
    min_length=st.one_of(st.none(), st.integers(0, 40)),
    min_quality=st.one_of(st.none(), st.floats(0, 1)),
    where=st.sampled_from([None, "n_turns > 2", "text LIKE '%a%'", "personal = 0"]),
    limit=st.one_of(st.none(), st.integers(1, 9)),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_selection_page_facets_and_view_agree(chats: Session, limit: int | None, **options: Any) -> None:
    filters = make_filters(**{name: value for name, value in options.items() if value is not None})
    page = selection.queries(chats, filters, limit=None)
    selected = selection.select(chats, filters)
    assert selected.text_ids.tolist() == sorted(set(page["text_id"].to_list()))
    assert int(selected.weights.sum()) == page.height
    assert all(int(frame["n_queries"].sum()) == page.height for frame in selection.facets(chats, filters).values())
    assert views.queries(chats, filters).collect()["query_id"].to_list() == page["query_id"].to_list()
    assert selection.first_queries(chats, selected.text_ids, filters)["n_queries"].sum() == page.height
    if limit is not None:
        limited = selection.select(chats, Filters.from_dict({**filters.to_dict(), "limit": limit}))
        assert limited.text_ids.tolist() == selected.text_ids.tolist()[:limit]


def test_pages_follow_each_other_without_gap(chats: Session) -> None:
    whole = found(chats, model="a")["query_id"].to_list()
    pages, after = [], 0
    while (page := selection.queries(chats, Filters(model="a"), after=after, limit=3)).height:
        pages += page["query_id"].to_list()
        after = pages[-1]
    assert pages == whole


def test_filters_survive_as_json() -> None:
    filters = make_filters(
        model="m", since="2023-04-27", where="n_turns > 2", min_quality=0.5, near_duplicates=False, limit=3
    )
    assert Filters.from_dict(json.loads(json.dumps(filters.to_dict()))) == filters


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"where": "n_trns > 2"}, r"there is no column 'n_trns'(.|\n)*did you mean n_turns"),
        ({"where": "n_turns >"}, "where is no condition in SQL"),
        ({"where": "n_turns"}, None),
        ({"where": "text = 3"}, None),
        ({"where": "n_turns IN (SELECT 1)"}, None),
        ({"where": "1=1; DROP TABLE query"}, None),
        ({"since": "yesterday"}, "since must be a time such as 2023-04-27"),
        ({"since": "2023-05", "until": "2023-04"}, "since must be before until"),
        ({"min_length": 9, "max_length": 3}, "min_length must be <= max_length: 9 > 3"),
        ({"min_quality": 1.5}, "min_quality must be between 0 and 1"),
        ({"modle": "a"}, "there is no filter 'modle'"),
    ],
)
def test_what_is_no_filter_is_refused(chats: Session, filters: dict[str, Any], message: str | None) -> None:
    with pytest.raises(InvalidInputError, match=message):
        found(chats, **filters)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2023", datetime(2023, 1, 1, tzinfo=timezone.utc)),
        ("2023-04", datetime(2023, 4, 1, tzinfo=timezone.utc)),
        ("2023-04-27", datetime(2023, 4, 27, tzinfo=timezone.utc)),
        ("2023-04-27T12:30:00+02:00", datetime(2023, 4, 27, 10, 30, tzinfo=timezone.utc)),
        ("2023-04-27T12:30:00Z", datetime(2023, 4, 27, 12, 30, tzinfo=timezone.utc)),
    ],
)
def test_times_are_read(text: str, time: datetime) -> None:
    assert parse_time(text, "since") == time


def test_every_column_can_be_asked_for(chats: Session) -> None:
    for name in WHERE_COLUMNS:
        assert selection.passing(chats, Filters(where=f"{name} IS NOT NULL"), (name,)).columns == [name]


def test_load_keeps_only_conversations_that_pass(tmp_path: Path) -> None:
    path = tmp_path / "chats.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    with open_session(tmp_path / "w.lmsys") as session:
        report = load(session, path, filters=make_filters(model="a", min_length=5, where="text NOT LIKE 'x%'"))
        kept = found(session)
        assert report.n_read == len(ROWS)
        assert report.n_new == kept.height == report.n_read - report.n_filtered
        assert set(kept["model"]) == {"a"}
        assert views.conversations(session).collect().height == kept.height
        # the same file with other filters is another question
        assert load(session, path, filters=make_filters(model="b")).n_new > 0
        with pytest.raises(InvalidInputError, match="near_duplicate is not known before everything is loaded"):
            load(session, path, filters=make_filters(where="near_duplicate = 0"))
