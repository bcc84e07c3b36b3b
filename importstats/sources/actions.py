"""Actions: requests that change something on a server, each sent only once.

The server may have carried out a request whose answer was lost. A second one would import the rows
twice, so none is sent.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from importstats.errors import (
    BadResponseError,
    FinishedWorkError,
    ServerError,
    UnreachableError,
    UsageError,
)
from importstats.sources.answers import checked_envelope
from importstats.sources.envelope import check_message
from importstats.sources.messages import ImportProgressData
from importstats.sources.source import Client
from importstats.sources.transport import NotSentError
from importstats.text import excerpt, printable

Files = Iterable[str | Sequence[str]]
_Parsed = TypeVar("_Parsed")

JOBS_PATH: Final = "/v2/vectordb/jobs/import"
V1_JOBS_PATH: Final = "/v1/vector/collections/import"

#: Servers refuse a request with more files.
MOST_FILES: Final = 1024

#: Above this progress all of a job's rows are written, on every scale (2.4 to 3.0).
_ALL_WRITTEN_PCT: Final = 70


class RestActions(Client):
    """The actions of the REST client: submit, commit and abort."""

    @property
    @abstractmethod
    def is_cloud(self) -> bool:
        """Whether the server is Zilliz Cloud, which has other fields for files."""

    @property
    @abstractmethod
    def api(self) -> str:
        """The API that the client uses: ``v2`` or ``cloud-v1``."""

    @abstractmethod
    def _send_once(
        self,
        parse: Callable[[bytes], _Parsed],
        path: str,
        body: Mapping[str, Any],
        database: str | None,
        secrets: Iterable[str] = (),
    ) -> _Parsed:
        """Send a request once, and mask its `secrets` in the answer."""

    def submit(
        self,
        collection: str,
        files: Files,
        *,
        partition: str | None = None,
        options: Mapping[str, str] | None = None,
        storage: Mapping[str, str] | None = None,
    ) -> str:
        """Create an import job, and return its id.

        Parameters
        ----------
        collection : str
        files : iterable of str or sequence of str
            Paths as the server sees them (on Zilliz Cloud object URLs). A sequence is one import
            file of several paths: a set of NumPy files.
        partition : str, optional
        options : mapping of str to str, optional
            Options of the server, such as ``{"auto_commit": "false", "timeout": "2h"}``.
        storage : mapping of str to str, optional
            How Zilliz Cloud reads the files: ``accessKey``, ``secretKey``, ``token``; or
            ``volumeName``, if the files are paths in a volume. Never shown or stored.

        Raises
        ------
        UsageError
            There are no files, or more than a server takes, or the client has several databases.
        UnreachableError
            No answer came, so the job may or may not exist. The request is not tried again.
        UnauthorizedError, PrivilegeError, BadResponseError, ServerError
        """
        if len(self.databases) > 1:
            raise UsageError("to submit a job, name one database: see db_name, or --db")
        database = self.databases[0] if self.databases else None
        body = create_body(
            collection,
            import_files(files),
            partition=partition,
            options=options or {},
            storage=storage or {},
            is_cloud=self.is_cloud,
        )
        path = V1_JOBS_PATH if self.api == "cloud-v1" else f"{JOBS_PATH}/create"
        try:
            return self._send_once(
                _created_job_id,
                path,
                {**body, "dbName": database},
                database,
                [value for name, value in (storage or {}).items() if name != "volumeName"],
            )
        except NotSentError:
            raise
        except UnreachableError as error:
            raise UnreachableError(
                f"{error}; the job may have been created anyway: look at the list of jobs "
                "before you submit it again",
                retry_after_s=error.retry_after_s,
            ) from None

    def commit(self, job_id: str) -> None:
        """Commit a two-phase import (Milvus 3.0), which makes its rows visible.

        Raises
        ------
        UnreachableError, UnauthorizedError, PrivilegeError, BadResponseError, JobNotFoundError
        ServerError
            The server refuses, because the job is in another state or commits by itself.
        """
        self._change("commit", job_id)

    def abort(self, job_id: str, *, discard: bool = False) -> None:
        """Abort a job, which discards the rows that it has written (Milvus 3.0, two-phase imports).

        Parameters
        ----------
        job_id : str
        discard : bool
            Abort even if all its rows are written.

        Raises
        ------
        UsageError
            The job has ended.
        FinishedWorkError
            All its rows are written, and `discard` is not set.
        UnreachableError, UnauthorizedError, PrivilegeError, BadResponseError, JobNotFoundError
        ServerError
            The server refuses, because the job commits by itself or is committing.
        """
        check_abort(job_id, self.describe(job_id).data, discard=discard)
        self._change("abort", job_id)

    def _change(self, what: str, job_id: str) -> None:
        database = self._databases_to_ask(job_id)[0]
        try:
            self._send_once(
                _successful_data,
                f"{JOBS_PATH}/{what}",
                {"jobId": job_id, "dbName": database},
                database,
            )
        except NotSentError:
            raise
        except UnreachableError as error:
            raise UnreachableError(
                f"{error}; whether job {printable(job_id)} was {_DONE[what]} is not known: ask for "
                "its state",
                retry_after_s=error.retry_after_s,
            ) from None
        except ServerError as error:
            if error.code != 404:
                raise
            raise ServerError(
                f"{self.uri} cannot {what} an import: two-phase imports need Milvus 3.0", code=404
            ) from None


_DONE: Final = {"commit": "committed", "abort": "aborted"}


def _created_job_id(body: bytes) -> str:
    """The created job's id, from the answer."""
    data = _successful_data(body)
    job_id = data.get("jobId", data.get("jobID")) if isinstance(data, dict) else None
    if isinstance(job_id, bool) or not isinstance(job_id, str | int) or not str(job_id).strip():
        raise BadResponseError(
            f"the server created a job but did not return its id: {excerpt(json.dumps(data))}"
        )
    return str(job_id)


def _successful_data(body: bytes) -> Any:
    """An answer's data. Raises the error that the answer reports, if any."""
    envelope, status, message = checked_envelope(body)
    if status is None:
        raise BadResponseError(
            f"the answer does not say whether it succeeded: {excerpt(json.dumps(envelope))!r}"
        )
    data = envelope.get("data")
    if not data:
        check_message(status, message)
    return data


def import_files(files: Files) -> list[list[str]]:
    """A job's files as a request has them: a list of paths for each file.

    Parameters
    ----------
    files : iterable of str or sequence of str
        A path, or the paths of one import file: a set of NumPy files, one for each field.

    Raises
    ------
    UsageError
        There are no files, or more than a server takes, or one has no path.

    Examples
    --------
    >>> import_files(["a/1.parquet", ["x.npy", "y.npy"]])
    [['a/1.parquet'], ['x.npy', 'y.npy']]
    """
    listed = [[each] if isinstance(each, str) else list(each) for each in files]
    if not listed:
        raise UsageError("no files to import: name at least one")
    if len(listed) > MOST_FILES:
        raise UsageError(
            f"{len(listed):,} files are more than a server takes in one job ({MOST_FILES:,}); "
            "submit several jobs"
        )
    if not all(paths and all(path.strip() for path in paths) for paths in listed):
        raise UsageError("a file to import has no path")
    return listed


def create_body(
    collection: str,
    files: list[list[str]],
    *,
    partition: str | None,
    options: Mapping[str, str],
    storage: Mapping[str, str],
    is_cloud: bool,
) -> dict[str, Any]:
    """The body of a request that creates a job; the cloud has other names for files.

    Examples
    --------
    >>> create_body("books", [["a.parquet"]], partition=None, options={}, storage={},
    ...             is_cloud=False)
    {'collectionName': 'books', 'partitionName': None, 'options': {}, 'files': [['a.parquet']]}
    """
    wrong = [name for name, value in options.items() if not isinstance(value, str)]
    if wrong:
        raise UsageError(f"the option {wrong[0]!r} is not text; servers take only text: quote it")
    body: dict[str, Any] = {"collectionName": collection, "partitionName": partition}
    if not is_cloud:
        return {**body, "options": dict(options), "files": files}
    where = "dataPaths" if storage.get("volumeName") else "objectUrls"
    return {**body, "options": dict(options), where: files, **storage}


def check_abort(job_id: str, data: ImportProgressData, *, discard: bool) -> None:
    """Raise if a job has ended, or if aborting it would discard rows that are all written.

    Raises
    ------
    UsageError
        The job has ended.
    FinishedWorkError
        All its rows are written, and `discard` is not set.

    Examples
    --------
    >>> check_abort("7", ImportProgressData(state="Importing", progress=55), discard=False)
    >>> check_abort("7", ImportProgressData(state="Uncommitted", total_rows=900), discard=False)
    Traceback (most recent call last):
    importstats.errors.FinishedWorkError: all 900 rows of job 7 are written (state Uncommitted): \
an abort discards them; commit it, or confirm that you want to lose them (--discard)
    """
    shown = printable(job_id)
    if data.state in ("Completed", "Failed"):
        raise UsageError(f"job {shown} has ended ({data.state}): there is nothing to abort")
    if discard or not _is_written(data):
        return
    rows = f"all {data.total_rows:,} rows" if data.total_rows else "the rows"
    state = excerpt(data.state or "unknown")
    advice = "commit it" if data.state == "Uncommitted" else "let it end"
    raise FinishedWorkError(
        f"{rows} of job {shown} are written (state {state}): an abort discards them; "
        f"{advice}, or confirm that you want to lose them (--discard)"
    )


def _is_written(data: ImportProgressData) -> bool:
    if data.state in ("Uncommitted", "Committing"):
        return True
    if data.total_rows and data.imported_rows is not None:
        return data.imported_rows >= data.total_rows
    return (data.progress or 0) >= _ALL_WRITTEN_PCT
