"""Whether the culprit is named: simulated clusters in which it is known why a job waits.

    python benchmarks/culprits.py --seeds 51000:51004

Each case draws a cluster with one culprit (or none) and asks for a diagnosis at every poll. It is
named if a finding of its kind names the same node, job or segment; a wrong name is a warning of
another kind that says why a job waits.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

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


@dataclass(frozen=True)
class Case:
    """A cluster and a job, which findings name the culprit, and by which evidence."""

    cluster: ClusterSpec
    job: JobSpec
    findings: tuple[str, ...] = ()
    names: Callable[[dict[str, Any], Watched], bool] = lambda evidence, seen: True


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
    )


def _compactions(rng: np.random.Generator) -> Case:
    count = int(rng.integers(4, 9))
    return Case(
        ClusterSpec(compactions=(Compaction(0.0, float(rng.uniform(900, 3000)), count),)),
        job_of(rng),
        ("sort_queued",),
        lambda evidence, seen: evidence["other_compactions"] > 0,
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
    )


def _failing_build(rng: np.random.Generator) -> Case:
    job = job_of(rng, failing_builds=1, build_failures=int(rng.integers(3, 20)))
    return Case(
        ClusterSpec(),
        job,
        ("index_build_fails",),
        lambda evidence, seen: evidence["reason"] == job.build_error,
    )


def _no_node(rng: np.random.Generator) -> Case:
    at_s = float(rng.uniform(15, 60))
    restarts = tuple(Restart(at_s, node, 1200.0) for node in range(2))
    return Case(ClusterSpec(restarts=restarts), job_of(rng), ("no_data_node",))


def _quota(rng: np.random.Generator) -> Case:
    quota = float(rng.uniform(0.5e12, 2e12))
    cluster = ClusterSpec(
        stored_bytes=quota * float(rng.uniform(0.92, 0.99)), disk_quota_bytes=quota
    )
    return Case(cluster, job_of(rng, preimport_bytes_per_s=8e6), ("quota_near",))


def _slow_node(rng: np.random.Generator) -> Case:
    slow = int(rng.integers(3))
    load = ((slow, ((0.0, float(rng.uniform(0.1, 0.3))),)),)
    return Case(
        ClusterSpec(node_speeds=(1.0, 1.0, 1.0), node_load=load),
        job_of(rng, import_bytes_per_s=8e6),
        ("node_slower",),
        lambda evidence, seen: evidence["node_id"] == str(101 + slow),
    )


def _slow_index_node(rng: np.random.Generator) -> Case:
    speeds = (1.0, 1.0, float(rng.uniform(0.05, 0.12)))
    return Case(
        ClusterSpec(index_speeds=speeds, node_speeds=(1.0, 1.0, 1.0)),
        job_of(rng, sort_rows_per_s=3e5),
        ("long_index_build",),
        lambda evidence, seen: evidence["node_id"] == "103",
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
    """What came of a case: whether its culprit was named, and which wrong names there were."""

    named: bool
    wrong: tuple[str, ...]
    polls: int


def judge(name: str, seed: int, *, every: int = 3, most: int = 150) -> Verdict:
    """Run a case, with a diagnosis at every so many polls, until its culprit is named."""
    case = CASES[name](np.random.default_rng([seed, sorted(CASES).index(name)]))
    seen = Watched(case, seed)
    wrong: set[str] = set()
    for polls in range(1, most + 1):
        goes_on = seen.poll()
        if polls % every:
            continue
        found = seen.findings()
        why = found[found["finding"].isin(WHY)]
        for row in why.to_dict("records"):
            if row["finding"] in case.findings and case.names(json.loads(row["evidence"]), seen):
                return Verdict(True, tuple(sorted(wrong)), polls)
            if row["severity"] != "info":
                wrong.add(row["finding"])
        if not goes_on:
            break
    return Verdict(not case.findings, tuple(sorted(wrong)), polls)


def main() -> None:
    """Print how many culprits were named, and how many wrong names there were."""
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
        }
    )
    print(frame.groupby("case")[["named", "wrong"]].mean().round(2).to_string())
    print(f"named {frame['named'].mean():.3f}, wrong {frame['wrong'].mean():.3f} of {len(frame)}")
    if frame["wrong"].any():
        print(frame.loc[frame["wrong"], ["case", "names"]].to_string())


if __name__ == "__main__":
    main()
