"""The collector: polls jobs, each at a pace that fits it, and stores every answer.

One scheduler decides who is polled when; worker threads poll and store. A snapshot is logged as
``saved`` only when the store has acknowledged it, so a log line is a promise. What goes wrong with
one job is that job's trouble: only a refused token and a store that cannot be written end the run.
"""

from __future__ import annotations

import contextlib
import errno
import heapq
import itertools
import logging
import math
import queue
import random
import threading
import time
from collections.abc import Callable, Collection, Container, Iterable
from functools import partial
from typing import Final

from importstats.collect.jobs import ENDED, CollectedJob, gap, reason_of
from importstats.collect.log import log_event, logger
from importstats.collect.policy import PollPolicy
from importstats.collect.workers import Workers
from importstats.errors import ImportStatsError, StoreError, UnauthorizedError, UnreachableError
from importstats.sources.messages import ImportJobRecord
from importstats.sources.snapshot import Snapshot
from importstats.sources.source import ProgressSource
from importstats.store import SnapshotStore
from importstats.text import excerpt, printable

__all__ = ["Append", "CollectedJob", "Collector", "Observer", "PollPolicy"]

_COMPACT_EVERY: Final = 64
_BUSY_EVERY_S: Final = 60.0

#: A process that has no file descriptor left has one again when a connection ends.
_PASSING: Final = frozenset({errno.EMFILE, errno.ENFILE})
_APPEND_TRIES: Final = 30
_APPEND_PAUSE_S: Final = 1.0

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
        How many polls run at once, at most. A poll is waiting, not work: that it hangs costs a
        thread.
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
        workers: int = 64,
        on_saved: Observer | None = None,
        append: Append | None = None,
    ) -> None:
        self.source = source
        self.store = store
        self.policy = policy or PollPolicy()
        self.follow = follow
        self.once = once
        self.jobs: dict[str, CollectedJob] = {}
        self._append = append or store.append
        self._wanted = dict.fromkeys(jobs)
        self._collection = collection
        self._discover_s = discover_s
        self._pollers = Workers(workers, "importstats-poll")
        self._discoverer = Workers(1, "importstats-discover")
        self._compactor = Workers(1, "importstats-compact")
        self._on_saved = on_saved
        self._stop = threading.Event()
        self._due: list[tuple[float, int, str]] = []
        self._order = itertools.count()
        self._done: queue.SimpleQueue[_Result | BaseException | None] = queue.SimpleQueue()
        self._busy = 0
        self._discovering = False
        self._next_busy_line = 0.0

    def stop(self) -> None:
        """Ask :meth:`run` to return. Safe in a signal handler and from any thread."""
        self._stop.set()
        self._done.put(None)

    def run(self) -> dict[str, CollectedJob]:
        """Collect until all jobs ended, or :meth:`stop`.

        Returns
        -------
        dict of str to CollectedJob
            By job id. Every snapshot that was acknowledged is in the store. A job of which nothing
            was heard is ``given_up``.

        Raises
        ------
        UnauthorizedError
            The server refuses the token. Trying again would not help.
        StoreError
            A snapshot cannot be stored.
        ImportStatsError
            The first look at the server's list failed (unless following), or all jobs were given
            up: the error of the first.
        """
        for job_id in self._wanted:
            self._add(job_id)
        next_discovery = math.inf if self._wanted else time.monotonic()
        try:
            while not self._stop.is_set():
                if time.monotonic() >= next_discovery and not self._discovering:
                    self._discovering = True
                    self._start(self._discoverer, self._discover)
                    next_discovery = time.monotonic() + self._discover_s
                self._start_due_polls()
                if not self._due and not self._busy and not self.follow:
                    break
                self._wait(math.inf if self._discovering else next_discovery)
        finally:
            self._pollers.close()
            self._discoverer.close()
            self._compactor.close()
            self._finish()
        given_up = [job.error for job in self.jobs.values() if job.given_up]
        if given_up and len(given_up) == len(self.jobs) and given_up[0] is not None:
            raise given_up[0]
        return self.jobs

    def _add(self, job_id: str, listed_state: str | None = None) -> None:
        self.jobs[job_id] = CollectedJob(
            job_id,
            listed_state=listed_state,
            pause_s=self.policy.min_s,
            # Jobs that begin together are not all to be compacted at the same time.
            since_compaction=random.randrange(_COMPACT_EVERY),  # noqa: S311
        )
        self._schedule(self.jobs[job_id], 0.0)

    def _schedule(self, job: CollectedJob, pause_s: float) -> None:
        spread = 1 + random.uniform(-1, 1) * self.policy.jitter  # noqa: S311
        due = time.monotonic() + pause_s * spread
        heapq.heappush(self._due, (due, next(self._order), job.job_id))

    def _start(self, workers: Workers, task: _Task) -> None:
        def work() -> None:
            try:
                self._done.put(task())
            except BaseException as error:  # noqa: BLE001 -- handed to run(), which raises it
                self._done.put(error)

        self._busy += 1
        workers.start(work)

    def _start_due_polls(self) -> None:
        while self._due and self._due[0][0] <= time.monotonic():
            job = self.jobs.get(heapq.heappop(self._due)[2])
            if job is not None:
                self._start(self._pollers, partial(self._poll, job))
        if self._pollers.waiting and time.monotonic() >= self._next_busy_line:
            self._next_busy_line = time.monotonic() + _BUSY_EVERY_S
            log_event(
                logging.WARNING,
                "polls are late: all workers wait for answers",
                workers=self._pollers.most,
                waiting=self._pollers.waiting,
            )

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

    def _discover(self) -> _Result:
        try:
            records = list(self.source.list_jobs(self._collection))
            new = [record for record in records if self._is_news(record)]
        except (UnauthorizedError, StoreError):
            raise
        except Exception as error:  # noqa: BLE001 -- a list that makes no sense ends no poll
            problem = _as_ours("listing jobs", error)
            if not self.jobs and not self.follow:
                # This server never answered: more likely a wrong URI.
                raise problem from None
            log_event(logging.WARNING, "cannot list jobs", reason=problem)
            return self._discovered
        return partial(self._discovered, new, {record.job_id for record in records})

    def _discovered(
        self, new: Collection[ImportJobRecord] = (), listed: Container[str] | None = None
    ) -> None:
        self._discovering = False
        if listed is not None:
            # What the server forgot needs no more remembering here: memory stays bounded.
            for job in list(self.jobs.values()):
                was_never_seen = job.latest is None and job.failures and not job.snapshots
                if job.job_id not in listed and (job.ended or was_never_seen):
                    del self.jobs[job.job_id]
        if not self.jobs and not new:
            log_event(logging.INFO, "no job to collect", source=self.source.uri)
        for record in new:
            log_event(logging.INFO, "found", job=record.job_id, state=record.state)
            self._add(record.job_id, record.state)

    def _is_news(self, record: ImportJobRecord) -> bool:
        """Whether a listed job is to be polled: running, or ended with its end not yet stored."""
        known = self.jobs.get(record.job_id)
        if known is not None and known.given_up:
            return False
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
            self._store(snapshot)
            self._note_saved(job, snapshot)
        except (UnauthorizedError, StoreError):
            raise
        except Exception as error:  # noqa: BLE001 -- one job's trouble is not that of the others
            self._note_failure(job, _as_ours(f"polling job {job.job_id}", error))
            return partial(self._polled, job)
        job.since_compaction += 1
        return partial(self._polled, job)

    def _store(self, snapshot: Snapshot) -> None:
        for attempt in itertools.count(1):
            try:
                self._append(snapshot)
                break
            except StoreError as error:
                is_passing = getattr(error.__cause__, "errno", None) in _PASSING
                if not is_passing or attempt >= _APPEND_TRIES:
                    raise
                log_event(logging.WARNING, "cannot store yet", job=snapshot.job_id, reason=error)
            self._stop.wait(_APPEND_PAUSE_S)

    def _compact(self, job: CollectedJob) -> _Result:
        """Compact; that it fails takes nothing from what is stored, so collecting goes on."""
        try:
            self.store.compact(job.job_id, final=job.ended)
        except StoreError as error:
            log_event(logging.WARNING, "cannot compact", job=job.job_id, reason=error)
        return lambda: None

    def _polled(self, job: CollectedJob) -> None:
        is_due = job.ended or self.once or job.since_compaction >= _COMPACT_EVERY
        if is_due and job.snapshots:
            # One after the other, so that polls do not wait for many at once.
            job.since_compaction = 0
            self._start(self._compactor, partial(self._compact, job))
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
        job.reason = reason_of(data)
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
            reason=job.reason,
        )
        if self._on_saved is not None:
            self._on_saved(job)

    def _note_failure(self, job: CollectedJob, error: ImportStatsError) -> None:
        job.note_failure(error, is_wanted=job.job_id in self._wanted, follow=self.follow)
        pause = self.policy.pause_s(job.pause_s, changed=False, state=None, rows=False)
        asked_for = error.retry_after_s if isinstance(error, UnreachableError) else 0.0
        job.pause_s = max(pause, asked_for)
        # The first failure opens the gap; that the job is lost closes it for good.
        if job.latest is not None and (job.failures == 1 or job.lost):
            self._store(gap(job.job_id, self.source.uri, error))
        log_event(logging.WARNING, "no answer", job=job.job_id, failures=job.failures, reason=error)


def _as_ours(doing: str, error: Exception) -> ImportStatsError:
    """The error if it is one of ours; else one of ours for it, whose traceback is logged."""
    if isinstance(error, ImportStatsError):
        return error
    logger.error("%s failed", printable(doing), exc_info=error)
    return ImportStatsError(
        f"{printable(doing)} failed ({type(error).__name__}: {excerpt(str(error))}); "
        "the log has the traceback; please report it"
    )
