"""The watcher: polls the management port and stores the state of the cluster.

It has its own thread and shares nothing with the polls of jobs. Any trouble (a missing, slow or
hostile port, a full disk) is only a line in the log and does not affect collecting.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Self

from importstats.closing import Closing
from importstats.collect.log import log_event, logger
from importstats.errors import StoreError
from importstats.sources.management import ManagementClient, Outcome, Reading
from importstats.store import SnapshotStore
from importstats.store.cluster_runs import OpenRuns
from importstats.store.cluster_schema import CLUSTER_TABLES, ClusterTable
from importstats.store.cluster_tables import ClusterTables

#: Nodes and gauges change with every poll, and are requested with every third one.
_SLOW_EVERY: Final = 3
#: Settings are from the proxy's start.
_SETTINGS_EVERY: Final = 360
#: How long an entry is remembered after it was last listed.
_REMEMBERED: Final = timedelta(hours=2)
_EVERYTHING_EVERY: Final = 60
_COMPACT_EVERY: Final = 10
_LONGEST_PAUSE_S: Final = 300.0
_MOST_COLLECTIONS: Final = 16


class ClusterWatcher(Closing):
    """Polls management ports every few seconds while jobs run, in its own thread.

    Use it as a context manager around the collecting.

    Parameters
    ----------
    clients : sequence of ManagementClient
        The first one that lists tasks is asked for all lists, and each one for its metrics.
    store : SnapshotStore
    source_uri : str
        The server of the jobs.
    running : callable
        Returns the ids of the running jobs; nothing is asked while there are none.
    every_s : float
        Seconds between two polls.
    """

    def __init__(
        self,
        clients: Sequence[ManagementClient],
        store: SnapshotStore,
        source_uri: str,
        running: Callable[[], Collection[str]],
        *,
        every_s: float = 10.0,
    ) -> None:
        self._clients = list(clients)
        self._store = store
        self._tables = ClusterTables(store)
        self._source_uri = source_uri
        self._running = running
        self._every_s = every_s
        self._runs = {table: OpenRuns(table, source_uri) for table in CLUSTER_TABLES}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="importstats-watch")
        self._next: dict[str, float] = {}
        self._pauses: dict[str, float] = {}
        self._said: set[tuple[str, ...]] = set()
        self._lists: ManagementClient | None = None
        self._looks = 0

    def __enter__(self) -> Self:
        """Start the thread that asks the management port."""
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop watching; everything that was seen is stored."""
        self._stop.set()
        if self._thread.is_alive():
            # Wait for an answer only as long as one may take.
            self._thread.join(10.0)
        for client in self._clients:
            client.close()

    def _watch(self) -> None:
        try:
            while not self._stop.is_set():
                begun = time.monotonic()
                self._guarded(self.look)
                self._stop.wait(max(0.0, begun + self._every_s - time.monotonic()))
        finally:
            self._guarded(lambda: self._write(everything=True))
            self._guarded(self._last_look)
            self._guarded(lambda: self._compact(final=True))

    def _guarded(self, act: Callable[[], None]) -> None:
        """Call a function, and log a failure instead of letting it end this thread."""
        try:
            act()
        except StoreError as error:
            self._say_once(logging.WARNING, "cannot store the state of the cluster", error)
        except Exception as error:  # noqa: BLE001 -- watching is an extra: it ends nothing
            self._say_once(logging.WARNING, "cannot watch the cluster", error)
            logger.debug("watching failed", exc_info=True)

    def _say_once(self, level: int, event: str, reason: object, **fields: object) -> None:
        key = (event, str(reason), *map(str, fields.values()))
        if key not in self._said:
            self._said.add(key)
            log_event(level, event, **fields, reason=reason)

    def look_once(self) -> None:
        """Ask for everything once and store it, in this thread; trouble with it is no error.

        This is for a process that starts every minute: consecutive runs of equal values become one
        when they are read, even if several processes stored them.
        """
        self._guarded(self.look)
        if not self._running():
            self._guarded(self._last_look)
        for table in CLUSTER_TABLES:
            self._guarded(lambda table=table: self._tables.compact(table, self._source_uri))  # type: ignore[misc]

    def look(self) -> None:
        """Ask once for everything that is due, and store what is new."""
        running = set(self._running())
        if not running:
            return
        self._ask_for_lists(running)
        if self._looks % _SLOW_EVERY == 0:
            for client in self._clients:
                self._ask(client, "gauges", client.gauges)
        self._looks += 1
        self._write(everything=self._looks % _EVERYTHING_EVERY == 0)
        self._compact()

    def _ask_for_lists(self, running: Collection[str]) -> None:
        for client in [self._lists] if self._lists else self._clients:
            if self._ask(client, "tasks", client.tasks):
                self._lists = client
                break
        else:
            return
        client = self._lists
        self._ask(client, "builds", client.builds)
        self._ask(client, "compactions", client.compactions)
        for collection_id in self._collections(running):
            self._ask(client, "segments", lambda id_=collection_id: client.segments(id_))  # type: ignore[misc]
        if self._looks % _SLOW_EVERY == 0:
            self._ask(client, "nodes", client.nodes)
        if self._looks % _SETTINGS_EVERY == 0:
            self._ask(client, "settings", client.settings)

    def _collections(self, running: Collection[str]) -> list[str]:
        found = {
            str(task["collection_id"])
            for task in self._runs["tasks"].last()
            if task["job_id"] in running and task["collection_id"] is not None
        }
        return sorted(found)[:_MOST_COLLECTIONS]

    def _ask(
        self, client: ManagementClient, table: ClusterTable, question: Callable[[], Reading]
    ) -> bool:
        """Ask and keep the answer; returns whether there was one."""
        key = f"{client.uri} {table}"
        if self._stop.is_set() or time.monotonic() < self._next.get(key, 0.0):
            return False
        reading = question()
        if not reading.answered:
            self._put_off(key, reading)
            return False
        self._pauses.pop(key, None)
        self._keep(table, client, reading)
        return True

    def _keep(self, table: ClusterTable, client: ManagementClient, reading: Reading) -> None:
        if reading.unknown:
            self._say_once(
                logging.INFO,
                "unknown fields, which are kept; please report them with your release",
                ",".join(reading.unknown),
                table=table,
            )
        rows = reading.rows
        if table == "gauges":
            rows = [{**row, "process": client.uri} for row in rows]
        self._runs[table].add(rows, datetime.now(UTC))

    def _put_off(self, key: str, reading: Reading) -> None:
        """Ask later, each time later; log each kind of reason only once."""
        pause_s = min(_LONGEST_PAUSE_S, 2 * self._pauses.get(key, self._every_s / 2))
        self._pauses[key] = pause_s
        self._next[key] = time.monotonic() + pause_s
        said = ("port", key.partition(" ")[0], reading.outcome)
        if said not in self._said:
            self._said.add(said)
            level = logging.INFO if reading.outcome is Outcome.NOT_OFFERED else logging.WARNING
            log_event(level, "no management port", outcome=reading.outcome, reason=reading.reason)

    def _last_look(self) -> None:
        """Store the metrics again: up to 2.3 a job completes before its indexes are built.

        A port that did not answer is not asked, so that nothing waits for it.
        """
        for client in self._clients:
            if f"{client.uri} gauges" not in self._pauses:
                self._keep("gauges", client, client.gauges())
        self._write(everything=True)

    def _write(self, *, everything: bool) -> None:
        # A store begins with its first snapshot.
        if not self._store.exists():
            return
        for table, runs in self._runs.items():
            # Only the time when one of these was last listed shows that it is no longer listed.
            rows = runs.take(everything=everything, still_listed=table in ("nodes", "segments"))
            self._tables.append(table, self._source_uri, rows)
            runs.written()
            if everything:
                runs.forget(datetime.now(UTC) - _REMEMBERED)

    def _compact(self, *, final: bool = False) -> None:
        if self._looks % _COMPACT_EVERY == 0 or final:
            for table in CLUSTER_TABLES:
                self._tables.compact(table, self._source_uri, final=final)
