"""The store at its edges: which segments overlap, are merged, wait or may go, and from when on."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pyarrow.fs as pafs
import pytest
from stored_snapshots import numbered

from importstats.errors import StoreError
from importstats.sources.snapshot import Snapshot
from importstats.store import SnapshotStore, compaction, delta, disk, listing
from importstats.store.compaction import CompactionResult
from importstats.store.delta import DataFile, DeltaLog
from importstats.store.files import Files
from importstats.store.marker import Marker
from importstats.store.parquet import STORED_SCHEMAS
from importstats.store.queries import Choice
from importstats.store.segments import JobFolder, Period, Segment, slug

JOB = JobFolder("u", "7")
START = datetime(2026, 5, 18, tzinfo=UTC)
NOW_S = 1_800_000_000.0


def segment(first: int, last: int, *, level: int = 0) -> Segment:
    """A segment from one second to another."""
    times = [f"20260518T0000{second:02}.000000Z" for second in (first, last)]
    return Segment(level, f"{first}-{last}-{level}", *times, JOB)


def spans(groups: list[list[Segment]]) -> list[list[str]]:
    return [[each.name for each in group] for group in groups]


# --- Compaction -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("segments", "groups"),
    [
        ([], []),
        ([(0, 9)], []),
        ([(0, 9), (10, 19)], []),
        ([(0, 9), (9, 19)], [["0-9-0", "9-19-0"]]),
        ([(5, 6), (0, 9)], [["0-9-0", "5-6-0"]]),
        ([(0, 9), (1, 2), (8, 9), (10, 11)], [["0-9-0", "1-2-0", "8-9-0"]]),
        ([(0, 1), (1, 2), (5, 6), (6, 7)], [["0-1-0", "1-2-0"], ["5-6-0", "6-7-0"]]),
    ],
)
def test_segments_overlap_if_one_begins_before_another_ends_or_as_it_does(segments, groups):
    made = [segment(*each) for each in segments]
    assert spans(compaction._overlapping(made)) == groups


HALF = compaction._MAX_MERGE_BYTES // 2


@pytest.mark.parametrize(
    ("levels", "sizes", "least", "by_level", "merged"),
    [
        ([0, 0, 0], [1, 1, 1], 3, True, [0, 1, 2]),
        ([0, 0, 0], [1, 1, 1], 4, True, []),
        # Of one level only, the lowest first.
        ([1, 0, 1, 0], [1, 1, 1, 1], 2, True, [1, 3]),
        ([1, 0, 1], [1, 1, 1], 2, True, [0, 2]),
        ([1, 0, 1], [1, 1, 1], 3, True, []),
        ([1, 0, 1], [1, 1, 1], 3, False, [0, 1, 2]),
        # No more than the limit at once, which may be reached.
        ([0, 0, 0], [HALF, HALF, 1], 2, True, [0, 1]),
        ([0, 0, 0], [HALF + 1, HALF, HALF], 2, True, [1, 2]),
        ([0, 0, 0], [HALF, HALF, 1], 3, True, []),
        ([0, 0, 0], [3 * HALF, 1, 1], 2, True, [1, 2]),
        # What is begun anew counts with its size.
        ([0, 0, 0, 0], [1, 2 * HALF, 1, 1], 2, True, [2, 3]),
        ([0, 0, 0, 0], [2 * HALF, HALF, HALF, 1], 3, True, []),
        ([0, 0], [3 * HALF, 1], 1, True, [0]),
    ],
)
def test_neighbours_of_one_level_are_merged_up_to_a_size(levels, sizes, least, by_level, merged):
    segments = [segment(n, n, level=level) for n, level in enumerate(levels)]
    known = {each.name: size for each, size in zip(segments, sizes, strict=True)}
    found = compaction._plan(segments[::-1], known, least, by_level=by_level)
    assert found == [segments[n] for n in merged]


def test_a_merge_holds_at_most_32_mib():
    assert compaction._MAX_MERGE_BYTES == 33_554_432


@pytest.mark.parametrize(("hours", "stale"), [(5.99, False), (6, False), (6.01, True)])
def test_what_was_left_is_stale_after_six_hours(hours, stale, tmp_path, monkeypatch):
    file = tmp_path / "left"
    file.touch()
    os.utime(file, (NOW_S, NOW_S))
    info = pafs.LocalFileSystem().get_file_info(str(file))
    monkeypatch.setattr(compaction.time, "time", lambda: NOW_S + hours * 3600)
    assert compaction._is_stale(info) is stale


def snapshot(number: int, job: str = "7") -> Snapshot:
    return numbered(number, job=job, files=1, all_change=True)


def bytes_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*/*/*/*.parquet"))


def test_a_compaction_counts_segments_and_bytes_of_all_jobs_before_and_after(tmp_path):
    store = SnapshotStore(tmp_path)
    for number in range(3):
        store.append([snapshot(number), snapshot(number, job="8")])
    store.append(snapshot(0, job="9"))
    before = bytes_of(tmp_path)
    result = store.compact(min_segments=4)
    assert result == CompactionResult(7, 7, before, before)
    result = store.compact(min_segments=3)
    assert result == CompactionResult(7, 3, before, bytes_of(tmp_path))
    assert [Segment.parse(JOB, file.name).level for file in tmp_path.glob("jobs/*/job=7/*")] == [1]
    store.append([snapshot(3)])
    assert store.compact(final=True).segments_after == 3
    assert [Segment.parse(JOB, file.name).level for file in tmp_path.glob("jobs/*/job=7/*")] == [2]


@pytest.mark.parametrize(("age_s", "left"), [(6 * 3600 - 60, 2), (6 * 3600 + 60, 0)])
def test_details_without_a_jobs_file_and_begun_files_go_when_they_are_stale(age_s, left, tmp_path):
    store = SnapshotStore(tmp_path)
    store.append([snapshot(0)])
    (file,) = tmp_path.glob("details/*/*/*")
    orphan = file.with_name(f"{file.name[:-20]}{'0' * 12}.parquet")
    orphan.write_bytes(file.read_bytes())
    (jobs,) = tmp_path.glob("jobs/*/*/*")
    begun = jobs.with_name(f".{jobs.name}.{'0' * 12}")
    begun.write_bytes(b"")
    then = datetime.now(UTC).timestamp() - age_s
    for each in (orphan, begun):
        os.utime(each, (then, then))
    store.compact(final=True)
    assert sum(each.exists() for each in (orphan, begun)) == left
    assert store.jobs().num_rows == 1


def test_the_inputs_that_a_killed_compactor_left_go_and_the_merged_segment_stays(tmp_path):
    store = SnapshotStore(tmp_path)
    store.append([snapshot(0), snapshot(1)])
    store.append([snapshot(1), snapshot(2)])
    inputs = {file: file.read_bytes() for file in tmp_path.glob("*/*/*/*.parquet")}
    store.compact(min_segments=2)
    merged = set(tmp_path.glob("*/*/*/*.parquet"))
    assert len(merged) == 2
    for file, content in inputs.items():
        file.write_bytes(content)
    store.compact(min_segments=9)
    assert set(tmp_path.glob("*/*/*/*.parquet")) == merged
    assert store.jobs()["snapshot_id"].to_pylist() == [0, 1, 2]


# --- The Delta log --------------------------------------------------------------------------------


@pytest.mark.parametrize(("age_s", "unread"), [(3599, False), (3600, False), (3601, True)])
def test_a_file_may_go_an_hour_after_its_removal(age_s, unread, tmp_path, monkeypatch):
    log = DeltaLog(Files(tmp_path, None), "jobs")
    log.publish(lambda: {"a": DataFile(1, 2), "b": DataFile(3, 4)})
    monkeypatch.setattr(delta.time, "time", lambda: NOW_S)
    log.publish(lambda: {"b": DataFile(3, 4)})
    monkeypatch.setattr(delta.time, "time", lambda: NOW_S + age_s)
    assert log.is_unread("a", compaction._GRACE_S) is unread
    assert log.is_unread("b", compaction._GRACE_S) is False
    assert log.is_unread("never there", compaction._GRACE_S) is True


def log_files(folder: Path) -> list[str]:
    return sorted(file.name.lstrip("0") for file in (folder / "jobs" / "_delta_log").iterdir())


def test_a_log_is_created_empty_and_changes_only_for_what_changed(tmp_path):
    log = DeltaLog(Files(tmp_path, None), "jobs")
    assert not log.exists()
    log.publish(lambda: {"a/x": DataFile(1, 2)})
    assert log.exists()
    folder = tmp_path / "jobs" / "_delta_log"
    commits = [list(map(json.loads, p.read_text().splitlines())) for p in sorted(folder.iterdir())]
    assert [[next(iter(action)) for action in commit] for commit in commits] == [
        ["protocol", "metaData"],
        ["add"],
    ]
    assert commits[0][0] == {"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}}
    assert commits[1][0]["add"] == {
        "path": "a/x",
        "partitionValues": {},
        "size": 1,
        "modificationTime": 2,
        "dataChange": True,
    }
    log.publish(lambda: {"a/x": DataFile(1, 2)})
    assert len(list(folder.iterdir())) == 2
    # What lies outside of `within` is another's.
    log.publish(lambda: {"b/y": DataFile(5, 6)}, "b/")
    assert log.active == {"a/x": DataFile(1, 2), "b/y": DataFile(5, 6)}
    log.publish(dict, "b/")
    assert log.active == {"a/x": DataFile(1, 2)}
    last = json.loads(sorted(folder.iterdir())[-1].read_text())["remove"]
    assert (last["path"], last["dataChange"]) == ("b/y", True)
    assert DeltaLog(Files(tmp_path, None), "jobs").exists()


def test_every_twentieth_commit_is_a_checkpoint_and_old_commits_go_after_a_day(
    tmp_path, monkeypatch
):
    log = DeltaLog(Files(tmp_path, None), "jobs")
    folder = tmp_path / "jobs" / "_delta_log"
    for number in range(19):
        log.publish(lambda number=number: {f"{number}": DataFile(1, 2)})
    assert not list(folder.glob("*.parquet"))
    log.publish(lambda: {"19": DataFile(1, 2)})
    assert [file.name for file in folder.glob("*.parquet")] == [f"{20:020}.checkpoint.parquet"]
    last = json.loads((folder / "_last_checkpoint").read_text())
    # Protocol, metadata, one file that counts and nineteen that do not.
    assert last == {"version": 20, "size": 22}
    for file in folder.iterdir():
        os.utime(file, (NOW_S, NOW_S))
    monkeypatch.setattr(delta.time, "time", lambda: NOW_S + 86_401)
    for number in range(20, 40):
        log.publish(lambda number=number: {f"{number}": DataFile(1, 2)})
    names = sorted(int(file.stem) for file in folder.glob("*.json"))
    assert names == list(range(21, 41))
    fresh = DeltaLog(Files(tmp_path, None), "jobs")
    assert fresh.refresh()
    assert (fresh.active, len(fresh.removed)) == ({"39": DataFile(1, 2)}, 39)


def test_commits_of_less_than_a_day_stay(tmp_path, monkeypatch):
    log = DeltaLog(Files(tmp_path, None), "jobs")
    folder = tmp_path / "jobs" / "_delta_log"
    for number in range(20):
        log.publish(lambda number=number: {f"{number}": DataFile(1, 2)})
    for file in folder.iterdir():
        os.utime(file, (NOW_S, NOW_S))
    monkeypatch.setattr(delta.time, "time", lambda: NOW_S + 86_400)
    for number in range(20, 40):
        log.publish(lambda number=number: {f"{number}": DataFile(1, 2)})
    assert len(list(folder.glob("*.json"))) == 41


def test_another_reader_of_the_log_sees_each_commit_in_its_order(tmp_path):
    log = DeltaLog(Files(tmp_path, None), "jobs")
    log.publish(lambda: {"a": DataFile(1, 2)})
    other = DeltaLog(Files(tmp_path, None), "jobs")
    assert other.refresh()
    assert other.active == {"a": DataFile(1, 2)}
    log.publish(lambda: {"b": DataFile(3, 4)})
    assert other.refresh()
    assert (other.active, set(other.removed)) == ({"b": DataFile(3, 4)}, {"a"})


def test_the_log_has_the_columns_with_their_types_and_what_they_mean(tmp_path):
    log = DeltaLog(Files(tmp_path, None), "jobs")
    log.publish(dict)
    (first, *_) = sorted((tmp_path / "jobs" / "_delta_log").iterdir())
    meta = json.loads(first.read_text().splitlines()[1])["metaData"]
    assert meta["createdTime"] > 1.7e12
    fields = {field["name"]: field for field in json.loads(meta["schemaString"])["fields"]}
    types = {name: fields[name]["type"] for name in ("snapshot_id", "progress_pct", "job_id")}
    assert types == {"snapshot_id": "long", "progress_pct": "double", "job_id": "string"}
    assert fields["observed_at"]["type"] == "timestamp"
    assert fields["observed_at"]["nullable"] is True
    assert fields["observed_at"]["metadata"]["comment"] == (
        STORED_SCHEMAS["jobs"].field("observed_at").metadata[b"description"].decode()
    )


def test_what_stands_among_the_segments_and_is_none_is_passed_over(tmp_path):
    store = SnapshotStore(tmp_path)
    store.append([snapshot(0)])
    store.append([snapshot(1)])
    (folder,) = {file.parent for file in tmp_path.glob("jobs/*/*/*.parquet")}
    (folder / "0-notes.txt").write_text("notes")
    (folder / "deeper" / "still").mkdir(parents=True)
    ((_, segments),) = listing.Listing(Files(tmp_path, None)).of_jobs(None, None).items()
    assert len(segments) == 2


def test_an_empty_marker_is_damaged_on_a_disk(tmp_path):
    (tmp_path / "_importstats.json").write_bytes(b"")
    with pytest.raises(StoreError, match="is damaged"):
        Marker(Files(tmp_path, None)).check(create=True)


def test_a_log_that_changes_at_each_attempt_is_an_error(tmp_path, monkeypatch):
    files = Files(tmp_path, None)
    tries = []
    monkeypatch.setattr(Files, "put_new", lambda *_: bool(tries.append(1)))
    monkeypatch.setattr(delta.time, "sleep", lambda _: None)
    with pytest.raises(StoreError, match="changed during each of 50 attempts to add to it"):
        DeltaLog(files, "jobs").publish(dict)
    assert len(tries) == 50


# --- Listing, names and periods -------------------------------------------------------------------


def test_a_read_is_tried_fifty_times_and_waits_longer_each_time(tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr(listing.time, "sleep", waits.append)

    def read(_segments):
        raise FileNotFoundError

    with pytest.raises(StoreError, match="changed during each of 50 attempts"):
        listing.Listing(Files(tmp_path, None)).retrying(JOB, [], read)
    assert len(waits) == 50
    assert waits[:3] == [0.001, 0.002, 0.004]
    assert max(waits) == waits[-1] == 0.2


@pytest.mark.parametrize(
    ("since", "until", "held"),
    [
        (None, None, True),
        (5, None, True),
        (5.000001, None, False),
        (None, 3, True),
        (None, 2.999999, False),
        (4, 4, True),
    ],
)
def test_a_period_holds_both_its_ends(since, until, held):
    ends = [None if s is None else START + timedelta(seconds=s) for s in (since, until)]
    assert Period.from_times(*ends).may_hold(segment(3, 5)) is held


def test_a_mask_has_both_ends_and_a_period_knows_zones():
    begin = datetime(1970, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    period = Period.from_times(begin + timedelta(seconds=1), begin + timedelta(seconds=2))
    assert period == (1_000_000, 2_000_000)
    times = np.array([999_999, 1_000_000, 2_000_000, 2_000_001])
    assert period.mask(times).tolist() == [False, True, True, False]
    with pytest.raises(ValueError, match="until has no time zone"):
        Period.from_times(None, datetime(2026, 5, 18))


@pytest.mark.parametrize(
    ("text", "folder"),
    [
        ("0", "0"),
        ("01", "01~"),
        ("9" * 18, "9" * 18),
        ("9" * 19, f"{'9' * 19}~"),
        ("a" * 64, "a" * 64),
        ("a" * 65, f"{'a' * 48}~"),
        ("A", "a~"),
        ("https://Host:1/x", "host-1-x~"),
    ],
)
def test_a_plain_name_stands_and_any_other_has_80_bits_of_hash(text, folder):
    made = slug(text)
    if "~" not in folder:
        assert made == folder
    else:
        remnant, _, digest = made.partition("~")
        assert (f"{remnant}~", len(digest)) == (folder, 20)


def test_a_marker_is_read_if_its_major_version_is_known(tmp_path):
    files = Files(tmp_path, None)
    Marker(files).check(create=True)
    assert (tmp_path / "_importstats.json").read_text() == '{"importstats_store": "1.0"}\n'
    (tmp_path / "_importstats.json").write_text('{"importstats_store": "1.9"}')
    Marker(files).check()
    (tmp_path / "_importstats.json").write_text('{"importstats_store": "2.0"}')
    with pytest.raises(StoreError, match=r"has format 2\.0, newer than this importstats can read"):
        Marker(files).check()
    (tmp_path / "_importstats.json").write_text('{"importstats_store": "2"}')
    with pytest.raises(StoreError, match="is damaged"):
        Marker(files).check()


@pytest.mark.parametrize(
    ("name", "temporary"),
    [(f".x.{'0' * 12}", True), (f".x.{'0' * 11}", False), (f"x.{'0' * 12}", False)],
)
def test_a_file_that_was_being_written_is_known_by_its_name(name, temporary):
    assert disk.is_temporary(name) is temporary


# --- Queries --------------------------------------------------------------------------------------


def test_keys_have_the_first_and_the_last_time_and_count_segments(tmp_path):
    store = SnapshotStore(tmp_path)
    for number in range(3):
        store.append(snapshot(number))
    store.append(snapshot(5, job="8"))
    rows = store.job_keys().to_pylist()
    assert [(row["job_id"], row["segments"]) for row in rows] == [("7", 3), ("8", 1)]
    assert (rows[0]["first_observed_at"], rows[0]["last_observed_at"]) == (
        START,
        START + timedelta(seconds=2),
    )
    assert Choice() == (None, None, (None, None))


def test_the_segments_of_jobs_are_found_by_server_job_both_or_neither(tmp_path):
    store = SnapshotStore(tmp_path)
    other = Snapshot(START, "7", "https://other", snapshot(0).response, snapshot_id=0)
    store.append([snapshot(0), snapshot(0, job="8"), other])
    found = listing.Listing(Files(tmp_path, None))
    here, there = slug("https://milvus"), slug("https://other")

    def names(*choice):
        return sorted(found.of_jobs(*choice))

    assert names(None, None) == sorted([(here, "7"), (here, "8"), (there, "7")])
    assert names("https://milvus", None) == [(here, "7"), (here, "8")]
    assert names(None, "7") == sorted([(here, "7"), (there, "7")])
    assert names("https://other", "7") == [(there, "7")]
    assert names("https://other", "8") == []
