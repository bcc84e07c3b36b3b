"""Figure of a fleet: which jobs run, how much each cluster writes a day, and where time goes."""

from __future__ import annotations

from datetime import tzinfo
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib import dates as mdates
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator, PercentFormatter

from importstats.arrays import Floats
from importstats.fleets import Fleet
from importstats.names import PHASES
from importstats.plots.hatching import HATCH_CYCLE, OTHER_HATCH, PHASE_HATCHES, filled, ink
from importstats.plots.style import (
    GREY,
    PHASE_COLORS,
    add_grid,
    add_legend_above,
    days,
    label,
    leave_empty,
    name_rows,
    set_time_axis,
    set_title,
    zone_at,
)
from importstats.text import format_count, format_duration, format_percent

#: How many running jobs are drawn, those that end first.
MOST_RUNNING: Final = 25

#: Colours of clusters: none is a phase's, and each is visible on light and on dark paper.
CLUSTER_COLORS: Final = ("#6A5ACD", "#B5652A", "#3C8DA8", "#C2577A", "#5B8C2A", "#8A6D3B")
_MOST_DAY_LABELS: Final = 12


def plot_fleet(tables: Fleet, *, zone: tzinfo | None = None) -> Figure:
    """Draw a fleet at a glance.

    At the top, each running job is a bar from its start to its last snapshot in the colour of its
    phase, with the expected end and its 80 % interval. Below are the rows that each cluster wrote
    on each day (UTC), and each phase's share of the time that its jobs took.

    Parameters
    ----------
    tables : Fleet
        The result of :func:`~importstats.fleets.fleet`.
    zone : tzinfo, optional
        Zone of the times shown; default the reader's. Days are always UTC.

    Returns
    -------
    Figure
        Pyplot does not know it, so you need not close it.
    """
    shown = min(len(tables.running), MOST_RUNNING)
    clusters = sorted({*tables.jobs["source_uri"]})
    top, bottom = 1.6 + 0.24 * shown if shown else 0.4, max(3.2, 1.4 + 0.42 * len(clusters))
    figure = Figure(figsize=(12, top + bottom), layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=(top, bottom), width_ratios=(3, 2))
    _draw_running(figure.add_subplot(grid[0, :]), tables, zone)
    _draw_days(figure.add_subplot(grid[1, 0]), tables.throughput, clusters)
    _draw_shares(figure.add_subplot(grid[1, 1]), tables.phases, clusters)
    return figure


def _draw_running(ax: Axes, tables: Fleet, zone: tzinfo | None) -> None:
    running = tables.running.head(MOST_RUNNING)
    if running.empty:
        leave_empty(ax, "No job is running")
        return
    place = np.arange(len(running))
    start, seen = (days(running[name]) for name in ("started_at", "last_observed_at"))
    phase = running["phase"].astype("str")
    for name in PHASES:
        own = phase.eq(name).to_numpy()
        if own.any():
            look = filled(PHASE_COLORS[name], PHASE_HATCHES[name])
            long = (seen - start)[own]
            ax.barh(place[own], long, left=start[own], height=0.6, label=name, **look)
    now = days(pd.Series([pd.Timestamp(tables.at)]))[0]
    ax.axvline(now, color=ink(), lw=0.8, ls=":", zorder=1)
    right = _draw_ends(ax, running, start, seen, now)
    _write_notes(ax, running, seen, right)
    name_rows(ax, [_job_name(job) for job in running.to_dict("records")])
    set_time_axis(ax, zone_at(zone, tables.at))
    taken = add_legend_above(ax)
    add_grid(ax, "x")
    set_title(ax, _running_words(tables), taken_in=taken)


def _draw_ends(ax: Axes, running: pd.DataFrame, start: Floats, seen: Floats, now: float) -> float:
    """Draw the expected ends with their intervals; returns where the axis ends."""
    place = np.arange(len(running))
    low, middle, high = (days(running[f"eta_{name}"]) for name in ("p10", "p50", "p90"))
    known = ~np.isnan(middle)
    ax.hlines(place[known], low[known], high[known], color=ink(), lw=1.4, zorder=3)
    dots = "end, 80 % interval"
    ax.plot(middle[known], place[known], "o", color=ink(), ms=5, zorder=4, label=dots)
    # The far end of a wide interval must not squeeze the rest; an arrow shows that it goes on.
    right = max(now, np.nanmax(np.append(middle[known], now))) + 0.35 * (now - start.min())
    right = float(min(right, np.nanmax(np.concatenate([seen, high[known], [now]]))))
    span = right - start.min()
    ax.set_xlim(start.min() - 0.02 * span, right + 0.02 * span)
    beyond = known & (high > right)
    ax.plot(np.full(beyond.sum(), right + 0.01 * span), place[beyond], ">", color=ink(), ms=5)
    return right


def _write_notes(ax: Axes, running: pd.DataFrame, seen: Floats, right: float) -> None:
    """Write beside each job how far it is, why it has no ETA, and what is wrong with it."""
    high, unknown = days(running["eta_p90"]), running["eta_p50"].isna().to_numpy()
    for row, job in enumerate(running.to_dict("records")):
        words = [] if pd.isna(job["progress_pct"]) else [format_percent(job["progress_pct"])]
        if unknown[row] and pd.notna(job["no_eta_reason"]):
            words.append(label(job["no_eta_reason"]))
        if job["severity"] in ("warning", "critical"):
            words.append(f"{label(job['finding'])}!".replace("_", " "))
        ax.annotate(
            ", ".join(words),
            (seen[row] if unknown[row] else min(high[row], right), row),
            xytext=(14, 0),
            textcoords="offset points",
            va="center",
            fontsize="x-small",
        )


def _job_name(job: dict[Any, Any]) -> str:
    if pd.isna(job["collection_name"]):
        return label(job["job_id"])
    return label(f"{job['collection_name']}  {job['job_id']}")


def _running_words(tables: Fleet) -> str:
    count = len(tables.running)
    words = f"{count:,} job{'s' if count != 1 else ''} running"
    ends = tables.running["eta_p50"].dropna()
    if len(ends):
        left = (ends.max() - pd.Timestamp(tables.at)).total_seconds()
        words += f", the last to end in about {format_duration(max(left, 0))}"
    if count > MOST_RUNNING:
        words += f" (the first {MOST_RUNNING} are shown)"
    return words


def _draw_days(ax: Axes, table: pd.DataFrame, clusters: list[str]) -> None:
    if table.empty:
        leave_empty(ax, "No rows were written")
        return
    dates = pd.date_range(table["day"].min(), table["day"].max(), freq="D")
    place = {source: number for number, source in enumerate(clusters)}
    drawn = min(len(clusters), len(CLUSTER_COLORS))
    rest = len(clusters) > drawn
    rows = np.zeros((drawn + rest, len(dates)))
    which = table["source_uri"].map(place).clip(upper=drawn).to_numpy(np.int64)
    np.add.at(
        rows,
        (which, dates.get_indexer(pd.Index(table["day"]))),
        table["rows"].to_numpy(float, na_value=0),
    )
    at, width = mdates.date2num(dates.to_numpy()), 0.8 / len(rows)
    for number, values in enumerate(rows):
        is_rest = number == drawn
        look = (GREY, OTHER_HATCH) if is_rest else (CLUSTER_COLORS[number], HATCH_CYCLE[number])
        ax.bar(
            at + 0.1 + (number + 0.5) * width,
            values,
            width,
            label=f"{len(clusters) - drawn} others" if is_rest else label(clusters[number], 40),
            **filled(*look),
        )
    ax.set_xlim(at[0], at[-1] + 1)
    labelled = slice(None, None, -(-len(dates) // _MOST_DAY_LABELS))
    ax.set_xticks(at[labelled] + 0.5, [f"{day:%d %b}" for day in dates[labelled]])
    ax.set_xlabel("day (UTC)")
    ax.set_ylabel("rows written")
    ax.yaxis.set_major_formatter(EngFormatter(sep=" "))
    ax.yaxis.set_major_locator(MaxNLocator(5))
    ax.set_ylim(0, 1.1 * rows.max() or 1)
    _add_legend_below(ax, 2)
    by_day = rows.sum(axis=0)
    best = int(by_day.argmax())
    add_grid(ax, "y")
    set_title(ax, f"{format_count(by_day[best])} rows on the best day, {dates[best]:%Y-%m-%d}")


def _add_legend_below(ax: Axes, columns: int) -> None:
    ax.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.2),
        ncols=columns,
        frameon=False,
        fontsize="small",
    )


def _draw_shares(ax: Axes, table: pd.DataFrame, clusters: list[str]) -> None:
    if table.empty:
        leave_empty(ax, "No time was spent in any phase")
        return
    shares = pd.crosstab(table["source_uri"], table["phase"], table["share"], aggfunc="sum")
    shares = shares.reindex(index=clusters).fillna(0.0)
    left = np.zeros(len(clusters))
    for name in (phase for phase in PHASES if phase in shares):
        ax.barh(
            range(len(clusters)),
            shares[name],
            left=left,
            height=0.6,
            label=name,
            **filled(PHASE_COLORS[name], PHASE_HATCHES[name]),
        )
        left += shares[name].to_numpy()
    name_rows(ax, [label(cluster, 32) for cluster in clusters])
    ax.set_xlim(0, 1)
    ax.xaxis.set_major_formatter(PercentFormatter(1.0))
    ax.set_xlabel("share of the jobs' time")
    _add_legend_below(ax, 4)
    whole = table.groupby("phase", observed=True)["duration_s"].sum()
    share = 100 * whole.max() / whole.sum()
    add_grid(ax, "x")
    set_title(ax, f"{format_percent(round(share))} of the time is {whole.idxmax()}")
