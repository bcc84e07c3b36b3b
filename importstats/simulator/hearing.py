"""What the coordinator hears from data nodes about tasks, each time it asks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

from importstats.simulator.clock import ASK_S, CHECK_S, Clock
from importstats.simulator.handout import Handout
from importstats.simulator.jobs import LiveJob
from importstats.simulator.nodes import TaskKind, TaskRun
from importstats.simulator.releases import Phase, Release
from importstats.simulator.specs import ClusterSpec
from importstats.simulator.states import TaskState


class Decisions(Protocol):
    """Decides what a job does next after its tasks have done something."""

    def import_task_done(self, job: LiveJob, index: int) -> None:
        """All files of an import task are written."""

    def all_tasks_done(self, job: LiveJob, kind: TaskKind) -> None:
        """The last task of a kind has completed."""

    def in_seconds(self, seconds: float, job: LiveJob, happen: Callable[[LiveJob], None]) -> None:
        """Let something happen to a job in some seconds, unless it has ended by then."""

    def fail(self, job: LiveJob, reason: str) -> None:
        """Let a job fail."""


class Hearing:
    """Hears what happens to a cluster's tasks, since the coordinator asks every two seconds."""

    def __init__(
        self,
        spec: ClusterSpec,
        release: Release,
        clock: Clock,
        printed_now: Callable[[], str],
        decisions: Decisions,
        seed: int,
    ) -> None:
        self._spec = spec
        self._release = release
        self._clock = clock
        self._printed_now = printed_now
        self._decisions = decisions
        self.handout = Handout(spec, release, clock, self, seed)

    def grows(self, job: LiveJob) -> bool:
        """Whether a job's rows are seen before their file has ended."""
        if self._release.reshards:
            return job.phase is Phase.RESHARDING
        return self._spec.signal == "smooth" and job.phase is Phase.IMPORTING

    def task_handed(self, run: TaskRun) -> None:
        """Mark a task as InProgress, which it is once a node has it."""
        if run.kind == "import":
            job = self._job_of(run)
            job.task_state[run.index] = TaskState.IN_PROGRESS
            job.forget_seen()

    @staticmethod
    def _job_of(run: TaskRun) -> LiveJob:
        """The run's job, which is any object to a node."""
        assert isinstance(run.job, LiveJob)  # noqa: S101
        return run.job

    def _hear(self, run: TaskRun, happen: Callable[[TaskRun, LiveJob], None]) -> None:
        """Let something happen when the coordinator asks next."""

        def hear() -> None:
            job = self._job_of(run)
            self.handout.release(run)
            if not job.ended:
                happen(run, job)
            self.handout.hand_out_soon()

        self._clock.at_next(ASK_S, hear)

    def rows_published(self, run: TaskRun) -> None:
        """See the rows of a file that has ended."""
        job, published = self._job_of(run), run.published
        if run.kind == "import":
            if self.grows(job):
                self._see_rows(job, run.index, published)
            self._hear(run, lambda run, job: self._see_rows(job, run.index, published))

    def _see_rows(self, job: LiveJob, index: int, rows: int) -> None:
        if not job.spec.delete_logs and rows > job.task_rows[index]:
            job.task_rows[index] = rows
            job.forget_seen()

    def task_completed(self, run: TaskRun) -> None:
        """Complete a task whose completion has been written."""
        self._hear(run, self._see_completed)

    def _see_completed(self, run: TaskRun, job: LiveJob) -> None:
        kind = run.kind
        run.over_s = self._clock.now_s
        job.done[kind] += 1
        if kind == "import":
            self._see_rows(job, run.index, int(job.layout.task_rows[run.index]))
            job.task_state[run.index] = TaskState.COMPLETED
            job.completed_s[run.index] = self._clock.now_s
            if not self._release.reshards:
                job.task_timed[run.index] = True
                job.layout.complete_times[run.index] = self._printed_now()
            job.forget_seen()
            self._decisions.import_task_done(job, run.index)
        if job.done[kind] == job.task_count(kind):
            self._decisions.all_tasks_done(job, kind)

    def task_failed(self, run: TaskRun, reason: str) -> None:
        """Let a task with a bad file fail, and its job with the next check."""
        self._hear(run, lambda run, job: self._see_failed(run, job, reason))

    def _see_failed(self, run: TaskRun, job: LiveJob, reason: str) -> None:
        run.over_s = self._clock.now_s
        if run.kind == "import":
            job.task_state[run.index] = TaskState.FAILED
            job.task_reasons[run.index] = reason
            job.forget_seen()
        self._decisions.in_seconds(CHECK_S, job, partial(self._decisions.fail, reason=reason))

    def task_went_back(self, run: TaskRun) -> None:
        """Let a task wait again after a request to its node failed."""
        self._hear(run, self._see_gone_back)

    def _see_gone_back(self, run: TaskRun, job: LiveJob) -> None:
        run.over_s = self._clock.now_s
        if run.kind == "import":
            job.task_state[run.index] = TaskState.PENDING
            if not self._release.keeps_rows:
                job.task_rows[run.index] = 0
            job.forget_seen()
        # It is handed out again at the coordinator's next look.
        self._decisions.in_seconds(ASK_S, job, partial(self._wait_again, run))

    def _wait_again(self, run: TaskRun, job: LiveJob) -> None:
        self.handout.wait(job, run.kind, run.index)
        self.handout.hand_out_soon()
