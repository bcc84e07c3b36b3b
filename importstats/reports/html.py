"""HTML: a report as one page for any browser, phone and printer."""

from __future__ import annotations

from datetime import tzinfo

from importstats.reports.figures import drawings_of
from importstats.reports.tables import (
    facts_of,
    failure_table,
    first_look,
    long_reason,
    phase_table,
    straggler_table,
)
from importstats.show.attention import sentences
from importstats.show.job import ImportJob
from importstats.show.pages import render
from importstats.version import __version__


def to_html(job: ImportJob, zone: tzinfo) -> str:
    """The job as a page."""
    severity = str(job.diagnosis["severity"].iloc[0]) if len(job.diagnosis) else "info"
    drawings = drawings_of(job, zone)
    return render(
        "importstats.reports",
        "report.html.jinja",
        job=job,
        version=__version__,
        severity="critical" if job.phase == "Failed" else severity,
        first_look=first_look(job),
        facts=facts_of(job, zone),
        bar_pct=job.last_at_work["progress_pct"],
        reason=long_reason(job),
        drawings=drawings,
        tables=[
            ("Phases", phase_table(job, zone)),
            ("Stragglers", straggler_table(job)),
            ("Failed files by cause", failure_table(job)),
        ],
        findings=[
            {**finding, "text": sentences(finding["message"], finding["advice"])}
            for finding in job.diagnosis.to_dict("records")
        ],
        zone=zone,
    )
