"""How the files of a job become import tasks and segments."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from importstats.arrays import Ints
from importstats.simulator.releases import Release
from importstats.simulator.specs import FileSpec, JobSpec


def group_files(sizes: Sequence[int], cap: int) -> Iterator[list[int]]:
    """The indices of each import task's files.

    From the smallest file up, files share a task as long as their sizes stay within `cap`. A larger
    file has a task of its own (``RegroupImportFiles`` of the server).

    Examples
    --------
    >>> list(group_files([70, 10, 200, 20, 30], cap=60))
    [[1, 3, 4], [0], [2]]
    """
    group: list[int] = []
    total = 0
    for index in np.argsort(np.asarray(sizes), kind="stable").tolist():
        if group and total + sizes[index] > cap:
            yield group
            group, total = [], 0
        group.append(index)
        total += sizes[index]
    yield group


@dataclass(frozen=True, eq=False)
class Layout:
    """A job's files in the order of its tasks."""

    #: One value per file, as in the next three.
    files: tuple[FileSpec, ...]
    size_bytes: Ints
    rows: Ints
    task: Ints
    #: The first file of each task, and the number of files at the end.
    first: Ints
    #: One value per task.
    task_bytes: Ints
    task_rows: Ints
    #: One value per segment. With Import V3 the segments belong to the whole job, and to task 0.
    segment_task: Ints
    segment_rows: Ints
    #: When each task was done, as the server prints it; empty until then.
    complete_times: list[str] = field(repr=False)
    _printed: dict[str, list[str]] = field(default_factory=dict, repr=False)

    @property
    def task_count(self) -> int:
        """Number of import tasks."""
        return len(self.task_rows)

    @cached_property
    def total_rows(self) -> int:
        """Rows of all files."""
        return int(self.rows.sum())

    @cached_property
    def total_bytes(self) -> int:
        """Bytes of all files."""
        return int(self.size_bytes.sum())

    @cached_property
    def segments_of(self) -> list[range]:
        """The segments of each task."""
        ends = np.cumsum(np.bincount(self.segment_task, minlength=self.task_count)).tolist()
        return [range(start, end) for start, end in zip([0, *ends], ends, strict=False)]

    def files_of(self, task: int) -> range:
        """The places of one task's files."""
        return range(int(self.first[task]), int(self.first[task + 1]))

    def printed_names(
        self, style: str, printer: Callable[[int, tuple[str, ...]], str]
    ) -> list[str]:
        """The names of all files in a style; `printer` gets a file's place and paths only once."""
        if style not in self._printed:
            self._printed[style] = [printer(i, file.paths) for i, file in enumerate(self.files)]
        return self._printed[style]

    def places(self, tasks: Ints) -> Ints:
        """The places of several tasks' files, task by task."""
        count = np.diff(self.first)[tasks]
        offset = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        places: Ints = np.repeat(self.first[:-1][tasks], count) + offset
        return places


def make_layout(job: JobSpec, release: Release) -> Layout:
    """The files of a job in tasks, and the tasks in segments.

    With Import V3 each file is a task of its own, since details count the files one by one.
    """
    sizes = [file.grouped_bytes for file in job.files]
    cap = 0 if release.reshards else job.task_bytes(release)
    groups = list(group_files(sizes, cap))
    files = tuple(job.files[index] for group in groups for index in group)
    first = np.cumsum([0, *(len(group) for group in groups)])
    size_bytes = np.array([file.size_bytes for file in files], np.int64)
    rows = np.array([file.rows for file in files], np.int64)
    task_bytes = np.add.reduceat(size_bytes, first[:-1])
    task_rows = np.add.reduceat(rows, first[:-1])
    parts = (task_bytes, task_rows)
    if release.reshards:
        parts = (task_bytes.sum(keepdims=True), task_rows.sum(keepdims=True))
    segment_task, segment_rows = _segments(job, *parts)
    return Layout(
        files=files,
        size_bytes=size_bytes,
        rows=rows,
        task=np.repeat(np.arange(len(groups)), np.diff(first)),
        first=first,
        task_bytes=task_bytes,
        task_rows=task_rows,
        segment_task=segment_task,
        segment_rows=segment_rows,
        complete_times=[""] * len(groups),
    )


def _segments(job: JobSpec, task_bytes: Ints, task_rows: Ints) -> tuple[Ints, Ints]:
    """The task and the rows of each segment; rows are spread evenly."""
    # Every shard has a segment of its own, however small.
    count = np.maximum(job.shards, -(-task_bytes // job.segment_bytes))
    count[task_rows == 0] = 0
    task = np.repeat(np.arange(len(task_rows)), count)
    place = np.arange(len(task)) - np.repeat(np.cumsum(count) - count, count)
    rows = task_rows[task] // count[task] + (place < task_rows[task] % count[task])
    return task, rows.astype(np.int64)


def places_by_name(names: Sequence[str]) -> Ints:
    """The places of files in the order of their printed names, as in a store.

    Examples
    --------
    >>> places_by_name(["[b.json]", "[a.json]"])
    array([1, 0])
    """
    places: Ints = pc.sort_indices(pa.array(names, pa.string())).to_numpy().astype(np.int64)
    return places
