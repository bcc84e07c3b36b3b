"""Habits: how long the phases of earlier jobs of a collection took."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from importstats.analysis.phase import phases
from importstats.arrays import floats
from importstats.names import JOB_KEY


@dataclass(frozen=True)
class Habits:
    """The phases of jobs that completed, one row each: what such a job takes as a rule.

    Attributes
    ----------
    spent : DataFrame
        ``source_uri``, ``job_id``, ``collection_name``, ``phase``, ``duration_s``, ``rows`` and
        ``ended_at``.
    """

    spent: pd.DataFrame

    @classmethod
    def of(cls, frames: list[pd.DataFrame]) -> Habits:
        """From jobs frames, of which only what completed counts."""
        done = [found for found in map(_needed, frames) if len(found)]
        if not done:
            return cls(pd.DataFrame(columns=[*JOB_KEY, *_COLUMNS]))
        jobs = pd.concat(done, ignore_index=True)
        runs = phases(jobs).astype(dict.fromkeys([*JOB_KEY, "phase"], "str"))
        ends = runs[runs["phase"].eq("Completed")]
        ended = ends.groupby(JOB_KEY, as_index=False)["start"].min()
        known = jobs.assign(total_rows=floats(jobs, "total_rows")).astype(
            dict.fromkeys([*JOB_KEY, "collection_name"], "str")
        )
        about = known.groupby(JOB_KEY, as_index=False).agg(
            collection_name=("collection_name", "last"), rows=("total_rows", "max")
        )
        spent = runs[runs["duration_s"].notna()].groupby([*JOB_KEY, "phase"], as_index=False)
        table = spent["duration_s"].sum().merge(ended, on=JOB_KEY).merge(about, on=JOB_KEY)
        return cls(table.rename(columns={"start": "ended_at"}))

    def usual_s(
        self,
        key: tuple[str, str],
        collection: str | None,
        phase: str,
        rows: float,
        now: pd.Timestamp,
    ) -> float:
        """The longest that a phase of such a job took before, NaN if there was none.

        Such a job is one of the same server and collection that had completed by then. One with
        fewer rows counts as if it had taken longer by as much.
        """
        spent = self.spent
        if not len(spent) or collection is None:
            return float("nan")
        mine = spent["source_uri"].eq(key[0]) & spent["job_id"].ne(key[1])
        mine &= spent["collection_name"].eq(collection) & spent["phase"].eq(phase)
        earlier = spent[mine & (spent["ended_at"] <= now)]
        if not len(earlier):
            return float("nan")
        with np.errstate(divide="ignore", invalid="ignore"):
            larger = np.fmax(rows / floats(earlier, "rows"), 1.0)
        larger = np.where(np.isfinite(larger), larger, 1.0)
        return float(np.max(floats(earlier, "duration_s") * larger))


_COLUMNS = ["phase", "duration_s", "ended_at", "collection_name", "rows"]
_READ = [
    *JOB_KEY,
    "snapshot_id",
    "observed_at",
    "collection_name",
    "state",
    "progress_pct",
    "imported_rows",
    "total_rows",
    "detail_count",
    "status",
    "extra",
    "reason",
    "error",
    "complete_time",
    "create_time",
    "server_version",
]


def _needed(jobs: pd.DataFrame) -> pd.DataFrame:
    """The answered snapshots of jobs that completed, with the columns that phases are read from."""
    done = jobs[jobs["state"].astype("str").str.lower().eq("completed").fillna(False)]
    if not len(done):
        return pd.DataFrame(columns=_READ)
    key = pd.MultiIndex.from_frame(jobs[JOB_KEY].astype("str"))
    mine = key.isin(pd.MultiIndex.from_frame(done[JOB_KEY].astype("str")))
    found = jobs.loc[mine, [name for name in _READ if name in jobs]]
    if "error" in found:
        found = found[found["error"].isna()]
    return found.assign(collection_name=found.get("collection_name"))
