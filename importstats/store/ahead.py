"""Working ahead: what is done to each of some items, on several threads, in the items' order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from typing import TypeVar

_S = TypeVar("_S")
_T = TypeVar("_T")


def map_ahead(work: Callable[[_S], _T], items: Iterable[_S], threads: int) -> Iterator[_T]:
    """The work on each item in their order, on so many threads.

    Only a few results are made ahead of the one that is asked for, and the items are iterated by
    the thread that asks. A single item is worked on by that thread, without another.

    Examples
    --------
    >>> list(map_ahead(str.upper, ["a", "b", "c"], 2))
    ['A', 'B', 'C']
    """
    rest = iter(items)
    first = list(islice(rest, 2))
    if len(first) < 2 or threads < 2:
        yield from map(work, chain(first, rest))
        return
    with ThreadPoolExecutor(threads) as pool:
        coming: deque[Future[_T]] = deque()
        for item in chain(first, rest):
            coming.append(pool.submit(work, item))
            if len(coming) > threads:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
