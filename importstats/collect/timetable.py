"""A collector's timetable: which job is polled when, on a monotonic clock."""

from __future__ import annotations

import heapq
import itertools
import math
import time
from collections.abc import Iterator
from typing import Final


class Timetable:
    """Jobs, by the time when each is due.

    Examples
    --------
    >>> due = Timetable()
    >>> due.add(20.0, "8")
    >>> due.add(10.0, "7")
    >>> list(due.take(15.0)), due.next_at
    ([(10.0, '7')], 20.0)
    """

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, str]] = []
        self._order = itertools.count()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def next_at(self) -> float:
        """When the next job is due; infinite if there is none."""
        return self._entries[0][0] if self._entries else math.inf

    def add(self, at: float, job_id: str) -> None:
        """Note that a job is due at a time."""
        heapq.heappush(self._entries, (at, next(self._order), job_id))

    def take(self, until: float) -> Iterator[tuple[float, str]]:
        """Remove and yield the jobs that are due by a time, each with its time, earliest first."""
        while self.next_at <= until:
            at, _, job_id = heapq.heappop(self._entries)
            yield at, job_id


def now() -> float:
    """Seconds on a monotonic clock, which also runs while the machine sleeps if possible."""
    return time.clock_gettime(_CLOCK) if _CLOCK is not None else time.monotonic()


_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", None)
