"""The two tables of a store: their columns, types and units, and how snapshots become rows.

``jobs`` has one row per snapshot. ``details`` has one row per run of equal values of one file: a
file that did not change between two snapshots shares their row, which says how far it reaches
(``last_snapshot_id``, ``last_observed_at``). A snapshot on its own has runs of length one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from importstats.sources.messages import ImportProgressDetail
from importstats.sources.snapshot import Snapshot

SCHEMA_VERSION: Final = 1
TIMESTAMP: Final = pa.timestamp("us", tz="UTC")


def table_schema(table: str, columns: Sequence[tuple[str, pa.DataType, str]]) -> pa.Schema:
    """The schema of a table from its columns' names, types and descriptions."""
    return pa.schema(
        [
            pa.field(name, type_, metadata={"description": description})
            for name, type_, description in columns
        ],
        metadata={"importstats.table": table, "importstats.schema_version": str(SCHEMA_VERSION)},
    )


JOBS_SCHEMA: Final = table_schema(
    "jobs",
    [
        ("snapshot_id", pa.int64(), "unique within the job, sorts by time"),
        ("observed_at", TIMESTAMP, "when the answer had arrived, UTC"),
        ("request_latency_s", pa.float64(), "seconds from request to the end of the answer"),
        ("source_uri", pa.string(), "the server, without user, password or query"),
        ("db_name", pa.string(), "database of the job, if known"),
        ("job_id", pa.string(), "the id that was asked for"),
        ("collection_name", pa.string(), "collection the job writes to"),
        ("state", pa.string(), "job state as sent"),
        ("progress_pct", pa.float64(), "job progress as sent, 0 to 100"),
        ("imported_rows", pa.int64(), "rows written so far"),
        ("total_rows", pa.int64(), "rows in all files, once counted"),
        ("file_size_bytes", pa.int64(), "bytes of all files"),
        ("reason", pa.string(), "why the job failed"),
        ("complete_time", TIMESTAMP, "end of the job by the server's clock"),
        ("detail_count", pa.int64(), "entries in the answer's details list"),
        ("status", pa.int64(), "the envelope's number: 0, in early 2.4 200"),
        ("message", pa.string(), "the envelope's message"),
        ("error", pa.string(), "why there is no answer (a recorded gap); null for an answer"),
        ("create_time", TIMESTAMP, "creation of the job by the server's clock; Milvus 2.6.5 on"),
        ("server_version", pa.string(), "release of the server, exact (v2.6.4) or as bounds"),
        ("extra", pa.string(), "JSON of unknown fields and unusable values; null if none"),
    ],
)

DETAILS_SCHEMA: Final = table_schema(
    "details",
    [
        ("snapshot_id", pa.int64(), "first snapshot with these values"),
        ("last_snapshot_id", pa.int64(), "last snapshot with these values"),
        ("observed_at", TIMESTAMP, "time of the first snapshot with these values, UTC"),
        ("last_observed_at", TIMESTAMP, "time of the last snapshot with these values, UTC"),
        ("source_uri", pa.string(), "the server, without user, password or query"),
        ("job_id", pa.string(), "the id that was asked for"),
        ("collection_name", pa.string(), "collection the job writes to"),
        ("file_index", pa.int64(), "place of the file among the job's files by name, from 0"),
        ("file_name", pa.string(), "printed list of paths, as sent"),
        ("file_size_bytes", pa.int64(), "size of the file in bytes"),
        ("state", pa.string(), "file state as sent"),
        ("progress_pct", pa.float64(), "progress of the file's task as sent, 0 to 100"),
        ("imported_rows", pa.int64(), "rows of this file written so far"),
        ("total_rows", pa.int64(), "rows in this file (some servers send the job's total)"),
        ("complete_time", TIMESTAMP, "end of the file by the server's clock"),
        ("reason", pa.string(), "why the file failed"),
        ("extra", pa.string(), "JSON of unknown fields and unusable values; null if none"),
    ],
)

#: Columns that came later: they are null in a file that was written before.
ADDED_COLUMNS: Final = frozenset({"create_time", "server_version"})

#: Columns of ``details`` that say which snapshots a row stands for; all others are its values.
RUN_COLUMNS: Final = ("snapshot_id", "last_snapshot_id", "observed_at", "last_observed_at")


#: Columns of ``details`` that the server reports about the file itself.
DETAIL_VALUES: Final = DETAILS_SCHEMA.names[DETAILS_SCHEMA.names.index("file_name") :]


def jobs_table(snapshots: Iterable[Snapshot]) -> pa.Table:
    """One row per snapshot, in their order, by :data:`JOBS_SCHEMA`."""
    rows = pa.array(map(_job_row, snapshots), pa.struct(list(JOBS_SCHEMA)))
    return pa.table(rows.flatten(), schema=JOBS_SCHEMA)


def details_table(snapshots: Iterable[Snapshot]) -> pa.Table:
    """One row per snapshot and file, in their order, by :data:`DETAILS_SCHEMA`."""
    batches = [details_batch(snapshot) for snapshot in snapshots]
    return pa.Table.from_batches(batches, schema=DETAILS_SCHEMA)


def details_batch(snapshot: Snapshot) -> pa.RecordBatch:
    """The details of one snapshot, one row per file, by :data:`DETAILS_SCHEMA`."""
    data = snapshot.response.data if snapshot.response is not None else None
    columns = detail_columns(data.details if data is not None else [])
    return encoded_batch(snapshot, columns).cast(DETAILS_SCHEMA)


def encoded_batch(snapshot: Snapshot, columns: Mapping[str, pa.Array]) -> pa.RecordBatch:
    """A snapshot's details from their values, by :data:`ENCODED_DETAILS_SCHEMA`.

    Rows are ordered by file name, whatever the order of the answer: servers list tasks in the
    random order of a Go map (``importMeta.GetTaskBy``), anew for each answer, so the order carries
    nothing and would make every row look changed.
    """
    by_name = pc.sort_indices(columns["file_name"])
    count = len(by_name)
    ids, times = (
        pa.repeat(pa.scalar(value, type_), count)
        for value, type_ in ((snapshot.snapshot_id, pa.int64()), (snapshot.observed_at, TIMESTAMP))
    )
    data = snapshot.response.data if snapshot.response is not None else None
    shared = {
        "snapshot_id": ids,
        "last_snapshot_id": ids,
        "observed_at": times,
        "last_observed_at": times,
        "source_uri": _repeated(snapshot.source_uri, count),
        "job_id": _repeated(snapshot.job_id, count),
        "collection_name": _repeated(data.collection_name if data else None, count),
        "file_index": pa.array(np.arange(count)),
    }
    arrays = [
        shared[name] if name in shared else columns[name].take(by_name)
        for name in DETAILS_SCHEMA.names
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=ENCODED_DETAILS_SCHEMA)


#: :data:`DETAILS_SCHEMA` with dictionaries for the texts that all rows of a snapshot share.
ENCODED_DETAILS_SCHEMA: Final = pa.schema(
    [
        field.with_type(pa.dictionary(pa.int32(), pa.string()))
        if field.name in ("source_uri", "job_id", "collection_name")
        else field
        for field in DETAILS_SCHEMA
    ],
    metadata=DETAILS_SCHEMA.metadata,
)


def _repeated(text: str | None, count: int) -> pa.DictionaryArray:
    if text is None or not count:
        codes, texts = pa.nulls(count, pa.int32()), pa.array([], pa.string())
    else:
        codes, texts = pa.array(np.zeros(count, np.int32)), pa.array([text])
    return pa.DictionaryArray.from_arrays(codes, texts)


def detail_columns(details: Sequence[ImportProgressDetail]) -> dict[str, pa.Array]:
    """The details' values by column (:data:`DETAIL_VALUES`), in the answer's order."""
    printed = pa.array([detail.complete_time for detail in details], pa.string())
    times = parse_timestamps(printed)
    return {
        "file_name": pa.array([detail.file_name for detail in details], pa.string()),
        "file_size_bytes": pa.array([detail.file_size for detail in details], pa.int64()),
        "state": pa.array([detail.state for detail in details], pa.string()),
        "progress_pct": pa.array([detail.progress for detail in details], pa.float64()),
        "imported_rows": pa.array([detail.imported_rows for detail in details], pa.int64()),
        "total_rows": pa.array([detail.total_rows for detail in details], pa.int64()),
        "complete_time": times,
        "reason": pa.array([detail.reason for detail in details], pa.string()),
        "extra": _extra_texts(details, printed, times),
    }


def _extra_texts(
    details: Sequence[ImportProgressDetail], printed: pa.Array, times: pa.Array
) -> pa.Array:
    extras = [detail.extra for detail in details]
    unreadable = pc.indices_nonzero(
        pc.and_(pc.is_null(times), pc.fill_null(pc.greater(pc.binary_length(printed), 0), False))
    ).to_pylist()
    for index in unreadable:
        extras[index] = {**extras[index], "completeTime": printed[index].as_py()}
    if not any(extras):
        return pa.nulls(len(extras), pa.string())
    return pa.array(map(extra_json, extras), pa.string(), size=len(extras))


def extra_json(extra: dict[str, Any]) -> str | None:
    """Unknown fields as JSON with sorted keys, ``None`` if there are none."""
    if not extra:
        return None
    try:
        return msgspec.json.encode(extra, order="sorted").decode()
    except (ValueError, TypeError, OverflowError):
        # A lone surrogate, or a number beyond 64 bits: JSON can say them, the fast encoder cannot.
        return json.dumps(extra, sort_keys=True, default=str)


def _job_row(snapshot: Snapshot) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(JOBS_SCHEMA.names)
    row.update(
        snapshot_id=snapshot.snapshot_id,
        observed_at=snapshot.observed_at,
        request_latency_s=snapshot.request_latency_s,
        source_uri=snapshot.source_uri,
        db_name=snapshot.db_name,
        job_id=snapshot.job_id,
        error=snapshot.error,
        server_version=snapshot.server_version,
    )
    if snapshot.response is not None:
        data = snapshot.response.data
        # Two levels can carry unknown fields; the envelope's stand under a name of their own.
        extra = {**data.extra}
        if snapshot.response.extra:
            extra["envelope"] = snapshot.response.extra
        complete_time = _timestamp(data.complete_time or "")
        if data.complete_time and complete_time is None:
            extra["completeTime"] = data.complete_time
        create_time = _timestamp(data.create_time or "")
        if data.create_time and create_time is None:
            extra["createTime"] = data.create_time
        row.update(
            collection_name=data.collection_name,
            state=data.state,
            progress_pct=data.progress,
            imported_rows=data.imported_rows,
            total_rows=data.total_rows,
            file_size_bytes=data.file_size,
            reason=data.reason,
            complete_time=complete_time,
            create_time=create_time,
            detail_count=len(data.details),
            status=snapshot.response.status,
            message=snapshot.response.message,
            extra=extra_json(extra),
        )
    return row


def parse_timestamps(printed: pa.Array) -> pa.Array:
    """RFC 3339 texts as UTC timestamps; empty and unreadable ones are null.

    Examples
    --------
    >>> times = parse_timestamps(pa.array(["2024-05-18T02:57:13+02:00", "", None, "soon"]))
    >>> [str(time) for time in times.to_pylist()]
    ['2024-05-18 00:57:13+00:00', 'None', 'None', 'None']
    """
    distinct = printed.dictionary_encode()
    parsed = pa.array(map(_timestamp, distinct.dictionary.to_pylist()), TIMESTAMP)
    return parsed.take(distinct.indices)


def _timestamp(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
