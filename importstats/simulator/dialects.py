"""The dialects of the protocol: what each kind of server names, types and omits in its own way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from importstats.simulator.releases import RELEASES, Release, release_of

_IMPORT: Final = "/v2/vectordb/jobs/import/"
DESCRIBE: Final = f"{_IMPORT}describe"
GET_PROGRESS: Final = f"{_IMPORT}get_progress"
OLD_CLOUD_PROGRESS: Final = f"{_IMPORT}getProgress"
LIST: Final = f"{_IMPORT}list"
CREATE: Final = f"{_IMPORT}create"
COMMIT: Final = f"{_IMPORT}commit"
ABORT: Final = f"{_IMPORT}abort"
V1_PROGRESS: Final = "/v1/vector/collections/import/get"
V1_LIST: Final = "/v1/vector/collections/import/list"
V1_CREATE: Final = "/v1/vector/collections/import"


@dataclass(frozen=True, slots=True)
class Dialect:
    """What one kind of server says differently.

    Attributes
    ----------
    name : str
    release : str
        The release whose phases such a server has.
    describe_paths : tuple of str
        Paths that answer with a job's progress; other paths answer 404.
    cloud : bool
        Whether it is Zilliz Cloud: pages its list, prints bare paths, has a message.
    success_code : int
    printed_name : {"list", "proto", "bare"}
        How ``fileName`` is printed.
    ready_percentage : bool
        ``readyPercentage`` (a share) and ``errorMessage`` stand for ``progress`` and ``reason``.
    top_file_name : bool
        Whether ``fileName`` stands at the top as well.
    job_id : {"text", "job-"}
        Whether the id of a job has ``job-`` before it.
    detail_rows : bool
        Whether details have ``importedRows`` and ``totalRows``.
    imported_rows : bool
        Whether the job has ``importedRows``.
    empty_reason : bool
        Whether ``reason`` is sent even if there is none.
    two_phase : bool
        Whether there are ``commit`` and ``abort``.
    method : {"POST", "GET"}
        How progress and list are asked for: with a JSON body, or with the query of a URL.
    list_path, records_field : str
        Where the list is asked for, and where its records stand.
    has_state : bool
        Whether a job and a file have a state, and names of its own for a listed job.
    illegal_token_code : int or str
        Number of the error for a wrong token in the cloud.
    """

    name: str
    release: str
    describe_paths: tuple[str, ...] = (DESCRIBE, GET_PROGRESS)
    cloud: bool = False
    success_code: int = 0
    printed_name: Literal["list", "proto", "bare"] = "list"
    ready_percentage: bool = False
    top_file_name: bool = False
    job_id: Literal["text", "job-"] = "text"
    detail_rows: bool = True
    imported_rows: bool = True
    empty_reason: bool = False
    two_phase: bool = False
    method: Literal["POST", "GET"] = "POST"
    list_path: str = LIST
    records_field: str = "records"
    has_state: bool = True
    illegal_token_code: int | str = 80001

    @property
    def reason_field(self) -> str:
        """The field that carries the reason."""
        return "errorMessage" if self.ready_percentage else "reason"

    def printed_id(self, job_id: str) -> str:
        """A job's id as it stands in requests and answers."""
        return f"job-{job_id}" if self.job_id == "job-" else job_id

    def known_id(self, printed: str) -> str:
        """The cluster's id of a job that a client names."""
        return printed.removeprefix("job-") if self.job_id == "job-" else printed

    def sent_progress(self, progress: int) -> int:
        """Progress as sent: the cloud does not let a negative one through."""
        return max(0, progress) if self.cloud else progress

    @property
    def no_time(self) -> str | None:
        """``completeTime`` before there is one."""
        return None if self.ready_percentage else ""

    @property
    def no_reason(self) -> str | None:
        """The reason before there is one, where it is sent."""
        return None if self.ready_percentage else ""


def _milvus(release: Release) -> Dialect:
    return Dialect(
        name=release.name,
        release=release.name,
        describe_paths=(DESCRIBE, GET_PROGRESS) if release.has_describe else (GET_PROGRESS,),
        success_code=release.success_code,
        printed_name=release.printed_name,
        two_phase=release.two_phase,
    )


_CLOUD_V2: Final = Dialect(
    "cloud-v2",
    "2.6",
    describe_paths=(DESCRIBE, OLD_CLOUD_PROGRESS, GET_PROGRESS),
    cloud=True,
    printed_name="bare",
    top_file_name=True,
    job_id="job-",
    empty_reason=True,
)

#: Dialects by name: those of the releases, and those of Zilliz Cloud. ``cloud-v2`` sends what its
#: clients document, ``cloud-v2-no-rows`` what its reference shows, ``cloud-v1`` is the older call.
DIALECTS: Final[Mapping[str, Dialect]] = {
    **{name: _milvus(release) for name, release in RELEASES.items()},
    _CLOUD_V2.name: _CLOUD_V2,
    "cloud-v2-no-rows": replace(
        _CLOUD_V2, name="cloud-v2-no-rows", detail_rows=False, imported_rows=False
    ),
    "cloud-v1": Dialect(
        "cloud-v1",
        "2.4",
        describe_paths=(V1_PROGRESS,),
        cloud=True,
        success_code=200,
        printed_name="bare",
        ready_percentage=True,
        top_file_name=True,
        job_id="job-",
        detail_rows=False,
        empty_reason=True,
        method="GET",
        list_path=V1_LIST,
        records_field="tasks",
        has_state=False,
        illegal_token_code="0",  # noqa: S106 - it is no secret
    ),
}


def dialect_named(name: str) -> Dialect:
    """The dialect of this name, which may be any version of Milvus from 2.4 on.

    Raises
    ------
    ValueError
        There is none.

    Examples
    --------
    >>> dialect_named("2.4.7").describe_paths
    ('/v2/vectordb/jobs/import/get_progress',)
    """
    if name in DIALECTS:
        return DIALECTS[name]
    try:
        return _milvus(release_of(name))
    except ValueError:
        raise ValueError(
            f"no dialect {name!r}; there are {', '.join(DIALECTS)} and versions of Milvus"
        ) from None
