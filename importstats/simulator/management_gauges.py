"""A simulated cluster's metrics, which lag like a server's.

One page has the metrics of all roles, like a standalone server's; in a cluster each process has
those of its own roles.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from importstats.simulator.indexing import Work
from importstats.simulator.management_state import Known
from importstats.simulator.releases import Phase

#: How often the coordinator counts jobs and tasks, and how often what its scheduler holds.
_COUNTED_S: Final = 120.0
_SCHEDULED_S: Final = 60.0

_STAGES: Final = {
    Phase.PENDING: "pending",
    Phase.PRE_IMPORTING: "preimport",
    Phase.IMPORTING: "import",
    Phase.SORTING: "stats",
    Phase.INDEX_BUILDING: "build_index",
}
_JOB_STATES: Final = (
    *("Pending", "PreImporting", "Importing", "Stats", "Sorting", "IndexBuilding"),
    *("Completed", "Failed"),
)
_BUILD_STATES: Final = {
    "Unissued": "JobStateInit",
    "InProgress": "JobStateInProgress",
    "Finished": "JobStateFinished",
    "Retry": "JobStateRetry",
    "Failed": "JobStateFailed",
}


class Sample(NamedTuple):
    """One line of ``/metrics``."""

    name: str
    labels: Mapping[str, str]
    value: float


class Gauges:
    """The metrics of a cluster, from what its coordinator knows."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._cluster = known.cluster

    def samples(self) -> Iterator[Sample]:
        """All lines, in the order of their metrics."""
        now_s = self._cluster.now_s
        counted_s = math.floor(now_s / _COUNTED_S) * _COUNTED_S
        yield from self._jobs(counted_s)
        yield from self._import_tasks(counted_s)
        yield from self._work_counts(counted_s)
        yield from self._latencies(now_s)
        yield from self._nodes(now_s)
        yield from self._stored()
        if self._cluster.release.sorts_by_compaction:
            yield from self._scheduler(math.floor(now_s / _SCHEDULED_S) * _SCHEDULED_S)
            yield from self._slots(now_s)

    def _jobs(self, at_s: float) -> Iterator[Sample]:
        count: Counter[str] = Counter()
        for job in self._cluster.live_jobs:
            entered = [span.phase for span in job.phases if span.start_s <= at_s]
            if entered and not job.forgotten:
                name = entered[-1].value
                if name == "Sorting" and not self._cluster.release.sorts_by_compaction:
                    name = "Stats"
                count[name] += 1
        for name in _JOB_STATES:
            yield Sample("datacoord_import_jobs", {"import_state": name}, count[name])

    def _import_tasks(self, at_s: float) -> Iterator[Sample]:
        count: Counter[tuple[str, str]] = Counter()
        for task in self._known.tasks(at_s):
            kind = "PreImportTask" if task.kind == "preimport" else "ImportTask"
            count[kind, task.state] += 1
        for kind in ("PreImportTask", "ImportTask"):
            for state in ("Pending", "InProgress", "Completed", "Failed"):
                labels = {"task_type": kind, "import_state": state}
                yield Sample("datacoord_import_tasks", labels, count[kind, state])

    def _work_counts(self, at_s: float) -> Iterator[Sample]:
        count = Counter(_BUILD_STATES[build.state] for build in self._known.builds(at_s))
        sorts = Counter(_work_state(work, at_s) for work in self._known.works("sort", at_s))
        for state in _BUILD_STATES.values():
            labels = {"task_type": "JobTypeIndexJob", "task_state": state}
            yield Sample("datacoord_task_count", labels, count[state])
            if not self._cluster.release.sorts_by_compaction:
                labels = {"task_type": "JobTypeStatsJob", "task_state": state}
                yield Sample("datacoord_task_count", labels, sorts[state])

    def _latencies(self, now_s: float) -> Iterator[Sample]:
        pace = self._cluster.pace
        spans: dict[str, list[float]] = {}
        for job in self._cluster.live_jobs:
            for span in job.phases:
                if span.phase in _STAGES and span.end_s <= now_s:
                    spans.setdefault(_STAGES[span.phase], []).append(span.end_s - span.start_s)
        for stage, durations in spans.items():
            labels = {"import_stage": stage}
            total_ms = 1000 * sum(durations) / pace
            yield Sample("datacoord_import_job_latency_sum", labels, total_ms)
            yield Sample("datacoord_import_job_latency_count", labels, len(durations))
        of_node: dict[int, list[Work]] = {}
        for work in self._known.works("index", now_s):
            if work.ended_s <= now_s:
                of_node.setdefault(work.node, []).append(work)
        for node, works in sorted(of_node.items()):
            labels = {"node_id": str(self._known.index_node_id(node))}
            total_s = sum(work.ended_s - work.started_s for work in works) / pace
            yield Sample("indexnode_build_index_latency_sum", labels, total_s)
            yield Sample("indexnode_build_index_latency_count", labels, len(works))
            for status, number in (
                ("total", len(works)),
                ("success", sum(not work.failed for work in works)),
                ("fail", sum(work.failed for work in works)),
            ):
                yield Sample("indexnode_index_task_count", {**labels, "status": status}, number)

    def _nodes(self, now_s: float) -> Iterator[Sample]:
        spec, cluster = self._cluster.spec, self._cluster
        up = [n for n in range(len(spec.all_speeds)) if cluster.coordinator.is_up(n)]
        merged = cluster.release.sorts_by_compaction
        workers = len(spec.index_speeds)
        yield Sample(
            "datacoord_datanode_num", {}, len(up) + max(0, workers - len(spec.all_speeds)) * merged
        )
        yield Sample("datacoord_index_node_num", {}, 0 if merged else workers)
        yield Sample("build_info", {"version": f"v{spec.release}"}, 1)
        rows: Counter[int] = Counter()
        for job in cluster.live_jobs:
            for attempts in job.runs["import"].values():
                for run in attempts:
                    rows[run.node] += run.published
        for node in up:
            labels = {"node_id": str(self._known.node_id(node)), "data_source": "bulkinsert"}
            yield Sample("datanode_flushed_data_rows", labels, rows[node])

    def _stored(self) -> Iterator[Sample]:
        spec = self._cluster.spec
        labels = {"db_name": "default", "collection_id": "1", "segment_state": "Flushed"}
        yield Sample("datacoord_stored_binlog_size", labels, spec.stored_bytes)
        quota = spec.disk_quota_bytes if math.isfinite(spec.disk_quota_bytes) else 1.8e308
        yield Sample("rootcoord_disk_quota", {"node_id": "1", "scope": "cluster"}, quota)

    def _scheduler(self, at_s: float) -> Iterator[Sample]:
        count: Counter[tuple[str, str]] = Counter()
        for task in self._known.tasks(at_s):
            if task.state in ("Pending", "InProgress"):
                kind = "PreImport" if task.kind == "preimport" else "Import"
                state = "JobStateInit" if task.state == "Pending" else "JobStateInProgress"
                count[kind, state] += 1
        for build in self._known.builds(at_s):
            if build.state != "Finished":
                count["Index", _BUILD_STATES[build.state]] += 1
        for kind in ("sort", "compact"):
            for work in self._known.works(kind, at_s):
                if work.ended_s > at_s:
                    count["Compaction", _work_state(work, at_s)] += 1
        for (kind, state), number in sorted(count.items()):
            labels = {"task_type": kind, "task_state": state}
            yield Sample("datacoord_task_num_in_scheduler", labels, number)

    def _slots(self, now_s: float) -> Iterator[Sample]:
        spec = self._cluster.spec
        tasks: Counter[int] = Counter(
            task.node for task in self._known.tasks(now_s) if task.state == "InProgress"
        )
        running: Counter[tuple[int, str]] = Counter()
        for kind, name in (
            ("sort", "compactionUsed"),
            ("compact", "compactionUsed"),
            ("index", "indexStatsUsed"),
        ):
            for work in self._known.works(kind, now_s):
                if work.started_s <= now_s < work.ended_s:
                    running[work.node, name] += 1
        total: Counter[int] = Counter()
        used: Counter[tuple[int, str]] = Counter()
        for number in range(len(spec.all_speeds)):
            if self._cluster.coordinator.is_up(number):
                total[self._known.node_id(number)] += spec.slots_per_node
                used[self._known.node_id(number), "importUsed"] += tasks[number]
        for number in range(len(spec.index_speeds)):
            node = self._known.index_node_id(number)
            # A node has one pool for both, but here each kind of work has its own slots.
            if not total[node]:
                total[node] += spec.index_slots_per_node
            for name in ("compactionUsed", "indexStatsUsed"):
                used[node, name] += running[number, name]
        for node in sorted(total):
            yield from _slots_of(str(node), total[node], {name: used[node, name] for name in _USED})


def _slots_of(node: str, total: int, used_by: Mapping[str, int]) -> Iterator[Sample]:
    values = {"total": total, "available": max(0, total - sum(used_by.values())), **used_by}
    for name, value in values.items():
        yield Sample("datanode_slot", {"node_id": node, "type": name}, value)


_USED: Final = ("indexStatsUsed", "compactionUsed", "importUsed")


def _work_state(work: Work, at_s: float) -> str:
    if work.started_s > at_s:
        return "JobStateInit"
    return "JobStateInProgress" if work.ended_s > at_s else "JobStateFinished"


def metrics_text(samples: Iterable[Sample]) -> str:
    r"""Samples as Prometheus' text.

    Examples
    --------
    >>> metrics_text([Sample("num_node", {"role_name": "a\"b"}, 2)])
    '# TYPE milvus_num_node untyped\nmilvus_num_node{role_name="a\\"b"} 2.0\n'
    """
    lines, last = [], ""
    for name, labels, value in sorted(samples, key=lambda sample: sample.name):
        if name != last:
            lines.append(f"# TYPE milvus_{name} untyped")
            last = name
        printed = ",".join(f'{key}="{_escape_label(text)}"' for key, text in labels.items())
        lines.append(f"milvus_{name}{{{printed}}} {float(value)!r}")
    return "\n".join(lines) + "\n"


def _escape_label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
