"""The watcher of the management port: what it stores, and that it never costs the collection."""

import asyncio
import subprocess
import sys
import threading
import time
import urllib.request
from datetime import UTC, datetime
from typing import Final

import numpy as np
import pandas as pd
import pytest
import warm
from canned import Canned, says
from mcp import Client, StdioServerParameters

from importstats import SnapshotStore, load_jobs
from importstats.analysis.job_events import events
from importstats.collect.collector import Collector, PollPolicy
from importstats.collect.metrics import MetricsServer
from importstats.collect.watcher import ClusterWatcher
from importstats.simulator import ClusterSpec, FileSpec, JobSpec, SimulatorServer
from importstats.sources.management import ManagementClient
from importstats.sources.rest import ImportClient
from importstats.store.cluster_frames import (
    load_builds,
    load_cluster,
    load_nodes,
    load_segments,
    load_tasks,
)
from importstats.store.cluster_tables import ClusterTables

FILES = tuple(FileSpec((f"{number}.parquet",), 2**30, 10**6) for number in range(6))
JOB = JobSpec(collection_name="products", files=FILES, index_rows_per_s=10e3)


class Watched:
    """A simulated server, a store, and a watcher that looks only when the test lets it."""

    def __init__(self, folder, job=JOB, **options):
        self.server = SimulatorServer(
            ClusterSpec(), [job], acceleration=0, management=True, **options
        )
        self.store = SnapshotStore(folder)

    def __enter__(self):
        self.server.__enter__()
        [self.job_id] = self.server.job_ids
        self.client = ImportClient(self.server.uri, token="")
        self.watcher = self.made(self.server.management_uri)
        return self

    def made(self, *uris, running=None, timeout=60):
        clients = [ManagementClient(uri, token="", timeout=timeout) for uri in uris]
        return ClusterWatcher(
            clients, self.store, self.client.uri, lambda: running or [self.job_id]
        )

    def __exit__(self, *_):
        self.client.close()
        self.server.stop()

    def poll(self):
        self.store.append(self.client.snapshot(self.job_id))


def test_states_and_nodes_are_kept_after_the_server_forgot_them(tmp_path):
    looks = []
    with Watched(tmp_path) as simulated:
        while True:
            simulated.server.advance(8)
            simulated.poll()
            looks.append(datetime.now(UTC))
            simulated.watcher.look()
            if simulated.server.cluster.describe(simulated.job_id).ended:
                break
        truth = simulated.server.cluster.truth(simulated.job_id)
        tasks = load_tasks(simulated.store, job_id=simulated.job_id)
        builds, segments = load_builds(simulated.store), load_segments(simulated.store)
        nodes = load_nodes(simulated.store)
        simulated.watcher._compact(final=True)
        again = load_cluster(simulated.store)
    imports = tasks[tasks["kind"].eq("ImportTask")]
    assert imports["task_id"].nunique() == len(truth.tasks)
    on_nodes = imports[imports["node_id"].notna()].groupby("task_id")["node_id"].last()
    assert sorted(on_nodes) == sorted(str(101 + node) for node in truth.tasks["node"])
    last = imports.sort_values("observed_at").groupby("task_id")["state"].last()
    assert set(last) == {"Completed"}
    assert set(builds["state"]) >= {"Unissued", "InProgress", "Finished"}
    assert (builds["observed_at"] <= builds["last_observed_at"]).all()
    assert segments["is_importing"].all()
    # Each state was last seen with the look before the one that saw the next.
    runs = builds.sort_values(["build_id", "observed_at"])
    seen = np.searchsorted(pd.to_datetime(looks), runs["last_observed_at"])
    changed = np.searchsorted(pd.to_datetime(looks), runs["observed_at"])
    same = runs["build_id"].eq(runs["build_id"].shift(-1)).to_numpy()[:-1]
    assert same.sum() > 6
    assert (changed[1:] - seen[:-1])[same].tolist() == [1] * same.sum()
    assert set(nodes["kind"]) == {"datanode", "proxy"}
    # Merging files neither loses nor adds a row.
    assert again.tasks.equals(load_tasks(simulated.store))
    assert len(again.builds) == len(builds)
    assert len(list((tmp_path / "tasks").rglob("*.parquet"))) == 1


def test_a_merge_that_was_killed_half_way_changes_nothing(tmp_path, monkeypatch):
    with Watched(tmp_path) as simulated:
        for _ in range(20):
            simulated.server.advance(5)
            simulated.poll()
            simulated.watcher.look()
        before = load_cluster(simulated.store)
        tables = ClusterTables(simulated.store)
        monkeypatch.setattr(tables._files, "delete", lambda path: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            tables.compact("builds", simulated.client.uri, final=True)
        after = load_cluster(simulated.store)
    assert all(mine.equals(theirs) for mine, theirs in zip(before, after, strict=True))


def test_a_store_without_these_tables_gives_empty_frames(tmp_path):
    with Watched(tmp_path) as simulated:
        simulated.server.advance(5)
        simulated.poll()
        assert [len(frame) for frame in load_cluster(simulated.store)] == [0] * 7
        assert load_tasks(str(tmp_path))["observed_at"].dtype == "datetime64[us, UTC]"


def hostile(kind):
    """A management port that does its worst."""
    waits = threading.Event()

    def answer(path, _):
        if kind == "slow":
            waits.wait(5)
        if kind == "wrong":
            return says({"nodes_info": [{"infos": 3}], "a": [[]]})
        if kind == "nested":
            return says(b"[" * 500_000)
        if kind == "long":
            return says(b"[" + b"{}," * 5_000_000 + b"{}]")
        if kind == "blank":
            return says(b"\n" * 16_000_000)
        if kind == "huge":
            return says(b"x" * 100_000_000)
        return says(b"", 503)

    return Canned(answer)


@pytest.mark.parametrize("kind", ["slow", "wrong", "nested", "long", "huge", "failing", "absent"])
def test_a_bad_port_costs_the_collection_nothing(tmp_path, kind, caplog):
    caplog.set_level("INFO")
    with Watched(tmp_path / "store") as simulated, hostile(kind) as port:
        simulated.poll()
        uri = "http://127.0.0.1:1" if kind == "absent" else port.uri
        collector = Collector(
            simulated.client,
            simulated.store,
            jobs=[simulated.job_id],
            policy=PollPolicy(0.02, 0.05),
            on_saved=lambda job: job.snapshots >= 20 and collector.stop(),
        )
        watcher = simulated.made(uri)
        watcher._every_s = 0.05
        with watcher:
            collector.run()
            looked = time.monotonic() + 100
            while not watcher._said and time.monotonic() < looked:
                time.sleep(0.01)
    assert len(load_jobs(simulated.store)) >= 21
    lines = [record for record in caplog.records if "management port" in record.getMessage()]
    assert len(lines) == 1
    assert not [record for record in caplog.records if "no answer" in record.getMessage()]


_READ_ALL: Final = """
import sys
from pathlib import Path
from importstats.sources.management import ManagementClient

def most():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])

before = most()
for uri in sys.argv[1:]:
    with ManagementClient(uri, token="", timeout=60) as client:
        for ask in (client.tasks, client.gauges, lambda: client.segments("1")):
            reading = ask()
print(most() - before)
print(reading.outcome, [(row["segments"], row["rows"], row["state"]) for row in reading.rows])
"""


def many_segments(path, _):
    """The port of a cluster with a hundred thousand segments, of which 40,000 are of imports."""
    if not path.startswith("/api/v1/_dc/segments"):
        return says(b"null")
    fields = '"channel":"by-dev-rootcoord-dml_0_449999999999999999v0","state":"Flushed"'
    index = '{"field_id":"100","index_id":"449","build_id":"450000000000000001","index_size":"9"}'
    listed = (
        f'{{"segment_id":"45{number:016}","collection_id":"449999999999999999",{fields},'
        f'"num_of_rows":"7","mem_size":"1073741824","node_id":3,"level":"L1","is_sorted":true,'
        f'"{"is_importing" if number % 5 < 2 else "is_indexed"}":true,"index_fields":[{index}]}}'
        for number in range(100_000)
    )
    return says(f"[{','.join(listed)}]".encode())


def test_no_answer_takes_more_than_200_mb_of_memory():
    with (
        hostile("long") as long,
        hostile("huge") as huge,
        hostile("blank") as blank,
        Canned(many_segments) as many,
    ):
        assert len(many_segments("/api/v1/_dc/segments", None)[2]) > 2 * 16 * 2**20
        done = subprocess.run(
            [sys.executable, "-c", _READ_ALL, long.uri, huge.uri, blank.uri, many.uri],
            capture_output=True,
            text=True,
            check=True,
        )
    most, segments = done.stdout.splitlines()
    assert 10_000 < int(most) < 200_000
    assert segments == "answered [(40000, 280000, 'Flushed')]"


def test_unknown_fields_are_named_once_and_kept(tmp_path, caplog):
    caplog.set_level("INFO")
    listed = [{"task_id": "3", "job_id": "7", "state": "Pending", "slots": 2}]

    def answer(path, _):
        return says(listed) if path.endswith("import") else says(b"null")

    with Watched(tmp_path) as simulated, Canned(answer) as port:
        simulated.poll()
        watcher = simulated.made(port.uri)
        for _ in range(3):
            watcher.look()
        tasks = load_tasks(simulated.store)
    assert tasks["extra"].tolist() == ['{"slots":2}']
    named = [record for record in caplog.records if "unknown fields" in record.getMessage()]
    assert len(named) == 1


def test_the_last_look_is_after_the_last_job(tmp_path):
    with Watched(tmp_path / "store") as simulated:
        simulated.poll()
        client = ManagementClient(simulated.server.management_uri, token="")
        with ClusterWatcher([client], simulated.store, simulated.client.uri, list):
            pass  # No job runs any more, so there was no other look.
        assert len(load_cluster(simulated.store).gauges)


def test_collect_watches_the_cluster(tmp_path):
    warm.run("--version")  # Else the job may be over before the command has begun.
    options = {"token": "root:canary-password", "acceleration": 40}
    with SimulatorServer(ClusterSpec(), [JOB], management=True, **options) as server:
        done = warm.run(
            "collect",
            *server.job_ids,
            *("--uri", server.uri, "--store", tmp_path / "store"),
            *("--management-interval", "0.2", "--min-interval", "0.2"),
            MILVUS_TOKEN="root:canary-password",
            IMPORTSTATS_MANAGEMENT_URI=server.management_uri,
        )
    assert done.returncode == 0, done.stderr
    cluster = load_cluster(tmp_path / "store")
    assert set(cluster.tasks["job_id"]) == set(server.job_ids)
    assert len(cluster.builds)
    assert len(cluster.gauges)
    assert cluster.settings["name"].tolist() == [
        "dataCoord.import.waitForIndex",
        "dataNode.workerSlotUnit",
    ]
    # Parquet is compressed, so its content is looked at as rows.
    said = [done.stdout, done.stderr, *(frame.to_csv() for frame in cluster)]
    said += [path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file()]
    said += _whatever_shows_a_job(tmp_path / "store", server.uri, *server.job_ids)
    assert "dataNode.workerSlotUnit" in "".join(said)
    for secret in ("canary-password", "simulated-secret-key", "simulated-root-password"):
        assert not [text for text in said if secret in text]


def _whatever_shows_a_job(store, uri, job_id):
    """All that is said of a job whose cluster was watched: reports, events, metrics, an agent."""
    commands = [("report", job_id, "--store", store, "--format", form) for form in FORMS]
    commands += [("group", job_id, "--store", store, "--output", "json"), ("summary", store)]
    for command in commands:
        done = warm.run(*command)
        assert done.returncode == 0, done.stderr
        yield done.stdout
    found = events(load_jobs(store), None, datetime.now(UTC), cluster=load_cluster(store))
    yield found.to_csv()
    with (
        MetricsServer(SnapshotStore(store), uri, port=0, refresh_s=0) as server,
        urllib.request.urlopen(server.url, timeout=60) as answer,
    ):
        yield answer.read().decode()

    async def asked():
        words = ["-m", "importstats", "mcp", str(store)]
        async with Client(StdioServerParameters(command=sys.executable, args=words)) as client:
            return str([await client.call_tool(name, {"job_id": job_id}) for name in TOOLS])

    yield asyncio.run(asked())


FORMS: Final = ("html", "md", "json")
TOOLS: Final = ("summary", "diagnose", "report")


def test_a_password_in_the_address_is_refused():
    address = "http://root:x@127.0.0.1:1"
    done = warm.run("collect", "--uri", "http://127.0.0.1:1", *("--management-uri", address))
    assert done.returncode == 2
    assert done.stderr.startswith("importstats: error: --management-uri has a user or password")


def test_snapshots_look_at_the_cluster_each_time(tmp_path):
    with SimulatorServer(ClusterSpec(), [JOB], acceleration=0, management=True) as server:
        ask = ("snapshot", "--uri", server.uri, "--store", tmp_path / "store")
        server.advance(40)
        first = warm.run(*ask, "--management-uri", server.management_uri)
        server.advance(40)
        second = warm.run(*ask, IMPORTSTATS_MANAGEMENT_URI=server.management_uri)
        configuration = tmp_path / "importstats.toml"
        configuration.write_text(
            f'[[servers]]\nuri = "{server.uri}"\nmanagement-uri = ["{server.management_uri}"]\n'
        )
        server.advance(900)
        store = ("--store", tmp_path / "store")
        third = warm.run("snapshot", "--config", configuration, *store)
    [job] = server.job_ids
    states = ["Importing", "Importing", "Completed"]
    said = [f"saved job={job} state={state}\n" for state in states]
    assert [done.stdout for done in (first, second, third)] == said
    assert [done.stderr for done in (first, second, third)] == [""] * 3
    cluster = load_cluster(tmp_path / "store")
    looks = load_jobs(tmp_path / "store")["observed_at"].tolist()
    # Each look is beside a snapshot; the last is at the metrics alone, for no job runs any more.
    tasks, gauges = cluster.tasks, cluster.gauges
    assert set(tasks["job_id"]) == {job}
    assert tasks["observed_at"].min() > looks[0]
    assert looks[1] < tasks["last_observed_at"].max() < looks[2] < gauges["observed_at"].max()
    before = [path for path in (tmp_path / "store").rglob("*.parquet") if "jobs" not in path.parts]
    merged = warm.run("compact", tmp_path / "store")
    assert merged.returncode == 0, merged.stderr
    said = merged.stdout.splitlines()[-1].replace(",", "").split()
    files = [path for path in before if "details" not in path.parts]
    assert said == f"tables of the clusters: {len(files)} files before 7 now".split()
    again = load_cluster(tmp_path / "store")
    assert all(mine.equals(theirs) for mine, theirs in zip(cluster, again, strict=True))
    # What did not change between two looks of two processes is one run.
    assert len(cluster.settings) == 2
    assert (cluster.settings["observed_at"] < cluster.settings["last_observed_at"]).all()


def test_a_snapshot_with_a_port_that_is_absent_says_so_in_a_line(tmp_path):
    with SimulatorServer(ClusterSpec(), [JOB], acceleration=0) as server:
        server.advance(40)
        done = warm.run(
            *("snapshot", "--uri", server.uri, "--store", tmp_path / "store"),
            *("--management-uri", "http://127.0.0.1:1"),
        )
    assert done.returncode == 0
    assert done.stdout == f"saved job={server.job_ids[0]} state=Importing\n"
    assert done.stderr == (
        "importstats: WARNING: no management port outcome=not reached "
        "reason=http://127.0.0.1:1 does not answer ([Errno 111] Connection refused); "
        "check the URI and the network\n"
    )


def test_watch_watches_the_cluster(tmp_path):
    warm.run("--version")  # Else the job may be over before the command has begun.
    with SimulatorServer(ClusterSpec(), [JOB], management=True, acceleration=40) as server:
        done = warm.run(
            "watch",
            *server.job_ids,
            *("--uri", server.uri, "--store", tmp_path / "store"),
            *("--management-uri", server.management_uri, "--management-interval", "0.2"),
            *("--min-interval", "0.2"),
        )
    assert done.returncode == 0, done.stderr
    cluster = load_cluster(tmp_path / "store")
    assert set(cluster.tasks["job_id"]) == set(server.job_ids)
    assert len(cluster.builds)
