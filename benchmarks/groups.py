"""How good is the ETA of a group of jobs? ``python benchmarks/groups.py``.

Groups of 3 to 11 jobs of one shape share a simulated cluster; they are submitted at once, or with a
pause between them. Each group is looked at four times in its life, with the rows that were planned
for each job, and without earlier jobs. Beside the ETA of the group stands the latest ETA of its
jobs, which is what one has without it.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from importstats import group_progress
from importstats.simulator import SHAPES, make_shape
from importstats.simulator.simulation import Arrival, simulate_cluster
from importstats.store.frames import details_frame, jobs_frame

OUTPUT = Path(__file__).parent / "results"
#: Nothing was chosen on seeds from here on.
FRESH = 51_100
LOOKS = (0.2, 0.4, 0.6, 0.8)
#: Shapes whose jobs do not end well by themselves, or have no rows, or take minutes here.
LEFT_OUT = {"delete_logs", "failing", "huge", "over_quota", "stuck_file", "waiting"}


def looks_at_group(seed: int) -> list[dict[str, float]]:
    """What was said of one group at each look, and what was true."""
    rng = np.random.default_rng(seed)
    shapes = [name for name in SHAPES if name not in LEFT_OUT]
    shape = shapes[seed % len(shapes)]
    cluster, _ = make_shape(shape, seed=seed)
    pause_s = float(rng.choice([0.0, 0.0, 5.0, 60.0]))
    arrivals = [
        Arrival(number * pause_s, _job(shape, seed, number, rng))
        for number in range(int(rng.integers(3, 12)))
    ]
    simulations = simulate_cluster(cluster, arrivals, seed=seed, poll_every_s=60.0)
    tables = [simulation.tables(runs=True) for simulation in simulations]
    jobs = jobs_frame(pa.concat_tables([table for table, _ in tables]))
    details = details_frame(pa.concat_tables([table for _, table in tables]))
    jobs = jobs[jobs["error"].isna()]
    ended = jobs[jobs["state"].isin(["Completed", "Failed"])].groupby("job_id", observed=True)
    ends = ended["observed_at"].min()
    if len(ends) < len(arrivals):
        return []
    rows = [sum(file.rows for file in arrival.job.files) for arrival in arrivals]
    ids = [simulation.job_id for simulation in simulations]
    planned = pd.Series(rows, index=ids, dtype="Int64")
    start, end = jobs["observed_at"].min(), ends.max()
    found = []
    for life in LOOKS:
        at = start + (end - start) * life
        group = group_progress(jobs, details, at=at, planned=planned)
        own = group.jobs.loc[group.jobs["ended_at"].isna(), "eta_p50"].max()
        times = {"p10": group.eta_p10, "p50": group.eta_p50, "p90": group.eta_p90, "own": own}
        said = {name: (time - at).total_seconds() for name, time in times.items()}
        found.append({"life": life, "left": (end - at).total_seconds(), **said})
    return found


def _job(shape: str, seed: int, number: int, rng: np.random.Generator):
    _, job = make_shape(shape, seed=1000 * seed + number, files=int(rng.integers(3, 25)))
    return replace(job, auto_commit=True)


def scores(looks: pd.DataFrame) -> str:
    """The table of the figures."""
    lines = [
        "| | median error | 90th percentile | 80 % interval holds | silent |",
        "|---|---|---|---|---|",
    ]
    for name, column in (("group_progress", "p50"), ("the latest ETA of its jobs", "own")):
        error = (looks[column] - looks["left"]).abs() / looks["left"]
        inside = looks["left"].between(looks["p10"], looks["p90"])
        holds = f"{inside[looks['p50'].notna()].mean():.0%}" if column == "p50" else "no interval"
        lines.append(
            f"| {name} | {error.median():.0%} | {error.quantile(0.9):.0%} | {holds} | "
            f"{error.isna().mean():.0%} |"
        )
    return "\n".join(lines).replace("%", " %").replace("80  %", "80 %")


def main() -> None:
    """Simulate the groups and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--groups", type=int, default=13)
    parser.add_argument("--first-seed", type=int, default=FRESH)
    parser.add_argument("--smoke", action="store_true", help="a few groups only, nothing written")
    options = parser.parse_args()
    count = 2 if options.smoke else options.groups
    seeds = range(options.first_seed, options.first_seed + count)
    looks = pd.DataFrame([look for seed in seeds for look in looks_at_group(seed)])
    groups = len(looks) // len(LOOKS)
    text = (
        f"{scores(looks)}\n\n{len(looks):,} looks at {groups:,} groups, seeds from {seeds.start}.\n"
    )
    print(text)
    if not options.smoke:
        OUTPUT.joinpath("groups.md").write_text(text)


if __name__ == "__main__":
    main()
