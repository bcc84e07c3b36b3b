"""A job's state as JSON, in each dialect of the protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from importstats.arrays import Ints
from importstats.simulator.dialects import Dialect
from importstats.simulator.layout import Layout
from importstats.simulator.states import JobState, TaskState, TaskStates, UnknownJobError
from importstats.simulator.truth import printed_list

#: States of a task as sent, by their number.
STATE_NAMES: Final = [state.wire_name for state in TaskState]


def describe_answer(state: JobState, dialect: Dialect, *, details: bool = True) -> dict[str, Any]:
    """The answer of `describe`, with or without details; keys are sorted, as Go prints a map."""
    data: dict[str, Any] = {
        "collectionName": state.collection_name,
        "completeTime": state.complete_time or dialect.nothing,
        "details": _details(state, dialect) if details else [],
        "fileSize": state.file_size_bytes,
        "jobId": dialect.printed_id(state.job_id),
        **_progress_field(dialect.sent_progress(state.progress), dialect),
        **({"state": state.state} if dialect.has_state else {}),
        **_job_rows(state, dialect),
        **_reason_field(state.reason, dialect),
    }
    if state.create_time and not dialect.cloud:
        data["createTime"] = state.create_time
    if dialect.top_file_name:
        data["fileName"] = state.layout.files[0].paths[0]
    answer: dict[str, Any] = {"code": dialect.success_code, "data": dict(sorted(data.items()))}
    if dialect.cloud:
        answer["message"] = ""
    return answer


def unknown_job_answer(unknown: UnknownJobError, dialect: Dialect) -> dict[str, Any]:
    """The answer about an unknown job of a release that has no error for it."""
    data = {
        "collectionName": "",
        "completeTime": "",
        "details": [],
        "fileSize": 0,
        "importedRows": 0,
        "jobId": str(unknown.args[0]),
        "progress": 0,
        "reason": str(unknown),
        "state": "Failed",
        "totalRows": 0,
    }
    return {"code": dialect.success_code, "data": data}


def list_record(state: JobState, dialect: Dialect) -> dict[str, Any]:
    """A job's record in the answer of `list`."""
    return {
        "collectionName": state.collection_name,
        "jobId": dialect.printed_id(state.job_id),
        **_progress_field(dialect.sent_progress(state.progress), dialect),
        **_reason_field(state.reason, dialect),
        "state": state.state if dialect.has_state else _V1_STATES.get(state.state, "ImportRunning"),
    }


_V1_STATES: Final = {"Completed": "ImportCompleted", "Failed": "ImportFailed"}


def encode(answer: Mapping[str, Any]) -> bytes:
    r"""The body of an answer, as Go encodes it: ``&``, ``<`` and ``>`` are escaped.

    Examples
    --------
    >>> encode({"message": "a<b"})
    b'{"message":"a\\u003cb"}'
    """
    body = msgspec.json.encode(answer)
    for plain, escaped in ((b"&", b"\\u0026"), (b"<", b"\\u003c"), (b">", b"\\u003e")):
        body = body.replace(plain, escaped)
    return body


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


def imported_rows(tasks: TaskStates, task: Ints, rows: Ints) -> Ints:
    """``importedRows`` of files: exact if their tasks count rows, or else from the progress.

    `task` and `rows` are each file's task and the rows in the file.
    """
    if tasks.rows is not None:
        exact: Ints = tasks.rows[task]
        return exact
    return rows_of_percent(tasks.progress[task], rows)


def rows_of_percent(percent: npt.NDArray[np.int8], rows: Ints) -> Ints:
    """``importedRows`` of files from their rows and their tasks' progress.

    Examples
    --------
    >>> rows_of_percent(np.array([33, 100], np.int8), np.array([10, 10]))
    array([ 3, 10])
    """
    counted: Ints = percent.astype(np.int64) * rows // 100
    return counted


def detail_total_rows(state: JobState) -> Ints:
    """``totalRows`` of each file: its own rows or, wrongly, the job's."""
    rows = state.layout.rows
    return np.full_like(rows, state.layout.total_rows) if state.wrong_totals else rows


def _details(state: JobState, dialect: Dialect) -> list[dict[str, Any]]:
    if state.tasks is None:
        return []
    tasks, layout = state.tasks, state.layout
    order = np.arange(len(layout.files)) if tasks.order is None else layout.places(tasks.order)
    task_fields = _task_fields(state, tasks, dialect)
    names, task = file_names(layout, dialect), layout.task[order]
    details = [
        {"fileName": names[place], "fileSize": size, **task_fields[index]}
        for place, size, index in zip(
            order.tolist(), layout.size_bytes[order].tolist(), task.tolist(), strict=True
        )
    ]
    if dialect.detail_rows:
        imported = imported_rows(tasks, task, layout.rows[order]).tolist()
        totals = detail_total_rows(state)[order].tolist()
        for detail, rows, total in zip(details, imported, totals, strict=True):
            detail["importedRows"] = rows
            detail["totalRows"] = total
    return details


def _task_fields(state: JobState, tasks: TaskStates, dialect: Dialect) -> list[dict[str, Any]]:
    """For each task, the fields that all of its files share."""
    reasons = tasks.reasons or [""] * len(tasks.state)
    return [
        {
            "completeTime": complete_time if timed else dialect.nothing,
            **_progress_field(progress, dialect),
            **_reason_field(reason, dialect),
            **({"state": STATE_NAMES[code]} if dialect.has_state else {}),
        }
        for code, progress, timed, reason, complete_time in zip(
            tasks.state.tolist(),
            tasks.progress.tolist(),
            tasks.timed.tolist(),
            reasons,
            state.layout.complete_times,
            strict=True,
        )
    ]


def _job_rows(state: JobState, dialect: Dialect) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    if not dialect.has_state:
        return rows
    if state.total_rows is not None:
        rows["totalRows"] = state.total_rows
    if state.imported_rows is not None and dialect.imported_rows:
        rows["importedRows"] = state.imported_rows
    return rows


def _progress_field(progress: int, dialect: Dialect) -> dict[str, Any]:
    if dialect.ready_percentage:
        return {"readyPercentage": progress / 100}
    return {"progress": progress}


def _reason_field(reason: str, dialect: Dialect) -> dict[str, Any]:
    if reason or dialect.empty_reason:
        return {dialect.reason_field: reason or dialect.nothing}
    return {}
