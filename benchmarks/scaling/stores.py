"""Stores of simulated jobs, made once and kept."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from importstats.simulator import Simulation, simulate_job
from importstats.store import SnapshotStore

from .columns import KEY

START = datetime(2026, 3, 2, tzinfo=UTC)
SHAPES = (
    "steady",
    "many_small_files",
    "index_bound",
    "stragglers",
    "retry_storm",
    "node_restart",
    "slow_nodes",
    "two_phase_commit",
)
SOURCES = tuple(f"https://milvus-{name}:19530" for name in ("eu", "us", "asia"))


def generate(folder: Path, name: str) -> dict:
    """The store of a name, made once, and what is in it.

    A number is a store of about so many detail rows. ``JOBSxFILES`` is one of many files and few
    snapshots: so many jobs of so many files, each seen five times on its way.
    """
    made = folder / (name if "x" in name else f"{float(name):.0e}".replace("+0", ""))
    note = made / "scale.json"
    if not note.exists():
        store = SnapshotStore(made)
        facts = wide(store, *map(int, name.split("x"))) if "x" in name else long(store, float(name))
        facts["bytes"] = sum(path.stat().st_size for path in made.rglob("*.parquet"))
        note.write_text(json.dumps(facts))
    return {**json.loads(note.read_text()), "path": str(made)}


def wide(store: SnapshotStore, jobs: int, files: int) -> dict:
    """Fill a store with jobs of many files, seen five times each.

    One job is simulated and stored under many ids, so that millions of files take minutes.
    """
    whole = simulate_job("many_small_files", files=files, seed=1, poll_every_s=20.0, start=START)
    listed = [poll for poll in whole.polls if poll.state is not None and poll.state.tasks]
    seen = [listed[place] for place in np.linspace(0, len(listed) - 1, 5).astype(int)]
    whole = replace(whole, polls=seen)
    parts = [half.tables(runs=True) for half in halves(whole)]
    for number in range(jobs):
        key = SOURCES[number % len(SOURCES)], str(449839014328146740 + number)
        for tables in parts:
            store.append_tables(*(named(table, *key) for table in tables))
    store.compact(final=True)
    snapshots, runs = whole.tables(runs=True)
    return {
        "detail_rows": jobs * pc.sum(snapshots["detail_count"]).as_py(),
        "run_rows": jobs * runs.num_rows,
        "snapshots": jobs * snapshots.num_rows,
        "jobs": jobs,
    }


def named(table: pa.Table, *key: str) -> pa.Table:
    """The rows as those of the job of this key."""
    for name, value in zip(KEY, key, strict=True):
        place = table.schema.get_field_index(name)
        field = table.schema.field(place)
        values = pa.repeat(value, table.num_rows).cast(field.type)
        table = table.set_column(place, field, values)
    return table


def long(store: SnapshotStore, rows: float) -> dict:
    """Fill a store with jobs that are polled for hours."""
    facts = {"detail_rows": 0, "run_rows": 0, "snapshots": 0, "jobs": 0}
    number = -1
    while facts["detail_rows"] < 0.95 * rows:
        number += 1
        rng = np.random.default_rng([7, number])
        simulation = simulate_job(
            SHAPES[number % len(SHAPES)],
            files=round(float(np.exp(rng.uniform(np.log(50), np.log(1500))))),
            seed=number,
            poll_every_s=20.0,
            start=START + timedelta(minutes=45 * number),
            source_uri=SOURCES[number % len(SOURCES)],
        )
        simulation = replace(simulation, job_id=str(449839014328146740 + number))
        jobs, details = simulation.tables(runs=True)
        detail_rows = pc.sum(jobs["detail_count"]).as_py() or 0
        if facts["detail_rows"] + detail_rows > 1.05 * rows:
            continue
        for half in halves(simulation):
            store.append_tables(*half.tables(runs=True))
        facts["jobs"] += 1
        facts["snapshots"] += jobs.num_rows
        facts["run_rows"] += details.num_rows
        facts["detail_rows"] += detail_rows
    store.compact(final=True)
    return facts


def halves(simulation: Simulation) -> list[Simulation]:
    """The first and the second half of what was polled, which a compaction merges."""
    middle = len(simulation.polls) // 2
    polls = simulation.polls[:middle], simulation.polls[middle:]
    return [replace(simulation, polls=some) for some in polls]
