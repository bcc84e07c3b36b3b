"""Delivery: every event arrives, whatever dies on the way, and no secret with it."""

import http.server
import itertools
import json
import logging
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from importstats.collect.collector import Collector, PollPolicy
from importstats.collect.notifier import Notifier
from importstats.collect.outbox import Outbox
from importstats.collect.targets import Command, DeliveryError, Webhook, parse_targets
from importstats.errors import ImportStatsError
from importstats.simulator import SimulatorServer, make_shape
from importstats.sources.rest import ImportClient
from importstats.store import SnapshotStore

QUICK = PollPolicy(min_s=0.01, max_s=0.05)
SECRETS = ("hunter2", "s3cret-query", "t0ken-of-the-server")
EVENT = {
    "id": "finished-0123456789abcdef",
    "text": "importstats: job 7 finished",
    "event": "finished",
    "source_uri": "http://localhost:19530",
    "job_id": "7",
    "collection_name": "products",
    "phase": "Completed",
    "message": "900 rows imported",
}


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers a POST as its server's receiver says."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        receiver = self.server.receiver
        status = receiver.answer(event)
        receiver.received.append((status, event, self.headers, self.path))
        self.send_response(status)
        self.send_header("Location", receiver.redirect_to)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Receiver:
    """A webhook on loopback. `answer` makes an HTTP status of each event, or blocks, or kills."""

    def __init__(self, answer=lambda event: 204, port=0, certificate=None, redirect_to=""):
        self.received = []
        self.answer = answer
        self.redirect_to = redirect_to
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.receiver = self
        self.scheme = "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
            self.server.handle_error = lambda *_: None
            self.scheme = "https"
        self.port = self.server.server_port
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    @property
    def url(self):
        return f"{self.scheme}://localhost:{self.port}/hook"

    def accepted(self):
        return [event["event"] for status, event, *_ in self.received if status < 300]


def free_port():
    with Receiver() as receiver:
        return receiver.port


def wait_until(condition, timeout=60):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


@pytest.fixture
def store(tmp_path):
    return SnapshotStore(tmp_path / "store")


@pytest.fixture
def server():
    """A server with one job, at work; its clock is moved by hand."""
    cluster, job = make_shape("small_and_quick", seed=4)
    with SimulatorServer(cluster, [job], acceleration=0) as server:
        server.advance(4)
        yield server


def notifier(store, uri, targets, **options):
    return Notifier(store, uri, targets, **{"look_s": 0.01, "grace_s": 60, **options})


def collect(server, store, events=None):
    """Collect the server's job to its end, which comes after three snapshots of it at work."""

    def on_saved(job):
        if job.snapshots == 3:
            server.advance(600)
        if events is not None:
            events.notice(job)

    with ImportClient(server.uri, retries=0) as client:
        collector = Collector(client, store, jobs=server.job_ids, policy=QUICK, on_saved=on_saved)
        [job] = collector.run().values()
    assert job.state == "Completed"


def collect_and_tell(server, store, targets, **options):
    with notifier(store, server.uri, targets, **options) as events:
        collect(server, store, events)


def tell(server, store, targets):
    """What a process does that finds the job already collected."""
    with notifier(store, server.uri, targets):
        pass


def entries(store, folder):
    files = Path(store.uri, "_events", folder).glob("*.json")
    return {file.stem: json.loads(file.read_text()) for file in files}


def test_a_webhook_gets_each_event_of_a_collected_job_once_with_its_id(store, server):
    with Receiver() as receiver:
        collect_and_tell(server, store, [receiver.url])
        assert sorted(receiver.accepted()) == ["finished", "started"]
        for _, event, headers, path in receiver.received:
            assert headers["Idempotency-Key"] == event["id"]
            assert headers["Content-Type"] == "application/json"
            assert event["job_id"] == server.job_ids[0]
            assert event["source_uri"] == server.uri
            assert event["text"].startswith(f"importstats: job {event['job_id']} ")
            assert path == "/hook"
        # A second run over the same store has nothing new to tell.
        collect_and_tell(server, store, [receiver.url])
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
    script = tmp_path / "tell.py"
    script.write_text(
        "import json, os, sys\n"
        "with open(sys.argv[1], 'w') as file:\n"
        "    json.dump([sys.argv[1:], json.load(sys.stdin), dict(os.environ)], file)"
    )
    # No shell: these are words like any other.
    words = ["$HOME", "a;b", "two words"]
    quoted = " ".join(f"'{word}'" for word in words)
    Command(f"{sys.executable} {script} {tmp_path}/told.json {quoted}").deliver(EVENT)
    arguments, event, environment = json.loads((tmp_path / "told.json").read_text())
    assert arguments[1:] == words
    assert event == EVENT
    told = {name: value for name, value in environment.items() if name.startswith("IMPORTSTATS_")}
    assert told == {
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
    refusals = itertools.cycle([500, 429, 410, 503])

    def answer(event):
        is_refused = event["event"] == "started" and "finished" not in receiver.accepted()
        return next(refusals) if is_refused else 204

    with Receiver(answer) as receiver:
        with notifier(store, server.uri, [receiver.url]) as events:
            collect(server, store, events)
            wait_until(lambda: len(receiver.accepted()) == 2)
        assert receiver.accepted() == ["finished", "started"]
        assert receiver.received[0][0] == 500
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
        tell(server, store, [receiver.url])
        assert sorted(receiver.accepted()) == ["finished", "started"]
    assert entries(store, "pending") == {}


def test_what_was_stored_but_not_told_before_a_crash_is_told_after_it(store, server):
    # The first process gets as far as noting that events are wanted.
    Outbox(store, server.uri, []).asked_since()
    collect(server, store)
    with Receiver() as receiver:
        tell(server, store, [receiver.url])
        assert sorted(receiver.accepted()) == ["finished", "started"]


def test_who_asks_for_events_of_an_old_store_is_not_told_its_history(store, server):
    collect(server, store)
    with Receiver() as receiver:
        tell(server, store, [receiver.url])
        assert receiver.received == []


def test_what_comes_before_the_notifier_has_got_to_its_first_look_is_told(store, server):
    with Receiver() as receiver:
        events = notifier(store, server.uri, [receiver.url])
        collect(server, store)
        with events:
            pass
        assert sorted(receiver.accepted()) == ["finished", "started"]


def test_of_two_targets_only_the_one_that_failed_is_told_again(store, server, tmp_path):
    log = tmp_path / "log"
    command = f"exec:sh -c 'cat >> {log}; echo >> {log}'"
    dead = f"http://localhost:{free_port()}/hook"
    collect_and_tell(server, store, [command, dead], grace_s=5)
    told = [json.loads(line)["event"] for line in log.read_text().splitlines()]
    assert sorted(told) == ["finished", "started"]
    assert len(entries(store, "pending")) == 2
    with Receiver(port=int(dead.split(":")[2].split("/")[0])) as receiver:
        tell(server, store, [command, dead])
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
        told = [event for _, event, *_ in receiver.received]
    assert [event["event"] for event in told] == ["started", "finished"]
    assert told[0] == first
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
        collect_and_tell(server, store, [target, dead], grace_s=5)
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


def test_a_damaged_file_in_the_outbox_is_left_out_and_the_others_are_delivered(store, server):
    outbox = Outbox(store, server.uri, ["x"])
    outbox.add({**EVENT, "source_uri": server.uri})
    for name, content in (("a", "{"), ("b", "[1]"), ("c", '{"event": 7}')):
        Path(store.uri, "_events", "pending", f"{name}.json").write_text(content)
    with Receiver() as receiver:
        tell(server, store, [receiver.url])
        assert receiver.accepted() == ["finished"]


def test_another_servers_events_are_left_to_its_own_collector(store):
    Outbox(store, "http://other:19530", ["x"]).add({**EVENT, "source_uri": "http://other:19530"})
    with Receiver() as receiver:
        with notifier(store, "http://localhost:19530", [receiver.url]):
            pass
        assert receiver.received == []
    assert list(entries(store, "pending")) == [EVENT["id"]]


def test_an_event_is_written_down_once_however_often_it_is_found(store):
    for outbox in (Outbox(store, "u", ["x"]), Outbox(store, "u", ["x"])):
        outbox.add(EVENT)
        assert not outbox.add(EVENT)
    assert len(entries(store, "pending")) == 1
    outbox.acknowledge(EVENT["id"], "x")
    assert not Outbox(store, "u", ["x"]).add(EVENT)
    assert entries(store, "pending") == {}


def test_a_store_that_cannot_be_written_is_logged_and_does_not_end_the_notifier(
    tmp_path, server, caplog
):
    (tmp_path / "file").write_text("not a folder")
    broken = SnapshotStore(tmp_path / "file" / "store")
    with notifier(broken, server.uri, ["exec:true"], grace_s=5):
        pass
    assert "cannot look for events" in caplog.text


def test_the_outbox_is_in_the_bucket_if_the_store_is(server, monkeypatch):
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    s3 = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    s3.start()
    host, port = s3.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1")
    client.create_bucket(Bucket="imports")

    def names(folder):
        found = client.list_objects_v2(Bucket="imports", Prefix=f"store/_events/{folder}/")
        files = [item["Key"].rpartition("/")[2] for item in found.get("Contents", [])]
        return sorted(name.partition("-")[0] for name in files if name)

    store = SnapshotStore("s3://imports/store")
    collect_and_tell(server, store, [f"http://localhost:{free_port()}/hook"], grace_s=5)
    assert names("pending") == ["finished", "started"]
    with Receiver() as receiver:
        tell(server, store, [receiver.url])
        assert sorted(receiver.accepted()) == ["finished", "started"]
    assert names("delivered") == ["finished", "started"]
    assert names("pending") == []
    s3.stop()


ODD_ENTRIES = {
    "no JSON": "{",
    "a list": "[]",
    "no event": '{"delivered_to": []}',
    "an older event": '{"event": {"id": "old-1", "event": "late", "source_uri": "SERVER"}}',
    "no number of targets": '{"event": EVENT, "delivered_to": 5}',
    "no names of targets": '{"event": EVENT, "delivered_to": [5]}',
    "an id that leads elsewhere": '{"event": {"id": "../x", "event": "e", "job_id": "7"}}',
    "an id that is none": '{"event": {"id": 7, "event": "late", "source_uri": "SERVER"}}',
    "another file's event": '{"event": EVENT}',
    "deep": '{"event": ' + "[" * 5000 + "]" * 5000 + "}",
    "no text": '{"event": {"id": "\\ud800"}}',
}


@pytest.mark.parametrize("kind", ODD_ENTRIES)
def test_what_is_no_event_is_set_aside_counted_and_stops_no_delivery(kind, store, server, caplog):
    event = json.dumps({**EVENT, "source_uri": server.uri})
    odd = ODD_ENTRIES[kind].replace("EVENT", event).replace("SERVER", server.uri)
    folder = Path(store.uri, "_events", "pending")
    folder.mkdir(parents=True)
    (folder / "odd-1.json").write_text(odd)
    with Receiver() as receiver:
        with notifier(store, server.uri, [receiver.url]) as events:
            collect(server, store, events)
            wait_until(lambda: len(receiver.accepted()) == 2)
            wait_until(lambda: events.set_aside == 1)
        assert sorted(receiver.accepted()) == ["finished", "started"]
        assert events.pending == 0
    assert Path(store.uri, "_events", "set_aside", "odd-1.json").read_text() == odd
    assert entries(store, "pending") == {}
    assert "not an event: set aside" in caplog.text


def test_whatever_one_delivery_raises_the_courier_goes_on(store, server, monkeypatch):
    monkeypatch.setattr("importstats.collect.notifier._FIRST_PAUSE_S", 0.01)
    sound = Webhook.deliver
    failures = iter(range(2))

    def deliver(self, payload):
        if next(failures, None) is not None:
            raise KeyError("job_id")
        sound(self, payload)

    monkeypatch.setattr(Webhook, "deliver", deliver)
    with Receiver() as receiver:
        with notifier(store, server.uri, [receiver.url]) as events:
            collect(server, store, events)
            wait_until(lambda: len(receiver.accepted()) == 2)
        assert events.failed == 2
    assert entries(store, "pending") == {}
