"""Runs as arrays: each row stands for a file's values in several snapshots.

A position is a snapshot's place among its job's snapshots in the order of their ids.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from importstats.arrays import Ints, stable_order
from importstats.store.schema import RUN_COLUMNS


class Timeline(NamedTuple):
    """A job's snapshots in the order of their ids, with times in microseconds since 1970."""

    ids: Ints
    times: Ints


class Runs(NamedTuple):
    """Files' values, and the positions from ``first`` to ``last`` that each row stands for."""

    values: pa.Table
    first: Ints
    last: Ints


# It is no neighbour of itself or of any position.
NOWHERE: Final = -2


def locate(runs: pa.Table, ids: Ints) -> tuple[Ints, Ints]:
    """The positions of each run's first and last snapshot among sorted ids.

    Raises
    ------
    pyarrow.ArrowInvalid
        A run begins or ends at a snapshot that is not there, or ends before it begins.
    """
    ends = []
    for name in ("snapshot_id", "last_snapshot_id"):
        wanted = ints(runs[name])
        found = np.searchsorted(ids, wanted)
        if len(wanted) and not (len(ids) and (ids.take(found, mode="clip") == wanted).all()):
            raise pa.ArrowInvalid("details rows refer to snapshots that the jobs rows do not have")
        ends.append(found)
    first, last = ends
    if np.any(last < first):
        raise pa.ArrowInvalid("details rows end before they begin")
    return first, last


def transfer(runs: pa.Table, ids: Ints, positions: Ints) -> Runs:
    """One segment's runs with the positions of another timeline.

    ``positions`` has the position there of each of the segment's snapshots, or :data:`NOWHERE`. A
    run is cut between snapshots that are not neighbours there: what lies between may differ.
    """
    first, last = locate(runs, ids)
    values = runs.drop_columns([name for name in RUN_COLUMNS if name in runs.column_names])
    if np.array_equal(positions, np.arange(len(ids))):
        return Runs(values, first, last)
    blocks = np.cumsum(np.diff(positions, prepend=positions[:1] - 1) != 1)
    starts = np.flatnonzero(np.diff(blocks, prepend=-1))
    stops = np.append(starts[1:], len(ids)) - 1
    rows, offset = repeat(blocks[last] - blocks[first] + 1)
    block = blocks[first][rows] + offset
    first = positions[np.maximum(first[rows], starts[block])]
    last = positions[np.minimum(last[rows], stops[block])]
    kept = first != NOWHERE
    if len(rows) != runs.num_rows or not kept.all():
        values = _take(values, rows[kept])
    return Runs(values, first[kept], last[kept])


def repeat(counts: Ints) -> tuple[Ints, Ints]:
    """Each index as often as its count, and the repetition's number, from 0."""
    index = np.repeat(np.arange(len(counts)), counts)
    return index, np.arange(len(index)) - np.repeat(np.cumsum(counts) - counts, counts)


def concat(parts: Sequence[Runs], schema: pa.Schema) -> Runs:
    """Several segments' runs, which share one timeline, one after the other."""
    if len(parts) == 1 and parts[0].values.num_rows:
        values = with_schema(parts[0].values, schema)
        return Runs(in_one_chunk(values), parts[0].first, parts[0].last)
    tables = [schema.empty_table(), *(part.values.select(schema.names) for part in parts)]
    values = pa.concat_tables([table.cast(schema) for table in tables])
    return Runs(
        in_one_chunk(values),
        np.concatenate([np.empty(0, np.int64), *(part.first for part in parts)]),
        np.concatenate([np.empty(0, np.int64), *(part.last for part in parts)]),
    )


def in_one_chunk(table: pa.Table) -> pa.Table:
    """The table with one chunk in each column, and one dictionary in each of text."""
    if all(column.num_chunks == 1 for column in table.columns):
        return table
    return table.unify_dictionaries().combine_chunks()


def with_schema(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with a schema's columns, cast if necessary."""
    if table.schema.equals(schema):
        return table.replace_schema_metadata(schema.metadata)
    columns = [table[name] for name in schema.names]
    if all(column.type == field.type for column, field in zip(columns, schema, strict=True)):
        return pa.table(columns, schema=schema)
    return pa.table(columns, schema.names).cast(schema)


def extend(runs: Runs) -> Runs:
    """Runs by (file_index, position), joined if neighbours in time have the same values."""
    if runs.values.num_rows == 0:
        return runs
    file_index = _file_index(runs.values)
    # Compaction leaves them in order; to sort them again would take most of the time.
    if not _is_in_order(file_index, runs.first):
        order = np.lexsort((runs.first, file_index))
        runs = Runs(_take(runs.values, order), runs.first[order], runs.last[order])
    first, last = runs.first, runs.last
    # Rows that continue the row before: fewer with each column, none in most stored files.
    joined = np.flatnonzero(first[1:] == last[:-1] + 1) + 1
    for name in sorted(runs.values.column_names, key=_seldom_changes):
        for codes in _codes(runs.values[name]) if len(joined) else ():
            joined = joined[codes[joined] == codes[joined - 1]]
    if not len(joined):
        return runs
    heads = np.delete(np.arange(len(first)), joined)
    tails = np.append(heads[1:], len(first)) - 1
    return Runs(_take(runs.values, heads), first[heads], last[tails])


def _seldom_changes(column: str) -> bool:
    return column not in ("progress_pct", "imported_rows", "state")


def _is_in_order(file_index: Ints, first: Ints) -> bool:
    step = np.diff(file_index)
    return bool(np.all((step > 0) | ((step == 0) & (np.diff(first) >= 0))))


def expand(runs: Runs, begin: int, end: int) -> Runs:
    """One row per file and position in ``begin <= position < end``, by (position, file_index)."""
    inside = np.flatnonzero((runs.first < end) & (runs.last >= begin))
    file_index = _file_index(runs.values)[inside]
    if np.any(np.diff(file_index) < 0):
        inside = inside[np.argsort(file_index, kind="stable")]
    first = np.maximum(runs.first[inside], begin)
    last = np.minimum(runs.last[inside], end - 1)
    if _fill_a_grid(first, last):
        # A row for each file, a column for each position: read by columns.
        kind = np.int32 if runs.values.num_rows < 2**31 else np.int64
        grid = np.repeat(inside.astype(kind), last - first + 1)
        grid = grid.reshape(-1, last[-1] - first[0] + 1)
        positions = np.repeat(np.arange(first[0], last[-1] + 1), len(grid))
        return Runs(_take(runs.values, np.ascontiguousarray(grid.T).ravel()), positions, positions)
    rows, offset = repeat(last - first + 1)
    positions = first[rows] + offset
    # The files are in order already, so sorting by position alone is enough.
    order = stable_order(positions - begin)
    positions = positions[order]
    return Runs(_take(runs.values, inside[rows[order]]), positions, positions)


def _fill_a_grid(first: Ints, last: Ints) -> bool:
    """Whether each file's runs cover the same positions, each of them once.

    They do if each answer lists all files. To sort their rows would take most of the time.
    """
    if not len(first):
        return False
    goes_on = first[1:] == last[:-1] + 1
    begins_anew = (last[:-1] == last[-1]) & (first[1:] == first[0])
    return bool(np.all(goes_on | begins_anew))


def _take(values: pa.Table, rows: npt.NDArray[Any]) -> pa.Table:
    """Rows of a table; a column with one value is not looked up row by row."""
    indices = pa.array(rows)
    zeros = pa.array(np.zeros(len(rows), np.int32))
    return pa.Table.from_arrays(
        [_take_values(column, indices, zeros) for column in values.columns], schema=values.schema
    )


def _take_values(column: pa.ChunkedArray, indices: pa.Array, zeros: pa.Array) -> pa.Array:
    count, is_encoded = len(indices), pa.types.is_dictionary(column.type)
    array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if array.null_count == len(array):
        if not is_encoded:
            return pa.nulls(count, array.type)
        codes = pa.nulls(count, array.type.index_type)
        return pa.DictionaryArray.from_arrays(codes, array.dictionary)
    if is_encoded and len(array.dictionary) == 1 and not array.null_count:
        return pa.DictionaryArray.from_arrays(zeros, array.dictionary)
    return pc.take(array, indices, boundscheck=False)


def windows(runs: Runs, snapshots: int, max_rows: int | None) -> Iterator[tuple[int, int]]:
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
    column = values["file_index"]
    return ints(pc.fill_null(column, -1) if column.null_count else column)


def ints(column: pa.ChunkedArray) -> Ints:
    """A column without nulls as int64; times as microseconds since 1970."""
    if pa.types.is_timestamp(column.type):
        one = column.num_chunks == 1
        column = column.chunk(0).view(pa.int64()) if one else column.cast(pa.int64())
    return np.asarray(column.to_numpy(), np.int64)


def _codes(column: pa.ChunkedArray) -> Iterator[npt.NDArray[Any]]:
    """Arrays in which two rows agree if and only if their values do; null equals only null."""
    array = column.combine_chunks()
    if pa.types.is_dictionary(array.type):
        yield (array.indices.fill_null(-1) if array.null_count else array.indices).to_numpy()
        return
    # Floats by their bits: NaN is unchanged NaN, and -0.0 is not 0.0.
    bits = array.view(pa.int64())
    yield (bits.fill_null(0) if bits.null_count else bits).to_numpy()
    if bits.null_count:
        yield bits.is_null().to_numpy(zero_copy_only=False)


def run_rows(runs: Runs, timeline: Timeline, schema: pa.Schema) -> pa.Table:
    """Runs as rows of the details table, with the schema's columns."""
    made = {
        "snapshot_id": (timeline.ids, runs.first),
        "last_snapshot_id": (timeline.ids, runs.last),
        "observed_at": (timeline.times, runs.first),
        "last_observed_at": (timeline.times, runs.last),
    }
    columns: dict[str, pa.Array] = {}
    for field in schema:
        name, type_ = field.name, field.type
        if name not in made:
            column = runs.values[name]
            columns[name] = column if column.type == type_ else column.cast(type_)
            continue
        values, positions = made[name]
        twin = columns.get(_FIRST_OF.get(name, ""))
        if twin is not None and runs.first is runs.last:
            columns[name] = twin
        else:
            columns[name] = pa.array(values.take(positions)).view(type_)
    return pa.Table.from_arrays([columns[field.name] for field in schema], schema=schema)


_FIRST_OF: Final = {"last_snapshot_id": "snapshot_id", "last_observed_at": "observed_at"}
