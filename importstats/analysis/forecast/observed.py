"""Each job's past at each of its snapshots, as columns that only look back.

Every number here depends only on the snapshot and earlier ones of the same job. Everything is
computed column by column, for all jobs at once.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from importstats.analysis.forecast.line import line_s
from importstats.analysis.forecast.timeline import ordered_snapshots
from importstats.analysis.phase import is_bulk_insert, with_phase
from importstats.arrays import US_PER_S, Bools, Floats, Ints, floats, seconds
from importstats.names import PHASE_DTYPE, WORK_PHASES

_MODELLED: Final = {
    "Resharding": "Importing",
    "Planning": "Sorting",
    "SortingOrIndexing": "Sorting",
}
_ORDER: Final = (*WORK_PHASES[:-1], "Uncommitted", WORK_PHASES[-1], "Completed")
_PLACE: Final = {name: place for place, name in enumerate(_ORDER)}
# Servers build a segment's index as soon as it is sorted: its time counts from the first sort on.
_INDEXES: Final = _PLACE["IndexBuilding"]
# One point of progress as a fraction of a phase (phases span 10 or 30 points); the fraction of
# Importing is that of rows.
_RESOLUTION: Final = {"PreImporting": 1 / 30, "Importing": 1e-3}


def observe(jobs: pd.DataFrame) -> pd.DataFrame:
    """The facts that are known at each snapshot in a jobs frame.

    Parameters
    ----------
    jobs : DataFrame
        A jobs frame, see :mod:`importstats.store.frames`.

    Returns
    -------
    DataFrame
        A :func:`~importstats.analysis.forecast.timeline.ordered_snapshots` with ``shown_phase``,
        ``phase`` (as the model knows it) and ``phase_fraction``, and as float64 (NaN if not known):

        ``now_s``
            ``observed_at`` in seconds since 1970.
        ``place`` : int64
            The phase's place in the order of phases, -1 if it has none.
        ``point``
            How far the job is, as place plus fraction, never less than before; jobs are compared at
            equal points.
        ``stood_s``
            The time since it came to that point, from the middle between two snapshots.
        ``<phase>_s``
            For each of :data:`WORK_PHASES` that is over: how long it took, from the middle
            between the snapshots around its start to that of its end. A phase that fell between two
            snapshots is assumed to have taken a quarter of the time between them. ``Finishing``
            takes the place of IndexBuilding: it is Sorting and IndexBuilding together, since a
            segment's index is built as soon as it is sorted.
        ``<phase>_gap_s``
            The sum of the gaps between these snapshots at start and end.
        ``elapsed_s``
            The time in the phase so far (from when it was first seen, if it began unseen).
        ``reached``, ``still_s``
            The phase's fraction at its last step, and the time since then (or since the phase
            began, before the first step).
        ``gained``, ``gained_s``
            How much of the fraction came in steps that were seen, and the time from the phase's
            start to the last of them.
        ``step``
            The largest step of the fraction that was seen, at least the resolution of a
            whole-number ``progress``. 1 until it has moved.
        ``lived_s``
            The time since the job was first seen, or created if the server reports it.
        ``poll_s``
            Time since the snapshot before.
        ``line_s``
            The time left by the line through progress.
        ``only_imports``
            As bool: no phase follows Importing (Milvus up to 2.3, whose jobs only import).
    """
    rows = with_phase(ordered_snapshots(jobs))
    rows = rows.assign(shown_phase=rows["phase"], phase=_modelled(rows))
    job, now = rows["job"].to_numpy(), seconds(rows)
    place = _places_in_order(rows["phase"])
    opens = np.append(True, np.diff(job) != 0)[: len(rows)]
    before = np.where(opens, np.nan, np.append(np.nan, now[:-1])[: len(rows)])
    first = _first_rows(job, place)
    start = now - np.where(opens, 0.0, (now - before) / 2)
    start = np.where(opens, _creation_times(rows, now), start)
    columns = _finished_durations(job, place, now - before, opens, start, first)
    fraction = _finishing_fractions(rows, place, start, first)
    columns |= _pace(job, place, now, fraction, opens, start, first)
    begin = np.maximum.accumulate(np.where(opens, np.arange(len(rows)), 0))
    columns["lived_s"] = now - start[begin] if len(rows) else now
    share = np.clip(np.nan_to_num(columns["reached"]), 0, 0.999)
    # From Sorting on jobs are compared by their progress, whatever its scale is.
    finishing = (place == _INDEXES) | (place == _INDEXES - 1)
    reported = np.clip(floats(rows, "progress_pct") / 100, 0, 0.999)
    share = np.where(finishing, np.nan_to_num(reported), share)
    point = np.where(place >= 0, np.where(finishing, _INDEXES - 1, place) + share, -1.0)
    furthest = pd.Series(point).groupby(job).cummax()
    columns["point"] = np.asarray(furthest.to_numpy(), np.float64)
    columns["stood_s"] = now - _reached_at(job, now, before, columns["point"])
    seen = rows.assign(
        now_s=now, place=place, poll_s=now - before, only_imports=is_bulk_insert(rows), **columns
    )
    return seen.assign(line_s=line_s(seen))


def _modelled(rows: pd.DataFrame) -> pd.Series:
    """The phases as the model knows them: Sorting follows Resharding and Importing."""
    phase = rows["phase"].astype("str")
    job = rows["job"].to_numpy()
    resharded = phase.isin(["Resharding", "Planning"]).groupby(job).cummax()
    phase = phase.where(~(resharded & phase.eq("Importing")), "Sorting")
    return phase.replace(_MODELLED).astype(PHASE_DTYPE)


def _finishing_fractions(rows: pd.DataFrame, place: Ints, start: Floats, first: Ints) -> Floats:
    """The fraction of each row's phase; for IndexBuilding it is one of Finishing as a whole.

    Indexes may be built from the first sort on, or only once everything is sorted: import V3 always
    builds them then, so do servers whose sorts and builds share slots, and some show no progress
    before. So two paces are mixed geometrically: that of all builds since the first sort, and that
    between the steps that were seen (up to the second: of what was built since the phase began).
    Each step halves the weight of the first pace; one step alone says little, as many builds may
    end at once (ours).
    """
    fraction = np.array(rows["phase_fraction"].to_numpy(np.float64))
    job, now = rows["job"].to_numpy(), seconds(rows)
    at = np.flatnonzero((place == _INDEXES) & (fraction > 0) & (fraction < 1))
    entry = first[job[at], _INDEXES]
    begin = np.minimum(entry, first[job[at], _INDEXES - 1])
    # Nothing is known about work before a job was first seen.
    known = start[begin] < now[begin]
    at, entry, begin = at[known], entry[known], begin[known]
    if not len(at):
        return fraction
    resharded = rows["shown_phase"].isin(["Resharding", "Planning"]).groupby(job).cummax()
    last = resharded.to_numpy(np.bool_)[at]
    # As of the snapshot that first showed this fraction.
    first_now = pd.Series(now[at]).groupby([job[at], fraction[at]]).transform("first")
    shown = first_now.to_numpy(np.float64)
    base = np.where(last, 0.0, np.nan_to_num(fraction[entry]))
    before = base + np.where(last, 0.0, np.minimum(_UNSEEN_STEP, (1 - base) / 2))
    done = np.maximum(fraction[at], before)
    built = done - before
    steps = pd.DataFrame(np.where(built > 0, [shown, done], np.nan).T).groupby(job[at])
    one = steps.transform("first").to_numpy(np.float64)
    again = done > one[:, 1]
    began = np.where(again, one[:, 0], np.where(last, start[entry], now[entry]))
    took = np.maximum(shown - start[begin], 1.0)
    by_all = took / done
    with np.errstate(divide="ignore", invalid="ignore"):
        by_phase = (shown - began) / np.where(again, done - one[:, 1], built)
    by_phase = np.where((built > 0) & (by_phase > 0), by_phase, by_all)
    moves = (built > 0) & ((np.diff(done, prepend=0.0) != 0) | (np.diff(job[at], prepend=-1) != 0))
    number = pd.Series(moves).groupby(job[at]).cumsum().to_numpy(np.float64)
    counts = np.where(last, 1.0, 1 - 0.5**number)
    rest = (1 - done) * by_all ** (1 - counts) * by_phase**counts
    fraction[at] = took / (took + rest)
    return fraction


# How much of the next step was done when the phase was first seen: half, or nothing if no build had
# begun (ours).
_UNSEEN_STEP: Final = 0.03


def _places_in_order(phase: pd.Series) -> Ints:
    names = phase.astype("category")
    places = [_PLACE.get(str(name), -1) for name in names.cat.categories]
    return np.append(places, -1)[names.cat.codes.to_numpy()].astype(np.int64)


def _creation_times(rows: pd.DataFrame, now: Floats) -> Floats:
    """The job's creation in seconds if the server reports it, else the time of the snapshot."""
    reported = np.full(len(rows), np.nan)
    if "extra" in rows and len(rows):
        text = rows["extra"].drop_duplicates().dropna().astype("str")
        times = pd.to_datetime(
            text.str.extract(r'"createTime":\s*"([^"]+)"')[0],
            utc=True,
            errors="coerce",
            format="ISO8601",
        )
        by_text = dict(zip(text, times, strict=True))
        reported = _since_1970(rows["extra"].astype("str").map(by_text))
    if "create_time" in rows:
        column = _since_1970(rows["create_time"])
        reported = np.where(np.isnan(column), reported, column)
    return np.where(np.isnan(reported), now, np.minimum(reported, now))


def _since_1970(times: pd.Series) -> Floats:
    value = pd.to_datetime(times, utc=True).to_numpy(dtype="datetime64[us]")
    return np.where(np.isnat(value), np.nan, value.astype(np.int64) / US_PER_S)


def _reached_at(job: Ints, now: Floats, before: Floats, point: Floats) -> Floats:
    """The time at which each row's job came to its current point."""
    moves = np.append(True, (np.diff(job) != 0) | (np.diff(point) > 0))[: len(job)]
    last = np.maximum.accumulate(np.where(moves, np.arange(len(job)), 0))
    return np.asarray((now - np.nan_to_num(now - before) / 2)[last], np.float64)


def _first_rows(job: Ints, place: Ints) -> Ints:
    """The first row of each job and place, or the number of rows if none: (jobs, places)."""
    jobs = int(job[-1]) + 1 if len(job) else 0
    first = np.full((jobs, len(_ORDER)), len(job), np.int64)
    known = np.flatnonzero(place >= 0)[::-1]
    first[job[known], place[known]] = known
    return first


def _finished_durations(
    job: Ints, place: Ints, gap: Floats, opens: Bools, start: Floats, first: Ints
) -> dict[str, Floats]:
    """The durations of finished phases, from the snapshot that shows their end."""
    none = len(job)
    columns = {}
    # One more than there are rows, so that "never" is a row too.
    gap, start = np.append(gap, np.nan), np.append(start, np.nan)
    opens, place = np.append(opens, True), np.append(place, -1)
    ordinal = np.arange(none)
    for number, name in enumerate(_ORDER):
        if name not in WORK_PHASES:
            continue
        begin = first[:, number]
        if number == _INDEXES:
            begin = np.minimum(begin, first[:, number - 1])
        end = first[:, number + 1 :].min(axis=1, initial=none)
        seen = (begin < end) & (end < none) & (~opens[begin] | (name == "Pending"))
        passed = (begin == none) & (end < none) & ~opens[end]
        passed &= (place[np.maximum(end - 1, 0)] < number) & (place[np.maximum(end - 1, 0)] >= 0)
        took = np.where(seen, start[end] - start[begin], np.where(passed, gap[end] / 4, np.nan))
        width = np.where(seen, gap[end] + np.nan_to_num(gap[begin]), gap[end])
        width = np.where(seen | passed, width, np.nan)
        shown = ordinal >= end[job]
        name = "Finishing" if number == _INDEXES else name
        columns[f"{name}_s"] = np.where(shown, took[job], np.nan)
        columns[f"{name}_gap_s"] = np.where(shown, width[job], np.nan)
    return columns


def _pace(
    job: Ints, place: Ints, now: Floats, fraction: Floats, opens: Bools, start: Floats, first: Ints
) -> dict[str, Floats]:
    """Elapsed time and steps of the current phase.

    A fraction is a whole number of points and moves in steps, so it is exact only at the moment
    when it changes, which lies between two snapshots. So paces are taken between changes.
    """
    size = len(job)
    begin = np.where(place >= 0, first[job, np.maximum(place, 0)], np.arange(size))
    sorts = np.minimum(begin, first[job, _INDEXES - 1])
    begin = np.where(place == _INDEXES, sorts, begin)
    origin = start[begin]
    unseen = opens[begin] & (place != 0) & (origin >= now[begin])
    run = begin * len(_ORDER) + place
    order = np.lexsort((np.arange(size), run))
    known = order[~np.isnan(fraction[order])]
    result = {
        "elapsed_s": now - origin,
        "still_s": now - origin,
        "reached": np.zeros(size),
        "gained": np.zeros(size),
        "gained_s": np.zeros(size),
        "step": np.ones(size),
    }
    if not len(known):
        return result
    group, at, done = run[known], now[known], fraction[known]
    head = np.append(True, group[1:] != group[:-1])
    last_done = np.where(head, 0.0, np.append(0.0, done[:-1]))
    # If the beginning of a phase was not seen, its steps count from when it was first seen.
    late = head & unseen[known]
    base = (
        pd.Series(np.where(late, done, 0.0)).groupby(group).transform("first").to_numpy(np.float64)
    )
    begins = pd.Series(np.where(late, at, origin[known]))
    base_at = begins.groupby(group).transform("first").to_numpy(np.float64)
    changed = (done != last_done) | late
    # IndexBuilding is timed from the first sort on, but its first step is no older than a snapshot.
    earlier = np.where(opens[known], base_at, np.maximum(base_at, now[np.maximum(known - 1, 0)]))
    before = np.where(head, earlier, np.append(0.0, at[:-1]))
    when = np.where(changed & ~late, (before + at) / 2, base_at)
    last = np.maximum.accumulate(np.where(changed | head, np.arange(len(known)), 0))
    jump = np.where(changed & ~head, np.maximum(done - last_done, 0.0), 0.0)
    jump = np.where(head & ~late, done, jump)
    step = pd.Series(jump).groupby(group).cummax().to_numpy(np.float64)
    names = np.array([_RESOLUTION.get(name, 0.1) for name in _ORDER])
    step = np.where(step > 0, np.maximum(step, names[np.maximum(place[known], 0)]), 1.0)
    result["reached"][known] = done[last]
    result["still_s"][known] = at - when[last]
    result["gained"][known] = np.maximum(done[last] - base, 0.0)
    result["gained_s"][known] = np.maximum(when[last] - base_at, 0.0)
    result["step"][known] = step
    return result
