"""Groups of jobs: what is left of them, at which pace, and when the last one ends."""

import math

import numpy as np
import pandas as pd
import pytest

from importstats.analysis.grouped import (
    _AFTER_ROWS,
    _ETA,
    _SPREAD,
    _end_quantiles,
    _finishing_s,
    _rows_per_s,
    _total_rows,
    _usual_tail_s,
    group_progress,
)
from importstats.names import PHASE_DTYPE

START = pd.Timestamp("2026-05-18T08:00Z")
NA = float("nan")


def at(second):
    return START + pd.Timedelta(second, "s")


def table(*jobs, **columns):
    """Jobs of (phase, rows, total rows), numbered from 1, that began at 0 s."""
    phase, rows, total = zip(*jobs, strict=True)
    frame = pd.DataFrame(
        {
            "job_id": [str(number) for number in range(1, len(jobs) + 1)],
            "phase": pd.Categorical(phase, dtype=PHASE_DTYPE),
            "rows": pd.array(rows, "Int64"),
            "total_rows": pd.array(total, "Int64"),
            "progress_pct": 50.0,
            "reason": None,
        }
    )
    times = {"started_at": START, "ended_at": pd.NaT, **dict.fromkeys(_ETA, pd.NaT)}
    for name, value in {**times, **dict.fromkeys(_AFTER_ROWS, NA), **columns}.items():
        frame[name] = value
    for name in times:
        frame[name] = pd.to_datetime(frame[name], utc=True)
    return frame


def seen(*samples):
    """Snapshots of (second, phase, total rows)."""
    second, phase, total = zip(*samples, strict=True)
    return pd.DataFrame(
        {
            "observed_at": [at(each) for each in second],
            "phase": pd.Categorical(phase, dtype=PHASE_DTYPE),
            "total_rows": pd.array(total, "Int64"),
        }
    )


# --- What is left ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("jobs", "planned", "expected"),
    [
        ([("Importing", 5, 100), ("Completed", 70, 70)], None, (170, False)),
        # A failed one is left out, and of one that completed the rows that are in count.
        ([("Failed", 5, 100), ("Completed", 60, 70)], None, (60, False)),
        # Files that are not listed yet count as those of the others do, by their median.
        ([("Importing", 5, 100), ("Importing", 5, 40), ("Pending", 0, 0)], None, (210, True)),
        ([("Importing", 5, 100), ("Pending", 0, None)], None, (200, True)),
        ([("Importing", 5, 100), ("Pending", 0, None)], {"2": 30}, (130, False)),
        ([("Importing", 5, 100), ("Pending", 0, None)], {"1": 30}, (200, True)),
        ([("Importing", 5, 100)], {"1": 30}, (100, False)),
        ([("Pending", 0, 0)], None, (NA, True)),
        ([("Failed", 0, 7)], None, (NA, True)),
    ],
)
def test_the_rows_of_a_group_are_those_of_its_files_or_as_planned_or_as_usual(
    jobs, planned, expected
):
    plan = None if planned is None else pd.Series(planned, dtype="Int64")
    total, is_estimated = _total_rows(table(*jobs), plan)
    np.testing.assert_equal((total, is_estimated), expected)


@pytest.mark.parametrize(
    ("jobs", "samples", "ended", "expected"),
    [
        # Since the first job began to write, until now or until the last one ended.
        ([("Importing", 60, 90)], [(0, "Pending", 0), (40, "Importing", 90)], NA, 1.0),
        ([("Completed", 60, 90)], [(40, "Importing", 90)], 70, 2.0),
        ([("Importing", 0, 90)], [(40, "Importing", 90)], NA, NA),
        ([("Importing", 60, 90)], [(40, "Importing", None)], NA, NA),
        ([("Importing", 60, 90)], [(100, "Importing", 90)], NA, NA),
        ([("Importing", None, 90)], [(40, "Importing", 90)], NA, NA),
    ],
)
def test_the_pace_of_a_group_counts_from_its_first_row(jobs, samples, ended, expected):
    times = pd.NaT if math.isnan(ended) else at(ended)
    found = _rows_per_s(table(*jobs, ended_at=times), seen(*samples), at(100))
    np.testing.assert_equal(found, expected)


def test_the_pace_counts_to_now_while_one_has_not_ended():
    both = table(("Completed", 60, 60), ("Importing", 40, 90))
    both["ended_at"] = pd.to_datetime([at(60), pd.NaT], utc=True)
    assert _rows_per_s(both, seen((50, "Importing", 60)), at(100)) == 2


def test_what_a_job_takes_after_its_last_row_is_that_of_those_that_completed():
    jobs = table(*[("Completed", 9, 9)] * 3, ("Importing", 5, 9))
    jobs["sorting_s"] = [10.0, NA, NA, 900.0]
    jobs["index_building_s"] = [5.0, 40.0, NA, NA]
    assert _usual_tail_s(jobs) == 15
    assert _usual_tail_s(jobs.iloc[3:]) == 0


@pytest.mark.parametrize(
    ("jobs", "progress", "samples", "expected"),
    [
        # Half of the way from 70 to 90 is half of its rows: 50 of 200 in 60 s.
        ([("Sorting", 100, 100)], 80, [(40, "Sorting", 9)], 180),
        ([("Sorting", 100, 100)], 70, [(40, "Sorting", 9)], 0),
        ([("IndexBuilding", 100, 100)], 90, [(40, "Sorting", 9)], 60),
        ([("IndexBuilding", 100, 100)], 95, [(40, "Sorting", 9)], 60),
        ([("Completed", 100, 100)], 50, [(40, "Sorting", 9)], 60),
        # One that still writes has finished nothing.
        ([("Importing", 100, 100)], 80, [(40, "Sorting", 9)], 0),
        ([("Sorting", 100, 100)], 80, [(40, "Importing", 9)], 0),
        ([("Sorting", 100, 100)], 80, [(100, "Sorting", 9)], 0),
        ([("Sorting", None, 100)], 80, [(40, "Sorting", 9)], 0),
        ([("Sorting", 400, 400)], 90, [(40, "Sorting", 9)], 0),
    ],
)
def test_sorting_and_indexing_go_on_at_the_pace_of_the_group(jobs, progress, samples, expected):
    found = _finishing_s(table(*jobs, progress_pct=float(progress)), seen(*samples), 200.0, at(100))
    assert found == pytest.approx(expected)


# --- When the last one ends -----------------------------------------------------------------------


def end(jobs, *, pace=1.0, total=200.0, now=100):
    samples = seen((0, "Importing", 9))
    found, reason = _end_quantiles(jobs, samples, total, pace, at(now))
    return reason if found is None else [(each - START).total_seconds() for each in found]


def quantiles(*opinions_s, now=100):
    middle = math.exp(np.log(opinions_s).mean())
    return pytest.approx([now + middle * factor for factor in _SPREAD])


def test_three_things_speak_for_when_a_group_ends_and_their_geometric_mean_is_taken():
    assert _SPREAD == (0.28, 0.84, 3.0)
    jobs = table(("Importing", 60, 100), ("Importing", 40, 100), eta_p50=at(150))
    jobs.loc[0, "eta_p50"] = at(120)
    # The latest ETA, 100 rows at 1 per second, and as long again as it has taken.
    assert end(jobs) == quantiles(50, 100, 100)
    assert end(jobs, pace=4.0) == quantiles(50, 25, 100)
    # What speaks for no time at all does not count.
    assert end(jobs, total=100.0) == quantiles(50, 100)
    assert end(jobs, pace=NA) == quantiles(50, 100)
    late = jobs.assign(eta_p50=at(90))
    assert end(late) == quantiles(100, 100)


def test_what_follows_the_last_row_is_added_and_the_longer_of_two_ways_counts():
    jobs = table(("Importing", 60, 100), ("Importing", 40, 100), ("Completed", 0, 0))
    jobs["eta_p50"] = pd.to_datetime([at(150), at(150), pd.NaT], utc=True)
    jobs["sorting_s"] = [NA, NA, 20.0]
    assert end(jobs) == quantiles(50, 120, 100)


def test_the_rows_of_a_failed_job_are_not_written():
    jobs = table(("Importing", 60, 100), ("Importing", 40, 100), ("Failed", 70, 0))
    jobs["eta_p50"] = pd.to_datetime([at(150), at(150), pd.NaT], utc=True)
    assert end(jobs) == quantiles(50, 100, 100)


def test_a_single_job_that_is_left_has_its_own_eta():
    jobs = table(("Importing", 60, 100), ("Completed", 40, 40))
    for second, name in zip((110, 120, 160), _ETA, strict=True):
        jobs[name] = pd.to_datetime([at(second), pd.NaT], utc=True)
    assert end(jobs) == [110, 120, 160]


def test_without_an_eta_of_any_job_at_work_or_a_row_while_some_wait_there_is_a_reason():
    jobs = table(("Importing", 60, 100), ("Importing", 0, 100), reason="too early")
    assert end(jobs) == "job 1: too early"
    jobs["eta_p50"] = pd.to_datetime([pd.NaT, at(150)], utc=True)
    assert end(jobs) == quantiles(50, 140, 100)
    waits = table(("Pending", 0, 100), ("PreImporting", 0, 100))
    assert end(waits, pace=NA) == "jobs are waiting, and the group has not written a row yet"
    assert end(waits, pace=0.0) == "jobs are waiting, and the group has not written a row yet"
    assert end(waits) == quantiles(200, 100)
    one = table(("Importing", 60, 100), ("Pending", 0, 100), reason="too early")
    assert end(one) == "job 1: too early"


# --- The whole ------------------------------------------------------------------------------------


def snapshots(job_id, states, rows, *, every=60, progress=(40.0, 55.0, 60.0)):
    count = len(states)
    shown = [100.0 if state == "Completed" else progress[n] for n, state in enumerate(states)]
    return pd.DataFrame(
        {
            "source_uri": "http://localhost:19530",
            "job_id": job_id,
            "state": states,
            "collection_name": "books",
            "snapshot_id": range(count),
            "observed_at": pd.date_range(START, periods=count, freq=f"{every}s"),
            "progress_pct": shown,
            "imported_rows": pd.array(rows, "Int64"),
            "total_rows": pd.array([900 if each is not None else None for each in rows], "Int64"),
            "detail_count": 3,
        }
    )


def test_a_group_counts_its_jobs_and_rows_and_says_which_is_the_last():
    found = group_progress(
        pd.concat(
            [
                snapshots("1", ["Importing", "Importing", "Completed"], [0, 500, 900]),
                snapshots("2", ["Importing"] * 3, [0, 300, 600]),
                snapshots("3", ["Importing", "Failed", "Failed"], [100, 0, 0]),
                snapshots("4", ["Pending"] * 3, [None] * 3, progress=(10.0,) * 3),
            ]
        )
    )
    assert (found.completed, found.failed, found.running, found.waiting) == (1, 1, 1, 1)
    assert (found.rows, found.total_rows, found.is_total_estimated) == (1600, 2700, True)
    assert found.rows_per_s == pytest.approx(1600 / 120)
    assert found.started_at == START
    assert pd.isna(found.ended_at)
    assert found.reason is None
    assert at(120) < found.eta_p10 < found.eta_p50 < found.eta_p90
    # By its own ETA, which for one that waits is the latest here.
    assert found.jobs["is_last"].tolist() == [False, False, False, True]
    assert found.jobs["job_id"].tolist() == ["1", "2", "3", "4"]


def test_a_group_that_is_over_ended_with_its_last_job():
    found = group_progress(
        pd.concat(
            [
                snapshots("1", ["Importing", "Importing", "Completed"], [0, 500, 900]),
                snapshots("2", ["Importing", "Completed"], [0, 900]),
                snapshots("3", ["Importing", "Failed"], [0, 0]),
            ]
        )
    )
    assert (found.running, found.waiting, found.failed, found.reason) == (0, 0, 1, None)
    ends = found.jobs["ended_at"]
    assert found.ended_at == found.eta_p10 == found.eta_p50 == found.eta_p90 == ends.max()
    assert found.jobs["is_last"].tolist() == [True, False, False]
    assert not found.is_total_estimated
    assert found.total_rows == 1800


def test_a_group_is_as_it_was_at_a_time_and_planned_jobs_wait_unseen():
    jobs = snapshots("1", ["Importing", "Importing", "Completed"], [0, 500, 900])
    plan = pd.Series({"1": 900, "9": 100}, dtype="Int64")
    found = group_progress(jobs, at=at(119.999999), planned=plan)
    assert (found.completed, found.running, found.waiting, found.rows) == (0, 1, 1, 500)
    assert (found.total_rows, found.is_total_estimated) == (1000, False)
    assert found.jobs["phase"].tolist() == ["Importing", "Pending"]
    assert found.jobs["job_id"].tolist() == ["1", "9"]
    assert group_progress(jobs, at=at(120)).completed == 1
    same = group_progress(jobs, planned=plan.iloc[:1])
    assert len(same.jobs) == 1
    with pytest.raises(
        ValueError, match=r"^there is no snapshot of the group by 2026-05-18T07:59:59"
    ):
        group_progress(jobs, at=at(-1))
