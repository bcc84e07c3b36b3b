"""How long one look at a large job takes: ``python benchmarks/speed.py [--smoke]``.

One job of :mod:`worlds` with 20,000 files, seen 150 times, details as runs (as a store gives them)
and as one row per snapshot and file. Each analysis is timed on all snapshots; the least of three
rounds counts. The memory is the highest of the process after each.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable

import pandas as pd
from measures import Limit, verdicts
from worlds import one_job

from importstats import diagnose, eta, phases, stragglers, throughput

#: Seconds at most, by runs and by rows.
MOST_S = {"eta": 1.5, "stragglers": 0.5}
ROUNDS = 3


def expanded(details: pd.DataFrame) -> pd.DataFrame:
    """One row per snapshot and file out of runs."""
    length = (details["last_snapshot_id"] - details["snapshot_id"] + 1).to_numpy()
    rows = details.loc[details.index.repeat(length)].reset_index(drop=True)
    later = rows.groupby(details.index.repeat(length)).cumcount()
    rows["snapshot_id"] = rows["snapshot_id"] + later
    return rows.assign(last_snapshot_id=rows["snapshot_id"])


def least_s(work: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--polls", type=int, default=150)
    parser.add_argument("--signal", choices=["files", "smooth"], default="files")
    parser.add_argument("--smoke", action="store_true", help="500 files, 30 polls")
    options = parser.parse_args()
    if options.smoke:
        options.files, options.polls = 500, 30
    made = one_job(options.files, options.polls, signal=options.signal)
    jobs, details = made.jobs, made.details
    rows = expanded(details)
    times = details.drop_duplicates("snapshot_id").set_index("snapshot_id")["observed_at"]
    seen = jobs.set_index("snapshot_id")["observed_at"]
    rows["observed_at"] = rows["last_observed_at"] = seen.reindex(rows["snapshot_id"]).to_numpy()
    print(
        f"{options.files:,} files x {options.polls} snapshots, signal {options.signal}: "
        f"{len(details):,} runs of {len(times)} beginnings, {len(rows):,} rows\n"
    )
    analyses: dict[str, Callable[[pd.DataFrame], object]] = {
        "eta": lambda files: eta(jobs, files),
        "eta, the last only": lambda files: eta(jobs, files, at=jobs["observed_at"].iloc[-2]),
        "stragglers": stragglers,
        "throughput": throughput,
        "diagnose": lambda files: diagnose(jobs, files),
        "phases": lambda files: phases(jobs),
    }
    print("| analysis | runs, s | rows, s | peak, MB |\n|---|---|---|---|")
    limits = []
    for name, analyse in analyses.items():
        by_runs = least_s(lambda analyse=analyse: analyse(details))
        by_rows = least_s(lambda analyse=analyse: analyse(rows))
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"| {name} | {by_runs:.2f} | {by_rows:.2f} | {peak_mb:,.0f} |")
        if name in MOST_S:
            limits.append(Limit(f"{name} by runs, s", by_runs, MOST_S[name]))
            limits.append(Limit(f"{name} by rows, s", by_rows, MOST_S[name]))
    print("\n" + verdicts(limits))


if __name__ == "__main__":
    main()
