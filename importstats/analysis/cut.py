"""A cut in time: a frame reduced to what was known at a time."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd

from importstats.analysis.phase import job_codes
from importstats.analysis.samples import in_microseconds
from importstats.arrays import Bools, Ints, microseconds, timestamps


def rewind(
    frame: pd.DataFrame, at: datetime | pd.Timestamp, jobs: pd.DataFrame | None = None
) -> pd.DataFrame:
    """The frame as it was known at a time, without any later row or value.

    A row of a details frame of runs says that a file had these values from ``observed_at`` to
    ``last_observed_at``. A run that began before `at` and went on after it is cut at `at`; to
    filter by ``observed_at`` alone would keep its later end, and with it the future.

    Parameters
    ----------
    frame : DataFrame
        A jobs frame, a details frame (expanded or runs), or a result with one row per snapshot,
        such as that of :func:`~importstats.eta`; of any number of jobs.
    at : datetime
        Rows observed until then stay. It needs a time zone.
    jobs : DataFrame, optional
        The jobs frame of the same jobs. With it, a run ends at the last snapshot before or at `at`,
        exactly as if nothing had been collected since; without it, at `at` itself.

    Returns
    -------
    DataFrame
        With the columns, dtypes and order of `frame`. Rows without ``observed_at`` are left out.

    Raises
    ------
    ValueError
        `at` has no time zone.

    Examples
    --------
    >>> from datetime import UTC
    >>> runs = pd.DataFrame({
    ...     "source_uri": "http://localhost:19530", "job_id": "7",
    ...     "state": ["Pending", "Completed"],
    ...     "observed_at": pd.to_datetime(["2026-05-18T08:00Z", "2026-05-18T08:30Z"]),
    ...     "last_observed_at": pd.to_datetime(["2026-05-18T08:29Z", "2026-05-18T08:40Z"])})
    >>> known = rewind(runs, datetime(2026, 5, 18, 8, 10, tzinfo=UTC))
    >>> [(run.state, f"{run.last_observed_at:%H:%M}") for run in known.itertuples()]
    [('Pending', '08:10')]
    """
    limit = in_microseconds(at)
    time, known = microseconds(frame, "observed_at")
    kept = known & (time <= limit)
    cut = frame if kept.all() else frame[kept]
    if "last_observed_at" not in cut:
        return cut
    last, _ = microseconds(cut, "last_observed_at")
    goes_on = last > limit
    if jobs is None and not goes_on.any():
        return cut
    end, end_id = _last_snapshots(cut, goes_on, limit, jobs)
    # A run that was cut before may reach beyond the last snapshot before the cut.
    goes_on |= (last > end) & (end > np.iinfo(np.int64).min)
    if not goes_on.any():
        return cut
    end = np.maximum(end, time[kept])
    columns = {"last_observed_at": _replaced(cut["last_observed_at"], goes_on, timestamps(end))}
    if "last_snapshot_id" in cut:
        columns["last_snapshot_id"] = _replaced(cut["last_snapshot_id"], goes_on, pd.Series(end_id))
    return cut.assign(**columns)


def _last_snapshots(
    cut: pd.DataFrame, goes_on: Bools, limit: int, jobs: pd.DataFrame | None
) -> tuple[Ints, Ints]:
    """Per row, the time and the id of its job's last known snapshot."""
    frames = [cut] if jobs is None else [cut, jobs[jobs["observed_at"].notna()]]
    codes, keys = job_codes(pd.concat([frame[["source_uri", "job_id"]] for frame in frames]))
    own = codes[: len(cut)]
    time = np.full(len(keys), limit if jobs is None else np.iinfo(np.int64).min)
    number = np.full(len(keys), np.iinfo(np.int64).min)
    if jobs is not None:
        seen, _ = microseconds(frames[1], "observed_at")
        by_then = seen <= limit
        np.maximum.at(time, codes[len(cut) :][by_then], seen[by_then])
        if "snapshot_id" in jobs:
            ids = frames[1]["snapshot_id"].to_numpy(np.int64)
            np.maximum.at(number, codes[len(cut) :][by_then], ids[by_then])
    if "last_snapshot_id" in cut:
        np.maximum.at(number, own, cut["snapshot_id"].to_numpy(np.int64))
        ended = ~goes_on
        ids = cut["last_snapshot_id"].to_numpy(np.int64)
        np.maximum.at(number, own[ended], ids[ended])
    return time[own], number[own]


def _replaced(column: pd.Series, where: Bools, values: pd.Series) -> pd.Series:
    """The column with some values replaced."""
    values.index = column.index
    return column.mask(where, values).astype(column.dtype)
