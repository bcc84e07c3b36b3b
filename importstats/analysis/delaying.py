"""How likely each task at work is to delay the end of its job because it takes longer than usual.

A task delays the end if it ends after all others and takes longer than tasks of its size: the job
would end earlier by the lesser of the two. So both say how long the task has to take at least, and
the model of durations says how likely that is for a task that has already worked so long.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from importstats.analysis.ages import Ages, end_of_waiting_s, largest_of_others
from importstats.analysis.interval_chances import SLOW_SCATTER, SLOW_SHARE, SLOW_SHIFT
from importstats.arrays import Floats

# The scale of a logistic error with a standard deviation of one.
_SCALE: Final = np.sqrt(3) / np.pi
# The least scatter of log durations that is believed (ours): a few tasks may agree by chance.
_LEAST_SCATTER: Final = 0.08
_LEAST_S: Final = 0.5
# A survival is inverted by bisection, up to so many times as long (as a logarithm).
_MOST_LOG: Final = 10.0
_HALVINGS: Final = 30


def delay_chances(ages: Ages, share: float) -> Floats:
    """The probability that each task delays the end by this share of the import's time or more.

    It is 0 for tasks that are not at work, and where no usual time is known. If a task's own
    progress shows how long it takes, it is 0 or 1.
    """
    spans, job, usual_s = ages.spans, ages.spans.job, ages.usual_s
    worked_s = np.maximum(ages.worked_s, _LEAST_S)
    # The uncertainty of the pace adds to the scatter around it.
    scatter = np.maximum(ages.durations.scatter, _LEAST_SCATTER)
    scatter = np.hypot(scatter, _SCALE * ages.durations.pace_sd)[job]
    with np.errstate(divide="ignore", invalid="ignore"):
        others_s = _end_of_others_s(ages, worked_s, scatter)
        before_s = spans.now[job] - ages.since[job] - worked_s
        # Whatever the task takes, the import takes this much more in all.
        whole_s = share * before_s
        least_s = np.maximum(usual_s, worked_s + others_s) + whole_s
        least_s = np.maximum(least_s / (1 - share), worked_s)
        chance = _chance_beyond(least_s / usual_s, scatter) / _chance_beyond(
            worked_s / usual_s, scatter
        )
    chance = np.where(ages.known, ages.whole_s > least_s, chance)
    return np.where(spans.running, np.nan_to_num(chance), 0.0)


def _end_of_others_s(ages: Ages, worked_s: Floats, scatter: Floats) -> Floats:
    """In how many seconds all other tasks of the job will have ended; below 0 if they have.

    As likely as not the last of n tasks ends by the time that each of them exceeds with a
    probability of 1 - 0.5 ** (1 / n).
    """
    spans, job, jobs = ages.spans, ages.spans.job, ages.spans.jobs
    count = np.maximum(np.bincount(job[spans.running], minlength=jobs) - 1, 1)
    exceeds = 1 - 0.5 ** (1 / count[job])
    end_s = np.full(len(job), np.nan)
    asked = np.flatnonzero(spans.running & ~ages.known & np.isfinite(ages.usual_s))
    end_s[asked] = ages.usual_s[asked] * _exceeded(
        worked_s[asked] / ages.usual_s[asked], scatter[asked], exceeds[asked]
    )
    left_s = np.where(ages.known, ages.remaining_s, end_s - worked_s)
    ended = spans.done & np.isfinite(spans.ended_by)
    last = np.where(np.isfinite(ages.since), ages.since, spans.now)
    np.maximum.at(last, job[ended], spans.ended_by[ended])
    left_s = np.where(spans.running, np.nan_to_num(left_s), -np.inf)
    others_s = np.maximum(largest_of_others(job, jobs, left_s), (last - spans.now)[job])
    waits = np.bincount(job[spans.waits], minlength=jobs)[job] > 0
    by_work_s = end_of_waiting_s(spans, ages.usual_s, ages.remaining_s)
    return np.where(waits, np.maximum(others_s, by_work_s), others_s)


def _exceeded(times_usual: Floats, scatter: Floats, chance: Floats) -> Floats:
    """How many times the usual time tasks exceed with this chance, given that they take so long."""
    low = np.log(times_usual)
    high = np.maximum(low, 0.0) + _MOST_LOG
    wanted = chance * _chance_beyond(times_usual, scatter)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        beyond = _chance_beyond(np.exp(middle), scatter) > wanted
        low, high = np.where(beyond, middle, low), np.where(beyond, high, middle)
    return np.exp(high)


def _chance_beyond(times_usual: Floats, scatter: Floats) -> Floats:
    """The probability that a task takes more than this many times the usual time."""
    log = np.log(times_usual)
    usual = 0.5 - 0.5 * np.tanh(0.5 * log / scatter)
    slow = 0.5 - 0.5 * np.tanh(0.5 * (log - SLOW_SHIFT) / SLOW_SCATTER)
    return np.asarray((1 - SLOW_SHARE) * usual + SLOW_SHARE * slow, np.float64)
