"""A job's hidden phase, for each snapshot and as a table of phases with times.

The server sends a coarse ``state`` and one number, ``progress``, that it computes from a phase it
does not name: each phase owns a range of points (:mod:`~importstats.analysis.scales`). Reading the
number backwards gives the phase; if two phases share a number, rows and details decide.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from importstats.analysis.cluster_phase import KNOWN_PHASE, by_known_phase
from importstats.analysis.job_states import States
from importstats.analysis.scales import (
    CODE,
    SCALES,
    Shown,
    fitting,
    phase_by_scales,
    scales_between,
    scales_of_version,
    scales_of_versions,
)
from importstats.arrays import Bools, Floats, Ints, floats
from importstats.names import END_PHASES, JOB_KEY, PHASE_DTYPE

_STATES: Final = {
    "pending": "Pending",
    "uncommitted": "Uncommitted",
    "committing": "Committing",
    "completed": "Completed",
    "failed": "Failed",
}
_AT_WORK: Final = frozenset({"importing", "inprogress"})
# What the dialect of an answer shows about its server.
_WITH_CREATE_TIME: Final = scales_between((2, 6, 5), None)
_WITH_CODE_200: Final = scales_between((2, 4, 0), (2, 4, 3))


def job_codes(frame: pd.DataFrame) -> tuple[Ints, pd.DataFrame]:
    """The number of each row's job, and the jobs behind the numbers.

    Parameters
    ----------
    frame : DataFrame
        Any frame with the columns ``source_uri`` and ``job_id``.

    Returns
    -------
    codes : ndarray of int64
        For each row, the position of its job in `keys`.
    keys : DataFrame
        ``source_uri`` and ``job_id``, one row per job, sorted.

    Examples
    --------
    >>> frame = pd.DataFrame({"source_uri": ["u", "u", "t"], "job_id": ["8", "7", "8"]})
    >>> codes, keys = job_codes(frame)
    >>> codes.tolist(), keys.to_numpy().tolist()
    ([2, 1, 0], [['t', '8'], ['u', '7'], ['u', '8']])
    """
    parts = [pd.factorize(frame[name], sort=True, use_na_sentinel=False) for name in JOB_KEY]
    (uri_codes, uris), (id_codes, ids) = parts
    both = uri_codes.astype(np.int64) * max(len(ids), 1) + id_codes
    found = np.flatnonzero(np.bincount(both, minlength=1)) if len(both) else both
    renumbered = np.zeros(int(found[-1]) + 1 if len(found) else 0, np.int64)
    renumbered[found] = np.arange(len(found))
    uri_of, id_of = np.divmod(found, max(len(ids), 1))
    keys = pd.DataFrame({"source_uri": uris.take(uri_of), "job_id": ids.take(id_of)})
    return renumbered[both], keys


def without_gaps(jobs: pd.DataFrame) -> pd.DataFrame:
    """The snapshots with a time and an answer, without the rows that record a gap."""
    known = jobs["observed_at"].notna()
    if "error" in jobs:
        known &= jobs["error"].isna()
    return jobs[known]


def with_phase(jobs: pd.DataFrame, *, server_version: str | None = None) -> pd.DataFrame:
    """The jobs frame with each snapshot's phase.

    A snapshot is judged by itself and by what the same job showed before, never by what came later,
    so a frame that is cut at any time gives the same phases.

    ================  ===================================================================
    state             phase
    ================  ===================================================================
    Pending           Pending
    Importing         by progress, on the scale of the server's release: see
                      :data:`~importstats.analysis.scales.SCALES`
    any other known   the phase of that name
    none, or unknown  Unknown
    ================  ===================================================================

    * The release is known by its version (``server_version``), by the dialect of its answers
      (``createTime`` from 2.6.5 on, code 200 until 2.4.2, no ``describe`` until 2.4.13), and by
      what is impossible on a scale: all rows and a progress of 66 is Import V3, half of them and
      82 is 2.4.0-rc.1, 94 is no release from 2.4.13 on. Rows that were not sent are not 0 rows.
    * Usually none of these shows whether 70 to 80 is Sorting (2.5 on) or IndexBuilding (2.4.13
      to 2.4.23): it is ``SortingOrIndexing`` then. Above, it is IndexBuilding on both, with the
      smaller of the two fractions.
    * At the border of two phases it is the later, by far the likelier: a phase that is done lasts
      until the server's next check. But Importing is not over while rows are missing or none were
      counted (an import of delete logs), nor PreImporting while neither rows nor files are there.
    * Rows overrule progress: a written row proves that PreImporting is over, whatever the progress.
      If no scale explains a snapshot, or no single scale explains everything that a job has shown,
      the phase is Unknown.
    * Completed is final. A server up to 2.6.6 calls a completed job Failed once its collection is
      dropped or its time is up; such a job stays Completed. Some servers call a job Failed that
      they no longer know; such a job is Unknown.
    * Milvus up to 2.3 (bulk insert, known by its ``extra``) has no phases but Importing, whose
      progress goes to 90 with the rows that were read; the last 10 are their flush.
    * Without a usable progress (missing, negative, 0 while importing) the rows decide between
      PreImporting, Importing and, once all rows are there, the next phase, the earliest that is
      possible then. Without rows as well it is Unknown.

    Parameters
    ----------
    jobs : DataFrame
        A jobs frame, see :mod:`importstats.store.frames`.
    server_version : str, optional
        The server's release, such as ``2.4.15``, or the name of a scale (``Import V3``), if the
        frame does not show it.

    Returns
    -------
    DataFrame
        `jobs`, with the same rows and order, and

        ``phase`` : ordered category
            One of :data:`PHASES`.
        ``phase_fraction`` : float64
            0 to 1, how much of the phase's own measure is done (files, rows, segments, not time);
            NaN if the server does not report it.
        ``phase_source`` : str
            ``cluster`` or ``progress``; only if `jobs` come from
            :func:`~importstats.analysis.cluster_phase.with_known_phase`, whose phases are believed.

    Examples
    --------
    >>> jobs = pd.DataFrame({
    ...     "source_uri": "http://localhost:19530", "job_id": "7",
    ...     "observed_at": pd.date_range("2026-05-18", periods=4, freq="60s", tz="UTC"),
    ...     "state": ["Pending", "Importing", "Importing", "Importing"],
    ...     "progress_pct": [5.0, 40.0, 55.0, 80.0], "imported_rows": [0, 0, 500, 1000],
    ...     "total_rows": [0, 1000, 1000, 1000], "detail_count": [0, 3, 3, 3]})
    >>> with_phase(jobs)[["phase", "phase_fraction"]]
               phase  phase_fraction
    0        Pending             0.5
    1      Importing             0.0
    2      Importing             0.5
    3  IndexBuilding             0.0
    """
    state = States.from_jobs(jobs)
    progress = floats(jobs, "progress_pct")
    progress = np.where((progress >= 0) & (progress <= 100), progress, np.nan)
    at_work = state.is_in(_AT_WORK) | (state.is_in([""]) & (progress > 0) & (progress < 100))
    imported, total = floats(jobs, "imported_rows"), floats(jobs, "total_rows")
    shown = Shown(progress, imported, total, floats(jobs, "detail_count"), at_work)
    fits = fitting(shown)
    possible = _possible_scales(jobs, fits, state)
    if server_version is not None:
        version = jobs.get("server_version", pd.Series(pd.NA, jobs.index))
        possible &= version.notna().to_numpy()[:, None] | scales_of_version(server_version)
    code, fraction = phase_by_scales(shown, possible & fits)
    # A server that divides by a zero total sends zero.
    unusable = np.isnan(progress) | (progress < 10)
    overruled = (code == CODE["PreImporting"]) & (shown.imported > 0)
    by_rows = np.flatnonzero(unusable | overruled)
    code[by_rows], fraction[by_rows] = _from_rows(shown.take(by_rows), possible[by_rows])

    bulk = is_bulk_insert(jobs)
    code = np.where(bulk, CODE["Importing"], code)
    fraction = np.where(bulk, np.clip(progress / 90, 0, 1), fraction)

    found = jobs.assign(**_by_state(jobs, state, at_work, progress, code, fraction))
    return by_known_phase(found) if KNOWN_PHASE in jobs else found


def _by_state(
    jobs: pd.DataFrame,
    state: States,
    at_work: Bools,
    progress: Floats,
    code: Ints,
    fraction: Floats,
) -> dict[str, Any]:
    """The phase columns: for jobs at work as given, for all others from their state."""
    named = state.coded({name: CODE[phase] for name, phase in _STATES.items()}, otherwise=-1)
    code = np.where(named >= 0, named, np.where(at_work, code, CODE["Unknown"]))
    pending = state.is_in(["pending"])
    fraction = np.where(pending, np.where(progress <= 10, progress / 10, np.nan), fraction)
    fraction = np.where(at_work | pending, fraction, np.nan)
    code = np.where((code == CODE["Failed"]) & is_forgotten(jobs), CODE["Unknown"], code)
    over = np.isin(code, [CODE["Failed"], CODE["Unknown"]])
    if over.any():
        code = np.where(over & _completed_before(jobs, code), CODE["Completed"], code)
    fraction = np.where(code == CODE["Completed"], 1.0, fraction)
    return {"phase": pd.Categorical.from_codes(code, dtype=PHASE_DTYPE), "phase_fraction": fraction}


def is_forgotten(jobs: pd.DataFrame) -> Bools:
    """Whether each snapshot's failure only means that the server does not know the job.

    A server forgets a job some hours after its end, whether it completed or failed.
    """
    if "reason" not in jobs:
        return np.zeros(len(jobs), np.bool_)
    failed = States.from_jobs(jobs).is_in(["failed"])
    found = np.zeros(len(jobs), np.bool_)
    if failed.any():
        reasons = jobs["reason"][failed].astype("str")
        found[failed] = reasons.str.contains(_NO_SUCH_JOB).fillna(False).to_numpy(np.bool_)
    return found


_NO_SUCH_JOB: Final = re.compile(
    r"\bjob\b.{0,60}\b(?:does not|doesn't) exist|\bjob\b.{0,30}\bnot found|"
    r"unknown import job state",
    re.IGNORECASE,
)


def _completed_before(jobs: pd.DataFrame, code: Ints) -> Bools:
    """Whether each snapshot's job was Completed by then."""
    codes, _ = job_codes(jobs)
    order = np.lexsort((_tie_break(jobs), _observed_us(jobs), codes))
    done = pd.Series(code[order] == CODE["Completed"]).groupby(codes[order]).cummax()
    found = np.empty(len(jobs), np.bool_)
    found[order] = done.to_numpy(np.bool_)
    return found


def _from_rows(shown: Shown, possible: Bools) -> tuple[Ints, Floats]:
    """Phase and fraction of jobs at work whose progress shows nothing."""
    share = shown.share
    # Once all rows are there it is at least the phase that follows Importing.
    after, _ = phase_by_scales(replace(shown, progress=np.full(len(share), 70.0)), possible)
    conditions = [share >= 1, shown.begun, (shown.imported == 0) & ~(shown.total > 0)]
    codes = [
        after,
        np.full(len(share), CODE["Importing"]),
        np.full(len(share), CODE["PreImporting"]),
    ]
    code = np.select(conditions, codes, CODE["Unknown"]).astype(np.int64)
    return code, np.where(code == CODE["Importing"], share, np.nan)


def _possible_scales(jobs: pd.DataFrame, fits: Bools, state: States) -> Bools:
    """The scales that each snapshot's job can be on, by all that it has shown: (rows, scales)."""
    # A snapshot that no scale explains does not show which scale it is.
    fits = fits | ~fits.any(axis=1, keepdims=True)
    commits = np.array([scale.commits for scale in SCALES])
    named = state.is_in(["uncommitted", "committing"])
    fits &= ~named.reshape(-1, 1) | commits
    if "server_version" in jobs:
        fits &= scales_of_versions(jobs["server_version"])
    for hinted, scales in _hints(jobs):
        fits &= ~hinted[:, None] | scales
    if fits.all():
        return fits
    codes, keys = job_codes(jobs)
    order = np.lexsort((_tie_break(jobs), _observed_us(jobs), codes))
    codes, place = codes[order], np.arange(len(order))
    possible = np.ones_like(fits)
    for scale in np.flatnonzero(~fits.all(axis=0)):
        # The places at which each job rules the scale out.
        out = np.flatnonzero(~fits[order, scale])[::-1]
        ruled_out = np.full(len(keys), len(order))
        ruled_out[codes[out]] = out
        possible[order, scale] = place < ruled_out[codes]
    return possible


def _hints(jobs: pd.DataFrame) -> list[tuple[Bools, Bools]]:
    """The snapshots whose dialect shows the release, and the scales that it leaves."""
    hints = []
    if "create_time" in jobs:
        hints.append((jobs["create_time"].notna().to_numpy(np.bool_), _WITH_CREATE_TIME))
    if "extra" in jobs:
        # For stores from before the column existed.
        hints.append((_in_extra(jobs, r'"createTime":\s*"'), _WITH_CREATE_TIME))
    if "status" in jobs:
        # Zilliz Cloud's first API has that code as well.
        code_200 = floats(jobs, "status") == 200
        if code_200.any():
            cloud = jobs["source_uri"].astype("str").str.contains("zillizcloud", regex=False)
            hints.append((code_200 & ~cloud.to_numpy(np.bool_), _WITH_CODE_200))
    return hints


def _in_extra(jobs: pd.DataFrame, pattern: str) -> Bools:
    """Whether each snapshot's unknown fields, as JSON with or without spaces, match a pattern."""
    if jobs["extra"].isna().all():
        return np.zeros(len(jobs), np.bool_)
    found = jobs["extra"].astype("str").str.contains(pattern, regex=True)
    return found.fillna(False).to_numpy(np.bool_)


def is_bulk_insert(jobs: pd.DataFrame) -> Bools:
    """Whether each snapshot came from Milvus up to 2.3, whose jobs only import."""
    if "extra" not in jobs:
        return np.zeros(len(jobs), np.bool_)
    return _in_extra(jobs, r'"api":\s*"bulk_insert"')


def phases(jobs: pd.DataFrame, *, server_version: str | None = None) -> pd.DataFrame:
    """The phases that each job went through, with their times and how exact these are.

    A border between two phases lies somewhere between two snapshots; `start` and `end` are the
    middle, which is wrong by at most half the gap. If the server reports when the job ended
    (``complete_time``) and that lies between the two snapshots, its time is used instead.

    * A job that goes back to an earlier phase (a retry, a restarted node) begins a new run of it,
      so a job can have several rows of one phase.
    * A phase that fell between two snapshots was never seen and is not invented; the uncertainty
      of the border says how much room there is for it.
    * Snapshots without an answer, or whose answer does not show the phase, are left out. A *named*
      state that is unknown is a phase ``Unknown``.

    Parameters
    ----------
    jobs : DataFrame
        A jobs frame, see :mod:`importstats.store.frames`, in any order, of any number of jobs.
    server_version : str, optional
        As for :func:`with_phase`.

    Returns
    -------
    DataFrame
        One row per run, ordered by job and time:

        ``source_uri``, ``job_id`` : category or str
            As in the input.
        ``run`` : int64
            The run's number in its job, from 0.
        ``phase`` : ordered category
        ``start`` : datetime64[us, UTC]
            When it was first seen if the recording began in it; ``start_earliest`` is NaT then.
        ``end`` : datetime64[us, UTC]
            NaT for the last run of a job: it still goes on, or it is an end state.
        ``duration_s`` : float64
            From `start` to `end`, or to the last snapshot of a run that goes on (a lower bound).
            NaN for Completed and Failed.
        ``start_earliest``, ``start_latest``, ``end_earliest``, ``end_latest`` : datetime64[us, UTC]
            The earliest and latest times at which the run can have begun and ended.
        ``uncertainty_s`` : float64
            The longest minus the shortest duration that the snapshots allow, which is the width of
            both borders together. For a run that goes on it is the start's width. NaN if the start
            was not seen.
        ``snapshots`` : int64
        ``phase_fraction`` : float64
            At the last snapshot of the run, see :func:`with_phase`.
        ``rows_at_start``, ``rows_at_end`` : Int64
            Imported rows at the first and the last snapshot of the run.

    Examples
    --------
    >>> jobs = pd.DataFrame({
    ...     "source_uri": "http://localhost:19530", "job_id": "7",
    ...     "observed_at": pd.date_range("2026-05-18", periods=4, freq="60s", tz="UTC"),
    ...     "state": ["Pending", "Importing", "Importing", "Importing"],
    ...     "progress_pct": [5.0, 40.0, 55.0, 80.0], "imported_rows": [0, 0, 500, 1000],
    ...     "total_rows": [0, 1000, 1000, 1000], "detail_count": [0, 3, 3, 3]})
    >>> phases(jobs)[["phase", "duration_s", "uncertainty_s", "snapshots", "rows_at_end"]]
               phase  duration_s  uncertainty_s  snapshots  rows_at_end
    0        Pending        30.0            NaN          1            0
    1      Importing       120.0          120.0          2          500
    2  IndexBuilding        30.0           60.0          1         1000
    """
    phased = with_phase(jobs, server_version=server_version)
    row = np.flatnonzero(_shows_phase(phased))
    codes, keys = job_codes(phased.iloc[row][JOB_KEY])
    observed = phased["observed_at"].to_numpy(dtype="datetime64[us]")
    order = np.lexsort((_tie_break(phased)[row], observed[row].astype(np.int64), codes))
    row, codes = row[order], codes[order]
    phase, observed = phased["phase"].cat.codes.to_numpy()[row], observed[row]

    begins = np.ones(len(row), np.bool_)
    begins[1:] = (codes[1:] != codes[:-1]) | (phase[1:] != phase[:-1])
    first = np.flatnonzero(begins)
    last = np.append(first[1:], len(row))[: len(first)] - 1
    opens = np.ones(len(first), np.bool_)  # the first run of its job
    opens[1:] = codes[first[1:]] != codes[first[:-1]]
    goes_on = np.append(~opens[1:], False)[: len(first)]  # not the last run of its job
    ends = np.isin(phase[first], [CODE[name] for name in END_PHASES])

    earliest = np.where(opens, _NEVER, observed[np.maximum(first - 1, 0)])
    earliest, latest = _sharpened(phased, row, first, last, ends, earliest, observed[first])
    start = earliest + (latest - earliest) // 2
    start = np.where(np.isnat(start), latest, start)
    end = _next(start, goes_on, _NEVER)
    duration_s = _seconds(np.where(np.isnat(end), observed[last], end) - start)
    width_s = _seconds(latest - earliest)
    nth = np.arange(len(first))
    job = keys.iloc[codes[first]]
    return pd.DataFrame(
        {
            **{name: job[name].array for name in JOB_KEY},
            "run": nth - np.maximum.accumulate(np.where(opens, nth, 0)),
            "phase": pd.Categorical.from_codes(phase[first], dtype=PHASE_DTYPE),
            "start": _utc_times(start),
            "end": _utc_times(end),
            "duration_s": np.where(ends & ~goes_on, np.nan, duration_s),
            "start_earliest": _utc_times(earliest),
            "start_latest": _utc_times(latest),
            "end_earliest": _utc_times(_next(earliest, goes_on, _NEVER)),
            "end_latest": _utc_times(_next(latest, goes_on, _NEVER)),
            "uncertainty_s": width_s + _next(width_s, goes_on, 0.0),
            "snapshots": last - first + 1,
            "phase_fraction": phased["phase_fraction"].to_numpy()[row[last]],
            "rows_at_start": phased["imported_rows"].iloc[row[first]].astype("Int64").array,
            "rows_at_end": phased["imported_rows"].iloc[row[last]].astype("Int64").array,
        },
        copy=False,
    )


_Times = npt.NDArray[np.datetime64]
_NEVER: Final = np.datetime64("NaT", "us")
_ONE_SECOND: Final = np.timedelta64(1_000_000, "us")


def _shows_phase(jobs: pd.DataFrame) -> Bools:
    """Whether each snapshot shows a phase, or has a named state that is unknown here."""
    state = States.from_jobs(jobs)
    named = ~state.is_in(["", *_AT_WORK])
    unknown = jobs["phase"].cat.codes.to_numpy() == CODE["Unknown"]
    shows_it: Bools = named | ~unknown
    return shows_it & jobs["observed_at"].notna().to_numpy(np.bool_)


def _sharpened(
    phased: pd.DataFrame,
    row: Ints,
    first: Ints,
    last: Ints,
    ends: Bools,
    earliest: _Times,
    latest: _Times,
) -> tuple[_Times, _Times]:
    """The borders, narrowed to the server's own time of the end if that is credible."""
    if "complete_time" not in phased or not len(first):
        return earliest, latest
    times = phased["complete_time"].to_numpy(dtype="datetime64[us]")[row]
    # A later answer may lack it: a server calls a completed job failed, and gives no time.
    known = np.append(np.flatnonzero(~np.isnat(times)), len(times))
    place = known[np.searchsorted(known, first)]
    completed = np.where(place <= last, np.append(times, _NEVER)[place], _NEVER)
    # The server's clock counts whole seconds; a larger difference means that the clocks differ.
    fits = ends & ~(completed < earliest - _ONE_SECOND) & (completed <= latest)
    said = np.where(completed < earliest, earliest, completed)
    return np.where(fits, said, earliest), np.where(fits, said, latest)


def _next(values: npt.NDArray[Any], goes_on: Bools, otherwise: Any) -> npt.NDArray[Any]:
    """The value of the next run of the same job."""
    found = np.full_like(values, otherwise)
    found[goes_on] = values[1:][goes_on[:-1]]
    return found


def _seconds(length: npt.NDArray[np.timedelta64]) -> Floats:
    return pd.TimedeltaIndex(length).total_seconds().to_numpy(np.float64)


def _utc_times(times: _Times) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(times).tz_localize("UTC")


def _observed_us(frame: pd.DataFrame) -> Ints:
    """Microseconds since 1970; a missing time sorts first."""
    return frame["observed_at"].to_numpy(dtype="datetime64[us]").astype(np.int64)


def _tie_break(frame: pd.DataFrame) -> Ints:
    """The order of snapshots of the same microsecond: by id, or else by position."""
    if "snapshot_id" not in frame:
        return np.arange(len(frame), dtype=np.int64)
    return np.asarray(frame["snapshot_id"].astype("Int64").to_numpy(np.int64, na_value=-1))
