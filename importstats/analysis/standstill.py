"""Standstills of a job: nothing has moved for longer than its own past and earlier jobs explain.

While rows are imported the files say more (:mod:`importstats.analysis.silence`); this is about the
phases whose progress is all there is to see.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import pandas as pd

from importstats.analysis.job_history import FILE_PHASES, HOUR, MINUTE, Finding, JobHistory
from importstats.analysis.phase import job_codes, with_phase
from importstats.arrays import Bools, floats, microseconds
from importstats.names import JOB_KEY
from importstats.text import format_duration, format_percent

_US: Final = 1e6
_MOVES: Final = ("progress_pct", "imported_rows", "total_rows")

# Phases whose progress alone tells, and in which a standstill has a habit.
_WITH_HABIT: Final = ("PreImporting", "Planning", "Sorting")
_INDEXING: Final = ("IndexBuilding", "SortingOrIndexing")

# Beyond what a standstill is out of the ordinary: times the longest of several earlier jobs, of the
# median of their longest, and of few.
_TIMES_LONGEST: Final = 1.5
_TIMES_MEDIAN: Final = 3.0
_TIMES_OF_FEW: Final = 3.0
_SEVERAL: Final = 3
_RECENT_JOBS: Final = 6
_LEAST_S: Final = 5 * MINUTE
_LEAST_POLLS: Final = 3
# Moves after which a job has a habit of its own.
_OWN_MOVES: Final = 3


def standstills(history: pd.DataFrame) -> pd.DataFrame:
    """The longest standstill of each completed job in each phase.

    Parameters
    ----------
    history : DataFrame
        A jobs frame, see :mod:`importstats.store.frames`.

    Returns
    -------
    DataFrame
        ``source_uri``, ``job_id``, ``collection_name``, ``phase`` : str
        ``ended_at`` : datetime64[us, UTC]
            The job's last snapshot.
        ``longest_s`` : float64
            Longest time in which nothing moved, the beginning and the end of the phase included.
    """
    columns = [*JOB_KEY, "collection_name", "phase", "ended_at", "longest_s"]
    seen = history[history["observed_at"].notna()]
    if "error" in seen:
        seen = seen[seen["error"].isna()]
    if "collection_name" not in seen or seen.empty:
        return pd.DataFrame(columns=columns)
    told = with_phase(seen).sort_values([*JOB_KEY, "observed_at"], kind="stable")
    job, _ = job_codes(told)
    phase = told["phase"].astype("str").to_numpy(dtype=object)
    time, _ = microseconds(told, "observed_at")
    moved = _moved(told)
    moved |= np.diff(job, prepend=-1) != 0
    moved[1:] |= phase[1:] != phase[:-1]
    marks = told[moved]
    at, of = time[moved], job[moved]
    gap = np.diff(at, append=0) / _US
    gap[np.append(of[1:] != of[:-1], True)] = np.nan
    table = pd.DataFrame(
        {
            **{
                name: marks[name].astype("str").to_numpy() for name in (*JOB_KEY, "collection_name")
            },
            "phase": phase[moved],
            "longest_s": gap,
            "job": of,
        }
    )
    found = table.groupby([*JOB_KEY, "collection_name", "phase", "job"], as_index=False)[
        "longest_s"
    ].max()
    last = pd.Series(told["observed_at"].to_numpy(), index=job).groupby(level=0).max()
    completed = table.loc[table["phase"].eq("Completed"), "job"].unique()
    found = found.assign(ended_at=last.reindex(found["job"]).to_numpy())
    known: pd.DataFrame = found[found["job"].isin(completed) & found["longest_s"].notna()]
    return known[columns]


def usual_limit_s(job: JobHistory, earlier: pd.DataFrame) -> float:
    """Beyond what a standstill in the job's phase is out of the ordinary; NaN if nobody knows.

    Parameters
    ----------
    job : JobHistory
    earlier : DataFrame
        The :func:`standstills` of earlier jobs.
    """
    last = job.snapshots.iloc[-1]
    mine = earlier[
        earlier["source_uri"].eq(job.key[0])
        & earlier["job_id"].ne(job.key[1])
        & earlier["phase"].eq(job.phase)
        & earlier["collection_name"].eq(str(last.get("collection_name")))
    ]
    longest = mine.sort_values("ended_at")["longest_s"].to_numpy(np.float64)[-_RECENT_JOBS:]
    if not len(longest):
        return math.nan
    if len(longest) < _SEVERAL:
        return float(_TIMES_OF_FEW * longest.max())
    return float(min(_TIMES_LONGEST * longest.max(), _TIMES_MEDIAN * np.median(longest)))


def stalled(
    job: JobHistory, factor: float, earlier: pd.DataFrame, *, files_tell: bool
) -> Finding | None:
    """Nothing moved for far longer than it ever did in this phase, here or in earlier jobs.

    While rows are imported that is for the files to tell, if they are known.
    """
    if job.phase not in ("Pending", *_WITH_HABIT, *FILE_PHASES):
        return None
    idle_s, longest_s, moves = _standstill(job)
    limit_s = usual_limit_s(job, earlier) if job.phase in _WITH_HABIT else math.nan
    habit = moves >= _OWN_MOVES and (
        job.phase == "Sorting" or (job.phase in FILE_PHASES and not files_tell)
    )
    known = not math.isnan(limit_s)
    if known:
        limit_s = max(limit_s, _TIMES_LONGEST * np.nan_to_num(longest_s), _LEAST_S)
    else:
        limit_s = max(factor * longest_s, 10 * MINUTE) if habit else 6 * HOUR
    if not idle_s > max(limit_s, (_LEAST_POLLS if known else 10) * job.poll_s):
        return None
    before = f", {idle_s / longest_s:.0f} times longer than before" if habit else ""
    last = job.snapshots.iloc[-1]
    return Finding(
        job,
        "stalled",
        "critical" if not known else "warning",
        job.last_seen - pd.Timedelta(seconds=idle_s),
        f"Nothing has moved in {job.phase} for {format_duration(idle_s)}{before}, "
        f"at {format_percent(last['progress_pct'])}",
        "Look at the data nodes' logs and their slots; if nothing moves them, abort the job and "
        "import again.",
        {"idle_s": idle_s, "longest_before_s": longest_s, "limit_s": limit_s, "phase": job.phase},
    )


def waiting_for_index(job: JobHistory, earlier: pd.DataFrame) -> Finding | None:
    """The job waits for its indexes, which is a warning once that is out of the ordinary."""
    if job.phase not in _INDEXING:
        return None
    waited_s = job.seconds_since(job.phase_since)
    before_s = float((job.phase_since - job.snapshots["observed_at"].iloc[0]).total_seconds())
    idle_s, longest_s, _ = _standstill(job)
    limit_s = usual_limit_s(job, earlier)
    if math.isnan(limit_s):
        limit_s = max(HOUR, 40 * before_s if math.isnan(longest_s) else 5 * longest_s)
    else:
        limit_s = max(limit_s, _TIMES_LONGEST * np.nan_to_num(longest_s), _LEAST_S)
    late = idle_s > max(limit_s, _LEAST_POLLS * job.poll_s)
    last = job.snapshots.iloc[-1]
    share = float(last["phase_fraction"])
    built = "" if math.isnan(share) else f", {format_percent(100 * share)} of the segments have one"
    return Finding(
        job,
        "waiting_for_index",
        "warning" if late else "info",
        job.phase_since,
        "All rows are imported; the job has been building indexes for "
        f"{format_duration(waited_s)}{built}",
        "No hang: progress stands still until a whole segment is indexed. If index nodes have no "
        "free slot, add some.",
        {
            "waited_s": waited_s,
            "idle_s": idle_s,
            "limit_s": limit_s,
            "before_s": before_s,
            "indexed_share": share,
            "progress_pct": last["progress_pct"],
        },
    )


def _moved(snapshots: pd.DataFrame) -> Bools:
    """Whether something is other than at the snapshot before."""
    moved = np.zeros(len(snapshots), np.bool_)
    for name in _MOVES:
        values = np.nan_to_num(floats(snapshots, name), nan=-1.0)
        moved[1:] |= values[1:] != values[:-1]
    return moved


def _standstill(job: JobHistory) -> tuple[float, float, int]:
    """Seconds since something moved, the longest such time before in this phase, and the moves."""
    part = job.snapshots[job.snapshots["observed_at"] >= job.runs["start_latest"].iloc[-1]]
    time, _ = microseconds(part, "observed_at")
    moved = _moved(part)
    moved[0] = True
    marks = time[moved] / _US
    longest_s = float(np.diff(marks).max()) if len(marks) > 1 else math.nan
    return float(time[-1] / _US - marks[-1]), longest_s, len(marks) - 1
