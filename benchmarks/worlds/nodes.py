"""Data nodes at work on the tasks of one job: slots, batches, a pool of files, restarts.

What is modelled is what the data node's source says: the coordinator hands out tasks every two
seconds to nodes with a free slot; a node takes what waits as one batch and takes nothing more until
all of it has ended; the files of a batch share a pool; the ends of tasks are written one after the
other in random order, so a task is reported only when all those written before it have ended.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from .pace import Floats, Pace

Ints = npt.NDArray[np.int64]

#: The coordinator's round.
TICK_S = 2.0


@dataclass(frozen=True)
class Node:
    """One data node.

    `capacity` is how many files can be read at full speed at once; more share that. `restarts`
    are pairs of seconds: when it goes and for how long it is away.
    """

    slots: int
    pool: int
    capacity: float
    speed: float = 1.0
    joins_s: float = 0.0
    restarts: tuple[tuple[float, float], ...] = ()


@dataclass(eq=False)
class Attempt:
    """One go at a task: when it was handed over, and when its files began and ended."""

    task: int
    node: int
    handed_s: float
    began_s: float = np.inf
    begins_s: Floats = field(default_factory=lambda: np.empty(0))
    ends_s: Floats = field(default_factory=lambda: np.empty(0))
    #: When the coordinator learns of its end; infinite if it never ended.
    reported_s: float = np.inf
    #: When it went back to Pending, infinite if it did not.
    back_s: float = np.inf
    batch: int = -1


@dataclass(frozen=True)
class Work:
    """What is to be done, in seconds at full speed, and what goes wrong.

    `tasks` are the places of their files; `back_after` is the share of its time after which the
    first go at a task fails, NaN for none; `idle_s` is for how long a file hangs after
    its work, at the first go.
    """

    tasks: Sequence[Ints]
    file_s: Floats
    back_after: Floats
    idle_s: Floats


def ticked(at_s: float, offset_s: float) -> float:
    """The coordinator's next round."""
    return float(np.ceil((at_s - offset_s) / TICK_S) * TICK_S + offset_s)


def pool_times(work_s: Floats, pool: int, capacity: float) -> tuple[Floats, Floats]:
    """When files that share a pool begin and end, in seconds of an undisturbed node.

    All files at work go equally fast (processor sharing), so one clock of shared progress orders
    their ends.
    """
    begins, ends = np.zeros(len(work_s)), np.zeros(len(work_s))
    running: list[tuple[float, int]] = []
    shared = now = 0.0
    waiting = 0
    while running or waiting < len(work_s):
        while waiting < len(work_s) and len(running) < pool:
            begins[waiting] = now
            heapq.heappush(running, (shared + work_s[waiting], waiting))
            waiting += 1
        end, file = heapq.heappop(running)
        now += (end - shared) * max(1.0, (len(running) + 1) / capacity)
        shared = end
        ends[file] = now
    return begins, ends


class _Cluster:
    """Runs until nothing is left to do; see :func:`run_tasks`."""

    def __init__(
        self,
        work: Work,
        nodes: Sequence[Node],
        pace: Pace,
        start_s: float,
        offset_s: float,
        rng: np.random.Generator,
    ) -> None:
        self.work, self.nodes, self.pace, self.offset_s, self.rng = work, nodes, pace, offset_s, rng
        self.pending = deque(range(len(work.tasks)))
        self.attempts: list[Attempt] = []
        self.waiting: list[list[Attempt]] = [[] for _ in nodes]
        self.held: list[list[Attempt]] = [[] for _ in nodes]
        self.batch = [-1] * len(nodes)
        self.batches = 0
        self.away_until = [max(node.joins_s, start_s) for node in nodes]
        self.tries = [0] * len(work.tasks)
        self.events: list[tuple[float, int, str, int, Attempt | None]] = []
        self.start_s = start_s
        self.pushed = 0

    def push(self, at_s: float, kind: str, node: int, attempt: Attempt | None = None) -> None:
        if np.isfinite(at_s):
            self.pushed += 1
            heapq.heappush(self.events, (at_s, self.pushed, kind, node, attempt))

    def run(self) -> list[Attempt]:
        for place, node in enumerate(self.nodes):
            self.push(ticked(self.away_until[place], self.offset_s), "hand", place)
            for at_s, lasts_s in node.restarts:
                if at_s > self.start_s:
                    self.push(at_s, "restart", place, None)
                    self.push(ticked(at_s + lasts_s, self.offset_s), "hand", place)
        while self.events:
            now, _, kind, node, attempt = heapq.heappop(self.events)
            if kind == "report" and attempt is not None and np.isinf(attempt.back_s):
                self.held[node].remove(attempt)
                self.hand_out(now)
            elif kind == "back" and attempt is not None and np.isinf(attempt.back_s):
                self.go_back(attempt, now)
                self.hand_out(now + TICK_S)
            elif kind == "restart":
                self.restart(node, now)
            elif kind == "hand":
                self.hand_out(now)
            elif kind == "begin" and self.batch[node] < 0:
                self.begin(node, now)
            elif kind == "free" and attempt is not None and self.batch[node] == attempt.batch:
                self.batch[node] = -1
                self.begin(node, now)
        return self.attempts

    def hand_out(self, now: float) -> None:
        while self.pending:
            free = [
                (node.slots - len(self.held[place]), self.rng.random(), place)
                for place, node in enumerate(self.nodes)
                if self.away_until[place] <= now
            ]
            best = max(free, default=(0, 0.0, 0))
            if best[0] <= 0:
                return
            attempt = Attempt(self.pending.popleft(), best[2], now)
            self.attempts.append(attempt)
            self.held[best[2]].append(attempt)
            self.waiting[best[2]].append(attempt)
            self.push(now + self.rng.uniform(0.2, 1.0), "begin", best[2])

    def begin(self, node: int, now: float) -> None:
        batch = self.waiting[node]
        if not batch:
            return
        self.waiting[node] = []
        self.batches += 1
        self.batch[node] = self.batches
        files = np.concatenate([self.work.tasks[attempt.task] for attempt in batch])
        machine = self.nodes[node]
        begins, ends = pool_times(self.work.file_s[files], machine.pool, machine.capacity)
        base = float(self.pace.work(now))
        begins_s = self.pace.time(base + begins / machine.speed)
        first = np.repeat(
            [self.tries[attempt.task] == 0 for attempt in batch],
            [len(self.work.tasks[attempt.task]) for attempt in batch],
        )
        hangs = np.where(first, self.work.idle_s[files], 0.0)
        ends_s = self.pace.time(base + ends / machine.speed) + hangs
        place = 0
        for attempt in batch:
            count = len(self.work.tasks[attempt.task])
            attempt.batch, attempt.began_s = self.batches, now
            attempt.begins_s = begins_s[place : place + count]
            attempt.ends_s = ends_s[place : place + count]
            place += count
        self.end_batch(node, now, batch)

    def end_batch(self, node: int, now: float, batch: list[Attempt]) -> None:
        """Write the ends one after the other in random order, as far as tasks do not fail."""
        last = now
        for place in self.rng.permutation(len(batch)):
            attempt = batch[place]
            own = float(attempt.ends_s.max())
            fails = self.work.back_after[attempt.task]
            if self.tries[attempt.task] == 0 and not np.isnan(fails):
                lost = ticked(now + fails * (own - now), self.offset_s)
                self.push(lost, "back", node, attempt)
                last = max(last, lost)
            else:
                last = max(last, own)
                attempt.reported_s = ticked(last, self.offset_s)
                self.push(attempt.reported_s, "report", node, attempt)
            self.tries[attempt.task] += 1
        self.push(max(float(last), now), "free", node, batch[0])

    def go_back(self, attempt: Attempt, now: float) -> None:
        attempt.back_s, attempt.reported_s = now, np.inf
        self.held[attempt.node].remove(attempt)
        if attempt in self.waiting[attempt.node]:
            self.waiting[attempt.node].remove(attempt)
        self.pending.append(attempt.task)

    def restart(self, node: int, now: float) -> None:
        lasts = next(lasts for at_s, lasts in self.nodes[node].restarts if at_s == now)
        self.away_until[node] = now + lasts
        self.batch[node] = -1
        seen = ticked(now + 1.0, self.offset_s)
        for attempt in list(self.held[node]):
            self.go_back(attempt, seen)
        self.hand_out(seen)


def run_tasks(
    work: Work,
    nodes: Sequence[Node],
    pace: Pace,
    start_s: float,
    *,
    offset_s: float,
    rng: np.random.Generator,
) -> list[Attempt]:
    """All goes at all tasks, in the order in which they were handed over.

    A task that hangs for ever has an attempt that is never reported, and tasks that wait behind it
    have none or one that never began.
    """
    return _Cluster(work, nodes, pace, start_s, offset_s, rng).run()
