"""What does the whole workflow cost, and how do our k-means and HDBSCAN compare with scikit-learn's and hdbscan's?

    python benches/workflow.py                      # the synthetic sample
    DATA=chats.parquet python benches/workflow.py   # your file; --truth COLUMN scores the clusters against labels

Every figure comes from a process of its own. Seconds are of the step without its imports (of the peers, of a second
fit: the first warms up), memory is the peak of the process with everything in it. Peers run in turn with ours, on the
same vectors and number of threads, and quality stands beside time. Prints Markdown; the same figures go to
benches/results/ as JSON. Needs Linux or macOS.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

HERE = Path(__file__).resolve().parent
SEED = 0
LLOYD_STEPS = 25
MIN_CLUSTER_SIZE = 15
Figures = dict[str, Any]
Step = Callable[[Path, argparse.Namespace], Callable[[], Figures]]


# ---- the steps: imports and inputs first, then the function that is timed ---------------------------------------


def opened(folder: Path) -> Any:
    import lmsys_rs as lm

    return lm.open(folder / "bench.lmsys", progress=False)


def step_load(folder: Path, arguments: argparse.Namespace) -> Callable[[], Figures]:
    ws = opened(folder)

    def work() -> Figures:
        report = ws.load(arguments.data)
        return {"n": report.n_read, "result": f"{report.n_new_texts:,} distinct texts, {report.n_problems} problems"}

    return work


def step_embed(folder: Path, arguments: argparse.Namespace) -> Callable[[], Figures]:
    ws = opened(folder)

    def work() -> Figures:
        report = ws.embed(arguments.model)
        return {"n": report.n_new, "result": f"{report.n_tokens:,} tokens, dim {report.dim}"}

    return work


def step_cluster(folder: Path, arguments: argparse.Namespace) -> Callable[[], Figures]:
    import lmsys_rs as lm

    ws = opened(folder)

    def work() -> Figures:
        run = ws.cluster(lm.KMeans(n_clusters=arguments.clusters, random_state=SEED))
        return {"n": run.record.n_texts, "result": f"k-means, {run.record.n_clusters} clusters"}

    return work


def step_label(folder: Path, arguments: argparse.Namespace) -> Callable[[], Figures]:
    ws = opened(folder)

    def work() -> Figures:
        run = ws.run().label()
        return {"n": run.record.n_texts, "result": f"{run.clusters()['title'].n_unique()} titles"}

    return work


def step_map(folder: Path, arguments: argparse.Namespace) -> Callable[[], Figures]:
    ws = opened(folder)

    def work() -> Figures:
        run = ws.run()
        size = run.map(folder / "map.html").path.stat().st_size
        return {"n": run.record.n_texts, "result": f"exact graph, 2-d layout, {size / 1e6:.1f} MB of HTML"}

    return work


# ---- the peers: the same arrays, the same number of threads, in turn --------------------------------------------


def kmeans_inputs(folder: Path) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    return np.load(folder / "vectors.npy", mmap_mode="r"), np.load(folder / "start.npy")


def step_kmeans_ours(folder: Path, arguments: argparse.Namespace) -> Callable[[], Figures]:
    import lmsys_rs as lm

    x, start = kmeans_inputs(folder)
    estimator = lm.KMeans(len(start), init=start, max_iter=LLOYD_STEPS, tol=0.0, random_state=SEED)

    def work() -> Figures:
        estimator.fit(x)
        return {"labels": estimator.labels_, "inertia": estimator.inertia_}

    return work


def step_kmeans_sklearn(folder: Path, arguments: argparse.Namespace) -> Callable[[], Figures]:
    from sklearn.cluster import KMeans  # type: ignore[import-untyped]  # it has no types

    x, start = kmeans_inputs(folder)
    estimator = KMeans(len(start), init=start, n_init=1, max_iter=LLOYD_STEPS, tol=0.0, algorithm="lloyd")

    def work() -> Figures:
        estimator.fit(x)
        return {"labels": estimator.labels_, "inertia": float(estimator.inertia_)}

    return work


def step_hdbscan_ours(folder: Path, arguments: argparse.Namespace) -> Callable[[], Figures]:
    import lmsys_rs as lm

    layout = np.load(folder / "layout.npy")
    estimator = lm.HDBSCAN(min_cluster_size=MIN_CLUSTER_SIZE)

    def work() -> Figures:
        return {"labels": estimator.fit(layout).labels_}

    return work


def step_hdbscan_package(folder: Path, arguments: argparse.Namespace) -> Callable[[], Figures]:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the package's own dependencies
        import hdbscan  # type: ignore[import-untyped]  # it has no types

    layout = np.load(folder / "layout.npy").astype(np.float64)
    estimator = hdbscan.HDBSCAN(min_cluster_size=MIN_CLUSTER_SIZE, core_dist_n_jobs=arguments.threads)

    def work() -> Figures:
        return {"labels": estimator.fit(layout).labels_}

    return work


WORKFLOW: dict[str, Step] = {
    "load": step_load,
    "embed": step_embed,
    "cluster": step_cluster,
    "label": step_label,
    "map": step_map,
}
PEERS: dict[str, Step] = {
    "k-means, lmsys_rs": step_kmeans_ours,
    "k-means, scikit-learn": step_kmeans_sklearn,
    "HDBSCAN, lmsys_rs": step_hdbscan_ours,
    "HDBSCAN, hdbscan": step_hdbscan_package,
}


# ---- one step in a process of its own ----------------------------------------------------------------------------


def peak_mb() -> float:
    """Of this process. On Linux not from getrusage, which starts a child at the peak of its parent."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def run_step(arguments: argparse.Namespace) -> None:
    work = (WORKFLOW | PEERS)[arguments.step](arguments.folder, arguments)
    if arguments.step in PEERS:
        work()  # what is set up once per process (thread pools, compiled code) is not the algorithm
    started = time.perf_counter()
    figures = work()
    figures |= {"seconds": time.perf_counter() - started, "peak_mb": peak_mb()}
    labels = figures.pop("labels", None)
    if labels is not None:
        np.save(arguments.folder / f"{arguments.step}.npy", np.asarray(labels, dtype=np.int64))
    print(json.dumps(figures))


def measured(step: str, folder: Path, arguments: argparse.Namespace) -> Figures:
    threads = str(arguments.threads)
    command = [sys.executable, __file__, "--step", step, "--folder", str(folder), "--data", str(arguments.data)]
    command += ["--model", arguments.model, "--threads", threads, "--clusters", str(arguments.clusters)]
    limits = dict.fromkeys(("RAYON_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
    result = subprocess.run(command, env=os.environ | limits, check=True, capture_output=True, text=True)
    figures: Figures = json.loads(result.stdout.splitlines()[-1])
    return figures


# ---- what the peers get, and how they are scored ----------------------------------------------------------------


def prepare(folder: Path, arguments: argparse.Namespace) -> npt.NDArray[np.int64] | None:
    """Writes vectors, starting centroids and the 5-d layout; returns the known class of each text, if there is one."""
    import lmsys_rs as lm

    with opened(folder) as ws:
        x = np.ascontiguousarray(ws.vectors())
        truth = known_classes(ws.queries().collect(), arguments)
    np.save(folder / "vectors.npy", x)
    rng = np.random.default_rng(SEED)
    np.save(folder / "start.npy", x[np.sort(rng.choice(len(x), arguments.clusters, replace=False))])
    layout = lm.UMAP(5, min_dist=0.0, random_state=SEED).fit_transform(lm.KnnGraph.build(x, k=15))
    np.save(folder / "layout.npy", layout)
    return truth


def known_classes(queries: Any, arguments: argparse.Namespace) -> npt.NDArray[np.int64] | None:
    """The class of each text (of its first query), in the order of text_id."""
    import polars as pl

    path = Path(arguments.data)
    if arguments.truth is None:
        return None
    if arguments.truth == "topic":
        source = pl.read_parquet(path)
        topics = dict(zip(source["conversation_id"], source["meta"].str.json_path_match("$.topic"), strict=True))
        classes = queries["conversation_id"].replace_strict(topics)
    else:
        source = pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path)
        if source.height != queries.height:
            raise SystemExit(f"--truth needs one query per row: {source.height} rows, {queries.height} queries")
        classes = source[arguments.truth]
    codes = queries.with_columns(classes.rank("dense").alias("class")).unique("text_id", keep="first").sort("text_id")
    known: npt.NDArray[np.int64] = codes["class"].cast(pl.Int64).to_numpy()
    return known


def quality(step: str, folder: Path, truth: npt.NDArray[np.int64] | None) -> Figures:
    import lmsys_rs as lm

    labels = np.load(folder / f"{step}.npy")
    found: Figures = {"clusters": len(set(labels.tolist()) - {-1}), "noise": float((labels == -1).mean())}
    other = next(name for name in PEERS if name != step and name.split(",")[0] == step.split(",")[0])
    found["ari_to_peer"] = lm.adjusted_rand_score(np.load(folder / f"{other}.npy"), labels)
    if truth is not None:
        found |= {"v_measure": lm.v_measure_score(truth, labels), "ari": lm.adjusted_rand_score(truth, labels)}
    return found


# ---- the report -------------------------------------------------------------------------------------------------


def machine() -> str:
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model n")]
        name = names[0] if names else name
    return f"{name}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def markdown(report: Figures) -> str:
    lines = [
        ", ".join(f"{package} {number}" for package, number in report["versions"].items()) + f"; seed {SEED}",
        f"{report['data']}; {report['machine']}; {report['threads']} threads",
        "",
        "| step | n | seconds | peak MB | result |",
        "|---|---:|---:|---:|---|",
    ]
    for step, f in report["workflow"].items():
        lines.append(f"| {step} | {f['n']:,} | {f['seconds']:.2f} | {f['peak_mb']:.0f} | {f['result']} |")
    has_truth = any("v_measure" in f for f in report["peers"].values())
    lines += [
        "",
        f"k-means: at most {LLOYD_STEPS} Lloyd steps from the same rows. HDBSCAN: min_cluster_size {MIN_CLUSTER_SIZE}",
        f"on one 5-d layout. Medians over {report['repeats']} processes, peers in turn.",
        "",
        "| | seconds | peak MB | inertia | clusters | noise | ARI to the peer |" + (" V | ARI |" if has_truth else ""),
        "|---|---:|---:|---:|---:|---:|---:|" + ("---:|---:|" if has_truth else ""),
    ]
    for step, f in report["peers"].items():
        inertia = f"{f['inertia']:,.2f}" if "inertia" in f else "-"
        row = f"| {step} | {f['seconds']:.2f} | {f['peak_mb']:.0f} | {inertia} | {f['clusters']} | {f['noise']:.1%} |"
        row += f" {f['ari_to_peer']:.3f} |"
        lines.append(row + (f" {f['v_measure']:.3f} | {f['ari']:.3f} |" if has_truth else ""))
    return "\n".join(lines)


def measure(arguments: argparse.Namespace) -> Figures:
    with tempfile.TemporaryDirectory(prefix="lmsys-bench-") as aside:
        folder = Path(aside)
        name = str(arguments.data)
        if arguments.data is None:
            import lmsys_rs as lm

            arguments.data = lm.write_sample(folder / "sample.parquet", n_conversations=arguments.n, seed=SEED)
            arguments.truth = "topic"
            name = f"synthetic sample of {arguments.n:,} conversations"
        workflow = {step: measured(step, folder, arguments) for step in WORKFLOW}
        truth = prepare(folder, arguments)
        runs: dict[str, list[Figures]] = {step: [] for step in PEERS}
        for _ in range(arguments.repeats):
            for step, of_step in runs.items():
                of_step.append(measured(step, folder, arguments))
        peers = {
            step: of_step[0]
            | {key: statistics.median(f[key] for f in of_step) for key in ("seconds", "peak_mb")}
            | quality(step, folder, truth)
            for step, of_step in runs.items()
        }
    return {
        "data": name,
        "machine": machine(),
        "threads": arguments.threads,
        "repeats": arguments.repeats,
        "versions": {package: version(package) for package in ("lmsys-rs", "scikit-learn", "hdbscan", "onnxruntime")},
        "workflow": workflow,
        "peers": peers,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("DATA") or None, help="a file of conversations")
    parser.add_argument("--truth", help="column of the file with the known class of each row (Parquet or CSV)")
    parser.add_argument("--n", type=int, default=5000, help="conversations of the synthetic sample")
    parser.add_argument("--clusters", type=int, default=50)
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        run_step(arguments)
        return
    report = measure(arguments)
    print(markdown(report))
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    file = results / f"workflow-{datetime.now(timezone.utc):%Y%m%d-%H%M%S}.json"
    file.write_text(json.dumps(report, indent=2) + "\n")
    print(f"\nwritten to {file.relative_to(HERE.parent)}", file=sys.stderr)


if __name__ == "__main__":
    main()
