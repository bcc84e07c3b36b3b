"""A source of import jobs: what the collector asks of a server, whatever it speaks."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Protocol

from importstats.closing import Closing
from importstats.sources.messages import GetImportProgressResponse, ImportJobRecord
from importstats.sources.snapshot import Snapshot


class ProgressSource(Protocol):
    """What a collector needs of a client."""

    @property
    def uri(self) -> str:
        """The server, without secrets."""

    def snapshot(self, job_id: str) -> Snapshot:
        """One poll of one job."""

    def list_jobs(self, collection: str | None = None) -> Iterator[ImportJobRecord]:
        """The jobs the server knows."""

    def close(self) -> None:
        """Close the connections."""


class Client(Closing):
    """What the clients of all protocols share.

    Attributes
    ----------
    uri : str
        The server, without secrets.
    db_name : str or None
        The database, if one was named.
    timeout : float
        Seconds to wait for an answer.
    """

    uri: str
    db_name: str | None
    timeout: float

    def __repr__(self) -> str:
        database = f", db_name={self.db_name!r}" if self.db_name else ""
        return f"{type(self).__name__}({self.uri!r}{database})"

    @abstractmethod
    def describe(self, job_id: str) -> GetImportProgressResponse:
        """The progress of one job, now."""

    @abstractmethod
    def list_jobs(self, collection: str | None = None) -> Iterator[ImportJobRecord]:
        """The jobs the server knows, of one collection or of all."""

    def snapshot(self, job_id: str) -> Snapshot:
        """The same as :meth:`describe`, with the time of its arrival and how long it took."""
        started = time.monotonic()
        answer = self.describe(job_id)
        latency = time.monotonic() - started
        return Snapshot(
            observed_at=datetime.now(UTC),
            job_id=job_id,
            source_uri=self.uri,
            response=answer,
            request_latency_s=latency,
            db_name=self.db_name,
        )
