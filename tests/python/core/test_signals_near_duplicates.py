"""Are texts that are alike found, grouped and never split where they are equal?"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lmsys_rs import _core
from lmsys_rs.errors import InvalidInputError

# what docs/signals.md recommends
THRESHOLD = 0.6


def groups(texts: list[str], threshold: float = THRESHOLD) -> np.ndarray:
    pairs = _core.near_duplicate_pairs(_core.minhash_signatures(texts), min_similarity=threshold)
    return _core.group_pairs(len(texts), pairs)


def test_shapes_and_types_are_as_promised() -> None:
    signatures = _core.minhash_signatures(["a text", "another", ""])
    assert (signatures.shape, signatures.dtype) == ((3, 128), np.uint16)
    for texts in ([], ["alone"]):
        signatures = _core.minhash_signatures(texts)
        assert signatures.shape == (len(texts), 128)
        pairs = _core.near_duplicate_pairs(signatures)
        assert (pairs.shape, pairs.dtype) == ((0, 2), np.uint32)
    similarity = _core.shingle_similarity(["same"], ["Same!"])
    assert (similarity.tolist(), similarity.dtype) == ([1.0], np.float32)
    assert _core.group_pairs(3, pairs).tolist() == [0, 1, 2]
    assert _core.group_pairs(0, pairs).dtype == np.uint32


def test_wrong_shapes_are_refused_by_name() -> None:
    with pytest.raises(InvalidInputError, match="signatures must have 128 values of uint16 per row: got uint16 of"):
        _core.near_duplicate_pairs(np.zeros((2, 3), np.uint16))
    with pytest.raises(InvalidInputError, match="got uint32 of"):
        _core.near_duplicate_pairs(np.zeros((2, 128), np.uint32))
    with pytest.raises(InvalidInputError, match="min_similarity must be above 0 and at most 1: got 0"):
        _core.near_duplicate_pairs(np.zeros((2, 128), np.uint16), min_similarity=0)
    with pytest.raises(InvalidInputError, match="one length: got 1 and 2"):
        _core.shingle_similarity(["a"], ["a", "b"])
    with pytest.raises(InvalidInputError, match="row 0 names 2, but there are 2 texts"):
        _core.group_pairs(2, np.array([[0, 2]]))
    with pytest.raises(InvalidInputError, match="pairs must have 2 columns"):
        _core.group_pairs(2, np.zeros((1, 3), np.uint32))
    with pytest.raises(InvalidInputError, match="n must not be negative"):
        _core.group_pairs(-1, np.zeros((0, 2), np.uint32))


def test_alike_texts_make_a_group_and_others_do_not() -> None:
    texts = [
        "How do I reverse a linked list in Python?",
        "Write a poem about the sea",
        "how do i reverse a linked list in python",
        "How do I reverse a linked list in Python please?",
        "What is 2+2?",
        "What is 2*2?",
        "机器学习和深度学习有什么区别",
        "机器学习和深度学习有什么区别？",
    ]
    assert groups(texts).tolist() == [0, 1, 0, 0, 4, 5, 6, 6]


@settings(deadline=None, max_examples=100)
@given(st.lists(st.lists(st.sampled_from(["a", "b", "ab", "你", "ß", "12"]), min_size=1, max_size=4), max_size=60))
def test_texts_of_one_form_are_never_split(words: list[list[str]]) -> None:
    decorated = [("  " + ", ".join(text).upper() + "! ", " ".join(text).lower()) for text in words if "ß" not in text]
    texts = [text for pair in decorated for text in pair]
    found = groups(texts)
    assert (found[::2] == found[1::2]).all()


def test_pairs_are_sorted_and_linear_in_number() -> None:
    texts = ["the very same text"] * 500 + [f"a text that is nearly the same as number {i % 7}" for i in range(500)]
    pairs = _core.near_duplicate_pairs(_core.minhash_signatures(texts))
    as_list = pairs.tolist()
    assert all(i < j for i, j in as_list)
    assert all(a < b for a, b in pairwise(as_list))
    assert len(pairs) <= 2 * 16 * len(texts)


def test_pairs_of_a_graph_are_its_short_edges() -> None:
    vectors = np.array([[0.0, 1], [0.01, 1], [1, 0], [1, 0.02], [-1, -1]], np.float32)
    graph = _core.KnnGraph.build(vectors, k=2)
    assert _core.near_duplicate_pairs_from_graph(graph, 0.1).tolist() == [[0, 1], [2, 3]]
    assert _core.near_duplicate_pairs_from_graph(graph, 0.0).shape == (0, 2)
    with pytest.raises(InvalidInputError, match="max_distance must not be negative"):
        _core.near_duplicate_pairs_from_graph(graph, -1.0)


@pytest.mark.slow
def test_pairs_of_real_requests_are_found(shared_data: Path) -> None:
    known = pl.read_parquet(shared_data / "labelled" / "near_duplicates_hwu64.parquet")
    texts = [*known["text_a"], *known["text_b"]]
    n = len(known)
    found = groups(texts)
    assert (found[:n] == found[n:]).mean() > 0.89
    alike = _core.shingle_similarity(known["text_a"], known["text_b"])
    # what the estimate misses of what is alike enough, most of it just above the threshold
    missed = (found[:n] != found[n:]) & (alike >= THRESHOLD)
    assert missed.mean() < 0.01
    assert (missed & (alike >= THRESHOLD + 0.1)).mean() < 0.001


@settings(deadline=None, max_examples=50)
@given(st.text(alphabet="abcdef ", min_size=30, max_size=200), st.integers(0, 150))
def test_signatures_estimate_the_similarity(text: str, cut: int) -> None:
    changed = text[cut:] + " and something else"
    signatures = _core.minhash_signatures([text, changed])
    exact = float(_core.shingle_similarity([text], [changed])[0])
    assert abs(float((signatures[0] == signatures[1]).mean()) - exact) < 0.22  # five standard errors


def test_hashes_called_new_are_new() -> None:
    seen = _core.SeenHashes()
    assert seen.insert(bytes(16) + bytes([1] * 16) + bytes(16)).tolist() == [False, False, True]
    assert seen.insert(bytes([1] * 16)).tolist() == [True]
    assert len(seen) == 2
    assert seen.insert(b"").tolist() == []
    with pytest.raises(InvalidInputError, match="hashes must have 16 bytes each: 3 are left over"):
        seen.insert(b"abc")


@pytest.mark.slow
def test_other_requests_are_not_alike(shared_data: Path) -> None:

    random = np.random.default_rng(0)
    requests = pl.read_parquet(shared_data / "labelled" / "hwu64.parquet").unique("text", maintain_order=True)
    one, other = random.integers(0, len(requests), (2, 50_000))
    differ = requests["label"].gather(one) != requests["label"].gather(other)
    unlike = _core.shingle_similarity(requests["text"].gather(one), requests["text"].gather(other))
    assert (unlike[differ.to_numpy()] >= THRESHOLD).mean() < 0.0001
