"""Reports: one job as a page, as text or as data, complete in itself.

:func:`report` takes frames and gives text; it reads and writes nothing. The HTML page needs no
other file and no network, and has no script.
"""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any, Final, Literal
from warnings import catch_warnings, filterwarnings
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from importstats import plots
from importstats.analysis.words import clock, eta_text
from importstats.names import END_PHASES
from importstats.show.job import ImportJob, render
from importstats.text import (
    UNKNOWN,
    excerpt,
    format_bytes,
    format_count,
    format_duration,
    format_percent,
    format_rate,
    format_time,
    printable,
)
from importstats.version import __version__

Form = Literal["html", "md", "json"]

#: The ``format`` of the JSON form. A key that is renamed or removed raises the number.
JSON_FORMAT: Final = "importstats.report/1"

_MOST_STRAGGLERS: Final = 20
_MOST_FAILURES: Final = 20
_EXAMPLES: Final = 3
_MOST_TEXT: Final = 2000
# An SVG larger than this is drawn as a PNG instead.
_MOST_SVG_BYTES: Final = 350_000
_INK: Final = "#1f2328"
_PAPER: Final = "#ffffff"
# What a figure takes from the page around it; lines in that blue are too dark for a dark page.
_PAGE_COLORS: Final = {
    _INK: "currentColor",
    _PAPER: "var(--paper)",
    f"stroke: {plots.PHASE_COLORS['Importing'].lower()}": "stroke: var(--blue)",
}


def report(
    jobs: pd.DataFrame,
    details: pd.DataFrame | None = None,
    *,
    at: datetime,
    history: pd.DataFrame | Sequence[pd.DataFrame] | None = None,
    form: Form = "html",
    zone: tzinfo = UTC,
) -> str:
    """A report of one job: where it is, when it ends, what is wrong with it, and the evidence.

    Parameters
    ----------
    jobs, details : DataFrame
        The job's frames, see :mod:`importstats.store.frames`.
    at : datetime
        Now: what came later is left out, and the report says how old the latest snapshot is.
    history : DataFrame or sequence of DataFrame, optional
        Jobs frames of earlier jobs, for the ETA.
    form : {"html", "md", "json"}
        ``html``
            One page with figures, for any browser, phone and printer, light and dark.
        ``md``
            Text with tables, for terminals and code hosts.
        ``json``
            Data, see below.
    zone : tzinfo
        Zone of the times shown in ``html`` and ``md``. A report is passed on, so it is UTC by
        default and not the zone of whoever made it.

    Returns
    -------
    str
        In ``json`` form one object. Times are ISO 8601 in UTC, what is missing is null, names are
        as the server sent them, and units are in the keys:

        ``format``, ``at``, ``headline``
            :data:`JSON_FORMAT`, now, and the job in one line.
        ``job``
            ``source_uri``, ``db_name``, ``job_id``, ``collection_name``, ``state``, ``phase``,
            ``progress_pct``, ``imported_rows``, ``total_rows``, ``file_size_bytes``, ``reason``,
            ``first_observed_at``, ``last_observed_at``, ``snapshots``.
        ``eta``
            ``p10``, ``p50``, ``p90``, ``remaining_p10_s``, ``remaining_p50_s``,
            ``remaining_p90_s``, ``method``, ``reason``.
        ``throughput``
            ``rows_per_s``, ``bytes_per_s`` over the last minute, ``rows_per_s_mean``.
        ``diagnosis``
            A list of ``finding``, ``severity``, ``since``, ``message``, ``advice``, ``evidence``.
        ``phases``
            A list of ``phase``, ``start``, ``end``, ``duration_s``, ``uncertainty_s``,
            ``snapshots``.
        ``files``
            ``count``, and ``states``: how many files there are by their last state.
        ``stragglers``
            A list of ``file_index``, ``file``, ``state``, ``verdict``, ``delay_s``,
            ``remaining_s``, ``elapsed_s``, ``rows_per_s``, ``imported_rows``, ``total_rows``,
            ``file_size_bytes``; the latest first.
        ``failures``
            A list of ``reason``, ``files`` (how many) and ``examples``.

    Raises
    ------
    ValueError
        The frames hold no snapshot by `at`, or several jobs; or there is no such form.

    Examples
    --------
    >>> jobs = pd.DataFrame({
    ...     "source_uri": "http://localhost:19530", "job_id": "7", "collection_name": "books",
    ...     "snapshot_id": [1, 2],
    ...     "observed_at": pd.date_range("2026-05-18", periods=2, freq="60s", tz="UTC"),
    ...     "state": ["Pending", "Completed"], "progress_pct": [5.0, 100.0],
    ...     "imported_rows": [0, 900], "total_rows": [0, 900], "detail_count": [0, 0]})
    >>> now = datetime(2026, 5, 18, 0, 2, tzinfo=UTC)
    >>> print(report(jobs, at=now, form="md").splitlines()[2])
    **Completed at 00:01:00 UTC after 1 min**
    >>> json.loads(report(jobs, at=now, form="json"))["eta"]["p50"]
    '2026-05-18T00:01:00Z'
    """
    if form not in _FORMS:
        raise ValueError(f"form is one of {', '.join(_FORMS)}, not {form!r}")
    return _FORMS[form](ImportJob(jobs, details, at, history=history, zone=zone), zone)


# -- JSON -----------------------------------------------------------------------------------------


def _json(job: ImportJob, _zone: tzinfo) -> str:
    return json.dumps(_data(job), indent=2, allow_nan=False) + "\n"


def _data(job: ImportJob) -> dict[str, Any]:
    latest = job.jobs.iloc[-1]
    estimate = job.eta
    files = _files(job)
    rate = job.throughput.iloc[-1] if len(job.throughput) else pd.Series(dtype="object")
    return {
        "format": JSON_FORMAT,
        "at": _plain(job.at),
        "headline": job.headline,
        "job": {
            "source_uri": job.source_uri,
            **_picked(latest, "db_name", "job_id", "collection_name", "state", "phase"),
            **_picked(latest, "progress_pct", "imported_rows", "total_rows", "file_size_bytes"),
            **_picked(latest, "reason"),
            "first_observed_at": _plain(job.jobs["observed_at"].iloc[0]),
            "last_observed_at": _plain(latest["observed_at"]),
            "snapshots": len(job.jobs),
        },
        "eta": {
            **{name: _plain(estimate[f"eta_{name}"]) for name in ("p10", "p50", "p90")},
            **_picked(estimate, "remaining_p10_s", "remaining_p50_s", "remaining_p90_s"),
            **_picked(estimate, "method", "reason"),
        },
        "throughput": {
            "rows_per_s": _plain(rate.get("rows_per_s_window")),
            "bytes_per_s": _plain(rate.get("bytes_per_s_window")),
            "rows_per_s_mean": _plain(rate.get("rows_per_s_mean")),
        },
        "diagnosis": [
            {
                **_picked(finding, "finding", "severity", "since", "message", "advice"),
                "evidence": json.loads(finding["evidence"]),
            }
            for _, finding in job.diagnosis.iterrows()
        ],
        "phases": _records(
            job.phases, "phase", "start", "end", "duration_s", "uncertainty_s", "snapshots"
        ),
        "files": {"count": len(files), "states": _state_counts(files)},
        "stragglers": _records(_late(job), *_STRAGGLER_KEYS),
        "failures": _failures(files),
    }


_STRAGGLER_KEYS: Final = (
    "file_index",
    "file",
    "state",
    "verdict",
    "delay_s",
    "remaining_s",
    "elapsed_s",
    "rows_per_s",
    "imported_rows",
    "total_rows",
    "file_size_bytes",
)


def _plain(value: Any) -> Any:
    """A value as JSON has it: times as ISO 8601, null for what is missing or not finite."""
    if value is None or value is pd.NaT or value is pd.NA:
        return None
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def _picked(row: pd.Series[Any], *names: str) -> dict[str, Any]:
    return {name: _plain(row.get(name)) for name in names}


def _records(frame: pd.DataFrame, *names: str) -> list[dict[str, Any]]:
    known = [name for name in names if name in frame]
    rows = frame[known].astype("object").itertuples(index=False, name=None)
    return [dict(zip(known, map(_plain, row), strict=True)) for row in rows]


# -- Files ----------------------------------------------------------------------------------------


def _files(job: ImportJob) -> pd.DataFrame:
    """The files as last seen: ``file``, ``state`` and ``reason``."""
    details = job.details
    if details.empty:
        return pd.DataFrame({"file": [], "state": [], "reason": []}, dtype="str")
    last = "last_observed_at" if "last_observed_at" in details else "observed_at"
    latest = details.sort_values(last, kind="stable").drop_duplicates("file", keep="last")
    columns = {name: latest[name].astype("str") for name in ("file", "state")}
    reason = latest["reason"].astype("str") if "reason" in latest else None
    return pd.DataFrame({**columns, "reason": reason}).reset_index(drop=True)


def _state_counts(files: pd.DataFrame) -> dict[str, int]:
    counts = files["state"].fillna("None").value_counts()
    return {str(state): int(count) for state, count in counts.items()}


def _failures(files: pd.DataFrame) -> list[dict[str, Any]]:
    """Failed files by cause. A file's own name in its reason does not make another cause."""
    failed = files[files["state"].str.lower().eq("failed")]
    examples: dict[str | None, list[str]] = {}
    for file, reason in zip(failed["file"], failed["reason"], strict=True):
        cause = str(reason).replace(str(file), "FILE") if pd.notna(reason) else None
        examples.setdefault(cause, []).append(str(file))
    found = [
        {"reason": cause, "files": len(names), "examples": names[:_EXAMPLES]}
        for cause, names in examples.items()
    ]
    return sorted(found, key=lambda failure: -failure["files"])


def _late(job: ImportJob) -> pd.DataFrame:
    return job.stragglers[job.stragglers["is_straggler"].astype("bool")]


# -- Words ----------------------------------------------------------------------------------------


def _facts(job: ImportJob, zone: tzinfo) -> dict[str, str]:
    """What is known of the job, as shown: by its name."""
    latest = job.jobs.iloc[-1]
    known = job.last_at_work
    estimate = job.eta
    facts = {"Collection": _shown(job.collection_name), "Server": _shown(job.source_uri)}
    if pd.notna(latest.get("db_name")):
        facts["Database"] = _shown(latest["db_name"])
    facts["State"] = _shown(job.state)
    facts["Phase"] = job.phase
    before = ", before it failed" if job.phase == "Failed" else ""
    facts["Progress"] = f"{format_percent(known['progress_pct'])}{before}"
    if job.phase not in END_PHASES:
        facts["ETA"] = eta_text(job.eta_frame, zone).removeprefix("ends ")
        if pd.notna(estimate["remaining_p50_s"]):
            left = (estimate["eta_p50"] - job.at).total_seconds()
            facts["Time left"] = (
                f"about {format_duration(left)}" if left > 0 else "none by the estimate: it is late"
            )
    facts["Rows"] = (
        f"{format_count(known.get('imported_rows'))} of {format_count(known.get('total_rows'))}"
        f"{before}"
    )
    facts["Bytes in files"] = format_bytes(known.get("file_size_bytes"))
    if job.throughput["rows_per_s_window"].gt(0).any():
        rate = job.throughput.iloc[-1]
        facts["Throughput"] = (
            f"{format_rate(rate['rows_per_s_window'], 'rows')} in the last minute, "
            f"{format_rate(rate['rows_per_s_mean'], 'rows')} since the first row"
        )
    counts = _state_counts(_files(job))
    if counts:
        states = ", ".join(f"{count:,} {_shown(state, 30)}" for state, count in counts.items())
        facts["Files"] = f"{sum(counts.values()):,}: {states}"
    age = (job.at - latest["observed_at"]).total_seconds()
    facts["Last heard"] = (
        f"{format_time(latest['observed_at'], zone, day=True)}, {format_duration(age)} before this "
        f"report; {len(job.jobs):,} snapshots since "
        f"{format_time(job.jobs['observed_at'].iloc[0], zone, day=True)}"
    )
    return facts


def _shown(text: object, limit: int = 160) -> str:
    return UNKNOWN if pd.isna(text) else printable(str(text), limit)  # type: ignore[call-overload]


def _first_look(job: ImportJob) -> str:
    """What to look at first, in one sentence or two."""
    worst = job.diagnosis.head(1)
    if len(worst) and worst["severity"].iloc[0] != "info":
        return _sentences(worst["message"].iloc[0], worst["advice"].iloc[0])
    if job.phase == "Completed":
        return "Nothing: the job has completed."
    return "Nothing in particular: no warning was found."


def _sentences(*texts: object) -> str:
    """Texts one after the other, each with its full stop."""
    known = [str(text) for text in texts if not pd.isna(text)]  # type: ignore[call-overload]
    return " ".join(f"{text.rstrip(' .')}." for text in known)


def _long_reason(job: ImportJob) -> str:
    """Why the job failed, where that is more than the headline has room for."""
    reason = excerpt(job.reason or "", _MOST_TEXT)
    return reason if reason != excerpt(reason) else ""


@dataclass(frozen=True)
class _Table:
    """Headings and cells as shown; which columns are numbers, and which are a server's text."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: Collection[str]
    names: Collection[str] = ()
    note: str = ""


def _phase_table(job: ImportJob, zone: tzinfo) -> _Table:
    rows = [
        [
            str(run["phase"]),
            clock(run["start"], job.at, zone, named=False),
            format_duration(run["duration_s"]) if pd.notna(run["duration_s"]) else "",
            format_duration(run["uncertainty_s"]) if pd.notna(run["uncertainty_s"]) else "",
            f"{run['snapshots']:,}",
        ]
        for run in job.phases.to_dict("records")
    ]
    start = f"start ({job.at.astimezone(zone).tzname()})"
    headings = ["phase", start, "duration", "uncertain by", "snapshots"]
    return _Table(headings, rows, numbers=headings[2:])


def _straggler_table(job: ImportJob) -> _Table:
    late = _late(job)
    rows = [
        [
            _shown(file["file"]),
            str(file["verdict"]),
            "nothing" if file["delay_s"] == 0 else format_duration(file["delay_s"]),
            format_rate(file["rows_per_s"], "rows"),
            f"{format_count(file['imported_rows'])} of {format_count(file['total_rows'])}",
            format_bytes(file["file_size_bytes"]),
        ]
        for file in late.head(_MOST_STRAGGLERS).to_dict("records")
    ]
    headings = ["file", "verdict", "delays the job by", "rate", "rows", "size"]
    more = len(late) - len(rows)
    note = f"{more:,} more delay the job by less, or not at all." if more > 0 else ""
    return _Table(headings, rows, numbers=headings[2:], names=["file"], note=note)


def _failure_table(job: ImportJob) -> _Table:
    failures = _failures(_files(job))
    rows = [
        [
            excerpt(failure["reason"], 500) if failure["reason"] else "no reason given",
            f"{failure['files']:,}",
            ", ".join(_shown(name, 80) for name in failure["examples"]),
        ]
        for failure in failures[:_MOST_FAILURES]
    ]
    more = len(failures) - len(rows)
    note = f"{more:,} more causes." if more > 0 else ""
    headings = ["reason", "files", "such as"]
    return _Table(headings, rows, numbers=["files"], names=["reason", "such as"], note=note)


# -- Markdown -------------------------------------------------------------------------------------


def _markdown(job: ImportJob, zone: tzinfo) -> str:
    parts = [
        f"# Import job {_md_code(_shown(job.job_id, 80))}",
        f"**{_md_text(job.headline)}**",
        f"What to look at first: {_md_text(_first_look(job))}",
        "\n".join(f"- {name}: {_md_text(value)}" for name, value in _facts(job, zone).items()),
    ]
    reason = _long_reason(job)
    if reason:
        parts += ["## Why it failed", _md_code(reason)]
    parts += ["## Phases", _md_table(_phase_table(job, zone))]
    for title, table in (
        ("Stragglers", _straggler_table(job)),
        ("Failed files by cause", _failure_table(job)),
    ):
        if table.rows:
            parts += [f"## {title}", _md_table(table)]
        if table.note:
            parts.append(table.note)
    if len(job.diagnosis):
        findings = job.diagnosis.itertuples()
        parts += [
            "## Diagnosis",
            "\n".join(
                f"- **{finding.severity}**: {_md_text(_sentences(finding.message, finding.advice))}"
                for finding in findings
            ),
        ]
    parts.append(f"As of {format_time(job.at, zone, day=True)}, by importstats {__version__}.")
    return "\n\n".join(parts) + "\n"


def _md_table(table: _Table) -> str:
    """A table whose columns also line up in a terminal."""
    cells = [
        [
            _md_code(cell) if heading in table.names else _md_text(cell)
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


def _md_text(text: str) -> str:
    """Text that means nothing but itself in Markdown, on code hosts neither."""
    line = _MD_SPECIAL.sub(r"\\\g<0>", printable(text, _MOST_TEXT))
    return line.replace("&", "&amp;").replace("@", "&#64;")


def _md_code(text: str) -> str:
    """A name as code, in which nothing is markup."""
    fence = "``" if "`" in text else "`"
    inner = text.replace("``", "' '").replace("|", r"\|")
    return f"{fence} {inner} {fence}" if fence == "``" else f"`{inner}`"


# -- HTML -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Drawing:
    """A figure of the page: its markup, and what it shows in words."""

    title: str
    caption: str
    markup: Markup


def _html(job: ImportJob, zone: tzinfo) -> str:
    severity = str(job.diagnosis["severity"].iloc[0]) if len(job.diagnosis) else "info"
    drawings = _drawings(job, zone)
    return render(
        "report.html.jinja",
        job=job,
        version=__version__,
        severity="critical" if job.phase == "Failed" else severity,
        first_look=_first_look(job),
        facts=_facts(job, zone),
        bar_pct=job.last_at_work["progress_pct"],
        reason=_long_reason(job),
        drawings=drawings,
        tables=[
            ("Phases", _phase_table(job, zone)),
            ("Stragglers", _straggler_table(job)),
            ("Failed files by cause", _failure_table(job)),
        ],
        findings=[
            {**finding, "text": _sentences(finding["message"], finding["advice"])}
            for finding in job.diagnosis.to_dict("records")
        ],
        zone=zone,
    )


def _drawings(job: ImportJob, zone: tzinfo) -> list[_Drawing]:
    estimates = job.eta_history
    drawn = [
        _drawing(
            "Progress",
            "Progress in percent over time, as the server sent it, on bands that name the hidden "
            "phase. The grey cone leads to the earliest, most likely and latest end.",
            4.2,
            lambda ax: plots.plot_progress(job.jobs, job.eta_frame, zone=zone, ax=ax),
        )
    ]
    if job.throughput["rows_per_s_window"].gt(0).any():
        drawn.append(
            _drawing(
                "Throughput",
                "Rows per second over time: between two snapshots as an area, over the last "
                "minute as a line.",
                2.8,
                lambda ax: plots.plot_throughput(job.throughput, zone=zone, ax=ax),
            )
        )
    if estimates["eta_p50"].notna().sum() > 2:
        drawn.append(
            _drawing(
                "Predicted end over time",
                "The end that was predicted at each snapshot, with the interval that holds it "
                "with a probability of 80 %. The grey diagonal is now.",
                3.4,
                lambda ax: plots.plot_eta(estimates, zone=zone, ax=ax),
            )
        )
    if not job.details.empty:
        drawn.append(
            _drawing(
                "Files",
                "When each file waited and was imported, one row each; stragglers are named, with "
                "their verdict and by how much they delay the job.",
                plots.files_height(job.details, job.stragglers),
                lambda ax: plots.plot_files(
                    job.details, job.stragglers, at=job.at, zone=zone, ax=ax
                ),
            )
        )
    return drawn


def _drawing(title: str, caption: str, height_in: float, draw: Callable[[Axes], Axes]) -> _Drawing:
    # The reader's own settings of matplotlib have no place in a page that is passed on. The text of
    # an SVG is drawn by the browser, which has more scripts than matplotlib's font.
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **_STYLE}), catch_warnings():
        filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        figure = Figure(figsize=(9, height_in), layout="constrained")
        finding = draw(figure.subplots()).get_title(loc="left").replace(r"\$", "$")
        alt = f"{title}: {' '.join(finding.split())}. {caption}"
        prefix = re.sub(r"\W+", "-", title.lower())
        markup = _svg(figure, alt, prefix)
        if len(markup) > _MOST_SVG_BYTES:
            markup = _png(figure, alt)
    return _Drawing(title, caption, markup)


_STYLE: Final[Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "importstats",
    "font.family": ["DejaVu Sans"],
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.facecolor": _PAPER,
}
_SVG: Final = "{http://www.w3.org/2000/svg}"
_XLINK: Final = "{http://www.w3.org/1999/xlink}"
_NO_METADATA: Final = dict.fromkeys(["Creator", "Date", "Format", "Type"])


def _svg(figure: Figure, alt: str, prefix: str) -> Markup:
    """The figure as inline SVG that takes ink and paper from the page around it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", transparent=True, dpi=150, metadata=_NO_METADATA)
    root = ElementTree.fromstring(buffer.getvalue())  # noqa: S314 -- our own SVG
    for metadata in root.findall(f"{_SVG}metadata"):
        root.remove(metadata)
    used = set(re.findall(r"(?:url\(|href=\")#([^)\"]+)", buffer.getvalue().decode()))
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        element.attrib = {
            name.removeprefix(_XLINK): _adapted(name, value, prefix)
            for name, value in element.attrib.items()
            if name != "id" or value in used
        }
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.attrib |= {"role": "img", "aria-label": alt}
    return Markup(ElementTree.tostring(root, encoding="unicode"))  # noqa: S704 -- escaped by it


def _adapted(name: str, value: str, prefix: str) -> str:
    """An attribute with the page's colours and font, and ids that are unique on the page."""
    if name == "id":
        return f"{prefix}-{value}"
    if name == f"{_XLINK}href" and value.startswith("#"):
        return f"#{prefix}-{value[1:]}"
    if name == "clip-path":
        return value.replace("url(#", f"url(#{prefix}-")
    if name == "style":
        for color, named in _PAGE_COLORS.items():
            value = value.replace(color, named)
        return _FONT.sub(r"font-weight: \1; font-size: \2", value).replace("font-weight: ; ", "")
    return value


_FONT: Final = re.compile(r"font: (?:(bold|\d+) )?([\d.]+px) [^;]*")


def _png(figure: Figure, alt: str) -> Markup:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=144, facecolor="white", metadata={"Software": None})
    data = base64.b64encode(buffer.getvalue()).decode()
    return Markup('<img alt="{}" src="data:image/png;base64,{}">').format(alt, data)


_FORMS: Final[Mapping[str, Callable[[ImportJob, tzinfo], str]]] = {
    "html": _html,
    "md": _markdown,
    "json": _json,
}
