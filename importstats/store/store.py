"""The store itself: snapshots are appended, and read as tables."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs

from importstats.sources.snapshot import Snapshot
from importstats.store.compaction import CompactionResult, Compactor
from importstats.store.files import Files
from importstats.store.listing import Listing
from importstats.store.marker import Marker
from importstats.store.parquet import STORED_SCHEMAS, result_schema
from importstats.store.queries import Choice, Queries, check_columns, check_filter
from importstats.store.schema import details_table, jobs_table
from importstats.store.segments import Period, TableName
from importstats.store.writing import jobs_apart, new_segment, write_segment


class SnapshotStore:
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
        Where ``path_or_uri`` is a path; for what a URI cannot say.

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

    def __init__(
        self,
        path_or_uri: str | os.PathLike[str],
        *,
        filesystem: pafs.FileSystem | None = None,
    ) -> None:
        self._files = Files(path_or_uri, filesystem)
        self._marker = Marker(self._files)
        self._queries = Queries(self._files)

    @property
    def uri(self) -> str:
        """Where the store is: an absolute path or a URI, without secrets."""
        return self._files.uri

    @property
    def sidecar_files(self) -> Files:
        """The file system below :attr:`uri`, for what is kept beside the tables, as durably."""
        return self._files

    def __repr__(self) -> str:
        return f"SnapshotStore({self.uri!r})"

    def exists(self) -> bool:
        """Whether anything was ever appended. Raises StoreError if the folder cannot be read."""
        return self._marker.exists()

    # --- Writing ---

    def append(self, snapshots: Snapshot | Iterable[Snapshot]) -> None:
        """Store snapshots durably. When it returns, they survive a crash.

        Each job's snapshots become one segment, visible as a whole. Appending a snapshot again
        changes nothing.

        Raises
        ------
        StoreError
            No space, no permission, no bucket, or a store of a newer format. No part of the
            snapshots of the job at which it failed is visible.
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
        """Store snapshots that are tables already, of any number of jobs.

        Parameters
        ----------
        jobs, details : pyarrow.Table
            By :data:`~importstats.store.schema.JOBS_SCHEMA` and
            :data:`~importstats.store.schema.DETAILS_SCHEMA` (text may be dictionary-encoded). A
            details row may be a run over snapshots of ``jobs`` that follow each other.

        Raises
        ------
        StoreError
            As :meth:`append`.
        ValueError
            Another schema, a null or repeated key, or a details row without its jobs row.
        """
        for key, *tables in jobs_apart(jobs, details):
            self._append(key, *tables)

    def _append(self, key: tuple[str, str], jobs: pa.Table, details: pa.Table) -> None:
        segment, *tables = new_segment(key, jobs, details)
        self._marker.check(create=True)
        write_segment(self._files, segment, *tables)

    # --- Reading ---

    def jobs(
        self,
        *,
        job_id: str | None = None,
        source_uri: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        columns: Sequence[str] | None = None,
    ) -> pa.Table:
        """One row per snapshot, by (source_uri, job_id, snapshot_id).

        Parameters
        ----------
        job_id, source_uri : str, optional
            Only this job; only jobs of this server.
        since, until : datetime, optional
            Only snapshots with ``since <= observed_at <= until``; timezone-aware.
        columns : sequence of str, optional
            Only these columns, in this order.

        Returns
        -------
        pyarrow.Table
            By :data:`JOBS_RESULT_SCHEMA`. Empty if nothing fits.

        Raises
        ------
        StoreError
            There is no store, or it cannot be read. A file that is corrupt does not raise: it is
            set aside with a :class:`CorruptSegmentWarning`, and the rest is returned.
        ValueError
            An unknown column, or a time without a time zone.
        """
        wanted = check_columns("jobs", columns)
        return self._queries.jobs(self._choice(source_uri, job_id, since, until), wanted)

    def details(
        self,
        *,
        job_id: str | None = None,
        source_uri: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        columns: Sequence[str] | None = None,
        runs: bool = False,
        filter: pc.Expression | None = None,  # noqa: A002 - as in pyarrow
    ) -> pa.Table:
        """One row per snapshot and file, or per run of equal values of a file.

        Parameters
        ----------
        job_id, source_uri, since, until, columns
            As for :meth:`jobs`.
        runs : bool
            False: exactly what was sent, ``last_*`` equal to the first, by (source_uri, job_id,
            snapshot_id, file_index). True: one row per run, by (source_uri, job_id, file_index,
            snapshot_id). Runs are those of the snapshots in the period and of the columns asked
            for, each as long as can be; how the store is cut into segments does not show. No run
            spans a snapshot without the file.
        filter : pyarrow.compute.Expression, optional
            Only rows for which this holds, pushed down to Parquet. It may use the value columns;
            for times there are ``since`` and ``until``.

        Returns
        -------
        pyarrow.Table
            By :data:`DETAILS_RESULT_SCHEMA`. Empty if nothing fits.

        Raises
        ------
        StoreError, ValueError
            As :meth:`jobs`; ``ValueError`` also for a filter on other columns.
        """
        wanted = check_columns("details", columns)
        schema = result_schema("details", wanted)
        choice = self._choice(source_uri, job_id, since, until)
        check_filter(filter)
        tables = self._queries.details(choice, wanted, filter, runs=runs, max_rows=None)
        return pa.concat_tables([schema.empty_table(), *tables]).unify_dictionaries()

    def iter_details(
        self,
        *,
        job_id: str | None = None,
        source_uri: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        columns: Sequence[str] | None = None,
        runs: bool = False,
        filter: pc.Expression | None = None,  # noqa: A002 - as in pyarrow
        max_rows: int | None = 250_000,
    ) -> Iterator[pa.Table]:
        """The rows of :meth:`details` in the same order, in pieces.

        A piece holds rows of one job and, unless ``runs``, whole snapshots: as many as fit in
        ``max_rows`` rows, but at least one. With ``runs`` a piece is a job. So memory holds one
        piece, the runs of a few jobs (read ahead by other threads) and the times of all snapshots.
        """
        wanted = check_columns("details", columns)
        choice = self._choice(source_uri, job_id, since, until)
        check_filter(filter)
        yield from self._queries.details(choice, wanted, filter, runs=runs, max_rows=max_rows)

    def iter_jobs(
        self,
        *,
        job_id: str | None = None,
        source_uri: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        columns: Sequence[str] | None = None,
        details_columns: Sequence[str] | None = None,
    ) -> Iterator[tuple[pa.Table, pa.Table]]:
        """The rows of :meth:`jobs` with those of :meth:`details`, as runs, a job at a time.

        Both are read together, once: every details row has its jobs rows, also while a collector
        writes. The jobs come in no certain order.
        """
        wanted = check_columns("jobs", columns), check_columns("details", details_columns)
        choice = self._choice(source_uri, job_id, since, until)
        yield from self._queries.jobs_with_details(choice, *wanted)

    def job_keys(self, *, job_id: str | None = None, source_uri: str | None = None) -> pa.Table:
        """The jobs in the store, at the cost of one listing and one small file each.

        Returns
        -------
        pyarrow.Table
            One row per job, by (source_uri, job_id): ``source_uri`` and ``job_id`` (string),
            ``first_observed_at`` and ``last_observed_at`` (timestamp[us, UTC]) of its snapshots,
            ``segments`` (int64), which says how much there is to compact.

        Raises
        ------
        StoreError
            As :meth:`jobs`.
        """
        return self._queries.keys(self._choice(source_uri, job_id))

    def files(
        self,
        table: TableName,
        *,
        job_id: str | None = None,
        source_uri: str | None = None,
    ) -> list[str]:
        """The files that hold the table now, for tools that read Parquet on their own.

        Unlike a glob this leaves out what a running or killed compaction left behind.

        Returns
        -------
        list of str
            Paths as :attr:`uri` has them: local paths, or URIs.
        """
        if table not in STORED_SCHEMAS:
            raise ValueError(f"no table {table!r}; there are 'jobs' and 'details'")
        return self._queries.files(self._choice(source_uri, job_id), table)

    def _choice(
        self,
        source_uri: str | None,
        job_id: str | None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Choice:
        period = Period.of(since, until)
        self._marker.check()
        return Choice(source_uri, job_id, period)

    # --- Compaction ---

    def publish(self) -> None:
        """Write a Delta Lake log, by which other tools read the tables without one wrong row.

        ``jobs`` and ``details`` below :attr:`uri` become Delta tables: metadata only, over the
        store's own files. From then on each compaction adds to the log, so that it is as new as
        the last compaction or call, and keeps what it replaced for an hour, for queries that run.

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
        """Merge small segments into larger ones, in which unchanged rows vanish. Drops nothing.

        Segments of one level are merged into one of the next when there are ``min_segments`` of
        them, so a snapshot is rewritten a logarithmic number of times. May run at any time beside
        writers, readers and other compactors, and may be killed at any time. It also deletes what
        crashed writers and compactors left behind.

        Parameters
        ----------
        job : str or (source_uri, job_id), optional
            Only jobs with this id; only this job.
        min_segments : int
            From 2. When it is worth while.
        final : bool
            Merge all segments of each job whatever their number, as when the job has ended.
            Segments stay apart beyond 32 MiB, which bounds the memory a merge takes.

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
