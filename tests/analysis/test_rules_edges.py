"""Rules at their edges: the second from which a job waits, hangs, stalls or may be forgotten."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from frames import START, jobs_of

from importstats.analysis import endings, waits
from importstats.analysis.gaps import find_gaps
from importstats.analysis.habits import Habits, limit_of
from importstats.analysis.job_history import job_histories
from importstats.analysis.recording_gaps import collector_gap, forgotten_soon
from importstats.analysis.standstill import stalled

HOUR = 3600
NAN = np.nan


def history(*rows, at_s=None, poll_s=None, earlier_s=None, **columns):
    """The history of a job seen so: (second, state, progress, rows of 1000)."""
    fields = ("second", "state", "progress_pct", "imported_rows")
    known = {"collection_name": "c", "total_rows": 1000, "detail_count": 3, **columns}
    frame = jobs_of(rows, fields, **known)
    at = None if at_s is None else START + pd.Timedelta(at_s, "s")
    (found,) = job_histories(frame, at)
    if earlier_s is not None:
        earlier = {"source_uri": "u", "job_id": "1", "collection_name": "c", "phase": found.phase}
        known = {**earlier, "ended_at": START, "longest_s": earlier_s, "count": 1, "rows": NAN}
        known = pd.DataFrame([known])
        found = replace(found, habits=Habits(known))
    return found if poll_s is None else replace(found, poll_s=poll_s)


def severity(finding):
    return None if finding is None else finding.severity


@pytest.mark.parametrize(
    ("waited_s", "options", "found"),
    [
        (119, {}, None),
        (120, {}, "info"),
        (HOUR, {}, "info"),
        (HOUR + 1, {}, "warning"),
        # Three times the only earlier job, and ten minutes at least.
        (1200, {"earlier_s": 400}, "info"),
        (1201, {"earlier_s": 400}, "warning"),
        (600, {"earlier_s": 100}, "info"),
        (601, {"earlier_s": 100}, "warning"),
    ],
)
def test_a_pending_job_waits_from_two_minutes_on(waited_s, options, found):
    job = history((0, "Pending", 5, 0), (waited_s, "Pending", 5, 0), **options)
    assert severity(waits.waits_to_start(job)) == found


@pytest.mark.parametrize(
    ("ahead", "says"),
    [
        (0, "The job has been Pending for 2 h"),
        (
            1,
            "The job has been Pending for 2 h; 1 job of its cluster that had not ended was "
            "created before it",
        ),
        (
            2,
            "The job has been Pending for 2 h; 2 jobs of its cluster that had not ended were "
            "created before it",
        ),
    ],
)
def test_a_job_behind_others_waits_for_them(ahead, says):
    job = replace(history((0, "Pending", 5, 0), (7200, "Pending", 5, 0)), ahead=ahead)
    found = waits.waits_to_start(job)
    assert (found.message, found.severity) == (says, "info" if ahead else "warning")


def test_a_job_waits_since_it_was_created():
    created = (START - pd.Timedelta("60s")).as_unit("us")
    job = history((0, "Pending", 5, 0), (60, "Pending", 5, 0), create_time=created)
    assert waits.waits_to_start(job).evidence["waited_s"] == 120
    later = (START + pd.Timedelta("30s")).as_unit("us")
    job = history((0, "Pending", 5, 0), (120, "Pending", 5, 0), create_time=later)
    assert waits.waits_to_start(job).evidence["waited_s"] == 120


@pytest.mark.parametrize(("waited_s", "found"), [(600, None), (601, "warning")])
def test_a_commit_hangs_after_ten_minutes(waited_s, found):
    job = history((0, "Committing", 99, 1000), (waited_s, "Committing", 99, 1000))
    assert severity(waits.commit_hangs(job)) == found


@pytest.mark.parametrize(("waited_s", "found"), [(0, "info"), (300, "info"), (301, "warning")])
def test_a_job_that_nobody_commits_is_worth_a_warning_after_five_minutes(waited_s, found):
    job = history((0, "Uncommitted", 99, 1000), (waited_s, "Uncommitted", 99, 1000))
    assert severity(waits.waits_for_commit(job)) == found


STOOD = (0, "Importing", 80, 1000)


def moved_every(seconds, times):
    """Snapshots of a job that has moved so often after its last row."""
    return [(seconds * n, "Importing", 80 + n, 1000) for n in range(times + 1)]


@pytest.mark.parametrize(
    ("before", "idle_s", "options", "found"),
    [
        # An hour, if nothing is known; three polls; five times the time before or the longest.
        ([STOOD], HOUR, {}, "info"),
        ([STOOD], HOUR + 1, {}, "warning"),
        ([STOOD], 6000, {"poll_s": 2000}, "info"),
        ([STOOD], 6001, {"poll_s": 2000}, "warning"),
        ([STOOD, (1000, "Importing", 81, 1000)], 5000, {}, "info"),
        ([STOOD, (1000, "Importing", 81, 1000)], 5001, {}, "warning"),
        ([STOOD], 5000, {"create_time": (START - pd.Timedelta("1000s")).as_unit("us")}, "info"),
        ([STOOD], 5001, {"create_time": (START - pd.Timedelta("1000s")).as_unit("us")}, "warning"),
        # With an earlier job: 2.25 times as long, half as much again as itself, ten minutes.
        ([STOOD], 900, {"earlier_s": 400}, "info"),
        ([STOOD], 901, {"earlier_s": 400}, "warning"),
        ([STOOD], 600, {"earlier_s": 0}, "info"),
        ([STOOD], 601, {"earlier_s": 0}, "warning"),
        ([STOOD, (1000, "Importing", 81, 1000)], 1500, {"earlier_s": 400}, "info"),
        ([STOOD, (1000, "Importing", 81, 1000)], 1501, {"earlier_s": 400}, "warning"),
        # One standstill of its own is no habit; 1.75 times the longer of two is unusual, and 1.5
        # times the longest of three, whatever the earlier job took.
        (moved_every(1000, 1), 4500, {"earlier_s": 2000}, "info"),
        (moved_every(1000, 1), 4501, {"earlier_s": 2000}, "warning"),
        (moved_every(1000, 2), 1750, {"earlier_s": 2000}, "info"),
        (moved_every(1000, 2), 1751, {"earlier_s": 2000}, "warning"),
        (moved_every(1000, 3), 1500, {"earlier_s": 2000}, "info"),
        (moved_every(1000, 3), 1501, {"earlier_s": 2000}, "warning"),
        (moved_every(100, 3), 600, {"earlier_s": 2000}, "info"),
        (moved_every(100, 3), 601, {"earlier_s": 2000}, "warning"),
    ],
)
def test_a_wait_after_the_rows_is_unusual_from_a_time_on(before, idle_s, options, found):
    second, *shown = before[-1]
    job = history(*before, (second + idle_s, *shown), **{"poll_s": 60, **options})
    assert severity(waits.waits_after_rows(job)) == found


@pytest.mark.parametrize(
    ("progress", "idle_s", "message"),
    [
        (80, 600, "All 1,000 rows are in; the job has been building indexes for 10 min"),
        (
            85,
            601,
            "All 1,000 rows are in; the job has been building indexes for 10 min 1 s, 50 % of the "
            "segments have one, and has not moved since",
        ),
    ],
)
def test_a_wait_for_an_index_says_how_many_segments_have_one(progress, idle_s, message):
    job = history((0, "Importing", progress, 1000), (idle_s, "Importing", progress, 1000))
    assert waits.waits_after_rows(job).message == message


def test_a_wait_for_an_index_says_how_long_it_has_not_moved():
    shown = [(0, 80), (300, 85), (1000, 85)]
    job = history(*((second, "Importing", progress, 1000) for second, progress in shown))
    message = waits.waits_after_rows(job).message
    assert message.endswith(
        "has been building indexes for 16 min 40 s, 50 % of the segments have "
        "one, and has not moved for 11 min 40 s"
    )


def moving(times, idle_s, *, progress=41, state="Importing"):
    rows = [(second, state, progress + n, 10 * n) for n, second in enumerate(times)]
    return [*rows, (times[-1] + idle_s, *rows[-1][1:])]


@pytest.mark.parametrize(
    ("times", "idle_s", "options", "found"),
    [
        # Three moves are a habit: five times the longest pause, ten minutes and ten polls.
        ([0, 100, 200, 300], 600, {}, None),
        ([0, 100, 200, 300], 601, {}, "critical"),
        ([0, 100, 200, 400], 1000, {}, None),
        ([0, 100, 200, 400], 1001, {}, "critical"),
        ([0, 100, 200, 300], 1000, {"poll_s": 100}, None),
        ([0, 100, 200, 300], 1001, {"poll_s": 100}, "critical"),
        # Two are none: six hours.
        ([0, 100, 200], 6 * HOUR, {}, None),
        ([0, 100, 200], 6 * HOUR + 1, {}, "warning"),
        # With an earlier job: three times as long, half as much again, ten minutes, three polls.
        ([0, 100, 200], 1200, {"earlier_s": 400}, None),
        ([0, 100, 200], 1201, {"earlier_s": 400}, "warning"),
        ([0, 100, 1100], 1500, {"earlier_s": 400}, None),
        ([0, 100, 1100], 1501, {"earlier_s": 400}, "warning"),
        ([0], 600, {"earlier_s": 1}, None),
        ([0], 601, {"earlier_s": 1}, "warning"),
        ([0], 900, {"earlier_s": 1, "poll_s": 300}, None),
        ([0], 901, {"earlier_s": 1, "poll_s": 300}, "warning"),
    ],
)
def test_a_standstill_is_a_stall_from_a_time_on(times, idle_s, options, found):
    job = history(*moving(times, idle_s), **{"poll_s": 60, **options})
    assert severity(stalled(job, 5.0, files_tell=False)) == found


@pytest.mark.parametrize(
    ("earlier_s", "idle_s", "found"),
    [
        (None, 6 * HOUR, None),
        (None, 6 * HOUR + 1, "warning"),
        (100, HOUR, None),
        (100, HOUR + 1, "warning"),
        # Nine times the only earlier job: files may be of any size.
        (500, 4500, None),
        (500, 4501, "warning"),
    ],
)
def test_a_standstill_before_the_rows_may_last_longer(earlier_s, idle_s, found):
    rows = [(0, "Importing", 20, 0), (idle_s, "Importing", 20, 0)]
    options = {"total_rows": 0, "detail_count": 0, "poll_s": 60}
    job = history(*rows, earlier_s=earlier_s, **options)
    assert severity(stalled(job, 5.0, files_tell=False)) == found


def test_a_job_that_waits_or_only_deletes_is_not_stalled():
    for state, progress in (("Pending", 5), ("Uncommitted", 99), ("Completed", 100)):
        job = history((0, state, progress, 0), (7 * HOUR, state, progress, 0))
        assert stalled(job, 5.0, files_tell=False) is None
    job = history(*moving([0, 100, 200, 300], 7 * HOUR), poll_s=60)
    assert stalled(job, 5.0, files_tell=False)
    deletes = replace(job, files=replace(job.files, only_deletes=True))
    assert stalled(deletes, 5.0, files_tell=False) is None


def test_a_stall_says_how_many_times_longer_it_is_unless_files_say_more():
    job = history(*moving([0, 100, 200, 300], 700), poll_s=60)
    found = stalled(job, 5.0, files_tell=False)
    assert found.message == (
        "Nothing has moved in Importing for 11 min 40 s, 7 times longer than before, at 44 %"
    )
    assert (found.since - START).total_seconds() == 300
    assert stalled(job, 5.0, files_tell=True) is None


# --- The recording --------------------------------------------------------------------------------


def polled(*times, ended=False):
    rows = [(second, "Importing", 55, 500) for second in times]
    return [*rows[:-1], (times[-1], "Completed", 100, 1000)] if ended else rows


@pytest.mark.parametrize(
    ("times", "at_s", "poll_s", "found"),
    [
        ((0, 30, 60), 120, 10, None),
        ((0, 30, 60), 121, 10, "warning"),
        ((0, 30, 60), 260, 40, None),
        ((0, 30, 60), 261, 40, "warning"),
        ((0,), 9999, 10, None),
        ((0, 30), 9999, 10, "warning"),
        ((0, 30), 9999, 0, None),
        ((0, 30), 9999, NAN, None),
    ],
)
def test_no_snapshot_for_five_polls_and_a_minute_is_a_gap(times, at_s, poll_s, found):
    job = history(*polled(*times), at_s=at_s, poll_s=poll_s)
    assert severity(collector_gap(job, 5.0)) == found


def test_a_gap_is_reported_with_the_worst_and_how_many():
    job = history(*polled(0, 10, 110, 120, 320, 330), at_s=340, poll_s=10)
    found = collector_gap(job, 5.0)
    assert found.message == "No snapshot for 3 min 20 s; usually there is one every 10 s"
    assert found.evidence == {"gap_s": 200.0, "poll_s": 10, "gaps": 2}
    assert (found.since - START).total_seconds() == 120
    still = collector_gap(history(*polled(0, 10, 20), at_s=320, poll_s=10), 5.0)
    assert still.message == "No snapshot for 5 min, and still none; usually there is one every 10 s"
    over = collector_gap(history(*polled(0, 10, 110, ended=True), at_s=900, poll_s=10), 5.0)
    assert (over.severity, over.evidence["gap_s"]) == ("info", 100)


@pytest.mark.parametrize(
    ("unseen_s", "found", "left"),
    [
        (HOUR, None, None),
        (HOUR + 1, "warning", "may forget it in 59 min 59 s"),
        (2 * HOUR - 1, "warning", "may forget it in 1 s"),
        (2 * HOUR, "critical", "may already have forgotten it"),
    ],
)
def test_a_job_may_be_forgotten_from_half_the_retention_on(unseen_s, found, left):
    finding = forgotten_soon(history(*polled(0), at_s=unseen_s), 2.0 * HOUR)
    assert severity(finding) == found
    assert finding is None or finding.message.endswith(f"the server {left}")


@pytest.mark.parametrize(
    ("seconds", "polls", "gaps"),
    [
        ([0, 10, 20, 30, 90], 1.0, []),
        ([*range(0, 110, 10), 160], 5.0, []),
        ([*range(0, 110, 10), 161], 5.0, [161]),
        ([*range(0, 220, 20), 301], 5.0, [301]),
        ([*range(0, 220, 20), 300], 5.0, []),
        ([0, 500], 5.0, []),
        ([0], 5.0, []),
        ([0, 1, 500], 0.5, [500]),
    ],
)
def test_a_pause_is_a_gap_beyond_so_many_usual_ones_and_a_minute(seconds, polls, gaps):
    times = pd.Series(START + pd.to_timedelta(seconds, unit="s"))
    for found in (find_gaps(times, polls), *([find_gaps(times)] if polls == 5.0 else [])):
        assert ((found["end"] - START).dt.total_seconds()).tolist() == gaps


@pytest.mark.parametrize(
    ("longest_s", "of_files_s", "of_segments_s"),
    [
        ([], NAN, NAN),
        ([100], 300, 225),
        ([100, 80], 250, 200),
        ([400, 100], 1000, 400),
        ([100, 80, 80], 200, 175),
        ([900, 10, 10], 25, 22.5),
    ],
)
def test_the_limit_of_a_standstill_by_those_of_earlier_jobs(longest_s, of_files_s, of_segments_s):
    known = np.array(longest_s, np.float64)
    assert limit_of(known, "Importing") == pytest.approx(of_files_s, nan_ok=True)
    for phase in ("Sorting", "SortingOrIndexing", "IndexBuilding"):
        assert limit_of(known, phase) == pytest.approx(of_segments_s, nan_ok=True)


def test_only_the_latest_six_jobs_count_and_a_larger_one_stands_up_to_four_times_as_long():
    rows = [
        {"source_uri": "u", "job_id": str(n), "collection_name": "c", "phase": "Importing"}
        | {"ended_at": START + pd.Timedelta(n, "D"), "longest_s": float(n), "count": 9}
        | {"rows": 100.0}
        for n in range(8)
    ]
    habits = Habits(pd.DataFrame(rows))
    assert habits.longest_s(("u", "9"), "c", "Importing").tolist() == [2, 3, 4, 5, 6, 7]
    assert habits.longest_s(("u", "7"), "c", "Importing").tolist() == [1, 2, 3, 4, 5, 6]
    for given, times in ((50, 1), (100, 1), (150, 1.5), (400, 4), (500, 4)):
        found = habits.longest_s(("u", "9"), "c", "Importing", given)
        assert found[-1] == 7 * times


@pytest.mark.parametrize(
    ("phase", "count", "rows", "times"),
    [
        ("IndexBuilding", 7, 80, 0.8),
        ("IndexBuilding", 7, 50, 0.5),
        ("IndexBuilding", 7, 40, 0.5),
        ("IndexBuilding", 6, 50, 1),
        ("Sorting", 7, 50, 0.5),
        ("Importing", 7, 50, 1),
        ("IndexBuilding", 7, 200, 2),
        ("IndexBuilding", 6, 200, 2),
    ],
)
def test_a_smaller_job_stands_still_for_less_where_a_point_is_many_segments(
    phase, count, rows, times
):
    row = {"source_uri": "u", "job_id": "1", "collection_name": "c", "phase": phase}
    row |= {"ended_at": START, "longest_s": 1000.0, "count": count, "rows": 100.0}
    found = Habits(pd.DataFrame([row])).longest_s(("u", "9"), "c", phase, rows)
    assert found.tolist() == [1000 * times]


# --- Ends -----------------------------------------------------------------------------------------


DONE = (0, "Completed", 100, 1000)


@pytest.mark.parametrize(("rows", "found"), [(999, "warning"), (1000, None), (1001, None)])
def test_a_row_less_than_was_counted_is_short(rows, found):
    job = history((0, "Completed", 100, rows))
    assert severity(endings.completed_short(job)) == found


@pytest.mark.parametrize(
    ("rows", "total", "size", "found"),
    [(0, 0, 1, "warning"), (0, 0, 0, "info"), (1, 1, 1, None), (0, 1, 1, None), (1, 0, 1, None)],
)
def test_a_job_that_completed_without_a_row(rows, total, size, found):
    job = history((0, "Completed", 100, rows), total_rows=total, file_size_bytes=size)
    assert severity(endings.completed_empty(job)) == found


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(0, "Failed", 0, 0)], "Failed in an unknown phase: the server gives no reason"),
        (
            [(0, "Importing", 55, 500), (9, "Failed", 0, 0)],
            "Failed in Importing with 500 of 1,000 rows written: the server gives no reason",
        ),
        (
            [(0, "Uncommitted", 99, 1000), (9, "Failed", 0, 0)],
            "Failed in Uncommitted with 1,000 of 1,000 rows written: the server gives no reason; "
            "somebody aborted it, or its time (option `timeout`) ran out",
        ),
    ],
)
def test_a_failure_says_in_which_phase_and_how_far_it_was(rows, message):
    assert endings.failed(history(*rows)).message == message


@pytest.mark.parametrize(
    ("reasons", "name", "level"),
    [
        (["", "collection 444 dropped"], "collection_dropped", "info"),
        (["", "disk is full"], "rows_dropped", "critical"),
        (["", None], "rows_dropped", "critical"),
    ],
)
def test_a_job_that_failed_after_its_end(reasons, name, level):
    job = history(DONE, (60, "Failed", 0, 0), reason=reasons)
    found = endings.changed_after_end(job)
    assert (found.finding, found.severity) == (name, level)
    assert (found.since - START).total_seconds() == 60
    assert found.message.startswith("The job completed at 2026-05-18 08:00:00 UTC; ")
    assert endings.changed_after_end(history(DONE, DONE)) is None


def test_only_a_failure_after_the_end_changes_it_and_since_it_was_first_seen():
    again = (30, "Completed", 100, 1000)
    job = history(DONE, again, (60, "Failed", 0, 0), (90, "Failed", 0, 0))
    assert (endings.changed_after_end(job).since - START).total_seconds() == 60
    before = history((0, "Failed", 0, 0), (60, "Completed", 100, 1000))
    assert endings.changed_after_end(before) is None
