"""How the interval follows what was missed of earlier jobs."""

import numpy as np
import pytest

from importstats.analysis.forecast.calibration import (
    PACE,
    beside_interruptions,
    learned_stretch,
    stretched,
)


def after(*jobs, phase="Importing", of=""):
    """The stretch after jobs, each with how many times its own reach a row was away."""
    away = np.concatenate([np.array(job, float) for job in jobs])
    # Twice below and four times above the median: a reach of log 2, and of log 4.
    quantiles = np.tile([1.0, 2.0, 8.0], (len(away), 1))
    reach = np.where(away < 0, np.log(2), np.log(4))
    phases = np.broadcast_to(phase, len(away))
    number = np.repeat(np.arange(len(jobs)), [len(job) for job in jobs])
    return learned_stretch(quantiles, 2 * np.exp(away * reach), phases, number)[of]


def test_jobs_that_missed_by_the_reach_leave_it_as_it_is():
    assert after([1.0, -1.0], [1.0]) == pytest.approx(1)
    assert after([1.0, -0.9], [1.0]) < 1 < after([1.0, -1.1], [1.0])


def test_what_is_shipped_weighs_as_three_jobs():
    assert after([2.0]) ** 2 == pytest.approx((3 + 4) / 4)
    # A job counts once, however many rows it has.
    assert after([2.0] * 9, [0.0]) ** 2 == pytest.approx((3 + 4) / 5)
    assert after([2.0, 0.0], [0.0]) ** 2 == pytest.approx((3 + 2) / 5)
    assert after([99.0]) ** 2 == pytest.approx((3 + 9) / 4)


def test_what_all_phases_have_in_common_weighs_as_three_jobs_in_each():
    phase = ["Importing", "Importing", "Sorting"]
    jobs = ([2.0, 2.0], [0.0])
    whole = (3 + 4) / 5
    assert after(*jobs, phase=phase) ** 2 == pytest.approx(whole)
    assert after(*jobs, phase=phase, of="Importing") ** 2 == pytest.approx((3 * whole + 4) / 4)
    assert after(*jobs, phase=phase, of="Sorting") ** 2 == pytest.approx(3 * whole / 4)


def reach(phase, jobs, stretch=1.0, sure=1.0, apart=0.0):
    """How far intervals reach below and above a median, of models that reach `sure` both ways."""
    each = np.broadcast_arrays(np.array(phase), np.array(jobs, float), stretch, sure, apart)
    phases, earlier, wider, away, twin = map(np.atleast_1d, each)
    quantiles = np.exp(np.column_stack([4 - away, np.full(len(away), 4.0), 4 + away]))
    found = np.log(stretched(quantiles, twin, phases, earlier, wider))
    np.testing.assert_allclose(found[:, 1], 4)
    return 4 - found[:, 0], found[:, 2] - 4


def test_an_interval_reaches_by_the_root_of_what_the_model_says():
    below, above = reach(["Importing", "Importing", PACE, PACE], [5, 5, 0, 0], 1.0, [1, 1 / 16] * 2)
    np.testing.assert_allclose(below[::2] / below[1::2], [4, 4])
    np.testing.assert_allclose(above[::2] / above[1::2], [4, 4])
    twice = reach(["Importing", PACE], [5, 0], 2.0)
    np.testing.assert_allclose(twice, 2 * np.array([below[::2], above[::2]]))


def test_without_history_regular_tasks_do_not_make_the_later_phases_sure():
    very_sure = np.ravel(reach("Importing", 0, sure=0.0))
    np.testing.assert_allclose(very_sure, np.array([1.8, 0.7]) * np.sqrt(0.5))
    at_a_half = np.ravel(reach("Importing", 0, sure=0.5))
    np.testing.assert_allclose(at_a_half, very_sure * 2**0.25)


def test_an_interval_reaches_further_if_model_and_twin_are_apart():
    np.testing.assert_allclose(
        reach("Importing", 5, sure=0.6, apart=0.8), reach("Importing", 5, sure=1.0)
    )


@pytest.mark.parametrize(
    ("phase", "without", "with_history"),
    [
        ("Pending", (1.8, 0.7), (1.2, 0.64)),
        ("PreImporting", (1.8, 0.7), (1.2, 0.64)),
        ("Importing", (1.8, 0.7), (1.05, 0.55)),
        ("Sorting", (3.0, 0.6), (1.35, 0.46)),
        ("IndexBuilding", (1.8, 0.7), (1.35, 0.46)),
        (PACE, (1.1, 0.7), (0.76, 0.46)),
    ],
)
def test_how_far_an_interval_reaches_in_each_phase(phase, without, with_history):
    own = 1.0 if phase == PACE else np.hypot(1.0, 0.5)
    assert np.ravel(reach(phase, 0)) == pytest.approx(np.array(without) * np.sqrt(own))
    assert np.ravel(reach(phase, 1)) == pytest.approx(with_history)


def test_no_time_left_is_as_little_as_can_be_told():
    no = np.zeros(1)
    none = np.array([[0.0, 1e-7, 1.0]])
    (found,) = stretched(none, no, np.array([PACE]), no, np.ones(1))
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
