"""Heat map: the progress of thousands of files on one image."""

from __future__ import annotations

from datetime import datetime, tzinfo
from typing import Any, Final

import matplotlib
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import Colormap, ListedColormap, rgb_to_hsv, to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from importstats.analysis.cut import rewind
from importstats.analysis.samples import FileSamples
from importstats.arrays import Floats, Ints
from importstats.plots.file_states import STATE_WORDS, state_color
from importstats.plots.files import ROW_ORDER, files_finding, shown_gaps, state_spans
from importstats.plots.hatching import PALE, paper
from importstats.plots.style import (
    FILE_STATE_COLORS,
    add_legend_above,
    axes_or_new,
    hatch_gaps,
    leave_empty,
    require_one_job,
    set_time_axis,
    set_title,
    zone_at,
)

_HEATMAP_ROWS: Final = 500
_HEATMAP_COLUMNS: Final = 400
_DAY_US: Final = 86_400_000_000
_DONE: Final = "completed"
_DONE_HATCH: Final = "--"


def plot_file_heatmap(
    details: pd.DataFrame,
    *,
    at: datetime | None = None,
    gaps: pd.DataFrame | None = None,
    zone: tzinfo | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the progress of thousands of files over time as the colours of one image.

    Files are sorted by when they started. If more files exist than fit, neighbours share a line. It
    shows their mean progress, or that at least one of them failed or was retried. Such lines have a
    mark beside them: a cross at the right for failed, a triangle at the left for retried. Finished
    files are pale with lines on them; the paper shows where the server had not listed a file yet.

    Parameters
    ----------
    details : DataFrame
        A details frame of one job, expanded or runs.
    at : datetime, optional
        Leave out what was seen later.
    gaps : DataFrame, optional
        Times without snapshots, as for :func:`plot_files`.
    zone, ax
        As for :func:`plot_progress`.
    """
    require_one_job(details)
    ax = axes_or_new(ax, (9, 4.5))
    details = details if at is None else rewind(details, at)
    samples = FileSamples.from_details(details)
    gaps = shown_gaps(samples, details) if gaps is None else gaps
    if not len(samples.key):
        return leave_empty(ax, "No files yet: the server lists them when it imports")
    files, _ = state_spans(samples)
    begin, last = int(samples.moment_time.min()), int(samples.moment_time.max())
    zone = zone_at(zone, pd.Timestamp(last, unit="us", tz="UTC"))
    columns = min(_HEATMAP_COLUMNS, max(2, len(np.unique(samples.moment_time))))
    grid = np.linspace(begin, max(last, begin + 1_000_000), columns).astype(np.int64)
    image = _progress_image(samples, files, grid)
    done = image == 100.0
    shown = ax.imshow(
        np.where(done, np.nan, image),
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
    marks = [*_draw_done(ax, done), *_mark_extremes(ax, image, len(files))]
    taken = add_legend_above(ax, marks) if marks else 0.0
    if gaps is not None:
        hatch_gaps(ax, gaps)
        ax.set_xlim(grid[0] / _DAY_US, grid[-1] / _DAY_US)
    ax.set_ylabel("files, by start")
    ax.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    set_time_axis(ax, zone)
    set_title(ax, files_finding(files, None), taken_in=taken)
    return ax


def _draw_done(ax: Axes, done: npt.NDArray[np.bool_]) -> list[Artist]:
    """Cover the cells that are done with pale areas with lines; returns their legend entry."""
    lines, columns = done.shape
    steps = np.diff(np.pad(done.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    line, begin = np.nonzero(steps > 0)
    if not len(line):
        return []
    end = np.nonzero(steps < 0)[1]
    # The image lies between the first and the last time, each of its cells equally wide and high.
    left, right, bottom, top = ax.images[0].get_extent()
    x = left + (right - left) / columns * np.stack([begin, end, end, begin], axis=1)
    y = top + (bottom - top) / lines * np.stack([line, line, line + 1, line + 1], axis=1)
    color = state_color(_DONE)
    look: dict[str, Any] = {
        "facecolor": (*to_rgb(color), PALE),
        "edgecolor": color,
        "linewidth": 0,
        "hatch": _DONE_HATCH,
    }
    ax.add_collection(
        PolyCollection(list(np.stack([x, y], axis=2)), gid=f"state:{_DONE}", **look), autolim=False
    )
    return [Patch(label=STATE_WORDS[_DONE], **look)]


def _mark_extremes(ax: Axes, image: Floats, files: int) -> list[Artist]:
    """Mark each line with a failed or retried file; returns the marks' legend entries."""
    extremes: list[Artist] = []
    for name, value, marker in (("retry", 101.0, "<"), ("failed", -1.0, "X")):
        lines = np.flatnonzero((image == value).any(axis=1))
        if not len(lines):
            continue
        color = FILE_STATE_COLORS[name]
        look: dict[str, Any] = {"color": color, "marker": marker, "ls": "", "ms": 6}
        middle = (lines + 0.5) * files / len(image)
        place = np.full(len(lines), 1.008 if name == "failed" else -0.008)
        across = ax.get_yaxis_transform()
        ax.plot(place, middle, transform=across, clip_on=False, gid=f"marks:{name}", **look)
        extremes.append(Line2D([], [], label=name, **look))
    return extremes


def _heat_map() -> Colormap:
    """Shades from one that stands out on the paper to one that is just seen on it."""
    on_dark = rgb_to_hsv(to_rgb(paper()))[2] < 0.5
    name, first, last = ("Blues", 0.2, 0.75) if on_dark else ("Blues_r", 0.02, 0.42)
    shades = matplotlib.colormaps[name](np.linspace(first, last, 256))
    return ListedColormap(shades).with_extremes(
        under=FILE_STATE_COLORS["failed"], over=FILE_STATE_COLORS["retry"], bad=(0, 0, 0, 0)
    )


def _progress_image(samples: FileSamples, files: pd.DataFrame, grid: Ints) -> Floats:
    """Each file's (or group's) progress at each time; -1 if failed, 101 if retried."""
    order = files.sort_values(ROW_ORDER, kind="stable").index.to_numpy()
    progress = samples.values("progress_pct")
    progress = np.where(samples.in_state("completed"), 100.0, progress)
    progress = np.where(samples.in_state("", "none", "pending"), 0.0, progress)
    failed, retried = samples.in_state("failed"), samples.in_state("retry")
    begin = np.searchsorted(samples.key, order, side="left")
    groups = np.array_split(np.arange(len(order)), min(_HEATMAP_ROWS, len(order)))
    # File and time form one sorted number, so that one search finds all samples of the image.
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
