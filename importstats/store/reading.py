"""Reading: one job's snapshots and runs from its segments, each snapshot exactly once."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from importstats.arrays import Bools, Ints
from importstats.errors import StoreError
from importstats.store.files import Files
from importstats.store.parquet import decode, result_schema
from importstats.store.runs import NOWHERE, Runs, Timeline, ints, transfer
from importstats.store.segments import Period, Segment, TableName
from importstats.store.writing import DETAIL_ROWS
from importstats.text import excerpt

_CORRUPT: Final = "_corrupt"
_REMOTE_READS_AT_ONCE: Final = 16


class CorruptSegmentWarning(UserWarning):
    """Warns that one file of the store cannot be read; the rest was read."""


class CorruptFile(Exception):  # noqa: N818 - an outcome that the caller handles, not an error
    """A file can be read, but is not what it should be."""


class JobsPart(NamedTuple):
    """One segment's snapshots, and which of them count: those that no preferred segment has.

    ``detail_rows`` is how many rows its details file has, if the jobs file says so.
    """

    segment: Segment
    detail_rows: int | None
    ids: Ints
    kept: Bools


class JobState(NamedTuple):
    """One job's snapshots from all its jobs files, each once, by id."""

    parts: list[JobsPart]
    timeline: Timeline
    rows: pa.Table


def union(first: Sequence[str], second: Sequence[str]) -> list[str]:
    """The names of both, each once."""
    return list(dict.fromkeys([*first, *second]))


class Reader:
    """Reads the files of segments.

    A corrupt file is left out with a warning. Only a writer moves it out of the way
    (``sets_aside``): a mere reader may itself be the one that lacks something.
    """

    def __init__(self, files: Files, *, sets_aside: bool = False) -> None:
        self._files, self._sets_aside = files, sets_aside

    def read_jobs(
        self, segments: Sequence[Segment], columns: Sequence[str], period: Period
    ) -> JobState:
        """One job's snapshots, each from the preferred segment that has it."""
        chosen = sorted((each for each in segments if period.may_hold(each)), reverse=True)
        tables = {}
        for segment, rows in zip(chosen, self.read_all(chosen, "jobs", columns), strict=True):
            if isinstance(rows, CorruptFile):
                self.leave_out(segment, "jobs", rows)
            else:
                tables[segment] = rows
        if len(tables) == 1:
            ((segment, rows),) = tables.items()
            return _read_alone(segment, rows, period)
        tables = {segment: _sort_by_snapshot(rows) for segment, rows in tables.items()}
        schema = result_schema("jobs", columns)
        together = pa.concat_tables(
            [schema.empty_table(), *(rows.cast(schema) for rows in tables.values())]
        ).unify_dictionaries()
        all_ids, all_times = ints(together["snapshot_id"]), ints(together["observed_at"])
        # The first occurrence is in the preferred segment.
        _, index = np.unique(all_ids, return_index=True)
        index = index[period.mask(all_times[index])]
        kept = np.zeros(len(all_ids), bool)
        kept[index] = True
        parts, begin = [], 0
        for segment, rows in tables.items():
            here = slice(begin, begin + rows.num_rows)
            parts.append(JobsPart(segment, _detail_rows(rows), all_ids[here], kept[here]))
            begin += rows.num_rows
        timeline = Timeline(all_ids[index], all_times[index])
        return JobState(parts, timeline, together.combine_chunks().take(index))

    def read_runs(
        self, state: JobState, columns: Sequence[str], filter_: pc.Expression | None
    ) -> tuple[list[Runs], set[Segment]]:
        """The runs of the snapshots that count, and the segments whose details are damaged."""
        parts = [part for part in state.parts if part.detail_rows != 0 and part.kept.any()]
        needed = union(["snapshot_id", "last_snapshot_id"], columns)
        segments = [part.segment for part in parts]
        found, damaged = [], set()
        for part, rows in zip(
            parts, self.read_all(segments, "details", needed, filter_), strict=True
        ):
            try:
                if isinstance(rows, CorruptFile):
                    raise rows
                found.append(transfer(rows, part.ids, _places_in_job(part, state.timeline)))
            except (CorruptFile, pa.ArrowInvalid) as reason:
                self.leave_out(part.segment, "details", reason)
                damaged.add(part.segment)
        return found, damaged

    def read_all(
        self,
        segments: Sequence[Segment],
        table: TableName,
        columns: Sequence[str],
        filter_: pc.Expression | None = None,
    ) -> list[pa.Table | CorruptFile]:
        """Each segment's columns, or what is wrong with its file."""

        def read(segment: Segment) -> pa.Table | CorruptFile:
            try:
                return self.read_file(segment, table, columns, filter_)
            except CorruptFile as reason:
                return reason

        if self._files.is_local or len(segments) < 2:
            return [read(segment) for segment in segments]
        with ThreadPoolExecutor(_REMOTE_READS_AT_ONCE) as pool:
            return list(pool.map(read, segments))

    def read_file(
        self,
        segment: Segment,
        table: TableName,
        columns: Sequence[str],
        filter_: pc.Expression | None = None,
    ) -> pa.Table:
        """A file's columns. Raises FileNotFoundError if a compaction deleted the file."""
        path = segment.path(table)
        where = f"{self._files.uri}/{path}"
        # A writer, which sets damaged files aside, checks every byte.
        wanted = (table, columns, filter_, self._sets_aside)
        try:
            source, filesystem = self._files.source(path)
            return decode(source, filesystem, *wanted)
        except FileNotFoundError:
            # Compaction deletes the jobs file first. If it is still there, the details are lost.
            if table == "details" and self._files.exists(segment.path("jobs")):
                raise CorruptFile("missing") from None
            raise
        except _ANY_FAILURE as error:
            _raise_if_short_of_memory(error, where)
            # Did the read fail, or is the content wrong? With all bytes at hand it is the latter.
            content = self._files.read(path)
        if not content.size and not self._files.is_local:
            # Some object stores show a file before its first byte is written.
            raise FileNotFoundError(path)
        try:
            return decode(pa.BufferReader(content), None, *wanted)
        except (OSError, pa.ArrowInvalid) as error:
            _raise_if_short_of_memory(error, where)
            raise CorruptFile(excerpt(str(error))) from error
        except _ANY_FAILURE as error:
            _raise_if_short_of_memory(error, where)
            raise StoreError(f"cannot read {where}: {excerpt(str(error))}") from error

    def leave_out(self, segment: Segment, table: TableName, reason: Exception) -> None:
        """Warn about a bad file; a writer also moves it out of the readers' way.

        The details of a bad jobs file go with it, because nobody could read them alone.
        """
        tables: tuple[TableName, ...] = ("jobs", "details") if table == "jobs" else ("details",)
        if self._sets_aside:
            for each in tables:
                # If it is gone, or we may not move it, it is only left out.
                with suppress(StoreError):
                    self._files.move(segment.path(each), f"{_CORRUPT}/{segment.path(each)}")
            hint = f"if it could be moved it is below {_CORRUPT}"
        else:
            hint = "importstats compact checks each file and sets bad ones aside"
        lost = "snapshots" if table == "jobs" else "details"
        warnings.warn(
            f"{self._files.uri}/{segment.path(table)}: {reason}. Its {lost} are left out; {hint}",
            CorruptSegmentWarning,
            stacklevel=2,
        )


# Bytes that are no Parquet file of ours raise ArrowInvalid or, in the Parquet library, OSError. All
# else (a type that this Arrow cannot read, memory) is the reader's own trouble.
_ANY_FAILURE: Final = (OSError, pa.ArrowException, MemoryError)


def _raise_if_short_of_memory(error: BaseException, where: str) -> None:
    text = str(error)
    if isinstance(error, MemoryError) or "bad_alloc" in text or "malloc of size" in text:
        raise StoreError(
            f"not enough memory to read {where}: {excerpt(text)}; read fewer jobs or columns"
        ) from error


def _read_alone(segment: Segment, rows: pa.Table, period: Period) -> JobState:
    """A job's snapshots from its only segment, each once even if the file repeats one."""
    ids = ints(rows["snapshot_id"])
    ascends = bool((ids[1:] > ids[:-1]).all())
    if not ascends:
        rows = rows.sort_by("snapshot_id")
        ids = ints(rows["snapshot_id"])
    times = ints(rows["observed_at"])
    kept = period.mask(times)
    if not ascends and len(ids):
        kept &= np.append(True, ids[1:] != ids[:-1])
    part = JobsPart(segment, _detail_rows(rows), ids, kept)
    if not kept.all():
        ids, times, rows = ids[kept], times[kept], rows.filter(pa.array(kept))
    return JobState([part], Timeline(ids, times), rows)


def _places_in_job(part: JobsPart, timeline: Timeline) -> Ints:
    """The place of each of a segment's snapshots among the job's, or :data:`NOWHERE`."""
    if part.ids is timeline.ids:
        return np.arange(len(part.ids))
    positions = np.full(len(part.ids), NOWHERE)
    positions[part.kept] = np.searchsorted(timeline.ids, part.ids[part.kept])
    return positions


def _detail_rows(rows: pa.Table) -> int | None:
    counted = (rows.schema.metadata or {}).get(DETAIL_ROWS)
    return None if counted is None else int(counted)


def _sort_by_snapshot(rows: pa.Table) -> pa.Table:
    """The rows by snapshot, as they are unless another tool wrote the file."""
    ids = ints(rows["snapshot_id"])
    return rows if (ids[1:] > ids[:-1]).all() else rows.sort_by("snapshot_id")
