"""The fleet on worker processes and in a bucket: the same tables, whatever is killed."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import boto3
import pytest
from fleet_stores import EVERY, NOW, START, assert_same, fill
from moto.server import ThreadedMotoServer

from importstats.errors import (
    ImportStatsError,
    MissingExtraError,
    StoreError,
    UnreachableError,
)
from importstats.fleets import (
    Fleet,
    fleet,
    run,
)
from importstats.store import CorruptSegmentWarning, SnapshotStore

distributed = pytest.importorskip("distributed")


# --- On Dask --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster() -> Iterator[distributed.LocalCluster]:
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0"
    ) as running:
        yield running


def test_a_cluster_of_processes_gives_the_same(
    store: SnapshotStore, alone: Fleet, cluster: distributed.LocalCluster
) -> None:
    assert_same(fleet(store, at=NOW, scheduler=cluster.scheduler_address), alone)


def test_a_killed_worker_changes_nothing(
    store: SnapshotStore,
    alone: Fleet,
    cluster: distributed.LocalCluster,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run, "_JOBS_PER_TASK", 2)
    scheduler = cluster.scheduler
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(fleet, store, at=NOW, scheduler=cluster.scheduler_address)
        victim = None
        while victim is None and not answer.done():
            # One that is at work and holds a result, which then is lost.
            for worker in list(scheduler.workers.values()):
                if worker.processing and worker.has_what:
                    victim = worker
                    break
            time.sleep(0.001)
        assert victim is not None, "the fleet was done before a worker could be killed"
        pid = next(
            nanny.pid
            for nanny in cluster.workers.values()
            if nanny.worker_address == victim.address
        )
        os.kill(pid, signal.SIGKILL)
        found = answer.result()
    assert victim.address not in scheduler.workers
    assert_same(found, alone)


def test_local_processes_are_the_default_for_many_jobs(
    store: SnapshotStore, alone: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "_JOBS_ALONE", 10)
    started = []
    local = distributed.LocalCluster

    def counted(**options: object) -> distributed.LocalCluster:
        started.append(local(**options))
        return started[-1]

    monkeypatch.setattr(distributed, "LocalCluster", counted)
    assert_same(fleet(store, at=NOW, workers=1), alone)
    assert len(started) == 1


def test_a_corrupt_file_is_reported_wherever_it_is_read(
    tmp_path: Path, cluster: distributed.LocalCluster
) -> None:
    broken = SnapshotStore(tmp_path)
    fill(broken, 3)
    path = Path(broken.files("details")[0])
    path.write_bytes(b"garbage")
    with pytest.warns(CorruptSegmentWarning, match=path.name):
        found = fleet(broken, scheduler=cluster.scheduler_address)
    assert len(found.jobs) == 3


def test_a_task_that_kills_its_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no worker process is being started again while the cluster closes."""
    at_closing: list[bool] = []

    class Watched(distributed.LocalCluster):
        def close(self, timeout: float | None = None) -> None:
            pids = [nanny.pid for nanny in self.workers.values()]
            at_closing.append(all(pid and Path(f"/proc/{pid}/exe").exists() for pid in pids))
            super().close(timeout)

    monkeypatch.setattr(distributed, "LocalCluster", Watched)
    with (
        run._mapper("processes", 1, 1) as apply,
        pytest.raises(ImportStatsError, match="again and again"),
    ):
        apply(os._exit, [1])
    assert at_closing == [True]


def test_no_scheduler(store: SnapshotStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_CONNECT_S", 0.3)
    with pytest.raises(UnreachableError, match=r"tcp://127\.0\.0\.1:9"):
        fleet(store, scheduler="tcp://127.0.0.1:9")
    with pytest.raises(ImportStatsError, match="no scheduler 'thread'"):
        fleet(store, scheduler="thread")


def test_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no store"):
        fleet(tmp_path / "nothing")


def test_without_dask(store: SnapshotStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingExtraError, match=r"pip install '\.\[dask\]'"):
        fleet(store, scheduler="processes")
    assert len(fleet(store, at=NOW, since=NOW - timedelta(hours=4)).jobs) > 0


# --- In a bucket ----------------------------------------------------------------------------------


def test_workers_read_a_bucket(cluster_of_one: str, bucket: str, alone: Fleet) -> None:
    made = SnapshotStore(bucket)
    fill(made, 6)
    assert b"hunter2" not in pickle.dumps(made)
    now = START + 5.5 * EVERY
    here = fleet(bucket, at=now, scheduler="synchronous")
    there = fleet(bucket, at=now, scheduler=cluster_of_one)
    assert len(here.jobs) == 6
    assert_same(here, there)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1").create_bucket(Bucket="fleet")
    yield "s3://fleet/store"
    server.stop()


@pytest.fixture
def cluster_of_one(bucket: str) -> Iterator[str]:
    """Workers that find the bucket's credentials in their own environment."""
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0"
    ) as running:
        yield running.scheduler_address
