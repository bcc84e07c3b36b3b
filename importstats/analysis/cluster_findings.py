"""Why a job waits: which node, queue, build, setting or other job is in its way.

Rules of what the cluster was doing, see :mod:`importstats.analysis.cluster_state`. Each names what
is at fault with its numbers, the setting that bears on it with its value if that is known, and what
a change of it does. Thresholds are ours.
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
    """What is in the way of one job, as its cluster stands; of one that has ended what goes on."""
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
