"""Damaged answers through parser, store, frames and every analysis, and what must hold after each.

The short form is in test_fuzz.py, the long one in benchmarks/fuzz.py.
"""

from __future__ import annotations

import json
import math
import random
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from matplotlib import pyplot as plt
from mutations import history

from importstats.analysis.findings import diagnose
from importstats.analysis.forecast import eta
from importstats.analysis.job_events import events
from importstats.analysis.lateness import stragglers
from importstats.analysis.phase import phases, with_phase
from importstats.analysis.rates import throughput
from importstats.analysis.tasks import infer_tasks
from importstats.analysis.totals import summary
from importstats.errors import ImportStatsError
from importstats.names import END_PHASES, JOB_KEY
from importstats.plots import overview
from importstats.reports import report
from importstats.sources.answers import parse_response
from importstats.sources.messages import GetImportProgressResponse
from importstats.sources.snapshot import Snapshot, new_snapshot_id
from importstats.store import SnapshotStore
from importstats.store.frames import details_frame, jobs_frame
from importstats.store.schema import DETAILS_SCHEMA, JOBS_SCHEMA, details_table, jobs_table

INT64_MAX = 2**63 - 1
COUNTS = {
    "imported_rows": "importedRows",
    "total_rows": "totalRows",
    "file_size": "fileSize",
}


@dataclass
class Tally:
    """What a run saw."""

    answers: int = 0
    accepted: int = 0
    refused: int = 0
    jobs: int = 0
    reports: int = 0
    refusals: dict[str, int] = field(default_factory=dict)


# --- Parser ---------------------------------------------------------------------------------------


def parsed(body: bytes, tally: Tally) -> GetImportProgressResponse | None:
    """The answer, or None if it was refused; any other error than a typed one gets out."""
    tally.answers += 1
    try:
        response = parse_response(body)
    except ImportStatsError as error:
        message = str(error)
        assert message.isprintable(), "an error is one line without control characters"
        assert len(message) < 1000
        tally.refused += 1
        kind = type(error).__name__
        tally.refusals[kind] = tally.refusals.get(kind, 0) + 1
        return None
    tally.accepted += 1
    check_response(response, body)
    return response


def check_response(response: GetImportProgressResponse, body: bytes) -> None:
    """Nothing out of range, and nothing that differs from what Python's own JSON decoder reads."""
    rows = [response.data, *response.data.details]
    for row in rows:
        assert row.progress is None or 0 <= row.progress <= 100
        for name in COUNTS:
            count = getattr(row, name)
            assert count is None or (type(count) is int and 0 <= count <= INT64_MAX)
        for text in (row.state, row.reason, row.complete_time):
            assert text is None or text.encode() is not None
    sent = json.loads(body.decode("utf-8", "replace"))
    data = sent if isinstance(sent.get("data"), type(None)) else sent["data"]
    details = data.get("details") if isinstance(data.get("details"), list) else []
    assert len(details) == len(response.data.details), "an entry was lost or invented"
    for row, wire in zip(rows, [data, *details], strict=True):
        if isinstance(wire, dict):
            check_numbers(row, wire)


def check_numbers(row: Any, wire: dict[str, Any]) -> None:
    for name, wire_name in COUNTS.items():
        value, count = wire.get(wire_name), getattr(row, name)
        if type(value) is int and 0 <= value <= INT64_MAX:
            assert count == value
        elif isinstance(value, bool | dict | list) or value is None:
            assert count is None
        elif isinstance(value, int | float):
            assert count is None or count == value
        assert count is not None or value is None or wire_name in row.extra, "a value was dropped"
    value = wire.get("progress")
    if type(value) in (int, float) and 0 <= value <= 100:
        assert row.progress == value
    elif isinstance(value, int | float) and "readyPercentage" not in wire:
        assert row.progress is None


# --- Store and frames -----------------------------------------------------------------------------


def batch(dice: random.Random, tally: Tally, *, histories: int = 40) -> list[Snapshot]:
    """Snapshots of some jobs, whatever of their answers was accepted."""
    snapshots = []
    for number in range(histories):
        for poll, (when, body) in enumerate(history(dice)):
            response = parsed(body, tally)
            if response is not None or dice.random() < 0.1:
                snapshots.append(
                    Snapshot(
                        when,
                        f"job {number}",
                        f"http://{number % 3}",
                        response,
                        request_latency_s=0.1,
                        error=None if response is not None else "a gap",
                        # By chance a clock that stands still would give one id twice.
                        snapshot_id=new_snapshot_id(when, entropy=poll),
                    )
                )
    tally.jobs += histories
    return snapshots


def stored(snapshots: list[Snapshot], dice: random.Random) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Jobs, details and runs as a store gives them back, which are what was put in."""
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        store = SnapshotStore(folder)
        half = dice.randrange(len(snapshots))
        for part in (snapshots[half:], snapshots[:half]):
            store.append(part)
        store.compact(final=True)
        jobs, details, runs = store.jobs(), store.details(), store.details(runs=True)
    ordered = sorted(snapshots, key=lambda s: (s.source_uri, s.job_id, s.snapshot_id))
    assert jobs.cast(JOBS_SCHEMA).equals(jobs_table(ordered))
    assert details.cast(DETAILS_SCHEMA).equals(details_table(ordered))
    return jobs, details, runs


# --- Analysis -------------------------------------------------------------------------------------


def analyse(jobs: pd.DataFrame, details: pd.DataFrame, at: datetime) -> None:
    """Every analysis, and what must hold of its answer whatever came in."""
    answered = jobs[jobs["error"].isna()]
    for frame in (jobs, answered):
        phased = with_phase(frame)
        assert len(phased) == len(frame)
        assert within(phased["phase_fraction"], 0, 1)
    check_phases(phases(jobs), jobs)
    for source, by in [
        (answered, "job"),
        (answered, "collection"),
        *((details, by) for by in ("job", "file", "task", "collection")),
    ]:
        check_rates(throughput(source, by))
    assert len(infer_tasks(details)) <= len(details)
    for until in (None, at):
        check_eta(eta(jobs, details, history=jobs, at=until))
        check_stragglers(stragglers(details, at=until), details)
        check_findings(diagnose(jobs, details, at=until))
    check_summary(summary(jobs, details), answered)
    found = events(jobs, details, at)
    assert found["event_id"].is_unique


def within(column: pd.Series, least: float, most: float = math.inf) -> bool:
    """Whether all that is known of a column lies between two limits."""
    known = column.dropna().astype("float64")
    return bool(((known >= least) & (known <= most) & np.isfinite(known)).all())


def check_phases(found: pd.DataFrame, jobs: pd.DataFrame) -> None:
    assert found["snapshots"].sum() <= len(jobs)
    assert within(found["duration_s"], 0)
    assert within(found["uncertainty_s"], 0)
    assert not (found["end"] < found["start"]).any()
    assert not (found["start_latest"] < found["start_earliest"]).any()


def check_rates(rates: pd.DataFrame) -> None:
    for name in rates.columns[rates.columns.str.contains("_per_s|rows_|interval_s|_rows")]:
        assert within(rates[name], 0), name


def check_eta(found: pd.DataFrame) -> None:
    p10, p50, p90 = (found[f"remaining_{name}_s"] for name in ("p10", "p50", "p90"))
    for seconds in (p10, p50, p90):
        assert within(seconds, 0)
        assert seconds.isna().equals(p50.isna()), "an interval is known whole or not at all"
    assert not ((p10 > p50) | (p50 > p90)).any()
    running = ~found["phase"].isin(END_PHASES)
    for name in ("eta_p10", "eta_p50", "eta_p90"):
        assert found[name].isna().equals(p50.isna())
        assert not (found[name] < found["observed_at"])[running].any(), "an ETA in the past"
    assert found.loc[p50.isna(), "reason"].str.len().gt(0).all(), "no answer and no reason"


def check_stragglers(files: pd.DataFrame, details: pd.DataFrame) -> None:
    places = details.drop_duplicates([*JOB_KEY, "file_index", "file_name"])
    assert len(files) <= len(places), "a file has several rows"
    for name in ("rows_per_s", "bytes_per_s", "peer_bytes_per_s", "remaining_s", "elapsed_s"):
        assert within(files[name], 0), name
    for name in ("idle_s", "retries", "expected_duration_s", "delay_s", "pace"):
        assert within(files[name], 0), name


def check_findings(found: pd.DataFrame) -> None:
    for evidence in found["evidence"]:
        json.loads(evidence, parse_constant=refuse)
    assert found["message"].str.len().gt(0).all()
    for text in found["message"]:
        assert text.isprintable(), "a server's text steers whatever shows it"


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def check_summary(found: pd.DataFrame, answered: pd.DataFrame) -> None:
    assert len(found) == len(answered[JOB_KEY].drop_duplicates())
    assert found["snapshots"].sum() <= len(answered)
    numbers = [name for name in found if str(name).endswith("_s")]
    for name in (*numbers, "rows", "bytes", "files", "failed_files", "retries"):
        assert within(found[name], 0), name
    assert within(found["efficiency"], 0, 1)
    assert within(found["progress_pct"], 0, 100)


def show(jobs: pd.DataFrame, details: pd.DataFrame, at: datetime, tally: Tally) -> None:
    """Figure and reports of one job."""
    answered = jobs[jobs["error"].isna()]
    if answered.empty:
        return
    overview(answered, details, at=at)
    plt.close("all")
    assert report(jobs, details, at=at, form="html").startswith("<!")
    text = report(jobs, details, at=at, form="md")
    assert all(c.isprintable() or c == "\n" for c in text)
    json.loads(report(jobs, details, at=at, form="json"), parse_constant=refuse)
    tally.reports += 1


# --- Together -------------------------------------------------------------------------------------


def rounds(seed: int, count: int, *, histories: int = 40, shown: int = 1) -> Iterator[Tally]:
    """Damaged answers until there are so many, a batch at a time; the tally so far after each."""
    dice = random.Random(seed)
    tally = Tally()
    while tally.answers < count:
        snapshots = batch(dice, tally, histories=histories)
        tables = stored(snapshots, dice)
        jobs = jobs_frame(tables[0])
        at = jobs["observed_at"].iloc[dice.randrange(len(jobs))].to_pydatetime()
        for details in (details_frame(tables[1]), details_frame(tables[2])):
            analyse(jobs, details, at)
        for job_id in dice.sample(list(jobs["job_id"].unique()), shown):
            own = jobs[jobs["job_id"] == job_id]
            own_details = details[details["job_id"] == job_id]
            show(own, own_details, own["observed_at"].max() + timedelta(seconds=1), tally)
        yield tally
