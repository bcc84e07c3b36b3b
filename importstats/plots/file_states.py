"""File states: the states of files over time, drawn as a row per file or as counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from importstats.arrays import Floats, Ints
from importstats.plots.hatching import OTHER_HATCH, PALE, STATE_HATCHES, area, filled, paper, swatch
from importstats.plots.style import (
    FILE_STATE_COLORS,
    OTHER_COLOR,
    days,
    label,
    on_paper,
    write_beside,
)
from importstats.text import format_duration, printable

#: Everyday words for some states; the others keep the server's name.
STATE_WORDS: Final = {
    "": "waiting",
    "none": "waiting",
    "pending": "waiting",
    "inprogress": "importing",
    "unseen": "imported between two polls",
    "completed": "done",
}
_WAITS: Final = ("", "none", "pending")
# From the top: files that are done, files at work in the server's own states, files that wait.
_FROM_THE_TOP: Final = ("completed", "failed", "retry", "inprogress", "unseen", *_WAITS)
# If rows are low, a third of the waiting ones is drawn; finished ones are pale, with a few lines.
_STRIPE: Final = 0.08
_WAITING_EVERY: Final = 3
_DONE_EVERY: Final = 9
# A waiting file is a thin line, a finished one a thinner line: these shares of the row's height are
# free above it and below it.
_THIN: Final = {"completed": 0.44}
_WAITING_INSET: Final = 0.38
_MOST_TIMES: Final = 400
# The smallest distance between two labels, in rows.
_LABEL_ROWS: Final = 0.95


def state_color(state: str) -> str:
    """The colour of a state; `state` is in lower case."""
    return FILE_STATE_COLORS.get(state, OTHER_COLOR)


def state_hatch(state: str) -> str:
    """The hatch of a state; `state` is in lower case."""
    return STATE_HATCHES.get(state, OTHER_HATCH)


def draw_rows(
    ax: Axes, spans: pd.DataFrame, top: Floats, height: Floats, *, rasterized: bool
) -> None:
    """Draw a row for each file: work as bars; waiting and finished files as thin lines, or pale.

    `spans` are those of :func:`~importstats.plots.files.state_spans`. `top` is NaN for a file
    without a row. Rows that are too low for lines of their own are `rasterized`.
    """
    start, end = days(spans["start"]), days(spans["end"])
    key = spans["key"].to_numpy()
    states = spans["state"].to_numpy()
    for state in dict.fromkeys(states):
        own = (states == state) & np.isfinite(top[key])
        y, tall = top[key[own]], height[key[own]]
        if state in _WAITS:
            own[np.flatnonzero(own)[~_striped(y, tall, _WAITING_EVERY)]] = False
            y, tall = top[key[own]], height[key[own]]
        waits = state in (*_WAITS, "completed")
        inset = _THIN.get(state, _WAITING_INSET) * tall if waits else 0.0
        inset = np.where(tall > 0.5, inset, 0.0)
        if not own.any():
            continue
        low, high = y + inset, y + tall - inset
        x0, x1 = start[own], end[own]
        corners = np.stack(
            [np.stack([x0, x1, x1, x0], axis=1), np.stack([low, low, high, high], axis=1)], axis=2
        )
        colors = np.tile([*to_rgb(state_color(state)), 1.0], (len(x0), 1))
        if state == "completed":
            colors[~_striped(y, tall, _DONE_EVERY), 3] = PALE
        ax.add_collection(
            PolyCollection(
                list(corners),
                facecolors=colors,
                edgecolors=paper(),
                linewidths=0,
                hatch=None if waits else state_hatch(state) or None,
                antialiaseds=not rasterized,
                rasterized=rasterized,
                gid=f"state:{printable(str(state), 60)}",
            ),
            autolim=False,
        )


def _striped(top: Floats, height: Floats, every: int) -> npt.NDArray[np.bool_]:
    """Which rows are drawn: all high ones, and one in several of the low ones, as stripes."""
    rows = np.maximum(np.ceil(_STRIPE / height), 1.0)
    line = np.floor(top / height + 0.5)
    return np.asarray((height > 0.5) | (line % (every * rows) < rows))


def draw_counts(ax: Axes, spans: pd.DataFrame, files: int, top: float, height: float) -> None:
    """Stack how many files are in each state over time, with the latest counts at the end.

    `spans` are those of these files only, sorted by file and time.
    """
    start, end = days(spans["start"]), days(spans["end"])
    x = np.unique(np.append(start, end.max()))
    x = x[np.linspace(0, len(x) - 1, min(_MOST_TIMES, len(x))).astype(int)]
    found = set(spans["state"])
    order = [s for s in _FROM_THE_TOP if s in found]
    order += sorted(found.difference(order))
    # A file stays in the state it was last seen in.
    is_last = ~spans["key"].duplicated(keep="last").to_numpy()
    low = np.full(len(x), float(top))
    labels = []
    for state in order:
        own = spans["state"].eq(state).to_numpy()
        count = _counts_until(start[own], x) - _counts_until(end[own & ~is_last], x)
        high = low + height * count / files
        gid = f"state:{printable(str(state), 60)}"
        ax.fill_between(x, low, high, step="post", gid=gid, **_fill_style(state))
        if count[-1]:
            age = 86_400 * (x[-1] - start[own & is_last].min())
            oldest = "" if state in (*_WAITS, "completed") else _age_text(age, int(count[-1]))
            text = f"{count[-1]:,} {label(STATE_WORDS.get(state, state), 30)}{oldest}"
            labels.append((float(low[-1] + high[-1]) / 2, text))
        low = high
    _write_counts(ax, float(x[-1]), labels)


def _counts_until(times: Floats, grid: Floats) -> Ints:
    """For each time of a grid, how many of the times are not later."""
    return np.searchsorted(np.sort(times), grid, side="right")


def _age_text(age_s: float, count: int) -> str:
    if age_s < 1:
        return ""  # First seen at work by the latest snapshot.
    return f", {'the oldest ' * (count > 1)}for {format_duration(age_s)}"


def _fill_style(state: str) -> dict[str, Any]:
    color = state_color(state)
    if state in _WAITS:
        stripes = {"hatch": state_hatch(state), "edgecolor": color, "linewidth": 0}
        return {"facecolor": "none", **stripes}
    if state == "completed":
        return area(color)
    return filled(color, state_hatch(state))


def _write_counts(ax: Axes, x: float, labels: Sequence[tuple[float, str]]) -> None:
    place = -np.inf
    for middle, text in labels:
        place = max(middle, place + _LABEL_ROWS)
        write_beside(ax, text, (x, place), "count", path_effects=on_paper())


def state_swatches(states: Sequence[str], *, rows: bool) -> list[Artist]:
    """Legend entries for the states; lines for the thin ones if files have rows of their own."""
    swatches: dict[str, Artist] = {}
    for state in (*FILE_STATE_COLORS, *states):
        if state not in states:
            continue
        name = label(STATE_WORDS.get(state, state), 30)
        color = state_color(state)
        if state in (*_WAITS, "completed") and rows:
            width = 1.2 if state == "completed" else 3.5
            swatches[name] = Line2D([], [], color=color, lw=width, label=name)
        elif state in (*_WAITS, "completed"):
            swatches[name] = Patch(label=name, **{"edgecolor": color, **_fill_style(state)})
        else:
            swatches[name] = swatch(name, color, state_hatch(state))
    return list(swatches.values())
