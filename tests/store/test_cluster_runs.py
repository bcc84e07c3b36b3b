"""Runs of what a cluster lists: what is written look by look is what was seen."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from importstats.store.cluster_runs import OpenRuns, join_runs

BEGIN = datetime(2026, 5, 18, tzinfo=UTC)
STATES = ["Unissued"] * 3 + ["InProgress"] * 4 + ["Finished"]


def listed(state):
    return {"build_id": "7", "segment_id": "3", "state": state}


@pytest.mark.parametrize("write_every", [1, 2, 3, 8])
def test_a_run_that_was_written_while_it_went_on_keeps_when_it_was_last_seen(write_every):
    runs, parts = OpenRuns("builds", "http://milvus:19530"), []
    for look, state in enumerate(STATES):
        runs.add([listed(state)], BEGIN + timedelta(seconds=10 * look))
        if (look + 1) % write_every == 0:
            parts.append(runs.take(everything=False))
            runs.written()
    parts.append(runs.take(everything=True))
    stored = join_runs("builds", pa.concat_tables(parts))
    assert stored["state"].to_pylist() == ["Unissued", "InProgress", "Finished"]
    seen = zip(
        stored["observed_at"].to_pylist(), stored["last_observed_at"].to_pylist(), strict=True
    )
    assert [
        ((first - BEGIN).total_seconds(), (last - BEGIN).total_seconds()) for first, last in seen
    ] == [(0, 20), (30, 60), (70, 70)]


def test_what_changes_with_every_look_is_written_once():
    runs, rows = OpenRuns("gauges", "http://milvus:19530"), 0
    for look in range(5):
        sample = {"process": "p", "name": "n", "labels": {}, "value": float(look)}
        runs.add([sample], BEGIN + timedelta(seconds=10 * look))
        rows += runs.take(everything=False).num_rows
        runs.written()
    assert rows == 5


def test_what_is_still_listed_is_written_with_every_look_where_that_is_asked_for():
    runs = OpenRuns("builds", "http://milvus:19530")
    gone = {**listed("Finished"), "build_id": "8"}
    written = []
    for look in range(3):
        runs.add([listed("Unissued"), *[gone] * (look == 0)], BEGIN + timedelta(seconds=10 * look))
        written.append(runs.take(everything=False, still_listed=True)["build_id"].to_pylist())
        runs.written()
    assert [sorted(ids) for ids in written] == [["7", "8"], ["7"], ["7"]]
