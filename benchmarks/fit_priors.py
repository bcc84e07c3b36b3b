"""Fit the priors that importstats ships: ``python benchmarks/fit_priors.py``.

From the phases of jobs of the independent fleets in :mod:`worlds` (seeds below 1,000, which are for
choosing): a mean, and what jobs of a fleet, a cluster and a collection have in common. Fleets that
are not among these are more different than these are from each other, so the covariances are not
taken as they were found but in a form of few numbers: each phase's time grows with a power of the
job's bytes, all phases share one factor of speed, and each has one of its own.

``--without FAMILY`` leaves a family out, to see how well it is predicted by the others.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from worlds import FAMILIES, fleet

from importstats.analysis.forecast.levels import job_variables
from importstats.analysis.forecast.observed import observe
from importstats.analysis.forecast.priors import PHASES, VARIABLES, Priors
from importstats.arrays import Bools, Floats

OUTPUT = Path(__file__).parents[1] / "importstats" / "analysis" / "forecast" / "priors.json"
#: With which power of the bytes a phase's time grows, between the jobs of a cluster and between
#: clusters, of which the larger are the faster.
WITHIN_POWER, BETWEEN_POWER = 0.85, 0.7
#: The share of what differs between clusters that is put down to the fleet.
FLEET_SHARE = 0.3
#: Committing is a matter of the server's rounds, and hardly of bytes or speed.
_COMMIT = 0.25
_PAIRS = 20_000


def ended_jobs(kind: tuple[str, int, int]) -> pd.DataFrame:
    """What had been seen of each completed job of a family at its end."""
    family, seed, jobs = kind
    made = fleet(seed, [family], jobs, troubles=0.1)
    seen = observe(made.jobs)
    done = seen[seen["phase"].eq("Completed")].drop_duplicates("job")
    uri = str(seed) + " " + done["source_uri"].astype("str")
    return done.assign(source_uri=uri, family=family)


def fit(done: pd.DataFrame) -> Priors:
    """The priors, by the method of moments on pairs of jobs.

    Half the expected product of the difference of two jobs with itself is the covariance of what
    they do not share: of two jobs of a collection ``job``, of two of a cluster and different
    collections ``job + collection``, of any two all of it.
    """
    values, _ = job_variables(done)
    cluster = pd.factorize(done["source_uri"])[0]
    named = done["source_uri"].astype("str") + " " + done["collection_name"].astype("str")
    collection = pd.factorize(named)[0]
    pairs = np.triu(np.ones((len(done), len(done)), bool), 1)
    same_cluster = cluster[:, None] == cluster
    same_collection = collection[:, None] == collection
    job = half_moments(values, pairs & same_collection)
    other = half_moments(values, pairs & same_cluster & ~same_collection)
    away = half_moments(values, pairs & ~same_cluster)
    between = of_few_numbers(away - other, BETWEEN_POWER, 0.3)
    return Priors(
        mean=np.nanmedian(values, axis=0),
        fleet=FLEET_SHARE * between,
        cluster=(1 - FLEET_SHARE) * between,
        collection=of_few_numbers(other - job, WITHIN_POWER, 0.05),
        job=of_few_numbers(job, WITHIN_POWER, 0.03),
        pace_variance=np.full(len(PHASES), 0.15),
    )


def half_moments(values: Floats, pairs: Bools) -> Floats:
    """Half the mean products of the differences of these pairs."""
    first, second = np.nonzero(pairs)
    if len(first) > _PAIRS:
        kept = np.linspace(0, len(first) - 1, _PAIRS).astype(int)
        first, second = first[kept], second[kept]
    away = values[first] - values[second]
    # By quantiles and clipped: a job that hung for hours must not set the spread of all.
    scale = np.nanquantile(np.abs(away), 0.8, axis=0) / 1.2816
    standard = np.clip(away / scale, -3, 3)
    known = (~np.isnan(standard)).astype(float)
    filled = np.nan_to_num(standard)
    return filled.T @ filled / (known.T @ known) * np.outer(scale, scale) / 2


def of_few_numbers(found: Floats, power: float, least: float) -> Floats:
    """A covariance of bytes, one common factor and one factor of each phase, as it was found."""
    phases = len(PHASES)
    size = VARIABLES.index("bytes")
    grows = np.full(phases, power)
    grows[-1] *= _COMMIT
    bytes_ = max(found[size, size], 0.02)
    rest = found[:phases, :phases] - np.outer(grows, grows) * bytes_
    core = rest[:-1, :-1]
    common = max(core[np.triu_indices(phases - 1, 1)].mean(), 0.0)
    own = np.maximum(np.diag(rest) - common, least)
    shared = np.ones(phases)
    shared[-1] = _COMMIT
    whole = np.zeros((phases + 1, phases + 1))
    whole[:phases, :phases] = (
        np.outer(grows, grows) * bytes_ + np.outer(shared, shared) * common + np.diag(own)
    )
    whole[:phases, size] = whole[size, :phases] = grows * bytes_
    whole[size, size] = bytes_
    return whole


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=6, help="seeds 101 and up")
    parser.add_argument("--jobs", type=int, default=18, help="of each family and seed")
    parser.add_argument("--without", action="append", default=[], choices=list(FAMILIES))
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args(arguments)
    began = time.monotonic()
    families = [family for family in FAMILIES if family not in options.without]
    seeds = range(101, 101 + options.seeds)
    kinds = [(family, seed, options.jobs) for family, seed in product(families, seeds)]
    with ProcessPoolExecutor() as pool:
        done = pd.concat(pool.map(ended_jobs, kinds), ignore_index=True)
    options.output.write_text(fit(done).to_json())
    print(f"{len(done)} jobs, {time.monotonic() - began:.0f} s: {options.output.name}")


if __name__ == "__main__":
    main()
