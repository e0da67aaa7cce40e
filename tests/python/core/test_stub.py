"""Do the types that users see match the binary that they run?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from lmsys_rs import _core

STUB = Path(_core.__file__).with_name("_core.pyi")


REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.mark.slow  # stubtest reads the types of numpy anew each time: 15 s
def test_the_stub_matches_the_binary() -> None:
    # in the repository, for its settings and its cache
    done = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "lmsys_rs._core"], capture_output=True, text=True, cwd=REPOSITORY
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_everything_public_has_a_docstring() -> None:
    for name in _core.__all__:
        value = getattr(_core, name)
        if name.startswith("_"):
            continue
        assert value.__doc__, name
        if isinstance(value, type):
            for member, attribute in vars(value).items():
                assert member.startswith("_") or member == "get_params" or attribute.__doc__, f"{name}.{member}"


def test_all_names_of_the_binary_are_listed() -> None:
    public = {name for name in dir(_core) if not name.startswith("_")}
    assert set(_core.__all__) == public | {"__version__"}
    assert all(f'"{name}"' in STUB.read_text() for name in _core.__all__)
