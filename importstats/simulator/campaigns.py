"""Campaigns: one collection imported again and again, with a change in the middle.

An analysis can use what it learns from earlier jobs as long as nothing changes. In a campaign the
index type or the cluster may change, and every job has its own load and luck.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal

import numpy as np

from importstats.simulator.cluster import DEFAULT_START
from importstats.simulator.shapes import make_shape, paced
from importstats.simulator.simulation import Polling, Simulation, simulate_job
from importstats.simulator.specs import ClusterSpec, FileSpec, JobSpec, Signal

Change = Literal["index", "cluster"]

#: A change makes something slower or faster by at least and at most these factors.
_LEAST_CHANGE: Final = 2.5
_MOST_CHANGE: Final = 6.0


@dataclass(frozen=True, slots=True)
class Campaign:
    """The jobs of one collection, in their order."""

    jobs: tuple[tuple[ClusterSpec, JobSpec], ...]
    #: When each job is created.
    starts: tuple[datetime, ...]
    change: Change | None
    #: The first job after the change.
    changed_at: int | None

    def simulate(
        self,
        *,
        seed: int = 0,
        polling: Polling | None = None,
        polls_per_job: int = 120,
        signal: Signal | None = None,
        source_uri: str = "http://localhost:19530",
    ) -> list[Simulation]:
        """The simulations of the jobs, each polled about `polls_per_job` times by default."""
        simulations = []
        for turn, (shape, start) in enumerate(zip(self.jobs, self.starts, strict=True)):
            every = polling
            if every is None:
                lasts_s = simulate_job(shape, seed=seed + turn, poll_every_s=3600).truth.duration_s
                # A job that never ends is polled once a minute.
                every = Polling(every_s=max(1.0, lasts_s / polls_per_job) if lasts_s > 0 else 60.0)
            simulations.append(
                simulate_job(
                    shape,
                    seed=seed + turn,
                    polling=every,
                    start=start,
                    signal=signal,
                    source_uri=source_uri,
                )
            )
        return simulations


def make_campaign(
    *,
    seed: int = 0,
    family: str = "steady_cluster",
    shape: str = "steady",
    jobs: int = 8,
    change: Change | None = None,
    start: datetime = DEFAULT_START,
) -> Campaign:
    """Draw a campaign.

    Parameters
    ----------
    seed : int
    family, shape : str
        What its jobs are like; keys of ``FAMILIES`` and ``SHAPES``.
    jobs : int
        How many there are, one to three days apart.
    change : {"index", "cluster"}, optional
        What changes in the middle: building the index takes 2.5 to 6 times as long, or a part of
        it, as another type of index does; or data and index nodes are that much faster or slower.
    start : datetime
        When the first is created.

    Examples
    --------
    >>> campaign = make_campaign(seed=1, jobs=6, change="index")
    >>> len(campaign.jobs), campaign.changed_at
    (6, 3)
    """
    rng = np.random.default_rng([seed, jobs, 7])
    cluster, job = make_shape(shape, seed=seed, family=family)
    changed_at = jobs // 2 if change else None
    factor = float(rng.uniform(_LEAST_CHANGE, _MOST_CHANGE)) ** float(rng.choice([-1, 1]))
    made, starts = [], []
    at = start
    for turn in range(jobs):
        shaped = (_with_other_load(cluster, rng), _next_job(job, rng))
        if changed_at is not None and turn >= changed_at:
            shaped = _changed(*shaped, change, factor)
        made.append(shaped)
        starts.append(at)
        at += timedelta(seconds=float(rng.uniform(86400, 3 * 86400)))
    return Campaign(tuple(made), tuple(starts), change, changed_at)


def _changed(
    cluster: ClusterSpec, job: JobSpec, change: Change | None, factor: float
) -> tuple[ClusterSpec, JobSpec]:
    if change == "index":
        return cluster, replace(job, index_rows_per_s=job.index_rows_per_s * factor)
    nodes = tuple(speed * factor for speed in cluster.node_speeds)
    index_nodes = tuple(speed * factor for speed in cluster.index_speeds)
    return replace(cluster, node_speeds=nodes, index_speeds=index_nodes), job


def _next_job(job: JobSpec, rng: np.random.Generator) -> JobSpec:
    """The collection's next job, with files of about the same sizes at about the same pace."""
    grows = math.exp(float(rng.normal(0.0, 0.25)))
    pace = math.exp(float(rng.normal(0.0, 0.08)))
    count = max(1, round(len(job.files) * grows))
    picked = rng.choice(len(job.files), count, replace=count > len(job.files))
    folder = f"import/{int(rng.integers(1, 10**6)):06d}"
    files = tuple(_next_file(job.files[index], folder, turn) for turn, index in enumerate(picked))
    return paced(replace(job, files=files), pace)


def _next_file(file: FileSpec, folder: str, turn: int) -> FileSpec:
    names = (path.rsplit("/", 1)[-1] for path in file.paths)
    return replace(file, paths=tuple(f"{folder}/{turn:05d}/{name}" for name in names))


def _with_other_load(cluster: ClusterSpec, rng: np.random.Generator) -> ClusterSpec:
    """The cluster some hours later, with the load that it has then."""
    if not cluster.load:
        return cluster
    by_s = float(rng.uniform(0, cluster.load[-1][0] / 2))
    earlier = [(0.0, factor) for from_s, factor in cluster.load if from_s <= by_s]
    later = [(from_s - by_s, factor) for from_s, factor in cluster.load if from_s > by_s]
    return replace(cluster, load=(*earlier[-1:], *later))
