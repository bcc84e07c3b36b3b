"""The gRPC client: import jobs of Milvus servers up to 2.3, which have no REST import API.

Those servers call a bulk import *bulk insert* and report it by task, through the gRPC methods
``GetImportState`` and ``ListImportTasks``. A task imports one row-based file, or all numpy files of
one call.

What a job is
    One task id (``"470689105287315672"``), or several joined by commas, for data that was inserted
    with several calls (``"470689105287315672,470689105287515679"``). One task is one detail, in the
    order of the ids. ``list_jobs`` reports every task as a job.

How a task becomes a detail, and how the job follows from its tasks, is in
:mod:`importstats.sources.bulk_insert`.

The server runs one task at a time on each data node, and forgets a task a day after its creation
(``rootCoord.importTaskRetention``).

Needs the extra ``grpc``.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from importstats.errors import (
    REFUSED_ADVICE,
    BadResponseError,
    ImportStatsError,
    JobNotFoundError,
    MissingExtraError,
    ServerError,
    UnauthorizedError,
    UnreachableError,
)
from importstats.sources.actions import Files, import_files
from importstats.sources.ca_bundle import read_ca_file
from importstats.sources.endpoint import from_environment, parse_endpoint
from importstats.sources.messages import INT64_MAX, GetImportProgressResponse, ImportJobRecord
from importstats.sources.secrets import Secrets
from importstats.sources.source import Client, note_database
from importstats.text import excerpt

try:
    import grpc
    from pymilvus.grpc_gen import common_pb2, milvus_pb2

    from importstats.sources.bulk_insert import job_record, progress_response
except ImportError as error:
    raise MissingExtraError("reading a Milvus server by gRPC", error.name, "grpc") from error

_SERVICE: Final = "/milvus.proto.milvus.MilvusService"
_DEFAULT_PORT: Final = {"http": 19530, "https": 443}


class GrpcImportClient(Client):
    """Reads bulk-insert tasks from one server, over one gRPC channel, and starts them.

    Thread-safe. Has the shape of :class:`importstats.ImportClient`.

    Parameters
    ----------
    uri : str, optional
        ``http(s)://host:port``; ``https`` is gRPC over TLS. Default: the environment, see
        :data:`~importstats.sources.endpoint.ENVIRONMENT`.
    token : str, optional
        ``user:password`` or an API key. Default: the environment. Never shown or stored.
    db_name : str, optional
        The database in which :meth:`list_jobs` looks for a collection.
    timeout : float
        Seconds to wait for an answer, tries included.
    ca_file : path, optional
        A CA bundle that verifies the server's TLS certificate. Default: gRPC's own.
    retries : int
        How often an unavailable server is tried again, 4 at most, with exponential backoff and
        jitter, as far as ``timeout`` allows.
    max_response_bytes : int
        A longer answer is refused.

    Raises
    ------
    ImportStatsError
        No URI is given or set, or it is not a URI, or ``ca_file`` cannot be used.
    """

    def __init__(
        self,
        uri: str | None = None,
        *,
        token: str | None = None,
        db_name: str | None = None,
        timeout: float = 30.0,
        ca_file: str | Path | None = None,
        retries: int = 4,
        max_response_bytes: int = 256 << 20,
    ) -> None:
        endpoint = parse_endpoint(uri)
        database = db_name or from_environment("db_name")
        super().__init__(endpoint.uri, timeout, (database,) if database else ())
        token = token or endpoint.credentials or from_environment("token") or ""
        authorization = base64.b64encode(token.encode()).decode()
        self._metadata = [("authorization", authorization)] if token else []
        self._secrets = Secrets(token)
        host = f"[{endpoint.hostname}]" if ":" in endpoint.hostname else endpoint.hostname
        target = f"{host}:{endpoint.port or _DEFAULT_PORT[endpoint.scheme]}"
        options = _channel_options(retries, max_response_bytes)
        if endpoint.scheme == "https":
            credentials = grpc.ssl_channel_credentials(read_ca_file(ca_file) if ca_file else None)
            self._channel = grpc.secure_channel(target, credentials, options)
        else:
            self._channel = grpc.insecure_channel(target, options)
        self._get_state = self._method("GetImportState")
        self._get_version = self._method("GetVersion")
        self._import = self._method("Import")
        self._list_tasks = self._method("ListImportTasks")
        self._version: str | None = None
        self._has_asked_version = False

    def _method(self, name: str) -> Any:
        return self._channel.unary_unary(
            f"{_SERVICE}/{name}",
            request_serializer=getattr(milvus_pb2, f"{name}Request").SerializeToString,
            response_deserializer=getattr(milvus_pb2, f"{name}Response").FromString,
        )

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    @property
    def server_version(self) -> str | None:
        """The release that the server reports, asked for once; ``None`` if it reports none."""
        if not self._has_asked_version:
            self._has_asked_version = True
            with contextlib.suppress(ImportStatsError):
                [answer] = self._call(self._get_version, [milvus_pb2.GetVersionRequest()])
                self._version = self._secrets.masked(answer.version) or None
        return self._version

    def describe(self, job_id: str) -> GetImportProgressResponse:
        """One job's progress now, from all its tasks, asked at once.

        Parameters
        ----------
        job_id : str
            A task id, or several joined by commas.

        Raises
        ------
        UnreachableError, UnauthorizedError, BadResponseError, ServerError
        JobNotFoundError
            It is not an id, or the server does not know one of the tasks.
        """
        requests = [milvus_pb2.GetImportStateRequest(task=task) for task in self._task_ids(job_id)]
        tasks = self._call(self._get_state, requests)
        for request, task in zip(requests, tasks, strict=True):
            self._check_status(task.status, f"task {request.task}")
        return self._secrets.masked_struct(progress_response(job_id, tasks))

    def list_jobs(self, collection: str | None = None) -> Iterator[ImportJobRecord]:
        """The tasks that the server knows, in one collection or in all, oldest first.

        Raises
        ------
        UnreachableError, UnauthorizedError, BadResponseError, ServerError
        """
        database = next(iter(self.databases), None)
        request = milvus_pb2.ListImportTasksRequest(
            collection_name=collection or "", db_name=database or ""
        )
        [answer] = self._call(self._list_tasks, [request])
        self._check_status(answer.status, "the task list")
        found: dict[str, tuple[str, bool]] = {}
        for task in answer.tasks:
            record = self._secrets.masked_struct(job_record(task))
            note_database(found, record, database, is_certain=collection is not None)
            yield record
        self._database_of = found

    def submit(
        self,
        collection: str,
        files: Files,
        *,
        partition: str | None = None,
        options: Mapping[str, str] | None = None,
    ) -> str:
        """Start a bulk insert, and return its job id: one task id, or several joined by commas.

        Each import file is one request, sent once and in order. These servers can neither commit
        nor abort.

        Parameters
        ----------
        collection, files, partition, options
            As for :meth:`importstats.ImportClient.submit`.

        Raises
        ------
        UsageError, UnreachableError, UnauthorizedError, BadResponseError, ServerError
            If the server took some files before, the message names their tasks.
        """
        tasks: list[str] = []
        for paths in import_files(files):
            request = milvus_pb2.ImportRequest(
                collection_name=collection,
                partition_name=partition or "",
                files=paths,
                db_name=self.databases[0] if self.databases else "",
                options=[
                    common_pb2.KeyValuePair(key=key, value=value)
                    for key, value in (options or {}).items()
                ],
            )
            try:
                [answer] = self._call(self._import, [request])
                self._check_status(answer.status, f"the import of {excerpt(paths[0])}")
            except ImportStatsError as error:
                if tasks:
                    error.args = (f"{error}; tasks {','.join(tasks)} were started before",)
                raise
            tasks += map(str, answer.tasks)
        return ",".join(tasks)

    def _task_ids(self, job_id: str) -> list[int]:
        parts = [part.strip() for part in job_id.split(",")]
        if all(re.fullmatch(r"[0-9]{1,19}", part) and int(part) <= INT64_MAX for part in parts):
            return list(dict.fromkeys(map(int, parts)))
        raise JobNotFoundError(
            f"{excerpt(job_id)!r} is not a bulk-insert job of {self.uri}; "
            "give a task id, or several joined by commas"
        )

    def _call(self, method: Any, requests: Sequence[Any]) -> list[Any]:
        """The answers in the requests' order; all requests are sent at once."""
        calls = [
            method.future(request, timeout=self.timeout, metadata=self._metadata)
            for request in requests
        ]
        try:
            return [call.result() for call in calls]
        except grpc.RpcError as error:
            # The traceback of gRPC's own error would show the server's words unmasked.
            raise self._typed_error(error) from None
        finally:
            for call in calls:
                call.cancel()

    def _excerpt(self, said: str) -> str:
        """The server's words on one line, without the token if they repeat it."""
        return excerpt(self._secrets.masked(said or "no message"))

    def _typed_error(self, error: Any) -> ImportStatsError:
        code = error.code()
        # gRPC puts the cause last: "failed to connect to all addresses; last error: ...".
        said = f"{code.name}: {self._excerpt((error.details() or '').split('last error: ')[-1])}"
        if code in _UNAUTHORIZED:
            return UnauthorizedError(f"{self.uri} refused the token ({said}); {REFUSED_ADVICE}")
        if code in _UNREACHABLE:
            return UnreachableError(
                f"{self.uri} does not answer ({said}); check the URI and the network"
            )
        if code in _BAD_RESPONSE:
            return BadResponseError(
                f"{self.uri} does not speak Milvus' gRPC ({said}); "
                "is this the URI of a Milvus server?"
            )
        return ServerError(f"{self.uri}: {said}", code=code.value[0], server_message=said)

    def _check_status(self, status: Any, subject: str) -> None:
        # Milvus 2.2 knows only error_code; 2.3 sets both.
        code = status.code or status.error_code
        if code == 0:
            return
        said = self._excerpt(status.reason)
        if _SAYS_NO_TASK.search(status.reason):
            raise JobNotFoundError(
                f"{self.uri} does not know {subject} (code {code}: {said}); "
                "wrong id, or it ended and was forgotten",
                code=code,
                server_message=said,
            )
        raise ServerError(
            f"{self.uri}: server error {code} for {subject}: {said}", code=code, server_message=said
        )


_UNAUTHORIZED: Final = frozenset(
    {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}
)
_UNREACHABLE: Final = frozenset(
    {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}
)
_BAD_RESPONSE: Final = frozenset({grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INTERNAL})
# 2.3 names the key it looked for in etcd, 2.2 says it in words.
_SAYS_NO_TASK: Final = re.compile(r"key not found.*importtask|import task id doesn't exist")


def _channel_options(retries: int, max_response_bytes: int) -> list[tuple[str, Any]]:
    options: list[tuple[str, Any]] = [
        ("grpc.max_receive_message_length", max_response_bytes),
        # A few polls should notice a server that comes back, not two minutes later.
        ("grpc.max_reconnect_backoff_ms", 5_000),
    ]
    if retries > 0:
        retry = {
            "maxAttempts": min(retries, 4) + 1,
            "initialBackoff": "0.5s",
            "maxBackoff": "20s",
            "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE"],
        }
        # An import whose answer was lost may have begun: a second request would import twice.
        once = {"name": [{"service": _SERVICE.strip("/"), "method": "Import"}]}
        config = {"methodConfig": [once, {"name": [{}], "retryPolicy": retry}]}
        options.append(("grpc.service_config", json.dumps(config)))
    return options
