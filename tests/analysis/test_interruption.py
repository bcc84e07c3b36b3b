"""A silence: how likely it is an interruption, and how long that lasts, on plain numbers."""

import numpy as np
import pytest

from importstats.analysis.forecast.chance import DRAWS
from importstats.analysis.forecast.interruption import (
    chance_interrupted,
    rest_of_queue,
    rest_of_wait,
    with_interruptions,
)


@pytest.mark.parametrize(
    ("scale_s", "power", "middle", "longest"),
    [
        # Of a Pareto distribution of power 1, half of all waits double, and one in 128 is 128 fold.
        (0.0, 1.0, 1.0, 127.0),
        (30.0, 1.0, 4.0, 4 * 127.0),
        (0.0, 2.0, np.sqrt(2) - 1, np.sqrt(128) - 1),
    ],
)
def test_the_rest_of_a_wait_is_in_proportion_to_it(scale_s, power, middle, longest):
    (found,) = rest_of_wait(np.array([10.0]), scale_s, power)
    assert found[[DRAWS // 2 - 1, DRAWS // 2]].mean() == pytest.approx(10 * middle, rel=1e-2)
    assert found[-1] == pytest.approx(10 * longest)
    assert (np.diff(found) > 0).all()


def test_jobs_wait_as_long_as_earlier_ones_did():
    waited, none = np.array([0.0, 60.0, 4000.0]), np.array([])
    hour = np.full(9, 3600.0)
    start, later, beyond = np.median(rest_of_queue(waited, hour), axis=1)
    assert start == pytest.approx(3600, rel=0.1)
    assert later == pytest.approx(3540, rel=0.1)
    # Beyond what is usual the waits that go on are few, and those of long waits lasted longest.
    assert 100 < beyond < np.median(rest_of_queue(waited, none)[2])
    # One long wait counts as much as what is believed without it: it is likely after a minute.
    once = rest_of_queue(waited, hour[:1])
    assert once[0, DRAWS // 3] < 60 < 3000 < once[0, DRAWS * 2 // 3]
    assert np.median(once[1]) > 3000
    assert (np.diff(rest_of_queue(waited, hour)) >= 0).all()
    assert rest_of_queue(waited, none)[1] == pytest.approx(rest_of_wait(waited, 3.0, 1.6)[1])


def chance(silence_s, next_s=60.0):
    draws = np.full((1, DRAWS), next_s)
    return chance_interrupted(np.array([silence_s]), draws)[0]


def test_at_the_time_of_the_next_step_an_interruption_is_one_in_a_thousand():
    # One begins in 30 hours of work: 60 s of 108,000, half as likely as that the step is late.
    begins, lasts, slow = 1 - np.exp(-60 / 108_000), (1 + 60 / 1800) ** -2, 0.5
    odds = begins * lasts / slow
    assert chance(60.0) == pytest.approx(odds / (1 + odds), rel=1e-4)


def test_within_a_round_of_the_server_no_silence_is_an_interruption():
    assert chance(59.9, 0.5) == 0 < 0.99 < chance(60.0, 0.5)


def test_no_more_than_the_time_until_the_step_was_at_work():
    # After 600 s the work of 60 s would still be the only time in which one could have begun.
    begins, lasts = 1 - np.exp(-60 / 108_000), (1 + 600 / 1800) ** -2
    assert chance(600.0) > 0.99
    early = (1 - np.exp(-90 / 108_000)) * (1 + 90 / 1800) ** -2
    assert chance(90.0, 180.0) == pytest.approx(early, rel=0.01)
    assert begins * lasts < chance(600.0)


def test_where_no_step_is_due_silence_proves_nothing():
    assert chance(86_400.0, np.inf) == pytest.approx(
        (1 - np.exp(-86_400 / 108_000)) * (1 + 86_400 / 1800) ** -2, rel=0.01
    )
    assert chance(0.0) == pytest.approx(0, abs=1e-6)


def test_draws_that_differ_make_a_late_step_less_of_a_proof():
    wide = 60.0 * np.exp(np.linspace(-2, 2, DRAWS))[None, :]
    assert chance_interrupted(np.array([120.0]), wide)[0] < 0.01 < chance(120.0)
    # Never narrower than a quarter on the log scale.
    near = 60.0 * np.exp(np.linspace(-0.1, 0.1, DRAWS))[None, :]
    assert chance_interrupted(np.array([120.0]), near)[0] == pytest.approx(chance(120.0))


def test_an_interrupted_job_has_left_what_it_had_at_its_last_step_and_the_rest_of_the_pause():
    left = np.array([np.full(DRAWS, 100.0), np.arange(DRAWS)[::-1] * 1.0])
    moved, silence = np.array([0, 0]), np.array([0.0, 60.0])
    paused = with_interruptions(left, moved, silence, np.ones(2))
    rest = rest_of_wait(np.array([60.0]), 1800.0, 2.0)[0]
    np.testing.assert_allclose(paused[1], 100 + rest)
    nothing_wrong = with_interruptions(left, moved, silence, np.zeros(2))
    assert nothing_wrong[1].tolist() == list(range(DRAWS))
    half = with_interruptions(left, moved, silence, np.full(2, 0.5))
    assert (half[1] >= 100).sum() == pytest.approx(DRAWS / 2, abs=1)
