"""Widget: a job in a notebook cell, which stays up to date after the cell has returned."""

from __future__ import annotations

import logging
import threading
import time
from datetime import UTC, datetime, tzinfo
from typing import Any, Final

from importstats.collect.collector import Collector
from importstats.errors import ImportStatsError, MissingExtraError
from importstats.names import END_PHASES
from importstats.show.assets import widget_module
from importstats.show.first_screen import (
    first_line,
    looks_of,
    phase_strip,
    second_line,
    state_looks,
)
from importstats.show.job import ImportJob
from importstats.show.page_data import file_columns, packed, script_data
from importstats.store import SnapshotStore
from importstats.text import excerpt, printable

try:
    import anywidget
    import traitlets
except ImportError as error:
    raise MissingExtraError("a live view in a notebook", error.name, "widget") from error

logger = logging.getLogger(__name__)

# The share of the kernel's time that views may take: one that takes 1 s is made every 10 s.
_SHARE: Final = 0.1
# How often to look for the first snapshot and for the collector's end.
_FIRST_S: Final = 0.5


class LiveJob(anywidget.AnyWidget):
    """A running job in a notebook; see :func:`importstats.live`.

    Attributes
    ----------
    running : bool
        Whether the view is kept up to date: until the job ends, you call :meth:`stop`, or an error
        occurs that no retry can fix.
    problem : str
        Why nothing new comes; empty if all is well.
    selected : str
        The name of the file that was clicked last; empty if none is selected. You can set it.
    """

    _esm = widget_module()
    page = traitlets.Bytes().tag(sync=True)
    problem = traitlets.Unicode().tag(sync=True)
    running = traitlets.Bool(True).tag(sync=True)
    selected = traitlets.Unicode().tag(sync=True)

    def __init__(
        self,
        store: SnapshotStore,
        job_id: str,
        *,
        source_uri: str | None,
        collector: Collector | None,
        refresh_s: float,
        zone: tzinfo | None,
    ) -> None:
        super().__init__()
        self._store, self._job_id, self._source_uri = store, job_id, source_uri
        self._collector, self._refresh_s, self._zone = collector, refresh_s, zone
        self._fatal = ""
        self._closing = threading.Event()
        self._collecting = threading.Thread(
            target=self._collect, daemon=True, name="importstats-collector"
        )
        self._showing = threading.Thread(target=self._follow, daemon=True, name="importstats-live")
        if collector is not None:
            self._collecting.start()
        self._showing.start()

    @property
    def job(self) -> ImportJob:
        """The job as the store has it now.

        Raises
        ------
        ValueError
            The store has no snapshot of it yet.
        """
        return ImportJob.load(
            self._store,
            self._job_id,
            source_uri=self._source_uri,
            at=datetime.now(UTC),
            zone=self._zone,
        )

    def stop(self) -> None:
        """Stop polling the server; what is stored and shown stays."""
        if self._collector is not None:
            self._collector.stop()
        self._closing.set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the view has ended, as a script needs to; returns whether it has."""
        self._showing.join(timeout_s)
        return not self._showing.is_alive()

    def close(self) -> None:
        """Stop, and remove the view."""
        self.stop()
        super().close()

    def __repr__(self) -> str:
        state = "running" if self.running else "stopped"
        return f"<LiveJob {printable(self._job_id, 60)}: {state}>"

    def _collect(self) -> None:
        assert self._collector is not None  # noqa: S101 -- the thread is started only with one
        try:
            self._collector.run()
        except Exception as error:  # noqa: BLE001 -- shown: nobody looks at a thread
            self._fatal = _error_text(error)

    def _follow(self) -> None:
        try:
            self._show_until_the_end()
        except Exception as error:  # noqa: BLE001 -- shown: nobody looks at a thread
            self.problem = _error_text(error)
        self.stop()
        self.running = False

    def _show_until_the_end(self) -> None:
        ended = False
        while not ended:
            # The thread's own time without waiting for others; the first view also imports modules.
            first, started = not self.page, time.thread_time()
            # Checked before the store is read, so that the last view has everything that was
            # stored.
            over = self._closing.is_set() or self._collector_is_done()
            ended = self._show() or over
            if not ended:
                work_s = 0.0 if first else time.thread_time() - started
                pause = max(self._refresh_s, work_s / _SHARE)
                self._rest(pause if self.page else min(pause, _FIRST_S))

    def _collector_is_done(self) -> bool:
        return self._collector is not None and not self._collecting.is_alive()

    def _rest(self, pause_s: float) -> None:
        """Wait, but only while the collector works."""
        end = time.monotonic() + pause_s
        while (left := end - time.monotonic()) > 0:
            if self._closing.wait(min(left, _FIRST_S)) or self._collector_is_done():
                return

    def _show(self) -> bool:
        """Send the job as it is now; returns whether it has ended."""
        try:
            job = self.job if self._store.exists() else None
        except ValueError:  # No snapshot yet.
            job = None
        except ImportStatsError as error:
            self.problem = str(error)
            return False
        if job is not None:
            self.page = packed(view_data(job, self._zone, self._refresh_s))
        self.problem = self._why_nothing_comes()
        return job is not None and job.phase in END_PHASES

    def _why_nothing_comes(self) -> str:
        if self._collector is None or self._fatal:
            return self._fatal
        polled = self._collector.jobs.get(self._job_id)
        if polled is None or polled.error is None:
            return ""
        return f"no answer ({polled.failures} in a row): {printable(str(polled.error), 400)}"


def _error_text(error: Exception) -> str:
    if isinstance(error, ImportStatsError):
        return printable(str(error), 600)
    logger.error("a live view failed", exc_info=error)
    return f"the view failed ({type(error).__name__}: {excerpt(str(error))}); please report it"


def view_data(job: ImportJob, zone: tzinfo | None, refresh_s: float) -> dict[str, Any]:
    """What the widget draws: a page's data and the texts of its first screen."""
    shown_zone = zone or job.at.astimezone().tzinfo or UTC
    data = script_data(job, file_columns(job), shown_zone)
    name = f"Import job {printable(job.job_id, 80)}"
    if job.collection_name:
        name += f" into {printable(job.collection_name, 80)}"
    return {
        **data,
        "refresh_s": refresh_s,
        "first": {
            "name": f"{name} on {printable(job.source_uri, 80)}",
            "line": first_line(job),
            "cause": job.cause,
            "sub": second_line(job, shown_zone),
            "strip": phase_strip(job),
            "looks": [{**look, "text": printable(look["text"], 1200)} for look in looks_of(job)],
            "states": state_looks(data),
        },
    }
