"""Fleet: the analysis of every job in a store, on one machine or on a Dask cluster.

Jobs have nothing to do with each other until they are counted, so a *part* is the analysis of a
batch of jobs, made by :func:`analyse` wherever their files are best read, and :func:`combine` makes
the tables of the fleet out of the parts. No job's rows ever leave the process that read them: a
part is a few rows for each of its jobs. Only the ETA needs other jobs, the earlier ones;
:func:`eta_batches` picks those that count, and a second round of tasks reads them.

Both rounds are maps without a shuffle; a task whose worker dies is run again on another.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any, Final, Generic, NamedTuple, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from importstats.analysis.findings import diagnose
from importstats.analysis.forecast import eta
from importstats.analysis.forecast.model import MOST_HISTORY
from importstats.analysis.phase import phases, with_phase
from importstats.analysis.rates import throughput
from importstats.analysis.totals import summary
from importstats.arrays import Ints, floats, microseconds, timestamps
from importstats.errors import ImportStatsError, MissingExtraError, UnreachableError
from importstats.names import JOB_KEY
from importstats.store import JOBS_RESULT_SCHEMA, CorruptSegmentWarning, SnapshotStore
from importstats.store.frames import details_frame, flatten_jobs, jobs_frame
from importstats.store.schema import DETAILS_SCHEMA, JOBS_SCHEMA, RUN_COLUMNS, TIMESTAMP
from importstats.text import excerpt

#: What became of a job: it goes on, it was not seen to the end, or how it ended.
STATUSES: Final = ("running", "lost", "failed", "completed")
STATUS_DTYPE: Final = pd.CategoricalDtype(list(STATUSES), ordered=True)

JobKey = tuple[str, str]
_T = TypeVar("_T")

# A task of so many jobs lasts seconds, beside which what Dask adds (milliseconds) does not count.
_JOBS_PER_TASK: Final = 32
# An ETA reads and replays the histories of up to 40 jobs besides.
_ETAS_PER_TASK: Final = 8
# Up to so many jobs are done here before worker processes have started.
_JOBS_ALONE: Final = 64
# Jobs are analysed together, which is cheaper, until they have so many rows.
_ROWS_AT_ONCE: Final = 250_000
_DAY_US: Final = 86_400_000_000
_HOUR_S: Final = 3600.0


@dataclass(frozen=True)
class Fleet:
    """The tables of a fleet as of a time, see :func:`fleet`.

    Attributes
    ----------
    at : datetime
        Now.
    jobs : DataFrame
        What :func:`~importstats.summary` returns, one row per job, and

        ``db_name``, ``reason`` : str
            As last sent.
        ``last_observed_at``, ``completed_seen_at`` : datetime64[us, UTC]
            The last snapshot, and the first that says Completed.
        ``status`` : ordered category
            One of :data:`STATUSES`. A job that did not end is running while its last snapshot is
            younger than the server's memory (`retention_s`), then lost: it may have ended unseen.
    running : DataFrame
        The running jobs, those that end first on top:

        ``source_uri``, ``job_id``, ``db_name``, ``collection_name`` : str
        ``phase`` : ordered category
        ``progress_pct`` : float64
        ``rows``, ``total_rows`` : Int64
        ``rows_per_s`` : float64
            Mean of the job so far, all phases.
        ``started_at``, ``last_observed_at`` : datetime64[us, UTC]
        ``eta_p10``, ``eta_p50``, ``eta_p90`` : datetime64[us, UTC]
            See :func:`~importstats.eta`; from the job's last snapshot.
        ``method`` : str
        ``no_eta_reason`` : str
            Why there is no estimate; missing if there is one.
        ``severity``, ``finding`` : ordered category
        ``message`` : str
            The severest finding about the job; missing if there is none.
    collections : DataFrame
        Collections, the slowest first, those without a completed job last:

        ``source_uri``, ``db_name``, ``collection_name`` : str
        ``jobs``, ``running``, ``lost``, ``failed``, ``completed`` : int64
        ``rows``, ``bytes`` : Int64
            Of its completed jobs.
        ``median_duration_s`` : float64
            Of its completed jobs.
        ``rows_per_s``, ``bytes_per_s`` : float64
            All rows (bytes) of its completed jobs by all their time, all phases.
    failures : DataFrame
        Causes of failure, the most frequent first:

        ``cause`` : str
            The reason without what differs from job to job, see
            :func:`~importstats.analysis.findings.normalised_reason`; missing where the server gave
            none.
        ``jobs``, ``collections``, ``clusters`` : int64
            How many failed of it, and how many collections and clusters that concerns.
        ``phase`` : str
            In which most of them failed.
        ``last_failed_at`` : datetime64[us, UTC]
        ``example_job_id``, ``example_reason`` : str
            Of the last.
    throughput : DataFrame
        Ordered by cluster and day (UTC):

        ``source_uri`` : str
        ``day`` : datetime64[us, UTC]
            Its midnight.
        ``jobs`` : int64
            Jobs that wrote rows.
        ``rows``, ``bytes`` : Int64
            Written that day, what was written again included. An interval over midnight counts for
            each day by its time. What was there at a job's first snapshot counts for none.
        ``importing_s`` : float64
            Time of the day in which at least one job was in the phase Importing.
        ``rows_per_s``, ``bytes_per_s`` : float64
            By that time: what the cluster makes while it imports.
    phases : DataFrame
        Ordered by cluster and phase:

        ``source_uri`` : str
        ``phase`` : ordered category
        ``jobs`` : int64
            Jobs that were seen in it.
        ``duration_s`` : float64
            Time that jobs spent in it, added up.
        ``share`` : float64
            Of the cluster's whole time, 0 to 1.
    findings : DataFrame
        What :func:`~importstats.diagnose` returns, of all jobs.
    """

    at: datetime
    jobs: pd.DataFrame
    running: pd.DataFrame
    collections: pd.DataFrame
    failures: pd.DataFrame
    throughput: pd.DataFrame
    phases: pd.DataFrame
    findings: pd.DataFrame


@dataclass(frozen=True)
class Part:
    """The analysis of some jobs, by itself: what a task returns.

    Attributes
    ----------
    jobs, findings : DataFrame
        As in :class:`Fleet`.
    phases : DataFrame
        The runs of :func:`~importstats.phases` that have a duration.
    days : DataFrame
        Per job and day the rows and bytes written, see :func:`rows_by_day`.
    """

    jobs: pd.DataFrame
    phases: pd.DataFrame
    days: pd.DataFrame
    findings: pd.DataFrame


class EtaBatch(NamedTuple):
    """Running jobs whose ETA one task makes, and the earlier jobs that it learns from."""

    running: list[JobKey]
    earlier: list[JobKey]


def fleet(
    store: SnapshotStore | str | Path,
    *,
    scheduler: str | None = None,
    since: datetime | None = None,
    at: datetime | None = None,
    workers: int | None = None,
    retention_s: float = 3 * _HOUR_S,
) -> Fleet:
    """Analyse every job of a store: who runs and until when, what is slow, what fails and why.

    Every worker reads the store by itself, so it must reach it: a bucket with credentials of its
    own, or a folder under the same path.

    Parameters
    ----------
    store : SnapshotStore, str or Path
        The store, its folder or its URI (``s3://...``).
    scheduler : str, optional
        ``"synchronous"`` works in this process, without Dask. ``"processes"`` starts a local Dask
        cluster of worker processes, one thread each. ``tcp://host:port`` (or another address that
        Dask knows) uses the cluster there. By default up to 64 jobs are done in this process, more
        on local processes.
    since : datetime, optional
        Only jobs that were last seen at or after this time. Of these, all snapshots count.
    at : datetime, optional
        Now; later snapshots are not used. By default the clock's.
    workers : int, optional
        How many local processes; by default as many as Dask finds cores.
    retention_s : float
        How long the servers remember a job after its end.

    Returns
    -------
    Fleet

    Raises
    ------
    StoreError
        There is no store, or it cannot be read.
    MissingExtraError
        It takes Dask, which is not installed: ``pip install 'importstats[dask]'``.
    UnreachableError
        There is no Dask scheduler at the address.
    ImportStatsError
        A task killed its worker several times, or `scheduler` is none of the above.

    Warns
    -----
    CorruptSegmentWarning
        A file of the store cannot be read, here or on a worker; the rest was.

    Notes
    -----
    Local processes are spawned and import the main module anew, as in :mod:`multiprocessing`: a
    script calls this below ``if __name__ == "__main__":``.
    """
    opened = store if isinstance(store, SnapshotStore) else SnapshotStore(store)
    now = datetime.now(UTC) if at is None else at
    keys = _keys(opened, since, now)
    with _mapper(scheduler, len(keys), workers) as run:
        analysed = run(
            partial(_part, opened, at=now, retention_s=retention_s), _chunks(keys, _JOBS_PER_TASK)
        )
        parts = [answer.result for answer in analysed]
        batches = eta_batches(_together(parts).jobs)
        estimated = run(partial(_estimates, opened, at=now), batches)
    for message in dict.fromkeys(
        message for answer in (*analysed, *estimated) for message in answer.warnings
    ):
        warnings.warn(message, CorruptSegmentWarning, stacklevel=2)
    return combine(parts, [answer.result for answer in estimated], now)


def summarise(store: SnapshotStore | str | Path) -> pd.DataFrame:
    """The summary of every job of a store, in memory that does not grow with its details.

    As ``summary(load_jobs(store), load_details(store, runs=True))``, with the files of only a few
    jobs in memory at a time.

    Parameters
    ----------
    store : SnapshotStore, str or Path
        The store, its folder or its URI.

    Returns
    -------
    DataFrame
        See :func:`~importstats.summary`.

    Raises
    ------
    StoreError
        There is no store, or it cannot be read.
    """
    opened = store if isinstance(store, SnapshotStore) else SnapshotStore(store)
    pieces = opened.iter_jobs(columns=_SNAPSHOTS, details_columns=_FILES)
    found = [summary(jobs, details) for jobs, details in _read_ahead(_some_at_once(pieces))]
    if not found:
        return summary(flatten_jobs([]))
    return pd.concat(found, ignore_index=True).sort_values(JOB_KEY, ignore_index=True)


# What a summary needs to know of snapshots and of files.
_SNAPSHOTS: Final = (
    "snapshot_id",
    "observed_at",
    *JOB_KEY,
    "collection_name",
    "state",
    "progress_pct",
    "imported_rows",
    "total_rows",
    "file_size_bytes",
    "complete_time",
    "detail_count",
    "error",
)
_FILES: Final = (
    *RUN_COLUMNS,
    *JOB_KEY,
    "file_index",
    "file_name",
    "file_size_bytes",
    "state",
    "progress_pct",
    "imported_rows",
    "total_rows",
    "complete_time",
)


def _some_at_once(
    pieces: Iterable[tuple[pa.Table, pa.Table]],
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Jobs and details frames of several jobs each, which takes fewer steps than one by one."""
    gathered: list[tuple[pa.Table, pa.Table]] = []
    rows = 0
    for piece in pieces:
        gathered.append(piece)
        rows += piece[0].num_rows + piece[1].num_rows
        if rows >= _ROWS_AT_ONCE:
            yield _frames(gathered)
            gathered, rows = [], 0
    if gathered:
        yield _frames(gathered)


def _frames(pieces: Sequence[tuple[pa.Table, pa.Table]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    jobs, details = (pa.concat_tables(tables) for tables in zip(*pieces, strict=True))
    # Not details_frame: a summary shows no file's display name, which takes time to find.
    return jobs_frame(jobs.filter(pc.is_null(jobs["error"]))), jobs_frame(details)


def _read_ahead(items: Iterable[_T]) -> Iterator[_T]:
    """The items, the next of which is being made while one is worked on."""
    source = iter(items)
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(list, islice(source, 1))
        while found := coming.result():
            coming = reader.submit(list, islice(source, 1))
            yield found[0]


# --- Pure: frames in, frames out ------------------------------------------------------------------


def analyse(
    jobs: pd.DataFrame,
    details: pd.DataFrame | None,
    *,
    at: datetime,
    retention_s: float = 3 * _HOUR_S,
) -> Part:
    """The part of some jobs.

    Parameters
    ----------
    jobs, details : DataFrame
        Frames of whole jobs, see :mod:`importstats.store.frames`.
    at, retention_s
        As for :func:`fleet`.

    Returns
    -------
    Part
    """
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
    """A summary with what only the fleet asks for."""
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
    """What each job wrote on each day (UTC).

    Parameters
    ----------
    rates : DataFrame
        The :func:`~importstats.throughput` by job.

    Returns
    -------
    DataFrame
        Ordered by job and day: ``source_uri``, ``job_id`` : str, ``day`` : datetime64[us, UTC],
        ``rows``, ``bytes`` : Int64. An interval that spans a midnight counts for each day by its
        time (rows are taken to come evenly, as in throughput by collection).

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
    length = np.rint(floats(wrote, "interval_s") * 1e6).astype(np.int64)
    row, day, low, high = _cut_by_day(end - length, end)
    size = floats(wrote, "bytes_per_s") * floats(wrote, "interval_s")

    def cut(amount: pd.Series | Any) -> pd.arrays.IntegerArray:
        # Whole numbers whose sum over the days is that of the interval.
        value = np.rint(np.asarray(amount, np.float64))[row]
        until, since = (
            np.floor(value * ((edge - (end - length)[row]) / length[row])) for edge in (high, low)
        )
        known = ~np.isnan(value)
        return pd.arrays.IntegerArray(np.where(known, until - since, 0).astype(np.int64), ~known)

    pieces = wrote[JOB_KEY].astype("str").iloc[row].reset_index(drop=True)
    pieces = pieces.assign(
        day=timestamps(day * _DAY_US), rows=cut(floats(wrote, "rows_delta")), bytes=cut(size)
    )
    return pieces.groupby([*JOB_KEY, "day"], as_index=False).sum(min_count=1)


def eta_batches(jobs: pd.DataFrame) -> list[EtaBatch]:
    """Which running jobs to estimate together, and which earlier jobs that takes.

    A running job learns from at most 40 jobs that had completed when it was last seen
    (:data:`~importstats.analysis.forecast.model.MOST_HISTORY`): of its collection first, then its
    cluster, then
    the latest of all. With these its ETA is the same as with the whole store.

    Parameters
    ----------
    jobs : DataFrame
        The jobs of a :class:`Fleet`.

    Returns
    -------
    list of EtaBatch
        Jobs of one cluster, few at a time.
    """
    running = jobs[jobs["status"].eq("running")].sort_values(["source_uri", "collection_name"])
    done = jobs[jobs["completed_seen_at"].notna()]
    ended, _ = microseconds(done, "completed_seen_at")
    source, collection = (done[name].to_numpy(object) for name in ("source_uri", "collection_name"))
    keys = list(done[JOB_KEY].itertuples(index=False, name=None))
    batches = []
    for _, cluster in running.groupby("source_uri"):
        for some in _chunks(cluster.to_dict("records"), _ETAS_PER_TASK):
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


def combine(parts: Sequence[Part], estimates: Sequence[pd.DataFrame], at: datetime) -> Fleet:
    """The tables of a fleet out of its parts.

    Parameters
    ----------
    parts : sequence of Part
        Each job in one of them.
    estimates : sequence of DataFrame
        The :func:`~importstats.eta` of the running jobs, one row per job.
    at : datetime

    Returns
    -------
    Fleet
        It does not depend on how the jobs are spread over the parts.
    """
    whole = _together(parts)
    # The order in which floats are added up must not depend on the parts.
    jobs = whole.jobs.sort_values(JOB_KEY, ignore_index=True)
    runs = whole.phases.sort_values([*JOB_KEY, "start"], ignore_index=True)
    days = whole.days.sort_values([*JOB_KEY, "day"], ignore_index=True)
    findings = whole.findings.sort_values(
        ["severity", *JOB_KEY, "finding"], ascending=[False, True, True, True], ignore_index=True
    )
    return Fleet(
        at=at,
        jobs=jobs,
        running=_running(jobs, estimates, findings),
        collections=_collections(jobs),
        failures=_failures(jobs, findings),
        throughput=_throughput(days, runs),
        phases=_phase_shares(runs),
        findings=findings,
    )


def _running(
    jobs: pd.DataFrame, estimates: Sequence[pd.DataFrame], findings: pd.DataFrame
) -> pd.DataFrame:
    running = jobs.loc[jobs["status"].eq("running"), _RUNNING_COLUMNS]
    nothing = eta(jobs_frame(JOBS_SCHEMA.empty_table()))
    ends = _concat([nothing, *estimates])[[*JOB_KEY, *_ETA_COLUMNS, "method", "reason"]]
    ends = ends.rename(columns={"reason": "no_eta_reason"}).astype({"method": "str"})
    worst = findings.drop_duplicates(JOB_KEY)[[*JOB_KEY, "severity", "finding", "message"]]
    return (
        running.merge(ends, on=JOB_KEY, how="left", validate="1:1")
        .merge(worst, on=JOB_KEY, how="left", validate="1:1")
        .sort_values(["eta_p50", *JOB_KEY], ignore_index=True)
    )


_RUNNING_COLUMNS: Final = [
    *JOB_KEY,
    "db_name",
    "collection_name",
    "phase",
    "progress_pct",
    "rows",
    "total_rows",
    "rows_per_s",
    "started_at",
    "last_observed_at",
]
_ETA_COLUMNS: Final = ["eta_p10", "eta_p50", "eta_p90"]
_COLLECTION_KEY: Final = ["source_uri", "db_name", "collection_name"]


def _collections(jobs: pd.DataFrame) -> pd.DataFrame:
    group = jobs.groupby(_COLLECTION_KEY, dropna=False)
    counts = group.size().to_frame("jobs")
    for status in ("running", "lost", "failed", "completed"):
        counts[status] = (
            jobs["status"]
            .eq(status)
            .groupby([jobs[c] for c in _COLLECTION_KEY], dropna=False)
            .sum()
        )
    completed = jobs[jobs["status"].eq("completed")].groupby(_COLLECTION_KEY, dropna=False)
    sums = completed[["rows", "bytes", "duration_s"]].sum(min_count=1)
    seconds = sums.pop("duration_s").where(lambda total: total > 0)
    sums["median_duration_s"] = completed["duration_s"].median()
    for name in ("rows", "bytes"):
        sums[f"{name}_per_s"] = (
            sums[name].astype("Float64").to_numpy(float, na_value=np.nan) / seconds
        )
    return (
        counts.join(sums)
        .reset_index()
        .sort_values(["rows_per_s", *_COLLECTION_KEY], ignore_index=True)
    )


def _failures(jobs: pd.DataFrame, findings: pd.DataFrame) -> pd.DataFrame:
    failed = findings[findings["finding"].eq("failed")]
    evidence = [json.loads(text) for text in failed["evidence"]]
    told = failed[[*JOB_KEY, "since"]].assign(
        cause=pd.Series([each["cause"] for each in evidence], failed.index, dtype="str"),
        reason=pd.Series([each["reason"] for each in evidence], failed.index, dtype="str"),
        phase=pd.Series([each["phase"] for each in evidence], failed.index, dtype="str"),
    )
    told = told.merge(jobs[[*JOB_KEY, "collection_name"]], on=JOB_KEY, how="left")
    told["collection"] = told.groupby(["source_uri", "collection_name"], dropna=False).ngroup()
    told = told.sort_values(["since", *JOB_KEY])
    table = told.groupby("cause", dropna=False, as_index=False).agg(
        jobs=("job_id", "size"),
        collections=("collection", "nunique"),
        clusters=("source_uri", "nunique"),
        phase=("phase", lambda names: names.mode().iloc[0]),
        last_failed_at=("since", "last"),
        example_job_id=("job_id", "last"),
        example_reason=("reason", "last"),
    )
    return table.sort_values(["jobs", "cause"], ascending=[False, True], ignore_index=True)


def _throughput(days: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    key = ["source_uri", "day"]
    wrote = days.groupby(key, as_index=False)
    table = wrote[["rows", "bytes"]].sum(min_count=1)
    table.insert(2, "jobs", wrote["job_id"].nunique()["job_id"])
    table = table.merge(_importing_time(runs), on=key, how="left")
    for name in ("rows", "bytes"):
        table[f"{name}_per_s"] = floats(table, name) / table["importing_s"]
    return table


def _importing_time(runs: pd.DataFrame) -> pd.DataFrame:
    """Per cluster and day, for how long at least one of its jobs was importing."""
    importing = runs[runs["phase"].eq("Importing") & runs["duration_s"].gt(0)]
    importing = importing.sort_values(["source_uri", "start"])
    start, _ = microseconds(importing, "start")
    end = start + np.rint(floats(importing, "duration_s") * 1e6).astype(np.int64)
    source = importing["source_uri"]
    reached = pd.Series(end, importing.index).groupby(source).cummax()
    before = reached.groupby(source).shift().fillna(start.min() - 1 if len(start) else 0)
    block = (before.to_numpy() < start).cumsum()
    blocks = (
        importing.assign(begin=start, end=end)
        .groupby(block)
        .agg(source_uri=("source_uri", "first"), begin=("begin", "min"), end=("end", "max"))
    )
    row, day, low, high = _cut_by_day(blocks["begin"].to_numpy(), blocks["end"].to_numpy())
    pieces = pd.DataFrame(
        {
            "source_uri": blocks["source_uri"].iloc[row].to_numpy(),
            "day": timestamps(day * _DAY_US),
            "importing_s": (high - low) / 1e6,
        }
    )
    pieces = pieces.astype({"source_uri": "str"})
    summed: pd.DataFrame = pieces.groupby(["source_uri", "day"], as_index=False).sum()
    return summed


def _phase_shares(runs: pd.DataFrame) -> pd.DataFrame:
    key = ["source_uri", "phase"]
    group = runs.groupby(key, observed=True, as_index=False)
    table = group["duration_s"].sum()
    table.insert(2, "jobs", group["job_id"].nunique()["job_id"])
    whole = table.groupby("source_uri")["duration_s"].transform("sum")
    shares: pd.DataFrame = table.assign(share=table["duration_s"] / whole.where(whole > 0))
    return shares


def _cut_by_day(start: Ints, end: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """Intervals (microseconds) cut at midnights: which one, its day, and the piece's ends."""
    first = start // _DAY_US
    count = np.maximum(-(-end // _DAY_US) - first, 1)
    row = np.repeat(np.arange(len(start)), count)
    day = first[row] + np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    low = np.maximum(start[row], day * _DAY_US)
    return row, day, low, np.minimum(end[row], (day + 1) * _DAY_US)


def _together(parts: Sequence[Part]) -> Part:
    """Several parts as one."""
    nothing = _no_part()
    return Part(
        *(
            _concat([getattr(part, field.name) for part in (nothing, *parts)])
            for field in fields(Part)
        )
    )


@lru_cache(maxsize=1)
def _no_part() -> Part:
    """The part of no jobs, which has the columns and dtypes of any."""
    jobs, details = JOBS_SCHEMA.empty_table(), DETAILS_SCHEMA.empty_table()
    return analyse(jobs_frame(jobs), details_frame(details), at=datetime.now(UTC))


def _concat(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The frames in one, or the first if all are empty."""
    found = [frame for frame in frames if len(frame)]
    return pd.concat(found, ignore_index=True) if found else frames[0]


def _chunks(items: Sequence[_T], size: int) -> list[list[_T]]:
    return [list(items[at : at + size]) for at in range(0, len(items), size)]


# --- What tasks do: read some jobs, analyse them --------------------------------------------------


class _Answer(NamedTuple, Generic[_T]):
    """What a task found, and what it was warned of, which would else stay in a worker's log."""

    result: _T
    warnings: list[str]


def _keys(store: SnapshotStore, since: datetime | None, at: datetime) -> list[JobKey]:
    keys = store.job_keys()
    chosen = pc.less_equal(keys["first_observed_at"], pa.scalar(at, TIMESTAMP))
    if since is not None:
        recent = pc.greater_equal(keys["last_observed_at"], pa.scalar(since, TIMESTAMP))
        chosen = pc.and_(chosen, recent)
    keys = keys.filter(chosen)
    return list(zip(keys["source_uri"].to_pylist(), keys["job_id"].to_pylist(), strict=True))


def _part(
    store: SnapshotStore, keys: list[JobKey], *, at: datetime, retention_s: float
) -> _Answer[Part]:
    told: list[str] = []
    read = _read(store, keys, at, told)
    parts = [analyse(jobs, details, at=at, retention_s=retention_s) for jobs, details in read]
    return _Answer(_together(parts), told)


def _estimates(store: SnapshotStore, batch: EtaBatch, *, at: datetime) -> _Answer[pd.DataFrame]:
    told: list[str] = []
    earlier = [_snapshots(store, key, at, told) for key in batch.earlier]
    history = jobs_frame(pa.concat_tables([JOBS_RESULT_SCHEMA.empty_table(), *earlier]))
    found: list[pd.DataFrame] = [
        eta(jobs, details, history=history, at=at)
        for jobs, details in _read(store, batch.running, at, told)
    ]
    return _Answer(_concat(found), told)


def _read(
    store: SnapshotStore, keys: Sequence[JobKey], at: datetime, told: list[str]
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """The jobs and details frames of some jobs, as many at once as have not too many rows."""
    jobs, details, rows = [], [], 0
    for place, key in enumerate(keys, start=1):
        jobs.append(_snapshots(store, key, at, told))
        details.append(_runs(store, key, at, told))
        rows += jobs[-1].num_rows + details[-1].num_rows
        if rows >= _ROWS_AT_ONCE or place == len(keys):
            yield jobs_frame(pa.concat_tables(jobs)), details_frame(pa.concat_tables(details))
            jobs, details, rows = [], [], 0


def _snapshots(store: SnapshotStore, key: JobKey, at: datetime, told: list[str]) -> pa.Table:
    """The answered snapshots of a job until a time."""
    source_uri, job_id = key
    with _recording(told):
        jobs = store.jobs(source_uri=source_uri, job_id=job_id, until=at)
    return jobs.filter(pc.is_null(jobs["error"]))


def _runs(store: SnapshotStore, key: JobKey, at: datetime, told: list[str]) -> pa.Table:
    """The files of a job until a time, a row per run."""
    source_uri, job_id = key
    with _recording(told):
        return store.details(source_uri=source_uri, job_id=job_id, until=at, runs=True)


@contextmanager
def _recording(told: list[str]) -> Iterator[None]:
    """Keep what readers of a store warn of instead of printing it."""
    with _LOCK, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", CorruptSegmentWarning)
        yield
    told += [str(each.message) for each in caught if each.category is CorruptSegmentWarning]


# Recording warnings changes the interpreter's state, and a worker may have several threads.
_LOCK: Final = Lock()


# --- Where tasks run ------------------------------------------------------------------------------

_Map = Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]]


@contextmanager
def _mapper(scheduler: str | None, jobs: int, workers: int | None) -> Iterator[_Map]:
    """What applies a task to batches: here, on local processes, or on a cluster."""
    if scheduler == "synchronous" or (scheduler is None and jobs <= _JOBS_ALONE):
        yield lambda task, batches: [task(batch) for batch in batches]
        return
    if scheduler not in (None, "processes") and "://" not in scheduler:
        raise ImportStatsError(
            f"no scheduler {scheduler!r}: it is synchronous, processes, or an address such as "
            "tcp://host:8786"
        )
    distributed = _distributed(jobs)
    with ExitStack() as running:
        if scheduler in (None, "processes"):
            where = running.enter_context(
                distributed.LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    processes=True,
                    dashboard_address="127.0.0.1:0",
                )
            )
        else:
            where = scheduler
        try:
            client = running.enter_context(distributed.Client(where, timeout=_CONNECT_S))
        except OSError as error:
            raise UnreachableError(
                f"no Dask scheduler answers at {scheduler}: {excerpt(str(error))}; check the "
                "address and that it runs"
            ) from error

        def run(task: Callable[[Any], Any], batches: Sequence[Any]) -> list[Any]:
            try:
                # Not pure: the store may have changed since the same task ran last.
                answers: list[Any] = client.gather(client.map(task, batches, pure=False))
            except distributed.KilledWorker as error:
                raise ImportStatsError(
                    f"a task ended its Dask worker again and again: {excerpt(str(error))}; see the "
                    "workers' logs (memory is the usual cause)"
                ) from error
            return answers

        yield run


_CONNECT_S: Final = 10


def _distributed(jobs: int) -> Any:
    try:
        import distributed  # Takes a second, which only those who use it should pay.
    except ImportError as error:
        raise MissingExtraError(
            f"analysing {jobs:,} jobs on Dask needs {error.name}; pip install 'importstats[dask]', "
            "or choose the scheduler synchronous"
        ) from error
    return distributed
