"""Tables: the fleet's tables, made from the parts of all jobs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
import pandas as pd

from importstats.analysis.forecast import eta
from importstats.arrays import US_PER_S, floats, microseconds, timestamps
from importstats.fleets.parts import DAY_US, STATUSES, Part, concat, cut_by_day, merge_parts
from importstats.names import JOB_KEY
from importstats.store.frames import jobs_frame
from importstats.store.schema import JOBS_SCHEMA


@dataclass(frozen=True)
class Fleet:
    """The tables of a fleet as of a time, see :func:`fleet`.

    Attributes
    ----------
    at : datetime
        Now.
    jobs : DataFrame
        The :func:`~importstats.summary`, one row per job, and

        ``db_name``, ``reason`` : str
            As last sent.
        ``last_observed_at``, ``completed_seen_at`` : datetime64[us, UTC]
            The last snapshot, and the first that says Completed.
        ``status`` : ordered category
            One of :data:`STATUSES`. A job that did not end is running while its last snapshot is
            younger than the server's memory (`retention_s`), then lost: it may have ended unseen.
    running : DataFrame
        The running jobs, those that end first at the top:

        ``source_uri``, ``job_id``, ``db_name``, ``collection_name`` : str
        ``phase`` : ordered category
        ``progress_pct`` : float64
        ``rows``, ``total_rows`` : Int64
        ``rows_per_s`` : float64
            Mean of the job so far, all phases.
        ``started_at``, ``last_observed_at`` : datetime64[us, UTC]
        ``eta_p10``, ``eta_p50``, ``eta_p90`` : datetime64[us, UTC]
            See :func:`~importstats.eta`; from the job's last snapshot.
        ``method`` : str
        ``no_eta_reason`` : str
            Why there is no estimate; missing if there is one.
        ``severity``, ``finding`` : ordered category
        ``message`` : str
            The severest finding about the job; missing if there is none.
    collections : DataFrame
        Collections, the slowest first, those without a completed job last:

        ``source_uri``, ``db_name``, ``collection_name`` : str
        ``jobs``, ``running``, ``lost``, ``failed``, ``completed`` : int64
        ``rows``, ``bytes`` : Int64
            The sum over its completed jobs.
        ``median_duration_s`` : float64
            The median over its completed jobs.
        ``rows_per_s``, ``bytes_per_s`` : float64
            The completed jobs' mean (:func:`~importstats.summary`), weighted by their time.
    failures : DataFrame
        Causes of failure, the most frequent first:

        ``cause`` : str
            The reason without the parts that differ from job to job, see
            :func:`~importstats.analysis.reasons.normalised_reason`; missing if the server gave
            none.
        ``jobs``, ``collections``, ``clusters`` : int64
            How many jobs failed of it, and how many collections and clusters these belong to.
        ``phase`` : str
            The phase in which most of them failed.
        ``last_failed_at`` : datetime64[us, UTC]
        ``example_job_id``, ``example_reason`` : str
            The latest example.
    throughput : DataFrame
        Ordered by cluster and day (UTC):

        ``source_uri`` : str
        ``day`` : datetime64[us, UTC]
            Its midnight.
        ``jobs`` : int64
            Jobs that wrote rows.
        ``rows``, ``bytes`` : Int64
            Written that day, including what was written again. An interval over midnight counts for
            each day by its time. Rows that a job had at its first snapshot count for no day.
        ``importing_s`` : float64
            For how long at least one job was in the phase Importing that day.
        ``rows_per_s``, ``bytes_per_s`` : float64
            Divided by that time: the cluster's rate while it imports.
    phases : DataFrame
        Ordered by cluster and phase:

        ``source_uri`` : str
        ``phase`` : ordered category
        ``jobs`` : int64
            Jobs that were seen in the phase.
        ``duration_s`` : float64
            The time that all jobs together spent in it.
        ``share`` : float64
            Its share of the time of all phases of the cluster's jobs, 0 to 1.
    findings : DataFrame
        The :func:`~importstats.diagnose` of all jobs.
    """

    at: datetime
    jobs: pd.DataFrame
    running: pd.DataFrame
    collections: pd.DataFrame
    failures: pd.DataFrame
    throughput: pd.DataFrame
    phases: pd.DataFrame
    findings: pd.DataFrame


def combine(parts: Sequence[Part], estimates: Sequence[pd.DataFrame], at: datetime) -> Fleet:
    """The fleet's tables, from its parts and the :func:`~importstats.eta` of its running jobs.

    They do not depend on how the jobs are spread over the parts.
    """
    whole = merge_parts(parts)
    # The order in which floats are added must not depend on the parts.
    jobs = whole.jobs.sort_values(JOB_KEY, ignore_index=True)
    runs = whole.phases.sort_values([*JOB_KEY, "start"], ignore_index=True)
    days = whole.days.sort_values([*JOB_KEY, "day"], ignore_index=True)
    findings = whole.findings.sort_values(
        ["severity", *JOB_KEY, "finding"], ascending=[False, True, True, True], ignore_index=True
    )
    return Fleet(
        at=at,
        jobs=jobs,
        running=_running(jobs, estimates, findings),
        collections=_collection_rows(jobs),
        failures=_failures(jobs, findings),
        throughput=_throughput(days, runs),
        phases=_phase_shares(runs),
        findings=findings,
    )


def _running(
    jobs: pd.DataFrame, estimates: Sequence[pd.DataFrame], findings: pd.DataFrame
) -> pd.DataFrame:
    running = jobs.loc[jobs["status"].eq("running"), _RUNNING_COLUMNS]
    nothing = eta(jobs_frame(JOBS_SCHEMA.empty_table()))
    ends = concat([nothing, *estimates])[[*JOB_KEY, *_ETA_COLUMNS, "method", "reason"]]
    ends = ends.rename(columns={"reason": "no_eta_reason"}).astype({"method": "str"})
    worst = findings.drop_duplicates(JOB_KEY)[[*JOB_KEY, "severity", "finding", "message"]]
    return (
        running.merge(ends, on=JOB_KEY, how="left", validate="1:1")
        .merge(worst, on=JOB_KEY, how="left", validate="1:1")
        .sort_values(["eta_p50", *JOB_KEY], ignore_index=True)
    )


_RUNNING_COLUMNS: Final = [
    *JOB_KEY,
    "db_name",
    "collection_name",
    "phase",
    "progress_pct",
    "rows",
    "total_rows",
    "rows_per_s",
    "started_at",
    "last_observed_at",
]
_ETA_COLUMNS: Final = ["eta_p10", "eta_p50", "eta_p90"]
_COLLECTION_KEY: Final = ["source_uri", "db_name", "collection_name"]


def _collection_rows(jobs: pd.DataFrame) -> pd.DataFrame:
    flags = jobs.assign(jobs=1, **{status: jobs["status"].eq(status) for status in STATUSES})
    counts = flags.groupby(_COLLECTION_KEY, dropna=False)[["jobs", *STATUSES]].sum()
    completed = jobs[jobs["status"].eq("completed")].groupby(_COLLECTION_KEY, dropna=False)
    sums = completed[["rows", "bytes"]].sum(min_count=1)
    sums["median_duration_s"] = completed["duration_s"].median()
    # The same definition everywhere: the mean of the jobs' rates, weighted by their time.
    for name in ("rows_per_s", "bytes_per_s"):
        done = jobs[jobs["status"].eq("completed") & jobs[name].notna()]
        done = done.assign(amount=done[name] * done["duration_s"])
        both = done.groupby(_COLLECTION_KEY, dropna=False)[["amount", "duration_s"]].sum()
        sums[name] = both["amount"] / both["duration_s"].where(both["duration_s"] > 0)
    return (
        counts.join(sums)
        .reset_index()
        .sort_values(["rows_per_s", *_COLLECTION_KEY], ignore_index=True)
    )


def _failures(jobs: pd.DataFrame, findings: pd.DataFrame) -> pd.DataFrame:
    failed = findings[findings["finding"].eq("failed")]
    evidence = [json.loads(text) for text in failed["evidence"]]
    causes = failed[[*JOB_KEY, "since"]].assign(
        cause=pd.Series([each["cause"] for each in evidence], failed.index, dtype="str"),
        reason=pd.Series([each["reason"] for each in evidence], failed.index, dtype="str"),
        phase=pd.Series([each["phase"] for each in evidence], failed.index, dtype="str"),
    )
    causes = causes.merge(jobs[[*JOB_KEY, "collection_name"]], on=JOB_KEY, how="left")
    causes["collection"] = causes.groupby(["source_uri", "collection_name"], dropna=False).ngroup()
    causes = causes.sort_values(["since", *JOB_KEY])
    table = causes.groupby("cause", dropna=False, as_index=False).agg(
        jobs=("job_id", "size"),
        collections=("collection", "nunique"),
        clusters=("source_uri", "nunique"),
        phase=("phase", lambda names: names.mode().iloc[0]),
        last_failed_at=("since", "last"),
        example_job_id=("job_id", "last"),
        example_reason=("reason", "last"),
    )
    return table.sort_values(["jobs", "cause"], ascending=[False, True], ignore_index=True)


def _throughput(days: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    key = ["source_uri", "day"]
    wrote = days.groupby(key, as_index=False)
    table = wrote[["rows", "bytes"]].sum(min_count=1)
    table.insert(2, "jobs", wrote["job_id"].nunique()["job_id"])
    table = table.merge(_importing_time(runs), on=key, how="left")
    for name in ("rows", "bytes"):
        table[f"{name}_per_s"] = floats(table, name) / table["importing_s"]
    return table


def _importing_time(runs: pd.DataFrame) -> pd.DataFrame:
    """For each cluster and day, how long at least one of its jobs was importing."""
    importing = runs[runs["phase"].eq("Importing") & runs["duration_s"].gt(0)]
    importing = importing.sort_values(["source_uri", "start"])
    start, _ = microseconds(importing, "start")
    end = start + np.rint(floats(importing, "duration_s") * US_PER_S).astype(np.int64)
    source = importing["source_uri"]
    reached = pd.Series(end, importing.index).groupby(source).cummax()
    before = reached.groupby(source).shift().fillna(start.min() - 1 if len(start) else 0)
    block = (before.to_numpy() < start).cumsum()
    blocks = (
        importing.assign(begin=start, end=end)
        .groupby(block)
        .agg(source_uri=("source_uri", "first"), begin=("begin", "min"), end=("end", "max"))
    )
    row, day, low, high = cut_by_day(blocks["begin"].to_numpy(), blocks["end"].to_numpy())
    pieces = pd.DataFrame(
        {
            "source_uri": blocks["source_uri"].iloc[row].to_numpy(),
            "day": timestamps(day * DAY_US),
            "importing_s": (high - low) / US_PER_S,
        }
    )
    pieces = pieces.astype({"source_uri": "str"})
    summed: pd.DataFrame = pieces.groupby(["source_uri", "day"], as_index=False).sum()
    return summed


def _phase_shares(runs: pd.DataFrame) -> pd.DataFrame:
    key = ["source_uri", "phase"]
    group = runs.groupby(key, observed=True, as_index=False)
    table = group["duration_s"].sum()
    table.insert(2, "jobs", group["job_id"].nunique()["job_id"])
    whole = table.groupby("source_uri")["duration_s"].transform("sum")
    shares: pd.DataFrame = table.assign(share=table["duration_s"] / whole.where(whole > 0))
    return shares
