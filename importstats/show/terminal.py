"""Tables for the terminal: what ``summary``, ``jobs``, ``backtest`` and ``fleet`` print."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Any, Final

import pandas as pd
from rich.console import Console
from rich.text import Text

from importstats.show.fitting import Column, FittingTable, Kind, id_text, name_text
from importstats.show.styles import PHASE_STYLES, SEVERITY_STYLES
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

if TYPE_CHECKING:
    # The modules that make them take as long to import as the whole table of a small store.
    from importstats.analysis.grouped import GroupProgress
    from importstats.analysis.scoring import Backtest
    from importstats.fleets import Fleet

Row = Mapping[Hashable, Any]
Cell = Callable[[Row], str | Text]
# Heading, kind, priority if there is too little room, and the function that makes a row's cell.
Spec = tuple[str, Kind, int, Cell]


def print_summary(console: Console, totals: pd.DataFrame) -> None:
    """Print a line for each job of a summary: state, rows, rates, and its server if they differ."""
    server: list[Spec] = [("server", "name", 7, lambda job: name_text(job["source_uri"]))]
    if len(set(totals["source_uri"])) <= 1:
        server = []
    _print_rows(
        console,
        totals.to_dict("records"),
        [
            *server,
            ("job", "id", 10, lambda job: id_text(job["job_id"])),
            ("collection", "name", 7, lambda job: name_text(job["collection_name"])),
            ("phase", "id", 9, _phase),
            ("done", "number", 8, lambda job: format_percent(job["progress_pct"])),
            ("files", "number", 3, lambda job: format_count(job["files"])),
            ("rows", "number", 5, lambda job: format_count(job["rows"])),
            ("bytes", "number", 2, lambda job: format_bytes(job["bytes"])),
            ("rows/s", "number", 4, lambda job: format_count(job["rows_per_s"])),
            ("duration", "number", 6, lambda job: format_duration(job["duration_s"])),
            ("snapshots", "number", 1, lambda job: format_count(job["snapshots"])),
        ],
        empty="the store holds no jobs",
    )


def print_group(
    console: Console, group: GroupProgress, findings: pd.DataFrame, *, at: datetime
) -> None:
    """Print a group of jobs: a headline, a line for each job, and what was found."""
    from importstats.analysis.group_words import group_headline

    console.print(group_headline(group, at=at), soft_wrap=True)
    console.print()
    _print_rows(
        console,
        group.jobs.to_dict("records"),
        [
            ("job", "id", 10, lambda job: id_text(job["job_id"])),
            ("collection", "name", 6, lambda job: name_text(job["collection_name"])),
            ("phase", "id", 9, _phase),
            ("done", "number", 8, lambda job: format_percent(job["progress_pct"])),
            ("rows", "number", 5, lambda job: format_count(job["rows"])),
            ("duration", "number", 4, lambda job: format_duration(job["duration_s"])),
            ("end", "number", 7, _group_end),
        ],
        empty="no jobs",
    )
    for row in findings.head(_NOTES).to_dict("records"):
        note = f"{row['severity']}: job {printable(row['job_id'], 60)}: {row['message']}"
        console.print(Text(printable(note, 400), style=SEVERITY_STYLES[str(row["severity"])]))
    if len(findings) > _NOTES:
        more = len(findings) - _NOTES
        named = "finding" if more == 1 else "findings"
        console.print(f"and {more:,} more {named}: see --out or --output json")


def _group_end(job: Row) -> str:
    """When a group's job ended or should end, with a mark if it is the last."""
    ended = bool(pd.notna(job["ended_at"]))
    end = format_time(job["ended_at"] if ended else job["eta_p50"], day=True)
    return f"{'' if ended or end == UNKNOWN else 'about '}{end}{' *' if job['is_last'] else ''}"


def print_job_list(console: Console, listed: pd.DataFrame, *, empty: str) -> None:
    """Print the jobs that a server lists, and how many others each pending one waits for."""
    ahead: list[Spec] = [("ahead", "number", 7, lambda row: format_count(row["ahead"]))]
    if listed["ahead"].isna().all():
        ahead = []
    _print_rows(
        console,
        listed.to_dict("records"),
        [
            ("job", "id", 10, lambda row: id_text(row["job_id"])),
            ("collection", "name", 7, lambda row: name_text(row["collection_name"])),
            ("state", "id", 9, lambda row: name_text(row["state"])),
            ("progress", "number", 8, lambda row: format_percent(row["progress_pct"])),
            *ahead,
            ("reason", "text", 6, _reason_cell),
        ],
        empty=empty,
    )


def _reason_cell(row: Row) -> Text:
    return name_text(row["reason"]) if isinstance(row["reason"], str) else Text("")


def print_scores(console: Console, result: Backtest) -> None:
    """Print each ETA method's errors, overall and by phase."""
    for title, scores in (("overall", result.overall), ("by phase", result.by_phase)):
        phase: list[Spec] = [("phase", "id", 9, lambda row: str(row["phase"]))]
        if "phase" not in scores:
            phase = []
        answered = scores[scores["support"].eq("answered")]
        console.print(f"\n{title}")
        _print_rows(
            console,
            answered.to_dict("records"),
            [
                *phase,
                ("method", "id", 10, lambda row: str(row["method"])),
                ("snapshots", "number", 1, lambda row: format_count(row["snapshots"])),
                ("median error", "number", 8, _percent_of("median_relative_error")),
                ("P90 error", "number", 6, _percent_of("p90_relative_error")),
                ("80 % interval holds", "number", 7, _percent_of("coverage_80")),
                ("silent", "number", 5, _percent_of("silent_share")),
            ],
            empty="no completed job to score",
        )


def _percent_of(name: str) -> Cell:
    return lambda row: format_percent(100 * row[name])


def print_fleet(console: Console, tables: Fleet, *, zone: tzinfo | None = None) -> None:
    """Print a fleet's tables: running jobs, slow collections, failures, throughput and phases."""
    counts = tables.jobs["status"].value_counts(sort=False)
    console.print(", ".join(f"{count:,} {status}" for status, count in counts.items()))
    _print_running(console, tables.running, zone)
    slowest = tables.collections.head(_SLOWEST_COLLECTIONS).to_dict("records")
    _print_table(console, "slowest collections", slowest, _COLLECTION)
    failures = tables.failures.to_dict("records")
    causes: dict[str, Cell] = {
        **_JOBS,
        "phase": _phase_name,
        "last": lambda row: format_time(row["last_failed_at"], zone, day=True),
        "cause": lambda row: name_text(row["cause"]),
    }
    _print_table(console, "failure causes", failures, causes)
    days = tables.throughput.to_dict("records")
    _print_table(console, "throughput by day (UTC) and cluster", days, _DAY)
    _print_table(console, "phases", tables.phases.to_dict("records"), _SHARE)


def _print_running(console: Console, running: pd.DataFrame, zone: tzinfo | None) -> None:
    styles = running["severity"].astype("str").map(SEVERITY_STYLES).fillna("")
    _print_table(
        console,
        "running now",
        running.assign(style=styles).to_dict("records"),
        {
            "cluster": lambda job: name_text(job["source_uri"]),
            "job": lambda job: id_text(job["job_id"]),
            "collection": lambda job: name_text(job["collection_name"]),
            "phase": _phase_name,
            "done": lambda job: format_percent(job["progress_pct"]),
            "ETA": lambda job: format_time(job["eta_p50"], zone, day=True),
            "90 % sure by": lambda job: format_time(job["eta_p90"], zone, day=True),
        },
    )
    noted = running[running["message"].notna()]
    for job in noted.head(_NOTES).to_dict("records"):
        note = f"job {printable(job['job_id'], 60)}: {printable(job['message'], 300)}"
        console.print(Text(note, style=SEVERITY_STYLES[str(job["severity"])]))


def _phase_name(row: Row) -> str:
    return str(row["phase"])


_SLOWEST_COLLECTIONS: Final = 10
_NOTES: Final = 10
_PRIORITIES: Final = {
    name: 99 - place
    for place, name in enumerate(
        ("job", "cause", "ETA", "phase", "done", "rate", "median", "share")
    )
}
_KINDS: Final[Mapping[str, Kind]] = {
    "job": "id",
    "phase": "id",
    "day": "id",
    "cluster": "name",
    "collection": "name",
    "cause": "text",
}


def _print_table(
    console: Console, title: str, rows: Sequence[Row], columns: Mapping[str, Cell]
) -> None:
    """Print a titled table; each column is made by a function, and a row may have a ``style``."""
    console.print(f"\n{title}", style="bold")
    # If there is too little room, the last columns go first, and the table's main columns last.
    specs = [
        (
            heading,
            _KINDS.get(heading, "number"),
            _PRIORITIES.get(heading, len(columns) - place),
            cell,
        )
        for place, (heading, cell) in enumerate(columns.items())
    ]
    _print_rows(console, rows, specs, empty="none")


def _print_rows(
    console: Console, rows: Sequence[Row], columns: Sequence[Spec], *, empty: str
) -> None:
    """Print a table that fits the console; each column has a heading, a kind and a priority."""
    if not rows:
        console.print(empty)
        return
    console.print(
        FittingTable(
            [
                Column(heading, [cell(row) for row in rows], kind, keep)
                for heading, kind, keep, cell in columns
            ],
            [style if isinstance(style := row.get("style"), str) else "" for row in rows],
        )
    )


def _phase(job: Row) -> Text:
    phase = str(job["phase"])
    return Text(phase, style=PHASE_STYLES.get(phase, ""))


_JOBS: Final[dict[str, Cell]] = {"jobs": lambda row: format_count(row["jobs"])}
_COLLECTION: Final[dict[str, Cell]] = {
    "cluster": lambda row: name_text(row["source_uri"]),
    "collection": lambda row: name_text(row["collection_name"]),
    **_JOBS,
    "failed": lambda row: format_count(row["failed"]),
    "rows": lambda row: format_count(row["rows"]),
    "median": lambda row: format_duration(row["median_duration_s"]),
    "rate": lambda row: format_rate(row["rows_per_s"], "rows"),
}
_DAY: Final[dict[str, Cell]] = {
    "day": lambda row: f"{row['day']:%Y-%m-%d}",
    "cluster": lambda row: name_text(row["source_uri"]),
    **_JOBS,
    "rows": lambda row: format_count(row["rows"]),
    "bytes": lambda row: format_bytes(row["bytes"]),
    "importing": lambda row: format_duration(row["importing_s"]),
    "rate": lambda row: format_rate(row["rows_per_s"], "rows"),
}
_SHARE: Final[dict[str, Cell]] = {
    "cluster": lambda row: name_text(row["source_uri"]),
    "phase": _phase_name,
    **_JOBS,
    "time": lambda row: format_duration(row["duration_s"]),
    "share": lambda row: format_percent(100 * row["share"]),
}
