"""Fleets: clusters of several families, their collections, and campaigns of jobs on each."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pyarrow as pa

from importstats.store.frames import details_frame, jobs_frame

from .families import FAMILIES, Family, Range
from .job import Cluster, Files, Run, Setting, Trouble, run_job
from .nodes import Node
from .pace import HOUR_S, draw_pace
from .recording import Recorded, tables
from .scales import GIB, SCALES
from .truth import FILE_TRUTH, truth_of

MIB = 2.0**20
#: What can go wrong, at most one thing in a job.
TROUBLES = ("stuck", "slow_node", "no_slot", "collapse", "index_pause", "cluster_pause")
#: Jobs of a cluster: two collections of which the first has more.
CAMPAIGNS = (6, 3)
MOST_POLLS = 600
TIMES = ("created_at", "end", "trouble_start", "trouble_end", "rise_due_at")
START = pd.Timestamp("2026-03-02T00:00:00Z")


@dataclass(frozen=True)
class Fleet:
    """Recordings, and what really happened.

    Attributes
    ----------
    jobs, details
        Frames as a store gives them, details as runs.
    truth
        One row per job: ``source_uri``, ``job_id``, ``collection_name``, ``family``, ``release``,
        ``created_at``, ``end`` (NaT if it never ended), ``poll_s``, ``nth`` (place in its
        campaign), ``since_change`` (jobs since the campaign last changed, NA if it never did),
        ``trouble``, ``trouble_start``, ``trouble_end``, ``rise_due_at`` (when progress would next
        have risen, rows apart, had nothing gone wrong), ``queue_s``, ``went_back`` (tasks),
        ``healthy``.
    phases
        One row per job and phase: ``phase``, ``start``, ``end``.
    files
        One row per job and file, see :mod:`worlds.truth`.
    """

    jobs: pd.DataFrame
    details: pd.DataFrame
    truth: pd.DataFrame
    phases: pd.DataFrame
    files: pd.DataFrame

    def job(self, source_uri: str, job_id: str) -> tuple[pd.DataFrame, pd.DataFrame]:
        """One job's frames."""
        return tuple(
            frame[(frame["source_uri"] == source_uri) & (frame["job_id"] == job_id)]
            for frame in (self.jobs, self.details)
        )

    def cluster(self, source_uri: str) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The frames of all jobs of a cluster."""
        return tuple(
            frame[frame["source_uri"] == source_uri] for frame in (self.jobs, self.details)
        )


def fleet(
    seed: int,
    families: Sequence[str] | None = None,
    jobs: int = 200,
    *,
    signal: str = "files",
    troubles: float = 0.15,
    campaigns: tuple[int, int] = CAMPAIGNS,
) -> Fleet:
    """A fleet of about so many jobs, evenly of all families, the same for the same arguments.

    `signal` is ``files`` (rows are reported when a whole file has ended) or ``smooth``; `troubles`
    is the share of jobs in which something goes wrong; `campaigns` are the jobs of the collections
    of one cluster.
    """
    if signal not in ("files", "smooth"):
        raise ValueError(f"no signal {signal!r}; there are files and smooth")
    names = list(FAMILIES if families is None else families)
    each = max(1, math.ceil(jobs / len(names)))
    recordings: list[_Recording] = []
    for name in names:
        left, place = each, 0
        while left > 0:
            rng = np.random.default_rng([seed, zlib.crc32(name.encode()), place])
            wanted = [min(campaigns[0], left), min(campaigns[1], max(0, left - campaigns[0]))]
            site = _Site(name, place, rng, smooth=signal == "smooth", troubles=troubles)
            for count in wanted:
                recordings += site.campaign(count)
            left -= sum(wanted)
            place += 1
    return _fleet(recordings)


@dataclass(frozen=True)
class _Recording:
    recorded: Recorded
    calm: Run
    about: dict[str, object]
    trouble: Trouble


def _fleet(recordings: list[_Recording]) -> Fleet:
    parts = [tables(recording.recorded) for recording in recordings]
    truths = [truth_of(part.recorded, part.calm, part.trouble, part.about) for part in recordings]
    truth = pd.DataFrame([part.job for part in truths]).astype({"since_change": "Int64"})
    for name in TIMES:
        truth[name] = pd.to_datetime(truth[name], utc=True).dt.as_unit("us")
    return Fleet(
        jobs_frame(pa.concat_tables([jobs for jobs, _ in parts])),
        details_frame(pa.concat_tables([details for _, details in parts])),
        truth,
        pd.concat([part.phases for part in truths], ignore_index=True),
        pd.concat([part.files for part in truths], ignore_index=True)[list(FILE_TRUTH)],
    )


class _Site:
    """One cluster: its machines, and what is drawn for each campaign and job on it."""

    def __init__(
        self, name: str, place: int, rng: np.random.Generator, *, smooth: bool, troubles: float
    ) -> None:
        self.name, self.rng, self.smooth, self.troubles = name, rng, smooth, troubles
        self.family: Family = FAMILIES[name]
        self.uri = f"http://{name}-{place}.example:19530"
        self.cluster = self.draw_cluster()
        self.day_dip = self.uniform(self.family.day_dip)
        self.neighbours = self.uniform(self.family.neighbours)
        self.job_noise = self.uniform(self.family.job_noise)
        self.index_noise = self.uniform(self.family.index_noise)
        self.file_noise = self.uniform(self.family.file_noise)
        self.clock_ahead_s = float(rng.choice([0.0, 0.0, rng.normal(0, 3), rng.normal(0, 20)]))
        self.back_share = self.family.back_share if rng.random() < 0.5 else 0.0
        self.campaigns = 0
        self.jobs = 0

    def log(self, ends: Range) -> float:
        return float(np.exp(self.rng.uniform(*np.log(ends))))

    def uniform(self, ends: Range) -> float:
        return float(self.rng.uniform(*ends))

    def draw_cluster(self) -> Cluster:
        family, rng = self.family, self.rng
        scale = SCALES[str(rng.choice(family.releases))]
        cores = int(rng.choice(family.cores))
        pool = 4 * cores if scale.release.startswith(("2.6", "3", "v")) else 16
        spread = self.uniform(family.node_spread)
        slots, capacity = int(rng.choice(family.slots)), self.log(family.streams)
        nodes = tuple(
            Node(slots, pool, capacity, speed=float(rng.lognormal(0, spread)))
            for _ in range(int(rng.integers(family.nodes[0], family.nodes[1] + 1)))
        )
        return Cluster(
            nodes=nodes,
            scale=scale,
            stream_bytes_per_s=self.log(family.stream_mib_s) * MIB,
            file_overhead_s=self.log(family.overhead_s),
            read_factor=self.log((1.5, 6)),
            sort_workers=max(1, round(len(nodes) * self.log((1, 6)))),
            sort_s_per_gib=self.log(family.sort_s_per_gib),
            index_workers=int(rng.integers(family.index_workers[0], family.index_workers[1] + 1)),
            index_s_per_gib=self.log(family.index_s_per_gib),
            segment_bytes=float(rng.choice([0.5, 1.0, 1.0, 4.0])) * GIB,
            shards=int(rng.choice([1, 1, 2, 4, 8])),
        )

    def campaign(self, count: int) -> list[_Recording]:
        family, rng = self.family, self.rng
        self.campaigns += 1
        collection = f"collection_{self.campaigns}"
        cluster = replace(
            self.cluster,
            index_s_per_gib=self.cluster.index_s_per_gib * self.log((0.7, 1.4)),
            shards=int(rng.choice([1, 1, 2, 4, 8])),
        )
        usual = self.draw_usual()
        changes = rng.random() < family.change_share and count > 2
        changes_at = int(rng.integers(2, count)) if changes else count
        created = START + pd.Timedelta(rng.uniform(0, 24), "h")
        recordings = []
        for nth in range(count):
            if nth == changes_at:
                cluster = self.changed(cluster)
            since = nth - changes_at if nth >= changes_at else None
            recording = self.job(cluster, usual, collection, created, nth, since)
            recordings.append(recording)
            lasted = min(float(recording.recorded.polls_s[-1]), 30 * HOUR_S)
            pause_s = self.log((60, 900)) if rng.random() < 0.3 else self.log((HOUR_S, 26 * HOUR_S))
            created = created + pd.Timedelta(lasted + pause_s, "s")
        return recordings

    def draw_usual(self) -> _Usual:
        """What the jobs of another collection have in common."""
        family = self.family
        return _Usual(
            files=self.log(family.files),
            job_bytes=self.log(family.job_gib) * GIB,
            spread=self.uniform(family.sizes[1]),
            memory_factor=self.uniform(family.memory_factor),
            row_bytes=self.log(family.row_bytes),
            job_spread=self.uniform(family.job_spread),
            poll_s=float(self.rng.choice(family.polls_s)),
        )

    def changed(self, cluster: Cluster) -> Cluster:
        """Another index, or other machines, from now on."""
        factor = self.log((2.0, 5.0)) ** (1 if self.rng.random() < 0.5 else -1)
        if self.rng.random() < 0.6:
            return replace(cluster, index_s_per_gib=cluster.index_s_per_gib * factor)
        count = max(1, round(len(cluster.nodes) * factor**0.6))
        nodes = tuple(cluster.nodes[place % len(cluster.nodes)] for place in range(count))
        workers = max(1, round(cluster.index_workers * factor**0.6))
        return replace(cluster, nodes=nodes, index_workers=workers)

    def job(
        self,
        cluster: Cluster,
        usual: _Usual,
        collection: str,
        created: pd.Timestamp,
        nth: int,
        since: int | None,
    ) -> _Recording:
        rng, family = self.rng, self.family
        files = self.draw_files(usual)
        slower = float(rng.lognormal(0, self.job_noise))
        cluster = replace(
            cluster,
            stream_bytes_per_s=cluster.stream_bytes_per_s / slower,
            index_s_per_gib=cluster.index_s_per_gib * float(rng.lognormal(0, self.index_noise)),
        )
        created_hour = created.hour + created.minute / 60
        short, long = 5 * 60.0, 3 * HOUR_S
        paces = [
            draw_pace(
                rng,
                created_hour,
                day_dip=self.day_dip,
                neighbour_share=self.neighbours,
                neighbour_s=(short, long),
            )
            for _ in range(2)
        ]
        queue_s = (
            self.log((18 * 60, 7200)) if rng.random() < family.queue_share else rng.uniform(0, 6)
        )
        setting = Setting(
            queue_s=float(queue_s),
            wait_for_slot_s=0.0,
            pace=paces[0],
            index_pace=paces[1],
            offset_s=float(rng.uniform(0, 2)),
            back_share=self.back_share,
            segment_noise=0.5 * self.file_noise,
            seed=int(rng.integers(2**31)),
            flush_share=float(rng.uniform(0.5, 0.95)),
        )
        wanted = str(rng.choice(TROUBLES)) if rng.random() < self.troubles else ""
        chance = np.random.default_rng(setting.seed + 1)
        run = run_job(files, cluster, setting)
        grown = self.grow(run, chance)
        calm = run if grown is None else grown
        run, trouble = disturb(calm, wanted, chance)
        recorded = self.record(run, usual, collection, created, chance)
        about = {
            "family": self.name,
            "nth": nth,
            "since_change": since,
            "queue_s": setting.queue_s,
        }
        return _Recording(recorded, calm, about, trouble)

    def draw_files(self, usual: _Usual) -> Files:
        rng, kind = self.rng, self.family.sizes[0]
        scale = float(rng.lognormal(0, usual.job_spread))
        count = max(1, round(usual.files * scale ** rng.uniform(0, 1)))
        if kind == "equal":
            share = 1 + rng.normal(0, usual.spread, count)
            share[-1] *= rng.uniform(0.1, 1)
        elif kind == "lognormal":
            share = rng.lognormal(0, usual.spread, count)
        else:
            share = 1 + rng.pareto(usual.spread, count)
        size = usual.job_bytes * scale * share / share.sum()
        size = np.clip(size, 2000, 16 * GIB).astype(np.int64)
        memory = size * usual.memory_factor * rng.lognormal(0, 0.05, count)
        rows = np.maximum(size / usual.row_bytes, 1).astype(np.int64)
        slowness = rng.lognormal(0, self.file_noise, count)
        return Files(size, memory, rows, slowness, np.zeros(count))

    def grow(self, run: Run, chance: np.random.Generator) -> Run | None:
        """The same with nodes added in the middle of the import, in some jobs."""
        begin, end = run.phase("Importing")
        if chance.random() >= self.family.grow_share or not np.isfinite(end):
            return None
        at_s = float(chance.uniform(begin, end))
        more = max(1, round(len(run.cluster.nodes) * chance.uniform(0.2, 1.0)))
        added = tuple(replace(run.cluster.nodes[0], joins_s=at_s) for _ in range(more))
        cluster = replace(run.cluster, nodes=run.cluster.nodes + added)
        return run_job(run.files, cluster, run.setting)

    def record(
        self,
        run: Run,
        usual: _Usual,
        collection: str,
        created: pd.Timestamp,
        chance: np.random.Generator,
    ) -> Recorded:
        last = run.end_s
        if not np.isfinite(last):
            last = run.phases[-1][1] + 3 * max(run.phases[-1][1], HOUR_S)
        poll_s = usual.poll_s
        for slower in (1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0):
            if last / poll_s > MOST_POLLS:
                poll_s = max(poll_s, slower)
        late_s = chance.uniform(0, 0.5) * last if chance.random() < self.family.late_share else 0.0
        polls = np.arange(late_s + chance.uniform(0, poll_s), last + 2 * poll_s, poll_s)
        polls = np.sort(polls + chance.uniform(0, min(0.5, 0.1 * poll_s), len(polls)))
        if chance.random() < self.family.gap_share and len(polls) > 8:
            begins = chance.uniform(polls[0], last)
            inside = (polls > begins) & (polls < begins + chance.uniform(0.02, 0.2) * last)
            polls = polls[~inside]
        after = np.flatnonzero(polls >= run.end_s)
        if len(after):
            polls = polls[: after[0] + 1]
        self.jobs += 1
        return Recorded(
            run=run,
            source_uri=self.uri,
            job_id=str(449839014328146740 + self.jobs * 7919),
            collection_name=collection,
            created_at=created,
            polls_s=polls,
            clock_ahead_s=self.clock_ahead_s,
            smooth=self.smooth,
        )


def one_job(
    files: int,
    polls: int,
    *,
    seed: int = 1,
    family: str = "warehouse",
    signal: str = "files",
) -> Fleet:
    """One healthy job of so many files, seen at so many polls from its beginning to its end."""
    rng = np.random.default_rng([seed, files, polls])
    site = _Site(family, 0, rng, smooth=signal == "smooth", troubles=0.0)
    usual = replace(site.draw_usual(), files=float(files), job_spread=0.0)
    recording = site.job(site.cluster, usual, "collection_1", START, 0, None)
    recorded = recording.recorded
    times = np.linspace(0.5, recorded.run.end_s + 1, polls)
    return _fleet([replace(recording, recorded=replace(recorded, polls_s=times))])


@dataclass(frozen=True)
class _Usual:
    """What the jobs of one collection have in common."""

    files: float
    job_bytes: float
    spread: float
    memory_factor: float
    row_bytes: float
    job_spread: float
    poll_s: float


def disturb(run: Run, kind: str, chance: np.random.Generator) -> tuple[Run, Trouble]:
    """The same job with one thing going wrong, where that can happen to it."""
    name = "Resharding" if run.cluster.scale.resharding else "Importing"
    begin, end = run.phase(name)
    span = end - begin
    if not kind or not np.isfinite(end) or span < 60:
        return run, Trouble()
    setting, cluster, files = run.setting, run.cluster, run.files
    at_s = float(begin + span * chance.uniform(0.1, 0.8))
    lasts_s = float(np.exp(chance.uniform(*np.log((15 * 60, 3 * HOUR_S)))))
    lasts_s = min(lasts_s, max(15 * 60, 3 * run.end_s))
    trouble = Trouble(kind, at_s, at_s + lasts_s)
    if kind == "no_slot":
        trouble = Trouble(kind, begin, begin + lasts_s)
        setting = replace(setting, wait_for_slot_s=lasts_s)
    elif kind == "cluster_pause":
        setting = replace(
            setting,
            pace=setting.pace.scaled(at_s, at_s + lasts_s, 0),
            index_pace=setting.index_pace.scaled(at_s, at_s + lasts_s, 0),
        )
    elif kind == "collapse":
        lasts_s = max(lasts_s, 2 * span)
        trouble = Trouble(kind, at_s, at_s + lasts_s)
        factor = float(chance.uniform(0.04, 0.15))
        setting = replace(setting, pace=setting.pace.scaled(at_s, at_s + lasts_s, factor))
    elif kind == "index_pause":
        index_begin, index_end = run.phase("IndexBuilding")
        at_s = float(index_begin + (index_end - index_begin) * chance.uniform(0, 0.8))
        trouble = Trouble(kind, at_s, at_s + lasts_s)
        setting = replace(setting, index_pace=setting.index_pace.scaled(at_s, at_s + lasts_s, 0))
    elif kind == "slow_node":
        if len(cluster.nodes) < 2 or len(run.tasks) < 6:
            return run, Trouble()
        place = int(chance.integers(len(cluster.nodes)))
        slow = replace(
            cluster.nodes[place], speed=cluster.nodes[place].speed * chance.uniform(0.15, 0.4)
        )
        nodes = (*cluster.nodes[:place], slow, *cluster.nodes[place + 1 :])
        cluster = replace(cluster, nodes=nodes)
        trouble = Trouble(kind, begin, np.inf)
    elif kind == "stuck":
        file = int(chance.integers(len(files.rows)))
        hangs = files.hangs_s.copy()
        hangs[file] = np.inf if chance.random() < 0.4 else max(lasts_s, span * chance.uniform(1, 5))
        files = replace(files, hangs_s=hangs)
        trouble = Trouble(kind, np.nan, np.inf)
    return run_job(files, cluster, setting), trouble
