"""One job in the terminal, as ``watch`` shows it and at the end of ``demo``."""

from __future__ import annotations

from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Any, Final

import pandas as pd
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from importstats.analysis.cluster_state import Cluster
from importstats.analysis.cut import rewind
from importstats.analysis.ranking import delay_text, verdict_text
from importstats.analysis.samples import DONE_STATES
from importstats.analysis.words import eta_text, left_text
from importstats.names import END_PHASES
from importstats.show.fitting import Column, FittingTable, name_text
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
    # It takes half a second to import, and tables do not need it.
    from importstats.show.job import ImportJob

_VERDICT_STYLES: Final = {
    "slow": "yellow",
    "unknown": "yellow",
    "stuck": "red",
    "failed": "red",
    "goes back": "magenta",
}
_SLOWEST_FILES: Final = 8
_LOOKS: Final = 3


def job_view(
    jobs: pd.DataFrame,
    details: pd.DataFrame,
    *,
    at: datetime,
    cluster: Cluster | None = None,
    zone: tzinfo | None = None,
) -> RenderableType:
    """One job as a panel for ``rich.print``: its end, phase, rates, files at work, what to look at.

    Parameters are those of :class:`~importstats.ImportJob`, and `at` is now.
    """
    if rewind(jobs, at).empty:
        return Text("waiting for the first snapshot …", style="dim")
    from importstats.show.job import ImportJob

    job = ImportJob(jobs, details, at, cluster=cluster, zone=zone)
    lines: list[RenderableType] = [_headline(job), _end_text(job, zone)]
    lines += [
        Text(printable(look.text, 400), style=SEVERITY_STYLES[look.severity])
        for look in job.looks[:_LOOKS]
    ]
    lines += [Text(), _facts_table(job, zone)]
    if job.phase not in END_PHASES and not job.stale and not job.details.empty:
        files = _files_at_work(job.stragglers)
        lines += [Text(), files] if files else []
    if job.reason is not None:
        lines.append(Text(f"reason  {printable(job.reason, 500)}", style="red"))
    title = f"job {printable(job.job_id)}"
    if job.collection_name is not None:
        title += f" · {printable(job.collection_name)}"
    return Panel(Group(*lines), title=Text(title), title_align="left")


def _headline(job: ImportJob) -> RenderableType:
    progress = job.progress_pct
    row = Table.grid(padding=(0, 2), expand=True)
    row.add_column(no_wrap=True)
    row.add_column(ratio=1)
    row.add_column(no_wrap=True)
    style = "dim" if job.stale else f"bold {PHASE_STYLES.get(job.phase, 'cyan')}"
    name = f"was {job.phase}" if job.stale else job.phase
    bar = ProgressBar(total=100, completed=0 if progress is None else progress)
    row.add_row(Text(name, style=style), bar, format_percent(progress))
    return row


def _end_text(job: ImportJob, zone: tzinfo | None) -> RenderableType:
    """When the job ends or ended; for a job not seen for long, that it was at work."""
    if job.phase in END_PHASES or job.stale:
        return Text(printable(job.headline, 400))
    text = left_text(job.eta_frame, job.at)
    if pd.notna(job.eta["eta_p50"]):
        text += f", {eta_text(job.eta_frame, zone)}"
    if job.cause:
        text += f": {job.cause}"
    return Text(text, style="bold")


def _facts_table(job: ImportJob, zone: tzinfo | None) -> RenderableType:
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    known = job.last_at_work
    rows = f"{format_count(known.get('imported_rows'))} of {format_count(known.get('total_rows'))}"
    facts.add_row("rows", f"{rows}, {format_bytes(known.get('file_size_bytes'))} in files")
    facts.add_row("throughput", job.rate_text)
    if not job.details.empty:
        facts.add_row("files", Text(_file_words(job.stragglers)))
    seen = job.jobs["observed_at"].iloc[-1]
    count = len(job.jobs)
    text = f"{format_time(seen, zone)}, {count:,} snapshot{'s' * (count != 1)}"
    if job.phase not in END_PHASES:
        text += f", {format_duration(max((job.at - seen).total_seconds(), 0))} ago"
    facts.add_row("last heard", text)
    return facts


def _file_words(files: pd.DataFrame) -> str:
    counts = files["state"].astype("str").value_counts()
    states = ", ".join(f"{count:,} {printable(str(state), 30)}" for state, count in counts.items())
    return f"{counts.sum():,}: {states}" if len(counts) else UNKNOWN


def _files_at_work(files: pd.DataFrame) -> FittingTable | None:
    """The files at work: first those that matter, then those that have taken longest."""
    state = files["state"].astype("str").str.lower()
    # A file with all its rows may be InProgress until its task has ended.
    has_work = ~files["verdict"].astype("str").isin(["waiting", "done"])
    at_work = files[~state.isin(DONE_STATES) & has_work]
    matters = at_work["matters"].astype("str").isin(["failed", "now"])
    rest = at_work[~matters].nlargest(_SLOWEST_FILES, "remaining_s")
    shown = pd.concat([at_work[matters], rest]).head(_SLOWEST_FILES).to_dict("records")
    if not shown:
        return None
    columns = [
        Column("file", [name_text(file["file"]) for file in shown], "name", 9),
        Column("verdict", [_verdict_cell(file) for file in shown], "id", 8),
        Column("delays the end by", [delay_text(file["delay_s"]) for file in shown], keep=6),
        Column("idle", [_duration_text(file.get("idle_s")) for file in shown], keep=5),
        Column("needs", [_duration_text(file["remaining_s"]) for file in shown], keep=7),
        Column("rate", [format_rate(file["rows_per_s"], "rows") for file in shown], keep=4),
        Column("rows", [_rows_text(file) for file in shown], keep=3),
    ]
    # A server that counts the rows of whole files only shows no rate of a file and no pause in it.
    unsaid = {"idle", "rate"}
    return FittingTable(
        [one for one in columns if one.heading not in unsaid or set(one.cells) != {UNKNOWN}]
    )


def _duration_text(seconds: Any) -> str:
    return UNKNOWN if seconds is None or pd.isna(seconds) else format_duration(float(seconds))


def _rows_text(file: dict[Any, Any]) -> str:
    return f"{format_count(file['imported_rows'])} / {format_count(file['total_rows'])}"


def _verdict_cell(file: dict[Any, Any]) -> Text:
    return Text(verdict_text(file), style=_VERDICT_STYLES.get(str(file["verdict"]), ""))
