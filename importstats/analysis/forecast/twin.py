"""The time that the collection's earlier jobs still took at the point where this job is now.

This second forecast assumes hardly anything about phases or files: it takes how long each earlier
job still took from this job's latest point on, scaled by the bytes of both. It is mixed with the
model geometrically, quantile by quantile; which of them counts more depends on the phase.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from importstats.analysis.forecast.calibration import learned_variance
from importstats.analysis.forecast.chance import DRAWS, normal_quantile
from importstats.analysis.forecast.past import Course
from importstats.arrays import Bools, Floats, Ints

#: How much the twin counts in each phase; the rest is the model's.
WEIGHT: Final = {
    "Pending": 0.4,
    "PreImporting": 0.55,
    "Importing": 0.55,
    "Sorting": 0.55,
    "IndexBuilding": 0.45,
}
# That is for earlier jobs whose logarithms have this spread: the less, the more the twin counts.
_USUAL_SPREAD: Final = 0.4
_MOST_WEIGHT: Final = 0.85
_LOW, _HIGH = 6, 57

# The spread of the logarithm between two jobs of a collection, and how many jobs it weighs as.
_SPREAD: Final = 0.35
_SPREAD_WEIGHT: Final = 2.0
_HALF_LIFE_JOBS: Final = 5.0
# The time left grows with these powers of the bytes, before Sorting and from it on: files wait for
# each other's slots, while the number of segments to sort and index is in proportion.
_SIZE_POWER: Final = 0.8
_SEGMENTS_POWER: Final = 1.0
_LEAST_SPREAD: Final = 0.05
_LEVELS: Final = ((np.arange(DRAWS) + 0.5) / DRAWS)[None, :]


def twin_logs(
    courses: list[Course],
    point: Floats,
    stood_s: Floats,
    log_bytes: Floats,
    segments: Bools,
) -> tuple[Floats, Floats]:
    """Mean and spread of the log of earlier jobs' time left when they were as far as this job.

    A job is as far if it is at the same point and has, if it stood there, stood for as long.

    Parameters
    ----------
    courses : list of Course
        The collection's earlier jobs, the latest last; at least one.
    point, stood_s, log_bytes : ndarray of float64
        How far the job at hand is, since when, and its size.
    segments : ndarray of bool
        Whether it is at work on segments: in Sorting or IndexBuilding.

    Returns
    -------
    mean, spread : ndarray of float64
    """
    logs = np.empty((len(courses), len(point)))
    power = np.where(segments, _SEGMENTS_POWER, _SIZE_POWER)
    for place, course in enumerate(courses):
        left = np.interp(point, course.point, course.left_s)
        later = np.searchsorted(course.point, point, side="right")
        next_left = np.append(course.left_s, 0.5)[later]
        left = np.maximum(left - stood_s, np.minimum(next_left, left))
        ratio = log_bytes - course.log_bytes
        logs[place] = np.log(left) + power * np.where(np.isnan(ratio), 0.0, ratio)
    age = np.arange(len(courses))[::-1]
    weight = 2.0 ** (-age / _HALF_LIFE_JOBS)[:, None] * _still_so(logs)
    middle = _weighted_median(logs, weight)
    total = weight.sum(axis=0)
    square = (weight * (logs - middle) ** 2).sum(axis=0)
    square = (square + _SPREAD_WEIGHT * _SPREAD**2) / (total + _SPREAD_WEIGHT)
    return middle, np.sqrt(square * (1 + 1 / total))


def _still_so(logs: Floats) -> Floats:
    """How likely each job, latest last, is of the same kind as the two latest, per column.

    If these two agree and an earlier one differs from both, something has changed since: the
    index, or the cluster. One that differs alone had its own trouble, as a change is rarer.
    """
    if len(logs) < 3:
        return np.ones_like(logs)
    latest = (logs[-1] + logs[-2]) / 2
    apart = np.abs(logs[-1] - logs[-2]) / _ALIKE
    away = np.abs(logs - latest) / _ALIKE
    same = np.exp(-(away**2) / 2)
    changed = _CHANGES * np.exp(-(apart**2) / 2) / _WIDER
    found = (same + 1e-6) / (same + 1e-6 + changed)
    found[-2:] = 1.0
    return np.asarray(found, np.float64)


# Two jobs of a kind differ by this much on the log scale; this share of jobs follows a change, and
# changes are this many times as wide.
_ALIKE: Final = 0.35
_CHANGES: Final = 0.1
_WIDER: Final = 3.0


def _weighted_median(values: Floats, weight: Floats) -> Floats:
    """The weighted median of each column, between the two nearest values."""
    order = np.argsort(values, axis=0)
    ranked = np.take_along_axis(values, order, axis=0)
    mass = np.take_along_axis(weight, order, axis=0)
    centre = (np.cumsum(mass, axis=0) - mass / 2) / weight.sum(axis=0)
    below = np.clip((centre < 0.5).sum(axis=0) - 1, 0, len(values) - 1)
    above = np.minimum(below + 1, len(values) - 1)
    each = np.arange(values.shape[1])
    low, high = centre[below, each], centre[above, each]
    with np.errstate(invalid="ignore", divide="ignore"):
        part = np.where(high > low, np.clip((0.5 - low) / (high - low), 0, 1), 0.0)
    first = ranked[below, each]
    return np.asarray(first + part * (ranked[above, each] - first), np.float64)


def twin_quantiles(mean: Floats, spread: Floats) -> Floats:
    """The time left at even levels, (rows, draws), by a log-normal distribution."""
    sd = np.maximum(spread, _LEAST_SPREAD)[:, None]
    return np.asarray(np.exp(mean[:, None] + sd * normal_quantile(_LEVELS)), np.float64)


def twin_weight(phase: pd.Series, twin: Floats) -> Floats:
    """The twin's weight in each row, by the phase and by the square of the twin's precision."""
    weight = phase.astype("str").map(WEIGHT).fillna(0.0).to_numpy(np.float64)
    away = np.log(np.maximum(twin[:, _HIGH], 1e-3)) - np.log(np.maximum(twin[:, _LOW], 1e-3))
    levels = normal_quantile(_LEVELS[0])
    spread = np.maximum(away / (levels[_HIGH] - levels[_LOW]), _LEAST_SPREAD)
    weight = np.minimum(weight * (_USUAL_SPREAD / spread) ** 2, _MOST_WEIGHT)
    return np.where(np.isnan(twin[:, 0]), 0.0, weight)


def learned_odds(
    model_s: Floats, twin_s: Floats, true_left_s: Floats, phase: npt.NDArray[np.str_], job: Ints
) -> dict[str, float]:
    """The factor on the odds of the twin's weight in each phase, from what both missed of jobs.

    It is the square of the ratio of the model's variance to the twin's, both by
    :func:`learned_variance` from the belief that they are equal. In the weights of forecasts the
    ratio itself counts (Bates & Granger, 1969); the square is ours, since the belief draws the
    ratio of few jobs towards 1. A job that hung for hours missed by no more than a factor of *e*.
    """
    true = np.log(np.maximum(true_left_s, 1.0))
    model, twin = (
        learned_variance(
            np.minimum((np.log(np.maximum(said, 1.0)) - true) ** 2, 1.0), phase, job, _SPREAD**2
        )
        for said in (model_s, twin_s)
    )
    return {name: (model[name] / twin[name]) ** 2 for name in model}
