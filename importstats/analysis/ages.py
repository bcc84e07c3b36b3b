"""Each task's time at work, compared with tasks of its size, and its likely end.

A task counts as at work from the time when its node began it, which can be seen only if rows grow
inside files. Otherwise it may have waited behind its node's batch, and half of the longest possible
wait is subtracted from its age (ours: of none, half and all, half served best on
``benchmarks/worlds``).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
import pandas as pd

from importstats.analysis.durations import Durations, fit_durations, pooled_prior
from importstats.analysis.spans import Spans
from importstats.arrays import Bools, Floats, Ints, starts, summed

_WAIT_SHARE: Final = 0.5
# A wait behind a batch that has ended is hardly ever longer than this.
_MOST_WAIT: Final = 1.5
# A task's duration is read off its progress from this share on, and with this accuracy.
_LEAST_DONE: Final = 0.05
_EXACT: Final = 0.02
# Fewer files share the pool of their node with others and end together, so early progress is slow.
_MANY_FILES: Final = 128
_MANY_STEPS: Final = 3
# A task beyond its usual time needs this share of its age more: durations have long tails.
_MORE_SHARE: Final = 0.4
_BEYOND: Final = 1.5
_LEAST_S: Final = 0.5


@dataclass(frozen=True)
class Ages:
    """The tasks of a details frame at a time, as arrays with one value per task.

    Attributes
    ----------
    spans : Spans
        What was seen of the tasks.
    durations : Durations
        How long tasks take, per job.
    has_usual : ndarray of bool
        Per job, whether `durations` rest on an end (or on rows that grow) and not only on a prior.
    usual_s : ndarray of float64
        The median seconds at work of tasks of the same size in the job; NaN if not known.
    worked_s : ndarray of float64
        Seconds at work of the last attempt so far; NaN while it waits.
    whole_s : ndarray of float64
        How long an ended task worked; how long a task whose rows grow will have worked; and for any
        other task how long it has worked so far, which is less than the whole.
    known : ndarray of bool
        Whether `whole_s` is the whole.
    as_long_p : ndarray of float64
        The probability that a task of its size in its job takes at least as long; NaN if not known.
    remaining_s : ndarray of float64
        The median time that a task at work still needs; 0 if it ended; NaN if it waits or nothing
        is known.
    lead_s, lead_share : ndarray of float64
        How long after all others a task at work will end (negative: before), and that as a share of
        the time from the first task's start to its end. NaN if nothing is known.
    since : ndarray of float64
        Per job, when its first task went to work, in seconds since 1970.
    """

    spans: Spans
    durations: Durations
    has_usual: Bools
    usual_s: Floats
    worked_s: Floats
    whole_s: Floats
    known: Bools
    as_long_p: Floats
    remaining_s: Floats
    lead_s: Floats
    lead_share: Floats
    since: Floats

    @classmethod
    def from_details(
        cls,
        details: pd.DataFrame,
        at: datetime | pd.Timestamp | None = None,
        *,
        pooled: bool = True,
    ) -> Ages:
        """The ages in a details frame, as known at a time (by default at its end).

        Unless `pooled`, a job is judged by its own tasks only, so that the result does not depend
        on which other jobs are in the frame.
        """
        return cls.from_spans(Spans.from_details(details, at), pooled=pooled)

    @classmethod
    def from_spans(cls, spans: Spans, *, pooled: bool = True) -> Ages:
        """The ages of the tasks in spans."""
        job, size = spans.job, spans.size_bytes
        least, most = spans.duration_least(), spans.duration_most()
        wait = _likely_wait(spans, np.full(len(job), np.inf))
        shown, low, high = _observed(spans, least, most, wait)
        durations = _fitted(spans, shown, low, high, pooled=pooled)
        has_usual = np.bincount(job[shown & np.isfinite(high)], minlength=spans.jobs) > 0
        has_usual |= durations.pooled & (durations.pace_sd < 0.5)
        usual = np.where(has_usual[job], durations.median_s(job, size), np.nan)
        wait = _likely_wait(spans, np.where(np.isnan(usual), np.inf, usual))
        end_s = np.where(np.isfinite(most), (least + most) / 2, least)
        worked = np.where(spans.begun, np.maximum(end_s - wait, 0.0), np.nan)
        moving = _moving(spans)
        whole = np.where(moving, worked / np.maximum(spans.fraction, _LEAST_DONE), worked)
        chance = durations.survival(job, size, np.maximum(np.nan_to_num(whole), _LEAST_S))
        remaining = _remaining(spans, durations, usual, worked, moving)
        since = np.full(spans.jobs, np.inf)
        first = np.fmin(spans.handed_after, spans.first_handed_by)
        begun = np.flatnonzero(~np.isnan(first))
        np.minimum.at(since, job[begun], first[begun])
        lead, share = _leads(spans, usual, remaining, since)
        return cls(
            spans,
            durations,
            has_usual,
            usual,
            worked,
            whole,
            (spans.done & np.isfinite(most)) | moving,
            np.where(has_usual[job] & spans.begun, chance, np.nan),
            remaining,
            lead,
            share,
            since,
        )

    @property
    def times_usual(self) -> Floats:
        """Each task's time, final or so far, as a multiple of the usual time; NaN if not known."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(self.whole_s / self.usual_s, np.float64)


def _moving(spans: Spans) -> Bools:
    """Whether each task's own progress shows how long it takes.

    It does if rows grow inside files, and nearly so if many files end one by one.
    """
    seen = spans.smooth[spans.job] & (spans.steps > 0)
    seen |= (spans.files >= _MANY_FILES) & (spans.steps >= _MANY_STEPS)
    seen &= spans.running & (spans.retries == 0) & (spans.fraction >= _LEAST_DONE)
    return np.asarray(seen, np.bool_)


def _likely_wait(spans: Spans, usual: Floats) -> Floats:
    """The seconds that each task probably waited for its node."""
    likely = spans.wait_least_s + _WAIT_SHARE * (spans.wait_most_s - spans.wait_least_s)
    return np.maximum(np.minimum(likely, _MOST_WAIT * usual), spans.wait_least_s)


def _observed(
    spans: Spans, least: Floats, most: Floats, wait: Floats
) -> tuple[Bools, Floats, Floats]:
    """The tasks that show something about durations, and the bounds of all durations."""
    low = np.maximum(least - wait, _LEAST_S)
    high = np.maximum(most - wait, low)
    moving = _moving(spans)
    done = np.maximum(spans.fraction, _LEAST_DONE)
    low = np.where(moving, low / (done + _EXACT), low)
    high = np.where(moving, low * (done + _EXACT) / (done - _EXACT), high)
    return spans.begun & ~spans.failed, low, high


def _fitted(spans: Spans, shown: Bools, low: Floats, high: Floats, *, pooled: bool) -> Durations:
    """Each job's durations, using what other jobs of its collection and cluster have shown."""
    job, size = spans.job[shown], spans.size_bytes[shown]
    alone = fit_durations(job, spans.jobs, size, low[shown], high[shown])
    if spans.jobs < 2 or not pooled:
        return alone
    mean, sd, known = pooled_prior(alone, spans.samples.collections(), spans.samples.clusters())
    return fit_durations(
        job, spans.jobs, size, low[shown], high[shown], prior_mean=mean, prior_sd=sd, pooled=known
    )


def _remaining(
    spans: Spans, durations: Durations, usual: Floats, worked: Floats, moving: Bools
) -> Floats:
    """The median time left, given how long each task has worked.

    The log-logistic survival halves where its logit has grown from z to log(1 + 2 exp(z)).
    """
    scatter = durations.scatter[spans.job]
    with np.errstate(divide="ignore", invalid="ignore"):
        z = (np.log(np.maximum(worked, _LEAST_S)) - np.log(usual)) / scatter
        end = usual * np.exp(scatter * np.logaddexp(0.0, z + np.log(2.0)))
        left = np.maximum(end - worked, 0.0)
        left = np.where(worked > _BEYOND * usual, np.fmax(left, _MORE_SHARE * worked), left)
        by_pace = worked * (1 - spans.fraction) / np.maximum(spans.fraction, _LEAST_DONE)
    left = np.where(moving, by_pace, left)
    return np.where(spans.done, 0.0, np.where(spans.running, left, np.nan))


def _waiting_end_s(spans: Spans, usual: Floats, remaining: Floats) -> Floats:
    """The seconds until the slots have done all other work than each task; -inf if no task waits.

    The largest that waits comes at the end (list scheduling; Graham, SIAM J. Applied Mathematics
    1969).
    """
    job, jobs = spans.job, spans.jobs
    running = np.where(spans.running, np.nan_to_num(remaining), 0.0)
    waiting = np.where(spans.waits, np.nan_to_num(usual), 0.0)
    largest = np.zeros(jobs)
    np.maximum.at(largest, job, waiting)
    total = summed(job, running + waiting, jobs)
    by_work = (total[job] - running) / np.maximum(spans.slots[job], 1) + largest[job]
    return np.where(summed(job, waiting, jobs)[job] > 0, by_work, -np.inf)


def _largest_other(job: Ints, jobs: int, values: Floats) -> Floats:
    """Each value's largest other one of its job; 0 if there is none."""
    order = np.lexsort((-values, job))
    first = starts(job[order])
    several = np.diff(np.append(first, len(order))) > 1
    top, second = np.zeros(jobs), np.zeros(jobs)
    top[job[order[first]]] = values[order[first]]
    second[job[order[first[several]]]] = values[order[first[several] + 1]]
    others = top[job]
    others[order[first]] = second[job[order[first]]]
    return others


def _leads(spans: Spans, usual: Floats, remaining: Floats, since: Floats) -> tuple[Floats, Floats]:
    """The time by which each task at work ends after all others, in seconds and as a share.

    The others end with the last of them that runs, or when the slots have done all that is left;
    if all have ended, they did so before now.
    """
    job = spans.job
    stop = np.where(spans.done, spans.ended_by - spans.now[job], np.nan_to_num(remaining))
    others = _largest_other(job, spans.jobs, stop)
    others = np.maximum(others, _waiting_end_s(spans, usual, remaining))
    lead = np.where(spans.running, remaining - others, np.nan)
    with np.errstate(invalid="ignore"):
        share = lead / np.maximum(spans.now[job] - since[job] + remaining, _LEAST_S)
    return lead, share
