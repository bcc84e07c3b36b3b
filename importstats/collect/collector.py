"""The collector: polls each job at a suitable pace, and stores every answer.

One scheduler decides who is polled when; worker threads poll and store. A snapshot is logged as
``saved`` only when the store has acknowledged it, so a log line is a promise. Trouble with one job
does not affect others: only a refused token or a store that cannot be written ends the run.
"""

from __future__ import annotations

import contextlib
import logging
import math
import queue
import random
import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from importstats.collect.discovery import Discovery
from importstats.collect.jobs import CollectedJob, gap, reason_of
from importstats.collect.log import log_event, logger
from importstats.collect.policy import PollPolicy
from importstats.collect.storing import Append, append_patiently
from importstats.collect.timetable import Timetable, now
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
_GRACE_S: Final = 5.0

Observer = Callable[[CollectedJob], None]

# Work for a thread, whose result is what the scheduler does next.
_Result = Callable[[], None]
_Task = Callable[[], _Result]


class Collector:
    """Polls jobs of one server into one store until they end.

    Parameters
    ----------
    source : ProgressSource
    store : SnapshotStore
    jobs : iterable of str
        Job ids to collect. If empty: all jobs that the server lists, as they appear.
    collection : str, optional
        Without ``jobs``: only jobs of this collection.
    follow : bool
        Go on for ever, even when all jobs have ended.
    once : bool
        Poll each job once and end, for scheduled snapshots.
    policy : PollPolicy
    discover_s : float
        Seconds between two requests for the server's list.
    workers : int
        How many polls can run at once; a poll that hangs costs a thread.
    on_saved : callable, optional
        Called with the :class:`CollectedJob` after each stored snapshot, in a worker thread.
    append : callable, optional
        How a snapshot is stored. Default: ``store.append``.
    gap_after_s : float
        If a job is polled this late, for example after a suspend, a gap is recorded.
    label : str, optional
        Ends the names of its threads, after an @, so that a log can show which collector wrote a
        line.
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
        gap_after_s: float = 60.0,
        label: str | None = None,
    ) -> None:
        self.source = source
        self.store = store
        self.policy = policy or PollPolicy()
        self.follow = follow
        self.once = once
        self.jobs: dict[str, CollectedJob] = {}
        self._stop = threading.Event()
        self._append_patiently = partial(append_patiently, append or store.append, self._stop)
        self._wanted = dict.fromkeys(jobs)
        self._collection = collection
        self._discover_s = discover_s
        ending = "" if label is None else f"@{label}"
        self._pollers = Workers(workers, f"importstats-poll{ending}")
        self._discoverer = Workers(1, f"importstats-discover{ending}")
        # Polls must not wait while many jobs are compacted.
        self._compactor = Workers(1, f"importstats-compact{ending}")
        self._on_saved = on_saved
        self._gap_after_s = gap_after_s
        self._discovery = Discovery(store, source.uri)
        self._due = Timetable()
        self._done: queue.SimpleQueue[_Result | BaseException | None] = queue.SimpleQueue()
        self._busy = 0
        self._discovering = False
        self._next_busy_line = 0.0

    def stop(self) -> None:
        """Ask :meth:`run` to return. Safe in a signal handler and from any thread."""
        self._stop.set()
        self._done.put(None)

    def run(self) -> dict[str, CollectedJob]:
        """Collect until all jobs have ended, or until :meth:`stop`.

        Returns
        -------
        dict of str to CollectedJob
            By job id. A job that never answered is ``given_up``.

        Raises
        ------
        UnauthorizedError
            The server refuses the token. Trying again would not help.
        StoreError
            A snapshot cannot be stored.
        ImportStatsError
            The first request for the server's list failed (unless following), or all jobs were
            given up: the first job's error.
        """
        for job_id in self._wanted:
            self._add(job_id)
        next_discovery = math.inf if self._wanted else now()
        try:
            while not self._stop.is_set():
                if now() >= next_discovery and not self._discovering:
                    self._discovering = True
                    self._start(self._discoverer, self._discover)
                    next_discovery = now() + self._discover_s
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
            # Jobs that begin together should not all be compacted at the same time.
            since_compaction=random.randrange(_COMPACT_EVERY),  # noqa: S311
        )
        self._schedule(self.jobs[job_id], 0.0)

    def _schedule(self, job: CollectedJob, pause_s: float) -> None:
        jitter = 1 + random.uniform(-1, 1) * self.policy.jitter  # noqa: S311
        self._due.add(now() + pause_s * jitter, job.job_id)

    def _start(self, workers: Workers, task: _Task) -> None:
        def work() -> None:
            try:
                self._done.put(task())
            except BaseException as error:  # noqa: BLE001 -- handed to run(), which raises it
                self._done.put(error)

        self._busy += 1
        workers.start(work)

    def _start_due_polls(self) -> None:
        for due, job_id in self._due.take(now()):
            if (job := self.jobs.get(job_id)) is not None:
                self._start(self._pollers, partial(self._poll, job, due))
        if (waiting := self._pollers.waiting) and now() >= self._next_busy_line:
            self._next_busy_line = now() + _BUSY_EVERY_S
            what = "polls are late: all workers wait for answers"
            log_event(logging.WARNING, what, workers=self._pollers.most, waiting=waiting)

    def _wait(self, next_discovery: float) -> None:
        """Sleep until a task is done, a poll is due, or it is time to discover."""
        next_due = min(next_discovery, self._due.next_at)
        timeout = max(0.0, next_due - now()) if next_due < math.inf else None
        with contextlib.suppress(queue.Empty):
            self._settle(self._done.get(timeout=timeout))

    def _settle(self, result: _Result | BaseException | None) -> None:
        if result is not None:  # stop() only wants to wake us.
            self._busy -= 1
            if isinstance(result, BaseException):
                raise result
            result()

    def _finish(self) -> None:
        """Wait for the polls under way, so that their answers are stored."""
        deadline = now() + _GRACE_S
        while self._busy and (left := deadline - now()) > 0:
            with contextlib.suppress(queue.Empty):
                self._busy -= self._done.get(timeout=left) is not None

    def _discover(self) -> _Result:
        try:
            records = list(self.source.list_jobs(self._collection))
        except (UnauthorizedError, StoreError):
            raise
        except Exception as error:  # noqa: BLE001 -- a list that makes no sense ends no poll
            problem = _as_ours("listing jobs", error)
            if not self.jobs and not self.follow:
                # This server never answered: more likely a wrong URI.
                raise problem from None
            return self._not_listed(problem)
        return partial(self._listed, records)

    def _listed(self, records: Iterable[ImportJobRecord]) -> None:
        """Begin with the running jobs: looking for the stored ends of others can take a while."""
        running, ended = self._discovery.sort(records, self.jobs)
        self._add_found(running)
        self._start(self._discoverer, partial(self._look_up, ended))

    def _look_up(self, ended: Iterable[ImportJobRecord]) -> _Result:
        try:
            return partial(self._discovered, self._discovery.unstored(ended))
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 -- nor does a job that makes no sense
            return self._not_listed(_as_ours("listing jobs", error))

    def _not_listed(self, problem: ImportStatsError) -> _Result:
        log_event(logging.WARNING, "cannot list jobs", reason=problem)
        return partial(self._discovered, [])

    def _discovered(self, ends: Iterable[ImportJobRecord]) -> None:
        self._discovering = False
        self._add_found(ends)
        if not self.jobs:
            log_event(logging.INFO, "no job to collect", source=self.source.uri)

    def _add_found(self, records: Iterable[ImportJobRecord]) -> None:
        for record in records:
            log_event(logging.INFO, "found", job=record.job_id, state=record.state)
            self._add(record.job_id, record.state)

    def _poll(self, job: CollectedJob, due: float) -> _Result:
        try:
            snapshot = self.source.snapshot(job.job_id)
            self._note_late(job, now() - due - (snapshot.request_latency_s or 0.0))
            self._append_patiently(snapshot)
            self._note_saved(job, snapshot)
        except (UnauthorizedError, StoreError):
            raise
        except Exception as error:  # noqa: BLE001 -- one job's trouble is not that of the others
            self._note_failure(job, _as_ours(f"polling job {job.job_id}", error))
        else:
            job.since_compaction += 1
        return partial(self._polled, job)

    def _compact(self, job: CollectedJob) -> _Result:
        """Compact a job; collecting goes on after a failure, which loses nothing that is stored."""
        try:
            self.store.compact(job.job_id, final=job.ended)
        except StoreError as error:
            log_event(logging.WARNING, "cannot compact", job=job.job_id, reason=error)
        return lambda: None

    def _polled(self, job: CollectedJob) -> None:
        is_due = job.ended or self.once or job.since_compaction >= _COMPACT_EVERY
        if is_due and job.snapshots:
            job.since_compaction = 0
            self._start(self._compactor, partial(self._compact, job))
        if job.ended:
            job.latest = None  # May be megabytes.
        elif not self.once:
            # Jobs that were found together do not go on in step.
            spread = random.random() if job.snapshots == 1 < len(self.jobs) else 0.0  # noqa: S311
            self._schedule(job, job.pause_s * (1 + spread))

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
            latency_s=snapshot.request_latency_s and round(snapshot.request_latency_s, 4),
            reason=job.reason,
        )
        if self._on_saved is not None:
            self._on_saved(job)

    def _note_late(self, job: CollectedJob, late_s: float) -> None:
        """Record the gap that a poll leaves if it is far too late."""
        if late_s >= self._gap_after_s and job.latest is not None:
            why = f"not polled for {late_s:.0f} s: importstats was suspended, or had too much to do"
            self._append_patiently(gap(job.job_id, self.source.uri, why, ago_s=late_s))
            log_event(logging.WARNING, "polled late", job=job.job_id, reason=why)

    def _note_failure(self, job: CollectedJob, error: ImportStatsError) -> None:
        job.note_failure(error, is_wanted=job.job_id in self._wanted, follow=self.follow)
        pause = self.policy.pause_s(job.pause_s, changed=False, state=None, rows=False)
        asked_for = error.retry_after_s if isinstance(error, UnreachableError) else 0.0
        job.pause_s = max(pause, asked_for)
        # The first failure opens the gap; losing the job closes it for good.
        if job.latest is not None and (job.failures == 1 or job.lost):
            self._append_patiently(gap(job.job_id, self.source.uri, str(error)))
        log_event(logging.WARNING, "no answer", job=job.job_id, failures=job.failures, reason=error)


def _as_ours(doing: str, error: Exception) -> ImportStatsError:
    """The error if it is one of ours, or one of ours instead; then the log has its traceback."""
    if isinstance(error, ImportStatsError):
        return error
    logger.error("%s failed", printable(doing), exc_info=error)
    return ImportStatsError(
        f"{printable(doing)} failed ({type(error).__name__}: {excerpt(str(error))}); "
        "the log has the traceback; please report it"
    )
