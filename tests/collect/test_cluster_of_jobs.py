"""What the cluster does reaches events, metrics and agents, and is read once for all jobs."""

import asyncio
import json
import subprocess
import sys
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pyarrow.compute as pc
import pytest
from mcp import Client, StdioServerParameters
from tools import needs
from warm import run

pytest.importorskip("prometheus_client", reason="needs the extra prometheus")
from prometheus_client.parser import text_string_to_metric_families

from importstats.collect.metrics import MetricsServer
from importstats.collect.notifier import Notifier
from importstats.simulator import ClusterSpec, FileSpec, JobSpec
from importstats.simulator.watching import WatchedJob
from importstats.store import SnapshotStore, cluster_frames
from importstats.store.cluster_frames import ClusterOfJobs, load_cluster_of
from importstats.store.cluster_tables import ClusterTables
from importstats.store.frames import load_jobs

URI = "http://localhost:19530"
FILES = tuple(FileSpec((f"{number}.parquet",), 2**30, 10**6) for number in range(4))
FAILING = JobSpec(
    collection_name="products", files=FILES, failing_builds=1, build_failures=500, noise=0.0
)
#: By then a build of it has failed twice.
LASTS_S = 600.0


@pytest.fixture
def store(tmp_path):
    return SnapshotStore(tmp_path / "store")


def record(store, *ago_min):
    """Store jobs whose index build fails, each seen until so many minutes ago; their ids."""
    ids = []
    for seed, minutes in enumerate(ago_min, start=1):
        watched = WatchedJob(ClusterSpec(), FAILING, seed=seed)
        ends = datetime.now(UTC) - timedelta(minutes=minutes)
        watched.cluster.start = ends - timedelta(seconds=LASTS_S)
        while watched.cluster.now_s < LASTS_S:
            assert watched.poll(20.0)
        store.append(watched.snapshots)
        for table, rows in watched.watch.tables().items():
            ClusterTables(store).append(table, URI, _with_ids_of_their_own(rows, seed))
        ids.append(watched.job_id)
    return ids


def _with_ids_of_their_own(rows, number):
    """Rows of a simulated cluster, all of which count from one id on, as those of one server."""
    for place, field in enumerate(rows.schema):
        if field.name.endswith("_id") and field.name not in ("job_id", "node_id"):
            own = pc.replace_substring(rows[field.name], "47000", f"47{number:03d}")
            rows = rows.set_column(place, field, own)
    return rows


def count_readings(monkeypatch):
    readings = []
    sound = cluster_frames.load_cluster

    def counted(store, **options):
        readings.append(options)
        return sound(store, **options)

    monkeypatch.setattr(cluster_frames, "load_cluster", counted)
    return readings


def test_the_cluster_is_read_once_for_jobs_that_come_oldest_first(store, monkeypatch):
    old, new = record(store, 200, 1)
    frames = [load_jobs(store, job_id=job_id) for job_id in (old, new)]
    apart = [load_cluster_of(store, jobs) for jobs in frames]
    assert len(apart[1].gauges) < len(apart[0].gauges)
    readings = count_readings(monkeypatch)
    both = ClusterOfJobs(store, URI)
    for jobs, expected in zip(frames, apart, strict=True):
        found = both.frames_for(jobs)
        for table in ("tasks", "builds", "compactions", "segments"):
            assert getattr(found, table).equals(getattr(expected, table))
        assert [len(frame) for frame in found] == [len(frame) for frame in expected]
    assert len(readings) == 1
    # The other way round the older one needs more than was read.
    turned = ClusterOfJobs(store, URI)
    assert len(turned.frames_for(frames[1]).gauges) == len(apart[1].gauges)
    assert len(turned.frames_for(frames[0]).gauges) == len(apart[0].gauges)
    assert len(readings) == 3


def test_a_look_of_the_notifier_reads_the_cluster_once_for_all_jobs(store, monkeypatch):
    jobs = record(store, 1, 2, 3)
    assert sorted(jobs) == jobs[::-1], "the oldest has the lowest id"
    readings = count_readings(monkeypatch)
    with Notifier(store, URI, ["exec:true"], look_s=60, grace_s=60) as notifier:
        looks = []
        sound = notifier._look_at

        def counted(job_id, *given):
            looks.append(job_id)
            return sound(job_id, *given)

        monkeypatch.setattr(notifier, "_look_at", counted)
        for job_id in jobs:
            notifier.notice(SimpleNamespace(job_id=job_id))
    # The last look, which is that of closing, is at all of them.
    assert looks[-3:] == sorted(jobs)
    assert len(readings) < len(looks)
    assert len(readings) == looks.count(sorted(jobs)[0])


def test_events_are_found_although_the_tables_of_the_cluster_cannot_be_read(store, caplog):
    [job_id] = record(store, 1)
    _break(store)
    with Notifier(store, URI, ["exec:true"], look_s=0.01, grace_s=60) as notifier:
        notifier.notice(SimpleNamespace(job_id=job_id))
    assert "cannot read the cluster; events are found without it" in caplog.text
    assert "cannot look for events" not in caplog.text
    assert notifier._open == {job_id}


def _break(store):
    [path, *_] = Path(store.uri).glob("builds/*/*.parquet")
    path.write_bytes(b"no parquet")


def test_metrics_name_the_findings_of_the_cluster(store):
    [job_id] = record(store, 1)
    with MetricsServer(store, URI, port=0, refresh_s=0) as server:
        text = _text(server)
        found = _findings(text)
    _break(store)
    with MetricsServer(store, URI, port=0, refresh_s=0) as server:
        without = _text(server)
    labels = {"source": URI, "job_id": job_id, "collection": "products"}
    failing = {**labels, "finding": "index_build_fails", "severity": "critical"}
    assert [
        (given, value) for given, value in found if given["finding"] == "index_build_fails"
    ] == [(failing, 1.0)]
    assert {given["severity"] for given, _ in found} <= {"warning", "critical"}
    assert len({given["finding"] for given, _ in found}) == len(found)
    # What cannot be read of the cluster takes nothing else away.
    assert "importstats_store_up 1.0" in without
    assert "index_build_fails" not in without
    assert f'importstats_job_progress_ratio{{collection="products",job_id="{job_id}"' in without


def _text(server):
    with urllib.request.urlopen(server.url, timeout=60) as answer:
        return answer.read().decode()


def _findings(text):
    return [
        (sample.labels, sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "importstats_job_finding"
    ]


@needs("promtool")
def test_promtool_has_nothing_to_object_to_findings(store):
    record(store, 1)
    with MetricsServer(store, URI, port=0, refresh_s=0) as server:
        text = _text(server)
    assert "importstats_job_finding{" in text
    check = ["promtool", "check", "metrics"]
    done = subprocess.run(check, input=text, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_an_agent_sees_what_the_cluster_proves(store):
    [job_id] = record(store, 1)

    async def asked():
        words = ["-m", "importstats", "mcp", store.uri]
        async with Client(StdioServerParameters(command=sys.executable, args=words)) as client:
            return await client.call_tool("diagnose", {"job_id": job_id})

    found = asyncio.run(asked()).structured_content["result"]
    assert "index_build_fails" in [row["finding"] for row in found]


def test_a_group_names_what_the_cluster_proves(store):
    [job_id] = record(store, 1)
    ended = run("group", job_id, "--store", store.uri, "--output", "json")
    assert "index_build_fails" in [row["finding"] for row in json.loads(ended.stdout)["findings"]]
