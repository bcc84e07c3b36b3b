"""The live view: a collector works in the background while the terminal shows its store."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from importstats.analysis.findings import diagnose
from importstats.analysis.forecast import eta
from importstats.analysis.lateness import stragglers
from importstats.analysis.words import headline
from importstats.collect.collector import CollectedJob, Collector
from importstats.show.panel import job_view
from importstats.store import SnapshotStore
from importstats.store.cluster_frames import load_cluster_of, no_cluster
from importstats.store.frames import flatten_details, flatten_jobs, load_details, load_jobs
from importstats.text import format_time

_REFRESH_S: Final = 0.5


def watch(collector: Collector, job_id: str, console: Console) -> dict[str, CollectedJob]:
    """Run a collector and show one of its jobs on a terminal until the job ends or you stop it.

    Returns and raises what :meth:`Collector.run` does.
    """
    outcome: list[BaseException] = []

    def run() -> None:
        try:
            collector.run()
        except BaseException as error:  # noqa: BLE001 -- raised again below, in this thread
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True, name="importstats-collector")
    thread.start()
    is_over = False
    while not is_over:
        with Live(console=console, auto_refresh=False) as live:
            is_over = _draw_to_the_end(live, thread, lambda: _view(collector, job_id))
        if not is_over:
            console.clear()
    if outcome:
        raise outcome[0]
    return collector.jobs


def _draw_to_the_end(
    screen: Live, thread: threading.Thread, view: Callable[[], RenderableType]
) -> bool:
    """Draw a view until a thread ends (true), or until the terminal has another size (false).

    A terminal that becomes narrower breaks the lines that it shows, so they are more than were
    drawn, and cannot be drawn over.
    """
    size, pause = screen.console.size, _REFRESH_S
    while thread.is_alive():
        thread.join(pause)
        if screen.console.size != size:
            return False
        started = time.monotonic()
        screen.update(view(), refresh=True)
        # Drawing takes at most a third of the time, even for a large job.
        pause = max(_REFRESH_S, 2 * (time.monotonic() - started))
    screen.update(view(), refresh=True)
    return True


def headline_printer(
    store: SnapshotStore, console: Console, least_s: float = 0.0, *, source_uri: str | None = None
) -> Callable[[CollectedJob], None]:
    """A function that prints a job's headline after a snapshot, for an output that is no terminal.

    `least_s` is the least time between two lines. `source_uri` is needed only if several servers in
    the store have a job with this id.
    """
    lock, printed = threading.Lock(), -math.inf

    def print_headline(collected: CollectedJob) -> None:
        nonlocal printed
        with lock:
            if time.monotonic() < printed + least_s:
                return
            job_id = collected.job_id
            jobs = load_jobs(store, job_id=job_id, source_uri=source_uri)
            details = load_details(store, job_id=job_id, source_uri=source_uri, runs=True)
            now = datetime.now(UTC)
            cluster = load_cluster_of(store, jobs)
            estimate = eta(jobs, None if details.empty else details, at=now, cluster=cluster)
            files = None if details.empty else stragglers(details, at=now)
            found = diagnose(jobs, at=now, cluster=cluster)
            said = headline(jobs, estimate, files, found, at=now)
            console.print(f"{format_time(now)} {said}", soft_wrap=True)
            console.file.flush()
            printed = time.monotonic()

    return print_headline


def _view(collector: Collector, job_id: str) -> RenderableType:
    """The job's view from the store; if the last poll failed, also why nothing new comes."""
    view = stored_job_view(collector.store, job_id, source_uri=collector.source.uri)
    job = collector.jobs.get(job_id)
    error = job.error if job else None
    if job is None or error is None:
        return view
    return Group(view, Text(f"no answer ({job.failures} in a row): {error}", style="red"))


def stored_job_view(
    store: SnapshotStore, job_id: str, *, source_uri: str | None = None
) -> RenderableType:
    """The :func:`~importstats.show.panel.job_view` of a job as its store has it now."""
    if store.exists():
        jobs = load_jobs(store, job_id=job_id, source_uri=source_uri)
        details = load_details(store, job_id=job_id, source_uri=source_uri, runs=True)
        cluster = load_cluster_of(store, jobs)
    else:  # Before the first snapshot.
        jobs, details, cluster = flatten_jobs(()), flatten_details(()), no_cluster()
    return job_view(jobs, details, at=datetime.now(UTC), cluster=cluster)
