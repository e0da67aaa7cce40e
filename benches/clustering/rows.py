"""The rows that clusters, graphs, maps and indexes are measured on: real vectors, and seeded rows made from them.

The recipe of the scale set: take a random real row and one of its 15 nearest neighbours, a random point between the
two, add noise of length 0.35 in a random direction, and bring it to length one. So it has the dense and the thin
regions of the real rows, at any number of rows; what it does not have is their duplicates.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

NEIGHBORS = 15
NOISE = 0.35
PART = 50_000  # rows that are made at a time; part of the seed


def scale_rows(base: npt.NDArray[np.float32], n: int, path: Path, seed: int = 0) -> Path:
    """Write ``n`` rows of the scale set as a .npy file, unless it is there."""
    if path.exists():
        return path
    from lmsys_rs import _core

    base = np.unique(base, axis=0)
    base = base[np.random.default_rng(seed).permutation(len(base))]
    neighbors = np.asarray(_core.KnnGraph.build(base, NEIGHBORS, recall=1.0).indices)
    aside = path.with_suffix(".part")
    out = np.lib.format.open_memmap(aside, mode="w+", dtype=np.float32, shape=(n, base.shape[1]))
    for start in range(0, n, PART):
        rng = np.random.default_rng([seed + 1, start])
        m = min(PART, n - start)
        one = rng.integers(0, len(base), m)
        other = neighbors[one, rng.integers(0, NEIGHBORS, m)]
        share = rng.random((m, 1), dtype=np.float32)
        rows = base[one] * (1 - share) + base[other] * share
        rows += rng.standard_normal(rows.shape, dtype=np.float32) * np.float32(NOISE / np.sqrt(base.shape[1]))
        out[start : start + m] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    out.flush()
    del out
    aside.rename(path)
    return path


def true_neighbors(rows: npt.NDArray[np.float32], queries: npt.NDArray[np.float32], k: int) -> npt.NDArray[np.int64]:
    """The ``k`` nearest rows of each query by brute force in numpy, (m, k), in no order."""
    best_ids = np.zeros((len(queries), 0), dtype=np.int64)
    best = np.zeros((len(queries), 0), dtype=np.float32)
    for start in range(0, len(rows), PART):
        part = np.asarray(rows[start : start + PART])
        # of rows of length one the order of products is that of distances
        scores = queries @ part.T
        top = np.argpartition(-scores, min(k, scores.shape[1] - 1), axis=1)[:, :k]
        best_ids = np.concatenate([best_ids, top + start], axis=1)
        best = np.concatenate([best, np.take_along_axis(scores, top, axis=1)], axis=1)
        keep = np.argpartition(-best, min(k, best.shape[1] - 1), axis=1)[:, :k]
        best_ids, best = np.take_along_axis(best_ids, keep, axis=1), np.take_along_axis(best, keep, axis=1)
    return best_ids
