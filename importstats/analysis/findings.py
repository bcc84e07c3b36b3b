"""Diagnosis: what is wrong with a job, or only looks so, in a sentence with its numbers.

Every finding has the numbers it rests on and says what to do. ``info`` explains what is normal or
over, ``warning`` says that the job will take longer or data is at risk, ``critical`` that it has
failed, or will not end unless somebody does something.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import numpy as np
import pandas as pd

from importstats.analysis.lateness import Tasks, stragglers
from importstats.analysis.phase import phases, with_phase
from importstats.arrays import Bools, Ints, floats, microseconds, summed
from importstats.names import END_PHASES, JOB_KEY
from importstats.text import format_count, format_duration, format_percent

#: What can be found, in the order in which it is told.
FINDINGS: Final = (
    "failed",
    "stalled",
    "waits_for_commit",
    "no_free_slot",
    "one_file_holds_up",
    "throughput_collapsed",
    "forgotten_soon",
    "collector_gap",
    "node_restarted",
    "retries",
    "waiting_for_index",
    "wrong_totals",
)
FINDING_DTYPE: Final = pd.CategoricalDtype(list(FINDINGS), ordered=True)
SEVERITY_DTYPE: Final = pd.CategoricalDtype(["info", "warning", "critical"], ordered=True)

Severity = Literal["info", "warning", "critical"]

_MINUTE: Final = 60.0
_HOUR: Final = 3600.0
_US: Final = 1e6


def diagnose(
    jobs: pd.DataFrame,
    details: pd.DataFrame | None = None,
    *,
    at: datetime | pd.Timestamp | None = None,
    retention_s: float = 3 * _HOUR,
    gap_polls: float = 5.0,
    stall_factor: float = 5.0,
    collapse_factor: float = 0.35,
) -> pd.DataFrame:
    """What is to be said about jobs, as known at a time.

    ========================  ======================================================================
    finding                   when
    ========================  ======================================================================
    ``failed``                the job failed; how far it was is known from earlier snapshots
    ``stalled``               nothing has moved for `stall_factor` times longer than ever before in
                              this phase, at least 10 minutes and 10 polls (6 hours before the phase
                              Importing and where nothing has moved yet in the phase: there is no
                              habit to compare with)
    ``waits_for_commit``      in Uncommitted; a warning from 5 minutes on
    ``no_free_slot``          files wait and none is at work, for a minute and 3 polls; a warning
                              from 10 minutes on
    ``one_file_holds_up``     a straggler at work delays the end of the phase Importing by more than
                              2 minutes and a tenth of the time it has taken so far
    ``throughput_collapsed``  tasks at work (stragglers apart) have slowed to below
                              `collapse_factor` of their speed before some time, by the most
                              likely change point of their rate (Hinkley, Biometrika 1970)
    ``forgotten_soon``        not ended when last seen, and unseen for more than half of
                              `retention_s`: the server may forget the job before its end is seen
    ``collector_gap``         no snapshot for more than `gap_polls` times the usual interval and
                              a minute; the longest such gap
    ``node_restarted``        several tasks went back between the same two snapshots
    ``retries``               tasks went back; a warning if it is a tenth of them, and 3
    ``waiting_for_index``     in IndexBuilding, where progress stands still at 80 to 90; a warning
                              after an hour in which it did not move, 5 times longer than before in
                              this phase, or 40 times as long as all before if it never moved
    ``wrong_totals``          the files' ``total_rows`` add up to more than the job has
    ========================  ======================================================================

    Nothing is found from what the data cannot tell: without `details` those about files are left
    out.

    Parameters
    ----------
    jobs, details : DataFrame
        Frames of any number of jobs, see :mod:`importstats.store.frames`. Recorded gaps
        (``load_jobs(..., gaps=True)``) may be among the jobs.
    at : datetime, optional
        Now. Later rows are not used. By default each job's last snapshot.
    retention_s : float
        How long the server remembers a job after its end.
    gap_polls, stall_factor, collapse_factor : float
        The thresholds above (ours; chosen so that healthy simulated jobs raise no warning).

    Returns
    -------
    DataFrame
        One row per finding, the severest first, then by job:

        ``source_uri``, ``job_id`` : str
        ``finding`` : ordered category, one of :data:`FINDINGS`
        ``severity`` : ordered category; info, warning, critical
        ``since`` : datetime64[us, UTC]
        ``message``, ``advice`` : str
            A sentence each.
        ``evidence`` : str
            The numbers as JSON, named with their units.

    Examples
    --------
    >>> jobs = pd.DataFrame({
    ...     "source_uri": "http://localhost:19530", "job_id": "7",
    ...     "observed_at": pd.date_range("2026-05-18", periods=4, freq="60s", tz="UTC"),
    ...     "state": ["Importing"] * 3 + ["Failed"], "progress_pct": [40.0, 55.0, 61.0, 0.0],
    ...     "imported_rows": [0, 500, 700, 0], "total_rows": [1000, 1000, 1000, 0],
    ...     "detail_count": [3, 3, 3, 3], "reason": [None] * 3 + ["dim 768 is not dim 1024"]})
    >>> found = diagnose(jobs)
    >>> found["message"].item()
    'Failed in Importing with 700 of 1,000 rows written: dim 768 is not dim 1024'
    >>> json.loads(found["evidence"].item())["cause"]
    'dim # is not dim #'
    """
    until = None if at is None else pd.Timestamp(at)
    history = jobs[jobs["observed_at"].notna()]
    if until is not None:
        history = history[history["observed_at"] <= until]
    histories = _histories(history, until)
    found = [
        *(_failed(job) for job in histories),
        *(_stalled(job, stall_factor) for job in histories),
        *(_waits_for_commit(job) for job in histories),
        *(_waiting_for_index(job) for job in histories),
        *(_collector_gap(job, gap_polls) for job in histories),
        *(_forgotten_soon(job, retention_s) for job in histories),
    ]
    if details is not None and len(details):
        found += _of_files(histories, details, until, collapse_factor)
    return _table([finding for finding in found if finding is not None])


def normalised_reason(reason: str) -> str:
    """A failure's reason without what differs from file to file: the cause to group by.

    Examples
    --------
    >>> normalised_reason("cannot read s3://b/part-00017.parquet: unexpected EOF (id 449839)")
    'cannot read <path>: unexpected EOF (id #)'
    """
    text = _PATHS.sub("<path>", reason)
    return " ".join(_NUMBERS.sub("#", text).split())


_PART: Final = r"[^\s'\"\[\](),;:=/]"
_PATHS: Final = re.compile(rf"(?:\w+://)?{_PART}*(?:/{_PART}+)+", re.IGNORECASE)
_NUMBERS: Final = re.compile(r"\b0x[0-9a-f]+\b|\b\d+(?:\.\d+)?\b", re.IGNORECASE)


@dataclass(frozen=True)
class _Finding:
    job: _JobHistory
    finding: str
    severity: Severity
    since: pd.Timestamp
    message: str
    advice: str
    evidence: dict[str, Any]


@dataclass(frozen=True)
class _JobHistory:
    """One job's answered snapshots until now, its phases, and how it was polled."""

    key: tuple[str, str]
    snapshots: pd.DataFrame
    runs: pd.DataFrame
    now: pd.Timestamp
    poll_s: float

    @property
    def phase(self) -> str:
        return str(self.runs["phase"].iloc[-1]) if len(self.runs) else "Unknown"

    @property
    def ended(self) -> bool:
        return self.phase in END_PHASES

    @property
    def phase_since(self) -> pd.Timestamp:
        since: pd.Timestamp = self.runs["start"].iloc[-1]
        return since

    @property
    def last_seen(self) -> pd.Timestamp:
        seen: pd.Timestamp = self.snapshots["observed_at"].iloc[-1]
        return seen

    def seconds_since(self, time: pd.Timestamp) -> float:
        """Until the job was last seen."""
        return float((self.last_seen - time).total_seconds())


def _histories(jobs: pd.DataFrame, at: pd.Timestamp | None) -> list[_JobHistory]:
    answered = jobs[jobs["error"].isna()] if "error" in jobs else jobs
    if not len(answered):
        return []
    told = with_phase(answered).sort_values("observed_at", kind="stable")
    runs = phases(answered)
    runs_of = dict(iter(runs.groupby(JOB_KEY, observed=True)))
    histories = []
    for key, snapshots in told.groupby(JOB_KEY, observed=True):
        seen = snapshots["observed_at"]
        gaps = seen.diff().dt.total_seconds().to_numpy()[1:]
        histories.append(
            _JobHistory(
                (str(key[0]), str(key[1])),
                snapshots,
                runs_of.get(key, runs.iloc[:0]),
                seen.iloc[-1] if at is None else at,
                # A collector may poll less often in a long phase, which is usual as well.
                float(np.quantile(gaps, 0.9)) if len(gaps) else math.nan,
            )
        )
    return histories


def _failed(job: _JobHistory) -> _Finding | None:
    if job.phase != "Failed":
        return None
    last = job.snapshots.iloc[-1]
    known = isinstance(last.get("reason"), str)
    reason = last["reason"] if known else "the server gives no reason"
    before = job.runs.iloc[-2] if len(job.runs) > 1 else None
    phase = "an unknown phase" if before is None else str(before["phase"])
    earlier = job.snapshots.iloc[:-1]
    rows = floats(earlier, "imported_rows")
    written = float(np.nanmax(rows)) if np.isfinite(rows).any() else math.nan
    totals = floats(earlier, "total_rows")
    total = float(np.nanmax(totals)) if np.isfinite(totals).any() else math.nan
    far = (
        f" with {format_count(written)} of {format_count(total)} rows written" if total > 0 else ""
    )
    return _Finding(
        job,
        "failed",
        "critical",
        job.phase_since,
        f"Failed in {phase}{far}: {reason}",
        "Correct what the reason names and import again; a failed job leaves no rows behind.",
        {
            "reason": last["reason"] if known else None,
            "cause": normalised_reason(reason) if known else None,
            "phase": phase,
            "imported_rows": written,
            "total_rows": total,
        },
    )


def _stalled(job: _JobHistory, factor: float) -> _Finding | None:
    """Nothing moved for far longer than it ever did in this phase."""
    if job.phase not in ("Pending", "PreImporting", "Importing", "Sorting"):
        return None
    idle_s, longest_s = _standstill(job)
    # Before Importing, progress counts files whatever their size: the last may take any time.
    habit = longest_s > 0 and job.phase in ("Importing", "Sorting")
    limit_s = max(factor * longest_s, 10 * _MINUTE) if habit else 6 * _HOUR
    if not idle_s > max(limit_s, 10 * job.poll_s):
        return None
    before = f", {idle_s / longest_s:.0f} times longer than before" if habit else ""
    last = job.snapshots.iloc[-1]
    return _Finding(
        job,
        "stalled",
        "critical",
        job.last_seen - pd.Timedelta(seconds=idle_s),
        f"Nothing has moved in {job.phase} for {format_duration(idle_s)}{before}, "
        f"at {format_percent(last['progress_pct'])}",
        "Look at the data nodes' logs and their slots; if nothing moves them, abort the job and "
        "import again.",
        {"idle_s": idle_s, "longest_before_s": longest_s, "phase": job.phase},
    )


def _standstill(job: _JobHistory) -> tuple[float, float]:
    """Seconds since something moved, and the longest such time before in this phase (or NaN)."""
    part = job.snapshots[job.snapshots["observed_at"] >= job.runs["start_latest"].iloc[-1]]
    time, _ = microseconds(part, "observed_at")
    moved = np.zeros(len(part), np.bool_)
    for name in ("progress_pct", "imported_rows", "total_rows"):
        values = np.nan_to_num(floats(part, name), nan=-1.0)
        moved[1:] |= values[1:] != values[:-1]
    moved[0] = True
    marks = time[moved] / _US
    longest_s = float(np.diff(marks).max()) if len(marks) > 1 else math.nan
    return float(time[-1] / _US - marks[-1]), longest_s


def _waits_for_commit(job: _JobHistory) -> _Finding | None:
    if job.phase != "Uncommitted":
        return None
    waited_s = job.seconds_since(job.phase_since)
    return _Finding(
        job,
        "waits_for_commit",
        "warning" if waited_s > 5 * _MINUTE else "info",
        job.phase_since,
        f"All rows are imported; the job has waited {format_duration(waited_s)} for a commit",
        "Commit the job to make its rows visible, or abort it.",
        {"waited_s": waited_s},
    )


def _waiting_for_index(job: _JobHistory) -> _Finding | None:
    if job.phase != "IndexBuilding":
        return None
    waited_s = job.seconds_since(job.phase_since)
    before_s = float((job.phase_since - job.snapshots["observed_at"].iloc[0]).total_seconds())
    idle_s, longest_s = _standstill(job)
    limit_s = 40 * before_s if math.isnan(longest_s) else 5 * longest_s
    last = job.snapshots.iloc[-1]
    share = float(last["phase_fraction"])
    built = "" if math.isnan(share) else f", {format_percent(100 * share)} of the segments have one"
    return _Finding(
        job,
        "waiting_for_index",
        "warning" if idle_s > max(_HOUR, limit_s) else "info",
        job.phase_since,
        "All rows are imported; the job has been building indexes for "
        f"{format_duration(waited_s)}{built}",
        "No hang: progress stands still until a whole segment is indexed. If index nodes have no "
        "free slot, add some.",
        {
            "waited_s": waited_s,
            "idle_s": idle_s,
            "before_s": before_s,
            "indexed_share": share,
            "progress_pct": last["progress_pct"],
        },
    )


def _collector_gap(job: _JobHistory, polls: float) -> _Finding | None:
    seen = job.snapshots["observed_at"]
    times = pd.concat([seen, pd.Series([job.now])]) if not job.ended else seen
    gaps = times.diff().dt.total_seconds().to_numpy()[1:]
    if len(gaps) < 2 or not job.poll_s > 0:
        return None
    long = gaps > max(polls * job.poll_s, _MINUTE)
    if not long.any():
        return None
    worst = int(np.argmax(gaps))
    open_now = worst == len(seen) - 1
    return _Finding(
        job,
        "collector_gap",
        "info" if job.ended else "warning",
        seen.iloc[worst],
        f"No snapshot for {format_duration(gaps[worst])}"
        + (" and still none" if open_now else "")
        + f", usually every {format_duration(job.poll_s)}",
        "Check that the collector runs and reaches the server; what happened in the gap is not "
        "known.",
        {"gap_s": gaps[worst], "poll_s": job.poll_s, "gaps": int(long.sum())},
    )


def _forgotten_soon(job: _JobHistory, retention_s: float) -> _Finding | None:
    unseen_s = float((job.now - job.last_seen).total_seconds())
    if job.ended or unseen_s <= retention_s / 2:
        return None
    late = unseen_s >= retention_s
    left = (
        "may already have forgotten it"
        if late
        else (f"may forget it from {format_duration(retention_s - unseen_s)} on from now")
    )
    return _Finding(
        job,
        "forgotten_soon",
        "critical" if late else "warning",
        job.last_seen,
        f"Last seen {format_duration(unseen_s)} ago in {job.phase}; if it ended then, the server "
        f"{left}",
        "Poll the job now; how it ended is lost once the server forgets it.",
        {"unseen_s": unseen_s, "retention_s": retention_s, "phase": job.phase},
    )


def _of_files(
    histories: list[_JobHistory],
    details: pd.DataFrame,
    at: pd.Timestamp | None,
    collapse_factor: float,
) -> list[_Finding | None]:
    """The findings that need details."""
    tasks = Tasks(details, at)
    files = stragglers(details, at)
    of_file = dict(iter(files.groupby(JOB_KEY, observed=True)))
    numbers = {
        (str(key[0]), str(key[1])): number
        for number, key in enumerate(tasks.samples.jobs.itertuples(index=False, name=None))
    }
    found: list[_Finding | None] = []
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


def _no_free_slot(job: _JobHistory, tasks: Tasks, number: int) -> _Finding | None:
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
    if waited_s < max(_MINUTE, 3 * job.poll_s):
        return None
    return _Finding(
        job,
        "no_free_slot",
        "warning" if waited_s > 10 * _MINUTE else "info",
        pd.Timestamp(int(samples.slot_time[since]), unit="us", tz="UTC"),
        f"{int(waits[-1]):,} tasks have waited {format_duration(waited_s)} for a free slot and "
        "none is at work",
        "Other jobs hold the data nodes' slots, or no data node is up: wait for them, or add "
        "data nodes.",
        {"waited_s": waited_s, "waiting_tasks": int(waits[-1])},
    )


def _one_file_holds_up(job: _JobHistory, files: pd.DataFrame) -> _Finding | None:
    if job.phase != "Importing":
        return None
    at_work = ~files["state"].astype("str").str.lower().isin(["completed", "failed"])
    late = files[files["is_straggler"] & at_work & (files["delay_s"] > 2 * _MINUTE)]
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
    return _Finding(
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
    job: _JobHistory, tasks: Tasks, files: pd.DataFrame, number: int, factor: float
) -> _Finding | None:
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
    long_enough = (time[-1] - time > max(5 * _MINUTE, 10 * job.poll_s)) & (np.arange(len(time)) > 5)
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
    return _Finding(
        job,
        "throughput_collapsed",
        "warning",
        pd.Timestamp(int(tasks.samples.slot_time[slots[change]]), unit="us", tz="UTC"),
        f"For {format_duration(time[-1] - time[change])} tasks have imported at "
        f"{format_percent(100 * ratio)} of their speed before",
        "Look for load on the data nodes and the object store since then.",
        {"ratio": ratio, "lasts_s": float(time[-1] - time[change])},
    )


def _went_back(job: _JobHistory, tasks: Tasks, number: int) -> list[_Finding]:
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
            _Finding(
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
            _Finding(
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


def _wrong_totals(job: _JobHistory, files: pd.DataFrame) -> _Finding | None:
    totals = floats(job.snapshots, "total_rows")
    total = float(np.nanmax(totals)) if np.isfinite(totals).any() else 0.0
    told = floats(files, "total_rows")
    if not total > 0 or not np.nansum(told) > 1.5 * total:
        return None
    return _Finding(
        job,
        "wrong_totals",
        "info",
        job.snapshots["observed_at"].iloc[0],
        f"The files' total_rows add up to {format_count(float(np.nansum(told)))}, the job has "
        f"{format_count(total)}",
        "Do not use total_rows of the files; their progress is right.",
        {"files_total_rows": float(np.nansum(told)), "job_total_rows": total},
    )


def _table(findings: list[_Finding]) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "source_uri": pd.Series([found.job.key[0] for found in findings], dtype="str"),
            "job_id": pd.Series([found.job.key[1] for found in findings], dtype="str"),
            "finding": pd.Categorical([found.finding for found in findings], dtype=FINDING_DTYPE),
            "severity": pd.Categorical(
                [found.severity for found in findings], dtype=SEVERITY_DTYPE
            ),
            "since": pd.Series([found.since for found in findings], dtype="datetime64[us, UTC]"),
            "message": pd.Series([found.message for found in findings], dtype="str"),
            "advice": pd.Series([found.advice for found in findings], dtype="str"),
            "evidence": pd.Series([_json(found.evidence) for found in findings], dtype="str"),
        }
    )
    return frame.sort_values(
        ["severity", "source_uri", "job_id", "finding"],
        ascending=[False, True, True, True],
        ignore_index=True,
    )


def _json(evidence: dict[str, Any]) -> str:
    """JSON of numbers and texts; what is missing is null."""
    plain = {
        name: None if isinstance(value, float | np.floating) and not math.isfinite(value) else value
        for name, value in evidence.items()
    }
    return json.dumps(plain, default=lambda value: value.item())
