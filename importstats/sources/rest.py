"""The client: asks a Milvus or Zilliz Cloud server how its import jobs are doing.

>>> from importstats.simulator import SimulatorServer, make_shape
>>> cluster, job = make_shape("small_and_quick")
>>> with SimulatorServer(cluster, [job]) as server, ImportClient(server.uri) as client:
...     [record] = client.list_jobs()
...     answer = client.describe(record.job_id)
>>> answer.data.state
'Pending'
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.exceptions import HTTPError
from urllib3.util import Retry

from importstats.errors import (
    BadResponseError,
    JobNotFoundError,
    ServerError,
    UnauthorizedError,
    UnreachableError,
    UsageError,
)
from importstats.sources.answers import decode_object, parse_job_list, parse_response
from importstats.sources.endpoint import from_environment, parse_endpoint
from importstats.sources.messages import GetImportProgressResponse, ImportJobRecord
from importstats.sources.source import Client
from importstats.text import excerpt, without_secrets

_JOBS: Final = "/v2/vectordb/jobs/import"
#: The names `describe` has had, newest first; a server that lacks one answers 404.
_DESCRIBE_PATHS: Final = (f"{_JOBS}/describe", f"{_JOBS}/get_progress", f"{_JOBS}/getProgress")
_LIST_PATH: Final = f"{_JOBS}/list"
_PAGE_SIZE: Final = 100
_CHUNK_BYTES: Final = 1 << 16
_SHORTEST_MASKED: Final = 8


class ImportClient(Client):
    """Reads import jobs from one server, over one pooled HTTP session.

    Thread-safe, so one client serves a collector that polls many jobs at once.

    Parameters
    ----------
    uri : str, optional
        ``http(s)://host:port``, for Zilliz Cloud the control plane
        (``https://api.cloud.zilliz.com``). Default: the environment, see
        :data:`~importstats.sources.endpoint.ENVIRONMENT`.
    token : str, optional
        A Zilliz API key or ``user:password``. Default: the environment. Never shown or stored.
    db_name, cluster_id, project_id, region_id : str, optional
        Database; and which cluster, or project and region, on Zilliz Cloud.
    timeout : float
        Seconds to wait for a connection, and for the whole answer.
    verify : bool or str
        Verify the server's TLS certificate, or the path of a CA bundle to verify it with.
    retries : int
        How often a refused connection, a 429 or a 5xx is tried again, with exponential backoff,
        jitter and the server's ``Retry-After``. A refused token is never tried again.
    max_response_bytes : int
        A longer answer is refused; a job of 10,000 files answers about 2 MB.

    Raises
    ------
    ImportStatsError
        No URI is given or set, or it is none; or the token or database cannot stand in an HTTP
        header.
    """

    def __init__(
        self,
        uri: str | None = None,
        *,
        token: str | None = None,
        db_name: str | None = None,
        cluster_id: str | None = None,
        project_id: str | None = None,
        region_id: str | None = None,
        timeout: float = 30.0,
        verify: bool | str = True,
        retries: int = 4,
        max_response_bytes: int = 256 << 20,
    ) -> None:
        endpoint = parse_endpoint(uri)
        self.uri = endpoint.uri
        self.db_name = _header("database", db_name or from_environment("db_name") or "") or None
        self.timeout = timeout
        self.verify = verify
        self.max_response_bytes = max_response_bytes
        self._cloud_ids = {
            "clusterId": cluster_id or from_environment("cluster_id"),
            "projectId": project_id or from_environment("project_id"),
            "regionId": region_id or from_environment("region_id"),
        }
        self._describe_path: str | None = None
        self._session = _session(retries)
        self._token = _BearerToken(
            _header("token", token or endpoint.credentials or from_environment("token") or "")
        )
        self._session.auth = self._token
        if self.db_name:
            self._session.headers["DB-Name"] = self.db_name.encode()

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def describe(self, job_id: str) -> GetImportProgressResponse:
        """The progress of one job, now.

        The path is found once (``describe``, else ``get_progress`` of Milvus 2.4, else
        ``getProgress`` of the older cloud) and remembered.

        Raises
        ------
        UnreachableError, UnauthorizedError, BadResponseError, JobNotFoundError, ServerError
        """
        if not _is_text(job_id):
            # A byte of the command line that was no UTF-8. JSON could say it, no table could.
            raise JobNotFoundError(f"job id {excerpt(ascii(job_id))} is no valid text; wrong id")
        answer = parse_response(self._describe(job_id))
        # A server that has no such job may answer with the state None instead of an error.
        if answer.data.state == "None" and not answer.data.details:
            raise JobNotFoundError(
                f"{self.uri} does not know import job {excerpt(job_id)!r}; "
                "wrong id, or it ended and was forgotten"
            )
        return answer

    def list_jobs(self, collection: str | None = None) -> Iterator[ImportJobRecord]:
        """The jobs the server knows, of one collection or of all.

        Asks for page after page and ends at the first that brings nothing new: Zilliz Cloud pages,
        Milvus ignores the page number and sends every job each time.

        Raises
        ------
        UnreachableError, UnauthorizedError, BadResponseError, ServerError
        """
        seen: set[str] = set()
        page = 1
        while True:
            body = {
                "collectionName": collection,
                "dbName": self.db_name,
                "pageSize": _PAGE_SIZE,
                "currentPage": page,
            }
            records = parse_job_list(self._post(_LIST_PATH, body))
            new = [record for record in records if record.job_id not in seen]
            seen.update(record.job_id for record in new)
            yield from new
            if not new or len(records) != _PAGE_SIZE:
                return
            page += 1

    def _describe(self, job_id: str) -> bytes:
        body = {"jobId": job_id, "dbName": self.db_name}
        if self._describe_path is not None:
            return self._post(self._describe_path, body)
        for path in _DESCRIBE_PATHS:
            try:
                answer = self._post(path, body)
            except _NoSuchPathError:
                continue
            except (JobNotFoundError, ServerError):
                self._describe_path = path
                raise
            self._describe_path = path
            return answer
        raise ServerError(
            f"{self.uri} has no import API (404 for {', '.join(_DESCRIBE_PATHS)}); "
            "Milvus has it since 2.4, see also --source grpc",
            code=404,
        )

    def _post(self, path: str, body: Mapping[str, Any]) -> bytes:
        payload = {name: value for name, value in {**body, **self._cloud_ids}.items() if value}
        try:
            with self._session.post(
                self.uri + path,
                json=payload,
                timeout=self.timeout,
                verify=self.verify,
                stream=True,
                # A redirect would turn the POST into a GET, and could carry the token elsewhere.
                allow_redirects=False,
            ) as response:
                content = self._read(response)
        except requests.exceptions.SSLError as error:
            raise UnreachableError(
                f"{self.uri}: the TLS certificate cannot be verified ({_cause(error)}); "
                "give your own CA with verify=PATH or --ca-file"
            ) from None
        # ValueError: how the libraries take a Retry-After or Location that makes no sense.
        except (requests.exceptions.RequestException, HTTPError, OSError, ValueError) as error:
            raise UnreachableError(
                f"{self.uri} does not answer ({_cause(error)}); check the URI and the network"
            ) from None
        self._check_http_status(response, path, content)
        return content

    def _read(self, response: requests.Response) -> bytes:
        """The body, of bounded size and in bounded time however slowly it drips."""
        deadline = time.monotonic() + self.timeout
        content = bytearray()
        while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=True):
            content += chunk
            if len(content) > self.max_response_bytes:
                raise BadResponseError(
                    f"{self.uri} sent more than {self.max_response_bytes:,} bytes; refused. "
                    "Raise max_response_bytes if a job really has that many files"
                )
            if time.monotonic() > deadline:
                raise UnreachableError(
                    f"{self.uri} was still sending after {self.timeout:g} s; raise the timeout"
                )
        return self._token.masked(bytes(content))

    def _check_http_status(self, response: requests.Response, path: str, content: bytes) -> None:
        code = response.status_code
        if code == 200:
            return
        if code in (401, 403):
            raise UnauthorizedError(
                f"{self.uri} refused the token (HTTP {code}: {excerpt(content)}); "
                "check MILVUS_TOKEN"
            )
        if 300 <= code < 400:
            location = self._token.masked(response.headers.get("Location", "nowhere").encode())
            target = excerpt(without_secrets(location.decode()))
            raise ServerError(
                f"{self.uri} redirects to {target}; redirects are not followed, "
                "give that address as the URI if you trust it",
                code=code,
            )
        if code == 429 or code >= 500:
            raise UnreachableError(
                f"{self.uri} answered HTTP {code} to the last try: {excerpt(content)}"
            )
        # Some servers wrap their own errors in a 4xx with the usual envelope.
        try:
            decode_object(content)
        except BadResponseError:
            envelope = False
        else:
            envelope = True
            parse_response(content)
        if code == 404 and not envelope:
            raise _NoSuchPathError(f"{self.uri} has no {path}", code=code)
        raise ServerError(
            f"{self.uri} answered HTTP {code}: {excerpt(content)}",
            code=code,
            server_message=excerpt(content),
        )


class _NoSuchPathError(ServerError):
    """404 from the router, not from the API."""


class _BearerToken(AuthBase):
    """Sets the Authorization header.

    As an ``auth`` object, and present even when empty, it keeps requests from taking other
    credentials out of ``~/.netrc``.
    """

    def __init__(self, token: str) -> None:
        self._token = token

    def masked(self, content: bytes) -> bytes:
        """What a server sent, without the token if it repeats it: content is logged and stored.

        A short token may be a word of the data, so it is left.
        """
        if len(self._token) < _SHORTEST_MASKED:
            return content
        return content.replace(self._token.encode(), b"***")

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token:
            # Header text is taken for Latin-1, and Milvus reads UTF-8.
            request.headers["Authorization"] = f"Bearer {self._token}".encode().decode("latin-1")
        return request


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _header(what: str, value: str) -> str:
    """The value as it can stand in an HTTP header: files and variables often end in a newline.

    Anything that cannot is refused here, since the HTTP library's own message repeats the value.
    """
    value = value.strip()
    if not value.isprintable():
        raise UsageError(
            f"the {what} has control characters, which no HTTP header can hold; "
            "check where it comes from"
        )
    return value


def _session(retries: int) -> requests.Session:
    retry = Retry(
        total=retries,
        backoff_factor=0.5,
        backoff_max=20,
        backoff_jitter=0.5,
        retry_after_max=60,
        status_forcelist=(429, 500, 502, 503, 504),
        allowed_methods=None,
        raise_on_status=False,
        redirect=0,
        raise_on_redirect=False,
    )
    adapter = HTTPAdapter(max_retries=retry, pool_maxsize=32)
    session = requests.Session()
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    session.headers["Accept"] = "application/json"
    return session


def _cause(error: BaseException) -> str:
    """The innermost reason of a nested connection error, in a few words."""
    while True:
        inner = error.__cause__ or error.__context__ or getattr(error, "reason", None)
        if not isinstance(inner, BaseException) or inner is error:
            break
        error = inner
    words = excerpt(str(error)) or type(error).__name__
    if isinstance(error, TimeoutError):
        return "timed out"
    return words
