"""One job as the coordinator holds it; everything random about it is drawn at the start."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np

from importstats.arrays import Floats, Ints
from importstats.simulator.layout import make_layout
from importstats.simulator.nodes import FileRun, Outcome, Stage, TaskKind, TaskRun
from importstats.simulator.releases import Phase, Release, percent_done
from importstats.simulator.specs import JobSpec
from importstats.simulator.states import TaskStates
from importstats.simulator.truth import PhaseSpan

#: How many files a pre-import task reads.
FILES_PER_PREIMPORT_TASK: Final = 2


class LiveJob:
    """A job: its phases so far, what the coordinator knows about its tasks, and its luck to come.

    Jobs are served in the order of their numbers.
    """

    def __init__(
        self, spec: JobSpec, release: Release, job_id: str, number: int, rng: np.random.Generator
    ) -> None:
        self.spec = spec
        self.release = release
        self.job_id = job_id
        self.number = number
        self.layout = make_layout(spec, release)
        self.phases: list[PhaseSpan] = []  # Empty until the job arrives.
        self.reason = ""
        self.create_time = ""
        self.complete_time = ""
        self.forgotten = False
        self.knows_tasks = False
        self.done: dict[TaskKind | str, int] = dict.fromkeys(
            ("preimport", "import", "write", "sort", "index"), 0
        )
        self.build_failures: dict[int, int] = {}
        self.index_began = np.zeros(len(self.layout.segment_rows), bool)
        self.runs: dict[TaskKind, dict[int, list[TaskRun]]] = {
            "preimport": {},
            "import": {},
            "write": {},
        }
        tasks = self.layout.task_count
        self.task_state = np.zeros(tasks, np.uint8)
        self.task_rows = np.zeros(tasks, np.int64)
        self.task_timed = np.zeros(tasks, bool)
        self.task_reasons: dict[int, str] = {}
        self.completed_s = np.full(tasks, math.nan)
        self._seen: TaskStates | None = None
        self._draw(rng)

    def _draw(self, rng: np.random.Generator) -> None:
        spec, layout = self.spec, self.layout
        sent = np.array([file.size_bytes for file in spec.files], np.float64)
        slowdowns = np.array([file.slowdown for file in layout.files])
        effort = layout.size_bytes * slowdowns
        rows = layout.segment_rows
        overhead = spec.file_overhead_s
        self.read_s = (sent / spec.preimport_bytes_per_s + overhead) * self._noise(rng, len(sent))
        self.import_s = (effort / spec.import_bytes_per_s + overhead) * self._noise(
            rng, len(effort)
        )
        self.sort_s = rows / spec.sort_rows_per_s * self._noise(rng, len(rows))
        self.index_s = rows / spec.index_rows_per_s * self._noise(rng, len(rows))
        written = layout.total_bytes * rows / max(1, layout.total_rows)
        self.write_s = written / (2 * spec.import_bytes_per_s) * self._noise(rng, len(rows))
        # Where in a file something happens: one number for each time it may.
        self.fractions = {
            place: rng.uniform(0.05, 0.95, file.retries + 1).tolist()
            for place, file in enumerate(layout.files)
            if file.retries or file.stuck_s or file.error
        }
        self.read_fractions = {
            place: float(rng.uniform(0.05, 0.95))
            for place, file in enumerate(spec.files)
            if file.error and file.error_phase == "preimport"
        }

    def _noise(self, rng: np.random.Generator, size: int) -> Floats:
        return rng.lognormal(0.0, self.spec.noise, size)

    @property
    def phase(self) -> Phase:
        """The phase it is in."""
        return self.phases[-1].phase

    @property
    def ended(self) -> bool:
        """Whether it has completed or failed."""
        return self.phase in (Phase.COMPLETED, Phase.FAILED)

    def enter(self, phase: Phase, now_s: float) -> None:
        """Go on to a phase."""
        if self.phases:
            self.phases[-1].end_s = now_s
        ended = phase in (Phase.COMPLETED, Phase.FAILED)
        self.phases.append(PhaseSpan(phase, now_s, now_s if ended else math.nan))

    def task_count(self, kind: TaskKind) -> int:
        """How many tasks of a kind there are."""
        if kind == "preimport":
            return -(-len(self.spec.files) // FILES_PER_PREIMPORT_TASK)
        return self.layout.task_count if kind == "import" else len(self.layout.segment_rows)

    # Attempts.

    def next_run(self, kind: TaskKind, index: int) -> TaskRun:
        """A further attempt at a task."""
        earlier = self.runs[kind].setdefault(index, [])
        files = {
            "preimport": self._files_to_read,
            "import": self._files_to_import,
            "write": self._segment_to_write,
        }[kind](index, earlier)
        burst = self.spec.buffer_bytes * self.spec.shards
        run = TaskRun(self, kind, index, list(files), burst)
        earlier.append(run)
        return run

    def _files_to_read(self, index: int, _: list[TaskRun]) -> Iterator[FileRun]:
        size = FILES_PER_PREIMPORT_TASK
        for place in range(index * size, min(len(self.spec.files), (index + 1) * size)):
            file, work_s = self.spec.files[place], float(self.read_s[place])
            stages = [Stage(work_s)]
            if place in self.read_fractions:
                work_s *= self.read_fractions[place]
                stages = [Stage(work_s, Outcome.FAIL, reason=file.error)]
            yield FileRun(place, file.rows, file.size_bytes, deque(stages))

    def _files_to_import(self, index: int, earlier: list[TaskRun]) -> Iterator[FileRun]:
        layout = self.layout
        for turn, place in enumerate(layout.files_of(index)):
            hung = any(run.files[turn].hung for run in earlier)
            stages = deque(self._stages(place, len(earlier), hung))
            yield FileRun(place, int(layout.rows[place]), int(layout.size_bytes[place]), stages)

    def _stages(self, place: int, attempt: int, hung: bool) -> Iterator[Stage]:
        file, work_s = self.layout.files[place], float(self.import_s[place])
        if attempt < file.retries:
            yield Stage(self.fractions[place][attempt] * work_s, Outcome.BACK)
            return
        if file.stuck_s and not hung:
            before_s = self.fractions[place][-1] * work_s
            yield Stage(before_s, Outcome.HANG, hang_s=file.stuck_s)
            work_s -= before_s
        if file.error and file.error_phase == "import":
            yield Stage(self.fractions[place][-1] * work_s, Outcome.FAIL, reason=file.error)
        else:
            yield Stage(work_s)

    def _segment_to_write(self, index: int, _: list[TaskRun]) -> Iterator[FileRun]:
        yield FileRun(index, 0, 0, deque([Stage(float(self.write_s[index]))]))

    # What the coordinator knows.

    def forget_seen(self) -> None:
        """Note that something about the tasks has changed."""
        self._seen = None

    def tasks_seen(self) -> TaskStates:
        """The tasks as the coordinator knows them; the same object as long as nothing changes."""
        if self._seen is None:
            rows, reasons = self.task_rows.copy(), None
            if self.task_reasons:
                tasks = range(self.layout.task_count)
                reasons = tuple(self.task_reasons.get(task, "") for task in tasks)
            self._seen = TaskStates(
                state=self.task_state.copy(),
                progress=percent_done(rows, self.layout.task_rows),
                timed=self.task_timed.copy(),
                rows=rows if self.release.reshards else None,
                reasons=reasons,
            )
        return self._seen

    def tasks_with(self, rows: Ints) -> TaskStates:
        """The tasks as the coordinator knows them, but with the rows given."""
        seen = self.tasks_seen()
        exact = None if seen.rows is None else rows
        return replace(seen, progress=percent_done(rows, self.layout.task_rows), rows=exact)
