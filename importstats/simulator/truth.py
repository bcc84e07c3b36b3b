"""What really happened to a simulated job: what an analysis has to find out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
import pandas as pd
from pandas.api.typing import NaTType

from importstats.simulator.layout import Layout, places_by_name
from importstats.simulator.specs import Phase

#: From this share of the median node's speed down, and from this slowdown up, a task is slow.
SLOW_NODE: Final = 0.5
SLOW_FILE: Final = 2.0
#: From this many times the median task's bytes up, a task is big.
BIG_TASK: Final = 3.0


@dataclass(slots=True)
class PhaseSpan:
    """A phase and when it was, in seconds of the cluster's clock; the end may be open (NaN)."""

    phase: Phase
    start_s: float
    end_s: float


@dataclass(slots=True)
class TaskHistory:
    """What happened to one import task."""

    started_s: float = math.nan
    finished_s: float = math.nan
    node: int = -1
    retries: int = 0
    stuck: bool = False
    slowdown: float = 1.0

    def start(self, now_s: float, node: int) -> None:
        """Note an attempt: the first counts as the start, the last has the node."""
        if math.isnan(self.started_s):
            self.started_s = now_s
        self.node = node


@dataclass(frozen=True, slots=True, eq=False)
class GroundTruth:
    """What really happened to a job.

    Attributes
    ----------
    outcome : str
        ``Completed``, ``Failed``, or the phase the job was left in.
    end : pandas.Timestamp
        When the job completed or failed, UTC; NaT if it did not.
    phases : DataFrame
        One row per phase: ``phase`` (str), ``start``, ``end`` (datetime64[us, UTC]; NaT if the
        phase was not left). ``Completed`` and ``Failed`` last no time.
    files : DataFrame
        One row per file in the order of a store's rows: ``file_index`` (int64), ``file_name``
        (str, as Milvus from 2.4 on prints it, and ordered by that), ``task`` (int64), ``node``
        (Int64, of the last attempt), ``started_at`` (first attempt), ``finished_at``
        (datetime64[us, UTC]),
        ``file_size_bytes``, ``total_rows``, ``retries`` (int64, of the file's task, node restarts
        included), ``state`` (str), ``straggler`` (str): the cause for which the file's task is
        slower than the others, the first that holds of ``stuck`` (it hung), ``retried``,
        ``slow`` (a node at most half as fast as the median node, or a file at least twice as slow
        as its size says), ``big`` (at least 3 times the median task's bytes); else NA.
    """

    outcome: str
    end: pd.Timestamp | NaTType
    phases: pd.DataFrame
    files: pd.DataFrame

    @property
    def duration_s(self) -> float:
        """Seconds from the job's creation to its end; NaN if it did not end."""
        return float((self.end - self.phases["start"].min()) / pd.Timedelta(seconds=1))


def ground_truth(
    layout: Layout,
    phases: Sequence[PhaseSpan],
    history: Sequence[TaskHistory],
    states: Sequence[str],
    node_speeds: Sequence[float],
    start: datetime,
) -> GroundTruth:
    """Tell the truth from what the model kept; see :class:`GroundTruth`."""
    last = phases[-1].phase if phases else Phase.PENDING
    spans = pd.DataFrame(
        {
            "phase": [span.phase.value for span in phases],
            "start": _timestamps([span.start_s for span in phases], start),
            "end": _timestamps([span.end_s for span in phases], start),
        }
    )
    ended = last in (Phase.COMPLETED, Phase.FAILED)
    per_task = pd.DataFrame(
        {
            "node": pd.array([task.node if task.node >= 0 else None for task in history], "Int64"),
            "started_at": _timestamps([task.started_s for task in history], start),
            "finished_at": _timestamps([task.finished_s for task in history], start),
            "retries": np.array([task.retries for task in history], np.int64),
            "state": list(states),
            "straggler": pd.array(_causes(layout, history, node_speeds), "str"),
        }
    )
    names = [printed_list(file.paths) for file in layout.files]
    place = places_by_name(names)
    files = pd.DataFrame(
        {
            "file_index": np.arange(len(place)),
            "file_name": [names[index] for index in place.tolist()],
            "task": layout.task[place],
            "file_size_bytes": layout.size_bytes[place],
            "total_rows": layout.rows[place],
        }
    )
    return GroundTruth(
        outcome=last.value,
        end=spans["end"].iloc[-1] if ended else pd.NaT,
        phases=spans,
        files=files.join(per_task, on="task"),
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
    layout: Layout, history: Sequence[TaskHistory], node_speeds: Sequence[float]
) -> list[str | None]:
    slow_speed = SLOW_NODE * float(np.median(node_speeds))
    big_bytes = BIG_TASK * float(np.median(layout.task_bytes))

    def cause(task: TaskHistory, task_bytes: int) -> str | None:
        if task.stuck:
            return "stuck"
        if task.retries:
            return "retried"
        if task.slowdown >= SLOW_FILE or (task.node >= 0 and node_speeds[task.node] <= slow_speed):
            return "slow"
        return "big" if task_bytes >= big_bytes > 0 else None

    return list(map(cause, history, layout.task_bytes.tolist()))


def _timestamps(seconds: Sequence[float], start: datetime) -> pd.DatetimeIndex:
    microseconds = np.round(np.asarray(seconds, np.float64) * 1e6)
    missing = np.isnan(microseconds)
    offsets = np.where(missing, 0, microseconds).astype("timedelta64[us]")
    offsets[missing] = np.timedelta64("NaT")
    return pd.DatetimeIndex(pd.Timestamp(start).as_unit("us") + pd.TimedeltaIndex(offsets))
