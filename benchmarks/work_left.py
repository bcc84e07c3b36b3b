"""How good the ETA by the work that is left is, on simulated clusters with queues of others.

    python benchmarks/work_left.py --seeds 51000:51008

Jobs without history, watched every 10 seconds, are asked for an ETA every minute of Sorting and
IndexBuilding; the error is relative to what was left, of at least 10 seconds.
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


def answers(seed: int) -> Iterator[dict[str, object]]:
    """The estimates of one case and what was left in truth."""
    seen = culprits.Watched(case(seed), seed)
    found = []
    polls = 0
    while seen.poll():
        polls += 1
        if polls % _EVERY:
            continue
        at = seen.jobs["observed_at"].iloc[-1]
        after = eta(seen.jobs, at=at, cluster=seen.watch.frames())
        if after["phase"].astype("str").item() in ("Sorting", "IndexBuilding"):
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
    parser.add_argument("--smoke", action="store_true", help="one case")
    asked = parser.parse_args()
    first, last = map(int, ["4", "5"] if asked.smoke else asked.seeds.split(":"))
    rows = [row for seed in range(first, last) for row in answers(seed)]
    frame = pd.DataFrame(rows)
    by = frame.groupby(["phase", "method"])
    print(by[["error", "error_before"]].median().round(3).to_string())
    print(by["inside"].agg(["mean", "size"]).round(3).to_string())
    ours = frame[frame["method"].eq("work")]
    print("all:", ours[["error", "error_before"]].median().round(3).to_dict(), len(ours))
    print("interval:", round(float(ours["inside"].mean()), 3))


if __name__ == "__main__":
    main()
