"""What really happened to a simulated job, which an analysis has to find out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
import pandas as pd
from pandas.api.typing import NaTType

from importstats.arrays import Floats
from importstats.simulator.layout import Layout, places_by_name
from importstats.simulator.nodes import TaskRun
from importstats.simulator.releases import Phase

#: A task is slow on a node with at most this share of the median speed, or from this slowdown on.
SLOW_NODE: Final = 0.5
SLOW_FILE: Final = 2.0
#: A task is big if it has at least this many times the median task's bytes.
BIG_TASK: Final = 3.0


@dataclass(slots=True)
class PhaseSpan:
    """A phase with its start and end in seconds of the cluster's clock; an open end is NaN."""

    phase: Phase
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True, eq=False)
class GroundTruth:
    """What really happened to a job.

    Attributes
    ----------
    outcome : str
        ``Completed``, ``Failed``, or the last phase of a job that did not end.
    end : pandas.Timestamp
        When the job completed or failed, UTC; NaT if it did not.
    phases : DataFrame
        One row per phase: ``phase`` (str), ``start``, ``end`` (datetime64[us, UTC]; NaT if the
        phase was not left). ``Completed`` and ``Failed`` last no time.
    tasks : DataFrame
        One row per import task: ``task`` (int64), ``node``, ``batch`` (Int64, of the last attempt;
        batches are numbered by node), ``handed_at`` (when the task was first seen InProgress),
        ``batch_began_at`` (of the last attempt), ``ended_at`` (when its last file was written),
        ``finished_at`` (when the coordinator learned of its completion, which is its
        ``completeTime``; all datetime64[us, UTC]), ``files``, ``file_size_bytes``, ``total_rows``,
        ``retries`` (int64, how often it went back, node restarts included), ``state`` (str),
        ``straggler`` (str), as for files.
    files : DataFrame
        One row per file in the order of a store's rows: ``file_index`` (int64), ``file_name``
        (str, as Milvus from 2.4.5 on prints it, and ordered by that), ``task`` (int64), ``node``,
        ``batch`` (Int64), ``started_at`` (when its read began in the first attempt), ``read_at``
        (when it began in the last), ``ended_at`` (when it was written), ``finished_at`` (its
        task's), ``file_size_bytes``, ``total_rows``, ``retries`` (int64, of the file's task),
        ``state`` (str), ``straggler`` (str): why the file's task is slower than the others, the
        first of ``stuck`` (one of its files hung), ``retried``, ``slow`` (a node at most half as
        fast as the median node, or files at least twice as slow as their size says) and ``big`` (at
        least 3 times the median task's bytes) that is true, or NA.
    """

    outcome: str
    end: pd.Timestamp | NaTType
    phases: pd.DataFrame
    tasks: pd.DataFrame
    files: pd.DataFrame

    @property
    def duration_s(self) -> float:
        """Seconds from the job's creation to its end; NaN if it did not end."""
        return float((self.end - self.phases["start"].min()) / pd.Timedelta(seconds=1))


def ground_truth(
    layout: Layout,
    spans: Sequence[PhaseSpan],
    runs: Sequence[Sequence[TaskRun]],
    completed_s: Floats,
    states: Sequence[str],
    node_speeds: Sequence[float],
    start: datetime,
) -> GroundTruth:
    """The truth about a job, from what its cluster noted."""
    last = spans[-1].phase if spans else Phase.PENDING
    phases = pd.DataFrame(
        {
            "phase": [span.phase.value for span in spans],
            "start": _timestamps([span.start_s for span in spans], start),
            "end": _timestamps([span.end_s for span in spans], start),
        }
    )
    ended = last in (Phase.COMPLETED, Phase.FAILED)
    tasks = _tasks(layout, runs, completed_s, states, node_speeds, start)
    return GroundTruth(
        outcome=last.value,
        end=phases["end"].iloc[-1] if ended else pd.NaT,
        phases=phases,
        tasks=tasks,
        files=_file_truth(layout, runs, start).join(tasks[_TASK_COLUMNS], on="task"),
    )


_TASK_COLUMNS: Final = ["node", "batch", "finished_at", "retries", "state", "straggler"]


def _tasks(
    layout: Layout,
    runs: Sequence[Sequence[TaskRun]],
    completed_s: Floats,
    states: Sequence[str],
    node_speeds: Sequence[float],
    start: datetime,
) -> pd.DataFrame:
    def of_last(name: str) -> list[float]:
        return [getattr(attempts[-1], name) if attempts else math.nan for attempts in runs]

    def whole(name: str) -> pd.arrays.IntegerArray:
        numbers = [getattr(attempts[-1], name) if attempts else -1 for attempts in runs]
        return pd.array([None if number < 0 else number for number in numbers], "Int64")

    return pd.DataFrame(
        {
            "task": np.arange(layout.task_count),
            "node": whole("node"),
            "batch": whole("batch"),
            "handed_at": _timestamps([a[0].handed_s if a else math.nan for a in runs], start),
            "batch_began_at": _timestamps(of_last("batch_began_s"), start),
            "ended_at": _timestamps(of_last("ended_s"), start),
            "finished_at": _timestamps(completed_s, start),
            "files": np.diff(layout.first),
            "file_size_bytes": layout.task_bytes,
            "total_rows": layout.task_rows,
            "retries": np.array([_times_back(attempts) for attempts in runs], np.int64),
            "state": list(states),
            "straggler": pd.array(_causes(layout, runs, node_speeds), "str"),
        }
    )


def _times_back(attempts: Sequence[TaskRun]) -> int:
    return sum(run.went_back for run in attempts)


def _file_truth(layout: Layout, runs: Sequence[Sequence[TaskRun]], start: datetime) -> pd.DataFrame:
    names = [printed_list(file.paths) for file in layout.files]
    place = places_by_name(names)
    times = {name: np.full(len(place), math.nan) for name in ("first", "last", "ended")}
    for attempts in runs:
        for run in attempts:
            for file in run.files:
                if math.isnan(times["first"][file.place]):
                    times["first"][file.place] = file.started_s
                times["last"][file.place] = file.started_s
                times["ended"][file.place] = file.ended_s
    return pd.DataFrame(
        {
            "file_index": np.arange(len(place)),
            "file_name": [names[index] for index in place.tolist()],
            "task": layout.task[place],
            "file_size_bytes": layout.size_bytes[place],
            "total_rows": layout.rows[place],
            "started_at": _timestamps(times["first"][place], start),
            "read_at": _timestamps(times["last"][place], start),
            "ended_at": _timestamps(times["ended"][place], start),
        }
    )


def printed_list(paths: Sequence[str]) -> str:
    """Paths as Go prints a list of them.

    Examples
    --------
    >>> printed_list(("x.npy", "y.npy"))
    '[x.npy y.npy]'
    """
    return f"[{' '.join(paths)}]"


def _causes(
    layout: Layout, runs: Sequence[Sequence[TaskRun]], node_speeds: Sequence[float]
) -> list[str | None]:
    slow_speed = SLOW_NODE * float(np.median(node_speeds))
    big_bytes = BIG_TASK * float(np.median(layout.task_bytes))
    slowdowns = np.array([file.slowdown for file in layout.files])
    effort = np.add.reduceat(layout.size_bytes * slowdowns, layout.first[:-1])
    slow_files = effort >= SLOW_FILE * np.maximum(layout.task_bytes, 1)

    def cause(task: int) -> str | None:
        attempts = runs[task]
        if any(file.hung for run in attempts for file in run.files):
            return "stuck"
        if _times_back(attempts):
            return "retried"
        slow_node = bool(attempts) and node_speeds[attempts[-1].node] <= slow_speed
        if slow_files[task] or slow_node:
            return "slow"
        return "big" if layout.task_bytes[task] >= big_bytes > 0 else None

    return [cause(task) for task in range(layout.task_count)]


def _timestamps(seconds: Sequence[float] | Floats, start: datetime) -> pd.DatetimeIndex:
    microseconds = np.round(np.asarray(seconds, np.float64) * 1e6)
    missing = np.isnan(microseconds)
    offsets = np.where(missing, 0, microseconds).astype("timedelta64[us]")
    offsets[missing] = np.timedelta64("NaT")
    return pd.DatetimeIndex(pd.Timestamp(start).as_unit("us") + pd.TimedeltaIndex(offsets))
