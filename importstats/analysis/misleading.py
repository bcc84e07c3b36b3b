"""Answers that are easily misread: unusable numbers, and files that seem to lose rows."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from importstats.analysis.job_history import MINUTE, Finding, JobHistory
from importstats.text import format_duration, printable

_IMPORTING = ("Importing", "Resharding", "Planning")


def progress_unreadable(job: JobHistory) -> Finding | None:
    """The progress of a running job is not a number from 0 to 100."""
    sent = _unusable(job.last, "progress")
    if job.ended or sent is None:
        return None
    return Finding(
        job,
        "progress_unreadable",
        "info",
        job.last_seen,
        f"The server sends {printable(str(sent), 40)} as progress, which is not a percentage",
        {"progress": printable(str(sent), 40)},
    )


def _unusable(row: pd.Series[Any], name: str) -> object | None:
    """The value that the server sent for a field, if it is not usable; else None."""
    extra = row.get("extra")
    if not isinstance(extra, str) or f'"{name}"' not in extra:
        return None
    try:
        fields = json.loads(extra)
    except ValueError:
        return None
    return fields.get(name) if isinstance(fields, dict) else None


def unexplained_progress(job: JobHistory) -> Finding | None:
    """No known progress scale explains what a running job shows."""
    last = job.last
    state = str(last["state"]).lower()
    at_work = state in ("importing", "inprogress") and last["progress_pct"] >= 10
    if job.ended or not at_work or str(last["phase"]) != "Unknown":
        return None
    unknown = job.snapshots["phase"].eq("Unknown").to_numpy()
    run = job.snapshots[unknown]
    return Finding(
        job,
        "unexplained_progress",
        "warning",
        run["observed_at"].iloc[0],
        f"The server says {state.capitalize()} at {last['progress_pct']:g} % with "
        f"{_count_text(last['imported_rows'])} of {_count_text(last['total_rows'])} rows, "
        "as no known release does, so its phase is not known",
        {
            "progress_pct": last["progress_pct"],
            "imported_rows": job.most("imported_rows"),
            "total_rows": job.most("total_rows"),
        },
    )


def _count_text(value: object) -> str:
    return "an unknown number" if pd.isna(value) else f"{value:,}"  # type: ignore[call-overload]


def restore(job: JobHistory) -> Finding | None:
    """The files are those of a backup, and no row has come yet."""
    if job.phase not in _IMPORTING or not job.files.restore or job.files.only_deletes:
        return None
    waited_s = job.seconds_since(job.phase_since)
    if job.most("imported_rows") > 0 or not waited_s > 5 * MINUTE:
        return None
    return Finding(
        job,
        "restore",
        "info",
        job.phase_since,
        f"A restore: no row has come in {format_duration(waited_s)} of Importing, probably because "
        "delete logs are applied first",
        {"waited_s": waited_s},
    )


def only_deletes(job: JobHistory) -> Finding | None:
    """All files are delete logs, which count no rows."""
    if not job.files.only_deletes:
        return None
    return Finding(
        job,
        "only_deletes",
        "info",
        job.snapshots["observed_at"].iloc[0],
        "The job imports delete logs only, so no row will be counted",
        {"files": job.files.count},
    )


def rows_of_files_fell(job: JobHistory) -> Finding | None:
    """Completed files show fewer rows than before."""
    if not job.files.fell or job.phase == "Failed" or job.files.fell_at is None:
        return None
    count = job.files.fell
    who = f"{count:,} completed files show" if count > 1 else "A completed file shows"
    return Finding(
        job,
        "rows_of_files_fell",
        "info",
        job.files.fell_at,
        f"{who} fewer rows than before, but the job does not: nothing was lost",
        {"files": count},
    )


def same_file_twice(job: JobHistory) -> Finding | None:
    """A file is listed more than once."""
    if job.files.twice is None:
        return None
    return Finding(
        job,
        "same_file_twice",
        "info",
        job.snapshots["observed_at"].iloc[0],
        f"{printable(job.files.twice, 120)} is listed {job.files.times} times, and its rows are "
        "imported each time",
        {"file": job.files.twice, "times": job.files.times},
    )
