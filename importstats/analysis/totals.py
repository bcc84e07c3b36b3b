"""Summary: one row per job, and jobs side by side."""

from __future__ import annotations

import re
from typing import Any, Final

import numpy as np
import pandas as pd

from importstats.analysis.phase import job_codes, phases, without_gaps
from importstats.analysis.spans import Spans
from importstats.arrays import (
    US_PER_S,
    Floats,
    Ints,
    floats,
    grouped_quantile,
    microseconds,
    summed,
    timestamps,
    whole_counts,
    whole_numbers,
)
from importstats.names import END_PHASES, JOB_KEY, PHASE_DTYPE, PHASES

#: The phases that take time, each with its column of :func:`summary`.
PHASE_COLUMNS: Final = {
    phase: re.sub(r"(?<!^)(?=[A-Z])", "_", phase).lower() + "_s"
    for phase in PHASES
    if phase not in (*END_PHASES, "Unknown")
}


def summary(jobs: pd.DataFrame, details: pd.DataFrame | None = None) -> pd.DataFrame:
    """One row per job with its times, rows, rates and counts.

    Parameters
    ----------
    jobs, details : DataFrame
        Frames of any number of jobs, see :mod:`importstats.store.frames`. Without `details`, the
        columns about files are missing values.

    Returns
    -------
    DataFrame
        Ordered by job:

        ``source_uri``, ``job_id`` : category or str
            As in the input.
        ``collection_name`` : str
        ``state`` : str
            As last sent.
        ``phase`` : ordered category
            The last, see :func:`~importstats.phases`.
        ``progress_pct`` : float64
            As last sent.
        ``started_at`` : datetime64[us, UTC]
            The job's creation if the server reports it (Milvus 2.6.5 on), else the first snapshot.
        ``ended_at`` : datetime64[us, UTC]
            The start of Completed or Failed; NaT before.
        ``duration_s`` : float64
            From ``started_at`` to ``ended_at``, or to the last snapshot. It is too short if the
            collector found the job at work and its creation is not known: the recording then does
            not begin with Pending. NaN if the job was over when it was first seen.
        ``rows`` : Int64
            Rows written; for a failed job, before it failed.
        ``total_rows``, ``bytes`` : Int64
            In all files.
        ``files`` : Int64
            The number of files.
        ``recorded_rows`` : Int64
            The rows written within ``duration_s``, which leaves out rows that were present when
            recording began, unless the job's creation is known.
        ``rows_per_s`` : float64
            ``recorded_rows`` divided by ``duration_s``, so over all phases.
        ``bytes_per_s`` : float64
            The same for bytes, counted in proportion to the rows.
        ``pending_s``, ``pre_importing_s``, ``resharding_s``, ``planning_s``, ``importing_s``,
        ``sorting_s``, ``sorting_or_indexing_s``, ``index_building_s``, ``uncommitted_s``,
        ``committing_s`` : float64
            Time in the phase, in all its runs; NaN if it was not seen.
        ``failed_files`` : Int64
            Files in state Failed. When a job fails, the server reports all of its files as Failed.
        ``retries`` : Int64
            How often tasks went back.
        ``efficiency`` : float64
            The shortest time in which the slots that were ever seen busy could have done the tasks,
            divided by the time it took, 0 to 1. That shortest time is the larger of the total work
            divided by the slots and the longest task (the bounds of Graham, SIAM J. Appl. Math.
            1969). The rest up to 1 was lost to waiting for slots and for the last task. NaN until
            all tasks have ended.
        ``snapshots`` : int64

    Examples
    --------
    >>> jobs = pd.DataFrame({
    ...     "source_uri": "http://localhost:19530", "job_id": "7", "collection_name": "products",
    ...     "observed_at": pd.date_range("2026-05-18", periods=4, freq="60s", tz="UTC"),
    ...     "state": ["Importing"] * 3 + ["Completed"], "progress_pct": [40.0, 55.0, 80.0, 100.0],
    ...     "imported_rows": [0, 500, 1000, 1000], "total_rows": 1000, "detail_count": 3,
    ...     "file_size_bytes": 6_000_000})
    >>> summary(jobs)[["phase", "duration_s", "rows", "importing_s", "index_building_s"]]
           phase  duration_s  rows  importing_s  index_building_s
    0  Completed       150.0  1000         90.0              60.0
    """
    seen = without_gaps(jobs)
    code, table = job_codes(seen)
    count = len(table)
    time, _ = microseconds(seen, "observed_at")
    order = np.lexsort((time, code))
    last = order[np.append(code[order][1:] != code[order][:-1], True)[: len(order)]]
    first = order[np.append(True, code[order][1:] != code[order][:-1])[: len(order)]]
    runs = phases(seen)
    run_code, run_jobs = job_codes(runs)
    run_code = _places(run_jobs, table)[run_code]
    when = _lifetimes(seen, runs, run_code, first, last)
    rows, at_first = _rows_written(seen, code, order, first)
    total = _greatest_count(seen, "total_rows", code, count)
    size = _greatest(seen, "file_size_bytes", code, count)
    # All rows of a completed job are written, whether or not its server counts them.
    whole = pd.Series(when["phase"] == PHASES.index("Completed"))
    rows = rows.where(rows.notna() | ~whole, total)
    # Rows can be lost: a task that goes back writes them again.
    recorded = rows.where(when["created"], (rows - at_first).clip(lower=0))
    with np.errstate(divide="ignore", invalid="ignore"):
        seconds = np.where(when["duration_s"] > 0, when["duration_s"], np.nan)
        rows_per_s = recorded.to_numpy(np.float64, na_value=np.nan) / seconds
        rows_in_all = total.to_numpy(np.float64, na_value=np.nan)
        bytes_per_s = np.where(rows_in_all > 0, rows_per_s * size / rows_in_all, np.nan)
    spent = {
        column: _phase_seconds(runs, name, run_code, count)
        for name, column in PHASE_COLUMNS.items()
    }
    collection = seen.get("collection_name")
    return table.astype("str").assign(
        collection_name=None if collection is None else _last_known(collection, code, order, count),
        state=seen["state"].iloc[last].astype("str").array,
        phase=pd.Categorical.from_codes(when["phase"], dtype=PHASE_DTYPE),
        progress_pct=floats(seen, "progress_pct")[last],
        started_at=timestamps(when["begin"]),
        ended_at=_times_or_missing(when["end"]),
        duration_s=when["duration_s"],
        rows=rows.array,
        total_rows=total.array,
        recorded_rows=recorded.array,
        bytes=whole_numbers(size),
        files=whole_numbers(_greatest(seen, "detail_count", code, count)),
        rows_per_s=rows_per_s,
        bytes_per_s=bytes_per_s,
        **spent,
        **_file_totals(details, table),
        snapshots=np.bincount(code, minlength=count),
    )


def _lifetimes(
    seen: pd.DataFrame, runs: pd.DataFrame, run_code: Ints, first: Ints, last: Ints
) -> dict[str, Any]:
    """Each job's last phase, start, end and duration, and whether its creation is known."""
    count = len(first)
    time, _ = microseconds(seen, "observed_at")
    begin = time[first].copy()
    created = np.zeros(count, np.bool_)
    if "create_time" in seen:
        said, known = microseconds(seen.iloc[last], "create_time")
        created = known & (said <= begin)
        begin = np.where(created, said, begin)
    ended = runs["phase"].isin(list(END_PHASES)).to_numpy()
    is_last = np.append(run_code[1:] != run_code[:-1], True)[: len(runs)]
    end, phase = np.full(count, np.nan), np.full(count, PHASES.index("Unknown"))
    start_us, _ = microseconds(runs, "start")
    end[run_code[ended & is_last]] = start_us[ended & is_last]
    phase[run_code[is_last]] = runs["phase"].cat.codes.to_numpy()[is_last]
    # If a job was seen only after its end, the server alone knows when that was.
    late = np.zeros(count, np.bool_)
    late[run_code[ended & is_last & (runs["run"] == 0).to_numpy()]] = True
    if "complete_time" in seen:
        said, known = microseconds(seen.iloc[first], "complete_time")
        end = np.where(late & known, said, end)
    duration_s = (np.where(np.isnan(end), time[last], end) - begin) / US_PER_S
    # A server clock that is behind must not make a duration negative.
    duration_s = np.where(late & ~created, np.nan, np.maximum(duration_s, 0.0))
    return {
        "phase": phase,
        "begin": begin,
        "end": end,
        "duration_s": duration_s,
        "created": created,
    }


def _rows_written(
    seen: pd.DataFrame, code: Ints, order: Ints, first: Ints
) -> tuple[pd.Series[int], pd.Series[int]]:
    """The rows of each job: the last ones known (before a failure), and those first seen."""
    count = len(first)
    rows = whole_counts(seen, "imported_rows")
    state = seen["state"].astype("str").str.lower()
    failed = state.eq("failed").fillna(False).to_numpy(np.bool_)
    known = rows.notna().to_numpy() & ~(failed & rows.eq(0).fillna(False).to_numpy(np.bool_))
    place = np.full(count, -1)
    place[code[order[known[order]]]] = order[known[order]]
    written = rows.iloc[np.maximum(place, 0)].where(place >= 0).reset_index(drop=True)
    at_first = rows.iloc[first].reset_index(drop=True)
    # Before a job is at work it has no rows, whether or not the server reports that.
    waiting = state.iloc[first].eq("pending").fillna(False).to_numpy(np.bool_)
    return written, at_first.where(at_first.notna() | ~waiting, 0)


def _greatest_count(frame: pd.DataFrame, name: str, code: Ints, count: int) -> pd.Series[int]:
    """The greatest count per job with all digits, missing if there is none."""
    found = whole_counts(frame, name).groupby(code).max()
    return found.reindex(range(count)).astype("Int64")


def compare(jobs: pd.DataFrame, details: pd.DataFrame | None = None) -> pd.DataFrame:
    """The summaries of several jobs, each compared with the best and with the median.

    Parameters
    ----------
    jobs, details : DataFrame
        As for :func:`summary`.

    Returns
    -------
    DataFrame
        The result of :func:`summary`, the fastest by ``rows_per_s`` first and failed jobs last,
        with these columns. They are NaN if a value is missing and for failed jobs, whose rows are
        gone:

        ``rows_per_s_to_best``, ``bytes_per_s_to_best`` : float64
            The rate divided by the greatest, up to 1.
        ``rows_per_s_to_median``, ``bytes_per_s_to_median`` : float64
            The rate divided by the median.
        ``duration_s_to_median`` : float64
            The duration divided by the median.

    Examples
    --------
    >>> jobs = pd.DataFrame({
    ...     "source_uri": "u", "job_id": ["7", "7", "8", "8"], "collection_name": "products",
    ...     "observed_at": pd.to_datetime(["2026-05-18T08:00Z", "2026-05-18T08:02Z"] * 2),
    ...     "state": "Importing", "progress_pct": [40.0, 70.0, 40.0, 55.0], "detail_count": 3,
    ...     "imported_rows": [0, 1200, 0, 600], "total_rows": 1200, "file_size_bytes": 12_000})
    >>> compare(jobs)[["job_id", "rows_per_s", "rows_per_s_to_best"]]
      job_id  rows_per_s  rows_per_s_to_best
    0      7        10.0                 1.0
    1      8         5.0                 0.5
    """
    table = summary(jobs, details)
    failed = table["phase"].eq("Failed")
    for name in ("rows_per_s", "bytes_per_s"):
        rate = table[name].mask(failed)
        table[f"{name}_to_best"] = _per_unit(rate, rate.max())
        table[f"{name}_to_median"] = _per_unit(rate, rate.median())
    duration_s = table["duration_s"].mask(failed)
    table["duration_s_to_median"] = _per_unit(duration_s, duration_s.median())
    order = np.lexsort((-table["rows_per_s"].to_numpy(), failed))
    return table.iloc[order].reset_index(drop=True)


def _per_unit(values: pd.Series, measure: float) -> pd.Series:
    return values / measure if measure > 0 else values * np.nan


def _places(keys: pd.DataFrame, table: pd.DataFrame) -> Ints:
    """The index of each job among others, -1 if it is not one of them. Both are sorted."""
    keys, table = keys[JOB_KEY].astype("str"), table[JOB_KEY].astype("str")
    if keys.equals(table):
        return np.arange(len(keys))
    numbered = table.assign(place=np.arange(len(table)))
    found = keys.merge(numbered, on=JOB_KEY, how="left")["place"]
    return np.asarray(found.fillna(-1).to_numpy(np.int64))


def _greatest(frame: pd.DataFrame, name: str, code: Ints, count: int) -> Floats:
    """The greatest value per job, NaN if there is none."""
    return grouped_quantile(floats(frame, name), code, count, 1.0)


def _phase_seconds(runs: pd.DataFrame, phase: str, code: Ints, count: int) -> Floats:
    mine = (runs["phase"] == phase).to_numpy()
    spent = summed(code[mine], np.nan_to_num(runs["duration_s"].to_numpy()[mine]), count)
    return np.where(np.bincount(code[mine], minlength=count) > 0, spent, np.nan)


def _last_known(values: pd.Series, code: Ints, order: Ints, count: int) -> pd.Series:
    known = order[values.notna().to_numpy()[order]]
    place = np.full(count, -1)
    place[code[known]] = known
    named: pd.Series = values.iloc[np.maximum(place, 0)].astype("str").where(place >= 0)
    return named.reset_index(drop=True)


def _times_or_missing(time: Floats) -> pd.Series:
    known = ~np.isnan(time)
    return timestamps(np.where(known, time, 0).astype(np.int64)).where(known)


def _file_totals(details: pd.DataFrame | None, table: pd.DataFrame) -> dict[str, Any]:
    """The columns that only files can show."""
    count = len(table)
    failed, retries, efficiency = (np.full(count, np.nan) for _ in range(3))
    if details is not None and len(details):
        spans = Spans.from_details(details)
        jobs = spans.samples.jobs
        here = _places(jobs, table)
        mine = here >= 0
        place = here[mine]
        of_file = spans.job[spans.of_file]
        failed[place] = summed(of_file, spans.failed[spans.of_file], len(jobs))[mine]
        retries[place] = summed(spans.job, spans.retries.astype(np.float64), len(jobs))[mine]
        efficiency[place] = _efficiency(spans)[mine]
    counts = {"failed_files": whole_numbers(failed), "retries": whole_numbers(retries)}
    return {**counts, "efficiency": efficiency}


def _efficiency(spans: Spans) -> Floats:
    """Per job, the shortest time its slots could have needed, divided by the time they took."""
    begin = np.where(
        np.isnan(spans.handed_after), spans.handed_by, (spans.handed_after + spans.handed_by) / 2
    )
    stop = np.where(np.isfinite(spans.released_by), spans.released_by, spans.now[spans.job])
    at_work = np.where(spans.begun, np.maximum(stop - begin, 0.0), 0.0)
    work = summed(spans.job, at_work, spans.jobs)
    longest = grouped_quantile(at_work, spans.job, spans.jobs, 1.0)
    least = np.fmax(work / np.maximum(spans.slots, 1), longest)
    first = grouped_quantile(np.where(spans.begun, begin, np.nan), spans.job, spans.jobs, 0.0)
    last = grouped_quantile(np.where(spans.begun, stop, np.nan), spans.job, spans.jobs, 1.0)
    per_job = np.bincount(spans.job, minlength=spans.jobs)
    all_ended = summed(spans.job, spans.done & ~spans.failed, spans.jobs) == per_job
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.minimum(least / (last - first), 1.0)
    return np.where(all_ended & (last > first), share, np.nan)
