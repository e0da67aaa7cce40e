"""Are our vectors those of the reference pipeline: tokens of the `tokenizers` package, BERT in numpy, pooling, norm?

Every test runs on the engines native (in float32) and ort; bf16 and the instruction sets are in test_native.py, ONNX
files in test_onnx.py.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bert_oracle
import numpy as np
import pyarrow as pa
import pytest
from bert_oracle import (
    TINY,
    TINY_TEXTS,
    VARIED,
    Tensors,
    embed,
    fastest_f32,
    reference,
    tiny_tensors,
    write_safetensors,
    write_tiny,
)
from lmsys_rs import _core
from lmsys_rs.config import onnxruntime_library
from lmsys_rs.errors import InvalidInputError, ModelError

ENGINE = "auto"


@pytest.fixture(scope="module", params=["native", "ort"], autouse=True)
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    global ENGINE
    ENGINE = request.param
    _core.configure(isa=fastest_f32())
    yield ENGINE
    _core.configure(isa="auto")


def load(folder: Path, **settings: Any) -> _core.Embedder:
    return bert_oracle.load(folder, **{"engine": ENGINE, **settings})


@pytest.fixture(scope="module")
def model(model_folder: Path, engine: str) -> _core.Embedder:
    return load(model_folder)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_tiny(tmp_path)


def test_the_bits_do_not_depend_on_the_number_of_workers(model_folder: Path) -> None:
    # 16 threads are eight sessions of two
    one, many = (embed(load(model_folder, n_threads=n), VARIED) for n in (1, 16))
    np.testing.assert_array_equal(one, many)


def test_the_id_ignores_notes_in_the_configuration(tiny: Path) -> None:
    before = load(tiny).id
    config = json.loads((tiny / "config.json").read_text())
    (tiny / "config.json").write_text(json.dumps({**config, "transformers_version": "9.9", "_name_or_path": "x"}))
    assert load(tiny).id == before


def test_vectors_are_those_of_the_reference_pipeline(model: _core.Embedder, model_folder: Path) -> None:
    assert (model.dim, model.max_length, model.pooling) == (384, 256, "mean")
    found = embed(model, VARIED)
    want = reference(model_folder, VARIED, max_length=256)
    difference = np.abs(found - want).max(axis=1)
    assert difference.max() <= 1e-4, VARIED[int(difference.argmax())][:80]
    np.testing.assert_allclose(np.linalg.norm(found.astype(float), axis=1), 1.0, atol=1e-6)


def test_a_long_word_at_the_place_where_long_texts_are_cut_is_read_whole(
    model: _core.Embedder, model_folder: Path
) -> None:
    # words of more than 100 characters are unknown to the tokenizer; half of one is not
    texts = ["information " * n + "q" * 300 + " the end" * 20 for n in (240, 249, 252)]
    difference = np.abs(embed(model, texts) - reference(model_folder, texts, max_length=256)).max(axis=1)
    assert difference.max() <= 1e-4


def test_the_order_of_texts_does_not_matter(model: _core.Embedder) -> None:
    want = embed(model, VARIED)
    order = np.random.default_rng(0).permutation(len(VARIED))
    np.testing.assert_allclose(embed(model, [VARIED[i] for i in order]), want[order], atol=1e-5)
    np.testing.assert_allclose(embed(model, VARIED[7:8])[0], want[7], atol=1e-5)


def test_the_number_of_threads_does_not_change_a_bit(model: _core.Embedder, model_folder: Path) -> None:
    np.testing.assert_array_equal(embed(load(model_folder, n_threads=1), VARIED[:20]), embed(model, VARIED[:20]))


def test_close_meanings_have_close_vectors(model: _core.Embedder) -> None:
    cake, tart, code = embed(model, ["How to bake a cake", "Recipe for a tart", "Sort a list in Python"])
    assert cake @ tart > cake @ code + 0.2


# ---- a tiny model, for all that does not depend on the weights ---------------------------------------------------


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


def test_progress_goes_forward_to_the_estimated_number_of_tokens(tiny: Path) -> None:
    told: list[tuple[int, int]] = []
    threads = set()

    def progress(done: int, total: int) -> None:
        told.append((done, total))
        threads.add(threading.get_ident())

    texts = ["a b c " * (i % 9) for i in range(30_000)]
    embed(load(tiny), texts, progress=progress)
    assert told == sorted(told)
    total = sum(min(2 + len(text) // 4, 32) for text in texts)
    assert told[-1] == (total, total)
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
        "e = _core.Embedder(sys.argv[1], runtime=sys.argv[2], engine=sys.argv[3], n_threads=2)\n"
        "texts = ['some words that take a while ' * 60] * 6000\n"
        "print('ready', flush=True)\n"
        "try:\n    e.embed_into(texts, np.empty((6000, 384), dtype=np.float32)); print('finished', flush=True)\n"
        "except KeyboardInterrupt:\n    print('interrupted', flush=True)\n"
        "os._exit(0)\n"
    )
    arguments = [sys.executable, "-c", code, str(model_folder), str(onnxruntime_library()), ENGINE]
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
        "    try:\n        _core.Embedder(sys.argv[1], runtime=runtime, engine='ort')\n"
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
