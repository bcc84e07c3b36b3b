"""Workers: threads for work that mostly waits, as many as needed up to a bound.

This is not a ``ThreadPoolExecutor`` because Python waits for its threads at exit: a poll that hangs
would delay a collector that must stop.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

Task = Callable[[], None]


class Workers:
    """A pool of daemon threads that grows as needed.

    Parameters
    ----------
    most : int
        How many functions can run at once.
    name : str
        The name of the threads.

    Examples
    --------
    >>> done = queue.SimpleQueue()
    >>> workers = Workers(2, "example")
    >>> for number in range(3):
    ...     workers.start(lambda number=number: done.put(number))
    >>> sorted(done.get() for _ in range(3))
    [0, 1, 2]
    >>> workers.close()
    """

    def __init__(self, most: int, name: str) -> None:
        self.most = most
        self._name = name
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._unfinished = 0

    @property
    def waiting(self) -> int:
        """How many functions wait for a thread because all are busy."""
        return max(0, self._unfinished - self.most)

    def start(self, task: Task) -> None:
        """Run a function, now or when a thread is free. It must not raise."""
        with self._lock:
            self._unfinished += 1
            is_needed = self._unfinished > self._threads < self.most
            self._threads += is_needed
        if is_needed:
            threading.Thread(target=self._work, daemon=True, name=self._name).start()
        self._tasks.put(task)

    def close(self) -> None:
        """Let the threads end once their work is done."""
        for _ in range(self._threads):
            self._tasks.put(None)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()
            with self._lock:
                self._unfinished -= 1
