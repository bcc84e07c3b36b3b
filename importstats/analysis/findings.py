"""Diagnosis: what is wrong with a job or only looks wrong, in a sentence with numbers.

Every finding has its evidence and says what to do. ``info`` explains something that is normal or
over. ``warning`` means that the job will take longer or data is at risk. ``critical`` means that it
has failed, or will not end unless somebody acts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from importstats.analysis.cluster_findings import diagnose_cluster
from importstats.analysis.cluster_state import Cluster, ClusterState, last_look
from importstats.analysis.cut import rewind
from importstats.analysis.endings import (
    changed_after_end,
    completed_empty,
    completed_short,
    failed,
    not_known,
    reason_given,
    rows_differ,
)
from importstats.analysis.file_findings import diagnose_files
from importstats.analysis.finding_kinds import FINDING_DTYPE, SEVERITY_DTYPE
from importstats.analysis.job_history import Finding, job_histories
from importstats.analysis.misleading import (
    only_deletes,
    progress_unreadable,
    restore,
    rows_of_files_fell,
    same_file_twice,
    unexplained_progress,
)
from importstats.analysis.recording_gaps import collector_gap, forgotten_soon
from importstats.analysis.row_counts import check_rows, row_checks
from importstats.analysis.standstill import stalled
from importstats.analysis.waits import (
    commit_hangs,
    waits_after_rows,
    waits_for_commit,
    waits_to_start,
)
from importstats.names import RETENTION_S

#: The rules that need only a job's history; each returns one finding or none.
_RULES = (
    failed,
    changed_after_end,
    completed_empty,
    completed_short,
    commit_hangs,
    reason_given,
    waits_for_commit,
    waits_after_rows,
    waits_to_start,
    not_known,
    unexplained_progress,
    progress_unreadable,
    restore,
    only_deletes,
    rows_of_files_fell,
    same_file_twice,
)


def diagnose(
    jobs: pd.DataFrame,
    details: pd.DataFrame | None = None,
    *,
    at: datetime | pd.Timestamp | None = None,
    history: pd.DataFrame | Sequence[pd.DataFrame] | None = None,
    expected: int | Mapping[str, int] | pd.Series[int] | None = None,
    retention_s: float = RETENTION_S,
    gap_polls: float = 5.0,
    stall_factor: float = 5.0,
    collapse_factor: float = 0.35,
    cluster: Cluster | None = None,
) -> pd.DataFrame:
    """The findings about jobs, as known at a time.

    :data:`~importstats.analysis.finding_kinds.FINDING_KINDS` (``docs/diagnosis.md``) lists the
    findings, when each applies, and its advice. Findings about files need `details`.

    Parameters
    ----------
    jobs, details : DataFrame
        Frames of any number of jobs, see :mod:`importstats.store.frames`. Recorded gaps
        (``load_jobs(..., gaps=True)``) may be among the jobs.
    at : datetime, optional
        Now. Later rows are not used. By default each job's last snapshot.
    history : DataFrame or sequence of DataFrame, optional
        Jobs frames of other jobs, such as the whole store: a wait is unusual if it is longer than
        the waits of the collection's earlier jobs, and a pending job waits for those before it.
        Each job in `jobs` is judged on its own.
    expected : int, mapping or Series of int, optional
        How many rows each job, or each of its files, should have, see
        :func:`~importstats.check_rows`.
    retention_s : float
        How long the server remembers a job after its end.
    gap_polls, stall_factor, collapse_factor : float
        Thresholds of ``collector_gap``, ``stalled`` and ``throughput_collapsed`` (ours; chosen so
        that healthy simulated jobs raise no warning).
    cluster : ClusterFrames, optional
        What the clusters did, see :func:`~importstats.store.cluster_frames.load_cluster`. It shows
        the node, queue, build or other job that a job waits for.

    Returns
    -------
    DataFrame
        One row per finding, the severest first, then by job, then in the order of
        :data:`~importstats.analysis.finding_kinds.FINDING_KINDS`, the most important first:

        ``source_uri``, ``job_id`` : category or str
            As in the input.
        ``finding`` : ordered category
            One of :data:`~importstats.analysis.finding_kinds.FINDINGS`.
        ``severity`` : ordered category
            info, warning or critical.
        ``since`` : datetime64[us, UTC]
        ``message``, ``advice`` : str
            One or more sentences each.
        ``evidence`` : str
            The numbers as JSON, with units in the names.

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
    now = None if at is None else pd.Timestamp(at)
    if now is not None:
        jobs = rewind(jobs, now)
        details = None if details is None else rewind(details, now, jobs)
    known = jobs[jobs["observed_at"].notna()]
    earlier = [history] if isinstance(history, pd.DataFrame) else list(history or [])
    histories = job_histories(known, now, details, earlier)
    files_tell = details is not None and len(details) > 0
    found = [rule(job) for job in histories for rule in _RULES]
    found += [stalled(job, stall_factor, files_tell=files_tell) for job in histories]
    found += [collector_gap(job, gap_polls) for job in histories]
    found += [forgotten_soon(job, retention_s) for job in histories]
    if details is not None and len(details):
        found += diagnose_files(histories, details, now, collapse_factor)
        if expected is not None:
            checks = row_checks(check_rows(details, expected))
            found += [rows_differ(job, checks.get(job.key)) for job in histories]
    if cluster is not None:
        # A job may have been seen before its cluster was; nothing later is used.
        for job in histories:
            seen = job.now if now is None else now
            if now is None and job.ended:
                seen = last_look(cluster, job.key[0], job.now)
            found += diagnose_cluster(job, ClusterState.from_cluster(cluster, job.key[0], seen))
    return _findings_table([finding for finding in found if finding is not None])


def _findings_table(findings: list[Finding]) -> pd.DataFrame:
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
            "advice": pd.Series([found.what_to_do for found in findings], dtype="str"),
            "evidence": pd.Series([_json(found.evidence) for found in findings], dtype="str"),
        }
    )
    return frame.sort_values(
        ["severity", "source_uri", "job_id", "finding"],
        ascending=[False, True, True, True],
        ignore_index=True,
    )


def _json(evidence: dict[str, Any]) -> str:
    """Numbers and texts as JSON; missing values are null.

    A fraction keeps nine digits: the last ones of a sum depend on the jobs that are summed with it.
    """
    plain = {
        name: _nine_digits(float(value)) if isinstance(value, float | np.floating) else value
        for name, value in evidence.items()
    }
    return json.dumps(plain, default=lambda value: value.item())


def _nine_digits(value: float) -> float | None:
    if not math.isfinite(value):
        return None
    return value if value.is_integer() else float(f"{value:.9g}")
