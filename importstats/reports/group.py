"""A group of jobs as Markdown: one headline, one table, one list of findings."""

from __future__ import annotations

from collections.abc import Hashable
from datetime import datetime, tzinfo
from typing import Any

import pandas as pd

from importstats.analysis.group_words import group_headline
from importstats.analysis.grouped import GroupProgress
from importstats.reports.markdown import md_table, md_text
from importstats.reports.tables import Table
from importstats.show.attention import sentences
from importstats.text import UNKNOWN, format_count, format_duration, format_percent, format_time
from importstats.version import __version__

_HEADINGS = ("job", "collection", "phase", "done", "rows", "took", "ends about")


def group_markdown(
    group: GroupProgress, findings: pd.DataFrame, *, at: datetime, zone: tzinfo
) -> str:
    """A report of a group for terminals and code hosts.

    Parameters
    ----------
    group : GroupProgress
        See :func:`importstats.group_progress`.
    findings : DataFrame
        Of its jobs, see :func:`importstats.diagnose`.
    at : datetime
    zone : tzinfo
        Of the times that it shows.
    """
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
