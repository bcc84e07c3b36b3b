"""A recorder: keeps answers that a program fetched itself, with their times."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from importstats.sources.snapshot import Snapshot
from importstats.store import SnapshotStore
from importstats.store.frames import Response, as_snapshot, flatten_details, flatten_jobs


class Recorder:
    """Keeps answers with their times, and returns the frames that the analyses take.

    It is for a program that polls on its own, say with pymilvus: an ETA, a rate or a straggler
    needs the job's past, which one answer does not have.

    Parameters
    ----------
    store : SnapshotStore, str or Path, optional
        Each answer is stored there before :meth:`add` returns. By default in memory alone.
    source_uri : str
        The server's address, without credentials: it keeps jobs of two servers apart.

    Examples
    --------
    >>> from datetime import timedelta
    >>> start, recorder = datetime(2026, 5, 18, 8, tzinfo=UTC), Recorder()
    >>> for minute, progress in enumerate([42, 48, 55]):
    ...     answer = {"code": 0, "data": {"jobId": "7", "state": "Importing", "progress": progress}}
    ...     recorder.add(answer, observed_at=start + timedelta(minutes=minute))
    >>> recorder.jobs["progress_pct"].tolist()
    [42.0, 48.0, 55.0]
    """

    def __init__(
        self, store: SnapshotStore | str | Path | None = None, *, source_uri: str = ""
    ) -> None:
        self._store = SnapshotStore(store) if isinstance(store, str | Path) else store
        self._source_uri = source_uri
        self._snapshots: list[Snapshot] = []

    def add(self, response: Response, observed_at: datetime | None = None) -> None:
        """Keep one answer.

        Parameters
        ----------
        response : mapping, bytes, str, HTTP response or GetImportProgressResponse
            As :func:`~importstats.flatten_details` takes it.
        observed_at : datetime, optional
            When the answer came, with a time zone. By default now.

        Raises
        ------
        ImportStatsError
            The response is no answer about a job, or reports an error.
        StoreError
            The answer could not be stored.
        ValueError
            `observed_at` has no time zone, or the answer does not say which job it is about.
        """
        when = datetime.now(UTC) if observed_at is None else observed_at
        snapshot = as_snapshot(response, when, self._source_uri)
        if not snapshot.job_id:
            raise ValueError("the answer has no jobId, so nothing says which job it belongs to")
        if self._store is not None:
            self._store.append(snapshot)
        self._snapshots.append(snapshot)

    def extend(self, answers: Iterable[tuple[Response, datetime]]) -> None:
        """Keep many answers, each with its time. Raises as :meth:`add`."""
        for response, observed_at in answers:
            self.add(response, observed_at)

    @property
    def jobs(self) -> pd.DataFrame:
        """The jobs frame of the answers that were added."""
        return flatten_jobs(self._snapshots)

    @property
    def details(self) -> pd.DataFrame:
        """The details frame of the answers that were added."""
        return flatten_details(self._snapshots)
