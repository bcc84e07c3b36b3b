"""The time that tasks have taken, compared with the tasks of their job that are nearest in size.

The server makes and hands out tasks by size, so such tasks run at about the same time, under the
same load. The median is Kaplan and Meier's (JASA 1958); running tasks count as not ended yet.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from importstats.analysis.durations import medians_of_censored
from importstats.arrays import Bools, Floats, Ints

# Ours: with 15 precision is 0.02 higher and recall 0.015 lower, with 9 both are lower.
_NEAREST: Final = 31
_LEAST_S: Final = 0.5


def relative_times(job: Ints, size: Floats, whole_s: Floats, known: Bools) -> Floats:
    """Each task's time, divided by the usual time of the 31 nearest in size, itself included.

    Parameters
    ----------
    job : ndarray of int64
        Each task's job.
    size : ndarray of float64
        Bytes, including the fixed cost of every task.
    whole_s : ndarray of float64
        The time that it took or has taken so far; NaN if it has not begun.
    known : ndarray of bool
        Whether that is the whole time.

    Returns
    -------
    ndarray of float64
        NaN for tasks that have not begun. At most 1 if fewer than half of them have ended.

    Examples
    --------
    >>> size, whole_s = np.array([1e9, 1e9, 2e9, 2e9]), np.array([10.0, 10.0, 20.0, 60.0])
    >>> known = np.array([True, True, True, False])
    >>> relative_times(np.zeros(4, int), size, whole_s, known).round(1).tolist()
    [1.0, 1.0, 1.0, 3.0]
    """
    begun = np.flatnonzero(~np.isnan(whole_s))
    order = begun[np.lexsort((size[begun], job[begun]))]
    per_s = np.maximum(whole_s[order], _LEAST_S) / size[order]
    begin = np.searchsorted(job[order], job[order], side="left")
    end = np.searchsorted(job[order], job[order], side="right")
    first = np.clip(np.arange(len(order)) - _NEAREST // 2, begin, np.maximum(end - _NEAREST, begin))
    place = first[:, None] + np.arange(_NEAREST)
    inside = place < end[:, None]
    near_s = np.where(inside, per_s.take(place, mode="clip"), np.inf)
    times = np.full(len(job), np.nan)
    times[order] = per_s / medians_of_censored(near_s, known[order].take(place, mode="clip"))
    return times
