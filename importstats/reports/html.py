"""HTML: a report as one page for browsers, phones and printers, which needs no network."""

from __future__ import annotations

import base64
from datetime import tzinfo
from typing import Any, Final

import numpy as np
import pandas as pd
from markupsafe import Markup

from importstats.analysis.ranking import delay_text, verdict_text
from importstats.reports.pictures import picture
from importstats.reports.tables import (
    facts_of,
    failure_table,
    long_reason,
    phase_table,
    shown,
    spent_sentence,
    spent_table,
)
from importstats.show.assets import page_script, page_style
from importstats.show.attention import sentences
from importstats.show.first_screen import (
    first_line,
    looks_of,
    phase_strip,
    second_line,
    state_looks,
    tab_title,
)
from importstats.show.job import ImportJob
from importstats.show.page_data import file_columns, packed, script_data
from importstats.show.pages import csp_hash, render
from importstats.text import format_bytes, format_count, format_duration, format_rate, printable
from importstats.version import __version__

#: How many files the page shows to readers without JavaScript.
TOP_FILES: Final = 50
# A column of the table, its heading, and whether it is a number.
_COLUMNS: Final = (
    ("name", "file", False),
    ("state", "state", False),
    ("verdict", "verdict", False),
    ("delay_s", "delays the end by", True),
    ("run_s", "ran", True),
    ("wait_s", "waited", True),
    ("rows_per_s", "rate", True),
    ("imported_rows", "rows", True),
    ("file_size_bytes", "size", True),
    ("retries", "retries", True),
    ("idle_s", "idle", True),
    ("reason", "reason", False),
)
_KINDS: Final = (
    ("all", "All"),
    ("late", "Late or failed now"),
    ("was", "Was late"),
    ("work", "At work"),
    ("waiting", "Waiting"),
    ("done", "Done"),
)
_QUANTILES: Final = (("least", 0.0), ("25 %", 0.25), ("median", 0.5), ("75 %", 0.75), ("most", 1.0))


def to_html(job: ImportJob, zone: tzinfo, *, refresh_s: float | None = None) -> str:
    """The job as one HTML page that needs no network; it reloads itself if it is rewritten."""
    files = file_columns(job)
    data = script_data(job, files, zone)
    strip = phase_strip(job)
    states = state_looks(data)
    style = Markup(page_style() + _own_style(strip, states))  # noqa: S704 -- ours, without a value
    script = Markup(page_script())  # noqa: S704 -- ours, without a value
    looks = looks_of(job)
    cluster = picture(job.plot_cluster()) if job.knows_its_cluster else None
    return render(
        "importstats.reports",
        "report.html.jinja",
        job=job,
        version=__version__,
        policy=_policy(style, script, refresh_s, pictures=cluster is not None),
        cluster=cluster,
        title=tab_title(job),
        style=style,
        script=script,
        data=base64.b64encode(packed(data)).decode(),
        refresh_s=0 if refresh_s is None else refresh_s,
        headline=first_line(job),
        sub=second_line(job, zone),
        strip=strip,
        look=looks[0],
        more_looks=looks[1:],
        alt=f"Progress and phases over time: {printable(job.headline, 200)}",
        cone=data["eta"] is not None,
        rates=job.rate_text if job.throughput["rows_per_s_window"].gt(0).any() else "",
        states=list(states),
        files=_file_section(files),
        columns=_COLUMNS,
        kinds=_KINDS,
        quantiles=_quantile_rows(files),
        reason="" if (reason := long_reason(job)) in looks[0]["text"] else reason,
        tables=[
            ("Where the time went", spent_sentence(job), spent_table(job)),
            ("Failed files by cause", "", failure_table(job)),
            ("Phases", "", phase_table(job, zone)),
        ],
        findings=[
            {**finding, "text": sentences(finding["message"], finding["advice"])}
            for finding in job.diagnosis.to_dict("records")
        ],
        facts=facts_of(job, zone, brief=True),
        zone=zone,
    )


def _own_style(strip: list[dict[str, Any]], states: dict[str, str]) -> str:
    """The CSS rules that depend on the job, by position; no server's text is in them."""
    rules = []
    for place, part in enumerate(strip, 1):
        look = f"background:{part['look']}"
        rules.append(f".strip i:nth-child({place}){{flex:{part['grow']} 1 0;{look}}}")
        rules.append(f".phases li:nth-child({place}) i{{{look}}}")
    for place, look in enumerate(states.values(), 1):
        rules.append(f".legend li:nth-child({place}) i{{background:{look}}}")
    return "\n".join(rules)


def _file_section(files: pd.DataFrame) -> dict[str, Any]:
    return {
        "shown": len(files),
        "more": max(len(files) - TOP_FILES, 0),
        "rows": [_file_cells(file) for file in files.head(TOP_FILES).to_dict("records")],
    }


def _file_cells(file: dict[Any, Any]) -> list[str]:
    verdict = f"{file['verdict']}, to blame" if file["culprit"] else verdict_text(file)
    return [
        shown(file["file"], 300),
        shown(file["state"], 40),
        verdict,
        *(_number_text(name, file[name]) for name, _, number in _COLUMNS if number),
        "" if pd.isna(file["reason"]) else shown(file["reason"], 200),
    ]


def _number_text(name: str, value: float) -> str:
    if name == "delay_s":
        return delay_text(value)
    if name == "rows_per_s":
        return format_rate(value, "rows")
    if name == "file_size_bytes":
        return format_bytes(value)
    return format_duration(value) if name.endswith("_s") else format_count(value)


def _quantile_rows(files: pd.DataFrame) -> list[list[str]]:
    """Minimum, quartiles and maximum of each column over all files, with linear interpolation."""
    lines = []
    for label, share in _QUANTILES:
        cells = [label]
        for name, _, number in _COLUMNS[1:]:
            known = files[name].dropna().to_numpy(np.float64) if number else np.empty(0)
            cells.append(_number_text(name, float(np.quantile(known, share))) if len(known) else "")
        lines.append(cells)
    return lines


def _policy(style: str, script: str, refresh_s: float | None, *, pictures: bool) -> str:
    """The page's content-security policy: its own style and script, nothing from other places."""
    connect = "'none'" if refresh_s is None else "'self'"
    images = "img-src data:; " if pictures else ""
    return (
        f"default-src 'none'; style-src '{csp_hash(style)}'; script-src '{csp_hash(script)}'; "
        f"{images}connect-src {connect}; base-uri 'none'; form-action 'none'"
    )
