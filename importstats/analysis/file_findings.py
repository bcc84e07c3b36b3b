"""Findings about a job's files: which hold it up, which went back, and whether all slowed."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

import numpy as np
import pandas as pd

from importstats.analysis.ages import Ages
from importstats.analysis.job_history import FILE_PHASES, MINUTE, Finding, JobHistory
from importstats.analysis.lateness import Limits, straggler_table
from importstats.analysis.own_pace import slowdown
from importstats.analysis.ranking import rank_files
from importstats.analysis.silence import Slump, slump_of
from importstats.analysis.spans import Spans
from importstats.arrays import US_PER_S, Bools, Floats, Ints, floats, microseconds, summed
from importstats.names import JOB_KEY
from importstats.text import format_count, format_duration, format_percent, format_times

# If rows grow inside files and have come this often, a pause this long, and this many times longer
# than ever before, is no chance.
_NO_ROWS_S: Final = 5 * MINUTE
_NO_ROWS_TIMES: Final = 4.0
_NO_ROWS_MOVES: Final = 5
# After this time, files that wait while none is at work are a warning.
_NO_SLOT_S: Final = 3 * MINUTE
_ADVICE: Final = {
    "big": "Split such files before the next import.",
    "slow": "Look at the data node that imports it; nothing moves a task to another node.",
    "unknown": "Check in the log of the data node that imports it whether it is at work.",
    "goes back": "Look for the reason in the data nodes' logs.",
    "stuck": "Look in the log of the data node that imports it; a restart of the node makes it go "
    "back and start again.",
}
_WAIT_FOR_NODES: Final = (
    "Check whether the data nodes and the object store are up; if they are, wait: imports go on "
    "by themselves after a pause."
)
# A task that holds a job up must do so for at least this time and this share of the job's time.
_HOLDS_UP_S: Final = 2 * MINUTE
_HOLDS_UP_SHARE: Final = 0.1
# It is a warning if one task delays the end by this much and takes this many times as long as
# others of its size, which few healthy tasks do.
_WORTH_S: Final = 5 * MINUTE
_ALONE_LATE: Final = 4.0
# The only task that the job still waits for must take this many times as long: of 110 healthy jobs
# of ``benchmarks/worlds``, two waited for one that took up to 1.8 times as long.
_AWAITED_LATE: Final = 2.0
# Tasks of a slow node take this many times as long, and tasks of others less than that (ours: from
# 2.0 and 1.5 times on, ended tasks only, 15 of 1,040 healthy jobs were warned of, and now 2).
_SURELY_LATE: Final = 2.5
_MAYBE_LATE: Final = 1.75
# Waiting for only one late task is a warning from this share of the job's time on.
_LONG_SHARE: Final = 0.15
# Tasks of so many files show their pace, whichever of them end first.
_SEVERAL_FILES: Final = 2
# This many late tasks are more than chance, if no more lie in between.
_SLOW_TASKS: Final = 3


def diagnose_files(
    histories: list[JobHistory],
    details: pd.DataFrame,
    at: pd.Timestamp | None,
    collapse_factor: float,
) -> list[Finding | None]:
    """All findings that need a details frame, for each job."""
    # A store that is read in parts must give the same findings as the whole.
    spans = Spans.from_details(details, at)
    numbers = {
        (str(key[0]), str(key[1])): number
        for number, key in enumerate(spans.samples.jobs.itertuples(index=False, name=None))
    }
    spans = _begun_after_polls(spans, histories, numbers)
    ages = Ages.from_spans(spans, pooled=False)
    files = straggler_table(ages, Limits())
    of_file = dict(iter(files.groupby(JOB_KEY, observed=True)))
    found: list[Finding | None] = []
    for job in histories:
        mine, number = of_file.get(job.key), numbers.get(job.key)
        if mine is None or number is None:
            continue
        found += [
            _no_free_slot(job, spans, number),
            _one_file_holds_up(job, ages, mine, number),
            _slow_node(job, mine),
            _no_rows_come(job, ages, number) or _slowed_down(job, ages, number, collapse_factor),
            *_going_back(job, spans, number),
            _totals_disagree(job, mine),
        ]
    return found


def _begun_after_polls(
    spans: Spans, histories: list[JobHistory], numbers: dict[tuple[str, str], int]
) -> Spans:
    """The spans, with tasks of the first list begun after the poll before it, which had no list.

    If there was none, recording began in the middle, and their start is not known.
    """
    first, before = np.full(spans.jobs, np.inf), np.full(spans.jobs, np.nan)
    np.minimum.at(first, spans.samples.moment_job, spans.samples.moment_time / US_PER_S)
    for job in histories:
        number = numbers.get(job.key)
        if number is not None:
            polls = _polled_s(job)
            if len(earlier := polls[polls < first[number]]):
                before[number] = earlier.max()
    listed = (spans.handed_by <= first[spans.job]) & np.isfinite(spans.handed_after)
    return replace(spans, handed_after=np.where(listed, before[spans.job], spans.handed_after))


def _no_free_slot(job: JobHistory, spans: Spans, number: int) -> Finding | None:
    """Files wait and none is at work."""
    if job.phase not in FILE_PHASES:
        return None
    mine = spans.job == number
    waits = int(np.count_nonzero(mine & spans.waits))
    at_work = mine & ~spans.waits & ~np.isfinite(spans.released_by)
    if not waits or at_work.any():
        return None
    samples, tries = spans.samples, spans.attempts
    stops = np.concatenate([tries.released_by, tries.back_by])[np.tile(mine[tries.unit], 2)]
    first = samples.moment_time[np.flatnonzero(samples.moment_job == number)[0]] / US_PER_S
    first = min(first, job.phase_since.timestamp())
    since = max([first, *stops[np.isfinite(stops)]])
    waited_s = float(spans.now[number] - since)
    if waited_s < max(MINUTE, job.poll_s):
        return None
    return Finding(
        job,
        "no_free_slot",
        "warning" if waited_s >= _NO_SLOT_S else "info",
        _utc_time(since),
        f"{waits:,} tasks have waited {format_duration(waited_s)} for a free slot and none is at "
        "work",
        {"waited_s": waited_s, "waiting_tasks": waits},
    )


def _no_rows_come(job: JobHistory, ages: Ages, number: int) -> Finding | None:
    """Rows grow inside files, but have not grown for far longer than ever before."""
    if job.phase not in FILE_PHASES or not ages.spans.smooth[number]:
        return None
    idle_s, longest_s, moves = job.standstill
    running = int(np.count_nonzero((ages.spans.job == number) & ages.spans.running))
    limit_s = max(_NO_ROWS_S, _NO_ROWS_TIMES * max(np.nan_to_num(longest_s), job.poll_s))
    if moves < _NO_ROWS_MOVES or not running or not idle_s >= limit_s:
        return None
    return Finding(
        job,
        "stalled",
        "warning",
        job.last_seen - pd.Timedelta(seconds=idle_s),
        f"No row has come for {format_duration(idle_s)} while {running:,} tasks are at work; "
        f"before, rows came at least every {format_duration(longest_s)}",
        {
            "idle_s": idle_s,
            "longest_before_s": longest_s,
            "tasks_at_work": running,
            "phase": job.phase,
        },
        _WAIT_FOR_NODES,
    )


def _one_file_holds_up(
    job: JobHistory, ages: Ages, files: pd.DataFrame, number: int
) -> Finding | None:
    """Late tasks, together with those that wait behind them, end after all others."""
    if job.phase not in FILE_PHASES:
        return None
    phase_s = job.seconds_since(job.phase_since)
    delay_s, already_s = _late_delay_s(ages, files, number)
    if not delay_s > max(_HOLDS_UP_S, _HOLDS_UP_SHARE * phase_s):
        return None
    late = rank_files(files[files["when"].eq("now")]).drop_duplicates("task")
    worst = late.sort_values("times_usual", ascending=False, kind="stable").iloc[0]
    verdict, usual_s = str(worst["verdict"]), float(worst["expected_duration_s"])
    sure = verdict == "stuck" or float(worst["times_usual"]) >= _ALONE_LATE
    sure |= already_s > max(_HOLDS_UP_S, _LONG_SHARE * phase_s)
    sure &= delay_s > _WORTH_S
    sure &= not min(float(worst["times_usual"]), worst["elapsed_s"] / usual_s) < _AWAITED_LATE
    times = f"{worst['times_usual']:.1f} times as long as others of its size"
    why = {
        "big": "has far more bytes than the others",
        "slow": f"takes {times}",
        "unknown": f"has been at work {times}, and shows no progress"
        if pd.isna(worst["idle_s"])
        else f"takes {times}, by its progress so far",
        "goes back": f"has gone back {format_times(int(worst['retries']))}",
        "stuck": f"shows no end after {format_duration(worst['elapsed_s'])}, and others of its "
        f"size take {format_duration(usual_s)}",
    }[verdict]
    more = f" ({len(late) - 1:,} more tasks are late)" if len(late) > 1 else ""
    return Finding(
        job,
        "one_file_holds_up",
        "warning" if sure and verdict != "big" else "info",
        worst["started_at"],
        f"{worst['file']} {why}{more}; the import ends {format_duration(delay_s)} later "
        + ("even if it ends now" if verdict == "stuck" else "because of it"),
        {
            "file": str(worst["file"]),
            "verdict": verdict,
            "delay_s": delay_s,
            "remaining_s": worst["remaining_s"],
            "times_usual": worst["times_usual"],
            "as_long_p": worst["as_long_p"],
            "stragglers": len(late),
        },
        _ADVICE[verdict],
    )


def _late_delay_s(ages: Ages, files: pd.DataFrame, number: int) -> tuple[float, float]:
    """The seconds by which late tasks end after all others, and how many have passed already.

    Tasks behind them wait because of them, and a stuck task ends now at the earliest. NaN if none
    is late or it is not known.
    """
    spans = ages.spans
    now_late = files["when"].eq("now")
    if not now_late.any():
        return math.nan, math.nan
    behind = files["verdict"].eq("waiting behind a batch")
    left = files["remaining_s"].where(files["verdict"].ne("stuck"), 0.0)
    end_s = float(left[now_late].max())
    running = files["state"].astype("str").str.lower().eq("inprogress") & ~now_late & ~behind
    others = files.loc[running & (files["remaining_s"] > 0), "remaining_s"]
    mine = spans.job == number
    waiting = ages.usual_s[mine & spans.waits]
    if len(others) or len(waiting):
        slots = max(int(spans.slots[number]), 1)
        by_work = (float(np.nansum(waiting)) + float(others.sum())) / slots
        largest = float(np.nanmax(waiting)) if np.isfinite(waiting).any() else 0.0
        longest = float(others.max()) if len(others) else 0.0
        return end_s - max(longest, by_work + largest), 0.0
    ended = spans.ended_by[mine & spans.done]
    since = float(ended.max()) if len(ended) else float(ages.since[number])
    already_s = float(spans.now[number]) - since
    return end_s + already_s, already_s


def _slow_node(job: JobHistory, files: pd.DataFrame) -> Finding | None:
    """Several tasks take far longer than others of their size, which one slow node explains."""
    if job.phase not in FILE_PHASES:
        return None
    tasks = files.drop_duplicates("task")
    times = tasks["times_usual"]
    late = tasks[tasks["is_straggler"] & (times >= _SURELY_LATE)]
    # Its rows only predict its time: files of a task wait for each other.
    late = late[late["elapsed_s"] >= _MAYBE_LATE * late["expected_duration_s"]]
    late = late[late["verdict"].isin(["slow", "unknown", "stuck"])]
    ended = tasks["verdict"].eq("done") | tasks["when"].eq("was")
    # Beside a slow node, other tasks since then were quick; if all are late, no node is to blame.
    since = tasks["started_at"] >= late["started_at"].min()
    fine = int((ended & since & (times < _MAYBE_LATE)).sum())
    between = int(((times >= _MAYBE_LATE) & ~tasks.index.isin(late.index)).sum())
    at_work = int(late["when"].eq("now").sum())
    if not max(_SLOW_TASKS, between) <= len(late) <= fine or at_work < 2:
        return None
    usual = float(late["times_usual"].median())
    return Finding(
        job,
        "slow_node",
        "warning",
        late["started_at"].min(),
        f"{len(late):,} tasks take some {usual:.1f} times as long as others of their size, "
        f"{at_work:,} of them at work now; a data node is probably slow",
        {"tasks": len(late), "tasks_at_work": at_work, "times_usual": usual},
    )


def _slowed_down(job: JobHistory, ages: Ages, number: int, factor: float) -> Finding | None:
    """All tasks are far slower than before, or none shows anything any more."""
    if job.phase not in FILE_PHASES:
        return None
    slump = slump_of(ages, number, factor)
    if slump is not None and slump.silent:
        return Finding(
            job,
            "stalled",
            "warning",
            _utc_time(slump.since),
            f"No file has ended for {format_duration(slump.lasts_s)} while {slump.running:,} tasks "
            f"are at work; before, tasks of their size took {format_duration(slump.usual_s)}",
            {
                "idle_s": slump.lasts_s,
                "tasks_at_work": slump.running,
                "usual_task_s": slump.usual_s,
                "odds": slump.odds,
                "phase": job.phase,
            },
            _WAIT_FOR_NODES,
        )
    slow = slowdown(ages, number, factor) or slump
    if slow is None or (slow is slump and _rows_go_on(job, ages, number, slump, factor)):
        return None
    return Finding(
        job,
        "throughput_collapsed",
        "warning",
        _utc_time(slow.since),
        f"{slow.tasks:,} tasks have worked at {format_percent(100 * slow.ratio)} of their "
        f"earlier pace for {format_duration(slow.lasts_s)}",
        {"ratio": slow.ratio, "lasts_s": slow.lasts_s, "tasks": slow.tasks},
        "All tasks at work have slowed down: look at what they share, the object store, the "
        "network, and the load of the data nodes since then.",
    )


def _rows_go_on(job: JobHistory, ages: Ages, number: int, slump: Slump, factor: float) -> bool:
    """Whether rows show that tasks of several files go on, though few have ended.

    The files of a batch share a pool and are taken in turn, so the first task ends long before the
    last. Rows that come as files end show their pace; those of tasks of one file show only ends.
    """
    spans = ages.spans
    if np.median(spans.files[(spans.job == number) & spans.running]) < _SEVERAL_FILES:
        return False
    now, begin = float(spans.now[number]), float(ages.since[number])
    later = slump.since + slump.lasts_s / 2
    times = [begin, slump.since, later, now]
    rows = np.interp(times, _polled_s(job), floats(job.snapshots, "imported_rows"))
    before, since = rows[1] - rows[0], rows[3] - rows[2]
    return bool(since * (slump.since - begin) >= factor * before * (now - later))


def _polled_s(job: JobHistory) -> Floats:
    """The seconds since 1970 at which a job was polled."""
    return microseconds(job.snapshots, "observed_at")[0] / US_PER_S


def _utc_time(seconds: float) -> pd.Timestamp:
    return pd.Timestamp(round(seconds * US_PER_S), unit="us", tz="UTC")


def _going_back(job: JobHistory, spans: Spans, number: int) -> list[Finding]:
    """Restarts, which send several tasks back at once, and retries, which send back one."""
    moves = spans.moves
    back = np.flatnonzero(moves.back & (spans.job[moves.unit] == number))
    if not len(back):
        return []
    per_job = int(np.count_nonzero(spans.job == number))
    moments, where = np.unique(moves.moment[back], return_inverse=True)
    # A retried task is seen in Retry; after a node's restart, tasks wait or work again at once.
    together = summed(where, ~moves.retrying[back], len(moments)).astype(np.int64)
    lone = len(back) - together[together >= 2].sum()
    # If single tasks go back as well, two may do so in the same interval by chance.
    least = 2 if lone == 0 else 3
    share = together > 0.2 * spans.slots[number]
    restarted = (together >= least) & (share | _unlikely(together, lone, spans, number))
    found = []
    of_restart = np.isin(moves.moment[back], moments[restarted])
    times = spans.samples.moment_time

    def when(moment: Ints) -> pd.Timestamp:
        return pd.Timestamp(int(times[moment.max()]), unit="us", tz="UTC")

    if restarted.any():
        count, events = int(together[restarted].sum()), int(restarted.sum())
        found.append(
            Finding(
                job,
                "node_restarted",
                "info" if job.ended else "warning",
                when(moments[restarted]),
                f"{count} tasks went back to the start together"
                + (f", in {events} events" if events > 1 else "")
                + "; a data node has probably restarted",
                {"tasks": count, "events": events},
            )
        )
    retried = back[~of_restart]
    if len(retried):
        count = len(np.unique(moves.unit[retried]))
        many = count >= max(3, 0.1 * per_job)
        found.append(
            Finding(
                job,
                "retries",
                "warning" if many and not job.ended else "info",
                when(moves.moment[retried]),
                f"{count} of {per_job:,} tasks went back {format_times(len(retried))}",
                {"tasks": count, "times": len(retried), "all_tasks": per_job},
            )
        )
    return found


def _unlikely(together: Ints, lone: int, spans: Spans, number: int) -> Bools:
    """Whether this many tasks would hardly ever go back in one interval independently.

    The chance is that of a Poisson count (its Chernoff bound) in any of the job's intervals. If no
    task went back alone, one is assumed to have done so.
    """
    intervals = np.count_nonzero(spans.samples.moment_job == number)
    usual = max(lone, 1) / intervals
    count = np.maximum(together, 1)
    log_chance = count - usual + count * np.log(usual / count)
    return np.asarray((together > usual) & (log_chance + math.log(intervals) < math.log(1e-3)))


def _totals_disagree(job: JobHistory, files: pd.DataFrame) -> Finding | None:
    total, of_files = job.most("total_rows"), float(np.nansum(floats(files, "total_rows")))
    if not total > 0 or not of_files > 1.5 * total:
        return None
    return Finding(
        job,
        "wrong_totals",
        "info",
        job.snapshots["observed_at"].iloc[0],
        f"The files' total_rows add up to {format_count(of_files)}, the job has "
        f"{format_count(total)}",
        {"files_total_rows": of_files, "job_total_rows": total},
    )
