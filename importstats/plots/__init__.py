"""Plots: each draws one analysis result on an Axes and returns it; :func:`overview` draws them all.

A plot draws on `ax`, or on a new pyplot figure if you give none (notebooks show that one by
themselves). Times are shown in `zone`, by default the reader's own, and the axis names it. The
title says what the plot shows. Names that a server sent are drawn as plain text, never as mathtext
and without control characters. Each is drawn in an installed font that has its letters; a letter
that no font has is drawn as its number.

The colours are those of Okabe and Ito ("Color Universal Design", 2008), which people with any kind
of colour vision can tell apart, and two of Tol's because eight are too few. A thing has the same
colour in all plots.
"""

from importstats.plots.cluster import draw_cluster, plot_node_lanes, plot_queue, plot_segments
from importstats.plots.comparison import plot_comparison
from importstats.plots.files import files_height, plot_files
from importstats.plots.heatmap import plot_file_heatmap
from importstats.plots.job import draw_overview, overview
from importstats.plots.lateness import plot_stragglers
from importstats.plots.progress import plot_eta, plot_progress
from importstats.plots.rates import plot_throughput
from importstats.plots.scores import plot_calibration, plot_eta_error
from importstats.plots.style import (
    FILE_STATE_COLORS,
    OTHER_COLOR,
    PHASE_COLORS,
    VERDICT_COLORS,
    label,
)
from importstats.plots.themes import ShownFigure, for_both, theme

__all__ = [
    "FILE_STATE_COLORS",
    "OTHER_COLOR",
    "PHASE_COLORS",
    "VERDICT_COLORS",
    "ShownFigure",
    "draw_cluster",
    "draw_overview",
    "files_height",
    "for_both",
    "label",
    "overview",
    "plot_calibration",
    "plot_comparison",
    "plot_eta",
    "plot_eta_error",
    "plot_file_heatmap",
    "plot_files",
    "plot_node_lanes",
    "plot_progress",
    "plot_queue",
    "plot_segments",
    "plot_stragglers",
    "plot_throughput",
    "theme",
]
