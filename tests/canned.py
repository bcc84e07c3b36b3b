"""A server on loopback that sends prepared answers, and remembers its requests."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Canned(ThreadingHTTPServer):
    """A server that sends prepared answers, and remembers its requests."""

    daemon_threads = True

    def __init__(self, answer, tls=None):
        self.answer = answer
        self.requests = []
        super().__init__(("127.0.0.1", 0), _Handler)
        scheme = "http"
        if tls is not None:
            scheme = "https"
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.uri = f"{scheme}://127.0.0.1:{self.server_port}"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address):
        """A client that hangs up is what most of these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.requests.append((self.command, self.path, dict(self.headers), body))
        answer = self.server.answer
        if callable(answer):
            answer = answer(self.path, json.loads(body or b"{}"))
        status, headers, content = answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_CONNECT = do_GET = do_POST  # noqa: N815 -- the base class' names


def says(answer, status=200, **headers):
    content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return status, headers, content
