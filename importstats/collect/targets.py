"""Targets: where events go: webhooks, commands and desktop notifications.

Their names in logs and in the store contain nothing that may be a secret.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit, urlunsplit

import requests

from importstats.collect.presets import PRESETS, SEVERITIES, pagerduty
from importstats.errors import UsageError, nested_errors
from importstats.sources.endpoint import ENVIRONMENT
from importstats.text import excerpt, printable
from importstats.version import __version__

#: How long a webhook may take to connect, and to send the next byte of its answer.
_WEBHOOK_TIMEOUT_S: Final = 10.0

Payload = Mapping[str, Any]


class DeliveryError(UsageError):
    """A target did not take an event; it may ask us to wait for `retry_after_s`."""

    def __init__(self, message: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Target(Protocol):
    """One place that events go to."""

    #: The same in every process, and without secrets, so that it can be logged.
    name: str

    def deliver(self, payload: Payload) -> None:
        """Deliver one event, or raise :class:`DeliveryError`."""


def parse_targets(texts: Iterable[str]) -> list[Target]:
    """The distinct targets that some texts name.

    A target is ``https://...`` or ``http://...`` (a webhook), the same after ``slack+``,
    ``teams+``, ``pagerduty+`` or ``openlineage+`` (in the form which that service wants),
    ``exec:COMMAND ...``, ``desktop:`` (a notification on this machine), or ``file:PATH``, a file
    with one target per line for addresses that are secret. Empty lines in it and lines that start
    with ``#`` are skipped. PagerDuty's routing key comes before an ``@``, as in
    ``pagerduty+https://KEY@events.pagerduty.com/v2/enqueue``.

    Raises
    ------
    UsageError
        A text is not a target, or a file cannot be read. The message does not repeat a target,
        which may contain a secret.

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
        raise UsageError(f"cannot read event targets from {path}: {_cause(error)}") from None
    return [line for line in lines if line and not line.startswith("#")]


def _parse_target(text: str) -> Target:
    if text.startswith("exec:"):
        return Command(text.removeprefix("exec:"))
    if text == "desktop:":
        return Desktop()
    service, _, address = text.partition("+") if "+" in text.partition(":")[0] else ("", "", text)
    if address.startswith(("https://", "http://")):
        if service == "":
            return Webhook(address)
        if service in PRESETS:
            return Webhook(address, service=service, form=PRESETS[service])
        if service == "pagerduty":
            return _pagerduty(address)
    raise UsageError(
        "an event target is https://..., http://..., either after slack+, teams+, pagerduty+ or "
        "openlineage+, exec:COMMAND, desktop: or file:PATH"
    )


def _pagerduty(address: str) -> Webhook:
    """The webhook for PagerDuty. Its key belongs in the body, not in a header."""
    scheme, _, rest = address.partition("://")
    key, at, public = rest.partition("@")
    if not at or not key:
        raise UsageError(
            "an event target of PagerDuty has its routing key before the host: "
            "pagerduty+https://KEY@events.pagerduty.com/v2/enqueue"
        )
    # Two services of the same host differ in their keys, which nobody can guess from a hash.
    return Webhook(
        f"{scheme}://{public}",
        service=f"pagerduty-{_digest(key)}",
        form=lambda payload: pagerduty(payload, key),
    )


class Webhook:
    """Posts events as JSON, one per request. TLS certificates are verified.

    Parameters
    ----------
    url : str
        It may contain secrets: in the user part (sent as Basic authentication), the path or the
        query.
    service : str
        Distinguishes targets of the same address with different formats.
    form : callable, optional
        Turns an event into the body, or ``None`` if the service has no use for it. By default the
        event is the body.
    """

    def __init__(
        self, url: str, *, service: str = "", form: Callable[[Payload], Payload | None] = dict
    ) -> None:
        try:
            parts = urlsplit(url)
            host = parts.hostname if parts.port != 0 else None
        except ValueError:
            host = None
        if not host:
            raise UsageError("an event target of the form https://... has no valid host")
        authority = parts.netloc.rpartition("@")[2]
        # A user, password or query can be guessed from a hash; the path of a webhook, if it is
        # secret, is too long for that.
        public = urlunsplit((parts.scheme, authority, parts.path, "", ""))
        prefix = f"{service}+" if service else ""
        self.name = f"{prefix}{parts.scheme}://{authority}#{_digest(public)}"
        self._url = url
        self._form = form
        self._session = requests.Session()
        self._session.headers["User-Agent"] = f"importstats/{__version__}"
        # Given in full, so that requests takes no other credentials out of ~/.netrc.
        self._session.auth = requests.utils.get_auth_from_url(url) if parts.username else _no_auth

    def deliver(self, payload: Payload) -> None:
        """Post the event; any answer but 2xx is a failure."""
        body = self._form(payload)
        if body is None:
            return
        try:
            with self._session.post(
                self._url,
                json=body,
                headers={"Idempotency-Key": payload["id"]},
                timeout=_WEBHOOK_TIMEOUT_S,
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

    It gets the event as JSON on its standard input, and the most useful values in its environment:
    ``IMPORTSTATS_EVENT``, ``IMPORTSTATS_EVENT_ID``, ``IMPORTSTATS_JOB_ID``,
    ``IMPORTSTATS_COLLECTION``, ``IMPORTSTATS_SOURCE_URI``, ``IMPORTSTATS_PHASE`` and
    ``IMPORTSTATS_MESSAGE``. The rest of the environment is that of this process, without the
    variables that may contain the server's token.

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
            raise UsageError(f"exec: in an event target: {error}") from None
        if not self._arguments:
            raise UsageError("exec: in an event target names no command")
        self.name = f"exec:{printable(self._arguments[0], 80)}#{_digest(command)}"
        self._timeout = timeout

    def arguments(self, _payload: Payload) -> list[str]:
        """The program to run and its arguments."""
        return self._arguments

    def deliver(self, payload: Payload) -> None:
        """Run the command; an exit code other than 0 is a failure."""
        # A file, not a pipe: a background process that the command leaves behind may keep it open.
        with tempfile.TemporaryFile() as complaint:
            try:
                process = subprocess.Popen(  # noqa: S603 -- running the user's command is the point
                    self.arguments(payload),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=complaint,
                    env={**_environment_without_secrets(), **_variables(payload)},
                    # Its own process group, so that it can be killed with its children, and not by
                    # our Ctrl-C.
                    start_new_session=True,
                )
            except (OSError, ValueError) as error:
                raise DeliveryError(f"cannot be run: {_cause(error)}") from None
            try:
                process.communicate(json.dumps(payload).encode(), timeout=self._timeout)
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


class Desktop(Command):
    """Shows events as notifications on this desktop, with ``notify-send`` of libnotify."""

    def __init__(self) -> None:
        super().__init__("notify-send")
        self.name = "desktop:"

    def arguments(self, payload: Payload) -> list[str]:
        """The command line; a server's text is a separate argument, never an option."""
        urgent = SEVERITIES.get(payload["event"]) in ("critical", "error")
        return [
            "notify-send",
            "--app-name=importstats",
            f"--urgency={'critical' if urgent else 'normal'}",
            "--",
            f"Import {payload['event'].replace('_', ' ')}",
            # Escaped, as it is for Slack: a desktop may read markup in it.
            payload["text"],
        ]


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=4).hexdigest()


def _environment_without_secrets() -> dict[str, str]:
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
        if payload.get(field) is not None
    }


def _cause(error: BaseException) -> str:
    """Why a connection failed, without the URL that such messages repeat."""
    innermost = nested_errors(error)[-1]
    if isinstance(innermost, OSError) and innermost.strerror:
        return printable(innermost.strerror)
    return type(innermost).__name__
