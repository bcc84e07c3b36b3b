import numpy as np
import pytest

from importstats.analysis.interval_chances import log_likelihoods

SCATTERS = np.array([0.04, 0.15, 0.48])


def below(error):
    return 0.5 + 0.5 * np.tanh(0.5 * error)


def by_definition(job, low, high, offsets, paces, scatters):
    """One pair after the other, as the formula in the module stands."""
    found = np.zeros((len(paces), offsets.shape[1], len(scatters), paces.shape[1]))
    for row, own in enumerate(job):
        for place, offset in enumerate(offsets[row]):
            for s, scatter in enumerate(scatters):
                least, most = low[row] - offset, high[row] - offset
                usual = below((paces[own] - least) / scatter) - below((paces[own] - most) / scatter)
                late = paces[own] + 1.1
                slow = below((late - least) / 0.5) - below((late - most) / 0.5)
                chance = 0.95 * usual + 0.05 * slow
                found[own, place, s] += np.log(np.maximum(chance, 1e-12))
    return found


@pytest.mark.parametrize("jobs", [1, 3, 40])
def test_products_of_exponentials_are_the_chances_by_definition(jobs):
    rng = np.random.default_rng(jobs)
    job = np.sort(rng.integers(0, jobs, 150))
    low = rng.normal(3.0, 1.5, 150)
    high = np.where(rng.random(150) < 0.3, np.inf, low + rng.exponential(0.4, 150))
    offsets = np.log(rng.lognormal(20, 1, 150)[:, None] + np.array([1.0, 1e9]))
    # One job more, without observations.
    paces = np.sort(rng.normal(-17.0, 2.0, (jobs + 1, 9)), axis=1)
    wanted = by_definition(job, low, high, offsets, paces, SCATTERS)
    found = log_likelihoods(job, low, high, offsets, paces, SCATTERS)
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=2e-3)
    assert not found[-1].any()


@pytest.mark.parametrize("low", [-60.0, 0.0, 60.0])
@pytest.mark.parametrize("high", [0.1, 30.0, np.inf])
def test_no_bound_is_too_far_for_a_float(low, high):
    bounds = np.full(1, low), np.full(1, low + high)
    paces = np.linspace(-12.0, 12.0, 9)[None]
    arguments = np.zeros(1, np.int64), *bounds, np.zeros((1, 1)), paces, SCATTERS
    found = log_likelihoods(*arguments)
    np.testing.assert_allclose(found, by_definition(*arguments), rtol=1e-9, atol=2e-3)


def test_many_impossible_observations_add_up():
    job = np.zeros(1000, np.int64)
    low = np.full(1000, 50.0)
    found = log_likelihoods(
        job, low, low + 0.1, np.zeros((1000, 1)), np.array([[0.0]]), np.array([0.04])
    )
    np.testing.assert_allclose(found, 1000 * np.log(1e-12), rtol=1e-2)
