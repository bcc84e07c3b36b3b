"""How time and memory grow from a million to a hundred million detail rows.

    python benchmarks/scale.py --rows 1e6,1e7,1e8 --folder FOLDER --json FILE
    python benchmarks/scale.py --rows 1000x10000 --folder FOLDER --json FILE
    python benchmarks/scale.py --smoke

A detail row is one file in one snapshot; a store keeps runs of equal ones, so it has far fewer rows
on disk. The store of each size is simulated once and kept in the folder: jobs of several shapes and
50 to 1500 files on three clusters, each job compacted to one segment, as a collector leaves it.
``1000x10000`` is another shape: 1,000 jobs of 10,000 files, of which five snapshots were taken.

Every measurement is a process of its own, which reads the Parquet files from disk and hands out the
whole result piece by piece: Arrow or Polars tables, and pandas frames where the task says so or an
analysis returns them. Wall and CPU time are of the work (imports are over before), memory is
the greatest resident set of the process, the libraries of all engines included.

* ``importstats`` reads through :class:`SnapshotStore` (which checks the format, and that each
  snapshot counts once) and works on some jobs at a time.
* ``duckdb`` and ``polars`` glob the same files and do the same by hand, on as many threads as there
  are cores: the same samples from the runs, the same rates and windows, the same phases by progress
  and rows, tasks told apart by a hash of their steps. They leave out what takes rules instead of
  aggregation: releases with other progress ranges, server times, lost names, the cost of a task
  by its bytes, the rounds in which slow peers are discounted, verdicts, and interpolation at a
  window's edge. So they do less, never more.
* ``pyarrow`` only reads the columns that the task needs: what no method can be faster than.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from measures import standing

from importstats.analysis.lateness import stragglers
from importstats.analysis.phase import phases
from importstats.analysis.rates import throughput
from importstats.fleets import summarise
from importstats.simulator import simulate_job
from importstats.store import SnapshotStore
from importstats.store.frames import load_details, load_jobs
from importstats.store.pieces import jobs_frames, over_details

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
# A process that wants more address space than this fails instead of troubling the machine.
MOST_BYTES = 14 * 2**30


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
    tables = replace(whole, polls=seen).tables(runs=True)
    for number in range(jobs):
        key = SOURCES[number % len(SOURCES)], str(449839014328146740 + number)
        store.append_tables(*(named(table, *key) for table in tables))
    snapshots, runs = tables
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
        store.append_tables(jobs, details)
        facts["jobs"] += 1
        facts["snapshots"] += jobs.num_rows
        facts["run_rows"] += details.num_rows
        facts["detail_rows"] += detail_rows
    return facts


# --- importstats ----------------------------------------------------------------------------------


def our_expanded(store: str) -> Iterator:
    yield from SnapshotStore(store).iter_details()


def our_runs(store: str) -> Iterator:
    yield from SnapshotStore(store).iter_details(runs=True)


def our_frame(store: str) -> Iterator:
    yield load_details(store, runs=True)


def our_throughput(store: str) -> Iterator:
    by_file = partial(throughput, by="file")
    yield from over_details(SnapshotStore(store), by_file, columns=THROUGHPUT_COLUMNS)


def our_stragglers(store: str) -> Iterator:
    yield from over_details(SnapshotStore(store), stragglers, columns=STRAGGLERS_COLUMNS)


def our_phases(store: str) -> Iterator:
    for jobs in jobs_frames(SnapshotStore(store), columns=OUR_PHASES_COLUMNS):
        yield phases(jobs)


def our_summary(store: str) -> Iterator:
    yield summarise(store)


# --- pyarrow --------------------------------------------------------------------------------------

KEY = ["source_uri", "job_id"]
TIMES = ["observed_at", "last_observed_at"]
FILE = ["file_index", "file_name", "file_size_bytes"]
THROUGHPUT_COLUMNS = [
    *KEY,
    *TIMES,
    *FILE,
    "state",
    "progress_pct",
    "imported_rows",
    "total_rows",
]
STRAGGLERS_COLUMNS = [*THROUGHPUT_COLUMNS, "complete_time"]
PHASES_COLUMNS = [
    *KEY,
    "observed_at",
    "state",
    "progress_pct",
    "imported_rows",
    "total_rows",
    "detail_count",
    "file_size_bytes",
    "collection_name",
]


# As many as `phases` can make use of.
OUR_PHASES_COLUMNS = [
    *(name for name in PHASES_COLUMNS if name not in ("file_size_bytes", "collection_name")),
    *("snapshot_id", "reason", "complete_time", "create_time", "extra", "status"),
    "server_version",
]


def scan(store: str, table: str, columns: list[str] | None) -> Iterator:
    yield from ds.dataset(f"{store}/{table}").to_batches(columns=columns)


def scan_summary(store: str) -> Iterator:
    yield from scan(store, "jobs", PHASES_COLUMNS)
    yield from scan(store, "details", STRAGGLERS_COLUMNS)


# --- DuckDB ---------------------------------------------------------------------------------------

SAMPLES = """
samples AS (
    SELECT source_uri, job_id, file_index, file_name, observed_at AS seen_at, state, progress_pct,
        imported_rows, total_rows, file_size_bytes FROM details
    UNION ALL
    SELECT source_uri, job_id, file_index, file_name, last_observed_at, state, progress_pct,
        imported_rows, total_rows, file_size_bytes FROM details
    WHERE last_observed_at > observed_at
)"""
# A join on the job with the range as a filter takes a tenth of the memory of unnesting positions.
FLATTEN_SQL = """
SELECT polls.snapshot_id, polls.observed_at,
    d.* EXCLUDE (snapshot_id, last_snapshot_id, observed_at, last_observed_at)
FROM details d JOIN (SELECT source_uri, job_id, snapshot_id, observed_at FROM jobs) polls
    ON polls.source_uri = d.source_uri AND polls.job_id = d.job_id
    AND polls.snapshot_id BETWEEN d.snapshot_id AND d.last_snapshot_id
"""
THROUGHPUT_SQL = f"""
WITH {SAMPLES}, sized AS (
    SELECT *, file_size_bytes * coalesce(
        CASE WHEN abs(imported_rows / nullif(total_rows, 0) - progress_pct / 100) <= 0.015
            THEN imported_rows / nullif(total_rows, 0) END, progress_pct / 100) AS size
    FROM samples WHERE NOT (imported_rows = 0 AND state = 'Failed')
), step AS (
    SELECT *, epoch_us(seen_at) - epoch_us(lag(seen_at) OVER w) AS us,
        imported_rows - lag(imported_rows) OVER w AS change, size - lag(size) OVER w AS byte_change
    FROM sized WINDOW w AS (PARTITION BY source_uri, job_id, file_index ORDER BY seen_at)
), delta AS (
    SELECT * EXCLUDE (change, byte_change), greatest(change, 0) AS gain,
        greatest(-change, 0) AS loss, greatest(byte_change, 0) AS byte_gain
    FROM step
)
SELECT source_uri, job_id, file_index, file_name, seen_at, us / 1e6 AS interval_s, imported_rows,
    gain AS rows_delta, loss AS rows_lost, gain / (us / 1e6) AS rows_per_s,
    byte_gain / (us / 1e6) AS bytes_per_s, sum(gain) OVER r / 60 AS rows_per_s_window,
    sum(byte_gain) OVER r / 60 AS bytes_per_s_window,
    sum(gain) OVER a / nullif(epoch(seen_at - first(seen_at) OVER a), 0) AS rows_per_s_mean
FROM delta WINDOW
    r AS (PARTITION BY source_uri, job_id, file_index ORDER BY seen_at
          RANGE BETWEEN INTERVAL 60 SECONDS PRECEDING AND CURRENT ROW),
    a AS (PARTITION BY source_uri, job_id, file_index ORDER BY seen_at)
"""
WORK = f"""{SAMPLES}, step AS (
    SELECT *, state = 'InProgress' AS works, lag(state) OVER w = 'InProgress' AS worked,
        progress_pct - lag(progress_pct) OVER w AS change, lag(state) OVER w AS old_state,
        epoch(seen_at - lag(seen_at) OVER w) AS s
    FROM samples WINDOW w AS (PARTITION BY source_uri, job_id, file_index ORDER BY seen_at)
), timed AS (
    SELECT *, greatest(change, 0) / 100 AS gain,
        CASE WHEN works AND worked THEN s WHEN works OR worked THEN s / 2 ELSE 0 END AS run,
        change < 0 OR worked AND state IN ('Pending', 'Retry') AS back,
        works AND (change != 0 OR state != old_state) AS steps
    FROM step
), file AS (
    SELECT source_uri, job_id, file_index, any_value(file_name) AS file_name,
        arg_max(state, seen_at) AS state, max(imported_rows) AS imported_rows,
        any_value(file_size_bytes) AS file_size_bytes, max(total_rows) AS total_rows,
        min(seen_at) FILTER (works) AS started_at,
        max(seen_at) FILTER (works OR worked) AS stopped_at,
        sum(gain) AS gained, sum(run) AS at_work_s, count(*) FILTER (back) AS retries,
        sum(hash(seen_at, state, progress_pct)) FILTER (steps) AS signature,
        count(*) FILTER (steps) AS moves
    FROM timed GROUP BY source_uri, job_id, file_index
), task AS (
    SELECT source_uri, job_id, min(file_index) AS task, max(started_at) AS started_at,
        max(stopped_at) AS stopped_at, max(at_work_s) AS at_work_s, max(gained) AS gained,
        max(retries) AS retries, sum(file_size_bytes) AS file_size_bytes,
        list(file_index) AS files
    FROM file
    GROUP BY source_uri, job_id, CASE WHEN moves > 1 THEN signature ELSE file_index END
)"""
STRAGGLERS_SQL = f"""
WITH {WORK}, leader AS (
    SELECT timed.source_uri, timed.job_id, seen_at, sum(gain) AS gain, sum(run) AS run
    FROM timed JOIN task ON timed.source_uri = task.source_uri AND timed.job_id = task.job_id
        AND timed.file_index = task.task
    GROUP BY ALL
), slot AS (
    SELECT source_uri, job_id, seen_at, sum(gain) OVER w AS gain, sum(run) OVER w AS run
    FROM leader WINDOW w AS (PARTITION BY source_uri, job_id ORDER BY seen_at)
), judged AS (
    SELECT task.*, (l.gain - f.gain - gained) / nullif(l.run - f.run - at_work_s, 0) * at_work_s
        AS expected
    FROM task
    LEFT JOIN slot f ON f.source_uri = task.source_uri AND f.job_id = task.job_id
        AND f.seen_at = started_at
    LEFT JOIN slot l ON l.source_uri = task.source_uri AND l.job_id = task.job_id
        AND l.seen_at = stopped_at
), paced AS (
    SELECT * EXCLUDE (files), gained / expected
        / median(gained / expected) OVER (PARTITION BY source_uri, job_id) AS pace,
        unnest(files) AS file_index
    FROM judged
)
SELECT file.* EXCLUDE (started_at, stopped_at, gained, at_work_s, retries, signature, moves),
    paced.* EXCLUDE (source_uri, job_id, file_index, file_size_bytes),
    file.file_size_bytes * paced.gained / nullif(paced.at_work_s, 0) AS bytes_per_s,
    coalesce(pace < 0.57, false) AS is_straggler
FROM file JOIN paced USING (source_uri, job_id, file_index)
"""
RUNS = """
told AS (
    SELECT *, CASE
        WHEN state != 'Importing' THEN state
        WHEN (progress_pct < 40 OR progress_pct = 40 AND detail_count = 0) AND imported_rows = 0
            THEN 'PreImporting'
        WHEN progress_pct < 70 OR progress_pct = 70 AND imported_rows < total_rows THEN 'Importing'
        WHEN progress_pct < 80 THEN 'Sorting'
        WHEN progress_pct = 99 THEN 'Committing'
        ELSE 'IndexBuilding' END AS phase
    FROM jobs
), border AS (
    SELECT *, phase IS DISTINCT FROM lag(phase) OVER w AS begins, lag(observed_at) OVER w AS before
    FROM told WINDOW w AS (PARTITION BY source_uri, job_id ORDER BY observed_at)
), numbered AS (
    SELECT *, sum(begins::INT) OVER (PARTITION BY source_uri, job_id ORDER BY observed_at) AS run
    FROM border
), runs AS (
    SELECT source_uri, job_id, run, any_value(phase) AS phase,
        arg_min(before, observed_at) AS start_earliest, min(observed_at) AS start_latest,
        max(observed_at) AS end_earliest, count(*) AS snapshots,
        arg_min(imported_rows, observed_at) AS rows_at_start,
        arg_max(imported_rows, observed_at) AS rows_at_end
    FROM numbered GROUP BY source_uri, job_id, run
), lasting AS (
    SELECT *, coalesce(start_earliest + (start_latest - start_earliest) / 2, start_latest) AS start
    FROM runs
), phases AS (
    SELECT *, epoch(coalesce(lead(start) OVER (PARTITION BY source_uri, job_id ORDER BY run),
        end_earliest) - start) AS duration_s
    FROM lasting
)"""
PHASES_SQL = f"WITH {RUNS} SELECT * FROM phases ORDER BY source_uri, job_id, run"
TIMED_PHASES = (
    "Pending",
    "PreImporting",
    "Importing",
    "Sorting",
    "IndexBuilding",
    "Uncommitted",
    "Committing",
)
SUMMARY_SQL = f"""
WITH {RUNS}, {WORK}, spent AS (
    SELECT source_uri, job_id, arg_max(phase, run) AS phase, arg_max(start, run) AS last_start,
        {", ".join(f"sum(duration_s) FILTER (phase = '{p}') AS {p}_s" for p in TIMED_PHASES)}
    FROM phases GROUP BY source_uri, job_id
), job AS (
    SELECT source_uri, job_id, arg_max(collection_name, observed_at) AS collection_name,
        arg_max(state, observed_at) AS state, arg_max(progress_pct, observed_at) AS progress_pct,
        min(observed_at) AS started_at, max(observed_at) AS last_at,
        arg_max(imported_rows, observed_at) FILTER (state != 'Failed') AS rows,
        max(total_rows) AS total_rows, max(file_size_bytes) AS bytes, max(detail_count) AS files,
        count(*) AS snapshots
    FROM jobs GROUP BY source_uri, job_id
), event AS (
    SELECT source_uri, job_id, started_at AS seen_at, 1 AS step FROM task
    UNION ALL SELECT source_uri, job_id, stopped_at, -1 FROM task
), busy AS (
    SELECT source_uri, job_id,
        sum(step) OVER (PARTITION BY source_uri, job_id ORDER BY seen_at, step) AS slots
    FROM event WHERE seen_at IS NOT NULL
), slots AS (
    SELECT source_uri, job_id, max(slots) AS slots FROM busy GROUP BY source_uri, job_id
), work AS (
    SELECT source_uri, job_id, sum(retries) AS retries, sum(at_work_s) AS work_s,
        max(at_work_s) AS longest_s, epoch(max(stopped_at) - min(started_at)) AS took_s
    FROM task GROUP BY source_uri, job_id
), failed AS (
    SELECT source_uri, job_id, count(*) FILTER (state = 'Failed') AS failed_files
    FROM file GROUP BY source_uri, job_id
)
SELECT *, epoch(coalesce(CASE WHEN phase IN ('Completed', 'Failed') THEN last_start END, last_at)
        - started_at) AS duration_s, rows / duration_s AS rows_per_s,
    greatest(work_s / slots, longest_s) / took_s AS efficiency
FROM job JOIN spent USING (source_uri, job_id) LEFT JOIN work USING (source_uri, job_id)
LEFT JOIN slots USING (source_uri, job_id) LEFT JOIN failed USING (source_uri, job_id)
ORDER BY source_uri, job_id
"""


def duck(store: str, statement: str) -> Iterator:
    with duckdb.connect() as connection:
        connection.sql("SET preserve_insertion_order = false")
        for table in ("jobs", "details"):
            files = f"{store}/{table}/*/*/*.parquet"
            connection.sql(
                f"CREATE VIEW {table} AS FROM read_parquet('{files}', hive_partitioning = false)"
            )
        yield from connection.sql(statement).to_arrow_reader(1_000_000)


def duck_frame(store: str) -> Iterator:
    with duckdb.connect() as connection:
        files = f"{store}/details/*/*/*.parquet"
        yield connection.sql(f"FROM read_parquet('{files}', hive_partitioning = false)").df()


# --- Polars ---------------------------------------------------------------------------------------

OF_FILE = [*KEY, "file_index"]


def lazy(store: str, table: str) -> pl.LazyFrame:
    return pl.scan_parquet(f"{store}/{table}/*/*/*.parquet", hive_partitioning=False)


def streamed(query: pl.LazyFrame) -> Iterator:
    yield from query.collect_batches(chunk_size=1_000_000)


def polars_expanded(store: str) -> Iterator:
    polls = lazy(store, "jobs").select(*KEY, poll="snapshot_id", at="observed_at")
    yield from streamed(
        lazy(store, "details")
        .drop("observed_at", "last_observed_at")
        .join(polls, on=KEY)
        .filter(pl.col("poll").is_between("snapshot_id", "last_snapshot_id"))
        .drop("snapshot_id", "last_snapshot_id")
        .rename({"poll": "snapshot_id", "at": "observed_at"})
    )


def polars_samples(store: str) -> pl.LazyFrame:
    details = lazy(store, "details").select(THROUGHPUT_COLUMNS)
    lasts = details.filter(pl.col("last_observed_at") > pl.col("observed_at"))
    return pl.concat(
        [
            details.drop("last_observed_at").rename({"observed_at": "at"}),
            lasts.drop("observed_at")
            .rename({"last_observed_at": "at"})
            .select(*KEY, "at", pl.exclude(*KEY, "at")),
        ],
        how="diagonal",
    ).sort(*OF_FILE, "at")


def before(name: str) -> pl.Expr:
    return pl.col(name).shift().over(OF_FILE)


def polars_throughput(store: str) -> Iterator:
    share = pl.col("imported_rows") / pl.col("total_rows")
    told = pl.col("progress_pct") / 100
    seconds = pl.col("interval_s")
    failed = (pl.col("imported_rows") == 0) & (pl.col("state") == "Failed")
    yield from streamed(
        polars_samples(store)
        .filter(~failed)
        .with_columns(
            size=pl.col("file_size_bytes")
            * pl.when((share - told).abs() <= 0.015).then(share).otherwise(told)
        )
        .with_columns(
            interval_s=(pl.col("at") - before("at")).dt.total_microseconds() / 1e6,
            change=pl.col("imported_rows") - before("imported_rows"),
            byte_gain=(pl.col("size") - before("size")).clip(lower_bound=0),
        )
        .with_columns(
            rows_delta=pl.col("change").clip(lower_bound=0),
            rows_lost=(-pl.col("change")).clip(lower_bound=0),
        )
        .select(
            *OF_FILE,
            "file_name",
            "at",
            "interval_s",
            "imported_rows",
            "rows_delta",
            "rows_lost",
            rows_per_s=pl.col("rows_delta") / seconds,
            bytes_per_s=pl.col("byte_gain") / seconds,
            rows_per_s_window=pl.col("rows_delta").rolling_sum_by("at", "60s").over(OF_FILE) / 60,
            bytes_per_s_window=pl.col("byte_gain").rolling_sum_by("at", "60s").over(OF_FILE) / 60,
            rows_per_s_mean=pl.col("rows_delta").cum_sum().over(OF_FILE)
            / seconds.cum_sum().over(OF_FILE),
        )
    )


def polars_work(store: str) -> tuple[pl.LazyFrame, pl.LazyFrame, pl.LazyFrame]:
    """What happened between samples, files, and tasks."""
    works, worked = pl.col("works"), pl.col("works").shift().over(OF_FILE).fill_null(False)
    change = pl.col("progress_pct") - before("progress_pct")
    seconds = (pl.col("at") - before("at")).dt.total_microseconds() / 1e6
    timed = (
        polars_samples(store)
        .with_columns(works=pl.col("state") == "InProgress")
        .with_columns(
            worked=worked, change=change, s=seconds, other=pl.col("state") != before("state")
        )
        .with_columns(
            gain=pl.col("change").clip(lower_bound=0) / 100,
            run=pl.when(works & pl.col("worked"))
            .then(pl.col("s"))
            .when(works | pl.col("worked"))
            .then(pl.col("s") / 2)
            .otherwise(0.0),
            back=(pl.col("change") < 0)
            | (pl.col("worked") & pl.col("state").is_in(["Pending", "Retry"])),
            steps=works & ((pl.col("change") != 0) | pl.col("other")),
        )
    )
    hashed = pl.struct("at", "state", "progress_pct").hash()
    files = timed.group_by(OF_FILE).agg(
        pl.col("file_name").first(),
        pl.col("state").last(),
        pl.col("imported_rows", "total_rows", "file_size_bytes").max(),
        started_at=pl.col("at").filter(works).min(),
        stopped_at=pl.col("at").filter(works | pl.col("worked")).max(),
        gained=pl.col("gain").sum(),
        at_work_s=pl.col("run").sum(),
        retries=pl.col("back").sum(),
        signature=hashed.filter(pl.col("steps")).sum(),
        moves=pl.col("steps").sum(),
    )
    alone = pl.col("file_index").cast(pl.UInt64)
    tasks = (
        files.with_columns(
            group=pl.when(pl.col("moves") > 1).then(pl.col("signature")).otherwise(alone)
        )
        .group_by(*KEY, "group")
        .agg(
            pl.col("started_at", "stopped_at", "at_work_s", "gained", "retries").max(),
            pl.col("file_size_bytes").sum(),
            task=pl.col("file_index").min(),
            files=pl.col("file_index"),
        )
    )
    return timed, files, tasks


def polars_stragglers(store: str) -> Iterator:
    timed, files, tasks = polars_work(store)
    leaders = tasks.select(*KEY, file_index="task")
    slots = (
        timed.join(leaders, on=OF_FILE, how="semi")
        .group_by(*KEY, "at")
        .agg(pl.col("gain", "run").sum())
        .sort(*KEY, "at")
        .with_columns(pl.col("gain", "run").cum_sum().over(KEY))
    )
    starts = slots.rename({"at": "started_at", "gain": "gain0", "run": "run0"})
    stops = slots.rename({"at": "stopped_at"})
    others = pl.col("run") - pl.col("run0") - pl.col("at_work_s")
    expected = (pl.col("gain") - pl.col("gain0") - pl.col("gained")) / others * pl.col("at_work_s")
    pace = pl.col("gained") / pl.col("expected")
    paced = (
        tasks.join(starts, on=[*KEY, "started_at"], how="left")
        .join(stops, on=[*KEY, "stopped_at"], how="left")
        .with_columns(expected=expected)
        .with_columns(pace=pace / pace.median().over(KEY))
        .explode("files")
        .rename({"files": "file_index"})
        .select(*OF_FILE, "task", "started_at", "stopped_at", "at_work_s", "gained", "pace")
    )
    kept = files.drop("started_at", "stopped_at", "at_work_s", "gained", "signature", "moves")
    yield from streamed(
        kept.join(paced, on=OF_FILE).with_columns(
            bytes_per_s=pl.col("file_size_bytes") * pl.col("gained") / pl.col("at_work_s"),
            is_straggler=(pl.col("pace") < 0.57).fill_null(False),
        )
    )


def polars_runs(store: str) -> pl.LazyFrame:
    progress, rows = pl.col("progress_pct"), pl.col("imported_rows")
    phase = (
        pl.when(pl.col("state") != "Importing")
        .then(pl.col("state"))
        .when(((progress < 40) | ((progress == 40) & (pl.col("detail_count") == 0))) & (rows == 0))
        .then(pl.lit("PreImporting"))
        .when((progress < 70) | ((progress == 70) & (rows < pl.col("total_rows"))))
        .then(pl.lit("Importing"))
        .when(progress < 80)
        .then(pl.lit("Sorting"))
        .when(progress == 99)
        .then(pl.lit("Committing"))
        .otherwise(pl.lit("IndexBuilding"))
    )
    told = lazy(store, "jobs").sort(*KEY, "observed_at").with_columns(phase=phase)
    earliest, latest = pl.col("start_earliest"), pl.col("start_latest")
    return (
        told.with_columns(
            before=pl.col("observed_at").shift().over(KEY),
            run=pl.col("phase").rle_id().over(KEY),
        )
        .group_by(*KEY, "run")
        .agg(
            pl.col("phase").first(),
            start_earliest=pl.col("before").first(),
            start_latest=pl.col("observed_at").min(),
            end_earliest=pl.col("observed_at").max(),
            snapshots=pl.len(),
            rows_at_start=rows.first(),
            rows_at_end=rows.last(),
        )
        .sort(*KEY, "run")
        .with_columns(start=pl.coalesce(earliest + (latest - earliest) / 2, latest))
        .with_columns(end=pl.coalesce(pl.col("start").shift(-1).over(KEY), pl.col("end_earliest")))
        .with_columns(
            duration_s=(pl.col("end") - pl.col("start")).dt.total_microseconds() / 1e6,
        )
    )


def polars_phases(store: str) -> Iterator:
    yield from streamed(polars_runs(store))


def polars_summary(store: str) -> Iterator:
    _, files, tasks = polars_work(store)
    spent = (
        polars_runs(store)
        .group_by(KEY)
        .agg(
            pl.col("phase").last(),
            last_start=pl.col("start").last(),
            **{
                f"{name}_s": pl.col("duration_s").filter(pl.col("phase") == name).sum()
                for name in TIMED_PHASES
            },
        )
    )
    job = (
        lazy(store, "jobs")
        .sort(*KEY, "observed_at")
        .group_by(KEY)
        .agg(
            pl.col("collection_name", "state", "progress_pct").last(),
            pl.col("total_rows", "file_size_bytes", "detail_count").max(),
            started_at=pl.col("observed_at").min(),
            last_at=pl.col("observed_at").max(),
            rows=pl.col("imported_rows").filter(pl.col("state") != "Failed").last(),
            snapshots=pl.len(),
        )
    )
    events = pl.concat(
        [
            tasks.select(*KEY, at="started_at", step=pl.lit(1)),
            tasks.select(*KEY, at="stopped_at", step=pl.lit(-1)),
        ]
    )
    slots = (
        events.drop_nulls("at")
        .sort(*KEY, "at", "step")
        .with_columns(slots=pl.col("step").cum_sum().over(KEY))
        .group_by(KEY)
        .agg(pl.col("slots").max())
    )
    took = pl.col("stopped_at").max() - pl.col("started_at").min()
    work = tasks.group_by(KEY).agg(
        pl.col("retries").sum(),
        work_s=pl.col("at_work_s").sum(),
        longest_s=pl.col("at_work_s").max(),
        took_s=took.dt.total_microseconds() / 1e6,
    )
    failed = files.group_by(KEY).agg(failed_files=(pl.col("state") == "Failed").sum())
    ended = pl.when(pl.col("phase").is_in(["Completed", "Failed"])).then(pl.col("last_start"))
    lasted = pl.coalesce(ended, pl.col("last_at")) - pl.col("started_at")
    least = pl.max_horizontal(pl.col("work_s") / pl.col("slots"), "longest_s")
    yield from streamed(
        job.join(spent, on=KEY)
        .join(work, on=KEY, how="left")
        .join(slots, on=KEY, how="left")
        .join(failed, on=KEY, how="left")
        .with_columns(duration_s=lasted.dt.total_microseconds() / 1e6)
        .with_columns(
            rows_per_s=pl.col("rows") / pl.col("duration_s"), efficiency=least / pl.col("took_s")
        )
        .sort(KEY)
    )


# --- Measuring ------------------------------------------------------------------------------------

Work = Callable[[str], Iterator]
TASKS: dict[str, dict[str, Work]] = {
    "rows, as Arrow": {
        "importstats": our_expanded,
        "duckdb": lambda store: duck(store, FLATTEN_SQL),
        "polars": polars_expanded,
        "pyarrow": lambda store: scan(store, "details", None),
    },
    "runs, as one pandas frame": {
        "importstats": our_frame,
        "duckdb": duck_frame,
        "polars": lambda store: iter([lazy(store, "details").collect().to_pandas()]),
        "pyarrow": lambda store: scan(store, "details", None),
    },
    "runs, as Arrow": {
        "importstats": our_runs,
        "duckdb": lambda store: duck(store, "FROM details"),
        "polars": lambda store: streamed(lazy(store, "details")),
        "pyarrow": lambda store: scan(store, "details", None),
    },
    "throughput by file": {
        "importstats": our_throughput,
        "duckdb": lambda store: duck(store, THROUGHPUT_SQL),
        "polars": polars_throughput,
        "pyarrow": lambda store: scan(store, "details", THROUGHPUT_COLUMNS),
    },
    "stragglers": {
        "importstats": our_stragglers,
        "duckdb": lambda store: duck(store, STRAGGLERS_SQL),
        "polars": polars_stragglers,
        "pyarrow": lambda store: scan(store, "details", STRAGGLERS_COLUMNS),
    },
    "phases": {
        "importstats": our_phases,
        "duckdb": lambda store: duck(store, PHASES_SQL),
        "polars": polars_phases,
        "pyarrow": lambda store: scan(store, "jobs", PHASES_COLUMNS),
    },
    "summary": {
        "importstats": our_summary,
        "duckdb": lambda store: duck(store, SUMMARY_SQL),
        "polars": polars_summary,
        "pyarrow": scan_summary,
    },
}
ENGINES = ("importstats", "duckdb", "polars", "pyarrow")


def one_job(store: str) -> Iterator:
    """The view of the first job, as a command shows it."""
    key = {"job_id": "449839014328146740", "source_uri": SOURCES[0]}
    yield load_jobs(store, **key)
    yield load_details(store, runs=True, **key)


ONE_JOB = "one job's jobs and runs"
TASKS[ONE_JOB] = {"importstats": one_job}


def run(task: str, engine: str, store: str) -> dict:
    """Do the work here and say what it took."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    wall, cpu, rows = time.perf_counter(), time.process_time(), 0
    for piece in TASKS[task][engine](store):
        rows += piece.num_rows if isinstance(piece, pa.RecordBatch | pa.Table) else len(piece)
    return {
        "wall_s": time.perf_counter() - wall,
        "cpu_s": time.process_time() - cpu,
        "rss_mb": peak_mb(),
        "rows": rows,
    }


def peak_mb() -> float:
    """The greatest resident set of this process since its program began.

    ``ru_maxrss`` would be no less than the peak of the process that started it.
    """
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024


def measure(task: str, engine: str, store: str, rounds: int) -> dict:
    """The best of some processes: that one which the machine's other work disturbed least."""
    command = [sys.executable, __file__, "--task", task, "--engine", engine, "--store", store]
    found = []
    for _ in range(rounds):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = done.stderr.strip().splitlines()[-1:] or [f"exit {done.returncode}"]
            return {"error": reason[0]}
        found.append(json.loads(done.stdout))
    return {
        name: min(each[name] for each in found) if name != "rss_mb" else max(e[name] for e in found)
        for name in found[0]
    }


def cell(measured: dict) -> str:
    if "error" in measured:
        return f"failed: {measured['error'][:40]}"
    return f"{measured['wall_s']:.2f} s, {measured['cpu_s']:.2f} s, {measured['rss_mb']:,.0f} MB"


def report(stores: list[dict], results: list[dict]) -> Iterator[str]:
    yield "| store | detail rows | runs on disk | snapshots | jobs | Parquet |"
    yield "|---|--:|--:|--:|--:|--:|"
    for facts in stores:
        yield (
            f"| {facts['name']} | {facts['detail_rows']:,} | {facts['run_rows']:,} | "
            f"{facts['snapshots']:,} | {facts['jobs']:,} | {facts['bytes'] / 1e6:.1f} MB |"
        )
    columns = [*ENGINES, "best of DuckDB and Polars", "ours to it: wall, CPU, memory", "verdict"]
    yield f"\n| task | store | {' | '.join(columns)} |"
    yield "|---|---|" + "---|" * len(columns)
    for result in results:
        cells = [cell(result[name]) if name in result else "" for name in ENGINES]
        yield f"| {result['task']} | {result['name']} | {' | '.join([*cells, *judged(result)])} |"


def growth(stores: list[dict], results: list[dict]) -> Iterator[str]:
    """What a million detail rows cost us at each size: a row that rises is a defect."""
    million = {facts["name"]: facts["detail_rows"] / 1e6 for facts in stores}
    names = list(million)
    yield f"\n| importstats, CPU ms per million rows | {' | '.join(names)} | |"
    yield "|---|" + "--:|" * len(names) + "---|"
    for task in dict.fromkeys(result["task"] for result in results):
        ours = {r["name"]: r["importstats"] for r in results if r["task"] == task}
        cost = [
            ours[n]["cpu_s"] / million[n] if "cpu_s" in ours.get(n, {}) else None for n in names
        ]
        known = [each for each in cost if each is not None]
        rises = len(known) > 1 and known[-1] > 1.2 * min(known)
        cells = ["" if each is None else f"{1e3 * each:,.1f}" for each in cost]
        yield f"| {task} | {' | '.join(cells)} | {'rises' if rises else 'falls or stays'} |"


def judged(result: dict) -> tuple[str, str, str]:
    """The faster of the others, our ratios to it, and whether we are ahead of it by the clock."""
    ours = result["importstats"]
    others = [name for name in ("duckdb", "polars") if "wall_s" in result.get(name, {})]
    if "wall_s" not in ours or not others:
        return "", "", ""
    best = min(others, key=lambda name: result[name]["wall_s"])
    wall, cpu, memory = (ours[n] / result[best][n] for n in ("wall_s", "cpu_s", "rss_mb"))
    return best, f"{wall:.2f}, {cpu:.2f}, {memory:.2f}", standing(wall)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rows", default="1e6,1e7", help="detail rows, or JOBSxFILES")
    options.add_argument("--folder", type=Path, help="where the stores are, or will be")
    options.add_argument(
        "--json",
        type=Path,
        default=Path("scale.json"),
        help="where to write all that was measured; what it has already is not measured again",
    )
    options.add_argument("--rounds", type=int, default=2)
    options.add_argument("--only", default="", help="tasks whose name has this")
    options.add_argument("--smoke", action="store_true", help="small and quick: does it run?")
    for name in ("task", "engine", "store"):
        options.add_argument(f"--{name}", help=argparse.SUPPRESS)
    options = options.parse_args()
    if options.task:
        print(json.dumps(run(options.task, options.engine, options.store)))
        return
    with TemporaryDirectory() as folder:
        if options.smoke:
            options.rows, options.rounds, options.folder = "2e4,3x200", 1, Path(folder)
            options.json = Path(folder) / "scale.json"
        compare(options)


def compare(options: argparse.Namespace) -> None:
    """Measure all that is not in the file of results, and print everything."""
    stores = [{"name": name, **generate(options.folder, name)} for name in options.rows.split(",")]
    results = json.loads(options.json.read_text())["results"] if options.json.exists() else []
    done = {(result["task"], result["name"]) for result in results}
    for task in (name for name in TASKS if options.only in name):
        for facts in stores:
            if (task, facts["name"]) in done:
                continue
            result = {"task": task, "name": facts["name"]}
            for engine in TASKS[task]:
                result[engine] = measure(task, engine, facts["path"], options.rounds)
            results.append(result)
            without_path = [{**each, "path": Path(each["path"]).name} for each in stores]
            found = {"stores": without_path, "results": results}
            options.json.write_text(json.dumps(found, indent=1))
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[1]:.1f}\n")
    print("\n".join([*report(stores, results), *growth(stores, results)]))


if __name__ == "__main__":
    main()
