"""The import API's messages as types; field names are the wire's, in snake case."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

INT64_MAX: Final = 2**63 - 1

Count = Annotated[int, msgspec.Meta(ge=0, le=INT64_MAX)]
Percent = Annotated[float, msgspec.Meta(ge=0, le=100)]

# `extra` is ours, not the wire's: no server can send a field of this name.
_NOT_ON_THE_WIRE: Final = "(extra)"


def _wire_name(name: str) -> str:
    if name == "extra":
        return _NOT_ON_THE_WIRE
    head, *tail = name.split("_")
    return head + "".join(word.capitalize() for word in tail)


class ImportProgressDetail(
    msgspec.Struct, rename=_wire_name, forbid_unknown_fields=True, kw_only=True, gc=False
):
    """One of a job's source files, as the server reports it.

    Attributes
    ----------
    file_name : str or None
        The printed list of paths, as sent; see
        :func:`~importstats.sources.file_names.parse_file_name`.
    file_size : int or None
        Size of the file in bytes.
    progress : float or None
        Percent, 0 to 100. Files of one task share it.
    complete_time : str or None
        RFC 3339, empty or ``None`` until the file is done.
    state : str or None
        ``Pending``, ``InProgress``, ``Completed``, ``Failed``, ``Retry``, ``None`` or a newer one.
    imported_rows, total_rows : int or None
        Rows. ``total_rows`` has been seen to be the job's total instead of the file's.
    reason : str or None
        Why the file failed.
    extra : dict
        Unknown fields and unusable values, by wire name.
    """

    file_name: str | None = None
    file_size: Count | None = None
    progress: Percent | None = None
    complete_time: str | None = None
    state: str | None = None
    imported_rows: Count | None = None
    total_rows: Count | None = None
    reason: str | None = None
    extra: dict[str, Any] = msgspec.field(default_factory=dict)


class ImportProgressData(
    msgspec.Struct, rename=_wire_name, forbid_unknown_fields=True, kw_only=True
):
    """The job itself: state, progress, rows and one detail per source file.

    Attributes are those of :class:`ImportProgressDetail` for the job as a whole, and
    ``collection_name``, ``job_id``, ``create_time`` (RFC 3339, from Milvus 2.6.5 on) and
    ``details``.
    """

    collection_name: str | None = None
    job_id: str | None = None
    create_time: str | None = None
    complete_time: str | None = None
    state: str | None = None
    progress: Percent | None = None
    imported_rows: Count | None = None
    total_rows: Count | None = None
    reason: str | None = None
    file_size: Count | None = None
    details: list[ImportProgressDetail] = msgspec.field(default_factory=list)
    extra: dict[str, Any] = msgspec.field(default_factory=dict)


class GetImportProgressResponse(
    msgspec.Struct, rename=_wire_name, forbid_unknown_fields=True, kw_only=True
):
    """A whole answer: the envelope and its data.

    Attributes
    ----------
    status : int
        0 (early 2.4: 200) for success, whether the server called it ``status`` or ``code``.
    message : str or None
        The server's words, mostly empty.
    data : ImportProgressData
        The job.
    extra : dict
        The envelope's unknown fields.
    """

    status: int = 0
    message: str | None = None
    data: ImportProgressData = msgspec.field(default_factory=ImportProgressData)
    extra: dict[str, Any] = msgspec.field(default_factory=dict)


class ImportJobRecord(msgspec.Struct, kw_only=True):
    """One job as ``list`` reports it.

    ``progress`` is in percent. ``db_name`` is the database if it is known: servers do not report
    it, but a list of one collection comes from the database that was asked.
    """

    job_id: str
    collection_name: str | None = None
    db_name: str | None = None
    state: str | None = None
    progress: float | None = None
    reason: str | None = None
    extra: dict[str, Any] = msgspec.field(default_factory=dict)
