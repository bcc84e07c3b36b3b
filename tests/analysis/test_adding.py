"""The sum of curves that were sampled at different times."""

from dataclasses import replace

import numpy as np
import pytest

from importstats.analysis.adding import add_up
from importstats.analysis.samples import Curve


def curve(*keys):
    """A curve of (second, rows) points for each key; rows that fall are a loss."""
    key = np.repeat(np.arange(len(keys)), [len(points) for points in keys])
    second, rows = np.array([point for points in keys for point in points], float).T
    change = np.diff(rows, prepend=0.0)
    change[np.append(True, key[1:] != key[:-1])] = 0
    gain = np.maximum(change, 0)
    first = np.repeat([points[0][1] for points in keys], [len(points) for points in keys])
    spread = np.concatenate([np.cumsum(gain[key == number]) for number in range(len(keys))])
    none = np.zeros(len(key), np.int64)
    return Curve(
        key=key, time=np.asarray(second * 1e6, np.int64), moment=none, rows=rows, gain=gain,
        loss=np.maximum(-change, 0), byte_gain=10 * gain, sized=first >= 0,
        shown=np.ones(len(key), np.bool_), spread=spread, byte_spread=10 * spread, since=none,
        open=np.zeros(len(key), np.bool_),
    )  # fmt: skip


def shown(found):
    return [(time / 1e6, rows) for time, rows in zip(found.time.tolist(), found.rows, strict=True)]


def test_what_was_written_between_two_samples_grows_evenly():
    one, other = [(0, 0), (10, 100)], [(5, 0), (10, 50)]
    found = add_up(curve(one, other), np.zeros(4, np.int64))
    # Half of the 100 by the time when the other began, and then both.
    assert shown(found) == [(0, 0), (5, 50), (10, 150)]
    assert found.gain.tolist() == [0, 50, 100]
    assert found.byte_gain.tolist() == [0, 500, 1000]
    assert found.spread.tolist() == [0, 50, 150]
    assert found.byte_spread.tolist() == [0, 500, 1500]
    assert found.key.tolist() == [0, 0, 0]


def test_rows_that_were_there_at_first_sight_are_there_and_not_gained():
    found = add_up(curve([(0, 30), (10, 50)], [(4, 7), (10, 7)]), np.zeros(4, np.int64))
    assert shown(found) == [(0, 30), (4, 45), (10, 57)]
    assert found.gain.sum() == 20


def test_rows_that_vanish_are_a_loss_of_the_sum():
    found = add_up(curve([(0, 0), (10, 100), (20, 40)], [(0, 0), (20, 20)]), np.zeros(5, np.int64))
    assert shown(found) == [(0, 0), (10, 110), (20, 60)]
    assert found.loss.tolist() == [0, 0, 60]
    assert found.gain.tolist() == [0, 110, 10]


def test_each_group_has_a_sum_of_its_own():
    keys = [(0, 0), (10, 10)], [(100, 0), (110, 20)], [(0, 1), (10, 31)]
    found = add_up(curve(*keys), np.array([0, 0, 1, 1, 1, 1]))
    assert found.key.tolist() == [0, 0, 1, 1, 1, 1]
    assert shown(found) == [(0, 0), (10, 10), (0, 1), (10, 31), (100, 31), (110, 51)]
    assert found.shown.tolist() == [True] * 6
    assert found.sized.tolist() == [True] * 6


@pytest.mark.parametrize(
    ("opened", "found"),
    [([False] * 4, [False, False]), ([False, False, False, True], [True, True])],
)
def test_a_sum_is_open_as_long_as_one_of_its_curves_is(opened, found):
    two = replace(curve([(0, 0), (10, 1)], [(0, 0), (10, 1)]), open=np.array(opened))
    assert add_up(two, np.zeros(4, np.int64)).open.tolist() == found


def test_rows_without_an_interval_to_grow_in_are_a_jump():
    found = add_up(curve([(10, 0), (10, 5), (20, 5)]), np.zeros(3, np.int64))
    assert shown(found) == [(10, 5), (20, 5)]
    nothing = np.zeros(0, np.int64)
    empty = curve([(0, 0)])
    none = Curve(**{name: values[:0] for name, values in vars(empty).items()})
    assert len(add_up(none, nothing).time) == 0
