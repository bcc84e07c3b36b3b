"""The rest of a job in Sorting and IndexBuilding by what is left to do, not by what others took.

Where a cluster is watched it is known which sorts and index builds of a job run, since when, which
wait and which of others wait before them. Each takes as long as those that ended; as many run at
once as do now. That makes a small simulation of a queue with several servers, drawn many times
(ParaTimer, Morton et al., SIGMOD 2010, and Jockey, Ferguson et al., EuroSys 2012, estimate so from
the work that is left).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from importstats.analysis.cluster_state import AT_WORK, Cluster, ClusterState
from importstats.arrays import Bools, Floats, floats

#: What a job's estimate is called that comes from here.
WORK: Final = "work"

_PHASES: Final = ("Sorting", "IndexBuilding")
_DRAWS: Final = 200
_QUANTILES: Final = (0.1, 0.5, 0.9)
_LEAST_ENDED: Final = 3
#: How uncertain the logarithm of the mean time of a work is by what is not known (ours).
_MEAN_SD: Final = 0.12
#: Seconds that a coordinator takes to see the end of the last work, and to end the job (ours).
_CHECKS_S: Final = 4.0
#: Works in a queue beyond this are left to the forecast of all jobs.
_MOST_WORKS: Final = 5_000


@dataclass(frozen=True)
class Pace:
    """How long works take for each row: the mean of the logarithm of these seconds, and its sd."""

    log_mean: float
    log_sd: float

    @classmethod
    def of(cls, took_s: Floats, rows: Floats) -> Pace | None:
        """Of works that ended; None if these are too few."""
        known = took_s > 0
        if known.sum() < _LEAST_ENDED:
            return None
        logs = np.log(took_s[known] / rows[known])
        return cls(float(logs.mean()), float(max(logs.std(ddof=1), 0.05)))


@dataclass(frozen=True)
class Queue:
    """What is left: works that run, and works that wait in their order.

    Attributes
    ----------
    ages_s, running_rows : ndarray of float64
        Seconds that each has run, and its rows.
    running_own : ndarray of bool
        Whether it is the job's.
    ahead_rows, own_rows : ndarray of float64
        Rows of works of others that wait before the job's, and of the job's.
    at_once : int
        How many run at once.
    """

    ages_s: Floats
    running_rows: Floats
    running_own: Bools
    ahead_rows: Floats
    own_rows: Floats
    at_once: int


def with_work_left(estimates: pd.DataFrame, cluster: Cluster) -> pd.DataFrame:
    """Estimates of jobs, those in Sorting and IndexBuilding by the work that is left.

    Where the cluster does not tell enough (nothing waits or runs, too few works have ended, 2.5 in
    Sorting) an estimate stays as it is.

    Parameters
    ----------
    estimates : DataFrame
        Of :func:`~importstats.eta`: one row for each job, its last.
    cluster : ClusterFrames
        See :func:`~importstats.store.cluster_frames.load_cluster`.

    Returns
    -------
    DataFrame
        `estimates`; the ``method`` of those that come from here is ``work``.
    """
    found = estimates.copy()
    named = found["phase"].astype("str").isin(_PHASES).to_numpy()
    method = found["method"].astype("str").to_numpy(dtype=object)
    remaining = np.column_stack([floats(found, f"remaining_p{q:.0f}_s") for q in (10, 50, 90)])
    for place in np.flatnonzero(named):
        row = found.iloc[place]
        state = ClusterState.of(cluster, str(row["source_uri"]), row["observed_at"])
        left_s = work_left_s(state, str(row["job_id"]))
        if left_s is not None:
            remaining[place] = np.quantile(left_s, _QUANTILES)
            method[place] = WORK
    is_ours = method == WORK
    if not is_ours.any():
        return estimates
    for column, name in enumerate(("p10", "p50", "p90")):
        seconds = pd.Series(remaining[:, column], index=found.index)
        end = found["observed_at"] + pd.to_timedelta(seconds.round(6), unit="s")
        found[f"remaining_{name}_s"] = seconds
        found[f"eta_{name}"] = found[f"eta_{name}"].where(~is_ours, end)
    categories = [*estimates["method"].astype("category").cat.categories, WORK]
    found["method"] = pd.Categorical(method, categories=list(dict.fromkeys(categories)))
    found["reason"] = found["reason"].where(~is_ours)
    return found


def work_left_s(state: ClusterState, job_id: str) -> Floats | None:
    """Draws of the seconds until all sorts and builds of a job are done; None if not known."""
    sorts, builds = state.sorts_of(job_id), state.builds_of(job_id)
    unsorted = _unfinished(sorts)
    if not len(unsorted) and not len(_unfinished(builds)):
        return None
    rows_of = _rows_of_segments(state)
    build_pace = _build_pace(state, builds, rows_of)
    sort_pace = _sort_pace(state)
    if build_pace is None or (len(unsorted) and sort_pace is None):
        return None
    sorted_before = len(sorts) - len(unsorted)
    # Every segment that is still to be sorted will have as many builds as those that are.
    each = max(1, round(len(builds) / sorted_before)) if sorted_before and len(builds) else 1
    to_sort = _filled(floats(unsorted, "total_rows"), rows_of)
    queue = _queue(state, sorts, builds, rows_of, np.repeat(to_sort, each))
    if queue is None or len(queue.ahead_rows) + len(queue.own_rows) > _MOST_WORKS:
        return None
    rng = np.random.default_rng(len(builds))
    left_s = _drawn(queue, build_pace, rng)
    if len(unsorted) and sort_pace is not None:
        one_s = np.exp(sort_pace.log_mean + sort_pace.log_sd**2 / 2)
        work_s = float(to_sort.sum()) * one_s / min(queue.at_once, len(unsorted))
        left_s = left_s + work_s * np.exp(_MEAN_SD * rng.standard_normal(_DRAWS))
    return np.sort(left_s + _CHECKS_S)


def _rows_of_segments(state: ClusterState) -> pd.Series[float]:
    """The rows of segments by their ids, of those that are listed or were sorted."""
    listed = state.segments.set_index("segment_id")["rows"]
    plans = state.compactions[state.compactions["result_segments"].notna()]
    made = plans.set_index("result_segments")["total_rows"]
    rows = pd.concat([made, listed]).astype("float64")
    known: pd.Series[float] = rows[rows > 0]
    return known.groupby(level=0).last()


def _filled(rows: Floats, rows_of: pd.Series[float]) -> Floats:
    """Rows, those that are not known by the usual ones."""
    usual = float(rows_of.median()) if len(rows_of) else 1.0
    return np.where(rows > 0, rows, usual)


def _rows(builds: pd.DataFrame, rows_of: pd.Series[float]) -> Floats:
    found = np.asarray(rows_of.reindex(builds["segment_id"]), np.float64)
    return _filled(found, rows_of)


def _build_pace(
    state: ClusterState, builds: pd.DataFrame, rows_of: pd.Series[float]
) -> Pace | None:
    """Of the job's own builds, else of all that were seen, else of all the nodes remember."""
    took_s = _seconds(state.build_runs, "build_id", "InProgress", "Finished")
    for kept in (builds, state.builds):
        ended = kept[kept["build_id"].isin(took_s.index)]
        seconds = np.asarray(took_s.reindex(ended["build_id"]), np.float64)
        pace = Pace.of(seconds, _rows(ended, rows_of))
        if pace is not None:
            return pace
    mean_s = state.mean("indexnode_build_index_latency")
    usual = float(_filled(np.array([np.nan]), rows_of)[0])
    return None if not mean_s else Pace(math.log(mean_s / usual), 0.4)


def _sort_pace(state: ClusterState) -> Pace | None:
    took_s = _seconds(state.compaction_runs, "plan_id", "executing", "completed")
    plans = state.compactions.set_index("plan_id")
    plans = plans[plans["kind"].astype("str").eq("SortCompaction")]
    rows = plans["total_rows"].astype("float64")
    both = took_s[took_s.index.isin(rows.index[rows > 0])]
    return Pace.of(np.asarray(both, np.float64), np.asarray(rows.reindex(both.index), np.float64))


def _unfinished(entries: pd.DataFrame) -> pd.DataFrame:
    state = entries["state"].astype("str")
    left: pd.DataFrame = entries[~state.isin(["Finished", "completed", "cleaned", "Failed"])]
    return left


def _queue(
    state: ClusterState,
    sorts: pd.DataFrame,
    builds: pd.DataFrame,
    rows_of: pd.Series[float],
    to_come: Floats,
) -> Queue | None:
    every = state.lately(state.builds)
    mine = every["build_id"].isin(builds["build_id"])
    running = every["state"].astype("str").isin(AT_WORK)
    waiting = every["state"].astype("str").isin(["Unissued", "Retry"])
    plans = state.lately(state.compactions)
    compacting = int(plans["state"].astype("str").isin(AT_WORK).sum()) if len(sorts) else 0
    at_once = int(running.sum()) + compacting
    if not at_once:
        return None
    ahead = waiting & ~mine
    if not len(to_come):
        ahead &= every["first_seen"] <= every.loc[waiting & mine, "first_seen"].max()
    at_work = every[running]
    ages = (state.at - at_work["since"]).dt.total_seconds().to_numpy(np.float64)
    return Queue(
        np.maximum(ages, 0.0),
        _rows(at_work, rows_of),
        mine[running].to_numpy(np.bool_),
        _rows(every[ahead], rows_of),
        np.concatenate([_rows(every[waiting & mine], rows_of), to_come]),
        max(at_once, _most_at_once(state)),
    )


def _most_at_once(state: ClusterState) -> int:
    """The most builds that were seen to run at the same time."""
    runs = state.build_runs[state.build_runs["state"].astype("str").eq("InProgress")]
    if not len(runs):
        return 1
    begun = runs["observed_at"].to_numpy(dtype="datetime64[us]")
    ended = np.minimum(
        runs["last_observed_at"].to_numpy(dtype="datetime64[us]"),
        np.datetime64(state.at.tz_convert(None), "us"),
    )
    there = np.searchsorted(np.sort(begun), begun, side="right") - np.searchsorted(
        np.sort(ended), begun, side="left"
    )
    return int(there.max())


def _drawn(queue: Queue, pace: Pace, rng: np.random.Generator) -> Floats:
    """When the job's last build ends, drawn: works begin in their order, on whatever is free."""
    mean = pace.log_mean + _MEAN_SD * rng.standard_normal((_DRAWS, 1))

    def took_s(rows: Floats) -> Floats:
        noise = pace.log_sd * rng.standard_normal((_DRAWS, len(rows)))
        return np.asarray(np.exp(mean + noise) * rows)

    running = took_s(queue.running_rows)
    # One that has run for longer than was drawn is taken to be near its end.
    left = np.asarray(np.maximum(running - queue.ages_s, 0.1 * running))
    free: Floats = np.zeros((_DRAWS, queue.at_once))
    free[:, : left.shape[1]] = left[:, : queue.at_once]
    last: Floats = np.zeros(_DRAWS)
    if queue.running_own.any():
        last = np.asarray(left[:, queue.running_own].max(axis=1), np.float64)
    each = np.arange(_DRAWS)
    waiting = took_s(np.concatenate([queue.ahead_rows, queue.own_rows]))
    for number in range(waiting.shape[1]):
        server = free.argmin(axis=1)
        free[each, server] += waiting[:, number]
        if number >= len(queue.ahead_rows):
            last = np.asarray(np.maximum(last, free[each, server]), np.float64)
    return last


def _seconds(runs: pd.DataFrame, key: str, at_work: str, ended: str) -> pd.Series[float]:
    """The times that works took which were seen to begin and to end, by their ids."""
    state = runs["state"].astype("str")
    began = runs[state.eq(at_work)].groupby(key)["observed_at"].max()
    done = runs[state.eq(ended)].groupby(key)["observed_at"].min()
    return (done - began).dropna().dt.total_seconds()
