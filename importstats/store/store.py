"""The store itself: snapshots are appended, read as tables, and merged."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from importstats.sources.snapshot import Snapshot
from importstats.store.compaction import CompactionResult, Compactor
from importstats.store.listing import Listing
from importstats.store.schema import details_table, jobs_table
from importstats.store.tables import StoredTables
from importstats.store.writing import jobs_apart, new_segment, write_segment


class SnapshotStore(StoredTables):
    """Snapshots of import jobs in a folder or bucket.

    Nothing is created before the first append. A store may be shared by any number of writers,
    readers and compactors, in one process or many.

    Parameters
    ----------
    path_or_uri : str or path
        A local path, or a URI that :meth:`pyarrow.fs.FileSystem.from_uri` takes (``s3://``,
        ``gs://``, ``abfs://``). Credentials and the S3 endpoint come from the environment
        (``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``AWS_REGION``, ``AWS_ENDPOINT_URL``).
    filesystem : pyarrow.fs.FileSystem, optional
        The file system of the path ``path_or_uri``, if a URI cannot describe it.

    Raises
    ------
    StoreError
        The URI cannot be opened.

    Examples
    --------
    >>> import tempfile
    >>> from datetime import UTC, datetime
    >>> from importstats.sources.answers import parse_response
    >>> answer = parse_response({"code": 0, "data": {"state": "Importing", "progress": 40,
    ...     "details": [{"fileName": "[a.parquet]", "importedRows": 5}]}})
    >>> store = SnapshotStore(tempfile.mkdtemp())
    >>> for second in (0, 5):
    ...     time = datetime(2026, 5, 18, 0, 0, second, tzinfo=UTC)
    ...     store.append(Snapshot(time, "7", "https://milvus:19530", answer))
    >>> store.jobs(columns=["job_id", "progress_pct"]).to_pylist()[0]
    {'job_id': '7', 'progress_pct': 40.0}
    >>> store.details(job_id="7").num_rows, store.details(job_id="7", runs=True).num_rows
    (2, 1)
    """

    def append(self, snapshots: Snapshot | Iterable[Snapshot]) -> None:
        """Store snapshots durably: when it returns, they survive a crash.

        Each job's snapshots become one segment, visible as a whole. Appending a snapshot again
        changes nothing.

        Raises
        ------
        StoreError
            There is no space, permission or bucket, or the store has a newer format. No snapshot
            of the job at which it failed is visible.
        ValueError
            Two of the snapshots have the same job and ``snapshot_id``.
        """
        if isinstance(snapshots, Snapshot):
            snapshots = [snapshots]
        of_job: dict[tuple[str, str], list[Snapshot]] = {}
        for snapshot in snapshots:
            of_job.setdefault((snapshot.source_uri, snapshot.job_id), []).append(snapshot)
        for key, group in of_job.items():
            self._append(key, jobs_table(group), details_table(group))

    def append_tables(self, jobs: pa.Table, details: pa.Table) -> None:
        """Store the snapshots in tables, which may have any number of jobs.

        Parameters
        ----------
        jobs, details : pyarrow.Table
            By :data:`~importstats.store.schema.JOBS_SCHEMA` and
            :data:`~importstats.store.schema.DETAILS_SCHEMA` (text may be dictionary-encoded). A
            details row may be a run over snapshots of ``jobs`` that follow each other.

        Raises
        ------
        StoreError
            As for :meth:`append`.
        ValueError
            A table has another schema or a null or repeated key, or a details row has no jobs row.
        """
        for key, *tables in jobs_apart(jobs, details):
            self._append(key, *tables)

    def _append(self, key: tuple[str, str], jobs: pa.Table, details: pa.Table) -> None:
        segment, *tables = new_segment(key, jobs, details)
        self._marker.check(create=True)
        write_segment(self._files, segment, *tables)

    def publish(self) -> None:
        """Write a Delta Lake log, with which other tools read the tables without one wrong row.

        ``jobs`` and ``details`` below :attr:`uri` become Delta tables: metadata only, over the
        store's own files. From then on each compaction adds to the log, so it is as new as the
        last compaction or call. A compaction keeps what it replaces for an hour, for queries that
        still run.

        Raises
        ------
        StoreError
            There is no store, or it cannot be read or written.
        """
        choice = self._choice(None, None)
        Compactor(self._files).publish(lambda: Listing(self._files).of_jobs(*choice))

    def compact(
        self,
        job: str | tuple[str, str] | None = None,
        *,
        min_segments: int = 16,
        final: bool = False,
    ) -> CompactionResult:
        """Merge small segments into larger ones, without repeated rows; drops no snapshot.

        Segments of one level are merged into one of the next when there are ``min_segments`` of
        them, so a snapshot is rewritten a logarithmic number of times. Compaction may run at any
        time beside writers, readers and other compactors, and may be killed at any time. It also
        deletes what crashed writers and compactors left behind.

        Parameters
        ----------
        job : str or (source_uri, job_id), optional
            Only the jobs with this id, or only this job.
        min_segments : int
            How many segments, at least 2, are worth a merge.
        final : bool
            Merge all of each job's segments, however few, as when the job has ended.
            A merge stops at 32 MiB, which bounds the memory that it takes.

        Returns
        -------
        CompactionResult

        Raises
        ------
        StoreError
            The store cannot be read or written. Nothing is lost.

        Notes
        -----
        Size-tiered compaction as in log-structured merge trees (O'Neil et al., "The log-structured
        merge-tree", Acta Informatica 33, 1996), with run-length encoding over time as the merge.
        """
        if min_segments < 2:
            raise ValueError("min_segments must be at least 2")
        source_uri, job_id = (None, job) if job is None or isinstance(job, str) else job
        jobs = Listing(self._files).of_jobs(*self._choice(source_uri, job_id))
        return Compactor(self._files).compact(jobs, min_segments=min_segments, final=final)
