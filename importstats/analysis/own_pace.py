"""How fast tasks go on compared with before, if their progress shows it.

It does if rows grow inside files, and nearly so if a task has many files that end one by one. A
task is compared with itself, so neither its size nor other tasks matter: its work since some time
would have taken it a certain number of seconds before. If all tasks at work do much less than they
did, something slows them together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from importstats.analysis.ages import Ages
from importstats.arrays import US_PER_S, Bools, Floats, Ints, dense, starts

# A task has its own pace once this many parts of it were seen and this share of it is done.
_LEAST_STEPS: Final = 3
_LEAST_DONE: Final = 0.05
# The files of a task share its node's pool of 16 with other tasks' files. Its pace is even while it
# has a few files or far more than 16, and if it has several, until the last.
_FEW_FILES: Final = 4
_MANY_FILES: Final = 128
_MOST_DONE: Final = 0.75
# Progress comes in whole percents or files: once this many were due, too few are no chance.
_PERCENTS: Final = 100
_LEAST_DUE: Final = 10
_LEAST_TASKS: Final = 2
# How many times are tried for a change of pace.
_CHANGES: Final = 24
_LEAST_S: Final = 5 * 60.0


@dataclass(frozen=True)
class Slowdown:
    """A time since which tasks go on at only a share of their earlier pace.

    Attributes
    ----------
    since, lasts_s : float
        When it began, in seconds since 1970, and how long it lasts.
    ratio : float
        Their pace since then, divided by their earlier pace.
    tasks : int
        How many tasks were seen both before and since.
    """

    since: float
    lasts_s: float
    ratio: float
    tasks: int


def slowdown(ages: Ages, job: int, factor: float) -> Slowdown | None:
    """The time since which tasks go on at less than `factor` of their earlier pace, or ``None``.

    If several times match, it is the one with the lowest pace since. The pace must be low in the
    later half as well: a slowdown that is over does not count.
    """
    tasks = _Course.from_ages(ages, job)
    best: Slowdown | None = None
    if not tasks.running.any():
        return None
    last = tasks.now - _LEAST_S
    for since in np.linspace(tasks.begin.min(), last, _CHANGES + 1)[1:].tolist():
        found = tasks.slowdown_since(since)
        if found is None or found.ratio > factor:
            continue
        if best is None or found.ratio < best.ratio:
            best = found
    return best


@dataclass(frozen=True)
class _Course:
    """The progress over time of those tasks of one job that have shown a pace.

    `axis` orders the samples by task and time, so that one search finds all tasks at a time.
    """

    axis: Floats
    fraction: Floats
    first: Ints
    parts: Ints
    several: Bools
    begin: Floats
    stop: Floats
    running: Bools
    now: float
    origin: float
    apart: float

    @classmethod
    def from_ages(cls, ages: Ages, job: int) -> _Course:
        spans, moves = ages.spans, ages.spans.moves
        chosen = (spans.job == job) & spans.begun & ~spans.failed
        chosen &= (spans.retries == 0) & (spans.steps >= _LEAST_STEPS) & ~np.isnan(spans.rose_by)
        smooth = bool(spans.smooth[job])
        if not smooth:
            chosen &= spans.files >= _MANY_FILES
        count = spans.files[chosen]
        places = np.flatnonzero(chosen[moves.unit])
        unit = dense(moves.unit[places])
        time = moves.time[places] / US_PER_S
        now = float(spans.now[job])
        origin = float(time.min(initial=now))
        apart = 2 * max(now - origin, 1.0)
        after = spans.rose_after[chosen]
        begin = np.where(np.isnan(after), spans.rose_by[chosen], after)
        return cls(
            unit * apart + time - origin,
            moves.fraction[places],
            starts(unit),
            np.full(len(count), _PERCENTS) if smooth else np.minimum(count, _PERCENTS),
            count > _FEW_FILES,
            begin,
            np.where(spans.done[chosen], spans.ended_by[chosen], now),
            spans.running[chosen],
            now,
            origin,
            apart,
        )

    def fraction_at(self, time: Floats | float) -> Floats:
        """How much of each task was done at a time; one time for all tasks, or one for each."""
        tasks = np.arange(len(self.first))
        place = np.searchsorted(self.axis, tasks * self.apart + time - self.origin, "right") - 1
        return np.where(place >= self.first, self.fraction[np.maximum(place, 0)], 0.0)

    def slowdown_since(self, since: float) -> Slowdown | None:
        """The pace since a time, divided by the pace before, if enough is known about both."""
        done = self.fraction_at(since)
        # If recording began in the middle, a part had been done before.
        before = done - self.fraction_at(self.begin)
        seen = (self.begin < since) & (self.stop > since) & (before >= _LEAST_DONE)
        seen &= ~self.several | (self.fraction_at(self.now) < _MOST_DONE)
        if np.count_nonzero(seen) < _LEAST_TASKS or not (seen & self.running).any():
            return None
        rate = before[seen] / (since - self.begin[seen])
        stop, whole = self.stop[seen], self.fraction_at(self.now)[seen]
        lasts_s = stop - since
        if float((self.parts[seen] * rate * lasts_s).sum()) < _LEAST_DUE:
            return None
        worth_s = (whole - done[seen]) / rate
        half = since + (self.now - since) / 2
        later_s = np.maximum(stop - half, 0.0)
        later_worth_s = (whole - self.fraction_at(half)[seen]) / rate
        ratio = max(
            float(worth_s.sum() / lasts_s.sum()),
            float(np.median(worth_s / lasts_s)),
            float(later_worth_s.sum() / later_s.sum()),
        )
        return Slowdown(since, self.now - since, ratio, int(np.count_nonzero(seen)))
