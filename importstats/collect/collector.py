"""The collector: polls jobs, each at a pace that fits it, and stores every answer.

One scheduler decides who is polled when; a few worker threads poll and store. A snapshot is
logged as ``saved`` only when the store has acknowledged it, so a log line is a promise.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import logging
import math
import queue
import random
import threading
import time
from collections.abc import Callable, Collection, Container, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Final

from importstats.collect.log import log_event
from importstats.errors import (
    ImportStatsError,
    JobNotFoundError,
    StoreError,
    UnauthorizedError,
)
from importstats.sources.messages import ImportJobRecord
from importstats.sources.snapshot import Snapshot
from importstats.sources.source import ProgressSource
from importstats.store import SnapshotStore

#: Job states after which nothing changes any more.
ENDED: Final = frozenset({"Completed", "Failed"})

#: Asked about this often without success, a job is given up as forgotten by the server. A server
#: that restarts may not know its jobs for a moment.
_NOT_FOUND_LIMIT: Final = 3
_COMPACT_EVERY: Final = 64


@dataclass(frozen=True)
class PollPolicy:
    """How often a job is polled.

    The pause halves when an answer brought something new and grows by half when it did not,
    between ``min_s`` and the limit of the phase (ours, because a job whose rows move needs dense
    samples for a rate, and one that waits for its index can be silent for an hour). The limits
    are shares of ``max_s``: whoever waits in a queue or for rows wants to hear soon, index
    building moves in few steps.

    Attributes
    ----------
    min_s, max_s : float
        Shortest and longest pause, in seconds.
    jitter : float
        Each pause is stretched or shortened at random by up to this share, so that many jobs, or
        many collectors, do not ask in step.
    """

    min_s: float = 2.0
    max_s: float = 60.0
    jitter: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.min_s <= self.max_s:
            raise ValueError(f"0 < min_s <= max_s does not hold: {self.min_s=}, {self.max_s=}")

    def pause_s(self, previous_s: float, *, changed: bool, state: str | None, rows: bool) -> float:
        """The pause after an answer, in seconds and without jitter.

        Parameters
        ----------
        previous_s : float
            The pause before it.
        changed : bool
            Whether the answer differs from the one before.
        state : str, optional
            The job's state in it.
        rows : bool
            Whether rows are still being imported.

        Examples
        --------
        >>> policy = PollPolicy(min_s=2.0, max_s=60.0)
        >>> policy.pause_s(10, changed=True, state="Importing", rows=True)
        5.0
        >>> policy.pause_s(50, changed=False, state="Importing", rows=False)
        60.0
        >>> policy.pause_s(50, changed=False, state="Importing", rows=True)
        15.0
        """
        limit = self.max_s / 4 if rows or state == "Pending" else self.max_s
        pause = previous_s / 2 if changed else previous_s * 1.5
        return max(self.min_s, min(pause, limit))


@dataclass
class CollectedJob:
    """What a collector knows of one job.

    Attributes
    ----------
    job_id : str
    state : str or None
        As last heard.
    snapshots : int
        Stored by this collector.
    failures : int
        Polls without an answer since the last one.
    lost : bool
        The server forgot the job before its end was seen. The gap is recorded.
    error : ImportStatsError or None
        Why the last poll brought no answer.
    """

    job_id: str
    state: str | None = None
    snapshots: int = 0
    failures: int = 0
    lost: bool = False
    error: ImportStatsError | None = field(default=None, repr=False)
    pause_s: float = 0.0
    since_compaction: int = 0
    latest: Snapshot | None = field(default=None, repr=False)

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to hear of it."""
        return self.lost or self.state in ENDED


Observer = Callable[[CollectedJob], None]
Append = Callable[[Snapshot], None]

# Work for a thread, and what the scheduler does with its outcome.
_Result = Callable[[], None]
_Task = Callable[[], _Result]


class Collector:
    """Polls jobs of one server into one store until they end.

    Parameters
    ----------
    source : ProgressSource
        An :class:`~importstats.ImportClient` or another source.
    store : SnapshotStore
        Where every snapshot goes.
    jobs : iterable of str
        Job ids to collect. Empty: all that the server lists, picked up as they appear.
    collection : str, optional
        With no ``jobs``: only those of this collection.
    follow : bool
        Go on for ever, also when all jobs ended.
    once : bool
        Poll each job one time and end: a scheduled snapshot.
    policy : PollPolicy
        How often each job is polled.
    discover_s : float
        Seconds between two looks at the server's list.
    workers : int
        How many polls run at once.
    on_saved : callable, optional
        Called with the :class:`CollectedJob` after each snapshot that was stored, in a worker
        thread.
    append : callable, optional
        How a snapshot is stored, for who measures it. Default: ``store.append``.
    """

    def __init__(
        self,
        source: ProgressSource,
        store: SnapshotStore,
        *,
        jobs: Iterable[str] = (),
        collection: str | None = None,
        follow: bool = False,
        once: bool = False,
        policy: PollPolicy | None = None,
        discover_s: float = 30.0,
        workers: int = 8,
        on_saved: Observer | None = None,
        append: Append | None = None,
    ) -> None:
        self.source = source
        self.store = store
        self._append = append or store.append
        self.policy = policy or PollPolicy()
        self.follow = follow
        self.once = once
        self.jobs: dict[str, CollectedJob] = {}
        self._wanted = list(dict.fromkeys(jobs))
        self._collection = collection
        self._discover_s = discover_s
        self._workers = workers
        self._on_saved = on_saved
        self._stop = threading.Event()
        self._due: list[tuple[float, int, str]] = []
        self._order = itertools.count()
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[_Result | BaseException | None] = queue.SimpleQueue()
        self._busy = 0
        self._discovering = False

    def stop(self) -> None:
        """Ask :meth:`run` to return. Safe in a signal handler and from any thread."""
        self._stop.set()
        self._done.put(None)

    def run(self) -> dict[str, CollectedJob]:
        """Collect until all jobs ended, or :meth:`stop`.

        Returns
        -------
        dict of str to CollectedJob
            By job id. Every snapshot that was acknowledged is in the store.

        Raises
        ------
        UnauthorizedError
            The server refuses the token. Trying again would not help.
        StoreError
            A snapshot cannot be stored.
        JobNotFoundError
            The server does not know a job that was asked for and never seen.
        ImportStatsError
            The first look at the server's list failed (unless following).
        """
        for _ in range(self._workers):
            threading.Thread(target=self._work, daemon=True, name="importstats-poll").start()
        for job_id in self._wanted:
            self._add(job_id)
        next_discovery = math.inf if self._wanted else time.monotonic()
        try:
            while not self._stop.is_set():
                if time.monotonic() >= next_discovery and not self._discovering:
                    self._discovering = True
                    self._start(self._discover)
                    next_discovery = time.monotonic() + self._discover_s
                self._start_due_polls()
                if not self._due and not self._busy and not self.follow:
                    break
                self._wait(math.inf if self._discovering else next_discovery)
        finally:
            for _ in range(self._workers):
                self._tasks.put(None)
            self._finish()
        return self.jobs

    def _add(self, job_id: str) -> None:
        self.jobs[job_id] = CollectedJob(job_id, pause_s=self.policy.min_s)
        self._schedule(self.jobs[job_id], 0.0)

    def _schedule(self, job: CollectedJob, pause_s: float) -> None:
        spread = 1 + random.uniform(-1, 1) * self.policy.jitter  # noqa: S311
        due = time.monotonic() + pause_s * spread
        heapq.heappush(self._due, (due, next(self._order), job.job_id))

    def _start(self, task: _Task) -> None:
        self._tasks.put(task)
        self._busy += 1

    def _start_due_polls(self) -> None:
        while self._due and self._due[0][0] <= time.monotonic():
            self._start(partial(self._poll, self.jobs[heapq.heappop(self._due)[2]]))

    def _wait(self, next_discovery: float) -> None:
        """Sleep until a task is done, a poll is due, or it is time to discover."""
        next_due = min([next_discovery, *(due for due, *_ in self._due[:1])])
        timeout = max(0.0, next_due - time.monotonic()) if next_due < math.inf else None
        with contextlib.suppress(queue.Empty):
            self._settle(self._done.get(timeout=timeout))

    def _settle(self, result: _Result | BaseException | None) -> None:
        if result is None:  # stop() only wants to wake us.
            return
        self._busy -= 1
        if isinstance(result, BaseException):
            raise result
        result()

    def _finish(self, grace_s: float = 5.0) -> None:
        """Let polls under way come to their end, so that what has arrived is stored."""
        deadline = time.monotonic() + grace_s
        while self._busy and (left := deadline - time.monotonic()) > 0:
            with contextlib.suppress(queue.Empty):
                self._busy -= self._done.get(timeout=left) is not None

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            try:
                self._done.put(task())
            except BaseException as error:  # noqa: BLE001 -- handed to run(), which raises it
                self._done.put(error)

    def _discover(self) -> _Result:
        try:
            records = list(self.source.list_jobs(self._collection))
        except UnauthorizedError:
            raise
        except ImportStatsError as error:
            if not self.jobs and not self.follow:
                raise  # Nothing was ever heard of this server: more likely a wrong URI.
            log_event(logging.WARNING, "cannot list jobs", reason=error)
            return self._discovered
        new = [record for record in records if self._is_news(record)]
        return partial(self._discovered, new, {record.job_id for record in records})

    def _discovered(
        self, new: Collection[ImportJobRecord] = (), listed: Container[str] | None = None
    ) -> None:
        self._discovering = False
        if listed is not None:
            # What the server forgot needs no more remembering here: memory stays bounded.
            for job_id in [j.job_id for j in self.jobs.values() if j.ended]:
                if job_id not in listed:
                    del self.jobs[job_id]
        if not self.jobs and not new:
            log_event(logging.INFO, "no job to collect", source=self.source.uri)
        for record in new:
            log_event(logging.INFO, "found", job=record.job_id, state=record.state)
            self._add(record.job_id)

    def _is_news(self, record: ImportJobRecord) -> bool:
        """Whether a listed job is to be polled: running, or ended with its end not yet stored."""
        known = self.jobs.get(record.job_id)
        if record.state not in ENDED:
            # Ended before: the id is used again. Lost before: the server found it again.
            return known is None or known.ended
        if known is not None and not known.lost:
            return False
        if not self.store.exists():
            return True
        table = self.store.jobs(job_id=record.job_id, source_uri=self.source.uri, columns=["state"])
        return record.state not in table["state"].to_pylist()

    def _poll(self, job: CollectedJob) -> _Result:
        try:
            snapshot = self.source.snapshot(job.job_id)
        except (UnauthorizedError, StoreError):
            raise
        except ImportStatsError as error:
            self._note_failure(job, error)
            return partial(self._polled, job)
        self._append(snapshot)
        self._note_saved(job, snapshot)
        job.since_compaction += 1
        if job.ended or self.once or job.since_compaction >= _COMPACT_EVERY:
            self._compact(job)
        return partial(self._polled, job)

    def _compact(self, job: CollectedJob) -> None:
        """Compact; that it fails takes nothing from what is stored, so collecting goes on."""
        job.since_compaction = 0
        try:
            self.store.compact(job.job_id, final=job.ended)
        except StoreError as error:
            log_event(logging.WARNING, "cannot compact", job=job.job_id, reason=error)

    def _polled(self, job: CollectedJob) -> None:
        if job.ended:
            job.latest = None  # May be megabytes, and nothing is compared with it any more.
        elif not self.once:
            self._schedule(job, job.pause_s)

    def _note_saved(self, job: CollectedJob, snapshot: Snapshot) -> None:
        response = snapshot.response
        assert response is not None, "a source answers or raises"  # noqa: S101
        previous = job.latest.response if job.latest else None
        data = response.data
        job.pause_s = self.policy.pause_s(
            job.pause_s,
            changed=previous is None or previous.data != data,
            state=data.state,
            rows=data.progress is None or data.progress < 70,
        )
        if job.failures:
            log_event(logging.INFO, "answers again", job=job.job_id, failures=job.failures)
        job.failures = 0
        job.error = None
        job.state = data.state
        job.latest = snapshot
        job.snapshots += 1
        log_event(
            logging.INFO,
            "saved",
            job=job.job_id,
            snapshot=snapshot.snapshot_id,
            state=data.state,
            progress_pct=data.progress,
            imported_rows=data.imported_rows,
            total_rows=data.total_rows,
            latency_s=None
            if snapshot.request_latency_s is None
            else round(snapshot.request_latency_s, 4),
        )
        if self._on_saved is not None:
            self._on_saved(job)

    def _note_failure(self, job: CollectedJob, error: ImportStatsError) -> None:
        job.failures += 1
        job.error = error
        job.pause_s = self.policy.pause_s(job.pause_s, changed=False, state=None, rows=False)
        if isinstance(error, JobNotFoundError) and job.failures >= _NOT_FOUND_LIMIT:
            if job.latest is None and job.job_id in self._wanted:
                raise error
            job.lost = True
        # The first failure opens the gap; that the job is lost closes it for good.
        if job.latest is not None and (job.failures == 1 or job.lost):
            self._append(gap(job.job_id, self.source.uri, error))
        log_event(logging.WARNING, "no answer", job=job.job_id, failures=job.failures, reason=error)


def gap(job_id: str, source_uri: str, error: ImportStatsError) -> Snapshot:
    """The record of a poll that brought no answer, as of now."""
    return Snapshot(
        observed_at=datetime.now(UTC),
        job_id=job_id,
        source_uri=source_uri,
        response=None,
        error=str(error),
    )
