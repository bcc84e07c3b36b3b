"""Lateness: the files that are behind, with how late and why."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from importstats.plots.files import lateness_text
from importstats.plots.style import (
    OTHER_COLOR,
    VERDICT_COLORS,
    add_grid,
    axes_or_new,
    common_folder,
    duration_unit,
    label,
    require_one_job,
    say_nothing,
    set_title,
    short_name,
)


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
    require_one_job(stragglers)
    late = stragglers[stragglers["is_straggler"].astype("bool")]
    ranked = late.sort_values(["delay_s", "score"], ascending=False, kind="stable").head(top)
    ax = axes_or_new(ax, (9, max(1.8, 0.26 * len(ranked) + 1.2)))
    if ranked.empty:
        return say_nothing(ax, f"No stragglers among {len(stragglers):,} files")
    prefix = common_folder(stragglers["file"])
    delay = ranked["delay_s"].to_numpy(np.float64, na_value=np.nan)
    scale, unit = duration_unit(np.nanmax(delay) if np.isfinite(delay).any() else 1.0)
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
            lateness_text(verdict, seconds),
            (max(np.nan_to_num(seconds), 0) / scale, row),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize="small",
        )
    ax.set_yticks(
        place, labels=[short_name(name, prefix) for name in ranked["file"]], fontsize="small"
    )
    ax.tick_params(axis="y", length=0)
    ax.invert_yaxis()
    ax.margins(x=0.2)
    ax.set_xlim(left=0)
    ax.set_xlabel(f"delay ({unit})")
    if prefix:
        ax.set_ylabel(f"files in {label(prefix, 40)}", fontsize="small")
    add_grid(ax, "x")
    worst = short_name(ranked["file"].iloc[0], prefix)
    count = "1 straggler" if len(late) == 1 else f"{len(late):,} stragglers"
    set_title(
        ax,
        f"{count} of {len(stragglers):,} files; the latest is {worst}: "
        f"{lateness_text(verdicts[0], delay[0])}",
    )
    return ax
