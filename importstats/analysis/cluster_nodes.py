"""Nodes: one that is slower than its peers, and tasks that began again elsewhere."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import pandas as pd

from importstats.analysis.cluster_state import ClusterState, entries_at_work
from importstats.analysis.cluster_words import listed_text, number
from importstats.analysis.job_history import MINUTE, Finding, JobHistory
from importstats.text import plural, printable

_TIMES_PEERS: Final = 2.0


def node_slower(job: JobHistory, state: ClusterState) -> Finding | None:
    """A node takes far longer for its tasks of the job than its peers do."""
    runs = state.task_runs
    own = runs[runs["job_id"].eq(job.key[1]) & runs["kind"].astype("str").eq("ImportTask")]
    if not len(entries_at_work(state.of_job(job.key[1]))):
        return None
    spells = _spells(own, state.at)
    median_s = spells.groupby("node_id")["took_s"].median()
    ended = spells[spells["ended"]]
    for node in median_s.sort_values(ascending=False).index:
        peers = ended.loc[ended["node_id"].ne(node), "took_s"]
        mine = spells.loc[spells["node_id"].eq(node), "took_s"]
        if len(peers) < 2:
            continue
        times = float(mine.median() / peers.median()) if peers.median() > 0 else math.nan
        if times >= _TIMES_PEERS and float(mine.median()) >= MINUTE:
            return _slower_finding(job, state, str(node), times, len(mine), spells)
    return None


def _slower_finding(
    job: JobHistory, state: ClusterState, node: str, times: float, tasks: int, spells: pd.DataFrame
) -> Finding:
    listed = state.nodes[state.nodes["node_id"].eq(node)]
    facts = listed.iloc[-1].to_dict() if len(listed) else {}
    address = facts.get("address")
    where = "" if address is None or pd.isna(address) else f" ({printable(str(address), 60)})"
    load = _load_text(facts)
    return Finding(
        job,
        "node_slower",
        "warning",
        spells.loc[spells["node_id"].eq(node), "began"].min(),
        f"Node {printable(node, 40)}{where} takes {times:.1f} times as long as its peers for "
        f"{plural(tasks, 'task')} of the job{load}",
        {
            "node_id": node,
            "address": None if address is None or pd.isna(address) else str(address),
            "times_peers": times,
            "tasks": tasks,
            "cpu_pct": number(facts.get("cpu_pct")),
            "io_wait_pct": number(facts.get("io_wait_pct")),
        },
    )


def _load_text(facts: Mapping[Any, Any]) -> str:
    said = []
    for name, what in (("cpu_pct", "of its cores used"), ("io_wait_pct", "of its time on disks")):
        value = number(facts.get(name))
        if value is not None and value >= (70 if name == "cpu_pct" else 10):
            said.append(f"{value:.0f} % {what}")
    return f": {listed_text(said)}" if said else ""


def task_repeated(job: JobHistory, state: ClusterState) -> Finding | None:
    """Import tasks of the job went back and began again, maybe on other nodes."""
    runs = state.task_runs[state.task_runs["job_id"].eq(job.key[1])]
    text = runs["state"].astype("str")
    before = text.groupby(runs["task_id"]).shift()
    back = runs[text.isin(["Pending", "Retry"]) & before.eq("InProgress")]
    nodes = runs.loc[runs["node_id"].notna()].groupby("task_id")["node_id"].unique()
    moved = nodes[nodes.map(len) > 1]
    repeated = sorted({*back["task_id"], *moved.index})
    if not repeated:
        return None
    seen = sorted({node for task in repeated for node in nodes.get(task, [])})
    count = len(repeated)
    imported = state.of_job(job.key[1])["state"].astype("str").eq("Completed").all()
    on = f", on nodes {', '.join(printable(node, 40) for node in seen)}" if len(seen) > 1 else ""
    return Finding(
        job,
        "task_repeated",
        "warning" if count >= 3 and not imported else "info",
        back["observed_at"].min() if len(back) else runs["observed_at"].min(),
        f"{plural(count, 'task')} of the job went back and began again{on}",
        {"tasks": count, "nodes": " ".join(seen), "times": len(back)},
    )


def _spells(runs: pd.DataFrame, at: pd.Timestamp) -> pd.DataFrame:
    """Each task's work on each node: ``node_id``, ``began``, ``took_s`` and ``ended``."""
    text = runs["state"].astype("str")
    work = runs[text.eq("InProgress") & runs["node_id"].notna()]
    key = ["task_id", "node_id"]
    spells = work.groupby(key, as_index=False).agg(began=("observed_at", "min"))
    end = runs[~text.eq("InProgress")].groupby("task_id", as_index=False)["observed_at"].max()
    ends = spells.merge(end, on="task_id", how="left")["observed_at"]
    ended = ends.notna() & (ends > spells["began"])
    until = ends.where(ended, at)
    took_s = (until - spells["began"]).dt.total_seconds()
    return spells.assign(took_s=took_s, ended=ended)
