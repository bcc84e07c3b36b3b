"""The work left in a job that is being imported: its tasks, and the sorts and builds to come.

The management port lists which tasks run, since when and on which nodes, and which wait. Each is
assumed to take as long as those that ended, whatever its size, since a server fills its tasks up to
one size. Each segment will be sorted and indexed once all tasks are done.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import pandas as pd

from importstats.analysis.cluster_state import (
    AT_WORK,
    ClusterState,
    entries_at_work,
    most_at_work,
    waiting_entries,
)
from importstats.analysis.work_queue import Pace, Works, last_end_s
from importstats.arrays import Floats, Ints, floats

#: The uncertainty of the logarithm of a task's time before any has ended (ours).
_GUESSED_SD: Final = 1.0
_OTHERS_SD: Final = 0.8
#: The shortest task time that is assumed then.
_LEAST_S: Final = 30.0
_OWN, _OTHER = range(2)


def imports_left_s(
    state: ClusterState, job_id: str, pause_s: float, rng: np.random.Generator
) -> Floats | None:
    """Draws of the seconds until a job's import tasks are done; None if none is at work.

    Other jobs' tasks hold their slots as long as they run, and tasks begin in the order in which
    they waited. A node takes no further task until all of its tasks have ended.
    """
    tasks = state.recent(state.tasks)
    own = tasks["job_id"].eq(job_id) & tasks["kind"].astype("str").eq("ImportTask")
    tasks = tasks.assign(is_own=own).sort_values("first_seen", kind="stable")
    at_work, waiting = entries_at_work(tasks), waiting_entries(tasks)
    if not len(at_work) or not (at_work["is_own"].any() or waiting["is_own"].any()):
        return None
    ages = state.ages_s(at_work)
    return last_end_s(
        _task_works(at_work, pd.factorize(at_work["node_id"])[0]),
        ages + pause_s / 2,
        _task_works(waiting),
        max(len(at_work), most_at_work(state.task_runs)),
        _task_paces(state, tasks[tasks["is_own"]], ages),
        rng,
    )


def _task_works(tasks: pd.DataFrame, batch: Ints | None = None) -> Works:
    is_own = tasks["is_own"].to_numpy(np.bool_)
    return Works(np.ones(len(tasks)), np.where(is_own, _OWN, _OTHER), is_own, batch)


def _task_paces(state: ClusterState, own: pd.DataFrame, ages_s: Floats) -> tuple[Pace, Pace]:
    """The paces of the job's import tasks and of others'."""
    took = _task_seconds(state)
    is_own = took.index.isin(own["task_id"])
    first = _first_pace(state, took, ages_s)
    seconds = np.asarray(took, np.float64)
    return (
        first.updated(seconds[is_own], np.ones(int(is_own.sum()))),
        first.updated(seconds[~is_own], np.ones(int((~is_own).sum()))),
    )


def _task_seconds(state: ClusterState) -> pd.Series[float]:
    """The durations, by id, of the import tasks whose beginning and end were seen."""
    runs = state.task_runs[state.task_runs["kind"].astype("str").eq("ImportTask")]
    text = runs["state"].astype("str")
    began = runs[text.isin(AT_WORK)].groupby("task_id")["observed_at"].min()
    ended = runs[text.eq("Completed")].groupby("task_id")["observed_at"].min()
    took: pd.Series[float] = (ended - began).dropna().dt.total_seconds()
    return took[took > 0]


def _first_pace(state: ClusterState, took: pd.Series[float], ages_s: Floats) -> Pace:
    """The belief about a task's time before one of the job's own has ended.

    It is the time of tasks that were seen to run. Otherwise it is the time from creation to end as
    the server reports it, or the mean that its metrics have of tasks or of the phase of whole jobs.
    Otherwise it is twice as long as the tasks at work have run.
    """
    if len(took):
        return Pace(float(np.log(took).mean()), _OTHERS_SD)
    tasks = state.tasks
    known_s = (tasks["complete_time"] - tasks["create_time"]).dropna().dt.total_seconds()
    known_s = known_s[known_s > 0]
    if len(known_s):
        return Pace(float(np.log(known_s).mean()), _OTHERS_SD)
    for metric in ("datacoord_import_task_latency", "datacoord_import_job_latency"):
        mean_ms = state.mean(metric, import_stage="import")
        if mean_ms:
            return Pace(math.log(max(mean_ms / 1000, 1.0)), _OTHERS_SD)
    return Pace(math.log(max(2 * float(ages_s.mean()), _LEAST_S)), _GUESSED_SD)


def segments_to_come(state: ClusterState, job_id: str, total_rows: float) -> Floats:
    """The rows of the job's segments while it is being imported; empty if none is listed.

    Segments without rows share the rest of the job's rows. If that is not known, they are taken to
    be as large as the others.
    """
    listed = state.segments
    own = listed["collection_id"].eq(state.collection_of(job_id) or "")
    own &= listed["is_importing"].fillna(value=False).astype(bool)
    rows = floats(listed[own & ~listed["is_sorted"].fillna(value=False).astype(bool)], "rows")
    if not len(rows):
        return rows
    is_whole = rows > 0
    left = total_rows - rows[is_whole].sum()
    if left > 0 and not is_whole.all():
        return np.where(is_whole, rows, left / (~is_whole).sum())
    usual = rows[is_whole].mean() if is_whole.any() else 0.0
    return np.where(is_whole, rows, usual)


def builds_at_once(state: ClusterState) -> int | None:
    """The number of index builds at once in a job on average; None if the metrics lack it.

    This is the time of all builds divided by the time of all jobs in that phase.
    """
    builds_s = state.gauge("indexnode_build_index_latency_sum")
    jobs_ms = state.gauge("datacoord_import_job_latency_sum", import_stage="build_index")
    if not builds_s or not jobs_ms:
        return None
    return max(1, math.ceil(1000 * builds_s / jobs_ms))
