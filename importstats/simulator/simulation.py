"""Simulated jobs as a collector would have seen them, with what really happened."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
import pyarrow as pa

from importstats.simulator import tables
from importstats.simulator.cluster import DEFAULT_START, SimulatedCluster
from importstats.simulator.dialects import Dialect, dialect_named
from importstats.simulator.shapes import make_shape
from importstats.simulator.specs import Arrival, ClusterSpec, JobSpec, Signal
from importstats.simulator.states import JobState, UnknownJobError
from importstats.simulator.truth import GroundTruth
from importstats.simulator.wire import describe_answer, encode, unknown_job_answer
from importstats.sources.answers import parse_response
from importstats.sources.snapshot import Snapshot, new_snapshot_id

#: How long a job that can no longer end is still polled: at least this, and this share of its life.
_STANDSTILL_S: Final = 3600.0
_STANDSTILL_SHARE: Final = 0.25

#: Median and log-sd of the simulated request latency.
_LATENCY_S: Final = 0.04
_LATENCY_SIGMA: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Polling:
    """When a collector polls a job."""

    #: Seconds between polls.
    every_s: float = 10.0
    #: The share of this pause by which each poll is early or late.
    jitter: float = 0.02
    #: How long after the job's creation the first poll is.
    late_s: float = 0.0
    #: Whether polls are at whole multiples of `every_s` of the cluster's clock, and late by the
    #: jitter, like a cron job's.
    cron: bool = False
    #: Times without polls, in seconds after the job's creation.
    gaps: tuple[tuple[float, float], ...] = ()
    #: How many polls see the job's last state; 0 for a collector that comes too late for it.
    after_end: int = 1
    #: How many polls there can be.
    most: int | None = None

    def __post_init__(self) -> None:
        if not self.every_s > 0:
            raise ValueError("there is some time between two polls")
        if not 0 <= self.jitter < 1:
            raise ValueError("jitter is a share of the poll interval, from 0 to below 1")

    def first_s(self, arrival_s: float) -> float:
        """When a job that arrives at a time is polled first."""
        at_s = arrival_s + self.late_s
        return self._outside_gaps(self._whole(at_s) if self.cron else at_s, arrival_s)

    def next_s(self, at_s: float, arrival_s: float, rng: np.random.Generator) -> float:
        """When the poll after one at `at_s` is due."""
        late = rng.uniform(-1, 1)
        if self.cron:
            # A late poll does not shift those after it.
            next_s = (math.floor(at_s / self.every_s) + 1 + self.jitter * abs(late)) * self.every_s
        else:
            next_s = at_s + self.every_s * (1 + self.jitter * late)
        return self._outside_gaps(next_s, arrival_s)

    def _whole(self, at_s: float) -> float:
        return math.ceil(at_s / self.every_s) * self.every_s

    def _outside_gaps(self, at_s: float, arrival_s: float) -> float:
        for from_s, to_s in self.gaps:
            if from_s <= at_s - arrival_s < to_s:
                at_s = arrival_s + to_s
                at_s = self._whole(at_s) if self.cron else at_s
        return at_s


@dataclass(frozen=True, slots=True, eq=False)
class Poll:
    """One poll: when its answer came, and the job's state then.

    If the server did not know the job, there is no `state` but an `error`, or the `answer` of a
    release that has no error for it.
    """

    observed_at: datetime
    request_latency_s: float
    snapshot_id: int
    state: JobState | None
    error: str | None = None
    answer: Mapping[str, Any] | None = None


@dataclass(frozen=True, eq=False)
class Simulation:
    """One simulated job: its polls, and what really happened."""

    job_id: str
    source_uri: str
    db_name: str | None
    dialect: Dialect
    polls: list[Poll] = field(repr=False)
    truth: GroundTruth = field(repr=False)

    def snapshots(self, *, details: bool = True) -> Iterator[Snapshot]:
        """The polls as a client yields them, with or without details in their answers."""
        for poll in self.polls:
            answer = poll.answer
            if poll.state is not None:
                answer = describe_answer(poll.state, self.dialect, details=details)
            yield Snapshot(
                observed_at=poll.observed_at,
                job_id=self.job_id,
                source_uri=self.source_uri,
                response=None if answer is None else parse_response(encode(answer)),
                request_latency_s=poll.request_latency_s,
                db_name=self.db_name,
                error=poll.error,
                snapshot_id=poll.snapshot_id,
            )

    def tables(self, *, runs: bool = False) -> tuple[pa.Table, pa.Table]:
        """The rows of ``jobs`` and ``details``, in the order of ``snapshot_id`` and ``file_index``.

        They equal ``jobs_table(simulation.snapshots())`` and
        ``details_table(simulation.snapshots())``; with `runs`, equal consecutive rows of a file are
        one row. They are made faster, since no details are printed and parsed.
        """
        return tables.jobs(self), tables.details(self, runs=runs)


def simulate_job(
    shape: str | tuple[ClusterSpec, JobSpec] | JobSpec,
    *,
    seed: int = 0,
    files: int | None = None,
    family: str = "steady_cluster",
    poll_every_s: float = 10.0,
    polling: Polling | None = None,
    start: datetime = DEFAULT_START,
    dialect: str | None = None,
    signal: Signal | None = None,
    source_uri: str = "http://localhost:19530",
    until: float | None = None,
) -> Simulation:
    """A job, simulated from its creation to its end and polled as a collector polls it.

    Parameters
    ----------
    shape : str, (ClusterSpec, JobSpec) or JobSpec
        The name of one of ``SHAPES``, or what to simulate. A job alone runs on a plain cluster.
    seed : int
        Draws the shape, the durations of files, the poll times and the snapshot ids.
    files : int, optional
        Number of files of a named shape.
    family : str
        Family of parameters of a named shape; see ``FAMILIES``.
    poll_every_s : float
        Seconds between polls.
    polling : Polling, optional
        When the collector polls, instead of `poll_every_s`.
    start : datetime
        The time at which the cluster's clock is at 0, and the job is created.
    dialect : str, optional
        A name of ``DIALECTS`` or a version of Milvus, which also sets the cluster's release. By
        default the dialect is that of the release.
    signal : {"whole", "smooth"}, optional
        When rows are seen. By default as in the cluster's specification.
    source_uri : str
        The server's address in the snapshots.
    until : float, optional
        Seconds of the cluster's clock after which polling ends. By default, a job that can no
        longer end is polled for another hour, or a quarter of its life.

    Examples
    --------
    >>> simulation = simulate_job("small_and_quick", seed=1)
    >>> jobs, details = simulation.tables()
    >>> jobs["state"][-1].as_py(), simulation.truth.outcome
    ('Completed', 'Completed')
    """
    if isinstance(shape, str):
        cluster, job = make_shape(shape, files=files, seed=seed, family=family)
    elif isinstance(shape, JobSpec):
        cluster, job = ClusterSpec(), shape
    else:
        cluster, job = shape
    return simulate_cluster(
        cluster,
        [Arrival(0.0, job)],
        seed=seed,
        poll_every_s=poll_every_s,
        polling=polling,
        start=start,
        dialect=dialect,
        signal=signal,
        source_uri=source_uri,
        until=until,
    )[0]


def simulate_cluster(
    cluster: ClusterSpec,
    arrivals: Sequence[Arrival],
    *,
    seed: int = 0,
    poll_every_s: float = 10.0,
    polling: Polling | None = None,
    start: datetime = DEFAULT_START,
    dialect: str | None = None,
    signal: Signal | None = None,
    source_uri: str = "http://localhost:19530",
    until: float | None = None,
) -> list[Simulation]:
    """One simulation for each arrival, in their order; the jobs share a cluster.

    Other parameters are those of :func:`simulate_job`. The jobs of ``cluster.other_jobs`` have no
    simulation.

    Examples
    --------
    >>> from importstats.simulator import FileSpec
    >>> job = JobSpec(collection_name="a", files=(FileSpec(("1.parquet",), 10**9, 10**6),))
    >>> pair = simulate_cluster(ClusterSpec(), [Arrival(0.0, job), Arrival(60.0, job)])
    >>> [simulation.truth.outcome for simulation in pair]
    ['Completed', 'Completed']
    """
    polling = polling or Polling(every_s=poll_every_s)
    chosen = dialect_named(dialect or cluster.release)
    spec = replace(cluster, release=chosen.release, signal=signal or cluster.signal)
    live = SimulatedCluster(spec, seed=seed, start=start)
    watches = [
        _Watch(live.create(arrival.job, arrival.at_s), arrival.at_s, number, seed)
        for number, arrival in enumerate(arrivals)
    ]
    turns = [(polling.first_s(watch.arrival_s), watch.number) for watch in watches]
    heapq.heapify(turns)
    while turns:
        at_s, number = heapq.heappop(turns)
        if at_s > (watches[number].standstill_s(live) if until is None else until):
            continue
        live.advance(at_s)
        watch = watches[number]
        if watch.poll(live, chosen, polling.after_end) and len(watch.polls) != polling.most:
            next_s = polling.next_s(at_s, watch.arrival_s, watch.rng)
            heapq.heappush(turns, (next_s, number))
    return [
        Simulation(
            job_id=chosen.printed_id(watch.job_id),
            source_uri=source_uri,
            db_name=arrival.job.db_name,
            dialect=chosen,
            polls=watch.polls,
            truth=live.truth(watch.job_id),
        )
        for watch, arrival in zip(watches, arrivals, strict=True)
    ]


class _Watch:
    """A job that is polled."""

    def __init__(self, job_id: str, arrival_s: float, number: int, seed: int) -> None:
        self.job_id = job_id
        self.arrival_s = arrival_s
        self.number = number
        self.rng = np.random.default_rng([seed, 3, number])
        self.polls: list[Poll] = []
        self._polls_after_end = 0
        self._settled_s: float | None = None

    def poll(self, cluster: SimulatedCluster, dialect: Dialect, polls_after_end: int) -> bool:
        """Poll the job once; returns whether to poll it again."""
        latency_s = round(float(self.rng.lognormal(math.log(_LATENCY_S), _LATENCY_SIGMA)), 6)
        observed_at = cluster.time(cluster.now_s) + timedelta(seconds=latency_s)
        state, error, answer = None, None, None
        try:
            state = cluster.describe(self.job_id)
        except UnknownJobError as unknown:
            error = f"the server does not know this import job ({unknown})"
            if cluster.release.unknown_job == "failed":
                error, answer = None, unknown_job_answer(unknown, dialect)
        if state is not None and state.ended:
            self._polls_after_end += 1
            if self._polls_after_end > polls_after_end:
                return False
        snapshot_id = new_snapshot_id(observed_at, int(self.rng.integers(2**10)))
        self.polls.append(Poll(observed_at, latency_s, snapshot_id, state, error, answer))
        if state is None:
            return False
        return not state.ended or self._polls_after_end < polls_after_end

    def standstill_s(self, cluster: SimulatedCluster) -> float:
        """When to stop polling a job to which nothing happens any more."""
        if not self.polls or not cluster.settled:
            return math.inf
        if self._settled_s is None:
            self._settled_s = cluster.now_s
        age_s = self._settled_s - self.arrival_s
        return self._settled_s + max(_STANDSTILL_S, _STANDSTILL_SHARE * age_s)
