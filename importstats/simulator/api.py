"""The REST API of Milvus and of Zilliz Cloud: the answer to each request."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus
from typing import Any, Final

import numpy as np

from importstats.simulator import decoding, dialects, wire
from importstats.simulator.cluster import SimulatedCluster
from importstats.simulator.decoding import ApiError, Handler, import_failed
from importstats.simulator.dialects import Dialect
from importstats.simulator.faults import Faults
from importstats.simulator.specs import FileSpec, JobSpec
from importstats.simulator.states import JobState, UnknownJobError, WrongPhaseError

#: How long the coordinator is away after a crash, in seconds of the cluster's clock.
_CRASH_S: Final = 20.0
#: How many records a page of the cloud's list has by default, and at most.
_PAGE: Final = 10
_LONGEST_PAGE: Final = 100


@dataclass(kw_only=True)
class Access:
    """Who may do what."""

    #: The token that clients need; ``None`` lets everyone in.
    token: str | None = None
    #: The answer's status if the token is wrong.
    status: HTTPStatus = HTTPStatus.UNAUTHORIZED
    #: Where the user has no Import privilege. From 2.6.7 on the privilege is checked for the job's
    #: collection, before that for the database that the request names.
    denied_databases: set[str] = field(default_factory=set)
    denied_collections: set[str] = field(default_factory=set)


class Api:
    """The API of one server; :class:`SimulatorServer` documents the parameters."""

    def __init__(
        self,
        cluster: SimulatedCluster,
        dialect: Dialect,
        *,
        access: Access,
        faults: Faults,
        cluster_id: str | None = None,
        collections: Collection[str] = (),
        template: JobSpec | None = None,
        seed: int = 0,
    ) -> None:
        self._cluster = cluster
        self._dialect = dialect
        self._access = access
        self._faults = faults
        self._cluster_id = cluster_id
        self._collections = {
            tuple(name.rsplit(".", 1)) if "." in name else ("default", name) for name in collections
        }
        self._template = template
        self._seed = seed
        self._crashed_until_s = -np.inf

    def answer(
        self, method: str, path: str, body: Mapping[str, Any], headers: Mapping[str, str]
    ) -> tuple[HTTPStatus, bytes | None]:
        """HTTP status and body of the answer to a request; no body for an unknown path."""
        handle = self._handler(method, path)
        if handle is None:
            return HTTPStatus.NOT_FOUND, None
        try:
            self._authenticate(headers.get("Authorization", ""))
            self._check_ready()
            db_name = str(headers.get("DB-Name") or body.get("dbName") or "default")
            self._check_cluster_id(body)
            answer = handle(body, db_name)
        except ApiError as error:
            return error.http_status, wire.encode(error.answer)
        return HTTPStatus.OK, wire.encode(answer)

    def _handler(self, method: str, path: str) -> Handler | None:
        asks = path in (*self._dialect.describe_paths, self._dialect.list_path)
        if method != (self._dialect.method if asks else "POST"):
            return None
        if path in self._dialect.describe_paths:
            return self._describe
        if path in (dialects.COMMIT, dialects.ABORT) and not self._dialect.two_phase:
            return None
        handlers: dict[str, Handler] = {
            dialects.V1_CREATE if self._dialect.method == "GET" else dialects.CREATE: self._create,
            dialects.COMMIT: partial(self._change, self._cluster.commit),
            dialects.ABORT: partial(self._change, self._cluster.abort),
            self._dialect.list_path: self._list,
        }
        return handlers.get(path)

    # Who may ask.

    def _authenticate(self, authorization: str) -> None:
        access = self._access
        scheme, _, token = authorization.partition(" ")
        welcome = access.token is None or (scheme == "Bearer" and token == access.token)
        if welcome and not self._faults.refuse_token:
            return
        if self._dialect.cloud:
            raise ApiError(self._dialect.illegal_token_code, "The token is illegal.", access.status)
        raise ApiError(decoding.UNAUTHENTICATED, "user hasn't authenticated", access.status)

    def _check_ready(self) -> None:
        if self._cluster.now_s < self._crashed_until_s:
            raise ApiError(decoding.SERVICE_NOT_READY, "service not ready[datacoord=]: Abnormal")

    def _check_cluster_id(self, body: Mapping[str, Any]) -> None:
        wanted = self._cluster_id
        if self._dialect.cloud and wanted is not None and body.get("clusterId") != wanted:
            raise ApiError(decoding.CLOUD_WRONG_CLUSTER, "The clusterId is missing or unknown.")

    def _check_privilege(self, db_name: str, state: JobState | None = None) -> None:
        """Raise an error without the Import privilege for a database, or a job's collection."""
        if self._cluster.release.denies_by_collection and state is not None:
            db_name = state.db_name or "default"
            if self._is_denied(state):
                raise _denied(db_name)
        elif db_name in self._access.denied_databases:
            raise _denied(db_name)

    def _is_denied(self, state: JobState) -> bool:
        access = self._access
        return (state.db_name or "default") in access.denied_databases or (
            state.collection_name in access.denied_collections
        )

    # What is asked.

    def _describe(self, body: Mapping[str, Any], db_name: str) -> dict[str, Any]:
        state = self._job(body, db_name)
        if isinstance(state, UnknownJobError):
            return wire.unknown_job_answer(state, self._dialect)
        return wire.describe_answer(state, self._dialect)

    def _job(self, body: Mapping[str, Any], db_name: str) -> JobState | UnknownJobError:
        """The job that a request names, or why there is none if the release has no error for it."""
        release = self._cluster.release
        if not release.denies_by_collection:
            self._check_privilege(db_name)
        job_id = self._dialect.known_id(decoding.job_id_of(body))
        try:
            state = self._cluster.describe(job_id)
        except UnknownJobError as error:
            if release.unknown_job == "crash":
                self._crashed_until_s = self._cluster.now_s + _CRASH_S
                self._check_ready()
            if release.unknown_job == "failed":
                return error
            raise import_failed(str(error), release.unknown_job_code) from error
        self._check_privilege(db_name, state)
        return state

    def _list(self, body: Mapping[str, Any], db_name: str) -> dict[str, Any]:
        collection = decoding.optional_text(body, "ListImportReq", "collectionName")
        states = self._cluster.list()
        if collection:
            self._check_collection(db_name, collection)
            states = [
                state
                for state in states
                if (state.db_name or "default") == db_name and state.collection_name == collection
            ]
        if not self._cluster.release.denies_by_collection:
            self._check_privilege(db_name)
        elif collection in self._access.denied_collections:
            raise _denied(db_name)
        else:
            states = [state for state in states if not self._is_denied(state)]
        if not self._dialect.cloud:
            records = [wire.list_record(state, self._dialect) for state in states]
            return self._success({"records": records})
        return self._success(self._page(states, body))

    def _page(self, states: list[JobState], body: Mapping[str, Any]) -> dict[str, Any]:
        page, size = _page_number(body, "currentPage", 1), _page_number(body, "pageSize", _PAGE)
        size = min(size, _LONGEST_PAGE)
        states.sort(key=lambda state: int(state.job_id))
        shown = states[(page - 1) * size : page * size]
        records = [wire.list_record(state, self._dialect) for state in shown]
        return {
            "count": len(states),
            "currentPage": page,
            "pageSize": size,
            self._dialect.records_field: records,
        }

    def _create(self, body: Mapping[str, Any], db_name: str) -> dict[str, Any]:
        options: dict[str, str] = {}
        if self._dialect.cloud:
            collection, files = decoding.cloud_create_request(body)
        else:
            collection, files, options = decoding.create_request(body)
        self._check_privilege(db_name)
        if collection in self._access.denied_collections:
            raise _denied(db_name)
        self._check_collection(db_name, collection)
        specs = tuple(self._file(paths) for paths in files)
        template = self._template or JobSpec(collection_name=collection, files=specs)
        auto_commit = options.get("auto_commit", str(template.auto_commit)).lower() != "false"
        job = replace(
            template,
            collection_name=collection,
            db_name=None if db_name == "default" else db_name,
            files=specs,
            auto_commit=auto_commit,
            delete_logs=options.get("l0_import") == "true" or template.delete_logs,
        )
        return self._success({"jobId": self._dialect.printed_id(self._cluster.create(job))})

    def _check_collection(self, db_name: str, collection: str) -> None:
        known = self._collections | self._cluster.collections
        if db_name not in {"default", *(name[0] for name in known)}:
            raise ApiError(decoding.DATABASE_NOT_FOUND, f"database not found[database={db_name}]")
        if (db_name, collection) not in known and not self._dialect.cloud:
            raise ApiError(
                decoding.COLLECTION_NOT_FOUND,
                f"collection not found[database={db_name}][collection={collection}]",
            )

    def _change(
        self, change: Callable[[str], None], body: Mapping[str, Any], db_name: str
    ) -> dict[str, Any]:
        """Commit or abort a job."""
        state = self._job(body, db_name)
        if isinstance(state, UnknownJobError):
            raise import_failed(str(state))
        try:
            change(state.job_id)
        except WrongPhaseError as error:
            raise import_failed(str(error)) from error
        return self._success({})

    def _success(self, data: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = {"code": self._dialect.success_code, "data": data}
        if self._dialect.cloud:
            answer["message"] = ""
        return answer

    def _file(self, paths: tuple[str, ...]) -> FileSpec:
        """A file whose size depends only on its path and the seed."""
        rng = np.random.default_rng([self._seed, *(zlib.crc32(path.encode()) for path in paths)])
        size_bytes = round(rng.lognormal(np.log(200e6), 1.0))
        return FileSpec(paths, size_bytes, max(1, round(size_bytes / rng.uniform(500, 5000))))


def _page_number(body: Mapping[str, Any], name: str, default: int) -> int:
    value = body.get(name)
    if value in (None, ""):
        return default
    try:
        number = int(str(value))
    except ValueError:
        number = 0
    if number < 1:
        raise ApiError(decoding.MISSING_PARAMETER, f"{name} is a positive integer")
    return number


def _denied(db_name: str) -> ApiError:
    return ApiError(
        decoding.PERMISSION_DENIED,
        "rpc error: code = PermissionDenied desc = PrivilegeImport: permission deny to reader "
        f"in the `{db_name}` database",
        HTTPStatus.FORBIDDEN,
    )
