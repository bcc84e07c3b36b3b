"""Gaps in the recording: times without a snapshot, and an end that may be lost."""

from __future__ import annotations

import numpy as np
import pandas as pd

from importstats.analysis.job_history import MINUTE, Finding, JobHistory
from importstats.text import format_duration


def collector_gap(job: JobHistory, polls: float) -> Finding | None:
    """There was no snapshot for far longer than usual."""
    seen = job.snapshots["observed_at"]
    times = pd.concat([seen, pd.Series([job.now])]) if not job.ended else seen
    gaps = times.diff().dt.total_seconds().to_numpy()[1:]
    if len(gaps) < 2 or not job.poll_s > 0:
        return None
    long = gaps > max(polls * job.poll_s, MINUTE)
    if not long.any():
        return None
    worst = int(np.argmax(gaps))
    open_now = worst == len(seen) - 1
    return Finding(
        job,
        "collector_gap",
        "info" if job.ended else "warning",
        seen.iloc[worst],
        f"No snapshot for {format_duration(gaps[worst])}"
        + (", and still none" if open_now else "")
        + f"; usually there is one every {format_duration(job.poll_s)}",
        {"gap_s": gaps[worst], "poll_s": job.poll_s, "gaps": int(long.sum())},
    )


def forgotten_soon(job: JobHistory, retention_s: float) -> Finding | None:
    """The server may forget the job before its end is seen."""
    unseen_s = float((job.now - job.last_seen).total_seconds())
    if job.ended or unseen_s <= retention_s / 2:
        return None
    late = unseen_s >= retention_s
    left = (
        "may already have forgotten it"
        if late
        else f"may forget it in {format_duration(retention_s - unseen_s)}"
    )
    return Finding(
        job,
        "forgotten_soon",
        "critical" if late else "warning",
        job.last_seen,
        f"Last seen {format_duration(unseen_s)} ago in {job.phase}; if it ended then, the server "
        f"{left}",
        {"unseen_s": unseen_s, "retention_s": retention_s, "phase": job.phase},
    )
