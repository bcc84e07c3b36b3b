"""The index nodes: they sort segments, build indexes and compact, one slot for each."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from importstats.simulator.clock import Clock
from importstats.simulator.load import SteppedLoad, Steps

WorkKind = Literal["sort", "index", "compact"]


@dataclass(slots=True, eq=False)
class Work:
    """One sort, index build or compaction: its job and segment, and when it began and ended."""

    job: object
    kind: WorkKind
    segment: int
    seconds: float
    done: Callable[[Work], None]
    submitted_s: float
    number: int
    node: int = -1
    started_s: float = math.inf
    ended_s: float = math.inf
    failed: bool = False
    cancelled: bool = False


class IndexNodes:
    """Nodes with slots, and the work that runs and waits, first come first served.

    Every segment takes one slot, whatever its size, and work does not slow down other work.
    """

    def __init__(
        self, speeds: Sequence[float], slots_per_node: int, load: Steps, clock: Clock
    ) -> None:
        self._speeds = speeds
        self._free = [slots_per_node] * len(speeds)
        self._all_free = slots_per_node * len(speeds)
        self._load = SteppedLoad(load)
        self._clock = clock
        self._waiting: deque[Work] = deque()
        self._running: set[Work] = set()
        self.works: list[Work] = []

    def submit(
        self,
        job: object,
        kind: WorkKind,
        segment: int,
        seconds: float,
        done: Callable[[Work], None],
    ) -> None:
        """Let work wait for a slot; it takes `seconds` on a node of speed 1."""
        work = Work(job, kind, segment, seconds, done, self._clock.now_s, len(self.works))
        self.works.append(work)
        self._waiting.append(work)
        self._start_waiting()

    def cancel(self, job: object) -> None:
        """Drop all of a job's work."""
        for work in self._waiting:
            work.cancelled |= work.job is job
        self._waiting = deque(work for work in self._waiting if work.job is not job)
        for work in [work for work in self._running if work.job is job]:
            work.cancelled = True
            self._running.discard(work)
            self._give_back(work.node, 1)
        self._start_waiting()

    def _start_waiting(self) -> None:
        while self._waiting and self._all_free:
            node = max(range(len(self._free)), key=self._free.__getitem__)
            work = self._waiting.popleft()
            work.node, work.started_s = node, self._clock.now_s
            self._give_back(node, -1)
            self._running.add(work)
            needed = work.seconds / self._speeds[node]
            at_s = self._load.time(self._load.work(self._clock.now_s) + needed)
            if math.isfinite(at_s):
                self._clock.call_at(max(at_s, self._clock.now_s), partial(self._end, work))

    def _give_back(self, node: int, slots: int) -> None:
        self._free[node] += slots
        self._all_free += slots

    def _end(self, work: Work) -> None:
        if work not in self._running:
            return
        work.ended_s = self._clock.now_s
        self._running.discard(work)
        self._give_back(work.node, 1)
        self._start_waiting()
        work.done(work)
