"""Make the recordings in this folder anew.

    python data/make.py [NAME ...]

simulates the named recordings (all of them, if none is named) and replaces them. What is in them
depends on the seeds below and nothing else; only the names of the Parquet files differ each time.
``real_milvus_2_3`` is no simulation: README.md says how it was recorded.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

from importstats.cli.demo_why import demo_cluster
from importstats.simulator import (
    Arrival,
    ClusterSpec,
    FileSpec,
    JobSpec,
    Simulation,
    simulate_cluster,
    simulate_job,
    with_stragglers,
)
from importstats.simulator.watching import WatchedJob
from importstats.store import SnapshotStore
from importstats.store.cluster_tables import ClusterTables

HERE: Final = Path(__file__).parent
START: Final = datetime(2026, 5, 18, 8, tzinfo=UTC)
HOUR_S: Final = 3600.0


def _fleet() -> list[Simulation]:
    """Three collections on two clusters, imported every few hours for three days.

    On the third morning other load takes most of ``milvus-east``; one job of ``milvus-west`` has
    a bad file, and one a slow one.
    """
    east = ClusterSpec(
        cores_per_node=4,
        slots_per_node=4,
        load=((0.0, 1.0), (48 * HOUR_S, 0.35), (54 * HOUR_S, 1.0)),
    )
    west = ClusterSpec(
        node_speeds=(1.0, 1.0, 1.0), cores_per_node=4, slots_per_node=4, index_speeds=(1.0,)
    )
    products = [Arrival(6 * HOUR_S * turn, _batch("products", 12, turn)) for turn in range(12)]
    documents = [
        Arrival((8 * turn + 1) * HOUR_S, _batch("documents", 20, 100 + turn)) for turn in range(9)
    ]
    images = [
        Arrival((8 * turn + 3) * HOUR_S, _batch("images", 16, 200 + turn)) for turn in range(9)
    ]
    images[4] = replace(images[4], job=_with_a_bad_file(images[4].job))
    images[7] = replace(images[7], job=with_stragglers(images[7].job, ["slow"], seed=3))
    return [
        *simulate_cluster(
            east,
            sorted(products + documents, key=lambda arrival: arrival.at_s),
            seed=1,
            poll_every_s=30,
            start=START,
            source_uri="http://milvus-east:19530",
        ),
        *simulate_cluster(
            west,
            images,
            seed=2,
            poll_every_s=30,
            start=START,
            source_uri="http://milvus-west:19530",
        ),
    ]


def _batch(collection_name: str, count: int, seed: int) -> JobSpec:
    """A job of so many files of about 1.5 GB, each a task of its own."""
    rng = np.random.default_rng(seed)
    sizes = rng.lognormal(np.log(1.5e9), 0.25, count)
    files = tuple(
        FileSpec(
            (f"{collection_name}/{seed:03}/part-{i:02}.parquet",), round(size), round(size / 3e3)
        )
        for i, size in enumerate(sizes.tolist())
    )
    return JobSpec(
        collection_name=collection_name,
        files=files,
        import_bytes_per_s=6e6,
        sort_rows_per_s=60e3,
        index_rows_per_s={"products": 4e3, "documents": 2e3, "images": 6e3}[collection_name],
        max_task_bytes=round(1e9),
        noise=0.15,
    )


def _with_a_bad_file(job: JobSpec) -> JobSpec:
    *good, last = job.files
    error = "the dim 768 of the vector field is not equal to schema dim 1024: importing data failed"
    return replace(job, files=(*good, replace(last, error=error)))


def _simulated(
    shape: str, *, seed: int, files: int, poll_every_s: float, dialect: str = "2.6"
) -> Simulation:
    return simulate_job(shape, seed=seed, files=files, poll_every_s=poll_every_s, dialect=dialect)


SIMULATIONS: Final[Mapping[str, Callable[[], Sequence[Simulation]]]] = {
    "healthy": lambda: [_simulated("steady", seed=4, files=80, poll_every_s=30)],
    "index_bound": lambda: [_simulated("index_bound", seed=8, files=60, poll_every_s=20)],
    "index_2_4": lambda: [
        _simulated("index_bound", seed=9, files=60, poll_every_s=10, dialect="2.4.12")
    ],
    "stragglers": lambda: [_simulated("stragglers", seed=6, files=60, poll_every_s=30)],
    "failed": lambda: [_simulated("failing", seed=8, files=40, poll_every_s=20)],
    "node_restart": lambda: [_simulated("node_restart", seed=12, files=60, poll_every_s=5)],
    "many_jobs": _fleet,
}


#: Jobs of clusters that were watched too, and how often they were polled.
WATCHED: Final[Mapping[str, Callable[[], WatchedJob]]] = {
    "waits": lambda: WatchedJob(*demo_cluster(), seed=6, source_uri="http://milvus:19530"),
}
_WATCHED_POLL_S: Final = 15.0


def make(name: str, folder: Path = HERE) -> None:
    """Simulate one recording and write it below a folder in place of what is there."""
    target = folder / name
    if target.exists():
        shutil.rmtree(target)
    store = SnapshotStore(target)
    if name in WATCHED:
        _keep(store, WATCHED[name]())
        return
    for simulation in SIMULATIONS[name]():
        store.append_tables(*simulation.tables(runs=True))


def _keep(store: SnapshotStore, job: WatchedJob) -> None:
    """Store a job until its end, and what its cluster did meanwhile."""
    while job.poll(_WATCHED_POLL_S):
        pass
    # Their last digits are random, so that two collectors do not make the same.
    store.append(
        replace(snapshot, snapshot_id=snapshot.snapshot_id // 10_000 * 10_000)
        for snapshot in job.snapshots
    )
    tables = ClusterTables(store)
    for table, rows in job.watch.tables().items():
        tables.append(table, job.source_uri, rows)


def main() -> None:
    """Make what the command line names."""
    every = [*SIMULATIONS, *WATCHED]
    names = sys.argv[1:] or every
    unknown = [name for name in names if name not in every]
    if unknown:
        sys.exit(f"no recording {unknown[0]!r}; there are {', '.join(every)}")
    for name in names:
        make(name)


if __name__ == "__main__":
    main()
