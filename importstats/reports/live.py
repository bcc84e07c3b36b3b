"""Live: a job's page that is kept up to date, in a file or on a local port."""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

from importstats.closing import Closing
from importstats.errors import ImportStatsError, JobNotFoundError, StoreError
from importstats.reports import report
from importstats.store import SnapshotStore
from importstats.store.cluster_frames import load_cluster_of
from importstats.store.frames import load_details, load_jobs
from importstats.text import printable

#: How often a page is rewritten, unless making it takes long.
REFRESH_S: Final = 10.0
# The share of the time that pages may take: one that takes 3 s is made every 30 s at most.
_SHARE: Final = 0.1
_HOSTS: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})


def stored_page(
    store: SnapshotStore,
    job_id: str,
    refresh_s: float | None = REFRESH_S,
    *,
    source_uri: str | None = None,
) -> str:
    """A job's page from what its store has now.

    Raises
    ------
    JobNotFoundError
        The store holds no snapshot of the job.
    StoreError
        The store cannot be read.
    """
    jobs = None
    if store.exists():
        jobs = load_jobs(store, job_id=job_id, source_uri=source_uri, gaps=True)
    if jobs is None or jobs["error"].notna().all():
        raise JobNotFoundError(f"{store.uri} holds no snapshot of job {printable(job_id)}")
    return report(
        jobs,
        load_details(store, job_id=job_id, source_uri=source_uri, runs=True),
        at=datetime.now(UTC),
        history=load_jobs(store),
        refresh_s=refresh_s,
        cluster=load_cluster_of(store, jobs),
    )


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader sees either the whole old file or the whole new one.

    Raises
    ------
    StoreError
        It cannot be written.
    """
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        new.write_text(text, encoding="utf-8")
        new.replace(path)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise StoreError(f"cannot write {path}: {error.strerror}") from error


class PageWriter(Closing):
    """Keeps a job's page in a file up to date, in the background, until it is closed.

    The file's folder must exist. `source_uri` is needed only if several servers in the store have a
    job with this id.
    """

    def __init__(
        self,
        store: SnapshotStore,
        job_id: str,
        path: Path,
        refresh_s: float = REFRESH_S,
        *,
        source_uri: str | None = None,
    ) -> None:
        self._store, self._job_id, self._path = store, job_id, path
        self._source_uri = source_uri
        self._refresh_s = refresh_s
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="importstats-page")
        self._thread.start()

    def _run(self) -> None:
        pause = min(1.0, self._refresh_s)
        while not self._closing.wait(pause):
            started = time.monotonic()
            written = self._write(self._refresh_s)
            took = time.monotonic() - started
            pause = max(self._refresh_s, took / _SHARE) if written else min(1.0, self._refresh_s)

    def _write(self, refresh_s: float | None) -> bool:
        """Write the page; returns whether that worked. An error may be gone at the next try."""
        try:
            page = stored_page(self._store, self._job_id, refresh_s, source_uri=self._source_uri)
            write_whole(self._path, page)
        except ImportStatsError:
            return False
        return True

    def close(self) -> None:
        """Write the page a last time, marked as final."""
        self._closing.set()
        self._thread.join()
        self._write(None)


class PageServer(Closing):
    """Serves a job's page to browsers on this machine, and remakes it as the store grows.

    It listens on 127.0.0.1 and answers only requests for that host, so that another site whose name
    leads to 127.0.0.1 gets nothing (DNS rebinding). Port 0 takes a free one. A page younger than
    half of `refresh_s` is sent again.

    Raises
    ------
    JobNotFoundError, StoreError
        There is nothing to show.
    """

    def __init__(
        self,
        store: SnapshotStore,
        job_id: str,
        *,
        port: int = 0,
        refresh_s: float = REFRESH_S,
        source_uri: str | None = None,
    ) -> None:
        self._store, self._job_id, self._refresh_s = store, job_id, refresh_s
        self._source_uri = source_uri
        self._lock = threading.Lock()
        self._text, self._until = stored_page(store, job_id, refresh_s, source_uri=source_uri), 0.0
        try:
            self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        except OSError as error:
            raise StoreError(f"cannot listen on port {port}: {error.strerror}") from error
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, daemon=True, name="importstats-page"
        )
        self._thread.start()

    @property
    def uri(self) -> str:
        """The address of the page."""
        return f"http://127.0.0.1:{self._server.server_port}/"

    def page(self) -> str:
        """The page, remade unless it is young."""
        with self._lock:
            if time.monotonic() >= self._until:
                started = time.monotonic()
                self._text = stored_page(
                    self._store, self._job_id, self._refresh_s, source_uri=self._source_uri
                )
                took = time.monotonic() - started
                self._until = time.monotonic() + max(self._refresh_s / 2, took / _SHARE)
            return self._text

    def close(self) -> None:
        """Stop serving the page, and free the port."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        pages = self

        class Handler(BaseHTTPRequestHandler):
            """Answers GET and HEAD requests for the page."""

            server_version = "importstats"
            sys_version = ""

            def do_GET(self) -> None:
                self._answer(body=True)

            def do_HEAD(self) -> None:
                self._answer(body=False)

            def _answer(self, *, body: bool) -> None:
                host = (self.headers.get("Host") or "").rsplit(":", 1)[0]
                if host not in _HOSTS:
                    self.send_error(HTTPStatus.MISDIRECTED_REQUEST)
                    return
                if self.path.split("?")[0] != "/":
                    self.send_error(HTTPStatus.NOT_FOUND)
                    return
                try:
                    text = pages.page().encode()
                except ImportStatsError as error:
                    self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, explain=str(error))
                    return
                self.send_response(HTTPStatus.OK)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(text)))
                self.send_header("Cache-Control", "no-store")
                self.send_header("X-Content-Type-Options", "nosniff")
                self.send_header("X-Frame-Options", "DENY")
                self.end_headers()
                if body:
                    self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                """Log nothing: the terminal shows the address, and that is enough."""

        return Handler
