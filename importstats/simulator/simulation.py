"""Simulated jobs as a collector would have seen them, and what really happened."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import pyarrow as pa

from importstats.simulator import tables
from importstats.simulator.cluster import (
    DEFAULT_START,
    JobState,
    SimulatedCluster,
    TaskStates,
    UnknownJobError,
)
from importstats.simulator.shapes import make_shape
from importstats.simulator.specs import Arrival, ClusterSpec, JobSpec
from importstats.simulator.truth import GroundTruth
from importstats.simulator.wire import Dialect, describe_answer, dialect_named, encode
from importstats.sources.answers import parse_response
from importstats.sources.snapshot import Snapshot, new_snapshot_id

#: How long a job that can no longer end is watched on: at least this, and this share of its life.
_STANDSTILL_S: Final = 3600.0
_STANDSTILL_SHARE: Final = 0.25

#: Median and log-sd of the simulated request latency.
_LATENCY_S: Final = 0.04
_LATENCY_SIGMA: Final = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Poll:
    """One poll: when its answer came, and the state that was in it (``None``: job unknown)."""

    observed_at: datetime
    request_latency_s: float
    snapshot_id: int
    state: JobState | None
    error: str | None = None


@dataclass(frozen=True, eq=False)
class Simulation:
    """One simulated job: its polls and the truth.

    Attributes
    ----------
    job_id, source_uri : str
    db_name : str or None
    dialect : Dialect
    polls : list of Poll
    truth : GroundTruth
    """

    job_id: str
    source_uri: str
    db_name: str | None
    dialect: Dialect
    polls: list[Poll] = field(repr=False)
    truth: GroundTruth = field(repr=False)

    def snapshots(self) -> Iterator[Snapshot]:
        """The polls as a client yields them: each answer is printed and parsed."""
        for poll in self.polls:
            response = None
            if poll.state is not None:
                answer = describe_answer(poll.state, self.dialect)
                response = parse_response(encode(answer))
            yield Snapshot(
                observed_at=poll.observed_at,
                job_id=self.job_id,
                source_uri=self.source_uri,
                response=response,
                request_latency_s=poll.request_latency_s,
                db_name=self.db_name,
                error=poll.error,
                snapshot_id=poll.snapshot_id,
            )

    def tables(self, *, runs: bool = False) -> tuple[pa.Table, pa.Table]:
        """The same polls as rows of ``jobs`` and ``details``, without printing or parsing.

        Parameters
        ----------
        runs : bool
            Whether equal consecutive rows of a file are one row (a run), or each poll has its own.

        Returns
        -------
        (pyarrow.Table, pyarrow.Table)
            By ``JOBS_SCHEMA`` and ``DETAILS_SCHEMA``, in the order of ``snapshot_id``, then
            ``file_index``. Without `runs` they equal ``jobs_table(simulation.snapshots())`` and
            ``details_table(simulation.snapshots())``.
        """
        return tables.jobs(self), tables.details(self, runs=runs)


def simulate_job(
    shape: str | tuple[ClusterSpec, JobSpec] | JobSpec,
    *,
    seed: int = 0,
    files: int | None = None,
    family: str = "steady_cluster",
    poll_every_s: float = 10.0,
    jitter: float = 0.02,
    start: datetime = DEFAULT_START,
    dialect: str | None = None,
    source_uri: str = "http://localhost:19530",
    until: float | None = None,
    max_polls: int | None = None,
    polls_after_end: int = 1,
) -> Simulation:
    """Simulate one job from its creation to its end, polled as a collector polls.

    Parameters
    ----------
    shape : str, (ClusterSpec, JobSpec) or JobSpec
        The name of one of ``SHAPES``, or what to simulate. A job alone runs on a plain cluster.
    seed : int
        Draws the shape, the durations of tasks, the poll times and the snapshot ids.
    files : int, optional
        Number of files of a named shape.
    family : str
        Family of parameters of a named shape; see ``FAMILIES``.
    poll_every_s, jitter : float
        Seconds between polls, and the share of them by which each is early or late.
    start : datetime
        When the cluster's clock is at 0, which is when the job is created.
    dialect : str, optional
        A name of ``DIALECTS``. The cluster then has the release of the dialect, else the dialect
        is that of the cluster's release.
    source_uri : str
        The server the snapshots name.
    until : float, optional
        Seconds of the cluster's clock after which polling ends. A job that can no longer end is
        by default watched for a further hour or a quarter of its life.
    max_polls : int, optional
    polls_after_end : int
        How many polls see the job's last state; 0 for a collector that came too late for it.

    Returns
    -------
    Simulation

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
        jitter=jitter,
        start=start,
        dialect=dialect,
        source_uri=source_uri,
        until=until,
        max_polls=max_polls,
        polls_after_end=polls_after_end,
    )[0]


def simulate_cluster(
    cluster: ClusterSpec,
    arrivals: Sequence[Arrival],
    *,
    seed: int = 0,
    poll_every_s: float = 10.0,
    jitter: float = 0.02,
    start: datetime = DEFAULT_START,
    dialect: str | None = None,
    source_uri: str = "http://localhost:19530",
    until: float | None = None,
    max_polls: int | None = None,
    polls_after_end: int = 1,
) -> list[Simulation]:
    """Simulate several jobs that share a cluster, each polled from its creation on.

    Parameters are those of :func:`simulate_job`; `max_polls` holds for each job.

    Returns
    -------
    list of Simulation
        One for each arrival, in their order. The jobs of ``cluster.other_jobs`` have none.

    Examples
    --------
    >>> from importstats.simulator import FileSpec
    >>> job = JobSpec(collection_name="a", files=(FileSpec(("1.parquet",), 10**9, 10**6),))
    >>> pair = simulate_cluster(ClusterSpec(), [Arrival(0.0, job), Arrival(60.0, job)])
    >>> [simulation.truth.outcome for simulation in pair]
    ['Completed', 'Completed']
    """
    if not 0 <= jitter < 1:
        raise ValueError("jitter is a share of the poll interval, from 0 to below 1")
    chosen = dialect_named(dialect or cluster.release)
    live = SimulatedCluster(replace(cluster, release=chosen.release), seed=seed, start=start)
    watches = [
        _Watch(live.create(arrival.job, arrival.at_s), arrival.at_s, number, seed)
        for number, arrival in enumerate(arrivals)
    ]
    turns = [(watch.at_s, watch.number) for watch in watches]
    heapq.heapify(turns)
    while turns:
        at_s, number = heapq.heappop(turns)
        live.advance(at_s)
        watch = watches[number]
        if watch.poll(live, polls_after_end) and len(watch.polls) != max_polls:
            next_s = at_s + poll_every_s * (1 + jitter * watch.rng.uniform(-1, 1))
            if next_s <= (watch.standstill_s(live) if until is None else until):
                heapq.heappush(turns, (next_s, number))
    return [
        Simulation(
            job_id=watch.job_id,
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

    def __init__(self, job_id: str, at_s: float, number: int, seed: int) -> None:
        self.job_id = job_id
        self.at_s = at_s
        self.number = number
        self.rng = np.random.default_rng([seed, 3, number])
        self.polls: list[Poll] = []
        self._polls_after_end = 0
        self._settled_s: float | None = None

    def poll(self, cluster: SimulatedCluster, polls_after_end: int) -> bool:
        """Ask for the job once; whether to ask again."""
        latency_s = round(float(self.rng.lognormal(math.log(_LATENCY_S), _LATENCY_SIGMA)), 6)
        observed_at = cluster.time(cluster.now_s) + timedelta(seconds=latency_s)
        state, error = None, None
        try:
            state = cluster.describe(self.job_id)
        except UnknownJobError as unknown:
            error = f"the server does not know this import job ({unknown})"
        if state is not None and state.ended:
            self._polls_after_end += 1
            if self._polls_after_end > polls_after_end:
                return False
        if state is not None and self.polls:
            state = _sharing(state, self.polls[-1].state)
        snapshot_id = new_snapshot_id(observed_at, int(self.rng.integers(2**10)))
        self.polls.append(Poll(observed_at, latency_s, snapshot_id, state, error))
        if state is None:
            return False
        return not state.ended or self._polls_after_end < polls_after_end

    def standstill_s(self, cluster: SimulatedCluster) -> float:
        """When to stop asking for a job to which nothing happens any more."""
        if not cluster.settled:
            return math.inf
        if self._settled_s is None:
            self._settled_s = cluster.now_s
        age_s = self._settled_s - self.at_s
        return self._settled_s + max(_STANDSTILL_S, _STANDSTILL_SHARE * age_s)


def _sharing(state: JobState, previous: JobState | None) -> JobState:
    """The state, with the previous one's tasks where they are equal: most of a job's life."""
    if previous is None or previous.tasks is None or state.tasks is None:
        return state
    old, new = previous.tasks, state.tasks
    if old is new:
        return state
    same_state = np.array_equal(old.state, new.state)
    same_progress = np.array_equal(old.progress, new.progress)
    if not (same_state or same_progress):
        return state
    tasks = TaskStates(
        old.state if same_state else new.state,
        old.progress if same_progress else new.progress,
        new.order,
    )
    return replace(state, tasks=tasks)
