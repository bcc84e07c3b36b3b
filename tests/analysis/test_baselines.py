"""Simple methods that look at earlier jobs, against numbers computed by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
from frames import jobs_of

from importstats.analysis.baselines import (
    HISTORY_BASELINES,
    _tqdm_remaining,
    history_median,
    survival,
    twin,
)

START = pd.Timestamp("2026-05-18", tz="UTC")


def job(name, progress, *, hour, size=1000, minutes=None, **columns):
    """A job polled every minute from an hour on, Completed at its last snapshot."""
    states = ["Importing"] * (len(progress) - 1) + ["Completed"]
    minutes = range(len(progress)) if minutes is None else minutes
    known = {"job_id": name, "file_size_bytes": size, "imported_rows": 0, "total_rows": 0}
    return jobs_of(
        list(zip(minutes, states, progress, strict=True)),
        ("minute", "state", "progress_pct"),
        start=START + pd.Timedelta(hour, "h"),
        **{**known, **columns},
    )


def remaining(answer):
    return answer["remaining_p50_s"].tolist()


def test_a_twin_is_scaled_by_bytes():
    past = job("1", [10, 40, 70, 100], hour=0)
    now = job("2", [10, 40, 70, 100], hour=1, size=3000)
    np.testing.assert_allclose(remaining(twin(now, None, past)), [540, 360, 180, 0])


def test_a_twin_is_read_between_its_snapshots():
    past = job("1", [10, 40, 70, 100], hour=0)
    now = job("2", [25, 55, 100], hour=1)
    np.testing.assert_allclose(remaining(twin(now, None, past)), [150, 90, 0])


def test_a_twin_that_stood_is_stood_with_and_no_longer_than_it_stood():
    past = job("1", [10, 70, 70, 70, 80, 100], hour=0)
    now = job("2", [10, 70, 70, 70, 70, 70, 100], hour=1)
    expected = [300, 240, 180, 120, 120, 120, 0]
    np.testing.assert_allclose(remaining(twin(now, None, past)), expected)


def test_rows_show_how_far_between_two_percents():
    rows = pd.array([0, 0, 10, 500, 1000], "Int64")
    total = pd.array([0, 1000, 1000, 1000, 1000], "Int64")
    past = job("1", [10, 40, 40, 55, 100], hour=0, imported_rows=rows, total_rows=total)
    now = job("2", [40, 100], hour=1, imported_rows=rows[[2, 4]], total_rows=total[[2, 4]])
    assert remaining(twin(now, None, past))[0] == 120


def test_the_median_of_several_twins():
    past = pd.concat([job(str(n), [0, 100], hour=0, minutes=[0, n]) for n in (1, 2, 9)])
    assert remaining(twin(job("x", [0, 100], hour=1), None, past))[0] == 120


def test_a_job_is_no_history_of_itself_nor_of_those_before_it_ended():
    jobs = pd.concat([job("1", [0, 50, 100], hour=0), job("2", [0, 50, 100], hour=0.001)])
    for method in HISTORY_BASELINES.values():
        assert np.isnan(remaining(method(jobs, None, jobs))[:2]).all()


def test_another_collection_or_server_is_no_history():
    past = pd.concat(
        [
            job("1", [0, 100], hour=0).assign(collection_name="other"),
            job("1", [0, 100], hour=0).assign(source_uri="other"),
        ]
    )
    for method in HISTORY_BASELINES.values():
        assert np.isnan(remaining(method(job("2", [0, 100], hour=1), None, past))).all()


def test_without_history_all_are_silent():
    for method in HISTORY_BASELINES.values():
        assert np.isnan(remaining(method(job("2", [0, 100], hour=1)))).all()


def test_survival_asks_those_that_took_longer_only():
    past = pd.concat([job(str(n), [0, 100], hour=0, minutes=[0, n]) for n in (2, 4, 10)])
    now = job("x", [0, 1, 2, 100], hour=1, minutes=[0, 3, 20, 21])
    # 2, 4, 10 left at first; 1 and 7 after 3 minutes; nobody took more than 20.
    expected = [240, 240, np.nan, np.nan]
    np.testing.assert_allclose(remaining(survival(now, None, past)), expected)


def test_the_median_duration_runs_out():
    past = pd.concat([job(str(n), [0, 100], hour=0, minutes=[0, n]) for n in (2, 4, 10)])
    now = job("x", [0, 1, 2, 100], hour=1, minutes=[0, 3, 20, 21])
    np.testing.assert_allclose(remaining(history_median(now, None, past)), [240, 60, 0, 0])


def test_a_moving_average_begins_with_the_first_snapshot_and_forgets_three_tenths_at_each():
    times, progress = np.array([100.0, 110, 120, 130]), np.array([10.0, 20, 40, 40])
    # Means of steps 10 and 20, each in 10 s; one in which nothing moved is not fed.
    second = 60 / ((0.3 * 20 + 0.7 * 3) / (0.3 * 10 + 0.7 * 3))
    found = _tqdm_remaining(times, progress)
    np.testing.assert_allclose(found, [np.nan, 80, second, second])
    # Steps closer than 0.1 s, or smaller than is usual in that time, wait for the next.
    close = _tqdm_remaining(np.array([0, 0.05, 0.1]), np.array([0.0, 1, 2]))
    np.testing.assert_allclose(close, [np.nan, 99 / 20, 98 / 20])
    assert len(_tqdm_remaining(np.zeros(0), np.zeros(0))) == 0
    standing = _tqdm_remaining(np.array([0.0, 10, 20]), np.array([5.0, 5, 5]))
    assert np.isnan(standing).all()


def test_the_least_step_is_that_of_the_last_ten_seconds_or_of_all_that_were_shorter():
    progress = np.array([0.0, 50, 70, 70.4])
    # From ten seconds on, 20 in 10 s are a step of 0.2, and 0.4 is more than that.
    found = _tqdm_remaining(np.array([0.0, 5, 15, 20]), progress)
    dn, dt = 0.3 * 0.4 + 0.7 * (6 + 10.5), 0.3 * 5 + 0.7 * (3 + 1.05)
    np.testing.assert_allclose(found, [np.nan, 5, 30 * 4.05 / 16.5, 29.6 * dt / dn])
    # Before, the mean with the 50 in 5 s is a step of 0.53, for which 0.4 has to wait.
    found = _tqdm_remaining(np.array([0.0, 5, 14.9, 19.9]), progress)
    np.testing.assert_allclose(found[2:], np.array([30, 29.6]) * 4.02 / 16.5)
