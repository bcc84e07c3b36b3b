"""What a collector knows of a job, and what it makes of a poll that brought no answer."""

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

#: Asked about this often without success, a job is given up. A server that restarts may not know
#: its jobs for a moment.
_FAILURES_LIMIT: Final = 3


@dataclass
class CollectedJob:
    """What a collector knows of one job.

    Attributes
    ----------
    job_id : str
    state : str or None
        As last heard.
    snapshots : int
        Stored by this collector.
    failures : int
        Polls without an answer since the last one.
    lost : bool
        The server forgot the job before its end was seen. The gap is recorded.
    listed_state : str or None
        As the server's list had it when the job was found.
    given_up : bool
        It never answered and is not asked any more; `error` says why.
    reason : str or None
        Why it failed, or what it is in trouble with, as last heard.
    error : ImportStatsError or None
        Why the last poll brought no answer.
    """

    job_id: str
    state: str | None = None
    snapshots: int = 0
    failures: int = 0
    lost: bool = False
    listed_state: str | None = None
    given_up: bool = False
    reason: str | None = None
    error: ImportStatsError | None = field(default=None, repr=False)
    pause_s: float = 0.0
    since_compaction: int = 0
    latest: Snapshot | None = field(default=None, repr=False)

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to hear of it."""
        return self.lost or self.given_up or self.state in ENDED

    def note_failure(self, error: ImportStatsError, *, is_wanted: bool, follow: bool) -> None:
        """Note that a poll brought no answer, and give the job up if there were enough.

        A job that was never seen and that nobody waits for is not asked about for ever: that is a
        wrong id, a wrong address or a missing privilege. One that was seen is waited for, however
        long its server is away, unless the server says that it does not know it.
        """
        self.failures += 1
        self.error = error
        if self.failures < _FAILURES_LIMIT:
            return
        is_unknown = isinstance(error, JobNotFoundError)
        # Listed as running and yet not known, it may belong to another database: no end was missed.
        if self.latest is not None or (is_unknown and self.listed_state in ENDED):
            self.lost = is_unknown
        else:
            self.given_up = not follow or (is_unknown and is_wanted)


def reason_of(data: ImportProgressData) -> str | None:
    """The reason that the server gives for a job, or for most of its files that have one.

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


def gap(job_id: str, source_uri: str, error: ImportStatsError) -> Snapshot:
    """The record of a poll that brought no answer, as of now."""
    return _gap(job_id, source_uri, str(error), datetime.now(UTC))


def late_gap(job_id: str, source_uri: str, late_s: float) -> Snapshot:
    """The record of a poll that begins only now, as of when it was due."""
    why = f"not polled for {late_s:.0f} s: importstats was suspended, or had too much to do"
    return _gap(job_id, source_uri, why, datetime.now(UTC) - timedelta(seconds=late_s))


def _gap(job_id: str, source_uri: str, why: str, when: datetime) -> Snapshot:
    return Snapshot(when, job_id, source_uri, response=None, error=why)
