"""Figure of a job: progress with phases and ETA, throughput, and every file."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, tzinfo
from typing import Any, Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from importstats.analysis.cut import rewind
from importstats.analysis.findings import diagnose
from importstats.analysis.forecast import eta
from importstats.analysis.gaps import find_gaps
from importstats.analysis.lateness import stragglers
from importstats.analysis.rates import throughput
from importstats.analysis.words import clock, headline, is_stale
from importstats.names import END_PHASES
from importstats.plots.files import files_height, plot_files, with_room
from importstats.plots.lettering import use_fonts_for
from importstats.plots.progress import draw_progress
from importstats.plots.rates import plot_throughput
from importstats.plots.style import (
    OTHER_COLOR,
    TITLE_CHARACTERS,
    days,
    label,
    leave_empty,
    on_paper,
    require_one_job,
    wrapped,
    zone_at,
)
from importstats.plots.themes import ShownFigure
from importstats.text import format_duration

_NAMED_IN_OVERVIEW: Final = 36


def overview(
    jobs: pd.DataFrame,
    details: pd.DataFrame | None = None,
    *,
    at: datetime | None = None,
    history: pd.DataFrame | Sequence[pd.DataFrame] | None = None,
    zone: tzinfo | None = None,
) -> Figure:
    """Draw one job: progress with phases and ETA, throughput, and every file.

    Parameters
    ----------
    jobs, details : DataFrame
        The job's frames, see :mod:`importstats.store.frames`.
    at : datetime, optional
        Now; by default the time of the latest snapshot. What came later is left out.
    history : DataFrame or sequence of DataFrame, optional
        Jobs frames of earlier jobs, for the ETA.
    zone : tzinfo, optional
        Zone of the times shown, by default the reader's.

    Returns
    -------
    Figure
        Pyplot does not know it, so you need not close it. Save it with ``savefig``.

    Raises
    ------
    ValueError
        The frames hold several jobs.
    """
    require_one_job(jobs)
    if jobs["observed_at"].isna().all():
        return _without_snapshots("No snapshots yet")
    at = at or jobs["observed_at"].max()
    jobs = rewind(jobs, at)
    if jobs.empty:
        return _without_snapshots(f"No snapshots by {clock(at, at, zone)}")
    details = None if details is None else rewind(details, at, jobs)
    estimates = eta(jobs, details, history=history, at=at)
    judged = None if details is None or details.empty else stragglers(details, at=at)
    return draw_overview(
        jobs,
        details,
        estimates,
        judged,
        throughput(jobs, by="job"),
        diagnose(jobs, details, at=at, history=history),
        at=at,
        zone=zone,
    )


def _without_snapshots(text: str) -> Figure:
    figure = ShownFigure(figsize=(10, 3), layout="constrained")
    leave_empty(figure.subplots(), text)
    return figure


def draw_overview(
    jobs: pd.DataFrame,
    details: pd.DataFrame | None,
    estimates: pd.DataFrame,
    verdicts: pd.DataFrame | None,
    rates: pd.DataFrame,
    findings: pd.DataFrame,
    *,
    at: datetime,
    zone: tzinfo | None = None,
) -> ShownFigure:
    """The figure of :func:`overview`, from results that you have already.

    These are :func:`~importstats.eta`, :func:`~importstats.stragglers` (or ``None``),
    :func:`~importstats.throughput` by job and :func:`~importstats.diagnose`, all as of `at`, as are
    the frames (see :func:`~importstats.rewind`).
    """
    zone = zone_at(zone, at)
    flows = bool(rates["rows_per_s_window"].gt(0).any())
    heights = [2.7]
    if flows:
        heights.append(1.5)
    if details is not None and not details.empty:
        heights.append(files_height(details, verdicts, named=_NAMED_IN_OVERVIEW) - 0.7)
    figure = ShownFigure(figsize=(11, sum(heights) + 0.5 * len(heights)), layout="constrained")
    grid = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)
    panels = list(grid[:, 0])
    over = str(estimates["phase"].iloc[-1]) in END_PHASES
    # A job that was not seen for long has no ETA: nothing is known about its present.
    known = over or not is_stale(jobs, at)
    draw_progress(panels[0], jobs, estimates if known else None, zone)
    limits = panels[0].get_xlim()
    gaps = find_gaps(jobs["observed_at"])
    if flows:
        plot_throughput(rates, gaps=gaps, zone=zone, ax=panels[1])
    if details is not None and not details.empty:
        named = _NAMED_IN_OVERVIEW
        plot_files(details, verdicts, gaps=gaps, named=named, zone=zone, ax=panels[-1])
    _share_time(panels, limits, jobs, None if over else at)
    for panel in panels[:-1]:
        panel.set_xlabel("")
    words = headline(jobs, estimates, verdicts, findings, at=at, zone=zone)
    title = figure.suptitle(
        wrapped(label(words, TITLE_CHARACTERS), 10.5, 14.7),
        x=0.01,
        ha="left",
        fontsize=13,
        fontweight="bold",
    )
    use_fonts_for([title])
    return figure


def _share_time(
    panels: Sequence[Axes], limits: tuple[float, float], jobs: pd.DataFrame, at: datetime | None
) -> None:
    """Give all panels the same time axis, and a line for now if the latest snapshot is old."""
    left, right = limits
    if at is not None:
        right = _mark_now(panels, limits, jobs, at)
    for note in panels[-1].texts:
        if isinstance(note, Annotation) and note.get_gid() in ("verdict", "count"):
            right = max(right, with_room(panels[-1], left, note.xy[0], note.get_text()))
    panels[0].set_xlim(left, right)


def _mark_now(
    panels: Sequence[Axes], limits: tuple[float, float], jobs: pd.DataFrame, at: datetime
) -> float:
    """Mark now if the latest snapshot is old; returns where the time axis should end."""
    now = float(days(pd.Series([at]))[0])
    last = float(days(jobs["observed_at"]).max())
    left, right = limits
    if now - last <= 0.02 * (right - left):
        return right
    look: dict[str, Any] = {
        "xytext": (-3, 2),
        "textcoords": "offset points",
        "ha": "right",
        "fontsize": "small",
        "gid": "now",
    }
    # What was seen keeps half of the axis, even if it was long ago.
    if now > right + (last - left):
        right += 0.2 * (last - left)
        text = f"now, {format_duration(86_400 * (now - last))} after the last snapshot →"
        panels[0].annotate(text, (right, 2), path_effects=on_paper(), **look)
        return right
    for panel in panels:
        panel.axvline(now, color=OTHER_COLOR, lw=1, ls=":")
    panels[0].annotate("now", (now, 2), **look)
    return max(right, now + 0.03 * (right - left))
