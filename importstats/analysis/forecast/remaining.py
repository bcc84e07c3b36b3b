"""The rest of the current phase by its pace, and the phases after it, as draws.

The whole time of the current phase is a variable of the levels; its pace is one more observation of
it. The rest and the later phases are correlated log-normals, whose sum has no formula, so it is
drawn at points of a low-discrepancy sequence.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from importstats.analysis.forecast.chance import DRAWS, even_points, normal_cdf, normal_quantile
from importstats.analysis.forecast.levels import update, widen
from importstats.analysis.forecast.priors import PHASES, Priors
from importstats.arrays import Bools, Floats, Ints, floats

_COUNT: Final = len(PHASES)
_SORTING: Final = PHASES.index("Sorting")
_FINISHING: Final = PHASES.index("Finishing")
# The first dimension is for the current phase, the others are for one phase each.
_POINTS: Final = even_points(DRAWS, 1 + _COUNT)
_CURRENT: Final = _POINTS[None, :, 0]
_LATER: Final = normal_quantile(_POINTS[:, 1:]).T
_SEEN_POWER: Final = 0.6
_LONGEST_LOG: Final = 18.0


def phase_places(seen: pd.DataFrame) -> Ints:
    """The place of each row's phase in :data:`PHASES`, or -1."""
    names = seen["phase"].astype("category")
    named = names.cat.categories.astype("str")
    places = pd.Index(PHASES).get_indexer(named.where(named != "IndexBuilding", "Finishing"))
    return np.append(places, -1)[names.cat.codes.to_numpy()].astype(np.int64)


def shows_pace(seen: pd.DataFrame) -> Bools:
    """Whether an index moved more than once, so that its pace shows how long it takes.

    Many builds may end at once, so one step alone says little about the next.
    """
    several = floats(seen, "gained") > floats(seen, "step")
    return np.asarray(seen["phase"].eq("IndexBuilding").to_numpy(np.bool_) & several)


def current_variable(phase: Ints) -> Ints:
    """The variable whose rest is the rest of the phase; for Sorting it is Finishing."""
    return np.where(phase == _SORTING, _FINISHING, phase)


def observe_pace(
    priors: Priors, seen: pd.DataFrame, phase: Ints, mean: Floats, covariance: Floats
) -> None:
    """Condition in place on the pace of the current phase so far.

    If a part `f` of a phase was done in a time `s`, the phase takes ``s / f``. The variance of its
    logarithm is ``v (1 - f) / f`` with `v` from :attr:`Priors.pace_variance`: 0 once it is done,
    and without bound at its beginning (ours; the sum of many parts of equal variance). A pace that
    contradicts the belief widens it first, see :func:`widen`: something has changed.
    """
    gained, took = floats(seen, "gained"), floats(seen, "gained_s")
    moved = (gained > 0) & (took > 0) & (phase >= 0)
    place = np.maximum(phase, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        whole = np.where(moved, np.log1p(took / gained), 0.0)
        part = priors.pace_variance[place] * (1 - gained) / gained + 0.003
        poll = np.nan_to_num(floats(seen, "poll_s"))
        part = part + np.minimum((poll / np.maximum(took, 1e-9)) ** 2 / 12, 2.0)
    each = np.arange(len(seen))
    missed = np.where(moved, whole - mean[each, place], 0.0)
    variance = np.where(moved, part, np.inf)
    widen(covariance, place, missed, variance)
    update(mean, covariance, place, missed, variance)


def rest_by_pace(
    seen: pd.DataFrame, phase: Ints, mean: Floats, covariance: Floats
) -> tuple[Floats, Floats]:
    """Draws of the rest of the current phase and of the time from one step to the next.

    Both are in seconds, (rows, draws).

    A fraction moves in steps; between two it is assumed to move at the estimate's pace. If the next
    step is overdue, the phase is slower than it looked: its time is conditioned on being longer
    than what has passed.
    """
    each, place = np.arange(len(seen)), np.maximum(current_variable(phase), 0)
    # The done share of Sorting is not a share of Finishing.
    sorts = phase == _SORTING
    moved = (floats(seen, "gained") > 0) & ~sorts
    reached = np.clip(np.nan_to_num(floats(seen, "reached")), 0.0, 0.999)
    left = 1 - reached
    left = np.where(sorts, 1.0, left)
    step = np.minimum(np.where(moved, floats(seen, "step"), 1.0), left)
    still = np.maximum(floats(seen, "still_s"), 0.0)
    still = np.where(sorts, floats(seen, "elapsed_s"), still)
    middle = mean[each, place]
    sd = np.sqrt(np.maximum(covariance[each, place, place], 1e-6))
    least = np.log1p(still / step)
    below = normal_cdf((least - middle) / sd)[:, None]
    whole = middle[:, None] + sd[:, None] * normal_quantile(below + (1 - below) * _CURRENT)
    # In the far tail the table of the normal distribution ends.
    whole = np.maximum(whole, least[:, None] + 1e-2 * (1 + _CURRENT))
    whole = np.expm1(whole)
    return np.maximum(whole * left[:, None] - still[:, None], 1e-3), whole * step[:, None]


def later_phases(
    seen: pd.DataFrame, phase: Ints, mean: Floats, covariance: Floats, rest: Floats
) -> Floats:
    """Draws of all later phases' time, given draws of the current phase's rest."""
    phase = current_variable(phase)
    each, place = np.arange(len(seen)), np.maximum(phase, 0)
    # Before PreImporting no phase is current, so there is nothing to condition on.
    none = (phase < 0)[:, None]
    variance = np.maximum(covariance[each, place, place], 1e-6)
    # The elapsed time lacks the work from before the job was first seen.
    before = np.clip(np.nan_to_num(floats(seen, "reached") - floats(seen, "gained")), 0, 0.95)
    elapsed = np.maximum(floats(seen, "elapsed_s"), 0.0)[:, None]
    current = np.log1p((elapsed + rest) / (1 - before)[:, None])
    away = np.where(none, 0.0, current - mean[each, place][:, None])
    away = np.clip(away, -3.0, 3.0)
    slope = np.where(none, 0.0, covariance[each, :_COUNT, place] / variance[:, None])
    others = covariance[:, :_COUNT, :_COUNT] - (
        slope[:, :, None] * covariance[each, place, :_COUNT][:, None, :]
    )
    others[:, np.arange(_COUNT), np.arange(_COUNT)] += 1e-6
    factor = np.linalg.cholesky(_nearest_positive(others))
    total = np.zeros_like(rest)
    for later in range(_COUNT):
        ahead = _is_ahead(seen, phase, later)[:, None]
        if later == _SORTING or not ahead.any():
            continue
        value = mean[:, later, None] + slope[:, later, None] * away
        value = value + factor[:, later, :] @ _LATER
        took = np.maximum(np.expm1(np.minimum(value, _LONGEST_LOG)), 0.0)
        total += np.where(ahead, took, 0.0)
    return total


def weighted(left: Floats, lived_s: Floats) -> Floats:
    """Draws of the time left, weighted as a snapshot sees them: at even levels, ascending.

    Every job counts equally, however long it lasts. A snapshot at a given age is a larger part of a
    short job's life than of a long one's, so the longer a job lasts, the less likely it is to be
    seen at that age: each draw weighs ``1 / (lived + left)`` (length-biased sampling; Cox, *Some
    Sampling Problems in Technology*, 1969). Without this, predictions in a job's first minutes are
    far too late if its later phases are not known.
    """
    order = np.argsort(left, axis=1)
    ranked = np.take_along_axis(left, order, axis=1)
    weight = (np.maximum(lived_s, 0.0)[:, None] + np.maximum(ranked, 1.0)) ** -_SEEN_POWER
    reached = (np.cumsum(weight, axis=1) - weight / 2) / weight.sum(axis=1, keepdims=True)
    log = np.log(np.maximum(ranked, 1e-3))
    found = np.empty_like(ranked)
    for row in range(len(ranked)):
        found[row] = np.interp(_EVEN, reached[row], log[row])
    return np.exp(found)


_EVEN: Final = (np.arange(DRAWS) + 0.5) / DRAWS


def _is_ahead(seen: pd.DataFrame, phase: Ints, later: int) -> Bools:
    only = seen["only_imports"].to_numpy(np.bool_)
    comes = ~only | np.full(len(seen), PHASES[later] == "Importing")
    return np.asarray(comes & (later > phase), np.bool_)


def _nearest_positive(covariance: Floats) -> Floats:
    """The nearest covariance with positive eigenvalues, in case rounding made one negative."""
    values, vectors = np.linalg.eigh((covariance + covariance.transpose(0, 2, 1)) / 2)
    values = np.maximum(values, 1e-6)
    return np.asarray((vectors * values[:, None, :]) @ vectors.transpose(0, 2, 1), np.float64)
