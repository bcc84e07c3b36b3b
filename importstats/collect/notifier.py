"""The notifier: finds the events of collected jobs, and delivers each at least once.

The collector only says which job has changed: one thread finds events, and one for each target
delivers them.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, Self

import pandas as pd

from importstats.analysis.job_events import events, payloads
from importstats.closing import Closing
from importstats.collect.collector import CollectedJob
from importstats.collect.log import log_event
from importstats.collect.outbox import Outbox
from importstats.collect.targets import DeliveryError, Payload, Target, parse_targets
from importstats.errors import StoreError
from importstats.store import SnapshotStore
from importstats.store.cluster_frames import ClusterFrames, ClusterOfJobs, no_cluster
from importstats.store.frames import load_details, load_jobs
from importstats.text import printable

logger = logging.getLogger(__name__)

_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 300.0
#: How often jobs without news are examined.
_IDLE_LOOK_S: Final = 60.0
#: How far back to look for jobs whose events an earlier process may not have sent completely.
_RECOVERED: Final = timedelta(days=7)
#: After these events a job is examined again only when it has a new snapshot.
_LAST: Final = ("finished", "failed", "gap", "forgotten")


class Notifier(Closing):
    """Finds the events of the jobs a collector collects, and delivers them.

    Use it as a context manager around :meth:`Collector.run`, with :meth:`notice` as its
    ``on_saved``. At its end it examines every job once more and gives deliveries `grace_s` seconds;
    the rest stays pending in the store, for the store's next notifier.

    Parameters
    ----------
    store : SnapshotStore
    source_uri : str
        The server whose jobs are examined.
    targets : iterable of str
        As :func:`parse_targets` takes them.
    look_s : float
        The least time between two examinations of changed jobs; more if they take long, so that
        they take at most a fifth of the time.
    grace_s : float
        How long closing may take.
    expected : int, mapping or Series of int, optional
        The rows that each job should have, see :func:`importstats.diagnose`.

    Raises
    ------
    ImportStatsError
        A target is not valid.
    """

    def __init__(
        self,
        store: SnapshotStore,
        source_uri: str,
        targets: Iterable[str],
        *,
        look_s: float = 2.0,
        grace_s: float = 15.0,
        expected: int | Mapping[str, int] | pd.Series[int] | None = None,
    ) -> None:
        parsed = parse_targets(targets)
        self.found: Counter[str] = Counter()
        self._store = store
        self._source_uri = source_uri
        self._expected = expected
        self._outbox = Outbox(store, source_uri, [target.name for target in parsed])
        self._couriers = [_Courier(target, self._outbox) for target in parsed]
        self._look_s, self._grace_s = look_s, grace_s
        self._lock = threading.Lock()
        self._changed: set[str] = set()
        self._open: set[str] = set()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="importstats-events")

    def __enter__(self) -> Self:
        for courier in self._couriers:
            courier.start()
        self._thread.start()
        return self

    @property
    def delivered(self) -> int:
        """How many deliveries to any target succeeded."""
        return sum(courier.delivered for courier in self._couriers)

    @property
    def failed(self) -> int:
        """How many deliveries failed; each try counts."""
        return sum(courier.failed for courier in self._couriers)

    @property
    def set_aside(self) -> int:
        """How many files in the outbox were not events and were set aside."""
        return self._outbox.set_aside

    @property
    def pending(self) -> int:
        """Events in the outbox as last seen by the target that is furthest behind."""
        return max((courier.pending for courier in self._couriers), default=0)

    def notice(self, job: CollectedJob) -> None:
        """Note that a job has a new snapshot. Returns at once."""
        self._note([job.job_id])
        self._wake.set()

    def close(self) -> None:
        """Look for events once more, deliver what can be delivered, and end the threads."""
        deadline = time.monotonic() + self._grace_s
        self._closing.set()
        self._wake.set()
        self._thread.join(self._grace_s)
        for courier in self._couriers:
            courier.close()
        for courier in self._couriers:
            courier.join(max(0.0, deadline - time.monotonic()))
        if self.pending > 0:
            log_event(logging.WARNING, "events stay pending in the store", events=self.pending)

    def _run(self) -> None:
        since: datetime | None = None
        next_idle_look = time.monotonic() + _IDLE_LOOK_S
        while True:
            self._wake.clear()
            is_last = self._closing.is_set()
            started = time.monotonic()
            if started >= next_idle_look or is_last:
                self._note(self._open)
                next_idle_look = started + _IDLE_LOOK_S
            since = since or self._prepare()
            if since is not None:
                self._look_at_changed(since)
            if is_last:
                return
            self._closing.wait(max(self._look_s, 4 * (time.monotonic() - started)))
            self._wake.wait(max(0.0, next_idle_look - time.monotonic()))

    def _note(self, job_ids: Iterable[str]) -> None:
        with self._lock:
            self._changed.update(job_ids)

    def _prepare(self) -> datetime | None:
        """When events begin to count; also notes jobs that an earlier process may have left."""
        try:
            since = self._outbox.asked_since()
            if self._store.exists():
                recent = self._store.jobs(
                    source_uri=self._source_uri,
                    since=max(since, datetime.now(UTC) - _RECOVERED),
                    columns=["job_id"],
                )
                self._note(recent["job_id"].unique().to_pylist())
        except StoreError as error:
            log_event(logging.WARNING, "cannot look for events", reason=error)
            return None
        return since

    def _look_at_changed(self, since: datetime) -> None:
        with self._lock:
            changed, self._changed = self._changed, set()
        # The cluster is the same for all of them. A server's ids grow with time, so the oldest job
        # comes first.
        cluster = ClusterOfJobs(self._store, self._source_uri)
        for job_id in sorted(changed):
            try:
                self._look_at(job_id, since, cluster)
            except StoreError as error:
                log_event(logging.WARNING, "cannot look for events", job=job_id, reason=error)
                self._note([job_id])
            except Exception:  # Trouble with one job's data must not silence the others.
                logger.exception("looking for events of job %s failed", printable(job_id))

    def _look_at(self, job_id: str, since: datetime, cluster: ClusterOfJobs) -> None:
        here = self._source_uri
        jobs = load_jobs(self._store, job_id=job_id, source_uri=here, gaps=True)
        details = load_details(self._store, job_id=job_id, source_uri=here, runs=True)
        found = events(
            jobs,
            details,
            datetime.now(UTC),
            expected=self._expected,
            cluster=_cluster_if_readable(cluster, jobs),
        )
        if found["event"].isin(_LAST).any():
            self._open.discard(job_id)
        else:
            self._open.add(job_id)
        for payload in payloads(found[found["occurred_at"] >= since]):
            if self._outbox.add(payload):
                self.found[payload["event"]] += 1
                log_event(
                    logging.INFO, "event", id=payload["id"], job=job_id, said=payload["message"]
                )
                for courier in self._couriers:
                    courier.wake()


def _cluster_if_readable(cluster: ClusterOfJobs, jobs: pd.DataFrame) -> ClusterFrames:
    """The cluster, or nothing if it cannot be read, since events can be found without it."""
    try:
        return cluster.frames_for(jobs)
    except StoreError as error:
        log_event(
            logging.WARNING, "cannot read the cluster; events are found without it", reason=error
        )
        return no_cluster()


class _Courier:
    """Delivers an outbox's pending events to one target, in a thread, for as long as it takes.

    It holds nothing in memory: the outbox is the queue. A failed event is tried again after all the
    others, so an event that its target refuses does not delay them.
    """

    def __init__(self, target: Target, outbox: Outbox) -> None:
        self.delivered = self.failed = self.pending = 0
        self._target = target
        self._outbox = outbox
        self._pause_s = _FIRST_PAUSE_S
        self._is_over = False
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="importstats-courier")

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Wake the thread: the outbox has something new."""
        self._wake.set()

    def close(self) -> None:
        """Try what is pending once more, and end."""
        self._closing.set()
        self._wake.set()

    def join(self, timeout_s: float) -> None:
        """Wait for the end; deliveries that have not begun by then are left to the next courier."""
        self._thread.join(timeout_s)
        self._is_over = True

    def _run(self) -> None:
        while True:
            self._wake.clear()
            is_last = self._closing.is_set()
            try:
                self.pending = sum(1 for _ in self._outbox.paths())
                outcomes = []
                for event in self._outbox.pending(self._target.name):
                    if self._is_over:
                        return
                    outcomes.append(self._deliver(event))
                is_all_delivered = all(outcomes)
            except StoreError as error:
                log_event(logging.WARNING, "cannot read events", reason=error)
                is_all_delivered = False
                self._rest()
            except Exception:  # One bad event must not end the thread, which delivers the others.
                logger.exception("delivering events to %s failed", self._target.name)
                self.failed += 1
                is_all_delivered = False
                self._rest()
            if is_last:
                return
            if is_all_delivered:
                self._wake.wait()

    def _deliver(self, event: Payload) -> bool:
        fields = {"id": event["id"], "target": self._target.name}
        try:
            self._target.deliver(event)
        except DeliveryError as error:
            self.failed += 1
            log_event(logging.WARNING, "event not delivered", **fields, reason=error)
            self._rest(error.retry_after_s)
            return False
        self.delivered += 1
        self.pending -= 1
        self._pause_s = _FIRST_PAUSE_S
        log_event(logging.INFO, "event delivered", **fields)
        self._outbox.acknowledge(event["id"], self._target.name)
        return True

    def _rest(self, least_s: float = 0.0) -> None:
        """Pause deliveries to the target, each time twice as long, unless it is time to end."""
        pause_s = min(max(self._pause_s, least_s), _LONGEST_PAUSE_S)
        self._closing.wait(pause_s * random.uniform(0.8, 1.2))  # noqa: S311
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
