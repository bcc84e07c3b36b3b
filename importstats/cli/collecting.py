"""Commands that ask a server: ``collect``, ``snapshot``, ``watch`` and ``jobs``."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import pandas as pd
from cyclopts import Parameter
from cyclopts.validators import Number

from importstats.analysis.waiting_line import counts_ahead, jobs_ahead
from importstats.cli.configuration import ServerSettings
from importstats.cli.expecting import (
    NOTHING,
    Expectation,
    check_lines,
    is_as_expected,
    stored_check,
)
from importstats.cli.logs import log_to_stderr
from importstats.cli.management import ManagementInterval, ManagementUri, look_once, watched
from importstats.cli.options import (
    DEFAULT_STORE,
    ENVIRONMENT,
    Collection,
    Connection,
    Job,
    Jobs,
    LogFormat,
    MaxInterval,
    MinInterval,
    Output,
    Quiet,
    Store,
    Verbose,
    a_page,
    check_job_ids,
    chosen_store,
    output_console,
    poll_policy,
    positive,
    print_tables,
)
from importstats.cli.outcomes import (
    EXIT_ROWS_DIFFER,
    exit_code_of,
    exit_code_of_jobs,
    stopped_by_signals,
    worst_code,
)
from importstats.cli.servers import Collected, Running, ServerRun, run_side_by_side
from importstats.collect.collector import CollectedJob, Collector
from importstats.errors import ImportStatsError, JobNotFoundError, UsageError
from importstats.show import live, terminal
from importstats.store import SnapshotStore
from importstats.text import printable

OnEvent = Annotated[
    tuple[str, ...],
    Parameter(
        help="Report events (started, finished, failed, stalled, late, ...): https://... receives "
        "each as JSON by POST, exec:COMMAND reads it from standard input. file:PATH names "
        "a file of targets, one per line, which keeps their secrets off the process "
        "list. May be repeated.",
        show_default=False,
    ),
]
_SIGNALLED: Final = 128
MetricsPort = Annotated[
    int | None,
    Parameter(
        help="Serve metrics for Prometheus on this port (0: a free one), at /metrics.",
        validator=Number(gte=0, lte=65535),
    ),
]


def collect(
    *jobs: Jobs,
    store: Store = DEFAULT_STORE,
    collection: Collection = None,
    follow: Annotated[bool, Parameter(help="Keep running after all jobs have ended.")] = False,
    min_interval: MinInterval = 2.0,
    max_interval: MaxInterval = 60.0,
    discover_interval: Annotated[
        float,
        Parameter(help="Seconds between requests for the server's job list.", validator=positive),
    ] = 30.0,
    log_format: Annotated[LogFormat, Parameter(help="Format of the log lines.")] = "text",
    on_event: OnEvent = (),
    metrics_port: MetricsPort = None,
    metrics_host: Annotated[str, Parameter(help="Address to serve metrics on.")] = "127.0.0.1",
    management_uri: ManagementUri = (),
    management_interval: ManagementInterval = 10.0,
    quiet: Quiet = False,
    verbose: Verbose = False,
    connection: Connection = ENVIRONMENT,
) -> int:
    """Collect jobs to a store until they end, or for ever with --follow."""
    check_job_ids(jobs)
    log_to_stderr(log_format, quiet=quiet, verbose=verbose)
    servers = connection.of_each_server()
    if len(servers) > 1 and (jobs or metrics_port):
        raise UsageError(
            "job ids and --metrics-port belong to one server: choose it with --server, or give "
            "each server of the file its own metrics-port"
        )
    runs = [
        ServerRun(
            connection=own,
            store=chosen_store(store, settings),
            jobs=jobs,
            collection=collection or settings.collection,
            follow=follow,
            policy=poll_policy(min_interval, max_interval),
            discover_s=discover_interval,
            events=on_event or tuple(settings.events),
            metrics_port=settings.metrics_port if metrics_port is None else metrics_port,
            metrics_host=metrics_host,
            management_uri=management_uri or tuple(settings.management_uri),
            management_s=management_interval,
            label=settings.name if len(servers) > 1 else None,
        )
        for own, settings in servers
    ]
    running = Running()
    with stopped_by_signals(running.stop) as stopping:
        if len(runs) == 1:
            outcomes: list[Collected | ImportStatsError] = [runs[0].run(running)]
        else:
            outcomes = run_side_by_side(runs, running)
    # With --follow a signal is the only way to end, so it is no failure of the systemd unit.
    stopped = 0 if follow and stopping.exit_code is not None else stopping.exit_code
    return _exit_code_of_servers(runs, outcomes, stopped)


def _exit_code_of_servers(
    runs: Sequence[ServerRun], outcomes: Sequence[Collected | ImportStatsError], stopped: int | None
) -> int:
    """The worst exit code of all servers; prints each server's error with its name."""
    codes = []
    for run, outcome in zip(runs, outcomes, strict=True):
        if isinstance(outcome, ImportStatsError):
            line = f"importstats: error: server {printable(run.label or '')}: {outcome}"
            print(line, file=sys.stderr)
            codes.append(exit_code_of(outcome))
        else:
            codes.append(exit_code_of_jobs(outcome.values()) if stopped is None else stopped)
    return worst_code(codes)


def snapshot(
    *jobs: Jobs,
    store: Store = DEFAULT_STORE,
    collection: Collection = None,
    management_uri: ManagementUri = (),
    quiet: Quiet = False,
    verbose: Verbose = False,
    connection: Connection = ENVIRONMENT,
) -> int:
    """Store one snapshot of each job and exit: for cron, systemd timers and CronJobs."""
    check_job_ids(jobs)
    if verbose:
        log_to_stderr("text", verbose=True)
    servers = connection.of_each_server()
    if len(servers) == 1:
        return _snapshot(*servers[0], jobs, store, collection, management_uri, quiet)
    if jobs:
        raise UsageError("job ids belong to one server: choose it with --server")
    codes = []
    for own, settings in servers:
        try:
            code = _snapshot(own, settings, (), store, collection, management_uri, quiet)
        except ImportStatsError as error:
            line = f"importstats: error: server {printable(settings.name)}: {error}"
            print(line, file=sys.stderr)
            code = exit_code_of(error)
        codes.append(code)
        if code > _SIGNALLED:
            break
    return worst_code(codes)


def _snapshot(
    connection: Connection,
    settings: ServerSettings,
    jobs: tuple[str, ...],
    store: str,
    collection: str | None,
    management_uri: tuple[str, ...],
    quiet: bool,
) -> int:
    """Store one snapshot of each job of a server; returns the exit code."""
    opened = SnapshotStore(chosen_store(store, settings))
    collection = collection or settings.collection
    ports = management_uri or tuple(settings.management_uri)
    with contextlib.closing(connection.opened()) as source:
        collector = Collector(source, opened, jobs=jobs, collection=collection, once=True)
        with stopped_by_signals(collector.stop) as stopping:
            collected = collector.run()
        if collected and stopping.exit_code is None:
            # Snapshots come first: a slow management port must not cost one.
            running = [job.job_id for job in collected.values() if not job.ended]
            look_once(ports, connection, opened, source.uri, running)
    for job in collected.values():
        if job.snapshots and not quiet:
            print(_saved_line(job))
    if stopping.exit_code is not None:
        return stopping.exit_code
    if not collected and not quiet:
        print("nothing to save: the server lists no job that needs a snapshot")
    for job in collected.values():
        if job.error is not None:
            line = f"importstats: error: job {printable(job.job_id)}: {job.error}"
            print(line, file=sys.stderr)
    return exit_code_of_jobs(collected.values())


def _saved_line(job: CollectedJob) -> str:
    line = f"saved job={printable(job.job_id)} state={printable(job.state or 'none')}"
    return line if job.reason is None else f"{line} reason={printable(job.reason, 300)}"


def watch(
    job: Job,
    /,
    *,
    store: Store = DEFAULT_STORE,
    min_interval: MinInterval = 1.0,
    max_interval: MaxInterval = 20.0,
    page: Annotated[
        Path | None,
        Parameter(
            name="--report",
            validator=a_page,
            help="Keep the job's page in this file (.html) up to date; an open browser follows.",
        ),
    ] = None,
    management_uri: ManagementUri = (),
    management_interval: ManagementInterval = 10.0,
    expectation: Expectation = NOTHING,
    quiet: Quiet = False,
    connection: Connection = ENVIRONMENT,
) -> int:
    """Collect one job and show it live. Ctrl-C ends the view and keeps everything."""
    check_job_ids([job])
    expected = expectation.rows()
    connection, settings = connection.one_server()
    opened = SnapshotStore(chosen_store(store, settings))
    console = output_console()
    with contextlib.closing(connection.opened()) as source:
        policy = poll_policy(min_interval, max_interval)
        printer = None
        if not quiet and not console.is_terminal:
            printer = live.headline_printer(opened, console, source_uri=source.uri)
        collector = Collector(source, opened, jobs=[job], policy=policy, on_saved=printer)
        ports = management_uri or tuple(settings.management_uri)
        with (
            stopped_by_signals(collector.stop) as stopping,
            _page_kept(opened, job, source.uri, page),
            watched(ports, management_interval, connection, opened, collector),
        ):
            if console.is_terminal and not quiet:
                collected = live.watch(collector, job, console)
            else:
                log_to_stderr("text", quiet=quiet)
                collected = collector.run()
    count = collected[job].snapshots
    if not quiet:
        console.print(f"{count} snapshot{'' if count == 1 else 's'} saved in {opened.uri}")
    if stopping.exit_code is not None:
        return stopping.exit_code
    code = exit_code_of_jobs(collected.values())
    if code == 0 and expected is not None:
        checked = stored_check(opened, job, source.uri, expected)
        if not quiet:
            console.print("\n".join(check_lines(checked)))
        return 0 if is_as_expected(checked) else EXIT_ROWS_DIFFER
    return code


def _page_kept(
    store: SnapshotStore, job: str, source_uri: str, page: Path | None
) -> contextlib.AbstractContextManager[object]:
    """A context that keeps a job's page up to date, if one is wanted."""
    if page is None:
        return contextlib.nullcontext()
    from importstats.reports.live import PageWriter

    return PageWriter(store, job, page, source_uri=source_uri)


def list_jobs(
    *,
    collection: Collection = None,
    ahead_of: Annotated[
        str | None,
        Parameter(help="List only the jobs that this job waits for: those before it in the queue."),
    ] = None,
    output: Output = "table",
    connection: Connection = ENVIRONMENT,
) -> None:
    """List the import jobs the server knows, and how many each pending one waits for."""
    with contextlib.closing(connection.opened()) as source:
        listed = list(source.list_jobs(collection))
    columns = ["job_id", "collection_name", "state", "progress", "reason"]
    rows = [{column: getattr(record, column) for column in columns} for record in listed]
    frame = pd.DataFrame(rows, columns=columns).rename(columns={"progress": "progress_pct"})
    frame["ahead"] = counts_ahead(frame)
    if ahead_of is not None:
        if ahead_of not in set(frame["job_id"]):
            raise JobNotFoundError(f"{source.uri} does not list job {printable(ahead_of)}")
        if not ahead_of.isdigit():
            raise UsageError("this server's job ids do not show in which order jobs were created")
        frame = jobs_ahead(frame, ahead_of)
    if output == "table":
        nothing = "the server lists no import jobs" if ahead_of is None else "no job is ahead of it"
        terminal.print_job_list(output_console(), frame, empty=nothing)
    else:
        print_tables(output, "importstats.jobs/1", {"jobs": frame})
