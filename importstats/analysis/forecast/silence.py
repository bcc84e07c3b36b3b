"""When a job last moved, and when its silence rules out any estimate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from importstats.analysis.forecast.spells import ENDED, WAITS, WORKS, Spells
from importstats.arrays import Bools, Floats, Ints, floats

# Longer than files wait for a slot while their cluster works, and longer than a commit takes.
_NO_SLOT_S: Final = 300.0
_COMMIT_S: Final = 1800.0
# How often tasks must have gone back since the last one ended.
_GOES_BACK: Final = 3
# A silence of this length, in which an interruption is almost certain, is too unusual.
_BEYOND_HABIT_S: Final = 6 * 3600.0
_ALL_BUT_CERTAIN: Final = 0.9


@dataclass(frozen=True)
class Silence:
    """For each timeline row, when its job last moved, and what trouble its files show.

    Attributes
    ----------
    moved : ndarray of int64
        The row of the last step in progress, rows, phase or any file.
    seconds : ndarray of float64
        The time since then.
    no_slot, goes_back, at_quota : ndarray of bool
        No file was ever handed to a node; tasks go back again and again and none ends; the job or a
        file reports that a quota is reached.
    """

    moved: Ints
    seconds: Floats
    no_slot: Bools
    goes_back: Bools
    at_quota: Bools

    @classmethod
    def from_snapshots(cls, seen: pd.DataFrame, spells: Spells | None, quota: Bools) -> Silence:
        """The silence from a timeline, its files' spells, and :func:`at_quota`."""
        job, now = seen["job"].to_numpy(), floats(seen, "now_s")
        moves = np.append(True, job[1:] != job[:-1])[: len(seen)]
        for name in ("progress_pct", "imported_rows", "total_rows", "place"):
            values = np.nan_to_num(floats(seen, name), nan=-1.0)
            moves[1:] |= values[1:] != values[:-1]
        no_slot, goes_back = np.zeros((2, len(seen)), np.bool_)
        if spells is not None and len(spells) and len(seen):
            line = _Line(job, now)
            moves[line.rows(spells.job, spells.since_s)] = True
            waits = line.count(spells, spells.kind == WAITS, until=True)
            begun = line.count(spells, spells.kind != WAITS)
            no_slot = (waits > 0) & (begun == 0)
            back = line.count(spells, spells.back)
            ended = line.count(spells, spells.kind == ENDED)
            running = line.count(spells, spells.kind == WORKS, until=True)
            last_end = pd.Series(ended).groupby(job).diff().fillna(ended[0]).to_numpy() > 0
            at_end = pd.Series(np.where(last_end, back, np.nan)).groupby(job).ffill().fillna(0.0)
            often = back - at_end.to_numpy() >= _GOES_BACK * np.maximum(running + waits, 1)
            goes_back = often & (running + waits > 0)
        moved = np.maximum.accumulate(np.where(moves, np.arange(len(seen)), 0))
        return cls(moved, now - now[moved], no_slot, goes_back, quota)

    def reasons(
        self, rows: pd.DataFrame, places: Ints, interrupted: Floats, any_history: Bools
    ) -> npt.NDArray[np.object_]:
        """The reason why each row can have no estimate, or None."""
        phase = rows["phase"].astype("str").to_numpy(dtype=object)
        elapsed = floats(rows, "elapsed_s")
        silence = self.seconds[places]
        found: npt.NDArray[Any] = np.full(len(rows), None, dtype=object)
        beyond = (interrupted > _ALL_BUT_CERTAIN) & (silence > _BEYOND_HABIT_S)
        importing = phase == "Importing"
        # A file has at most 16 GB, which takes minutes, or an hour at worst.
        beyond |= importing & (silence > _BEYOND_HABIT_S)
        found[beyond] = "has stood still for longer than jobs do"
        found[importing & self.no_slot[places] & (elapsed > _NO_SLOT_S)] = (
            "no file has been given a slot yet"
        )
        found[importing & self.goes_back[places]] = (
            "tasks go back again and again, and none of them ends"
        )
        found[(phase == "Committing") & (elapsed > _COMMIT_S)] = (
            "Committing takes far longer than a commit does"
        )
        found[(phase == "Pending") & ~any_history] = "pending: no history"
        # The server sends neither bytes nor files before Importing.
        unmoved = (phase == "PreImporting") & ~(floats(rows, "reached") > 0)
        found[unmoved & ~any_history] = "nothing has moved yet: no history"
        found[self.at_quota[places]] = "a quota is reached: the job cannot end before it is lifted"
        return found


class _Line:
    """The snapshots of all jobs on one time axis, job after job."""

    def __init__(self, job: Ints, now: Floats) -> None:
        self.job, self.origin = job, now.min()
        self.span = float(now.max() - self.origin) + 1e6
        self.place = job * self.span + (now - self.origin)

    def places(self, job: Ints, time: Floats) -> Floats:
        """The places of these jobs' times on the axis."""
        inside = np.clip(np.nan_to_num(time - self.origin, posinf=self.span), 0, self.span - 1)
        return np.asarray(job * self.span + inside, np.float64)

    def rows(self, job: Ints, time: Floats) -> Ints:
        """The row of each job's snapshot at a time, or the first row after it."""
        found = np.searchsorted(self.place, self.places(job, time) - 1e-3)
        return np.minimum(found, len(self.place) - 1)

    def count(self, spells: Spells, chosen: Bools, *, until: bool = False) -> Floats:
        """The number of these spells that each row's job has had, or with `until` still has."""
        job = spells.job[chosen]
        begun = np.sort(self.places(job, spells.since_s[chosen]))
        base = np.searchsorted(begun, self.job * self.span)
        count = np.searchsorted(begun, self.place + 1e-3) - base
        if until:
            over = np.sort(self.places(job, spells.until_s[chosen]))
            count = count - (
                np.searchsorted(over, self.place + 1e-3)
                - np.searchsorted(over, self.job * self.span)
            )
        return np.asarray(count, np.float64)
