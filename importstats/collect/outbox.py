"""The outbox: events of a store's jobs, kept until every target has them.

Every event is first written to the store and then delivered::

    STORE/_events/since/cluster=CLUSTER.json    when events of this server were first asked for
    STORE/_events/pending/EVENT_ID.json         not yet delivered to every target
    STORE/_events/delivered/EVENT_ID.json       delivered; kept, so that it is not found again
    STORE/_events/set_aside/NAME.json           no event that could be delivered; never read again

A process that dies in between leaves the event pending, and the next one delivers it. So an event
can come twice but is never lost; its id (``Idempotency-Key``) marks the copies as one.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec

from importstats.collect.log import log_event
from importstats.collect.targets import Payload
from importstats.errors import StoreError
from importstats.store import SnapshotStore, slug

_FOLDER: Final = "_events"


class Outbox:
    """The events of one server's jobs in a store, for the named targets. Thread-safe."""

    def __init__(self, store: SnapshotStore, source_uri: str, targets: Sequence[str]) -> None:
        self._files = store.sidecar_files
        self._source_uri = source_uri
        self._targets = set(targets)
        self._asked_at = datetime.now(UTC)
        self._known: set[str] = set()
        self._lock = threading.Lock()
        #: How many pending files were not events and were set aside.
        self.set_aside = 0

    def asked_since(self) -> datetime:
        """When events of this server were first wanted; now, if never before.

        Raises
        ------
        StoreError
            As for all methods: the store cannot be read or written.
        """
        path = f"{_FOLDER}/since/cluster={slug(self._source_uri)}.json"
        try:
            return msgspec.json.decode(self._files.read(path).to_pybytes(), type=_Since).since
        except (FileNotFoundError, msgspec.DecodeError, UnicodeError):
            self._files.put(path, _json_bytes({"since": self._asked_at.isoformat()}))
            return self._asked_at

    def add(self, payload: Payload) -> bool:
        """Store an event durably unless it is known; returns whether it was new."""
        event_id = payload["id"]
        with self._lock:
            if event_id in self._known:
                return False
            is_new = not any(map(self._files.exists, (_delivered(event_id), _pending(event_id))))
            if is_new:
                entry = {"event": dict(payload), "delivered_to": []}
                self._files.put(_pending(event_id), _json_bytes(entry))
            self._known.add(event_id)
            return is_new

    def paths(self) -> list[str]:
        """The paths of all pending events, including other servers', the oldest first."""
        infos = [info for info in self._files.entries(f"{_FOLDER}/pending") if info.is_file]
        infos.sort(key=lambda info: (info.mtime_ns or 0, info.path))
        return [self._files.relative(info) for info in infos]

    def pending(self, target: str) -> Iterator[Payload]:
        """The events that a target still has to get, the oldest first."""
        for path in self.paths():
            entry = self._read(path)
            if entry is None or entry.event["source_uri"] != self._source_uri:
                continue
            if target not in entry.delivered_to:
                yield entry.event

    def acknowledge(self, event_id: str, target: str) -> None:
        """Note that an event was delivered to a target."""
        with self._lock:
            entry = self._read(_pending(event_id))
            if entry is None:
                return
            entry.delivered_to = sorted({*entry.delivered_to, target})
            if self._targets <= set(entry.delivered_to):
                self._files.put(_delivered(event_id), msgspec.json.encode(entry))
                self._files.delete(_pending(event_id))
            else:
                self._files.put(_pending(event_id), msgspec.json.encode(entry))

    def _read(self, path: str) -> _Entry | None:
        """A pending event; None if it is delivered by now, or is no event and was set aside."""
        try:
            content = self._files.read(path).to_pybytes()
        except FileNotFoundError:
            return None
        try:
            entry = msgspec.json.decode(content, type=_Entry)
            event = msgspec.convert(entry.event, _Event)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            self._put_aside(path, str(error))
            return None
        if path != _pending(event.id):
            self._put_aside(path, f"the event is {event.id}")
            return None
        return entry

    def _put_aside(self, path: str, reason: str) -> None:
        """Move a file that cannot be delivered out of the way, but keep it."""
        name = path.rpartition("/")[2]
        try:
            self._files.move(path, f"{_FOLDER}/set_aside/{name}")
        except StoreError:
            if self._files.exists(path):
                raise
            return  # Another courier was faster.
        self.set_aside += 1
        log_event(logging.WARNING, "not an event: set aside", file=path, reason=reason)


class _Since(msgspec.Struct):
    since: datetime


class _Event(msgspec.Struct):
    """The parts of an event that its delivery needs."""

    id: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,200}$")]
    event: str
    source_uri: str
    job_id: str


class _Entry(msgspec.Struct):
    event: dict[str, Any]
    delivered_to: list[str] = []


def _pending(event_id: str) -> str:
    return f"{_FOLDER}/pending/{event_id}.json"


def _delivered(event_id: str) -> str:
    return f"{_FOLDER}/delivered/{event_id}.json"


def _json_bytes(payload: Payload) -> bytes:
    return json.dumps(payload).encode()
