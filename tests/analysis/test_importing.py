"""The pace of tasks: what it is believed to be, and what ends and ages say of it."""

import numpy as np
import pytest

from importstats.analysis.forecast.backlog import Backlog, Ended, log_work
from importstats.analysis.forecast.chance import DRAWS
from importstats.analysis.forecast.importing import (
    PacePrior,
    _draw_pace,
    _mixture,
    _running_likelihood,
    _summed_likelihood,
    _survival,
    rest_of_importing,
)
from importstats.analysis.forecast.spells import ENDED, WAITS, WORKS, Spells

GB = 1e9
WORK = float(log_work(np.array([GB]))[0])


def backlog(age_s=(), share=(), size=GB):
    age = np.array(age_s, float)
    shares = np.array(share, float) if len(share) else np.zeros(len(age))
    work = np.full(len(age), float(log_work(np.array([size]))[0]))
    ones = np.ones(len(age))
    return Backlog(age, shares, np.zeros(len(age)), work, ones, np.zeros(0), size, 1.0, size)


@pytest.mark.parametrize(
    ("bytes_of_job", "slots", "unit_s"),
    [
        # Ten units one after the other in 1,000 s.
        (10 * GB, 1, 100),
        (10 * GB, 2, 200),
        # Fewer units than slots: one wave.
        (10 * GB, 40, 1000),
    ],
)
def test_a_unit_takes_a_wave_of_the_whole(bytes_of_job, slots, unit_s):
    prior = PacePrior(np.array([np.log(1000.0)]), np.array([np.log(bytes_of_job)]), 1.0)
    found = prior.pace(0, backlog([10.0]), slots)
    # Work counts 8 MB more than the bytes are.
    assert np.exp(found + WORK) == pytest.approx(unit_s, rel=0.01)


@pytest.mark.parametrize(
    ("away", "share"), [(0.0, np.exp(-1)), (-99.0, 1.0), (np.log(2), np.exp(-2)), (99.0, 0.0)]
)
def test_a_share_of_times_lies_above(away, share):
    assert _survival(np.array([away])) == pytest.approx(share, abs=1e-9)


def test_one_time_in_a_dozen_is_of_another_kind():
    assert np.exp(_mixture(np.array([1.0]), np.array([0.0]))) == pytest.approx(0.92)
    assert np.exp(_mixture(np.array([0.0]), np.array([1.0]))) == pytest.approx(0.08)
    assert _mixture(np.array([0.0]), np.array([0.0])) == pytest.approx(np.log(1e-12))


def test_draws_are_as_likely_as_their_points():
    pace, scatter = np.array([1.0, 5.0, 9.0]), np.array([0.1, 0.2, 0.3])
    log = np.log(np.array([1e-30, 0.75, 0.25]))
    centre, width = _draw_pace(log, pace, scatter)
    assert len(centre) == DRAWS
    assert (width == 0.2).mean() == pytest.approx(0.75, abs=0.03)
    assert (width == 0.3).mean() == pytest.approx(0.25, abs=0.03)
    # The next ones differ by an eighth or so from those that were seen.
    drift = centre - np.where(width == 0.2, 5.0, 9.0)
    assert drift.std() == pytest.approx(0.12, rel=0.1)
    assert drift.mean() == pytest.approx(0, abs=0.02)


def ended(*rows):
    """When it was known, at least and at most how long it took, of one file each."""
    by, least, most = np.array(rows, float).T
    count = len(by)
    ones = np.ones(count)
    return Ended(np.ones(count, np.int64), GB * ones, by, least, most, ones)


def best(log, seconds):
    return seconds[int(np.argmax(log))]


def test_ends_say_how_long_a_task_takes_more_with_each():
    seconds = np.array([10.0, 100.0, 1000.0])
    pace, scatter = np.log(seconds) - WORK, np.full(3, 0.18)
    found = _summed_likelihood(ended((60, 90, 110), (120, 95, 115)), pace, scatter)
    assert found.shape == (3, 3)
    assert (found[0] == 0).all()
    assert best(found[1], seconds) == best(found[2], seconds) == 100
    assert found[2, 1] - found[2, 0] > found[1, 1] - found[1, 0]


def test_ends_at_one_time_count_by_the_root_of_their_number_and_unknown_ones_not_at_all():
    pace, scatter = np.log(np.array([10.0, 100.0])) - WORK, np.full(2, 0.18)
    one = _summed_likelihood(ended((60, 90, 110)), pace, scatter)[-1]
    four = _summed_likelihood(ended(*[(60, 90, 110)] * 4), pace, scatter)[-1]
    np.testing.assert_allclose(four, 2 * one)
    apart = _summed_likelihood(ended((60, 90, 110), (61, 90, 110)), pace, scatter)[-1]
    np.testing.assert_allclose(apart, 2 * one)
    unknown = ended((60, np.nan, 110), (60, 0.5, np.nan), (60, 0.5, np.inf))
    assert (_summed_likelihood(unknown, pace, scatter) == 0).all()


def test_what_runs_for_long_says_that_it_takes_longer():
    seconds = np.array([10.0, 100.0, 1000.0])
    pace, scatter = np.log(seconds) - WORK, np.full(3, 0.18)
    (young, old) = _running_likelihood(backlog([5.0, 500.0]), pace, scatter)
    assert young == pytest.approx([0, 0, 0], abs=0.1)
    assert old[0] < old[1] < old[2] == pytest.approx(0, abs=0.1)
    # As it was of the other kind, at worst.
    assert old[0] > np.log(1e-12) - 1e-6


def test_a_share_of_what_runs_is_evidence_both_ways():
    seconds = np.array([10.0, 100.0, 1000.0])
    pace, scatter = np.log(seconds) - WORK, np.full(3, 0.18)
    (half,) = _running_likelihood(backlog([50.0], share=[0.5]), pace, scatter)
    assert best(half, seconds) == 100
    # Ten times as long is as unlikely as a tenth.
    assert half[0] == pytest.approx(half[2])


def spells(*rows):
    """Files of a GB: kind, since when, until when; what runs was handed over as it was first seen,
    and what ended had taken `took` until then."""
    kind, since, until, took = np.array(rows, float).T
    count = len(kind)
    handed = since - took
    return Spells(
        np.zeros(count, np.int64), kind.astype(np.int64), np.full(count, GB), np.zeros(count),
        since - 1, since, until, handed - 1, handed, np.zeros(count, bool),
    )  # fmt: skip


def test_a_task_that_runs_ten_times_as_long_as_believed_is_far_from_its_end():
    now = np.array([0.0, 1000.0])
    prior = PacePrior(np.full(2, np.log(100.0)), np.full(2, np.log(GB)), 1.0)
    running = spells((WORKS, 0, np.inf, 0))
    rest = rest_of_importing(running, now, np.ones(2, np.bool_), prior)
    early, late = np.median(rest.draws, axis=1)
    assert 30 < early < 150
    assert late > 100


def test_tasks_that_all_took_as_long_say_when_the_next_one_ends():
    # Twenty took 100 s each, give or take 1 s.
    ends = [(ENDED, 100.0 * number, np.inf, 100.0) for number in range(1, 21)]
    prior = PacePrior(np.full(2, np.log(3000.0)), np.full(2, np.log(30 * GB)), 1.0)
    running = spells(*ends, (WORKS, 2000.0, np.inf, 0))
    wanted = np.array([False, True])
    rest = rest_of_importing(running, np.array([0.0, 2000.0]), wanted, prior)
    assert np.median(rest.draws[1]) == pytest.approx(100, rel=0.1)
    assert np.log(rest.draws[1]).std() < 0.2


def test_the_rest_is_that_of_the_tasks_that_run_and_wait():
    # Four files of a GB: one runs since 0, three wait, and all are believed to take 400 s.
    kind = np.array([WAITS, WAITS, WAITS, WORKS])
    zeros, none = np.zeros(4), np.full(4, np.nan)
    spells = Spells(
        np.zeros(4, np.int64), kind, np.full(4, GB), zeros, none, zeros, np.full(4, np.inf),
        none, zeros, np.zeros(4, bool),
    )  # fmt: skip
    now = np.array([10.0, 20.0])
    log_seconds, log_bytes = np.full(2, np.log(400.0)), np.full(2, np.log(4 * GB))
    prior = PacePrior(log_seconds, log_bytes, 0.05)
    rest = rest_of_importing(spells, now, np.array([False, True]), prior)
    assert (rest.draws[0] == 0).all()
    assert rest.slots.tolist() == [0, 1]
    assert rest.running_age_s.tolist() == [0, 20]
    assert np.median(rest.draws[1]) == pytest.approx(380, rel=0.25)
    assert np.median(rest.next_end[1]) == pytest.approx(80, rel=0.35)
