"""Rows spread over the time in which they were written, since servers show them only at the end.

A file's rows appear when all of it is written. So they are spread evenly over the time since the
file went to work, or since its last step. If a job's files are not known, its rows are spread since
its last step. Rows that are still being written have not appeared: the course ends with the last
step.
"""

from __future__ import annotations

import numpy as np

from importstats.arrays import Bools, Floats, Ints, starts, summed


def steps_before(key: Ints, gain: Floats, rests: Bools) -> Ints:
    """The earlier point of its key from which each point's rows were written; -1 for none.

    It is the last step, or the last point at which nothing was being written (`rests`).
    """
    place = np.arange(len(key))
    first = starts(key)
    mark = (gain > 0) | rests
    mark[first] = True
    latest = np.maximum.accumulate(np.where(mark, place, 0))
    before = np.append(-1, latest[:-1])[: len(key)]
    before[first] = -1
    return before


def spread_along(key: Ints, time: Ints, gain: Floats, rests: Bools, before: Ints) -> Floats:
    """The rows written by each point since its key's first, with gains spread evenly.

    `before` are the :func:`steps_before` of the same points.

    Examples
    --------
    >>> key, time, rests = np.zeros(5, int), np.arange(5) * 10, np.zeros(5, bool)
    >>> gain = np.array([0.0, 0.0, 0.0, 60.0, 0.0])
    >>> spread_along(key, time, gain, rests, steps_before(key, gain, rests)).tolist()
    [0.0, 20.0, 40.0, 60.0, 60.0]
    """
    if not len(key):
        return np.zeros(0)
    place = np.arange(len(key))
    total = running_within(key, gain)
    rises = gain > 0
    following = np.minimum.accumulate(np.where(rises, place, len(key))[::-1])[::-1]
    there = following < len(key)
    following = np.where(there, following, 0)
    there &= (key[following] == key) & ~rises
    at_mark = rests | rises | (before < 0)
    since = np.where(at_mark, place, before)
    lasts = np.where(there, time[following] - time[since], 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(lasts > 0, (time - time[since]) / lasts, 0.0)
    return total[since] + np.where(there, share * gain[following], 0.0)


def spread_over_cells(begin: Ints, end: Ints, gain: Floats, seconds: Floats, first: Ints) -> Floats:
    """The rows written by each cell since its group's first, with gains spread over cells.

    Parameters
    ----------
    begin, end : ndarray of int64
        The cell after which each gain's rows were written, and the one by which they were.
    gain : ndarray of float64
    seconds : ndarray of float64
        The seconds from the previous cell to each; 0 at the first of a group.
    first : ndarray of int64
        Where the groups begin.
    """
    count = len(seconds)
    elapsed = np.cumsum(seconds)
    lasts = elapsed[end] - elapsed[begin]
    spans = lasts > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.where(spans, gain / lasts, 0.0)
    change = summed(begin, slope, count) - summed(end, slope, count)
    running = np.append(0.0, np.cumsum(change)[:-1])[:count]
    grown = np.maximum(running, 0.0) * seconds + summed(end, np.where(spans, 0.0, gain), count)
    group = np.zeros(count, np.int64)
    group[first] = 1
    return running_within(np.cumsum(group), grown)


def with_open_end(spread: Floats, course: Floats, until: Ints, group: Ints) -> Floats:
    """The values of `spread` up to its last complete cell; from there on they grow as `course`.

    Nothing has appeared yet from files that are still at work, so the sum of spread rows sags
    towards the end. The course from step to step does not: while as much appears as is written, it
    is right.

    Parameters
    ----------
    spread, course : ndarray of float64
        Rows written since the first cell of the group: each file's spread, and the group's steps
        joined by straight lines.
    until : ndarray of int64
        The last cell of each group up to which `spread` is complete.
    group : ndarray of int64
        The group of each cell.
    """
    here = until[group]
    after = np.arange(len(group)) > here
    return np.where(after, spread[here] + course - course[here], spread)


def running_within(key: Ints, values: Floats) -> Floats:
    """The running sum within each key."""
    total = np.cumsum(values)
    first = starts(key)
    before = total[first] - values[first]
    return total - np.repeat(before, np.diff(np.append(first, len(key))))


def grown(total: Floats, key: Ints) -> Floats:
    """The growth of a running sum at each point, 0 at the first of a key.

    >>> grown(np.array([2.0, 5.0, 1.0, 4.0]), np.array([0, 0, 1, 1])).tolist()
    [0.0, 3.0, 0.0, 3.0]
    """
    steps = np.diff(total, prepend=0.0)
    steps[starts(key)] = 0.0
    return np.maximum(steps, 0.0)
