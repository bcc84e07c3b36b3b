"""Plots: each draws one analysis result on an Axes and returns it; :func:`overview` draws them all.

A plot draws on `ax`, or on a new pyplot figure where none is given (which notebooks show by
themselves). Times are shown in `zone`, by default the reader's own, and the axis names it. Titles
say what the plot shows has been found. Names that a server sent are drawn as plain text: never as
mathtext, never with control characters, and characters the font lacks as a replacement character.

The colours are those of Okabe and Ito ("Color Universal Design", 2008), which people with any kind
of colour vision tell apart, and two of Tol's where eight are too few; one thing has one colour in
all plots.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from io import BytesIO
from itertools import takewhile
from typing import Any, Final, Literal

import matplotlib
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib import dates as mdates
from matplotlib import font_manager
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Annotation
from matplotlib.ticker import EngFormatter, FuncFormatter, MaxNLocator, PercentFormatter

from importstats.analysis.forecast import eta
from importstats.analysis.lateness import stragglers
from importstats.analysis.phase import job_codes, phases, with_phase
from importstats.analysis.rates import throughput
from importstats.analysis.samples import FileSamples
from importstats.analysis.words import answered_snapshots, clock, eta_text, headline, in_zone
from importstats.arrays import Floats, Ints
from importstats.names import END_PHASES, JOB_KEY
from importstats.text import (
    UNKNOWN,
    format_duration,
    format_percent,
    format_rate,
    printable,
)

_GREY: Final = "#999999"
_ORANGE: Final = "#E69F00"
_SKY: Final = "#56B4E9"
_GREEN: Final = "#009E73"
_YELLOW: Final = "#F0E442"
_BLUE: Final = "#0072B2"
_VERMILLION: Final = "#D55E00"
_PURPLE: Final = "#CC79A7"
_WINE: Final = "#882255"

#: One colour per phase.
PHASE_COLORS: Final[Mapping[str, str]] = {
    "Pending": _GREY,
    "PreImporting": _SKY,
    "Importing": _BLUE,
    "Sorting": _PURPLE,
    "IndexBuilding": _ORANGE,
    "Uncommitted": _YELLOW,
    "Committing": _WINE,
    "Completed": _GREEN,
    "Failed": _VERMILLION,
    "Unknown": "#CCCCCC",
}

#: One colour per state of a file, in lower case; others are drawn in :data:`OTHER_COLOR`.
FILE_STATE_COLORS: Final[Mapping[str, str]] = {
    "pending": "#BBBBBB",
    "none": "#BBBBBB",
    "": "#BBBBBB",
    "inprogress": _BLUE,
    "retry": _PURPLE,
    "completed": _GREEN,
    "failed": _VERMILLION,
}

#: One colour per verdict of :func:`~importstats.stragglers`.
VERDICT_COLORS: Final[Mapping[str, str]] = {
    "ok": _BLUE,
    "done": _GREEN,
    "waiting": "#BBBBBB",
    "big": _SKY,
    "slow": _ORANGE,
    "stuck": _VERMILLION,
    "retried": _PURPLE,
    "failed": _WINE,
}

#: The colour of what has none of its own.
OTHER_COLOR: Final = "#666666"

# ETA methods and other things that come in any number.
_CYCLE: Final = (_BLUE, _ORANGE, _GREEN, _VERMILLION, _PURPLE, _SKY, _WINE, _GREY)

# Up to so many files each have a row and a name of their own.
_NAMED_FILES: Final = 60
_NAMED_IN_OVERVIEW: Final = 36
_ROW_IN: Final = 0.2
_HEATMAP_ROWS: Final = 500
_HEATMAP_COLUMNS: Final = 400
_SPREAD_TIMES: Final = 200
_DAY_US: Final = 86_400_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_BAND_ALPHA: Final = 0.16
# A title may be so many characters; a name in it less.
_TITLE: Final = 400


class ShownFigure(Figure):
    """A figure that a notebook shows by itself, whatever backend pyplot has or has not set up."""

    def _repr_png_(self) -> bytes:
        png = BytesIO()
        self.savefig(png, format="png", dpi=100)
        return png.getvalue()


def plot_progress(
    jobs: pd.DataFrame,
    eta: pd.DataFrame | None = None,
    *,
    zone: tzinfo | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Progress over time on bands of the phases, and where it is going: the ETA cone.

    The cone opens at the latest snapshot and reaches 100 % at the earliest (p10) and latest (p90)
    end that the ETA gives; the dashed line ends at the median. Only its three ends are predicted,
    the straight sides are a guide to the eye. A failed job, which says that its progress is 0,
    keeps the progress it was last seen with, and a cross.

    Parameters
    ----------
    jobs : DataFrame
        A jobs frame of one job, see :mod:`importstats.store.frames`.
    eta : DataFrame, optional
        Its :func:`~importstats.eta`.
    zone : tzinfo, optional
        Zone of the times shown, by default the reader's.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        The frame holds several jobs.

    Examples
    --------
    >>> from datetime import UTC
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
    _one_job(jobs)
    ax = _axes(ax, (9, 4))
    if jobs["observed_at"].isna().all():
        return _nothing(ax, "No snapshots yet")
    _draw_progress(ax, jobs, eta, zone)
    _title(ax, label(headline(jobs, eta, zone=zone), _TITLE), above_pt=20)
    return ax


def plot_eta(
    eta: pd.DataFrame,
    *,
    end: datetime | None = None,
    zone: tzinfo | None = None,
    ax: Axes | None = None,
) -> Axes:
    """The end that was predicted at each snapshot, with its interval, and the true end.

    A prediction that holds is a level line. No end can lie below the grey diagonal, which is now.

    Parameters
    ----------
    eta : DataFrame
        The :func:`~importstats.eta` of one job.
    end : datetime, optional
        The true end. By default that of an eta row in the phase Completed.
    zone, ax
        As for :func:`plot_progress`.

    Returns
    -------
    Axes
    """
    _one_job(eta)
    ax = _axes(ax, (9, 4))
    rows = eta.sort_values("observed_at")
    if end is None:
        end = _true_end(rows)
    known = rows[rows["eta_p50"].notna() & ~rows["phase"].astype("str").isin(END_PHASES)]
    if known.empty:
        reason = _last_text(rows, "reason")
        return _nothing(ax, label(f"No ETA: {reason}", _TITLE) if reason else "No ETA yet")
    zone = _zone(zone, known["observed_at"].iloc[-1])
    x = _days(known["observed_at"])
    p10, p50, p90 = (_days(known[name]) for name in ("eta_p10", "eta_p50", "eta_p90"))
    ax.fill_between(x, p10, p90, color=_BLUE, alpha=0.2, lw=0, step="post", label="80 % interval")
    ax.step(x, p50, where="post", color=_BLUE, lw=1.8, label="predicted end")
    if len(x) == 1:
        ax.plot(x, p50, "o", color=_BLUE)
    if end is not None:
        true = float(_days(pd.Series([end]))[0])
        ax.axhline(true, color=_GREEN, lw=1.5, ls="--", label="true end")
    # Early predictions can be months off; the axis shows the scale of the job's life.
    best = float(_days(pd.Series([end]))[0]) if end is not None else p50[-1]
    span = max(best, x[-1]) - x[0] or 60 / 86_400
    top = min(np.nanmax(np.append(p90, best)), max(x[0] + 2.5 * span, p90[-1]))
    right = x[-1] if len(x) > 1 else x[-1] + span
    ax.axline((x[0], x[0]), slope=1, color=_GREY, lw=1, label="now")
    ax.set_xlim(x[0], max(right, best if end is not None else right))
    ax.set_ylim(x[0], top + 0.05 * (top - x[0]))
    _time_axis(ax, zone)
    _time_axis(ax, zone, which="y", label="predicted end")
    _legend(ax, loc="best")
    _grid(ax)
    if end is None:
        text = f"By the latest of {len(known):,} predictions it {eta_text(known, zone)}"
        if str(rows["phase"].iloc[-1]) == "Failed":
            text = (
                f"It failed; by the last of {len(known):,} predictions it {eta_text(known, zone)}"
            )
    else:
        inside = float(np.mean((p10 <= best) & (best <= p90)))
        error = np.median(np.abs(p50 - best) / np.maximum(best - x, 1e-9))
        text = (
            f"The true end lay within the interval at {_percent(inside)} of the snapshots; "
            f"median error {_percent(float(error))} of the time left"
        )
    _title(ax, text)
    return ax


def plot_throughput(
    rates: pd.DataFrame,
    *,
    unit: Literal["rows", "bytes"] = "rows",
    zone: tzinfo | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Rows (or bytes) per second over time.

    Of one job, file, task or collection: the rate between two snapshots as an area, that over the
    window as a line. Of up to eight: their windowed rates. Of more: the median and the middle
    80 % of them.

    Parameters
    ----------
    rates : DataFrame
        A result of :func:`~importstats.throughput`, by anything.
    unit : {"rows", "bytes"}
    zone, ax
        As for :func:`plot_progress`.

    Returns
    -------
    Axes
    """
    ax = _axes(ax, (9, 3))
    word = "rows" if unit == "rows" else "B"
    rates = rates.sort_values("observed_at", kind="stable")
    windowed, instant = f"{unit}_per_s_window", f"{unit}_per_s"
    if rates[windowed].isna().all():
        return _nothing(ax, "No throughput yet: it takes two snapshots with rows")
    zone = _zone(zone, rates["observed_at"].iloc[-1])
    names, codes = _rate_keys(rates)
    if len(names) == 1:
        x = _days(rates["observed_at"])
        ax.fill_between(
            x, rates[instant], step="pre", color=_SKY, alpha=0.45, lw=0, label="between snapshots"
        )
        width = 1.8 if len(x) < 300 else 1.1
        ax.plot(x, rates[windowed], color=_BLUE, lw=width, label="over the window")
        text = _rate_finding(rates, windowed, word, zone)
    elif len(names) <= len(_CYCLE):
        for code, name in enumerate(names):
            own = rates[codes == code]
            # Where nothing changed there is no sample: the rate of a sample reaches back.
            x = _days(own["observed_at"])
            ax.step(x, own[windowed], where="pre", color=_CYCLE[code], lw=1.4, label=name)
        text = f"Throughput of {len(names)}: {_range_text(rates, codes, windowed, names, word)}"
    else:
        x, low, middle, high = _rate_spread(rates, codes, windowed)
        ax.fill_between(x, low, high, color=_SKY, alpha=0.35, lw=0, label="the middle 80 %")
        ax.plot(x, middle, color=_BLUE, lw=1.8, label=f"median of {len(names):,}")
        text = f"Throughput of {len(names):,}: {_range_text(rates, codes, windowed, names, word)}"
    many = 1 < len(names) <= len(_CYCLE)
    taken = 0.0 if many else _legend_above(ax)
    if many:
        _legend(ax, loc="upper right")
    ax.set_ylim(0, None if rates[windowed].gt(0).any() else 1)
    ax.set_ylabel("rows per second" if unit == "rows" else "bytes per second")
    ax.yaxis.set_major_formatter(EngFormatter(sep=" "))
    ax.yaxis.set_major_locator(MaxNLocator(5))
    _time_axis(ax, zone)
    _grid(ax)
    _title(ax, text, taken_in=taken)
    return ax


def plot_files(
    details: pd.DataFrame,
    stragglers: pd.DataFrame | None = None,
    *,
    at: datetime | None = None,
    named: int = _NAMED_FILES,
    zone: tzinfo | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Every file's states over time, one row each; stragglers are named and marked.

    Up to `named` files have a row and a name each. Of more, a third as many do, the worst of the
    stragglers and failed files (or, without `stragglers`, those that took longest), and all others
    are thin lines below them in the order in which they started. The folder that all files are in
    stands at the axis, not in every name.

    Parameters
    ----------
    details : DataFrame
        A details frame of one job, expanded or runs.
    stragglers : DataFrame, optional
        Its :func:`~importstats.stragglers`, for marks and verdicts.
    at : datetime, optional
        Leave out what was seen later.
    named : int
        How many files may have a row each.
    zone, ax
        As for :func:`plot_progress`.

    Returns
    -------
    Axes
    """
    _one_job(details)
    files, spans = _file_spans(details, at)
    if files.empty:
        return _nothing(_axes(ax, (9, 3)), "No files yet: the server lists them when it imports")
    worth, rest = _rows_of(_judged(files, stragglers), named)
    folded = _folded_rows(len(rest))
    rest_top = len(worth) + 0.5 * bool(len(worth)) - 0.5
    bottom = rest_top + folded if len(rest) else len(worth) - 0.4
    ax = _axes(ax, (9, files_height(details, stragglers, named=named)))
    zone = _zone(zone, spans["end"].max())

    top, height = np.full(len(files), np.nan), np.full(len(files), 0.72)
    top[worth.index] = np.arange(len(worth)) - 0.36
    if len(rest):
        height[rest.index] = folded / len(rest)
        top[rest.index] = rest_top + folded / len(rest) * np.arange(len(rest))
    _draw_spans(ax, spans, top, height, rasterized=len(rest) > 0)
    prefix = _common_folder(files["file"])
    labels = [_short(name, prefix) for name in worth["file"]]
    ticks = [float(row) for row in range(len(worth))]
    if len(rest):
        ticks.append(rest_top + folded / 2)
        labels.append(f"{len(rest):,} {'other ' * bool(len(worth))}files,\nby start")
    ax.set_yticks(ticks, labels=labels, fontsize="small")
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(bottom, -0.6)
    _span_limits(ax, spans)
    _mark_stragglers(ax, worth, spans)
    if prefix:
        ax.set_ylabel(f"files in {label(prefix, 30)}", fontsize="small")
    _time_axis(ax, zone)
    taken = _state_legend(ax, spans)
    _title(ax, _files_finding(files, stragglers), taken_in=taken)
    return ax


def files_height(
    details: pd.DataFrame, stragglers: pd.DataFrame | None = None, *, named: int = _NAMED_FILES
) -> float:
    """The height in inches that lets the rows of :func:`plot_files` be read.

    Parameters are those of :func:`plot_files`.

    Examples
    --------
    >>> details = pd.DataFrame({"file_index": range(10_000)})
    >>> round(files_height(details.head(30))), round(files_height(details))
    (7, 8)
    """
    count = len(details["file_index"].unique())
    if count <= named:
        return 1.0 + _ROW_IN * count
    own = named // 3
    if stragglers is not None:
        own = min(own, int(stragglers["is_straggler"].sum()))
    return 1.0 + _ROW_IN * (own + _folded_rows(count - own))


def plot_file_heatmap(
    details: pd.DataFrame,
    *,
    at: datetime | None = None,
    zone: tzinfo | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Files by time, coloured by progress: what thousands of files do, on one image.

    Files stand in the order in which they started. Where there are more than fit, neighbours share
    a line, which shows their mean progress, and failed or retried as soon as one of them is.

    Parameters
    ----------
    details : DataFrame
        A details frame of one job, expanded or runs.
    at : datetime, optional
        Leave out what was seen later.
    zone, ax
        As for :func:`plot_progress`.

    Returns
    -------
    Axes
    """
    _one_job(details)
    ax = _axes(ax, (9, 4.5))
    samples = FileSamples.of(details, _microseconds(at))
    if not len(samples.key):
        return _nothing(ax, "No files yet: the server lists them when it imports")
    files, spans = _spans_of(samples)
    begin, last = int(samples.slot_time.min()), int(samples.slot_time.max())
    zone = _zone(zone, pd.Timestamp(last, unit="us", tz="UTC"))
    columns = min(_HEATMAP_COLUMNS, max(2, len(np.unique(samples.slot_time))))
    grid = np.linspace(begin, max(last, begin + 1_000_000), columns).astype(np.int64)
    image = _progress_image(samples, files, grid)
    shown = ax.imshow(
        image,
        aspect="auto",
        interpolation="nearest",
        extent=(grid[0] / _DAY_US, grid[-1] / _DAY_US, len(files), 0),
        cmap=_heat_map(),
        vmin=0,
        vmax=100,
        rasterized=True,
    )
    bar = shown.axes.figure.colorbar(shown, ax=ax, pad=0.01, aspect=30)
    bar.set_label("progress (%)")
    bar.outline.set_visible(False)
    seen = set(spans["state"])
    extremes = [
        Patch(color=FILE_STATE_COLORS[name], label=name)
        for name in ("retry", "failed")
        if name in seen
    ]
    taken = _legend_above(ax, extremes) if extremes else 0.0
    ax.set_ylabel("files, by start")
    ax.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    _time_axis(ax, zone)
    _title(ax, _files_finding(files, None), taken_in=taken)
    return ax


def plot_stragglers(stragglers: pd.DataFrame, *, top: int = 20, ax: Axes | None = None) -> Axes:
    """The files that are behind, the latest first, with how late and why.

    Parameters
    ----------
    stragglers : DataFrame
        The :func:`~importstats.stragglers` of one job.
    top : int
        Show at most so many.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
    """
    _one_job(stragglers)
    late = stragglers[stragglers["is_straggler"].astype("bool")]
    ranked = late.sort_values(["delay_s", "score"], ascending=False, kind="stable").head(top)
    ax = _axes(ax, (9, max(1.8, 0.26 * len(ranked) + 1.2)))
    if ranked.empty:
        return _nothing(ax, f"No stragglers among {len(stragglers):,} files")
    prefix = _common_folder(stragglers["file"])
    delay = ranked["delay_s"].to_numpy(np.float64, na_value=np.nan)
    scale, unit = _duration_unit(np.nanmax(delay) if np.isfinite(delay).any() else 1.0)
    place = np.arange(len(ranked))
    verdicts = ranked["verdict"].astype("str").tolist()
    ax.barh(
        place,
        np.nan_to_num(delay) / scale,
        height=0.7,
        color=[VERDICT_COLORS.get(verdict, OTHER_COLOR) for verdict in verdicts],
    )
    for row, (seconds, verdict) in enumerate(zip(delay, verdicts, strict=True)):
        ax.annotate(
            _lateness(verdict, seconds),
            (max(np.nan_to_num(seconds), 0) / scale, row),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize="small",
        )
    ax.set_yticks(place, labels=[_short(name, prefix) for name in ranked["file"]], fontsize="small")
    ax.tick_params(axis="y", length=0)
    ax.invert_yaxis()
    ax.margins(x=0.2)
    ax.set_xlim(left=0)
    ax.set_xlabel(f"delay ({unit})")
    if prefix:
        ax.set_ylabel(f"files in {label(prefix, 40)}", fontsize="small")
    _grid(ax, "x")
    worst = _short(ranked["file"].iloc[0], prefix)
    count = "1 straggler" if len(late) == 1 else f"{len(late):,} stragglers"
    _title(
        ax,
        f"{count} of {len(stragglers):,} files; the latest is {worst}: "
        f"{_lateness(verdicts[0], delay[0])}",
    )
    return ax


def plot_eta_error(
    scores: pd.DataFrame,
    *,
    support: Literal["answered", "both", "all"] = "answered",
    ax: Axes | None = None,
) -> Axes:
    """How wrong each ETA method was over the life of the jobs: median and 90th percentile.

    Parameters
    ----------
    scores : DataFrame
        :attr:`Backtest.by_tenth <importstats.analysis.scoring.Backtest>`.
    support : {"answered", "both", "all"}
        Which snapshots count, see :func:`~importstats.analysis.scoring.score`.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
    """
    ax = _axes(ax, (8, 4))
    rows = scores[scores["support"].eq(support) & scores["median_relative_error"].notna()]
    if rows.empty:
        return _nothing(ax, "No scored predictions")
    for place, (method, own) in enumerate(rows.groupby("method", observed=True, sort=False)):
        own = own.sort_values("tenth")
        middle = own["tenth"].to_numpy() * 10 + 5
        color = _CYCLE[place % len(_CYCLE)]
        ax.plot(middle, own["median_relative_error"], "o-", ms=4, color=color, label=label(method))
        ax.plot(middle, own["p90_relative_error"], ":", lw=1.2, color=color)
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    ax.set_xlim(0, 100)
    ax.xaxis.set_major_formatter(PercentFormatter(100))
    ax.set_xlabel("share of the job's life that is over")
    ax.set_ylabel("error, of the time left")
    handles, _ = ax.get_legend_handles_labels()
    handles.append(Line2D([], [], color=OTHER_COLOR, ls=":", label="90th percentile"))
    _legend(ax, handles, loc="best")
    _grid(ax)
    _title(ax, _closest(rows))
    return ax


def _closest(scores: pd.DataFrame) -> str:
    """Which method has the smallest median error, and in how many tenths of the jobs' life."""
    best = scores.loc[scores.groupby("tenth")["median_relative_error"].idxmin(), "method"]
    counts = best.astype("str").value_counts()
    return f"{label(counts.index[0])} is closest in {counts.iloc[0]} of {len(best)} tenths"


def plot_calibration(predictions: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Whether the intervals are honest: how often the truth came before each promised quantile.

    On the diagonal a method is as sure as it may be. Below it ends come later than promised.

    Parameters
    ----------
    predictions : DataFrame
        :attr:`Backtest.predictions <importstats.analysis.scoring.Backtest>`.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
    """
    ax = _axes(ax, (5, 5))
    levels = (0.1, 0.5, 0.9)
    columns = ["remaining_p10_s", "remaining_p50_s", "remaining_p90_s"]
    told = predictions.dropna(subset=columns)
    if told.empty:
        return _nothing(ax, "No predictions with an interval")
    ax.plot([0, 1], [0, 1], color=_GREY, lw=1, label="perfect")
    texts = []
    for place, (method, own) in enumerate(told.groupby("method", observed=True, sort=False)):
        true = own["true_remaining_s"]
        shares = [float((true <= own[column]).mean()) for column in columns]
        ax.plot(levels, shares, "o-", color=_CYCLE[place % len(_CYCLE)], label=label(method))
        held = float(true.between(own[columns[0]], own[columns[2]]).mean())
        texts.append(f"{label(method)} {_percent(held)} of {len(own):,} times")
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    ax.set_aspect("equal")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(PercentFormatter(1))
    ax.set_xlabel("promised share of ends before the quantile")
    ax.set_ylabel("observed share")
    _legend(ax, loc="upper left")
    _grid(ax)
    _title(ax, "The 80 % interval held the truth: " + "; ".join(texts))
    return ax


def plot_comparison(
    phases: pd.DataFrame,
    summary: pd.DataFrame | None = None,
    *,
    top: int = 40,
    ax: Axes | None = None,
) -> Axes:
    """Jobs side by side: how long each took, phase by phase.

    Parameters
    ----------
    phases : DataFrame
        The :func:`~importstats.phases` of any number of jobs.
    summary : DataFrame, optional
        Their :func:`~importstats.summary`, for the names of their collections.
    top : int
        Show at most so many jobs, the longest.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
    """
    timed = phases[phases["duration_s"].notna()]
    codes, keys = job_codes(timed)
    total = np.bincount(codes, weights=timed["duration_s"].to_numpy(), minlength=len(keys))
    ranked = np.argsort(-total, kind="stable")[:top]
    ax = _axes(ax, (9, max(2.0, 0.3 * len(ranked) + 1.2)))
    if not len(ranked):
        return _nothing(ax, "No phase has lasted yet")
    scale, unit = _duration_unit(float(total.max()))
    row_of = np.full(len(keys), -1)
    row_of[ranked] = np.arange(len(ranked))
    run = timed["duration_s"]
    left = (run.groupby(codes).cumsum() - run).to_numpy() / scale
    row = row_of[codes]
    names = timed["phase"].astype("str").to_numpy()
    for phase, color in PHASE_COLORS.items():
        own = (names == phase) & (row >= 0)
        if own.any():
            width = run.to_numpy()[own] / scale
            ax.barh(row[own], width, left=left[own], height=0.7, color=color, label=phase)
    texts = _job_names(keys.iloc[ranked], summary)
    ax.set_yticks(range(len(ranked)), labels=texts, fontsize="small")
    ax.tick_params(axis="y", length=0)
    ax.invert_yaxis()
    ax.set_xlabel(f"duration ({unit})")
    ax.set_ylabel("job")
    _legend(ax)
    _grid(ax, "x")
    longest = timed[codes == ranked[0]]
    by_phase = longest.groupby("phase", observed=True)["duration_s"].sum()
    share = by_phase.max() / by_phase.sum() if by_phase.sum() else np.nan
    job_id = label(keys["job_id"].iloc[ranked[0]], 14)
    _title(
        ax,
        f"Job {job_id} took {format_duration(total[ranked[0]])}, "
        f"{_percent(share)} of it in {by_phase.idxmax()}",
    )
    return ax


def _job_names(keys: pd.DataFrame, summary: pd.DataFrame | None) -> list[str]:
    """The id of each job, with its collection if that is known, and its server if there are two."""
    keys = keys.astype("str")
    servers = keys["source_uri"].str.split("://").str[-1]
    several = len(keys["source_uri"].unique()) > 1
    names = [label(job_id, 40 if summary is None else 14) for job_id in keys["job_id"]]
    if summary is not None:
        collections = summary[[*JOB_KEY, "collection_name"]].astype("str")
        known = keys.merge(collections, on=JOB_KEY, how="left")["collection_name"]
        names = [
            name if pd.isna(collection) else f"{name} {label(collection, 16)}"
            for name, collection in zip(names, known, strict=True)
        ]
    if several:
        names = [f"{name} on {label(uri, 20)}" for name, uri in zip(names, servers, strict=True)]
    return names


def overview(
    jobs: pd.DataFrame,
    details: pd.DataFrame | None = None,
    *,
    at: datetime | None = None,
    history: pd.DataFrame | Sequence[pd.DataFrame] | None = None,
    zone: tzinfo | None = None,
) -> Figure:
    """One figure of one job: progress with phases and ETA, throughput, and every file.

    Parameters
    ----------
    jobs, details : DataFrame
        The job's frames, see :mod:`importstats.store.frames`.
    at : datetime, optional
        Now; by default the time of the latest snapshot.
    history : DataFrame or sequence of DataFrame, optional
        Jobs frames of earlier jobs, for the ETA.
    zone : tzinfo, optional
        Zone of the times shown, by default the reader's.

    Returns
    -------
    Figure
        Not known to pyplot: nothing to close. Save it with ``savefig``.

    Raises
    ------
    ValueError
        The frames hold several jobs.
    """
    _one_job(jobs)
    if jobs["observed_at"].isna().all():
        figure = ShownFigure(figsize=(10, 3), layout="constrained")
        _nothing(figure.subplots(), "No snapshots yet")
        return figure
    at = at or jobs["observed_at"].max()
    estimates = eta(jobs, details, history=history, at=at)
    judged = None if details is None or details.empty else stragglers(details, at=at)
    return draw_overview(
        jobs, details, estimates, judged, throughput(jobs, by="job"), at=at, zone=zone
    )


def draw_overview(
    jobs: pd.DataFrame,
    details: pd.DataFrame | None,
    eta: pd.DataFrame,
    stragglers: pd.DataFrame | None,
    rates: pd.DataFrame,
    *,
    at: datetime,
    zone: tzinfo | None = None,
) -> Figure:
    """The figure of :func:`overview` from results that are there already.

    Parameters
    ----------
    jobs, details : DataFrame
        The job's frames.
    eta, stragglers, rates : DataFrame
        Results of :func:`~importstats.eta`, :func:`~importstats.stragglers` (or
        ``None``) and :func:`~importstats.throughput` by job.
    at : datetime
        Now.
    zone : tzinfo, optional
        Zone of the times shown, by default the reader's.

    Returns
    -------
    Figure
    """
    zone = _zone(zone, at)
    flows = bool(rates["rows_per_s_window"].gt(0).any())
    heights = [2.7]
    if flows:
        heights.append(1.5)
    if details is not None and not details.empty:
        heights.append(files_height(details, stragglers, named=_NAMED_IN_OVERVIEW) - 0.7)
    figure = ShownFigure(figsize=(11, sum(heights) + 0.5 * len(heights)), layout="constrained")
    grid = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)
    panels = list(grid[:, 0])
    _draw_progress(panels[0], jobs, eta, zone)
    limits = panels[0].get_xlim()
    if flows:
        plot_throughput(rates, zone=zone, ax=panels[1])
    if details is not None and not details.empty:
        plot_files(details, stragglers, at=at, named=_NAMED_IN_OVERVIEW, zone=zone, ax=panels[-1])
    _share_time(panels, limits, jobs, eta, at)
    for panel in panels[:-1]:
        panel.set_xlabel("")
    figure.suptitle(
        _wrapped(label(headline(jobs, eta, stragglers, zone=zone), _TITLE), 10.5, 15),
        x=0.01,
        ha="left",
        fontsize=13,
        fontweight="bold",
    )
    return figure


def label(text: object, limit: int = 60) -> str:
    r"""A server's text as matplotlib can draw it, shortened at the front, where names are alike.

    On one line of printable characters; ``$`` escaped, so that it never starts mathtext; and what
    the font cannot draw replaced, unless it is left to the fonts of the one who looks at it
    (``svg.fonttype`` is ``none``).

    Examples
    --------
    >>> label("$x$\x1b[31m")
    '\\$x\\$ [31m'
    >>> label("exports/2026/part-00001.parquet", 20)
    '…/part-00001.parquet'
    """
    line = printable(str(text), 4096)
    if len(line) > limit:
        line = "…" + line[-(limit - 1) :]
    if matplotlib.rcParams["svg.fonttype"] != "none":
        drawable = _drawable(tuple(matplotlib.rcParams["font.family"]))
        line = "".join(c if ord(c) in drawable else "\ufffd" for c in line)
    return line.replace("$", r"\$")


@lru_cache(maxsize=8)
def _drawable(families: tuple[str, ...]) -> frozenset[int]:
    """The characters that the fonts in use have."""
    found = (
        font_manager.findfont(font_manager.FontProperties(family=[family])) for family in families
    )
    return frozenset().union(*(font_manager.get_font(path).get_charmap() for path in found))


# -- Axes -----------------------------------------------------------------------------------------


def _axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    if ax is not None:
        return ax
    from matplotlib import pyplot  # Slow to import, and not needed by who brings axes.

    return pyplot.figure(figsize=size, layout="constrained").subplots()


def _nothing(ax: Axes, text: str) -> Axes:
    """Say why there is nothing to draw."""
    ax.set_axis_off()
    _title(ax, text)
    return ax


def _wrapped(text: str, width_in: float, size_pt: float) -> str:
    return "\n".join(textwrap.wrap(text, max(20, int(width_in * 72 / (0.49 * size_pt)))))


def _width_in(ax: Axes) -> float:
    figure = ax.get_figure(root=True)
    # A little more than matplotlib's default margins leave, as the layout engine finds out later.
    share = 1.08 * ax.get_position().width
    return 8.0 if figure is None else float(figure.get_figwidth() * share)


def _title(ax: Axes, text: str, *, taken_in: float = 0.0, above_pt: float = 6) -> None:
    """A title at the left, broken where the axes (less what is taken of their width) end."""
    size = 11
    lines = _wrapped(text, _width_in(ax) - taken_in, size)
    ax.set_title(lines, loc="left", fontsize=size, pad=above_pt)


def _legend(
    ax: Axes,
    handles: Sequence[Artist] | None = None,
    loc: Literal["lower right", "upper right", "upper left", "best"] = "lower right",
) -> None:
    """A legend that what lies below it does not disturb."""
    if handles is None:
        handles, _ = ax.get_legend_handles_labels()
    ax.legend(handles=handles, fontsize="small", loc=loc, framealpha=0.85, edgecolor="none")


def _legend_above(ax: Axes, handles: Sequence[Artist] | None = None) -> float:
    """A legend above the axes at the right; returns about how wide it is, in inches."""
    if handles is None:
        handles, _ = ax.get_legend_handles_labels()
    ax.legend(
        handles=handles,
        frameon=False,
        fontsize="small",
        ncols=len(handles),
        loc="lower right",
        bbox_to_anchor=(1, 1),
        borderaxespad=0.1,
    )
    return sum(0.6 + 0.085 * len(str(handle.get_label())) for handle in handles)


def _grid(ax: Axes, axis: Literal["both", "x", "y"] = "both") -> None:
    ax.grid(axis=axis, color="#808080", alpha=0.25, lw=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def _time_axis(ax: Axes, zone: tzinfo, which: Literal["x", "y"] = "x", label: str = "time") -> None:
    axis = ax.xaxis if which == "x" else ax.yaxis
    locator = mdates.AutoDateLocator(tz=zone, minticks=3, maxticks=8)
    formatter = mdates.ConciseDateFormatter(locator, tz=zone)
    axis.set_major_locator(locator)
    axis.set_major_formatter(formatter)
    low, _ = ax.get_xlim() if which == "x" else ax.get_ylim()
    begin: datetime = mdates.num2date(low, tz=zone)
    axis.set_label_text(f"{label} ({begin.tzname() or zone})")
    if which == "y":
        axis.get_offset_text().set_visible(False)  # The date stands at the time axis.
    ax.spines[["top", "right"]].set_visible(False)


def _zone(zone: tzinfo | None, time: datetime) -> tzinfo:
    """The zone, or the reader's own as it is at that time."""
    if zone is not None:
        return zone
    local = in_zone(time, None).tzinfo
    assert local is not None  # noqa: S101 -- astimezone gives one
    return local


def _days(times: pd.Series[Any]) -> Floats:
    """Times as matplotlib's days since 1970; NaN where missing."""
    days = mdates.date2num(times.to_numpy(dtype="datetime64[us]"))
    return np.asarray(days, dtype=np.float64)


def _microseconds(at: datetime | None) -> int | None:
    return None if at is None else (in_zone(at, UTC) - _EPOCH) // timedelta(microseconds=1)


def _duration_unit(seconds: float) -> tuple[float, str]:
    for size, unit in ((86_400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size:
            return size, unit
    return 1.0, "s"


def _percent(share: float) -> str:
    return format_percent(round(100 * share)) if np.isfinite(share) else UNKNOWN


def _weighted(values: pd.Series[Any], weights: pd.Series[Any]) -> float:
    return float(np.average(values, weights=weights.to_numpy(np.float64)))


# -- Jobs -----------------------------------------------------------------------------------------


def _one_job(frame: pd.DataFrame) -> None:
    _, keys = job_codes(frame)
    if len(keys) > 1:
        raise ValueError(
            f"this draws one job and the frame holds {len(keys)}: select one by source_uri and "
            "job_id, or compare them with plot_comparison"
        )


def _true_end(eta: pd.DataFrame) -> datetime | None:
    done = eta[eta["phase"].astype("str").eq("Completed")]
    if done.empty:
        return None
    first = done.iloc[0]
    end = first["eta_p50"] if pd.notna(first["eta_p50"]) else first["observed_at"]
    return pd.Timestamp(end).to_pydatetime()


def _last_text(frame: pd.DataFrame, name: str) -> str:
    value = frame[name].iloc[-1] if name in frame and len(frame) else None
    return printable(str(value)) if pd.notna(value) else ""


def _draw_progress(
    ax: Axes, jobs: pd.DataFrame, eta: pd.DataFrame | None, zone: tzinfo | None
) -> None:
    told = answered_snapshots(jobs)
    if told.empty:
        told = with_phase(jobs).sort_values("observed_at")
    zone = _zone(zone, told["observed_at"].iloc[-1])
    x = _days(told["observed_at"])
    failed = told["phase"].eq("Failed").to_numpy()
    progress = np.where(failed, np.nan, told["progress_pct"].to_numpy(np.float64))
    color = matplotlib.rcParams["text.color"]
    ax.step(x, progress, where="post", color=color, lw=2, solid_joinstyle="round")
    if np.isfinite(progress).sum() == 1:
        ax.plot(x, progress, "o", color=color, clip_on=False, zorder=4)
    runs = phases(jobs)
    if failed.any():
        at = float(_days(runs.loc[runs["phase"].eq("Failed"), "start"])[0])
        seen = np.flatnonzero(np.isfinite(progress))
        level = progress[seen[-1]] if len(seen) else 0.0
        ax.plot([x[seen[-1]] if len(seen) else at, at], [level, level], color=color, lw=2)
        ax.plot([at], [level], "X", ms=10, color=PHASE_COLORS["Failed"], zorder=4)
    right = x[-1]
    if eta is not None and len(eta) and str(told["phase"].iloc[-1]) not in END_PHASES:
        right = _draw_cone(ax, eta, x[-1], progress, zone)
    right = right if right > x[0] else x[0] + 60 / 86_400
    span = right - x[0]
    ax.set_xlim(x[0] - 0.01 * span, right + 0.03 * span)
    ax.set_ylim(0, 104)
    ax.set_ylabel("progress (%)")
    _draw_bands(ax, runs, x[-1])
    _time_axis(ax, zone)
    ax.grid(axis="y", color="#808080", alpha=0.25, lw=0.6)


def _draw_cone(ax: Axes, eta: pd.DataFrame, now: float, progress: Floats, zone: tzinfo) -> float:
    """The cone from the latest snapshot; returns where the axis shall end."""
    latest = eta.sort_values("observed_at").iloc[[-1]]
    p10, p50, p90 = (float(_days(latest[name])[0]) for name in ("eta_p10", "eta_p50", "eta_p90"))
    known = progress[np.isfinite(progress)]
    if not np.isfinite(p50) or not len(known):
        return now
    level = float(known[-1])
    color = matplotlib.rcParams["text.color"]
    # A far end must not press what has happened so far against the axis.
    room = max(now - float(ax.dataLim.x0), 60 / 86_400)
    right = min(p90 if np.isfinite(p90) else p50, now + room)
    if np.isfinite(p10) and np.isfinite(p90):
        ends = [p10, p90]
        ax.fill([now, *ends], [level, 100, 100], color=color, alpha=0.14, lw=0, gid="eta-interval")
        ax.plot(ends, [100, 100], color=color, lw=4, solid_capstyle="butt", alpha=0.4)
    ax.plot([now, p50], [level, 100], color=color, lw=1.5, ls="--", gid="eta-median")
    ax.plot([p50], [100], "o", color=color, ms=6, zorder=4)
    text = clock(latest["eta_p50"].iloc[0], latest["observed_at"].iloc[0], zone, named=False)
    inside = p50 <= right
    ax.annotate(
        text if inside else f"{text} →",
        (p50, 100) if inside else (right, level),
        xytext=(5, -8) if inside else (0, 4),
        textcoords="offset points",
        va="top" if inside else "bottom",
        ha="left" if p50 < (now + 9 * right) / 10 else "right",
        fontsize="small",
    )
    return right


def _draw_bands(ax: Axes, runs: pd.DataFrame, last: float) -> None:
    """A band for each run of a phase, with its name above, or where it is narrow in a legend."""
    start = _days(runs["start"])
    end = np.where(runs["end"].notna(), _days(runs["end"]), last)
    left, right = ax.get_xlim()
    inch = _width_in(ax) / (right - left)
    unnamed: list[str] = []
    for phase, begin, stop in zip(runs["phase"].astype("str"), start, end, strict=True):
        color = PHASE_COLORS[phase]
        if phase in END_PHASES:
            ax.axvline(begin, color=color, lw=2, gid=f"phase:{phase}")
            unnamed.append(phase)
            continue
        ax.axvspan(begin, stop, color=color, alpha=_BAND_ALPHA, lw=0, gid=f"phase:{phase}")
        ax.plot(
            [begin, stop],
            [1, 1],
            transform=ax.get_xaxis_transform(),
            color=color,
            lw=4,
            solid_capstyle="butt",
            clip_on=False,
        )
        if (stop - begin) * inch > 0.085 * len(phase):
            ax.text(
                (begin + stop) / 2,
                1.025,
                phase,
                transform=ax.get_xaxis_transform(),
                fontsize="small",
                ha="center",
            )
        else:
            unnamed.append(phase)
    if unnamed:
        _legend(
            ax, [Patch(color=PHASE_COLORS[name], label=name) for name in dict.fromkeys(unnamed)]
        )


def _share_time(
    panels: Sequence[Axes],
    limits: tuple[float, float],
    jobs: pd.DataFrame,
    eta: pd.DataFrame,
    at: datetime,
) -> None:
    """One time axis for all panels, and a line for now where the latest snapshot is old."""
    now = float(_days(pd.Series([at]))[0])
    last = float(_days(jobs["observed_at"]).max())
    left, right = limits
    now = float(_days(pd.Series([at]))[0])
    last = float(_days(jobs["observed_at"]).max())
    if now - last > 0.02 * (right - left) and str(eta["phase"].iloc[-1]) not in END_PHASES:
        right = max(right, now + 0.03 * (right - left))
        for panel in panels:
            panel.axvline(now, color=OTHER_COLOR, lw=1, ls=":")
        panels[0].annotate(
            "now",
            (now, 2),
            xytext=(-3, 2),
            textcoords="offset points",
            ha="right",
            fontsize="small",
        )
    for note in panels[-1].texts:
        if isinstance(note, Annotation) and note.get_gid() == "verdict":
            right = max(right, _with_room(panels[-1], left, note.xy[0], note.get_text()))
    panels[0].set_xlim(left, right)


# -- Throughput -----------------------------------------------------------------------------------


def _rate_keys(rates: pd.DataFrame) -> tuple[list[str], npt.NDArray[np.integer[Any]]]:
    """The names of what the rates are of, and per row which."""
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
            folder = _common_folder(first["file"]) if kind == "file" else ""
            names = [word + _short(name, folder) for name in first[columns[-1]]]
            return names, codes.to_numpy()
    raise ValueError("rates are what throughput() returns; these have no key columns")


def _rate_spread(
    rates: pd.DataFrame, codes: npt.NDArray[np.integer[Any]], column: str
) -> tuple[Floats, Floats, Floats, Floats]:
    """Times, and there the 10, 50 and 90 % quantiles over all keys.

    Keys are sampled at times of their own: the rate of a sample holds back to the one before.
    """
    ordered = np.lexsort((rates["observed_at"].to_numpy(), codes))
    x = _days(rates["observed_at"])[ordered]
    times = np.unique(x)
    times = times[np.linspace(0, len(times) - 1, min(_SPREAD_TIMES, len(times))).astype(int)]
    span = times[-1] - times[0] + 1
    place = codes[ordered] * span + (x - times[0])
    keys = np.arange(codes.max() + 1)
    found = np.searchsorted(place, keys[:, None] * span + (times - times[0]) - 1e-9)
    values = np.append(rates[column].to_numpy(np.float64, na_value=np.nan)[ordered], np.nan)
    of_key = np.append(codes[ordered], -1)
    table = np.where(of_key[found] == keys[:, None], values[found], np.nan)
    known = np.isfinite(table).any(axis=0)
    low, middle, high = np.nanquantile(table[:, known], [0.1, 0.5, 0.9], axis=0)
    return times[known], low, middle, high


def _rate_finding(rates: pd.DataFrame, column: str, word: str, zone: tzinfo) -> str:
    values = rates[column]
    peak = format_rate(values.max(), word)
    moving = rates[values > 0]
    if moving.empty:
        what = "rows" if word == "rows" else "bytes"
        return f"No {what} written yet"
    mean = format_rate(float(moving[column].mean()), word)
    latest = rates.iloc[-1]
    if not latest[column] > 0:
        since = clock(moving["observed_at"].iloc[-1], latest["observed_at"], zone)
        return f"Nothing written since {since}; before, {mean} on average, {peak} at most"
    return f"{format_rate(latest[column], word)} at last; {mean} on average, {peak} at most"


def _range_text(
    rates: pd.DataFrame,
    codes: npt.NDArray[np.integer[Any]],
    column: str,
    names: Sequence[str],
    word: str,
) -> str:
    means = rates.groupby(codes)[column].mean().to_numpy()
    slow, fast = int(np.nanargmin(means)), int(np.nanargmax(means))
    return (
        f"{names[slow]} is slowest with {format_rate(float(means[slow]), word)}, "
        f"{names[fast]} fastest with {format_rate(float(means[fast]), word)} on average"
    )


# -- Files ----------------------------------------------------------------------------------------


def _file_spans(details: pd.DataFrame, at: datetime | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    samples = FileSamples.of(details, _microseconds(at))
    return _spans_of(samples)


def _spans_of(samples: FileSamples) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The files, and in which state each was from when to when.

    Files: ``file_index``, ``file``, ``start``, ``end`` (of its work; NaT if none was seen),
    ``state`` (the last one). Spans: ``key`` (row of the file), ``state``, ``start``, ``end``.
    A state lasts until the next is first seen.
    """
    key, time = samples.key, samples.time
    code, names = samples.states()
    new = np.ones(len(key), np.bool_)
    new[1:] = (key[1:] != key[:-1]) | (code[1:] != code[:-1])
    first = np.flatnonzero(new)
    following = np.append(first[1:], len(key))[: len(first)]
    goes_on = np.zeros(len(first), np.bool_)
    goes_on[:-1] = key[first[1:]] == key[first[:-1]]
    stop = np.where(goes_on, time[np.minimum(following, len(key) - 1)], time[following - 1])
    spans = pd.DataFrame(
        {
            "key": key[first],
            "state": np.array(names, dtype=object)[code[first]],
            "start": _utc(time[first]),
            "end": _utc(stop),
        }
    )
    works = ~spans["state"].isin(["", "none", "pending", "completed"])
    by_file = spans[works].groupby("key")
    files = samples.keys()[["file_index", "file"]]
    files = files.assign(
        file=files["file"].astype("str"),
        start=by_file["start"].min(),
        end=by_file["end"].max(),
        state=spans.groupby("key")["state"].last(),
    )
    return files, spans


def _utc(time: Ints) -> pd.Series[Any]:
    return pd.Series(time.astype("datetime64[us]")).dt.tz_localize("UTC")


def _judged(files: pd.DataFrame, stragglers: pd.DataFrame | None) -> pd.DataFrame:
    """The files with name, verdict, delay and whether they deserve a row of their own."""
    if stragglers is None:
        taken = (files["end"] - files["start"]).dt.total_seconds()
        return files.assign(
            verdict="",
            delay_s=np.nan,
            score=np.nan,
            marked=False,
            weight=taken.fillna(0).where(files["state"].ne("failed"), np.inf),
        )
    # A file that left the list keeps the place that another file has since.
    columns = ["file_index", "file"]
    verdicts = stragglers[[*columns, "verdict", "delay_s", "score", "is_straggler"]]
    verdicts = verdicts.astype({"file": "str"}).drop_duplicates(columns)
    judged = files.merge(verdicts, on=columns, how="left")
    verdict = judged["verdict"].astype("str").where(judged["verdict"].notna(), "")
    marked = judged["is_straggler"].fillna(False).astype("bool") | verdict.eq("failed")
    delay = judged["delay_s"].astype("float64")
    weight = delay.fillna(0).where(marked, -1.0).where(verdict.ne("failed"), np.inf)
    return judged.assign(verdict=verdict, delay_s=delay, marked=marked, weight=weight)


def _rows_of(files: pd.DataFrame, named: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The files that get a row and a name, and the others, each in the order of their rows."""
    if len(files) <= named:
        return files.sort_values(_ROW_ORDER, kind="stable"), files.iloc[:0]
    worth = files[files["weight"] >= 0]
    worth = worth.sort_values(["weight", "score"], ascending=False, kind="stable")
    worth = worth.head(max(named // 3, 1))
    return worth, files.drop(worth.index).sort_values(_ROW_ORDER, kind="stable")


def _folded_rows(count: int) -> float:
    """As how many rows the files without a row of their own are drawn."""
    return float(np.clip(count / 25, 8, 14)) if count else 0.0


_ROW_ORDER: Final = ["start", "file", "file_index"]


def _draw_spans(
    ax: Axes, spans: pd.DataFrame, top: Floats, height: Floats, *, rasterized: bool
) -> None:
    start, end = _days(spans["start"]), _days(spans["end"])
    key = spans["key"].to_numpy()
    y = top[key]
    tall = height[key]
    states = spans["state"].to_numpy()
    # Waiting is a thin line, work a bar; being done is no work and shows as nothing.
    for state in dict.fromkeys(states[states != "completed"]):
        own = states == state
        waits = state in ("", "none", "pending")
        inset = np.where(tall[own] > 0.5, 0.38 * tall[own], 0.0) if waits else 0.0
        low, high = y[own] + inset, y[own] + tall[own] - inset
        x0, x1 = start[own], end[own]
        corners = np.stack(
            [np.stack([x0, x1, x1, x0], axis=1), np.stack([low, low, high, high], axis=1)], axis=2
        )
        ax.add_collection(
            PolyCollection(
                list(corners),
                facecolors=FILE_STATE_COLORS.get(state, OTHER_COLOR),
                edgecolors="none",
                alpha=0.5 if waits and rasterized else None,
                antialiaseds=not rasterized,
                rasterized=rasterized,
                gid=f"state:{printable(str(state), 60)}",
            ),
            autolim=False,
        )


def _span_limits(ax: Axes, spans: pd.DataFrame) -> None:
    left, right = float(_days(spans["start"]).min()), float(_days(spans["end"]).max())
    margin = 0.02 * (right - left) or 30 / 86_400
    ax.set_xlim(left - margin, right + margin)


def _mark_stragglers(ax: Axes, named: pd.DataFrame, spans: pd.DataFrame) -> None:
    """A diamond at the end of each straggler's bar with its verdict, and its name in bold."""
    rows = np.flatnonzero(named["marked"])
    if not len(rows):
        return
    marked = named.iloc[rows]
    last_seen = spans.groupby("key")["end"].max()
    x = _days(marked["end"].fillna(last_seen.reindex(marked.index)))
    colors = [VERDICT_COLORS.get(verdict, OTHER_COLOR) for verdict in marked["verdict"]]
    ax.scatter(x, rows, marker="D", s=26, c=colors, edgecolors="white", lw=0.7, zorder=5)
    texts = [
        _lateness(verdict, delay)
        for verdict, delay in zip(marked["verdict"], marked["delay_s"], strict=True)
    ]
    left, right = ax.get_xlim()
    for row, end, text in zip(rows, x, texts, strict=True):
        ax.annotate(
            text,
            (end, row),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            fontsize="small",
            gid="verdict",
        )
        ax.get_yticklabels()[row].set_fontweight("bold")
        right = max(right, _with_room(ax, left, end, text))
    ax.set_xlim(left, right)


def _with_room(ax: Axes, left: float, end: float, text: str) -> float:
    """Where the time axis has to end so that a text fits to the right of a bar."""
    share = min(0.02 + 0.085 * len(text) / _width_in(ax), 0.5)
    return left + (end - left) / (1 - share)


def _lateness(verdict: str, delay_s: float) -> str:
    if pd.isna(delay_s) or delay_s <= 0:
        return verdict
    return f"{verdict}, {format_duration(delay_s)} late"


def _state_legend(ax: Axes, spans: pd.DataFrame) -> float:
    """A legend of the states that are drawn; returns about how wide it is, in inches."""
    seen = dict.fromkeys(spans["state"])
    colors = {
        label(_STATE_WORDS.get(state, state), 30): FILE_STATE_COLORS.get(state, OTHER_COLOR)
        for state in (*FILE_STATE_COLORS, *seen)
        if state in seen and state != "completed"
    }
    patches = [Patch(color=color, label=name) for name, color in colors.items()]
    return _legend_above(ax, patches) if len(colors) > 1 else 0.0


_STATE_WORDS: Final = {
    "": "waiting",
    "none": "waiting",
    "pending": "waiting",
    "inprogress": "importing",
    "completed": "done",
}


def _files_finding(files: pd.DataFrame, stragglers: pd.DataFrame | None) -> str:
    words = files["state"].map(lambda state: _STATE_WORDS.get(state, state))
    counts = words.value_counts()
    total = "1 file" if len(files) == 1 else f"{len(files):,} files"
    parts = ", ".join(f"{count:,} {label(word, 30)}" for word, count in counts.items())
    if stragglers is None:
        return f"{total}: {parts}"
    late = int(stragglers["is_straggler"].sum())
    tail = f"{late:,} straggler{'s' * (late != 1)}" if late else "no stragglers"
    return f"{total}: {parts}; {tail}"


def _common_folder(names: pd.Series[Any]) -> str:
    """The folder that all files are in, with its slash; empty if there is one file or none."""
    distinct = names.dropna().astype("str").unique().tolist()
    if len(distinct) < 2:
        return ""
    # All that lies between the first and the last name begins with what these two share.
    first, last = min(distinct).split("/")[:-1], max(distinct).split("/")[:-1]
    shared = takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    return "".join(f"{folder}/" for folder, _ in shared)


def _short(name: object, prefix: str) -> str:
    text = "" if pd.isna(name) else str(name)  # type: ignore[call-overload]
    return label(text.removeprefix(prefix), 34)


def _heat_map() -> ListedColormap:
    cmap = matplotlib.colormaps["cividis"].with_extremes(
        under=FILE_STATE_COLORS["failed"], over=FILE_STATE_COLORS["retry"], bad=(0, 0, 0, 0)
    )
    assert isinstance(cmap, ListedColormap)  # noqa: S101 -- cividis is one
    return cmap


def _progress_image(samples: FileSamples, files: pd.DataFrame, grid: Ints) -> Floats:
    """Progress of each file (or group of neighbours) at each time; -1 failed, 101 retried."""
    order = files.sort_values(_ROW_ORDER, kind="stable").index.to_numpy()
    progress = samples.values("progress_pct")
    progress = np.where(samples.in_state("completed"), 100.0, progress)
    progress = np.where(samples.in_state("", "none", "pending"), 0.0, progress)
    failed, retried = samples.in_state("failed"), samples.in_state("retry")
    begin = np.searchsorted(samples.key, order, side="left")
    groups = np.array_split(np.arange(len(order)), min(_HEATMAP_ROWS, len(order)))
    # One sorted number for file and time, so that one search finds all samples of the image.
    offset = int(samples.time.min())
    span = int(max(samples.time.max(), grid[-1])) - offset + 1
    place = samples.key * span + (samples.time - offset)
    image = np.full((len(groups), len(grid)), np.nan)
    for row, group in enumerate(groups):
        wanted = order[group][:, None] * span + (grid - offset)[None, :]
        found = np.searchsorted(place, wanted, side="right") - 1
        known = found >= begin[group][:, None]
        found = np.maximum(found, 0)
        values = np.where(known, progress[found], np.nan)
        there = ~np.isnan(values)
        count = there.sum(axis=0)
        total = np.where(there, values, 0.0).sum(axis=0)
        line = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        line = np.where((known & retried[found]).any(axis=0), 101.0, line)
        image[row] = np.where((known & failed[found]).any(axis=0), -1.0, line)
    return image
