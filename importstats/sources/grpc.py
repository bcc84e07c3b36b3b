"""The gRPC client: import jobs of Milvus servers up to 2.3, which have no REST import API.

Those servers call a bulk import *bulk insert* and report it by task, through the gRPC methods
``GetImportState`` and ``ListImportTasks``. A task covers one import file, or one set of numpy
files: inserting several numpy files gives one task, every row-based file a task of its own.

What a job is
    One task id (``"470689105287315672"``), or several joined by commas, for data that was inserted
    with several calls (``"470689105287315672,470689105287515679"``). One task is one detail, in the
    order of the ids. ``list_jobs`` reports every task as a job.

How a task becomes a detail
    ================== ============ ============================= =============== =============
    task state         ``state``    ``progress``                  ``importedRows`` ``totalRows``
    ================== ============ ============================= =============== =============
    Pending            Pending      0                             0               missing
    Started            InProgress   as sent, 0 until first sent   as sent [1]_    missing
    Persisted, Flushed InProgress   as sent (90)                  as sent         as sent
    Completed          Completed    as sent (100)                 as sent         as sent
    Failed,            Failed       as sent (where it stood)      as sent [1]_    missing
    FailedAndCleaned
    any other          as sent      as sent                       as sent [1]_    missing
    ================== ============ ============================= =============== =============

    .. [1] A row count of 0 is missing here, since it says nothing: the server counts the rows of
       the segments it has closed (512 MB each unless configured otherwise), and says 0 again
       whenever it opens the next. A 2.3.5 server was seen to send 64527, 0, 129054, 0, 193581.

    ``progress`` is ``progress_percent`` of the task's infos: 90 x rows read / rows in the file,
    sent after each block of 16 MB per shard; 90 stands for "all rows are written, segments are
    being flushed", 100 for "done" (Milvus 2.3, ``internal/util/importutil/numpy_parser.go`` and
    ``import_wrapper.go``). The weights differ from those of the REST API, where 70 to 100 is
    sorting and index building: bulk insert does not wait for an index.

    ``fileName`` is a JSON list of the task's paths. ``reason`` is ``failed_reason``.
    ``completeTime`` and ``fileSize`` are never sent. Everything else stands in ``extra`` by its
    wire name: ``id``, ``state`` (``ImportPersisted``), ``create_ts`` (Unix seconds),
    ``collection_id``, ``segment_ids``, ``id_list``, and every other info (``partition``,
    ``persist_cost``, the options of the insert).

How the job follows from its tasks
    The job's state is Pending or Importing until every task has ended, then Failed if one failed,
    else Completed; tasks are independent, so the rows of the others stay. ``progress`` is the mean
    of the tasks' (ours: the server knows no job, and no task's size). ``importedRows`` of a job of
    several tasks is the sum over those whose rows are all written, so it never falls; ``totalRows``
    is missing until every task has reported its own. ``extra`` holds ``api`` (``bulk_insert``) and
    the earliest ``create_ts``.

The server runs one task at a time on each data node, and forgets a task a day after its creation
(``rootCoord.importTaskRetention``).

Needs the extra ``grpc``.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, Final, TypeVar

from importstats.errors import (
    BadResponseError,
    ImportStatsError,
    JobNotFoundError,
    MissingExtraError,
    ServerError,
    UnauthorizedError,
    UnreachableError,
    UsageError,
)
from importstats.sources.endpoint import from_environment, parse_endpoint
from importstats.sources.messages import (
    INT64_MAX,
    GetImportProgressResponse,
    ImportJobRecord,
    ImportProgressData,
    ImportProgressDetail,
)
from importstats.sources.secrets import Secrets
from importstats.sources.source import Client, note_database
from importstats.text import excerpt

try:
    import grpc
    from pymilvus.grpc_gen import common_pb2, milvus_pb2
except ImportError as error:
    raise MissingExtraError("reading a Milvus server by gRPC", error.name, "grpc") from error

_SERVICE: Final = "/milvus.proto.milvus.MilvusService"
_DEFAULT_PORT: Final = {"http": 19530, "https": 443}


class GrpcImportClient(Client):
    """Reads bulk-insert tasks from one server, over one gRPC channel.

    Thread-safe. Has the shape of :class:`importstats.ImportClient`.

    Parameters
    ----------
    uri : str, optional
        ``http(s)://host:port``; ``https`` is gRPC over TLS. Default: the environment, see
        :data:`~importstats.sources.endpoint.ENVIRONMENT`.
    token : str, optional
        ``user:password`` or an API key. Default: the environment. Never shown or stored.
    db_name : str, optional
        Database that :meth:`list_jobs` looks for a collection in.
    timeout : float
        Seconds to wait for an answer, tries included.
    ca_file : path, optional
        CA bundle to verify the server's TLS certificate with. Default: gRPC's own.
    retries : int
        How often an unavailable server is tried again, 4 at most, with exponential backoff and
        jitter, as far as ``timeout`` allows.
    max_response_bytes : int
        A longer answer is refused.

    Raises
    ------
    ImportStatsError
        No URI is given or set, or it is none, or ``ca_file`` cannot be read.
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
            credentials = grpc.ssl_channel_credentials(_read_ca_file(ca_file))
            self._channel = grpc.secure_channel(target, credentials, options)
        else:
            self._channel = grpc.insecure_channel(target, options)
        self._get_state = self._channel.unary_unary(
            f"{_SERVICE}/GetImportState",
            request_serializer=milvus_pb2.GetImportStateRequest.SerializeToString,
            response_deserializer=milvus_pb2.GetImportStateResponse.FromString,
        )
        self._get_version = self._channel.unary_unary(
            f"{_SERVICE}/GetVersion",
            request_serializer=milvus_pb2.GetVersionRequest.SerializeToString,
            response_deserializer=milvus_pb2.GetVersionResponse.FromString,
        )
        self._version: str | None = None
        self._has_asked_version = False
        self._list_tasks = self._channel.unary_unary(
            f"{_SERVICE}/ListImportTasks",
            request_serializer=milvus_pb2.ListImportTasksRequest.SerializeToString,
            response_deserializer=milvus_pb2.ListImportTasksResponse.FromString,
        )

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    @property
    def server_version(self) -> str | None:
        """The server's release as it says it, asked for once; ``None`` if it does not."""
        if not self._has_asked_version:
            self._has_asked_version = True
            with contextlib.suppress(ImportStatsError):
                [answer] = self._call(self._get_version, [milvus_pb2.GetVersionRequest()])
                self._version = self._secrets.masked(answer.version) or None
        return self._version

    def describe(self, job_id: str) -> GetImportProgressResponse:
        """The progress of one job, now; its tasks are asked for all at once.

        Parameters
        ----------
        job_id : str
            A task id, or several joined by commas.

        Raises
        ------
        UnreachableError, UnauthorizedError, BadResponseError, ServerError
        JobNotFoundError
            The id is none, or the server does not know one of the tasks.
        """
        requests = [milvus_pb2.GetImportStateRequest(task=task) for task in self._task_ids(job_id)]
        tasks = self._call(self._get_state, requests)
        for request, task in zip(requests, tasks, strict=True):
            self._check_status(task.status, f"task {request.task}")
        return self._secrets.masked_struct(progress_response(job_id, tasks))

    def list_jobs(self, collection: str | None = None) -> Iterator[ImportJobRecord]:
        """The tasks the server knows, of one collection or of all, oldest first.

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

    def _task_ids(self, job_id: str) -> list[int]:
        parts = [part.strip() for part in job_id.split(",")]
        if all(re.fullmatch(r"[0-9]{1,19}", part) and int(part) <= INT64_MAX for part in parts):
            return list(dict.fromkeys(map(int, parts)))
        raise JobNotFoundError(
            f"{excerpt(job_id)!r} is no bulk-insert job of {self.uri}; "
            "give a task id, or several joined by commas"
        )

    def _call(self, method: Any, requests: Sequence[Any]) -> list[Any]:
        """The answers, in the order of the requests, which are all sent at once."""
        calls = [
            method.future(request, timeout=self.timeout, metadata=self._metadata)
            for request in requests
        ]
        try:
            return [call.result() for call in calls]
        except grpc.RpcError as error:
            # The traceback of gRPC's own error would repeat what the server said, unmasked.
            raise self._typed_error(error) from None
        finally:
            for call in calls:
                call.cancel()

    def _excerpt(self, said: str) -> str:
        """What the server said, on one line, even if it repeats the token."""
        return excerpt(self._secrets.masked(said or "no message"))

    def _typed_error(self, error: Any) -> ImportStatsError:
        code = error.code()
        # gRPC puts the cause last: "failed to connect to all addresses; last error: ...".
        said = f"{code.name}: {self._excerpt((error.details() or '').split('last error: ')[-1])}"
        if code in _UNAUTHORIZED:
            return UnauthorizedError(f"{self.uri} refused the token ({said}); check MILVUS_TOKEN")
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
            f"{self.uri}: server error {code} for {subject}: {said}",
            code=code,
            server_message=said,
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


def progress_response(
    job_id: str, tasks: Sequence[milvus_pb2.GetImportStateResponse]
) -> GetImportProgressResponse:
    """The answer of ``describe`` for a job of these tasks, mapped as the module says.

    Examples
    --------
    >>> task = milvus_pb2.GetImportStateResponse(state="ImportPersisted", row_count=300)
    >>> data = progress_response("451", [task]).data
    >>> data.state, data.total_rows, data.details[0].state, data.complete_time
    ('Importing', 300, 'InProgress', None)
    """
    details = [_detail(task) for task in tasks]
    progress = _known(detail.progress for detail in details)
    total_rows = _known(detail.total_rows for detail in details)
    create_ts = [task.create_ts for task in tasks if task.create_ts]
    data = ImportProgressData(
        job_id=job_id,
        collection_name=_collection_name(tasks),
        state=_job_state({detail.state for detail in details}),
        progress=fmean(progress) if len(progress) == len(details) else None,
        imported_rows=details[0].imported_rows if len(details) == 1 else sum(total_rows),
        total_rows=sum(total_rows) if len(total_rows) == len(details) else None,
        reason=_job_reason(details),
        details=details,
        extra={"api": "bulk_insert"} | ({"create_ts": min(create_ts)} if create_ts else {}),
    )
    return GetImportProgressResponse(data=data)


def job_record(task: milvus_pb2.GetImportStateResponse) -> ImportJobRecord:
    """One task as ``list_jobs`` reports it, mapped as the module says.

    Examples
    --------
    >>> job_record(milvus_pb2.GetImportStateResponse(id=451, state="ImportFailedAndCleaned")).state
    'Failed'
    """
    data = progress_response(str(task.id), [task]).data
    return ImportJobRecord(
        job_id=str(task.id),
        collection_name=data.collection_name,
        state=data.state,
        progress=data.progress,
        reason=data.reason,
        extra=data.details[0].extra,
    )


_DETAIL_STATES: Final = {
    "ImportPending": "Pending",
    "ImportStarted": "InProgress",
    "ImportPersisted": "InProgress",
    "ImportFlushed": "InProgress",
    "ImportCompleted": "Completed",
    "ImportFailed": "Failed",
    "ImportFailedAndCleaned": "Failed",
}
_ALL_ROWS_WRITTEN: Final = frozenset({"ImportPersisted", "ImportFlushed", "ImportCompleted"})
_NOT_YET_AT_WORK: Final = frozenset({"ImportPending", "ImportStarted"})
# The server joins paths with commas, and a path may hold one: a path ends in a known extension.
_BETWEEN_PATHS: Final = re.compile(
    r"(?<=\.npy),|(?<=\.json),|(?<=\.parquet),|(?<=\.csv),", re.IGNORECASE
)


def _detail(task: Any) -> ImportProgressDetail:
    infos = {info.key: info.value for info in task.infos}
    files = infos.pop("files", "")
    reason = infos.pop("failed_reason", "")
    state = _state_name(task.state)
    progress = _progress(infos.get("progress_percent"), state)
    if progress is not None:
        infos.pop("progress_percent", None)
    imported_rows, total_rows = _rows(task.row_count, state)
    extra = {
        **infos,
        "id": task.id,
        "state": state,
        "create_ts": task.create_ts,
        "collection_id": task.collection_id,
        "segment_ids": list(task.segment_ids),
        "id_list": list(task.id_list),
        "row_count": min(task.row_count, 0),
    }
    return ImportProgressDetail(
        file_name=json.dumps(_BETWEEN_PATHS.split(files), ensure_ascii=False) if files else None,
        progress=progress,
        state=_DETAIL_STATES.get(state, state),
        imported_rows=imported_rows,
        total_rows=total_rows,
        reason=reason or None,
        extra={name: value for name, value in extra.items() if value},
    )


def _state_name(number: int) -> str:
    try:
        return str(common_pb2.ImportState.Name(number))
    except ValueError:
        return str(number)


def _progress(sent: str | None, state: str) -> float | None:
    if sent is None:
        return 0.0 if state in _NOT_YET_AT_WORK else None
    return float(sent) if re.fullmatch(r"[0-9]{1,3}", sent) and int(sent) <= 100 else None


def _rows(row_count: int, state: str) -> tuple[int | None, int | None]:
    """Imported and total rows."""
    if row_count < 0:
        return None, None
    if state in _ALL_ROWS_WRITTEN:
        return row_count, row_count
    return row_count if row_count or state == "ImportPending" else None, None


def _job_state(states: set[str | None]) -> str | None:
    if len(states) == 1:
        [state] = states
        return "Importing" if state == "InProgress" else state
    return "Failed" if states == {"Completed", "Failed"} else "Importing"


def _job_reason(details: Sequence[ImportProgressDetail]) -> str | None:
    reasons = [detail.reason or "no reason given" for detail in details if detail.state == "Failed"]
    if not reasons or len(details) == 1:
        return details[0].reason
    return f"{len(reasons)} of {len(details)} tasks failed; the first: {reasons[0]}"


def _collection_name(tasks: Sequence[Any]) -> str | None:
    """The collection of all tasks, if it is one."""
    names = {info.value for task in tasks for info in task.infos if info.key == "collection"}
    return names.pop() or None if len(names) == 1 else None


_T = TypeVar("_T")


def _known(values: Iterable[_T | None]) -> list[_T]:
    return [value for value in values if value is not None]


def _channel_options(retries: int, max_response_bytes: int) -> list[tuple[str, Any]]:
    options: list[tuple[str, Any]] = [
        ("grpc.max_receive_message_length", max_response_bytes),
        # A server that comes back shall be noticed within a few polls, not after two minutes.
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
        config = {"methodConfig": [{"name": [{}], "retryPolicy": retry}]}
        options.append(("grpc.service_config", json.dumps(config)))
    return options


def _read_ca_file(ca_file: str | Path | None) -> bytes | None:
    if ca_file is None:
        return None
    try:
        return Path(ca_file).read_bytes()
    except OSError as error:
        raise UsageError(
            f"the CA file {str(ca_file)!r} cannot be read ({error.strerror}); check the path"
        ) from error
