"""Bulk insert: tasks of Milvus up to 2.3 as jobs and details of later releases.

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
    ``completeTime`` and ``fileSize`` are never sent. Everything else is in ``extra`` by its
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

Needs the extra ``grpc``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any, Final, TypeVar

from pymilvus.grpc_gen import common_pb2, milvus_pb2

from importstats.sources.messages import (
    GetImportProgressResponse,
    ImportJobRecord,
    ImportProgressData,
    ImportProgressDetail,
)


def progress_response(
    job_id: str, tasks: Sequence[milvus_pb2.GetImportStateResponse]
) -> GetImportProgressResponse:
    """The answer of ``describe`` for a job with these tasks, by the mapping above.

    Examples
    --------
    >>> task = milvus_pb2.GetImportStateResponse(state="ImportPersisted", row_count=300)
    >>> data = progress_response("451", [task]).data
    >>> data.state, data.total_rows, data.details[0].state, data.complete_time
    ('Importing', 300, 'InProgress', None)
    """
    details = [_detail(task) for task in tasks]
    progress = _known_values(detail.progress for detail in details)
    total_rows = _known_values(detail.total_rows for detail in details)
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
    """One task as ``list_jobs`` reports it, by the mapping above.

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
    progress = _progress_pct(infos.get("progress_percent"), state)
    if progress is not None:
        infos.pop("progress_percent", None)
    imported_rows, total_rows = _imported_and_total_rows(task.row_count, state)
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


def _progress_pct(sent: str | None, state: str) -> float | None:
    if sent is None:
        return 0.0 if state in _NOT_YET_AT_WORK else None
    return float(sent) if re.fullmatch(r"[0-9]{1,3}", sent) and int(sent) <= 100 else None


def _imported_and_total_rows(row_count: int, state: str) -> tuple[int | None, int | None]:
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
    """The tasks' collection, if it is the same for all."""
    names = {info.value for task in tasks for info in task.infos if info.key == "collection"}
    return names.pop() or None if len(names) == 1 else None


_T = TypeVar("_T")


def _known_values(values: Iterable[_T | None]) -> list[_T]:
    return [value for value in values if value is not None]
