"""How good is the ETA? ``python benchmarks/eta.py`` (a quick look: ``--smoke``).

Jobs of eleven kinds of installations (:mod:`worlds`, made apart from the product's simulator) are
replayed, and every method is scored at up to forty snapshots of each job against the job's true
end. Each is asked twice: as the first job of a store, and with the recordings of the earlier jobs
of its server. What is said of history is scored on jobs with at least one ended job of their
collection.

A job is predicted by priors that were fitted on the other families (``benchmarks/priors``, by
``benchmarks/fit_priors.py``). With ``--source simulator`` the jobs are of the product's own
simulator (:mod:`simulated`).

Jobs of a cluster share its luck, so a kind has several clusters of six jobs (worlds) or five, and
ranges come from drawing clusters and their jobs anew. A coverage that fails by no more than that is
"within chance".

Seeds below 1,000 are for choosing. The published figures are of seed 50,000 and later, which
nothing was ever chosen on. With ``--signal smooth`` rows grow while a file is at work, as no
public server is known to report them; the analysis is not told which it is.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.ticker import NullLocator
from measures import (
    FRESH,
    JOB,
    Limit,
    bootstrap,
    coverage,
    difference,
    jumps,
    markdown,
    predictions,
    scored_snapshots,
    scores,
    verdicts,
)
from simulated import fleet as simulated_fleet
from worlds import FAMILIES, fleet

from importstats import eta
from importstats.analysis.baselines import BASELINES, HISTORY_BASELINES
from importstats.analysis.forecast.priors import Priors, parse_priors, shipped_priors
from importstats.simulator import FAMILIES as SIMULATED_FAMILIES

OUTPUT = Path(__file__).parent / "results"
LEFT_OUT = Path(__file__).parent / "priors"
#: Jobs of the two collections of a cluster: few, so that there are several clusters of a kind.
CAMPAIGNS = (4, 2)
SOURCES = {"worlds": partial(fleet, campaigns=CAMPAIGNS), "simulator": simulated_fleet}
PER_JOB = 40
#: A job counts as queued or paused from so long on.
PAUSED_S = 18 * 60
#: A group of fewer jobs is not compared.
LEAST_JOBS = 3
FIRST = ("eta", *BASELINES)
LATER = ("eta_history", *HISTORY_BASELINES)
POLLS = ((0, 3), (3, 15), (15, 45), (45, 90), (90, 1000))
#: What must hold, by signal: median error, its P90, median of |log|, width; first job, then later.
#: Those of the smooth signal are a tenth above what was reached when nothing else was thought of.
LIMITS = {
    "files": ((0.42, 1.9, 0.45, 2.6), (0.23, 0.95, 0.25, 1.2)),
    "smooth": ((0.363, 1.9, 0.45, 2.6), (0.231, 0.95, 0.25, 1.2)),
}
# Okabe and Ito's, told apart by everybody.
COLORS = {
    "eta": "#56B4E9",
    "eta_history": "#0072B2",
    "linear": "#CC79A7",
    "tqdm": "#E69F00",
    "rows_rate": "#999999",
    "late": "#009E73",
    "twin": "#D55E00",
    "survival": "#F0E442",
    "history_median": "#000000",
}


def priors_without(family: str) -> Priors:
    """Those fitted on the other families; the shipped ones for a family none was fitted on."""
    path = LEFT_OUT / f"without_{family}.json"
    return parse_priors(path.read_text()) if path.exists() else shipped_priors()


def measured(family: str, source: str, seed: int, jobs: int, signal: str) -> pd.DataFrame:
    """All methods' predictions for the jobs of one family."""
    made = SOURCES[source](seed, [family], jobs, signal=signal)
    priors = priors_without(family)
    scored = scored_snapshots(made.jobs, made.truth, made.phases, PER_JOB)
    parts = []
    for (uri, job_id), rows in scored.groupby(JOB):
        job, details = made.job(uri, job_id)
        history = made.cluster(uri)[0]
        methods = {
            "eta": partial(eta, priors=priors),
            "eta_history": partial(eta, history=history, priors=priors),
            **BASELINES,
            **{name: partial(find, history=history) for name, find in HISTORY_BASELINES.items()},
        }
        parts.append(predictions(rows, job, details, methods))
    table = pd.concat(parts, ignore_index=True)
    return table.merge(earlier_jobs(made.truth), on=JOB)


def earlier_jobs(truth: pd.DataFrame) -> pd.DataFrame:
    """How many jobs of its collection had ended when each job was created."""
    pairs = truth.merge(truth, on=["source_uri", "collection_name"], suffixes=("", "_other"))
    before = pairs["end_other"] < pairs["created_at"]
    counts = before.groupby([pairs["source_uri"], pairs["job_id"]]).sum()
    return counts.rename("earlier").reset_index()


def stacked(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """One table; of methods that look at history only the jobs that have one."""
    table = pd.concat(list(parts), ignore_index=True)
    method = table["method"].astype("str")
    table = table.assign(method=pd.Categorical(method, [*FIRST, *LATER]))
    later = table["method"].isin(LATER)
    return table[~later | (table["earlier"] > 0)].reset_index(drop=True)


def of_methods(table: pd.DataFrame, *names: str) -> pd.DataFrame:
    chosen = table[table["method"].isin(names)]
    return chosen.assign(method=chosen["method"].cat.remove_unused_categories())


def beaten(table: pd.DataFrame) -> pd.DataFrame:
    """Where a simple method is better than ours, over all, by family and by phase.

    A group of fewer than three jobs is left out: to draw these anew says nothing about chance.
    """
    rows = []
    groups = [("all", "", table)]
    for by in ("family", "phase"):
        groups += [(by, str(name), part) for name, part in table.groupby(by, observed=True)]
    for by, name, part in groups:
        if len(part[JOB].drop_duplicates()) < LEAST_JOBS:
            continue
        for ours, others in (("eta", FIRST[1:]), ("eta_history", (*BASELINES, *LATER[1:]))):
            for other in others:
                less, low, high, snapshots = difference(part, ours, other)
                if snapshots:
                    rows.append((by, name, ours, other, less, low, high, snapshots))
    columns = ["by", "group", "ours", "other", "difference", "low", "high", "snapshots"]
    return pd.DataFrame(rows, columns=columns)


def too_late_s(table: pd.DataFrame) -> pd.DataFrame:
    """Of queued and paused jobs: for how long more than five times the truth is predicted.

    One row per method and job: ``excess_s`` is that time less the queue or pause itself.
    """
    paused = (table["trouble_end"] - table["trouble_start"]).dt.total_seconds()
    paused = paused.where(table["trouble"].isin(["cluster_pause", "index_pause", "no_slot"]), 0.0)
    waited = paused.fillna(0.0) + table["queue_s"]
    rows = table.assign(waited_s=waited)[waited >= PAUSED_S]
    rows = rows.sort_values(["method", *JOB, "observed_at"])
    keys = ["method", *JOB]
    until = rows.groupby(keys, observed=True)["observed_at"].shift(-1).fillna(rows["end"])
    lasts = (until - rows["observed_at"]).dt.total_seconds()
    wrong = rows["remaining_p50_s"] > 5 * rows["true_remaining_s"]
    found = lasts.where(wrong, 0.0).groupby([rows[key] for key in keys], observed=True).sum()
    waits = rows.groupby(keys, observed=True)["waited_s"].first()
    return (found - waits).rename("excess_s").reset_index()


def limits(table: pd.DataFrame, signal: str, lost: pd.DataFrame) -> list[Limit]:
    """Every line that must hold."""
    found = []
    jump = jumps(table).groupby("method", observed=True)["worst_jump"].median()
    late = too_late_s(table)
    for method, (median, p90, log, width) in zip(
        ("eta", "eta_history"), LIMITS[signal], strict=True
    ):
        mine = of_methods(table, method)
        row = scores(mine).iloc[0]
        found += [
            Limit(f"{method}: median error", row["median"], median),
            Limit(f"{method}: 90th percentile", row["p90"], p90),
            Limit(f"{method}: median of \\|log\\|", row["log"], log),
            Limit(f"{method}: interval holds", row["holds"], 0.88, 0.74),
            Limit(f"{method}: mean width", row["width"], width),
        ]
        found += kept(mine, method)
        worse = lost[lost["ours"].eq(method) & (lost["low"] > 0)]
        found.append(Limit(f"{method}: groups in which a simple method wins", len(worse), 0))
        excess = late.loc[late["method"].eq(method), "excess_s"]
        found += [
            Limit(f"{method}: queued or paused jobs beyond 5 times", (excess > 0).sum(), 0),
            Limit(f"{method}: worst jump of the end, median", jump[method], 2.0),
        ]
    return found


def kept(mine: pd.DataFrame, method: str) -> list[Limit]:
    """How often the interval must hold in each family and after a change, chance apart."""
    family = coverage(mine, "family")
    worst, widest = family["holds"].min(), family["holds"].max()
    found = [
        Limit(
            f"{method}: interval holds, worst family",
            worst,
            least=0.74,
            highest=family["high"].min(),
        ),
        Limit(
            f"{method}: interval holds, widest family",
            widest,
            most=0.88,
            lowest=family["low"].max(),
        ),
    ]
    changed = mine[mine["since_change"].between(0, 1)].assign(all="")
    for row in coverage(changed, "all").itertuples():
        name = f"{method}: holds after a change"
        found.append(Limit(name, row.holds, 0.88, 0.74, highest=row.high, lowest=row.low))
    return found


def by_group(table: pd.DataFrame, by: str) -> pd.DataFrame:
    """The scores in each group, for families with the 95 % interval of ``holds``."""
    found = scores(table, [by]).drop(columns="silent")
    if by != "family":
        return found
    kept = [
        coverage(of_methods(table, method), by).assign(method=method)
        for method in ("eta", "eta_history")
    ]
    ranges = found[[by, "method"]].merge(pd.concat(kept), on=[by, "method"], how="left")
    shown = [
        "" if pd.isna(low) else f"{low:.2f} to {high:.2f}"
        for low, high in zip(ranges["low"], ranges["high"], strict=True)
    ]
    found.insert(list(found).index("holds") + 1, "95 %", shown)
    return found


def report(table: pd.DataFrame, source: str, signal: str, seed: int) -> str:
    """Everything as Markdown."""
    jobs = table.drop_duplicates(JOB)
    digits = {"p90": 2, "width": 2, "median_width": 2, "bias": 2}
    lost = beaten(table)
    parts = [
        f"# ETA on {len(jobs)} jobs of {table['family'].nunique()} families ({source}), "
        f"signal `{signal}`",
        f"Seed {seed:,}, {len(table[table['method'].eq('eta')]):,} snapshots. Errors are "
        "|predicted - true| / true remaining time where a method answers; `log` is the median of "
        "|log(predicted / true)|; `holds` and the widths are of the 80 % interval.",
        markdown(with_ranges(table), digits),
        "## What must hold",
        verdicts(limits(table, signal, lost)),
    ]
    ours = of_methods(table, "eta", "eta_history", "linear", "twin")
    polls = pd.cut(ours["poll_s"], [low for low, _ in POLLS] + [1000], right=False)
    ours = ours.assign(poll=polls.astype("str"))
    for by in ("family", "phase", "release", "poll", "trouble"):
        parts += [f"## By {by}", markdown(by_group(ours, by), digits)]
    steady = jumps(table).groupby("method", observed=True)
    settled = pd.DataFrame(
        {
            "worst_jump_median": steady["worst_jump"].median(),
            "within_20_for_good": steady["settled"].mean(),
        }
    )
    worse = lost[lost["low"] > 0].sort_values(["ours", "by", "difference"])
    parts += [
        "## Jumps of the predicted end, and jobs within 20 % for good from their middle on",
        markdown(settled.reset_index(), {"worst_jump_median": 2}),
        "## Where a simple method is better beyond chance",
        markdown(worse) if len(worse) else "Nowhere.",
    ]
    return "\n\n".join(parts) + "\n"


def with_ranges(table: pd.DataFrame) -> pd.DataFrame:
    """The overall scores, the median error with its 95 % interval."""
    found = scores(table)
    ranges = {
        method: bootstrap(part, lambda rows: float(rows["relative_error"].median()))
        for method, part in table.groupby("method", observed=True)
    }
    shown = [f"{ranges[method][0]:.3f} to {ranges[method][1]:.3f}" for method in found["method"]]
    found.insert(list(found).index("median") + 1, "95 %", shown)
    return found


def plot(table: pd.DataFrame) -> plt.Figure:
    """Errors over the life of the jobs, coverage, and calibration."""
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(15, 4.6), layout="constrained")
    tenths = table.assign(tenth=(10 * table["life"]).clip(0, 9).astype(int))
    by_tenth = scores(tenths, ["tenth"])
    for method, rows in by_tenth.groupby("method", observed=True):
        mine = method in ("eta", "eta_history")
        style = {"color": COLORS[method], "linewidth": 2.5 if mine else 1.2}
        at = rows["tenth"] * 10 + 5
        left.plot(at, rows["median"], "-" if mine else "--", label=method, **style)
        if mine:
            middle.plot(at, 100 * rows["holds"], marker="o", label=method, color=COLORS[method])
            said = of_methods(table, method).dropna(subset=["remaining_p50_s"])
            below = [
                100 * (said["true_remaining_s"] <= said[f"remaining_p{level}_s"]).mean()
                for level in (10, 50, 90)
            ]
            right.plot([10, 50, 90], below, marker="o", label=method, color=COLORS[method])
    left.set(yscale="log", xlabel="life of the job (%)", ylabel="median relative error (%)")
    left.set_title("Error of the remaining time")
    left.set_yticks([0.1, 0.2, 0.5, 1, 2, 5, 10], labels=[10, 20, 50, 100, 200, 500, 1000])
    left.yaxis.set_minor_locator(NullLocator())
    left.grid(axis="y", color="0.92")
    left.legend(loc="upper left", ncols=2)
    middle.axhspan(74, 88, color="0.9", label="74 to 88 %")
    middle.set(ylim=(0, 100), xlabel="life of the job (%)", ylabel="truth in the interval (%)")
    middle.set_title("Coverage of the 80 % interval")
    middle.legend(loc="lower left")
    right.plot([0, 100], [0, 100], color="0.7")
    right.set(xlabel="predicted quantile (%)", ylabel="truth at or below it (%)")
    right.set_title("Calibration")
    right.legend()
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=36, help="how many of each family")
    parser.add_argument("--source", choices=list(SOURCES), default="worlds")
    parser.add_argument("--families", nargs="+", choices=[*FAMILIES, *SIMULATED_FAMILIES])
    parser.add_argument("--seed", type=int, default=FRESH)
    parser.add_argument("--signal", choices=list(LIMITS), default="files")
    parser.add_argument("--smoke", action="store_true", help="a few seconds: nothing is written")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    if options.smoke:
        options.jobs, options.families, options.seed = 3, ["tiny", "graphics", "media"], 1
    if options.families is None:
        options.families = list(FAMILIES if options.source == "worlds" else SIMULATED_FAMILIES)
    began = time.monotonic()
    kind = {name: getattr(options, name) for name in ("source", "seed", "jobs", "signal")}
    with ProcessPoolExecutor(options.workers) as pool:
        table = stacked(pool.map(partial(measured, **kind), options.families))
    text = report(table, options.source, options.signal, options.seed)
    if not options.smoke:
        options.output.mkdir(parents=True, exist_ok=True)
        parts = ["eta", options.source.replace("worlds", ""), options.signal.replace("files", "")]
        name = "_".join(part for part in parts if part)
        (options.output / f"{name}.md").write_text(text)
        plot(table).savefig(options.output / f"{name}.png", dpi=110)
    print(text)
    print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
