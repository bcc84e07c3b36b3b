"""Polls of a simulated job as the rows of a store, straight from the arrays of its states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from importstats.arrays import Ints
from importstats.simulator import wire
from importstats.simulator.cluster import (
    NOT_A_PROGRESS,
    NOT_A_TASK_PROGRESS,
    JobState,
    TaskState,
    TaskStates,
)
from importstats.simulator.layout import Layout, places_by_name
from importstats.store.schema import (
    DETAILS_SCHEMA,
    JOBS_SCHEMA,
    TIMESTAMP,
    extra_json,
    parse_timestamps,
)

if TYPE_CHECKING:
    from importstats.simulator.simulation import Poll, Simulation


def jobs(simulation: Simulation) -> pa.Table:
    """One row per poll by ``JOBS_SCHEMA``."""
    rows = [_job_row(simulation, poll) for poll in simulation.polls]
    columns = {name: [row.get(name) for row in rows] for name in JOBS_SCHEMA.names}
    return pa.table(columns, schema=JOBS_SCHEMA)


def _job_row(simulation: Simulation, poll: Poll) -> dict[str, Any]:
    row: dict[str, Any] = {
        "snapshot_id": poll.snapshot_id,
        "observed_at": poll.observed_at,
        "request_latency_s": poll.request_latency_s,
        "source_uri": simulation.source_uri,
        "db_name": simulation.db_name,
        "job_id": simulation.job_id,
        "error": poll.error,
    }
    state, dialect = poll.state, simulation.dialect
    if state is None:
        return row
    progress = wire.sent_progress(state.progress, dialect)
    extra: dict[str, Any] = {}
    if dialect.ready_percentage:
        extra["fileName"] = wire.top_file_name(state.layout)
    if progress < 0:
        extra["progress"] = progress
    row |= {
        "collection_name": state.collection_name,
        "state": state.state,
        "progress_pct": float(progress) if progress >= 0 else None,
        "imported_rows": state.imported_rows,
        "total_rows": state.total_rows,
        "file_size_bytes": state.file_size_bytes,
        "reason": state.reason or None,
        "complete_time": _times([state.complete_time])[0].as_py(),
        "detail_count": 0 if state.tasks is None else len(state.layout.files),
        "status": dialect.success_code,
        "message": "" if dialect.cloud else None,
        "extra": extra_json(extra),
    }
    return row


def details(simulation: Simulation, *, runs: bool) -> pa.Table:
    """One row per poll and file, or per run, by ``DETAILS_SCHEMA``."""
    polls = [poll for poll in simulation.polls if poll.state is not None and poll.state.tasks]
    tasks = [poll.state.tasks for poll in polls if poll.state is not None and poll.state.tasks]
    states = [poll.state for poll in polls if poll.state is not None]
    if not states:
        return DETAILS_SCHEMA.empty_table()
    layout = states[0].layout
    by_name = places_by_name(wire.file_names(layout, simulation.dialect))
    rows = _runs(layout, tasks, by_name) if runs else _every_row(len(tasks), by_name)
    columns = {
        **_poll_columns(polls, rows),
        "source_uri": pa.repeat(simulation.source_uri, len(rows.place)),
        "job_id": pa.repeat(simulation.job_id, len(rows.place)),
        "collection_name": pa.repeat(states[0].collection_name, len(rows.place)),
        **_file_columns(states[0], simulation.dialect, rows),
        **_task_columns(layout, tasks, simulation.dialect, rows),
        "reason": _texts([state.reason or None for state in states], rows.first),
    }
    missing = {
        column.name: pa.nulls(len(rows.place), column.type)
        for column in DETAILS_SCHEMA
        if column.name not in columns
    }
    return pa.table(columns | missing).select(DETAILS_SCHEMA.names).cast(DETAILS_SCHEMA)


class _Rows(NamedTuple):
    """For each row its first and last poll, and its file's place in the layout and by name."""

    first: Ints
    last: Ints
    place: Ints
    file_index: Ints


def _every_row(polls: int, by_name: Ints) -> _Rows:
    files = len(by_name)
    poll = np.repeat(np.arange(polls), files)
    return _Rows(poll, poll, np.tile(by_name, polls), np.tile(np.arange(files), polls))


def _runs(layout: Layout, tasks: Sequence[TaskStates], by_name: Ints) -> _Rows:
    """Runs of equal values of each task, which are those of its files."""
    began = np.zeros(layout.task_count, np.int64)
    runs = []
    for poll in range(1, len(tasks) + 1):
        ended = _changed(tasks[poll - 1], tasks[poll]) if poll < len(tasks) else began >= 0
        task = np.flatnonzero(ended)
        if len(task):
            runs.append((began[task], np.full(len(task), poll - 1), task))
            began[task] = poll
    first, last, task = (np.concatenate(parts) for parts in zip(*runs, strict=True))
    count = np.diff(layout.first)[task]
    place = layout.places(task)
    first, last = np.repeat(first, count), np.repeat(last, count)
    file_index = np.argsort(by_name)[place]
    order = np.lexsort((file_index, first))
    return _Rows(first[order], last[order], place[order], file_index[order])


def _changed(before: TaskStates, after: TaskStates) -> npt.NDArray[np.bool_]:
    if after.state is before.state and after.progress is before.progress:
        return np.zeros(len(after.state), bool)
    return np.not_equal(after.state, before.state) | np.not_equal(after.progress, before.progress)


_Columns = dict[str, Any]


def _poll_columns(polls: Sequence[Poll], rows: _Rows) -> _Columns:
    snapshot_ids = np.array([poll.snapshot_id for poll in polls])
    observed_at = pa.array([poll.observed_at for poll in polls], TIMESTAMP)
    return {
        "snapshot_id": snapshot_ids[rows.first],
        "last_snapshot_id": snapshot_ids[rows.last],
        "observed_at": observed_at.take(pa.array(rows.first)),
        "last_observed_at": observed_at.take(pa.array(rows.last)),
    }


def _file_columns(state: JobState, dialect: wire.Dialect, rows: _Rows) -> _Columns:
    columns = {
        "file_index": rows.file_index,
        "file_name": _texts(wire.file_names(state.layout, dialect), rows.place),
        "file_size_bytes": state.layout.size_bytes[rows.place],
    }
    if dialect.detail_rows:
        columns["total_rows"] = wire.detail_total_rows(state)[rows.place]
    return columns


def _task_columns(
    layout: Layout, tasks: Sequence[TaskStates], dialect: wire.Dialect, rows: _Rows
) -> _Columns:
    task = layout.task[rows.place]
    states, progress = _task_values(tasks, rows.first, task)
    lies = (progress == NOT_A_TASK_PROGRESS) & (not dialect.cloud)
    columns: _Columns = {
        "state": _texts(wire.STATE_NAMES, states),
        "progress_pct": pa.array(np.maximum(progress, 0).astype(np.float64), mask=lies),
        "complete_time": _times(layout.complete_times).take(
            pa.array(task, mask=states != TaskState.COMPLETED)
        ),
    }
    if dialect.detail_rows:
        columns["imported_rows"] = wire.imported_rows(progress, layout.rows[rows.place])
    if lies.any():
        sent = [None, extra_json({"progress": NOT_A_PROGRESS})]
        columns["extra"] = _texts(sent, lies.astype(np.int64))
    return columns


def _task_values(
    tasks: Sequence[TaskStates], poll: Ints, task: Ints
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int8]]:
    """State and progress of each row's task; rows are in the order of their polls."""
    states = np.empty(len(poll), np.uint8)
    progress = np.empty(len(poll), np.int8)
    bounds = np.searchsorted(poll, np.arange(len(tasks) + 1)).tolist()
    for sent, start, end in zip(tasks, bounds, bounds[1:], strict=False):
        states[start:end] = sent.state[task[start:end]]
        progress[start:end] = sent.progress[task[start:end]]
    return states, progress


def _texts(values: Sequence[str | None], index: npt.NDArray[Any]) -> pa.Array:
    return pa.array(values, pa.string()).take(pa.array(index))


def _times(printed: list[str]) -> pa.Array:
    return parse_timestamps(pa.array(printed, pa.string()))
