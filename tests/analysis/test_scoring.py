"""The backtest: baselines and scores against numbers computed by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from frames import jobs_of

from importstats.analysis.baselines import BASELINES, late, linear, rows_rate, tqdm_ema
from importstats.analysis.scoring import (
    backtest,
    score,
    true_end,
    true_remaining,
)
from importstats.simulator import simulate_job
from importstats.store.frames import details_frame, jobs_frame

URI = "http://localhost:19530"


def job(progress, *, minutes=None, states=None, **columns):
    minutes = range(len(progress)) if minutes is None else minutes
    states = states or ["Importing"] * (len(progress) - 1) + ["Completed"]
    known = {"source_uri": URI, "imported_rows": 0, "total_rows": 0, **columns}
    rows = list(zip(minutes, states, progress, strict=True))
    start = pd.Timestamp("2026-05-18", tz="UTC")
    return jobs_of(rows, ("minute", "state", "progress_pct"), start=start, **known)


def files(rows):
    """A details frame of (snapshot_id, file, state, progress)."""
    ids, names, states, progress = zip(*rows, strict=True)
    return pd.DataFrame(
        {
            "source_uri": URI,
            "job_id": "7",
            "snapshot_id": ids,
            "file_index": [ord(name) for name in names],
            "file_name": names,
            "state": states,
            "progress_pct": np.array(progress, float),
        }
    )


def remaining(answer):
    return answer["remaining_p50_s"].tolist()


def test_linear_by_hand():
    answer = linear(job([10, 10, 40, 70, np.nan, 100]))
    # Silent, silent, 60 points at 30 a 120 s, 30 at 60 a 180 s, silent, done.
    np.testing.assert_allclose(remaining(answer), [np.nan, np.nan, 240, 90, np.nan, 0])


def test_linear_counts_from_the_first_snapshot_of_each_job():
    two = pd.concat([job([50, 75, 100]), job([0, 10, 100]).assign(job_id="8")])
    answer = linear(two)
    np.testing.assert_allclose(remaining(answer), [np.nan, 60, 0, np.nan, 540, 0])


def test_rows_rate_by_hand():
    jobs = job(
        [10, 40, 45, 60, 70, 80],
        imported_rows=pd.array([0, 0, 100, 100, 400, 400], "Int64"),
        total_rows=pd.array([0, 400, 400, 400, 400, 400], "Int64"),
    )
    # Counted from the second snapshot on: 300 left at 100 a 60 s, then at 100 a 120 s.
    expected = [np.nan, np.nan, 180, 360, 0, 0]
    np.testing.assert_allclose(remaining(rows_rate(jobs)), expected)


def test_tqdm_by_hand():
    answer = tqdm_ema(job([0, 10, 10, 40, 100], minutes=[0, 1, 2, 3, 4]))
    # One feed: 10 points in 60 s. No move, no feed. Then 30 points in the 120 s since the last.
    dn, dt = 0.3 * 10, 0.3 * 60
    first = (100 - 10) * dt / dn
    dn, dt = 0.3 * 30 + 0.7 * dn, 0.3 * 120 + 0.7 * dt
    expected = [np.nan, first, first, (100 - 40) * dt / dn, 0]
    np.testing.assert_allclose(remaining(answer), expected)


def test_tqdm_waits_for_its_own_step():
    """The bar is redrawn only when it has moved by the mean of 0.1 s' worth."""
    jobs = job([0, 60, 61, 65], minutes=[0, 0.01, 0.02, 0.03])
    # 60 points in 0.6 s make a step of 10: neither 1 nor 5 more points are fed.
    rate = 60 / 0.6
    expected = [np.nan, 40 / rate, 39 / rate, 35 / rate]
    np.testing.assert_allclose(remaining(tqdm_ema(jobs)), expected, rtol=1e-6)


def test_tqdm_before_it_is_fed_and_going_back():
    jobs = job([0, 0, 50, 10, 5], minutes=[0, 1, 2, 3, 4])
    answer = remaining(tqdm_ema(jobs))
    assert np.isnan(answer[:2]).all()
    assert answer[2] == pytest.approx(50 * 60 / 50)
    # 0.3 x (-40) + 0.7 x 15 is negative: a question mark.
    assert np.isnan(answer[3])


def test_late_by_hand():
    jobs = job([40, 41, 45, 50, 70])
    details = files(
        [
            (1, "a", "Pending", 0),
            (1, "b", "Pending", 0),
            (2, "a", "InProgress", 25),
            (2, "b", "Pending", 0),
            (3, "a", "InProgress", 50),
            (3, "b", "InProgress", 20),
            (4, "a", "Completed", 100),
            (4, "b", "InProgress", 20),
            (5, "a", "Completed", 100),
            (5, "b", "Completed", 100),
        ]
    )
    # a runs since minute 0: 0.75 / (0.25 / 60). At 3, b: 0.8 / (0.2 / 60) beats a's 120 s.
    # At 4, b has run for 120 s. At 5 nothing runs.
    expected = [np.nan, 180, 240, 480, np.nan]
    np.testing.assert_allclose(remaining(late(jobs, details)), expected)
    runs = details.assign(last_snapshot_id=details["snapshot_id"])
    runs.loc[5, "last_snapshot_id"] = 4
    np.testing.assert_allclose(remaining(late(jobs, runs.drop(index=7))), expected)
    assert late(jobs, None)["remaining_p50_s"].isna().all()


def test_true_end_prefers_the_server_and_doubts_its_clock():
    def end(complete_time):
        times = pd.to_datetime([None, None, complete_time], utc=True)
        return true_end(job([10, 50, 100], complete_time=times))["end"].iloc[0].strftime("%T")

    assert end("2026-05-18T00:01:30Z") == "00:01:30"
    assert end(None) == "00:02:00"
    assert end("2026-05-18T05:00:00Z") == "00:02:00"
    assert end("2026-05-17T05:00:00Z") == "00:01:00"


def test_jobs_without_an_end_are_not_scored():
    failed = job([10, 50, 0], states=["Importing", "Importing", "Failed"])
    open_ = job([10, 50, 60], states=["Importing"] * 3).assign(job_id="8")
    both = pd.concat([failed, open_])
    assert len(true_end(both)) == 0
    result = backtest(both, method="linear")
    assert len(result.predictions) == 0
    assert len(result.overall) == 0


def test_waiting_for_the_user_stops_the_clock():
    states = ["Importing", "Importing", "Uncommitted", "Uncommitted", "Committing", "Completed"]
    jobs = job([10, 80, 99, 99, 99, 100], states=states)
    truth = true_remaining(jobs)
    assert truth["snapshot_id"].tolist() == [1, 2, 5]
    # 300 s of life less 120 s of waiting; then 240 less 120; then 60.
    assert truth["true_remaining_s"].tolist() == [180, 120, 60]


def test_tenths_and_thinning():
    jobs = job(np.linspace(0, 100, 101))
    truth = true_remaining(jobs)
    assert truth["tenth"].value_counts().tolist() == [10] * 10
    thin = true_remaining(jobs, per_job=10)
    assert thin["snapshot_id"].tolist() == list(range(1, 101, 10))
    assert len(true_remaining(jobs, per_job=1000)) == 100


def two_methods(first, second, low=None, high=None):
    """Scores of two methods that answer so at the snapshots 100, 200, 300 s before the end."""
    jobs = job([10, 20, 30, 100], minutes=[0, 100 / 60, 200 / 60, 5])

    def saying(values, **more):
        def method(frame, details):
            keys = frame[["source_uri", "job_id", "snapshot_id"]]
            columns = {"remaining_p50_s": values, **more}
            return keys.assign(**{k: [*v, 0.0] for k, v in columns.items() if v is not None})

        return method

    methods = {
        "first": saying(first, remaining_p10_s=low, remaining_p90_s=high),
        "second": saying(second),
    }
    return backtest(jobs, method=methods)


def test_scores_by_hand():
    # The truth is 300, 200, 100.
    result = two_methods(
        [330, 100, np.nan], [150, 200, 400], [290, 150, np.nan], [600, 190, np.nan]
    )
    table = result.overall.set_index(["method", "support"])
    first = table.loc[("first", "answered")]
    assert first["snapshots"] == 2
    assert first["jobs"] == 1
    assert first["silent_share"] == pytest.approx(1 / 3)
    assert first["median_relative_error"] == pytest.approx((0.1 + 0.5) / 2)
    assert first["bias"] == pytest.approx((0.1 - 0.5) / 2)
    assert first["coverage_80"] == pytest.approx(0.5)
    assert first["relative_width_80"] == pytest.approx((310 / 300 + 40 / 200) / 2)
    pinball = [
        np.mean([0.1 * 10, 0.5 * 30, 0.1 * 300]) / 300,
        np.mean([0.1 * 50, 0.5 * 100, 0.9 * 10]) / 200,
    ]
    assert first["relative_pinball"] == pytest.approx(np.mean(pinball))
    assert table.loc[("first", "all"), "median_relative_error"] == pytest.approx(0.5)
    assert np.isinf(table.loc[("first", "all"), "p90_relative_error"])

    second = table.loc[("second", "answered")]
    assert second["median_relative_error"] == pytest.approx(0.5)
    assert second["p90_relative_error"] == pytest.approx(3.0)
    assert np.isnan(second["coverage_80"])
    assert second["relative_pinball"] == pytest.approx(0.5 * 0.5)
    both = table.loc[("second", "both")]
    assert both["snapshots"] == 2
    assert both["median_relative_error"] == pytest.approx((0.5 + 0.0) / 2)
    assert both["reference_median_relative_error"] == pytest.approx((0.1 + 0.5) / 2)


def test_scores_by_a_column():
    result = two_methods([300, 200, 100], [600, 200, 100])
    table = score(result.predictions, by="tenth")
    second = table[(table["method"] == "second") & (table["support"] == "answered")]
    errors = dict(zip(second["tenth"], second["median_relative_error"], strict=True))
    # Times are whole microseconds.
    assert errors == pytest.approx({0: 1.0, 3: 0.0, 6: 0.0}, abs=1e-7)


@pytest.fixture(scope="module")
def recorded():
    simulation = simulate_job("steady", seed=1, files=10, poll_every_s=60.0)
    jobs, details = simulation.tables(runs=True)
    return jobs_frame(jobs), details_frame(details)


def test_replaying_truncated_frames_gives_the_same(recorded):
    jobs, details = recorded
    names = ["eta", *BASELINES]
    whole = backtest(jobs, details, names, per_job=8)
    truncated = backtest(jobs, details, names, per_job=8, truncated=True)
    pd.testing.assert_frame_equal(whole.predictions, truncated.predictions, rtol=1e-9)


def test_a_method_that_peeks_is_caught_by_truncation(recorded):
    jobs, _ = recorded

    def peeks(frame, details):
        left = frame["observed_at"].max() - frame["observed_at"]
        keys = frame[["source_uri", "job_id", "snapshot_id"]]
        return keys.assign(remaining_p50_s=left.dt.total_seconds())

    cheated = backtest(jobs, method=peeks, per_job=8).overall
    honest = backtest(jobs, method=peeks, per_job=8, truncated=True).overall
    assert cheated["median_relative_error"].max() < 0.1
    assert honest["median_relative_error"].min() == 1.0


def test_result_is_tidy(recorded):
    jobs, details = recorded
    result = backtest(jobs, details, ["eta", *BASELINES], history=jobs, per_job=10)
    assert result.predictions["method"].value_counts().tolist() == [10] * 5
    assert set(result.overall["support"]) == {"answered", "both", "all"}
    assert result.by_phase.columns[:3].tolist() == ["method", "phase", "support"]
    assert result.by_tenth.columns[:3].tolist() == ["method", "tenth", "support"]
    assert (
        result.overall.drop(columns=["method", "support"])
        .dtypes.map(str)
        .isin(["int64", "float64"])
        .all()
    )


def test_unknown_method():
    with pytest.raises(ValueError, match="no ETA method 'magic'; there are eta, linear"):
        backtest(job([0, 100]), method="magic")


def test_the_log_error_punishes_too_little_as_much_as_too_much():
    jobs = job([0, 40, 80, 100])
    said = {"half": 0.5, "double": 2.0}
    true = true_remaining(jobs)

    def times(factor):
        return lambda jobs, details: true.assign(remaining_p50_s=true["true_remaining_s"] * factor)

    table = score(backtest(jobs, None, {name: times(by) for name, by in said.items()}).predictions)
    table = table[table["support"].eq("answered")]
    np.testing.assert_allclose(table["median_log_error"], np.log(2))
    np.testing.assert_allclose(table["median_relative_error"], [0.5, 1.0])


def test_the_mean_width_is_that_of_the_snapshots():
    jobs = job([0, 40, 80, 100])
    true = true_remaining(jobs)

    def wide(jobs, details):
        low, high = true["true_remaining_s"] * 0.5, true["true_remaining_s"] * [1.5, 2.5, 6.5]
        return true.assign(remaining_p10_s=low, remaining_p50_s=low, remaining_p90_s=high)

    table = score(backtest(jobs, None, {"wide": wide}).predictions)
    table = table[table["support"].eq("answered")]
    np.testing.assert_allclose(table["mean_width_80"], 3.0)
    np.testing.assert_allclose(table["relative_width_80"], 2.0)
