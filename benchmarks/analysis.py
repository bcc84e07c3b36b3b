"""Speed of throughput, stragglers and phases against the same aggregation written in DuckDB.

One job (or several) of many files is made as an expanded details frame: one row per snapshot and
file. DuckDB gets the same columns as an Arrow table in memory, as many threads as there are cores,
and materialises its result as Arrow. The results are checked against each other, then both are
timed alternately; the least of the rounds counts. CPU seconds are those of all threads. Peak memory
is that of a forked process that runs one of them, the frame and the table included.

The DuckDB statement for stragglers does the part that is aggregation (per file: start, end, time at
work, gains, what its peers did in the same intervals), once; the verdicts are left to Python.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from collections.abc import Callable

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from importstats.analysis.lateness import stragglers
from importstats.analysis.phase import phases
from importstats.analysis.rates import throughput

START = np.datetime64("2026-05-18T08:00:00", "us")
SIZE = 200_000_000
ROWS = 250_000


def details_table(jobs: int, files: int, polls: int, seed: int = 0) -> pa.Table:
    """Files that start in turn, run at their own speed and end, polled every 10 s."""
    rng = np.random.default_rng(seed)
    poll, file = np.divmod(np.arange(polls * files), files)
    parts = []
    for job in range(jobs):
        begin = rng.uniform(0, 0.7 * polls, files)
        length = 0.25 * polls * rng.lognormal(0, 0.2, files)
        share = np.clip((poll - begin[file]) / length[file], 0, 1)
        percent = np.floor(share * 100)
        state = np.where(percent >= 100, "Completed", np.where(share > 0, "InProgress", "Pending"))
        parts.append(
            pa.table(
                {
                    "snapshot_id": poll,
                    "observed_at": pa.array(START + (poll * 10_000_000), pa.timestamp("us", "UTC")),
                    "source_uri": pa.repeat("http://localhost:19530", len(poll)),
                    "job_id": pa.repeat(str(449839014328146740 + job), len(poll)),
                    "collection_name": pa.repeat("products", len(poll)),
                    "file_index": file,
                    "file_name": pa.array(
                        [f"[import/part-{i:05d}.parquet]" for i in range(files)]
                    ).take(pa.array(file)),
                    "file_size_bytes": pa.repeat(SIZE, len(poll)),
                    "state": pa.array(state),
                    "progress_pct": percent,
                    "imported_rows": (percent * ROWS / 100).astype(np.int64),
                    "total_rows": pa.repeat(ROWS, len(poll)),
                }
            )
        )
    table = pa.concat_tables(parts).combine_chunks()
    for name in ("source_uri", "job_id", "collection_name", "file_name", "state"):
        at = table.column_names.index(name)
        table = table.set_column(at, name, table[name].dictionary_encode().unify_dictionaries())
    return table.combine_chunks()


def jobs_table(rows: int) -> pa.Table:
    """A thousand snapshots of each job, through all phases."""
    polls = 1000
    job, poll = np.divmod(np.arange(rows), polls)
    progress = np.where(poll < 990, np.floor(poll / polls * 90), 100.0)
    imported = np.clip((progress - 40) / 30, 0, 1) * 1e6
    working = np.where(progress < 100, "Importing", "Completed")
    state = np.where(progress < 10, "Pending", working)
    table = pa.table(
        {
            "snapshot_id": poll,
            "observed_at": pa.array(START + poll * 10_000_000, pa.timestamp("us", "UTC")),
            "source_uri": pa.repeat("http://localhost:19530", rows),
            "job_id": pa.array(job.astype(str)),
            "state": state,
            "progress_pct": progress,
            "imported_rows": imported.astype(np.int64),
            "total_rows": np.where(progress >= 40, 1_000_000, 0),
            "detail_count": np.where(progress >= 40, 100, 0),
        }
    )
    for name in ("source_uri", "job_id", "state"):
        at = table.column_names.index(name)
        table = table.set_column(at, name, table[name].dictionary_encode())
    return table


def frame(table: pa.Table) -> pd.DataFrame:
    """With the dtypes of importstats.frames."""
    whole = table.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    ids = [name for name in ("snapshot_id", "file_index") if name in whole]
    return whole.astype(dict.fromkeys(ids, "int64"))


KEY = "job_id, file_index"
THROUGHPUT = f"""
WITH step AS (
    SELECT source_uri, {KEY}, file_name, observed_at, imported_rows,
        file_size_bytes * imported_rows / total_rows AS size,
        epoch_us(observed_at) - epoch_us(lag(observed_at) OVER w) AS us,
        imported_rows - lag(imported_rows) OVER w AS change
    FROM t WINDOW w AS (PARTITION BY {KEY} ORDER BY observed_at)
), delta AS (
    SELECT *, greatest(change, 0) AS gain, greatest(-change, 0) AS loss,
        greatest(size - lag(size) OVER w, 0) AS byte_gain
    FROM step WINDOW w AS (PARTITION BY {KEY} ORDER BY observed_at)
)
SELECT source_uri, job_id, file_index, file_name, observed_at, us / 1e6 AS interval_s,
    imported_rows, gain AS rows_delta, loss AS rows_lost,
    gain / (us / 1e6) AS rows_per_s, byte_gain / (us / 1e6) AS bytes_per_s,
    sum(gain) OVER r / 60 AS rows_per_s_window, sum(byte_gain) OVER r / 60 AS bytes_per_s_window,
    sum(gain) OVER a / nullif(epoch(observed_at - first(observed_at) OVER a), 0)
        AS rows_per_s_mean
FROM delta WINDOW
    r AS (PARTITION BY {KEY} ORDER BY observed_at
          RANGE BETWEEN INTERVAL 50 SECONDS PRECEDING AND CURRENT ROW),
    a AS (PARTITION BY {KEY} ORDER BY observed_at)
ORDER BY {KEY}, observed_at
"""
STRAGGLERS = f"""
WITH step AS (
    SELECT *, greatest(progress_pct - lag(progress_pct) OVER w, 0) / 100 AS gain,
        state = 'InProgress' AS works, lag(state) OVER w = 'InProgress' AS worked,
        progress_pct < lag(progress_pct) OVER w AS back,
        epoch(observed_at - lag(observed_at) OVER w) AS s
    FROM t WINDOW w AS (PARTITION BY {KEY} ORDER BY observed_at)
), timed AS (
    SELECT *, CASE WHEN works AND worked THEN s WHEN works OR worked THEN s / 2 ELSE 0 END AS run
    FROM step
), slot AS (
    SELECT source_uri, job_id, observed_at, sum(gain) AS all_gain, sum(run) AS all_run
    FROM timed GROUP BY ALL
), file AS (
    SELECT source_uri, job_id, file_index, any_value(file_name) AS file_name,
        arg_max(state, observed_at) AS state, max(imported_rows) AS imported_rows,
        min(observed_at) FILTER (works) AS started_at,
        max(observed_at) FILTER (works) AS stopped_at,
        sum(gain) AS gained, sum(run) AS at_work_s, count(*) FILTER (back) AS retries,
        sum(run * (all_gain - gain) / nullif(all_run - run, 0)) AS expected
    FROM timed JOIN slot USING (source_uri, job_id, observed_at)
    GROUP BY source_uri, job_id, file_index
)
SELECT *, gained / expected / median(gained / expected) OVER (PARTITION BY job_id) AS pace
FROM file ORDER BY source_uri, job_id, file_index
"""
PHASES = """
WITH phased AS (
    SELECT *, CASE
        WHEN state != 'Importing' THEN state
        WHEN progress_pct < 40 OR progress_pct = 40 AND detail_count = 0 THEN 'PreImporting'
        WHEN progress_pct < 70 OR progress_pct = 70 AND imported_rows < total_rows THEN 'Importing'
        WHEN progress_pct < 80 THEN 'SortingOrIndexing'
        WHEN progress_pct = 99 THEN 'Committing'
        ELSE 'IndexBuilding' END AS phase
    FROM t
), border AS (
    SELECT *, phase IS DISTINCT FROM lag(phase) OVER w AS begins, lag(observed_at) OVER w AS before
    FROM phased WINDOW w AS (PARTITION BY source_uri, job_id ORDER BY observed_at)
), numbered AS (
    SELECT *, sum(begins::INT) OVER (PARTITION BY source_uri, job_id ORDER BY observed_at) AS run
    FROM border
)
SELECT source_uri, job_id, run, any_value(phase) AS phase, min(before) AS start_earliest,
    min(observed_at) AS start_latest, max(observed_at) AS end_earliest, count(*) AS snapshots,
    arg_min(imported_rows, observed_at) AS rows_at_start,
    arg_max(imported_rows, observed_at) AS rows_at_end
FROM numbered GROUP BY ALL ORDER BY source_uri, job_id, run
"""


def query(table: pa.Table, statement: str) -> pa.Table:
    with duckdb.connect() as connection:
        connection.register("t", table)
        return connection.sql(statement).to_arrow_table()


def check(name: str, ours: pd.DataFrame, theirs: pd.DataFrame) -> None:
    assert len(ours) == len(theirs), name
    if name == "throughput":
        # DuckDB's window counts whole samples; at even polls that is the same after a minute.
        assert int(ours["rows_delta"].sum()) == int(theirs["rows_delta"].sum())
        both = ours["rows_per_s"].notna().to_numpy()
        np.testing.assert_allclose(ours["rows_per_s"][both], theirs["rows_per_s"][both])
    elif name == "phases":
        assert ours["phase"].astype(str).tolist() == theirs["phase"].astype(str).tolist()
    else:
        both = ours["pace"].notna().to_numpy()
        assert np.corrcoef(ours["pace"][both], theirs["pace"][both])[0, 1] > 0.8


def peak_gb(run: Callable[[], object]) -> float:
    """Peak memory of a process that has only the data and this."""

    def child(pipe: multiprocessing.connection.Connection) -> None:
        run()
        pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)

    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=child, args=(there,))
    process.start()
    peak_kb: int = here.recv()
    process.join()
    return peak_kb / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--jobs", type=int, default=1, help="jobs the details rows are split over")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", action="store_true", help="measure peak memory as well")
    parser.add_argument("--smoke", action="store_true", help="small and quick: does it run?")
    args = parser.parse_args()
    if args.smoke:
        args.rows, args.rounds = 20_000, 1
    files = max(10, int((args.rows / args.jobs * 10) ** 0.5))
    polls = max(10, args.rows // args.jobs // files)
    details, jobs = details_table(args.jobs, files, polls), jobs_table(args.rows // 1000 * 1000)
    print(
        f"{details.num_rows:,} details rows: {args.jobs} jobs x {files:,} files x {polls:,} polls; "
        f"{jobs.num_rows:,} jobs rows; duckdb {duckdb.__version__}"
    )
    cases: list[tuple[str, Callable[[pd.DataFrame], pd.DataFrame], pa.Table, str]] = [
        ("throughput", lambda frame: throughput(frame, "file"), details, THROUGHPUT),
        ("stragglers", stragglers, details, STRAGGLERS),
        ("phases", phases, jobs, PHASES),
    ]
    for name, analyse, table, statement in cases:
        data = frame(table)
        check(name, analyse(data), query(table, statement).to_pandas())
        runs = {
            "ours": lambda d=data, f=analyse: f(d),
            "duckdb": lambda t=table, q=statement: query(t, q),
        }
        wall: dict[str, list[float]] = {who: [] for who in runs}
        cpu: dict[str, list[float]] = {who: [] for who in runs}
        for _ in range(args.rounds):
            for who, run in runs.items():
                began, cpu_began = time.perf_counter(), time.process_time()
                run()
                wall[who].append(time.perf_counter() - began)
                cpu[who].append(time.process_time() - cpu_began)
        for who, run in runs.items():
            memory = f", peak {peak_gb(run):.2f} GB" if args.memory else ""
            print(f"{name:10} {who:6} {min(wall[who]):6.2f} s, {min(cpu[who]):6.2f} CPU s{memory}")
        print(f"{name:10} ratio  {min(wall['ours']) / min(wall['duckdb']):6.2f} by the clock")


if __name__ == "__main__":
    main()
