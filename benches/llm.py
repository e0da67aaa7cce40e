"""Asking models, against a provider on loopback in a process of its own: limits, faults, kill -9, time and memory.

    python benches/llm.py pace      # rpm 600, tpm 100000 over 2,000 calls, and where tokens bind (7 minutes)
    python benches/llm.py faults    # every fault at 10 %, and all of them at once
    python benches/llm.py kill      # kill -9 in the middle, then resume
    python benches/llm.py speed     # 1,000 requests, 50 at a time, 0.3 s each: time / ideal, peak memory

One JSON object a line. The journal is a file that is synced after each entry, as dear as any store.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parents[1] / "tests" / "python" / "llm"))

from lmsys_rs.llm import Answer, BatchJob, JournalEntry, Limits, Request, ask_all, resolve_model  # noqa: E402
from stand_in import Elsewhere, serving_process  # noqa: E402

WINDOW_S = 60.0
SCHEMA = {
    "type": "object",
    "properties": {"title": {"type": "string"}, "words": {"type": "array", "items": {"type": "string"}, "minItems": 4}},
    "required": ["title", "words"],
    "additionalProperties": False,
}
FAULTS = (
    *("429", "429-date", "500", "timeout", "cut-before", "cut-body", "slow-stream"),
    *("malformed", "overlong", "fenced", "refusal", "wrong-count"),
)


class FileJournal:
    """One entry a line, synced."""

    def __init__(self, path: Path) -> None:
        self.entries: dict[str, JournalEntry] = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    entry = JournalEntry(**json.loads(line))
                except ValueError:
                    continue  # half a line: killed while writing
                self.entries[entry.key] = entry
        self.file = path.open("a", encoding="utf-8")

    def get_many(self, keys: Sequence[str]) -> dict[str, JournalEntry]:
        return {key: self.entries[key] for key in keys if key in self.entries}

    def put(self, entry: JournalEntry) -> None:
        self.entries[entry.key] = entry
        self.file.write(json.dumps(asdict(entry)) + "\n")
        self.file.flush()
        os.fsync(self.file.fileno())

    def put_batch(self, job: BatchJob) -> None:
        raise NotImplementedError

    def open_batches(self, model: str) -> list[BatchJob]:
        return []


def child(job: dict[str, Any]) -> None:
    """Ask; what a user's process would do, with everything imported that it would have imported."""
    import lmsys_rs
    import polars as pl
    from lmsys_rs import _core

    assert lmsys_rs
    assert _core
    assert pl.DataFrame({"a": [1]}).height == 1
    model = resolve_model("openai/gpt-4o-mini", base_url=job["url"], price=(0.15, 0.6))
    rng = random.Random(job.get("seed", 0))
    low, high = job.get("words", (10, 40))
    requests = [
        Request(
            purpose="bench",
            system="Name the group of texts.",
            messages=f"{i}: " + " ".join(f"w{rng.randrange(10**6)}" for _ in range(rng.randint(low, high))),
            schema=SCHEMA,
            max_output_tokens=256,
        )
        for i in range(job["n"])
    ]
    limits = Limits(**{"rpm": 0, "tpm": 0, "timeout_s": 2.0, **job.get("limits", {})})
    usage = resource.getrusage(resource.RUSAGE_SELF)
    before = usage.ru_maxrss, usage.ru_utime + usage.ru_stime
    report = ask_all(model, requests, limits=limits, journal=FileJournal(Path(job["journal"])))
    usage = resource.getrusage(resource.RUSAGE_SELF)
    result = {
        "answered": sum(isinstance(outcome, Answer) for outcome in report.outcomes),
        "reasons": sorted({getattr(outcome, "reason", "") for outcome in report.outcomes} - {""})[:5],
        "n_calls": report.n_calls,
        "n_cached": report.n_cached,
        "seconds": round(report.seconds, 3),
        "peak_rss_mb": round(usage.ru_maxrss * 1024 / 1e6),
        "rss_before_mb": round(before[0] * 1024 / 1e6),
        "cpu_ms_per_call": round((usage.ru_utime + usage.ru_stime - before[1]) * 1e3 / max(1, report.n_calls), 2),
    }
    sys.stdout.write(json.dumps(result) + "\n")


def start(**job: Any) -> subprocess.Popen[str]:
    environment = {**os.environ, "OPENAI_API_KEY": "sk-bench", "LMSYS_REUSE": "0"}
    command = [sys.executable, str(HERE), "child", "--job", json.dumps(job)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def asked(**job: Any) -> dict[str, Any]:
    process = start(**job)
    out, _ = process.communicate()
    assert process.returncode == 0, f"child ended with {process.returncode}"
    result: dict[str, Any] = json.loads(out)
    return result


def most_in_a_window(stamps: Sequence[tuple[float, int]]) -> int:
    """The largest sum in any 60 seconds, both ends counted."""
    ordered = sorted(stamps)
    most = total = start = 0
    for at, amount in ordered:
        total += amount
        while ordered[start][0] < at - WINDOW_S:
            total -= ordered[start][1]
            start += 1
        most = max(most, total)
    return most


def pace(folder: Path) -> None:
    rpm, tpm = 600, 100_000
    for name, n, words in (("requests bind", 2000, (5, 20)), ("tokens bind", 800, (60, 300))):
        with serving_process(latency=[0.1, 0.5], keep_prompts=False) as provider:
            result = asked(
                url=provider.url,
                n=n,
                words=words,
                journal=str(folder / f"{n}.jsonl"),
                limits={"rpm": rpm, "tpm": tpm, "concurrency": 50},
            )
            log = provider.log()
        tokens = [call["input_tokens"] + call["output_tokens"] for call in log]
        arrivals = [call["arrived"] for call in log]
        minutes = (max(arrivals) - min(arrivals)) / 60
        gaps = [b - a for a, b in itertools.pairwise(sorted(arrivals))]
        tell(
            "pace",
            name,
            n=n,
            requests_most_in_60s=most_in_a_window([(at, 1) for at in arrivals]),
            tokens_most_in_60s_by_arrival=most_in_a_window(list(zip(arrivals, tokens, strict=True))),
            tokens_most_in_60s_by_completion=most_in_a_window(
                list(zip((call["completed"] for call in log), tokens, strict=True))
            ),
            rpm_share_used=round((len(log) - 1) / minutes / rpm, 4),
            tpm_share_used=round(sum(tokens[:-1]) / minutes / tpm, 4),
            longest_silence_s=round(max(gaps), 2),
            **result,
        )


def faults(folder: Path) -> None:
    shares = {name: {name: 0.1} for name in FAULTS}
    for name, share in {**shares, "all at once, 3 % each": dict.fromkeys(FAULTS, 0.03)}.items():
        with serving_process(latency=0.05, faults=share, seed=1, retry_after=0.5, hold=5.0) as provider:
            path = folder / f"{name}.jsonl"
            result = asked(url=provider.url, n=400, journal=str(path), limits={"concurrency": 32, "max_repairs": 4})
            log = provider.log()
        tell("faults", name, n=400, calls=len(log), paid=paid(log), paid_twice=twice(log), **result)


def kill(folder: Path) -> None:
    for seed in range(5):
        mixed = dict.fromkeys(FAULTS, 0.03)
        with serving_process(latency=[0.05, 0.3], faults=mixed, seed=seed, retry_after=0.3, hold=5.0) as provider:
            job = {
                "url": provider.url,
                "n": 400,
                "journal": str(folder / f"kill{seed}.jsonl"),
                "limits": {"concurrency": 16, "max_repairs": 4},
            }
            process = start(**job)
            wait_for_calls(provider, 150 + 50 * seed)
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed = time.monotonic()
            before = provider.log()
            in_flight = sum(1 for c in before if c["completed"] is None or c["completed"] > killed - 0.02)
            result = asked(**job)
            log = provider.log()
        tell(
            "kill",
            f"after {len(before)} calls",
            paid_before=paid(before),
            in_flight_at_most=min(16, in_flight),
            paid_twice=twice(log),
            paid=paid(log),
            **result,
        )


def speed(folder: Path) -> None:
    ideal = 1000 / 50 * 0.3
    for attempt in range(3):
        with serving_process(latency=0.3) as provider:
            path = folder / f"speed{attempt}.jsonl"
            result = asked(url=provider.url, n=1000, journal=str(path), limits={"concurrency": 50})
            log = provider.log()
        span = max(call["completed"] for call in log) - min(call["arrived"] for call in log)
        tell(
            "speed",
            f"run {attempt}",
            ideal_s=ideal,
            ratio=round(result["seconds"] / ideal, 3),
            span_s=round(span, 2),
            **result,
        )


def wait_for_calls(provider: Elsewhere, n: int) -> None:
    while len(provider.log()) < n:
        time.sleep(0.05)


def paid(log: list[dict[str, Any]]) -> int:
    return sum(call["paid"] for call in log)


def twice(log: list[dict[str, Any]]) -> int:
    return sum(n - 1 for n in Counter(call["body_hash"] for call in log if call["paid"]).values())


def tell(bench: str, case: str, **figures: Any) -> None:
    print(json.dumps({"bench": bench, "case": case, **figures}), flush=True)


BENCHES = {"pace": pace, "faults": faults, "kill": kill, "speed": speed}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", choices=[*BENCHES, "all", "child"])
    parser.add_argument("--job", type=json.loads)
    arguments = parser.parse_args()
    if arguments.which == "child":
        child(arguments.job)
        return
    with tempfile.TemporaryDirectory() as folder:
        for name, bench in BENCHES.items():
            if arguments.which in (name, "all"):
                bench(Path(folder))


if __name__ == "__main__":
    main()
