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
from typing import Any, Final, NamedTuple

import matplotlib.dates as mdates
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, MultipleLocator
from scraping import DASHBOARD, Prometheus, Query, collecting, queries, scraping

from importstats.plots.hatching import DASH_CYCLE
from importstats.plots.style import CYCLE, OTHER_COLOR, PHASE_COLORS
from importstats.simulator import SimulatorServer, make_shape
from importstats.text import format_count, format_duration

PICTURE: Final = Path(__file__).with_name("dashboard.png")
SECONDS: Final = 900
COLUMNS: Final = 24  # of Grafana's grid
ROW_INCHES: Final = 0.3
WIDTH_INCHES: Final = 13.0
# So wide is an entry of a legend, and so high its line.
LEGEND_INCHES: Final = 3.2
LEGEND_ROW: Final = 0.13


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
    """All panels, each where the dashboard has it, its legend below it."""
    asked = queries(rate_interval="1m")
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in DASHBOARD["panels"])
    figure = plt.figure(figsize=(WIDTH_INCHES, rows * ROW_INCHES))
    for panel in DASHBOARD["panels"]:
        lines = [
            Line(name_of(series, query), who(series), place, series["values"])
            for place, query in enumerate(query for query in asked if query.panel is panel)
            for series in prometheus.answer(query.text, start, end)
        ]
        kind, place = panel["type"], panel["gridPos"]
        columns = max(1, round(place["w"] / COLUMNS * WIDTH_INCHES / LEGEND_INCHES))
        below = len(lines) / columns * LEGEND_ROW if kind == "timeseries" else 0.0
        left = {"stat": 0.2, "state-timeline": 1.9}.get(kind, 0.75)
        bottom = 0.0 if kind == "stat" else 0.3 + below
        axes = figure.add_axes((
            place["x"] / COLUMNS + left / WIDTH_INCHES,
            1 - (place["y"] + place["h"] - (0.2 + bottom) / ROW_INCHES) / rows,
            place["w"] / COLUMNS - (left + 0.2) / WIDTH_INCHES,
            (place["h"] - (0.55 + bottom) / ROW_INCHES) / rows,
        ))  # fmt: skip
        axes.set_title(panel["title"], loc="left", fontsize=9, fontweight="bold")
        PAINTERS[kind](axes, lines, panel["fieldConfig"]["defaults"].get("unit"))
        if kind == "stat":
            continue
        axes.set_xlim(at(start), at(end))
        axes.xaxis.set_major_formatter(mdates.DateFormatter("%H:%M", tz=UTC))
        axes.tick_params(labelsize=7)
        if kind == "timeseries" and lines:
            corner = (0, -0.28 / (axes.get_position().height * rows * ROW_INCHES))
            axes.legend(
                fontsize=6, ncols=columns, loc="upper left", bbox_to_anchor=corner, frameon=False,
                borderaxespad=0, handlelength=2.6,
            )  # fmt: skip
    return figure


def name_of(series: dict[str, Any], query: Query) -> str:
    """A line's name, made of its labels as the panel's legend asks."""
    labels = series["metric"]
    return re.sub(r"{{\s*(\w+)\s*}}", lambda found: labels.get(found[1], ""), query.legend)


def who(series: dict[str, Any]) -> str:
    """What a line is of: the job, or all its labels if it is of none."""
    labels = series["metric"]
    return str(labels.get("job_id", sorted(labels.items())))


def at(seconds: float) -> datetime:
    """A time of Prometheus."""
    return datetime.fromtimestamp(seconds, UTC)


class Line(NamedTuple):
    """A series: its name in the legend, of which job it is, by which query, and its values."""

    name: str
    who: str
    query: int
    values: list[tuple[float, str]]


def with_unit(value: float, unit: str | None) -> str:
    """A value as Grafana would show it, near enough."""
    if unit == "s":
        return format_duration(value) if value >= 1 else f"{1000 * value:.0f} ms"
    if unit == "percentunit":
        return f"{100 * value:.0f} %"
    return f"{value:g}" if abs(value) < 1000 else format_count(value)


def paint_number(axes: Axes, lines: list[Line], unit: str | None) -> None:
    """The latest value."""
    axes.axis("off")
    value = float(lines[0].values[-1][1])
    axes.text(0.5, 0.4, with_unit(value, unit), ha="center", va="center", fontsize=20)


def paint_phases(axes: Axes, lines: list[Line], _unit: str | None) -> None:
    """A row for each job and phase, with a bar while the job was in it."""
    for place, line in enumerate(reversed(lines)):
        color = PHASE_COLORS.get(line.name.split()[-1], OTHER_COLOR)
        times = [at(when) for when, _ in line.values]
        axes.plot(times, [place] * len(times), "s", color=color, markersize=4)
    names = [f"{line.name.split()[0]} {line.name.split()[-1]}" for line in reversed(lines)]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(-1, len(names))


def paint_lines(axes: Axes, lines: list[Line], unit: str | None) -> None:
    """Values over time: a colour for each job, a dash for each query."""
    jobs = list(dict.fromkeys(line.who for line in lines))
    alone = len({line.query for line in lines}) == 1
    for line in lines:
        number = jobs.index(line.who)
        axes.plot(
            [at(when) for when, _ in line.values],
            [float(value) for _, value in line.values],
            color=CYCLE[number % len(CYCLE)],
            ls=DASH_CYCLE[(number if alone else line.query) % len(DASH_CYCLE)],
            label=line.name,
        )
    top = 1.08 * max((float(value) for line in lines for _, value in line.values), default=0.0)
    axes.set_ylim(0, top or 1)
    axes.yaxis.set_major_formatter(lambda value, _place: with_unit(value, unit))
    axes.yaxis.set_major_locator(
        MultipleLocator(duration_step(top))
        if unit == "s" and top >= 5
        else MaxNLocator(nbins=5, integer=unit == "short")
    )
    axes.grid(alpha=0.3)


def duration_step(longest_s: float) -> float:
    """The step of an axis of durations that gives five ticks or fewer."""
    steps = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 43200, 86400, 172800)
    return next((step for step in steps if longest_s / step <= 5), 604800)


PAINTERS: Final = {
    "stat": paint_number,
    "state-timeline": paint_phases,
    "timeseries": paint_lines,
}


if __name__ == "__main__":
    main()
