"""Are our tokens those of the `tokenizers` package, and the vectors of a table those of model2vec?"""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from bert_oracle import VARIED, Matrix, embed, load, write_safetensors, write_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from lmsys_rs import _core
from lmsys_rs.errors import InvalidInputError, ModelError
from tokenizers import Tokenizer, models, pre_tokenizers, processors

# ---- tokens --------------------------------------------------------------------------------------------------------

CATCHES = [
    "[CLS] and [SEP] [MASK][PAD] [UNK] [cls]",
    "x" * 1_000_000,
    "!" * 100_000,
    "\x00\x01\x1f\x7f\x80\x9f\xad\u200b\u2028\u3000\ufeff\ufffd",
    "e\u0301\u0323 \u0345 \u302e \u1d165 a\u0315\u0301",
    "İstanbul ǅ ﬁ ﷺ Å ẞ ß ſ K Ω",
    "㍿ ｱ １２３ ﾊﾟ 𠀀 𝒳 🇩🇪 👩\u200d💻",
    "\u0378 \ue000 \uffff \U000e0001 \U0010ffff",
    "don't can't 3.14 a_b C++ a/b <s> ##ing # ##",
    *("a" * n for n in (99, 100, 101)),
    *("é" * n for n in (99, 100, 101)),
]


@pytest.fixture(scope="module")
def pair(model_folder: Path) -> tuple[_core.Tokenizer, Tokenizer]:
    """Ours and theirs."""
    theirs = Tokenizer.from_file(str(model_folder / "tokenizer.json"))
    theirs.no_padding()
    theirs.no_truncation()
    return _core.Tokenizer(str(model_folder / "tokenizer.json")), theirs


def assert_same_ids(pair: tuple[_core.Tokenizer, Tokenizer], texts: list[str], max_length: int) -> None:
    ours, theirs = pair
    for special in (True, False):
        theirs.enable_truncation(max_length)
        want = [found.ids for found in theirs.encode_batch(texts, add_special_tokens=special)]
        found = ours.encode(texts, max_length=max_length, special=special)
        wrong = [text[:80] for text, got, need in zip(texts, found, want, strict=True) if got != need]
        assert not wrong


@pytest.mark.parametrize("max_length", [3, 16, 256, 5_000])
def test_tokens_are_those_of_the_package(pair: Any, max_length: int) -> None:
    assert pair[0].is_fast
    assert_same_ids(pair, VARIED + CATCHES, max_length)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text(max_size=60), max_size=5), st.text(st.characters(max_codepoint=0x7F), max_size=200))
def test_tokens_of_random_texts_are_those_of_the_package(pair: Any, texts: list[str], text: str) -> None:
    assert_same_ids(pair, [*texts, text], 64)


def test_tokens_of_real_chats_are_those_of_the_package(pair: Any, shared_data: Path) -> None:
    chats = pl.read_parquet(shared_data / "chats" / "arena_prompts.parquet")["conversation"].list.first()
    assert_same_ids(pair, chats.struct.field("content").to_list()[:6_000], 256)
    # 200 languages
    sentences = pl.read_parquet(shared_data / "labelled" / "sib200_train_dev.parquet")["text"]
    assert_same_ids(pair, sentences.gather_every(40).to_list(), 256)


def test_a_tokenizer_of_another_kind_gives_the_ids_of_the_package(tmp_path: Path) -> None:
    vocabulary = [("<unk>", 0.0), ("▁", -2.0), ("▁the", -1.5), *((c, -4.0 - i / 10) for i, c in enumerate("abcdehlot"))]
    theirs = Tokenizer(models.Unigram(vocabulary, unk_id=0))
    theirs.pre_tokenizer = pre_tokenizers.Metaspace()
    theirs.add_special_tokens(["<s>", "</s>"])
    theirs.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", theirs.token_to_id("<s>")), ("</s>", theirs.token_to_id("</s>"))]
    )
    theirs.save(str(tmp_path / "tokenizer.json"))
    ours = _core.Tokenizer(str(tmp_path / "tokenizer.json"))
    assert not ours.is_fast
    assert ours.unknown == 0
    assert ours.around == ([theirs.token_to_id("<s>")], [theirs.token_to_id("</s>")])
    assert_same_ids((ours, theirs), ["", "the hot cat", "aXb", "the " * 5_000, "a" * 50_000, "日本"], 40)


def test_tokens_are_counted(pair: Any) -> None:
    ours, _ = pair
    ids = np.concatenate([*ours.encode(VARIED, max_length=30, special=False), []]).astype(int)
    counts = ours.count(VARIED, max_length=30)
    np.testing.assert_array_equal(counts, np.bincount(ids, minlength=len(ours.vocabulary())))


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": "1.0"}'])
def test_a_damaged_tokenizer_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ModelError, match=r"tokenizer\.json is damaged"):
        _core.Tokenizer(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ModelError, match=r"nowhere\.json is damaged"):
        _core.Tokenizer(str(tmp_path / "nowhere.json"))


# ---- the table -----------------------------------------------------------------------------------------------------

ROWS = np.random.default_rng(3).normal(size=(30, 6)).astype(np.float32)
TEXTS = ["a", "b c", "h e l l o", "x y z x y z", "q " * 100, "a 1 b 日", "abc", "[CLS] a"]
BLANK = ["", " \n", "1 2 3", "👩‍💻", "日本"]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A folder as model2vec writes it: letters are tokens."""
    write_tokenizer(tmp_path / "tokenizer.json")
    write_safetensors(tmp_path / "model.safetensors", {"embeddings": ROWS})
    (tmp_path / "config.json").write_text('{"model_type": "model2vec", "normalize": true, "seq_length": 1000000}')
    return tmp_path


def write_tensors(path: Path, tensors: dict[str, Any]) -> None:
    """A safetensors file of arrays, each with its own type."""
    names = {"float16": "F16", "float32": "F32", "float64": "F64", "int8": "I8", "int32": "I32", "int64": "I64"}
    header, blob = {}, b""
    for name, values in tensors.items():
        dtype = names.get(values.dtype.name, "BOOL")
        header[name] = {"dtype": dtype, "shape": values.shape, "data_offsets": [len(blob), len(blob) + values.nbytes]}
        blob += values.tobytes()
    encoded = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + blob)


def reference(
    folder: Path, texts: list[str], rows: Matrix, max_length: int = 512, weights: Matrix | None = None
) -> Matrix:
    """model2vec's `StaticModel.encode`, written apart from both."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length)
    n_chars = max_length * int(np.median([len(token) for token in tokenizer.get_vocab()]))
    vectors = []
    for text in texts:
        ids = tokenizer.encode(text[:n_chars], add_special_tokens=False).ids
        ids = [i for i in ids if i != tokenizer.token_to_id("[UNK]")]
        found = rows[ids] if weights is None else rows[ids] * weights[ids][:, None]
        vectors.append(found.astype(np.float64).mean(axis=0) if ids else rows[tokenizer.token_to_id("[UNK]")])
    return np.array(vectors)


def unit(rows: Matrix) -> Matrix:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_the_vector_is_the_mean_of_the_rows_of_the_tokens(table: Path) -> None:
    embedder = load(table)
    assert (embedder.engine, embedder.dim, embedder.max_length, embedder.pooling) == ("static", 6, 512, "mean")
    want = reference(table, TEXTS, ROWS)
    np.testing.assert_allclose(embed(embedder, TEXTS), unit(want), atol=1e-6)
    np.testing.assert_allclose(embed(load(table, normalize=False), TEXTS), want, atol=1e-6)


def test_a_text_without_tokens_gets_the_row_of_the_unknown_token(table: Path) -> None:
    np.testing.assert_allclose(embed(load(table), BLANK), np.tile(unit(ROWS[1:2]), (len(BLANK), 1)), atol=1e-6)
    without = ROWS.copy()
    without[1] = 0
    write_safetensors(table / "model.safetensors", {"embeddings": without})
    np.testing.assert_allclose(embed(load(table), [""]), unit(without.mean(axis=0)[None]), atol=1e-6)


def test_rows_that_cancel_out_are_no_zero_vector(table: Path) -> None:
    rows = ROWS.copy()
    rows[5] = -rows[4]
    write_safetensors(table / "model.safetensors", {"embeddings": rows})
    np.testing.assert_allclose(embed(load(table), ["b a"]), unit(rows[1:2]), atol=1e-6)


@pytest.mark.parametrize("max_length", [1, 2, 7, 512])
def test_long_texts_are_cut_by_characters_and_tokens_as_in_model2vec(table: Path, max_length: int) -> None:
    texts = ["a b c d e f g h i j k", "a         b c", "abc def " * 3_000, "a" * 1_000_000, "a " * 500_000]
    want = unit(reference(table, texts, ROWS, max_length))
    np.testing.assert_allclose(embed(load(table, max_length=max_length), texts), want, atol=1e-5)


def test_the_longest_text_is_what_the_configuration_says(table: Path) -> None:
    for stated, need in (("7", 7), ("null", 1_000_000)):
        (table / "config.json").write_text(f'{{"model_type": "model2vec", "max_length": {stated}}}')
        assert load(table).max_length == need


@pytest.mark.parametrize(("dtype", "tolerance"), [("F32", 1e-6), ("F16", 2e-3), ("BF16", 2e-2), ("F64", 1e-6)])
def test_tables_of_four_types_are_read(table: Path, dtype: str, tolerance: float) -> None:
    write_safetensors(table / "model.safetensors", {"embeddings": ROWS}, dtype)
    np.testing.assert_allclose(embed(load(table), TEXTS), unit(reference(table, TEXTS, ROWS)), atol=tolerance)


def test_weights_and_shared_rows_are_applied(table: Path) -> None:
    rng = np.random.default_rng(5)
    weights = rng.uniform(0.1, 2.0, size=30)
    shared, mapping = ROWS[:9], rng.integers(0, 9, size=30)
    write_tensors(table / "model.safetensors", {"embeddings": ROWS, "weights": weights})
    np.testing.assert_allclose(
        embed(load(table), TEXTS), unit(reference(table, TEXTS, ROWS, weights=weights)), atol=1e-6
    )
    for kind in (np.int32, np.int64):
        write_tensors(table / "model.safetensors", {"embeddings": shared, "mapping": mapping.astype(kind)})
        want = unit(reference(table, TEXTS, shared[mapping]))
        np.testing.assert_allclose(embed(load(table), TEXTS), want, atol=1e-6)
    both = {"embeddings": shared, "mapping": mapping, "weights": weights.astype(np.float32)}
    write_tensors(table / "model.safetensors", both)
    want = unit(reference(table, TEXTS, shared[mapping], weights=weights))
    np.testing.assert_allclose(embed(load(table), TEXTS), want, atol=1e-6)
    whole = np.rint(ROWS * 40).astype(np.int8)
    write_tensors(table / "model.safetensors", {"embeddings": whole})
    np.testing.assert_allclose(embed(load(table), TEXTS), unit(reference(table, TEXTS, whole * 1.0)), atol=1e-6)


@pytest.mark.parametrize("folder", [".", "0_StaticEmbedding"])
def test_a_table_of_sentence_transformers_is_read(table: Path, folder: str) -> None:
    want = embed(load(table), TEXTS)
    (table / "config.json").unlink()
    (table / folder).mkdir(exist_ok=True)
    (table / "tokenizer.json").rename(table / folder / "tokenizer.json")
    write_safetensors(table / folder / "model.safetensors", {"embedding.weight": ROWS})
    if folder != ".":
        (table / "model.safetensors").unlink()
    kind = "sentence_transformers.models.StaticEmbedding"
    (table / "modules.json").write_text(json.dumps([{"idx": 0, "name": "0", "path": folder, "type": kind}]))
    np.testing.assert_array_equal(embed(load(table), TEXTS), want)


def test_the_bits_do_not_depend_on_neighbours_or_threads(table: Path) -> None:
    texts = [text + "a" * (i % 50) for i in range(400) for text in TEXTS]
    want = embed(load(table, n_threads=1), texts)
    np.testing.assert_array_equal(embed(load(table, n_threads=7), texts), want)
    np.testing.assert_array_equal(embed(load(table), texts[::-1]), want[::-1])


def test_given_tokens_have_the_vectors_of_their_text(table: Path) -> None:
    embedder = load(table)
    tokens = _core.Tokenizer(str(table / "tokenizer.json")).encode(TEXTS, special=False)
    out = np.empty((len(TEXTS), 6), np.float32)
    embedder.embed_tokens_into(tokens, out)
    np.testing.assert_array_equal(out, embed(embedder, TEXTS))
    for wrong in ([[30]], [[]]):
        with pytest.raises(InvalidInputError, match="text 0"):
            embedder.embed_tokens_into(wrong, out[:1])


def test_the_id_names_files_and_settings(table: Path) -> None:
    ids = [load(table).id, load(table, max_length=9).id, load(table, normalize=False).id]
    write_safetensors(table / "model.safetensors", {"embeddings": ROWS + 1})
    assert len({*ids, load(table).id}) == 4


def test_many_short_texts_and_progress(table: Path) -> None:
    told: list[tuple[int, int]] = []
    texts = ["a"] * 100_000
    out = embed(load(table), texts, progress=lambda done, total: told.append((done, total)))
    assert (out == out[0]).all()
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1]


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to one process")
def test_ctrl_c_ends_within_a_second(table: Path) -> None:
    code = (
        "import os, sys, numpy as np, pyarrow as pa\nfrom lmsys_rs import _core\n"
        "e = _core.Embedder(sys.argv[1])\ntexts = pa.array(['a b c ' * 150] * 1_000_000)\n"
        "out = np.empty((len(texts), 6), dtype=np.float32)\n"
        "e.embed_into(texts[:9], out[:9])\nprint('ready', flush=True)\n"
        "try:\n    e.embed_into(texts, out); print('finished', flush=True)\n"
        "except KeyboardInterrupt:\n    print('interrupted', flush=True)\n"
        "os._exit(0)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(table)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(0.5)
        os.kill(child.pid, signal.SIGINT)
        sent = time.perf_counter()
        assert child.stdout.readline() == "interrupted\n"
        assert time.perf_counter() - sent < 1.0


# ---- tables that cannot be used --------------------------------------------------------------------------------------


def with_tensors(tensors: dict[str, Any]) -> Callable[[Path], None]:
    return lambda folder: write_tensors(folder / "model.safetensors", tensors)


def with_nan(folder: Path) -> None:
    rows = ROWS.copy()
    rows[7, 2] = np.nan
    write_safetensors(folder / "model.safetensors", {"embeddings": rows})


def cut_in_half(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no table": (with_tensors({"other": ROWS}), "no tensor 'embeddings'"),
    "a list of numbers": (with_tensors({"embeddings": ROWS[0]}), r"'embeddings' has shape \[6\]"),
    "an empty table": (with_tensors({"embeddings": ROWS[:0]}), r"'embeddings' has shape \[0, 6\]"),
    "a table without columns": (with_tensors({"embeddings": ROWS[:, :0]}), r"'embeddings' has shape \[30, 0\]"),
    "fewer rows than tokens": (with_tensors({"embeddings": ROWS[:10]}), "vocabulary of 30 tokens, the model has 10"),
    "only zeros": (with_tensors({"embeddings": ROWS * 0}), "holds only zeros"),
    "not a number": (with_nan, "'embeddings' holds NaN"),
    "half a file": (cut_in_half, "safetensors file is damaged"),
    "no numbers": (with_tensors({"embeddings": np.zeros((30, 6), bool)}), "type BOOL"),
    "a weight too few": (with_tensors({"embeddings": ROWS, "weights": np.ones(29)}), r"'weights' has shape \[29\]"),
    "a row that is not there": (
        with_tensors({"embeddings": ROWS[:9], "mapping": np.full(30, 9)}),
        "'mapping' must be below 9 rows: got 9",
    ),
    "a row before the first": (with_tensors({"embeddings": ROWS, "mapping": np.full(30, -1)}), "got -1"),
    "rows that are not whole": (with_tensors({"embeddings": ROWS, "mapping": np.ones(30)}), "type F64"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_table_that_cannot_be_used_is_refused_with_the_reason(table: Path, damage: str) -> None:
    break_it, words = DAMAGE[damage]
    break_it(table)
    with pytest.raises(ModelError, match=words):
        load(table)


def test_what_a_table_cannot_do_is_refused(table: Path) -> None:
    for engine in ("native", "ort"):
        with pytest.raises(ModelError, match=f"engine {engine} can't run .* table of token vectors"):
            load(table, engine=engine)
    with pytest.raises(ModelError, match="provider cuda needs the engine ort: got static"):
        load(table, provider="cuda")
    with pytest.raises(InvalidInputError, match="pooling mean only"):
        load(table, pooling="cls")
    for wrong in (0, 1_000_001):
        with pytest.raises(InvalidInputError, match="max_length must be between 1 and 1000000"):
            load(table, max_length=wrong)
