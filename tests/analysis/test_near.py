"""The time that tasks have taken, next to those of their job that are nearest in size."""

import numpy as np
import pytest

from importstats.analysis.near import relative_times


def times(whole, ended, size=None, job=None):
    sizes = np.ones(len(whole)) if size is None else np.array(size, float)
    jobs = np.zeros(len(whole), np.int64) if job is None else np.array(job)
    found = relative_times(jobs, sizes, np.array(whole, float), np.array(ended, bool))
    return [None if np.isnan(each) else round(float(each), 3) for each in found]


@pytest.mark.parametrize(
    ("whole", "ended", "last"),
    [
        ([10, 10, 10, 30], [1, 1, 1, 0], 3.0),
        # Those that run have not ended yet: of 10, 20, 25 or more, and 30 or more, 20 is usual.
        ([10, 20, 25, 30], [1, 1, 0, 0], 1.5),
        # If fewer than half have ended the longest that was seen is usual.
        ([10, 25, 28, 30], [1, 0, 0, 0], 1.0),
        # What has not begun shows nothing.
        ([10, np.nan, np.nan, 30], [1, 0, 0, 0], 3.0),
        ([10, 10, np.nan], [1, 1, 0], None),
        # Half a second is the least that counts.
        ([0.1, 0.1, 0.1, 2], [1, 1, 1, 0], 4.0),
    ],
)
def test_a_task_is_compared_with_the_median_of_those_near_it(whole, ended, last):
    assert times(whole, ended)[-1] == last


def test_a_task_of_twice_the_bytes_may_take_twice_as_long_and_jobs_do_not_mix():
    assert times([20, 20, 20, 60], [1, 1, 1, 0], size=[1, 1, 1, 2])[-1] == 1.5
    two = ([20, 10] * 3 + [60, 60], [1] * 6 + [0] * 2)
    assert times(*two, job=[0, 1] * 4)[-2:] == [3.0, 6.0]
    assert times(*two, job=[1, 0] * 4)[-2:] == [3.0, 6.0]


@pytest.mark.parametrize(("slow", "found"), [(15, 3.0), (16, 1.0)])
def test_of_many_the_thirty_one_nearest_in_size_count(slow, found):
    """All are of about one size, and the last half of them takes three times as long."""
    whole = [10.0] * 60 + [30.0] * slow
    size = 1e9 + np.arange(len(whole))
    assert times(whole, [1] * len(whole), size=size)[-1] == found
    assert times(whole[::-1], [1] * len(whole), size=size[::-1])[0] == found


def test_each_task_is_compared_with_as_many_smaller_as_larger_ones():
    whole = [10.0] * 40 + [30.0] * 40
    found = times(whole, [1] * 80, size=1e9 + np.arange(80))
    assert found == [1.0] * 40 + [1.0] * 40


def test_of_nothing_nothing_is_known():
    assert times([], []) == []
    assert times([np.nan], [0]) == [None]
