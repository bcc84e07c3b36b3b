"""Commands that analyse what is in a store: ``report``, ``compare``, ``backtest`` and ``fleet``.

Matplotlib is imported by the functions that draw: it would double the start of all the others.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from importstats.analysis.row_counts import check_rows
from importstats.analysis.side_by_side import compare_two_jobs, job_names
from importstats.cli.expecting import NOTHING, Expectation, is_as_expected
from importstats.cli.options import (
    DEFAULT_STORE,
    Job,
    Output,
    Store,
    StoreArgument,
    in_a_folder,
    output_console,
    print_tables,
)
from importstats.cli.outcomes import EXIT_ROWS_DIFFER, stopped_by_signals
from importstats.cli.stored import Server, frames_of_job, known_source, source_of_job
from importstats.errors import UsageError
from importstats.show import terminal
from importstats.store import SnapshotStore
from importstats.store.cluster_frames import load_cluster_of
from importstats.store.frames import load_details, load_jobs
from importstats.text import printable


def write_report(
    job: Job,
    /,
    *,
    out: Annotated[
        Path | None,
        Parameter(
            name=("--out", "-o"),
            validator=in_a_folder,
            help="File to write; its ending sets the format. Default: Markdown in the terminal.",
        ),
    ] = None,
    form: Annotated[
        Literal["html", "md", "json"] | None,
        Parameter(name=("--format", "--output"), help="Format of the report."),
    ] = None,
    serve: Annotated[
        bool, Parameter(help="Serve the page on this machine and keep it up to date, until Ctrl-C.")
    ] = False,
    port: Annotated[int, Parameter(help="Port for --serve; 0 takes a free one.")] = 0,
    expectation: Expectation = NOTHING,
    server: Server = None,
    store: Store = DEFAULT_STORE,
) -> int | None:
    """Write a report of one stored job: verdict, ETA, figures, diagnosis."""
    from importstats.reports import report
    from importstats.reports.live import write_whole

    opened = SnapshotStore(store)
    if serve:
        return _serve_page(opened, job, port, source_of_job(opened, job, server))
    form = form or _form_by_ending(out)
    expected = expectation.rows()
    jobs, details = frames_of_job(opened, job, server, gaps=True)
    text = report(
        jobs,
        details,
        at=datetime.now(UTC),
        history=load_jobs(opened),
        expected=expected,
        form=form,
        cluster=load_cluster_of(opened, jobs),
    )
    if out is None:
        print(text)
    else:
        write_whole(out, text)
        print(f"wrote {out}")
    if expected is None or is_as_expected(check_rows(details, expected)):
        return None
    return EXIT_ROWS_DIFFER


def _serve_page(store: SnapshotStore, job: str, port: int, source_uri: str) -> int | None:
    """Serve a job's page until a signal ends it."""
    from importstats.reports.live import PageServer

    ended = threading.Event()
    pages = PageServer(store, job, port=port, source_uri=source_uri)
    with pages as server, stopped_by_signals(ended.set):
        print(f"the page of job {printable(job)} is at {server.uri} until Ctrl-C", flush=True)
        ended.wait()
    return None


def compare_jobs(
    first: Job,
    second: Job,
    /,
    *,
    servers: Annotated[
        tuple[str, ...],
        Parameter(
            name="--source",
            help="Address of the jobs' server; give two, the first job's first, if they differ.",
            show_default=False,
        ),
    ] = (),
    store: Store = DEFAULT_STORE,
) -> None:
    """Compare two jobs of a store: which is slower, by how much, in which phase."""
    from importstats.reports.versus import versus_markdown

    if len(servers) > 2:
        raise UsageError(
            "compare takes --source at most twice: for the first and for the second job"
        )
    opened = SnapshotStore(store)
    of_each = (servers[0], servers[-1]) if servers else (None, None)
    jobs, details = zip(
        *(
            frames_of_job(opened, job, server)
            for job, server in zip((first, second), of_each, strict=True)
        ),
        strict=True,
    )
    found = compare_two_jobs(*jobs, *details)
    one, other = job_names(*jobs)
    print(versus_markdown(found, (f"job {one}", f"job {other}")), end="")


_FORMS_BY_ENDING: Final[Mapping[str, Literal["html", "md", "json"]]] = {
    ".html": "html",
    ".htm": "html",
    ".md": "md",
    ".json": "json",
}


def _form_by_ending(out: Path | None) -> Literal["html", "md", "json"]:
    """The report's form for a file's ending."""
    if out is None:
        return "md"
    if out.suffix.lower() not in _FORMS_BY_ENDING:
        raise UsageError(
            f"a report cannot be a {out.suffix or 'file without an ending'}: name the file "
            f"{out.stem}.html, .md or .json, or give --format"
        )
    return _FORMS_BY_ENDING[out.suffix.lower()]


def _check_picture(_type: object, path: Path | None) -> None:
    """Refuse a file that cannot hold a figure, before the work is done."""
    from matplotlib.figure import Figure

    if path is None:
        return
    forms = Figure().canvas.get_supported_filetypes()
    if path.suffix[1:].lower() not in forms:
        raise ValueError(f"no figure can be a {path.suffix or 'file without an ending'}; use .png")
    in_a_folder(_type, path)


Picture = Annotated[Path | None, Parameter(validator=_check_picture)]


def score_methods(
    store: StoreArgument = DEFAULT_STORE,
    /,
    *,
    per_job: Annotated[
        int,
        Parameter(help="Score at most this many snapshots of each job.", validator=Number(gte=1)),
    ] = 50,
    plot: Annotated[
        Picture, Parameter(help="Write a figure of the error over the jobs' life.")
    ] = None,
    server: Server = None,
    output: Output = "table",
) -> None:
    """Replay the completed jobs of a store and score the ETA beside the simple methods."""
    from importstats.analysis.baselines import BASELINES
    from importstats.analysis.scoring import backtest

    opened = SnapshotStore(store)
    source = known_source(opened, server)
    jobs = load_jobs(opened, source_uri=source)
    details = load_details(opened, source_uri=source, runs=True)
    result = backtest(jobs, details, ["eta", *BASELINES], history=jobs, per_job=per_job)
    if output == "table":
        terminal.print_scores(output_console(), result)
    else:
        tables = {"by_phase": result.by_phase, "overall": result.overall}
        print_tables(output, "importstats.backtest/1", tables)
    if plot is not None:
        from matplotlib.figure import Figure

        from importstats.plots import plot_eta_error

        figure = Figure(figsize=(8, 4), layout="constrained")
        plot_eta_error(result.by_tenth, ax=figure.subplots())
        figure.savefig(plot, dpi=150)
        print(f"wrote {plot}", file=sys.stderr)


def show_fleet(
    store: StoreArgument = DEFAULT_STORE,
    /,
    *,
    scheduler: Annotated[
        str | None,
        Parameter(
            help="Where to do the work: synchronous (here), processes (local), or the address "
            "of a Dask scheduler, tcp://host:8786. Default: here for few jobs, else processes."
        ),
    ] = None,
    since: Annotated[
        datetime | None, Parameter(help="Only jobs seen at or after this time; UTC if no zone.")
    ] = None,
    plot: Annotated[Picture, Parameter(help="Write a figure of the fleet.")] = None,
    out: Annotated[
        Path | None,
        Parameter(
            name=("--out", "-o"),
            validator=in_a_folder,
            help="Write a page (index.html) that links to a page for every job.",
        ),
    ] = None,
    server: Server = None,
    output: Output = "table",
) -> None:
    """Analyse all jobs of a store: ETAs, slow collections, failure causes, rates, phases."""
    from importstats.fleets import fleet

    if since is not None and since.tzinfo is None:
        since = since.replace(tzinfo=UTC)
    opened = SnapshotStore(store)
    source = known_source(opened, server)
    found = fleet(opened, scheduler=scheduler, since=since, source_uri=source)
    if output == "table":
        terminal.print_fleet(output_console(), found)
    else:
        names = ("running", "collections", "failures", "throughput", "phases", "jobs")
        tables = {name: getattr(found, name) for name in names}
        print_tables(output, "importstats.fleet/1", tables)
    if out is not None:
        from importstats.reports.fleet_page import write_fleet

        count = write_fleet(found, opened, out)
        print(f"wrote {out} and the pages of {count:,} jobs", file=sys.stderr)
    if plot is not None:
        from importstats.plots.fleet import plot_fleet

        plot_fleet(found).savefig(plot, dpi=150)
        print(f"wrote {plot}", file=sys.stderr)
