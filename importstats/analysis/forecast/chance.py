"""The normal distribution as tables, and evenly spread points in place of random numbers."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from importstats.arrays import Floats

#: How many draws represent a distribution.
DRAWS: Final = 64

_GRID: Final = np.linspace(-9.0, 9.0, 7201)
_CDF: Final = np.array([0.5 * math.erfc(-x / math.sqrt(2)) for x in _GRID])
_LOG_SURVIVAL: Final = np.log([0.5 * math.erfc(x / math.sqrt(2)) for x in _GRID])


def normal_cdf(x: Floats) -> Floats:
    """The share of a standard normal distribution below `x`."""
    return np.asarray(np.interp(x, _GRID, _CDF), np.float64)


def normal_quantile(probability: Floats) -> Floats:
    """The value below which a standard normal distribution has this share, within -9 and 9."""
    return np.asarray(np.interp(probability, _CDF, _GRID), np.float64)


def log_survival(x: Floats) -> Floats:
    """The logarithm of the share of a standard normal distribution above `x`."""
    return np.asarray(np.interp(x, _GRID, _LOG_SURVIVAL), np.float64)


def even_points(count: int, dimensions: int) -> Floats:
    """Points that fill the unit cube evenly, (count, dimensions): the R-sequence.

    M. Roberts, *The Unreasonable Effectiveness of Quasirandom Sequences*, 2018. They are the same
    in every call, so the same data gives the same answer.
    """
    ratio = 2.0
    for _ in range(40):
        ratio = (1 + ratio) ** (1 / (dimensions + 1))
    steps = (1 / ratio) ** np.arange(1, dimensions + 1)
    return np.asarray((0.5 + np.arange(1, count + 1)[:, None] * steps) % 1.0)
