"""How good is the ETA? ``python benchmarks/eta.py`` (a quick look: ``--jobs 60``).

Simulated jobs of all shapes that complete are replayed and every method is scored at up to 40
snapshots of each. The jobs are of the family ``elastic_cloud``. What `importstats` ships was
fitted on ``steady_cluster`` (``benchmarks/fit_priors.py``), which differs in everything that is
drawn: more and heavier-tailed files, wider rows, slower slots on nodes of unequal speed, load that
changes all the time, three times the scatter, retries in every fourth job, and four times as much
index building for the same import (see ``importstats.simulator.shapes``). No job, seed or
parameter of one is in the other. Other seeds of ``elastic_cloud`` (1000 to 1159, 5000 to 5063) were
looked at on the way, and led to the widening of the fitted worlds and to the stretching of the
intervals in ``fit_priors.py``; the seeds scored here had not been.

Each job is scored twice: on its own, and with the history of six earlier jobs of its cluster, of
which four are of its collection. Results: a table (Markdown), all numbers (JSON) and a plot (PNG).
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from fit_priors import FITTED_SHAPES, simulate_world

from importstats.backtest import BASELINES, backtest, score
from importstats.eta import eta

FAMILY = "elastic_cloud"
FIRST_SEED = 20_000
PER_JOB = 40
OUTPUT = Path(__file__).parent / "results"
OURS = ("eta", "eta_history")
COLORS = {"eta": "tab:blue", "eta_history": "navy", "linear": "tab:purple"}


def predictions_of(shape_and_seed: tuple[str, int], family: str = FAMILY) -> pd.DataFrame:
    """All methods' predictions for one job of a shape."""
    shape, seed = shape_and_seed
    world = simulate_world(shape, seed=seed, family=family, earlier_details=False)
    job = world.jobs[world.jobs["job_id"] == world.target]
    methods = {
        "eta": eta,
        "eta_history": partial(eta, history=world.jobs),
        **BASELINES,
    }
    found = backtest(job, world.details, methods, per_job=PER_JOB).predictions
    return found.assign(shape=shape)


def stacked(parts: list[pd.DataFrame]) -> pd.DataFrame:
    methods = [*OURS, *BASELINES]
    predictions = pd.concat(parts, ignore_index=True)
    return predictions.assign(method=pd.Categorical(predictions["method"].astype("str"), methods))


def markdown(predictions: pd.DataFrame, family: str) -> str:
    overall = score(predictions)
    answered = overall[overall["support"].eq("answered")].set_index("method")
    jobs = predictions.drop_duplicates(["source_uri", "job_id"])
    lines = [
        f"# ETA on {len(jobs)} held-out jobs of `{family}`",
        "",
        f"{len(predictions) // len(answered):,} snapshots. Relative error is |predicted - true| / "
        "true remaining time, of each method where it answers; silent is the share of snapshots "
        "where it does not.",
        "",
        "| method | median error | P90 error | bias | silent | coverage of 80 % | width / true "
        "| pinball / true |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for method, row in answered.iterrows():
        lines.append(
            f"| {method} | {row.median_relative_error:.3f} | {row.p90_relative_error:.2f} "
            f"| {row.bias:+.2f} | {row.silent_share:.1%} | {_percent(row.coverage_80)} "
            f"| {row.relative_width_80:.2f} | {row.relative_pinball:.3f} |"
        )
    for ours in OURS:
        lines += ["", *_duels(predictions, ours)]
    for ours in OURS:
        lines += ["", *_coverages(predictions, ours)]
    return "\n".join(lines) + "\n"


def _percent(share: float) -> str:
    return "" if pd.isna(share) else f"{share:.1%}"


def duels(predictions: pd.DataFrame, ours: str) -> pd.DataFrame:
    """Median errors on the snapshots on which both answer, by phase and over all."""
    order = [ours, *BASELINES]
    chosen = predictions[predictions["method"].isin(order)]
    chosen = chosen.assign(method=chosen["method"].cat.set_categories(order))
    tables = [score(chosen, by="phase"), score(chosen).assign(phase="all")]
    table = pd.concat(tables, ignore_index=True)
    return table[table["support"].eq("both") & table["method"].ne(ours)]


def _duels(predictions: pd.DataFrame, ours: str) -> list[str]:
    table = duels(predictions, ours)
    lines = [
        f"Median relative error, `{ours}` : other method, where both answer:",
        "",
        "| phase | " + " | ".join(BASELINES) + " |",
        "|---" * (1 + len(BASELINES)) + "|",
    ]
    phases = [*predictions["phase"].cat.categories, "all"]
    for phase in (phase for phase in phases if (table["phase"] == phase).any()):
        cells = [phase]
        for method in BASELINES:
            row = table[(table["phase"] == phase) & (table["method"] == method)]
            cells.append(
                ""
                if row.empty
                else f"{row.reference_median_relative_error.iloc[0]:.3f} : "
                f"{row.median_relative_error.iloc[0]:.3f} ({row.snapshots.iloc[0]:,})"
            )
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _coverages(predictions: pd.DataFrame, ours: str) -> list[str]:
    chosen = predictions[predictions["method"].eq(ours)]
    chosen = chosen.assign(method=chosen["method"].cat.remove_unused_categories())
    lines = [
        f"`{ours}` by phase and by shape:",
        "",
        "| | snapshots | median error | P90 error | bias | coverage of 80 % | width / true |",
        "|---|---|---|---|---|---|---|",
    ]
    for by in ("phase", "shape"):
        table = score(chosen, by=by)
        lines += [
            f"| {getattr(row, by)} | {row.snapshots:,} | {row.median_relative_error:.3f} "
            f"| {row.p90_relative_error:.2f} | {row.bias:+.2f} | {_percent(row.coverage_80)} "
            f"| {row.relative_width_80:.2f} |"
            for row in table[table["support"].eq("answered")].itertuples()
        ]
    return lines


def plot(predictions: pd.DataFrame, family: str) -> plt.Figure:
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(15, 4.6), layout="constrained")
    table = score(predictions, by="tenth")
    table = table[table["support"].eq("answered")]
    for method, rows in table.groupby("method", observed=True):
        mine = method in OURS
        left.plot(
            rows["tenth"] * 10 + 5,
            rows["median_relative_error"],
            marker="o",
            markersize=4,
            label=method,
            color=COLORS.get(method),
            linewidth=2.5 if mine else 1.2,
            linestyle="-" if mine else "--",
        )
        if mine:
            middle.plot(
                rows["tenth"] * 10 + 5,
                100 * rows["coverage_80"],
                marker="o",
                label=method,
                color=COLORS[method],
            )
    left.set(
        yscale="log",
        xlabel="life of the job (%)",
        ylabel="median relative error",
        title="Error of the remaining time",
    )
    left.legend()
    middle.axhspan(75, 85, color="0.9", label="75 to 85 %")
    middle.set(
        ylim=(0, 100),
        xlabel="life of the job (%)",
        ylabel="truth inside the interval (%)",
        title="Coverage of the 80 % interval",
    )
    middle.legend(loc="lower left")
    nominal = [10, 50, 90]
    right.plot([0, 100], [0, 100], color="0.7")
    for method in OURS:
        rows = predictions[predictions["method"].eq(method)].dropna(subset=["remaining_p50_s"])
        below = [
            100 * (rows["true_remaining_s"] <= rows[f"remaining_p{level}_s"]).mean()
            for level in nominal
        ]
        right.plot(nominal, below, marker="o", label=method, color=COLORS[method])
    right.set(
        xlabel="predicted quantile (%)",
        ylabel="truth at or below it (%)",
        title="Calibration",
    )
    right.legend()
    jobs = predictions.drop_duplicates(["source_uri", "job_id"])
    figure.suptitle(f"{len(jobs)} held-out simulated jobs ({family})")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=192, help="how many jobs to simulate")
    parser.add_argument("--family", default=FAMILY)
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    began = time.monotonic()
    kinds = [
        (FITTED_SHAPES[number % len(FITTED_SHAPES)], arguments.first_seed + number)
        for number in range(arguments.jobs)
    ]
    with ProcessPoolExecutor() as pool:
        parts = list(pool.map(partial(predictions_of, family=arguments.family), kinds))
    predictions = stacked([part for part in parts if len(part)])
    text = markdown(predictions, arguments.family)
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "eta.md").write_text(text)
    tables = {
        "overall": score(predictions),
        "by_phase": score(predictions, by="phase"),
        "by_tenth": score(predictions, by="tenth"),
        "by_shape": score(predictions, by="shape"),
        **{f"duels_{ours}": duels(predictions, ours) for ours in OURS},
    }
    numbers = {name: json.loads(t.to_json(orient="records")) for name, t in tables.items()}
    (arguments.output / "eta.json").write_text(json.dumps(numbers, indent=1) + "\n")
    plot(predictions, arguments.family).savefig(arguments.output / "eta.png", dpi=110)
    print(text)
    print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
