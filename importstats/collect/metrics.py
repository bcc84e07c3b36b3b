"""Metrics for Prometheus: the jobs of a store, and how their collector is doing.

:class:`MetricsServer` serves ``/metrics``. The metrics of jobs are computed from the store on
request, at most every few seconds and in the thread of that request, so polls do not wait for them.
The number of time series is bounded: only the most recent jobs have their own, and ended jobs drop
out after a while.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pandas as pd

from importstats.analysis.findings import diagnose
from importstats.analysis.forecast import eta
from importstats.analysis.job_events import events
from importstats.analysis.lateness import stragglers
from importstats.analysis.phase import with_phase
from importstats.analysis.rates import throughput
from importstats.closing import Closing
from importstats.collect.bounded_http import bounded_server
from importstats.collect.collector import Append
from importstats.collect.log import log_event
from importstats.collect.notifier import Notifier
from importstats.errors import (
    BadResponseError,
    ImportStatsError,
    JobNotFoundError,
    MissingExtraError,
    PrivilegeError,
    ServerError,
    StoreError,
    UnauthorizedError,
    UnreachableError,
    UsageError,
)
from importstats.names import END_PHASES, FILE_STATES, JOB_KEY, PHASES
from importstats.sources.messages import ImportJobRecord
from importstats.sources.snapshot import Snapshot
from importstats.sources.source import ProgressSource
from importstats.store import SnapshotStore
from importstats.store.cluster_frames import ClusterFrames, load_cluster_of, no_cluster
from importstats.store.frames import jobs_frame, load_details, load_jobs
from importstats.text import printable

try:
    from prometheus_client import (
        CollectorRegistry,
        Counter,
        Histogram,
        ProcessCollector,
        make_wsgi_app,
    )
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
    from prometheus_client.registry import Collector
except ImportError as error:
    raise MissingExtraError("serving metrics", error.name, "prometheus") from error

logger = logging.getLogger(__name__)

#: The outcome of a poll, by the error it raised.
OUTCOMES: Final[dict[type[ImportStatsError], str]] = {
    UnreachableError: "unreachable",
    UnauthorizedError: "unauthorized",
    PrivilegeError: "forbidden",
    JobNotFoundError: "not_found",
    BadResponseError: "bad_response",
    ServerError: "server_error",
    ImportStatsError: "error",
}

#: How long a job keeps its series after its last snapshot, if that showed its end, or if not.
_KEEP_ENDED: Final = timedelta(hours=1)
_KEEP_SILENT: Final = timedelta(days=1)
_JOB_LABELS: Final = ("source", "job_id", "collection")
_LABEL_LIMIT: Final = 128
_POLL_BUCKETS_S: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_APPEND_BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_QUANTILES: Final = {"0.1": "remaining_p10_s", "0.5": "remaining_p50_s", "0.9": "remaining_p90_s"}


class MetricsServer(Closing):
    """Serves the metrics of one server's jobs in one store, as a context manager.

    Parameters
    ----------
    store : SnapshotStore
    source_uri : str
        The server whose jobs have series.
    host, port : str, int
        Where to listen; port 0 takes a free one.
    notifier : Notifier, optional
        Its counts of events are served as well.
    refresh_s : float
        Shortest time between two readings of the store; more if reading takes long, so that it
        takes no more than a quarter of the time.
    most_jobs : int
        How many jobs have their own series, the most recent ones.

    Raises
    ------
    ImportStatsError
        It cannot listen on the port.

    Examples
    --------
    >>> import tempfile, urllib.request
    >>> store = SnapshotStore(tempfile.mkdtemp())
    >>> with MetricsServer(store, "http://localhost:19530", port=0) as server:
    ...     text = urllib.request.urlopen(server.url, timeout=10).read().decode()
    >>> [line for line in text.splitlines() if line.startswith("importstats_store_up")]
    ['importstats_store_up 1.0']
    """

    def __init__(
        self,
        store: SnapshotStore,
        source_uri: str,
        *,
        host: str = "127.0.0.1",
        port: int = 9464,
        notifier: Notifier | None = None,
        refresh_s: float = 10.0,
        most_jobs: int = 100,
    ) -> None:
        self._registry = CollectorRegistry()
        self._polls = _PollMetrics(self._registry)
        ProcessCollector(registry=self._registry)
        self._registry.register(
            _StoreCollector(store, source_uri, refresh_s=refresh_s, most_jobs=most_jobs)
        )
        if notifier is not None:
            self._registry.register(_EventCollector(notifier))
        try:
            self._http = bounded_server(host, port, make_wsgi_app(self._registry))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UsageError(
                f"cannot serve metrics on {host}:{port} ({reason}); choose another --metrics-port"
            ) from None
        self._thread = threading.Thread(
            target=self._http.serve_forever, daemon=True, name="importstats-metrics"
        )
        self._thread.start()
        shown = f"[{host}]" if self._http.address_family == socket.AF_INET6 else host
        self.url = f"http://{shown}:{self._http.server_port}/metrics"
        log_event(logging.INFO, "serving metrics", url=self.url)

    def close(self) -> None:
        """Stop the server, and free its port."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def measured_source(self, source: ProgressSource) -> ProgressSource:
        """The source, with every poll counted and timed."""
        return _MeasuredSource(source, self._polls)

    def measured_append(self, append: Append) -> Append:
        """The same as `append`, with every call timed and every failure counted."""
        polls = self._polls

        def timed(snapshot: Snapshot) -> None:
            with polls.append_errors.count_exceptions(StoreError), polls.append_seconds.time():
                append(snapshot)

        return timed


class _PollMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.polls = Counter(
            "importstats_polls_total",
            "Polls of import jobs, by outcome.",
            ["outcome"],
            registry=registry,
        )
        for outcome in ("ok", *OUTCOMES.values()):
            self.polls.labels(outcome)
        self.poll_seconds = Histogram(
            "importstats_poll_duration_seconds",
            "Time from a request to the end of its answer, or to the error.",
            buckets=_POLL_BUCKETS_S,
            registry=registry,
        )
        self.append_seconds = Histogram(
            "importstats_store_append_seconds",
            "Time to store one snapshot durably.",
            buckets=_APPEND_BUCKETS_S,
            registry=registry,
        )
        self.append_errors = Counter(
            "importstats_store_append_errors_total",
            "Snapshots that could not be stored.",
            registry=registry,
        )


class _MeasuredSource:
    def __init__(self, source: ProgressSource, metrics: _PollMetrics) -> None:
        self._source = source
        self._metrics = metrics

    @property
    def uri(self) -> str:
        return self._source.uri

    def snapshot(self, job_id: str) -> Snapshot:
        outcome = "ok"
        try:
            with self._metrics.poll_seconds.time():
                return self._source.snapshot(job_id)
        except ImportStatsError as error:
            outcome = OUTCOMES[next(kind for kind in type(error).__mro__ if kind in OUTCOMES)]
            raise
        finally:
            self._metrics.polls.labels(outcome).inc()

    def list_jobs(self, collection: str | None = None) -> Iterator[ImportJobRecord]:
        return self._source.list_jobs(collection)

    def close(self) -> None:
        self._source.close()


class _EventCollector(Collector):
    """Reports a notifier's events and deliveries, as counters."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier

    def collect(self) -> Iterator[Metric]:
        found = CounterMetricFamily(
            "importstats_events", "Events found, by kind.", labels=["event"]
        )
        for event, count in sorted(self._notifier.found.items()):
            found.add_metric([event], count)
        yield found
        deliveries = CounterMetricFamily(
            "importstats_event_deliveries",
            "Attempts to deliver an event to a target, by outcome.",
            labels=["outcome"],
        )
        deliveries.add_metric(["delivered"], self._notifier.delivered)
        deliveries.add_metric(["failed"], self._notifier.failed)
        yield deliveries
        yield CounterMetricFamily(
            "importstats_events_set_aside",
            "Files in the outbox that were not events and were set aside.",
            self._notifier.set_aside,
        )
        yield GaugeMetricFamily(
            "importstats_events_pending",
            "Events recorded but not yet delivered.",
            self._notifier.pending,
        )


class _StoreCollector(Collector):
    """Reports the jobs of the store, read at most every `refresh_s` seconds."""

    def __init__(
        self, store: SnapshotStore, source_uri: str, *, refresh_s: float, most_jobs: int
    ) -> None:
        self._store = store
        self._source_uri = source_uri
        self._refresh_s = refresh_s
        self._most_jobs = most_jobs
        self._lock = threading.Lock()
        self._latest: list[Metric] = []
        self._failures = 0
        self._next = 0.0

    def describe(self) -> list[Metric]:
        """Nothing, since a registry would otherwise read the store to learn the names."""
        return []

    def collect(self) -> list[Metric]:
        with self._lock:
            started = time.monotonic()
            if started >= self._next:
                self._latest = self._read()
                spent = time.monotonic() - started
                self._next = started + spent + max(self._refresh_s, 3 * spent)
            return self._latest

    def _read(self) -> list[Metric]:
        now = datetime.now(UTC)
        is_up, families = True, _Families()
        try:
            if self._store.exists():
                self._fill(families, now)
        except StoreError:
            # Earlier numbers may be wrong by now, and no number is better than an old one.
            is_up, families = False, _Families()
        up = GaugeMetricFamily("importstats_store_up", "Whether the store can be read.", int(is_up))
        spent = (datetime.now(UTC) - now).total_seconds()
        reading = GaugeMetricFamily(
            "importstats_store_read_seconds", "How long reading the store took last time.", spent
        )
        failures = CounterMetricFamily(
            "importstats_job_metrics_failures",
            "Times that the metrics of a job could not be computed; the log says why.",
            self._failures,
        )
        return [up, reading, failures, *families]

    def _fill(self, families: _Families, now: datetime) -> None:
        recent = jobs_frame(self._store.jobs(source_uri=self._source_uri, since=now - _KEEP_SILENT))
        answered = with_phase(recent[recent["error"].isna()])
        latest = answered.groupby(JOB_KEY, observed=True).tail(1)
        ended = latest["phase"].isin(END_PHASES)
        shown = latest[~ended | (latest["observed_at"] >= now - _KEEP_ENDED)]
        families.last_snapshot(self._source_uri, latest["observed_at"].max())
        families.counts(self._source_uri, shown["phase"].value_counts())
        shown = shown.nlargest(self._most_jobs, "observed_at", keep="first")
        # Two names may be equal once they are cleaned; then the most recent job is served.
        labels: dict[tuple[str, ...], Any] = {}
        for row in shown.itertuples():
            labels.setdefault(_labels(row), row)
        at_work = recent["job_id"].isin(shown.loc[~shown["phase"].isin(END_PHASES), "job_id"])
        cluster = self._cluster(recent[at_work])
        for names, row in labels.items():
            families.latest(names, row)
            if row.phase not in END_PHASES:
                try:
                    self._fill_running(families, names, str(row.job_id), now, cluster)
                except StoreError:
                    raise
                except Exception:  # Trouble with one job's data must not silence the others.
                    logger.exception("metrics of job %s failed", printable(str(row.job_id)))
                    self._failures += 1

    def _cluster(self, jobs: pd.DataFrame) -> ClusterFrames:
        """The cluster of the recent jobs, or nothing if only that cannot be read."""
        try:
            return load_cluster_of(self._store, jobs)
        except StoreError as error:
            log_event(
                logging.WARNING,
                "cannot read the cluster; metrics are served without it",
                reason=error,
            )
            return no_cluster()

    def _fill_running(
        self,
        families: _Families,
        labels: tuple[str, ...],
        job_id: str,
        now: datetime,
        cluster: ClusterFrames,
    ) -> None:
        here = self._source_uri
        jobs = load_jobs(self._store, job_id=job_id, source_uri=here, gaps=True)
        details = load_details(self._store, job_id=job_id, source_uri=here, runs=True)
        estimates = eta(jobs)
        if len(estimates):
            families.remaining(labels, estimates.iloc[-1], now)
        rates = throughput(jobs, by="job")
        if len(rates):
            families.rate(labels, rates.iloc[-1])
        if len(details):
            families.files(labels, details)
            families.stragglers.add_metric(labels, stragglers(details)["is_straggler"].sum())
        families.findings(labels, diagnose(jobs, details, at=now, cluster=cluster))
        found = set(events(jobs, details, now, estimates=estimates)["event"])
        families.stalled.add_metric(labels, int("stalled" in found))
        families.late.add_metric(labels, int("late" in found))


class _Families:
    """The metrics of jobs, to be filled."""

    def __init__(self) -> None:
        def gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
            return GaugeMetricFamily(f"importstats_{name}", text, labels=labels)

        def of_job(name: str, text: str, *labels: str) -> GaugeMetricFamily:
            return gauge(f"job_{name}", text, *_JOB_LABELS, *labels)

        self.jobs = gauge("jobs", "Jobs that run or ended recently, by phase.", "source", "phase")
        self.last = gauge(
            "last_snapshot_timestamp_seconds", "Time of the latest snapshot of any job.", "source"
        )
        self.job_last = of_job("last_snapshot_timestamp_seconds", "Time of the latest snapshot.")
        self.progress = of_job("progress_ratio", "Progress as the server sends it, 0 to 1.")
        self.imported = of_job("rows_imported", "Rows written so far.")
        self.expected = of_job("rows_expected", "Rows in all files, once counted.")
        self.size = of_job("file_size_bytes", "Bytes of all files.")
        self.phase = of_job("phase", "1 for the phase the job is in, 0 for the others.", "phase")
        self.rows_per_s = of_job("rows_per_second", "Rows written per second in the last minute.")
        # A summary, as that is what a quantile label means: quantiles of a distribution, here of
        # the predicted one.
        self.left = Metric(
            "importstats_job_remaining_seconds",
            "Time until the job ends; absent if nothing supports an estimate.",
            "summary",
        )
        self.by_state = of_job("files", "Files, by state.", "state")
        self.stragglers = of_job("stragglers", "Files that hold the job up.")
        self.stalled = of_job("stalled", "1 if nothing has moved for far longer than usual.")
        self.late = of_job("late", "1 if the job is late, see the event of that name.")
        self.finding = of_job(
            "finding",
            "1 for each warning and critical finding of a job at work, by its name.",
            "finding",
            "severity",
        )

    def __iter__(self) -> Iterator[Metric]:
        return iter(vars(self).values())

    def last_snapshot(self, source: str, observed_at: pd.Timestamp) -> None:
        if pd.notna(observed_at):
            self.last.add_metric([_clean(source)], observed_at.timestamp())

    def counts(self, source: str, count: pd.Series[int]) -> None:
        for phase in PHASES:
            self.jobs.add_metric([_clean(source), phase], int(count.get(phase, 0)))

    def latest(self, labels: tuple[str, ...], row: Any) -> None:
        self.job_last.add_metric(labels, row.observed_at.timestamp())
        for phase in PHASES:
            self.phase.add_metric([*labels, phase], int(phase == row.phase))
        for family, value, unit in (
            (self.progress, row.progress_pct, 100),
            (self.imported, row.imported_rows, 1),
            (self.expected, row.total_rows, 1),
            (self.size, row.file_size_bytes, 1),
        ):
            if pd.notna(value):
                family.add_metric(labels, value / unit)

    def remaining(self, labels: tuple[str, ...], estimate: pd.Series, now: datetime) -> None:
        age_s = (now - estimate["observed_at"]).total_seconds()
        for quantile, column in _QUANTILES.items():
            if pd.notna(estimate[column]):
                names = {**dict(zip(_JOB_LABELS, labels, strict=True)), "quantile": quantile}
                left_s = max(0.0, estimate[column] - age_s)
                self.left.add_sample(self.left.name, names, left_s)

    def rate(self, labels: tuple[str, ...], rate: pd.Series) -> None:
        if pd.notna(rate["rows_per_s_window"]):
            self.rows_per_s.add_metric(labels, rate["rows_per_s_window"])

    def findings(self, labels: tuple[str, ...], found: pd.DataFrame) -> None:
        worth = found[found["severity"] > "info"]
        named = worth[["finding", "severity"]].astype("str").drop_duplicates("finding")
        for finding, severity in named.itertuples(index=False, name=None):
            self.finding.add_metric([*labels, finding, severity], 1)

    def files(self, labels: tuple[str, ...], details: pd.DataFrame) -> None:
        last = details["last_snapshot_id"]
        states = details.loc[last == last.max(), "state"].astype("str")
        count = states.where(states.isin(FILE_STATES), "other").value_counts()
        for state in (*FILE_STATES, "other"):
            self.by_state.add_metric([*labels, state], int(count.get(state, 0)))


def _labels(row: Any) -> tuple[str, ...]:
    collection = "" if pd.isna(row.collection_name) else row.collection_name
    return _clean(row.source_uri), _clean(row.job_id), _clean(collection)


def _clean(text: str) -> str:
    return printable(str(text), _LABEL_LIMIT)
