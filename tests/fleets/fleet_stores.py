"""A store with the jobs of several days, servers and collections, and fleets to compare."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

from pandas.testing import assert_frame_equal

from importstats.fleets import (
    Fleet,
)
from importstats.simulator import make_shape, simulate_job
from importstats.store import SnapshotStore

START = datetime(2026, 5, 18, 6, tzinfo=UTC)
EVERY = timedelta(hours=1.6)
SHAPES = (
    "steady",
    "small_and_quick",
    "index_bound",
    "failing",
    "many_small_files",
    "stuck_file",
    "two_phase_commit",
    "stragglers",
)
SOURCES = ("https://milvus-eu:19530", "https://milvus-us:19530")
COLLECTIONS = ("products", "documents", "images")


def fill(store: SnapshotStore, count: int) -> None:
    """Jobs of many shapes on two clusters, one begun every 1.6 hours."""
    for number in range(count):
        cluster, job = make_shape(SHAPES[number % len(SHAPES)], files=6, seed=number)
        simulation = simulate_job(
            (cluster, replace(job, collection_name=COLLECTIONS[number % len(COLLECTIONS)])),
            seed=number,
            poll_every_s=300,
            start=START + number * EVERY,
            source_uri=SOURCES[number % len(SOURCES)],
        )
        simulation = replace(simulation, job_id=str(449839014328146740 + number))
        store.append_tables(*simulation.tables(runs=True))


COUNT = 40
NOW = START + 34.25 * EVERY


def assert_same(one: Fleet, other: Fleet) -> None:
    assert one.at == other.at
    for field in fields(Fleet):
        if field.name != "at":
            left, right = (getattr(each, field.name) for each in (one, other))
            # Linear algebra on another number of threads rounds the last bit of an ETA otherwise.
            etas = [name for name in left if name.startswith("eta_")]
            assert_frame_equal(left.drop(columns=etas), right.drop(columns=etas), obj=field.name)
            for name in etas:
                assert (left[name].isna() == right[name].isna()).all()
                assert ((left[name] - right[name]).dropna().abs() < timedelta(seconds=1)).all()
