"""A source of import jobs: the interface between the collector and all clients."""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Protocol

from importstats.closing import Closing
from importstats.sources.messages import GetImportProgressResponse, ImportJobRecord
from importstats.sources.snapshot import Snapshot


class ProgressSource(Protocol):
    """The part of a client that a collector uses."""

    @property
    def uri(self) -> str:
        """The server, without secrets."""

    def snapshot(self, job_id: str) -> Snapshot:
        """One poll of one job."""

    def list_jobs(self, collection: str | None = None) -> Iterator[ImportJobRecord]:
        """The jobs that the server knows."""

    def close(self) -> None:
        """Close the connections."""


class Client(Closing):
    """The base of the clients for all protocols.

    Parameters
    ----------
    uri : str
        The server, without secrets.
    timeout : float
        Seconds for a request.
    databases : tuple of str
        The databases to ask; empty for the server's default.

    Raises
    ------
    ValueError
        The timeout is not a positive number.
    """

    def __init__(self, uri: str, timeout: float, databases: tuple[str, ...]) -> None:
        if not 0 < timeout < math.inf:
            raise ValueError(f"the timeout has to be a positive number of seconds: {timeout=}")
        self.uri = uri
        self.timeout = timeout
        self.databases = databases
        # From the latest list alone: jobs that the server forgot leave it, which bounds memory.
        self._database_of: dict[str, tuple[str, bool]] = {}

    def __repr__(self) -> str:
        named = self.databases[0] if len(self.databases) == 1 else list(self.databases)
        database = f", db_name={named!r}" if self.databases else ""
        return f"{type(self).__name__}({self.uri!r}{database})"

    @property
    def server_version(self) -> str | None:
        """The server's release as far as it is known, see :mod:`importstats.releases`."""
        return None

    @abstractmethod
    def describe(self, job_id: str) -> GetImportProgressResponse:
        """One job's progress now."""

    @abstractmethod
    def list_jobs(self, collection: str | None = None) -> Iterator[ImportJobRecord]:
        """The jobs that the server knows, in one collection or in all."""

    def snapshot(self, job_id: str) -> Snapshot:
        """The answer of :meth:`describe` with the time at which it came and how long it took."""
        started = time.monotonic()
        answer = self.describe(job_id)
        latency = time.monotonic() - started
        database, is_certain = self._database_of.get(job_id, (None, False))
        return Snapshot(
            observed_at=datetime.now(UTC),
            job_id=job_id,
            source_uri=self.uri,
            response=answer,
            request_latency_s=latency,
            db_name=database if is_certain else None,
            server_version=self.server_version,
        )

    def _databases_to_ask(self, job_id: str) -> tuple[str | None, ...]:
        """The database in which the job was listed; if it was not, all that the client has."""
        listed_in, _ = self._database_of.get(job_id, (None, False))
        return (listed_in,) if listed_in is not None else self.databases or (None,)


def note_database(
    found: dict[str, tuple[str, bool]],
    record: ImportJobRecord,
    database: str | None,
    *,
    is_certain: bool,
) -> None:
    """Note in which database a job was listed, in `found` and, if it is certain, in the record.

    A list of all collections may have other databases' jobs; a list of one collection has none.
    """
    if database is not None and record.job_id not in found:
        found[record.job_id] = (database, is_certain)
        record.db_name = database if is_certain else None
