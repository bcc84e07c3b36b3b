"""Load that changes in steps, and the work that gets done under it."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable

Steps = tuple[tuple[float, float], ...]


class SteppedLoad:
    """The integral of a piecewise-constant speed, and its inverse.

    Since the speed is constant between steps ``(from_s, factor)``, both are exact up to floating
    point, and so is the time at which a file ends. Before the first step the factor is 1; a factor
    of 0 is a pause.

    Examples
    --------
    >>> load = SteppedLoad(((10.0, 0.5), (30.0, 0.0), (90.0, 1.0)))
    >>> load.work(20.0) - load.work(0.0)
    15.0
    >>> load.time(load.work(0.0) + 15.0), load.time(load.work(0.0) + 25.0)
    (20.0, 95.0)
    """

    def __init__(self, steps: Steps) -> None:
        self._times = [from_s for from_s, _ in steps] or [0.0]
        self._factors = [factor for _, factor in steps] or [1.0]
        self._work = [0.0]
        for i in range(1, len(self._times)):
            span = self._times[i] - self._times[i - 1]
            self._work.append(self._work[-1] + span * self._factors[i - 1])

    def work(self, time_s: float) -> float:
        """Seconds of work at factor 1 done by `time_s`, counted from the first step."""
        step = bisect_right(self._times, time_s) - 1
        if step < 0:
            return time_s - self._times[0]
        return self._work[step] + (time_s - self._times[step]) * self._factors[step]

    def time(self, work_s: float) -> float:
        """The time at which :meth:`work` reaches `work_s`; infinite if it never does."""
        step = bisect_right(self._work, work_s) - 1
        if step < 0:
            return work_s + self._times[0]
        if self._factors[step] == 0:
            return math.inf if work_s > self._work[step] else self._times[step]
        return self._times[step] + (work_s - self._work[step]) / self._factors[step]


def product(loads: Iterable[Steps]) -> Steps:
    """Several loads as one, whose factors are the products of theirs.

    Examples
    --------
    >>> product([((10.0, 0.5),), ((0.0, 1.0), (20.0, 0.0), (30.0, 1.0))])
    ((0.0, 1.0), (10.0, 0.5), (20.0, 0.0), (30.0, 0.5))
    """
    loads = [steps for steps in loads if steps]
    times = sorted({from_s for steps in loads for from_s, _ in steps})
    factors = []
    for time_s in times:
        factor = 1.0
        for steps in loads:
            step = bisect_right(steps, (time_s, math.inf)) - 1
            factor *= steps[step][1] if step >= 0 else 1.0
        factors.append(factor)
    return tuple(zip(times, factors, strict=True))
