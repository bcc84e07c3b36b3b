"""The two tables as Parquet files: how they are encoded, and how read back and checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
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
# dictionary; all else has few values. BYTE_STREAM_SPLIT would take a third off compacted counts,
# but is too new for integers to be read everywhere; zstd 9 would take 5 percent off them.
_DELTA_COLUMNS: Final = ("file_index", "file_size_bytes", "imported_rows", "total_rows")
_PLAIN_COLUMNS: Final = ("file_name",)

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
        "compression": "zstd",
        "compression_level": 3,
        "use_dictionary": [name for name in names if name not in other],
        "column_encoding": dict.fromkeys(delta, "DELTA_BINARY_PACKED"),
    }


def decode(
    source: str | pa.BufferReader,
    filesystem: pafs.FileSystem | None,
    table: TableName,
    columns: Sequence[str],
    filter_: pc.Expression | None = None,
) -> pa.Table:
    """The columns of a Parquet file as reads return them, or ArrowInvalid for another schema."""
    text = [name for name in _TEXT_COLUMNS[table] if name in columns]
    if filter_ is None:
        with _opened(source, filesystem, text) as file:
            # One row group is read faster by one thread than by waking more.
            several = file.num_row_groups > 1
            found = file.read(list(columns), use_threads=several)
    else:
        options = ds.ParquetReadOptions(dictionary_columns=set(_TEXT_COLUMNS[table]))
        fragment = ds.ParquetFileFormat(options).make_fragment(source, filesystem)
        found = fragment.to_table(columns=list(columns), filter=filter_)
    schema = result_schema(table, columns)
    for name in columns:
        if name not in found.column_names:
            if name not in ADDED_COLUMNS:
                raise pa.ArrowInvalid(f"column {name} is missing")
            field = schema.field(name)
            found = found.append_column(field, pa.nulls(found.num_rows, field.type))
    found = found.select(schema.names)
    nulls = [name for name in columns if name in _NEVER_NULL and found[name].null_count]
    if nulls:
        raise pa.ArrowInvalid(f"column {nulls[0]} has nulls")
    if found.schema.types != schema.types:
        raise pa.ArrowInvalid("columns have other types than the store's")
    return found


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
    schema = _RESULT_SCHEMAS[table]
    return pa.schema([schema.field(name) for name in columns], metadata=schema.metadata)
