"""Are our vectors those of the reference pipeline: tokens of the `tokenizers` package, BERT in numpy, pooling, norm?"""

from __future__ import annotations

import json
import math
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pyarrow as pa
import pytest
from lmsys_rs import _core
from lmsys_rs.config import onnxruntime_library
from lmsys_rs.errors import InvalidInputError, ModelError
from onnx import TensorProto, helper
from scipy.special import erf
from threadpoolctl import threadpool_limits
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

Matrix = npt.NDArray[Any]
Tensors = dict[str, Matrix]


def load(folder: Path, **settings: Any) -> _core.OrtEmbedder:
    settings.setdefault("n_threads", 2)
    return _core.OrtEmbedder(str(folder), runtime=str(onnxruntime_library()), **settings)


def embed(embedder: _core.OrtEmbedder, texts: Any, **keywords: Any) -> Matrix:
    out = np.full((len(texts), embedder.dim), np.nan, dtype=np.float32)
    embedder.embed_into(texts, out, **keywords)
    return out


# ---- the reference, written apart from ours ----------------------------------------------------------------------


def read_safetensors(path: Path) -> Tensors:
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        raw = data[8 + length + start : 8 + length + end]
        if entry["dtype"] == "F32":
            values = np.frombuffer(raw, "<f4")
        elif entry["dtype"] == "F16":
            values = np.frombuffer(raw, "<f2")
        elif entry["dtype"] == "BF16":
            values = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            continue
        tensors[name] = values.reshape(entry["shape"]).astype(np.float32)
    return tensors


def layer_norm(x: Matrix, tensors: Tensors, name: str, epsilon: float) -> Matrix:
    centred = x - x.mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + epsilon)
    return scaled * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]


def dense(x: Matrix, tensors: Tensors, name: str) -> Matrix:
    return x @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]


def bert(ids: list[int], tensors: Tensors, config: dict[str, Any]) -> Matrix:
    """Hidden states of one text without padding (Devlin et al. 2019)."""
    n, heads, width = len(ids), config["num_attention_heads"], config["hidden_size"] // config["num_attention_heads"]
    epsilon = config["layer_norm_eps"]
    x = tensors["embeddings.word_embeddings.weight"][ids]
    x = x + tensors["embeddings.position_embeddings.weight"][:n] + tensors["embeddings.token_type_embeddings.weight"][0]
    x = layer_norm(x, tensors, "embeddings.LayerNorm", epsilon)
    for i in range(config["num_hidden_layers"]):
        name = f"encoder.layer.{i}"
        query, key, value = (
            dense(x, tensors, f"{name}.attention.self.{part}").reshape(n, heads, width).transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 2, 1) / math.sqrt(width)
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        context = (scores / scores.sum(axis=-1, keepdims=True)) @ value
        attended = dense(context.transpose(1, 0, 2).reshape(n, -1), tensors, f"{name}.attention.output.dense")
        x = layer_norm(x + attended, tensors, f"{name}.attention.output.LayerNorm", epsilon)
        wide = dense(x, tensors, f"{name}.intermediate.dense")
        wide = wide * 0.5 * (1 + erf(wide / math.sqrt(2)))
        x = layer_norm(x + dense(wide, tensors, f"{name}.output.dense"), tensors, f"{name}.output.LayerNorm", epsilon)
    return x


def reference(folder: Path, texts: list[str], max_length: int, pooling: str = "mean", normalize: bool = True) -> Matrix:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(max_length)
    tokenizer.no_padding()
    config = json.loads((folder / "config.json").read_text())
    tensors = read_safetensors(folder / "model.safetensors")
    rows = []
    # threads of small products cost more than they give on a busy machine
    with threadpool_limits(1):
        for text in texts:
            hidden = bert(tokenizer.encode(text).ids, tensors, config)
            row = hidden.mean(axis=0) if pooling == "mean" else hidden[0]
            rows.append(row / np.linalg.norm(row) if normalize else row)
    return np.array(rows)


# ---- the real model ----------------------------------------------------------------------------------------------

VARIED = [
    "",
    " ",
    "\n\t \u3000",
    "word",
    "Hello, world!",
    "hello, world!",
    "HELLO, WORLD!",
    "How do I bake a chocolate cake without eggs?",
    "Write a Python function that sorts a list of dictionaries by two keys.",
    "def f(x):\n    return {k: v for k, v in sorted(x.items())}",
    "SELECT * FROM t WHERE a = 'b' AND c IN (1, 2, 3);",
    "E = mc^2, \\int_0^1 x^2 dx = \\frac{1}{3}",
    "👩‍💻 🎂🎂🎂 👨‍👩‍👧‍👦",
    "emoji in 🚀 the middle",
    "日本語の文章をベクトルにしてください。",
    "请用中文写一首关于春天的诗。",
    "한국어로 번역해 주세요",
    "Привет, как дела?",
    "¿Dónde está la biblioteca?",
    "Où est la bibliothèque, garçon ?",
    "Ou est la bibliotheque, garcon ?",
    "שלום עולם",
    "مرحبا بالعالم",
    "สวัสดีชาวโลก",
    "नमस्ते दुनिया",
    "cafe\u0301 and café",
    "nul \x00 in the middle",
    "\x00",
    "control \x07\x1b[31m characters",
    "zero\u200bwidth\u200djoiners\ufeff",
    "\ufffd\ufffd",
    "a" * 99,
    "a" * 101,
    "a " * 300,
    "the quick brown fox jumps over the lazy dog " * 40,
    "supercalifragilisticexpialidocious " * 120,
    "日本語" * 200,
    "word " * 4_000,
    "x" * 20_000,
    "!" * 20_000,
    "[CLS] special [SEP] tokens [MASK] [PAD] in the text [UNK]",
    "1234567890 " * 60,
]


@pytest.fixture(scope="module")
def model(model_folder: Path) -> _core.OrtEmbedder:
    return load(model_folder)


def test_the_bits_do_not_depend_on_the_number_of_workers(model_folder: Path) -> None:
    # 16 threads are eight sessions of two
    one, many = (embed(load(model_folder, n_threads=n), VARIED) for n in (1, 16))
    np.testing.assert_array_equal(one, many)


def test_the_id_ignores_notes_in_the_configuration(tiny: Path) -> None:
    before = load(tiny).id
    config = json.loads((tiny / "config.json").read_text())
    (tiny / "config.json").write_text(json.dumps({**config, "transformers_version": "9.9", "_name_or_path": "x"}))
    assert load(tiny).id == before


def test_vectors_are_those_of_the_reference_pipeline(model: _core.OrtEmbedder, model_folder: Path) -> None:
    assert (model.dim, model.max_length, model.pooling) == (384, 256, "mean")
    found = embed(model, VARIED)
    want = reference(model_folder, VARIED, max_length=256)
    difference = np.abs(found - want).max(axis=1)
    assert difference.max() <= 1e-4, VARIED[int(difference.argmax())][:80]
    np.testing.assert_allclose(np.linalg.norm(found.astype(float), axis=1), 1.0, atol=1e-6)


def test_a_long_word_at_the_place_where_long_texts_are_cut_is_read_whole(
    model: _core.OrtEmbedder, model_folder: Path
) -> None:
    # words of more than 100 characters are unknown to the tokenizer; half of one is not
    texts = ["information " * n + "q" * 300 + " the end" * 20 for n in (240, 249, 252)]
    difference = np.abs(embed(model, texts) - reference(model_folder, texts, max_length=256)).max(axis=1)
    assert difference.max() <= 1e-4


def test_the_order_of_texts_does_not_matter(model: _core.OrtEmbedder) -> None:
    want = embed(model, VARIED)
    order = np.random.default_rng(0).permutation(len(VARIED))
    np.testing.assert_allclose(embed(model, [VARIED[i] for i in order]), want[order], atol=1e-5)
    np.testing.assert_allclose(embed(model, VARIED[7:8])[0], want[7], atol=1e-5)


def test_the_number_of_threads_does_not_change_a_bit(model: _core.OrtEmbedder, model_folder: Path) -> None:
    np.testing.assert_array_equal(embed(load(model_folder, n_threads=1), VARIED[:20]), embed(model, VARIED[:20]))


def test_close_meanings_have_close_vectors(model: _core.OrtEmbedder) -> None:
    cake, tart, code = embed(model, ["How to bake a cake", "Recipe for a tart", "Sort a list in Python"])
    assert cake @ tart > cake @ code + 0.2


# ---- a tiny model, for all that does not depend on the weights ---------------------------------------------------

TINY = {
    "model_type": "bert",
    "hidden_size": 8,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 32,
    "vocab_size": 26 + 4,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
}
TINY_TEXTS = ["a", "b c", "h e l l o", "", "x y z x y z", "q " * 100, "1 2 3"]


def tiny_tensors() -> Tensors:
    rng = np.random.default_rng(0)
    tensors: Tensors = {}

    def add(name: str, *shape: int) -> None:
        tensors[name] = rng.normal(scale=0.5, size=shape).astype(np.float32)

    add("embeddings.word_embeddings.weight", 30, 8)
    add("embeddings.position_embeddings.weight", 32, 8)
    add("embeddings.token_type_embeddings.weight", 2, 8)
    norms = ["embeddings.LayerNorm"]
    for i in range(2):
        layer = f"encoder.layer.{i}"
        for part in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            add(f"{layer}.{part}.weight", 8, 8)
            add(f"{layer}.{part}.bias", 8)
        add(f"{layer}.intermediate.dense.weight", 16, 8)
        add(f"{layer}.intermediate.dense.bias", 16)
        add(f"{layer}.output.dense.weight", 8, 16)
        add(f"{layer}.output.dense.bias", 8)
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
    for name in norms:
        add(f"{name}.weight", 8)
        add(f"{name}.bias", 8)
    return tensors


def write_safetensors(path: Path, tensors: Tensors, dtype: str = "F32") -> None:
    header, blobs, start = {}, [], 0
    for name, values in tensors.items():
        if dtype == "BF16":
            blob = (values.astype("<f4").view(np.uint32) >> 16).astype("<u2").tobytes()
        else:
            blob = values.astype({"F32": "<f4", "F16": "<f2", "F64": "<f8"}[dtype]).tobytes()
        header[name] = {"dtype": dtype, "shape": list(values.shape), "data_offsets": [start, start + len(blob)]}
        blobs.append(blob)
        start += len(blob)
    encoded = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + b"".join(blobs))


def write_tokenizer(path: Path) -> None:
    vocabulary = {
        token: i for i, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghijklmnopqrstuvwxyz"])
    }
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    # what the file says about these is not what the model is run with
    tokenizer.enable_padding(length=17)
    tokenizer.enable_truncation(5)
    tokenizer.save(str(path))


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A folder with a random BERT of two layers and eight columns."""
    write_tokenizer(tmp_path / "tokenizer.json")
    write_safetensors(tmp_path / "model.safetensors", tiny_tensors())
    (tmp_path / "config.json").write_text(json.dumps(TINY))
    return tmp_path


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("max_length", [3, 10, 32])
def test_settings_do_what_the_reference_does(tiny: Path, pooling: Any, normalize: bool, max_length: int) -> None:
    embedder = load(tiny, pooling=pooling, normalize=normalize, max_length=max_length)
    want = reference(tiny, TINY_TEXTS, max_length, pooling, normalize)
    np.testing.assert_allclose(embed(embedder, TINY_TEXTS), want, atol=1e-5)
    assert (embedder.dim, embedder.max_length, embedder.pooling) == (8, max_length, pooling)


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_weights_of_three_types_are_read(tiny: Path, dtype: str) -> None:
    write_safetensors(tiny / "model.safetensors", tiny_tensors(), dtype)
    np.testing.assert_allclose(embed(load(tiny), TINY_TEXTS), reference(tiny, TINY_TEXTS, 32), atol=1e-5)


def test_names_with_a_prefix_are_found(tiny: Path) -> None:
    want = embed(load(tiny), TINY_TEXTS)
    prefixed = {f"bert.{name}": values for name, values in tiny_tensors().items()}
    write_safetensors(tiny / "model.safetensors", prefixed | {"cls.bias": np.zeros(3)})
    np.testing.assert_array_equal(embed(load(tiny), TINY_TEXTS), want)


def test_length_and_pooling_come_from_the_folder_when_it_states_them(tiny: Path) -> None:
    assert (load(tiny).max_length, load(tiny).pooling) == (32, "mean")
    (tiny / "sentence_bert_config.json").write_text('{"max_seq_length": 12}')
    (tiny / "1_Pooling").mkdir()
    (tiny / "1_Pooling" / "config.json").write_text(
        '{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}'
    )
    assert (load(tiny).max_length, load(tiny).pooling) == (12, "cls")
    assert (load(tiny, max_length=9, pooling="mean").max_length, load(tiny, pooling="mean").pooling) == (9, "mean")


def test_the_id_names_the_files_and_every_setting(tiny: Path) -> None:
    ids = [
        load(tiny).id,
        load(tiny, max_length=10).id,
        load(tiny, pooling="cls").id,
        load(tiny, normalize=False).id,
    ]
    assert len(set(ids)) == len(ids)
    assert load(tiny).id == load(tiny, n_threads=1).id == load(tiny, max_length=32, pooling="mean").id == ids[0]
    changed = tiny_tensors()
    changed["embeddings.LayerNorm.bias"][0] += 1
    write_safetensors(tiny / "model.safetensors", changed)
    assert load(tiny).id not in ids


def test_the_id_changes_with_what_the_configuration_changes(tiny: Path) -> None:
    before, vectors = load(tiny).id, embed(load(tiny), TINY_TEXTS)
    (tiny / "config.json").write_text(json.dumps({**TINY, "num_attention_heads": 4}))
    assert not np.allclose(embed(load(tiny), TINY_TEXTS), vectors)
    assert load(tiny).id != before


def test_the_number_of_tokens_read_is_returned(tiny: Path) -> None:
    embedder = load(tiny, max_length=10)
    out = np.empty((3, 8), dtype=np.float32)
    assert embedder.embed_into(["a b c", "", "q " * 50], out) == 5 + 2 + 10
    assert embedder.embed_into([], np.empty((0, 8), dtype=np.float32)) == 0


@pytest.mark.parametrize("form", [tuple, pa.array, lambda texts: pa.chunked_array([texts[:2], texts[2:]])])
def test_texts_may_come_as_arrow(tiny: Path, form: Callable[[Any], Any]) -> None:
    embedder = load(tiny)
    np.testing.assert_array_equal(embed(embedder, form(TINY_TEXTS)), embed(embedder, TINY_TEXTS))


def test_rows_are_written_into_a_memory_map(tiny: Path) -> None:
    embedder = load(tiny)
    mapped = np.memmap(tiny / "vectors.bin", dtype=np.float32, mode="w+", shape=(len(TINY_TEXTS), 8))
    embedder.embed_into(TINY_TEXTS, mapped)
    np.testing.assert_array_equal(mapped, embed(embedder, TINY_TEXTS))


def test_results_that_have_no_place_are_refused(tiny: Path) -> None:
    embedder = load(tiny)
    read_only = np.zeros((2, 8), dtype=np.float32)
    read_only.setflags(write=False)
    for out, words in [
        (np.empty((3, 8), dtype=np.float32), r"out must have shape \(2, 8\)"),
        (np.empty((2, 7), dtype=np.float32), r"out must have shape \(2, 8\)"),
        # as many values, but rows of another width
        (np.empty((4, 4), dtype=np.float32), r"out must have shape \(2, 8\)"),
        (np.empty((1, 16), dtype=np.float32), r"out must have shape \(2, 8\)"),
        (np.empty((2, 8)), "out must be a writable, contiguous 2-D float32 array"),
        (np.empty(16, dtype=np.float32), "out must be a writable, contiguous 2-D float32 array"),
        (np.empty((2, 8), dtype=np.float32, order="F"), "out must be a writable, contiguous 2-D float32 array"),
        (read_only, "out must be a writable, contiguous 2-D float32 array"),
    ]:
        with pytest.raises(InvalidInputError, match=words):
            embedder.embed_into(["a", "b"], out)
    with pytest.raises(InvalidInputError, match="texts must not hold nulls: row 1 is null"):
        embed(embedder, ["a", None])


def test_progress_goes_forward_to_the_number_of_texts(tiny: Path) -> None:
    told: list[tuple[int, int]] = []
    threads = set()

    def progress(done: int, total: int) -> None:
        told.append((done, total))
        threads.add(threading.get_ident())

    embed(load(tiny), ["a b c " * (i % 9) for i in range(30_000)], progress=progress)
    assert told == sorted(told)
    assert told[-1] == (30_000, 30_000)
    assert threads == {threading.get_ident()}


def test_two_threads_embed_with_one_model(tiny: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    embedder = load(tiny)
    want = embed(embedder, TINY_TEXTS * 20)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: embed(embedder, TINY_TEXTS * 20), range(8)):
            np.testing.assert_array_equal(found, want)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to one process")
def test_ctrl_c_ends_embedding_within_a_second(model_folder: Path) -> None:
    code = (
        "import os, sys, numpy as np\nfrom lmsys_rs import _core\n"
        "e = _core.OrtEmbedder(sys.argv[1], runtime=sys.argv[2], n_threads=2)\n"
        "texts = ['some words that take a while ' * 60] * 3000\n"
        "print('ready', flush=True)\n"
        "try:\n    e.embed_into(texts, np.empty((3000, 384), dtype=np.float32)); print('finished', flush=True)\n"
        "except KeyboardInterrupt:\n    print('interrupted', flush=True)\n"
        "os._exit(0)\n"
    )
    arguments = [sys.executable, "-c", code, str(model_folder), str(onnxruntime_library())]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(0.5)
        os.kill(child.pid, signal.SIGINT)
        sent = time.perf_counter()
        assert child.stdout.readline() == "interrupted\n"
        assert time.perf_counter() - sent < 1.0


# ---- models that cannot be used ----------------------------------------------------------------------------------


def write_config(folder: Path, **changed: Any) -> None:
    (folder / "config.json").write_text(json.dumps({**TINY, **changed}))


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def with_bytes(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes()))


def with_tensors(change: Callable[[Tensors], Tensors], dtype: str = "F32") -> Callable[[Path], None]:
    return lambda folder: write_safetensors(folder / "model.safetensors", change(tiny_tensors()), dtype)


def with_pooling(folder: Path) -> None:
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_max_tokens": true}')


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no tokenizer": (without("tokenizer.json"), "tokenizer.json"),
    "no configuration": (without("config.json"), "config.json"),
    "no weights": (without("model.safetensors"), "none of model.safetensors"),
    "empty weights": (with_bytes("model.safetensors", lambda _: b""), "safetensors file is damaged"),
    "half the weights": (
        with_bytes("model.safetensors", lambda data: data[: len(data) // 2]),
        "safetensors file is damaged",
    ),
    "a page instead of weights": (
        with_bytes("model.safetensors", lambda _: b"<html>404</html>"),
        "safetensors file is damaged",
    ),
    "a huge header": (
        with_bytes("model.safetensors", lambda data: b"\xff" * 8 + data[8:]),
        "safetensors file is damaged",
    ),
    "half the tokenizer": (
        with_bytes("tokenizer.json", lambda data: data[: len(data) // 2]),
        "tokenizer.json is damaged",
    ),
    "half the configuration": (with_bytes("config.json", lambda data: data[:20]), "config.json is damaged"),
    "a missing tensor": (
        with_tensors(
            lambda tensors: {
                name: values for name, values in tensors.items() if "layer.1.output.dense.bias" not in name
            }
        ),
        "no tensor 'encoder.layer.1.output.dense.bias'",
    ),
    "a tensor of another shape": (
        with_tensors(lambda tensors: tensors | {"encoder.layer.0.attention.self.key.weight": np.zeros((8, 9))}),
        r"'encoder.layer.0.attention.self.key.weight' has shape \[8, 9\]",
    ),
    "double precision": (with_tensors(lambda tensors: tensors, "F64"), "type F64"),
    "more layers than weights": (lambda folder: write_config(folder, num_hidden_layers=3), "encoder.layer.2"),
    "another width": (lambda folder: write_config(folder, hidden_size=12), "shape"),
    "heads that do not divide": (lambda folder: write_config(folder, num_attention_heads=3), "head"),
    "no heads": (lambda folder: write_config(folder, num_attention_heads=0), "head"),
    "no layers": (lambda folder: write_config(folder, num_hidden_layers=0), "at least one layer"),
    "another architecture": (lambda folder: write_config(folder, model_type="mpnet"), "'mpnet' is not supported"),
    "another activation": (lambda folder: write_config(folder, hidden_act="relu"), "relu"),
    "relative positions": (lambda folder: write_config(folder, position_embedding_type="relative_key"), "relative_key"),
    "another pooling": (with_pooling, "pooling other than mean or cls"),
    "weights that are not numbers": (
        with_tensors(lambda tensors: tensors | {"embeddings.LayerNorm.bias": np.full(8, np.nan)}),
        "NaN",
    ),
    "fewer words than the tokenizer": (
        with_tensors(lambda tensors: tensors | {"embeddings.word_embeddings.weight": np.zeros((10, 8))}),
        "10|token|vocab",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_model_that_cannot_be_used_is_refused_with_the_reason(tiny: Path, damage: str) -> None:
    break_it, words = DAMAGE[damage]
    break_it(tiny)
    with pytest.raises(ModelError, match=words):
        embed(load(tiny), TINY_TEXTS)


def test_a_folder_or_a_runtime_that_is_not_there_is_refused(tiny: Path) -> None:
    with pytest.raises(ModelError, match="no model folder at"):
        load(tiny / "nowhere")
    with pytest.raises(ModelError, match="no weights at"):
        load(tiny, weights=str(tiny / "other.safetensors"))
    with pytest.raises(ModelError, match=r"safetensors or \.onnx"):
        load(tiny, weights=str(tiny / "config.json"))
    code = (
        "import sys\nfrom lmsys_rs import _core, errors\n"
        "for runtime in sys.argv[2:]:\n"
        "    try:\n        _core.OrtEmbedder(sys.argv[1], runtime=runtime)\n"
        "    except errors.ModelError as error:\n        print('refused', 'pip install' in str(error))\n"
    )
    (tiny / "not-a-library.so").write_text("no")
    arguments = [str(tiny), str(tiny / "none.so"), str(tiny / "not-a-library.so")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60)
    assert done.stdout == "refused True\n" * 2, done.stderr


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"pooling": "max"}, "pooling must be mean or cls: got 'max'"),
        ({"max_length": 2}, "max_length must be between 3 and the model's 32 positions: got 2"),
        ({"max_length": 33}, "max_length must be between 3 and the model's 32 positions: got 33"),
    ],
)
def test_settings_out_of_range_are_refused(tiny: Path, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        load(tiny, **settings)


# ---- ONNX files --------------------------------------------------------------------------------------------------


def write_onnx(path: Path, pooled: bool, inputs: tuple[str, ...] = ("input_ids", "attention_mask")) -> Matrix:
    """One layer: a row per token (batch, length, 8), or the first token's row (batch, 8). Returns the table."""
    table = np.random.default_rng(1).normal(size=(30, 8)).astype(np.float32)
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["tokens"])]
    shape: list[Any] = ["batch", "length", 8]
    if pooled:
        nodes.append(helper.make_node("Gather", ["tokens", "first"], ["output"], axis=1))
        shape = ["batch", 8]
    else:
        nodes.append(helper.make_node("Identity", ["tokens"], ["output"]))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"]) for name in inputs],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)],
        [
            helper.make_tensor("table", TensorProto.FLOAT, table.shape, table.ravel()),
            helper.make_tensor("first", TensorProto.INT64, [], [0]),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))
    return table


@pytest.fixture
def onnx_folder(tmp_path: Path) -> Path:
    write_tokenizer(tmp_path / "tokenizer.json")
    return tmp_path


def token_rows(folder: Path, table: Matrix, text: str) -> Matrix:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    rows: Matrix = table[tokenizer.encode(text).ids]
    return rows


@pytest.mark.parametrize("inputs", [("input_ids", "attention_mask"), ("input_ids", "attention_mask", "token_type_ids")])
@pytest.mark.parametrize("where", ["model.onnx", "onnx/model.onnx"])
def test_an_onnx_file_with_token_rows_is_pooled(onnx_folder: Path, inputs: tuple[str, ...], where: str) -> None:
    (onnx_folder / where).parent.mkdir(exist_ok=True)
    table = write_onnx(onnx_folder / where, pooled=False, inputs=inputs)
    texts = ["a", "b c", "h e l l o w o r l d", ""]
    rows = [token_rows(onnx_folder, table, text) for text in texts]
    mean = embed(load(onnx_folder, normalize=False), texts)
    np.testing.assert_allclose(mean, [row.mean(axis=0) for row in rows], atol=1e-6)
    cls = embed(load(onnx_folder, normalize=False, pooling="cls"), texts)
    np.testing.assert_allclose(cls, [row[0] for row in rows], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(embed(load(onnx_folder), texts), axis=1), 1.0, atol=1e-6)


def test_an_onnx_file_that_pools_itself_is_taken_as_it_is(onnx_folder: Path) -> None:
    table = write_onnx(onnx_folder / "model.onnx", pooled=True)
    found = embed(load(onnx_folder, normalize=False), ["a", "b c d", ""])
    np.testing.assert_allclose(found, np.tile(table[2], (3, 1)), atol=1e-6)


def test_an_onnx_file_of_any_name_can_be_named(onnx_folder: Path) -> None:
    write_onnx(onnx_folder / "quantised.onnx", pooled=False)
    with pytest.raises(ModelError, match=r"none of model\.safetensors"):
        load(onnx_folder)
    assert load(onnx_folder, weights=str(onnx_folder / "quantised.onnx")).dim == 8


def test_onnx_files_that_cannot_be_used_are_refused_with_the_reason(onnx_folder: Path) -> None:
    path = onnx_folder / "model.onnx"
    write_onnx(path, pooled=False, inputs=("input_ids", "pixel_values"))
    with pytest.raises(ModelError, match="input 'pixel_values'"):
        embed(load(onnx_folder), ["a"])
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ModelError, match=r"model\.onnx cannot be loaded"):
        load(onnx_folder)
    path.write_bytes(b"")
    with pytest.raises(ModelError, match=r"model\.onnx cannot be loaded"):
        load(onnx_folder)
