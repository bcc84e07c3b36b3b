"""A queue of work for several slots, drawn many times: when the last of a job's work ends.

The time per row is log-normal; its mean and spread are known only as far as work has ended. Each
draw has its own mean and spread, so an interval is wide if little has been seen and narrow if much
has (Gelman et al., Bayesian Data Analysis, 2013, 3.3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from importstats.arrays import Bools, Floats, Ints

DRAWS: Final = 200
#: Before any work has ended: the spread of the logarithm, and how many observations it counts for
#: (ours).
_USUAL_SD: Final = 0.2
_USUAL_FREEDOM: Final = 4.0
#: Work that has run longer than all draws is assumed to need this share of its time more.
_LEAST_LEFT: Final = 0.1
#: How many draws to try for one that is longer than the work has run already.
_TRIES: Final = 16
#: How many means and spreads are drawn for each that is kept.
_LAWS: Final = 20


@dataclass(frozen=True)
class Pace:
    """The time that work takes per row, as far as it is known.

    Attributes
    ----------
    log_mean, mean_sd : float
        The mean of the logarithm of seconds per row, and how uncertain it is.
    log_sd : float
        The spread of the logarithm between pieces of work.
    freedom : float
        How many observations the spread is known from.

    Examples
    --------
    >>> before = Pace(log_mean=0.0, mean_sd=0.5)
    >>> after = before.updated(np.array([2.0, 4.0, 8.0]), np.array([1.0, 2.0, 4.0]))
    >>> round(after.log_mean, 2), round(after.mean_sd, 2), after.freedom
    (0.67, 0.09, 7.0)
    """

    log_mean: float
    mean_sd: float
    log_sd: float = _USUAL_SD
    freedom: float = _USUAL_FREEDOM

    def updated(self, took_s: Floats, rows: Floats) -> Pace:
        """The pace updated with work that has ended; unchanged if there is none."""
        known = took_s > 0
        logs = np.log(took_s[known] / rows[known])
        if not len(logs):
            return self
        freedom = self.freedom + len(logs)
        squares = self.freedom * self.log_sd**2 + float(((logs - logs.mean()) ** 2).sum())
        variance = squares / freedom
        before, seen = self.mean_sd**-2, len(logs) / variance
        mean = (before * self.log_mean + seen * float(logs.mean())) / (before + seen)
        return Pace(mean, (before + seen) ** -0.5, variance**0.5, freedom)

    def drawn(
        self, rng: np.random.Generator, ages_s: Floats, rows: Floats
    ) -> tuple[Floats, Floats]:
        """A mean and a spread for each draw, as column vectors.

        Work that has run for some time makes those draws more likely that allow so long a time.
        """
        shape = (DRAWS * _LAWS, 1)
        mean = self.log_mean + self.mean_sd * rng.standard_normal(shape)
        spread = self.log_sd * np.sqrt(self.freedom / rng.chisquare(self.freedom, shape))
        chance = np.exp(_log_tail((_log(ages_s / rows) - mean) / spread).sum(axis=1))
        chance = chance + np.finfo(np.float64).tiny
        every = (np.arange(DRAWS) + rng.random()) / DRAWS
        kept = np.searchsorted(np.cumsum(chance) / chance.sum(), every)
        return mean[kept], spread[kept]


def _log(ratio: Floats) -> Floats:
    return np.asarray(np.log(np.maximum(ratio, np.finfo(np.float64).tiny)))


def _log_tail(score: Floats) -> Floats:
    """The log probability that a normal variable exceeds a score, to within 0.01."""
    return np.asarray(-np.logaddexp(0.0, 1.702 * score))


@dataclass(frozen=True)
class Works:
    """Work of several kinds, each with its own pace.

    Attributes
    ----------
    rows : ndarray of float64
    kind : ndarray of int64
        The index of its pace.
    is_own : ndarray of bool
        Whether it is the job's.
    batch : ndarray of int64, optional
        For running work: entries with the same number free their slots together, when the last one
        ends.
    first_s : ndarray of float64, (draws, works), optional
        For waiting work: in how many seconds each can begin at the earliest.
    """

    rows: Floats
    kind: Ints
    is_own: Bools
    batch: Ints | None = None
    first_s: Floats | None = None


def last_end_s(
    running: Works,
    ages_s: Floats,
    waiting: Works,
    at_once: int,
    paces: tuple[Pace, ...],
    rng: np.random.Generator,
) -> Floats:
    """Draws of the seconds until the last of the job's work ends.

    Parameters
    ----------
    running : Works
        The work that runs now.
    ages_s : ndarray of float64
        How long each has run.
    waiting : Works
        The waiting work in the order in which it begins, each on the slot that is free first.
    at_once : int
        How many slots there are, at least as many as there is running work.
    paces : tuple of Pace
        One for each kind.
    rng : Generator
    """
    of_kind = [running.kind == kind for kind in range(len(paces))]
    laws = [
        pace.drawn(rng, ages_s[own], running.rows[own])
        for pace, own in zip(paces, of_kind, strict=True)
    ]
    left = _left_s(running, ages_s, laws, rng)
    free: Floats = np.zeros((DRAWS, at_once))
    free[:, : left.shape[1]] = left if running.batch is None else _by_batch(left, running.batch)
    last: Floats = np.zeros(DRAWS)
    if running.is_own.any():
        last = np.asarray(left[:, running.is_own].max(axis=1), np.float64)
    each = np.arange(DRAWS)
    takes = _taken_s(waiting, laws, rng)
    own = np.flatnonzero(waiting.is_own)
    # Work that begins after the job's last cannot delay it.
    for number in range(int(own[-1]) + 1 if len(own) else 0):
        slot = free.argmin(axis=1)
        begins = free[each, slot]
        if waiting.first_s is not None:
            begins = np.maximum(begins, waiting.first_s[:, number])
        free[each, slot] = begins + takes[:, number]
        if waiting.is_own[number]:
            last = np.asarray(np.maximum(last, free[each, slot]), np.float64)
    return last


def _by_batch(left_s: Floats, batch: Ints) -> Floats:
    """The end of each entry's batch, in seconds."""
    ends = left_s.copy()
    for number in np.unique(batch):
        own = batch == number
        ends[:, own] = left_s[:, own].max(axis=1, keepdims=True)
    return ends


_Laws = list[tuple[Floats, Floats]]


def _taken_s(works: Works, laws: _Laws, rng: np.random.Generator) -> Floats:
    """Drawn durations: a row for each draw, a column for each piece of work."""
    means, spreads = (np.concatenate(column, axis=1) for column in zip(*laws, strict=True))
    noise = rng.standard_normal((DRAWS, len(works.rows)))
    logs = means[:, works.kind] + spreads[:, works.kind] * noise
    return np.asarray(np.exp(logs) * works.rows)


def _left_s(running: Works, ages_s: Floats, laws: _Laws, rng: np.random.Generator) -> Floats:
    """The rest of each running work in seconds, from draws longer than it has run."""
    longest: Floats = np.zeros((DRAWS, len(running.rows)))
    left = longest.copy()
    for _ in range(_TRIES):
        taken = _taken_s(running, laws, rng)
        longest = np.maximum(longest, taken)
        left = np.where((left == 0) & (taken > ages_s), taken - ages_s, left)
    return np.asarray(np.where(left > 0, left, _LEAST_LEFT * longest))
