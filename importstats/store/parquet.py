"""The two tables as Parquet files: how they are encoded, and how read back and checked."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from importstats.store.schema import (
    ADDED_COLUMNS,
    DETAILS_SCHEMA,
    JOBS_SCHEMA,
    RUN_COLUMNS,
)
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
# What zstd makes much smaller. On all other columns it saves less than a tenth of a file, and to
# read a file of a few thousand rows takes 1.6 times as long: each page sets up a decoder of zstd.
_DENSE_COLUMNS: Final = frozenset(
    {*("file_name", "file_size_bytes", "total_rows"), *("reason", "message", "error", "extra")}
)

# To begin with zstd or a dictionary takes longer, for each column, than so few rows are worth: a
# file of one row takes a third of the time, read or written, and is smaller, too.
_QUICK: Final[dict[str, Any]] = {"compression": "snappy", "use_dictionary": False}
_QUICK_ROWS: Final = 512


def encode(table: pa.Table, *, is_fresh: bool) -> pa.Buffer:
    """A table as a Parquet file; in a fresh segment, which is soon merged, with little work."""
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
    """The columns of a Parquet file as reads return them, or ArrowInvalid for another schema.

    A text that is the same in all rows stands in the file's footer, as does that a column is all
    null. Such a column is not read, unless ``every_byte`` is to be looked at.
    """
    text = [name for name in _TEXT_COLUMNS[table] if name in columns]
    schema = result_schema(table, columns)
    if filter_ is None:
        with _opened(source, filesystem, text) as file:
            known = {} if every_byte else _told_by_footer(file, schema)
            # One row group is read faster by one thread than by waking more.
            several = file.num_row_groups > 1
            found = file.read([name for name in columns if name not in known], use_threads=several)
            rows = file.metadata.num_rows
    else:
        import pyarrow.dataset as ds  # Takes a while, and few reads have a filter.

        options = ds.ParquetReadOptions(dictionary_columns=set(_TEXT_COLUMNS[table]))
        fragment = ds.ParquetFileFormat(options).make_fragment(source, filesystem)
        found = fragment.to_table(columns=list(columns), filter=filter_)
        known, rows = {}, found.num_rows
    made = {name: found.column(place) for place, name in enumerate(found.column_names)}
    for name in columns:
        if name in known:
            made[name] = known[name]
        elif name not in made:
            if name not in ADDED_COLUMNS:
                raise pa.ArrowInvalid(f"column {name} is missing")
            made[name] = _nulls(rows, schema.field(name).type)
        elif name in _NEVER_NULL and made[name].null_count:
            raise pa.ArrowInvalid(f"column {name} has nulls")
        if made[name].type != schema.field(name).type:
            raise pa.ArrowInvalid("columns have other types than the store's")
    return pa.table([made[name] for name in columns], list(columns), metadata=found.schema.metadata)


def _told_by_footer(file: pq.ParquetFile, schema: pa.Schema) -> dict[str, pa.Array]:
    """The columns that are null, or one and the same text, in all rows, as its statistics say."""
    metadata = file.metadata
    known: dict[str, pa.Array] = {}
    if not 0 < metadata.num_row_groups <= _FEW_GROUPS:
        return known
    places = {name: place for place, name in enumerate(file.schema_arrow.names)}
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    for field in schema:
        if field.name not in _OFTEN_THE_SAME or field.name not in places:
            continue
        chunks = [group.column(places[field.name]).statistics for group in groups]
        if any(chunk is None or not chunk.has_null_count for chunk in chunks):
            continue
        pairs = zip(chunks, groups, strict=True)
        if all(chunk.null_count == group.num_rows for chunk, group in pairs):
            known[field.name] = _nulls(metadata.num_rows, field.type)
            continue
        # A bound that was cut short is rounded away from the values, so two equal ones are exact.
        bounds = {
            bound
            for chunk in chunks
            for bound in ((chunk.min, chunk.max) if chunk.has_min_max else (None,))
        }
        if len(bounds) == 1 and not any(chunk.null_count for chunk in chunks):
            (text,) = bounds
            if isinstance(text, str):
                codes = pa.array(np.zeros(metadata.num_rows, np.int32))
                known[field.name] = pa.DictionaryArray.from_arrays(codes, pa.array([text]))
    return known


def _nulls(rows: int, type_: pa.DataType) -> pa.Array:
    if not pa.types.is_dictionary(type_):
        return pa.nulls(rows, type_)
    nothing = pa.array([], type_.value_type)
    return pa.DictionaryArray.from_arrays(pa.nulls(rows, type_.index_type), nothing)


# Worth a look at the footer; and not worth it if there are many row groups to look at.
_OFTEN_THE_SAME: Final = frozenset(
    {
        *("source_uri", "job_id", "db_name", "collection_name", "reason", "extra", "message"),
        *("error", "create_time", "complete_time", "server_version"),
    }
)
_FEW_GROUPS: Final = 8


def _opened(
    source: str | pa.BufferReader, filesystem: pafs.FileSystem | None, text: Sequence[str]
) -> pq.ParquetFile:
    """The file, its text columns to be read as dictionaries."""
    try:
        return pq.ParquetFile(source, filesystem=filesystem, read_dictionary=list(text))
    except KeyError as error:
        # The file may be older than a column.
        older = [name for name in text if name not in ADDED_COLUMNS]
        if len(older) == len(text):
            raise pa.ArrowInvalid(f"column {error} is missing") from error
    return _opened(source, filesystem, older)


def result_schema(table: TableName, columns: Sequence[str]) -> pa.Schema:
    """The schema of these columns as reads return them."""
    return _result_schema(table, tuple(columns))


@lru_cache(maxsize=64)
def _result_schema(table: TableName, columns: tuple[str, ...]) -> pa.Schema:
    schema = _RESULT_SCHEMAS[table]
    return pa.schema([schema.field(name) for name in columns], metadata=schema.metadata)
