"""The time that tasks at work have taken, compared with tasks that ran at the same time.

If load slows all tasks of a job, each takes longer than those before it, yet none is late. So a
task is compared with those that overlapped it. The median is that of Kaplan and Meier (JASA 1958),
in which running tasks count as not ended yet.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from importstats.analysis.durations import median_of_censored
from importstats.arrays import Bools, Floats, Ints

# Tasks that began at about the same time overlap the same others: this many groups by start.
_GROUPS: Final = 12
_LEAST_S: Final = 0.5


def relative_times(
    job: Ints, size: Floats, whole_s: Floats, known: Bools, begin: Floats, stop: Floats
) -> Floats:
    """Each working task's time per byte, as a multiple of that of the tasks it overlapped.

    Parameters
    ----------
    job : ndarray of int64
        Per task.
    size : ndarray of float64
        Bytes, including the fixed cost of every task.
    whole_s : ndarray of float64
        How long it took or has taken so far; NaN if it has not begun.
    known : ndarray of bool
        Whether that is the whole time.
    begin, stop : ndarray of float64
        When it began to work and when it ended; infinite if it has not ended.

    Returns
    -------
    ndarray of float64
        NaN for tasks that are not at work. At most 1 if fewer than half of the others have ended.

    Examples
    --------
    >>> job, size = np.zeros(4, int), np.full(4, 1e9)
    >>> whole, stop = np.array([10.0, 10.0, 90.0, 30.0]), np.array([10.0, 10.0, 95.0, np.inf])
    >>> known, begin = np.isfinite(stop), np.array([0.0, 0.0, 5.0, 5.0])
    >>> relative_times(job, size, whole, known, begin, stop).round(1).tolist()
    [nan, nan, nan, 3.0]
    """
    times = np.full(len(job), np.nan)
    begun = ~np.isnan(whole_s)
    with np.errstate(invalid="ignore"):
        logs = np.log(np.maximum(whole_s, _LEAST_S) / size)
    order = np.flatnonzero(begun)[np.argsort(job[begun], kind="stable")]
    for tasks in np.split(order, np.flatnonzero(np.diff(job[order])) + 1):
        at_work = tasks[np.isinf(stop[tasks])]
        if not len(at_work):
            continue
        at_work = at_work[np.argsort(begin[at_work], kind="stable")]
        for group in np.array_split(at_work, min(_GROUPS, len(at_work))):
            beside = tasks[stop[tasks] > begin[group[0]]]
            usual = median_of_censored(logs[beside], known[beside])
            times[group] = np.exp(logs[group] - usual)
    return times
