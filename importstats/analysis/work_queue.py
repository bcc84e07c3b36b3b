"""A queue of works on a number of slots, drawn many times: when the last of a job's works ends.

How long a work takes for each row is a normal law of the logarithm, of which mean and spread are
known only as far as works have ended. Each draw has a mean and a spread of its own, so an interval
is wide where little has been seen, and narrow where much has (Gelman et al., Bayesian Data
Analysis, 2013, 3.3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from importstats.arrays import Bools, Floats, Ints

DRAWS: Final = 200
#: Before any work has ended: the spread of the logarithm, and of how many works it is known (ours).
_USUAL_SD: Final = 0.2
_USUAL_FREEDOM: Final = 4.0
#: A work that has run for longer than all that were drawn is taken to need so much of them more.
_LEAST_LEFT: Final = 0.1
#: Draws of which the first that is longer than a work has run already counts.
_TRIES: Final = 16
#: Means and spreads of which one is kept.
_LAWS: Final = 20


@dataclass(frozen=True)
class Pace:
    """How long works take for each row, as far as it is known.

    Attributes
    ----------
    log_mean, mean_sd : float
        The mean of the logarithm of seconds per row, and how uncertain it is.
    log_sd : float
        The spread of the logarithm between works.
    freedom : float
        Of how many works the spread is known.

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
        """The pace once some works have ended; itself if none has."""
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
        """A mean and a spread for each draw, as columns.

        Works that have run for some time already make those likely by which they would.
        """
        shape = (DRAWS * _LAWS, 1)
        mean = self.log_mean + self.mean_sd * rng.standard_normal(shape)
        spread = self.log_sd * np.sqrt(self.freedom / rng.chisquare(self.freedom, shape))
        chance = np.exp(_log_chance_of_more((_log(ages_s / rows) - mean) / spread).sum(axis=1))
        chance = chance + np.finfo(np.float64).tiny
        every = (np.arange(DRAWS) + rng.random()) / DRAWS
        kept = np.searchsorted(np.cumsum(chance) / chance.sum(), every)
        return mean[kept], spread[kept]


def _log(ratio: Floats) -> Floats:
    return np.asarray(np.log(np.maximum(ratio, np.finfo(np.float64).tiny)))


def _log_chance_of_more(score: Floats) -> Floats:
    """The logarithm of the chance of more than a score of the normal law, within 0.01 of it."""
    return np.asarray(-np.logaddexp(0.0, 1.702 * score))


@dataclass(frozen=True)
class Works:
    """Works of some kinds, each with a pace of its own.

    Attributes
    ----------
    rows : ndarray of float64
    kind : ndarray of int64
        The place of its pace.
    is_own : ndarray of bool
        Whether it is the job's.
    batch : ndarray of int64, optional
        Of works at work: those of one number free their slots together, when the last of them ends.
    first_s : ndarray of float64, (draws, works), optional
        Of works that wait: in how many seconds each can begin at the earliest.
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
    """Draws of the seconds until the last of the job's works ends.

    Parameters
    ----------
    running : Works
        At work now.
    ages_s : ndarray of float64
        For how long.
    waiting : Works
        In the order in which they begin, each on the slot that is free first.
    at_once : int
        How many slots there are; not fewer than works that run.
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
    # What begins after the last of the job's works holds up none of them.
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
    """When the batch of each work ends."""
    ends = left_s.copy()
    for number in np.unique(batch):
        own = batch == number
        ends[:, own] = left_s[:, own].max(axis=1, keepdims=True)
    return ends


_Laws = list[tuple[Floats, Floats]]


def _taken_s(works: Works, laws: _Laws, rng: np.random.Generator) -> Floats:
    """How long each work takes, drawn: a row for each draw, a column for each work."""
    means, spreads = (np.concatenate(column, axis=1) for column in zip(*laws, strict=True))
    noise = rng.standard_normal((DRAWS, len(works.rows)))
    logs = means[:, works.kind] + spreads[:, works.kind] * noise
    return np.asarray(np.exp(logs) * works.rows)


def _left_s(running: Works, ages_s: Floats, laws: _Laws, rng: np.random.Generator) -> Floats:
    """How long each work that runs will go on: of the times that are longer than it has run."""
    longest: Floats = np.zeros((DRAWS, len(running.rows)))
    left = longest.copy()
    for _ in range(_TRIES):
        taken = _taken_s(running, laws, rng)
        longest = np.maximum(longest, taken)
        left = np.where((left == 0) & (taken > ages_s), taken - ages_s, left)
    return np.asarray(np.where(left > 0, left, _LEAST_LEFT * longest))
