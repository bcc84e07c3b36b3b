"""A data node: it takes tasks in batches, and imports their files in a pool.

In every release a data node works as follows (``internal/datanode/importv2/scheduler.go``):

* Once a second it takes all tasks that wait as one *batch*, puts their files into its pool, and
  takes no other task until the whole batch has ended.
* Files are read in the order of their tasks, as many at a time as the pool has places. If there are
  more files than cores, they share the cores (ours: equally; the server leaves it to the operating
  system).
* A file's rows are published when the whole file is read and written, together with what the
  task's other files have written by then.
* Completions are written one task after the other in random order, so a task that is done waits
  for those before it.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from itertools import count
from typing import Final, Literal, NamedTuple, Protocol

import numpy as np

from importstats.simulator.clock import Clock
from importstats.simulator.load import SteppedLoad, Steps

#: How often a data node without a batch looks for tasks.
_LOOK_S: Final = 1.0

TaskKind = Literal["preimport", "import", "write"]


class Outcome(Enum):
    """How a part of the work on a file ends."""

    DONE = "done"
    HANG = "hang"
    FAIL = "fail"
    BACK = "back"


class Stage(NamedTuple):
    """A part of the work on a file, in seconds at full speed, and how it ends."""

    work_s: float
    outcome: Outcome = Outcome.DONE
    hang_s: float = 0.0
    reason: str = ""


@dataclass(slots=True, eq=False)
class FileRun:
    """One file of an attempt at a task, as it goes through the pool."""

    place: int
    rows: int
    size_bytes: int
    stages: deque[Stage]
    run: TaskRun = field(init=False, repr=False)
    done_s: float = 0.0
    stage_began: float = math.nan
    started_s: float = math.nan
    ended_s: float = math.nan
    hung: bool = False

    @property
    def work_s(self) -> float:
        """Seconds of work that are left."""
        return sum(stage.work_s for stage in self.stages)


@dataclass(slots=True, eq=False)
class TaskRun:
    """One attempt at a task, handed to a node."""

    job: object
    kind: TaskKind
    index: int
    files: list[FileRun]
    #: What a file writes at once.
    burst_bytes: int = 1
    node: int = -1
    batch: int = -1
    handed_s: float = math.nan
    batch_began_s: float = math.nan
    left: int = field(init=False)
    ended_s: float = math.nan
    #: The rows that the node reports.
    published: int = 0
    ended_rows: int = 0
    #: Whether the task was taken away: it went back, it failed, or its job ended.
    gone: bool = False
    went_back: bool = False
    #: When the coordinator heard that the attempt was over.
    over_s: float = math.inf

    def __post_init__(self) -> None:
        self.left = len(self.files)
        for file in self.files:
            file.run = self

    @property
    def is_over(self) -> bool:
        """Whether the batch no longer waits for it."""
        return self.gone or self.left == 0


class NodeReports(Protocol):
    """Hears what happens on a node."""

    def rows_published(self, run: TaskRun) -> None:
        """A file of the task has ended, and its rows can be reported."""

    def task_completed(self, run: TaskRun) -> None:
        """The task's completion has been written."""

    def task_failed(self, run: TaskRun, reason: str) -> None:
        """A file of the task is bad."""

    def task_went_back(self, run: TaskRun) -> None:
        """The request to the node failed, so the task starts again."""


class DataNode:
    """One data node, which imports up to `pool` files at once, and up to `cores` at full speed.

    If `failure_ends_imports`, it takes no further batch once a file has failed. `rng` draws the
    order in which completions are written.
    """

    def __init__(
        self,
        number: int,
        speed: float,
        *,
        cores: int,
        pool: int,
        load: Steps,
        clock: Clock,
        reports: NodeReports,
        failure_ends_imports: bool,
        rng: np.random.Generator,
    ) -> None:
        self.number = number
        self.speed = speed
        self.up = True
        self._cores = cores
        self._pool = pool
        self._load = SteppedLoad(load)
        self._clock = clock
        self._reports = reports
        self._failure_ends_imports = failure_ends_imports
        self._rng = rng
        self._broken = False
        self._looks = False
        self._batches = 0
        self._order = count()
        self._waiting: list[TaskRun] = []
        self._batch: list[TaskRun] = []
        self._unwritten: deque[TaskRun] = deque()
        self._queue: deque[FileRun] = deque()
        self._active: list[tuple[float, int, FileRun]] = []
        self._hanging: set[FileRun] = set()
        # Seconds of work that each active file has had since the node began (one number for all,
        # as their shares are equal), and the load's work when they were counted.
        self._each_s = 0.0
        self._counted = self._load.work(clock.now_s)
        self._turn = 0

    # From outside.

    def take(self, run: TaskRun) -> None:
        """Let a task wait for the next batch."""
        run.node, run.handed_s = self.number, self._clock.now_s
        self._waiting.append(run)
        self._look_soon()

    def cancel(self, job: object) -> None:
        """Drop all tasks of a job."""
        for run in [*self._waiting, *self._batch]:
            if run.job is job and not run.is_over:
                self._drop(run)
        self._go_on()

    def stop(self) -> None:
        """Go down: every task whose completion is not written goes back."""
        lost = [run for run in (*self._waiting, *self._batch) if not run.gone]
        unwritten = {id(run) for run in (*self._waiting, *self._unwritten)}
        self._settle()
        self.up = False
        self._waiting, self._batch = [], []
        self._unwritten.clear()
        self._queue.clear()
        self._active.clear()
        self._hanging.clear()
        self._turn += 1
        self._broken = False
        for run in lost:
            if id(run) in unwritten:
                run.gone = run.went_back = True
                self._reports.task_went_back(run)

    def start(self) -> None:
        """Come up, with nothing to do."""
        self.up = True

    def written_rows(self) -> list[tuple[TaskRun, int]]:
        """The rows that each import task has written by now, published or not."""
        self._settle()
        runs = {id(run): run for run in self._batch if run.kind == "import" and not run.is_over}
        written = {key: run.ended_rows for key, run in runs.items()}
        for file in self._in_pool():
            if id(file.run) in runs:
                written[id(file.run)] += self._flushed_rows(file)
        return [(runs[key], rows) for key, rows in written.items()]

    # Batches.

    def _look_soon(self) -> None:
        if not self._looks and not self._batch and self.up:
            self._looks = True
            self._clock.call_at(self._clock.next(_LOOK_S), self._look)

    def _look(self) -> None:
        self._looks = False
        if self._batch or self._broken or not self.up or not self._waiting:
            return
        self._batches += 1
        self._batch, self._waiting = self._waiting, []
        self._unwritten = deque(
            self._batch[place] for place in self._rng.permutation(len(self._batch)).tolist()
        )
        for run in self._batch:
            run.batch, run.batch_began_s = self._batches, self._clock.now_s
            self._queue.extend(run.files)
        self._go_on()

    def _write_completions(self) -> None:
        while self._unwritten and self._unwritten[0].is_over:
            run = self._unwritten.popleft()
            if not run.gone:
                self._reports.task_completed(run)
        if self._batch and not self._unwritten:
            self._batch = []
            if self._waiting:
                self._look_soon()

    # The pool.

    def _go_on(self) -> None:
        """Write completions, fill the pool, and wait for the next file that ends."""
        self._settle()
        while self._queue and len(self._active) + len(self._hanging) < self._pool:
            file = self._queue.popleft()
            if not file.run.gone:
                file.started_s = self._clock.now_s
                self._work_on(file)
        self._write_completions()
        self._turn += 1
        if self._active:
            left_s = max(0.0, self._active[0][0] - self._each_s) / self._pace()
            at_s = self._load.time(self._counted + left_s)
            if math.isfinite(at_s):
                self._clock.call_at(
                    max(at_s, self._clock.now_s), partial(self._next_end, self._turn)
                )

    def _pace(self) -> float:
        """Seconds of work that each active file gets in a second of load 1."""
        return self.speed * min(1.0, self._cores / len(self._active))

    def _settle(self) -> None:
        work = self._load.work(self._clock.now_s)
        if self._active:
            self._each_s += (work - self._counted) * self._pace()
        self._counted = work

    def _work_on(self, file: FileRun) -> None:
        file.stage_began = self._each_s
        until = self._each_s + file.stages[0].work_s
        heapq.heappush(self._active, (until, next(self._order), file))

    def _next_end(self, turn: int) -> None:
        if turn != self._turn:
            return
        self._settle()
        # Rounding must not keep the first file from ending.
        self._each_s = max(self._each_s, self._active[0][0])
        ended = []
        while self._active and self._active[0][0] <= self._each_s:
            ended.append(heapq.heappop(self._active)[2])
        for file in ended:
            if not file.run.gone:
                self._end_stage(file)
        self._go_on()

    def _end_stage(self, file: FileRun) -> None:
        stage = file.stages.popleft()
        file.done_s += stage.work_s
        run = file.run
        if stage.outcome is Outcome.HANG:
            file.hung = True
            self._hanging.add(file)
            file.stage_began = self._each_s
            if math.isfinite(stage.hang_s):
                self._clock.call_at(self._clock.now_s + stage.hang_s, partial(self._resume, file))
        elif stage.outcome is Outcome.FAIL:
            self._broken |= self._failure_ends_imports
            self._drop(run)
            self._reports.task_failed(run, stage.reason)
        elif stage.outcome is Outcome.BACK:
            self._drop(run)
            run.went_back = True
            self._reports.task_went_back(run)
        else:
            self._end_file(file)

    def _resume(self, file: FileRun) -> None:
        if file in self._hanging:
            self._settle()
            self._hanging.discard(file)
            self._work_on(file)
            self._go_on()

    def _end_file(self, file: FileRun) -> None:
        run = file.run
        file.ended_s = self._clock.now_s
        run.left -= 1
        run.ended_rows += file.rows
        others = (self._flushed_rows(other) for other in self._in_pool() if other.run is run)
        run.published = run.ended_rows + sum(others)
        if run.left == 0:
            run.ended_s = self._clock.now_s
        self._reports.rows_published(run)

    def _drop(self, run: TaskRun) -> None:
        """Take a task out of the pool; its batch no longer waits for it."""
        self._settle()
        run.gone = True
        self._waiting = [other for other in self._waiting if other is not run]
        kept = [entry for entry in self._active if entry[2].run is not run]
        if len(kept) != len(self._active):
            self._active = kept
            heapq.heapify(self._active)
        self._hanging = {file for file in self._hanging if file.run is not run}

    def _in_pool(self) -> list[FileRun]:
        return [*(file for _, _, file in self._active), *self._hanging]

    def _flushed_rows(self, file: FileRun) -> int:
        """Rows of whole buffers that a file in the pool has written."""
        worked_s = file.done_s
        if file not in self._hanging:
            worked_s += self._each_s - file.stage_began
        share = worked_s / max(file.done_s + file.work_s, 1e-9)
        burst = file.run.burst_bytes
        written = math.floor(share * file.size_bytes / burst) * burst
        return min(file.rows, int(file.rows * written / max(1, file.size_bytes)))
