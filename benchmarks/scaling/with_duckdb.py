"""Each task as SQL, by DuckDB."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb

from .columns import TIMED_PHASES

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
phased AS (
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
    FROM phased WINDOW w AS (PARTITION BY source_uri, job_id ORDER BY observed_at)
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


def query(store: str, statement: str) -> Iterator:
    with duckdb.connect() as connection:
        connection.sql("SET preserve_insertion_order = false")
        for table in ("jobs", "details"):
            files = f"{store}/{table}/*/*/*.parquet"
            connection.sql(
                f"CREATE VIEW {table} AS FROM read_parquet('{files}', hive_partitioning = false)"
            )
        yield from connection.sql(statement).to_arrow_reader(1_000_000)


def frame(store: str) -> Iterator:
    with duckdb.connect() as connection:
        files = f"{store}/details/*/*/*.parquet"
        yield connection.sql(f"FROM read_parquet('{files}', hive_partitioning = false)").df()


WORK = {
    "rows, as Arrow": lambda store: query(store, FLATTEN_SQL),
    "runs, as one pandas frame": frame,
    "runs, as Arrow": lambda store: query(store, "FROM details"),
    "throughput by file": lambda store: query(store, THROUGHPUT_SQL),
    "stragglers": lambda store: query(store, STRAGGLERS_SQL),
    "phases": lambda store: query(store, PHASES_SQL),
    "summary": lambda store: query(store, SUMMARY_SQL),
}
