"""Commands that read a store: ``summary``, ``report``, ``backtest`` and ``fleet``.

What draws is imported where it is drawn: matplotlib would double the start of all the others.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from importstats.cli.options import DEFAULT_STORE, Job, Store, StoreArgument, output_console
from importstats.errors import StoreError
from importstats.show import terminal
from importstats.store import SnapshotStore
from importstats.store.frames import load_details, load_jobs
from importstats.text import printable


def summarise(store: StoreArgument = DEFAULT_STORE, /) -> None:
    """Show every job of a store in one table."""
    terminal.print_summary(output_console(), load_jobs(store))


def write_report(
    job: Job,
    /,
    *,
    out: Annotated[
        Path | None,
        Parameter(
            name=("--out", "-o"),
            help="File to write; its ending names the form. Default: the terminal, as md.",
        ),
    ] = None,
    form: Annotated[
        Literal["html", "md", "json"] | None,
        Parameter(name="--format", help="Form of the report."),
    ] = None,
    store: Store = DEFAULT_STORE,
) -> None:
    """Write a report of one job out of a store: verdict, ETA, figures, diagnosis."""
    from importstats.reports import report

    opened = SnapshotStore(store)
    jobs = load_jobs(opened, job_id=job, gaps=True)
    if jobs["error"].notna().all():
        raise StoreError(f"{opened.uri} holds no snapshot of job {printable(job)}")
    text = report(
        jobs,
        load_details(opened, job_id=job, runs=True),
        at=datetime.now(UTC),
        history=load_jobs(opened),
        form=form or _form_by_ending(out),
    )
    if out is None:
        print(text)
    else:
        out.write_text(text, encoding="utf-8")
        print(f"wrote {out}")


def _form_by_ending(out: Path | None) -> Literal["html", "md", "json"]:
    if out is not None and out.suffix == ".html":
        return "html"
    return "json" if out is not None and out.suffix == ".json" else "md"


def score_methods(
    store: StoreArgument = DEFAULT_STORE,
    /,
    *,
    per_job: Annotated[
        int,
        Parameter(help="Score at most so many snapshots of each job.", validator=Number(gte=1)),
    ] = 50,
    plot: Annotated[
        Path | None, Parameter(help="Write a figure of the error over the jobs' life.")
    ] = None,
) -> None:
    """Replay the completed jobs of a store and score the ETA beside the simple methods."""
    from importstats.analysis.baselines import BASELINES
    from importstats.analysis.scoring import backtest

    opened = SnapshotStore(store)
    jobs = load_jobs(opened)
    details = load_details(opened, runs=True)
    result = backtest(jobs, details, ["eta", *BASELINES], history=jobs, per_job=per_job)
    terminal.print_scores(output_console(), result)
    if plot is not None:
        from matplotlib.figure import Figure

        from importstats.plots import plot_eta_error

        figure = Figure(figsize=(8, 4), layout="constrained")
        plot_eta_error(result.by_tenth, ax=figure.subplots())
        figure.savefig(plot, dpi=150)
        print(f"wrote {plot}")


def show_fleet(
    store: StoreArgument = DEFAULT_STORE,
    /,
    *,
    scheduler: Annotated[
        str | None,
        Parameter(
            help="Where the work is done: synchronous (here), processes (local), or the address "
            "of a Dask scheduler, tcp://host:8786. Default: here for few jobs, else processes.",
        ),
    ] = None,
    since: Annotated[
        datetime | None, Parameter(help="Only jobs seen at or after this time; UTC if no zone.")
    ] = None,
    plot: Annotated[Path | None, Parameter(help="Write a figure of the fleet.")] = None,
) -> None:
    """Analyse all jobs of a store: ETAs, slow collections, failure causes, rates, phases."""
    from importstats.fleets import fleet

    if since is not None and since.tzinfo is None:
        since = since.replace(tzinfo=UTC)
    found = fleet(store, scheduler=scheduler, since=since)
    terminal.print_fleet(output_console(), found)
    if plot is not None:
        from importstats.plots.fleet import plot_fleet

        plot_fleet(found).savefig(plot, dpi=150)
        print(f"wrote {plot}")
