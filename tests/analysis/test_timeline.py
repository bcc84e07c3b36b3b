"""Snapshots in order, and the files at each of them, in tables of a few rows."""

import numpy as np
import pandas as pd
import pytest

from importstats.analysis.forecast.timeline import (
    expand_details,
    is_state,
    job_slices,
    ordered_snapshots,
    running_since,
)


def snapshots(*rows, **columns):
    """Job, snapshot id and second of each."""
    job, ids, seconds = zip(*rows, strict=True)
    return pd.DataFrame(
        {
            "source_uri": "u",
            "job_id": list(job),
            "snapshot_id": list(ids),
            "observed_at": pd.to_datetime(list(seconds), unit="s", utc=True),
            **columns,
        }
    )


def test_snapshots_come_by_job_and_time_each_once():
    rows = [("8", 1, 10), ("7", 3, 30), ("7", 2, 20), ("7", 2, 20), ("7", 5, 30), ("7", 4, 30)]
    found = ordered_snapshots(snapshots(*rows))
    assert found["snapshot_id"].tolist() == [2, 3, 4, 5, 1]
    assert found["job"].tolist() == [0, 0, 0, 0, 1]
    assert found.index.tolist() == [0, 1, 2, 3, 4]


def test_a_gap_and_a_row_without_a_time_are_no_snapshots():
    frame = snapshots(("7", 1, 1), ("7", 2, 2), ("7", 3, None), error=[None, "refused", None])
    assert ordered_snapshots(frame)["snapshot_id"].tolist() == [1]
    assert ordered_snapshots(frame.drop(columns="error"))["snapshot_id"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("jobs", "slices"),
    [([], []), ([0], [(0, 1)]), ([0, 0, 1], [(0, 2), (2, 3)]), ([3, 5, 5], [(0, 1), (1, 3)])],
)
def test_each_job_has_a_slice(jobs, slices):
    rows = pd.DataFrame({"job": np.array(jobs, np.int64)})
    assert [(each.start, each.stop) for each in job_slices(rows)] == slices


def details(*rows, **columns):
    """Job, first and last snapshot, index, name, state and progress of each run."""
    names = ["job_id", "snapshot_id", "last_snapshot_id", "file_index", "file_name", "state"]
    frame = pd.DataFrame(rows, columns=[*names, "progress_pct"])
    return frame.assign(source_uri="u", file_size_bytes=pd.array([9] * len(frame)), **columns)


SEEN = ordered_snapshots(snapshots(("7", 1, 1), ("7", 2, 2), ("7", 4, 4), ("8", 2, 2)))
RUNS = details(
    ("7", 1, 2, 0, "a", "Pending", 0.0),
    ("7", 4, 4, 0, "a", "InProgress", 50.0),
    ("7", 2, 3, 1, "b", "Pending", 0.0),
    ("8", 1, 9, 0, "a", "Failed", None),
    ("9", 2, 2, 0, "a", "Pending", 0.0),
)


def test_a_run_is_a_row_at_each_snapshot_of_its_job_that_it_spans():
    found = expand_details(SEEN, RUNS)
    rows = list(zip(found["row"], found["job"], found["file"], found["state"], strict=True))
    assert rows == [
        (0, 0, 0, "Pending"),
        (1, 0, 0, "Pending"),
        (1, 0, 1, "Pending"),
        (2, 0, 0, "InProgress"),
        (3, 1, 0, "Failed"),
    ]
    assert found["progress_pct"].fillna(-1).tolist() == [0, 0, 0, 50, -1]
    assert found["file_size_bytes"].tolist() == [9.0] * 5
    single = RUNS.drop(columns="last_snapshot_id")
    assert expand_details(SEEN, single)["row"].tolist() == [0, 1, 2]
    assert expand_details(SEEN, RUNS.iloc[4:]).empty


def test_a_file_without_a_name_is_known_by_its_place():
    runs = RUNS.assign(file_name=["a", "a", None, None, "a"])
    # One name is number 0, so the file at place 1 is number 2, and that at place 0 number 1.
    assert expand_details(SEEN, runs)["file"].tolist() == [0, 0, 2, 0, 1]
    unnamed = expand_details(SEEN, RUNS.drop(columns="file_name"))
    assert unnamed["file"].tolist() == [0, 0, 1, 0, 0]


def test_states_are_distinguished_and_a_missing_one_is_none_of_them():
    files = pd.DataFrame({"state": pd.Categorical(["Pending", None, "Failed", "Pending"])})
    assert is_state(files, "Pending").tolist() == [True, False, False, True]
    assert is_state(files, "Failed", "Pending").tolist() == [True, False, True, True]
    assert is_state(files, "Completed").tolist() == [False] * 4


def test_a_file_runs_since_it_was_last_seen_not_to():
    rows = [
        # job, file, time, runs, since
        (0, 0, 10, False, 10),
        (0, 1, 10, True, 10),
        (0, 0, 20, True, 10),
        (0, 1, 20, True, 10),
        (0, 0, 30, True, 10),
        (1, 0, 30, True, 30),
        (0, 0, 40, False, 40),
        (1, 0, 40, True, 30),
        (0, 0, 50, True, 40),
    ]
    files = pd.DataFrame(rows, columns=["job", "file", "at", "runs", "since"])
    found = running_since(files, files["runs"].to_numpy(), files["at"].to_numpy(float))
    assert found.tolist() == files["since"].tolist()
