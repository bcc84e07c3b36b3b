"""The hand-out: tasks that wait, and the data nodes that have slots for them."""

from __future__ import annotations

import heapq
from functools import partial
from itertools import count
from typing import Protocol

import numpy as np

from importstats.simulator.clock import ASK_S, Clock
from importstats.simulator.jobs import LiveJob
from importstats.simulator.load import product
from importstats.simulator.nodes import DataNode, NodeReports, TaskKind, TaskRun
from importstats.simulator.releases import Release
from importstats.simulator.specs import ClusterSpec


class TaskReports(NodeReports, Protocol):
    """Hears what happens to tasks."""

    def task_handed(self, run: TaskRun) -> None:
        """The task has been handed to a node."""


class Handout:
    """The data nodes of a cluster, and the tasks that wait for one of their slots.

    Tasks are handed out every two seconds, job by job, each to the node with the most free slots.
    A slot is free again when the coordinator knows that its task has ended.
    """

    def __init__(
        self, spec: ClusterSpec, release: Release, clock: Clock, reports: TaskReports, seed: int
    ) -> None:
        self._spec = spec
        self._clock = clock
        self._reports = reports
        self._waiting: list[tuple[int, int, LiveJob, TaskKind, int]] = []
        self._order = count()
        self._hands_out_at: float | None = None
        own_load = dict(spec.node_load)
        self.nodes = [
            DataNode(
                number,
                speed,
                cores=spec.cores_per_node,
                pool=4 * spec.cores_per_node if release.pool_per_core else 16,
                load=product([spec.load, own_load.get(number, ())]),
                clock=clock,
                reports=reports,
                failure_ends_imports=release.failure_ends_imports,
                rng=np.random.default_rng([seed, 4, number]),
            )
            for number, speed in enumerate(spec.all_speeds)
        ]
        self._held: list[set[TaskRun]] = [set() for _ in self.nodes]
        for number, (at_s, _) in enumerate(spec.added_nodes, len(spec.node_speeds)):
            self.nodes[number].up = False
            clock.call_at(max(at_s, clock.now_s), partial(self._start_node, number))
        for restart in spec.restarts:
            clock.call_at(restart.at_s, partial(self._restart, restart.node, restart.down_s))

    def wait(self, job: LiveJob, kind: TaskKind, index: int) -> None:
        """Let a task wait for a slot."""
        heapq.heappush(self._waiting, (job.number, next(self._order), job, kind, index))

    def hand_out_soon(self) -> None:
        """Hand out the waiting tasks at the next time for it."""
        at_s = self._clock.next(ASK_S)
        if self._waiting and self._hands_out_at != at_s:
            self._hands_out_at = at_s
            self._clock.call_at(at_s, self._hand_out)

    def release(self, run: TaskRun) -> None:
        """Free the slot of a task, if it is over."""
        if run.is_over:
            self._held[run.node].discard(run)

    def drop(self, job: LiveJob) -> None:
        """Drop all tasks of a job."""
        for node in self.nodes:
            node.cancel(job)
        for held in self._held:
            held.difference_update([run for run in held if run.job is job])

    def _hand_out(self) -> None:
        self._hands_out_at = None
        slots = self._spec.slots_per_node
        while self._waiting:
            free = [
                slots - len(held) if node.up else 0
                for node, held in zip(self.nodes, self._held, strict=True)
            ]
            number = max(range(len(free)), key=free.__getitem__)
            if free[number] <= 0:
                return
            _, _, job, kind, index = heapq.heappop(self._waiting)
            if not job.ended:
                run = job.next_run(kind, index)
                self._held[number].add(run)
                self.nodes[number].take(run)
                self._reports.task_handed(run)

    def _restart(self, number: int, down_s: float) -> None:
        self.nodes[number].stop()
        self._clock.call_at(self._clock.now_s + down_s, partial(self._start_node, number))

    def _start_node(self, number: int) -> None:
        self.nodes[number].start()
        self.hand_out_soon()
