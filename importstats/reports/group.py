"""A group of jobs as Markdown or as a page: a headline, a table and a list of findings."""

from __future__ import annotations

from collections.abc import Hashable
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

import pandas as pd

from importstats.analysis.group_words import group_headline
from importstats.analysis.grouped import GroupProgress
from importstats.reports.job_pages import JobRow, jobs_html, write_job_pages
from importstats.reports.live import write_whole
from importstats.reports.markdown import md_table, md_text
from importstats.reports.tables import Table
from importstats.show.attention import sentences
from importstats.store import SnapshotStore
from importstats.store.frames import load_jobs
from importstats.text import UNKNOWN, format_count, format_duration, format_percent, format_time
from importstats.version import __version__

_HEADINGS = ("job", "collection", "phase", "done", "rows", "took", "ends about")


def group_markdown(
    group: GroupProgress, findings: pd.DataFrame, *, at: datetime, zone: tzinfo
) -> str:
    """A group's report for terminals and code hosts, with its jobs' findings."""
    rows = [_member_cells(row, zone) for row in group.jobs.to_dict("records")]
    parts = [
        f"# {len(group.jobs):,} import jobs",
        f"**{md_text(group_headline(group, at=at, zone=zone))}**",
        md_table(Table(_HEADINGS, rows, names=_HEADINGS[:2], numbers=_HEADINGS[3:6])),
    ]
    if len(findings):
        lines = [
            f"- **{row['severity']}**: job {md_text(row['job_id'])}: "
            f"{md_text(sentences(row['message'], row['advice']))}"
            for row in findings.to_dict("records")
        ]
        parts += ["## Findings", "\n".join(lines)]
    parts.append(f"As of {format_time(at, zone, day=True)}, by importstats {__version__}.")
    return "\n\n".join(parts) + "\n"


def write_group(
    group: GroupProgress,
    findings: pd.DataFrame,
    store: SnapshotStore,
    path: Path,
    *,
    at: datetime,
    zone: tzinfo,
) -> int:
    """Write a group's page (``load.html``), and a page for each of its jobs that was ever seen.

    The jobs' pages are in the folder ``load.jobs``; returns how many there are.

    Raises
    ------
    StoreError
        A file cannot be written, or the store cannot be read.
    """
    every = load_jobs(store)
    answered = every[["source_uri", "job_id"]].astype("str").drop_duplicates()
    seen = set(answered.itertuples(index=False, name=None))
    rows = []
    for row in group.jobs.to_dict("records"):
        key = str(row["source_uri"]), str(row["job_id"])
        rows.append(JobRow(*key, _member_cells(row, zone), has_page=key in seen))
    pages = write_job_pages(path, rows, store, every, at)
    text = jobs_html(
        path,
        _HEADINGS,
        rows,
        headline=group_headline(group, at=at, zone=zone),
        at=at,
        zone=zone,
        findings=[
            {
                "severity": finding["severity"],
                "text": f"job {finding['job_id']}: "
                f"{sentences(finding['message'], finding['advice'])}",
            }
            for finding in findings.to_dict("records")
        ],
    )
    write_whole(path, text)
    return pages


def _member_cells(row: dict[Hashable, Any], zone: tzinfo) -> list[str]:
    end = row["ended_at"] if pd.notna(row["ended_at"]) else row["eta_p50"]
    name = row["collection_name"]
    return [
        str(row["job_id"]),
        name if isinstance(name, str) else UNKNOWN,
        str(row["phase"]),
        format_percent(row["progress_pct"]),
        format_count(row["rows"]),
        format_duration(row["duration_s"]),
        format_time(end, zone, day=True) + (" (last)" if row["is_last"] else ""),
    ]
