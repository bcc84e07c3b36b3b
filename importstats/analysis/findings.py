"""Diagnosis: what is wrong with a job, or only looks so, in a sentence with its numbers.

Every finding has the numbers it rests on and says what to do. ``info`` explains what is normal or
over, ``warning`` says that the job will take longer or data is at risk, ``critical`` that it has
failed, or will not end unless somebody does something.
"""

from __future__ import annotations

import json
import math
import re
from datetime import datetime
from typing import Any, Final

import numpy as np
import pandas as pd

from importstats.analysis.file_findings import file_findings
from importstats.analysis.job_history import (
    HOUR,
    MINUTE,
    Finding,
    JobHistory,
    job_histories,
)
from importstats.analysis.standstill import stalled, standstills, waiting_for_index
from importstats.arrays import floats
from importstats.names import JOB_KEY
from importstats.text import format_count, format_duration

#: What can be found, in the order in which it is told.
FINDINGS: Final = (
    "failed",
    "stalled",
    "waits_for_commit",
    "no_free_slot",
    "one_file_holds_up",
    "throughput_collapsed",
    "forgotten_soon",
    "collector_gap",
    "node_restarted",
    "retries",
    "waiting_for_index",
    "wrong_totals",
)
FINDING_DTYPE: Final = pd.CategoricalDtype(list(FINDINGS), ordered=True)
SEVERITY_DTYPE: Final = pd.CategoricalDtype(["info", "warning", "critical"], ordered=True)

_US: Final = 1e6


def diagnose(
    jobs: pd.DataFrame,
    details: pd.DataFrame | None = None,
    *,
    at: datetime | pd.Timestamp | None = None,
    history: pd.DataFrame | None = None,
    retention_s: float = 3 * HOUR,
    gap_polls: float = 5.0,
    stall_factor: float = 5.0,
    collapse_factor: float = 0.35,
) -> pd.DataFrame:
    """What is to be said about jobs, as known at a time.

    ========================  ======================================================================
    finding                   when
    ========================  ======================================================================
    ``failed``                the job failed; how far it was is known from earlier snapshots
    ``stalled``               nothing has moved for `stall_factor` times longer than ever before in
                              this phase, at least 10 minutes and 10 polls (6 hours before the phase
                              Importing and where nothing has moved yet in the phase: there is no
                              habit to compare with)
    ``waits_for_commit``      in Uncommitted; a warning from 5 minutes on
    ``no_free_slot``          files wait and none is at work, for a minute and 3 polls; a warning
                              from 10 minutes on
    ``one_file_holds_up``     a straggler at work delays the end of the phase Importing by more than
                              2 minutes and a tenth of the time it has taken so far
    ``throughput_collapsed``  tasks at work (stragglers apart) have slowed to below
                              `collapse_factor` of their speed before some time, by the most
                              likely change point of their rate (Hinkley, Biometrika 1970)
    ``forgotten_soon``        not ended when last seen, and unseen for more than half of
                              `retention_s`: the server may forget the job before its end is seen
    ``collector_gap``         no snapshot for more than `gap_polls` times the usual interval and
                              a minute; the longest such gap
    ``node_restarted``        several tasks went back between the same two snapshots
    ``retries``               tasks went back; a warning if it is a tenth of them, and 3
    ``waiting_for_index``     in IndexBuilding, where progress stands still at 80 to 90; a warning
                              after an hour in which it did not move, 5 times longer than before in
                              this phase, or 40 times as long as all before if it never moved
    ``wrong_totals``          the files' ``total_rows`` add up to more than the job has
    ========================  ======================================================================

    Nothing is found from what the data cannot tell: without `details` those about files are left
    out.

    Parameters
    ----------
    jobs, details : DataFrame
        Frames of any number of jobs, see :mod:`importstats.store.frames`. Recorded gaps
        (``load_jobs(..., gaps=True)``) may be among the jobs.
    at : datetime, optional
        Now. Later rows are not used. By default each job's last snapshot.
    history : DataFrame, optional
        A jobs frame of earlier jobs: what was usual for them in each phase. Other jobs among
        `jobs` are used for that as well.
    retention_s : float
        How long the server remembers a job after its end.
    gap_polls, stall_factor, collapse_factor : float
        The thresholds above (ours; chosen so that healthy simulated jobs raise no warning).

    Returns
    -------
    DataFrame
        One row per finding, the severest first, then by job:

        ``source_uri``, ``job_id`` : str
        ``finding`` : ordered category, one of :data:`FINDINGS`
        ``severity`` : ordered category; info, warning, critical
        ``since`` : datetime64[us, UTC]
        ``message``, ``advice`` : str
            A sentence each.
        ``evidence`` : str
            The numbers as JSON, named with their units.

    Examples
    --------
    >>> jobs = pd.DataFrame({
    ...     "source_uri": "http://localhost:19530", "job_id": "7",
    ...     "observed_at": pd.date_range("2026-05-18", periods=4, freq="60s", tz="UTC"),
    ...     "state": ["Importing"] * 3 + ["Failed"], "progress_pct": [40.0, 55.0, 61.0, 0.0],
    ...     "imported_rows": [0, 500, 700, 0], "total_rows": [1000, 1000, 1000, 0],
    ...     "detail_count": [3, 3, 3, 3], "reason": [None] * 3 + ["dim 768 is not dim 1024"]})
    >>> found = diagnose(jobs)
    >>> found["message"].item()
    'Failed in Importing with 700 of 1,000 rows written: dim 768 is not dim 1024'
    >>> json.loads(found["evidence"].item())["cause"]
    'dim # is not dim #'
    """
    until = None if at is None else pd.Timestamp(at)
    seen = jobs[jobs["observed_at"].notna()]
    if until is not None:
        seen = seen[seen["observed_at"] <= until]
    histories = job_histories(seen, until)
    earlier = _earlier(seen, history, until)
    files_tell = details is not None and len(details) > 0
    found = [
        *(_failed(job) for job in histories),
        *(stalled(job, stall_factor, earlier, files_tell=files_tell) for job in histories),
        *(_waits_for_commit(job) for job in histories),
        *(waiting_for_index(job, earlier) for job in histories),
        *(_collector_gap(job, gap_polls) for job in histories),
        *(_forgotten_soon(job, retention_s) for job in histories),
    ]
    if details is not None and len(details):
        found += file_findings(histories, details, until, collapse_factor)
    return _table([finding for finding in found if finding is not None])


def _earlier(
    seen: pd.DataFrame, history: pd.DataFrame | None, until: pd.Timestamp | None
) -> pd.DataFrame:
    """The longest standstills of the jobs that had completed by then."""
    known = standstills(seen)
    if history is None or history.empty:
        return known
    if until is not None:
        history = history[history["observed_at"] <= until]
    more = standstills(history)
    both = pd.concat([known, more], ignore_index=True) if len(known) else more
    return both.drop_duplicates([*JOB_KEY, "phase"], ignore_index=True)


def normalised_reason(reason: str) -> str:
    """A failure's reason without what differs from file to file: the cause to group by.

    Examples
    --------
    >>> normalised_reason("cannot read s3://b/part-00017.parquet: unexpected EOF (id 449839)")
    'cannot read <path>: unexpected EOF (id #)'
    """
    text = _PATHS.sub("<path>", reason)
    return " ".join(_NUMBERS.sub("#", text).split())


_PART: Final = r"[^\s'\"\[\](),;:=/]"
_PATHS: Final = re.compile(rf"(?:\w+://)?{_PART}*(?:/{_PART}+)+", re.IGNORECASE)
_NUMBERS: Final = re.compile(r"\b0x[0-9a-f]+\b|\b\d+(?:\.\d+)?\b", re.IGNORECASE)


def _failed(job: JobHistory) -> Finding | None:
    if job.phase != "Failed":
        return None
    last = job.snapshots.iloc[-1]
    known = isinstance(last.get("reason"), str)
    reason = last["reason"] if known else "the server gives no reason"
    before = job.runs.iloc[-2] if len(job.runs) > 1 else None
    phase = "an unknown phase" if before is None else str(before["phase"])
    earlier = job.snapshots.iloc[:-1]
    rows = floats(earlier, "imported_rows")
    written = float(np.nanmax(rows)) if np.isfinite(rows).any() else math.nan
    totals = floats(earlier, "total_rows")
    total = float(np.nanmax(totals)) if np.isfinite(totals).any() else math.nan
    far = (
        f" with {format_count(written)} of {format_count(total)} rows written" if total > 0 else ""
    )
    return Finding(
        job,
        "failed",
        "critical",
        job.phase_since,
        f"Failed in {phase}{far}: {reason}",
        "Correct what the reason names and import again; a failed job leaves no rows behind.",
        {
            "reason": last["reason"] if known else None,
            "cause": normalised_reason(reason) if known else None,
            "phase": phase,
            "imported_rows": written,
            "total_rows": total,
        },
    )


def _waits_for_commit(job: JobHistory) -> Finding | None:
    if job.phase != "Uncommitted":
        return None
    waited_s = job.seconds_since(job.phase_since)
    return Finding(
        job,
        "waits_for_commit",
        "warning" if waited_s > 5 * MINUTE else "info",
        job.phase_since,
        f"All rows are imported; the job has waited {format_duration(waited_s)} for a commit",
        "Commit the job to make its rows visible, or abort it.",
        {"waited_s": waited_s},
    )


def _collector_gap(job: JobHistory, polls: float) -> Finding | None:
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
        + (" and still none" if open_now else "")
        + f", usually every {format_duration(job.poll_s)}",
        "Check that the collector runs and reaches the server; what happened in the gap is not "
        "known.",
        {"gap_s": gaps[worst], "poll_s": job.poll_s, "gaps": int(long.sum())},
    )


def _forgotten_soon(job: JobHistory, retention_s: float) -> Finding | None:
    unseen_s = float((job.now - job.last_seen).total_seconds())
    if job.ended or unseen_s <= retention_s / 2:
        return None
    late = unseen_s >= retention_s
    left = (
        "may already have forgotten it"
        if late
        else (f"may forget it from {format_duration(retention_s - unseen_s)} on from now")
    )
    return Finding(
        job,
        "forgotten_soon",
        "critical" if late else "warning",
        job.last_seen,
        f"Last seen {format_duration(unseen_s)} ago in {job.phase}; if it ended then, the server "
        f"{left}",
        "Poll the job now; how it ended is lost once the server forgets it.",
        {"unseen_s": unseen_s, "retention_s": retention_s, "phase": job.phase},
    )


def _table(findings: list[Finding]) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "source_uri": pd.Series([found.job.key[0] for found in findings], dtype="str"),
            "job_id": pd.Series([found.job.key[1] for found in findings], dtype="str"),
            "finding": pd.Categorical([found.finding for found in findings], dtype=FINDING_DTYPE),
            "severity": pd.Categorical(
                [found.severity for found in findings], dtype=SEVERITY_DTYPE
            ),
            "since": pd.Series([found.since for found in findings], dtype="datetime64[us, UTC]"),
            "message": pd.Series([found.message for found in findings], dtype="str"),
            "advice": pd.Series([found.advice for found in findings], dtype="str"),
            "evidence": pd.Series([_json(found.evidence) for found in findings], dtype="str"),
        }
    )
    return frame.sort_values(
        ["severity", "source_uri", "job_id", "finding"],
        ascending=[False, True, True, True],
        ignore_index=True,
    )


def _json(evidence: dict[str, Any]) -> str:
    """JSON of numbers and texts; what is missing is null."""
    plain = {
        name: None if isinstance(value, float | np.floating) and not math.isfinite(value) else value
        for name, value in evidence.items()
    }
    return json.dumps(plain, default=lambda value: value.item())
