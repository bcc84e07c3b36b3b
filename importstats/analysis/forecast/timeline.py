"""The snapshots of jobs in order, and the files at each of them.

Every number here depends only on the snapshot and earlier ones of the same job. Everything is
computed column by column; the only loops are over jobs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import pandas as pd

from importstats.analysis.phase import job_codes, without_gaps
from importstats.arrays import Bools, Floats, Ints, floats
from importstats.names import JOB_KEY

_FILE_COLUMNS: Final = ("progress_pct", "file_size_bytes")


def ordered_snapshots(jobs: pd.DataFrame) -> pd.DataFrame:
    """The distinct snapshots of a jobs frame in order, with the number of their job.

    Rows that are not snapshots (a recorded gap, no time) are left out, as is the second of two rows
    with the same job and snapshot id.

    Parameters
    ----------
    jobs : DataFrame
        A jobs frame, see :mod:`importstats.store.frames`.

    Returns
    -------
    DataFrame
        The columns of `jobs`, and ``job`` : int64, ordered by job, time and snapshot id, with an
        index from 0.

    Examples
    --------
    >>> jobs = pd.DataFrame({
    ...     "source_uri": "u", "job_id": ["8", "7", "7", "7"], "snapshot_id": [4, 3, 1, 1],
    ...     "observed_at": pd.to_datetime([4, 3, 1, 1], unit="s", utc=True)})
    >>> ordered_snapshots(jobs)[["job", "job_id", "snapshot_id"]]
       job job_id  snapshot_id
    0    0      7            1
    1    0      7            3
    2    1      8            4
    """
    rows = without_gaps(jobs)
    codes, _ = job_codes(rows)
    rows = rows.assign(job=codes).sort_values(["job", "observed_at", "snapshot_id"], kind="stable")
    return rows.drop_duplicates(["job", "snapshot_id"], ignore_index=True)


def job_slices(rows: pd.DataFrame) -> Iterator[slice]:
    """The range of rows of each job in a timeline."""
    job = rows["job"].to_numpy()
    borders = np.flatnonzero(np.diff(job)) + 1
    for start, stop in zip([0, *borders], [*borders, len(job)], strict=True):
        if stop > start:
            yield slice(int(start), int(stop))


def expand_details(rows: pd.DataFrame, details: pd.DataFrame) -> pd.DataFrame:
    """One row per snapshot and file, from a details frame of runs or of single snapshots.

    A file is identified by its name (servers may list files in a different order each time), or by
    its position in the list if it has none.

    Parameters
    ----------
    rows : DataFrame
        A :func:`ordered_snapshots`.
    details : DataFrame
        A details frame, see :mod:`importstats.store.frames`.

    Returns
    -------
    DataFrame
        Ordered by ``row`` :

        ``row`` : int64
            Index of the snapshot in `rows`.
        ``job`` : int64
        ``file`` : int64
            The same number for the same file of a job.
        ``state`` : category
        ``progress_pct``, ``file_size_bytes`` : float64
    """
    last = details["last_snapshot_id"] if "last_snapshot_id" in details else details["snapshot_id"]
    runs = pd.DataFrame(
        {
            "source_uri": details["source_uri"].astype("str"),
            "job_id": details["job_id"].astype("str"),
            "first": details["snapshot_id"].to_numpy(dtype=np.int64),
            "last": last.to_numpy(dtype=np.int64),
        }
    )
    jobs = rows[[*JOB_KEY, "job"]].drop_duplicates("job").astype(dict.fromkeys(JOB_KEY, "str"))
    run_job = runs.merge(jobs, on=JOB_KEY, how="left")["job"].fillna(-1).to_numpy(dtype=np.int64)
    ids = rows["snapshot_id"].to_numpy(dtype=np.int64)
    run_of, row_of = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    by_job = pd.Series(run_job).groupby(run_job).indices
    for span in job_slices(rows):
        mine = by_job.get(int(rows["job"].iloc[span.start]))
        if mine is None:
            continue
        order = np.argsort(ids[span], kind="stable")
        sorted_ids = ids[span][order]
        start = np.searchsorted(sorted_ids, runs["first"].to_numpy()[mine], side="left")
        stop = np.searchsorted(sorted_ids, runs["last"].to_numpy()[mine], side="right")
        length = np.maximum(stop - start, 0)
        place = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
        run_of.append(np.repeat(mine, length))
        row_of.append(span.start + order[np.repeat(start, length) + place])
    run, row = np.concatenate(run_of), np.concatenate(row_of)
    order = np.argsort(row, kind="stable")
    run, row = run[order], row[order]
    return pd.DataFrame(
        {
            "row": row,
            "job": run_job[run],
            "file": _file_codes(details)[run],
            "state": details["state"].astype("category").array.take(run),
            **{name: floats(details, name)[run] for name in _FILE_COLUMNS},
        }
    )


def is_state(files: pd.DataFrame, *names: str) -> Bools:
    """Whether each row of :func:`expand_details` has one of these states."""
    categories = files["state"].cat.categories
    wanted = np.append(categories.isin(names), False)
    return np.asarray(wanted[files["state"].cat.codes.to_numpy()])


def running_since(files: pd.DataFrame, running: Bools, at: Floats) -> Floats:
    """The time since which each file has been running: the last at which it was not.

    Parameters
    ----------
    files : DataFrame
        From :func:`expand_details`.
    running : ndarray of bool
        Which of its rows show running files.
    at : ndarray of float64
        The time of each row.
    """
    key = files["job"].to_numpy() * (files["file"].max() + 1) + files["file"].to_numpy()
    order = np.argsort(key, kind="stable")
    place = np.arange(len(key))
    opens = np.append(True, np.diff(key[order]) != 0)[: len(key)]
    idle = np.maximum.accumulate(np.where(opens | ~running[order], place, 0))
    since = np.empty(len(key))
    since[order] = at[order][idle]
    return since


def _file_codes(details: pd.DataFrame) -> Ints:
    """The number of each file name; unnamed files are numbered by their position in the list."""
    place = details["file_index"].to_numpy(dtype=np.int64)
    if "file_name" not in details:
        return place
    codes, names = pd.factorize(details["file_name"])
    return np.where(codes >= 0, codes, len(names) + place).astype(np.int64)
