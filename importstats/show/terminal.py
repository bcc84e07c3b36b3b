"""The terminal view of jobs: what ``watch``, ``summary`` and ``jobs`` print."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any, Final

import pandas as pd
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from importstats.analysis.cut import until
from importstats.analysis.findings import diagnose
from importstats.analysis.forecast import eta
from importstats.analysis.lateness import stragglers
from importstats.analysis.phase import with_phase
from importstats.analysis.rates import throughput
from importstats.analysis.scoring import Backtest
from importstats.analysis.totals import summary
from importstats.fleets import Fleet
from importstats.names import END_PHASES
from importstats.sources.messages import ImportJobRecord
from importstats.text import (
    UNKNOWN,
    format_bytes,
    format_count,
    format_duration,
    format_percent,
    format_rate,
    format_time,
    printable,
)

_PHASE_STYLES: Final = {"Completed": "green", "Failed": "red", "Uncommitted": "yellow"}
_VERDICT_STYLES: Final = {"slow": "yellow", "stuck": "red", "failed": "red", "retried": "magenta"}
_SEVERITY_STYLES: Final = {"info": "", "warning": "yellow", "critical": "red"}
_SLOWEST_FILES: Final = 8
_FINDINGS: Final = 3


def job_view(
    jobs: pd.DataFrame,
    details: pd.DataFrame,
    *,
    at: datetime,
    history: pd.DataFrame | None = None,
    zone: tzinfo | None = None,
) -> RenderableType:
    """One job as a panel: phase, bar, rates, ETA with its interval, slowest files.

    Parameters
    ----------
    jobs, details : DataFrame
        The job's frames, see :mod:`importstats.store.frames`.
    at : datetime
        Now: the view says how old its latest snapshot is.
    history : DataFrame, optional
        Jobs frame of earlier jobs, for the ETA.
    zone : tzinfo, optional
        Zone of the times shown; default the reader's.

    Returns
    -------
    RenderableType
        Something for ``rich.print``.
    """
    jobs = until(jobs, at)
    details = until(details, at, jobs)
    if jobs.empty:
        return Text("waiting for the first snapshot …", style="dim")
    latest = with_phase(jobs).iloc[-1]
    phase = str(latest["phase"])
    lines: list[RenderableType] = [
        _headline(latest, phase),
        _facts(jobs, latest, phase, at=at, history=history, details=details, zone=zone),
    ]
    if phase not in END_PHASES and not details.empty:
        files = _slowest_files(details, at)
        lines += [Text(), files] if files else []
    if pd.notna(latest["reason"]):
        lines.append(Text(f"reason  {printable(str(latest['reason']), 500)}", style="red"))
    collection = latest["collection_name"]
    title = f"job {printable(str(latest['job_id']))}"
    if pd.notna(collection):
        title += f" · {printable(str(collection))}"
    return Panel(Group(*lines), title=Text(title), title_align="left")


def _headline(latest: pd.Series, phase: str) -> RenderableType:
    progress = latest["progress_pct"]
    row = Table.grid(padding=(0, 2), expand=True)
    row.add_column(no_wrap=True)
    row.add_column(ratio=1)
    row.add_column(no_wrap=True)
    bar = ProgressBar(total=100, completed=0 if pd.isna(progress) else float(progress))
    row.add_row(
        Text(phase, style=f"bold {_PHASE_STYLES.get(phase, 'cyan')}"), bar, format_percent(progress)
    )
    return row


def _facts(
    jobs: pd.DataFrame,
    latest: pd.Series,
    phase: str,
    *,
    at: datetime,
    history: pd.DataFrame | None,
    details: pd.DataFrame,
    zone: tzinfo | None,
) -> RenderableType:
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column()
    rows = f"{format_count(latest['imported_rows'])} of {format_count(latest['total_rows'])}"
    facts.add_row("rows", f"{rows}, {format_bytes(latest['file_size_bytes'])} in files")
    facts.add_row("throughput", _throughput_words(jobs))
    facts.add_row("ETA", _eta_words(jobs, details, history, at, zone))
    if not details.empty:
        facts.add_row("files", Text(_file_words(details)))
    for finding in diagnose(jobs, details, at=at).head(_FINDINGS).to_dict("records"):
        style = _SEVERITY_STYLES[str(finding["severity"])]
        facts.add_row("note", Text(printable(str(finding["message"]), 300), style=style))
    age = (at - latest["observed_at"]).total_seconds()
    seen = f"{format_time(latest['observed_at'], zone)}, {len(jobs)} snapshots"
    if phase not in END_PHASES:
        seen += f", {format_duration(max(age, 0))} ago"
    facts.add_row("last heard", seen)
    return facts


def _throughput_words(jobs: pd.DataFrame) -> str:
    rates = throughput(jobs, by="job")
    if rates.empty:
        return UNKNOWN
    latest = rates.iloc[-1]
    now = format_rate(latest["rows_per_s_window"], "rows")
    size = format_rate(latest["bytes_per_s_window"], "B")
    mean = format_rate(latest["rows_per_s_mean"], "rows")
    return f"{now} · {size} in the last minute, {mean} since the start"


def _eta_words(
    jobs: pd.DataFrame,
    details: pd.DataFrame,
    history: pd.DataFrame | None,
    at: datetime,
    zone: tzinfo | None,
) -> str:
    latest = eta(jobs, details, history=history, at=at).iloc[-1]
    if pd.isna(latest["eta_p50"]):
        return f"{UNKNOWN}: {latest['reason']}"
    end = format_time(latest["eta_p50"], zone)
    left = (latest["eta_p50"] - at).total_seconds()
    if str(latest["phase"]) in END_PHASES:
        return f"ended {end}"
    first, last = (format_time(latest[name], zone) for name in ("eta_p10", "eta_p90"))
    return f"{end}, in {format_duration(max(left, 0))} (80 % sure: {first} to {last})"


def _file_words(details: pd.DataFrame) -> str:
    last = details["last_snapshot_id"]
    counts = details.loc[last == last.max(), "state"].astype("str").value_counts()
    states = ", ".join(f"{count:,} {printable(str(state), 30)}" for state, count in counts.items())
    return f"{counts.sum():,}: {states}" if len(counts) else UNKNOWN


def _slowest_files(details: pd.DataFrame, at: datetime) -> Table | None:
    files = stragglers(details, at=at)
    running = files[files["state"].isin(["InProgress", "Retry"]) & files["remaining_s"].notna()]
    slowest = running.nlargest(_SLOWEST_FILES, ["is_straggler", "remaining_s"])
    if slowest.empty:
        return None
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("slowest files", no_wrap=True, overflow="ellipsis", ratio=1)
    for heading in ("rows", "rate", "needs", "verdict"):
        table.add_column(heading, justify="left" if heading == "verdict" else "right")
    for file in slowest.to_dict("records"):
        verdict = str(file["verdict"])
        table.add_row(
            _name(file["file"]),
            f"{format_count(file['imported_rows'])} / {format_count(file['total_rows'])}",
            format_rate(file["rows_per_s"], "rows"),
            format_duration(file["remaining_s"]),
            Text(verdict, style=_VERDICT_STYLES.get(verdict, "")),
        )
    return table


def print_summary(console: Console, jobs: pd.DataFrame) -> None:
    """Print one line per job: state, rows, duration, rates."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("job", no_wrap=True)
    table.add_column("collection", no_wrap=True, min_width=10)
    table.add_column("phase", no_wrap=True)
    for heading in ("done", "files", "rows", "bytes", "rows/s", "duration", "snapshots"):
        table.add_column(heading, justify="right", no_wrap=True)
    for job in summary(jobs).to_dict("records"):
        phase = str(job["phase"])
        table.add_row(
            _name(job["job_id"]),
            _name(job["collection_name"]),
            Text(phase, style=_PHASE_STYLES.get(phase, "")),
            format_percent(job["progress_pct"]),
            format_count(job["files"]),
            format_count(job["rows"]),
            format_bytes(job["bytes"]),
            format_count(job["rows_per_s"]),
            format_duration(job["duration_s"]),
            format_count(job["snapshots"]),
        )
    console.print(table if table.row_count else "the store holds no jobs")


def print_job_list(console: Console, records: Iterable[ImportJobRecord]) -> None:
    """Print the jobs a server lists, one line each."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("job", "collection", "state", "progress"):
        table.add_column(heading, no_wrap=True)
    table.add_column("reason", overflow="fold")
    for record in records:
        table.add_row(
            _name(record.job_id),
            _name(record.collection_name),
            _name(record.state),
            format_percent(record.progress),
            _name(record.reason or ""),
        )
    console.print(table if table.row_count else "the server lists no import jobs")


def print_scores(console: Console, result: Backtest) -> None:
    """Print how well each ETA method did, overall and by phase."""
    for title, scores in (("overall", result.overall), ("by phase", result.by_phase)):
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", title_justify="left")
        groups = [name for name in ("phase",) if name in scores]
        for heading in (*groups, "method"):
            table.add_column(heading)
        for heading in ("snapshots", "median error", "P90 error", "80 % interval holds", "silent"):
            table.add_column(heading, justify="right")
        answered = scores[scores["support"].eq("answered")]
        for row in answered.to_dict("records"):
            table.add_row(
                *(str(row[name]) for name in groups),
                str(row["method"]),
                format_count(row["snapshots"]),
                format_percent(100 * row["median_relative_error"]),
                format_percent(100 * row["p90_relative_error"]),
                format_percent(100 * row["coverage_80"]),
                format_percent(100 * row["silent_share"]),
            )
        console.print(f"\n{title}")
        console.print(table if table.row_count else "no completed job to score")


def print_fleet(console: Console, fleet: Fleet, *, zone: tzinfo | None = None) -> None:
    """Print the tables of a fleet: what runs, what is slow, what fails, rates, phases."""
    counts = fleet.jobs["status"].value_counts(sort=False)
    console.print(", ".join(f"{count:,} {status}" for status, count in counts.items()))
    styles = fleet.running["severity"].astype("str").map(_SEVERITY_STYLES).fillna("")
    _print_table(
        console,
        "running now",
        fleet.running.assign(style=styles).to_dict("records"),
        {
            "cluster": lambda job: _name(job["source_uri"]),
            "job": lambda job: _name(job["job_id"]),
            "collection": lambda job: _name(job["collection_name"]),
            "phase": lambda job: str(job["phase"]),
            "done": lambda job: format_percent(job["progress_pct"]),
            "ETA": lambda job: format_time(job["eta_p50"], zone, day=True),
            "90 % sure by": lambda job: format_time(job["eta_p90"], zone, day=True),
        },
    )
    told = fleet.running[fleet.running["message"].notna()]
    for job in told.head(_NOTES).to_dict("records"):
        note = f"job {printable(job['job_id'], 60)}: {printable(job['message'], 300)}"
        console.print(Text(note, style=_SEVERITY_STYLES[str(job["severity"])]))
    _print_table(
        console,
        "slowest collections",
        fleet.collections.head(_SLOWEST_COLLECTIONS).to_dict("records"),
        {
            "cluster": lambda row: _name(row["source_uri"]),
            "collection": lambda row: _name(row["collection_name"]),
            "jobs": lambda row: format_count(row["jobs"]),
            "failed": lambda row: format_count(row["failed"]),
            "rows": lambda row: format_count(row["rows"]),
            "median": lambda row: format_duration(row["median_duration_s"]),
            "rate": lambda row: format_rate(row["rows_per_s"], "rows"),
        },
    )
    _print_table(
        console,
        "failure causes",
        fleet.failures.to_dict("records"),
        {
            "jobs": lambda row: format_count(row["jobs"]),
            "phase": lambda row: row["phase"],
            "last": lambda row: format_time(row["last_failed_at"], zone, day=True),
            "cause": lambda row: _name(row["cause"]),
        },
    )
    _print_table(
        console,
        "throughput by day (UTC) and cluster",
        fleet.throughput.to_dict("records"),
        {
            "day": lambda row: f"{row['day']:%Y-%m-%d}",
            "cluster": lambda row: _name(row["source_uri"]),
            "jobs": lambda row: format_count(row["jobs"]),
            "rows": lambda row: format_count(row["rows"]),
            "bytes": lambda row: format_bytes(row["bytes"]),
            "importing": lambda row: format_duration(row["importing_s"]),
            "rate": lambda row: format_rate(row["rows_per_s"], "rows"),
        },
    )
    _print_table(
        console,
        "phases",
        fleet.phases.to_dict("records"),
        {
            "cluster": lambda row: _name(row["source_uri"]),
            "phase": lambda row: str(row["phase"]),
            "jobs": lambda row: format_count(row["jobs"]),
            "time": lambda row: format_duration(row["duration_s"]),
            "share": lambda row: format_percent(100 * row["share"]),
        },
    )


_SLOWEST_COLLECTIONS: Final = 10
_NOTES: Final = 10
_LEFT: Final = frozenset({"cluster", "job", "collection", "phase", "cause", "day"})


def _print_table(
    console: Console,
    title: str,
    rows: Sequence[Mapping[Hashable, Any]],
    columns: Mapping[str, Callable[[Mapping[Hashable, Any]], str | Text]],
) -> None:
    """A titled table, each column by what it makes of a row; ``style`` of a row is its style."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in columns:
        table.add_column(heading, justify="left" if heading in _LEFT else "right")
    for row in rows:
        table.add_row(*(cell(row) for cell in columns.values()), style=row.get("style") or None)
    console.print(f"\n{title}", style="bold")
    console.print(table if rows else "none")


def _name(name: object) -> Text:
    """A server's text as it is: never rich's markup, never a terminal escape."""
    return Text(printable(name, 120) if isinstance(name, str) else UNKNOWN)
