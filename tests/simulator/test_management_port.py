"""The simulated management port against the truth of its cluster, over real sockets."""

from dataclasses import replace

import pytest

from importstats.simulator import ClusterSpec, FileSpec, JobSpec, Restart, SimulatorServer
from importstats.simulator.jobs import FILES_PER_PREIMPORT_TASK
from importstats.simulator.specs import Compaction
from importstats.sources.management import ManagementClient, Outcome

FILES = tuple(FileSpec((f"{number}.parquet",), 2**30, 10**6) for number in range(12))
JOB = JobSpec(collection_name="products", files=FILES, early_index=False)


def serving(job=JOB, *, dialect="2.6", token=None, **cluster):
    return SimulatorServer(
        ClusterSpec(**cluster), [job], dialect=dialect, acceleration=0, management=True, token=token
    )


def client_of(server, token=""):
    return ManagementClient(server.management_uri, token=token)


def gauges(client):
    return {
        (row["name"], *sorted(row["labels"].values())): row["value"] for row in client.gauges().rows
    }


@pytest.mark.parametrize("dialect", ["2.5", "2.6", "3.0"])
def test_what_is_listed_is_what_happens(dialect):
    with serving(dialect=dialect) as server, client_of(server) as client:
        [job_id] = server.job_ids
        tasks = {}
        for _ in range(400):
            server.advance(5)
            for row in client.tasks().rows:
                tasks.setdefault(row["task_id"], []).append(row)
            if server.cluster.describe(job_id).ended:
                break
        truth = server.cluster.truth(job_id)
        builds = client.builds().rows
        plans = client.compactions().rows
        collection = tasks[min(tasks)][0]["collection_id"]
        left = client.segments(collection).rows
    imports = [rows for rows in tasks.values() if rows[0]["kind"] == "ImportTask"]
    assert {row["job_id"] for rows in tasks.values() for row in rows} == {job_id}
    assert len(tasks) - len(imports) == len(FILES) / FILES_PER_PREIMPORT_TASK
    nodes = sorted(row["node_id"] for rows in imports for row in rows[:1] if row["node_id"])
    assert nodes == sorted(str(101 + node) for node in truth.tasks["node"])
    for rows in imports:
        assert rows[-1]["state"] == "Completed"
        # Who asks too late does not learn the node.
        assert rows[-1]["node_id"] is None
        assert rows[-1]["complete_time"] is not None
    assert {row["state"] for row in builds} == {"Finished"}
    assert len(builds) == len(truth.tasks)
    assert {row["kind"] for row in plans} == ({"SortCompaction"} if dialect != "2.5" else set())
    if plans:
        sorted_ids = {segment for row in plans for segment in row["result_segments"]}
        assert {row["segment_id"] for row in builds} == sorted_ids
    assert left == []


def test_entries_vanish_although_they_run_and_nothing_renews_them_from_2_6_on():
    slow = replace(JOB, import_bytes_per_s=JOB.import_bytes_per_s / 100)
    for dialect, is_there in (("2.5", True), ("2.6", True)):
        with serving(slow, dialect=dialect) as server, client_of(server) as client:
            server.advance(600)
            states = {row["state"] for row in client.tasks().rows}
            server.advance(1500)
            later = client.tasks().rows
            running = server.cluster.truth(server.job_ids[0]).tasks["state"].eq("InProgress").any()
        assert ("InProgress" in states, running) == (is_there, True)
        assert [row for row in later if row["state"] == "InProgress"] == []


def test_builds_that_fail_are_sent_out_again():
    job = replace(JOB, failing_builds=1, build_failures=2)
    with serving(job) as server, client_of(server) as client:
        seen = {}
        while not server.cluster.describe(server.job_ids[0]).ended:
            server.advance(10)
            for row in client.builds().rows:
                seen.setdefault(row["build_id"], []).append(row)
    repeated = [rows for rows in seen.values() if rows[-1]["tries"] > 1]
    assert len(repeated) == 1
    assert {row["reason"] for row in repeated[0]} == {None, "no space left on device"}
    assert (repeated[0][-1]["state"], repeated[0][-1]["tries"]) == ("Finished", 3)


def test_compactions_hold_the_slots_that_sorting_waits_for():
    compactions = (Compaction(0.0, 5000.0, 4),)
    server = serving(compactions=compactions, disk_quota_bytes=1e15)
    with server, client_of(server) as client:
        server.advance(600)
        plans = client.compactions().rows
        server.advance(300)
        values = gauges(client)
        settings = client.settings().rows
    states = {(row["kind"], row["state"]) for row in plans}
    assert states == {("MixCompaction", "executing"), ("SortCompaction", "pipelining")}
    assert values["datanode_slot", "101", "available"] == 16 - 2
    assert values["datanode_slot", "101", "compactionUsed"] == 2
    assert values["datacoord_task_num_in_scheduler", "Compaction", "JobStateInit"] == 12
    assert values["rootcoord_disk_quota", "1", "cluster"] == 1e15
    names = {row["name"] for row in settings}
    assert "quotaAndLimits.limitWriting.diskProtection.diskQuota" in names
    assert "password" not in repr(settings)


def test_gauges_lag_and_nodes_that_are_down_are_not_listed():
    with serving(restarts=(Restart(100.0, 0, 1e6),)) as server, client_of(server) as client:
        server.advance(50)
        early = gauges(client)
        before = {row["node_id"] for row in client.nodes().rows}
        server.advance(60)
        after = {row["node_id"] for row in client.nodes().rows}
        server.advance(20)
        late = gauges(client)
    counted = [
        [key[1] for key, count in each.items() if key[0] == "datacoord_import_jobs" and count]
        for each in (early, late)
    ]
    # It has been PreImporting since the fifth second, and went on at the end of the second minute.
    assert counted == [["Pending"], ["IndexBuilding"]]
    assert before - after == {"101"}


def test_a_job_over_the_quota_fails_before_it_is_imported():
    with serving(disk_quota_bytes=float(2**30)) as server:
        server.advance(200)
        state = server.cluster.describe(server.job_ids[0])
    assert state.reason.startswith("quota exceeded[reason=disk quota exceeded")


@pytest.mark.parametrize(
    ("dialect", "token", "outcome"),
    [
        ("2.4", "", Outcome.NOT_OFFERED),
        ("2.5", "", Outcome.ANSWERED),
        ("2.6", "", Outcome.NEEDS_CREDENTIALS),
        ("2.6", "root:Milvus-secret", Outcome.ANSWERED),
    ],
)
def test_releases_differ_in_what_they_ask_for(dialect, token, outcome):
    server = serving(dialect=dialect, token="root:Milvus-secret")
    with server, client_of(server, token) as client:
        assert client.tasks().outcome is outcome
        assert client.gauges().answered
