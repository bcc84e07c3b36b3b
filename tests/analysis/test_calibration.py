"""How the interval follows what earlier jobs had outside of it."""

import numpy as np
import pytest

from importstats.analysis.forecast.calibration import (
    PACE,
    beside_interruptions,
    online_stretch,
    stretched,
)


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


def reach(phase, jobs, stretch=1.0, sure=1.0):
    """How far intervals reach below and above a median, of models that reach `sure` both ways."""
    each = np.broadcast_arrays(np.array(phase), np.array(jobs, float), stretch, sure)
    phases, earlier, wider, away = map(np.atleast_1d, each)
    quantiles = np.exp(np.column_stack([4 - away, np.full(len(away), 4.0), 4 + away]))
    found = np.log(stretched(quantiles, phases, earlier, wider))
    np.testing.assert_allclose(found[:, 1], 4)
    return 4 - found[:, 0], found[:, 2] - 4


def test_an_interval_reaches_by_a_root_of_what_the_model_says():
    below, above = reach("Importing", [0, 0, 5, 5], 1.0, [1.0, 1 / 16] * 2)
    np.testing.assert_allclose(below[::2] / below[1::2], [4, 2])
    np.testing.assert_allclose(above[::2] / above[1::2], [4, 2])
    twice = reach("Importing", [0, 5], 2.0)
    np.testing.assert_allclose(twice, 2 * np.array([below[::2], above[::2]]))


@pytest.mark.parametrize(
    ("phase", "without", "with_history"),
    [
        ("Pending", (1.8, 0.7), (0.95, 0.38)),
        ("PreImporting", (1.8, 0.7), (0.85, 0.38)),
        ("Importing", (1.8, 0.7), (0.7, 0.3)),
        ("Sorting", (3.0, 0.5), (0.7, 0.3)),
        ("IndexBuilding", (1.8, 0.7), (0.7, 0.3)),
        (PACE, (1.1, 0.6), (0.35, 0.25)),
    ],
)
def test_how_far_an_interval_reaches_in_each_phase(phase, without, with_history):
    assert np.ravel(reach(phase, 0)) == pytest.approx(without)
    assert np.ravel(reach(phase, 10_000)) == pytest.approx(with_history, rel=1e-3)


def test_one_earlier_job_says_less_than_many():
    below, _ = reach("Importing", [1, 2, 8])
    np.testing.assert_allclose(below, 0.7 * np.sqrt([2, 1.5, 1.125]))


def test_no_time_left_is_as_little_as_can_be_told():
    no = np.zeros(1)
    (found,) = stretched(np.array([[0.0, 1e-7, 1.0]]), np.array(["Importing"]), no, np.ones(1))
    assert found[:2] == pytest.approx([1e-6, 1e-6])


def test_an_interval_is_calibrated_as_far_as_the_job_is_not_interrupted():
    calm = np.array([[5.0, 10.0, 40.0]] * 3)
    drawn = np.array([[10.0, 100.0, 200.0]] * 3)
    chance = np.array([0.0, 1.0, 0.5])
    found = beside_interruptions(calm, drawn, chance, np.zeros(3))
    np.testing.assert_allclose(found[0], [50, 100, 400])
    np.testing.assert_allclose(found[1], [10, 100, 200])
    np.testing.assert_allclose(found[2], [100 / np.sqrt(20), 100, 100 * np.sqrt(8)])
    # With history it reaches less than twice as far at most.
    later = beside_interruptions(calm, drawn, chance, np.ones(3))
    np.testing.assert_allclose(later[:, :2], found[:, :2])
    np.testing.assert_allclose(later[:, 2], 100 * np.exp(0.6))
