"""The privacy gate: small clusters, few users, one person's words, personal data in names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from lmsys_rs import _core, curation
from lmsys_rs.clustering import cluster
from lmsys_rs.embedding import embed
from lmsys_rs.errors import InvalidInputError
from lmsys_rs.labeling import label
from lmsys_rs.loading import load
from lmsys_rs.privacy import HIDDEN, MAY_BE_PERSONAL, ClusterPrivacy, gate, personal_kinds, shareable
from lmsys_rs.session import Session
from lmsys_rs.store import reading


@pytest.fixture
def talks(session: Session, tmp_path: Path, encoder: object) -> Session:
    """Twelve people ask about refunds, one person (in twelve conversations) about her own letter, three about rain."""
    rows = []
    for i in range(12):
        rows.append((f"refund of my order number {'abcdefghijkl'[i]} please", f"u{i}"))
        rows.append((f"my letter to zyxw quartz about plan {'abcdefghijkl'[i]}", "u99"))
    rows += [(f"rain tomorrow in town {i}", f"u{i}") for i in range(3)]
    lines = [
        {"conversation_id": str(n), "user_id": user, "conversation": [{"role": "user", "content": text}]}
        for n, (text, user) in enumerate(rows)
    ]
    path = tmp_path / "talks.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    load(session, path)
    embed(session, encoder)
    run = cluster(session, _core.KMeans(n_clusters=3, n_init=5, random_state=1))
    label(session, run.run_id)
    return session


def of(session: Session, word: str) -> int:
    """The cluster whose terms hold a word."""
    with session.store.reading() as connection:
        run = reading.get_run(connection, "latest")
        found = [c.cluster_id for c in reading.clusters(connection, run.run_id) if any(word in t for t, _ in c.terms)]
    return found[0]


def test_clusters_need_conversations_and_users(talks: Session) -> None:
    judged = {one.cluster_id: one for one in gate(talks, min_conversations=10)}
    refund, letter, rain = (judged[of(talks, word)] for word in ("refund", "letter", "rain"))
    assert (refund.shown, refund.n_conversations, refund.n_users) == (True, 12, 12)
    assert (letter.shown, letter.n_conversations, letter.n_users) == (False, 12, 1)
    assert letter.reasons[0] == "1 users, 10 are needed"
    assert (rain.shown, rain.reasons[0]) == (False, "3 conversations, 10 are needed")
    assert {one.shown for one in gate(talks, min_conversations=3, min_users=0)} == {True}


def test_words_of_few_conversations_are_not_shown(talks: Session) -> None:
    curation_free = gate(talks, min_conversations=10)
    with talks.store.writing() as connection:
        connection.exec_driver_sql(
            "UPDATE cluster SET title = 'Refund, order number c' WHERE cluster_id = ?", (of(talks, "refund"),)
        )
    (refund,) = [one for one in gate(talks, min_conversations=10) if one.cluster_id == of(talks, "refund")]
    assert refund.title == "Refund"
    assert "words of few conversations in the title" in refund.reasons
    assert all("for example" not in one.description for one in curation_free)


def test_personal_data_in_names_is_replaced(talks: Session) -> None:
    curation.rename_cluster(
        talks, "latest", of(talks, "refund"), "Refunds, ask ann.smith@example.com", "Call +49 170 1234567"
    )
    (refund,) = [one for one in gate(talks) if one.cluster_id == of(talks, "refund")]
    assert refund.title == "Refunds, ask [EMAIL]"
    assert "[PHONE]" in refund.description
    assert "email in the title" in refund.reasons


def test_what_is_shared_adds_up_and_holds_no_text(talks: Session) -> None:
    frame = shareable(gate(talks, min_conversations=10))
    assert frame["title"].to_list()[-1] == HIDDEN
    assert frame["n_queries"].sum() == 27
    assert frame["share"].sum() == pytest.approx(1, abs=1e-3)
    assert frame.columns == ["cluster_id", "title", "description", "n_queries", "n_conversations", "share"]
    assert "zyxw" not in str(frame.to_dicts())


def test_unknown_users_ask_for_conversations_only(embedded: Session) -> None:
    label(embedded, cluster(embedded, _core.KMeans(n_clusters=4)).run_id)
    judged = gate(embedded)
    assert {one.n_users for one in judged} == {None}
    assert all(one.shown for one in judged)
    with pytest.raises(InvalidInputError, match="at least one conversation"):
        gate(embedded, min_conversations=0)


@pytest.mark.parametrize(
    "text",
    [
        "ann.smith@example.com",
        "call +49 170 1234567",
        "tel 5551234",
        "server 203.0.113.7",
        "2001:db8::ff00:42:8329",
        "card 4111 1111 1111 1111",
        "DE89 3704 0044 0532 0130 00",
        "ssn 078-05-1120",
        "AKIAIOSFODNN7EXAMPLE",
        'password = "hunter2hunter"',
        "https://ann:hunter2@example.com/",
        "api_key = 'x8Jk2mQ9pL4vR7tY'",
    ],
)
def test_the_quick_look_lets_nothing_through(text: str) -> None:
    bits = int(pl.DataFrame(_core.text_signals([text]))["personal"][0])
    assert len(personal_kinds(text)) == bin(bits).count("1") > 0


@pytest.mark.parametrize("name", ["Refunds of cancelled flights", "Learn Swedish, grammar", "学习日语"])
def test_ordinary_names_are_not_looked_at_twice(name: str) -> None:
    assert MAY_BE_PERSONAL.search(name) is None


def test_kinds_have_names() -> None:
    assert personal_kinds("write to ann.smith@example.com") == ["email"]
    assert personal_kinds("write to a friend") == []


def test_a_title_of_ones_own_does_not_let_the_example_through(talks: Session) -> None:
    curation.rename_cluster(talks, "latest", of(talks, "refund"), "Refunds")
    (refund,) = [one for one in gate(talks) if one.title == "Refunds"]
    assert refund.description == "12 queries."
    curation.rename_cluster(talks, "latest", of(talks, "refund"), description="They want their money back.")
    (refund,) = [one for one in gate(talks) if one.title == "Refunds"]
    assert refund.description == "They want their money back."


def test_the_words_of_a_title_are_checked_under_a_description_of_ones_own(talks: Session) -> None:
    letter = of(talks, "letter")
    with talks.store.writing() as connection:
        connection.exec_driver_sql("UPDATE cluster SET title = terms ->> '$[0][0]' WHERE cluster_id = ?", (letter,))
    curation.rename_cluster(talks, "latest", letter, description="Somebody's letter.")
    (judged,) = [one for one in gate(talks) if one.cluster_id == letter]
    assert judged.title == f"Cluster {letter}"
    assert judged.description == "Somebody's letter."
    assert "words of few conversations in the title" in judged.reasons


def test_a_word_inside_another_is_not_said_by_many(session: Session, tmp_path: Path, encoder: Any) -> None:
    texts = [f"quality of {'abcdefghijkl'[n]}" for n in range(12)]
    path = tmp_path / "words.txt"
    path.write_text("".join(f"{text}\n" for text in [*texts, "ali asks about quality"]))
    load(session, path)
    embed(session, encoder)
    label(session, cluster(session, _core.KMeans(n_clusters=1)).run_id)
    with session.store.writing() as connection:
        connection.exec_driver_sql("UPDATE cluster SET title = 'Quality, ali', title_source = 'offline'")
    (one,) = gate(session)
    assert (one.shown, one.title) == (True, "Quality")


def judged(cluster_id: int, n: int, *, shown: bool) -> ClusterPrivacy:
    return ClusterPrivacy(
        cluster_id=cluster_id,
        title=f"Title {cluster_id}",
        description=f"{n} queries.",
        n_queries=n,
        n_conversations=n,
        n_users=None,
        shown=shown,
        reasons=() if shown else ("too few",),
    )


def test_one_hidden_cluster_is_not_shown_as_the_others() -> None:
    frame = shareable([judged(0, 50, shown=True), judged(1, 20, shown=True), judged(2, 3, shown=False)])
    assert frame["cluster_id"].to_list() == [0, None]
    assert frame["n_queries"].to_list() == [50, 23]
    assert frame["n_conversations"].to_list() == [50, None]
    assert frame["description"].to_list()[-1].startswith("2 clusters")


def test_hidden_clusters_together_are_as_many_conversations_as_are_asked_for() -> None:
    small = [judged(i, 2, shown=False) for i in (3, 4)]
    frame = shareable([judged(0, 50, shown=True), judged(1, 20, shown=True), *small], min_conversations=10)
    assert frame["cluster_id"].to_list() == [0, None]
    assert frame["n_queries"].to_list() == [50, 24]


@pytest.mark.parametrize("unit", ["turn", "first"])
def test_what_one_person_says_often_is_one_voice(session: Session, tmp_path: Path, encoder: Any, unit: Any) -> None:
    def line(n: int, user: str, texts: list[str]) -> str:
        turns = [{"role": role, "content": text} for text in texts for role in ("user", "assistant")]
        return json.dumps({"conversation_id": str(n), "user_id": user, "conversation": turns}) + "\n"

    lines = [line(n, f"u{n}", [f"refund order {'abcdefghijkl'[n]} please"]) for n in range(12)]
    own = [f"refund order quartz {letter} please" for letter in "abcdefghijklmno"]
    lines += [line(99, "me", own)] if unit == "turn" else [line(100 + n, "me", [text]) for n, text in enumerate(own)]
    path = tmp_path / "voices.jsonl"
    path.write_text("".join(lines))
    load(session, path, unit=unit)
    embed(session, encoder)
    label(session, cluster(session, _core.KMeans(n_clusters=1)).run_id)
    with session.store.writing() as connection:
        connection.exec_driver_sql("UPDATE cluster SET title = 'Refund order, quartz'")
    (one,) = gate(session)
    assert (one.shown, one.title) == (True, "Refund order")
