"""What a recorder sees of a job: its answers at the times of the polls, as tables of a store."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from importstats.store.schema import DETAILS_SCHEMA, JOBS_SCHEMA, TIMESTAMP

from .job import Run
from .nodes import TICK_S, Attempt, Ints, ticked
from .pace import Floats
from .scales import cut

PENDING, RUNNING, COMPLETED = range(3)
STATES = pa.array(["Pending", "InProgress", "Completed"])


@dataclass(frozen=True)
class Recorded:
    """Who is asked, under which names, and when (seconds since the job's creation)."""

    run: Run
    source_uri: str
    job_id: str
    collection_name: str
    created_at: pd.Timestamp
    polls_s: Floats
    clock_ahead_s: float
    smooth: bool

    def at(self, seconds: Floats | float) -> npt.NDArray[np.int64]:
        """Microseconds since 1970 of seconds since the creation."""
        base = self.created_at.value // 1000
        return base + np.round(np.asarray(seconds, np.float64) * 1e6).astype(np.int64)

    def server_time(self, seconds: Floats) -> pa.Array:
        """By the server's clock, in whole seconds; null where infinite."""
        finite = np.isfinite(seconds)
        exact = self.at(np.where(finite, seconds, 0.0) + self.clock_ahead_s)
        whole = exact // 1_000_000 * 1_000_000
        return pa.array(whole, pa.int64(), mask=~finite).cast(TIMESTAMP)


def file_names(recorded: Recorded) -> list[str]:
    """As the server prints them; their order is that of the files."""
    folder = f"import/{recorded.collection_name}"
    width = len(str(len(recorded.run.files.rows)))
    return [
        f"[{folder}/part-{number:0{width}d}.parquet]"
        for number in range(len(recorded.run.files.rows))
    ]


@dataclass(frozen=True)
class Steps:
    """How one task looks from each of these times on."""

    times_s: Floats
    state: Ints
    rows: Ints
    done_s: float


def task_steps(recorded: Recorded, task: int, attempts: list[Attempt]) -> Steps:
    """State and rows of a task over time, in the coordinator's rounds."""
    run = recorded.run
    rows = run.files.rows[run.tasks[task]]
    whole = int(rows.sum())
    times: list[float] = [-np.inf]
    states: list[int] = [PENDING]
    counts: list[int] = [0]
    kept, done_s = 0, np.inf
    for attempt in attempts:
        times.append(attempt.handed_s)
        states.append(RUNNING)
        counts.append(kept)
        until = min(attempt.back_s, attempt.reported_s)
        for at_s, count in _row_steps(recorded, rows, attempt):
            if at_s < until and count > kept:
                times.append(at_s)
                states.append(RUNNING)
                counts.append(count)
        if np.isfinite(attempt.back_s):
            kept = counts[-1] if run.cluster.scale.keeps_rows else 0
            times.append(attempt.back_s)
            states.append(PENDING)
            counts.append(kept)
        elif np.isfinite(attempt.reported_s):
            times.append(attempt.reported_s)
            states.append(COMPLETED)
            counts.append(whole)
            done_s = attempt.reported_s
    order = np.argsort(times, kind="stable")
    return Steps(
        np.array(times)[order],
        np.array(states, np.int64)[order],
        np.array(counts, np.int64)[order],
        done_s,
    )


def _row_steps(recorded: Recorded, rows: Ints, attempt: Attempt) -> list[tuple[float, int]]:
    """When an attempt's rows change and to what, as the coordinator learns of it."""
    if not len(attempt.ends_s):
        return []
    run = recorded.run
    if recorded.smooth:
        last = attempt.ends_s.max()
        asked = recorded.polls_s[(recorded.polls_s > attempt.began_s) & (recorded.polls_s < last)]
        at_s = np.append(asked, last)
        counts = written(recorded, rows, attempt, at_s)
    else:
        ended = np.sort(attempt.ends_s[np.isfinite(attempt.ends_s)])
        offset = run.setting.offset_s
        at_s = np.unique(np.ceil((ended - offset) / TICK_S) * TICK_S + offset)
        by_end = np.argsort(attempt.ends_s, kind="stable")
        finished = np.concatenate([[0], np.cumsum(rows[by_end])])
        counts = finished[np.searchsorted(attempt.ends_s[by_end], at_s, "right")]
        if len(rows) > 1 and not run.cluster.scale.resharding:
            flushed = written(recorded, rows, attempt, at_s)
            counts = counts + run.setting.flush_share * np.maximum(flushed - counts, 0)
    whole = int(rows.sum())
    return [(float(at), min(int(count), whole)) for at, count in zip(at_s, counts, strict=True)]


def written(recorded: Recorded, rows: Ints, attempt: Attempt, at_s: Floats) -> Floats:
    """Rows that have been written, files at work in proportion to the work done on them."""
    pace = recorded.run.setting.pace
    begin, end = pace.work(attempt.begins_s), pace.work(np.minimum(attempt.ends_s, 1e12))
    slope = rows / np.maximum(end - begin, 1e-9)
    knots = np.concatenate([begin, end])
    order = np.argsort(knots, kind="stable")
    slopes = np.cumsum(np.concatenate([slope, -slope])[order])
    knots = knots[order]
    height = np.concatenate([[0.0], np.cumsum(slopes[:-1] * np.diff(knots))])
    return np.interp(pace.work(at_s), knots, height)


def all_steps(recorded: Recorded) -> list[Steps]:
    """Of all tasks, in their order."""
    by_task: list[list[Attempt]] = [[] for _ in recorded.run.tasks]
    for attempt in recorded.run.attempts:
        by_task[attempt.task].append(attempt)
    return [task_steps(recorded, task, tries) for task, tries in enumerate(by_task)]


def tables(recorded: Recorded) -> tuple[pa.Table, pa.Table]:
    """The jobs and details tables, details as runs of equal values."""
    steps = all_steps(recorded)
    return _jobs(recorded, steps), _details(recorded, steps)


def _visible(recorded: Recorded) -> tuple[int, int]:
    """Polls from which on, and until which, tasks are listed."""
    name = "Resharding" if recorded.run.cluster.scale.resharding else "Importing"
    begin = recorded.run.phase(name)[0]
    first = len(recorded.polls_s) if np.isnan(begin) else np.searchsorted(recorded.polls_s, begin)
    return int(first), len(recorded.polls_s)


def _details(recorded: Recorded, steps: list[Steps]) -> pa.Table:
    run, polls = recorded.run, recorded.polls_s
    first_poll, count = _visible(recorded)
    first, last, task, state, rows, done = [], [], [], [], [], []
    for place, step in enumerate(steps):
        if first_poll >= count:
            break
        seen = np.maximum(np.searchsorted(polls, step.times_s, "left"), first_poll)
        keep = np.append(seen[1:] != seen[:-1], True) & (seen < count)
        begins = seen[keep]
        first.append(begins)
        last.append(np.append(begins[1:], count) - 1)
        task.append(np.full(len(begins), place))
        state.append(step.state[keep])
        rows.append(step.rows[keep])
        done.append(np.where(step.state[keep] == COMPLETED, step.done_s, np.inf))
    if not first:
        return DETAILS_SCHEMA.empty_table()
    of_run = np.concatenate(task)
    sizes = np.array([len(files) for files in run.tasks])
    copies = sizes[of_run]
    entry = np.repeat(np.arange(len(of_run)), copies)
    nth = np.arange(len(entry)) - np.repeat(np.cumsum(copies) - copies, copies)
    file = np.concatenate(run.tasks)[(np.cumsum(sizes) - sizes)[of_run[entry]] + nth]
    task_rows = np.array([run.files.rows[files].sum() for files in run.tasks])[of_run]
    share = np.concatenate(rows).astype(np.float32) / np.maximum(task_rows, 1).astype(np.float32)
    percent = np.asarray(np.float32(100) * share).astype(np.int64)
    order = np.lexsort((np.concatenate(first)[entry], file))
    entry, file = entry[order], file[order]
    first_of, last_of = np.concatenate(first)[entry], np.concatenate(last)[entry]
    ended = np.concatenate(done)[entry]
    if run.cluster.scale.resharding:
        ended = np.full(len(entry), np.inf)
    observed = recorded.at(polls)
    columns = {
        "snapshot_id": first_of + 1,
        "last_snapshot_id": last_of + 1,
        "observed_at": pa.array(observed[first_of]).cast(TIMESTAMP),
        "last_observed_at": pa.array(observed[last_of]).cast(TIMESTAMP),
        "file_index": file,
        "file_name": pa.array(file_names(recorded)).take(pa.array(file)),
        "file_size_bytes": run.files.size_bytes[file],
        "state": STATES.take(pa.array(np.concatenate(state)[entry])),
        "progress_pct": percent[entry].astype(np.float64),
        "imported_rows": percent[entry] * run.files.rows[file] // 100,
        "total_rows": run.files.rows[file],
        "complete_time": recorded.server_time(ended),
    }
    return _table(recorded, columns, DETAILS_SCHEMA, len(file))


def _jobs(recorded: Recorded, steps: list[Steps]) -> pa.Table:
    run, polls = recorded.run, recorded.polls_s
    scale = run.cluster.scale
    asked = np.array([ticked(at - TICK_S, run.setting.offset_s) for at in polls])
    progress = np.zeros(len(polls), np.int64)
    rows = np.zeros(len(polls), np.int64)
    total = int(run.files.rows.sum())
    for name, begin in run.phases:
        inside = polls >= begin
        first, points = _points(scale, name)
        if name in ("Importing", "Resharding") and name not in run.counts:
            rows = np.where(inside, _rows_at(steps, polls), rows)
            part = cut(points, rows, total)
        elif name in run.counts:
            ends, count = run.counts[name]
            part = cut(points, np.searchsorted(ends, np.maximum(asked, begin), "right"), count)
        else:
            part = np.zeros(len(polls), np.int64)
        progress = np.where(inside, first + part, progress)
    counted = polls >= run.phase("Resharding" if scale.resharding else "Importing")[0]
    completed = polls >= run.end_s
    state = (
        np.where(polls < run.phases[1][1], "Pending", "Importing")
        if len(run.phases) > 1
        else (np.full(len(polls), "Pending"))
    )
    state = np.where(completed, "Completed", state)
    extra = None
    if scale.create_time:
        created = recorded.server_time(np.zeros(1))[0].as_py()
        extra = json.dumps({"createTime": created.isoformat().replace("+00:00", "Z")})
    columns = {
        "snapshot_id": np.arange(1, len(polls) + 1),
        "observed_at": pa.array(recorded.at(polls)).cast(TIMESTAMP),
        "request_latency_s": np.full(len(polls), 0.02),
        "state": state,
        "progress_pct": progress.astype(np.float64),
        "imported_rows": rows,
        "total_rows": np.where(counted, total, 0),
        "file_size_bytes": np.where(counted, run.files.size_bytes.sum(), 0),
        "complete_time": recorded.server_time(np.where(completed, run.end_s, np.inf)),
        "detail_count": np.where(counted, len(run.files.rows), 0),
        "status": np.zeros(len(polls), np.int64),
        "extra": pa.repeat(pa.scalar(extra, pa.string()), len(polls)),
    }
    return _table(recorded, columns, JOBS_SCHEMA, len(polls))


def rises_s(run: Run) -> Floats:
    """When progress rises by what a phase counts, and when each phase begins; rows left out."""
    rises = [np.array([begin for _, begin in run.phases])]
    for name, (ends, count) in run.counts.items():
        shown = cut(_points(run.cluster.scale, name)[1], np.arange(count + 1), count)
        rises.append(ends[np.diff(shown) > 0])
    return np.sort(np.concatenate(rises))


def _points(scale: object, name: str) -> tuple[int, int]:
    named = {
        "Pending": (0, 0),
        "PreImporting": scale.pre,
        "Resharding": scale.resharding,
        "Planning": (45, 0),
        "Importing": scale.importing,
        "Sorting": scale.sorting,
        "IndexBuilding": scale.index or (70, 0),
        "Committing": (99, 0),
        "Completed": (100, 0),
    }
    return named[name]


def _rows_at(steps: list[Steps], polls: Floats) -> Ints:
    """Rows of all tasks at each poll."""
    times = np.concatenate([step.times_s[1:] for step in steps])
    changes = np.concatenate([np.diff(step.rows) for step in steps])
    seen = np.searchsorted(polls, times, "left")
    sums = np.bincount(seen, weights=changes, minlength=len(polls) + 1)
    return np.round(np.cumsum(sums)[: len(polls)]).astype(np.int64)


def _table(
    recorded: Recorded, columns: dict[str, object], schema: pa.Schema, count: int
) -> pa.Table:
    same = {
        "source_uri": recorded.source_uri,
        "job_id": recorded.job_id,
        "collection_name": recorded.collection_name,
    }
    whole = {}
    for column in schema:
        if column.name in columns:
            values = columns[column.name]
            array = values if isinstance(values, pa.Array) else pa.array(values)
            whole[column.name] = array.cast(column.type)
        elif column.name in same:
            whole[column.name] = pa.repeat(pa.scalar(same[column.name], pa.string()), count)
        else:
            whole[column.name] = pa.nulls(count, column.type)
    return pa.table(whole, schema=schema)
