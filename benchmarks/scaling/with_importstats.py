"""Each task by importstats, and pyarrow's bare read of the same columns."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pyarrow.dataset as ds

from importstats.analysis.lateness import stragglers
from importstats.analysis.phase import phases
from importstats.analysis.rates import throughput
from importstats.fleets import summarise
from importstats.store import SnapshotStore
from importstats.store.frames import load_details, load_jobs
from importstats.store.pieces import jobs_frames, over_details

from .columns import OUR_PHASES_COLUMNS, PHASES_COLUMNS, STRAGGLERS_COLUMNS, THROUGHPUT_COLUMNS
from .stores import SOURCES


def expanded(store: str) -> Iterator:
    yield from SnapshotStore(store).iter_details()


def runs(store: str) -> Iterator:
    yield from SnapshotStore(store).iter_details(runs=True)


def frame(store: str) -> Iterator:
    yield load_details(store, runs=True)


def throughput_of_jobs(store: str) -> Iterator:
    by_file = partial(throughput, by="file")
    yield from over_details(SnapshotStore(store), by_file, columns=THROUGHPUT_COLUMNS)


def stragglers_of_jobs(store: str) -> Iterator:
    yield from over_details(SnapshotStore(store), stragglers, columns=STRAGGLERS_COLUMNS)


def phases_of_jobs(store: str) -> Iterator:
    for jobs in jobs_frames(SnapshotStore(store), columns=OUR_PHASES_COLUMNS):
        yield phases(jobs)


def summary(store: str) -> Iterator:
    yield summarise(store)


def one_job(store: str) -> Iterator:
    """The view of the first job, as a command shows it."""
    key = {"job_id": "449839014328146740", "source_uri": SOURCES[0]}
    yield load_jobs(store, **key)
    yield load_details(store, runs=True, **key)


# --- pyarrow: a scan of the same columns ----------------------------------------------------------


def scan(store: str, table: str, columns: list[str] | None) -> Iterator:
    yield from ds.dataset(f"{store}/{table}").to_batches(columns=columns)


def scan_summary(store: str) -> Iterator:
    yield from scan(store, "jobs", PHASES_COLUMNS)
    yield from scan(store, "details", STRAGGLERS_COLUMNS)


WORK = {
    "rows, as Arrow": expanded,
    "runs, as one pandas frame": frame,
    "runs, as Arrow": runs,
    "throughput by file": throughput_of_jobs,
    "stragglers": stragglers_of_jobs,
    "phases": phases_of_jobs,
    "summary": summary,
    "one job's jobs and runs": one_job,
}
BARE_READ = {
    "rows, as Arrow": lambda store: scan(store, "details", None),
    "runs, as one pandas frame": lambda store: scan(store, "details", None),
    "runs, as Arrow": lambda store: scan(store, "details", None),
    "throughput by file": lambda store: scan(store, "details", THROUGHPUT_COLUMNS),
    "stragglers": lambda store: scan(store, "details", STRAGGLERS_COLUMNS),
    "phases": lambda store: scan(store, "jobs", PHASES_COLUMNS),
    "summary": scan_summary,
}
