"""Connections with a deadline: a request ends in time, however slowly a server sends.

A socket's timeout limits each read, so a server that sends a byte now and then could hold a request
for ever. Here urllib3's ``Timeout(total=...)`` bounds the name look-up, all addresses together, the
handshake, and all reads of the head and body together.
"""

from __future__ import annotations

import http.client
import io
import queue
import socket
import threading
import time
from typing import Any, Final

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util.connection import create_connection

_LEAST_S: Final = 0.001  # A timeout of 0 would mean not to wait at all.


class DeadlineAdapter(HTTPAdapter):
    """An adapter for requests whose connections keep the deadline. It does not retry.

    Parameters
    ----------
    connections : int
        How many idle connections to keep.
    """

    def __init__(self, connections: int) -> None:
        super().__init__(max_retries=0, pool_maxsize=connections)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Make a pool manager whose connections keep the deadline."""
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """Make a pool manager for a proxy, whose connections also keep the deadline."""
        manager = super().proxy_manager_for(proxy, **options)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = _POOLS
        return manager


class _BoundedReader(io.RawIOBase):
    """Reads from a socket until a deadline."""

    def __init__(self, raw: io.RawIOBase, connection: socket.socket, deadline: float) -> None:
        self._raw = raw
        self._socket = connection
        self._deadline = deadline

    def readable(self) -> bool:
        """True: it can be read."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read available bytes, or raise TimeoutError when the time is over."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._socket.settimeout(max(left, _LEAST_S))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        """Close the underlying reader."""
        self._raw.close()
        super().close()


class _BoundedResponse(http.client.HTTPResponse):
    """An answer that must be complete within the socket's timeout."""

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        timeout = sock.gettimeout()
        if timeout is not None:
            raw = self.fp.detach()
            self.fp = io.BufferedReader(_BoundedReader(raw, sock, time.monotonic() + timeout))


class _Bounded:
    """A connection that keeps a deadline for connecting and for answering."""

    response_class = _BoundedResponse
    host: str
    port: int
    timeout: Any
    source_address: Any
    socket_options: Any

    def _new_conn(self) -> socket.socket:
        total = self.timeout if isinstance(self.timeout, int | float) else None
        deadline = None if total is None else time.monotonic() + total
        problem: OSError = TimeoutError("timed out")
        for address in self._addresses(deadline):
            left = None if deadline is None else max(deadline - time.monotonic(), _LEAST_S)
            try:
                connection = create_connection(
                    (address, self.port), left, self.source_address, self.socket_options
                )
            except OSError as error:
                problem = error
                continue
            if deadline is not None:
                # The handshake that follows has the remaining time.
                connection.settimeout(max(deadline - time.monotonic(), _LEAST_S))
            return connection
        if isinstance(problem, TimeoutError):
            raise ConnectTimeoutError(self, "timed out") from problem
        raise NewConnectionError(self, f"{problem}") from problem  # type: ignore[arg-type]

    def _addresses(self, deadline: float | None) -> list[str]:
        """The host's addresses. A look-up has no timeout, so it is abandoned if it is late."""
        answers: queue.SimpleQueue[list[str] | OSError] = queue.SimpleQueue()
        host = self.host.strip("[]")

        def look_up() -> None:
            try:
                found = socket.getaddrinfo(host, self.port, type=socket.SOCK_STREAM)
                answers.put(list(dict.fromkeys(str(info[4][0]) for info in found)))
            except OSError as error:
                answers.put(error)
            except UnicodeError:
                answers.put(socket.gaierror(socket.EAI_NONAME, f"{host!r} is not a host name"))

        if host.replace(".", "").isdigit() or ":" in host:
            look_up()
        else:
            threading.Thread(target=look_up, daemon=True, name="importstats-look-up").start()
        try:
            left = None if deadline is None else max(deadline - time.monotonic(), _LEAST_S)
            answer = answers.get(timeout=left)
        except queue.Empty:
            raise ConnectTimeoutError(self, f"no address of {host} in time") from None
        if isinstance(answer, socket.gaierror):
            raise NameResolutionError(host, self, answer) from answer  # type: ignore[arg-type]
        if isinstance(answer, OSError):
            raise NewConnectionError(self, f"{answer}") from answer  # type: ignore[arg-type]
        return answer


class _HttpConnection(_Bounded, HTTPConnection):  # type: ignore[misc]
    pass


class _HttpsConnection(_Bounded, HTTPSConnection):  # type: ignore[misc]
    pass


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _HttpConnection


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _HttpsConnection


_POOLS: Final = {"http": _HttpPool, "https": _HttpsPool}
