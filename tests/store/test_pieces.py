"""Pieces: all snapshots are in one of them, and each job is in one."""

import threading
from dataclasses import replace
from datetime import timedelta

import pandas as pd
import pyarrow as pa
import pytest

from importstats.simulator import simulate_job
from importstats.sources.snapshot import Snapshot
from importstats.store import SnapshotStore, pieces
from importstats.store.frames import load_details, load_jobs
from importstats.store.pieces import jobs_frames, over_details


@pytest.fixture
def store(tmp_path):
    store = SnapshotStore(tmp_path)
    for number in range(3):
        simulated = simulate_job("small_and_quick", seed=number, source_uri=f"http://{number}:1")
        store.append(replace(simulated, job_id=str(9 - number)).snapshots())
    return store


@pytest.mark.parametrize("at_once", [1, 10**6])
def test_pieces_of_whole_jobs_are_the_whole(at_once, store, monkeypatch):
    monkeypatch.setattr(pieces, "_SNAPSHOTS_AT_ONCE", at_once)
    for key in store.job_keys().to_pylist():
        # A time without snapshots is no snapshot.
        later = key["last_observed_at"] + timedelta(seconds=9)
        store.append(Snapshot(later, key["job_id"], key["source_uri"], None, error="no answer"))
    columns = ["job_id", "observed_at", "progress_pct", "reason"]
    for wanted in (None, columns):
        made = list(jobs_frames(store, columns=wanted))
        assert len(made) == (3 if at_once == 1 else 1)
        found = pd.concat([piece.astype(object) for piece in made])
        whole = load_jobs(store, columns=wanted).astype(object)
        found, whole = (
            each.sort_values("observed_at", ignore_index=True) for each in (found, whole)
        )
        pd.testing.assert_frame_equal(found, whole)
    (own,) = jobs_frames(store, source_uri="http://1:1")
    assert set(own["job_id"]) == {"8"}
    (nothing,) = jobs_frames(store, source_uri="http://7:1", columns=columns)
    assert (list(nothing), len(nothing)) == (columns, 0)


@pytest.mark.parametrize("cores", [1, 2])
@pytest.mark.parametrize(("at_once", "count"), [(1, 3), (10**6, 1)])
def test_an_analysis_sees_each_file_once_in_the_jobs_order(
    cores, at_once, count, store, monkeypatch
):
    monkeypatch.setattr(pieces, "_RUNS_AT_ONCE", at_once)
    monkeypatch.setattr(pa, "cpu_count", lambda: cores)
    threads = set()

    def analysis(details):
        threads.add(threading.current_thread())
        return details

    for wanted in (None, ["job_id", "file_name", "last_observed_at"]):
        made = list(over_details(store, analysis, columns=wanted))
        assert len(made) == count
        whole = load_details(store, runs=True, columns=wanted)
        found = pd.concat([piece.astype(object) for piece in made], ignore_index=True)
        pd.testing.assert_frame_equal(found, whole.astype(object))
    assert (threads == {threading.main_thread()}) == (cores == 1 or count == 1)
    (own,) = over_details(store, analysis, source_uri="http://1:1")
    assert set(own["job_id"]) == {"8"}
    assert list(over_details(store, analysis, source_uri="http://7:1")) == []


def test_an_analysis_that_fails_fails_for_its_caller(store, monkeypatch):
    monkeypatch.setattr(pieces, "_RUNS_AT_ONCE", 1)

    def analysis(details):
        if "8" in set(details["job_id"]):
            raise ValueError("not this one")
        return details["job_id"].iloc[0]

    found = over_details(store, analysis)
    assert next(found) == "9"
    with pytest.raises(ValueError, match="not this one"):
        next(found)
