"""How the Rust core is set up: kernels and threads as the environment asks, before its first use.

It is called where the package is entered (`__init__`, the command line); it computes nothing.
"""

from __future__ import annotations

from functools import cache

from lmsys_rs import _core
from lmsys_rs.config import settings

__all__ = ["configure_engine"]


@cache
def configure_engine() -> None:
    """Apply ``LMSYS_ISA`` and ``RAYON_NUM_THREADS``, once per process.

    Raises:
        InvalidInputError: a value cannot be used.
    """
    wanted = settings()
    if wanted.isa is not None or wanted.n_threads is not None:
        _core.configure(isa=wanted.isa, n_threads=wanted.n_threads)
