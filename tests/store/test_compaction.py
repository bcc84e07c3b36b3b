"""Which segments are merged next, which overlap, and which files are old enough to delete."""

import os
import time
from types import SimpleNamespace

import pytest
from stored_snapshots import numbered

from importstats.store import SnapshotStore, compaction
from importstats.store.compaction import _is_stale, _overlapping, _plan
from importstats.store.segments import JobFolder, Segment

JOB = JobFolder("u", "7")
MIB = 2**20


def segment(first, last=None, level=0):
    """A segment by the letters of its first and last time; its name is its first."""
    return Segment(level, first, first, last or first, JOB)


def planned(segments, min_segments=2, *, by_level=True, sizes=None):
    made = [each if isinstance(each, Segment) else segment(each) for each in segments]
    return "".join(each.name for each in _plan(made, sizes or {}, min_segments, by_level=by_level))


def test_as_many_as_were_asked_for_are_merged_in_order_of_time():
    assert planned("ba", 3) == ""
    assert planned("bca", 3) == planned("bca", 1) == "abc"
    assert planned("") == ""


def test_segments_of_one_level_are_merged_unless_all_are():
    levels = [segment("a", level=1), segment("b"), segment("c", level=1), segment("d")]
    assert planned(levels) == "bd"
    assert planned(levels[:3]) == "ac"
    assert planned(levels, 3) == ""
    assert planned(levels, 3, by_level=False) == "abcd"


@pytest.mark.parametrize(
    ("mib", "min_segments", "merged"),
    [
        # Up to 32 MiB together, and as few as make a merge worth while.
        ([16, 16, 16], 2, "ab"),
        ([16, 16.1, 16], 2, ""),
        ([16, 16.1, 15], 2, "bc"),
        ([16, 16, 16, 16], 3, ""),
        ([33, 1, 1], 2, "bc"),
        ([1, 33, 1], 2, ""),
        ([33, 1], 1, "a"),
    ],
)
def test_a_merge_reads_no_more_than_memory_can_hold(mib, min_segments, merged):
    names = "abcd"[: len(mib)]
    sizes = {name: int(size * MIB) for name, size in zip(names, mib, strict=True)}
    assert planned(names, min_segments, sizes=sizes) == merged


@pytest.mark.parametrize(
    ("spans", "groups"),
    [
        (["ab", "cd"], []),
        (["ac", "cd"], [["a", "c"]]),
        (["ax", "bc", "de", "yz"], [["a", "b", "d"]]),
        (["de", "ab", "bc", "ef"], [["a", "b"], ["d", "e"]]),
        (["ab"], []),
        ([], []),
    ],
)
def test_segments_overlap_if_they_have_a_time_in_common(spans, groups):
    found = _overlapping([segment(first, last) for first, last in spans])
    assert [[each.name for each in group] for group in found] == groups


def test_a_file_is_stale_after_six_hours(monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 1e6)
    changed = {None: False, 0: False, 6 * 3600: False, 6 * 3600 + 1: True}
    for age_s, stale in changed.items():
        when = None if age_s is None else int((1e6 - age_s) * 1e9)
        assert _is_stale(SimpleNamespace(mtime_ns=when)) == stale


@pytest.fixture
def store(tmp_path):
    store = SnapshotStore(tmp_path)
    for number in range(3):
        store.append(numbered(number, files=1))
    return store


def files_in(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_what_was_merged_is_counted(store, tmp_path):
    def count():
        paths = [path for path in files_in(tmp_path) if path.suffix == ".parquet"]
        return len(store.files("jobs")), sum(path.stat().st_size for path in paths)

    before = count()
    done = store.compact(min_segments=3)
    assert (done.segments_before, done.segments_after) == (3, 1)
    assert (done.bytes_before, done.bytes_after) == (before[1], count()[1])
    assert store.jobs().num_rows == store.details().num_rows == 3
    again = store.compact(final=True)
    assert (again.segments_before, again.segments_after) == (1, 1)


@pytest.mark.parametrize("is_old", [True, False])
def test_only_old_leftovers_of_writers_that_died_are_deleted(store, tmp_path, is_old):
    (kept,) = (path for path in store.files("details")[:1])
    orphan = tmp_path / "details" / kept.split("/details/")[1].replace("-L0-", "-L7-")
    orphan.write_bytes(b"begun")
    begun = tmp_path / compaction.TEMPORARY / "begun"
    begun.parent.mkdir(exist_ok=True)
    begun.write_bytes(b"begun")
    if is_old:
        for path in (orphan, begun):
            os.utime(path, (time.time() - 6 * 3600 - 9,) * 2)
    store.compact(final=True)
    assert (orphan.exists(), begun.exists()) == (not is_old, not is_old)
    assert store.details().num_rows == 3
