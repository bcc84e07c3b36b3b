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

import errno
import hashlib
import json
import os
import re
import secrets
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from importstats.endpoint import without_secrets
from importstats.errors import StoreError
from importstats.response import excerpt
from importstats.schema import (
    DETAILS_SCHEMA,
    JOBS_SCHEMA,
    RUN_COLUMNS,
    TIMESTAMP,
    details_table,
    jobs_table,
)
from importstats.snapshot import Snapshot

FORMAT_VERSION: Final = (1, 0)

TableName = Literal["jobs", "details"]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
_T = TypeVar("_T")

_MARKER: Final = "_importstats.json"
_TEMPORARY: Final = "_tmp"
_CORRUPT: Final = "_corrupt"
_SUFFIX: Final = ".parquet"
_DETAIL_ROWS: Final = b"importstats.detail_rows"

# A merge holds its inputs in memory: 32 MiB of Parquet are some millions of runs.
_MAX_MERGE_BYTES: Final = 32 * 2**20
_ROW_GROUP_ROWS: Final = 2**16
_STALE_AFTER_S: Final = 6 * 3600
_ATTEMPTS: Final = 50
_REMOTE_READS_AT_ONCE: Final = 16


def _with_dictionaries(schema: pa.Schema) -> pa.Schema:
    text = pa.dictionary(pa.int32(), pa.string())
    return pa.schema(
        [field.with_type(text) if pa.types.is_string(field.type) else field for field in schema],
        metadata=schema.metadata,
    )


#: What reads return: the stored schemas with every text column as ``dictionary<int32, string>``,
#: which keeps a repeated text once and becomes a pandas categorical.
JOBS_RESULT_SCHEMA: Final = _with_dictionaries(JOBS_SCHEMA)
DETAILS_RESULT_SCHEMA: Final = _with_dictionaries(DETAILS_SCHEMA)

_STORED: Final = {"jobs": JOBS_SCHEMA, "details": DETAILS_SCHEMA}
_RESULT: Final = {"jobs": JOBS_RESULT_SCHEMA, "details": DETAILS_RESULT_SCHEMA}
_VALUE_COLUMNS: Final = tuple(name for name in DETAILS_SCHEMA.names if name not in RUN_COLUMNS)
_TEXT_COLUMNS: Final = {
    table: [field.name for field in schema if pa.types.is_string(field.type)]
    for table, schema in _STORED.items()
}


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


def slug(identifier: str) -> str:
    """A folder name for a text that a server or user chose: safe, bounded, one to one.

    A short plain identifier of lower-case letters, digits, ``-`` and ``_`` stands as it is.
    Anything else becomes a readable remnant, ``~`` and 80 bits of its BLAKE2b hash; ``~`` occurs
    in no plain one, so the two kinds cannot meet. Upper case counts as not plain, because some
    file systems do not tell it from lower case; so do numbers beyond int64 or with a leading zero,
    because tools that guess types from folder names would not keep them apart.

    Examples
    --------
    >>> slug("449839014328146740")
    '449839014328146740'
    >>> slug("../../etc/passwd")
    'etc-passwd~b8860ee917d4e3d10f7c'
    """
    if _PLAIN.fullmatch(identifier):
        return identifier
    remnant = re.sub(r"[^a-z0-9_.]+", "-", identifier.lower().removeprefix("https://"))
    digest = hashlib.blake2b(identifier.encode("utf-8", "surrogatepass"), digest_size=10)
    return f"{remnant[:48].strip('-._')}~{digest.hexdigest()}"


_PLAIN: Final = re.compile(r"0|[1-9][0-9]{0,17}|(?=.*[a-z])[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?")


class _Job(NamedTuple):
    """The folder of one job, below either table's folder."""

    cluster: str
    job: str

    @property
    def folder(self) -> str:
        return f"cluster={self.cluster}/job={self.job}"


class _Segment(NamedTuple):
    """A segment by its file name; ``level`` before ``name``, so the order is that of preference."""

    level: int
    name: str
    first: str
    last: str
    job: _Job

    def path(self, table: TableName) -> str:
        return f"{table}/{self.job.folder}/{self.name}{_SUFFIX}"

    @classmethod
    def create(cls, job: _Job, level: int, observed_at: pa.ChunkedArray) -> _Segment:
        span = pc.min_max(observed_at)
        first, last = (_time_text(span[end].cast(pa.int64()).as_py()) for end in ("min", "max"))
        name = f"{first}-{last}-L{level}-{secrets.token_hex(6)}"
        if not _SEGMENT_NAME.fullmatch(name):
            raise ValueError("observed_at lies outside the years 1 to 9999")
        return cls(level, name, first, last, job)

    @classmethod
    def parse(cls, job: _Job, file_name: str) -> _Segment | None:
        name = file_name.removesuffix(_SUFFIX)
        match = _SEGMENT_NAME.fullmatch(name)
        if match is None or name == file_name:
            return None
        return cls(int(match["level"]), name, match["first"], match["last"], job)


_TIME: Final = r"[0-9]{8}T[0-9]{6}\.[0-9]{6}Z"
_SEGMENT_NAME: Final = re.compile(
    rf"(?P<first>{_TIME})-(?P<last>{_TIME})-L(?P<level>[0-9]+)-[0-9a-f]{{12}}"
)


def _time_text(microseconds: int) -> str:
    """Microseconds since 1970 as a text that sorts by time and can stand in a file name."""
    return str(np.datetime64(microseconds, "us")).replace("-", "").replace(":", "") + "Z"


class _Period(NamedTuple):
    """A period with both its ends, in microseconds since 1970; ``None`` is open."""

    since: int | None
    until: int | None

    @classmethod
    def of(cls, since: datetime | None, until: datetime | None) -> _Period:
        return cls(_microseconds(since, "since"), _microseconds(until, "until"))

    def may_hold(self, segment: _Segment) -> bool:
        return (self.since is None or segment.last >= _time_text(self.since)) and (
            self.until is None or segment.first <= _time_text(self.until)
        )

    def mask(self, times: Ints) -> Flags:
        inside = np.ones(len(times), bool)
        if self.since is not None:
            inside &= times >= self.since
        if self.until is not None:
            inside &= times <= self.until
        return inside


def _microseconds(when: datetime | None, name: str) -> int | None:
    if when is None:
        return None
    if when.tzinfo is None:
        raise ValueError(f"{name} has no time zone; snapshots are timed in UTC")
    microseconds: int = pa.scalar(when.astimezone(UTC), TIMESTAMP).cast(pa.int64()).as_py()
    return microseconds


# --- Runs ---------------------------------------------------------------------------------------


class _Timeline(NamedTuple):
    """The snapshots of one job in the order of their ids. A position is an index into it."""

    ids: Ints
    times: Ints


class _Runs(NamedTuple):
    """Values of files, and the positions each row stands for, from ``first`` to ``last``."""

    values: pa.Table
    first: Ints
    last: Ints


# No neighbour of itself or of any position.
_NOWHERE: Final = -2


def _locate(runs: pa.Table, ids: Ints) -> tuple[Ints, Ints]:
    """Positions of the first and last snapshot of each run among sorted ids.

    Raises
    ------
    pyarrow.ArrowInvalid
        A run begins or ends at a snapshot that is not there, or ends before it begins.
    """
    ends = []
    for name in ("snapshot_id", "last_snapshot_id"):
        wanted = _ints(runs[name])
        found = np.searchsorted(ids, wanted)
        if len(wanted) and (not len(ids) or np.any(ids[np.minimum(found, len(ids) - 1)] != wanted)):
            raise pa.ArrowInvalid("details rows refer to snapshots that the jobs rows do not have")
        ends.append(found)
    first, last = ends
    if np.any(last < first):
        raise pa.ArrowInvalid("details rows end before they begin")
    return first, last


def _transfer(runs: pa.Table, ids: Ints, positions: Ints) -> _Runs:
    """The runs of one segment in terms of another timeline.

    ``positions`` says where each snapshot of the segment stands there, or :data:`_NOWHERE`. Runs
    are cut where their snapshots are not neighbours there, for what lies between may differ.
    """
    first, last = _locate(runs, ids)
    blocks = np.cumsum(np.diff(positions, prepend=positions[:1] - 1) != 1)
    starts = np.flatnonzero(np.diff(blocks, prepend=-1))
    stops = np.append(starts[1:], len(ids)) - 1
    rows, offset = _repeat(blocks[last] - blocks[first] + 1)
    block = blocks[first][rows] + offset
    first = positions[np.maximum(first[rows], starts[block])]
    last = positions[np.minimum(last[rows], stops[block])]
    kept = first != _NOWHERE
    values = runs.drop_columns([name for name in RUN_COLUMNS if name in runs.column_names])
    if len(rows) != runs.num_rows or not kept.all():
        values = values.take(rows[kept])
    return _Runs(values, first[kept], last[kept])


def _repeat(counts: Ints) -> tuple[Ints, Ints]:
    """Each index as often as its count says, and the number of the repetition, from 0."""
    index = np.repeat(np.arange(len(counts)), counts)
    return index, np.arange(len(index)) - np.repeat(np.cumsum(counts) - counts, counts)


def _concat(parts: Sequence[_Runs], schema: pa.Schema) -> _Runs:
    tables = [schema.empty_table(), *(part.values.select(schema.names) for part in parts)]
    values = pa.concat_tables([table.cast(schema) for table in tables])
    return _Runs(
        values.unify_dictionaries().combine_chunks(),
        np.concatenate([np.empty(0, np.int64), *(part.first for part in parts)]),
        np.concatenate([np.empty(0, np.int64), *(part.last for part in parts)]),
    )


def _extend(runs: _Runs) -> _Runs:
    """Runs by (file_index, position), joined where neighbours in time have the same values."""
    if runs.values.num_rows == 0:
        return runs
    order = np.lexsort((runs.first, _file_index(runs.values)))
    first, last = runs.first[order], runs.last[order]
    goes_on = first[1:] == last[:-1] + 1
    for column in runs.values.columns:
        for codes in _codes(column):
            codes = codes[order]
            goes_on &= codes[1:] == codes[:-1]
    heads = np.flatnonzero(np.append(True, ~goes_on))
    tails = np.append(heads[1:], len(order)) - 1
    return _Runs(runs.values.take(order[heads]), first[heads], last[tails])


def _expand(runs: _Runs, begin: int, end: int) -> _Runs:
    """One row per file and position in ``begin <= position < end``, by (position, file_index)."""
    inside = np.flatnonzero((runs.first < end) & (runs.last >= begin))
    first = np.maximum(runs.first[inside], begin)
    rows, offset = _repeat(np.minimum(runs.last[inside], end - 1) - first + 1)
    positions = first[rows] + offset
    rows = inside[rows]
    order = np.lexsort((_file_index(runs.values)[rows], positions))
    positions = positions[order]
    return _Runs(runs.values.take(rows[order]), positions, positions)


def _windows(runs: _Runs, snapshots: int, max_rows: int | None) -> Iterator[tuple[int, int]]:
    """Ranges of positions that expand to at most ``max_rows`` rows, or are one snapshot."""
    if max_rows is None:
        yield 0, snapshots
        return
    edges = np.bincount(runs.first, minlength=snapshots + 1)
    edges -= np.bincount(runs.last + 1, minlength=snapshots + 1)
    total = np.cumsum(np.cumsum(edges)[:snapshots])
    begin = 0
    while begin < snapshots:
        before = total[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(total, before + max_rows, side="right")))
        yield begin, end
        begin = end


def _file_index(values: pa.Table) -> Ints:
    return _ints(pc.fill_null(values["file_index"], -1))


def _ints(column: pa.ChunkedArray) -> Ints:
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    return np.asarray(column.to_numpy(), np.int64)


def _codes(column: pa.ChunkedArray) -> Iterator[npt.NDArray[Any]]:
    """Arrays in which two rows agree if, and only if, their values do; null equals null only."""
    array = column.combine_chunks()
    if pa.types.is_dictionary(array.type):
        yield array.indices.fill_null(-1).to_numpy()
        return
    # Floats by their bits: NaN is unchanged NaN, and -0.0 is not 0.0.
    bits = array.view(pa.int64())
    yield bits.fill_null(0).to_numpy()
    if bits.null_count:
        yield bits.is_null().to_numpy(zero_copy_only=False)


# --- Files --------------------------------------------------------------------------------------


class _Files:
    """Whole files below the root of the store, on disk or in a bucket, with errors that explain."""

    def __init__(self, path_or_uri: str | os.PathLike[str], filesystem: pafs.FileSystem | None):
        text = os.fspath(path_or_uri)
        if filesystem is not None:
            self.filesystem, self.root, self.uri = filesystem, text.rstrip("/"), text
        elif re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+://", text):
            self.uri = without_secrets(text)
            with self.explained("open", ""):
                self.filesystem, self.root = pafs.FileSystem.from_uri(_tuned(text))
        else:
            self.root = str(Path(text).expanduser().absolute())
            self.filesystem, self.uri = pafs.LocalFileSystem(), self.root
        self.is_local = isinstance(self.filesystem, pafs.LocalFileSystem)

    def full(self, path: str) -> str:
        return f"{self.root}/{path}" if path else self.root

    @contextmanager
    def explained(
        self, action: str, path: str, *, but: tuple[type[OSError], ...] = ()
    ) -> Iterator[None]:
        """Turn a failure of the file system into a :class:`StoreError` of one line."""
        where = f"{self.uri.rstrip('/')}/{path}".rstrip("/")
        try:
            yield
        except but:
            raise
        except (OSError, pa.ArrowException) as error:
            reason = _REASONS.get(getattr(error, "errno", None) or 0)
            reason = reason or excerpt(str(error).partition(" (Request ID")[0], 300)
            raise StoreError(f"cannot {action} {where}: {reason}") from error

    def put(self, path: str, content: pa.Buffer | bytes) -> None:
        """Make a file appear whole and durable, or not at all."""
        with self.explained("write", path):
            if self.is_local:
                _put_durably(Path(self.root), path, content)
            else:
                with self.filesystem.open_output_stream(self.full(path)) as stream:
                    stream.write(content)

    def entries(self, folder: str, *, recursive: bool = False) -> list[pafs.FileInfo]:
        selector = pafs.FileSelector(self.full(folder), allow_not_found=True, recursive=recursive)
        with self.explained("list", folder):
            infos: list[pafs.FileInfo] = self.filesystem.get_file_info(selector)
        return infos

    def relative(self, info: pafs.FileInfo) -> str:
        path: str = info.path
        return path[len(self.root) :].lstrip("/")

    def exists(self, path: str) -> bool:
        with self.explained("read", path):
            info = self.filesystem.get_file_info(self.full(path))
        return bool(info.type != pafs.FileType.NotFound)

    def read(self, path: str) -> pa.Buffer:
        """The bytes of a file. A missing one raises FileNotFoundError."""
        with (
            self.explained("read", path, but=(FileNotFoundError,)),
            self.filesystem.open_input_stream(self.full(path)) as stream,
        ):
            return stream.read_buffer()

    def delete(self, path: str) -> None:
        with self.explained("delete", path), suppress(FileNotFoundError):
            self.filesystem.delete_file(self.full(path))

    def move(self, path: str, target: str) -> None:
        with self.explained("move", path):
            if self.is_local:
                Path(self.full(target)).parent.mkdir(parents=True, exist_ok=True)
            self.filesystem.move(self.full(path), self.full(target))


_REASONS: Final = {
    errno.ENOSPC: "no space left on the device; free some, or choose another store",
    errno.EDQUOT: "the disk quota is used up; free some space, or choose another store",
    errno.EFBIG: "the file would exceed the size limit (ulimit -f); raise the limit",
    errno.EACCES: "permission denied; check the owner and mode of the folder",
    errno.EPERM: "permission denied; check the owner and mode of the folder",
    errno.EROFS: "the file system is read-only; choose another store",
    errno.ENOTDIR: "a part of the path is a file, not a folder; choose another store",
    errno.ENAMETOOLONG: "the path is too long; choose a shorter one",
}


def _put_durably(root: Path, path: str, content: pa.Buffer | bytes) -> None:
    target = root / path
    # Not beside the target: some tools read every file of a folder, whatever its name.
    temporary = root / _TEMPORARY / f"{target.name}.{secrets.token_hex(6)}"
    _make_folder(temporary.parent)
    _make_folder(target.parent)
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(target)
        _sync_folder(target.parent)
    except BaseException:
        for leftover in (temporary, target):
            with suppress(OSError):
                leftover.unlink()
        raise


def _make_folder(folder: Path) -> None:
    """Create a folder and its parents so that they survive a crash."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _tuned(uri: str) -> str:
    # Without it pyarrow sends three requests (a multipart upload) for the smallest object.
    if uri.startswith("s3://") and "allow_delayed_open" not in uri:
        return f"{uri}{'&' if '?' in uri else '?'}allow_delayed_open=true"
    return uri


# --- Parquet ------------------------------------------------------------------------------------


# Measured by benchmarks/store.py: counts differ by little from row to row, which deltas use; file
# names do not repeat in a fresh segment and stand together in a compacted one, where zstd needs no
# dictionary; all else has few values. BYTE_STREAM_SPLIT would take a third off compacted counts,
# but is too new for integers to be read everywhere; zstd 9 would take 5 percent off them.
_DELTA_COLUMNS: Final = ("file_index", "file_size_bytes", "imported_rows", "total_rows")
_PLAIN_COLUMNS: Final = ("file_name",)


def _encode(table: pa.Table) -> pa.Buffer:
    """A table as a Parquet file."""
    other = {*_DELTA_COLUMNS, *_PLAIN_COLUMNS}
    delta = [name for name in _DELTA_COLUMNS if name in table.column_names]
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink,
        table.schema,
        compression="zstd",
        compression_level=3,
        use_dictionary=[name for name in table.column_names if name not in other],
        column_encoding=dict.fromkeys(delta, "DELTA_BINARY_PACKED"),
        # Arrow's copy of the schema would double a small file, and Parquet's own says it all.
        store_schema=False,
    ) as writer:
        writer.write_table(table, row_group_size=_ROW_GROUP_ROWS)
        writer.add_key_value_metadata(table.schema.metadata)
    return sink.getvalue()


def _decode(
    source: str | pa.BufferReader,
    filesystem: pafs.FileSystem | None,
    table: TableName,
    columns: Sequence[str],
    filter_: pc.Expression | None = None,
) -> pa.Table:
    """The columns of a Parquet file as reads return them, or ArrowInvalid for another schema."""
    text = [name for name in _TEXT_COLUMNS[table] if name in columns]
    if filter_ is None:
        try:
            file = pq.ParquetFile(source, filesystem=filesystem, read_dictionary=text)
        except KeyError as error:
            raise pa.ArrowInvalid(f"column {error} is missing") from error
        with file:
            found = file.read(list(columns))
    else:
        options = ds.ParquetReadOptions(dictionary_columns=set(_TEXT_COLUMNS[table]))
        fragment = ds.ParquetFileFormat(options).make_fragment(source, filesystem)
        found = fragment.to_table(columns=list(columns), filter=filter_)
    schema = _result_schema(table, columns)
    missing = [name for name in columns if name not in found.column_names]
    if missing:
        raise pa.ArrowInvalid(f"column {missing[0]} is missing")
    found = found.select(schema.names)
    nulls = [name for name in columns if name in _NEVER_NULL and found[name].null_count]
    if nulls:
        raise pa.ArrowInvalid(f"column {nulls[0]} has nulls")
    if found.schema.types != schema.types:
        raise pa.ArrowInvalid("columns have other types than the store's")
    return found


def _result_schema(table: TableName, columns: Sequence[str]) -> pa.Schema:
    schema = _RESULT[table]
    return pa.schema([schema.field(name) for name in columns], metadata=schema.metadata)


class _Corrupt(Exception):  # noqa: N818 - an outcome that the caller handles, not an error
    """A file is there and can be read, but is not what it should be."""


class _JobsPart(NamedTuple):
    """The snapshots of one segment, and which of them count (not those another one has, too)."""

    segment: _Segment
    has_details: bool
    ids: Ints
    kept: Flags


class _JobState(NamedTuple):
    """All that the jobs files of one job say: its snapshots, each once, by id."""

    parts: list[_JobsPart]
    timeline: _Timeline
    rows: pa.Table


_ALWAYS: Final = _Period(None, None)
_JOBS_KEY: Final = ("snapshot_id", "observed_at", "source_uri", "job_id")
_NEVER_NULL: Final = frozenset({*_JOBS_KEY, *RUN_COLUMNS})
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


def _key(rows: pa.Table) -> tuple[str, str]:
    return rows["source_uri"][0].as_py(), rows["job_id"][0].as_py()


def _parse_time(text: str) -> datetime:
    return datetime.strptime(text, "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC)


def _check_columns(table: TableName, columns: Sequence[str] | None) -> list[str]:
    known = _STORED[table].names
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
        _result_schema("details", _VALUE_COLUMNS).empty_table().filter(expression)
    except pa.ArrowException as error:
        raise ValueError(
            f"cannot filter details by {excerpt(str(expression))}: {excerpt(str(error))}; "
            f"a filter may use {', '.join(_VALUE_COLUMNS)}"
        ) from error


def _conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table by the schema, columns in any order, texts encoded or not."""
    missing = [name for name in schema.names if name not in table.column_names]
    if missing or table.num_columns > len(schema):
        odd = missing or [name for name in table.column_names if name not in schema.names]
        raise ValueError(f"the table does not have the store's columns: see {odd[0]!r}")
    return table.select(schema.names).cast(schema)


def _rows(runs: _Runs, timeline: _Timeline, schema: pa.Schema) -> pa.Table:
    """Runs as rows of the details table, with the columns of the schema."""
    made = {
        "snapshot_id": (timeline.ids, runs.first),
        "last_snapshot_id": (timeline.ids, runs.last),
        "observed_at": (timeline.times, runs.first),
        "last_observed_at": (timeline.times, runs.last),
    }
    columns = []
    for field in schema:
        if field.name in made:
            values, positions = made[field.name]
            columns.append(pa.array(values[positions]).cast(field.type))
        else:
            columns.append(runs.values[field.name].cast(field.type))
    return pa.table(columns, schema=schema)


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
    >>> from importstats.response import parse_response
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
        self._files = _Files(path_or_uri, filesystem)
        self._is_checked = False

    @property
    def uri(self) -> str:
        """Where the store is: an absolute path or a URI, without secrets."""
        return self._files.uri

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
            By :data:`~importstats.schema.JOBS_SCHEMA` and
            :data:`~importstats.schema.DETAILS_SCHEMA` (text may be dictionary-encoded). A details
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
        ids = _ints(jobs["snapshot_id"]) if not jobs["snapshot_id"].null_count else None
        if ids is None or jobs["observed_at"].null_count:
            raise ValueError("jobs rows have no snapshot_id or observed_at")
        if np.any(ids[1:] == ids[:-1]):
            raise ValueError(f"two snapshots of job {key[1]} have the same snapshot_id")
        timeline = _Timeline(ids, _ints(jobs["observed_at"]))
        runs = _transfer(details, ids, np.arange(len(ids)))
        if len(ids) > 1:
            runs = _extend(_concat([runs], _result_schema("details", _VALUE_COLUMNS)))
        self._check_format(create=True)
        segment = _Segment.create(_Job(slug(key[0]), slug(key[1])), 0, jobs["observed_at"])
        self._write(segment, jobs, _rows(runs, timeline, DETAILS_SCHEMA))

    def _write(self, segment: _Segment, jobs: pa.Table, details: pa.Table) -> None:
        """Write a segment; the jobs file last, since it makes both count."""
        note = {**JOBS_SCHEMA.metadata, _DETAIL_ROWS: str(details.num_rows).encode()}
        jobs = jobs.cast(JOBS_SCHEMA).replace_schema_metadata(note)
        if details.num_rows:
            self._files.put(segment.path("details"), _encode(details))
        try:
            self._files.put(segment.path("jobs"), _encode(jobs))
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
        needed = _union(_JOBS_KEY, wanted)
        period = _Period.of(since, until)

        def read(segments: Sequence[_Segment]) -> pa.Table:
            return self._read_jobs(segments, needed, period).rows

        found = [
            self._retrying(job, segments, read)
            for job, segments in self._listing(source_uri, job_id, period).items()
        ]
        found = sorted((rows for rows in found if rows.num_rows), key=_key)
        schema = _result_schema("jobs", wanted)
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
        schema = _result_schema("details", _check_columns("details", columns))
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
        values = [name for name in wanted if name not in RUN_COLUMNS]
        needed = _union(["file_index"], values)
        period = _Period.of(since, until)
        _check_filter(filter)
        schema = _result_schema("details", wanted)

        def read(segments: Sequence[_Segment]) -> tuple[_Timeline, _Runs]:
            state = self._read_jobs(segments, _JOBS_KEY, period)
            parts, _ = self._read_runs(state, needed, filter)
            return state.timeline, _concat(parts, _result_schema("details", needed))

        for _, job, segments in self._with_keys(self._listing(source_uri, job_id, period)):
            timeline, found = self._retrying(job, segments, read)
            if runs:
                table = _rows(_extend(found), timeline, schema)
                if table.num_rows:
                    yield table
                continue
            for begin, end in _windows(found, len(timeline.ids), max_rows):
                table = _rows(_expand(found, begin, end), timeline, schema)
                if table.num_rows:
                    yield table

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
        if table not in _STORED:
            raise ValueError(f"no table {table!r}; there are 'jobs' and 'details'")

        def read(segments: Sequence[_Segment]) -> list[_JobsPart]:
            return self._read_jobs(segments, _JOBS_KEY, _ALWAYS).parts

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
        self._delete_stale_files(_TEMPORARY)
        return CompactionResult(*total.tolist())

    def _compact_job(self, job: _Job, min_segments: int, *, by_level: bool) -> None:
        unusable: set[_Segment] = set()
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

    def _merge(self, batch: Sequence[_Segment]) -> set[_Segment]:
        """Replace segments by one, or return those that make it impossible."""
        state = self._read_jobs(batch, JOBS_SCHEMA.names, _ALWAYS)
        parts, damaged = self._read_runs(state, _VALUE_COLUMNS, None)
        damaged |= set(batch) - {part.segment for part in state.parts}
        if damaged:
            return damaged
        runs = _extend(_concat(parts, _result_schema("details", _VALUE_COLUMNS)))
        level = max(segment.level for segment in batch) + 1
        merged = _Segment.create(batch[0].job, level, state.rows["observed_at"])
        self._write(merged, state.rows, _rows(runs, state.timeline, DETAILS_SCHEMA))
        self._delete(batch)
        return set()

    def _delete(self, segments: Sequence[_Segment]) -> None:
        tables: tuple[TableName, ...] = ("jobs", "details")
        for table in tables:
            for segment in segments:
                self._files.delete(segment.path(table))

    def _drop_covered(self, segments: Sequence[_Segment]) -> list[_Segment]:
        """Delete segments whose snapshots are all in preferred ones; the others.

        A killed compactor leaves them. Only segments that overlap in time can be such.
        """
        remaining = list(segments)
        for group in _overlapping(segments):
            parts = self._read_jobs(group, _JOBS_KEY, _ALWAYS).parts
            covered = [part.segment for part in parts if not part.kept.any()]
            self._delete(covered)
            remaining = [segment for segment in remaining if segment not in covered]
        return remaining

    def _delete_orphans(self, job: _Job) -> None:
        """Delete old details files without a jobs file: their writer died before the commit."""
        details = self._files.entries(f"details/{job.folder}")
        committed = {segment.name for segment in self._segments(job)}
        for info in details:
            if info.base_name.removesuffix(_SUFFIX) not in committed and _is_stale(info):
                self._files.delete(self._files.relative(info))

    def _delete_stale_files(self, folder: str) -> None:
        for info in self._files.entries(folder):
            if _is_stale(info):
                self._files.delete(self._files.relative(info))

    # --- Segments ---

    def _listing(
        self, source_uri: str | None, job_id: str | None, period: _Period = _ALWAYS
    ) -> dict[_Job, list[_Segment]]:
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

    def _segments(self, job: _Job) -> list[_Segment]:
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

    def _scan(self, folders: Iterable[str]) -> dict[_Job, list[_Segment]]:
        found: dict[_Job, list[_Segment]] = {}
        for folder in folders:
            for info in self._files.entries(folder.rstrip("/"), recursive=True):
                match = _SEGMENT_PATH.fullmatch(self._files.relative(info))
                if match is None or info.type != pafs.FileType.File:
                    continue
                job = _Job(match["cluster"], match["job"])
                segment = _Segment.parse(job, match["file"])
                if segment is not None:
                    found.setdefault(job, []).append(segment)
        return found

    def _sizes(self, job: _Job) -> dict[str, int]:
        """Bytes of each segment, jobs and details files together, by name."""
        details = {
            info.base_name: info.size for info in self._files.entries(f"details/{job.folder}")
        }
        return {
            info.base_name.removesuffix(_SUFFIX): info.size + details.get(info.base_name, 0)
            for info in self._files.entries(f"jobs/{job.folder}")
            if _Segment.parse(job, info.base_name)
        }

    def _retrying(
        self, job: _Job, segments: Sequence[_Segment], read: Callable[[Sequence[_Segment]], _T]
    ) -> _T:
        """Read segments; if one vanishes, which a compaction does, list again and start over."""
        for attempt in range(_ATTEMPTS):
            try:
                return read(segments)
            except FileNotFoundError:
                time.sleep(min(0.001 * 2**attempt, 0.2))
                segments = self._segments(job)
        raise self._too_busy(job)

    def _too_busy(self, job: _Job) -> StoreError:
        return StoreError(
            f"{self.uri}/jobs/{job.folder} changed during each of {_ATTEMPTS} attempts to read it; "
            "compact less often, or try again"
        )

    def _with_keys(
        self, listing: dict[_Job, list[_Segment]]
    ) -> Iterator[tuple[tuple[str, str], _Job, list[_Segment]]]:
        """The jobs of a listing with (source_uri, job_id), in that order."""

        def read(segments: Sequence[_Segment]) -> tuple[str, str] | None:
            for segment in segments:
                rows = self._read_jobs([segment], _JOBS_KEY, _ALWAYS).rows
                if rows.num_rows:
                    return _key(rows)
            return None

        keys = {job: self._retrying(job, segments, read) for job, segments in listing.items()}
        known = [(key, job) for job, key in keys.items() if key is not None]
        for key, job in sorted(known):
            yield key, job, listing[job]

    # --- Files of segments ---

    def _read_jobs(
        self, segments: Sequence[_Segment], columns: Sequence[str], period: _Period
    ) -> _JobState:
        """The snapshots of segments of one job, each from the preferred segment that has it."""
        chosen = sorted((each for each in segments if period.may_hold(each)), reverse=True)
        tables = {}
        for segment, rows in zip(chosen, self._read_all(chosen, "jobs", columns), strict=True):
            if isinstance(rows, _Corrupt):
                self._set_aside(segment, "jobs", rows)
            else:
                tables[segment] = rows.sort_by("snapshot_id") if rows.num_rows > 1 else rows
        schema = _result_schema("jobs", columns)
        together = pa.concat_tables(
            [schema.empty_table(), *(rows.cast(schema) for rows in tables.values())]
        ).unify_dictionaries()
        all_ids, all_times = _ints(together["snapshot_id"]), _ints(together["observed_at"])
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
        timeline = _Timeline(all_ids[index], all_times[index])
        return _JobState(parts, timeline, together.combine_chunks().take(index))

    def _read_runs(
        self, state: _JobState, columns: Sequence[str], filter_: pc.Expression | None
    ) -> tuple[list[_Runs], set[_Segment]]:
        """The details of the snapshots that count, and the segments whose details are damaged."""
        parts = [part for part in state.parts if part.has_details and part.kept.any()]
        needed = _union(["snapshot_id", "last_snapshot_id"], columns)
        segments = [part.segment for part in parts]
        found, damaged = [], set()
        for part, rows in zip(
            parts, self._read_all(segments, "details", needed, filter_), strict=True
        ):
            positions = np.full(len(part.ids), _NOWHERE)
            positions[part.kept] = np.searchsorted(state.timeline.ids, part.ids[part.kept])
            try:
                if isinstance(rows, _Corrupt):
                    raise rows
                found.append(_transfer(rows, part.ids, positions))
            except (_Corrupt, pa.ArrowInvalid) as reason:
                self._set_aside(part.segment, "details", reason)
                damaged.add(part.segment)
        return found, damaged

    def _read_all(
        self,
        segments: Sequence[_Segment],
        table: TableName,
        columns: Sequence[str],
        filter_: pc.Expression | None = None,
    ) -> list[pa.Table | _Corrupt]:
        def read(segment: _Segment) -> pa.Table | _Corrupt:
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
        segment: _Segment,
        table: TableName,
        columns: Sequence[str],
        filter_: pc.Expression | None,
    ) -> pa.Table:
        """The columns of a file. Raises FileNotFoundError if a compaction took it away."""
        path = segment.path(table)
        try:
            full = self._files.full(path)
            return _decode(full, self._files.filesystem, table, columns, filter_)
        except FileNotFoundError:
            # Compaction deletes the jobs file first. If that stands, the details are lost.
            if table == "details" and self._files.exists(segment.path("jobs")):
                raise _Corrupt("missing") from None
            raise
        except (OSError, pa.ArrowException):
            # A failure to read, or content that is wrong? All bytes at hand, only the latter.
            content = self._files.read(path)
        try:
            return _decode(pa.BufferReader(content), None, table, columns, filter_)
        except (OSError, pa.ArrowException) as error:
            raise _Corrupt(excerpt(str(error))) from error

    def _set_aside(self, segment: _Segment, table: TableName, reason: Exception) -> None:
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


def _is_stale(info: pafs.FileInfo) -> bool:
    return info.mtime_ns is not None and info.mtime_ns / 1e9 < time.time() - _STALE_AFTER_S


def _overlapping(segments: Iterable[_Segment]) -> list[list[_Segment]]:
    """Groups of two and more segments whose times overlap."""
    groups: list[list[_Segment]] = []
    reach = ""
    for segment in sorted(segments, key=lambda each: each.first):
        if segment.first > reach:
            groups.append([])
        groups[-1].append(segment)
        reach = max(reach, segment.last)
    return [group for group in groups if len(group) > 1]


def _plan(
    segments: Sequence[_Segment], sizes: dict[str, int], min_segments: int, *, by_level: bool
) -> list[_Segment]:
    """The segments to merge next, neighbours in time; empty if nothing is worth while."""
    by_time = sorted(segments, key=lambda each: (each.level if by_level else 0, each.first))
    for _, group in groupby(by_time, key=lambda each: each.level if by_level else 0):
        batch: list[_Segment] = []
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
