"""kill -9 at any point loses nothing and doubles nothing: the machinery of benches/faults.py at a few points.

`python benches/faults.py --points 220` is the whole of it, `python benches/concurrency.py` the same for readers.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHES = Path(__file__).resolve().parents[2] / "benches"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")


def load_bench(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"bench_{name}", BENCHES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


faults = load_bench("faults")


class Unbroken:
    """The data, and what a child that nobody killed made of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "chats.jsonl"
        faults.write_data(self.data, seed=0)
        code, told, self.seconds = faults.run_child(self.data, folder / "whole.lmsys", faults.Fault("fsync", 10**9))
        assert code == 0
        self.calls: dict[str, int] = next(entry[1] for entry in told if entry[0] == "calls")
        self.state: dict[str, Any] = faults.state_of(folder / "whole.lmsys")

    def examine(self, fault: Any) -> Any:
        """Kill a child there, check what it left, do the work again, compare."""
        return faults.examine(fault, self.data, self.folder, self.state)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Unbroken:
    return Unbroken(tmp_path_factory.mktemp("faults"))


def test_unbroken_work_has_something_in_every_table(unbroken: Unbroken) -> None:
    assert unbroken.state["counts"]["n_conversations"] == faults.N_CONVERSATIONS
    assert unbroken.state["counts"]["n_runs"] == 2
    assert all(count >= 10 for count in unbroken.calls.values())
    assert len({row[-1] for row in unbroken.state["texts"]}) < len(unbroken.state["texts"])  # some are near-duplicates


@pytest.mark.parametrize(
    ("kind", "share", "after"),
    [
        ("commit", 0.25, False),
        ("commit", 0.6, True),
        ("rename", 0.35, True),
        ("rename", 0.95, False),
        ("fsync", 0.5, False),
        ("fsync", 0.8, True),
    ],
)
def test_killed_work_goes_on_to_the_same_end(unbroken: Unbroken, kind: str, share: float, after: bool) -> None:
    outcome = unbroken.examine(faults.Fault(kind, round(share * unbroken.calls[kind]), after))
    assert outcome.killed
    assert outcome.problem == ""


@pytest.mark.slow
def test_difference_would_be_noticed(unbroken: Unbroken) -> None:
    other = dict(unbroken.state, vectors="0" * 64)
    outcome = faults.examine(faults.Fault("commit", 10**9), unbroken.data, unbroken.folder, other)
    assert (outcome.killed, outcome.problem) == (False, "different from an unbroken run: vectors")


@pytest.mark.slow
def test_thirty_points(unbroken: Unbroken) -> None:
    chosen = faults.faults(unbroken.calls, unbroken.seconds, points=30, seed=7)
    outcomes = [unbroken.examine(fault) for fault in chosen]
    assert [outcome for outcome in outcomes if outcome.problem] == []
    assert sum(outcome.killed for outcome in outcomes) >= 25


@pytest.mark.slow
def test_readers_see_whole_states_while_one_writes() -> None:
    command = [sys.executable, str(BENCHES / "concurrency.py"), "--seconds", "8", "--readers", "3"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "3 readers, 1 writer, 8 s: 0 failed" in result.stdout
