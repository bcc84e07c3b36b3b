"""What was left of earlier jobs where this job is, worked out by hand."""

import numpy as np
import pandas as pd
import pytest

from importstats.analysis.forecast.chance import DRAWS
from importstats.analysis.forecast.past import Course
from importstats.analysis.forecast.twin import (
    WEIGHT,
    _still_so,
    _weighted_median,
    learned_odds,
    twin_logs,
    twin_quantiles,
    twin_weight,
)


def course(*left_s, log_bytes=10.0):
    """An earlier job with so much left at the points 1, 2, ..."""
    points = np.arange(1.0, len(left_s) + 1)
    return Course(points, np.array(left_s, float), log_bytes, pd.DataFrame())


def logs(courses, point, stood_s=0.0, log_bytes=10.0, segments=False):
    row = [np.array([value]) for value in (point, stood_s, log_bytes, segments)]
    mean, spread = twin_logs(courses, *row)
    return float(np.exp(mean[0])), float(spread[0])


@pytest.mark.parametrize(
    ("point", "stood_s", "left_s"),
    [
        (1, 0, 400),
        (1.5, 0, 300),
        (2, 0, 200),
        (9, 0, 100),
        (0, 0, 400),
        # It stood there for 200 s at most: after that this job is no further.
        (1, 50, 350),
        (1, 200, 200),
        (1, 5000, 200),
        # At its last point half a second is left at least.
        (3, 99, 1),
        (3, 5000, 0.5),
    ],
)
def test_what_is_left_is_what_was_left_at_this_point_after_as_long_a_stand(point, stood_s, left_s):
    assert logs([course(400, 200, 100)], point, stood_s)[0] == pytest.approx(left_s)


def test_more_bytes_take_longer_by_less_than_they_are_more():
    ten_times = 10.0 + np.log(10)
    assert logs([course(100)], 1, log_bytes=ten_times)[0] == pytest.approx(100 * 10**0.8)
    assert logs([course(100)], 1, log_bytes=np.nan)[0] == pytest.approx(100)


def test_ten_times_the_segments_take_ten_times_as_long():
    ten_times = 10.0 + np.log(10)
    assert logs([course(100)], 1, log_bytes=ten_times, segments=True)[0] == pytest.approx(1000)


def test_a_single_job_has_the_usual_spread_and_jobs_that_agree_less():
    # (0 + 2 x 0.35^2) / (1 + 2), and once more for the next one.
    assert logs([course(100)], 1)[1] == pytest.approx(np.sqrt(2 * 0.35**2 / 3 * 2))
    assert logs([course(100)] * 9, 1)[1] < 0.2
    assert logs([course(100), course(1000)] * 4, 1)[1] > 1


def test_a_job_counts_half_after_five_more():
    # The middles of the masses w and 1 lie at w / 2 and w + 1 / 2; half of all is between them.
    w = 0.5 ** (1 / 5)
    part = ((w + 1) / 2 - w / 2) / (w / 2 + 1 / 2)
    assert logs([course(100), course(200)], 1)[0] == pytest.approx(100 * 2**part)


@pytest.mark.parametrize(
    ("values", "weights", "middle"),
    [
        ([7], [1], 7),
        ([1, 2, 3], [1, 1, 1], 2),
        ([3, 1, 2], [1, 1, 1], 2),
        ([1, 2], [1, 1], 1.5),
        # The masses' middles lie at 3/8 and 7/8.
        ([1, 2], [3, 1], 1.25),
        ([1, 2], [1, 3], 1.75),
        ([1, 2, 3], [0, 1, 0], 2),
        ([1, 9], [9, 1], 1 + 8 * 0.05 / 0.5),
        ([1, 9], [99, 1], 1 + 8 * 0.005 / 0.5),
    ],
)
def test_the_middle_by_weight_lies_between_two_values(values, weights, middle):
    found = _weighted_median(np.array([values], float).T, np.array([weights], float).T)
    assert found == pytest.approx([middle])


def likely(*values):
    return _still_so(np.array([values], float).T).ravel()


def test_an_earlier_job_is_believed_unless_the_two_latest_agree_against_it():
    assert likely(0, 9).tolist() == [1, 1]
    # In ten jobs there is a change, to one three times as far off: 1 / (1 + 0.1 / 3).
    assert likely(0, 0, 0) == pytest.approx([1 / (1 + 0.1 / 3), 1, 1], abs=1e-5)
    assert likely(9, 0, 0) == pytest.approx([0, 1, 1], abs=1e-3)
    # One unit of likeness away: exp(-1 / 2).
    part = np.exp(-0.5)
    assert likely(0.35, 0, 0)[0] == pytest.approx(part / (part + 0.1 / 3), abs=1e-5)
    # Where the latest two differ nothing is known to have changed.
    assert likely(9, 0, 7)[0] == pytest.approx(1, abs=1e-6)


def test_levels_lie_evenly_around_the_middle():
    found = twin_quantiles(np.array([np.log(50), 0.0]), np.array([0.5, 0.0]))
    assert found.shape == (2, DRAWS)
    np.testing.assert_allclose(found[0] * found[0, ::-1], 50**2)
    assert (np.log(found[0] / 50) < 0.5).mean() == pytest.approx(0.84, abs=0.01)
    # Nobody is surer than by a twentieth.
    assert np.log(found[1]).std() == pytest.approx(0.05, rel=0.05)


@pytest.mark.parametrize("phase", WEIGHT)
def test_a_twin_counts_by_the_square_of_how_close_its_jobs_are(phase):
    def weight(spread):
        rows = twin_quantiles(np.zeros(1), np.array([spread]))
        return twin_weight(pd.Series([phase]), rows)[0]

    assert weight(0.4) == pytest.approx(WEIGHT[phase], rel=1e-3)
    assert weight(0.8) == pytest.approx(WEIGHT[phase] / 4, rel=1e-3)
    assert weight(0.05) == 0.85
    none = np.full((1, DRAWS), np.nan)
    assert twin_weight(pd.Series([phase]), none)[0] == 0


def test_neither_twin_nor_model_counts_alone():
    assert all(0 < weight < 1 for weight in WEIGHT.values())


def odds(model_off, twin_off, phase="Importing", job=(0,), of="Importing"):
    """The odds after jobs, each row's forecasts off by these logarithms."""
    true = np.full(len(job), 1000.0)
    off = [np.broadcast_to(np.array(value, float), len(job)) for value in (model_off, twin_off)]
    said = [true * np.exp(away) for away in off]
    return learned_odds(*said, true, np.broadcast_to(phase, len(job)), np.array(job))[of]


def test_the_twin_counts_more_if_it_missed_less_of_earlier_jobs():
    assert odds(0.3, -0.3) == pytest.approx(1)
    assert odds(0.5, 0.1) > 1 > odds(0.1, 0.5)
    # The shipped belief is of three jobs, and that of all phases is of three jobs in each.
    shipped = 0.35**2
    whole = [(3 * shipped + square) / 4 for square in (0.5**2, 0.1**2)]
    model, twin = (3 * whole[0] + 0.5**2) / 4, (3 * whole[1] + 0.1**2) / 4
    assert odds(0.5, 0.1) == pytest.approx((model / twin) ** 2)
    assert odds(0.5, 0.1, of="") == pytest.approx((whole[0] / whole[1]) ** 2)
    # More jobs say more; more rows of one job, or a longer hang, do not.
    assert odds(0.5, 0.1, job=(0, 1)) > odds(0.5, 0.1, job=(0, 0)) == odds(0.5, 0.1)
    assert odds(9.0, 0.1) == pytest.approx(odds(1.0, 0.1))
    assert learned_odds(*np.zeros((3, 0)), np.array([], np.str_), np.array([], int)) == {"": 1}
