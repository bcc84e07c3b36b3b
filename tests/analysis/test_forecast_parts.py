"""The parts of the ETA, each against what can be worked out by hand, and where there is none."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from frames import frame_of
from frames import jobs_of as made_jobs

from importstats import eta
from importstats.analysis.forecast.backlog import Backlog, Ended, typical_bytes
from importstats.analysis.forecast.chance import DRAWS
from importstats.analysis.forecast.interruption import chance_interrupted, rest_of_wait
from importstats.analysis.forecast.levels import widen
from importstats.analysis.forecast.line import with_line
from importstats.analysis.forecast.observed import observe
from importstats.analysis.forecast.past import Course
from importstats.analysis.forecast.remaining import weighted
from importstats.analysis.forecast.schedule import last_end, running_times
from importstats.analysis.forecast.spells import Spells
from importstats.analysis.forecast.twin import twin_logs, twin_quantiles, twin_weight

START = pd.Timestamp("2026-05-18T00:00:00Z")
GIB = 2**30


def jobs_of(states, **options):
    """A jobs frame of (state, progress, share of the rows)."""
    # Before Importing no rows are counted and no files listed.
    rows = [
        (state, at, round(1000 * share), not 0 <= at < 40 or share > 0 or at == 15)
        for state, at, share in states
    ]
    fields = ("state", "progress_pct", "imported_rows", "counted")
    frame = made_jobs(rows, fields, **{"start": START, **options})
    counted = frame.pop("counted").astype("Int64")
    return frame.assign(
        total_rows=1000 * counted, file_size_bytes=10 * GIB * counted, detail_count=10 * counted
    )


def details_of(jobs, states, size=GIB):
    """A details frame of each snapshot's file states: P, R, a percent, or C."""
    names = {"P": "Pending", "R": "InProgress", "C": "Completed"}
    progress = {"P": 0, "R": 0, "C": 100}
    rows = [
        (at, snapshot, index, names.get(value, "InProgress"), progress.get(value, value))
        for snapshot, at, files in zip(
            jobs["snapshot_id"], jobs["observed_at"], states, strict=True
        )
        for index, value in enumerate(map(str, files))
    ]
    frame = frame_of(
        rows,
        ("observed_at", "snapshot_id", "file_index", "state", "progress_pct"),
        file_size_bytes=size,
        total_rows=100,
    )
    return frame.assign(
        file_name="[" + frame["file_index"].astype("str") + ".parquet]",
        imported_rows=frame["state"].eq("Completed").astype("Int64") * 100,
        state=frame["state"].astype("category"),
    )


def importing(states, **options):
    """Both frames of a job whose files are in these states at each minute."""
    share = [files.count("C") / len(files) for files in states]
    jobs = jobs_of([("Importing", 40 + int(30 * s), s) for s in share], **options)
    return jobs, details_of(jobs, states)


def backlog(running, waiting):
    age = np.array(running, float)
    return Backlog(
        age, np.zeros(len(age)), age, np.zeros(len(age)), np.ones(len(age)),
        np.zeros(waiting), 1.0, float(len(age)), float(len(age)),
    )  # fmt: skip


def test_a_schedule_without_scatter_is_the_one_made_by_hand():
    # Units of 100 s; two run, for 40 and 0 s, and three wait: ends at 60, 100, 160, 200, 260.
    centre, width = np.full(DRAWS, np.log(100.0)), np.full(DRAWS, 1e-4)
    state = backlog([40.0, 0.0], 3)
    running = running_times(state, centre, width)
    np.testing.assert_allclose(np.sort(running[0]), [60, 100], rtol=0.03)
    np.testing.assert_allclose(last_end(state, 2, running, centre, width), 260, rtol=0.03)


def test_a_great_many_waiting_units_fill_all_slots():
    centre, width = np.full(DRAWS, np.log(10.0)), np.full(DRAWS, 1e-4)
    state = backlog([0.0] * 8, 8000)
    running = running_times(state, centre, width)
    np.testing.assert_allclose(last_end(state, 8, running, centre, width), 10_010, rtol=0.03)


def test_files_that_move_together_are_one_unit():
    jobs, details = importing(["PPPPPP", "RRRRPP", ["50", "50", "R", "R", "P", "P"], "CCRRPP"])
    seen = observe(jobs)
    spells = Spells.from_details(seen, details)
    ended = Ended.from_spells(spells)
    assert ended.files.tolist() == [2]
    now = seen["now_s"].to_numpy()
    at_2 = Backlog.from_spells(spells, ended, 0, float(now[2]))
    assert sorted(zip(at_2.share.tolist(), at_2.count.tolist(), strict=True)) == [(0, 1), (0.5, 1)]
    at_3 = Backlog.from_spells(spells, ended, 1, float(now[3]))
    assert (at_3.units, len(at_3.waiting), at_3.typical) == (1, 1, 2 * GIB)


def test_single_files_are_units_of_their_own():
    assert typical_bytes(np.array([1.0, 2.0, 3.0]) * GIB, np.array([1, 1, 2])) == 1.0
    assert typical_bytes(np.array([4.0, 4.0, 40.0]) * GIB, np.array([4, 4, 40])) == 40 * GIB


def test_what_runs_for_long_without_an_end_makes_it_later():
    def left(minutes):
        jobs, details = importing(["PPPP", *["RRRR"] * minutes])
        return eta(jobs, details, explain=True)["phase_rest_s"].iloc[-1]

    assert left(30) > 3 * left(3)


def test_files_that_ended_show_the_time_of_others():
    steps = ["PPPPPPPP", "RRPPPPPP", "RRPPPPPP", "CCRRPPPP", "CCRRPPPP", "CCCCRRPP", "CCCCRRPP"]
    jobs, details = importing(steps)
    last = eta(jobs, details, explain=True).iloc[-1]
    # A pair takes two minutes: the one at work has one left, another follows.
    assert 90 < last["phase_rest_s"] < 400
    # Two files that move together are one unit.
    assert last["slots"] == pytest.approx(1, abs=0.3)


def test_the_twin_scales_by_bytes():
    course = Course(np.array([1.0, 2.0, 3.0]), np.array([300.0, 200.0, 100.0]), 10.0, None)
    point, size = np.array([1.0, 2.5]), np.array([10.0, 11.0])
    mean, spread = twin_logs([course], point, np.zeros(2), size, np.zeros(2, bool))
    np.testing.assert_allclose(mean, [np.log(300), np.log(150) + 0.8])
    assert (spread > 0.3).all()
    left = twin_quantiles(mean, spread)
    assert 250 < np.median(left[0]) < 350


def test_a_twin_that_stood_there_too_stood_for_as_long():
    course = Course(np.array([1.0, 2.0]), np.array([300.0, 100.0]), 10.0, None)
    stood = np.array([0.0, 50.0, 5000.0])
    mean, _ = twin_logs([course], np.ones(3), stood, np.full(3, 10.0), np.zeros(3, bool))
    # It stood for 200 s; one that stands for longer is no further than that.
    np.testing.assert_allclose(np.exp(mean), [300, 250, 100])


def test_twins_that_agree_count_more():
    phase = pd.Series(["Importing", "Importing", "Uncommitted"])
    twin = twin_quantiles(np.full(3, 5.0), np.array([0.2, 0.8, 0.2]))
    close, far, none = twin_weight(phase, twin)
    assert close > 0.5 > 0.2 > far > 0
    assert none == 0
    assert twin_weight(phase, np.full_like(twin, np.nan)).tolist() == [0, 0, 0]


def test_the_line_counts_where_there_is_no_history():
    # 30 of the 90 points from 10 on took 300 s.
    seen = observe(
        jobs_of([("Importing", 10, 0), *[("Importing", 12 + 7 * k, 0) for k in range(5)]])
    )
    assert seen["line_s"].round(1).tolist()[-1] == 600.0
    assert np.isnan(seen["line_s"].iloc[0])
    left = 1200.0 * np.exp(np.linspace(-1, 1, DRAWS)) * np.ones((len(seen), 1))
    alone = with_line(seen, left, np.ones(len(seen), np.bool_))
    np.testing.assert_allclose(alone[0], left[0])
    # Half the way from 1,200 to the line, in Importing and before; spread as it was.
    np.testing.assert_allclose(alone[-1], left[-1] * 0.5**0.5, rtol=5e-3)
    before = (seen["line_s"].iloc[-2] / 1200) ** 0.5
    np.testing.assert_allclose(alone[-2], left[-2] * before, rtol=5e-3)
    np.testing.assert_allclose(with_line(seen, left, np.zeros(len(seen), np.bool_)), left)


def test_two_jobs_that_agree_against_all_before_are_a_change():
    def course(seconds):
        return Course(np.array([1.0, 2.0]), np.array([seconds, seconds / 2]), 10.0, None)

    def middle(*seconds):
        courses = [course(s) for s in seconds]
        one = np.ones(1)
        return np.exp(twin_logs(courses, one, 0 * one, 10 * one, np.zeros(1, bool))[0][0])

    assert middle(100, 100, 100, 1000, 1000) > 900
    # One alone had its own trouble.
    assert middle(100, 100, 100, 100, 1000) < 150


def test_a_silence_beyond_all_that_was_due_is_an_interruption():
    due = np.full((4, DRAWS), 60.0) * np.exp(np.linspace(-0.5, 0.5, DRAWS))
    chance = chance_interrupted(np.array([0.0, 60.0, 600.0, 7200.0]), due)
    assert (np.diff(chance) >= 0).all()
    assert chance[1] < 0.05
    assert chance[3] > 0.95


def test_the_rest_of_a_wait_grows_with_the_wait():
    short, long = np.median(rest_of_wait(np.array([60.0, 6000.0]), 1.0, 1.0), axis=1)
    assert long / short == pytest.approx(6001 / 61)


def test_long_jobs_are_less_likely_at_a_young_age():
    left = np.tile(np.repeat([10.0, 1000.0], DRAWS // 2), (2, 1))
    young, old = weighted(left, np.array([1.0, 1e6]))
    assert (young < 20).mean() > 0.9
    assert (old < 20).mean() == pytest.approx(0.5, abs=0.05)


WHOLE = [
    ("Pending", 0, 0),
    *[("Importing", 10 + 6 * step, 0) for step in range(5)],
    *[("Importing", 40 + 3 * step, step / 10) for step in range(10)],
    *[("Importing", 80 + 2 * step, 1) for step in range(5)],
    ("Completed", 100, 1),
]


def history(count=5):
    return pd.concat(
        [
            jobs_of(WHOLE, job_id=f"before-{day}", start=START - pd.Timedelta(days=day + 1))
            for day in range(count)
        ],
        ignore_index=True,
    )


def test_a_wait_in_the_queue_says_nothing_of_size():
    waiting = jobs_of([("Pending", 0, 0)] * 91)
    answer = eta(waiting, history=history())
    rest = len(WHOLE) * 60
    assert answer["remaining_p50_s"].iloc[1] < 3 * rest
    # Half as long again as it has waited, and the job: not days.
    assert answer["remaining_p50_s"].iloc[-1] < 90 * 60 + 2 * rest


@pytest.mark.parametrize("phase", [12, 18])
def test_a_pause_of_two_hours_is_no_pace(phase):
    """Never beyond five times the truth for longer than the pause, wherever it falls."""
    pause = 120
    paused = [*WHOLE[:phase], *[WHOLE[phase - 1]] * pause, *WHOLE[phase:]]
    jobs = jobs_of(paused)
    answer = eta(jobs, history=history(), explain=True)
    true_s = (len(paused) - 1 - np.arange(len(paused))) * 60.0
    ratio = (answer["remaining_p50_s"] / true_s)[:-1]
    assert (ratio > 5).sum() <= pause
    assert answer["interrupted"].iloc[phase + pause - 2] > 0.9
    during = answer.iloc[phase + 20 : phase + pause - 5]
    inside = (during["remaining_p10_s"] <= true_s[during.index]) & (
        true_s[during.index] <= during["remaining_p90_s"]
    )
    assert inside.mean() > 0.5


def test_no_slot_ever_is_no_estimate():
    jobs, details = importing(["PPPP"] * 10)
    answer = eta(jobs, details)
    assert answer["reason"].iloc[-1] == "no file has been given a slot yet"
    assert answer["eta_p90"].isna().iloc[-1]
    assert answer["eta_p50"].notna().iloc[1]


def test_tasks_that_go_back_again_and_again_are_no_estimate():
    jobs, details = importing(["PPPP", *["RRRR", "RRRR", "PPPP"] * 5])
    answer = eta(jobs, details)
    assert answer["reason"].iloc[-1] == "tasks go back again and again, and none of them ends"
    # Once is a restart, and no reason to give up.
    assert answer["eta_p50"].notna().iloc[4]


def test_a_commit_of_hours_is_no_estimate():
    jobs = jobs_of([*WHOLE[:-1], *[("Committing", 99, 1)] * 120])
    answer = eta(jobs)
    assert answer["eta_p50"].notna().iloc[len(WHOLE) + 2]
    assert answer["reason"].iloc[-1] == "Committing takes far longer than a commit does"


def test_a_standstill_of_a_day_is_no_estimate():
    jobs = jobs_of([*WHOLE[:12], *[WHOLE[11]] * 300], every_s=300.0)
    answer = eta(jobs)
    assert answer["reason"].iloc[-1] == "has stood still for longer than jobs do"


@pytest.mark.parametrize(("hours", "known"), [(5.9, True), (6.1, False)])
def test_six_hours_without_the_end_of_a_file_are_no_estimate(hours, known):
    """Nobody has seen how long its tasks take: the recording begins in the middle."""
    jobs, details = importing(["CCRR", "CCRR"], every_s=hours * 3600)
    last = eta(jobs, details).iloc[-1]
    assert pd.notna(last["eta_p50"]) == known
    assert (last["reason"] == "has stood still for longer than jobs do") != known


def test_the_parts_and_scenarios():
    jobs, details = importing(["PPPP", "RRPP", "RRPP", "CCRR", "CCRR"])
    answer = eta(jobs, details, history=history(), explain=True)
    last = answer.iloc[-1]
    parts = ["phase_rest_s", "later_phases_s", "model_s", "twin_s", "if_all_goes_well_s"]
    assert (last[parts] > 0).all()
    assert last["earlier_jobs"] == 5
    assert last["if_a_node_restarts_s"] > last["if_all_goes_well_s"]
    plain = eta(jobs, details, history=history())
    pd.testing.assert_frame_equal(answer[plain.columns], plain)


def test_phases_of_other_scales_are_answered_by_their_names():
    """Import V3, and 70 to 80 where nothing says which release it is."""
    resharding = [("Importing", 15 + step, step / 30) for step in range(0, 30, 5)]
    jobs = jobs_of([("Importing", 12, 0), *resharding, ("Importing", 45, 1), ("Importing", 55, 1)])
    answer = eta(jobs)
    assert "Resharding" in set(answer["phase"].astype("str"))
    assert answer["eta_p50"].notna().all()
    either = jobs_of([*WHOLE[:15], ("Importing", 74, 1), ("Importing", 78, 1)])
    answer = eta(either)
    assert answer["phase"].iloc[-1] == "SortingOrIndexing"
    assert answer["eta_p50"].notna().iloc[-1]


def finishing(*progress, sorts=20):
    """What is left by the share of Finishing that is done, in seconds, a minute apart."""
    states = [
        *WHOLE[:15],
        *[("Importing", 70, 1)] * sorts,
        *[("Importing", p, 1) for p in progress],
    ]
    last = observe(jobs_of(states)).iloc[-1]
    return last["gained_s"] * (1 - last["reached"]) / last["gained"]


@pytest.mark.parametrize("sorts", [20, 60])
def test_indexes_come_to_go_at_the_pace_between_steps_however_long_was_sorted(sorts):
    # A point a minute, four are left.
    assert finishing(*range(80, 87), sorts=sorts) == pytest.approx(240, rel=0.1)
    # And a point in two minutes, after some were built while segments were sorted.
    slow = [84, 85, 85, 86, 86, 87, 87, 88]
    assert finishing(*slow, sorts=sorts) == pytest.approx(240, rel=0.2)


def test_the_first_steps_of_an_index_are_held_against_the_time_since_the_first_sort():
    # 5 to 6 points were built in the 20 minutes of sorting.
    assert finishing(85) == pytest.approx(20 * 60 * 0.47 / 0.53, rel=0.06)
    # Of the six that are built hardly any was seen to be.
    assert 6 * 60 < finishing(85, 86) < 15 * 60
    # Of these two nearly all was: 4 minutes by their own pace, 80 by the other.
    assert 4 * 60 < finishing(80, 82) < 25 * 60


def test_an_index_that_was_built_before_the_first_sight_goes_at_the_pace_since():
    seen = observe(jobs_of([("Importing", 80 + p, 1) for p in (2, 4, 6)]))
    assert seen["reached"].round(6).tolist() == [0.2, 0.4, 0.6]
    assert seen["gained"].round(6).tolist() == [0.0, 0.2, 0.4]


def test_what_contradicts_a_belief_widens_it_until_it_fits():
    missed = np.array([0.0, 1.1, 6.0, 6.0, -6.0])
    variance = np.array([0.5, 0.5, 0.5, np.inf, 24.5])
    covariance = np.broadcast_to(0.5 * np.eye(2), (5, 2, 2)).copy()
    widen(covariance, np.zeros(5, np.int64), missed, variance)
    scale = covariance[:, 0, 0] / 0.5
    np.testing.assert_allclose(scale, [1, 1, (5**2 - 0.5) / 0.5, 1, 1])
    np.testing.assert_allclose(covariance[:, 1, 1] / 0.5, scale)


def test_an_index_of_another_kind_is_believed_over_history():
    """Ten times as slow as in all earlier jobs: 8 points in 40 minutes leave 10."""
    slow = [("Importing", 80 + minute / 5, 1) for minute in range(41)]
    jobs = jobs_of([*WHOLE[:15], *[(s, int(p), d) for s, p, d in slow]])
    left = eta(jobs, history=history())["remaining_p50_s"].iloc[-1]
    assert 6 * 60 < left < 16 * 60


def test_a_create_time_is_the_start():
    created = START - pd.Timedelta("1h")
    reported = jobs_of(WHOLE[:12], extra='{"createTime": "2026-05-17T23:00:00Z"}')
    column = jobs_of(WHOLE[:12], create_time=created)
    for jobs in (reported, column):
        assert observe(jobs)["lived_s"].iloc[0] == pytest.approx(3600)
    assert observe(jobs_of(WHOLE[:12]))["lived_s"].iloc[0] == 0
