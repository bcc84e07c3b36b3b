"""The store on a real disk: what goes in comes out, whatever compaction does meanwhile."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from importstats.errors import StoreError
from importstats.sources.answers import parse_response
from importstats.sources.messages import (
    GetImportProgressResponse,
    ImportProgressData,
    ImportProgressDetail,
)
from importstats.sources.snapshot import Snapshot
from importstats.store import (
    DETAILS_RESULT_SCHEMA,
    JOBS_RESULT_SCHEMA,
    CorruptSegmentWarning,
    SnapshotStore,
    TableName,
    parquet,
    reading,
    slug,
)
from importstats.store.files import Files
from importstats.store.schema import (
    DETAILS_SCHEMA,
    JOBS_SCHEMA,
    RUN_COLUMNS,
    details_table,
    jobs_table,
)

START = datetime(2026, 5, 18, tzinfo=UTC)
SERVER = "https://milvus.example:19530"
JOB = "449839014328146740"
HOSTILE_IDS = [
    "../../../etc/passwd",
    "/etc/passwd",
    "..",
    ".",
    "",
    "a/b\\c",
    "x" * 5000,
    "Ünï\u202ecode \U0001f4a9",
    "__HIVE_DEFAULT_PARTITION__",
    "a=b/job=c",
    "%2e%2e%2f",
    "nul\x00byte\nnewline",
    "Job",
    "job",
    "JOB",
    "007",
    "7",
    "99999999999999999999999",
    "1e5",
    "nan",
    "2024-01-01",
    "*.parquet",
    "x.parquet",
    "~0123456789abcdef0123",
]


def snapshot(
    second: float, files: Sequence[int] = (), *, job: str = JOB, server: str = SERVER
) -> Snapshot:
    """A poll at which file i had ``files[i]`` rows."""
    details = [
        ImportProgressDetail(file_name=f"[in/{i}.parquet]", state="InProgress", imported_rows=rows)
        for i, rows in enumerate(files)
    ]
    data = ImportProgressData(state="Importing", imported_rows=sum(files), details=details)
    when = START + timedelta(seconds=second)
    return Snapshot(when, job, server, GetImportProgressResponse(data=data))


def by_key(snapshots: Sequence[Snapshot]) -> list[Snapshot]:
    return sorted(snapshots, key=lambda s: (s.source_uri, s.job_id, s.snapshot_id))


def assert_holds(store: SnapshotStore, snapshots: Sequence[Snapshot]) -> None:
    """The store has exactly these snapshots."""
    jobs, details = store.jobs(), store.details()
    assert jobs.schema.equals(JOBS_RESULT_SCHEMA)
    assert details.schema.equals(DETAILS_RESULT_SCHEMA)
    assert jobs.cast(JOBS_SCHEMA).equals(jobs_table(by_key(snapshots)))
    assert details.cast(DETAILS_SCHEMA).equals(details_table(by_key(snapshots)))


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


@pytest.fixture
def store(tmp_path: Path) -> SnapshotStore:
    return SnapshotStore(tmp_path / "store")


def parquet_files(store: SnapshotStore) -> list[Path]:
    return sorted(Path(store.uri).rglob("*.parquet"))


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


# Many small stores: in memory where that can be had, since none of this is about the disk.
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


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
    ids = [set(piece["snapshot_id"].to_pylist()) for piece in store.iter_details(max_rows=4)]
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


# --- Hostile names --------------------------------------------------------------------------------


@given(st.text(max_size=300))
def test_slugs_are_safe(identifier: str) -> None:
    assert len(slug(identifier)) <= 80
    assert slug(identifier) == slug(identifier).lower()
    assert set(slug(identifier)) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_.~")
    assert slug(identifier) not in {"", ".", ".."}


@given(st.sets(st.text("aA1.-_~/é", max_size=6), min_size=2, max_size=20))
def test_slugs_are_one_to_one(identifiers: set[str]) -> None:
    slugs = {slug(identifier) for identifier in identifiers}
    assert len(slugs) == len(identifiers)
    assert {slug(each) for each in slugs}.isdisjoint(slugs - {s for s in slugs if "~" not in s})


def test_plain_ids_stay_readable() -> None:
    for plain in (JOB, "0", "job-01fa0e5d42cjxs", "my_job"):
        assert slug(plain) == plain


def test_hostile_ids_stay_inside_and_apart(tmp_path: Path) -> None:
    store = SnapshotStore(tmp_path / "inner" / "store")
    snapshots = [
        snapshot(i, [i], job=identifier, server=identifier)
        for i, identifier in enumerate(HOSTILE_IDS)
    ]
    store.append(snapshots)
    assert_holds(store, snapshots)
    assert [path.name for path in tmp_path.iterdir()] == ["inner"]
    assert [path.name for path in (tmp_path / "inner").iterdir()] == ["store"]
    for each in snapshots:
        rows = store.jobs(job_id=each.job_id, source_uri=each.source_uri)
        assert rows["snapshot_id"].to_pylist() == [each.snapshot_id]


# --- Other tools ----------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["300 plain ids", "hostile ids"])
def foreign(request: pytest.FixtureRequest) -> Iterator[tuple[Path, int]]:
    """A store with one compacted and one fresh segment a job, and its number of jobs."""
    ids = HOSTILE_IDS if request.param == "hostile ids" else [str(10**17 + i) for i in range(300)]
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        store = SnapshotStore(folder)
        for seconds in ((0, 1), (2,)):
            store.append([snapshot(s, [s, 1], job=job) for s in seconds for job in ids])
        store.compact(ids[0], final=True)
        yield Path(folder), len(ids)


def test_pandas_reads_it(foreign: tuple[Path, int]) -> None:
    root, jobs = foreign
    assert pd.read_parquet(root / "jobs")["job_id"].nunique() == jobs
    assert len(pd.read_parquet(root / "jobs")) == 3 * jobs
    assert pd.read_parquet(root / "details").groupby("job_id").file_index.max().eq(1).all()


def test_pyarrow_dataset_reads_it(foreign: tuple[Path, int]) -> None:
    root, jobs = foreign
    table = ds.dataset(root / "details", partitioning="hive").to_table()
    assert pc.count_distinct(table["job"]).as_py() == jobs
    assert pc.count_distinct(table["job_id"]).as_py() == jobs
    assert table.select(DETAILS_SCHEMA.names).schema.equals(DETAILS_SCHEMA)


def test_duckdb_reads_it(foreign: tuple[Path, int]) -> None:
    root, jobs = foreign
    for options in ("", ", hive_partitioning=true"):
        source = f"read_parquet('{root}/jobs/**/*.parquet'{options})"
        query = f"select count(distinct job_id), count(*) from {source}"
        assert duckdb.sql(query).fetchall() == [(jobs, 3 * jobs)]
    query = f"select count(distinct job) from read_parquet('{root}/details/**/*.parquet')"
    assert duckdb.sql(query).fetchall() == [(jobs,)]


def test_polars_reads_it(foreign: tuple[Path, int]) -> None:
    root, jobs = foreign
    for source in (root / "jobs", root / "jobs" / "**" / "*.parquet"):
        frame = pl.scan_parquet(source).collect()
        assert frame["job_id"].n_unique() == jobs
        assert frame.height == 3 * jobs
    partitioned = pl.scan_parquet(root / "details", hive_partitioning=True).collect()
    assert partitioned["job"].n_unique() == jobs


# --- Damage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"PAR1 garbage PAR1"),
        lambda path: path.write_bytes(path.read_bytes()[:-20]),
        lambda path: path.write_bytes(
            path.read_bytes()[:40] + bytes(400) + path.read_bytes()[440:]
        ),
        lambda path: pq.write_table(pa.table({"snapshot_id": [1], "x": [2]}), path),
    ],
    ids=["empty", "garbage", "truncated", "overwritten", "other schema"],
)
@pytest.mark.parametrize("table", ["jobs", "details"])
def test_a_corrupt_file_is_named_and_set_aside(
    store: SnapshotStore, table: TableName, damage: Callable[[Path], object]
) -> None:
    bad, good = [snapshot(s, [s, 1]) for s in range(3)], snapshot(60, [5])
    store.append(bad)
    store.append(good)
    path = Path(store.files(table)[0])
    damage(path)
    for _ in range(2):
        with pytest.warns(CorruptSegmentWarning, match=rf"{path.name}: .*importstats compact"):
            details = store.details()
        assert details.cast(DETAILS_SCHEMA).equals(details_table([good]))
        assert path.exists(), "a reader moves nothing"
    with pytest.warns(CorruptSegmentWarning, match=rf"{path.name}: .*_corrupt"):
        store.compact(final=True)
    aside = Path(store.uri, "_corrupt", path.relative_to(store.uri))
    assert aside.exists()
    assert not path.exists()
    if table == "jobs":
        assert_holds(store, [good])
    else:
        assert store.jobs().num_rows == 4
        with pytest.warns(CorruptSegmentWarning, match="missing"):
            store.compact(final=True)
        assert len(store.files("jobs")) == 2, "a segment whose details are lost stays as it is"


@pytest.mark.parametrize("table", ["jobs", "details"])
def test_a_compaction_finds_a_damaged_file_that_it_does_not_merge(
    store: SnapshotStore, table: TableName
) -> None:
    store.append([snapshot(s, [s, 1]) for s in range(3)])
    path = Path(store.files(table)[0])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.warns(CorruptSegmentWarning, match=path.name):
        store.compact(final=True)
    assert Path(store.uri, "_corrupt", path.relative_to(store.uri)).exists()


@pytest.mark.parametrize(
    "trouble",
    [
        pa.ArrowMemoryError("malloc of size 64 failed"),
        MemoryError(),
        OSError("std::bad_alloc"),
        pa.ArrowNotImplementedError("Support for codec 'lz9' not built"),
    ],
    ids=lambda trouble: type(trouble).__name__,
)
@pytest.mark.parametrize("table", ["jobs", "details"])
def test_trouble_of_the_reader_is_an_error_and_no_corruption(
    store: SnapshotStore, monkeypatch: pytest.MonkeyPatch, table: str, trouble: Exception
) -> None:
    """Also of a compaction, which may move files."""
    snapshots = [snapshot(s, [s]) for s in range(3)]
    for each in snapshots:
        store.append(each)

    def decode(source: object, filesystem: object, which: str, *rest: Any) -> pa.Table:
        if which == table:
            raise trouble
        return parquet.decode(source, filesystem, which, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(reading, "decode", decode)
    for work in (store.details, lambda: store.compact(final=True)):
        with pytest.raises(StoreError, match=r"not enough memory to read|cannot read .*lz9"):
            work()
    monkeypatch.undo()
    assert_holds(store, snapshots)


SHORT_OF_MEMORY = """
import resource, sys
from importstats.errors import StoreError
from importstats.store import SnapshotStore
store = SnapshotStore(sys.argv[1])
store.details(columns=["file_index"], job_id="0")
with open("/proc/self/statm") as statm:
    used = int(statm.read().split()[0]) * resource.getpagesize()
for spare in range(0, 40_000_000, 2_000_000):
    resource.setrlimit(resource.RLIMIT_AS, (used + spare, resource.RLIM_INFINITY))
    try:
        store.details()
    except (StoreError, MemoryError) as error:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
        print(error)
"""


def test_a_process_without_memory_harms_nothing(store: SnapshotStore) -> None:
    snapshots = [snapshot(s, range(s, s + 20_000)) for s in range(5)]
    store.append(snapshots)
    before = {path: path.read_bytes() for path in parquet_files(store)}
    command = [sys.executable, "-W", "error", "-c", SHORT_OF_MEMORY, store.uri]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    # A library may end the process when it gets no memory; no file may pay for that.
    assert "Corrupt" not in done.stderr
    assert "memory" in done.stdout + done.stderr or done.returncode < 0
    assert {path: path.read_bytes() for path in parquet_files(store)} == before


def test_a_writer_that_slept_between_its_two_files(
    store: SnapshotStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compaction took it for dead and deleted the details; when it returns they are there."""
    put = Files.put
    slept = []

    def sleepy(self: Files, path: str, content: Any) -> None:
        put(self, path, content)
        if path.startswith("details/") and not slept:
            slept.append(path)
            old = time.time() - 7 * 3600
            os.utime(Path(store.uri, path), (old, old))
            store.compact(final=True)
            assert not Path(store.uri, path).exists()

    snapshots = [snapshot(0, [1]), snapshot(1, [2])]
    store.append(snapshots[0])
    monkeypatch.setattr(Files, "put", sleepy)
    store.append(snapshots[1])
    assert slept
    assert_holds(store, snapshots)


def test_table_folders_on_other_file_systems(store: SnapshotStore) -> None:
    """Links to where nothing can be renamed to: everything works, with no file left over."""
    memory = Path("/dev/shm")
    if (
        not os.access(memory, os.W_OK)
        or memory.stat().st_dev == Path(store.uri).parent.stat().st_dev
    ):
        pytest.skip("there is no second file system")
    with tempfile.TemporaryDirectory(dir=memory) as other:
        Path(store.uri).mkdir()
        for name in ("jobs", "details"):
            Path(other, name).mkdir()
            Path(store.uri, name).symlink_to(Path(other, name))
        snapshots = [snapshot(s, [s]) for s in range(3)]
        for each in snapshots:
            store.append(each)
        assert_holds(store, snapshots)
        store.compact(final=True)
        assert_holds(store, snapshots)
        path = Path(store.files("details")[0])
        assert len([each for each in Path(other).rglob("*") if each.is_file()]) == 2
        path.write_bytes(b"garbage")
        with pytest.warns(CorruptSegmentWarning):
            store.compact(final=True)
        aside = Path(store.uri, "_corrupt", path.relative_to(store.uri))
        assert aside.read_bytes() == b"garbage"


def test_what_was_there_survives_a_failed_put(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = Files(tmp_path, None)
    files.put("a", b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="no space left"):
        files.put("a", b"new")
    assert files.read("a").to_pybytes() == b"old"
    with pytest.raises(StoreError, match="no space left"):
        files.put("b", b"new")
    assert not files.exists("b")


def test_details_that_contradict_their_jobs_are_set_aside(store: SnapshotStore) -> None:
    store.append([snapshot(s, [s]) for s in range(3)])
    path = Path(store.files("jobs")[0])
    pq.write_table(pq.read_table(path, partitioning=None).slice(1), path)
    for work in (store.details, lambda: store.compact(final=True)):
        with pytest.warns(CorruptSegmentWarning, match="do not have"):
            work()
    with pytest.warns(CorruptSegmentWarning, match="missing"):
        assert store.details().num_rows == 0
    assert store.jobs().num_rows == 2


def test_foreign_files_are_left_alone(store: SnapshotStore) -> None:
    store.append(snapshot(0, [1]))
    folder = Path(store.files("jobs")[0]).parent
    for name in (".DS_Store", "notes.txt", "part-0.parquet"):
        (folder / name).write_text("mine")
    assert store.jobs().num_rows == 1
    store.compact(final=True)
    assert len(list(folder.iterdir())) == 4


# --- Errors ---------------------------------------------------------------------------------------


def test_no_store_is_an_error_that_says_so(tmp_path: Path) -> None:
    store = SnapshotStore(tmp_path / "typo")
    assert not store.exists()
    with pytest.raises(StoreError, match=r"no store at .*typo.*check the path"):
        store.jobs()
    assert not (tmp_path / "typo").exists()


def test_a_newer_format_is_refused(store: SnapshotStore) -> None:
    store.append(snapshot(0))
    Path(store.uri, "_importstats.json").write_text('{"importstats_store": "2.0"}')
    newer = SnapshotStore(store.uri)
    with pytest.raises(StoreError, match="upgrade importstats"):
        newer.jobs()
    with pytest.raises(StoreError, match="upgrade importstats"):
        newer.append(snapshot(1))
    Path(store.uri, "_importstats.json").write_text('{"importstats_store": "1.7"}')
    assert SnapshotStore(store.uri).jobs().num_rows == 1
    Path(store.uri, "_importstats.json").write_text("{")
    with pytest.raises(StoreError, match="damaged"):
        SnapshotStore(store.uri).jobs()


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StoreError, match=r"file/store.*not a folder"):
        SnapshotStore(tmp_path / "file" / "store").append(snapshot(0))


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can enter, which pytest's are not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_no_permission(open_folder: Path) -> None:
    """As an ordinary user: root may do anything."""
    store = SnapshotStore(open_folder / "store")
    store.append(snapshot(0, [1]))
    code = (
        "import os, sys\n"
        "from datetime import datetime, UTC\n"
        "from importstats.errors import StoreError\n"
        "from importstats.sources.snapshot import Snapshot\n"
        "from importstats.store import SnapshotStore\n"
        "store = SnapshotStore(sys.argv[1])\n"
        "os.getuid() or os.setuid(65534)\n"
        "assert store.details().num_rows == 1\n"
        "try: store.append(Snapshot(datetime.now(UTC), '7', 'http://x', None))\n"
        "except StoreError as error: print(error)\n"
    )
    for folder in (open_folder / "store").rglob(""):
        folder.chmod(0o555)
    command = [sys.executable, "-c", code, store.uri]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "cannot write" in done.stdout
    assert "permission denied" in done.stdout
    assert done.stdout.count("\n") == 1


def test_secrets_of_a_uri_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    store = SnapshotStore("s3://key:hunter2@bucket/path?region=us-east-1")
    assert store.uri == "s3://bucket/path"
    assert "hunter2" not in repr(store)
    with pytest.raises(StoreError) as caught:
        SnapshotStore("s3://key:hunter2@bucket/path?nonsense=hunter2")
    assert "hunter2" not in str(caught.value)


def test_schema_names_the_run_columns_once() -> None:
    assert set(RUN_COLUMNS) < set(DETAILS_SCHEMA.names)
