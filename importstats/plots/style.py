"""Style: colours, and what all plots share: axes, titles, legends, times and names."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from itertools import takewhile
from typing import Any, Final, Literal

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import dates as mdates
from matplotlib import patheffects
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patheffects import AbstractPathEffect
from matplotlib.text import Text
from matplotlib.transforms import ScaledTranslation

from importstats.analysis.phase import job_codes
from importstats.analysis.words import in_zone
from importstats.arrays import Floats
from importstats.plots.hatching import paper
from importstats.plots.lettering import drawable, use_fonts_for
from importstats.text import UNKNOWN, format_percent, printable

GREY: Final = "#8A8A8A"
ORANGE: Final = "#C77F00"
SKY: Final = "#2E8FC7"
GREEN: Final = "#009E73"
YELLOW: Final = "#9A8B00"
BLUE: Final = "#0072B2"
VERMILLION: Final = "#D55E00"
PURPLE: Final = "#C76BA0"
VIOLET: Final = "#8457C5"
TEAL: Final = "#2F9A89"
OLIVE: Final = "#8F8F2A"
ROSE: Final = "#CC6677"

#: One colour per phase.
PHASE_COLORS: Final[Mapping[str, str]] = {
    "Pending": GREY,
    "PreImporting": SKY,
    "Resharding": TEAL,
    "Planning": OLIVE,
    "Importing": BLUE,
    "Sorting": PURPLE,
    "SortingOrIndexing": ROSE,
    "IndexBuilding": ORANGE,
    "Uncommitted": YELLOW,
    "Committing": VIOLET,
    "Completed": GREEN,
    "Failed": VERMILLION,
    "Unknown": "#7A7A7A",
}

#: One colour per file state, in lower case; other states have :data:`OTHER_COLOR`.
FILE_STATE_COLORS: Final[Mapping[str, str]] = {
    "pending": GREY,
    "none": GREY,
    "": GREY,
    "inprogress": BLUE,
    "unseen": SKY,
    "retry": PURPLE,
    "completed": GREEN,
    "failed": VERMILLION,
}

#: One colour per verdict of :func:`~importstats.stragglers`.
VERDICT_COLORS: Final[Mapping[str, str]] = {
    "ok": BLUE,
    "done": GREEN,
    "waiting": GREY,
    "big": SKY,
    "slow": ORANGE,
    "stuck": VIOLET,
    "goes back": PURPLE,
    "unknown": YELLOW,
    "waiting behind a batch": ROSE,
    "failed": VERMILLION,
}

#: The colour of everything that has none of its own.
OTHER_COLOR: Final = "#666666"

# For ETA methods and other things of which there can be any number.
CYCLE: Final = (BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY, VIOLET, GREY)

# The height of a legend's row.
_LEGEND_PT: Final = 14
# How many characters a title may have, and a name in it.
TITLE_CHARACTERS: Final = 400


_UNIT: Final = re.compile(
    r"(?<=\d) (?=(?:[kMGTPE]?(?:B|rows)?(?:/s)?|%|s|min|h|d)(?!\w))|(?<=\d [kMGTPE]) (?=rows/s)"
)


def label(text: object, limit: int = 60) -> str:
    r"""A server's text ready for matplotlib, shortened at the front, where names are alike.

    The result is one line of printable characters. ``$`` is escaped, so that it never starts
    mathtext. A character that no installed font can draw is written as its number, unless the
    reader's own fonts draw the text (``svg.fonttype`` is ``none``).

    Examples
    --------
    >>> label("$x$\x1b[31m")
    '\\$x\\$ [31m'
    >>> label("exports/2026/part-00001.parquet", 20)
    '…/part-00001.parquet'
    """
    line = printable(str(text), 4096)
    if matplotlib.rcParams["svg.fonttype"] != "none":
        line = drawable(line)
    if len(line) > limit:
        line = "…" + line[-(limit - 1) :]
    return line.replace("$", r"\$")


def common_folder(names: pd.Series[Any]) -> str:
    """The folder that all files share, with its slash; empty if there is one file or none."""
    distinct = names.dropna().astype("str").unique().tolist()
    if len(distinct) < 2:
        return ""
    # All names between the first and the last begin with what these two share.
    first, last = min(distinct).split("/")[:-1], max(distinct).split("/")[:-1]
    shared = takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    return "".join(f"{folder}/" for folder, _ in shared)


def short_name(name: object, prefix: str) -> str:
    """A file's name without the folder that all share, as :func:`label` shows it."""
    text = "" if pd.isna(name) else str(name)  # type: ignore[call-overload]
    return label(text.removeprefix(prefix), 34)


def axes_or_new(ax: Axes | None, size: tuple[float, float]) -> Axes:
    """The axes, or those of a new pyplot figure if none are given."""
    if ax is not None:
        return ax
    from matplotlib import pyplot  # It is slow to import, and a caller with axes does not need it.

    return pyplot.figure(figsize=size, layout="constrained").subplots()


def leave_empty(ax: Axes, text: str) -> Axes:
    """Leave the axes empty, with the reason as their title."""
    ax.set_axis_off()
    set_title(ax, text)
    return ax


def wrapped(text: str, line_in: float, size_pt: float) -> str:
    """The text broken into lines that fit a width."""
    # A number stays with its unit, and "rows/s" with its prefix.
    held = _UNIT.sub("\u00a0", text)
    lines = textwrap.wrap(held, max(20, int(line_in * 72 / (0.55 * size_pt))))
    return "\n".join(lines).replace("\u00a0", " ")


def width_in(ax: Axes) -> float:
    """The approximate width of the axes, in inches."""
    figure = ax.get_figure(root=True)
    # A little more than matplotlib's default margins leave: the layout engine frees that room
    # later.
    share = 1.08 * ax.get_position().width
    return 8.0 if figure is None else float(figure.get_figwidth() * share)


def set_title(ax: Axes, text: str, *, taken_in: float = 0.0, above_pt: float = 6) -> None:
    """Set a title at the left: beside a legend above the axes if it fits, or else above it."""
    size = 11
    room = width_in(ax) - _labels_take_in(ax)
    lines = wrapped(text, room - taken_in, size)
    if taken_in and "\n" in lines:
        lines = wrapped(text, room, size)
        above_pt += _LEGEND_PT
    ax.set_title(lines, loc="left", fontsize=size, pad=above_pt)
    use_fonts_for(ax.findobj(Text))


def _labels_take_in(ax: Axes) -> float:
    """The approximate width, in inches, that long names at the left take from the axes."""
    longest = max((len(text.get_text()) for text in ax.get_yticklabels()), default=0)
    return max(0.066 * longest - 0.6, 0.0)


def add_legend(
    ax: Axes,
    handles: Sequence[Artist] | None = None,
    loc: Literal["lower right", "upper right", "upper left", "best"] = "lower right",
) -> None:
    """Add a legend that stays readable whatever is drawn below it."""
    if handles is None:
        handles, _ = ax.get_legend_handles_labels()
    ax.legend(handles=handles, fontsize="small", loc=loc, framealpha=0.85, edgecolor="none")


def add_legend_above(
    ax: Axes, handles: Sequence[Artist] | None = None, *, above_pt: float = 0
) -> float:
    """Add a legend above the axes at the right; returns its approximate width in inches."""
    if handles is None:
        handles, _ = ax.get_legend_handles_labels()
    figure = ax.get_figure(root=True)
    assert figure is not None  # noqa: S101 -- axes to draw on are in one
    ax.legend(
        handles=handles,
        frameon=False,
        fontsize="small",
        ncols=len(handles),
        loc="lower right",
        bbox_to_anchor=(1, 1),
        bbox_transform=ax.transAxes + ScaledTranslation(0, above_pt / 72, figure.dpi_scale_trans),
        borderaxespad=0.1,
        columnspacing=1.2,
        handletextpad=0.5,
    )
    return sum(0.45 + 0.068 * len(str(handle.get_label())) for handle in handles)


def add_grid(ax: Axes, axis: Literal["both", "x", "y"] = "both") -> None:
    """Draw faint grid lines, and remove the frame at the top and the right."""
    ax.grid(axis=axis, color="#808080", alpha=0.25, lw=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def on_paper() -> list[AbstractPathEffect]:
    """The effect that keeps a text readable on whatever is drawn below it."""
    return [patheffects.withStroke(linewidth=2.5, foreground=paper())]


def write_beside(ax: Axes, text: str, place: tuple[float, float], gid: str, **look: Any) -> None:
    """Write a small text to the right of a point, on top of everything drawn there."""
    ax.annotate(
        text,
        place,
        xytext=(7, 0),
        textcoords="offset points",
        va="center",
        fontsize="small",
        gid=gid,
        zorder=4,
        **look,
    )


def set_time_axis(
    ax: Axes, zone: tzinfo, which: Literal["x", "y"] = "x", name: str = "time"
) -> None:
    """Make the x axis one of times in a zone, which its label names."""
    axis = ax.xaxis if which == "x" else ax.yaxis
    locator = mdates.AutoDateLocator(tz=zone, minticks=3, maxticks=8)
    # No label is a bare number: a day has its month, a second its minute and hour.
    formatter = mdates.ConciseDateFormatter(
        locator,
        tz=zone,
        formats=["%Y", "%b %Y", "%d %b", "%H:%M", "%H:%M", "%H:%M:%S.%f"],
        zero_formats=["", "%b %Y", "%d %b", "%d %b", "%H:%M", "%H:%M:%S"],
        offset_formats=["", "", "%Y", "%Y-%m-%d", "%Y-%m-%d", "%Y-%m-%d"],
    )
    axis.set_major_locator(locator)
    axis.set_major_formatter(formatter)
    low, _ = ax.get_xlim() if which == "x" else ax.get_ylim()
    begin: datetime = mdates.num2date(low, tz=zone)
    axis.set_label_text(f"{name} ({begin.tzname() or zone})")
    if which == "y":
        axis.get_offset_text().set_visible(False)  # The axis label has the date.
    ax.spines[["top", "right"]].set_visible(False)


def name_rows(ax: Axes, names: Sequence[str]) -> None:
    """Name the rows of bars, from the top down."""
    ax.set_yticks(range(len(names)), labels=names, fontsize="small")
    ax.tick_params(axis="y", length=0)
    ax.invert_yaxis()


def hatch_gaps(ax: Axes, gaps: pd.DataFrame) -> None:
    """Hatch the times without snapshots: what is drawn there is not known."""
    for start, end in zip(days(gaps["start"]), days(gaps["end"]), strict=True):
        ax.axvspan(
            start,
            end,
            facecolor=(*to_rgb(ax.get_facecolor()), 0.82),
            edgecolor=GREY,
            hatch="////",
            lw=0,
            zorder=3,
            gid="gap",
        )


def broken(x: Floats, y: Floats, gaps: pd.DataFrame) -> tuple[Floats, Floats]:
    """A line that is broken over gaps: it has a NaN at the start of each."""
    start = days(gaps["start"])
    place = np.searchsorted(x, start, side="right")
    return np.insert(x, place, start), np.insert(y, place, np.nan)


def zone_at(zone: tzinfo | None, time: datetime) -> tzinfo:
    """The zone, or the reader's own (as of that time) if none is given."""
    if zone is not None:
        return zone
    local = in_zone(time, None).tzinfo
    assert local is not None  # noqa: S101 -- astimezone gives one
    return local


def days(times: pd.Series[Any]) -> Floats:
    """Times as matplotlib's days since 1970; NaN if missing."""
    days = mdates.date2num(times.to_numpy(dtype="datetime64[us]"))
    return np.asarray(days, dtype=np.float64)


def duration_unit(seconds: float) -> tuple[float, str]:
    """The unit that suits a duration: its length in seconds, and its name."""
    for size, unit in ((86_400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size:
            return size, unit
    return 1.0, "s"


def share_text(share: float) -> str:
    """A share as a whole percentage."""
    return format_percent(round(100 * share)) if np.isfinite(share) else UNKNOWN


def require_one_job(frame: pd.DataFrame) -> None:
    """Raise ``ValueError`` if the frame holds several jobs."""
    _, keys = job_codes(frame)
    if len(keys) > 1:
        raise ValueError(
            f"this draws one job and the frame holds {len(keys)}: select one by source_uri and "
            "job_id, or compare them with plot_comparison"
        )
