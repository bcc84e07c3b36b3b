"""Workers: threads for tasks that mostly wait, as many as are needed up to a bound.

Not a ``ThreadPoolExecutor``: Python waits for its threads at exit, so a poll that hangs would hold
up a collector that has to stop.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

Task = Callable[[], None]


class Workers:
    """A pool of daemon threads that grows with its work.

    Parameters
    ----------
    most : int
        How many tasks run at once, at most.
    name : str
        Of the threads.

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
        """How many tasks wait for a thread because all are busy."""
        return max(0, self._unfinished - self.most)

    def start(self, task: Task) -> None:
        """Run a task, now or when a thread is free. It has to keep its exceptions to itself."""
        with self._lock:
            self._unfinished += 1
            is_needed = self._unfinished > self._threads < self.most
            self._threads += is_needed
        if is_needed:
            threading.Thread(target=self._work, daemon=True, name=self._name).start()
        self._tasks.put(task)

    def close(self) -> None:
        """Let the threads end once they have done their tasks."""
        for _ in range(self._threads):
            self._tasks.put(None)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()
            with self._lock:
                self._unfinished -= 1
