"""What a server knows of a job at one time."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from importstats.arrays import Bools, Ints
from importstats.simulator.layout import Layout
from importstats.simulator.releases import Phase


class TaskState(IntEnum):
    """States of a task, as ``details`` name them. No server sends ``Retry``."""

    PENDING = 0
    IN_PROGRESS = 1
    COMPLETED = 2
    FAILED = 3

    @property
    def wire_name(self) -> str:
        """The state as the server prints it."""
        return "".join(word.capitalize() for word in self.name.split("_"))


class UnknownJobError(KeyError):
    """The cluster never had this job, or has forgotten it."""

    def __str__(self) -> str:
        return f"import job does not exist, jobID={self.args[0]}"


class WrongPhaseError(ValueError):
    """The job cannot be committed or aborted as it is."""


@dataclass(frozen=True, slots=True, eq=False)
class TaskStates:
    """The import tasks of a job at one time. With Import V3 each file is a task.

    Attributes
    ----------
    state : uint8 array
        One :class:`TaskState` per task.
    progress : int8 array
        Percent per task.
    timed : bool array
        Whether the task has a ``completeTime``.
    rows : int64 array or None
        Exact rows of each task, with Import V3; else a file's rows follow from its progress.
    reasons : tuple of str or None
        Why the task failed, one per task; ``None`` if no task has a reason.
    order : int64 array or None
        The order of the tasks in the answer, if not their own.
    """

    state: npt.NDArray[np.uint8]
    progress: npt.NDArray[np.int8]
    timed: Bools
    rows: Ints | None = None
    reasons: tuple[str, ...] | None = None
    order: Ints | None = None

    def same_as(self, before: TaskStates) -> bool:
        """Whether nothing can have changed, since the arrays are the same ones."""
        return all(
            getattr(self, name) is getattr(before, name)
            for name in ("state", "progress", "timed", "rows", "reasons")
        )

    def changed_since(self, before: TaskStates) -> Bools:
        """Which tasks have other values than before."""
        changed: Bools = np.zeros(len(self.state), bool)
        for name in ("state", "progress", "timed", "rows"):
            old, new = getattr(before, name), getattr(self, name)
            if old is not new and old is not None and new is not None:
                changed |= np.not_equal(old, new)
        if self.reasons is not before.reasons:
            none = ("",) * len(changed)
            old, new = before.reasons or none, self.reasons or none
            changed |= np.array([x != y for x, y in zip(old, new, strict=True)])
        return changed


@dataclass(frozen=True, slots=True, eq=False)
class JobState:
    """What the server knows of one job at one time.

    Attributes
    ----------
    job_id, collection_name : str
    db_name : str or None
    phase : Phase
        The hidden one.
    state : str
        The state that is sent.
    progress : int
        Percent, or a number far below zero where the server divided zero by zero.
    imported_rows, total_rows : int or None
        ``None`` if the release sends no rows of the job.
    file_size_bytes : int
    reason : str
        Why the job failed, else empty.
    create_time, complete_time : str
        When the job was created, if the release says so, and completed, as the server prints it;
        the latter is empty before and if it failed.
    wrong_totals : bool
        Whether details say the job's rows in ``totalRows``.
    layout : Layout
        Files and tasks.
    tasks : TaskStates or None
        ``None`` as long as the server sends no details.
    """

    job_id: str
    collection_name: str
    db_name: str | None
    phase: Phase
    state: str
    progress: int
    imported_rows: int | None
    total_rows: int | None
    file_size_bytes: int
    reason: str
    create_time: str
    complete_time: str
    wrong_totals: bool
    layout: Layout = field(repr=False)
    tasks: TaskStates | None = field(repr=False)

    @property
    def ended(self) -> bool:
        """Whether the job has completed or failed."""
        return self.phase in (Phase.COMPLETED, Phase.FAILED)
