"""The gRPC client against a real Milvus 2.3.5: what the mapping claims, the server does."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from bulk_insert import COLLECTION, BulkInsert, FileSet, watch
from serve import TOKEN, RealServer, real_server

import importstats
from importstats.errors import (
    JobNotFoundError,
    ServerError,
    UnauthorizedError,
    UnreachableError,
)
from importstats.sources.file_names import parse_file_name
from importstats.sources.grpc import GrpcImportClient
from importstats.sources.management import ManagementClient, Outcome
from importstats.sources.messages import ImportProgressData
from importstats.sources.snapshot import Snapshot
from importstats.store import SnapshotStore
from importstats.store.cluster_frames import load_cluster

# Installing, starting, inserting and stopping: half a minute to a minute and a half.
pytestmark = pytest.mark.timeout(600)

GOOD = [FileSet("small", 2_000), FileSet("middle", 60_000), FileSet("large", 200_000)]
WRONG_DIMENSION = FileSet("wrong-dimension", 1_000, dimension=64)
WRONG_COUNT = FileSet("wrong-count", 1_000, ids=999)
#: Each is a segment, and a build of its index takes longer than its import.
INDEXED = [FileSet(f"indexed-{number}", 20_000) for number in range(3)]


@dataclass
class Run:
    """One bulk insert of three good file sets and two bad ones, watched to its end."""

    server: RealServer
    bulk_insert: BulkInsert
    client: GrpcImportClient
    job_id: str
    snapshots: list[Snapshot]

    @property
    def last(self) -> ImportProgressData:
        return answer(self.snapshots[-1])


def answer(snapshot: Snapshot) -> ImportProgressData:
    assert snapshot.response is not None
    return snapshot.response.data


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    # Not tmp_path: pytest would keep the gigabyte of the last three runs.
    with (
        tempfile.TemporaryDirectory() as directory,
        real_server(Path(directory)) as server,
        GrpcImportClient(server.uri, token=TOKEN) as client,
    ):
        bulk_insert = BulkInsert(server)
        job_id = bulk_insert.insert([*GOOD, WRONG_DIMENSION, WRONG_COUNT])
        yield Run(server, bulk_insert, client, job_id, list(watch(client, job_id, 0.1)))


def test_every_file_ends_as_it_should(run: Run) -> None:
    assert [detail.state for detail in run.last.details] == ["Completed"] * 3 + ["Failed"] * 2
    assert [detail.progress for detail in run.last.details[:3]] == [100] * 3
    assert (run.last.state, run.last.collection_name) == ("Failed", COLLECTION)


def test_rows_are_those_of_the_files_and_of_the_servers_own_count(run: Run) -> None:
    rows = [file_set.rows for file_set in GOOD]
    assert [detail.imported_rows for detail in run.last.details] == [*rows, None, None]
    assert [detail.total_rows for detail in run.last.details] == [*rows, None, None]
    assert run.last.imported_rows == sum(rows) == run.bulk_insert.count()


def test_a_failed_file_says_why(run: Run) -> None:
    *_, dimension, count = run.last.details
    assert "dimension 64" in (dimension.reason or "")
    assert "row count(999)" in (count.reason or "")
    assert (run.last.reason or "").startswith("2 of 5 tasks failed; the first: ")


def test_file_names_are_the_paths_that_were_given(run: Run) -> None:
    large = run.last.details[2]
    assert parse_file_name(large.file_name).paths == (
        "data/in/large/id.npy",
        "data/in/large/vector.npy",
    )


def test_no_state_is_unknown_and_total_rows_are_missing_before_the_end(run: Run) -> None:
    details = [detail for snapshot in run.snapshots for detail in answer(snapshot).details]
    assert {detail.extra["state"] for detail in details} <= {
        f"Import{state}" for state in ("Pending", "Started", "Persisted", "Completed", "Failed")
    }
    early = [d for d in details if d.extra["state"] in ("ImportPending", "ImportStarted")]
    assert early
    assert {detail.total_rows for detail in early} == {None}


def test_progress_grows_block_by_block_to_90_and_then_100(run: Run) -> None:
    large = [answer(snapshot).details[2] for snapshot in run.snapshots]
    progress = [detail.progress or 0.0 for detail in large]
    assert progress == sorted(progress)
    assert {detail.progress for detail in large if detail.extra["state"] == "ImportPersisted"} <= {
        90
    }
    assert any(0 < value < 90 for value in progress)


def test_the_job_moves_forward_only_and_ends_once(run: Run) -> None:
    states = [answer(snapshot).state for snapshot in run.snapshots]
    assert set(states[:-1]) <= {"Pending", "Importing"}
    imported = [answer(snapshot).imported_rows or 0 for snapshot in run.snapshots]
    assert imported == sorted(imported)


def test_the_list_holds_every_task(run: Run) -> None:
    listed = {job.job_id: job for job in run.client.list_jobs(COLLECTION)}
    assert list(listed) == run.job_id.split(",")
    for task, detail in zip(listed.values(), run.last.details, strict=True):
        assert (task.state, task.progress, task.reason) == (
            detail.state,
            detail.progress,
            detail.reason,
        )


def test_errors_are_typed(run: Run) -> None:
    with pytest.raises(JobNotFoundError, match="does not know task 12"):
        run.client.describe("12")
    with pytest.raises(ServerError, match="collection not found"):
        list(run.client.list_jobs("no_such_collection"))
    for token in ("root:wr0ng", "wr0ng"):
        with (
            GrpcImportClient(run.server.uri, token=token) as stranger,
            pytest.raises(UnauthorizedError) as refused,
        ):
            stranger.describe(run.job_id)
        assert "wr0ng" not in str(refused.value)


def test_the_store_keeps_what_was_collected(run: Run, tmp_path: Path) -> None:
    store = SnapshotStore(tmp_path / "store")
    store.append(run.snapshots)
    assert store.jobs(columns=["state"]).num_rows == len(run.snapshots)
    details = store.details(columns=["file_name", "imported_rows"])
    assert details.num_rows == 5 * len(run.snapshots)
    # The store orders the files of a snapshot by name.
    kept = details.slice(details.num_rows - 5).to_pylist()
    assert {row["file_name"]: row["imported_rows"] for row in kept} == {
        detail.file_name: detail.imported_rows for detail in run.last.details
    }


@dataclass
class Queue:
    """What was seen of a bulk insert that completed before its indexes were built."""

    store: Path
    samples: dict[str, float]
    indexed: dict[str, int]


@pytest.fixture(scope="module")
def queue(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Queue:
    """A bulk insert into an indexed collection, collected with its management port to the end."""
    bulk_insert = BulkInsert(run.server, "indexed")
    bulk_insert.build_index("HNSW", M=32, efConstruction=400)
    job_id = bulk_insert.insert(INDEXED)
    store = tmp_path_factory.mktemp("queue") / "store"
    management_uri = run.server.management_uri()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "importstats", "collect", job_id, "--source", "grpc"),
            *("--uri", run.server.uri, "--store", str(store), "--max-interval", "2"),
            *("--management-uri", management_uri),
        ],
        env=os.environ | {"MILVUS_TOKEN": TOKEN},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with ManagementClient(management_uri, token="") as client:
        samples = {
            sample["labels"]["index_task_status"]: sample["value"]
            for sample in client.gauges().rows
            if sample["name"] == "datacoord_index_task_count"
            and sample["labels"]["collection_id"] == _collection_id(management_uri, job_id)
        }
    indexed = _legacy(
        management_uri, "index/progress", collection_name="indexed", field_name="vector"
    )
    return Queue(store, samples, indexed)


def _collection_id(management_uri: str, job_id: str) -> str:
    task = _legacy(management_uri, "import/state", task=int(job_id.partition(",")[0]))
    return str(task["collection_id"])


def _legacy(management_uri: str, path: str, **body: object) -> dict[str, int]:
    """An answer of the old API on the management port: a GET with a body, and no login."""
    answered = requests.get(f"{management_uri}/api/v1/{path}", json=body, timeout=30)
    answered.raise_for_status()
    decoded: dict[str, int] = answered.json()
    return decoded


def test_the_management_port_offers_metrics_and_no_lists(run: Run) -> None:
    with ManagementClient(run.server.management_uri(), token="") as client:
        lists = [client.tasks(), client.builds(), client.compactions(), client.segments("1")]
        lists += [client.nodes(), client.settings()]
        gauges = client.gauges()
    assert {reading.outcome for reading in lists} == {Outcome.NOT_OFFERED}
    assert gauges.outcome is Outcome.ANSWERED
    values = {sample["name"]: sample["value"] for sample in gauges.rows}
    assert (values["datacoord_datanode_num"], values["datacoord_index_node_num"]) == (1, 1)


def test_indexes_are_built_after_the_job_has_completed(queue: Queue) -> None:
    last = importstats.load_jobs(queue.store).iloc[-1]
    assert (last["state"], last["progress_pct"], last["imported_rows"]) == (
        "Completed",
        100,
        60_000,
    )
    # The server's own word, of an API that importstats does not use; it leaves a zero out.
    assert queue.indexed["total_rows"] == 60_000
    assert queue.indexed.get("indexed_rows", 0) < 60_000
    assert queue.samples["unissued"] + queue.samples["in-progress"] > 0
    assert sum(queue.samples.values()) == len(INDEXED)


def test_the_index_queue_that_progress_hides_is_found(queue: Queue) -> None:
    jobs = importstats.load_jobs(queue.store)
    alone = importstats.diagnose(jobs)
    assert "builds_go_on" not in set(alone["finding"].astype("str"))
    found = importstats.diagnose(jobs, cluster=load_cluster(queue.store))
    shown = importstats.ImportJob.load(queue.store, jobs["job_id"].iloc[0]).diagnosis
    for findings in (found, shown):
        message = findings.set_index("finding").loc["builds_go_on", "message"]
        assert message.startswith("The job has completed, and ")
        assert ", 1 of them at work" in message


def test_a_stopped_server_is_unreachable_and_leaves_no_process(run: Run) -> None:
    # The last test of this module, since it stops the server of all.
    run.server.stop()
    with pytest.raises(ProcessLookupError):
        os.killpg(run.server.process.pid, 0)
    with (
        GrpcImportClient(run.server.uri, token=TOKEN, retries=0) as client,
        pytest.raises(UnreachableError),
    ):
        client.describe("1")
