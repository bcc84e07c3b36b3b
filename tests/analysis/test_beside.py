"""How long tasks at work have taken, next to those that ran at the same time."""

import numpy as np
import pytest

from importstats.analysis.beside import relative_times

RUNS = np.inf


def times(*tasks, size=None, job=None):
    """When each task began and stopped, as of second 100; NaN where it has not begun."""
    begin, stop = np.array(tasks, float).T
    known = np.isfinite(stop)
    whole = np.where(known, stop, 100.0) - begin
    sizes = np.ones(len(begin)) if size is None else np.array(size, float)
    jobs = np.zeros(len(begin), np.int64) if job is None else np.array(job)
    found = relative_times(
        jobs, sizes, whole, known, begin, np.where(np.isnan(begin), np.nan, stop)
    )
    return [None if np.isnan(each) else round(float(each), 3) for each in found]


@pytest.mark.parametrize(
    ("tasks", "found"),
    [
        # Those that ended took 10 s, and it has taken 30 s since.
        ([(60, 70), (61, 71), (62, 72), (63, 73), (70, RUNS)], [None, None, None, None, 3.0]),
        # What ended before it began is nothing to compare with, nor what has not begun.
        ([(0, 10), (0, 10), (60, 80), (60, 80), (70, RUNS)], [None, None, None, None, 1.5]),
        ([(np.nan, np.nan), (60, 80), (60, 80), (70, RUNS)], [None, None, None, 1.5]),
        # A task that ended just as it began did not run beside it.
        ([(0, 70), (60, 80), (60, 80), (70, RUNS)], [None, None, None, 1.5]),
        # If fewer than half have ended the longest that was seen is usual.
        ([(60, 70), (70, RUNS), (40, RUNS)], [None, 0.5, 1.0]),
        ([(60, 70), (50, 60)], [None, None]),
        # Half a second is the least that counts.
        ([(99.9, 100), (99.9, 100), (99.9, 100), (98, RUNS)], [None, None, None, 4.0]),
    ],
)
def test_a_task_is_compared_with_those_that_ran_beside_it(tasks, found):
    assert times(*tasks) == found


def test_a_task_of_twice_the_bytes_may_take_twice_as_long_and_jobs_do_not_mix():
    tasks = [(60, 80), (60, 80), (60, 80), (40, RUNS)]
    assert times(*tasks, size=[1, 1, 1, 2])[-1] == 1.5
    assert times(*tasks, size=[2, 2, 2, 2])[-1] == 3.0
    two = [*tasks, (60, 70), (60, 70), (60, 70), (40, RUNS)]
    assert times(*two, job=[0] * 4 + [1] * 4) == [None] * 3 + [3.0] + [None] * 3 + [6.0]
    mixed = [two[place] for place in (0, 4, 1, 5, 2, 6, 3, 7)]
    assert times(*mixed, job=[0, 1] * 4)[-2:] == [3.0, 6.0]


@pytest.mark.parametrize(("at_work", "found"), [(12, 98 / 99), (13, 98 / 100)])
def test_of_more_than_twelve_the_next_shares_what_the_first_is_compared_with(at_work, found):
    """Three that took 100 s ended between the first and the second."""
    done = [(-98.5, 1.5)] * 3 + [(40, 50)] * 10
    tasks = [(number, RUNS) for number in range(1, at_work + 1)]
    assert times(*done, *tasks)[len(done) + 1] == pytest.approx(found, abs=1e-3)
