"""Does `diagnose` cry wolf, and does it see one? ``python benchmarks/diagnosis.py``.

Healthy jobs of all families are diagnosed at eight times of their lives and at the end of each
phase: a warning or worse is a false alarm. Healthy means that nothing is amiss: no file has a
fault, none is larger than the 16 GB that Milvus takes, nodes are equal, load is constant, and
durations scatter by at most 15 % (a file that takes twice as long as its peers by mere scatter
holds the job up as well). Jobs with a trouble are diagnosed at the same times, as they are drawn:
what is counted is in how many the finding that names the trouble comes up at any of them.
"""

from __future__ import annotations

import argparse
import math
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd

from importstats.analysis.findings import diagnose
from importstats.analysis.phase import phases
from importstats.simulator import FAMILIES, ClusterSpec, JobSpec, make_shape, simulate_job
from importstats.store.frames import details_frame, jobs_frame

HEALTHY = (
    "steady",
    "few_big_files",
    "many_small_files",
    "index_bound",
    "sort_bound",
    "small_and_quick",
    "waiting",
)
#: Shapes with a trouble, and the findings of which one has to name it.
TROUBLES = {
    "failing": {"failed"},
    "stuck_file": {"stalled", "one_file_holds_up"},
    "node_restart": {"node_restarted"},
    "retry_storm": {"retries"},
    "two_phase_commit": {"waits_for_commit"},
    "wrong_totals": {"wrong_totals"},
    "index_bound": {"waiting_for_index"},
}
TIMES_PER_JOB = 8
#: What Milvus takes at most, by default (``dataCoord.import.maxImportFileSizeInGB``).
LARGEST_BYTES = 16 * 2**30
POLLS = 200


def found_in(kind: tuple[str, str, int, bool]) -> pd.DataFrame:
    """The findings of one job at each of the times."""
    family, shape, seed, healthy = kind
    cluster, job = make_shape(shape, seed=seed, family=family)
    if healthy:
        cluster, job = without_faults(cluster, job)
    probe = simulate_job((cluster, job), seed=seed, poll_every_s=3600.0)
    lasts_s = (probe.truth.end - pd.Timestamp(probe.polls[0].observed_at)).total_seconds()
    # A job with a file that hangs for ever has no end: half a day of it is enough.
    poll_s = float(np.clip((43_200.0 if math.isnan(lasts_s) else lasts_s) / POLLS, 5, 600))
    simulation = simulate_job((cluster, job), seed=seed, poll_every_s=poll_s, max_polls=2 * POLLS)
    jobs, details = simulation.tables(runs=True)
    jobs, details = jobs_frame(jobs), details_frame(details)
    looks = np.linspace(0, len(jobs) - 1, TIMES_PER_JOB + 1).astype(int)[1:]
    times = pd.concat([jobs["observed_at"].iloc[looks], phases(jobs)["end_earliest"].dropna()])
    found = [diagnose(jobs, details, at=at) for at in times.drop_duplicates()]
    columns = ["finding", "severity", "message"]
    return pd.concat(found, ignore_index=True)[columns].assign(
        family=family, shape=shape, seed=seed
    )


def without_faults(cluster: ClusterSpec, job: JobSpec) -> tuple[ClusterSpec, JobSpec]:
    smaller = min(1.0, LARGEST_BYTES / max(file.size_bytes for file in job.files))
    files = tuple(
        replace(
            file,
            retries=0,
            size_bytes=max(1, round(file.size_bytes * smaller)),
            rows=max(1, round(file.rows * smaller)),
        )
        for file in job.files
    )
    cluster = replace(cluster, load=(), node_speeds=(1.0,) * len(cluster.node_speeds))
    return cluster, replace(job, files=files, noise=min(job.noise, 0.15))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=6, help="jobs of each shape and family")
    parser.add_argument("--first-seed", type=int, default=40_000)
    options = parser.parse_args()
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    healthy = list(product(FAMILIES, HEALTHY, seeds, [True]))
    troubled = list(product(FAMILIES, TROUBLES, seeds, [False]))
    with ProcessPoolExecutor() as pool:
        calm = pd.concat(pool.map(found_in, healthy), ignore_index=True)
        rough = pd.concat(pool.map(found_in, troubled), ignore_index=True)

    alarms = calm[calm["severity"].ne("info")]
    jobs = alarms.drop_duplicates(["family", "shape", "seed"])
    print(f"{len(healthy)} healthy jobs, {len(alarms)} false alarms, in {len(jobs)} jobs")
    for alarm in alarms.itertuples():
        print(f"  {alarm.family} {alarm.shape} {alarm.seed}, {alarm.finding}: {alarm.message}")
    print("\n| trouble | named by | " + " | ".join(FAMILIES) + " |")
    print("|---" * (2 + len(FAMILIES)) + "|")
    for shape, names in TROUBLES.items():
        seen = rough[rough["shape"].eq(shape) & rough["finding"].isin(names)]
        counts = seen.drop_duplicates(["family", "seed"])["family"].value_counts()
        cells = [f"{counts.get(family, 0)} of {options.seeds}" for family in FAMILIES]
        print(f"| {shape} | {', '.join(sorted(names))} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
