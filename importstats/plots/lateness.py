"""Lateness: which files are behind, how late they are, and why."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from importstats.analysis.ranking import rank_files, verdict_text
from importstats.plots.files import lateness_text
from importstats.plots.style import (
    OTHER_COLOR,
    VERDICT_COLORS,
    add_grid,
    axes_or_new,
    common_folder,
    duration_unit,
    label,
    leave_empty,
    name_rows,
    require_one_job,
    set_title,
    short_name,
)

# On an axis of a few milliseconds, noise would look like delays.
_LEAST_AXIS_S: Final = 10.0
_UNKNOWN_SHARE: Final = 0.12


def plot_stragglers(verdicts: pd.DataFrame, *, top: int = 20, ax: Axes | None = None) -> Axes:
    """Draw the files that are behind, with how late and why; those that matter most come first.

    A file whose delay is unknown (because it is stuck) comes first, with a hatched bar whose length
    means nothing.

    Parameters
    ----------
    verdicts : DataFrame
        The :func:`~importstats.stragglers` of one job.
    top : int
        How many to show.
    ax : Axes, optional
        Where to draw.
    """
    require_one_job(verdicts)
    late = verdicts[verdicts["is_straggler"].astype("bool")]
    ranked = rank_files(late).head(top)
    ax = axes_or_new(ax, (9, max(1.8, 0.26 * len(ranked) + 1.2)))
    if ranked.empty:
        return leave_empty(ax, f"No stragglers among {len(verdicts):,} files")
    prefix = common_folder(verdicts["file"])
    delay = ranked["delay_s"].to_numpy(np.float64, na_value=np.nan)
    longest = float(np.nanmax(np.append(delay, _LEAST_AXIS_S)))
    scale, unit = duration_unit(longest)
    unknown = np.isnan(delay)
    width = np.where(unknown, _UNKNOWN_SHARE * longest, delay) / scale
    place = np.arange(len(ranked))
    colors = [VERDICT_COLORS.get(str(verdict), OTHER_COLOR) for verdict in ranked["verdict"]]
    bars = ax.barh(place, width, height=0.7, color=colors)
    for row in np.flatnonzero(unknown).tolist():
        bars[row].set(facecolor="none", edgecolor=colors[row], hatch="////")
    for row, file in enumerate(ranked.to_dict("records")):
        ax.annotate(
            lateness_text(verdict_text(file), delay[row]),
            (width[row], row),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize="small",
        )
    name_rows(ax, [short_name(name, prefix) for name in ranked["file"]])
    ax.margins(x=0.2)
    ax.set_xlim(0, max(ax.get_xlim()[1], longest / scale))
    if prefix:
        ax.set_ylabel(f"files in {label(prefix, 40)}", fontsize="small")
    count = "1 straggler" if len(late) == 1 else f"{len(late):,} stragglers"
    if width.any():
        ax.set_xlabel(f"delay ({unit})")
        worst = short_name(ranked["file"].iloc[0], prefix)
        first = lateness_text(verdict_text(ranked.iloc[0]), delay[0])
        text = f"the first to look at is {worst}: {first}"
    else:
        ax.set_xticks([])
        text = "none delays the end"
    add_grid(ax, "x")
    set_title(ax, f"{count} of {len(verdicts):,} files; {text}")
    return ax
