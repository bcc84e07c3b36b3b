"""What is in a job's way, in the messages of its events."""

import json

import pandas as pd
import pytest

from importstats.analysis.cluster_causes import cause_text, with_causes
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
        (
            "long_index_build",
            {"node_id": "7"},
            "one index build on node 7 takes far longer than others",
        ),
        (
            "node_slower",
            {"node_id": "7", "times_peers": 2.25},
            "node 7 is 2.2 times as slow as its peers",
        ),
        ("no_data_node", {"data_nodes": 0}, "no data node is up"),
        (
            "quota_near",
            {"quota_bytes": 100, "stored_bytes": 90, "file_size_bytes": 11},
            "the disk quota is too small for it",
        ),
        (
            "quota_near",
            {"quota_bytes": 100, "stored_bytes": 90, "file_size_bytes": 10},
            "the disk quota is nearly used up",
        ),
        ("quota_near", {"quota_bytes": None}, "the disk quota is nearly used up"),
        ("no_slot", {"held_by_jobs": {"a": 3}}, "job a holds the slots it waits for"),
        (
            "no_slot",
            {"held_by_jobs": {"a": 3, "b": 1, "c": 1}},
            "job a and 2 more hold the slots it waits for",
        ),
        (
            "no_slot",
            {"held_by_jobs": {}, "held_by_compactions": 1, "held_by_index_builds": 2},
            "1 compaction and 2 index builds hold the slots it waits for",
        ),
        (
            "no_slot",
            {"held_by_jobs": {}, "held_by_compactions": 0, "held_by_index_builds": 1},
            "1 index build holds the slots it waits for",
        ),
        (
            "sort_queued",
            {"waiting_segments": 1, "other_compactions": 2, "index_builds": 3},
            "1 segment to be sorted after 2 other compactions",
        ),
        (
            "sort_queued",
            {"waiting_segments": 2, "other_compactions": 0, "index_builds": 1},
            "2 segments to be sorted after 1 index build",
        ),
        (
            "sort_queued",
            {"waiting_segments": 2, "other_compactions": 0, "index_builds": 0},
            "2 segments still to be sorted",
        ),
        (
            "index_queue",
            {"builds_before": 1, "waiting_builds": 4},
            "1 index build of others comes before its own",
        ),
        (
            "index_queue",
            {"builds_before": 2, "waiting_builds": 4},
            "2 index builds of others come before its own",
        ),
        (
            "index_queue",
            {"builds_before": 0, "waiting_builds": 4},
            "4 index builds of its own still to come",
        ),
    ],
)
def test_a_cause_names_who_holds_the_job_up_and_how_many_they_are(finding, evidence, cause):
    findings = pd.DataFrame([{**SLOW, "finding": finding, "evidence": json.dumps(evidence)}])
    event = pd.DataFrame([{**KEY, "event": "stalled", "message": "It stands still. "}])
    (message,) = with_causes(event, findings)["message"]
    assert message == f"It stands still. What holds it up: {cause}"


@pytest.mark.parametrize(
    ("severity", "waited_s", "is_cause"),
    [
        ("warning", 1, True),
        ("warning", None, True),
        ("info", None, False),
        ("info", 119.9, False),
        ("info", 120, True),
    ],
)
def test_what_is_of_no_weight_is_a_cause_after_two_minutes_of_waiting(severity, waited_s, is_cause):
    evidence = {"builds_before": 0, "waiting_builds": 2}
    if waited_s is not None:
        evidence["waited_s"] = waited_s
    queue = {"finding": "index_queue", "severity": severity, "evidence": json.dumps(evidence)}
    other = {**queue, "finding": "stalled", "severity": "critical"}
    cause = "2 index builds of its own still to come" if is_cause else ""
    assert cause_text(pd.DataFrame([other, queue])) == cause
    # The first that is worth it is said, and none after it.
    node = cause_text(pd.DataFrame([queue, SLOW]))
    assert node == (cause or "node 102 is 3.0 times as slow as its peers")


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
