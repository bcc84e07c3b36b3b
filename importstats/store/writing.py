"""Writing: snapshots become segments, which count once their jobs file is there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from importstats.errors import StoreError
from importstats.store.files import Files
from importstats.store.parquet import VALUE_COLUMNS, encode, result_schema
from importstats.store.runs import Timeline, concat, extend, ints, run_rows, transfer
from importstats.store.schema import ADDED_COLUMNS, DETAILS_SCHEMA, JOBS_SCHEMA, RUN_COLUMNS
from importstats.store.segments import JobFolder, Segment, slug

#: Key in a jobs file's metadata for the rows of its details file; 0 means that it has none.
DETAIL_ROWS: Final = b"importstats.detail_rows"


def jobs_apart(
    jobs: pa.Table, details: pa.Table
) -> Iterator[tuple[tuple[str, str], pa.Table, pa.Table]]:
    """The (source_uri, job_id) and tables of each job in the given tables.

    Raises
    ------
    ValueError
        A table has another schema or a null key, or a details row has no jobs row.
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
        yield (source_uri, job_id), jobs.filter(is_job), rows
    if found != details.num_rows:
        raise ValueError("details rows belong to a job that the jobs rows do not have")


def new_segment(
    key: tuple[str, str], jobs: pa.Table, details: pa.Table
) -> tuple[Segment, pa.Table, pa.Table]:
    """A segment of the lowest level for one job's snapshots, and the rows of its two files.

    Raises
    ------
    ValueError
        A key is null or repeated, or a details row has no jobs row.
    """
    if jobs.num_rows > 1:
        jobs = jobs.sort_by("snapshot_id")
    ids = ints(jobs["snapshot_id"]) if not jobs["snapshot_id"].null_count else None
    if ids is None or jobs["observed_at"].null_count:
        raise ValueError("jobs rows have no snapshot_id or observed_at")
    if np.any(ids[1:] == ids[:-1]):
        raise ValueError(f"two snapshots of job {key[1]} have the same snapshot_id")
    segment = Segment.create(JobFolder(slug(key[0]), slug(key[1])), 0, jobs["observed_at"])
    timeline = Timeline(ids, ints(jobs["observed_at"]))
    if len(ids) == 1 and _is_one_snapshot(details, timeline):
        return segment, jobs, details
    runs = transfer(details, ids, np.arange(len(ids)))
    if len(ids) > 1:
        runs = extend(concat([runs], result_schema("details", VALUE_COLUMNS)))
    return segment, jobs, run_rows(runs, timeline, DETAILS_SCHEMA)


def _is_one_snapshot(details: pa.Table, timeline: Timeline) -> bool:
    """Whether the rows belong to the one snapshot and can be stored as they are."""
    if not details.num_rows or not details.schema.equals(DETAILS_SCHEMA):
        return False
    moments = np.array([ints(details[name]) for name in RUN_COLUMNS])
    only = np.array([timeline.ids, timeline.ids, timeline.times, timeline.times])
    return bool(np.all(moments == only))


def write_segment(files: Files, segment: Segment, jobs: pa.Table, details: pa.Table) -> None:
    """Write a segment's files: the jobs file last, because it makes both count."""
    note = {**JOBS_SCHEMA.metadata, DETAIL_ROWS: str(details.num_rows).encode()}
    if not jobs.schema.equals(JOBS_SCHEMA):
        jobs = jobs.cast(JOBS_SCHEMA)
    jobs = jobs.replace_schema_metadata(note)
    is_fresh = segment.level == 0
    if details.num_rows:
        files.put(segment.path("details"), encode(details, is_fresh=is_fresh))
    try:
        files.put(segment.path("jobs"), encode(jobs, is_fresh=is_fresh))
    except StoreError:
        # A failed put to a bucket may have succeeded after all, and then needs its details.
        if files.is_local and details.num_rows:
            with suppress(StoreError):
                files.delete(segment.path("details"))
        raise
    # A writer that was suspended for hours between the two files looks dead to a compaction, which
    # deletes details without a jobs file. From now on they have one: if the details are gone and
    # the jobs file is there, they are missing, and if both are gone they have been merged.
    while (
        details.num_rows
        and not files.exists(segment.path("details"))
        and files.exists(segment.path("jobs"))
    ):
        files.put(segment.path("details"), encode(details, is_fresh=is_fresh))


def _conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table by the schema, whose columns may be in another order or dictionary-encoded."""
    for name in ADDED_COLUMNS & {*schema.names} - {*table.column_names}:
        field = schema.field(name)
        table = table.append_column(field, pa.nulls(table.num_rows, field.type))
    missing = [name for name in schema.names if name not in table.column_names]
    if missing or table.num_columns > len(schema):
        odd = missing or [name for name in table.column_names if name not in schema.names]
        raise ValueError(f"the table does not have the store's columns: see {odd[0]!r}")
    return table.select(schema.names).cast(schema)
