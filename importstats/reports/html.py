"""HTML: a report as one page that needs no network, for any browser, phone and printer."""

from __future__ import annotations

import base64
import hashlib
from datetime import tzinfo
from functools import lru_cache
from importlib import resources
from typing import Any, Final
from urllib.parse import urlencode

import numpy as np
import pandas as pd
from markupsafe import Markup

from importstats.analysis.ranking import delay_text, verdict_text
from importstats.analysis.words import eta_text, left_text
from importstats.names import END_PHASES
from importstats.plots.style import FILE_STATE_COLORS, OTHER_COLOR, PHASE_COLORS
from importstats.reports.page_data import file_columns, packed, page_data
from importstats.reports.tables import (
    facts_of,
    failure_table,
    first_look,
    long_reason,
    phase_table,
    shown,
    spent_sentence,
    spent_table,
)
from importstats.show.attention import sentences
from importstats.show.job import ImportJob
from importstats.show.pages import render
from importstats.text import (
    format_bytes,
    format_count,
    format_duration,
    format_percent,
    format_rate,
    printable,
)
from importstats.version import __version__

#: So many files are in the page for readers without JavaScript.
TOP_FILES: Final = 50
_MORE_LOOKS: Final = 3
_SCRIPTS: Final = (
    "format.js",
    "data.js",
    "state.js",
    "table.js",
    "timeline.js",
    "live.js",
    "main.js",
)
# Column of the table, its heading, whether it is a number.
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
_STATES: Final = {"": "waiting", "none": "waiting", "pending": "waiting", "inprogress": "importing"}
_STATES_MORE: Final = {"unseen": "imported between two polls", "completed": "done"}


def to_html(job: ImportJob, zone: tzinfo, *, refresh_s: float | None = None) -> str:
    """The job as a page.

    Parameters
    ----------
    job : ImportJob
    zone : tzinfo
        Zone of the times shown.
    refresh_s : float, optional
        The page is written anew about so often, and shows the newest by itself.
    """
    files = file_columns(job)
    data = page_data(job, files, zone)
    strip = _strip(job)
    states = _states(data)
    style = Markup(_style() + _own_style(strip, states))  # noqa: S704 -- ours, without a value
    script = Markup(_script())  # noqa: S704 -- ours, without a value
    severity = str(job.diagnosis["severity"].iloc[0]) if len(job.diagnosis) else "info"
    if job.looks:
        severity = job.looks[0].severity
    looks = [_look(job, look) for look in job.looks[: _MORE_LOOKS + 1]]
    return render(
        "importstats.reports",
        "report.html.jinja",
        job=job,
        version=__version__,
        policy=_policy(style, script, refresh_s),
        title=_title(job),
        style=style,
        script=script,
        data=packed(data),
        refresh_s=0 if refresh_s is None else refresh_s,
        headline=_headline(job),
        sub=_sub(job, zone),
        strip=strip,
        severity="critical" if job.phase == "Failed" else severity,
        look=looks[0] if looks else {"text": first_look(job), "link": None},
        more_looks=looks[1:],
        alt=f"Progress and phases over time: {printable(job.headline, 200)}",
        cone=data["eta"] is not None,
        rates=job.rate_text if job.throughput["rows_per_s_window"].gt(0).any() else "",
        states=list(states),
        files=_files(files),
        columns=_COLUMNS,
        kinds=_KINDS,
        quantiles=_quantiles(files),
        reason=long_reason(job),
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


def _headline(job: ImportJob) -> str:
    if job.phase in END_PHASES or job.stale:
        return job.headline
    return left_text(job.eta_frame, job.at)


def _sub(job: ImportJob, zone: tzinfo) -> str:
    """Phase, progress and the time of the end, said once on the page."""
    if job.phase in END_PHASES or job.stale:
        return ""
    text = f"{job.phase}, {format_percent(job.progress_pct)}"
    if pd.notna(job.eta["eta_p50"]):
        text += f": {eta_text(job.eta_frame, zone)}"
    return f"{text},"


def _title(job: ImportJob) -> str:
    """What is to be seen in a row of tabs: the time left first."""
    name = printable(job.collection_name or job.job_id, 60)
    if job.phase in END_PHASES or job.stale or pd.isna(job.eta["eta_p50"]):
        state = f"Was {job.phase}" if job.stale else job.phase
        return f"{state} · {name} · import job {printable(job.job_id, 60)}"
    left = left_text(job.eta_frame, job.at).split(" (")[0]
    progress = f"{job.phase} {format_percent(job.progress_pct)}"
    return f"{left} · {progress} · {name} · import job {printable(job.job_id, 60)}"


def _look(job: ImportJob, look: Any) -> dict[str, Any]:
    link = None
    if look.file_index is not None:
        own = job.stragglers[job.stragglers["file_index"].eq(look.file_index)]
        if len(own):
            link = "#" + urlencode({"file": printable(str(own["file"].iloc[0]), 300)})
    return {"text": look.text, "link": link}


def _strip(job: ImportJob) -> list[dict[str, Any]]:
    """The phases as parts of a strip as wide as they were long; what is to come is dotted."""
    runs = job.phases
    parts = []
    last = job.jobs["observed_at"].iloc[-1]
    for run in runs.to_dict("records"):
        phase = str(run["phase"])
        if phase in END_PHASES:
            continue
        current = pd.isna(run["end"])
        seconds = (last - run["start"]).total_seconds() if current else run["duration_s"]
        text = format_duration(seconds)
        if current and job.phase == phase:
            text = f"{format_percent(job.progress_pct)}, {'' if job.stale else 'for '}{text}"
        parts.append({"name": phase, "seconds": seconds, "text": text, "to_come": False})
    if job.phase not in END_PHASES and not job.stale and pd.notna(job.eta["eta_p50"]):
        seconds = max((job.eta["eta_p50"] - job.at).total_seconds(), 0.0)
        left = f"about {left_text(job.eta_frame, job.at).split(' left')[0]}"
        left = left if " left" in left_text(job.eta_frame, job.at) else "overdue"
        parts.append({"name": "to come", "seconds": seconds, "text": left, "to_come": True})
    if job.phase in END_PHASES:
        parts.append({"name": job.phase, "seconds": 0.0, "text": "", "to_come": False})
    return parts


def _own_style(strip: list[dict[str, Any]], states: dict[str, str]) -> str:
    """The rules that depend on the job: widths and colours, by place and never by name."""
    whole = sum(part["seconds"] for part in strip) or 1.0
    rules = []
    for place, part in enumerate(strip, 1):
        grow = max(round(1000 * part["seconds"] / whole), 30 if part["seconds"] else 60)
        color = "" if part["to_come"] else f";border-color:{PHASE_COLORS[part['name']]}"
        rules.append(f".strip li:nth-child({place}){{flex:{grow} 1 0{color}}}")
    for place, color in enumerate(states.values(), 1):
        rules.append(f".legend li:nth-child({place}) i{{background:{color}}}")
    return "\n".join(rules)


def _states(data: dict[str, Any]) -> dict[str, str]:
    """The states that the files' timeline shows, in words, with their colours."""
    words = {**_STATES, **_STATES_MORE}
    return {
        words.get(name, name): FILE_STATE_COLORS.get(name, OTHER_COLOR)
        for name in data["spans"]["state"]["names"]
    }


def _files(files: pd.DataFrame) -> dict[str, Any]:
    return {
        "shown": len(files),
        "more": max(len(files) - TOP_FILES, 0),
        "rows": [_cells(file) for file in files.head(TOP_FILES).to_dict("records")],
    }


def _cells(file: dict[Any, Any]) -> list[str]:
    verdict = f"{file['verdict']}, to blame" if file["culprit"] else verdict_text(file)
    return [
        shown(file["file"], 300),
        shown(file["state"], 40),
        verdict,
        *(_number(name, file[name]) for name, _, number in _COLUMNS if number),
        "" if pd.isna(file["reason"]) else shown(file["reason"], 200),
    ]


def _number(name: str, value: float) -> str:
    if name == "delay_s":
        return delay_text(value)
    if name == "rows_per_s":
        return format_rate(value, "rows")
    if name == "file_size_bytes":
        return format_bytes(value)
    return format_duration(value) if name.endswith("_s") else format_count(value)


def _quantiles(files: pd.DataFrame) -> list[list[str]]:
    """Least, quartiles and most of each column, over all files; linear between neighbours."""
    lines = []
    for label, share in _QUANTILES:
        cells = [label]
        for name, _, number in _COLUMNS[1:]:
            known = files[name].dropna().to_numpy(np.float64) if number else np.empty(0)
            cells.append(_number(name, float(np.quantile(known, share))) if len(known) else "")
        lines.append(cells)
    return lines


def _policy(style: str, script: str, refresh_s: float | None) -> str:
    """The page's content-security policy: its own style and script, and nothing from elsewhere."""
    connect = "'none'" if refresh_s is None else "'self'"
    return (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        f"connect-src {connect}; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@lru_cache(maxsize=1)
def _style() -> str:
    folder = resources.files("importstats.reports")
    texts = [(folder / "vendor" / "uPlot.min.css"), (folder / "page" / "style.css")]
    return "\n".join(text.read_text(encoding="utf-8") for text in texts)


@lru_cache(maxsize=1)
def _script() -> str:
    """The page's script, closed in itself, after the libraries it uses."""
    folder = resources.files("importstats.reports")
    libraries = [
        (folder / "vendor" / name).read_text(encoding="utf-8")
        for name in ("uPlot.iife.min.js", "signals-core.min.js")
    ]
    own = [(folder / "page" / name).read_text(encoding="utf-8") for name in _SCRIPTS]
    return "\n".join([*libraries, "(async () => {", '"use strict";', *own, "})();"])
