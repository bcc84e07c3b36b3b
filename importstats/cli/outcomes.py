"""Outcomes: exit codes for schedulers and scripts."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from importstats.errors import (
    BadResponseError,
    ImportStatsError,
    JobNotFoundError,
    PrivilegeError,
    ServerError,
    StoreError,
    UnauthorizedError,
    UnreachableError,
    UsageError,
)

if TYPE_CHECKING:
    from importstats.collect.collector import CollectedJob

#: The exit code of each kind of error.
EXIT_CODES: Final[dict[type[ImportStatsError], int]] = {
    UnreachableError: 3,
    UnauthorizedError: 4,
    PrivilegeError: 4,
    JobNotFoundError: 5,
    StoreError: 6,
    BadResponseError: 7,
    ServerError: 7,
    UsageError: 2,
    ImportStatsError: 1,
}
EXIT_OTHER: Final = 1
EXIT_USAGE: Final = 2
EXIT_JOB_FAILED: Final = 8
EXIT_END_MISSED: Final = 9
#: All jobs completed, but with fewer or more rows than expected.
EXIT_ROWS_DIFFER: Final = 10
#: As the command `timeout` exits.
EXIT_TIMED_OUT: Final = 124


def exit_code_of(error: ImportStatsError) -> int:
    """The exit code of an error: the code of its nearest class.

    Examples
    --------
    >>> exit_code_of(UnauthorizedError("the server refused the token"))
    4
    """
    return next(EXIT_CODES[kind] for kind in type(error).__mro__ if kind in EXIT_CODES)


#: Worst first: what needs a person, then what may pass by itself, then how a job ended.
_WORST_FIRST: Final = (EXIT_USAGE, 6, 4, 7, 5, 1, 3, EXIT_JOB_FAILED, EXIT_END_MISSED, 0)


def exit_code_of_jobs(collected: Iterable[CollectedJob]) -> int:
    """The exit code after collecting without an error: the jobs' worst outcome."""
    return worst_code(_exit_code_of_job(job) for job in collected)


def worst_code(codes: Iterable[int]) -> int:
    """The worst of several exit codes: a signal's, or the one that most needs a person.

    Examples
    --------
    >>> worst_code([0, 8, 3]), worst_code([]), worst_code([6, 143])
    (3, 0, 143)
    """
    seen = set(codes)
    stopped = max(seen, default=0)
    if stopped > 128:
        return stopped
    return next((code for code in _WORST_FIRST if code in seen), 0)


def _exit_code_of_job(job: CollectedJob) -> int:
    if job.lost:
        return EXIT_END_MISSED
    if job.error is not None:
        return exit_code_of(job.error)
    return EXIT_JOB_FAILED if job.state == "Failed" else 0


@dataclass
class Stopping:
    """Whether a signal has ended the work; ``None`` if it ended by itself."""

    signal: int | None = None

    @property
    def exit_code(self) -> int | None:
        """130 for Ctrl-C, 143 for SIGTERM, as a shell reports them; ``None`` if not stopped."""
        return None if self.signal is None else 128 + self.signal


@contextlib.contextmanager
def stopped_by_signals(stop: Callable[[], None]) -> Iterator[Stopping]:
    """A context in which SIGTERM or Ctrl-C stops the work gracefully, and a second one at once."""
    stopping = Stopping()

    def handle(signum: int, _frame: object) -> None:
        signal.signal(signum, signal.SIG_DFL)
        stopping.signal = signum
        stop()

    numbers = (signal.SIGTERM, signal.SIGINT)
    previous = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield stopping
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
