"""How fast tasks go on beside how fast they went before, where their progress shows that.

It does where rows grow inside files, and nearly so where a task has many files that end one by one.
A task is compared with itself, so neither its size nor the tasks beside it matter: what it has done
since some time is worth so many seconds of its pace before. Where all tasks at work do so much less
than they did, something slows them together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from importstats.analysis.ages import Ages
from importstats.arrays import Bools, Floats, Ints, dense, starts

_US: Final = 1e6
# A task has a pace of its own once so many parts of it were seen and so much of it is done.
_LEAST_STEPS: Final = 3
_LEAST_DONE: Final = 0.05
# The files of a task share the pool of its node with those of others. Its pace is even while it has
# a few files, or far more than a pool takes, which is 16; and of several files until the last.
_FEW_FILES: Final = 4
_MANY_FILES: Final = 128
_MOST_DONE: Final = 0.75
# Progress comes in whole percents or files: from so many that were due on, few are no chance.
_PERCENTS: Final = 100
_LEAST_DUE: Final = 10
_LEAST_TASKS: Final = 2
# At how many times a change of pace is looked for.
_CHANGES: Final = 24
_LEAST_S: Final = 5 * 60.0


@dataclass(frozen=True)
class Slowdown:
    """A time since which tasks go on at a share of their own pace before.

    Attributes
    ----------
    since, lasts_s : float
        Since when, in seconds since 1970, and for how long.
    ratio : float
        Their pace since then by that before.
    tasks : int
        How many tasks were seen before and since.
    """

    since: float
    lasts_s: float
    ratio: float
    tasks: int


def slowdown(ages: Ages, job: int, factor: float) -> Slowdown | None:
    """The time since which tasks go on at less than `factor` of their pace before, or ``None``.

    Of all times that would do the one with the least pace since. It is low in the later half of
    that time as well: a slowdown that is over is none.
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
    """How much was done of each task of one job over time, of those that have shown a pace.

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
        time = moves.time[places] / _US
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
        """How much of each task was done at a time, one for all tasks or one for each."""
        tasks = np.arange(len(self.first))
        place = np.searchsorted(self.axis, tasks * self.apart + time - self.origin, "right") - 1
        return np.where(place >= self.first, self.fraction[np.maximum(place, 0)], 0.0)

    def slowdown_since(self, since: float) -> Slowdown | None:
        """The pace since a time by that before, if enough is known of both."""
        done = self.fraction_at(since)
        # Where recording began in the middle a part was done before.
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
