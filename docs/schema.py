"""Write ``schema.md`` beside this file from :mod:`importstats.store.schema`.

    python docs/schema.py

A test compares the file with :func:`text`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pandas as pd
import pyarrow as pa

from importstats.store.cluster_frames import no_cluster
from importstats.store.cluster_schema import CLUSTER_SCHEMAS, KEYS
from importstats.store.frames import details_frame, jobs_frame
from importstats.store.schema import DETAILS_SCHEMA, JOBS_SCHEMA, SCHEMA_VERSION

TARGET: Final = Path(__file__).with_suffix(".md")

_TEXT: Final = """\
<!-- Made by `python docs/schema.py`; change that instead. -->

# Schema

A store holds two tables as Parquet files, schema version {version}, and others if [the
cluster](#the-cluster) was watched. Any tool that reads Parquet reads them.

```
STORE/jobs/cluster=CLUSTER/job=JOB/SEGMENT.parquet        one row per snapshot
STORE/details/cluster=CLUSTER/job=JOB/SEGMENT.parquet     one row per run of a file
```

`CLUSTER` and `JOB` are safe folder names made of `source_uri` and `job_id`. They let a reader skip
files; the columns hold what the server sent. `source_uri` and `job_id` together identify a job,
because two clusters may use the same id. Times are UTC. What the server did not send is null, never
0 or -1. A value that its column cannot hold (a negative count, a progress of 250) is null too, and
`extra` has it as it was sent, by its name on the wire.

The columns in pandas are those of `load_jobs` and `load_details`. In DuckDB, `string` is
`VARCHAR`, `timestamp[us, tz=UTC]` is `TIMESTAMPTZ`, `int64` is `BIGINT` and `double` is `DOUBLE`.

## jobs

{jobs}

A row with an `error` is a *gap*: the poll brought no answer, and the columns for what a server
sends are null. `load_jobs` leaves gaps out unless it is called with `gaps=True`.

## details

{details}

In pandas there is one more: `file` (category), a short form of `file_name` for display.

`file_name` is printed by the server: `[a/1.parquet]`, `[x.npy y.npy]` for one import file of
several paths, on Zilliz Cloud the bare path. `importstats.parse_file_name` takes it apart. Servers
list files in another order each time, so rows are ordered by name, and `file_index` is the rank of
the file among the names of its snapshot. All files of one task share `state` and `progress_pct`.

## Runs

Most files do not change from one snapshot to the next. So a row of `details` is a *run*: the file
had exactly these values in every snapshot of its job from `snapshot_id` to `last_snapshot_id`,
which were taken from `observed_at` to `last_observed_at`. A file that changes at every snapshot
has runs of length one, for which the two pairs are equal.

* Runs of a file do not overlap, and between two snapshots of one run there is none without the
  file.
* A run ends at the border of its Parquet file, so two runs of equal values may follow each other.
* To find a file's values *at* a time, take the run with
  `observed_at <= time <= last_observed_at`, or the last one that began before.

`load_details` gives one row per snapshot and file, and `load_details(runs=True)` the runs, joined
over the borders of files. Every analysis takes either.

### Expanding runs in SQL

One row per snapshot and file, as the server sent it, is a join with `jobs` on the range of ids. In
DuckDB:

```sql
SELECT
    jobs.observed_at,
    jobs.snapshot_id,
    details.* EXCLUDE (observed_at, snapshot_id, last_observed_at, last_snapshot_id)
FROM 'importstats-store/details/*/*/*.parquet' AS details
JOIN 'importstats-store/jobs/*/*/*.parquet' AS jobs
    ON jobs.source_uri = details.source_uri
    AND jobs.job_id = details.job_id
    AND jobs.snapshot_id BETWEEN details.snapshot_id AND details.last_snapshot_id
WHERE jobs.error IS NULL
ORDER BY source_uri, job_id, snapshot_id, file_index;
```

Often that is not needed. The states of each file in their order, with how long each was seen:

```sql
SELECT job_id, file_name, state, min(observed_at) AS since,
    max(last_observed_at) - min(observed_at) AS seen_for
FROM 'importstats-store/details/*/*/*.parquet'
GROUP BY ALL
ORDER BY job_id, file_name, since;
```

## The cluster

With `--management-uri` a collector also stores what the cluster does, see [why](why.md). A store
need not have these tables.

```
STORE/TABLE/cluster=CLUSTER/SEGMENT.parquet     one row per run of an entry
```

Each row is a run: an entry had these values whenever it was listed from `observed_at` to
`last_observed_at`. That it is not listed later means nothing, because the server forgets. Runs are
joined over the borders of files by `load_tasks`, `load_builds`, `load_segments` and `load_nodes`;
in the files of a live store a run may be there twice, with the same `observed_at`: take the longer
one. Ids are texts, and null if the server sends -1.

{cluster}

## Other tools and a live store

A collector merges small files into larger ones. Three ways to read the tables meanwhile, the best
first.

**By the Delta Lake log.** Ask for one once, and each compaction adds to it:

```bash
importstats compact importstats-store --delta
```

`jobs` and `details` are Delta tables then: metadata only, over the same files. Every reader of
Delta (DuckDB's `delta_scan`, Polars, Spark, Trino, `deltalake`) sees a state in which each snapshot
counts once, up to the last compaction. Files that a compaction replaced stay for an hour,
for queries that still run.

```python
import polars as pl

pl.scan_delta("importstats-store/details").select("job_id", "file_name").unique().collect()
```

**By the files that count now**, which `SnapshotStore.files` lists:

```python
import duckdb
from importstats import SnapshotStore

store = SnapshotStore("importstats-store")
details = duckdb.read_parquet(store.files("details"))
duckdb.sql("SELECT job_id, count(DISTINCT file_name) AS files FROM details GROUP BY ALL").show()
```

**By a glob**, `details/*/*/*.parquet`, for a store that nobody writes to. It never misses a row,
but it sees rows twice while files are swapped, after a crash until the next compaction, and in a
store with a Delta log for an hour after each compaction.

## Versions

Each file has `importstats.table` and `importstats.schema_version` in its metadata, and each column
its description. A new release may add columns; it does not rename or retype one without a new
version.
"""


def text() -> str:
    """The content of ``schema.md``."""
    empty = {"jobs": JOBS_SCHEMA.empty_table(), "details": DETAILS_SCHEMA.empty_table()}
    return _TEXT.format(
        version=SCHEMA_VERSION,
        jobs=_columns(JOBS_SCHEMA, jobs_frame(empty["jobs"])),
        details=_columns(DETAILS_SCHEMA, details_frame(empty["details"])),
        cluster="\n\n".join(
            f"### {table}\n\nA run is one of equal {', '.join(f'`{key}`' for key in KEYS[table])}."
            f"\n\n{_columns(CLUSTER_SCHEMAS[table], frame)}"
            for table, frame in zip(CLUSTER_SCHEMAS, no_cluster(), strict=True)
        ),
    )


def _columns(schema: pa.Schema, frame: pd.DataFrame) -> str:
    rows = [
        f"| `{field.name}` | {field.type} | {frame[field.name].dtype} "
        f"| {field.metadata[b'description'].decode()} |"
        for field in schema
    ]
    return "\n".join(["| column | Parquet | pandas | |", "|---|---|---|---|", *rows])


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
