"""The protocol's dialects: what each kind of server names, types and omits in its own way."""

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
    """How one kind of server differs from the others."""

    name: str
    #: The release whose phases such a server has.
    release: str
    #: Paths that answer with a job's progress; other paths answer 404.
    describe_paths: tuple[str, ...] = (DESCRIBE, GET_PROGRESS)
    #: Whether it is Zilliz Cloud, which lists jobs page by page and sends a message.
    cloud: bool = False
    success_code: int = 0
    #: How ``fileName`` is printed.
    printed_name: Literal["list", "proto", "bare"] = "list"
    #: Whether it has ``readyPercentage`` (a share) and ``errorMessage`` in place of ``progress``
    #: and ``reason``.
    ready_percentage: bool = False
    #: Whether the job has a ``fileName`` too.
    top_file_name: bool = False
    #: What a job's id begins with.
    id_prefix: Literal["", "job-"] = ""
    #: Whether details have ``importedRows`` and ``totalRows``.
    detail_rows: bool = True
    #: Whether the job has ``importedRows``.
    imported_rows: bool = True
    #: Whether ``reason`` is sent even if there is none.
    empty_reason: bool = False
    #: Whether there are ``commit`` and ``abort``.
    two_phase: bool = False
    #: How progress and list are requested: with a JSON body, or with a URL's query.
    method: Literal["POST", "GET"] = "POST"
    #: Where the list is, and which of its fields has the records.
    list_path: str = LIST
    records_field: str = "records"
    #: Whether jobs and files have a state; if not, listed jobs have states with other names.
    has_state: bool = True
    #: The number of the cloud's error for a wrong token.
    illegal_token_code: int | str = 80001

    @property
    def reason_field(self) -> str:
        """The field that carries the reason."""
        return "errorMessage" if self.ready_percentage else "reason"

    def printed_id(self, job_id: str) -> str:
        """A job's id as requests and answers have it."""
        return f"{self.id_prefix}{job_id}"

    def known_id(self, printed: str) -> str:
        """The cluster's id of a job that a client names."""
        return printed.removeprefix(self.id_prefix)

    def sent_progress(self, progress: int) -> int:
        """Progress as it is sent: the cloud does not send a negative one."""
        return max(0, progress) if self.cloud else progress

    @property
    def nothing(self) -> str | None:
        """The value of a time or a reason that there is not."""
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
    id_prefix="job-",
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
        id_prefix="job-",
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
    """The dialect of a name, which may be any version of Milvus from 2.4 on.

    Raises
    ------
    ValueError
        There is no such dialect.

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
