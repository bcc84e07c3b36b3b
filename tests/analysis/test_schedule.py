"""Schedules of what runs and waits, which a reader can draw."""

import numpy as np
import pytest

from importstats.analysis.forecast.backlog import Backlog
from importstats.analysis.forecast.chance import DRAWS
from importstats.analysis.forecast.schedule import (
    last_end,
    log_least_noise,
    running_times,
    share_evidence,
)


def backlog(age_s, waiting=(), share=None, step_age_s=None, count=None, work=None):
    """What runs, by its age, and the log work of what waits."""
    age = np.array(age_s, float)
    zeros, ones = np.zeros(len(age)), np.ones(len(age))
    return Backlog(
        age,
        zeros if share is None else np.array(share, float),
        age if step_age_s is None else np.array(step_age_s, float),
        zeros if work is None else np.array(work, float),
        ones if count is None else np.array(count, float),
        np.array(waiting, float),
        1.0,
        float(len(age)),
        float(len(age)),
    )


def pace(seconds, width=1e-6):
    """The pace of units of so many seconds that hardly scatter."""
    return np.full(DRAWS, np.log(seconds)), np.full(DRAWS, width)


def ends(state, slots, seconds):
    centre, width = pace(seconds)
    running = running_times(state, centre, width)
    return float(np.median(last_end(state, slots, running, centre, width)))


@pytest.mark.parametrize(
    ("share", "age_s", "step_age_s", "whole_s", "variance"),
    [
        # Half was done 80 s after it began, so that all takes 160 s.
        (0.5, 100, 20, 160, 0.15),
        (0.25, 100, 0, 400, 0.45),
        (0.75, 100, 25, 100, 0.05),
        (1.0, 100, 40, 60, 0),
        # A step of no time is one of half a second.
        (0.5, 100, 100, 1, 0.15),
        (0.0, 100, 20, None, np.inf),
    ],
)
def test_a_share_says_how_long_a_unit_takes(share, age_s, step_age_s, whole_s, variance):
    log, found = share_evidence(backlog([age_s], share=[share], step_age_s=[step_age_s]))
    assert found[0] == pytest.approx(variance + 0.01)
    if whole_s is not None:
        assert np.exp(log[0]) == pytest.approx(whole_s)


def test_the_scatter_of_a_time_is_that_of_a_weibull_distribution():
    # The median of an exponential variable is log 2, and one in e lasts longer than its mean.
    assert log_least_noise(np.array([0.5]))[0] == pytest.approx(np.log(np.log(2)))
    assert log_least_noise(np.array([np.exp(-1.0)]))[0] == pytest.approx(0)


@pytest.mark.parametrize(
    ("age_s", "left_s"), [([0], [100]), ([40, 90], [60, 10]), ([99.9], [2]), ([500], [10])]
)
def test_what_runs_still_takes_the_rest_of_its_time(age_s, left_s):
    """And a fiftieth of its time, more or less, if that is over (in scatters)."""
    centre, width = pace(100)
    found = np.median(running_times(backlog(age_s), centre, width), axis=0)
    if max(age_s) < 99:
        assert found == pytest.approx(left_s, rel=0.01)
    else:
        assert found == pytest.approx([0.5])


def test_a_unit_goes_by_its_own_share_as_far_as_that_is_known():
    centre, width = pace(100, 10.0)
    # With such a scatter the pace of all says next to nothing: 80 s for a half, 80 are left.
    state = backlog([80.0], share=[0.5], step_age_s=[0.0])
    half = np.median(running_times(state, centre, width))
    assert half == pytest.approx(80, rel=0.3)
    # And without any scatter the share says nothing.
    centre, width = pace(100)
    assert np.median(running_times(state, centre, width)) == pytest.approx(20, rel=0.01)


def test_larger_units_take_longer():
    centre, width = pace(100)
    found = running_times(backlog([0, 0], work=[0.0, np.log(3)]), centre, width)
    assert np.median(found, axis=0) == pytest.approx([100, 300], rel=0.01)


def test_a_group_is_several_units_and_of_very_many_some_stand_for_all():
    centre, width = pace(100)
    assert running_times(backlog([0, 0], count=[3, 1]), centre, width).shape == (DRAWS, 4)
    assert running_times(backlog([0], count=[1000]), centre, width).shape == (DRAWS, 64)
    assert running_times(backlog([]), centre, width).shape == (DRAWS, 0)


def test_of_several_that_run_alike_and_are_the_last_the_longest_counts():
    centre, width = pace(100, 0.5)
    few = running_times(backlog([0.0], count=[64]), centre, width)
    many = running_times(backlog([0.0], count=[6400]), centre, width)
    assert np.median(many) > 1.3 * np.median(few)
    # While others wait each of them counts.
    waiting = running_times(backlog([0.0], waiting=[0.0], count=[6400]), centre, width)
    assert np.median(waiting) < 1.1 * np.median(few)


@pytest.mark.parametrize(
    ("age_s", "waiting", "slots", "end_s"),
    [
        ([], 0, 4, 0),
        ([40], 0, 4, 60),
        ([40, 10], 0, 1, 90),
        # Two slots: ends at 60, 100, 160, 200, 260.
        ([40, 0], 3, 2, 260),
        ([40, 0], 2, 2, 200),
        # What is free is used, and there are at least as many slots as units run.
        ([], 4, 4, 100),
        ([], 5, 4, 200),
        ([], 3, 1, 300),
        ([0, 0], 2, 1, 200),
        ([0], 1, 1.4, 200),
        ([0], 1, 1.6, 100),
    ],
)
def test_each_waiting_unit_goes_to_the_slot_that_is_free_first(age_s, waiting, slots, end_s):
    found = ends(backlog(age_s, waiting=[0.0] * waiting), slots, 100)
    assert found == pytest.approx(end_s, rel=0.01)


def test_a_waiting_unit_takes_as_long_as_it_is_large():
    assert ends(backlog([], waiting=[np.log(3)]), 1, 100) == pytest.approx(300, rel=0.01)
    assert ends(backlog([], waiting=[np.log(3), 0.0]), 1, 100) == pytest.approx(400, rel=0.01)


def test_very_many_units_fill_all_slots_evenly():
    for slots, waiting in ((8, 8000), (64, 64_000), (640, 640_000)):
        state = backlog([], waiting=[0.0] * waiting)
        assert ends(state, slots, 10) == pytest.approx(10_000, rel=0.03)
