"""Delivery: brings the events of a store's jobs to webhooks and commands, each at least once.

Whatever happens is first written down in the store and then delivered::

    STORE/_events/since/cluster=CLUSTER.json    when events of this server were first asked for
    STORE/_events/pending/EVENT_ID.json         not yet delivered to every target
    STORE/_events/delivered/EVENT_ID.json       delivered; kept, so that it is not found again

A process that dies in between leaves the event pending, and the next one delivers it. So an event
can come twice, never not at all; its id (``Idempotency-Key``) tells the receiver. The collector
only says which job has changed: finding events and delivering them have threads of their own.

Targets are named in logs and in the store without anything that may be a secret.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import random
import shlex
import signal
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self
from urllib.parse import urlsplit, urlunsplit

import requests

from importstats.analysis.job_events import events, payloads
from importstats.collect.collector import CollectedJob
from importstats.collect.collector import _log as log_event
from importstats.errors import ImportStatsError, StoreError
from importstats.sources.endpoint import ENVIRONMENT
from importstats.store import SnapshotStore, slug
from importstats.store.frames import load_details, load_jobs
from importstats.text import excerpt, printable
from importstats.version import __version__

logger = logging.getLogger(__name__)

Payload = Mapping[str, Any]

_FOLDER: Final = "_events"
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 300.0
#: How far back the jobs are looked at that an earlier process may have left half told.
_RECOVERED: Final = timedelta(days=7)
#: After these a job is looked at again only when something is heard of it.
_LAST: Final = ("finished", "failed", "gap", "forgotten")


class DeliveryError(ImportStatsError):
    """A target did not take an event.

    Attributes
    ----------
    retry_after_s : float
        How long the target asked to be left alone; 0 if it did not.
    """

    def __init__(self, message: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Target(Protocol):
    """Where events go.

    Attributes
    ----------
    name : str
        The same for the same target in every process, and fit to be logged: without secrets.
    """

    name: str

    def deliver(self, payload: Payload) -> None:
        """Deliver one event, or raise :class:`DeliveryError`."""


def parse_targets(texts: Iterable[str]) -> list[Target]:
    """The targets that texts name, each once.

    A target is ``https://...`` or ``http://...`` (a webhook), ``exec:COMMAND ...``, or
    ``file:PATH``: a file with one target a line, which is where a webhook belongs whose address is
    a secret. Empty lines and lines that start with ``#`` are left out there.

    Raises
    ------
    ImportStatsError
        A text names none, or a file cannot be read. The message does not repeat a target, which
        may hold a secret.

    Examples
    --------
    >>> targets = parse_targets(["https://user:secret@hooks.example/T0/B0?token=secret",
    ...                          "exec:notify-send import"])
    >>> [target.name for target in targets]
    ['https://hooks.example#4c111f61', 'exec:notify-send#6d4d2f53']
    """
    targets: dict[str, Target] = {}
    for text in texts:
        for line in _lines(text.removeprefix("file:")) if text.startswith("file:") else [text]:
            target = _parse_target(line)
            targets[target.name] = target
    return list(targets.values())


def _lines(path: str) -> list[str]:
    try:
        lines = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeError) as error:
        raise ImportStatsError(f"cannot read event targets from {path}: {_cause(error)}") from None
    return [line for line in lines if line and not line.startswith("#")]


def _parse_target(text: str) -> Target:
    if text.startswith("exec:"):
        return Command(text.removeprefix("exec:"))
    if text.startswith(("https://", "http://")):
        return Webhook(text)
    raise ImportStatsError("an event target is https://..., http://..., exec:COMMAND or file:PATH")


class Webhook:
    """Posts events as JSON, one per request. TLS certificates are verified.

    Parameters
    ----------
    url : str
        May hold secrets, in the user part (sent as Basic authentication), the path or the query.
    timeout : float
        Seconds to wait for a connection, and between two bytes of the answer.
    """

    def __init__(self, url: str, *, timeout: float = 10.0) -> None:
        try:
            parts = urlsplit(url)
            host = parts.hostname if parts.port != 0 else None
        except ValueError:
            host = None
        if not host:
            raise ImportStatsError("an event target of the form https://... has no valid host")
        authority = parts.netloc.rpartition("@")[2]
        # A user, password or query can be guessed from a hash; the path of a webhook, if it is
        # secret, is too long for that.
        public = urlunsplit((parts.scheme, authority, parts.path, "", ""))
        self.name = f"{parts.scheme}://{authority}#{_digest(public)}"
        self._url = url
        self._timeout = timeout
        self._session = requests.Session()
        self._session.headers["User-Agent"] = f"importstats/{__version__}"
        # Given in full, so that requests takes no other credentials out of ~/.netrc.
        self._session.auth = requests.utils.get_auth_from_url(url) if parts.username else _no_auth

    def deliver(self, payload: Payload) -> None:
        """Post the event; any answer but 2xx is a failure."""
        try:
            with self._session.post(
                self._url,
                json=dict(payload),
                headers={"Idempotency-Key": payload["id"]},
                timeout=self._timeout,
                allow_redirects=False,
                stream=True,
            ) as response:
                status, wait = response.status_code, response.headers.get("Retry-After", "")
        except (requests.RequestException, OSError) as error:
            raise DeliveryError(_cause(error)) from None
        if not 200 <= status < 300:
            retry_after_s = float(wait) if wait.isascii() and wait.isdigit() else 0.0
            raise DeliveryError(f"HTTP {status}", retry_after_s=retry_after_s)


class Command:
    """Runs a command for each event, without a shell.

    It gets the event as JSON on its standard input, and what a script wants most in its
    environment: ``IMPORTSTATS_EVENT``, ``IMPORTSTATS_EVENT_ID``, ``IMPORTSTATS_JOB_ID``,
    ``IMPORTSTATS_COLLECTION``, ``IMPORTSTATS_SOURCE_URI``, ``IMPORTSTATS_PHASE`` and
    ``IMPORTSTATS_MESSAGE``. The rest of the environment is ours, without the variables that may
    hold the server's token.

    Parameters
    ----------
    command : str
        Program and arguments, quoted as for a shell.
    timeout : float
        Seconds after which the command, and what it started, is killed.
    """

    def __init__(self, command: str, *, timeout: float = 60.0) -> None:
        try:
            self._arguments = shlex.split(command)
        except ValueError as error:
            raise ImportStatsError(f"exec: in an event target: {error}") from None
        if not self._arguments:
            raise ImportStatsError("exec: in an event target names no command")
        self.name = f"exec:{printable(self._arguments[0], 80)}#{_digest(command)}"
        self._timeout = timeout

    def deliver(self, payload: Payload) -> None:
        """Run the command; an exit code other than 0 is a failure."""
        # A file, not a pipe: what the command leaves running in the background may keep it open.
        with tempfile.TemporaryFile() as complaint:
            try:
                process = subprocess.Popen(  # noqa: S603 -- running the user's command is the point
                    self._arguments,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=complaint,
                    env={**_environment(), **_variables(payload)},
                    # A group of its own, to be killed with its children and not by our Ctrl-C.
                    start_new_session=True,
                )
            except (OSError, ValueError) as error:
                raise DeliveryError(f"cannot be run: {_cause(error)}") from None
            try:
                process.communicate(_encoded(payload), timeout=self._timeout)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                raise DeliveryError(f"killed after {self._timeout:g} s") from None
            if process.returncode != 0:
                complaint.seek(0)
                said = excerpt(complaint.read(1000))
                raise DeliveryError(
                    f"exit code {process.returncode}" + (f": {said}" if said else "")
                )


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=4).hexdigest()


def _encoded(payload: Payload) -> bytes:
    return json.dumps(payload).encode()


def _environment() -> dict[str, str]:
    secret = {*ENVIRONMENT["token"], *ENVIRONMENT["uri"]}
    return {name: value for name, value in os.environ.items() if name not in secret}


def _variables(payload: Payload) -> dict[str, str]:
    fields = {
        "EVENT": "event",
        "EVENT_ID": "id",
        "JOB_ID": "job_id",
        "COLLECTION": "collection_name",
        "SOURCE_URI": "source_uri",
        "PHASE": "phase",
        "MESSAGE": "message",
    }
    return {
        f"IMPORTSTATS_{variable}": printable(str(payload[field]), 1000)
        for variable, field in fields.items()
        if payload[field] is not None
    }


def _cause(error: BaseException) -> str:
    """Why a connection failed, without the URL that such messages repeat."""
    seen = [error]
    while (inner := _inner(seen[-1])) is not None and inner not in seen:
        seen.append(inner)
    innermost = seen[-1]
    if isinstance(innermost, OSError) and innermost.strerror:
        return printable(innermost.strerror)
    return type(innermost).__name__


def _inner(error: BaseException) -> BaseException | None:
    inner = [error.__cause__, error.__context__, getattr(error, "reason", None), *error.args]
    return next((each for each in inner if isinstance(each, BaseException)), None)


class Outbox:
    """The events of one server's jobs that are written down in a store. Thread-safe.

    Parameters
    ----------
    store : SnapshotStore
    source_uri : str
        The server; what others wrote down for other servers is left alone.
    targets : sequence of str
        Names of the targets to which an event is to be delivered.
    """

    def __init__(self, store: SnapshotStore, source_uri: str, targets: Sequence[str]) -> None:
        # The store has no public way to its file system, and another one opened by its public
        # URI would lack the endpoint and the durable writes.
        self._files = store._files
        self._source_uri = source_uri
        self._targets = set(targets)
        self._asked_at = datetime.now(UTC)
        self._known: set[str] = set()
        self._lock = threading.Lock()

    def since(self) -> datetime:
        """When events of this server were first asked for: by this outbox, if never before.

        Raises
        ------
        StoreError
            As all methods: the store cannot be read or written.
        """
        path = f"{_FOLDER}/since/cluster={slug(self._source_uri)}.json"
        try:
            found = _decoded(self._files.read(path).to_pybytes())
            return datetime.fromisoformat(found["since"])
        except (FileNotFoundError, KeyError, TypeError, ValueError):
            self._files.put(path, _encoded({"since": self._asked_at.isoformat()}))
            return self._asked_at

    def add(self, payload: Payload) -> bool:
        """Write an event down durably, unless it is known. Whether it was new."""
        event_id = payload["id"]
        with self._lock:
            if event_id in self._known:
                return False
            is_new = not any(map(self._files.exists, (_delivered(event_id), _pending(event_id))))
            if is_new:
                entry = {"event": dict(payload), "delivered_to": []}
                self._files.put(_pending(event_id), _encoded(entry))
            self._known.add(event_id)
            return is_new

    def paths(self) -> list[str]:
        """Where the pending events are, also those of other servers, the oldest first."""
        infos = [info for info in self._files.entries(f"{_FOLDER}/pending") if info.is_file]
        infos.sort(key=lambda info: (info.mtime_ns or 0, info.path))
        return [self._files.relative(info) for info in infos]

    def pending(self, target: str) -> Iterator[Payload]:
        """The events still to be delivered to a target, the longest written down first."""
        for path in self.paths():
            entry = self._read(path)
            if entry is None or entry["event"].get("source_uri") != self._source_uri:
                continue
            if target not in entry["delivered_to"]:
                yield entry["event"]

    def acknowledge(self, event_id: str, target: str) -> None:
        """Note that an event was delivered to a target."""
        with self._lock:
            entry = self._read(_pending(event_id))
            if entry is None:
                return
            entry["delivered_to"] = sorted({*entry["delivered_to"], target})
            if self._targets <= set(entry["delivered_to"]):
                self._files.put(_delivered(event_id), _encoded(entry))
                self._files.delete(_pending(event_id))
            else:
                self._files.put(_pending(event_id), _encoded(entry))

    def _read(self, path: str) -> dict[str, Any] | None:
        """A pending entry; None if it is delivered by now, or is none."""
        try:
            entry = _decoded(self._files.read(path).to_pybytes())
        except FileNotFoundError:
            return None
        except ValueError:
            log_event(logging.WARNING, "event file is damaged and left out", file=path)
            return None
        is_entry = isinstance(entry.get("event"), dict) and "id" in entry["event"]
        return {"delivered_to": [], **entry} if is_entry else None


def _pending(event_id: str) -> str:
    return f"{_FOLDER}/pending/{event_id}.json"


def _delivered(event_id: str) -> str:
    return f"{_FOLDER}/delivered/{event_id}.json"


def _decoded(content: bytes) -> dict[str, Any]:
    decoded = json.loads(content)
    if not isinstance(decoded, dict):
        raise ValueError("not a JSON object")
    return decoded


class Notifier:
    """Finds the events of the jobs a collector collects, and delivers them.

    Use it as a context manager around :meth:`Collector.run`, with :meth:`notice` as its
    ``on_saved``. Leaving it looks at every job once more and gives deliveries under way
    `grace_s` seconds; what is left stays pending in the store, for the next notifier of it.

    Parameters
    ----------
    store : SnapshotStore
    source_uri : str
        The server whose jobs are looked at.
    targets : iterable of str
        As :func:`parse_targets` takes them.
    look_s : float
        Seconds between two looks at changed jobs at least; more if looking takes long, so that it
        takes no more than a fifth of the time.
    idle_look_s : float
        Seconds between two looks at jobs of which nothing is heard.
    grace_s : float
        How long closing may take.

    Raises
    ------
    ImportStatsError
        A target is none.
    """

    def __init__(
        self,
        store: SnapshotStore,
        source_uri: str,
        targets: Iterable[str],
        *,
        look_s: float = 2.0,
        idle_look_s: float = 60.0,
        grace_s: float = 15.0,
    ) -> None:
        parsed = parse_targets(targets)
        self.found: Counter[str] = Counter()
        self._store = store
        self._source_uri = source_uri
        self._outbox = Outbox(store, source_uri, [target.name for target in parsed])
        self._couriers = [_Courier(target, self._outbox) for target in parsed]
        self._look_s, self._idle_look_s, self._grace_s = look_s, idle_look_s, grace_s
        self._lock = threading.Lock()
        self._changed: set[str] = set()
        self._open: set[str] = set()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="importstats-events")

    def __enter__(self) -> Self:
        for courier in self._couriers:
            courier.start()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def delivered(self) -> int:
        """Deliveries that succeeded."""
        return sum(courier.delivered for courier in self._couriers)

    @property
    def failed(self) -> int:
        """Deliveries that did not, each try counted."""
        return sum(courier.failed for courier in self._couriers)

    @property
    def pending(self) -> int:
        """Events in the outbox as last seen by the target that is furthest behind."""
        return max((courier.pending for courier in self._couriers), default=0)

    def notice(self, job: CollectedJob) -> None:
        """Take note that something of a job was stored. Returns at once."""
        self._note([job.job_id])
        self._wake.set()

    def close(self) -> None:
        """Look once more, deliver what can be delivered, and end the threads."""
        deadline = time.monotonic() + self._grace_s
        self._closing.set()
        self._wake.set()
        self._thread.join(self._grace_s)
        for courier in self._couriers:
            courier.close()
        for courier in self._couriers:
            courier.join(max(0.0, deadline - time.monotonic()))
        if self.pending > 0:
            log_event(logging.WARNING, "events stay pending in the store", events=self.pending)

    def _run(self) -> None:
        since: datetime | None = None
        next_idle_look = time.monotonic() + self._idle_look_s
        while True:
            self._wake.clear()
            is_last = self._closing.is_set()
            started = time.monotonic()
            if started >= next_idle_look or is_last:
                self._note(self._open)
                next_idle_look = started + self._idle_look_s
            since = since or self._prepare()
            if since is not None:
                self._look_at_changed(since)
            if is_last:
                return
            self._closing.wait(max(self._look_s, 4 * (time.monotonic() - started)))
            self._wake.wait(max(0.0, next_idle_look - time.monotonic()))

    def _note(self, job_ids: Iterable[str]) -> None:
        with self._lock:
            self._changed.update(job_ids)

    def _prepare(self) -> datetime | None:
        """From when on events count; and note the jobs that an earlier process may have left."""
        try:
            since = self._outbox.since()
            if self._store.exists():
                recent = self._store.jobs(
                    source_uri=self._source_uri,
                    since=max(since, datetime.now(UTC) - _RECOVERED),
                    columns=["job_id"],
                )
                self._note(recent["job_id"].unique().to_pylist())
        except StoreError as error:
            log_event(logging.WARNING, "cannot look for events", reason=error)
            return None
        return since

    def _look_at_changed(self, since: datetime) -> None:
        with self._lock:
            changed, self._changed = self._changed, set()
        for job_id in sorted(changed):
            try:
                self._look_at(job_id, since)
            except StoreError as error:
                log_event(logging.WARNING, "cannot look for events", job=job_id, reason=error)
                self._note([job_id])
            except Exception:  # What one job's data breaks must not silence the others.
                logger.exception("looking for events of job %s failed", printable(job_id))

    def _look_at(self, job_id: str, since: datetime) -> None:
        here = self._source_uri
        jobs = load_jobs(self._store, job_id=job_id, source_uri=here, gaps=True)
        details = load_details(self._store, job_id=job_id, source_uri=here, runs=True)
        found = events(jobs, details, datetime.now(UTC))
        if found["event"].isin(_LAST).any():
            self._open.discard(job_id)
        else:
            self._open.add(job_id)
        for payload in payloads(found[found["occurred_at"] >= since]):
            if self._outbox.add(payload):
                self.found[payload["event"]] += 1
                log_event(
                    logging.INFO, "event", id=payload["id"], job=job_id, said=payload["message"]
                )
                for courier in self._couriers:
                    courier.wake()


class _Courier:
    """Brings what is pending in an outbox to one target, in a thread, as long as it takes.

    It holds nothing in memory: the outbox is the queue. A failed event is tried again after all
    the others, so one that its target refuses does not hold them up.
    """

    def __init__(self, target: Target, outbox: Outbox) -> None:
        self.delivered = self.failed = self.pending = 0
        self._target = target
        self._outbox = outbox
        self._pause_s = _FIRST_PAUSE_S
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="importstats-courier")

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """There is something new in the outbox."""
        self._wake.set()

    def close(self) -> None:
        """Try what is pending once more, and end."""
        self._closing.set()
        self._wake.set()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            self._wake.clear()
            is_last = self._closing.is_set()
            try:
                self.pending = sum(1 for _ in self._outbox.paths())
                outcomes = [self._deliver(event) for event in self._events()]
                is_all_delivered = all(outcomes)
            except StoreError as error:
                log_event(logging.WARNING, "cannot read events", reason=error)
                is_all_delivered = False
                self._rest()
            if is_last:
                return
            if is_all_delivered:
                self._wake.wait()

    def _events(self) -> Iterator[Payload]:
        return self._outbox.pending(self._target.name)

    def _deliver(self, event: Payload) -> bool:
        fields = {"id": event["id"], "target": self._target.name}
        try:
            self._target.deliver(event)
        except DeliveryError as error:
            self.failed += 1
            log_event(logging.WARNING, "event not delivered", **fields, reason=error)
            self._rest(error.retry_after_s)
            return False
        self.delivered += 1
        self.pending -= 1
        self._pause_s = _FIRST_PAUSE_S
        log_event(logging.INFO, "event delivered", **fields)
        self._outbox.acknowledge(event["id"], self._target.name)
        return True

    def _rest(self, least_s: float = 0.0) -> None:
        """Leave the target alone for a while: each time twice as long, unless it is time to end."""
        pause_s = min(max(self._pause_s, least_s), _LONGEST_PAUSE_S)
        self._closing.wait(pause_s * random.uniform(0.8, 1.2))  # noqa: S311
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
