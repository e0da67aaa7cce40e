"""One measurement of benches/clustering.py: ``python jobs.py JOB ENGINE SETTINGS`` prints its figures as JSON.

Run by whichever interpreter has the engine: ours, or that of the peers. Compilation and warm-up on a few rows are not
in the times; reading the file is not either.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from rows import true_neighbors

Figures = dict[str, Any]
Job = Callable[[np.ndarray, dict[str, Any]], Figures]
SAMPLE = 500


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """(result, seconds)."""
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def peak_mb() -> int:
    """Most resident memory of the process so far, mapped files included."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1024 if sys.platform != "darwin" else 1024**2))


def ours() -> Any:
    """The core, on as many threads as asked for."""
    from lmsys_rs import _core

    _core.configure(n_threads=int(os.environ["THREADS"]))
    return _core


# ---- k-means ----------------------------------------------------------------------------------------------------


def start(x: np.ndarray, k: int) -> np.ndarray:
    """The same k random rows for everybody."""
    return x[np.sort(np.random.default_rng(5).choice(len(x), k, replace=False))].copy()


def kmeans_ours(x: np.ndarray, p: dict[str, Any]) -> Figures:
    core, c = ours(), start(x, p["k"])
    fit, seconds = timed(lambda: core.KMeans(p["k"], init=c, max_iter=p["iterations"], tol=0.0).fit(x))
    return {"s": seconds, "inertia": fit.inertia_}


def kmeans_faiss(x: np.ndarray, p: dict[str, Any]) -> Figures:
    import faiss

    faiss.omp_set_num_threads(int(os.environ["THREADS"]))
    c = start(x, p["k"])
    fit = faiss.Kmeans(x.shape[1], p["k"], niter=p["iterations"], max_points_per_centroid=10**9)
    _, seconds = timed(lambda: fit.train(x, init_centroids=c))
    distances, _ = fit.index.search(x, 1)
    return {"s": seconds, "inertia": float(distances.astype(np.float64).sum())}


def kmeans_sklearn(x: np.ndarray, p: dict[str, Any]) -> Figures:
    from sklearn.cluster import KMeans

    c = start(x, p["k"])
    model = KMeans(p["k"], init=c, n_init=1, max_iter=p["iterations"], tol=0.0, algorithm="lloyd")
    fit, seconds = timed(lambda: model.fit(x))
    return {"s": seconds, "inertia": float(fit.inertia_)}


def kmeans_linfa(x: np.ndarray, p: dict[str, Any]) -> Figures:
    folder = Path(p["labels"]).parent
    np.save(folder / "linfa-rows.npy", x)
    np.save(folder / "linfa-start.npy", start(x, p["k"]))
    # cargo builds it where it is missing; the time is taken inside
    command = ["cargo", "bench", "--quiet", "--no-default-features", "--bench", "linfa_kmeans", "--"]
    files = [str(folder / "linfa-rows.npy"), str(folder / "linfa-start.npy"), str(p["iterations"])]
    done = subprocess.run([*command, *files], capture_output=True, text=True, check=True)
    figures: Figures = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def exact_inertia(x: np.ndarray, centroids: np.ndarray) -> float:
    """Sum of squared distances to the nearest centroid."""
    half = (0.5 * (centroids.astype(np.float64) ** 2).sum(axis=1)).astype(np.float32)
    total = 0.0
    for at in range(0, len(x), 8192):
        part = np.asarray(x[at : at + 8192])
        best = (part @ centroids.T - half).max(axis=1)
        total += float(((part.astype(np.float64) ** 2).sum(axis=1) - 2.0 * best).sum())
    return total


def streaming_ours(x: np.ndarray, p: dict[str, Any]) -> Figures:
    core = ours()
    model = core.MiniBatchKMeans(p["k"])

    def one_pass() -> None:
        for at in range(0, len(x), 131_072):
            model.partial_fit(x[at : at + 131_072])

    _, seconds = timed(one_pass)
    return {"s": seconds, "inertia": exact_inertia(x, np.asarray(model.cluster_centers_))}


def streaming_sklearn(x: np.ndarray, p: dict[str, Any]) -> Figures:
    from sklearn.cluster import MiniBatchKMeans

    model = MiniBatchKMeans(p["k"], random_state=0, n_init=1)

    def one_pass() -> None:
        for at in range(0, len(x), 5_000):
            model.partial_fit(x[at : at + 5_000].astype(np.float64))

    _, seconds = timed(one_pass)
    return {"s": seconds, "inertia": exact_inertia(x, model.cluster_centers_.astype(np.float32))}


# ---- the graph --------------------------------------------------------------------------------------------------


def recall(x: np.ndarray, ids: np.ndarray) -> float:
    """Share of the true neighbours of a sample that the lists hold; a row in its own list is not counted."""
    k = 15
    sample = np.sort(np.random.default_rng(0).choice(len(x), SAMPLE, replace=False))
    truth = true_neighbors(x, np.asarray(x[sample]), k + 1)
    shares = [
        len((set(t.tolist()) - {int(i)}) & (set(ids[i].tolist()) - {int(i)})) / k
        for i, t in zip(sample, truth, strict=True)
    ]
    return float(min(1.0, np.mean(shares)))


def graph_ours(x: np.ndarray, p: dict[str, Any]) -> Figures:
    core = ours()
    graph, seconds = timed(lambda: core.KnnGraph.build(x, 15, recall=p["recall"]))
    peak = peak_mb()  # before recall is measured
    return {"s": seconds, "recall": recall(x, np.asarray(graph.indices)), "reported": graph.recall, "peak MB": peak}


def graph_pynndescent(x: np.ndarray, p: dict[str, Any]) -> Figures:
    from pynndescent import NNDescent

    def build(rows: np.ndarray) -> np.ndarray:
        index = NNDescent(rows, n_neighbors=p["n_neighbors"], n_jobs=int(os.environ["THREADS"]), random_state=1)
        return index.neighbor_graph[0][:, :16]

    build(x[:3_000])
    ids, seconds = timed(lambda: build(x))
    peak = peak_mb()
    return {"s": seconds, "recall": recall(x, ids), "peak MB": peak}


def graph_hnswlib(x: np.ndarray, p: dict[str, Any]) -> Figures:
    import hnswlib

    def build() -> np.ndarray:
        index = hnswlib.Index("l2", x.shape[1])
        index.set_num_threads(int(os.environ["THREADS"]))
        index.init_index(len(x), ef_construction=200, M=16)
        index.add_items(x)
        index.set_ef(p["ef"])
        return index.knn_query(x, 16)[0]

    ids, seconds = timed(build)
    peak = peak_mb()
    return {"s": seconds, "recall": recall(x, ids), "peak MB": peak}


# ---- density ----------------------------------------------------------------------------------------------------


def labels_of(labels: np.ndarray, path: str | None) -> Figures:
    if path:
        np.save(path, labels.astype(np.int32))
    return {"clusters": int(labels.max() + 1), "noise": float((labels < 0).mean())}


def density_ours(x: np.ndarray, p: dict[str, Any]) -> Figures:
    core = ours()
    fit, seconds = timed(lambda: core.Density().fit(x))
    return {"s": seconds, **labels_of(np.asarray(fit.labels_), p.get("labels"))}


def density_evoc(x: np.ndarray, p: dict[str, Any]) -> Figures:
    import evoc

    evoc.EVoC().fit_predict(x[:3_000])
    labels, seconds = timed(lambda: evoc.EVoC().fit_predict(x))
    return {"s": seconds, **labels_of(np.asarray(labels), p.get("labels"))}


def hdbscan_ours(x: np.ndarray, p: dict[str, Any]) -> Figures:
    core = ours()
    fit, seconds = timed(lambda: core.HDBSCAN(min_cluster_size=15).fit(x))
    return {"s": seconds, **labels_of(np.asarray(fit.labels_), p.get("labels"))}


def hdbscan_fast(x: np.ndarray, p: dict[str, Any]) -> Figures:
    import fast_hdbscan

    model = fast_hdbscan.HDBSCAN(min_cluster_size=15, min_samples=15)
    model.fit(x[:1_000])
    fit, seconds = timed(lambda: model.fit(x))
    return {"s": seconds, **labels_of(np.asarray(fit.labels_), p.get("labels"))}


def hdbscan_hdbscan(x: np.ndarray, p: dict[str, Any]) -> Figures:
    import hdbscan

    model = hdbscan.HDBSCAN(min_cluster_size=15, min_samples=15, core_dist_n_jobs=1)
    fit, seconds = timed(lambda: model.fit(x))
    return {"s": seconds, **labels_of(np.asarray(fit.labels_), p.get("labels"))}


# ---- the map ----------------------------------------------------------------------------------------------------


def kept(x: np.ndarray, layout: np.ndarray) -> float:
    """Share of the 10 nearest neighbours that are among the 10 nearest on the map, of a sample."""
    sample = np.sort(np.random.default_rng(0).choice(len(x), SAMPLE, replace=False))
    near = true_neighbors(x, np.asarray(x[sample]), 11)
    shares = []
    for i, row in zip(sample, near, strict=True):
        distances = ((layout - layout[i]) ** 2).sum(axis=1)
        on_map = set(np.argpartition(distances, 11)[:11].tolist()) - {int(i)}
        shares.append(len(on_map & (set(row.tolist()) - {int(i)})) / 10)
    return float(np.mean(shares))


def map_ours(x: np.ndarray, p: dict[str, Any]) -> Figures:
    core = ours()
    layout, seconds = timed(lambda: np.asarray(core.UMAP().fit_transform(x)))
    return {"s": seconds, "kept": kept(x, layout)}


def map_umap_learn(x: np.ndarray, p: dict[str, Any]) -> Figures:
    import umap

    umap.UMAP(n_jobs=1, random_state=0).fit_transform(x[:5_000])
    model = umap.UMAP(n_jobs=1, random_state=0)
    layout, seconds = timed(lambda: model.fit_transform(x))
    return {"s": seconds, "kept": kept(x, np.asarray(layout))}


def tsne_ours(x: np.ndarray, p: dict[str, Any]) -> Figures:
    core = ours()
    layout, seconds = timed(lambda: np.asarray(core.TSNE().fit_transform(x)))
    return {"s": seconds, "kept": kept(x, layout)}


def tsne_open(x: np.ndarray, p: dict[str, Any]) -> Figures:
    import openTSNE

    layout, seconds = timed(lambda: np.asarray(openTSNE.TSNE(n_jobs=1, random_state=0).fit(x)))
    return {"s": seconds, "kept": kept(x, layout)}


# ---- search -----------------------------------------------------------------------------------------------------


def held_out(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(rows to build on, queries that are not among them, their true neighbours)."""
    rows, queries = np.asarray(x[:-1_000]), np.asarray(x[-1_000:])
    return rows, queries, true_neighbors(rows, queries, 10)


def ask(search: Callable[[np.ndarray], np.ndarray], queries: np.ndarray, truth: np.ndarray) -> Figures:
    """Queries per second, one call each, and recall at 10; the median of three passes."""
    rates, ids = [], []
    for _ in range(3):
        start_time = time.perf_counter()
        ids = [search(queries[i : i + 1]) for i in range(len(queries))]
        rates.append(len(queries) / (time.perf_counter() - start_time))
    found = [len(set(np.asarray(a).ravel().tolist()) & set(t.tolist())) / 10 for a, t in zip(ids, truth, strict=True)]
    return {"qps": sorted(rates)[1], "recall": float(np.mean(found))}


def resident_mb() -> float:
    """Resident memory of the process now."""
    if sys.platform == "darwin":
        return float("nan")
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def build_ours(core: Any, rows: np.ndarray, engine: str, folder: Path) -> Any:
    """An index; `mapped` is the partitioned one over rows in a file."""
    if engine != "mapped":
        return core.Index.build(rows, engine=engine)
    return core.Index.build(np.load(folder / "search-rows.npy", mmap_mode="r"), engine="partitioned")


def search_ours(x: np.ndarray, p: dict[str, Any]) -> Figures:
    core = ours()
    rows, queries, truth = held_out(x)
    folder = Path(p["labels"]).parent
    if p["engine"] == "mapped":
        np.save(folder / "search-rows.npy", rows)
    before = resident_mb()
    index, seconds = timed(lambda: build_ours(core, rows, p["engine"], folder))
    out: Figures = {"build s": seconds, "memory MB": resident_mb() - before}
    for asked in p["recalls"]:
        recall = asked if p["engine"] in ("partitioned", "mapped") else None
        # the median of three rounds over one build
        out[f"recall {asked}"] = ask(lambda q, r=recall: index.search(q, 10, recall=r)[0], queries, truth)
    return out


def search_hnswlib(x: np.ndarray, p: dict[str, Any]) -> Figures:
    import hnswlib

    rows, queries, truth = held_out(x)
    before = resident_mb()
    index = hnswlib.Index("l2", x.shape[1])
    index.set_num_threads(1)
    index.init_index(len(rows), ef_construction=200, M=16)
    _, seconds = timed(lambda: index.add_items(rows))
    out: Figures = {"build s": seconds, "memory MB": resident_mb() - before}
    for ef in p["ef"]:
        index.set_ef(ef)
        out[f"ef {ef}"] = ask(lambda q: index.knn_query(q, 10)[0], queries, truth)
    return out


def search_usearch(x: np.ndarray, p: dict[str, Any]) -> Figures:
    from usearch.index import Index

    rows, queries, truth = held_out(x)
    before = resident_mb()
    index = Index(ndim=x.shape[1], metric="l2sq", dtype="f32", connectivity=16, expansion_add=200)
    _, seconds = timed(lambda: index.add(np.arange(len(rows)), rows, threads=1))
    out: Figures = {"build s": seconds, "memory MB": resident_mb() - before}
    for ef in p["ef"]:
        index.expansion_search = ef
        out[f"ef {ef}"] = ask(lambda q: index.search(q, 10, threads=1).keys, queries, truth)
    return out


def search_faiss(x: np.ndarray, p: dict[str, Any]) -> Figures:
    import faiss

    faiss.omp_set_num_threads(1)
    rows, queries, truth = held_out(x)
    before = resident_mb()
    index = faiss.IndexHNSWFlat(x.shape[1], 16)
    index.hnsw.efConstruction = 200
    _, seconds = timed(lambda: index.add(rows))
    out: Figures = {"build s": seconds, "memory MB": resident_mb() - before}
    for ef in p["ef"]:
        index.hnsw.efSearch = ef
        out[f"ef {ef}"] = ask(lambda q: index.search(q, 10)[1], queries, truth)
    return out


def passing(x: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(rows, queries, which rows pass, true neighbours of the queries among them)."""
    rows, queries = x[:-1_000], np.asarray(x[-1_000:])
    passes = np.random.default_rng(3).random(len(rows)) < share
    ids = np.flatnonzero(passes).astype(np.uint32)
    return rows, queries, passes, ids[true_neighbors(np.asarray(rows[ids]), queries, 10)]


def filtered_ours(x: np.ndarray, p: dict[str, Any]) -> Figures:
    core = ours()
    rows, queries, passes, truth = passing(x, p["share"])
    index, seconds = timed(lambda: core.Index.build(rows))
    ids = np.flatnonzero(passes).astype(np.uint32)
    return {
        "build s": seconds,
        "by mask": ask(lambda q: index.search(q, 10, where=passes)[0], queries, truth),
        "by ids": ask(lambda q: index.search(q, 10, where=ids)[0], queries, truth),
    }


def filtered_hnswlib(x: np.ndarray, p: dict[str, Any]) -> Figures:
    import hnswlib

    rows, queries, passes, truth = passing(x, p["share"])
    index = hnswlib.Index("l2", x.shape[1])
    index.set_num_threads(1)
    index.init_index(len(rows), ef_construction=200, M=16)
    _, seconds = timed(lambda: index.add_items(np.asarray(rows)))
    index.set_ef(320)
    allowed = set(np.flatnonzero(passes).tolist())
    asked = ask(lambda q: index.knn_query(q, 10, filter=allowed.__contains__)[0], queries[:200], truth[:200])
    return {"build s": seconds, "by function": asked}


def main() -> None:
    """Run one job."""
    job, engine, settings = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    x = np.load(settings["rows"], mmap_mode="r" if settings.get("mapped") else None)
    if settings.get("n"):
        x = x[: settings["n"]]
    figures = globals()[f"{job}_{engine}"](x, settings)
    figures.setdefault("peak MB", peak_mb())
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
