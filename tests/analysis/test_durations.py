import numpy as np
import pytest

from importstats.analysis.durations import _sampled, fit_durations

ONE = np.zeros(1, np.int64)


def fitted(least, most, size=1e9, **prior):
    count = len(least)
    return fit_durations(
        np.zeros(count, np.int64), 1, np.full(count, size), np.array(least), np.array(most), **prior
    )


def median(known, size=1e9):
    return float(known.median_s(ONE, np.array([size]))[0])


def test_tasks_that_run_pull_the_median_up_and_never_down():
    ended = fitted([9.0] * 4, [11.0] * 4)
    young = fitted([9.0] * 4 + [1.0] * 4, [11.0] * 4 + [np.inf] * 4)
    old = fitted([9.0] * 4 + [40.0] * 4, [11.0] * 4 + [np.inf] * 4)
    assert median(ended) == pytest.approx(10, rel=0.1)
    assert median(young) == pytest.approx(10, rel=0.1)
    assert median(old) > 1.2 * median(ended)


def test_a_few_that_hang_do_not_bend_the_rest():
    rng = np.random.default_rng(3)
    took = 60 * np.exp(0.2 * rng.normal(size=40))
    took[:3] = 6000
    assert median(fitted(took - 1, took + 1)) == pytest.approx(60, rel=0.15)


def test_without_an_end_the_prior_speaks():
    mean, sd = np.array([np.log(50 / 1e9)]), np.array([0.1])
    known = fitted([1.0], [np.inf], prior_mean=mean, prior_sd=sd)
    assert median(known) == pytest.approx(50, rel=0.2)
    assert known.ended.tolist() == [0]


def test_survival_is_calibrated_on_what_it_has_not_seen():
    rng = np.random.default_rng(5)
    chances = []
    for _ in range(60):
        took = 100 * np.exp(0.3 * rng.normal(size=31))
        known = fitted(took[:30] - 0.5, took[:30] + 0.5)
        chances.append(known.survival(ONE, np.array([1e9]), took[30:])[0])
    assert np.mean(np.array(chances) < 0.2) == pytest.approx(0.2, abs=0.12)
    assert np.mean(chances) == pytest.approx(0.5, abs=0.1)


def test_twice_the_bytes_take_twice_the_time_beyond_the_fixed_part():
    size = np.repeat([5e8, 1e9, 4e9], 10)
    took = 2 + size / 100e6
    known = fit_durations(np.zeros(30, np.int64), 1, size, took * 0.98, took * 1.02)
    assert median(known, 2e9) == pytest.approx(22, rel=0.1)
    assert median(known, 1e6) < 4


def test_jobs_do_not_mix():
    job = np.repeat([0, 1], 10)
    took = np.repeat([10.0, 1000.0], 10)
    known = fit_durations(job, 3, np.full(20, 1e9), took * 0.99, took * 1.01)
    found = known.median_s(np.arange(3), np.full(3, 1e9))
    assert found[0] == pytest.approx(10, rel=0.1)
    assert found[1] == pytest.approx(1000, rel=0.1)
    assert known.ended.tolist() == [10, 10, 0]


def test_of_many_tasks_so_many_are_looked_at_evenly_over_their_sizes():
    rng = np.random.default_rng(2)
    size = rng.permutation(1000).astype(float)
    job = np.repeat([0, 1], [800, 200])
    chosen = _sampled(job, size)
    assert len(set(chosen)) == len(chosen)
    assert np.bincount(job[chosen]).tolist() == [400, 200]
    ranks = np.argsort(np.argsort(size[:800]))[chosen[job[chosen] == 0]]
    assert sorted(ranks) == list(range(0, 800, 2))
