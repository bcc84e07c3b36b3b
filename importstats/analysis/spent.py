"""The time that a job spent in each phase, next to earlier jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pandas as pd

from importstats.analysis.phase import phases, with_phase
from importstats.names import END_PHASES, JOB_KEY
from importstats.text import format_duration

_COLUMNS: Final = ["phase", "duration_s", "share", "earlier_s", "earlier_jobs"]
_MUCH: Final = 1.5


def time_spent(
    jobs: pd.DataFrame, history: pd.DataFrame | Sequence[pd.DataFrame] | None = None
) -> pd.DataFrame:
    """The time that a job, and its collection's earlier jobs, spent in each phase.

    Parameters
    ----------
    jobs : DataFrame
        A jobs frame of one job.
    history : DataFrame or sequence of DataFrame, optional
        Jobs frames of other jobs. Those count that wrote to the same collection of the same server
        and completed before this one was first seen.

    Returns
    -------
    DataFrame
        In the order of the phases: ``phase`` : str; ``duration_s`` : float64, the sum of its runs;
        ``share`` : float64, its share of the job's time; ``earlier_s`` : float64, the median of the
        earlier jobs, NaN without any; ``earlier_jobs`` : int64, how many there are.

    Examples
    --------
    >>> jobs = pd.DataFrame({
    ...     "source_uri": "u", "job_id": "7", "collection_name": "books", "snapshot_id": range(4),
    ...     "observed_at": pd.date_range("2026-05-18", periods=4, freq="60s", tz="UTC"),
    ...     "state": ["Pending", "Importing", "Importing", "Completed"],
    ...     "progress_pct": [5.0, 45.0, 60.0, 100.0], "imported_rows": [0, 90, 500, 900],
    ...     "total_rows": [0, 900, 900, 900], "detail_count": 3})
    >>> time_spent(jobs)[["phase", "duration_s"]].to_dict("records")
    [{'phase': 'Pending', 'duration_s': 30.0}, {'phase': 'Importing', 'duration_s': 120.0}]
    """
    own = _timed_phases(phases(jobs))
    table = own.groupby("phase", sort=False)["duration_s"].sum().reset_index()
    whole = table["duration_s"].sum()
    table["share"] = table["duration_s"] / whole if whole > 0 else float("nan")
    earlier = _timed_phases(phases(_earlier_snapshots(jobs, history)))
    by_job = earlier.groupby(["job", "phase"], sort=False)["duration_s"].sum()
    medians = by_job.groupby("phase").median()
    table["earlier_s"] = table["phase"].map(medians).astype("float64")
    table["earlier_jobs"] = table["phase"].map(by_job.groupby("phase").size()).fillna(0)
    return table.astype({"earlier_jobs": "int64"})[_COLUMNS]


def _timed_phases(runs: pd.DataFrame) -> pd.DataFrame:
    timed = runs[runs["duration_s"].notna() & ~runs["phase"].astype("str").isin(END_PHASES)]
    job = timed["source_uri"].astype("str") + " " + timed["job_id"].astype("str")
    return pd.DataFrame(
        {"job": job, "phase": timed["phase"].astype("str"), "duration_s": timed["duration_s"]}
    )


def _earlier_snapshots(
    jobs: pd.DataFrame, history: pd.DataFrame | Sequence[pd.DataFrame] | None
) -> pd.DataFrame:
    """The snapshots of the jobs that count as earlier."""
    if history is None or "collection_name" not in jobs:
        return jobs.iloc[:0]
    frames = [history] if isinstance(history, pd.DataFrame) else list(history)
    frames = [frame[frame["observed_at"].notna()] for frame in frames if len(frame)]
    if not frames:
        return jobs.iloc[:0]
    every = pd.concat(frames)
    begin, latest = jobs["observed_at"].min(), jobs.iloc[-1]
    alike = every["observed_at"].lt(begin)
    for name in ("source_uri", "collection_name"):
        alike &= every[name].astype("str").eq(str(latest[name]))
    every = every[alike]
    if every.empty:
        return jobs.iloc[:0]
    done = with_phase(every)
    completed = done[done["phase"].astype("str").eq("Completed")][[*JOB_KEY]].drop_duplicates()
    return every.merge(completed, on=JOB_KEY)


def spent_text(table: pd.DataFrame) -> str:
    """A sentence with the longest phase, and the one that took far longer than before.

    Examples
    --------
    >>> spent_text(pd.DataFrame({"phase": ["Importing", "Sorting"], "duration_s": [690.0, 310.0],
    ...     "share": [0.69, 0.31], "earlier_s": [700.0, 100.0], "earlier_jobs": [3, 3]}))
    '69 % Importing (11 min 30 s); Sorting took 3.1 times as long as in earlier jobs'
    """
    if table.empty or not table["duration_s"].gt(0).any():
        return ""
    longest = table.iloc[int(table["duration_s"].to_numpy().argmax())]
    text = (
        f"{100 * longest['share']:.0f} % {longest['phase']} "
        f"({format_duration(longest['duration_s'])})"
    )
    ratio = table["duration_s"] / table["earlier_s"]
    excess = (table["duration_s"] - table["earlier_s"]).where(ratio >= _MUCH)
    if excess.notna().any():
        worst = int(excess.to_numpy(na_value=-1).argmax())
        text += (
            f"; {table['phase'].iloc[worst]} took {ratio.iloc[worst]:.1f} times as long as in "
            "earlier jobs"
        )
    return text
