"""A real HTTP server that answers like Milvus or Zilliz Cloud, about simulated jobs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Self

from importstats.closing import Closing
from importstats.simulator.api import Access, Api
from importstats.simulator.cluster import SimulatedCluster
from importstats.simulator.dialects import dialect_named
from importstats.simulator.faults import Faults
from importstats.simulator.management import ManagementPort, ManagementSocket
from importstats.simulator.management_state import Known
from importstats.simulator.specs import ClusterSpec, JobSpec
from importstats.simulator.transport import Answering, HttpServer, Received, Sent


class SimulatorServer(Closing):
    """An HTTP server of simulated import jobs, in threads of this process.

    Use it as a context manager, in which it listens. There, :meth:`stop` and :meth:`start` take it
    down and up again on the same port. The cluster's clock runs `acceleration` times as fast as the
    real one, and :meth:`advance` moves it by hand.

    Parameters
    ----------
    cluster : SimulatedCluster or ClusterSpec
        A spec makes a cluster of the dialect's release, whose clock starts now.
    jobs : sequence of JobSpec
        They are created when the server is made; :attr:`job_ids` has their ids.
    host, port : str, int
        Where to listen; port 0 takes a free one.
    dialect : str
        A name of ``DIALECTS``, or a version of Milvus.
    token : str, optional
        The token that clients need (``user:password`` or an API key); ``None`` lets everyone in.
    cluster_id : str, optional
        The ``clusterId`` that clients of a cloud dialect must name.
    acceleration : float
        Seconds of the cluster's clock per second; 0 for a clock that only :meth:`advance` moves.
    faults : Faults, optional
        You can change them while the server runs, as ``server.faults``.
    record : bool
        Whether to keep every request in :attr:`received` and every answer to `describe` in
        :attr:`sent`.
    template : JobSpec, optional
        A model for jobs that a client creates: they differ in collection, database and files.
    unauthorized_status : int, optional
        The answer's HTTP status if the token is wrong. By default 401, or 200 for the cloud.
    collections : collection of str
        Collections without a job for which clients can create jobs, as ``name`` or
        ``database.name``.
    seed : int
        Draws the file sizes of jobs that a client creates, and the cluster if given as a spec.
    management : bool
        Whether to listen on a management port too, at `management_uri`.

    Attributes
    ----------
    cluster : SimulatedCluster
    access : Access
        Who may do what; you can change it while the server runs.
    management : ManagementSocket
        The management port, which has its own faults.
    job_ids : list of str
        The ids of `jobs`.
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
        unauthorized_status: int | None = None,
        collections: Collection[str] = (),
        seed: int = 0,
        management: bool = False,
    ) -> None:
        self.dialect = dialect_named(dialect)
        if isinstance(cluster, ClusterSpec):
            spec = replace(cluster, release=self.dialect.release)
            now = datetime.now(UTC).replace(microsecond=0)
            cluster = SimulatedCluster(spec, seed=seed, start=now, pace=acceleration or 1.0)
            cluster.advance(max(0.0, cluster.now_s))  # Other jobs may have begun before.
        self.cluster = cluster
        self.faults = faults if faults is not None else Faults()
        status = unauthorized_status or (200 if self.dialect.cloud else 401)
        self.access = Access(token=token, status=HTTPStatus(status))
        self._api = Api(
            cluster,
            self.dialect,
            access=self.access,
            faults=self.faults,
            cluster_id=cluster_id,
            collections=collections,
            template=template,
            seed=seed,
        )
        self.record = record
        self.sent: list[Sent] = []
        self.received: list[Received] = []
        self.job_ids = [self.dialect.printed_id(cluster.create(job)) for job in jobs]
        self._host, self._port = host, port
        self._acceleration = acceleration
        self._clock: tuple[float, float] | None = None
        self._lock = threading.RLock()
        self._listens_to_management = management
        port_of = ManagementPort(Known(self.cluster), self.access)
        self.management = ManagementSocket(port_of, Faults(), self._at_present, record)
        self._management_port = 0
        self._served: list[tuple[HttpServer, threading.Thread]] = []

    def __repr__(self) -> str:
        where = self.uri if self._served else "stopped"
        return f"<SimulatorServer {self.dialect.name} {where}>"

    def __enter__(self) -> Self:
        self.start()
        return self

    @property
    def uri(self) -> str:
        """Where clients find the server, as in ``http://127.0.0.1:34567``."""
        return f"http://{self._host}:{self._port}"

    @property
    def management_uri(self) -> str:
        """Where clients find the management port."""
        return f"http://{self._host}:{self._management_port}"

    def start(self) -> None:
        """Listen, on the same port as before if there was one. The clock goes on."""
        if self._served:
            return
        self._port = self._serve(self._port, self)
        if self._listens_to_management:
            self._management_port = self._serve(self._management_port, self.management)
        if self._clock is None:
            self._clock = (time.monotonic(), self.cluster.now_s)

    def _serve(self, port: int, answering: Answering) -> int:
        """Listen on a port in a thread; returns the port that was taken."""
        http = HttpServer((self._host, port), answering)
        thread = threading.Thread(
            target=http.serve_forever,
            kwargs={"poll_interval": 0.05},
            name="importstats-simulator",
            daemon=True,
        )
        thread.start()
        self._served.append((http, thread))
        return http.server_port

    def stop(self) -> None:
        """Close every connection and stop listening, like a server that goes down."""
        served, self._served = self._served, []
        for http, thread in served:
            http.shutdown()
            thread.join()
            http.close_connections()
            http.server_close()

    close = stop

    def restart(self, down_s: float = 0.0) -> None:
        """Stop, and start again after some real seconds."""
        self.stop()
        time.sleep(down_s)
        self.start()

    @property
    def acceleration(self) -> float:
        """Seconds of the cluster's clock per real second; you can set it at any time."""
        return self._acceleration

    @acceleration.setter
    def acceleration(self, acceleration: float) -> None:
        with self._lock:
            self._catch_up()
            self._acceleration = acceleration

    def advance(self, seconds: float) -> None:
        """Move the cluster's clock on by `seconds`, in addition to its own pace."""
        with self._lock:
            self._catch_up(seconds)

    def create(self, job: JobSpec) -> str:
        """Create a job now, and return its id."""
        with self._lock:
            self._catch_up()
            return self.dialect.printed_id(self.cluster.create(job))

    def _catch_up(self, seconds: float = 0.0) -> None:
        """Move the cluster's clock to the present."""
        wall_s = time.monotonic()
        if self._clock is not None:
            seconds += (wall_s - self._clock[0]) * self._acceleration
        self.cluster.advance(self.cluster.now_s + max(0.0, seconds))
        if self._clock is not None:
            self._clock = (wall_s, self.cluster.now_s)

    # Answers.

    def answer(
        self, method: str, path: str, body: Mapping[str, Any], headers: Mapping[str, str]
    ) -> tuple[HTTPStatus, bytes | None]:
        """HTTP status and body of the answer to a request; no body for an unknown path."""
        return self._at_present(lambda: self._api.answer(method, path, body, headers))

    def _at_present(
        self, answer: Callable[[], tuple[HTTPStatus, bytes | None]]
    ) -> tuple[HTTPStatus, bytes | None]:
        with self._lock:
            self._catch_up()
            return answer()

    def describes(self, path: str) -> bool:
        """Whether a path answers with a job's progress."""
        return path in self.dialect.describe_paths
