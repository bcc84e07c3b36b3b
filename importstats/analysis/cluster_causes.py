"""What holds a job up, as its cluster proves, in texts short enough for a headline.

The findings describe it in full; these texts only name who or what it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import pandas as pd

from importstats.names import JOB_KEY
from importstats.text import format_count, printable

_Evidence = Mapping[str, Any]
#: A shorter wait is only the pace at which coordinators hand out work.
_BRIEF_S: Final = 120.0


def cause_text(findings: pd.DataFrame) -> str:
    """Who or what holds the job up, from its first finding with proof by the cluster; or empty.

    Parameters
    ----------
    findings : DataFrame
        The :func:`~importstats.diagnose` of one job, with its cluster.

    Examples
    --------
    >>> findings = pd.DataFrame({"finding": ["index_queue"], "severity": ["warning"],
    ...     "evidence": ['{"waiting_builds": 3, "builds_before": 24, "waited_s": 300.0}']})
    >>> cause_text(findings)
    '24 index builds of others come before its own'
    """
    for row in findings.to_dict("records"):
        say = _CAUSES.get(str(row["finding"]))
        if say is None:
            continue
        evidence = json.loads(row["evidence"])
        waited_s = evidence.get("waited_s")
        if str(row["severity"]) != "info" or (waited_s is not None and waited_s >= _BRIEF_S):
            return say(evidence)
    return ""


def with_causes(found: pd.DataFrame, findings: pd.DataFrame) -> pd.DataFrame:
    """The events; stalled and late ones also name what holds the job up, if the cluster proves it.

    Parameters
    ----------
    found : DataFrame
        Events with ``source_uri``, ``job_id``, ``event`` and ``message``.
    findings : DataFrame
        The :func:`~importstats.diagnose` of their jobs, with their clusters.
    """
    causes = {key: cause_text(own) for key, own in findings.groupby(JOB_KEY)}
    said = [
        f"{message.rstrip('. ')}. What holds it up: {cause}"
        if cause and event in _WAIT
        else message
        for cause, event, message in zip(
            [causes.get(key, "") for key in found[JOB_KEY].itertuples(index=False, name=None)],
            found["event"].astype("str"),
            found["message"],
            strict=True,
        )
    ]
    return found.assign(message=said)


_WAIT: Final = ("stalled", "late")


def _count_with_noun(number: Any, what: str) -> str:
    return f"{format_count(number)} {what}{'s' * (number != 1)}"


def _quota_cause(evidence: _Evidence) -> str:
    names = ("quota_bytes", "stored_bytes", "file_size_bytes")
    quota, stored, size = (float(evidence.get(name) or "nan") for name in names)
    if quota - stored < size:
        return "the disk quota is too small for it"
    return "the disk quota is nearly used up"


def _slot_cause(evidence: _Evidence) -> str:
    jobs = list(evidence["held_by_jobs"])
    if jobs:
        more = f" and {len(jobs) - 1} more" if len(jobs) > 1 else ""
        verb = "hold" if more else "holds"
        return f"job {printable(jobs[0], 40)}{more} {verb} the slots it waits for"
    compactions, builds = evidence["held_by_compactions"], evidence["held_by_index_builds"]
    kinds = ((compactions, "compaction"), (builds, "index build"))
    held = " and ".join(_count_with_noun(count, what) for count, what in kinds if count)
    return f"{held} hold{'s' * (compactions + builds == 1)} the slots it waits for"


def _sort_cause(evidence: _Evidence) -> str:
    waiting = _count_with_noun(evidence["waiting_segments"], "segment")
    for name, what in (("other_compactions", "other compaction"), ("index_builds", "index build")):
        if evidence[name]:
            return f"{waiting} to be sorted after {_count_with_noun(evidence[name], what)}"
    return f"{waiting} still to be sorted"


def _queue_cause(evidence: _Evidence) -> str:
    before = evidence["builds_before"]
    if before:
        come = f"come{'s' * (before == 1)}"
        return f"{_count_with_noun(before, 'index build')} of others {come} before its own"
    return f"{_count_with_noun(evidence['waiting_builds'], 'index build')} of its own still to come"


def _long_build_cause(evidence: _Evidence) -> str:
    node = evidence.get("node_id")
    where = "" if node is None else f" on node {printable(node, 40)}"
    return f"one index build{where} takes far longer than others"


def _failing_build_cause(evidence: _Evidence) -> str:
    node, reason = evidence.get("node_id"), evidence.get("reason")
    where = "" if node is None else f" on node {printable(node, 40)}"
    why = "" if reason is None else f": {printable(reason, 60)}"
    return f"an index build fails{where}{why}"


def _slow_node_cause(evidence: _Evidence) -> str:
    node = printable(evidence["node_id"], 40)
    return f"node {node} is {evidence['times_peers']:.1f} times as slow as its peers"


_CAUSES: Final[Mapping[str, Callable[[_Evidence], str]]] = {
    "no_data_node": lambda _: "no data node is up",
    "quota_near": _quota_cause,
    "no_slot": _slot_cause,
    "sort_queued": _sort_cause,
    "index_queue": _queue_cause,
    "long_index_build": _long_build_cause,
    "index_build_fails": _failing_build_cause,
    "node_slower": _slow_node_cause,
}
