"""Cluster: the work on each node, what waits, and the segments by stage, over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from importstats.analysis.cluster_lanes import (
    STAGES,
    WORK,
    busy_shares,
    counts_over_time,
    looked_from_to,
    node_names,
    segment_spans,
    work_spans,
)
from importstats.analysis.cluster_state import Cluster
from importstats.analysis.cluster_words import listed_text
from importstats.analysis.words import clock
from importstats.arrays import Floats
from importstats.plots.hatching import OTHER_HATCH, PHASE_HATCHES, filled, paper, swatch
from importstats.plots.style import (
    FILE_STATE_COLORS,
    OTHER_COLOR,
    PHASE_COLORS,
    add_grid,
    add_legend_above,
    axes_or_new,
    days,
    hatch_gaps,
    label,
    leave_empty,
    set_time_axis,
    set_title,
    share_text,
    wrapped,
    zone_at,
)
from importstats.plots.themes import ShownFigure
from importstats.text import format_duration, plural

# A colour and a hatch.
_Look = tuple[str, str]


def _look_of(phase: str) -> _Look:
    return PHASE_COLORS[phase], PHASE_HATCHES[phase]


#: The look of each kind of work: that of the phase it belongs to.
WORK_LOOKS: Final[Mapping[str, _Look]] = {
    "preimport": _look_of("PreImporting"),
    "import": _look_of("Importing"),
    "sort": _look_of("Sorting"),
    "index build": _look_of("IndexBuilding"),
    "compaction": _look_of("Pending"),
}
#: The look of each stage of a segment: that of the phase that comes next.
STAGE_LOOKS: Final[Mapping[str, _Look]] = {
    "indexed": _look_of("Completed"),
    "sorted": _look_of("IndexBuilding"),
    "written": _look_of("Sorting"),
    "being written": _look_of("Importing"),
    "other": (OTHER_COLOR, OTHER_HATCH),
}
_LANES: Final = 16
_LANE_HEIGHT: Final = 0.8
_NAMED_CHARACTERS: Final = 90
_UNKNOWN_NODE: Final = "node unknown"


def plot_node_lanes(
    cluster: Cluster,
    *,
    lanes: int = _LANES,
    gaps: pd.DataFrame | None = None,
    zone: tzinfo | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw a lane for each node with the tasks, sorts, index builds and compactions it works on.

    All lanes have the same scale. A cross marks a build, task or sort that failed on the node. Work
    that began and ended between two polls was not seen, so it is not drawn.

    Parameters
    ----------
    cluster : ClusterFrames
        The frames of one server, see :func:`~importstats.store.cluster_frames.load_cluster`.
    lanes : int
        How many nodes, the busiest ones, have a lane of their own; the others share one lane, which
        names them.
    gaps : DataFrame, optional
        Times without snapshots, see :func:`~importstats.analysis.gaps.find_gaps`.
    zone : tzinfo, optional
        Zone of the times shown; default the reader's.
    ax : Axes, optional
        Where to draw.

    Raises
    ------
    ValueError
        The frames are of several servers.
    """
    start, end = looked_from_to(cluster)
    spans = work_spans(cluster)
    at_work = spans[spans["is_at_work"]]
    if at_work.empty:
        return leave_empty(axes_or_new(ax, (9, 3)), "No node was seen at work")
    names = node_names(cluster)
    shares = busy_shares(spans, start, end)
    idle = pd.Series(0.0, index=names.index.difference(shares.index))
    shares = pd.concat([shares, idle])
    lane, texts = _lanes_of(spans, shares, names, lanes)
    spans = spans.assign(lane=lane)
    ax = axes_or_new(ax, (9, 1.4 + 0.5 * len(texts)))
    most = _draw_lanes(ax, spans, end)
    ax.set_yticks(range(len(texts)), labels=texts, fontsize="small")
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(texts) - 0.4, -0.6)
    ax.set_ylabel(f"entries at work\n(a full lane: {most:,})", fontsize="small")
    looks = {kind: WORK_LOOKS[kind] for kind in WORK if at_work["work"].eq(kind).any()}
    title = _lanes_finding(shares, names, start, end, int(spans["has_failed"].sum()))
    # The layout makes room for the names, and the title has less.
    longest = max(len(line) for text in texts for line in text.splitlines())
    taken_in = max(0.0, 0.065 * longest - 0.5)
    return _finish(ax, (start, end), zone, gaps, looks, title, taken_in)


def plot_queue(
    cluster: Cluster,
    *,
    gaps: pd.DataFrame | None = None,
    zone: tzinfo | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw how many tasks, sorts, index builds and compactions wait for a slot, over time.

    Parameters are those of :func:`plot_node_lanes`.
    """
    start, end = looked_from_to(cluster)
    spans = work_spans(cluster)
    waiting = spans[spans["is_waiting"]]
    if waiting.empty:
        return leave_empty(axes_or_new(ax, (9, 3)), "Nothing was seen waiting in the cluster")
    counts = counts_over_time(waiting, "work")
    ax = axes_or_new(ax, (9, 3))
    drawn = _draw_counts(ax, counts, WORK, WORK_LOOKS, end, "waiting entries")
    total = counts.sum(axis=1)
    place = int(total.to_numpy().argmax())
    worst = counts.index[place]
    at_worst = _counted_kinds(counts.iloc[place], WORK)
    left = int(total.iloc[-1])
    now = f"{left:,} still wait{'s' * (left == 1)}" if left else "none waits any more"
    zone = zone_at(zone, end)
    title = f"At most {at_worst} waited at once, at {clock(worst, end, zone, named=False)}; {now}"
    return _finish(ax, (start, end), zone, gaps, drawn, title)


def plot_segments(
    cluster: Cluster,
    *,
    gaps: pd.DataFrame | None = None,
    zone: tzinfo | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw how many segments are being written, written, sorted and indexed, over time.

    Parameters are those of :func:`plot_node_lanes`.
    """
    start, end = looked_from_to(cluster)
    spans = segment_spans(cluster)
    if spans.empty:
        return leave_empty(axes_or_new(ax, (9, 3)), "No segment was listed")
    counts = counts_over_time(spans, "stage")
    ax = axes_or_new(ax, (9, 3))
    drawn = _draw_counts(ax, counts, STAGES, STAGE_LOOKS, end, "segments")
    now = counts.iloc[-1]
    title = f"At most {plural(int(counts.sum(axis=1).max()), 'segment')}; none is listed any more"
    if now.sum():
        stages = _counted_kinds(now, STAGES, count="")
        title = f"{plural(int(now.sum()), 'segment')} listed at the last look: {stages}"
    return _finish(ax, (start, end), zone, gaps, drawn, title)


def draw_cluster(
    cluster: Cluster, *, gaps: pd.DataFrame | None = None, zone: tzinfo | None = None
) -> Figure:
    """Draw the nodes' lanes, the queue and the segments below each other, on one time axis.

    Parameters are those of :func:`plot_node_lanes`.

    Returns
    -------
    Figure
        Pyplot does not know it, so you need not close it.
    """
    nodes = min(len(node_names(cluster)), _LANES) + 1
    heights = [1.4 + 0.45 * nodes, 2.8, 2.8]
    figure = ShownFigure(figsize=(9, sum(heights)), layout="constrained")
    lanes, queue, segments = figure.subplots(3, height_ratios=heights)
    plot_node_lanes(cluster, gaps=gaps, zone=zone, ax=lanes)
    plot_queue(cluster, gaps=gaps, zone=zone, ax=queue)
    plot_segments(cluster, gaps=gaps, zone=zone, ax=segments)
    return figure


def _lanes_of(
    spans: pd.DataFrame, shares: pd.Series[Any], names: pd.Series[Any], lanes: int
) -> tuple[pd.Series[Any], list[str]]:
    """The lane that each span is in, and the lanes' names."""
    # One lane for a single other node would take as much room as its own.
    shown = list(shares.index[: lanes if len(shares) > lanes + 1 else len(shares)])
    rest = list(shares.index[len(shown) :])
    lane_of = {node: place for place, node in enumerate(shown)} | dict.fromkeys(rest, len(shown))
    texts = [_node_text(node, names) for node in shown]
    if rest:
        others = ", ".join(_node_text(node, names) for node in rest)
        if len(others) > _NAMED_CHARACTERS:
            others = others[: _NAMED_CHARACTERS - 1].rsplit(", ", 1)[0] + ", …"
        texts.append(wrapped(f"{len(rest):,} others: {others}", 2.0, 9))
    lane = spans["node_id"].map(lane_of)
    if (spans["is_at_work"] & spans["node_id"].isna()).any():
        lane = lane.fillna(len(texts))
        texts.append(_UNKNOWN_NODE)
    return lane, texts


def _draw_lanes(ax: Axes, spans: pd.DataFrame, end: pd.Timestamp) -> int:
    """Draw the work in each lane, all to one scale; returns how many entries fill a lane."""
    work = spans[spans["is_at_work"] & spans["lane"].notna()]
    lanes = {
        lane: counts_over_time(work[work["lane"].eq(lane)], "work")
        for lane in work["lane"].astype("int64").unique().tolist()
    }
    most = max(int(counts.sum(axis=1).max()) for counts in lanes.values())
    scale = -_LANE_HEIGHT / max(most, 1)
    for lane, counts in lanes.items():
        _stack(ax, counts, WORK, WORK_LOOKS, end, base=lane + _LANE_HEIGHT / 2, scale=scale)
    failed = spans[spans["has_failed"] & spans["lane"].notna()]
    ax.scatter(
        days(failed["start"]),
        failed["lane"].to_numpy(np.float64),
        marker="X",
        s=42,
        color=FILE_STATE_COLORS["failed"],
        edgecolors=paper(),
        lw=0.7,
        zorder=5,
        gid="failed",
    )
    for lane in range(int(spans["lane"].max(skipna=True)) + 1):
        ax.axhline(lane + _LANE_HEIGHT / 2, color=OTHER_COLOR, lw=0.5, zorder=1)
    return most


def _stack(
    ax: Axes,
    counts: pd.DataFrame,
    order: Sequence[str],
    looks: Mapping[str, _Look],
    end: pd.Timestamp,
    *,
    base: float = 0.0,
    scale: float = 1.0,
) -> dict[str, _Look]:
    """Stack the steps of each kind; returns the look of each kind that is drawn."""
    x = days(pd.Series([*counts.index, end]))
    low: Floats = np.full(len(x), base)
    drawn = [kind for kind in order if kind in counts]
    for kind in drawn:
        height = counts[kind].to_numpy(np.float64)
        high = low + scale * np.append(height, height[-1])
        look = filled(*looks[kind])
        ax.fill_between(x, low, high, step="post", zorder=2, gid=f"kind:{kind}", **look)
        low = high
    return {kind: looks[kind] for kind in drawn}


def _finish(
    ax: Axes,
    looked: tuple[pd.Timestamp, pd.Timestamp],
    zone: tzinfo | None,
    gaps: pd.DataFrame | None,
    looks: Mapping[str, _Look],
    title: str,
    taken_in: float = 0.0,
) -> Axes:
    """Finish the axes: times, gaps, a legend above the data, and a title."""
    left, right = days(pd.Series(looked))
    margin = 0.01 * (right - left) or 30 / 86_400
    ax.set_xlim(left - margin, right + margin)
    if gaps is not None:
        hatch_gaps(ax, gaps)
    set_time_axis(ax, zone_at(zone, looked[1]))
    add_grid(ax, "x")
    taken = add_legend_above(ax, [swatch(kind, *look) for kind, look in looks.items()])
    set_title(ax, title, taken_in=taken + taken_in)
    return ax


def _draw_counts(
    ax: Axes,
    counts: pd.DataFrame,
    order: Sequence[str],
    looks: Mapping[str, _Look],
    end: pd.Timestamp,
    axis_label: str,
) -> dict[str, _Look]:
    """Stack counts from 0; returns the look of each kind that is drawn."""
    drawn = _stack(ax, counts, order, looks, end)
    ax.set_ylabel(axis_label)
    ax.set_ylim(bottom=0)
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    return drawn


def _lanes_finding(
    shares: pd.Series[Any],
    names: pd.Series[Any],
    start: pd.Timestamp,
    end: pd.Timestamp,
    failures: int,
) -> str:
    """A sentence: how busy the busiest and the least busy node were, and how often work failed."""
    span = format_duration((end - start).total_seconds())
    if shares.empty:
        text = f"Work was seen in {span}, but not on which node"
    else:
        most = _node_text(shares.index[0], names)
        text = f"{most} was at work {share_text(shares.iloc[0])} of {span}"
    if len(shares) > 1:
        least = _node_text(shares.index[-1], names)
        text += (
            f", the most of {len(shares):,} nodes; {least} {share_text(shares.iloc[-1])}, the least"
        )
    return text + (f"; {failures:,} failure{'s' * (failures != 1)} seen" if failures else "")


def _node_text(node: object, names: pd.Series[Any]) -> str:
    return label(names.get(str(node), f"node {node}"), 24)


def _counted_kinds(counts: pd.Series[Any], order: Sequence[str], count: str = "s") -> str:
    """The counts above 0, each with its noun; `count` is the plural's ending."""
    own = [(int(counts[kind]), kind) for kind in order if counts.get(kind)]
    return listed_text([f"{many:,} {kind}{count * (many != 1)}" for many, kind in own])
