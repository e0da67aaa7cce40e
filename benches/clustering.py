"""How fast and how good are clusters, graphs, maps and search, beside what people would use instead?

    python benches/clustering.py --texts turns.parquet              everything up to 100,000 rows
    python benches/clustering.py --vectors vectors.npy --scale 1000000
    python benches/clustering.py --vectors vectors.npy --only graph

``--texts`` is a Parquet file with a column ``text``, embedded with all-MiniLM-L6-v2 (100,000 of them, up to 300
characters each); ``--vectors`` are real vectors that are there already, (n, dim) float32 of length one. Larger sets are
made from them by the recipe of benches/clustering/rows.py. Peers get a virtual environment of their own
(benches/clustering/requirements.txt). Every measurement is a process of its own, kept to as many CPUs as it has
threads; engines run in turn, and of several passes the median counts. Reading files, compilation and warm-up are not
in the times. What cannot be run is a row that says why. Prints Markdown; a whole run also goes to
benches/results/clustering.md. Needs Linux or macOS.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
JOBS = HERE / "clustering" / "jobs.py"
PEERS = HERE.parent / "target" / "peers-venv"
FOLDER = HERE.parent / "target" / "clustering"
RESULT = HERE / "results" / "clustering.md"
LIMIT_S = 3_600
Figures = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """One row of a table."""

    label: str
    engine: str
    settings: Figures = field(default_factory=dict)
    passes: int | None = None  # of an engine that takes minutes


@dataclass(frozen=True)
class Table:
    """One job on one set of rows; the first entry is ours."""

    title: str
    job: str
    rows: str
    entries: tuple[Entry, ...]
    n: int | None = None
    threads: int = 1
    passes: int = 3
    common: Figures = field(default_factory=dict)


def tables(scale: int | None) -> Iterator[Table]:
    """All of them, in the order of the pipeline."""
    kmeans = (Entry("lmsys_rs KMeans", "ours"), Entry("faiss-cpu Kmeans", "faiss"))
    yield Table(
        "k-means, 100k, k = 1000, 25 steps from the same rows",
        "kmeans",
        "100000",
        (*kmeans, Entry("scikit-learn KMeans", "sklearn", passes=1)),
        common={"k": 1000, "iterations": 25},
    )
    yield Table(
        "k-means, real rows, k = 200, 25 steps from the same rows",
        "kmeans",
        "real",
        kmeans,
        common={"k": 200, "iterations": 25},
    )
    small = (*kmeans, Entry("scikit-learn KMeans", "sklearn"), Entry("linfa KMeans", "linfa", passes=1))
    yield Table(
        "k-means, 20k, k = 200, 25 steps from the same rows",
        "kmeans",
        "real",
        small,
        n=20_000,
        common={"k": 200, "iterations": 25},
    )
    stream = (Entry("lmsys_rs MiniBatchKMeans", "ours"), Entry("scikit-learn partial_fit", "sklearn"))
    yield Table("k-means in one pass, 100k, k = 1000", "streaming", "100000", stream, common={"k": 1000})
    graph = (
        Entry("lmsys_rs KnnGraph, recall 0.98", "ours", {"recall": 0.98}),
        Entry("lmsys_rs KnnGraph, recall 0.99", "ours", {"recall": 0.99}),
        Entry("pynndescent, 16 neighbours", "pynndescent", {"n_neighbors": 16}),
        Entry("pynndescent, 40 neighbours", "pynndescent", {"n_neighbors": 40}),
        Entry("hnswlib, ef 60", "hnswlib", {"ef": 60}),
        Entry("hnswlib, ef 200", "hnswlib", {"ef": 200}),
    )
    yield Table("kNN graph, 100k, k = 15", "graph", "100000", graph, passes=1)
    yield Table("kNN graph, real rows, k = 15", "graph", "real", graph, passes=1)
    density = (Entry("lmsys_rs Density", "ours"), Entry("EVoC", "evoc"))
    yield Table("clusters without a k, 20k", "density", "real", density, n=20_000)
    yield Table("clusters without a k, 100k", "density", "100000", density, passes=1)
    hdbscan = (
        Entry("lmsys_rs HDBSCAN", "ours"),
        Entry("fast_hdbscan", "fast"),
        Entry("hdbscan", "hdbscan", passes=1),
    )
    yield Table("HDBSCAN on 384 dimensions, 20k", "hdbscan", "100000", hdbscan, n=20_000)
    umap = (Entry("lmsys_rs UMAP", "ours"), Entry("umap-learn", "umap_learn"))
    yield Table("UMAP to 2-d, 20k, graph included", "map", "real", umap, n=20_000, passes=1)
    yield Table("UMAP to 2-d, 100k, graph included", "map", "100000", umap, passes=1)
    tsne = (Entry("lmsys_rs TSNE", "ours"), Entry("openTSNE", "open"))
    yield Table("t-SNE to 2-d, 20k, graph included", "tsne", "real", tsne, n=20_000, passes=1)
    beams = [10, 20, 40, 80, 160, 320]
    search = (
        Entry("lmsys_rs partitioned", "ours", {"engine": "partitioned", "recalls": [0.95, 0.98, 0.99]}),
        Entry("lmsys_rs partitioned, mapped", "ours", {"engine": "mapped", "recalls": [0.95, 0.98, 0.99]}),
        Entry("lmsys_rs exact", "ours", {"engine": "exact", "recalls": [1.0]}),
        Entry("hnswlib", "hnswlib", {"ef": beams}),
        Entry("usearch", "usearch", {"ef": beams}),
        Entry("faiss HNSW", "faiss", {"ef": beams}),
        Entry("instant-distance", "ours", {"engine": "hnsw", "recalls": [0.95]}),
    )
    held = "1,000 held out, one per call, k = 10"
    yield Table(f"search, 57k real rows, {held}", "search", "real", search, n=58_000, passes=1)
    yield Table(f"search, 100k, {held}", "search", "100000", search[:-1], passes=1)
    share = {"share": 0.01}
    filtered = (Entry("lmsys_rs partitioned", "ours", share), Entry("hnswlib, ef 320", "hnswlib", share))
    yield Table(f"filtered search, 1% of 57k pass, {held}", "filtered", "real", filtered, n=58_000, passes=1)
    if scale:
        rows = str(scale)
        yield Table(
            f"k-means, {scale:,}, k = 1000, 10 steps from the same rows",
            "kmeans",
            rows,
            kmeans,
            passes=1,
            common={"k": 1000, "iterations": 10, "mapped": True},
        )
        one_pass = {"k": 1000, "mapped": True}
        yield Table(f"k-means in one pass, {scale:,}", "streaming", rows, stream, passes=1, common=one_pass)
        yield Table(
            f"kNN graph, {scale:,}, k = 15, 2 threads",
            "graph",
            rows,
            graph[:2],
            threads=2,
            passes=1,
            common={"mapped": True},
        )
        yield Table(f"search, {scale:,}, {held}", "search", rows, search[:2], passes=1, common={"mapped": True})
        yield Table(
            f"filtered search, 1% of {scale:,} pass, {held}",
            "filtered",
            rows,
            filtered[:1],
            passes=1,
            common={"mapped": True},
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    real = parser.add_mutually_exclusive_group(required=True)
    real.add_argument("--texts", type=Path, help="a Parquet file with a column text")
    real.add_argument("--vectors", type=Path, help="real vectors, a .npy file")
    parser.add_argument("--scale", type=int, help="also this many rows, made from the real ones")
    parser.add_argument("--only", default="", help="only tables whose job begins like this")
    parser.add_argument("--passes", type=int, help="passes of each entry; default 3 of the quick ones, else 1")
    parser.add_argument("--skip-install", action="store_true", help="take the peers as they are")
    arguments = parser.parse_args()
    if not arguments.skip_install:
        install()
    FOLDER.mkdir(parents=True, exist_ok=True)
    vectors = arguments.vectors or embedded(arguments.texts)
    lines = [f"Machine: {machine()}. Times in seconds, medians.", ""]
    print(lines[0], flush=True)
    for table in tables(arguments.scale):
        if not table.job.startswith(arguments.only):
            continue
        text = measure(table, rows_of(table.rows, vectors), arguments.passes or table.passes)
        print(text, flush=True)
        lines.append(text)
    if not arguments.only:
        RESULT.write_text("\n".join(lines) + "\n")


def install() -> None:
    """The environment of the peers."""
    if not PEERS.exists():
        subprocess.run([sys.executable, "-m", "venv", str(PEERS)], check=True)
    pip = [str(PEERS / "bin" / "python"), "-m", "pip", "install", "--quiet", "-r"]
    subprocess.run([*pip, str(HERE / "clustering" / "requirements.txt")], check=True)


def embedded(texts: Path) -> Path:
    """The vectors of the distinct texts of a Parquet file, as a .npy file; made once."""
    import numpy as np
    import pyarrow.parquet as pq
    from lmsys_rs import Encoder

    path = FOLDER / f"{texts.stem}.npy"
    if not path.exists():
        column = pq.read_table(texts, columns=["text"])["text"].to_pylist()
        distinct = sorted({text[:300] for text in column if text and text.strip()})
        order = np.random.default_rng(0).permutation(len(distinct))[:100_000]
        np.save(path, Encoder(max_length=48).embed([distinct[i] for i in order]))
    return path


def rows_of(rows: str, vectors: Path) -> Path:
    """The file of a set of rows, made where it is missing."""
    if rows == "real":
        return vectors
    import numpy as np

    sys.path.insert(0, str(JOBS.parent))
    from rows import scale_rows

    return scale_rows(np.load(vectors), int(rows), FOLDER / f"{rows}.npy")


def measure(table: Table, rows: Path, passes: int) -> str:
    """One table as Markdown: entries in turn, pass by pass."""
    found: dict[str, list[Figures]] = {entry.label: [] for entry in table.entries}
    for turn in range(passes):
        for entry in table.entries:
            if turn >= (entry.passes or passes):
                continue
            labels = FOLDER / f"{table.job}-{entry.engine}.npy"
            settings = {"rows": str(rows.resolve()), "n": table.n, "labels": str(labels), **table.common}
            found[entry.label].append(run(table, entry, settings | entry.settings))
    merged = [pair for entry in table.entries for pair in points(entry.label, median(found[entry.label]))]
    columns = list(dict.fromkeys(name for _, figures in merged for name in figures))
    own = merged[0][1].get("s")
    heads = [*columns, "ours is faster by"] if own else columns
    text = [f"### {table.title}", "", "| | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(heads)]
    for label, figures in merged:
        cells = [shown(figures.get(name, "")) for name in columns]
        if own:
            cells.append(f"{figures['s'] / own:.1f}x" if "s" in figures else "")
        text.append(f"| {label} | " + " | ".join(cells) + " |")
    if table.job == "hdbscan":
        text.append(f"\nAgreement of the labels (ARI): {agreement():.4f}")
    return "\n".join([*text, ""])


def run(table: Table, entry: Entry, settings: Figures) -> Figures:
    """The figures of one process, or why there are none."""
    python = sys.executable if entry.engine in ("ours", "linfa") else str(PEERS / "bin" / "python")
    threads = str(table.threads)
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS")
    environment = os.environ | dict.fromkeys((*names, "THREADS"), threads)
    command = [python, str(JOBS), table.job, entry.engine, json.dumps(settings)]
    if shutil.which("taskset"):
        command = ["taskset", "-c", f"0-{table.threads - 1}" if table.threads > 1 else "1", *command]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return {"why not": f"more than {LIMIT_S} s"}
    if done.returncode:
        return {"why not": (done.stderr.strip().splitlines() or ["no reason given"])[-1][:120]}
    figures: Figures = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def points(label: str, figures: Figures) -> Iterator[tuple[str, Figures]]:
    """A row for each setting that an engine was asked with after one build."""
    settings = {name: value for name, value in figures.items() if isinstance(value, dict)}
    if not settings:
        yield label, figures
    for name, value in settings.items():
        yield f"{label}, {name}", {k: v for k, v in figures.items() if k not in settings} | value


def median(passes: list[Figures]) -> Figures:
    """Figure by figure; what is no number is that of the first pass."""
    merged: Figures = {}
    for name, value in passes[0].items():
        values = [figures[name] for figures in passes if isinstance(figures.get(name), (int, float))]
        merged[name] = statistics.median(values) if values and isinstance(value, (int, float)) else value
    return merged


def agreement() -> float:
    """Adjusted Rand index of the labels that the engines of HDBSCAN left."""
    import numpy as np
    from lmsys_rs import adjusted_rand_score

    labels = [np.load(FOLDER / f"hdbscan-{engine}.npy") for engine in ("ours", "fast")]
    return float(adjusted_rand_score(*labels))


def shown(value: Any) -> str:
    """A figure with as many digits as it deserves."""
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 1_000 else f"{value:.2f}" if value >= 2 else f"{value:.3f}"
    return "" if value is None else str(value)


def machine() -> str:
    """What it ran on."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        name = names[0] if names else name
    from lmsys_rs import available_isas

    return f"{name}, {os.cpu_count()} CPUs, kernels {available_isas()[-1]}"


if __name__ == "__main__":
    main()
