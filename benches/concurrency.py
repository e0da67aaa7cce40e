"""Do readers see whole states, and no errors, while a writer loads, embeds, clusters, names and deletes?

    python benches/concurrency.py --seconds 300 --readers 8

The writer and every reader are processes of their own. A reader asks what people ask (counts, facets, pages, turns,
members, vectors) and checks what must be true of any one state: the facets add up to the queries, a page has no gap,
members are as many as the run says, the vectors of embedded texts have length one. Prints how often each question was
asked and how long it took; exits with 1 on any error or contradiction.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent


def write(workspace: Path, seconds: float) -> dict[str, int]:
    """What the writer did, by kind."""
    from faults import Words
    from lmsys_rs import _core
    from lmsys_rs.clustering import cluster
    from lmsys_rs.deleting import delete_dataset
    from lmsys_rs.embedding import embed
    from lmsys_rs.labeling import label
    from lmsys_rs.loading import load
    from lmsys_rs.session import open_session

    did: dict[str, int] = defaultdict(int)
    rng = random.Random(0)
    end = time.monotonic() + seconds
    number = 0
    with open_session(workspace) as session:
        while time.monotonic() < end:
            number += 1
            data = workspace.parent / f"chats-{number}.jsonl"
            with data.open("w") as file:
                for i in range(rng.randint(50, 1500)):
                    words = " ".join(f"word{rng.randrange(80)}" for _ in range(rng.randint(3, 20)))
                    turns = [{"role": "user", "content": words}, {"role": "assistant", "content": "yes"}]
                    row = {"conversation_id": f"{number}-{i}", "model": f"m{i % 4}", "conversation": turns}
                    file.write(json.dumps(row) + "\n")
            load(session, data)
            did["load"] += 1
            embed(session, Words())
            did["embed"] += 1
            if number % 3 == 0:
                label(session, cluster(session, _core.KMeans(n_clusters=5), force=True).run_id)
                did["cluster and label"] += 1
            if number % 5 == 0:
                delete_dataset(session, f"chats-{rng.randint(max(1, number - 4), number)}") if number > 5 else None
                did["delete"] += 1
    return did


def check_counts(session: Any) -> None:
    from lmsys_rs.store import reading

    with session.store.reading() as connection:
        counts = reading.counts(connection)
        n = connection.exec_driver_sql("SELECT count(*) FROM query").scalar_one()
    assert counts["n_queries"] == n, (counts, n)


def check_facets(session: Any) -> None:
    from lmsys_rs import columns, selection

    found = selection.facets(session)
    totals = {name: int(frame["n_queries"].sum()) for name, frame in found.items()}
    assert len(set(totals.values())) == 1, totals
    frames = columns.frames(session)
    assert frames.queries["query_id"].is_sorted()
    assert frames.texts["text_id"].to_list() == list(range(frames.texts.height))


def check_page(session: Any) -> None:
    from lmsys_rs import selection
    from lmsys_rs.records import Filters

    page = selection.queries(session, Filters(model="m1"), limit=40)
    assert page["query_id"].is_sorted()
    assert set(page["model"].to_list()) <= {"m1"}


def check_turns(session: Any) -> None:
    from lmsys_rs import views

    # a data set that is deleted takes its files with it: a reader that had begun is told so, and asks again
    try:
        turns = views.turns(session).collect()
    except FileNotFoundError:
        turns = views.turns(session).collect()
    assert turns.height % 2 == 0, turns.height


def check_members(session: Any) -> None:
    from lmsys_rs.store import reading

    with session.store.reading() as connection:
        runs = reading.runs(connection)
        if runs:
            members = reading.members(connection, runs[0].run_id)
            clusters = reading.clusters(connection, runs[0].run_id)
            assert members.height == runs[0].n_texts + runs[0].n_assigned
            assert sum(c.size for c in clusters) == members.height


def check_vectors(session: Any) -> None:
    from lmsys_rs.errors import StoreError

    try:
        vectors = session.vectors(session.embedding())
    except StoreError as error:
        if "nothing is embedded" in str(error):
            return
        raise
    norms = np.linalg.norm(vectors, axis=1)
    assert np.allclose(norms, 1, atol=1e-4), (norms.min(), norms.max())


CHECKS: dict[str, Callable[[Any], None]] = {
    "counts": check_counts,
    "facets": check_facets,
    "page": check_page,
    "turns": check_turns,
    "members": check_members,
    "vectors": check_vectors,
}


def read(workspace: Path, seconds: float, seed: int) -> dict[str, list[float]]:
    """How long each question took, in seconds."""
    from lmsys_rs.session import open_session

    rng = random.Random(seed)
    end = time.monotonic() + seconds
    took: dict[str, list[float]] = defaultdict(list)
    while time.monotonic() < end:
        with open_session(workspace, create=False) as session:
            for _ in range(20):
                name = rng.choice(list(CHECKS))
                started = time.perf_counter()
                CHECKS[name](session)
                took[name].append(time.perf_counter() - started)
                if time.monotonic() >= end:
                    break
    return took


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--readers", type=int, default=8)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lmsys-concurrency-") as name:
        workspace = Path(name) / "shared.lmsys"
        from lmsys_rs.session import open_session

        open_session(workspace).close()
        roles = ["writer", *(f"reader {i}" for i in range(arguments.readers))]
        started = [
            subprocess.Popen(
                [sys.executable, __file__, "--as", role, str(workspace), str(arguments.seconds)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for role in roles
        ]
        took: dict[str, list[float]] = defaultdict(list)
        failed = 0
        for role, process in zip(roles, started, strict=True):
            out, err = process.communicate()
            if process.returncode:
                failed += 1
                print(f"{role} failed:\n{err[-3000:]}")
                continue
            answer = json.loads(out.splitlines()[-1])
            if role == "writer":
                print(f"writer: {answer}")
                continue
            for question, seconds in answer.items():
                took[question].extend(seconds)
        print("| question | times | median ms | worst ms |\n|---|---:|---:|---:|")
        for question, seconds in sorted(took.items()):
            print(f"| {question} | {len(seconds)} | {np.median(seconds) * 1e3:.1f} | {max(seconds) * 1e3:.0f} |")
        print(f"{arguments.readers} readers, 1 writer, {arguments.seconds:.0f} s: {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--as"]:
        sys.path.insert(0, str(HERE))
        role, workspace, seconds = sys.argv[2], Path(sys.argv[3]), float(sys.argv[4])
        answer = write(workspace, seconds) if role == "writer" else read(workspace, seconds, int(role.split()[1]))
        print(json.dumps(answer))
    else:
        sys.exit(main())
