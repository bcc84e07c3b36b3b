"""A simulated server's faults, which can be switched while it runs."""

from __future__ import annotations

import math
import random
import threading
from dataclasses import dataclass, field
from enum import StrEnum


class Fault(StrEnum):
    """What can happen to one request; each is a field of :class:`Faults`."""

    SERVER_ERRORS = "server_errors"
    THROTTLED = "throttled"
    DROPPED = "dropped"
    DROPPED_IN_BODY = "dropped_in_body"
    TRUNCATED = "truncated"
    HTML = "html"
    HUGE = "huge"
    REDIRECTED = "redirected"
    TIMEOUTS = "timeouts"
    NOT_READY = "not_ready"


@dataclass(kw_only=True)
class Faults:
    """What goes wrong, for how many requests.

    The fields down to `not_ready` are how many of the next requests have the fault; ``math.inf`` is
    until it is set back to 0. One request has one fault, in the order of the fields.

    Examples
    --------
    >>> faults = Faults(throttled=1)
    >>> faults.take(), faults.take()
    (<Fault.THROTTLED: 'throttled'>, None)
    """

    #: HTTP `server_error_status` with an HTML page.
    server_errors: float = 0
    #: HTTP 429 with ``Retry-After: retry_after_s``.
    throttled: float = 0
    #: The connection is closed instead of an answer, or halfway through the body.
    dropped: float = 0
    dropped_in_body: float = 0
    #: HTTP 200 with half of the JSON, and a length to match.
    truncated: float = 0
    #: HTTP 200 with some proxy's HTML page.
    html: float = 0
    #: HTTP 200 with a body of `huge_bytes`.
    huge: float = 0
    #: HTTP 307 to `redirect_to`.
    redirected: float = 0
    #: HTTP 408 with JSON or, if `timeout_is_text`, with bare text.
    timeouts: float = 0
    #: HTTP 200 with code 1: the coordinator starts.
    not_ready: float = 0
    #: Share of the other requests that fail with `server_error_status`, at random by `seed`.
    server_error_rate: float = 0.0
    server_error_status: int = 503
    #: Sent as whole seconds.
    retry_after_s: float = 1.0
    huge_bytes: int = 512 * 2**20
    #: A URL prefix, to which the request's path is appended.
    redirect_to: str = "http://127.0.0.1:1"
    timeout_is_text: bool = False
    #: How much longer every answer takes.
    latency_s: float = 0.0
    #: How fast every body is sent; 0 for at once.
    drip_bytes_per_s: float = 0.0
    #: Whether every token is refused.
    refuse_token: bool = False
    seed: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - not a secret

    def take(self) -> Fault | None:
        """The next request's fault, which is counted; ``None`` if it has none."""
        with self._lock:
            for fault in Fault:
                left: float = getattr(self, fault)
                if left > 0:
                    setattr(self, fault, left if math.isinf(left) else left - 1)
                    return fault
            if self._random.random() < self.server_error_rate:
                return Fault.SERVER_ERRORS
            return None
