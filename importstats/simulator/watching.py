"""A simulated cluster as a watcher of its management port would have seen it, without a socket."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Final

import msgspec
import pyarrow as pa

from importstats.simulator.api import Access
from importstats.simulator.cluster import SimulatedCluster
from importstats.simulator.dialects import dialect_named
from importstats.simulator.management import ManagementPort
from importstats.simulator.management_state import Known
from importstats.simulator.specs import ClusterSpec, JobSpec
from importstats.simulator.wire import describe_answer, encode
from importstats.sources.answers import parse_response
from importstats.sources.management import PATHS
from importstats.sources.management_lists import (
    parse_builds,
    parse_compactions,
    parse_nodes,
    parse_segments,
    parse_settings,
    parse_tasks,
)
from importstats.sources.management_metrics import parse_samples
from importstats.sources.snapshot import Snapshot
from importstats.store.cluster_frames import ClusterFrames, cluster_frame
from importstats.store.cluster_runs import OpenRuns, join_runs
from importstats.store.cluster_schema import CLUSTER_TABLES, ClusterTable

_URI: Final = "http://localhost:19530"
_PARSERS: Final = {
    "tasks": parse_tasks,
    "builds": parse_builds,
    "compactions": parse_compactions,
    "nodes": parse_nodes,
    "settings": parse_settings,
}


class SimulatedWatch:
    """Watches a simulated cluster: each :meth:`look` polls everything once.

    Examples
    --------
    >>> from importstats.simulator import ClusterSpec, FileSpec, JobSpec
    >>> cluster = SimulatedCluster(ClusterSpec(), seed=1)
    >>> file = FileSpec(("1.parquet",), 2**30, 10**6)
    >>> job_id = cluster.create(JobSpec(collection_name="products", files=(file,)))
    >>> watch = SimulatedWatch(cluster)
    >>> for second in (10, 20, 30):
    ...     cluster.advance(second)
    ...     watch.look()
    >>> watch.frames().tasks[["job_id", "kind", "state"]].iloc[0].tolist() == [
    ...     job_id, "PreImportTask", "InProgress"]
    True
    """

    def __init__(self, cluster: SimulatedCluster, source_uri: str = _URI) -> None:
        self._cluster = cluster
        self._port = ManagementPort(Known(cluster), Access())
        self._runs = {table: OpenRuns(table, source_uri) for table in CLUSTER_TABLES}

    def look(self) -> None:
        """Ask for everything."""
        for table, parse in _PARSERS.items():
            self._add(table, parse(self._asked(table, {}))[0])  # type: ignore[arg-type]
        for collection in {row["collection_id"] for row in self._runs["tasks"].last()}:
            query = {"in": "dc", "collection_id": collection}
            self._add("segments", parse_segments(self._asked("segments", query))[0])
        status, body = self._port.answer("/metrics", {}, {})
        if status is HTTPStatus.OK and body is not None:
            self._add("gauges", [{**row, "process": "simulated"} for row in parse_samples(body)])

    def _asked(self, table: str, query: Mapping[str, Any]) -> Any:
        status, body = self._port.answer(PATHS[table], query, {})
        return msgspec.json.decode(body) if status is HTTPStatus.OK and body else None

    def _add(self, table: ClusterTable, rows: list[dict[str, Any]]) -> None:
        self._runs[table].add(rows, self._cluster.time(self._cluster.now_s))

    def tables(self) -> dict[ClusterTable, pa.Table]:
        """Everything seen so far, as a store's rows."""
        return {
            table: join_runs(table, runs.take(everything=True))
            for table, runs in self._runs.items()
        }

    def frames(self) -> ClusterFrames:
        """Everything seen so far, as frames."""
        return ClusterFrames(*map(cluster_frame, self.tables().values()))


class WatchedJob:
    """A simulated job that is polled while its cluster is watched.

    The cluster has the dialect's release. `snapshots` has a snapshot for each poll, and `state` is
    the job's state at the latest one.

    Examples
    --------
    >>> from importstats.simulator import FileSpec
    >>> file = FileSpec(("1.parquet",), 2**30, 10**6)
    >>> job = JobSpec(collection_name="products", files=(file,))
    >>> watched = WatchedJob(ClusterSpec(), job, seed=1)
    >>> while watched.poll(15.0):
    ...     pass
    >>> watched.state.phase.value, watched.snapshots[-1].response.data.state
    ('Completed', 'Completed')
    """

    def __init__(
        self,
        spec: ClusterSpec,
        job: JobSpec,
        *,
        seed: int,
        dialect: str = "2.6",
        source_uri: str = _URI,
    ) -> None:
        self.dialect = dialect_named(dialect)
        self.source_uri = source_uri
        self.cluster = SimulatedCluster(replace(spec, release=self.dialect.release), seed=seed)
        # Other jobs may have begun before.
        self.cluster.advance(max(0.0, self.cluster.now_s))
        self.job_id = self.cluster.create(job)
        self.state = self.cluster.describe(self.job_id)
        self.watch = SimulatedWatch(self.cluster, source_uri)
        self.snapshots: list[Snapshot] = []

    def poll(self, seconds: float) -> bool:
        """Poll everything once, some seconds later; returns whether the job goes on."""
        self.cluster.advance(self.cluster.now_s + seconds)
        self.watch.look()
        self.state = self.cluster.describe(self.job_id)
        answer = parse_response(encode(describe_answer(self.state, self.dialect)))
        at = self.cluster.time(self.cluster.now_s)
        self.snapshots.append(Snapshot(at, self.job_id, self.source_uri, answer))
        return not self.state.ended
