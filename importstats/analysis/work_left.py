"""A job's remaining time from Importing on, by the work that is left and not by other jobs.

If a cluster is watched, it is known which of a job's sorts and index builds run, since when, which
wait, and which of others wait before them. Each is assumed to take as long for its rows as those
that ended, and as many to run at once as do now. The result is a small simulation of a queue with
several slots, drawn many times (ParaTimer, Morton et al., SIGMOD 2010, and Jockey, Ferguson et al.,
EuroSys 2012, estimate from the work that is left in this way).
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import pandas as pd

from importstats.analysis.cluster_state import (
    AT_WORK,
    WAITS,
    Cluster,
    ClusterState,
    entries_at_work,
    most_at_work,
    seconds_at_work,
)
from importstats.analysis.work_ahead import builds_at_once, imports_left_s, segments_to_come
from importstats.analysis.work_queue import DRAWS, Pace, Works, last_end_s
from importstats.arrays import Floats, floats

#: The method of an estimate from here.
WORK: Final = "work"

_PHASES: Final = ("Importing", "Sorting", "IndexBuilding")
_QUANTILES: Final = (0.1, 0.5, 0.9)
#: If a queue is longer than this, the general forecast is used.
_MOST_WORKS: Final = 5_000
#: The uncertainty of the logarithm of a mean time that comes from others' work, from the nodes' own
#: mean, and from another kind of work; and that of the whole (ours).
_OTHERS_SD: Final = 0.8
_NODES_SD: Final = 0.6
_GUESSED_SD: Final = 1.0
_WHOLE_SD: Final = 0.06
#: A sort takes this share of an index build's time, if none was seen (ours).
_SORT_SHARE: Final = 0.1

#: The kinds of work, each with its own pace.
_OWN_BUILD, _OTHER_BUILD, _SORT, _COMPACTION = range(4)


def with_work_left(
    estimates: pd.DataFrame, cluster: Cluster, total_rows: Floats | None = None
) -> pd.DataFrame:
    """The estimates, with those from Importing on replaced by the work that is left.

    If the cluster does not show enough (nothing waits or runs, no build has ended, 2.5 before
    IndexBuilding), an estimate stays as it is.

    Parameters
    ----------
    estimates : DataFrame
        As from :func:`~importstats.eta` without a cluster.
    cluster : ClusterFrames
        See :func:`~importstats.store.cluster_frames.load_cluster`.
    total_rows : ndarray of float64, optional
        The total rows of each estimate's job; NaN if not known.

    Returns
    -------
    DataFrame
        `estimates`; those that were replaced have the ``method`` ``work``.
    """
    found = estimates.copy()
    total_rows = np.full(len(found), np.nan) if total_rows is None else total_rows
    named = found["phase"].astype("str").isin(_PHASES).to_numpy()
    method = found["method"].astype("str").to_numpy(dtype=object)
    remaining = np.column_stack([floats(found, f"remaining_p{q:.0f}_s") for q in (10, 50, 90)])
    for place in np.flatnonzero(named):
        row = found.iloc[place]
        state = ClusterState.from_cluster(cluster, str(row["source_uri"]), row["observed_at"])
        job_id = str(row["job_id"])
        if str(row["phase"]) == "Sorting" and not len(state.sorts_of(job_id)):
            continue
        if str(row["phase"]) == "Importing":
            left_s = import_and_work_left_s(state, job_id, float(total_rows[place]))
        else:
            left_s = work_left_s(state, job_id)
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
    found["method"] = pd.Categorical(method, categories=estimates["method"].cat.categories)
    found["reason"] = found["reason"].where(~is_ours)
    return found


def work_left_s(state: ClusterState, job_id: str) -> Floats | None:
    """Draws of the seconds until a job's sorts and builds are done; None if not known."""
    sorts, builds = state.sorts_of(job_id), state.builds_of(job_id)
    unsorted = _unfinished(sorts)
    if _unfinished(builds)["tries"].gt(1).fillna(value=False).any():
        return None  # Nobody knows how often a failing build will be tried again.
    rows_of = _rows_by_segment(state)
    to_come = _builds_to_come(sorts, builds, unsorted, rows_of)
    if not len(unsorted) and not len(to_come) and not len(_unfinished(builds)):
        return None
    paces = _paces(state, builds, rows_of, to_come)
    entries = _listed_works(state, sorts, builds, rows_of)
    if paces is None or not entries["is_at_work"].any():
        return None
    waiting = entries[~entries["is_at_work"]].sort_values("first_seen", kind="stable")
    if len(waiting) + len(to_come) > _MOST_WORKS:
        return None
    at_work = entries[entries["is_at_work"]]
    # If sorts are not listed, compactions use other slots than builds.
    runs = [state.build_runs, state.compaction_runs] if len(sorts) else [state.build_runs]
    rng = np.random.default_rng(len(builds))
    left_s = last_end_s(
        _works(at_work),
        state.ages_s(at_work) + _pause_s(state) / 2,
        _works(waiting, to_come),
        max(len(at_work), most_at_work(*runs)),
        paces,
        rng,
    )
    return np.sort(left_s * np.exp(_WHOLE_SD * rng.standard_normal(DRAWS)))


def import_and_work_left_s(state: ClusterState, job_id: str, total_rows: float) -> Floats | None:
    """Draws of the seconds until a job in Importing has been imported, sorted and indexed.

    None if that is not known: no segment is listed yet, no build has ever ended here, or (2.5) the
    sorts are not listed.
    """
    rows = segments_to_come(state, job_id, total_rows)
    builds = state.builds_of(job_id)
    at_once = _builds_at_once(state)
    if not len(rows) or not state.merges_roles or at_once is None:
        return None
    rows_of = _rows_by_segment(state)
    if not len(rows_of):
        # The builds that the nodes remember were of segments like these.
        rows_of = pd.Series(rows[rows > 0])
    paces = _paces(state, builds, rows_of, rows[rows > 0])
    rng = np.random.default_rng(len(rows))
    imports_s = imports_left_s(state, job_id, _pause_s(state), rng)
    if paces is None or imports_s is None:
        return None
    entries = _listed_works(state, state.compactions.iloc[:1], builds, rows_of)
    at_work = entries[entries["is_at_work"]].assign(is_own=False)
    waiting = entries[~entries["is_at_work"]].assign(is_own=False)
    each = _builds_per_segment(state.builds)
    if len(waiting) + (1 + each) * len(rows) > _MOST_WORKS:
        return None
    rows = _known_or_usual_rows(rows, rows_of)
    before = _works(waiting.sort_values("first_seen", kind="stable"))
    to_come = np.concatenate([rows, np.repeat(rows, each)])
    kind = np.repeat([_SORT, _OWN_BUILD], [len(rows), each * len(rows)])
    first_s = np.repeat(imports_s[:, None], len(to_come), axis=1)
    left_s = last_end_s(
        _works(at_work),
        state.ages_s(at_work) + _pause_s(state) / 2,
        Works(
            np.concatenate([before.rows, to_come]),
            np.concatenate([before.kind, kind]),
            np.concatenate([before.is_own, np.ones(len(to_come), np.bool_)]),
            first_s=np.concatenate([np.zeros((DRAWS, len(before.rows))), first_s], axis=1),
        ),
        max(len(at_work), at_once),
        paces,
        rng,
    )
    return np.sort(left_s * np.exp(_WHOLE_SD * rng.standard_normal(DRAWS)))


def _builds_at_once(state: ClusterState) -> int | None:
    """The number of builds that will run at once, as was seen or as the metrics remember."""
    seen = len(entries_at_work(state.build_runs)) > 0
    return most_at_work(state.build_runs) if seen else builds_at_once(state)


def _builds_per_segment(builds: pd.DataFrame) -> int:
    """The usual number of builds per segment, from the segments that have some."""
    segments = builds["segment_id"].nunique()
    return max(1, round(len(builds) / segments)) if segments else 1


def _rows_by_segment(state: ClusterState) -> pd.Series[float]:
    """The rows by id of the segments that are listed or were sorted."""
    listed = state.segments.set_index("segment_id")["rows"]
    plans = state.compactions[state.compactions["result_segments"].notna()]
    made = plans.set_index("result_segments")["total_rows"]
    rows = pd.concat([made, listed]).astype("float64")
    known: pd.Series[float] = rows[rows > 0]
    return known.groupby(level=0).last()


def _known_or_usual_rows(rows: Floats, rows_of: pd.Series[float]) -> Floats:
    """Each work's rows, or the usual number if they are not known."""
    usual = float(rows_of.median()) if len(rows_of) else 1.0
    return np.where(rows > 0, rows, usual)


def _segment_rows(builds: pd.DataFrame, rows_of: pd.Series[float]) -> Floats:
    found = np.asarray(rows_of.reindex(builds["segment_id"]), np.float64)
    return _known_or_usual_rows(found, rows_of)


def _builds_to_come(
    sorts: pd.DataFrame, builds: pd.DataFrame, unsorted: pd.DataFrame, rows_of: pd.Series[float]
) -> Floats:
    """The rows of builds that are not listed yet: for segments to sort and just sorted."""
    done = sorts[~sorts["plan_id"].isin(unsorted["plan_id"])]
    new = done[~done["result_segments"].isin(builds["segment_id"])]
    rows = np.concatenate([floats(unsorted, "total_rows"), floats(new, "total_rows")])
    return np.repeat(_known_or_usual_rows(rows, rows_of), _builds_per_segment(builds))


def _paces(
    state: ClusterState, builds: pd.DataFrame, rows_of: pd.Series[float], own_rows: Floats
) -> tuple[Pace, ...] | None:
    """The pace of each kind of work; None if no index build is known to have ended.

    `own_rows` are the rows of the job's segments to come.
    """
    took_s = seconds_at_work(state.build_runs, "build_id", "InProgress", "Finished")
    ended = state.builds[state.builds["build_id"].isin(took_s.index)]
    seconds = np.asarray(took_s.reindex(ended["build_id"]), np.float64)
    rows = _segment_rows(ended, rows_of)
    is_own = ended["build_id"].isin(builds["build_id"]).to_numpy(np.bool_)
    mean_s = state.mean("indexnode_build_index_latency")
    known = seconds > 0
    if known.any():
        first = Pace(float(np.log(seconds[known] / rows[known]).mean()), _OTHERS_SD)
    elif mean_s:
        done = state.builds.loc[state.builds["state"].astype("str").eq("Finished"), "segment_id"]
        sizes = np.asarray(rows_of.reindex(done).dropna(), np.float64)
        # Builds whose segment is no longer listed are assumed to be like the job's own.
        usual = sizes if len(sizes) else own_rows
        usual = usual if len(usual) else _known_or_usual_rows(_ONE, rows_of)
        first = Pace(math.log(mean_s / float(usual.mean())), _NODES_SD)
    else:
        return None
    own = first.updated(seconds[is_own], rows[is_own])
    others = first.updated(seconds[~is_own], rows[~is_own])
    return own, others, _sort_pace(state, first), _compaction_pace(state)


_ONE: Final = np.array([np.nan])


def _sort_pace(state: ClusterState, builds: Pace) -> Pace:
    took_s, plans = _compaction_seconds(state), state.compactions.set_index("plan_id")
    plans = plans[plans["kind"].astype("str").eq("SortCompaction")]
    rows = plans["total_rows"].astype("float64")
    both = took_s[took_s.index.isin(rows.index[rows > 0])]
    first = Pace(builds.log_mean + math.log(_SORT_SHARE), _GUESSED_SD)
    return first.updated(
        np.asarray(both, np.float64), np.asarray(rows.reindex(both.index), np.float64)
    )


def _compaction_pace(state: ClusterState) -> Pace:
    """The pace of compactions that sort nothing, per compaction, since their rows show little."""
    plans = state.compactions[~state.compactions["kind"].astype("str").eq("SortCompaction")]
    at_work = entries_at_work(plans)
    ages = (state.at - at_work["since"]).dt.total_seconds()
    first = Pace(math.log(max(2 * float(ages.mean()), 60.0) if len(ages) else 60.0), _GUESSED_SD)
    took_s = np.asarray(_compaction_seconds(state).reindex(plans["plan_id"]).dropna(), np.float64)
    return first.updated(took_s, np.ones(len(took_s)))


def _compaction_seconds(state: ClusterState) -> pd.Series[float]:
    return seconds_at_work(state.compaction_runs, "plan_id", "executing", "completed")


def _unfinished(entries: pd.DataFrame) -> pd.DataFrame:
    return entries.loc[entries["state"].astype("str").isin(WAITS | AT_WORK)]


def _listed_works(
    state: ClusterState, sorts: pd.DataFrame, builds: pd.DataFrame, rows_of: pd.Series[float]
) -> pd.DataFrame:
    """All work of the cluster that runs or waits: its kind, its owner and its start."""
    every = _unfinished(state.recent(state.builds))
    own = every["build_id"].isin(builds["build_id"])
    kind = np.where(own, _OWN_BUILD, _OTHER_BUILD)
    parts = [every.assign(kind=kind, is_own=own, size=_segment_rows(every, rows_of))]
    # If sorts are not listed, compactions run on other nodes than builds.
    if len(sorts):
        plans = _unfinished(state.recent(state.compactions))
        is_sort = plans["kind"].astype("str").eq("SortCompaction")
        size = np.where(is_sort, _known_or_usual_rows(floats(plans, "total_rows"), rows_of), 1.0)
        own = plans["plan_id"].isin(sorts["plan_id"])
        parts.append(
            plans.assign(kind=np.where(is_sort, _SORT, _COMPACTION), is_own=own, size=size)
        )
    columns = ["state", "since", "first_seen", "kind", "is_own", "size"]
    found = pd.concat([part[columns].astype({"state": "str"}) for part in parts])
    return found.assign(is_at_work=found["state"].isin(AT_WORK))


def _works(entries: pd.DataFrame, to_come: Floats | None = None) -> Works:
    rows = entries["size"].to_numpy(np.float64)
    kind, is_own = entries["kind"].to_numpy(np.int64), entries["is_own"].to_numpy(np.bool_)
    more = np.zeros(0) if to_come is None else to_come
    return Works(
        np.concatenate([rows, more]),
        np.concatenate([kind, np.full(len(more), _OWN_BUILD)]),
        np.concatenate([is_own, np.ones(len(more), np.bool_)]),
    )


def _pause_s(state: ClusterState) -> float:
    """The usual pause between two polls of the cluster; work began half of it earlier."""
    runs = pd.concat([state.build_runs, state.compaction_runs, state.task_runs])
    pauses = runs["observed_at"].drop_duplicates().sort_values().diff().dt.total_seconds().dropna()
    return float(pauses.quantile(0.25)) if len(pauses) else 0.0
