"""Reading: which snapshots of which segment count, and what a damaged file takes with it."""

import warnings
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pytest

from importstats.errors import StoreError
from importstats.store import reading
from importstats.store.files import Files
from importstats.store.parquet import encode
from importstats.store.reading import (
    CorruptFile,
    CorruptSegmentWarning,
    JobsPart,
    Reader,
    _places_in_job,
    _raise_if_short_of_memory,
    _read_alone,
    _sort_by_snapshot,
)
from importstats.store.runs import NOWHERE, Timeline
from importstats.store.schema import JOBS_SCHEMA
from importstats.store.segments import ALWAYS, JobFolder, Period, Segment
from importstats.store.writing import DETAIL_ROWS

JOB = JobFolder("here", "7")
COLUMNS = ("snapshot_id", "observed_at", "source_uri", "job_id")


def segment(name: str, level: int = 0) -> Segment:
    return Segment(level, name, "20260518T000000.000000Z", "20260518T000009.000000Z", JOB)


def rows(ids, *, detail_rows=None) -> pa.Table:
    """Snapshots with these ids, each at as many microseconds since 1970."""
    table = pa.table(
        {
            "snapshot_id": pa.array(ids, pa.int64()),
            "observed_at": pa.array(ids, pa.int64()).cast(JOBS_SCHEMA.field("observed_at").type),
        }
    )
    return table.replace_schema_metadata(detail_rows and {DETAIL_ROWS: str(detail_rows)})


@pytest.mark.parametrize(
    ("ids", "since", "until", "kept", "read"),
    [
        ([], None, None, [], []),
        ([1], None, None, [True], [1]),
        ([1, 2, 3], None, None, [True, True, True], [1, 2, 3]),
        ([1, 2, 3], 2, 2, [False, True, False], [2]),
        ([1, 2, 3], 4, None, [False, False, False], []),
        # Somebody else wrote these files: in another order, or a snapshot twice.
        ([3, 1, 2], None, None, [True, True, True], [1, 2, 3]),
        ([1, 1, 2], None, None, [True, False, True], [1, 2]),
        ([2, 1, 2, 2], 2, None, [False, True, False, False], [2]),
    ],
)
def test_each_snapshot_of_a_lone_segment_counts_once(ids, since, until, kept, read):
    one = segment("a")
    state = _read_alone(one, rows(ids, detail_rows=9), Period(since, until))
    (part,) = state.parts
    assert (part.segment, part.detail_rows) == (one, 9)
    assert part.ids.tolist() == sorted(ids)
    assert part.kept.tolist() == kept
    assert state.timeline.ids.tolist() == state.timeline.times.tolist() == read
    assert state.rows["snapshot_id"].to_pylist() == read


@pytest.mark.parametrize(
    ("ids", "is_same"), [([], True), ([1], True), ([1, 2], True), ([1, 1], False), ([2, 1], False)]
)
def test_rows_that_ascend_are_not_sorted(ids, is_same):
    table = rows(ids)
    found = _sort_by_snapshot(table)
    assert (found is table) == is_same
    assert found["snapshot_id"].to_pylist() == sorted(ids)


def test_the_snapshots_of_a_segment_have_the_places_that_they_have_in_the_job():
    timeline = Timeline(np.array([1, 2, 5, 7]), np.array([1, 2, 5, 7]))
    whole = JobsPart(segment("a"), None, timeline.ids, np.ones(4, bool))
    assert _places_in_job(whole, timeline).tolist() == [0, 1, 2, 3]
    some = JobsPart(segment("b"), None, np.array([2, 3, 7]), np.array([True, False, True]))
    assert _places_in_job(some, timeline).tolist() == [1, NOWHERE, 3]


@pytest.mark.parametrize(
    ("error", "is_short"),
    [
        (MemoryError(), True),
        (OSError("std::bad_alloc"), True),
        (pa.ArrowException("malloc of size 64 failed"), True),
        (OSError("no magic bytes"), False),
    ],
)
def test_only_what_names_memory_is_a_shortage_of_it(error, is_short):
    if not is_short:
        _raise_if_short_of_memory(error, "a.parquet")
        return
    with pytest.raises(StoreError, match=r"not enough memory to read a.parquet: .*; read fewer"):
        _raise_if_short_of_memory(error, "a.parquet")


def full_rows(ids) -> pa.Table:
    at = datetime(2026, 5, 18, tzinfo=UTC)
    return pa.Table.from_pylist(
        [
            {"snapshot_id": each, "observed_at": at, "source_uri": "http://here", "job_id": "7"}
            for each in ids
        ],
        schema=JOBS_SCHEMA,
    )


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path, None)


def written(files: Files, name: str, ids, level: int = 0) -> Segment:
    one = segment(name, level)
    files.put(one.path("jobs"), encode(full_rows(ids), is_fresh=True))
    return one


def test_a_snapshot_of_two_segments_is_that_of_the_higher_level(files):
    low, high = written(files, "a", [1, 2, 4]), written(files, "b", [2, 3], 1)
    state = Reader(files).read_jobs([low, high], COLUMNS, ALWAYS)
    assert [(part.segment, part.ids.tolist(), part.kept.tolist()) for part in state.parts] == [
        (high, [2, 3], [True, True]),
        (low, [1, 2, 4], [True, False, True]),
    ]
    assert state.timeline.ids.tolist() == [1, 2, 3, 4]
    assert state.rows["snapshot_id"].to_pylist() == [1, 2, 3, 4]
    assert Reader(files).read_jobs([], COLUMNS, ALWAYS).rows.num_rows == 0


@pytest.mark.parametrize("sets_aside", [False, True])
@pytest.mark.parametrize("table", ["jobs", "details"])
def test_a_bad_file_is_left_out_and_moved_only_by_who_writes(table, sets_aside, files, tmp_path):
    one = segment("a")
    for name in ("jobs", "details"):
        files.put(one.path(name), b"bad")
    hint = "below _corrupt$" if sets_aside else "importstats compact checks"
    lost = "snapshots" if table == "jobs" else "details"
    with pytest.warns(CorruptSegmentWarning, match=rf"short\. Its {lost} are left out; .*{hint}"):
        Reader(files, sets_aside=sets_aside).leave_out(one, table, CorruptFile("short"))
    moved = {"jobs", "details"} if table == "jobs" else {"details"}
    for name in ("jobs", "details"):
        is_moved = sets_aside and name in moved
        assert (tmp_path / one.path(name)).exists() != is_moved
        assert (tmp_path / "_corrupt" / one.path(name)).exists() == is_moved


def test_details_are_missing_if_their_jobs_file_stands_and_else_compacted(files):
    one = written(files, "a", [1])
    with pytest.raises(CorruptFile, match=r"^missing$"):
        Reader(files).read_file(one, "details", ["snapshot_id"])
    for table in ("jobs", "details"):
        with pytest.raises(FileNotFoundError):
            Reader(files).read_file(segment("b"), table, ["snapshot_id"])


def bucket(folder: Path) -> Files:
    """Files in a folder that is not known to be on this machine's disk."""
    above = pafs.SubTreeFileSystem(str(folder.parent), pafs.LocalFileSystem())
    return Files(folder.name, above)


def test_an_empty_file_is_corrupt_on_a_disk_and_not_there_yet_in_a_bucket(files, tmp_path):
    one = segment("a")
    files.put(one.path("jobs"), b"")
    with pytest.raises(CorruptFile):
        Reader(files).read_file(one, "jobs", COLUMNS)
    with pytest.raises(FileNotFoundError):
        Reader(bucket(tmp_path)).read_file(one, "jobs", COLUMNS)
    files.put(one.path("jobs"), b"bad")
    for some in (files, bucket(tmp_path)):
        with pytest.raises(CorruptFile):
            Reader(some).read_file(one, "jobs", COLUMNS)


@pytest.mark.parametrize(("in_bucket", "pools"), [(False, 0), (True, 1)])
def test_the_files_of_a_bucket_are_waited_for_together(
    in_bucket, pools, files, tmp_path, monkeypatch
):
    made = []

    class Pool(reading.ThreadPoolExecutor):
        def __init__(self, *arguments):
            made.append(arguments)
            super().__init__(*arguments)

    monkeypatch.setattr(reading, "ThreadPoolExecutor", Pool)
    segments = [written(files, name, [number]) for number, name in enumerate("ab")]
    where = bucket(tmp_path) if in_bucket else files
    found = Reader(where).read_all(segments, "jobs", COLUMNS)
    assert [each["snapshot_id"].to_pylist() for each in found] == [[0], [1]]
    assert len(made) == pools


def test_a_bad_segment_takes_no_other_with_it(files):
    good, bad = written(files, "a", [1]), segment("b")
    files.put(bad.path("jobs"), b"bad")
    with pytest.warns(CorruptSegmentWarning, match=r"b\.parquet"):
        state = Reader(files).read_jobs([bad, good], COLUMNS, ALWAYS)
    assert [part.segment for part in state.parts] == [good]
    assert state.timeline.ids.tolist() == [1]
    outside = Period(10**18, None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Reader(files).read_jobs([bad, good], COLUMNS, outside).parts == []
