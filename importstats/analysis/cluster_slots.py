"""Waits for slots: the data nodes, other jobs and compactions that a job waits for; the quota."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import pandas as pd

from importstats.analysis.cluster_state import AT_WORK, WAITS, ClusterState
from importstats.analysis.cluster_words import (
    LEAST_WAIT_S,
    WARNED_WAIT_S,
    listed_text,
    seconds,
    segments_text,
    setting_text,
    slots_held,
    tasks_text,
    wait_verb,
)
from importstats.analysis.job_history import Finding, JobHistory
from importstats.text import format_count, format_duration, printable

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
        None,
        {"data_nodes": 0},
    )


def no_slot(job: JobHistory, state: ClusterState) -> Finding | None:
    """Tasks of the job wait while no node has a slot, because others hold them."""
    own = state.of_job(job.key[1])
    waiting = own[own["state"].astype("str").isin(WAITS)]
    if not len(waiting):
        return None
    waited_s = seconds(state.at - waiting["since"].min())
    free = state.gauge("datanode_slot", type="available")
    if waited_s < LEAST_WAIT_S or free:
        return None
    at_work = own["state"].astype("str").isin(AT_WORK).sum()
    others = _others_at_work(job, state, state.tasks)
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
        f"{tasks_text(len(waiting))} of the job {wait_verb(len(waiting))} for a slot of a data "
        f"node, the first for {format_duration(waited_s)}: {holders}",
        f"The slots of a node follow from {setting}, which can be changed while it runs; more data "
        "nodes bring more. The tasks go on by themselves once others have ended.",
        {
            "waiting_tasks": len(waiting),
            "tasks_at_work": int(at_work),
            "waited_s": waited_s,
            "held_by_jobs": _first_few(others),
            "held_by_compactions": held["compaction"],
            "held_by_index_builds": held["index"],
            "free_slots": free,
            "data_nodes": len(state.workers) or None,
        },
    )


def _others_at_work(job: JobHistory, state: ClusterState, tasks: pd.DataFrame) -> dict[str, int]:
    """The number of other jobs' tasks at work, by job, the largest first."""
    lately = state.recent(tasks)
    busy = lately[lately["state"].astype("str").isin(AT_WORK) & lately["job_id"].ne(job.key[1])]
    return {str(name): int(count) for name, count in busy["job_id"].value_counts().items()}


def _holders(others: Mapping[str, int], held: Mapping[str, int]) -> str:
    said = [
        f"job {printable(name, 60)} has {count:,} task{'s' * (count != 1)} at work"
        for name, count in list(others.items())[:_SHOWN_JOBS]
    ]
    if len(others) > _SHOWN_JOBS:
        said.append(f"{len(others) - _SHOWN_JOBS:,} more jobs have some")
    for kind, text in (("compaction", "compaction"), ("index", "index build")):
        if count := held[kind]:
            said.append(
                f"{count:,} {text}{'s' * (count != 1)} {'are' if count != 1 else 'is'} at work"
            )
    return listed_text(said)


def _first_few(counts: Mapping[str, int]) -> dict[str, int]:
    """The first few counts, for the evidence."""
    return dict(list(counts.items())[:_SHOWN_JOBS])


def sort_queued(job: JobHistory, state: ClusterState) -> Finding | None:
    """Segments of the job wait to be sorted."""
    own = state.sorts_of(job.key[1])
    waiting = own[own["state"].astype("str").eq("pipelining")]
    if not len(waiting):
        return None
    waited_s = seconds(state.at - waiting["since"].min())
    if waited_s < LEAST_WAIT_S:
        return None
    executing = int(own["state"].astype("str").isin(AT_WORK).sum())
    plans = state.recent(state.compactions)
    at_work = plans["state"].astype("str").isin(AT_WORK)
    others = int((at_work & ~plans["plan_id"].isin(own["plan_id"])).sum())
    builds = int(state.recent(state.builds)["state"].astype("str").isin(AT_WORK).sum())
    held = []
    if others:
        held.append(f"{others:,} other compaction{'s' * (others != 1)}")
    if builds:
        held.append(f"{builds:,} index build{'s' * (builds != 1)}")
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
        f"{segments_text(len(waiting))} of the job {wait_verb(len(waiting))} to be sorted, the "
        f"first for {format_duration(waited_s)}{said if held else ''}",
        "Sorting is a compaction and takes slots of a data node, as other compactions do: "
        f"{setting} says how many one takes. The segments are sorted by themselves once others "
        "have ended; more data nodes, or a larger dataNode.workerSlotUnit, bring more slots.",
        {
            "waiting_segments": len(waiting),
            "segments_at_work": executing,
            "waited_s": waited_s,
            "other_compactions": others,
            "index_builds": builds,
        },
    )


def quota_near(job: JobHistory, state: ClusterState) -> Finding | None:
    """The disk quota denies writing, or will do so before the job's rows are written."""
    if not _before_import(job):
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
        f"It is checked once all files are read, and the job then fails. Raise {setting} (MB), "
        "which can be changed while it runs, or drop data, before the job is at 40 %.",
        {
            "quota_bytes": quota if quota is not None else math.nan,
            "stored_bytes": stored if stored is not None else math.nan,
            "file_size_bytes": size,
        },
    )


def _before_import(job: JobHistory) -> bool:
    return job.phase in ("Pending", "PreImporting")
