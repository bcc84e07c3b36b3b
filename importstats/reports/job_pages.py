"""Job pages: a page for each of many jobs, and a page whose table links to them."""

from __future__ import annotations

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
from importstats.show.pages import csp_hash, render
from importstats.store import SnapshotStore
from importstats.store.frames import load_details
from importstats.version import __version__

# The headings of columns of numbers.
_NUMBERS: Final = frozenset({"done", "rows", "rate", "took"})


@dataclass(frozen=True)
class JobRow:
    """A job's row in the table: its key, its cells, and whether it has a page to link to."""

    source_uri: str
    job_id: str
    cells: Sequence[str]
    has_page: bool = True
    #: warning or critical for a job to look at.
    severity: str = ""

    @property
    def page_name(self) -> str:
        """The file name of a job's page: always the same, and safe for any text from a server."""
        key = f"{self.source_uri}\0{self.job_id}"
        return f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.html"


def folder_of(path: Path) -> Path:
    """The folder next to a page that has its jobs' pages."""
    return path.with_name(f"{path.stem}.jobs")


def write_job_pages(
    path: Path, rows: Sequence[JobRow], store: SnapshotStore, every: pd.DataFrame, at: datetime
) -> int:
    """Write each job's page to the folder next to a page; returns how many were written.

    `every` is the store's whole jobs frame.

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
    """The page at a path, with a table of jobs that links to the jobs' pages.

    `headline` is the state of all jobs in one line. Each finding has a ``severity`` and a ``text``.
    """
    style = Markup(plain_style())  # noqa: S704 -- ours, without a value
    folder = folder_of(path).name
    return render(
        "importstats.reports",
        "jobs.html.jinja",
        style=style,
        policy=f"default-src 'none'; style-src '{csp_hash(style)}'; base-uri 'none'",
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
