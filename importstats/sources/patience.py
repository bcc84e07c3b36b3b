"""Patience: tries a request again if that may help, and raises what an HTTP status means."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from importstats.errors import (
    REFUSED_ADVICE,
    BadResponseError,
    PrivilegeError,
    ServerError,
    UnauthorizedError,
    UnreachableError,
)
from importstats.sources.answers import decode_object
from importstats.sources.envelope import check_status
from importstats.sources.transport import Answer, TlsError, Transport
from importstats.text import excerpt

_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 20.0
_MESSAGE_LIMIT: Final = 300

_Parsed = TypeVar("_Parsed")


class NoSuchPathError(ServerError):
    """404 from the router, not from the API."""


class Patience:
    """Asks until an answer comes or the time is over.

    Parameters
    ----------
    transport : Transport
    timeout_s : float
        Seconds for all tries and the pauses between them.
    retries : int
        How often to try again, if another try may succeed.

    Attributes
    ----------
    clock_ahead_s : float or None
        How far the server's clock is ahead of ours, by its last answer.
    """

    def __init__(self, transport: Transport, timeout_s: float, retries: int) -> None:
        self._transport, self._timeout_s, self._retries = transport, timeout_s, retries
        self.clock_ahead_s: float | None = None

    def ask(
        self,
        parse: Callable[[bytes], _Parsed],
        method: str,
        path: str,
        payload: Mapping[str, Any],
        headers: Mapping[str, bytes],
        retries: int | None = None,
    ) -> _Parsed:
        """The parsed answer. `retries` replaces the usual number of retries."""
        retries = self._retries if retries is None else retries
        deadline = time.monotonic() + self._timeout_s
        attempt = 0
        while True:
            left = max(deadline - time.monotonic(), 0.001)
            try:
                answer = self._transport.exchange(method, path, payload, headers, left)
                self.clock_ahead_s = answer.clock_ahead_s
                _check_http_status(self._transport.uri, answer, path)
                return parse(answer.content)
            except TlsError:
                raise
            except UnreachableError as error:
                pause = max(_backoff(attempt), error.retry_after_s)
                if attempt >= retries or time.monotonic() + pause >= deadline:
                    raise
            time.sleep(pause)
            attempt += 1


def _check_http_status(uri: str, answer: Answer, path: str) -> None:
    status = answer.status
    if status == 200:
        return
    envelope = _envelope(answer.content)
    number, message = envelope.get("code", envelope.get("status")), envelope.get("message")
    # Only the message of an envelope is worth showing.
    said = excerpt(str(message or "") or answer.content, _MESSAGE_LIMIT)
    if status == 401:
        raise UnauthorizedError(
            f"{uri} refused the token (HTTP {status}: {said}); {REFUSED_ADVICE}"
        )
    if 300 <= status < 400:
        raise ServerError(
            f"{uri} redirects to {excerpt(answer.location)}; redirects are not followed, "
            "give that address as the URI if you trust it",
            code=status,
        )
    if status in (408, 429) or status >= 500:
        raise UnreachableError(
            f"{uri} answered HTTP {status} to the last try: {said}",
            retry_after_s=answer.retry_after_s,
        )
    if isinstance(number, int):
        # Some servers wrap their own errors in a 4xx with the usual envelope.
        check_status(number or status, str(message or ""))
    if status == 403:
        raise PrivilegeError(said, code=status)
    if status == 404 and number is None:
        raise NoSuchPathError(f"{uri} has no {path}", code=status)
    raise ServerError(f"{uri} answered HTTP {status}: {said}", code=status, server_message=said)


def _envelope(content: bytes) -> dict[str, Any]:
    """An answer's envelope; an empty one if the content is no envelope."""
    try:
        return decode_object(content)
    except BadResponseError:
        return {}


def _backoff(attempt: int) -> float:
    """The pause after a failed attempt, counted from 0, in seconds."""
    pause = min(_FIRST_PAUSE_S * 2.0**attempt, _LONGEST_PAUSE_S)
    return pause + random.uniform(0, 0.5)  # noqa: S311
