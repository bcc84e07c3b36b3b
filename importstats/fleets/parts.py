"""Parts: the analysis of some jobs, with a few rows for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
import pandas as pd

from importstats.analysis.findings import diagnose
from importstats.analysis.forecast.levels import MOST_HISTORY
from importstats.analysis.phase import phases, with_phase
from importstats.analysis.rates import throughput
from importstats.analysis.totals import summary
from importstats.arrays import US_PER_S, Ints, floats, microseconds, timestamps
from importstats.names import JOB_KEY, RETENTION_S
from importstats.store.frames import details_frame, jobs_frame
from importstats.store.schema import DETAILS_SCHEMA, JOBS_SCHEMA

#: A job's status: it runs, its end was not seen, or how it ended.
STATUSES: Final = ("running", "lost", "failed", "completed")
STATUS_DTYPE: Final = pd.CategoricalDtype(list(STATUSES), ordered=True)

JobKey = tuple[str, str]
_T = TypeVar("_T")

#: How many rows the jobs that are analysed together may have; together is cheaper.
ROWS_AT_ONCE: Final = 250_000
DAY_US: Final = 86_400_000_000
HOUR_S: Final = 3600.0
# Fewer, since an ETA also replays the histories of up to 40 jobs.
_ETAS_PER_TASK: Final = 8


@dataclass(frozen=True)
class Part:
    """The analysis of some jobs, as a Dask task returns it."""

    #: As in :class:`Fleet`, as are the findings.
    jobs: pd.DataFrame
    #: The rows of :func:`~importstats.phases` that have a duration.
    phases: pd.DataFrame
    #: The rows and bytes that each job wrote on each day, see :func:`rows_by_day`.
    days: pd.DataFrame
    findings: pd.DataFrame


class EtaBatch(NamedTuple):
    """Running jobs whose ETA one Dask task computes, and the earlier jobs that it learns from."""

    running: list[JobKey]
    earlier: list[JobKey]


def analyse(
    jobs: pd.DataFrame,
    details: pd.DataFrame | None,
    *,
    at: datetime,
    retention_s: float = RETENTION_S,
) -> Part:
    """The part of some jobs, from their whole frames; `at`, `retention_s` as for :func:`fleet`."""
    seen = with_phase(jobs[jobs["error"].isna()])
    seen = seen.sort_values([*JOB_KEY, "observed_at"], kind="stable")
    runs = phases(seen).astype(dict.fromkeys(JOB_KEY, "str"))
    return Part(
        jobs=_described(seen, summary(seen, details), at, retention_s),
        phases=runs.loc[runs["duration_s"].notna(), _RUN_COLUMNS].reset_index(drop=True),
        days=rows_by_day(throughput(seen)),
        findings=diagnose(seen, details, at=at, retention_s=retention_s),
    )


_RUN_COLUMNS: Final = [*JOB_KEY, "phase", "start", "duration_s"]


def _described(
    seen: pd.DataFrame, table: pd.DataFrame, at: datetime, retention_s: float
) -> pd.DataFrame:
    """The summary with the columns that only the fleet needs."""
    texts = seen.astype(dict.fromkeys([*JOB_KEY, "db_name", "reason"], "str"))
    of_job = texts.groupby(JOB_KEY)
    known = of_job.agg(
        db_name=("db_name", "last"),
        reason=("reason", "last"),
        last_observed_at=("observed_at", "max"),
    )
    completed = texts[texts["phase"].eq("Completed")].groupby(JOB_KEY)["observed_at"].min()
    table = table.merge(known.reset_index(), on=JOB_KEY, how="left", validate="1:1")
    table = table.merge(
        completed.rename("completed_seen_at").reset_index(), on=JOB_KEY, how="left", validate="1:1"
    )
    unseen_s = (pd.Timestamp(at) - table["last_observed_at"]).dt.total_seconds()
    phase = table["phase"].astype("str")
    status = np.select(
        [phase.eq("Completed"), phase.eq("Failed"), unseen_s >= retention_s],
        ["completed", "failed", "lost"],
        "running",
    )
    table = table.astype({"state": "str"})
    return table.assign(status=pd.Categorical(status, dtype=STATUS_DTYPE))


def rows_by_day(rates: pd.DataFrame) -> pd.DataFrame:
    """The rows and bytes that each job wrote on each day (UTC), from its throughput.

    An interval that spans a midnight counts for each day by its time (assuming that rows come
    evenly, as in throughput by collection).

    Examples
    --------
    >>> rates = pd.DataFrame({
    ...     "source_uri": "u", "job_id": "7", "interval_s": [float("nan"), 7200.0],
    ...     "observed_at": pd.to_datetime(["2026-05-18T23:00Z", "2026-05-19T01:00Z"]),
    ...     "rows_delta": pd.array([None, 101], "Int64"), "bytes_per_s": [float("nan"), 1.0]})
    >>> rows_by_day(rates)[["day", "rows", "bytes"]]
                            day  rows  bytes
    0 2026-05-18 00:00:00+00:00    50   3600
    1 2026-05-19 00:00:00+00:00    51   3600
    """
    wrote = rates[rates["rows_delta"].gt(0).fillna(False) & rates["interval_s"].gt(0)]
    end, _ = microseconds(wrote, "observed_at")
    length = np.rint(floats(wrote, "interval_s") * US_PER_S).astype(np.int64)
    row, day, low, high = cut_by_day(end - length, end)
    size = floats(wrote, "bytes_per_s") * floats(wrote, "interval_s")

    def cut(amount: pd.Series | Any) -> pd.arrays.IntegerArray:
        # Whole numbers that add up to the interval's.
        value = np.rint(np.asarray(amount, np.float64))[row]
        until, since = (
            np.floor(value * ((edge - (end - length)[row]) / length[row])) for edge in (high, low)
        )
        known = ~np.isnan(value)
        return pd.arrays.IntegerArray(np.where(known, until - since, 0).astype(np.int64), ~known)

    pieces = wrote[JOB_KEY].astype("str").iloc[row].reset_index(drop=True)
    pieces = pieces.assign(
        day=timestamps(day * DAY_US), rows=cut(floats(wrote, "rows_delta")), bytes=cut(size)
    )
    return pieces.groupby([*JOB_KEY, "day"], as_index=False).sum(min_count=1)


def eta_batches(jobs: pd.DataFrame) -> list[EtaBatch]:
    """Which running jobs to estimate together, and which earlier jobs they learn from.

    A running job learns from at most 40 jobs that had completed when it was last seen
    (:data:`~importstats.analysis.forecast.levels.MOST_HISTORY`): of its collection first, then its
    cluster, then the latest of all. With these its ETA is the same as with the whole store. Each
    batch has a few jobs of one cluster.
    """
    running = jobs[jobs["status"].eq("running")].sort_values(["source_uri", "collection_name"])
    done = jobs[jobs["completed_seen_at"].notna()]
    ended, _ = microseconds(done, "completed_seen_at")
    source, collection = (done[name].to_numpy(object) for name in ("source_uri", "collection_name"))
    keys = list(done[JOB_KEY].itertuples(index=False, name=None))
    batches = []
    for _, cluster in running.groupby("source_uri"):
        for some in chunks(cluster.to_dict("records"), _ETAS_PER_TASK):
            chosen: set[JobKey] = set()
            for job in some:
                known = np.flatnonzero(ended <= job["last_observed_at"].value // 1000)
                near = source[known] == job["source_uri"]
                like = near & (collection[known] == job["collection_name"])
                order = np.lexsort((ended[known], like, near))[-MOST_HISTORY:]
                chosen.update(keys[place] for place in known[order])
            own = [(job["source_uri"], job["job_id"]) for job in some]
            batches.append(EtaBatch(own, sorted(chosen)))
    return batches


def cut_by_day(start: Ints, end: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """Intervals (microseconds) cut at midnights: each piece's interval, day and two ends."""
    first = start // DAY_US
    count = np.maximum(-(-end // DAY_US) - first, 1)
    row = np.repeat(np.arange(len(start)), count)
    day = first[row] + np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    low = np.maximum(start[row], day * DAY_US)
    return row, day, low, np.minimum(end[row], (day + 1) * DAY_US)


def merge_parts(parts: Sequence[Part]) -> Part:
    """Several parts as one."""
    nothing = _no_part()
    return Part(
        *(
            concat([getattr(part, field.name) for part in (nothing, *parts)])
            for field in fields(Part)
        )
    )


@lru_cache(maxsize=1)
def _no_part() -> Part:
    """The part of no jobs, with all columns and dtypes."""
    jobs, details = JOBS_SCHEMA.empty_table(), DETAILS_SCHEMA.empty_table()
    return analyse(jobs_frame(jobs), details_frame(details), at=datetime.now(UTC))


def concat(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The frames in one, or the first if all are empty."""
    found = [frame for frame in frames if len(frame)]
    return pd.concat(found, ignore_index=True) if found else frames[0]


def chunks(items: Sequence[_T], size: int) -> list[list[_T]]:
    """The items in lists of up to `size`."""
    return [list(items[at : at + size]) for at in range(0, len(items), size)]
