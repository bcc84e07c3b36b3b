"""A page of a fleet: every job of a store in a table that links to its page."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC
from pathlib import Path
from typing import Any, Final

import pandas as pd
from markupsafe import Markup

from importstats.analysis.words import clock
from importstats.fleets import Fleet
from importstats.reports import report
from importstats.reports.live import write_whole
from importstats.show.assets import plain_style
from importstats.show.pages import render
from importstats.store import SnapshotStore
from importstats.store.frames import load_details, load_jobs
from importstats.text import UNKNOWN, format_count, format_duration, format_percent, format_rate
from importstats.version import __version__

_HEADINGS: Final = ("job", "collection", "server", "phase", "done", "ends", "rows", "rate", "took")


def write_fleet(tables: Fleet, store: SnapshotStore, path: Path) -> int:
    """Write a page with a row for every job, and beside it a folder with a page for each.

    Parameters
    ----------
    tables : Fleet
    store : SnapshotStore
        The store that it is of.
    path : Path
        The page, such as ``index.html``; the others are in ``index.jobs/``.

    Returns
    -------
    int
        How many jobs have a page.

    Raises
    ------
    StoreError
        A file cannot be written, or the store cannot be read.
    """
    folder = path.with_name(f"{path.stem}.jobs")
    folder.mkdir(exist_ok=True)
    every = load_jobs(store)
    jobs = tables.jobs.to_dict("records")
    for job in jobs:
        source, number = str(job["source_uri"]), str(job["job_id"])
        own = every[every["job_id"].eq(number) & every["source_uri"].eq(source)]
        details = load_details(store, job_id=number, source_uri=source, runs=True)
        write_whole(folder / _page_name(job), report(own, details, at=tables.at, history=every))
    write_whole(path, fleet_html(tables, folder.name))
    return len(jobs)


def fleet_html(tables: Fleet, folder: str) -> str:
    """The page of a fleet; its links lead to the pages in a folder beside it."""
    running = {(job["source_uri"], job["job_id"]): job for job in tables.running.to_dict("records")}
    order = tables.jobs.assign(rank=tables.jobs["status"].astype("str").ne("running"))
    order = order.sort_values(["rank", "started_at"], ascending=[True, False], kind="stable")
    rows = [
        {
            "link": f"{folder}/{_page_name(job)}",
            "cells": _job_cells(job, running.get((job["source_uri"], job["job_id"])), tables),
        }
        for job in order.to_dict("records")
    ]
    counts = tables.jobs["status"].astype("str").value_counts(sort=False)
    style = Markup(plain_style())  # noqa: S704 -- ours, without a value
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return render(
        "importstats.reports",
        "fleet.html.jinja",
        style=style,
        policy=f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'",
        summary=", ".join(f"{count:,} {status}" for status, count in counts.items()) or "no jobs",
        headings=_HEADINGS,
        rows=rows,
        at=tables.at,
        zone=UTC,
        version=__version__,
    )


def _page_name(job: dict[Any, Any]) -> str:
    """A name that no server can choose, and that is the same each time."""
    key = f"{job['source_uri']}\0{job['job_id']}"
    return f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.html"


def _job_cells(job: dict[Any, Any], running: dict[Any, Any] | None, tables: Fleet) -> list[str]:
    end = job["ended_at"] if running is None else running["eta_p50"]
    # A failed job reports a progress of 0, and what a job not seen for long is doing is unknown.
    rate = job["rows_per_s"]
    failed, lost = (str(job["status"]) == status for status in ("failed", "lost"))
    return [
        str(job["job_id"]),
        UNKNOWN if pd.isna(job["collection_name"]) else str(job["collection_name"]),
        str(job["source_uri"]),
        f"was {job['phase']}" if lost else str(job["phase"]),
        UNKNOWN if failed else format_percent(job["progress_pct"]),
        UNKNOWN if pd.isna(end) else clock(end, tables.at, UTC),
        format_count(job["rows"]),
        UNKNOWN if pd.isna(rate) or not rate > 0 else format_rate(rate, "rows"),
        format_duration(job["duration_s"]),
    ]
