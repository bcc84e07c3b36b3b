"""The store: snapshots as Parquet files in a folder or a bucket, readable by anything.

Layout::

    STORE/_importstats.json                                       format version
    STORE/jobs/cluster=CLUSTER/job=JOB/SEGMENT.parquet            one row per snapshot
    STORE/details/cluster=CLUSTER/job=JOB/SEGMENT.parquet         one row per run
    STORE/_tmp/                                                   files being written (disk only)
    STORE/_corrupt/                                               files set aside, never deleted

``CLUSTER`` and ``JOB`` are made from ``source_uri`` and ``job_id`` (see :func:`slug`), which stand
unchanged in the files' own columns. A *segment* holds whole snapshots of one job and has the same
name in both tables: ``FIRST-LAST-LEVEL-RANDOM``, the UTC times of its first and last snapshot,
``L0`` as appended or ``L1`` and up as compacted, and 48 random bits.

Rules that every reader and writer keeps, and that need no lock:

* The jobs file is the commit: the details file is written before it and deleted after it. Each
  appears whole (a rename on disk, one put in a bucket), durable before ``append`` returns.
* A details file is complete in itself with its jobs file: a row is a *run*, which says that a file
  had these values in every snapshot of its segment from ``snapshot_id`` to ``last_snapshot_id``.
* Compaction writes the merged segment, one level above its inputs, then deletes the inputs. Where
  segments share a snapshot, the one of the highest level (then name) counts. So a reader sees each
  snapshot exactly once at any moment, with any number of writers and compactors, one of which may
  have been killed half way.

A reader that knows nothing of this and globs ``STORE/jobs/**/*.parquet`` never misses a row, but
may see the inputs of a compaction beside its result for as long as the swap lasts (after a crash:
until the next compaction). :meth:`SnapshotStore.files` lists the files to read instead.
"""

from __future__ import annotations

import json
import os
import re
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Final, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs

from importstats.arrays import Bools, Ints
from importstats.errors import StoreError
from importstats.sources.snapshot import Snapshot
from importstats.store.files import TEMPORARY, Files
from importstats.store.parquet import (
    DETAILS_RESULT_SCHEMA,
    JOBS_KEY,
    JOBS_RESULT_SCHEMA,
    STORED_SCHEMAS,
    VALUE_COLUMNS,
    decode,
    encode,
    result_schema,
)
from importstats.store.runs import (
    NOWHERE,
    Runs,
    Timeline,
    concat,
    expand,
    extend,
    ints,
    run_rows,
    transfer,
    windows,
)
from importstats.store.schema import (
    DETAILS_SCHEMA,
    JOBS_SCHEMA,
    RUN_COLUMNS,
    TIMESTAMP,
    details_table,
    jobs_table,
)
from importstats.store.segments import ALWAYS, SUFFIX, JobFolder, Period, Segment, TableName, slug
from importstats.text import excerpt

__all__ = [
    "DETAILS_RESULT_SCHEMA",
    "FORMAT_VERSION",
    "JOBS_RESULT_SCHEMA",
    "CompactionResult",
    "CorruptSegmentWarning",
    "SnapshotStore",
    "TableName",
    "slug",
]

FORMAT_VERSION: Final = (1, 0)

_T = TypeVar("_T")

_MARKER: Final = "_importstats.json"
_CORRUPT: Final = "_corrupt"
_DETAIL_ROWS: Final = b"importstats.detail_rows"

# A merge holds its inputs in memory: 32 MiB of Parquet are some millions of runs.
_MAX_MERGE_BYTES: Final = 32 * 2**20
_STALE_AFTER_S: Final = 6 * 3600
_ATTEMPTS: Final = 50
_REMOTE_READS_AT_ONCE: Final = 16


class CorruptSegmentWarning(UserWarning):
    """A file of the store cannot be read; the rest was."""


@dataclass(frozen=True, slots=True)
class CompactionResult:
    """What a compaction did, summed over the jobs it looked at.

    Attributes
    ----------
    segments_before, segments_after : int
        Segments of those jobs.
    bytes_before, bytes_after : int
        Bytes of their jobs and details files.
    """

    segments_before: int
    segments_after: int
    bytes_before: int
    bytes_after: int


class _Corrupt(Exception):  # noqa: N818 - an outcome that the caller handles, not an error
    """A file is there and can be read, but is not what it should be."""


class _JobsPart(NamedTuple):
    """The snapshots of one segment, and which of them count (not those another one has, too)."""

    segment: Segment
    has_details: bool
    ids: Ints
    kept: Bools


class _JobState(NamedTuple):
    """All that the jobs files of one job say: its snapshots, each once, by id."""

    parts: list[_JobsPart]
    timeline: Timeline
    rows: pa.Table


_KEYS_SCHEMA: Final = pa.schema(
    {
        "source_uri": pa.string(),
        "job_id": pa.string(),
        "first_observed_at": TIMESTAMP,
        "last_observed_at": TIMESTAMP,
        "segments": pa.int64(),
    }
)


def _union(first: Sequence[str], second: Sequence[str]) -> list[str]:
    return list(dict.fromkeys([*first, *second]))


def _value_columns(columns: Sequence[str]) -> list[str]:
    """What to read of a details file for these columns: all but what its snapshots tell."""
    return _union(["file_index"], [name for name in columns if name not in RUN_COLUMNS])


def _key(rows: pa.Table) -> tuple[str, str]:
    return rows["source_uri"][0].as_py(), rows["job_id"][0].as_py()


def _parse_time(text: str) -> datetime:
    return datetime.strptime(text, "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC)


def _check_columns(table: TableName, columns: Sequence[str] | None) -> list[str]:
    known = STORED_SCHEMAS[table].names
    if columns is None:
        return list(known)
    for name in columns:
        if name not in known:
            raise ValueError(f"no column {name!r} in {table}; it has {', '.join(known)}")
    return list(columns)


def _check_filter(expression: pc.Expression | None) -> None:
    if expression is None:
        return
    try:
        result_schema("details", VALUE_COLUMNS).empty_table().filter(expression)
    except pa.ArrowException as error:
        raise ValueError(
            f"cannot filter details by {excerpt(str(expression))}: {excerpt(str(error))}; "
            f"a filter may use {', '.join(VALUE_COLUMNS)}"
        ) from error


def _conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table by the schema, columns in any order, texts encoded or not."""
    missing = [name for name in schema.names if name not in table.column_names]
    if missing or table.num_columns > len(schema):
        odd = missing or [name for name in table.column_names if name not in schema.names]
        raise ValueError(f"the table does not have the store's columns: see {odd[0]!r}")
    return table.select(schema.names).cast(schema)


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
        self._is_checked = False

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
        """Whether anything was ever appended. Raises StoreError if that cannot be told."""
        return self._files.exists(_MARKER)

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
            self._append_job(key, jobs_table(group), details_table(group))

    def append_tables(self, jobs: pa.Table, details: pa.Table) -> None:
        """Store snapshots that are tables already, of any number of jobs.

        Parameters
        ----------
        jobs, details : pyarrow.Table
            By :data:`~importstats.store.schema.JOBS_SCHEMA` and
            :data:`~importstats.store.schema.DETAILS_SCHEMA` (text may be dictionary-encoded). A
            details
            row may be a run over snapshots of ``jobs`` that follow each other.

        Raises
        ------
        StoreError
            As :meth:`append`.
        ValueError
            Another schema, a null or repeated key, or a details row without its jobs row.
        """
        jobs, details = _conform(jobs, JOBS_SCHEMA), _conform(details, DETAILS_SCHEMA)
        keys = jobs.select(["source_uri", "job_id"]).group_by(["source_uri", "job_id"])
        found = 0
        for key in keys.aggregate([]).to_pylist():
            source_uri, job_id = key["source_uri"], key["job_id"]
            if source_uri is None or job_id is None:
                raise ValueError("jobs rows have no source_uri or job_id")
            is_job = (pc.field("source_uri") == source_uri) & (pc.field("job_id") == job_id)
            rows = details.filter(is_job)
            found += rows.num_rows
            self._append_job((source_uri, job_id), jobs.filter(is_job), rows)
        if found != details.num_rows:
            raise ValueError("details rows belong to a job that the jobs rows do not have")

    def _append_job(self, key: tuple[str, str], jobs: pa.Table, details: pa.Table) -> None:
        jobs = jobs.sort_by("snapshot_id")
        ids = ints(jobs["snapshot_id"]) if not jobs["snapshot_id"].null_count else None
        if ids is None or jobs["observed_at"].null_count:
            raise ValueError("jobs rows have no snapshot_id or observed_at")
        if np.any(ids[1:] == ids[:-1]):
            raise ValueError(f"two snapshots of job {key[1]} have the same snapshot_id")
        timeline = Timeline(ids, ints(jobs["observed_at"]))
        runs = transfer(details, ids, np.arange(len(ids)))
        if len(ids) > 1:
            runs = extend(concat([runs], result_schema("details", VALUE_COLUMNS)))
        self._check_format(create=True)
        segment = Segment.create(JobFolder(slug(key[0]), slug(key[1])), 0, jobs["observed_at"])
        self._write(segment, jobs, run_rows(runs, timeline, DETAILS_SCHEMA))

    def _write(self, segment: Segment, jobs: pa.Table, details: pa.Table) -> None:
        """Write a segment; the jobs file last, since it makes both count."""
        note = {**JOBS_SCHEMA.metadata, _DETAIL_ROWS: str(details.num_rows).encode()}
        jobs = jobs.cast(JOBS_SCHEMA).replace_schema_metadata(note)
        if details.num_rows:
            self._files.put(segment.path("details"), encode(details))
        try:
            self._files.put(segment.path("jobs"), encode(jobs))
        except StoreError:
            # A failed put to a bucket may have succeeded after all, and then needs its details.
            if self._files.is_local and details.num_rows:
                with suppress(StoreError):
                    self._files.delete(segment.path("details"))
            raise

    def _check_format(self, *, create: bool = False) -> None:
        if self._is_checked:
            return
        try:
            marker = json.loads(self._files.read(_MARKER).to_pybytes())
            major, minor = (int(part) for part in str(marker["importstats_store"]).split("."))
        except FileNotFoundError:
            if not create:
                raise StoreError(
                    f"no store at {self.uri}: it has no {_MARKER}; check the path, or collect first"
                ) from None
            version = {"importstats_store": ".".join(map(str, FORMAT_VERSION))}
            self._files.put(_MARKER, json.dumps(version).encode() + b"\n")
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{self.uri}/{_MARKER} is damaged; if this is a store, delete that file and append"
            ) from error
        else:
            if major > FORMAT_VERSION[0]:
                raise StoreError(
                    f"the store at {self.uri} has format {major}.{minor}, newer than this "
                    f"importstats can read ({FORMAT_VERSION[0]}); upgrade importstats"
                )
        self._is_checked = True

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
        wanted = _check_columns("jobs", columns)
        needed = _union(JOBS_KEY, wanted)
        period = Period.of(since, until)

        def read(segments: Sequence[Segment]) -> pa.Table:
            return self._read_jobs(segments, needed, period).rows

        found = [
            self._retrying(job, segments, read)
            for job, segments in self._listing(source_uri, job_id, period).items()
        ]
        found = sorted((rows for rows in found if rows.num_rows), key=_key)
        schema = result_schema("jobs", wanted)
        tables = [schema.empty_table(), *(rows.select(wanted).cast(schema) for rows in found)]
        return pa.concat_tables(tables).unify_dictionaries()

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
        schema = result_schema("details", _check_columns("details", columns))
        tables = self.iter_details(
            job_id=job_id,
            source_uri=source_uri,
            since=since,
            until=until,
            columns=columns,
            runs=runs,
            filter=filter,
            max_rows=None,
        )
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
        max_rows: int | None = 1_000_000,
    ) -> Iterator[pa.Table]:
        """The rows of :meth:`details` in the same order, in pieces.

        A piece holds rows of one job and, unless ``runs``, whole snapshots: as many as fit in
        ``max_rows`` rows, but at least one. With ``runs`` a piece is a job. So memory holds the
        runs of one job and one piece, however large the store.
        """
        wanted = _check_columns("details", columns)
        needed = _value_columns(wanted)
        period = Period.of(since, until)
        _check_filter(filter)
        schema = result_schema("details", wanted)

        def read(segments: Sequence[Segment]) -> tuple[Timeline, Runs]:
            state = self._read_jobs(segments, JOBS_KEY, period)
            parts, _ = self._read_runs(state, needed, filter)
            return state.timeline, concat(parts, result_schema("details", needed))

        for _, job, segments in self._with_keys(self._listing(source_uri, job_id, period)):
            timeline, found = self._retrying(job, segments, read)
            if runs:
                table = run_rows(extend(found), timeline, schema)
                if table.num_rows:
                    yield table
                continue
            for begin, end in windows(found, len(timeline.ids), max_rows):
                table = run_rows(expand(found, begin, end), timeline, schema)
                if table.num_rows:
                    yield table

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
        wanted = _check_columns("jobs", columns)
        details_wanted = _check_columns("details", details_columns)
        needed = _value_columns(details_wanted)
        period = Period.of(since, until)
        schema = result_schema("details", details_wanted)

        def read(segments: Sequence[Segment]) -> tuple[pa.Table, pa.Table]:
            state = self._read_jobs(segments, _union(JOBS_KEY, wanted), period)
            parts, _ = self._read_runs(state, needed, None)
            runs = extend(concat(parts, result_schema("details", needed)))
            return state.rows.select(wanted), run_rows(runs, state.timeline, schema)

        for job, segments in self._listing(source_uri, job_id, period).items():
            jobs, details = self._retrying(job, segments, read)
            if jobs.num_rows:
                yield jobs, details

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
        rows = [
            {
                "source_uri": key[0],
                "job_id": key[1],
                "first_observed_at": _parse_time(min(segment.first for segment in segments)),
                "last_observed_at": _parse_time(max(segment.last for segment in segments)),
                "segments": len(segments),
            }
            for key, _, segments in self._with_keys(self._listing(source_uri, job_id))
        ]
        return pa.Table.from_pylist(rows, schema=_KEYS_SCHEMA)

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

        def read(segments: Sequence[Segment]) -> list[_JobsPart]:
            return self._read_jobs(segments, JOBS_KEY, ALWAYS).parts

        return sorted(
            f"{self.uri.rstrip('/')}/{part.segment.path(table)}"
            for job, segments in self._listing(source_uri, job_id).items()
            for part in self._retrying(job, segments, read)
            if part.kept.any() and (table == "jobs" or part.has_details)
        )

    # --- Compaction ---

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
        total = np.zeros(4, np.int64)
        for each in self._listing(source_uri, job_id):
            before = self._sizes(each)
            self._compact_job(each, 2 if final else min_segments, by_level=not final)
            after = self._sizes(each)
            total += [len(before), len(after), sum(before.values()), sum(after.values())]
        self._delete_stale_files(TEMPORARY)
        return CompactionResult(*total.tolist())

    def _compact_job(self, job: JobFolder, min_segments: int, *, by_level: bool) -> None:
        unusable: set[Segment] = set()
        is_changed = False
        # An input that vanishes is the work of another compactor, which will see to the rest.
        with suppress(FileNotFoundError):
            while True:
                segments = self._drop_covered(self._segments(job))
                usable = [segment for segment in segments if segment not in unusable]
                batch = _plan(usable, self._sizes(job), min_segments, by_level=by_level)
                if not batch:
                    break
                is_changed = True
                unusable |= self._merge(batch)
        if is_changed or not by_level:
            self._delete_orphans(job)

    def _merge(self, batch: Sequence[Segment]) -> set[Segment]:
        """Replace segments by one, or return those that make it impossible."""
        state = self._read_jobs(batch, JOBS_SCHEMA.names, ALWAYS)
        parts, damaged = self._read_runs(state, VALUE_COLUMNS, None)
        damaged |= set(batch) - {part.segment for part in state.parts}
        if damaged:
            return damaged
        runs = extend(concat(parts, result_schema("details", VALUE_COLUMNS)))
        level = max(segment.level for segment in batch) + 1
        merged = Segment.create(batch[0].job, level, state.rows["observed_at"])
        self._write(merged, state.rows, run_rows(runs, state.timeline, DETAILS_SCHEMA))
        self._delete(batch)
        return set()

    def _delete(self, segments: Sequence[Segment]) -> None:
        tables: tuple[TableName, ...] = ("jobs", "details")
        for table in tables:
            for segment in segments:
                self._files.delete(segment.path(table))

    def _drop_covered(self, segments: Sequence[Segment]) -> list[Segment]:
        """Delete segments whose snapshots are all in preferred ones; the others.

        A killed compactor leaves them. Only segments that overlap in time can be such.
        """
        remaining = list(segments)
        for group in _overlapping(segments):
            parts = self._read_jobs(group, JOBS_KEY, ALWAYS).parts
            covered = [part.segment for part in parts if not part.kept.any()]
            self._delete(covered)
            remaining = [segment for segment in remaining if segment not in covered]
        return remaining

    def _delete_orphans(self, job: JobFolder) -> None:
        """Delete old details files without a jobs file: their writer died before the commit."""
        details = self._files.entries(f"details/{job.folder}")
        committed = {segment.name for segment in self._segments(job)}
        for info in details:
            if info.base_name.removesuffix(SUFFIX) not in committed and _is_stale(info):
                self._files.delete(self._files.relative(info))

    def _delete_stale_files(self, folder: str) -> None:
        for info in self._files.entries(folder):
            if _is_stale(info):
                self._files.delete(self._files.relative(info))

    # --- Segments ---

    def _listing(
        self, source_uri: str | None, job_id: str | None, period: Period = ALWAYS
    ) -> dict[JobFolder, list[Segment]]:
        """The segments of the jobs asked for that may hold snapshots of the period."""
        self._check_format()
        clusters = [f"cluster={slug(source_uri)}"] if source_uri is not None else None
        if job_id is None:
            folders = [f"jobs/{cluster}" for cluster in clusters or [""]]
        else:
            infos = self._files.entries("jobs") if clusters is None else []
            clusters = clusters or [info.base_name for info in infos]
            folders = [f"jobs/{cluster}/job={slug(job_id)}" for cluster in clusters]
        earlier, listing = self._scan(folders), self._scan(folders)
        for job, segments in earlier.items():
            if not set(segments) <= set(listing.get(job, [])):
                listing[job] = self._segments(job)
        within = {job: list(filter(period.may_hold, listing[job])) for job in listing}
        return {job: segments for job, segments in within.items() if segments}

    def _segments(self, job: JobFolder) -> list[Segment]:
        """The segments of one job, listed until nothing vanishes between two listings.

        Else a segment could be missed whose inputs were deleted before the listing came to them,
        while it was created behind the listing's back.
        """
        folders = [f"jobs/{job.folder}"]
        earlier = self._scan(folders).get(job, [])
        for _ in range(_ATTEMPTS):
            segments = self._scan(folders).get(job, [])
            if set(earlier) <= set(segments):
                return segments
            earlier = segments
        raise self._too_busy(job)

    def _scan(self, folders: Iterable[str]) -> dict[JobFolder, list[Segment]]:
        found: dict[JobFolder, list[Segment]] = {}
        for folder in folders:
            for info in self._files.entries(folder.rstrip("/"), recursive=True):
                match = _SEGMENT_PATH.fullmatch(self._files.relative(info))
                if match is None or info.type != pafs.FileType.File:
                    continue
                job = JobFolder(match["cluster"], match["job"])
                segment = Segment.parse(job, match["file"])
                if segment is not None:
                    found.setdefault(job, []).append(segment)
        return found

    def _sizes(self, job: JobFolder) -> dict[str, int]:
        """Bytes of each segment, jobs and details files together, by name."""
        details = {
            info.base_name: info.size for info in self._files.entries(f"details/{job.folder}")
        }
        return {
            info.base_name.removesuffix(SUFFIX): info.size + details.get(info.base_name, 0)
            for info in self._files.entries(f"jobs/{job.folder}")
            if Segment.parse(job, info.base_name)
        }

    def _retrying(
        self, job: JobFolder, segments: Sequence[Segment], read: Callable[[Sequence[Segment]], _T]
    ) -> _T:
        """Read segments; if one vanishes, which a compaction does, list again and start over."""
        for attempt in range(_ATTEMPTS):
            try:
                return read(segments)
            except FileNotFoundError:
                time.sleep(min(0.001 * 2**attempt, 0.2))
                segments = self._segments(job)
        raise self._too_busy(job)

    def _too_busy(self, job: JobFolder) -> StoreError:
        return StoreError(
            f"{self.uri}/jobs/{job.folder} changed during each of {_ATTEMPTS} attempts to read it; "
            "compact less often, or try again"
        )

    def _with_keys(
        self, listing: dict[JobFolder, list[Segment]]
    ) -> Iterator[tuple[tuple[str, str], JobFolder, list[Segment]]]:
        """The jobs of a listing with (source_uri, job_id), in that order."""

        def read(segments: Sequence[Segment]) -> tuple[str, str] | None:
            for segment in segments:
                try:
                    rows = self._read_file(segment, "jobs", ("source_uri", "job_id"))
                except _Corrupt as reason:
                    self._set_aside(segment, "jobs", reason)
                    continue
                if rows.num_rows:
                    return _key(rows)
            return None

        keys = {job: self._retrying(job, segments, read) for job, segments in listing.items()}
        known = [(key, job) for job, key in keys.items() if key is not None]
        for key, job in sorted(known):
            yield key, job, listing[job]

    # --- Files of segments ---

    def _read_jobs(
        self, segments: Sequence[Segment], columns: Sequence[str], period: Period
    ) -> _JobState:
        """The snapshots of segments of one job, each from the preferred segment that has it."""
        chosen = sorted((each for each in segments if period.may_hold(each)), reverse=True)
        tables = {}
        for segment, rows in zip(chosen, self._read_all(chosen, "jobs", columns), strict=True):
            if isinstance(rows, _Corrupt):
                self._set_aside(segment, "jobs", rows)
            else:
                tables[segment] = _in_order(rows)
        schema = result_schema("jobs", columns)
        if len(tables) == 1:
            (together,) = tables.values()
        else:
            together = pa.concat_tables(
                [schema.empty_table(), *(rows.cast(schema) for rows in tables.values())]
            ).unify_dictionaries()
        all_ids, all_times = ints(together["snapshot_id"]), ints(together["observed_at"])
        # The first occurrence is that in the preferred segment.
        _, index = np.unique(all_ids, return_index=True)
        index = index[period.mask(all_times[index])]
        kept = np.zeros(len(all_ids), bool)
        kept[index] = True
        parts, begin = [], 0
        for segment, rows in tables.items():
            here = slice(begin, begin + rows.num_rows)
            has_details = (rows.schema.metadata or {}).get(_DETAIL_ROWS) != b"0"
            parts.append(_JobsPart(segment, has_details, all_ids[here], kept[here]))
            begin += rows.num_rows
        timeline = Timeline(all_ids[index], all_times[index])
        # The snapshots of a compacted job are all there, in order, once: nothing to pick.
        is_whole = len(tables) == 1 and len(index) == len(all_ids)
        rows = together if is_whole else together.combine_chunks().take(index)
        return _JobState(parts, timeline, rows)

    def _read_runs(
        self, state: _JobState, columns: Sequence[str], filter_: pc.Expression | None
    ) -> tuple[list[Runs], set[Segment]]:
        """The details of the snapshots that count, and the segments whose details are damaged."""
        parts = [part for part in state.parts if part.has_details and part.kept.any()]
        needed = _union(["snapshot_id", "last_snapshot_id"], columns)
        segments = [part.segment for part in parts]
        found, damaged = [], set()
        for part, rows in zip(
            parts, self._read_all(segments, "details", needed, filter_), strict=True
        ):
            positions = np.full(len(part.ids), NOWHERE)
            positions[part.kept] = np.searchsorted(state.timeline.ids, part.ids[part.kept])
            try:
                if isinstance(rows, _Corrupt):
                    raise rows
                found.append(transfer(rows, part.ids, positions))
            except (_Corrupt, pa.ArrowInvalid) as reason:
                self._set_aside(part.segment, "details", reason)
                damaged.add(part.segment)
        return found, damaged

    def _read_all(
        self,
        segments: Sequence[Segment],
        table: TableName,
        columns: Sequence[str],
        filter_: pc.Expression | None = None,
    ) -> list[pa.Table | _Corrupt]:
        def read(segment: Segment) -> pa.Table | _Corrupt:
            try:
                return self._read_file(segment, table, columns, filter_)
            except _Corrupt as reason:
                return reason

        if self._files.is_local or len(segments) < 2:
            return [read(segment) for segment in segments]
        with ThreadPoolExecutor(_REMOTE_READS_AT_ONCE) as pool:
            return list(pool.map(read, segments))

    def _read_file(
        self,
        segment: Segment,
        table: TableName,
        columns: Sequence[str],
        filter_: pc.Expression | None = None,
    ) -> pa.Table:
        """The columns of a file. Raises FileNotFoundError if a compaction took it away."""
        path = segment.path(table)
        try:
            full = self._files.full(path)
            return decode(full, self._files.filesystem, table, columns, filter_)
        except FileNotFoundError:
            # Compaction deletes the jobs file first. If that stands, the details are lost.
            if table == "details" and self._files.exists(segment.path("jobs")):
                raise _Corrupt("missing") from None
            raise
        except (OSError, pa.ArrowException):
            # A failure to read, or content that is wrong? All bytes at hand, only the latter.
            content = self._files.read(path)
        try:
            return decode(pa.BufferReader(content), None, table, columns, filter_)
        except (OSError, pa.ArrowException) as error:
            raise _Corrupt(excerpt(str(error))) from error

    def _set_aside(self, segment: Segment, table: TableName, reason: Exception) -> None:
        """Move a bad file (and details whose jobs file is bad) out of readers' way, and warn."""
        tables: tuple[TableName, ...] = ("jobs", "details") if table == "jobs" else ("details",)
        for each in tables:
            # Not ours to write, or not there: then it is only skipped.
            with suppress(StoreError):
                self._files.move(segment.path(each), f"{_CORRUPT}/{segment.path(each)}")
        lost = "snapshots" if table == "jobs" else "details"
        warnings.warn(
            f"{self.uri}/{segment.path(table)}: {reason}. Its {lost} are left out; "
            f"if it could be moved it is below {_CORRUPT}",
            CorruptSegmentWarning,
            stacklevel=2,
        )


_SEGMENT_PATH: Final = re.compile(
    r"jobs/cluster=(?P<cluster>[^/]+)/job=(?P<job>[^/]+)/(?P<file>[^/]+)"
)


def _in_order(rows: pa.Table) -> pa.Table:
    """By snapshot; as writers leave them, unless somebody else wrote the file."""
    return rows if np.all(np.diff(ints(rows["snapshot_id"])) > 0) else rows.sort_by("snapshot_id")


def _is_stale(info: pafs.FileInfo) -> bool:
    return info.mtime_ns is not None and info.mtime_ns / 1e9 < time.time() - _STALE_AFTER_S


def _overlapping(segments: Iterable[Segment]) -> list[list[Segment]]:
    """Groups of two and more segments whose times overlap."""
    groups: list[list[Segment]] = []
    reach = ""
    for segment in sorted(segments, key=lambda each: each.first):
        if segment.first > reach:
            groups.append([])
        groups[-1].append(segment)
        reach = max(reach, segment.last)
    return [group for group in groups if len(group) > 1]


def _plan(
    segments: Sequence[Segment], sizes: dict[str, int], min_segments: int, *, by_level: bool
) -> list[Segment]:
    """The segments to merge next, neighbours in time; empty if nothing is worth while."""
    by_time = sorted(segments, key=lambda each: (each.level if by_level else 0, each.first))
    for _, group in groupby(by_time, key=lambda each: each.level if by_level else 0):
        batch: list[Segment] = []
        size = 0
        for segment in group:
            size += sizes.get(segment.name, 0)
            if batch and size > _MAX_MERGE_BYTES:
                if len(batch) >= min_segments:
                    return batch
                batch, size = [], sizes.get(segment.name, 0)
            batch.append(segment)
        if len(batch) >= min_segments:
            return batch
    return []
