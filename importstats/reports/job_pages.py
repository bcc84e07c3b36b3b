"""Job pages: a page for each of many jobs, and a page whose table links to them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any, Final

import pandas as pd
from markupsafe import Markup

from importstats.reports import report
from importstats.reports.live import write_whole
from importstats.show.assets import plain_style
from importstats.show.pages import render
from importstats.store import SnapshotStore
from importstats.store.frames import load_details
from importstats.version import __version__

# The headings of columns of numbers.
_NUMBERS: Final = frozenset({"done", "rows", "rate", "took"})


@dataclass(frozen=True)
class JobRow:
    """A job's row in the table: its key, its cells, and whether it has a page to link to.

    `severity` marks a job to look at: warning or critical.
    """

    source_uri: str
    job_id: str
    cells: Sequence[str]
    has_page: bool = True
    severity: str = ""

    @property
    def page_name(self) -> str:
        """The file name of a job's page: the same each time, and safe whatever the server sent."""
        key = f"{self.source_uri}\0{self.job_id}"
        return f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.html"


def folder_of(path: Path) -> Path:
    """The folder next to a page that holds the pages of its jobs."""
    return path.with_name(f"{path.stem}.jobs")


def write_job_pages(
    path: Path, rows: Sequence[JobRow], store: SnapshotStore, every: pd.DataFrame, at: datetime
) -> int:
    """Write each job's page to the folder next to a page; returns how many were written.

    Parameters
    ----------
    path : Path
        The page that links to them.
    rows : sequence of JobRow
    store : SnapshotStore
        The store with the jobs' details.
    every : DataFrame
        The store's jobs frame.
    at : datetime
        Now.

    Raises
    ------
    StoreError
        A file cannot be written, or the store cannot be read.
    """
    folder = folder_of(path)
    folder.mkdir(exist_ok=True)
    paged = [row for row in rows if row.has_page]
    for row in paged:
        own = every[every["job_id"].eq(row.job_id) & every["source_uri"].eq(row.source_uri)]
        details = load_details(store, job_id=row.job_id, source_uri=row.source_uri, runs=True)
        write_whole(folder / row.page_name, report(own, details, at=at, history=every))
    return len(paged)


def jobs_html(
    path: Path,
    headings: Sequence[str],
    rows: Sequence[JobRow],
    *,
    headline: str,
    at: datetime,
    zone: tzinfo,
    findings: Sequence[Mapping[str, Any]] = (),
) -> str:
    """The page with a table of jobs, which links to the jobs' pages.

    Parameters
    ----------
    path : Path
        Where the page will be.
    headings : sequence of str
    rows : sequence of JobRow
    headline : str
        The state of all jobs in one line.
    at : datetime
    zone : tzinfo
        Zone of the times shown.
    findings : sequence of dict, optional
        ``severity`` and ``text`` of each, the severest first.
    """
    style = Markup(plain_style())  # noqa: S704 -- ours, without a value
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    folder = folder_of(path).name
    return render(
        "importstats.reports",
        "jobs.html.jinja",
        style=style,
        policy=f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'",
        headline=headline,
        headings=headings,
        numbers=_NUMBERS,
        rows=[
            {
                "link": f"{folder}/{row.page_name}" if row.has_page else "",
                "cells": row.cells,
                "severity": row.severity,
            }
            for row in rows
        ],
        findings=findings,
        at=at,
        zone=zone,
        version=__version__,
    )
