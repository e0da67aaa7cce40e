"""Is anything lost or done twice when the program is killed? kill -9 at many points of load, embed, cluster and label.

    python benches/faults.py --points 220 --seed 0

A child does the whole work on a small file, in small batches. It is killed at a chosen point: before or after the n-th
time that it syncs a file, renames one or commits a transaction, or after some milliseconds. Then the state it left is
checked (what it had reported must be there, and `verify` must find nothing wrong but leftovers), the same work is done
again to its end, and the result is compared with that of a child nobody killed: conversations, turns, queries, texts,
vectors, near-duplicates, runs, members and titles. Seeded; prints one line per fault kind and exits with 1 on any
difference.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

N_CONVERSATIONS = 1_200
BATCH = 150
EMBED_BATCH = 120
HOOKS = ("fsync", "rename", "commit")
STAGES = ("load", "embed", "cluster", "label")


@dataclass(frozen=True)
class Fault:
    """Where the child is killed: at the ``n``-th call of a hook (before or after it), or after ``n`` milliseconds."""

    kind: str
    n: int
    after: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of one fault; ``problem`` is empty if nothing was lost, doubled or different."""

    fault: Fault
    killed: bool
    stage: str
    problem: str


# ---- the child ----------------------------------------------------------------------------------------------------


def child(data: Path, workspace: Path, fault: Fault | None) -> None:
    """All the work, reported line by line on stdout as it is done for good."""
    from lmsys_rs import records

    records.BATCH_SIZE = BATCH
    import lmsys_rs.readers.json_stream as json_stream

    json_stream.CHUNK_BYTES = 40_000
    from lmsys_rs import _core, columns, duplicates, embedding
    from lmsys_rs.clustering import cluster
    from lmsys_rs.embedding import embed
    from lmsys_rs.labeling import label
    from lmsys_rs.loading import load
    from lmsys_rs.session import open_session
    from lmsys_rs.store import reading

    embedding.EMBED_BATCH = EMBED_BATCH
    columns.FILE_ROWS = 4 * BATCH
    duplicates.PAGE = 4 * BATCH
    calls: Counter[str] = Counter()
    if fault is not None and fault.kind in HOOKS:
        _kill_in(fault, calls)

    def tell(event: Any) -> None:
        if event.kind == "advanced" and event.stage == "embed":
            # progress is told in tokens; what must last are the rows that are recorded by now
            with session.store.reading() as connection:
                print(json.dumps(["embed", reading.embeddings(connection)[-1].n_rows]), flush=True)
        if event.kind == "advanced" and event.stage == "load":
            with opened[0].store.reading() as connection:  # what a user could see at this moment
                print(json.dumps(["load", reading.counts(connection)["n_conversations"]]), flush=True)

    opened: list[Any] = []
    print(json.dumps(["start", 0]), flush=True)
    with open_session(workspace) as session:
        opened.append(session)
        load(session, data, on_event=tell)
        print(json.dumps(["stage", "load"]), flush=True)
        embed(session, Words(), on_event=tell)
        print(json.dumps(["stage", "embed"]), flush=True)
        runs = [
            cluster(session, _core.KMeans(n_clusters=6, random_state=1)),
            cluster(session, _core.HDBSCAN(min_cluster_size=8), space="graph"),
        ]
        print(json.dumps(["stage", "cluster"]), flush=True)
        for run in runs:
            label(session, run.run_id)
        print(json.dumps(["stage", "label"]), flush=True)
    print(json.dumps(["calls", dict(calls)]), flush=True)


def _kill_in(fault: Fault, calls: Counter[str]) -> None:
    """Count calls of fsync, rename and commit; kill this process at the chosen one."""
    import sqlalchemy.engine.default as engine

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            calls[name] += 1
            is_it = name == fault.kind and calls[name] == fault.n
            if is_it and not fault.after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = function(*arguments, **options)
            if is_it and fault.after:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call

    os.fsync = counted("fsync", os.fsync)
    Path.replace = counted("rename", Path.replace)  # type: ignore[method-assign]
    engine.DefaultDialect.do_commit = counted("commit", engine.DefaultDialect.do_commit)  # type: ignore[method-assign]


class Words:
    """Vectors of hashed words: the same everywhere, and quick."""

    id = "words-32"
    dim = 32

    def embed(self, texts: Any) -> Any:
        import numpy as np

        vectors = np.full((len(texts), self.dim), 1e-3, dtype=np.float32)
        for i, text in enumerate(texts):
            for word in text.lower().split():
                vectors[i, int(hashlib.md5(word.encode()).hexdigest(), 16) % self.dim] += 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


# ---- the parent ---------------------------------------------------------------------------------------------------


def write_data(path: Path, *, seed: int) -> None:
    """Conversations with repeated, nearly repeated and new texts, some without ids, and a broken line now and then."""
    rng = random.Random(seed)
    words = [f"word{i}" for i in range(60)]
    with path.open("w", encoding="utf-8") as file:
        texts: list[str] = []
        for i in range(N_CONVERSATIONS):
            if texts and rng.random() < 0.3:
                text = rng.choice(texts)
                text = text if rng.random() < 0.5 else text + "!"
            else:
                topic = rng.randrange(6)
                text = " ".join(rng.choice(words[topic * 10 : topic * 10 + 10]) for _ in range(rng.randint(5, 30)))
            texts.append(text)
            turns = [{"role": "user", "content": text}, {"role": "assistant", "content": f"answer {i}"}]
            row: dict[str, Any] = {"model": f"m{i % 3}", "conversation": turns, "note": {"n": i}}
            if i % 10:
                row["conversation_id"] = f"c{i}"
            file.write(json.dumps(row) + "\n")
            if i % 97 == 0:
                file.write('{"conversation": [broken\n')


def run_child(data: Path, workspace: Path, fault: Fault | None) -> tuple[int, list[list[Any]], float]:
    """(exit code, what it told, seconds)."""
    command = [sys.executable, __file__, "--child", str(data), str(workspace)]
    if fault is not None and fault.kind in HOOKS:
        command += [fault.kind, str(fault.n), str(int(fault.after))]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "RAYON_NUM_THREADS": "2"})
    assert process.stdout is not None
    told: list[list[Any]] = []
    with process.stdout as lines:
        if fault is not None and fault.kind == "time":
            line = lines.readline()  # the work begins; imports are over
            told.append(json.loads(line))
            time.sleep(fault.n / 1000)
            process.kill()
        told += [json.loads(line) for line in lines if line.endswith("\n")]
    return process.wait(), told, time.perf_counter() - started


def state_of(workspace: Path) -> dict[str, Any]:
    """Everything that must be the same however often the work was cut off; names and times of runs are left out."""
    from lmsys_rs import views
    from lmsys_rs.session import open_session
    from lmsys_rs.store import reading

    with open_session(workspace) as session:
        conversations = views.conversations(session).collect()
        with session.store.reading() as connection:
            runs = reading.runs(connection)[::-1]
            state: dict[str, Any] = {
                "counts": reading.counts(connection),
                "problems": [d.n_problems for d in reading.datasets(connection)],
                "conversations": conversations.write_json(),
                "queries": connection.exec_driver_sql("SELECT * FROM query ORDER BY id").all(),
                "runs": [
                    (
                        run.algorithm,
                        run.n_clusters,
                        run.n_texts,
                        run.n_noise,
                        run.labeled,
                        reading.members(connection, run.run_id).rows(),
                        [(c.cluster_id, c.size, c.title, c.medoid) for c in reading.clusters(connection, run.run_id)],
                    )
                    for run in runs
                ],
            }
        state["texts"] = views.texts(session).collect().rows()
        state["vectors"] = hashlib.sha256(session.vectors(session.embedding()).tobytes()).hexdigest()
    return state


def problem_after_kill(workspace: Path, told: list[list[Any]]) -> str:
    """What is wrong with the state that a killed child left; empty if nothing is."""
    from lmsys_rs import verifying
    from lmsys_rs.session import open_session
    from lmsys_rs.store import reading

    if not (workspace / "lmsys.db").exists():
        return "" if not any(entry[0] in ("load", "embed") for entry in told) else "the database is gone"
    with open_session(workspace) as session:
        report = verifying.verify(session)
        wrong = [finding for finding in report.findings if finding.kind != "left over"]
        if wrong:
            return f"verify: {wrong[0].what}: {wrong[0].problem}"
        with session.store.reading() as connection:
            n_rows = max((e.n_rows for e in reading.embeddings(connection)), default=0)
            n_conversations = reading.counts(connection)["n_conversations"]
            n_runs = len(reading.runs(connection))
    reported = max((entry[1] for entry in told if entry[0] == "embed"), default=0)
    if n_rows < reported:
        return f"{reported} vectors were reported, {n_rows} are there"
    reported = max((entry[1] for entry in told if entry[0] == "load"), default=0)
    if not reported <= n_conversations <= N_CONVERSATIONS:
        return f"{reported} of {N_CONVERSATIONS} conversations were reported, {n_conversations} are there"
    if ["stage", "cluster"] in told and n_runs != 2:
        return f"two runs were reported, {n_runs} are there"
    return ""


def examine(fault: Fault, data: Path, folder: Path, expected: dict[str, Any]) -> Outcome:
    """Kill, check, resume, compare."""
    workspace = folder / f"{fault.kind}-{fault.n}-{int(fault.after)}.lmsys"
    code, told, _ = run_child(data, workspace, fault)
    killed = code == -signal.SIGKILL
    stage = next((s for s in STAGES if ["stage", s] not in told), "end")
    problem = problem_after_kill(workspace, told) if killed else ""
    if not problem:
        code, _, _ = run_child(data, workspace, None)
        if code:
            problem = f"the resumed work ended with {code}"
    if not problem:
        state = state_of(workspace)
        different = [name for name in expected if state[name] != expected[name]]
        problem = f"different from an unbroken run: {', '.join(different)}" if different else ""
    if not problem:
        import shutil

        shutil.rmtree(workspace)
    return Outcome(fault, killed, stage, problem)


def faults(calls: dict[str, int], seconds: float, *, points: int, seed: int) -> list[Fault]:
    """``points`` different faults: three quarters at calls, spread over all of them, the rest at times."""
    rng = random.Random(seed)
    at_calls = [Fault(kind, n, after) for kind in HOOKS for n in range(1, calls[kind] + 1) for after in (False, True)]
    rng.shuffle(at_calls)
    chosen = at_calls[: points * 3 // 4]
    times = rng.sample(range(1, max(points, int(seconds * 1000))), points - len(chosen))
    return chosen + [Fault("time", n) for n in times]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=220)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="also write every outcome to this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lmsys-faults-") as name:
        folder = Path(name)
        data = folder / "chats.jsonl"
        write_data(data, seed=arguments.seed)
        # an unbroken run that counts its calls
        code, told, seconds = run_child(data, folder / "whole.lmsys", Fault("fsync", 10**9))
        assert code == 0, told
        calls = next(entry[1] for entry in told if entry[0] == "calls")
        expected = state_of(folder / "whole.lmsys")
        print(f"unbroken: {seconds:.1f} s, {calls}", flush=True)
        outcomes = []
        for fault in faults(calls, seconds, points=arguments.points, seed=arguments.seed):
            outcome = examine(fault, data, folder, expected)
            outcomes.append(outcome)
            if outcome.problem:
                print(f"FAILED {outcome}", flush=True)
        table = Counter((o.fault.kind, o.stage, o.killed) for o in outcomes)
        print("| killed at | during | points | lost, doubled or different |\n|---|---|---:|---:|")
        for (kind, stage, killed), n in sorted(table.items()):
            bad = sum(bool(o.problem) for o in outcomes if (o.fault.kind, o.stage, o.killed) == (kind, stage, killed))
            print(f"| {kind} | {stage if killed else 'nothing: it had ended'} | {n} | {bad} |")
        n_bad = sum(bool(o.problem) for o in outcomes)
        print(f"{len(outcomes)} points, {sum(o.killed for o in outcomes)} killed, {n_bad} problems")
        if arguments.json:
            arguments.json.write_text(json.dumps([[vars(o.fault), o.killed, o.stage, o.problem] for o in outcomes]))
        return int(n_bad > 0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        given = sys.argv[4:]
        child(Path(sys.argv[2]), Path(sys.argv[3]), Fault(given[0], int(given[1]), given[2] == "1") if given else None)
    else:
        sys.exit(main())
