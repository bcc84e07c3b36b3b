"""Delivery: every event arrives, whatever dies on the way, and no secret with it."""

import itertools
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from receiving import (
    EVENT,
    Receiver,
    collect,
    collect_and_send,
    entries,
    free_port,
    notifier,
    send_again,
    wait_until,
)

from importstats.collect.outbox import Outbox
from importstats.collect.targets import Command, DeliveryError, Webhook, parse_targets
from importstats.errors import ImportStatsError

SECRETS = ("hunter2", "s3cret-query", "t0ken-of-the-server")


def test_a_webhook_gets_each_event_of_a_collected_job_once_with_its_id(store, server):
    with Receiver() as receiver:
        collect_and_send(server, store, [receiver.url])
        assert sorted(receiver.accepted()) == ["finished", "started"]
        for _, event, headers, path in receiver.received:
            assert headers["Idempotency-Key"] == event["id"]
            assert headers["Content-Type"] == "application/json"
            assert event["job_id"] == server.job_ids[0]
            assert event["source_uri"] == server.uri
            assert event["text"].startswith(f"importstats: job {event['job_id']} ")
            assert path == "/hook"
        # A second run over the same store has nothing new to send.
        collect_and_send(server, store, [receiver.url])
        assert len(receiver.received) == 2
    assert entries(store, "pending") == {}
    assert {entry["event"]["event"] for entry in entries(store, "delivered").values()} == {
        "started",
        "finished",
    }


def test_a_command_gets_the_event_as_json_and_in_its_environment_and_no_token(
    tmp_path, monkeypatch
):
    for name in ("MILVUS_TOKEN", "ZILLIZ_CLOUD_API_KEY"):
        monkeypatch.setenv(name, "t0ken-of-the-server")
    monkeypatch.setenv("MILVUS_URI", "http://root:t0ken-of-the-server@localhost:19530")
    script = tmp_path / "deliver.py"
    script.write_text(
        "import json, os, sys\n"
        "with open(sys.argv[1], 'w') as file:\n"
        "    json.dump([sys.argv[1:], json.load(sys.stdin), dict(os.environ)], file)"
    )
    # No shell: these are words like any other.
    words = ["$HOME", "a;b", "two words"]
    quoted = " ".join(f"'{word}'" for word in words)
    Command(f"{sys.executable} {script} {tmp_path}/given.json {quoted}").deliver(EVENT)
    arguments, event, environment = json.loads((tmp_path / "given.json").read_text())
    assert arguments[1:] == words
    assert event == EVENT
    given = {name: value for name, value in environment.items() if name.startswith("IMPORTSTATS_")}
    assert given == {
        "IMPORTSTATS_EVENT": "finished",
        "IMPORTSTATS_EVENT_ID": EVENT["id"],
        "IMPORTSTATS_JOB_ID": "7",
        "IMPORTSTATS_COLLECTION": "products",
        "IMPORTSTATS_SOURCE_URI": "http://localhost:19530",
        "IMPORTSTATS_PHASE": "Completed",
        "IMPORTSTATS_MESSAGE": "900 rows imported",
    }
    assert "t0ken" not in json.dumps(environment)


def test_a_command_that_fails_hangs_or_is_not_there_is_not_taken_for_delivered(tmp_path):
    with pytest.raises(DeliveryError, match=r"exit code 3: no luck$"):
        Command("sh -c 'echo no luck >&2; exit 3'").deliver(EVENT)
    with pytest.raises(DeliveryError, match="No such file"):
        Command(str(tmp_path / "missing")).deliver(EVENT)
    marker = tmp_path / "alive"
    with pytest.raises(DeliveryError, match=r"killed after 0\.3 s"):
        Command(f"sh -c '(sleep 2; touch {marker}) & wait'", timeout=0.3).deliver(EVENT)
    time.sleep(2.5)
    assert not marker.exists(), "its children were killed with it"


def test_a_command_may_leave_something_running_and_its_input_unread():
    Command("sh -c 'sleep 30 &'", timeout=20).deliver({**EVENT, "message": "x" * 300_000})


def test_a_failed_delivery_is_tried_again_and_one_refused_event_holds_up_no_other(
    store, server, monkeypatch
):
    monkeypatch.setattr("importstats.collect.notifier._FIRST_PAUSE_S", 0.01)
    codes = [500, 429, 410, 503]
    refusals = itertools.cycle(codes)

    def answer(event):
        refused = [status for status, *_ in receiver.received if status >= 300]
        is_enough = len(refused) >= len(codes) and "finished" in receiver.accepted()
        return 204 if event["event"] != "started" or is_enough else next(refusals)

    with Receiver(answer) as receiver:
        with notifier(store, server.uri, [receiver.url]) as events:
            collect(server, store, events)
            wait_until(lambda: len(receiver.accepted()) == 2)
        assert receiver.accepted() == ["finished", "started"]
        refused = [status for status, *_ in receiver.received if status >= 300]
        assert refused[: len(codes)] == codes
    assert entries(store, "pending") == {}


def test_a_receiver_that_hangs_does_not_hold_up_collecting_and_gets_its_events_next_time(
    store, server
):
    release = threading.Event()
    with Receiver(lambda event: release.wait(60) and 503) as receiver:
        with notifier(store, server.uri, [receiver.url], grace_s=0.5) as events:
            collect(server, store, events)
            # The whole job was collected while the receiver had not answered once.
            assert receiver.received == []
            wait_until(lambda: len(entries(store, "pending")) == 2)
        release.set()
    with Receiver(port=receiver.port) as receiver:
        send_again(server, store, [receiver.url])
        assert sorted(receiver.accepted()) == ["finished", "started"]
    assert entries(store, "pending") == {}


def test_what_was_stored_but_not_sent_before_a_crash_is_sent_after_it(store, server):
    # The first process gets as far as noting that events are wanted.
    Outbox(store, server.uri, []).asked_since()
    collect(server, store)
    with Receiver() as receiver:
        send_again(server, store, [receiver.url])
        assert sorted(receiver.accepted()) == ["finished", "started"]


def test_events_of_an_old_store_leave_out_its_history(store, server):
    collect(server, store)
    with Receiver() as receiver:
        send_again(server, store, [receiver.url])
        assert receiver.received == []


def test_what_comes_before_the_first_look_of_the_notifier_is_sent(store, server):
    with Receiver() as receiver:
        events = notifier(store, server.uri, [receiver.url])
        collect(server, store)
        with events:
            pass
        assert sorted(receiver.accepted()) == ["finished", "started"]


def test_of_two_targets_only_the_one_that_failed_is_tried_again(store, server, tmp_path):
    log = tmp_path / "log"
    command = f"exec:sh -c 'cat >> {log}; echo >> {log}'"
    dead = f"http://localhost:{free_port()}/hook"
    collect_and_send(server, store, [command, dead], grace_s=5)
    sent = [json.loads(line)["event"] for line in log.read_text().splitlines()]
    assert sorted(sent) == ["finished", "started"]
    assert len(entries(store, "pending")) == 2
    with Receiver(port=int(dead.split(":")[2].split("/")[0])) as receiver:
        send_again(server, store, [command, dead])
        assert sorted(receiver.accepted()) == ["finished", "started"]
    assert len(log.read_text().splitlines()) == 2
    assert entries(store, "pending") == {}
    for entry in entries(store, "delivered").values():
        assert len(entry["delivered_to"]) == 2


def test_a_killed_collector_has_written_the_event_down_and_the_next_one_delivers_it(store, server):
    """SIGKILL arrives when the event is on its way: written down, and not yet delivered."""
    process = None

    def die(event):
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        return 204

    command = [sys.executable, "-m", "importstats", "collect", "--uri", server.uri]
    command += ["--store", store.uri, "--min-interval", "0.05", "--max-interval", "0.1"]
    with Receiver(die) as receiver:
        command += ["--on-event", receiver.url]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        assert process.wait(100) == -signal.SIGKILL
        wait_until(lambda: receiver.received)
    [(_, first, *_)] = receiver.received
    assert first["event"] == "started"
    assert list(entries(store, "pending")) == [first["id"]]
    server.advance(600)
    with Receiver(port=receiver.port) as receiver:
        subprocess.run(command, check=True, timeout=100)
        sent = [event for _, event, *_ in receiver.received]
    assert [event["event"] for event in sent] == ["started", "finished"]
    assert sent[0] == first
    assert entries(store, "pending") == {}


def test_tls_certificates_are_verified(tmp_path, monkeypatch):
    pem = tmp_path / "pair.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", tmp_path / "key.pem", "-out", tmp_path / "certificate.pem"),
        ],
        check=True,
        capture_output=True,
    )
    certificate = (tmp_path / "certificate.pem").read_text()
    pem.write_text(certificate + (tmp_path / "key.pem").read_text())
    with Receiver(certificate=pem) as receiver:
        webhook = Webhook(f"{receiver.url}?key=s3cret-query")
        with pytest.raises(DeliveryError, match="certificate verify failed") as refused:
            webhook.deliver(EVENT)
        assert "s3cret" not in str(refused.value)
        assert receiver.received == []
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "certificate.pem"))
        webhook.deliver(EVENT)
        assert receiver.accepted() == ["finished"]


def test_secrets_reach_the_receiver_and_neither_log_nor_disk(store, server, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    with Receiver(lambda event: 500 if event["event"] == "started" else 204) as receiver:
        target = receiver.url.replace("://", "://user:hunter2@") + "?token=s3cret-query"
        dead = f"http://user:hunter2@localhost:{free_port()}/hook?token=s3cret-query"
        collect_and_send(server, store, [target, dead], grace_s=5)
        _, _, headers, path = receiver.received[0]
    assert path == "/hook?token=s3cret-query"
    assert headers["Authorization"] == "Basic dXNlcjpodW50ZXIy"
    # urllib3 prints the paths of requests at DEBUG; ours is the logger that must not.
    ours = [record.getMessage() for record in caplog.records if "importstats" in record.name]
    assert any("HTTP 500" in line for line in ours)
    assert any("Connection refused" in line for line in ours)
    written = b"".join(file.read_bytes() for file in Path(store.uri).rglob("*") if file.is_file())
    for secret in SECRETS:
        assert secret not in "\n".join(ours)
        assert secret.encode() not in written
    out, err = capfd.readouterr()
    assert "hunter2" not in out + err


def test_a_redirect_is_not_followed():
    with Receiver() as other, Receiver(lambda event: 307, redirect_to=other.url) as receiver:
        webhook = Webhook(receiver.url)
        with pytest.raises(DeliveryError, match="HTTP 307"):
            webhook.deliver(EVENT)
        assert other.received == []


@pytest.mark.parametrize(
    "text",
    [
        "hunter2",
        "ftp://user:hunter2@host/",
        "https://",
        "https://user:hunter2@host:port/",
        "exec:",
        "exec:echo 'hunter2",
        "file:/nowhere/hunter",
    ],
)
def test_a_target_that_is_none_is_refused_without_repeating_it(text):
    with pytest.raises(ImportStatsError) as refused:
        parse_targets([text])
    assert "hunter2" not in str(refused.value)


def test_targets_from_a_file_one_a_line_and_each_once(tmp_path):
    path = tmp_path / "targets"
    path.write_text("# where to\nhttps://hooks.example/a?key=1\n\n  exec:true --now\n")
    targets = parse_targets([f"file:{path}", "https://hooks.example/a?key=2"])
    assert [target.name.split("#")[0] for target in targets] == [
        "https://hooks.example",
        "exec:true",
    ]
