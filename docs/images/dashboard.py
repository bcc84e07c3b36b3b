"""Draw ``dashboard.png``: what the Grafana dashboard's queries answer, in the dashboard's layout.

    python docs/images/dashboard.py

For a quarter of an hour a simulated server runs jobs, ``importstats collect`` serves their metrics,
and a Prometheus scrapes them and answers each panel's queries. The answers are drawn with
matplotlib: it is no picture of Grafana.
"""

from __future__ import annotations

import re
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import matplotlib.dates as mdates
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scraping import DASHBOARD, Prometheus, Query, collecting, queries, scraping

from importstats.plots.style import OTHER_COLOR, PHASE_COLORS
from importstats.simulator import SimulatorServer, make_shape
from importstats.text import format_count, format_duration

PICTURE: Final = Path(__file__).with_name("dashboard.png")
SECONDS: Final = 900
COLUMNS: Final = 24  # of Grafana's grid
ROW_INCHES: Final = 0.3


def main() -> None:
    """Collect for a while, ask, and draw."""
    cluster, job = make_shape("stragglers", seed=6, files=24)
    pending_s = (0.0, 900.0, 3_600.0)
    jobs = [
        replace(job, pending_s=wait_s, collection_name=name)
        for wait_s, name in zip(pending_s, ("products", "reviews", "images"), strict=True)
    ]
    with (
        tempfile.TemporaryDirectory() as folder,
        SimulatorServer(cluster, jobs, acceleration=9) as server,
        collecting(server.uri, Path(folder), every_s=5) as target,
        scraping(target, Path(folder), every_s=15) as prometheus,
    ):
        began = time.time()
        time.sleep(SECONDS)
        figure = drawn(prometheus, began, time.time())
    figure.savefig(PICTURE, dpi=90)


def drawn(prometheus: Prometheus, start: float, end: float) -> Figure:
    """All panels, each where the dashboard has it."""
    asked = queries(rate_interval="1m")
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in DASHBOARD["panels"])
    figure = plt.figure(figsize=(13, rows * ROW_INCHES))
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        left, width = place["x"] / COLUMNS, place["w"] / COLUMNS
        top, height = 1 - place["y"] / rows, place["h"] / rows
        small = panel["type"] == "stat"
        axes = figure.add_axes((
            left + (0.1 if panel["type"] == "state-timeline" else 0.045),
            top - height + (0.01 if small else 0.03),
            width - (0.115 if panel["type"] == "state-timeline" else 0.06),
            height - (0.03 if small else 0.055),
        ))  # fmt: skip
        axes.set_title(panel["title"], loc="left", fontsize=9, fontweight="bold")
        lines = [
            (name_of(series, query), series["values"])
            for query in asked
            if query.panel is panel
            for series in prometheus.answer(query.text, start, end)
        ]
        PAINTERS[panel["type"]](axes, lines, panel["fieldConfig"]["defaults"].get("unit"))
        if not small:
            axes.set_xlim(at(start), at(end))
            axes.xaxis.set_major_formatter(mdates.DateFormatter("%H:%M", tz=UTC))
            axes.tick_params(labelsize=7)
    return figure


def name_of(series: dict[str, Any], query: Query) -> str:
    """A line's name, made of its labels as the panel's legend asks."""
    labels = series["metric"]
    return re.sub(r"{{\s*(\w+)\s*}}", lambda found: labels.get(found[1], ""), query.legend)


def at(seconds: float) -> datetime:
    """A time of Prometheus."""
    return datetime.fromtimestamp(seconds, UTC)


Lines = list[tuple[str, list[tuple[float, str]]]]


def with_unit(value: float, unit: str | None) -> str:
    """A value as Grafana would show it, near enough."""
    if unit == "s":
        return format_duration(value) if value >= 1 else f"{1000 * value:.0f} ms"
    if unit == "percentunit":
        return f"{100 * value:.0f} %"
    return f"{value:g}" if abs(value) < 1000 else format_count(value)


def paint_number(axes: Axes, lines: Lines, unit: str | None) -> None:
    """The latest value."""
    axes.axis("off")
    value = float(lines[0][1][-1][1])
    axes.text(0.5, 0.4, with_unit(value, unit), ha="center", va="center", fontsize=20)


def paint_phases(axes: Axes, lines: Lines, _unit: str | None) -> None:
    """A row for each job and phase, with a bar while the job was in it."""
    for place, (name, values) in enumerate(reversed(lines)):
        color = PHASE_COLORS.get(name.split()[-1], OTHER_COLOR)
        times = [at(when) for when, _ in values]
        axes.plot(times, [place] * len(times), "s", color=color, markersize=4)
    names = [f"{name.split()[0]} {name.split()[-1]}" for name, _ in reversed(lines)]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(-1, len(names))


def paint_lines(axes: Axes, lines: Lines, unit: str | None) -> None:
    """Values over time."""
    for name, values in lines:
        axes.plot(
            [at(when) for when, _ in values], [float(value) for _, value in values], label=name
        )
    axes.yaxis.set_major_formatter(lambda value, _place: with_unit(value, unit))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=unit == "short"))
    axes.grid(alpha=0.3)
    if lines:
        axes.legend(fontsize=5, loc="upper left", framealpha=0.5)
        axes.set_ylim(0, 1.4 * max(axes.get_ylim()[1], 0.5))


PAINTERS: Final = {
    "stat": paint_number,
    "state-timeline": paint_phases,
    "timeseries": paint_lines,
}


if __name__ == "__main__":
    main()
