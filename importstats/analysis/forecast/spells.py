"""The spells of each file: how long it waited, worked at one share, or had ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from importstats.analysis.attempts import Steps
from importstats.analysis.samples import DONE_STATES, FileSamples
from importstats.arrays import (
    US_PER_S,
    Bools,
    Floats,
    Ints,
    count_before,
    ends,
    floats,
    seconds,
    starts,
)
from importstats.names import JOB_KEY

WAITS: Final = 0
WORKS: Final = 1
ENDED: Final = 2


@dataclass(frozen=True)
class Spells:
    """One row per spell of a file, ordered by job, file and time.

    Times are seconds since 1970; NaN means not known, infinity means not yet. A file's state at any
    time is that of the spell that had begun and not ended then.

    Attributes
    ----------
    job : ndarray of int64
        The spell's job, as in the timeline.
    kind : ndarray of int64
        :data:`WAITS`, :data:`WORKS` or :data:`ENDED`.
    size : ndarray of float64
        Bytes, else a kilobyte per row, else a kilobyte.
    share : ndarray of float64
        How much of a file at work is imported, 0 to 1.
    after_s, since_s : ndarray of float64
        The last snapshot before it, or the server's time of the end if that is later, and the first
        snapshot that saw it; `after_s` is NaN if there was none before.
    until_s : ndarray of float64
        The snapshot that saw the next spell.
    handed_after_s, handed_by_s : ndarray of float64
        The snapshots between which a file that is at work or has ended was handed to a node.
    back : ndarray of bool
        Whether the file waits or starts again after it was at work.
    """

    job: Ints
    kind: Ints
    size: Floats
    share: Floats
    after_s: Floats
    since_s: Floats
    until_s: Floats
    handed_after_s: Floats
    handed_by_s: Floats
    back: Bools

    def __len__(self) -> int:
        return len(self.job)

    def take(self, places: Ints | Bools | slice) -> Spells:
        """The spells in these rows, in this order."""
        return Spells(**{name: column[places] for name, column in vars(self).items()})

    def of_job(self, job: int) -> Spells:
        """The spells of one job."""
        return self.take(slice(*np.searchsorted(self.job, [job, job + 1])))

    @classmethod
    def from_details(cls, seen: pd.DataFrame, details: pd.DataFrame) -> Spells:
        """The spells from a timeline and its jobs' details frame, as runs or single snapshots."""
        samples = FileSamples.from_details(details)
        heads = np.flatnonzero(np.diff(samples.key, prepend=-1) != 0)
        # What a server reports about a file after its end is no news.
        chosen = np.flatnonzero(count_before(samples.in_state(*DONE_STATES), heads) == 0)
        steps = Steps.from_samples(samples, chosen, samples.key[chosen])
        over = steps.done | (steps.at_work & (steps.fraction >= 1))
        kind = np.where(over, ENDED, np.where(steps.waits, WAITS, WORKS))
        # Files of a task share its progress; each file's rows are a rounded part of it.
        reported = np.clip(floats(samples.frame, "progress_pct")[samples.row[chosen]] / 100, 0, 1)
        share = np.where(kind == WORKS, np.where(np.isnan(reported), steps.fraction, reported), 0.0)
        opens = steps.first | steps.back
        opens[1:] |= (np.diff(kind) != 0) | (np.diff(share) != 0)
        begin = np.flatnonzero(opens)
        key, kind, share, back = (v[begin] for v in (steps.unit, kind, share, steps.back))
        since = steps.time[begin] / US_PER_S
        first = np.diff(key, prepend=-1) != 0
        job = _timeline_jobs(seen, samples)[samples.job[key]]
        after = _snapshot_before(seen, job, since)
        until = np.where(np.append(first[1:], True)[: len(key)], np.inf, np.append(since[1:], 0.0))
        # A file was handed over if work, or an end without work, follows a wait or an earlier
        # attempt.
        idle = first | back | (np.append(WAITS, kind[:-1])[: len(key)] == WAITS)
        source = np.maximum.accumulate(np.where((kind != WAITS) & idle, np.arange(len(key)), 0))
        handed_after, handed_by = after[source], since[source]
        # The completion time is in whole seconds, and a little after the work is done.
        reported = steps.complete_time[begin]
        inside = (kind == ENDED) & (reported >= after) & (reported <= since)
        after = np.where(inside, np.maximum(after, reported - _WRITTEN_LATE_S), after)
        spells = cls(
            job=job,
            kind=kind.astype(np.int64),
            size=_known_sizes(samples)[key],
            share=share.astype(np.float64),
            after_s=after,
            since_s=since,
            until_s=until,
            handed_after_s=handed_after,
            handed_by_s=handed_by,
            back=back.astype(np.bool_),
        )
        order = np.argsort(job, kind="stable")
        return spells.take(order[job[order] >= 0])


# The coordinator asks every two seconds, and writes its own time then.
_WRITTEN_LATE_S: Final = 5.0


def _timeline_jobs(seen: pd.DataFrame, samples: FileSamples) -> Ints:
    """The timeline's number of each job in the samples, or -1."""
    known = seen.drop_duplicates("job")
    index = pd.MultiIndex.from_frame(known[JOB_KEY].astype("str"))
    found = index.get_indexer(pd.MultiIndex.from_frame(samples.jobs[JOB_KEY].astype("str")))
    return np.where(found >= 0, known["job"].to_numpy()[found], -1).astype(np.int64)


def _snapshot_before(seen: pd.DataFrame, job: Ints, at: Floats) -> Floats:
    """The time of a job's last snapshot before a time; NaN if there is none."""
    now, jobs = seconds(seen), seen["job"].to_numpy()
    if not len(now) or not len(at):
        return np.full(len(at), np.nan)
    origin = now.min()
    span = float(max(now.max(), at.max()) - origin) + 10.0
    place = np.searchsorted(jobs * span + (now - origin), job * span + (at - origin) - 1e-3) - 1
    inside = (place >= 0) & (jobs[np.maximum(place, 0)] == job)
    return np.where(inside, now[np.maximum(place, 0)], np.nan)


def _known_sizes(samples: FileSamples) -> Floats:
    """Each file's bytes, else a kilobyte per row, else a kilobyte."""
    last = samples.row[ends(starts(samples.key), len(samples.key))]
    size = floats(samples.frame, "file_size_bytes")[last]
    rows = floats(samples.frame, "total_rows")[last]
    return np.where(size > 0, size, np.where(rows > 0, rows * 1024.0, 1024.0))
