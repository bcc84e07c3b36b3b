"""How often a job is polled."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PollPolicy:
    """How often a job is polled.

    The pause halves after an answer with something new and grows by half after another one, between
    ``min_s`` and a limit. The limit is ``max_s``, or a quarter of it if the job waits in a queue or
    if its rows are being imported (ours, because a rate needs dense samples, while a job that waits
    for its index can be silent for an hour).

    Attributes
    ----------
    min_s, max_s : float
        Shortest and longest pause, in seconds.
    jitter : float
        Each pause is stretched or shortened at random by up to this share, so that many jobs, or
        many collectors, do not ask in step.
    """

    min_s: float = 2.0
    max_s: float = 60.0
    jitter: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.min_s <= self.max_s:
            raise ValueError(f"0 < min_s <= max_s does not hold: {self.min_s=}, {self.max_s=}")

    def pause_s(self, previous_s: float, *, changed: bool, state: str | None, rows: bool) -> float:
        """The pause after an answer, in seconds and without jitter.

        `changed` is whether the answer differs from the one before, and `rows` whether rows are
        still being imported.

        Examples
        --------
        >>> policy = PollPolicy(min_s=2.0, max_s=60.0)
        >>> policy.pause_s(10, changed=True, state="Importing", rows=True)
        5.0
        >>> policy.pause_s(50, changed=False, state="Importing", rows=False)
        60.0
        >>> policy.pause_s(50, changed=False, state="Importing", rows=True)
        15.0
        """
        limit = self.max_s / 4 if rows or state == "Pending" else self.max_s
        pause = previous_s / 2 if changed else previous_s * 1.5
        return max(self.min_s, min(pause, limit))
