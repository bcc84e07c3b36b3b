"""All attempts at all tasks: between which polls each was handed over, ended or went back.

The server does not say when a task began, and reports no rows until whole files are written. So
each time is an interval, from the last poll that saw the earlier state to the first that saw the
later one, and a running task shows only that it has *not ended yet*: interval- and right-censoring
(Klein and Moeschberger, Survival Analysis, 2nd edition, 2003, chapter 3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from importstats.analysis.samples import DONE_STATES, WAITING_STATES, FileSamples
from importstats.arrays import US_PER_S, Bools, Floats, Ints, count_before, microseconds, starts


@dataclass(frozen=True)
class Attempts:
    """All attempts at all units (files, or tasks represented by one file each), in order of time.

    All times are seconds since 1970, NaN if nothing is known.

    Attributes
    ----------
    unit : ndarray of int64
        The file or task, ascending.
    handed_after, handed_by : ndarray of float64
        It was handed to a node between the last poll that saw it wait and the first that saw it at
        work; `handed_after` is NaN if it was already at work when first seen.
    ended_after, ended_by : ndarray of float64
        Its work ended between the last poll that saw a part missing and the first that saw all
        rows, or the server's time of the end if that is earlier; infinite while it has not ended.
    released_by : ndarray of float64
        The first poll that saw it Completed or Failed; infinite before.
    back_after, back_by : ndarray of float64
        It went back to the queue between these two polls; infinite if it did not.
    """

    unit: Ints
    handed_after: Floats
    handed_by: Floats
    ended_after: Floats
    ended_by: Floats
    released_by: Floats
    back_after: Floats
    back_by: Floats

    def last(self, units: int) -> Ints:
        """The index of each unit's last attempt, -1 if it has none."""
        found = np.full(units, -1)
        found[self.unit] = np.arange(len(self.unit))
        return found


@dataclass(frozen=True)
class Steps:
    """The samples of some files, up to the first that shows the file's end, and their facts.

    Attributes
    ----------
    unit, time, moment : ndarray of int64
        Each sample's unit, its microseconds since 1970, and its place among its job's snapshots.
    first : ndarray of bool
        Whether it is its unit's first sample.
    fraction : ndarray of float64
        How much is done, 0 to 1; for a failed file, as of before it failed.
    at_work, waits, retrying, done, failed, back : ndarray of bool
        What its state means, and whether it went back since the sample before.
    complete_time : ndarray of float64
        The server's time of the end in seconds, NaN if there is none.
    """

    unit: Ints
    time: Ints
    moment: Ints
    first: Bools
    fraction: Floats
    at_work: Bools
    waits: Bools
    retrying: Bools
    done: Bools
    failed: Bools
    back: Bools
    complete_time: Floats

    @classmethod
    def from_samples(cls, samples: FileSamples, chosen: Ints, unit: Ints) -> Steps:
        """The steps of the samples at `chosen`, whose units are `unit` (ascending)."""
        done = samples.in_state(*DONE_STATES)[chosen]
        first = np.diff(unit, prepend=-1) != 0
        # What a server reports about a file after its end is no news: its rows fall to 0 in time.
        kept = count_before(done, np.flatnonzero(first)) == 0
        chosen, unit, done, first = chosen[kept], unit[kept], done[kept], first[kept]
        waits = samples.in_state(*WAITING_STATES, "retry")[chosen]
        failed = samples.in_state("failed")[chosen]
        fraction = np.where(done & ~failed, 1.0, samples.share()[chosen])
        unknown = np.isnan(fraction) | failed
        place = np.where(unknown & ~first, 0, np.arange(len(fraction)))
        fraction = np.nan_to_num(fraction[np.maximum.accumulate(place)])
        before = np.arange(len(unit)) - ~first
        at_work = ~(waits | done)
        back = ~first & ~failed & ((fraction < fraction[before]) | (at_work[before] & waits))
        return cls(
            unit,
            samples.time[chosen],
            samples.moment[chosen],
            first,
            fraction,
            at_work,
            waits,
            samples.in_state("retry")[chosen],
            done,
            failed,
            back,
            _complete_times(samples, chosen),
        )

    @property
    def before(self) -> Ints:
        """The index of each sample's predecessor in its unit; the first has its own."""
        return np.arange(len(self.unit)) - ~self.first

    def find_attempts(self, samples: FileSamples) -> Attempts:
        """The attempts that the steps show."""
        before, time = self.before, self.time / US_PER_S
        since = np.where(self.first, _moment_before(samples, self.moment), time[before])
        begins = (self.at_work | self.done) & (self.first | self.waits[before] | self.back)
        number = np.cumsum(begins) - 1
        count = int(begins.sum())
        whole = (self.done | (self.at_work & (self.fraction >= 1))) & (number >= 0)
        ended = whole & (begins | ~whole[before])
        reported = np.where(self.done, self.complete_time, np.nan)
        by = np.where(
            np.isnan(reported), time, np.clip(reported, np.nan_to_num(since, nan=-np.inf), time)
        )

        def first_value(happens: Bools, values: Floats) -> Floats:
            found = np.full(count, np.inf)
            places = np.flatnonzero(happens & (number >= 0))[::-1]
            found[number[places]] = values[places]
            return found

        # A step back that is at work again at once ends one attempt and begins the next.
        back = np.flatnonzero(self.back)
        closed = number[back] - begins[back]
        back_by, back_after = np.full(count, np.inf), np.full(count, np.inf)
        known = closed >= 0
        back_by[closed[known]] = time[back[known]]
        back_after[closed[known]] = since[back[known]]
        lost = np.isfinite(back_by)
        return Attempts(
            self.unit[begins],
            since[begins],
            time[begins],
            np.where(lost, np.inf, first_value(ended, since)),
            np.where(lost, np.inf, first_value(ended, by)),
            first_value(self.done, by),
            back_after,
            back_by,
        )


def _poll_s(samples: FileSamples) -> Floats:
    """Per job, the shortest time between two snapshots that differ; 0 if none do.

    In runs, only such snapshots are sure to be neighbours.
    """
    state, _ = samples.states
    progress = np.nan_to_num(samples.values("progress_pct"), nan=-1.0)
    changed = np.zeros(len(samples.key), np.bool_)
    changed[1:] = np.diff(samples.key) == 0
    changed[1:] &= (state[1:] != state[:-1]) | (progress[1:] != progress[:-1])
    at = np.flatnonzero(changed)
    gap = np.full(len(samples.jobs), np.inf)
    apart = (samples.time[at] - samples.time[at - 1]) / US_PER_S
    np.minimum.at(gap, samples.job[samples.key[at]], apart)
    return np.where(np.isfinite(gap), gap, 0.0)


def _complete_times(samples: FileSamples, chosen: Ints) -> Floats:
    frame, row = samples.frame, samples.row[chosen]
    if "complete_time" not in frame:
        return np.full(len(row), np.nan)
    time, known = microseconds(frame, "complete_time")
    return np.where(known, time / US_PER_S, np.nan)[row]


def _moment_before(samples: FileSamples, moment: Ints) -> Floats:
    """The time of the job's previous snapshot, in seconds.

    For the first snapshot this is one shortest pause earlier if no file had ended by then, since
    the list had probably just appeared (ours: it had in 54 of 60 jobs in which files had moved).
    Else it is NaN, since recording began in the middle.
    """
    # The first has no predecessor: its -1 is the last sample, which `same` leaves out.
    before = moment - 1
    same = (moment > 0) & (samples.moment_job[before] == samples.moment_job[moment])
    since = np.where(same, samples.moment_time[before] / US_PER_S, np.nan)
    opens = starts(samples.moment_job)
    gap = _poll_s(samples)
    at_first = np.zeros(len(samples.moment_job), np.bool_)
    at_first[opens] = True
    seen = np.flatnonzero(at_first[samples.moment])
    done = samples.in_state(*DONE_STATES)[seen]
    fresh = np.ones(len(samples.jobs), np.bool_)
    fresh[samples.moment_job[samples.moment[seen[done]]]] = False
    job = samples.moment_job[moment]
    guess = samples.moment_time[moment] / US_PER_S - gap[job]
    return np.where(~same & fresh[job], guess, since)
