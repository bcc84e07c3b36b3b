"""A standstill is not a pace: a job that shows nothing for long may be slow, or interrupted.

Two explanations are held against each other. If nothing is wrong, the next step was to come after a
time of a known distribution, and the silence is a draw beyond it. Or the job was interrupted right
after its last step (its cluster paused, its coordinator hangs) and will go on as it was: then what
is left is what was left at the last step, and the rest of the interruption. Their odds are by
Bayes' rule; the answer is the mixture of both.

Interruptions begin at random and have a Pareto distribution: the longer one has lasted, the longer
it will last (the Lindy effect; Eliazar, *Lindy's Law*, Physica A 486, 2017), so their rest is in
proportion to the silence, and never a multiple of the whole job.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from importstats.analysis.forecast.chance import DRAWS, log_survival
from importstats.arrays import Floats, Ints

# One interruption in so many hours at work (ours: rarer than once a day of work).
_RATE_PER_S: Final = 1 / (30 * 3600)
# A share ``(1 + t / scale) ** -power`` of them lasts longer than t: half of them 12 minutes, one in
# nine an hour (ours).
_SCALE_S: Final = 1800.0
_POWER: Final = 2.0
_LEAST_SPREAD: Final = 0.25

# An order of the draws that has nothing to do with their size.
_MIXED: Final = (np.arange(DRAWS) * 37) % DRAWS
_LEVELS: Final = (np.arange(DRAWS) + 0.5) / DRAWS


def rest_of_wait(waited_s: Floats, scale_s: float, power: float) -> Floats:
    """How long a wait still lasts that has lasted so long, at even levels: (rows, draws)."""
    factor = (1 - _LEVELS) ** (-1 / power) - 1
    return np.asarray((waited_s + scale_s)[:, None] * factor, np.float64)


def chance_interrupted(silence_s: Floats, next_s: Floats) -> Floats:
    """The probability that a job that has been silent for so long is interrupted.

    Parameters
    ----------
    silence_s : ndarray of float64, (rows,)
        Time since the last step.
    next_s : ndarray of float64, (rows, draws)
        Draws, as of the last step, of the time until the next one.
    """
    log = np.log(np.maximum(np.where(np.isfinite(next_s), next_s, 1e9), 0.1))
    spread = np.maximum(log.std(axis=1), _LEAST_SPREAD)
    silence = np.maximum(silence_s, 0.1)
    slow = log_survival((np.log(silence) - log.mean(axis=1)) / spread)
    exposed = np.minimum(silence, np.exp(log.mean(axis=1)))
    begins = -np.expm1(-_RATE_PER_S * exposed)
    lasts = -_POWER * np.log1p(silence / _SCALE_S)
    odds = np.log(np.maximum(begins, 1e-12)) + lasts - np.maximum(slow, -300.0)
    return np.asarray(1 / (1 + np.exp(-np.clip(odds, -500, 500))), np.float64)


def with_interruptions(left_s: Floats, moved: Ints, silence_s: Floats, chance: Floats) -> Floats:
    """Draws of what is left, where the job may be interrupted: (rows, draws), ascending.

    Parameters
    ----------
    left_s : ndarray of float64, (rows, draws)
        If nothing is wrong.
    moved : ndarray of int64, (rows,)
        The row of the last step.
    silence_s, chance : ndarray of float64, (rows,)
        Time since then, and the probability of an interruption.
    """
    paused = left_s[moved] + rest_of_wait(silence_s, _SCALE_S, _POWER)[:, _MIXED]
    is_paused = ((np.arange(DRAWS) * 0.6180339887) % 1.0)[None, :] < chance[:, None]
    return np.sort(np.where(is_paused, paused, left_s), axis=1)
