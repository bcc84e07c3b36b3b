"""A job's end: why it failed, whether all rows arrived, and ends that are not real."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from importstats.analysis.job_history import Finding, JobHistory, greatest
from importstats.analysis.phase import is_bulk_insert
from importstats.analysis.reasons import (
    advice_on_reason,
    culprit_in,
    kind_of_reason,
    known_reasons,
    normalised_reason,
)
from importstats.analysis.row_counts import RowCheck
from importstats.arrays import floats
from importstats.text import excerpt, format_bytes, format_count, plural, printable

_ALL_AGAIN = " A failed job leaves no visible rows, so its files can be imported again."
# Milvus up to 2.3 (rootcoord/import_manager.go): each task has its own segments, and only a failed
# task's are dropped.
_FAILED_AGAIN = (
    " Each task of a bulk insert ends by itself: the rows of those that completed are in the"
    " collection. Import only the files of the failed ones again."
)


def failed(job: JobHistory) -> Finding | None:
    """The job failed, with its own reason or its files'."""
    if job.phase != "Failed":
        return None
    reason = last_reason(job) or job.files.reason
    before = job.runs.iloc[-2] if len(job.runs) > 1 else None
    phase = "an unknown phase" if before is None else str(before["phase"])
    earlier = job.snapshots.iloc[:-1]
    written, total = greatest(earlier, "imported_rows"), greatest(earlier, "total_rows")
    far = (
        f" with {format_count(written)} of {format_count(total)} rows written" if total > 0 else ""
    )
    culprit = culprit_in(reason)
    again = _FAILED_AGAIN if is_bulk_insert(job.snapshots).any() else _ALL_AGAIN
    said = excerpt(reason, 300) if reason else "the server gives no reason"
    if reason is None and phase == "Uncommitted":
        said += "; somebody aborted it, or its time (option `timeout`) ran out"
    return Finding(
        job,
        "failed",
        "critical",
        job.phase_since,
        f"Failed in {phase}{far}: {said}",
        {
            "reason": reason,
            "kind": kind_of_reason(reason) if reason else None,
            "cause": normalised_reason(reason) if reason else None,
            "culprit": culprit,
            "phase": phase,
            "imported_rows": written,
            "total_rows": total,
        },
        _advice(reason, phase) + again,
    )


def _advice(reason: str | None, phase: str) -> str:
    if reason:
        return advice_on_reason(reason)
    where = {
        "Sorting": "the logs of the data coordinator and of the stats tasks",
        "SortingOrIndexing": "the logs of the data coordinator and of the stats and index tasks",
        "IndexBuilding": "the logs of the data coordinator and of the index tasks",
        "Uncommitted": "the data coordinator's log, and ask who aborts imports",
    }.get(phase, "the logs of the data coordinator, the data nodes and the stats tasks")
    return f"The server names no cause: look for the job's id in {where} at that time."


def last_reason(job: JobHistory) -> str | None:
    """The reason in the job's last snapshot; None if it is empty."""
    if "reason" not in job.snapshots:
        return None
    reason = known_reasons(job.snapshots["reason"].iloc[-1:]).iloc[0]
    return str(reason) if isinstance(reason, str) else None


def reason_given(job: JobHistory) -> Finding | None:
    """The job runs, but it or one of its files has a reason."""
    if job.ended:
        return None
    own = last_reason(job)
    reason = own or job.files.reason
    if reason is None:
        return None
    kind = kind_of_reason(reason)
    files = job.files.reason_files
    who = "The job runs and gives a reason" if own else f"{files:,} of its files give a reason"
    if not own and files == 1:
        who = "One of its files gives a reason"
    passing = own is None and kind == "transient"
    return Finding(
        job,
        "reason_given",
        "info" if passing else "warning",
        _since_reason(job, own),
        f"{who}: {excerpt(reason, 300)}",
        {"reason": reason, "kind": kind, "files": None if own else files},
        advice_on_reason(reason),
    )


def _since_reason(job: JobHistory, own: str | None) -> pd.Timestamp:
    if own is None:
        return job.last_seen
    same = known_reasons(job.snapshots["reason"]).eq(own)
    return pd.Timestamp(job.snapshots["observed_at"][same].iloc[0])


def changed_after_end(job: JobHistory) -> Finding | None:
    """The server called the job failed after it had completed."""
    if job.phase != "Completed":
        return None
    state = job.snapshots["state"].astype("str").str.lower()
    done = job.snapshots[state.eq("completed")].iloc[0]
    is_after = job.snapshots["observed_at"] > done["observed_at"]
    later = job.snapshots[state.eq("failed") & is_after]
    if not len(later):
        return None
    first = later.iloc[:1]
    reasons = known_reasons(first["reason"]) if "reason" in first else None
    reason = None if reasons is None or reasons.isna().iloc[0] else str(reasons.iloc[0])
    dropped = kind_of_reason(reason) == "missing"
    end = done.get("complete_time")
    end = done["observed_at"] if end is None or pd.isna(end) else end
    what = "its collection was dropped later" if dropped else "the server failed it later"
    return Finding(
        job,
        "collection_dropped" if dropped else "rows_dropped",
        "info" if dropped else "critical",
        later["observed_at"].iloc[0],
        f"The job completed at {end:%Y-%m-%d %H:%M:%S} UTC; {what}: "
        f"{excerpt(reason, 300) if reason else 'no reason is given'}",
        {
            "completed_at": f"{end:%Y-%m-%dT%H:%M:%SZ}",
            "reason": reason,
            "imported_rows": job.most("imported_rows"),
        },
    )


def completed_empty(job: JobHistory) -> Finding | None:
    """The job completed without a row."""
    if job.phase != "Completed":
        return None
    rows, total = job.most("imported_rows"), job.most("total_rows")
    if rows != 0 or total > 0:
        return None
    size = np.nanmax([job.most("file_size_bytes"), job.files.size_bytes, 0.0])
    known = size > 0
    bytes_of = f" of {format_bytes(size)}" if known else ""
    count = job.files.count
    files = f"{plural(count, 'file')}{bytes_of}" if count else f"files{bytes_of}"
    return Finding(
        job,
        "completed_empty",
        "warning" if known and not job.files.only_deletes else "info",
        job.phase_since,
        f"Completed without a row, from {files}",
        {"files": count or None, "file_size_bytes": size if known else None},
    )


def completed_short(job: JobHistory) -> Finding | None:
    """The job completed with fewer rows than the server had counted in its files."""
    if job.phase != "Completed" or job.files.only_deletes:
        return None
    last = job.snapshots.iloc[-1:]
    rows, total = float(floats(last, "imported_rows")[0]), float(floats(last, "total_rows")[0])
    if not rows < total:
        return None
    # The delete logs of a restore take rows away, as they should.
    expected = job.files.restore
    return Finding(
        job,
        "completed_short",
        "info" if expected else "warning",
        job.phase_since,
        f"Completed with {format_count(rows)} of the {format_count(total)} rows in its files"
        + ("; a restore's deletes take rows away" if expected else ""),
        {"imported_rows": rows, "total_rows": total},
    )


def not_known(job: JobHistory) -> Finding | None:
    """The server does not know the job (any more), or answers without a state."""
    last = job.last
    is_running = job.phase not in ("Completed", "Failed")
    state = last["state"]
    nameless = not isinstance(state, str) or state.strip().lower() in ("", "none")
    forgotten = isinstance(state, str) and state.lower() == "failed"
    if not is_running or str(last["phase"]) != "Unknown" or not (nameless or forgotten):
        return None
    if nameless and last["progress_pct"] > 0:
        return None
    answer = "does not know the job" if forgotten else "gives no state: it does not know the job"
    if not len(job.runs) or job.phase == "Unknown":
        seen = "; wrong id, another database (--db), or it ended and was forgotten"
    else:
        seen = (
            f" any more. It was in {job.phase} before, so its end was missed: it may have completed"
        )
    return Finding(
        job,
        "not_known",
        "warning",
        last["observed_at"],
        f"The server {answer}{seen}",
        {
            "phase": job.phase,
            "imported_rows": job.most("imported_rows"),
            "total_rows": job.most("total_rows"),
        },
    )


def rows_differ(job: JobHistory, check: RowCheck | None) -> Finding | None:
    """A completed job does not have the rows that were expected."""
    if check is None or job.phase != "Completed" or not check.wrong:
        return None
    whole = check.imported != check.expected and not math.isnan(check.imported)
    which = f"; {check.wrong_files:,} of its files differ" if check.wrong_files else ""
    worst = f", most of all {printable(check.worst_file, 120)}" if check.worst_file else ""
    counts = (
        f"{format_count(check.imported)} of {format_count(check.expected)} expected rows"
        if whole
        else f"all {format_count(check.expected)} expected rows, but not from the files expected"
    )
    return Finding(
        job,
        "rows_differ",
        "warning",
        job.phase_since,
        f"Completed with {counts}{which}{worst}",
        {
            "expected_rows": check.expected,
            "imported_rows": check.imported,
            "files": check.wrong_files,
        },
    )
