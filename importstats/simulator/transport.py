"""The simulated server's sockets: connections, network faults, and records of both directions."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Final, Protocol
from urllib.parse import parse_qsl, urlsplit

from importstats.simulator import wire
from importstats.simulator.decoding import ApiError, json_object
from importstats.simulator.faults import Fault, Faults

_CHUNK_BYTES: Final = 2**16
_HTML: Final = b"<!DOCTYPE html>\n<html><head><title>%s</title></head><body>%s</body></html>\n"


@dataclass(frozen=True, slots=True)
class Sent:
    """One answer to `describe` that was sent whole: when, about which job, and its body."""

    sent_at: datetime
    job_id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Received:
    """One request: its path, its JSON body, and its headers without ``Authorization``."""

    path: str
    body: Any
    headers: Mapping[str, str]


class Answering(Protocol):
    """Answers the requests that a socket receives."""

    faults: Faults
    record: bool
    sent: list[Sent]
    received: list[Received]

    def answer(
        self, method: str, path: str, body: Mapping[str, Any], headers: Mapping[str, str]
    ) -> tuple[HTTPStatus, bytes | None]:
        """HTTP status and body of the answer to a request; no body for an unknown path."""

    def describes(self, path: str) -> bool:
        """Whether a path answers with a job's progress."""


#: The answer to a request that took too long, as JSON or (true) as text.
_TIMEOUT: Final = {
    False: (b'{"code":10001,"message":"request timeout"}', "application/json; charset=utf-8"),
    True: (b"timeout", "text/plain"),
}


class HttpServer(ThreadingHTTPServer):
    """A threading server that can close the connections it has."""

    daemon_threads = False
    block_on_close = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], simulator: Answering) -> None:
        self.simulator = simulator
        self.stopping = threading.Event()
        self._connections: set[socket.socket] = set()
        self._connections_lock = threading.Lock()
        super().__init__(address, Connection)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection, which :meth:`close_connections` can close."""
        with self._connections_lock:
            self._connections.add(request)
        try:
            super().finish_request(request, client_address)
        finally:
            with self._connections_lock:
                self._connections.discard(request)

    def close_connections(self) -> None:
        """Close all connections."""
        self.stopping.set()
        with self._connections_lock:
            connections = list(self._connections)
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore that a client went away; anything else is shown as usual."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Connection(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version = "importstats-simulator"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: HttpServer
    secret_headers: ClassVar[frozenset[str]] = frozenset({"authorization"})

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class' name
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer a GET, whose fields are in the query."""
        parts = urlsplit(self.path)
        self._answer("GET", parts.path, dict(parse_qsl(parts.query)))

    def do_POST(self) -> None:
        """Answer a POST, whose fields are a JSON object."""
        posted = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            body: dict[str, Any] | ApiError = json_object(posted)
        except ApiError as error:
            body = error
        self._answer("POST", self.path, body)

    def _answer(self, method: str, path: str, body: dict[str, Any] | ApiError) -> None:
        simulator = self.server.simulator
        if simulator.faults.latency_s > 0:
            self.server.stopping.wait(simulator.faults.latency_s)
        if self.server.stopping.is_set():
            self.close_connection = True
            return
        fields = {} if isinstance(body, ApiError) else body
        if simulator.record:
            headers = {
                name: value
                for name, value in self.headers.items()
                if name.lower() not in self.secret_headers
            }
            known = None if isinstance(body, ApiError) else body
            simulator.received.append(Received(path, known, headers))
        fault = simulator.faults.take()
        if fault is not None and self._fail(fault):
            return
        status, found = simulator.answer(method, path, fields, dict(self.headers.items()))
        if found is None:
            self._send(status, b"404 page not found", "text/plain")
            return
        if isinstance(body, ApiError):
            status, found = body.http_status, wire.encode(body.answer)
        self._send_answer(status, found, fault)
        if simulator.record and fault is None and simulator.describes(path):
            simulator.sent.append(Sent(datetime.now(UTC), str(fields.get("jobId")), found))

    def _send_answer(self, status: HTTPStatus, answer: bytes, fault: Fault | None) -> None:
        if fault is Fault.TRUNCATED:
            self._send(status, answer[: len(answer) // 2])
        elif fault is Fault.DROPPED_IN_BODY:
            self._send(status, answer, keep_bytes=len(answer) // 2)
        else:
            self._send(status, answer)

    def _fail(self, fault: Fault) -> bool:
        """Answer with a fault, if it needs no answer of the API; returns whether it was one."""
        faults = self.server.simulator.faults
        if fault is Fault.SERVER_ERRORS:
            status = HTTPStatus(faults.server_error_status)
            title = status.phrase.encode()
            self._send(status, _HTML % (title, title), "text/html")
        elif fault is Fault.THROTTLED:
            self._send(
                HTTPStatus.TOO_MANY_REQUESTS,
                b'{"code":1807,"message":"too many requests"}',
                headers={"Retry-After": str(round(faults.retry_after_s))},
            )
        elif fault is Fault.TIMEOUTS:
            self._send(HTTPStatus.REQUEST_TIMEOUT, *_TIMEOUT[faults.timeout_is_text])
        elif fault is Fault.NOT_READY:
            self._send(HTTPStatus.OK, b'{"code":1,"message":"service not ready[datacoord=1]"}')
        elif fault is Fault.DROPPED:
            self.close_connection = True
        elif fault is Fault.HTML:
            self._send(HTTPStatus.OK, _HTML % (b"Welcome", b"Please log in"), "text/html")
        elif fault is Fault.HUGE:
            self._send_huge(faults.huge_bytes)
        elif fault is Fault.REDIRECTED:
            self._send(
                HTTPStatus.TEMPORARY_REDIRECT,
                b"",
                headers={"Location": faults.redirect_to.rstrip("/") + self.path},
            )
        else:
            return False
        return True

    def _send(
        self,
        status: HTTPStatus,
        body: bytes,
        content_type: str = "application/json; charset=utf-8",
        *,
        headers: Mapping[str, str] | None = None,
        keep_bytes: int | None = None,
    ) -> None:
        """Send an answer; only `keep_bytes` of it if the connection should break."""
        self._send_head(status, len(body), content_type, headers)
        drip = self.server.simulator.faults.drip_bytes_per_s
        whole = body if keep_bytes is None else body[:keep_bytes]
        if drip > 0:
            self._drip(whole, drip)
        else:
            self.wfile.write(whole)
        self.wfile.flush()
        if keep_bytes is not None:
            self.close_connection = True

    def _send_head(
        self,
        status: HTTPStatus,
        length: int,
        content_type: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(length))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()

    def _drip(self, body: bytes, bytes_per_s: float) -> None:
        step = max(1, round(bytes_per_s / 20))
        for start in range(0, len(body), step):
            self.wfile.write(body[start : start + step])
            self.wfile.flush()
            if self.server.stopping.wait(step / bytes_per_s):
                return

    def _send_huge(self, length: int) -> None:
        head, tail = b'{"code":0,"data":{"collectionName":"', b'"}}'
        self._send_head(HTTPStatus.OK, length, "application/json")
        self.wfile.write(head)
        left = length - len(head) - len(tail)
        while left > 0 and not self.server.stopping.is_set():
            self.wfile.write(b"x" * min(left, _CHUNK_BYTES))
            left -= _CHUNK_BYTES
        self.wfile.write(tail)
        self.wfile.flush()
