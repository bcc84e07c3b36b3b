# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Bring your own tools
#
# *Our people use SQL, Polars or Spark. Can they work with what importstats collects?*
#
# A store is nothing but Parquet files with a documented schema
# ([docs/schema.md](../docs/schema.md)). This notebook asks the same question of them in several
# tools, and checks that all give the same answer. It also goes the other way: your own polling into
# the analyses.

# %%
import json

import duckdb
import pandas as pd
import polars as pl

import importstats
from importstats import datasets

path = datasets.path("many_jobs")

# %% [markdown]
# ## Which files
#
# `STORE/jobs` has one row per snapshot, `STORE/details` one row per *run*: a file that did not
# change from one snapshot to the next shares its row. A glob reads either table. While a collector
# compacts the store, a glob may for a moment see rows twice; `SnapshotStore.files` never does.

# %% tags=["check"]
store = importstats.SnapshotStore(path)
print(len(store.files("jobs")), "files,", len(list(path.glob("jobs/**/*.parquet"))), "by a glob")

# %% [markdown]
# ## DuckDB
#
# Rows imported by collection, and when the last of them came:

# %% tags=["check"]
duckdb.sql("SET TimeZone = 'UTC'")
jobs = duckdb.read_parquet(store.files("jobs"))
duckdb.sql("""
    SELECT collection_name, count(DISTINCT job_id) AS jobs, sum(rows)::BIGINT AS rows
    FROM (SELECT collection_name, job_id, max(imported_rows) AS rows FROM jobs GROUP BY ALL)
    GROUP BY ALL ORDER BY ALL
""").df()

# %% [markdown]
# ### From runs to snapshots
#
# A row of `details` says what a file was in every snapshot of its job from `snapshot_id` to
# `last_snapshot_id`. So one row per snapshot and file is a join on that range. The columns
# `source_uri` and `job_id` together name the job.

# %% tags=["check"]
details = duckdb.read_parquet(store.files("details"))
expanded = duckdb.sql("""
    SELECT jobs.observed_at, details.* EXCLUDE (observed_at, last_observed_at, last_snapshot_id)
           REPLACE (jobs.snapshot_id AS snapshot_id)
    FROM details
    JOIN jobs ON details.source_uri = jobs.source_uri AND details.job_id = jobs.job_id
        AND jobs.snapshot_id BETWEEN details.snapshot_id AND details.last_snapshot_id
    WHERE jobs.error IS NULL
""")
duckdb.sql("SELECT (SELECT count(*) FROM details) AS runs, count(*) AS rows FROM expanded").df()

# %% [markdown]
# How many files were at work at a time, on average, while there were any?

# %% tags=["check"]
duckdb.sql("""
    SELECT source_uri, round(avg(files), 2) AS files_at_work
    FROM (SELECT source_uri, job_id, snapshot_id, count(*) AS files
          FROM expanded WHERE state = 'InProgress' GROUP BY ALL)
    GROUP BY ALL ORDER BY ALL
""").df()

# %% [markdown]
# The same in pandas, with the frames of importstats:

# %% tags=["check"]
frame = importstats.load_details(path)
at_work = frame[frame["state"] == "InProgress"].groupby(
    ["source_uri", "snapshot_id"], observed=True
)
at_work.size().groupby("source_uri", observed=True).mean().round(2)

# %% [markdown]
# ## Polars
#
# Lazily, so that only what the question needs is read. The longest time each collection's files
# waited for a slot:

# %% tags=["check"]
runs = pl.scan_parquet(store.files("details"))
waited = (
    runs.filter(pl.col("state") == "Pending")
    .group_by("collection_name", "source_uri", "job_id", "file_name")
    .agg(waited=pl.col("last_observed_at").max() - pl.col("observed_at").min())
    .group_by("collection_name")
    .agg(pl.col("waited").max().dt.total_seconds().alias("waited_s"))
    .sort("collection_name")
    .collect()
)
waited.to_pandas()

# %% [markdown]
# ## Spark
#
# The same table in Spark. **This cell is not executed here**, because Spark needs a Java runtime
# and 400 MB of its own; a test of importstats runs it where both are installed. Spark finds the
# partition folders `cluster` and `job` by itself, and filters on them skip whole folders.
#
# ```python
# from pyspark.sql import SparkSession, functions as F
#
# spark = SparkSession.builder.config("spark.sql.session.timeZone", "UTC").getOrCreate()
# runs = spark.read.parquet(f"{path}/details")
# waited = (
#     runs.where("state = 'Pending'")
#     .groupBy("collection_name", "source_uri", "job_id", "file_name")
#     .agg(
#         F.min("observed_at").cast("double").alias("since"),
#         F.max("last_observed_at").cast("double").alias("until"),
#     )
#     .groupBy("collection_name")
#     .agg(F.floor(F.max(F.col("until") - F.col("since"))).alias("waited_s"))
#     .orderBy("collection_name")
# )
# waited.show()
# ```
#
# ## Your own polling
#
# You poll already and keep the answers? `flatten_details` makes a frame of them, of one or many:
# parsed JSON, text or bytes, in any dialect of Milvus 2.4 to 3.0 and Zilliz Cloud.

# %% tags=["check"]
answer = """{"code": 0, "data": {"jobId": "449839014328146740", "state": "Importing",
    "progress": 52, "importedRows": 400, "totalRows": 1000, "fileSize": 8000, "details": [
    {"fileName": "[a/1.parquet]", "fileSize": 5000, "state": "Completed", "progress": 100,
     "importedRows": 300, "totalRows": 300, "completeTime": "2026-05-18T02:57:13Z"},
    {"fileName": "[a/2.parquet]", "fileSize": 3000, "state": "InProgress", "progress": 14,
     "importedRows": 100, "totalRows": 700, "shard": 2}]}}"""
flat = importstats.flatten_details(json.loads(answer))
flat[["file", "state", "progress_pct", "imported_rows", "complete_time", "extra"]]

# %% [markdown]
# Fields that importstats does not know are kept in `extra`. With the time at which each answer
# came, a history of such answers is a store, and everything of the other notebooks works on it:

# %% tags=["check"]
response = importstats.parse_response(answer)
snapshot = importstats.Snapshot(
    observed_at=pd.Timestamp("2026-05-18T02:58:00Z").to_pydatetime(),
    job_id=response.data.job_id,
    source_uri="http://localhost:19530",
    response=response,
)
importstats.with_phase(importstats.flatten_jobs([snapshot]))[["job_id", "phase", "phase_fraction"]]

# %% [markdown]
# `SnapshotStore(...).append(snapshots)` keeps them; `append_tables` takes Arrow tables of the
# schema.
