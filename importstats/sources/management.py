"""A read-only client of the management port (9091) of self-hosted Milvus.

The port is internal to the server and promises nothing. So each answer is an *outcome* (not
offered, needs credentials, hidden, ...) and never an error, lest the collection of progress suffer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import msgspec

from importstats.closing import Closing
from importstats.errors import BadResponseError, ImportStatsError, UsageError
from importstats.sources.endpoint import from_environment, parse_endpoint
from importstats.sources.json_stream import ListReader
from importstats.sources.management_lists import (
    Segments,
    parse_builds,
    parse_compactions,
    parse_nodes,
    parse_settings,
    parse_tasks,
)
from importstats.sources.management_metrics import MissingParserError, parse_samples
from importstats.sources.transport import Answer, Sink, Transport
from importstats.text import excerpt

Row = dict[str, Any]

#: Every path that a client can ask for, with GET. Other paths of the port change the server.
PATHS: Final[Mapping[str, str]] = {
    "tasks": "/api/v1/_dc/tasks/import",
    "builds": "/api/v1/_dc/tasks/build_index",
    "compactions": "/api/v1/_dc/tasks/compaction",
    "segments": "/api/v1/_dc/segments",
    "nodes": "/api/v1/_cluster/info",
    "settings": "/api/v1/_cluster/configs",
    "gauges": "/metrics",
}

_MAX_BYTES: Final = 16 * 2**20
#: The most values and lists in a JSON answer: they take far more memory than their bytes.
_MOST_VALUES: Final = 1_000_000
_MAX_ERROR_LENGTH: Final = 200


class Outcome(StrEnum):
    """The outcome of a request to the management port."""

    ANSWERED = "answered"
    NOT_OFFERED = "not offered"
    NEEDS_CREDENTIALS = "needs credentials"
    HIDDEN = "hidden"
    NOT_REACHED = "not reached"
    FAILING = "failing"
    UNREADABLE = "unreadable"
    NEEDS_EXTRA = "needs an extra"


@dataclass(frozen=True, slots=True)
class Reading:
    """The management port's answer, or why there is none.

    Attributes
    ----------
    outcome : Outcome
    rows : list of dict
        One for each entry, by the columns of :mod:`importstats.sources.management_lists`; empty
        without an answer.
    reason : str
        Why there is no answer, in a sentence; empty if there is one.
    unknown : tuple of str
        The names of fields that this version does not know.
    """

    outcome: Outcome
    rows: list[Row] = field(default_factory=list)
    reason: str = ""
    unknown: tuple[str, ...] = ()

    @property
    def answered(self) -> bool:
        """Whether there is an answer."""
        return self.outcome is Outcome.ANSWERED


class ManagementClient(Closing):
    """Reads the management port of one Milvus process. Thread-safe.

    Parameters
    ----------
    uri : str
        As in ``http://proxy:9091``. The proxy shows the whole cluster; other processes have only
        their own metrics.
    token : str, optional
        ``user:password`` or an API key; empty for none. Default: the environment, as for
        :class:`~importstats.ImportClient`.
    timeout : float
        Seconds for a request and its whole answer.
    verify : bool or str
        Whether to verify a TLS certificate, or the path of a CA bundle for it.
    max_response_bytes : int
        A longer answer is refused.

    Raises
    ------
    UsageError
        It is not a URI, or the CA bundle cannot be used.

    Examples
    --------
    >>> with ManagementClient("http://127.0.0.1:1", timeout=1) as client:
    ...     reading = client.tasks()
    >>> reading.outcome.value, reading.rows
    ('not reached', [])
    """

    def __init__(
        self,
        uri: str,
        *,
        token: str | None = None,
        timeout: float = 5.0,
        verify: bool | str = True,
        max_response_bytes: int = _MAX_BYTES,
    ) -> None:
        if not uri.strip():
            raise UsageError("no management port: give its URI, as http://proxy:9091")
        endpoint = parse_endpoint(uri)
        if token is None:
            token = endpoint.credentials or from_environment("token") or ""
        self.uri = endpoint.uri
        self._timeout_s = timeout
        self._transport = Transport(
            self.uri,
            token,
            verify=verify,
            max_response_bytes=max_response_bytes,
            # Old releases take either form; those that require an administrator take only Basic.
            basic=":" in token,
        )

    def __repr__(self) -> str:
        return f"ManagementClient({self.uri!r})"

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def tasks(self) -> Reading:
        """All jobs' import tasks: the newest 512 of the last 30 minutes."""
        return self._list("tasks", parse_tasks)

    def builds(self) -> Reading:
        """The index builds that changed their state in the last 30 minutes."""
        return self._list("builds", parse_builds)

    def compactions(self) -> Reading:
        """The compactions of the last 15 minutes, such as those that sort imported segments."""
        return self._list("compactions", parse_compactions)

    def segments(self, collection_id: str) -> Reading:
        """A collection's segments that belong to imports or wait for an index.

        The server lists all its segments, which may be very many: they are read one by one.
        """
        found = Segments(self._transport.secrets.masked_json)
        reader = ListReader(found.take)
        # Without `in` the router asks the data nodes, which know only inserted rows.
        query = {"in": "dc", "collection_id": collection_id}
        answer = self._ask("segments", query, reader.feed)
        if isinstance(answer, Reading):
            return answer
        try:
            reader.finish()
        except (ValueError, TypeError, RecursionError) as error:
            return self._unreadable("segments", str(error))
        rows, unknown = found.rows()
        return Reading(Outcome.ANSWERED, rows, unknown=unknown)

    def nodes(self) -> Reading:
        """The cluster's processes with their load."""
        return self._list("nodes", parse_nodes)

    def settings(self) -> Reading:
        """The settings that affect the pace of imports, and no others."""
        return self._list("settings", parse_settings)

    def gauges(self) -> Reading:
        """The metrics about imports that this process has."""
        answer = self._ask("gauges", {})
        if isinstance(answer, Reading):
            return answer
        try:
            return Reading(Outcome.ANSWERED, parse_samples(answer.content))
        except MissingParserError as error:
            return Reading(Outcome.NEEDS_EXTRA, reason=str(error))
        except (ValueError, KeyError, IndexError, RecursionError) as error:
            return self._unreadable("gauges", f"metrics that make no sense: {error}")

    def _list(
        self, name: str, parse: Callable[[Any], tuple[list[Row], tuple[str, ...]]]
    ) -> Reading:
        answer = self._ask(name, {})
        if isinstance(answer, Reading):
            return answer
        try:
            # Go prints null for a list that was never made; a body may also be empty.
            if sum(map(answer.content.count, (b",", b"{", b"["))) > _MOST_VALUES:
                raise ValueError(f"more than {_MOST_VALUES:,} values; refused")
            decoded = msgspec.json.decode(answer.content) if answer.content.strip() else None
            rows, unknown = parse(decoded)
        except (msgspec.DecodeError, ValueError, TypeError, RecursionError) as error:
            return self._unreadable(name, str(error))
        return Reading(Outcome.ANSWERED, rows, unknown=unknown)

    def _unreadable(self, name: str, problem: str) -> Reading:
        text = excerpt(self._transport.secrets.masked(problem), _MAX_ERROR_LENGTH)
        return Reading(Outcome.UNREADABLE, reason=f"{self.uri}{PATHS[name]}: {text}")

    def _ask(
        self, name: str, query: Mapping[str, str], sink: Sink | None = None
    ) -> Answer | Reading:
        where = f"{self.uri}{PATHS[name]}"
        try:
            answer = self._transport.exchange(
                "GET", PATHS[name], query, _HEADERS, self._timeout_s, sink
            )
        except BadResponseError as error:
            return Reading(Outcome.UNREADABLE, reason=str(error))
        except ImportStatsError as error:
            return Reading(Outcome.NOT_REACHED, reason=str(error))
        if answer.status == 200:
            return answer
        # An error about settings may quote one, and settings hold passwords.
        said = "" if name == "settings" else _error_message(answer.content)
        outcome, reason = _REFUSALS.get(
            answer.status, (Outcome.FAILING, f"answers HTTP {answer.status}{said}")
        )
        return Reading(outcome, reason=f"{where} {reason}")


#: Releases with an administrator's login require the first header from all but browsers.
_HEADERS: Final = {"X-Milvus-Admin-Request": "true", "Accept": "*/*"}

_REFUSALS: Final = {
    401: (Outcome.NEEDS_CREDENTIALS, "asks for a user: set MILVUS_TOKEN or give --token-file"),
    403: (Outcome.HIDDEN, "is hidden from this user: only root may ask for it"),
    404: (
        Outcome.NOT_OFFERED,
        "is not offered: Milvus has it from 2.5 on, at a proxy, unless only metrics are served",
    ),
}


def _error_message(content: bytes) -> str:
    """An error's message, cut to a few words; empty if it does not have the usual form."""
    try:
        message = json.loads(content)["message"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return f": {excerpt(str(message), _MAX_ERROR_LENGTH)}"
