"""The demo: collects a simulated job over HTTP, analyses it and draws it, in under a minute."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console

from importstats.cli.options import output_console
from importstats.collect.collector import Collector, PollPolicy
from importstats.errors import StoreError
from importstats.plots import overview
from importstats.reports import report
from importstats.show.live import headline_printer, stored_job_view, watch
from importstats.simulator import (
    ClusterSpec,
    JobSpec,
    SimulatorServer,
    make_shape,
    simulate_job,
    with_stragglers,
)
from importstats.sources.rest import ImportClient
from importstats.store import SnapshotStore
from importstats.store.frames import load_details, load_jobs
from importstats.text import format_duration

_POLLS: Final = 120
# How often a line is printed if the output is no terminal.
_PIPED_S: Final = 2.0


def show_demo(
    *,
    out: Annotated[
        Path | None,
        Parameter(
            help="Folder for the store, the figure and the report; importstats-demo if not given, "
            "with --why importstats-demo-why."
        ),
    ] = None,
    files: Annotated[
        int, Parameter(help="Number of files in the job.", validator=Number(gte=1))
    ] = 300,
    seed: Annotated[int, Parameter(help="Seed of the simulated job.")] = 6,
    seconds: Annotated[
        float, Parameter(help="About how long the job takes.", validator=Number(gte=1))
    ] = 25.0,
    why: Annotated[
        bool, Parameter(help="Show what a cluster's management port explains instead.")
    ] = False,
) -> None:
    """Watch a simulated import as it is collected; keep its store, figure and report."""
    console = output_console()
    if why:
        from importstats.cli.demo_why import show_causes

        show_causes(out or Path("importstats-demo-why"), seed=seed, console=console)
        return
    out = out or Path("importstats-demo")
    store = new_store(out)
    cluster, job = _demo_job(files, seed)
    duration_s = simulate_job((cluster, job), seed=seed, poll_every_s=600).truth.duration_s
    acceleration = duration_s / seconds
    policy = PollPolicy(seconds / _POLLS, 4 * seconds / _POLLS)
    with (
        SimulatorServer(cluster, [job], seed=seed, acceleration=acceleration) as server,
        ImportClient(server.uri) as client,
    ):
        [job_id] = server.job_ids
        console.print(
            f"A simulated server at {server.uri} imports {files:,} files: "
            f"{format_duration(duration_s)} of work, run {acceleration:.0f} times faster.\n"
        )
        printer = None if console.is_terminal else headline_printer(store, console, _PIPED_S)
        collector = Collector(client, store, jobs=[job_id], policy=policy, on_saved=printer)
        if console.is_terminal:
            watch(collector, job_id, console)
        else:
            collector.run()
            console.print(stored_job_view(store, job_id))
    _write_results(out, store, console)


def _demo_job(files: int, seed: int) -> tuple[ClusterSpec, JobSpec]:
    """A job with two slow files, a retried one, and an index that takes half the time."""
    cluster, job = make_shape("steady", files=files, seed=seed)
    job = with_stragglers(job, ["slow", "retried", "slow"], seed=seed)
    return cluster, replace(job, index_rows_per_s=job.index_rows_per_s / 3)


def new_store(folder: Path) -> SnapshotStore:
    """A new store for a demo.

    Raises
    ------
    StoreError
        The folder holds an earlier demo.
    """
    store = SnapshotStore(folder / "store")
    if store.exists():
        raise StoreError(f"{folder} holds an earlier demo; give another --out, or remove it")
    return store


def _write_results(folder: Path, store: SnapshotStore, console: Console) -> None:
    """Draw the job, write its report, and print where they are."""
    jobs, details = load_jobs(store), load_details(store, runs=True)
    now = datetime.now(UTC)
    figure, page = folder / "overview.png", folder / "report.html"
    overview(jobs, details, at=now).savefig(figure, dpi=150)
    page.write_text(report(jobs, details, at=now), encoding="utf-8")
    place = folder / "store"
    console.print(
        f"\nstore   {place}  ({len(jobs)} snapshots, {len(details):,} file rows)\n"
        f"figure  {figure}\n"
        f"report  {page}\n\n"
        "Next:\n"
        f"  importstats summary {place}\n"
        f"  python -c \"import pandas; print(pandas.read_parquet('{place}/jobs'))\"\n"
        "  importstats watch --uri http://YOUR-MILVUS:19530 JOB_ID"
    )
