"""Words: the state of a group of jobs in one line."""

from __future__ import annotations

from datetime import datetime, tzinfo

import pandas as pd

from importstats.analysis.grouped import GroupProgress
from importstats.text import (
    format_count,
    format_duration,
    format_percent,
    format_rate,
    format_time,
    plural,
    printable,
)


def group_headline(group: GroupProgress, *, at: datetime, zone: tzinfo | None = None) -> str:
    """One line: how many jobs there are, how far they are, and when the last one ends.

    Examples
    --------
    >>> from datetime import UTC
    >>> at = pd.Timestamp("2026-05-18T00:02Z")
    >>> times = dict.fromkeys(["ended_at", "eta_p10", "eta_p50", "eta_p90"], at)
    >>> group = GroupProgress(pd.DataFrame(), 3, 0, 0, 0, 900, 900.0, False, 7.5,
    ...                       at - pd.Timedelta("2min"), **times, reason=None)
    >>> group_headline(group, at=at, zone=UTC)
    '3 jobs: 3 completed; 900 of 900 rows (100 %), 7.5 rows/s; ended at 00:02:00 UTC after 2 min'
    """
    counts = {
        "completed": group.completed,
        "failed": group.failed,
        "at work": group.running,
        "waiting": group.waiting,
    }
    said = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
    jobs = sum(counts.values())
    rows = f"{format_count(group.rows)} of {format_count(group.total_rows)} rows"
    if group.is_total_estimated and group.total_rows == group.total_rows:
        rows = f"{format_count(group.rows)} of about {format_count(group.total_rows)} rows"
    if group.total_rows > 0:
        rows += f" ({format_percent(100 * min(group.rows / group.total_rows, 1.0))})"
    pace = format_rate(group.rows_per_s, "rows")
    end = _group_end_text(group, at, zone)
    return f"{plural(jobs, 'job')}: {said}; {rows}, {pace}; {end}"


def _group_end_text(group: GroupProgress, at: datetime, zone: tzinfo | None) -> str:
    if not pd.isna(group.ended_at):
        took = (group.ended_at - group.started_at).total_seconds()
        return f"ended at {format_time(group.ended_at, zone)} after {format_duration(took)}"
    if group.reason is not None:
        return f"no ETA: {printable(group.reason)}"
    day = group.eta_p90.date() != at.date()
    low, middle, high = (
        format_time(None if pd.isna(time) else time, zone, day=day)
        for time in (group.eta_p10, group.eta_p50, group.eta_p90)
    )
    return f"the last ends about {middle} (80 % sure: {low} to {high})"
