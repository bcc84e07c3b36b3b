"""Fit the priors that importstats ships: ``python benchmarks/fit_priors.py``.

Simulated worlds of all families (see ``importstats.simulator.shapes``). A world is one cluster with
several jobs, most of them of one collection. Five families are not the whole world, so every fitted
world is *widened* (`widened`): its rates are moved at random, each by a log-normal factor of sigma
1, since what takes long in one place may well take a third or three times as long in another; and
its scatter, its nodes' speeds and its load vary from none to a lot. These ranges are round numbers,
not fitted to anything.

The intervals are calibrated on families that were not fitted on, one after the other by priors of
the rest: how wrong one is in a world of another kind can be seen in no other way.

``benchmarks/eta.py`` scores jobs of every family by priors that know nothing of it. These are
written to ``benchmarks/priors``, one file for each family left out.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from importstats.analysis.forecast.model import given_progress, job_variables, phase_places
from importstats.analysis.forecast.past import Past
from importstats.analysis.forecast.priors import PACES, QUANTILES, STRATA, Priors, stratum
from importstats.analysis.forecast.timeline import Floats, observe
from importstats.analysis.scoring import true_end, true_remaining
from importstats.names import WORK_PHASES
from importstats.simulator import (
    FAMILIES,
    SHAPES,
    ClusterSpec,
    FileSpec,
    JobSpec,
    Simulation,
    make_shape,
    simulate_job,
)
from importstats.simulator.cluster import DEFAULT_START
from importstats.store.frames import details_frame, jobs_frame

#: Earlier jobs of a world: of the same collection, and of another one.
SAME, OTHER = 4, 2
#: How much the pace of one and the same cluster and collection differs from job to job (sigma).
DAY_SIGMA = 0.15
#: Shapes that never complete say nothing of durations.
FITTED_SHAPES = [name for name in SHAPES if name != "failing"]
OUTPUT = Path(__file__).parents[1] / "importstats" / "priors.json"
#: Priors of all families but one.
LEFT_OUT = Path(__file__).parent / "priors"

_RATES = (
    "preimport_bytes_per_s",
    "import_bytes_per_s",
    "sort_rows_per_s",
    "index_rows_per_s",
)


@dataclasses.dataclass(frozen=True)
class World:
    """Recordings of one cluster; `target` is the last of its jobs."""

    target: str
    jobs: pd.DataFrame
    details: pd.DataFrame


def simulate_world(
    shape: str,
    *,
    seed: int,
    family: str,
    wide: bool = False,
    earlier: int = SAME + OTHER,
    earlier_details: bool = True,
) -> World:
    """One cluster, `earlier` jobs on it a day apart, and a last one of the given shape.

    Earlier jobs are made of files drawn from those of the world's job (or, one in three, from a
    job of another collection), between a third and three times as many; so they share its rates
    and its faults, and differ in size, luck and the cluster's load.
    """
    rng = np.random.default_rng([seed, list(SHAPES).index(shape), list(FAMILIES).index(family)])
    cluster, job = make_shape(shape, seed=seed, family=family)
    _, other = make_shape("steady", seed=seed, family=family)
    other = dataclasses.replace(other, collection_name=f"{job.collection_name}_other")
    if wide:
        cluster, job, other = widened(cluster, job, other, rng)
    uri = f"http://{family}-{shape}-{seed}:19530".replace("_", "-")
    jobs, details = [], []
    for day in range(earlier + 1):
        last = day == earlier
        spec = job
        if not last:
            spec = _variant(other if day % 3 == 2 else job, rng)
            spec = _paced(spec, rng.lognormal(0.0, DAY_SIGMA, len(_RATES)))
        simulation = _recording(
            (_on_day(cluster, day), spec),
            seed=seed * 100 + day,
            start=DEFAULT_START + timedelta(days=7 * day),
            source_uri=uri,
            polls=100 if last else 60,
        )
        job_table, detail_table = simulation.tables(runs=True)
        jobs.append(jobs_frame(job_table))
        if last or earlier_details:
            details.append(details_frame(detail_table))
    return World(simulation.job_id, _stacked(jobs), _stacked(details))


def widened(
    cluster: ClusterSpec, job: JobSpec, other: JobSpec, rng: np.random.Generator
) -> tuple[ClusterSpec, JobSpec, JobSpec]:
    """The same world with other rates, scatter, speeds, load and luck, alike for both jobs."""
    factors = rng.lognormal(0.0, 1.0, len(_RATES))
    noise = float(np.exp(rng.uniform(np.log(0.02), np.log(0.8))))
    retried = 0.05 if rng.random() < 0.25 else 0.0
    jobs = []
    for spec in (job, other):
        files = tuple(
            dataclasses.replace(file, retries=max(file.retries, int(rng.random() < retried)))
            for file in spec.files
        )
        jobs.append(_paced(dataclasses.replace(spec, noise=noise, files=files), factors))
    sigma = rng.uniform(0.0, 0.4)
    cluster = dataclasses.replace(
        cluster,
        node_speeds=tuple(s * float(rng.lognormal(0.0, sigma)) for s in cluster.node_speeds),
        index_speeds=tuple(s * float(rng.lognormal(0.0, sigma)) for s in cluster.index_speeds),
    )
    if not cluster.load and rng.random() < 0.5:
        lengths = np.exp(rng.uniform(np.log(60), np.log(3600), 400))
        times = np.cumsum(lengths) - lengths[0]
        load = rng.lognormal(0.0, rng.uniform(0.1, 0.8), len(times))
        steps = zip(times.tolist(), np.clip(load, 0.1, 3.0).tolist(), strict=True)
        cluster = dataclasses.replace(cluster, load=tuple(steps))
    return cluster, jobs[0], jobs[1]


def _paced(job: JobSpec, factors: Sequence[float] | np.ndarray) -> JobSpec:
    rates = {name: getattr(job, name) * float(f) for name, f in zip(_RATES, factors, strict=True)}
    return dataclasses.replace(job, **rates)


def _variant(job: JobSpec, rng: np.random.Generator) -> JobSpec:
    """A job like another: files drawn from it, and other sizes."""
    count = max(1, round(len(job.files) * np.exp(rng.uniform(-np.log(3), np.log(3)))))
    files = []
    for index in range(count):
        file: FileSpec = job.files[int(rng.integers(len(job.files)))]
        factor = float(rng.lognormal(0.0, 0.2))
        files.append(
            dataclasses.replace(
                file,
                paths=(f"import/part-{index:05d}.parquet",),
                size_bytes=max(1, round(file.size_bytes * factor)),
                rows=max(1, round(file.rows * factor)),
            )
        )
    return dataclasses.replace(job, files=tuple(files))


def _on_day(cluster: ClusterSpec, day: int) -> ClusterSpec:
    """The cluster on another day: its load comes in another order."""
    if not cluster.load:
        return cluster
    factors = [factor for _, factor in cluster.load]
    factors = np.roll(factors, 7 * day).tolist()
    times = [at for at, _ in cluster.load]
    return dataclasses.replace(cluster, load=tuple(zip(times, factors, strict=True)))


def _recording(
    shape: tuple[ClusterSpec, JobSpec], *, seed: int, start: datetime, source_uri: str, polls: int
) -> Simulation:
    """The job, polled about `polls` times, every 5 s to every 10 minutes."""
    probe = simulate_job(shape, seed=seed, poll_every_s=3600.0, start=start)
    lasts_s = (probe.truth.end - pd.Timestamp(start)).total_seconds()
    interval_s = float(np.clip(np.nan_to_num(lasts_s, nan=36_000.0) / polls, 5, 600))
    return simulate_job(
        shape, seed=seed, poll_every_s=interval_s, start=start, source_uri=source_uri
    )


def _stacked(frames: list[pd.DataFrame]) -> pd.DataFrame:
    names = [name for name in frames[0] if isinstance(frames[0][name].dtype, pd.CategoricalDtype)]
    plain = [frame.astype(dict.fromkeys(names, "str")) for frame in frames]
    return pd.concat(plain, ignore_index=True).astype(dict.fromkeys(names, "category"))


def seen_of(world: World, per_job: int = 60) -> pd.DataFrame:
    """All that was seen of the completed jobs of a world, thinned, with what was left then."""
    seen = observe(world.jobs, world.details)
    truth = true_remaining(world.jobs, per_job)[["job_id", "snapshot_id", "true_remaining_s"]]
    seen = seen.astype({"job_id": "str"}).merge(truth, on=["job_id", "snapshot_id"], how="left")
    ends = true_end(world.jobs)
    done = seen["phase"].eq("Completed") & seen["job_id"].isin(ends["job_id"])
    keep = seen["true_remaining_s"].notna() | done
    seen = seen.assign(rest_s=_rest_of_phase(world, seen))
    return seen[keep].reset_index(drop=True)


def _rest_of_phase(world: World, seen: pd.DataFrame) -> pd.Series:
    """Seconds from each snapshot to the end of its phase, by the middle of the border."""
    gone = seen.groupby("job_id")[[f"{phase}_s" for phase in WORK_PHASES]].last()
    took = gone.reindex(seen["job_id"]).to_numpy()
    place = phase_places(seen)
    whole = np.where(place >= 0, took[np.arange(len(seen)), np.maximum(place, 0)], np.nan)
    return pd.Series(whole - seen["elapsed_s"].to_numpy(), index=seen.index)


def fit_levels(seen: pd.DataFrame) -> dict[str, Floats]:
    """Mean and covariances of the variables, by the method of moments on pairs of jobs.

    Half the expected product of the difference of two jobs with itself is the covariance of what
    they do not share: of two jobs of a collection ``job``, of two jobs of a cluster and different
    collections ``job + collection``, of any two ``job + collection + cluster + fleet``. Simulated
    clusters form no fleets; half of what jobs of a cluster share is put down to the fleet.
    """
    done = seen[seen["phase"].eq("Completed")].drop_duplicates(["source_uri", "job_id"])
    values, _ = job_variables(done)
    cluster = pd.factorize(done["source_uri"])[0]
    collection = pd.factorize(done["source_uri"] + " " + done["collection_name"].astype("str"))[0]
    pairs = np.triu(np.ones((len(done), len(done)), bool), 1)
    same_cluster = cluster[:, None] == cluster
    same_collection = collection[:, None] == collection
    job = _half_moments(values, pairs & same_collection)
    other = _half_moments(values, pairs & same_cluster & ~same_collection)
    away = _half_moments(values, pairs & ~same_cluster)
    fleet = _positive((away - other) / 2)
    return {
        "mean": np.nanmedian(values, axis=0),
        "fleet": fleet,
        "cluster": fleet,
        "collection": _positive(other - job),
        "job": _positive(job),
    }


def _half_moments(values: Floats, pairs: np.ndarray) -> Floats:
    first, second = np.nonzero(pairs)
    if len(first) > 20_000:
        kept = np.linspace(0, len(first) - 1, 20_000).astype(int)
        first, second = first[kept], second[kept]
    away = values[first] - values[second]
    # By quantiles and clipped: a job that hung for hours must not set the spread of all.
    scale = np.nanquantile(np.abs(away), 0.8, axis=0) / 1.2816
    standard = np.clip(away / scale, -3, 3)
    known = (~np.isnan(standard)).astype(float)
    filled = np.nan_to_num(standard)
    return filled.T @ filled / (known.T @ known) * np.outer(scale, scale) / 2


def _positive(matrix: Floats) -> Floats:
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return (vectors * np.maximum(values, 1e-3)) @ vectors.T


def fit_paces(seen: pd.DataFrame) -> dict[str, Floats]:
    """Bias and covariance of the errors of the pace estimates, per phase and stratum.

    The truth is the time the whole phase would take at the pace of its rest,
    ``rest / (1 - fraction)``, both as of the last step of the fraction.
    """
    phase = phase_places(seen)
    fraction = seen["phase_fraction"].fillna(0.0).to_numpy()
    paces = np.column_stack([np.log1p(seen[name].to_numpy(float)) for name in PACES])
    moved = ~np.isnan(paces).all(axis=1)
    strata = stratum(fraction, moved)
    rest = np.maximum(seen["rest_s"].to_numpy(float), 1.0)
    left = np.maximum(1 - seen["reached"].to_numpy(float), 1e-3)
    with np.errstate(divide="ignore", invalid="ignore"):
        truth = np.log1p((rest + seen["still_s"].to_numpy(float)) / left)
        whole = np.log1p(rest + seen["elapsed_s"].to_numpy(float))
    usable = (phase >= 0) & moved & seen["rest_s"].gt(0).to_numpy()
    shape = (len(WORK_PHASES), STRATA)
    drift_bias, drift = np.zeros(shape), np.zeros(shape)
    bias = np.zeros((*shape, len(PACES)))
    cov = np.tile(np.eye(len(PACES)), (*shape, 1, 1))
    for place in range(len(WORK_PHASES)):
        for cell in range(1, STRATA):
            rows = usable & (phase == place) & (strata == cell)
            if rows.sum() < 60:
                rows = usable & (phase == place) & (np.abs(strata - cell) <= 2)
            if rows.sum() < 60:
                continue
            drift_bias[place, cell] = np.median(truth[rows] - whole[rows])
            drift[place, cell] = _robust_variance(truth[rows] - whole[rows])
            error = paces[rows] - truth[rows, None]
            bias[place, cell], cov[place, cell] = _robust_moments(error)
    return {"drift_bias": drift_bias, "drift": drift, "pace_bias": bias, "pace_cov": cov}


def _robust_variance(error: Floats) -> float:
    """From the 10 and 90 % quantiles, as of a normal distribution."""
    low, high = np.nanquantile(error, [0.1, 0.9])
    return float(((high - low) / 2 / 1.2816) ** 2 + 1e-4)


def _robust_moments(error: Floats) -> tuple[Floats, Floats]:
    """Median and covariance of errors with outliers; a pace hardly ever there is useless."""
    middle, scale = np.zeros(len(PACES)), np.full(len(PACES), 10.0)
    there = (~np.isnan(error)).sum(axis=0) >= 30
    for pace in np.flatnonzero(there):
        middle[pace] = np.nanmedian(error[:, pace])
        scale[pace] = np.sqrt(_robust_variance(error[:, pace]))
    standard = pd.DataFrame(np.clip((error - middle) / scale, -3, 3))
    correlation = standard.corr(min_periods=30).fillna(0.0).clip(-0.97, 0.97).to_numpy(copy=True)
    np.fill_diagonal(correlation, 1.0)
    return middle, _positive(correlation * scale[:, None] * scale)


def fit_calibration(errors: pd.DataFrame) -> Floats:
    """Quantiles of errors in the model's own standard deviations.

    A stratum of few snapshots leans on its whole phase.
    """
    calibration = np.empty((2, len(WORK_PHASES), STRATA, len(QUANTILES)))
    for history in (0, 1):
        of_kind = errors[errors["history"] == history]
        for phase in range(len(WORK_PHASES)):
            here = of_kind[of_kind["phase"] == phase]
            whole = here["error"].quantile(QUANTILES).to_numpy()
            for cell in range(STRATA):
                own = here.loc[here["stratum"] == cell, "error"]
                weight = len(own) / (len(own) + 100)
                mix = whole * (1 - weight)
                if len(own):
                    mix = mix + own.quantile(QUANTILES).to_numpy() * weight
                calibration[history, phase, cell] = mix
    return calibration


def standard_errors(priors: Priors, seen: pd.DataFrame) -> pd.DataFrame:
    """The errors on one world: without history of all its jobs, with history of all but the first.

    Columns ``history`` (0 or 1), ``phase``, ``stratum``, and ``error``: the logarithm of the true
    over the predicted remaining time, over the model's spread.
    """
    work = seen["phase"].isin(WORK_PHASES).to_numpy()
    found = []
    for history in ([], [seen]):
        belief = Past.of(seen, history).belief(priors, seen, work)
        kept = belief.near_history == bool(history)
        rows = seen[work][kept]
        median, spread, phase, cell = given_progress(
            priors, rows, belief.mean[kept], belief.covariance[kept]
        )
        error = np.log(rows["true_remaining_s"].to_numpy() / median) / spread
        known = {"phase": phase, "stratum": cell, "error": error}
        found.append(pd.DataFrame({"history": int(bool(history)), **known}))
    return pd.concat(found, ignore_index=True)


def fit(worlds: Mapping[str, list[pd.DataFrame]], pool: Executor) -> Priors:
    """All parameters, of the worlds of each family; the calibration by leaving out one by one."""
    errors = []
    for family, unseen in worlds.items():
        priors = uncalibrated(world for name in worlds if name != family for world in worlds[name])
        errors += pool.map(partial(standard_errors, priors), unseen, chunksize=8)
    everything = uncalibrated(world for family in worlds.values() for world in family)
    calibration = fit_calibration(pd.concat(errors, ignore_index=True))
    return dataclasses.replace(everything, calibration=calibration)


def uncalibrated(worlds: Iterable[pd.DataFrame]) -> Priors:
    """All parameters but the calibration."""
    seen = pd.concat(worlds, ignore_index=True)
    nothing = np.zeros((2, len(WORK_PHASES), STRATA, len(QUANTILES)))
    return Priors(**fit_levels(seen), **fit_paces(seen), calibration=nothing)


def _fitted_world(kind: tuple[str, str, int]) -> pd.DataFrame:
    family, shape, seed = kind
    return seen_of(simulate_world(shape, seed=seed, family=family, wide=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=8, help="worlds of each shape and family")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--left-out", type=Path, default=LEFT_OUT)
    arguments = parser.parse_args()
    began = time.monotonic()
    kinds = [
        (family, shape, seed)
        for family in FAMILIES
        for seed in range(1, arguments.seeds + 1)
        for shape in FITTED_SHAPES
    ]
    worlds: dict[str, list[pd.DataFrame]] = {family: [] for family in FAMILIES}
    arguments.left_out.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor() as pool:
        for (family, _, _), seen in zip(kinds, pool.map(_fitted_world, kinds), strict=True):
            worlds[family].append(seen)
        print(f"{len(kinds)} worlds, {time.monotonic() - began:.0f} s", flush=True)
        arguments.output.write_text(fit(worlds, pool).to_json())
        for family in FAMILIES:
            others = {name: worlds[name] for name in worlds if name != family}
            left_out = arguments.left_out / f"without_{family}.json"
            left_out.write_text(fit(others, pool).to_json())
    print(f"{time.monotonic() - began:.0f} s: {arguments.output.name}, {arguments.left_out.name}")


if __name__ == "__main__":
    main()
