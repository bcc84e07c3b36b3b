"""What a simulated cluster's coordinator knew at a time: tasks, index builds, compactions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from importstats.simulator.cluster import SimulatedCluster
from importstats.simulator.indexing import Work
from importstats.simulator.jobs import LiveJob
from importstats.simulator.nodes import TaskKind, TaskRun
from importstats.simulator.releases import Phase

#: How many ids a job's tasks, segments, builds and compactions can have.
_IDS: Final = 10**7
_FIRST_ID: Final = 470 * 10**15
#: The first ids of what belongs to no job: collections, and compactions.
_FIRST_COLLECTION: Final = _FIRST_ID - 10**12
FIRST_PLAN: Final = _FIRST_ID - 10**9
_FIRST_NODE: Final = 101
_FIRST_INDEX_NODE: Final = 201
OTHER_COLLECTION: Final = _FIRST_ID - 1


class ImportTask(NamedTuple):
    """A task as the coordinator knows it at a time."""

    task_id: int
    job: LiveJob
    kind: TaskKind
    state: str
    node: int
    created_s: float
    changed_s: float
    over_s: float


class Build(NamedTuple):
    """An index build as the coordinator knows it at a time, with the work of each try."""

    build_id: int
    job: LiveJob
    segment: int
    state: str
    node: int
    tries: int
    reason: str
    works: Sequence[Work]

    @property
    def changed_s(self) -> float:
        """When its state changed last, as far as that is known."""
        last = self.works[-1]
        known = {"InProgress": last.started_s, "Finished": last.ended_s}
        return known.get(self.state, last.submitted_s)


_BEGINS_IN: Final[Mapping[TaskKind, tuple[Phase, ...]]] = {
    "preimport": (Phase.PRE_IMPORTING,),
    "import": (Phase.RESHARDING, Phase.IMPORTING),
}


class Known:
    """What a cluster's coordinator knew at any time up to the present."""

    def __init__(self, cluster: SimulatedCluster) -> None:
        self.cluster = cluster

    @property
    def now_s(self) -> float:
        """The time of the cluster's clock."""
        return self.cluster.now_s

    def tasks(self, at_s: float) -> Iterator[ImportTask]:
        """All pre-import and import tasks that exist at a time, listed or not."""
        for job in self.cluster.live_jobs:
            began = {span.phase: span.start_s for span in job.phases}
            failed_s = began.get(Phase.FAILED, math.inf)
            first = _FIRST_ID + job.number * _IDS
            for kind, phases in _BEGINS_IN.items():
                created_s = min((began[phase] for phase in phases if phase in began), default=None)
                if created_s is not None and created_s <= at_s:
                    for index in range(job.task_count(kind)):
                        runs = job.runs[kind].get(index, [])
                        known = _state_of(runs, at_s, failed_s)
                        yield ImportTask(
                            first + index,
                            job,
                            kind,
                            *known[:2],
                            created_s,
                            max(created_s, known[2]),
                            known[3],
                        )
                first += 10**6

    def builds(self, at_s: float) -> Iterator[Build]:
        """All index builds that exist at a time, listed or not."""
        tries: dict[tuple[int, int], list[Work]] = {}
        for work in self.works("index", at_s):
            assert isinstance(work.job, LiveJob)  # noqa: S101
            tries.setdefault((work.job.number, work.segment), []).append(work)
        for (number, segment), works in tries.items():
            last = works[-1]
            assert isinstance(last.job, LiveJob)  # noqa: S101
            started = [work for work in works if work.started_s <= at_s]
            reasons = [work for work in works if work.failed and work.ended_s <= at_s]
            reason = last.job.spec.build_error if reasons else ""
            if last.started_s > at_s:
                state = "Retry" if reason else "Unissued"
            elif last.ended_s > at_s:
                state = "InProgress"
            else:
                state = "Retry" if last.failed else "Finished"
            yield Build(
                _FIRST_ID + number * _IDS + 5 * 10**6 + segment,
                last.job,
                segment,
                state,
                last.node if last.started_s <= at_s else -1,
                len(started),
                reason,
                works,
            )

    def works(self, kind: str, at_s: float) -> Iterator[Work]:
        """All work of a kind that was submitted by a time and not dropped."""
        for work in self.cluster.coordinator.works:
            if work.kind == kind and work.submitted_s <= at_s and not work.cancelled:
                yield work

    def collection_id(self, job: LiveJob) -> int:
        """The id of a job's collection, which may have other jobs."""
        names = [
            (other.spec.db_name or "default", other.spec.collection_name)
            for other in self.cluster.live_jobs
        ]
        own = (job.spec.db_name or "default", job.spec.collection_name)
        return _FIRST_COLLECTION + 10 * names.index(own)

    def segment_id(self, job: LiveJob, segment: int, *, is_sorted: bool) -> int:
        """The id of a segment; sorting makes a new one of it."""
        is_new = is_sorted and self.cluster.release.sorts
        offset = 4 * 10**6 if is_new else 3 * 10**6
        return _FIRST_ID + job.number * _IDS + offset + segment

    def node_id(self, number: int) -> int:
        """The id of a data node."""
        return _FIRST_NODE + number

    def index_node_id(self, number: int) -> int:
        """The id of an index node: from 2.6 on a data node's, if there are enough of them."""
        merged = self.cluster.release.sorts_by_compaction
        if merged and number < len(self.cluster.spec.all_speeds):
            return self.node_id(number)
        return _FIRST_INDEX_NODE + number

    def rfc3339(self, at_s: float) -> str:
        """A time on the coordinator's clock, as Go prints it."""
        return self.cluster.printed(at_s)

    @staticmethod
    def size_bytes(job: LiveJob, segment: int) -> int:
        """The size of a whole segment."""
        layout = job.layout
        share = layout.segment_rows[segment] / max(1, layout.total_rows)
        return int(layout.total_bytes * share)


def _state_of(
    runs: Sequence[TaskRun], at_s: float, failed_s: float
) -> tuple[str, int, float, float]:
    """A task's state and node, when they changed, and when the task was over."""
    handed = [run for run in runs if run.handed_s <= at_s]
    if failed_s <= at_s:
        return "Failed", -1, failed_s, failed_s
    if not handed:
        return "Pending", -1, -math.inf, math.inf
    run = handed[-1]
    if run.over_s > at_s:
        return "InProgress", run.node, run.handed_s, math.inf
    state = "Pending" if run.went_back else "Completed"
    return state, -1, run.over_s, run.over_s
