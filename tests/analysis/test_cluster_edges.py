"""What a cluster was doing, at its edges: since when, for how long, how many, and beyond what."""

from dataclasses import replace

import pytest
from clusters import (
    HOUR,
    IMPORT,
    NODE,
    at,
    build,
    cluster,
    gauge,
    history,
    state,
    task,
)

from importstats.analysis.cluster_builds import (
    builds_go_on,
    index_build_fails,
    index_queue,
    long_index_build,
)
from importstats.analysis.cluster_nodes import node_slower, task_repeated
from importstats.analysis.cluster_slots import no_data_node, no_slot, quota_near, sort_queued
from importstats.analysis.cluster_state import ClusterState, last_look


def said(finding):
    return None if finding is None else (finding.severity, finding.message)


# --- The state ------------------------------------------------------------------------------------


def test_an_entry_is_in_its_last_state_since_it_was_first_listed_in_it_again():
    runs = [
        (0, 9, task("1", "Pending")),
        (10, 19, task("1", "InProgress", node="a")),
        (20, 29, task("1", "Pending")),
        (30, 39, task("1", "Pending", kind="PreImportTask")),
        (40, 49, task("2", "Pending")),
        (61, 99, task("2", "InProgress")),
    ]
    tasks = state(60, tasks=runs).tasks.set_index("task_id")
    assert tasks["state"].tolist() == ["Pending", "Pending"]
    assert tasks["since"].tolist() == [at(20), at(40)]
    assert tasks["first_seen"].tolist() == [at(0), at(40)]
    assert state(61, tasks=runs).tasks["state"].tolist() == ["Pending", "InProgress"]
    assert ClusterState.from_cluster(cluster(tasks=runs), "v", at(60)).tasks.empty


def test_the_nodes_are_those_of_the_last_look():
    nodes = [
        (0, 50, {"node_id": "a", "kind": "datanode", "deploy_mode": "DISTRIBUTED"}),
        (0, 30, {"node_id": "b", "kind": "datanode", "deploy_mode": "DISTRIBUTED"}),
        (51, 60, {"node_id": "a", "kind": "datanode", "deploy_mode": "DISTRIBUTED"}),
        (51, 60, {"node_id": "c", "kind": "indexnode", "deploy_mode": "DISTRIBUTED"}),
    ]
    for second, ids, merges, workers in (
        (50, ["a"], True, 1),
        (49.9, ["a", "b"], True, 2),
        (30, ["a", "b"], True, 2),
        (51, ["a", "c"], False, 1),
        (60, ["a", "c"], False, 1),
    ):
        found = state(second, nodes=nodes)
        assert (sorted(found.nodes["node_id"]), found.merges_roles) == (ids, merges)
        assert found.index_workers() == workers
        assert not found.is_standalone
    assert not state(0, builds=[]).known
    assert state(0, nodes=nodes).known


def test_a_metric_is_the_sum_of_the_latest_values_of_its_labels():
    gauges = [
        (0, 9, gauge("n", 1, type="a")),
        (10, 19, gauge("n", 2, type="a")),
        (10, 19, gauge("n", 4, type="b")),
        (10, 19, gauge("n", 8, process="q", type="a")),
        (10, 19, gauge("t_sum", 90)),
        (10, 19, gauge("t_count", 30)),
        (10, 19, gauge("z_sum", 90)),
        (10, 19, gauge("z_count", 0)),
    ]
    found = state(15, gauges=gauges)
    assert (found.gauge("n"), found.gauge("n", type="a"), found.gauge("n", type="c")) == (
        *(14, 10, None),
    )
    assert (found.mean("t"), found.mean("z"), found.mean("n")) == (3, None, None)


@pytest.mark.parametrize(("look", "found"), [(59, 60), (60, 60), (61, 61), (120, 120), (121, 60)])
def test_a_look_counts_for_a_job_up_to_a_minute_after_its_end(look, found):
    frames = cluster(gauges=[(0, look, gauge("n", 1))])
    assert last_look(frames, "u", at(60)) == at(found)
    assert last_look(frames, "v", at(60)) == at(60)


# --- Slots ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gauges", "nodes", "found"),
    [
        (0, None, "critical"),
        (1, None, None),
        (None, None, None),
        (0, [NODE], None),
        (3, [(0, 9, {"node_id": "m", "kind": "proxy"})], "critical"),
    ],
)
def test_no_data_node_is_up_if_none_is_listed_or_else_counted(gauges, nodes, found):
    tables = {} if gauges is None else {"gauges": [(0, 9, gauge("datacoord_datanode_num", gauges))]}
    finding = no_data_node(history(), state(9, **tables, nodes=nodes or []))
    assert (None if finding is None else finding.severity) == found


def waiting_for_slots(waited_s, *others, free=0, nodes=(NODE,)):
    tasks = [(0, HOUR, task("1", "Pending")), *others]
    gauges = [(0, HOUR, gauge("datanode_slot", free, type="available"))]
    return state(waited_s, tasks=tasks, gauges=gauges, nodes=nodes)


OTHER = (0, 3 * HOUR, task("9", "InProgress", job="8"))


@pytest.mark.parametrize(
    ("waited_s", "others", "free", "severity"),
    [
        (19.9, [OTHER], 0, None),
        (20, [OTHER], 0, "info"),
        (120, [OTHER], 0, "info"),
        (121, [OTHER], 0, "warning"),
        (121, [OTHER], 1, None),
        (121, [], 0, None),
        (121, [OTHER, (0, HOUR, task("2", "InProgress"))], 0, "info"),
        (121, [(0, HOUR, task("2", "InProgress"))], 0, None),
    ],
)
def test_tasks_wait_for_slots_that_others_hold(waited_s, others, free, severity):
    finding = no_slot(history(), waiting_for_slots(waited_s, *others, free=free))
    assert (None if finding is None else finding.severity) == severity


@pytest.mark.parametrize(("seen_s", "found"), [(0, None), (0.001, "info")])
def test_what_was_not_listed_for_two_hours_holds_no_slot(seen_s, found):
    other = (0, seen_s, task("9", "InProgress", job="8"))
    mine = (2 * HOUR - 60, 2 * HOUR, task("1", "Pending"))
    gauges = [(0, HOUR, gauge("datanode_slot", 0, type="available"))]
    finding = no_slot(
        history(), state(2 * HOUR + 0.001, tasks=[other, mine], gauges=gauges, nodes=[NODE])
    )
    assert (None if finding is None else finding.severity) == found


@pytest.mark.parametrize(
    ("count", "text"), [(1, "1 compaction is at work"), (2, "2 compactions are at work")]
)
def test_compactions_that_hold_slots_are_counted(count, text):
    plan = {"kind": "MixCompaction", "state": "executing"}
    plans = [(0, HOUR, plan | {"plan_id": str(number)}) for number in range(count)]
    tasks = [(0, HOUR, task("1", "Pending"))]
    finding = no_slot(history(), state(200, tasks=tasks, nodes=[NODE], compactions=plans))
    assert finding.message.endswith(f"the first for 3 min 20 s: {text}")


def test_who_holds_the_slots_is_named_up_to_three_jobs():
    others = [
        (0, HOUR, task(f"{job}{n}", "InProgress", job=f"{job}"))
        for job, count in ((1, 1), (2, 3), (3, 2), (4, 1), (5, 1))
        for n in range(count)
    ]
    builds = [(0, HOUR, build("b", "InProgress"))]
    plan = {"plan_id": "p", "kind": "MixCompaction", "state": "executing"}
    tables = {"tasks": [(0, HOUR, task("1", "Pending")), *others[1:]], "builds": builds}
    found = no_slot(history(), state(200, **tables, nodes=[NODE], compactions=[(0, HOUR, plan)]))
    assert said(found) == (
        "warning",
        "1 task of the job waits for a slot of a data node, the first for 3 min 20 s: job 2 has 3 "
        "tasks at work, job 3 has 2 tasks at work, job 4 has 1 task at work, 1 more jobs have "
        "some, 1 compaction is at work and 1 index build is at work",
    )
    evidence = found.evidence
    assert (evidence["waiting_tasks"], evidence["tasks_at_work"], evidence["waited_s"]) == (
        1,
        0,
        200,
    )
    assert evidence["held_by_jobs"] == {"2": 3, "3": 2, "4": 1}
    assert (evidence["held_by_compactions"], evidence["held_by_index_builds"]) == (1, 1)
    assert (evidence["free_slots"], evidence["data_nodes"]) == (None, 1)


def plan(name, what, collection="c", kind="SortCompaction"):
    known = {"plan_id": name, "collection_id": collection, "kind": kind}
    return (0, HOUR, {**known, "state": what})


@pytest.mark.parametrize(
    ("waited_s", "plans", "builds", "found"),
    [
        (19.9, [], [], None),
        (20, [], [], ("info", "1 segment of the job waits to be sorted, the first for 20 s")),
        (
            121,
            [plan("2", "pipelining"), plan("3", "executing", "d"), plan("4", "executing", "e")],
            [(0, HOUR, build("b", "InProgress"))],
            (
                "warning",
                "2 segments of the job wait to be sorted, the first for 2 min 1 s, while 2 other "
                "compactions and 1 index build are at work",
            ),
        ),
        (
            121,
            [plan("3", "executing")],
            [],
            (
                "info",
                "1 segment of the job waits to be sorted, the first for 2 min 1 s, while 1 of its "
                "own is at work",
            ),
        ),
        (120, [], [], ("info", "1 segment of the job waits to be sorted, the first for 2 min")),
    ],
)
def test_segments_wait_to_be_sorted(waited_s, plans, builds, found):
    now = state(
        waited_s, tasks=[IMPORT], compactions=[plan("1", "pipelining"), *plans], builds=builds
    )
    assert said(sort_queued(history(), now)) == found


@pytest.mark.parametrize(
    ("quota", "stored", "size", "denied", "phase", "found"),
    [
        (100, 89, None, 0, "Pending", None),
        (100, 90, None, 0, "Pending", ("warning", "is nearly used up: 10B of 100B are left")),
        (100, 50, 50, 0, "Pending", None),
        (100, 50, 51, 0, "Pending",
         ("critical", "is too small: 50B of 100B are left, and the job brings 51B")),
        (100, 120, None, 0, "Pending", ("warning", "is nearly used up: 0B of 100B are left")),
        (100, 120, None, 1, "Pending", ("critical", "is used up: 0B of 100B are left")),
        (None, None, None, 1, "Pending", ("critical", "is used up")),
        (100, 90, None, 0, "Importing", None),
        (0, 90, None, 0, "Pending", None),
        (1e301, 90, 10**9, 0, "Pending", None),
        (100, None, 500, 0, "Pending", None),
    ],
)  # fmt: skip
def test_a_quota_is_near_from_nine_tenths_on_or_if_the_job_is_larger(
    quota, stored, size, denied, phase, found
):
    gauges = [(0, 9, gauge("rootcoord_quota_states", denied, quota_states="DiskQuotaExhausted"))]
    if quota is not None:
        gauges.append((0, 9, gauge("rootcoord_disk_quota", quota, scope="cluster")))
    if stored is not None:
        gauges.append((0, 9, gauge("datacoord_stored_binlog_size", stored)))
    job = history(phase, 5.0 if phase == "Pending" else 50.0, file_size_bytes=size or 0)
    finding = said(quota_near(job, state(9, gauges=gauges)))
    assert finding == (found and (found[0], f"The disk quota of the cluster {found[1]}"))


# --- Builds ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tries", "what", "reason", "found"),
    [
        (1, "InProgress", None, None),
        (2, "InProgress", None, ("warning", "2 tries", "")),
        (9, "Retry", "full", ("warning", "9 tries", ": full")),
        (10, "Retry", "full", ("critical", "10 tries", ": full")),
        (1, "Retry", "full", ("warning", "1 try", ": full")),
        (2, "Finished", None, None),
    ],
)
def test_a_build_fails_if_it_is_tried_again_or_has_a_reason(tries, what, reason, found):
    builds = [(1, HOUR, build("b", what, "n", tries=tries, reason=reason))]
    finding = index_build_fails(history(), state(HOUR, tasks=[IMPORT], builds=builds))
    text = "The index build of segment sb keeps failing: {} so far, the last on node n{}"
    assert said(finding) == (found and (found[0], text.format(*found[1:])))


def test_builds_of_before_the_import_or_of_another_collection_are_not_the_jobs():
    builds = [
        (0, HOUR, build("1", "Retry", tries=3)),
        (5, HOUR, build("2", "Retry", tries=3)),
        (5, HOUR, build("3", "Retry", tries=2)),
        (5, HOUR, build("4", "Retry", collection="d", tries=9)),
    ]
    began = (5, HOUR, task("1", "Completed"))
    finding = index_build_fails(history(), state(HOUR, tasks=[began], builds=builds))
    assert (finding.evidence["builds"], finding.evidence["segment_id"]) == (2, "s2")
    assert finding.message.endswith("3 tries so far; 1 other fails too")


@pytest.mark.parametrize(
    ("done_s", "took_s", "tries", "found"),
    [
        ([20, 20, 20], 59, 1, None),
        ([20, 20, 20], 60, 1, "info"),
        ([30, 30, 30], 89, 1, None),
        ([30, 30, 30], 90, 1, "info"),
        ([30, 30, 30], 90, 2, None),
        ([30, 30], 90, 1, None),
    ],
)
def test_a_build_is_long_from_three_times_the_others_and_a_minute_on(done_s, took_s, tries, found):
    builds = []
    for number, seconds in enumerate(done_s):
        builds += [
            (1, seconds, build(f"{number}", "InProgress", "n", "d")),
            (1 + seconds, HOUR, build(f"{number}", "Finished", "n", "d")),
        ]
    builds.append((100, HOUR, build("b", "InProgress", "m", tries=tries)))
    now = state(100 + took_s, tasks=[IMPORT], builds=builds)
    finding = long_index_build(history(), now)
    assert (finding is not None) == (found is not None)
    if finding:
        assert finding.evidence["mean_s"] == done_s[0]
        assert (finding.evidence["took_s"], finding.evidence["builds_done"]) == (took_s, 3)


@pytest.mark.parametrize(
    ("waited_s", "others", "found"),
    [
        (19.9, [], None),
        (20, [], ("info", "1 index build of the job waits: none is at work")),
        (
            121,
            [build("0", "Unissued", collection="d"), build("2", "InProgress", "n", "d")],
            (
                "warning",
                "1 index build of the job waits, 1 of other imports before it: 1 runs at once on "
                "1 node, 1 of them for others",
            ),
        ),
        (
            120,
            [build("2", "InProgress", "n", "d"), build("3", "InProgress", "m")],
            (
                "info",
                "1 index build of the job waits: 2 run at once on 2 nodes, 1 of them for others",
            ),
        ),
    ],
)
def test_builds_wait_in_a_queue(waited_s, others, found):
    builds = [(0, HOUR, build("b", "Unissued")), *((0, HOUR, each) for each in others)]
    now = state(waited_s, tasks=[IMPORT], builds=builds, nodes=[NODE])
    assert said(index_queue(history(), now)) == found


@pytest.mark.parametrize(
    ("others", "compactions", "severity"),
    [
        ([], [], "info"),
        ([build("2", "InProgress", "n")], [], "info"),
        ([build("0", "Unissued", collection="d")], [], "warning"),
        ([build("2", "InProgress", "n", "d")], [], "warning"),
        ([], [{"plan_id": "p", "kind": "MixCompaction", "state": "executing"}], "warning"),
    ],
)
def test_any_work_of_others_makes_a_long_queue_a_warning(others, compactions, severity):
    builds = [(0, HOUR, each) for each in (build("b", "Unissued"), *others)]
    tables = {"builds": builds, "compactions": [(0, HOUR, each) for each in compactions]}
    now = state(121, tasks=[IMPORT], nodes=[NODE], **tables)
    assert index_queue(history(), now).severity == severity


def test_a_queue_ends_when_all_before_it_and_its_own_are_built():
    builds = [(0, HOUR, build(name, "Unissued")) for name in "ab"]
    builds += [(0, HOUR, build("c", "Unissued", collection="d"))]
    builds += [(1, HOUR, build(name, "Unissued", collection="d")) for name in "xyz"]
    builds += [(0, HOUR, build(name, "InProgress", "n", "d")) for name in "ef"]
    gauges = [
        (0, HOUR, gauge("indexnode_build_index_latency_sum", 90)),
        (0, HOUR, gauge("indexnode_build_index_latency_count", 3)),
    ]
    finding = index_queue(
        history(), state(200, tasks=[IMPORT], builds=builds, gauges=gauges, nodes=[NODE])
    )
    # Three of 30 s each, two at once.
    assert finding.evidence["work_left_s"] == 45
    assert finding.message.endswith("; one takes 30 s on average, so all take about 45 s")


@pytest.mark.parametrize(
    ("waiting", "running", "text"),
    [
        (0, 0, None),
        (1, 0, "1 index build of its cluster goes on, 0 of them at work"),
        (2, 1, "3 index builds of its cluster go on, 1 of them at work"),
        (None, 1, "1 index build of its cluster goes on, 1 of them at work"),
    ],
)
def test_builds_go_on_after_a_job(waiting, running, text):
    name = "datacoord_index_task_count"
    gauges = [(0, 9, gauge(name, running, index_task_status="in-progress"))]
    if waiting is not None:
        gauges.append((0, 9, gauge(name, waiting, index_task_status="unissued")))
    finding = builds_go_on(history("Completed", 100.0), state(9, gauges=gauges))
    message = text and f"The job has completed, and {text}"
    assert (None if finding is None else finding.message) == message
    assert builds_go_on(history(), state(9, gauges=gauges)) is None


# --- Nodes ----------------------------------------------------------------------------------------


def worked(name, node, began, ended):
    return [
        (began, ended - 1, task(name, "InProgress", node=node)),
        (ended, HOUR, task(name, "Completed", node=node)),
    ]


@pytest.mark.parametrize(
    ("slow_s", "peers_s", "found"),
    [
        (119, [60, 60], None),
        (120, [60, 60], 2.0),
        (59, [20, 20], None),
        (60, [20, 20], 3.0),
        (120, [60], None),
        (150, [40, 60], 3.0),
    ],
)
def test_a_node_is_slower_from_twice_its_peers_and_a_minute_on(slow_s, peers_s, found):
    tasks = [(0, HOUR, task("slow", "InProgress", node="a"))]
    for number, seconds in enumerate(peers_s):
        tasks += worked(f"{number}", "b", 0, seconds)
    nodes = [(0, HOUR, {"node_id": "a", "kind": "datanode", "address": "h:1", "cpu_pct": 70.0,
                        "io_wait_pct": 9.9})]  # fmt: skip
    finding = node_slower(history(), state(slow_s, tasks=tasks, nodes=nodes))
    assert (None if finding is None else finding.evidence["times_peers"]) == found
    if finding:
        assert finding.message.endswith(
            f"Node a (h:1) takes {found:.1f} times as long as its peers for 1 task of the job: "
            "70 % of its cores used"
        )


@pytest.mark.parametrize(
    ("count", "done", "severity"), [(2, False, "info"), (3, False, "warning"), (3, True, "info")]
)
def test_tasks_that_began_again_are_worth_a_warning_if_they_are_three(count, done, severity):
    tasks = []
    for number in range(count):
        tasks += [
            (0, 9, task(f"{number}", "InProgress", node="a")),
            (10, 19, task(f"{number}", "Pending")),
            (20, 99, task(f"{number}", "Completed" if done else "InProgress", node="b")),
        ]
    finding = task_repeated(history(), state(99, tasks=tasks))
    text = f"{count} tasks of the job went back and began again, on nodes a, b"
    assert said(finding) == (severity, text)
    assert finding.evidence == {"tasks": count, "nodes": "a b", "times": count}
    assert finding.since == at(10)
    assert task_repeated(history(), state(9, tasks=tasks)) is None


def test_a_job_of_another_key_finds_nothing_here():
    other = replace(history(), key=("u", "77"))
    assert no_slot(other, waiting_for_slots(300, OTHER)) is None
    assert task_repeated(other, waiting_for_slots(300, OTHER)) is None
