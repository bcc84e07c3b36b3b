"""Markdown: a report for terminals and code hosts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import tzinfo
from typing import Final

from importstats.reports.tables import (
    MOST_TEXT,
    Table,
    facts_of,
    failure_table,
    long_reason,
    phase_table,
    shown,
    straggler_table,
)
from importstats.show.attention import sentences
from importstats.show.first_screen import first_look
from importstats.show.job import ImportJob
from importstats.text import format_time, printable
from importstats.version import __version__


def to_markdown(job: ImportJob, zone: tzinfo) -> str:
    """The job as Markdown, with tables that line up in a terminal."""
    parts = [
        f"# Import job {_md_code(shown(job.job_id, 80))}",
        f"**{md_text(job.headline)}**",
        f"What to look at first: {md_text(first_look(job))}",
        "\n".join(f"- {name}: {md_text(value)}" for name, value in facts_of(job, zone).items()),
    ]
    reason = long_reason(job)
    if reason:
        parts += ["## Why it failed", _md_code(reason)]
    parts += ["## Phases", md_table(phase_table(job, zone))]
    for title, table in (
        ("Stragglers", straggler_table(job)),
        ("Failed files by cause", failure_table(job)),
    ):
        if table.rows:
            parts += [f"## {title}", md_table(table)]
        if table.note:
            parts.append(table.note)
    if len(job.diagnosis):
        findings = job.diagnosis.itertuples()
        parts += [
            "## Diagnosis",
            "\n".join(
                f"- **{finding.severity}**: {md_text(sentences(finding.message, finding.advice))}"
                for finding in findings
            ),
        ]
    parts.append(f"As of {format_time(job.at, zone, day=True)}, by importstats {__version__}.")
    return "\n\n".join(parts) + "\n"


def md_table(table: Table) -> str:
    """A Markdown table whose columns also line up in a terminal."""
    cells = [
        [
            _md_code(cell) if heading in table.names else md_text(cell)
            for heading, cell in zip(table.headings, row, strict=True)
        ]
        for row in table.rows
    ]
    columns = list(zip(table.headings, *cells, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [heading in table.numbers for heading in table.headings]

    def line(values: Iterable[str]) -> str:
        padded = (
            value.rjust(width) if number else value.ljust(width)
            for value, width, number in zip(values, widths, right, strict=True)
        )
        return f"| {' | '.join(padded)} |"

    rule = (
        "-" * (width - 1) + ":" if number else "-" * width
        for width, number in zip(widths, right, strict=True)
    )
    return "\n".join([line(table.headings), line(rule), *map(line, cells)])


_MD_SPECIAL: Final = re.compile(r"([\\`*\[\]<>|~])|(?<!\w)(_)|(_)(?!\w)")


def md_text(text: str) -> str:
    """The text with all characters escaped that mean something to Markdown or a code host."""
    line = _MD_SPECIAL.sub(r"\\\g<0>", printable(text, MOST_TEXT))
    return line.replace("&", "&amp;").replace("@", "&#64;")


def _md_code(text: str) -> str:
    """A name as code, in which no character is markup."""
    fence = "``" if "`" in text else "`"
    inner = text.replace("``", "' '").replace("|", r"\|")
    return f"{fence} {inner} {fence}" if fence == "``" else f"`{inner}`"
