"""Plots: the axes hold the data they should, the titles say what was found, no name does harm."""

from datetime import UTC, datetime, timedelta
from io import BytesIO

import matplotlib
import numpy as np
import pandas as pd
import pytest
from drawn_frames import F, I, axes, day, files, job, rendered, simulated, title, with_gid
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import dates as mdates

from importstats import plots
from importstats.analysis.findings import diagnose
from importstats.analysis.forecast import eta
from importstats.analysis.lateness import VERDICTS, stragglers
from importstats.analysis.phase import phases
from importstats.analysis.rates import throughput
from importstats.analysis.totals import summary
from importstats.analysis.words import headline
from importstats.names import PHASES
from importstats.plots.style import wrapped

HOSTILE_NAMES = [
    "$x$ and $\\frac{1}",
    "$",
    "a\\$b_{c}^{d}",
    "\x1b[31mred\x1b[0m\a\b",
    "\u202egnp.exe\u200f",
    "日本語の名前.parquet",
    "👍.parquet",
    "line\nbreak\ttab\r",
    "\ud800".encode("utf-16", "surrogatepass").decode("utf-16", "replace"),
    "",
    " ",
    "<script>alert(1)</script>",
    "%s %(x)s {0} {}",
    "x" * 1_000_000,
    "/" * 500,
]


def test_every_phase_and_verdict_has_one_colour_of_its_own():
    assert set(plots.PHASE_COLORS) == set(PHASES)
    assert len(set(plots.PHASE_COLORS.values())) == len(PHASES)
    assert set(plots.VERDICT_COLORS) == set(VERDICTS)
    assert len(set(plots.VERDICT_COLORS.values())) == len(VERDICTS)


@given(st.text(), st.integers(2, 80))
def test_a_label_is_short_drawable_and_never_mathtext(text, limit):
    shown = plots.label(text, limit)
    assert shown.count("$") == shown.count(r"\$")
    plain = shown.replace(r"\$", "$")
    assert len(plain) <= limit
    assert plain.isprintable()
    font = matplotlib.font_manager.get_font(matplotlib.font_manager.findfont("DejaVu Sans"))
    assert {ord(c) for c in plain} <= set(font.get_charmap())


def test_a_long_label_keeps_its_end():
    assert plots.label("exports/2026/part-00001.parquet", 14) == "…00001.parquet"


def test_a_number_stays_with_its_unit():
    for width in np.linspace(1, 9, 40):
        lines = wrapped("38.5 k rows/s on average, 121 k rows/s at most, in 15 min 2 s", width, 11)
        for line in lines.split("\n")[1:]:
            assert not line.startswith(("k ", "rows/s", "min", "s"))


def spans_with(ax, gid):
    """The extents of the artists of a kind, in minutes since 8:00."""
    start = mdates.date2num(datetime(2026, 5, 18, 8, tzinfo=UTC))
    boxes = [
        artist.get_path().get_extents(artist.get_patch_transform())
        for artist in ax.patches
        if artist.get_gid() == gid
    ]
    return [(round((b.x0 - start) * 1440), round((b.x1 - start) * 1440)) for b in boxes]


def test_over_a_gap_lines_break_and_every_panel_over_time_is_hatched():
    jobs = job(
        ["Importing"] * 40,
        np.linspace(41, 69, 40),
        imported_rows=range(0, 4000, 100),
        total_rows=9000,
        detail_count=2,
    )
    details = files([[I] * 40] * 2)
    jobs = jobs.drop(index=range(15, 34))
    details = details[~details["snapshot_id"].isin(range(15, 34))]
    figure = plots.overview(jobs, details, zone=UTC)
    assert [spans_with(ax, "gap") for ax in figure.axes] == [[(14, 34)]] * 3
    progress, rates, _ = figure.axes
    for ax in (progress, rates):
        line = max(ax.lines, key=lambda line: len(line.get_xdata()))
        x = (np.asarray(line.get_xdata()) - day(jobs["observed_at"].iloc[0])) * 1440
        assert np.isnan(np.asarray(line.get_ydata(), float)[np.round(x) == 14]).any()


def test_jobs_are_stacked_by_phase_the_longest_first():
    short = job(["Pending", "Importing", "Completed"], [5, 80, 100])
    long = job(["Pending", *["Importing"] * 8, "Completed"], [5, *[80] * 8, 100], job_id="8")
    runs = phases(pd.concat([short, long]))
    ax = plots.plot_comparison(runs, ax=axes())
    assert [text.get_text() for text in ax.get_yticklabels()] == ["8", "7"]
    width = {}
    for patch in ax.patches:
        row = round(patch.get_y() + patch.get_height() / 2)
        width[row] = width.get(row, 0) + patch.get_width()
    assert width == {0: pytest.approx(8.5), 1: pytest.approx(1.5)} or width == {
        0: pytest.approx(9), 1: pytest.approx(2)
    }  # fmt: skip
    assert title(ax).startswith("Job 8 took")
    assert title(ax).endswith("of it in IndexBuilding")


def test_compared_jobs_are_named_with_collection_and_server():
    jobs = pd.concat(
        [
            job(["Pending", "Importing", "Completed"], [5, 80, 100]),
            job(["Pending", *["Importing"] * 8, "Completed"], [5, *[80] * 8, 100], job_id="8"),
        ]
    )
    names = [
        text.get_text()
        for text in plots.plot_comparison(phases(jobs), summary(jobs), ax=axes()).get_yticklabels()
    ]
    assert names == ["8 products", "7 products"]
    jobs["source_uri"] = jobs["job_id"].map({"7": "http://a", "8": "http://b"})
    ax = plots.plot_comparison(phases(jobs), summary(jobs), ax=axes())
    assert ax.get_yticklabels()[0].get_text() == "8 products on b"


def test_the_overview_has_all_panels_on_one_time_axis():
    jobs, details, at = simulated(seed=7, share=0.6)
    figure = plots.overview(jobs, details, zone=UTC)
    progress, rates, timeline = figure.axes
    assert progress.get_xlim() == rates.get_xlim() == timeline.get_xlim()
    assert (progress.get_xlabel(), timeline.get_xlabel()) == ("", "time (UTC)")
    known = (eta(jobs, details, at=at), stragglers(details, at=at), diagnose(jobs, details, at=at))
    said = headline(jobs, *known, zone=UTC)
    assert " ".join(figure.get_suptitle().split()) == said


def test_an_old_recording_shows_where_now_is_and_no_end():
    jobs, details, at = simulated(share=0.6)
    fresh = plots.overview(jobs, details, at=at, zone=UTC).axes[0]
    assert len(with_gid(fresh, "eta-median")) == 1
    assert with_gid(fresh, "now") == []
    old = plots.overview(jobs, details, at=at + timedelta(minutes=20), zone=UTC).axes[0]
    assert with_gid(old, "eta-median") == []
    assert [text.get_text() for text in with_gid(old, "now")] == ["now"]
    assert old.get_xlim()[1] > day(at + timedelta(minutes=20))
    figure = plots.overview(jobs, details, at=at + timedelta(days=323), zone=UTC)
    [text] = with_gid(figure.axes[0], "now")
    assert text.get_text() == "now, 323 d after the last snapshot →"
    for panel in figure.axes:
        left, right = panel.get_xlim()
        assert day(at) - left > 0.7 * (right - left)


def test_a_phase_is_named_above_a_gap_in_it():
    jobs, details, at = simulated(share=0.6)
    seen = jobs["observed_at"].between(at - timedelta(minutes=14), at - timedelta(minutes=2))
    ax = plots.overview(jobs[~seen], details, at=at, zone=UTC).axes[0]
    [gap] = with_gid(ax, "gap")
    names = [text for text in ax.texts if text.get_rotation() == 90]
    assert names
    assert min(text.get_zorder() for text in names) > gap.get_zorder()


@pytest.mark.parametrize("shape", ["failing", "stuck_file", "two_phase_commit", "wrong_totals"])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_overview_draws_every_kind_of_job_at_any_time(shape, share):
    jobs, details, _ = simulated(shape, files=12, share=share)
    rendered(plots.overview(jobs, details, zone=UTC).axes[0])


def test_the_overview_of_nothing_says_so():
    jobs, details, _ = simulated()
    figure = plots.overview(jobs.iloc[:0], details.iloc[:0], zone=UTC)
    assert title(figure.axes[0]) == "No snapshots yet"


def test_nothing_is_left_with_pyplot():
    from matplotlib import pyplot

    jobs, details, _ = simulated(share=0.6)
    before = pyplot.get_fignums()
    plots.overview(jobs, details, zone=UTC)
    plots.plot_progress(jobs, zone=UTC, ax=axes())
    assert pyplot.get_fignums() == before
    ax = plots.plot_progress(jobs, zone=UTC)
    assert pyplot.get_fignums() == [*before, ax.get_figure().number]
    pyplot.close(ax.get_figure())


def test_frames_are_not_changed():
    jobs, details, _ = simulated(share=0.6)
    copies = jobs.copy(deep=True), details.copy(deep=True)
    plots.overview(jobs, details, zone=UTC)
    pd.testing.assert_frame_equal(jobs, copies[0])
    pd.testing.assert_frame_equal(details, copies[1])


def test_long_names_do_not_push_a_title_off_the_figure():
    judged = stragglers(files([[I, I, I]] * 4, ["x" * 40 + f"{n}.parquet" for n in range(4)]))
    judged = judged.assign(is_straggler=True, verdict="goes back", delay_s=3660.0)
    ax = plots.plot_stragglers(judged, ax=axes())
    figure = ax.get_figure()
    figure.savefig(BytesIO(), format="png")
    box = ax._left_title.get_window_extent()
    assert box.x1 <= figure.bbox.x1


@pytest.mark.parametrize("form", ["png", "svg"])
def test_no_file_name_does_harm(form):
    states = [[I, I, I] for _ in HOSTILE_NAMES] + [[I, I, F]]
    details = files(states, [*HOSTILE_NAMES, "$last$"])
    judged = stragglers(details).assign(is_straggler=True, verdict="slow", delay_s=60.0)
    rendered(plots.plot_files(details, judged, zone=UTC, ax=axes()), form)
    rendered(plots.plot_stragglers(judged, ax=axes()), form)
    rendered(plots.plot_file_heatmap(details, zone=UTC, ax=axes()), form)
    rendered(plots.plot_throughput(throughput(details, by="file"), zone=UTC, ax=axes()), form)
    few = details[details["file_index"] < 4]
    rendered(plots.plot_throughput(throughput(few, by="file"), zone=UTC, ax=axes()), form)


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=range(len(HOSTILE_NAMES)))
def test_no_reason_state_or_job_id_does_harm(name):
    jobs = job(["Importing", "Failed"], [40, 0], reason=[None, name], job_id=name)
    rendered(plots.plot_progress(jobs, zone=UTC, ax=axes()))
    rendered(plots.plot_comparison(phases(jobs), ax=axes()))
    odd = job(["Importing", name], [40, 50])
    rendered(plots.plot_progress(odd, zone=UTC, ax=axes()))


@pytest.mark.parametrize(
    "draw",
    [
        lambda jobs, details, ax: plots.plot_progress(jobs, ax=ax),
        lambda jobs, details, ax: plots.plot_eta(eta(jobs, details), ax=ax),
        lambda jobs, details, ax: plots.plot_throughput(throughput(jobs), ax=ax),
        lambda jobs, details, ax: plots.plot_files(details, stragglers(details), ax=ax),
        lambda jobs, details, ax: plots.plot_file_heatmap(details, ax=ax),
        lambda jobs, details, ax: plots.plot_stragglers(stragglers(details), ax=ax),
        lambda jobs, details, ax: plots.plot_comparison(phases(jobs), ax=ax),
    ],
)
@pytest.mark.parametrize("rows", [0, 1])
def test_empty_and_one_row_frames_are_drawn(draw, rows):
    jobs, details, _ = simulated()
    ax = axes()
    assert draw(jobs.iloc[:rows], details.iloc[:rows], ax) is ax
    assert title(ax)
    rendered(ax)
