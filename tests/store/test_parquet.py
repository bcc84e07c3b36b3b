"""Parquet files: the place of a column, and what the footer shows about it."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from importstats.store.parquet import (
    VALUE_COLUMNS,
    _constant,
    _footer_columns,
    _in_stored_order,
    _made_nulls,
    _nulls,
    _often_the_same,
    _place,
    decode,
    result_schema,
)

TABLE = pa.table(
    {
        "snapshot_id": [1, 2],
        "reason": pa.array([None, None], pa.string()),
        "job_id": ["7", "7"],
        "message": ["a", "b"],
        "error": ["a", None],
        "db_name": [None, "a"],
    }
)


def metadata(table, **options):
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **options)
    return pq.read_metadata(pa.BufferReader(sink.getvalue()))


@pytest.mark.parametrize(
    ("name", "expected", "place"),
    [("reason", 1, 1), ("reason", 4, 1), ("reason", 99, 1), ("job_id", 2, 2), ("extra", 1, None)],
)
def test_a_column_is_where_it_is_expected_or_looked_for_by_its_name(name, expected, place):
    found = metadata(TABLE)
    assert _place(found.row_group(0), found.num_columns, name, expected) == place


def read_off_footer(table, **options):
    columns = ("reason", "job_id", "message", "error", "db_name")
    found = _footer_columns(metadata(table, **options), "jobs", columns)
    return {name: column.to_pylist() for name, column in found.items()}


@pytest.mark.parametrize("row_group_size", [1, 2])
def test_a_footer_shows_what_is_null_or_the_same_in_all_rows(row_group_size):
    expected = {"reason": [None, None], "job_id": ["7", "7"]}
    assert read_off_footer(TABLE, row_group_size=row_group_size) == expected
    assert read_off_footer(TABLE, row_group_size=row_group_size, write_statistics=False) == {}
    assert read_off_footer(TABLE.slice(0, 0)) == {}
    # A key that is null is damage, which only the rows show.
    without = TABLE.set_column(2, "job_id", pa.array([None, None], pa.string()))
    assert read_off_footer(without, row_group_size=row_group_size) == {"reason": [None, None]}


@pytest.mark.parametrize(("groups", "is_known"), [(8, True), (9, False)])
def test_a_footer_of_more_than_eight_groups_is_not_looked_at(groups, is_known):
    table = pa.concat_tables([TABLE] * groups).select(["job_id"])
    assert bool(read_off_footer(table, row_group_size=2)) == is_known


@pytest.mark.parametrize("rows", [0, 2, 2**16, 2**16 + 1])
def test_columns_from_the_footer_have_as_many_rows_as_are_asked_for(rows):
    null = _nulls(rows, "jobs", "reason")
    assert (len(null), null.null_count) == (rows, rows)
    assert null.type == result_schema("jobs", ["reason"]).field(0).type
    same = _constant("7", rows)
    assert (len(same), same.null_count) == (rows, 0)
    assert set(same.slice(max(rows - 2, 0)).to_pylist()) == ({"7"} if rows else set())
    assert _made_nulls(rows, pa.int64()).null_count == rows


def test_columns_are_read_in_the_order_of_the_store_without_what_is_known():
    asked = ("job_id", "snapshot_id", "state", "reason")
    assert _in_stored_order("jobs", asked, frozenset(["reason"])) == (
        "snapshot_id",
        "job_id",
        "state",
    )
    names = [name for name, _ in _often_the_same("jobs", asked)]
    assert names == ["job_id", "reason"]
    assert "imported_rows" in VALUE_COLUMNS
    assert "snapshot_id" not in VALUE_COLUMNS


@pytest.mark.parametrize(("rows", "threads"), [(2**14 - 1, False), (2**14, True)])
def test_columns_of_many_rows_are_read_by_several_threads(rows, threads, monkeypatch):
    table = pa.table({"file_index": pa.array(range(rows), pa.int64())})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    asked, read = [], pq.ParquetFile.read

    def noted(file, columns, *, use_threads):
        asked.append(use_threads)
        return read(file, columns, use_threads=use_threads)

    monkeypatch.setattr(pq.ParquetFile, "read", noted)
    found = decode(pa.BufferReader(sink.getvalue()), None, "details", ["file_index"])
    assert found["file_index"].equals(table["file_index"])
    assert asked == [threads]
