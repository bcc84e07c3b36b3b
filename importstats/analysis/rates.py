"""Throughput: rows and bytes per second of jobs, files, tasks and collections over time.

The server reports how many rows are there, at times as irregular as the polls. A rate is the
difference between two samples divided by the time between them. A windowed rate assumes a straight
line between samples and compares it with its value a window ago.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeVar

import numpy as np
import pandas as pd

from importstats.analysis.adding import add_up
from importstats.analysis.phase import job_codes
from importstats.analysis.samples import Curve, FileSamples, row_share
from importstats.analysis.spreading import grown
from importstats.analysis.tasks import group_files
from importstats.arrays import (
    US_PER_S,
    Bools,
    Floats,
    Ints,
    ends,
    floats,
    microseconds,
    starts,
    timestamps,
    whole_numbers,
)

_A = TypeVar("_A", Floats, Ints, Bools)

By = Literal["job", "file", "task", "collection"]

_ENDED: Final = ("completed", "failed")


def throughput(frame: pd.DataFrame, by: By = "job", window: str = "60s") -> pd.DataFrame:
    """Rows and bytes per second, at every sample of every job, file, task or collection.

    * *Falling rows* (a retried task, a restarted node) are not a negative rate. ``rows_delta``
      counts the rows written, including those written again, and ``rows_lost`` those that vanished;
      ``rows_delta - rows_lost`` is the change of ``imported_rows``. A job's own numbers show only
      the sum when some files gain and others lose; a details frame shows both.
    * *Rows appear when a whole file is written.* ``rows_per_s`` has these steps as they come. For
      the ``_spread`` and ``_window`` columns, the written rows are spread evenly over the time
      since the file went to work, or since its last step. So a window in which no file ends does
      not have a rate of zero. These columns can change in hindsight, when a file that was at work
      ends.
    * *A file that is first seen later than its job* has written its rows since the job's previous
      snapshot. If it is there at the first snapshot, nobody knows when they were written, so its
      first ``rows_delta`` is missing.
    * *Samples without a row count* are left out, as are the zeros of a Failed job and its files: a
      job's rows are forgotten when it fails.
    * *Bytes* are not reported. They are ``file_size_bytes`` times the share of rows, or for a file
      times its ``progress_pct`` if ``total_rows`` contradicts that (some servers send the job's
      total).
    * *A collection* is the sum of jobs that are seen at different times: each job's rows are spread
      evenly between two of its samples, and all are added up at every sample of any job.

    A runs frame has a sample where a value changes and one at the last snapshot before that; an
    expanded frame has one at every snapshot. Totals and rates at the common samples are equal.

    Parameters
    ----------
    frame : DataFrame
        A jobs frame (by job or collection) or a details frame (by anything), in any order.
    by : {"job", "file", "task", "collection"}
        What to compute rates for. Tasks are inferred, see
        :func:`~importstats.analysis.tasks.infer_tasks`.
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
        ``imported_rows`` : Int64
            Rows written so far.
        ``rows_delta``, ``rows_lost`` : Int64
            Rows written, and rows that vanished, since the sample before; missing at the first.
        ``rows_per_s``, ``bytes_per_s`` : float64
            The rate of what appeared in the interval; NaN if it has no length.
        ``rows_per_s_spread``, ``bytes_per_s_spread`` : float64
            The rate of what was written in the interval, judging by what has appeared since; for
            files still at work, as if as much appeared as is written. NaN after the last step of
            anything unfinished.
        ``rows_per_s_window``, ``bytes_per_s_window`` : float64
            The rate of what was written over the trailing window, or since the first sample if that
            is shorter. After the last step of anything unfinished, it is the rate up to that step
            for as long as the step took (or the window); after that, it is what appeared with the
            step divided by the time since, which falls and is never 0.
        ``rows_per_s_mean``, ``bytes_per_s_mean`` : float64
            What was written so far, spread as above, divided by the time since writing began; the
            time after everything was written does not count.

    Raises
    ------
    ValueError
        `by` needs a details frame and `frame` is not one, or `window` is not a positive duration.

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
    if not isinstance(by, str) or by not in ("job", "file", "task", "collection"):
        given = repr(by) if isinstance(by, str) else f"a {type(by).__name__}"
        raise ValueError(f"by is job, file, task or collection, not {given}")
    if by in ("file", "task") and not is_details:
        raise ValueError(f"throughput by {by} needs a details frame, this has no file_index")

    if not is_details:
        curve, keys = _job_curve(frame)
    else:
        samples = FileSamples.from_details(frame)
        files = samples.curve()
        if by == "file":
            return _rate_table(files, samples.keys(), window_us)
        group, keys = group_files(samples) if by == "task" else (samples.job, samples.jobs)
        curve = files.summed(group, len(keys), samples.moment_time)
    if by == "collection":
        curve, keys = _by_collection(frame, curve, keys)
    return _rate_table(curve, keys, window_us)


def _job_curve(jobs: pd.DataFrame) -> tuple[Curve, pd.DataFrame]:
    """Each job's curve from its own numbers, and the jobs."""
    key, keys = job_codes(jobs)
    time, known = microseconds(jobs, "observed_at")
    rows, total = floats(jobs, "imported_rows"), floats(jobs, "total_rows")
    failed = jobs["state"].astype("str").str.lower().eq("failed").to_numpy(np.bool_)
    known = known & ~np.isnan(rows) & ~(failed & (rows == 0))
    size = np.where(rows == 0, 0.0, floats(jobs, "file_size_bytes") * row_share(rows, total))
    tie = floats(jobs, "snapshot_id") if "snapshot_id" in jobs else np.arange(len(jobs))
    order = np.lexsort((tie, time, key))
    order = order[known[order]]
    key, time, rows, size = key[order], time[order], rows[order], size[order]
    nowhere, everywhere = np.zeros(len(order), np.int64), np.ones(len(order), np.bool_)
    # Before files are imported, a job has neither rows nor a total.
    rests = (rows == 0) & ~(total[order] > 0)
    ended = jobs["state"].astype("str").str.lower().isin(_ENDED).to_numpy(np.bool_)[order]
    unfinished = ~ended & ~(rows >= total[order])
    return Curve.from_known(key, time, nowhere, rows, size, everywhere, rests, unfinished), keys


def _by_collection(
    frame: pd.DataFrame, curve: Curve, jobs: pd.DataFrame
) -> tuple[Curve, pd.DataFrame]:
    """Each collection's curve, which adds up its jobs' curves, and the collections."""
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
    curve = curve.take(of_job[curve.key] >= 0)
    return add_up(curve, of_job[curve.key]), collections


def _rate_table(curve: Curve, keys: pd.DataFrame, window_us: int) -> pd.DataFrame:
    """The rates along a curve, in the form that :func:`throughput` returns."""
    first = starts(curve.key)
    count = np.diff(np.append(first, len(curve.key)))
    opens = np.zeros(len(curve.key), np.bool_)
    opens[first] = True
    interval = np.diff(curve.time, prepend=0) / US_PER_S
    interval[first] = np.nan

    sized = np.repeat(np.logical_or.reduceat(curve.sized, first), count) if len(first) else opens
    course = _Windows.from_curve(curve, window_us)
    silent = curve.open & (curve.time > course.last_step)
    shown = curve.shown
    of = curve.key if shown.all() else curve.key[shown]

    def seen(values: _A) -> _A:
        return values if len(of) == len(shown) else values[shown]

    spread_rate = _per_second(grown(curve.spread, curve.key), interval)
    byte_spread_rate = _per_second(grown(curve.byte_spread, curve.key), interval)
    byte_mean = _mean(curve, curve.byte_spread, first, count)
    columns = {
        **{name: keys[name].array.take(of) for name in keys},
        "observed_at": timestamps(seen(curve.time)),
        "interval_s": seen(interval),
        "imported_rows": whole_numbers(seen(curve.rows)),
        "rows_delta": whole_numbers(seen(curve.gain), seen(opens)),
        "rows_lost": whole_numbers(seen(curve.loss), seen(opens)),
        "rows_per_s": seen(_per_second(curve.gain, interval)),
        "bytes_per_s": seen(np.where(sized, _per_second(curve.byte_gain, interval), np.nan)),
        "rows_per_s_spread": seen(np.where(silent, np.nan, spread_rate)),
        "bytes_per_s_spread": seen(np.where(silent | ~sized, np.nan, byte_spread_rate)),
        "rows_per_s_window": seen(course.windowed(curve.spread)),
        "bytes_per_s_window": seen(np.where(sized, course.windowed(curve.byte_spread), np.nan)),
        "rows_per_s_mean": seen(_mean(curve, curve.spread, first, count)),
        "bytes_per_s_mean": seen(np.where(sized, byte_mean, np.nan)),
    }
    return pd.DataFrame(columns, index=range(len(of)), copy=False)


def _mean(curve: Curve, spread: Floats, first: Ints, count: Ints) -> Floats:
    """The mean rate so far, over the time from the first to the last row written."""
    if not len(first):
        return np.zeros(0)
    written = spread - np.repeat(spread[first], count)
    rounding = 1e-12 * float(spread.max())
    place = np.arange(len(written))
    rise = np.minimum.reduceat(np.where(written > rounding, place, len(place)), first)
    begun = np.repeat(
        curve.time[np.minimum(np.maximum(rise - 1, first), ends(first, len(place)))], count
    )
    grows = np.where(grown(spread, curve.key) > rounding, place, -1)
    grows[first] = first
    until = np.where(curve.open, curve.time, curve.time[np.maximum.accumulate(grows)])
    return _per_second(np.where(written > rounding, written, 0.0), (until - begun) / US_PER_S)


@dataclass(frozen=True)
class _Windows:
    """The begin and the end of the window at each of a curve's points.

    After the last step of anything unfinished, nothing is known about what is being written. So
    there the window ends with that step, for as long as the step took. After that, it reaches from
    the step before to the point itself, and the rate falls while nothing appears.
    """

    axis: Floats
    begin: Floats
    end: Floats
    lasts_s: Floats
    last_step: Ints

    @classmethod
    def from_curve(cls, curve: Curve, window_us: int) -> _Windows:
        first = starts(curve.key)
        count = np.diff(np.append(first, len(curve.key)))
        # All keys share one axis, each in its own stretch.
        since = curve.time - np.repeat(curve.time[first], count)
        span = since[ends(first, len(since))] + 1
        origin = np.repeat(np.cumsum(span) - span, count).astype(np.float64)
        axis = origin + since
        # The last step of each key, and the step before it, or else its first point.
        place = np.where(curve.gain > 0, np.arange(len(axis)), -1)
        last = np.maximum(np.maximum.reduceat(place, first), first) if len(first) else first
        place[last] = -1
        before = np.maximum(np.maximum.reduceat(place, first), first) if len(first) else first
        latest, before = np.repeat(last, count), np.repeat(before, count)
        step, gap = axis[latest], axis[latest] - axis[before]
        silent = curve.open & (axis > step)
        patience = np.maximum(gap, float(window_us))
        waits = silent & (axis - step <= patience)
        end = np.where(waits, step, axis)
        begin = np.where(silent & ~waits, step - patience, end - window_us)
        begin = np.maximum(begin, origin)
        lasts = np.where(silent & ~waits, axis - step, end - begin)
        return cls(axis, begin, end, lasts / US_PER_S, curve.time[latest])

    def windowed(self, total: Floats) -> Floats:
        """The rate over each window of a quantity that has grown to `total`."""
        if not len(self.axis):
            return np.zeros(0)
        grown = np.interp(self.end, self.axis, total) - np.interp(self.begin, self.axis, total)
        rounding = 1e-12 * float(total.max())
        return _per_second(np.where(grown <= rounding, 0.0, grown), self.lasts_s)


def _per_second(amount: Floats, seconds: Floats) -> Floats:
    """The rate, NaN if the time is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(seconds > 0, np.maximum(amount, 0.0) / seconds, np.nan)
