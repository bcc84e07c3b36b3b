"""Progress: how far a job is, in which phase, and when it was predicted to end."""

from __future__ import annotations

from datetime import datetime, tzinfo
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from importstats.analysis.gaps import find_gaps
from importstats.analysis.phase import phases, with_phase
from importstats.analysis.words import answered_snapshots, clock, eta_text, headline
from importstats.arrays import Floats
from importstats.names import END_PHASES, PHASES
from importstats.plots.hatching import PHASE_HATCHES, area, ink, swatch
from importstats.plots.style import (
    BLUE,
    GREEN,
    GREY,
    PHASE_COLORS,
    TITLE_CHARACTERS,
    add_grid,
    add_legend,
    add_legend_above,
    axes_or_new,
    broken,
    days,
    hatch_gaps,
    label,
    leave_empty,
    on_paper,
    require_one_job,
    set_time_axis,
    set_title,
    share_text,
    width_in,
    zone_at,
)
from importstats.text import printable

_BAND_ALPHA: Final = 0.16
_HATCH_ALPHA: Final = 0.3
# The height of a name and the width of one of its letters, in inches.
_UPRIGHT_IN: Final = 0.17
_LETTER_IN: Final = 0.085
# The room that the names above the bands take.
_NAMES_PT: Final = 14


def plot_progress(
    jobs: pd.DataFrame,
    estimates: pd.DataFrame | None = None,
    *,
    zone: tzinfo | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw progress over time on bands of the phases, and the ETA as a cone.

    The cone opens at the latest snapshot and reaches 100 % at the earliest (p10) and latest (p90)
    end that the ETA gives; the dashed line ends at the median. Only its three ends are predicted;
    the straight sides guide the eye. The server reports a progress of 0 for a failed job; the plot
    keeps the last progress before that and marks it with a cross.

    Parameters
    ----------
    jobs : DataFrame
        A jobs frame of one job, see :mod:`importstats.store.frames`.
    estimates : DataFrame, optional
        Its :func:`~importstats.eta`.
    zone : tzinfo, optional
        Zone of the times shown, by default the reader's.
    ax : Axes, optional
        Where to draw.

    Raises
    ------
    ValueError
        The frame holds several jobs.

    Examples
    --------
    >>> from datetime import UTC
    >>> from matplotlib.figure import Figure
    >>> jobs = pd.DataFrame({
    ...     "source_uri": "http://localhost:19530", "job_id": "7",
    ...     "observed_at": pd.date_range("2026-05-18", periods=4, freq="60s", tz="UTC"),
    ...     "state": ["Pending", "Importing", "Importing", "Importing"],
    ...     "progress_pct": [5.0, 40.0, 55.0, 80.0], "imported_rows": [0, 0, 500, 1000],
    ...     "total_rows": [0, 1000, 1000, 1000], "detail_count": [0, 3, 3, 3]})
    >>> ax = plot_progress(jobs, zone=UTC, ax=Figure().subplots())
    >>> ax.get_title(loc="left"), ax.get_xlabel()
    ('IndexBuilding, 80 %', 'time (UTC)')
    """
    require_one_job(jobs)
    ax = axes_or_new(ax, (9, 4))
    if jobs["observed_at"].isna().all():
        return leave_empty(ax, "No snapshots yet")
    taken = draw_progress(ax, jobs, estimates, zone)
    text = label(headline(jobs, estimates, zone=zone), TITLE_CHARACTERS)
    set_title(ax, text, taken_in=taken, above_pt=_NAMES_PT + 6)
    return ax


def plot_eta(
    estimates: pd.DataFrame,
    *,
    end: datetime | None = None,
    zone: tzinfo | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the end predicted at each snapshot, with its interval, and the true end.

    A prediction that does not change is a level line. The grey diagonal is the present, so no end
    can lie below it.

    Parameters
    ----------
    estimates : DataFrame
        The :func:`~importstats.eta` of one job.
    end : datetime, optional
        The true end. By default that of an eta row in the phase Completed.
    zone, ax
        As for :func:`plot_progress`.
    """
    require_one_job(estimates)
    ax = axes_or_new(ax, (9, 4))
    rows = estimates.sort_values("observed_at")
    if end is None:
        end = _true_end(rows)
    known = rows[rows["eta_p50"].notna() & ~rows["phase"].astype("str").isin(END_PHASES)]
    if known.empty:
        reason = _last_text(rows, "reason")
        return leave_empty(
            ax, label(f"No ETA: {reason}", TITLE_CHARACTERS) if reason else "No ETA yet"
        )
    zone = zone_at(zone, known["observed_at"].iloc[-1])
    gaps = find_gaps(rows["observed_at"])
    x = days(known["observed_at"])
    p10, p50, p90 = (days(known[name]) for name in ("eta_p10", "eta_p50", "eta_p90"))
    ax.fill_between(x, p10, p90, step="post", label="80 % interval", **area(BLUE))
    ax.step(*broken(x, p50, gaps), where="post", color=BLUE, lw=1.8, label="predicted end")
    hatch_gaps(ax, gaps)
    if len(x) == 1:
        ax.vlines(x, p10, p90, color=BLUE, lw=1.5)
        ax.plot(x, p50, "o", color=BLUE, clip_on=False, zorder=4)
    best = p50[-1]
    if end is not None:
        best = float(days(pd.Series([end]))[0])
        ax.axhline(best, color=GREEN, lw=1.5, ls="--", label="true end")
    # Early predictions can be months off; the axis keeps to the scale of the job's life.
    span = max(best, x[-1]) - x[0] or 60 / 86_400
    top = min(np.nanmax(np.append(p90, best)), max(x[0] + 2.5 * span, p90[-1]))
    right = x[-1] if len(x) > 1 else x[-1] + span
    ax.axline((x[0], x[0]), slope=1, color=GREY, lw=1, label="now")
    ax.set_xlim(x[0], max(right, best if end is not None else right))
    ax.set_ylim(x[0], top + 0.05 * (top - x[0]))
    set_time_axis(ax, zone)
    set_time_axis(ax, zone, which="y", name="predicted end")
    add_legend(ax, loc="best")
    add_grid(ax)
    if end is None:
        which = f"the latest of {len(known):,} predictions" if len(known) > 1 else "one prediction"
        failed = str(rows["phase"].iloc[-1]) == "Failed"
        text = f"{'It failed; by' if failed else 'By'} {which} it {eta_text(known, zone)}"
    else:
        inside = float(np.mean((p10 <= best) & (best <= p90)))
        error = np.median(np.abs(p50 - best) / np.maximum(best - x, 1e-9))
        text = (
            f"The true end lay within the interval at {share_text(inside)} of the snapshots; "
            f"median error {share_text(float(error))} of the time left"
        )
    set_title(ax, text)
    return ax


def _true_end(estimates: pd.DataFrame) -> datetime | None:
    done = estimates[estimates["phase"].astype("str").eq("Completed")]
    if done.empty:
        return None
    first = done.iloc[0]
    end = first["eta_p50"] if pd.notna(first["eta_p50"]) else first["observed_at"]
    return pd.Timestamp(end).to_pydatetime()


def _last_text(frame: pd.DataFrame, name: str) -> str:
    value = frame[name].iloc[-1] if name in frame and len(frame) else None
    return printable(str(value)) if pd.notna(value) else ""


def draw_progress(
    ax: Axes, jobs: pd.DataFrame, estimates: pd.DataFrame | None, zone: tzinfo | None
) -> float:
    """Draw progress as a line on bands of the phases, with the ETA's cone and no title.

    Returns the width in inches of the legend above the phases' names; 0 if there is none.
    """
    answered = answered_snapshots(jobs)
    if answered.empty:
        answered = with_phase(jobs).sort_values("observed_at")
    zone = zone_at(zone, answered["observed_at"].iloc[-1])
    x = days(answered["observed_at"])
    failed = answered["phase"].eq("Failed").to_numpy()
    progress = np.where(failed, np.nan, answered["progress_pct"].to_numpy(np.float64))
    color = ink()
    gaps = find_gaps(jobs["observed_at"])
    ax.step(*broken(x, progress, gaps), where="post", color=color, lw=2, solid_joinstyle="round")
    if np.isfinite(progress).sum() == 1:
        ax.plot(x, progress, "o", color=color, clip_on=False, zorder=4)
    runs = drawn_runs(answered, phases(jobs))
    if failed.any():
        at = float(x[failed][0])
        seen = np.flatnonzero(np.isfinite(progress))
        level = progress[seen[-1]] if len(seen) else 0.0
        ax.plot([x[seen[-1]] if len(seen) else at, at], [level, level], color=color, lw=2)
        ax.plot([at], [level], "X", ms=10, color=PHASE_COLORS["Failed"], zorder=4)
    right = x[-1]
    goes_on = str(answered["phase"].iloc[-1]) not in END_PHASES
    if goes_on and estimates is not None and len(estimates):
        right = _draw_cone(ax, estimates, x[-1], progress, zone)
    right = right if right > x[0] else x[0] + 60 / 86_400
    span = right - x[0]
    ax.set_xlim(x[0] - 0.01 * span, right + 0.03 * span)
    ax.set_ylim(0, 104)
    ax.set_ylabel("progress (%)")
    taken = _draw_bands(ax, runs, x[-1])
    hatch_gaps(ax, gaps)
    set_time_axis(ax, zone)
    ax.grid(axis="y", color="#808080", alpha=0.25, lw=0.6)
    return taken


def drawn_runs(answered: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The spans of phases to draw; the job's end is where it was first seen.

    Titles use that time as well; :func:`~importstats.phases` puts the end half a poll earlier.
    """
    over = answered["phase"].astype("str").isin(END_PHASES)
    if not over.any() or str(runs["phase"].iloc[-1]) not in END_PHASES:
        return runs
    seen = answered.loc[over, "observed_at"].iloc[0]
    start, end = runs["start"].copy(), runs["end"].copy()
    start.iloc[-1] = seen
    end.iloc[-2:-1] = seen
    return runs.assign(start=start, end=end)


def _draw_cone(
    ax: Axes, estimates: pd.DataFrame, now: float, progress: Floats, zone: tzinfo
) -> float:
    """Draw the cone from the latest snapshot; returns where the axis should end."""
    latest = estimates.sort_values("observed_at").iloc[[-1]]
    p10, p50, p90 = (float(days(latest[name])[0]) for name in ("eta_p10", "eta_p50", "eta_p90"))
    known = progress[np.isfinite(progress)]
    if not np.isfinite(p50) or not len(known):
        return now
    level = float(known[-1])
    color = ink()
    # A far end must not squeeze what has happened so far.
    room = max(now - float(ax.dataLim.x0), 60 / 86_400)
    right = min(p90 if np.isfinite(p90) else p50, now + room)
    if right < p50 <= now + 2 * room:
        right = p50 + 0.05 * room
    if np.isfinite(p10) and np.isfinite(p90):
        ends = [p10, p90]
        ax.fill([now, *ends], [level, 100, 100], color=color, alpha=0.14, lw=0, gid="eta-interval")
        ax.plot(ends, [100, 100], color=color, lw=4, solid_capstyle="butt", alpha=0.6)
    ax.plot([now, p50], [level, 100], color=color, lw=1.5, ls="--", gid="eta-median")
    ax.plot([p50], [100], "o", color=color, ms=6, zorder=4)
    text = clock(latest["eta_p50"].iloc[0], latest["observed_at"].iloc[0], zone, named=False)
    inside = p50 <= right
    if not inside:
        there = level + (100 - level) * (right - now) / (p50 - now)
        ax.plot([right], [there], ">", color=color, ms=7, clip_on=False, gid="eta-beyond")
    ax.annotate(
        text if inside else f"{text} →",
        (p50, 100) if inside else (right, level),
        xytext=(5, -8) if inside else (0, 4),
        textcoords="offset points",
        va="top" if inside else "bottom",
        ha="left" if p50 < (now + 9 * right) / 10 else "right",
        fontsize="small",
        path_effects=on_paper(),
    )
    return right


def _draw_bands(ax: Axes, runs: pd.DataFrame, last: float) -> float:
    """Draw a band for each span of a phase, with its name above it, in it, or in a legend.

    Returns the legend's width in inches if it is above the names and not beside them.
    """
    start = days(runs["start"])
    end = np.where(runs["end"].notna(), days(runs["end"]), last)
    left, right = ax.get_xlim()
    inch = width_in(ax) / (right - left)
    unnamed: list[str] = []
    for phase, begin, stop in zip(runs["phase"].astype("str"), start, end, strict=True):
        color = PHASE_COLORS[phase]
        if phase in END_PHASES:
            ax.axvline(begin, color=color, lw=2, gid=f"phase:{phase}")
            unnamed.append(phase)
            continue
        ax.axvspan(
            begin,
            stop,
            facecolor=(*to_rgb(color), _BAND_ALPHA),
            edgecolor=(*to_rgb(color), _HATCH_ALPHA),
            hatch=PHASE_HATCHES[phase] or None,
            lw=0,
            gid=f"phase:{phase}",
        )
        ax.plot(
            [begin, stop],
            [1, 1],
            transform=ax.get_xaxis_transform(),
            color=color,
            lw=4,
            solid_capstyle="butt",
            clip_on=False,
        )
        if not _name_band(ax, phase, begin, stop, inch):
            unnamed.append(phase)
    if not unnamed:
        return 0.0
    swatches = [
        swatch(name, PHASE_COLORS[name], PHASE_HATCHES[name]) for name in dict.fromkeys(unnamed)
    ]
    taken = add_legend_above(ax, swatches, above_pt=2)
    ends = [
        (text.get_position()[0] - left) * inch + _LETTER_IN * len(text.get_text()) / 2
        for text in ax.texts
        if text.get_gid() == "phase-name"
    ]
    if max(ends, default=0.0) < width_in(ax) - taken:
        return 0.0
    return add_legend_above(ax, swatches, above_pt=_NAMES_PT)


def _name_band(ax: Axes, phase: str, begin: float, stop: float, inch: float) -> bool:
    """Write a phase's name above its band, or upright in a narrow one; returns whether it fits."""
    middle = (begin + stop) / 2
    across = ax.get_xaxis_transform()
    if (stop - begin) * inch > _LETTER_IN * len(phase):
        look: dict[str, Any] = {"fontsize": "small", "ha": "center", "gid": "phase-name"}
        ax.text(middle, 1.025, phase, transform=across, **look)
        return True
    if (stop - begin) * inch < _UPRIGHT_IN:
        return False
    # Away from the line of progress.
    early = PHASES.index(phase) <= PHASES.index("Importing")
    ax.text(
        middle,
        0.96 if early else 0.04,
        phase,
        transform=across,
        rotation=90,
        fontsize="small",
        ha="center",
        va="top" if early else "bottom",
        path_effects=on_paper(),
        zorder=4,  # Above a gap.
    )
    return True
