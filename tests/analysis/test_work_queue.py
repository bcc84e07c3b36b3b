"""Queues of work that can be reckoned, and what is known of the time that work takes."""

from dataclasses import replace

import numpy as np
import pytest

from importstats.analysis.work_queue import DRAWS, Pace, Works, last_end_s

EXACT = Pace(0.0, 1e-6, 1e-6, 1e9)  # A second for each row.


def works(*rows, own=True, kind=0):
    count = len(rows)
    return Works(np.array(rows, float), np.full(count, kind), np.full(count, own))


def both(first, second):
    fields = ("rows", "kind", "is_own")
    return Works(
        *(np.concatenate([getattr(first, name), getattr(second, name)]) for name in fields)
    )


def from_then_on(seconds, queue):
    """Works that cannot begin before so many seconds."""
    return replace(queue, first_s=np.full((DRAWS, len(queue.rows)), float(seconds)))


def drawn(running=None, ages=(), waiting=None, at_once=1, paces=(EXACT,)):
    running, waiting = running or works(), waiting or works()
    ages = np.array(ages, float)
    return last_end_s(running, ages, waiting, at_once, paces, np.random.default_rng(1))


@pytest.mark.parametrize(
    ("queue", "seconds"),
    [
        ({"waiting": works(100, 100)}, 200),
        ({"waiting": works(100, 100), "at_once": 2}, 100),
        ({"waiting": both(works(50, 50, own=False), works(100))}, 200),
        ({"waiting": both(works(50, 50, 50, own=False), works(100)), "at_once": 2}, 150),
        # What waits behind the last of the job's own holds up nothing.
        ({"waiting": both(works(100), works(50, own=False))}, 100),
        ({"running": works(100), "ages": [60]}, 40),
        ({"running": works(100, own=False), "ages": [60], "waiting": works(10)}, 50),
        # What cannot begin yet lets its slot wait, and what is before it goes on meanwhile.
        ({"waiting": from_then_on(70, works(100, 100))}, 270),
        (
            {"running": works(90, own=False), "ages": [0], "waiting": from_then_on(70, works(10))},
            100,
        ),
        # Works of one batch free their slots together.
        (
            {
                "running": replace(works(20, 90, own=False), batch=np.array([0, 0])),
                "ages": [0, 0],
                "waiting": works(10),
                "at_once": 2,
            },
            100,
        ),
        (
            {
                "running": replace(works(20, 90, own=False), batch=np.array([0, 1])),
                "ages": [0, 0],
                "waiting": works(10),
                "at_once": 2,
            },
            30,
        ),
        # Kinds have paces of their own.
        ({"waiting": works(100, kind=1), "paces": (EXACT, Pace(np.log(3), 1e-6, 1e-6, 1e9))}, 300),
    ],
)
def test_a_queue_takes_as_long_as_can_be_reckoned(queue, seconds):
    assert np.quantile(drawn(**queue), [0.1, 0.5, 0.9]) == pytest.approx([seconds] * 3, rel=0.01)


def test_what_has_ended_makes_a_pace_and_its_certainty():
    first = Pace(0.0, 0.5)
    assert first.updated(np.zeros(0), np.zeros(0)) is first
    took_s = np.exp(1 + 0.2 * np.random.default_rng(1).standard_normal(100))
    pace = first.updated(took_s, np.ones(100))
    assert (pace.log_mean, pace.log_sd) == pytest.approx((1.0, 0.2), abs=0.05)
    assert (pace.mean_sd, pace.freedom) == (pytest.approx(0.017, abs=0.002), 104)
    widths = [
        np.ptp(np.quantile(drawn(waiting=works(*[1] * 20), paces=(each,)), [0.1, 0.9]))
        for each in (first, pace)
    ]
    assert widths[0] / 20 > 4 * widths[1] / (20 * np.e)


def test_works_that_run_for_long_say_that_all_take_long():
    unsure = Pace(0.0, 1.0)
    usual = np.median(drawn(waiting=works(1), paces=(unsure,)))
    running = works(1, 1, 1, own=False)
    later = np.median(drawn(running, [10] * 3, works(1), 4, (unsure,)))
    assert usual == pytest.approx(1, rel=0.2)
    assert later > 8


def test_a_pace_is_the_mean_of_what_was_believed_and_what_was_seen_by_their_certainty():
    # Spread 1 known from 4 observations, and four more that spread by 1: still 1.
    before = Pace(log_mean=0.0, mean_sd=0.5, log_sd=1.0)
    after = before.updated(2 * np.exp([2.0, 4.0, 2.0, 4.0]), np.full(4, 2.0))
    assert after.freedom == 8
    assert after.log_sd == pytest.approx(1)
    # A variance of 1/4 against one of 1/4 for the mean of four.
    assert after.log_mean == pytest.approx(1.5)
    assert after.mean_sd == pytest.approx(np.sqrt(1 / 8))
    assert before.updated(np.zeros(2), np.ones(2)) is before
    assert before.updated(np.array([0.0, 1.0]), np.ones(2)).freedom == 5


def test_work_that_has_run_longer_than_any_draw_needs_a_tenth_of_that_more():
    assert np.median(drawn(running=works(100), ages=[101])) == pytest.approx(10, rel=0.01)
    assert np.median(drawn(running=works(100), ages=[99])) == pytest.approx(1, rel=0.01)


def test_without_work_of_its_own_a_job_has_nothing_left():
    assert (drawn(running=works(100, own=False), ages=[0]) == 0).all()
    assert (drawn(waiting=works(100, own=False)) == 0).all()
