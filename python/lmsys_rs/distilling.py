"""How an encoder becomes a table of token vectors: hundreds of times faster, and good enough to sort by topic.

Follows model2vec (Tulkens and van Dongen 2024) and writes its folder, with other weights: decisions/0019 has what was
tried. It knows no workspace.
"""

from __future__ import annotations

import json
import re
import struct
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lmsys_rs import _core
from lmsys_rs.config import onnxruntime_library, settings
from lmsys_rs.errors import InvalidInputError, ModelError
from lmsys_rs.models import resolve
from lmsys_rs.records import Event, OnEvent, ignore_events

__all__ = ["DIMS", "SIF", "distill"]

DIMS = 256
SIF = 1e-3  # a of a / (a + p), Arora et al. 2017
SPREAD = 0.25  # exponent of the variances that columns are divided by; 0.5 would be whitening
MEASURED = 0.5  # share of measured frequencies, beside Zipf's
ASCII_RANK = 20  # single ASCII characters (mostly punctuation) are about as frequent as the 20th word
MAX_LENGTH = 512  # tokens, as model2vec

Floats = npt.NDArray[np.float64]
Vocabulary = list[tuple[str, int]]

UNUSED = re.compile(r"\[unused\d+\]|\[PAD\]")


def distill(
    source: str | Path,
    output: str | Path,
    *,
    dims: int = DIMS,
    sif: float = SIF,
    texts: Any | None = None,
    on_event: OnEvent = ignore_events,
) -> Path:
    """Make a table of token vectors out of an encoder; every place that takes a model takes the folder.

    Args:
        source: what `Encoder` takes: a registry name or a model folder.
        output: a folder that does not exist yet, or is empty.
        dims: columns; at most the encoder's.
        sif: frequent tokens count less: ``sif / (sif + p)``, with p by Zipf's law from the rank in the vocabulary.
        texts: strings like those that will be embedded; they decide which directions the columns keep.

    Returns:
        The folder. Its bytes depend on the arguments (and the encoder's rounding) alone.

    Raises:
        InvalidInputError: a number is out of range, or ``output`` holds something.
        ModelError: the encoder cannot be loaded, or is such a table already.

    Example:
        >>> distill("all-MiniLM-L6-v2", "minilm-table")  # doctest: +SKIP
        PosixPath('minilm-table')
    """
    if not 0 < sif < 1:
        raise InvalidInputError(f"sif must be between 0 and 1: got {sif}")
    output = Path(output)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InvalidInputError(f"output must be a new folder: {output} exists and holds something")
    folder = resolve(source)
    if folder.is_file():
        folder = folder.parent if (folder.parent / "tokenizer.json").is_file() else folder.parent.parent
    tokenizer = _core.Tokenizer(str(folder / "tokenizer.json"))
    file, vocabulary = _without_unused(json.loads((folder / "tokenizer.json").read_text(encoding="utf-8")), tokenizer)
    vectors = _encode(folder, tokenizer, vocabulary, on_event)
    if not 1 <= dims <= vectors.shape[1]:
        raise InvalidInputError(f"dims must be between 1 and the encoder's {vectors.shape[1]}: got {dims}")
    frequencies = _zipf(vocabulary)
    typical = frequencies
    if texts is not None and len(texts):
        ids = [token_id for _, token_id in vocabulary]
        counts = tokenizer.count(texts, max_length=MAX_LENGTH)[ids].astype(np.float64)
        typical = (1 - MEASURED) * frequencies + MEASURED * counts / max(counts.sum(), 1.0)
    on_event(Event("note", "distill", message="finding the directions that matter"))
    table = _principal(vectors, typical, dims) * (sif / (sif + frequencies))[:, None]
    config = {
        "model_type": "model2vec",
        "architectures": ["StaticModel"],
        "tokenizer_name": str(source),
        "apply_pca": dims,
        "sif_coefficient": sif,
        "hidden_dim": dims,
        "seq_length": 1_000_000,
        "max_length": MAX_LENGTH,
        "normalize": True,
        "pooling": "mean",
        "embedding_dtype": "float16",
    }
    _write(output, table.astype(np.float16), file, config)
    return output


def _encode(
    folder: Path, tokenizer: _core.Tokenizer, vocabulary: Vocabulary, on_event: OnEvent
) -> npt.NDArray[np.float32]:
    """One row per token: the mean of the states of the token between the special ones, not normalised."""
    runtime = onnxruntime_library()
    embedder = _core.Embedder(
        str(folder),
        runtime=None if runtime is None else str(runtime),
        pooling="mean",
        normalize=False,
        n_threads=settings().n_threads,
    )
    if embedder.engine == "static":
        raise ModelError(f"{folder} is a table of token vectors already: only an encoder can be distilled")
    before, after = tokenizer.around
    rows = np.empty((len(vocabulary), embedder.dim), dtype=np.float32)
    n = len(rows)

    def progress(done: int, total: int) -> None:
        on_event(Event("advanced", "distill", n * done // max(total, 1), n, "tokens"))

    on_event(Event("started", "distill", 0, n, "tokens"))
    embedder.embed_tokens_into([[*before, token_id, *after] for _, token_id in vocabulary], rows, progress=progress)
    on_event(Event("finished", "distill", n, n, "tokens"))
    return rows


def _without_unused(file: dict[str, Any], tokenizer: _core.Tokenizer) -> tuple[dict[str, Any], Vocabulary]:
    """The tokenizer's file and its tokens (with their ids in the encoder), less what no text gives; ids close up.

    Only WordPiece names such tokens; other vocabularies are taken whole, for their ids are positions in a list.
    """
    vocabulary = tokenizer.vocabulary()
    kept = vocabulary
    if file["model"].get("type") == "WordPiece":
        kept = [(token, token_id) for token, token_id in vocabulary if not UNUSED.fullmatch(token)]
        number = {token: i for i, (token, _) in enumerate(kept)}
        file["model"]["vocab"] = {token: number[token] for token in file["model"]["vocab"] if token in number}
        file["added_tokens"] = [
            {**token, "id": number[token["content"]]} for token in file["added_tokens"] if token["content"] in number
        ]
    elif [token_id for _, token_id in vocabulary] != list(range(len(vocabulary))):
        raise ModelError("the tokenizer's ids have gaps: a table has one row per id")
    return {**file, "truncation": None, "padding": None, "post_processor": None}, kept


def _zipf(vocabulary: Vocabulary) -> Floats:
    """How frequent each token is, by Zipf's law.

    Vocabularies are sorted by frequency, but begin with single characters in the order of Unicode: these come last
    here, except for those that every text is full of.
    """
    short = np.array([len(token.removeprefix("##").lstrip("Ġ▁")) <= 1 for token, _ in vocabulary])
    special = np.array([bool(re.fullmatch(r"\[[A-Z]+\]|<[^>]+>", token)) for token, _ in vocabulary])
    ranks = np.empty(len(vocabulary))
    ranks[np.argsort(short | special, kind="stable")] = np.arange(len(vocabulary))
    ranks[np.array([len(token) == 1 and token.isascii() for token, _ in vocabulary])] = ASCII_RANK
    frequencies: Floats = 1 / (ranks + 2)
    frequencies /= frequencies.sum()
    return frequencies


def _principal(vectors: npt.NDArray[np.float32], frequencies: Floats, dims: int) -> Floats:
    """Coordinates along the directions in which tokens differ most, each as often as it occurs; long axes shortened."""
    mean = frequencies @ vectors
    centred = vectors - mean
    scaled = (centred * np.sqrt(frequencies * len(vectors))[:, None]).astype(np.float32)
    # with its mirror image the mean is zero, so that the covariance of the two is the weighted one
    pca = _core.PCA(n_components=dims).fit(np.concatenate([scaled, -scaled]))
    variances = pca.explained_variance_.astype(np.float64)
    # a direction of (nearly) no variance is rounding
    relative = np.maximum(variances / max(variances[0], np.finfo(np.float32).tiny), 1e-6)
    coordinates: Floats = (centred @ pca.components_.T.astype(np.float64)) / relative**SPREAD
    return coordinates


def _write(output: Path, table: npt.NDArray[np.float16], tokenizer: dict[str, Any], config: Mapping[str, Any]) -> None:
    """All files aside, then in place at once. modules.json is for sentence-transformers."""
    modules = [
        {"idx": 0, "name": "0", "path": ".", "type": "sentence_transformers.models.StaticEmbedding"},
        {"idx": 1, "name": "1", "path": "1_Normalize", "type": "sentence_transformers.models.Normalize"},
    ]
    entry = {"dtype": "F16", "shape": list(table.shape), "data_offsets": [0, table.nbytes]}
    header = json.dumps({"embeddings": entry}).encode()
    header += b" " * (-len(header) % 8)  # aligned, as the format asks
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}-", dir=output.parent) as aside:
        fresh = Path(aside) / output.name
        fresh.mkdir()
        (fresh / "model.safetensors").write_bytes(
            struct.pack("<Q", len(header)) + header + table.astype("<f2").tobytes()
        )
        for name, content in (("tokenizer.json", tokenizer), ("config.json", config), ("modules.json", modules)):
            (fresh / name).write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
        if output.exists():
            output.rmdir()
        fresh.rename(output)
