"""A recorder: answers that a program fetched itself, kept with their times."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from importstats.sources.snapshot import Snapshot
from importstats.store import SnapshotStore
from importstats.store.frames import Response, as_snapshot, flatten_details, flatten_jobs


class Recorder:
    """Answers with the times at which they came, and the frames that the analyses take.

    For a program that polls on its own, say with pymilvus: an ETA, a rate or a straggler needs the
    history of a job, and an answer holds none.

    Parameters
    ----------
    store : SnapshotStore, str or Path, optional
        Where each answer is stored before :meth:`add` returns. Without it they are kept in memory.
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
            When it came, with a time zone. By default now.

        Raises
        ------
        ImportStatsError
            It is no answer about a job, or is an error of the server.
        StoreError
            It could not be stored.
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
        """The jobs frame of what was added to this recorder."""
        return flatten_jobs(self._snapshots)

    @property
    def details(self) -> pd.DataFrame:
        """The details frame of what was added to this recorder."""
        return flatten_details(self._snapshots)
