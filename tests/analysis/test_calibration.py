"""How the interval follows what earlier jobs had outside of it."""

import numpy as np
import pytest

from importstats.analysis.forecast.calibration import online_stretch, stretched


def after(*jobs):
    """The stretch after jobs, each with how many times its own reach a row was away."""
    away = np.concatenate([np.array(job, float) for job in jobs])
    # Twice below and four times above the median: a reach of log 2, and of log 4.
    quantiles = np.tile([1.0, 2.0, 8.0], (len(away), 1))
    reach = np.where(away < 0, np.log(2), np.log(4))
    ends = np.cumsum([len(job) for job in jobs])
    rows = [np.arange(end - len(job), end) for job, end in zip(jobs, ends, strict=True)]
    return online_stretch(quantiles, 2 * np.exp(away * reach), rows)


def test_two_of_ten_outside_is_what_an_interval_promises():
    within = [0.0, 0.5, -0.5, 0.9, -0.9, 0.1, 0.2, 0.3]
    assert after([*within, 1.1, -1.1]) == pytest.approx(1)
    assert after([*within, 1.1, 0.0]) < 1 < after([*within[1:], 1.1, -1.1, 1.1])
    assert online_stretch(np.ones((0, 3)), np.ones(0), []) == 1


def test_a_step_is_seven_tenths_of_what_was_too_much():
    assert np.log(after([2.0])) == pytest.approx(0.7 * 0.8)
    assert np.log(after([0.0])) == pytest.approx(0.7 * -0.2)
    # Then 1.1 is within, as what counts is the stretch at that time.
    assert np.log(after([2.0], [1.1])) == pytest.approx(0.7 * 0.8 - 0.7 * 0.2)
    assert np.log(after([0.0], [0.99])) == pytest.approx(0.7 * -0.2 + 0.7 * 0.8)


def test_no_job_stretches_or_shrinks_it_without_bounds():
    assert after(*[[99.0]] * 20) == pytest.approx(np.exp(1.2))
    assert after(*[[0.0]] * 20) == pytest.approx(np.exp(-0.5))


def test_an_interval_reaches_by_the_root_of_what_the_model_says():
    no = np.zeros(2, np.bool_)
    # The second model is surer: its quantiles are four times nearer, on the log scale.
    quantiles = np.exp([[0.0, 4.0, 8.0], [3.0, 4.0, 5.0]])
    wide, narrow = np.log(stretched(quantiles, no, no, np.ones(2)))
    assert wide[1] == narrow[1] == pytest.approx(4)
    np.testing.assert_allclose(wide - 4, 2 * (narrow - 4))
    twice = np.log(stretched(quantiles, no, no, np.array([2.0, 1.0])))
    np.testing.assert_allclose(twice[0] - 4, 2 * (wide - 4))
    np.testing.assert_allclose(twice[1], narrow)


def test_how_far_an_interval_reaches_below_and_above_without_and_with_history_and_a_pace():
    quantiles = np.exp([[3.0, 4.0, 5.0]] * 4)
    by_pace, history = np.array([False, False, True, True]), np.array([False, True, False, True])
    found = np.log(stretched(quantiles, by_pace, history, np.ones(4)))
    below, above = 4 - found[:, 0], found[:, 2] - 4
    assert below == pytest.approx([1.8, 0.9, 1.3, 0.6])
    assert above == pytest.approx([0.7, 0.5, 0.65, 0.4])


def test_no_time_left_is_as_little_as_can_be_told():
    no = np.zeros(1, np.bool_)
    (found,) = stretched(np.array([[0.0, 1e-7, 1.0]]), no, no, np.ones(1))
    assert found[:2] == pytest.approx([1e-6, 1e-6])
