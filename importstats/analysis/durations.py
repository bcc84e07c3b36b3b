"""The durations of tasks by size in each job: a robust model for censored observations.

An accelerated failure time model with log-logistic errors, whose tails are heavier than a normal's
(Kalbfleisch and Prentice, The Statistical Analysis of Failure Time Data, 2nd edition, 2002)::

    log(duration) = pace + log(bytes + fixed) + scatter x error

A task that ended contributes the probability of its interval; a running task, that of not having
ended yet. A share of the errors comes from a second, wide and slow distribution (Tukey, A Survey of
Sampling from Contaminated Distributions, 1960), so a few stragglers do not bend the rest. The
posterior is summed on a grid, per job, with a prior from earlier jobs or the one shipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from importstats.analysis.interval_chances import log_likelihoods
from importstats.arrays import Bools, Floats, Ints, ends, starts, summed

_SCATTERS: Final = np.array([0.04, 0.08, 0.15, 0.28, 0.48])
_LOG_SCATTER_PRIOR: Final = np.array([-0.7, -0.2, 0.0, -0.2, -0.9])
_FIXED_BYTES: Final = np.array([0.0, 16e6, 128e6, 1e9])
_LOG_FIXED_PRIOR: Final = np.array([-0.5, 0.0, -0.7, -2.5])
_PACES: Final = 25
_PRIOR_PACES: Final = 13
# How many tasks of a job are used: more do not improve what is known about their median.
_MOST_TASKS: Final = 400
_LEAST_S: Final = 0.5
# How much jobs of one collection, and of one cluster, differ.
_APART: Final = (0.3, 0.8)


@dataclass(frozen=True)
class PacePrior:
    """The belief about a typical task's log(seconds per byte) before any task has ended.

    The shipped prior is 25 MB/s and 3 s for each task, give or take a factor of four.
    """

    mean: float = -17.0
    sd: float = 1.4
    fixed_bytes: float = 75e6

    def means(self, log_typical: Floats) -> Floats:
        """The mean, for tasks whose typical log(bytes) is given."""
        whole = np.logaddexp(log_typical, np.log(self.fixed_bytes))
        return np.asarray(self.mean + whole - log_typical, np.float64)


@dataclass(frozen=True)
class Durations:
    """The posterior of each job's durations.

    Attributes
    ----------
    paces, weights : ndarray of float64
        One row per job: values of log(seconds per byte) and their probabilities.
    scatter, fixed_bytes : ndarray of float64
        Per job, the most likely values.
    ended : ndarray of int64
        Per job, how many tasks have ended.
    pooled : ndarray of bool
        Per job, whether its prior comes from other jobs.
    log_typical : ndarray of float64
        Per job, the mean of log(bytes).
    """

    paces: Floats
    weights: Floats
    scatter: Floats
    fixed_bytes: Floats
    ended: Ints
    pooled: Bools
    log_typical: Floats

    @property
    def pace(self) -> Floats:
        """Per job, the mean of log(seconds per byte)."""
        mean: Floats = (self.paces * self.weights).sum(axis=1)
        return mean

    @property
    def whole_pace(self) -> Floats:
        """Per job, log(seconds per byte) of a typical task, its fixed part included."""
        typical = np.exp(self.log_typical)
        return np.asarray(self.pace + np.log(typical + self.fixed_bytes + 1.0) - self.log_typical)

    @property
    def pace_sd(self) -> Floats:
        """Per job, the standard deviation of log(seconds per byte)."""
        variance = ((self.paces - self.pace[:, None]) ** 2 * self.weights).sum(axis=1)
        sd: Floats = np.sqrt(variance)
        return sd

    def median_s(self, job: Ints, size: Floats) -> Floats:
        """The median seconds of tasks of these sizes in these jobs."""
        return np.exp(self.pace[job]) * (size + self.fixed_bytes[job])

    def survival(self, job: Ints, size: Floats, age_s: Floats) -> Floats:
        """The probability that a task of this size takes longer than a time.

        It is for the next task, so it includes the uncertainty of the pace.
        """
        with np.errstate(divide="ignore"):
            log_age = np.log(age_s) - np.log(size + self.fixed_bytes[job])
        chance = np.zeros(len(job))
        for column in range(self.paces.shape[1]):
            error = (log_age - self.paces[job, column]) / self.scatter[job]
            chance += self.weights[job, column] * _logistic_share(-error)
        return chance


def fit_durations(
    job: Ints,
    jobs: int,
    size: Floats,
    least_s: Floats,
    most_s: Floats,
    prior_mean: Floats | None = None,
    prior_sd: Floats | None = None,
    pooled: Bools | None = None,
) -> Durations:
    """The posterior of each job's task durations.

    Parameters
    ----------
    job : ndarray of int64
        The job of each task; tasks that wait are left out.
    jobs : int
        Number of jobs.
    size : ndarray of float64
        Bytes.
    least_s, most_s : ndarray of float64
        Bounds of its duration; `most_s` is infinite while it runs.
    prior_mean, prior_sd : ndarray of float64, optional
        Per job, of log(seconds per byte); by default :class:`PacePrior`.
    pooled : ndarray of bool, optional
        Per job, whether that prior is from other jobs, see :func:`pooled_prior`.

    Examples
    --------
    >>> took = np.array([10.0, 11.0, 9.0, 10.5])
    >>> known = fit_durations(np.zeros(4, int), 1, np.full(4, 1e9), took - 1, took + 1)
    >>> known.median_s(np.zeros(1, int), np.array([1e9])).round().tolist()
    [10.0]
    """
    count = np.maximum(np.bincount(job, minlength=jobs), 1)
    log_typical = summed(job, np.log(size + 1.0), jobs) / count
    shipped = PacePrior()
    mean = shipped.means(log_typical) if prior_mean is None else prior_mean
    sd = np.full(jobs, shipped.sd) if prior_sd is None else prior_sd
    ended = np.bincount(job[np.isfinite(most_s)], minlength=jobs)
    chosen = _sampled(job, size)
    job, size, least_s, most_s = job[chosen], size[chosen], least_s[chosen], most_s[chosen]
    low, high = np.log(np.maximum(least_s, _LEAST_S)), np.log(np.maximum(most_s, 2 * _LEAST_S))
    high = np.maximum(high, low + 0.05)
    paces = _grids(job, jobs, size, low, high, mean, sd)
    log_sizes = np.log(size[:, None] + _FIXED_BYTES + 1.0)
    total = log_likelihoods(job, low, high, log_sizes, paces, _SCATTERS)
    # The prior is about a typical task's whole time, whatever part of it is fixed.
    part = np.log(np.exp(log_typical)[:, None] + _FIXED_BYTES) - log_typical[:, None]
    whole = paces[:, None, :] + part[:, :, None]
    prior = -0.5 * ((whole - mean[:, None, None]) / sd[:, None, None]) ** 2
    prior += np.log(np.maximum(np.gradient(paces, axis=1), 1e-12))[:, None, :]
    total += prior[:, :, None, :]
    total += (_LOG_FIXED_PRIOR[:, None] + _LOG_SCATTER_PRIOR)[:, :, None]
    pairs = len(_FIXED_BYTES) * len(_SCATTERS)
    of_pairs = total.reshape(jobs, pairs, paces.shape[1])
    best = of_pairs.max(axis=2).argmax(axis=1)
    posterior = of_pairs[np.arange(jobs), best]
    fixed, scatter = _FIXED_BYTES[best // len(_SCATTERS)], _SCATTERS[best % len(_SCATTERS)]
    known = np.zeros(jobs, np.bool_) if pooled is None else pooled
    weights = np.exp(posterior - posterior.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    return Durations(paces, weights, scatter, fixed, ended, known, log_typical)


def pooled_prior(known: Durations, *groups: Ints) -> tuple[Floats, Floats, Bools]:
    """Each job's prior pace from the other jobs of its groups, and whether there are any.

    Parameters
    ----------
    known : Durations
        The posterior of all jobs, each fitted on its own.
    groups : ndarray of int64
        Per job, the numbers of its groups, the closest kind first (collection, then cluster). Jobs
        of one collection lie some 0.3 apart (as a logarithm), of one cluster 0.8 (ours).
    """
    shipped = PacePrior()
    count = len(known.ended)
    mean, sd = shipped.means(known.log_typical), np.full(count, shipped.sd)
    pooled = np.zeros(count, np.bool_)
    for group, apart in reversed(list(zip(groups, _APART, strict=True))):
        weight = np.where(known.ended > 0, 1 / (known.pace_sd**2 + apart**2), 0.0)
        others = np.bincount(group, weight)[group] - weight
        total = np.bincount(group, weight * known.whole_pace)[group] - weight * known.whole_pace
        some = others > 1e-9
        mean = np.where(some, total / np.where(some, others, 1.0), mean)
        sd = np.where(some, np.sqrt(apart**2 + 1 / np.where(some, others, 1.0)), sd)
        pooled |= some
    return mean, sd, pooled


def medians_of_censored(values: Floats, ended: Bools) -> Floats:
    """The median of each row of durations, some of which have not ended.

    It is Kaplan and Meier's (JASA 1958). If fewer than half of a row are known to have ended, it is
    the largest that was seen. Infinite values are left out; NaN if there are no others.

    Examples
    --------
    >>> rows = np.array([[1.0, 2.0, 3.0, 9.0], [4.0, 5.0, np.inf, np.inf]])
    >>> ended = np.array([[True, True, True, False], [False, False, False, False]])
    >>> medians_of_censored(rows, ended).tolist()
    [2.0, 5.0]
    """
    by_value = np.lexsort((~ended, values), axis=1)
    values = np.take_along_axis(values, by_value, axis=1)
    ended = np.take_along_axis(ended, by_value, axis=1)
    count = np.isfinite(values).sum(axis=1, keepdims=True)
    at_risk = np.maximum(count - np.arange(values.shape[1]), 1)
    survival = np.cumprod(np.where(ended & np.isfinite(values), 1 - 1 / at_risk, 1.0), axis=1)
    half = np.minimum((survival > 0.5).sum(axis=1, keepdims=True), count - 1)
    median = np.where(count > 0, np.take_along_axis(values, half, axis=1), np.nan)
    return np.asarray(median[:, 0], np.float64)


def _logistic_share(error: Floats) -> Floats:
    """The distribution function of a standard logistic error."""
    return 0.5 + 0.5 * np.tanh(0.5 * error)


def _sampled(job: Ints, size: Floats) -> Ints:
    """A limited number of tasks of each job, spread evenly over their sizes."""
    order = np.lexsort((size, job))
    first = starts(job[order])
    count = np.diff(np.append(first, len(order)))
    stride = np.repeat(np.maximum(count / _MOST_TASKS, 1.0), count)
    rank = np.arange(len(order)) - np.repeat(first, count)
    chosen: Ints = order[np.floor(rank / stride) != np.floor((rank - 1) / stride)]
    return chosen


def _grids(
    job: Ints, jobs: int, size: Floats, low: Floats, high: Floats, mean: Floats, sd: Floats
) -> Floats:
    """One row of paces per job: over the whole prior, and denser around what its tasks show."""
    shown = np.where(np.isfinite(high), (low + high) / 2, low) - np.log(size + 16e6)
    # From the tasks that ended; if none has, the age of the oldest task is only a little too short.
    order = np.lexsort((shown, np.isinf(high), job))
    first = starts(job[order])
    ended = np.bincount(job[np.isfinite(high)], minlength=jobs)
    of = job[order[first]]
    centre, spread = mean.copy(), np.ones(jobs)
    last = ends(first, len(order))
    centre[of] = shown[order[np.where(ended[of] > 0, first + ended[of] // 2, last)]]
    spread[of] = np.where(ended[of] > 0, 0.5 + np.clip(3.0 / np.sqrt(ended[of] + 1), 0.25, 2), 3.0)
    near = centre[:, None] + spread[:, None] * np.linspace(-1, 1, _PACES) ** 3
    wide = mean[:, None] + 3.5 * sd[:, None] * np.linspace(-1, 1, _PRIOR_PACES)
    return np.sort(np.concatenate([near, wide], axis=1), axis=1)
