"""The answer of the ETA: its columns, for jobs that run, have ended, or have no estimate."""

import numpy as np
import pandas as pd
import pytest
from frames import jobs_of

from importstats.analysis.forecast.assembly import Outlook
from importstats.analysis.forecast.ends import _outlook_frame, _timedeltas, eta
from importstats.analysis.forecast.observed import observe

START = pd.Timestamp("2026-05-18T00:00:00Z")
ROWS = [
    ("Pending", 0, 0),
    ("Importing", 40, 0),
    ("Importing", 55, 50),
    ("Importing", 70, 100),
    ("Completed", 100, 100),
]


def jobs(rows=ROWS, **options):
    """A job whose polls are a minute apart."""
    counted = [(*row, 100 if row[1] >= 40 else 0) for row in rows]
    return jobs_of(counted, **{"detail_count": 1, "start": START, **options})


def test_seconds_are_whole_microseconds_or_missing():
    found = pd.Series(_timedeltas(np.array([1.0000004, 0.0, np.nan, 1.0000006])))
    assert found[:2].dt.total_seconds().tolist() == [1.0, 0.0]
    assert pd.isna(found[2])
    assert found[3] == pd.Timedelta(1_000_001, "us")


def test_each_snapshot_has_its_method_and_what_is_left():
    answer = eta(jobs())
    assert answer["method"].tolist() == ["none", "priors", "priors", "priors", "ended"]
    assert answer["reason"].fillna("").tolist() == ["pending: no history", "", "", "", ""]
    for name in ("p10", "p50", "p90"):
        left = answer[f"remaining_{name}_s"]
        assert left.isna().tolist() == [True, False, False, False, False]
        assert left.iloc[-1] == 0
        end = answer["observed_at"] + pd.to_timedelta(left.round(6), "s")
        assert (answer[f"eta_{name}"] - end)[1:].abs().max() <= pd.Timedelta("1us")
    assert (answer["remaining_p10_s"] < answer["remaining_p90_s"])[1:4].all()
    with_history = eta(jobs(), history=jobs(job_id="8", start=START - pd.Timedelta("1D")))
    assert with_history["method"].tolist() == [*["history"] * 4, "ended"]
    assert eta(jobs(), history=[]).equals(answer)


def test_the_end_of_a_job_is_what_its_server_says():
    done = START + pd.Timedelta("200s")
    frame = jobs().assign(
        complete_time=pd.Series([None] * 4 + [done]).astype("datetime64[us, UTC]")
    )
    last = eta(frame).iloc[-1]
    assert {last["eta_p10"], last["eta_p50"], last["eta_p90"]} == {done}


@pytest.mark.parametrize(
    ("state", "progress", "reason"),
    [
        ("Uncommitted", 90, "waits for the user's commit"),
        ("Failed", 55, "job failed"),
        ("Unheard", 55, "the answer does not show the phase"),
    ],
)
def test_a_state_that_ends_by_nobody_knows_what_has_a_reason(state, progress, reason):
    last = eta(jobs([*ROWS[:4], (state, progress, 50)])).iloc[-1]
    assert (last["method"], last["reason"]) == ("none", reason)
    assert pd.isna(last["eta_p50"])


@pytest.mark.parametrize(("second", "rows"), [(-1, 0), (0, 1), (119, 2), (120, 3), (999, 5)])
def test_as_of_a_time_there_is_the_last_snapshot_by_then(second, rows):
    at = START + pd.Timedelta(second, "s")
    both = pd.concat([jobs(), jobs(job_id="8")])
    found = eta(both, at=at)
    assert found["snapshot_id"].tolist() == [rows] * (2 if rows else 0)
    if rows:
        whole = eta(both)
        known = whole[whole["snapshot_id"].eq(rows)].reset_index(drop=True)
        pd.testing.assert_frame_equal(found, known)


def test_the_parts_are_there_if_they_are_asked_for():
    answer = eta(jobs(), explain=True)
    assert answer["earlier_jobs"].tolist() == [0] * 5
    assert answer["earlier_jobs"].dtype == np.int64
    assert answer["model_s"].isna().tolist() == [True, False, False, False, True]
    # Without earlier jobs there is no twin to count.
    assert answer["twin_weight"].fillna(0).tolist() == [0] * 5
    history = jobs(job_id="8", start=START - pd.Timedelta("1D"))
    known = eta(jobs(), history=history, explain=True)
    assert known["earlier_jobs"].tolist() == [1, 1, 1, 1, 0]
    assert (known["twin_weight"].iloc[:4] > 0).all()
    # Of an earlier job that went alike 180 s of 240 s were left at the second snapshot.
    assert known["twin_s"].iloc[1] == pytest.approx(180, rel=0.01)


def test_no_job_is_said_to_last_for_more_than_a_century():
    seen = observe(jobs(ROWS[:2]))
    reason = np.array([None], object)
    quantiles = np.array([[1.0, 2.0, 1e12]])
    found = Outlook(np.array([1]), quantiles, np.array([True]), reason, {})
    last = _outlook_frame(seen, found).iloc[-1]
    left = [last[f"remaining_{name}_s"] for name in ("p10", "p50", "p90")]
    assert left == [1.0, 2.0, 3_155_760_000.0]
    assert last["method"] == "history"
    assert last["eta_p90"].year == 2126
