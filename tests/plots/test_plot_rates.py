"""Rates: the axes hold what was written, of one thing, of few and of many."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
from drawn_frames import axes, job, rendered, simulated, title
from matplotlib import dates as mdates

from importstats import plots
from importstats.analysis.rates import throughput


def test_throughput_of_a_job_is_its_windowed_rate():
    jobs, _, _ = simulated(share=0.6)
    rates = throughput(jobs)
    ax = plots.plot_throughput(rates, zone=UTC, ax=axes())
    np.testing.assert_allclose(ax.lines[0].get_ydata(), rates["rows_per_s_window"])
    assert ax.get_ylabel() == "rows per second"
    rendered(ax)


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
    np.testing.assert_allclose(line.get_ydata(), medians.loc[line.get_xdata()])


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
