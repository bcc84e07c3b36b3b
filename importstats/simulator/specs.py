"""What is simulated: the files, the jobs and the cluster, all as frozen values with units."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from importstats.names import RETENTION_S
from importstats.simulator.load import Steps
from importstats.simulator.releases import Release, release_of
from importstats.simulator.units import GIB, MIB

Signal = Literal["whole", "smooth"]


@dataclass(frozen=True, slots=True)
class FileSpec:
    """One import file, and what goes wrong with it."""

    #: One path, or several for a set of NumPy files.
    paths: tuple[str, ...]
    #: Of all paths together, as are the rows.
    size_bytes: int
    rows: int
    #: How many times longer than usual a file of this size takes to import.
    slowdown: float = 1.0
    #: How often the file's task goes back: the coordinator's request to its node fails, and the
    #: task starts again, maybe on another node.
    retries: int = 0
    #: How long the read of the file hangs; ``math.inf`` until the node restarts.
    stuck_s: float = 0.0
    #: If not empty, the file is bad, and the job fails for this reason.
    error: str = ""
    #: The phase that finds the error.
    error_phase: Literal["preimport", "import"] = "import"
    #: Size in memory, by which files are grouped; ``None`` if as large as on disk. Compressed
    #: Parquet is larger in memory.
    memory_bytes: int | None = None

    def __post_init__(self) -> None:
        if not self.paths:
            raise ValueError("an import file has at least one path")
        if self.size_bytes < 0 or self.rows < 0:
            raise ValueError(f"a file has no negative size or rows: {self.paths[0]}")

    @property
    def grouped_bytes(self) -> int:
        """The size by which the server groups the file."""
        return self.size_bytes if self.memory_bytes is None else self.memory_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """One import job: its files, what they cost, and what goes wrong with it.

    Rates are for one file on a node of speed 1 that has a free core, at load factor 1.
    """

    collection_name: str
    files: tuple[FileSpec, ...]
    #: ``None`` for the default database.
    db_name: str | None = None
    #: Seconds in Pending at 0 %, until every channel knows of the job or it is the job's turn.
    pending_s: float = 4.0
    #: Speed of reading and of importing a file.
    preimport_bytes_per_s: float = 150e6
    import_bytes_per_s: float = 25e6
    #: Speed of sorting a segment and of building all of its indexes.
    sort_rows_per_s: float = 150e3
    index_rows_per_s: float = 30e3
    #: Extra seconds for reading a file, and again for importing it.
    file_overhead_s: float = 0.5
    #: Standard deviation of the logarithm of how long each file, sort and index build takes.
    noise: float = 0.1
    #: Shards multiply the write buffer and the size cap of a task.
    shards: int = 1
    #: Write buffer per shard: rows are written when a buffer is full.
    buffer_bytes: int = 16 * MIB
    #: Size of a full segment.
    segment_bytes: int = GIB
    #: Cap on the files of one import task; ``None`` for the release's.
    max_task_bytes: int | None = None
    #: Whether a segment's index is built as soon as the segment is ready, as servers do, or only
    #: in the phase IndexBuilding.
    early_index: bool = True
    #: Whether the job waits for its index; if not, IndexBuilding passes at once.
    waits_for_index: bool = True
    #: Whether a release with two-phase commit commits by itself.
    auto_commit: bool = True
    #: When the user commits, in seconds after the job is Uncommitted; ``None`` if nobody does.
    commit_after_s: float | None = None
    #: Seconds that a commit takes.
    commit_s: float = 3.0
    #: The option ``timeout``: the job fails this long after its creation.
    timeout_s: float | None = None
    #: When the collection is dropped, in seconds after the job's creation.
    dropped_after_s: float | None = None
    #: If not empty, the job fails for this quota between PreImporting and Importing.
    quota_reason: str = ""
    #: How many segments have index builds that fail, how often each fails first, and why.
    failing_builds: int = 0
    build_failures: int = 0
    build_error: str = "no space left on device"
    #: Whether the files are delete logs, whose rows are never counted as imported.
    delete_logs: bool = False
    #: Whether details give the job's rows as ``totalRows``.
    wrong_totals: bool = False
    #: Whether ``progress`` is int64's minimum in Pending (milvus issue 31221).
    negative_progress: bool = False

    def __post_init__(self) -> None:
        if not self.files:
            raise ValueError("an import job has at least one file")

    def task_bytes(self, release: Release) -> int:
        """Cap on the bytes in memory of the files of one import task."""
        cap = release.task_cap_bytes if self.max_task_bytes is None else self.max_task_bytes
        return min(self.segment_bytes * self.shards, cap)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A job, and when it is created in seconds of the cluster's clock."""

    at_s: float
    job: JobSpec


@dataclass(frozen=True, slots=True)
class Restart:
    """A data node that goes down at `at_s` and is back `down_s` seconds later."""

    at_s: float
    node: int
    down_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Compaction:
    """Compactions of other collections, which take slots of the index nodes."""

    #: When they are due, in seconds of the cluster's clock.
    at_s: float
    #: How long each takes on a node of speed 1.
    seconds: float
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSpec:
    """The cluster: its nodes, their speeds, and how load and luck change.

    A load is a tuple of steps ``(from_s, factor)`` in ascending order: from then on nodes run at
    `factor` of their speed. Before the first step the factor is 1; a factor of 0 is a pause.
    """

    #: Each data node's speed; the rates of a :class:`JobSpec` are for speed 1.
    node_speeds: tuple[float, ...] = (1.0, 1.0)
    #: When further data nodes join, and their speeds. They are numbered after the others.
    added_nodes: tuple[tuple[float, float], ...] = ()
    #: How many files a data node imports at full speed; more files share the cores. From 2.5.17
    #: on it also limits how many files are imported at once.
    cores_per_node: int = 8
    #: How many tasks the coordinator hands to a data node before some of them have ended.
    slots_per_node: int = 16
    #: Each index node's speed. These nodes sort segments and build indexes.
    index_speeds: tuple[float, ...] = (1.0, 1.0)
    index_slots_per_node: int = 2
    #: The load of all nodes, of the index nodes alone, and of single data nodes with noisy
    #: neighbours. They multiply.
    load: Steps = ()
    index_load: Steps = ()
    node_load: tuple[tuple[int, Steps], ...] = ()
    restarts: tuple[Restart, ...] = ()
    #: Other users' jobs, which take slots.
    other_jobs: tuple[Arrival, ...] = ()
    compactions: tuple[Compaction, ...] = ()
    #: What is stored already, and how much may be. A job that does not fit fails between
    #: PreImporting and Importing.
    stored_bytes: float = 0.0
    disk_quota_bytes: float = math.inf
    #: When rows are seen: once a file has ended, as in every Milvus, or as they are written. Nobody
    #: outside has read the server of Zilliz Cloud, which may do the second.
    signal: Signal = "whole"
    #: A version; see :func:`importstats.simulator.releases.release_of`.
    release: str = "2.6"
    #: Seconds after its end at which a job is forgotten.
    retention_s: float = RETENTION_S
    #: Seconds after sorting at which the unsorted segments are deleted.
    dropped_segments_s: float = 3 * 3600.0
    #: Whether every answer lists the tasks, and `list` the jobs, in another order, as servers do
    #: (they keep both in a Go map).
    shuffled_details: bool = True
    #: Hours by which the coordinator's local time, in which it prints times, is ahead of UTC.
    utc_offset_h: float = 0.0

    def __post_init__(self) -> None:
        release_of(self.release)
        if self.signal not in get_args(Signal):
            raise ValueError(f"no signal {self.signal!r}; there are {', '.join(get_args(Signal))}")
        if not self.node_speeds or not self.index_speeds:
            raise ValueError("a cluster has at least one data node and one index node")
        if min(self.cores_per_node, self.slots_per_node, self.index_slots_per_node) < 1:
            raise ValueError("a node has at least one core and one slot")
        if not all(0 < speed < math.inf for speed in (*self.all_speeds, *self.index_speeds)):
            raise ValueError("speeds are greater than 0")
        for steps in (self.load, self.index_load, *(steps for _, steps in self.node_load)):
            _check_steps(steps)
        numbers = (*(r.node for r in self.restarts), *(node for node, _ in self.node_load))
        if not all(0 <= number < len(self.all_speeds) for number in numbers):
            raise ValueError(f"data nodes are numbered 0 to {len(self.all_speeds) - 1}")

    @property
    def all_speeds(self) -> tuple[float, ...]:
        """The speeds of all data nodes, including those that join later."""
        return (*self.node_speeds, *(speed for _, speed in self.added_nodes))


def _check_steps(steps: Iterable[tuple[float, float]]) -> None:
    steps = list(steps)
    if not all(0 <= factor < math.inf for _, factor in steps):
        raise ValueError("load factors are 0 or greater")
    if [from_s for from_s, _ in steps] != sorted({from_s for from_s, _ in steps}):
        raise ValueError("the steps of the load ascend")
