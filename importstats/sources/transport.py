"""One exchange with a server over HTTP: bounded in time and size, and masked before it is read."""

from __future__ import annotations

import base64
import http.client
import os
import re
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final

import requests
from requests.auth import AuthBase
from requests.utils import get_environ_proxies
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    IncompleteRead,
    NewConnectionError,
    ReadTimeoutError,
)
from urllib3.util import Timeout

from importstats.errors import BadResponseError, ImportStatsError, UnreachableError, nested_errors
from importstats.sources.ca_bundle import check_ca_bundle
from importstats.sources.deadline import DeadlineAdapter
from importstats.sources.secrets import Secrets
from importstats.text import excerpt, without_secrets

_CHUNK_BYTES: Final = 1 << 16
_CONNECTIONS: Final = 128
#: The longest body that is passed to a sink, which may be longer than one that is kept.
_MOST_STREAMED_BYTES: Final = 256 * 2**20
_LONGEST_RETRY_AFTER_S: Final = 3600.0


#: Takes a piece of a body, and returns whether it wants more.
Sink = Callable[[bytes], bool]


class NotSentError(UnreachableError):
    """No connection was made, so the server has not seen the request."""


class TlsError(NotSentError):
    """No connection can be encrypted as asked; another try would end the same way."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A server's answer, without the secrets that it may repeat.

    Attributes
    ----------
    status : int
        HTTP status.
    content : bytes
        The body, unpacked.
    location : str
        A redirect's target, without user, password and query.
    retry_after_s : float
        How many seconds the server asks us to wait; 0 if it does not.
    clock_ahead_s : float or None
        How far the server's clock is ahead of ours, by its ``Date`` in whole seconds; ``None`` if
        it sends none.
    """

    status: int
    content: bytes
    location: str
    retry_after_s: float
    clock_ahead_s: float | None


class Transport:
    """Sends requests to one server over one pooled session. Thread-safe.

    Parameters
    ----------
    uri : str
        The server, without secrets.
    token : str
        Sent as a Bearer token; empty for none.
    verify : bool or str
        Whether to verify the server's TLS certificate, or the path of a CA bundle for it.
    max_response_bytes : int
        A longer answer is refused.
    basic : bool
        Send the token, a ``user:password``, as HTTP Basic instead.

    Raises
    ------
    UsageError
        The CA bundle cannot be used.
    """

    def __init__(
        self,
        uri: str,
        token: str,
        *,
        verify: bool | str,
        max_response_bytes: int,
        basic: bool = False,
    ) -> None:
        self.secrets = Secrets(token)
        self.has_token = bool(token)
        self.uri = uri
        self._verify = verify
        self._max_bytes = max_response_bytes
        self._session = requests.Session()
        # They are looked up once, because that is a quarter of a request's work.
        self._proxies = get_environ_proxies(uri)
        if verify is True:
            # The variables that requests reads.
            bundles = (os.environ.get(name) for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"))
            self._verify = next(filter(None, bundles), True)
        if isinstance(self._verify, str) and uri.startswith("https"):
            check_ca_bundle(self._verify)
        adapter = DeadlineAdapter(_CONNECTIONS)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)
        self._headers = {**self._session.headers, "Accept": "application/json"}
        self._auth = _Token(token, basic=basic)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def exchange(
        self,
        method: str,
        path: str,
        payload: Mapping[str, Any],
        headers: Mapping[str, str | bytes],
        timeout_s: float,
        sink: Sink | None = None,
    ) -> Answer:
        """Send one request once; the payload is its JSON body, or a GET's query.

        A `sink` gets the body of a good answer piece by piece instead, until it wants no more, and
        has to mask it. Such an answer may be long.

        Raises
        ------
        UnreachableError
            No whole answer came in time.
        BadResponseError
            The answer is too long.
        """
        outcome = self._attempt(method, path, payload, headers, timeout_s, sink)
        if isinstance(outcome, ImportStatsError):
            # It is not raised inside the handler, because its cause may repeat the token.
            raise outcome
        return outcome

    def _attempt(
        self,
        method: str,
        path: str,
        payload: Mapping[str, Any],
        headers: Mapping[str, str | bytes],
        timeout_s: float,
        sink: Sink | None,
    ) -> Answer | ImportStatsError:
        deadline = time.monotonic() + timeout_s
        options: dict[str, Any] = {"params" if method == "GET" else "json": dict(payload)}
        try:
            # Not by the session: it would keep cookies, with which a server could burden each
            # request, and follow redirects, which turn a POST into a GET and could carry the token
            # elsewhere.
            request = requests.Request(
                method,
                self.uri + path,
                headers={**self._headers, **headers},
                auth=self._auth,
                **options,
            ).prepare()
            with self._session.get_adapter(self.uri).send(
                request,
                stream=True,
                timeout=Timeout(total=timeout_s),  # type: ignore[arg-type]
                verify=self._verify,
                proxies=self._proxies,
            ) as response:
                taker = sink if response.status_code == HTTPStatus.OK else None
                body = self._read(response, deadline, timeout_s, taker)
                content = self.secrets.masked_body(body)
                location = without_secrets(
                    self.secrets.masked(response.headers.get("Location", "nowhere"))
                )
                retry_after_s = _retry_after_s(response.headers.get("Retry-After", ""))
                ahead_s = _clock_ahead_s(response.headers.get("Date", ""))
                return Answer(response.status_code, content, location, retry_after_s, ahead_s)
        except ImportStatsError as error:
            return error
        # The libraries raise ValueError for a status or Location that makes no sense.
        except (requests.exceptions.RequestException, HTTPError, OSError, ValueError) as error:
            return self._failure(error)

    def _read(
        self, response: requests.Response, deadline: float, timeout_s: float, sink: Sink | None
    ) -> bytes:
        content = bytearray()
        length, most = 0, self._max_bytes if sink is None else _MOST_STREAMED_BYTES
        while time.monotonic() < deadline:
            try:
                chunk = response.raw.read1(_CHUNK_BYTES, decode_content=True)
            except ReadTimeoutError:
                break
            length += len(chunk)
            if length > most:
                raise BadResponseError(
                    f"{self.uri} sent more than {most:,} bytes; refused. "
                    "Raise max_response_bytes if a job really has that many files"
                )
            if sink is None:
                content += chunk
            if not chunk or (sink is not None and not sink(chunk)):
                return bytes(content)
        raise UnreachableError(
            f"{self.uri} was still sending after {timeout_s:.3g} s; raise the timeout"
        )

    def _failure(self, error: BaseException) -> UnreachableError:
        """The error to raise if a library's exception ended an exchange."""
        seen = nested_errors(error)
        if any(isinstance(each, ssl.SSLCertVerificationError) for each in seen):
            return TlsError(
                f"{self.uri}: the TLS certificate cannot be verified ({self._cause(error)}); give "
                "your own CA with verify=PATH or --ca-file, or use the host name in the certificate"
            )
        if any(isinstance(each, ssl.SSLError) and each.reason in _NO_TLS for each in seen):
            return TlsError(
                f"{self.uri}: what answers at this port does not speak TLS; check the port, or use "
                "http:// if the token may be sent unencrypted"
            )
        not_sent = any(isinstance(each, NewConnectionError | ConnectTimeoutError) for each in seen)
        return (NotSentError if not_sent else UnreachableError)(
            f"{self.uri} does not answer ({self._cause(error)}); check the URI and the network"
        )

    def _cause(self, error: BaseException) -> str:
        """A nested connection error's innermost reason, in a few words.

        The libraries' messages about invalid HTTP are left out: they quote pieces of it, and a
        piece of the token could not be recognised.
        """
        seen = nested_errors(error)
        if any(isinstance(each, TimeoutError) for each in seen):
            return "timed out"
        for each in reversed(seen):
            if isinstance(each, _SAY_NO_MORE_THAN_NUMBERS):
                return str(each)
            if isinstance(each, ssl.SSLError) or type(each) is OSError:
                return excerpt(self.secrets.masked(str(each)))
            if isinstance(each, OSError) and each.strerror:
                return f"[Errno {each.errno}] {each.strerror}"
        return f"its answer is not HTTP: {type(seen[-1]).__name__}"


#: How OpenSSL's releases call a first answer that is no TLS.
_NO_TLS: Final = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST")
_SAY_NO_MORE_THAN_NUMBERS: Final = (
    http.client.RemoteDisconnected,
    http.client.IncompleteRead,
    IncompleteRead,
)


class _Token(AuthBase):
    """Sets the Authorization header.

    Requests must have an ``auth`` object, even for an empty token; otherwise it takes credentials
    from ``~/.netrc``.
    """

    def __init__(self, token: str, *, basic: bool) -> None:
        self._token = token
        self._basic = basic

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token and self._basic:
            encoded = base64.b64encode(self._token.encode()).decode()
            request.headers["Authorization"] = f"Basic {encoded}"
        elif self._token:
            # Headers are sent as Latin-1, but Milvus reads UTF-8.
            request.headers["Authorization"] = f"Bearer {self._token}".encode().decode("latin-1")
        return request


def _retry_after_s(printed: str) -> float:
    """``Retry-After`` in seconds; 0 if there is none, or a date, which no server here sends."""
    if re.fullmatch(r"[0-9]{1,9}", printed.strip()) is None:
        return 0.0
    return min(float(printed), _LONGEST_RETRY_AFTER_S)


def _clock_ahead_s(printed: str) -> float | None:
    try:
        date = parsedate_to_datetime(printed)
        return (date - datetime.now(date.tzinfo)).total_seconds() if date.tzinfo else None
    except (ValueError, OverflowError):
        return None
