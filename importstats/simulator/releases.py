"""The releases of the server: the scale of each, and what each sends and does in another way.

A *scale* turns the hidden phase of a job and the share that is done of it into ``progress``. There
are six, and most other differences came with some patch release. So a
:class:`Release` is derived from its version by the thresholds below, which are read from the public
source of the data coordinator and the data node (``internal/datacoord/import_util.go``,
``internal/datanode/importv2``) of the tagged releases.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from importstats.arrays import Ints
from importstats.simulator.units import GIB

#: What Go's conversion of "not a number" to int64 gives on amd64.
NOT_A_PROGRESS: Final = -(2**63)


class Phase(StrEnum):
    """The hidden phases of an import job, in their order."""

    PENDING = "Pending"
    PRE_IMPORTING = "PreImporting"
    RESHARDING = "Resharding"
    PLANNING = "Planning"
    IMPORTING = "Importing"
    SORTING = "Sorting"
    INDEX_BUILDING = "IndexBuilding"
    UNCOMMITTED = "Uncommitted"
    COMMITTING = "Committing"
    COMPLETED = "Completed"
    FAILED = "Failed"


Scale = Mapping[Phase, tuple[int, int]]

_PENDING: Final = {Phase.PENDING: (0, 10)}
_RC: Final[Scale] = _PENDING | {
    Phase.PRE_IMPORTING: (10, 40),
    Phase.IMPORTING: (50, 40),
    Phase.INDEX_BUILDING: (90, 0),
}
_OPENED: Final[Scale] = _PENDING | {
    Phase.PRE_IMPORTING: (10, 30),
    Phase.IMPORTING: (40, 30),
    Phase.INDEX_BUILDING: (70, 0),
}
_INDEXED: Final[Scale] = {**_OPENED, Phase.INDEX_BUILDING: (70, 20)}
_SORTED: Final[Scale] = {**_OPENED, Phase.SORTING: (70, 10), Phase.INDEX_BUILDING: (80, 10)}
_RESHARDED: Final[Scale] = _PENDING | {
    Phase.PRE_IMPORTING: (10, 5),
    Phase.RESHARDING: (15, 30),
    Phase.PLANNING: (45, 0),
    Phase.IMPORTING: (50, 10),
    Phase.INDEX_BUILDING: (60, 30),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One release of the server."""

    #: As in "2.6" or "2.4.12".
    name: str
    #: At how many points of ``progress`` each phase starts, and how many it spans. A phase that is
    #: missing does not exist in this release. Up to 2.4.12 index building is a part of Importing
    #: and adds nothing, so its span is 0.
    scale: Scale
    #: Whether a job waits for a commit (3.0).
    two_phase: bool
    #: Whether it is Import V3, whose details count the rows hashed, file by file.
    reshards: bool
    #: Whether a data node imports four files per core at once (from 2.5.17), or 16.
    pool_per_core: bool
    #: Cap on the files of one import task (``maxSizeInMBPerImportTask``).
    task_cap_bytes: int
    #: Whether a task that goes back keeps the rows it had (before 2.6.18).
    keeps_rows: bool
    #: Whether a job says when it was created (from 2.6.5).
    has_create_time: bool
    #: Whether a job sends its rows.
    job_rows: bool
    #: 200 up to 2.4.2, then 0.
    success_code: int
    #: Whether ``fileName`` is printed as a protobuf (up to 2.4.4) or as a list.
    printed_name: Literal["proto", "list"]
    #: Whether there is the path ``describe`` (from 2.4.14).
    has_describe: bool
    #: What happens if an unknown job is asked for: the coordinator crashes (up to 2.4.4), or
    #: answers with the state Failed or with an error. It is not certain which releases between
    #: 2.4.5 and 2.4.12 send Failed; ours do.
    unknown_job: Literal["crash", "failed", "error"]
    #: The number of that error.
    unknown_job_code: int
    #: Whether a completed job can no longer fail (from 2.6.10).
    ends_are_final: bool
    #: Whether details count segments that sorting replaces, and so fall to 0 once these are
    #: deleted.
    drops_counted_segments: bool
    #: Whether a job without a row completes straight after PreImporting (from 2.5.14).
    empty_job_ends_early: bool
    #: Whether the privilege is checked for each collection (from 2.6.7), or for each database.
    denies_by_collection: bool
    #: Whether a failed file ends its node's import loop for good (2.4.0).
    failure_ends_imports: bool
    #: Whether the management port lists tasks (from 2.5).
    has_management: bool
    #: Whether the management port asks for a user if the server does (from 2.6.10).
    asks_for_user: bool
    #: Whether sorting is listed as a compaction (from 2.6).
    sorts_by_compaction: bool

    @property
    def sorts(self) -> bool:
        """Whether segments are sorted after they are imported."""
        return Phase.SORTING in self.scale

    def progress(self, phase: Phase, done: int, of: int) -> int:
        """Percent of the job when `done` of `of` parts of a phase are done.

        The quotient is of single precision and the points are cut, as the server computes them.

        Examples
        --------
        >>> release_of("2.6").progress(Phase.IMPORTING, 53, 100), RELEASES["2.4.12"].progress(
        ...     Phase.IMPORTING, 7, 7)
        (55, 70)
        """
        if phase is Phase.FAILED:
            return 0
        if phase is Phase.COMPLETED:
            return 100
        if phase in (Phase.UNCOMMITTED, Phase.COMMITTING):
            return 99
        base, span = self.scale[phase]
        share = np.float32(done) / np.float32(of) if of else np.float32(1)
        return base + int(share * np.float32(span))


def percent_done(rows: Ints, total: Ints) -> npt.NDArray[np.int8]:
    """Percent of each task: a quotient of single precision, cut; 100 of nothing.

    Examples
    --------
    >>> percent_done(np.array([53, 59, 1, 0]), np.array([100, 100, 3, 0])).tolist()
    [52, 58, 33, 100]
    """
    share = rows.astype(np.float32) / np.maximum(total, 1).astype(np.float32)
    percent: npt.NDArray[np.int8] = (share * np.float32(100)).astype(np.int8)
    percent[total == 0] = 100
    return percent


_VERSION: Final = re.compile(r"v?(\d+)\.(\d+)(?:\.(\d+))?(-rc\.1|-v3)?")
#: The newest patch release of each line that we know, which its name without a patch stands for.
_NEWEST: Final = {(2, 4): 23, (2, 5): 27, (2, 6): 20, (3, 0): 0}


def release_of(version: str) -> Release:
    """The release of a version: ``2.4.7``, a whole line (``2.6``), ``2.4.0-rc.1`` or ``3.0-v3``.

    ``3.0-v3`` is a 3.0 with Import V3.

    Raises
    ------
    ValueError
        It is no version, or one before 2.4 (which has no import jobs).

    Examples
    --------
    >>> release_of("2.4.7").scale[Phase.INDEX_BUILDING], release_of("2.4.13").keeps_rows
    ((70, 0), True)
    """
    parsed = _VERSION.fullmatch(version)
    if parsed is None:
        raise ValueError(f"no release {version!r}; releases are named as {', '.join(RELEASES)}")
    major, minor, patch, suffix = parsed.groups()
    line = (int(major), int(minor))
    if line < (2, 4):
        raise ValueError(f"no release {version!r}: there are import jobs from 2.4.0 on")
    at = (*line, int(patch) if patch is not None else _NEWEST.get(line, 0))
    early = suffix == "-rc.1"
    return Release(
        name=version,
        scale=_scale(at, suffix),
        two_phase=at >= (3, 0, 0),
        reshards=suffix == "-v3",
        pool_per_core=at >= (2, 5, 17),
        task_cap_bytes=(16 if at >= (2, 6, 0) else 6) * GIB,
        keeps_rows=at < (2, 6, 18),
        has_create_time=at >= (2, 6, 5),
        job_rows=at >= (2, 4, 3),
        success_code=0 if at >= (2, 4, 3) else 200,
        printed_name="list" if at >= (2, 4, 5) else "proto",
        has_describe=at >= (2, 4, 14),
        unknown_job="crash" if at < (2, 4, 5) else "failed" if at < (2, 4, 13) else "error",
        unknown_job_code=2101 if at >= (2, 6, 19) else 2100,
        ends_are_final=at >= (2, 6, 10),
        drops_counted_segments=at >= (2, 5, 0) and suffix != "-v3",
        empty_job_ends_early=at >= (2, 5, 14),
        denies_by_collection=at >= (2, 6, 7),
        failure_ends_imports=at == (2, 4, 0) and not early,
        has_management=at >= (2, 5, 0),
        asks_for_user=at >= (2, 6, 10),
        sorts_by_compaction=at >= (2, 6, 0),
    )


def _scale(at: tuple[int, int, int], suffix: str | None) -> Scale:
    if suffix == "-rc.1":
        return _RC
    if suffix == "-v3":
        return _RESHARDED
    if at < (2, 4, 13):
        return _OPENED
    return _INDEXED if at < (2, 5, 0) else _SORTED


#: Releases that differ in what they send; :func:`release_of` knows those between them as well.
RELEASES: Final[Mapping[str, Release]] = {
    name: release_of(name)
    for name in (
        "2.4.0-rc.1",
        "2.4.0",
        "2.4.4",
        "2.4.12",
        "2.4",
        "2.5",
        "2.6.4",
        "2.6",
        "3.0",
        "3.0-v3",
    )
}
