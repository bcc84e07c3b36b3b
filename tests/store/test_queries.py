"""Queries: which jobs, files and columns are read, in which order and on how many threads."""

import shutil
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from stored_snapshots import START, numbered

from importstats.store import SnapshotStore, parquet, queries
from importstats.store.files import Files
from importstats.store.queries import (
    Choice,
    Queries,
    _parse_time,
    _value_columns,
    check_columns,
    check_filter,
)
from importstats.store.reading import CorruptSegmentWarning, Reader
from importstats.store.schema import details_table, jobs_table
from importstats.store.segments import Period

ORDER = [("https://a", "7"), ("https://a", "8"), ("https://b", "7")]


@pytest.fixture
def store(tmp_path):
    """Three jobs of two servers, not appended in their order; the last has no files."""
    store = SnapshotStore(tmp_path)
    for server, job in reversed(ORDER):
        files = 0 if server == "https://b" else 2
        for number in range(2):
            store.append(numbered(number, job=job, server=server, files=files))
    return store


@pytest.fixture
def found(store, tmp_path):
    return Queries(Files(tmp_path, None))


def key_of(row) -> tuple[str, str]:
    return row["source_uri"], row["job_id"]


def test_jobs_keys_and_details_come_by_server_and_job(found):
    assert [key_of(row) for row in found.keys(Choice()).to_pylist()] == ORDER
    rows = found.jobs(Choice(), ["source_uri", "job_id", "snapshot_id"]).to_pylist()
    assert [(*key_of(row), row["snapshot_id"]) for row in rows] == [
        (*key, number) for key in ORDER for number in range(2)
    ]
    columns = ["source_uri", "job_id", "snapshot_id", "file_index"]
    tables = found.details(Choice(), columns, None, runs=False, max_rows=None)
    rows = [row for table in tables for row in table.to_pylist()]
    assert [(*key_of(row), row["snapshot_id"], row["file_index"]) for row in rows] == [
        (*key, number, file) for key in ORDER[:2] for number in range(2) for file in range(2)
    ]


def test_jobs_come_with_their_runs_or_without_any(found):
    wanted = ["source_uri", "job_id", "imported_rows"]
    for columns, counts in ((["file_index"], [2, 2, 0]), ([], [0, 0, 0])):
        both = list(found.jobs_with_details(Choice(), wanted, columns))
        rows = {key_of(jobs.to_pylist()[0]): details.num_rows for jobs, details in both}
        assert [rows[key] for key in ORDER] == counts
        assert {tuple(jobs.column_names) for jobs, _ in both} == {tuple(wanted)}
        assert {tuple(details.column_names) for _, details in both} == {tuple(columns)}
    none = Choice(period=Period(10**18, None))
    assert list(found.jobs_with_details(none, wanted, [])) == []


@pytest.mark.parametrize(("table", "keys"), [("jobs", ORDER), ("details", ORDER[:2])])
def test_the_files_of_a_table_are_sorted_and_those_with_rows(table, keys, found, tmp_path):
    files = found.files(Choice(), table)
    assert files == sorted(files)
    assert len(files) == 2 * len(keys)
    for server, job in keys:
        some = found.files(Choice(server, job), table)
        assert len(some) == 2
        assert all(path.startswith(f"{tmp_path}/{table}/cluster=") for path in some)
        assert set(some) <= set(files)


def test_a_job_is_known_by_any_of_its_files_that_can_be_read(found):
    one, other = found.files(Choice("https://a", "7"), "jobs")
    Path(one).write_bytes(b"bad")
    with warnings.catch_warnings():
        # In which order a disk lists files is no matter, so the bad one may never be opened.
        warnings.simplefilter("ignore", CorruptSegmentWarning)
        assert [key_of(row) for row in found.keys(Choice()).to_pylist()] == ORDER
    Path(other).write_bytes(b"bad")
    with pytest.warns(CorruptSegmentWarning) as warned:
        assert [key_of(row) for row in found.keys(Choice()).to_pylist()] == ORDER[1:]
    assert len(warned) == 2


@pytest.mark.parametrize(("is_local", "threads"), [(True, []), (False, [8, 8])])
def test_only_a_bucket_is_read_by_several_threads(is_local, threads, found, monkeypatch):
    asked = []

    def note(work, items, count):
        asked.append(count)
        return map(work, items)

    monkeypatch.setattr(queries, "map_ahead", note)
    monkeypatch.setattr(found._files, "is_local", is_local)
    found.keys(Choice())
    found.jobs(Choice(), ["job_id"])
    assert asked == threads


@pytest.mark.parametrize("runs", [True, False])
def test_rows_are_made_of_runs_by_a_thread_for_each_core(runs, found, monkeypatch):
    asked = []

    def note(work, items, count):
        asked.append(count)
        return map(work, items)

    monkeypatch.setattr(queries, "map_ahead", note)
    monkeypatch.setattr(pa, "cpu_count", lambda: 3)
    tables = found.details(Choice(), ["job_id"], None, runs=runs, max_rows=None)
    assert len(list(tables)) == 2
    assert asked == ([] if runs else [3])


def test_what_snapshots_show_is_not_read_from_files():
    wanted = ["snapshot_id", "last_observed_at", "state", "file_index", "file_name"]
    assert _value_columns(wanted) == ["file_index", "state", "file_name"]
    assert _value_columns([]) == ["file_index"]


def test_the_time_in_a_file_name_is_utc():
    assert _parse_time("20260518T000001.500000Z") == START + timedelta(seconds=1.5)
    assert _parse_time("20260518T000001.500000Z") == datetime(
        2026, 5, 18, 0, 0, 1, 500_000, tzinfo=UTC
    )


def test_columns_are_those_asked_for_or_all():
    assert check_columns("jobs", ["state", "job_id"]) == ["state", "job_id"]
    assert check_columns("jobs", []) == []
    assert check_columns("details", None)[:2] == ["snapshot_id", "last_snapshot_id"]
    with pytest.raises(ValueError, match=r"^no column 'x' in jobs; it has snapshot_id, "):
        check_columns("jobs", ["state", "x"])


def test_a_filter_may_use_what_a_file_has_and_no_times():
    check_filter(None)
    check_filter(pc.field("imported_rows") > 1)
    with pytest.raises(
        ValueError, match=r"^cannot filter details by .*; a filter may use source_uri, "
    ):
        check_filter(pc.field("snapshot_id") > 1)


@pytest.mark.parametrize("max_rows", [None, 1, 4])
def test_a_filter_leaves_whole_rows_out_of_every_piece(max_rows, found):
    tables = found.details(
        Choice(),
        ["job_id", "snapshot_id", "file_name"],
        pc.field("file_name") == "[1.parquet]",
        runs=False,
        max_rows=max_rows,
    )
    rows = [(row["job_id"], row["snapshot_id"]) for t in tables for row in t.to_pylist()]
    assert rows == [("7", 0), ("7", 1), ("8", 0), ("8", 1)]


# --- Merged jobs ----------------------------------------------------------------------------------

# By server and id; the folders of the servers and of the last job are in another order.
MERGED = [("http://z", "10"), ("http://z", "9"), ("https://a", "9"), ("https://a", "Job/1")]


@pytest.fixture
def merged(tmp_path, monkeypatch):
    """A store of four jobs that were merged to a segment each, and the same store before.

    Its files have several row groups, each of which is a chunk when it is read.
    """
    monkeypatch.setattr(parquet, "_ROW_GROUP_ROWS", 4)
    before = SnapshotStore(tmp_path / "before")
    for server, job in reversed(MERGED):
        for number in range(4):
            before.append(numbered(number, job=job, server=server, files=3))
    shutil.copytree(tmp_path / "before", tmp_path / "after")
    store = SnapshotStore(tmp_path / "after")
    assert store.compact(final=True).segments_after == len(MERGED)
    return store, before


def read_jobs_of(monkeypatch):
    """The folders of the jobs whose snapshots are read from now on."""
    folders = []
    read = Reader.read_jobs

    def note(self, segments, columns, period):
        folders.append(segments[0].job.job)
        return read(self, segments, columns, period)

    monkeypatch.setattr(Reader, "read_jobs", note)
    return folders


def test_runs_of_merged_jobs_are_read_without_their_snapshots(merged, monkeypatch):
    store, before = merged
    expected = before.details(runs=True)
    folders = read_jobs_of(monkeypatch)
    tables = list(store.iter_details(runs=True))
    assert [key_of(table.slice(0, 1).to_pylist()[0]) for table in tables] == MERGED
    together = pa.concat_tables(tables).unify_dictionaries()
    assert together.schema.equals(expected.schema, check_metadata=True)
    assert together.to_pylist() == expected.to_pylist()
    assert all(column.num_chunks == 1 for table in tables for column in table.columns)
    # Only the id that is not its folder's name has to be read.
    assert [folder.partition("~")[0] for folder in folders] == ["job-1"]


@pytest.mark.parametrize(
    "choice",
    [
        {"columns": ["job_id", "snapshot_id", "last_snapshot_id", "file_index"]},
        {"since": START + timedelta(seconds=1)},
        {"filter": pc.field("file_index") == 1},
    ],
    ids=["some columns", "some snapshots", "some rows"],
)
def test_parts_of_runs_are_made_of_the_snapshots(choice, merged, monkeypatch):
    store, before = merged
    expected = before.details(runs=True, **choice).to_pylist()
    folders = read_jobs_of(monkeypatch)
    assert store.details(runs=True, **choice).to_pylist() == expected
    assert len(folders) == len(MERGED)


def test_a_job_is_merged_only_if_no_snapshots_came_since(merged):
    store, before = merged
    for each in (store, before):
        each.append(numbered(4, job="9", server="https://a", files=3))
    for runs in (True, False):
        assert store.details(runs=runs).to_pylist() == before.details(runs=runs).to_pylist()


def test_rows_come_by_server_and_job_whatever_their_folders_are_called(merged):
    tables = merged[0].iter_details(max_rows=1)
    keys = [key_of(table.slice(0, 1).to_pylist()[0]) for table in tables]
    assert list(dict.fromkeys(keys)) == MERGED


def test_a_segment_that_was_not_merged_may_have_its_rows_in_any_order(tmp_path):
    store = SnapshotStore(tmp_path)
    one = numbered(0, files=3)
    reverse = details_table([one]).take(pa.array([2, 1, 0]))
    store.append_tables(jobs_table([one]), reverse)
    assert store.details(runs=True)["file_index"].to_pylist() == [0, 1, 2]


@pytest.mark.parametrize("damage", ["missing", "garbage"])
def test_a_merged_job_without_its_details_is_named_and_the_rest_are_read(damage, merged):
    store, before = merged
    path = Path(store.files("details", job_id="10")[0])
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(b"PAR1 garbage PAR1")
    with pytest.warns(CorruptSegmentWarning, match="details are left out"):
        found = store.details(runs=True)
    others = [row for row in before.details(runs=True).to_pylist() if row["job_id"] != "10"]
    assert found.to_pylist() == others


def test_a_merged_job_is_read_if_the_first_of_its_server_is_damaged(merged):
    store, before = merged
    Path(store.files("jobs", job_id="10")[0]).write_bytes(b"")
    with pytest.warns(CorruptSegmentWarning, match="snapshots are left out"):
        found = store.details(runs=True)
    others = [row for row in before.details(runs=True).to_pylist() if row["job_id"] != "10"]
    assert found.to_pylist() == others


def test_a_merged_job_may_have_no_files(tmp_path):
    store = SnapshotStore(tmp_path)
    for number in range(2):
        store.append(numbered(number, files=0))
    store.compact(final=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert store.details(runs=True).num_rows == 0
