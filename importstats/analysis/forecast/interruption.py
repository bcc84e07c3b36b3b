"""Interruptions: a job that shows nothing for long may be slow, or interrupted.

Two explanations compete. If nothing is wrong, the time until the next step has a known
distribution, and the silence is a draw beyond it. Or the job was interrupted right after its last
step (its cluster paused, its coordinator hangs) and will go on as before: then the time left is
that at the last step plus the rest of the interruption. Bayes' rule gives their odds; the answer is
the mixture of both.

Interruptions begin at random and have a Pareto distribution: the longer one has lasted, the longer
it will last (the Lindy effect; Eliazar, *Lindy's Law*, Physica A 486, 2017), so their rest is in
proportion to the silence and not to the whole job.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from importstats.analysis.forecast.chance import DRAWS, log_survival, normal_quantile
from importstats.arrays import Floats, Ints

# One interruption in this many hours at work (ours: rarer than once a day of work).
_RATE_PER_S: Final = 1 / (30 * 3600)
# A share ``(1 + t / scale) ** -power`` of them lasts longer than t: half of them 12 minutes, one in
# nine an hour (ours).
_SCALE_S: Final = 1800.0
_POWER: Final = 2.0
_LEAST_SPREAD: Final = 0.25
# The server's own rounds keep a job waiting that is not interrupted: however soon a step was due, a
# shorter silence says nothing (ours).
_ROUND_S: Final = 60.0

# A share ``(1 + t / scale) ** -power`` of the waits in the queue lasts longer than t (ours).
_QUEUE_S: Final = 3.0
_QUEUE_POWER: Final = 1.6
# The spread of the logarithm between two waits of a cluster's jobs (ours).
_WAITS_SPREAD: Final = 0.25

# A fixed shuffled order of the draws.
_MIXED: Final = (np.arange(DRAWS) * 37) % DRAWS
_LEVELS: Final = (np.arange(DRAWS) + 0.5) / DRAWS


def rest_of_wait(waited_s: Floats, scale_s: float, power: float) -> Floats:
    """The rest of waits that have lasted for a time, at even levels: (rows, draws)."""
    factor = (1 - _LEVELS) ** (-1 / power) - 1
    return np.asarray((waited_s + scale_s)[:, None] * factor, np.float64)


def rest_of_queue(waited_s: Floats, earlier_s: Floats) -> Floats:
    """The rest of waits in the queue, at even levels: (rows, draws).

    Each earlier job's wait, give or take a quarter, counts as much as all that is believed without
    one. Of both, only waits longer than the wait so far count.
    """
    rest = rest_of_wait(waited_s, _QUEUE_S, _QUEUE_POWER)
    if not len(earlier_s):
        return rest
    about = np.exp(_WAITS_SPREAD * normal_quantile(_LEVELS))
    beyond = np.outer(np.maximum(earlier_s, 1.0), about).ravel() - waited_s[:, None]
    values = np.hstack([rest, np.maximum(beyond, 0.0)])
    lasts = np.broadcast_to((1 + waited_s / _QUEUE_S)[:, None] ** -_QUEUE_POWER, rest.shape)
    weight = np.hstack([lasts, (beyond > 0).astype(np.float64)])
    order = np.argsort(values, axis=1)
    weight = np.take_along_axis(weight, order, axis=1)
    reached = (np.cumsum(weight, axis=1) - weight / 2) / weight.sum(axis=1, keepdims=True)
    ranked = np.take_along_axis(values, order, axis=1)
    return np.array([np.interp(_LEVELS, *row) for row in zip(reached, ranked, strict=True)])


def chance_interrupted(silence_s: Floats, next_s: Floats) -> Floats:
    """The probability that a silent job is interrupted; 0 within a round of the server.

    Parameters
    ----------
    silence_s : ndarray of float64, (rows,)
        The time since the last step.
    next_s : ndarray of float64, (rows, draws)
        Draws of the time from the last step to the next one.
    """
    log = np.log(np.maximum(np.where(np.isfinite(next_s), next_s, 1e9), 0.1))
    spread = np.maximum(log.std(axis=1), _LEAST_SPREAD)
    silence = np.maximum(silence_s, 0.1)
    slow = log_survival((np.log(silence) - log.mean(axis=1)) / spread)
    exposed = np.minimum(silence, np.exp(log.mean(axis=1)))
    begins = -np.expm1(-_RATE_PER_S * exposed)
    lasts = -_POWER * np.log1p(silence / _SCALE_S)
    odds = np.log(np.maximum(begins, 1e-12)) + lasts - np.maximum(slow, -300.0)
    found = 1 / (1 + np.exp(-np.clip(odds, -500, 500)))
    return np.asarray(np.where(silence_s < _ROUND_S, 0.0, found), np.float64)


def with_interruptions(left_s: Floats, moved: Ints, silence_s: Floats, chance: Floats) -> Floats:
    """Draws of the time left if the job may be interrupted: (rows, draws), ascending.

    Parameters
    ----------
    left_s : ndarray of float64, (rows, draws)
        The draws if nothing is wrong.
    moved : ndarray of int64, (rows,)
        The row of each row's last step.
    silence_s, chance : ndarray of float64, (rows,)
        The time since then, and the probability of an interruption.
    """
    paused = left_s[moved] + rest_of_wait(silence_s, _SCALE_S, _POWER)[:, _MIXED]
    is_paused = ((np.arange(DRAWS) * 0.6180339887) % 1.0)[None, :] < chance[:, None]
    return np.sort(np.where(is_paused, paused, left_s), axis=1)
