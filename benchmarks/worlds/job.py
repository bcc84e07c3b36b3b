"""One job: its files and phases, from its creation to its end, in seconds since its creation."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from .nodes import TICK_S, Attempt, Ints, Node, Work, run_tasks, ticked
from .pace import Floats, Pace, list_schedule
from .scales import GIB, Scale


@dataclass(frozen=True)
class Cluster:
    """What a job runs on.

    `stream_bytes_per_s` is what one file reads at, alone; `index_s_per_gib` what one worker needs.
    """

    nodes: tuple[Node, ...]
    scale: Scale
    stream_bytes_per_s: float
    file_overhead_s: float
    read_factor: float
    sort_workers: int
    sort_s_per_gib: float
    index_workers: int
    index_s_per_gib: float
    segment_bytes: float
    shards: int


@dataclass(frozen=True)
class Files:
    """The files of a job: bytes on disk, bytes in memory, rows, and how much slower than usual."""

    size_bytes: Ints
    memory_bytes: Floats
    rows: Ints
    slowness: Floats
    hangs_s: Floats


@dataclass(frozen=True)
class Trouble:
    """What goes wrong in one job: at most one thing, from `start_s` to `end_s`."""

    kind: str = ""
    start_s: float = np.nan
    end_s: float = np.nan


@dataclass(frozen=True)
class Setting:
    """Chance and circumstance of one job, all drawn before it runs."""

    queue_s: float
    wait_for_slot_s: float
    pace: Pace
    index_pace: Pace
    offset_s: float
    back_share: float
    segment_noise: float
    seed: int
    flush_share: float


@dataclass
class Run:
    """What happened.

    `phases` are pairs of name and begin, the last is Completed if it came so far; `counts` are by
    phase the times at which one more part of it was done, and their number.
    """

    files: Files
    cluster: Cluster
    setting: Setting
    tasks: list[Ints]
    attempts: list[Attempt] = field(default_factory=list)
    phases: list[tuple[str, float]] = field(default_factory=list)
    counts: dict[str, tuple[Floats, int]] = field(default_factory=dict)
    end_s: float = np.inf

    def phase(self, name: str) -> tuple[float, float]:
        """When a phase began and ended; NaN if there was none, infinite if it did not."""
        for place, (found, begin) in enumerate(self.phases):
            if found == name:
                later = self.phases[place + 1 :]
                return begin, later[0][1] if later else np.inf
        return np.nan, np.nan


def grouped(files: Files, cap_bytes: float) -> list[Ints]:
    """Files by size, smallest first, as many to a task as the cap allows."""
    order = np.argsort(files.memory_bytes, kind="stable")
    tasks: list[list[int]] = []
    room = 0.0
    for file in order:
        size = float(files.memory_bytes[file])
        if not tasks or size > room:
            tasks.append([])
            room = cap_bytes
        tasks[-1].append(int(file))
        room -= size
    return [np.array(task, np.int64) for task in tasks]


def run_job(files: Files, cluster: Cluster, setting: Setting) -> Run:
    """Everything that happens to a job; the same arguments give the same."""
    rng = np.random.default_rng(setting.seed)
    scale = cluster.scale
    most = cluster.segment_bytes * cluster.shards
    run = Run(files, cluster, setting, grouped(files, min(most, scale.cap_bytes)))
    step = _Steps(run, rng)
    now = step.wait(setting.queue_s)
    now = step.pre_import(now)
    if np.isfinite(now):
        now = step.import_files(now)
    if np.isfinite(now):
        now = step.finish_segments(now)
    if np.isfinite(now):
        run.phases.append(("Completed", now))
        run.end_s = now
    return run


class _Steps:
    """The phases of a job in their order; each takes its begin and returns its end."""

    def __init__(self, run: Run, rng: np.random.Generator) -> None:
        self.run, self.rng = run, rng
        self.cluster, self.setting = run.cluster, run.setting

    def tick(self, at_s: float) -> float:
        return ticked(at_s, self.setting.offset_s)

    def wait(self, queue_s: float) -> float:
        self.run.phases.append(("Pending", 0.0))
        return self.tick(queue_s + 0.1)

    def work(self, tasks: list[Ints], file_s: Floats, *, disturbed: bool) -> Work:
        count = len(self.run.files.rows)
        back = np.full(len(tasks), np.nan)
        if disturbed:
            fails = self.rng.random(len(tasks)) < self.setting.back_share
            back[fails] = self.rng.uniform(0.1, 0.95, fails.sum())
        hangs = self.run.files.hangs_s if disturbed else np.zeros(count)
        return Work(tasks, file_s, back, hangs)

    def pre_import(self, now: float) -> float:
        run, cluster = self.run, self.cluster
        run.phases.append(("PreImporting", now))
        files = run.files
        tasks = [np.arange(at, min(at + 2, len(files.rows))) for at in range(0, len(files.rows), 2)]
        rate = cluster.stream_bytes_per_s * cluster.read_factor
        noise = self.rng.lognormal(0, 0.15, len(files.rows))
        file_s = 0.3 * cluster.file_overhead_s + files.size_bytes / rate * noise
        steady = [replace(node, restarts=()) for node in cluster.nodes]
        attempts = run_tasks(
            self.work(tasks, file_s, disturbed=False),
            steady,
            self.setting.pace,
            now + 0.5,
            offset_s=self.setting.offset_s,
            rng=self.rng,
        )
        ends = np.array([attempt.reported_s for attempt in attempts])
        run.counts["PreImporting"] = (np.sort(ends), len(tasks))
        return self.tick(ends.max() + 0.1)

    def import_files(self, now: float) -> float:
        run, cluster = self.run, self.cluster
        name = "Resharding" if cluster.scale.resharding else "Importing"
        run.phases.append((name, now))
        files = run.files
        file_s = cluster.file_overhead_s + files.size_bytes / cluster.stream_bytes_per_s
        run.attempts = run_tasks(
            self.work(run.tasks, file_s * files.slowness, disturbed=True),
            cluster.nodes,
            self.setting.pace,
            now + 0.5 + self.setting.wait_for_slot_s,
            offset_s=self.setting.offset_s,
            rng=self.rng,
        )
        ended = {attempt.task: attempt.reported_s for attempt in run.attempts}
        if len(ended) < len(run.tasks) or not np.isfinite(max(ended.values())):
            return np.inf
        now = self.tick(max(ended.values()) + 0.1)
        return self.plan(now) if cluster.scale.resharding else now

    def plan(self, now: float) -> float:
        run, cluster = self.run, self.cluster
        run.phases.append(("Planning", now))
        now = self.tick(now + 1 + self.rng.exponential(3) + len(run.files.rows) / 2000)
        run.phases.append(("Importing", now))
        pieces = max(1, round(run.files.memory_bytes.sum() / cluster.segment_bytes))
        size = run.files.memory_bytes.sum() / pieces
        streams = sum(min(node.capacity, node.slots) * node.speed for node in cluster.nodes)
        work = size / (1.5 * cluster.stream_bytes_per_s) * self.rng.lognormal(0, 0.2, pieces)
        ends = list_schedule(np.full(pieces, now), work, round(streams), self.setting.pace)
        run.counts["Importing"] = (np.sort(ends), pieces)
        return self.tick(float(ends.max()) + 0.1)

    def finish_segments(self, now: float) -> float:
        run, cluster, scale = self.run, self.cluster, self.cluster.scale
        count = max(
            cluster.shards, round(1.1 * run.files.memory_bytes.sum() / cluster.segment_bytes)
        )
        share = self.rng.uniform(0.7, 1.0, count)
        gib = run.files.memory_bytes.sum() * share / share.sum() / GIB
        noise = self.rng.lognormal(0, self.setting.segment_noise, (2, count))
        ready = np.full(count, now + self.rng.uniform(0, 2))
        if scale.sorting:
            run.phases.append(("Sorting", now))
            work = 0.5 + gib * cluster.sort_s_per_gib * noise[0]
            ready = list_schedule(ready, work, cluster.sort_workers, self.setting.pace)
            run.counts["Sorting"] = (np.sort(ready), count)
            now = self.tick(float(ready.max()) + 0.1)
        run.phases.append(("IndexBuilding", now))
        work = 0.5 + gib * cluster.index_s_per_gib * noise[1]
        asked = ready + self.rng.uniform(0, TICK_S, count)
        built = list_schedule(asked, work, cluster.index_workers, self.setting.index_pace)
        run.counts["IndexBuilding"] = (np.sort(built), count)
        now = self.tick(max(float(built.max()), now) + 0.1)
        if scale.commits:
            run.phases.append(("Committing", now))
            now = self.tick(now + 0.5 + self.rng.exponential(2))
        return now
