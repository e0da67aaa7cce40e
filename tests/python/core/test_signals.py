"""Do the signals of texts have the promised form, and do they find what they are named for?"""

from __future__ import annotations

import base64
import os
import random
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lmsys_rs import _core
from lmsys_rs.errors import InvalidInputError

SCHEMA = pa.schema(
    [
        pa.field("language", pa.large_string()),
        *(pa.field(name, pa.float32(), nullable=False) for name in ["language_confidence"]),
        *(pa.field(name, pa.uint32(), nullable=False) for name in ["n_chars", "n_words"]),
        *(
            pa.field(name, pa.float32(), nullable=False)
            for name in (
                *("quality", "quality_length", "quality_letters", "quality_repetition", "quality_variety"),
                "quality_wording",
            )
        ),
        pa.field("personal", pa.uint32(), nullable=False),
        pa.field("template", pa.int64(), nullable=False),
    ]
)
SHARES = [name for name in SCHEMA.names if name.startswith("quality")] + ["language_confidence"]
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)


def signals(texts: Any) -> pl.DataFrame:
    return pl.DataFrame(_core.text_signals(texts))


def quality(text: str) -> float:
    return float(signals([text])["quality"][0])


@pytest.fixture
def any_threads() -> Iterator[None]:
    yield
    _core.configure(n_threads=os.cpu_count())


# ---- form --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("texts", [[], ["How are you?"], pa.array(["a", ""]), pl.Series(["x", "y"])])
def test_columns_and_types_are_as_promised(texts: Any) -> None:
    batch = pa.record_batch(_core.text_signals(texts))
    assert batch.schema == SCHEMA
    assert batch.num_rows == len(texts)


def test_a_null_is_refused_by_name() -> None:
    with pytest.raises(InvalidInputError, match="texts must not hold nulls: row 1"):
        _core.text_signals(["a", None])
    with pytest.raises(InvalidInputError, match="row 0"):
        _core.minhash_signatures([None])
    assert pl.Series(_core.redact_texts([None, "a"])).to_list() == [None, "a"]


@settings(deadline=None, max_examples=200)
@given(st.lists(TEXTS, max_size=5))
@example(["", " ", "\x00", "\ud7ff", "\u200d\u200d", "\u0301", "👩‍👩‍👧‍👦", "İİİİ", "ﷺ", "\U000e0001"])
def test_any_text_has_signals_in_range(texts: list[str]) -> None:
    found = signals(texts)
    assert found["n_chars"].to_list() == [len(text) for text in texts]
    for name in SHARES:
        assert found[name].is_between(0, 1).all(), name
    assert (found["personal"] < 2 * max(_core.PERSONAL_KINDS.values())).all()
    assert found.equals(signals(texts))


def test_texts_of_megabytes_take_linear_time() -> None:
    units = ["a", "word ", "1", "@", "a@b.co ", '"', "[", "\n\n", "语", "key=", "é", "`", "+1 ", "://"]
    started = time.perf_counter()
    found = signals([unit * (5_000_000 // len(unit)) for unit in units])
    # 0.2 s here; quadratic work would take hours
    assert time.perf_counter() - started < 60
    assert found["n_chars"][0] == 5_000_000
    _core.minhash_signatures(["ab " * 1_500_000])


def test_signals_do_not_depend_on_the_number_of_threads(any_threads: None) -> None:
    chance = random.Random(1)
    words = ["how", "do", "I", "call", "+1 415 555 2671", "привет", "東京", "a@b.org", "list", "12"]
    texts = [" ".join(chance.choices(words, k=chance.randrange(30))) for _ in range(9000)]
    results = []
    for n_threads in (1, 2, 5):
        _core.configure(n_threads=n_threads)
        signatures = _core.minhash_signatures(texts)
        pairs = _core.near_duplicate_pairs(signatures)
        results.append((signals(texts), signatures, pairs, pl.Series(_core.redact_texts(texts))))
    for found in results[1:]:
        assert found[0].equals(results[0][0])
        assert all(np.array_equal(a, b) for a, b in zip(found[1:3], results[0][1:3], strict=True))
        assert found[3].equals(results[0][3])


# ---- size and quality --------------------------------------------------------------------------------------------


def test_words_are_counted_in_scripts_with_and_without_spaces() -> None:
    found = signals(["Don't stop, it's 3 o'clock!", "你好世界", "한국어를 공부해요", "?!"])
    assert found["n_words"].to_list() == [5, 4, 2, 0]


def test_quality_orders_texts_as_a_person_would() -> None:
    for text in [
        "How do I reverse a linked list in Python?",
        "Write a short story about a dragon who learns to dance.",
        "¿Cuáles son las mejores playas de México en julio?",
        "Explain the difference between TCP and UDP with examples.",
        "请用三句话解释什么是机器学习。",
        "def fib(n):\n    return n if n < 2 else fib(n - 1) + fib(n - 2)\nwhy is this slow?",
    ]:
        assert quality(text) > 0.75, text
    for text in [
        "sdkfjh skdjfh sdfkjh sdkfjhsdf",
        "a" * 500,
        "lol " * 200,
        base64.b64encode(bytes(range(256))).decode(),
        "!!!! ???? ....",
        "",
    ]:
        assert quality(text) < 0.2, text
    assert (
        0.1 < quality("hi") < quality("hi there, how are you?") < quality("hi there, how are you doing this morning?")
    )


# ---- templates ---------------------------------------------------------------------------------------------------


def test_fillings_of_one_template_have_one_hash() -> None:
    found = signals(
        [
            'Write 3 slogans for "Blue Shoes".',
            "write 10 slogans for “tea”",
            "Write 3 slogans about shoes.",
            'write 7 slogans for "x y z"!!',
        ]
    )["template"].to_list()
    assert found[0] == found[1] == found[3] != found[2]
