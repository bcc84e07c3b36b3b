"""A fleet's page: every job of a store in a table, with links to the jobs' pages."""

from __future__ import annotations

from datetime import UTC
from pathlib import Path
from typing import Any, Final

import pandas as pd

from importstats.analysis.words import clock
from importstats.fleets import Fleet
from importstats.reports.job_pages import JobRow, jobs_html, write_job_pages
from importstats.reports.live import write_whole
from importstats.store import SnapshotStore
from importstats.store.frames import load_jobs
from importstats.text import UNKNOWN, format_count, format_duration, format_percent, format_rate

_HEADINGS: Final = ("job", "collection", "phase", "done", "ends", "rows", "rate", "took", "server")

_SEVERITIES: Final = {"lost": "warning", "failed": "critical"}


def write_fleet(tables: Fleet, store: SnapshotStore, path: Path) -> int:
    """Write a page (``index.html``) with a row for every job, and a page for each of them.

    The jobs' pages are in the folder ``index.jobs``; returns how many there are.

    Raises
    ------
    StoreError
        A file cannot be written, or the store cannot be read.
    """
    rows = _fleet_rows(tables)
    pages = write_job_pages(path, rows, store, load_jobs(store), tables.at)
    counts = tables.jobs["status"].value_counts(sort=False)
    said = ", ".join(f"{count:,} {status}" for status, count in counts.items() if count)
    write_whole(
        path, jobs_html(path, _HEADINGS, rows, headline=said or "no jobs", at=tables.at, zone=UTC)
    )
    return pages


def _fleet_rows(tables: Fleet) -> list[JobRow]:
    """The rows of all jobs: running ones first, then the lost and the failed; the latest first."""
    running = {(job["source_uri"], job["job_id"]): job for job in tables.running.to_dict("records")}
    order = tables.jobs.sort_values(
        ["status", "started_at"], ascending=[True, False], kind="stable"
    )
    return [
        JobRow(
            str(job["source_uri"]),
            str(job["job_id"]),
            _job_cells(job, running.get((job["source_uri"], job["job_id"])), tables),
            severity=_SEVERITIES.get(str(job["status"]), ""),
        )
        for job in order.to_dict("records")
    ]


def _job_cells(job: dict[Any, Any], running: dict[Any, Any] | None, tables: Fleet) -> list[str]:
    end = job["ended_at"] if running is None else running["eta_p50"]
    rate = job["rows_per_s"]
    # A failed job's progress is 0, and the phase of a job not seen for long is only the last known.
    failed, lost = (str(job["status"]) == status for status in ("failed", "lost"))
    return [
        str(job["job_id"]),
        UNKNOWN if pd.isna(job["collection_name"]) else str(job["collection_name"]),
        f"was {job['phase']}" if lost else str(job["phase"]),
        UNKNOWN if failed else format_percent(job["progress_pct"]),
        UNKNOWN if pd.isna(end) else clock(end, tables.at, UTC),
        format_count(job["rows"]),
        UNKNOWN if pd.isna(rate) or not rate > 0 else format_rate(rate, "rows"),
        format_duration(job["duration_s"]),
        str(job["source_uri"]),
    ]
