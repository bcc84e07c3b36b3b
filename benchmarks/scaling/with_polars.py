"""Each task by Polars."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from .columns import KEY, THROUGHPUT_COLUMNS, TIMED_PHASES

OF_FILE = [*KEY, "file_index"]


def lazy(store: str, table: str) -> pl.LazyFrame:
    return pl.scan_parquet(f"{store}/{table}/*/*/*.parquet", hive_partitioning=False)


def streamed(query: pl.LazyFrame) -> Iterator:
    yield from query.collect_batches(chunk_size=1_000_000)


def expanded(store: str) -> Iterator:
    polls = lazy(store, "jobs").select(*KEY, poll="snapshot_id", at="observed_at")
    yield from streamed(
        lazy(store, "details")
        .drop("observed_at", "last_observed_at")
        .join(polls, on=KEY)
        .filter(pl.col("poll").is_between("snapshot_id", "last_snapshot_id"))
        .drop("snapshot_id", "last_snapshot_id")
        .rename({"poll": "snapshot_id", "at": "observed_at"})
    )


def samples(store: str) -> pl.LazyFrame:
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


def throughput(store: str) -> Iterator:
    share = pl.col("imported_rows") / pl.col("total_rows")
    shown = pl.col("progress_pct") / 100
    seconds = pl.col("interval_s")
    failed = (pl.col("imported_rows") == 0) & (pl.col("state") == "Failed")
    yield from streamed(
        samples(store)
        .filter(~failed)
        .with_columns(
            size=pl.col("file_size_bytes")
            * pl.when((share - shown).abs() <= 0.015).then(share).otherwise(shown)
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


def tasks_of_jobs(store: str) -> tuple[pl.LazyFrame, pl.LazyFrame, pl.LazyFrame]:
    """What happened between samples, files, and tasks."""
    works, worked = pl.col("works"), pl.col("works").shift().over(OF_FILE).fill_null(False)
    change = pl.col("progress_pct") - before("progress_pct")
    seconds = (pl.col("at") - before("at")).dt.total_microseconds() / 1e6
    timed = (
        samples(store)
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


def stragglers(store: str) -> Iterator:
    timed, files, tasks = tasks_of_jobs(store)
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


def phase_runs(store: str) -> pl.LazyFrame:
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
    phased = lazy(store, "jobs").sort(*KEY, "observed_at").with_columns(phase=phase)
    earliest, latest = pl.col("start_earliest"), pl.col("start_latest")
    return (
        phased.with_columns(
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


def phases(store: str) -> Iterator:
    yield from streamed(phase_runs(store))


def summary(store: str) -> Iterator:
    _, files, tasks = tasks_of_jobs(store)
    spent = (
        phase_runs(store)
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


WORK = {
    "rows, as Arrow": expanded,
    "runs, as one pandas frame": lambda store: iter([lazy(store, "details").collect().to_pandas()]),
    "runs, as Arrow": lambda store: streamed(lazy(store, "details")),
    "throughput by file": throughput,
    "stragglers": stragglers,
    "phases": phases,
    "summary": summary,
}
