"""Collectors with targets for their events, and a server that receives them."""

import http.server
import json
import ssl
import threading
import time
from pathlib import Path

from importstats.collect.collector import Collector, PollPolicy
from importstats.collect.notifier import Notifier
from importstats.sources.rest import ImportClient

QUICK = PollPolicy(min_s=0.01, max_s=0.05)
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


def collect_and_send(server, store, targets, **options):
    with notifier(store, server.uri, targets, **options) as events:
        collect(server, store, events)


def send_again(server, store, targets):
    """What a process does that finds the job already collected."""
    with notifier(store, server.uri, targets):
        pass


def entries(store, folder):
    files = Path(store.uri, "_events", folder).glob("*.json")
    return {file.stem: json.loads(file.read_text()) for file in files}
