"""Faults of a simulated server, to be switched while it runs."""

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

    The first group of fields are numbers of requests to come that the fault hits, counted down as
    it does; ``math.inf`` is until it is set back to 0. One request has one fault, in the order of
    the fields.

    Attributes
    ----------
    server_errors : float
        HTTP `server_error_status` with an HTML page.
    throttled : float
        HTTP 429 with ``Retry-After: retry_after_s``.
    dropped : float
        The connection is closed instead of an answer.
    dropped_in_body : float
        The connection is closed half-way through the body.
    truncated : float
        HTTP 200 with half of the JSON, and a length to match.
    html : float
        HTTP 200 with the HTML page of some proxy.
    huge : float
        HTTP 200 with a body of `huge_bytes`.
    redirected : float
        HTTP 307 to `redirect_to`.
    timeouts : float
        HTTP 408, as JSON or (`timeout_is_text`) as bare text.
    not_ready : float
        HTTP 200 with code 1: the coordinator starts.
    server_error_rate : float
        Share of requests that fail with `server_error_status`, at random, besides the above.
    server_error_status : int
    retry_after_s : float
        Printed as whole seconds.
    huge_bytes : int
    redirect_to : str
        A URL prefix; the path of the request is appended.
    timeout_is_text : bool
    latency_s : float
        How long every answer takes on top.
    drip_bytes_per_s : float
        How fast every body is sent; 0 for at once.
    refuse_token : bool
        Every token is refused from now on.
    seed : int
        Draws which requests fail by `server_error_rate`.

    Examples
    --------
    >>> faults = Faults(throttled=1)
    >>> faults.take(), faults.take()
    (<Fault.THROTTLED: 'throttled'>, None)
    """

    server_errors: float = 0
    throttled: float = 0
    dropped: float = 0
    dropped_in_body: float = 0
    truncated: float = 0
    html: float = 0
    huge: float = 0
    redirected: float = 0
    timeouts: float = 0
    not_ready: float = 0
    server_error_rate: float = 0.0
    server_error_status: int = 503
    retry_after_s: float = 1.0
    huge_bytes: int = 512 * 2**20
    redirect_to: str = "http://127.0.0.1:1"
    timeout_is_text: bool = False
    latency_s: float = 0.0
    drip_bytes_per_s: float = 0.0
    refuse_token: bool = False
    seed: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - not a secret

    def take(self) -> Fault | None:
        """The fault that hits the next request, which is counted."""
        with self._lock:
            for fault in Fault:
                left: float = getattr(self, fault)
                if left > 0:
                    setattr(self, fault, left if math.isinf(left) else left - 1)
                    return fault
            if self._random.random() < self.server_error_rate:
                return Fault.SERVER_ERRORS
            return None
