"""The virtual clock: events in the order of their times."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from itertools import count
from typing import Final

#: How often the coordinator hands out tasks and asks nodes about them.
ASK_S: Final = 2.0
#: How often it checks whether a job can go on to its next phase.
CHECK_S: Final = 2.0
#: How often it looks for time-outs and dropped collections.
SLOW_CHECK_S: Final = 120.0


class Clock:
    """A clock that stands still until it is moved on, and the events to come.

    It begins at `now_s`, and never reads a real clock.

    Examples
    --------
    >>> clock = Clock(0.0)
    >>> clock.call_at(2.0, lambda: print("two"))
    >>> clock.call_at(1.0, lambda: print("one"))
    >>> clock.advance(5.0)
    one
    two
    >>> clock.now_s
    5.0
    """

    def __init__(self, now_s: float) -> None:
        self.now_s = now_s
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    @property
    def settled(self) -> bool:
        """Whether nothing is left to happen."""
        return not self._events

    def call_at(self, at_s: float, happen: Callable[[], None]) -> None:
        """Let something happen at a time, after everything else that is due then.

        Raises
        ------
        ValueError
            The time has passed.
        """
        if at_s < self.now_s:
            raise ValueError(f"{at_s} s has passed; the clock is at {self.now_s} s")
        heapq.heappush(self._events, (at_s, next(self._order), happen))

    def at_next(
        self, interval_s: float, happen: Callable[[], None], *, offset_s: float = 0.0
    ) -> None:
        """Let something happen at the next multiple of an interval."""
        self.call_at(self.next(interval_s, offset_s), happen)

    def next(self, interval_s: float, offset_s: float = 0.0) -> float:
        """The next whole multiple of an interval, shifted by an offset; now if it is one."""
        turns = math.ceil((self.now_s - offset_s) / interval_s - 1e-9)
        return max(self.now_s, turns * interval_s + offset_s)

    def advance(self, to_s: float) -> None:
        """Let everything happen that is due by `to_s`.

        Raises
        ------
        ValueError
            `to_s` has passed.
        """
        if to_s < self.now_s:
            raise ValueError(f"the clock is at {self.now_s} s and cannot go back to {to_s} s")
        while self._events and self._events[0][0] <= to_s:
            self.now_s, _, happen = heapq.heappop(self._events)
            happen()
        self.now_s = to_s
