"""Index builds: the queue a job waits in, builds that take long, and builds that fail."""

from __future__ import annotations

import math
from typing import Final

import pandas as pd

from importstats.analysis.cluster_state import (
    ClusterState,
    entries_at_work,
    seconds_at_work,
    waiting_entries,
)
from importstats.analysis.cluster_words import (
    LEAST_WAIT_S,
    WARNED_WAIT_S,
    setting_text,
    slots_held,
    wait_verb,
)
from importstats.analysis.job_history import MINUTE, Finding, JobHistory
from importstats.text import format_duration, plural, printable

_TIMES_MEAN: Final = 3.0
_LEAST_BUILDS: Final = 3
_LONG_BUILD_S: Final = MINUTE
_CRITICAL_TRIES: Final = 10


def index_build_fails(job: JobHistory, state: ClusterState) -> Finding | None:
    """An index build of the job fails and is tried again."""
    own = state.builds_of(job.key[1])
    tries = own["tries"].fillna(0).astype("int64")
    unfinished = ~own["state"].astype("str").eq("Finished")
    failing = own[unfinished & ((tries > 1) | own["reason"].notna())]
    if not len(failing):
        return None
    runs = state.build_runs[state.build_runs["build_id"].isin(failing["build_id"])]
    worst = failing.sort_values("tries", kind="stable").iloc[-1]
    given = runs[runs["build_id"].eq(worst["build_id"])]
    reasons, nodes = given["reason"].dropna(), given["node_id"].dropna()
    reason = str(reasons.iloc[-1]) if len(reasons) else None
    node = str(nodes.iloc[-1]) if len(nodes) else None
    count = int(tries.max())
    where = "" if node is None else f", the last on node {printable(node, 40)}"
    why = "" if reason is None else f": {printable(reason, 200)}"
    others = len(failing) - 1
    several = f"; {plural(others, 'other')} fail{'s' * (others == 1)} too" if others else ""
    return Finding(
        job,
        "index_build_fails",
        "critical" if count >= _CRITICAL_TRIES else "warning",
        runs["observed_at"].min(),
        f"The index build of segment {printable(str(worst['segment_id']), 40)} keeps failing: "
        f"{count:,} {'tries' if count != 1 else 'try'} so far{where}{several}{why}",
        {
            "builds": len(failing),
            "segment_id": str(worst["segment_id"]),
            "node_id": node,
            "tries": count,
            "reason": reason,
        },
    )


def long_index_build(job: JobHistory, state: ClusterState) -> Finding | None:
    """One index build of the job takes far longer than others."""
    own = state.builds_of(job.key[1])
    # If a build was tried before, its state does not show when this try began.
    first_try = own["tries"].fillna(1) <= 1
    building = entries_at_work(own[first_try])
    done_s = _build_seconds(state)
    if not len(building) or len(done_s) < _LEAST_BUILDS:
        return None
    mean_s = float(done_s.mean())
    longest = building.sort_values("since", kind="stable").iloc[0]
    took_s = (state.at - longest["since"]).total_seconds()
    segments = state.segments
    rows = segments.loc[segments["segment_id"].eq(str(longest["segment_id"])), "rows"].dropna()
    if took_s < max(_LONG_BUILD_S, _TIMES_MEAN * mean_s):
        return None
    node = printable(str(longest["node_id"]), 40)
    return Finding(
        job,
        "long_index_build",
        "warning",
        longest["since"],
        f"The index build of segment {printable(str(longest['segment_id']), 40)} on node {node} "
        f"has run for {format_duration(took_s)}; {len(done_s):,} others took "
        f"{format_duration(mean_s)} on average",
        {
            "segment_id": str(longest["segment_id"]),
            "node_id": None if pd.isna(longest["node_id"]) else str(longest["node_id"]),
            "took_s": took_s,
            "mean_s": mean_s,
            "builds_done": len(done_s),
            "rows": int(rows.iloc[-1]) if len(rows) else None,
        },
    )


def index_queue(job: JobHistory, state: ClusterState) -> Finding | None:
    """Index builds of the job wait for a worker."""
    own = state.builds_of(job.key[1])
    waiting = own[own["state"].astype("str").eq("Unissued")]
    if not len(waiting):
        return None
    waited_s = (state.at - waiting["since"].min()).total_seconds()
    if waited_s < LEAST_WAIT_S:
        return None
    builds = state.recent(state.builds)
    others = builds[~builds["build_id"].isin(own["build_id"])]
    first = waiting["first_seen"].min()
    before = waiting_entries(others[others["first_seen"] <= first])
    running = entries_at_work(builds)
    foreign = int((~running["build_id"].isin(own["build_id"])).sum())
    held = slots_held(state)["compaction"]
    nodes = running["node_id"].nunique() or state.index_workers()
    mean_s = _mean_build_s(state)
    at_once = len(running)
    left_s = math.nan
    if mean_s is not None and at_once:
        left_s = (len(before) + len(waiting)) * mean_s / at_once
    return Finding(
        job,
        "index_queue",
        "warning" if (len(before) or foreign or held) and waited_s > WARNED_WAIT_S else "info",
        waiting["since"].min(),
        _queue_text(len(waiting), len(before), at_once, foreign, held, nodes, mean_s, left_s),
        {
            "waiting_builds": len(waiting),
            "builds_before": len(before),
            "builds_at_work": at_once,
            "builds_of_others_at_work": foreign,
            "compactions_at_work": held,
            "nodes": nodes,
            "mean_build_s": mean_s if mean_s is not None else math.nan,
            "waited_s": waited_s,
            "work_left_s": left_s,
        },
        _queue_advice(state),
    )


def _queue_text(
    waiting: int,
    before: int,
    at_once: int,
    foreign: int,
    held: int,
    nodes: int,
    mean_s: float | None,
    left_s: float,
) -> str:
    queue = f"{plural(waiting, 'index build')} of the job {wait_verb(waiting)}"
    if before:
        queue += f", {before:,} of other imports before {'them' if waiting != 1 else 'it'}"
    work = "none is at work"
    if at_once:
        on = f" on {plural(nodes, 'node')}" if nodes else ""
        work = f"{at_once:,} run{'s' * (at_once == 1)} at once{on}"
        if foreign:
            work += f", {foreign:,} of them for others"
    if held:
        work += f", and {plural(held, 'compaction')} hold{'s' * (held == 1)} slots too"
    pace = ""
    if mean_s is not None:
        pace = f"; one takes {format_duration(mean_s)} on average"
    if left_s == left_s:
        pace += f", so all take about {format_duration(left_s)}"
    return f"{queue}: {work}{pace}"


def _queue_advice(state: ClusterState) -> str:
    if state.merges_roles:
        unit = setting_text(state, "dataNode.workerSlotUnit")
        factor = "dataNode.standaloneSlotFactor"
    else:
        unit = setting_text(state, "indexNode.scheduler.buildParallel")
        factor = "indexNode.standaloneSlotFactor"
    text = (
        f"No hang, and nothing to import again. The slots for builds follow from {unit}: to raise "
        "it lets a node build more at once, if it has the cores; more nodes do the same."
    )
    if state.is_standalone:
        text += (
            f" A standalone server has a quarter of the slots by {setting_text(state, factor)}; 1 "
            "gives it all, after a restart."
        )
    return text


def _build_seconds(state: ClusterState) -> pd.Series[float]:
    """The durations of the builds whose begin and end were seen."""
    took_s = seconds_at_work(state.build_runs, "build_id", "InProgress", "Finished")
    return took_s[took_s >= 0]


def _mean_build_s(state: ClusterState) -> float | None:
    """The mean duration of the builds that were seen, or else of all that the nodes remember."""
    took_s = _build_seconds(state)
    if len(took_s) >= _LEAST_BUILDS:
        return float(took_s.mean())
    return state.mean("indexnode_build_index_latency")


def builds_go_on(job: JobHistory, state: ClusterState) -> Finding | None:
    """The job has completed, but index builds of its cluster go on, and searches are slow.

    Milvus up to 2.3 completes a bulk insert before any index is built, and later ones do with
    `waitForIndex` off. With these releases only the metrics show it.
    """
    if job.phase != "Completed":
        return None
    waiting = state.gauge("datacoord_index_task_count", index_task_status="unissued")
    running = state.gauge("datacoord_index_task_count", index_task_status="in-progress")
    left = int((waiting or 0) + (running or 0))
    if not left:
        return None
    mean_s = _mean_build_s(state)
    pace = "" if mean_s is None else f"; one takes {format_duration(mean_s)} on average"
    return Finding(
        job,
        "builds_go_on",
        "info",
        job.phase_since,
        f"The job has completed, and {plural(left, 'index build')} of its cluster "
        f"{'go' if left != 1 else 'goes'} on, {int(running or 0):,} of them at work{pace}",
        {
            "waiting_builds": int(waiting or 0),
            "builds_at_work": int(running or 0),
            "mean_build_s": mean_s if mean_s is not None else math.nan,
        },
    )
