"""The normal distribution as in any table, and points that fill the unit square evenly."""

import numpy as np
import pytest

from importstats.analysis.forecast.chance import (
    even_points,
    log_survival,
    normal_cdf,
    normal_quantile,
)


@pytest.mark.parametrize(
    ("x", "below"),
    [(0.0, 0.5), (1.0, 0.841345), (-1.0, 0.158655), (1.959964, 0.975), (-99.0, 0.0), (99.0, 1.0)],
)
def test_the_normal_distribution_is_that_of_a_table(x, below):
    assert normal_cdf(np.array([x])) == pytest.approx(below, abs=1e-6)
    if 0 < below < 1:
        assert normal_quantile(np.array([below])) == pytest.approx(x, abs=1e-5)


def test_a_quantile_lies_within_nine_deviations():
    low, high = normal_quantile(np.array([0.0, 1.0]))
    assert low == -9
    assert 8 < high <= 9


@pytest.mark.parametrize(
    ("x", "log"), [(0.0, np.log(0.5)), (1.0, np.log(0.158655)), (5.0, -15.064998), (-9.0, 0.0)]
)
def test_the_log_of_what_is_above_is_exact_far_out(x, log):
    assert log_survival(np.array([x])) == pytest.approx(log, abs=1e-5)
    assert log_survival(np.array([9.0])) == pytest.approx(-43.628, abs=1e-3)
    assert log_survival(np.array([99.0])) == log_survival(np.array([9.0]))


def test_points_go_on_by_the_golden_ratio_and_its_like_in_two_dimensions():
    golden, plastic = 1.6180339887, 1.3247179572
    assert even_points(2, 1).ravel() == pytest.approx(
        [0.5 + 1 / golden - 1, 0.5 + 2 / golden - 1], abs=1e-9
    )
    (first,) = even_points(1, 2)
    assert first == pytest.approx([0.5 + 1 / plastic - 1, 0.5 + 1 / plastic**2 - 1], abs=1e-9)


def test_each_eighth_of_either_side_has_about_an_eighth_of_the_points():
    for side in even_points(64, 2).T:
        assert np.bincount((side * 8).astype(int), minlength=8).tolist() == pytest.approx(
            [8] * 8, abs=2
        )
