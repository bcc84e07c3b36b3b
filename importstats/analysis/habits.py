"""Habits: how long a collection's completed jobs stood still in each phase."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from importstats.analysis.phase import job_codes, with_phase, without_gaps
from importstats.arrays import US_PER_S, Bools, Floats, floats, microseconds
from importstats.names import JOB_KEY

_MOVES: Final = ("progress_pct", "imported_rows", "total_rows")

#: Phases after the last row, in which a server does one segment after the other.
AFTER_ROWS: Final = ("Sorting", "SortingOrIndexing", "IndexBuilding")
#: A standstill is unusual if it is this many times longer than the job's own longest.
TIMES_LONGEST: Final = 1.5


@dataclass(frozen=True)
class _Times:
    """How many times the earlier jobs' standstills a standstill must last to be unusual.

    The factors apply to the only earlier one; to the longer and the shorter of two; or to the
    longest and the median of several. A pause of one job does not change the median.
    """

    one: float
    longer: float
    shorter: float
    longest: float
    median: float


# Ours, chosen on ``benchmarks/worlds``. Segments have the same size, files do not.
_OF_FILES: Final = _Times(one=3.0, longer=2.5, shorter=math.inf, longest=2.0, median=2.5)
_OF_SEGMENTS: Final = _Times(one=2.25, longer=2.0, shorter=4.0, longest=1.75, median=2.25)
_RECENT_JOBS: Final = 6
# If a job has this many standstills, one that is this many times as long as the next is cut to it.
_TIMES_NEXT: Final = 3.0
_SEVERAL_STANDSTILLS: Final = 3
# A larger job stands still longer, in proportion to its rows, up to this factor. A smaller one
# stands still less, down to this share, if progress moved so often after the last row that each
# point of it is many segments. A single segment takes as long in a small job as in a large (ours).
_MOST_LARGER: Final = 4.0
_LEAST_SMALLER: Final = 0.5
_MANY_STANDSTILLS: Final = 7

_COLUMNS: Final = [*JOB_KEY, "collection_name", "phase", "ended_at", "longest_s", "count", "rows"]


@dataclass(frozen=True)
class Habits:
    """The :func:`standstills` of earlier jobs."""

    earlier: pd.DataFrame

    @classmethod
    def from_frames(cls, frames: list[pd.DataFrame]) -> Habits:
        """The habits in jobs frames, of which only completed jobs count."""
        found = [table for table in map(standstills, frames) if len(table)]
        if not found:
            return cls(pd.DataFrame(columns=_COLUMNS))
        both = pd.concat(found, ignore_index=True)
        return cls(both.drop_duplicates([*JOB_KEY, "phase"], ignore_index=True))

    def longest_s(
        self, key: tuple[str, str], collection: str | None, phase: str, rows: float = math.nan
    ) -> Floats:
        """The longest standstills of the latest matching jobs in a phase, the latest last.

        A matching job is another job of the same server and collection. If a job has fewer rows
        than `rows`, its standstill is lengthened in proportion, as far as the rows are known. If it
        has more, its standstill is shortened if progress moved often after the last row.
        """
        known = self.earlier
        mine = known[
            known["source_uri"].eq(key[0])
            & known["job_id"].ne(key[1])
            & known["phase"].eq(phase)
            & known["collection_name"].eq(str(collection))
        ].sort_values("ended_at")
        longest = mine["longest_s"].to_numpy(np.float64)
        often = mine["count"].to_numpy() >= _MANY_STANDSTILLS
        least = np.where(often & (phase in AFTER_ROWS), _LEAST_SMALLER, 1.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            larger = np.clip(rows / mine["rows"].to_numpy(np.float64), least, _MOST_LARGER)
        return (longest * np.where(np.isnan(larger), 1.0, larger))[-_RECENT_JOBS:]


def limit_of(longest_s: Floats, phase: str) -> float:
    """The limit beyond which a standstill is unusual, from earlier jobs; NaN without any.

    Examples
    --------
    >>> one, two = np.array([60.0]), np.array([60.0, 300.0])
    >>> limit_of(one, "Importing"), limit_of(two, "Importing")
    (180.0, 750.0)
    >>> limit_of(one, "IndexBuilding"), limit_of(two, "IndexBuilding")
    (135.0, 240.0)
    >>> several = np.array([200.0, 300.0, 290.0])
    >>> limit_of(several, "Importing"), limit_of(several, "IndexBuilding")
    (600.0, 525.0)
    """
    if not len(longest_s):
        return math.nan
    times = _OF_SEGMENTS if phase in AFTER_ROWS else _OF_FILES
    if len(longest_s) == 1:
        return float(times.one * longest_s[0])
    if len(longest_s) == 2:
        return float(min(times.longer * longest_s.max(), times.shorter * longest_s.min()))
    return float(min(times.longest * longest_s.max(), times.median * np.median(longest_s)))


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
            The longest time in which nothing moved, including the beginning and the end of the
            phase. In phases after the last row, one that is far longer than the job's others is
            cut.
        ``count`` : int64
            How many standstills it had in the phase.
        ``rows`` : float64
            The most rows that the job reported; NaN if it reported none.
    """
    seen = without_gaps(history)
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
    gap = np.diff(at, append=0) / US_PER_S
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
    found = _longest_habits(table)
    last = pd.Series(phased["observed_at"].to_numpy(), index=job).groupby(level=0).max()
    completed = table.loc[table["phase"].eq("Completed"), "job"].unique()
    rows = pd.Series(floats(phased, "total_rows"), index=job)
    rows = rows.where(rows > 0).groupby(level=0).max()
    found = found.assign(
        ended_at=last.reindex(found["job"]).to_numpy(), rows=rows.reindex(found["job"]).to_numpy()
    )
    return found.loc[found["job"].isin(completed) & found["longest_s"].notna(), _COLUMNS]


def _longest_habits(table: pd.DataFrame) -> pd.DataFrame:
    """The longest standstill per job and phase, cut if it can only be a pause.

    Segments have the same size, so if the longest standstill lasts many times as long as the next,
    it is taken to be a pause. Otherwise a job that was paused would hide the next job's pause.
    """
    by = [*JOB_KEY, "collection_name", "phase", "job"]
    longest_first = table.sort_values("longest_s", ascending=False, kind="stable")
    place = longest_first.groupby(by).cumcount()
    found = longest_first[place.eq(0)].set_index(by)["longest_s"]
    next_s = longest_first[place.eq(1)].set_index(by)["longest_s"].reindex(found.index)
    count = table.groupby(by)["longest_s"].count().reindex(found.index)
    even = found.index.get_level_values("phase").isin(AFTER_ROWS)
    cut_s = (_TIMES_NEXT * next_s).where(even & (count >= _SEVERAL_STANDSTILLS))
    longest_s = found.where(~(found > cut_s), cut_s)
    return pd.DataFrame({"longest_s": longest_s, "count": count}).reset_index()


def moved_since(snapshots: pd.DataFrame) -> Bools:
    """Whether something changed since the previous snapshot."""
    moved = np.zeros(len(snapshots), np.bool_)
    for name in _MOVES:
        values = np.nan_to_num(floats(snapshots, name), nan=-1.0)
        moved[1:] |= values[1:] != values[:-1]
    return moved
