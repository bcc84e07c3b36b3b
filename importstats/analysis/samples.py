"""The samples of files over time as arrays, and the curves of rows through them."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import datetime
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from importstats.analysis.phase import job_codes
from importstats.analysis.spreading import (
    spread_along,
    spread_over_cells,
    steps_before,
    with_open_end,
)
from importstats.arrays import (
    US_PER_S,
    Bools,
    Floats,
    Ints,
    carried,
    compact,
    count_before,
    dense,
    ends,
    floats,
    microseconds,
    order_by,
    running_total,
    starts,
    summed,
)
from importstats.names import JOB_KEY

#: A file in one of these states has not begun.
WAITING_STATES: Final = ("", "none", "pending")
#: A file in one of these states has ended.
DONE_STATES: Final = ("completed", "failed")

# How far rows / total_rows may be from progress, which is the same in whole percents.
_SAME_SHARE: Final = 0.015
_LEAST_SHARE: Final = 1e-12
# If at least this share of samples equals the one before, it pays to leave them out.
_FEW_CHANGES: Final = 0.6
_MOST_INT64: Final = 2**63 - 1


@dataclass(frozen=True)
class Curve:
    """Many keys' rows and bytes over time, sorted by key and time, as arrays of equal length.

    Attributes
    ----------
    key : ndarray of int64
        The number of the key a point belongs to; ascending.
    time : ndarray of int64
        Microseconds since 1970.
    moment : ndarray of int64
        The position of the time among all times of the job, if the job has such.
    rows : ndarray of float64
        Rows that are present.
    gain, loss : ndarray of float64
        Rows written and rows vanished since the point before; 0 at the first.
    byte_gain : ndarray of float64
        Bytes written since the point before.
    sized : ndarray of bool
        Whether the bytes are known.
    shown : ndarray of bool
        Whether the point is a sample and not just the start before the first sample.
    spread, byte_spread : ndarray of float64
        Rows and bytes written since the key's first point, with each step spread over the time in
        which it was written, see :mod:`importstats.analysis.spreading`.
    since : ndarray of int64
        The moment after which the rows gained here were written.
    open : ndarray of bool
        Whether more rows may come after the last point of the key.
    """

    key: Ints
    time: Ints
    moment: Ints
    rows: Floats
    gain: Floats
    loss: Floats
    byte_gain: Floats
    sized: Bools
    shown: Bools
    spread: Floats
    byte_spread: Floats
    since: Ints
    open: Bools

    @classmethod
    def from_known(
        cls,
        key: Ints,
        time: Ints,
        moment: Ints,
        rows: Floats,
        size: Floats,
        shown: Bools,
        rests: Bools,
        unfinished: Bools,
    ) -> Curve:
        """The curve through known rows and, if known, bytes.

        `rests` are the points at which nothing was being written, `unfinished` those after which
        more rows can come.
        """
        sized = ~np.isnan(size)
        first = starts(key)
        change = np.diff(rows, prepend=0.0)
        byte_change = np.diff(size if sized.all() else carried(size, key), prepend=0.0)
        change[first] = byte_change[first] = 0.0
        gain = np.maximum(change, 0.0)
        byte_gain = np.maximum(np.nan_to_num(byte_change, copy=False, nan=0.0), 0.0)
        last = ends(first, len(key))
        before = steps_before(key, gain, rests)
        bytes_before = steps_before(key, byte_gain, rests)
        return cls(
            key,
            time,
            moment,
            rows,
            gain=gain,
            loss=np.maximum(-change, 0.0),
            byte_gain=byte_gain,
            sized=sized,
            shown=shown,
            spread=spread_along(key, time, gain, rests, before),
            byte_spread=spread_along(key, time, byte_gain, rests, bytes_before),
            since=np.where(before >= 0, moment[before], moment),
            open=np.repeat(unfinished[last], np.diff(np.append(first, len(key)))),
        )

    def summed(self, group: Ints, count: int, moment_time: Ints) -> Curve:
        """The curve of each group: the sum of its keys, which are seen at the same moments.

        Parameters
        ----------
        group : ndarray of int64
            The group of each key.
        count : int
            How many groups there are.
        moment_time : ndarray of int64
            The time of each moment.
        """
        first = starts(self.key)
        of_key = group[self.key[first]]
        low, high = np.full(count, len(moment_time)), np.full(count, -1)
        np.minimum.at(low, of_key, self.moment[first])
        np.maximum.at(high, of_key, self.moment[ends(first, len(self.moment))])
        # Every group owns a range of cells, one per moment from its first to its last.
        width = np.maximum(high - low + 1, 0)
        offset = np.cumsum(width) - width
        cell = np.repeat((offset - low)[of_key], ends(first, len(self.moment)) - first + 1)
        cell += self.moment
        cells = int(width.sum())

        def added(values: Floats | Bools) -> Floats:
            return summed(cell, values, cells)

        change = self.gain - self.loss
        change[first] = self.rows[first]
        total = running_total(added(change))
        before = np.append(0.0, total)[offset]
        key = np.repeat(np.arange(count), width)
        time = moment_time[np.arange(cells) - (offset - low)[key]]
        seconds = np.diff(time, prepend=0) / US_PER_S
        seconds[starts(key)] = 0.0
        begin = np.maximum(cell - self.moment + self.since, offset[group[self.key]])
        until = self._complete_until(group, count, cell - self.moment, offset + width - 1)
        never = np.zeros(cells, np.bool_)

        def spread(gain: Floats) -> Floats:
            whole = added(gain)
            course = spread_along(key, time, whole, never, steps_before(key, whole, never))
            spread = spread_over_cells(begin, cell, gain, seconds, starts(key))
            return with_open_end(spread, course, until, key)

        curve = Curve(
            key,
            time,
            np.arange(cells) - (offset - low)[key],
            np.maximum(total - before[key], 0).astype(np.float64),
            added(self.gain),
            added(self.loss),
            added(self.byte_gain),
            added(self.sized) > 0,
            added(self.shown) > 0,
            spread(self.gain),
            spread(self.byte_gain),
            np.arange(cells) - (offset - low)[key],
            (summed(group[self.key], self.open, count) > 0)[key],
        )
        # Some moments between a group's first and last may have none of its keys.
        return curve.take(np.bincount(cell, minlength=cells) > 0)

    def _complete_until(self, group: Ints, count: int, cell_of_moment: Ints, last: Ints) -> Ints:
        """Each group's last cell before an open key began rows that have not appeared yet."""
        at_end = ends(starts(self.key), len(self.key))
        at_end = at_end[self.open[at_end]]
        # Rows after the last step were begun there, or when the key last rested.
        began = np.where(self.gain[at_end] > 0, self.moment[at_end], self.since[at_end])
        until = last.copy()
        np.minimum.at(until, group[self.key[at_end]], cell_of_moment[at_end] + began)
        return until

    def take(self, chosen: Bools) -> Curve:
        """The chosen points."""
        if chosen.all():
            return self
        return Curve(*(getattr(self, field.name)[chosen] for field in fields(self)))


@dataclass(frozen=True)
class FileSamples:
    """The samples of all files in a details frame, sorted by file and time, as arrays.

    A file is identified by its job and name, since servers may list files in a different order each
    time. If a job has a missing name, or one name for several files at a time, its files are
    identified by position.

    Attributes
    ----------
    frame : DataFrame
        The details frame.
    row : ndarray of int64
        The row of each sample in the frame. A run has two samples, its first and last.
    key : ndarray of int64
        The number of each sample's file; ascending.
    time : ndarray of int64
        Per sample, microseconds since 1970.
    moment : ndarray of int64
        The number of each sample's job and time among all those of the frame.
    moment_job, moment_time : ndarray of int64
        The job and the time of each moment.
    job : ndarray of int64
        The job of each file.
    jobs : DataFrame
        The jobs, see :func:`~importstats.analysis.phase.job_codes`.
    """

    frame: pd.DataFrame
    row: Ints
    key: Ints
    time: Ints
    moment: Ints
    moment_job: Ints
    moment_time: Ints
    job: Ints
    jobs: pd.DataFrame

    @classmethod
    def from_details(cls, details: pd.DataFrame, until: int | None = None) -> FileSamples:
        """The samples of a details frame, without those after `until` (microseconds)."""
        time, known = microseconds(details, "observed_at")
        last = time
        if "last_observed_at" in details:
            last = np.maximum(microseconds(details, "last_observed_at")[0], time)
        if until is not None:
            known = known & (time <= until)
            last = np.minimum(last, until)
        row_job, jobs = job_codes(details)
        row = np.arange(len(details)) if known.all() else np.flatnonzero(known)
        # A run's second sample follows its first, so most files are in order from the start.
        row = np.repeat(row, 1 + (last[row] > time[row]))
        second = np.append(False, row[1:] == row[:-1])[: len(row)]
        time = np.where(second, last[row], time[row])
        moment, moment_job, moment_time = _number_moments(row_job[row], time)

        by_name = _name_codes(details, row_job, np.zeros(len(jobs), np.bool_))[row]
        order = order_by(by_name, moment)
        key = dense(by_name[order])
        again = np.flatnonzero((key[1:] == key[:-1]) & (moment[order[1:]] == moment[order[:-1]]))
        if len(again):
            unsure = np.zeros(len(jobs), np.bool_)
            unsure[row_job[row[order[again]]]] = True
            by_place = _name_codes(details, row_job, unsure)[row]
            order = np.lexsort((second, moment, by_place))
            key = dense(by_place[order])
        row = row[order]
        return cls(
            details,
            row,
            key,
            time[order],
            moment[order],
            moment_job,
            moment_time,
            row_job[row[starts(key)]],
            jobs,
        )

    def changes(self) -> FileSamples:
        """The samples that differ from the one before or after, and each file's last.

        They show when things happened just as well, and in an expanded frame they are few.
        """
        same = np.ones(max(len(self.key) - 1, 0), np.bool_)
        code = self.frame["state"].astype("category").cat.codes.to_numpy()[self.row]
        same &= (np.diff(self.key) == 0) & (code[1:] == code[:-1])
        for name in ("progress_pct", "imported_rows"):
            values = np.nan_to_num(self.values(name), nan=-1.0)
            same &= values[1:] == values[:-1]
        if len(same) and same.mean() < _FEW_CHANGES:
            return self
        kept = np.ones(len(self.key), np.bool_)
        # Equal to the sample before and to the sample after.
        kept[1:-1] = ~(same[1:] & same[:-1])
        return replace(
            self,
            row=self.row[kept],
            key=self.key[kept],
            time=self.time[kept],
            moment=self.moment[kept],
        )

    def values(self, name: str) -> Floats:
        """A column's number for each sample; NaN if missing."""
        return floats(self.frame, name)[self.row]

    @cached_property
    def states(self) -> tuple[npt.NDArray[np.int16], list[str]]:
        """The number of each sample's state, and the states in lower case (``""`` for none)."""
        state = self.frame["state"].astype("category")
        names = [*(str(name).lower() for name in state.cat.categories), ""]
        return state.cat.codes.to_numpy().astype(np.int16)[self.row], names

    def in_state(self, *states: str) -> Bools:
        """Whether each sample's state is one of `states`, in lower case."""
        code, names = self.states
        return np.array([name in states for name in names])[code]

    def share(self) -> Floats:
        """The share of the file that is imported at each sample, 0 to 1; NaN if not known."""
        share = row_share(self.values("imported_rows"), self.values("total_rows"))
        reported = self.values("progress_pct")
        reported /= 100
        with np.errstate(invalid="ignore"):
            wrong = np.isnan(share) | (np.abs(share - reported) > _SAME_SHARE)
        share = np.where(wrong & ~np.isnan(reported), reported, share)
        # Anything smaller is no share, and no number to divide by.
        return np.where(share < _LEAST_SHARE, 0.0, share)

    def curve(self) -> Curve:
        """Rows and bytes of each file over time."""
        rows, share = self.values("imported_rows"), self.share()
        done = self.in_state(*DONE_STATES)
        # Hours after its end a file's rows may fall to 0: they were merged, not lost.
        later = (count_before(done, starts(self.key)) > 0) & ~self.in_state("failed")
        if later.any():
            rows[later] = share[later] = np.nan
            rows, share = carried(rows, self.key), carried(share, self.key)
        size = self.values("file_size_bytes")
        size = np.where((share == 0) & ~np.isnan(size), 0.0, size * share)
        key, time, moment = self.key, self.time, self.moment
        known = ~(np.isnan(rows) | ((rows == 0) & self.in_state("failed")))
        seen_first = moment[starts(key)]
        if not known.all():
            key, time, moment = key[known], time[known], moment[known]
            rows, size = rows[known], size[known]
        # A file that is first seen after its job wrote its rows since the job's previous snapshot:
        # the curve starts from 0 there.
        first = starts(key)
        before = moment[first] - 1
        late = (before >= 0) & (moment[first] == seen_first[key[first]])
        late &= self.moment_job[before] == self.moment_job[moment[first]]
        shown = np.ones(len(key), np.bool_)
        if late.any():
            at, before = first[late], before[late]
            size_before = np.where(np.isnan(size[at]), np.nan, 0.0)
            key = np.insert(key, at, key[at])
            time = np.insert(time, at, self.moment_time[before])
            moment = np.insert(moment, at, before)
            rows = np.insert(rows, at, 0.0)
            size = np.insert(size, at, size_before)
            shown = np.insert(shown, at, False)
        rests = self.in_state(*WAITING_STATES, "retry")
        done |= (share >= 1) | rests
        if not known.all():
            rests, done = rests[known], done[known]
        if late.any():
            rests, done = np.insert(rests, at, True), np.insert(done, at, False)
        return Curve.from_known(key, time, moment, rows, size, shown, rests, ~done)

    def clusters(self) -> Ints:
        """The number of each job's server."""
        return np.asarray(pd.factorize(self.jobs["source_uri"].astype("str"))[0], np.int64)

    def collections(self) -> Ints:
        """The number of each job's server and collection, or its own if it has no collection."""
        count = len(self.jobs)
        if "collection_name" not in self.frame:
            return np.arange(count)
        last = self.row[ends(starts(self.key), len(self.key))]
        name = np.full(count, -1)
        names = pd.factorize(self.frame["collection_name"])[0]
        name[self.job] = names[last]
        both = self.clusters() * (int(name.max(initial=0)) + 1) + name
        own = both.max(initial=0) + 1 + np.arange(count)
        return compact(np.where(name < 0, own, both))

    def keys(self) -> pd.DataFrame:
        """The job, ``file_index`` and ``file`` of each file, as last seen."""
        columns = [name for name in (*JOB_KEY, "file_index", "file") if name in self.frame]
        last = self.row[ends(starts(self.key), len(self.key))]
        of_file = {name: self.frame[name].array.take(last) for name in columns}
        found = pd.DataFrame(of_file, index=range(len(last)), copy=False)
        if "file" not in found:
            source = self.frame["file_name" if "file_name" in self.frame else "file_index"]
            found["file"] = source.iloc[last].astype("str").to_numpy()
        return found


def in_microseconds(at: datetime | pd.Timestamp) -> int:
    """A time as microseconds since 1970.

    Raises
    ------
    ValueError
        It has no time zone.
    """
    time = pd.Timestamp(at)
    if time.tzinfo is None:
        raise ValueError("at has no time zone; snapshots are timed in UTC")
    return (time - pd.Timestamp(0, tz="UTC")) // pd.Timedelta(microseconds=1)


def _number_moments(job: Ints, time: Ints) -> tuple[Ints, Ints, Ints]:
    """The number of each row's job and time, and the job and time of each number."""
    if not len(job):
        return job, job, time
    begin = int(time.min())
    span = int(time.max()) - begin + 1
    if (int(job.max()) + 1) * span > _MOST_INT64:
        # A server's clock may be centuries off, so times are numbered before they are combined with
        # jobs.
        times, time = np.unique(time, return_inverse=True)
        moment, moment_job, of_time = _number_moments(job, time)
        return moment, moment_job, times[of_time]
    # Samples share few times: finding and sorting the distinct ones is less work than sorting all.
    code, found = pd.factorize(job * span + (time - begin))
    order = np.argsort(found)
    number = np.empty(len(found), np.int64)
    number[order] = np.arange(len(found))
    moment_job, since = np.divmod(found[order], span)
    return number[code], moment_job, since + begin


def _name_codes(details: pd.DataFrame, row_job: Ints, by_place: Bools) -> Ints:
    """A number for each row's job and file name, or for its job and position if asked for."""
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


def row_share(rows: Floats, total: Floats) -> Floats:
    """The share of the rows that are present, 0 if none is; NaN if the total is not known."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(total > 0, np.minimum(rows / total, 1.0), np.nan)
    return np.where(rows == 0, 0.0, share)
