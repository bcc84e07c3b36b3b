"""Stragglers: the files that hold a job up, why, and by how much.

Files of one task are handed over, wait and end together, so the task is judged (see
:func:`~importstats.infer_tasks`) and its files share the verdict. Servers report a file's rows when
all of it is written, so a running task shows no pace but only its *age*. It is late once it has
worked far longer than the tasks of its job, by a model of the durations of ended and running tasks
(:mod:`importstats.analysis.durations`), and than those nearest in size
(:mod:`importstats.analysis.near`). If rows do grow inside files, a task's duration is read off its
progress and judged in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from importstats.analysis.ages import Ages
from importstats.analysis.near import relative_times
from importstats.analysis.spans import Spans
from importstats.arrays import (
    US_PER_S,
    Bools,
    Floats,
    Ints,
    ends,
    grouped_quantile,
    starts,
    timestamps,
    whole_counts,
    with_columns,
)
from importstats.names import JOB_KEY

#: The verdicts, harmless ones first.
VERDICTS: Final = (
    "done",
    "ok",
    "waiting",
    "waiting behind a batch",
    "big",
    "slow",
    "unknown",
    "goes back",
    "stuck",
    "failed",
)
VERDICT_DTYPE: Final = pd.CategoricalDtype(list(VERDICTS), ordered=True)
#: The verdicts of stragglers.
STRAGGLING: Final = ("big", "slow", "unknown", "goes back", "stuck")
#: Whether a straggler is at work now, or was one and has ended.
WHEN_DTYPE: Final = pd.CategoricalDtype(["now", "was"], ordered=True)

# The least scatter of log durations that is believed: a few tasks may agree by chance.
_LEAST_SIGMA: Final = 0.1
# Standard deviation of a logistic error of scale one.
_LOGISTIC_SD: Final = np.pi / np.sqrt(3)
# A task that has reached this share of the factor and is still at work is likely to reach it
# (ours: of 0.75, 0.8 and 0.85 the least with a precision of 0.6 on ``benchmarks/worlds``).
_AT_WORK: Final = 0.8
# A prediction from rows counts once a task has worked for this share of its usual time.
_WORKED: Final = 0.8
# From this multiple of its usual time on it is certain enough that a task will be the last.
_GROWN: Final = 0.6

# A waiting task was handed over before if this share of the tasks that were handed over have files
# this many times as large, and size and order correlate this well.
_OVERTAKEN_TIMES: Final = 1.25
_OVERTAKEN_BY: Final = 20
_IN_ORDER: Final = 0.9


@dataclass(frozen=True)
class Limits:
    """The thresholds of the verdicts; see :func:`stragglers`."""

    late_factor: float = 2.0
    back_factor: float = 1.2
    lead_share: float = 0.1
    big_factor: float = 3.0
    stuck_factor: float = 5.0


def stragglers(
    details: pd.DataFrame,
    at: datetime | pd.Timestamp | None = None,
    *,
    late_factor: float = Limits.late_factor,
    back_factor: float = Limits.back_factor,
    lead_share: float = Limits.lead_share,
    big_factor: float = Limits.big_factor,
    stuck_factor: float = Limits.stuck_factor,
) -> pd.DataFrame:
    """Every file with how long it takes, how long it should, and the verdict.

    ==========================  ====================================================================
    verdict                     the file's task
    ==========================  ====================================================================
    ``done``                    has ended, and was none of the stragglers below
    ``ok``                      is at work for no longer than others of its size, or too young to
                                judge, or there is nothing to compare it with
    ``waiting``                 waits for a slot, which is not its fault
    ``waiting behind a batch``  was handed over long ago, to a node that may still be busy with a
                                task that is late and came before
    ``big``                     takes long because it has `big_factor` times the bytes of the median
                                task, and the end waits for it
    ``slow``                    takes `late_factor` times as long as others of its size, and moves;
                                or did so and has ended
    ``unknown``                 takes as long and shows no progress: nobody can see whether it is
                                slow or stuck; or is likely to be the last by far
    ``goes back``               went back to the queue, and takes `back_factor` times the usual
                                time; or waits though tasks of far larger files were handed over,
                                so it went back before a poll showed it at work
    ``stuck``                   has shown no progress for `stuck_factor` times what others take
    ``failed``                  has failed
    ==========================  ====================================================================

    The last row that applies is the verdict. A task is worth a look if it takes far longer than
    usual (`late_factor`; one at work from four fifths of that on), went back and is late, or
    will end later than all others by `lead_share` of the import's time. A file that was a straggler
    stays one after its end (``when`` is "was").

    Parameters
    ----------
    details : DataFrame
        A details frame, see :mod:`importstats.store.frames`. If a job has shown little, other jobs
        of its collection and cluster in the frame help.
    at : datetime, optional
        Only what was observed until then is used. By default all of it.
    late_factor, back_factor, lead_share, big_factor, stuck_factor : float
        The thresholds above, chosen on ``benchmarks/worlds`` with seeds below 1000.

    Returns
    -------
    DataFrame
        One row per file, ordered by job and place:

        ``source_uri``, ``job_id`` : category or str
        ``file_index`` : int64
        ``file`` : category or str
        ``task`` : int64
            The smallest ``file_index`` among the files of its inferred task.
        ``state`` : category or str
            As last seen.
        ``file_size_bytes``, ``total_rows``, ``imported_rows`` : Int64
            As last seen. ``total_rows`` is what the server sends, even if it is the job's total.
        ``started_at`` : datetime64[us, UTC]
            The middle of the interval in which the task was first handed over; NaT while it waits.
        ``elapsed_s`` : float64
            From ``started_at`` to its end or the last snapshot, including waits behind a batch.
        ``rows_per_s``, ``bytes_per_s`` : float64
            The file's rate over the time its task worked; NaN for a file at work without rows.
        ``peer_bytes_per_s`` : float64
            The rate of a file of its size if its task takes as long as others of its size.
        ``pace`` : float64
            The usual time divided by the time it takes; 1 is usual. NaN if not known.
        ``times_usual`` : float64
            How many times the usual time it takes, or has worked so far while it runs.
        ``as_long_p`` : float64
            The probability that a task of its size in its job takes at least as long.
        ``score`` : float64
            The logarithm of ``times_usual``, divided by the scatter of such logarithms in the job.
        ``expected_duration_s`` : float64
            How long a task of its size works (median), from the job's tasks.
        ``remaining_s`` : float64
            Until the task ends (median). 0 if it ended; NaN if it waits, is stuck, or it is not
            known.
        ``idle_s`` : float64
            Time since the last progress of a task at work that has shown some; NaN for any other.
        ``retries`` : int64
            How often the task went back.
        ``delay_s`` : float64
            How much later the phase Importing ends because of this task: the time from the end of
            all others, with the time that the slots need for the rest, to its own. For a stuck task
            this is the minimum, as if it ended now. NaN if not known.
        ``verdict`` : ordered category
        ``when`` : ordered category
            "now" for a straggler at work, "was" for one that has ended, missing for other files;
            :func:`~importstats.analysis.ranking.rank_files` orders by it.
        ``is_straggler`` : bool
            Whether it is worth a look: the verdict is ``big``, ``slow``, ``unknown``,
            ``goes back`` or ``stuck``.

    Examples
    --------
    >>> times = pd.date_range("2026-05-18", periods=7, freq="30s", tz="UTC")
    >>> ends = {"a": 2, "b": 2, "c": 3, "d": 9}  # the snapshot that shows the end
    >>> details = pd.concat(pd.DataFrame({
    ...     "observed_at": times, "source_uri": "u", "job_id": "7", "file_index": place,
    ...     "file": name, "file_size_bytes": 1000 + place, "total_rows": 100,
    ...     "state": ["Completed" if n >= end else "InProgress" for n in range(7)],
    ...     "progress_pct": [100.0 * (n >= end) for n in range(7)],
    ...     "imported_rows": [100 * (n >= end) for n in range(7)]})
    ...     for place, (name, end) in enumerate(ends.items()))
    >>> stragglers(details)[["file", "times_usual", "verdict", "when"]].round(1)
      file  times_usual  verdict when
    0    a          0.8     done  NaN
    1    b          0.8     done  NaN
    2    c          1.2     done  NaN
    3    d          2.5  unknown  now
    """
    limits = Limits(late_factor, back_factor, lead_share, big_factor, stuck_factor)
    return straggler_table(Ages.from_details(details, at), limits)


def straggler_table(ages: Ages, limits: Limits) -> pd.DataFrame:
    """The result of :func:`stragglers`, from ages that are known already."""
    found = _verdict_table(ages, _verdict_codes(ages, limits))
    return found.sort_values([*JOB_KEY, "file_index"], ignore_index=True)


def _verdict_codes(ages: Ages, limits: Limits) -> Ints:
    """The index in :data:`VERDICTS` of each task's verdict."""
    spans = ages.spans
    times, whole = ages.times_usual, ages.whole_s
    late = _is_late(ages, limits.late_factor)
    behind = late & spans.running & _may_wait(ages, late)
    late &= ~behind
    with np.errstate(invalid="ignore"):
        back = (spans.retries > 0) & (_elapsed_s(ages) > limits.back_factor * ages.usual_s)
        back |= _overtaken(spans)
        leads = spans.running & (ages.lead_share > limits.lead_share)
        leads &= ages.worked_s > _GROWN * ages.usual_s
        # The only task of a job cannot end after others.
        leads &= np.bincount(spans.job, minlength=spans.jobs)[spans.job] > 1
        held_up = _held_up(ages, limits.lead_share)
        median = grouped_quantile(spans.size_bytes, spans.job, spans.jobs)[spans.job]
        big = (leads | held_up) & (spans.size_bytes >= limits.big_factor * median)
        big &= times <= limits.late_factor
        idle_s = np.where(spans.steps > 0, spans.now[spans.job] - spans.moved_at, whole)
        moves = (spans.steps > 0) & (idle_s <= ages.usual_s)
        stuck = late & spans.running & (idle_s > limits.stuck_factor * ages.usual_s)
    verdict = np.full(len(spans.job), VERDICTS.index("ok"))
    for holds, name in (
        (spans.done, "done"),
        (spans.waits, "waiting"),
        (behind, "waiting behind a batch"),
        (leads | (late & spans.running), "unknown"),
        (big, "big"),
        (late & (spans.done | moves), "slow"),
        (back, "goes back"),
        (stuck, "stuck"),
        (spans.failed, "failed"),
    ):
        verdict[holds] = VERDICTS.index(name)
    return verdict


def _held_up(ages: Ages, lead_share: float) -> Bools:
    """Whether each task ended this much later than all others, once all of its job's have ended."""
    spans = ages.spans
    after_s = _after_others_s(spans)
    open_ones = np.bincount(spans.job[~spans.done], minlength=spans.jobs) > 0
    took_s = spans.ended_by - ages.since[spans.job]
    return np.asarray(
        spans.done & ~open_ones[spans.job] & (after_s > lead_share * took_s), np.bool_
    )


def _is_late(ages: Ages, factor: float) -> Bools:
    """Whether each task took `factor` times longer than others of its size, or probably will.

    A task at work is also compared with those nearest in size, which share its load. For a task
    that ended, all the time in which it may have waited is subtracted.
    """
    spans, usual = ages.spans, ages.usual_s
    size = spans.size_bytes + ages.durations.fixed_bytes[spans.job]
    near = relative_times(spans.job, size, ages.whole_s, ages.known)
    with np.errstate(invalid="ignore"):
        surely = spans.duration_least() - spans.wait_most_s > factor * usual
        at_work = np.minimum(ages.times_usual, near) > _AT_WORK * factor
        at_work &= ages.worked_s > _WORKED * usual
        late = np.where(spans.done, surely, at_work)
    return np.asarray(late & spans.begun & ~spans.failed, np.bool_)


def _may_wait(ages: Ages, late: Bools) -> Bools:
    """Whether each task may be waiting for a node that is busy with an earlier, late task.

    A node takes no further task until all of its batch have ended. A task that was handed over
    after a late task must have begun is in a later batch, if it is on the same node.
    """
    spans = ages.spans
    blockers = np.flatnonzero(late & spans.running)
    limit = np.full(spans.jobs, np.inf)
    begun_by = spans.handed_by[blockers] + spans.wait_most_s[blockers]
    np.minimum.at(limit, spans.job[blockers], begun_by)
    silent = np.isnan(spans.rose_by)
    return np.asarray(silent & (spans.handed_by > limit[spans.job]), np.bool_)


def _overtaken(spans: Spans) -> Bools:
    """Whether each task waits although tasks with far larger files were handed over.

    The server makes tasks of the smallest files first. If it hands them over in that order, such a
    task was handed over before them and has gone back, all between two polls. If the other tasks
    were not handed over by size, this shows nothing.
    """
    overtaken = np.zeros(len(spans.job), np.bool_)
    file_bytes = spans.size_bytes / spans.files
    once = spans.begun & (spans.retries == 0)
    waits = spans.waits & (spans.retries == 0)
    order = np.argsort(spans.job, kind="stable")
    bounds = np.searchsorted(spans.job[order], np.arange(spans.jobs + 1))
    for job in np.unique(spans.job[waits]):
        here = order[bounds[job] : bounds[job + 1]]
        begun, mine = here[once[here]], here[waits[here]]
        if len(begun) < _OVERTAKEN_BY or not _in_order(file_bytes[begun], spans.handed_by[begun]):
            continue
        sizes = np.sort(file_bytes[begun])
        larger = len(sizes) - np.searchsorted(sizes, _OVERTAKEN_TIMES * file_bytes[mine])
        overtaken[mine] = larger >= _OVERTAKEN_BY
    return overtaken


def _in_order(file_bytes: Floats, handed: Floats) -> bool:
    """Whether tasks were handed over by size (Spearman's rank correlation)."""
    ranks = [np.argsort(np.argsort(values, kind="stable")) for values in (file_bytes, handed)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1]) >= _IN_ORDER


def _elapsed_s(ages: Ages) -> Floats:
    """The seconds from a task's first handover to its end, or to the last snapshot."""
    spans = ages.spans
    stop = np.where(spans.done, spans.ended_by, spans.now[spans.job])
    begun = spans.begun | (spans.retries > 0)
    return np.where(begun, np.maximum(stop - _started(ages), 0.0), np.nan)


def _started(ages: Ages) -> Floats:
    """The middle of the interval in which each task was first handed over."""
    spans = ages.spans
    after = np.where(spans.retries > 0, np.nan, spans.handed_after)
    early = np.where(np.isnan(after), spans.first_handed_by, after)
    return np.asarray((early + spans.first_handed_by) / 2, np.float64)


def _after_others_s(spans: Spans) -> Floats:
    """The seconds by which each task ended after all others that have begun, or has run longer."""
    stop = np.where(spans.done, spans.ended_by, spans.now[spans.job])
    stop = np.where(spans.begun, stop, -np.inf)
    order = np.lexsort((-stop, spans.job))
    first = starts(spans.job[order])
    top, second = np.full(spans.jobs, -np.inf), np.full(spans.jobs, -np.inf)
    of = spans.job[order[first]]
    top[of] = stop[order[first]]
    several = ends(first, len(order)) > first
    second[of[several]] = stop[order[first[several] + 1]]
    others = top[spans.job]
    others[order[first]] = second[of]
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(others), np.maximum(stop - others, 0.0), np.nan)


def _delays(ages: Ages, verdict: Ints) -> tuple[Floats, Floats]:
    """Each task's ``remaining_s`` and ``delay_s``; see :func:`stragglers`."""
    spans = ages.spans
    stuck = (verdict == VERDICTS.index("stuck")) & spans.running
    remaining = np.where(stuck, np.nan, ages.remaining_s)
    after = _after_others_s(spans)
    lead = np.where(stuck, np.fmax(after, np.nan_to_num(ages.lead_s - ages.remaining_s)), 0.0)
    at_work = np.where(stuck, lead, np.maximum(ages.lead_s, 0.0))
    return remaining, np.where(spans.done, after, np.where(spans.running, at_work, np.nan))


def _verdict_table(ages: Ages, verdict: Ints) -> pd.DataFrame:
    spans = ages.spans
    samples, unit = spans.samples, spans.of_file
    last = samples.frame.iloc[samples.row[ends(starts(samples.key), len(samples.key))]]
    remaining, delay = _delays(ages, verdict)
    file_bytes, total_rows = (
        whole_counts(last, name) for name in ("file_size_bytes", "total_rows")
    )
    size = file_bytes.to_numpy(np.float64, na_value=np.nan)
    rows = total_rows.to_numpy(np.float64, na_value=np.nan)
    leader = np.full(len(spans.job), np.iinfo(np.int64).max)
    keys = samples.keys()
    np.minimum.at(leader, unit, keys["file_index"].to_numpy(np.int64))
    started = _started(ages)
    at = timestamps(np.where(np.isnan(started), 0, started * US_PER_S).astype(np.int64))
    with np.errstate(divide="ignore", invalid="ignore"):
        whole = np.where(ages.known & (ages.whole_s > 0), ages.whole_s, np.nan)
        pace = ages.usual_s / whole
        log = np.log(np.where(ages.times_usual > 0, ages.times_usual, np.nan))
    scatter = np.maximum(_LOGISTIC_SD * ages.durations.scatter, _LEAST_SIGMA)
    moved = np.where(spans.steps > 0, spans.now[spans.job] - spans.moved_at, np.nan)
    columns = {
        "task": leader[unit],
        "state": last["state"].array,
        "file_size_bytes": file_bytes.array,
        "total_rows": total_rows.array,
        "imported_rows": whole_counts(last, "imported_rows").array,
        "started_at": at.where(~np.isnan(started)).array.take(unit),
        "elapsed_s": _elapsed_s(ages)[unit],
        "rows_per_s": rows / whole[unit],
        "bytes_per_s": size / whole[unit],
        "peer_bytes_per_s": size / ages.usual_s[unit],
        "pace": pace[unit],
        "times_usual": ages.times_usual[unit],
        "as_long_p": ages.as_long_p[unit],
        "score": (log / scatter[spans.job])[unit],
        "expected_duration_s": ages.usual_s[unit],
        "remaining_s": remaining[unit],
        "idle_s": np.where(spans.running, moved, np.nan)[unit],
        "retries": spans.retries[unit],
        "delay_s": delay[unit],
        "verdict": pd.Categorical.from_codes(verdict[unit], dtype=VERDICT_DTYPE),
        "when": pd.Categorical.from_codes(_when_codes(ages, verdict)[unit], dtype=WHEN_DTYPE),
        "is_straggler": _straggling(verdict)[unit],
    }
    return with_columns(keys, columns)


def _straggling(verdict: Ints) -> Bools:
    return np.isin(verdict, [VERDICTS.index(name) for name in STRAGGLING])


def _when_codes(ages: Ages, verdict: Ints) -> npt.NDArray[np.int8]:
    straggling = _straggling(verdict)
    codes = np.where(straggling, np.where(ages.spans.running, 0, 1), -1)
    return codes.astype(np.int8)
