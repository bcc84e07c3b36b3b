"""Pieces: all snapshots are in one of them, and each job is in one."""

from dataclasses import replace

import pandas as pd
import pytest

from importstats.simulator import simulate_job
from importstats.store import SnapshotStore, pieces
from importstats.store.frames import load_jobs
from importstats.store.pieces import jobs_frames


@pytest.mark.parametrize("at_once", [1, 10**6])
def test_pieces_of_whole_jobs_are_the_whole(at_once, tmp_path, monkeypatch):
    monkeypatch.setattr(pieces, "_SNAPSHOTS_AT_ONCE", at_once)
    store = SnapshotStore(tmp_path)
    for number in range(3):
        simulated = simulate_job("small_and_quick", seed=number, source_uri=f"http://{number}:1")
        store.append(replace(simulated, job_id=str(9 - number)).snapshots())
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
