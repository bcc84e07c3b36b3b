"""The rules by which Spark and LATE choose tasks for a second attempt, for comparison.

Milvus makes no second attempts, so :func:`~importstats.stragglers` answers other questions;
benchmarks compare it with these two.
"""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd

from importstats.analysis.spans import Spans
from importstats.arrays import Bools, Floats, grouped_quantile, starts
from importstats.names import JOB_KEY


def spark_speculation(
    details: pd.DataFrame,
    at: datetime | pd.Timestamp | None = None,
    *,
    quantile: float = 0.75,
    multiplier: float = 1.5,
) -> pd.DataFrame:
    """The tasks that Spark would start again: they run far longer than those that ended.

    As in Spark 3 (``TaskSetManager.checkSpeculatableTasks``; ``spark.speculation.quantile`` and
    ``.multiplier``): once `quantile` of all tasks, at least one, have ended well, a running task is
    slow if it has run for more than `multiplier` times their median duration, and 0.1 s.

    Parameters
    ----------
    details, at
        As for :func:`stragglers`.
    quantile, multiplier : float

    Returns
    -------
    DataFrame
        One row per file, ordered by job and place: ``source_uri``, ``job_id``, ``file_index``,
        ``file``, ``elapsed_s``, ``threshold_s`` (float64, NaN until enough have ended) and
        ``is_straggler`` (bool).
    """
    tasks = Spans.from_details(details, at)
    elapsed = _elapsed_s_by_middles(tasks)
    well = tasks.done & ~tasks.failed & ~np.isnan(elapsed)
    ended = np.bincount(tasks.job[well], minlength=tasks.jobs)
    per_job = np.bincount(tasks.job, minlength=tasks.jobs)
    enough = ended >= np.maximum(np.floor(quantile * per_job), 1)
    median = grouped_quantile(np.where(well, elapsed, np.nan), tasks.job, tasks.jobs)
    threshold = np.where(enough, np.maximum(multiplier * median, 0.1), np.nan)[tasks.job]
    slow = tasks.running & (elapsed > threshold)
    return _file_table(tasks, elapsed_s=elapsed, threshold_s=threshold, is_straggler=slow)


def late_stragglers(
    details: pd.DataFrame,
    at: datetime | pd.Timestamp | None = None,
    *,
    slow_task_percentile: float = 25.0,
    speculative_cap: float = 0.1,
    least_run_s: float = 60.0,
) -> pd.DataFrame:
    """The tasks that LATE would start again: slow ones with the longest time to the end.

    Longest Approximate Time to End (Zaharia et al., OSDI 2008, section 4): the progress rate of a
    task is its progress over its time; running tasks below the 25th percentile of the rates
    (SlowTaskThreshold) are taken in the order of ``(1 - progress) / rate``, the longest first, as
    many as 10 % of the slots (SpeculativeCap), at least one. Tasks are left alone in their first
    minute.

    Parameters
    ----------
    details, at
        As for :func:`stragglers`.
    slow_task_percentile, speculative_cap, least_run_s : float

    Returns
    -------
    DataFrame
        One row per file, ordered by job and place: ``source_uri``, ``job_id``, ``file_index``,
        ``file``, ``progress_rate`` (float64, share per second), ``time_to_end_s`` (float64, NaN
        without progress) and ``is_straggler`` (bool).
    """
    tasks = Spans.from_details(details, at)
    elapsed = _elapsed_s_by_middles(tasks)
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.where(elapsed > 0, tasks.fraction / elapsed, np.nan)
        to_end = np.where(rate > 0, (1 - tasks.fraction) / rate, np.inf)
    limit = grouped_quantile(rate, tasks.job, tasks.jobs, slow_task_percentile / 100)
    candidate = tasks.running & (rate < limit[tasks.job]) & (elapsed >= least_run_s)
    order = np.lexsort((-to_end, ~candidate, tasks.job))
    first = starts(tasks.job[order])
    rank = np.empty(len(order), np.int64)
    per_job = np.diff(np.append(first, len(order)))
    rank[order] = np.arange(len(order)) - np.repeat(first, per_job)
    cap = np.maximum(np.floor(speculative_cap * tasks.slots), 1)
    to_end = np.where(np.isinf(to_end), np.nan, to_end)
    slow = candidate & (rank < cap[tasks.job])
    return _file_table(tasks, progress_rate=rate, time_to_end_s=to_end, is_straggler=slow)


def _elapsed_s_by_middles(tasks: Spans) -> Floats:
    """The seconds from the middle of each start's interval to the end, or to now."""
    early = np.where(np.isnan(tasks.handed_after), tasks.handed_by, tasks.handed_after)
    stop = np.where(tasks.done, tasks.ended_by, tasks.now[tasks.job])
    return np.where(tasks.begun, stop - (early + tasks.handed_by) / 2, np.nan)


def _file_table(tasks: Spans, **columns: Floats | Bools) -> pd.DataFrame:
    """The files, with columns of their tasks."""
    files = tasks.samples.keys().assign(
        **{name: values[tasks.of_file] for name, values in columns.items()}
    )
    return files.sort_values([*JOB_KEY, "file_index"], ignore_index=True)
