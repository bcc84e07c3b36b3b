"""A small HTTP server that no client can block: it serves few at a time, and none for long."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from socketserver import ThreadingMixIn
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

#: A scraper asks and leaves; a client that connects and sends nothing is dropped after this.
_IDLE_S: Final = 10.0
_CONNECTIONS: Final = 32

Application = Callable[..., Any]


class BoundedServer(ThreadingMixIn, WSGIServer):
    """Serves each connection in a thread, and closes those that are too many."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128  # With the usual five, a burst of connections waits for seconds.

    def __init__(self, address: tuple[str, int], family: socket.AddressFamily) -> None:
        self.address_family = family
        self._free = threading.BoundedSemaphore(_CONNECTIONS)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection if there is room for it."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection, and make room."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log nothing: it is not our error if a client hangs up or sends nothing."""


class _Handler(WSGIRequestHandler):
    timeout = _IDLE_S

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- as in the base class
        pass


def bounded_server(host: str, port: int, application: Application) -> BoundedServer:
    """A server that listens on an address; run it with ``serve_forever``.

    Raises
    ------
    OSError, OverflowError
        It cannot listen on the address or port.
    """
    [found, *_] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    server = BoundedServer((host, port), found[0])
    server.set_app(application)
    return server
