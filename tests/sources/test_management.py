"""The management port, asked over real sockets, with bodies as Milvus' source has them."""

import json
import threading
from pathlib import Path

import pytest
from canned import Canned, says

from importstats.sources import management
from importstats.sources.management import ManagementClient, Outcome
from importstats.sources.management_lists import MOST_SEGMENTS, SETTINGS

RECORDED = Path(__file__).parent / "recorded"

TASKS = [
    {
        "task_id": "450000000000000002",
        "job_id": "450000000000000001",
        "node_id": "11",
        "collection_id": "449999999999999999",
        "state": "InProgress",
        "task_type": "ImportTask",
        "created_time": "2026-05-18T10:00:01+08:00",
    },
    {
        "task_id": "450000000000000003",
        "job_id": "450000000000000001",
        "node_id": "-1",
        "collection_id": "449999999999999999",
        "state": "Completed",
        "task_type": "PreImportTask",
        "created_time": "2026-05-18T09:59:00+08:00",
    },
]
BUILDS = [
    {
        "index_id": "5",
        "collection_id": "449999999999999999",
        "segment_id": "71",
        "build_id": "91",
        "index_state": "Retry",
        "fail_reason": "no space left on device",
        "index_version": "3",
        "create_time": "2026-05-18 10:02:03",
        "node_id": "21",
    },
    {"build_id": "92", "segment_id": "72", "index_state": "Unissued"},
]
COMPACTIONS = [
    {
        "plan_id": "31",
        "collection_id": "449999999999999999",
        "type": "SortCompaction",
        "state": "executing",
        "start_time": "2026-05-18 10:01:00",
        "total_rows": "1000",
        "input_segments": ["61"],
        "result_segments": ["71"],
        "node_id": "11",
    }
]
NODES = {
    "nodes_info": [
        {
            "identifier": 11,
            "connected": None,
            "infos": {
                "name": "datanode11",
                "type": "datanode",
                "id": 11,
                "has_error": False,
                "hardware_infos": {
                    "ip": "10.0.0.4:21124",
                    "cpu_core_count": 8,
                    "cpu_core_usage": 93.5,
                    "memory": 32 * 2**30,
                    "memory_usage": 2**30,
                    "disk": 100,
                    "disk_usage": 2,
                },
                "system_info": {"build_version": "v2.6.4", "deploy_mode": "DISTRIBUTED"},
            },
        }
    ]
}
SECRETS = {
    "minio.secretAccessKey": "CANARY-minio-secret[FileSource]",
    "commonsecuritydefaultrootpassword": "CANARY-root-password[FileSource]",
    "etcdauthpassword": "CANARY-etcd[EnvironmentSource]",
    # Even under a name that is read, a value that is no quantity is not passed on.
    "dataCoord.import.waitForIndex": "CANARY-true[FileSource]",
    "datanodeworkerslotunit": "16[FileSource]",
}


def segment(number, **fields):
    return {
        "segment_id": str(number),
        "collection_id": "449999999999999999",
        "channel": "by-dev-rootcoord-dml_0_449v0",
        "num_of_rows": "500",
        "state": "Flushed",
        "is_importing": True,
        "node_id": 3,
        "level": "L1",
        **fields,
    }


def port(answers):
    """A management port that has these answers, by path without its query."""

    def answer(path, _):
        return answers.get(path.partition("?")[0], says(b"404 page not found\n", 404))

    return Canned(answer)


def client_of(server, **options):
    return ManagementClient(server.uri, **{"token": "", "timeout": 5, **options})


def test_lists_are_read_as_the_server_writes_them():
    answers = {
        "/api/v1/_dc/tasks/import": says(TASKS),
        "/api/v1/_dc/tasks/build_index": says(BUILDS),
        "/api/v1/_dc/tasks/compaction": says(COMPACTIONS),
        "/api/v1/_cluster/info": says(NODES),
    }
    with port(answers) as server, client_of(server) as client:
        tasks, builds = client.tasks().rows, client.builds().rows
        (plan,), (node,) = client.compactions().rows, client.nodes().rows
    running, done = tasks
    assert running["node_id"] == "11"
    assert str(running["create_time"]) == "2026-05-18 02:00:01+00:00"
    assert (done["node_id"], done["complete_time"], done["reason"]) == (None, None, None)
    assert (builds[0]["tries"], builds[0]["reason"]) == (3, "no space left on device")
    assert str(builds[0]["create_time_local"]) == "2026-05-18 10:02:03"
    assert (builds[1]["tries"], builds[1]["node_id"]) == (0, None)
    assert (plan["input_segments"], plan["result_segments"], plan["total_rows"]) == (
        ["61"],
        ["71"],
        1000,
    )
    assert (node["node_id"], node["kind"], node["cpu_pct"]) == ("11", "datanode", 93.5)
    assert (node["server_version"], node["io_wait_pct"]) == ("v2.6.4", None)


def test_segments_are_those_of_imports_and_too_many_are_counted():
    listed = [
        segment(61, state="Dropped"),
        segment(62, is_importing=False, is_indexed=True),
        segment(63, is_importing=False),
        segment(64, is_sorted=True),
    ]
    many = [segment(number) for number in range(1, MOST_SEGMENTS + 2)]
    asked = {"/api/v1/_dc/segments": says(listed)}
    with port(asked) as server, client_of(server) as client:
        few = client.segments("449999999999999999").rows
        asked["/api/v1/_dc/segments"] = says(many)
        (kind,) = client.segments("449999999999999999").rows
        (_, path, *_), *_ = server.requests
    assert path == "/api/v1/_dc/segments?in=dc&collection_id=449999999999999999"
    assert [row["segment_id"] for row in few] == ["63", "64"]
    assert (kind["segment_id"], kind["segments"], kind["rows"]) == (
        None,
        MOST_SEGMENTS + 1,
        500 * (MOST_SEGMENTS + 1),
    )


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (says(b"404 page not found\n", 404), Outcome.NOT_OFFERED),
        (says({"code": 1, "message": "auth"}, 401), Outcome.NEEDS_CREDENTIALS),
        (says(b"", 403), Outcome.HIDDEN),
        (says({"message": "x"}, 500), Outcome.FAILING),
        (says(b"", 503), Outcome.FAILING),
        (says(b"<html>", 200), Outcome.UNREADABLE),
        (says({"a": 1}), Outcome.UNREADABLE),
        (says(b"[" * 100_000), Outcome.UNREADABLE),
        (says(b"x" * 2_000_000), Outcome.UNREADABLE),
        (says(b"null"), Outcome.ANSWERED),
        (says(b""), Outcome.ANSWERED),
        (says([1, None, {"task_id": "-1"}, {"task_id": {}}]), Outcome.ANSWERED),
    ],
    ids=lambda value: value.name if isinstance(value, Outcome) else "",
)
def test_whatever_the_port_does_is_an_outcome(answer, outcome):
    with (
        Canned(lambda *_: answer) as server,
        client_of(server, max_response_bytes=1_000_000) as client,
    ):
        reading = client.tasks()
    assert (reading.outcome, reading.rows) == (outcome, [])
    assert bool(reading.reason) == (outcome is not Outcome.ANSWERED)
    assert "\n" not in reading.reason


def test_a_port_that_is_silent_or_not_there_is_an_outcome():
    waits = threading.Event()

    def never(*_):
        waits.wait(10)
        return says([])

    with Canned(never) as server, client_of(server, timeout=0.3) as client:
        silent = client.tasks()
        waits.set()
    with ManagementClient("http://127.0.0.1:1", token="") as client:
        absent = client.gauges()
    assert (silent.outcome, absent.outcome) == (Outcome.NOT_REACHED, Outcome.NOT_REACHED)
    assert "timed out" in silent.reason


@pytest.mark.parametrize(
    ("token", "sent"),
    [
        ("root:Milvus-secret", "Basic cm9vdDpNaWx2dXMtc2VjcmV0"),
        ("an-api-key-of-ours", "Bearer an-api-key-of-ours"),
        ("", None),
    ],
)
def test_the_token_is_sent_as_each_release_takes_it(token, sent):
    with port({}) as server, client_of(server, token=token) as client:
        client.tasks()
        ((_, _, headers, _),) = server.requests
    assert headers.get("Authorization") == sent
    assert headers["X-Milvus-Admin-Request"] == "true"


def test_only_paths_that_read_are_asked_and_only_with_get():
    with port({}) as server, client_of(server) as client:
        for ask in (
            client.tasks,
            client.builds,
            client.compactions,
            client.nodes,
            client.settings,
            client.gauges,
        ):
            assert ask().outcome is Outcome.NOT_OFFERED
        client.segments("1&x=../management/stop")
        asked = [(method, path.partition("?")) for method, path, *_ in server.requests]
    assert {method for method, _ in asked} == {"GET"}
    assert {path for _, (path, *_) in asked} == set(management.PATHS.values())
    assert asked[-1][1][2] == "in=dc&collection_id=1%26x%3D..%2Fmanagement%2Fstop"
    for harmful in ("alter", "stop", "expr", "log/level", "garbage_collection"):
        assert not any(harmful in path for path in management.PATHS.values())


def test_no_secret_of_the_settings_is_passed_on(caplog):
    caplog.set_level("DEBUG")
    seen = []
    for body in (says(SECRETS), says(SECRETS, 500), says({"message": SECRETS}, 500)):
        with port({"/api/v1/_cluster/configs": body}) as server, client_of(server) as client:
            reading = client.settings()
            seen += [repr(reading), repr(client)]
            if body[0] == 200:
                assert reading.rows == [
                    {"name": "dataNode.workerSlotUnit", "value": "16", "origin": "FileSource"}
                ]
    half = json.dumps(SECRETS).encode()[:120]
    with Canned(lambda *_: says(half)) as server, client_of(server) as client:
        seen.append(repr(client.settings()))
    assert "CANARY" not in "".join(seen) + caplog.text


def test_names_of_settings_differ_once_dots_are_gone():
    assert len({name.replace(".", "").lower() for name in SETTINGS}) == len(SETTINGS)


def test_metrics_of_a_real_server_show_its_queue_of_indexes():
    text = (RECORDED / "milvus-2.3.5-t18s.prom").read_bytes()
    with port({"/metrics": says(text)}) as server, client_of(server) as client:
        rows = client.gauges().rows
    by_state = {
        row["labels"]["index_task_status"]: row["value"]
        for row in rows
        if row["name"] == "datacoord_index_task_count"
    }
    assert by_state == {"unissued": 7, "in-progress": 1, "finished": 2, "failed": 0}
    value = {row["name"]: row["value"] for row in rows}
    assert value["indexnode_build_index_latency_count"] == 3
    assert 14 < value["indexnode_build_index_latency_sum"] < 15
    assert not any("bucket" in row["name"] for row in rows)


@pytest.mark.parametrize(
    "text",
    [
        b"milvus_datanode_slot{node_id=1 3\n",
        b'milvus_datanode_slot{a="1"} many\n',
        b'milvus_datanode_slot{a="1"} 1\n' * 20_001,
    ],
)
def test_metrics_that_make_no_sense_are_an_outcome(text):
    with port({"/metrics": says(text)}) as server, client_of(server) as client:
        assert client.gauges().outcome is Outcome.UNREADABLE


def test_unknown_fields_are_kept_and_named():
    listed = [{**TASKS[0], "slots": 4, "priority": {"of": 1}}]
    with port({"/api/v1/_dc/tasks/import": says(listed)}) as server, client_of(server) as client:
        reading = client.tasks()
    assert reading.unknown == ("priority", "slots")
    assert reading.rows[0]["extra"] == {"slots": 4, "priority": {"of": 1}}
