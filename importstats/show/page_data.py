"""What a page's script draws: a job as packed columns of numbers."""

from __future__ import annotations

import json
import zlib
from datetime import tzinfo
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from importstats.analysis.causes import failure_causes
from importstats.analysis.gaps import find_gaps
from importstats.analysis.samples import FileSamples
from importstats.arrays import Floats, Ints, floats, microseconds
from importstats.names import END_PHASES
from importstats.plots.files import state_spans
from importstats.plots.hatching import PHASE_HATCHES, STATE_HATCHES
from importstats.plots.progress import drawn_runs
from importstats.plots.style import FILE_STATE_COLORS, OTHER_COLOR, PHASE_COLORS, VERDICT_COLORS
from importstats.show.job import ImportJob
from importstats.text import printable

# A curve with more points than this, which no screen shows, is thinned.
_MOST_POINTS: Final = 2000
#: How many characters a file's name can have in a page.
MOST_NAME: Final = 300
_MOST_REASON: Final = 200
#: Columns of a file that the page shows as numbers, see :func:`file_columns`.
NUMBERS: Final = (
    "wait_s",
    "run_s",
    "rows_per_s",
    "imported_rows",
    "total_rows",
    "file_size_bytes",
    "retries",
    "idle_s",
    "delay_s",
    "remaining_s",
)


def packed(data: dict[str, Any]) -> bytes:
    """Data as JSON, deflated: a seventh of the JSON for thousands of files."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return zlib.compress(text.encode(), 9)


def script_data(job: ImportJob, files: pd.DataFrame, zone: tzinfo) -> dict[str, Any]:
    """Everything that the page's script draws; times are in seconds since ``t0``.

    `files` are those of :func:`file_columns`.
    """
    jobs = job.jobs
    t0 = jobs["observed_at"].iloc[0].floor("s")
    offset = job.at.astimezone(zone).utcoffset()
    return {
        "t0": int(t0.timestamp()),
        "at": _seconds_after(pd.Series([pd.Timestamp(job.at)]), t0)[0],
        "offset_s": 0 if offset is None else int(offset.total_seconds()),
        "zone": job.at.astimezone(zone).tzname() or str(zone),
        "ended": job.phase in END_PHASES,
        "last": _seconds_after(jobs["observed_at"].iloc[[-1]], t0)[0],
        "progress": _progress_line(job, t0),
        "rates": _rates(job, t0),
        "phases": _phases(job, t0),
        "gaps": _intervals(find_gaps(jobs["observed_at"]), t0),
        "eta": _eta(job, t0),
        "files": _file_chart_data(files, t0),
        "spans": _spans(job, files, t0),
        "colors": {
            "phase": dict(PHASE_COLORS),
            "state": dict(FILE_STATE_COLORS),
            "verdict": dict(VERDICT_COLORS),
            "other": OTHER_COLOR,
        },
        "hatches": {"phase": dict(PHASE_HATCHES), "state": dict(STATE_HATCHES)},
    }


def file_columns(job: ImportJob) -> pd.DataFrame:
    """Every file with the values that a page shows, those that matter most first.

    Returns
    -------
    DataFrame
        ``file``, ``state``, ``verdict``, ``matters``, ``reason`` : str
        ``culprit`` : bool
            Whether a failure's reason names this file.
        ``task`` : int64
            Files with the same number are taken to be one task, see
            :func:`importstats.infer_tasks`.
        ``key`` : int64
            The number of the file in :class:`~importstats.analysis.samples.FileSamples`.
        ``first`` : datetime64[us, UTC]
            When it was first seen.
        and the columns of :data:`NUMBERS` as float64, NaN where unknown.
    """
    files = job.stragglers
    if job.details.empty:
        return pd.DataFrame(columns=["file", "key", "first", "culprit", *NUMBERS])
    samples = FileSamples.from_details(job.details)
    seen, spans = state_spans(samples)
    first = spans.groupby("key")["start"].min()
    known = seen[["file_index", "file"]].assign(
        key=seen.index,
        first=first,
        begin=seen["start"],
        stop=seen["end"],
        reason=_last_reasons(samples),
    )
    known = known.astype({"file": "str"}).drop_duplicates(["file_index", "file"])
    found = files.astype({"file": "str"}).merge(known, on=["file_index", "file"], how="inner")
    found["wait_s"] = floats(found, "wait_s") if "wait_s" in found else np.nan
    waited = (found["begin"] - found["first"]).dt.total_seconds()
    so_far = (pd.Timestamp(job.at) - found["first"]).dt.total_seconds()
    waits = found["verdict"].astype("str").eq("waiting")
    found["wait_s"] = found["wait_s"].fillna(waited).fillna(so_far.where(waits))
    found["run_s"] = (found["stop"] - found["begin"]).dt.total_seconds()
    for name in NUMBERS:
        found[name] = floats(found, name)
    # A file that failed before its rows appeared has no rate.
    lost = found["state"].astype("str").str.lower().eq("failed") & ~found["imported_rows"].gt(0)
    found["rows_per_s"] = found["rows_per_s"].mask(lost)
    found["task"] = pd.factorize(found["task"])[0]
    causes = failure_causes(found[["file", "state", "reason"]])
    blamed = {name for names in causes["culprits"] for name in names}
    found["culprit"] = found["file"].isin(blamed)
    if blamed:
        found = found.sort_values("culprit", ascending=False, kind="stable", ignore_index=True)
    return found


def _last_reasons(samples: FileSamples) -> Any:
    if "reason" not in samples.frame:
        return None
    last = samples.row[np.append(np.flatnonzero(np.diff(samples.key)), len(samples.key) - 1)]
    return samples.frame["reason"].iloc[last].astype("str").to_numpy()


def _seconds_after(times: pd.Series[Any], t0: pd.Timestamp) -> list[float | None]:
    """Times as seconds after t0, as exact as a screen can show."""
    return _json_numbers(np.asarray((times - t0).dt.total_seconds(), np.float64), 1)


def _json_numbers(values: Floats, digits: int = 3) -> list[float | None]:
    """Numbers for JSON: whole ones without a decimal point, null if unknown."""
    rounded = np.round(values, digits)
    return [
        None if not np.isfinite(value) else int(value) if value == int(value) else value
        for value in rounded.tolist()
    ]


def _thinned(changes: npt.NDArray[np.bool_]) -> Ints:
    """The points to draw: those at which something changes, but not too many."""
    places = np.flatnonzero(changes)
    if len(places) <= _MOST_POINTS:
        return places
    return places[np.linspace(0, len(places) - 1, _MOST_POINTS).astype(np.int64)]


def _progress_line(job: ImportJob, t0: pd.Timestamp) -> dict[str, Any]:
    jobs = job.jobs[job.jobs["phase"].astype("str").ne("Failed")]
    value = floats(jobs, "progress_pct")
    kept = np.ones(len(value), np.bool_)
    # A line of steps is complete with each step and the last point before it.
    kept[1:-1] = (value[1:-1] != value[:-2]) | (value[1:-1] != value[2:])
    places = _thinned(kept)
    rows = floats(jobs, "imported_rows")[places]
    return {
        "t": _seconds_after(jobs["observed_at"].iloc[places], t0),
        "pct": _json_numbers(value[places], 1),
        "rows": _json_numbers(rows, 0),
    }


def _rates(job: ImportJob, t0: pd.Timestamp) -> dict[str, Any]:
    rates = job.throughput
    window = floats(rates, "rows_per_s_window")
    bytes_per_s = floats(rates, "bytes_per_s_window")
    places = _thinned(np.ones(len(rates), np.bool_))
    return {
        "t": _seconds_after(rates["observed_at"].iloc[places], t0),
        "rows": _json_numbers(window[places], 1),
        "bytes": _json_numbers(bytes_per_s[places], 0),
    }


def _phases(job: ImportJob, t0: pd.Timestamp) -> list[list[Any]]:
    runs = drawn_runs(job.jobs, job.phases)
    names = runs["phase"].astype("str")
    return [[name, *ends] for name, ends in zip(names, _intervals(runs, t0), strict=True)]


def _intervals(spans: pd.DataFrame, t0: pd.Timestamp) -> list[list[Any]]:
    """The start and the end of each span."""
    ends = (_seconds_after(spans[name], t0) for name in ("start", "end"))
    return [list(pair) for pair in zip(*ends, strict=True)]


def _eta(job: ImportJob, t0: pd.Timestamp) -> list[float | None] | None:
    if job.phase in END_PHASES or job.stale or pd.isna(job.eta["eta_p50"]):
        return None
    ends = pd.Series([job.eta[f"eta_{name}"] for name in ("p10", "p50", "p90")])
    return _seconds_after(ends, t0)


def _file_chart_data(files: pd.DataFrame, t0: pd.Timestamp) -> dict[str, Any]:
    if files.empty:
        return {"count": 0}
    return {
        "count": len(files),
        "name": [printable(name, MOST_NAME) for name in files["file"].tolist()],
        "raw_state": _coded(files["state"]),
        "state": _coded(files["state"].astype("str").str.lower()),
        **{name: _coded(files[name]) for name in ("verdict", "matters", "reason")},
        "culprit": np.flatnonzero(files["culprit"]).tolist(),
        "task": files["task"].tolist(),
        **{name: _json_numbers(files[name].to_numpy(), 1) for name in NUMBERS},
    }


def _coded(texts: pd.Series[Any]) -> dict[str, Any]:
    """The distinct texts, and for each row the number of its text; -1 if it has none."""
    codes, names = pd.factorize(texts.astype("str").where(texts.notna()))
    return {
        "names": [printable(str(name), _MOST_REASON) for name in names],
        "codes": codes.tolist(),
    }


def _spans(job: ImportJob, files: pd.DataFrame, t0: pd.Timestamp) -> dict[str, Any]:
    """Each file's states with start and end; files are numbered by their row in the table."""
    if files.empty:
        return {"row": [], "state": {"names": [], "codes": []}, "start": [], "end": []}
    _, spans = state_spans(FileSamples.from_details(job.details))
    row_of = np.full(int(spans["key"].max()) + 1, -1)
    row_of[files["key"].to_numpy(np.int64)] = np.arange(len(files))
    row = row_of[spans["key"].to_numpy()]
    spans = spans.assign(row=row)[row >= 0]
    first, _ = microseconds(spans, "start")
    order = np.lexsort((first, spans["row"].to_numpy()))
    spans = spans.iloc[order]
    return {
        "row": np.diff(spans["row"].to_numpy(), prepend=0).tolist(),
        "state": _coded(spans["state"]),
        "start": _seconds_after(spans["start"], t0),
        "end": _seconds_after(spans["end"], t0),
    }
