"""Interval chances: how likely each job's durations are at each possible pace.

An error of the logistic distribution lies between two bounds with the probability

    1 / (1 + x) - 1 / (1 + y) = (y - x) / ((1 + x) (1 + y)),    x = exp((low - pace) / scatter)

and y the same for the upper bound. So one exponential per observation and one per pace of a job,
multiplied, give those of all pairs. Products of a few chances stay far above the smallest float, so
one logarithm serves them all.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from importstats.arrays import Floats, Ints, starts

#: The share of slow errors, how much longer they are (as a logarithm), and their scatter. Ours: a
#: task that hangs or goes back takes about three times its time.
SLOW_SHARE: Final = 0.05
SLOW_SHIFT: Final = 1.1
SLOW_SCATTER: Final = 0.5

_LEAST_CHANCE: Final = 1e-12
# Chances are divided by the share of usual errors, which is multiplied back at the end.
_USUAL: Final = 1 - SLOW_SHARE
# The product of this many of the smallest chances is still a normal float.
_AT_ONCE: Final = 20
# The chances of this many observations at all paces fit into a core's cache.
_ROWS: Final = 3 * _AT_ONCE
# Two exponents of this size add up to one that a float can hold; anything larger might not.
_MOST_EXPONENT: Final = 340.0
# This far below a bound nothing is left: exp(-40) is less than the precision of 1.
_FAR: Final = 40.0


def log_likelihoods(
    job: Ints, low: Floats, high: Floats, offsets: Floats, paces: Floats, scatters: Floats
) -> Floats:
    """The log probability of each job's observations, for each offset, scatter and pace.

    Parameters
    ----------
    job : ndarray of int64
        The row in `paces` of each observation, ascending.
    low, high : ndarray of float64
        Bounds of each observation as log(seconds); `high` may be infinite.
    offsets : ndarray of float64
        One row per observation: the log(bytes) that it may stand for.
    paces : ndarray of float64
        One row per job: values of log(seconds per byte), within 300 times the least scatter of
        their mean, since a float cannot hold the exponential of anything further away.
    scatters : ndarray of float64
        Scales of the logistic error of the logarithm (0.55 of its standard deviation).
    """
    found = np.zeros((len(paces), offsets.shape[1], len(scatters), paces.shape[1]))
    centre = paces.mean(axis=1)
    around = paces - centre[:, None]
    scales = np.append(scatters, SLOW_SCATTER)
    shifts = np.append(np.zeros(len(scatters)), SLOW_SHIFT)
    pace = _exponential(-(around[:, None, :] + shifts[:, None]) / scales[:, None])
    least = (low[:, None] - offsets - centre[job, None])[:, :, None] / scales
    most = (high[:, None] - offsets - centre[job, None])[:, :, None] / scales
    end = (around.max(axis=1)[job, None] + shifts)[:, None, :] / scales
    most = _exponential(np.where(np.isinf(most), np.maximum(least, end) + _FAR, most))
    least = _exponential(least)
    room = np.empty((3, min(_ROWS, len(job)), offsets.shape[1], len(scales), paces.shape[1]))
    for begin in range(0, len(job), _ROWS):
        here = slice(begin, begin + _ROWS)
        of = job[here]
        chance = _chance_between(pace[of], least[here], most[here], room[:, : len(of)])
        both = chance[:, :, :-1]
        both += SLOW_SHARE / _USUAL * chance[:, :, -1:]
        np.maximum(both, _LEAST_CHANCE / _USUAL, out=both)
        blocks = np.union1d(starts(of), np.arange(0, len(of), _AT_ONCE))
        logs = np.log(np.multiply.reduceat(both, blocks, axis=0))
        np.add.at(found, of[blocks], logs)
    found += np.log(_USUAL) * np.bincount(job, minlength=len(paces))[:, None, None, None]
    return found


def _exponential(exponent: Floats) -> Floats:
    exponential: Floats = np.exp(np.clip(exponent, -_MOST_EXPONENT, _MOST_EXPONENT))
    return exponential


def _chance_between(pace: Floats, least: Floats, most: Floats, room: Floats) -> Floats:
    """The probability between two bounds, for each observation, offset, scale and pace.

    The result is in the last part of `room`, which is allocated once: allocating that much memory
    each time takes as long as some of the sums.
    """
    x, y = room[:2]
    chance: Floats = room[2]
    np.multiply(pace[:, None], least[..., None], out=x)
    np.multiply(pace[:, None], most[..., None], out=y)
    with np.errstate(over="ignore"):
        np.subtract(y, x, out=chance)
        x += 1.0
        y += 1.0
        x *= y
        chance /= x
    return chance
