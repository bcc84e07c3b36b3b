"""Rates: rows and bytes per second over time, for a job or for its parts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import tzinfo
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, MaxNLocator

from importstats.analysis.gaps import find_gaps
from importstats.analysis.words import clock
from importstats.arrays import Floats
from importstats.plots.hatching import DASH_CYCLE, area, ink
from importstats.plots.style import (
    CYCLE,
    SKY,
    add_grid,
    add_legend,
    add_legend_above,
    axes_or_new,
    broken,
    common_folder,
    days,
    hatch_gaps,
    leave_empty,
    set_time_axis,
    set_title,
    short_name,
    zone_at,
)
from importstats.text import format_rate

_SPREAD_TIMES: Final = 200
# What appeared between two snapshots is cut off at this many times the highest windowed rate.
_HEADROOM: Final = 1.6


def plot_throughput(
    rates: pd.DataFrame,
    *,
    unit: Literal["rows", "bytes"] = "rows",
    gaps: pd.DataFrame | None = None,
    zone: tzinfo | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw rows (or bytes) per second over time.

    For one job, file, task or collection, an area shows the rows that appeared between two
    snapshots and a line the rate over the window (rows appear only when a whole file is written).
    For up to eight, the plot shows their windowed rates; for more, the median and the middle 80 %
    of those that write.

    Parameters
    ----------
    rates : DataFrame
        A result of :func:`~importstats.throughput`, with any `by`.
    unit : {"rows", "bytes"}
    gaps : DataFrame, optional
        Times without snapshots, see :func:`~importstats.analysis.gaps.find_gaps`; used only for the
        rate of one thing. By default they are found between its samples. The rates of a runs frame
        have no sample while nothing changes: pass the gaps of the jobs frame for them.
    zone, ax
        As for :func:`plot_progress`.
    """
    ax = axes_or_new(ax, (9, 3))
    word = "rows" if unit == "rows" else "B"
    rates = rates.sort_values("observed_at", kind="stable")
    windowed = f"{unit}_per_s_window"
    if rates[windowed].isna().all():
        return leave_empty(ax, "No throughput yet: it takes two snapshots with rows")
    if not rates[windowed].gt(0).any():
        return leave_empty(ax, rate_finding(rates, windowed, word, zone))
    zone = zone_at(zone, rates["observed_at"].iloc[-1])
    names, codes = _rate_keys(rates)
    if len(names) == 1:
        _draw_rate(ax, rates, unit, word, gaps)
        text = rate_finding(rates, windowed, word, zone)
    elif len(names) <= len(CYCLE):
        for code, name in enumerate(names):
            own = rates[codes == code]
            # There is no sample while nothing changes: the rate of a sample reaches back to the one
            # before.
            x = days(own["observed_at"])
            look: dict[str, Any] = {"color": CYCLE[code], "ls": DASH_CYCLE[code]}
            ax.step(x, own[windowed], where="pre", lw=1.4, label=name, **look)
        text = f"Throughput of {len(names)}: {_range_text(rates, codes, windowed, names, word)}"
    else:
        x, low, middle, high = _rate_spread(rates, codes, windowed)
        ax.fill_between(x, low, high, step="pre", label="the middle 80 %", **area(SKY))
        ax.step(x, middle, where="pre", color=ink(), lw=1.6, label="median of those that write")
        text = f"Throughput of {len(names):,}: {_range_text(rates, codes, windowed, names, word)}"
    many = 1 < len(names) <= len(CYCLE)
    taken = 0.0 if many else add_legend_above(ax)
    if many:
        add_legend(ax, loc="upper right")
    ax.set_ylim(0)
    ax.set_ylabel("rows per second" if unit == "rows" else "bytes per second")
    ax.yaxis.set_major_formatter(EngFormatter(sep=" "))
    ax.yaxis.set_major_locator(MaxNLocator(5))
    set_time_axis(ax, zone)
    add_grid(ax)
    set_title(ax, text, taken_in=taken)
    return ax


def _draw_rate(
    ax: Axes,
    rates: pd.DataFrame,
    unit: Literal["rows", "bytes"],
    word: str,
    gaps: pd.DataFrame | None,
) -> None:
    """Draw the rate of one thing, but none over a gap, where only an average is known."""
    x = days(rates["observed_at"])
    gaps = find_gaps(rates["observed_at"]) if gaps is None else gaps
    between, window = (
        rates[name].to_numpy(np.float64, na_value=np.nan)
        for name in (f"{unit}_per_s", f"{unit}_per_s_window")
    )
    # A sample's rate reaches back to the one before: the sample at the end of a gap has the gap's
    # rate.
    at_end = np.isin(x, days(gaps["end"]))
    between, window = (np.where(at_end, np.nan, values) for values in (between, window))
    name = "appeared between snapshots"
    most, top = np.nanmax(np.append(between, 0.0)), _HEADROOM * np.nanmax(np.append(window, 0.0))
    if most > top:
        # A file's rows appear all at once. Drawn in full, they would flatten the line.
        ax.set_ylim(0, top)
        name += f", up to {format_rate(float(most), word)}"
    ax.fill_between(x, between, step="pre", label=name, **area(SKY))
    ax.plot(
        *broken(x, window, gaps),
        color=ink(),
        lw=1.8 if len(x) < 300 else 1.1,
        label="written, over the window",
    )
    hatch_gaps(ax, gaps)


def _rate_keys(rates: pd.DataFrame) -> tuple[list[str], npt.NDArray[np.integer[Any]]]:
    """The names of what has rates, and each row's index into them."""
    for columns in (
        ["source_uri", "job_id", "file_index", "file"],
        ["source_uri", "job_id", "task"],
        ["source_uri", "job_id"],
        ["source_uri", "db_name", "collection_name"],
        ["source_uri", "collection_name"],
    ):
        if set(columns) <= set(rates.columns):
            codes = rates.groupby(columns, dropna=False, observed=True, sort=False).ngroup()
            first = rates.assign(code=codes).drop_duplicates("code").sort_values("code")
            kind = columns[-1].removesuffix("_id")
            word = "" if kind in ("file", "collection_name") else f"{kind} "
            folder = common_folder(first["file"]) if kind == "file" else ""
            names = [word + short_name(name, folder) for name in first[columns[-1]]]
            return names, codes.to_numpy()
    raise ValueError("rates are what throughput() returns; these have no key columns")


def _rate_spread(
    rates: pd.DataFrame, codes: npt.NDArray[np.integer[Any]], column: str
) -> tuple[Floats, Floats, Floats, Floats]:
    """Times, and the 10, 50 and 90 % quantiles of the keys that write then; NaN if none writes.

    Keys are sampled at different times: a sample's rate applies since the sample before.
    """
    ordered = np.lexsort((rates["observed_at"].to_numpy(), codes))
    x = days(rates["observed_at"])[ordered]
    times = np.unique(x)
    times = times[np.linspace(0, len(times) - 1, min(_SPREAD_TIMES, len(times))).astype(int)]
    span = times[-1] - times[0] + 1
    place = codes[ordered] * span + (x - times[0])
    keys = np.arange(codes.max() + 1)
    found = np.searchsorted(place, keys[:, None] * span + (times - times[0]) - 1e-9)
    # Thousands may wait or be done and have no rate; only those that write are worth showing.
    values = np.append(rates[column].to_numpy(np.float64, na_value=np.nan)[ordered], np.nan)
    values = np.where(values > 0, values, np.nan)
    of_key = np.append(codes[ordered], -1)
    table = np.where(of_key[found] == keys[:, None], values[found], np.nan)
    known = np.isfinite(table).any(axis=0)
    spread = np.full((3, len(times)), np.nan)
    spread[:, known] = np.nanquantile(table[:, known], [0.1, 0.5, 0.9], axis=0)
    return times, *spread


def rate_finding(rates: pd.DataFrame, column: str, word: str, zone: tzinfo | None) -> str:
    """A sentence: how fast one thing is written, on average and at most, or when it stopped."""
    values = rates[column]
    moving = rates[values > 0]
    if moving.empty:
        what = "rows" if word == "rows" else "bytes"
        return f"No {what} written yet"
    latest = rates.iloc[-1]
    known = rates[column.replace("_window", "_mean")].dropna()
    mean = float(known.iloc[-1]) if len(known) else math.nan
    peak = float(values.max())
    usual = f"{format_rate(mean, word)} on average"
    # If a job writes for no longer than the window, each window is an average.
    if format_rate(peak, word) != format_rate(mean, word) and not peak < mean:
        usual += f", {format_rate(peak, word)} at most"
    if not latest[column] > 0:
        # The window goes on for a while after the last rows came.
        came = rates[rates[column.removesuffix("_window")] > 0]
        last = came if len(came) else moving
        since = clock(last["observed_at"].iloc[-1], latest["observed_at"], zone)
        return f"Nothing written since {since}; before, {usual}"
    if not latest[column.removesuffix("_window")] > 0:
        # The window still contains what was written before writing ended.
        return usual
    return f"{format_rate(latest[column], word)} at last; {usual}"


def _range_text(
    rates: pd.DataFrame,
    codes: npt.NDArray[np.integer[Any]],
    column: str,
    names: Sequence[str],
    word: str,
) -> str:
    means = rates.groupby(codes)[column.replace("_window", "_mean")].last().to_numpy(np.float64)
    means = np.where(means > 0, means, np.nan)
    if np.isnan(means).all():
        return "none writes yet"
    slow, fast = int(np.nanargmin(means)), int(np.nanargmax(means))
    return (
        f"{names[slow]} is slowest with {format_rate(float(means[slow]), word)}, "
        f"{names[fast]} fastest with {format_rate(float(means[fast]), word)} on average"
    )
