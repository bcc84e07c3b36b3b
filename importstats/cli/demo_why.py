"""The demo of causes: an import waits for one thing after another; each has its finding.

The cluster runs on a virtual clock: its hour takes seconds, yet waits are as long as real ones. The
snapshots are stored as a collector stores them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from rich.console import Console

from importstats.analysis.findings import diagnose
from importstats.cli.demo import new_store
from importstats.reports import report
from importstats.show.job import ImportJob
from importstats.simulator import Arrival, ClusterSpec, FileSpec, JobSpec
from importstats.simulator.specs import Compaction
from importstats.simulator.watching import WatchedJob
from importstats.sources.management_metrics import parse_samples
from importstats.store import SnapshotStore
from importstats.store.cluster_tables import ClusterTables
from importstats.store.frames import flatten_jobs
from importstats.text import format_time

_POLL_S: Final = 15.0
#: How many polls pass between two looks at the findings.
_LOOK_EVERY: Final = 6
_MOST_POLLS: Final = 600


def demo_cluster() -> tuple[ClusterSpec, JobSpec]:
    """An import that shares its cluster with another and with compactions; an index build fails."""
    files = tuple(FileSpec((f"in/{number}.parquet",), 2**30, 10**6) for number in range(8))
    job = JobSpec(
        collection_name="products",
        files=files,
        max_task_bytes=2**30,
        import_bytes_per_s=10e6,
        index_rows_per_s=20e3,
        early_index=False,
        failing_builds=1,
        build_failures=4,
    )
    other = replace(job, collection_name="reviews", files=files * 3, failing_builds=0)
    cluster = ClusterSpec(
        slots_per_node=4,
        other_jobs=(Arrival(-120.0, other),),
        compactions=(Compaction(420.0, 420.0, 4),),
    )
    return cluster, job


def show_causes(folder: Path, *, seed: int, console: Console) -> None:
    """Run the demo, and write its store and a report below a folder.

    Raises
    ------
    StoreError
        The folder holds an earlier demo, or cannot be written.
    MissingExtraError
        The extra ``prometheus`` is not installed.
    """
    store = new_store(folder)
    parse_samples(b"")  # a missing extra is named before anything is shown
    job = WatchedJob(*demo_cluster(), seed=seed)
    console.print(
        f"A simulated cluster imports 8 files (job {job.job_id}) beside another job and "
        "compactions.\nWhat the management port says about it, each time it changes:\n"
    )
    said: tuple[str, ...] = ()
    page = ""
    for poll in range(1, _MOST_POLLS + 1):
        goes_on = job.poll(_POLL_S)
        if poll % _LOOK_EVERY and goes_on:
            continue
        jobs, seen = flatten_jobs(job.snapshots), job.watch.frames()
        found = diagnose(jobs, cluster=seen)
        kinds = (job.state.phase.value, *found["finding"].astype("str").head(1))
        if kinds != said:
            said = kinds
            shown = ImportJob(jobs, cluster=seen)
            _print_reasons(console, shown)
            if len(found) and str(found["severity"].iloc[0]) != "info":
                page = report(jobs, at=job.snapshots[-1].observed_at, cluster=seen)
        if not goes_on:
            break
    _save_run(folder, store, job, page, console)


def _print_reasons(console: Console, job: ImportJob) -> None:
    console.print(f"{format_time(job.at)}  {job.headline}", soft_wrap=True)
    for finding in job.diagnosis.head(1).to_dict("records"):
        if str(finding["message"]) not in job.headline:
            console.print(f"          {finding['message']}", soft_wrap=True)
        console.print(f"          {finding['advice']}", soft_wrap=True, style="dim")


def _save_run(
    folder: Path, store: SnapshotStore, job: WatchedJob, page: str, console: Console
) -> None:
    """Store everything that was collected, and print where it is."""
    store.append(job.snapshots)
    tables = ClusterTables(store)
    for table, rows in job.watch.tables().items():
        tables.append(table, job.source_uri, rows)
    path = folder / "why.html"
    path.write_text(page, encoding="utf-8")
    console.print(
        f"\nstore   {folder / 'store'}\nreport  {path}  (as of the last wait)\n\n"
        "Next:\n"
        "  importstats collect --management-uri http://YOUR-PROXY:9091\n"
        "  python -c \"import importstats; print(importstats.load_tasks('"
        f"{folder / 'store'}'))\""
    )
