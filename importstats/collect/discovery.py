"""Discovery: which of the jobs that a server lists to collect."""

from __future__ import annotations

from collections.abc import Iterable

from importstats.collect.jobs import ENDED, CollectedJob
from importstats.sources.messages import ImportJobRecord
from importstats.store import SnapshotStore


class Discovery:
    """Decides what to do about the jobs in a server's list.

    Whether a job's end is stored is looked up only once, not with every list.
    """

    def __init__(self, store: SnapshotStore, source_uri: str) -> None:
        self._store, self._source_uri = store, source_uri
        self._stored: set[tuple[str, str | None]] = set()

    def sort(
        self, records: Iterable[ImportJobRecord], jobs: dict[str, CollectedJob]
    ) -> tuple[list[ImportJobRecord], list[ImportJobRecord]]:
        """The new running jobs, and the new ended ones that this process has not seen.

        Jobs that the server forgot are forgotten here too and removed from `jobs`, so that memory
        stays bounded.
        """
        by_id = {record.job_id: record for record in records}
        self._stored = {known for known in self._stored if known[0] in by_id}
        for job in list(jobs.values()):
            was_never_seen = job.latest is None and job.failures and not job.snapshots
            if job.job_id not in by_id and (job.ended or was_never_seen):
                del jobs[job.job_id]
        running, ended = [], []
        for record in by_id.values():
            known = jobs.get(record.job_id)
            if known is not None and known.given_up:
                continue
            if record.state in ENDED:
                # Lost before: the server found it again.
                if known is None or known.lost:
                    ended.append(record)
            # Ended before: the id is used again.
            elif known is None or known.ended:
                running.append(record)
        return running, ended

    def unstored(self, ended: Iterable[ImportJobRecord]) -> list[ImportJobRecord]:
        """The jobs whose end is not in the store. Raises StoreError if it cannot be read."""
        if not self._store.exists():
            return list(ended)
        return [record for record in ended if not self._is_stored(record)]

    def _is_stored(self, record: ImportJobRecord) -> bool:
        if (record.job_id, record.state) in self._stored:
            return True
        table = self._store.jobs(
            job_id=record.job_id, source_uri=self._source_uri, columns=["state"]
        )
        if record.state not in table["state"].to_pylist():
            return False
        self._stored.add((record.job_id, record.state))
        return True
