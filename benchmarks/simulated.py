"""Fleets of the product's own simulator in the form of :mod:`worlds`, as a second opinion.

A cluster and a job are drawn for each shape and seed; the campaign is that job again and again,
with other files drawn from its own, a week apart, each at its own pace of the day. Each campaign of
a fleet has another shape: the errors at jobs of a single shape say little about the others.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
from worlds import Fleet
from worlds.truth import DELAYS_SHARE, SLOW_RATIO, usual_seconds

from importstats.simulator import FAMILIES, SHAPES, JobSpec, Simulation, make_shape, simulate_job
from importstats.simulator.cluster import DEFAULT_START
from importstats.store.frames import details_frame, jobs_frame

#: Jobs of one cluster, one collection.
CAMPAIGN = 5
#: Shapes that end badly or wait for somebody say nothing of how long jobs take.
LEFT_OUT = ("failing", "two_phase_commit", "stuck_file", "delete_logs", "over_quota")
POLLS = 120
SIGNALS = {"files": "whole", "smooth": "smooth"}


def fleet(
    seed: int,
    families: Sequence[str] | None = None,
    jobs: int = 20,
    *,
    signal: str = "files",
) -> Fleet:
    """About so many jobs of each family, as :func:`worlds.fleet` makes them."""
    recordings = []
    shapes = [shape for shape in SHAPES if shape not in LEFT_OUT]
    for family in families or list(FAMILIES):
        place = list(FAMILIES).index(family)
        for number in range(max(1, round(jobs / CAMPAIGN))):
            shape = shapes[(seed + place + len(FAMILIES) * number) % len(shapes)]
            recordings += campaign(family, shape, seed * 1000 + number, SIGNALS[signal])
    parts = [recording.tables(runs=True) for _, recording in recordings]
    truth = pd.DataFrame([truth_of(about, recording) for about, recording in recordings])
    truth["since_change"] = pd.array([pd.NA] * len(truth), "Int64")
    for name in ("created_at", "end", "trouble_start", "trouble_end", "rise_due_at"):
        truth[name] = pd.to_datetime(truth[name], utc=True).dt.as_unit("us")
    return Fleet(
        jobs_frame(pa.concat_tables([jobs for jobs, _ in parts])),
        details_frame(pa.concat_tables([details for _, details in parts])),
        truth,
        pd.concat([phases_of(recording) for _, recording in recordings], ignore_index=True),
        pd.concat([files_of(recording) for _, recording in recordings], ignore_index=True),
    )


def campaign(
    family: str, shape: str, seed: int, signal: str
) -> list[tuple[dict[str, object], Simulation]]:
    """Jobs of one collection on one cluster, a week apart."""
    rng = np.random.default_rng(seed)
    cluster, job = make_shape(shape, seed=seed, family=family)
    uri = f"http://{family}-{shape}-{seed}.example:19530".replace("_", "-")
    found = []
    for nth in range(CAMPAIGN):
        spec = job if nth == CAMPAIGN - 1 else variant(job, rng)
        start = DEFAULT_START + timedelta(days=7 * nth)
        simulation = recording((cluster, spec), seed * 10 + nth, start, uri, signal)
        found.append(({"family": family, "nth": nth, "shape": shape}, simulation))
    return found


def variant(job: JobSpec, rng: np.random.Generator) -> JobSpec:
    """A job like another: files drawn from its own, up to twice or half as many."""
    count = max(1, round(len(job.files) * np.exp(rng.uniform(-np.log(2), np.log(2)))))
    files = []
    for number in range(count):
        file = job.files[int(rng.integers(len(job.files)))]
        path = f"import/part-{number:05d}.parquet"
        files.append(dataclasses.replace(file, paths=(path,)))
    return dataclasses.replace(job, files=tuple(files))


def recording(
    spec: tuple[object, JobSpec], seed: int, start: datetime, uri: str, signal: str
) -> Simulation:
    """Polled about a hundred times, every second to every five minutes."""
    probe = simulate_job(spec, seed=seed, poll_every_s=3600.0, start=start, signal=signal)
    lasts_s = probe.truth.duration_s
    poll_s = float(np.clip(np.nan_to_num(lasts_s, nan=36_000.0) / POLLS, 1, 300))
    return simulate_job(
        spec, seed=seed, poll_every_s=poll_s, start=start, signal=signal, source_uri=uri
    )


def truth_of(about: dict[str, object], simulation: Simulation) -> dict[str, object]:
    truth = simulation.truth
    polls = pd.Series([poll.observed_at for poll in simulation.polls])
    retries = int(truth.tasks["retries"].sum()) if len(truth.tasks) else 0
    queue = truth.phases[truth.phases["phase"].eq("Pending")]
    return {
        "source_uri": simulation.source_uri,
        "job_id": simulation.job_id,
        "collection_name": about["shape"],
        "family": about["family"],
        "release": str(simulation.dialect.release),
        "created_at": truth.phases["start"].min(),
        "end": truth.end if truth.outcome == "Completed" else pd.NaT,
        "poll_s": polls.diff().dt.total_seconds().median(),
        "nth": about["nth"],
        "trouble": "",
        "trouble_start": pd.NaT,
        "trouble_end": pd.NaT,
        "rise_due_at": pd.NaT,
        "queue_s": (queue["end"] - queue["start"]).dt.total_seconds().sum(),
        "went_back": retries,
        "healthy": False,
    }


def phases_of(simulation: Simulation) -> pd.DataFrame:
    return simulation.truth.phases.assign(
        source_uri=simulation.source_uri, job_id=simulation.job_id
    )[["source_uri", "job_id", "phase", "start", "end"]]


def files_of(simulation: Simulation) -> pd.DataFrame:
    """The truth of files by the rule of :mod:`worlds.truth`."""
    files, tasks = simulation.truth.files, simulation.truth.tasks
    took = (tasks["ended_at"] - tasks["batch_began_at"]).dt.total_seconds().to_numpy(np.float64)
    work = tasks["file_size_bytes"].to_numpy(np.float64)
    usual = usual_seconds(took, work)
    ratio = took / usual
    ended = tasks["ended_at"].sort_values()
    others = ended.iloc[-2] if len(ended) > 1 else ended.max()
    late = (tasks["ended_at"] - others).dt.total_seconds().clip(lower=0).fillna(0).to_numpy()
    late = np.minimum(late, np.nan_to_num(took - usual)).clip(min=0)
    span = (ended.max() - tasks["handed_at"].min()).total_seconds()
    share = late / span if len(tasks) > 1 and span > 0 else np.zeros(len(tasks))
    of_task = pd.DataFrame(
        {
            "task": tasks["task"].to_numpy(),
            "goes": tasks["retries"].to_numpy() + 1,
            "handed_at": tasks["handed_at"].to_numpy(),
            "began_at": tasks["batch_began_at"].to_numpy(),
            "reported_at": tasks["finished_at"].to_numpy(),
            "task_bytes": work,
            # When a task went back is not kept.
            "back_at": pd.Series(pd.NaT, tasks.index, dtype="datetime64[us, UTC]"),
            "usual_s": usual,
            "peer_ratio": ratio,
            "delay_s": late,
            "delay_share": share,
            "is_straggler": (share >= DELAYS_SHARE) | (ratio > SLOW_RATIO),
            "ended_of_task": tasks["ended_at"].to_numpy(),
        }
    )
    table = files[["file_index", "task", "node", "batch"]].merge(of_task, on="task", how="left")
    return table.rename(columns={"ended_of_task": "ended_at"}).assign(
        source_uri=simulation.source_uri, job_id=simulation.job_id
    )
