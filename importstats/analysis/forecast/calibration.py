"""The width of the interval, so that it holds what it promises.

A model is surer than it should be. On recordings of families that it was not fitted on, errors say
how wide its interval has to be in each phase: split conformal prediction (Vovk, Gammerman & Shafer,
*Algorithmic Learning in a Random World*, 2005). What the model itself says of the width counts by
its square root: where it is very sure it errs nearly as much as where it is not, and an interval
that reaches from minutes to days is of no use (ours; the power of 0 to 1 that made intervals
narrowest at equal coverage).

A cluster that differs is followed online: with every ended job the interval of the next is
stretched if the job's snapshots lay outside of theirs too often, and shrunk if too seldom (Gibbs &
Candes, *Adaptive Conformal Inference Under Distribution Shift*, NeurIPS 2021)::

    log(stretch) += step * (share outside - 0.2)
"""

from __future__ import annotations

from typing import Final

import numpy as np

from importstats.arrays import Bools, Floats, Ints

#: Below and above the median, without and with history, how many times the square root of the
#: model's own reach on the log scale the interval reaches. Without history, tuning jobs of both
#: kinds of simulated fleets lay below it about as often as above it.
REACH: Final = {
    "Pending": ((1.0, 1.0), (0.55, 1.15)),
    "PreImporting": ((1.25, 1.05), (0.65, 0.8)),
    "Importing": ((1.35, 1.2), (0.63, 0.81)),
    "Sorting": ((1.5, 1.0), (0.75, 0.6)),
    "IndexBuilding": ((1.23, 0.46), (0.48, 0.53)),
    "Committing": ((1.0, 1.0), (0.7, 0.7)),
}
#: The same of IndexBuilding before it has moved.
REACH_BEFORE_INDEXES: Final = ((1.95, 1.6), (0.9, 0.8))
_MISSES: Final = 0.2
_STEP: Final = 0.3
_BOUNDS: Final = (-0.5, 1.2)


def stretched(
    quantiles: Floats, phase: list[str], moved: Bools, history: Bools, stretch: Floats
) -> Floats:
    """The 10, 50 and 90 % quantiles with an interval as wide as it should be, (rows, 3)."""
    table = np.array([REACH[name] for name in phase]).reshape(-1, 2, 2)
    indexes = np.array([name == "IndexBuilding" for name in phase], np.bool_)
    table[indexes & ~moved] = REACH_BEFORE_INDEXES
    factor = table[np.arange(len(phase)), history.astype(np.int64)] * stretch[:, None]
    log = np.log(np.maximum(quantiles, 1e-6))
    low = log[:, 1] - factor[:, 0] * np.sqrt(log[:, 1] - log[:, 0])
    high = log[:, 1] + factor[:, 1] * np.sqrt(log[:, 2] - log[:, 1])
    return np.asarray(np.exp(np.column_stack([low, log[:, 1], high])), np.float64)


def online_stretch(quantiles: Floats, true_left_s: Floats, jobs: list[Ints]) -> float:
    """The stretch after these jobs, each of which had its rows outside of intervals or within.

    Whether a row lies outside depends on the stretch as it was then.

    Examples
    --------
    >>> quantiles = np.array([[1.0, 2.0, 4.0]] * 4)
    >>> jobs = [np.array([0, 1]), np.array([2, 3])]
    >>> online_stretch(quantiles, np.array([2.0, 2.0, 2.0, 2.0]), jobs) < 1
    True
    >>> online_stretch(quantiles, np.array([2.0, 9.0, 9.0, 0.1]), jobs) > 1
    True
    """
    log = np.log(np.maximum(quantiles, 1e-6))
    away = np.log(np.maximum(true_left_s, 1e-3)) - log[:, 1]
    side = np.where(away < 0, log[:, 1] - log[:, 0], log[:, 2] - log[:, 1])
    needed = np.abs(away) / np.maximum(side, 1e-6)
    stretch = 0.0
    for rows in jobs:
        outside = float((needed[rows] > np.exp(stretch)).mean())
        stretch = float(np.clip(stretch + _STEP * (outside - _MISSES), *_BOUNDS))
    return float(np.exp(stretch))
