"""Interval chances: how likely the durations of each job are at each pace it may have.

An error of the logistic distribution lies between two bounds with the probability

    1 / (1 + x) - 1 / (1 + y) = (y - x) / ((1 + x) (1 + y)),    x = exp((low - pace) / scatter)

and y the same of the upper bound. So one exponential for each observation and one for each pace of
a job make, multiplied, those of all pairs. Products of a few chances stay far above the smallest
float, so one logarithm serves them all.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from importstats.arrays import Floats, Ints, starts

#: The share of errors that are of the slow kind, by how much they are longer (as a logarithm), and
#: their scatter. Ours: a task that hangs or goes back takes some three times its time.
SLOW_SHARE: Final = 0.05
SLOW_SHIFT: Final = 1.1
SLOW_SCATTER: Final = 0.5

_LEAST_CHANCE: Final = 1e-12
# Chances are divided by the share of the usual kind, which is multiplied back at the end.
_USUAL: Final = 1 - SLOW_SHARE
# The product of so many of the least chances is still a normal float.
_AT_ONCE: Final = 20
# Observations whose chances at all paces fit into the fast memory of a core.
_ROWS: Final = 3 * _AT_ONCE
# Two exponents of this size add up to one that a float can hold; each alone is out of reach.
_MOST_EXPONENT: Final = 340.0
# So far below a bound nothing is left to be seen: exp(-40) is less than the precision of 1.
_FAR: Final = 40.0


def log_likelihoods(
    job: Ints, low: Floats, high: Floats, offsets: Floats, paces: Floats, scatters: Floats
) -> Floats:
    """Per job, offset, scatter and pace, the logarithm of the probability of its observations.

    Parameters
    ----------
    job : ndarray of int64
        Per observation its row in `paces`, in ascending order.
    low, high : ndarray of float64
        Logarithms of seconds between which each lies; `high` may be infinite.
    offsets : ndarray of float64
        Per observation a row: the logarithms of bytes that these may stand for.
    paces : ndarray of float64
        Per job a row of values of log(seconds per byte), within 300 times the least scatter of
        their mean: beyond it a float cannot hold the exponential.
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
    """The probability between two bounds, per observation, offset, scale and pace.

    It is in the last part of the `room`, which is made once for all: to ask for as much memory each
    time takes as long as some of the sums.
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
