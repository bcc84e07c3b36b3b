"""No secret reaches a disk, a log, an output, an error or another host."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import subprocess
import sys
import threading
import time
import traceback
import urllib.request
from pathlib import Path

import pytest
from canned import Canned, says
from guarded import CANARY, FINE, client_of, hostile_answer, run

import importstats
from importstats.collect.collector import Collector
from importstats.collect.notifier import Notifier
from importstats.errors import (
    ImportStatsError,
    UnauthorizedError,
)
from importstats.sources.answers import parse_job_page, parse_response
from importstats.sources.messages import ImportJobRecord
from importstats.sources.rest import ImportClient
from importstats.store import SnapshotStore
from importstats.store.frames import load_details, load_jobs


def test_without_a_token_none_is_taken_from_netrc(monkeypatch, tmp_path):
    (tmp_path / ".netrc").write_text(f"machine 127.0.0.1 login root password {CANARY}\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    with Canned(says(FINE)) as server, client_of(server.uri, token=None) as client:
        client.describe("7")
    [(_, _, headers, _)] = server.requests
    assert "Authorization" not in headers


# --- Secrets --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "sent"),
    [
        (f"{CANARY}\n", CANARY),
        (f" {CANARY}\r\n", CANARY),
        ("root:p\u00e4ss\u8cc7", "root:p\u00e4ss\u8cc7"),
        ("root:with space", "root:with space"),
    ],
)
def test_a_token_arrives_as_it_is_meant(token, sent):
    with Canned(says(FINE)) as server, client_of(server.uri, token=token) as client:
        client.describe("7")
    [(_, _, headers, _)] = server.requests
    assert headers["Authorization"].encode("latin-1").decode() == f"Bearer {sent}"


@pytest.mark.parametrize("bad", ["root:ca nary\nx", "ca nary\x00", "ca nary\x1b[2J", "ca\rnary"])
@pytest.mark.parametrize("what", ["token", "db_name"])
def test_what_no_header_can_hold_is_refused_and_not_repeated(what, bad):
    with pytest.raises(ImportStatsError, match="control characters") as caught:
        ImportClient("http://127.0.0.1:1", **{what: bad})
    assert "nary" not in str(caught.value)


def test_a_database_of_any_script_is_sent():
    with Canned(says(FINE)) as server, client_of(server.uri, db_name="\u8cc7\u6599") as client:
        client.snapshot("7")
    [(_, _, headers, body)] = server.requests
    assert headers["DB-Name"].encode("latin-1").decode() == "\u8cc7\u6599"
    assert json.loads(body)["dbName"] == "\u8cc7\u6599"


ECHOES = {
    "message": says({"code": 5, "message": f"no key {CANARY}"}),
    "refusal": says({"code": 1800, "message": f"bad {CANARY}"}),
    "unauthorized": says(f"who is {CANARY}?".encode(), 401),
    "server error": says(f"<html>{CANARY}</html>".encode(), 500),
    "not found": says(f"no {CANARY} here".encode(), 404),
    "no JSON": says(f"{CANARY} is no JSON".encode()),
    "location": says(b"", 302, Location=f"/login/{CANARY}"),
    "a closed port": None,
}


@pytest.mark.parametrize("kind", ECHOES)
def test_no_error_shows_the_token_that_a_server_repeats(kind):
    with Canned(ECHOES[kind] or says(FINE)) as server:
        uri = server.uri if ECHOES[kind] else "http://127.0.0.1:1"
        with client_of(uri) as client, pytest.raises(ImportStatsError) as caught:
            client.describe("7")
    error = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert CANARY not in "".join(error.format())
    assert CANARY not in repr(vars(caught.value))


def test_no_secret_reaches_disk_log_output_metrics_or_the_process_list(tmp_path):
    """A server that repeats the token wherever it can, and everything that is written of it."""
    name = f"it is {CANARY}"
    ends = threading.Event()

    def answer(path, body):
        if path.endswith("/list"):
            return says({"code": 0, "data": {"records": [{"jobId": "7", "reason": name}]}})
        answered = hostile_answer(name, "7")
        answered["data"]["state"] = "Failed" if ends.is_set() else "Importing"
        return says(answered)

    token_file = tmp_path / "secret" / "token"
    token_file.parent.mkdir()
    token_file.write_text(CANARY + "\n")
    written = tmp_path / "written"
    written.mkdir()
    with Canned(answer) as server, contextlib.ExitStack() as stack:
        with_credentials = server.uri.replace("//", f"//{CANARY}@")
        processes = []
        for number, (options, environment) in enumerate(
            [
                (("-u", server.uri, "--token-file", token_file), {}),
                (("-u", server.uri), {"MILVUS_TOKEN": CANARY}),
                (("-u", server.uri), {"ZILLIZ_CLOUD_API_KEY": CANARY}),
                ((), {"MILVUS_URI": with_credentials}),
            ]
        ):
            log = stack.enter_context((written / f"log-{number}").open("w"))
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "importstats", "collect", "7"),
                    *("-s", str(written / "store"), "--metrics-port", "0"),
                    *("--min-interval", "0.3", "--max-interval", "0.6"),
                    *("--on-event", "exec:true", *map(str, options)),
                ],
                stdout=log,
                stderr=log,
                env={**os.environ, **environment},
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            processes.append(process)
        for number in range(len(processes)):
            url = wait_for(written / f"log-{number}", r"url=(\S+)")
            wait_for(written / f"log-{number}", r" saved ")
            metrics = urllib.request.urlopen(url, timeout=120).read()
            (written / f"metrics-{number}").write_bytes(metrics)
        commands = [
            path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if readable(path)
        ]
        assert CANARY.encode() not in b"".join(commands)
        ends.set()
        assert [process.wait(60) for process in processes] == [8, 8, 8, 8]
        assert {headers["Authorization"] for _, _, headers, _ in server.requests} == {
            f"Bearer {CANARY}"
        }
        (written / "jobs").write_bytes(run("jobs", MILVUS_URI=with_credentials).stdout)
    for form in ("html", "md", "json"):
        done = run("report", "7", "-s", written / "store", "-o", written / f"report.{form}")
        assert done.returncode == 0, done.stderr
    (written / "summary").write_bytes(run("summary", written / "store").stdout)
    assert load_jobs(written / "store")["reason"].eq("it is ***").all()
    for path in filter(Path.is_file, written.rglob("*")):
        assert b"canary" not in path.read_bytes(), path
    # Parquet is compressed, so its content is looked at once more as rows.
    for frame in load_jobs(written / "store", gaps=True), load_details(written / "store"):
        assert "canary" not in frame.to_csv()


def readable(path):
    with contextlib.suppress(OSError):
        path.read_bytes()
        return True
    return False


def wait_for(log, pattern):
    deadline = time.monotonic() + 60
    while not (match := re.search(pattern, log.read_text())):
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    return match[match.re.groups]


def test_no_public_object_shows_the_token(monkeypatch, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("MILVUS_TOKEN", CANARY)
    store = SnapshotStore(tmp_path / "s")
    with Canned(says(FINE)) as server, ImportClient(server.uri) as client:
        snapshot = client.snapshot("7")
        store.append(snapshot)
        collector = Collector(client, store, jobs=["7"])
        with Notifier(store, client.uri, ["exec:true"]) as notifier:
            objects = [client, snapshot, snapshot.response, store, collector, notifier]
            objects += [importstats.ImportJob(load_jobs(store)), *collector.run().values()]
            shown = [repr(each) + str(each) for each in objects]
            shown += [repr(vars(each)) for each in objects if hasattr(each, "__dict__")]
    assert "canary" not in "".join(shown)
    assert "canary" not in caplog.text


def test_a_refused_token_is_not_in_the_error_of_the_command_line(tmp_path):
    with Canned(says({"code": 1800, "message": f"bad {CANARY}"})) as server:
        done = run("snapshot", "7", "-u", server.uri, "-s", tmp_path / "s", MILVUS_TOKEN=CANARY)
    assert done.returncode == 4
    assert b"canary" not in done.stderr + done.stdout
    with pytest.raises(UnauthorizedError):
        parse_response({"code": 1800, "message": "x"})


def test_records_hold_no_half_characters():
    [record] = parse_job_page('{"code":0,"data":[{"jobId":"\\ud800","\\ud801":"\\ud802"}]}').records
    assert isinstance(record, ImportJobRecord)
    assert record.job_id == "\ufffd"
