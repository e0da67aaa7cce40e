"""Names, hierarchies and edits of whole workspaces, against a provider on loopback in a process of its own.

    python benches/knowledge.py speed     # 1,000 clusters, 50 calls at a time, 0.3 s each: time / ideal, peak memory
    python benches/knowledge.py faults    # every fault at 10 %: all clusters named, nothing paid twice
    python benches/knowledge.py kill      # kill -9 while naming 1,000 clusters, then the same command again
    python benches/knowledge.py topics    # conversations under the right top-level topic, offline and with a model

One JSON object a line. `topics` takes the generated sample: 20 known topics, five languages. The stand-in of the model
path knows the topics: what is measured is what naming, grouping and assigning lose, not how clever a model is.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parents[1] / "tests" / "python" / "llm"))

import polars as pl  # noqa: E402
from lmsys_rs import _core, hierarchies, labeling, selection, summarizing, views  # noqa: E402
from lmsys_rs.cluster_prompts import Options  # noqa: E402
from lmsys_rs.clustering import cluster  # noqa: E402
from lmsys_rs.embedding import embed  # noqa: E402
from lmsys_rs.llm import Limits, resolve_model  # noqa: E402
from lmsys_rs.loading import load  # noqa: E402
from lmsys_rs.records import RunRecord  # noqa: E402
from lmsys_rs.sample import sample_conversations, write_sample  # noqa: E402
from lmsys_rs.session import Session, open_session  # noqa: E402
from lmsys_rs.store import reading  # noqa: E402
from stand_in import prompt_of, schema_of, serving, serving_process  # noqa: E402

FAULTS = (
    *("429", "429-date", "500", "timeout", "cut-before", "cut-body", "slow-stream"),
    *("malformed", "overlong", "fenced", "refusal"),
)
KEY = {"OPENAI_API_KEY": "sk-bench-0123456789", "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring"}


def tell(**values: Any) -> None:
    print(json.dumps(values), flush=True)


def workspace(folder: Path, n_conversations: int, n_clusters: int) -> tuple[Path, str]:
    path = folder / "bench.lmsys"
    with open_session(path) as session:
        load(session, write_sample(folder / "sample.parquet", n_conversations=n_conversations, seed=0))
        embed(session)
        run = cluster(session, _core.KMeans(n_clusters=n_clusters, max_iter=10))
        labeling.label(session, run.run_id)
    return path, run.run_id


def summarize_command(path: Path, url: str, *more: str) -> list[str]:
    command = [sys.executable, "-m", "lmsys_rs", "summarize", "latest", "--workspace", str(path)]
    asked = ["--model", "openai/gpt-4o-mini", "--base-url", url, "--price", "0.15,0.6", "--concurrency", "50"]
    return [*command, *asked, "--json", *more]


def speed(folder: Path, n_clusters: int) -> None:
    path, _ = workspace(folder, 20 * n_clusters, n_clusters)
    with serving_process(latency=0.3) as provider:
        for i in range(3):
            with open_session(path) as session, session.store.writing() as connection:
                connection.exec_driver_sql("DELETE FROM llm_entry")
            started = time.perf_counter()
            command = summarize_command(path, provider.url)
            with subprocess.Popen(
                command, env={**os.environ, **KEY}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            ) as process:
                peak = watched(process)
                assert process.stdout is not None
                report = json.loads(process.stdout.read())
            whole = time.perf_counter() - started
            # titles that are alike are asked about again: calls, not clusters, make the ideal
            ideal = 0.3 * report["n_calls"] / 50
            tell(
                what="speed",
                round=i,
                n_clusters=n_clusters,
                n_calls=report["n_calls"],
                seconds=round(report["seconds"], 2),
                ratio=round(report["seconds"] / ideal, 3),
                whole_command_s=round(whole, 2),
                peak_mb=peak,
                n_named=report["n_named"],
            )


def watched(process: subprocess.Popen[str]) -> int:
    """Peak memory of a process in MB. (What `resource` says of children counts what they were forked from.)"""
    peak = 0
    while process.poll() is None:
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                peak = max(peak, int(line.split()[1]) // 1024)
        time.sleep(0.05)
    return peak


def faults(folder: Path, n_clusters: int) -> None:
    path, run_id = workspace(folder, 20 * n_clusters, n_clusters)
    for fault in (*FAULTS, "all"):
        with open_session(path) as session, session.store.writing() as connection:
            connection.exec_driver_sql("DELETE FROM llm_entry")
        chances = dict.fromkeys(FAULTS, 0.03) if fault == "all" else {fault: 0.1}
        more = ("--timeout", "2", *(("--stream",) if fault == "slow-stream" else ()))
        with serving_process(latency=0.01, faults=chances, seed=1, retry_after=0.2, hold=3.0) as provider:
            done = subprocess.run(
                summarize_command(path, provider.url, *more), env={**os.environ, **KEY}, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr
            report = json.loads(done.stdout)
            log = provider.log()
        with open_session(path) as session, session.store.reading() as connection:
            titles = [c.title for c in reading.clusters(connection, run_id)]
        paid = Counter(call["body_hash"] for call in log if call["paid"])
        tell(
            what="faults",
            fault=fault,
            n_clusters=n_clusters,
            n_calls=len(log),
            n_titles=len(set(titles)),
            n_named_by_model=report["n_named"],
            paid_twice=sum(n > 1 for n in paid.values()),
        )


def kill(folder: Path, n_clusters: int, n_kills: int) -> None:
    path, _ = workspace(folder, 20 * n_clusters, n_clusters)
    environment = {**os.environ, **KEY}
    with serving_process(latency=0.3, faults={"500": 0.05, "429": 0.05}, seed=2, retry_after=0.2) as provider:
        for i in range(n_kills):
            with subprocess.Popen(
                summarize_command(path, provider.url),
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            ) as process:
                before, deadline = len(provider.log()), time.monotonic() + 30
                while len(provider.log()) < before + n_clusters // (n_kills + 2) and time.monotonic() < deadline:
                    time.sleep(0.05)
                process.send_signal(signal.SIGKILL)
            tell(what="kill", kill=i, calls_so_far=len(provider.log()))
        done = subprocess.run(
            summarize_command(path, provider.url), env=environment, capture_output=True, text=True, check=True
        )
        report = json.loads(done.stdout)
        paid = Counter(call["body_hash"] for call in provider.log() if call["paid"])
    tell(
        what="resume",
        n_clusters=n_clusters,
        n_named=report["n_named"],
        n_cached=report["n_cached"],
        n_paid_again=sum(n - 1 for n in paid.values()),
        most_in_flight=50 * n_kills,
    )


def topics(folder: Path, n_conversations: int, n_clusters: int) -> None:
    for seed in range(3):
        topic_of = {
            row["conversation"][0]["content"]: json.loads(row["meta"])["topic"]
            for row in sample_conversations(n_conversations, seed=seed)
        }
        with open_session(folder / f"topics-{seed}.lmsys") as session:
            load(session, write_sample(folder / f"sample-{seed}.parquet", n_conversations=n_conversations, seed=seed))
            embed(session)
            for across in (False, True):
                run = cluster(session, _core.KMeans(n_clusters=n_clusters), across_languages=across)
                labeling.label(session, run.run_id)
                report = hierarchies.build(session, run.run_id, target_levels=2)
                tell(what="topics", seed=seed, path="offline", across_languages=across, **right(session, run, report))
            os.environ.update(KEY)
            with serving(oracle(topic_of)) as provider:
                model = resolve_model("openai/gpt-4o-mini", base_url=provider.url, price=(0.15, 0.6))
                limits = Limits(concurrency=50, rpm=0, tpm=0)
                summarizing.summarize(session, run.run_id, model, options=Options(limits=limits))
                report = hierarchies.build(session, run.run_id, model=model, target_levels=2, limits=limits)
                tell(
                    what="topics",
                    seed=seed,
                    path="model",
                    across_languages=True,
                    n_calls=len(provider.calls),
                    n_orphans=report.n_orphans,
                    **right(session, run, report),
                )


def right(session: Session, run: RunRecord, report: hierarchies.HierarchyReport) -> dict[str, Any]:
    """Share of conversations whose top-level branch is mostly about their topic."""
    _, nodes = hierarchies.tree(session, report.hierarchy_id)
    branch_of: dict[int, int] = {}

    def walk(node: hierarchies.TreeNode, branch: int) -> None:
        if node.level == 0:
            branch_of[node.node_id] = branch
        for child in node.children:
            walk(child, branch)

    for branch, node in enumerate(nodes):
        walk(node, branch)
    meta = pl.col("extra").str.json_path_match("$.meta").str.json_path_match("$.topic").alias("topic")
    conversations = views.conversations(session).select(pl.col("id").alias("conversation_id"), meta).collect()
    with session.store.reading() as connection:
        members = reading.members(connection, run.run_id).select("text_id", "cluster_id")
    table = (
        selection.passing(session, None, ("conversation_id", "text_id"))
        .join(members, on="text_id")
        .join(conversations, on="conversation_id")
        .with_columns(pl.col("cluster_id").replace_strict(branch_of, default=-1).alias("branch"))
    )
    counted = table.group_by("branch", "topic").len().sort("len", descending=True).unique("branch", keep="first")
    return {
        "share": round(int(counted["len"].sum()) / table.height, 4),
        "n_branches": len(nodes),
        "n_topics_found": counted["topic"].n_unique(),
    }


def oracle(topic_of: Mapping[str, str]) -> Any:
    """A model that knows the topic of every text, and nothing else."""

    def shown(body: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
        found = re.search(rf"<{name} (\w+)>\n(.*?)\n</{name} \1>", prompt_of(body), re.DOTALL)
        return [json.loads(line) for line in found[2].splitlines() if line != "(none)"] if found else []

    def topic(text: str) -> str:
        return next((name for name in sorted(set(topic_of.values())) if name in text.lower()), "")

    def answer(body: Mapping[str, Any]) -> Any:
        properties = schema_of(body)["properties"]
        if "assignments" in properties:
            number = {topic(parent["title"]): parent["id"] for parent in shown(body, "parents")}
            asked = shown(body, "clusters")
            return {"assignments": [{"cluster": c["id"], "group": number.get(topic(c["title"]), 0)} for c in asked]}
        if "groups" in properties:
            entries = shown(body, "clusters") or shown(body, "proposals")
            names = sorted({topic(entry["title"]) for entry in entries} - {""})
            return {"groups": [{"name": f"All of {name}", "description": "d"} for name in names]}
        if shown(body, "clusters"):
            name = Counter(topic(c["title"]) for c in shown(body, "clusters")).most_common(1)[0][0]
            return {"title": f"Everything on {name}", "description": "d"}
        votes = Counter(topic_of.get(one["text"], "") for one in shown(body, "texts"))
        texts = " ".join(one["text"] for one in shown(body, "texts")[:2])
        return {"title": f"{votes.most_common(1)[0][0]}: {' '.join(texts.split()[:6])}"[:78], "description": "d"}

    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("speed", "faults", "kill", "topics"))
    parser.add_argument("--clusters", type=int, help="1000; 100 of faults, 60 of topics")
    parser.add_argument("--conversations", type=int, default=2_000, help="of topics")
    parser.add_argument("--kills", type=int, default=3)
    options = parser.parse_args()
    os.environ["LMSYS_REUSE"] = "0"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.what == "speed":
            speed(folder, options.clusters or 1_000)
        elif options.what == "faults":
            faults(folder, options.clusters or 100)
        elif options.what == "kill":
            kill(folder, options.clusters or 1_000, options.kills)
        else:
            topics(folder, options.conversations, options.clusters or 60)


if __name__ == "__main__":
    main()
