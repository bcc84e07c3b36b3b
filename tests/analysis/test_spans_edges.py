"""Spans at their edges, beside plain loops over one task after the other."""

import numpy as np
import pandas as pd
import pytest
from frames import START, recording, seconds
from hypothesis import given
from hypothesis import strategies as st

from importstats.analysis.spans import (
    Spans,
    _longest_wait,
    _most_at_once,
    _Shown,
    _smooth,
    _waits,
)

NAN = float("nan")
SECOND = st.integers(0, 7)


@st.composite
def units_at_work(draw):
    """Per unit its job, when it was handed over (after, by), and when it was released."""
    units = []
    for _ in range(draw(st.integers(0, 7))):
        job, after, late, long = (draw(SECOND) for _ in range(4))
        by = after + late % 3
        released = by + long if long < 6 else np.inf
        first_seen = draw(st.booleans())
        units.append((job % 3, NAN if first_seen else after, by, released))
    never = [(job % 3, NAN, NAN, NAN) for job in draw(st.lists(SECOND, max_size=2))]
    found = draw(st.permutations(units + never))
    job = np.array([each[0] for each in found], np.int64)
    return job, *(np.array([each[n] for each in found], np.float64) for n in (1, 2, 3))


@given(units_at_work())
def test_as_many_are_at_work_at_once_as_began_by_a_time_and_end_after_it(units):
    job, _, by, released = units
    stop = np.fmin(released, 20.0)
    most = [
        max(
            (
                sum(job[n] == which and by[n] <= now < stop[n] for n in range(len(job)))
                for now in by[job == which]
            ),
            default=0,
        )
        for which in range(3)
    ]
    assert _most_at_once(job, 3, by, stop).tolist() == most


@given(units_at_work())
def test_a_unit_waited_no_longer_than_for_the_last_of_its_job_that_came_before(units):
    job, after, by, released = units
    now = np.full(len(job), 20.0)
    expected = []
    for n in range(len(job)):
        before = [
            released[m] if np.isfinite(released[m]) else by[m]
            for m in range(len(job))
            if job[m] == job[n] and by[m] <= after[n]
        ]
        stop = released[n] if np.isfinite(released[n]) else now[n]
        longest = max(before, default=by[n]) - by[n]
        expected.append(0.0 if np.isnan(by[n]) else min(max(longest, 0.0), stop - by[n]))
    assert _longest_wait(job, after, by, released, now).tolist() == expected


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(1, 3), st.booleans()),
        max_size=9,
    )
)
def test_rows_grow_inside_files_if_most_that_moved_have_a_step_for_each_file(units):
    job, steps, files, once = (np.array([u[n] for u in units], np.int64) for n in range(4))
    smooth = []
    for which in range(3):
        moved = [n for n in range(len(units)) if job[n] == which and steps[n] and once[n]]
        smooth.append(2 * sum(steps[n] >= files[n] for n in moved) > len(moved))
    assert _smooth(job, 3, steps, files, once=once.astype(bool)).tolist() == smooth


@pytest.mark.parametrize(
    ("behind", "rose", "inside", "waited"),
    [
        # It waited behind others, but no longer than until it rose.
        (9.0, (NAN, NAN), False, (0, 9)),
        (9.0, (12, 14), False, (0, 4)),
        (3.0, (12, 14), False, (0, 3)),
        (9.0, (8, 9), False, (0, 0)),
        # Where rows grow inside files it began just before they first rose.
        (9.0, (12, 14), True, (2, 4)),
        (1.0, (12, 14), True, (2, 4)),
        (9.0, (8, 10.5), True, (0, 0.5)),
        (9.0, (NAN, NAN), True, (0, 0)),
        (NAN, (NAN, NAN), False, (0, 0)),
    ],
)
def test_what_has_risen_has_begun_before(behind, rose, inside, waited):
    rose_after, rose_by = (np.array([float(each)]) for each in rose)
    none = np.zeros(1, np.int64)
    shown = _Shown(none, none, np.array([NAN]), rose_after, rose_by)
    found = _waits(np.array([behind]), np.array([10.0]), shown, inside=np.array([inside]))
    assert [each.tolist() for each in found] == [[waited[0]], [waited[1]]]


def by_file(polls, sizes, **options):
    return Spans.from_details(recording(polls, sizes, **options), by="file")


def test_all_that_is_known_of_four_tasks():
    """One that ended, one that went back and came again, one that waits, one that fails."""
    polls = {
        0: [0, 0, None, None],
        10: [50, 40, None, 0],
        20: [100, None, None, 30],
        30: ["done", 0, None, "failed"],
        40: ["done", 20, None, "failed"],
    }
    spans = by_file(polls, [5, 6, 7, 0], ended={0: 26}, rows=200)
    assert spans.jobs == 1
    assert seconds(spans.now) == [40]
    # By their last attempts: the first of the second task does not count.
    assert spans.slots.tolist() == [2]
    assert spans.smooth.tolist() == [True]
    assert spans.size_bytes.tolist() == [5, 6, 7, 200]
    assert spans.rows.tolist() == [200] * 4
    assert spans.files.tolist() == [1] * 4
    assert spans.waits.tolist() == [False, False, True, False]
    assert spans.running.tolist() == [False, True, False, False]
    assert spans.done.tolist() == [True, False, False, True]
    assert spans.failed.tolist() == [False, False, False, True]
    assert spans.begun.tolist() == [True, True, False, True]
    np.testing.assert_allclose(spans.fraction, [1, 0.2, 0, 0.3])
    assert spans.steps.tolist() == [1, 2, 0, 1]
    assert spans.retries.tolist() == [0, 1, 0, 0]
    nan = str(NAN)
    assert {
        name: list(map(str, seconds(getattr(spans, name))))
        for name in (
            *("handed_after", "handed_by", "first_handed_by", "ended_after", "ended_by"),
            *("released_by", "moved_at", "rose_after", "rose_by"),
        )
    } == {
        "handed_after": ["-10.0", "20.0", nan, "0.0"],
        "handed_by": ["0.0", "30.0", nan, "10.0"],
        "first_handed_by": ["0.0", "0.0", nan, "10.0"],
        "ended_after": ["10.0", "inf", nan, "20.0"],
        "ended_by": ["20.0", "inf", nan, "30.0"],
        "released_by": ["26.0", "inf", nan, "30.0"],
        "moved_at": ["20.0", "40.0", nan, "20.0"],
        "rose_after": ["0.0", "30.0", nan, "10.0"],
        "rose_by": ["10.0", "40.0", nan, "20.0"],
    }
    np.testing.assert_array_equal(spans.duration_least(), [10, 10, NAN, 10])
    np.testing.assert_array_equal(spans.duration_most(), [30, np.inf, NAN, 30])
    assert seconds(spans.end_least()) == [10, 40, 40, 20]


def test_an_end_that_lies_before_the_beginning_took_no_time():
    """What was seen at once as done has taken from nothing to all that was not seen."""
    spans = by_file({0: [None, 0], 10: ["done", 0]}, [5, 9])
    assert spans.duration_least().tolist() == [0, 10]
    assert spans.duration_most().tolist() == [10, np.inf]
    middle = by_file({0: ["done", 50], 10: ["done", 50]}, [5, 9])
    assert middle.duration_least().tolist() == [0, 10]
    assert middle.duration_most().tolist() == [np.inf, np.inf]


@pytest.mark.parametrize("count", [0, 1])
def test_of_nothing_nothing_is_known_and_of_one_sample_what_it_shows(count):
    details = recording({0: [40]}, [5]).iloc[:count]
    spans = Spans.from_details(details)
    assert (spans.jobs, len(spans.job)) == (count, count)
    assert spans.running.tolist() == [True] * count
    assert spans.steps.tolist() == [0] * count
    assert np.isnan(spans.moved_at).tolist() == [True] * count
    assert spans.handed_after.tolist() == spans.handed_by.tolist()
    assert spans.duration_least().tolist() == [0.0] * count


def test_of_two_jobs_each_has_its_own_time_slots_and_signal():
    first = recording({0: [0, 0], 10: [0, "done"], 20: [0, "done"]}, [5, 5])
    second = recording({0: [0, 0, 0], 10: [10, 20, 30], 30: [20, 30, 40]}, [1, 2, 3])
    spans = Spans.from_details(
        pd.concat([first, second.assign(job_id="8")], ignore_index=True), by="file"
    )
    assert spans.job.tolist() == [0, 0, 1, 1, 1]
    assert seconds(spans.now) == [20, 30]
    assert spans.slots.tolist() == [2, 3]
    assert spans.smooth.tolist() == [False, True]


def test_now_is_what_was_asked_for_or_the_last_snapshot_before_it():
    details = recording({0: [0], 10: [10], 20: [20]}, [5])
    for at, now in ((9.999999, 0), (10, 10), (10.000001, 10), (99, 20)):
        spans = Spans.from_details(details, START + pd.Timedelta(at, "s"))
        assert seconds(spans.now) == [now]
