"""A whole job's waits by its phase: what it waits for, since when, and if that is unusual."""

from __future__ import annotations

import math
from typing import Final

from importstats.analysis.habits import AFTER_ROWS, TIMES_LONGEST
from importstats.analysis.job_history import HOUR, MINUTE, Finding, JobHistory
from importstats.text import format_count, format_duration, format_percent, plural

_LEAST_S: Final = 10 * MINUTE
_LEAST_POLLS: Final = 3
# If a job has had this many standstills in a phase, one is unusual that lasts this many times as
# long as the longest. Ours: of 6,509 such standstills in 776 jobs of ``benchmarks/worlds`` without
# trouble, 45 lasted longer, 10 of them more than ten minutes.
_TIMES_OWN: Final = ((3, 1.5), (2, 1.75))


def waits_to_start(job: JobHistory) -> Finding | None:
    """The job has been Pending for a while."""
    if job.phase != "Pending":
        return None
    waited_s = job.seconds_since(min(job.begun_at, job.phase_since))
    if not waited_s >= 2 * MINUTE:
        return None
    limit_s = HOUR if math.isnan(job.limit_s) else max(10 * MINUTE, job.limit_s)
    ahead = (
        f"; {plural(job.ahead, 'job')} of its cluster that had not ended "
        f"{'were' if job.ahead != 1 else 'was'} created before it"
        if job.ahead
        else ""
    )
    return Finding(
        job,
        "waits_to_start",
        "warning" if waited_s > limit_s and not job.ahead else "info",
        min(job.begun_at, job.phase_since),
        f"The job has been Pending for {format_duration(waited_s)}{job.usual_text}{ahead}",
        {"waited_s": waited_s, "usual_s": job.usual_s, "jobs_ahead": job.ahead},
    )


def waits_after_rows(job: JobHistory) -> Finding | None:
    """All rows are written, and the job sorts segments or builds indexes, as its release does."""
    if job.phase not in AFTER_ROWS:
        return None
    waited_s = job.seconds_since(job.phase_since)
    idle_s, *_ = job.standstill
    indexing = job.phase == "IndexBuilding"
    rows = job.most("total_rows")
    all_in = f"All {format_count(rows)} rows are" if rows > 0 else "All rows are"
    what = {
        "IndexBuilding": "has been building indexes",
        "Sorting": "has been sorting segments",
        "SortingOrIndexing": "has been sorting or indexing segments (2.5 and later sort here, "
        "2.4 builds indexes)",
    }[job.phase]
    last = job.last
    share = float(last["phase_fraction"])
    done = "indexed" if indexing else "sorted"
    part = "" if not share > 0 else f"; {format_percent(100 * share)} of them are {done}"
    if indexing and part:
        part = f", {format_percent(100 * share)} of the segments have one"
    waited, idle = format_duration(waited_s), format_duration(idle_s)
    still = f", and has not moved {'since' if idle == waited else f'for {idle}'}"
    still = still if idle_s > 10 * MINUTE else ""
    evidence = {
        "waited_s": waited_s,
        "idle_s": idle_s,
        "usual_s": job.usual_s,
        "progress_pct": last["progress_pct"],
    }
    return Finding(
        job,
        "waiting_for_index" if indexing else "waiting_for_sorting",
        "warning" if idle_s > _patience_s(job) else "info",
        job.phase_since,
        f"{all_in} in; the job {what} for {waited}{job.usual_text}{part}{still}",
        {**evidence, "indexed_share": share} if indexing else evidence,
    )


def _patience_s(job: JobHistory) -> float:
    """The longest usual standstill after a job's last row, in seconds.

    It is somewhat more than earlier jobs stood still, or this job did in this phase. The segments
    of one job are much alike, so two or three standstills of its own say more than those of other
    jobs. If neither is known, it is an hour, or five times as long as writing the rows took (ours).
    """
    _, longest_s, moves = job.standstill
    least_s = max(_LEAST_S, _LEAST_POLLS * job.poll_s)
    if job.limit_s >= 0:
        limit_s = max(job.limit_s, TIMES_LONGEST * (longest_s if longest_s > 0 else 0.0))
        own_s = [times * longest_s for least, times in _TIMES_OWN if moves >= least]
        return max(least_s, min([limit_s, *own_s]))
    if longest_s > 0:
        return max(least_s, HOUR, 5 * longest_s)
    before_s = float((job.phase_since - job.begun_at).total_seconds())
    return max(least_s, HOUR, 5 * before_s)


def commit_hangs(job: JobHistory) -> Finding | None:
    """The job has been committing for longer than a commit takes."""
    if job.phase != "Committing":
        return None
    waited_s = job.seconds_since(job.phase_since)
    if not waited_s > 10 * MINUTE:
        return None
    return Finding(
        job,
        "commit_hangs",
        "warning",
        job.phase_since,
        f"All rows are in; the job has been Committing for {format_duration(waited_s)}. "
        "A commit takes minutes at most, so it hangs",
        {"waited_s": waited_s},
    )


def waits_for_commit(job: JobHistory) -> Finding | None:
    """The job waits for somebody to commit it."""
    if job.phase != "Uncommitted":
        return None
    waited_s = job.seconds_since(job.phase_since)
    return Finding(
        job,
        "waits_for_commit",
        "warning" if waited_s > 5 * MINUTE else "info",
        job.phase_since,
        f"All rows are imported; the job has waited {format_duration(waited_s)} for a commit",
        {"waited_s": waited_s},
    )
