"""Names over arrays: titles that lead back to their own cluster, the nearest clusters, what stands for a cluster."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lmsys_rs import _core
from lmsys_rs.errors import InvalidInputError
from lmsys_rs.naming import NOISE_TITLE, ClusterName, centroids, contrast, name_clusters, representatives, sentence
from lmsys_rs.titles import MAX_TITLE, is_generic, normalized
from lmsys_rs.titling import distinct_terms

Matrix = npt.NDArray[np.float32]

CARD = ["my card was stolen", "I lost my card", "lost or stolen card", "someone stole my lost card"]
RATE = ["wrong exchange rate", "the exchange rate is wrong", "exchange rate for euros", "euros at a wrong rate"]
COOK = ["bake a chocolate cake", "chocolate cake without eggs", "recipe for chocolate cake", "cake with dark chocolate"]
WORDS = [
    "card",
    "lost card",
    "rate",
    "wrong rate",
    "please",
    "tell me",
    "cake",
    "the cake",
    "",
    "42",
    "天气",
    "weather",
]


class WordEncoder:
    """Counts hashed words, as the one of conftest.py."""

    def embed(self, texts: Any) -> Matrix:
        vectors = np.full((len(texts), 64), 1e-3, dtype=np.float32)
        for i, text in enumerate(texts):
            for word in re.findall(r"\w+", text.lower()):
                vectors[i, int(hashlib.md5(word.encode()).hexdigest(), 16) % 64] += 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def named(*groups: list[str], encoder: Any = None, **arguments: Any) -> list[ClusterName]:
    texts = [text for group in groups for text in group]
    labels = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    return name_clusters(texts, labels, WordEncoder().embed(texts), encoder=encoder, **arguments)


def test_a_title_is_a_phrase_of_its_cluster_and_leads_back_to_it() -> None:
    found = named(CARD, RATE, COOK, encoder=WordEncoder())
    assert [name.title_rank for name in found] == [1, 1, 1]
    assert all(name.title_margin is not None and name.title_margin > 0 for name in found)
    for name, word in zip(found, ("card", "rate", "cake"), strict=True):
        assert word in name.title.casefold()
        assert word in name.description


def test_without_an_encoder_titles_are_words_and_not_measured() -> None:
    found = named(CARD, RATE, COOK)
    assert [name.title_rank for name in found] == [None] * 3
    assert "card" in found[0].title.casefold()


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.lists(st.sampled_from(WORDS), max_size=3), st.integers(-1, 4)), max_size=30),
    st.booleans(),
)
def test_no_two_titles_are_equal_none_is_generic(rows: list[tuple[list[str], int]], encoded: bool) -> None:
    texts, labels = [" ".join(words) for words, _ in rows], [label for _, label in rows]
    vectors = WordEncoder().embed(texts).reshape(len(texts), 64)
    found = name_clusters(texts, labels, vectors, n_clusters=5, encoder=WordEncoder() if encoded else None)
    assert len(found) == 5
    assert len({normalized(name.title) for name in found} | {normalized(NOISE_TITLE)}) == 6
    for name in found:
        has_words = any(is_generic(term) is None for term, _ in name.terms)
        # a cluster whose texts say nothing is "Cluster" with a number
        assert is_generic(name.title) is None or not has_words or name.title.startswith("Cluster")
        assert name.title


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(WORDS), st.integers(0, 3)), min_size=4, max_size=40))
def test_the_own_cluster_is_first_where_any_term_leads_there(rows: list[tuple[str, str, int]]) -> None:
    texts, labels = [f"{a} {b}" for a, b, _ in rows], np.array([label for *_, label in rows])
    vectors = WordEncoder().embed(texts)
    found = name_clusters(texts, labels, vectors, n_clusters=4, encoder=WordEncoder())
    means = centroids(vectors, labels.astype(np.int32), 4)
    for i, name in enumerate(found):
        if name.title_rank is None:
            continue
        cosines = WordEncoder().embed([name.title])[0] @ means.T
        margin = cosines[i] - np.delete(cosines, i).max()
        assert abs(margin) < 1e-6 or (name.title_rank == 1) == (margin > 0)
        terms = [term for term, _ in name.terms if is_generic(term) is None and term != "tell me"]
        lead = []
        for term in terms:
            likeness = WordEncoder().embed([term])[0] @ means.T
            if likeness[i] > np.delete(likeness, i).max() + 1e-6:
                lead.append(term)
        if name.title_rank > 1:
            # unless two titles that people read as one would both lead
            taken = {normalized(other.title) for other in found}
            assert all(normalized(term) in taken or "please" in term or "tell" in term for term in lead)


def test_equal_names_of_two_clusters_go_to_the_larger() -> None:
    found = named(["red wine"] * 2, ["red wine"] * 3, encoder=WordEncoder())
    assert found[1].title == "Red wine"
    assert found[0].title != "Red wine"


def test_weights_count_how_often_a_text_occurs() -> None:
    texts = ["apple tart", "banana bread"]
    weighted = [named(texts, weights=weights)[0] for weights in ([9, 1], [1, 9])]
    assert [name.terms[0][0] for name in weighted] == ["apple tart", "banana bread"]
    assert [name.medoid for name in weighted] == [0, 1]
    assert weighted[0].description.startswith("10 queries (2 different texts)")


def test_taken_titles_are_not_given() -> None:
    free = named(CARD, COOK, encoder=WordEncoder())
    again = named(CARD, COOK, encoder=WordEncoder(), taken=[free[0].title])
    assert again[0].title != free[0].title
    assert again[1].title == free[1].title


def test_no_text_one_cluster_and_noise_alone() -> None:
    vectors = WordEncoder().embed(CARD)
    assert name_clusters([], [], np.zeros((0, 64), np.float32)) == []
    assert name_clusters(CARD, [-1] * 4, vectors, encoder=WordEncoder()) == []
    (only,) = name_clusters(CARD, [0] * 4, vectors, encoder=WordEncoder())
    assert only.title_rank == 1
    assert is_generic(only.title) is None
    empty = name_clusters(CARD, [1] * 4, vectors, n_clusters=3, encoder=WordEncoder())
    assert [name.medoid is None for name in empty] == [True, False, True]
    assert [name.title for name in (empty[0], empty[2])] == ["Cluster (2)", "Cluster (3)"]


def test_groups_of_clusters_are_named_like_clusters() -> None:
    groups = named([*CARD, *RATE], COOK, encoder=WordEncoder())
    assert "cake" in groups[1].title.casefold()
    assert [name.title_rank for name in groups] == [1, 1]


def test_threads_change_nothing() -> None:
    texts = [f"{a} about {b}" for a in (*CARD, *RATE, *COOK) for b in ("euros", "eggs", "paris")] * 20
    labels = np.arange(len(texts)) % 7
    vectors = WordEncoder().embed(texts)
    found = []
    for n_threads in (1, 3):
        _core.configure(n_threads=n_threads)
        found.append(name_clusters(texts, labels, vectors, encoder=WordEncoder()))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ((["什么是机器学习", "机器学习的应用"], ["巴黎的天气", "巴黎天气怎么样"]), ("机器学习", "天气")),
        (
            (["東京の天気はどうですか", "明日の東京の天気"], ["ケーキの作り方", "チョコケーキの作り方"]),
            ("東京", "作り方"),
        ),
        ((["ข่าวฟุตบอลวันนี้", "ผลฟุตบอลเมื่อคืน"], ["สูตรขนมเค้ก", "ทำขนมเค้ก"]), ("ฟุตบอล", "ขนมเค้ก")),
        ((["ما هي عاصمة فرنسا", "عاصمة فرنسا القديمة"], ["طريقة عمل الكعك", "وصفة الكعك"]), ("عاصمة فرنسا", "الكعك")),
        (
            (["서울 날씨는 어때", "내일 서울 날씨를 알려줘"], ["케이크 만드는 법", "케이크 굽는 법"]),
            ("서울 날씨", "케이크"),
        ),
    ],
)
def test_every_script_has_phrases(groups: tuple[list[str], list[str]], words: tuple[str, str]) -> None:
    for name, word in zip(named(*groups), words, strict=True):
        assert any(word in term for term, _ in name.terms[:3]), name.terms
        assert word in name.title


def test_nearest_clusters_are_those_of_the_nearest_centroids() -> None:
    rng = np.random.default_rng(0)
    means = rng.normal(size=(12, 5))
    found = contrast(means, 4)
    unit = means / np.linalg.norm(means, axis=1, keepdims=True)
    for i, row in enumerate(found):
        order = [j for j in np.argsort(-(unit @ unit[i]), kind="stable") if j != i]
        assert row.tolist() == order[:4]
    assert contrast(means[:1], 2).tolist() == [[-1, -1]]
    assert contrast([[1, 0], [0, 0], [0, 1]], 2).tolist() == [[2, -1], [-1, -1], [0, -1]]


def test_centroids_are_weighted_mean_directions() -> None:
    vectors = np.array([[1, 0], [0, 1], [3, 3]], np.float32)
    found = centroids(vectors, np.array([0, 0, -1], np.int32), 2, weights=np.array([3, 4, 9], np.float32))
    np.testing.assert_allclose(found, [[0.6, 0.8], [0, 0]])


def test_representatives_are_the_medoid_and_rows_that_cover_the_cluster() -> None:
    texts = [f"{text} {number}" for text in (*CARD, *RATE, *COOK) for number in ("one", "two", "three", "four")]
    vectors = WordEncoder().embed(texts)
    labels = np.repeat([0, 1, 2], 16).astype(np.int32)
    medoids = _core.medoids(vectors, labels, n_clusters=4)
    graph = _core.KnnGraph.build(vectors, 10)
    covering = _core.covering_representatives(graph, labels, n_clusters=4)
    for whole in (None, graph):
        found = representatives(vectors, labels, 4, graph=whole)
        assert [len(rows) for rows in found] == [10, 10, 10, 0]
        for i, rows in enumerate(found[:3]):
            assert rows[0] == medoids[i]
            assert len(set(rows)) == 10
            assert all(labels[row] == i for row in rows)
            if whole is not None:
                assert rows[1:] == [row for row in covering[i].tolist() if row != rows[0]][:9]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"labels": [0]}, "labels must have one value per row of vectors: 1 != 2"),
        ({"n_clusters": 1}, "labels must be below n_clusters = 1: got 1"),
        ({"vectors": np.eye(2, 8, dtype=np.float32)}, r"the encoder must be the one that made the vectors.*64.*8"),
        ({"weights": [1.0]}, "weights must have one value per row"),
    ],
)
def test_what_does_not_fit_is_refused(arguments: dict[str, Any], words: str) -> None:
    texts = ["lost card", "chocolate cake"]
    given = {"texts": texts, "labels": [0, 1], "vectors": WordEncoder().embed(texts), "encoder": WordEncoder()}
    with pytest.raises(InvalidInputError, match=words):
        name_clusters(**{**given, **arguments})


def test_a_series_gives_what_a_list_gives() -> None:
    texts = [*CARD, *COOK]
    vectors, labels = WordEncoder().embed(texts), [0] * 4 + [1] * 4
    assert name_clusters(pl.Series(texts), labels, vectors) == name_clusters(texts, labels, vectors)


def test_titles_fit_a_table() -> None:
    found = named(["supercalifragilistic expialidocious " * 3] * 3, COOK, encoder=WordEncoder())
    assert all(len(name.title) <= MAX_TITLE for name in found)


def test_small_parts() -> None:
    assert distinct_terms(["capital", "capital france", "paris"]) == ["capital france", "paris"]
    assert sentence(1, 1, [], "") == "1 query."
    assert sentence(2, 3, ["a", "b"], "c") == "3 queries (2 different texts) about a and b, for example: c"
