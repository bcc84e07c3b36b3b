"""First screen: what a page and a widget show about a job before the reader scrolls."""

from __future__ import annotations

from datetime import tzinfo
from typing import Any, Final

import pandas as pd

from importstats.analysis.words import eta_text, left_text, what_matters
from importstats.names import END_PHASES
from importstats.plots.file_states import STATE_WORDS
from importstats.plots.hatching import OTHER_HATCH, PHASE_HATCHES, STATE_HATCHES
from importstats.plots.style import FILE_STATE_COLORS, OTHER_COLOR, PHASE_COLORS
from importstats.show.attention import Look, sentences
from importstats.show.job import ImportJob
from importstats.show.page_data import MOST_NAME
from importstats.text import format_duration, format_percent, printable

_MOST_LOOKS: Final = 4
# A file is worth a sentence if it delays the end by this, and by this share of its own time.
_LONG_DELAY_S: Final = 60.0
_LONG_DELAY_SHARE: Final = 0.25
_TO_COME: Final = "radial-gradient(circle,var(--soft) 2px,transparent 2.5px) 0 50%/10px 8px"
_DOWN: Final = "repeating-linear-gradient(45deg,transparent 0 4px,var(--paper) 4px 5.5px)"
_UP: Final = "repeating-linear-gradient(135deg,transparent 0 4px,var(--paper) 4px 5.5px)"
_ACROSS: Final = "repeating-linear-gradient(0deg,transparent 0 3px,var(--paper) 3px 4.5px)"
_UPRIGHT: Final = "repeating-linear-gradient(90deg,transparent 0 5px,var(--paper) 5px 6.5px)"
_DOTS: Final = "radial-gradient(circle,var(--paper) 1px,transparent 1.5px) 0 0/5px 5px"
_RINGS: Final = (
    "radial-gradient(circle,transparent 1.2px,var(--paper) 1.5px 2.5px,transparent 3px) 0 0/9px 9px"
)
_STARS: Final = "radial-gradient(circle,var(--paper) 2px,transparent 2.5px) 0 0/9px 9px"
# Each character of a hatch as a CSS background, drawn above the colour.
_HATCH_LAYERS: Final = {
    "\\": _DOWN,
    "/": _UP,
    "x": f"{_DOWN},{_UP}",
    "-": _ACROSS,
    "|": _UPRIGHT,
    "+": f"{_ACROSS},{_UPRIGHT}",
    ".": _DOTS,
    "o": _RINGS,
    "*": _STARS,
}


def first_line(job: ImportJob) -> str:
    """How much time is left, or the state of a job that has ended or was not seen for long."""
    if job.stale:
        # The findings are shown below.
        return job.headline.split(". ")[0]
    if job.phase in END_PHASES:
        return job.headline
    return left_text(job.eta_frame, job.at)


def second_line(job: ImportJob, zone: tzinfo) -> str:
    """Phase, progress and end time, which the page shows only here."""
    if job.phase in END_PHASES or job.stale:
        return ""
    text = f"{job.phase}, {format_percent(job.progress_pct)}"
    if pd.notna(job.eta["eta_p50"]):
        text += f": {eta_text(job.eta_frame, zone)}"
    return f"{text},"


def tab_title(job: ImportJob) -> str:
    """The page's title in the browser's tab, which begins with the time left."""
    name = printable(job.collection_name or job.job_id, 60)
    if job.phase in END_PHASES or job.stale or pd.isna(job.eta["eta_p50"]):
        state = f"Was {job.phase}" if job.stale else job.phase
        return f"{state} · {name} · import job {printable(job.job_id, 60)}"
    left = left_text(job.eta_frame, job.at).split(" (")[0]
    progress = f"{job.phase} {format_percent(job.progress_pct)}"
    return f"{left} · {progress} · {name} · import job {printable(job.job_id, 60)}"


def first_look(job: ImportJob) -> str:
    """What to look at first, in one sentence or two."""
    if job.looks:
        return job.looks[0].text
    if job.phase == "Completed":
        return "Nothing: the job has completed."
    notable = sentences(*filter(None, what_matters(job.diagnosis, job.stragglers, job.phase)))
    return notable or _last_to_end(job) or "Nothing in particular: no warning was found."


def _last_to_end(job: ImportJob) -> str:
    """A sentence about the file that will end long after all others by its own rows; or nothing."""
    files = job.stragglers
    if files.empty or job.stale:
        return ""
    whole_s = files["elapsed_s"] + files["remaining_s"]
    seen = files["idle_s"].notna() & files["delay_s"].ge(_LONG_DELAY_S)
    last = files[seen & files["delay_s"].gt(_LONG_DELAY_SHARE * whole_s)].nlargest(1, "delay_s")
    if last.empty:
        return ""
    name = printable(str(last["file"].iloc[0]), MOST_NAME)
    return f"{name} will end last and delays the end by {format_duration(last['delay_s'].iloc[0])}."


def looks_of(job: ImportJob) -> list[dict[str, Any]]:
    """What to look at, the most important first: ``text``, ``severity`` and ``file``, if any.

    There is always one: if nothing needs attention, it says so.
    """
    if not job.looks:
        severity = "critical" if job.phase == "Failed" else "info"
        text = first_look(job)
        return [{"text": text, "severity": severity, "file": _file_in(job, text)}]
    found = [
        {"text": look.text, "severity": look.severity, "file": _file_of(job, look)}
        for look in job.looks[:_MOST_LOOKS]
    ]
    if job.phase == "Failed":
        found[0]["severity"] = "critical"
    return found


def _file_of(job: ImportJob, look: Look) -> str | None:
    if look.file_index is None:
        return None
    own = job.stragglers[job.stragglers["file_index"].eq(look.file_index)]
    return printable(str(own["file"].iloc[0]), MOST_NAME) if len(own) else None


def _file_in(job: ImportJob, text: str) -> str | None:
    """The file that matters most, or delays the end most, if a text speaks of it."""
    files = job.stragglers
    if files.empty:
        return None
    first = [files.index[0], *files["delay_s"].nlargest(1).index]
    names = [printable(str(name), MOST_NAME) for name in files.loc[first, "file"]]
    return next((name for name in names if name in text), None)


def phase_strip(job: ImportJob) -> list[dict[str, Any]]:
    """The phases as parts of a strip: ``name``, ``text``, ``look`` in CSS, and ``grow``.

    The last is the share of the width, by the phase's duration; it is never 0.
    """
    parts = []
    last = job.jobs["observed_at"].iloc[-1]
    for run in job.phases.to_dict("records"):
        phase = str(run["phase"])
        if phase in END_PHASES:
            continue
        current = pd.isna(run["end"])
        seconds = (last - run["start"]).total_seconds() if current else run["duration_s"]
        text = format_duration(seconds)
        if current and job.phase == phase:
            text = f"{format_percent(job.progress_pct)}, {'' if job.stale else 'for '}{text}"
        parts.append({"name": phase, "seconds": seconds, "text": text, "look": _phase_look(phase)})
    if job.phase not in END_PHASES and not job.stale and pd.notna(job.eta["eta_p50"]):
        seconds = max((job.eta["eta_p50"] - job.at).total_seconds(), 0.0)
        text = left_text(job.eta_frame, job.at)
        left = f"about {text.split(' left')[0]}" if " left" in text else "overdue"
        parts.append({"name": "to come", "seconds": seconds, "text": left, "look": _TO_COME})
    if job.phase in END_PHASES:
        look = _phase_look(job.phase)
        parts.append({"name": job.phase, "seconds": 0.0, "text": "", "look": look})
    return _with_widths(parts)


def _with_widths(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The parts with widths instead of seconds; a part that took no time is still visible."""
    whole = sum(part["seconds"] for part in parts) or 1.0
    for part in parts:
        seconds = part.pop("seconds")
        part["grow"] = max(round(1000 * seconds / whole), 10 if seconds else 20)
    return parts


def _phase_look(phase: str) -> str:
    """The CSS background of a phase: its colour, with its hatch in the paper's colour."""
    color = PHASE_COLORS[phase]
    layers = [_HATCH_LAYERS[stroke] for stroke in dict.fromkeys(PHASE_HATCHES[phase])]
    return ",".join([*layers, color])


def state_looks(data: dict[str, Any]) -> dict[str, str]:
    """The states that the files' timeline shows, in words, with their backgrounds in CSS."""
    names = data["spans"]["state"]["names"]
    return {STATE_WORDS.get(name, name): _legend_background(name) for name in names}


def _legend_background(state: str) -> str:
    """The CSS background of a state in a legend: its colour and its pattern."""
    color = FILE_STATE_COLORS.get(state, OTHER_COLOR)
    if state == "completed":
        return f"linear-gradient({color},{color}) center/100% 2px no-repeat"
    hatch = STATE_HATCHES.get(state, OTHER_HATCH)[:1]
    if hatch == "x":
        return f"repeating-conic-gradient({color} 0 25%,transparent 0 50%) 0 0/5px 5px"
    if hatch == ".":
        return f"radial-gradient({color} 1.5px,transparent 2px) 0 0/4px 4px"
    angle = {"-": 0, "/": 135, "\\": 45}.get(hatch)
    if angle is None:
        return color
    return f"repeating-linear-gradient({angle}deg,{color} 0 2px,transparent 2px 4px)"
