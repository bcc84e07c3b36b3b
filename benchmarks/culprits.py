"""Whether the culprit is named, and how soon: simulated clusters in which it is known.

    python benchmarks/culprits.py --seeds 53000:53004

Each case draws a cluster with one culprit (or none) and asks for diagnoses. It is named if a
finding of its kind names the same node, job or segment; a wrong name is a warning of another kind
that says why a job waits. From the poll on in which the answers of the management port show the
culprit to somebody who knows it (no rule of ours says when), each poll is diagnosed, and the polls
until it is named are counted.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from importstats.analysis.cluster_state import AT_WORK, WAITS, ClusterState
from importstats.analysis.findings import diagnose
from importstats.simulator import Arrival, ClusterSpec, FileSpec, JobSpec, Restart
from importstats.simulator.specs import Compaction
from importstats.simulator.watching import WatchedJob
from importstats.store.frames import jobs_frame
from importstats.store.schema import jobs_table

POLL_S = 10.0
URI = "http://localhost:19530"

#: The kinds of findings that say why a job waits.
WHY = (
    "no_data_node",
    "quota_near",
    "index_build_fails",
    "no_slot",
    "sort_queued",
    "long_index_build",
    "index_queue",
    "node_slower",
    "task_repeated",
)


#: So many polls after it can be seen, a culprit is to be named.
PROMPT_POLLS = 3

Shows = Callable[[ClusterState, str], bool]


@dataclass(frozen=True)
class Case:
    """A cluster and a job, which findings name the culprit, and by which evidence.

    `shows` says whether the answers of the management port show the culprit of a job.
    """

    cluster: ClusterSpec
    job: JobSpec
    findings: tuple[str, ...] = ()
    names: Callable[[dict[str, Any], Watched], bool] = lambda evidence, seen: True
    shows: Shows = lambda state, job_id: False


def _is(entries: pd.DataFrame, states: Collection[str]) -> pd.Series[bool]:
    return entries["state"].astype("str").isin(states)


def _tasks_wait_for_others(state: ClusterState, job_id: str) -> bool:
    own = state.of_job(job_id)
    others = state.tasks[state.tasks["job_id"].ne(job_id)]
    return bool(
        _is(own, WAITS).any() and not _is(own, AT_WORK).any() and _is(others, AT_WORK).any()
    )


def _sorts_wait_for_others(state: ClusterState, job_id: str) -> bool:
    sorts = state.sorts_of(job_id)
    others = state.compactions[~state.compactions["plan_id"].isin(sorts["plan_id"])]
    return bool(_is(sorts, ["pipelining"]).any() and _is(others, AT_WORK).any())


def _work_waits_for_builds(state: ClusterState, job_id: str) -> bool:
    builds = state.builds_of(job_id)
    others = state.builds[~state.builds["build_id"].isin(builds["build_id"])]
    waits = _is(builds, WAITS).any() or _is(state.sorts_of(job_id), ["pipelining"]).any()
    return bool(waits and _is(others, AT_WORK).any())


def _build_has_failed(state: ClusterState, job_id: str) -> bool:
    own = state.builds_of(job_id)
    return bool(own["reason"].notna().any() or own["tries"].gt(1).fillna(value=False).any())


def _no_node_is_listed(state: ClusterState, job_id: str) -> bool:
    return bool(len(state.nodes) and not len(state.workers))


def _quota_is_full(state: ClusterState, job_id: str) -> bool:
    quota = state.gauge("rootcoord_disk_quota", scope="cluster")
    stored = state.gauge("datacoord_stored_binlog_size")
    return bool(quota and stored and stored > 0.9 * quota)


def _runs_twice_as_long(
    runs: pd.DataFrame, key: str, node: str, done: str, at: pd.Timestamp
) -> bool:
    """Whether an entry on a node has run for twice as long as others took that ended elsewhere."""
    text = runs["state"].astype("str")
    began = runs[text.eq("InProgress")].groupby(key)["observed_at"].min()
    ended = runs[text.eq(done)].groupby(key)["observed_at"].min()
    on = runs[runs["node_id"].notna()].groupby(key)["node_id"].last()
    took = (ended.reindex(began.index).fillna(at) - began).dt.total_seconds()
    there = on.reindex(began.index).eq(node)
    peers = took[~there & ended.reindex(began.index).notna()]
    return bool(len(peers) >= 2 and (took[there] > 2 * peers.median()).any())


class Watched(WatchedJob):
    """The job of a case, and what is found of it."""

    def __init__(self, case: Case, seed: int, dialect: str = "2.6") -> None:
        super().__init__(case.cluster, case.job, seed=seed, dialect=dialect, source_uri=URI)
        self.others = [job.job_id for job in self.cluster.live_jobs if job.job_id != self.job_id]

    def poll(self, seconds: float = POLL_S) -> bool:
        """Go on and ask once; whether the job goes on."""
        return super().poll(seconds)

    @property
    def jobs(self) -> pd.DataFrame:
        """The jobs frame so far."""
        return jobs_frame(jobs_table(self.snapshots))

    def cluster_state(self) -> ClusterState:
        """What the management port has shown of the cluster so far."""
        return ClusterState.from_cluster(
            self.watch.frames(), URI, self.jobs["observed_at"].iloc[-1]
        )

    def findings(self) -> pd.DataFrame:
        """What is found now."""
        found = diagnose(self.jobs, cluster=self.watch.frames())
        return found.astype({"finding": "str", "severity": "str"})


def job_of(rng: np.random.Generator, **fields: Any) -> JobSpec:
    """A job of some files of about a gigabyte, each of which is a task."""
    files = tuple(
        FileSpec((f"{number}.parquet",), int(rng.uniform(0.7, 1.3) * 2**30), 10**6)
        for number in range(int(rng.integers(8, 17)))
    )
    known = {"collection_name": "products", "files": files, "max_task_bytes": 2**30}
    return JobSpec(**{**known, "early_index": False, **fields})


def _nothing(rng: np.random.Generator) -> Case:
    return Case(ClusterSpec(), job_of(rng))


def _other_job(rng: np.random.Generator) -> Case:
    slots = int(rng.integers(2, 6))
    files = tuple(FileSpec((f"o{n}.parquet",), 2**30, 10**6) for n in range(40 * slots))
    other = replace(job_of(rng), collection_name="others", files=files)
    return Case(
        ClusterSpec(slots_per_node=slots, other_jobs=(Arrival(-90.0, other),)),
        job_of(rng),
        ("no_slot",),
        lambda evidence, seen: list(evidence["held_by_jobs"]) == seen.others,
        _tasks_wait_for_others,
    )


def _compactions(rng: np.random.Generator) -> Case:
    count = int(rng.integers(4, 9))
    return Case(
        ClusterSpec(compactions=(Compaction(0.0, float(rng.uniform(900, 3000)), count),)),
        job_of(rng),
        ("sort_queued",),
        lambda evidence, seen: evidence["other_compactions"] > 0,
        _sorts_wait_for_others,
    )


def _queue(rng: np.random.Generator) -> Case:
    rows_per_s = float(rng.uniform(5e3, 1e4))
    files = tuple(FileSpec((f"o{n}.parquet",), 2**30, 10**6) for n in range(40))
    other = replace(job_of(rng), collection_name="others", files=files, index_rows_per_s=rows_per_s)
    return Case(
        ClusterSpec(other_jobs=(Arrival(-400.0, other),)),
        job_of(rng, index_rows_per_s=rows_per_s),
        # Its segments wait behind the builds of others, first to be sorted, then for an index.
        ("index_queue", "sort_queued"),
        lambda evidence, seen: evidence.get("builds_before", evidence.get("index_builds")) > 0,
        _work_waits_for_builds,
    )


def _failing_build(rng: np.random.Generator) -> Case:
    job = job_of(rng, failing_builds=1, build_failures=int(rng.integers(3, 20)))
    return Case(
        ClusterSpec(),
        job,
        ("index_build_fails",),
        lambda evidence, seen: evidence["reason"] == job.build_error,
        _build_has_failed,
    )


def _no_node(rng: np.random.Generator) -> Case:
    at_s = float(rng.uniform(15, 60))
    restarts = tuple(Restart(at_s, node, 1200.0) for node in range(2))
    cluster = ClusterSpec(restarts=restarts)
    return Case(cluster, job_of(rng), ("no_data_node",), shows=_no_node_is_listed)


def _quota(rng: np.random.Generator) -> Case:
    quota = float(rng.uniform(0.5e12, 2e12))
    cluster = ClusterSpec(
        stored_bytes=quota * float(rng.uniform(0.92, 0.99)), disk_quota_bytes=quota
    )
    job = job_of(rng, preimport_bytes_per_s=8e6)
    return Case(cluster, job, ("quota_near",), shows=_quota_is_full)


def _imports_of(state: ClusterState, job_id: str) -> pd.DataFrame:
    runs = state.task_runs
    return runs[runs["job_id"].eq(job_id) & runs["kind"].astype("str").eq("ImportTask")]


def _slow_node(rng: np.random.Generator) -> Case:
    slow = int(rng.integers(3))
    load = ((slow, ((0.0, float(rng.uniform(0.1, 0.3))),)),)
    return Case(
        ClusterSpec(node_speeds=(1.0, 1.0, 1.0), node_load=load),
        job_of(rng, import_bytes_per_s=8e6),
        ("node_slower",),
        lambda evidence, seen: evidence["node_id"] == str(101 + slow),
        lambda state, job_id: _runs_twice_as_long(
            _imports_of(state, job_id), "task_id", str(101 + slow), "Completed", state.at
        ),
    )


def _slow_index_node(rng: np.random.Generator) -> Case:
    speeds = (1.0, 1.0, float(rng.uniform(0.05, 0.12)))
    return Case(
        ClusterSpec(index_speeds=speeds, node_speeds=(1.0, 1.0, 1.0)),
        job_of(rng, sort_rows_per_s=3e5),
        ("long_index_build",),
        lambda evidence, seen: evidence["node_id"] == "103",
        lambda state, job_id: _runs_twice_as_long(
            state.build_runs, "build_id", "103", "Finished", state.at
        ),
    )


CASES: dict[str, Callable[[np.random.Generator], Case]] = {
    "nothing": _nothing,
    "other_job": _other_job,
    "compactions": _compactions,
    "queue": _queue,
    "failing_build": _failing_build,
    "no_node": _no_node,
    "quota": _quota,
    "slow_node": _slow_node,
    "slow_index_node": _slow_index_node,
}


@dataclass(frozen=True)
class Verdict:
    """What came of a case.

    Attributes
    ----------
    named : bool
        Whether its culprit was named.
    wrong : tuple of str
        Wrong names that there were.
    delay_polls : int or None
        Polls from the one that showed the culprit to the one that named it; None if either never
        came.
    """

    named: bool
    wrong: tuple[str, ...]
    delay_polls: int | None


def judge(name: str, seed: int, *, every: int = 3, most: int = 150) -> Verdict:
    """Run a case until its culprit is named, with a diagnosis at every so many polls.

    Once the culprit can be seen it is every poll.
    """
    case = CASES[name](np.random.default_rng([seed, sorted(CASES).index(name)]))
    seen = Watched(case, seed)
    wrong: set[str] = set()
    shown: int | None = None
    for polls in range(1, most + 1):
        goes_on = seen.poll()
        if shown is None and case.findings and case.shows(seen.cluster_state(), seen.job_id):
            shown = polls
        if polls % every and shown is None:
            continue
        found = seen.findings()
        why = found[found["finding"].isin(WHY)]
        for row in why.to_dict("records"):
            if row["finding"] in case.findings and case.names(json.loads(row["evidence"]), seen):
                # Before it could be seen by the measure above: no later than then.
                delay = 0 if shown is None else polls - shown
                return Verdict(True, tuple(sorted(wrong)), delay)
            if row["severity"] != "info":
                wrong.add(row["finding"])
        if not goes_on:
            break
    return Verdict(not case.findings, tuple(sorted(wrong)), None)


def main() -> None:
    """Print how many culprits were named, how soon, and how many wrong names there were."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="1:6", help="from:to")
    parser.add_argument("--smoke", action="store_true", help="two cases, once")
    asked = parser.parse_args()
    first, last = (1, 2) if asked.smoke else map(int, asked.seeds.split(":"))
    names = ["no_node", "failing_build"] if asked.smoke else list(CASES)
    found = [(name, judge(name, seed)) for name in names for seed in range(first, last)]
    frame = pd.DataFrame(
        {
            "case": [name for name, _ in found],
            "named": [verdict.named for _, verdict in found],
            "wrong": [bool(verdict.wrong) for _, verdict in found],
            "names": [" ".join(verdict.wrong) for _, verdict in found],
            "delay_polls": pd.array([verdict.delay_polls for _, verdict in found], "Int64"),
        }
    )
    frame["prompt"] = frame["delay_polls"].le(PROMPT_POLLS).fillna(value=False)
    by = frame.groupby("case")
    table = by[["named", "wrong", "prompt"]].mean().round(2)
    table["median_polls"], table["most_polls"] = (
        by["delay_polls"].median(),
        by["delay_polls"].max(),
    )
    print(table.to_string())
    print(f"named {frame['named'].mean():.3f}, wrong {frame['wrong'].mean():.3f} of {len(frame)}")
    culprits = frame[frame["case"].ne("nothing")]
    print(f"within {PROMPT_POLLS} polls {culprits['prompt'].mean():.3f} of {len(culprits)}")
    if frame["wrong"].any():
        print(frame.loc[frame["wrong"], ["case", "names"]].to_string())


if __name__ == "__main__":
    main()
