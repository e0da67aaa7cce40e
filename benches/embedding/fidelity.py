"""How near are an engine's vectors to those of fp32, and are its neighbours and clusters as good?

Started by benches/embedding.py in the peers' environment, with a job as JSON on stdin; reads the vectors that the
engines wrote and answers with one line of JSON, figures by engine and set. It runs no engine.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.float32]
NEIGHBOURS = 10
BLOCK = 1_024  # rows compared with all others at once: 60 MB of products for 15,000 texts


def unit_rows(path: Path) -> Rows:
    rows: Rows = np.load(path)
    unit: Rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return unit


def nearest(rows: Rows) -> npt.NDArray[np.int64]:
    """The nearest other rows of each row, exact."""
    found = []
    for start in range(0, len(rows), BLOCK):
        products = rows[start : start + BLOCK] @ rows.T
        products[np.arange(len(products)), start + np.arange(len(products))] = -np.inf
        found.append(np.argpartition(-products, NEIGHBOURS, axis=1)[:, :NEIGHBOURS])
    return np.concatenate(found)


def overlap(left: npt.NDArray[np.int64], right: npt.NDArray[np.int64]) -> float:
    shared = [len(np.intersect1d(a, b, assume_unique=True)) for a, b in zip(left, right, strict=True)]
    return float(np.mean(shared)) / NEIGHBOURS


def v_measure(rows: Rows, truth: list[str], seeds: int) -> float:
    """k-means told the true number of classes; the mean over the seeds."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import v_measure_score

    k = len(set(truth))
    labels = (KMeans(k, n_init=1, random_state=seed).fit_predict(rows) for seed in range(seeds))
    return float(np.mean([v_measure_score(truth, found) for found in labels]))


def scores(job: dict[str, Any], name: str, folders: dict[str, Path]) -> dict[str, dict[str, float]]:
    """Figures of every engine on the set `name`."""
    of_set = job["sets"][name]
    reference = unit_rows(folders[job["reference"]] / f"{name}.npy")
    of_reference = nearest(reference[: of_set["n_neighbours"]])
    found: dict[str, dict[str, float]] = {}
    for engine, folder in folders.items():
        rows = unit_rows(folder / f"{name}.npy")
        found[engine] = {"overlap": overlap(of_reference, nearest(rows[: of_set["n_neighbours"]]))}
        if rows.shape == reference.shape and engine not in job["other_space"]:
            cosines = (rows * reference).sum(axis=1, dtype=np.float64)
            found[engine] |= {"mean_cosine": float(cosines.mean()), "worst_cosine": float(cosines.min())}
        if of_set["truth"]:
            found[engine]["v_measure"] = v_measure(rows, of_set["truth"], job["seeds"])
    return found


def main() -> None:
    job = json.load(sys.stdin)
    folders = {engine: Path(folder) for engine, folder in job["folders"].items()}
    print(json.dumps({name: scores(job, name, folders) for name in job["sets"]}))


if __name__ == "__main__":
    main()
