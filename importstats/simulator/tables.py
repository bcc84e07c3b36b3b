"""A simulated job's polls as a store's rows, straight from the arrays of its states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from importstats.arrays import Ints
from importstats.simulator import wire
from importstats.simulator.dialects import Dialect
from importstats.simulator.layout import Layout, places_by_name
from importstats.simulator.states import JobState, TaskStates
from importstats.sources.answers import parse_response
from importstats.store.schema import (
    DETAILS_SCHEMA,
    JOBS_SCHEMA,
    TIMESTAMP,
    details_table,
    jobs_table,
    parse_timestamps,
)

if TYPE_CHECKING:
    from importstats.simulator.simulation import Poll, Simulation


def jobs(simulation: Simulation) -> pa.Table:
    """One row per poll by ``JOBS_SCHEMA``."""
    table = jobs_table(simulation.snapshots(details=False))
    counts = [None if poll.error else _file_count(poll.state) for poll in simulation.polls]
    place = JOBS_SCHEMA.get_field_index("detail_count")
    return table.set_column(place, JOBS_SCHEMA.field(place), pa.array(counts, pa.int64()))


def _file_count(state: JobState | None) -> int:
    return 0 if state is None or state.tasks is None else len(state.layout.files)


def details(simulation: Simulation, *, runs: bool) -> pa.Table:
    """One row per poll and file, or per run, by ``DETAILS_SCHEMA``."""
    if not simulation.dialect.has_state:
        # Only the parser knows the state of a file for which none is sent.
        return details_table(simulation.snapshots())
    seen = [
        (poll, poll.state, poll.state.tasks)
        for poll in simulation.polls
        if poll.state is not None and poll.state.tasks is not None
    ]
    if not seen:
        return DETAILS_SCHEMA.empty_table()
    polls, states, tasks = zip(*seen, strict=True)
    layout, dialect = states[0].layout, simulation.dialect
    by_name = places_by_name(wire.file_names(layout, dialect))
    rows = _runs_of_tasks(layout, tasks, by_name) if runs else _every_row(len(tasks), by_name)
    columns = {
        **_poll_columns(polls, rows),
        "source_uri": pa.repeat(simulation.source_uri, len(rows.place)),
        "job_id": pa.repeat(simulation.job_id, len(rows.place)),
        "collection_name": pa.repeat(states[0].collection_name, len(rows.place)),
        **_file_columns(states[0], dialect, rows),
        **_task_columns(layout, tasks, dialect, rows),
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


def _runs_of_tasks(layout: Layout, tasks: Sequence[TaskStates], by_name: Ints) -> _Rows:
    """Runs of equal values of each task, and so of its files."""
    began = np.zeros(layout.task_count, np.int64)
    runs = []
    for poll in range(1, len(tasks) + 1):
        if poll == len(tasks):
            task = np.arange(layout.task_count)
        elif tasks[poll].same_as(tasks[poll - 1]):
            continue
        else:
            task = np.flatnonzero(tasks[poll].changed_since(tasks[poll - 1]))
        runs.append((began[task], np.full(len(task), poll - 1), task))
        began[task] = poll
    first, last, task = (np.concatenate(parts) for parts in zip(*runs, strict=True))
    count = np.diff(layout.first)[task]
    place = layout.places(task)
    first, last = np.repeat(first, count), np.repeat(last, count)
    file_index = np.argsort(by_name)[place]
    order = np.lexsort((file_index, first))
    return _Rows(first[order], last[order], place[order], file_index[order])


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


def _file_columns(state: JobState, dialect: Dialect, rows: _Rows) -> _Columns:
    columns = {
        "file_index": rows.file_index,
        "file_name": _taken_texts(wire.file_names(state.layout, dialect), rows.place),
        "file_size_bytes": state.layout.size_bytes[rows.place],
    }
    if dialect.detail_rows:
        columns["total_rows"] = wire.detail_total_rows(state)[rows.place]
    return columns


def _task_columns(
    layout: Layout, tasks: Sequence[TaskStates], dialect: Dialect, rows: _Rows
) -> _Columns:
    task = layout.task[rows.place]
    times = parse_timestamps(pa.array(layout.complete_times, pa.string()))
    states = _values([each.state for each in tasks], rows.first, task)
    progress = _values([each.progress for each in tasks], rows.first, task)
    timed = _values([each.timed for each in tasks], rows.first, task)
    columns: _Columns = {
        "state": _taken_texts(wire.STATE_NAMES, states),
        "progress_pct": progress.astype(np.float64),
        "complete_time": times.take(pa.array(task, mask=~timed)),
    }
    if dialect.detail_rows:
        imported = wire.rows_of_percent(progress, layout.rows[rows.place])
        if tasks[0].rows is not None:
            exact = [each.rows for each in tasks if each.rows is not None]
            imported = _values(exact, rows.first, task)
        columns["imported_rows"] = imported
    if any(each.reasons for each in tasks) or dialect.empty_reason:
        columns["reason"] = _reasons_by_poll(tasks, rows.first, task, dialect)
    return columns


def _values(arrays: Sequence[npt.NDArray[Any]], poll: Ints, task: Ints) -> npt.NDArray[Any]:
    """Each row's value: its task's at the row's first poll. Rows are in the order of polls."""
    values = np.empty(len(poll), arrays[0].dtype)
    bounds = np.searchsorted(poll, np.arange(len(arrays) + 1)).tolist()
    for sent, start, end in zip(arrays, bounds, bounds[1:], strict=False):
        values[start:end] = sent[task[start:end]]
    return values


def _reasons_by_poll(
    tasks: Sequence[TaskStates], poll: Ints, task: Ints, dialect: Dialect
) -> pa.Array:
    distinct = sorted({reason for each in tasks for reason in each.reasons or ()} | {""})
    code = {reason: place for place, reason in enumerate(distinct)}
    none = np.zeros(len(tasks[0].state), np.int64)
    codes = [
        none if each.reasons is None else np.array([code[reason] for reason in each.reasons])
        for each in tasks
    ]
    return _taken_texts(
        [_EMPTY_REASON if dialect.empty_reason else None, *distinct[1:]], _values(codes, poll, task)
    )


_EMPTY_ANSWER: Final = '{"code": 0, "data": {"jobId": "1", "details": [{"reason": ""}]}}'
#: What the parser makes of a reason that is sent and empty.
_EMPTY_REASON: Final = parse_response(_EMPTY_ANSWER).data.details[0].reason


def _taken_texts(values: Sequence[str | None], index: npt.NDArray[Any]) -> pa.Array:
    return pa.array(values, pa.string()).take(pa.array(index))
