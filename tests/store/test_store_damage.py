"""Stores that are damaged, foreign or in the way."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from stored_snapshots import assert_holds, parquet_files, snapshot

from importstats.errors import StoreError
from importstats.store import (
    CorruptSegmentWarning,
    SnapshotStore,
    TableName,
    parquet,
    reading,
)
from importstats.store.files import Files
from importstats.store.schema import (
    DETAILS_SCHEMA,
    RUN_COLUMNS,
    details_table,
)

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


def append_asleep(
    store: SnapshotStore, monkeypatch: pytest.MonkeyPatch, table: str, *, aged_s: float
) -> None:
    """Append twice, and compact when the second append has written its file of a table.

    The compaction deletes that file. In the end both snapshots are there.
    """
    put = Files.put
    slept = []

    def sleepy(self: Files, path: str, content: Any) -> None:
        put(self, path, content)
        if path.startswith(f"{table}/") and not slept:
            slept.append(path)
            old = time.time() - aged_s
            os.utime(Path(store.uri, path), (old, old))
            store.compact(final=True)
            assert not Path(store.uri, path).exists()

    snapshots = [snapshot(0, [1]), snapshot(1, [2])]
    store.append(snapshots[0])
    monkeypatch.setattr(Files, "put", sleepy)
    store.append(snapshots[1])
    assert slept
    assert_holds(store, snapshots)


def test_a_writer_that_slept_between_its_two_files(
    store: SnapshotStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compaction took it for dead and deleted the details; when it returns they are there."""
    append_asleep(store, monkeypatch, "details", aged_s=7 * 3600)


def test_a_writer_that_slept_after_its_two_files(
    store: SnapshotStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compaction has merged both by then: the details do not come back, to be read twice."""
    append_asleep(store, monkeypatch, "jobs", aged_s=0)
    assert len(list(Path(store.uri, "details").rglob("*.parquet"))) == 1


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
