"""Writing at its edges: what becomes a segment, how its files are encoded, and their order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from importstats.errors import StoreError
from importstats.sources.answers import parse_response
from importstats.sources.snapshot import Snapshot
from importstats.store import parquet, writing
from importstats.store.files import Files
from importstats.store.parquet import decode, encode
from importstats.store.schema import (
    DETAILS_SCHEMA,
    JOBS_SCHEMA,
    details_table,
    jobs_table,
    parse_timestamps,
)
from importstats.store.segments import JobFolder, Segment
from importstats.store.writing import jobs_apart, new_segment, write_segment

START = datetime(2026, 5, 18, tzinfo=UTC)
KEY = ("https://milvus", "7")


def snapshot(number: int, files: int = 2, job: str = "7") -> Snapshot:
    details = [{"fileName": f"[{file}]", "importedRows": number} for file in range(files)]
    answer = {"code": 0, "data": {"state": "Importing", "progress": 40, "details": details}}
    when = START + timedelta(seconds=number)
    return Snapshot(when, job, KEY[0], parse_response(answer), snapshot_id=number)


def tables(*snapshots: Snapshot) -> tuple[pa.Table, pa.Table]:
    return jobs_table(snapshots), details_table(snapshots)


def changed(table: pa.Table, name: str, values: list[object]) -> pa.Table:
    place = table.schema.get_field_index(name)
    return table.set_column(place, table.schema.field(place), pa.array(values, table[name].type))


# --- What becomes a segment -----------------------------------------------------------------------


def test_jobs_are_taken_apart_with_their_files():
    jobs, details = tables(snapshot(0), snapshot(0, 1, "8"), snapshot(1))
    found = list(jobs_apart(jobs, details))
    assert [key for key, _, _ in found] == [KEY, (KEY[0], "8")]
    assert [(rows.num_rows, files.num_rows) for _, rows, files in found] == [(2, 4), (1, 1)]
    assert list(jobs_apart(jobs.slice(0, 0), details.slice(0, 0))) == []


@pytest.mark.parametrize(
    ("jobs_of", "details_of", "says"),
    [
        (("7", None), ("7", "7"), "jobs rows have no source_uri or job_id"),
        (("7", "7"), ("7", "8"), "details rows belong to a job that the jobs rows do not have"),
    ],
)
def test_rows_of_no_job_are_refused(jobs_of, details_of, says):
    jobs, details = tables(snapshot(0, 1), snapshot(1, 1))
    jobs = changed(jobs, "job_id", list(jobs_of))
    with pytest.raises(ValueError, match=f"^{says}$"):
        list(jobs_apart(jobs, changed(details, "job_id", list(details_of))))
    with pytest.raises(ValueError, match=r"^jobs rows have no source_uri or job_id$"):
        list(jobs_apart(changed(jobs, "source_uri", [None, "x"]), details))


def test_columns_may_come_in_any_order_and_the_added_ones_may_be_missing_but_no_others():
    jobs, details = tables(snapshot(0))
    shuffled = jobs.select(jobs.column_names[::-1]).drop_columns(["server_version"])
    ((_, found, _),) = jobs_apart(shuffled, details)
    assert found.equals(jobs)
    for wrong, name in (
        (jobs.drop_columns(["state"]), "state"),
        (jobs.append_column("mine", pa.nulls(1)), "mine"),
        (jobs.drop_columns(["state"]).append_column("mine", pa.nulls(1)), "state"),
    ):
        with pytest.raises(ValueError, match=f"the store's columns: see '{name}'$"):
            list(jobs_apart(wrong, details))


def test_a_segment_has_its_snapshots_in_order_and_the_runs_of_its_files():
    jobs, details = tables(snapshot(3), snapshot(1), snapshot(2))
    segment, rows, runs = new_segment(KEY, jobs, details)
    assert (segment.level, segment.first, segment.last) == (
        0,
        "20260518T000001.000000Z",
        "20260518T000003.000000Z",
    )
    assert rows["snapshot_id"].to_pylist() == [1, 2, 3]
    assert runs["snapshot_id"].to_pylist() == [1, 2, 3, 1, 2, 3]
    same = changed(details, "imported_rows", [5] * 6)
    _, _, runs = new_segment(KEY, jobs, same)
    columns = ("file_index", "snapshot_id", "last_snapshot_id", "last_observed_at")
    last = START + timedelta(seconds=3)
    assert [runs[name].to_pylist() for name in columns] == [[0, 1], [1, 1], [3, 3], [last, last]]


@pytest.mark.parametrize("count", [1, 2])
def test_a_snapshot_without_a_number_or_a_time_or_with_the_number_of_another_is_refused(count):
    jobs, details = tables(*(snapshot(number) for number in range(count)))
    for name in ("snapshot_id", "observed_at"):
        without = changed(jobs, name, [*jobs[name].to_pylist()[1:], None])
        with pytest.raises(ValueError, match=r"^jobs rows have no snapshot_id or observed_at$"):
            new_segment(KEY, without, details)
    twice = changed(jobs, "snapshot_id", [0] * count)
    if count == 2:
        with pytest.raises(ValueError, match=r"^two snapshots of job 7 have the same snapshot_id$"):
            new_segment(KEY, twice, details)


@pytest.mark.parametrize("name", ["snapshot_id", "last_snapshot_id"])
def test_files_of_another_snapshot_than_the_only_one_are_refused(name):
    jobs, details = tables(snapshot(1))
    with pytest.raises(pa.ArrowInvalid, match="snapshots that the jobs rows do not have"):
        new_segment(KEY, jobs, changed(details, name, [1, 2]))


@pytest.mark.parametrize("name", ["observed_at", "last_observed_at"])
def test_files_have_the_time_of_their_snapshot_whatever_they_came_with(name):
    jobs, details = tables(snapshot(1))
    _, _, runs = new_segment(KEY, jobs, changed(details, name, [START, START]))
    assert runs.equals(details)
    assert new_segment(KEY, jobs, details)[2] is details, "as they are to be stored already"


# --- The files of a segment -----------------------------------------------------------------------


@pytest.fixture
def puts(monkeypatch):
    paths, put = [], Files.put

    def noted(self, path, content):
        paths.append(path.partition("/")[0])
        return put(self, path, content)

    monkeypatch.setattr(Files, "put", noted)
    return paths


def test_the_jobs_file_comes_last_and_says_how_many_rows_the_details_file_has(tmp_path, puts):
    files = Files(tmp_path, None)
    segment, jobs, details = new_segment(KEY, *tables(snapshot(1, 3)))
    write_segment(files, segment, jobs, details)
    assert puts == ["details", "jobs"]
    written = pq.read_table(tmp_path / segment.path("jobs"), partitioning=None)
    assert written.schema.metadata[writing.DETAIL_ROWS] == b"3"
    empty, jobs, details = new_segment(KEY, *tables(snapshot(2, 0)))
    puts.clear()
    write_segment(files, empty, jobs, details)
    assert puts == ["jobs"]
    written = pq.read_table(tmp_path / empty.path("jobs"), partitioning=None)
    assert written.schema.metadata[writing.DETAIL_ROWS] == b"0"


@pytest.mark.parametrize("is_local", [True, False])
def test_details_whose_jobs_file_failed_go_on_a_disk_and_stay_in_a_bucket(
    is_local, tmp_path, monkeypatch
):
    folder = Path("details", "cluster=milvus~b6db91fa6a5f619edd22", "job=7")
    (tmp_path / folder).mkdir(parents=True)
    here = pafs.LocalFileSystem()
    files = (
        Files(tmp_path, None)
        if is_local
        else Files("", pafs.SubTreeFileSystem(str(tmp_path), here))
    )
    put = Files.put

    def failing(self, path, content):
        if path.startswith("jobs/"):
            raise StoreError("full")
        put(self, path, content)

    monkeypatch.setattr(Files, "put", failing)
    with pytest.raises(StoreError, match="full"):
        write_segment(files, *new_segment(KEY, *tables(snapshot(1))))
    assert len(list((tmp_path / folder).iterdir())) == (0 if is_local else 1)


@pytest.mark.parametrize(
    ("level", "rows", "quick"), [(0, 512, True), (0, 513, False), (1, 1, False)]
)
def test_small_fresh_files_are_written_quickly_and_others_densely(level, rows, quick, tmp_path):
    files = Files(tmp_path, None)
    jobs, details = tables(snapshot(0, rows))
    segment = Segment(level, "name", "", "", JobFolder("u", "7"))
    write_segment(files, segment, jobs, details)
    metadata = pq.read_metadata(tmp_path / segment.path("details"))
    group = metadata.row_group(0)
    columns = {
        column.path_in_schema: (column.compression, "RLE_DICTIONARY" in column.encodings)
        for column in (group.column(place) for place in range(metadata.num_columns))
    }
    dense = {"file_name", "file_size_bytes", "total_rows", "reason", "extra"}
    plain = {"file_index", "file_size_bytes", "imported_rows", "total_rows", "file_name"}
    expected = {
        name: ("SNAPPY", False)
        if quick
        else ("ZSTD" if name in dense else "SNAPPY", name not in plain)
        for name in DETAILS_SCHEMA.names
    }
    found = {name: columns[name][0] for name in columns}
    assert found == {name: compression for name, (compression, _) in expected.items()}
    written = {name: columns[name][1] for name in ("state", "job_id", *plain)}
    assert written == {name: expected[name][1] for name in written}


@pytest.mark.parametrize(("rows", "groups"), [(2**16, 1), (2**16 + 1, 2)])
def test_a_row_group_has_65536_rows_and_is_read_back_with_its_constants(rows, groups):
    column = pa.array(np.zeros(rows, np.int64))
    values = {
        name: column if pa.types.is_int64(type_) else pa.nulls(rows, type_)
        for name, type_ in zip(JOBS_SCHEMA.names, JOBS_SCHEMA.types, strict=True)
    }
    values |= {name: pa.repeat(pa.scalar("x"), rows) for name in ("source_uri", "job_id")}
    values["observed_at"] = pa.array(np.zeros(rows, np.int64)).view(JOBS_SCHEMA.field(1).type)
    table = pa.table(values, schema=JOBS_SCHEMA)
    encoded = encode(table, is_fresh=False)
    assert pq.read_metadata(pa.BufferReader(encoded)).num_row_groups == groups
    read = decode(pa.BufferReader(encoded), None, "jobs", JOBS_SCHEMA.names)
    assert read.cast(JOBS_SCHEMA).equals(table)
    every = decode(pa.BufferReader(encoded), None, "jobs", JOBS_SCHEMA.names, every_byte=True)
    assert every.cast(JOBS_SCHEMA).equals(table)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("few", [1, 2])
def test_a_text_that_differs_in_one_row_group_is_read_row_by_row(count, few, monkeypatch):
    monkeypatch.setattr(parquet, "_FEW_GROUPS", few)
    jobs, _ = tables(*(snapshot(number) for number in range(2 * count)))
    for texts in (
        ["a"] * (2 * count),
        ["a"] * (2 * count - 1) + ["b"],
        [None] + ["a"] * (2 * count - 1),
    ):
        jobs = changed(changed(jobs, "reason", texts), "message", texts)
        sink = pa.BufferOutputStream()
        pq.write_table(jobs, sink, row_group_size=2, store_schema=False)
        read = decode(pa.BufferReader(sink.getvalue()), None, "jobs", JOBS_SCHEMA.names)
        assert read.cast(JOBS_SCHEMA).equals(jobs)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda jobs: jobs.drop_columns(["state"]), "column state is missing"),
        (lambda jobs: changed(jobs, "job_id", [None]), "column job_id has nulls"),
        (
            lambda jobs: jobs.set_column(8, "progress_pct", pa.array(["x"])),
            "columns have other types than the store's",
        ),
    ],
)
def test_a_file_of_another_form_is_refused_with_the_reason(edit, says):
    jobs, _ = tables(snapshot(0))
    sink = pa.BufferOutputStream()
    pq.write_table(edit(jobs), sink)
    with pytest.raises(pa.ArrowInvalid, match=f"^{says}$"):
        decode(pa.BufferReader(sink.getvalue()), None, "jobs", JOBS_SCHEMA.names)


def test_a_time_of_a_server_that_cannot_be_read_stands_beside_it():
    answer = {
        "code": 0,
        "data": {
            "jobId": "7",
            "completeTime": "soon",
            "createTime": "2026-05-18T08:00:00+02:00",
            "shard": 3,
            "details": [
                {"fileName": "[b]", "completeTime": ""},
                {"fileName": "[a]", "completeTime": "later", "shard": 1},
            ],
        },
        "more": True,
    }
    jobs, details = tables(Snapshot(START, "7", KEY[0], parse_response(answer)))
    (job,), files = jobs.to_pylist(), details.to_pylist()
    assert job["complete_time"] is None
    assert job["create_time"] == datetime(2026, 5, 18, 6, tzinfo=UTC)
    assert job["extra"] == '{"completeTime":"soon","envelope":{"more":true},"shard":3}'
    assert [file["extra"] for file in files] == ['{"completeTime":"later","shard":1}', None]
    assert [file["file_index"] for file in files] == [0, 1]
    bare = parse_timestamps(pa.array(["2026-05-18T08:00:00"])).to_pylist()
    assert bare == [datetime(2026, 5, 18, 8, tzinfo=UTC)], "without a zone it is UTC"
