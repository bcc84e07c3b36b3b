"""What is simulated: the files, the job and the cluster, with their units.

All are plain frozen values. ``dataclasses.replace`` makes a variant of one.
"""

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
    """One import file, and what goes wrong with it.

    Attributes
    ----------
    paths : tuple of str
        One path, or several for a set of numpy files.
    size_bytes, rows : int
        Size of all paths together, and the rows in them.
    slowdown : float
        How many times longer than its size says the file takes to import.
    retries : int
        How often the file's task goes back: the coordinator's question to its node fails, and the
        task starts again, maybe elsewhere.
    stuck_s : float
        How long the read of the file hangs part-way, in seconds; ``math.inf`` for ever (until the
        node restarts).
    error : str
        If not empty: the file is bad, and the job fails for this reason.
    error_phase : {"preimport", "import"}
        Where the error is found.
    memory_bytes : int or None
        Size in memory, by which files are grouped; ``None`` if as large as on disk. Compressed
        Parquet is larger in memory.
    """

    paths: tuple[str, ...]
    size_bytes: int
    rows: int
    slowdown: float = 1.0
    retries: int = 0
    stuck_s: float = 0.0
    error: str = ""
    error_phase: Literal["preimport", "import"] = "import"
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
    """One import job: its files, what they cost, and what befalls it.

    Rates are those of one file on a node of speed 1 whose cores are not all busy, at load
    factor 1.

    Attributes
    ----------
    collection_name : str
    files : tuple of FileSpec
    db_name : str or None
        ``None`` for the default database.
    pending_s : float
        Seconds in Pending, at 0 %: until every channel knows of the job, or its turn has come.
    preimport_bytes_per_s, import_bytes_per_s : float
        Speed of reading and of importing a file.
    sort_rows_per_s, index_rows_per_s : float
        Speed of sorting a segment and of building all of its indexes.
    file_overhead_s : float
        Seconds that reading and that importing a file take on top.
    noise : float
        Standard deviation of the logarithm of the duration of each file, sort and index build.
    shards, partitions : int
        Shards multiply the write buffer; both multiply the size cap of a task.
    buffer_bytes : int
        Write buffer per shard: rows are written when a buffer is full.
    segment_bytes : int
        Size of a full segment.
    max_task_bytes : int or None
        Cap on the files of one import task; ``None`` for that of the release.
    files_per_preimport_task : int
    early_index : bool
        Whether a segment's index is built as soon as the segment is ready (as servers do), or
        only in the phase IndexBuilding.
    waits_for_index : bool
        Whether the job waits for its index; if not, or if there is none, IndexBuilding passes.
    auto_commit : bool
        Whether a release with two-phase commit commits by itself.
    commit_after_s : float or None
        Seconds after which the user commits; ``None`` if nobody does.
    commit_s : float
        Seconds that committing takes.
    timeout_s : float or None
        The option ``timeout``: the job fails this long after its creation.
    dropped_after_s : float or None
        When the collection is dropped, in seconds after the job's creation.
    quota_reason : str
        If not empty: the job fails for this quota between PreImporting and Importing.
    failing_builds, build_failures : int
        How many segments have a first index build that fails, and how often it does before it
        succeeds.
    build_error : str
        What such a build fails with.
    delete_logs : bool
        Whether the files are delete logs: they have rows and none is ever counted as imported.
    wrong_totals : bool
        Details say the job's rows in ``totalRows``.
    negative_progress : bool
        ``progress`` is int64's minimum while the job is Pending (milvus issue 31221).
    """

    collection_name: str
    files: tuple[FileSpec, ...]
    db_name: str | None = None
    pending_s: float = 4.0
    preimport_bytes_per_s: float = 150e6
    import_bytes_per_s: float = 25e6
    sort_rows_per_s: float = 150e3
    index_rows_per_s: float = 30e3
    file_overhead_s: float = 0.5
    noise: float = 0.1
    shards: int = 1
    partitions: int = 1
    buffer_bytes: int = 16 * MIB
    segment_bytes: int = GIB
    max_task_bytes: int | None = None
    files_per_preimport_task: int = 2
    early_index: bool = True
    waits_for_index: bool = True
    auto_commit: bool = True
    commit_after_s: float | None = None
    commit_s: float = 3.0
    timeout_s: float | None = None
    dropped_after_s: float | None = None
    quota_reason: str = ""
    failing_builds: int = 0
    build_failures: int = 0
    build_error: str = "no space left on device"
    delete_logs: bool = False
    wrong_totals: bool = False
    negative_progress: bool = False

    def __post_init__(self) -> None:
        if not self.files:
            raise ValueError("an import job has at least one file")

    def task_bytes(self, release: Release) -> int:
        """Cap on the bytes in memory of the files of one import task."""
        cap = release.task_cap_bytes if self.max_task_bytes is None else self.max_task_bytes
        return min(self.segment_bytes * self.shards * self.partitions, cap)


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
    """Compactions of collections without an import, which take slots of the index nodes.

    Attributes
    ----------
    at_s : float
        When they are due, in seconds of the cluster's clock.
    seconds : float
        How long each takes on a node of speed 1.
    count : int
    """

    at_s: float
    seconds: float
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSpec:
    """The cluster: its nodes, their speeds, and how load and luck change.

    Loads are steps ``(from_s, factor)`` in ascending order: from then on nodes run at `factor` of
    their speed. Before the first step the factor is 1; 0 is a pause.

    Attributes
    ----------
    node_speeds : tuple of float
        One data node each; 1 is the speed that rates of a :class:`JobSpec` are meant at.
    added_nodes : tuple of (float, float)
        Data nodes that come later: when, and their speed. They are numbered after the others.
    cores_per_node : int
        Files that a data node imports at full speed; more share it. From 2.5.17 on it also says
        how many files there are at once.
    files_at_once : int or None
        The size of a data node's pool of files; ``None`` for that of the release: 16, from 2.5.17
        on four for each core.
    slots_per_node : int
        Tasks that the coordinator hands to a data node before it has ended some.
    index_speeds : tuple of float
        One index node each. They sort segments and build indexes.
    index_slots_per_node : int
    load, index_load : steps
        Of all nodes, and of the index nodes alone besides.
    node_load : mapping as a tuple of (int, steps)
        Of single data nodes besides: noisy neighbours.
    restarts : tuple of Restart
    other_jobs : tuple of Arrival
        Jobs of others, which take slots.
    compactions : tuple of Compaction
        Compactions that take slots of the index nodes.
    stored_bytes, disk_quota_bytes : float
        What is stored already, and how much may be; a job that does not fit fails between
        PreImporting and Importing.
    signal : {"whole", "smooth"}
        When rows are seen: once a file has ended, as every Milvus does, or as they are written.
        Nobody outside has read the server of Zilliz Cloud, so the second is there for it.
    release : str
        A version; see :func:`importstats.simulator.releases.release_of`.
    retention_s : float
        Seconds after its end at which a job is forgotten.
    dropped_segments_s : float
        Seconds after sorting until the segments as they were before are deleted.
    ask_interval_s : float
        The coordinator hands tasks out and asks for them at whole multiples of it.
    check_interval_s : float
        A job changes its phase half an interval after whole multiples of it: checks and questions
        have clocks of their own.
    slow_check_interval_s : float
        Time-outs and dropped collections are found at whole multiples of it.
    shuffled_details : bool
        Whether every answer lists the tasks, and `list` the jobs, in another order, as servers do
        (they keep both in a Go map).
    utc_offset_h : float
        Hours by which the coordinator's local time, in which it prints times, is ahead of UTC.
    """

    node_speeds: tuple[float, ...] = (1.0, 1.0)
    added_nodes: tuple[tuple[float, float], ...] = ()
    cores_per_node: int = 8
    files_at_once: int | None = None
    slots_per_node: int = 16
    index_speeds: tuple[float, ...] = (1.0, 1.0)
    index_slots_per_node: int = 2
    load: Steps = ()
    index_load: Steps = ()
    node_load: tuple[tuple[int, Steps], ...] = ()
    restarts: tuple[Restart, ...] = ()
    other_jobs: tuple[Arrival, ...] = ()
    compactions: tuple[Compaction, ...] = ()
    stored_bytes: float = 0.0
    disk_quota_bytes: float = math.inf
    signal: Signal = "whole"
    release: str = "2.6"
    retention_s: float = RETENTION_S
    dropped_segments_s: float = 3 * 3600.0
    ask_interval_s: float = 2.0
    check_interval_s: float = 2.0
    slow_check_interval_s: float = 120.0
    shuffled_details: bool = True
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
        """Speeds of all data nodes, those that come later included."""
        return (*self.node_speeds, *(speed for _, speed in self.added_nodes))

    def pool_size(self, release: Release) -> int:
        """Files that a data node of a release works on at once."""
        if self.files_at_once is not None:
            return self.files_at_once
        return 4 * self.cores_per_node if release.pool_per_core else 16


def _check_steps(steps: Iterable[tuple[float, float]]) -> None:
    steps = list(steps)
    if not all(0 <= factor < math.inf for _, factor in steps):
        raise ValueError("load factors are 0 or greater")
    if [from_s for from_s, _ in steps] != sorted({from_s for from_s, _ in steps}):
        raise ValueError("the steps of the load ascend")
