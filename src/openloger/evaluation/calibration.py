"""Does confidence mean anything: do errors fall where it rises?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from openloger.errors import InputError
from openloger.shapes import Float


@dataclass(frozen=True)
class Calibration:
    """Errors by confidence. A useful confidence has a negative rank correlation and a small sparsification error."""

    confidence: tuple[float, ...]  # mean of each bin, rising; bins of equal numbers of pixels
    error: tuple[float, ...]  # mean of each bin
    rank_correlation: float  # Spearman's ρ between confidence and error: −1 is perfect, 0 is none
    sparsification: float  # area between the curves of what is left, 0 for the perfect order, 1 for a random one
    count: int


def calibration(
    confidence: Float[np.ndarray, " pixel"], error: Float[np.ndarray, " pixel"], *, bins: int = 10
) -> Calibration:
    """Errors in order of confidence.

    `sparsification` (after Ilg et al., ECCV 2018, AUSE): the mean error of what is left when the least confident
    share is taken away, averaged over the shares, minus the same with the largest errors taken away first, divided by
    that difference for a random order. Raises InputError for fewer pixels than bins, and numbers that are not finite.
    """
    if bins < 2 or len(error) < bins:
        raise InputError(f"{len(error)} pixels cannot be put into {bins} bins of at least one; at least 2 bins")
    confidence, error = confidence.astype(np.float64), error.astype(np.float64)
    if not (np.isfinite(confidence).all() and np.isfinite(error).all()):
        raise InputError("confidences and errors must be finite numbers; leave the others out")
    order = np.argsort(confidence, kind="stable")
    groups = np.array_split(order, bins)
    best = _area_left(np.sort(error)[::-1])
    random = float(error.mean())
    ranked = _area_left(_tied_mean(confidence, error)[order])
    return Calibration(
        confidence=tuple(float(confidence[group].mean()) for group in groups),
        error=tuple(float(error[group].mean()) for group in groups),
        rank_correlation=rank_correlation(confidence, error),
        sparsification=(ranked - best) / (random - best) if random > best else 0.0,
        count=len(error),
    )


def rank_correlation(a: Float[np.ndarray, " value"], b: Float[np.ndarray, " value"]) -> float:
    """Spearman's ρ; equal values share their mean rank. 0 where one of the two does not vary."""
    ranks = [_ranks(np.asarray(values, dtype=np.float64)) for values in (a, b)]
    x, y = (rank - rank.mean() for rank in ranks)
    norm = float(np.sqrt((x * x).sum() * (y * y).sum()))
    return float((x * y).sum()) / norm if norm > 0 else 0.0


def _ranks(values: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (counts.cumsum() - (counts - 1) / 2)[inverse]


def _tied_mean(key: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Every value replaced by the mean of those with the same key, so that ties have no order."""
    _, inverse, counts = np.unique(key, return_inverse=True, return_counts=True)
    return (np.bincount(inverse, weights=values) / counts)[inverse]


def _area_left(errors: np.ndarray) -> float:
    """The mean, over how many are taken away from the front, of the mean of the rest."""
    rest = errors[::-1].cumsum() / np.arange(1, len(errors) + 1)
    return float(rest.mean())
