"""Listing: a store's segments, found while others write, compact and delete them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

import pyarrow.fs as pafs

from importstats.errors import StoreError
from importstats.store.files import Files
from importstats.store.segments import ALWAYS, SUFFIX, JobFolder, Period, Segment, slug

_T = TypeVar("_T")

_ATTEMPTS: Final = 50


class Listing:
    """Lists a store's segments anew at each call."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def of_jobs(
        self, source_uri: str | None, job_id: str | None, period: Period = ALWAYS
    ) -> dict[JobFolder, list[Segment]]:
        """The chosen jobs' segments that may hold snapshots of the period, by job."""
        clusters = [f"cluster={slug(source_uri)}"] if source_uri is not None else None
        if job_id is None:
            folders = [f"jobs/{cluster}" for cluster in clusters or [""]]
        else:
            infos = self._files.entries("jobs") if clusters is None else []
            clusters = clusters or [info.base_name for info in infos]
            folders = [f"jobs/{cluster}/job={slug(job_id)}" for cluster in clusters]
        earlier, now = self._paths(folders), self._paths(folders)
        listing = _segments_by_job(now)
        if not set(earlier) <= set(now):
            for job, segments in _segments_by_job(earlier).items():
                if not set(segments) <= set(listing.get(job, [])):
                    listing[job] = self.of_job(job)
        within = {job: list(filter(period.may_hold, listing[job])) for job in listing}
        return {job: segments for job, segments in within.items() if segments}

    def of_job(self, job: JobFolder) -> list[Segment]:
        """One job's segments, listed until nothing vanishes between two listings.

        A single listing can miss a merged segment that was created behind its back, and its inputs,
        which were deleted before it came to them.
        """
        folders = [f"jobs/{job.folder}"]
        earlier = _segments_by_job(self._paths(folders)).get(job, [])
        for _ in range(_ATTEMPTS):
            segments = _segments_by_job(self._paths(folders)).get(job, [])
            if set(earlier) <= set(segments):
                return segments
            earlier = segments
        raise self._too_busy(job)

    def _paths(self, folders: Iterable[str]) -> list[str]:
        """The paths of the files in these folders, below the store's root."""
        return [
            self._files.relative(info)
            for folder in folders
            for info in self._files.entries(folder.rstrip("/"), recursive=True)
            if info.type == pafs.FileType.File and not self._files.is_not_yet_whole(info)
        ]

    def sizes(self, job: JobFolder) -> dict[str, int]:
        """The bytes of each segment's two files together, by the segment's name."""
        details = {
            info.base_name: info.size for info in self._files.entries(f"details/{job.folder}")
        }
        return {
            info.base_name.removesuffix(SUFFIX): info.size + details.get(info.base_name, 0)
            for info in self._files.entries(f"jobs/{job.folder}")
            if Segment.parse(job, info.base_name) and not self._files.is_not_yet_whole(info)
        }

    def retrying(
        self, job: JobFolder, segments: Sequence[Segment], read: Callable[[Sequence[Segment]], _T]
    ) -> _T:
        """The result of reading segments; if one is deleted meanwhile, list and read again."""
        for attempt in range(_ATTEMPTS):
            try:
                return read(segments)
            except FileNotFoundError:
                time.sleep(min(0.001 * 2**attempt, 0.2))
                segments = self.of_job(job)
        raise self._too_busy(job)

    def _too_busy(self, job: JobFolder) -> StoreError:
        return StoreError(
            f"{self._files.uri}/jobs/{job.folder} changed during each of {_ATTEMPTS} attempts to "
            "read it; compact less often, or try again"
        )


def _segments_by_job(paths: Iterable[str]) -> dict[JobFolder, list[Segment]]:
    """The segments by job, from the paths of their jobs files."""
    found: dict[JobFolder, list[Segment]] = {}
    for path in paths:
        match = _SEGMENT_PATH.fullmatch(path)
        if match is None:
            continue
        job = JobFolder(match["cluster"], match["job"])
        segment = Segment.parse(job, match["file"])
        if segment is not None:
            found.setdefault(job, []).append(segment)
    return found


_SEGMENT_PATH: Final = re.compile(
    r"jobs/cluster=(?P<cluster>[^/]+)/job=(?P<job>[^/]+)/(?P<file>[^/]+)"
)
