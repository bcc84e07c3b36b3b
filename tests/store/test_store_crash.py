"""The store under kill -9, concurrent processes and a full disk: nothing acknowledged is lost."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from stored_snapshots import numbered

from importstats.errors import StoreError
from importstats.store import SnapshotStore
from importstats.store.files import Files
from importstats.store.reading import Reader
from importstats.store.schema import DETAILS_SCHEMA, details_table

START = datetime(2026, 5, 18, tzinfo=UTC)


def check(store: SnapshotStore, acknowledged: Sequence[int], *, maybe: int = 0) -> list[int]:
    """Every acknowledged snapshot is there once and whole, with at most ``maybe`` others."""
    stored: list[int] = store.jobs()["snapshot_id"].to_pylist()
    assert max(Counter(stored).values(), default=1) == 1
    assert set(acknowledged) <= set(stored)
    assert len(stored) - len(acknowledged) <= maybe
    # Read after the jobs, so it may know of more.
    details = store.details().cast(DETAILS_SCHEMA)
    numbers = sorted(set(details["snapshot_id"].to_pylist()))
    assert set(stored) <= set(numbers)
    assert details.equals(details_table([numbered(number) for number in numbers]))
    return stored


# --- Killed ---------------------------------------------------------------------------------------

WRITER = """
import sys
sys.path.insert(0, sys.argv[1])
from test_store_crash import *
store = SnapshotStore(sys.argv[2])
for number in range(int(sys.argv[3]), 10**9):
    store.append(numbered(number))
    print(number, flush=True)
    if number % 3 == 0:
        store.compact(min_segments=3, final=number % 30 == 0)
"""


@pytest.mark.timeout(300)
def test_kill_9_loses_nothing_acknowledged(tmp_path: Path) -> None:
    store = SnapshotStore(tmp_path / "store")
    rng = random.Random(7)
    acknowledged: list[int] = []
    for round_ in range(15):
        begin = str(1000 * round_)
        command = [sys.executable, "-c", WRITER, str(Path(__file__).parent), store.uri, begin]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            acknowledged.append(int(writer.stdout.readline()))
            time.sleep(rng.uniform(0, 0.4))
            writer.send_signal(signal.SIGKILL)
            acknowledged += map(int, writer.stdout.read().split())
        # The last one may have been stored and not yet acknowledged.
        acknowledged = check(store, acknowledged, maybe=1)
    store.compact(final=True)
    assert check(store, acknowledged) == sorted(acknowledged)
    assert len(store.files("jobs")) == 1


@pytest.fixture
def memory_path() -> Iterator[Path]:
    """A folder in memory where there is one: for the order of operations, not for the disk."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


class Died(BaseException):
    """The process ended here."""


class Life:
    """How many more operations that change files this process may do before it dies."""

    remaining = 10**9

    def spend(self) -> None:
        if self.remaining == 0:
            raise Died
        self.remaining -= 1


@pytest.fixture
def life(monkeypatch: pytest.MonkeyPatch) -> Life:
    life = Life()

    def mortal(operation: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            life.spend()
            return operation(*arguments)

        return run

    for name in ("put", "delete", "move"):
        monkeypatch.setattr(Files, name, mortal(getattr(Files, name)))
    return life


@pytest.mark.parametrize("final", [False, True])
def test_death_between_any_two_file_operations(
    memory_path: Path, life: Life, *, final: bool
) -> None:
    """Appends and compactions end before the first, second, ... operation, and others go on."""
    survived = False
    deaths = 0
    while not survived:
        store = SnapshotStore(memory_path / str(deaths))
        numbers = list(range(9))
        for number in numbers:
            store.append(numbered(number))
            if number == 5:
                store.compact(final=True)
        life.remaining = deaths
        try:
            store.append(numbered(9))
            numbers.append(9)
            store.compact(min_segments=4, final=final)
            survived = True
        except Died:
            deaths += 1
        life.remaining = 10**9
        numbers = check(store, numbers, maybe=1)
        assert len(store.files("jobs")) == len(store.files("details"))
        store.append(numbered(10))
        store.compact(final=True)
        check(store, [*numbers, 10])
        assert len(store.files("jobs")) == 1
        assert len(list(Path(store.uri, "jobs").rglob("*.parquet"))) == 1
    assert deaths >= 2 + 2 + 2 * 4, "not every operation was a place to die"


@pytest.mark.parametrize("table", ["jobs", "details"])
def test_compaction_in_the_middle_of_a_read(
    memory_path: Path, life: Life, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    """Between listing and reading a compactor gets as far as it gets; the reader does not mind."""
    read_all = Reader.read_all
    for operations in range(11):
        store = SnapshotStore(memory_path / str(operations))
        for number in range(4):
            store.append(numbered(number))
        is_compacted = False

        def interrupted(self: Reader, segments: Any, which: str, *rest: Any) -> Any:
            nonlocal is_compacted
            if which == table and len(segments) == 4 and not is_compacted:
                is_compacted = True
                life.remaining = operations  # noqa: B023 - called in this round
                with suppress(Died):
                    SnapshotStore(store.uri).compact(final=True)  # noqa: B023
                life.remaining = 10**9
            return read_all(self, segments, which, *rest)  # type: ignore[arg-type]

        monkeypatch.setattr(Reader, "read_all", interrupted)
        details = store.details().cast(DETAILS_SCHEMA)
        monkeypatch.setattr(Reader, "read_all", read_all)
        assert is_compacted
        assert details.equals(details_table(map(numbered, range(4))))


# --- Side by side -----------------------------------------------------------------------------

CROWD = """
import sys
sys.path.insert(0, sys.argv[1])
from test_store_crash import *
store, role = SnapshotStore(sys.argv[2]), sys.argv[3]
if role == "compact":
    while not Path(sys.argv[2], "stop").exists():
        store.compact(min_segments=2)
        store.compact(final=True)
else:
    for number in range(int(role), 120, 2):
        store.append(numbered(number))
"""


@pytest.mark.timeout(300)
def test_writers_compactors_and_a_reader_side_by_side(tmp_path: Path) -> None:
    store = SnapshotStore(tmp_path / "store")
    store.append(numbered(1000))
    command = [sys.executable, "-c", CROWD, str(Path(__file__).parent), store.uri]
    writers = [subprocess.Popen([*command, role]) for role in ("0", "1")]
    compactors = [subprocess.Popen([*command, "compact"]) for _ in range(2)]
    seen: list[int] = []
    reads = 0
    try:
        while any(writer.poll() is None for writer in writers) or reads == 0:
            # What was seen once never goes missing, not even for a moment.
            seen = check(store, seen, maybe=1000)
            reads += 1
    finally:
        Path(store.uri, "stop").touch()
        codes = [process.wait() for process in (*writers, *compactors)]
    assert codes == [0, 0, 0, 0]
    assert check(store, seen, maybe=1000) == [*range(120), 1000]
    store.compact(final=True)
    assert check(store, [*range(120), 1000]) == [*range(120), 1000]
    left = [path for path in Path(store.uri).rglob("*.parquet") if "_corrupt" not in path.parts]
    assert len(left) == 2, "the last of several compactors leaves one segment"


# --- Full -----------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk(small_disk: Path) -> None:
    store = SnapshotStore(small_disk / "store")
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(100_000))
    acknowledged: list[int] = []

    def fill() -> None:
        for number in range(10_000):
            store.append(numbered(number))
            acknowledged.append(number)

    with pytest.raises(StoreError, match=r"cannot write .*no space left.*free some") as caught:
        fill()
    assert "\n" not in str(caught.value)
    assert acknowledged
    assert check(store, acknowledged) == acknowledged
    assert not list(Path(store.uri, "_tmp").iterdir())
    (small_disk / "rest").write_bytes(b"x" * free_bytes(small_disk))
    with pytest.raises(StoreError, match="no space left"):
        store.compact(final=True)
    check(store, acknowledged)
    ballast.unlink()
    store.append(numbered(20_000))
    store.compact(final=True)
    assert check(store, [*acknowledged, 20_000]) == [*acknowledged, 20_000]


def free_bytes(folder: Path) -> int:
    state = os.statvfs(folder)
    return state.f_bavail * state.f_frsize


LIMITED = """
import sys
sys.path.insert(0, sys.argv[1])
from test_store_crash import *
store = SnapshotStore(sys.argv[2])
store.append(numbered(0))
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    store.append(numbered(1))
except StoreError as error:
    print(error)
"""


def test_a_file_size_limit(tmp_path: Path) -> None:
    store = SnapshotStore(tmp_path / "store")
    command = [sys.executable, "-c", LIMITED, str(Path(__file__).parent), store.uri]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "cannot write" in done.stdout
    assert "ulimit -f" in done.stdout
    check(store, [0])
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
