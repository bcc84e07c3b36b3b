"""A snapshot: a server's answer with its time and origin."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from importstats.sources.messages import GetImportProgressResponse

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ENTROPY_BITS: Final = 10


def new_snapshot_id(observed_at: datetime, entropy: int | None = None) -> int:
    """An int64 that sorts by time and is unique among the snapshots of one job.

    It is the microseconds since 1970 and 10 random bits, so that two collectors that poll a job in
    the same microsecond do not collide (ours: like Twitter's Snowflake ids, with the store's
    finest unit of time).

    Examples
    --------
    >>> new_snapshot_id(datetime(2026, 5, 18, tzinfo=UTC), entropy=5)
    1821759897600000005
    """
    if entropy is None:
        entropy = secrets.randbits(_ENTROPY_BITS)
    microseconds = (observed_at - _EPOCH) // timedelta(microseconds=1)
    return (microseconds << _ENTROPY_BITS) | (entropy & ((1 << _ENTROPY_BITS) - 1))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One poll of one job.

    Attributes
    ----------
    observed_at : datetime
        When the answer had arrived, timezone-aware UTC.
    job_id : str
        The id that was asked for.
    source_uri : str
        The server's scheme, host, port and path, without user, password or query.
    response : GetImportProgressResponse or None
        The answer; ``None`` for a recorded gap.
    request_latency_s : float or None
        Seconds from sending the request to the end of the answer.
    db_name : str or None
        The job's database, if it is known.
    server_version : str or None
        The server's release, exact or bounded, see :func:`~importstats.releases.release_bounds`.
    error : str or None
        Why there is no answer. It is recorded once for each gap, so that each gap has a cause.
    snapshot_id : int
        See :func:`new_snapshot_id`.
    """

    observed_at: datetime
    job_id: str
    source_uri: str
    response: GetImportProgressResponse | None
    request_latency_s: float | None = None
    db_name: str | None = None
    error: str | None = None
    server_version: str | None = None
    snapshot_id: int = field(default=-1)

    def __post_init__(self) -> None:
        if self.observed_at.tzinfo is None:
            raise ValueError("observed_at has no time zone; snapshots are timed in UTC")
        if self.snapshot_id < 0:
            object.__setattr__(self, "snapshot_id", new_snapshot_id(self.observed_at))
