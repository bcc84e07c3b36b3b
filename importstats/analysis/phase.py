"""The hidden phase of a job, per snapshot and as a table of phases with their times.

The server sends a coarse ``state`` and one number, ``progress``, that it computes from a phase it
does not name: each phase owns a range of points (``internal/datacoord/import_util.go``). Reading
the number backwards gives the phase, and rows and details decide where two phases share a number.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from importstats.arrays import Bools, Floats, Ints
from importstats.names import END_PHASES, JOB_KEY, PHASE_DTYPE, PHASES

_CODE: Final = {phase: code for code, phase in enumerate(PHASES)}
_STATES: Final = {
    "pending": "Pending",
    "uncommitted": "Uncommitted",
    "committing": "Committing",
    "completed": "Completed",
    "failed": "Failed",
}
_AT_WORK: Final = frozenset({"importing", "inprogress"})
# Points by which a whole-number progress may miss the share of rows it was computed from.
_ROUNDING: Final = 1.5
_ONE_SECOND: Final = pd.Timedelta(seconds=1)


def job_codes(frame: pd.DataFrame) -> tuple[Ints, pd.DataFrame]:
    """A number per row that says which job it belongs to, and the jobs behind the numbers.

    Parameters
    ----------
    frame : DataFrame
        Any frame with the columns ``source_uri`` and ``job_id``.

    Returns
    -------
    codes : ndarray of int64
        Per row, the position of its job in `keys`.
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


def with_phase(jobs: pd.DataFrame) -> pd.DataFrame:
    """The jobs frame with the phase of each snapshot.

    A snapshot is judged by itself and by what the same job has shown before it, never by what came
    later, so a frame cut at any time gives the same answers.

    ================  ===================================================================
    state             phase
    ================  ===================================================================
    Pending           Pending
    Importing         by progress: 10 to 40 PreImporting, 40 to 70 Importing, 70 to 80
                      Sorting, 80 to 90 IndexBuilding, 99 Committing (nobody has to
                      commit, else the state would be Uncommitted)
    any other known   the phase of that name
    none, or unknown  Unknown
    ================  ===================================================================

    * At 40 it is Importing once rows or details are there, else still PreImporting. At 70 it is
      Importing while rows are missing, else Sorting; at 80 IndexBuilding. A phase that is done
      lasts only until the server's next check, a phase that has just begun until its first part
      is done, so at a border the later one is by far the likelier.
    * Rows overrule progress: a row that is written proves that PreImporting is over, whatever the
      progress.
    * Early 2.4 has other ranges (PreImporting 10 to 50, Importing 50 to 90, IndexBuilding from
      90). A job is taken for one of these from the first snapshot on that says so: rows that
      fit the other range only, no rows above 40, or a progress between 90 and 99.
    * Milvus up to 2.3 (bulk insert, known by its ``extra``) has no phases but Importing, whose
      progress goes to 90 with the rows that were read; the last 10 are their flush.
    * Without a usable progress (missing, negative, 0 while importing) the rows decide between
      PreImporting, Importing and, once all are there, Sorting, which is the earliest of the
      phases it can be then. With neither it is Unknown.

    Parameters
    ----------
    jobs : DataFrame
        A jobs frame, see :mod:`importstats.store.frames`.

    Returns
    -------
    DataFrame
        `jobs`, same rows and order, and

        ``phase`` : ordered category
            One of :data:`PHASES`.
        ``phase_fraction`` : float64
            0 to 1, how much of the phase's own measure is done (files, rows, segments, not time);
            NaN if the server does not say.

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
    state = _state_names(jobs)
    progress = _floats(jobs, "progress_pct")
    progress = np.where((progress >= 0) & (progress <= 100), progress, np.nan)
    imported, total = _floats(jobs, "imported_rows"), _floats(jobs, "total_rows")
    details = _floats(jobs, "detail_count")
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(total > 0, np.minimum(imported / total, 1.0), np.nan)

    at_work = np.isin(state, list(_AT_WORK)) | ((state == "") & (progress > 0) & (progress < 100))
    begun = (imported > 0) | (total > 0) | (details > 0)
    nothing = (total == 0) & ~begun
    early = _early_release(jobs, at_work, progress, share, nothing)

    code, fraction = _from_progress(progress, share, begun, early)
    guess, guess_fraction = _from_rows(imported, share, begun, total)
    # Zero is what a server sends that divides by a zero total.
    unusable = np.isnan(progress) | (progress < 10)
    overruled = (code == _CODE["PreImporting"]) & (imported > 0)
    code = np.where(unusable | overruled, guess, code)
    fraction = np.where(unusable | overruled, guess_fraction, fraction)

    bulk = is_bulk_insert(jobs)
    code = np.where(bulk, _CODE["Importing"], code)
    fraction = np.where(bulk, np.clip(progress / 90, 0, 1), fraction)

    for name, phase in _STATES.items():
        code = np.where(state == name, _CODE[phase], code)
    code = np.where(at_work | np.isin(state, list(_STATES)), code, _CODE["Unknown"])
    pending = state == "pending"
    fraction = np.where(pending, np.where(progress <= 10, progress / 10, np.nan), fraction)
    fraction = np.where(at_work | pending, fraction, np.nan)
    fraction = np.where(state == "completed", 1.0, fraction)
    return jobs.assign(
        phase=pd.Categorical.from_codes(code, dtype=PHASE_DTYPE), phase_fraction=fraction
    )


def _from_progress(
    progress: Floats, share: Floats, begun: Bools, early: Bools
) -> tuple[Ints, Floats]:
    """Phase and fraction of jobs at work, by where the progress falls."""
    rows_missing = share < 1
    before = np.where(early, 50.0, 40.0)
    rows_end = np.where(early, 90.0, 70.0)
    by_rows = 40 + 30 * share
    importing = (
        (progress < rows_end)
        | ((progress == rows_end) & rows_missing)
        | (rows_missing & ~early & (np.abs(progress - by_rows) <= _ROUNDING))
    )
    importing_fraction = (progress - before) / (rows_end - before)
    # The rows are the finer measure, as long as they and the progress speak of the same thing.
    close = np.abs(share - importing_fraction) <= 0.1
    choices = [
        ((progress < before) | ((progress == before) & ~begun), "PreImporting"),
        (importing, "Importing"),
        (~early & (progress < 80), "Sorting"),
        (~early & (progress == 99), "Committing"),
    ]
    fractions = [
        np.clip((progress - 10) / (before - 10), 0, 1),
        np.clip(np.where(close, share, importing_fraction), 0, 1),
        np.clip((progress - 70) / 10, 0, 1),
        np.full(len(progress), np.nan),
    ]
    conditions = [condition for condition, _ in choices]
    codes = [np.full(len(progress), _CODE[phase]) for _, phase in choices]
    start = np.where(early, 90.0, 80.0)
    building = np.clip((progress - start) / 10, 0, 1)
    return (
        np.select(conditions, codes, _CODE["IndexBuilding"]).astype(np.int64),
        np.select(conditions, fractions, building),
    )


def _from_rows(imported: Floats, share: Floats, begun: Bools, total: Floats) -> tuple[Ints, Floats]:
    """Phase and fraction of jobs at work whose progress says nothing."""
    conditions = [share >= 1, begun, (imported == 0) & ~(total > 0)]
    codes = [_CODE["Sorting"], _CODE["Importing"], _CODE["PreImporting"]]
    code = np.select(conditions, codes, _CODE["Unknown"]).astype(np.int64)
    return code, np.where((code == _CODE["Importing"]), share, np.nan)


def _early_release(
    jobs: pd.DataFrame, at_work: Bools, progress: Floats, share: Floats, nothing: Bools
) -> Bools:
    """Whether the job has, by this snapshot, shown the ranges of early 2.4."""
    rows_say = (
        (share < 1)
        & (np.abs(progress - (50 + 40 * share)) <= _ROUNDING)
        & (np.abs(progress - (40 + 30 * share)) > _ROUNDING)
    )
    still_reading = (progress > 40) & (progress <= 50) & nothing
    shown = at_work & (rows_say | still_reading | ((progress > 90) & (progress < 99)))
    if not shown.any():
        return shown
    codes, _ = job_codes(jobs)
    order = np.lexsort((_tie_break(jobs), _times(jobs), codes))
    seen = pd.Series(shown[order]).groupby(codes[order]).cummax().to_numpy()
    early = np.empty(len(jobs), np.bool_)
    early[order] = seen
    return early


def is_bulk_insert(jobs: pd.DataFrame) -> Bools:
    """Whether each snapshot came from the API of Milvus up to 2.3, whose jobs only import."""
    if "extra" not in jobs:
        return np.zeros(len(jobs), np.bool_)
    marked = jobs["extra"].astype("str").str.contains('"api":"bulk_insert"', regex=False)
    return marked.fillna(False).to_numpy(np.bool_)


def phases(jobs: pd.DataFrame) -> pd.DataFrame:
    """The phases each job went through, with their times and how exactly these are known.

    A border between two phases is seen only as lying between two snapshots; `start` and `end` are
    its middle, which is at most half the gap wrong. Where the server says when the job ended
    (``complete_time``) and that fits between the two snapshots, its time is taken instead.

    * A job that goes back to an earlier phase (a retry, a restarted node) begins a new run of it,
      so a job can have several rows of one phase.
    * A phase that fell between two snapshots was never seen and is not invented; the uncertainty
      of the border says how much room there is for it.
    * Snapshots without an answer, or whose answer does not tell the phase, are left out. An
      unknown *named* state is a phase ``Unknown``.

    Parameters
    ----------
    jobs : DataFrame
        A jobs frame, see :mod:`importstats.store.frames`, in any order, of any number of jobs.

    Returns
    -------
    DataFrame
        One row per run, ordered by job and time:

        ``source_uri``, ``job_id`` : str
        ``run`` : int64
            Place of the run in its job, from 0.
        ``phase`` : ordered category
        ``start`` : datetime64[us, UTC]
            The first sight of it if the recording began in it; ``start_earliest`` is NaT then.
        ``end`` : datetime64[us, UTC]
            NaT for the last run of a job: it still goes on, or it is an end state.
        ``duration_s`` : float64
            From `start` to `end`, or to the last snapshot of a run that goes on (a lower bound).
            NaN for Completed and Failed.
        ``start_earliest``, ``start_latest``, ``end_earliest``, ``end_latest`` : datetime64[us, UTC]
            Between which times the borders lie.
        ``uncertainty_s`` : float64
            Widths of both borders together: longest minus shortest duration that the snapshots
            allow. Of a run that goes on it is the start's. NaN if the start was not seen.
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
    told = _told(with_phase(jobs))
    codes, keys = job_codes(told)
    order = np.lexsort((_tie_break(told), _times(told), codes))
    told, codes = told.iloc[order], codes[order]
    phase = told["phase"].cat.codes.to_numpy()
    observed = told["observed_at"].reset_index(drop=True)

    begins = np.ones(len(told), np.bool_)
    begins[1:] = (codes[1:] != codes[:-1]) | (phase[1:] != phase[:-1])
    first = np.flatnonzero(begins)
    last = np.append(first[1:], len(told))[: len(first)] - 1
    opens = np.ones(len(first), np.bool_)  # the first run of its job
    opens[1:] = codes[first[1:]] != codes[first[:-1]]
    closes = np.append(opens[1:], True)[: len(first)]  # the last run of its job

    missing = pd.Series(pd.NaT, index=range(len(first)), dtype=observed.dtype)
    seen_first, seen_last = _at(observed, first), _at(observed, last)
    earliest = missing.where(opens, _at(observed, np.maximum(first - 1, 0)))
    latest = seen_first
    ends = np.isin(phase[first], [_CODE[name] for name in END_PHASES])
    earliest, latest = _sharpened(told, first, last, ends, earliest, latest)
    start = (earliest + (latest - earliest) / 2).dt.as_unit("us").fillna(latest)

    end = start.shift(-1).where(~closes)
    end_earliest = earliest.shift(-1).where(~closes)
    end_latest = latest.shift(-1).where(~closes)
    width = (latest - earliest).dt.total_seconds()
    end_width = width.shift(-1).where(~closes, 0.0)
    duration = (end.fillna(seen_last) - start).dt.total_seconds()
    rows = told["imported_rows"].astype("Int64").reset_index(drop=True)
    job = keys.iloc[codes[first]].reset_index(drop=True)
    nth = np.arange(len(first))
    return job.assign(
        run=nth - np.maximum.accumulate(np.where(opens, nth, 0)),
        phase=_at(told["phase"], first),
        start=start,
        end=end,
        duration_s=duration.where(~ends | ~closes),
        start_earliest=earliest,
        start_latest=latest,
        end_earliest=end_earliest,
        end_latest=end_latest,
        uncertainty_s=width + end_width,
        snapshots=last - first + 1,
        phase_fraction=_at(told["phase_fraction"], last),
        rows_at_start=_at(rows, first),
        rows_at_end=_at(rows, last),
    )


def _told(jobs: pd.DataFrame) -> pd.DataFrame:
    """The snapshots that tell a phase, and those with a state that has no phase here."""
    state = _state_names(jobs)
    named = ~np.isin(state, ["", *_AT_WORK])
    return jobs[(named | (jobs["phase"] != "Unknown")) & jobs["observed_at"].notna()]


def _sharpened(
    told: pd.DataFrame, first: Ints, last: Ints, ends: Bools, earliest: pd.Series, latest: pd.Series
) -> tuple[pd.Series, pd.Series]:
    """The borders, closed in on the server's own time where an end state has a credible one."""
    if "complete_time" not in told:
        return earliest, latest
    completed = _at(told["complete_time"], last)
    # The server's clock counts whole seconds; one that is further off is another clock.
    fits = ends & ~(completed < earliest - _ONE_SECOND) & (completed <= latest)
    said = completed.where(~(completed < earliest), earliest)
    return earliest.where(~fits, said), latest.where(~fits, said)


def _at(column: pd.Series, positions: Ints) -> pd.Series:
    return column.iloc[positions].reset_index(drop=True)


def _state_names(jobs: pd.DataFrame) -> npt.NDArray[np.object_]:
    """States in lower case, ``""`` where there is none (the server's word for none is None)."""
    state = jobs["state"].astype("category")
    names = [str(name).lower() for name in state.cat.categories]
    names = ["" if name == "none" else name for name in names] + [""]
    return np.array(names, dtype=object)[state.cat.codes.to_numpy()]


def _floats(frame: pd.DataFrame, name: str) -> Floats:
    """A column as floats; NaN where it is missing, or everywhere if the frame has none."""
    if name not in frame:
        return np.full(len(frame), np.nan)
    return np.asarray(frame[name].astype("Float64").to_numpy(np.float64, na_value=np.nan))


def _times(frame: pd.DataFrame) -> Ints:
    """Microseconds since 1970; a missing time sorts first."""
    return frame["observed_at"].to_numpy(dtype="datetime64[us]").astype(np.int64)


def _tie_break(frame: pd.DataFrame) -> Ints:
    """What orders snapshots of the same microsecond: their id, or else their place."""
    if "snapshot_id" not in frame:
        return np.arange(len(frame), dtype=np.int64)
    return np.asarray(frame["snapshot_id"].astype("Int64").to_numpy(np.int64, na_value=-1))
