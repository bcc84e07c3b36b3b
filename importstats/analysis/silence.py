"""Whether too few of a job's tasks end: none for too long, or far fewer than expected.

A silence is too long if it lasts longer than any task of the job took, for its size: every task
that was at work before the silence should have ended in it.

The ends that are due from a task over a time are the growth of its cumulative hazard; the
difference to the ends seen is a martingale residual (Barlow and Prentice, Biometrika 1988). Load on
the cluster can slow all tasks of a job together. So the ends due are computed for all plausible
paces, and the verdict is an average over these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from importstats.analysis.ages import Ages
from importstats.analysis.durations import median_of_censored
from importstats.analysis.interval_chances import SLOW_SCATTER, SLOW_SHARE, SLOW_SHIFT
from importstats.arrays import Bools, Floats

#: How much the pace of all tasks may change with a cluster's load (standard deviation of the
#: logarithm; ours), and the paces, slow ones first, and weights that follow from it.
PACE_SD: Final = 0.35
_STEPS: Final = np.linspace(-3.0, 1.0, 9)
_PACES: Final = np.exp(PACE_SD * _STEPS)
_WEIGHTS: Final = np.exp(-0.5 * _STEPS**2) / np.exp(-0.5 * _STEPS**2).sum()

# A silence is too long if it lasts this many times the longest task (ours: in 153 healthy jobs of
# ``benchmarks/worlds`` the longest was 1.07 times as long).
_TIMES_LONGEST: Final = 1.25
# How unlikely a slump must be by chance: a job is checked many times.
_CHANGE_CHANCE: Final = 3e-4
_LEAST_S: Final = 5 * 60.0
_LEAST_RUNNING: Final = 2
_LEAST_TOOK_S: Final = 1.0
# How many tasks must have ended before the usual time is known, and its best accuracy.
_LEAST_ENDED: Final = 4
_LEAST_SCATTER: Final = 0.15
# How many times are tried for a change of pace, and how many ends must have been due since.
_CHANGES: Final = 24
_LEAST_DUE: Final = 7.0
# A task that is long overdue adds to the ends due again and again but ends only once. So at most
# this share of the tasks that should have ended may have done so.
_MOST_ENDED: Final = 0.5


@dataclass(frozen=True)
class Silence:
    """A time in which no task of a job ended.

    Attributes
    ----------
    since, lasts_s : float
        When it began, in seconds since 1970, and how long it lasts.
    running : int
        Tasks at work.
    longest_s : float
        How long the longest task of the job took, for the size of those at work.
    """

    since: float
    lasts_s: float
    running: int
    longest_s: float


@dataclass(frozen=True)
class Slump:
    """A time since which far fewer tasks end than expected.

    Attributes
    ----------
    since, lasts_s : float
        When it began, in seconds since 1970, and how long it lasts.
    ratio : float
        The number of tasks that ended, divided by the number due.
    chance : float
        The probability of so few ends, over all plausible paces.
    """

    since: float
    lasts_s: float
    ratio: float
    chance: float


def unusual_silence(ages: Ages, job: int) -> Silence | None:
    """A job's silence if it lasts longer than any of its tasks took; else ``None``."""
    tasks = _Tasks.from_ages(ages, job)
    lasts_s = tasks.now - tasks.last_sign
    running = int(np.count_nonzero(tasks.running))
    known = tasks.ended & tasks.timed
    if not lasts_s >= _LEAST_S or running < _LEAST_RUNNING or not known.any():
        return None
    took = (tasks.stop - tasks.begin)[known] / tasks.size[known]
    longest_s = float(took.max() * np.median(tasks.size[tasks.running]))
    if not lasts_s > _TIMES_LONGEST * longest_s:
        return None
    return Silence(tasks.last_sign, lasts_s, running, longest_s)


def collapse_since(ages: Ages, job: int, factor: float) -> Slump | None:
    """The time since which tasks end at less than `factor` of their usual rate, or ``None``.

    If several times match, it is the one whose ends are the least likely (a change point by maximum
    likelihood; Hinkley, Biometrika 1970). Since at least one of these times, no more than half of
    the tasks that should have ended have done so.
    """
    tasks = _Tasks.from_ages(ages, job)
    if not tasks.running.any():
        return None
    ended = np.sort(tasks.stop[tasks.ended])
    ended = ended[ended < tasks.now - _LEAST_S][_LEAST_ENDED - 1 :]
    if len(ended) > _CHANGES:
        ended = ended[np.linspace(0, len(ended) - 1, _CHANGES).astype(np.int64)]
    best: Slump | None = None
    sure = False
    for since in ended.tolist():
        found = tasks.due_since(since)
        if found is None:
            continue
        due, count = found
        seen = int(np.count_nonzero(tasks.ended & (tasks.stop > since)))
        usual = float(np.interp(1.0, _PACES, due))
        if usual < _LEAST_DUE or seen > factor * usual:
            continue
        chance = float(_WEIGHTS @ _at_most(seen, due))
        if chance >= _CHANGE_CHANCE:
            continue
        sure |= seen <= _MOST_ENDED * count
        if best is None or chance < best.chance:
            best = Slump(since, tasks.now - since, seen / usual, chance)
    return best if sure else None


@dataclass(frozen=True)
class _Tasks:
    """One job's begun tasks: sizes, and when they were handed over and ended (or now).

    The wait for a node is part of their time, as it is for the tasks that define the usual time.
    `later` are tasks that came after the first were handed out and wait for them; `timed` are those
    whose start was seen.
    """

    size: Floats
    later: Bools
    timed: Bools
    begin: Floats
    stop: Floats
    ended: Bools
    running: Bools
    now: float
    last_sign: float

    @classmethod
    def from_ages(cls, ages: Ages, job: int) -> _Tasks:
        spans = ages.spans
        mine = (spans.job == job) & spans.begun & ~spans.failed
        now = float(spans.now[job])
        ended = spans.done[mine]
        stop = np.where(ended, spans.ended_by[mine], now)
        # A task that goes back and is handed over again shows that the coordinator is at work.
        signs = [spans.moved_at[mine], stop[ended], spans.first_handed_by[mine]]
        times = np.concatenate(signs)
        times = times[np.isfinite(times)]
        # Tasks shorter than the time between two polls begin and end between the same two.
        after = np.where(np.isnan(spans.handed_after), spans.handed_by, spans.handed_after)
        begin = ((after + spans.handed_by) / 2)[mine]
        return cls(
            spans.size_bytes[mine] + ages.durations.fixed_bytes[job],
            begin > begin.min(initial=np.inf),
            ~np.isnan(spans.handed_after[mine]),
            begin,
            stop,
            ended,
            spans.running[mine],
            now,
            float(times.max()) if len(times) else now,
        )

    def due_since(self, since: float) -> tuple[Floats, float] | None:
        """How many ends were due since a time at each pace, and how many tasks at the usual pace.

        ``None`` if the usual time is not known.

        The usual time is the median over ended and running tasks at that time; its scatter is that
        of the ended ones.
        """
        begun = self.timed & (self.begin < since)
        ended = (self.ended & (self.stop <= since))[begun]
        if np.count_nonzero(ended) < _LEAST_ENDED:
            return None
        took = np.minimum(self.stop[begun], since) - self.begin[begun]
        logs = np.log(np.maximum(took, _LEAST_TOOK_S) / self.size[begun])
        later = self.later[begun]
        usual = median_of_censored(logs[~later], ended[~later])
        waited = usual
        if np.count_nonzero(ended & later) >= _LEAST_ENDED:
            waited = median_of_censored(logs[later], ended[later])
        elif (self.later & (self.stop > since)).any():
            return None
        if not np.isfinite(usual):
            usual = waited
        spread = float(np.median(np.abs(logs - np.where(later, waited, usual))[ended]))
        # 1.4826 MAD is a standard deviation, which is 1.81 times a logistic error's scale.
        scatter = max(0.82 * spread, _LEAST_SCATTER)
        after = self.timed & (self.stop > since)
        normal_s = np.exp(np.where(self.later[after], waited, usual)) * self.size[after]
        old = np.maximum(since - self.begin[after], 0.0) / normal_s
        new = np.maximum(self.stop[after] - self.begin[after], 0.0) / normal_s
        grown = [_hazard(new * pace, scatter) - _hazard(old * pace, scatter) for pace in _PACES]
        by_now = _hazard((self.now - self.begin[after]) / normal_s, scatter)
        ending = -np.expm1(_hazard(old, scatter) - by_now)
        return np.array(grown).sum(axis=1), float(ending.sum())


def _hazard(times_usual: Floats, scatter: float) -> Floats:
    """The cumulative hazard of a task after some multiple of the usual time."""
    log = np.log(np.maximum(times_usual, 1e-9))
    usual = 0.5 - 0.5 * np.tanh(0.5 * log / scatter)
    slow = 0.5 - 0.5 * np.tanh(0.5 * (log - SLOW_SHIFT) / SLOW_SCATTER)
    return np.asarray(-np.log((1 - SLOW_SHARE) * usual + SLOW_SHARE * slow), np.float64)


def _at_most(count: int, mean: Floats) -> Floats:
    """The Chernoff bound of the probability of at most `seen` Poisson events."""
    mean = np.maximum(mean, 1e-9)
    few = max(count, 1e-9)
    bound = np.exp(few - mean + few * np.log(mean / few))
    return np.asarray(np.where(mean > count, np.minimum(bound, 1.0), 1.0), np.float64)
