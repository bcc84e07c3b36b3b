"""Fit the priors that importstats ships: ``python benchmarks/fit_priors.py``.

What is believed of the phases of a job of which nothing was seen yet is learned from the jobs of
two generators that were made apart, :mod:`worlds` and the product's own simulator
(:mod:`simulated`), seeds below 1,000: their mean, and how far two jobs of a collection, two
collections of a cluster, two clusters of a kind, and two kinds lie apart. A kind of installation
(a *family*) stands for what all jobs in one store have in common; each counts alike.

Seventeen kinds are not the whole world, and what clusters of other kinds have in common is not what
these have. So what separates clusters is taken partly as it was found and partly in a form of few
numbers (`of_few_numbers`), and widened. Of shares from 0 to 1, powers from 0.55 to 0.85, common
shares from 0 to 1 and factors from 1 to 2.5, these gave families that were left out about the
highest likelihood.

The published figures are of families that were left out: ``benchmarks/eta.py`` predicts the jobs of
each by priors that know nothing of it, ``benchmarks/priors/without_FAMILY.json``.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from measures import JOB
from simulated import fleet as simulated_fleet
from worlds import FAMILIES, fleet

import importstats
from importstats.analysis.forecast.levels import job_variables
from importstats.analysis.forecast.observed import observe
from importstats.analysis.forecast.priors import PHASES, Priors
from importstats.simulator import FAMILIES as SIMULATED_FAMILIES

Floats = npt.NDArray[np.float64]

OUTPUT = Path(importstats.__file__).parent / "analysis" / "forecast" / "priors.json"
#: Priors of all families but one.
LEFT_OUT = Path(__file__).parent / "priors"
#: How much what separates clusters is taken as found; the rest is in a form of few numbers.
AS_FOUND = 0.7
#: What each phase of another cluster has of its own beyond what was found (a variance of logs).
OWN = 0.2
#: In the form of few numbers it counts so much more than among the clusters that are known.
WIDER = 1.3
#: With which power of its bytes a phase's time grows between clusters: the larger are the faster.
POWER = 0.65
#: How much of the speed that the phases of a cluster have in common is believed of another one.
COMMON = 0.6
#: What separates clusters is at least this, for each phase (a variance of logs).
LEAST = 0.3
#: Committing is a matter of the server's rounds, and hardly of bytes or speed.
COMMIT = 0.25
#: The share of what separates clusters that is put down to the fleet, and so learned from others.
FLEET = 0.3
#: Fleets of each family and jobs of each fleet, of both generators.
LOOKED_AT = {"worlds": (6, 18), "simulator": (8, 10)}
#: Of a family whose jobs are so large that it would take as long as all others there are fewer.
FEWER = {"warehouse": 3}
#: A phase is looked at so often for its pace.
LOOKS = 12
#: So many pairs of jobs are looked at of any two families, and so many paces of each.
PAIRS = 40
PACES = 2000


def learned_from(family: str, fewer: int = 1) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The variables of each job that completed, and how the paces of its phases missed."""
    ended, paces = [], []
    source = "worlds" if family in FAMILIES else "simulator"
    seeds, jobs = LOOKED_AT[source]
    for seed in range(1, FEWER.get(family, seeds) // fewer + 1):
        if source == "worlds":
            made = fleet(seed, [family], jobs, troubles=0.05)
        else:
            made = simulated_fleet(seed, [family], jobs)
        seen = observe(made.jobs).astype(dict.fromkeys(JOB, "str"))
        done = seen[seen["phase"].eq("Completed")].drop_duplicates(JOB)
        values, _ = job_variables(done)
        table = pd.DataFrame(values).add_prefix("v")
        names = {"source_uri": f"{seed} " + done["source_uri"], "family": family}
        names["collection_name"] = done["collection_name"].astype("str")
        ended.append(table.assign(**{name: np.asarray(value) for name, value in names.items()}))
        paces.append(missed_paces(seen, done))
    return pd.concat(ended, ignore_index=True), pd.concat(paces, ignore_index=True)


def missed_paces(seen: pd.DataFrame, done: pd.DataFrame) -> pd.DataFrame:
    """By phase, what the pace of a part said of the whole, in units of its formula.

    The formula is a variance of ``v (1 - f) / f`` for the logarithm, once a share `f` is done.
    """
    parts = []
    for phase in PHASES:
        name = "IndexBuilding" if phase == "Finishing" else phase
        rows = seen[seen["phase"].eq(name) & seen["gained"].between(0.02, 0.98)]
        rows = rows[rows["gained_s"] > 0].groupby("job").sample(LOOKS, replace=True, random_state=1)
        rows = rows.drop_duplicates(["job", "snapshot_id"])
        whole = rows.merge(done[[*JOB, f"{phase}_s"]], on=JOB, suffixes=("", "_whole"))
        took = whole[f"{phase}_s_whole"] if f"{phase}_s_whole" in whole else whole[f"{phase}_s"]
        share = whole["gained"]
        miss = np.log1p(whole["gained_s"] / share) - np.log1p(took)
        parts.append(pd.DataFrame({"phase": phase, "miss": miss * np.sqrt(share / (1 - share))}))
    return pd.concat(parts, ignore_index=True).dropna()


def fitted(ended: pd.DataFrame, paces: pd.DataFrame) -> Priors:
    """All parameters, by the method of moments on pairs of jobs.

    Half the expected product of the difference of two jobs with itself is the covariance of what
    they do not share: of two jobs of a collection ``job``, of two of a cluster and different
    collections ``job + collection``, of two of different families all of it.
    """
    names = [name for name in ended if name.startswith("v")]
    weight = 1 / ended.groupby("family")["family"].transform("size").to_numpy()
    values = ended[names].to_numpy(np.float64)
    place = ended["source_uri"] + " " + ended["family"]
    codes = [
        pd.factorize(column)[0]
        for column in (place + " " + ended["collection_name"], place, ended["family"])
    ]
    same = [code[:, None] == code for code in codes]
    pairs = np.triu(np.ones((len(ended), len(ended)), bool), 1)
    job = half_moments(values, pairs & same[0])
    collection = half_moments(values, pairs & same[1] & ~same[0])
    found = positive(between_families(values, codes[2]) - collection)
    few = WIDER * of_few_numbers(found)
    between = AS_FOUND * (found + np.diag([OWN] * len(PHASES) + [0])) + (1 - AS_FOUND) * few
    spread = {phase: middle_variance(rows["miss"]) for phase, rows in paces.groupby("phase")}
    return Priors(
        mean=weighted_median(values, weight),
        fleet=FLEET * between,
        cluster=(1 - FLEET) * between,
        collection=positive(collection - job),
        job=positive(job),
        pace_variance=np.array([spread.get(phase, 0.3) for phase in PHASES]),
    )


def half_moments(values: Floats, pairs: npt.NDArray[np.bool_]) -> Floats:
    first, second = np.nonzero(pairs)
    if len(first) > 40_000:
        kept = np.linspace(0, len(first) - 1, 40_000).astype(int)
        first, second = first[kept], second[kept]
    away = values[first] - values[second]
    # By quantiles and clipped: a job that stood still for hours must not set the spread of all.
    scale = np.array([middle_spread(column) for column in away.T])
    standard = np.clip(away / scale, -3, 3)
    known = (~np.isnan(standard)).astype(float)
    filled = np.nan_to_num(standard)
    products = filled.T @ filled / np.maximum(known.T @ known, 1)
    return products * np.outer(scale, scale) / 2


def between_families(values: Floats, family: npt.NDArray[np.int64]) -> Floats:
    """Half the moments of jobs of two families, any two families alike."""
    rng = np.random.default_rng(0)
    rows = [np.flatnonzero(family == code) for code in range(family.max() + 1)]
    away = np.concatenate(
        [
            values[rng.choice(rows[one], PAIRS)] - values[rng.choice(rows[other], PAIRS)]
            for one in range(len(rows))
            for other in range(one)
        ]
    )
    known = (~np.isnan(away)).astype(float)
    filled = np.nan_to_num(away)
    return filled.T @ filled / np.maximum(known.T @ known, 1) / 2


def of_few_numbers(found: Floats) -> Floats:
    """A covariance of bytes, of one speed common to all phases, and of one of each phase."""
    phases = len(PHASES)
    grows, shared = np.full(phases, POWER), np.ones(phases)
    grows[-1] *= COMMIT
    shared[-1] = COMMIT
    size = max(float(found[phases, phases]), 0.02)
    rest = found[:phases, :phases] - np.outer(grows, grows) * size
    core = rest[:-1, :-1][np.triu_indices(phases - 1, 1)]
    common = COMMON * max(float(core.mean()), 0.0)
    own = np.maximum(np.diag(rest) - common, LEAST)
    whole = np.zeros((phases + 1, phases + 1))
    whole[:phases, :phases] = np.outer(grows, grows) * size + np.diag(own)
    whole[:phases, :phases] += np.outer(shared, shared) * common
    whole[:phases, phases] = whole[phases, :phases] = grows * size
    whole[phases, phases] = size
    return whole


def middle_spread(away: Floats) -> float:
    """Four fifths lie within so many standard deviations; one of 0.1 of what was hardly seen."""
    known = np.abs(away[~np.isnan(away)])
    return max(float(np.quantile(known, 0.8)) / 1.2816, 0.02) if len(known) > 10 else 0.1


def positive(matrix: Floats) -> Floats:
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return (vectors * np.maximum(values, 1e-3)) @ vectors.T


def weighted_median(values: Floats, weight: Floats) -> Floats:
    """Of each column, each family alike."""
    found = []
    for column in values.T:
        known = ~np.isnan(column)
        order = np.argsort(column[known])
        reached = np.cumsum(weight[known][order])
        middle = np.searchsorted(reached, reached[-1] / 2)
        found.append(column[known][order][middle])
    return np.array(found)


def middle_variance(miss: pd.Series) -> float:
    """From the 10 and 90 % quantiles, as of a normal distribution."""
    low, high = miss.quantile([0.1, 0.9])
    return float(((high - low) / 2 / 1.2816) ** 2 + 1e-3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--left-out", type=Path, default=LEFT_OUT)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--smoke", action="store_true", help="a few seconds: nothing is written")
    options = parser.parse_args()
    families = [*FAMILIES, *SIMULATED_FAMILIES]
    if options.smoke:
        families = ["tiny", "graphics", "media"]
    began = time.monotonic()
    with ProcessPoolExecutor(options.workers) as pool:
        work = partial(learned_from, fewer=3 if options.smoke else 1)
        learned = dict(zip(families, pool.map(work, families), strict=True))
    print(f"{sum(len(ended) for ended, _ in learned.values())} jobs", flush=True)

    def of(chosen: list[str]) -> Priors:
        tables = [learned[name] for name in chosen]
        ended = pd.concat([ended for ended, _ in tables], ignore_index=True)
        some = [paces.sample(min(len(paces), PACES), random_state=0) for _, paces in tables]
        paces = pd.concat(some, ignore_index=True)
        return fitted(ended, paces)

    every = of(families)
    print(dict(zip(PHASES, np.round(np.expm1(every.mean)).tolist(), strict=False)))
    if not options.smoke:
        options.output.write_text(every.to_json())
        options.left_out.mkdir(parents=True, exist_ok=True)
        for family in families:
            text = of([name for name in families if name != family]).to_json()
            (options.left_out / f"without_{family}.json").write_text(text)
    print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
