"""The client: asks a Milvus or Zilliz Cloud server about its import jobs.

>>> from importstats.simulator import SimulatorServer, make_shape
>>> cluster, job = make_shape("small_and_quick")
>>> with SimulatorServer(cluster, [job]) as server, ImportClient(server.uri) as client:
...     [record] = client.list_jobs()
...     answer = client.describe(record.job_id)
>>> answer.data.state
'Pending'
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, Literal, TypeVar

from importstats.errors import (
    BadResponseError,
    JobNotFoundError,
    PrivilegeError,
    ServerError,
    UsageError,
)
from importstats.sources.actions import JOBS_PATH, V1_JOBS_PATH, RestActions
from importstats.sources.answers import JobPage, parse_job_page, parse_names, parse_response
from importstats.sources.endpoint import (
    Endpoint,
    from_environment,
    is_cloud,
    is_private,
    parse_endpoint,
)
from importstats.sources.envelope import says_forgotten
from importstats.sources.hints import VersionHints
from importstats.sources.messages import GetImportProgressResponse, ImportJobRecord
from importstats.sources.paging import PAGE_SIZE, all_records
from importstats.sources.patience import NoSuchPathError, Patience
from importstats.sources.source import note_database
from importstats.sources.transport import Transport
from importstats.text import excerpt

logger = logging.getLogger(__name__)

Api = Literal["v2", "cloud-v1"]

#: The paths that `describe` has had, newest first; a server that lacks one answers 404.
_DESCRIBE_PATHS: Final = {
    "v2": tuple(f"{JOBS_PATH}/{name}" for name in ("describe", "get_progress", "getProgress")),
    "cloud-v1": (f"{V1_JOBS_PATH}/get",),
}
_DATABASES_PATH: Final = "/v2/vectordb/databases/list"
_LIST_PATH: Final = {"v2": f"{JOBS_PATH}/list", "cloud-v1": f"{V1_JOBS_PATH}/list"}

#: How long a list of the jobs may be used; a server forgets a job hours after its end.
_LIST_IS_FRESH_S: Final = 5.0

_Parsed = TypeVar("_Parsed")


class ImportClient(RestActions):
    """Reads import jobs from one server, over one pooled HTTP session; submits, commits and aborts.

    It is thread-safe, so one client serves a collector that polls many jobs at once. It cannot be
    pickled, because it holds a token and connections: make one in each process.

    Parameters
    ----------
    uri : str, optional
        ``http(s)://host:port``, for Zilliz Cloud the control plane
        (``https://api.cloud.zilliz.com``). Default: the environment, see
        :data:`~importstats.sources.endpoint.ENVIRONMENT`.
    token : str, optional
        A Zilliz API key or ``user:password``. Default: the environment. Never shown or stored.
    db_name : str or sequence of str, optional
        One or several databases: jobs are listed in each, and each is asked for in its own.
    cluster_id, project_id, region_id : str, optional
        The cluster, or the project and region, on Zilliz Cloud.
    timeout : float
        Seconds for a request, including all tries and the pauses between them.
    verify : bool or str
        Whether to verify the server's TLS certificate, or the path of a CA bundle for it.
    retries : int
        How often to try again after a refused or lost connection, a 408, 429 or 5xx, with
        exponential backoff, jitter and the server's ``Retry-After``, within `timeout`.
    max_response_bytes : int
        A longer answer is refused; a job of 10,000 files answers about 2 MB.
    server_version : str, optional
        The server's release, such as ``2.4.15``. Default: as far as its answers show it.
    api : {"v2", "cloud-v1"}, optional
        The API to use. Default: ``cloud-v1`` for ``https://controller.api.REGION...``, else v2.

    Raises
    ------
    ImportStatsError
        No URI is given or set, or it is not a URI; the token or database does not fit an HTTP
        header; or the CA bundle cannot be used.
    ValueError
        The timeout is not a positive number.
    """

    def __init__(
        self,
        uri: str | None = None,
        *,
        token: str | None = None,
        db_name: str | Sequence[str] | None = None,
        cluster_id: str | None = None,
        project_id: str | None = None,
        region_id: str | None = None,
        timeout: float = 30.0,
        verify: bool | str = True,
        retries: int = 4,
        max_response_bytes: int = 256 << 20,
        server_version: str | None = None,
        api: Api | None = None,
    ) -> None:
        endpoint = parse_endpoint(uri)
        token = _header("token", token or endpoint.credentials or from_environment("token") or "")
        super().__init__(endpoint.uri, timeout, _databases(db_name))
        self._api: Api = api or ("cloud-v1" if endpoint.is_cloud_v1 else "v2")
        self._cloud_ids = {
            "clusterId": cluster_id or from_environment("cluster_id"),
            "projectId": project_id or from_environment("project_id"),
            "regionId": region_id or from_environment("region_id"),
        }
        self._hints = VersionHints(
            server_version, is_cloud=is_cloud(endpoint.hostname) or any(self._cloud_ids.values())
        )
        self._transport = Transport(
            self.uri, token, verify=verify, max_response_bytes=max_response_bytes
        )
        self._patience = Patience(self._transport, self.timeout, retries)
        self._describe_path: str | None = None
        self._ignores_pages = False
        self._listed: tuple[float, frozenset[str]] = (-math.inf, frozenset())
        self._listing = threading.Lock()
        for warning in _warnings(self._transport, endpoint, token):
            logger.warning("%s", warning)

    def __reduce__(self) -> str:
        raise TypeError(
            "an ImportClient holds a token and connections, so it cannot be pickled; "
            "make one in each process"
        )

    @property
    def server_version(self) -> str | None:
        """The server's release as far as it is known by now, exact or as bounds."""
        return self._hints.version

    @property
    def has_token(self) -> bool:
        """Whether each request carries a token."""
        return self._transport.has_token

    @property
    def is_cloud(self) -> bool:
        """Whether the server is Zilliz Cloud."""
        return self._hints.is_cloud

    @property
    def api(self) -> Api:
        """The API that the client uses: ``v2`` or ``cloud-v1``."""
        return self._api

    @property
    def clock_ahead_s(self) -> float | None:
        """How many seconds the server's clock is ahead of ours, by its last answer."""
        return self._patience.clock_ahead_s

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def describe(self, job_id: str) -> GetImportProgressResponse:
        """One job's progress now.

        The path is found once (``describe``, else ``get_progress`` of Milvus 2.4, else
        ``getProgress`` of the older cloud) and remembered. A server so old that an unknown id
        makes it crash is asked only for jobs that it lists.

        Raises
        ------
        UnreachableError, UnauthorizedError, PrivilegeError, BadResponseError, JobNotFoundError,
        ServerError
        """
        if not job_id.strip() or not _is_text(job_id):
            # A byte on the command line that was not UTF-8 makes an invalid text.
            raise JobNotFoundError(
                f"job id {excerpt(ascii(job_id))} is not valid text; check the id"
            )
        problem: ServerError | None = None
        for database in self._databases_to_ask(job_id):
            try:
                return self._describe_once(database, job_id)
            except (JobNotFoundError, PrivilegeError) as error:
                problem = problem or error
        assert problem is not None, "there is at least one database to ask"  # noqa: S101
        raise problem

    def list_jobs(self, collection: str | None = None) -> Iterator[ImportJobRecord]:
        """The jobs that the server knows, in one collection or in all.

        Pages are asked for until the list is whole: Zilliz Cloud pages; Milvus ignores the page
        number and sends every job each time, in all databases unless a collection is named.

        Raises
        ------
        UnreachableError, UnauthorizedError, PrivilegeError, BadResponseError, ServerError
        """
        seen: set[str] = set()
        problem: ServerError | None = None
        found_database = False
        found: dict[str, tuple[str, bool]] = {}
        for database in self.databases or (None,):
            pages = all_records(
                partial(self._page, collection, database), ignores_pages=self._ignores_pages
            )
            try:
                for record in pages:
                    note_database(found, record, database, is_certain=collection is not None)
                    if record.job_id not in seen:
                        seen.add(record.job_id)
                        yield record
                found_database = True
            except ServerError as error:
                # One of several databases may lack the collection, or the privilege.
                problem = problem or error
                if len(self.databases) > 1:
                    logger.warning("cannot list jobs of database %r: %s", database, error)
        if problem is not None and not found_database:
            raise problem
        self._database_of = found

    def list_databases(self) -> list[str]:
        """The databases that the user may see (Milvus from 2.4.4 on, not Zilliz Cloud).

        Raises
        ------
        UnreachableError, UnauthorizedError, PrivilegeError, BadResponseError, ServerError
        """
        return self._ask(parse_names, _DATABASES_PATH, {}, None)

    def _page(self, collection: str | None, database: str | None, number: int) -> JobPage:
        body = {
            "collectionName": collection,
            "dbName": database,
            "pageSize": PAGE_SIZE,
            "currentPage": number,
        }
        page = self._ask(parse_job_page, _LIST_PATH[self._api], body, database)
        if number == 2 and page.count is None and page.page_size is None:
            self._ignores_pages = True
        return page

    def _describe_once(self, database: str | None, job_id: str) -> GetImportProgressResponse:
        try:
            answer = self._describe(job_id, database)
        except PrivilegeError as error:
            if error.database is not None:
                raise
            raise PrivilegeError(
                error.server_message, code=error.code, database=database or "default"
            ) from None
        _check_answer(self.uri, job_id, answer)
        self._hints.note_answer(answer)
        return answer

    def _describe(self, job_id: str, database: str | None) -> GetImportProgressResponse:
        body = {"jobId": job_id, "dbName": database}
        paths = _DESCRIBE_PATHS[self._api]
        if self._describe_path is not None:
            paths = (self._describe_path,)
        for path in paths:
            try:
                if path != _DESCRIBE_PATHS["v2"][0]:
                    self._check_listed(job_id)
                answer = self._ask(parse_response, path, body, database)
            except NoSuchPathError:
                self._hints.note_describe(answers=False)
                continue
            except ServerError as error:
                if not isinstance(error, _NotListedError):
                    self._note_path(path)
                raise
            self._note_path(path)
            return answer
        raise ServerError(
            f"{self.uri} has no import API (404 for {', '.join(paths)}); "
            "Milvus has it since 2.4, see also --source grpc",
            code=404,
        )

    def _note_path(self, path: str) -> None:
        self._describe_path = path
        if path == _DESCRIBE_PATHS["v2"][0]:
            self._hints.note_describe(answers=True)

    def _check_listed(self, job_id: str) -> None:
        """Raise unless the server lists the job, or survives a request for an unknown one."""
        if self._api != "v2" or self._hints.survives_unknown_ids:
            return
        with self._listing:
            listed_at, listed = self._listed
            if job_id not in listed or time.monotonic() - listed_at > _LIST_IS_FRESH_S:
                pages = all_records(partial(self._page, None, None), ignores_pages=True)
                listed = frozenset(record.job_id for record in pages)
                self._listed = (time.monotonic(), listed)
        if job_id not in listed:
            raise _NotListedError(
                f"{self.uri} does not list import job {excerpt(job_id)!r}; wrong id, or it ended "
                "and was forgotten. It was not asked for: Milvus before 2.4.5 would crash"
            )

    def _ask(
        self,
        parse: Callable[[bytes], _Parsed],
        path: str,
        body: Mapping[str, Any],
        database: str | None,
        *,
        method: str | None = None,
        retries: int | None = None,
    ) -> _Parsed:
        """The parsed answer to a request, tried until the timeout."""
        payload = {name: value for name, value in {**body, **self._cloud_ids}.items() if value}
        headers = {"DB-Name": database.encode()} if database else {}
        method = method or ("GET" if self._api == "cloud-v1" else "POST")
        return self._patience.ask(parse, method, path, payload, headers, retries)

    def _send_once(
        self,
        parse: Callable[[bytes], _Parsed],
        path: str,
        body: Mapping[str, Any],
        database: str | None,
        secrets: Iterable[str] = (),
    ) -> _Parsed:
        self._transport.secrets.add(*secrets)
        return self._ask(parse, path, body, database, method="POST", retries=0)


class _NotListedError(JobNotFoundError):
    """The job was not asked for, because the request might crash an old server."""


def _warnings(transport: Transport, endpoint: Endpoint, token: str) -> Iterator[str]:
    if transport.secrets.is_too_short:
        yield (
            "the token, or the password in it, is so short that it may be a word of the data; "
            "it is not masked if the server repeats it: use a longer one"
        )
    if token and endpoint.scheme == "http" and not is_private(endpoint.hostname):
        yield f"the token is sent to {endpoint.uri} unencrypted; use https"


def _check_answer(uri: str, job_id: str, answer: GetImportProgressResponse) -> None:
    data = answer.data
    if data.job_id is not None and data.job_id.strip() != job_id.strip():
        raise BadResponseError(
            f"{uri} answered for import job {excerpt(data.job_id)!r} when asked for "
            f"{excerpt(job_id)!r}; refused"
        )
    has_nothing = not (data.details or data.progress or data.imported_rows or data.total_rows)
    is_stateless = data.state in (None, "", "None") and data.reason is None
    if has_nothing and (is_stateless or (data.state == "Failed" and says_forgotten(data.reason))):
        raise JobNotFoundError(
            f"{uri} does not know import job {excerpt(job_id)!r}; wrong id, or it ended "
            "and was forgotten, or it belongs to another database, see --db",
            server_message=data.reason or "",
        )


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _databases(db_name: str | Sequence[str] | None) -> tuple[str, ...]:
    names = [db_name] if isinstance(db_name, str) else db_name
    names = names or [from_environment("db_name") or ""]
    return tuple(dict.fromkeys(filter(None, (_header("database", name) for name in names))))


def _header(what: str, value: str) -> str:
    """The value for an HTTP header, stripped: files and variables often end in a newline.

    Raises UsageError for control characters; the HTTP library's own message would repeat the value.
    """
    value = value.strip()
    if not value.isprintable():
        raise UsageError(
            f"the {what} has control characters, which no HTTP header can hold; "
            "check where it comes from"
        )
    return value
