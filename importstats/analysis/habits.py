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

#: A standstill is out of the ordinary from so many times the longest of the job itself on.
TIMES_LONGEST: Final = 1.5
# The same of earlier jobs: of one, of two, of the longest of several and of their median, which a
# pause of one of them does not bend (ours, chosen on ``benchmarks/worlds``).
_TIMES_ONE: Final = 3.0
_TIMES_TWO: Final = 2.5
_TIMES_SEVERAL: Final = 2.0
_TIMES_MEDIAN: Final = 2.5
_RECENT_JOBS: Final = 6
# A larger job stands still for longer, in proportion to its rows up to so many times.
_MOST_LARGER: Final = 4.0

_COLUMNS: Final = [*JOB_KEY, "collection_name", "phase", "ended_at", "longest_s", "rows"]


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

    def longest_s(
        self, key: tuple[str, str], collection: str | None, phase: str, rows: float = math.nan
    ) -> Floats:
        """The longest standstill of each of the latest such jobs in a phase, the latest last.

        Such a job is another one of the same server and collection. That of a job with fewer rows
        than `rows` is made as much longer, as far as the rows are known.
        """
        known = self.earlier
        mine = known[
            known["source_uri"].eq(key[0])
            & known["job_id"].ne(key[1])
            & known["phase"].eq(phase)
            & known["collection_name"].eq(str(collection))
        ].sort_values("ended_at")
        longest = mine["longest_s"].to_numpy(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            larger = np.clip(rows / mine["rows"].to_numpy(np.float64), 1.0, _MOST_LARGER)
        return (longest * np.where(np.isnan(larger), 1.0, larger))[-_RECENT_JOBS:]


def limit_of(longest_s: Floats) -> float:
    """Beyond what a standstill is out of the ordinary, by those of earlier jobs; NaN if none.

    Examples
    --------
    >>> limit_of(np.array([60.0])), limit_of(np.array([60.0, 300.0]))
    (180.0, 750.0)
    >>> limit_of(np.array([200.0, 300.0, 290.0])), limit_of(np.array([60.0, 60.0, 300.0]))
    (600.0, 150.0)
    """
    if not len(longest_s):
        return math.nan
    if len(longest_s) <= 2:
        times = _TIMES_ONE if len(longest_s) == 1 else _TIMES_TWO
        return float(times * longest_s.max())
    return float(min(_TIMES_SEVERAL * longest_s.max(), _TIMES_MEDIAN * np.median(longest_s)))


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
        ``rows`` : float64
            The most rows that the job said it has; NaN if it named none.
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
    rows = pd.Series(floats(phased, "total_rows"), index=job)
    rows = rows.where(rows > 0).groupby(level=0).max()
    found = found.assign(
        ended_at=last.reindex(found["job"]).to_numpy(), rows=rows.reindex(found["job"]).to_numpy()
    )
    known: pd.DataFrame = found[found["job"].isin(completed) & found["longest_s"].notna()]
    return known[_COLUMNS]


def moved_since(snapshots: pd.DataFrame) -> Bools:
    """Whether something is other than at the snapshot before."""
    moved = np.zeros(len(snapshots), np.bool_)
    for name in _MOVES:
        values = np.nan_to_num(floats(snapshots, name), nan=-1.0)
        moved[1:] |= values[1:] != values[:-1]
    return moved
