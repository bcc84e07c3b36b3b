"""Facts on files: a restore, deletes only, a file listed twice, reasons, rows that fall."""

import pandas as pd
import pytest
from frames import frame_of

from importstats.analysis.file_facts import FileFacts

DAY = pd.Timestamp("2026-05-18", tz="UTC")


def details(*rows, **columns):
    """A details frame of (file_index, name, day, state, progress, reason)."""
    fields = ("file_index", "file_name", "day", "state", "progress_pct", "reason")
    frame = frame_of(rows, fields, start=DAY, file_size_bytes=100, **columns)
    return frame.assign(imported_rows=frame["progress_pct"] * 10)


def facts(*rows):
    return FileFacts.of_jobs(details(*rows))["u", "7"]


def test_the_reason_of_most_files_counts_as_last_seen():
    found = facts(
        (0, "a", 0, "InProgress", 0, "old"),
        (0, "a", 1, "InProgress", 0, "x"),
        (1, "b", 1, "Pending", 0, "y"),
        (2, "c", 1, "Pending", 0, "y"),
        (3, "d", 1, "Completed", 100, "done with trouble"),
        (4, "e", 1, "Pending", 0, " "),
        (5, "f", 1, "Pending", 0, ""),
    )
    assert (found.reason, found.reason_files, found.count) == ("y", 2, 6)
    assert found.size_bytes == 600


def test_the_reason_of_a_file_without_a_state_counts():
    found = facts((0, "a", 0, None, 0, "x"), (1, "b", 0, "Completed", 100, "y"))
    assert (found.reason, found.reason_files) == ("x", 1)


@pytest.mark.parametrize(
    ("names", "restore", "only_deletes"),
    [
        (["[b/insert_log/1/2 b/delta_log/1/2]"], True, False),
        (["[b/delta_log/1]", "[b/delta_log/2]"], True, True),
        (["[b/delta_log/1]", "[b/insert_log/2]"], True, False),
        (["[a.parquet]"], False, False),
        ([None], False, False),
    ],
)
def test_paths_of_binlogs_are_a_restore(names, restore, only_deletes):
    found = facts(*((i, name, 0, "Pending", 0, None) for i, name in enumerate(names)))
    assert (found.restore, found.only_deletes) == (restore, only_deletes)


def test_a_file_that_is_listed_twice():
    rows = [(i, name, 0, "Pending", 0, None) for i, name in enumerate(["[a]", "[b]", "[b]", "[c]"])]
    assert (facts(*rows).twice, facts(*rows).times) == ("[b]", 2)
    assert facts(*rows[:2]).twice is None


def test_rows_of_completed_files_that_fall():
    rows = [
        (0, "a", 0, "Completed", 100, None),
        (0, "a", 1, "Completed", 0, None),
        (1, "b", 0, "InProgress", 50, None),
        (1, "b", 1, "Pending", 0, None),
    ]
    found = facts(*rows)
    assert (found.fell, found.fell_at) == (1, DAY + pd.Timedelta("1D"))


def test_without_details_nothing_is_known():
    assert FileFacts.of_jobs(None) == {}
    assert FileFacts.of_jobs(details()) == {}
    assert FileFacts().count == 0


@pytest.mark.parametrize(
    ("before", "after", "fell"),
    [
        ((0, "Completed", 100), (0, "Completed", 99), 1),
        ((0, "Completed", 100), (0, "Completed", 100), 0),
        ((0, "Completed", 100), (0, "InProgress", 50), 0),
        ((0, "InProgress", 100), (0, "Completed", 50), 0),
        # Another file has other numbers.
        ((0, "Completed", 100), (1, "Completed", 50), 0),
    ],
)
def test_only_a_file_that_stays_completed_has_fallen(before, after, fell):
    rows = [
        (index, str(index), day, state, progress, None)
        for day, (index, state, progress) in enumerate((before, after))
    ]
    assert facts(*rows).fell == fell
