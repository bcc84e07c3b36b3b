"""What is shown as of a time: nothing of it changes when later rows are cut away."""

import io
from datetime import UTC
from functools import lru_cache

import frames
import matplotlib
import pytest
from matplotlib.figure import Figure
from rich.console import Console

from importstats import plots, report, rewind, stragglers
from importstats.show.job import ImportJob
from importstats.show.panel import job_view


@lru_cache(maxsize=4)
def simulated(shape="stragglers"):
    return frames.simulated(shape, files=12, seed=5, poll_every_s=30)


def drawn(figure):
    svg = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "importstats", "svg.fonttype": "none"}):
        figure.savefig(svg, format="svg", metadata={"Date": None})
    return svg.getvalue()


def on_axes(draw):
    figure = Figure(figsize=(9, 4), layout="constrained")
    draw(figure.subplots())
    return drawn(figure)


def printed(view):
    console = Console(width=110, file=io.StringIO())
    console.print(view)
    return console.file.getvalue()


SHOWN = {
    "overview": lambda jobs, details, at: drawn(plots.overview(jobs, details, at=at, zone=UTC)),
    "files": lambda jobs, details, at: on_axes(
        lambda ax: plots.plot_files(details, stragglers(details, at=at), at=at, zone=UTC, ax=ax)
    ),
    "heatmap": lambda jobs, details, at: on_axes(
        lambda ax: plots.plot_file_heatmap(details, at=at, zone=UTC, ax=ax)
    ),
    "terminal": lambda jobs, details, at: printed(job_view(jobs, details, at=at, zone=UTC)),
    "notebook": lambda jobs, details, at: ImportJob(jobs, details, at, zone=UTC)._repr_html_(),
    "html": lambda jobs, details, at: report(jobs, details, at=at),
    "md": lambda jobs, details, at: report(jobs, details, at=at, form="md"),
    "json": lambda jobs, details, at: report(jobs, details, at=at, form="json"),
}


@pytest.mark.parametrize("share", [0.35, 0.8])
@pytest.mark.parametrize("name", SHOWN)
def test_nothing_shown_as_of_a_time_changes_when_later_rows_are_cut_away(name, share):
    jobs, details = simulated()
    at = jobs["observed_at"].iloc[int(share * len(jobs))]
    whole = SHOWN[name](jobs, details, at)
    assert whole == SHOWN[name](rewind(jobs, at), rewind(details, at, jobs), at)


def test_an_overview_as_of_a_time_does_not_know_the_end():
    jobs, details = simulated()
    at = jobs["observed_at"].iloc[len(jobs) // 2]
    figure = plots.overview(jobs, details, at=at, zone=UTC)
    assert "Completed" not in figure.get_suptitle()
    line = figure.axes[0].lines[0]
    assert line.get_xdata().max() <= matplotlib.dates.date2num(at)
