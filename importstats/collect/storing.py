"""Storing a snapshot, even if this process lacks a resource for a moment."""

from __future__ import annotations

import errno
import itertools
import logging
import threading
from collections.abc import Callable
from typing import Final

from importstats.collect.log import log_event
from importstats.errors import StoreError
from importstats.sources.snapshot import Snapshot

Append = Callable[[Snapshot], None]

#: Errors that may pass: a process without file descriptors has one again when a connection ends.
_PASSING: Final = frozenset({errno.EMFILE, errno.ENFILE})
_TRIES: Final = 30
_PAUSE_S: Final = 1.0


def append_patiently(append: Append, stop: threading.Event, snapshot: Snapshot) -> None:
    """Append a snapshot; if that may help, try again for half a minute or until `stop`."""
    for attempt in itertools.count(1):
        try:
            append(snapshot)
            break
        except StoreError as error:
            is_passing = getattr(error.__cause__, "errno", None) in _PASSING
            if not is_passing or attempt >= _TRIES:
                raise
            log_event(logging.WARNING, "cannot store yet", job=snapshot.job_id, reason=error)
        stop.wait(_PAUSE_S)
