"""A cluster that runs import jobs on a virtual clock, and what it knows about each of them.

:mod:`importstats.simulator.coordinator` has what happens in it, :mod:`importstats.simulator.nodes`
and :mod:`importstats.simulator.indexing` what happens on its nodes. Everything is an event of a
task, a file or a segment, so a state takes a few array operations, however many files there are and
however long nothing happens.

Every task takes one slot, and slots are offered job by job.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from typing import Final

import numpy as np

from importstats.simulator.clock import CHECK_S, Clock
from importstats.simulator.coordinator import Coordinator
from importstats.simulator.jobs import LiveJob
from importstats.simulator.releases import NOT_A_PROGRESS, Phase, release_of
from importstats.simulator.specs import ClusterSpec, JobSpec
from importstats.simulator.states import (
    JobState,
    TaskState,
    TaskStates,
    UnknownJobError,
    WrongPhaseError,
)
from importstats.simulator.truth import GroundTruth, ground_truth

DEFAULT_START: Final = datetime(2026, 1, 5, 8, tzinfo=UTC)


class SimulatedCluster:
    """A cluster that runs import jobs; :meth:`advance` moves its clock.

    Times are seconds of this clock, which starts at 0 or with the first of ``spec.other_jobs``. The
    same spec, seed and calls give the same states.

    Parameters
    ----------
    spec : ClusterSpec
    seed : int
    start : datetime
        The time at which the cluster's clock is at 0, with a time zone.
    pace : float
        Seconds of the cluster's clock per second of the times it prints. A server that runs faster
        than real time prints the times at which a client sees things happen.

    Examples
    --------
    >>> from importstats.simulator import ClusterSpec, FileSpec, JobSpec, SimulatedCluster
    >>> cluster = SimulatedCluster(ClusterSpec(), seed=1)
    >>> files = tuple(FileSpec((f"{i}.parquet",), 2**30, 10**6) for i in range(40))
    >>> job_id = cluster.create(JobSpec(collection_name="products", files=files))
    >>> cluster.advance(70.0)
    >>> state = cluster.describe(job_id)
    >>> state.phase.value, state.state, state.progress, state.imported_rows
    ('Importing', 'Importing', 40, 0)
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
        self.release = release_of(spec.release)
        self._clock = Clock(min([0.0, *(arrival.at_s for arrival in spec.other_jobs)]))
        self._jobs: dict[str, LiveJob] = {}
        self._coordinator = Coordinator(
            spec, self.release, self._clock, lambda: self.printed(self.now_s), seed
        )
        ids = np.random.default_rng([seed, 0])
        self._next_id = int(ids.integers(449 * 10**15, 463 * 10**15))
        self._shuffle = np.random.default_rng([seed, 1])
        for arrival in spec.other_jobs:
            self.create(arrival.job, arrival.at_s)

    # The clock.

    @property
    def now_s(self) -> float:
        """The time of the cluster's clock."""
        return self._clock.now_s

    def time(self, at_s: float) -> datetime:
        """A time of the cluster's clock as a UTC timestamp."""
        return self.start + timedelta(seconds=at_s)

    def local(self, at_s: float) -> datetime:
        """A time of the cluster's clock as the coordinator prints it, in its own zone."""
        local = timezone(timedelta(hours=self.spec.utc_offset_h))
        return self.time(at_s / self.pace).astimezone(local)

    def printed(self, at_s: float) -> str:
        """A time of the cluster's clock as Go prints it: local time with its offset."""
        return self.local(at_s).isoformat(timespec="seconds").replace("+00:00", "Z")

    @property
    def live_jobs(self) -> tuple[LiveJob, ...]:
        """All jobs as the coordinator holds them, including past ones, for the management port."""
        return tuple(job for job in self._jobs.values() if job.phases)

    @property
    def coordinator(self) -> Coordinator:
        """The coordinator, for the management port."""
        return self._coordinator

    @property
    def settled(self) -> bool:
        """Whether nothing is left to happen, so that time alone changes no job."""
        return self._clock.settled

    def advance(self, to_s: float) -> None:
        """Let everything happen that is due by `to_s`."""
        self._clock.advance(to_s)

    # What users do.

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
        created = LiveJob(job, self.release, job_id, number, rng)
        self._clock.call_at(
            self.now_s if at_s is None else at_s, partial(self._coordinator.arrive, created)
        )
        self._jobs[job_id] = created
        self.advance(self.now_s)
        return job_id

    def commit(self, job_id: str) -> None:
        """Commit a job that waits for it.

        Raises
        ------
        UnknownJobError, WrongPhaseError
        """
        job = self._known(job_id)
        self._refuse_auto_commit(job, "committed")
        if job.phase is not Phase.UNCOMMITTED:
            raise WrongPhaseError(f"job {job_id} is in state {job.phase}, expected Uncommitted")
        self._coordinator.commit(job)

    def abort(self, job_id: str) -> None:
        """Let a job fail a little later.

        Raises
        ------
        UnknownJobError, WrongPhaseError
        """
        job = self._known(job_id)
        self._refuse_auto_commit(job, "aborted")
        if job.phase in (Phase.COMMITTING, Phase.COMPLETED):
            raise WrongPhaseError(f"job {job_id} is in state {job.phase} and cannot be aborted")
        fail = partial(self._coordinator.fail, reason="aborted by user")
        self._coordinator.in_seconds(CHECK_S, job, fail)

    def _refuse_auto_commit(self, job: LiveJob, done: str) -> None:
        if not self.release.two_phase or job.spec.auto_commit:
            raise WrongPhaseError(f"job {job.job_id} has auto_commit and cannot be {done}")

    # What is sent.

    def describe(self, job_id: str) -> JobState:
        """The state of a job now.

        Raises
        ------
        UnknownJobError
            There is no such job, or it has been forgotten.
        """
        job = self._known(job_id)
        layout, phase = job.layout, job.phase
        tasks = self._tasks(job)
        counted = job.knows_tasks and phase is not Phase.FAILED
        rows = 0
        if counted:
            rows = layout.total_rows if phase not in _COUNTED_PHASES else self._rows(job)
        sends_rows = self.release.job_rows
        return JobState(
            job_id=job_id,
            collection_name=job.spec.collection_name,
            db_name=job.spec.db_name,
            phase=phase,
            state=self._state_sent(job, phase),
            progress=self._progress(job, phase, rows),
            imported_rows=rows if sends_rows else None,
            total_rows=(layout.total_rows if counted else 0) if sends_rows else None,
            file_size_bytes=layout.total_bytes if job.knows_tasks else 0,
            reason=job.reason,
            create_time=job.create_time,
            complete_time=job.complete_time,
            wrong_totals=job.spec.wrong_totals,
            layout=layout,
            tasks=tasks,
        )

    @property
    def collections(self) -> frozenset[tuple[str, str]]:
        """The collections of all jobs, including past ones: database and name of each."""
        return frozenset(
            (job.spec.db_name or "default", job.spec.collection_name) for job in self._jobs.values()
        )

    def list(self) -> list[JobState]:
        """The states of all jobs that exist now, in the order of creation or in any other."""
        states = [
            self.describe(job_id)
            for job_id, job in self._jobs.items()
            if job.phases and not job.forgotten
        ]
        if self.spec.shuffled_details:
            return [states[place] for place in self._shuffle.permutation(len(states)).tolist()]
        return states

    def truth(self, job_id: str) -> GroundTruth:
        """What has happened to a job so far, even if the job is forgotten.

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
            job.layout,
            job.phases,
            [job.runs["import"].get(task, []) for task in range(job.layout.task_count)],
            job.completed_s,
            states,
            self.spec.all_speeds,
            self.start,
        )

    def _known(self, job_id: str) -> LiveJob:
        job = self._jobs.get(job_id)
        if job is None or not job.phases or job.forgotten:
            raise UnknownJobError(job_id)
        return job

    def _tasks(self, job: LiveJob) -> TaskStates | None:
        if not job.knows_tasks:
            return None
        growing = self._coordinator.growing_rows(job)
        tasks = job.tasks_seen() if growing is None else job.tasks_with(growing)
        if self.spec.shuffled_details:
            tasks = replace(tasks, order=self._shuffle.permutation(len(tasks.state)))
        return tasks

    def _rows(self, job: LiveJob) -> int:
        if self.release.reshards and job.phase is not Phase.RESHARDING:
            return job.layout.total_rows
        growing = self._coordinator.growing_rows(job)
        return int((job.task_rows if growing is None else growing).sum())

    def _state_sent(self, job: LiveJob, phase: Phase) -> str:
        if phase in (Phase.PENDING, Phase.COMPLETED, Phase.FAILED):
            return phase.value
        if phase in (Phase.UNCOMMITTED, Phase.COMMITTING) and not job.spec.auto_commit:
            return phase.value
        return Phase.IMPORTING.value

    def _progress(self, job: LiveJob, phase: Phase, rows: int) -> int:
        release, segments = self.release, len(job.layout.segment_rows)
        if phase is Phase.PENDING:
            return NOT_A_PROGRESS if job.spec.negative_progress else 0
        if phase is Phase.PRE_IMPORTING:
            return release.progress(phase, job.done["preimport"], job.task_count("preimport"))
        if phase is Phase.IMPORTING and release.reshards:
            return release.progress(phase, job.done["write"], segments)
        if phase in (Phase.RESHARDING, Phase.IMPORTING):
            return release.progress(phase, rows, job.layout.total_rows)
        if phase is Phase.SORTING:
            return release.progress(phase, job.done["sort"], segments)
        if phase is Phase.INDEX_BUILDING:
            waits = job.spec.waits_for_index and not job.spec.delete_logs
            return release.progress(phase, job.done["index"], segments if waits else 0)
        return release.progress(phase, 0, 0)


#: Phases in which rows are counted. Before them there are none, and after them all are counted.
_COUNTED_PHASES: Final = (Phase.RESHARDING, Phase.PLANNING, Phase.IMPORTING)
