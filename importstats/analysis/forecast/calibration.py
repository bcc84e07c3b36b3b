"""The width of the interval that holds the truth as often as it promises.

A model is surer than it should be. Its errors on families that it was not fitted on show how wide
its interval must be: split conformal prediction (Vovk, Gammerman & Shafer, *Algorithmic Learning in
a Random World*, 2005). What is calibrated is the model's own reach and, if there are earlier jobs,
how far apart model and twin are: the variance of a mixture is that within its parts and that
between them. It counts by its square root, as a model that is very sure errs nearly as much as one
that is not, and an interval from minutes to days is of no use (ours).

Clusters differ, and so do phases on each. Once two of a cluster's jobs have ended, each of its
latest is predicted from the others, and the interval is stretched by the root of the mean square of
what they missed, as a multiple of the interval's reach, see :func:`learned_stretch`.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from importstats.arrays import Floats, Ints

#: Stands for the phase once indexes have moved twice, because their pace shows how long they take.
PACE: Final = "pace"
#: The interval's reach below and above the median on the log scale, without and with history, as a
#: multiple of the root of the model's own reach. Jobs of simulated fleets needed these in each
#: phase (tuning seeds). Without history intervals that hold as much are about the narrowest if
#: they reach far below; with history 4 of 100 jobs end before, and 16 after. The wait for an index
#: that shows nothing is often almost over, and the interval reaches down to there.
REACH: Final = ((1.8, 0.7), (1.05, 0.55))
REACH_IN: Final = {
    "Pending": ((1.8, 0.7), (1.2, 0.64)),
    "PreImporting": ((1.8, 0.7), (1.2, 0.64)),
    "Sorting": ((3.0, 0.6), (1.35, 0.46)),
    "IndexBuilding": ((1.8, 0.7), (1.35, 0.46)),
    PACE: ((1.1, 0.7), (0.76, 0.46)),
}
# Without history and before a pace is seen the model is never surer than this (log): tasks that
# look regular say nothing about the phases after them.
_UNKNOWN: Final = 0.5
#: With history no interval reaches further above the median than this, on the log scale: on tuning
#: seeds any further reach adds to its width, and next to nothing to what it holds (ours).
MOST_ABOVE: Final = 0.6
# A row misses by this many times its reach at most: a job that hung for hours says little.
_MOST_MISSED: Final = 3.0
# The belief that the shipped reach is right weighs as much as so many jobs.
_SHIPPED_JOBS: Final = 3.0


def stretched(
    quantiles: Floats,
    apart: Floats,
    phase: npt.NDArray[np.str_],
    jobs: Floats,
    stretch: Floats,
) -> Floats:
    """The 10, 50 and 90 % quantiles with a calibrated interval, (rows, 3).

    Parameters
    ----------
    quantiles : ndarray of float64, (rows, 3)
        As the model has them.
    apart : ndarray of float64
        How far model and twin are apart on the log scale; 0 without a twin.
    phase : ndarray of str
        Each row's phase, or :data:`PACE`.
    jobs : ndarray of float64
        How many earlier jobs of the collection each row rests on.
    stretch : ndarray of float64
        The :func:`learned_stretch` of each row's phase.
    """
    names, place = np.unique(phase, return_inverse=True)
    reach = np.array([REACH_IN.get(str(name), REACH) for name in names]).reshape(-1, 2, 2)
    factor = reach[place, (jobs > 0).astype(np.int64)] * stretch[:, None]
    log = np.log(np.maximum(quantiles, 1e-6))
    least = np.where((jobs > 0) | (phase == PACE), 0.0, _UNKNOWN)
    own = np.hypot(np.diff(log, axis=1), np.maximum(apart, least)[:, None])
    away = np.column_stack([-factor[:, 0], np.zeros(len(log)), factor[:, 1]])
    away[:, [0, 2]] *= np.sqrt(own)
    return np.asarray(np.exp(log[:, [1]] + away), np.float64)


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


def learned_stretch(
    quantiles: Floats, true_left_s: Floats, phase: npt.NDArray[np.str_], job: Ints
) -> dict[str, float]:
    """The stretch in each phase after some jobs, from how far the truth was from the median.

    The distance is a multiple of the interval's reach on that side; its variance is learned by
    :func:`learned_variance` from the belief that it is 1.

    Examples
    --------
    >>> quantiles = np.array([[1.0, 2.0, 4.0]] * 4)
    >>> phase, job = np.array(["Importing"] * 4), np.array([0, 0, 1, 1])
    >>> learned_stretch(quantiles, np.array([2.0, 2.0, 2.0, 2.0]), phase, job)["Importing"] < 1
    True
    >>> learned_stretch(quantiles, np.array([2.0, 9.0, 9.0, 0.1]), phase, job)["Importing"] > 1
    True
    """
    log = np.log(np.maximum(quantiles, 1e-6))
    away = np.log(np.maximum(true_left_s, 1e-3)) - log[:, 1]
    side = np.where(away < 0, log[:, 1] - log[:, 0], log[:, 2] - log[:, 1])
    missed = np.minimum(np.abs(away) / np.maximum(side, 1e-6), _MOST_MISSED)
    variance = learned_variance(missed**2, phase, job, 1.0)
    return {name: value**0.5 for name, value in variance.items()}


def learned_variance(
    squares: Floats, phase: npt.NDArray[np.str_], job: Ints, believed: float
) -> dict[str, float]:
    """The variance of an error in each phase, from its squares in rows of some jobs.

    The mean square over a job's rows is one observation, and the belief weighs as much as three
    jobs: the posterior mean of a scaled inverse chi-squared variance (Gelman et al., *Bayesian Data
    Analysis*, 2013, section 2.6). What all phases have in common is the belief about each phase in
    the same way. Under ``""`` is the variance in a phase that none of the jobs was seen in.
    """
    rows = pd.DataFrame({"phase": phase, "job": job, "square": squares})
    whole = _posterior(believed, rows.groupby("job")["square"].mean().to_numpy())
    found = {"": whole}
    for (name,), part in rows.groupby(["phase"]):
        found[str(name)] = _posterior(whole, part.groupby("job")["square"].mean().to_numpy())
    return found


def _posterior(believed: float, squares: Floats) -> float:
    weight = _SHIPPED_JOBS + len(squares)
    return float((_SHIPPED_JOBS * believed + squares.sum()) / weight)
