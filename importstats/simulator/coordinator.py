"""The coordinator: it moves jobs from phase to phase, and hears from data nodes every two seconds.

What it sends about them is in :mod:`importstats.simulator.cluster`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

import numpy as np

from importstats.arrays import Ints
from importstats.simulator.clock import CHECK_S, SLOW_CHECK_S, Clock
from importstats.simulator.hearing import Hearing
from importstats.simulator.indexing import IndexNodes, Work
from importstats.simulator.jobs import LiveJob
from importstats.simulator.load import product
from importstats.simulator.nodes import TaskKind
from importstats.simulator.releases import Phase, Release
from importstats.simulator.specs import ClusterSpec, Compaction
from importstats.simulator.states import TaskState

#: Seconds that Import V3 takes to plan segments.
_PLANNING_S: Final = 3.0
_OVER_QUOTA: Final = "quota exceeded[reason=disk quota exceeded, please allocate more resources]"


class Coordinator:
    """A cluster's data coordinator; `printed_now` gives the time as it prints it."""

    def __init__(
        self,
        spec: ClusterSpec,
        release: Release,
        clock: Clock,
        printed_now: Callable[[], str],
        seed: int,
    ) -> None:
        self.spec = spec
        self.release = release
        self._clock = clock
        self._printed_now = printed_now
        self._hearing = Hearing(spec, release, clock, printed_now, self, seed)
        self._handout = self._hearing.handout
        self._index_nodes = IndexNodes(
            spec.index_speeds,
            spec.index_slots_per_node,
            product([spec.load, spec.index_load]),
            clock,
        )
        for compaction in spec.compactions:
            clock.call_at(max(clock.now_s, compaction.at_s), partial(self._compact, compaction))

    @property
    def works(self) -> Sequence[Work]:
        """All sorts, index builds and compactions so far."""
        return self._index_nodes.works

    def is_up(self, node: int) -> bool:
        """Whether a data node is up."""
        return self._handout.nodes[node].up

    def _compact(self, compaction: Compaction) -> None:
        for _ in range(compaction.count):
            self._index_nodes.submit(None, "compact", 0, compaction.seconds, lambda _: None)

    @property
    def now_s(self) -> float:
        """The time of the cluster's clock."""
        return self._clock.now_s

    def growing_rows(self, job: LiveJob) -> Ints | None:
        """Each task's rows as they are written; ``None`` if rows are seen only file by file."""
        if not self._hearing.grows(job):
            return None
        rows = job.task_rows.copy()
        for node in self._handout.nodes:
            for run, written in node.written_rows():
                if run.job is job and not job.spec.delete_logs:
                    rows[run.index] = max(rows[run.index], written)
        return rows

    # From phase to phase.

    def _at_next_check(self, job: LiveJob, happen: Callable[[LiveJob], None]) -> None:
        # Half an interval late: checks and questions to nodes have clocks of their own.
        self._clock.at_next(CHECK_S, partial(_unless_ended, job, happen), offset_s=CHECK_S / 2)

    def in_seconds(self, seconds: float, job: LiveJob, happen: Callable[[LiveJob], None]) -> None:
        """Let something happen to a job in some seconds, unless it has ended by then."""
        self._clock.call_at(self.now_s + seconds, partial(_unless_ended, job, happen))

    def arrive(self, job: LiveJob) -> None:
        """Begin with a job."""
        spec = job.spec
        job.enter(Phase.PENDING, self.now_s)
        if self.release.has_create_time:
            job.create_time = self._printed_now()
        start = partial(self._at_next_check, job, self._start_preimporting)
        self._clock.call_at(self.now_s + spec.pending_s, start)
        for after_s, reason in (
            (spec.timeout_s, "import timeout"),
            (spec.dropped_after_s, f"collection {int(job.job_id) - 1} dropped"),
        ):
            if after_s is not None:
                give_up = partial(self._give_up, job, reason)
                look = partial(self._clock.at_next, SLOW_CHECK_S, give_up)
                self._clock.call_at(self.now_s + after_s, look)

    def _give_up(self, job: LiveJob, reason: str) -> None:
        """Let a job fail from outside; up to 2.6.9 even one that has completed."""
        completed = job.phase is Phase.COMPLETED and not job.forgotten
        if not job.ended or (completed and not self.release.ends_are_final):
            self.fail(job, reason)

    def _start_preimporting(self, job: LiveJob) -> None:
        job.enter(Phase.PRE_IMPORTING, self.now_s)
        self._queue(job, "preimport")

    def _after_preimporting(self, job: LiveJob) -> None:
        stored = self.spec.stored_bytes + job.layout.total_bytes
        reason = job.spec.quota_reason
        if reason or stored > self.spec.disk_quota_bytes:
            self.fail(job, reason or _OVER_QUOTA)
        elif job.layout.total_rows == 0 and self.release.empty_job_ends_early:
            self._end(job, Phase.COMPLETED)
        else:
            phase = Phase.RESHARDING if self.release.reshards else Phase.IMPORTING
            job.enter(phase, self.now_s)
            job.knows_tasks = True
            self._queue(job, "import")

    def _after_import_tasks(self, job: LiveJob) -> None:
        if self.release.reshards:
            job.enter(Phase.PLANNING, self.now_s)
            write = partial(self._at_next_check, job, self._start_writing)
            self._clock.call_at(self.now_s + _PLANNING_S, write)
        elif self.release.sorts and not job.spec.delete_logs:
            self._start_sorting(job)
        else:
            self._start_index_building(job)

    def _start_writing(self, job: LiveJob) -> None:
        job.enter(Phase.IMPORTING, self.now_s)
        self._queue(job, "write")
        if not job.task_count("write"):
            self._at_next_check(job, self._start_index_building)

    def _start_sorting(self, job: LiveJob) -> None:
        job.enter(Phase.SORTING, self.now_s)
        for segment, seconds in enumerate(job.sort_s.tolist()):
            self._index_nodes.submit(job, "sort", segment, seconds, partial(self._sorted, job))
        self._check_segments(job)

    def _sorted(self, job: LiveJob, work: Work) -> None:
        job.done["sort"] += 1
        if job.spec.early_index:
            self._build_indexes(job, [work.segment])
        self._check_segments(job)

    def _start_index_building(self, job: LiveJob) -> None:
        if job.phase is Phase.INDEX_BUILDING:
            return
        job.enter(Phase.INDEX_BUILDING, self.now_s)
        if self.release.drops_counted_segments:
            drop = partial(self._drop_segments, job)
            self._clock.call_at(self.now_s + self.spec.dropped_segments_s, drop)
        if job.spec.delete_logs or not job.spec.waits_for_index:
            self.in_seconds(CHECK_S, job, self._after_index_building)
            return
        self._build_indexes(job, np.flatnonzero(~job.index_began).tolist())
        self._check_segments(job)

    def _build_indexes(self, job: LiveJob, segments: Iterable[int]) -> None:
        if not job.spec.waits_for_index:
            return
        for segment in segments:
            job.index_began[segment] = True
            self._build_index(job, segment)

    def _build_index(self, job: LiveJob, segment: int) -> None:
        seconds = float(job.index_s[segment])
        self._index_nodes.submit(job, "index", segment, seconds, partial(self._indexed, job))

    def _indexed(self, job: LiveJob, work: Work) -> None:
        segment, spec = work.segment, job.spec
        failures = job.build_failures.get(segment, 0)
        if segment < spec.failing_builds and failures < spec.build_failures:
            work.failed = True
            job.build_failures[segment] = failures + 1
            self.in_seconds(CHECK_S, job, partial(self._build_index, segment=segment))
            return
        job.done["index"] += 1
        self._check_segments(job)

    def _check_segments(self, job: LiveJob) -> None:
        """Leave the phase if its last segment is done."""
        segments = len(job.layout.segment_rows)
        if job.phase is Phase.SORTING and job.done["sort"] == segments:
            self._at_next_check(job, self._start_index_building)
        elif job.phase is Phase.INDEX_BUILDING and job.done["index"] == segments:
            self._at_next_check(job, self._after_index_building)

    def _after_index_building(self, job: LiveJob) -> None:
        if job.phase is not Phase.INDEX_BUILDING:
            return
        if not self.release.two_phase:
            self._complete(job)
            return
        job.enter(Phase.UNCOMMITTED, self.now_s)
        wait_s = CHECK_S if job.spec.auto_commit else job.spec.commit_after_s
        if wait_s is not None:
            self.in_seconds(wait_s, job, self.commit)

    def commit(self, job: LiveJob) -> None:
        """Commit a job that waits for it."""
        if job.phase is Phase.UNCOMMITTED:
            job.enter(Phase.COMMITTING, self.now_s)
            self.in_seconds(job.spec.commit_s, job, self._complete)

    def _complete(self, job: LiveJob) -> None:
        job.complete_time = self._printed_now()
        self._end(job, Phase.COMPLETED)

    def fail(self, job: LiveJob, reason: str) -> None:
        """Let a job fail: its tasks are dropped now, and their segments soon after."""
        job.reason = reason
        self._handout.drop(job)
        self._index_nodes.cancel(job)
        job.task_state[:] = TaskState.FAILED
        job.task_reasons = dict.fromkeys(range(job.layout.task_count), reason)
        job.forget_seen()
        self._end(job, Phase.FAILED)
        self._clock.call_at(self.now_s + 2 * CHECK_S, partial(self._lose, job))
        self._handout.hand_out_soon()

    def _end(self, job: LiveJob, phase: Phase) -> None:
        job.enter(phase, self.now_s)
        forget = partial(setattr, job, "forgotten", True)
        look = partial(self._clock.at_next, SLOW_CHECK_S, forget)
        self._clock.call_at(self.now_s + self.spec.retention_s, look)

    def _lose(self, job: LiveJob) -> None:
        """Drop the segments that details count; the job's own row count stays."""
        job.task_rows[:] = 0
        job.forget_seen()

    def _drop_segments(self, job: LiveJob) -> None:
        if not job.spec.delete_logs and job.phase is not Phase.FAILED:
            self._lose(job)

    # Tasks.

    def _queue(self, job: LiveJob, kind: TaskKind) -> None:
        for index in range(job.task_count(kind)):
            self._handout.wait(job, kind, index)
        self._handout.hand_out_soon()

    def import_task_done(self, job: LiveJob, index: int) -> None:
        """Index a task's segments at once, as early releases do when its files are written."""
        if job.spec.early_index and not self.release.sorts and not self.release.reshards:
            self._build_indexes(job, job.layout.segments_of[index])

    def all_tasks_done(self, job: LiveJob, kind: TaskKind) -> None:
        """Let a job go on at the next check, as the last task of a kind has completed."""
        after = {
            "preimport": self._after_preimporting,
            "import": self._after_import_tasks,
            "write": self._start_index_building,
        }
        self._at_next_check(job, after[kind])


def _unless_ended(job: LiveJob, happen: Callable[[LiveJob], None]) -> None:
    if not job.ended:
        happen(job)
