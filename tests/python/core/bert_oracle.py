"""A BERT written in numpy, apart from ours, and small models to run it on: what our engines are compared with."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from lmsys_rs import _core
from lmsys_rs.config import onnxruntime_library
from scipy.special import erf
from threadpoolctl import threadpool_limits
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

Matrix = npt.NDArray[Any]
Tensors = dict[str, Matrix]


def load(folder: Path, **settings: Any) -> _core.Embedder:
    settings.setdefault("n_threads", 2)
    return _core.Embedder(str(folder), runtime=str(onnxruntime_library()), **settings)


def embed(embedder: _core.Embedder, texts: Any, **keywords: Any) -> Matrix:
    out = np.full((len(texts), embedder.dim), np.nan, dtype=np.float32)
    embedder.embed_into(texts, out, **keywords)
    return out


def fastest_f32() -> str:
    """The instruction set whose products are exact to float32."""
    return [name for name in _core.available_isas() if name in ("scalar", "neon", "avx2", "avx512f")][-1]


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
        tensors[name.removeprefix("roberta.")] = values.reshape(entry["shape"]).astype(np.float32)
    return tensors


def layer_norm(x: Matrix, tensors: Tensors, name: str, epsilon: float) -> Matrix:
    centred = x - x.mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + epsilon)
    return scaled * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]


def dense(x: Matrix, tensors: Tensors, name: str) -> Matrix:
    return x @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]


def bert(ids: list[int], tensors: Tensors, config: dict[str, Any], first: int = 0) -> Matrix:
    """Hidden states of one text without padding (Devlin et al. 2019), its positions from ``first`` on."""
    n, heads, width = len(ids), config["num_attention_heads"], config["hidden_size"] // config["num_attention_heads"]
    epsilon = config["layer_norm_eps"]
    x = tensors["embeddings.word_embeddings.weight"][ids]
    x = x + tensors["embeddings.position_embeddings.weight"][first : first + n]
    x = x + tensors["embeddings.token_type_embeddings.weight"][0]
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


def reference(
    folder: Path,
    texts: list[str],
    max_length: int,
    pooling: str = "mean",
    normalize: bool = True,
    first_position: int = 0,
) -> Matrix:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(max_length)
    tokenizer.no_padding()
    config = json.loads((folder / "config.json").read_text())
    tensors = read_safetensors(folder / "model.safetensors")
    rows = []
    # threads of small products cost more than they give on a busy machine
    with threadpool_limits(1):
        for text in texts:
            hidden = bert(tokenizer.encode(text).ids, tensors, config, first_position)
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


def write_tiny(folder: Path) -> Path:
    """A folder with a random BERT of two layers and eight columns."""
    write_tokenizer(folder / "tokenizer.json")
    write_safetensors(folder / "model.safetensors", tiny_tensors())
    (folder / "config.json").write_text(json.dumps(TINY))
    return folder
