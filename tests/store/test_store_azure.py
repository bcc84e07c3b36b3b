"""The store in Azure Blob Storage, over real HTTP to Azurite on loopback."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.fs as pafs
import pytest
from stored_snapshots import numbered

from importstats.store import SnapshotStore, compaction
from importstats.store.files import Files
from importstats.store.schema import DETAILS_SCHEMA, details_table

START = datetime(2026, 5, 18, tzinfo=UTC)
# Azurite's own account, which is in its documentation.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pafs.FileSystem]:
    azurite = shutil.which("azurite-blob")
    if azurite is None:
        pytest.skip("azurite-blob is not installed: npm install --global azurite")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [azurite, "--blobPort", str(port), "--inMemoryPersistence", "--silent"]
    command += ["--skipApiVersionCheck", "--disableTelemetry"]
    server = subprocess.Popen(command, cwd=tmp_path_factory.mktemp("azurite"))
    place = f"127.0.0.1:{port}"
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            assert server.poll() is None, "azurite ended"
            time.sleep(0.1)
    filesystem = pafs.AzureFileSystem(
        ACCOUNT,
        account_key=KEY,
        blob_storage_authority=place,
        dfs_storage_authority=place,
        blob_storage_scheme="http",
        dfs_storage_scheme="http",
    )
    filesystem.create_dir("imports")
    yield filesystem
    server.terminate()
    server.wait()


def test_a_file_that_is_begun_is_not_there(azure: pafs.FileSystem) -> None:
    """Azure shows a file of no bytes until it is closed."""
    store = SnapshotStore("imports/begun", filesystem=azure)
    store.append(numbered(0))
    (path,) = store.files("jobs")
    with azure.open_output_stream(path.replace("000000.000000", "000001.000000")) as begun:
        begun.write(b"not yet whole")
        assert azure.get_file_info(path.replace("000000.000000", "000001.000000")).size == 0
        assert store.files("jobs") == [path]
        assert store.details().num_rows == 5
        assert store.compact(final=True).segments_after == 1


def test_a_store_whose_marker_is_begun(azure: pafs.FileSystem) -> None:
    with azure.open_output_stream("imports/new/_importstats.json") as begun:
        begun.write(b'{"importstats_store": "1.0"}')
        store = SnapshotStore("imports/new", filesystem=azure)
        store.append(numbered(0))
    assert SnapshotStore("imports/new", filesystem=azure).details().num_rows == 5


def test_readers_beside_a_writer_and_a_compactor(azure: pafs.FileSystem) -> None:
    """No read warns (warnings are errors here), and what was seen once never goes missing."""
    store = SnapshotStore("imports/stress", filesystem=azure)
    store.append(numbered(0))
    failures: list[BaseException] = []

    def write() -> None:
        try:
            for number in range(1, 16):
                store.append(numbered(number))
                if number % 7 == 0:
                    store.compact(min_segments=3)
        except BaseException as error:  # noqa: BLE001 - handed to the test
            failures.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    seen = 0
    while writer.is_alive():
        details = SnapshotStore("imports/stress", filesystem=azure).details()
        numbers = sorted(set(details["snapshot_id"].to_pylist()))
        assert len(numbers) >= seen
        assert details.cast(DETAILS_SCHEMA).equals(details_table(map(numbered, numbers)))
        seen = len(numbers)
    writer.join()
    assert not failures
    assert store.jobs()["snapshot_id"].to_pylist() == list(range(16))


def test_old_begun_files_are_deleted(
    azure: pafs.FileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SnapshotStore("imports/old", filesystem=azure)
    store.append(numbered(0))
    (path,) = store.files("jobs")
    begun = str(Path(path).with_name(Path(path).name.replace("000000.0", "000001.0")))
    azure.open_output_stream(begun).close()
    store.compact(final=True)
    assert azure.get_file_info(begun).type == pafs.FileType.File
    monkeypatch.setattr(compaction, "_STALE_AFTER_S", -3600)
    store.compact(final=True)
    assert azure.get_file_info(begun).type == pafs.FileType.NotFound
    assert store.details().num_rows == 5


def test_an_empty_file_on_a_disk_is_damaged(tmp_path: Path) -> None:
    files = Files(tmp_path, None)
    (tmp_path / "empty").touch()
    assert not any(map(files.is_not_yet_whole, files.entries("")))
