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
    """What a collector knows about one job.

    Attributes
    ----------
    job_id : str
    state : str or None
        As last heard.
    snapshots : int
        How many snapshots this collector has stored.
    failures : int
        How many polls had no answer since the last answer.
    lost : bool
        The server forgot the job before its end was seen. The gap is recorded.
    listed_state : str or None
        The state in the server's list when the job was found.
    given_up : bool
        It never answered and is no longer polled; `error` says why.
    reason : str or None
        Why it failed, or what trouble it has, in the latest answer.
    error : ImportStatsError or None
        Why the last poll had no answer.
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
        """Whether the job needs no more polls."""
        return self.lost or self.given_up or self.state in ENDED

    def note_failure(self, error: ImportStatsError, *, is_wanted: bool, follow: bool) -> None:
        """Note a poll without an answer, and give the job up after enough of them.

        A job that was never seen is not polled for ever: it has a wrong id, a wrong address or a
        missing privilege. For a job that was seen, polls go on however long its server is away,
        unless the server says that it does not know the job.
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


def gap(job_id: str, source_uri: str, error: ImportStatsError) -> Snapshot:
    """The record of a poll without an answer, at the current time."""
    return _gap(job_id, source_uri, str(error), datetime.now(UTC))


def late_gap(job_id: str, source_uri: str, late_s: float) -> Snapshot:
    """The record of a poll that begins only now, at the time when it was due."""
    why = f"not polled for {late_s:.0f} s: importstats was suspended, or had too much to do"
    return _gap(job_id, source_uri, why, datetime.now(UTC) - timedelta(seconds=late_s))


def _gap(job_id: str, source_uri: str, why: str, when: datetime) -> Snapshot:
    return Snapshot(when, job_id, source_uri, response=None, error=why)
