"""Does every instruction set give the vectors of the reference, for every kind of model and text?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bert_oracle import VARIED, Matrix, Tensors, embed, load, reference, write_safetensors, write_tiny
from lmsys_rs import _core
from lmsys_rs.errors import InvalidInputError, ModelError
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

ISAS = _core.available_isas()


@pytest.fixture(autouse=True)
def auto_again() -> Iterator[None]:
    yield
    _core.configure(isa="auto")


def native(folder: Path, isa: str, **settings: Any) -> _core.Embedder:
    _core.configure(isa=isa)
    return load(folder, engine="native", **settings)


def is_bf16(embedder: _core.Embedder) -> bool:
    return "bf16" in embedder.device


@pytest.fixture(scope="module")
def expected(model_folder: Path) -> Matrix:
    return reference(model_folder, VARIED, max_length=256)


@pytest.mark.parametrize("isa", ISAS)
def test_every_instruction_set_gives_the_vectors_of_the_reference(
    model_folder: Path, expected: Matrix, isa: str
) -> None:
    embedder = native(model_folder, isa)
    assert embedder.engine == "native"
    cosines = (embed(embedder, VARIED) * expected).sum(axis=1)
    # what the engine promises for bf16: mean 0.9999, worst 0.999
    worst, mean = (0.999, 0.9999) if is_bf16(embedder) else (1 - 1e-6, 1 - 1e-6)
    assert cosines.min() >= worst, VARIED[int(cosines.argmin())][:80]
    assert cosines.mean() >= mean


@pytest.mark.parametrize("isa", ISAS)
def test_a_vector_does_not_depend_on_its_neighbours_or_the_threads(model_folder: Path, isa: str) -> None:
    texts = [text for text in VARIED if len(text) < 2_000]
    want = embed(native(model_folder, isa, n_threads=1), texts)
    order = np.random.default_rng(0).permutation(len(texts) * 3)
    shuffled = embed(native(model_folder, isa, n_threads=7), [(texts * 3)[i] for i in order])
    np.testing.assert_array_equal(shuffled, np.tile(want, (3, 1))[order])
    np.testing.assert_array_equal(embed(native(model_folder, isa), texts[8:9])[0], want[8])


def test_instruction_sets_that_are_not_there_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="unknown instruction set 'mmx'"):
        _core.configure(isa="mmx")
    missing = {"scalar", "neon", "avx2", "avx512f", "avx512", "amx"} - set(ISAS)
    for isa in missing:
        with pytest.raises(InvalidInputError, match=f"cannot run the kernels of '{isa}'"):
            _core.configure(isa=isa)


def test_odd_texts_have_unit_vectors(model_folder: Path) -> None:
    odd = ["", " ", "\x00", "x" * 1_000_000, "é" * 400_000, "🚀" * 5_000, "👩‍💻", "a " * 100_000, "\u202e", "؀" * 50]
    found = embed(native(model_folder, "auto"), odd)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(np.linalg.norm(found.astype(float), axis=1), 1.0, atol=1e-5)
    np.testing.assert_array_equal(found[0], found[1])


def test_a_hundred_thousand_texts_of_one_letter(tmp_path: Path) -> None:
    embedder = native(write_tiny(tmp_path), "auto")
    letters = [chr(ord("a") + i % 26) for i in range(100_000)]
    found = embed(embedder, letters)
    np.testing.assert_array_equal(found, found[np.arange(100_000) % 26])


# ---- other members of the family ---------------------------------------------------------------------------------

MULTILINGUAL = {
    "model_type": "xlm-roberta",
    "hidden_size": 48,
    "num_attention_heads": 3,
    "num_hidden_layers": 3,
    "intermediate_size": 100,
    "max_position_embeddings": 66,
    "vocab_size": 300,
    "pad_token_id": 1,
    "type_vocab_size": 1,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-5,
}
MULTILINGUAL_TEXTS = ["hello world", "你好世界", "", "Привет, мир! Как дела?", "مرحبا بالعالم", "🚀🚀", "слово " * 80]


def write_multilingual(folder: Path, prefix: str = "") -> Path:
    """Multilingual-E5's architecture with random weights: XLM-R's positions, and a unigram tokenizer."""
    rng = np.random.default_rng(7)
    hidden, wide = MULTILINGUAL["hidden_size"], MULTILINGUAL["intermediate_size"]
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (300, hidden),
        "embeddings.position_embeddings.weight": (66, hidden),
        "embeddings.token_type_embeddings.weight": (1, hidden),
        "embeddings.LayerNorm": (hidden,),
    }
    for i in range(3):
        layer = f"encoder.layer.{i}"
        for part in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            shapes |= {f"{layer}.{part}.weight": (hidden, hidden), f"{layer}.{part}.bias": (hidden,)}
        shapes |= {f"{layer}.intermediate.dense.weight": (wide, hidden), f"{layer}.intermediate.dense.bias": (wide,)}
        shapes |= {f"{layer}.output.dense.weight": (hidden, wide), f"{layer}.output.dense.bias": (hidden,)}
        shapes |= {f"{layer}.attention.output.LayerNorm": (hidden,), f"{layer}.output.LayerNorm": (hidden,)}
    tensors: Tensors = {}
    for name, shape in shapes.items():
        if name.endswith("LayerNorm"):
            tensors |= {f"{name}.weight": 1 + rng.normal(scale=0.2, size=shape), f"{name}.bias": rng.normal(size=shape)}
        else:
            tensors[name] = rng.normal(scale=0.2, size=shape)
    write_safetensors(folder / "model.safetensors", {f"{prefix}{name}": values for name, values in tensors.items()})
    characters = sorted({character for text in MULTILINGUAL_TEXTS for character in text if character != " "})
    pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [(character, -3.0 - i / 100) for i, character in enumerate(characters)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=3, byte_fallback=False))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps(MULTILINGUAL))
    return folder


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_multilingual_model_agrees_with_the_reference(tmp_path: Path, isa: str, pooling: Any) -> None:
    embedder = native(write_multilingual(tmp_path), isa, pooling=pooling)
    # two of the 66 rows of positions are never used
    assert embedder.max_length == 64
    want = reference(tmp_path, MULTILINGUAL_TEXTS, 64, pooling, first_position=2)
    found = embed(embedder, MULTILINGUAL_TEXTS)
    if is_bf16(embedder):
        assert (found * want).sum(axis=1).min() >= 0.999
    else:
        np.testing.assert_allclose(found, want, atol=1e-5)


def test_the_multilingual_model_is_the_same_with_onnx_runtime(tmp_path: Path) -> None:
    write_multilingual(tmp_path, prefix="roberta.")
    want = reference(tmp_path, MULTILINGUAL_TEXTS, 64, first_position=2)
    np.testing.assert_allclose(embed(load(tmp_path, engine="ort"), MULTILINGUAL_TEXTS), want, atol=1e-5)


def test_an_onnx_folder_is_refused_with_the_engine_to_use(tmp_path: Path) -> None:
    write_tiny(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "model.onnx")
    with pytest.raises(ModelError, match=r"engine native needs model\.safetensors"):
        load(tmp_path, engine="native")
    with pytest.raises(InvalidInputError, match="engine must be auto, native, ort"):
        load(tmp_path, engine="cuda")
