"""What really happened, as tables beside a recording."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from .job import Run, Trouble
from .pace import Floats
from .recording import Recorded, rises_s

#: Columns of the truth of files: where and when each was at work, and how it compares.
FILE_TRUTH: Final = (
    "source_uri",
    "job_id",
    "file_index",
    "task",  # number of its task
    "node",  # of the last go
    "batch",  # of its node, numbered over the job
    "goes",  # how often its task was handed over
    "handed_at",  # of the first go
    "began_at",  # its task's batch began, first go
    "back_at",  # it first went back, missing if it never did
    "ended_at",  # the last file of its task was written
    "reported_at",  # the server said so
    "due_at",  # it would have said so had nothing gone wrong with the job
    "task_bytes",
    "usual_s",  # what tasks of its size took in its job
    "peer_ratio",  # how many times as long at work as the median task of its job, by its size
    "delay_s",  # how much earlier Importing would have ended, had it taken what its peers take
    "delay_share",  # of the time Importing took
    "is_straggler",  # delays the end by a tenth, or takes over twice its peers' time
)
TASK_TIMES: Final = ("handed_s", "began_s", "back_s", "ended_s")
DELAYS_SHARE: Final = 0.1
SLOW_RATIO: Final = 2.0


@dataclass(frozen=True)
class Truth:
    """Of one job, see :class:`worlds.fleet.Fleet`."""

    job: dict[str, object]
    phases: pd.DataFrame
    files: pd.DataFrame


def truth_of(recorded: Recorded, calm: Run, trouble: Trouble, about: dict[str, object]) -> Truth:
    """The three tables of one recording; `calm` is the run of the same job without its trouble."""
    run = recorded.run
    key = {"source_uri": recorded.source_uri, "job_id": recorded.job_id}
    tasks = task_truth(run)
    tasks["due_s"] = task_truth(calm)["reported_s"] if trouble.kind else tasks["reported_s"]
    start_s, end_s = trouble.start_s, trouble.end_s
    if trouble.kind == "stuck":
        hung = np.flatnonzero(run.files.hangs_s > 0)[0]
        task = next(place for place, files in enumerate(run.tasks) if hung in files)
        end_s = float(tasks["ended_s"][task])
        start_s = (
            end_s - run.files.hangs_s[hung]
            if np.isfinite(end_s)
            else float(tasks["began_s"][task] + _middle(tasks["usual_s"]))
        )
    rises = rises_s(calm)
    rises = rises[rises > start_s] if np.isfinite(start_s) else rises[:0]
    went_back = sum(np.isfinite(attempt.back_s) for attempt in run.attempts)
    calm = not trouble.kind and not went_back and run.setting.queue_s < 60
    job = {
        **key,
        "collection_name": recorded.collection_name,
        "release": run.cluster.scale.release,
        "created_at": recorded.created_at,
        "end": _times(recorded, run.end_s),
        "poll_s": float(np.median(np.diff(recorded.polls_s))) if len(recorded.polls_s) > 1 else 0.0,
        "trouble": trouble.kind,
        "trouble_start": _times(recorded, start_s),
        "trouble_end": _times(recorded, end_s),
        "rise_due_at": _times(recorded, float(rises[0]) if len(rises) else np.inf),
        "went_back": went_back,
        "healthy": calm and not bool((tasks["delay_share"] >= DELAYS_SHARE).any()),
        **about,
    }
    begins = np.array([begin for _, begin in run.phases])
    ends = np.append(begins[1:], np.inf)
    phases = pd.DataFrame(
        {
            **key,
            "phase": [name for name, _ in run.phases],
            "start": _series(recorded, begins),
            "end": _series(recorded, ends),
        }
    )
    return Truth(job, phases, _file_truth(recorded, key, tasks))


def task_truth(run: Run) -> dict[str, Floats]:
    """Per task, seconds since the job's creation; see :data:`FILE_TRUTH`."""
    count = len(run.tasks)
    found = {name: np.full(count, np.inf) for name in TASK_TIMES}
    found["reported_s"] = np.full(count, np.inf)
    for name in ("node", "batch", "goes"):
        found[name] = np.zeros(count)
    for attempt in run.attempts:
        task = attempt.task
        found["goes"][task] += 1
        found["node"][task], found["batch"][task] = attempt.node, attempt.batch
        found["handed_s"][task] = min(found["handed_s"][task], attempt.handed_s)
        found["began_s"][task] = min(found["began_s"][task], attempt.began_s)
        found["back_s"][task] = min(found["back_s"][task], attempt.back_s)
        if np.isfinite(attempt.reported_s):
            found["reported_s"][task] = attempt.reported_s
            found["ended_s"][task] = attempt.ends_s.max()
    work = np.array([run.files.size_bytes[files].sum() for files in run.tasks], np.float64)
    found["task_bytes"] = work
    with np.errstate(invalid="ignore"):
        took = found["ended_s"] - found["began_s"]
    took = np.where(np.isfinite(found["began_s"]), took, np.nan)
    usual = usual_seconds(took, work)
    found["usual_s"] = usual
    ratio = took / usual
    found["peer_ratio"] = ratio
    found["delay_s"] = _delays(found, took, usual)
    name = "Resharding" if run.cluster.scale.resharding else "Importing"
    begin, end = run.phase(name)
    span = (end if np.isfinite(end) else np.inf) - begin
    with np.errstate(invalid="ignore"):
        share = np.where(np.isinf(found["delay_s"]), 1.0, found["delay_s"] / span)
        found["delay_share"] = share
        found["is_straggler"] = (share >= DELAYS_SHARE) | (ratio > SLOW_RATIO)
    return found


def usual_seconds(took: Floats, work: Floats) -> Floats:
    """What tasks of its size take in this job: the median of the fifteen nearest in size."""
    known = np.flatnonzero(np.isfinite(took))
    if not len(known):
        return np.full(len(took), np.nan)
    known = known[np.argsort(work[known], kind="stable")]
    near = min(15, len(known))
    first = np.clip(np.searchsorted(work[known], work) - near // 2, 0, len(known) - near)
    table = took[known][first[:, None] + np.arange(near)]
    size = work[known][first[:, None] + np.arange(near)]
    # Larger ones take longer; within a factor of a few in proportion is near enough.
    scaled = table * np.clip(work[:, None] / np.maximum(size, 1), 0.25, 4.0) ** 0.8
    return np.median(scaled, axis=1)


def _delays(found: dict[str, Floats], took: Floats, usual: Floats) -> Floats:
    """How much earlier all would have ended without what this task took beyond its usual time."""
    ended = np.where(np.isfinite(found["ended_s"]), found["ended_s"], np.inf)
    if len(ended) < 2:
        return np.zeros(len(ended))
    order = np.argsort(ended)
    others = np.full(len(ended), ended[order[-1]])
    others[order[-1]] = ended[order[-2]]
    with np.errstate(invalid="ignore"):
        gained = np.minimum(ended - others, took - usual)
    last = ended >= others
    return np.where(last & (gained > 0), gained, 0.0)


def _middle(seconds: Floats) -> float:
    known = seconds[np.isfinite(seconds)]
    return float(np.median(known)) if len(known) else 0.0


def _file_truth(recorded: Recorded, key: dict[str, str], tasks: dict[str, Floats]) -> pd.DataFrame:
    run = recorded.run
    task = np.empty(len(run.files.rows), np.int64)
    for place, files in enumerate(run.tasks):
        task[files] = place
    columns: dict[str, object] = {**key, "file_index": np.arange(len(task)), "task": task}
    for name in ("node", "batch", "goes"):
        columns[name] = tasks[name][task].astype(np.int64)
    for name in ("handed", "began", "back", "ended", "reported", "due"):
        columns[f"{name}_at"] = _series(recorded, tasks[f"{name}_s"][task])
    for name in ("task_bytes", "usual_s", "peer_ratio", "delay_s", "delay_share", "is_straggler"):
        columns[name] = tasks[name][task]
    return pd.DataFrame(columns)


def _series(recorded: Recorded, seconds: Floats) -> pd.Series:
    finite = np.isfinite(seconds)
    exact = pd.Series(
        pd.to_datetime(recorded.at(np.where(finite, seconds, 0)), unit="us", utc=True)
    )
    return exact.dt.as_unit("us").where(finite)


def _times(recorded: Recorded, seconds: float) -> pd.Timestamp:
    return _series(recorded, np.array([seconds]))[0]
