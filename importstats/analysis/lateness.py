"""Stragglers: the files that hold a job up, why, and by how much.

Files of one task start, move and end together, so what is judged is the task (see
:func:`~importstats.analysis.tasks.infer_tasks`); its files share the verdict. Three methods are
here:
:func:`stragglers` is ours, :func:`spark_speculation` and :func:`late_stragglers` are the rules of
Spark and of LATE for comparison.

Ours compares *paces*. A task's normal duration is ``a + b x bytes`` with a and b from the tasks of
the same job, by Tukey's resistant line (medians of the outer thirds; Tukey, Exploratory Data
Analysis, 1977, ch. 5). What its peers did of their own normal durations per second, in the very
intervals in which it ran, is what it should have done; a peer that is slow itself counts by its
pace, which takes a few rounds. The pace is what a task did by what it should have done, over the
median of the job. So neither size, nor load that changes over time, nor the fixed cost of a task
passes for slowness.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from importstats.analysis.samples import DONE_STATES, WAITING_STATES, FileSamples
from importstats.analysis.tasks import group_files
from importstats.arrays import (
    Bools,
    Floats,
    Ints,
    ends,
    floats,
    grouped_quantile,
    microseconds,
    starts,
    summed,
    timestamps,
)
from importstats.names import JOB_KEY

#: Verdicts, the harmless first.
VERDICTS: Final = ("done", "ok", "waiting", "big", "slow", "retried", "stuck", "failed")
VERDICT_DTYPE: Final = pd.CategoricalDtype(list(VERDICTS), ordered=True)
#: The verdicts that make a straggler.
STRAGGLING: Final = ("big", "slow", "retried", "stuck")

_US: Final = 1e6
_MAD_TO_SIGMA: Final = 1.4826
# The least scatter of log paces taken for real: a few tasks may agree by chance.
_LEAST_SIGMA: Final = 0.1
# Rounds in which paces and what peers should have done are brought to agree.
_ROUNDS: Final = 3


def stragglers(
    details: pd.DataFrame,
    at: datetime | pd.Timestamp | None = None,
    *,
    slow_pace: float = 0.57,
    big_factor: float = 3.0,
    stuck_share: float = 0.1,
    stuck_gaps: float = 4.0,
) -> pd.DataFrame:
    """Every file with how fast it is, how fast it should be, and the verdict.

    ===========  ================================================================================
    verdict      the file's task
    ===========  ================================================================================
    ``done``     has ended, and was none of the stragglers below
    ``ok``       is at work at a pace like the others', or too young to judge
    ``waiting``  waits for a slot, which is not its fault
    ``big``      has at least `big_factor` times the bytes of the median task
    ``slow``     has at most `slow_pace` of its peers' pace, whatever it may have done since the
                 last step of its progress
    ``retried``  went back: its progress fell, or it left work without ending
    ``stuck``    makes no progress, while its peers did what would be `stuck_share` of it, for
                 `stuck_gaps` times longer than it ever did before, or did so until it was retried
    ``failed``   has failed
    ===========  ================================================================================

    The first from below that holds is the verdict. A file that was a straggler stays one after its
    end. With fewer than two tasks there are no peers and nobody is slow.

    Parameters
    ----------
    details : DataFrame
        A details frame, see :mod:`importstats.store.frames`.
    at : datetime, optional
        Only what was observed until then is used. By default all of it.
    slow_pace, big_factor, stuck_share, stuck_gaps : float
        The thresholds above. The defaults were chosen on simulated jobs
        (``benchmarks/stragglers.py``): 0.57 lies halfway, by ratio, between a task that takes 1.5
        times as long as its peers and one that takes twice as long.

    Returns
    -------
    DataFrame
        One row per file, ordered by job and place:

        ``source_uri``, ``job_id`` : category or str
        ``file_index`` : int64
        ``file`` : category or str
        ``task`` : int64
            Smallest ``file_index`` of the files taken for its task.
        ``state`` : category or str
            As last seen.
        ``file_size_bytes``, ``total_rows``, ``imported_rows`` : Int64
            As last seen. ``total_rows`` is what the server says, also if it is the job's.
        ``started_at`` : datetime64[us, UTC]
            Middle of the interval in which the task began; NaT while it waits, and the first
            snapshot for one that was at work then.
        ``elapsed_s`` : float64
            From then to its end, or to the last snapshot.
        ``rows_per_s``, ``bytes_per_s`` : float64
            Of the file while its task was at work, rows written again included.
        ``peer_bytes_per_s`` : float64
            What a file of its size would make at its peers' pace in the same intervals.
        ``pace`` : float64
            1 is the median task of the job; NaN while nothing can be said.
        ``score`` : float64
            Robust z-score of the slowness: minus the logarithm of the pace, over its scatter among
            the job's tasks (1.4826 MAD; Iglewicz and Hoaglin, 1993).
        ``expected_duration_s`` : float64
            How long a task of its bytes takes at work by the job's other tasks.
        ``remaining_s`` : float64
            Until the task ends, at its pace so far and at the peers' recent speed (median, no
            interval). 0 if it ended; NaN if it waits, is stuck, or nothing can be said.
        ``idle_s`` : float64
            Since the last progress of a task at work.
        ``retries`` : int64
            Times the task went back.
        ``delay_s`` : float64
            How much later the phase Importing ends because of this task: its end after the end of
            all others, and after the time the slots need for the work of the others. Of a stuck
            task at least this, as if it went on now. The slots are as many as were ever seen busy.
        ``verdict`` : ordered category
        ``is_straggler`` : bool
            Whether the verdict is ``big``, ``slow``, ``retried`` or ``stuck``.

    Examples
    --------
    >>> times = pd.date_range("2026-05-18", periods=5, freq="30s", tz="UTC")
    >>> progress = {"a": [0, 20, 40, 60, 80], "b": [0, 22, 41, 64, 85], "c": [0, 2, 5, 8, 10]}
    >>> details = pd.concat(pd.DataFrame({
    ...     "observed_at": times, "source_uri": "u", "job_id": "7", "file_index": place,
    ...     "file": name, "state": "InProgress", "file_size_bytes": 1000, "total_rows": 100,
    ...     "imported_rows": steps, "progress_pct": steps})
    ...     for place, (name, steps) in enumerate(progress.items()))
    >>> stragglers(details)[["file", "bytes_per_s", "peer_bytes_per_s", "verdict"]].round(1)
      file  bytes_per_s  peer_bytes_per_s verdict
    0    a          6.7               6.7      ok
    1    b          7.1               6.4      ok
    2    c          0.8               6.5    slow
    """
    tasks = Tasks(details, at)
    verdict = _verdicts(tasks, slow_pace, big_factor, stuck_share, stuck_gaps)
    stuck_now = (verdict == VERDICTS.index("stuck")) & ~tasks.ended
    unit = tasks.of_file
    samples, last = tasks.samples, tasks.last_row
    remaining = tasks.remaining_s()
    size = tasks.file_bytes
    seconds = tasks.at_work_s[unit]
    with np.errstate(divide="ignore", invalid="ignore"):
        bytes_per_s = np.where(seconds > 0, size * tasks.gained[unit] / seconds, np.nan)
        rows = tasks.file_rows * tasks.gained[unit]
        rows_per_s = np.where(seconds > 0, rows / seconds, np.nan)
        peer = np.where(seconds > 0, size * tasks.expected[unit] / seconds, np.nan)
    frame = samples.frame
    counts = {
        name: frame[name].iloc[last].astype("Int64").to_numpy()
        if name in frame
        else pd.array([pd.NA] * len(last), dtype="Int64")
        for name in ("file_size_bytes", "total_rows", "imported_rows")
    }
    found = samples.keys().assign(
        task=tasks.task_of_file,
        state=frame["state"].iloc[last].to_numpy(),
        **counts,
        started_at=timestamps(tasks.started)[unit].reset_index(drop=True),
        elapsed_s=tasks.elapsed_s()[unit],
        rows_per_s=rows_per_s,
        bytes_per_s=bytes_per_s,
        peer_bytes_per_s=peer,
        pace=tasks.pace[unit],
        score=tasks.score()[unit],
        expected_duration_s=tasks.normal_s[unit],
        remaining_s=np.where(stuck_now, np.nan, remaining)[unit],
        idle_s=np.where(tasks.running, tasks.idle_s, np.nan)[unit],
        retries=tasks.retries[unit],
        delay_s=tasks.delay_s(remaining)[unit],
        verdict=pd.Categorical.from_codes(verdict[unit], dtype=VERDICT_DTYPE),
        is_straggler=np.isin(verdict, [VERDICTS.index(name) for name in STRAGGLING])[unit],
    )
    return found.sort_values([*JOB_KEY, "file_index"], ignore_index=True)


def spark_speculation(
    details: pd.DataFrame,
    at: datetime | pd.Timestamp | None = None,
    *,
    quantile: float = 0.75,
    multiplier: float = 1.5,
) -> pd.DataFrame:
    """What Spark would start a second time: running far longer than those that ended.

    As in Spark 3 (``TaskSetManager.checkSpeculatableTasks``; ``spark.speculation.quantile`` and
    ``.multiplier``): once `quantile` of all tasks, at least one, have ended well, a running task is
    slow if it has run for more than `multiplier` times their median duration, and 0.1 s.

    Parameters
    ----------
    details, at
        As for :func:`stragglers`.
    quantile, multiplier : float

    Returns
    -------
    DataFrame
        One row per file, ordered by job and place: ``source_uri``, ``job_id``, ``file_index``,
        ``file``, ``elapsed_s``, ``threshold_s`` (float64, NaN until enough have ended) and
        ``is_straggler`` (bool).
    """
    tasks = Tasks(details, at)
    elapsed = tasks.elapsed_s()
    well = tasks.ended & ~tasks.failed & ~np.isnan(elapsed)
    ended = np.bincount(tasks.job[well], minlength=tasks.jobs)
    enough = ended >= np.maximum(np.floor(quantile * tasks.per_job), 1)
    median = grouped_quantile(np.where(well, elapsed, np.nan), tasks.job, tasks.jobs)
    threshold = np.where(enough, np.maximum(multiplier * median, 0.1), np.nan)[tasks.job]
    slow = tasks.running & (elapsed > threshold)
    return tasks.table(elapsed_s=elapsed, threshold_s=threshold, is_straggler=slow)


def late_stragglers(
    details: pd.DataFrame,
    at: datetime | pd.Timestamp | None = None,
    *,
    slow_task_percentile: float = 25.0,
    speculative_cap: float = 0.1,
    least_run_s: float = 60.0,
) -> pd.DataFrame:
    """What LATE would start a second time: slow, and the longest time to the end.

    Longest Approximate Time to End (Zaharia et al., OSDI 2008, section 4): the progress rate of a
    task is its progress over its time; running tasks below the 25th percentile of the rates
    (SlowTaskThreshold) are taken in the order of ``(1 - progress) / rate``, the longest first, as
    many as 10 % of the slots (SpeculativeCap), at least one. Tasks are left alone in their first
    minute.

    Parameters
    ----------
    details, at
        As for :func:`stragglers`.
    slow_task_percentile, speculative_cap, least_run_s : float

    Returns
    -------
    DataFrame
        One row per file, ordered by job and place: ``source_uri``, ``job_id``, ``file_index``,
        ``file``, ``progress_rate`` (float64, share per second), ``time_to_end_s`` (float64, NaN
        without progress) and ``is_straggler`` (bool).
    """
    tasks = Tasks(details, at)
    elapsed = tasks.elapsed_s()
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.where(elapsed > 0, tasks.fraction / elapsed, np.nan)
        to_end = np.where(rate > 0, (1 - tasks.fraction) / rate, np.inf)
    limit = grouped_quantile(rate, tasks.job, tasks.jobs, slow_task_percentile / 100)
    candidate = tasks.running & (rate < limit[tasks.job]) & (elapsed >= least_run_s)
    order = np.lexsort((-np.where(candidate, to_end, -np.inf), ~candidate, tasks.job))
    first = starts(tasks.job[order])
    rank = np.empty(len(order), np.int64)
    per_job = np.diff(np.append(first, len(order)))
    rank[order] = np.arange(len(order)) - np.repeat(first, per_job)
    cap = np.maximum(np.floor(speculative_cap * tasks.slots), 1)
    to_end = np.where(np.isinf(to_end), np.nan, to_end)
    slow = candidate & (rank < cap[tasks.job])
    return tasks.table(progress_rate=rate, time_to_end_s=to_end, is_straggler=slow)


class Tasks:
    """The tasks of a details frame at a time, as arrays with one value per task.

    The samples of the first file of each task stand for it: ``task``, ``slot`` and ``time`` are
    what they are of, ``gain`` and ``run`` the fraction done and the seconds at work since the
    sample before, ``back`` whether the task went back, ``at_work``, ``queued`` and
    ``in_retry`` what it does.

    Attributes
    ----------
    samples : FileSamples
        What was observed until then.
    of_file, task_of_file : ndarray of int64
        Per file, the number of its task here, and the ``file_index`` that names it.
    last_row : ndarray of int64
        Per file, its last row in the frame.
    file_bytes, file_rows : ndarray of float64
        Per file.
    jobs : int
        Number of jobs.
    per_job, slots, now : ndarray of int64
        Per job, its tasks, how many of them were ever seen at work at once, and its last snapshot
        in microseconds since 1970.
    job : ndarray of int64
        Its job.
    started, stopped : ndarray of int64
        When it began, and ended or was last seen, in microseconds since 1970.
    begun, running, ended, failed, sure : ndarray of bool
        Whether it ever was at work, is, has ended, has failed; whether enough of its steps were
        seen to know which files it has.
    fraction, gained : ndarray of float64
        How much of it is done, and was done in all (work done again counts again).
    files : ndarray of int64
        How many files it has.
    size : ndarray of float64
        Its bytes; 1 where no size is known.
    at_work_s, normal_s : ndarray of float64
        Seconds at work, and how many it should need in all.
    expected, pace : ndarray of float64
        How much should have been done in the time at work, and how much of that was.
    step, border : ndarray of float64
        How much may be done and not yet seen, as progress moves in steps; and how much may have
        been expected too much, as start and end lie between two snapshots.
    idle_s, idle_share, habit_s : ndarray of float64
        Time at work since the last progress, how much should have been done in it, and the longest
        such time that did end with progress.
    hung_share : ndarray of float64
        How much should have been done in the longest standstill that ended with going back.
    retries : ndarray of int64
        How often it went back.
    speed : ndarray of float64
        Per job, normal seconds of work that a task at work does in a second, lately.
    """

    def __init__(self, details: pd.DataFrame, at: datetime | pd.Timestamp | None) -> None:
        until = None if at is None else _microseconds(at)
        samples = self.samples = FileSamples.of(details, until)
        self.of_file, tasks = group_files(samples)
        self.task_of_file = tasks["task"].to_numpy(np.int64)[self.of_file]
        self.last_row = samples.row[ends(starts(samples.key), len(samples.key))]
        self.file_bytes = floats(details, "file_size_bytes")[self.last_row]
        self.file_rows = floats(details, "total_rows")[self.last_row]
        count = self.count = len(tasks)
        leader = np.zeros(count, np.int64)
        leader[self.of_file[::-1]] = np.arange(len(self.of_file))[::-1]
        self.job, self.jobs = samples.job[leader], len(samples.jobs)
        self.per_job = np.bincount(self.job, minlength=self.jobs)
        self.now = np.zeros(self.jobs, np.int64)
        np.maximum.at(self.now, samples.slot_job, samples.slot_time)
        self.size = summed(self.of_file, np.nan_to_num(self.file_bytes), count)
        self.size[self.size <= 0] = 1.0
        self._watch(leader)
        self._measure()
        self._compare()

    def _watch(self, leader: Ints) -> None:
        """What happened between every two samples, by the first file of each task."""
        samples = self.samples
        is_leader = np.zeros(len(self.of_file), np.bool_)
        is_leader[leader] = True
        idle_states = samples.in_state(*WAITING_STATES, "retry", *DONE_STATES)
        chosen, self.slot = _filled(
            np.flatnonzero(is_leader[samples.key]), samples.key, samples.slot, ~idle_states
        )
        self.task = self.of_file[samples.key[chosen]]
        self.time = samples.slot_time[self.slot]
        first = self.first = np.diff(self.task, prepend=-1) != 0
        waits = samples.in_state(*WAITING_STATES, "retry")[chosen]
        self.queued = samples.in_state(*WAITING_STATES)[chosen]
        self.in_retry = samples.in_state("retry")[chosen]
        done = samples.in_state(*DONE_STATES)[chosen]
        failed = samples.in_state("failed")[chosen]
        at_work = self.at_work = ~(waits | done)

        fraction = np.where(done & ~failed, 1.0, samples.share()[chosen])
        # A failed file's zero says nothing of how far it was.
        unknown = np.isnan(fraction) | failed
        place = np.where(unknown & ~first, 0, np.arange(len(fraction)))
        fraction = np.nan_to_num(fraction[np.maximum.accumulate(place)])

        before = np.arange(len(fraction)) - ~first
        was_at_work, had_waited = at_work[before], waits[before]
        seconds = (self.time - self.time[before]) / _US
        ended = self._end_times(chosen)
        until_end = np.clip((ended - self.time[before]) / _US, 0.0, seconds)
        half = np.where(was_at_work != at_work, 0.5, 1.0) * seconds
        run = np.where(was_at_work | at_work, half, 0.0)
        closes = done & ~done[before]
        run = np.where(closes & was_at_work & ~np.isnan(until_end), until_end, run)
        self.run = np.where(closes & had_waited, 0.5 * seconds, run)
        self.seconds = seconds
        change = np.where(first, 0.0, fraction - fraction[before])
        self.gain = np.maximum(change, 0.0)
        self.back = ((change < 0) | (was_at_work & waits)) & ~first & ~failed
        self.opens = (at_work | done) & (first | had_waited)
        self.unclear = self.opens | (closes & np.isnan(until_end))

        last = ends(np.flatnonzero(first), len(first))
        self.running, self.ended = self._at_last(at_work, last), self._at_last(done, last)
        self.failed = self._at_last(failed, last)
        self.fraction = self._at_last(fraction, last)
        self.begun = self._summed(at_work | done) > 0
        begins = np.flatnonzero(self.opens)[::-1]
        middle = self.time - (0.5e6 * np.where(first, 0.0, seconds)).astype(np.int64)
        self.started = np.full(self.count, np.iinfo(np.int64).min)
        self.started[self.task[begins]] = middle[begins]
        stop = np.where(np.isnan(ended), middle, ended).astype(np.int64)
        self.stopped = self.now[self.job]
        closing = np.flatnonzero(closes | (done & first))
        self.stopped[self.task[closing]] = stop[closing]
        # The server's clock may differ from the collector's.
        self.stopped = np.maximum(self.stopped, self.started)
        moves = self._summed((self.gain > 0) & at_work)
        self.files = np.bincount(self.of_file, minlength=self.count)
        self.sure = (moves >= 2) | (self.files > 1)
        busy = np.bincount(self.slot[at_work], minlength=len(samples.slot_job))
        self.slots = np.zeros(self.jobs, np.int64)
        np.maximum.at(self.slots, samples.slot_job, busy)
        self.retries = self._summed(self.back).astype(np.int64)

    def _end_times(self, chosen: Ints) -> Floats:
        """The server's time of the end per sample, in microseconds; NaN where there is none."""
        frame, row = self.samples.frame, self.samples.row[chosen]
        if "complete_time" not in frame:
            return np.full(len(row), np.nan)
        ended, known = microseconds(frame, "complete_time")
        return np.where(known, ended, np.nan)[row]

    def _measure(self) -> None:
        """How much was done in what time, and how long the tasks of the job take."""
        self.gained = self._summed(self.gain)
        self.at_work_s = self._summed(self.run)
        # Less than this tells little of the whole, since progress moves in steps.
        told = (self.gained >= 0.3) & (self.at_work_s > 0)
        taken = np.where(told, self.at_work_s / np.where(told, self.gained, 1.0), np.nan)
        self.normal_s = _resistant_line(self.size, taken, self.job, self.jobs)
        moved = (self.gain > 0) & self.at_work
        written = np.where(moved, self.gain * self.size[self.task], np.nan)
        burst = grouped_quantile(written, self.job[self.task], self.jobs)[self.job]
        step = np.where(np.isnan(burst), 1.0, np.clip(burst / self.size, 0.01, 1.0))
        self.step = np.where(self.ended, 0.0, step)

    def _compare(self) -> None:
        """What each task should have done, by what its peers did in the same intervals."""
        work = self.gain * self.normal_s[self.task]
        pace = np.ones(self.count)
        for _ in range(_ROUNDS):
            # A slow peer is no measure: its time counts as far as it uses it.
            due = self.run * self._peer_speed(work, pace) / self.normal_s[self.task]
            expected = summed(self.task, due, self.count)
            told = (expected >= 0.15) | (self.ended & (expected > 0))
            raw = np.where(told, _ratio(self.gained, expected), np.nan)
            median = grouped_quantile(raw, self.job, self.jobs)
            median = np.where(median > 0, median, 1.0)
            raw /= median[self.job]
            pace = np.where(raw > 0, np.maximum(raw, 0.01), 1.0)
        job = self.job[self.task]
        due *= median[job]
        self.told = told
        self.expected = expected * median[self.job]
        self.pace = _ratio(self.gained, self.expected)
        lately = self._lately()
        recent = _ratio(
            summed(job[lately], work[lately], self.jobs),
            summed(job[lately], self.run[lately], self.jobs),
        )
        whole = _ratio(
            summed(job, work, self.jobs),
            summed(job, self.run, self.jobs),
        )
        self.speed = np.where(recent > 0, recent, whole)
        self.border = self._summed(np.where(self.unclear & ~self.first, due, 0.0))
        self._stand_still(due)

    def _peer_speed(self, work: Floats, pace: Floats) -> Floats:
        """Per sample, the normal seconds of work that the other tasks did per second then."""
        job = self.job[self.task]
        run = self.run * pace[self.task]
        peers_run = self._of_slot(run) - run
        peers_work = self._of_slot(work) - work
        all_run = summed(job, run, self.jobs)[job] - summed(self.task, run, self.count)[self.task]
        all_work = (
            summed(job, work, self.jobs)[job] - summed(self.task, work, self.count)[self.task]
        )
        overall = _ratio(np.maximum(all_work, 0.0), all_run)
        # Differences of sums: what is left of rounding is no time and no work.
        alone = peers_run <= 1e-6 * self.seconds
        peers_run = np.where(alone, 0.0, peers_run)
        peers_work = np.where(alone, 0.0, np.maximum(peers_work, 0.0))
        # A second of one peer that ends with a jump does not speak for a minute: the time in which
        # no peer was at work counts as usual.
        unwatched = np.maximum(self.run - peers_run, 0.0)
        supplement = np.where(unwatched > 0, unwatched * overall, 0.0)
        speed = _ratio(peers_work + supplement, peers_run + unwatched)
        return np.where(alone, overall, speed)

    def _stand_still(self, due: Floats) -> None:
        """The times without progress."""
        due = np.nan_to_num(due)
        place = np.arange(len(due))
        mark = (self.gain > 0) | self.back | self.opens | self.first
        since = np.maximum.accumulate(np.where(mark, place, 0))
        before = np.append(0, since[:-1])[: len(since)]
        before = np.where(self.first, place, before)
        due_by, run_by = np.cumsum(due), np.cumsum(self.run)
        gap_due, gap_s = due_by - due_by[before], run_by - run_by[before]
        last = ends(np.flatnonzero(self.first), len(self.first))
        self.idle_s = self._at_last(run_by - run_by[since], last)
        self.idle_share = self._at_last(due_by - due_by[since], last)
        self.habit_s = np.zeros(self.count)
        moves = self.gain > 0
        np.maximum.at(self.habit_s, self.task[moves], gap_s[moves])
        self.hung_share = np.zeros(self.count)
        np.maximum.at(self.hung_share, self.task[self.back], gap_due[self.back])

    def _lately(self) -> Bools:
        """The samples in the last fifth of the time their job was seen with files."""
        slot_job, slot_time = self.samples.slot_job, self.samples.slot_time
        first = starts(slot_job)
        since = np.zeros(self.jobs, np.int64)
        since[slot_job[first]] = slot_time[first]
        since += (self.now - since) // 5 * 4
        return self.time > since[self.job[self.task]]

    def _summed(self, values: Floats | Bools) -> Floats:
        return summed(self.task, values, self.count)

    def _of_slot(self, values: Floats) -> Floats:
        return summed(self.slot, values, len(self.samples.slot_job))[self.slot]

    def _at_last(self, values: npt.NDArray[Any], last: Ints) -> npt.NDArray[Any]:
        found = np.zeros(self.count, values.dtype)
        found[self.task[last]] = values[last]
        return found

    def elapsed_s(self) -> Floats:
        """Seconds from the start of each task to its end, or to the last snapshot."""
        return np.where(self.begun, (self.stopped - self.started) / _US, np.nan)

    def slowness(self) -> Floats:
        """The pace at most, given what may be done and is not yet seen; NaN if not known."""
        return _ratio(self.gained + self.step + self.border, self.expected)

    def score(self) -> Floats:
        """The robust z-score of the slowness of each task."""
        log = np.where(self.told & (self.pace > 0), np.log(np.maximum(self.pace, 1e-9)), np.nan)
        middle = grouped_quantile(log, self.job, self.jobs)[self.job]
        spread = grouped_quantile(np.abs(log - middle), self.job, self.jobs)[self.job]
        return (middle - log) / np.maximum(_MAD_TO_SIGMA * spread, _LEAST_SIGMA)

    def remaining_s(self) -> Floats:
        """Seconds until each begun task ends, if it goes on (now, if it stands still)."""
        pace = np.where(self.told & (self.pace > 0.02), self.pace, 1.0)
        left = (1 - self.fraction) * self.normal_s
        remaining = _ratio(left, pace * self.speed[self.job])
        return np.where(self.ended, 0.0, np.where(self.begun, remaining, np.nan))

    def delay_s(self, remaining: Floats) -> Floats:
        """How much later each begun task ends than the others, and than the slots allow them to."""
        if not self.count:
            return np.zeros(0)
        now = self.now[self.job]
        waiting = _ratio(self.normal_s, self.speed[self.job])
        left = np.nan_to_num(np.where(self.begun, remaining, waiting))
        end = np.where(self.ended, self.stopped, now) + left * _US
        others_left = summed(self.job, left, self.jobs)[self.job] - left
        by_work = now + others_left / np.maximum(self.slots[self.job], 1) * _US
        order = np.lexsort((-end, self.job))
        first = starts(self.job[order])
        top = np.zeros(self.jobs, np.int64)
        top[self.job[order[first]]] = order[first]
        second = np.full(self.jobs, -np.inf)
        pairs = first[self.per_job[self.job[order[first]]] > 1]
        second[self.job[order[pairs]]] = end[order[pairs + 1]]
        others = np.where(
            np.arange(self.count) == top[self.job], second[self.job], end[top][self.job]
        )
        by_work = np.where(self.ended | (others_left <= 0), -np.inf, by_work)
        bound = np.maximum(others, by_work)
        delay = np.where(np.isfinite(bound), np.maximum(end - bound, 0.0) / _US, np.nan)
        return np.where(self.begun & ~np.isnan(remaining), delay, np.nan)

    def straggling(self, files: pd.DataFrame) -> Bools:
        """Per task, whether it is a straggler by a table of :func:`stragglers`."""
        # A file that left the list keeps the place that another file has since.
        columns = [*JOB_KEY, "file_index", "file"]
        ordered = self.samples.keys()[columns].merge(
            files[[*columns, "is_straggler"]].drop_duplicates(columns), how="left"
        )
        return summed(self.of_file, ordered["is_straggler"].to_numpy(np.bool_), self.count) > 0

    def table(self, **columns: Floats | Bools) -> pd.DataFrame:
        """The files with columns of their tasks."""
        files = self.samples.keys().assign(
            **{name: values[self.of_file] for name, values in columns.items()}
        )
        return files.sort_values([*JOB_KEY, "file_index"], ignore_index=True)


def _verdicts(
    tasks: Tasks, slow_pace: float, big_factor: float, stuck_share: float, stuck_gaps: float
) -> Ints:
    """The place in :data:`VERDICTS` of each task's verdict."""
    median = grouped_quantile(np.where(tasks.sure, tasks.size, np.nan), tasks.job, tasks.jobs)
    sure = summed(tasks.job, tasks.sure, tasks.jobs)
    big = tasks.sure & (tasks.size >= big_factor * median[tasks.job]) & (sure[tasks.job] >= 3)
    # Files may look like one task by chance; they then have more bytes, but take no longer.
    taken = np.where(tasks.gained >= 0.02, _ratio(tasks.at_work_s, tasks.gained), np.nan)
    usual = grouped_quantile(np.where(tasks.sure, taken, np.nan), tasks.job, tasks.jobs)[tasks.job]
    big &= (tasks.files == 1) | (taken >= 0.6 * big_factor * usual)
    slow = tasks.begun & (tasks.slowness() <= slow_pace)
    idle = tasks.idle_share > np.maximum(stuck_share, 3 * tasks.step)
    unlike = np.where(
        tasks.habit_s > 0, tasks.idle_s > stuck_gaps * tasks.habit_s, tasks.idle_share > 1
    )
    hung = tasks.hung_share > np.maximum(2.5 * stuck_share, 5 * tasks.step)
    verdict = np.full(tasks.count, VERDICTS.index("ok"))
    for holds, name in (
        (tasks.ended, "done"),
        (~tasks.begun, "waiting"),
        (big, "big"),
        (slow, "slow"),
        (tasks.retries > 0, "retried"),
        ((tasks.running & idle & unlike) | hung, "stuck"),
        (tasks.failed, "failed"),
    ):
        verdict[holds] = VERDICTS.index(name)
    return verdict


def _filled(place: Ints, key: Ints, slot: Ints, at_work: Bools) -> tuple[Ints, Ints]:
    """The samples at `place`, and between two at work one for every snapshot, like the first.

    A run of equal values has but two samples; its peers' rates change in between.
    """
    before = np.append(place[:1], place[:-1])
    apart = slot[place] - slot[before]
    within = (key[place] == key[before]) & at_work[place] & at_work[before] & (apart > 1)
    if not within.any():
        return place, slot[place]
    count = np.where(within, apart, 1)
    of = np.repeat(np.arange(len(place)), count)
    left = np.repeat(np.cumsum(count), count) - np.arange(len(of)) - 1
    return np.where(left > 0, before[of], place[of]), slot[place[of]] - left


def _resistant_line(size: Floats, taken: Floats, job: Ints, jobs: int) -> Floats:
    """The duration of each task by Tukey's resistant line of its job, at least its fixed part."""
    known = np.flatnonzero(~np.isnan(taken))
    known = known[np.lexsort((size[known], job[known]))]
    per_job = np.bincount(job[known], minlength=jobs)
    rank = np.arange(len(known)) - np.repeat(np.cumsum(per_job) - per_job, per_job)
    third = 3 * rank // np.maximum(per_job[job[known]], 1)
    part = 3 * job[known] + third
    small, _, large = grouped_quantile(size[known], part, 3 * jobs).reshape(jobs, 3).T
    quick, _, long = grouped_quantile(taken[known], part, 3 * jobs).reshape(jobs, 3).T
    slope = _ratio(long - quick, large - small)
    slope = np.where((slope >= 0) & (per_job >= 6), slope, np.nan)
    rest = taken[known] - slope[job[known]] * size[known]
    fixed = grouped_quantile(rest, job[known], jobs)
    # Without a line, or with one that starts below nothing, durations go with the sizes.
    plain = grouped_quantile(_ratio(taken, size), job, jobs)
    plain = np.where(plain > 0, plain, 1.0)
    line = fixed[job] + slope[job] * size
    return np.where((fixed[job] >= 0) & (line > 0), line, plain[job] * size)


def _ratio(part: Floats, whole: Floats) -> Floats:
    """The ratio, NaN where the whole is nothing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(whole > 0, part / whole, np.nan)


def _microseconds(at: datetime | pd.Timestamp) -> int:
    time = pd.Timestamp(at)
    if time.tzinfo is None:
        raise ValueError("at has no time zone; snapshots are timed in UTC")
    return (time - pd.Timestamp(0, tz="UTC")) // pd.Timedelta(microseconds=1)
