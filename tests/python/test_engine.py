"""The environment decides kernels and threads; a value that cannot be used is a clear error."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


def run(code: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *code], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


FIT = """
import numpy as np, lmsys_rs as lm, os
x = np.random.default_rng(0).normal(size=(20_000, 16)).astype(np.float32)
labels = lm.KMeans(n_clusters=20, random_state=1).fit(x).labels_
names = [open(f"/proc/self/task/{task}/comm").read() for task in os.listdir("/proc/self/task")]
print(sum(name.startswith("lmsys-") for name in names), hash(labels.tobytes()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
def test_thread_count_is_bounded_and_does_not_change_the_result() -> None:
    found = {}
    for n_threads in ("1", "3"):
        result = run(
            ["-c", FIT], RAYON_NUM_THREADS=n_threads, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", PYTHONHASHSEED="0"
        )
        assert result.returncode == 0, result.stderr
        found[n_threads] = [int(part) for part in result.stdout.split()]
    assert [found["1"][0], found["3"][0]] == [1, 3]
    assert found["1"][1] == found["3"][1]


def test_polars_obeys_the_same_bound() -> None:
    code = "import lmsys_rs, polars; print(polars.thread_pool_size())"
    assert run(["-c", code], RAYON_NUM_THREADS="1").stdout == "1\n"
    # what the user says of Polars itself stays
    assert run(["-c", code], RAYON_NUM_THREADS="1", POLARS_MAX_THREADS="2").stdout == "2\n"


@pytest.mark.parametrize(("name", "value"), [("RAYON_NUM_THREADS", "many"), ("LMSYS_ISA", "nonsense")])
def test_unusable_value_is_one_line_and_exit_1(name: str, value: str) -> None:
    result = run(["-m", "lmsys_rs", "models", "list"], **{name: value})
    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert value in result.stderr
    assert "Traceback" not in result.stderr


def test_scalar_kernels_can_be_asked_for() -> None:
    result = run(["-c", "import lmsys_rs; print(lmsys_rs.KMeans)"], LMSYS_ISA="scalar")
    assert result.returncode == 0, result.stderr
