"""What a collector knows about a job, and the record of a poll without an answer."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from importstats.errors import ImportStatsError, JobNotFoundError
from importstats.sources.messages import ImportProgressData
from importstats.sources.snapshot import Snapshot

#: Job states after which nothing changes any more.
ENDED: Final = frozenset({"Completed", "Failed"})

#: After this many polls without success a job is given up. A restarting server may not know its
#: jobs for a moment.
_FAILURES_LIMIT: Final = 3


@dataclass
class CollectedJob:
    """What a collector knows about one job."""

    job_id: str
    #: The state in the latest answer.
    state: str | None = None
    #: How many snapshots this collector has stored.
    snapshots: int = 0
    #: How many polls had no answer since the latest answer.
    failures: int = 0
    #: Whether the server forgot the job before its end was seen. The gap is recorded.
    lost: bool = False
    #: The state in the server's list when the job was found.
    listed_state: str | None = None
    #: Whether the job never answered and is no longer polled; `error` says why.
    given_up: bool = False
    #: Why the job failed, or what trouble it has, in the latest answer.
    reason: str | None = None
    #: Why the last poll had no answer.
    error: ImportStatsError | None = field(default=None, repr=False)
    pause_s: float = 0.0
    since_compaction: int = 0
    latest: Snapshot | None = field(default=None, repr=False)

    @property
    def ended(self) -> bool:
        """Whether the job needs no more polls."""
        return self.lost or self.given_up or self.state in ENDED

    def note_failure(self, error: ImportStatsError, *, is_wanted: bool, follow: bool) -> None:
        """Note a poll without an answer, and give the job up after enough of them.

        A job that was never seen is not polled for ever: its id or address is wrong, or a privilege
        is missing. A job that was seen is polled however long its server is away, unless the server
        says that it does not know the job.
        """
        self.failures += 1
        self.error = error
        if self.failures < _FAILURES_LIMIT:
            return
        is_unknown = isinstance(error, JobNotFoundError)
        # A job that is listed as running but not known may belong to another database: no end was
        # missed.
        if self.latest is not None or (is_unknown and self.listed_state in ENDED):
            self.lost = is_unknown
        else:
            self.given_up = not follow or (is_unknown and is_wanted)


def reason_of(data: ImportProgressData) -> str | None:
    """The reason that the server gives for a job, or the most frequent one of its files.

    Examples
    --------
    >>> from importstats.sources.messages import ImportProgressDetail
    >>> files = [ImportProgressDetail(reason=text) for text in ("disk quota", None, "disk quota")]
    >>> reason_of(ImportProgressData(state="Failed", details=files))
    'disk quota'
    """
    if data.reason:
        return data.reason
    reasons = Counter(detail.reason for detail in data.details if detail.reason)
    return reasons.most_common(1)[0][0] if reasons else None


def gap(job_id: str, source_uri: str, why: str, *, ago_s: float = 0.0) -> Snapshot:
    """The record of a poll without an answer, now or some seconds ago."""
    at = datetime.now(UTC) - timedelta(seconds=ago_s)
    return Snapshot(at, job_id, source_uri, response=None, error=why)
