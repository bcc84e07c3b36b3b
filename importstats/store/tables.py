"""Reading a store's tables by job, time and column."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs

from importstats.store.files import Files
from importstats.store.marker import Marker
from importstats.store.parquet import STORED_SCHEMAS, result_schema
from importstats.store.queries import Choice, Queries, check_columns, check_filter
from importstats.store.segments import Period, TableName


class StoredTables:
    """The reading half of a store; see :class:`~importstats.SnapshotStore`."""

    def __init__(
        self, path_or_uri: str | os.PathLike[str], *, filesystem: pafs.FileSystem | None = None
    ) -> None:
        self._files = Files(path_or_uri, filesystem)
        self._marker = Marker(self._files)
        self._queries = Queries(self._files)

    @property
    def uri(self) -> str:
        """The store's absolute path or URI, without secrets."""
        return self._files.uri

    @property
    def sidecar_files(self) -> Files:
        """The files below :attr:`uri`, for other data that must be as durable as the tables."""
        return self._files

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.uri!r})"

    def exists(self) -> bool:
        """Whether anything was ever appended. Raises StoreError if the folder cannot be read."""
        return self._marker.exists()

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
            Only this job; only this server's jobs.
        since, until : datetime, optional
            Only snapshots with ``since <= observed_at <= until``; timezone-aware.
        columns : sequence of str, optional
            Only these columns, in this order.

        Returns
        -------
        pyarrow.Table
            With :data:`JOBS_RESULT_SCHEMA`. Empty if nothing fits.

        Raises
        ------
        StoreError
            There is no store, or it cannot be read. A corrupt file does not raise: it is left out
            with a :class:`CorruptSegmentWarning`.
        ValueError
            A column is unknown, or a time has no time zone.
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
            for, each as long as possible, however the store is cut into segments. No run spans a
            snapshot without the file.
        filter : pyarrow.compute.Expression, optional
            Only rows for which this holds, pushed down to Parquet. It may use the value columns;
            for times there are ``since`` and ``until``.

        Returns
        -------
        pyarrow.Table
            With :data:`DETAILS_RESULT_SCHEMA`. Empty if nothing fits.

        Raises
        ------
        StoreError, ValueError
            As for :meth:`jobs`; ``ValueError`` also if a filter uses other columns.
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
        piece for each core, the runs of a few jobs and the times of all snapshots.
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
        """The rows of :meth:`jobs` and :meth:`details`, as runs, one job at a time.

        Both are read together, once: every details row has its jobs rows, even while a collector
        writes. The jobs come in no certain order. If `details_columns` is empty, no details file
        is read.
        """
        wanted = check_columns("jobs", columns), check_columns("details", details_columns)
        choice = self._choice(source_uri, job_id, since, until)
        yield from self._queries.jobs_with_details(choice, *wanted)

    def job_keys(self, *, job_id: str | None = None, source_uri: str | None = None) -> pa.Table:
        """The store's jobs, at the cost of one listing and one small file each.

        Returns
        -------
        pyarrow.Table
            One row per job, by (source_uri, job_id): ``source_uri`` and ``job_id`` (string),
            ``first_observed_at`` and ``last_observed_at`` (timestamp[us, UTC]) of its snapshots,
            ``segments`` (int64), which says how much there is to compact.
        """
        return self._queries.keys(self._choice(source_uri, job_id))

    def files(
        self, table: TableName, *, job_id: str | None = None, source_uri: str | None = None
    ) -> list[str]:
        """The files that hold the table now, for tools that read Parquet on their own.

        Unlike a glob this leaves out what a running or killed compaction left behind.

        Returns
        -------
        list of str
            Local paths or URIs, as :attr:`uri` is one.
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
        period = Period.from_times(since, until)
        self._marker.check()
        return Choice(source_uri, job_id, period)
