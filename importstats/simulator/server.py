"""A real HTTP server that answers as Milvus or Zilliz Cloud does, about simulated jobs."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, ClassVar, Final, Self

import numpy as np

from importstats.simulator import wire
from importstats.simulator.cluster import SimulatedCluster, UnknownJobError, WrongPhaseError
from importstats.simulator.faults import Fault, Faults
from importstats.simulator.specs import ClusterSpec, FileSpec, JobSpec
from importstats.simulator.wire import dialect_named

# Numbers of Milvus' package merr, and of its REST layer.
_DATABASE_NOT_FOUND: Final = 800
_UNAUTHENTICATED: Final = 1800
_NOT_JSON: Final = 1801
_MISSING_PARAMETER: Final = 1802
_IMPORT_FAILED: Final = 2100
_CLOUD_UNAUTHENTICATED: Final = 80001
_CLOUD_WRONG_CLUSTER: Final = 80002

_CHUNK_BYTES: Final = 2**16
_HTML: Final = b"<!DOCTYPE html>\n<html><head><title>%s</title></head><body>%s</body></html>\n"


@dataclass(frozen=True, slots=True)
class Sent:
    """One answer to `describe` as it went out whole: when, about which job, and its body."""

    sent_at: datetime
    job_id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Received:
    """One request: its path, its JSON body, and its headers but for ``Authorization``."""

    path: str
    body: Any
    headers: Mapping[str, str]


class _ApiError(Exception):
    """An error that is answered with a number and a message."""

    def __init__(self, code: int, message: str, http_status: HTTPStatus = HTTPStatus.OK) -> None:
        super().__init__(message)
        self.answer = {"code": code, "message": message}
        self.http_status = http_status


class SimulatorServer:
    """An HTTP server of simulated import jobs, in threads of this process.

    Use it as a context manager; it listens inside of it, and :meth:`stop` and :meth:`start` may be
    called there to take it down and up again on the same port. The cluster's clock runs at
    `acceleration` times the real one, and :meth:`advance` moves it by hand.

    Parameters
    ----------
    cluster : SimulatedCluster or ClusterSpec
        A spec makes a cluster of the dialect's release whose clock starts now.
    jobs : sequence of JobSpec
        Created at once; their ids are :attr:`job_ids`.
    host, port : str, int
        Where to listen; port 0 takes a free one.
    dialect : str
        A name of ``DIALECTS``.
    token : str, optional
        The token that clients need (``user:password`` or an API key); ``None`` lets everyone in.
    cluster_id : str, optional
        The ``clusterId`` that clients of a cloud dialect have to name.
    acceleration : float
        Seconds of the cluster's clock per second; 0 for a clock that only :meth:`advance` moves.
    faults : Faults, optional
        Also to be changed while the server runs, as ``server.faults``.
    record : bool
        Whether to keep every request in :attr:`received` and every answer to `describe` in
        :attr:`sent`.
    template : JobSpec, optional
        What jobs made by `create` are like, but for their collection, database and files.
    unauthorized_status : int
        HTTP status with which a wrong token is refused. Milvus says 200, or 401 in some releases.
    seed : int
        Draws the sizes of files of jobs made by `create`, and the cluster if given as a spec.

    Attributes
    ----------
    cluster : SimulatedCluster
    job_ids : list of str
    sent : list of Sent
    received : list of Received

    Examples
    --------
    >>> import requests
    >>> from importstats.simulator import ClusterSpec, SimulatorServer, make_shape
    >>> _, job = make_shape("small_and_quick")
    >>> with SimulatorServer(ClusterSpec(), [job], acceleration=0) as server:
    ...     server.advance(3600)
    ...     url = f"{server.uri}/v2/vectordb/jobs/import/describe"
    ...     answer = requests.post(url, json={"jobId": server.job_ids[0]}, timeout=10).json()
    >>> answer["data"]["state"], answer["data"]["progress"]
    ('Completed', 100)
    """

    def __init__(
        self,
        cluster: SimulatedCluster | ClusterSpec,
        jobs: Sequence[JobSpec] = (),
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        dialect: str = "2.6",
        token: str | None = None,
        cluster_id: str | None = None,
        acceleration: float = 1.0,
        faults: Faults | None = None,
        record: bool = False,
        template: JobSpec | None = None,
        unauthorized_status: int = 200,
        seed: int = 0,
    ) -> None:
        self.dialect = dialect_named(dialect)
        if isinstance(cluster, ClusterSpec):
            spec = replace(cluster, release=self.dialect.release)
            now = datetime.now(UTC).replace(microsecond=0)
            cluster = SimulatedCluster(spec, seed=seed, start=now, pace=acceleration or 1.0)
            cluster.advance(max(0.0, cluster.now_s))  # Other jobs may have begun before.
        self.cluster = cluster
        self.faults = faults if faults is not None else Faults()
        self.token = token
        self.cluster_id = cluster_id
        self.record = record
        self.sent: list[Sent] = []
        self.received: list[Received] = []
        self.job_ids = [cluster.create(job) for job in jobs]
        self._template = template
        self._unauthorized_status = HTTPStatus(unauthorized_status)
        self._seed = seed
        self._host, self._port = host, port
        self._acceleration = acceleration
        self._clock: tuple[float, float] | None = None
        self._lock = threading.RLock()
        self._http: _HttpServer | None = None
        self._thread: threading.Thread | None = None

    def __repr__(self) -> str:
        where = self.uri if self._http is not None else "stopped"
        return f"<SimulatorServer {self.dialect.name} {where}>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def uri(self) -> str:
        """Where clients find the server, as in ``http://127.0.0.1:34567``."""
        return f"http://{self._host}:{self._port}"

    def start(self) -> None:
        """Listen, on the port of last time if there was one. The clock goes on."""
        if self._http is not None:
            return
        self._http = _HttpServer((self._host, self._port), self)
        self._port = self._http.server_port
        if self._clock is None:
            self._clock = (time.monotonic(), self.cluster.now_s)
        self._thread = threading.Thread(
            target=self._http.serve_forever,
            kwargs={"poll_interval": 0.05},
            name="importstats-simulator",
            daemon=True,
        )
        self._thread.start()

    def stop(self) -> None:
        """Close every connection and listen no more, as a server that goes down."""
        http, thread = self._http, self._thread
        if http is None or thread is None:
            return
        self._http = self._thread = None
        http.shutdown()
        thread.join()
        http.close_connections()
        http.server_close()

    def restart(self, down_s: float = 0.0) -> None:
        """Be down for a time of the real clock, in which connections are refused."""
        self.stop()
        time.sleep(down_s)
        self.start()

    @property
    def acceleration(self) -> float:
        """Seconds of the cluster's clock per second of the real one; may be set at any time."""
        return self._acceleration

    @acceleration.setter
    def acceleration(self, acceleration: float) -> None:
        with self._lock:
            self._catch_up()
            self._acceleration = acceleration

    def advance(self, seconds: float) -> None:
        """Move the cluster's clock on by `seconds`, besides its own running."""
        with self._lock:
            self._catch_up(seconds)

    def create(self, job: JobSpec) -> str:
        """Create a job now, and return its id."""
        with self._lock:
            self._catch_up()
            return self.cluster.create(job)

    def _catch_up(self, seconds: float = 0.0) -> None:
        """Bring the cluster to the present."""
        wall_s = time.monotonic()
        if self._clock is not None:
            seconds += (wall_s - self._clock[0]) * self._acceleration
        self.cluster.advance(self.cluster.now_s + max(0.0, seconds))
        if self._clock is not None:
            self._clock = (wall_s, self.cluster.now_s)

    # Answers.

    def answer(
        self, path: str, body: Mapping[str, Any], headers: Mapping[str, str]
    ) -> tuple[HTTPStatus, bytes | None]:
        """HTTP status and body of the answer to a request; no body for an unknown path."""
        handle = self._handler(path)
        if handle is None:
            return HTTPStatus.NOT_FOUND, None
        try:
            self._authenticate(headers.get("Authorization", ""))
            db_name = str(headers.get("DB-Name") or body.get("dbName") or "default")
            with self._lock:
                self._catch_up()
                self._check_database(db_name)
                self._check_cluster(body)
                answer = handle(body, db_name)
        except _ApiError as error:
            return error.http_status, wire.encode(error.answer)
        return HTTPStatus.OK, wire.encode(answer)

    def _handler(self, path: str) -> Callable[[Mapping[str, Any], str], dict[str, Any]] | None:
        if path in self.dialect.describe_paths:
            return self._describe
        if path in (wire.COMMIT, wire.ABORT) and not self.dialect.two_phase:
            return None
        return {
            wire.LIST: self._list,
            wire.CREATE: self._create,
            wire.COMMIT: self._commit,
            wire.ABORT: self._abort,
        }.get(path)

    def _authenticate(self, authorization: str) -> None:
        scheme, _, token = authorization.partition(" ")
        welcome = self.token is None or (scheme == "Bearer" and token == self.token)
        if welcome and not self.faults.refuse_token:
            return
        if self.dialect.cloud:
            raise _ApiError(
                _CLOUD_UNAUTHENTICATED, "The token is illegal.", self._unauthorized_status
            )
        raise _ApiError(_UNAUTHENTICATED, "user hasn't authenticated", self._unauthorized_status)

    def _check_database(self, db_name: str) -> None:
        if db_name not in self.cluster.databases:
            raise _ApiError(_DATABASE_NOT_FOUND, f"database not found[database={db_name}]")

    def _check_cluster(self, body: Mapping[str, Any]) -> None:
        wanted = self.cluster_id
        if self.dialect.cloud and wanted is not None and body.get("clusterId") != wanted:
            raise _ApiError(_CLOUD_WRONG_CLUSTER, "The clusterId is missing or unknown.")

    def _describe(self, body: Mapping[str, Any], db_name: str) -> dict[str, Any]:
        try:
            state = self.cluster.describe(self._job_id(body))
        except UnknownJobError as error:
            raise _unknown_job(error) from error
        return wire.describe_answer(state, self.dialect)

    def _list(self, body: Mapping[str, Any], db_name: str) -> dict[str, Any]:
        collection = body.get("collectionName")
        records = [
            wire.list_record(state, self.dialect)
            for state in self.cluster.list()
            if (state.db_name or "default") == db_name
            and collection in (None, "", state.collection_name)
        ]
        if not self.dialect.cloud:
            return self._success({"records": records})
        page, size = self._page(body)
        return self._success(
            {
                "count": len(records),
                "currentPage": page,
                "pageSize": size,
                "records": records[(page - 1) * size : page * size],
            }
        )

    def _page(self, body: Mapping[str, Any]) -> tuple[int, int]:
        page, size = body.get("currentPage") or 1, body.get("pageSize") or 10
        if not isinstance(page, int) or not isinstance(size, int) or min(page, size) < 1:
            raise _ApiError(_MISSING_PARAMETER, "currentPage and pageSize are positive integers")
        return page, min(size, 100)

    def _create(self, body: Mapping[str, Any], db_name: str) -> dict[str, Any]:
        collection = body.get("collectionName")
        if not collection:
            raise _ApiError(_MISSING_PARAMETER, "missing required parameters: collectionName")
        files = tuple(self._file(paths) for paths in _posted_files(body))
        if not files:
            raise _ApiError(_IMPORT_FAILED, "importing data failed: no file to import")
        template = self._template or JobSpec(collection_name=str(collection), files=files)
        options = body.get("options") or {}
        auto_commit = str(options.get("auto_commit", template.auto_commit)).lower() != "false"
        job = replace(
            template,
            collection_name=str(collection),
            db_name=None if db_name == "default" else db_name,
            files=files,
            auto_commit=auto_commit,
        )
        job_id = self.cluster.create(job)
        self.job_ids.append(job_id)
        return self._success(self._job_reference(job_id))

    def _commit(self, body: Mapping[str, Any], db_name: str) -> dict[str, Any]:
        return self._change(self.cluster.commit, self._job_id(body))

    def _abort(self, body: Mapping[str, Any], db_name: str) -> dict[str, Any]:
        return self._change(self.cluster.abort, self._job_id(body))

    def _change(self, change: Callable[[str], None], job_id: str) -> dict[str, Any]:
        try:
            change(job_id)
        except UnknownJobError as error:
            raise _unknown_job(error) from error
        except WrongPhaseError as error:
            raise _ApiError(_IMPORT_FAILED, f"importing data failed: {error}") from error
        return self._success(self._job_reference(job_id))

    def _job_reference(self, job_id: str) -> dict[str, Any]:
        return {"jobId": int(job_id) if self.dialect.numeric_job_id else job_id}

    def _success(self, data: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = {"code": self.dialect.success_code, "data": data}
        if self.dialect.cloud:
            answer["message"] = ""
        return answer

    def _job_id(self, body: Mapping[str, Any]) -> str:
        job_id = body.get("jobId")
        if job_id in (None, ""):
            raise _ApiError(_MISSING_PARAMETER, "missing required parameters: jobId")
        return str(job_id)

    def _file(self, paths: tuple[str, ...]) -> FileSpec:
        """A file of a size that depends on its path and the seed alone."""
        rng = np.random.default_rng([self._seed, *(zlib.crc32(path.encode()) for path in paths)])
        size_bytes = round(rng.lognormal(np.log(200e6), 1.0))
        return FileSpec(paths, size_bytes, max(1, round(size_bytes / rng.uniform(500, 5000))))


def _unknown_job(error: UnknownJobError) -> _ApiError:
    return _ApiError(_IMPORT_FAILED, f"importing data failed: {error}")


def _posted_files(body: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The files of a `create` request, by whichever name it has them."""
    for name in ("files", "objectUrls", "dataPaths"):
        if body.get(name):
            groups = [[group] if isinstance(group, str) else group for group in body[name]]
            return [tuple(map(str, group)) for group in groups if group]
    return [(str(body["objectUrl"]),)] if body.get("objectUrl") else []


class _HttpServer(ThreadingHTTPServer):
    """A threading server that can close the connections it has."""

    daemon_threads = False
    block_on_close = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], simulator: SimulatorServer) -> None:
        self.simulator = simulator
        self.stopping = threading.Event()
        self._connections: set[socket.socket] = set()
        self._connections_lock = threading.Lock()
        super().__init__(address, _Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        with self._connections_lock:
            self._connections.add(request)
        try:
            super().finish_request(request, client_address)
        finally:
            with self._connections_lock:
                self._connections.discard(request)

    def close_connections(self) -> None:
        self.stopping.set()
        with self._connections_lock:
            connections = list(self._connections)
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Let a client that went away go in peace; anything else is shown as usual."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version = "importstats-simulator"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _HttpServer
    secret_headers: ClassVar[frozenset[str]] = frozenset({"authorization"})

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class' name
        """Say nothing."""

    def do_GET(self) -> None:
        self._send(HTTPStatus.NOT_FOUND, b"404 page not found", "text/plain")

    def do_POST(self) -> None:
        simulator = self.server.simulator
        posted = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if simulator.faults.latency_s > 0:
            self.server.stopping.wait(simulator.faults.latency_s)
        if self.server.stopping.is_set():
            self.close_connection = True
            return
        body = _json_object(posted)
        if simulator.record:
            headers = {
                name: value
                for name, value in self.headers.items()
                if name.lower() not in self.secret_headers
            }
            simulator.received.append(Received(self.path, body, headers))
        fault = simulator.faults.take()
        if fault is not None and self._fail(fault):
            return
        if body is None:
            status, answer = HTTPStatus.OK, _NOT_JSON_ANSWER
        else:
            status, found = simulator.answer(self.path, body, dict(self.headers.items()))
            if found is None:
                self._send(status, b"404 page not found", "text/plain")
                return
            answer = found
        if fault is Fault.TRUNCATED:
            self._send(status, answer[: len(answer) // 2])
        elif fault is Fault.DROPPED_IN_BODY:
            self._send(status, answer, keep_bytes=len(answer) // 2)
        else:
            self._send(status, answer)
            if simulator.record and self.path in simulator.dialect.describe_paths:
                job_id = str((body or {}).get("jobId"))
                simulator.sent.append(Sent(datetime.now(UTC), job_id, answer))

    def _fail(self, fault: Fault) -> bool:
        """Answer with a fault that needs no answer of the API; whether it was one."""
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
        """Send an answer; `keep_bytes` of it if the connection is to break."""
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


_NOT_JSON_ANSWER: Final = wire.encode(
    {"code": _NOT_JSON, "message": "can only accept json format request"}
)


def _json_object(posted: bytes) -> dict[str, Any] | None:
    try:
        body = json.loads(posted or b"{}")
    except ValueError:
        return None
    return body if isinstance(body, dict) else None
