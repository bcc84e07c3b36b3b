"""List schedules of running and waiting units, one for each draw of the pace.

Each waiting unit goes to the slot that is free first (Graham, *Bounds for Certain Multiprocessing
Anomalies*, 1966). If very many wait, only the last waves are scheduled one by one, and the units
before them fill all slots evenly.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from importstats.analysis.forecast.backlog import Backlog
from importstats.analysis.forecast.chance import DRAWS, normal_cdf, normal_quantile
from importstats.arrays import Floats

# Variance of the log of a unit's time by the share it has done, when half of it is done.
_SHARE_VARIANCE: Final = 0.15
_SHARE_FLOOR: Final = 0.01
_MOST_UNITS: Final = 64
_MOST_WAVES: Final = 3
_LARGEST: Final = 7.0
# The numbers are always the same, so the same data gives the same answer.
_UNIFORM: Final = np.random.default_rng(20260518).random((DRAWS, 8 * _MOST_UNITS))
_LEVELS: Final = (np.arange(200) + 0.5) / 200


def log_least_noise(uniform: Floats) -> Floats:
    """The error of the log of a Weibull time, from uniform numbers."""
    return np.asarray(np.log(-np.log(uniform)), np.float64)


def share_evidence(backlog: Backlog) -> tuple[Floats, Floats]:
    """The log of each running unit's time from its share, and its variance (infinite if none).

    If a share `f` of a unit was done after a time `s`, it takes ``s / f``, and the variance of its
    log is ``v (1 - f) / f``: 0 once it is done, and without bound at its beginning (ours, as for
    the sum of many parts). It is exact only when the share steps up.
    """
    moved = backlog.share > 0
    share = np.where(moved, backlog.share, 0.5)
    to_step = np.maximum(backlog.age_s - backlog.step_age_s, 0.5)
    variance = _SHARE_VARIANCE * (1 - share) / share + _SHARE_FLOOR
    return np.log(to_step / share), np.where(moved, variance, np.inf)


def running_times(backlog: Backlog, centre: Floats, width: Floats) -> Floats:
    """The seconds that each running unit still takes, (draws, units).

    Parameters
    ----------
    backlog : Backlog
    centre, width : ndarray of float64
        The pace and the scatter of the logarithm of the time, per draw.
    """
    if not len(backlog.age_s):
        return np.zeros((len(centre), 0))
    thinned = min(1.0, _MOST_UNITS / backlog.units)
    shown = np.maximum(np.round(backlog.count * thinned), 1).astype(np.int64)
    group = np.repeat(np.arange(len(shown)), shown)[: _UNIFORM.shape[1]]
    stands_for = (backlog.count / shown)[group]
    reported, variance = (values[group] for values in share_evidence(backlog))
    age = np.maximum(backlog.age_s[group], 0.5)
    # A unit's own share and the common pace are weighted by their precision.
    known = np.isfinite(variance)
    own = np.where(known, width[:, None] ** 2 / (width[:, None] ** 2 + variance), 0.0)
    mean = centre[:, None] + backlog.work[group]
    mean = mean + own * (np.where(known, reported, 0.0) - mean)
    sd = width[:, None] * np.sqrt(1 - own)
    away = (np.log(age) - mean) / sd
    uniform = _UNIFORM[:, : len(group)]
    if not len(backlog.waiting):
        # If several units run alike, only the last one counts.
        uniform = uniform ** (1 / stands_for)
    below = normal_cdf(away)
    by_share = normal_quantile(np.minimum(below + (1 - below) * uniform, 1 - 1e-9))
    light = np.log(-np.log1p(-uniform * (1 - 1e-9)) + np.exp(np.minimum(away, _LARGEST)))
    level = np.maximum(np.where(known, by_share, light), away + 0.02)
    return np.asarray(np.maximum(np.exp(mean + sd * level) - age, 0.5), np.float64)


def last_end(
    backlog: Backlog, slots: float, running: Floats, centre: Floats, width: Floats
) -> Floats:
    """The seconds until the last unit has ended, per draw."""
    if not len(backlog.waiting):
        return np.asarray(running.max(axis=1, initial=0.0), np.float64)
    # Very many slots and units are scaled down together.
    shrink = max(slots / _MOST_UNITS, 1.0)
    count = max(int(np.clip(round(slots), 1, _MOST_UNITS)), running.shape[1])
    waiting = max(round(len(backlog.waiting) / shrink), 1)
    free = np.zeros((len(running), count))
    free[:, : running.shape[1]] = running
    explicit = min(waiting, _MOST_WAVES * count)
    places = ((np.arange(explicit) + 0.5) / explicit * len(backlog.waiting)).astype(np.int64)
    places = places[np.argsort((np.arange(explicit) * _GOLDEN) % 1.0)]
    noise = log_least_noise(_UNIFORM[:, (np.arange(explicit) * 7 + 3) % _UNIFORM.shape[1]])
    took = np.exp(backlog.waiting[places] + centre[:, None] + width[:, None] * noise)
    if waiting > explicit:
        mean = np.exp(centre) * ((-np.log(_LEVELS)) ** width[:, None]).mean(axis=1)
        mean = mean * np.exp(backlog.waiting).mean()
        free += ((waiting - explicit) * mean / count)[:, None]
    each = np.arange(len(free))
    for number in range(explicit):
        free[each, free.argmin(axis=1)] += took[:, number]
    return np.asarray(free.max(axis=1), np.float64)


_GOLDEN: Final = 0.6180339887
