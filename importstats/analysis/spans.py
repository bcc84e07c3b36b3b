"""Each task's start, duration and progress, as far as they are known at a time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

import numpy as np
import pandas as pd

from importstats.analysis.attempts import Attempts, Steps
from importstats.analysis.samples import FileSamples, in_microseconds
from importstats.analysis.tasks import group_files
from importstats.arrays import US_PER_S, Bools, Floats, Ints, ends, floats, starts, summed

# Rows grow inside files if this share of the tasks that were seen to move have more steps than
# files.
_SMOOTH_SHARE: Final = 0.5


@dataclass(frozen=True)
class Spans:
    """The facts about each task (or file) at a time: last attempt, size, progress.

    Attributes
    ----------
    samples : FileSamples
        The samples up to that time.
    of_file : ndarray of int64
        The unit of each file.
    jobs : int
        Number of jobs.
    now : ndarray of float64
        Per job, the time of its last snapshot; all times are in seconds since 1970.
    slots : ndarray of int64
        Per job, the most units that were seen at work at once.
    smooth : ndarray of bool
        Per job, whether rows grow inside files, so that the fraction measures work.
    job, files : ndarray of int64
        Per unit, its job and how many files it has.
    size_bytes, rows : ndarray of float64
        Per unit. If no size is known, rows stand for bytes, and 1 stands for rows.
    handed_after, handed_by, ended_after, ended_by, released_by : ndarray of float64
        The last attempt's times, see :class:`Attempts`; NaN if it waits.
    first_handed_by : ndarray of float64
        The first attempt's time.
    waits, running, done, failed : ndarray of bool
        A running unit is at work with rows missing; a done unit has all rows written or has failed;
        failed is as last seen.
    fraction, moved_at : ndarray of float64
        How much is done, as last seen, and when that last rose (NaN if it never did).
    rose_after, rose_by : ndarray of float64
        When the last attempt first showed more than at its start; NaN if it has not.
    steps, retries : ndarray of int64
        How many steps were seen between nothing and all, and how often it went back.
    wait_least_s, wait_most_s : ndarray of float64
        Bounds of how long the last attempt waited for its node, behind tasks that were handed over
        before it and have ended. The lower bound is above 0 only if rows grow inside files.
    attempts : Attempts
        All attempts.
    moves : Steps
        The samples behind all of this.
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
    rose_after: Floats
    rose_by: Floats
    steps: Ints
    retries: Ints
    wait_least_s: Floats
    wait_most_s: Floats
    attempts: Attempts
    moves: Steps

    @classmethod
    def from_details(
        cls,
        details: pd.DataFrame,
        at: datetime | pd.Timestamp | None = None,
        *,
        by: Literal["task", "file"] = "task",
    ) -> Spans:
        """The spans in a details frame, as known at a time (by default at its end)."""
        samples = FileSamples.from_details(details, None if at is None else in_microseconds(at))
        return cls.from_samples(samples, by=by)

    @classmethod
    def from_samples(cls, samples: FileSamples, *, by: Literal["task", "file"] = "task") -> Spans:
        """The spans in samples."""
        samples = samples.changes()
        of_file = group_files(samples)[0] if by == "task" else np.arange(len(samples.job))
        leader = _first_files(of_file)
        units = len(leader)
        moves = _leader_steps(samples, of_file, leader)
        attempts = moves.find_attempts(samples)
        job, jobs = samples.job[leader], len(samples.jobs)
        now = _last_times(samples)
        last = ends(np.flatnonzero(moves.first), len(moves.first))
        files = np.bincount(of_file, minlength=units)
        size, rows = _unit_sizes(samples, of_file, units)
        tries = attempts.last(units)
        begun = tries >= 0

        def of_last(values: Floats) -> Floats:
            return np.where(begun, values[tries], np.nan) if len(values) else np.full(units, np.nan)

        first_handed = np.full(units, np.nan)
        first_handed[attempts.unit[::-1]] = attempts.handed_by[::-1]
        handed_after, handed_by = of_last(attempts.handed_after), of_last(attempts.handed_by)
        shown = _Shown.from_moves(moves, handed_by, units)
        released = of_last(attempts.released_by)
        whole = np.isfinite(of_last(attempts.ended_by))
        smooth = _smooth(job, jobs, shown.steps, files, once=shown.retries == 0)
        behind_s = _longest_wait(job, handed_after, handed_by, released, now[job])
        wait_least, wait_most = _waits(
            behind_s, handed_by, shown, inside=smooth[job] & (shown.steps > 0)
        )
        return cls(
            samples,
            of_file,
            jobs,
            now,
            _most_at_once(job, jobs, handed_by, np.fmin(released, now[job])),
            smooth,
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
            moves.at_work[last] & ~whole,
            whole,
            _failed_at_last(samples, leader),
            moves.fraction[last],
            shown.moved,
            shown.rose_after,
            shown.rose_by,
            shown.steps,
            shown.retries,
            wait_least,
            wait_most,
            attempts,
            moves,
        )

    @property
    def begun(self) -> Bools:
        """Whether each unit was handed to a node and is not waiting again."""
        return self.running | self.done

    def end_least(self) -> Floats:
        """The earliest time at which each unit can have ended (now if it runs), NaN if it waits."""
        now = self.now[self.job]
        early = np.where(np.isnan(self.ended_after), self.handed_by, self.ended_after)
        return np.where(
            self.done, np.maximum(early, np.nan_to_num(self.handed_after, nan=-np.inf)), now
        )

    def duration_least(self) -> Floats:
        """The least seconds that each last attempt has taken; NaN if it waits."""
        least = np.maximum(self.end_least() - self.handed_by, 0.0)
        return np.where(self.begun, least, np.nan)

    def duration_most(self) -> Floats:
        """The most seconds it took; infinite while it runs, or if its start was not seen."""
        after = np.where(np.isnan(self.handed_after), -np.inf, self.handed_after)
        most = np.where(self.done, self.ended_by - after, np.inf)
        return np.where(self.begun, np.maximum(most, 0.0), np.nan)


def _first_files(of_file: Ints) -> Ints:
    """The index of each unit's first file."""
    first = np.zeros(int(of_file.max()) + 1 if len(of_file) else 0, np.int64)
    first[of_file[::-1]] = np.arange(len(of_file))[::-1]
    return first


def _last_times(samples: FileSamples) -> Floats:
    """Per job, its last snapshot, in seconds since 1970."""
    now = np.full(len(samples.jobs), -np.inf)
    np.maximum.at(now, samples.moment_job, samples.moment_time / US_PER_S)
    return now


def _leader_steps(samples: FileSamples, of_file: Ints, leader: Ints) -> Steps:
    """The steps of one file per unit, which stands for all: a task's files move together."""
    leads = np.zeros(len(of_file), np.bool_)
    leads[leader] = True
    chosen = np.flatnonzero(leads[samples.key])
    unit = of_file[samples.key[chosen]]
    order = np.argsort(unit, kind="stable")
    return Steps.from_samples(samples, chosen[order], unit[order])


@dataclass(frozen=True)
class _Shown:
    """Facts from each unit's progress; `Spans` has attributes with the same names."""

    steps: Ints
    retries: Ints
    moved: Floats
    rose_after: Floats
    rose_by: Floats

    @classmethod
    def from_moves(cls, moves: Steps, handed_by: Floats, units: int) -> _Shown:
        """The facts from the units' steps, given the handover time of each last attempt."""
        rises = ~moves.first & (moves.fraction > moves.fraction[moves.before])
        inside = rises & (moves.fraction > 0) & (moves.fraction < 1)
        moved = np.full(units, np.nan)
        moved[moves.unit[rises]] = moves.time[rises] / US_PER_S
        rose_after, rose_by = _first_rise(moves, handed_by, units)
        return cls(
            np.bincount(moves.unit[inside], minlength=units),
            np.bincount(moves.unit[moves.back], minlength=units),
            moved,
            rose_after,
            rose_by,
        )


def _failed_at_last(samples: FileSamples, leader: Ints) -> Bools:
    """Whether each unit was last seen Failed, as in a failed job even ended ones are."""
    last = ends(starts(samples.key), len(samples.key))
    return np.asarray(samples.in_state("failed")[last][leader], np.bool_)


def _unit_sizes(samples: FileSamples, of_file: Ints, units: int) -> tuple[Floats, Floats]:
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
    # At equal times ends come before starts, since a slot passes on.
    order = np.lexsort((change, time, of))
    level = np.cumsum(change[order])
    most = np.zeros(jobs, np.int64)
    np.maximum.at(most, of[order], level)
    return most


def _smooth(job: Ints, jobs: int, steps: Ints, files: Ints, *, once: Bools) -> Bools:
    """Per job, whether most tasks that move in steps show more steps than they have files.

    If n files end one by one, there are n - 1 steps between nothing and all.
    """
    stepped = (steps > 0) & once
    many = stepped & (steps >= files)
    of_stepped = np.bincount(job[stepped], minlength=jobs)
    return np.bincount(job[many], minlength=jobs) > _SMOOTH_SHARE * of_stepped


def _first_rise(moves: Steps, handed_by: Floats, units: int) -> tuple[Floats, Floats]:
    """The times between which each unit's last attempt first showed more than at its start."""
    before, time = moves.before, moves.time / US_PER_S
    more = np.where(moves.first, moves.fraction > 0, moves.fraction > moves.fraction[before])
    rises = np.flatnonzero(more & ~moves.waits & (time >= handed_by[moves.unit]))[::-1]
    after, by = np.full(units, np.nan), np.full(units, np.nan)
    after[moves.unit[rises]] = time[before[rises]]
    by[moves.unit[rises]] = time[rises]
    return after, by


def _waits(
    behind_s: Floats, handed_by: Floats, shown: _Shown, *, inside: Bools
) -> tuple[Floats, Floats]:
    """The least and the most that each unit waited for its node.

    A unit whose progress rose had begun before; if rows grow `inside` files, it began just before.
    """
    most = np.fmin(behind_s, np.maximum(shown.rose_by - handed_by, 0.0))
    least = np.where(inside, np.nan_to_num(np.maximum(shown.rose_after - handed_by, 0.0)), 0.0)
    most = np.where(inside, np.fmax(np.maximum(shown.rose_by - handed_by, 0.0), least), most)
    return least, np.nan_to_num(most)


def _longest_wait(
    job: Ints, handed_after: Floats, handed_by: Floats, released: Floats, now: Floats
) -> Floats:
    """The longest time that each unit can have waited behind earlier units of its job.

    A node takes no further task until all of its batch have ended. The server does not report the
    node, so it may be the one whose task ended last among those that were at work then. For those
    that still are, see :mod:`importstats.analysis.lateness`.
    """
    wait = np.zeros(len(job))
    known = np.flatnonzero(~np.isnan(handed_by))
    if not len(known):
        return wait
    order = known[np.lexsort((handed_by[known], job[known]))]
    base = handed_by[known].min()
    # Jobs are moved apart by more than any of their times, so that one running maximum serves all.
    apart = float(max(now[known].max() - base, 1.0)) * 2
    shift = job[order] * apart - base
    ended = np.isfinite(released[order])
    # A running unit's end is unknown: it counts for no wait, and must not hide an earlier job.
    latest = np.maximum.accumulate(np.where(ended, released[order], handed_by[order]) + shift)
    begins = handed_by[order] + shift
    since = np.where(np.isnan(handed_after[order]), -np.inf, handed_after[order] + shift)
    older = np.searchsorted(begins, since, side="right") - 1
    some = (older >= 0) & (job[order[np.maximum(older, 0)]] == job[order])
    bound = np.where(some, latest[np.maximum(older, 0)] - begins, 0.0)
    stop = np.where(ended, released[order], now[order])
    wait[order] = np.clip(bound, 0.0, np.maximum(stop - handed_by[order], 0.0))
    return wait
