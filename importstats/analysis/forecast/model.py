"""The model behind the ETA: log-normal phases, learned from earlier jobs, corrected by the pace.

The logarithms of a job's phase durations and sizes
(:data:`~importstats.analysis.forecast.priors.VARIABLES`) are
taken to be jointly normal::

    z = mean + fleet + cluster + collection + job

with one draw of each term for all jobs, for those of a cluster, of a collection, and for the job
alone: a linear mixed model (Laird & Ware, Biometrics 38, 1982) whose covariances are the priors.
Everything else is conditioning of this normal distribution:

1. *On earlier jobs* (:func:`given_history`): the share of the terms that they have in common with
   this job. That is partial pooling; a collection's own jobs count most, then the cluster's, then
   all (Gelman & Hill, Data Analysis Using Regression, 2007, chapter 12).
2. *On what the job has shown* (:func:`given_progress`): finished phases and sizes, known up to the
   gap between polls. So the ratio of a later phase to Importing, or its time per row or byte, are
   not rules but consequences of the covariances.
3. *On the pace of the current phase*: the estimates of the time it takes as a whole, combined by
   the covariance of their errors (the best linear combination of forecasts, Bates & Granger,
   Operational Research Quarterly 20, 1969), which depends on how far the phase is.

The remaining time is then the rest of the current phase plus all later phases. A phase's fraction
moves in steps; between two it is taken to move at the pace of the estimate, but not beyond the
next. A phase that lasts longer than expected is known to: its duration is conditioned on being
longer than what has passed, so a job never runs out of remaining time. Quantiles of the sum come
from a fixed low-discrepancy sample (R-sequence, Roberts 2018; no random numbers).

Last, the quantiles are *calibrated* (:func:`calibrated`): the errors on recordings that were not
fitted say how many of the model's standard deviations the true quantiles lie off, per phase and
per how far it is. That is split conformal prediction (Vovk, Gammerman & Shafer, Algorithmic
Learning in a Random World, 2005; Mondrian: one calibration per stratum; normalised by the
predicted spread as in Lei et al., JASA 113, 2018). Where the history holds three jobs of the same
cluster or more, their own errors, replayed, stretch the interval to what it had needed to be there
(:meth:`importstats.analysis.forecast.past.Past.scale`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from importstats.analysis.forecast.priors import PACES, QUANTILES, SIZES, VARIABLES, Priors, stratum
from importstats.arrays import Bools, Floats, Ints, floats
from importstats.names import WORK_PHASES

#: Earlier jobs that are looked at, the nearest ones: more tell hardly more and take time.
MOST_HISTORY: Final = 40

_SAMPLES: Final = 256
_CHUNK: Final = 4096
_PHASE_COUNT: Final = len(WORK_PHASES)
# Standard normal quantile of 0.9.
_Z90: Final = 1.2815515655446004
_LEAST_SPREAD: Final = 0.02

_GRID: Final = np.linspace(-9.0, 9.0, 7201)
_CDF: Final = np.array([0.5 * math.erfc(-x / math.sqrt(2)) for x in _GRID])


def _cdf(x: Floats) -> Floats:
    return np.asarray(np.interp(x, _GRID, _CDF), np.float64)


def _quantile(probability: Floats) -> Floats:
    return np.asarray(np.interp(probability, _CDF, _GRID), np.float64)


def _sequence(count: int, dimensions: int) -> Floats:
    """The R-sequence: evenly spread points of the unit cube (M. Roberts, 2018)."""
    ratio = 2.0
    for _ in range(40):
        ratio = (1 + ratio) ** (1 / (dimensions + 1))
    steps = (1 / ratio) ** np.arange(1, dimensions + 1)
    points: Floats = (0.5 + np.arange(1, count + 1)[:, None] * steps) % 1.0
    return points


# The first dimension is for the current phase, one more is for each phase.
_POINTS: Final = _sequence(_SAMPLES, 1 + _PHASE_COUNT)
_CURRENT_POINTS: Final = _POINTS[None, :, 0]
_LATER_POINTS: Final = _quantile(_POINTS[:, 1:]).T


def job_variables(seen: pd.DataFrame) -> tuple[Floats, Floats]:
    """The model's variables as known at each snapshot, and the variance of what is not exact.

    Parameters
    ----------
    seen : DataFrame
        Of :func:`importstats.analysis.forecast.timeline.observe`.

    Returns
    -------
    values, noise : ndarray of float64, (snapshots, 9)
        NaN in `values` where a variable is not known. The time of a border between two phases is
        uniform within the gap between two snapshots, which has variance ``gap ** 2 / 12``.
    """
    took = np.column_stack([floats(seen, f"{phase}_s") for phase in WORK_PHASES])
    gap = np.column_stack([floats(seen, f"{phase}_gap_s") for phase in WORK_PHASES])
    sizes = np.column_stack([floats(seen, name) for name in SIZES])
    sizes = np.where(sizes > 0, sizes, np.nan)
    values = np.log1p(np.hstack([took, sizes]))
    noise = np.full(values.shape, 1e-4)
    noise[:, :_PHASE_COUNT] += np.minimum(gap**2 / 12 / (1 + took) ** 2, 2.0)
    return values, noise


@dataclass(frozen=True)
class Earlier:
    """Earlier jobs that have ended, ordered by when that was known.

    Attributes
    ----------
    key : ndarray of int64
        Number of each job, of its cluster, and of its collection on that cluster.
    cluster, collection : ndarray of int64
        Jobs with equal numbers share a cluster, or a collection of one cluster.
    ended_s : ndarray of float64
        When the first snapshot said Completed, in seconds since 1970.
    variables, noise : ndarray of float64, (jobs, 9)
        Of :func:`job_variables`, at that snapshot.
    """

    key: Ints
    cluster: Ints
    collection: Ints
    ended_s: Floats
    variables: Floats
    noise: Floats

    def __len__(self) -> int:
        return len(self.key)

    def take(self, places: Ints | Bools) -> Earlier:
        """Some of the jobs."""
        return Earlier(**{name: column[places] for name, column in vars(self).items()})

    def nearest(self, cluster: int, collection: int, most: int) -> Earlier:
        """The `most` jobs that tell most of a job there: nearest first, then latest."""
        order = np.lexsort((self.ended_s, self.collection == collection, self.cluster == cluster))
        return self.take(np.sort(order[-most:]))


def given_history(
    priors: Priors, earlier: Earlier, cluster: int, collection: int
) -> tuple[Floats, Floats]:
    """Mean and covariance of the variables of a job that was not seen yet.

    Parameters
    ----------
    priors : Priors
    earlier : Earlier
    cluster, collection : int
        Where the job runs and what it writes to, numbered as in `earlier`.

    Returns
    -------
    mean, covariance : ndarray of float64, (9,) and (9, 9)
    """
    total = priors.fleet + priors.cluster + priors.collection + priors.job
    if not len(earlier):
        return priors.mean, total
    count, size = earlier.variables.shape
    matrix = np.broadcast_to(priors.fleet, (count, count, size, size)).copy()
    cross = np.broadcast_to(priors.fleet, (count, size, size)).copy()
    for codes, code, shared in (
        (earlier.cluster, cluster, priors.cluster),
        (earlier.collection, collection, priors.collection),
    ):
        matrix += (codes[:, None] == codes[None, :])[..., None, None] * shared
        cross += (codes == code)[:, None, None] * shared
    matrix[np.arange(count), np.arange(count)] += priors.job
    matrix = matrix.transpose(0, 2, 1, 3).reshape(count * size, count * size)
    matrix[np.diag_indices(count * size)] += earlier.noise.ravel()
    known = np.flatnonzero(~np.isnan(earlier.variables.ravel()))
    cross = cross.reshape(count * size, size)[known]
    gain = np.linalg.solve(matrix[np.ix_(known, known)], cross).T
    covariance = total - gain @ cross
    mean = priors.mean + gain @ (earlier.variables - priors.mean).ravel()[known]
    return mean, (covariance + covariance.T) / 2


def phase_places(seen: pd.DataFrame) -> Ints:
    """Each snapshot's place in the list of work phases, or -1."""
    names = seen["phase"].astype("category")
    places = pd.Index(WORK_PHASES).get_indexer(names.cat.categories.astype("str"))
    return np.append(places, -1)[names.cat.codes.to_numpy()].astype(np.int64)


def given_progress(
    priors: Priors, seen: pd.DataFrame, mean: Floats, covariance: Floats
) -> tuple[Floats, Floats, Ints, Ints]:
    """The model's median and spread of the remaining time at each snapshot, not yet calibrated.

    Parameters
    ----------
    priors : Priors
    seen : DataFrame
        Of :func:`importstats.analysis.forecast.timeline.observe`; snapshots in one of
        :data:`~importstats.names.WORK_PHASES`.
    mean, covariance : ndarray of float64, (snapshots, 9) and (snapshots, 9, 9)
        Of each snapshot's job before it was seen, of :func:`given_history`.

    Returns
    -------
    median_s, spread : ndarray of float64
        Seconds, and the standard deviation of their logarithm.
    phase, stratum : ndarray of int64
        Where in :attr:`Priors.calibration` to look.
    """
    phase = phase_places(seen)
    fraction = np.nan_to_num(floats(seen, "phase_fraction"), nan=0.0)
    paces = np.column_stack([np.log1p(floats(seen, name)) for name in PACES])
    moved = ~np.isnan(paces).all(axis=1)
    strata = stratum(fraction, moved)
    values, noise = job_variables(seen)
    left = 1 - np.where(moved, np.minimum(floats(seen, "reached"), 0.999), 0.0)
    step = np.minimum(np.where(moved, floats(seen, "step"), 1.0), left)
    still = np.maximum(floats(seen, "still_s"), 0.0)
    ahead = _ahead(seen, phase)
    median, spread = np.empty(len(seen)), np.empty(len(seen))
    for begin in range(0, len(seen), _CHUNK):
        part = slice(begin, begin + _CHUNK)
        m, p = mean[part].copy(), covariance[part].copy()
        _condition(m, p, values[part], noise[part])
        estimate, variance = _combined(priors, paces[part], phase[part], strata[part])
        # From here on the current phase's variable is the time it would take at its rest's pace.
        each, current = np.arange(len(m)), phase[part]
        m[each, current] += priors.drift_bias[current, strata[part]]
        p[each, current, current] += priors.drift[current, strata[part]]
        missed = np.where(np.isfinite(variance), estimate - m[each, current], 0.0)
        _update(m, p, current, missed, variance)
        total = _sampled(m, p, phase[part], ahead[part], left[part], step[part], still[part])
        low, middle, high = np.quantile(total, QUANTILES, axis=1)
        median[part] = middle
        spread[part] = np.log(high / low) / (2 * _Z90)
    return median, np.maximum(spread, _LEAST_SPREAD), phase, strata


def calibrated(
    priors: Priors,
    median: Floats,
    spread: Floats,
    phase: Ints,
    strata: Ints,
    history: Bools,
    scale: Floats,
) -> Floats:
    """Quantiles of the remaining time in seconds, (snapshots, 3), ascending.

    ``log q = log median + spread * c`` with `c` of :attr:`Priors.calibration`, whose distances from
    its middle are multiplied by `scale`, see :meth:`importstats.analysis.forecast.past.Past.scale`.
    """
    shift = priors.calibration[history.astype(np.int64), phase, strata]
    middle = shift[:, 1:2]
    shift = middle + scale[:, None] * (shift - middle)
    return np.asarray(median[:, None] * np.exp(spread[:, None] * shift), np.float64)


def _condition(mean: Floats, covariance: Floats, values: Floats, noise: Floats) -> None:
    """Condition normal distributions in place on direct, independent observations of variables."""
    for variable in range(values.shape[1]):
        known = ~np.isnan(values[:, variable])
        missed = np.where(known, values[:, variable] - mean[:, variable], 0.0)
        _update(mean, covariance, variable, missed, np.where(known, noise[:, variable], np.inf))


def _update(
    mean: Floats,
    covariance: Floats,
    variable: int | Ints,
    missed: Floats,
    variance: Floats,
) -> None:
    """One scalar step of the Kalman filter; an infinite variance changes nothing."""
    each = np.arange(len(mean))
    column = covariance[each, :, variable]
    gain = column / (covariance[each, variable, variable] + variance)[:, None]
    mean += gain * missed[:, None]
    covariance -= gain[:, :, None] * column[:, None, :]


def _combined(priors: Priors, paces: Floats, phase: Ints, strata: Ints) -> tuple[Floats, Floats]:
    """The best linear combination of the pace estimates that there are, and its variance."""
    estimate, variance = np.zeros(len(paces)), np.full(len(paces), np.inf)
    known = ~np.isnan(paces)
    pattern = known @ (1 << np.arange(len(PACES)))
    unbiased = paces - priors.pace_bias[phase, strata]
    for code in np.unique(pattern[pattern > 0]):
        rows = np.flatnonzero(pattern == code)
        used = np.flatnonzero((code >> np.arange(len(PACES))) & 1)
        cov = priors.pace_cov[phase[rows], strata[rows]][:, used[:, None], used]
        weights = np.linalg.solve(cov, np.ones((len(rows), len(used), 1)))[..., 0]
        precision = weights.sum(axis=1)
        estimate[rows] = (weights * unbiased[rows][:, used]).sum(axis=1) / precision
        variance[rows] = 1 / precision
    return estimate, variance


def _ahead(seen: pd.DataFrame, phase: Ints) -> Bools:
    """Which phases are still to come, (snapshots, phases)."""
    places = np.arange(_PHASE_COUNT)
    has = (places == WORK_PHASES.index("Importing")) | ~seen["only_imports"].to_numpy()[:, None]
    return np.asarray(has & (places > phase[:, None]))


def _sampled(
    mean: Floats,
    covariance: Floats,
    phase: Ints,
    ahead: Bools,
    left: Floats,
    step: Floats,
    still: Floats,
) -> Floats:
    """Samples of the remaining time, (snapshots, samples).

    The current phase and those `ahead` of it are left. At its last step, `still` seconds ago, the
    current phase had `left` of its fraction to go.
    """
    each = np.arange(len(mean))
    middle, sd = mean[each, phase], np.sqrt(np.maximum(covariance[each, phase, phase], 1e-8))
    # A phase in which the next step is overdue is slower than it looked.
    least = np.log1p(still / step)
    below = _cdf((least - middle) / sd)[:, None]
    current = middle[:, None] + sd[:, None] * _quantile(below + (1 - below) * _CURRENT_POINTS)
    # In the far tail the table of the normal distribution ends.
    current = np.maximum(current, least[:, None] + 1e-2 * (1 + _CURRENT_POINTS))
    rest = np.expm1(current) * left[:, None] - still[:, None]

    slope = covariance[each, :_PHASE_COUNT, phase] / (sd**2)[:, None]
    others = covariance[:, :_PHASE_COUNT, :_PHASE_COUNT] - (
        slope[:, :, None] * covariance[each, phase, :_PHASE_COUNT][:, None, :]
    )
    others[:, np.arange(_PHASE_COUNT), np.arange(_PHASE_COUNT)] += 1e-6
    factor = np.linalg.cholesky(_positive(others))
    away = current - middle[:, None]
    for later in range(1, _PHASE_COUNT):
        value = mean[:, later, None] + slope[:, later, None] * away
        value = value + factor[:, later, :] @ _LATER_POINTS
        rest = rest + np.where(
            ahead[:, later, None], np.maximum(np.expm1(np.minimum(value, 18.0)), 0.0), 0.0
        )
    return np.maximum(rest, 1e-3)


def _positive(covariance: Floats) -> Floats:
    """The nearest covariance whose eigenvalues are positive, should rounding have made one not."""
    values, vectors = np.linalg.eigh((covariance + covariance.transpose(0, 2, 1)) / 2)
    values = np.maximum(values, 1e-6)
    repaired: npt.NDArray[np.float64] = (vectors * values[:, None, :]) @ vectors.transpose(0, 2, 1)
    return repaired


assert len(VARIABLES) == _PHASE_COUNT + len(SIZES)  # noqa: S101 - the layout relied on above
