"""When tasks were handed to a node and when their work ended, as intervals between polls.

The server does not say when a task began, and says nothing of its rows until whole files are
written. So each time is an interval, from the last poll that saw the state before to the first that
saw the state after, and of a task that runs is known only that it has *not ended yet*: interval-
and right-censoring (Klein and Moeschberger, Survival Analysis, 2nd edition, 2003, chapter 3).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

import numpy as np
import pandas as pd

from importstats.analysis.samples import (
    DONE_STATES,
    WAITING_STATES,
    FileSamples,
    in_microseconds,
)
from importstats.analysis.tasks import group_files
from importstats.arrays import (
    Bools,
    Floats,
    Ints,
    count_before,
    ends,
    floats,
    microseconds,
    starts,
    summed,
)

_US: Final = 1e6
# Rows grow inside files if so many of the tasks that were seen to move have more steps than files.
_SMOOTH_SHARE: Final = 0.5


@dataclass(frozen=True)
class Attempts:
    """Every attempt at every unit (a file, or a task by one of its files), in order of time.

    All times are seconds since 1970, NaN where nothing is known.

    Attributes
    ----------
    unit : ndarray of int64
        The file or task, ascending.
    handed_after, handed_by : ndarray of float64
        It was handed to a node between the last poll that saw it wait and the first that saw it at
        work; `handed_after` is NaN if it was at work at the first sight.
    ended_after, ended_by : ndarray of float64
        Its work ended between the last poll that saw a part missing and the first that saw all
        rows, or the server's time of the end if that is earlier; infinite while it has not ended.
    released_by : ndarray of float64
        By when the server called it Completed or Failed; infinite before.
    back_after, back_by : ndarray of float64
        It went back to the queue between these polls; infinite if it did not.
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
        """The place of each unit's last attempt, -1 where it has none."""
        found = np.full(units, -1)
        found[self.unit] = np.arange(len(self.unit))
        return found


@dataclass(frozen=True)
class Steps:
    """The samples of some files, up to the first that shows the file's end, and what they show.

    Attributes
    ----------
    unit, time, slot : ndarray of int64
        Per sample its unit, microseconds since 1970, and the place among its job's snapshots.
    first : ndarray of bool
        Whether it is the first of its unit.
    fraction : ndarray of float64
        How much is done, 0 to 1; of a failed file what it was before it failed.
    at_work, waits, done, failed, back : ndarray of bool
        What its state says, and whether it went back since the sample before.
    complete_time : ndarray of float64
        The server's time of the end in seconds, NaN where there is none.
    """

    unit: Ints
    time: Ints
    slot: Ints
    first: Bools
    fraction: Floats
    at_work: Bools
    waits: Bools
    done: Bools
    failed: Bools
    back: Bools
    complete_time: Floats

    @classmethod
    def of(cls, samples: FileSamples, chosen: Ints, unit: Ints) -> Steps:
        """The steps of the samples at `chosen`, whose units are `unit` (ascending)."""
        done = samples.in_state(*DONE_STATES)[chosen]
        first = np.diff(unit, prepend=-1) != 0
        # What a server says of a file after its end is no news: its rows fall to 0 in time.
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
            samples.slot[chosen],
            first,
            fraction,
            at_work,
            waits,
            done,
            failed,
            back,
            _complete_times(samples, chosen),
        )

    @property
    def before(self) -> Ints:
        """Per sample the place of the one before of its unit, itself if it is the first."""
        return np.arange(len(self.unit)) - ~self.first

    def attempts(self, samples: FileSamples) -> Attempts:
        """The attempts that these steps show."""
        before, time = self.before, self.time / _US
        since = np.where(self.first, _slot_before(samples, self.slot), time[before])
        begins = (self.at_work | self.done) & (self.first | self.waits[before] | self.back)
        number = np.cumsum(begins) - 1
        count = int(begins.sum())
        whole = (self.done | (self.at_work & (self.fraction >= 1))) & (number >= 0)
        ended = whole & (begins | ~whole[before])
        told = np.where(self.done, self.complete_time, np.nan)
        by = np.where(np.isnan(told), time, np.clip(told, np.nan_to_num(since, nan=-np.inf), time))

        def at(happens: Bools, values: Floats, otherwise: float = np.inf) -> Floats:
            found = np.full(count, otherwise)
            places = np.flatnonzero(happens & (number >= 0))[::-1]
            found[number[places]] = values[places]
            return found

        # A step back that is at work again at once closes the attempt before the one it begins.
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
            np.where(lost, np.inf, at(ended, since)),
            np.where(lost, np.inf, at(ended, by)),
            at(self.done, by),
            back_after,
            back_by,
        )


def _complete_times(samples: FileSamples, chosen: Ints) -> Floats:
    frame, row = samples.frame, samples.row[chosen]
    if "complete_time" not in frame:
        return np.full(len(row), np.nan)
    time, known = microseconds(frame, "complete_time")
    return np.where(known, time / _US, np.nan)[row]


def _slot_before(samples: FileSamples, slot: Ints) -> Floats:
    """The time of the job's snapshot before, in seconds.

    Before the first it is as long ago as the second is later, if by then no file had moved: the
    list had just appeared. Else NaN: recording began in the middle.
    """
    before = np.maximum(slot - 1, 0)
    same = (slot > 0) & (samples.slot_job[before] == samples.slot_job[slot])
    since = np.where(same, samples.slot_time[before] / _US, np.nan)
    opens = starts(samples.slot_job)
    gap = np.zeros(len(samples.jobs))
    more = opens[ends(opens, len(samples.slot_job)) > opens]
    gap[samples.slot_job[more]] = np.diff(samples.slot_time, append=0)[more] / _US
    at_first = np.zeros(len(samples.slot_job), np.bool_)
    at_first[opens] = True
    seen = np.flatnonzero(at_first[samples.slot])
    moved = (np.nan_to_num(samples.share()[seen]) > 0) | samples.in_state(*DONE_STATES)[seen]
    fresh = np.ones(len(samples.jobs), np.bool_)
    fresh[samples.slot_job[samples.slot[seen[moved]]]] = False
    job = samples.slot_job[slot]
    guess = samples.slot_time[slot] / _US - gap[job]
    return np.where(~same & fresh[job], guess, since)


@dataclass(frozen=True)
class Spans:
    """What is known of each task (or file) at a time: its last attempt, its size, its progress.

    Attributes
    ----------
    samples : FileSamples
        What was observed until then.
    of_file : ndarray of int64
        Per file, its unit here.
    jobs : int
        Number of jobs.
    now : ndarray of float64
        Per job, its last snapshot, in seconds since 1970 as all times here.
    slots : ndarray of int64
        Per job, the most units that were seen at work at once.
    smooth : ndarray of bool
        Per job, whether rows grow inside single files, so that the fraction measures work.
    job, files : ndarray of int64
        Per unit, its job and how many files it has.
    size_bytes, rows : ndarray of float64
        Per unit. Where no size is known rows stand for bytes, and 1 for rows.
    handed_after, handed_by, ended_after, ended_by, released_by : ndarray of float64
        Of the last attempt, see :class:`Attempts`; NaN where it waits.
    first_handed_by : ndarray of float64
        Of the first attempt.
    waits, running, done, failed : ndarray of bool
        Running is at work with rows missing; done is all rows written, or the end of a failure.
    fraction, moved_at : ndarray of float64
        How much is done as last seen, and when that last rose (NaN if it never did).
    steps, retries : ndarray of int64
        How many parts were seen between nothing and all, and how often it went back.
    wait_most_s : ndarray of float64
        How long at most it waited behind tasks that were handed over before it.
    attempts : Attempts
        All attempts.
    moves : Steps
        The samples behind all this.
    """

    samples: FileSamples
    of_file: Ints
    jobs: int
    now: Floats
    slots: Ints
    smooth: Bools
    job: Ints
    files: Ints
    size_bytes: Floats
    rows: Floats
    handed_after: Floats
    handed_by: Floats
    ended_after: Floats
    ended_by: Floats
    released_by: Floats
    first_handed_by: Floats
    waits: Bools
    running: Bools
    done: Bools
    failed: Bools
    fraction: Floats
    moved_at: Floats
    steps: Ints
    retries: Ints
    wait_most_s: Floats
    attempts: Attempts
    moves: Steps

    @classmethod
    def of(
        cls,
        details: pd.DataFrame,
        at: datetime | pd.Timestamp | None = None,
        *,
        by: Literal["task", "file"] = "task",
    ) -> Spans:
        """The spans in a details frame, as known at a time (by default of all of it)."""
        samples = FileSamples.of(details, None if at is None else in_microseconds(at))
        return cls.among(samples, by=by)

    @classmethod
    def among(cls, samples: FileSamples, *, by: Literal["task", "file"] = "task") -> Spans:
        """The spans in samples."""
        if by == "task":
            of_file, _ = group_files(samples)
        else:
            of_file = np.arange(len(samples.job))
        units = int(of_file.max()) + 1 if len(of_file) else 0
        leader = np.zeros(units, np.int64)
        leader[of_file[::-1]] = np.arange(len(of_file))[::-1]
        leads = np.zeros(len(of_file), np.bool_)
        leads[leader] = True
        chosen = np.flatnonzero(leads[samples.key])
        unit = of_file[samples.key[chosen]]
        order = np.argsort(unit, kind="stable")
        moves = Steps.of(samples, chosen[order], unit[order])
        attempts = moves.attempts(samples)
        job, jobs = samples.job[leader], len(samples.jobs)
        now = np.full(jobs, -np.inf)
        np.maximum.at(now, samples.slot_job, samples.slot_time / _US)
        last = ends(np.flatnonzero(moves.first), len(moves.first))
        files = np.bincount(of_file, minlength=units)
        size, rows = _sizes(samples, of_file, units)
        tries = attempts.last(units)
        begun = tries >= 0

        def of_last(values: Floats) -> Floats:
            return np.where(begun, values[tries], np.nan) if len(values) else np.full(units, np.nan)

        first_handed = np.full(units, np.nan)
        first_handed[attempts.unit[::-1]] = attempts.handed_by[::-1]
        rises = ~moves.first & (moves.fraction > moves.fraction[moves.before])
        inside = rises & (moves.fraction > 0) & (moves.fraction < 1)
        steps = np.bincount(moves.unit[inside], minlength=units)
        retries = np.bincount(moves.unit[moves.back], minlength=units)
        moved = np.full(units, np.nan)
        moved[moves.unit[rises]] = moves.time[rises] / _US
        handed_after, handed_by = of_last(attempts.handed_after), of_last(attempts.handed_by)
        released = of_last(attempts.released_by)
        whole = np.isfinite(of_last(attempts.ended_by))
        at_work = moves.at_work[last]
        stop = np.where(np.isfinite(released), released, now[job])
        return cls(
            samples,
            of_file,
            jobs,
            now,
            _most_at_once(job, jobs, handed_by, stop),
            _smooth(job, jobs, steps, files, once=retries == 0),
            job,
            files,
            size,
            rows,
            handed_after,
            handed_by,
            of_last(attempts.ended_after),
            of_last(attempts.ended_by),
            released,
            first_handed,
            moves.waits[last],
            at_work & ~whole,
            whole,
            moves.failed[last],
            moves.fraction[last],
            moved,
            steps,
            retries,
            _longest_wait(job, handed_after, handed_by, stop),
            attempts,
            moves,
        )

    @property
    def begun(self) -> Bools:
        """Whether it was ever handed to a node and is not waiting again."""
        return self.running | self.done

    def end_least(self) -> Floats:
        """The earliest it can have ended (if it runs: now), NaN where it waits."""
        now = self.now[self.job]
        early = np.where(np.isnan(self.ended_after), self.handed_by, self.ended_after)
        return np.where(
            self.done, np.maximum(early, np.nan_to_num(self.handed_after, nan=-np.inf)), now
        )

    def duration_least(self) -> Floats:
        """How long at least its last attempt has taken, in seconds; NaN where it waits."""
        least = np.maximum(self.end_least() - self.handed_by, 0.0)
        return np.where(self.begun, least, np.nan)

    def duration_most(self) -> Floats:
        """How long at most it took; infinite while it runs, or where its start was not seen."""
        after = np.where(np.isnan(self.handed_after), -np.inf, self.handed_after)
        most = np.where(self.done, self.ended_by - after, np.inf)
        return np.where(self.begun, np.maximum(most, 0.0), np.nan)


def _sizes(samples: FileSamples, of_file: Ints, units: int) -> tuple[Floats, Floats]:
    last = samples.row[ends(starts(samples.key), len(samples.key))]
    rows = summed(of_file, np.nan_to_num(floats(samples.frame, "total_rows")[last]), units)
    size = summed(of_file, np.nan_to_num(floats(samples.frame, "file_size_bytes")[last]), units)
    return np.where(size > 0, size, np.maximum(rows, 1.0)), rows


def _most_at_once(job: Ints, jobs: int, handed: Floats, stop: Floats) -> Ints:
    """Per job, the most units that were at work at once."""
    known = np.flatnonzero(~np.isnan(handed))
    time = np.concatenate([handed[known], stop[known]])
    of = np.concatenate([job[known], job[known]])
    change = np.repeat([1, -1], len(known))
    # Of those that change at one time the ends come first: a slot passes on.
    order = np.lexsort((change, time, of))
    level = np.cumsum(change[order])
    most = np.zeros(jobs, np.int64)
    np.maximum.at(most, of[order], level)
    return most


def _smooth(job: Ints, jobs: int, steps: Ints, files: Ints, *, once: Bools) -> Bools:
    """Per job, whether most tasks that move in steps show more of them than whole files make.

    Of n files that end one by one there are n - 1 steps between nothing and all.
    """
    stepped = (steps > 0) & once
    many = stepped & (steps >= files)
    of_stepped = np.bincount(job[stepped], minlength=jobs)
    return np.bincount(job[many], minlength=jobs) > _SMOOTH_SHARE * of_stepped


def _longest_wait(job: Ints, handed_after: Floats, handed_by: Floats, stop: Floats) -> Floats:
    """How long at most each unit waited behind units of its job that were handed over before it.

    A node takes no further task until all of its batch have ended; which node it is nobody says, so
    it may be that of the last to end among those that were at work then.
    """
    wait = np.zeros(len(job))
    known = np.flatnonzero(~np.isnan(handed_by))
    if not len(known):
        return wait
    order = known[np.lexsort((handed_by[known], job[known]))]
    base = handed_by[known].min()
    # Jobs apart by more than any time in them, so that one running maximum serves them all.
    apart = float(max(stop[known].max() - base, 1.0)) * 2
    shift = job[order] * apart - base
    latest = np.maximum.accumulate(stop[order] + shift)
    begins = handed_by[order] + shift
    since = np.where(np.isnan(handed_after[order]), -np.inf, handed_after[order] + shift)
    older = np.searchsorted(begins, np.maximum(since, job[order] * apart - 1), side="right") - 1
    some = (older >= 0) & (job[order[np.maximum(older, 0)]] == job[order]) & np.isfinite(since)
    bound = np.where(some, latest[np.maximum(older, 0)] - begins, 0.0)
    wait[order] = np.clip(bound, 0.0, stop[order] - handed_by[order])
    return wait
