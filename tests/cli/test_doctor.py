"""The doctor names the first thing wrong, over a real socket, and shows no secret."""

import json
from email.utils import formatdate

import pytest
import warm
from canned import Canned, says

from importstats.collect.doctor import examine
from importstats.sources.rest import ImportClient
from importstats.store import SnapshotStore

TOKEN = "root:canary-7f3a-9c1e"
NAMES = ["address", "TLS", "server", "token", "databases", "privilege", "describe"]
NAMES += ["clock", "store", "disk", "retention"]


def healthy(path, body):
    if path.endswith("/databases/list"):
        return says({"code": 0, "data": ["default", "sales"]})
    if path.endswith("/list"):
        return says({"code": 0, "data": {"records": [{"jobId": "7", "state": "Importing"}]}})
    data = {"jobId": "7", "state": "Importing", "createTime": "2026-05-18T08:00:00Z"}
    return says({"code": 0, "data": data})


def run(uri, store, *options):
    return warm.run("doctor", "-u", uri, "-s", store, *options, MILVUS_TOKEN=TOKEN)


def outcomes(done):
    return {line.split()[1]: line.split()[0] for line in done.stdout.splitlines()}


def test_all_is_well(tmp_path):
    with Canned(healthy) as server:
        done = run(server.uri, tmp_path / "s")
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    free = lines.pop(9)
    assert free.startswith("ok       disk       ")
    assert lines == [
        f"ok       address    {server.uri} answers",
        "ok       TLS        none; the host is local or private, or no token is sent",
        "ok       server     Milvus, release >=2.6.5",
        "ok       token      accepted",
        "ok       databases  the user sees default, sales; asked: default",
        "ok       privilege  1 job listed",
        "ok       describe   job 7 is Importing",
        "ok       clock      the server's clock agrees with that of this machine",
        f"ok       store      {tmp_path / 's'} can be written",
        "ok       retention  a poll every 1 min; a server forgets a job 3 h after its end by "
        "default",
    ]
    assert done.returncode == 0
    assert not (tmp_path / "s").exists(), "the store is as it was"


def of_path(ending, answer):
    return lambda path, body: answer if path.endswith(ending) else healthy(path, body)


LOGIN = says(b"<!DOCTYPE html><title>Sign in</title>")
SICK = {
    "a page": (lambda *_: LOGIN, "server", 7, "a login page or a proxy stands in between"),
    "no API": (lambda *_: says(b"404 page not found", 404), "server", 7, "give the URI of"),
    "a refused token": (
        lambda *_: says({"code": 1800, "message": f"who is {TOKEN}"}, 401),
        "token",
        4,
        "set MILVUS_TOKEN",
    ),
    "no privilege": (
        of_path("import/list", says({"code": 1401, "message": "not permitted"}, 403)),
        "privilege",
        4,
        "have the privilege Import granted",
    ),
    "a job that does not answer": (
        of_path("/describe", says({"code": 5, "message": "broken"})),
        "describe",
        7,
        "broken",
    ),
}


@pytest.mark.parametrize("kind", SICK)
def test_the_first_thing_wrong_is_named_with_its_fix(kind, tmp_path):
    answer, name, code, says_what = SICK[kind]
    with Canned(answer) as server:
        done = run(server.uri, tmp_path / "s", "--timeout", "5")
    assert done.returncode == code, done.stdout
    [line] = [line for line in done.stdout.splitlines() if line.startswith("failed")]
    assert line.split()[1] == name
    assert says_what in line
    assert list(outcomes(done)) == NAMES
    assert "canary" not in done.stdout + done.stderr


def test_a_server_that_is_not_there(tmp_path):
    done = run("http://127.0.0.1:1", tmp_path / "s", "--timeout", "1")
    assert done.returncode == 3
    found = outcomes(done)
    assert found["address"] == "failed"
    assert {found[name] for name in NAMES[1:8]} == {"skipped"}
    assert found["store"] == "ok"


def test_a_database_that_the_user_cannot_see(tmp_path):
    with Canned(healthy) as server:
        done = run(server.uri, tmp_path / "s", "--db", "ads")
    assert done.returncode == 7
    assert "failed   databases  the user cannot see database ads; it sees default" in done.stdout


def test_an_empty_list_may_be_a_missing_privilege(tmp_path):
    answer = of_path("import/list", says({"code": 0, "data": {"records": []}}))
    with Canned(answer) as server:
        done = run(server.uri, tmp_path / "s", "--poll-interval", "7200")
    found = outcomes(done)
    assert (found["privilege"], found["describe"], found["retention"]) == (
        "warning",
        "skipped",
        "warning",
    )
    assert done.returncode == 0


def test_a_store_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with Canned(healthy) as server:
        done = run(server.uri, tmp_path / "file" / "s")
    assert done.returncode == 6
    assert outcomes(done)["store"] == "failed"


def test_a_clock_that_differs(tmp_path, monkeypatch):
    with Canned(healthy) as server, ImportClient(server.uri, retries=0) as client:
        monkeypatch.setattr(
            server.RequestHandlerClass, "date_time_string", lambda _: formatdate(0, usegmt=True)
        )
        store = SnapshotStore(tmp_path / "s")
        checks = examine(client, store, poll_s=60, has_token=False)
    [clock] = [check for check in checks if check.name == "clock"]
    assert clock.outcome == "warning"
    assert "behind that of this machine" in clock.said


def test_json_for_programs(tmp_path):
    with Canned(healthy) as server:
        done = run(server.uri, tmp_path / "s", "--json")
    report = json.loads(done.stdout)
    assert report["format"] == "importstats.doctor/1"
    assert [check["check"] for check in report["checks"]] == NAMES
