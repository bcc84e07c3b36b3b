"""The index nodes: they sort segments and build indexes, one slot for each."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from importstats.simulator.clock import Clock
from importstats.simulator.load import SteppedLoad, Steps


@dataclass(slots=True, eq=False)
class _Work:
    job: object
    seconds: float
    done: Callable[[], None]
    node: int = -1


class IndexNodes:
    """Nodes with slots, and the sorts and index builds that run and wait, first come first served.

    What is left out: a slot is a slot whatever the segment weighs, and works on one node do not
    slow each other down.
    """

    def __init__(
        self, speeds: Sequence[float], slots_per_node: int, load: Steps, clock: Clock
    ) -> None:
        self._speeds = speeds
        self._free = [slots_per_node] * len(speeds)
        self._all_free = slots_per_node * len(speeds)
        self._load = SteppedLoad(load)
        self._clock = clock
        self._waiting: deque[_Work] = deque()
        self._running: set[_Work] = set()

    def submit(self, job: object, seconds: float, done: Callable[[], None]) -> None:
        """Let a work of so many seconds on a node of speed 1 wait for a slot."""
        self._waiting.append(_Work(job, seconds, done))
        self._start_waiting()

    def cancel(self, job: object) -> None:
        """Drop all works of a job."""
        self._waiting = deque(work for work in self._waiting if work.job is not job)
        for work in [work for work in self._running if work.job is job]:
            self._running.discard(work)
            self._give_back(work.node, 1)
        self._start_waiting()

    def _start_waiting(self) -> None:
        while self._waiting and self._all_free:
            node = max(range(len(self._free)), key=self._free.__getitem__)
            work = self._waiting.popleft()
            work.node = node
            self._give_back(node, -1)
            self._running.add(work)
            needed = work.seconds / self._speeds[node]
            at_s = self._load.time(self._load.work(self._clock.now_s) + needed)
            if math.isfinite(at_s):
                self._clock.at(max(at_s, self._clock.now_s), partial(self._end, work))

    def _give_back(self, node: int, slots: int) -> None:
        self._free[node] += slots
        self._all_free += slots

    def _end(self, work: _Work) -> None:
        if work not in self._running:
            return
        self._running.discard(work)
        self._give_back(work.node, 1)
        self._start_waiting()
        work.done()
