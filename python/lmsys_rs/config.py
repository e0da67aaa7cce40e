"""Where settings come from: the only module that reads environment variables, and where outside files are kept.

It deliberately keeps no state: every call reads the environment again, so tests can change it. It writes one variable,
see `bound_polars`.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lmsys_rs.errors import InvalidInputError, ModelError

__all__ = ["Settings", "bound_polars", "hub_token", "onnxruntime_library", "provider_key", "settings"]

DEFAULT_HUB = "https://huggingface.co"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the environment says; every field has a default.

    Attributes:
        cache_dir: folder for downloaded models (``XDG_CACHE_HOME``, or the platform's own cache folder).
        workspace: ``LMSYS_WORKSPACE``, the workspace of commands that name none.
        hub_endpoint: ``HF_ENDPOINT``, base address of the Hugging Face hub.
        n_threads: ``RAYON_NUM_THREADS``, bound of every thread pool; None means one per core.
        isa: ``LMSYS_ISA``, the kernels to use instead of the best ones of this machine.
        reuse: False where ``LMSYS_REUSE`` is 0: no vectors are looked for in other workspaces, none are offered.
        no_color: ``NO_COLOR`` is set and not empty.
        in_ci: ``CI`` is ``true``: a missing tool is then a failure, not a reason to skip.
    """

    cache_dir: Path
    workspace: Path | None
    hub_endpoint: str
    n_threads: int | None
    isa: str | None
    reuse: bool
    no_color: bool
    in_ci: bool


def settings() -> Settings:
    """Read the environment now.

    Raises:
        InvalidInputError: ``RAYON_NUM_THREADS`` is not a whole number.
    """
    workspace = os.environ.get("LMSYS_WORKSPACE")
    return Settings(
        cache_dir=_cache_dir(),
        workspace=Path(workspace) if workspace else None,
        hub_endpoint=(os.environ.get("HF_ENDPOINT") or DEFAULT_HUB).rstrip("/"),
        n_threads=_n_threads(),
        isa=os.environ.get("LMSYS_ISA") or None,
        reuse=os.environ.get("LMSYS_REUSE", "") != "0",
        no_color=bool(os.environ.get("NO_COLOR")),
        in_ci=os.environ.get("CI", "").lower() == "true",
    )


def hub_token() -> str | None:
    """The user's token for the Hugging Face hub: ``HF_TOKEN``, or what ``hf auth login`` stored; never kept by us."""
    token = os.environ.get("HF_TOKEN") or os.environ.get("HUGGING_FACE_HUB_TOKEN")
    if token:
        return token.strip() or None
    home = os.environ.get("HF_HOME")
    folder = Path(home) if home else Path.home() / ".cache" / "huggingface"
    stored = Path(os.environ.get("HF_TOKEN_PATH") or folder / "token")
    try:
        return stored.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def provider_key(names: Sequence[str], *, service: str | None, user: str) -> str | None:
    """The key of an LLM provider; never kept by us.

    Args:
        names: environment variables, the first that is set counts.
        service, user: where the system's keyring has it; asked only if the package ``keyring`` is installed. No
            service: not asked, as a keyring may want to be unlocked first.
    """
    for name in names:
        key = os.environ.get(name, "").strip()
        if key:
            return key
    if service is None:
        return None
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError:
        return None
    try:
        return (keyring.get_password(service, user) or "").strip() or None
    except (KeyringError, OSError):  # no keyring on this machine, or it is locked
        return None


def bound_polars() -> None:
    """Give Polars the thread bound of everything else, ``RAYON_NUM_THREADS``.

    Polars reads ``POLARS_MAX_THREADS`` once, when it is imported, and offers no other way; a value that is set stays.
    """
    n_threads = os.environ.get("RAYON_NUM_THREADS", "").strip()
    if n_threads.isdigit() and int(n_threads):
        os.environ.setdefault("POLARS_MAX_THREADS", n_threads)


def onnxruntime_library() -> Path | None:
    """Absolute path of the ONNX Runtime shared library inside the installed ``onnxruntime`` package; None without one.

    The package is located, not imported: its Python half is not needed. ``onnxruntime-gpu`` installs the same package.

    Raises:
        ModelError: the package is installed but holds no shared library.
    """
    spec = importlib.util.find_spec("onnxruntime")
    if spec is None or not spec.submodule_search_locations:
        return None
    capi = Path(next(iter(spec.submodule_search_locations))) / "capi"
    for pattern in ("libonnxruntime.so*", "libonnxruntime*.dylib", "onnxruntime.dll"):
        found = sorted(capi.glob(pattern))
        if found:
            return found[0].resolve()
    raise ModelError(
        f"the package onnxruntime holds no shared library: none in {capi}",
        hint="pip install --force-reinstall onnxruntime",
    )


def _cache_dir() -> Path:
    xdg = os.environ.get("XDG_CACHE_HOME")
    if xdg:
        return Path(xdg) / "lmsys"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "lmsys"
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "lmsys" / "Cache"
    return Path.home() / ".cache" / "lmsys"


def _n_threads() -> int | None:
    text = os.environ.get("RAYON_NUM_THREADS", "").strip()
    if not text:
        return None
    if not text.isdigit():
        raise InvalidInputError(f"RAYON_NUM_THREADS must be a whole number: {text!r}")
    return int(text) or None
