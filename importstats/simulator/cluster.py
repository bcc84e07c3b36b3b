"""The event model: a cluster that runs import jobs on a virtual clock.

Between two events nothing changes but the fraction of the running tasks, which is a closed form of
the time. So the state at any time is a few array operations, however many files there are.

What is left out: tasks on one node do not slow each other down, a slot is a slot whatever the
task weighs, and the order in which the scheduler offers slots is by job, then by task.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from functools import partial
from itertools import count
from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from importstats.arrays import Floats, Ints
from importstats.simulator.layout import Layout, make_layout
from importstats.simulator.load import SteppedLoad
from importstats.simulator.specs import RELEASES, ClusterSpec, JobSpec, Phase
from importstats.simulator.truth import GroundTruth, PhaseSpan, TaskHistory, ground_truth

DEFAULT_START: Final = datetime(2026, 1, 5, 8, tzinfo=UTC)

#: ``progress`` where the server divided zero by zero: int64(NaN) on amd64.
NOT_A_PROGRESS: Final = -(2**63)
#: The same in the int8 arrays of task progress.
NOT_A_TASK_PROGRESS: Final = -1


class TaskState(IntEnum):
    """States of a task, as ``details`` name them."""

    PENDING = 0
    IN_PROGRESS = 1
    RETRY = 2
    COMPLETED = 3
    FAILED = 4

    @property
    def wire_name(self) -> str:
        """The state as the server prints it."""
        return "".join(word.capitalize() for word in self.name.split("_"))


class UnknownJobError(KeyError):
    """The cluster never had this job, or has forgotten it."""

    def __str__(self) -> str:
        return f"import job does not exist, jobID={self.args[0]}"


class WrongPhaseError(ValueError):
    """The job cannot be committed or aborted in its phase."""


@dataclass(frozen=True, slots=True, eq=False)
class TaskStates:
    """The import tasks of a job at one time.

    Attributes
    ----------
    state : uint8 array
        One :class:`TaskState` per task.
    progress : int8 array
        Percent per task, or :data:`NOT_A_TASK_PROGRESS`.
    order : int64 array or None
        The order of the tasks in the answer, if not their own.
    """

    state: npt.NDArray[np.uint8]
    progress: npt.NDArray[np.int8]
    order: Ints | None = None


@dataclass(frozen=True, slots=True, eq=False)
class JobState:
    """What the server knows of one job at one time.

    Attributes
    ----------
    job_id, collection_name : str
    db_name : str or None
    phase : Phase
        The hidden one.
    state : str
        The state that is sent.
    progress : int
        Percent, or :data:`NOT_A_PROGRESS`.
    imported_rows, total_rows, file_size_bytes : int
    reason : str
        Why the job failed, else empty.
    complete_time : str
        When the job completed, as the server prints it; empty before and if it failed.
    wrong_totals : bool
        Whether details say the job's rows in ``totalRows``.
    layout : Layout
        Files and tasks.
    tasks : TaskStates or None
        ``None`` as long as the server sends no details.
    """

    job_id: str
    collection_name: str
    db_name: str | None
    phase: Phase
    state: str
    progress: int
    imported_rows: int
    total_rows: int
    file_size_bytes: int
    reason: str
    complete_time: str
    wrong_totals: bool
    layout: Layout = field(repr=False)
    tasks: TaskStates | None = field(repr=False)

    @property
    def ended(self) -> bool:
        """Whether the job has completed or failed."""
        return self.phase in (Phase.COMPLETED, Phase.FAILED)


class _Attempt(NamedTuple):
    """How an attempt at a task ends: with what, and after which fraction of the work."""

    outcome: Literal["done", "retry", "stuck", "fail"] = "done"
    fraction: float = 1.0
    stuck_s: float = 0.0
    reason: str = ""


_Kind = Literal["preimport", "import", "sort", "index"]
_Priority = tuple[float, ...]


@dataclass(slots=True, eq=False)
class _Work:
    """A task, a sort or an index build: what takes a slot for a time."""

    job: _Job
    kind: _Kind
    index: int
    seconds: float
    priority: _Priority
    plan: deque[_Attempt] = field(default_factory=deque)
    node: int = -1
    attempt: int = 0


class _Pool:
    """Nodes with slots, and the works that wait for one."""

    def __init__(self, speeds: Sequence[float], slots_per_node: int) -> None:
        self.speeds = speeds
        self.slots = slots_per_node
        self.free = [slots_per_node] * len(speeds)
        self.running: list[dict[_Work, None]] = [{} for _ in speeds]
        self.waiting: list[tuple[_Priority, int, _Work]] = []
        self._order = count()

    def wait(self, work: _Work) -> None:
        heapq.heappush(self.waiting, (work.priority, next(self._order), work))

    def next_work(self) -> _Work | None:
        """The next work, placed on the node with most free slots; ``None`` if none can start."""
        node = max(range(len(self.free)), key=self.free.__getitem__)
        if self.free[node] <= 0:
            return None
        while self.waiting:
            work = heapq.heappop(self.waiting)[2]
            if not work.job.ended:
                work.node = node
                self.free[node] -= 1
                self.running[node][work] = None
                return work
        return None

    def release(self, work: _Work) -> None:
        del self.running[work.node][work]
        self.free[work.node] += 1
        work.attempt += 1

    def stop_node(self, node: int) -> list[_Work]:
        stopped = list(self.running[node])
        for work in stopped:
            work.attempt += 1
        self.running[node].clear()
        self.free[node] = 0
        return stopped

    def start_node(self, node: int) -> None:
        self.free[node] = self.slots


class _Job:
    """A job as the server holds it, with everything random about it drawn beforehand."""

    def __init__(self, spec: JobSpec, job_id: str, number: int, rng: np.random.Generator) -> None:
        self.spec = spec
        self.job_id = job_id
        self.number = number
        self.phases: list[PhaseSpan] = []  # Empty until the job arrives.
        self.reason = ""
        self.complete_time = ""
        self.forgotten = False
        self.knows_tasks = False
        self.layout = make_layout(spec)
        self.finished: dict[_Kind, int] = dict.fromkeys(("preimport", "import", "sort", "index"), 0)
        self.index_started = np.zeros(len(self.layout.segment_rows), bool)

        tasks = self.layout.task_count
        self.task_state = np.zeros(tasks, np.uint8)
        # The fraction of a running task: (work done by now - work done at its start) x rate.
        self.task_start_work = np.zeros(tasks)
        self.task_rate = np.zeros(tasks)
        self.task_stop = np.zeros(tasks)
        self.tasks_at_rest: TaskStates | None = None  # Kept once they can change no more.
        self.history = [TaskHistory() for _ in range(tasks)]

        self.preimport_seconds, self.preimport_plans = self._preimport_tasks(rng)
        self.import_seconds, self.import_plans = self._import_tasks(rng)
        rows = self.layout.segment_rows
        self.sort_seconds = rows / spec.sort_rows_per_s * self._noise(rng, len(rows))
        self.index_seconds = rows / spec.index_rows_per_s * self._noise(rng, len(rows))

    @property
    def phase(self) -> Phase:
        return self.phases[-1].phase

    @property
    def ended(self) -> bool:
        return self.phase in (Phase.COMPLETED, Phase.FAILED)

    def _noise(self, rng: np.random.Generator, size: int) -> Floats:
        return rng.lognormal(0.0, self.spec.noise, size)

    def _preimport_tasks(self, rng: np.random.Generator) -> tuple[Floats, list[deque[_Attempt]]]:
        spec = self.spec
        groups = np.arange(0, len(spec.files), spec.files_per_preimport_task)
        sizes = np.array([file.size_bytes for file in spec.files], np.float64)
        seconds = np.add.reduceat(sizes, groups) / spec.preimport_bytes_per_s + spec.task_overhead_s
        plans = []
        for start in groups.tolist():
            plan: deque[_Attempt] = deque()
            for file in spec.files[start : start + spec.files_per_preimport_task]:
                if file.error and file.error_phase == "preimport":
                    plan.append(_Attempt("fail", float(rng.uniform(0.1, 0.9)), reason=file.error))
            plans.append(plan)
        return seconds * self._noise(rng, len(groups)), plans

    def _import_tasks(self, rng: np.random.Generator) -> tuple[Floats, list[deque[_Attempt]]]:
        spec, layout = self.spec, self.layout
        slowdowns = np.array([file.slowdown for file in layout.files])
        effort = np.add.reduceat(layout.size_bytes * slowdowns, layout.first[:-1])
        seconds = effort / spec.import_bytes_per_s + spec.task_overhead_s
        plans = []
        for task in range(layout.task_count):
            plan: deque[_Attempt] = deque()
            files = layout.files_of(task)
            self.history[task].slowdown = float(effort[task] / max(1, layout.task_bytes[task]))
            for _ in range(max(file.retries for file in files)):
                plan.append(_Attempt("retry", float(rng.uniform(0.05, 0.95))))
            stuck_s = max(file.stuck_s for file in files)
            if stuck_s > 0:
                plan.append(_Attempt("stuck", float(rng.uniform(0.2, 0.9)), stuck_s))
            errors = [file.error for file in files if file.error and file.error_phase == "import"]
            if errors:
                plan.append(_Attempt("fail", float(rng.uniform(0.1, 0.9)), reason=errors[0]))
            plans.append(plan)
        return seconds * self._noise(rng, layout.task_count), plans

    def enter(self, phase: Phase, now_s: float) -> None:
        if self.phases:
            self.phases[-1].end_s = now_s
        self.tasks_at_rest = None
        ended = phase in (Phase.COMPLETED, Phase.FAILED)
        self.phases.append(PhaseSpan(phase, now_s, now_s if ended else math.nan))

    def task_rows(self, work_done: float) -> Ints:
        """Rows of each task in buffers that have been written."""
        layout = self.layout
        running = np.equal(self.task_state, TaskState.IN_PROGRESS)
        fraction = np.minimum((work_done - self.task_start_work) * self.task_rate, self.task_stop)
        burst = self.spec.buffer_bytes * self.spec.shards
        written = np.floor(fraction * layout.task_bytes / burst) * burst
        share = np.where(running, written / np.maximum(layout.task_bytes, 1), 0.0)
        rows = np.clip(share * layout.task_rows, 0, layout.task_rows).astype(np.int64)
        return np.where(self.task_state == TaskState.COMPLETED, layout.task_rows, rows)


class SimulatedCluster:
    """A cluster that runs import jobs, moved along by :meth:`advance`.

    Times are seconds of the cluster's own clock, which starts at 0 or with the first of
    ``spec.other_jobs``; nothing here looks at a real clock. The same spec, seed and calls give
    the same states.

    Parameters
    ----------
    spec : ClusterSpec
    seed : int
    start : datetime
        What the cluster's clock calls 0, timezone-aware.
    pace : float
        Seconds of the cluster's clock per second of the times it prints: a server that runs
        faster than real prints the times at which a client sees things happen.

    Examples
    --------
    >>> from importstats.simulator import ClusterSpec, FileSpec, JobSpec, SimulatedCluster
    >>> cluster = SimulatedCluster(ClusterSpec(), seed=1)
    >>> files = tuple(FileSpec((f"{i}.parquet",), 2**30, 10**6) for i in range(4))
    >>> job_id = cluster.create(JobSpec(collection_name="products", files=files))
    >>> cluster.advance(40.0)
    >>> state = cluster.describe(job_id)
    >>> state.phase.value, state.state, 40 <= state.progress < 70
    ('Importing', 'Importing', True)
    """

    def __init__(
        self,
        spec: ClusterSpec,
        *,
        seed: int = 0,
        start: datetime = DEFAULT_START,
        pace: float = 1.0,
    ) -> None:
        if start.tzinfo is None:
            raise ValueError("start has no time zone; the cluster's clock is UTC")
        self.spec = spec
        self.seed = seed
        self.start = start.astimezone(UTC)
        self.pace = pace
        self.release = RELEASES[spec.release]
        self.now_s = min([0.0, *(arrival.at_s for arrival in spec.other_jobs)])
        self._load = SteppedLoad(spec.load)
        self._jobs: dict[str, _Job] = {}
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._event_order = count()
        self._nodes = _Pool(spec.node_speeds, spec.slots_per_node)
        self._index_nodes = _Pool(spec.index_speeds, spec.index_slots_per_node)
        self._ready_order = count()
        ids = np.random.default_rng([seed, 0])
        self._next_id = int(ids.integers(449 * 10**15, 463 * 10**15))
        self._shuffle = np.random.default_rng([seed, 1])
        for restart in spec.restarts:
            self._at(restart.at_s, partial(self._stop_node, restart.node, restart.down_s))
        for arrival in spec.other_jobs:
            self.create(arrival.job, arrival.at_s)

    def time(self, at_s: float) -> datetime:
        """A time of the cluster's clock as a UTC timestamp."""
        return self.start + timedelta(seconds=at_s)

    def _printed_now(self) -> str:
        return self.time(self.now_s / self.pace).strftime("%Y-%m-%dT%H:%M:%SZ")

    @property
    def settled(self) -> bool:
        """Whether nothing is left to happen: time alone changes no job any more."""
        return not self._events

    def create(self, job: JobSpec, at_s: float | None = None) -> str:
        """Create a job now or later, and return its id.

        Raises
        ------
        ValueError
            `at_s` has passed.
        """
        number = len(self._jobs)
        rng = np.random.default_rng([self.seed, 2, number])
        job_id = str(self._next_id)
        self._next_id += 1 + len(job.files) + int(rng.integers(1, 10**6))
        created = _Job(job, job_id, number, rng)
        self._at(self.now_s if at_s is None else at_s, partial(self._arrive, created))
        self._jobs[job_id] = created
        self.advance(self.now_s)
        return job_id

    def advance(self, to_s: float) -> None:
        """Let everything happen that happens until `to_s`."""
        if to_s < self.now_s:
            raise ValueError(f"the clock is at {self.now_s} s and cannot go back to {to_s} s")
        while self._events and self._events[0][0] <= to_s:
            self.now_s, _, happen = heapq.heappop(self._events)
            happen()
        self.now_s = to_s

    def describe(self, job_id: str) -> JobState:
        """The state of a job now.

        Raises
        ------
        UnknownJobError
            There is no such job, or it has been forgotten.
        """
        job = self._known(job_id)
        layout, phase = job.layout, job.phase
        imported_rows, tasks = self._tasks(job)
        counted = job.knows_tasks and phase is not Phase.FAILED
        return JobState(
            job_id=job_id,
            collection_name=job.spec.collection_name,
            db_name=job.spec.db_name,
            phase=phase,
            state=self._state_sent(job, phase),
            progress=self._progress(job, phase, imported_rows),
            imported_rows=imported_rows if counted else 0,
            total_rows=layout.total_rows if counted else 0,
            file_size_bytes=layout.total_bytes if job.knows_tasks else 0,
            reason=job.reason,
            complete_time=job.complete_time,
            wrong_totals=job.spec.wrong_totals,
            layout=layout,
            tasks=tasks,
        )

    @property
    def databases(self) -> frozenset[str]:
        """Names of the databases: ``default``, and those of the jobs."""
        return frozenset(job.spec.db_name or "default" for job in self._jobs.values()) | {"default"}

    def list(self) -> list[JobState]:
        """The states of all jobs that exist now, in the order they were created."""
        return [
            self.describe(job_id)
            for job_id, job in self._jobs.items()
            if job.phases and not job.forgotten
        ]

    def commit(self, job_id: str) -> None:
        """Commit a job that waits for it.

        Raises
        ------
        UnknownJobError, WrongPhaseError
        """
        job = self._known(job_id)
        if job.phase is not Phase.UNCOMMITTED:
            raise WrongPhaseError(f"job {job_id} is {job.phase}, not Uncommitted")
        self._commit(job)

    def abort(self, job_id: str) -> None:
        """Fail a job that has not ended.

        Raises
        ------
        UnknownJobError, WrongPhaseError
        """
        job = self._known(job_id)
        if job.ended or job.phase is Phase.COMMITTING:
            raise WrongPhaseError(f"job {job_id} is {job.phase} and cannot be aborted")
        self._fail(job, "import job aborted by user")

    def truth(self, job_id: str) -> GroundTruth:
        """What has happened to a job so far, forgotten or not.

        Raises
        ------
        UnknownJobError
            There never was such a job.
        """
        job = self._jobs.get(job_id)
        if job is None:
            raise UnknownJobError(job_id)
        states = [TaskState(code).wire_name for code in job.task_state.tolist()]
        return ground_truth(
            job.layout, job.phases, job.history, states, self.spec.node_speeds, self.start
        )

    # What is sent.

    def _known(self, job_id: str) -> _Job:
        job = self._jobs.get(job_id)
        if job is None or not job.phases or job.forgotten:
            raise UnknownJobError(job_id)
        return job

    def _tasks(self, job: _Job) -> tuple[int, TaskStates | None]:
        """Imported rows, and the tasks if they are known."""
        if not job.knows_tasks:
            return 0, None
        if job.tasks_at_rest is not None:
            return job.layout.total_rows, self._shuffled(job.tasks_at_rest)
        layout, failed = job.layout, job.phase is Phase.FAILED
        rows = job.task_rows(self._load.work(self.now_s))
        progress = (rows * 100 // np.maximum(layout.task_rows, 1)).astype(np.int8)
        if not failed:
            progress[layout.task_rows == 0] = 100
            if job.spec.negative_progress:
                waits = (rows == 0) & (job.task_state != TaskState.COMPLETED)
                progress[waits] = NOT_A_TASK_PROGRESS
        tasks = TaskStates(job.task_state.copy(), progress)
        if job.phase is not Phase.IMPORTING:
            job.tasks_at_rest = tasks
        return int(rows.sum()), self._shuffled(tasks)

    def _shuffled(self, tasks: TaskStates) -> TaskStates:
        if not self.spec.shuffled_details:
            return tasks
        return replace(tasks, order=self._shuffle.permutation(len(tasks.state)))

    def _state_sent(self, job: _Job, phase: Phase) -> str:
        if phase in (Phase.PENDING, Phase.COMPLETED, Phase.FAILED):
            return phase.value
        if phase in (Phase.UNCOMMITTED, Phase.COMMITTING) and not job.spec.auto_commit:
            return phase.value
        return Phase.IMPORTING.value

    def _progress(self, job: _Job, phase: Phase, imported_rows: int) -> int:
        if phase is Phase.FAILED:
            return 0
        if phase is Phase.COMPLETED:
            return 100
        if phase in (Phase.UNCOMMITTED, Phase.COMMITTING):
            return 99
        if phase is Phase.IMPORTING and imported_rows == 0 and job.spec.negative_progress:
            return NOT_A_PROGRESS
        done, of = self._parts(job, phase, imported_rows)
        base, span = self.release.weights[phase]
        return base + (span * done // of if of else span)

    def _parts(self, job: _Job, phase: Phase, imported_rows: int) -> tuple[int, int]:
        """What is done of the phase, and of how much."""
        if phase is Phase.PENDING:
            return self._files_handed_out(job), len(job.spec.files)
        if phase is Phase.PRE_IMPORTING:
            return job.finished["preimport"], len(job.preimport_plans)
        if phase is Phase.IMPORTING:
            return imported_rows, job.layout.total_rows
        kind: _Kind = "sort" if phase is Phase.SORTING else "index"
        return job.finished[kind], len(job.layout.segment_rows)

    def _files_handed_out(self, job: _Job) -> int:
        waited_s = self.now_s - job.phases[0].start_s
        share = min(1.0, waited_s / job.spec.pending_s) if job.spec.pending_s > 0 else 1.0
        tasks = int(share * len(job.preimport_plans))
        return min(len(job.spec.files), tasks * job.spec.files_per_preimport_task)

    # What happens: phases.

    def _at(self, at_s: float, happen: Callable[[], None]) -> None:
        if at_s < self.now_s:
            raise ValueError(f"{at_s} s has passed; the clock is at {self.now_s} s")
        heapq.heappush(self._events, (at_s, next(self._event_order), happen))

    def _at_next_check(self, job: _Job, happen: Callable[[_Job], None]) -> None:
        interval = self.spec.check_interval_s
        check_s = math.ceil(self.now_s / interval) * interval if interval > 0 else self.now_s
        self._at(max(check_s, self.now_s), partial(self._unless_ended, job, happen))

    def _unless_ended(self, job: _Job, happen: Callable[[_Job], None]) -> None:
        if not job.ended:
            happen(job)

    def _arrive(self, job: _Job) -> None:
        job.enter(Phase.PENDING, self.now_s)
        self._at(
            self.now_s + job.spec.pending_s,
            partial(self._unless_ended, job, self._start_preimporting),
        )

    def _start_preimporting(self, job: _Job) -> None:
        job.enter(Phase.PRE_IMPORTING, self.now_s)
        self._queue(self._nodes, job, "preimport", job.preimport_seconds, job.preimport_plans)

    def _start_importing(self, job: _Job) -> None:
        job.enter(Phase.IMPORTING, self.now_s)
        job.knows_tasks = True
        self._queue(self._nodes, job, "import", job.import_seconds, job.import_plans)

    def _after_importing(self, job: _Job) -> None:
        if Phase.SORTING not in self.release.weights:
            self._start_index_building(job)
            return
        job.enter(Phase.SORTING, self.now_s)
        for segment, seconds in enumerate(job.sort_seconds.tolist()):
            self._index_nodes.wait(self._segment_work(job, "sort", segment, seconds))
        self._start_waiting(self._index_nodes)

    def _start_index_building(self, job: _Job) -> None:
        job.enter(Phase.INDEX_BUILDING, self.now_s)
        self._build_indexes(job, np.flatnonzero(~job.index_started).tolist())
        self._check_segments(job)

    def _after_index_building(self, job: _Job) -> None:
        if not self.release.two_phase:
            self._complete(job)
            return
        job.enter(Phase.UNCOMMITTED, self.now_s)
        wait_s = self.spec.check_interval_s if job.spec.auto_commit else job.spec.commit_after_s
        if wait_s is not None:
            self._at(self.now_s + wait_s, partial(self._unless_ended, job, self._commit))

    def _commit(self, job: _Job) -> None:
        if job.phase is Phase.UNCOMMITTED:
            job.enter(Phase.COMMITTING, self.now_s)
            self._at(
                self.now_s + job.spec.commit_s, partial(self._unless_ended, job, self._complete)
            )

    def _complete(self, job: _Job) -> None:
        job.complete_time = self._printed_now()
        self._end(job, Phase.COMPLETED)

    def _fail(self, job: _Job, reason: str) -> None:
        job.reason = reason
        for pool in (self._nodes, self._index_nodes):
            for work in [work for running in pool.running for work in running if work.job is job]:
                pool.release(work)
        job.task_state[:] = TaskState.FAILED
        self._end(job, Phase.FAILED)
        for pool in (self._nodes, self._index_nodes):
            self._start_waiting(pool)

    def _end(self, job: _Job, phase: Phase) -> None:
        job.enter(phase, self.now_s)
        self._at(self.now_s + self.spec.retention_s, partial(setattr, job, "forgotten", True))

    # What happens: tasks and segments.

    def _queue(
        self,
        pool: _Pool,
        job: _Job,
        kind: _Kind,
        seconds: Floats,
        plans: Sequence[deque[_Attempt]],
    ) -> None:
        for index, (task_seconds, plan) in enumerate(zip(seconds.tolist(), plans, strict=True)):
            pool.wait(_Work(job, kind, index, task_seconds, (job.number, index), plan))
        self._start_waiting(pool)

    def _segment_work(self, job: _Job, kind: _Kind, segment: int, seconds: float) -> _Work:
        return _Work(job, kind, segment, seconds, (next(self._ready_order),))

    def _build_indexes(self, job: _Job, segments: Sequence[int]) -> None:
        for segment in segments:
            job.index_started[segment] = True
            seconds = float(job.index_seconds[segment])
            self._index_nodes.wait(self._segment_work(job, "index", segment, seconds))
        self._start_waiting(self._index_nodes)

    def _pool(self, work: _Work) -> _Pool:
        return self._nodes if work.kind in ("preimport", "import") else self._index_nodes

    def _start_waiting(self, pool: _Pool) -> None:
        while (work := pool.next_work()) is not None:
            self._start(pool, work)

    def _start(self, pool: _Pool, work: _Work) -> None:
        attempt = work.plan.popleft() if work.plan else _Attempt()
        start_work = self._load.work(self.now_s)
        rate = pool.speeds[work.node] / work.seconds if work.seconds > 0 else math.inf
        end_s = self._load.time(start_work + attempt.fraction / rate)
        if work.kind == "import":
            job, task = work.job, work.index
            job.task_state[task] = TaskState.IN_PROGRESS
            job.task_start_work[task] = start_work
            job.task_rate[task] = min(rate, 1e12)
            job.task_stop[task] = attempt.fraction
            job.history[task].start(self.now_s, work.node)
        # Rounding must not let a task end before it starts.
        self._at(max(end_s, self.now_s), partial(self._stop, work, work.attempt, attempt))

    def _stop(self, work: _Work, number: int, attempt: _Attempt) -> None:
        """The end of an attempt, unless it was cut short."""
        if number != work.attempt or work.job.ended:
            return
        if attempt.outcome == "stuck":
            work.job.history[work.index].stuck = True
            if math.isfinite(attempt.stuck_s):
                retry = attempt._replace(outcome="retry")
                self._at(self.now_s + attempt.stuck_s, partial(self._stop, work, number, retry))
            return
        pool = self._pool(work)
        pool.release(work)
        if attempt.outcome == "fail":
            self._fail(work.job, attempt.reason)
        elif attempt.outcome == "retry":
            self._retry(work)
        else:
            self._finish(work)
        self._start_waiting(pool)

    def _retry(self, work: _Work) -> None:
        work.job.task_state[work.index] = TaskState.RETRY
        work.job.history[work.index].retries += 1
        wait_s = work.job.spec.retry_wait_s
        self._at(self.now_s + wait_s, partial(self._wait_again, work))

    def _wait_again(self, work: _Work) -> None:
        if work.job.ended:
            return
        if work.kind == "import":
            work.job.task_state[work.index] = TaskState.PENDING
        self._pool(work).wait(work)
        self._start_waiting(self._pool(work))

    def _finish(self, work: _Work) -> None:
        job = work.job
        job.finished[work.kind] += 1
        if work.kind == "preimport":
            if job.finished["preimport"] == len(job.preimport_plans):
                self._at_next_check(job, self._start_importing)
        elif work.kind == "import":
            self._finish_import(job, work.index)
        else:
            if work.kind == "sort" and job.spec.early_index:
                self._build_indexes(job, [work.index])
            self._check_segments(job)

    def _finish_import(self, job: _Job, task: int) -> None:
        job.task_state[task] = TaskState.COMPLETED
        job.layout.complete_times[task] = self._printed_now()
        job.history[task].finished_s = self.now_s
        if job.spec.early_index and Phase.SORTING not in self.release.weights:
            self._build_indexes(job, job.layout.segments_of[task])
        if job.finished["import"] == job.layout.task_count:
            self._at_next_check(job, self._after_importing)

    def _check_segments(self, job: _Job) -> None:
        """Leave the phase if its last segment is done."""
        segments = len(job.layout.segment_rows)
        if job.phase is Phase.SORTING and job.finished["sort"] == segments:
            self._at_next_check(job, self._leave_sorting)
        elif job.phase is Phase.INDEX_BUILDING and job.finished["index"] == segments:
            self._at_next_check(job, self._after_index_building)

    def _leave_sorting(self, job: _Job) -> None:
        # Index builds that end between the last sort and this check must not leave it twice.
        if job.phase is Phase.SORTING:
            self._start_index_building(job)

    # What happens: nodes.

    def _stop_node(self, node: int, down_s: float) -> None:
        for work in self._nodes.stop_node(node):
            if work.kind == "import":
                work.job.task_state[work.index] = TaskState.PENDING
                work.job.history[work.index].retries += 1
            self._nodes.wait(work)
        self._at(self.now_s + down_s, partial(self._start_node, node))
        self._start_waiting(self._nodes)

    def _start_node(self, node: int) -> None:
        self._nodes.start_node(node)
        self._start_waiting(self._nodes)
