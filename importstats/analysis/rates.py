"""Throughput: rows and bytes per second of jobs, files, tasks and collections over time.

The server says how many rows are there, at times that are as irregular as the polls. A rate is the
difference of two samples by the time between them; a windowed rate takes the straight line between
samples for the truth and reads off where it was a window ago.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from importstats.analysis.phase import job_codes
from importstats.arrays import (
    Bools,
    Floats,
    Ints,
    carried,
    compact,
    dense,
    ends,
    floats,
    microseconds,
    order_by,
    running_total,
    starts,
    summed,
    timestamps,
)
from importstats.names import JOB_KEY

By = Literal["job", "file", "task", "collection"]


#: A file in one of these states takes part in nothing yet.
WAITING_STATES: Final = ("", "none", "pending")
#: A file in one of these states does nothing any more.
DONE_STATES: Final = ("completed", "failed")

_US: Final = 1e6
# How far rows / total_rows may be from progress, which is a whole percent of the same thing.
_SAME_SHARE: Final = 0.015
_LEAST_SHARE: Final = 1e-12
# Steps of progress above zero that files must share to be taken for one task.
_SURE_STEPS: Final = 2


def throughput(frame: pd.DataFrame, by: By = "job", window: str = "60s") -> pd.DataFrame:
    """Rows and bytes per second, at every sample of every job, file, task or collection.

    * *Rows that fall* (a retried task, a restarted node) are no negative rate. ``rows_delta``
      counts the rows written, also those written again, ``rows_lost`` those that vanished;
      ``rows_delta - rows_lost`` is the change of ``imported_rows``. A job's own numbers show only
      what is left when some files gain and others lose; from a details frame both are seen.
    * *A file that is first seen later than its job* has written its rows since the job's snapshot
      before; one that is there at the first snapshot has written them nobody knows when, so its
      first ``rows_delta`` is missing.
    * *Samples without a row count* are left out, as are the zeros of a Failed job and its
      files: it forgets its rows when it fails.
    * *Bytes* are not reported; they are ``file_size_bytes`` by the share of rows, of a file by its
      ``progress_pct`` if ``total_rows`` does not fit it (some servers send the job's total).
    * *A collection* sums jobs that are seen at different times: between two samples of a job its
      rows are spread evenly, and at every sample of any job all are added up.

    A runs frame has a sample where a value changes and one at the last snapshot before it changes,
    an expanded frame one at every snapshot; totals and rates at the samples in common are equal.

    Parameters
    ----------
    frame : DataFrame
        A jobs frame (by job or collection) or a details frame (by any), in any order.
    by : {"job", "file", "task", "collection"}
        What a rate is of. Tasks are inferred, see :func:`infer_tasks`.
    window : str
        Length of the trailing window, as pandas writes durations.

    Returns
    -------
    DataFrame
        Ordered by key and time. The key columns (``source_uri``, ``job_id``, and ``file_index``
        with ``file``, or ``task``; of a collection ``source_uri``, ``db_name`` if the frame has
        it, ``collection_name``) and

        ``observed_at`` : datetime64[us, UTC]
        ``interval_s`` : float64
            Since the sample before; NaN at the first.
        ``imported_rows``, ``rows_delta``, ``rows_lost`` : Int64
            Missing at the first sample: the deltas.
        ``rows_per_s``, ``bytes_per_s`` : float64
            Over the interval; NaN if it has no length.
        ``rows_per_s_window``, ``bytes_per_s_window`` : float64
            Over the trailing window, or since the first sample if that is less.
        ``rows_per_s_mean`` : float64
            Since the last sample at which nothing was written yet.

    Raises
    ------
    ValueError
        `by` needs a details frame and this is none, or `window` is no positive duration.

    Examples
    --------
    >>> jobs = pd.DataFrame({
    ...     "source_uri": "http://localhost:19530", "job_id": "7", "state": "Importing",
    ...     "observed_at": pd.to_datetime(["2026-05-18T08:00:00Z", "2026-05-18T08:00:10Z",
    ...                                    "2026-05-18T08:01:40Z"]),
    ...     "imported_rows": [0, 2000, 3800], "total_rows": 4000, "file_size_bytes": 8_000_000})
    >>> throughput(jobs)[["interval_s", "rows_delta", "rows_per_s", "rows_per_s_window"]]
       interval_s  rows_delta  rows_per_s  rows_per_s_window
    0         NaN        <NA>         NaN                NaN
    1        10.0        2000       200.0              200.0
    2        90.0        1800        20.0               20.0
    """
    window_us = int(pd.Timedelta(window) / pd.Timedelta(microseconds=1))
    if window_us <= 0:
        raise ValueError(f"window is a positive duration such as '60s', not {window!r}")
    is_details = "file_index" in frame
    if by in ("file", "task") and not is_details:
        raise ValueError(f"throughput by {by} needs a details frame, this has no file_index")
    if by not in ("job", "file", "task", "collection"):
        raise ValueError(f"by is job, file, task or collection, not {by!r}")

    if not is_details:
        curve, keys = _job_curve(frame)
    else:
        samples = FileSamples.of(frame)
        files = samples.curve()
        if by == "file":
            return _rates(files, samples.keys(), window_us)
        group, keys = samples.tasks() if by == "task" else (samples.job, samples.jobs)
        curve = files.summed(group, len(keys), samples.slot_time)
    if by == "collection":
        curve, keys = _by_collection(frame, curve, keys)
    return _rates(curve, keys, window_us)


def infer_tasks(details: pd.DataFrame) -> pd.DataFrame:
    """Which files of a job belong to one task, which the server does not say.

    All files of a task share its state and progress. So files of one job that had the same state
    and progress at every snapshot in which one of them was at work, and ended at the same one, are
    taken for a task.

    Two tasks can agree by chance, the more so the fewer of their steps were seen. Files that showed
    fewer than two values of progress above zero are each taken for a task of their own, as are
    those that still wait or were never seen at work. And the server adds files to a task from the
    smallest on while they fit, so any two files with a task each are together larger than a task of
    several; if they are not, files of this job agree by chance, and each is taken for a task of its
    own.

    Parameters
    ----------
    details : DataFrame
        A details frame, see :mod:`importstats.store.frames`.

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
    ...     "state": "InProgress", "progress_pct": [0, 0, 0, 8, 8, 3, 17, 17, 6],
    ...     "imported_rows": [0, 0, 0, 8, 16, 3, 17, 34, 6], "total_rows": [100, 200, 100] * 3})
    >>> infer_tasks(details)["task"].tolist()
    [0, 0, 2]
    """
    samples = FileSamples.of(details)
    task, tasks = samples.tasks()
    return (
        samples.keys()
        .assign(task=tasks["task"].to_numpy()[task])
        .sort_values([*JOB_KEY, "file_index"], ignore_index=True)
    )


@dataclass(frozen=True)
class Curve:
    """Rows and bytes over time of many keys, ordered by key and time, as arrays of equal length.

    Attributes
    ----------
    key : ndarray of int64
        The number of the key a point belongs to; ascending.
    time : ndarray of int64
        Microseconds since 1970.
    slot : ndarray of int64
        The place of the time among all times of the job, where there is such a thing.
    rows : ndarray of float64
        Rows that are there.
    gain, loss : ndarray of float64
        Rows written and vanished since the point before; 0 at the first.
    byte_gain : ndarray of float64
        Bytes written since the point before.
    sized : ndarray of bool
        Whether the bytes are known.
    shown : ndarray of bool
        Whether the point is a sample, or only where the first sample starts from.
    """

    key: Ints
    time: Ints
    slot: Ints
    rows: Floats
    gain: Floats
    loss: Floats
    byte_gain: Floats
    sized: Bools
    shown: Bools

    @classmethod
    def through(
        cls, key: Ints, time: Ints, slot: Ints, rows: Floats, size: Floats, shown: Bools
    ) -> Curve:
        """The curve through known rows and, where they are known, bytes."""
        sized = ~np.isnan(size)
        change = np.diff(rows, prepend=0.0)
        byte_change = np.diff(size if sized.all() else carried(size, key), prepend=0.0)
        change[starts(key)] = byte_change[starts(key)] = 0.0
        return cls(
            key,
            time,
            slot,
            rows,
            gain=np.maximum(change, 0.0),
            loss=np.maximum(-change, 0.0),
            byte_gain=np.maximum(np.nan_to_num(byte_change, copy=False, nan=0.0), 0.0),
            sized=sized,
            shown=shown,
        )

    def summed(self, group: Ints, count: int, slot_time: Ints) -> Curve:
        """The curve of groups of keys that are seen at the same slots.

        Parameters
        ----------
        group : ndarray of int64
            Per key, its group.
        count : int
            How many groups there are.
        slot_time : ndarray of int64
            The time of each slot.
        """
        first = starts(self.key)
        of_key = group[self.key[first]]
        low, high = np.full(count, len(slot_time)), np.full(count, -1)
        np.minimum.at(low, of_key, self.slot[first])
        np.maximum.at(high, of_key, self.slot[ends(first, len(self.slot))])
        # Every group owns a range of cells, one per slot from its first to its last.
        width = np.maximum(high - low + 1, 0)
        offset = np.cumsum(width) - width
        cell = np.repeat((offset - low)[of_key], ends(first, len(self.slot)) - first + 1)
        cell += self.slot
        cells = int(width.sum())

        def added(values: Floats | Bools) -> Floats:
            return summed(cell, values, cells)

        change = self.gain - self.loss
        change[first] = self.rows[first]
        total = running_total(added(change))
        before = np.append(0.0, total)[offset]
        key = np.repeat(np.arange(count), width)
        curve = Curve(
            key,
            slot_time[np.arange(cells) - (offset - low)[key]],
            np.arange(cells) - (offset - low)[key],
            np.maximum(total - before[key], 0).astype(np.float64),
            added(self.gain),
            added(self.loss),
            added(self.byte_gain),
            added(self.sized) > 0,
            added(self.shown) > 0,
        )
        # Between a group's slots there may be some at which none of its keys was seen.
        return curve.where(np.bincount(cell, minlength=cells) > 0)

    def where(self, chosen: Bools) -> Curve:
        """The chosen points."""
        if chosen.all():
            return self
        return Curve(*(getattr(self, field.name)[chosen] for field in fields(self)))


@dataclass(frozen=True)
class FileSamples:
    """The samples of all files of a details frame, ordered by file and time, as arrays.

    A file is known by its job and name, since servers may list files in another order each time;
    in a job where a name is missing, or stands for several files at a time, by its place.

    Attributes
    ----------
    frame : DataFrame
        The details frame.
    row : ndarray of int64
        Per sample, its row in the frame. Of a run there are two samples, its first and last.
    key : ndarray of int64
        Per sample, the number of its file; ascending.
    time : ndarray of int64
        Per sample, microseconds since 1970.
    slot : ndarray of int64
        Per sample, the place of its job and time among all of them in the frame.
    slot_job, slot_time : ndarray of int64
        Per slot, its job and its time.
    job : ndarray of int64
        Per file, its job.
    jobs : DataFrame
        The jobs, see :func:`~importstats.analysis.phase.job_codes`.
    """

    frame: pd.DataFrame
    row: Ints
    key: Ints
    time: Ints
    slot: Ints
    slot_job: Ints
    slot_time: Ints
    job: Ints
    jobs: pd.DataFrame

    @classmethod
    def of(cls, details: pd.DataFrame, until: int | None = None) -> FileSamples:
        """Sort a details frame out; `until` (microseconds) leaves away what was seen later."""
        time, known = microseconds(details, "observed_at")
        last = time
        if "last_observed_at" in details:
            last = np.maximum(microseconds(details, "last_observed_at")[0], time)
        if until is not None:
            known = known & (time <= until)
            last = np.minimum(last, until)
        row_job, jobs = job_codes(details)
        row = np.arange(len(details)) if known.all() else np.flatnonzero(known)
        long = row[last[row] > time[row]]
        time = np.concatenate([time[row], last[long]])
        row = np.concatenate([row, long])
        slot, slot_job, slot_time = _slots(row_job[row], time)

        by_name = _name_codes(details, row_job, np.zeros(len(jobs), np.bool_))[row]
        order = order_by(by_name, slot)
        key = dense(by_name[order])
        again = np.flatnonzero((key[1:] == key[:-1]) & (slot[order[1:]] == slot[order[:-1]]))
        if len(again):
            unsure = np.zeros(len(jobs), np.bool_)
            unsure[row_job[row[order[again]]]] = True
            by_place = _name_codes(details, row_job, unsure)[row]
            order = order_by(by_place, slot)
            key = dense(by_place[order])
        row = row[order]
        return cls(
            details,
            row,
            key,
            time[order],
            slot[order],
            slot_job,
            slot_time,
            row_job[row[starts(key)]],
            jobs,
        )

    def values(self, name: str) -> Floats:
        """A column of numbers, per sample; NaN where it is missing."""
        return floats(self.frame, name)[self.row]

    def states(self) -> tuple[npt.NDArray[np.int16], list[str]]:
        """Per sample the number of its state, and the states in lower case (``""`` for none)."""
        state = self.frame["state"].astype("category")
        names = [*(str(name).lower() for name in state.cat.categories), ""]
        return state.cat.codes.to_numpy().astype(np.int16)[self.row], names

    def in_state(self, *states: str) -> Bools:
        """Per sample, whether its state is one of these, in lower case."""
        code, names = self.states()
        return np.array([name in states for name in names])[code]

    def share(self) -> Floats:
        """Per sample, the share of the file that is imported, 0 to 1; NaN if not known."""
        share = _share(self.values("imported_rows"), self.values("total_rows"))
        told = self.values("progress_pct")
        told /= 100
        with np.errstate(invalid="ignore"):
            wrong = np.isnan(share) | (np.abs(share - told) > _SAME_SHARE)
        share = np.where(wrong & ~np.isnan(told), told, share)
        # Less than this is no share of anything, and no number to divide by.
        return np.where(share < _LEAST_SHARE, 0.0, share)

    def curve(self) -> Curve:
        """Rows and bytes of each file over time."""
        rows = self.values("imported_rows")
        share = self.share()
        size = self.values("file_size_bytes")
        size = np.where((share == 0) & ~np.isnan(size), 0.0, size * share)
        key, time, slot = self.key, self.time, self.slot
        known = ~(np.isnan(rows) | ((rows == 0) & self.in_state("failed")))
        seen_first = slot[starts(key)]
        if not known.all():
            key, time, slot = key[known], time[known], slot[known]
            rows, size = rows[known], size[known]
        # What a file has when it is first seen after its job, it has written since the job's
        # snapshot before: the curve starts from nothing there.
        first = starts(key)
        before = slot[first] - 1
        late = (before >= 0) & (slot[first] == seen_first[key[first]])
        late &= self.slot_job[before] == self.slot_job[slot[first]]
        shown = np.ones(len(key), np.bool_)
        if late.any():
            at, before = first[late], before[late]
            size_before = np.where(np.isnan(size[at]), np.nan, 0.0)
            key = np.insert(key, at, key[at])
            time = np.insert(time, at, self.slot_time[before])
            slot = np.insert(slot, at, before)
            rows = np.insert(rows, at, 0.0)
            size = np.insert(size, at, size_before)
            shown = np.insert(shown, at, False)
        return Curve.through(key, time, slot, rows, size, shown)

    def keys(self) -> pd.DataFrame:
        """The files: their job, ``file_index`` and ``file`` as last seen."""
        columns = [name for name in (*JOB_KEY, "file_index", "file") if name in self.frame]
        last = self.row[ends(starts(self.key), len(self.key))]
        found = self.frame[columns].iloc[last].reset_index(drop=True)
        if "file" not in found:
            source = self.frame["file_name" if "file_name" in self.frame else "file_index"]
            found["file"] = source.iloc[last].astype("str").to_numpy()
        return found

    def tasks(self) -> tuple[Ints, pd.DataFrame]:
        """Per file the number of its task, and the tasks; see :func:`infer_tasks`."""
        state, _ = self.states()
        waits, done = self.in_state(*WAITING_STATES), self.in_state(*DONE_STATES)
        progress = self.values("progress_pct")
        np.nan_to_num(progress, copy=False, nan=-1.0)
        at_work = ~(waits | done)
        first = starts(self.key)
        steps = np.ones(len(state), np.bool_)
        steps[1:] = (state[1:] != state[:-1]) | (progress[1:] != progress[:-1])
        finishes = np.zeros(len(state), np.bool_)
        finishes[1:] = done[1:] & at_work[:-1]
        steps[first], finishes[first] = True, False
        steps &= at_work

        # Equal steps at equal times: a hash of each, and their sum, are equal as well.
        told = np.flatnonzero(steps | finishes)
        what = np.where(finishes[told], -1.0, progress[told] * 64 + state[told])
        hashed = _mixed(_mixed(self.slot[told].astype(np.uint64)) + what.view(np.uint64))
        signature = np.zeros(len(first), np.uint64)
        np.add.at(signature, self.key[told], hashed)
        moves = np.bincount(self.key[steps & (progress > 0)], minlength=len(first))

        last = self.row[ends(first, len(state))]
        place = self.frame["file_index"].to_numpy(np.int64)[last]
        size = np.nan_to_num(floats(self.frame, "file_size_bytes")[last])
        alone = moves < _SURE_STEPS
        order, new = self._groups(signature, alone, place)
        alone |= self._by_chance(order, new, alone, size)[self.job]
        order, new = self._groups(signature, alone, place)
        # Numbered by the place of their first file.
        leader = order[new]
        rank = np.empty(len(leader), np.int64)
        by_place = np.lexsort((place[leader], self.job[leader]))
        rank[by_place] = np.arange(len(leader))
        task = np.empty(len(order), np.int64)
        task[order] = rank[np.cumsum(new) - 1]
        leader = leader[by_place]
        tasks = self.jobs.iloc[self.job[leader]].reset_index(drop=True)
        return task, tasks.assign(task=place[leader])

    def _groups(
        self, signature: npt.NDArray[np.uint64], alone: Bools, place: Ints
    ) -> tuple[Ints, Bools]:
        """The files in the order of their groups, and where a new group begins."""
        order = np.lexsort((place, np.where(alone, 0, signature), alone, self.job))
        new = np.ones(len(order), np.bool_)
        before, after = order[:-1], order[1:]
        new[1:] = (
            (self.job[after] != self.job[before])
            | (signature[after] != signature[before])
            | (alone[after] | alone[before])
        )
        return order, new

    def _by_chance(self, order: Ints, new: Bools, alone: Bools, size: Floats) -> Bools:
        """Per job, whether its groups contradict how the server makes tasks.

        From the smallest on it adds files to a task while they fit, so any two files with tasks of
        their own have together more bytes than a task of several.
        """
        number = np.cumsum(new) - 1
        count = np.bincount(number)
        group, group_job = np.bincount(number, size[order]), self.job[order[new]]
        largest = np.zeros(len(self.jobs))
        several = count > 1
        np.maximum.at(largest, group_job[several], group[several])
        single = np.flatnonzero((count == 1) & ~alone[order[new]])
        single = single[np.lexsort((group[single], group_job[single]))]
        first = starts(group_job[single])
        pairs = first[ends(first, len(single)) > first]
        two_smallest = group[single[pairs]] + group[single[pairs + 1]]
        doubtful = np.zeros(len(self.jobs), np.bool_)
        of = group_job[single[pairs]]
        doubtful[of] = two_smallest <= largest[of]
        return doubtful


def _slots(job: Ints, time: Ints) -> tuple[Ints, Ints, Ints]:
    """Per row the number of its job and time, and the job and time of each number."""
    order = None
    apart = np.diff(job)
    if not ((apart > 0) | ((apart == 0) & (np.diff(time) >= 0))).all():
        order = np.lexsort((time, job))
        job, time = job[order], time[order]
    new = np.ones(len(job), np.bool_)
    new[1:] = (job[1:] != job[:-1]) | (time[1:] != time[:-1])
    slot = np.cumsum(new) - 1
    slot_job, slot_time = job[new], time[new]
    if order is not None:
        unsorted = np.empty_like(slot)
        unsorted[order] = slot
        slot = unsorted
    return slot, slot_job, slot_time


def _name_codes(details: pd.DataFrame, row_job: Ints, by_place: Bools) -> Ints:
    """Per row a number for its job and file name, or its job and place where so told."""
    if "file_name" in details:
        names = details["file_name"].astype("category").cat
        code, count = names.codes.to_numpy().astype(np.int64), len(names.categories)
    else:
        code, count = np.full(len(details), -1), 0
    by_place = by_place.copy()
    by_place[row_job[code < 0]] = True
    unnamed = by_place[row_job]
    if unnamed.any():
        place, places = pd.factorize(details["file_index"].to_numpy(np.int64), sort=True)
        code = np.where(unnamed, count + place, code)
        count += len(places)
    return compact(row_job * count + code)


def _share(rows: Floats, total: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(total > 0, np.minimum(rows / total, 1.0), np.nan)
    return np.where(rows == 0, 0.0, share)


def _mixed(value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """A hash of each value: the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def _job_curve(jobs: pd.DataFrame) -> tuple[Curve, pd.DataFrame]:
    """The curve of each job by its own numbers, and the jobs."""
    key, keys = job_codes(jobs)
    time, known = microseconds(jobs, "observed_at")
    rows, total = floats(jobs, "imported_rows"), floats(jobs, "total_rows")
    failed = jobs["state"].astype("str").str.lower().eq("failed").to_numpy(np.bool_)
    known = known & ~np.isnan(rows) & ~(failed & (rows == 0))
    size = np.where(rows == 0, 0.0, floats(jobs, "file_size_bytes") * _share(rows, total))
    tie = floats(jobs, "snapshot_id") if "snapshot_id" in jobs else np.arange(len(jobs))
    order = np.lexsort((tie, time, key))
    order = order[known[order]]
    key, time, rows, size = key[order], time[order], rows[order], size[order]
    nowhere = np.zeros(len(order), np.int64)
    return Curve.through(key, time, nowhere, rows, size, np.ones(len(order), np.bool_)), keys


def _by_collection(
    frame: pd.DataFrame, curve: Curve, jobs: pd.DataFrame
) -> tuple[Curve, pd.DataFrame]:
    """The curve of each collection from those of its jobs, and the collections."""
    columns = [name for name in ("source_uri", "db_name", "collection_name") if name in frame]
    row_job, _ = job_codes(frame)
    named = np.flatnonzero(frame["collection_name"].notna().to_numpy())
    first_job, place = np.unique(row_job[named], return_index=True)
    names = frame[columns].iloc[named[place]].astype("str").fillna("")
    collections = names.drop_duplicates().sort_values(columns, ignore_index=True)
    number = names.merge(collections.reset_index(names="number"), on=columns, how="left")[
        "number"
    ].to_numpy(np.int64)
    of_job = np.full(len(jobs), -1)
    of_job[first_job] = number
    curve = curve.where(of_job[curve.key] >= 0)

    # A job's rows grow evenly between its samples: its slope is added at the one and taken off at
    # the other. Rows without a time to grow in jump.
    first = starts(curve.key)
    begin = np.append(0, curve.time[:-1])[: len(curve.time)]
    begin[first] = curve.time[first]
    seconds = (curve.time - begin) / _US
    group = of_job[curve.key]
    initial = np.zeros(len(group))
    initial[first] = curve.rows[first]
    time = np.concatenate([begin, curve.time])
    key = np.concatenate([group, group])
    order = np.lexsort((time, key))
    time, key = time[order], key[order]
    new = np.ones(len(key), np.bool_)
    new[1:] = (key[1:] != key[:-1]) | (time[1:] != time[:-1])
    cell = np.empty(len(key), np.int64)
    cell[order] = np.cumsum(new) - 1
    time, key = time[new], key[new]
    here = cell[len(group) :]
    step = np.diff(time, prepend=0) / _US
    step[starts(key)] = 0.0

    def spread(gain: Floats) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = np.where(seconds > 0, gain / seconds, 0.0)
        jump = np.where(seconds > 0, 0.0, gain)
        slopes = summed(cell, np.concatenate([slope, -slope]), len(time))
        running = np.append(0.0, np.cumsum(slopes)[:-1])[: len(time)]
        grown: Floats = np.maximum(running, 0.0) * step
        return grown + summed(here, jump, len(time))

    gain = spread(curve.gain)
    whole = np.diff(np.round(running_total(gain)), prepend=0.0).astype(np.float64)
    loss = summed(here, curve.loss, len(time))
    net = running_total(whole - loss + summed(here, initial, len(time)))
    before = np.append(0.0, net)[starts(key)]
    return (
        Curve(
            key,
            time,
            np.zeros(len(time), np.int64),
            np.maximum(net - before[dense(key)], 0).astype(np.float64),
            whole,
            loss,
            spread(curve.byte_gain),
            summed(here, curve.sized, len(time)) > 0,
            summed(here, curve.shown, len(time)) > 0,
        ),
        collections,
    )


def _rates(curve: Curve, keys: pd.DataFrame, window_us: int) -> pd.DataFrame:
    """The table of a curve."""
    first = starts(curve.key)
    count = np.diff(np.append(first, len(curve.key)))
    opens = np.zeros(len(curve.key), np.bool_)
    opens[first] = True
    interval = np.diff(curve.time, prepend=0) / _US
    interval[first] = np.nan

    # One axis for all keys, each in a stretch of its own with room for a window before the next.
    since = curve.time - np.repeat(curve.time[first], count)
    span = since[ends(first, len(since))] + window_us + 1
    origin = np.repeat(np.cumsum(span) - span, count)
    axis = origin + since
    ago = np.maximum(axis - window_us, origin)
    left = np.searchsorted(axis, ago, side="right") - 1
    right = np.minimum(left + 1, len(axis) - 1)
    ahead = np.where(
        ago > axis[left], (ago - axis[left]) / np.maximum(axis[right] - axis[left], 1), 0.0
    )
    elapsed = (axis - ago) / _US

    sized = np.repeat(np.logical_or.reduceat(curve.sized, first), count) if len(first) else opens

    def windowed(gain: Floats) -> Floats:
        total = np.cumsum(gain)
        return _per_second(total - total[left] - ahead * gain[right], elapsed)

    written = np.cumsum(curve.gain)
    written -= np.repeat(written[first] - curve.gain[first], count)
    idle = np.add.reduceat(written == 0, first, dtype=np.int64) if len(first) else first
    started = np.repeat(curve.time[first + np.maximum(idle, 1) - 1], count)
    shown = curve.shown
    table = keys.iloc[curve.key[shown]].reset_index(drop=True)
    return table.assign(
        observed_at=timestamps(curve.time[shown]),
        interval_s=interval[shown],
        imported_rows=_counts(curve.rows[shown]),
        rows_delta=_counts(curve.gain[shown], opens[shown]),
        rows_lost=_counts(curve.loss[shown], opens[shown]),
        rows_per_s=_per_second(curve.gain, interval)[shown],
        bytes_per_s=np.where(sized, _per_second(curve.byte_gain, interval), np.nan)[shown],
        rows_per_s_window=windowed(curve.gain)[shown],
        bytes_per_s_window=np.where(sized, windowed(curve.byte_gain), np.nan)[shown],
        rows_per_s_mean=_per_second(written, (curve.time - started) / _US)[shown],
    )


def _per_second(amount: Floats, seconds: Floats) -> Floats:
    """The rate, NaN where there is no time for it."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(seconds > 0, np.maximum(amount, 0.0) / seconds, np.nan)


def _counts(values: Floats, missing: Bools | None = None) -> pd.arrays.IntegerArray:
    known = np.abs(values) < 2.0**63  # A sum of what servers say may be more than an int64 holds.
    mask = ~known if missing is None else ~known | missing
    return pd.arrays.IntegerArray(np.rint(np.where(known, values, 0)).astype(np.int64), mask)
