"""Drawing clusters, files and jobs from the distributions of a family."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from importstats.arrays import Floats
from importstats.simulator.families import Family
from importstats.simulator.load import Steps, product
from importstats.simulator.specs import ClusterSpec, FileSpec, JobSpec
from importstats.simulator.units import GIB, MIB

HOUR_S: Final = 3600.0
DAY_S: Final = 24 * HOUR_S
_HORIZON_S: Final = 3 * DAY_S


@dataclass(frozen=True, slots=True)
class Draw:
    """Draws the random values of one shape in one family."""

    rng: np.random.Generator
    family: Family
    files: int | None

    def uniform(self, low: float, high: float) -> float:
        """A number drawn evenly between two bounds."""
        return float(self.rng.uniform(low, high))

    def integer(self, low: int, high: int) -> int:
        """A whole number between two, both included."""
        return int(self.rng.integers(low, high, endpoint=True))

    def log_uniform(self, low: float, high: float) -> float:
        """A number between two whose logarithm is uniform."""
        return math.exp(self.uniform(math.log(low), math.log(high)))

    def log_normal(self, median: float, sigma: float) -> float:
        """A log-normal number."""
        return median * math.exp(sigma * float(self.rng.standard_normal()))

    def chance(self, probability: float) -> bool:
        """True with a probability."""
        return float(self.rng.random()) < probability

    def file_count(self, low: int, high: int) -> int:
        """The number of files that was asked for, or a log-uniform one."""
        return self.files if self.files is not None else round(self.log_uniform(low, high))

    def some(self, count: int, share: float) -> list[int]:
        """At least one and about `share` of `count` indices."""
        picked = max(1, min(count, round(count * share)))
        return sorted(self.rng.choice(count, picked, replace=False).tolist())


def draw_cluster(draw: Draw) -> ClusterSpec:
    """A cluster of the family."""
    family = draw.family
    speeds = draw.rng.lognormal(0.0, family.speed_sigma, draw.integer(*family.nodes))
    index_speeds = draw.rng.lognormal(0.0, family.speed_sigma, draw.integer(*family.index_nodes))
    loads = [draw_load(draw, family.load_step_s, 0.5)] if family.load_step_s else []
    if family.day_swing:
        loads.append(day_load(draw.uniform(0, DAY_S), family.day_swing))
    neighbours = tuple(
        (number, neighbour_load(draw))
        for number in range(len(speeds))
        if draw.chance(family.neighbours)
    )
    return ClusterSpec(
        node_speeds=tuple(speeds.tolist()),
        cores_per_node=draw.integer(*family.cores),
        slots_per_node=draw.integer(*family.slots),
        index_speeds=tuple(index_speeds.tolist()),
        index_slots_per_node=draw.integer(*family.index_slots),
        load=product(loads),
        node_load=neighbours,
        release=str(draw.rng.choice(family.releases)),
    )


def draw_load(draw: Draw, step_s: tuple[float, float], sigma: float) -> Steps:
    """Load that changes at random."""
    steps, at_s = [], 0.0
    while at_s < _HORIZON_S:
        steps.append((at_s, min(2.0, draw.log_normal(0.9, sigma))))
        at_s += draw.log_uniform(*step_s)
    return tuple(steps)


def day_load(offset_s: float, swing: float) -> Steps:
    """Load that is worst at one time of the day: a cosine in steps of half an hour."""
    times = [step * HOUR_S / 2 for step in range(int(_HORIZON_S / (HOUR_S / 2)))]
    busy = [(1 + math.cos(2 * math.pi * (at_s - offset_s) / DAY_S)) / 2 for at_s in times]
    return tuple((at_s, 1 - swing * share) for at_s, share in zip(times, busy, strict=True))


def neighbour_load(draw: Draw) -> Steps:
    """A neighbour that takes 30 to 80 % of a node for 5 to 60 minutes, now and then."""
    steps, at_s = [], draw.uniform(0, HOUR_S)
    while at_s < _HORIZON_S:
        steps.append((at_s, draw.uniform(0.2, 0.7)))
        at_s += draw.log_uniform(300, HOUR_S)
        steps.append((at_s, 1.0))
        at_s += draw.log_uniform(HOUR_S / 2, 6 * HOUR_S)
    return tuple(steps)


def pauses(draw: Draw, first_s: float, count: int, lasts_s: tuple[float, float]) -> Steps:
    """Load with standstills: after each, work goes on for 0.5 to 3 times as long as it lasted."""
    steps, at_s = [], max(0.0, first_s)
    for _ in range(count):
        lasts = draw.log_uniform(*lasts_s)
        steps += [(at_s, 0.0), (at_s + lasts, 1.0)]
        at_s += lasts * draw.uniform(1.5, 4)
    return tuple(steps)


def draw_sizes(draw: Draw, count: int, total_bytes: float) -> Floats:
    """Sizes of files that add up to a total."""
    family = draw.family
    if family.tail_index is not None:
        raw = 1 + draw.rng.pareto(draw.uniform(*family.tail_index), count)
    else:
        raw = draw.rng.lognormal(0.0, draw.uniform(*family.size_sigma), count)
    return np.asarray(raw / raw.sum() * total_bytes)


def draw_files(draw: Draw, sizes: Floats) -> tuple[FileSpec, ...]:
    """Files of these sizes."""
    bytes_per_row = draw.log_uniform(*draw.family.bytes_per_row)
    suffix = str(draw.rng.choice(["parquet", "parquet", "json", "npy"]))
    memory = draw.log_uniform(*draw.family.memory_factor) if suffix == "parquet" else 1.0
    folder = f"import/{draw.integer(1, 10**6):06d}"
    densities = bytes_per_row * draw.rng.lognormal(0.0, 0.05, len(sizes))
    specs = []
    for index, (size, density) in enumerate(zip(sizes.tolist(), densities.tolist(), strict=True)):
        stem = f"{folder}/part-{index:05d}"
        paths = (
            [f"{stem}/id.npy", f"{stem}/vector.npy"] if suffix == "npy" else [f"{stem}.{suffix}"]
        )
        size_bytes, rows = max(1, round(size)), max(1, round(size / density))
        specs.append(
            FileSpec(tuple(paths), size_bytes, rows, memory_bytes=round(size_bytes * memory))
        )
    return tuple(specs)


def files_at_full_speed(cluster: ClusterSpec) -> float:
    """How many files the cluster imports at full speed, counted in nodes of speed 1."""
    return sum(cluster.node_speeds) * cluster.cores_per_node


def import_s(cluster: ClusterSpec, job: JobSpec) -> float:
    """About how many seconds importing takes with all nodes busy."""
    total_bytes = sum(file.size_bytes for file in job.files)
    return total_bytes / (job.import_bytes_per_s * files_at_full_speed(cluster))


def draw_job(
    draw: Draw,
    cluster: ClusterSpec,
    *,
    count: int | None = None,
    total_bytes: float | None = None,
    index_share: float | None = None,
    sort_share: float | None = None,
) -> JobSpec:
    """A job whose sorting and indexing take their shares of its import time."""
    family = draw.family
    count = count or draw.file_count(*family.files)
    total_bytes = total_bytes or draw.log_normal(family.median_bytes, 1.3)
    rate = draw.log_normal(family.import_bytes_per_s, 0.8)
    at_once = files_at_full_speed(cluster)
    # So few jobs are outliers that clipping the rate hardly changes its distribution.
    takes_s = min(max(total_bytes / (rate * at_once), 60.0), 6 * HOUR_S)
    rate = total_bytes / (takes_s * at_once)
    files = draw_files(draw, draw_sizes(draw, count, total_bytes))
    rows = sum(file.rows for file in files)
    index_slots = sum(cluster.index_speeds) * cluster.index_slots_per_node
    index_s = takes_s * (index_share or draw.log_normal(family.index_share, 0.9))
    sort_s = takes_s * (sort_share or draw.log_normal(family.sort_share, 0.9))
    index_s, sort_s = min(index_s, 18 * HOUR_S), min(sort_s, 12 * HOUR_S)
    job = JobSpec(
        collection_name=str(draw.rng.choice(["products", "documents", "images", "faces", "logs"])),
        files=files,
        pending_s=draw.log_uniform(1, 30),
        preimport_bytes_per_s=rate * draw.log_uniform(2, 30),
        import_bytes_per_s=rate,
        sort_rows_per_s=rows / (sort_s * index_slots),
        index_rows_per_s=rows / (index_s * index_slots),
        file_overhead_s=draw.log_uniform(0.1, 3),
        noise=draw.uniform(*family.noise),
        shards=draw.integer(*family.shards),
        segment_bytes=round(draw.log_uniform(256 * MIB, 2 * GIB)),
    )
    if draw.chance(family.retry_chance):
        job = with_retries(draw, job, share=0.02, most=2)
    return job


def with_retries(draw: Draw, job: JobSpec, *, share: float, most: int) -> JobSpec:
    """The job with a share of files whose tasks go back."""
    files = list(job.files)
    for index in draw.some(len(files), share):
        files[index] = replace(files[index], retries=draw.integer(1, most))
    return replace(job, files=tuple(files))
