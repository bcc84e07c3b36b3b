"""How fast a cluster works over time: day and night, neighbours, pauses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

HOUR_S = 3600.0
DAY_S = 86_400.0
#: Nothing stands quite still, so that every amount of work has one time at which it is done.
STANDSTILL = 1e-9


@dataclass(frozen=True)
class Pace:
    """A speed that is constant between knots, and the work done until each of them.

    `times` are seconds since the job was created, ascending from 0; `speeds` holds from each of
    them to the next, the last for ever.
    """

    times: Floats
    speeds: Floats

    @property
    def done(self) -> Floats:
        return np.concatenate([[0.0], np.cumsum(np.diff(self.times) * self.speeds[:-1])])

    def work(self, at_s: Floats | float) -> Floats:
        """What is done until a time, in seconds of a speed of one."""
        at = np.asarray(at_s, np.float64)
        beyond = np.maximum(at - self.times[-1], 0) * self.speeds[-1]
        return np.interp(at, self.times, self.done) + beyond

    def time(self, work_s: Floats | float) -> Floats:
        """When so much is done; infinite for an infinite amount."""
        work = np.asarray(work_s, np.float64)
        done = self.done
        finite = np.where(np.isfinite(work), work, 0)
        beyond = np.maximum(finite - done[-1], 0) / self.speeds[-1]
        return np.where(np.isfinite(work), np.interp(finite, done, self.times) + beyond, np.inf)

    def scaled(self, start_s: float, end_s: float, factor: float) -> Pace:
        """The same, but in this time at so many times its speed."""
        times = np.unique(np.concatenate([self.times, [start_s, end_s]]))
        times = times[np.isfinite(times)]
        speeds = self.speeds[np.searchsorted(self.times, times, "right") - 1]
        inside = (times >= start_s) & (times < end_s)
        return Pace(times, np.where(inside, np.maximum(speeds * factor, STANDSTILL), speeds))


def draw_pace(
    rng: np.random.Generator,
    created_hour: float,
    *,
    day_dip: float,
    neighbour_share: float,
    neighbour_s: tuple[float, float],
    horizon_s: float = 6 * DAY_S,
) -> Pace:
    """A pace around one.

    `day_dip` is how much slower it is at three in the afternoon than at three at night;
    neighbours take up to half of the machine, a `neighbour_share` of the time, for a time drawn
    log-uniformly from `neighbour_s`.
    """
    times = np.arange(0, horizon_s, 900.0)
    hour = created_hour + times / HOUR_S
    speeds = 1 - day_dip * (0.5 + 0.5 * np.cos((hour - 15) / 24 * 2 * np.pi))
    pace = Pace(times, speeds)
    if neighbour_share > 0:
        begins: list[float] = []
        at = 0.0
        mean_s = float(np.sqrt(neighbour_s[0] * neighbour_s[1]))
        while at < horizon_s and len(begins) < 400:
            at += float(rng.exponential(mean_s / neighbour_share))
            lasts = float(np.exp(rng.uniform(*np.log(neighbour_s))))
            pace = pace.scaled(at, at + lasts, float(rng.uniform(0.5, 0.9)))
            begins.append(at)
            at += lasts
    return pace


def list_schedule(
    released: Sequence[float] | Floats, work: Floats, workers: int, pace: Pace
) -> Floats:
    """When each piece of work ends that `workers` take in the order of their release."""
    import heapq

    order = np.argsort(released, kind="stable")
    ready = pace.work(np.asarray(released, np.float64))
    free = [0.0] * max(1, workers)
    ends = np.empty(len(work))
    for piece in order:
        start = max(heapq.heappop(free), float(ready[piece]))
        ends[piece] = start + work[piece]
        heapq.heappush(free, ends[piece])
    return pace.time(ends)
