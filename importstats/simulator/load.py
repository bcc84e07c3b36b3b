"""Load that changes in steps, and the work a slot does under it."""

from __future__ import annotations

from bisect import bisect_right


class SteppedLoad:
    """The integral of a piecewise-constant speed, and its inverse.

    Since the speed is constant between steps, both are exact up to floating point, and so is the
    time at which a task ends.

    Parameters
    ----------
    steps : tuple of (float, float)
        ``(from_s, factor)``, ascending; the factor is 1 before the first.

    Examples
    --------
    >>> load = SteppedLoad(((10.0, 0.5),))
    >>> load.work(20.0) - load.work(0.0)
    15.0
    >>> load.time(load.work(0.0) + 15.0)
    20.0
    """

    def __init__(self, steps: tuple[tuple[float, float], ...]) -> None:
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
        """When :meth:`work` reaches `work_s`."""
        step = bisect_right(self._work, work_s) - 1
        if step < 0:
            return work_s + self._times[0]
        return self._times[step] + (work_s - self._work[step]) / self._factors[step]
