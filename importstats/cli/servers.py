"""Collecting from servers: how ``collect`` works for one, and for several side by side."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from importstats.cli.management import watched
from importstats.cli.options import Connection
from importstats.collect.collector import Append, CollectedJob, Collector, PollPolicy
from importstats.collect.notifier import Notifier
from importstats.errors import ImportStatsError
from importstats.store import SnapshotStore

Collected = dict[str, CollectedJob]


@dataclass(frozen=True, kw_only=True)
class ServerRun:
    """Collects one server's jobs.

    Attributes have the names and meanings of ``collect``'s options; ``label`` is the server's name
    if there are several.
    """

    connection: Connection
    store: str
    jobs: tuple[str, ...]
    collection: str | None
    follow: bool
    policy: PollPolicy
    discover_s: float
    events: tuple[str, ...]
    metrics_port: int | None
    metrics_host: str
    management_uri: tuple[str, ...]
    management_s: float
    label: str | None

    def run(self, running: Running) -> Collected:
        """Collect until all jobs have ended or the collectors are stopped.

        Raises
        ------
        ImportStatsError
            As :meth:`Collector.run`.
        """
        opened = SnapshotStore(self.store)
        with contextlib.ExitStack() as stack:
            source = stack.enter_context(contextlib.closing(self.connection.opened()))
            notifier: Notifier | None = None
            append: Append = opened.append
            if self.events:
                notifier = stack.enter_context(Notifier(opened, source.uri, self.events))
            if self.metrics_port is not None:
                from importstats.collect.metrics import MetricsServer

                metrics = stack.enter_context(
                    MetricsServer(
                        opened,
                        source.uri,
                        host=self.metrics_host,
                        port=self.metrics_port,
                        notifier=notifier,
                    )
                )
                source = metrics.measured_source(source)
                append = metrics.measured_append(opened.append)
            collector = Collector(
                source,
                opened,
                jobs=self.jobs,
                collection=self.collection,
                follow=self.follow,
                policy=self.policy,
                discover_s=self.discover_s,
                on_saved=notifier.notice if notifier else None,
                append=append,
                label=self.label,
            )
            stack.enter_context(
                watched(self.management_uri, self.management_s, self.connection, opened, collector)
            )
            running.add(collector)
            return collector.run()


class Running:
    """The running collectors, which a signal stops all at once."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._collectors: list[Collector] = []
        self._is_stopped = False

    def add(self, collector: Collector) -> None:
        """Add a collector that is about to run; stop it if the others are stopped."""
        with self._lock:
            self._collectors.append(collector)
            if self._is_stopped:
                collector.stop()

    def stop(self) -> None:
        """Ask all collectors to stop, including those added later."""
        with self._lock:
            self._is_stopped = True
            for collector in self._collectors:
                collector.stop()


def run_side_by_side(
    runs: Sequence[ServerRun], running: Running
) -> list[Collected | ImportStatsError]:
    """The outcome of each server, in the order of the runs; an error ends only its own server."""
    outcomes: list[Collected | ImportStatsError] = [_NOT_RUN] * len(runs)

    def collect(place: int, run: ServerRun) -> None:
        try:
            outcomes[place] = run.run(running)
        except ImportStatsError as error:
            outcomes[place] = error

    threads = [
        threading.Thread(target=collect, args=(place, run), name=f"importstats-server@{run.label}")
        for place, run in enumerate(runs)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


#: The outcome after an unexpected error, whose traceback Python has printed.
_NOT_RUN: Final = ImportStatsError("the collector of this server ended by an unexpected error")
