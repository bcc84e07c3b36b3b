"""Waits for slots: the data nodes, other jobs and compactions that a job waits for; the quota."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from importstats.analysis.cluster_state import ClusterState, entries_at_work, waiting_entries
from importstats.analysis.cluster_words import (
    LEAST_WAIT_S,
    WARNED_WAIT_S,
    listed_text,
    setting_text,
    slots_held,
    wait_verb,
)
from importstats.analysis.job_history import Finding, JobHistory
from importstats.text import format_count, format_duration, plural, printable

_QUOTA_SHARE: Final = 0.9
_NO_LIMIT: Final = 1e300
_SHOWN_JOBS: Final = 3


def no_data_node(job: JobHistory, state: ClusterState) -> Finding | None:
    """No data node is up, so nothing will move."""
    counted = state.gauge("datacoord_datanode_num")
    listed = len(state.workers) if len(state.nodes) else None
    # The gauge counts the registered nodes; the list is newer.
    number = counted if listed is None else listed
    if number is None or number > 0:
        return None
    return Finding(
        job,
        "no_data_node",
        "critical",
        state.at,
        "No data node is up: nothing of the job will move until there is one",
        {"data_nodes": 0},
    )


def no_slot(job: JobHistory, state: ClusterState) -> Finding | None:
    """Tasks of the job wait while no node has a slot, because others hold them."""
    own = state.of_job(job.key[1])
    waiting = waiting_entries(own)
    if not len(waiting):
        return None
    waited_s = (state.at - waiting["since"].min()).total_seconds()
    free = state.gauge("datanode_slot", type="available")
    if waited_s < LEAST_WAIT_S or free:
        return None
    at_work = len(entries_at_work(own))
    others = _others_at_work(job, state)
    held = slots_held(state)
    if not (others or held["compaction"] or held["index"]):
        return None
    if at_work and not others:
        return None
    holders = _holders(others, held)
    setting = setting_text(
        state,
        "dataNode.import.maxConcurrentTaskNum"
        if not state.merges_roles
        else "dataNode.workerSlotUnit",
    )
    return Finding(
        job,
        "no_slot",
        "warning" if not at_work and waited_s > WARNED_WAIT_S else "info",
        waiting["since"].min(),
        f"{plural(len(waiting), 'task')} of the job {wait_verb(len(waiting))} for a slot of a data "
        f"node, the first for {format_duration(waited_s)}: {holders}",
        {
            "waiting_tasks": len(waiting),
            "tasks_at_work": at_work,
            "waited_s": waited_s,
            "held_by_jobs": dict(list(others.items())[:_SHOWN_JOBS]),
            "held_by_compactions": held["compaction"],
            "held_by_index_builds": held["index"],
            "free_slots": free,
            "data_nodes": len(state.workers) or None,
        },
        f"The slots of a node follow from {setting}, which can be changed while it runs; more data "
        "nodes bring more. The tasks go on by themselves once others have ended.",
    )


def _others_at_work(job: JobHistory, state: ClusterState) -> dict[str, int]:
    """The number of other jobs' tasks at work, by job, the largest first."""
    jobs = entries_at_work(state.recent(state.tasks))["job_id"]
    counts = jobs[jobs.ne(job.key[1])].value_counts()
    return {str(name): int(count) for name, count in counts.items()}


def _holders(others: Mapping[str, int], held: Mapping[str, int]) -> str:
    said = [
        f"job {printable(name, 60)} has {plural(count, 'task')} at work"
        for name, count in list(others.items())[:_SHOWN_JOBS]
    ]
    if len(others) > _SHOWN_JOBS:
        said.append(f"{len(others) - _SHOWN_JOBS:,} more jobs have some")
    for kind, text in (("compaction", "compaction"), ("index", "index build")):
        if count := held[kind]:
            said.append(f"{plural(count, text)} {'are' if count != 1 else 'is'} at work")
    return listed_text(said)


def sort_queued(job: JobHistory, state: ClusterState) -> Finding | None:
    """Segments of the job wait to be sorted."""
    own = state.sorts_of(job.key[1])
    waiting = own[own["state"].astype("str").eq("pipelining")]
    if not len(waiting):
        return None
    waited_s = (state.at - waiting["since"].min()).total_seconds()
    if waited_s < LEAST_WAIT_S:
        return None
    executing = len(entries_at_work(own))
    plans = entries_at_work(state.recent(state.compactions))
    others = int((~plans["plan_id"].isin(own["plan_id"])).sum())
    builds = len(entries_at_work(state.recent(state.builds)))
    held = []
    if others:
        held.append(plural(others, "other compaction"))
    if builds:
        held.append(plural(builds, "index build"))
    if executing:
        held.append(f"{executing:,} of its own")
    said = (
        f", while {listed_text(held)} {'are' if others + builds + executing > 1 else 'is'} at work"
    )
    setting = setting_text(state, "dataCoord.slot.mixCompactionUsage")
    return Finding(
        job,
        "sort_queued",
        "warning" if not executing and waited_s > WARNED_WAIT_S else "info",
        waiting["since"].min(),
        f"{plural(len(waiting), 'segment')} of the job {wait_verb(len(waiting))} to be sorted, the "
        f"first for {format_duration(waited_s)}{said if held else ''}",
        {
            "waiting_segments": len(waiting),
            "segments_at_work": executing,
            "waited_s": waited_s,
            "other_compactions": others,
            "index_builds": builds,
        },
        "Sorting is a compaction and takes slots of a data node, as other compactions do: "
        f"{setting} says how many one takes. The segments are sorted by themselves once others "
        "have ended; more data nodes, or a larger dataNode.workerSlotUnit, bring more slots.",
    )


def quota_near(job: JobHistory, state: ClusterState) -> Finding | None:
    """The disk quota denies writing, or will do so before the job's rows are written."""
    if job.phase not in ("Pending", "PreImporting"):
        return None
    denied = state.gauge("rootcoord_quota_states", quota_states="DiskQuotaExhausted")
    quota = state.gauge("rootcoord_disk_quota", scope="cluster")
    stored = state.gauge("datacoord_stored_binlog_size")
    if not denied and (quota is None or stored is None or not 0 < quota < _NO_LIMIT):
        return None
    size = job.most("file_size_bytes")
    left = quota - stored if quota is not None and stored is not None else math.nan
    over = bool(size > 0 and left < size)
    full = bool(quota and stored is not None and stored >= _QUOTA_SHARE * quota)
    if not (denied or over or full):
        return None
    known = quota is not None and stored is not None
    room = (
        f"{format_count(max(0.0, left))}B of {format_count(quota or 0)}B are left" if known else ""
    )
    needs = f", and the job brings {format_count(size)}B" if size > 0 else ""
    what = "is used up" if denied else "is nearly used up" if not over else "is too small"
    setting = setting_text(state, "quotaAndLimits.limitWriting.diskProtection.diskQuota")
    return Finding(
        job,
        "quota_near",
        "critical" if denied or over else "warning",
        job.begun_at,
        f"The disk quota of the cluster {what}{': ' if room else ''}{room}{needs}",
        {
            "quota_bytes": quota if quota is not None else math.nan,
            "stored_bytes": stored if stored is not None else math.nan,
            "file_size_bytes": size,
        },
        f"It is checked once all files are read, and the job then fails. Raise {setting} (MB), "
        "which can be changed while it runs, or drop data, before the job is at 40 %.",
    )
