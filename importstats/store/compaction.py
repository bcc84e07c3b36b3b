"""Compaction: small segments merged into larger ones, while others read and write."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Final

import numpy as np
import pyarrow.fs as pafs

from importstats.store.delta import DataFile, DeltaLog
from importstats.store.disk import TEMPORARY, is_temporary
from importstats.store.files import Files
from importstats.store.listing import Listing
from importstats.store.parquet import JOBS_KEY, VALUE_COLUMNS, result_schema
from importstats.store.reading import JobsPart, Reader
from importstats.store.runs import concat, extend, run_rows
from importstats.store.schema import DETAILS_SCHEMA, JOBS_SCHEMA
from importstats.store.segments import ALWAYS, SUFFIX, JobFolder, Segment, TableName
from importstats.store.writing import write_segment

# A merge holds its inputs in memory: 32 MiB of Parquet are some millions of runs.
_MAX_MERGE_BYTES: Final = 32 * 2**20
_STALE_AFTER_S: Final = 6 * 3600
# The longest time that a query by the Delta log may take.
_GRACE_S: Final = 3600


@dataclass(frozen=True, slots=True)
class CompactionResult:
    """The effect of a compaction, summed over its jobs.

    Attributes
    ----------
    segments_before, segments_after : int
        Segments of those jobs.
    bytes_before, bytes_after : int
        Bytes of their jobs and details files.
    """

    segments_before: int
    segments_after: int
    bytes_before: int
    bytes_after: int


class Compactor:
    """Merges the segments of jobs, and deletes what crashed writers and compactors left."""

    def __init__(self, files: Files) -> None:
        self._files, self._listing = files, Listing(files)
        self._reader = Reader(files, sets_aside=True)
        self._logs: dict[TableName, DeltaLog] = {
            "jobs": DeltaLog(files, "jobs"),
            "details": DeltaLog(files, "details"),
        }

    def compact(
        self, jobs: Iterable[JobFolder], *, min_segments: int, final: bool
    ) -> CompactionResult:
        """Compact jobs, see :meth:`importstats.store.SnapshotStore.compact`."""
        total = np.zeros(4, np.int64)
        for each in jobs:
            before = self._listing.sizes(each)
            self._compact_job(each, 2 if final else min_segments, by_level=not final)
            after = self._listing.sizes(each)
            total += [len(before), len(after), sum(before.values()), sum(after.values())]
        for info in self._files.entries(TEMPORARY):
            if _is_stale(info):
                self._files.delete(self._files.relative(info))
        return CompactionResult(*total.tolist())

    def publish(self, find_jobs: Callable[[], Iterable[JobFolder]]) -> None:
        """Write into each table's Delta log which files of the jobs found count."""

        def find(table: TableName) -> dict[str, DataFile]:
            found: dict[str, DataFile] = {}
            for job in find_jobs():
                found |= self._counting(job, table)
            return found

        for table, log in self._logs.items():
            log.publish(partial(find, table))

    def _has_log(self) -> bool:
        return any(log.exists() for log in self._logs.values())

    def _counting(self, job: JobFolder, table: TableName) -> dict[str, DataFile]:
        """The job's files that count, of which no two have a snapshot in common."""

        def find(segments: Sequence[Segment]) -> list[Segment]:
            remaining = list(segments)
            for parts in self._overlapping_parts(segments):
                counting = [part for part in parts if part.kept.any()]
                remaining = _without_covered(remaining, parts)
                if not all(part.kept.all() for part in counting):
                    merged, _ = self._merge([part.segment for part in counting])
                    if merged:
                        return find(self._listing.of_job(job))
            return remaining

        chosen = self._listing.retrying(job, self._listing.of_job(job), find)
        names = {segment.name for segment in chosen}
        return {
            f"{job.folder}/{info.base_name}": DataFile(info.size, (info.mtime_ns or 0) // 10**6)
            for info in self._files.entries(f"{table}/{job.folder}")
            if info.base_name.removesuffix(SUFFIX) in names
        }

    def _compact_job(self, job: JobFolder, min_segments: int, *, by_level: bool) -> None:
        unusable: set[Segment] = set()
        made: set[Segment] = set()
        # If an input vanishes, another compactor has merged it, and will do the rest.
        with suppress(FileNotFoundError):
            while True:
                segments = self._drop_covered(self._listing.of_job(job))
                usable = [segment for segment in segments if segment not in unusable]
                batch = _plan(usable, self._listing.sizes(job), min_segments, by_level=by_level)
                if not batch:
                    break
                merged, damaged = self._merge(batch)
                made |= merged
                unusable |= damaged
            if not by_level:
                self._verify([segment for segment in usable if segment not in made])
        if self._has_log():
            for table, log in self._logs.items():
                log.publish(partial(self._counting, job, table), f"{job.folder}/")
            with suppress(FileNotFoundError):
                self._delete_unread(job)
        if made or unusable or not by_level:
            self._delete_leftovers(job)

    def _verify(self, segments: Sequence[Segment]) -> None:
        """Read segments that were not merged: the reader sets damaged files aside."""
        for segment in segments:
            state = self._reader.read_jobs([segment], JOBS_SCHEMA.names, ALWAYS)
            self._reader.read_runs(state, VALUE_COLUMNS, None)

    def _merge(self, batch: Sequence[Segment]) -> tuple[set[Segment], set[Segment]]:
        """Replace segments by one; returns that one, and the damaged ones that prevent it."""
        state = self._reader.read_jobs(batch, JOBS_SCHEMA.names, ALWAYS)
        parts, damaged = self._reader.read_runs(state, VALUE_COLUMNS, None)
        damaged |= set(batch) - {part.segment for part in state.parts}
        if damaged:
            return set(), damaged
        runs = extend(concat(parts, result_schema("details", VALUE_COLUMNS)))
        level = max(segment.level for segment in batch) + 1
        merged = Segment.create(batch[0].job, level, state.rows["observed_at"])
        write_segment(
            self._files, merged, state.rows, run_rows(runs, state.timeline, DETAILS_SCHEMA)
        )
        if not self._has_log():
            self._delete(batch)
        return {merged}, set()

    def _delete(self, segments: Sequence[Segment]) -> None:
        for table in self._logs:
            for segment in segments:
                self._files.delete(segment.path(table))

    def _delete_unread(self, job: JobFolder) -> None:
        """Delete segments that others cover, once no reader of a Delta log can need them.

        Such a reader goes by the log as it was when its query began. Only after a commit without
        them, which no commit begun earlier can follow, is it certain that no log will name them.
        """
        for parts in self._overlapping_parts(self._listing.of_job(job)):
            for segment in _covered(parts):
                path = f"{job.folder}/{segment.name}{SUFFIX}"
                if all(log.is_unread(path, _GRACE_S) for log in self._logs.values()):
                    self._delete([segment])

    def _drop_covered(self, segments: Sequence[Segment]) -> list[Segment]:
        """Delete segments whose snapshots are all in preferred ones; returns the others.

        A killed compactor leaves such segments. If there is a Delta log, `_delete_unread` deletes
        them later.
        """
        remaining = list(segments)
        for parts in self._overlapping_parts(segments):
            if not self._has_log():
                self._delete(_covered(parts))
            remaining = _without_covered(remaining, parts)
        return remaining

    def _overlapping_parts(self, segments: Sequence[Segment]) -> Iterator[list[JobsPart]]:
        """The snapshots of each group of segments whose times overlap: only these can share any."""
        for group in _overlapping(segments):
            yield self._reader.read_jobs(group, JOBS_KEY, ALWAYS).parts

    def _delete_leftovers(self, job: JobFolder) -> None:
        """Delete a dead writer's old files: details without a jobs file, and unfinished files."""
        details = self._files.entries(f"details/{job.folder}")
        committed = {segment.name for segment in self._listing.of_job(job)}
        for info in details:
            name = info.base_name.removesuffix(SUFFIX)
            # A writer that slept may commit it at this moment, so look again.
            if (
                name not in committed
                and _is_stale(info)
                and not self._files.exists(f"jobs/{job.folder}/{name}{SUFFIX}")
            ):
                self._files.delete(self._files.relative(info))
        for info in self._files.entries(f"jobs/{job.folder}"):
            is_begun = is_temporary(info.base_name) or self._files.is_not_yet_whole(info)
            if is_begun and _is_stale(info):
                self._files.delete(self._files.relative(info))


def _is_stale(info: pafs.FileInfo) -> bool:
    return info.mtime_ns is not None and info.mtime_ns / 1e9 < time.time() - _STALE_AFTER_S


def _covered(parts: Iterable[JobsPart]) -> list[Segment]:
    """The segments whose snapshots are all in preferred ones."""
    return [part.segment for part in parts if not part.kept.any()]


def _without_covered(segments: Iterable[Segment], parts: Iterable[JobsPart]) -> list[Segment]:
    covered = _covered(parts)
    return [segment for segment in segments if segment not in covered]


def _overlapping(segments: Iterable[Segment]) -> list[list[Segment]]:
    """Groups of two and more segments whose times overlap."""
    groups: list[list[Segment]] = []
    reach = ""
    for segment in sorted(segments, key=lambda each: each.first):
        if segment.first > reach:
            groups.append([])
        groups[-1].append(segment)
        reach = max(reach, segment.last)
    return [group for group in groups if len(group) > 1]


def _plan(
    segments: Sequence[Segment], sizes: dict[str, int], min_segments: int, *, by_level: bool
) -> list[Segment]:
    """The neighbours in time to merge next; empty if no merge is worth while."""
    by_time = sorted(segments, key=lambda each: (each.level if by_level else 0, each.first))
    for _, group in groupby(by_time, key=lambda each: each.level if by_level else 0):
        batch: list[Segment] = []
        size = 0
        for segment in group:
            size += sizes.get(segment.name, 0)
            if batch and size > _MAX_MERGE_BYTES:
                if len(batch) >= min_segments:
                    return batch
                batch, size = [], sizes.get(segment.name, 0)
            batch.append(segment)
        if len(batch) >= min_segments:
            return batch
    return []
