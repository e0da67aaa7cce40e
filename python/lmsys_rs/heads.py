"""A linear classifier over vectors, trained on reviewed examples: ridge regression with its own leave-one-out check.

It works on arrays and knows no workspace. Leave-one-out predictions of ridge regression are exact and cost one solve
(Hastie, Tibshirani, Friedman 2009, section 7.10), so how strong to regularise and how far to trust the head are
measured on the examples themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lmsys_rs.errors import InvalidInputError

__all__ = ["Head", "softmax", "train_head"]

STRENGTHS = tuple(10.0**e for e in np.arange(-3, 3.5, 0.5))  # of the regularisation
SHARPNESS = tuple(2.0**e for e in np.arange(0, 6.5, 0.5))  # of the softmax that turns scores into probabilities

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Head:
    """A trained head.

    Attributes:
        coefficients: (dim + 1, n_labels), the last row is the constant.
        sharpness: factor of the scores in the softmax.
        accuracy: share of examples that a head trained without them labels right, each label counting alike.
        n_examples: of each label.
    """

    coefficients: Floats
    sharpness: float
    accuracy: float
    n_examples: tuple[int, ...]

    def probabilities(self, vectors: npt.NDArray[np.float32]) -> Floats:
        """(n, n_labels), rows add up to 1."""
        scores = vectors.astype(np.float64) @ self.coefficients[:-1] + self.coefficients[-1]
        return softmax(self.sharpness * scores)


def train_head(vectors: npt.NDArray[np.float32], labels: npt.NDArray[np.int32], n_labels: int) -> Head:
    """Train a head; labels that have no example are never predicted before others.

    Args:
        vectors: (n, dim) of the examples.
        labels: (n,) 0 to n_labels - 1.

    Raises:
        InvalidInputError: fewer than two labels have two examples.
    """
    counts = np.bincount(labels, minlength=n_labels)
    if int((counts >= 2).sum()) < 2:
        raise InvalidInputError(
            f"a head needs two labels with two examples each: {int((counts >= 2).sum())} have them",
            hint="lmsys classify next TEMPLATE shows texts worth labelling",
        )
    x = np.hstack([vectors.astype(np.float64), np.ones((len(vectors), 1))])
    # one column a label, 1 and 0, rows weighted so that each label counts alike
    targets = np.eye(n_labels)[labels]
    weights = 1.0 / counts[labels]
    weights *= len(labels) / weights.sum()
    root = np.sqrt(weights)[:, None]
    u, s, vt = np.linalg.svd(root * x, full_matrices=False)
    projected = u.T @ (root * targets)
    best: tuple[float, float, Floats, Floats] | None = None
    for strength in STRENGTHS:
        shrink = s**2 / (s**2 + strength)
        fitted = (u * shrink) @ projected
        leverage = np.minimum((u**2) @ shrink, 1 - 1e-9)[:, None]
        # what the row would get from a fit without it
        left_out = (fitted - leverage * root * targets) / (1 - leverage) / root
        accuracy = float(np.average(left_out.argmax(axis=1) == labels, weights=weights))
        if best is None or accuracy > best[0] + 1e-12:
            coefficients = vt.T @ ((s / (s**2 + strength))[:, None] * projected)
            best = (accuracy, strength, coefficients, left_out)
    assert best is not None
    accuracy, _, coefficients, left_out = best
    likelihoods = [
        float(np.average(np.log(softmax(k * left_out)[np.arange(len(labels)), labels] + 1e-12), weights=weights))
        for k in SHARPNESS
    ]
    return Head(coefficients, SHARPNESS[int(np.argmax(likelihoods))], accuracy, tuple(counts.tolist()))


def softmax(scores: Floats) -> Floats:
    """Along the last axis."""
    shifted = np.exp(scores - scores.max(axis=-1, keepdims=True))
    found: Floats = shifted / shifted.sum(axis=-1, keepdims=True)
    return found
