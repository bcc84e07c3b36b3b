"""Habits: how long the jobs of a collection have stood still in each phase, and completed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from importstats.analysis.phase import job_codes, with_phase
from importstats.arrays import Bools, Floats, floats, microseconds
from importstats.names import JOB_KEY

_US: Final = 1e6
_MOVES: Final = ("progress_pct", "imported_rows", "total_rows")

# Beyond what a standstill is out of the ordinary: times the longest of several earlier jobs, of the
# median of their longest, and of few.
TIMES_LONGEST: Final = 1.5
_TIMES_MEDIAN: Final = 3.0
_TIMES_OF_FEW: Final = 3.0
_SEVERAL: Final = 3
_RECENT_JOBS: Final = 6

_COLUMNS: Final = [*JOB_KEY, "collection_name", "phase", "ended_at", "longest_s"]


@dataclass(frozen=True)
class Habits:
    """The :func:`standstills` of earlier jobs."""

    earlier: pd.DataFrame

    @classmethod
    def of(cls, frames: list[pd.DataFrame]) -> Habits:
        """From jobs frames, of which only what completed counts."""
        found = [table for table in map(standstills, frames) if len(table)]
        if not found:
            return cls(pd.DataFrame(columns=_COLUMNS))
        both = pd.concat(found, ignore_index=True)
        return cls(both.drop_duplicates([*JOB_KEY, "phase"], ignore_index=True))

    def longest_s(self, key: tuple[str, str], collection: str | None, phase: str) -> Floats:
        """The longest standstill of each of the latest such jobs in a phase, the latest last.

        Such a job is another one of the same server and collection.
        """
        known = self.earlier
        mine = known[
            known["source_uri"].eq(key[0])
            & known["job_id"].ne(key[1])
            & known["phase"].eq(phase)
            & known["collection_name"].eq(str(collection))
        ]
        longest = mine.sort_values("ended_at")["longest_s"]
        return longest.to_numpy(np.float64)[-_RECENT_JOBS:]


def limit_of(longest_s: Floats) -> float:
    """Beyond what a standstill is out of the ordinary, by those of earlier jobs; NaN if none.

    Examples
    --------
    >>> limit_of(np.array([60.0, 300.0])), limit_of(np.array([60.0, 60.0, 300.0]))
    (900.0, 180.0)
    """
    if not len(longest_s):
        return math.nan
    if len(longest_s) < _SEVERAL:
        return float(_TIMES_OF_FEW * longest_s.max())
    return float(min(TIMES_LONGEST * longest_s.max(), _TIMES_MEDIAN * np.median(longest_s)))


def standstills(history: pd.DataFrame) -> pd.DataFrame:
    """The longest standstill of each completed job in each phase.

    Parameters
    ----------
    history : DataFrame
        A jobs frame, see :mod:`importstats.store.frames`.

    Returns
    -------
    DataFrame
        ``source_uri``, ``job_id``, ``collection_name``, ``phase`` : str
        ``ended_at`` : datetime64[us, UTC]
            The job's last snapshot.
        ``longest_s`` : float64
            Longest time in which nothing moved, the beginning and the end of the phase included.
    """
    seen = history[history["observed_at"].notna()]
    if "error" in seen:
        seen = seen[seen["error"].isna()]
    if "collection_name" not in seen or seen.empty:
        return pd.DataFrame(columns=_COLUMNS)
    phased = with_phase(seen).sort_values([*JOB_KEY, "observed_at"], kind="stable")
    job, _ = job_codes(phased)
    phase = phased["phase"].astype("str").to_numpy(dtype=object)
    time, _ = microseconds(phased, "observed_at")
    moved = moved_since(phased)
    moved |= np.diff(job, prepend=-1) != 0
    moved[1:] |= phase[1:] != phase[:-1]
    marks = phased[moved]
    at, of = time[moved], job[moved]
    gap = np.diff(at, append=0) / _US
    gap[np.append(of[1:] != of[:-1], True)] = np.nan
    table = pd.DataFrame(
        {
            **{
                name: marks[name].astype("str").to_numpy() for name in (*JOB_KEY, "collection_name")
            },
            "phase": phase[moved],
            "longest_s": gap,
            "job": of,
        }
    )
    found = table.groupby([*JOB_KEY, "collection_name", "phase", "job"], as_index=False)[
        "longest_s"
    ].max()
    last = pd.Series(phased["observed_at"].to_numpy(), index=job).groupby(level=0).max()
    completed = table.loc[table["phase"].eq("Completed"), "job"].unique()
    found = found.assign(ended_at=last.reindex(found["job"]).to_numpy())
    known: pd.DataFrame = found[found["job"].isin(completed) & found["longest_s"].notna()]
    return known[_COLUMNS]


def moved_since(snapshots: pd.DataFrame) -> Bools:
    """Whether something is other than at the snapshot before."""
    moved = np.zeros(len(snapshots), np.bool_)
    for name in _MOVES:
        values = np.nan_to_num(floats(snapshots, name), nan=-1.0)
        moved[1:] |= values[1:] != values[:-1]
    return moved
