"""Conditioning normal distributions, on numbers whose answer is in any textbook."""

import numpy as np
import pandas as pd
import pytest

from importstats.analysis.forecast.levels import (
    Earlier,
    _age_factor,
    _trouble,
    condition,
    given_earlier,
    job_bytes,
    job_variables,
    update,
    widen,
)
from importstats.analysis.forecast.priors import PHASES, VARIABLES, Priors

SIZE = len(VARIABLES)


@pytest.mark.parametrize(
    ("size", "rows", "found"),
    [
        ([None, 500, 700], [9, 9, 9], [9 * 1024, 500, 700]),
        ([0, 500, None], [None, 9, None], [None, 500, 500]),
        ([None, 0, None], [0, 2, None], [None, 2048, 2048]),
    ],
)
def test_a_job_has_its_bytes_or_a_kilobyte_a_row_as_last_known(size, rows, found):
    seen = pd.DataFrame({"job": 0, "file_size_bytes": size, "total_rows": rows}, dtype="float64")
    expected = [np.nan if each is None else each for each in found]
    assert job_bytes(seen).tolist() == pytest.approx(expected, nan_ok=True)
    other = pd.concat([seen, seen.assign(job=1, file_size_bytes=np.nan, total_rows=np.nan)])
    assert np.isnan(job_bytes(other)[3:]).all()


def test_variables_are_logs_and_a_border_between_two_looks_is_uncertain():
    seen = pd.DataFrame({"job": [0], "file_size_bytes": [1e9]})
    seen = seen.assign(**{f"{phase}_s": 9.0 for phase in PHASES})
    seen = seen.assign(**{f"{phase}_gap_s": 12.0 for phase in PHASES}).assign(Importing_gap_s=1e9)
    values, noise = job_variables(seen.assign(Sorting_s=np.nan))
    assert values[0, 0] == pytest.approx(np.log(10))
    assert values[0, -1] == pytest.approx(np.log(1e9))
    assert np.isnan(values[0, PHASES.index("Sorting")])
    # 12^2 / 12 seconds squared, of ten seconds; never more than 2.
    assert noise[0, 0] == pytest.approx(0.001 + 0.12)
    assert noise[0, PHASES.index("Importing")] == pytest.approx(2.001)
    assert noise[0, -1] == 0.001


def earlier(*rows):
    """Key, cluster, collection, when it ended, and one value of all variables of each job."""
    key, cluster, collection, ended, value = np.array(rows, float).reshape(-1, 5).T
    numbers = (each.astype(np.int64) for each in (key, cluster, collection))
    variables = np.repeat(value[:, None], SIZE, axis=1)
    return Earlier(*numbers, ended, variables, np.full_like(variables, 0.001))


def test_the_nearest_jobs_are_of_the_cluster_then_of_the_collection_then_the_latest():
    jobs = earlier(
        (0, 1, 1, 10, 0), (1, 2, 2, 20, 0), (2, 1, 9, 30, 0), (3, 1, 1, 40, 0), (4, 3, 3, 50, 0)
    )
    assert len(jobs) == 5
    assert jobs.nearest(1, 1, most=1).key.tolist() == [3]
    assert jobs.nearest(1, 1, most=2).key.tolist() == [0, 3]
    assert jobs.nearest(1, 1, most=3).key.tolist() == [0, 2, 3]
    assert jobs.nearest(1, 1, most=4).key.tolist() == [0, 2, 3, 4]
    assert jobs.nearest(1, 1).key.tolist() == [0, 1, 2, 3, 4]


def test_a_job_counts_half_after_five_later_ones_of_its_collection():
    jobs = [(number, 1, 1, number, 0) for number in range(6)]
    assert _age_factor(earlier(*jobs)) == pytest.approx(2.0 ** (np.arange(5, -1, -1) / 5))
    assert _age_factor(earlier((0, 1, 1, 0, 0), (1, 1, 2, 1, 0))).tolist() == [1, 1]


def priors(**shared):
    one = np.eye(SIZE)
    names = ("fleet", "cluster", "collection", "job")
    return Priors(np.zeros(SIZE), *(shared.get(name, 0.0) * one for name in names), np.ones(5))


@pytest.mark.parametrize(
    ("cluster", "collection", "shared"), [(1, 1, 3.0), (1, 2, 2.0), (2, 2, 1.0)]
)
def test_an_earlier_job_says_as_much_as_both_have_in_common(cluster, collection, shared):
    of = priors(fleet=1.0, cluster=1.0, collection=1.0, job=1.0)
    mean, covariance = given_earlier(of, earlier((0, 1, 1, 0, 2.0)), cluster, collection)
    gain = shared / 4.001
    assert mean == pytest.approx(np.full(SIZE, 2 * gain))
    assert np.diag(covariance) == pytest.approx(np.full(SIZE, 4 - shared * gain))


def test_a_job_that_is_far_from_all_others_says_little():
    of = priors(fleet=1.0, job=0.01)
    jobs = [(number, 1, 1, number, value) for number, value in enumerate((0, 0, 0, 9))]
    mean, _ = given_earlier(of, earlier(*jobs), 1, 1)
    # A quarter of 9 if it counted as the others do.
    assert (abs(mean) < 0.3).all()
    alike = [(number, 1, 1, number, 9) for number in range(4)]
    assert given_earlier(of, earlier(*alike), 1, 1)[0] == pytest.approx(np.full(SIZE, 9), rel=0.02)


def test_without_earlier_jobs_the_prior_speaks_and_what_is_not_known_says_nothing():
    of = priors(fleet=1.0, job=1.0)
    mean, covariance = given_earlier(of, earlier(), 1, 1)
    assert (mean, covariance.tolist()) == (
        pytest.approx(np.zeros(SIZE)),
        (2 * np.eye(SIZE)).tolist(),
    )
    jobs = earlier((0, 1, 1, 0, 2.0))
    jobs.variables[0, 1:] = np.nan
    mean, covariance = given_earlier(of, jobs, 1, 1)
    assert mean == pytest.approx([2 / 2.001, *[0] * (SIZE - 1)])
    assert np.diag(covariance) == pytest.approx([2 - 1 / 2.001, *[2] * (SIZE - 1)])


@pytest.mark.parametrize(
    ("away", "factor"),
    # One observation of variance 4, of which 1 is noise and 2 are its own: it is off by half.
    [(0.0, 1), (4.0, 1), (8.0, 1 + 3 * 2 / 1), (-8.0, 1 + 3 * 2 / 1)],
)
def test_an_observation_beyond_two_deviations_has_more_noise(away, factor):
    found = _trouble(np.array([[3.0]]), np.array([1.0]), np.array([away]), np.array([2.0]))
    assert found == pytest.approx([factor])


def belief():
    return np.array([[1.0, 2.0]]), np.array([[[4.0, 2.0], [2.0, 3.0]]])


def test_one_observation_moves_all_that_goes_with_it():
    mean, covariance = belief()
    # A variance of 4 and one of 4: half of the miss, and half of that for the other.
    update(mean, covariance, 0, np.array([2.0]), np.array([4.0]))
    assert mean.tolist() == [[2.0, 2.5]]
    assert covariance.tolist() == [[[2.0, 1.0], [1.0, 2.5]]]
    update(mean, covariance, 1, np.array([9.0]), np.array([np.inf]))
    assert mean.tolist() == [[2.0, 2.5]]


def test_conditioning_is_one_step_for_each_value_that_is_known():
    mean, covariance = belief()
    condition(mean, covariance, np.array([[3.0, np.nan]]), np.array([[4.0, 1.0]]))
    assert mean.tolist() == [[2.0, 2.5]]
    assert covariance.tolist() == [[[2.0, 1.0], [1.0, 2.5]]]


@pytest.mark.parametrize(
    ("missed", "variance", "factor"),
    [
        (1.2, 1.0, 1),
        # Six off are five deviations of 1.2: 25, of which 1 is explained, and the belief has 4.
        (6.0, 1.0, 24 / 4),
        (-6.0, 1.0, 24 / 4),
        (6.0, 21.0, 1),
        (6.0, 17.0, 2),
        (6.0, np.inf, 1),
    ],
)
def test_a_belief_is_widened_until_what_contradicts_it_fits(missed, variance, factor):
    _, covariance = belief()
    widen(covariance, np.array([0]), np.array([missed]), np.array([variance]))
    assert covariance == pytest.approx(factor * belief()[1])
