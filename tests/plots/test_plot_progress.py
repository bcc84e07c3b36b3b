"""Progress and ETA: the axes hold what was sent and what was predicted."""

from datetime import UTC, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from drawn_frames import axes, day, job, rendered, simulated, title, with_gid
from matplotlib import dates as mdates
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex

from importstats import plots
from importstats.analysis.forecast import eta
from importstats.analysis.phase import phases
from importstats.analysis.scoring import backtest
from importstats.analysis.words import headline


def test_progress_has_the_sent_values_on_bands_of_all_phases():
    jobs, _, _ = simulated("index_bound", share=0.9)
    ax = plots.plot_progress(jobs, zone=UTC, ax=axes())
    x, y = ax.lines[0].get_data()
    np.testing.assert_allclose(y, jobs["progress_pct"])
    np.testing.assert_allclose(x, mdates.date2num(jobs["observed_at"].to_numpy()))
    runs = phases(jobs)
    bands = with_gid(ax, "phase:")
    assert [band.get_gid() for band in bands] == [f"phase:{phase}" for phase in runs["phase"]]
    for band, run in zip(bands, runs.itertuples(), strict=True):
        assert to_hex(band.get_facecolor()).upper() == plots.PHASE_COLORS[run.phase]
        assert band.get_x() == pytest.approx(day(run.start))
    named = [text.get_text() for text in ax.texts]
    named += [text.get_text() for text in ax.get_legend().get_texts()]
    assert set(runs["phase"]) <= set(named)


def test_the_cone_ends_at_the_quantiles_of_the_eta():
    jobs, details, at = simulated(share=0.5)
    estimate = eta(jobs, details, at=at)
    ax = plots.plot_progress(jobs, estimate, zone=UTC, ax=axes())
    [cone] = with_gid(ax, "eta-interval")
    [median] = with_gid(ax, "eta-median")
    now, progress = day(at), jobs["progress_pct"].iloc[-1]
    p10, p50, p90 = (day(estimate[f"eta_{name}"].iloc[0]) for name in ("p10", "p50", "p90"))
    np.testing.assert_allclose(cone.get_xy()[:3], [[now, progress], [p10, 100], [p90, 100]])
    np.testing.assert_allclose(median.get_xydata(), [[now, progress], [p50, 100]])
    assert title(ax) == headline(jobs, estimate, zone=UTC)


def test_a_far_end_does_not_press_the_past_against_the_axis():
    jobs = job(["Pending", "Importing", "Importing"], [5, 40, 41], detail_count=[0, 3, 3])
    last = jobs["observed_at"].iloc[-1]
    times = [last + timedelta(days=days) for days in (300, 20_000, 36_000)]
    estimate = pd.DataFrame([times], columns=["eta_p10", "eta_p50", "eta_p90"]).assign(
        observed_at=last, phase="Importing", reason=None
    )
    ax = plots.plot_progress(jobs, estimate, zone=UTC, ax=axes())
    left, right = ax.get_xlim()
    assert (day(last) - left) / (right - left) > 0.3
    assert any("→" in text.get_text() for text in ax.texts)
    rendered(ax)


def test_a_failed_job_keeps_the_progress_it_was_last_seen_with():
    jobs = job(["Importing", "Importing", "Failed"], [40, 62, 0], detail_count=3)
    ax = plots.plot_progress(jobs, zone=UTC, ax=axes())
    drawn = np.concatenate([line.get_ydata() for line in ax.lines if line.get_gid() is None])
    assert 0 not in drawn[np.isfinite(drawn)]
    [cross] = [line for line in ax.lines if line.get_marker() == "X"]
    assert cross.get_ydata()[0] == 62
    assert title(ax) == "Failed at 08:02:00 UTC, in Importing at 62 %: the server gives no reason"


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Kolkata"])
def test_times_are_shown_in_the_zone_that_the_axis_names(zone):
    jobs = job(["Importing"] * 3, [40, 41, 42], detail_count=3)
    ax = plots.plot_progress(jobs, zone=ZoneInfo(zone), ax=axes())
    rendered(ax)
    local = jobs["observed_at"].dt.tz_convert(zone)
    assert ax.get_xlabel() == f"time ({local.iloc[0].tzname()})"
    ticks = [text.get_text() for text in ax.get_xticklabels()]
    assert local.iloc[1].strftime("%H:%M:%S") in ticks


def test_the_zone_is_the_readers_by_default(monkeypatch):
    import time

    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        ax = plots.plot_progress(job(["Pending"], [5]), ax=axes())
        assert ax.get_xlabel() == "time (JST)"
        assert headline(job(["Completed"], [100])) == "Completed at 17:00:00 JST"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_several_jobs_on_one_progress_plot_are_refused():
    two = pd.concat([job(["Pending"], [5]), job(["Pending"], [5], job_id="8")])
    with pytest.raises(ValueError, match="one job and the frame holds 2"):
        plots.plot_progress(two, ax=axes())


def test_predictions_over_time_with_the_true_end():
    jobs, details, _ = simulated("steady", files=20)
    estimates = eta(jobs, details)
    ax = plots.plot_eta(estimates, zone=UTC, ax=axes())
    at_work = estimates[estimates["eta_p50"].notna() & estimates["phase"].ne("Completed")]
    predicted, true = (
        next(line for line in ax.lines if line.get_label() == name)
        for name in ("predicted end", "true end")
    )
    np.testing.assert_allclose(
        predicted.get_ydata(), mdates.date2num(at_work["eta_p50"].to_numpy())
    )
    end = estimates.loc[estimates["phase"].eq("Completed"), "eta_p50"].iloc[0]
    assert true.get_ydata()[0] == pytest.approx(day(end))
    held = ((at_work["eta_p10"] <= end) & (end <= at_work["eta_p90"])).mean()
    assert f"at {round(100 * held)} % of the snapshots" in title(ax)
    assert ax.get_ylabel() == "predicted end (UTC)"


def test_where_there_is_no_eta_the_plot_says_why():
    ax = plots.plot_eta(eta(job(["Pending"], [5])), zone=UTC, ax=axes())
    assert title(ax) == "No ETA: pending: no history"


def test_errors_of_methods_over_the_life_of_jobs():
    jobs, details, _ = simulated("steady", files=20)
    scores = backtest(jobs, details, ["eta", "linear"]).by_tenth
    ax = plots.plot_eta_error(scores, ax=axes())
    answered = scores[scores["support"].eq("answered")]
    for method in ("eta", "linear"):
        line = next(line for line in ax.lines if line.get_label() == method)
        own = answered[answered["method"].eq(method)].dropna(subset="median_relative_error")
        np.testing.assert_allclose(line.get_ydata(), own["median_relative_error"])
    errors = answered.pivot_table("median_relative_error", "tenth", "method", observed=True)
    wins = errors.idxmin(axis="columns").astype("str").value_counts()
    assert title(ax) == f"{wins.index[0]} is closest in {wins.iloc[0]} of {len(errors)} tenths"
    rendered(ax)


def test_calibration_counts_how_often_the_truth_came_before_each_quantile():
    predictions = pd.DataFrame(
        {
            "method": pd.Categorical(["eta"] * 4 + ["point"]),
            "true_remaining_s": [5.0, 15.0, 25.0, 35.0, 5.0],
            "remaining_p10_s": [10.0, 10.0, 10.0, 10.0, np.nan],
            "remaining_p50_s": [20.0, 20.0, 20.0, 20.0, 5.0],
            "remaining_p90_s": [30.0, 30.0, 30.0, 30.0, np.nan],
        }
    )
    ax = plots.plot_calibration(predictions, ax=axes())
    line = next(line for line in ax.lines if line.get_label() == "eta")
    assert list(line.get_ydata()) == [0.25, 0.5, 0.75]
    assert title(ax) == "The 80 % interval held the truth: eta 50 % of 4 times"


def test_one_prediction_is_a_point_with_its_interval():
    jobs, details, at = simulated(share=0.6)
    own = eta(jobs, details, at=at)
    ax = plots.plot_eta(own, zone=UTC, ax=axes())
    assert title(ax).startswith("By one prediction it ends ")
    [interval] = [c for c in ax.collections if isinstance(c, LineCollection)]
    [line] = interval.get_segments()
    assert line[:, 1].tolist() == [day(own[f"eta_{name}"].iloc[0]) for name in ("p10", "p90")]


@pytest.mark.parametrize(
    ("polls", "freq", "expected"),
    [
        (12, "1s", {"08:00:00", "08:00:05", "08:00:10"}),
        (60, "1min", {"08:00", "08:10", "08:50"}),
        (96, "1h", {"19 May", "20 May", "21 May"}),
    ],
)
def test_no_tick_of_a_time_is_a_bare_number(polls, freq, expected):
    jobs = job(["Importing"] * polls, [50.0] * polls, detail_count=1)
    jobs["observed_at"] = pd.date_range("2026-05-18T08:00Z", periods=polls, freq=freq)
    ax = plots.plot_progress(jobs, zone=UTC, ax=axes())
    rendered(ax)
    ticks = {text.get_text() for text in ax.get_xticklabels()}
    assert expected <= ticks
    assert not [tick for tick in ticks if tick.isdigit()]


def test_a_legend_covers_no_data():
    jobs = job(["Pending", *["Importing"] * 40, "Completed"], [5, *np.linspace(10, 90, 40), 100])
    ax = plots.plot_progress(jobs, zone=UTC, ax=axes())
    rendered(ax)
    box = ax.get_legend().get_window_extent()
    assert box.y0 >= ax.get_window_extent().y1
    names = [text for text in ax.texts if text.get_rotation() == 0]
    assert not [name for name in names if name.get_window_extent().overlaps(box)]
    assert not ax._left_title.get_window_extent().overlaps(box)
