"""What a server knows about a job at one time."""

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
    """The import tasks of a job at one time. With Import V3 each file is a task."""

    #: One :class:`TaskState` per task.
    state: npt.NDArray[np.uint8]
    #: Percent per task.
    progress: npt.NDArray[np.int8]
    #: Whether each task has a ``completeTime``.
    timed: Bools
    #: Exact rows of each task with Import V3; without it, a file's rows follow from its progress.
    rows: Ints | None = None
    #: Why each task failed; ``None`` if no task has a reason.
    reasons: tuple[str, ...] | None = None
    #: The order of the tasks in the answer, if not their own.
    order: Ints | None = None

    def same_as(self, before: TaskStates) -> bool:
        """Whether nothing has changed for sure, as the arrays are the same objects."""
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
    """What the server knows about one job at one time."""

    job_id: str
    collection_name: str
    db_name: str | None
    #: The hidden phase, and the state that is sent.
    phase: Phase
    state: str
    #: Percent, or a number far below zero if the server divided zero by zero.
    progress: int
    #: ``None`` if the release sends no rows of the job.
    imported_rows: int | None
    total_rows: int | None
    file_size_bytes: int
    #: Why the job failed; empty if it did not.
    reason: str
    #: As the server prints them; empty if the release or the job has none.
    create_time: str
    complete_time: str
    #: Whether details give the job's rows as ``totalRows``.
    wrong_totals: bool
    layout: Layout = field(repr=False)
    #: ``None`` as long as the server sends no details.
    tasks: TaskStates | None = field(repr=False)

    @property
    def ended(self) -> bool:
        """Whether the job has completed or failed."""
        return self.phase in (Phase.COMPLETED, Phase.FAILED)
