"""Tables: a job's facts and tables as text, which each form of a report lays out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Final

import pandas as pd

from importstats.analysis.ranking import delay_text, verdict_text
from importstats.analysis.spent import spent_text
from importstats.analysis.words import clock, eta_text
from importstats.names import END_PHASES
from importstats.reports.data import failures_by_cause, last_files, late_files, state_counts
from importstats.show.job import ImportJob
from importstats.text import (
    UNKNOWN,
    excerpt,
    format_bytes,
    format_count,
    format_duration,
    format_percent,
    format_rate,
    format_time,
    printable,
)

_MOST_STRAGGLERS: Final = 20
_MOST_FAILURES: Final = 20
MOST_TEXT: Final = 2000


def facts_of(job: ImportJob, zone: tzinfo, *, brief: bool = False) -> dict[str, str]:
    """The facts about the job as texts, by name; the brief ones lack state and end."""
    latest = job.jobs.iloc[-1]
    known = job.last_at_work
    estimate = job.eta
    facts = {"Collection": shown(job.collection_name), "Server": shown(job.source_uri)}
    if pd.notna(latest.get("db_name")):
        facts["Database"] = shown(latest["db_name"])
    before = ", before it failed" if job.phase == "Failed" else ""
    if not brief:
        facts["State"] = shown(job.state)
        facts["Phase"] = job.phase
        facts["Progress"] = f"{format_percent(known['progress_pct'])}{before}"
    if job.phase not in END_PHASES and not job.stale and not brief:
        facts["ETA"] = eta_text(job.eta_frame, zone).removeprefix("ends ")
        if pd.notna(estimate["remaining_p50_s"]):
            left = (estimate["eta_p50"] - job.at).total_seconds()
            facts["Time left"] = (
                f"about {format_duration(left)}"
                if left > 0
                else "none according to the estimate: the job is late"
            )
    facts["Rows"] = (
        f"{format_count(known.get('imported_rows'))} of {format_count(known.get('total_rows'))}"
        f"{before}"
    )
    facts["Bytes in files"] = format_bytes(known.get("file_size_bytes"))
    if job.throughput["rows_per_s_window"].gt(0).any():
        facts["Throughput"] = job.rate_text
    counts = state_counts(last_files(job))
    if counts:
        states = ", ".join(f"{count:,} {shown(state, 30)}" for state, count in counts.items())
        facts["Files"] = f"{sum(counts.values()):,}: {states}"
    age = (job.at - latest["observed_at"]).total_seconds()
    facts["Last heard"] = (
        f"{format_time(latest['observed_at'], zone, day=True)}, {format_duration(age)} before this "
        f"report; {len(job.jobs):,} snapshots since "
        f"{format_time(job.jobs['observed_at'].iloc[0], zone, day=True)}"
    )
    return facts


def shown(text: object, limit: int = 160) -> str:
    """A server's text on one line, or ``unknown``."""
    return UNKNOWN if pd.isna(text) else printable(str(text), limit)  # type: ignore[call-overload]


def long_reason(job: ImportJob) -> str:
    """Why the job failed, if that is too long for the headline; otherwise empty."""
    reason = excerpt(job.reason or "", MOST_TEXT)
    return reason if reason != excerpt(reason) else ""


@dataclass(frozen=True)
class Table:
    """Headings and cells as texts; which columns are numbers, and which are a server's text."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: Collection[str]
    names: Collection[str] = ()
    note: str = ""


def phase_table(job: ImportJob, zone: tzinfo) -> Table:
    """The phases: when each began, how long it took, and how uncertain that is."""
    rows = [
        [
            str(run["phase"]),
            clock(run["start"], job.at, zone, named=False),
            format_duration(run["duration_s"]) if pd.notna(run["duration_s"]) else "",
            format_duration(run["uncertainty_s"]) if pd.notna(run["uncertainty_s"]) else "",
            f"{run['snapshots']:,}",
        ]
        for run in job.phases.to_dict("records")
    ]
    start = f"start ({job.at.astimezone(zone).tzname()})"
    headings = ["phase", start, "duration", "uncertain by", "snapshots"]
    return Table(headings, rows, numbers=headings[2:])


def spent_table(job: ImportJob) -> Table:
    """How long each phase took, next to the earlier jobs of the collection."""
    spent = job.spent
    earlier = bool(spent["earlier_jobs"].gt(0).any())
    rows = [
        [
            row["phase"],
            format_duration(row["duration_s"]),
            format_percent(round(100 * row["share"], 1)),
            *(
                [format_duration(row["earlier_s"]), format_count(row["earlier_jobs"])]
                if earlier
                else []
            ),
        ]
        for row in spent.to_dict("records")
    ]
    headings = ["phase", "took", "of the time"]
    headings += ["median of earlier jobs", "earlier jobs"] if earlier else []
    return Table(headings, rows, numbers=headings[1:])


def spent_sentence(job: ImportJob) -> str:
    """A sentence: where the time went, and which file cost most of it."""
    text = spent_text(job.spent)
    files = job.stragglers
    if text and len(files):
        was = files[files["matters"].astype("str").eq("was") & files["delay_s"].gt(1)]
        if len(was):
            worst = was.iloc[0]
            text += f"; {shown(worst['file'], 80)} cost {format_duration(worst['delay_s'])}"
    return text


def straggler_table(job: ImportJob) -> Table:
    """The stragglers, those that delay the job most first."""
    late = late_files(job)
    rows = [
        [
            shown(file["file"]),
            verdict_text(file),
            delay_text(file["delay_s"]),
            format_rate(file["rows_per_s"], "rows"),
            f"{format_count(file['imported_rows'])} of {format_count(file['total_rows'])}",
            format_bytes(file["file_size_bytes"]),
        ]
        for file in late.head(_MOST_STRAGGLERS).to_dict("records")
    ]
    headings = ["file", "verdict", "delays the job by", "rate", "rows", "size"]
    more = len(late) - len(rows)
    note = f"{more:,} more delay the job by less, or not at all." if more > 0 else ""
    return Table(headings, rows, numbers=headings[2:], names=["file"], note=note)


def failure_table(job: ImportJob) -> Table:
    """The failed files by cause."""
    failures = failures_by_cause(last_files(job))
    rows = [
        [
            excerpt(failure["reason"], 500) if failure["reason"] else "no reason given",
            f"{failure['files']:,}",
            ", ".join(shown(name, 80) for name in failure["culprits"]) or "none is named",
            ", ".join(shown(name, 80) for name in failure["examples"]),
        ]
        for failure in failures[:_MOST_FAILURES]
    ]
    more = len(failures) - len(rows)
    note = f"{more:,} more causes." if more > 0 else ""
    headings = ["reason", "files", "to blame", "such as"]
    return Table(
        headings, rows, numbers=["files"], names=["reason", "to blame", "such as"], note=note
    )
