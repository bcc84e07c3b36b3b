"""How long a job's phases take, from earlier jobs and from its own phases so far.

The logarithms of a job's phase times and of its bytes are assumed to be jointly normal::

    z = mean + fleet + cluster + collection + job

with one draw of each term for all jobs in sight, for the jobs of a cluster, for those of a
collection, and for the job alone: a linear mixed model (Laird & Ware, Biometrics 38, 1982) whose
covariances are the priors. Everything else conditions this normal distribution: on earlier jobs,
which is partial pooling (Gelman & Hill, Data Analysis Using Regression, 2007, chapter 12), and on
what the job has shown: phases that are over, and its size. No rule says that index building takes a
multiple of importing, or a time for each byte: that follows from the covariances.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from importstats.analysis.forecast.priors import PHASES, Priors
from importstats.arrays import Bools, Floats, Ints, floats

#: How many earlier jobs are used, the nearest ones: more add hardly anything and take time.
MOST_HISTORY: Final = 40
# After this many further jobs of its collection, an earlier job counts half.
_HALF_LIFE_JOBS: Final = 5.0


def job_bytes(seen: pd.DataFrame) -> Floats:
    """The size of each row's job: its bytes, else a kilobyte per row; NaN if neither is known."""
    size = floats(seen, "file_size_bytes")
    rows = 1024.0 * floats(seen, "total_rows")
    size = np.where(size > 0, size, np.where(rows > 0, rows, np.nan))
    known = pd.Series(size).groupby(seen["job"].to_numpy()).ffill()
    return np.asarray(known.to_numpy(), np.float64)


def job_variables(seen: pd.DataFrame) -> tuple[Floats, Floats]:
    """``z`` as known at each row (NaN if not known), and the variance of its error.

    Both are (rows, variables). A border between two phases is uniform within the gap between two
    snapshots, which has variance ``gap ** 2 / 12``.
    """
    took = np.column_stack([floats(seen, f"{phase}_s") for phase in PHASES])
    gap = np.column_stack([floats(seen, f"{phase}_gap_s") for phase in PHASES])
    noise = 1e-3 + np.minimum(np.nan_to_num(gap) ** 2 / 12 / (1 + took) ** 2, 2.0)
    values = np.column_stack([np.log1p(took), np.log(job_bytes(seen))])
    return values, np.column_stack([noise, np.full(len(seen), 1e-3)])


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
        The first snapshot that showed Completed, in seconds since 1970.
    variables, noise : ndarray of float64, (jobs, variables)
        The :func:`job_variables` at that snapshot.
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
        """The jobs at these places, in this order."""
        return Earlier(**{name: column[places] for name, column in vars(self).items()})

    def nearest(self, cluster: int, collection: int, most: int = MOST_HISTORY) -> Earlier:
        """The `most` nearest jobs: of the collection, then of the cluster, then the latest."""
        order = np.lexsort((self.ended_s, self.collection == collection, self.cluster == cluster))
        return self.take(np.sort(order[-most:]))


def _age_factor(earlier: Earlier) -> Floats:
    """The factor on a job's own variance for the later jobs of its collection."""
    same = earlier.collection[:, None] == earlier.collection[None, :]
    later = np.triu(same, 1).sum(axis=1)
    return np.asarray(2.0 ** (later / _HALF_LIFE_JOBS), np.float64)


def given_earlier(
    priors: Priors, earlier: Earlier, cluster: int, collection: int
) -> tuple[Floats, Floats]:
    """Mean and covariance of ``z`` for a job that was not seen yet.

    Parameters
    ----------
    priors : Priors
    earlier : Earlier
    cluster, collection : int
        Where the job runs and what it writes to, numbered as in `earlier`.

    Returns
    -------
    mean, covariance : ndarray of float64, (variables,) and (variables, variables)
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
    each = np.arange(count)
    matrix[each, each] += priors.job * _age_factor(earlier)[:, None, None]
    matrix = matrix.transpose(0, 2, 1, 3).reshape(count * size, count * size)
    known = np.flatnonzero(~np.isnan(earlier.variables.ravel()))
    matrix = matrix[np.ix_(known, known)]
    cross = cross.reshape(count * size, size)[known]
    away = (earlier.variables - priors.mean).ravel()[known]
    noise = earlier.noise.ravel()[known]
    noise = noise * _trouble(matrix, noise, away, np.tile(np.diag(priors.job), count)[known])
    matrix[np.diag_indices(len(known))] += noise
    gain = np.linalg.solve(matrix, cross).T
    covariance = total - gain @ cross
    return priors.mean + gain @ away, (covariance + covariance.T) / 2


def _trouble(matrix: Floats, noise: Floats, away: Floats, own: Floats) -> Floats:
    """The factor on each observation's noise because it is far from all others.

    A job that hung for hours says little about the next. Each observation is compared with what the
    others predict for it (the leave-one-out residual of a linear model; Rasmussen & Williams,
    *Gaussian Processes for Machine Learning*, 2006, section 5.4.2); beyond two standard deviations
    it counts as in Huber's M-estimate (1964).
    """
    whole = matrix.copy()
    whole[np.diag_indices(len(noise))] += noise
    inverse = np.linalg.inv(whole)
    spread = np.diag(inverse)
    score = np.abs(inverse @ away) / np.sqrt(spread)
    excess = np.maximum(score / _USUAL_SCORE, 1.0) ** 2 - 1
    return np.asarray(1 + excess * own / np.maximum(noise, 1e-9), np.float64)


_USUAL_SCORE: Final = 2.0


def condition(mean: Floats, covariance: Floats, values: Floats, noise: Floats) -> None:
    """Condition normal distributions in place on direct, independent observations of variables."""
    for variable in range(values.shape[1]):
        known = ~np.isnan(values[:, variable])
        missed = np.where(known, values[:, variable] - mean[:, variable], 0.0)
        update(mean, covariance, variable, missed, np.where(known, noise[:, variable], np.inf))


def update(
    mean: Floats, covariance: Floats, variable: int | Ints, missed: Floats, variance: Floats
) -> None:
    """One scalar step of the Kalman filter; an infinite variance changes nothing."""
    each = np.arange(len(mean))
    column = covariance[each, :, variable]
    gain = column / (covariance[each, variable, variable] + variance)[:, None]
    mean += gain * missed[:, None]
    covariance -= gain[:, :, None] * column[:, None, :]


def widen(covariance: Floats, variable: Ints, missed: Floats, variance: Floats) -> None:
    """Widen normal distributions in place if an observation contradicts them.

    Earlier jobs are of no use once an index type or the cluster has changed. If an observation is
    further off than both uncertainties explain, the covariance is multiplied by the likeliest
    factor with which they do (type II maximum likelihood; Berger, *Statistical Decision Theory and
    Bayesian Analysis*, 1985, section 3.5.4). An observation within 1.2 standard deviations is no
    contradiction (ours).
    """
    each = np.arange(len(covariance))
    known = np.isfinite(variance)
    needed = (missed / _CONTRADICTS) ** 2 - np.where(known, variance, np.inf)
    factor = needed / np.maximum(covariance[each, variable, variable], 1e-9)
    covariance *= np.maximum(factor, 1.0)[:, None, None]


_CONTRADICTS: Final = 1.2
