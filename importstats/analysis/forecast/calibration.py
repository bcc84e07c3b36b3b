"""The width of the interval that holds the truth as often as it promises.

A model is surer than it should be. Its errors on families that it was not fitted on show how wide
its interval must be: split conformal prediction (Vovk, Gammerman & Shafer, *Algorithmic Learning in
a Random World*, 2005). The model's own width counts by its square root: when it is very sure it
errs nearly as much as when it is not, and an interval from minutes to days is of no use (ours; the
power of 0 to 1 that made intervals narrowest at equal coverage).

Clusters differ and are followed online: after each ended job the next job's interval is stretched
if the truth lay outside too often, and shrunk if it did so too seldom (Gibbs & Candes, *Adaptive
Conformal Inference Under Distribution Shift*, NeurIPS 2021)::

    log(stretch) += step * (share outside - 0.2)
"""

from __future__ import annotations

from typing import Final

import numpy as np

from importstats.arrays import Bools, Floats, Ints

#: The interval's reach below and above the median on the log scale, without and with history, as a
#: multiple of the square root of the model's own reach. Jobs of both kinds of simulated fleets
#: needed these (tuning seeds); of intervals that hold as much, they are about the narrowest.
REACH: Final = ((1.8, 0.7), (0.9, 0.5))
#: The same once indexes have moved twice, because their pace shows how long they take.
REACH_BY_PACE: Final = ((1.3, 0.65), (0.6, 0.4))
_MISSES: Final = 0.2
_STEP: Final = 0.7
_BOUNDS: Final = (-0.5, 1.2)


def stretched(quantiles: Floats, by_pace: Bools, history: Bools, stretch: Floats) -> Floats:
    """The 10, 50 and 90 % quantiles with a calibrated interval, (rows, 3)."""
    table = np.where(by_pace[:, None, None], np.array([REACH_BY_PACE]), np.array([REACH]))
    factor = table[np.arange(len(table)), history.astype(np.int64)] * stretch[:, None]
    log = np.log(np.maximum(quantiles, 1e-6))
    low = log[:, 1] - factor[:, 0] * np.sqrt(log[:, 1] - log[:, 0])
    high = log[:, 1] + factor[:, 1] * np.sqrt(log[:, 2] - log[:, 1])
    return np.asarray(np.exp(np.column_stack([low, log[:, 1], high])), np.float64)


def online_stretch(quantiles: Floats, true_left_s: Floats, jobs: list[Ints]) -> float:
    """The stretch after some jobs, from how many of their rows lay outside of the intervals.

    Whether a row lies outside depends on the stretch at that time.

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
