"""The two tables as Parquet files: encodes them, reads them back and checks them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from importstats.store.schema import ADDED_COLUMNS, DETAILS_SCHEMA, JOBS_SCHEMA, RUN_COLUMNS
from importstats.store.segments import TableName


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

STORED_SCHEMAS: Final = {"jobs": JOBS_SCHEMA, "details": DETAILS_SCHEMA}
_RESULT_SCHEMAS: Final = {"jobs": JOBS_RESULT_SCHEMA, "details": DETAILS_RESULT_SCHEMA}
_STORED_NAMES: Final = {table: schema.names for table, schema in STORED_SCHEMAS.items()}
VALUE_COLUMNS: Final = tuple(name for name in DETAILS_SCHEMA.names if name not in RUN_COLUMNS)
_TEXT_COLUMNS: Final = {
    table: [field.name for field in schema if pa.types.is_string(field.type)]
    for table, schema in STORED_SCHEMAS.items()
}


_ROW_GROUP_ROWS: Final = 2**16

#: Columns without which a jobs row means nothing.
JOBS_KEY: Final = ("snapshot_id", "observed_at", "source_uri", "job_id")
_NEVER_NULL: Final = frozenset({*JOBS_KEY, *RUN_COLUMNS})

# Measured by benchmarks/store.py: counts differ by little from row to row, which deltas use; file
# names do not repeat in a fresh segment and stand together in a compacted one, where zstd needs no
# dictionary; all else has few values. BYTE_STREAM_SPLIT takes a third off the counts of one large
# job, but adds 4 percent to a store of 80 jobs, whose files are read no faster; so it is not used,
# although pyarrow 26, pandas 3.1, DuckDB 2.0 and Polars 2.1 read it. zstd 9 takes off 5 percent.
_DELTA_COLUMNS: Final = ("file_index", "file_size_bytes", "imported_rows", "total_rows")
_PLAIN_COLUMNS: Final = ("file_name",)
# zstd makes these much smaller. On all other columns it saves less than a tenth of a file, and a
# file of a few thousand rows takes 1.6 times as long to read: each page sets up a zstd decoder.
_DENSE_COLUMNS: Final = frozenset(
    {*("file_name", "file_size_bytes", "total_rows"), *("reason", "message", "error", "extra")}
)

# For so few rows, setting up zstd and dictionaries for each column takes longer than they save: a
# file of one row takes a third of the time, read or written, and is smaller, too.
_QUICK: Final[dict[str, Any]] = {"compression": "snappy", "use_dictionary": False}
_QUICK_ROWS: Final = 512


def encode(table: pa.Table, *, is_fresh: bool) -> pa.Buffer:
    """A table as a Parquet file; if it is fresh, and so soon merged, with little work."""
    options = _QUICK if is_fresh and table.num_rows <= _QUICK_ROWS else _dense(table.column_names)
    sink = pa.BufferOutputStream()
    # Arrow's copy of the schema would double a small file, and Parquet's own says it all.
    with pq.ParquetWriter(sink, table.schema, store_schema=False, **options) as writer:
        writer.write_table(table, row_group_size=_ROW_GROUP_ROWS)
        writer.add_key_value_metadata(table.schema.metadata)
    return sink.getvalue()


def _dense(names: Sequence[str]) -> dict[str, Any]:
    other = {*_DELTA_COLUMNS, *_PLAIN_COLUMNS}
    delta = [name for name in _DELTA_COLUMNS if name in names]
    return {
        "compression": {name: "zstd" if name in _DENSE_COLUMNS else "snappy" for name in names},
        "compression_level": {name: 3 for name in names if name in _DENSE_COLUMNS},
        "use_dictionary": [name for name in names if name not in other],
        "column_encoding": dict.fromkeys(delta, "DELTA_BINARY_PACKED"),
    }


def decode(
    source: str | pa.BufferReader,
    filesystem: pafs.FileSystem | None,
    table: TableName,
    columns: Sequence[str],
    filter_: pc.Expression | None = None,
    every_byte: bool = False,
) -> pa.Table:
    """A Parquet file's columns as reads return them. Raises ArrowInvalid for another schema.

    The footer shows if a column has one text in all rows, or only nulls. Such a column is not
    read, unless ``every_byte`` must be checked.
    """
    names = tuple(columns)
    if filter_ is None:
        with _open_file(source, filesystem, _text_columns(table, names)) as file:
            metadata = file.metadata
            known = {} if every_byte else _footer_columns(metadata, table, names)
            wanted = _in_stored_order(table, names, frozenset(known))
            rows = metadata.num_rows
            found = file.read(list(wanted), use_threads=rows >= _MANY_ROWS)
    else:
        import pyarrow.dataset as ds  # Takes a while, and few reads have a filter.

        options = ds.ParquetReadOptions(dictionary_columns=set(_TEXT_COLUMNS[table]))
        fragment = ds.ParquetFileFormat(options).make_fragment(source, filesystem)
        wanted = _in_stored_order(table, names, frozenset())
        found = fragment.to_table(columns=list(wanted), filter=filter_)
        known, rows = {}, found.num_rows
    made = {**known, **_checked(found, table, wanted)}
    for name in names:
        if name not in made:
            if name not in ADDED_COLUMNS:
                raise pa.ArrowInvalid(f"column {name} is missing")
            made[name] = _nulls(rows, table, name)
    schema = result_schema(table, names).with_metadata(found.schema.metadata)
    return pa.Table.from_arrays([made[name] for name in names], schema=schema)


@lru_cache(maxsize=64)
def _in_stored_order(
    table: TableName, columns: tuple[str, ...], known: frozenset[str]
) -> tuple[str, ...]:
    """The columns to read that are not known, in the order of the stored schema."""
    asked = set(columns) - known
    return tuple(name for name in _STORED_NAMES[table] if name in asked)


def _checked(
    found: pa.Table, table: TableName, wanted: tuple[str, ...]
) -> dict[str, pa.ChunkedArray]:
    """The columns that were read, by name. Raises ArrowInvalid if one is not the store's."""
    names: Sequence[str] = wanted
    # To compare two schemas takes a hundredth of the time that a look at each column takes.
    if not found.schema.equals(result_schema(table, wanted)):
        names = found.schema.names
        if any(found.schema.field(name).type != _type(table, name) for name in names):
            raise pa.ArrowInvalid("columns have other types than the store's")
    made = dict(zip(names, found.columns, strict=True))
    for name in _NEVER_NULL.intersection(names):
        if made[name].null_count:
            raise pa.ArrowInvalid(f"column {name} has nulls")
    return made


def _footer_columns(
    metadata: pq.FileMetaData, table: TableName, columns: tuple[str, ...]
) -> dict[str, pa.Array]:
    """The columns that are null, or have one text, in all rows, by the footer's statistics."""
    known: dict[str, pa.Array] = {}
    rows = metadata.num_rows
    if not 0 < metadata.num_row_groups <= _FEW_GROUPS:
        return known
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    for name, expected in _often_the_same(table, columns):
        place = _place(groups[0], metadata.num_columns, name, expected)
        if place is None:
            continue
        found = [group.column(place).statistics for group in groups]
        if not all(each is not None and each.has_null_count for each in found):
            continue
        nulls = sum(each.null_count for each in found)
        if nulls == rows and name not in _NEVER_NULL:
            known[name] = _nulls(rows, table, name)
        elif not nulls and all(each.has_min_max for each in found):
            # A bound that was cut short is rounded away from the values: two equal ones are exact.
            bounds = {bound for each in found for bound in (each.min, each.max)}
            if len(bounds) == 1 and isinstance(text := bounds.pop(), str):
                known[name] = _constant(text, rows)
    return known


def _place(group: pq.RowGroupMetaData, columns: int, name: str, expected: int) -> int | None:
    """The column's place in a file, which has fewer columns if it is older; None if it lacks it."""
    if expected < columns and group.column(expected).path_in_schema == name:
        return expected
    names = [group.column(place).path_in_schema for place in range(columns)]
    return names.index(name) if name in names else None


@lru_cache(maxsize=64)
def _text_columns(table: TableName, columns: tuple[str, ...]) -> list[str]:
    return [name for name in _TEXT_COLUMNS[table] if name in columns]


def _nulls(rows: int, table: TableName, name: str) -> pa.Array:
    if rows > _ROW_GROUP_ROWS:
        return _made_nulls(rows, _type(table, name))
    return _row_group_nulls(table, name).slice(0, rows)


@lru_cache(maxsize=64)
def _row_group_nulls(table: TableName, name: str) -> pa.Array:
    # Its slices take no memory, and a tenth of the time.
    return _made_nulls(_ROW_GROUP_ROWS, _type(table, name))


def _made_nulls(rows: int, type_: pa.DataType) -> pa.Array:
    if not pa.types.is_dictionary(type_):
        return pa.nulls(rows, type_)
    nothing = pa.array([], type_.value_type)
    return pa.DictionaryArray.from_arrays(pa.nulls(rows, type_.index_type), nothing)


def _constant(text: str, rows: int) -> pa.DictionaryArray:
    codes = pa.array(np.zeros(rows, np.int32)) if rows > _ROW_GROUP_ROWS else _ZEROS.slice(0, rows)
    return pa.DictionaryArray.from_arrays(codes, _one_text(text), safe=False)


@lru_cache(maxsize=256)
def _one_text(text: str) -> pa.StringArray:
    return pa.array([text], pa.string())


_ZEROS: Final = pa.array(np.zeros(_ROW_GROUP_ROWS, np.int32))


def _type(table: TableName, name: str) -> pa.DataType:
    return _RESULT_SCHEMAS[table].field(name).type


@lru_cache(maxsize=64)
def _often_the_same(table: TableName, columns: tuple[str, ...]) -> list[tuple[str, int]]:
    """The columns that are worth a look at the footer, with their places in most files."""
    return [
        (name, place)
        for place, name in enumerate(_STORED_NAMES[table])
        if name in _OFTEN_THE_SAME and name in columns
    ]


_OFTEN_THE_SAME: Final = frozenset(
    {
        *("source_uri", "job_id", "db_name", "collection_name", "reason", "extra", "message"),
        *("error", "create_time", "complete_time", "server_version"),
    }
)
# From this many rows on, more than one thread is worth waking.
_MANY_ROWS: Final = 2**14
# With more row groups than this, the look at the footer takes longer than it saves.
_FEW_GROUPS: Final = 8


def _open_file(
    source: str | pa.BufferReader, filesystem: pafs.FileSystem | None, text: Sequence[str]
) -> pq.ParquetFile:
    """The open file, which reads its text columns as dictionaries."""
    try:
        # Other threads should wait neither for memory nor for one read of a disk.
        is_far = filesystem is not None and not isinstance(filesystem, pafs.LocalFileSystem)
        return pq.ParquetFile(
            source, filesystem=filesystem, read_dictionary=list(text), pre_buffer=is_far
        )
    except KeyError as error:
        # The file may be older than a column: open it without those that were added.
        older = [name for name in text if name not in ADDED_COLUMNS]
        if len(older) == len(text):
            name = error.args[0]
            missing = name.decode() if isinstance(name, bytes) else name
            raise pa.ArrowInvalid(f"column {missing} is missing") from error
    return _open_file(source, filesystem, older)


def result_schema(table: TableName, columns: Sequence[str]) -> pa.Schema:
    """The schema that reads of these columns return."""
    return _result_schema(table, tuple(columns))


@lru_cache(maxsize=64)
def _result_schema(table: TableName, columns: tuple[str, ...]) -> pa.Schema:
    schema = _RESULT_SCHEMAS[table]
    return pa.schema([schema.field(name) for name in columns], metadata=schema.metadata)
