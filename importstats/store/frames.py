"""Frames: snapshots and stores as pandas DataFrames, the form every analysis takes.

Two kinds, named as the store's tables. A *jobs* frame has one row per snapshot, a *details* frame
one row per snapshot and file (or per run of equal values of one file, see
:mod:`importstats.store.schema`). Their columns are those of
:data:`~importstats.store.schema.JOBS_SCHEMA` and
:data:`~importstats.store.schema.DETAILS_SCHEMA`, with these dtypes:

====================  ==========================================================================
times                 ``datetime64[us, UTC]``
ids and indices       ``int64`` (never missing)
counts, bytes         ``Int64`` (``NA`` if the server sent none)
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
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from importstats.sources.answers import parse_plain_response, parse_response
from importstats.sources.file_names import parse_file_name
from importstats.sources.messages import GetImportProgressResponse, ImportProgressDetail
from importstats.sources.snapshot import Snapshot
from importstats.store import SnapshotStore
from importstats.store.columns import read_columns
from importstats.store.schema import (
    ENCODED_DETAILS_SCHEMA,
    RUN_COLUMNS,
    TIMESTAMP,
    detail_columns,
    encoded_batch,
    jobs_table,
)

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
    """An HTTP library's answer, such as ``requests.Response``: its body is ``content``."""

    @property
    def content(self) -> bytes:
        """The body."""


Response = GetImportProgressResponse | Mapping[str, Any] | bytes | str | HttpAnswer
_ONE: Final = (GetImportProgressResponse, Mapping, bytes, str, HttpAnswer, Snapshot)

#: Marks an answer without a time until its frame is made.
_UNTIMED: Final = datetime(1970, 1, 1, tzinfo=UTC)


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
        Only this job's snapshots, or this server's.
    since, until : datetime, optional
        Only snapshots observed in this time (both ends included).
    gaps : bool
        Also the rows that record why there is no snapshot (they have an ``error``).
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
    table = _open_store(store).jobs(
        job_id=job_id, source_uri=source_uri, since=since, until=until, columns=wanted
    )
    if not gaps:
        return answers_frame(table, columns)
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
        Only these columns, in this order; the others are not read, and a run ends only if one of
        these changes. ``file`` is made from ``file_name``.

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
    key = {"job_id": job_id, "source_uri": source_uri}
    table = _open_store(store).details(**key, since=since, until=until, runs=runs, columns=columns)
    return details_frame(table)


def flatten_details(responses: Response | Snapshot | Iterable[Response | Snapshot]) -> pd.DataFrame:
    """The ``details`` from one or many responses as a frame, one row per response and file.

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
        See :func:`~importstats.sources.answers.parse_response`.

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
    batches = list(map(_batch, _as_responses(responses)))
    table = pa.Table.from_batches(batches, schema=ENCODED_DETAILS_SCHEMA)
    return details_frame(_untimed_as_missing(table))


def flatten_jobs(responses: Response | Snapshot | Iterable[Response | Snapshot]) -> pd.DataFrame:
    """One or many responses as a jobs frame, one row each.

    Takes what :func:`flatten_details` takes. An ETA needs the times as well: keep the answers with
    :class:`~importstats.Recorder`.

    Returns
    -------
    DataFrame
        A jobs frame, see :mod:`importstats.store.frames`.

    Raises
    ------
    ImportStatsError
        See :func:`~importstats.sources.answers.parse_response`.

    Examples
    --------
    >>> answer = {"code": 0, "data": {"jobId": "7", "state": "Importing", "progress": 55}}
    >>> flatten_jobs(answer)[["job_id", "state", "progress_pct", "observed_at"]]
      job_id      state  progress_pct observed_at
    0      7  Importing          55.0         NaT
    """
    table = jobs_table(map(_snapshot_with_count, _as_responses(responses)))
    return jobs_frame(_untimed_as_missing(table))


def answers_frame(table: pa.Table, columns: Sequence[str] | None) -> pd.DataFrame:
    """The rows of a ``jobs`` table that are no gaps, as a frame with these columns, or all."""
    if table["error"].null_count < table.num_rows:
        table = table.filter(pc.is_null(table["error"]))
    return jobs_frame(table if columns is None else table.select(list(columns)))


def jobs_frame(table: pa.Table) -> pd.DataFrame:
    """A ``jobs`` table as a frame with the dtypes above."""
    return _frame(_columns(table), table.num_rows)


def details_frame(table: pa.Table) -> pd.DataFrame:
    """A ``details`` table as a frame with the dtypes above and the column ``file``."""
    columns = _columns(table)
    if "file_name" in columns:
        codes, printed = _codes_and_names(table["file_name"])
        # Two printed names can share a display name, so renaming the categories is not enough.
        of_display, display = _codes_and_names(pa.chunked_array([display_names(printed)]))
        codes = np.append(of_display, np.int32(-1))[codes]
        names = list(columns)
        place = names.index("file_name") + 1
        columns["file"] = _categorical(codes, display)
        columns = {name: columns[name] for name in (*names[:place], "file", *names[place:])}
    return _frame(columns, table.num_rows)


def display_names(printed: pa.Array) -> pa.Array:
    """The display name of each printed file name, see :func:`~importstats.parse_file_name`.

    Nearly all are plain paths, bare or in brackets; Arrow takes these apart.

    Examples
    --------
    >>> display_names(pa.array(["[a/1.parquet]", "b.csv", "[x.npy y.npy]"])).to_pylist()
    ['a/1.parquet', 'b.csv', 'x.npy +1']
    """
    starts_list = pc.starts_with(printed, "[")
    ends_list = pc.ends_with(printed, "]")
    has_plain_letters = _has_plain_letters(printed)
    if has_plain_letters and pc.all(pc.and_(starts_list, ends_list), min_count=0).as_py():
        inner = pc.binary_slice(printed.view(pa.binary()), 1, -1).view(pa.string())
        paths = pc.split_pattern(inner, " ")
        if _are_files(paths.flatten()):
            return _first_and_how_many_more(pc.list_element(paths, 0), paths)
    is_word = pc.match_substring_regex(printed, _WORD)
    is_list = pc.and_(pc.and_(is_word, starts_list), ends_list)
    is_message = pc.or_(pc.starts_with(printed, "id:"), pc.starts_with(printed, "paths:"))
    is_bare = pc.and_(is_word, pc.invert(pc.or_(starts_list, is_message)))
    is_plain = pc.or_(is_list, is_bare)
    display = pc.if_else(is_list, pc.utf8_slice_codeunits(printed, 1, -1), printed)
    if pc.all(is_plain, min_count=0).as_py():
        return display
    is_other = pc.invert(is_plain)
    return pc.replace_with_mask(display, is_other, _joined_display(printed.filter(is_other)))


def _joined_display(printed: pa.Array) -> pa.Array:
    """The display names of printed names that are no plain paths: most are lists of several."""
    paths = pc.split_pattern(printed, " ")
    first = pc.utf8_slice_codeunits(pc.list_element(paths, 0), 1)
    display = _first_and_how_many_more(first, paths)
    is_other = pc.invert(pc.match_substring_regex(printed, _FILES))
    if not pc.any(is_other, min_count=0).as_py():
        return display
    others = printed.filter(is_other).to_pylist()
    parsed = pa.array([parse_file_name(name).display for name in others], pa.string())
    return pc.replace_with_mask(display, is_other, parsed)


def _first_and_how_many_more(first: pa.Array, paths: pa.ListArray) -> pa.Array:
    more = pc.subtract(pc.list_value_length(paths), 1)
    least, most = (bound.as_py() for bound in pc.min_max(more).values())
    if least == most and most:
        return pc.binary_join_element_wise(first, f"+{most}", " ")
    with_more = pc.binary_join_element_wise(first, more.cast(pa.string()), " +")
    return pc.if_else(pc.greater(more, 0), with_more, first)


def _has_plain_letters(texts: pa.Array) -> bool:
    """Whether all texts are printable ASCII, blanks included, without quotes."""
    _, offsets, letters = texts.buffers()
    if letters is None:
        return False
    ends = np.frombuffer(offsets, np.int32)
    codes = np.frombuffer(letters, np.uint8)[ends[texts.offset] : ends[texts.offset + len(texts)]]
    is_plain = codes.min(initial=0x20) >= 0x20 and codes.max(initial=0x20) < 0x7F
    return bool(is_plain and ord('"') not in codes)


def _are_files(paths: pa.Array) -> bool:
    """Whether each path ends with a known extension in small letters."""
    for extension in _EXTENSIONS:
        is_file = pc.and_(
            pc.ends_with(paths, extension), pc.greater(pc.binary_length(paths), len(extension))
        )
        if pc.all(is_file, min_count=0).as_py():
            return True
        paths = paths.filter(pc.invert(is_file))
    return False


_EXTENSIONS: Final = (
    *(".parquet", ".npy", ".json", ".csv"),
    *(".jsonl", ".ndjson", ".tsv", ".gz", ".zst"),
)
# Printable ASCII without blanks and quotes is one path, however it is printed.
_WORD: Final = r"^[!#-~]+$"
# Several paths with known extensions, one blank between.
_FILE: Final = r"[!#-~]+\.(?:parquet|npy|jsonl?|ndjson|csv|tsv|gz|zst)"
_FILES: Final = rf"(?i)^\[{_FILE}(?: {_FILE})+\]$"


def _frame(columns: dict[str, Any], rows: int) -> pd.DataFrame:
    return pd.DataFrame(columns, index=range(rows), copy=False)


def _columns(table: pa.Table) -> dict[str, Any]:
    """The columns for a frame by name; ``to_pandas`` would take several times as long."""
    columns: dict[str, Any] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        encoded = pa.types.is_dictionary(column.type)
        if name in _NAMES:
            columns[name] = _categorical(*_codes_and_names(column))
        elif encoded or pa.types.is_string(column.type):
            columns[name] = _text_column(column)
        elif pa.types.is_int64(column.type):
            columns[name] = _integer_array(column, name)
        elif column.type == TIMESTAMP:
            columns[name] = _utc_array(column)
        else:
            columns[name] = column.to_pandas()
    return columns


def _codes_and_names(column: pa.ChunkedArray) -> tuple[npt.NDArray[np.int32], pa.Array]:
    if not pa.types.is_dictionary(column.type):
        if _is_ascending(column):
            return np.arange(len(column), dtype=np.int32), column.combine_chunks()
        column = column.dictionary_encode()
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
    return codes, column.chunk(0).dictionary if column.num_chunks else nothing


def _is_ascending(texts: pa.Array | pa.ChunkedArray) -> bool:
    """Whether each text is greater than the one before: then all differ, and none need a hash."""
    if texts.null_count or len(texts) < 2:
        return False
    # Most columns that do not ascend show it at once.
    for count in (2, len(texts)):
        some = texts.slice(0, count)
        if not pc.all(pc.less(some.slice(0, count - 1), some.slice(1))).as_py():
            return False
    return True


def _categorical(codes: npt.NDArray[np.int32], names: pa.Array) -> pd.Categorical:
    # The dtype that pandas gives to categories without values.
    index = pd.Index(_text_array(names)) if len(names) else pd.Index([], dtype="object")
    return pd.Categorical.from_codes(codes, index, validate=False)


def _dictionaries(column: pa.ChunkedArray) -> int:
    """The number of the chunks' dictionaries. To unify even one compares all of it."""
    return len(
        {
            tuple(buffer.address for buffer in chunk.dictionary.buffers() if buffer)
            for chunk in column.chunks
        }
    )


def _text_column(column: pa.ChunkedArray) -> pd.api.extensions.ExtensionArray:
    if column.null_count == len(column):
        return _text_array(pa.nulls(len(column), pa.string()))
    return _text_array(column.cast(pa.string()))


def _text_array(texts: pa.Array | pa.ChunkedArray) -> pd.api.extensions.ExtensionArray:
    array: pd.api.extensions.ExtensionArray = pd.array(texts, dtype="str")
    return array


def _utc_array(column: pa.ChunkedArray) -> pd.arrays.DatetimeArray:
    values = _writeable(column.to_numpy())
    # If it is given a zone, the index checks each value.
    return pd.DatetimeIndex(values, copy=False).tz_localize("UTC").array


def _writeable(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    # Arrow's own memory cannot be written to.
    return values if values.flags.writeable else values.copy()


def _integer_array(column: pa.ChunkedArray, name: str) -> Any:
    missing = column.null_count
    values = (column.fill_null(0) if missing else column).to_numpy()
    values = _writeable(values)
    if name in _NEVER_MISSING and not missing:
        return values
    mask = column.is_null().to_numpy() if missing else np.zeros(len(values), np.bool_)
    return pd.arrays.IntegerArray(values, mask)


def _as_responses(
    responses: Response | Snapshot | Iterable[Response | Snapshot],
) -> Iterable[Response | Snapshot]:
    return [responses] if isinstance(responses, _ONE) else responses


def _batch(response: Response | Snapshot) -> pa.RecordBatch:
    if isinstance(response, HttpAnswer):
        response = response.content
    if isinstance(response, bytes | str | Mapping) and (read := read_columns(response)):
        return encoded_batch(as_snapshot(read.response), read.columns)
    snapshot = as_snapshot(response)
    details = snapshot.response.data.details if snapshot.response is not None else []
    return encoded_batch(snapshot, detail_columns(details))


def _snapshot_with_count(response: Response | Snapshot) -> Snapshot:
    """An answer as a snapshot in which the files are only counted."""
    content = response.content if isinstance(response, HttpAnswer) else response
    if not isinstance(content, bytes | str | Mapping):
        return as_snapshot(content)
    answer = parse_plain_response(content)
    if answer is None and (read := read_columns(content)):
        answer = read.response
        answer.data.details = [ImportProgressDetail()] * len(read.columns["file_name"])
    return as_snapshot(answer or content)


def as_snapshot(
    response: Response | Snapshot, observed_at: datetime = _UNTIMED, source_uri: str = ""
) -> Snapshot:
    """An answer as a snapshot with its time; a snapshot is returned as it is."""
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


def _untimed_as_missing(table: pa.Table) -> pa.Table:
    is_timed = pc.not_equal(table["observed_at"], pa.scalar(_UNTIMED, TIMESTAMP))
    if pc.all(is_timed, min_count=0).as_py():
        return table
    for place, field in enumerate(table.schema):
        if field.name in RUN_COLUMNS:
            missing = pc.if_else(is_timed, table[field.name], pa.scalar(None, field.type))
            table = table.set_column(place, field, missing)
    return table


def _open_store(store: SnapshotStore | str | Path) -> SnapshotStore:
    return store if isinstance(store, SnapshotStore) else SnapshotStore(store)
