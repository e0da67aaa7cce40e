"""Are texts cleaned, hashed, cut and weighed as promised, from any kind of input?"""

from __future__ import annotations

import unicodedata
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lmsys_rs import _core
from lmsys_rs.errors import InvalidInputError

# characters that no version of Unicode will still change, and no surrogates
ASSIGNED = st.characters(exclude_categories=["Cs", "Cn", "Co"])
# clusters of marks, controls and white space turn up more often than by chance
TRICKY = st.sampled_from("e\u0301\u0323 \t\n\r\x00\x07\x1b\u00a0\u2003\u3000\u200d\u200b\ufeff\u1100\u1161\u11a8Å𝒜👩ß")
TEXTS = st.text(ASSIGNED | TRICKY, max_size=60)


def as_list(array: Any) -> list[Any]:
    return pl.Series(array).to_list()


# ---- normal form -------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=300)
@given(st.lists(TEXTS, max_size=5))
@example(["\u0301 ", "a\x00\u0301", "\u1100\x00\u1161", "\u2000", "\x1f\u00e9"])
def test_the_normal_form_is_nfc_without_controls_trimmed(texts: list[str]) -> None:
    def kept(text: str) -> str:
        return "".join(c for c in text if c in "\t\n\r" or unicodedata.category(c) != "Cc")

    found = as_list(_core.normalize_texts(texts))
    assert found == [unicodedata.normalize("NFC", kept(text).strip()) for text in texts]
    assert as_list(_core.normalize_texts(found)) == found


def test_texts_that_look_alike_and_are_alike_have_one_normal_form() -> None:
    assert as_list(_core.normalize_texts(["café", "cafe\u0301", " \ncafe\u0301\x00\t", "ca\x07fé"])) == ["café"] * 4
    assert as_list(_core.normalize_texts(["line one\r\n\tline two"])) == ["line one\r\n\tline two"]
    assert as_list(_core.normalize_texts(["", " ", "\x00"])) == ["", "", ""]


# ---- hashes ------------------------------------------------------------------------------------------------------

# XXH3_128bits, seed 0, canonical (big endian) form: stored in every workspace, so they may never change
GOLDEN = {
    "": "99aa06d3014798d86001c324468d497f",
    "a": "a96faf705af16834e6c632b61e964e1f",
    "abc": "06b05ab6733a618578af5f94892f3950",
    "日本語": "cf540541fa85fd53750ff417a7ae0479",
    "x" * 200: "062dfbe359870f1a0f7bed28ebd8500d",
    "x" * 500: "36213f2b040b9afb89a8ac9fa1e5c540",
}


def test_hashes_are_xxh3_128_of_the_utf8_bytes_big_endian() -> None:
    # values of the Python package xxhash 4.1, xxh3_128_hexdigest
    assert [value.hex() for value in as_list(_core.text_hashes(list(GOLDEN)))] == list(GOLDEN.values())


def test_hashes_are_sixteen_bytes_of_the_text_as_given() -> None:
    array = pa.array(_core.text_hashes(["café", "cafe\u0301", "café", None]))
    assert array.type == pa.binary(16)
    a, b, again, null = array.to_pylist()
    assert a == again != b
    assert null is None


@settings(deadline=None, max_examples=50)
@given(st.lists(TEXTS, unique=True, max_size=20))
def test_different_texts_have_different_hashes(texts: list[str]) -> None:
    assert len(set(as_list(_core.text_hashes(texts)))) == len(texts)


# ---- short forms -------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=300)
@given(TEXTS, st.integers(0, 30))
def test_a_cut_is_one_line_no_longer_than_asked(text: str, max_chars: int) -> None:
    (short,) = as_list(_core.cut_texts([text], max_chars))
    assert len(short) <= max_chars
    assert not any(c in "\n\r\t\x0b\x0c\u2028\u2029\x85" for c in short)
    assert "  " not in short
    assert short == short.strip(" ")


def test_a_short_text_is_only_put_on_one_line() -> None:
    assert as_list(_core.cut_texts(["  one\n two\t\tthree ", "exact", ""], 20)) == ["one two three", "exact", ""]
    assert as_list(_core.cut_texts(["exact"], 5)) == ["exact"]


def test_a_long_text_ends_in_an_ellipsis_between_graphemes() -> None:
    family, accent = "👩‍👩‍👧‍👦", "e\u0301\u0323"
    for text, max_chars, short in [
        ("one two three", 8, "one two…"),
        ("abcdef", 3, "ab…"),
        ("abc", 0, ""),
        ("abc", 1, "…"),
        (family * 2, 8, family + "…"),
        # there is no room for the family and the ellipsis
        (family * 2, 7, "…"),
        ("a" + accent + "b", 4, "a…"),
        ("ab cd", 4, "ab…"),
    ]:
        assert as_list(_core.cut_texts([text], max_chars)) == [short], text


# ---- kinds of input ----------------------------------------------------------------------------------------------

MIXED = ["Hello", None, "日本語", "", "👩‍💻 emoji", "e\u0301", " pad "]
FORMS = {
    "list": lambda texts: list(texts),
    "tuple": lambda texts: tuple(texts),
    "generator": lambda texts: (text for text in texts),
    "numpy-object": lambda texts: np.array(texts, dtype=object),
    "polars": lambda texts: pl.Series(texts, dtype=pl.String),
    "polars-slice": lambda texts: pl.Series(["x", *texts, "y"]).slice(1, len(texts)),
    "polars-chunks": lambda texts: pl.concat([pl.Series(texts[:3]), pl.Series(texts[3:])], rechunk=False),
    "arrow": lambda texts: pa.array(texts, pa.string()),
    "arrow-large": lambda texts: pa.array(texts, pa.large_string()),
    "arrow-view": lambda texts: pa.array(texts, pa.string_view()),
    "arrow-slice": lambda texts: pa.array(["x", *texts, "y"]).slice(1, len(texts)),
    "arrow-chunks": lambda texts: pa.chunked_array([texts[:2], texts[2:]]),
    "our-own-result": lambda texts: _core.cut_texts(texts, 1_000),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_input_gives_equal_results_and_keeps_nulls(form: str) -> None:
    texts = as_list(_core.cut_texts(MIXED, 1_000)) if form == "our-own-result" else MIXED
    for function in (_core.normalize_texts, _core.text_hashes, lambda texts: _core.cut_texts(texts, 4)):
        want = as_list(function(texts))
        assert want[1] is None
        assert as_list(function(FORMS[form](MIXED))) == want


@pytest.mark.parametrize(
    "empty", [[], pl.Series([], dtype=pl.String), pa.array([], pa.string()), pa.chunked_array([], pa.string())]
)
def test_no_texts_give_no_results(empty: Any) -> None:
    for function in (_core.normalize_texts, _core.text_hashes, lambda texts: _core.cut_texts(texts, 4)):
        assert as_list(function(empty)) == []


@pytest.mark.parametrize(
    "nulls", [[None, None], pl.Series([None, None]), pa.nulls(2), pa.array([None, None], pa.string())]
)
def test_a_column_of_nulls_stays_one(nulls: Any) -> None:
    assert as_list(_core.normalize_texts(nulls)) == [None, None]
    assert as_list(_core.text_hashes(nulls)) == [None, None]


def test_a_lone_surrogate_becomes_one_replacement_character() -> None:
    # a pair that stands as two characters is the character it stands for, as in JSON
    texts = ["a\ud800b", "\udfff", "\ud83d\udc69"]
    assert as_list(_core.normalize_texts(texts)) == ["a\ufffdb", "\ufffd", "\U0001f469"]
    hashes = as_list(_core.text_hashes(["a\ud800b", "a\ufffdb"]))
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize(
    ("texts", "error", "words"),
    [
        ("one text", InvalidInputError, "texts must be a sequence of texts: got one str"),
        (pl.Series([1, 2]), InvalidInputError, "texts must hold strings: got Int64"),
        ([b"bytes"], TypeError, "texts must hold str: position 0 has .*bytes"),
        (["a", 3], TypeError, "texts must hold str: position 1 has .*int"),
        (7, TypeError, "int"),
        (None, TypeError, "None"),
    ],
)
def test_what_is_no_text_is_refused(texts: Any, error: type[Exception], words: str) -> None:
    for function in (_core.normalize_texts, _core.text_hashes):
        with pytest.raises(error, match=words):
            function(texts)


def test_a_megabyte_of_text_passes_quickly() -> None:
    text = "word " * 1_000_000
    assert len(as_list(_core.normalize_texts([text]))[0]) == len(text) - 1
    assert as_list(_core.cut_texts([text], 10)) == ["word word…"]


# ---- terms of clusters -------------------------------------------------------------------------------------------

CODE = ["Write a Python function to sort a list", "Python code that reads a file", "fix my Python script please"]
CAKE = ["best recipe for chocolate cake", "chocolate cake without eggs", "how to bake a chocolate cake"]


def names(terms: list[list[tuple[str, float]]]) -> list[list[str]]:
    return [[term for term, _ in cluster] for cluster in terms]


def test_terms_are_what_sets_a_cluster_apart_best_first() -> None:
    terms = _core.top_terms(CODE + CAKE, [0] * 3 + [1] * 3, n_clusters=2, n_terms=4)
    assert terms[0][0][0] == "Python"
    assert "chocolate cake" in names(terms)[1]
    assert {"a", "the", "to", "for"}.isdisjoint(names(terms)[0] + names(terms)[1])
    for cluster in terms:
        scores = [score for _, score in cluster]
        assert scores == sorted(scores, reverse=True)
        assert all(score > 0 for score in scores)
        assert len(cluster) <= 4


def test_noise_is_no_cluster_and_empty_clusters_have_no_terms() -> None:
    terms = _core.top_terms(CODE + CAKE, [2] * 3 + [-1] * 3, n_clusters=4)
    assert [bool(cluster) for cluster in terms] == [False, False, True, False]


def test_terms_of_texts_without_words_are_empty() -> None:
    assert _core.top_terms(["", "!!!", "🎂🎂"], [0, 0, 0], n_clusters=1, min_count=1) == [[]]
    assert _core.top_terms([], [], n_clusters=2) == [[], []]


def test_a_rare_term_counts_only_where_there_is_no_other() -> None:
    texts, labels = [*CAKE, "zyzzyva"], [0, 0, 0, 1]
    terms = names(_core.top_terms(texts, labels, n_clusters=2, min_count=2))
    assert terms[1] == ["zyzzyva"]
    assert "eggs" not in terms[0]
    assert "without eggs" in " ".join(names(_core.top_terms(texts, labels, n_clusters=2, min_count=1, n_terms=50))[0])


def test_weights_move_terms_up() -> None:
    texts = ["apple tart", "apple tart", "banana bread", "banana bread"]
    arguments: Any = {"labels": [0] * 4, "n_clusters": 1, "n_terms": 1}
    assert names(_core.top_terms(texts, **arguments, weights=[9, 9, 1, 1]))[0][0].startswith(("apple", "tart"))
    assert names(_core.top_terms(texts, **arguments, weights=[1, 1, 9, 9]))[0][0].startswith(("banana", "bread"))


def test_scripts_without_spaces_have_terms_too() -> None:
    texts = ["東京の天気はどうですか", "明日の東京の天気", "チョコレートケーキの作り方", "チョコレートケーキのレシピ"]
    terms = names(_core.top_terms(texts, [0, 0, 1, 1], n_clusters=2))
    assert any("東京" in term or "天気" in term for term in terms[0])
    assert terms[1]
    assert set(terms[0]).isdisjoint(terms[1])


def test_the_order_of_texts_does_not_change_the_terms() -> None:
    texts, labels = (CODE + CAKE) * 5, np.array(([0] * 3 + [1] * 3) * 5)
    want = _core.top_terms(texts, labels, n_clusters=2)
    order = np.random.default_rng(0).permutation(len(texts))
    found = _core.top_terms([texts[i] for i in order], labels[order], n_clusters=2)
    assert names(found) == names(want)
    assert _core.top_terms(pl.Series(texts), labels.astype(np.int64), n_clusters=2) == want


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"labels": [0]}, "labels.*1 != 2"),
        ({"labels": [0, 2]}, "labels must be below n_clusters = 2: row 1 has 2"),
        ({"labels": [0, 0.5]}, "labels must be of type int32"),
        ({"labels": [0, 2**32]}, "labels.*4294967296"),
        ({"labels": [[0, 1]]}, "labels must be 1-D"),
        ({"labels": [0, 1], "weights": [1.0]}, "^weights.*1 != 2"),
        ({"labels": [0, 1], "weights": [1.0, -1.0]}, "^weights.*row 1 has -1"),
        ({"labels": [0, 1], "texts": ["a", None]}, "texts must not hold nulls: row 1 is null"),
    ],
)
def test_labels_and_weights_that_do_not_fit_are_refused(arguments: dict[str, Any], words: str) -> None:
    given: dict[str, Any] = {"texts": ["a", "b"], "n_clusters": 2, **arguments}
    with pytest.raises(InvalidInputError, match=words):
        _core.top_terms(**given)
