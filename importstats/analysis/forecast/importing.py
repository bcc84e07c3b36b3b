"""The rest of Importing: the posterior of its tasks' pace, and a schedule of the tasks left.

A server reports a file's rows when the whole file is written, so a running task shows only that it
has *not ended yet*, or what share of its files has. Observations are censored: the time of a task
that ended lies between two bounds, that of a running task is longer than its age. The time of a
task is::

    log(seconds) = pace + 0.8 log(bytes) + scatter * e      (an accelerated failure time model;
                                                             Kalbfleisch & Prentice, 2002)

with `e` the log of a standard exponential variable, which makes the time a Weibull one: a batch
ends some time, so the times above the usual are not far above it. Now and then `e` is three times
as wide. The posterior of `pace` and `scatter` is computed on a grid, from a prior, the units that
ended, and the ages and shares of those that run; each of its draws is one schedule
(:mod:`importstats.analysis.forecast.schedule`), so their spread is that of the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from importstats.analysis.forecast.backlog import POWER, Backlog, Ended, Load, log_work
from importstats.analysis.forecast.chance import DRAWS, even_points, normal_quantile
from importstats.analysis.forecast.schedule import last_end, running_times, share_evidence
from importstats.analysis.forecast.spells import Spells
from importstats.arrays import Bools, Floats

_SCATTERS: Final = np.array([0.08, 0.18, 0.35, 0.7])
_SCATTER_PRIOR: Final = np.log(np.array([0.2, 0.35, 0.3, 0.15]))
_OUTLIERS: Final = 0.08
_OUTLIER_WIDTH: Final = 3.0
_PACES: Final = 81
_REACH: Final = 3.5
# How far off the middle of the grid may be when it is made, at the first snapshot.
_GRID_SLACK: Final = 0.7
# How much the pace of later units differs from that of those seen (log).
_DRIFT: Final = 0.12
_CHOICE: Final = even_points(DRAWS, 2)


@dataclass(frozen=True)
class PacePrior:
    """The belief about the whole time of Importing before a look at its tasks.

    Attributes
    ----------
    log_seconds, log_bytes : ndarray of float64
        The log of the time of Importing and of the job's bytes, per snapshot.
    sd : float
        The standard deviation of the log of the time.
    """

    log_seconds: Floats
    log_bytes: Floats
    sd: float

    def pace(self, place: int, backlog: Backlog, slots: float) -> float:
        """Log seconds per work of a unit, if `slots` do all of it in that time."""
        work = backlog.unit_work
        waves = np.exp(self.log_bytes[place] - work / POWER) / slots
        return float(self.log_seconds[place] - np.log(max(waves, 1.0)) - work)


@dataclass(frozen=True)
class Rest:
    """The rest of Importing at some of one job's snapshots.

    Attributes
    ----------
    draws : ndarray of float64, (snapshots, draws)
        Seconds until the last file is imported.
    next_end : ndarray of float64, (snapshots, draws)
        Seconds until the next unit ends; infinite if none runs.
    slots : ndarray of float64, (snapshots,)
        Units at work at once.
    running_age_s : ndarray of float64, (snapshots,)
        Mean age of the running units, which a restart of all of them would cost.
    """

    draws: Floats
    next_end: Floats
    slots: Floats
    running_age_s: Floats


def rest_of_importing(spells: Spells, now: Floats, wanted: Bools, prior: PacePrior) -> Rest:
    """Draws of the time until a job's last file is imported.

    Parameters
    ----------
    spells : Spells
        The job's spells.
    now : ndarray of float64
        The snapshots, ascending.
    wanted : ndarray of bool
        Which snapshots to compute; the others cost little.
    prior : PacePrior

    Returns
    -------
    Rest
        One row per snapshot, 0 if not wanted.
    """
    ended, load = Ended.from_spells(spells), Load.from_spells(spells, now)
    known = np.searchsorted(ended.by_s, now, side="right")
    first = Backlog.from_spells(spells, ended, int(known[0]), float(now[0]))
    # The first snapshot makes the grid: a later one must not change earlier estimates.
    middle = prior.pace(0, first, load.slots(0, first))
    paces = middle + (prior.sd + _GRID_SLACK) * np.linspace(-_REACH, _REACH, _PACES)
    pace, scatter = np.repeat(paces, len(_SCATTERS)), np.tile(_SCATTERS, _PACES)
    summed = _summed_likelihood(ended, pace, scatter)
    count = len(now)
    rest = Rest(
        np.zeros((count, DRAWS)), np.zeros((count, DRAWS)), np.zeros(count), np.zeros(count)
    )
    for place in np.flatnonzero(wanted).tolist():
        backlog = Backlog.from_spells(spells, ended, int(known[place]), float(now[place]))
        slots = load.slots(place, backlog)
        log = summed[known[place]] + np.tile(_SCATTER_PRIOR, _PACES)
        log = log - 0.5 * ((pace - prior.pace(place, backlog, slots)) / prior.sd) ** 2
        if len(backlog.age_s):
            log = log + np.sqrt(backlog.count) @ _running_likelihood(backlog, pace, scatter)
            rest.running_age_s[place] = np.average(backlog.age_s, weights=backlog.count)
        centre, width = _draw_pace(log, pace, scatter)
        running = running_times(backlog, centre, width)
        rest.slots[place] = slots
        rest.next_end[place] = running.min(axis=1, initial=np.inf)
        rest.draws[place] = last_end(backlog, slots, running, centre, width)
    return rest


def _draw_pace(log: Floats, pace: Floats, scatter: Floats) -> tuple[Floats, Floats]:
    """Draws of the later units' pace and of the scatter, spread evenly over their posterior."""
    weight = np.exp(log - log.max())
    reached = np.cumsum(weight / weight.sum())
    chosen = np.searchsorted(reached, _CHOICE[:, 0])
    return pace[chosen] + _DRIFT * normal_quantile(_CHOICE[:, 1]), scatter[chosen]


def _survival(away: Floats) -> Floats:
    """The share of times that are more than `away` scatters above the pace (log scale)."""
    return np.asarray(np.exp(-np.exp(np.minimum(away, 7.0))), np.float64)


def _mixture(usual: Floats, wide: Floats) -> Floats:
    return np.asarray(np.log((1 - _OUTLIERS) * usual + _OUTLIERS * wide + 1e-12), np.float64)


def _summed_likelihood(ended: Ended, pace: Floats, scatter: Floats) -> Floats:
    """The log likelihood of the first 0, 1, 2, ... ended groups at each grid point."""
    work = log_work(ended.size / ended.units)
    low = (np.log(ended.least_s) - work)[:, None] - pace
    high = (np.log(ended.most_s) - work)[:, None] - pace

    def inside(width: Floats) -> Floats:
        return _survival(low / width) - _survival(high / width)

    value = _mixture(inside(scatter), inside(_OUTLIER_WIDTH * scatter))
    known = np.isfinite(ended.most_s) & np.isfinite(ended.least_s)
    value = np.where(known[:, None], value, 0.0)
    # Units that end together shared their luck, so the square root of their number counts.
    _, wave, sizes = np.unique(ended.by_s, return_inverse=True, return_counts=True)
    value *= (1 / np.sqrt(sizes))[wave.reshape(-1), None]
    return np.vstack([np.zeros(len(pace)), np.cumsum(value, axis=0)])


def _running_likelihood(backlog: Backlog, pace: Floats, scatter: Floats) -> Floats:
    """The log likelihood of the running groups, (groups, points)."""
    centre = backlog.work[:, None] + pace
    away = (np.log(np.maximum(backlog.age_s, 0.5))[:, None] - centre) / scatter
    survives = _mixture(_survival(away), _survival(away / _OUTLIER_WIDTH))
    reported, variance = share_evidence(backlog)
    moved = np.isfinite(variance)[:, None]
    width = np.sqrt(scatter**2 + np.where(moved[:, 0], variance, 1.0)[:, None])
    score = (reported[:, None] - centre) / width
    wide = _OUTLIER_WIDTH * width
    density = _mixture(
        np.exp(-(score**2) / 2) / width, np.exp(-((score / _OUTLIER_WIDTH) ** 2) / 2) / wide
    )
    return np.where(moved, density, survives)
