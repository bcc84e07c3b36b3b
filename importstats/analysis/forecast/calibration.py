"""The width of the interval that holds the truth as often as it promises.

A model is surer than it should be. Its errors on families that it was not fitted on show how wide
its interval must be: split conformal prediction (Vovk, Gammerman & Shafer, *Algorithmic Learning in
a Random World*, 2005). The model's own width counts by its square root without history, and by its
fourth root with it: when it is very sure it errs nearly as much as when it is not, and an interval
from minutes to days is of no use (ours; of the powers from 0 to 1 that made intervals narrowest at
equal coverage, the largest). An interval that rests on `n` earlier jobs of the collection is
``sqrt(1 + 1 / n)`` times as wide, as that of one more draw beside the mean of `n` is.

Clusters differ and are followed online: after each ended job the next job's interval is stretched
if the truth lay outside too often, and shrunk if it did so too seldom (Gibbs & Candes, *Adaptive
Conformal Inference Under Distribution Shift*, NeurIPS 2021)::

    log(stretch) += step * (share outside - 0.2)
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from importstats.arrays import Floats, Ints

#: Stands for the phase once indexes have moved twice, because their pace shows how long they take.
PACE: Final = "pace"
#: The interval's reach below and above the median on the log scale, without and with history, as a
#: multiple of the root of the model's own reach. Jobs of simulated fleets needed these in each
#: phase (tuning seeds); of intervals that hold as much, they are about the narrowest. The wait for
#: an index that shows nothing is often almost over, and the interval reaches down to there.
REACH: Final = ((1.8, 0.7), (0.7, 0.3))
REACH_IN: Final = {
    "Pending": ((1.8, 0.7), (0.95, 0.38)),
    "PreImporting": ((1.8, 0.7), (0.85, 0.38)),
    "Sorting": ((3.0, 0.5), (0.7, 0.3)),
    PACE: ((1.1, 0.6), (0.35, 0.25)),
}
_POWER: Final = (0.5, 0.25)
#: With history no interval reaches further above the median than this, on the log scale: on tuning
#: seeds any further reach adds to its width, and next to nothing to what it holds (ours).
MOST_ABOVE: Final = 0.6
_MISSES: Final = 0.2
_STEP: Final = 0.7
_BOUNDS: Final = (-0.5, 1.2)


def stretched(
    quantiles: Floats, phase: npt.NDArray[np.str_], jobs: Floats, stretch: Floats
) -> Floats:
    """The 10, 50 and 90 % quantiles with a calibrated interval, (rows, 3).

    Parameters
    ----------
    quantiles : ndarray of float64, (rows, 3)
        As the model has them.
    phase : ndarray of str
        Each row's phase, or :data:`PACE`.
    jobs : ndarray of float64
        How many earlier jobs of the collection each row rests on.
    stretch : ndarray of float64
        The :func:`online_stretch`.
    """
    history = (jobs > 0).astype(np.int64)
    names, place = np.unique(phase, return_inverse=True)
    reach = np.array([REACH_IN.get(str(name), REACH) for name in names]).reshape(-1, 2, 2)
    few = np.where(jobs > 0, np.sqrt(1 + 1 / np.maximum(jobs, 1.0)), 1.0)
    factor = reach[place, history] * (stretch * few)[:, None]
    power = np.array(_POWER)[history]
    log = np.log(np.maximum(quantiles, 1e-6))
    low = log[:, 1] - factor[:, 0] * (log[:, 1] - log[:, 0]) ** power
    high = log[:, 1] + factor[:, 1] * (log[:, 2] - log[:, 1]) ** power
    return np.asarray(np.exp(np.column_stack([low, log[:, 1], high])), np.float64)


def beside_interruptions(calm: Floats, drawn: Floats, chance: Floats, jobs: Floats) -> Floats:
    """The quantiles of the draws with interruptions, as sure as those without them were made.

    Nothing calibrates what an interruption adds. So the interval reaches as far around its median
    as the calibrated one if the job is not interrupted, as far as the draws if it is, and in
    between by the probability of that; with history never further than :data:`MOST_ABOVE` (ours).

    Parameters
    ----------
    calm : ndarray of float64, (rows, 3)
        The calibrated quantiles of jobs that are not interrupted.
    drawn : ndarray of float64, (rows, 3)
        The quantiles of the draws with interruptions.
    chance : ndarray of float64, (rows,)
        The probability of an interruption.
    jobs : ndarray of float64
        How many earlier jobs of the collection each row rests on.
    """
    log, middle = np.log(np.maximum(calm, 1e-6)), np.log(np.maximum(drawn, 1e-6))
    part = chance[:, None]
    away = (1 - part) * (log - log[:, [1]]) + part * (middle - middle[:, [1]])
    most = np.where(jobs > 0, MOST_ABOVE, np.inf)[:, None]
    return np.asarray(np.exp(middle[:, [1]] + np.minimum(away, most)), np.float64)


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
