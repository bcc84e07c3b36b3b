"""How good the ETA by the work that is left is, on simulated clusters with queues of others.

    python benchmarks/work_left.py --seeds 51000:51008
    python benchmarks/work_left.py --seeds 51000:51008 --remembered

Jobs without history, watched every 10 seconds, are asked for an ETA every minute of Sorting and
IndexBuilding; the error is relative to what was left, of at least 10 seconds. With `--remembered`
the cluster ran one to five other jobs in the hours before, which nobody collected but its metrics
count, and the jobs are asked every 20 seconds of Importing too.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace

import culprits
import numpy as np
import pandas as pd

from importstats.analysis.forecast import eta
from importstats.simulator import Arrival, ClusterSpec
from importstats.simulator.specs import Compaction

_EVERY = 6
_EVERY_OF_IMPORTING = 2


def used_before(case: culprits.Case, seed: int) -> culprits.Case:
    """The same on a cluster that ran other jobs in the hours before, of like indexes and files."""
    rng = np.random.default_rng([seed, 78])
    earlier: list[Arrival] = []
    begins = -600.0
    for number in range(int(rng.integers(1, 6))):
        begins -= float(rng.uniform(3600, 7200))
        job = culprits.job_of(
            rng,
            collection_name=f"earlier{number}",
            index_rows_per_s=case.job.index_rows_per_s * float(np.exp(rng.normal(0, 0.5))),
            import_bytes_per_s=case.job.import_bytes_per_s * float(np.exp(rng.normal(0, 0.3))),
        )
        count = int(rng.integers(2, len(job.files) + 1))
        earlier.append(Arrival(begins, replace(job, files=job.files[:count])))
    others = (*earlier[::-1], *case.cluster.other_jobs)
    return replace(case, cluster=replace(case.cluster, other_jobs=others))


def case(seed: int) -> culprits.Case:
    """A job; in half of the cases beside another one, in a third beside compactions."""
    rng = np.random.default_rng([seed, 77])
    job = culprits.job_of(
        rng,
        index_rows_per_s=float(rng.uniform(2e3, 2e4)),
        early_index=bool(rng.integers(2)),
        noise=float(rng.uniform(0.05, 0.3)),
    )
    others: tuple[Arrival, ...] = ()
    if rng.integers(2):
        # Of an index like the job's in half of these cases.
        rows_per_s = job.index_rows_per_s if rng.integers(2) else float(rng.uniform(2e3, 2e4))
        other = culprits.job_of(rng, index_rows_per_s=rows_per_s)
        other = replace(other, collection_name="others")
        others = (Arrival(-float(rng.uniform(0, 120)), other),)
    compactions: tuple[Compaction, ...] = ()
    if not rng.integers(3):
        begins, takes = float(rng.uniform(0, 300)), float(rng.uniform(30, 300))
        compactions = (Compaction(begins, takes, int(rng.integers(1, 4))),)
    cluster = ClusterSpec(
        other_jobs=others,
        compactions=compactions,
        index_speeds=(1.0, float(rng.uniform(0.6, 1.0))),
        index_slots_per_node=int(rng.integers(1, 4)),
    )
    return culprits.Case(cluster, job)


def answers(seed: int, *, remembered: bool = False) -> Iterator[dict[str, object]]:
    """The estimates of one case and what was left in truth."""
    drawn = case(seed)
    seen = culprits.Watched(used_before(drawn, seed) if remembered else drawn, seed)
    phases = ("Importing", "Sorting", "IndexBuilding")[0 if remembered else 1 :]
    found = []
    polls = 0
    while seen.poll():
        polls += 1
        imports = remembered and seen.state.phase.value == "Importing"
        if polls % (_EVERY_OF_IMPORTING if imports else _EVERY):
            continue
        at = seen.jobs["observed_at"].iloc[-1]
        after = eta(seen.jobs, at=at, cluster=seen.watch.frames())
        if after["phase"].astype("str").item() in phases:
            found.append((eta(seen.jobs, at=at), after))
    end = pd.Timestamp(seen.cluster.truth(seen.job_id).end)
    for before, after in found:
        true_s = (end - after["observed_at"].item()).total_seconds()
        p10, p50, p90 = (after[f"remaining_p{q}_s"].item() for q in (10, 50, 90))
        yield {
            "seed": seed,
            "phase": str(after["phase"].item()),
            "method": str(after["method"].item()),
            "error": abs(p50 - true_s) / max(true_s, 10),
            "error_before": abs(before["remaining_p50_s"].item() - true_s) / max(true_s, 10),
            "inside": p10 <= true_s <= p90,
        }


def main() -> None:
    """Print the median errors and the coverage of the interval."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="1:4", help="from:to")
    parser.add_argument("--remembered", action="store_true", help="on clusters that ran others")
    parser.add_argument("--smoke", action="store_true", help="one case")
    asked = parser.parse_args()
    first, last = map(int, ["4", "5"] if asked.smoke else asked.seeds.split(":"))
    rows = [
        row for seed in range(first, last) for row in answers(seed, remembered=asked.remembered)
    ]
    frame = pd.DataFrame(rows)
    by = frame.groupby(["phase", "method"])
    print(by[["error", "error_before"]].median().round(3).to_string())
    print(by["inside"].agg(["mean", "size"]).round(3).to_string())
    ours = frame[frame["method"].eq("work")]
    print("all:", ours[["error", "error_before"]].median().round(3).to_dict(), len(ours))
    print("interval:", round(float(ours["inside"].mean()), 3))


if __name__ == "__main__":
    main()
