"""kill -9 while answers come in: only calls in flight are made again. `benches/llm.py kill` is the whole of it."""

from __future__ import annotations

import importlib.util
import signal
import sys
from pathlib import Path
from types import ModuleType

import pytest
from stand_in import serving_process

BENCH = Path(__file__).resolve().parents[3] / "benches" / "llm.py"


def load_bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_llm", BENCH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_killed_process_repeats_only_calls_in_flight(tmp_path: Path) -> None:
    bench = load_bench()
    with serving_process(latency=[0.05, 0.2], faults={"malformed": 0.1, "500": 0.05}, seed=1) as provider:
        job = {
            "url": provider.url,
            "n": 150,
            "journal": str(tmp_path / "journal.jsonl"),
            "limits": {"concurrency": 8, "max_repairs": 4},
        }
        process = bench.start(**job)
        bench.wait_for_calls(provider, 60)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        result = bench.asked(**job)
        log = provider.log()
    assert result["answered"] == 150
    assert result["n_cached"] > 20
    assert bench.twice(log) <= 8
