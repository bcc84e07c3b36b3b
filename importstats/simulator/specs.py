"""What is simulated: the files, the job and the cluster, with their units, and the releases.

All are plain frozen values. ``dataclasses.replace`` makes a variant of one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

MIB: Final = 2**20
GIB: Final = 2**30


class Phase(StrEnum):
    """The hidden phases of an import job, in their order."""

    PENDING = "Pending"
    PRE_IMPORTING = "PreImporting"
    IMPORTING = "Importing"
    SORTING = "Sorting"
    INDEX_BUILDING = "IndexBuilding"
    UNCOMMITTED = "Uncommitted"
    COMMITTING = "Committing"
    COMPLETED = "Completed"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class Release:
    """How one release of the server turns phases into ``progress``.

    Attributes
    ----------
    name : str
        As in "2.6".
    weights : mapping of Phase to (int, int)
        Where the phase starts and how much it spans, in points of ``progress``. A phase that is
        not there does not exist in this release.
    two_phase : bool
        Whether the job waits for a commit.
    """

    name: str
    weights: Mapping[Phase, tuple[int, int]]
    two_phase: bool = False


# Weights: internal/datacoord/import_util.go of the release. Early 2.4 gave rows 80 % of the last
# 50 points, and segments that may be searched the other 20 %.
_WITHOUT_SORT: Final = {
    Phase.PENDING: (0, 10),
    Phase.PRE_IMPORTING: (10, 30),
    Phase.IMPORTING: (40, 30),
    Phase.INDEX_BUILDING: (80, 10),
}
_WITH_SORT: Final = {**_WITHOUT_SORT, Phase.SORTING: (70, 10)}

RELEASES: Final[Mapping[str, Release]] = {
    release.name: release
    for release in (
        Release(
            "2.4-early",
            {
                Phase.PENDING: (0, 10),
                Phase.PRE_IMPORTING: (10, 40),
                Phase.IMPORTING: (50, 40),
                Phase.INDEX_BUILDING: (90, 10),
            },
        ),
        Release("2.4", _WITHOUT_SORT),
        Release("2.5", _WITH_SORT),
        Release("2.6", _WITH_SORT),
        Release("3.0", _WITH_SORT, two_phase=True),
    )
}


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
        How often the file's task gives up part-way and starts again.
    stuck_s : float
        How long the file's task hangs part-way, in seconds, before the server retries it;
        ``math.inf`` for ever.
    error : str
        If not empty: the file is bad, and the job fails for this reason.
    error_phase : {"preimport", "import"}
        Where the error is found.
    """

    paths: tuple[str, ...]
    size_bytes: int
    rows: int
    slowdown: float = 1.0
    retries: int = 0
    stuck_s: float = 0.0
    error: str = ""
    error_phase: Literal["preimport", "import"] = "import"

    def __post_init__(self) -> None:
        if not self.paths:
            raise ValueError("an import file has at least one path")
        if self.size_bytes < 0 or self.rows < 0:
            raise ValueError(f"a file has no negative size or rows: {self.paths[0]}")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """One import job: its files, what they cost, and how its server lies about it.

    Rates are those of one slot on a node of speed 1 at load factor 1.

    Attributes
    ----------
    collection_name : str
    files : tuple of FileSpec
    db_name : str or None
        ``None`` for the default database.
    pending_s : float
        Seconds in Pending, while pre-import tasks are handed out evenly.
    preimport_bytes_per_s, import_bytes_per_s : float
        Speed of reading and of importing a file.
    sort_rows_per_s, index_rows_per_s : float
        Speed of sorting a segment and of building all of its indexes.
    task_overhead_s : float
        Seconds each pre-import and import task takes on top.
    noise : float
        Standard deviation of the logarithm of the duration of each task, sort and index build.
    shards, partitions : int
        Shards multiply the write buffer; both multiply the size cap of a task.
    buffer_bytes : int
        Write buffer per shard: rows are seen once a full buffer is written.
    segment_bytes, max_task_bytes : int
        Size of a full segment, and the cap on the files of one import task.
    files_per_preimport_task : int
    retry_wait_s : float
        Seconds a task stays in Retry before it waits for a slot again.
    early_index : bool
        Whether a segment's index is built as soon as the segment is ready (as servers do), or
        only in the phase IndexBuilding.
    auto_commit : bool
        Whether a release with two-phase commit commits by itself.
    commit_after_s : float or None
        Seconds after which the user commits; ``None`` if nobody does.
    commit_s : float
        Seconds that committing takes.
    wrong_totals : bool
        Details say the job's rows in ``totalRows``.
    negative_progress : bool
        ``progress`` is int64's minimum (a division of zero by zero) while no row is written.
    """

    collection_name: str
    files: tuple[FileSpec, ...]
    db_name: str | None = None
    pending_s: float = 4.0
    preimport_bytes_per_s: float = 150e6
    import_bytes_per_s: float = 25e6
    sort_rows_per_s: float = 150e3
    index_rows_per_s: float = 30e3
    task_overhead_s: float = 2.0
    noise: float = 0.1
    shards: int = 1
    partitions: int = 1
    buffer_bytes: int = 16 * MIB
    segment_bytes: int = GIB
    max_task_bytes: int = 16 * GIB
    files_per_preimport_task: int = 2
    retry_wait_s: float = 20.0
    early_index: bool = True
    auto_commit: bool = True
    commit_after_s: float | None = None
    commit_s: float = 3.0
    wrong_totals: bool = False
    negative_progress: bool = False

    def __post_init__(self) -> None:
        if not self.files:
            raise ValueError("an import job has at least one file")

    @property
    def task_bytes(self) -> int:
        """Cap on the bytes of the files of one import task."""
        return min(self.segment_bytes * self.shards * self.partitions, self.max_task_bytes)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSpec:
    """The cluster: its nodes, their speeds, and how load and luck change.

    Attributes
    ----------
    node_speeds : tuple of float
        One data node each; 1 is the speed that rates of a :class:`JobSpec` are meant at.
    slots_per_node : int
        Import and pre-import tasks that run on a data node at a time.
    index_speeds : tuple of float
        One index node each. They sort segments and build indexes.
    index_slots_per_node : int
    load : tuple of (float, float)
        Steps ``(from_s, factor)`` in ascending order: from then on all nodes run at `factor` of
        their speed. Before the first step the factor is 1. Factors are greater than 0.
    restarts : tuple of Restart
    other_jobs : tuple of Arrival
        Jobs of others, which take slots.
    release : str
        A key of :data:`RELEASES`.
    retention_s : float
        Seconds after its end at which a job is forgotten.
    check_interval_s : float
        A job changes its phase at whole multiples of it.
    shuffled_details : bool
        Whether every answer lists the tasks in another order. Milvus keeps them in a Go map, so
        servers do this; it is off by default so that the place of a file can be relied on.
    """

    node_speeds: tuple[float, ...] = (1.0, 1.0)
    slots_per_node: int = 4
    index_speeds: tuple[float, ...] = (1.0, 1.0)
    index_slots_per_node: int = 2
    load: tuple[tuple[float, float], ...] = ()
    restarts: tuple[Restart, ...] = ()
    other_jobs: tuple[Arrival, ...] = ()
    release: str = "2.6"
    retention_s: float = 3 * 3600.0
    check_interval_s: float = 2.0
    shuffled_details: bool = False

    def __post_init__(self) -> None:
        if self.release not in RELEASES:
            raise ValueError(f"no release {self.release!r}; there are {', '.join(RELEASES)}")
        speeds = (*self.node_speeds, *self.index_speeds, *(factor for _, factor in self.load))
        if not all(0 < speed < math.inf for speed in speeds):
            raise ValueError("speeds and load factors are greater than 0")
        if not self.node_speeds or not self.index_speeds:
            raise ValueError("a cluster has at least one data node and one index node")
        if [from_s for from_s, _ in self.load] != sorted({from_s for from_s, _ in self.load}):
            raise ValueError("the steps of the load ascend")
