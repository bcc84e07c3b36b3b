"""The command ``wait``, for pipelines: it ends when all jobs have reached a goal."""

from __future__ import annotations

import contextlib
import re
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

import pandas as pd
from cyclopts import Parameter

from importstats.cli.collecting import OnEvent
from importstats.cli.expecting import (
    NOTHING,
    Expectation,
    Expected,
    check_lines,
    is_as_expected,
    rows_of_files,
    stored_check,
)
from importstats.cli.logs import log_to_stderr
from importstats.cli.options import (
    DEFAULT_STORE,
    PATIENT,
    Job,
    LoadFile,
    MaxInterval,
    MinInterval,
    Output,
    PatientConnection,
    Quiet,
    Store,
    Verbose,
    check_job_ids,
    chosen_store,
    poll_policy,
    print_tables,
)
from importstats.cli.outcomes import (
    EXIT_JOB_FAILED,
    EXIT_ROWS_DIFFER,
    EXIT_TIMED_OUT,
    exit_code_of_jobs,
    stopped_by_signals,
)
from importstats.collect.collector import CollectedJob, Collector
from importstats.collect.notifier import Notifier
from importstats.errors import UsageError
from importstats.store import SnapshotStore
from importstats.store.groups import GroupJob, read_group
from importstats.text import format_percent, format_time, printable

Goal = Literal["completed", "importing", "committable"]

#: The states, as servers send them, in which a job has reached each goal.
_REACHED: Final[Mapping[Goal, frozenset[str]]] = {
    "completed": frozenset({"Completed"}),
    "committable": frozenset({"Uncommitted", "Committing", "Completed"}),
    "importing": frozenset({"Importing", "Uncommitted", "Committing", "Completed"}),
}
_UNITS: Final = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}


def seconds_of(printed: str) -> float:
    """A duration in seconds: ``2h``, ``1h30m``, ``90s``, or a plain number of seconds.

    Raises
    ------
    UsageError
        It is not a duration, or not positive.

    Examples
    --------
    >>> seconds_of("1h30m"), seconds_of("45"), seconds_of("2d")
    (5400.0, 45.0, 172800.0)
    """
    text = printed.strip().lower()
    parts = re.findall(r"(\d+(?:\.\d+)?)([dhms])", text)
    if "".join(number + unit for number, unit in parts) == text and parts:
        seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    elif re.fullmatch(r"\d+(\.\d+)?", text):
        seconds = float(text)
    else:
        seconds = 0.0
    if seconds <= 0:
        raise UsageError(f"{printable(printed)} is not a time to wait; write 2h, 90s or 1h30m")
    return seconds


def wait(
    *jobs: Job,
    file: LoadFile = None,
    goal: Annotated[
        Goal,
        Parameter(
            name="--for",
            help="Wait until all jobs have completed, are at work, or wait only for a commit. "
            "A job that is further along counts.",
        ),
    ] = "completed",
    timeout: Annotated[
        str | None, Parameter(help="Give up after this time: 2h, 90s, 1h30m. Default: never.")
    ] = None,
    expectation: Expectation = NOTHING,
    store: Store = DEFAULT_STORE,
    min_interval: MinInterval = 1.0,
    max_interval: MaxInterval = 20.0,
    on_event: OnEvent = (),
    quiet: Quiet = False,
    verbose: Verbose = False,
    output: Output = "table",
    connection: PatientConnection = PATIENT,
) -> int:
    """Wait until jobs completed, are at work, or can be committed; collect them meanwhile."""
    manifest = [] if file is None else read_group(file).jobs
    jobs = tuple(dict.fromkeys([*jobs, *(job.job_id for job in manifest)]))
    if not jobs:
        raise UsageError("name one or more jobs to wait for")
    check_job_ids(jobs)
    limit_s = None if timeout is None else seconds_of(timeout)
    expected = expectation.rows()
    if expected is not None and (len(jobs) > 1 or goal == "importing"):
        raise UsageError(
            "--expect-rows and --manifest check one job that ends: name one, and wait for "
            "completed or committable; for several jobs give the --file of `submit --save`"
        )
    log_to_stderr("text", quiet=not verbose, verbose=verbose)
    policy = poll_policy(min_interval, max_interval)
    own, settings = connection.one_server()
    opened = SnapshotStore(chosen_store(store, settings))
    said = sys.stdout if output == "table" else sys.stderr
    waiting = _Waiting(set(jobs), goal, None if quiet else said)
    with contextlib.ExitStack() as running:
        source = running.enter_context(contextlib.closing(own.opened()))
        if on_event:
            notifier = Notifier(opened, source.uri, on_event, expected=expected)
            waiting.notifier = running.enter_context(notifier)
        collector = Collector(source, opened, jobs=jobs, policy=policy, on_saved=waiting.note_saved)
        waiting.collector = collector
        stopping = running.enter_context(stopped_by_signals(collector.stop))
        with waiting.no_longer_than(limit_s):
            collected = collector.run()
    code = _outcome(waiting, collected, stopping.exit_code)
    of_each = _expected_of_each(jobs, expected, manifest if goal != "importing" else ())
    if code == 0:
        code = _checked_rows(waiting, opened, source.uri, of_each)
    if output != "table":
        print_tables(output, "importstats.wait/1", {"jobs": waiting.table(collected, of_each)})
    return code


def _expected_of_each(
    jobs: Sequence[str], expected: Expected | None, manifest: Sequence[GroupJob]
) -> dict[str, Expected]:
    """The expected rows of each job for which some are expected."""
    rows = {job.job_id: rows_of_files(job) for job in manifest}
    known: dict[str, Expected] = {
        job: each for job, each in rows.items() if each is not None and each.notna().any()
    }
    return known if expected is None else {**known, jobs[0]: expected}


def _checked_rows(
    waiting: _Waiting, store: SnapshotStore, source_uri: str, of_each: Mapping[str, Expected]
) -> int:
    """Print whether the rows are as expected; returns the exit code."""
    code = 0
    for job, expected in of_each.items():
        checked = stored_check(store, job, source_uri, expected)
        name = f"job={printable(job)} " if len(of_each) > 1 else ""
        waiting.say(*(name + line for line in check_lines(checked)))
        if not is_as_expected(checked):
            code = EXIT_ROWS_DIFFER
    return code


def _outcome(waiting: _Waiting, collected: Mapping[str, CollectedJob], stopped: int | None) -> int:
    """The exit code: 0 only if all jobs have reached the goal."""
    if not waiting.missing:
        return 0
    if waiting.failed:
        return EXIT_JOB_FAILED
    if stopped is not None:
        return stopped
    if waiting.timed_out:
        waiting.say(
            f"gave up: {len(waiting.missing):,} of {len(collected):,} jobs "
            "have not reached the goal"
        )
        return EXIT_TIMED_OUT
    for job in collected.values():
        if job.error is not None:
            line = f"importstats: error: job {printable(job.job_id)}: {job.error}"
            print(line, file=sys.stderr)
    return exit_code_of_jobs(collected.values()) or EXIT_JOB_FAILED


@dataclass
class _Waiting:
    """The jobs that have not reached the goal; ends the collector once the outcome is clear."""

    missing: set[str]
    goal: Goal
    #: A file for the lines about jobs, or ``None`` for no lines.
    said: Any
    #: Jobs that can never reach the goal.
    failed: list[str] = field(default_factory=list)
    timed_out: bool = False
    collector: Collector | None = None
    notifier: Notifier | None = None
    _states: dict[str, str | None] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note_saved(self, job: CollectedJob) -> None:
        """Note a snapshot; the collector's threads call this."""
        if self.notifier is not None:
            self.notifier.notice(job)
        with self._lock:
            if self._states.get(job.job_id, "") != job.state:
                self._states[job.job_id] = job.state
                self.say(_state_line(job))
            if job.state in _REACHED[self.goal]:
                self.missing.discard(job.job_id)
            elif job.state == "Failed":
                self.failed.append(job.job_id)
            if self.collector is not None and (self.failed or not self.missing):
                self.collector.stop()

    def say(self, *lines: str) -> None:
        """Print lines, unless the user asked for quiet."""
        if self.said is not None:
            print(*lines, sep="\n", file=self.said, flush=True)

    @contextlib.contextmanager
    def no_longer_than(self, limit_s: float | None) -> Iterator[None]:
        """A context in which the collector is ended after some seconds, if there is a limit."""
        if limit_s is None:
            yield
            return
        timer = threading.Timer(limit_s, self._give_up)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _give_up(self) -> None:
        self.timed_out = True
        if self.collector is not None:
            self.collector.stop()

    def table(
        self, collected: Mapping[str, CollectedJob], expected: Mapping[str, Expected]
    ) -> pd.DataFrame:
        """One row per job: how it ended."""
        rows = [
            {
                "job_id": job.job_id,
                "state": job.state,
                "reached": job.job_id not in self.missing,
                "reason": job.reason or (None if job.error is None else str(job.error)),
                "expected_rows": _expected_rows(expected.get(job.job_id)),
            }
            for job in collected.values()
        ]
        columns = ["job_id", "state", "reached", "reason", "expected_rows"]
        return pd.DataFrame(rows, columns=columns)


def _expected_rows(expected: Expected | None) -> int | None:
    if expected is None or isinstance(expected, int):
        return expected
    total = expected.sum(skipna=False)
    return None if pd.isna(total) else int(total)


def _state_line(job: CollectedJob) -> str:
    at = format_time(datetime.now(UTC))
    line = f"{at} job={printable(job.job_id)} state={printable(job.state or 'none')}"
    latest = job.latest.response if job.latest is not None else None
    if latest is not None and latest.data.progress is not None:
        line += f" progress={format_percent(latest.data.progress).replace(' ', '')}"
    return line if job.reason is None else f"{line} reason={printable(job.reason, 300)}"
