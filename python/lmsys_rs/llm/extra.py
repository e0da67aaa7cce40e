"""The packages of the extra ``llm``: loaded when the first call needs them, and named when they are missing."""

from __future__ import annotations

import importlib

from lmsys_rs.errors import LmsysError

__all__ = ["require_extra"]

PACKAGES = ("httpx", "httpx_sse", "jsonschema")


def require_extra() -> None:
    """Load the packages that this part needs.

    Raises:
        LmsysError: one of them is not installed.
    """
    for name in PACKAGES:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise LmsysError(
                f"asking a language model needs {name}, which is not installed", hint="pip install 'lmsys-rs[llm]'"
            ) from error
