"""The store on a real disk: what goes in comes out, whatever compaction does meanwhile."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stored_snapshots import (
    JOB,
    MEMORY,
    SERVER,
    START,
    assert_holds,
    by_key,
    parquet_files,
    snapshot,
)

from importstats.sources.answers import parse_response
from importstats.sources.messages import (
    GetImportProgressResponse,
    ImportProgressData,
    ImportProgressDetail,
)
from importstats.sources.snapshot import Snapshot
from importstats.store import (
    SnapshotStore,
)
from importstats.store.schema import (
    DETAILS_SCHEMA,
    JOBS_SCHEMA,
    details_table,
    jobs_table,
)


def expand(runs: pa.Table, snapshots: Sequence[Snapshot]) -> pd.DataFrame:
    """Runs of one job as full rows, row by row: the definition, against the store's fast way."""
    rows = [
        {**row, "snapshot_id": s.snapshot_id, "observed_at": s.observed_at}
        for s in by_key(snapshots)
        for row in runs.to_pylist()
        if row["snapshot_id"] <= s.snapshot_id <= row["last_snapshot_id"]
    ]
    frame = pa.Table.from_pylist(rows, schema=DETAILS_SCHEMA).to_pandas()
    frame = frame.drop(columns=["last_snapshot_id", "last_observed_at"])
    return frame.sort_values(["snapshot_id", "file_index"], ignore_index=True)


# --- Arguments ------------------------------------------------------------------------------------


def test_bad_arguments(store: SnapshotStore) -> None:
    store.append(snapshot(0, [1]))
    with pytest.raises(ValueError, match="no column 'rows'"):
        store.details(columns=["rows"])
    with pytest.raises(ValueError, match="time zone"):
        store.jobs(since=datetime(2026, 1, 1))
    with pytest.raises(ValueError, match="a filter may use"):
        store.details(filter=pc.field("snapshot_id") > 1)
    with pytest.raises(ValueError, match="at least 2"):
        store.compact(min_segments=1)
    with pytest.raises(ValueError, match="no table"):
        store.files("job")  # type: ignore[arg-type]


@pytest.mark.parametrize(("segments", "left"), [(15, 15), (16, 1)])
def test_sixteen_segments_are_merged(segments: int, left: int, store: SnapshotStore) -> None:
    for second in range(segments):
        store.append(snapshot(second))
    result = store.compact()
    assert (result.segments_before, result.segments_after) == (segments, left)


# --- What goes in comes out -----------------------------------------------------------------------


def test_round_trip(store: SnapshotStore) -> None:
    snapshots = [snapshot(0), snapshot(5, [0, 0]), snapshot(10, [7, 0, 1])]
    store.append(snapshots[0])
    store.append(snapshots[1:])
    assert_holds(store, snapshots)


def test_gaps_are_kept_and_end_runs(store: SnapshotStore) -> None:
    gap = Snapshot(START + timedelta(seconds=5), JOB, SERVER, None, error="refused")
    snapshots = [snapshot(0, [1]), gap, snapshot(10, [1]), snapshot(15), snapshot(20, [1])]
    store.append(snapshots)
    store.compact(final=True)
    assert_holds(store, snapshots)
    assert store.details(runs=True).num_rows == 3


def test_many_jobs_in_one_append(store: SnapshotStore) -> None:
    snapshots = [
        snapshot(second, [second, 1], job=job, server=server)
        for second in range(3)
        for job in ("7", "8")
        for server in (SERVER, "http://localhost:19530")
    ]
    store.append(snapshots)
    assert_holds(store, snapshots)
    keys = store.job_keys()
    assert keys.num_rows == 4
    assert keys["job_id"].to_pylist() == ["7", "8", "7", "8"]
    assert keys["first_observed_at"][0].as_py() == START
    assert keys["last_observed_at"][0].as_py() == START + timedelta(seconds=2)


def test_append_again_changes_nothing(store: SnapshotStore) -> None:
    snapshots = [snapshot(second, [1, 2]) for second in range(3)]
    store.append(snapshots)
    store.append(snapshots[1])
    store.append(snapshots)
    assert_holds(store, snapshots)
    store.compact(final=True)
    assert_holds(store, snapshots)


def test_append_tables_takes_rows_and_runs(store: SnapshotStore) -> None:
    snapshots = [snapshot(s, [1, s // 2], job=job) for s in range(6) for job in ("7", "8")]
    jobs, details = jobs_table(snapshots), details_table(snapshots)
    store.append_tables(jobs, details)
    assert_holds(store, snapshots)
    runs = store.details(runs=True)
    assert runs.num_rows == 2 * (1 + 3)
    other = SnapshotStore(Path(store.uri).with_name("other"))
    other.append_tables(store.jobs(), runs)
    assert_holds(other, snapshots)


def test_append_tables_refuses_what_does_not_fit(store: SnapshotStore) -> None:
    snapshots = [snapshot(0, [1]), snapshot(5, [1])]
    jobs, details = jobs_table(snapshots), details_table(snapshots)
    with pytest.raises(ValueError, match="snapshots that the jobs rows do not have"):
        store.append_tables(jobs.slice(1), details)
    with pytest.raises(ValueError, match="belong to a job"):
        store.append_tables(jobs.slice(0, 0), details)
    with pytest.raises(ValueError, match="same snapshot_id"):
        store.append_tables(pa.concat_tables([jobs, jobs]), details)
    with pytest.raises(ValueError, match="'snapshot_id'"):
        store.append_tables(jobs.drop_columns(["snapshot_id"]), details)
    assert not store.exists()


def test_values_are_kept_bit_by_bit(store: SnapshotStore) -> None:
    answer = parse_response(
        {
            "status": 0,
            "zone": 1,
            "data": {
                "state": "New\nState",
                "progress": 33.3,
                "importedRows": 2**63 - 1,
                "details": [{"fileName": "\u0000", "shard": {"a": [1]}}, {"progress": -5}, 7],
            },
        }
    )
    snapshots = [Snapshot(START + timedelta(microseconds=i), JOB, SERVER, answer) for i in range(3)]
    store.append(snapshots)
    assert_holds(store, snapshots)
    jobs, details = jobs_table(snapshots), details_table(snapshots)
    odd = pa.array([float("nan"), -0.0, 0.0] * 3)
    details = details.set_column(
        details.schema.get_field_index("progress_pct"), "progress_pct", odd
    )
    other = SnapshotStore(Path(store.uri).with_name("other"))
    other.append_tables(jobs, details)
    got = other.details()["progress_pct"].to_numpy()
    assert got.tobytes() == np.tile([np.nan, -0.0, 0.0], 3).tobytes()
    assert other.details(runs=True).num_rows == 3


def test_out_of_order_appends_and_two_writers(store: SnapshotStore) -> None:
    even = [snapshot(s, [1, s // 4]) for s in range(0, 12, 2)]
    odd = [snapshot(s, [1, s // 4]) for s in range(1, 12, 2)]
    store.append(odd)
    store.append(even)
    assert_holds(store, even + odd)
    assert store.details(runs=True).num_rows == 1 + 3
    store.compact(final=True)
    assert_holds(store, even + odd)
    assert len(store.files("details")) == 1
    assert pq.read_metadata(store.files("details")[0]).num_rows == 1 + 3


# --- Any history, any segments, any compactions -----------------------------------------------

DETAILS = st.lists(
    st.builds(
        ImportProgressDetail,
        file_name=st.sampled_from([None, "[a]", "[b]"]),
        progress=st.sampled_from([None, 0.0, 50.0]),
        imported_rows=st.sampled_from([None, 0, 1]),
        complete_time=st.sampled_from([None, "", "2024-05-18T02:57:13Z"]),
    ),
    max_size=4,
)


@st.composite
def histories(draw: st.DrawFn) -> list[Snapshot]:
    answers = draw(st.lists(st.none() | DETAILS, min_size=1, max_size=12))
    return [
        Snapshot(
            START + timedelta(seconds=5 * i),
            draw(st.sampled_from(["7", "Eight"])),
            SERVER,
            None
            if details is None
            else GetImportProgressResponse(data=ImportProgressData(details=details)),
            snapshot_id=i,
        )
        for i, details in enumerate(answers)
    ]


@settings(max_examples=50, deadline=None)
@given(history=histories(), data=st.data())
def test_any_segments_and_compactions_read_back_exactly(
    history: list[Snapshot], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        store = SnapshotStore(folder)
        pending = data.draw(st.permutations(history))
        while pending:
            count = data.draw(st.integers(1, len(pending)))
            store.append(pending[:count])
            pending = pending[count:]
            action = data.draw(st.sampled_from(["none", "compact", "final", "repeat"]))
            if action == "compact":
                store.compact(min_segments=2)
            elif action == "final":
                store.compact(final=True)
            elif action == "repeat":
                store.append(data.draw(st.sampled_from(history)))
        stored = store.jobs()["snapshot_id"].to_pylist()
        assert sorted(stored) == [s.snapshot_id for s in history]
        assert_holds(store, history)
        since = START + timedelta(seconds=data.draw(st.integers(-1, 60)))
        until = since + timedelta(seconds=data.draw(st.integers(0, 60)))
        within = [s for s in history if since <= s.observed_at <= until]
        period = {"since": since, "until": until}
        got = store.details(**period).cast(DETAILS_SCHEMA)
        assert got.equals(details_table(by_key(within)))
        assert store.jobs(**period).cast(JOBS_SCHEMA).equals(jobs_table(by_key(within)))
        for job in ("7", "Eight"):
            of_job = [s for s in within if s.job_id == job]
            runs = store.details(job_id=job, runs=True, **period)
            full = details_table(of_job).to_pandas()
            full = full.drop(columns=["last_snapshot_id", "last_observed_at"])
            pd.testing.assert_frame_equal(expand(runs, of_job), full)
            store.compact(job, final=True)
            again = store.details(job_id=job, runs=True, **period)
            assert again.cast(DETAILS_SCHEMA).equals(runs.cast(DETAILS_SCHEMA))
            for jobs, details in store.iter_jobs(job_id=job, **period):
                assert jobs.cast(JOBS_SCHEMA).equals(jobs_table(by_key(of_job)))
                assert details.cast(DETAILS_SCHEMA).equals(runs.cast(DETAILS_SCHEMA))


def test_jobs_come_with_their_files(store: SnapshotStore) -> None:
    snapshots = [snapshot(s, list(range(s % 3)), job=job) for s in range(9) for job in ("7", "8")]
    store.append(snapshots)
    pieces = list(store.iter_jobs(columns=["job_id"], details_columns=["job_id", "file_index"]))
    assert [jobs.num_rows for jobs, _ in pieces] == [9, 9]
    for jobs, details in pieces:
        job_id = jobs["job_id"][0].as_py()
        runs = store.details(job_id=job_id, runs=True, columns=["job_id", "file_index"])
        assert details.equals(runs.cast(details.schema))
    assert list(store.iter_jobs(until=START - timedelta(days=1))) == []


def test_pieces_are_the_whole(store: SnapshotStore) -> None:
    snapshots = [snapshot(s, list(range(s % 4)), job=job) for s in range(10) for job in ("7", "8")]
    store.append(snapshots)
    whole = store.details().cast(DETAILS_SCHEMA)
    for max_rows in (1, 4, 7, None):
        pieces = list(store.iter_details(max_rows=max_rows))
        assert pa.concat_tables(pieces).cast(DETAILS_SCHEMA).equals(whole)
        for piece in pieces:
            assert len(piece["job_id"].unique()) == 1
            is_one_snapshot = len(piece["snapshot_id"].unique()) == 1
            assert max_rows is None or piece.num_rows <= max_rows or is_one_snapshot
    # The last digits of an id are random, so those of two jobs may be the same.
    keys = ["job_id", "snapshot_id"]
    ids = [
        set(zip(*(piece[name].to_pylist() for name in keys), strict=True))
        for piece in store.iter_details(max_rows=4)
    ]
    assert sum(map(len, ids)) == len(set().union(*ids)), "a snapshot is in two pieces"


# --- Reading parts --------------------------------------------------------------------------------


def test_filters_and_columns(store: SnapshotStore) -> None:
    snapshots = [snapshot(s, [s, 1], job=j) for s in range(8) for j in ("7", "8")]
    store.append(snapshots[:9])
    store.append(snapshots[9:])
    table = store.details(
        job_id="7",
        source_uri=SERVER,
        since=START + timedelta(seconds=2),
        until=START + timedelta(seconds=3),
        columns=["imported_rows", "last_observed_at", "file_name"],
        filter=pc.field("file_name") == "[in/0.parquet]",
    )
    assert table.column_names == ["imported_rows", "last_observed_at", "file_name"]
    assert table["imported_rows"].to_pylist() == [2, 3]
    assert table["last_observed_at"].to_pylist() == [START + timedelta(seconds=s) for s in (2, 3)]
    assert store.details(source_uri="http://other").num_rows == 0
    assert store.jobs(job_id="nine").num_rows == 0
    assert store.jobs(job_id="8", columns=["state"]).column_names == ["state"]
    runs = store.details(job_id="7", columns=["file_index", "last_observed_at"], runs=True)
    assert runs.num_rows == 2, "runs are those of the columns asked for"
    assert set(runs["last_observed_at"].to_pylist()) == {START + timedelta(seconds=7)}


def test_a_job_is_read_from_its_own_files_only(store: SnapshotStore) -> None:
    store.append([snapshot(s, [s], job=j) for s in range(2) for j in ("7", "8")])
    store.append(snapshot(60, [9], job="7"))
    for path in parquet_files(store):
        if "job=8" in str(path) or "T000100" in path.name:
            path.write_bytes(b"must not be opened")
    got = store.details(job_id="7", until=START + timedelta(seconds=59))
    assert got["imported_rows"].to_pylist() == [0, 1]


# --- Compaction -----------------------------------------------------------------------------------


def test_compaction_joins_unchanged_rows(store: SnapshotStore) -> None:
    snapshots = [snapshot(s, [100] * 50 + [s]) for s in range(20)]
    for each in snapshots:
        store.append(each)
    assert store.details(runs=True).num_rows == 50 + 20
    result = store.compact(JOB)
    assert (result.segments_before, result.segments_after) == (20, 1)
    assert result.bytes_after < result.bytes_before / 10
    (path,) = store.files("details")
    assert pq.read_metadata(path).num_rows == 50 + 20
    assert parquet_files(store) == sorted(
        Path(p) for t in ("jobs", "details") for p in store.files(t)
    )
    assert_holds(store, snapshots)


def test_compaction_by_levels(store: SnapshotStore) -> None:
    snapshots = [snapshot(s, [s]) for s in range(17)]
    for each in snapshots:
        store.append(each)
        store.compact((SERVER, JOB), min_segments=4)
    levels = sorted(Path(path).name.split("-")[2] for path in store.files("jobs"))
    assert levels == ["L0", "L2"]
    assert store.compact(min_segments=4).segments_after == 2
    assert_holds(store, snapshots)


def test_compaction_bounds_a_segment(store: SnapshotStore, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    snapshots = [snapshot(s, rng.integers(10**15, size=1000).tolist()) for s in range(8)]
    for each in snapshots:
        store.append(each)
    size = sum(path.stat().st_size for path in parquet_files(store)) / len(snapshots)
    monkeypatch.setattr("importstats.store.compaction._MAX_MERGE_BYTES", 3 * size)
    result = store.compact(final=True)
    assert 1 < result.segments_after < 8
    assert_holds(store, snapshots)


def test_segments_left_by_a_killed_compactor_count_once_and_go(store: SnapshotStore) -> None:
    snapshots = [snapshot(s, [1, s]) for s in range(4)]
    for each in snapshots:
        store.append(each)
    root = Path(store.uri)
    inputs = {path: path.read_bytes() for path in parquet_files(store)}
    store.compact(final=True)
    for path, content in inputs.items():
        path.write_bytes(content)
    assert_holds(store, snapshots)
    assert len(store.files("jobs")) == len(store.files("details")) == 1
    store.compact()
    assert len(list(root.rglob("*.parquet"))) == 2
    assert_holds(store, snapshots)


def test_partly_shared_snapshots_count_once(store: SnapshotStore) -> None:
    snapshots = [snapshot(s, [1, s // 3]) for s in range(9)]
    store.append(snapshots[:6])
    store.append(snapshots[3:])
    store.append([snapshots[i] for i in (0, 4, 8)])
    assert_holds(store, snapshots)
    store.compact(min_segments=2)
    assert_holds(store, snapshots)


def test_leftovers_of_dead_writers_go_after_hours(store: SnapshotStore) -> None:
    snapshots = [snapshot(s, [1]) for s in range(2)]
    for each in snapshots:
        store.append(each)
    orphan = Path(store.files("details")[0])
    orphan = orphan.with_name(orphan.name[:-17] + "000000000000.parquet")
    orphan.write_bytes(b"details of a writer that died before the commit")
    temporary = Path(store.uri, "_tmp", "half")
    temporary.write_bytes(b"half a file")
    store.compact(final=True)
    assert orphan.exists()
    assert temporary.exists()
    for path in (orphan, temporary):
        os.utime(path, (time.time() - 86400,) * 2)
    store.compact(final=True)
    assert not orphan.exists()
    assert not temporary.exists()
    assert_holds(store, snapshots)
