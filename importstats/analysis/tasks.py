"""The import task of each file, which the server does not report.

The data coordinator sorts a job's files by size and fills tasks, from the smallest up, to a cap
(``RegroupImportFiles`` in ``internal/datacoord/import_util.go``); files of a task share its state,
progress and end. So files with the same history are taken to be one task as far as the cap allows.
The cap is inferred from the job: the next file in the order of sizes did not fit any more.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from importstats.analysis.samples import DONE_STATES, WAITING_STATES, FileSamples, in_microseconds
from importstats.arrays import Bools, Floats, Ints, count_before, ends, floats, microseconds, starts
from importstats.names import JOB_KEY

#: No task has more bytes (``dataCoord.import.maxSizeInMBPerImportTask`` is 16 GB in 2.6 and 3.0).
MOST_BYTES: Final = 16 * 2.0**30
# Which of a job's bounds on the cap is believed: the server sorts by size in memory and not by file
# size, so the very smallest bound may be wrong.
_BOUND_QUANTILE: Final = 0.1
# How far sizes on disk can differ from those in memory: for the file that did not fit, and for the
# files near the largest of a group.
_BOUND_SLACK: Final = 0.1
_GROUP_SLACK: Final = 0.05
_LARGE_SHARE: Final = 0.25
_US: Final = 1_000_000


def infer_tasks(details: pd.DataFrame, at: datetime | pd.Timestamp | None = None) -> pd.DataFrame:
    """Each file's import task, inferred from the files' histories.

    * Files belong to one task if they had the same state and progress at every snapshot, went to
      work between the same two snapshots, and have the same ``complete_time``, which is the second
      in which the server noticed the task's end.
    * Two tasks can have the same history by chance; equal files end together. A task holds at most
      what the cap allows, so a larger group is cut, by size, into as many tasks as it needs. The
      cap is smaller than the bytes of any group together with the next larger file, since that file
      would have been added. (Ours; the bound inverts the server's way of filling tasks.)
    * Files that still wait, or that were only seen at work without progress, each count as a task
      until the job has shown its cap; then they are grouped by it.

    Parameters
    ----------
    details : DataFrame
        A details frame, see :mod:`importstats.frames`.
    at : datetime, optional
        Only what was observed until then is used. By default all of it.

    Returns
    -------
    DataFrame
        One row per file, ordered by job and place:

        ``source_uri``, ``job_id`` : category or str
        ``file_index`` : int64
        ``file`` : category or str
        ``task`` : int64
            The smallest ``file_index`` of the task's files.

    Examples
    --------
    >>> times = pd.date_range("2026-05-18", periods=3, freq="10s", tz="UTC")
    >>> details = pd.DataFrame({
    ...     "observed_at": times.repeat(3), "source_uri": "u", "job_id": "7",
    ...     "file_index": [0, 1, 2] * 3, "file": ["a", "b", "c"] * 3,
    ...     "state": "InProgress", "progress_pct": [0, 0, 0, 50, 50, 0, 50, 50, 100],
    ...     "imported_rows": [0, 0, 0, 50, 100, 0, 50, 100, 90], "total_rows": [100, 200, 90] * 3})
    >>> infer_tasks(details)["task"].tolist()
    [0, 0, 2]
    """
    until = None if at is None else in_microseconds(at)
    samples = FileSamples.from_details(details, until)
    task, tasks = group_files(samples)
    return (
        samples.keys()
        .assign(task=tasks["task"].to_numpy()[task])
        .sort_values([*JOB_KEY, "file_index"], ignore_index=True)
    )


def group_files(samples: FileSamples) -> tuple[Ints, pd.DataFrame]:
    """The number of each file's task, and the tasks (job and ``task``); see :func:`infer_tasks`.

    Tasks are numbered by job and by the position of their first file.
    """
    first = starts(samples.key)
    last = samples.row[ends(first, len(samples.key))]
    place = samples.frame["file_index"].to_numpy(np.int64)[last]
    size = np.nan_to_num(floats(samples.frame, "file_size_bytes")[last])
    history, has_progress = _histories(samples)
    order = np.lexsort((place, size, history, samples.job))
    new = np.ones(len(order), np.bool_)
    new[1:] = (np.diff(samples.job[order]) != 0) | (np.diff(history[order].view(np.int64)) != 0)
    group = np.cumsum(new) - 1
    part = _task_numbers(
        group, samples.job[order], size[order], has_progress[order], len(samples.jobs)
    )
    new[1:] |= np.diff(part) != 0
    # Numbered by the position of their first file.
    number = np.cumsum(new) - 1
    smallest = np.full(int(new.sum()), np.iinfo(np.int64).max)
    np.minimum.at(smallest, number, place[order])
    job = samples.job[order[new]]
    by_place = np.lexsort((smallest, job))
    rank = np.empty(len(by_place), np.int64)
    rank[by_place] = np.arange(len(by_place))
    task = np.empty(len(order), np.int64)
    task[order] = rank[number]
    tasks = samples.jobs.iloc[job[by_place]].reset_index(drop=True)
    return task, tasks.assign(task=smallest[by_place])


def _histories(samples: FileSamples) -> tuple[npt.NDArray[np.uint64], Bools]:
    """A number for each file, equal for equal histories, and whether it shows more than a start.

    The number is the sum of hashes of each change and its time, which is equal for files that
    changed alike.
    """
    state, _ = samples.states
    done = samples.in_state(*DONE_STATES)
    at_work = ~(samples.in_state(*WAITING_STATES) | done)
    progress = samples.values("progress_pct")
    np.nan_to_num(progress, copy=False, nan=-1.0)
    first = starts(samples.key)
    is_first = np.zeros(len(state), np.bool_)
    is_first[first] = True
    ended_before = count_before(done, first)
    finishes = done & (ended_before == 0)
    changes = np.ones(len(state), np.bool_)
    changes[1:] = (state[1:] != state[:-1]) | (progress[1:] != progress[:-1])
    changes |= is_first
    # A file that waits has no history yet, and changes after its end do not count.
    counts = np.flatnonzero(((changes & at_work) | finishes) & (ended_before == 0))
    what = np.where(finishes[counts], -1.0, progress[counts] * 64 + state[counts])
    hashed = _hashes(_hashes(samples.moment[counts].astype(np.uint64)) + what.view(np.uint64))
    history = np.zeros(len(first), np.uint64)
    np.add.at(history, samples.key[counts], hashed)
    if "complete_time" in samples.frame:
        time, known = microseconds(samples.frame, "complete_time")
        ended = np.flatnonzero(finishes)
        ended = ended[known[samples.row[ended]]]
        second = (time[samples.row[ended]] // _US).astype(np.uint64)
        history[samples.key[ended]] += _hashes(second + np.uint64(1))
    shown = finishes | (at_work & (progress > 0))
    has_progress = np.bincount(samples.key[shown], minlength=len(first)) > 0
    return history, has_progress


def _task_numbers(group: Ints, job: Ints, size: Floats, has_progress: Bools, jobs: int) -> Ints:
    """The number of each file's task within its group; files are sorted by size in a group."""
    if not len(group):
        return group
    first = starts(group)
    of = job[first]
    count = np.diff(np.append(first, len(group)))
    total = np.add.reduceat(size, first)
    largest = size[ends(first, len(size))]
    cap, usual = _caps(first, of, count, total, size, has_progress, jobs)
    rank = np.arange(len(group)) - np.repeat(first, count)
    unknown = np.isnan(cap[of])
    limit = np.minimum(np.where(unknown, MOST_BYTES, cap[of]), MOST_BYTES)
    over = (total > limit + _GROUP_SLACK * (total - largest)) & (count > 1)
    share = np.where(unknown, MOST_BYTES, usual[of])
    likely = np.rint(total / np.maximum(share, 1.0))
    # Of few files none that did not fit is small beside a task.
    likely = np.where(largest > _LARGE_SHARE * limit, np.maximum(likely, 2), np.maximum(likely, 1))
    needed = np.where(over, likely, 1)
    needed = np.minimum(needed, count)
    # If nothing is known about files, each is a task of its own.
    needed = np.where(unknown & ~has_progress[first], count, needed)
    needed = np.repeat(needed, count)
    within = np.cumsum(size) - size
    within -= np.repeat(within[first], count)
    whole = np.repeat(total, count)
    with np.errstate(divide="ignore", invalid="ignore"):
        by_size = np.floor((within + size / 2) / whole * needed)
    part = np.where(whole > 0, np.minimum(np.nan_to_num(by_size), needed - 1), 0)
    return np.where(needed == np.repeat(count, count), rank, part).astype(np.int64)


def _caps(
    first: Ints, job: Ints, count: Ints, total: Floats, size: Floats, has_progress: Bools, jobs: int
) -> tuple[Floats, Floats]:
    """Each job's upper bound of a task's bytes, and a usual task's bytes; NaN if unknown.

    The bound comes from each group that has shown more than a start: its bytes and the job's next
    larger file. The smallest group may be the remainder after the last full one, so its bound is
    left out.
    """
    cap, usual = np.full(jobs, np.nan), np.full(jobs, np.nan)
    largest = size[ends(first, len(size))]
    known = np.flatnonzero(has_progress[first] & (total > 0))
    if not len(known):
        return cap, usual
    # The next larger file of the job, by one search over all jobs.
    file_job = np.repeat(job, count)
    order = np.lexsort((size, file_job))
    top = float(size.max()) + 1.0
    axis = file_job[order] * top + size[order]
    after = np.searchsorted(axis, job[known] * top + largest[known], side="right")
    there = after < len(axis)
    there[there] &= file_job[order][after[there]] == job[known][there]
    following = np.where(there, size[order][np.minimum(after, len(axis) - 1)], largest[known])
    bound = total[known] + (1 - _BOUND_SLACK) * following
    ranked = np.lexsort((bound, job[known]))
    of = job[known][ranked]
    begin = starts(of)
    groups = np.diff(np.append(begin, len(of)))
    place = np.minimum(np.maximum(np.ceil(_BOUND_QUANTILE * groups), 1), groups - 1)
    enough = groups >= 3
    chosen = ranked[(begin + place.astype(np.int64))[enough]]
    cap[of[begin[enough]]] = bound[chosen]
    usual[of[begin[enough]]] = total[known][chosen]
    return cap, usual


def _hashes(value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """A hash of each value: the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
