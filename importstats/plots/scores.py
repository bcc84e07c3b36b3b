"""Scores: how wrong each ETA method was, and whether its intervals hold as often as promised."""

from __future__ import annotations

from typing import Any, Literal

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from importstats.plots.hatching import MARKER_CYCLE
from importstats.plots.style import (
    CYCLE,
    GREY,
    OTHER_COLOR,
    add_grid,
    add_legend,
    axes_or_new,
    label,
    leave_empty,
    set_title,
    share_text,
)


def plot_eta_error(
    scores: pd.DataFrame,
    *,
    support: Literal["answered", "both", "all"] = "answered",
    ax: Axes | None = None,
) -> Axes:
    """Draw each ETA method's error over the jobs' lives: median and 90th percentile.

    Parameters
    ----------
    scores : DataFrame
        :attr:`Backtest.by_tenth <importstats.analysis.scoring.Backtest>`.
    support : {"answered", "both", "all"}
        Which snapshots count, see :func:`~importstats.analysis.scoring.score`.
    ax : Axes, optional
        Where to draw.
    """
    ax = axes_or_new(ax, (8, 4))
    rows = scores[scores["support"].eq(support) & scores["median_relative_error"].notna()]
    if rows.empty:
        return leave_empty(ax, "No scored predictions")
    for place, (method, own) in enumerate(rows.groupby("method", observed=True, sort=False)):
        own = own.sort_values("tenth")
        middle = own["tenth"].to_numpy() * 10 + 5
        look = _method_look(place)
        ax.plot(middle, own["median_relative_error"], ms=4, label=label(method), **look)
        ax.plot(middle, own["p90_relative_error"], ls=":", lw=1.2, ms=3, **look)
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    ax.set_xlim(0, 100)
    ax.xaxis.set_major_formatter(PercentFormatter(100))
    ax.set_xlabel("share of the job's life that is over")
    ax.set_ylabel("error, of the time left")
    handles, _ = ax.get_legend_handles_labels()
    handles.append(Line2D([], [], color=OTHER_COLOR, ls=":", label="90th percentile"))
    add_legend(ax, handles, loc="best")
    add_grid(ax)
    set_title(ax, _closest(rows))
    return ax


def _method_look(place: int) -> dict[str, Any]:
    marker = MARKER_CYCLE[place % len(MARKER_CYCLE)]
    return {"color": CYCLE[place % len(CYCLE)], "marker": marker}


def _closest(scores: pd.DataFrame) -> str:
    """A sentence: which method has the smallest median error in most tenths of the jobs' lives."""
    best = scores.loc[scores.groupby("tenth")["median_relative_error"].idxmin(), "method"]
    counts = best.astype("str").value_counts()
    return f"{label(counts.index[0])} is closest in {counts.iloc[0]} of {len(best)} tenths"


def plot_calibration(predictions: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw how often jobs ended before each promised quantile: whether intervals are honest.

    A method on the diagonal promises exactly what happens. Below the diagonal, jobs end later than
    promised.

    Parameters
    ----------
    predictions : DataFrame
        :attr:`Backtest.predictions <importstats.analysis.scoring.Backtest>`.
    ax : Axes, optional
        Where to draw.
    """
    ax = axes_or_new(ax, (5, 5))
    levels = (0.1, 0.5, 0.9)
    columns = ["remaining_p10_s", "remaining_p50_s", "remaining_p90_s"]
    known = predictions.dropna(subset=columns)
    if known.empty:
        return leave_empty(ax, "No predictions with an interval")
    ax.plot([0, 1], [0, 1], color=GREY, lw=1, label="perfect")
    texts = []
    for place, (method, own) in enumerate(known.groupby("method", observed=True, sort=False)):
        true = own["true_remaining_s"]
        shares = [float((true <= own[column]).mean()) for column in columns]
        ax.plot(levels, shares, label=label(method), **_method_look(place))
        held = float(true.between(own[columns[0]], own[columns[2]]).mean())
        texts.append(f"{label(method)} {share_text(held)} of {len(own):,} times")
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    ax.set_aspect("equal")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(PercentFormatter(1))
    ax.set_xlabel("promised share of ends before the quantile")
    ax.set_ylabel("observed share")
    add_legend(ax, loc="upper left")
    add_grid(ax)
    set_title(ax, "The 80 % interval held the truth: " + "; ".join(texts))
    return ax
