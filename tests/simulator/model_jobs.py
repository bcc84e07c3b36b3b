"""Jobs whose course is known, and the states that a simulation gives them."""

from __future__ import annotations

from dataclasses import replace

from importstats.simulator import (
    ClusterSpec,
    FileSpec,
    JobSpec,
    JobState,
    Phase,
    SimulatedCluster,
)

GIB = 2**30


def files_of(*sizes: int, **faults: object) -> tuple[FileSpec, ...]:
    return tuple(
        FileSpec((f"in/{i}.parquet",), size, size // 1000, **faults)  # type: ignore[arg-type]
        for i, size in enumerate(sizes)
    )


def plain_job(**changes: object) -> JobSpec:
    job = JobSpec(collection_name="products", files=files_of(*[GIB] * 8), noise=0.0)
    return replace(job, **changes)  # type: ignore[arg-type]


def states_of(
    cluster: ClusterSpec, job: JobSpec, every_s: float = 1.0, most_s: float = 20_000
) -> list[JobState]:
    live = SimulatedCluster(cluster)
    job_id = live.create(job)
    states = [live.describe(job_id)]
    while not states[-1].ended and live.now_s < most_s:
        live.advance(live.now_s + every_s)
        states.append(live.describe(job_id))
    return states


def importing(states: list[JobState]) -> list[JobState]:
    return [state for state in states if state.phase is Phase.IMPORTING]
