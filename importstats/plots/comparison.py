"""Comparison: jobs side by side, phase by phase."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from importstats.analysis.phase import job_codes
from importstats.names import JOB_KEY
from importstats.plots.hatching import PHASE_HATCHES, filled
from importstats.plots.style import (
    PHASE_COLORS,
    add_grid,
    add_legend_above,
    axes_or_new,
    duration_unit,
    label,
    leave_empty,
    name_rows,
    set_title,
    share_text,
)
from importstats.text import format_duration


def plot_comparison(
    spans: pd.DataFrame,
    totals: pd.DataFrame | None = None,
    *,
    top: int = 40,
    ax: Axes | None = None,
) -> Axes:
    """Draw jobs side by side: how long each took, phase by phase.

    Parameters
    ----------
    spans : DataFrame
        The :func:`~importstats.phases` of one or more jobs.
    totals : DataFrame, optional
        Their :func:`~importstats.summary`, for the names of their collections.
    top : int
        How many jobs to show, the longest ones.
    ax : Axes, optional
        Where to draw.
    """
    timed = spans[spans["duration_s"].notna()]
    codes, keys = job_codes(timed)
    total = np.bincount(codes, weights=timed["duration_s"].to_numpy(), minlength=len(keys))
    ranked = np.argsort(-total, kind="stable")[:top]
    ax = axes_or_new(ax, (9, max(2.0, 0.3 * len(ranked) + 1.2)))
    if not len(ranked):
        return leave_empty(ax, "No phase has lasted yet")
    scale, unit = duration_unit(float(total.max()))
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
            look = filled(color, PHASE_HATCHES[phase])
            ax.barh(row[own], width, left=left[own], height=0.7, label=phase, **look)
    name_rows(ax, _job_names(keys.iloc[ranked], totals))
    ax.set_xlabel(f"duration ({unit})")
    ax.set_ylabel("job")
    taken = add_legend_above(ax)
    add_grid(ax, "x")
    longest = timed[codes == ranked[0]]
    by_phase = longest.groupby("phase", observed=True)["duration_s"].sum()
    share = by_phase.max() / by_phase.sum() if by_phase.sum() else np.nan
    job_id = label(keys["job_id"].iloc[ranked[0]], 14)
    set_title(
        ax,
        f"Job {job_id} took {format_duration(total[ranked[0]])}, "
        f"{share_text(share)} of it in {by_phase.idxmax()}",
        taken_in=taken,
    )
    return ax


def _job_names(keys: pd.DataFrame, totals: pd.DataFrame | None) -> list[str]:
    """Each job's id, with its collection if that is known, and its server if there are several."""
    keys = keys.astype("str")
    names = [label(job_id, 40 if totals is None else 14) for job_id in keys["job_id"]]
    if totals is not None:
        collections = totals[[*JOB_KEY, "collection_name"]].astype("str")
        known = keys.merge(collections, on=JOB_KEY, how="left")["collection_name"]
        names = [
            name if pd.isna(collection) else f"{name} {label(collection, 16)}"
            for name, collection in zip(names, known, strict=True)
        ]
    if len(keys["source_uri"].unique()) > 1:
        servers = keys["source_uri"].str.split("://").str[-1]
        names = [f"{name} on {label(uri, 20)}" for name, uri in zip(names, servers, strict=True)]
    return names
