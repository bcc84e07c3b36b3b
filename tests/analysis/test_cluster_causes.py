"""What is in a job's way, in the messages of its events."""

import json

import pandas as pd
import pytest

from importstats.analysis.cluster_causes import with_causes
from importstats.analysis.job_events import events
from importstats.simulator import ClusterSpec, FileSpec, JobSpec, Restart
from importstats.simulator.watching import WatchedJob
from importstats.store.frames import flatten_jobs

KEY = {"source_uri": "http://milvus", "job_id": "7"}
SLOW = {
    **KEY,
    "finding": "node_slower",
    "severity": "warning",
    "evidence": json.dumps({"node_id": "102", "times_peers": 3.0}),
}


@pytest.mark.parametrize(
    ("finding", "evidence", "cause"),
    [
        ("index_build_fails", {}, "an index build fails"),
        (
            "index_build_fails",
            {"node_id": "7", "reason": "disk full"},
            "an index build fails on node 7: disk full",
        ),
        ("long_index_build", {}, "one index build takes far longer than others"),
        ("long_index_build", {"node_id": "7"}, "one index build on node 7 takes far longer than"),
        ("node_slower", {"node_id": "7", "times_peers": 2.25}, "node 7 is 2.2 times as slow as"),
    ],
)
def test_a_cause_names_its_node_and_its_reason_if_they_are_known(finding, evidence, cause):
    findings = pd.DataFrame([{**SLOW, "finding": finding, "evidence": json.dumps(evidence)}])
    event = pd.DataFrame([{**KEY, "event": "stalled", "message": "It stands still."}])
    (message,) = with_causes(event, findings)["message"]
    assert message.startswith(f"It stands still. What holds it up: {cause}")


@pytest.mark.parametrize(
    ("event", "job", "said"),
    [
        (
            "stalled",
            "7",
            "It stands still. What holds it up: node 102 is 3.0 times as slow as its peers",
        ),
        (
            "late",
            "7",
            "It stands still. What holds it up: node 102 is 3.0 times as slow as its peers",
        ),
        ("started", "7", "It stands still."),
        ("stalled", "8", "It stands still."),
    ],
)
def test_what_waits_says_for_what(event, job, said):
    found = pd.DataFrame([{**KEY, "job_id": job, "event": event, "message": "It stands still."}])
    assert with_causes(found, pd.DataFrame([SLOW]))["message"].tolist() == [said]


def test_nothing_in_the_way_changes_nothing():
    found = pd.DataFrame([{**KEY, "event": "stalled", "message": "It stands still."}])
    none = pd.DataFrame([SLOW]).iloc[:0]
    assert with_causes(found, none).equals(found)


def test_a_job_whose_nodes_are_down_is_late_and_the_event_says_why():
    files = tuple(FileSpec((f"{number}.parquet",), 2**30, 10**6) for number in range(8))
    spec = JobSpec(collection_name="products", files=files, import_bytes_per_s=8e6)
    down = tuple(Restart(60.0, node, 7200.0) for node in range(2))
    job = WatchedJob(ClusterSpec(restarts=down), spec, seed=1)
    for _ in range(150):
        job.poll(30.0)
    jobs, at = flatten_jobs(job.snapshots), job.snapshots[-1].observed_at
    known = events(jobs, None, at, cluster=job.watch.frames())
    alone = events(jobs, None, at)
    late = {
        name: frame.loc[frame["event"].eq("late"), "message"]
        .item()
        .partition(". What holds it up: ")
        for name, frame in (("known", known), ("alone", alone))
    }
    assert late["known"][2] == "no data node is up"
    assert late["alone"][2] == ""
    assert known["event_id"].tolist() == alone["event_id"].tolist()
