"""What had been seen of each job by each of its snapshots, as columns that only look back.

Every number here is a function of the snapshot and of earlier ones of the same job. All of it is
computed column by column; the only loops are over jobs.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from importstats.analysis.phase import is_bulk_insert, job_codes, with_phase
from importstats.arrays import Bools, Floats, Ints, floats, seconds
from importstats.names import JOB_KEY, PHASE_DTYPE, WORK_PHASES

#: How much of the time in the phase so far counts as recent.
RECENT_SHARE: Final = 0.3

_FILE_COLUMNS: Final = ("progress_pct", "file_size_bytes")


def timeline(jobs: pd.DataFrame) -> pd.DataFrame:
    """The snapshots of a jobs frame in order, each once, and a number for their job.

    Rows that are no snapshots (a recorded gap, no time) are left out, and so is the second of two
    rows with the same job and snapshot id.

    Parameters
    ----------
    jobs : DataFrame
        A jobs frame, see :mod:`importstats.store.frames`.

    Returns
    -------
    DataFrame
        The columns of `jobs`, and ``job`` : int64, ordered by job, time and snapshot id, with an
        index from 0.

    Examples
    --------
    >>> jobs = pd.DataFrame({
    ...     "source_uri": "u", "job_id": ["8", "7", "7", "7"], "snapshot_id": [4, 3, 1, 1],
    ...     "observed_at": pd.to_datetime([4, 3, 1, 1], unit="s", utc=True)})
    >>> timeline(jobs)[["job", "job_id", "snapshot_id"]]
       job job_id  snapshot_id
    0    0      7            1
    1    0      7            3
    2    1      8            4
    """
    is_snapshot = jobs["observed_at"].notna()
    if "error" in jobs:
        is_snapshot &= jobs["error"].isna()
    rows = jobs[is_snapshot]
    codes, _ = job_codes(rows)
    rows = rows.assign(job=codes).sort_values(["job", "observed_at", "snapshot_id"], kind="stable")
    return rows.drop_duplicates(["job", "snapshot_id"], ignore_index=True)


def job_slices(rows: pd.DataFrame) -> Iterator[slice]:
    """The range of rows of each job of a timeline."""
    job = rows["job"].to_numpy()
    borders = np.flatnonzero(np.diff(job)) + 1
    for start, stop in zip([0, *borders], [*borders, len(job)], strict=True):
        if stop > start:
            yield slice(int(start), int(stop))


def expand_details(rows: pd.DataFrame, details: pd.DataFrame) -> pd.DataFrame:
    """One row per snapshot and file, whether the details frame holds runs or single snapshots.

    A file is known by its name (servers may list the files in another order every time), or by
    its place in the list if it has none.

    Parameters
    ----------
    rows : DataFrame
        A :func:`timeline`.
    details : DataFrame
        A details frame, see :mod:`importstats.store.frames`.

    Returns
    -------
    DataFrame
        Ordered by ``row`` :

        ``row`` : int64
            Index of the snapshot in `rows`.
        ``job`` : int64
        ``file`` : int64
            The same number for the same file of a job.
        ``state`` : category
        ``progress_pct``, ``file_size_bytes`` : float64
    """
    last = details["last_snapshot_id"] if "last_snapshot_id" in details else details["snapshot_id"]
    runs = pd.DataFrame(
        {
            "source_uri": details["source_uri"].astype("str"),
            "job_id": details["job_id"].astype("str"),
            "first": details["snapshot_id"].to_numpy(dtype=np.int64),
            "last": last.to_numpy(dtype=np.int64),
        }
    )
    jobs = rows[[*JOB_KEY, "job"]].drop_duplicates("job").astype(dict.fromkeys(JOB_KEY, "str"))
    run_job = runs.merge(jobs, on=JOB_KEY, how="left")["job"].fillna(-1).to_numpy(dtype=np.int64)
    ids = rows["snapshot_id"].to_numpy(dtype=np.int64)
    run_of, row_of = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    by_job = pd.Series(run_job).groupby(run_job).indices
    for span in job_slices(rows):
        mine = by_job.get(int(rows["job"].iloc[span.start]))
        if mine is None:
            continue
        order = np.argsort(ids[span], kind="stable")
        sorted_ids = ids[span][order]
        start = np.searchsorted(sorted_ids, runs["first"].to_numpy()[mine], side="left")
        stop = np.searchsorted(sorted_ids, runs["last"].to_numpy()[mine], side="right")
        length = np.maximum(stop - start, 0)
        place = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
        run_of.append(np.repeat(mine, length))
        row_of.append(span.start + order[np.repeat(start, length) + place])
    run, row = np.concatenate(run_of), np.concatenate(row_of)
    order = np.argsort(row, kind="stable")
    run, row = run[order], row[order]
    return pd.DataFrame(
        {
            "row": row,
            "job": run_job[run],
            "file": _file_codes(details)[run],
            "state": details["state"].astype("category").array.take(run),
            **{name: floats(details, name)[run] for name in _FILE_COLUMNS},
        }
    )


def observe(jobs: pd.DataFrame, details: pd.DataFrame | None = None) -> pd.DataFrame:
    """What is known at each snapshot, for the model of :mod:`importstats.analysis.forecast.model`.

    Parameters
    ----------
    jobs, details : DataFrame
        Frames, see :mod:`importstats.store.frames`.

    Returns
    -------
    DataFrame
        A :func:`timeline` with ``phase`` and ``phase_fraction``, and as float64 (NaN: not known):

        ``<phase>_s``
            For each of :data:`~importstats.names.WORK_PHASES` that is over: how
            long it took,
            from the middle between the snapshots around its start to that of its end. A phase
            that fell between two snapshots is taken for a quarter of the time between them.
        ``<phase>_gap_s``
            How far apart these snapshots are, start and end together.
        ``elapsed_s``
            Time in the phase so far (from when it was first seen, if it began unseen).
        ``reached``, ``still_s``
            The phase's fraction as of its last step, and the time since then (since the phase
            began, before the first).
        ``step``
            The largest step of the fraction that was seen, at least what a whole number of
            ``progress`` resolves. 1 until it has moved.
        ``only_imports``
            As bool: no phase follows Importing (Milvus up to 2.3, whose jobs only import).
        ``mean_s``, ``recent_s``, ``schedule_s``
            Three estimates of the time that the whole phase would take at the pace of: the phase
            so far, its last :data:`RECENT_SHARE`, and the running and waiting files.
    """
    rows = with_phase(timeline(jobs))
    rows = rows.assign(shown_phase=rows["phase"], phase=_modelled(rows["phase"]))
    now = seconds(rows)
    phase = rows["phase"].astype("str").to_numpy(dtype=object)
    fraction = rows["phase_fraction"].to_numpy(dtype=np.float64)
    columns = {f"{name}{end}": np.full(len(rows), np.nan) for name in WORK_PHASES for end in _ENDS}
    own: dict[str, Floats] = {name: np.full(len(rows), np.nan) for name in _PACE_COLUMNS}
    for span in job_slices(rows):
        _durations(now[span], phase[span], {name: c[span] for name, c in columns.items()})
        for name, values in _pace(now[span], phase[span], fraction[span]).items():
            own[name][span] = values
    schedule = np.full(len(rows), np.nan)
    importing = np.flatnonzero((phase == "Importing") & (fraction < 1))
    if details is not None and len(details) and len(importing):
        rest = _schedule_rest(rows.iloc[importing].reset_index(drop=True), details)
        schedule[importing] = (rest + own["still_s"][importing]) / (1 - fraction[importing])
    return rows.assign(**columns, **own, only_imports=is_bulk_insert(rows), schedule_s=schedule)


#: A century: further than any import, and still a time that pandas can hold.
LONGEST_S: Final = 100 * 365.25 * 86400.0

# The model knows the phases that most jobs have; a part of one of these counts as it.
_MODELLED: Final = {
    "SortingOrIndexing": "Sorting",
    "Resharding": "Importing",
    "Planning": "Importing",
}


def _modelled(phase: pd.Series[Any]) -> pd.Series[Any]:
    return phase.astype("str").replace(_MODELLED).astype(PHASE_DTYPE)


_PACE_COLUMNS: Final = ("elapsed_s", "still_s", "step", "reached", "mean_s", "recent_s")
_ENDS: Final = ("_s", "_gap_s")
_ORDER: Final = (*WORK_PHASES[:-1], "Uncommitted", WORK_PHASES[-1], "Completed")
# Servers build a segment's index as soon as it is sorted, so IndexBuilding may begin half done.
_BEGINS_EARLY: Final = frozenset({"IndexBuilding"})
# What one point of progress is in the fraction of a phase (phases span 10 or 30 points); the
# fraction of Importing is that of rows.
_RESOLUTION: Final = {"PreImporting": 1 / 30, "Importing": 1e-3}


def _entries(now: Floats, phase: npt.NDArray[np.object_]) -> dict[str, tuple[int, float, float]]:
    """For each phase of one job: first row, the middle of its start, and how uncertain that is."""
    entries: dict[str, tuple[int, float, float]] = {}
    names, first = np.unique(phase.astype("str"), return_index=True)
    for name, row in sorted(zip(names.tolist(), first.tolist(), strict=True), key=lambda x: x[1]):
        gap = now[row] - now[row - 1] if row else np.nan
        entries[name] = (row, now[row] - (gap / 2 if row else 0.0), gap)
    return entries


def _durations(now: Floats, phase: npt.NDArray[np.object_], columns: dict[str, Floats]) -> None:
    """Write the durations of finished phases of one job, from the snapshot that shows their end."""
    entries = [entry for entry in _entries(now, phase).items() if entry[0] in _ORDER]
    for (name, (row, start, gap)), (following, (end_row, end, end_gap)) in pairwise(entries):
        # A recording that begins in the middle of a phase does not know its length.
        if name in WORK_PHASES and (row > 0 or name == "Pending"):
            columns[f"{name}_s"][end_row:] = end - start
            columns[f"{name}_gap_s"][end_row:] = end_gap + (0.0 if np.isnan(gap) else gap)
        seen = {entered for entered, (first, *_) in entries if first <= end_row}
        for skipped in _ORDER[_ORDER.index(name) + 1 : _ORDER.index(following)]:
            if skipped in WORK_PHASES and skipped not in seen:
                columns[f"{skipped}_s"][end_row:] = end_gap / 4
                columns[f"{skipped}_gap_s"][end_row:] = end_gap


def _pace(now: Floats, phase: npt.NDArray[np.object_], fraction: Floats) -> dict[str, Floats]:
    """Elapsed time, step and two projected durations of the current phase of one job."""
    size = len(now)
    result: dict[str, Floats] = {name: np.full(size, np.nan) for name in _PACE_COLUMNS}
    for name, (row, start, _) in _entries(now, phase).items():
        at = np.flatnonzero(phase == name)
        begun = row > 0 or name == "Pending"
        result["elapsed_s"][at] = now[at] - start
        result["still_s"][at] = now[at] - start
        result["step"][at] = 1.0
        result["reached"][at] = 0.0
        known = at[~np.isnan(fraction[at])]
        if len(known):
            from_zero = begun and name not in _BEGINS_EARLY
            paces = _pace_by_steps(now[known], fraction[known], start if from_zero else None)
            for column, values in paces.items():
                result[column][known] = values
            resolution = _RESOLUTION.get(name, 0.1)
            result["step"][known] = np.maximum(result["step"][known], resolution)
    return result


def _pace_by_steps(now: Floats, fraction: Floats, start: float | None) -> dict[str, Floats]:
    """The columns that depend on the steps of the fraction.

    A fraction is a whole number of points and moves in steps, so it is right only at the moment
    in which it changes, which lies between two snapshots: paces are taken between changes.
    """
    changed = np.append(start is not None and fraction[0] > 0, np.diff(fraction) != 0)
    place = np.flatnonzero(changed)
    before = np.where(place > 0, now[place - 1], now[0] if start is None else start)
    times, done = (before + now[place]) / 2, fraction[place]
    times = np.append(now[0] if start is None else start, times)
    done = np.append(fraction[0] if start is None else 0.0, done)
    since, gained = times - times[0], done - done[0]
    recent = RECENT_SHARE * since
    recent_from = np.interp(times - recent, times, done)
    with np.errstate(divide="ignore", invalid="ignore"):
        # What was done at the first sight of a job was done before it, nobody knows how fast.
        mean_s = np.where((gained > 0) & (since > 0), since / gained, np.nan)
        recent_s = np.where(done > recent_from, recent / (done - recent_from), np.nan)
    largest = np.maximum.accumulate(np.append(0.0, np.diff(done)))
    largest = np.where(largest > 0, largest, 1.0)
    last = np.cumsum(changed)  # Place 0 is the start.
    return {
        "mean_s": mean_s[last],
        "recent_s": recent_s[last],
        "step": largest[last],
        "reached": done[last],
        "still_s": now - times[last],
    }


def _schedule_rest(rows: pd.DataFrame, details: pd.DataFrame) -> Floats:
    """Seconds until the last file is imported, from the files that run and those that wait.

    The bytes left over the summed pace of what runs now (the area bound of list scheduling,
    Graham 1966), half a file's time more while files wait (the last wave is not full), and not
    less than the longest time to end of a running file (LATE, Zaharia et al. 2008).
    """
    files = expand_details(rows, details)
    row, at = files["row"].to_numpy(), seconds(rows)[files["row"].to_numpy()]
    running = is_state(files, "InProgress")
    over = is_state(files, "Completed", "Failed")
    done = np.clip(np.nan_to_num(files["progress_pct"].to_numpy() / 100, nan=0.0), 0, 1)
    done = np.where(over, 1.0, done)
    size = np.nan_to_num(files["file_size_bytes"].to_numpy(), nan=0.0)
    spent = at - running_since(files, running, at)
    paced = running & (done > 0) & (spent > 0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        whole = np.where(paced, spent / done, 0.0)
        pace = np.where(paced, size / whole, 0.0)

    count = len(rows)

    def total(weights: Floats | Bools) -> Floats:
        return np.asarray(np.bincount(row, weights=weights, minlength=count), np.float64)

    longest = np.zeros(count)
    np.maximum.at(longest, row, whole * (1 - done))
    paced_files = total(paced)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        # Files that run but have not moved yet are taken to run as fast as those that have.
        speed = total(pace) * total(running) / paced_files
        last_wave = np.where(total(~running & ~over) > 0, total(whole) / paced_files / 2, 0.0)
        rest = np.maximum(total((1 - done) * size) / speed + last_wave, longest)
    # Absurd sizes and progress make absurd times; nothing is known by them.
    return np.where((paced_files > 0) & (rest > 0) & (rest < LONGEST_S), rest, np.nan)


def is_state(files: pd.DataFrame, *names: str) -> Bools:
    """Which rows of :func:`expand_details` are in one of these states."""
    categories = files["state"].cat.categories
    wanted = np.append(categories.isin(names), False)
    return np.asarray(wanted[files["state"].cat.codes.to_numpy()])


def running_since(files: pd.DataFrame, running: Bools, at: Floats) -> Floats:
    """Since when each file has been running: the last time at which it was seen not to.

    Parameters
    ----------
    files : DataFrame
        Of :func:`expand_details`.
    running : ndarray of bool
        Which of its rows are of running files.
    at : ndarray of float64
        The time of each row.
    """
    key = files["job"].to_numpy() * (files["file"].max() + 1) + files["file"].to_numpy()
    order = np.argsort(key, kind="stable")
    place = np.arange(len(key))
    opens = np.append(True, np.diff(key[order]) != 0)[: len(key)]
    idle = np.maximum.accumulate(np.where(opens | ~running[order], place, 0))
    since = np.empty(len(key))
    since[order] = at[order][idle]
    return since


def _file_codes(details: pd.DataFrame) -> Ints:
    """A number per file name; unnamed files count by their place in the list."""
    place = details["file_index"].to_numpy(dtype=np.int64)
    if "file_name" not in details:
        return place
    codes, names = pd.factorize(details["file_name"])
    return np.where(codes >= 0, codes, len(names) + place).astype(np.int64)
