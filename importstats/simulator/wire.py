"""What each dialect of the protocol makes of a job's state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from importstats.arrays import Ints
from importstats.simulator.cluster import (
    NOT_A_PROGRESS,
    NOT_A_TASK_PROGRESS,
    JobState,
    TaskState,
    TaskStates,
)
from importstats.simulator.layout import Layout
from importstats.simulator.truth import printed_list

#: States of a task as sent, by their number.
STATE_NAMES: Final = [state.wire_name for state in TaskState]

_IMPORT: Final = "/v2/vectordb/jobs/import/"
DESCRIBE: Final = f"{_IMPORT}describe"
GET_PROGRESS: Final = f"{_IMPORT}get_progress"
OLD_CLOUD_PROGRESS: Final = f"{_IMPORT}getProgress"
LIST: Final = f"{_IMPORT}list"
CREATE: Final = f"{_IMPORT}create"
COMMIT: Final = f"{_IMPORT}commit"
ABORT: Final = f"{_IMPORT}abort"


@dataclass(frozen=True, slots=True)
class Dialect:
    """What one kind of server says differently.

    Attributes
    ----------
    name : str
    release : str
        The release whose phases such a server has; a key of ``RELEASES``.
    describe_paths : tuple of str
        Paths that answer with a job's progress; other paths answer 404.
    cloud : bool
        Whether it is Zilliz Cloud: pages its list, prints bare paths, has a message.
    success_code : int
    printed_name : {"list", "proto", "bare"}
        How ``fileName`` is printed.
    ready_percentage : bool
        ``readyPercentage`` (a share) and ``errorMessage`` stand for ``progress`` and ``reason``,
        and ``fileName`` stands at the top.
    numeric_job_id : bool
    detail_rows : bool
        Whether details have ``importedRows`` and ``totalRows``.
    two_phase : bool
        Whether there are ``commit`` and ``abort``.
    """

    name: str
    release: str
    describe_paths: tuple[str, ...] = (DESCRIBE, GET_PROGRESS)
    cloud: bool = False
    success_code: int = 0
    printed_name: Literal["list", "proto", "bare"] = "list"
    ready_percentage: bool = False
    numeric_job_id: bool = False
    detail_rows: bool = True
    two_phase: bool = False


DIALECTS: Final[Mapping[str, Dialect]] = {
    dialect.name: dialect
    for dialect in (
        Dialect(
            "2.4-early",
            "2.4-early",
            describe_paths=(GET_PROGRESS,),
            success_code=200,
            printed_name="proto",
        ),
        Dialect("2.4", "2.4", describe_paths=(GET_PROGRESS,)),
        Dialect("2.5", "2.5"),
        Dialect("2.6", "2.6"),
        Dialect("3.0", "3.0", two_phase=True),
        Dialect(
            "cloud-v2",
            "2.6",
            describe_paths=(DESCRIBE, OLD_CLOUD_PROGRESS),
            cloud=True,
            printed_name="bare",
        ),
        Dialect(
            "cloud-v1",
            "2.4",
            describe_paths=(OLD_CLOUD_PROGRESS,),
            cloud=True,
            printed_name="bare",
            ready_percentage=True,
            numeric_job_id=True,
            detail_rows=False,
        ),
    )
}


def dialect_named(name: str) -> Dialect:
    """The dialect of this name.

    Raises
    ------
    ValueError
        There is none.
    """
    try:
        return DIALECTS[name]
    except KeyError:
        raise ValueError(f"no dialect {name!r}; there are {', '.join(DIALECTS)}") from None


def describe_answer(state: JobState, dialect: Dialect) -> dict[str, Any]:
    """The JSON object that `describe` answers with.

    Keys are sorted, as Go prints a map.
    """
    data: dict[str, Any] = {
        "collectionName": state.collection_name,
        "completeTime": state.complete_time or no_time(dialect),
        "details": _details(state, dialect),
        "fileSize": state.file_size_bytes,
        "importedRows": state.imported_rows,
        "jobId": int(state.job_id) if dialect.numeric_job_id else state.job_id,
        **_progress(sent_progress(state.progress, dialect), dialect),
        "state": state.state,
        "totalRows": state.total_rows,
    }
    if state.reason:
        data[reason_field(dialect)] = state.reason
    if dialect.ready_percentage:
        data["fileName"] = top_file_name(state.layout)
    answer: dict[str, Any] = {"code": dialect.success_code, "data": dict(sorted(data.items()))}
    if dialect.cloud:
        answer["message"] = ""
    return answer


def list_record(state: JobState, dialect: Dialect) -> dict[str, Any]:
    """One record of the answer of `list`."""
    record = {
        "collectionName": state.collection_name,
        "jobId": int(state.job_id) if dialect.numeric_job_id else state.job_id,
        **_progress(sent_progress(state.progress, dialect), dialect),
        "state": state.state,
    }
    if state.reason:
        record[reason_field(dialect)] = state.reason
    return record


def encode(answer: Mapping[str, Any]) -> bytes:
    """The body of an answer."""
    return msgspec.json.encode(answer)


def file_names(layout: Layout, dialect: Dialect) -> list[str]:
    """``fileName`` of each file, as the dialect prints it."""
    return layout.printed_names(dialect.printed_name, _PRINTERS[dialect.printed_name])


def _proto(place: int, paths: tuple[str, ...]) -> str:
    escaped = (path.replace("\\", "\\\\").replace('"', '\\"') for path in paths)
    printed = "".join(f'paths:"{path}" ' for path in escaped)
    return f"id:{449_839_014_328_146_740 + 2 * place} {printed}"


_PRINTERS: Final[Mapping[str, Callable[[int, tuple[str, ...]], str]]] = {
    "list": lambda _, paths: printed_list(paths),
    "proto": _proto,
    "bare": lambda _, paths: ",".join(paths),
}


def top_file_name(layout: Layout) -> str:
    """``fileName`` at the top of a cloud answer: the first path."""
    return layout.files[0].paths[0]


def reason_field(dialect: Dialect) -> str:
    """The field that carries the reason."""
    return "errorMessage" if dialect.ready_percentage else "reason"


def sent_progress(progress: int, dialect: Dialect) -> int:
    """Progress as sent: the cloud does not let a negative one through."""
    return max(0, progress) if dialect.cloud else progress


def detail_order(layout: Layout, tasks: TaskStates) -> Ints:
    """The files in the order in which the answer lists them, as places in the layout."""
    if tasks.order is None:
        return np.arange(len(layout.files))
    return layout.places(tasks.order)


def imported_rows(task_progress: npt.NDArray[np.int8], rows: Ints) -> Ints:
    """``importedRows`` of files of so many rows, from the progress of their tasks."""
    return np.maximum(task_progress, 0).astype(np.int64) * rows // 100


def detail_total_rows(state: JobState) -> Ints:
    """``totalRows`` of each file: its own rows, or the lie that they are the job's."""
    rows = state.layout.rows
    return np.full_like(rows, state.layout.total_rows) if state.wrong_totals else rows


def _details(state: JobState, dialect: Dialect) -> list[dict[str, Any]]:
    if state.tasks is None:
        return []
    layout, order = state.layout, detail_order(state.layout, state.tasks)
    task_fields = _task_fields(state, state.tasks, dialect)
    names, task = file_names(layout, dialect), layout.task[order]
    details = [
        {"fileName": names[place], "fileSize": size, **task_fields[index]}
        for place, size, index in zip(
            order.tolist(), layout.size_bytes[order].tolist(), task.tolist(), strict=True
        )
    ]
    if dialect.detail_rows:
        imported = imported_rows(state.tasks.progress[task], layout.rows[order]).tolist()
        totals = detail_total_rows(state)[order].tolist()
        for detail, rows, total in zip(details, imported, totals, strict=True):
            detail["importedRows"] = rows
            detail["totalRows"] = total
    return details


def _task_fields(state: JobState, tasks: TaskStates, dialect: Dialect) -> list[dict[str, Any]]:
    """What all files of a task share, one for each task."""
    reason = {reason_field(dialect): state.reason} if state.reason else {}
    fields = []
    for code, progress, complete_time in zip(
        tasks.state.tolist(), tasks.progress.tolist(), state.layout.complete_times, strict=True
    ):
        sent = NOT_A_PROGRESS if progress == NOT_A_TASK_PROGRESS else progress
        completed = code == TaskState.COMPLETED
        fields.append(
            {
                "completeTime": complete_time if completed else no_time(dialect),
                **_progress(sent_progress(sent, dialect), dialect),
                **reason,
                "state": STATE_NAMES[code],
            }
        )
    return fields


def _progress(progress: int, dialect: Dialect) -> dict[str, Any]:
    if dialect.ready_percentage:
        return {"readyPercentage": progress / 100}
    return {"progress": progress}


def no_time(dialect: Dialect) -> str | None:
    """``completeTime`` before there is one."""
    return None if dialect.cloud else ""
