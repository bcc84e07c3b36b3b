"""Ended, running and waiting work in Importing, in units: the files of one server's task.

The server does not send which files form a task. Files that were handed over together and moved
together are taken to be one *unit*, or several of the usual size if there are too many of them;
files of which nothing is known yet are grouped like the others. Tasks are filled up to one size, so
the usual size is that of the smaller groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from importstats.analysis.forecast.spells import ENDED, WAITS, WORKS, Spells
from importstats.arrays import Floats, Ints

#: The fixed cost of a task in bytes: opening, flushing, being asked about.
OVERHEAD_BYTES: Final = 8e6
#: A task's time grows with this power of its bytes.
POWER: Final = 0.8

# The usual size of a task before any was seen to end or to move.
_USUAL_BYTES: Final = 3e9
# The quantile of the groups' sizes that is a unit.
_LOW: Final = 0.25
# Units that were handed over together and have shown nothing are put into this many groups.
_MOST_GROUPS: Final = 12


def log_work(size: Floats) -> Floats:
    """The logarithm of the work in a task of this size; its time is proportional to the work."""
    return np.asarray(POWER * np.log(size + OVERHEAD_BYTES), np.float64)


@dataclass(frozen=True)
class Ended:
    """Groups of one job's files that ended together, ordered by when that was known.

    Attributes
    ----------
    files : ndarray of int64
    size : ndarray of float64
        The bytes of each group.
    by_s, least_s, most_s : ndarray of float64
        When the end was known; `least_s` and `most_s` bound how long it took, NaN if the start was
        not seen.
    typical : ndarray of float64
        The bytes of a usual unit as known then, see :func:`typical_bytes`.
    """

    files: Ints
    size: Floats
    by_s: Floats
    least_s: Floats
    most_s: Floats
    typical: Floats

    @classmethod
    def from_spells(cls, spells: Spells) -> Ended:
        """The groups of files that ended together, from one job's spells."""
        done = spells.take(spells.kind == ENDED)
        key = np.column_stack([done.since_s, done.handed_by_s, np.nan_to_num(done.after_s)])
        unique, first, code = np.unique(key, axis=0, return_index=True, return_inverse=True)
        code = code.reshape(-1)
        files = np.asarray(np.bincount(code, minlength=len(unique)), np.int64)
        size = np.asarray(np.bincount(code, done.size, len(unique)), np.float64)
        least = done.after_s[first] - done.handed_by_s[first]
        most = done.since_s[first] - done.handed_after_s[first]
        typical = np.ones(len(unique))
        # Everything that became known at the same time counts from that time on.
        for stop in np.flatnonzero(np.diff(unique[:, 0], append=np.inf) > 0) + 1:
            start = np.searchsorted(unique[:, 0], unique[stop - 1, 0])
            typical[start:stop] = typical_bytes(size[:stop], files[:stop])
        by = unique[:, 0]
        return cls(files, size, by, np.maximum(least, 0.5), np.maximum(most, 1.0), typical)

    @property
    def units(self) -> Floats:
        """The number of units in each group."""
        units = np.where(self.typical > 1, np.round(self.size / self.typical), self.files)
        return np.maximum(units, 1.0)


def typical_bytes(size: Floats, files: Ints) -> float:
    """The bytes of a usual unit from the groups seen so far; 1 if each file is a unit.

    It is a low quantile, in which each group weighs as much as it has files.
    """
    if not len(size):
        return _USUAL_BYTES
    if files[files == 1].sum() > _LOW * files.sum():
        return 1.0
    order = np.argsort(size)
    reached = np.cumsum(files[order])
    return float(size[order][np.searchsorted(reached, _LOW * reached[-1])])


@dataclass(frozen=True)
class Backlog:
    """The running and waiting units at a snapshot; running ones are grouped by their progress.

    Attributes
    ----------
    age_s, share, step_age_s : ndarray of float64
        Seconds since each group was handed over, the share that is done, and for how long that has
        been so.
    work, count : ndarray of float64
        Log work of a unit of each group, and the group's number of units.
    waiting : ndarray of float64
        Log work of the units that wait.
    typical : float
        The bytes of a usual unit, 1 if each file is one.
    files, size : float
        How many files run, and their bytes.
    """

    age_s: Floats
    share: Floats
    step_age_s: Floats
    work: Floats
    count: Floats
    waiting: Floats
    typical: float
    files: float
    size: float

    @classmethod
    def from_spells(cls, spells: Spells, ended: Ended, known: int, now: float) -> Backlog:
        """The backlog of one job at a time when the first `known` of its ends were known."""
        there = (spells.since_s <= now) & (now < spells.until_s)
        run = spells.take(there & (spells.kind == WORKS))
        middle = (run.handed_after_s + run.handed_by_s) / 2
        handed = np.where(np.isnan(middle), run.handed_by_s, middle)
        step = np.fmax((run.after_s + run.since_s) / 2, handed)
        step = np.where(run.share > 0, step, handed)
        unique, code = np.unique(
            np.column_stack([handed, run.share, step]), axis=0, return_inverse=True
        )
        code = code.reshape(-1)
        files = np.asarray(np.bincount(code, minlength=len(unique)), np.int64)
        size = np.bincount(code, weights=run.size, minlength=len(unique))
        moved = unique[:, 1] > 0
        typical = typical_bytes(
            np.concatenate([ended.size[:known], size[moved]]),
            np.concatenate([ended.files[:known], files[moved]]),
        )
        groups = [
            (*unique[place], *group)
            for place in range(len(unique))
            for group in _groups(run.size[code == place], typical, together=moved[place])
        ]
        table = np.array(groups).reshape(-1, 5)
        wait = spells.size[there & (spells.kind == WAITS)]
        waiting = log_work(_packed(wait, typical)) if len(wait) else wait
        age, step_age = now - table[:, 0], now - table[:, 2]
        columns = (age, table[:, 1], step_age, table[:, 3], table[:, 4], waiting)
        return cls(*columns, typical, float(len(run)), float(run.size.sum()))

    @property
    def units(self) -> float:
        """The number of running units."""
        return float(self.count.sum())

    @property
    def unit_work(self) -> float:
        """Log work of a usual unit."""
        if len(self.work):
            return float(np.average(self.work, weights=self.count))
        if len(self.waiting):
            return float(self.waiting.mean())
        return float(log_work(np.array([max(self.typical, 1e8)]))[0])


def _groups(size: Floats, typical: float, *, together: bool) -> list[tuple[float, float]]:
    """Log work and number of the units formed by files that were handed over together."""
    if together:
        count = max(round(size.sum() / typical), 1) if typical > 1 else len(size)
        return [(float(log_work(size.sum() / count)), float(count))]
    packed = np.sort(log_work(_packed(size, typical)))
    parts = np.array_split(packed, min(len(packed), _MOST_GROUPS))
    return [(float(part.mean()), float(len(part))) for part in parts]


def _packed(size: Floats, typical: float) -> Floats:
    """Sizes of the units that files form: small files are put together up to the usual size."""
    small = size < typical / 1.5
    if not small.any():
        return size
    count = max(int(np.ceil(size[small].sum() / typical)), 1)
    return np.concatenate([size[~small], np.full(count, size[small].sum() / count)])


@dataclass(frozen=True)
class Load:
    """The files at work at once while others waited, and their bytes, at each snapshot of a job.

    They are slow means, so that the gaps between a slot's tasks count too. If none has waited yet,
    they are the most so far.
    """

    files: Floats
    size: Floats

    @classmethod
    def from_spells(cls, spells: Spells, now: Floats) -> Load:
        """The load of one job at its snapshots, ascending."""
        ones = np.ones(len(spells))
        running = _weight_at_work(spells, WORKS, ones, now)
        size = _weight_at_work(spells, WORKS, spells.size, now)
        waits = _weight_at_work(spells, WAITS, ones, now) > 0.5
        found = np.zeros((len(now), 2))
        level, most = np.zeros(2), np.zeros(2)
        for place, at_work in enumerate(np.column_stack([running, size])):
            if waits[place] and at_work[0] > 0.5:
                level = at_work if level[0] == 0 else level + _SLOWNESS * (at_work - level)
            most = np.maximum(most, at_work)
            found[place] = level if level[0] > 0 else most
        return cls(found[:, 0], found[:, 1])

    def slots(self, place: int, backlog: Backlog) -> float:
        """The number of units that run at once, at a snapshot."""
        if backlog.typical <= 1:
            return max(float(self.files[place]), 1.0)
        return max(float(self.size[place]) / backlog.typical, 1.0)


def _weight_at_work(spells: Spells, kind: int, weight: Floats, now: Floats) -> Floats:
    """The total weight of one kind of spells that had begun and not ended."""
    of_kind = spells.kind == kind
    total = np.zeros(len(now))
    for times, sign in ((spells.since_s[of_kind], 1.0), (spells.until_s[of_kind], -1.0)):
        order = np.argsort(times, kind="stable")
        summed = np.append(0.0, np.cumsum(weight[of_kind][order]))
        total += sign * summed[np.searchsorted(times[order], now, side="right")]
    return total


_SLOWNESS: Final = 0.25
