"""Findings in a job's files: who holds it up, what went back, and whether all have slowed."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import pandas as pd

from importstats.analysis.job_history import MINUTE, Finding, JobHistory
from importstats.analysis.lateness import Tasks, stragglers
from importstats.arrays import Bools, Ints, floats, summed
from importstats.names import JOB_KEY
from importstats.text import format_count, format_duration, format_percent

_US: Final = 1e6


def file_findings(
    histories: list[JobHistory],
    details: pd.DataFrame,
    at: pd.Timestamp | None,
    collapse_factor: float,
) -> list[Finding | None]:
    """The findings that need details."""
    tasks = Tasks(details, at)
    files = stragglers(details, at)
    of_file = dict(iter(files.groupby(JOB_KEY, observed=True)))
    numbers = {
        (str(key[0]), str(key[1])): number
        for number, key in enumerate(tasks.samples.jobs.itertuples(index=False, name=None))
    }
    found: list[Finding | None] = []
    for job in histories:
        mine, number = of_file.get(job.key), numbers.get(job.key)
        if mine is None or number is None:
            continue
        found += [
            _no_free_slot(job, tasks, number),
            _one_file_holds_up(job, mine),
            _throughput_collapsed(job, tasks, mine, number, collapse_factor),
            *_went_back(job, tasks, number),
            _wrong_totals(job, mine),
        ]
    return found


def _no_free_slot(job: JobHistory, tasks: Tasks, number: int) -> Finding | None:
    if job.phase != "Importing":
        return None
    samples = tasks.samples
    slots = np.flatnonzero(samples.slot_job == number)
    cell = tasks.slot - slots[0]
    mine = tasks.job[tasks.task] == number
    busy = summed(cell[mine], tasks.at_work[mine], len(slots))
    waits = summed(cell[mine], tasks.queued[mine], len(slots))
    if busy[-1] or not waits[-1]:
        return None
    moving = np.flatnonzero(busy)
    since = slots[0] + (moving[-1] + 1 if len(moving) else 0)
    waited_s = float(samples.slot_time[slots[-1]] - samples.slot_time[since]) / _US
    if waited_s < max(MINUTE, 3 * job.poll_s):
        return None
    return Finding(
        job,
        "no_free_slot",
        "warning" if waited_s > 10 * MINUTE else "info",
        pd.Timestamp(int(samples.slot_time[since]), unit="us", tz="UTC"),
        f"{int(waits[-1]):,} tasks have waited {format_duration(waited_s)} for a free slot and "
        "none is at work",
        "Other jobs hold the data nodes' slots, or no data node is up: wait for them, or add "
        "data nodes.",
        {"waited_s": waited_s, "waiting_tasks": int(waits[-1])},
    )


def _one_file_holds_up(job: JobHistory, files: pd.DataFrame) -> Finding | None:
    if job.phase != "Importing":
        return None
    at_work = ~files["state"].astype("str").str.lower().isin(["completed", "failed"])
    late = files[files["is_straggler"] & at_work & (files["delay_s"] > 2 * MINUTE)]
    phase_s = job.seconds_since(job.phase_since)
    late = late[late["delay_s"] > 0.1 * phase_s]
    if not len(late):
        return None
    worst = late.iloc[int(late["delay_s"].argmax())]
    verdict = str(worst["verdict"])
    why = {
        "big": "has far more bytes than the others",
        "slow": f"runs at {format_percent(100 * worst['pace'])} of its peers' pace",
        "retried": f"has gone back {worst['retries']} times",
        "stuck": f"has not moved for {format_duration(worst['idle_s'])}",
    }[verdict]
    return Finding(
        job,
        "one_file_holds_up",
        "info" if verdict == "big" else "warning",
        worst["started_at"],
        f"{worst['file']} {why}; the import ends {format_duration(worst['delay_s'])} later "
        + ("even if it goes on now" if verdict == "stuck" else "because of it"),
        {
            "big": "Split such files before the next import.",
            "slow": "Look at the data node that imports it; nothing moves a task to another node.",
            "retried": "Look for the reason in the data nodes' logs.",
            "stuck": "Look at the data node that imports it; a restart of the node has it retried.",
        }[verdict],
        {
            "file": str(worst["file"]),
            "verdict": verdict,
            "delay_s": worst["delay_s"],
            "remaining_s": worst["remaining_s"],
            "pace": worst["pace"],
            "stragglers": len(late),
        },
    )


def _throughput_collapsed(
    job: JobHistory, tasks: Tasks, files: pd.DataFrame, number: int, factor: float
) -> Finding | None:
    """The most likely time since when tasks do less per second at work, if they do far less.

    What tasks do in their time at work is taken for a Poisson count in units of a step of
    progress; the likelihood of one change of its rate is greatest where
    ``w1 log(w1/t1) + w2 log(w2/t2)`` is (Hinkley, Biometrika 1970).
    """
    if job.phase != "Importing":
        return None
    straggling = tasks.straggling(files)
    mine = (tasks.job[tasks.task] == number) & ~straggling[tasks.task]
    slots = np.flatnonzero(tasks.samples.slot_job == number)
    cell = tasks.slot[mine] - slots[0]
    normal = tasks.normal_s[tasks.task[mine]]
    work = np.cumsum(summed(cell, tasks.gain[mine] * normal, len(slots)))
    run = np.cumsum(summed(cell, tasks.run[mine], len(slots)))
    if len(slots) < 20 or work[-1] <= 0:
        return None
    after_work, after_run = work[-1] - work, run[-1] - run
    with np.errstate(divide="ignore", invalid="ignore"):
        before_rate, after_rate = work / run, after_work / after_run
        likelihood = work * np.log(before_rate) + np.nan_to_num(after_work * np.log(after_rate))
    time = tasks.samples.slot_time[slots] / _US
    long_enough = (time[-1] - time > max(5 * MINUTE, 10 * job.poll_s)) & (np.arange(len(time)) > 5)
    step_s = float(np.median(tasks.step[tasks.job == number] * tasks.normal_s[tasks.job == number]))
    # As much must have been due since then as shows in several steps of every task at work.
    with np.errstate(invalid="ignore"):
        due = after_run * before_rate > 5 * step_s * np.maximum(
            after_run / np.maximum(time[-1] - time, 1), 1
        )
    possible = long_enough & due & (after_run > 0) & np.isfinite(likelihood)
    if not possible.any():
        return None
    change = int(np.argmax(np.where(possible, likelihood, -np.inf)))
    ratio = float(after_rate[change] / before_rate[change])
    if not ratio < factor:
        return None
    return Finding(
        job,
        "throughput_collapsed",
        "warning",
        pd.Timestamp(int(tasks.samples.slot_time[slots[change]]), unit="us", tz="UTC"),
        f"For {format_duration(time[-1] - time[change])} tasks have imported at "
        f"{format_percent(100 * ratio)} of their speed before",
        "Look for load on the data nodes and the object store since then.",
        {"ratio": ratio, "lasts_s": float(time[-1] - time[change])},
    )


def _went_back(job: JobHistory, tasks: Tasks, number: int) -> list[Finding]:
    """Restarts, which take several tasks back at once, and retries, which take one."""
    back = np.flatnonzero(tasks.back & (tasks.job[tasks.task] == number))
    if not len(back):
        return []
    slots, where = np.unique(tasks.slot[back], return_inverse=True)
    # A retried task is seen in Retry; a restarted node's are waiting or at work again at once.
    together = summed(where, ~tasks.in_retry[back], len(slots)).astype(np.int64)
    lone = len(back) - together[together >= 2].sum()
    # Where single tasks go back as well, two may do so in the same interval by chance.
    least = 2 if lone == 0 else 3
    share = together > 0.2 * tasks.slots[number]
    restarted = (together >= least) & (share | _unlikely(together, lone, tasks, number))
    found = []
    of_restart = np.isin(tasks.slot[back], slots[restarted])
    times = tasks.samples.slot_time

    def when(slot: Ints) -> pd.Timestamp:
        return pd.Timestamp(int(times[slot.max()]), unit="us", tz="UTC")

    if restarted.any():
        count, events = int(together[restarted].sum()), int(restarted.sum())
        found.append(
            Finding(
                job,
                "node_restarted",
                "info" if job.ended else "warning",
                when(slots[restarted]),
                f"{count} tasks went back to the start together"
                + (f", in {events} events" if events > 1 else "")
                + "; a data node has probably restarted",
                "Look why the data node went down (memory is the usual cause); their work is done "
                "again.",
                {"tasks": count, "events": events},
            )
        )
    retried = back[~of_restart]
    if len(retried):
        count = len(np.unique(tasks.task[retried]))
        many = count >= max(3, 0.1 * tasks.per_job[number])
        found.append(
            Finding(
                job,
                "retries",
                "warning" if many and not job.ended else "info",
                when(tasks.slot[retried]),
                f"{count} of {tasks.per_job[number]:,} tasks went back {len(retried)} times",
                "Look for the reason in the data nodes' logs; their work is done again.",
                {
                    "tasks": count,
                    "times": len(retried),
                    "all_tasks": int(tasks.per_job[number]),
                },
            )
        )
    return found


def _unlikely(together: Ints, lone: int, tasks: Tasks, number: int) -> Bools:
    """Whether so many tasks would hardly ever go back in one interval if each did so on its own.

    The chance is that of a Poisson count (its Chernoff bound) in any of the job's intervals; where
    no task went back alone, one is taken to have.
    """
    intervals = np.count_nonzero(tasks.samples.slot_job == number)
    usual = max(lone, 1) / intervals
    count = np.maximum(together, 1)
    log_chance = count - usual + count * np.log(usual / count)
    return np.asarray((together > usual) & (log_chance + math.log(intervals) < math.log(1e-3)))


def _wrong_totals(job: JobHistory, files: pd.DataFrame) -> Finding | None:
    totals = floats(job.snapshots, "total_rows")
    total = float(np.nanmax(totals)) if np.isfinite(totals).any() else 0.0
    told = floats(files, "total_rows")
    if not total > 0 or not np.nansum(told) > 1.5 * total:
        return None
    return Finding(
        job,
        "wrong_totals",
        "info",
        job.snapshots["observed_at"].iloc[0],
        f"The files' total_rows add up to {format_count(float(np.nansum(told)))}, the job has "
        f"{format_count(total)}",
        "Do not use total_rows of the files; their progress is right.",
        {"files_total_rows": float(np.nansum(told)), "job_total_rows": total},
    )
