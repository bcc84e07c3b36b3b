"""Queries: the tables for the jobs, times and columns that a caller asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final, NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from importstats.store.ahead import map_ahead
from importstats.store.files import Files
from importstats.store.listing import Listing
from importstats.store.parquet import JOBS_KEY, STORED_SCHEMAS, VALUE_COLUMNS, result_schema
from importstats.store.reading import CorruptFile, JobsPart, JobState, Reader, union
from importstats.store.runs import (
    Runs,
    Timeline,
    concat,
    expand,
    extend,
    in_one_chunk,
    run_rows,
    windows,
    with_schema,
)
from importstats.store.schema import RUN_COLUMNS, TIMESTAMP
from importstats.store.segments import (
    ALWAYS,
    JobFolder,
    Period,
    Segment,
    TableName,
    is_plain,
)
from importstats.text import excerpt

_S = TypeVar("_S")
_T = TypeVar("_T")


class Choice(NamedTuple):
    """A choice of snapshots by job (``None`` is any) and period."""

    source_uri: str | None = None
    job_id: str | None = None
    period: Period = ALWAYS


class _Known(NamedTuple):
    """A job whose jobs files were read."""

    key: tuple[str, str]
    folder: JobFolder
    state: JobState


class _Merged(NamedTuple):
    """A job of one segment, which a compaction wrote: its details are runs as reads return them."""

    key: tuple[str, str]
    folder: JobFolder
    segment: Segment


class Queries:
    """Answers queries from the segments that exist when each is asked."""

    def __init__(self, files: Files) -> None:
        self._files, self._listing, self._reader = files, Listing(files), Reader(files)

    def jobs(self, choice: Choice, wanted: Sequence[str]) -> pa.Table:
        """See :meth:`importstats.store.SnapshotStore.jobs`."""
        needed = union(JOBS_KEY, wanted)

        def read(segments: Sequence[Segment]) -> pa.Table:
            return self._reader.read_jobs(segments, needed, choice.period).rows

        listing = self._listing.of_jobs(*choice)
        found = [rows for _, rows in self._each_job(listing, read) if rows.num_rows]
        found.sort(key=_key)
        schema = result_schema("jobs", wanted)
        tables = [schema.empty_table(), *(with_schema(rows, schema) for rows in found)]
        return pa.concat_tables(tables).unify_dictionaries()

    def details(
        self,
        choice: Choice,
        wanted: Sequence[str],
        filter_: pc.Expression | None,
        *,
        runs: bool,
        max_rows: int | None,
    ) -> Iterator[pa.Table]:
        """See :meth:`importstats.store.SnapshotStore.iter_details`."""
        needed = _value_columns(wanted)
        schema = result_schema("details", wanted)

        def read(job: _Known) -> tuple[Timeline, Runs]:
            state, found = self._read_details(job, JOBS_KEY, needed, filter_, choice)
            return state.timeline, found

        def read_runs(job: _Known | _Merged) -> pa.Table:
            if isinstance(job, _Merged):
                try:
                    rows = self._reader.read_file(job.segment, "details", wanted)
                    return in_one_chunk(rows)
                except (FileNotFoundError, CorruptFile):
                    # No files, or newer or damaged ones: the snapshots show which.
                    segments = {job.folder: [job.segment]}
                    found = [*self._known_jobs(segments, choice, JOBS_KEY)]
                    return read_runs(found[0]) if found else schema.empty_table()
            timeline, parts = read(job)
            return run_rows(extend(parts), timeline, schema)

        def pieces(
            jobs: Iterable[tuple[Timeline, Runs]],
        ) -> Iterator[tuple[Timeline, Runs, int, int]]:
            for timeline, found in jobs:
                for piece in windows(found, len(timeline.ids), max_rows):
                    yield timeline, found, *piece

        def expanded(piece: tuple[Timeline, Runs, int, int]) -> pa.Table:
            timeline, found, begin, end = piece
            return run_rows(expand(found, begin, end), timeline, schema)

        listing = self._listing.of_jobs(*choice)
        as_stored = runs and filter_ is None and choice.period == ALWAYS
        merged = self._merged_jobs(listing) if as_stored and {*VALUE_COLUMNS} <= {*wanted} else []
        others = {folder: listing[folder] for folder in listing.keys() - {m.folder for m in merged}}
        known = sorted(self._known_jobs(others, choice, JOBS_KEY), key=_key_and_folder)
        if runs:
            every: list[_Known | _Merged] = [*merged, *known]
            tables = self._ahead(read_runs, sorted(every, key=_key_and_folder))
        else:
            # Unlike a file's rows, all its snapshots' are enough for a thread to be worth waking.
            tables = map_ahead(expanded, pieces(self._ahead(read, known)), pa.cpu_count())
        for table in tables:
            if table.num_rows:
                yield table

    def _read_details(
        self,
        job: _Known,
        columns: Sequence[str],
        needed: Sequence[str],
        filter_: pc.Expression | None,
        choice: Choice,
    ) -> tuple[JobState, Runs]:
        """A known job's snapshots and runs; both are read anew if files have vanished since."""

        def add_runs(state: JobState) -> tuple[JobState, Runs]:
            parts, _ = self._reader.read_runs(state, needed, filter_)
            return state, concat(parts, result_schema("details", needed))

        def read(segments: Sequence[Segment]) -> tuple[JobState, Runs]:
            return add_runs(self._reader.read_jobs(segments, columns, choice.period))

        try:
            return add_runs(job.state)
        except FileNotFoundError:
            segments = self._listing.of_job(job.folder)
            return self._listing.retrying(job.folder, segments, read)

    def jobs_with_details(
        self, choice: Choice, wanted: Sequence[str], details_wanted: Sequence[str]
    ) -> Iterator[tuple[pa.Table, pa.Table]]:
        """See :meth:`importstats.store.SnapshotStore.iter_jobs`."""
        needed, columns = _value_columns(details_wanted), union(JOBS_KEY, wanted)
        schema = result_schema("details", details_wanted)

        def read(job: _Known) -> tuple[pa.Table, pa.Table]:
            state, runs = self._read_details(job, columns, needed, None, choice)
            return state.rows.select(wanted), run_rows(extend(runs), state.timeline, schema)

        known = self._known_jobs(self._listing.of_jobs(*choice), choice, columns)
        if not details_wanted:
            yield from ((job.state.rows.select(wanted), schema.empty_table()) for job in known)
            return
        found = self._ahead(read, known)
        yield from ((jobs, details) for jobs, details in found if jobs.num_rows)

    def keys(self, choice: Choice) -> pa.Table:
        """See :meth:`importstats.store.SnapshotStore.job_keys`."""
        rows = [
            {
                "source_uri": key[0],
                "job_id": key[1],
                "first_observed_at": _parse_time(min(segment.first for segment in segments)),
                "last_observed_at": _parse_time(max(segment.last for segment in segments)),
                "segments": len(segments),
            }
            for key, segments in self._with_keys(choice)
        ]
        return pa.Table.from_pylist(rows, schema=_KEYS_SCHEMA)

    def files(self, choice: Choice, table: TableName) -> list[str]:
        """See :meth:`importstats.store.SnapshotStore.files`."""

        def read(segments: Sequence[Segment]) -> list[JobsPart]:
            return self._reader.read_jobs(segments, JOBS_KEY, ALWAYS).parts

        return sorted(
            f"{self._files.uri.rstrip('/')}/{part.segment.path(table)}"
            for _, parts in self._each_job(self._listing.of_jobs(*choice), read)
            for part in parts
            if part.kept.any() and (table == "jobs" or part.detail_rows != 0)
        )

    def _merged_jobs(self, listing: Mapping[JobFolder, list[Segment]]) -> list[_Merged]:
        """The listed jobs of one segment that a compaction wrote.

        A folder's name is the job's id if that is plain, so one file of each server shows the keys.
        """
        uris: dict[str, str] = {}
        merged = []
        for folder, segments in listing.items():
            if len(segments) > 1 or not segments[0].level or not is_plain(folder.job):
                continue
            if folder.cluster not in uris:
                with suppress(FileNotFoundError):
                    if key := self._key_in(segments):
                        uris[folder.cluster] = key[0]
            if folder.cluster in uris:
                key = uris[folder.cluster], folder.job
                merged.append(_Merged(key, folder, segments[0]))
        return merged

    def _known_jobs(
        self, listing: Mapping[JobFolder, list[Segment]], choice: Choice, columns: Sequence[str]
    ) -> Iterator[_Known]:
        """The listed jobs with their snapshots, in no particular order."""

        def read(segments: Sequence[Segment]) -> JobState:
            return self._reader.read_jobs(segments, columns, choice.period)

        for folder, state in self._each_job(listing, read):
            if state.rows.num_rows:
                yield _Known(_key(state.rows), folder, state)

    def _with_keys(self, choice: Choice) -> list[tuple[tuple[str, str], list[Segment]]]:
        """The chosen jobs' (source_uri, job_id) and segments, sorted."""
        listing = self._listing.of_jobs(*choice)
        keys = self._ahead(
            lambda job: (self._listing.retrying(*job, self._key_in), job[1]), list(listing.items())
        )
        return sorted(
            ((key, segments) for key, segments in keys if key is not None),
            key=lambda found: found[0],
        )

    def _key_in(self, segments: Sequence[Segment]) -> tuple[str, str] | None:
        """The (source_uri, job_id) of a job from the first of its segments that shows them."""
        for segment in segments:
            try:
                rows = self._reader.read_file(segment, "jobs", ("source_uri", "job_id"))
            except CorruptFile as reason:
                self._reader.leave_out(segment, "jobs", reason)
                continue
            if rows.num_rows:
                return _key(rows)
        return None

    def _each_job(
        self,
        listing: Mapping[JobFolder, list[Segment]],
        read: Callable[[Sequence[Segment]], _T],
    ) -> Iterator[tuple[JobFolder, _T]]:
        """The folder of each listed job, and what `read` returns for its segments."""

        def read_job(job: tuple[JobFolder, list[Segment]]) -> tuple[JobFolder, _T]:
            return job[0], self._listing.retrying(*job, read)

        return self._ahead(read_job, list(listing.items()))

    def _ahead(self, work: Callable[[_S], _T], items: Iterable[_S]) -> Iterator[_T]:
        """The results for the items in their order; in a bucket some are made ahead, side by side.

        Most files on a disk are read so soon that threads would only wait for one another, which
        takes half as much time again.
        """
        return map(work, items) if self._files.is_local else map_ahead(work, items, _JOBS_AT_ONCE)


# In a bucket, where most of the time is waiting.
_JOBS_AT_ONCE: Final = 8


_KEYS_SCHEMA: Final = pa.schema(
    {
        "source_uri": pa.string(),
        "job_id": pa.string(),
        "first_observed_at": TIMESTAMP,
        "last_observed_at": TIMESTAMP,
        "segments": pa.int64(),
    }
)


def _value_columns(columns: Sequence[str]) -> list[str]:
    """The columns to read from a details file: those that the snapshots do not give."""
    return union(["file_index"], [name for name in columns if name not in RUN_COLUMNS])


def _key_and_folder(job: _Known | _Merged) -> tuple[tuple[str, str], JobFolder]:
    return job.key, job.folder


def _key(rows: pa.Table) -> tuple[str, str]:
    return rows["source_uri"][0].as_py(), rows["job_id"][0].as_py()


def _parse_time(text: str) -> datetime:
    return datetime.strptime(text, "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC)


def check_columns(table: TableName, columns: Sequence[str] | None) -> list[str]:
    """The columns asked for, by default all. Raises ValueError if the table lacks one."""
    known = STORED_SCHEMAS[table].names
    if columns is None:
        return list(known)
    for name in columns:
        if name not in known:
            raise ValueError(f"no column {name!r} in {table}; it has {', '.join(known)}")
    return list(columns)


def check_filter(expression: pc.Expression | None) -> None:
    """Raise ValueError unless details can be filtered by the expression."""
    if expression is None:
        return
    try:
        result_schema("details", VALUE_COLUMNS).empty_table().filter(expression)
    except pa.ArrowException as error:
        raise ValueError(
            f"cannot filter details by {excerpt(str(expression))}: {excerpt(str(error))}; "
            f"a filter may use {', '.join(VALUE_COLUMNS)}"
        ) from error
