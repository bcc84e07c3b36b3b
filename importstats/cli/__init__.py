"""The command line: ``importstats demo``, ``watch``, ``collect``, ``snapshot`` and the rest."""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import logging
import os
import signal
import sys
import threading
import typing
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from importstats.analysis.baselines import BASELINES
from importstats.analysis.scoring import backtest
from importstats.collect.collector import Append, CollectedJob, Collector, PollPolicy
from importstats.collect.notifier import Notifier
from importstats.errors import (
    BadResponseError,
    ImportStatsError,
    JobNotFoundError,
    ServerError,
    StoreError,
    UnauthorizedError,
    UnreachableError,
)
from importstats.fleets import fleet
from importstats.show import live, terminal
from importstats.simulator import DIALECTS, SHAPES, SimulatorServer, make_shape
from importstats.sources.rest import ImportClient
from importstats.sources.source import ProgressSource
from importstats.store import SnapshotStore
from importstats.store.frames import load_details, load_jobs
from importstats.text import printable
from importstats.version import __version__

#: What a scheduler can tell from the exit code. 2 is a wrong command line.
EXIT_CODES: Final[dict[type[ImportStatsError], int]] = {
    UnreachableError: 3,
    UnauthorizedError: 4,
    JobNotFoundError: 5,
    StoreError: 6,
    BadResponseError: 7,
    ServerError: 7,
    ImportStatsError: 1,
}
EXIT_JOB_FAILED: Final = 8
EXIT_END_MISSED: Final = 9

# Commands that draw import matplotlib themselves: it would double the start of all the others.
app = typer.Typer(
    help="Collect, analyse and show the progress of Milvus and Zilliz Cloud bulk imports.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # A traceback with local variables would show the token.
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


class SourceKind(StrEnum):
    """How the server is asked."""

    REST = "rest"
    GRPC = "grpc"


class ReportForm(StrEnum):
    """What a report is written as."""

    HTML = "html"
    MD = "md"
    JSON = "json"


class LogFormat(StrEnum):
    """How the collector logs."""

    TEXT = "text"
    JSON = "json"


Jobs = Annotated[list[str] | None, typer.Argument(help="Job ids. None: all the server lists.")]
Job = Annotated[str, typer.Argument(help="Job id.")]
Store = Annotated[
    str,
    typer.Option(
        "--store", "-s", envvar="IMPORTSTATS_STORE", help="Folder, or s3://, gs://, abfs:// URI."
    ),
]
StoreArgument = Annotated[
    str,
    typer.Argument(
        metavar="STORE", envvar="IMPORTSTATS_STORE", help="Folder, or s3://, gs://, abfs:// URI."
    ),
]
MinInterval = Annotated[float, typer.Option(help="Shortest pause between two polls, seconds.")]
MaxInterval = Annotated[float, typer.Option(help="Longest pause between two polls, seconds.")]
Collection = Annotated[
    str | None,
    typer.Option(help="With no job ids: only jobs of this collection.", show_default=False),
]
OnEvent = Annotated[
    list[str] | None,
    typer.Option(
        help="Tell of events (started, finished, failed, stalled, late, ...): https://... gets "
        "each as JSON by POST, exec:COMMAND on its standard input; file:PATH holds such targets, "
        "one a line, so that a secret in one is not on the process list. May be repeated.",
        show_default=False,
    ),
]
MetricsPort = Annotated[
    int | None,
    typer.Option(
        help="Serve metrics for Prometheus on this port (0: a free one), at /metrics.",
        min=0,
        max=65535,
        show_default=False,
    ),
]
MetricsHost = Annotated[str, typer.Option(help="Address to serve metrics on.")]
DEFAULT_STORE: Final = "importstats-store"


def main() -> None:
    """Run the command line; an expected error is one line and an exit code of its own."""
    try:
        app()
    except ImportStatsError as error:
        kind = next(kind for kind in type(error).__mro__ if kind in EXIT_CODES)
        sys.stderr.write(f"importstats: error: {error}\n")
        sys.exit(EXIT_CODES[kind])
    except BrokenPipeError:
        # The reader of our output (head, less) is gone: not worth a word.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"importstats {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass


def connected(
    uri: Annotated[
        str | None,
        typer.Option(
            "--uri",
            "-u",
            help="Server: http://host:19530 or https://api.cloud.zilliz.com. "
            "Default: MILVUS_URI or ZILLIZ_CLOUD_URI.",
            show_default=False,
        ),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="File that holds the token. Default: MILVUS_TOKEN or ZILLIZ_CLOUD_API_KEY. "
            "There is no --token: anyone could read it off the process list.",
            show_default=False,
        ),
    ] = None,
    db: Annotated[str | None, typer.Option(help="Database.", show_default=False)] = None,
    cluster_id: Annotated[
        str | None, typer.Option(help="Zilliz Cloud cluster.", show_default=False)
    ] = None,
    project_id: Annotated[
        str | None, typer.Option(help="Zilliz Cloud project.", show_default=False)
    ] = None,
    region_id: Annotated[
        str | None, typer.Option(help="Zilliz Cloud region.", show_default=False)
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option(help="CA bundle to verify the server with.", show_default=False)
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for an answer.")] = 30.0,
    source: Annotated[
        SourceKind, typer.Option(help="grpc for Milvus up to 2.3.")
    ] = SourceKind.REST,
) -> ProgressSource:
    """The source that the connection options name."""
    token = _read_token(token_file) if token_file else None
    if source is SourceKind.GRPC:
        from importstats.sources.grpc import GrpcImportClient

        return GrpcImportClient(uri, token=token, db_name=db, timeout=timeout, ca_file=ca_file)
    return ImportClient(
        uri,
        token=token,
        db_name=db,
        cluster_id=cluster_id,
        project_id=project_id,
        region_id=region_id,
        timeout=timeout,
        verify=str(ca_file) if ca_file else True,
    )


def connects(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of :func:`connected`; its first argument is the open source."""
    connection = list(inspect.signature(connected, eval_str=True).parameters.values())
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]

    @functools.wraps(command)
    def with_source(**options: Any) -> None:
        source = connected(**{option.name: options.pop(option.name) for option in connection})
        with contextlib.closing(source):
            command(source, **options)

    # Typer reads the options off the signature and the annotations.
    with_source.__signature__ = inspect.Signature([*own, *connection])  # type: ignore[attr-defined]
    with_source.__annotations__ = {
        **{name: hint for name, hint in _hints(connected).items() if name != "return"},
        **{option.name: _hints(command)[option.name] for option in own},
    }
    return with_source


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    return typing.get_type_hints(function, include_extras=True)


def _read_token(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError as error:
        raise ImportStatsError(f"cannot read the token file {path}: {error.strerror}") from None


@app.command()
@connects
def collect(
    source: ProgressSource,
    jobs: Jobs = None,
    store: Store = DEFAULT_STORE,
    collection: Collection = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on when all jobs ended.")] = False,
    min_interval: MinInterval = 2.0,
    max_interval: MaxInterval = 60.0,
    discover_interval: Annotated[
        float, typer.Option(help="Seconds between two looks at the server's job list.")
    ] = 30.0,
    log_format: Annotated[LogFormat, typer.Option(help="Form of the log lines.")] = LogFormat.TEXT,
    on_event: OnEvent = None,
    metrics_port: MetricsPort = None,
    metrics_host: MetricsHost = "127.0.0.1",
) -> None:
    """Collect jobs to a store until they end, or for ever with --follow.

    Exits 0 when all jobs completed or on SIGTERM, 8 if one failed, 9 if the end of one was
    missed; 3 to 7 name an error: 3 unreachable, 4 token refused, 5 job not known, 6 store,
    7 bad answer.
    """
    _log_to_stderr(log_format)
    opened = SnapshotStore(store)
    with contextlib.ExitStack() as running:
        notifier: Notifier | None = None
        append: Append = opened.append
        if on_event:
            notifier = running.enter_context(Notifier(opened, source.uri, on_event))
        if metrics_port is not None:
            from importstats.collect.metrics import MetricsServer

            metrics = running.enter_context(
                MetricsServer(
                    opened, source.uri, host=metrics_host, port=metrics_port, notifier=notifier
                )
            )
            source = metrics.measured_source(source)
            append = metrics.measured_append(opened.append)
        collector = Collector(
            source,
            opened,
            jobs=jobs or (),
            collection=collection,
            follow=follow,
            policy=PollPolicy(min_interval, max_interval),
            discover_s=discover_interval,
            on_saved=notifier.notice if notifier else None,
            append=append,
        )
        with _on_signals(collector.stop):
            collected = collector.run()
    _exit_by_outcome(collected)


@app.command()
@connects
def snapshot(
    source: ProgressSource,
    jobs: Jobs = None,
    store: Store = DEFAULT_STORE,
    collection: Collection = None,
) -> None:
    """Store one snapshot of each job and exit: for cron, systemd timers and CronJobs.

    Exits as `collect` does, but the first error of any job counts, after all the others were
    stored. A job whose end is in the store is not asked about again unless named.
    """
    collector = Collector(
        source, SnapshotStore(store), jobs=jobs or (), collection=collection, once=True
    )
    with _on_signals(collector.stop):
        collected = collector.run()
    for job in collected.values():
        if job.snapshots:
            typer.echo(f"saved job={printable(job.job_id)} state={printable(job.state or 'none')}")
    if not collected:
        typer.echo("nothing to save: the server lists no job whose end is not stored yet")
    for job in collected.values():
        if job.error is not None:
            raise job.error
    _exit_by_outcome(collected)


@app.command()
@connects
def watch(
    source: ProgressSource,
    job: Job,
    store: Store = DEFAULT_STORE,
    min_interval: MinInterval = 1.0,
    max_interval: MaxInterval = 20.0,
) -> None:
    """Collect one job and show it live. Ctrl-C ends the view and keeps everything.

    Where the output is no terminal, a line is printed for each snapshot instead.
    """
    opened = SnapshotStore(store)
    collector = Collector(source, opened, jobs=[job], policy=PollPolicy(min_interval, max_interval))
    console = _console()
    with _on_signals(collector.stop):
        if console.is_terminal:
            collected = live.watch(collector, job, console)
        else:
            _log_to_stderr(LogFormat.TEXT)
            collected = collector.run()
    console.print(f"{collected[job].snapshots} snapshots saved in {opened.uri}")
    _exit_by_outcome(collected)


@app.command()
def simulate(
    shape: Annotated[str, typer.Option(help=f"Kind of job: {', '.join(SHAPES)}.")] = "stragglers",
    count: Annotated[int, typer.Option("--jobs", min=1, help="How many jobs.")] = 1,
    files: Annotated[
        int | None, typer.Option(min=1, help="Files of each job; drawn if not given.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Draws everything that is random.")] = 0,
    acceleration: Annotated[
        float, typer.Option(min=0, help="How many times faster than real the jobs run.")
    ] = 60.0,
    dialect: Annotated[str, typer.Option(help=f"Kind of server: {', '.join(DIALECTS)}.")] = "2.6",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 19530,
    token_file: Annotated[
        Path | None,
        typer.Option(help="Let in only who has the token in this file.", show_default=False),
    ] = None,
) -> None:
    """Run a server of simulated import jobs, to try the other commands on. Ctrl-C ends it."""
    if shape not in SHAPES:
        raise typer.BadParameter(f"there is no shape {shape!r}; one of {', '.join(SHAPES)}")
    if dialect not in DIALECTS:
        raise typer.BadParameter(f"there is no dialect {dialect!r}; one of {', '.join(DIALECTS)}")
    cluster, _ = make_shape(shape, files=files, seed=seed)
    specs = [make_shape(shape, files=files, seed=seed + number)[1] for number in range(count)]
    server = SimulatorServer(
        cluster,
        specs,
        host=host,
        port=port,
        dialect=dialect,
        token=_read_token(token_file) if token_file else None,
        acceleration=acceleration,
        seed=seed,
    )
    ended = threading.Event()
    with server, _on_signals(ended.set):
        typer.echo(f"simulated {dialect} server at {server.uri}, {acceleration:g} times real time")
        for job_id in server.job_ids:
            typer.echo(f"job {job_id}")
        typer.echo(f"try: importstats watch --uri {server.uri} {server.job_ids[0]}")
        sys.stdout.flush()
        ended.wait()


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the store, the figure and the report.")] = (
        Path("importstats-demo")
    ),
    files: Annotated[int, typer.Option(min=1, help="Files of the job.")] = 300,
    seed: Annotated[int, typer.Option(help="Draws the job.")] = 6,
    seconds: Annotated[float, typer.Option(min=1, help="About how long the job takes.")] = 25.0,
) -> None:
    """Watch a simulated import being collected, and get its store, figure and report."""
    from importstats.cli.demo import run_demo

    run_demo(out, files=files, seed=seed, seconds=seconds, console=_console())


@app.command()
@connects
def jobs(source: ProgressSource, collection: Collection = None) -> None:
    """List the import jobs the server knows."""
    terminal.print_job_list(_console(), source.list_jobs(collection))


@app.command()
def summary(store: StoreArgument = DEFAULT_STORE) -> None:
    """Show every job of a store in one table."""
    terminal.print_summary(_console(), load_jobs(store))


@app.command("report")
def write_report(
    job: Job,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="File to write; its ending names the form. Default: the terminal, as md.",
            show_default=False,
        ),
    ] = None,
    form: Annotated[
        ReportForm | None, typer.Option("--format", help="Form of the report.", show_default=False)
    ] = None,
    store: Store = DEFAULT_STORE,
) -> None:
    """Write a report of one job out of a store: verdict, ETA, figures, diagnosis."""
    from importstats.reports import report

    opened = SnapshotStore(store)
    jobs = load_jobs(opened, job_id=job, gaps=True)
    if jobs["error"].notna().all():
        raise StoreError(f"{opened.uri} holds no snapshot of job {printable(job)}")
    ending = ReportForm.HTML if out and out.suffix == ".html" else ReportForm.MD
    ending = ReportForm.JSON if out and out.suffix == ".json" else ending
    text = report(
        jobs,
        load_details(opened, job_id=job, runs=True),
        at=datetime.now(UTC),
        history=load_jobs(opened),
        form=(form or ending).value,
    )
    if out is None:
        typer.echo(text)
    else:
        out.write_text(text, encoding="utf-8")
        typer.echo(f"wrote {out}")


@app.command("backtest")
def score_methods(
    store: StoreArgument = DEFAULT_STORE,
    per_job: Annotated[
        int, typer.Option(min=1, help="Score at most so many snapshots of each job.")
    ] = 50,
    plot: Annotated[
        Path | None,
        typer.Option(help="Write a figure of the error over the jobs' life.", show_default=False),
    ] = None,
) -> None:
    """Replay the completed jobs of a store and score the ETA beside the simple methods."""
    opened = SnapshotStore(store)
    jobs = load_jobs(opened)
    result = backtest(
        jobs,
        load_details(opened, runs=True),
        ["eta", *BASELINES],
        history=jobs,
        per_job=per_job,
    )
    terminal.print_scores(_console(), result)
    if plot is not None:
        from matplotlib.figure import Figure

        from importstats.plots import plot_eta_error

        figure = Figure(figsize=(8, 4), layout="constrained")
        plot_eta_error(result.by_tenth, ax=figure.subplots())
        figure.savefig(plot, dpi=150)
        typer.echo(f"wrote {plot}")


@app.command("fleet")
def show_fleet(
    store: StoreArgument = DEFAULT_STORE,
    scheduler: Annotated[
        str | None,
        typer.Option(
            help="Where the work is done: synchronous (here), processes (local), or the address "
            "of a Dask scheduler, tcp://host:8786. Default: here for few jobs, else processes.",
            show_default=False,
        ),
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(help="Only jobs seen at or after this time, UTC.", show_default=False),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Write a figure of the fleet.", show_default=False)
    ] = None,
) -> None:
    """Analyse all jobs of a store: ETAs, slow collections, failure causes, rates, phases."""
    found = fleet(
        store, scheduler=scheduler, since=None if since is None else since.replace(tzinfo=UTC)
    )
    terminal.print_fleet(_console(), found)
    if plot is not None:
        from importstats.plots.fleet import plot_fleet

        plot_fleet(found).savefig(plot, dpi=150)
        typer.echo(f"wrote {plot}")


@app.command()
def compact(store: StoreArgument = DEFAULT_STORE) -> None:
    """Merge a store's many small files into few, with no reader disturbed."""
    result = SnapshotStore(store).compact(final=True)
    typer.echo(str(result))


@contextlib.contextmanager
def _on_signals(stop: Callable[[], None]) -> Iterator[None]:
    """SIGTERM and Ctrl-C end the work in good order; a second one ends it at once."""

    def handle(signum: int, _frame: object) -> None:
        signal.signal(signum, signal.SIG_DFL)
        stop()

    numbers = (signal.SIGTERM, signal.SIGINT)
    previous = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _console() -> Console:
    # Names come from a server: they are not markup. A pipe has no width to be cut to.
    width = None if sys.stdout.isatty() else 120
    return Console(markup=False, highlight=False, emoji=False, width=width)


def _exit_by_outcome(collected: dict[str, CollectedJob]) -> None:
    if any(job.state == "Failed" for job in collected.values()):
        raise typer.Exit(EXIT_JOB_FAILED)
    if any(job.lost for job in collected.values()):
        raise typer.Exit(EXIT_END_MISSED)


class _JsonFormatter(logging.Formatter):
    """One JSON object a line, for log collectors."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON: time, level, event and its fields."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        event = getattr(record, "event", record.getMessage())
        fields = getattr(record, "fields", {})
        return json.dumps({"time": time, "level": record.levelname, "event": event, **fields})


def _log_to_stderr(form: LogFormat) -> None:
    handler = logging.StreamHandler()
    if form is LogFormat.JSON:
        handler.setFormatter(_JsonFormatter())
    else:
        handler.setFormatter(
            logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S%z")
        )
    logger = logging.getLogger("importstats")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
