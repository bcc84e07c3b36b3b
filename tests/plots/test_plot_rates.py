"""Rates: the axes hold what was written, of one thing, of few and of many."""

import re
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from drawn_frames import axes, job, rendered, simulated, title, with_gid
from matplotlib import dates as mdates

from importstats import plots
from importstats.analysis.gaps import find_gaps
from importstats.analysis.rates import throughput
from importstats.text import format_rate


def test_throughput_of_a_job_is_its_windowed_rate():
    jobs, _, _ = simulated(share=0.6)
    rates = throughput(jobs)
    ax = plots.plot_throughput(rates, zone=UTC, ax=axes())
    np.testing.assert_allclose(ax.lines[0].get_ydata(), rates["rows_per_s_window"])
    assert ax.get_ylabel() == "rows per second"
    rendered(ax)


def test_what_appears_all_at_once_does_not_press_the_line_to_the_ground():
    start = datetime(2026, 5, 18, 8, tzinfo=UTC)

    def drawn(most):
        rates = pd.DataFrame(
            {
                "observed_at": [start + timedelta(minutes=m) for m in range(4)],
                "source_uri": "u", "job_id": "7", "rows_per_s": [0.0, most, 100.0, 0.0],
                "rows_per_s_window": [0.0, 100.0, 100.0, 50.0], "rows_per_s_mean": 60.0,
            }
        )  # fmt: skip
        ax = plots.plot_throughput(rates, zone=UTC, ax=axes())
        return ax.get_ylim()[1], ax.get_legend().get_texts()[0].get_text()

    assert drawn(161.0) == (160.0, "appeared between snapshots, up to 161 rows/s")
    top, text = drawn(160.0)
    assert top > 160
    assert text == "appeared between snapshots"


def test_nothing_is_written_since_the_last_rows_came_not_since_the_window_is_empty():
    jobs = job(
        ["Importing"] * 8,
        [41, 45, 50, 55, 69, 69, 69, 69],
        imported_rows=[0, 100, 200, 300, 400, 400, 400, 400],
        total_rows=400,
        detail_count=1,
    )
    ax = plots.plot_throughput(throughput(jobs, window="90s"), zone=UTC, ax=axes())
    assert title(ax).startswith("Nothing written since 08:04:00 UTC; before, ")


def test_throughput_of_few_files_names_each_and_of_many_shows_their_spread():
    _, details, _ = simulated("steady", files=6)
    few = throughput(details, by="file")
    ax = plots.plot_throughput(few, zone=UTC, ax=axes())
    assert len(ax.lines) == 6
    means = few.groupby("file", observed=True)["rows_per_s_mean"].last()
    assert title(ax).startswith(f"Throughput of 6: {means.idxmin().rsplit('/', 1)[1]} is slowest")
    _, details, _ = simulated(runs=False, signal="smooth")
    many = throughput(details, by="file")
    ax = plots.plot_throughput(many, zone=UTC, ax=axes())
    [line] = ax.lines
    medians = (
        many[many["rows_per_s_window"] > 0].groupby("observed_at")["rows_per_s_window"].median()
    )
    medians.index = mdates.date2num(medians.index.to_numpy())
    assert 100 < len(line.get_xdata()) <= 200
    # Where none writes there is no median.
    np.testing.assert_allclose(line.get_ydata(), medians.reindex(line.get_xdata()))
    assert np.isnan(line.get_ydata()).any()


def test_files_that_are_sampled_at_other_times_are_in_the_median_too():
    start = datetime(2026, 5, 18, 8, tzinfo=UTC)
    rates = pd.DataFrame(
        [
            {"observed_at": start + timedelta(minutes=m), "file_index": f, "rows_per_s_window": r}
            for f in range(9)
            # The last file has no sample between its first and its last.
            for m, r in ([(0, np.nan), (4, 90.0)] if f == 8 else [(m, 10.0 * f) for m in range(5)])
        ]
    ).assign(source_uri="u", job_id="7", rows_per_s=0.0)
    rates["rows_per_s_mean"] = rates["rows_per_s_window"]
    rates["file"] = rates["file_index"].astype("str")
    ax = plots.plot_throughput(rates, zone=UTC, ax=axes())
    assert ax.lines[0].get_ydata().tolist() == [40.0, 45.0, 45.0, 45.0, 45.0]


def test_throughput_before_any_row_says_so():
    ax = plots.plot_throughput(throughput(job(["Pending"], [5])), zone=UTC, ax=axes())
    assert title(ax) == "No throughput yet: it takes two snapshots with rows"


def test_bytes_are_drawn_like_rows():
    jobs, details, _ = simulated(share=0.6)
    rates = throughput(jobs)
    ax = plots.plot_throughput(rates, unit="bytes", zone=UTC, ax=axes())
    np.testing.assert_allclose(ax.lines[0].get_ydata(), rates["bytes_per_s_window"])
    mean = rates["bytes_per_s_mean"].iloc[-1]
    assert mean == pytest.approx(
        rates["rows_per_s_mean"].iloc[-1]
        * jobs["file_size_bytes"].iloc[-1]
        / jobs["total_rows"].iloc[-1]
    )
    assert f"{format_rate(mean, 'B')} on average" in title(ax)
    assert ax.get_ylabel() == "bytes per second"
    few = throughput(details[details["file_index"] < 6], by="file")
    many = throughput(details, by="file")
    for parts in (few, many):
        ax = plots.plot_throughput(parts, unit="bytes", zone=UTC, ax=axes())
        assert re.search(r"is slowest with [\d.]+ [kM]?B/s", title(ax))
        rendered(ax)


def test_where_no_row_was_written_no_axis_is_drawn():
    jobs = job(["Importing"] * 3, [40, 40, 40], total_rows=9, detail_count=1)
    ax = plots.plot_throughput(throughput(jobs), zone=UTC, ax=axes())
    assert title(ax) == "No rows written yet"
    assert not ax.axison


def test_a_time_without_change_is_a_gap_only_if_nobody_looked():
    jobs = job(
        ["Importing"] * 40,
        np.linspace(41, 69, 40),
        imported_rows=[*range(0, 1000, 100), *[1000] * 25, *range(1100, 1600, 100)],
        total_rows=9000,
        detail_count=1,
    )
    steps = throughput(jobs)
    # As of a runs frame: no sample where nothing changed.
    steps = steps[~steps["observed_at"].isin(jobs["observed_at"].iloc[12:34])]
    ax = plots.plot_throughput(steps, zone=UTC, ax=axes())
    assert len(with_gid(ax, "gap")) == 1
    ax = plots.plot_throughput(steps, gaps=find_gaps(jobs["observed_at"]), zone=UTC, ax=axes())
    assert with_gid(ax, "gap") == []


def test_a_window_longer_than_the_job_has_no_peak():
    jobs, _, _ = simulated()
    shown = {
        window: title(plots.plot_throughput(throughput(jobs, window=window), zone=UTC, ax=axes()))
        for window in ("60s", "10h")
    }
    assert "rows/s at most" in shown["60s"]
    assert shown["10h"].endswith("rows/s on average")
