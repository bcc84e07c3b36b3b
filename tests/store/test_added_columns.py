"""Stores written before a column was added are read, appended to and compacted."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq

from importstats.sources.answers import parse_response
from importstats.sources.snapshot import Snapshot
from importstats.store import SnapshotStore
from importstats.store.frames import load_jobs
from importstats.store.schema import ADDED_COLUMNS

T0 = datetime(2026, 5, 18, tzinfo=UTC)


def snapshot(second, **sent):
    data = {"jobId": "7", "state": "Importing", "progress": 40, **sent}
    body = json.dumps({"code": 0, "data": data})
    time = T0 + timedelta(seconds=second)
    return Snapshot(time, "7", "http://x", parse_response(body), server_version="v2.6.5")


def without_the_added_columns(store):
    """Rewrite the store as a release that did not know them wrote it."""
    files = list(Path(store.uri, "jobs").rglob("*.parquet"))
    for path in files:
        table = pq.read_table(path, partitioning=None)
        pq.write_table(table.drop_columns(sorted(ADDED_COLUMNS)), path)
    assert files


def test_older_files_have_the_added_columns_empty_and_newer_ones_filled(tmp_path):
    store = SnapshotStore(tmp_path / "store")
    store.append(snapshot(0))
    without_the_added_columns(store)
    store.append(snapshot(5, createTime="2026-05-17T23:00:00Z"))
    for _ in range(2):
        jobs = load_jobs(store)
        assert jobs["create_time"].isna().tolist() == [True, False]
        assert jobs["create_time"].iloc[1] == T0 - timedelta(hours=1)
        assert jobs["server_version"].isna().tolist() == [True, False]
        assert store.jobs(columns=["server_version"]).num_rows == 2
        store.compact(final=True)
    assert len(list(Path(store.uri, "jobs").rglob("*.parquet"))) == 1
