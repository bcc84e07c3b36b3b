"""Standstills of a job: nothing has moved for longer than it ever did before."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from importstats.analysis.job_history import HOUR, MINUTE, Finding, JobHistory
from importstats.arrays import floats, microseconds
from importstats.text import format_duration, format_percent

_US = 1e6


def stalled(job: JobHistory, factor: float) -> Finding | None:
    """Nothing moved for far longer than it ever did in this phase."""
    if job.phase not in ("Pending", "PreImporting", "Importing", "Sorting"):
        return None
    idle_s, longest_s = _idle(job)
    # Before Importing, progress counts files whatever their size: the last may take any time.
    habit = longest_s > 0 and job.phase in ("Importing", "Sorting")
    limit_s = max(factor * longest_s, 10 * MINUTE) if habit else 6 * HOUR
    if not idle_s > max(limit_s, 10 * job.poll_s):
        return None
    before = f", {idle_s / longest_s:.0f} times longer than before" if habit else ""
    last = job.snapshots.iloc[-1]
    return Finding(
        job,
        "stalled",
        "critical",
        job.last_seen - pd.Timedelta(seconds=idle_s),
        f"Nothing has moved in {job.phase} for {format_duration(idle_s)}{before}, "
        f"at {format_percent(last['progress_pct'])}",
        "Look at the data nodes' logs and their slots; if nothing moves them, abort the job and "
        "import again.",
        {"idle_s": idle_s, "longest_before_s": longest_s, "phase": job.phase},
    )


def _idle(job: JobHistory) -> tuple[float, float]:
    """Seconds since something moved, and the longest such time before in this phase (or NaN)."""
    part = job.snapshots[job.snapshots["observed_at"] >= job.runs["start_latest"].iloc[-1]]
    time, _ = microseconds(part, "observed_at")
    moved = np.zeros(len(part), np.bool_)
    for name in ("progress_pct", "imported_rows", "total_rows"):
        values = np.nan_to_num(floats(part, name), nan=-1.0)
        moved[1:] |= values[1:] != values[:-1]
    moved[0] = True
    marks = time[moved] / _US
    longest_s = float(np.diff(marks).max()) if len(marks) > 1 else math.nan
    return float(time[-1] / _US - marks[-1]), longest_s


def waiting_for_index(job: JobHistory) -> Finding | None:
    """The job waits for its indexes, which is a warning once that is out of the ordinary."""
    if job.phase != "IndexBuilding":
        return None
    waited_s = job.seconds_since(job.phase_since)
    before_s = float((job.phase_since - job.snapshots["observed_at"].iloc[0]).total_seconds())
    idle_s, longest_s = _idle(job)
    limit_s = 40 * before_s if math.isnan(longest_s) else 5 * longest_s
    last = job.snapshots.iloc[-1]
    share = float(last["phase_fraction"])
    built = "" if math.isnan(share) else f", {format_percent(100 * share)} of the segments have one"
    return Finding(
        job,
        "waiting_for_index",
        "warning" if idle_s > max(HOUR, limit_s) else "info",
        job.phase_since,
        "All rows are imported; the job has been building indexes for "
        f"{format_duration(waited_s)}{built}",
        "No hang: progress stands still until a whole segment is indexed. If index nodes have no "
        "free slot, add some.",
        {
            "waited_s": waited_s,
            "idle_s": idle_s,
            "before_s": before_s,
            "indexed_share": share,
            "progress_pct": last["progress_pct"],
        },
    )
