"""The store in a bucket, over real HTTP to an S3 server on loopback."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import boto3
import pyarrow.dataset as ds
import pyarrow.fs as pafs
import pytest
from moto.server import ThreadedMotoServer
from stored_snapshots import numbered

from importstats.errors import StoreError
from importstats.sources.snapshot import Snapshot
from importstats.store import CorruptSegmentWarning, SnapshotStore
from importstats.store.schema import DETAILS_SCHEMA, JOBS_SCHEMA, details_table, jobs_table

START = datetime(2026, 5, 18, tzinfo=UTC)
BUCKET = "imports"


def assert_holds(store: SnapshotStore, snapshots: list[Snapshot]) -> None:
    assert store.jobs().cast(JOBS_SCHEMA).equals(jobs_table(snapshots))
    assert store.details().cast(DETAILS_SCHEMA).equals(details_table(snapshots))


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def uri(endpoint: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new place in a bucket, reached through the usual environment variables alone."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1").create_bucket(Bucket=BUCKET)
    return f"s3://{BUCKET}/{request.node.name}"


def keys(endpoint: str, uri: str) -> list[str]:
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    prefix = uri.removeprefix(f"s3://{BUCKET}/")
    answer = client.list_objects_v2(Bucket=BUCKET, Prefix=prefix)
    return [item["Key"] for item in answer.get("Contents", [])]


def test_round_trip_and_compaction(uri: str, endpoint: str) -> None:
    store = SnapshotStore(uri)
    assert not store.exists()
    snapshots = [numbered(number) for number in range(6)]
    for each in snapshots:
        store.append(each)
    assert store.exists()
    assert_holds(SnapshotStore(uri), snapshots)
    result = store.compact("7", min_segments=3)
    assert (result.segments_before, result.segments_after) == (6, 1)
    assert_holds(store, snapshots)
    parquet = [key for key in keys(endpoint, uri) if key.endswith(".parquet")]
    assert [f"s3://{BUCKET}/{key}" for key in parquet] == [
        *store.files("details"),
        *store.files("jobs"),
    ]
    store.append(numbered(99, job="../8"))
    assert store.job_keys()["job_id"].to_pylist() == ["../8", "7"]
    assert store.details(job_id="../8", source_uri="https://milvus").num_rows == 5


def test_other_tools_read_it(uri: str) -> None:
    store = SnapshotStore(uri)
    store.append([numbered(number, job=job) for job in ("7", "Eight") for number in range(3)])
    filesystem, path = pafs.FileSystem.from_uri(uri)
    table = ds.dataset(f"{path}/jobs", filesystem=filesystem, partitioning="hive").to_table()
    assert sorted(set(table["job_id"].to_pylist())) == ["7", "Eight"]
    assert table.num_rows == 6


def test_a_filesystem_may_be_given(uri: str) -> None:
    filesystem, path = pafs.FileSystem.from_uri(uri)
    store = SnapshotStore(path, filesystem=filesystem)
    store.append(numbered(1))
    assert_holds(SnapshotStore(uri), [numbered(1)])


def test_leftovers_of_a_killed_compactor(uri: str) -> None:
    store = SnapshotStore(uri)
    snapshots = [numbered(number) for number in range(3)]
    for each in snapshots:
        store.append(each)
    filesystem, _ = pafs.FileSystem.from_uri(uri)
    inputs = {}
    for path in [*store.files("jobs"), *store.files("details")]:
        key = path.removeprefix("s3://")
        with filesystem.open_input_stream(key) as stream:
            inputs[key] = stream.read()
    store.compact(final=True)
    for key, content in inputs.items():
        with filesystem.open_output_stream(key) as stream:
            stream.write(content)
    assert_holds(store, snapshots)
    assert store.compact().segments_after == 1
    assert_holds(store, snapshots)


def test_a_corrupt_object_is_set_aside(uri: str, endpoint: str) -> None:
    store = SnapshotStore(uri)
    store.append(numbered(0))
    store.append(numbered(1))
    filesystem, _ = pafs.FileSystem.from_uri(uri)
    path = store.files("details")[0]
    with filesystem.open_output_stream(path.removeprefix("s3://")) as stream:
        stream.write(b"garbage")
    with pytest.warns(CorruptSegmentWarning, match=path):
        details = store.details()
    assert details.cast(DETAILS_SCHEMA).equals(details_table([numbered(1)]))
    assert not any("/_corrupt/" in key for key in keys(endpoint, uri))
    with pytest.warns(CorruptSegmentWarning, match=path):
        store.compact(final=True)
    assert any("/_corrupt/" in key and key.endswith(".parquet") for key in keys(endpoint, uri))


def test_readers_beside_writers_and_compactors(uri: str) -> None:
    SnapshotStore(uri).append(numbered(1000))
    failures: list[BaseException] = []
    running = threading.Event()
    running.set()

    def guarded(work) -> threading.Thread:  # type: ignore[no-untyped-def]
        def run() -> None:
            try:
                work(SnapshotStore(uri))
            except BaseException as error:  # noqa: BLE001 - handed to the test
                failures.append(error)

        return threading.Thread(target=run)

    def write(store: SnapshotStore) -> None:
        for number in range(20):
            store.append(numbered(number))

    def compact(store: SnapshotStore) -> None:
        while running.is_set():
            store.compact(final=True)

    writer, compactor = guarded(write), guarded(compact)
    writer.start()
    compactor.start()
    store, seen = SnapshotStore(uri), set[int]()
    try:
        while writer.is_alive():
            stored = store.details()["snapshot_id"].to_pylist()
            assert len(stored) == 5 * len(set(stored))
            assert seen <= set(stored)
            seen = set(stored)
    finally:
        running.clear()
        writer.join()
        compactor.join()
    assert not failures
    assert_holds(store, [*map(numbered, range(20)), numbered(1000)])


def test_a_lost_bucket(uri: str) -> None:
    store = SnapshotStore(uri.replace(BUCKET, "lost-bucket"))
    for use in (lambda: store.append(numbered(0)), store.jobs, store.compact):
        with pytest.raises(StoreError) as caught:
            use()
        assert "lost-bucket" in str(caught.value)
        assert "\n" not in str(caught.value)
        assert "hunter2" not in str(caught.value)


def test_a_dead_server(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StoreError, match=r"cannot read s3://imports/.*connect"):
        SnapshotStore(uri).append(numbered(0))
