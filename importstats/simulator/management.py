"""A simulated cluster's management port: the lists that Milvus keeps of what it does.

Answers are made from the times at which things happened, so the lists have the same size, time to
live and missing renewal as a server's, and gauges lag as they do there. Only what concerns imports
is there.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import unquote

from importstats.simulator.api import Access
from importstats.simulator.faults import Faults
from importstats.simulator.indexing import Work
from importstats.simulator.jobs import LiveJob
from importstats.simulator.management_gauges import Gauges, metrics_text
from importstats.simulator.management_nodes import NodeList
from importstats.simulator.management_state import FIRST_PLAN, OTHER_COLLECTION, ImportTask, Known
from importstats.simulator.nodes import TaskKind
from importstats.simulator.releases import Phase
from importstats.simulator.transport import Received, Sent
from importstats.simulator.wire import encode

HttpAnswer = tuple[HTTPStatus, bytes | None]

_LIVES_S: Final = 1800.0
_COMPACTION_LIVES_S: Final = 900.0
_MOST_TASKS: Final = 512
_MOST_BUILDS: Final = 1024

_TASK_TYPES: Final[Mapping[TaskKind, str]] = {"preimport": "PreImportTask", "import": "ImportTask"}


@dataclass
class ManagementPort:
    """A cluster's management port; from 2.6.10 on it checks who may ask."""

    known: Known
    access: Access

    def answer(self, path: str, query: Mapping[str, Any], headers: Mapping[str, str]) -> HttpAnswer:
        """HTTP status and body of the answer to a GET; no body for an unknown path."""
        if path == "/metrics":
            return HTTPStatus.OK, metrics_text(Gauges(self.known).samples()).encode()
        if path == "/healthz":
            return HTTPStatus.OK, b"OK"
        release = self.known.cluster.release
        listed = self._lists().get(path.removeprefix("/api/v1"))
        if not release.has_management or listed is None or not path.startswith("/api/v1/"):
            return HTTPStatus.NOT_FOUND, None
        if release.asks_for_user and not self._may_ask(headers):
            return HTTPStatus.UNAUTHORIZED, encode({"code": 1800, "message": "auth check failure"})
        answer = listed(query)
        # Go prints a list without entries that was never made as null.
        return HTTPStatus.OK, b"null" if answer == [] else encode(answer)

    def _may_ask(self, headers: Mapping[str, str]) -> bool:
        token = self.access.token
        if token is None:
            return True
        sent = {name.lower(): value for name, value in headers.items()}.get("authorization", "")
        basic = base64.b64encode(token.encode()).decode()
        return sent in (f"Bearer {token}", f"Basic {basic}")

    def _lists(self) -> Mapping[str, Callable[[Mapping[str, Any]], Any]]:
        return {
            "/_dc/tasks/import": lambda _: self._import_tasks(),
            "/_dc/tasks/build_index": lambda _: self._index_builds(),
            "/_dc/tasks/compaction": lambda _: self._compactions(),
            "/_dc/segments": self._segments,
            "/_cluster/info": lambda _: NodeList(self.known).info(),
            "/_cluster/configs": lambda _: self._configs(),
            "/_collection/list": lambda _: self._collections(),
        }

    def _local(self, at_s: float) -> str:
        return f"{self.known.cluster.local(at_s):%Y-%m-%d %H:%M:%S}"

    def _import_tasks(self) -> list[dict[str, Any]]:
        now_s = self.known.now_s
        renews = not self.known.cluster.release.sorts_by_compaction

        def renewed_s(task: ImportTask) -> float:
            if not renews:
                return task.created_s
            asked = task.kind == "preimport" and task.state == "InProgress"
            return now_s if asked else task.changed_s

        tasks = [
            task
            for task in self.known.tasks(now_s)
            if not task.job.forgotten and now_s - renewed_s(task) <= _LIVES_S
        ]
        tasks = sorted(tasks, key=renewed_s)[-_MOST_TASKS:]
        return [
            _without_zeros(
                {
                    "job_id": task.job.job_id,
                    "task_id": str(task.task_id),
                    "collection_id": str(self.known.collection_id(task.job)),
                    "node_id": str(self.known.node_id(task.node)) if task.node >= 0 else "-1",
                    "state": task.state,
                    "reason": task.job.reason if task.state == "Failed" else "",
                    "task_type": _TASK_TYPES[task.kind],
                    "created_time": self.known.rfc3339(task.created_s),
                    "complete_time": self.known.rfc3339(task.over_s)
                    if task.state == "Completed" and task.kind == "import"
                    else "",
                }
            )
            for task in tasks
        ]

    def _index_builds(self) -> list[dict[str, Any]]:
        now_s = self.known.now_s
        builds = [
            build for build in self.known.builds(now_s) if now_s - build.changed_s <= _LIVES_S
        ]
        builds = sorted(builds, key=lambda build: build.changed_s)[-_MOST_BUILDS:]
        return [
            _without_zeros(
                {
                    "index_id": str(self.known.collection_id(build.job) + 1),
                    "collection_id": str(self.known.collection_id(build.job)),
                    "segment_id": str(
                        self.known.segment_id(build.job, build.segment, is_sorted=True)
                    ),
                    "build_id": str(build.build_id),
                    "index_state": build.state,
                    "fail_reason": build.reason if build.state == "Retry" else "",
                    "index_size": str(self.known.size_bytes(build.job, build.segment))
                    if build.state == "Finished"
                    else "0",
                    "index_version": str(build.tries),
                    "create_time": self._local(build.works[0].submitted_s),
                    "finished_time": self._local(build.works[-1].ended_s)
                    if build.state == "Finished"
                    else "",
                    "node_id": self._index_node(build.node),
                }
            )
            for build in builds
        ]

    def _compactions(self) -> list[dict[str, Any]]:
        now_s, listed = self.known.now_s, []
        kinds = (
            ("sort", "compact") if self.known.cluster.release.sorts_by_compaction else ("compact",)
        )
        for work in (each for kind in kinds for each in self.known.works(kind, now_s)):
            state, changed_s = "pipelining", work.submitted_s
            if work.started_s <= now_s:
                state, changed_s = "executing", work.started_s
            if work.ended_s <= now_s:
                state, changed_s = "completed", work.ended_s
            if now_s - changed_s <= _COMPACTION_LIVES_S:
                listed.append((changed_s, self._plan(work, state)))
        listed.sort(key=lambda entry: entry[0])
        return [plan for _, plan in listed[-_MOST_TASKS:]]

    def _plan(self, work: Work, state: str) -> dict[str, Any]:
        plan: dict[str, Any] = {
            "plan_id": str(FIRST_PLAN + work.number),
            "collection_id": str(OTHER_COLLECTION),
            "type": "MixCompaction",
            "state": state,
            "start_time": self._local(work.started_s) if state != "pipelining" else "",
            "end_time": self._local(work.ended_s) if state == "completed" else "",
            "node_id": self._index_node(work.node),
        }
        if isinstance(work.job, LiveJob):
            job, segment = work.job, work.segment
            done = [str(self.known.segment_id(job, segment, is_sorted=True))]
            plan |= {
                "collection_id": str(self.known.collection_id(job)),
                "type": "SortCompaction",
                "total_rows": str(job.layout.segment_rows[segment]),
                "input_segments": [str(self.known.segment_id(job, segment, is_sorted=False))],
                "result_segments": done if state == "completed" else [],
            }
        return _without_zeros(plan)

    def _segments(self, query: Mapping[str, Any]) -> list[dict[str, Any]]:
        if query.get("in") != "dc":
            return []
        wanted = query.get("collection_id")
        listed: list[dict[str, Any]] = []
        for job in self.known.cluster.live_jobs:
            if wanted in (None, "", str(self.known.collection_id(job))) and not job.forgotten:
                listed += self._segments_of(job)
        return listed

    def _segments_of(self, job: LiveJob) -> Iterator[dict[str, Any]]:
        began = {span.phase for span in job.phases}
        if Phase.IMPORTING not in began or job.phase is Phase.FAILED:
            return
        now_s, layout = self.known.now_s, job.layout
        sorts = self.known.cluster.release.sorts
        is_sorted = {
            work.segment
            for work in self.known.works("sort", now_s)
            if work.job is job and work.ended_s <= now_s
        }
        indexed = {
            build.segment
            for build in self.known.builds(now_s)
            if build.job is job and build.state == "Finished"
        }
        for segment, task in enumerate(layout.segment_task.tolist()):
            if not job.runs["import"].get(task):
                continue
            share = job.task_rows[task] / max(1, layout.task_rows[task])
            rows = int(layout.segment_rows[segment] * share)
            common = {
                "collection_id": str(self.known.collection_id(job)),
                "partition_id": str(self.known.collection_id(job) + 2),
                "channel": f"by-dev-rootcoord-dml_{segment % job.spec.shards}",
                "level": "L1",
                "node_id": 3,
                "is_importing": not job.ended,
            }
            state = "Flushed" if rows >= layout.segment_rows[segment] else "Importing"
            yield _without_zeros(
                {
                    **common,
                    "segment_id": str(self.known.segment_id(job, segment, is_sorted=False)),
                    "num_of_rows": str(rows),
                    "mem_size": str(int(self.known.size_bytes(job, segment) * share)),
                    "state": "Dropped" if segment in is_sorted else state,
                    "compacted": segment in is_sorted,
                    "is_indexed": segment in indexed and not sorts,
                }
            )
            if segment in is_sorted:
                yield _without_zeros(
                    {
                        **common,
                        "segment_id": str(self.known.segment_id(job, segment, is_sorted=True)),
                        "num_of_rows": str(rows),
                        "mem_size": str(self.known.size_bytes(job, segment)),
                        "state": "Flushed",
                        "is_sorted": True,
                        "is_indexed": segment in indexed,
                    }
                )

    def _index_node(self, number: int) -> str:
        return str(self.known.index_node_id(number)) if number >= 0 else "0"

    def _configs(self) -> dict[str, str]:
        spec = self.known.cluster.spec
        found = {
            "datacoordimportwaitforindex": "true[FileSource]",
            "datanodeworkerslotunit": "16[FileSource]",
            "minioaccesskeyid": "minioadmin[FileSource]",
            "miniosecretaccesskey": "simulated-secret-key[FileSource]",
            "commonsecuritydefaultrootpassword": "simulated-root-password[FileSource]",
        }
        if math.isfinite(spec.disk_quota_bytes):
            megabytes = spec.disk_quota_bytes / 2**20
            key = "quotaandlimitslimitwritingdiskprotectiondiskquota"
            found[key] = f"{megabytes:.0f}[EtcdSource]"
        return found

    def _collections(self) -> dict[str, Any]:
        of_id = {self.known.collection_id(job): job for job in self.known.cluster.live_jobs}
        return {
            "collection_ids": [str(number) for number in of_id],
            "collection_names": [job.spec.collection_name for job in of_id.values()],
        }


def _without_zeros(entry: dict[str, Any]) -> dict[str, Any]:
    """The entry without the fields that ``omitempty`` of Go's encoder leaves out."""
    return {name: value for name, value in entry.items() if value and value != "0"}


@dataclass
class ManagementSocket:
    """Answers the requests that a management port's socket receives."""

    port: ManagementPort
    faults: Faults
    at_present: Callable[[Callable[[], HttpAnswer]], HttpAnswer]
    record: bool
    sent: list[Sent] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)

    def answer(
        self, method: str, path: str, body: Mapping[str, Any], headers: Mapping[str, str]
    ) -> HttpAnswer:
        """The port's answer now."""
        if method != "GET":
            return HTTPStatus.NOT_FOUND, None
        return self.at_present(lambda: self.port.answer(unquote(path), body, headers))

    def describes(self, path: str) -> bool:
        """False, as no path of this port answers with a job's progress."""
        return False
