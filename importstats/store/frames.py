"""Frames: snapshots and stores as pandas DataFrames, the form every analysis takes.

Two kinds, named as the store's tables. A *jobs* frame has one row per snapshot, a *details* frame
one row per snapshot and file (or per run of equal values of one file, see
:mod:`importstats.store.schema`). Their columns are those of
:data:`~importstats.store.schema.JOBS_SCHEMA` and
:data:`~importstats.store.schema.DETAILS_SCHEMA`, with these dtypes:

====================  ==========================================================================
times                 ``datetime64[us, UTC]``
ids and indices       ``int64`` (never missing)
counts, bytes         ``Int64`` (``NA`` where the server sent none)
``progress_pct``,     ``float64``
``request_latency_s``
names, states         ``category``
``reason`` and other  ``str``
free text
====================  ==========================================================================

A details frame also has ``file``, a short display name of ``file_name``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from importstats.sources.answers import parse_response
from importstats.sources.file_names import parse_file_name
from importstats.sources.messages import GetImportProgressResponse
from importstats.sources.snapshot import Snapshot
from importstats.store import SnapshotStore
from importstats.store.schema import details_table, jobs_table

_NAMES: Final = (
    "source_uri",
    "db_name",
    "job_id",
    "collection_name",
    "state",
    "file_name",
    "server_version",
)
_NEVER_MISSING: Final = ("snapshot_id", "last_snapshot_id", "file_index")


@runtime_checkable
class HttpAnswer(Protocol):
    """An answer of an HTTP library, such as ``requests.Response``: its body is ``content``."""

    @property
    def content(self) -> bytes:
        """The body."""


Response = GetImportProgressResponse | Mapping[str, Any] | bytes | str | HttpAnswer
_ONE: Final = (GetImportProgressResponse, Mapping, bytes, str, HttpAnswer, Snapshot)

#: Stands for "no time known" between a bare response and its frame.
_UNTIMED: Final = datetime(1970, 1, 1, tzinfo=UTC)
_UNTIMED_64: Final = np.datetime64(0, "us")


def load_jobs(
    store: SnapshotStore | str | Path,
    *,
    job_id: str | None = None,
    source_uri: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    gaps: bool = False,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """The snapshots in a store, one row each, ordered by job and time.

    The filters reach down to the partitions and Parquet statistics: what they exclude is not read.

    Parameters
    ----------
    store : SnapshotStore, str or Path
        The store, its folder or its URI (``s3://...``).
    job_id, source_uri : str, optional
        Only this job, or this server's.
    since, until : datetime, optional
        Only snapshots observed in this time (both ends included).
    gaps : bool
        Also the rows that record why there is no snapshot (``error`` is set in these).
    columns : sequence of str, optional
        Only these columns, in this order; the others are not read.

    Returns
    -------
    DataFrame
        A jobs frame, see :mod:`importstats.store.frames`.

    Raises
    ------
    StoreError
        There is no store, or it cannot be read.
    ValueError
        A column is not in the table.
    """
    wanted = columns if columns is None or gaps else list(dict.fromkeys([*columns, "error"]))
    table = _opened(store).jobs(
        job_id=job_id, source_uri=source_uri, since=since, until=until, columns=wanted
    )
    if not gaps and table["error"].null_count < table.num_rows:
        table = table.filter(pc.is_null(table["error"]))
    return jobs_frame(table if columns is None else table.select(list(columns)))


def load_details(
    store: SnapshotStore | str | Path,
    *,
    job_id: str | None = None,
    source_uri: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    runs: bool = False,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """The file rows in a store, ordered by job, time and place in the list.

    Parameters
    ----------
    store, job_id, source_uri, since, until
        As for :func:`load_jobs`.
    runs : bool
        One row per run of equal values (as stored, much smaller) instead of one per snapshot.
        Every analysis takes either.
    columns : sequence of str, optional
        Only these columns, in this order; the others are not read. Runs are then those of these
        columns. ``file`` is made of ``file_name``.

    Returns
    -------
    DataFrame
        A details frame, see :mod:`importstats.store.frames`.

    Raises
    ------
    StoreError
        There is no store, or it cannot be read.
    ValueError
        A column is not in the table.
    """
    table = _opened(store).details(
        job_id=job_id,
        source_uri=source_uri,
        since=since,
        until=until,
        runs=runs,
        columns=columns,
    )
    return details_frame(table)


def flatten_details(responses: Response | Snapshot | Iterable[Response | Snapshot]) -> pd.DataFrame:
    """The ``details`` of one or many responses as a frame, one row per response and file.

    Takes what :meth:`ImportClient.describe` returns, snapshots, or bare JSON such as
    ``pymilvus.bulk_writer.get_import_progress(...)``, with or without ``.json()``. A bare response
    does not say when it came: ``observed_at`` and the snapshot ids are then missing.

    Returns
    -------
    DataFrame
        A details frame, see :mod:`importstats.store.frames`.

    Raises
    ------
    ImportStatsError
        A bare response is none, see :func:`~importstats.sources.answers.parse_response`.

    Examples
    --------
    >>> answer = {"code": 0, "data": {"jobId": "7", "details": [
    ...     {"fileName": "[a/1.parquet]", "fileSize": 900, "importedRows": 40, "totalRows": 100},
    ...     {"fileName": "[a/2.parquet]", "fileSize": 100}]}}
    >>> flatten_details(answer)[["job_id", "file", "file_size_bytes", "imported_rows"]]
      job_id         file  file_size_bytes  imported_rows
    0      7  a/1.parquet              900             40
    1      7  a/2.parquet              100           <NA>
    """
    return _untimed_as_missing(details_frame(details_table(_snapshots(responses))))


def flatten_jobs(responses: Response | Snapshot | Iterable[Response | Snapshot]) -> pd.DataFrame:
    """One or many responses as a jobs frame, one row each.

    Takes what :func:`flatten_details` takes. To reach an ETA the times are needed as well: keep
    the answers with :class:`~importstats.Recorder`.

    Returns
    -------
    DataFrame
        A jobs frame, see :mod:`importstats.store.frames`.

    Raises
    ------
    ImportStatsError
        A bare response is none, see :func:`~importstats.sources.answers.parse_response`.

    Examples
    --------
    >>> answer = {"code": 0, "data": {"jobId": "7", "state": "Importing", "progress": 55}}
    >>> flatten_jobs(answer)[["job_id", "state", "progress_pct", "observed_at"]]
      job_id      state  progress_pct observed_at
    0      7  Importing          55.0         NaT
    """
    return _untimed_as_missing(jobs_frame(jobs_table(_snapshots(responses))))


def jobs_frame(table: pa.Table) -> pd.DataFrame:
    """A ``jobs`` table as a frame with the dtypes above."""
    return _frame(table)


def details_frame(table: pa.Table) -> pd.DataFrame:
    """A ``details`` table as a frame with the dtypes above and the column ``file``."""
    frame = _frame(table)
    if "file_name" in frame:
        printed = frame["file_name"].cat
        # Two printed names can share a display name, so renaming the categories is not enough.
        display = display_names(pa.array(printed.categories, pa.string())).dictionary_encode()
        codes = np.append(display.indices.to_numpy(), np.int32(-1))[printed.codes]
        file = pd.Categorical.from_codes(
            codes, pd.Index(display.dictionary.to_pandas(), dtype="str"), validate=False
        )
        frame.insert(list(frame).index("file_name") + 1, "file", pd.Series(file, frame.index))
    return frame


def display_names(printed: pa.Array) -> pa.Array:
    """The display name of each printed file name, see :func:`~importstats.parse_file_name`.

    Nearly all are plain paths, bare or in brackets; these are taken apart by Arrow.

    Examples
    --------
    >>> display_names(pa.array(["[a/1.parquet]", "b.csv", "[x.npy y.npy]"])).to_pylist()
    ['a/1.parquet', 'b.csv', 'x.npy +1']
    """
    is_word = pc.match_substring_regex(printed, _WORD)
    starts_list = pc.starts_with(printed, "[")
    is_list = pc.and_(pc.and_(is_word, starts_list), pc.ends_with(printed, "]"))
    is_message = pc.or_(pc.starts_with(printed, "id:"), pc.starts_with(printed, "paths:"))
    is_bare = pc.and_(is_word, pc.invert(pc.or_(starts_list, is_message)))
    is_plain = pc.or_(is_list, is_bare)
    display = pc.if_else(is_list, pc.utf8_slice_codeunits(printed, 1, -1), printed)
    if pc.all(is_plain, min_count=0).as_py():
        return display
    is_other = pc.invert(is_plain)
    return pc.replace_with_mask(display, is_other, _display_of_several(printed.filter(is_other)))


def _display_of_several(printed: pa.Array) -> pa.Array:
    """The display name of what is no plain path: most often a list of some."""
    paths = pc.split_pattern(printed, " ")
    first = pc.utf8_slice_codeunits(pc.list_element(paths, 0), 1)
    more = pc.subtract(pc.list_value_length(paths), 1).cast(pa.string())
    display = pc.binary_join_element_wise(first, more, " +")
    is_other = pc.invert(pc.match_substring_regex(printed, _FILES))
    if not pc.any(is_other, min_count=0).as_py():
        return display
    others = printed.filter(is_other).to_pylist()
    parsed = pa.array([parse_file_name(name).display for name in others], pa.string())
    return pc.replace_with_mask(display, is_other, parsed)


# Printable ASCII without blanks and quotes, which is one path however it is printed.
_WORD: Final = r"^[!#-~]+$"
# Several of these, each with an extension at which a path ends, one blank between.
_FILE: Final = r"[!#-~]+\.(?:parquet|npy|jsonl?|ndjson|csv|tsv|gz|zst)"
_FILES: Final = rf"(?i)^\[{_FILE}(?: {_FILE})+\]$"


def _frame(table: pa.Table) -> pd.DataFrame:
    """The table as a frame, each column made by itself: ``to_pandas`` takes several times as long.

    A categorical has one dictionary, but each chunk of a column can bring its own.
    """
    columns: dict[str, Any] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        encoded = pa.types.is_dictionary(column.type)
        if name in _NAMES:
            columns[name] = _categories(column if encoded else column.dictionary_encode())
        elif encoded or pa.types.is_string(column.type):
            columns[name] = _texts(column)
        elif pa.types.is_int64(column.type):
            columns[name] = _integers(column, name)
        else:
            columns[name] = column.to_pandas()
    return pd.DataFrame(columns, index=range(table.num_rows), copy=False)


def _categories(column: pa.ChunkedArray) -> pd.Categorical:
    if _dictionaries(column) > 1:
        column = column.unify_dictionaries()
    codes = np.concatenate(
        [np.empty(0, np.int32)]
        + [
            (chunk.indices.fill_null(-1) if chunk.null_count else chunk.indices).to_numpy()
            for chunk in column.chunks
        ]
    )
    nothing = pa.array([], column.type.value_type)
    dictionary = column.chunk(0).dictionary if column.num_chunks else nothing
    # As pandas has it where there is nothing to tell the type by.
    names = pd.Index(dictionary.to_pandas(), dtype="str" if len(dictionary) else "object")
    return pd.Categorical.from_codes(codes, names, validate=False)


def _dictionaries(column: pa.ChunkedArray) -> int:
    """How many dictionaries it has. To unify compares them whole, also where there is but one."""
    return len(
        {
            tuple(buffer.address for buffer in chunk.dictionary.buffers() if buffer)
            for chunk in column.chunks
        }
    )


def _texts(column: pa.ChunkedArray) -> pd.Series[str]:
    if column.null_count == len(column):
        column = pa.chunked_array([pa.nulls(len(column), pa.string())])
    texts: pd.Series[str] = column.cast(pa.string()).to_pandas()
    return texts.astype("str")


def _integers(column: pa.ChunkedArray, name: str) -> Any:
    missing = column.null_count
    values = (column.fill_null(0) if missing else column).to_numpy()
    # What is Arrow's own memory cannot be written to.
    values = values if values.flags.writeable else values.copy()
    if name in _NEVER_MISSING and not missing:
        return values
    mask = column.is_null().to_numpy() if missing else np.zeros(len(values), np.bool_)
    return pd.arrays.IntegerArray(values, mask)


def _snapshots(responses: Response | Snapshot | Iterable[Response | Snapshot]) -> list[Snapshot]:
    if isinstance(responses, _ONE):
        return [as_snapshot(responses)]
    return [as_snapshot(each) for each in responses]


def as_snapshot(
    response: Response | Snapshot, observed_at: datetime = _UNTIMED, source_uri: str = ""
) -> Snapshot:
    """An answer with its time. A snapshot is returned as it is."""
    if isinstance(response, Snapshot):
        return response
    if isinstance(response, HttpAnswer):
        response = response.content
    if not isinstance(response, GetImportProgressResponse):
        response = parse_response(response)
    return Snapshot(
        observed_at=observed_at,
        job_id=response.data.job_id or "",
        source_uri=source_uri,
        response=response,
        snapshot_id=0 if observed_at is _UNTIMED else -1,
    )


def _untimed_as_missing(frame: pd.DataFrame) -> pd.DataFrame:
    untimed = frame["observed_at"].to_numpy("datetime64[us]") == _UNTIMED_64
    ids = [name for name in ("snapshot_id", "last_snapshot_id") if name in frame]
    times = [name for name in ("observed_at", "last_observed_at") if name in frame]
    if untimed.all() and len(untimed):
        zeros = np.zeros(len(frame), np.int64)
        no_id = pd.arrays.IntegerArray(zeros, np.ones(len(frame), np.bool_))
        no_time = pd.Series(pd.NaT, frame.index, dtype=frame["observed_at"].dtype)
        missing: dict[str, Any] = {**dict.fromkeys(ids, no_id), **dict.fromkeys(times, no_time)}
        return frame.assign(**missing)
    if untimed.any():
        frame = frame.astype(dict.fromkeys(ids, "Int64"))
        frame.loc[untimed, times] = pd.NaT
        frame.loc[untimed, ids] = pd.NA
    return frame


def _opened(store: SnapshotStore | str | Path) -> SnapshotStore:
    return store if isinstance(store, SnapshotStore) else SnapshotStore(store)
