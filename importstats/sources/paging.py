"""Reads a job list page by page until it is whole, up to a bound."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from importstats.errors import BadResponseError
from importstats.sources.answers import JobPage
from importstats.sources.messages import ImportJobRecord

#: How many jobs to ask for at once.
PAGE_SIZE: Final = 100

#: A server keeps 1024 jobs that have not ended, and those that ended in the last hours.
MOST_JOBS: Final = 100_000


def all_records(
    ask: Callable[[int], JobPage], *, ignores_pages: bool = False
) -> Iterator[ImportJobRecord]:
    """The records of all pages, each job once.

    A server may put fewer jobs on a page than it was asked for, and need not say so; Milvus ignores
    the page number and sends every job each time. So pages are asked for until the server's own
    count is reached, or until a page has no new job.

    Parameters
    ----------
    ask : callable
        Returns the page with a number, from 1 on.
    ignores_pages : bool
        The server is known to send every job each time, unless it names a count.

    Raises
    ------
    BadResponseError
        The list has no end.

    Examples
    --------
    >>> pages = {1: [ImportJobRecord(job_id="a")], 2: [ImportJobRecord(job_id="b")]}
    >>> def ask(number: int) -> JobPage:
    ...     records = pages.get(number, [])
    ...     return JobPage(records, len(records), count=2, page_size=None)
    >>> [record.job_id for record in all_records(ask)]
    ['a', 'b']
    """
    seen: set[str] = set()
    number = 1
    while True:
        page = ask(number)
        new = [record for record in page.records if record.job_id not in seen]
        seen.update(record.job_id for record in new)
        if len(seen) > MOST_JOBS or number > MOST_JOBS:
            raise BadResponseError(
                f"the job list has no end: more than {MOST_JOBS:,} jobs or pages; refused"
            )
        yield from new
        if not page.sent or not new or _is_last(page, len(seen), ignores_pages):
            return
        number += 1


def _is_last(page: JobPage, seen: int, ignores_pages: bool) -> bool:
    if page.sent > PAGE_SIZE:
        return True  # The server sent more than was asked for, so all jobs.
    if page.count is not None:
        # A count that equals a full page may be the page's own.
        is_own = page.count == page.sent and page.sent >= (page.page_size or PAGE_SIZE)
        return seen >= page.count and not is_own
    if page.page_size is not None:
        return page.sent < page.page_size
    return ignores_pages and page.sent != PAGE_SIZE
