"""Why a job waits: the node, queue, build, setting or other job that holds it up.

Rules about the cluster's work, see :mod:`importstats.analysis.cluster_state`. Each finding names
what is at fault with its numbers, the setting that governs it (with its value if known), and what
changing the setting does. Thresholds are ours.
"""

from __future__ import annotations

from typing import Final

from importstats.analysis.cluster_builds import (
    builds_go_on,
    index_build_fails,
    index_queue,
    long_index_build,
)
from importstats.analysis.cluster_nodes import node_slower, task_repeated
from importstats.analysis.cluster_slots import no_data_node, no_slot, quota_near, sort_queued
from importstats.analysis.cluster_state import ClusterState
from importstats.analysis.job_history import Finding, JobHistory


def diagnose_cluster(job: JobHistory, state: ClusterState) -> list[Finding]:
    """The findings about what holds a job up in its cluster, or what goes on after its end."""
    if not state.known:
        return []
    found = [rule(job, state) for rule in (_AFTER_END if job.ended else _RULES)]
    return [finding for finding in found if finding is not None]


_RULES: Final = (
    no_data_node,
    quota_near,
    index_build_fails,
    no_slot,
    sort_queued,
    long_index_build,
    index_queue,
    node_slower,
    task_repeated,
)
_AFTER_END: Final = (builds_go_on,)
