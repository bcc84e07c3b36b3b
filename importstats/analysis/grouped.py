"""Groups: the jobs of one load or restore, with one progress and one ETA."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from importstats.analysis.cut import rewind
from importstats.analysis.forecast import eta
from importstats.analysis.phase import with_phase
from importstats.analysis.totals import summary
from importstats.arrays import Floats, floats
from importstats.names import END_PHASES, JOB_KEY, PHASE_DTYPE

if TYPE_CHECKING:
    from pandas.api.typing import NaTType

#: The 10th, 50th and 90th percentile of the time left as multiples of the mean of its three
#: estimates (ours: from simulated groups of 3 to 11 jobs, seeds 1 to 16).
_SPREAD: Final = (0.28, 0.84, 3.0)
_WAITING: Final = ("Pending", "PreImporting", "Unknown")
_FINISHING: Final = ("Sorting", "SortingOrIndexing", "IndexBuilding", "Uncommitted", "Committing")
_AFTER_ROWS: Final = ("sorting_s", "sorting_or_indexing_s", "index_building_s", "committing_s")
_ETA: Final = ["eta_p10", "eta_p50", "eta_p90"]


@dataclass(frozen=True)
class GroupProgress:
    """The progress of a group of jobs, as known at a time.

    Attributes
    ----------
    jobs : DataFrame
        One row per job, by job: ``source_uri``, ``job_id``, ``collection_name``, ``phase``,
        ``progress_pct``, ``rows``, ``total_rows``, ``started_at``, ``ended_at``, ``duration_s`` as
        :func:`~importstats.summary` has them, ``eta_p10``, ``eta_p50``, ``eta_p90`` and ``reason``
        as :func:`~importstats.eta` has them, and ``is_last``: whether the group ends with this job.
    completed, failed, running, waiting : int
        How many jobs; a waiting job has not begun to write rows.
    rows : int
        Rows that all jobs have written.
    total_rows : float
        Rows in the files of all jobs that have not failed; NaN if nothing is known about them.
    is_total_estimated : bool
        Whether the files of some jobs are not listed yet; these jobs then count like the others.
    rows_per_s : float
        Since the first job began to write; NaN before any row.
    started_at, ended_at : Timestamp
        The first job's start and the last job's end; NaT if a job has not ended.
    eta_p10, eta_p50, eta_p90 : Timestamp
        When the last job ends; NaT with a `reason`.
    reason : str or None
        Why there is no ETA.
    """

    jobs: pd.DataFrame
    completed: int
    failed: int
    running: int
    waiting: int
    rows: int
    total_rows: float
    is_total_estimated: bool
    rows_per_s: float
    started_at: pd.Timestamp
    ended_at: pd.Timestamp | NaTType
    eta_p10: pd.Timestamp | NaTType
    eta_p50: pd.Timestamp | NaTType
    eta_p90: pd.Timestamp | NaTType
    reason: str | None


def group_progress(
    jobs: pd.DataFrame,
    details: pd.DataFrame | None = None,
    *,
    at: datetime | pd.Timestamp | None = None,
    history: pd.DataFrame | Sequence[pd.DataFrame] | None = None,
    planned: pd.Series[int] | None = None,
) -> GroupProgress:
    """One progress and one ETA for many jobs, which share the slots of a server.

    A single job's ETA knows nothing about the jobs that wait for its slots or speed up when it
    ends, so the group's ETA is not just the latest of them. It is the geometric mean of three
    estimates (ours): the latest end among the jobs' ETAs; the rows left to write, sort and index,
    at the whole group's pace so far, whatever the order of the jobs; and as long again as the group
    has taken. Once a single job is left, its own ETA is the group's. ``python
    benchmarks/groups.py`` measures how good this is, and how good the latest ETA alone would be.

    Parameters
    ----------
    jobs, details : DataFrame
        Frames of the group's jobs, see :mod:`importstats.store.frames`.
    at : datetime, optional
        Now. Later rows are not used. By default the latest snapshot.
    history : DataFrame or sequence of DataFrame, optional
        Jobs frames of earlier jobs, for each job's ETA.
    planned : Series of Int64, optional
        The rows of each job of the group, by ``job_id``, missing if not known; also of jobs without
        a snapshot.

    Returns
    -------
    GroupProgress

    Raises
    ------
    ValueError
        There is no snapshot up to `at`.

    Examples
    --------
    >>> def job(job_id, states, rows):
    ...     return pd.DataFrame({
    ...         "source_uri": "http://localhost:19530", "job_id": job_id, "state": states,
    ...         "collection_name": "books", "snapshot_id": [1, 2, 3],
    ...         "observed_at": pd.date_range("2026-05-18", periods=3, freq="60s", tz="UTC"),
    ...         "progress_pct": [40.0, 55.0, 100.0 if states[-1] == "Completed" else 60.0],
    ...         "imported_rows": rows, "total_rows": 900, "detail_count": 3})
    >>> found = group_progress(pd.concat([
    ...     job("7", ["Importing", "Importing", "Completed"], [0, 500, 900]),
    ...     job("8", ["Importing", "Importing", "Importing"], [0, 300, 600])]))
    >>> found.completed, found.running, found.rows, found.total_rows, found.rows_per_s
    (1, 1, 1500, 1800.0, 12.5)
    """
    now = pd.Timestamp(jobs["observed_at"].max() if at is None else at)
    seen = with_phase(rewind(jobs[jobs["observed_at"].notna()], now))
    if seen.empty:
        raise ValueError(f"there is no snapshot of the group by {now.isoformat()}")
    known = None if details is None or details.empty else rewind(details, now, seen)
    table = _with_etas(summary(seen, known), seen, known, now, history)
    table = _with_planned(table, planned)
    phase = table["phase"].astype("str")
    total, is_estimated = _total_rows(table, planned)
    pace = _rows_per_s(table, seen, now)
    is_over = bool(phase.isin(END_PHASES).all())
    if is_over:
        ends, reason = [table["ended_at"].max()] * 3, None
    else:
        found, reason = _end_quantiles(table, seen, total, pace, now)
        ends = found or [pd.NaT] * 3
    waits = phase.isin(_WAITING) & ~table["rows"].gt(0).fillna(False)
    last = table["ended_at"].fillna(table["eta_p50"])
    return GroupProgress(
        jobs=table.assign(
            is_last=last.eq(last.max()) if is_over else last.eq(table["eta_p50"].max())
        ),
        completed=int(phase.eq("Completed").sum()),
        failed=int(phase.eq("Failed").sum()),
        running=int((~phase.isin(END_PHASES) & ~waits).sum()),
        waiting=int(waits.sum()),
        rows=int(table["rows"].fillna(0).sum()),
        total_rows=total,
        is_total_estimated=is_estimated,
        rows_per_s=pace,
        started_at=table["started_at"].min(),
        ended_at=ends[0] if is_over else pd.NaT,
        eta_p10=ends[0],
        eta_p50=ends[1],
        eta_p90=ends[2],
        reason=reason,
    )


_COLUMNS: Final = [
    *JOB_KEY,
    "collection_name",
    "phase",
    "progress_pct",
    "rows",
    "total_rows",
    "started_at",
    "ended_at",
    "duration_s",
    *_AFTER_ROWS,
    *_ETA,
    "reason",
]


def _with_etas(
    table: pd.DataFrame,
    seen: pd.DataFrame,
    details: pd.DataFrame | None,
    now: pd.Timestamp,
    history: pd.DataFrame | Sequence[pd.DataFrame] | None,
) -> pd.DataFrame:
    """Each job's summary with its ETA."""
    earlier = [history] if isinstance(history, pd.DataFrame) else list(history or [])
    estimates = eta(seen, details, history=[seen, *earlier], at=now)
    return table.merge(estimates[[*JOB_KEY, *_ETA, "reason"]], on=JOB_KEY, how="left")[_COLUMNS]


def _with_planned(table: pd.DataFrame, planned: pd.Series[int] | None) -> pd.DataFrame:
    """The jobs, with those added that have no snapshot."""
    if planned is None:
        return table
    unseen = planned.index[~planned.index.isin(table["job_id"])]
    rows = pd.DataFrame({"job_id": pd.Series(unseen, dtype="str")}).reindex(columns=_COLUMNS)
    rows = rows.astype({name: dtype for name, dtype in table.dtypes.items() if name != "phase"})
    rows["phase"] = pd.Categorical(["Pending"] * len(rows), dtype=PHASE_DTYPE)
    return pd.concat([table, rows], ignore_index=True) if len(rows) else table


def _total_rows(table: pd.DataFrame, planned: pd.Series[int] | None) -> tuple[float, bool]:
    """The rows of all jobs but failed ones, and whether some had to be estimated."""
    wanted = table[table["phase"].ne("Failed")]
    totals = floats(wanted, "total_rows")
    totals[~(totals > 0)] = np.nan
    ended = wanted["phase"].eq("Completed").to_numpy(np.bool_)
    totals = np.where(ended, floats(wanted, "rows"), totals)
    if planned is not None:
        by_plan = planned.reindex(wanted["job_id"]).to_numpy(np.float64, na_value=np.nan)
        totals = np.where(np.isnan(totals), by_plan, totals)
    unknown = np.isnan(totals)
    if unknown.all():
        return math.nan, True
    return float(np.where(unknown, np.nanmedian(totals), totals).sum()), bool(unknown.any())


def _rows_per_s(table: pd.DataFrame, seen: pd.DataFrame, now: pd.Timestamp) -> float:
    """The whole group's rows per second since its first job began to write."""
    counted = seen[seen["total_rows"].fillna(0).gt(0)]
    if counted.empty:
        return math.nan
    last_row = table["ended_at"].max() if table["ended_at"].notna().all() else now
    elapsed_s = (last_row - counted["observed_at"].min()).total_seconds()
    rows = float(table["rows"].fillna(0).sum())
    return rows / elapsed_s if elapsed_s > 0 and rows > 0 else math.nan


def _end_quantiles(
    table: pd.DataFrame, seen: pd.DataFrame, total: float, pace: float, now: pd.Timestamp
) -> tuple[list[pd.Timestamp] | None, str | None]:
    """The quantiles of the last job's end; or why there are none."""
    open_ = table[~table["phase"].isin(END_PHASES)]
    waits = open_["phase"].isin(_WAITING).to_numpy(np.bool_)
    silent = open_["eta_p50"].isna().to_numpy(np.bool_)
    if (~waits).any() and silent[~waits].all():
        first = open_[~waits].iloc[0]
        return None, f"job {first['job_id']}: {first['reason']}"
    if len(open_) == 1 and not silent[0]:
        return [open_[name].item() for name in _ETA], None
    own_s = (open_["eta_p50"].max() - now).total_seconds()
    written = float(table.loc[table["phase"].ne("Failed"), "rows"].fillna(0).sum())
    left = max(total - written, 0.0)
    if waits.any() and not (left >= 0 and pace > 0):
        return None, "jobs are waiting, and the group has not written a row yet"
    writing_s = left / pace + _usual_tail_s(table) if left > 0 and pace > 0 else 0.0
    pace_s = max(writing_s, _finishing_s(table, seen, total, now))
    elapsed_s = (now - table["started_at"].min()).total_seconds()
    opinions = np.array([own_s, pace_s, elapsed_s])
    middle_s = float(np.exp(np.log(opinions[opinions > 0]).mean()))
    return [now + pd.Timedelta(seconds=middle_s * factor) for factor in _SPREAD], None


def _usual_tail_s(table: pd.DataFrame) -> float:
    """The median seconds that completed jobs went on after their last row."""
    done = table[table["phase"].eq("Completed")]
    if done.empty:
        return 0.0
    after: Floats = np.nansum([floats(done, name) for name in _AFTER_ROWS], axis=0)
    return float(np.median(after))


def _finishing_s(table: pd.DataFrame, seen: pd.DataFrame, total: float, now: pd.Timestamp) -> float:
    """The seconds to sort and index all rows at the group's pace; 0 if none is done."""
    at_work = seen[seen["phase"].isin(_FINISHING)]
    if at_work.empty:
        return 0.0
    elapsed_s = (now - at_work["observed_at"].min()).total_seconds()
    done = table["phase"].eq("Completed").to_numpy(np.bool_)
    share = np.where(done, 1.0, np.clip((floats(table, "progress_pct") - 70) / 20, 0.0, 1.0))
    share[~done & ~table["phase"].isin(_FINISHING).to_numpy(np.bool_)] = 0.0
    finished = float(np.nansum(share * np.nan_to_num(floats(table, "rows"))))
    if finished <= 0 or elapsed_s <= 0:
        return 0.0
    return float(max(total - finished, 0.0) * elapsed_s / finished)
