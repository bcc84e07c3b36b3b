"""Working ahead on several threads, with results in the items' order, and items in lots."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from typing import TypeVar

_S = TypeVar("_S")
_T = TypeVar("_T")


def map_ahead(work: Callable[[_S], _T], items: Iterable[_S], threads: int) -> Iterator[_T]:
    """The results of some work for each item in order, made on several threads.

    Only a few results are made ahead of the one that is asked for. The thread that asks iterates
    the items, and works on a single item itself.

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


def in_lots(items: Iterable[_S], count_rows: Callable[[_S], int], most: int) -> Iterator[list[_S]]:
    """The items in lists; a list ends with the item that brings its rows to ``most``.

    Examples
    --------
    >>> list(in_lots(["a", "bc", "d"], len, 3))
    [['a', 'bc'], ['d']]
    """
    lot: list[_S] = []
    rows = 0
    for item in items:
        lot.append(item)
        rows += count_rows(item)
        if rows >= most:
            yield lot
            lot, rows = [], 0
    if lot:
        yield lot
