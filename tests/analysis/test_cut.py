"""A cut in time: nothing of a frame is from later, and runs are cut as if collection had ended."""

from datetime import timedelta
from functools import lru_cache

import frames
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

import importstats
from importstats import diagnose, eta, rewind, stragglers
from importstats.simulator import simulate_job
from importstats.store import SnapshotStore
from importstats.store.frames import load_details, load_jobs


@lru_cache(maxsize=4)
def simulated(shape="stragglers", runs=True):
    return frames.simulated(shape, runs=runs, files=12, seed=5, poll_every_s=30)


def between(jobs, share):
    """A time between two snapshots."""
    first, last = jobs["observed_at"].min(), jobs["observed_at"].max()
    return first + share * (last - first)


shares = st.floats(0, 1.1)


@given(share=shares)
def test_no_row_and_no_end_of_a_run_is_later(share):
    jobs, details = simulated()
    at = between(jobs, share)
    for known in (rewind(details, at), rewind(details, at, jobs)):
        assert (known["observed_at"] <= at).all()
        assert (known["last_observed_at"] <= at).all()
        assert (known["last_observed_at"] >= known["observed_at"]).all()
        assert (known["last_snapshot_id"] >= known["snapshot_id"]).all()
        assert known.dtypes.equals(details.dtypes)
    assert (rewind(jobs, at)["observed_at"] <= at).all()


def test_runs_are_cut_as_a_store_cuts_them(tmp_path):
    simulation = simulate_job("stragglers", files=12, seed=5, poll_every_s=30)
    store = SnapshotStore(tmp_path / "store")
    store.append(simulation.snapshots())
    jobs, details = load_jobs(store), load_details(store, runs=True)
    for share in (0.3, 0.51, 0.77, 1.0):
        at = between(jobs, share)
        stored = load_details(store, until=at, runs=True)
        order = ["file_index", "snapshot_id"]
        assert_frame_equal(
            rewind(details, at, jobs).sort_values(order, ignore_index=True),
            stored.sort_values(order, ignore_index=True),
        )


def test_what_is_known_already_is_given_back_as_it_is():
    jobs, details = simulated()
    end = jobs["observed_at"].max()
    assert rewind(details, end) is details
    assert rewind(jobs, end + timedelta(days=1)) is jobs


def test_a_time_without_a_zone_is_refused():
    jobs, _ = simulated()
    with pytest.raises(ValueError, match="no time zone"):
        rewind(jobs, pd.Timestamp("2026-05-18"))


@pytest.mark.parametrize("share", [0.35, 0.6, 0.85])
@pytest.mark.parametrize(
    "analysis",
    [
        lambda jobs, details, at: stragglers(details, at=at),
        lambda jobs, details, at: eta(jobs, details, at=at),
        lambda jobs, details, at: diagnose(jobs, details, at=at),
    ],
    ids=["stragglers", "eta", "diagnose"],
)
def test_no_analysis_with_at_changes_when_later_rows_are_cut_away(analysis, share):
    jobs, details = simulated()
    # A healthy job has no findings, and nothing is easily the same as nothing.
    jobs = jobs.assign(reason="connection reset by peer")
    at = jobs["observed_at"].iloc[int(share * len(jobs))]
    whole = analysis(jobs, details, at)
    assert len(whole)
    assert_frame_equal(whole, analysis(rewind(jobs, at), rewind(details, at, jobs), at))


def test_a_run_that_was_cut_in_a_gap_ends_at_the_last_snapshot_before_it():
    times = pd.to_datetime(["2026-05-18T08:00Z", "2026-05-18T08:10Z", "2026-05-18T10:00Z"])
    key = {"source_uri": "u", "job_id": "7"}
    jobs = pd.DataFrame({**key, "observed_at": times, "snapshot_id": [1, 2, 3]})
    runs = pd.DataFrame(
        {
            **key,
            "observed_at": times[:1],
            "last_observed_at": times[2:],
            "snapshot_id": 1,
            "last_snapshot_id": 3,
        }
    )
    at = pd.Timestamp("2026-05-18T09:00Z")
    twice = rewind(rewind(runs, at), at, rewind(jobs, at))
    assert twice["last_observed_at"].tolist() == [times[1]]
    assert twice["last_snapshot_id"].tolist() == [2]


def test_until_is_another_name_of_it():
    assert importstats.until is rewind
