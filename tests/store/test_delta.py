"""The Delta Lake log: other tools read the tables of a live store without one wrong row."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from stored_snapshots import numbered

from importstats.sources.snapshot import Snapshot
from importstats.store import SnapshotStore, compaction
from importstats.store.files import Files

deltalake = pytest.importorskip("deltalake")

START = datetime(2026, 5, 18, tzinfo=UTC)
FILES = 4


def snapshot(number: int, job: str = "7") -> Snapshot:
    return numbered(number, job=job, files=FILES, all_change=True)


def by_deltalake(folder: Path) -> pa.Table:
    return pa.table(deltalake.DeltaTable(folder).to_pyarrow_table())


def by_polars(folder: Path) -> pa.Table:
    return pl.read_delta(str(folder)).to_arrow()


def by_duckdb(folder: Path) -> pa.Table:
    """As ``delta_scan`` does: DuckDB reads the files that the log names."""
    files = deltalake.DeltaTable(folder).file_uris()
    return duckdb.read_parquet(files).to_arrow_table()


READERS = [by_deltalake, by_polars, by_duckdb]


@pytest.mark.parametrize("read", READERS)
def test_readers_of_the_log_see_what_the_store_has(tmp_path: Path, read) -> None:
    store = SnapshotStore(tmp_path)
    for number in range(7):
        store.append([snapshot(number), snapshot(number, job="../8")])
    store.publish()
    for table, expected in [("jobs", store.jobs()), ("details", store.details(runs=False))]:
        found = read(tmp_path / table)
        assert found.num_rows == expected.num_rows
        assert sorted(found["snapshot_id"].to_pylist()) == sorted(
            expected["snapshot_id"].to_pylist()
        )
        assert set(found["job_id"].to_pylist()) == {"7", "../8"}
        time_type = found.schema.field("observed_at").type
        assert (time_type.unit, time_type.tz.removeprefix("Etc/")) == ("us", "UTC")


def test_a_store_has_no_log_until_it_is_asked_for(tmp_path: Path) -> None:
    store = SnapshotStore(tmp_path)
    for number in range(4):
        store.append(snapshot(number))
    store.compact(final=True)
    assert not list(tmp_path.rglob("_delta_log"))
    assert len(list(tmp_path.rglob("*.parquet"))) == 2


def test_files_that_the_log_named_stay_for_the_queries_that_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SnapshotStore(tmp_path)
    for number in range(4):
        store.append(snapshot(number))
    store.publish()
    before = deltalake.DeltaTable(tmp_path / "details")
    store.append(snapshot(4))
    store.compact(final=True)
    assert before.to_pyarrow_table().num_rows == 4 * FILES
    assert by_deltalake(tmp_path / "jobs").num_rows == 5
    assert store.jobs().num_rows == 5
    # The one that no log had is gone, the four others wait.
    assert len(list(tmp_path.glob("jobs/*/*/*.parquet"))) == 1 + 4
    monkeypatch.setattr(compaction, "_GRACE_S", -1)
    store.compact(final=True)
    assert len(list(tmp_path.glob("*/*/*/*.parquet"))) == 2
    assert by_deltalake(tmp_path / "jobs").num_rows == 5


def test_a_snapshot_in_two_segments_is_one_for_the_log(tmp_path: Path) -> None:
    store = SnapshotStore(tmp_path)
    store.append([snapshot(0), snapshot(1), snapshot(2)])
    store.append([snapshot(1), snapshot(2), snapshot(3)])
    store.publish()
    for read in READERS:
        assert sorted(read(tmp_path / "jobs")["snapshot_id"].to_pylist()) == [0, 1, 2, 3]
        assert read(tmp_path / "details").num_rows == 4 * FILES


def test_a_log_that_begins_while_a_compaction_deletes_its_inputs_names_no_file_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The compaction saw no log, was suspended, and goes on when the first commit has been made."""
    store = SnapshotStore(tmp_path)
    store.append([snapshot(0), snapshot(0, job="8")])
    store.append(snapshot(1))
    sees_none, commit = threading.Event(), threading.Event()
    real_delete, real_put = compaction.Compactor._delete, Files.put_new

    def delete(self, segments) -> None:
        sees_none.set()
        assert commit.wait(60)
        real_delete(self, segments)
        raise SystemExit  # As if it were killed before it can put the log right.

    def put_new(self, path: str, content: bytes) -> bool:
        if not commit.is_set():
            compacting.start()
            assert sees_none.wait(60)
            made = real_put(self, path, content)
            commit.set()
            compacting.join(60)
            return made
        return real_put(self, path, content)

    def compact() -> None:
        with suppress(SystemExit):
            store.compact("7", min_segments=2)

    compacting = threading.Thread(target=compact)
    monkeypatch.setattr(compaction.Compactor, "_delete", delete)
    monkeypatch.setattr(Files, "put_new", put_new)
    SnapshotStore(tmp_path).publish()
    for table in ("jobs", "details"):
        found = by_polars(tmp_path / table)
        assert sorted(set(found["snapshot_id"].to_pylist())) == [0, 1]
        assert len(found) == 3 * (FILES if table == "details" else 1)


def test_many_commits_and_their_checkpoints(tmp_path: Path) -> None:
    store = SnapshotStore(tmp_path)
    for number in range(45):
        store.append(snapshot(number))
        store.publish()
    assert len(list(tmp_path.glob("jobs/_delta_log/*.checkpoint.parquet"))) == 2
    for each in tmp_path.glob("jobs/_delta_log/*[0-9].json"):
        if int(each.stem) < 40:
            each.unlink()  # What a checkpoint says is not read again.
    for read in READERS:
        assert read(tmp_path / "jobs").num_rows == 45
    SnapshotStore(tmp_path).compact(final=True)
    for read in READERS:
        assert read(tmp_path / "jobs").num_rows == 45
        assert read(tmp_path / "details").num_rows == 45 * FILES


CROWD = """
import sys, time
sys.path.insert(0, sys.argv[1])
from test_delta import *
store, role = SnapshotStore(sys.argv[2]), sys.argv[3]
if role == "compact":
    while not Path(sys.argv[2], "stop").exists():
        store.compact(min_segments=2)
        store.publish()
        store.compact(final=True)
else:
    for number in range(int(role), int(sys.argv[4]), 2):
        store.append(snapshot(number))
        time.sleep(0.002)
"""


@pytest.mark.timeout(300)
def test_readers_of_the_log_beside_writers_and_compactors(tmp_path: Path) -> None:
    """Never a snapshot twice, in part, or missing once it was seen."""
    appends = int(os.environ.get("IMPORTSTATS_DELTA_APPENDS", "120"))
    store = SnapshotStore(tmp_path)
    store.append(snapshot(100_000))
    store.publish()
    command = [sys.executable, "-c", CROWD, str(Path(__file__).parent), str(tmp_path)]
    writers = [subprocess.Popen([*command, role, str(appends)]) for role in ("0", "1")]
    compactors = [subprocess.Popen([*command, "compact"]) for _ in range(2)]
    seen: dict[str, set[int]] = {"jobs": set(), "details": set()}
    reads = 0
    try:
        while any(writer.poll() is None for writer in writers) or reads < len(READERS):
            read = READERS[reads % len(READERS)]
            for table, rows_each in [("jobs", 1), ("details", FILES)]:
                # A run says that a file had these values from one snapshot to another.
                ids = read(tmp_path / table)["snapshot_id"].to_pylist()
                assert len(ids) == rows_each * len(set(ids)), (read, table)
                assert seen[table] <= set(ids)
                seen[table] = set(ids)
            reads += 1
    finally:
        Path(tmp_path, "stop").touch()
        codes = [process.wait() for process in (*writers, *compactors)]
    assert codes == [0, 0, 0, 0]
    store.publish()
    assert sorted(by_polars(tmp_path / "jobs")["snapshot_id"].to_pylist()) == [
        *range(appends),
        100_000,
    ]
    assert store.jobs().num_rows == appends + 1


def test_the_command_that_asks_for_a_log(tmp_path: Path) -> None:
    store = SnapshotStore(tmp_path)
    for number in range(3):
        store.append(snapshot(number))
    command = [sys.executable, "-m", "importstats", "compact", str(tmp_path), "--delta"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert by_polars(tmp_path / "jobs").num_rows == 3
    assert by_duckdb(tmp_path / "details").num_rows == 3 * FILES
