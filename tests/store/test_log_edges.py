"""The Delta log, the listing and compaction at their edges: what is read, kept, and tried again."""

from __future__ import annotations

import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from stored_snapshots import numbered

from importstats.errors import StoreError
from importstats.sources.snapshot import Snapshot
from importstats.store import SnapshotStore, compaction, delta, listing
from importstats.store.delta import DataFile, DeltaLog
from importstats.store.files import Files
from importstats.store.listing import Listing
from importstats.store.marker import Marker
from importstats.store.segments import JobFolder, Segment

JOB = JobFolder("u", "7")
START = datetime(2026, 5, 18, tzinfo=UTC)
NOW_S = 1_800_000_000.0
A, B, C = (DataFile(size, size + 1) for size in (1, 3, 5))


def snapshot(number: int) -> Snapshot:
    return numbered(number, files=1, all_change=True)


def bucket(folder: Path) -> Files:
    """A file system that is no disk for the store, with its files on one."""
    (folder / "jobs" / "_delta_log").mkdir(parents=True, exist_ok=True)
    return Files("", pafs.SubTreeFileSystem(str(folder), pafs.LocalFileSystem()))


# --- The Delta log --------------------------------------------------------------------------------


@pytest.fixture
def reads(monkeypatch):
    """The paths of all files that are read."""
    paths, read = [], Files.read

    def noted(self, path):
        paths.append(path.removeprefix("jobs/_delta_log/").lstrip("0"))
        return read(self, path)

    monkeypatch.setattr(Files, "read", noted)
    return paths


def publish_many(log: DeltaLog, first: int, last: int) -> None:
    for number in range(first, last + 1):
        log.publish(lambda number=number: {"all": A, f"of {number}": B})


def test_what_was_read_of_a_log_is_not_read_again(tmp_path, reads):
    writer, reader = (DeltaLog(Files(tmp_path, None), "jobs") for _ in range(2))
    publish_many(writer, 0, 17)
    reads.clear()
    assert reader.refresh()
    assert len(reads) == 19
    reads.clear()
    assert reader.refresh()
    assert reads == []
    publish_many(writer, 18, 18)
    reads.clear()
    reader.refresh()
    assert reads == ["19.json"]
    publish_many(writer, 19, 20)
    reads.clear()
    reader.refresh()
    assert reads == ["20.checkpoint.parquet", "21.json"]
    assert (reader.active, reader.removed) == (writer.active, writer.removed)
    reads.clear()
    reader.refresh()
    writer.refresh()
    assert reads == []


def test_of_two_checkpoints_the_later_one_is_read_and_a_log_is_there_without_its_first_commit(
    tmp_path, reads
):
    log = DeltaLog(Files(tmp_path, None), "jobs")
    publish_many(log, 0, 40)
    (tmp_path / "jobs" / "_delta_log" / f"{0:020}.json").unlink()
    reads.clear()
    fresh = DeltaLog(Files(tmp_path, None), "jobs")
    assert fresh.exists()
    assert reads == ["40.checkpoint.parquet", "41.json"]
    assert (fresh.active, fresh.removed) == (log.active, log.removed)
    assert fresh.active == {"all": A, "of 40": B}


def test_a_checkpoint_says_all_that_its_commits_say(tmp_path):
    log = DeltaLog(Files(tmp_path, None), "jobs")
    publish_many(log, 0, 1)
    log._write_checkpoint()
    folder = tmp_path / "jobs" / "_delta_log"
    rows = pq.read_table(folder / f"{2:020}.checkpoint.parquet").to_pylist()
    said = [{name: value for name, value in row.items() if value is not None} for row in rows]
    added = {"partitionValues": [], "dataChange": True}
    meta = json.loads((folder / f"{0:020}.json").read_text().splitlines()[1])["metaData"]
    removed = {"path": "of 0", "deletionTimestamp": log.removed["of 0"], "dataChange": True}
    assert said == [
        {"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}},
        {
            "metaData": {
                **meta,
                "format": {"provider": "parquet", "options": []},
                "configuration": [],
            }
        },
        {"add": {"path": "all", "size": 1, "modificationTime": 2, **added}},
        {"add": {"path": "of 1", "size": 3, "modificationTime": 4, **added}},
        {"remove": removed},
    ]
    assert (folder / "_last_checkpoint").read_text() == '{"version": 2, "size": 5}'


def test_a_file_that_comes_back_counts_again_and_is_removed_no_more(tmp_path):
    log = DeltaLog(Files(tmp_path, None), "jobs")
    for files in ({"a": A, "b": B}, {"b": B}, {"a": A, "b": B}):
        log.publish(lambda files=files: files)
    for each in (log, DeltaLog(Files(tmp_path, None), "jobs")):
        each.refresh()
        assert (each.active, each.removed) == ({"a": A, "b": B}, {})


def test_a_log_whose_columns_change_keeps_its_name_and_the_time_of_its_beginning(tmp_path):
    log = DeltaLog(Files(tmp_path, None), "jobs")
    log.publish(lambda: {"a": A})
    first = tmp_path / "jobs" / "_delta_log" / f"{0:020}.json"
    begun = json.loads(first.read_text().splitlines()[1])["metaData"]
    assert begun == {
        "id": begun["id"],
        "format": {"provider": "parquet", "options": {}},
        "schemaString": begun["schemaString"],
        "partitionColumns": [],
        "configuration": {},
        "createdTime": begun["createdTime"],
    }
    assert abs(begun["createdTime"] - datetime.now(UTC).timestamp() * 1000) < 60_000
    older = json.dumps({"metaData": {**begun, "schemaString": "{}", "createdTime": 7}})
    first.write_text(first.read_text().splitlines()[0] + "\n" + older + "\n")
    DeltaLog(Files(tmp_path, None), "jobs").publish(lambda: {"a": A})
    actions = [
        json.loads(line) for line in (first.parent / f"{2:020}.json").read_text().splitlines()
    ]
    assert actions == [{"metaData": {**begun, "createdTime": 7}}]


@pytest.mark.parametrize(
    ("found", "commits"),
    [
        # It begins without files, has what was found, and looks once more.
        ([{"a": A}, {"a": A}], 2),
        ([{}, {}], 1),
        # What only came is new; what is gone may go on going.
        ([{"a": A}, {"a": A, "b": B}], 3),
        ([{"a": A}, {"b": B}, {"b": B}], 3),
        ([{"a": A}, {"b": B}, {"c": C}, {"c": C}], 4),
    ],
)
def test_a_log_that_begins_looks_until_nothing_vanishes(found, commits, tmp_path, monkeypatch):
    waits, looks = [], iter(found)
    monkeypatch.setattr(delta.time, "sleep", waits.append)
    log = DeltaLog(Files(tmp_path, None), "jobs")
    if found == [{}, {}]:
        looks = iter([{}])
    log.publish(lambda: next(looks))
    assert next(looks, None) is None
    assert log.active == found[-1]
    assert len(list((tmp_path / "jobs" / "_delta_log").iterdir())) == commits
    assert set(waits) == {0.01}


def test_a_log_that_is_there_needs_one_look(tmp_path):
    DeltaLog(Files(tmp_path, None), "jobs").publish(dict)
    for files in ({"a": A}, {"b": B}):
        looks = iter([files])
        DeltaLog(Files(tmp_path, None), "jobs").publish(lambda looks=looks: next(looks))


@pytest.mark.parametrize(("age_s", "unread"), [(3599, False), (3600, False), (3601, True)])
def test_in_a_bucket_a_file_of_which_the_log_says_nothing_may_go_an_hour_after_it_was_written(
    age_s, unread, tmp_path, monkeypatch
):
    log = DeltaLog(bucket(tmp_path), "jobs")
    log.publish(dict)
    (tmp_path / "jobs" / "x").write_bytes(b"1")
    os.utime(tmp_path / "jobs" / "x", (NOW_S, NOW_S))
    monkeypatch.setattr(delta.time, "time", lambda: NOW_S + age_s)
    assert log.is_unread("x", 3600) is unread
    assert DeltaLog(Files(tmp_path, None), "jobs").is_unread("x", 3600)


def test_a_commit_that_came_before_ours_is_read_and_ours_is_made_after_it(tmp_path):
    DeltaLog(Files(tmp_path, None), "jobs").publish(lambda: {"a": A})
    ours, theirs = (DeltaLog(Files(tmp_path, None), "jobs") for _ in range(2))

    def found():
        theirs.publish(lambda: {"a": A, "b": B}, "b")
        return {"a": A, "c": C}

    ours.publish(found, "c")
    theirs.refresh()
    assert ours.active == theirs.active == {"a": A, "b": B, "c": C}


# --- The marker -----------------------------------------------------------------------------------


def test_a_marker_is_read_once_and_what_is_said_of_a_newer_one_names_both_versions(tmp_path, reads):
    files = Files(tmp_path, None)
    marker = Marker(files)
    assert not marker.exists()
    with pytest.raises(StoreError) as caught:
        marker.check()
    assert str(caught.value) == (
        f"no store at {tmp_path}: it has no _importstats.json; check the path, or collect first"
    )
    marker.check(create=True)
    assert marker.exists()
    reads.clear()
    marker.check()
    assert reads == []
    (tmp_path / "_importstats.json").write_text('{"importstats_store": "2.3"}')
    with pytest.raises(StoreError) as caught:
        Marker(files).check()
    assert str(caught.value) == (
        f"the store at {tmp_path} has format 2.3, newer than this importstats can read (1); "
        "upgrade importstats"
    )


def test_an_empty_marker_in_a_bucket_is_one_that_a_writer_has_begun(tmp_path):
    (tmp_path / "_importstats.json").write_bytes(b"")
    with pytest.raises(StoreError, match="no store at"):
        Marker(bucket(tmp_path)).check()
    Marker(bucket(tmp_path)).check(create=True)
    Marker(bucket(tmp_path)).check()
    assert (tmp_path / "_importstats.json").read_text() == '{"importstats_store": "1.0"}\n'


# --- Listing --------------------------------------------------------------------------------------


FIRST, LAST = "20260518T000000.000000Z", "20260518T000009.000000Z"


def segment(letter: str) -> Segment:
    return Segment(0, f"{FIRST}-{LAST}-L0-{12 * letter}", FIRST, LAST, JOB)


def letters(segments) -> list[str]:
    return [each.name[-1] for each in segments]


def listed(monkeypatch, *listings: str) -> Listing:
    """A listing that finds these segments, one letter each, one listing after the other."""
    left = iter(listings)

    def paths(self, folders):
        return [segment(letter).path("jobs") for letter in next(left)]

    monkeypatch.setattr(Listing, "_paths", paths)
    return Listing(Files("unused", None))


@pytest.mark.parametrize(
    ("listings", "found"),
    [
        (["", ""], ""),
        (["a", "a"], "a"),
        # What is new takes nothing away.
        (["a", "ab"], "ab"),
        # What vanished was merged, perhaps into what was not seen: once more.
        (["ab", "a", "ac"], "ac"),
        (["ab", "c", "c"], "c"),
        (["ab", "a", "c", "c"], "c"),
    ],
)
def test_a_job_is_listed_until_nothing_vanishes_between_two_listings(listings, found, monkeypatch):
    made = listed(monkeypatch, *listings).of_job(JOB)
    assert letters(made) == list(found)


def test_jobs_are_listed_twice_and_one_of_which_something_vanished_once_more(monkeypatch):
    found = listed(monkeypatch, "ab", "ab").of_jobs("u", "7")
    assert letters(found[JOB]) == ["a", "b"]
    found = listed(monkeypatch, "ab", "a", "c", "c").of_jobs("u", "7")
    assert letters(found[JOB]) == ["c"]
    found = listed(monkeypatch, "ab", "", "c", "c").of_jobs("u", "7")
    assert letters(found[JOB]) == ["c"]
    assert listed(monkeypatch, "", "").of_jobs("u", "7") == {}
    appended = listed(monkeypatch, "", "a").of_jobs("u", "7")
    assert letters(appended[JOB]) == ["a"]


def test_a_job_that_changes_at_each_of_fifty_listings_is_an_error(monkeypatch):
    listings = [str(number % 10) for number in range(51)]
    with pytest.raises(StoreError) as caught:
        listed(monkeypatch, *listings).of_job(JOB)
    assert str(caught.value).endswith(
        "/unused/jobs/cluster=u/job=7 changed during each of 50 attempts to read it; compact less "
        "often, or try again"
    )
    calm = [*listings[:-1], listings[-2]]
    assert len(listed(monkeypatch, *calm).of_job(JOB)) == 1


def test_a_read_goes_on_with_the_segments_that_are_there_when_one_vanished(monkeypatch):
    monkeypatch.setattr(listing.time, "sleep", lambda _: None)
    asked = []

    def read(segments):
        asked.append(letters(segments))
        if len(asked) == 1:
            raise FileNotFoundError
        return len(asked)

    files = listed(monkeypatch, "c", "c")
    assert files.retrying(JOB, [segment("a")], read) == 2
    assert asked == [["a"], ["c"]]


def test_sizes_are_those_of_both_files_and_a_file_that_is_begun_has_none(tmp_path):
    store = SnapshotStore(tmp_path)
    store.append(snapshot(0))
    ((job, (one,)),) = Listing(Files(tmp_path, None)).of_jobs(None, None).items()
    details, jobs = (tmp_path / one.path(table) for table in ("details", "jobs"))
    both = details.stat().st_size + jobs.stat().st_size
    assert Listing(Files(tmp_path, None)).sizes(job) == {one.name: both}
    (jobs.parent / "notes.txt").write_text("mine")
    alone = jobs.stat().st_size
    details.unlink()
    assert Listing(bucket(tmp_path)).sizes(job) == {one.name: alone}
    jobs.write_bytes(b"")
    assert Listing(bucket(tmp_path)).sizes(job) == {}
    assert Listing(bucket(tmp_path)).of_jobs(None, None) == {}
    assert Listing(Files(tmp_path, None)).sizes(job) == {one.name: 0}


# --- Compaction -----------------------------------------------------------------------------------


def left_behind(folder: Path) -> list[Path]:
    """Details without a jobs file, and begun files beside the jobs and in `_tmp`, all stale."""
    (details,) = list(folder.glob("details/*/*/*"))[:1]
    (jobs,) = list(folder.glob("jobs/*/*/*"))[:1]
    left = [
        details.with_name(f"{details.name[:-20]}{'0' * 12}.parquet"),
        jobs.with_name(f".{jobs.name}.{'0' * 12}"),
        folder / "_tmp" / "begun",
    ]
    then = datetime.now(UTC).timestamp() - 7 * 3600
    for file in left:
        file.write_bytes(b"")
        os.utime(file, (then, then))
    return left


@pytest.mark.parametrize(
    ("segments", "options", "stays"),
    [
        # Nothing was merged, so nothing of the job was looked at.
        (1, {"min_segments": 2}, [True, True, False]),
        (2, {"min_segments": 2}, [False, False, False]),
        (1, {"final": True}, [False, False, False]),
    ],
)
def test_what_dead_writers_left_goes_when_a_job_was_merged_or_has_ended(
    segments, options, stays, tmp_path
):
    store = SnapshotStore(tmp_path)
    for number in range(segments):
        store.append(snapshot(number))
    left = left_behind(tmp_path)
    store.compact(**options)
    assert [file.exists() for file in left] == stays
    assert store.jobs().num_rows == segments


def test_with_a_log_the_merged_inputs_go_an_hour_after_it_and_without_one_at_once(
    tmp_path, monkeypatch
):
    store = SnapshotStore(tmp_path)
    store.append(snapshot(0))
    store.append(snapshot(1))
    store.publish()
    inputs = set(tmp_path.glob("*/*/*/*.parquet"))
    assert len(inputs) == 4
    store.compact(final=True)
    assert set(tmp_path.glob("*/*/*/*.parquet")) > inputs
    now = datetime.now(UTC).timestamp()
    monkeypatch.setattr(delta.time, "time", lambda: now + 3500)
    store.compact(final=True)
    assert set(tmp_path.glob("*/*/*/*.parquet")) > inputs
    monkeypatch.setattr(delta.time, "time", lambda: now + 3700)
    store.compact(final=True)
    kept = set(tmp_path.glob("*/*/*/*.parquet"))
    assert (len(kept), kept & inputs) == (2, set())
    assert store.jobs()["snapshot_id"].to_pylist() == [0, 1]
    assert compaction._GRACE_S == 3600


def test_a_log_of_one_table_alone_keeps_the_files_of_both(tmp_path):
    store = SnapshotStore(tmp_path)
    store.append(snapshot(0))
    store.append(snapshot(1))
    store.publish()
    shutil.rmtree(tmp_path / "details" / "_delta_log")
    store.compact(final=True)
    assert len(list(tmp_path.glob("*/*/*/*.parquet"))) == 6
